"""The AIMD plan: what it refuses, how it splits, and the INCAR tags it means."""

from __future__ import annotations

import itertools

import pytest

from aiida_softclay.calculations.aimd_plan import PLAN_TAGS, AimdPlan, AimdRun, PlanError, melt_quench_segments


def plan(**changes):
    values = {
        'timestep_fs': 2.0,
        'segments': [
            {'name': 'heat', 'ensemble': 'nvt', 'temperature_K': 300, 'temperature_end_K': 1500, 'duration_fs': 200},
            {'name': 'hold', 'ensemble': 'npt', 'temperature_K': 1500, 'pressure_GPa': 0.5, 'duration_fs': 300},
            {'name': 'free', 'ensemble': 'nve', 'duration_fs': 40},
        ],
    }
    return AimdPlan.from_dict(values | changes)


def one(**changes):
    segment = {'name': 'hold', 'ensemble': 'nvt', 'temperature_K': 300, 'duration_fs': 100} | changes
    return AimdPlan.from_dict({'timestep_fs': 2.0, 'segments': [segment]})


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'temperature_K': -300}, r'segment hold: temperature_K is -300: give kelvin above 0'),
        ({'temperature_K': 0}, r'temperature_K is 0: give kelvin above 0'),
        ({'temperature_end_K': -1}, r'temperature_end_K is -1'),
        ({'temperature_K': 1e6}, r'above 20000 K'),
        ({'temperature_K': 'hot'}, r"segment hold: temperature_K is 'hot'"),
        ({'temperature_K': None}, r'segment hold: an nvt segment needs temperature_K'),
        ({'temperature_K': float('nan')}, r'temperature_K is nan'),
        ({'duration_fs': 0}, r'duration_fs is 0: give femtoseconds above 0'),
        ({'duration_fs': 0.2}, r'segment hold lasts 0.2 fs, less than one time step of 2 fs'),
        ({'duration_ps': 0.2}, r'segment hold: `duration_ps` is not known here'),
        ({'ensemble': 'nph'}, r'segment hold: ensemble is'),
        ({'pressure_GPa': 1}, r'pressure_GPa acts in npt only, this segment is nvt'),
        ({'ensemble': 'npt', 'pressure_GPa': 1e5}, r'give gigapascal'),
        ({'ensemble': 'npt', 'friction_per_ps': -1}, r'must be finite and not negative'),
        ({'friction_per_ps': 5}, r'friction_per_ps acts with the Langevin thermostat only'),
        ({'thermostat': 'langevin', 'thermostat_mass': 1.0}, r'thermostat_mass belongs to the Nosé–Hoover'),
        ({'name': 'Hold it'}, r'lower-case letters, digits and single underscores'),
    ],
)
def test_a_bad_segment_gets_a_sentence(changes, sentence):
    with pytest.raises(PlanError, match=sentence):
        one(**changes)


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'timestep_fs': -2}, r'timestep_fs is -2: give femtoseconds above 0'),
        ({'timestep_fs': 0.002}, r'is that picoseconds'),
        ({'timestep_fs': 20}, r'more than 10 fs does not follow vibrations'),
        ({'frame_stride': 0}, r'frame_stride is 0'),
        ({'max_steps_per_run': 100000}, r'max_steps_per_run is 100000'),
        ({'segments': []}, r'segments is \[\]'),
        ({'time_step': 2}, r'`time_step` is not known here'),
    ],
)
def test_a_bad_plan_gets_a_sentence(changes, sentence):
    with pytest.raises(PlanError, match=sentence):
        plan(**changes)


def test_two_segments_of_one_name_are_refused():
    segment = {'name': 'hold', 'temperature_K': 300, 'duration_fs': 10}
    with pytest.raises(PlanError, match='two segments are called hold'):
        AimdPlan.from_dict({'segments': [segment, segment]})


def test_a_plan_survives_a_round_trip():
    first = plan()
    assert AimdPlan.from_dict(first.as_dict()) == first


