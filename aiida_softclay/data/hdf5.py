"""Deterministic, chunked HDF5: what the frames file and the trajectory file share.

Two files with the same content written in the same way have the same bytes (no time stamps, no variable-length heap
strings), and :func:`hash_dataset` hashes content rather than bytes, so that the hash survives another chunking,
another compression or another HDF5 version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

#: Target size of one chunk before compression: small enough to pick frames at random, large enough to compress.
CHUNK_BYTES = 128 * 1024
#: How much is held in memory at once when a file is streamed.
SLAB_BYTES = 8 * 1024 * 1024
#: For the small arrays (cells, energies, steps), which repeat much and cost nothing.
GZIP_LEVEL = 1


class DamagedFileError(ValueError):
    """The file is not a readable file of the expected kind: truncated, overwritten or something else."""


def rows_in(n_bytes: int, row_bytes: int, most: int = 4096) -> int:
    """Return how many rows of ``row_bytes`` fit into ``n_bytes``: at least 1 and at most ``most``."""
    return int(max(1, min(most, n_bytes // max(row_bytes, 1))))


def open_hdf5(source: str | Path | BinaryIO, mode: str) -> h5py.File:
    """Open an HDF5 file.

    Parameters
    ----------
    source : str, Path or binary file object
        What to open.
    mode : {'r', 'w', 'a'}
        As for :class:`h5py.File`; ``'a'`` appends to an existing file.

    Raises
    ------
    ValueError
        If the mode is unknown.
    FileNotFoundError
        If a file that should be read does not exist.
    DamagedFileError
        If the file is not HDF5 or is truncated.
    """
    if mode not in ('r', 'w', 'a'):
        raise ValueError(f"unknown mode {mode!r}: use 'r', 'w' or 'a'")
    if isinstance(source, (str, Path)):
        if mode == 'r' and not Path(source).is_file():
            raise FileNotFoundError(f'there is no file {source}')
        source = str(source)
    # Without the lock several readers work on network file systems that know no locks; a writer keeps the lock.
    options: dict[str, Any] = {'locking': False} if isinstance(source, str) and mode == 'r' else {}
    try:
        return h5py.File(source, mode, libver=('earliest', 'v110'), **options)
    except OSError as exception:
        if mode == 'w':
            raise
        name = getattr(source, 'name', source)
        raise DamagedFileError(f'{name} is not a readable HDF5 file (damaged or truncated): {exception}') from exception


def create_rows(
    group: h5py.Group, name: str, row_shape: tuple[int, ...], dtype: str, noisy: bool = False
) -> h5py.Dataset:
    """Create an empty dataset of shape (0, *row_shape) that grows along its first axis.

    Thermal coordinates and forces (``noisy``) are stored with a checksum but not compressed: their mantissas are
    random, so gzip brings 12 to 10.2 bytes per atom and frame at a tenth of the speed (rounding to 1e-4 Å first would
    bring 8.6). Everything else is compressed.
    """
    filters: dict[str, Any] = {'compression': 'gzip', 'compression_opts': GZIP_LEVEL, 'shuffle': True}
    if noisy:
        filters = {'fletcher32': True}
    row_bytes = int(np.prod(row_shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return group.create_dataset(
        name,
        shape=(0, *row_shape),
        maxshape=(None, *row_shape),
        chunks=(rows_in(CHUNK_BYTES, row_bytes), *row_shape),
        dtype=dtype,
        track_times=False,
        **filters,
    )


def append_rows(dataset: h5py.Dataset, rows: np.ndarray) -> None:
    """Append rows to a dataset made by :func:`create_rows`."""
    start = dataset.shape[0]
    dataset.resize(start + len(rows), axis=0)
    dataset[start:] = rows


def read_rows_again(dataset: h5py.Dataset, start: int, stop: int) -> np.ndarray:
    """Return rows whose checksums have been verified a moment ago: the stored bytes as they are, five times as fast.

    Only for datasets of :func:`create_rows`; those that are compressed are read as usual.
    """
    if dataset.compression is not None or dataset.shuffle or not dataset.fletcher32:
        return dataset[start:stop]
    size, row_shape = dataset.chunks[0], dataset.shape[1:]
    values = int(np.prod(row_shape, dtype=np.int64))
    rows = np.empty((stop - start, *row_shape), dtype=dataset.dtype)
    for first in range(start // size * size, stop, size):
        _, chunk = dataset.id.read_direct_chunk((first, *(0 for _ in row_shape)))
        # The checksum follows the rows; the last chunk is as long as the others.
        found = np.frombuffer(chunk, dtype=dataset.dtype, count=size * values).reshape(size, *row_shape)
        left, right = max(first, start), min(first + size, stop)
        rows[left - start : right - start] = found[left - first : right - first]
    return rows


def write_attribute(group: h5py.Group, name: str, value: str | float | int) -> None:
    """Write an attribute; strings as fixed-length bytes, whose place in the file is deterministic."""
    group.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value


def read_text(group: h5py.Group, name: str) -> str:
    """Read a string attribute.

    Raises
    ------
    DamagedFileError
        If the attribute is missing.
    """
    try:
        value = group.attrs[name]
    except KeyError as exception:
        raise DamagedFileError(f'the file has no attribute {name!r}: it is not a file of this kind') from exception
    return value.decode() if isinstance(value, bytes) else str(value)


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces, the same for equal content."""
    return json.dumps(value, sort_keys=True, separators=(',', ':'), ensure_ascii=True, allow_nan=False)


def write_json_dataset(group: h5py.Group, name: str, value: Any) -> None:
    """Write JSON of any length (an attribute is limited to 64 kB) as a dataset of bytes that can be rewritten."""
    data = np.frombuffer(canonical_json(value).encode(), dtype=np.uint8)
    if name not in group:
        group.create_dataset(name, shape=(0,), maxshape=(None,), chunks=(1024,), dtype='u1', track_times=False)
    group[name].resize((len(data),))
    group[name][:] = data


def read_json_dataset(group: h5py.Group, name: str) -> Any:
    """Read what :func:`write_json_dataset` wrote.

    Raises
    ------
    DamagedFileError
        If it is missing or not JSON.
    """
    try:
        return json.loads(group[name][:].tobytes().decode())
    except (KeyError, ValueError, OSError) as exception:
        raise DamagedFileError(f'the table {name!r} of the file is missing or unreadable: {exception}') from exception


def hash_dataset(hasher: Any, dataset: h5py.Dataset, name: str, dtype: str) -> None:
    """Feed a dataset to ``hasher`` as C-ordered little-endian bytes, slab by slab.

    Raises
    ------
    DamagedFileError
        If a chunk cannot be read.
    """
    hasher.update(f'{name}:{dtype}:{tuple(dataset.shape)};'.encode())
    row_bytes = int(np.prod(dataset.shape[1:], dtype=np.int64)) * np.dtype(dtype).itemsize
    rows = rows_in(SLAB_BYTES, row_bytes, most=1 << 20)
    try:
        for start in range(0, dataset.shape[0], rows):
            hasher.update(np.ascontiguousarray(dataset[start : start + rows], dtype=dtype).data)
    except OSError as exception:
        raise DamagedFileError(f'the array {name!r} of the file is damaged: {exception}') from exception
