"""Arrhenius lines of a whole series: known energies come back, and nothing crosses the glass transition unasked."""

import numpy as np
import pytest
from aiida import orm

from aiida_softclay.analysis.arrhenius import BOLTZMANN_EV
from aiida_softclay.analysis.quantity import Quantity, check_results, results_dict
from aiida_softclay.calcfunctions.temperature_series import analyse_temperatures

pytestmark = pytest.mark.usefixtures('aiida_profile')
LADDER = (500.0, 600.0, 700.0, 800.0)
ENERGY = 0.3


def activated(temperature, energy=ENERGY, prefactor=1e-3):
    return prefactor * np.exp(-energy / (BOLTZMANN_EV * temperature))


def settings(temperatures=LADDER, **changes):
    points = [{'label': f't_{T:g}', 'values': {'temperature_K': T}, 'runs': [f't_{T:g}_seed_1']} for T in temperatures]
    return orm.Dict({'points': points, 'at_K': [300.0], 'confidence': 0.95, **changes})


def table(temperatures=LADDER, value=activated, moved=10.0, relative=0.05, name='diffusivity.Li', unit='cm^2/s'):
    return orm.Dict(
        results_dict(
            Quantity(
                f't_{T:g}.{name}', value(T), relative * abs(value(T)), unit, 'D', 3,
                conditions={'temperature_K': T, 'msd_at_end_A2': moved, 'hop_length_A': 2.0},
            )
            for T in temperatures
        )
    )  # fmt: skip


def numbers_of(outputs):
    check_results(outputs['results'].get_dict())
    return {row['name']: row for row in outputs['results']['numbers']}


def test_energy_prefactor_and_extrapolation_with_confidence():
    outputs = analyse_temperatures(settings(glass_transition_K=220.0), runs=table())
    rows = numbers_of(outputs)
    energy, prefactor = rows['activation_energy.diffusivity.Li'], rows['prefactor.diffusivity.Li']
    assert energy['value'] == pytest.approx(ENERGY)
    assert energy['conditions']['interval'][0] < ENERGY < energy['conditions']['interval'][1]
    assert prefactor['value'] == pytest.approx(1e-3)
    assert prefactor['unit'] == 'cm^2/s'
    room = rows['diffusivity.Li.at_300_K']
    assert room['value'] == pytest.approx(activated(300.0))
    assert room['conditions']['lower'] < room['value'] < room['conditions']['upper']
    assert room['warnings'] == []
    curve = outputs['curve_diffusivity_Li']
    assert curve.get_array('line_temperature').min() == pytest.approx(300.0)
    assert curve.base.attributes.get('units')['line'] == 'cm^2/s'


def test_conductivities_are_fitted_times_the_temperature():
    conductive = table(value=lambda T: activated(T, prefactor=1e6) / T, name='conductivity.total', unit='mS/cm')
    rows = numbers_of(analyse_temperatures(settings(), runs=table(), collective=conductive))
    assert rows['activation_energy.conductivity.total']['value'] == pytest.approx(ENERGY)
    assert rows['prefactor.conductivity.total']['unit'] == 'mS/cm K'
    assert any('no glass transition was given' in text for text in rows['diffusivity.Li.at_300_K']['warnings'])


def test_nothing_is_read_off_across_the_glass_transition_unless_asked():
    rows = numbers_of(analyse_temperatures(settings(glass_transition_K=400.0), runs=table()))
    refused = rows['diffusivity.Li.at_300_K']
    assert refused['value'] is None
    assert 'the glass transition at 400 K lies between the data (500 … 800 K) and 300 K' in refused['warnings'][0]
    assert rows['activation_energy.diffusivity.Li']['value'] == pytest.approx(ENERGY)
    asked = settings(glass_transition_K=400.0, extrapolate_across_glass_transition=True)
    rows = numbers_of(analyse_temperatures(asked, runs=table()))
    assert rows['diffusivity.Li.at_300_K']['value'] == pytest.approx(activated(300.0))
    assert any('activation energy changes' in text for text in rows['diffusivity.Li.at_300_K']['warnings'])


