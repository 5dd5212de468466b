"""The labelled-frames file: chunked HDF5 with one block per ordered list of atoms, written and read as a stream."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py
import numpy as np
from ase.data import chemical_symbols

from .frame_block import FRAME_DTYPES, FrameBlock, InvalidFramesError, block_atoms
from .frames_surface import check_energy_kinds, combine_engines
from .hdf5 import (
    SLAB_BYTES,
    DamagedFileError,
    append_rows,
    canonical_json,
    create_rows,
    hash_dataset,
    open_hdf5,
    read_json_dataset,
    read_text,
    rows_in,
    write_attribute,
    write_json_dataset,
)
from .ordered_atoms import OrderedAtoms

if TYPE_CHECKING:
    from ase import Atoms

SCHEMA = 'softclay-frames/1'
VIRIAL_CONVENTION = 'virial = -volume * stress (tension positive stress), eV, positive in compression, no kinetic part'
#: Arrays that compression does not make smaller.
NOISY = ('positions', 'forces', 'energies', 'virials')
UNSPECIFIED = 'unspecified'


class BlockView(OrderedAtoms):
    """Frames of one ordered list of atoms in an open file; arrays are read when sliced.

    Attributes ``positions``, ``cells``, ``energies``, ``forces``, ``virials`` (None if there are none),
    ``temperature`` and ``source_index`` are HDF5 datasets with the shapes and units of :class:`FrameBlock`.
    """

    def __init__(self, group: h5py.Group) -> None:
        self._group = group
        try:
            self.atomic_numbers: np.ndarray = group['atomic_numbers'][:]
            names = [name for name in FRAME_DTYPES if name != 'virials' or 'virials' in group]
            self.datasets: dict[str, h5py.Dataset] = {name: group[name] for name in names}
        except (KeyError, OSError) as exception:
            raise DamagedFileError(f'block {group.name} of the frames file is damaged: {exception}') from exception
        lengths = {len(dataset) for dataset in self.datasets.values()}
        if len(lengths) != 1:
            raise DamagedFileError(f'block {group.name} of the frames file has arrays of different lengths')
        self.positions: h5py.Dataset = self.datasets['positions']
        self.cells: h5py.Dataset = self.datasets['cells']
        self.energies: h5py.Dataset = self.datasets['energies']
        self.forces: h5py.Dataset = self.datasets['forces']
        self.virials: h5py.Dataset | None = self.datasets.get('virials')
        self.temperature: h5py.Dataset = self.datasets['temperature']
        self.source_index: h5py.Dataset = self.datasets['source_index']

    def __repr__(self) -> str:
        return f'<BlockView {self.formula}: {self.n_frames} frames>'

    @property
    def key(self) -> tuple[bytes, bool]:
        """What makes this block: its atoms in order, and whether it has virials."""
        return self.atomic_numbers.astype('<i4').tobytes(), self.virials is not None

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.energies)

    @property
    def slab(self) -> int:
        """Number of frames that are streamed at once: whole chunks, as far as they fit."""
        rows, chunk = rows_in(SLAB_BYTES, self.n_atoms * 24 + 128), self.positions.chunks[0]
        return max(rows // chunk * chunk, min(rows, chunk))

    def read(self, start: int = 0, stop: int | None = None) -> FrameBlock:
        """Read the frames ``start`` to ``stop`` (exclusive) into memory."""
        arrays = {name: data[start:stop] for name, data in self.datasets.items() if name != 'source_index'}
        return FrameBlock(atomic_numbers=self.atomic_numbers, **arrays)

    def iter_slabs(self) -> Iterator[tuple[int, FrameBlock]]:
        """Yield (index of the first frame, frames) in pieces of bounded size."""
        for start in range(0, self.n_frames, self.slab):
            yield start, self.read(start, start + self.slab)

    def atoms(self, index: int) -> Atoms:
        """Return one frame with its labels as ASE atoms (stress −virial/volume, tension positive)."""
        return block_atoms(self.read(index, index + 1), 0)


class FramesFile:
    """Labelled frames of many compositions in one HDF5 file; a context manager.

    Parameters
    ----------
    source : str, Path or binary file object
        The file.
    mode : {'r', 'w', 'a'}
        Read, write a new file, or append to an existing one.
    energy_kind : str, optional
        Which energy the labels are (for VASP ``e_fr_energy``, ``e_0_energy`` or ``e_wo_entrp``). Taken from the first
        block that knows it if not given.
    engine : dict, optional
        Program, version, model or functional that computed the labels; taken from the first block if not given.

    Raises
    ------
    DamagedFileError
        If the file to read is not a frames file.
    """

    def __init__(
        self,
        source: str | Path | BinaryIO,
        mode: str = 'r',
        energy_kind: str | None = None,
        engine: dict[str, Any] | None = None,
    ) -> None:
        self._file = open_hdf5(source, mode)
        self._writable = mode != 'r'
        self._sources: list[dict[str, Any]] = []
        self._source_places: dict[str, int] = {}
        self._dirty = False
        self._blocks: dict[tuple[bytes, bool], BlockView] = {}
        try:
            if len(self._file.attrs) == 0 and self._writable:
                write_attribute(self._file, 'schema', SCHEMA)
                write_attribute(self._file, 'virial_convention', VIRIAL_CONVENTION)
                self._file.create_group('blocks')
                self._energy_kind, self._engine = energy_kind or UNSPECIFIED, dict(engine or {})
                self._described = energy_kind is not None or engine is not None
                self._dirty = True
            else:
                self._load()
            group = self._file['blocks']
            views = (BlockView(group[name]) for name in sorted(group, key=int))
            self._blocks = {view.key: view for view in views}
            if mode == 'a' and (energy_kind is not None or engine is not None):
                self.describe(energy_kind or self._energy_kind, dict(engine or self._engine))
        except Exception:
            self._file.close()
            raise

    def _load(self) -> None:
        schema = read_text(self._file, 'schema') if 'schema' in self._file.attrs else None
        if schema != SCHEMA or 'blocks' not in self._file:
            raise DamagedFileError(f'{self._file.filename} is not a labelled-frames file (schema {schema!r})')
        self._energy_kind = read_text(self._file, 'energy_kind')
        try:
            self._engine = json.loads(read_text(self._file, 'engine'))
        except ValueError as exception:
            raise DamagedFileError(f'the engine record of {self._file.filename} is unreadable') from exception
        self._sources = read_json_dataset(self._file, 'sources')
        for place, source in enumerate(self._sources):
            self._source_places.setdefault(canonical_json(source), place)
        self._described = bool(self._engine) or self._energy_kind != UNSPECIFIED

    def __enter__(self) -> FramesFile:
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
        """Write the origin records, so that the file is complete up to here."""
        if self._dirty:
            write_attribute(self._file, 'energy_kind', self._energy_kind)
            write_attribute(self._file, 'engine', canonical_json(self._engine))
            write_json_dataset(self._file, 'sources', self._sources)
            self._dirty = False
        if self._writable:
            self._file.flush()

    @property
    def energy_kind(self) -> str:
        """Which energy the labels are."""
        return self._energy_kind

    @property
    def engine(self) -> dict[str, Any]:
        """Program, version, model or functional that computed the labels."""
        return dict(self._engine)

    @property
    def virial_convention(self) -> str:
        """Sign, unit and content of the virials."""
        return read_text(self._file, 'virial_convention')

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Origin records; ``source_index`` of a frame points into this list."""
        return [dict(source) for source in self._sources]

    @property
    def n_frames(self) -> int:
        """Number of frames of all blocks."""
        return sum(view.n_frames for view in self.blocks())

    @property
    def formulas(self) -> list[str]:
        """Full formulas of the compositions, sorted, each once."""
        return sorted({view.formula for view in self.blocks()})

    @property
    def elements(self) -> list[str]:
        """Chemical symbols that occur, ordered by atomic number."""
        numbers: set[int] = set()
        for view in self.blocks():
            numbers.update(view.atomic_numbers.tolist())
        return [chemical_symbols[number] for number in sorted(numbers)]

    def blocks(self) -> Iterator[BlockView]:
        """Yield the blocks in the order in which they were first written."""
        yield from self._blocks.values()

    def describe(self, energy_kind: str, engine: dict[str, Any]) -> None:
        """Record the origin of frames about to be added, or check that it is the one recorded.

        Raises
        ------
        IncompatibleFramesError
            If the labels would not lie on one energy surface.
        """
        self._require_writable()
        if not self._described and self.n_frames == 0:
            self._energy_kind, self._engine, self._described = energy_kind, dict(engine), True
        else:
            check_energy_kinds(self._energy_kind, energy_kind)
            self._engine = combine_engines(self._engine, engine)
        self._dirty = True

    def append(self, block: FrameBlock, source: dict[str, Any] | None = None) -> None:
        """Append frames.

        Parameters
        ----------
        block : FrameBlock
            Frames; go to the block with the same atoms in the same order.
        source : dict
            Where they are from; ``label`` and ``stage`` are the keys that splitting and reports know.

        Raises
        ------
        InvalidFramesError
            If frames are broken; nothing is written then.
        IncompatibleFramesError
            If energy kind or engine differ from what the file holds.
        """
        self._require_writable()
        arrays = block.validated()
        numbers = arrays.pop('atomic_numbers')
        if 'energy_kind' in block.provenance or 'engine' in block.provenance:
            self.describe(
                block.provenance.get('energy_kind', self._energy_kind), block.provenance.get('engine', self._engine)
            )
        index = self.add_source(source or {'label': UNSPECIFIED})
        arrays['source_index'] = np.full(block.n_frames, index, dtype='<i4')
        self.append_arrays(numbers, arrays)

    def _require_writable(self) -> None:
        if not self._writable:
            raise ValueError("the frames file is open for reading: open it with mode='a' to append")

    def add_source(self, source: dict[str, Any]) -> int:
        """Return the index of an origin record, adding it if it is new.

        Raises
        ------
        InvalidFramesError
            If the record is not plain JSON.
        """
        try:
            plain = json.loads(canonical_json(source))
        except (TypeError, ValueError) as exception:
            raise InvalidFramesError(
                f'the source of frames must be a dictionary of plain values: {exception}'
            ) from None
        key = canonical_json(plain)
        if key not in self._source_places:
            self._require_writable()
            self._source_places[key] = len(self._sources)
            self._sources.append(plain)
            self._dirty = True
        return self._source_places[key]

    def append_arrays(self, numbers: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
        """Append checked arrays, named and typed as in :data:`FRAME_DTYPES`, to their block."""
        self._require_writable()
        key = np.ascontiguousarray(numbers, dtype='<i4').tobytes(), 'virials' in arrays
        view = self._blocks.get(key)
        if view is None:
            group = self._file['blocks'].create_group(f'{len(self._blocks):04d}')
            group.create_dataset('atomic_numbers', data=np.asarray(numbers, dtype='<i4'), track_times=False)
            for name in FRAME_DTYPES:
                if name in arrays:
                    create_rows(group, name, arrays[name].shape[1:], FRAME_DTYPES[name], noisy=name in NOISY)
            view = self._blocks[key] = BlockView(group)
        for name, dataset in view.datasets.items():
            append_rows(dataset, arrays[name])

    def content_hash(self) -> str:
        """Return the SHA-256 of the content: arrays and records in canonical order, independent of the HDF5 bytes."""
        hasher = hashlib.sha256()
        header = {
            'schema': SCHEMA,
            'virial_convention': self.virial_convention,
            'energy_kind': self._energy_kind,
            'engine': self._engine,
            'sources': self._sources,
        }
        hasher.update(canonical_json(header).encode())
        for view in sorted(self.blocks(), key=lambda view: view.key):
            hasher.update(b'block:' + view.key[0])
            for name in sorted(view.datasets):
                hash_dataset(hasher, view.datasets[name], name, FRAME_DTYPES[name])
        return hasher.hexdigest()
