"""Partial radial distribution functions, running coordination and the first minimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase.data import covalent_radii
from scipy.ndimage import gaussian_filter1d

from .class_rdf import RadialDistribution, class_radial_distribution
from .trajectory import Trajectory, atomic_number

__all__ = ['BondCutoff', 'RadialDistribution', 'bond_cutoffs', 'first_minimum', 'radial_distribution']

#: Where the first peak of a bond may lie, and how far its first minimum may, as multiples of the sum of covalent radii
#: (Cordero et al., Dalton Trans. 2832 (2008)). Ga–F, Ga–Cl, Li–Cl, Li–F, Mg–Cl, Mg–F bonds lie at 0.98 … 1.12.
PEAK_RANGE = (0.75, 1.35)
MINIMUM_RANGE = 1.75
FALLBACK_FACTOR = 1.4


def radial_distribution(
    trajectory: Trajectory,
    pairs: Sequence[tuple[str, str]] | None = None,
    *,
    r_max: float = 8.0,
    bin_width: float = 0.05,
    n_frames: int | None = 20,
    start: int = 0,
) -> RadialDistribution:
    r"""Return partial radial distribution functions, averaged over frames.

    .. math::
        g_{ab}(r) = \frac{\langle n_{ab}(r, r + \mathrm{d}r) \rangle}{\rho_b\, \frac{4}{3}\pi [(r+\mathrm{d}r)^3 - r^3]}

    with :math:`n_{ab}` the number of b atoms in the shell around an a atom and
    :math:`\rho_b = (N_b - \delta_{ab}) / V` in each frame's own volume, which is exactly 1 for an ideal gas of any
    size. Where ``r_max`` exceeds half the smallest height of the cell, an atom's own images are neighbours as well and
    :math:`\rho_b = N_b / V`. Plotted in gupta2023 Fig. 1b and yang2024 Fig. 4b. Elements are the simplest classes of
    :func:`~aiida_softclay.analysis.class_rdf.class_radial_distribution`.

    Parameters
    ----------
    trajectory : Trajectory
        Frames; see :class:`~aiida_softclay.analysis.trajectory.ArrayTrajectory` for plain arrays.
    pairs : sequence of (str, str), optional
        Central element and neighbour; all combinations if not given.
    r_max, bin_width : float
        Range and width of the bins, Å.
    n_frames : int, optional
        Number of frames spread evenly over the trajectory; all for ``None``.
    start : int
        First frame that may be used.

    Raises
    ------
    ValueError
        If an element is absent, or the range or the bins make no sense.
    """
    return class_radial_distribution(
        trajectory, {}, pairs, r_max=r_max, bin_width=bin_width, n_frames=n_frames, start=start
    )


@dataclass(frozen=True)
class BondCutoff:
    """The distance up to which two atoms count as bonded.

    Attributes
    ----------
    pair : (str, str)
        The elements.
    cutoff : float
        Å.
    peak : float
        Position of the first peak, Å; ``nan`` if none was found.
    method : str
        ``first minimum of g(r)``, or ``fallback`` with the reason.
    """

    pair: tuple[str, str]
    cutoff: float
    peak: float
    method: str


def first_minimum(radii: npt.ArrayLike, g: npt.ArrayLike, pair: tuple[str, str], smoothing: float = 0.05) -> BondCutoff:
    """Return the first minimum of g(r) after the bond peak, or a fallback where the peak is absent.

    The peak is the highest point between 0.75 and 1.35 times the sum of the covalent radii and must exceed 1; the
    minimum is the lowest point between it and 1.75 times that sum, or the middle of the gap where g vanishes there.
    Without such a peak (the bond does not exist before the anions exchange), or without a rise after the minimum, the
    cutoff is 1.4 times the sum of the covalent radii.

    Parameters
    ----------
    radii, g : array_like, shape (n_bins,)
        Bin centres (Å) and partial distribution function.
    pair : (str, str)
        The elements.
    smoothing : float
        Standard deviation of the Gaussian that removes the noise before the search, Å.
    """
    r, values = np.asarray(radii, dtype=float), np.asarray(g, dtype=float)
    bond = float(covalent_radii[atomic_number(pair[0])] + covalent_radii[atomic_number(pair[1])])

    def fallback(reason: str, peak: float = math.nan) -> BondCutoff:
        method = f'fallback {FALLBACK_FACTOR} × sum of covalent radii: {reason}'
        return BondCutoff(pair, FALLBACK_FACTOR * bond, peak, method)

    if r[-1] < MINIMUM_RANGE * bond:
        return fallback('g(r) ends too early')
    smooth = gaussian_filter1d(values, smoothing / (r[1] - r[0]), mode='nearest')
    inside = np.flatnonzero((r >= PEAK_RANGE[0] * bond) & (r <= PEAK_RANGE[1] * bond))
    top = int(inside[np.argmax(smooth[inside])])
    if smooth[top] < 1.0:
        return fallback('no bond peak above 1')
    if top == inside[-1]:
        return fallback('g(r) still rises where the bond peak should be over')
    after = np.arange(top, np.searchsorted(r, MINIMUM_RANGE * bond, side='right'))
    lowest = int(after[np.argmin(smooth[after])])
    # In a nearly empty gap the lowest point is an accident: take the middle of all points about as low.
    too_high = after[smooth[after] > smooth[lowest] + 0.01 * smooth[top]]
    left = int(too_high[too_high < lowest].max(initial=top)) + 1
    right = int(too_high[too_high > lowest].min(initial=after[-1] + 1)) - 1
    # A gap that is empty needs no rise behind it; the next shell may lie beyond the range.
    if right == after[-1] and smooth[lowest] > 0.05:
        return fallback('g(r) has no minimum behind the bond peak', float(r[top]))
    return BondCutoff(pair, float(0.5 * (r[left] + r[right])), float(r[top]), 'first minimum of g(r)')


def bond_cutoffs(distributions: Sequence[RadialDistribution]) -> dict[tuple[str, str], BondCutoff]:
    """Return the cutoff of every pair from the mean g(r) of several states.

    One cutoff for all states: a bond that only exists after the melt gets its peak from there, and a change of
    coordination never comes from a change of cutoff.

    Raises
    ------
    ValueError
        If the states were computed with different pairs or bins.
    """
    reference = distributions[0]
    for other in distributions[1:]:
        if other.pairs != reference.pairs or not np.array_equal(other.edges, reference.edges):
            raise ValueError('the radial distribution functions differ in pairs or bins')
    # The mean has a peak wherever most of the states have one; a bond that is rare in the mean is looked for state by
    # state before the fallback is taken.
    cutoffs = {}
    for row, pair in enumerate(reference.pairs):
        curves = [distribution.g[row] for distribution in distributions]
        candidates = [first_minimum(reference.radii, curve, pair) for curve in [np.mean(curves, axis=0), *curves]]
        found = [candidate for candidate in candidates if not candidate.method.startswith('fallback')]
        cutoffs[pair] = found[0] if found else candidates[0]
    return cutoffs
