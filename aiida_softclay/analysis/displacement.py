"""Mean squared displacement over all time origins, in the frame of the centre of mass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

from .trajectory import (
    Array,
    IntArray,
    Trajectory,
    indices_of,
    iter_chunks,
    masses_of,
    n_frames_of,
    species_of,
    times_ps_of,
)

#: Bytes of single-precision positions that are held at once (more atoms take another pass through the trajectory), and
#: of the transforms made of them.
HELD_BYTES = 512 * 2**20
BATCH_BYTES = 256 * 2**20


@dataclass(frozen=True)
class MeanSquaredDisplacement:
    """Mean squared displacement of one species over all time origins.

    Attributes
    ----------
    species : str
        Element.
    lag_times : ndarray, shape (n_lags,)
        ps, from 0.
    msd : ndarray, shape (n_lags,)
        Å².
    msd_error : ndarray, shape (n_lags,)
        Standard error from the scatter over atoms, Å².
    per_atom : ndarray, shape (n_atoms, n_lags)
        Mean over time origins for every atom, Å².
    blocks : ndarray, shape (n_blocks, n_lags)
        The same average from consecutive stretches of the run on their own, Å²; ``nan`` where a stretch is too short.
    n_frames : int
        Number of frames.
    """

    species: str
    lag_times: Array
    msd: Array
    msd_error: Array
    per_atom: Array
    blocks: Array
    n_frames: int


def squared_displacements(positions: npt.ArrayLike, n_lags: int | None = None) -> Array:
    r"""Return the squared displacement of every atom averaged over all time origins.

    .. math:: m_i(\tau) = \frac{1}{T - \tau} \sum_{t=0}^{T-\tau-1} |r_i(t + \tau) - r_i(t)|^2

    in :math:`O(T \log T)`: the cross term :math:`\sum_t r(t) r(t + \tau)` is an autocorrelation, taken by FFT
    (Calandrini et al., Collection SFN 12, 201 (2011), section 4.2).

    Parameters
    ----------
    positions : array_like, shape (n_frames, n_atoms, 3)
        Unwrapped positions at equal distances in time, Å.
    n_lags : int, optional
        Number of lags, from 0 on; all if not given.

    Returns
    -------
    ndarray, shape (n_atoms, n_lags)
        Å².
    """
    r = np.asarray(positions, dtype=float)
    n_frames = r.shape[0]
    n_lags = n_frames if n_lags is None else min(n_lags, n_frames)
    # Displacements from the mean: the difference of large numbers below would lose digits far from the origin.
    r = r - r.mean(axis=0)
    length = next_fast_len(2 * n_frames, real=True)
    spectrum = rfft(r, n=length, axis=0)
    correlation = irfft((spectrum * spectrum.conj()).real, n=length, axis=0)[:n_lags].sum(axis=2)
    squares = (r**2).sum(axis=2)
    # Sum of |r(t)|² + |r(t+τ)|² over the origins: all squares twice, less those that no origin reaches.
    dropped = np.zeros((n_lags, r.shape[1]))
    dropped[1:] = np.cumsum(squares[: n_lags - 1] + squares[::-1][: n_lags - 1], axis=0)
    origins = (n_frames - np.arange(n_lags))[:, None]
    msd = (2 * squares.sum(axis=0) - dropped - 2 * correlation) / origins
    msd[0] = 0.0
    return np.asarray(np.maximum(msd, 0.0).T)


def centre_of_mass(trajectory: Trajectory) -> Array:
    """Return the centre of mass of all atoms in every frame, shape (n_frames, 3), Å."""
    weights = masses_of(trajectory)
    weights = weights / weights.sum()
    path = np.empty((n_frames_of(trajectory), 3))
    for first, last, positions in iter_chunks(trajectory):
        path[first:last] = np.einsum('fni,n->fi', positions, weights)
    return path


def equal_spacing_ps(trajectory: Trajectory) -> float:
    """Return the time between two frames, ps.

    Raises
    ------
    ValueError
        If there are fewer than four frames or they are not equally spaced in time.
    """
    times = times_ps_of(trajectory)
    if times.size < 4:
        raise ValueError(f'a mean squared displacement needs four frames at least, there are {times.size}')
    spacing = np.diff(times)
    if spacing[0] <= 0 or not np.allclose(spacing, spacing[0], rtol=1e-6):
        raise ValueError('the frames are not equally spaced in time: the average over time origins needs that')
    return float(spacing[0])


def mean_squared_displacement(
    trajectory: Trajectory,
    species: Sequence[str] | None = None,
    *,
    max_lag_ps: float | None = None,
    n_blocks: int = 3,
) -> dict[str, MeanSquaredDisplacement]:
    r"""Return the mean squared displacement of each species in the frame of the centre of mass of the whole system.

    .. math:: \mathrm{MSD}_\alpha(\tau) = \frac{1}{N_\alpha} \Big\langle \sum_i |r_i(t+\tau) - r_i(t)|^2 \Big\rangle_t

    with :math:`r_i` relative to the centre of mass of all atoms (yang2024, eq. 1) and all time origins. Positions are
    read in pieces and atoms handled in batches, so that memory stays bounded.

    Parameters
    ----------
    trajectory : Trajectory
        Unwrapped frames at equal distances in time.
    species : sequence of str, optional
        Elements; all if not given.
    max_lag_ps : float, optional
        Longest lag; half the trajectory if not given.
    n_blocks : int
        Number of consecutive stretches whose own averages are returned for error estimates.

    Raises
    ------
    ValueError
        If an element is absent, or the frames are not equally spaced.
    """
    spacing = equal_spacing_ps(trajectory)
    n_frames = n_frames_of(trajectory)
    duration = spacing * (n_frames - 1)
    longest = duration / 2 if max_lag_ps is None else min(max_lag_ps, duration)
    n_lags = round(longest / spacing) + 1
    centre = centre_of_mass(trajectory)
    stretches = np.array_split(np.arange(n_frames), max(1, n_blocks))
    wanted = list(species) if species else species_of(trajectory)
    results = {}
    for symbol in wanted:
        indices = indices_of(trajectory, symbol)
        per_atom = np.empty((indices.size, n_lags))
        blocks = np.full((len(stretches), n_lags), np.nan)
        sums = np.zeros((len(stretches), n_lags))
        held = max(1, HELD_BYTES // (n_frames * 12))
        # Positions, padded spectra and correlations: about ten times the positions in double precision.
        batch = max(1, BATCH_BYTES // (n_frames * 24 * 10))
        for start in range(0, indices.size, held):
            group = _read(trajectory, indices[start : start + held], centre)
            for first in range(0, group.shape[1], batch):
                positions = group[:, first : first + batch].astype(float)
                rows = slice(start + first, start + first + positions.shape[1])
                per_atom[rows] = squared_displacements(positions, n_lags)
                for row, stretch in enumerate(stretches):
                    inside = squared_displacements(positions[stretch], n_lags)
                    sums[row, : inside.shape[1]] += inside.sum(axis=0)
        for row, stretch in enumerate(stretches):
            reach = min(n_lags, stretch.size)
            blocks[row, :reach] = sums[row, :reach] / indices.size
        deviation = per_atom.std(axis=0, ddof=1) if indices.size > 1 else np.full(n_lags, np.nan)
        results[symbol] = MeanSquaredDisplacement(
            species=symbol, lag_times=np.arange(n_lags, dtype=float) * spacing, msd=per_atom.mean(axis=0),
            msd_error=deviation / math.sqrt(indices.size), per_atom=per_atom, blocks=blocks, n_frames=n_frames,
        )  # fmt: skip
    return results


def _read(trajectory: Trajectory, indices: IntArray, centre: Array) -> npt.NDArray[np.float32]:
    """Return the paths of some atoms in the frame of the centre of mass, each from its start; read piece by piece."""
    paths = np.empty((len(centre), indices.size, 3), dtype=np.float32)
    origin: Array | None = None
    for first, last, piece in iter_chunks(trajectory):
        relative = piece[:, indices] - centre[first:last, None]
        # Displacements are far smaller than positions: single precision holds them to 1e-6 Å.
        origin = relative[0].copy() if origin is None else origin
        paths[first:last] = relative - origin
    return paths
