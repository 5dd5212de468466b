"""Melt–quench schedules: temperatures of a structure's own, rates in the place of durations, and what is refused."""

from __future__ import annotations

import pytest

from aiida_softclay.calculations.aimd_plan import AimdPlan, PlanError
from aiida_softclay.calculations.aimd_schedule import schedule_plan, schedule_segments

HOLD = {'name': 'hold', 'ensemble': 'nvt', 'temperature_K': 'maximum', 'duration_fs': 100.0}
COOL = {'name': 'cool', 'temperature_K': 'maximum', 'temperature_end_K': 300.0, 'rate_K_per_ps': 100.0}


def test_the_published_rate_is_a_duration():
    hold, cool = schedule_segments([HOLD, COOL], 600.0)
    assert hold['temperature_K'] == 600.0
    # From 600 K to 300 K at 100 K/ps (dai2023) is 3 ps, and heating takes as long.
    assert cool['duration_fs'] == 3000.0
    (heat,) = schedule_segments([{**COOL, 'temperature_K': 300.0, 'temperature_end_K': 'maximum'}], 600.0)
    assert heat['duration_fs'] == 3000.0
    assert HOLD['temperature_K'] == 'maximum'


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'rate_K_per_ps': -100.0}, r'stage cool: rate_K_per_ps is -100.0: give a number above 0'),
        ({'rate_K_per_ps': 0}, r'rate_K_per_ps is 0'),
        ({'rate_K_per_ps': 'fast'}, r"rate_K_per_ps is 'fast'"),
        ({'rate_K_per_ps': float('inf')}, r'rate_K_per_ps is inf'),
        ({'rate_K_per_ps': True}, r'rate_K_per_ps is True'),
        ({'duration_fs': 100.0}, r'both duration_fs and rate_K_per_ps'),
        ({'temperature_end_K': None}, r'needs temperature_K and another temperature_end_K'),
        ({'temperature_end_K': 'maximum'}, r'needs temperature_K and another temperature_end_K'),
        ({'temperature_end_K': -300.0}, r'segment cool: temperature_end_K is -300'),
    ],
)
def test_a_bad_stage_gets_a_sentence(change, sentence):
    with pytest.raises(PlanError, match=sentence):
        schedule_plan({'timestep_fs': 1.0}, [HOLD, {**COOL, **change}], 600.0)


def test_a_structure_without_a_temperature_is_refused():
    with pytest.raises(PlanError, match='stage hold: temperature_K is `maximum`, but the structure has no'):
        schedule_segments([HOLD], None)
    with pytest.raises(PlanError, match='the schedule has no stage'):
        schedule_plan({}, [], 600.0)


def branching(**last):
    names = ('hold', 'cool', 'npt')
    segments = [{'name': name, 'temperature_K': 900.0, 'duration_fs': 20.0} for name in names]
    return AimdPlan.from_dict({'timestep_fs': 2.0, 'segments': [*segments[:2], segments[2] | last]})


def test_segments_may_branch_off_an_earlier_one():
    plan = branching(start_from='hold', ensemble='npt')
    assert [plan.parent(segment) for segment in plan.segments] == [None, 'hold', 'hold']
    # Steps go on counting, so that frames stay apart and noise differs.
    assert [run.first_step for run in plan.runs()] == [0, 10, 20]


@pytest.mark.parametrize('name', ['npt', 'elsewhere'])
def test_a_segment_starts_from_one_before_it(name):
    with pytest.raises(PlanError, match=f'segment npt starts from `{name}`, which is no segment before it'):
        branching(start_from=name)


def test_a_relaxation_needs_a_temperature_to_start_anew():
    with pytest.raises(PlanError, match='relax_before leaves atoms at rest'):
        branching(relax_before='cell', ensemble='nve', temperature_K=None)
    with pytest.raises(PlanError, match='single underscores'):
        branching(name='a__b')
