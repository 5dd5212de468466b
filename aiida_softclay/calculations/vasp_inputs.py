"""POSCAR and CONTCAR with velocities, in the order of sites that VASP wants and back.

VASP takes the atoms grouped by species. A structure whose species alternate is therefore written in another order than
its sites; :func:`vasp_order` is that order, and everything read back is returned to the order of the sites.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.units import _amu, _k

Array = npt.NDArray[np.float64]


#: (1 m/s in Å/fs)
A_FS_PER_M_S = 1e-5


class PoscarError(ValueError):
    """A POSCAR or CONTCAR that cannot be read."""


def vasp_order(kinds: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the sites in the order of VASP: grouped by kind, kinds and sites in the order they first appear.

    Parameters
    ----------
    kinds : sequence of str, length n_sites
        Kind of each site.

    Returns
    -------
    ndarray, shape (n_sites,)
        ``order[i]`` is the site that VASP knows as its atom ``i``.
    """
    first = {kind: index for index, kind in reversed(list(enumerate(kinds)))}
    return np.argsort([first[kind] for kind in kinds], kind='stable').astype(np.int64)


def grouped_kinds(kinds: Sequence[str]) -> list[tuple[str, int]]:
    """Return the kinds in the order of POSCAR and POTCAR with their numbers of atoms."""
    return [(kind, list(kinds).count(kind)) for kind in dict.fromkeys(kinds)]


@dataclass(frozen=True)
class Poscar:
    """What a POSCAR or CONTCAR holds, atoms in the order of the file.

    Attributes
    ----------
    cell : ndarray, shape (3, 3), Å, rows are lattice vectors
    symbols : list of str, length n_atoms
    positions : ndarray, shape (n_atoms, 3), Å, as written (wrapped or not)
    velocities : ndarray, shape (n_atoms, 3), Å/fs, or None
    lattice_velocities : ndarray, shape (3, 3), as in the file, or None
    comment : str
        First line; the VASP-compatible driver keeps the state of thermostat and barostat in it, after a ``|``.
    """

    cell: Array
    symbols: list[str]
    positions: Array
    velocities: Array | None
    lattice_velocities: Array | None
    comment: str = ''

    @property
    def state(self) -> str:
        """What follows the first ``|`` of the comment line, if it is nothing but names, numbers and signs."""
        state = self.comment.partition('|')[2].strip()
        return state if re.fullmatch(r'[\w=,.+\- ]*', state) else ''

    @property
    def steps(self) -> int | None:
        """Steps of the run that wrote the file, if it says so in its state."""
        found = re.search(r'\bsteps=([\d.]+(?:[eE][-+]?\d+)?)(?:\s|$)', self.state)
        return round(float(found.group(1))) if found else None

    @property
    def carried_state(self) -> str:
        """The state without the number of steps, which belongs to the run that ended."""
        return ' '.join(word for word in self.state.split() if not word.startswith('steps='))


def poscar_text(
    cell: npt.ArrayLike,
    symbols: Sequence[str],
    positions: npt.ArrayLike,
    *,
    kinds: Sequence[str] | None = None,
    velocities: npt.ArrayLike | None = None,
    lattice_velocities: npt.ArrayLike | None = None,
    movable: Sequence[Sequence[Any]] | None = None,
    comment: str = '',
    state: str = '',
) -> str:
    """Return a POSCAR, atoms given in the order of the sites and written in that of :func:`vasp_order`.

    Parameters
    ----------
    cell : array_like, shape (3, 3), Å
        Rows are lattice vectors.
    symbols : sequence of str
        Element of each site: POSCAR names elements, so that they can be compared with POTCAR.
    positions : array_like, shape (n_sites, 3), Å
        Cartesian.
    kinds : sequence of str, optional
        Kind of each site, if an element comes in several.
    velocities : array_like, shape (n_sites, 3), Å/fs, optional
        Cartesian.
    lattice_velocities : array_like, shape (3, 3), optional
        As read from a CONTCAR.
    movable : sequence, shape (n_sites, 3), optional
        Whether a site may move along each axis (selective dynamics).
    comment : str
        First line, cut to 36 characters.
    state : str
        State of thermostat and barostat as :attr:`Poscar.state` gave it; VASP cuts the line before it.

    Returns
    -------
    str
        The file; all numbers survive a round trip within the last digit of double precision.
    """
    cell = np.asarray(cell, dtype=float)
    names = list(kinds) if kinds is not None else list(symbols)
    order = vasp_order(names)
    symbol_of = dict(zip(names, symbols, strict=True))
    groups = grouped_kinds(names)
    title = comment.splitlines()[0].replace('|', ' ')[:36].strip() if comment.strip() else 'structure'
    lines = [f'{title} | {state}' if state else title, '1.0', *_rows(cell)]
    lines.append(' '.join(symbol_of[name] for name, _ in groups))
    lines.append(' '.join(str(count) for _, count in groups))
    scaled = np.asarray(positions, dtype=float)[order] @ np.linalg.inv(cell)
    rows = _rows(scaled)
    if movable is not None:
        lines.append('Selective dynamics')
        flags = [' '.join('F' if flag in (False, 0, 'F', 'f') else 'T' for flag in movable[site]) for site in order]
        rows = [f'{row} {flag}' for row, flag in zip(rows, flags, strict=True)]
    lines += ['Direct', *rows]
    if velocities is not None:
        if lattice_velocities is not None:
            lines += ['Lattice velocities and vectors', '1']
            lines += [*_rows(np.asarray(lattice_velocities, dtype=float), exponent=True), *_rows(cell)]
        # An empty line means Cartesian, in Å/fs.
        lines += ['', *_rows(np.asarray(velocities, dtype=float)[order], exponent=True)]
    return '\n'.join(lines) + '\n'


