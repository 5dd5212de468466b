"""What the tests of loading share: argon and its moduli."""

from __future__ import annotations

import numpy as np
from aiida import orm
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.units import GPa

EPSILON, SIGMA, CUTOFF = 0.010340, 3.4, 8.5
ARGON = {'pair_lines': [f'pair_style lj/cut {CUTOFF}', f'pair_coeff 1 1 {EPSILON} {SIGMA}']}


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
