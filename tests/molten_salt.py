"""A salt that melts in LAMMPS within seconds: a screened model of LiCl that needs no Ewald sum."""

from __future__ import annotations

from aiida import orm
from ase import Atoms
from ase.build import bulk

#: A model of molten LiCl: repulsion of spheres and a damped, shifted Coulomb force, which needs no Ewald sum (Fennell
#: and Gezelter, J. Chem. Phys. 124, 234104 (2006)).
SALT = {
    'pair_lines': {
        'elements': ['Li', 'Cl'],
        'charges': {'Li': 1.0, 'Cl': -1.0},
        'lines': [
            'pair_style hybrid/overlay coul/dsf 0.2 8.0 born 8.0',
            'pair_coeff * * coul/dsf',
            'pair_coeff 1 1 born 0.4225 0.3425 1.632 0.0 0.0',
            'pair_coeff 1 2 born 0.2905 0.3425 2.401 0.0 0.0',
            'pair_coeff 2 2 born 0.1584 0.3425 3.170 0.0 0.0',
        ],
    }
}
#: An error that takes one extension of some picoseconds, so that two runs are joined.
ONE_EXTENSION = {
    'temperature_K': 1400.0, 'timestep_ps': 0.002, 'equilibrate_ps': 0.5, 'duration_ps': 1.0, 'dump_every': 10,
    'thermo_every': 10, 'relative_error_wanted': 0.02, 'error_species': 'Li', 'max_duration_ps': 1.5,
}  # fmt: skip


def salt(a=5.9, repeat=2):
    atoms: Atoms = bulk('LiCl', 'rocksalt', a=a, cubic=True) * (repeat, repeat, repeat)
    atoms.rattle(0.4, seed=3)
    return orm.StructureData(ase=atoms)
