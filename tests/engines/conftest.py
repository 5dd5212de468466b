"""Run the VASP-compatible driver in a folder, inside this process or as a program of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

EMT = 'ase.calculators.emt:EMT'
POTCAR = """\
 PLACEHOLDER {symbol}
   TITEL  = PLACEHOLDER {symbol} not-a-pseudopotential
   LEXCH  = PE
   POMASS = {mass:9.3f}; ZVAL   =    0.000    mass and valenz
 End of Dataset
"""


@dataclass
class Case:
    """A folder with inputs."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture

    def write(
        self, atoms: Atoms | None = None, incar: dict | None = None, poscar: str | None = None, symbols=None
    ) -> None:
        from ase.data import atomic_masses, atomic_numbers
        from ase.io import write

        self.folder.mkdir(exist_ok=True)
        if atoms is not None:
            write(self.folder / 'POSCAR', atoms, format='vasp', direct=True, sort=False)
            symbols = symbols or list(dict.fromkeys(atoms.get_chemical_symbols()))
        if poscar is not None:
            (self.folder / 'POSCAR').write_text(poscar)
        if symbols is not None:
            text = ''.join(POTCAR.format(symbol=s, mass=atomic_masses[atomic_numbers[s]]) for s in symbols)
            (self.folder / 'POTCAR').write_text(text)
        (self.folder / 'KPOINTS').write_text('mesh\n0\nGamma\n1 1 1\n0 0 0\n')
        if incar is not None:
            (self.folder / 'INCAR').write_text(''.join(f'{key} = {value}\n' for key, value in incar.items()))

    def continue_from(self, other: Case) -> None:
        self.folder.mkdir(exist_ok=True)
        for name in ('INCAR', 'KPOINTS', 'POTCAR'):
            (self.folder / name).write_text((other.folder / name).read_text())
        (self.folder / 'POSCAR').write_text((other.folder / 'CONTCAR').read_text())

    def run(self, **environment: str) -> int:
        """Run in this process; the printed text goes to vasp_output, as AiiDA arranges it."""
        from aiida_softclay.engines.vasp.driver import main

        handler = signal.getsignal(signal.SIGTERM)
        with self.monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith('SOFTCLAY_')]:
                patch.delenv(name)
            for name, value in {'SOFTCLAY_CALCULATOR': EMT, 'OMP_NUM_THREADS': '1', **environment}.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(sys, 'argv', ['softclay-vasp'])
            status = main()
        signal.signal(signal.SIGTERM, handler)
        printed = self.capsys.readouterr()
        self.output = printed.out + printed.err
        (self.folder / 'vasp_output').write_text(self.output)
        return status

    def start(self, program: str, **environment: str) -> subprocess.Popen:
        """Start the real program in the folder."""
        variables = {**os.environ, 'SOFTCLAY_CALCULATOR': EMT, 'OMP_NUM_THREADS': '1', **environment}
        with (self.folder / 'vasp_output').open('w') as output:
            return subprocess.Popen([program], cwd=self.folder, env=variables, stdout=output, stderr=subprocess.STDOUT)

    def oszicar(self) -> np.ndarray:
        """Columns step, T, E, F, EK of an MD run."""
        rows = [line.split() for line in (self.folder / 'OSZICAR').read_text().splitlines()]
        return np.array([[float(row[k]) for k in (0, 2, 4, 6, 10)] for row in rows])

    def contcar(self):
        from aiida_softclay.engines.vasp.poscar import read_poscar

        return read_poscar(self.folder / 'CONTCAR')


@pytest.fixture
def make_case(tmp_path, monkeypatch, capsys):
    """Return a function that makes a folder for a run."""
    return lambda name='run': Case(tmp_path / name, monkeypatch, capsys)


@pytest.fixture
def copper():
    """32 atoms of copper, slightly out of place."""
    atoms = bulk('Cu', 'fcc', a=3.61, cubic=True) * (2, 2, 2)
    atoms.rattle(0.03, seed=7)
    return atoms


@pytest.fixture
def alloy():
    """Two species, so that order and per-species tags matter."""
    atoms = bulk('Cu', 'fcc', a=3.75, cubic=True) * (2, 1, 1)
    atoms.numbers[4:] = 79
    atoms.rattle(0.03, seed=3)
    return atoms


class LennardJones:
    """Argon with forces shifted to zero at the cutoff, by the minimum image: an evaluation in well under 0.1 ms."""

    epsilon, sigma, mass = 0.0104, 3.40, 39.948

    def __init__(self, cutoff: float = 7.5):
        self.cutoff = cutoff
        x6 = (self.sigma / cutoff) ** 6
        self.force_shift = 24 * self.epsilon * (2 * x6**2 - x6) / cutoff
        self.energy_shift = 4 * self.epsilon * (x6**2 - x6)

    def __call__(self, positions, cell):
        from aiida_softclay.engines.vasp.calculators import Evaluation

        i, j = np.triu_indices(len(positions), 1)
        direct = (positions[j] - positions[i]) @ np.linalg.inv(cell)
        vectors = (direct - np.round(direct)) @ cell
        r = np.sqrt((vectors**2).sum(axis=1))
        near = r < self.cutoff
        i, j, vectors, r = i[near], j[near], vectors[near], r[near]
        x6 = (self.sigma / r) ** 6
        energy = 4 * self.epsilon * (x6**2 - x6) - self.energy_shift + self.force_shift * (r - self.cutoff)
        pull = -24 * self.epsilon * (2 * x6**2 - x6) / r + self.force_shift
        weight = (pull / r)[:, None] * vectors
        forces = np.zeros_like(positions)
        np.add.at(forces, i, weight)
        np.add.at(forces, j, -weight)
        return Evaluation(float(energy.sum()), forces, weight.T @ vectors / np.linalg.det(cell))


@pytest.fixture
def argon():
    """Argon: positions, cell, masses and evaluator of a crystal of 108 atoms."""
    atoms = bulk('Ar', 'fcc', a=5.35, cubic=True) * (3, 3, 3)
    return atoms.positions, atoms.cell.array, np.full(len(atoms), LennardJones.mass), LennardJones()


@pytest.fixture(scope='session')
def bare_program(lmp_program, tmp_path_factory):
    """LAMMPS without its plugins, as a program to run beside the package."""
    from fast_lammps import write_program

    return write_program(tmp_path_factory.mktemp('lammps'))


@pytest.fixture
def fast_lmp_code(localhost, lmp_program):
    """LAMMPS without its plugins, as an AiiDA code."""
    from fast_lammps import make_code

    return make_code(localhost)
