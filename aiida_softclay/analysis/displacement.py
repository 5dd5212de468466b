"""Mean squared displacement over all time origins, in the frame of the centre of mass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import trajectory as trajectories
from .time_origins import n_lags_within, squared_displacements_of_rows, summed_squared_displacement
from .trajectory import (
    Array,
    IntArray,
    Trajectory,
    check_finite,
    indices_of,
    iter_chunks,
    masses_of,
    n_frames_of,
    species_of,
    times_ps_of,
)

#: Bytes of single-precision positions that are held at once; more atoms take another pass through the trajectory.
HELD_BYTES = 1000 * 2**20
#: Atoms whose displacements are averaged at once.
BATCH_ATOMS = 32
#: Atoms whose positions are transposed at once from frame by frame to atom by atom.
TILE_ATOMS = 64


@dataclass(frozen=True)
class MeanSquaredDisplacement:
    """Mean squared displacement of one species or class of atoms over all time origins.

    Attributes
    ----------
    species : str
        Element, or name of the class.
    lag_times : ndarray, shape (n_lags,)
        ps, from 0.
    msd : ndarray, shape (n_lags,)
        Å².
    msd_error : ndarray, shape (n_lags,)
        Standard error from the scatter over the rows of ``per_atom``, Å².
    per_atom : ndarray, shape (n_rows, n_lags)
        Mean over time origins for every atom, or for every group of atoms where groups were asked for, Å².
    blocks : ndarray, shape (n_blocks, n_lags)
        The same average from consecutive stretches of the run on their own, Å²; ``nan`` where a stretch is too short.
    n_frames : int
        Number of frames.
    n_atoms : int
        Number of atoms; 0 stands for the number of rows.
    """

    species: str
    lag_times: Array
    msd: Array
    msd_error: Array
    per_atom: Array
    blocks: Array
    n_frames: int
    n_atoms: int = 0


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
    # Displacements from the mean: the difference of large numbers would lose digits far from the origin.
    series = np.ascontiguousarray((r - r.mean(axis=0)).transpose(1, 2, 0))
    return squared_displacements_of_rows(series, n_lags_within(len(r), n_lags)).T


def centre_of_mass(trajectory: Trajectory) -> Array:
    """Return the centre of mass of all atoms in every frame, shape (n_frames, 3), Å.

    Raises
    ------
    ValueError
        If a position is not finite.
    """
    weights = masses_of(trajectory)
    return weighted_sums(trajectory, (weights / weights.sum())[:, None])[:, 0]


def weighted_sums(trajectory: Trajectory, weights: Array) -> Array:
    """Return weighted sums of the positions of all atoms in every frame, in one pass.

    Parameters
    ----------
    trajectory : Trajectory
        Frames.
    weights : ndarray, shape (n_atoms, n_sums)
        Weights of the atoms, for example 1 for the atoms of a class and 0 for all others.

    Returns
    -------
    ndarray, shape (n_frames, n_sums, 3)
        Å times the unit of the weights.

    Raises
    ------
    ValueError
        If a position is not finite.
    """
    sums = np.empty((n_frames_of(trajectory), weights.shape[1], 3))
    for first, last, piece in _iter_stored(trajectory):
        for axis in range(3):
            sums[first:last, :, axis] = piece[:, :, axis].astype(float) @ weights
        # The sums tell at once whether one of their positions is not finite.
        if not np.isfinite(sums[first:last]).all():
            check_finite(piece, first)
    return sums


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


def atom_classes_of(
    trajectory: Trajectory, species: Sequence[str] | None, classes: Mapping[str, npt.ArrayLike] | None
) -> dict[str, IntArray]:
    """Return the atoms of the wanted species, or those of named classes, as ``{name: indices}``.

    Raises
    ------
    ValueError
        If an element is absent, a class is empty, names an atom twice or one that is not there.
    """
    if classes is None:
        return {symbol: indices_of(trajectory, symbol) for symbol in species or species_of(trajectory)}
    if species is not None:
        raise ValueError('give either species or classes of atoms, not both')
    n_atoms = len(trajectory.atomic_numbers)
    chosen = {}
    for name, members in classes.items():
        indices = np.unique(np.asarray(members, dtype=np.int64))
        if indices.size == 0:
            raise ValueError(f'the class `{name}` holds no atoms')
        if indices.size != np.size(members) or indices[0] < 0 or indices[-1] >= n_atoms:
            raise ValueError(f'the class `{name}` names an atom twice, or one that is not among the {n_atoms} atoms')
        chosen[name] = indices
    return chosen


def mean_squared_displacement(
    trajectory: Trajectory,
    species: Sequence[str] | None = None,
    *,
    classes: Mapping[str, npt.ArrayLike] | None = None,
    max_lag_ps: float | None = None,
    n_blocks: int = 3,
    n_groups: int | None = None,
    reference: Array | None = None,
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
    classes : mapping of str to array of int, optional
        Indices of the atoms of named classes (fast and slow ions, grain boundary and bulk) instead of elements.
    max_lag_ps : float, optional
        Longest lag; half the trajectory if not given.
    n_blocks : int
        Number of consecutive stretches whose own averages are returned for error estimates.
    n_groups : int, optional
        Keep the scatter over this many groups of atoms, neighbours in the order of atoms, instead of that over single
        atoms: faster, and the only choice for long runs, where a row for every atom is larger than the positions.
    reference : ndarray, shape (n_frames, 3), optional
        Path that displacements are relative to, Å; that of the centre of mass if not given.

    Raises
    ------
    ValueError
        If an element is absent, a class is empty, positions are not finite or the frames are not equally spaced.
    """
    spacing = equal_spacing_ps(trajectory)
    n_frames = n_frames_of(trajectory)
    duration = spacing * (n_frames - 1)
    longest = duration / 2 if max_lag_ps is None else min(max_lag_ps, duration)
    # Half of an odd number of intervals must not hang on the last digit of the times.
    n_lags = round(longest / spacing - 1e-6) + 1
    wanted = atom_classes_of(trajectory, species, classes)
    path = None if reference is None else np.asarray(reference, dtype=float)
    if path is not None and path.shape != (n_frames, 3):
        raise ValueError(f'the path of the reference must have the shape ({n_frames}, 3), not {path.shape}')
    tallies = {name: _Tally(indices.size, n_frames, n_lags, n_blocks, n_groups) for name, indices in wanted.items()}
    needed = np.unique(np.concatenate(list(wanted.values())))
    held = max(1, HELD_BYTES // (n_frames * 12))
    for start in range(0, needed.size, held):
        atoms = needed[start : start + held]
        # The centre of mass comes with the first batch, which saves a pass through the file.
        paths, centre = _read(trajectory, atoms, path is None)
        path = centre if path is None else path
        for name, indices in wanted.items():
            first, last = np.searchsorted(indices, [atoms[0], atoms[-1] + 1])
            if last > first:
                tallies[name].add(paths, path - path[0], np.searchsorted(atoms, indices[first:last]), first)
        # Before the next batch is read, not after: two of them would be held.
        del paths
    if not all(np.isfinite(tally.rows).all() for tally in tallies.values()):
        # Another pass, which ends at the first position that is not finite.
        for _ in iter_chunks(trajectory):
            pass
    lag_times = np.arange(n_lags, dtype=float) * spacing
    return {name: tally.result(name, lag_times) for name, tally in tallies.items()}


class _Tally:
    """Sums of squared displacements of one class, to which atoms are added batch by batch."""

    def __init__(self, n_atoms: int, n_frames: int, n_lags: int, n_blocks: int, n_groups: int | None) -> None:
        self.n_atoms, self.n_frames, self.n_lags = n_atoms, n_frames, n_lags
        n_rows = n_atoms if n_groups is None else max(1, min(n_groups, n_atoms))
        self.edges = np.linspace(0, n_atoms, n_rows + 1).round().astype(int)
        self.rows = np.zeros((n_rows, n_lags))
        self.stretches = np.array_split(np.arange(n_frames), max(1, min(n_blocks, n_frames)))
        self.sums = np.zeros((len(self.stretches), n_lags))

    def add(self, paths: npt.NDArray[np.float32], drift: Array, chosen: IntArray, first: int) -> None:
        """Add the paths ``chosen`` of those held, which are the atoms from number ``first`` on of the class."""
        drift = np.ascontiguousarray(drift.T)
        every_atom = len(self.rows) == self.n_atoms
        position = 0
        while position < chosen.size:
            row = int(np.searchsorted(self.edges, first + position, side='right')) - 1
            # A batch is a few atoms, of one group where groups were asked for.
            end = min(chosen.size, position + BATCH_ATOMS)
            end = end if every_atom else min(end, int(self.edges[row + 1]) - first)
            batch = paths[chosen[position:end]] - drift
            batch -= batch.mean(axis=2, keepdims=True)
            if every_atom:
                self.rows[first + position : first + end] = squared_displacements_of_rows(batch, self.n_lags).T
            else:
                self.rows[row] += summed_squared_displacement(batch, self.n_lags)
            for number, stretch in enumerate(self.stretches):
                if len(self.stretches) > 1:
                    inside = summed_squared_displacement(
                        batch[:, :, stretch[0] : stretch[-1] + 1], min(self.n_lags, stretch.size)
                    )
                    self.sums[number, : inside.size] += inside
            position = end

    def result(self, name: str, lag_times: Array) -> MeanSquaredDisplacement:
        """Return the averages."""
        sizes = np.diff(self.edges)
        msd = self.rows.sum(axis=0) / self.n_atoms
        if not np.isfinite(msd).all():
            raise ValueError(f'the displacements of {name} are not finite: the path of the reference is not')
        blocks = np.full(self.sums.shape, np.nan)
        for number, stretch in enumerate(self.stretches):
            reach = min(self.n_lags, stretch.size)
            blocks[number, :reach] = self.sums[number, :reach] / self.n_atoms
        if len(self.stretches) == 1:
            blocks[0] = msd
        per_atom = self.rows
        per_atom /= sizes[:, None]
        n_rows = len(per_atom)
        error = per_atom.std(axis=0, ddof=1) / math.sqrt(n_rows) if n_rows > 1 else np.full(self.n_lags, np.nan)
        return MeanSquaredDisplacement(
            species=name, lag_times=lag_times, msd=msd, msd_error=error, per_atom=per_atom, blocks=blocks,
            n_frames=self.n_frames, n_atoms=self.n_atoms,
        )  # fmt: skip


def _iter_stored(trajectory: Trajectory) -> Iterator[tuple[int, int, npt.NDArray[Any]]]:
    """Yield ``(first, last, positions)`` of consecutive pieces of bounded size, as precise as they are stored."""
    n_frames = n_frames_of(trajectory)
    size = max(1, trajectories.CHUNK_BYTES // (len(trajectory.atomic_numbers) * 24))
    for first in range(0, n_frames, size):
        last = min(first + size, n_frames)
        yield first, last, np.asarray(trajectory.positions[first:last])


def _read(
    trajectory: Trajectory, atoms: IntArray, with_centre: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Return the paths of some atoms, shape (n_atoms, 3, n_frames), and that of the centre of mass of all if wanted."""
    n_frames = n_frames_of(trajectory)
    paths = np.empty((atoms.size, 3, n_frames), dtype=np.float32)
    centre = np.empty((n_frames if with_centre else 0, 3))
    # A trajectory that lacks atoms has no masses of the whole, and needs none where another reference is given.
    weights = masses_of(trajectory) if with_centre else np.ones(1)
    weights /= weights.sum()
    # Consecutive atoms are cut out, which costs nothing; others are gathered.
    together = atoms[-1] - atoms[0] + 1 == atoms.size
    chosen: Any = slice(int(atoms[0]), int(atoms[-1]) + 1) if together else atoms
    origin: npt.NDArray[Any] | None = None
    for first, last, piece in _iter_stored(trajectory):
        if with_centre:
            centre[first:last] = np.einsum('fni,n->fi', piece, weights)
        part = piece[:, chosen]
        if part.dtype != np.float32:
            # Displacements are far smaller than positions: single precision holds them to 1e-6 Å.
            origin = part[0].copy() if origin is None else origin
            part = part - origin
        # Tile by tile, so that lines of the cache are filled before they are written back.
        for tile in range(0, atoms.size, TILE_ATOMS):
            paths[tile : tile + TILE_ATOMS, :, first:last] = part[:, tile : tile + TILE_ATOMS].transpose(1, 2, 0)
    return paths, centre