def test_estimates():
    whole = plan(frame_stride=7)
    assert whole.total_steps == 100 + 150 + 20
    assert whole.duration_ps == pytest.approx(0.54)
    assert whole.n_frames == 39
    assert plan().n_frames == 270


def test_split_runs_continue_the_ramp():
    long = plan(max_steps_per_run=40)
    runs = [run for run in long.runs() if run.segment == 'heat']
    assert [run.n_steps for run in runs] == [34, 34, 32]
    assert [run.first_step for run in runs] == [0, 34, 68]
    tags = [long.incar(run, ['Li']) for run in runs]
    assert tags[0]['tebeg'] == 300
    assert tags[-1]['teend'] == 1500
    for before, after in itertools.pairwise(tags):
        assert before['teend'] == after['tebeg']
    slopes = [(tag['teend'] - tag['tebeg']) / tag['nsw'] for tag in tags]
    assert slopes == pytest.approx([12.0] * 3)


def test_runs_cover_the_plan_once_and_none_is_too_long():
    long = plan(max_steps_per_run=40)
    covered = [run.first_step + step for run in long.runs() for step in range(run.n_steps)]
    assert covered == list(range(270))
    assert all(run.n_steps <= 40 for run in long.runs())


def test_the_rest_of_an_interrupted_ramp_starts_where_it_stopped():
    whole = plan()
    run = whole.runs()[0]
    rest = run.after(25)
    assert rest == AimdRun('heat', 0, 25, 75, 25)
    tags = whole.incar(rest, ['Li'])
    assert (tags['tebeg'], tags['teend'], tags['nsw']) == (600.0, 1500.0, 75)
    with pytest.raises(PlanError, match='leaves nothing'):
        run.after(100)


def test_incar_of_each_ensemble():
    whole = plan()
    heat, hold, free = (whole.incar(run, ['Li', 'Cl']) for run in whole.runs())
    assert (heat['mdalgo'], heat['smass'], heat['isif'], heat['potim']) == (2, 0.0, 2, 2.0)
    assert (hold['mdalgo'], hold['isif'], hold['pstress']) == (3, 3, 5.0)
    assert hold['langevin_gamma'] == [10.0, 10.0]
    assert hold['tebeg'] == hold['teend'] == 1500
    assert (free['mdalgo'], free['andersen_prob']) == (1, 0.0)
    assert 'tebeg' not in free
    for tags in (heat, hold, free):
        assert tags['ibrion'] == 0
        assert set(tags) <= PLAN_TAGS


def test_langevin_at_constant_cell():
    whole = one(thermostat='langevin', friction_per_ps=20.0)
    tags = whole.incar(whole.runs()[0], ['Li', 'Cl'])
    assert (tags['mdalgo'], tags['isif'], tags['langevin_gamma']) == (3, 2, [20.0, 20.0])
    assert 'pstress' not in tags
    assert 'smass' not in tags


def test_friction_for_each_element_follows_the_order_of_potcar():
    whole = one(ensemble='npt', friction_per_ps={'Li': 1.0, 'Cl': 2.0})
    run = whole.runs()[0]
    assert whole.incar(run, ['Cl', 'Li'])['langevin_gamma'] == [2.0, 1.0]
    with pytest.raises(PlanError, match='friction_per_ps lacks Ga'):
        whole.incar(run, ['Ga', 'Li'])


def test_no_two_runs_share_their_noise():
    whole = plan(max_steps_per_run=40)
    seeds = [whole.incar(run, ['Li'])['random_seed'][0] for run in whole.runs()]
    assert len(set(seeds)) == len(seeds)


def test_melt_quench_is_the_published_schedule():
    whole = AimdPlan.from_dict({'segments': melt_quench_segments(maximum_temperature_K=1800)})
    assert [(segment.name, segment.duration_fs) for segment in whole.segments] == [
        ('heat', 10000), ('hold', 30000), ('cool', 10000),
    ]  # fmt: skip
    assert whole.duration_ps == 50.0
    without = melt_quench_segments(maximum_temperature_K=1800, cool_fs=0)
    assert [segment['name'] for segment in without] == ['heat', 'hold']
