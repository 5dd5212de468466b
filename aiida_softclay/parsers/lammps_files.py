"""Readers of what a LAMMPS run leaves behind: binary dumps, the final dump and the headers of restart files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from aiida_softclay.data.lammps_dump import cell_from_bounds, corner_from_bounds

DUMP_MAGIC = b'DUMPCUSTOM'
RESTART_MAGIC = b'LammpS RestartT\x00'
RESTART_STEP_FLAG = 5
LARGEST_TEXT = 4096
LARGEST_ATOMS = 10**9


@dataclass(frozen=True)
class DumpFrame:
    """One frame: absolute step, unwrapped positions (n_atoms, 3) in Å and cell (3, 3) in Å, rows are vectors."""

    step: int
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]


class _EndOfFileError(Exception):
    """The file ends inside a frame."""


def _take(handle: BinaryIO, form: str) -> tuple:
    size = struct.calcsize('<' + form)
    data = handle.read(size)
    if len(data) < size:
        raise _EndOfFileError
    return struct.unpack('<' + form, data)


def iter_dump(path: Path) -> Iterator[DumpFrame]:
    """Yield the whole frames of a binary dump of ``xu yu zu`` sorted by id; what is cut or damaged ends it.

    The layout is that of LAMMPS' ``dump custom`` to a ``.bin`` file, revision 2, little endian.
    """
    with path.open('rb') as handle:
        while True:
            try:
                frame = _read_frame(handle)
            except _EndOfFileError:
                return
            if frame is None:
                return
            yield frame


def _read_frame(handle: BinaryIO) -> DumpFrame | None:
    (magic_length,) = _take(handle, 'q')
    if magic_length != -len(DUMP_MAGIC) or handle.read(len(DUMP_MAGIC)) != DUMP_MAGIC:
        return None
    endian, revision, step, n_atoms, triclinic = _take(handle, 'iiqqi')
    if endian != 1 or revision < 2 or not 0 < n_atoms < LARGEST_ATOMS:
        return None
    _take(handle, '6i')
    bounds = np.array(_take(handle, '6d')).reshape(3, 2)
    tilts = np.array(_take(handle, '3d')) if triclinic else np.zeros(3)
    n_columns, unit_length = _take(handle, 'ii')
    if n_columns != 3 or not 0 <= unit_length < LARGEST_TEXT:
        return None
    handle.read(unit_length)
    (has_time,) = _take(handle, 'b')
    if has_time:
        _take(handle, 'd')
    (text_length,) = _take(handle, 'i')
    if not 0 <= text_length < LARGEST_TEXT:
        return None
    handle.read(text_length)
    (n_chunks,) = _take(handle, 'i')
    values = []
    for _ in range(n_chunks):
        (length,) = _take(handle, 'i')
        data = handle.read(8 * length) if 0 <= length <= 3 * n_atoms else b''
        if len(data) != 8 * length:
            return None
        values.append(np.frombuffer(data, dtype='<f8'))
    positions = np.concatenate(values) if values else np.empty(0)
    if positions.size != 3 * n_atoms:
        return None
    return DumpFrame(step, positions.reshape(n_atoms, 3), cell_from_bounds(bounds, tilts))


@dataclass(frozen=True)
class FinalState:
    """Last configuration: unwrapped positions (n_atoms, 3) in Å, velocities (n_atoms, 3) in Å/ps, cell (3, 3) in Å."""

    step: int
    types: NDArray[np.int64]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    cell: NDArray[np.float64]


def read_final_dump(path: Path) -> FinalState | None:
    """Return the last configuration, relative to the corner of the cell, or ``None`` if the file is not whole."""
    try:
        lines = path.read_text(encoding='ascii').splitlines()
        step, n_atoms = int(lines[1]), int(lines[3])
        rows = np.array([line.split() for line in lines[5:8]], dtype=float)
        table = np.array([line.split() for line in lines[9 : 9 + n_atoms]], dtype=float)
    except (OSError, UnicodeDecodeError, IndexError, ValueError):
        return None
    if table.shape != (n_atoms, 8) or rows.shape != (3, 3) or not np.isfinite(table).all():
        return None
    if not np.array_equal(table[:, 0], np.arange(1, n_atoms + 1)):
        return None
    corner = corner_from_bounds(rows[:, :2], rows[:, 2])
    cell = cell_from_bounds(rows[:, :2], rows[:, 2])
    return FinalState(step, table[:, 1].astype(int), table[:, 2:5] - corner, table[:, 5:8], cell)


def restart_step(path: Path) -> int | None:
    """Return the step of a restart file, or ``None`` if the file is missing, cut or not a restart file."""
    try:
        with path.open('rb') as handle:
            header = handle.read(256)
            if not header.startswith(RESTART_MAGIC):
                return None
            # LAMMPS closes a complete file with the same words it starts with.
            handle.seek(-len(RESTART_MAGIC), 2)
            if handle.read() != RESTART_MAGIC:
                return None
    except OSError:
        return None
    marker = b'metal\x00' + struct.pack('<i', RESTART_STEP_FLAG)
    where = header.find(marker)
    if where < 0 or len(header) < where + len(marker) + 8:
        return None
    return struct.unpack_from('<q', header, where + len(marker))[0]
