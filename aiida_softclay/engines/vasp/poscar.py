"""POSCAR and CONTCAR: every form of VASP read, one form written, with enough digits to continue exactly."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aiida_softclay.engines.vasp.errors import InputError

#: Marks the part of the comment line of CONTCAR in which the state of thermostat and barostat travels.
STATE_MARK = '| softclay-state'


@dataclass
class Configuration:
    """Cell, atoms and velocities.

    Attributes
    ----------
    comment : str
    names : list of str or None
        Names of the species as in the file (VASP 4 files have none).
    counts : list of int
    cell : ndarray, shape (3, 3), Å
        Rows are the lattice vectors.
    positions : ndarray, shape (n_atoms, 3), Å
        Cartesian.
    velocities : ndarray, shape (n_atoms, 3), Å/fs, or None
        Cartesian, at the time of the positions.
    state : dict
        Friction of the thermostat and strain rate of the barostat in 1/fs, if CONTCAR of this driver carried them.
    """

    comment: str
    names: list[str] | None
    counts: list[int]
    cell: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray | None = None
    state: dict[str, list[float]] = field(default_factory=dict)


def _floats(line: str, count: int) -> list[float]:
    # Fortran writes exponents with d as well as with e.
    return [float(word.replace('d', 'e').replace('D', 'e')) for word in line.split()[:count]]


def _vectors(lines: list[str], what: str) -> np.ndarray:
    rows = [_floats(line, 3) for line in lines]
    if any(len(row) != 3 for row in rows):
        raise InputError(f'POSCAR: {what} must have three numbers in each line')
    array = np.array(rows, dtype=float).reshape(-1, 3)
    if not np.isfinite(array).all():
        raise InputError(f'POSCAR: {what} must be finite numbers')
    return array


def _scaled_cell(scale: list[float], vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell and the factors of Cartesian coordinates; a negative scale is the volume of the cell."""
    if len(scale) == 1 and scale[0] < 0:
        volume = abs(np.linalg.det(vectors))
        if volume == 0:
            raise InputError('POSCAR: the lattice vectors are linearly dependent')
        scale = [(-scale[0] / volume) ** (1.0 / 3.0)]
    factors = np.array(scale * 3 if len(scale) == 1 else scale)
    if (factors <= 0).any():
        raise InputError('POSCAR: the scale must be one number that is not zero, or three positive numbers')
    return vectors * factors, factors


def _read_velocities(lines: list[str], n_atoms: int, cell: np.ndarray, timestep_fs: float) -> np.ndarray | None:
    """Return the velocities after the positions; ``None`` if the file has none, or only zeros."""
    while lines and lines[0].strip().lower().startswith('lattice velocities'):
        lines = lines[8:]
    if len(lines) < n_atoms + 1 or not any(line.strip() for line in lines[1 : n_atoms + 1]):
        if any(line.strip() for line in lines):
            raise InputError(f'POSCAR: after the positions, a line and {n_atoms} velocities are expected, or nothing')
        return None
    cartesian = lines[0].strip()[:1].lower() in ('', 'c', 'k')
    velocities = _vectors(lines[1 : n_atoms + 1], 'the velocities')
    if not velocities.any():
        return None
    if not cartesian:
        if timestep_fs <= 0:
            return None
        velocities = velocities @ cell / timestep_fs
    return velocities


def _read_state(comment: str) -> dict[str, list[float]]:
    state = {}
    _, mark, text = comment.partition(STATE_MARK)
    if mark:
        for key, values in re.findall(r'(\w+)=(\S+)', text):
            try:
                state[key] = [float(value) for value in values.split(',')]
            except ValueError:
                continue
    return state


def read_poscar(path: Path, timestep_fs: float = 0.0) -> Configuration:
    """Read a POSCAR: with or without species names, any scale, direct or Cartesian, with or without velocities.

    Parameters
    ----------
    path : Path
    timestep_fs : float
        POTIM, which turns velocities in direct coordinates (lattice vectors per time step) into Å/fs.

    Raises
    ------
    InputError
        If the file is missing or malformed, or fixes atoms by selective dynamics.
    """
    try:
        lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError as error:
        raise InputError(f'POSCAR cannot be read: {error.strerror}') from error
    try:
        return _parse(lines, timestep_fs)
    except IndexError:
        raise InputError('POSCAR ends too early') from None
    except ValueError as error:
        raise InputError(f'POSCAR cannot be understood: {error}') from error


