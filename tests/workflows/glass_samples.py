"""A classical potential that takes seconds, and parameters of a small amorphous model."""

from __future__ import annotations

from aiida_softclay.structures.ions import IONIC_RADII, radius

COULOMB = 14.3996
RHO = 0.3
#: Scaled charges, as is usual for rigid-ion models of halides.
SCALE = 0.8
#: Dispersion between anions, eV Å⁶; without it the melt has no cohesion beyond its molecules.
DISPERSION = {'O': 15.0, 'F': 20.0, 'Cl': 100.0}


def born_mayer(elements):
    """Repulsion that balances the Madelung attraction of a rock-salt bond at the sum of the ionic radii."""
    charges = {element: SCALE * IONIC_RADII[element][1] for element in elements}
    lines = ['pair_style born/coul/dsf 0.2 8.0']
    for i, first in enumerate(elements, start=1):
        for j, second in enumerate(elements[i - 1 :], start=i):
            distance = radius(first) + radius(second)
            strength = dispersion = 0.0
            if charges[first] * charges[second] < 0:
                force = 1.7476 / 6 * COULOMB * abs(charges[first] * charges[second]) / distance**2
                strength = force * RHO
            elif charges[first] < 0:
                strength, dispersion = 0.05, (DISPERSION[first] * DISPERSION[second]) ** 0.5
            lines.append(f'pair_coeff {i} {j} {strength:.6f} {RHO} {distance:.4f} {dispersion:.4f} 0.0')
    return {'elements': list(elements), 'lines': lines, 'charges': charges}


SMALL = {
    'n_atoms': 320,
    'timestep_ps': 0.002,
    'relax': {'max_steps': 300, 'closing_pressure_GPa': 2.0, 'energy_tolerance': 1e-6},
    'melt': {'duration_ps': 1.0, 'dump_every': 50},
    'equilibrate': {'duration_ps': 2.0, 'dump_every': 100},
    'thermo_every': 10,
    'reference_energies': False,
}
