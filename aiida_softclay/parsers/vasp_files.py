"""Read what VASP, or a program that writes its files, says about an MD run: OSZICAR, OUTCAR's end, CONTCAR's step.

Pure functions of text and arrays, so that they can be tested on files of any origin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase.units import _amu, _e, kB

Array = npt.NDArray[np.float64]

#: Kinetic energy in eV of a mass in amu at a speed in Å/fs: m v² / 2 with 1 Å/fs = 1e5 m/s.
EV_PER_AMU_A2_FS2 = _amu * 1e10 / _e

_NUMBER = r'([-+*.\dEeDdNnAaIiFf]+)'
_IONIC = re.compile(
    rf'^\s*(\d+)\s+T=\s*{_NUMBER}\s+E=\s*{_NUMBER}\s+F=\s*{_NUMBER}\s+E0=\s*{_NUMBER}\s+EK=\s*{_NUMBER}'
)
_BREAKDOWN = re.compile(
    r'Error EDDDAV: Call to ZHEGV failed|ERROR EDDIAG: Call to routine ZHEEV failed|LAPACK: Routine ZPOTRF failed|'
    r'BRMIX: very serious problems|EDWAV: internal error, the gradient is not orthogonal',
    re.IGNORECASE,
)
_ELECTRONIC = re.compile(r'^[A-Z]{2,4}\s*:\s*(\d+)')


@dataclass
class Oszicar:
    """One row for each MD step.

    Attributes
    ----------
    temperature : list of float, K, as printed
    total_energy, free_energy, energy_sigma0, kinetic_energy : list of float, eV
        ``E`` (with the thermostat's), ``F``, ``E0`` and ``EK``.
    electronic_steps : list of int
        Electronic steps of each MD step; 0 where none were printed.
    """

    temperature: list[float] = field(default_factory=list)
    total_energy: list[float] = field(default_factory=list)
    free_energy: list[float] = field(default_factory=list)
    energy_sigma0: list[float] = field(default_factory=list)
    kinetic_energy: list[float] = field(default_factory=list)
    electronic_steps: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.temperature)


def _number(text: str) -> float:
    """Return a Fortran number; stars (a number too wide for its field) and words are not a number."""
    try:
        return float(text.replace('D', 'E').replace('d', 'e'))
    except ValueError:
        return float('nan')


def read_oszicar(lines: Iterable[str]) -> Oszicar:
    """Return the MD steps of an OSZICAR; a last line that was cut is left out."""
    rows = Oszicar()
    electronic = 0
    for line in lines:
        match = _ELECTRONIC.match(line)
        if match:
            electronic = int(match.group(1))
            continue
        match = _IONIC.match(line)
        if not match or not line.endswith('\n'):
            continue
        values = [_number(text) for text in match.groups()[1:]]
        for column, value in zip(
            (rows.temperature, rows.total_energy, rows.free_energy, rows.energy_sigma0, rows.kinetic_energy),
            values,
            strict=True,
        ):
            column.append(value)
        rows.electronic_steps.append(electronic)
        electronic = 0
    return rows


def temperatures(rows: Oszicar, n_atoms: int) -> Array:
    """Return the temperature of each step in kelvin, to more digits than VASP prints where the kinetic energy has them.

    VASP prints whole kelvins. The kinetic energy gives ``T = 2 EK / (f k_B)``; the number of degrees of freedom ``f``
    is 3N − 3 or 3N, whichever agrees with all that is printed; if neither does, the printed values are returned.
    """
    printed = np.array(rows.temperature, dtype=float)
    kinetic = np.array(rows.kinetic_energy, dtype=float)
    for freedom in (3 * n_atoms - 3, 3 * n_atoms):
        if freedom > 0:
            derived = 2 * kinetic / (freedom * kB)
            if np.all(np.abs(derived - printed) <= 0.51 + 2e-5 * np.abs(derived)):
                return derived
    return printed


def kinetic_temperature(velocities: npt.ArrayLike, masses: npt.ArrayLike) -> float:
    """Return the temperature in kelvin of velocities in Å/fs and masses in amu, with 3N − 3 degrees of freedom."""
    speeds = np.asarray(velocities, dtype=float)
    energy = 0.5 * EV_PER_AMU_A2_FS2 * float(np.sum(np.asarray(masses)[:, None] * speeds**2))
    return 2 * energy / (max(3 * len(speeds) - 3, 1) * kB)


@dataclass(frozen=True)
class OutcarEnd:
    """How OUTCAR ends: the closing timing block is there or not, and the elapsed seconds it gives."""

    finished: bool
    wall_time_s: float | None


def read_outcar_end(path: Path, size: int = 20_000) -> OutcarEnd:
    """Return what the last ``size`` bytes of an OUTCAR say."""
    with path.open('rb') as handle:
        handle.seek(0, 2)
        handle.seek(max(0, handle.tell() - size))
        text = handle.read().decode('utf-8', errors='replace')
    finished = 'timing and accounting informations' in text
    match = re.search(r'Elapsed time \(sec\):\s*([\d.]+)', text)
    return OutcarEnd(finished, float(match.group(1)) if match else None)


def last_words(path: Path, size: int = 4000) -> str:
    """Return the last line of text that a program printed, cut to 300 characters."""
    if not path.is_file():
        return ''
    with path.open('rb') as handle:
        handle.seek(0, 2)
        handle.seek(max(0, handle.tell() - size))
        lines = handle.read().decode('utf-8', errors='replace').split('\n')
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:300] if said else ''


def electronic_breakdown(path: Path, size: int = 20_000) -> str | None:
    """Return the line in which VASP says that its electronic minimiser gave up, or ``None``.

    These are the messages after which VASP stops, as `custodian` knows them; its warnings about the same routines are
    not among them. Only the last ``size`` bytes of what the program printed are read.
    """
    if not path.is_file():
        return None
    with path.open('rb') as handle:
        handle.seek(0, 2)
        handle.seek(max(0, handle.tell() - size))
        lines = handle.read().decode('utf-8', errors='replace').split('\n')
    return next((line.strip()[:300] for line in lines if _BREAKDOWN.search(line)), None)


def minimum_image_distance(first: Array, second: Array, cell: Array) -> Array:
    """Return the displacements ``first - second`` in Å, each made the shortest by whole lattice vectors."""
    scaled = (first - second) @ np.linalg.inv(cell)
    return (scaled - np.rint(scaled)) @ cell


def step_of_contcar(
    positions: Array, velocities: Array, tail: list[Array], n_steps: int, cell: Array, timestep_fs: float
) -> int | None:
    """Return after how many steps a CONTCAR was written, by comparing it with the last recorded frames.

    A frame is recorded before its move, CONTCAR after it: the CONTCAR of a complete run is one move beyond the last
    frame. A run that was killed may leave an older one, or one that is a move ahead of the frames.

    Parameters
    ----------
    positions, velocities : ndarray, shape (n_atoms, 3), Å and Å/fs
        From CONTCAR.
    tail : list of ndarray, shape (n_atoms, 3), Å
        Positions of the last frames in order, single precision will do; the last is frame ``n_steps - 1``.
    n_steps : int
        Number of recorded frames.
    cell : ndarray, shape (3, 3), Å
    timestep_fs : float

    Returns
    -------
    int or None
        Number of steps done, so that the frames ``0 .. k - 1`` lie before the CONTCAR; ``None`` if it fits nowhere.
    """
    for back, frame in enumerate(reversed(tail)):
        if np.abs(minimum_image_distance(positions, frame, cell)).max() < 3e-5:
            return n_steps - 1 - back
    moved = velocities * timestep_fs
    residuals = [
        float(np.abs(minimum_image_distance(positions, tail[-1] + ahead * moved, cell)).max()) for ahead in (1, 2)
    ]
    best = int(np.argmin(residuals))
    # A move differs from v·dt by a·dt²/2, a few hundredths of an ångström at the hardest collisions.
    if residuals[best] > 0.02 + 0.5 * float(np.abs(moved).max()):
        return None
    return n_steps + best


def central_velocities(before: Array, after: Array, cell: Array, timestep_fs: float) -> Array:
    """Return the velocities between two frames that are two steps apart, for a run whose CONTCAR is lost.

    ``v(t) = [x(t + dt) - x(t - dt)] / 2 dt`` is the velocity of the Verlet algorithm itself (L. Verlet, Phys. Rev. 159,
    98 (1967)), so that nothing is lost at constant energy but digits; a thermostat makes a difference of the order dt².

    Parameters
    ----------
    before, after : ndarray, shape (n_atoms, 3), Å, wrapped or not
    cell : ndarray, shape (3, 3), Å, the same for both
    timestep_fs : float

    Returns
    -------
    ndarray, shape (n_atoms, 3), Å/fs
    """
    return minimum_image_distance(after, before, cell) / (2.0 * timestep_fs)
