"""Trajectories in the formats of other programs, written frame by frame."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np
import numpy.typing as npt

from .telling import told
from .trajectory_file import Frame, TrajectoryFile

#: Steps of XTC per nm: 1e5 are steps of 1e-4 Å, rounded to half of it.
XTC_PRECISION = 1.0e5
#: Time unit of DCD files in ps: that in which kcal/mol, Å and atomic masses make forces.
DCD_TIME_PS = 0.0488882129
LARGEST_PDB_SERIAL = 99999
FORMATS = ('xtc', 'dcd', 'lammpstrj', 'extxyz')
#: Formats that hold coordinates only, and need a file that names the atoms.
WITHOUT_ATOMS = ('xtc', 'dcd')

Array = npt.NDArray[np.float64]
Write = Callable[[Frame, Array, Array], None]


class ExportError(ValueError):
    """A trajectory that cannot be written as asked; the message says what to do."""


def standard_frame(frame: Frame) -> tuple[Array, Array]:
    """Return positions and cell with the first lattice vector along x and the second in the plane of x and y.

    That is how LAMMPS has them, and what all of these formats can hold; other cells are turned.

    Returns
    -------
    positions : ndarray, shape (n_atoms, 3), Å
    cell : ndarray, shape (3, 3), Å
        Lower triangular, rows are lattice vectors.
    """
    cell, positions = np.asarray(frame.cell, dtype=float), np.asarray(frame.positions, dtype=float)
    if not np.triu(cell, 1).any() and (np.diag(cell) > 0).all():
        return positions, cell
    if np.linalg.det(cell) < 0:
        raise ExportError(f'step {frame.step}: the lattice vectors are left-handed')
    standard = np.linalg.cholesky(cell @ cell.T)
    return positions @ np.linalg.solve(cell, standard), standard


def export_trajectory(
    trajectory: TrajectoryFile,
    target: Path,
    form: str | None = None,
    start: int = 0,
    stop: int | None = None,
    stride: int = 1,
) -> list[Path]:
    """Write frames in a format that MDAnalysis and OVITO read; positions stay unwrapped.

    Parameters
    ----------
    trajectory : TrajectoryFile
        Open for reading.
    target : Path
        File to write. Beside ``.xtc`` and ``.dcd`` a ``.pdb`` of the first frame, wrapped into its cell, names the
        atoms.
    form : str, optional
        ``xtc`` (GROMACS, rounded to 1e-4 Å; needs MDAnalysis), ``dcd`` (single precision), ``lammpstrj`` (text dump of
        LAMMPS, 1e-4 Å) or ``extxyz`` (text, 1e-4 Å); the suffix of the file if not given.
    start, stop, stride : int
        Frames, as in a slice.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ExportError
        If the format is unknown, nothing is left to write, or a program is missing.
    """
    form = form or target.suffix.lstrip('.').lower()
    if form not in FORMATS:
        raise ExportError(f'`{form}` is no format to export to: choose from {", ".join(FORMATS)}')
    numbers = range(*slice(start, stop, stride).indices(trajectory.n_frames))
    if not numbers:
        raise ExportError(f'no frame is left of {trajectory.n_frames}: change start, stop and stride')
    written = [target]
    if form in WITHOUT_ATOMS:
        written.append(target.with_suffix('.pdb'))
        frame = next(trajectory.iter_frames(numbers[0], numbers[0] + 1))
        written[-1].write_text(pdb_text(trajectory.symbols, *standard_frame(frame)), encoding='ascii')
    steps = trajectory.steps[:][list(numbers)]
    with WRITERS[form](trajectory, target, steps) as write:
        frames = trajectory.iter_frames(start, stop, stride)
        for frame in told(frames, f'writing frames to {target.name}', len(numbers)):
            write(frame, *standard_frame(frame))
    return written


@contextmanager
def _xtc(trajectory: TrajectoryFile, target: Path, steps: npt.NDArray[np.int64]) -> Iterator[Write]:
    try:
        from MDAnalysis.lib.formats.libmdaxdr import XTCFile
    except ImportError:
        raise ExportError('XTC is written by MDAnalysis: `pip install MDAnalysis`, or export to .dcd') from None
    with XTCFile(str(target), 'w') as file:

        def write(frame: Frame, positions: Array, cell: Array) -> None:
            time = frame.step * trajectory.timestep_ps
            file.write(
                (positions / 10).astype('f4'), (cell / 10).astype('f4'), frame.step, time, precision=XTC_PRECISION
            )

        yield write


@contextmanager
def _dcd(trajectory: TrajectoryFile, target: Path, steps: npt.NDArray[np.int64]) -> Iterator[Write]:
    between = int(steps[1] - steps[0]) if len(steps) > 1 else 1
    with target.open('wb') as file:
        control = [len(steps), int(steps[0]), between, *[0] * 17]
        header = struct.pack('<4s20i', b'CORD', *control)
        # The time step is a floating-point number among whole ones; then: with cells, in the layout of CHARMM 24.
        delta = struct.pack('<fi', trajectory.timestep_ps / DCD_TIME_PS, 1)
        header = header[:40] + delta + header[48:80] + struct.pack('<i', 24)
        _record(file, header)
        _record(file, struct.pack('<i80s', 1, b'written by aiida-softclay, unwrapped'.ljust(80)))
        _record(file, struct.pack('<i', trajectory.n_atoms))

        def write(frame: Frame, positions: Array, cell: Array) -> None:
            (a, b, c), (alpha, beta, gamma) = _lengths_and_angles(cell)
            _record(file, struct.pack('<6d', a, gamma, b, beta, alpha, c))
            for axis in range(3):
                _record(file, positions[:, axis].astype('<f4').tobytes())

        yield write


def _record(file: BinaryIO, data: bytes) -> None:
    size = struct.pack('<i', len(data))
    file.write(size + data + size)


@contextmanager
def _lammpstrj(trajectory: TrajectoryFile, target: Path, steps: npt.NDArray[np.int64]) -> Iterator[Write]:
    types = {number: row for row, number in enumerate(dict.fromkeys(trajectory.atomic_numbers.tolist()), start=1)}
    labels = [
        f'{index} {types[int(number)]} {symbol}'
        for index, (number, symbol) in enumerate(
            zip(trajectory.atomic_numbers, trajectory.symbols, strict=True), start=1
        )
    ]
    with target.open('w', encoding='ascii') as file:

        def write(frame: Frame, positions: Array, cell: Array) -> None:
            xy, xz, yz = cell[1, 0], cell[2, 0], cell[2, 1]
            bounds = [
                (min(0.0, xy, xz, xy + xz), cell[0, 0] + max(0.0, xy, xz, xy + xz), xy),
                (min(0.0, yz), cell[1, 1] + max(0.0, yz), xz),
                (0.0, cell[2, 2], yz),
            ]
            file.write(f'ITEM: TIMESTEP\n{frame.step}\nITEM: NUMBER OF ATOMS\n{trajectory.n_atoms}\n')
            file.write('ITEM: BOX BOUNDS xy xz yz pp pp pp\n')
            file.writelines(f'{low:.10f} {high:.10f} {tilt:.10f}\n' for low, high, tilt in bounds)
            file.write('ITEM: ATOMS id type element xu yu zu\n')
            _write_rows(file, labels, positions)

        yield write


@contextmanager
def _extxyz(trajectory: TrajectoryFile, target: Path, steps: npt.NDArray[np.int64]) -> Iterator[Write]:
    labels = trajectory.symbols
    with target.open('w', encoding='ascii') as file:

        def write(frame: Frame, positions: Array, cell: Array) -> None:
            lattice = ' '.join(f'{value:.10f}' for value in cell.ravel())
            time = frame.step * trajectory.timestep_ps
            file.write(
                f'{trajectory.n_atoms}\nLattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="T T T" '
                f'Step={frame.step} Time={time:.10g}\n'
            )
            _write_rows(file, labels, positions)

        yield write


def _write_rows(file: TextIO, labels: list[str], positions: Array) -> None:
    file.writelines(
        f'{label} {x:.4f} {y:.4f} {z:.4f}\n' for label, (x, y, z) in zip(labels, positions.tolist(), strict=True)
    )


WRITERS = {'xtc': _xtc, 'dcd': _dcd, 'lammpstrj': _lammpstrj, 'extxyz': _extxyz}


def _lengths_and_angles(cell: Array) -> tuple[Array, list[float]]:
    lengths = np.linalg.norm(cell, axis=1)
    angles = []
    for first, second in ((1, 2), (0, 2), (0, 1)):
        cosine = float(cell[first] @ cell[second] / (lengths[first] * lengths[second]))
        angles.append(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))))
    return lengths, angles


def pdb_text(symbols: list[str], positions: Array, cell: Array) -> str:
    """Return one frame, wrapped into its cell, as a PDB file that names the element of every atom."""
    lengths, angles = _lengths_and_angles(cell)
    scaled = np.linalg.solve(cell.T, positions.T).T
    wrapped = (scaled - np.floor(scaled)) @ cell
    lines = [
        'CRYST1' + ''.join(f'{x:9.3f}' for x in lengths) + ''.join(f'{x:7.2f}' for x in angles) + ' P 1           1'
    ]
    for index, (symbol, (x, y, z)) in enumerate(zip(symbols, wrapped.tolist(), strict=True), start=1):
        serial = (index - 1) % LARGEST_PDB_SERIAL + 1
        lines.append(
            f'HETATM{serial:5d} {symbol.upper():>2s}   ION A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          '
            f'{symbol.upper():>2s}'
        )
    return '\n'.join([*lines, 'END', ''])
