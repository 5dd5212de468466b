"""Solid solutions: which salts mix, the mean crystal they share, and slabs of three salts and more."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase.geometry import cell_to_cellpar
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiida_softclay.structures.checks import check_structure, composition_units, total_charge
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import crystal, load_phases, phase
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.lattice_match import fit_plane, match_layers, match_planes
from aiida_softclay.structures.neighbours import contact_violations
from aiida_softclay.structures.slabs import SlabError, interface_slab, slab_series
from aiida_softclay.structures.solid_solution import Constituent, constituents, occupy, replaced_ions
from aiida_softclay.structures.stacking import stack_layers


@pytest.mark.parametrize(
    ('first', 'second', 'ions'),
    [
        ('AlF3', 'GaF3', ('Al', 'Ga')),  # both R-3c; radii 0.535 and 0.62 Å, 14 % apart
        ('GaF3', 'AlF3', ('Ga', 'Al')),
        ('LiCl', 'LiBr', ('Cl', 'Br')),  # both rock salt; 1.81 and 1.96 Å
        ('GaF3', 'InF3', None),  # both R-3c; 0.62 and 0.80 Å, 23 %
        ('LiCl', 'LiI', None),  # 1.81 and 2.20 Å, 18 %
        ('LiCl', 'NaCl', None),  # 0.76 and 1.02 Å, 25 %
        ('MgCl2', 'MgBr2', None),  # R-3m and P-3m1
        ('GaF3', 'SbF3', None),
        ('GaBr3', 'GaI3', None),  # one type, but given in settings of different origin
        ('LiCl', 'NaF', None),  # no common element
        ('LiF', 'MgO', None),
        ('LiCl', 'LiCl', None),
    ],
)
def test_which_salts_mix(first, second, ions):
    assert replaced_ions(phase(first), phase(second)) == ions


def test_mixing_is_mutual():
    phases = [entry for entry in load_phases().values() if entry.is_salt]
    for first in phases:
        for second in phases:
            pair = replaced_ions(first, second)
            back = replaced_ions(second, first)
            assert pair == (None if back is None else back[::-1])


@pytest.mark.parametrize(
    ('text', 'names'),
    [
        ('2LiCl-0.5AlF3-0.5GaF3', ['LiCl', '(Al,Ga)F3']),
        ('AlF3-2LiCl-GaF3', ['(Al,Ga)F3', 'LiCl']),
        ('LiCl-LiBr-GaF3', ['Li(Cl,Br)', 'GaF3']),
        ('LiCl-LiBr-AlF3-GaF3', ['Li(Cl,Br)', '(Al,Ga)F3']),
        ('LiCl-LiBr-LiI-GaF3', ['Li(Cl,Br)', 'LiI', 'GaF3']),
        ('LiCl-MgCl2-GaF3', ['LiCl', 'MgCl2', 'GaF3']),
        ('LiCl-GaF3-InF3', ['LiCl', 'GaF3', 'InF3']),
        ('AlF3-GaF3', ['AlF3', 'GaF3']),  # two salts are always two layers
        ('LiCl', ['LiCl']),
    ],
)
def test_layers_of_a_mixture(text, names):
    assert [kind.name for kind in constituents(Mixture.parse(text))] == names


def test_mean_crystal_by_vegards_rule():
    """A quarter of AlF3 (a 4.9305, c 12.4462 Å, x 0.4275) in GaF3 (5.01, 12.97, 0.3905)."""
    kind = constituents(Mixture.parse('2LiCl-0.25AlF3-0.75GaF3'))[1]
    lattice = cell_to_cellpar(kind.phase.to_atoms().cell)
    assert lattice[0] == pytest.approx(0.25 * 4.9305 + 0.75 * 5.01)
    assert lattice[2] == pytest.approx(0.25 * 12.4462 + 0.75 * 12.97)
    assert lattice[3:] == pytest.approx([90, 90, 120])
    assert kind.phase.sites[1].xyz[0] == pytest.approx(0.25 * 0.4275 + 0.75 * 0.3905)
    # Lengths that go linearly make the volume almost linear: the rule of mixtures holds within 0.1 %.
    volumes = 0.25 * phase('AlF3').volume + 0.75 * phase('GaF3').volume
    assert kind.phase.volume == pytest.approx(volumes, rel=1e-3)


@given(st.lists(st.integers(1, 24), min_size=2, max_size=3), st.integers(0, 400))
def test_split_is_as_near_as_whole_numbers_allow(units, number):
    kind = Constituent(tuple('ABC'[: len(units)]), tuple(units))
    shares = kind.split(number)
    assert sum(shares) == number
    for share, amount in zip(shares, units, strict=True):
        assert abs(share - number * amount / sum(units)) < 1


def test_every_site_is_occupied_in_proportion():
    """Over 400 drawings each of the six sites of the cell holds Al a third of the time (standard error 2.4 %)."""
    kind = Constituent(('AlF3', 'GaF3'), (1, 2))
    base = kind.phase.to_atoms()
    seen = np.zeros(len(base))
    for seed in range(400):
        atoms = occupy(base, kind, (2, 4), np.random.default_rng(seed))
        symbols = np.array(atoms.get_chemical_symbols())
        assert Counter(symbols) == {'Al': 2, 'Ga': 4, 'F': 18}
        seen += symbols == 'Al'
    metal = np.array(base.get_chemical_symbols()) != 'F'
    assert np.abs(seen[metal] / 400 - 1 / 3).max() < 0.1
    assert seen[~metal].max() == 0
    with pytest.raises(ValueError, match=r'6 sites of .* cannot be given to 5 ions'):
        occupy(base, kind, (2, 3), np.random.default_rng(0))


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 11), st.integers(0, 99))
def test_ternary_slabs_at_any_ratio(twelfths, seed):
    """2LiCl-xAlF3-(1-x)GaF3 with x in twelfths."""
    mixture = Mixture.parse(f'2LiCl-{twelfths}/12AlF3-{12 - twelfths}/12GaF3')
    slab = interface_slab(mixture, min_length=8.0, seed=seed)
    assert composition_units(slab.atoms, mixture) is not None
    assert slab.report['exact_ratio']
    assert total_charge(slab.atoms, mixture) == pytest.approx(0)
    assert check_structure(slab.atoms, mixture, density_range=(0.75, 1.05)) == []
    assert [layer['kind'] for layer in slab.report['layers']] == ['crystal', 'solid solution']
    # Both metals are in the layer of fluoride, lithium in the other.
    symbols, tags = np.array(slab.atoms.get_chemical_symbols()), slab.atoms.get_tags()
    assert set(tags[np.isin(symbols, ['Al', 'Ga', 'F'])]) == {1}
    assert set(tags[np.isin(symbols, ['Li', 'Cl'])]) == {0}


def test_seed_draws_the_sites():
    mixture = Mixture.parse('2LiCl-0.5AlF3-0.5GaF3')
    first, again, other = (interface_slab(mixture, seed=seed).atoms for seed in (0, 0, 1))
    assert np.array_equal(first.numbers, again.numbers)
    assert np.array_equal(first.get_positions(), again.get_positions())
    assert first.get_chemical_formula() == other.get_chemical_formula()
    assert not np.array_equal(first.get_positions(), other.get_positions())


def test_ratio_too_fine_for_the_slab_gives_the_nearest():
    mixture = Mixture.parse('2LiCl-1/24AlF3-23/24GaF3')
    slab = interface_slab(mixture, max_atoms=160)
    assert not slab.report['exact_ratio']
    assert slab.report['formula_units']['AlF3'] >= 1
    assert '192 atoms' in slab.report['warnings'][0]
    assert total_charge(slab.atoms, mixture) == pytest.approx(0)
    with pytest.raises(SlabError, match='at least 23 atoms for its ratio, more than max_atoms = 20'):
        interface_slab(Mixture.parse('4LiCl-3MgCl2-LiF-GaF3'), max_atoms=20)


@pytest.mark.parametrize('text', ['LiCl-MgCl2-GaF3', 'LiCl-NaCl-GaF3', '2LiCl-0.5GaF3-0.5InF3', 'LiF-LiI-SbF3-AlF3'])
def test_salts_that_do_not_mix_get_a_layer_each(text):
    mixture = Mixture.parse(text)
    slab = interface_slab(mixture)
    assert composition_units(slab.atoms, mixture) is not None
    assert check_structure(slab.atoms, mixture, density_range=(0.7, 1.1)) == []
    tags, symbols = slab.atoms.get_tags(), np.array(slab.atoms.get_chemical_symbols())
    for index, (salt, units) in enumerate(slab.report['formula_units'].items()):
        wanted = {element: number * units for element, number in phase(salt).composition.items()}
        assert Counter(symbols[tags == index]) == wanted
    # The layers follow each other upwards, and the first comes again above the last.
    turn = np.exp(2j * np.pi * slab.atoms.get_scaled_positions()[:, 2])
    middles = np.angle([turn[tags == index].mean() for index in range(len(mixture.salts))])
    steps = np.diff([*middles, middles[0]]) % (2 * np.pi)
    assert steps.sum() == pytest.approx(2 * np.pi)
    for strains in slab.report['principal_strains'].values():
        assert max(abs(value) for value in strains) <= 0.06 + 1e-9


def test_series_of_a_ternary_keeps_its_plane_cell():
    slabs = slab_series(Mixture.parse('2LiCl-0.5AlF3-0.5GaF3'), (10.0, 15.0), max_strain=0.06)
    assert slabs[0].report['plane_cells'].keys() == {'LiCl', '(Al,Ga)F3'}
    assert slabs[1].atoms.cell[:2, :2] == pytest.approx(slabs[0].atoms.cell[:2, :2])
    assert slabs[1].atoms.cell[2, 2] >= 15.0


def test_plane_fitted_to_a_given_cell():
    """Twice and three times a 4 × 5 Å rectangle, turned by 30° and stretched by 3 % and 1 %."""
    lattice = np.diag([4.0, 5.0])
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    cell = np.diag([2, 3]) @ lattice @ np.diag([1.03, 1.01]) @ turn
    matrix, stretches = fit_plane(cell, lattice, 0.05)
    assert stretches == pytest.approx((1.01, 1.03))
    assert round(abs(np.linalg.det(matrix))) == 6
    assert fit_plane(cell, lattice, 0.02) is None
    assert fit_plane(0.3 * lattice, lattice, 0.05) is None


def test_third_plane_is_strained_to_the_first_two():
    squares = [4.0 * np.eye(2), 4.41 * np.eye(2), 4.2 * 1.02 * np.eye(2)]
    wishes = {'min_length': 4.0, 'max_area': 20.0, 'max_strain': 0.06}
    best = match_layers(squares, (3.0, 2.0, 1.0), **wishes)[0]
    assert best.area == pytest.approx(4.2**2)
    assert best.stretches[2] == pytest.approx((1 / 1.02, 1 / 1.02))
    # Which two decide is a matter of their amounts, not of the order.
    other = match_layers([squares[2], squares[0], squares[1]], (1.0, 3.0, 2.0), **wishes)[0]
    assert other.stretches == (best.stretches[2], best.stretches[0], best.stretches[1])
    pair = match_layers(squares[:2], (1.0, 2.0), **wishes)
    assert [match.strain for match in pair] == [match.strain for match in match_planes(*squares[:2], **wishes)]


def test_layers_do_not_meet_through_a_thin_one():
    """Two large ions on either side of a single small one beside them: the thin layer cannot keep them apart."""
    layers = []
    for symbol, place in (('Cl', (0.0, 0.0)), ('Li', (3.0, 3.0)), ('Cl', (0.0, 0.0))):
        layer = crystal('LiCl')[[0]]
        layer.set_chemical_symbols([symbol])
        layer.set_cell(np.diag([6.0, 6.0, 1.0]))
        layer.set_positions([[*place, 0.0]])
        layers.append(layer)
    table = contact_table(['Li', 'Cl'])
    slab, report = stack_layers(layers, table)
    assert len(report['interface_gaps_A']) == 3
    assert len(contact_violations(slab.numbers, slab.get_positions(), slab.cell[:], table)[0]) == 0
