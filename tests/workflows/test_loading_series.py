"""Series of loading experiments: the real LAMMPS on argon, tables of known truth, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from fast_lammps import make_code
from loading_samples import ARGON, argon, static_moduli
from scipy import stats

from aiida_softclay.analysis.quantity import Quantity, check_results, results_dict
from aiida_softclay.calcfunctions.series import combine_runs
from aiida_softclay.workflows.constant_strain_series import ConstantStrainSeriesWorkChain
from aiida_softclay.workflows.protocol import ProtocolError
from aiida_softclay.workflows.series_plan import series_points
from aiida_softclay.workflows.stress_pulse_series import StressPulseSeriesWorkChain


@pytest.fixture
def lj_code(aiida_profile_clean, localhost, lmp_program):
    return make_code(localhost, 'lmp-lj')


def numbers_of(results):
    content = results.get_dict()
    check_results(content)
    return {row['name']: row for row in content['numbers']}


@pytest.mark.engine
def test_every_plane_and_compression_have_the_modulus_of_the_crystal(lj_code):
    """A cubic crystal shears alike in all planes; pressed, it has Young's modulus. 2 K soften it by some per cent."""
    builder = ConstantStrainSeriesWorkChain.get_builder_from_protocol(
        lj_code, argon(), classical=ARGON, replicas=1, vary={'component': ['xy', 'xz', 'xx'], 'rate_per_ps': [-0.01]},
        overrides={
            'temperature_K': 2.0, 'maximum_strain': 0.03, 'elastic_window': [0.0, 0.02], 'equilibrate_ps': 2.0,
            'timestep_ps': 0.004, 'average_half_width': 0.002,
        },
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    numbers = numbers_of(node.outputs.results)
    shear, young = static_moduli()
    for plane in ('xy', 'xz'):
        row = numbers[f'component_{plane}_rate_per_ps_0_01_negative.shear_modulus']
        assert row['value'] == pytest.approx(shear, rel=0.08)
        assert row['window'] == pytest.approx([0.0, 0.02], abs=1e-3)
    one = numbers['component_xx_rate_per_ps_0_01_negative.youngs_modulus']
    assert one['value'] == pytest.approx(young, rel=0.1)
    assert one['conditions']['n_replicas'] == 1
    assert 'nothing of the spread' in ' '.join(one['warnings'])
    # One rate makes no line.
    slope = numbers['component_xx_negative.rate_dependence.yield_stress.maximum']
    assert slope['value'] is None
    assert 'three rates at least' in slope['warnings'][0]
    assert len(node.outputs.stages) == len(node.outputs.curves) == 3
    run = node.outputs.stages['component_xy_rate_per_ps_0_01_negative_seed_1']
    assert run['context']['seed'] == 1
    curve = node.outputs.curves['component_xx_rate_per_ps_0_01_negative_seed_1']
    assert curve.get_array('strain')[-1] == pytest.approx(-0.03, rel=0.02)
    # Five frames lie in each hundredth of strain at any rate.
    sheared = next(child for child in node.called if child.label.endswith('xy_rate_per_ps_0_01_negative_seed_1'))
    assert sheared.outputs.trajectories.deform.n_frames == 16


@pytest.mark.engine
def test_pulses_with_replicas_and_a_failure_that_is_named(lj_code):
    """A small stress leaves nothing in a crystal; a huge one tears the box, which does not stop the rest."""
    builder = StressPulseSeriesWorkChain.get_builder_from_protocol(
        lj_code, argon(), classical=ARGON, vary={'magnitude_mpa': [30.0, 90000.0]}, replicas=2,
        overrides={
            'temperature_K': 2.0, 'equilibrate_ps': 4.0, 'load_ps': 4.0, 'release_ps': 4.0, 'timestep_ps': 0.004,
            'thermo_every': 10, 'dump_every': 500,
        },
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.exit_status == 404, node.exit_message
    assert 'magnitude_mpa_90000_0_seed_1' in node.exit_message
    assert 'magnitude_mpa_90000_0_seed_2' in node.exit_message
    assert 'magnitude_mpa_30' not in node.exit_message
    numbers = numbers_of(node.outputs.results)
    assert not any('90000' in name for name in numbers)
    small = numbers['magnitude_mpa_30_0.strain_under_load.cycle_1']
    shear, _ = static_moduli()
    assert small['value'] == pytest.approx(0.030 / shear, rel=0.25)
    runs = [node.outputs.stages[f'magnitude_mpa_30_0_seed_{seed}'] for seed in (1, 2)]
    singles = [numbers_of(run)['strain_under_load.cycle_1'] for run in runs]
    values = [row['value'] for row in singles]
    assert values[0] != values[1], 'the seeds make different runs'
    assert small['conditions']['values'] == pytest.approx(values)
    # 1.8373 is Student's t of one degree of freedom for 68.27 %.
    assert small['error'] == pytest.approx(1.8373 * abs(values[0] - values[1]) / 2, rel=1e-3)
    assert small['conditions']['within_run_error'] == pytest.approx(np.hypot(*[row['error'] for row in singles]) / 2)
    ratio = numbers['magnitude_mpa_30_0.residual_over_noise.cycle_1']
    assert ratio['conditions']['verdict'] in ('elastic', 'undetermined')
    assert numbers['smallest_plastic_magnitude']['value'] is None
    assert node.outputs.results['context']['seeds'] == [1, 2]
    curve = node.outputs.curve
    assert curve.get_array('magnitude_mpa').tolist() == [30.0]
    assert curve.get_array('residual_strain_cycle_1').shape == (1,)
    # Launched again, what ended well is taken from the cache, and what failed is tried again.
    with enable_caching():
        _, again = run_get_node(builder)
    jobs = [child for child in again.called_descendants if isinstance(child, orm.CalcJobNode)]
    cached = [job.base.caching.is_created_from_cache for job in jobs]
    assert [job.is_finished_ok for job in jobs] == cached
    assert sum(cached) == 2
    assert numbers_of(again.outputs.results)['magnitude_mpa_30_0.strain_under_load.cycle_1']['value'] == small['value']


def run_of(temperature=300.0, **values):
    """Results of a run with given numbers, as (value, error)."""
    rows = [
        Quantity(name=name.replace('__', '.'), value=value, error=error, unit='GPa', definition='given', n_samples=20,
                 conditions={'temperature_K': temperature}, warnings=[] if value is not None else ['not reached'])
        for name, (value, error) in values.items()
    ]  # fmt: skip
    return orm.Dict(results_dict(rows, n_atoms=100, engine='none', seed=1))


def settings_of(points, experiment, **further):
    return orm.Dict({'points': points, 'confidence': 0.95, 'experiment': experiment, 'context': further})


def test_yield_stresses_of_a_known_law_give_its_slope(aiida_profile_clean):
    """σ = 0.5 GPa + 0.03 GPa ln(rate / 1e-3), at two temperatures of which one is softer, three replicas each."""
    rng = np.random.default_rng(0)
    points, runs = [], {}
    for temperature, height in ((300.0, 0.5), (400.0, 0.3)):
        for rate in (1e-4, 1e-3, 1e-2):
            label = f't_{temperature:g}_rate_{rate:g}'.replace('.', '_').replace('-', '_')
            names = [f'{label}_seed_{seed}' for seed in (1, 2, 3)]
            values = {'temperature_K': temperature, 'rate_per_ps': rate}
            points.append({'label': label, 'values': values, 'runs': names})
            for name in names:
                stress = height + 0.03 * np.log(rate / 1e-3) + 0.005 * rng.normal()
                offset = (stress - 0.1, 0.01) if rate < 5e-3 else (None, None)
                runs[name] = run_of(temperature, yield_stress__maximum=(stress, 0.005), yield_stress__offset=offset)
    del runs[points[0]['runs'][0]]
    made, node = combine_runs.run_get_node(settings_of(points, 'constant_strain', failed=['one']), **runs)
    assert node.is_finished_ok, node.exit_message
    numbers = numbers_of(made['results'])
    for prefix, height in (('temperature_k_300_0', 0.5), ('temperature_k_400_0', 0.3)):
        slope = numbers[f'{prefix}.rate_dependence.yield_stress.maximum']
        low, high = slope['conditions']['interval']
        assert low < 0.03 < high
        assert slope['value'] == pytest.approx(0.03, abs=4 * slope['error'])
        middle = numbers[f'{prefix}.yield_stress.maximum.at_mean_rate']
        assert middle['value'] == pytest.approx(
            height + 0.03 * np.log(middle['conditions']['reference_rate_per_ps'] / 1e-3), abs=5 * middle['error']
        )
        # The offset yield was reached at two rates only.
        missing = numbers[f'{prefix}.rate_dependence.yield_stress.offset']
        assert missing['value'] is None
        assert 'there are 2' in missing['warnings'][0]
    # The same line by an independent program.
    x = [np.log(1e-4)] * 2 + [np.log(1e-3)] * 3 + [np.log(1e-2)] * 3
    known = [runs[name]['numbers'][0]['value'] for point in points[:3] for name in point['runs'] if name in runs]
    assert numbers['temperature_k_300_0.rate_dependence.yield_stress.maximum']['value'] == pytest.approx(
        stats.linregress(x, known).slope
    )
    volume = numbers['temperature_k_300_0.activation_volume.yield_stress.maximum']
    assert volume['value'] == pytest.approx(138.06, rel=0.2)
    first = numbers[f'{points[0]["label"]}.yield_stress.maximum']
    assert 'failed: 1 of 3 replicas' in first['warnings'][0]
    assert first['n_samples'] == 2
    line = made['curve'].get_array('temperature_k_300_0_yield_stress_maximum_line')
    assert np.isfinite(line).tolist() == [True] * 3 + [False] * 3
    assert made['curve'].base.attributes.get('units')['yield_stress_maximum'] == 'GPa'


def test_residual_strains_get_verdicts_by_magnitude(aiida_profile_clean):
    """10 MPa leaves nothing, 30 MPa something doubtful, 50 MPa far more than the noise of 0.002."""
    points, runs = [], {}
    for size, residuals in ((10, (1e-4, -2e-4, 0.0)), (30, (2e-3, 4e-3, 1e-3)), (50, (0.021, 0.019, 0.020))):
        names = [f'magnitude_{size}_seed_{seed}' for seed in (1, 2, 3)]
        points.append({'label': f'magnitude_{size}', 'values': {'magnitude_mpa': size}, 'runs': names})
        for name, residual in zip(names, residuals, strict=True):
            runs[name] = run_of(
                strain_under_load__cycle_1=(0.02, 1e-3), residual_strain__cycle_1=(residual, 5e-4),
                residual_over_noise__cycle_1=(abs(residual) / 0.002, 0.1), thermal_strain_noise=(0.002, 1e-4),
            )  # fmt: skip
    made, node = combine_runs.run_get_node(settings_of(points, 'stress_pulse'), **runs)
    assert node.is_finished_ok, node.exit_message
    numbers = numbers_of(made['results'])
    verdicts = [numbers[f'magnitude_{size}.residual_strain.cycle_1']['conditions']['verdict'] for size in (10, 30, 50)]
    assert verdicts == ['elastic', 'undetermined', 'plastic']
    # Of the mean over replicas, not the mean of their magnitudes.
    assert numbers['magnitude_10.residual_over_noise.cycle_1']['value'] == pytest.approx(1e-4 / 3 / 0.002)
    onset = numbers['smallest_plastic_magnitude']
    assert (onset['value'], onset['conditions']['largest_elastic_magnitude_mpa']) == (50, 10)
    assert onset['error'] == 20
    curve = made['curve']
    assert curve.get_array('magnitude_mpa').tolist() == [10, 30, 50]
    assert curve.get_array('residual_strain_cycle_1') == pytest.approx([-1e-4 / 3, 7e-3 / 3, 0.02])


def test_points_and_replicas_are_laid_out():
    parameters = {'magnitude_mpa': 50.0, 'seed': 7, 'temperature_K': 300.0, 'melt': {'rate': 1.0}}
    points = series_points(parameters, {'magnitude_mpa': [10, -10], 'melt.rate': ['1e-3']}, 2, 64)
    assert [point.label for point in points] == ['magnitude_mpa_10_rate_0_001', 'magnitude_mpa_10_negative_rate_0_001']
    # YAML takes 1e-3 for text.
    assert points[0].runs['magnitude_mpa_10_rate_0_001_seed_8'] == {
        'magnitude_mpa': 10, 'melt': {'rate': 0.001}, 'seed': 8
    }  # fmt: skip
    assert [list(point.seeds.values()) for point in points] == [[7, 8], [7, 8]]
    given = series_points(parameters, {'seed': [3, 5]}, 1, 64)
    assert [(point.label, list(point.seeds.values())) for point in given] == [('replicas', [3, 5])]


@pytest.mark.parametrize(
    ('vary', 'replicas', 'most', 'sentence'),
    [
        ({'magnitude': [10]}, 2, 64, 'there is no parameter `magnitude` to vary: known are'),
        ({'melt.speed': [10]}, 2, 64, 'there is no parameter `melt.speed`'),
        ({'seed.first': [10]}, 2, 64, 'known are no more'),
        ({'magnitude_mpa': 10}, 2, 64, 'give a list of values'),
        ({'magnitude_mpa': []}, 2, 64, 'give a list of values'),
        ({'magnitude_mpa': [10, 10.0]}, 1, 64, 'a value comes twice'),
        ({'magnitude_mpa': [10]}, 1, 64, 'two runs at least'),
        ({}, 1, 64, 'two runs at least'),
        ({'magnitude_mpa': [10, 50], 'temperature_K': [300, 400]}, 20, 64, '80 runs, more than max_runs = 64'),
        ({'magnitude_mpa': [10]}, 0, 64, 'replicas = 0'),
        ({'magnitude_mpa': [10]}, 2.5, 64, 'replicas = 2.5'),
        ({'seed': [1, 2]}, 2, 64, 'give one of them'),
        ({'seed': [1, 1]}, 1, 64, 'the same seed gives the same run'),
        ({'seed': [0, 1]}, 1, 64, 'whole numbers from 1'),
    ],
)
def test_series_that_make_no_sense_are_refused(vary, replicas, most, sentence):
    parameters = {'magnitude_mpa': 50.0, 'seed': 1, 'temperature_K': 300.0, 'melt': {'speed_limit': 1.0}}
    with pytest.raises(ProtocolError, match=sentence):
        series_points(parameters, vary, replicas, most)


@pytest.mark.parametrize(
    ('process', 'vary', 'overrides', 'sentence'),
    [
        (StressPulseSeriesWorkChain, {'magnitude_mpa': [10.0, 0.0]}, {}, '0_seed_1: magnitude_mpa is 0'),
        (StressPulseSeriesWorkChain, {'component': ['yz', 'zy']}, {}, 'component_zy_seed_1: unknown component `zy`'),
        (StressPulseSeriesWorkChain, {'load_ps': [10.0, -5.0]}, {}, 'load_ps_5_0_negative_seed_1: .*greater than 0'),
        (ConstantStrainSeriesWorkChain, {'rate_per_ps': [0.1, 0.0]}, {}, 'rate must not be zero'),
        (ConstantStrainSeriesWorkChain, {'rate_per_ps': [0.1, 0.9]}, {'thermo_every': 60}, 'flip of the box would not'),
        (ConstantStrainSeriesWorkChain, {'rate_per_ps': [0.1, 0.9]}, {'thermo_every': 20}, 'rows of output at'),
        (ConstantStrainSeriesWorkChain, {'maximum_strain': [0.2, 2.0]}, {}, 'to flip|be flipped'),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_made_is_named_before_anything_starts(lj_code, process, vary, overrides, sentence):
    builder = process.get_builder_from_protocol(
        lj_code, argon(repeat=2), classical=ARGON, vary=vary, replicas=1, overrides=overrides
    )
    with pytest.raises(ValueError, match=sentence):
        run_get_node(builder)
    assert orm.QueryBuilder().append(orm.CalcJobNode).count() == 0


def test_settings_are_checked(lj_code):
    builder = StressPulseSeriesWorkChain.get_builder_from_protocol(lj_code, argon(repeat=2), classical=ARGON)
    good = builder.series.get_dict()
    for changes, sentence in [
        ({'confidence': 95}, 'must lie between 0 and 1'),
        ({'repeats': 3}, 'unknown setting repeats'),
        ({'vary': [10, 50]}, 'must map the name'),
        ({'max_runs': 3}, '4 runs, more than max_runs = 3'),
    ]:
        inputs = {**builder._inputs(prune=True), 'series': orm.Dict({**good, **changes})}
        with pytest.raises(ValueError, match=sentence):
            run_get_node(StressPulseSeriesWorkChain, **inputs)
    velocities = orm.ArrayData()
    velocities.set_array('velocities', np.zeros((32, 3)))
    inputs = {**builder._inputs(prune=True), 'velocities': velocities}
    with pytest.raises(ValueError, match='leave out `velocities`'):
        run_get_node(StressPulseSeriesWorkChain, **inputs)
