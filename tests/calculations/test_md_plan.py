"""The plan refuses what cannot be run, with a sentence, and counts steps, frames and bytes."""

import pytest

from aiida_softclay.calculations.md_plan import MdPlan, PlanError


def plan(**changes):
    data = {
        'timestep_ps': 0.002,
        'thermo_every': 10,
        'dump_every': 50,
        'stages': [
            {'name': 'relax', 'kind': 'minimise', 'relax_cell': 'tri', 'max_steps': 200},
            {'name': 'melt', 'kind': 'nvt', 'duration_ps': 1.0, 'temperature_K': 300, 'temperature_end_K': 900},
            {'name': 'pulse', 'kind': 'npt', 'duration_ps': 2.0, 'temperature_K': 300, 'stress_GPa': {'yz': 0.01}},
            {'name': 'shear', 'kind': 'deform', 'duration_ps': 1.0, 'temperature_K': 300, 'component': 'yz',
             'rate_per_ps': 1e-3, 'dump_every': 100},
            {'name': 'free', 'kind': 'nve', 'duration_ps': 0.1},
        ],
    }  # fmt: skip
    data.update(changes)
    return data


def stage(**changes):
    return plan(stages=[{'name': 'one', 'kind': 'npt', 'duration_ps': 1.0, 'temperature_K': 300, **changes}])


def test_counts():
    md_plan = MdPlan.from_dict(plan())
    assert [md_plan.steps(name) for name in md_plan.stage_names] == [200, 500, 1000, 500, 50]
    assert md_plan.total_steps == 2250
    assert md_plan.total_duration_ps == pytest.approx(4.1)
    assert [md_plan.stage_frames(name) for name in md_plan.stage_names] == [5, 11, 21, 6, 2]
    assert md_plan.n_frames == 45
    assert md_plan.dump_bytes(1000) > 45 * 1000 * 24
    # A minimisation takes no time, so the melt starts at step 0.
    assert [md_plan.start_step(name) for name in md_plan.stage_names] == [0, 0, 500, 1500, 2000]


def test_round_trip():
    md_plan = MdPlan.from_dict(plan())
    assert MdPlan.from_dict(md_plan.to_dict()) == md_plan


def test_velocities_are_drawn_first_and_after_each_minimisation():
    md_plan = MdPlan.from_dict(plan())
    assert [md_plan.needs_velocities(index) for index in range(5)] == [False, True, False, False, False]
    assert md_plan.initial_temperature(1) == 300


def test_missing_stress_components_are_zero():
    pulse = MdPlan.from_dict(plan()).stage('pulse')
    assert pulse.stress == {'xx': 0, 'yy': 0, 'zz': 0, 'yz': 0.01, 'xz': 0, 'xy': 0}
    assert not pulse.is_hydrostatic


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (plan(timestep_ps=2), 'probably in fs'),
        (plan(timestep_ps=-0.001), 'positive number of picoseconds'),
        (plan(timestep_ps=float('nan')), 'timestep_ps'),
        (plan(stages=[]), 'stages'),
        (plan(unit='real'), 'unknown key `unit`'),
        (plan(seed=0), 'seed'),
        (stage(temperature_K=-5), 'give kelvin'),
        (stage(temperature_K=1e6), 'give kelvin'),
        (stage(stress_GPa={'yz': 500}), '10 MPa = 0.01'),
        (stage(stress_GPa={'zy': 0.1}), 'unknown stress component zy'),
        (stage(coupling='iso', stress_GPa={'yz': 0.1}), 'needs coupling `tri`'),
        (stage(coupling='iso', stress_GPa={'xx': 0.1}), 'one pressure'),
        (stage(duration_ps=-1), 'duration_ps'),
        (stage(duration_ps=1e9), 'not fs or steps'),
        (stage(duration_ps=1e-4), 'shorter than one time step'),
        (stage(tdamp_ps=0.001), 'five time steps'),
        (stage(kind='deform', component='yz', rate_per_ps=1e9), '1e-3 per ps'),
        (stage(kind='deform', component='zy', rate_per_ps=1e-3), 'component'),
        (stage(kind='deform', component='xx', rate_per_ps=-0.99), 'to nothing'),
        (stage(kind='brownian'), '`kind` must be one of'),
        (stage(name='Two words'), 'name'),
        (stage(name='a__b'), 'underscore'),
        (stage(presure=1), 'unknown key `presure`'),
        (stage(kind='minimise'), 'unknown key `duration_ps`'),
        (plan(stages=[{'kind': 'nve', 'name': 'a', 'duration_ps': 1}] * 2), 'used twice'),
        (plan(stages=[{'kind': 'minimise', 'name': 'a', 'closing_pressure_GPa': 1}]), 'relax_cell'),
        ({'stages': 'melt'}, 'stages'),
        ({}, '`stages` is missing'),
    ],
)
def test_refused_with_a_sentence(data, words):
    with pytest.raises(PlanError) as caught:
        MdPlan.from_dict(data)
    assert words in str(caught.value)


def test_the_sentence_names_the_stage():
    data = plan()
    data['stages'][1]['temperature_K'] = -1
    with pytest.raises(PlanError, match=r'stage 2 \(melt\): temperature_K: -1 K is not a temperature'):
        MdPlan.from_dict(data)
