"""How long bonds last: survival and persistence after an origin, and the lifetime from how often they break."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .coordination import Estimate, cutoff_table
from .pair_kernel import pairs_within
from .trajectory import (
    Array,
    IntArray,
    Trajectory,
    check_pairs,
    element_labels,
    iter_frames,
    n_frames_of,
    species_of,
    times_ps_of,
)

#: Blocks of consecutive intervals whose scatter enters the error of the lifetime.
N_BLOCKS = 8
#: Expected number of events of which none is seen with a probability of 5 %.
NONE_SEEN_95 = 3.0


@dataclass(frozen=True)
class BondLifetime:
    """How long the bonds between two elements last.

    Attributes
    ----------
    pair : (str, str)
        The elements.
    times_ps : ndarray, shape (n_lags,)
        Time since the origin, ps.
    survival, survival_error : ndarray, shape (n_lags,)
        Share of the bonds of an origin that have never been broken since, and its standard error over the origins.
    persistence, persistence_error : ndarray, shape (n_lags,)
        Share of the bonds of an origin that exist, broken in between or not, and its standard error.
    lifetime : Estimate
        Mean lifetime of a bond, ps; ``inf`` with the error ``nan`` if none broke.
    lower_bound_ps : float
        Lifetime that is exceeded with 95 % confidence if no bond broke, otherwise ``nan``.
    n_broken : int
        Bonds seen to break.
    n_bonds : float
        Mean number of bonds in a frame.
    """

    pair: tuple[str, str]
    times_ps: Array
    survival: Array
    survival_error: Array
    persistence: Array
    persistence_error: Array
    lifetime: Estimate
    lower_bound_ps: float
    n_broken: int
    n_bonds: float


def _contains(haystack: IntArray, needles: IntArray) -> np.ndarray:
    """Return which of the sorted numbers are among other sorted numbers."""
    if not haystack.size:
        return np.zeros(needles.size, dtype=bool)
    place = np.minimum(np.searchsorted(haystack, needles), haystack.size - 1)
    return np.asarray(haystack[place] == needles)


@dataclass
class _Origin:
    """The bonds of one frame, followed from there on."""

    frame: int
    bonds: IntArray
    unbroken: IntArray


def bond_lifetime(
    trajectory: Trajectory,
    pair: tuple[str, str],
    cutoff: float,
    release_cutoff: float | None = None,
    n_origins: int = 10,
    start: int = 0,
) -> BondLifetime:
    r"""Return how long the bonds between two elements last.

    A bond forms when the atoms come closer than ``cutoff`` and breaks when they part beyond ``release_cutoff``, so that
    a vibration across one distance is not a broken bond. With h(t) = 1 while a bond exists,

    .. math::
        S(t) = \langle \textstyle\prod_{t' \le t} h(t_0 + t') \rangle_{h(t_0) = 1}, \qquad
        C(t) = \langle h(t_0 + t) \rangle_{h(t_0) = 1}

    are the survival and the persistence (Rapaport, Mol. Phys. 50, 1151 (1983)), up to half the run. The lifetime is
    that of an exponential decay, :math:`\tau = -\Delta t / \ln p`, with p the share of bonds that survive the interval
    :math:`\Delta t` between two frames, over all bonds and intervals: bonds that outlive the run count with the time
    they were seen. Its error is the larger of the binomial one and the scatter over eight parts of the run.

    Parameters
    ----------
    trajectory : Trajectory
        Equally spaced frames, close enough that few bonds break and form again between two of them.
    pair : (str, str)
        The elements.
    cutoff : float
        Å; the first minimum of g(r).
    release_cutoff : float, optional
        Å; the cutoff itself if not given.
    n_origins : int
        Number of origins, spread over the first half of the run.
    start : int
        First frame that may be used.

    Raises
    ------
    ValueError
        If there are fewer than four frames or they are not equally spaced, the elements or cutoffs make no sense, or
        there is no bond.
    """
    species = species_of(trajectory)
    check_pairs([pair], species)
    release = cutoff if release_cutoff is None else release_cutoff
    if not 0 < cutoff <= release < math.inf:
        raise ValueError(f'a bond must break no closer than it forms: cutoff {cutoff} Å, release {release} Å')
    times = times_ps_of(trajectory)[start:]
    if len(times) < 4 or n_origins < 1:
        raise ValueError(f'{len(times)} frames are too few for a lifetime: four are needed, and one origin')
    intervals = np.diff(times)
    if not np.allclose(intervals, intervals[0], rtol=1e-6) or intervals[0] <= 0:
        raise ValueError('the frames must be equally spaced in time: keep them at one stride')
    n_frames = len(times)
    n_lags = (n_frames + 1) // 2
    last_origin = n_frames - n_lags
    chosen = set(np.linspace(0, last_origin, min(n_origins, last_origin + 1)).round().astype(int).tolist())

    table, labels = cutoff_table({pair: release}, species), element_labels(trajectory)
    n_atoms = labels.size
    origins: list[_Origin] = []
    survivors, present = np.full((2, len(chosen), n_lags), np.nan)
    survived, broken = np.zeros((2, n_frames - 1), dtype=np.int64)
    bonds = np.empty(0, dtype=np.int64)
    number = np.zeros(n_frames)
    frames = range(start, n_frames_of(trajectory))
    for frame, (_, positions, cell) in enumerate(iter_frames(trajectory, frames)):
        found = pairs_within(positions, cell, table, labels)
        code = np.minimum(found.first, found.second) * n_atoms + np.maximum(found.first, found.second)
        code, which = np.unique(code, return_inverse=True)
        near = np.zeros(code.size, dtype=bool)
        near[which[found.distances < cutoff]] = True
        now = code[near | _contains(bonds, code)]
        if frame:
            kept = int(_contains(now, bonds).sum())
            survived[frame - 1], broken[frame - 1] = kept, bonds.size - kept
        bonds = now
        number[frame] = bonds.size
        if frame in chosen and bonds.size:
            origins.append(_Origin(frame, bonds, bonds))
        for row, origin in enumerate(origins):
            lag = frame - origin.frame
            if lag < n_lags:
                origin.unbroken = origin.unbroken[_contains(bonds, origin.unbroken)]
                survivors[row, lag] = origin.unbroken.size / origin.bonds.size
                present[row, lag] = _contains(bonds, origin.bonds).mean()
    if not origins:
        raise ValueError(f'no {pair[0]}–{pair[1]} bond is shorter than {cutoff:g} Å at any origin')
    n_used = len(origins)
    spread = np.full((2, n_lags), np.nan)
    if n_used > 1:
        spread = np.stack([survivors[:n_used], present[:n_used]]).std(axis=1, ddof=1) / math.sqrt(n_used)
    estimate, bound = _lifetime(survived, broken, float(intervals[0]))
    return BondLifetime(
        pair=pair, times_ps=np.arange(n_lags, dtype=float) * float(intervals[0]),
        survival=survivors[:n_used].mean(axis=0), survival_error=spread[0],
        persistence=present[:n_used].mean(axis=0), persistence_error=spread[1],
        lifetime=estimate, lower_bound_ps=bound, n_broken=int(broken.sum()), n_bonds=float(number.mean()),
    )  # fmt: skip


def _lifetime(survived: IntArray, broken: IntArray, interval: float) -> tuple[Estimate, float]:
    """Return the lifetime and, where nothing broke, its lower bound, from what happened in every interval."""
    trials, events = int((survived + broken).sum()), int(broken.sum())
    if events == 0:
        bound = trials * interval / NONE_SEEN_95
        return Estimate(math.inf, math.nan, 0, 'no bond broke: there is only a lower bound'), bound
    if events == trials:
        raise ValueError('every bond breaks before the next frame: keep frames more often')
    share = events / trials
    error, n_samples, method = math.sqrt(share * (1 - share) / trials), events, 'binomial over bonds'
    if broken.size >= 2 * N_BLOCKS:
        parts = np.array_split(np.arange(broken.size), N_BLOCKS)
        shares = [broken[part].sum() / max(int((survived + broken)[part].sum()), 1) for part in parts]
        scatter = float(np.std(shares, ddof=1)) / math.sqrt(N_BLOCKS)
        if scatter > error:
            error, n_samples, method = scatter, N_BLOCKS, 'scatter over parts of the run'
    logarithm = math.log1p(-share)
    slope = interval / ((1 - share) * logarithm**2)
    return Estimate(-interval / logarithm, slope * error, n_samples, method), math.nan
