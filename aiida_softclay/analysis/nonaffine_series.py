"""Non-affine displacements along a deformation: frame pairs at equal distances of strain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .cell_choice import continuous_cells
from .coordination import Estimate
from .mechanics import strain_from_cells
from .nonaffine import mean_over_space, non_affine_displacement
from .statistics import block_average
from .trajectory import Array, IntArray, Trajectory, frame, n_frames_of

#: Share of the strain interval by which a frame may miss its place.
TOLERATED_MISS = 0.2


@dataclass(frozen=True)
class NonAffineSeries:
    """Non-affine displacement and local strain of every atom over pairs of frames.

    Attributes
    ----------
    pairs : ndarray of int, shape (n_pairs, 2)
        Frames of each pair.
    strain : ndarray, shape (n_pairs, 2) or None
        Engineering strain of these frames; ``None`` where the pairs were not chosen by strain.
    d2min : ndarray, shape (n_pairs, n_atoms)
        Å².
    shear_strain : ndarray, shape (n_pairs, n_atoms)
        Von Mises invariant of the local Green–Lagrange strain.
    mean, mean_error : ndarray, shape (n_pairs,)
        D²min averaged over the atoms, with the error of block averages over parts of the cell, Å².
    cutoff : float
        Å.
    """

    pairs: IntArray
    strain: Array | None
    d2min: Array
    shear_strain: Array
    mean: Array
    mean_error: Array
    cutoff: float

    def between(self, low: float, high: float) -> IntArray:
        """Return the rows whose two frames lie within a range of strain.

        Raises
        ------
        ValueError
            If there are none.
        """
        if self.strain is None:
            raise ValueError('these pairs of frames were not chosen by strain')
        inside = (self.strain >= low - 1e-6) & (self.strain <= high + 1e-6)
        rows = np.flatnonzero(inside.all(axis=1))
        if not rows.size:
            raise ValueError(
                f'no pair of frames lies within the strains {low:g} … {high:g}: the run covers '
                f'{self.strain.min():.3g} … {self.strain.max():.3g}'
            )
        return rows

    def average(self, atoms: IntArray | None = None, rows: IntArray | None = None) -> Estimate:
        """Return D²min averaged over atoms (all if not given) and pairs (all if not given), Å².

        The error is the larger of that over pairs, by blocks, and the typical one of a single pair, which does not fall
        with the number of pairs where the same zones stay active.
        """
        chosen = slice(None) if rows is None else rows
        table = self.d2min[chosen]
        per_pair = table.mean(axis=1) if atoms is None else table[:, atoms].mean(axis=1)
        average = block_average(per_pair)
        within = float(np.sqrt(np.mean(self.mean_error[chosen] ** 2)))
        if not np.isfinite(average.error) or within > average.error:
            return Estimate(average.mean, within, len(per_pair), 'block averages over parts of the cell')
        return Estimate(average.mean, average.error, average.n_blocks, 'block averages over pairs of frames')


def strain_of(trajectory: Trajectory, component: str) -> Array:
    """Return the engineering strain of every frame relative to the first, shape (n_frames,); flips are undone."""
    return strain_from_cells(continuous_cells(trajectory.cells[:]), component)


def pairs_by_strain(strain: Array, interval: float = 0.01) -> IntArray:
    """Return pairs of frames that lie one interval of strain apart, one after the other (gupta2023, Fig. 2: 0.01).

    Parameters
    ----------
    strain : ndarray, shape (n_frames,)
        Engineering strain of a deformation in one direction, of either sign.
    interval : float
        Distance of the two frames of a pair.

    Returns
    -------
    ndarray of int, shape (n_pairs, 2)

    Raises
    ------
    ValueError
        If the run does not reach one interval, or no frame was written near a multiple of it.
    """
    if not interval > 0:
        raise ValueError(f'the strain interval must be positive, it is {interval}')
    path = np.abs(np.asarray(strain, dtype=float) - strain[0])
    reached = float(path.max())
    n_pairs = int(np.floor(reached / interval + TOLERATED_MISS))
    if n_pairs < 1:
        raise ValueError(f'the strain reaches {reached:.3g}, less than one interval of {interval:g}')
    targets = interval * np.arange(n_pairs + 1)
    frames = np.abs(path[None] - targets[:, None]).argmin(axis=1)
    missed = np.abs(path[frames] - targets)
    if missed.max() > TOLERATED_MISS * interval:
        raise ValueError(
            f'no frame was written near the strain {targets[missed.argmax()]:.3g} (the nearest is {missed.max():.2g} '
            f'away): write frames oftener, or take an interval wider than {interval:g}'
        )
    return np.column_stack([frames[:-1], frames[1:]]).astype(np.int64)


def pairs_by_time(times_ps: Array, lag_ps: float) -> IntArray:
    """Return pairs of frames that lie a time apart, one after the other, for the thermal level of a run at rest.

    Parameters
    ----------
    times_ps : ndarray, shape (n_frames,)
        ps, increasing.
    lag_ps : float
        Time between the two frames of a pair, ps.

    Returns
    -------
    ndarray of int, shape (n_pairs, 2)

    Raises
    ------
    ValueError
        If the run is shorter than the time, or no frame was written near a multiple of it.
    """
    times = np.asarray(times_ps, dtype=float) - times_ps[0]
    if not lag_ps > 0:
        raise ValueError(f'the time between two frames must be positive, it is {lag_ps} ps')
    n_pairs = int(np.floor(times[-1] / lag_ps + TOLERATED_MISS))
    targets = lag_ps * np.arange(n_pairs + 1)
    frames = np.abs(times[None] - targets[:, None]).argmin(axis=1)
    if n_pairs < 1 or np.abs(times[frames] - targets).max() > TOLERATED_MISS * lag_ps:
        raise ValueError(
            f'the run at rest ({times[-1]:g} ps, {times.size} frames) has no frames {lag_ps:g} ps apart: make it '
            'longer, or write frames oftener'
        )
    return np.column_stack([frames[:-1], frames[1:]]).astype(np.int64)


def non_affine_series(
    trajectory: Trajectory,
    pairs: Sequence[tuple[int, int]] | IntArray,
    cutoff: float = 5.0,
    strain: Array | None = None,
) -> NonAffineSeries:
    """Return non-affine displacements and local strains over pairs of frames; two frames are held at a time.

    Parameters
    ----------
    trajectory : Trajectory
        Frames.
    pairs : sequence of (int, int)
        Reference frame and later frame of each pair, in any order and distance.
    cutoff : float
        Å; see :func:`~aiida_softclay.analysis.nonaffine.non_affine_displacement`.
    strain : ndarray, shape (n_frames,), optional
        Strain of every frame, to go with the pairs.

    Raises
    ------
    ValueError
        If there is no pair, a frame does not exist, or a pair cannot be analysed.
    """
    table = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    n_frames = n_frames_of(trajectory)
    if not len(table):
        raise ValueError('no pair of frames was given')
    if table.min() < 0 or table.max() >= n_frames:
        raise ValueError(f'there are frames 0 … {n_frames - 1}, the pairs ask for {table.min()} … {table.max()}')
    n_atoms = len(trajectory.atomic_numbers)
    d2min, shear = np.empty((len(table), n_atoms)), np.empty((len(table), n_atoms))
    mean, error = np.empty(len(table)), np.empty(len(table))
    for row, (before, after) in enumerate(_frames(trajectory, table)):
        result = non_affine_displacement(*before, *after, cutoff)
        d2min[row], shear[row] = result.d2min, result.shear_strain
        estimate = mean_over_space(result.d2min, before[0] @ np.linalg.inv(before[1]))
        mean[row], error[row] = estimate.value, estimate.error
    return NonAffineSeries(
        table, None if strain is None else np.asarray(strain)[table], d2min, shear, mean, error, float(cutoff)
    )


def _frames(trajectory: Trajectory, pairs: IntArray) -> Iterator[tuple[tuple[Array, Array], tuple[Array, Array]]]:
    """Yield the two frames of every pair; the later one of a pair is mostly the reference of the next."""
    held: dict[int, tuple[Array, Array]] = {}
    for pair in pairs.tolist():
        held = {index: held[index] if index in held else frame(trajectory, index) for index in pair}
        yield held[pair[0]], held[pair[1]]
