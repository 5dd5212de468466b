"""How strongly elements scatter X-rays and neutrons, and what a mixture of them makes of its partial functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pymatgen.analysis.diffraction.neutron import ATOMIC_SCATTERING_LEN
from pymatgen.analysis.diffraction.xrd import ATOMIC_SCATTERING_PARAMS

from .trajectory import Array, Trajectory, atomic_number, element_labels, species_of

Radiation = Literal['x-ray', 'neutron']

#: Where the sum of Gaussians behind the X-ray form factors stops to hold, Å⁻¹ (they turn up again above).
LARGEST_XRAY_Q = 20.0


def composition_of(trajectory: Trajectory) -> dict[str, float]:
    """Return the share of atoms of each element."""
    counts = np.bincount(element_labels(trajectory))
    return {symbol: float(count / counts.sum()) for symbol, count in zip(species_of(trajectory), counts, strict=True)}


def scattering_length(symbol: str, radiation: Radiation, q: npt.ArrayLike = 0.0) -> Array:
    r"""Return how strongly an element scatters.

    For neutrons the bound coherent scattering length of the natural element, fm (real part). For X-rays the form factor
    in electrons, :math:`f(q) = Z - 41.78214\, s^2 \sum_i a_i e^{-b_i s^2}` with :math:`s = q / 4\pi` and the
    coefficients that pymatgen keeps (De Graef and McHenry, Structure of Materials, 2nd ed., chapter 12).

    Parameters
    ----------
    symbol : str
        Element.
    radiation : {'x-ray', 'neutron'}
        What is scattered.
    q : array_like
        Magnitudes of the scattering vector, Å⁻¹; 0 gives the number of electrons.

    Raises
    ------
    ValueError
        If the element or the radiation is unknown, or X-rays are asked for beyond 20 Å⁻¹.
    """
    number = atomic_number(symbol)
    points = np.asarray(q, dtype=float)
    if radiation not in {'x-ray', 'neutron'}:
        raise ValueError(f'`{radiation}` is not known: it is `x-ray` or `neutron`')
    table = ATOMIC_SCATTERING_LEN if radiation == 'neutron' else ATOMIC_SCATTERING_PARAMS
    if symbol not in table:
        raise ValueError(f'there is no table of how {symbol} scatters: {radiation} scattering cannot be computed')
    if radiation == 'neutron':
        return np.full(points.shape, float(np.real(table[symbol])))
    if points.size and points.max() > LARGEST_XRAY_Q:
        raise ValueError(
            f'the X-ray form factors hold up to {LARGEST_XRAY_Q:g} Å⁻¹, q goes to {points.max():g} Å⁻¹: end there'
        )
    coefficients = np.asarray(table[symbol], dtype=float)
    square = (points / (4 * math.pi)) ** 2
    gaussians = coefficients[:, 0] * np.exp(-coefficients[:, 1] * square[..., None])
    return np.asarray(number - 41.78214 * square * gaussians.sum(axis=-1))


def mean_scattering_length(composition: Mapping[str, float], radiation: Radiation) -> float:
    """Return the mean over all atoms of the scattering length at q = 0, in fm (neutrons) or electrons (X-rays)."""
    total = sum(composition.values())
    return sum(share / total * float(scattering_length(symbol, radiation)) for symbol, share in composition.items())


def pair_weights(
    composition: Mapping[str, float],
    pairs: Sequence[tuple[str, str]],
    radiation: Radiation,
    q: npt.ArrayLike = 0.0,
) -> Array:
    r"""Return the weights of partial functions in the total one.

    .. math:: w_{ab}(q) = (2 - \delta_{ab})\, c_a c_b f_a(q) f_b(q) / \langle f(q) \rangle^2

    which add up to 1 (Faber and Ziman, Phil. Mag. 11, 153 (1965)).

    Parameters
    ----------
    composition : mapping of str to float
        Share, or number, of the atoms of each element.
    pairs : sequence of (str, str)
        Every combination of elements once, in any order.
    radiation : {'x-ray', 'neutron'}
        What is scattered.
    q : array_like, shape (n_q,) or ()
        Å⁻¹.

    Returns
    -------
    ndarray, shape (n_pairs, n_q) or (n_pairs,)

    Raises
    ------
    ValueError
        If a combination is missing or there twice, or the mean scattering length vanishes.
    """
    elements = list(composition)
    wanted = {frozenset((a, b)) for a in elements for b in elements}
    given = [frozenset(pair) for pair in pairs]
    if set(given) != wanted or len(given) != len(wanted):
        raise ValueError(
            f'the total needs every pair of {", ".join(elements)} once, there are '
            f'{", ".join("–".join(pair) for pair in pairs) or "none"}'
        )
    total = sum(composition.values())
    amplitude = {
        symbol: share / total * scattering_length(symbol, radiation, q) for symbol, share in composition.items()
    }
    mean = np.sum(list(amplitude.values()), axis=0)
    if np.any(np.abs(mean) < 1e-3 * np.sum(np.abs(list(amplitude.values())), axis=0)):
        raise ValueError('the mean scattering length vanishes: the total cannot be normalised by it')
    return np.array([(1 if a == b else 2) * amplitude[a] * amplitude[b] / mean**2 for a, b in pairs])
