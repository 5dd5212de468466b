"""Melt–quench schedules: stages that speak of a structure's own highest temperature, and of cooling rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .aimd_plan import AimdPlan
from .md_plan import PlanError

#: Stands for the highest temperature of the structure in ``temperature_K`` and ``temperature_end_K``.
MAXIMUM = 'maximum'
FS_PER_PS = 1000.0


def schedule_segments(stages: Sequence[Mapping[str, Any]], maximum_temperature_K: float | None) -> list[dict[str, Any]]:
    """Return the segments of a schedule for one structure.

    Parameters
    ----------
    stages : sequence of mapping
        Segments of :class:`~aiida_softclay.calculations.aimd_plan.AimdPlan`, except that a temperature may be the word
        ``maximum``, and that a ramp may have ``rate_K_per_ps`` (a magnitude; the temperatures give its direction) in
        the place of ``duration_fs``.
    maximum_temperature_K : float or None
        Highest temperature of the structure, K; needed where a stage says ``maximum``.

    Returns
    -------
    list of dict
        Segments of a plan, which checks the rest.

    Raises
    ------
    PlanError
        With one sentence that names the stage.
    """
    return [_segment(dict(stage), maximum_temperature_K) for stage in stages]


def _segment(stage: dict[str, Any], maximum_temperature_K: float | None) -> dict[str, Any]:
    name = stage.get('name', '?')
    for key in ('temperature_K', 'temperature_end_K'):
        if stage.get(key) == MAXIMUM:
            if maximum_temperature_K is None:
                raise PlanError(f'stage {name}: {key} is `{MAXIMUM}`, but the structure has no maximum_temperature_K')
            stage[key] = maximum_temperature_K
    if 'rate_K_per_ps' in stage:
        stage['duration_fs'] = _duration_fs(name, stage)
    return {key: value for key, value in stage.items() if value is not None}


def _duration_fs(name: str, stage: dict[str, Any]) -> float:
    """Return the length of a ramp that is given by its rate, which is removed from ``stage``."""
    rate, begin, end = stage.pop('rate_K_per_ps'), stage.get('temperature_K'), stage.get('temperature_end_K')
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not math.isfinite(rate) or rate <= 0:
        raise PlanError(
            f'stage {name}: rate_K_per_ps is {rate!r}: give a number above 0; the temperatures say whether it heats or '
            'cools'
        )
    if stage.get('duration_fs') is not None:
        raise PlanError(f'stage {name} has both duration_fs and rate_K_per_ps: give one of them')
    if not isinstance(begin, (int, float)) or not isinstance(end, (int, float)) or begin == end:
        raise PlanError(f'stage {name}: rate_K_per_ps needs temperature_K and another temperature_end_K')
    return abs(end - begin) / rate * FS_PER_PS


def schedule_plan(
    plan: Mapping[str, Any], stages: Sequence[Mapping[str, Any]], maximum_temperature_K: float | None
) -> AimdPlan:
    """Return the plan of one structure: the settings of ``plan`` with the segments of the schedule.

    Raises
    ------
    PlanError
        If a stage or a setting is wrong.
    """
    if not stages:
        raise PlanError('the schedule has no stage')
    return AimdPlan.from_dict({**plan, 'segments': schedule_segments(stages, maximum_temperature_K)})
