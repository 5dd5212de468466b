"""The mixture of Kob and Andersen in units of argon."""

from __future__ import annotations

import numpy as np
from aiida import orm
from ase.build import bulk
from ase.units import GPa, kB

EPSILON, SIGMA = 0.010340, 3.4
#: Units of energy over kB, and of pressure.
KELVIN, PRESSURE = EPSILON / kB, EPSILON / SIGMA**3 / GPa
#: Kob and Andersen, Phys. Rev. E 51, 4626 (1995), in units of argon. B is calcium, whose mass is that of argon to
#: 0.3 %, as in the model, which has one mass.
KOB_ANDERSEN = {
    'pair_lines': {
        'elements': ['Ar', 'Ca'],
        'lines': [
            f'pair_style lj/cut {2.5 * SIGMA}',
            f'pair_coeff 1 1 {EPSILON} {SIGMA}',
            f'pair_coeff 1 2 {1.5 * EPSILON} {0.8 * SIGMA} {2.5 * 0.8 * SIGMA}',
            f'pair_coeff 2 2 {0.5 * EPSILON} {0.88 * SIGMA} {2.5 * 0.88 * SIGMA}',
        ],
    }
}
N_ATOMS = 500


def mixture(seed):
    """80 % A and 20 % B on random sites of a crystal, which melts at once."""
    atoms = bulk('Ar', 'fcc', a=5.1, cubic=True) * (5, 5, 5)
    order = np.random.default_rng(seed).permutation(N_ATOMS)
    atoms.symbols[order[: N_ATOMS // 5]] = 'Ca'
    return orm.StructureData(ase=atoms)
