"""Collective displacement of the ions of each species, from single atoms or from the centres of the species."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import atomic_masses

from .displacement import atom_classes_of, equal_spacing_ps, weighted_sums
from .time_origins import displacement_products
from .trajectory import Array, Trajectory, atomic_number, indices_of, masses_of, times_ps_of

#: Frames of reference other than an element, whose ions then stand still on average.
CENTRE_OF_MASS = 'centre of mass'
LABORATORY = 'laboratory'


@dataclass(frozen=True)
class CollectiveDisplacement:
    """Sums of the positions of all ions of each species in a frame of reference.

    Attributes
    ----------
    species : tuple of str
        Elements, or names of classes of atoms.
    counts : tuple of int
        Ions of each.
    spacing_ps : float
        Time between two frames.
    sums : ndarray, shape (n_frames, n_species, 3)
        Sum of the unwrapped positions of the ions relative to the reference, Å.
    reference : str
        What they are relative to: ``centre of mass`` (of the whole system), ``laboratory`` (as simulated) or an
        element (the mean position of its atoms).
    """

    species: tuple[str, ...]
    counts: tuple[int, ...]
    spacing_ps: float
    sums: Array
    reference: str

    @property
    def n_frames(self) -> int:
        """Return the number of frames."""
        return len(self.sums)

    def products(self, n_lags: int | None = None) -> Array:
        r"""Return :math:`\langle \Delta R_\alpha(\tau) \cdot \Delta R_\beta(\tau) \rangle` over all time origins.

        Its diagonal is the collective squared displacement of yang2024 (Fig. S19).

        Returns
        -------
        ndarray, shape (n_lags, n_species, n_species)
            Å².
        """
        return displacement_products(self.sums, n_lags)

    def charge_displacement(self, charges: Mapping[str, float]) -> Array:
        r"""Return :math:`\sum_\alpha z_\alpha R_\alpha`, shape (n_frames, 3), in e Å."""
        weights = np.array([charges[name] for name in self.species])
        return np.einsum('fsi,s->fi', self.sums, weights)

    def relative_to(self, reference: str) -> CollectiveDisplacement:
        """Return the same displacements relative to the mean position of one of the species.

        Raises
        ------
        ValueError
            If the species is not among them.
        """
        if reference not in self.species:
            raise ValueError(f'{reference} is not among {", ".join(self.species)}: nothing can be relative to it')
        row = self.species.index(reference)
        path = self.sums[:, row] / self.counts[row]
        sums = self.sums - np.array(self.counts)[None, :, None] * path[:, None]
        return replace(self, sums=sums, reference=reference)


def reference_path(trajectory: Trajectory, reference: str = CENTRE_OF_MASS) -> Array:
    """Return the path of a frame of reference, shape (n_frames, 3), Å.

    Parameters
    ----------
    trajectory : Trajectory
        Frames.
    reference : str
        ``centre of mass``, ``laboratory`` or an element.
    """
    return weighted_sums(trajectory, _reference_weights(trajectory, reference)[:, None])[:, 0]


def _reference_weights(trajectory: Trajectory, reference: str) -> Array:
    weights = np.zeros(len(trajectory.atomic_numbers))
    if reference == CENTRE_OF_MASS:
        weights = masses_of(trajectory)
    elif reference != LABORATORY:
        weights[indices_of(trajectory, reference)] = 1.0
    return weights / weights.sum() if reference != LABORATORY else weights


def collective_displacement(
    trajectory: Trajectory,
    species: Sequence[str] | None = None,
    *,
    classes: Mapping[str, npt.ArrayLike] | None = None,
    reference: str = CENTRE_OF_MASS,
) -> CollectiveDisplacement:
    """Return the collective displacement of each species of a per-atom trajectory, read once and piece by piece.

    Parameters
    ----------
    trajectory : Trajectory
        Unwrapped frames at equal distances in time.
    species : sequence of str, optional
        Elements; all if not given.
    classes : mapping of str to array of int, optional
        Indices of the atoms of named classes instead of elements.
    reference : str
        ``centre of mass`` of all atoms (yang2024), ``laboratory``, or an element.

    Raises
    ------
    ValueError
        If an element is absent, a class is empty, positions are not finite or the frames are not equally spaced.
    """
    spacing = equal_spacing_ps(trajectory)
    wanted = atom_classes_of(trajectory, species, classes)
    weights = np.zeros((len(trajectory.atomic_numbers), len(wanted) + 1))
    for column, indices in enumerate(wanted.values()):
        weights[indices, column] = 1.0
    weights[:, -1] = _reference_weights(trajectory, reference)
    sums = weighted_sums(trajectory, weights)
    counts = tuple(int(indices.size) for indices in wanted.values())
    relative = sums[:, :-1] - np.array(counts)[None, :, None] * sums[:, -1:]
    return CollectiveDisplacement(tuple(wanted), counts, spacing, relative, reference)


def collective_from_centres(
    times_ps: npt.ArrayLike,
    centres: Mapping[str, npt.ArrayLike],
    counts: Mapping[str, int],
    reference: str = CENTRE_OF_MASS,
) -> CollectiveDisplacement:
    r"""Return the collective displacement from the centres of the species that a program wrote while it ran.

    LAMMPS gives them as ``compute com`` of a group for each element (unwrapped, all atoms of one mass): far fewer
    numbers than a trajectory, so that they can be written far more often.

    Parameters
    ----------
    times_ps : array_like, shape (n_frames,)
        Equally spaced times.
    centres : mapping of str to array_like, shape (n_frames, 3)
        Element to the mean position of its atoms, unwrapped, Å.
    counts : mapping of str to int
        Element to its number of atoms.
    reference : str
        ``centre of mass``, which needs every element of the system, ``laboratory``, or an element.

    Raises
    ------
    ValueError
        If columns do not fit together, are not finite or not equally spaced, or an element is unknown.
    """
    times = np.asarray(times_ps, dtype=float)
    names = tuple(centres)
    if not names or set(names) != set(counts):
        raise ValueError(f'the centres are of {", ".join(names)}, the numbers of atoms of {", ".join(counts)}')
    columns = [np.asarray(centres[name], dtype=float) for name in names]
    wrong = [name for name, column in zip(names, columns, strict=True) if column.shape != (times.size, 3)]
    if wrong:
        raise ValueError(f'the centres of {", ".join(wrong)} must have the shape ({times.size}, 3)')
    if times.size < 4 or not np.isfinite(times).all() or not all(np.isfinite(column).all() for column in columns):
        raise ValueError('collective displacements need four rows at least, all of them finite')
    spacing = np.diff(times)
    if spacing[0] <= 0 or not np.allclose(spacing, spacing[0], rtol=1e-6):
        raise ValueError('the rows are not equally spaced in time: the average over time origins needs that')
    numbers = np.array([int(counts[name]) for name in names])
    if (numbers < 1).any():
        raise ValueError('every species needs one atom at least')
    positions = np.stack(columns, axis=1)
    path = _path_of_centres(positions, names, numbers, reference)
    sums = numbers[None, :, None] * (positions - path[:, None])
    return CollectiveDisplacement(names, tuple(numbers.tolist()), float(spacing[0]), sums, reference)


def _path_of_centres(positions: Array, names: tuple[str, ...], numbers: npt.NDArray[Any], reference: str) -> Array:
    """Return the path of a reference, shape (n_rows, 3), from the centres of all elements (n_rows, n_species, 3)."""
    if reference == CENTRE_OF_MASS:
        masses = np.array([atomic_masses[atomic_number(name)] for name in names]) * numbers
        return np.asarray(np.einsum('fsi,s->fi', positions, masses / masses.sum()))
    if reference == LABORATORY:
        return np.zeros((len(positions), 3))
    if reference not in names:
        raise ValueError(f'the reference {reference} is not among {", ".join(names)}')
    return np.asarray(positions[:, names.index(reference)])


def reference_at_frames(
    trajectory: Trajectory,
    times_ps: npt.ArrayLike,
    centres: Mapping[str, npt.ArrayLike],
    counts: Mapping[str, int],
    reference: str = CENTRE_OF_MASS,
) -> Array:
    """Return the path of a frame of reference at the frames of a trajectory that may lack elements of the system.

    The centres are those of all atoms of each element, so that the centre of mass is that of the whole system although
    the frames do not hold all of it.

    Parameters
    ----------
    trajectory : Trajectory
        Frames of some of the elements.
    times_ps : array_like, shape (n_rows,)
        Times of the rows; one of them at every frame.
    centres : mapping of str to array_like, shape (n_rows, 3)
        Every element of the system to the mean position of its atoms, unwrapped as in the frames, Å.
    counts : mapping of str to int
        Element to its number of atoms.
    reference : str
        ``centre of mass``, ``laboratory`` or an element, in the frames or not.

    Returns
    -------
    ndarray, shape (n_frames, 3)
        Å.

    Raises
    ------
    ValueError
        If a frame has no row, columns are missing or not finite, or an element is unknown.
    """
    if missing := sorted(set(counts) - set(centres)):
        raise ValueError(f'the centres lack {", ".join(missing)}: the centre of mass needs every element')
    rows, frames = np.asarray(times_ps, dtype=float), times_ps_of(trajectory)
    if rows.size == 0:
        raise ValueError('the centres have no rows')
    half_a_step = 0.5 * float(trajectory.timestep_ps)
    at = np.minimum(np.searchsorted(rows, frames - half_a_step), rows.size - 1)
    apart = np.abs(rows[at] - frames) > half_a_step
    if apart.any():
        first = int(np.argmax(apart))
        raise ValueError(
            f'there are no centres at {frames[first]:g} ps, where frame {first} is: collective_every must divide '
            'dump_every, and both must be of one run'
        )
    names = tuple(counts)
    positions = np.stack([np.asarray(centres[name], dtype=float)[at] for name in names], axis=1)
    if not np.isfinite(positions).all():
        raise ValueError('the centres are not finite')
    return _path_of_centres(positions, names, np.array([int(counts[name]) for name in names]), reference)
