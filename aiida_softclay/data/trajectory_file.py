"""The molecular-dynamics trajectory file: chunked HDF5, written frame by frame and read by slices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py
import numpy as np
from ase.data import chemical_symbols

from .hdf5 import (
    CHUNK_BYTES,
    SLAB_BYTES,
    DamagedFileError,
    append_rows,
    canonical_json,
    create_rows,
    hash_dataset,
    open_hdf5,
    read_text,
    rows_in,
    write_attribute,
)
from .ordered_atoms import OrderedAtoms
from .trajectory_positions import GridPositions

if TYPE_CHECKING:
    from ase import Atoms

#: Positions as numbers of single precision, and on a grid.
SCHEMA, GRID_SCHEMA = 'softclay-trajectory/1', 'softclay-trajectory/2'
#: A grid as coarse as thermal motion would be seen in the results, Å.
LARGEST_RESOLUTION = 0.01
DTYPES = {'positions': '<f4', 'cells': '<f8', 'steps': '<i8'}
NOTHING = np.empty(0)


class InvalidTrajectoryError(ValueError):
    """Frames that do not continue the trajectory: wrong shape, not finite, a step that does not increase."""


@dataclass(frozen=True)
class Frame:
    """One frame: ``step``, ``positions`` (n_atoms, 3) in Å, unwrapped, and ``cell`` (3, 3) in Å, rows are vectors."""

    step: int
    positions: np.ndarray
    cell: np.ndarray


class TrajectoryFile(OrderedAtoms):
    """A trajectory of one system; a context manager.

    ``positions`` (n_frames, n_atoms, 3) in Å, unwrapped, ``cells`` (n_frames, 3, 3) in Å with lattice vectors as rows
    and ``steps`` (n_frames,), absolute and strictly increasing, are HDF5 datasets, or the like: slicing them reads only
    the slice. Positions have single precision and take 12 bytes for each atom and frame, or lie on a grid
    (:class:`~aiida_softclay.data.trajectory_positions.GridPositions`) and take 6.

    Parameters
    ----------
    source : str, Path or binary file object
        The file.
    mode : {'r', 'w', 'a'}
        Read, write a new file, or append.
    atomic_numbers : array of int, shape (n_atoms,)
        Elements in the order of the atoms; needed for a new file.
    timestep_ps : float
        Time step in ps; needed for a new file.
    engine : dict, optional
        Program, version and potential that made it.
    stage : str
        Name of the stage of the plan.
    resolution : float, optional
        Spacing in Å of the grid to which the positions of a new file are rounded; single precision if not given.

    Raises
    ------
    DamagedFileError
        If the file to read is not a trajectory file.
    """

    def __init__(
        self,
        source: str | Path | BinaryIO,
        mode: str = 'r',
        atomic_numbers: Sequence[int] | np.ndarray | None = None,
        timestep_ps: float | None = None,
        engine: dict[str, Any] | None = None,
        stage: str = '',
        resolution: float | None = None,
    ) -> None:
        if mode == 'w':
            if atomic_numbers is None or timestep_ps is None:
                raise ValueError('a new trajectory needs atomic_numbers and timestep_ps')
            if not timestep_ps > 0 or not np.isfinite(timestep_ps):
                raise ValueError(f'the time step must be a positive number of ps, not {timestep_ps}')
            if resolution is not None and not 0 < resolution <= LARGEST_RESOLUTION:
                raise ValueError(f'the resolution must lie between 0 and {LARGEST_RESOLUTION} Å, not {resolution}')
            numbers = np.asarray(atomic_numbers)
            if numbers.ndim != 1 or not len(numbers) or numbers.min() < 1 or numbers.max() >= len(chemical_symbols):
                raise ValueError(
                    f'atomic_numbers must be a list of whole numbers from 1 to {len(chemical_symbols) - 1}'
                )
        self._file = open_hdf5(source, mode)
        self._writable = mode != 'r'
        self._pending: list[tuple[np.ndarray, np.ndarray, int]] = []
        try:
            if mode == 'w':
                write_attribute(self._file, 'schema', SCHEMA if resolution is None else GRID_SCHEMA)
                write_attribute(self._file, 'timestep_ps', float(timestep_ps))  # type: ignore[arg-type]
                write_attribute(self._file, 'engine', canonical_json(engine or {}))
                write_attribute(self._file, 'stage', stage)
                self._file.create_dataset('atomic_numbers', data=numbers.astype('<i4'), track_times=False)
                if resolution is None:
                    create_rows(self._file, 'positions', (len(numbers), 3), DTYPES['positions'], noisy=True)
                else:
                    GridPositions.create(self._file, len(numbers), resolution)
                create_rows(self._file, 'cells', (3, 3), DTYPES['cells'])
                create_rows(self._file, 'steps', (), DTYPES['steps'])
            self._load()
        except Exception:
            self._file.close()
            raise

    def _load(self) -> None:
        schema = read_text(self._file, 'schema') if 'schema' in self._file.attrs else None
        if schema not in (SCHEMA, GRID_SCHEMA):
            raise DamagedFileError(f'{self._file.filename} is not a trajectory file (schema {schema!r})')
        try:
            self.atomic_numbers: np.ndarray = self._file['atomic_numbers'][:]
            names = ('cells', 'steps') if schema == GRID_SCHEMA else tuple(DTYPES)
            self._datasets: dict[str, h5py.Dataset] = {name: self._file[name] for name in names}
            self._grid: GridPositions | None = None
            if schema == GRID_SCHEMA:
                self._grid = GridPositions(self._file, float(self._file.attrs['resolution_A']))
            self.timestep_ps = float(self._file.attrs['timestep_ps'])
            self.engine: dict[str, Any] = json.loads(read_text(self._file, 'engine'))
            self.stage = read_text(self._file, 'stage')
            steps = self._file['steps']
            self._last_step: int | None = int(steps[-1]) if len(steps) else None
        except (KeyError, OSError, ValueError) as exception:
            raise DamagedFileError(f'{self._file.filename} is damaged: {exception}') from exception
        if len({len(dataset) for dataset in (self._positions, *self._datasets.values())}) != 1:
            raise DamagedFileError(f'{self._file.filename} is damaged: its arrays have different lengths')

    @property
    def _positions(self) -> h5py.Dataset | GridPositions:
        return self._datasets['positions'] if self._grid is None else self._grid

    @property
    def resolution(self) -> float | None:
        """Spacing of the grid of the positions in Å, None if they have single precision."""
        return None if self._grid is None else self._grid.resolution

    @property
    def encoding(self) -> str:
        """How positions are stored."""
        return 'float32' if self._grid is None else 'int16 displacements on a grid'

    def __enter__(self) -> TrajectoryFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is pending and close the file."""
        if self._file.id.valid:
            self.flush()
            self._file.close()

    def flush(self) -> None:
        """Write pending frames."""
        if not self._writable:
            return
        if self._pending:
            positions, cells, steps = (np.array(column) for column in zip(*self._pending, strict=True))
            self._pending = []
            if self._grid is None:
                append_rows(self._datasets['positions'], positions)
            else:
                self._grid.flush()
            append_rows(self._datasets['cells'], cells)
            append_rows(self._datasets['steps'], steps)
        self._file.flush()

    def __len__(self) -> int:
        return self.n_frames

    @property
    def positions(self) -> h5py.Dataset | GridPositions:
        """Dataset (n_frames, n_atoms, 3), Å, unwrapped, of single precision."""
        self.flush()
        return self._positions

    @property
    def cells(self) -> h5py.Dataset:
        """Dataset (n_frames, 3, 3), Å, rows are lattice vectors."""
        self.flush()
        return self._datasets['cells']

    @property
    def steps(self) -> h5py.Dataset:
        """Dataset (n_frames,), absolute time-step numbers."""
        self.flush()
        return self._datasets['steps']

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self._datasets['steps']) + len(self._pending)

    @property
    def left_out(self) -> dict[str, int]:
        """Atoms of the system by element that are in no frame: without them the centre of mass is not known."""
        return dict(self.engine.get('atoms_left_out') or {})

    @property
    def element_order(self) -> list[str]:
        """Elements of the system in the order of its first atoms of each, those in no frame included.

        Where the file lacks elements and does not say their order, they come last.
        """
        return list(self.engine.get('element_order') or dict.fromkeys([*self.symbols, *self.left_out]))

    @property
    def times_ps(self) -> np.ndarray:
        """Absolute times, shape (n_frames,), ps."""
        return self.steps[:] * self.timestep_ps

    def append(self, positions: np.ndarray, cell: np.ndarray, step: int) -> None:
        """Append one frame.

        Parameters
        ----------
        positions : ndarray, shape (n_atoms, 3), Å, unwrapped
        cell : ndarray, shape (3, 3), Å, rows are lattice vectors
        step : int
            Absolute step, larger than the last one.

        Raises
        ------
        InvalidTrajectoryError
            If the frame does not fit; the file stays as it was.
        """
        if not self._writable:
            raise ValueError("the trajectory is open for reading: open it with mode='a' to append")
        positions = np.asarray(positions, dtype=DTYPES['positions'] if self._grid is None else float)
        cell = np.asarray(cell, dtype=DTYPES['cells'])
        if positions.shape != (self.n_atoms, 3) or cell.shape != (3, 3):
            raise InvalidTrajectoryError(
                f'step {step}: positions and cell have the shapes {positions.shape} and {cell.shape}, '
                f'expected {(self.n_atoms, 3)} and (3, 3)'
            )
        if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
            raise InvalidTrajectoryError(f'step {step}: positions or cell are not finite')
        if abs(np.linalg.det(cell)) < 1e-6:
            raise InvalidTrajectoryError(f'step {step}: the cell has no volume')
        if self._last_step is not None and step <= self._last_step:
            raise InvalidTrajectoryError(f'step {step} does not come after the last frame (step {self._last_step})')
        # Whole chunks are written at once: a chunk that grows frame by frame is filtered again for every frame.
        if self._grid is None:
            self._pending.append((positions.copy(), cell.copy(), int(step)))
        else:
            try:
                self._grid.put(positions)
            except ValueError as exception:
                raise InvalidTrajectoryError(f'step {step}: {exception}') from exception
            self._pending.append((NOTHING, cell.copy(), int(step)))
        self._last_step = int(step)
        if len(self._pending) >= rows_in(CHUNK_BYTES, self.n_atoms * (12 if self._grid is None else 6)):
            self.flush()

    def iter_frames(self, start: int = 0, stop: int | None = None, stride: int = 1) -> Iterator[Frame]:
        """Yield frames, reading slabs of bounded size (``start``, ``stop``, ``stride`` as in a slice, stride > 0)."""
        if stride < 1:
            raise ValueError(f'the stride must be at least 1, not {stride}')
        self.flush()
        start, stop, _ = slice(start, stop).indices(self.n_frames)
        size = rows_in(SLAB_BYTES, self.n_atoms * 12)
        # With a wide stride, reading the frames between would cost more than separate reads.
        block = size if stride <= 16 else stride
        block = max(block // stride, 1) * stride
        for first in range(start, stop, block):
            chosen = slice(first, min(first + block, stop), stride)
            positions, cells, steps = (
                self._positions[chosen],
                self._datasets['cells'][chosen],
                self._datasets['steps'][chosen],
            )
            for row, step in enumerate(steps):
                yield Frame(int(step), positions[row], cells[row])

    def atoms(self, index: int, wrap: bool = False) -> Atoms:
        """Return a frame as ASE atoms, with unwrapped positions unless ``wrap``."""
        from ase import Atoms

        atoms = Atoms(self.atomic_numbers, positions=self.positions[index], cell=self.cells[index], pbc=True)
        if wrap:
            atoms.wrap()
        return atoms

    def content_hash(self) -> str:
        """Return the SHA-256 of the content: arrays and records in canonical order, independent of the HDF5 bytes."""
        self.flush()
        hasher = hashlib.sha256()
        schema = SCHEMA if self._grid is None else GRID_SCHEMA
        header = {'schema': schema, 'timestep_ps': self.timestep_ps, 'engine': self.engine, 'stage': self.stage}
        if self._grid is not None:
            header['resolution_A'] = self._grid.resolution
        hasher.update(canonical_json(header).encode())
        hasher.update(self.atomic_numbers.astype('<i4').tobytes())
        for name in sorted(self._datasets):
            hash_dataset(hasher, self._datasets[name], name, DTYPES[name])
        if self._grid is not None:
            self._grid.add_to_hash(hasher)
        return hasher.hexdigest()