def test_each_side_of_the_glass_transition_has_its_line():
    """Below 650 K twice the energy, continuous there."""

    def broken(T):
        return activated(T) if T > 650 else activated(650.0) * np.exp(0.6 / BOLTZMANN_EV * (1 / 650.0 - 1 / T))

    rows = numbers_of(analyse_temperatures(settings(glass_transition_K=650.0), runs=table(value=broken)))
    assert rows['activation_energy.diffusivity.Li.below_glass_transition']['value'] == pytest.approx(0.6)
    assert rows['activation_energy.diffusivity.Li.above_glass_transition']['value'] == pytest.approx(0.3)
    assert rows['diffusivity.Li.at_300_K']['value'] == pytest.approx(broken(300.0))
    assert any('two temperatures' in text for text in rows['diffusivity.Li.at_300_K']['warnings'])
    rows = numbers_of(analyse_temperatures(settings(glass_transition_K=550.0), runs=table(value=broken)))
    assert rows['diffusivity.Li.at_300_K']['value'] is None
    assert 'no two temperatures below the glass transition' in rows['diffusivity.Li.at_300_K']['warnings'][0]


def test_glass_transition_from_results():
    glass = orm.Dict(results_dict([Quantity('glass_transition_temperature', 400.0, 5.0, 'K', 'Tg', 1)]))
    rows = numbers_of(analyse_temperatures(settings(), glass, runs=table()))
    assert rows['diffusivity.Li.at_300_K']['value'] is None
    assert rows['activation_energy.diffusivity.Li']['conditions']['glass_transition_K'] == 400.0
    _, failed = analyse_temperatures.run_get_node(settings(glass_transition_K=400.0), glass, runs=table())
    assert failed.exit_status == 510
    assert 'given twice' in failed.exit_message
    _, failed = analyse_temperatures.run_get_node(settings(), table(), runs=table())
    assert 'must hold one glass_transition_temperature' in failed.exit_message


def test_ions_that_stand_still_are_no_points():
    caged = table(name='diffusivity.Ga', moved=1.0).get_dict()['numbers']
    both = orm.Dict({**table().get_dict(), 'numbers': [*table().get_dict()['numbers'], *caged]})
    rows = numbers_of(analyse_temperatures(settings(), runs=both))
    assert not [name for name in rows if 'Ga' in name]
    _, failed = analyse_temperatures.run_get_node(settings(), runs=table(moved=1.0))
    assert 'no number of the series is known at two temperatures' in failed.exit_message
    content = table().get_dict()
    content['numbers'][0]['conditions']['msd_at_end_A2'] = 1.0
    rows = numbers_of(analyse_temperatures(settings(), runs=orm.Dict(content)))
    warnings = rows['activation_energy.diffusivity.Li']['warnings']
    assert '500 K is left out: the ions have not gone one jump' in warnings
    assert rows['activation_energy.diffusivity.Li']['n_samples'] == 3


def test_other_parameters_make_lines_of_their_own():
    points = [
        {'label': f't_{T:g}_{step}', 'values': {'temperature_K': T, 'timestep_ps': step}, 'runs': ['one']}
        for T in LADDER
        for step in (1, 2)
    ]
    numbers = [
        {**row, 'name': f't_{T:g}_{step}.diffusivity.Li', 'value': row['value'] * step, 'error': row['error'] * step}
        for T, row in zip(LADDER, table().get_dict()['numbers'], strict=True)
        for step in (1, 2)
    ]
    runs = orm.Dict({**table().get_dict(), 'numbers': numbers})
    rows = numbers_of(analyse_temperatures(orm.Dict({'points': points, 'at_K': []}), runs=runs))
    first, second = (rows[f'timestep_ps_{step}.prefactor.diffusivity.Li']['value'] for step in (1, 2))
    assert second == pytest.approx(2 * first)
