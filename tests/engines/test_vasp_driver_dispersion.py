"""Grimme's D2 against its formula summed by hand, D3 against its package, and both against numerical derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from aiida_softclay.engines.vasp.dispersion import D2_PARAMETERS, GrimmeD2, make_d2, make_d3
from aiida_softclay.engines.vasp.errors import InputError
from aiida_softclay.engines.vasp.neighbours import neighbour_pairs

SHEAR = np.eye(3) + np.array([[0, 0.1, 0.05], [0, 0.02, 0.1], [0, 0, -0.02]])


@pytest.fixture
def salt():
    """A low-symmetry cell with four elements."""
    atoms = bulk('LiCl', 'rocksalt', a=5.13, cubic=True)
    atoms.numbers[1], atoms.numbers[2] = 9, 31
    atoms.rattle(0.15, seed=1)
    atoms.set_cell(atoms.cell.array @ SHEAR, scale_atoms=True)
    return atoms


def by_hand(atoms, reach):
    """Plain sum over the images of reach cells each way, in Python."""
    n = np.arange(-reach, reach + 1)
    shifts = np.array(np.meshgrid(n, n, n)).reshape(3, -1).T @ atoms.cell.array
    energy = 0.0
    for i, a in enumerate(atoms):
        for j, b in enumerate(atoms):
            r = np.linalg.norm(atoms.positions[j] - atoms.positions[i] + shifts, axis=1)
            r = r[r > 1e-8]
            (c6_a, r_a), (c6_b, r_b) = D2_PARAMETERS[a.symbol], D2_PARAMETERS[b.symbol]
            # 1 J nm^6 / mol = 10.364 eV Å^6
            c6 = math.sqrt(c6_a * c6_b) * 10.3642688
            energy -= 0.5 * 0.75 * (c6 / r**6 / (1 + np.exp(-20 * (r / (r_a + r_b) - 1)))).sum()
    return energy


def test_d2_of_a_dimer_is_the_published_formula():
    """Two argon atoms 4 Å apart: C6 = 4.61 J nm^6/mol = 47.78 eV Å^6, R0 = 3.19 Å."""
    atoms = Atoms('Ar2', [[0, 0, 0], [0, 0, 4.0]], cell=[60, 60, 60], pbc=True)
    atoms.calc = GrimmeD2(cutoff=20.0)
    expected = -0.75 * 4.61 * 10.3642688 / 4.0**6 / (1 + math.exp(-20 * (4.0 / 3.19 - 1)))
    assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-6)
    assert atoms.get_forces()[0, 2] > 0


def test_d2_is_the_sum_over_all_images(salt):
    salt.calc = GrimmeD2()
    energy = salt.get_potential_energy()
    # What lies beyond a sphere of radius R is, in a uniform medium, -s6 (2 pi / 3) (sum b)^2 / (V R^3).
    b = sum(math.sqrt(D2_PARAMETERS[s][0] * 10.3642688) for s in salt.get_chemical_symbols())
    for radius in (15.0, 25.0):
        tail = -0.75 * 2 * math.pi / 3 * b**2 / salt.get_volume() / radius**3
        salt.calc = GrimmeD2(cutoff=radius)
        assert salt.get_potential_energy() + tail == pytest.approx(energy, abs=0.03 * abs(tail))
    assert by_hand(salt, 6) == pytest.approx(energy, rel=2e-3)


@pytest.mark.parametrize(
    ('calculator', 'tolerance'),
    # The cutoff of D3 is sharp, and pairs that cross it on straining show in the difference.
    [(GrimmeD2(), 2e-5), (GrimmeD2(cutoff=12.0), 2e-5), (make_d3('d3bj', {}), 2e-3)],
)
def test_forces_and_stress_are_derivatives(salt, calculator, tolerance):
    salt.calc = calculator
    stress, forces = salt.get_stress(), salt.get_forces()
    numerical = calculate_numerical_forces(salt, eps=1e-3, iatoms=[1, 6], force_consistent=False)
    assert (
        np.abs(calculate_numerical_stress(salt, eps=1e-4, force_consistent=False) - stress).max()
        < tolerance * np.abs(stress).max()
    )
    assert np.abs(numerical - forces[[1, 6]]).max() < 2e-5


def test_d2_does_not_depend_on_the_splitting(salt):
    salt.calc = GrimmeD2()
    energy, forces = salt.get_potential_energy(), salt.get_forces()
    wider = GrimmeD2()
    wider.real_space_cutoff = 13.0
    salt.calc = wider
    assert salt.get_potential_energy() == pytest.approx(energy, abs=1e-7)
    assert np.abs(salt.get_forces() - forces).max() < 1e-7
    supercell = salt * (2, 1, 1)
    supercell.calc = GrimmeD2()
    assert supercell.get_potential_energy() == pytest.approx(2 * energy, abs=1e-6)


def test_d2_parameters_of_incar(salt):
    symbols = list(dict.fromkeys(salt.get_chemical_symbols()))
    salt.calc = make_d2(symbols, {'s6': 1.5})
    doubled = salt.get_potential_energy()
    salt.calc = make_d2(symbols, {})
    assert doubled == pytest.approx(2 * salt.get_potential_energy())
    salt.calc = make_d2(symbols, {'c6': [0.0] * len(symbols)})
    assert salt.get_potential_energy() == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(InputError, match='VDW_C6 must hold'):
        make_d2(symbols, {'c6': [1.0]})
    heavy = bulk('Au')
    heavy.calc = make_d2(['Au'], {})
    with pytest.raises(InputError, match='no published D2 parameters for Au'):
        heavy.get_potential_energy()


@pytest.mark.parametrize(('damping', 'parameters'), [('d3bj', 'RationalDampingParam'), ('d3zero', 'ZeroDampingParam')])
def test_d3_is_that_of_pbe_without_three_body_terms(salt, damping, parameters):
    interface = pytest.importorskip('dftd3.interface')
    from ase.units import Bohr, Hartree

    salt.calc = make_d3(damping, {'radius': 31.75, 'cnradius': 20.0})
    model = interface.DispersionModel(salt.numbers, salt.positions / Bohr, salt.cell.array / Bohr, np.array([True] * 3))
    model.set_realspace_cutoff(31.75 / Bohr, 20.0 / Bohr, 20.0 / Bohr)
    wanted = model.get_dispersion(getattr(interface, parameters)(method='pbe'), grad=False)['energy'] * Hartree
    assert salt.get_potential_energy() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize('ivdw', [1, 10, 11, 12])
def test_dispersion_is_added_and_named(make_case, copper, ivdw):
    plain, dispersed = make_case('plain'), make_case('dispersed')
    energies = []
    for case, incar in ((plain, {}), (dispersed, {'IVDW': ivdw})):
        case.write(copper, {'NSW': 0, **incar})
        assert case.run() == 0, case.output
        energies.append(float((case.folder / 'OSZICAR').read_text().split()[2]))
    copper.calc = make_d2(['Cu'], {}) if ivdw < 11 else make_d3('d3zero' if ivdw == 11 else 'd3bj', {})
    assert energies[1] - energies[0] == pytest.approx(copper.get_potential_energy(), abs=1e-6)
    assert f'Grimme D{2 if ivdw < 11 else 3}' in (dispersed.folder / 'OUTCAR').read_text()


def test_neighbour_pairs_agree_with_ase(salt):
    from ase.neighborlist import neighbor_list

    thin = bulk('Cu', 'fcc', a=3.6)
    for atoms, cutoff in ((salt, 7.0), (thin, 9.0)):
        i, _, vectors, r = neighbour_pairs(atoms.positions + 100.0, atoms.cell.array, cutoff)
        reference = neighbor_list('d', atoms, cutoff)
        assert len(i) == len(reference)
        assert np.allclose(np.sort(r), np.sort(reference))
        assert np.allclose(np.linalg.norm(vectors, axis=1), r)
