"""Partial radial distribution functions, running coordination and the first minimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols, covalent_radii
from scipy.ndimage import gaussian_filter1d

from .neighbours import neighbours, uses_minimum_image
from .trajectory import (
    Array,
    Trajectory,
    atomic_number,
    check_pairs,
    frame,
    n_frames_of,
    select_frames,
    species_of,
)

#: Where the first peak of a bond may lie, and how far its first minimum may, as multiples of the sum of covalent radii
#: (Cordero et al., Dalton Trans. 2832 (2008)). Ga–F, Ga–Cl, Li–Cl, Li–F, Mg–Cl, Mg–F bonds lie at 0.98 … 1.12.
PEAK_RANGE = (0.75, 1.35)
MINIMUM_RANGE = 1.75
FALLBACK_FACTOR = 1.4


@dataclass(frozen=True)
class RadialDistribution:
    """Partial radial distribution functions of a set of frames.

    Attributes
    ----------
    radii : ndarray, shape (n_bins,)
        Centres of the bins, Å.
    edges : ndarray, shape (n_bins + 1,)
        Edges of the bins, Å.
    pairs : tuple of (str, str)
        Central element and element of the neighbour, one for each row of the arrays below.
    g : ndarray, shape (n_pairs, n_bins)
        Partial distribution functions; 1 for an ideal gas.
    g_error : ndarray, shape (n_pairs, n_bins)
        Their standard errors from the frames (taken as independent); ``nan`` for a single frame.
    coordination : ndarray, shape (n_pairs, n_bins)
        Mean number of neighbours of a central atom closer than the upper edge of the bin.
    n_frames : int
        Number of frames.
    density : float
        Mean number density of all atoms, Å⁻³.
    """

    radii: Array
    edges: Array
    pairs: tuple[tuple[str, str], ...]
    g: Array
    g_error: Array
    coordination: Array
    n_frames: int
    density: float

    def row(self, central: str, neighbour: str) -> int:
        """Return the row of a pair.

        Raises
        ------
        KeyError
            If the pair was not computed.
        """
        if (central, neighbour) not in self.pairs:
            raise KeyError(f'{central}–{neighbour} is not among {", ".join("–".join(pair) for pair in self.pairs)}')
        return self.pairs.index((central, neighbour))


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
    :math:`\rho_b = N_b / V`. Plotted in gupta2023 Fig. 1b and yang2024 Fig. 4b.

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
    if bin_width <= 0 or r_max <= bin_width:
        raise ValueError(f'the bins make no sense: width {bin_width} Å up to {r_max} Å')
    species = species_of(trajectory)
    wanted = tuple(pairs) if pairs else tuple(combinations_with_replacement(species, 2))
    check_pairs(wanted, species)
    n_bins = round(r_max / bin_width)
    edges = np.linspace(0.0, r_max, n_bins + 1)
    shells = 4 / 3 * math.pi * np.diff(edges**3)

    numbers = np.asarray(trajectory.atomic_numbers, dtype=int)
    kind = np.array([species.index(chemical_symbols[number]) for number in numbers])
    population = np.bincount(kind, minlength=len(species))
    selected = select_frames(n_frames_of(trajectory), n_frames, start)
    g_frames = np.empty((len(selected), len(wanted), n_bins))
    counts = np.zeros((len(wanted), n_bins))
    density = 0.0
    for row, index in enumerate(selected):
        positions, cell = frame(trajectory, index)
        volume = abs(float(np.linalg.det(cell)))
        density += len(numbers) / volume / len(selected)
        own_image = 1 if uses_minimum_image(cell, r_max) else 0
        found = neighbours(positions, cell, r_max)
        bins = np.minimum((found.distances / r_max * n_bins).astype(int), n_bins - 1)
        code = (kind[found.first] * len(species) + kind[found.second]) * n_bins + bins
        histogram = np.bincount(code, minlength=len(species) ** 2 * n_bins)
        histogram = histogram.reshape(len(species), len(species), n_bins)
        for column, (central, neighbour) in enumerate(wanted):
            a, b = species.index(central), species.index(neighbour)
            around = histogram[a, b] / population[a]
            partners = population[b] - (own_image if a == b else 0)
            g_frames[row, column] = around / (partners / volume * shells) if partners else 0.0
            counts[column] += around / len(selected)
    if len(selected) > 1:
        error = g_frames.std(axis=0, ddof=1) / math.sqrt(len(selected))
    else:
        error = np.full((len(wanted), n_bins), np.nan)
    return RadialDistribution(
        radii=0.5 * (edges[1:] + edges[:-1]), edges=edges, pairs=wanted, g=g_frames.mean(axis=0), g_error=error,
        coordination=np.cumsum(counts, axis=1), n_frames=len(selected), density=density,
    )  # fmt: skip


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
    if right == after[-1] and smooth[right] > 0.05:
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