def _rows(table: Array, exponent: bool = False) -> list[str]:
    form = '{:24.16E}' if exponent else '{:22.16f}'
    return [' '.join(form.format(value) for value in row) for row in table]


def read_poscar(text: str) -> Poscar:
    """Return the content of a POSCAR or CONTCAR, with velocities if it holds any.

    Raises
    ------
    PoscarError
        If the text is not one, or is cut short.
    """
    lines = text.splitlines()
    try:
        return _read_poscar(lines)
    except (IndexError, ValueError) as error:
        raise PoscarError(f'this is not a complete POSCAR or CONTCAR: {error}') from None


def _read_poscar(lines: list[str]) -> Poscar:
    scale = float(lines[1].split()[0])
    cell = _table(lines, 2, 3)
    cell = cell * (scale if scale > 0 else (-scale / abs(np.linalg.det(cell))) ** (1 / 3))
    # VASP 6 writes symbol/hash, and breaks the line after 20 species.
    cursor = 5
    names: list[str] = []
    while not lines[cursor].split()[0].isdigit():
        names += [word.split('/')[0].split('_')[0] for word in lines[cursor].split()]
        cursor += 1
    counts: list[int] = []
    while len(counts) < len(names):
        counts += [int(word) for word in lines[cursor].split()]
        cursor += 1
    symbols = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
    if lines[cursor].strip()[:1] in ('S', 's'):
        cursor += 1
    cartesian = lines[cursor].strip()[:1] in ('C', 'c', 'K', 'k')
    positions = _table(lines, cursor + 1, len(symbols))
    positions = positions * scale if cartesian and scale > 0 else positions if cartesian else positions @ cell
    cursor += 1 + len(symbols)

    lattice_velocities = None
    if cursor < len(lines) and lines[cursor].strip()[:1] in ('L', 'l'):
        lattice_velocities = _table(lines, cursor + 2, 3)
        cursor += 8
    velocities = None
    # A single trailing empty line announces nothing.
    if any(line.strip() for line in lines[cursor:]):
        if lines[cursor].strip()[:1] in ('D', 'd'):
            raise ValueError('velocities in direct coordinates are not supported')
        velocities = _table(lines, cursor + 1, len(symbols))
    return Poscar(cell, symbols, positions, velocities, lattice_velocities, lines[0].strip())


def _table(lines: list[str], start: int, count: int) -> Array:
    rows = [[float(word) for word in lines[index].split()[:3]] for index in range(start, start + count)]
    if any(len(row) != 3 for row in rows):
        raise ValueError('a row has fewer than three numbers')
    table = np.array(rows, dtype=float).reshape(count, 3)
    if not np.isfinite(table).all():
        raise ValueError('a number is not finite')
    return table


def thermal_velocities(masses: npt.ArrayLike, temperature: float, seed: int) -> Array:
    """Return Maxwell–Boltzmann velocities with the centre of mass at rest and exactly the temperature asked for.

    Parameters
    ----------
    masses : array_like, shape (n_atoms,), amu
    temperature : float
        Kelvin; the kinetic energy is ``(3N - 3) k_B T / 2``.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    ndarray, shape (n_atoms, 3), Å/fs
    """
    mass = np.asarray(masses, dtype=float)[:, None] * _amu
    speed = np.sqrt(_k * temperature / mass) * np.random.default_rng(seed).standard_normal((len(mass), 3))
    if len(mass) == 1:
        return np.asarray(speed * A_FS_PER_M_S, dtype=np.float64)
    speed -= (mass * speed).sum(axis=0) / mass.sum()
    found = float((mass * speed**2).sum()) / ((3 * len(mass) - 3) * _k)
    return np.asarray(speed * np.sqrt(temperature / found) * A_FS_PER_M_S, dtype=np.float64)
