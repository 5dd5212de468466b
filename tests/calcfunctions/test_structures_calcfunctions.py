"""Builders as calcfunctions: provenance, determinism, reports."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.equilibrium import drifting, equilibrium_drifts, tolerance_problem
from aiida_softclay.calcfunctions.glass import summarise_glass
from aiida_softclay.calcfunctions.structures import (
    build_crystal,
    build_oligomer_glass,
    build_particle_assembly,
    build_random_mixture,
    build_slab,
    build_substitution_glass,
    to_structure,
)
from aiida_softclay.structures.checks import composition_units
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.mixtures import random_mixture

pytestmark = pytest.mark.usefixtures('aiida_profile')
CLAY = Mixture.parse('2LiCl-GaF3')


def test_crystal_and_supercell():
    cell = build_crystal(orm.Dict({'crystal': 'LiCl'}))
    assert len(cell.sites) == 8
    assert 'standard tables' in cell.description
    wide = build_crystal(orm.Dict({'crystal': 'LiCl', 'min_length': 10.0}))
    assert len(wide.sites) == 64
    assert {kind.name for kind in wide.kinds} == {'Li', 'Cl'}
    assert wide.creator.process_label == 'build_crystal'


def test_whole_route_is_in_the_graph():
    slab = build_slab(orm.Dict({'mixture': '2LiCl-GaF3', 'n_atoms': 48, 'thickness': None}))
    assert slab['report']['exact_ratio']
    assembly = build_particle_assembly(
        slab['structure'], orm.Dict({'mixture': '2LiCl-GaF3', 'n_atoms': 320, 'seed': 4})
    )
    again = build_particle_assembly(slab['structure'], orm.Dict({'mixture': '2LiCl-GaF3', 'n_atoms': 320, 'seed': 4}))
    assert composition_units(assembly['structure'].get_ase(), CLAY) == 40
    assert {kind.name for kind in assembly['structure'].kinds} == set(CLAY.elements)
    assert np.array_equal(assembly['structure'].get_ase().positions, again['structure'].get_ase().positions)
    query = orm.QueryBuilder().append(orm.StructureData, filters={'id': slab['structure'].pk}, tag='slab')
    query.append(orm.StructureData, with_ancestors='slab', filters={'id': assembly['structure'].pk})
    assert query.count() == 1


def test_random_mixture_by_units_or_length():
    made = build_random_mixture(orm.Dict({'mixture': '2LiCl–GaF3', 'n_formula_units': 5, 'seed': 1}))
    assert made['report']['n_atoms'] == 40
    long = build_random_mixture(orm.Dict({'mixture': '2LiCl-GaF3', 'min_length': 10.0, 'density': 2.5}))
    assert long['report']['cell_length_A'] >= 10.0
    assert long['report']['density_g_cm3'] == pytest.approx(2.5)


def test_oligomers_keep_their_molecules():
    made = build_oligomer_glass(orm.Dict({'n_molecules': 2, 'density': 1.9, 'seed': 1, 'repeat': [1, 1, 2]}))
    assert len(made['structure'].sites) == 64
    ids = made['molecules'].get_array('molecule_id')
    assert np.bincount(ids[ids >= 0]).tolist() == [13] * 4
    symbols = np.array(made['structure'].get_ase().get_chemical_symbols())
    assert set(symbols[ids < 0]) == {'Li'}
    assert made['report']['density_g_cm3'] == pytest.approx(1.9)
    assert made['structure'].creator.process_label == 'build_oligomer_glass'


def test_substitution_is_on_record():
    made = build_substitution_glass(orm.Dict({'composition': 'LiAlO0.75Cl2.5', 'repeat': [1, 1, 1], 'seed': 2}))
    assert made['structure'].get_ase().get_chemical_formula() == 'Al4Cl10Li4O3'
    assert made['report']['parent'] == 'LiAlCl4'
    assert len(made['molecules'].get_array('molecule_id')) == 21


@pytest.mark.parametrize(
    ('function', 'parameters', 'sentence'),
    [
        (build_crystal, {'crystal': 'KCl'}, 'known are'),
        (build_crystal, {'name': 'LiCl'}, 'a crystal needs crystal'),
        (build_slab, {'mixture': '2LiCl-GaF3', 'natoms': 3}, 'does not know natoms'),
        (build_slab, {'mixture': 'LiCl'}, 'needs two salts'),
        (build_random_mixture, {'mixture': '2LiCl-GaF3'}, 'n_formula_units or min_length'),
        (build_oligomer_glass, {'anion': 'Al3O2Cl9'}, 'is no chain'),
        (build_substitution_glass, {'composition': 'LiAlO0.75Cl3'}, 'not neutral'),
        (build_substitution_glass, {'repeat': [1, 1, 1]}, 'needs composition'),
    ],
)
def test_wrong_parameters_get_a_sentence(function, parameters, sentence):
    with pytest.raises(ValueError, match=sentence):
        function(orm.Dict(parameters))


def series(slope=0.0, noise=0.01, rows=400, seed=0):
    """A thermo series with a known mean density of 2.5 g/cm³ and a drift of ``slope`` over its second half."""
    generator = np.random.default_rng(seed)
    structure = to_structure(random_mixture(CLAY, 40, density=2.5, seed=0), 'glass')
    times = np.linspace(0, 200.0, rows)
    densities = 2.5 + slope * (times - 150.0) / 100.0 + noise * generator.normal(size=rows)
    mass = structure.get_ase().get_masses().sum() * 1.66053907
    volumes = mass / densities
    node = orm.ArrayData()
    node.set_array('time_ps', times)
    node.set_array('density_g_cm3', densities)
    node.set_array('volume_A3', volumes)
    node.set_array('potential_energy_eV', -5.0 * 320 + 0.1 * generator.normal(size=rows))
    node.set_array('cell', volumes[:, None, None] ** (1 / 3) * np.eye(3))
    return structure, node


PARAMETERS = {'mixture': '2LiCl-GaF3', 'temperature_K': 300.0, 'discard_fraction': 0.5}


def test_known_means_and_errors():
    structure, thermo = series()
    results = summarise_glass(structure, thermo, orm.Dict(PARAMETERS)).get_dict()
    check_results(results)
    numbers = {row['name']: row for row in results['numbers']}
    density = numbers['density']
    # White noise of 0.01 over 200 rows.
    assert density['error'] == pytest.approx(0.01 / 200**0.5, rel=0.5)
    assert abs(density['value'] - 2.5) < 4 * density['error']
    assert density['warnings'] == []
    assert numbers['potential_energy_per_atom']['value'] == pytest.approx(-5.0, abs=1e-3)
    assert numbers['cell_length.a']['value'] ** 3 == pytest.approx(numbers['volume']['value'], rel=1e-4)
    assert numbers['formula_units']['value'] == 40
    assert numbers['density_ratio']['value'] == pytest.approx(density['value'] / CLAY.rule_density)


def test_drift_is_reported_where_there_is_one():
    structure, thermo = series(slope=0.1)
    results = summarise_glass(structure, thermo, orm.Dict(PARAMETERS)).get_dict()
    assert 'the density still drifts: +0.1' in results['numbers'][0]['warnings'][0]
    drifts = equilibrium_drifts(thermo, 320, 0.5)
    assert drifts['density'].drifting
    assert not drifts['energy'].drifting
    assert not equilibrium_drifts(series()[1], 320, 0.5)['density'].drifting


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        (lambda cell, share: cell.__setitem__((0, 0), cell[0, 0] * (1 + 0.02 * share)), ['cell length a']),
        (lambda cell, share: cell.__setitem__((2, 1), 0.05 * share * cell[2, 2]), ['cell angle alpha']),
        (lambda cell, share: cell.__setitem__((1, 0), 0.002 * share * cell[1, 1]), []),
    ],
    ids=['a length', 'an angle', 'within the tolerance'],
)
def test_a_cell_that_still_changes_drifts_at_constant_density(change, found):
    """A shear changes no volume; 2 % of a length at a density that is held constant is a change of shape."""
    _, thermo = series()
    edge = thermo.get_array('volume_A3').mean() ** (1 / 3)
    cells = np.tile(edge * np.eye(3), (len(thermo.get_array('time_ps')), 1, 1))
    for cell, share in zip(cells, np.linspace(-1, 1, len(cells)), strict=True):
        change(cell, share)
    thermo.set_array('cell', cells)
    assert drifting(equilibrium_drifts(thermo, 320, 0.0)) == found


def test_tolerances_are_checked():
    assert tolerance_problem({'cell_angle_degrees': 0.1}) is None
    assert 'positive' in tolerance_problem({'cell_angle_degrees': 0})
    assert 'density_relative' in tolerance_problem({'density': 0.1})


def test_too_few_rows_are_said():
    structure, thermo = series(rows=6)
    results = summarise_glass(structure, thermo, orm.Dict(PARAMETERS)).get_dict()
    check_results(results)
    assert 'too few to tell' in results['numbers'][0]['warnings'][0]
