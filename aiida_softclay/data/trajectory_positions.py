"""Positions on a grid of stated resolution: whole numbers of two bytes relative to a reference frame."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from .hdf5 import SLAB_BYTES, DamagedFileError, append_rows, create_rows, rows_in, write_attribute

#: Resolution of the positions of a molecular dynamics run, Å: rounded to half of it, far below thermal motion.
MD_RESOLUTION = 1.0e-3
#: Displacements from the reference that two bytes hold, in steps of the grid.
LARGEST_DISPLACEMENT = 32767
LARGEST_GRID_POINT = 2**31 - 1

DISPLACEMENTS, REFERENCES, STARTS = 'displacements', 'references', 'reference_starts'


class GridPositions:
    """Positions (n_frames, n_atoms, 3) in Å that are stored as displacements on a grid; sliced like an HDF5 dataset.

    A reference frame (four bytes for each coordinate, compressed) serves all frames that follow it until an atom is
    farther from it than two bytes can say, 32 Å at a resolution of 0.001 Å; that frame is the next reference. So no
    frame is out of range, and a frame costs 6 bytes for each atom. Displacements are not compressed: the last digits of
    thermal motion are random, and reading would be slower by an order of magnitude.

    Parameters
    ----------
    group : h5py.Group
        Where the datasets are.
    resolution : float
        Spacing of the grid, Å; positions are rounded to the nearest point.
    """

    dtype = np.dtype('<f4')
    ndim = 3

    def __init__(self, group: h5py.Group, resolution: float) -> None:
        self.resolution = resolution
        self._rows: h5py.Dataset = group[DISPLACEMENTS]
        self._references: h5py.Dataset = group[REFERENCES]
        self._starts: h5py.Dataset = group[STARTS]
        self._last: npt.NDArray[np.int64] | None = None
        self._cached: tuple[int, npt.NDArray[np.int32]] | None = None
        self._pending: list[npt.NDArray[np.int16]] = []

    @classmethod
    def create(cls, group: h5py.Group, n_atoms: int, resolution: float) -> GridPositions:
        """Create the datasets of a new file."""
        write_attribute(group, 'resolution_A', float(resolution))
        create_rows(group, DISPLACEMENTS, (n_atoms, 3), '<i2', noisy=True)
        create_rows(group, REFERENCES, (n_atoms, 3), '<i4')
        create_rows(group, STARTS, (), '<i8')
        return cls(group, resolution)

    def __len__(self) -> int:
        return self._rows.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of frames, atoms and axes."""
        return self._rows.shape

    @property
    def n_references(self) -> int:
        """Number of reference frames."""
        return self._references.shape[0]

    def put(self, positions: npt.NDArray[np.float64]) -> None:
        """Take the positions (n_atoms, 3) of the next frame; they are in the file after :meth:`flush`.

        Raises
        ------
        ValueError
            If an atom is too far from the origin for four bytes.
        """
        scaled = np.rint(positions / self.resolution)
        if np.abs(scaled).max(initial=0.0) > LARGEST_GRID_POINT:
            raise ValueError(f'an atom is {np.abs(positions).max():.3g} Å from the origin, beyond the grid')
        grid = scaled.astype(np.int64)
        if self._last is None and self.n_references:
            self._last = self._references[-1].astype(np.int64)
        if self._last is None or np.abs(grid - self._last).max(initial=0) > LARGEST_DISPLACEMENT:
            # The reference is known to the file before the frame is: a file that is cut between still reads.
            append_rows(self._references, grid[None].astype('<i4'))
            append_rows(self._starts, np.array([len(self) + len(self._pending)], dtype='<i8'))
            self._last = grid
        self._pending.append((grid - self._last).astype('<i2'))

    def flush(self) -> None:
        """Write the frames that were taken."""
        if self._pending:
            rows, self._pending = np.array(self._pending), []
            append_rows(self._rows, rows)

    def _reference(self, number: int) -> npt.NDArray[np.int32]:
        if self._cached is None or self._cached[0] != number:
            self._cached = number, self._references[number]
        return self._cached[1]

    def grid(self, start: int, stop: int) -> npt.NDArray[np.int32]:
        """Return the grid points of consecutive frames, the same wherever the references lie."""
        rows = self._rows[start:stop].astype('<i4')
        for number, first, last in self._spans(np.arange(start, stop)):
            rows[first:last] += self._reference(number)
        return rows

    def add_to_hash(self, hasher: Any) -> None:
        """Feed the grid points to a hash, slab by slab, independent of where the references lie.

        Raises
        ------
        DamagedFileError
            If a chunk cannot be read.
        """
        hasher.update(f'positions:<i4:{tuple(self.shape)};'.encode())
        size = rows_in(SLAB_BYTES, self.shape[1] * 12, most=1 << 20)
        try:
            for start in range(0, len(self), size):
                hasher.update(np.ascontiguousarray(self.grid(start, min(start + size, len(self))), dtype='<i4').data)
        except OSError as exception:
            raise DamagedFileError(f'the positions of the file are damaged: {exception}') from exception

    def _spans(self, frames: npt.NDArray[np.int64]) -> list[tuple[int, int, int]]:
        """Return ``(reference, first, last)`` of the stretches of increasing frame numbers that share a reference."""
        owner = np.searchsorted(self._starts[:], frames, side='right') - 1
        edges = np.flatnonzero(np.diff(owner)) + 1
        firsts, lasts = [0, *edges.tolist()], [*edges.tolist(), len(frames)]
        return [(int(owner[first]), first, last) for first, last in zip(firsts, lasts, strict=True) if first < last]

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        frames, *rest = key if isinstance(key, tuple) else (key,)
        if frames is Ellipsis:
            frames, rest = slice(None), [Ellipsis, *rest]
        if isinstance(frames, (int, np.integer)):
            index = int(frames)
            if not -len(self) <= index < len(self):
                raise IndexError(f'there is no frame {index}: the trajectory has {len(self)} frames')
            index %= len(self)
            return self._decode(slice(index, index + 1), np.array([index]), rest)[0]
        if isinstance(frames, slice):
            numbers = np.arange(*frames.indices(len(self)))
            if frames.step is not None and frames.step < 0:
                return self._pick(numbers, rest)
            return self._decode(frames, numbers, rest)
        chosen = np.asarray(frames)
        return self._pick(np.flatnonzero(chosen) if chosen.dtype == bool else chosen % max(len(self), 1), rest)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def _pick(self, numbers: npt.NDArray[np.int64], rest: list[Any]) -> npt.NDArray[np.float32]:
        """Return frames in any order."""
        different, place = np.unique(numbers.astype(np.int64), return_inverse=True)
        return self._decode(different, different, rest)[place]

    def _decode(self, frames: Any, numbers: npt.NDArray[np.int64], rest: list[Any]) -> npt.NDArray[np.float32]:
        rows = self._rows[frames]
        if rest:
            rows = rows[(slice(None), *rest)]
        found = np.empty(rows.shape, dtype=np.float32)
        scale = np.float32(self.resolution)
        for number, first, last in self._spans(numbers):
            reference = self._reference(number)
            reference = reference[tuple(rest)] if rest else reference
            origin = (reference * self.resolution).astype(np.float32)
            # Frame by frame: what is scaled is added to while it is still in the cache.
            for row in range(first, last):
                np.multiply(rows[row], scale, out=found[row, ...])
                found[row] += origin
        return found