def _parse(lines: list[str], timestep_fs: float) -> Configuration:
    if len(lines) < 8:
        raise InputError('POSCAR ends too early')
    comment = lines[0].strip()
    scale = [float(word) for word in re.findall(r'[-+]?\d*\.?\d+(?:[eEdD][-+]?\d+)?', lines[1])]
    if len(scale) != 3:
        scale = scale[:1]
    if not scale or scale[0] == 0:
        raise InputError('POSCAR: the scale in the second line must be a number that is not zero')
    cell, factors = _scaled_cell(scale, _vectors(lines[2:5], 'the lattice vectors'))
    volume = np.linalg.det(cell)
    if abs(volume) < 1e-6:
        raise InputError('POSCAR: the lattice vectors are linearly dependent')
    if volume < 0:
        raise InputError('POSCAR: the lattice vectors are left-handed; exchange two of them')
    names = None
    row = 5
    words = lines[row].split()
    if not words:
        raise InputError('POSCAR: the sixth line must hold the species or their numbers')
    if not words[0].isdigit():
        names, row = words, row + 1
    counts = [int(word) for word in lines[row].split('!')[0].split()]
    if not counts or min(counts) < 1 or (names is not None and len(names) != len(counts)):
        raise InputError('POSCAR: there must be one positive number of atoms for each species')
    row += 1
    selective = lines[row].strip()[:1].lower() == 's'
    row += selective
    cartesian = lines[row].strip()[:1].lower() in ('c', 'k')
    row += 1
    n_atoms = sum(counts)
    rows = lines[row : row + n_atoms]
    if len(rows) < n_atoms:
        raise InputError(f'POSCAR: {n_atoms} positions are announced, {len(rows)} are there')
    positions = _vectors(rows, 'the positions')
    if selective and any('F' in ' '.join(line.split()[3:6]).upper().replace('.FALSE.', 'F') for line in rows):
        raise InputError(
            'POSCAR: selective dynamics with fixed coordinates is not available; set all flags to T or remove them'
        )
    positions = positions * factors if cartesian else positions @ cell
    velocities = _read_velocities(lines[row + n_atoms :], n_atoms, cell, timestep_fs)
    return Configuration(comment, names, counts, cell, positions, velocities, _read_state(comment))


def fractional(positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return direct coordinates wrapped into [0, 1)."""
    direct = np.linalg.solve(cell.T, positions.T).T
    direct -= np.floor(direct)
    # What is below zero by less than half a rounding unit ends at exactly one.
    direct[direct >= 1.0] = 0.0
    return direct


def _state_text(state: dict[str, list[float]]) -> str:
    if not state:
        return ''
    return f' {STATE_MARK} ' + ' '.join(
        f'{key}={",".join(f"{v:.17e}" for v in values)}' for key, values in state.items()
    )


def format_contcar(configuration: Configuration, names: list[str]) -> str:
    """Return the text of a CONTCAR: direct coordinates and Cartesian velocities in Å/fs, 17 significant digits."""
    title = configuration.comment.partition(STATE_MARK)[0].strip() or ' '.join(names)
    lines = [title + _state_text(configuration.state), '   1.00000000000000']
    lines += [' %24.17g %24.17g %24.17g' % tuple(row) for row in configuration.cell]  # noqa: UP031
    lines += [' ' + ' '.join(names), ' ' + ' '.join(str(count) for count in configuration.counts), 'Direct']
    n_atoms = sum(configuration.counts)
    block = '\n'.join(['%21.17f %21.17f %21.17f'] * n_atoms)
    lines.append(block % tuple(fractional(configuration.positions, configuration.cell).ravel()))
    if configuration.velocities is not None:
        lines.append('')
        block = '\n'.join(['%24.16e %24.16e %24.16e'] * n_atoms)
        lines.append(block % tuple(configuration.velocities.ravel()))
    return '\n'.join(lines) + '\n'


def write_contcar(path: Path, configuration: Configuration, names: list[str]) -> None:
    """Write a CONTCAR so that a reader, or a kill, at any moment finds a whole one."""
    temporary = path.with_name(path.name + '.new')
    temporary.write_text(format_contcar(configuration, names), encoding='utf-8')
    os.replace(temporary, path)
