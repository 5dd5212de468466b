"""Slabs of two salts: exact, neutral, of bounded strain and without overlaps."""

from __future__ import annotations

import numpy as np
import pytest
from ase.geometry import cell_to_cellpar

from aiida_softclay.structures.checks import check_structure, composition_units, total_charge
from aiida_softclay.structures.composition import Mixture, MixtureError
from aiida_softclay.structures.crystals import crystal, list_crystals, phase
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.lattice_match import match_planes, plane_primitive, plane_supercells
from aiida_softclay.structures.layers import carve_layer
from aiida_softclay.structures.neighbours import heights
from aiida_softclay.structures.slabs import SlabError, interface_slab, slab_series
from aiida_softclay.structures.stacking import contact_gap

CLAY = Mixture.parse('2LiCl-GaF3')


@pytest.mark.parametrize('name', list_crystals())
def test_plane_primitive_keeps_the_crystal(name):
    atoms = crystal(name)
    reduced = plane_primitive(atoms)
    assert reduced.get_volume() / len(reduced) == pytest.approx(atoms.get_volume() / len(atoms))
    assert np.allclose(reduced.cell[:2, 2], 0)
    assert reduced.cell[0, 1] == pytest.approx(0, abs=1e-9)
    counts = {s: reduced.get_chemical_symbols().count(s) for s in set(atoms.get_chemical_symbols())}
    assert {s: n * len(atoms) for s, n in counts.items()} == {
        s: atoms.get_chemical_symbols().count(s) * len(reduced) for s in counts
    }


def test_rock_salt_plane_is_the_small_square():
    cell = plane_primitive(crystal('LiCl')).cell
    assert cell_to_cellpar(cell)[[0, 1, 5]] == pytest.approx([5.1396 / 2**0.5, 5.1396 / 2**0.5, 90])


def test_number_of_plane_supercells_is_the_sum_of_divisors():
    matrices = plane_supercells(np.eye(2), 6.0)
    sizes = np.rint(np.linalg.det(matrices)).astype(int)
    assert [int((sizes == n).sum()) for n in range(1, 7)] == [1, 3, 4, 7, 6, 12]


def test_identical_planes_match_without_strain():
    cell = np.array([[3.0, 0.0], [1.0, 4.0]])
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    best = match_planes(cell, cell @ turn, min_length=2.0, max_area=40.0, max_strain=0.05)[0]
    assert best.strain == pytest.approx(0, abs=1e-9)
    assert best.area == pytest.approx(12.0)


def test_strain_is_shared_equally():
    """A square of 4 Å on one of 4.41 Å: both go to 4.2 Å, one stretched and one compressed by the same factor."""
    best = match_planes(4.0 * np.eye(2), 4.41 * np.eye(2), min_length=4.0, max_area=20.0, max_strain=0.06)[0]
    assert best.area == pytest.approx(4.2**2)
    assert best.stretches[0] == pytest.approx((1.05, 1.05))
    assert best.stretches[1] == pytest.approx((1 / 1.05, 1 / 1.05))


def test_gap_of_two_ions_is_pythagorean():
    layers = [crystal('LiF')[[i]] for i in (0, 4)]
    for layer in layers:
        layer.set_positions([[0, 0, 0]])
        layer.set_cell(20 * np.eye(3))
    symbols = [layer.get_chemical_symbols()[0] for layer in layers]
    limit = contact_table(symbols)[layers[0].numbers[0], layers[1].numbers[0]]
    table = contact_table(symbols)
    assert contact_gap(layers[0], layers[1], np.zeros(2), table) == pytest.approx(limit)
    assert contact_gap(layers[0], layers[1], np.array([1.0, 0.0]), table) == pytest.approx((limit**2 - 1) ** 0.5)


@pytest.mark.parametrize('units', [1, 3, 4, 5, 6, 7])
def test_carved_layer_is_neutral_and_not_polar(units):
    """GaF3 along [001] alternates Ga and F3 planes; half the last F plane sits on either side of the layer."""
    entry = phase('GaF3')
    base = plane_primitive(crystal('GaF3'))
    matrix = np.array([[2, 0], [0, 2]])
    layer = carve_layer(base, entry, matrix, matrix @ base.cell[:2, :2], units)
    symbols = np.array(layer.get_chemical_symbols())
    assert (symbols == 'Ga').sum() == units
    assert (symbols == 'F').sum() == 3 * units
    assert layer.get_volume() == pytest.approx(units * entry.volume)
    z = layer.get_positions()[:, 2]
    dipole = 3 * z[symbols == 'Ga'].sum() - z[symbols == 'F'].sum()
    # Leaving the surplus on one side would cost three charges over a layer distance (2.16 Å) for every unit.
    assert abs(dipole) < 3 * 2.16 * units / 2


