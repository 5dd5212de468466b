"""Cooling with the real LAMMPS: the Kob–Andersen glass former, and a crystal, which has no glass transition."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.glass_transition import analyse_cooling_rates, analyse_glass_transition
from aiida_softclay.workflows.estimate import estimate_cooling_rates
from aiida_softclay.workflows.glass_transition import GlassTransitionWorkChain
from aiida_softclay.workflows.glass_transition_series import GlassTransitionSeriesWorkChain, rates_by_label

EPSILON, SIGMA = 0.010340, 3.4
ARGON = {'pair_lines': [f'pair_style lj/cut {2.5 * SIGMA}', f'pair_coeff 1 1 {EPSILON} {SIGMA}']}
#: Kob and Andersen, Phys. Rev. E 51, 4626 (1995), in units of argon: A is argon, B has the mass of neon.
KOB_ANDERSEN = {
    'pair_lines': {
        'elements': ['Ar', 'Ne'],
        'lines': [
            f'pair_style lj/cut {2.5 * SIGMA}',
            f'pair_coeff 1 1 {EPSILON} {SIGMA}',
            f'pair_coeff 1 2 {1.5 * EPSILON} {0.8 * SIGMA} {2.5 * 0.8 * SIGMA}',
            f'pair_coeff 2 2 {0.5 * EPSILON} {0.88 * SIGMA} {2.5 * 0.88 * SIGMA}',
        ],
    }
}
QUICK = {
    'temperature_high_K': 90.0, 'temperature_low_K': 10.0, 'temperature_step_K': 10.0, 'rate_K_per_ps': 2.5,
    'equilibrate_ps': 8.0, 'timestep_ps': 0.008, 'tdamp_ps': 0.4, 'pdamp_ps': 2.0, 'thermo_every': 5,
    'dump_every': 1000, 'n_resamples': 400, 'drift_tolerance': 0.05,
}  # fmt: skip


def glass_former():
    """204 A and 52 B on random sites of a crystal, which melts at once."""
    atoms = bulk('Ar', 'fcc', a=5.1, cubic=True) * (4, 4, 4)
    symbols = np.array(['Ar'] * 204 + ['Ne'] * 52)
    atoms.set_chemical_symbols(np.random.default_rng(0).permutation(symbols))
    return orm.StructureData(ase=atoms)


def numbers_of(node):
    results = node.outputs.results.get_dict()
    check_results(results)
    return {row['name']: row for row in results['numbers']}


@pytest.mark.engine
def test_ladder_of_a_glass_former_shrinks_downwards(lj_code):
    """A few picoseconds bend the curve too evenly for a crossing: either verdict comes with the whole curve."""
    builder = GlassTransitionWorkChain.get_builder_from_protocol(
        lj_code,
        glass_former(),
        classical=KOB_ANDERSEN,
        overrides={**QUICK, 'temperature_low_K': 15.0, 'temperature_step_K': 15.0, 'rate_K_per_ps': 5.0},
    )
    _, node = run_get_node(builder)
    assert node.exit_status in (0, 520), node.exit_message
    curve = node.outputs.curve
    assert curve.get_array('temperature') == pytest.approx(np.arange(15.0, 91.0, 15.0))
    assert curve.get_array('measured_temperature') == pytest.approx(np.arange(15.0, 91.0, 15.0), rel=0.1)
    volumes, errors = curve.get_array('specific_volume'), curve.get_array('specific_volume_error')
    assert (np.diff(volumes) > 0).all()
    assert (errors > 0).all()
    assert volumes[-1] - volumes[0] > 5 * errors.max()
    assert curve.base.attributes.get('units')['specific_volume'] == 'cm^3/g'
    numbers = numbers_of(node)
    assert numbers['cooling_rate']['value'] == 5.0
    assert (numbers['glass_transition_temperature']['value'] is None) == (node.exit_status == 520)
    assert node.outputs.results['context']['engine'].startswith('LAMMPS')
    # Every rung starts where the last one ended.
    thermo = node.outputs.thermo
    for number in range(1, 6):
        before, after = thermo[f'rung_{number:03d}'], thermo[f'rung_{number + 1:03d}']
        assert after.get_array('density_g_cm3')[0] == before.get_array('density_g_cm3')[-1]


@pytest.mark.engine
def test_cooling_of_a_crystal_at_two_rates_shows_no_glass_transition(lj_code):
    """A crystal expands without a break; its expansion is still that of argon near 0.6 cm³/g."""
    crystal = orm.StructureData(ase=bulk('Ar', 'fcc', a=5.3, cubic=True) * (3, 3, 3))
    builder = GlassTransitionSeriesWorkChain.get_builder_from_protocol(
        lj_code, crystal, [10, 5], classical=ARGON, max_concurrent_jobs=2,
        overrides={**QUICK, 'mode': 'cooling', 'temperature_high_K': 55.0, 'temperature_step_K': 7.5},
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.exit_status == 520, node.exit_message
    assert 'rate_10' in node.exit_message
    assert 'rate_5' in node.exit_message
    numbers = numbers_of(node)
    assert numbers['rate_10.glass_transition_temperature']['value'] is None
    assert numbers['rate_10.glass_transition_temperature']['warnings']
    volumes = node.outputs.curves.rate_10.get_array('specific_volume')
    assert len(volumes) == 6
    assert volumes[-1] > volumes[0] > 0.54
    assert 'curve' not in node.outputs


def rows_of(temperatures, tg, noise, seed):
    """Time series of a run whose specific volume follows two lines."""
    rng = np.random.default_rng(seed)
    distance = temperatures - tg
    volume = 0.4 + 2e-5 * np.minimum(distance, 0) + 8e-5 * np.maximum(distance, 0)
    node = orm.ArrayData()
    node.set_array('time_ps', np.arange(len(temperatures), dtype=float))
    node.set_array('temperature_K', temperatures + rng.normal(scale=0.1, size=len(temperatures)))
    node.set_array('density_g_cm3', 1 / (volume + noise * rng.normal(size=len(temperatures))))
    return node


OPTIONS = {
    'rate_K_per_ps': 1.0, 'discard_share': 0.5, 'drift_tolerance': 0.002, 'confidence': 0.95, 'n_resamples': 400,
    'seed': 1,
}  # fmt: skip


def analyse(mode, tg=215.0, rate=1.0):
    ladder = np.arange(400.0, 99.0, -25.0)
    if mode == 'cooling':
        stages = [{'name': 'cool', 'temperature_start_K': 400.0, 'temperature_end_K': 100.0}]
        thermo = {'cool': rows_of(np.linspace(400, 100, 3001), tg, 5e-4, 0)}
    else:
        stages = [{'name': f'rung_{i:03d}', 'temperature_K': float(t)} for i, t in enumerate(ladder)]
        thermo = {s['name']: rows_of(np.full(200, s['temperature_K']), tg, 5e-4, i) for i, s in enumerate(stages)}
    options = {**OPTIONS, 'mode': mode, 'stages': stages, 'edges_K': ladder[::-1].tolist(), 'rate_K_per_ps': rate}
    return analyse_glass_transition.run_get_node(orm.Dict(options), **thermo)


@pytest.mark.parametrize('mode', ['ladder', 'cooling'])
def test_time_series_with_a_known_transition_give_it(aiida_profile, mode):
    made, node = analyse(mode)
    assert node.is_finished_ok, node.exit_message
    numbers = {row['name']: row for row in made['results']['numbers']}
    transition = numbers['glass_transition_temperature']
    low, high = transition['conditions']['interval_K']
    assert low < 215 < high
    assert high - low < 30
    assert any(
        'depends on the cooling rate: 1 K/ps here is 13 decades above' in text for text in transition['warnings']
    )
    for side, slope in (('glass', 2e-5), ('liquid', 8e-5)):
        expansion = numbers[f'thermal_expansion.{side}']
        assert expansion['value'] == pytest.approx(slope / 0.4, abs=4 * expansion['error'])
    assert made['curve'].get_array('two_lines') == pytest.approx(made['curve'].get_array('specific_volume'), abs=5e-4)


def test_transitions_of_several_rates_make_a_line(aiida_profile):
    runs = {label: analyse('cooling', 215 + 10 * np.log10(rate), rate)[0]['results']
            for label, rate in rates_by_label([1, 10, 100]).items()}  # fmt: skip
    made, node = analyse_cooling_rates.run_get_node(orm.Dict({}), **runs)
    assert node.is_finished_ok, node.exit_message
    slope = next(row for row in made['results']['numbers'] if row['name'] == 'glass_transition_per_decade')
    assert slope['value'] == pytest.approx(10, abs=3 * slope['error'])
    assert made['curve'].get_array('rate') == pytest.approx([1, 10, 100])


def test_protocols_make_plans_that_reach_below_the_published_transitions():
    for protocol in GlassTransitionWorkChain.get_available_protocols():
        parameters = GlassTransitionWorkChain.get_protocol_inputs(protocol)
        for mode in ('ladder', 'cooling'):
            plan = GlassTransitionWorkChain.build_plan({**parameters, 'mode': mode})
            last = plan.stages[-1]
            assert (last.temperature_K if mode == 'ladder' else last.temperature_end_K) < 150
            assert plan.stored_bytes(10_000) < 2e9
            pressed = GlassTransitionWorkChain.build_plan({**parameters, 'mode': mode, 'pressure_GPa': 0.5})
            assert all(stage.stress['xx'] == stage.stress['zz'] == -0.5 for stage in pressed.stages)
            assert not any(any(stage.stress.values()) for stage in plan.stages)
    rows = estimate_cooling_rates(GlassTransitionWorkChain.get_protocol_inputs('paper'), [0.1, 1.0], 10_000)
    assert [row.stage for row in rows] == ['0.1 K/ps', '1 K/ps']
    # Ten times as slow is ten times as long, but for the equilibration.
    assert (rows[0].duration_ps - 100) == pytest.approx(10 * (rows[1].duration_ps - 100))


@pytest.mark.parametrize(
    ('overrides', 'sentence'),
    [
        ({'mode': 'heating'}, 'unknown mode `heating`'),
        ({'pressure_GPa': -0.1}, 'under tension would tear'),
        ({'rate_K_per_ps': -1.0}, 'positive speed of cooling'),
        ({'temperature_step_K': 70.0}, 'temperature_step_K = '),
        ({'temperature_step_K': 200.0}, 'too few for two lines'),
        ({'temperature_high_K': 50.0}, 'the highest comes first'),
        ({'thermo_every': 1000}, 'rows are averaged'),
        ({'discard_share': 1.0}, 'must be a share below 1'),
        ({'timestep_ps': 1.0, 'thermo_every': 1, 'rate_K_per_ps': 0.1}, 'probably in fs'),
    ],
)
def test_bad_parameters_get_a_sentence(overrides, sentence):
    with pytest.raises(ValueError, match=sentence):
        GlassTransitionWorkChain.build_plan(GlassTransitionWorkChain.get_protocol_inputs(overrides=overrides))


@pytest.mark.parametrize(
    ('rates', 'sentence'),
    [([1.0], 'two cooling rates at least'), ([1.0, 1], 'given twice'), ([1.0, 0.0], 'is not a cooling rate')],
)
def test_bad_series_get_a_sentence(rates, sentence):
    with pytest.raises(ValueError, match=sentence):
        rates_by_label(rates)
