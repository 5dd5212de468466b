"""Classes of atoms with the largest and the smallest values of a per-atom quantity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .trajectory import Array, IntArray


class EmptyClassError(ValueError):
    """A class without atoms, or values that allow no classes."""


@dataclass(frozen=True)
class AtomClasses:
    """Atoms with the largest and the smallest values.

    Attributes
    ----------
    largest, smallest : ndarray of int
        Indices of the atoms, in increasing order.
    upper, lower : float
        The largest atoms lie above ``upper``, the smallest below ``lower``, in the unit of the values.
    rule : str
        How the limits were found.
    """

    largest: IntArray
    smallest: IntArray
    upper: float
    lower: float
    rule: str


def classes_by_maximum(
    values: npt.ArrayLike, atoms: npt.ArrayLike | None = None, upper: float = 0.9, lower: float = 0.1
) -> AtomClasses:
    """Return the atoms above 90 % and below 10 % of the largest value (gupta2023, Fig. 2f, for D²min).

    The largest value of many atoms is an extreme: this class often holds a single atom. Classes of a fixed share of the
    atoms come from :func:`classes_by_percentile`.

    Parameters
    ----------
    values : array_like, shape (n_atoms,)
        Not negative, any unit.
    atoms : array_like of int, optional
        Indices of the atoms to choose from, for example those of one element; their maximum counts. All if not given.
    upper, lower : float
        Limits as fractions of the maximum.

    Raises
    ------
    EmptyClassError
        If there are no atoms, all values are zero, or no value is below the lower limit.
    ValueError
        If a value is negative or not finite, an index is out of range, or the limits are not in order.
    """
    data, chosen = _chosen(values, atoms)
    if not 0 < lower <= upper < 1:
        raise ValueError(f'the limits must satisfy 0 < lower <= upper < 1, they are {lower:g} and {upper:g}')
    if data.min() < 0:
        raise ValueError('fractions of the maximum need values that are not negative')
    maximum = float(data.max())
    rule = f'above {100 * upper:g} % and below {100 * lower:g} % of the maximum of {data.size} atoms'
    return _classes(data, chosen, upper * maximum, lower * maximum, rule)


def classes_by_percentile(
    values: npt.ArrayLike, atoms: npt.ArrayLike | None = None, upper: float = 90.0, lower: float = 10.0
) -> AtomClasses:
    """Return the atoms above the 90th and below the 10th percentile of the values.

    Parameters
    ----------
    values : array_like, shape (n_atoms,)
        Any unit.
    atoms : array_like of int, optional
        Indices of the atoms to choose from; all if not given.
    upper, lower : float
        Percentiles.

    Raises
    ------
    EmptyClassError
        If there are no atoms, or all values are equal.
    ValueError
        If a value is not finite, an index is out of range, or the percentiles are not in order.
    """
    data, chosen = _chosen(values, atoms)
    if not 0 < lower <= upper < 100:
        raise ValueError(f'the percentiles must satisfy 0 < lower <= upper < 100, they are {lower:g} and {upper:g}')
    limits = np.percentile(data, [upper, lower])
    rule = f'above the {upper:g}th and below the {lower:g}th percentile of {data.size} atoms'
    return _classes(data, chosen, float(limits[0]), float(limits[1]), rule)


def _chosen(values: npt.ArrayLike, atoms: npt.ArrayLike | None) -> tuple[Array, IntArray]:
    data = np.asarray(values, dtype=float)
    if data.ndim != 1:
        raise ValueError(f'there must be one value for each atom, the shape is {data.shape}')
    indices = np.arange(data.size) if atoms is None else np.unique(np.asarray(atoms, dtype=np.int64))
    if not indices.size:
        raise EmptyClassError('there are no atoms to choose from: name an element that is there')
    if indices[0] < 0 or indices[-1] >= data.size:
        raise ValueError(f'atom {indices[-1] if indices[0] >= 0 else indices[0]} is not one of the {data.size} atoms')
    if not np.isfinite(data[indices]).all():
        raise ValueError('some values are not finite')
    return data[indices], indices


def _classes(data: Array, chosen: IntArray, upper: float, lower: float, rule: str) -> AtomClasses:
    largest, smallest = chosen[data > upper], chosen[data < lower]
    for name, members in (('largest', largest), ('smallest', smallest)):
        if not members.size:
            raise EmptyClassError(
                f'the class of the {name} values is empty ({rule}; values from {data.min():.3g} to {data.max():.3g}): '
                'choose other limits, or frames further apart'
            )
    return AtomClasses(largest, smallest, upper, lower, rule)