@pytest.mark.parametrize(
    ('text', 'wishes'),
    [
        ('2LiCl-GaF3', {'n_atoms': 40}), ('2LiCl-GaF3', {'n_atoms': 48}), ('2LiCl-GaF3', {'n_atoms': 56}),
        ('2LiCl-GaF3', {}), ('3LiCl-GaF3', {}), ('MgCl2-GaF3', {}), ('1.5MgCl2-GaF3', {'n_atoms': 85}),
        ('LiBr-GaF3', {'n_atoms': 60}), ('2LiCl-AlF3', {'n_atoms': 48}), ('GaCl3-LiF', {}), ('3LiF-SbCl3', {}),
    ],
)  # fmt: skip
def test_slabs_are_what_was_asked_for(text, wishes):
    mixture = Mixture.parse(text)
    slab = interface_slab(mixture, **wishes)
    report = slab.report
    assert composition_units(slab.atoms, mixture) is not None
    assert report['exact_ratio']
    assert abs(total_charge(slab.atoms, mixture)) < 1e-9
    assert check_structure(slab.atoms, mixture, density_range=(0.75, 1.05)) == []
    if 'n_atoms' in wishes:
        assert abs(len(slab.atoms) - wishes['n_atoms']) <= 0.1 * wishes['n_atoms']
        assert heights(slab.atoms.cell[:]).min() >= 0.84 * slab.atoms.get_volume() ** (1 / 3)
    else:
        assert heights(slab.atoms.cell[:]).min() >= 10.0 - 1e-6
    for strains in report['principal_strains'].values():
        assert max(abs(value) for value in strains) <= 0.12
    assert np.allclose(slab.atoms.cell[:2, 2], 0)
    assert np.allclose(slab.atoms.cell[2, :2], 0)


def test_salts_lie_on_each_other():
    """Along z the slab is one salt, then the other: the mean heights of Li and Ga differ, in-plane means do not."""
    slab = interface_slab(CLAY, n_atoms=160)
    symbols = np.array(slab.atoms.get_chemical_symbols())
    phases = np.exp(2j * np.pi * slab.atoms.get_scaled_positions())
    lithium, gallium = phases[symbols == 'Li'].mean(axis=0), phases[symbols == 'Ga'].mean(axis=0)
    assert abs(lithium[2]) > 0.4
    assert abs(gallium[2]) > 0.4
    angle = np.angle(lithium[2] / gallium[2])
    assert abs(abs(angle) - np.pi) < 0.7
    assert abs(lithium[0]) < 0.2


def test_thickness_makes_thicker_slabs():
    thin = interface_slab(CLAY)
    thick = interface_slab(CLAY, thickness=20.0)
    assert thick.atoms.cell[2, 2] >= 20.0 > thin.atoms.cell[2, 2]


@pytest.mark.parametrize('text', ['2LiCl-GaF3', 'MgCl2-GaF3'])
def test_series_of_three_thicknesses_on_one_plane_cell(text):
    mixture = Mixture.parse(text)
    slabs = slab_series(mixture, max_strain=0.06)
    thickness = [slab.atoms.cell[2, 2] for slab in slabs]
    assert [height >= least for height, least in zip(thickness, (10.0, 15.0, 20.0), strict=True)] == [True] * 3
    assert thickness == sorted(thickness)
    for slab in slabs:
        assert slab.atoms.cell[:2, :2] == pytest.approx(slabs[0].atoms.cell[:2, :2])
        assert slab.report['largest_strain'] <= 0.06
        assert check_structure(slab.atoms, mixture, density_range=(0.75, 1.05)) == []
        # The mismatch is that of the unstrained lattices: what one salt is stretched the other is compressed by.
        stretches = [1 + value for pair in slab.report['principal_strains'].values() for value in pair]
        assert slab.report['lateral_mismatch'] == pytest.approx(max(stretches) / min(stretches) - 1, abs=1e-4)
        assert slab.report['lateral_mismatch'] <= 1.06**2 - 1


def test_mismatch_is_that_of_the_two_lattices():
    """Rock salts LiF and LiCl, cube on cube 5 to 4: (5·4.0270)/(4·5.1396) - 1 is -2.06 %."""
    slab = interface_slab(Mixture.parse('LiF-LiCl'), plane_cells={'LiF': 50, 'LiCl': 32}, max_atoms=800)
    assert slab.report['plane_cells'] == {'LiF': 50, 'LiCl': 32}
    assert slab.report['lateral_mismatch'] == pytest.approx(4 * 5.1396 / (5 * 4.0270) - 1, abs=2e-4)


def test_impossible_ratio_gives_the_nearest():
    mixture = Mixture.parse('3.7LiCl-GaF3')
    slab = interface_slab(mixture, max_atoms=60, min_length=7.0, max_strain=0.15)
    assert not slab.report['exact_ratio']
    assert slab.report['ratio'] == pytest.approx(11 / 3)
    assert '114 atoms' in slab.report['warnings'][0]
    assert check_structure(slab.atoms, mixture, exact_ratio=False) == []


def test_same_wish_same_slab():
    first, second = (interface_slab(CLAY, n_atoms=48).atoms for _ in range(2))
    assert np.array_equal(first.get_positions(), second.get_positions())


@pytest.mark.parametrize(
    ('wishes', 'sentence'),
    [
        ({'max_atoms': 60, 'min_length': 10.0}, 'takes about'),
        ({'max_atoms': 100, 'max_strain': 0.02}, 'the least is'),
        ({'n_atoms': 500}, 'more than max_atoms'),
        ({'min_length': -1.0}, 'must be positive'),
        ({'max_atoms': 5}, 'hold no formula unit'),
        ({'plane_cells': {'LiCl': 3}}, 'must name LiCl and GaF3'),
    ],
)
def test_unfulfillable_wishes_say_what_to_change(wishes, sentence):
    with pytest.raises(SlabError, match=sentence):
        interface_slab(CLAY, **wishes)


def test_slab_needs_two_salts():
    with pytest.raises(MixtureError, match='needs two salts'):
        interface_slab(Mixture.parse('LiCl'))
