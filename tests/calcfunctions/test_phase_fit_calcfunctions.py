"""Two phases in a measured curve, as nodes: what was put in comes out again."""

import math

import numpy as np
import pytest
from aiida import orm
from pymatgen.core import Composition

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.phase_fit import fit_measured_phases
from aiida_softclay.calculations.analyses import find_analysis

PARAMETERS = {'formulas': {'first': 'Al3O2Cl5', 'second': 'LiCl'}, 'fit_range': [1.5, 12.0]}
TRUE = {'first': 0.88, 'second': 0.12}
MEAN = {'first': (3 * 13 + 2 * 8 + 5 * 17) / 10, 'second': 10.0}
ATOMS = {'first': 10, 'second': 2}
AMOUNTS = {name: TRUE[name] * ATOMS[name] * MEAN[name] ** 2 for name in TRUE}
SCALES = {name: amount / sum(AMOUNTS.values()) for name, amount in AMOUNTS.items()}


def phase(first_distance, width):
    """Waves that fade, on the grids of a run: r to 14 Å and q to 18 Å⁻¹."""
    r, q = np.arange(0.01, 14, 0.02), np.arange(0.5, 18, 0.02)
    return orm.ArrayData({
        'r': r, 'G_x_ray': 3 * np.sin(2 * math.pi * r / first_distance) * np.exp(-width * r),
        'q': q, 'S_x_ray': 1 + np.sin(q * first_distance) / (q * first_distance) * np.exp(-0.01 * width * q**2),
    })  # fmt: skip


def phases():
    return {'first': phase(2.1, 0.2), 'second': phase(2.6, 0.05)}


def measured_curve(x, y, noise=0.0, seed=0):
    """The sum of both phases with noise, on a grid of its own."""
    points = np.arange(1.0, 11.0, 0.03)
    level = 1.0 if x == 'q' else 0.0
    total = level + sum(
        SCALES[name] * (np.interp(points, node.get_array(x), node.get_array(f'{y}_x_ray')) - level)
        for name, node in phases().items()
    )
    return orm.ArrayData({x: points, y: total + noise * np.random.default_rng(seed).normal(size=points.size)})


def numbers_of(outputs):
    content = outputs['results'].get_dict()
    check_results(content)
    return {row['name']: row for row in content['numbers']}


@pytest.mark.parametrize(('x', 'y'), [('r', 'G'), ('q', 'S')])
def test_shares_of_two_phases_are_found_again(aiida_profile_clean, x, y):
    outputs = fit_measured_phases(orm.Dict(PARAMETERS), measured_curve(x, y), **phases())
    numbers = numbers_of(outputs)
    assert numbers['phase_fit.weighted_residual']['value'] == pytest.approx(0, abs=1e-9)
    weights = {name: Composition(PARAMETERS['formulas'][name]).weight for name in TRUE}
    mass = sum(TRUE[name] * weights[name] for name in TRUE)
    for name, share in TRUE.items():
        assert numbers[f'phase_fit.{name}.scale']['value'] == pytest.approx(SCALES[name])
        assert numbers[f'phase_fit.{name}.formula_fraction']['value'] == pytest.approx(share)
        assert numbers[f'phase_fit.{name}.mass_fraction']['value'] == pytest.approx(share * weights[name] / mass)
        assert numbers[f'phase_fit.{name}.scale']['conditions']['formula'] == PARAMETERS['formulas'][name]
    assert numbers['phase_fit.first.scale']['window_unit'] == ('Å' if x == 'r' else 'Å^-1')
    curve = outputs['curve']
    assert curve.get_array(x).min() >= 1.5
    assert curve.get_array(f'residual_{y}') == pytest.approx(np.zeros(curve.get_array(x).size), abs=1e-9)
    assert any('form factors' in text for text in numbers['phase_fit.first.scale']['warnings']) == (x == 'q')


def test_errors_are_those_of_repeated_measurements(aiida_profile_clean):
    body, models = find_analysis('phase_fit').function, phases()
    found = []
    for seed in range(60):
        outputs = body(orm.Dict(PARAMETERS), measured_curve('r', 'G', noise=0.3, seed=seed), **models)
        found.append(numbers_of(outputs)['phase_fit.second.formula_fraction'])
    pulls = [(row['value'] - TRUE['second']) / row['error'] for row in found]
    assert np.std(pulls) == pytest.approx(1, abs=0.3)
    assert np.mean(pulls) == pytest.approx(0, abs=0.5)
    first = numbers_of(outputs)['phase_fit.first.formula_fraction']
    assert first['error'] == pytest.approx(found[-1]['error'])
    # A measurement that ends at 20 Å⁻¹ has fewer independent points than it has points.
    coarse = body(orm.Dict({**PARAMETERS, 'resolution': 20.0}), measured_curve('r', 'G', noise=0.3, seed=59), **models)
    row = numbers_of(coarse)['phase_fit.second.formula_fraction']
    assert row['error'] > 2 * found[-1]['error']
    assert row['n_samples'] == round(9.5 * 20 / math.pi)


def test_nanometres_are_turned_into_angstroms(aiida_profile_clean):
    plain = measured_curve('r', 'G')
    nanometres = orm.ArrayData({'r': plain.get_array('r') / 10, 'G': plain.get_array('G') * 100})
    found = fit_measured_phases(orm.Dict({**PARAMETERS, 'length_unit': 'nm'}), nanometres, **phases())
    assert numbers_of(found)['phase_fit.second.scale']['value'] == pytest.approx(SCALES['second'])
    assert found['curve'].base.attributes.get('units')['measured_G'] == 'Å^-2'


@pytest.mark.parametrize(
    ('changes', 'arrays', 'sentence'),
    [
        ({'formulas': {'first': 'LiCl'}}, None, 'the first and the second phase'),
        ({'radiation': 'light'}, None, 'x-ray or neutron'),
        ({'radiation': 'neutron'}, None, 'lacks G_neutron'),
        ({'length_unit': 'm'}, None, 'Å or nm'),
        ({'fit_range': [5.0, 1.0]}, None, 'the smaller one first'),
        ({'fit_range': [12.0, 13.0]}, None, 'no measured point'),
        ({}, {'r': np.arange(5.0)}, 'r and G, or q and S'),
        ({}, {'r': np.arange(5.0), 'G': np.full(5, np.nan)}, 'finite'),
        ({}, {'r': np.arange(5.0)[::-1].copy(), 'G': np.ones(5)}, 'must increase'),
    ],
)
def test_what_cannot_be_fitted_is_a_sentence(aiida_profile_clean, changes, arrays, sentence):
    measured = measured_curve('r', 'G') if arrays is None else orm.ArrayData(arrays)
    found = find_analysis('phase_fit').function(orm.Dict({**PARAMETERS, **changes}), measured, **phases())
    assert found.status == 510
    assert sentence in found.message


def test_a_phase_that_is_not_there_is_said(aiida_profile_clean):
    models = phases()
    measured = orm.ArrayData({
        'r': models['first'].get_array('r'),
        'G': models['first'].get_array('G_x_ray') - 0.3 * models['second'].get_array('G_x_ray'),
    })  # fmt: skip
    row = numbers_of(fit_measured_phases(orm.Dict(PARAMETERS), measured, **models))['phase_fit.second.formula_fraction']
    assert row['value'] == 0
    assert any('LiCl is held at 0' in text for text in row['warnings'])
