"""What is wrong with a molecular dynamics run that LAMMPS itself did not complain about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_softclay.calculations.lammps_script import THERMO_KEYWORDS, Resume
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.calculations.md_stages import MinimiseStage
from aiida_softclay.parsers.lammps_files import FinalState
from aiida_softclay.parsers.lammps_log import RunLog

TEMPERATURE_COLUMN = THERMO_KEYWORDS.index('temp')


def find_runaway(plan: MdPlan, log: RunLog) -> dict[str, Any] | None:
    """Return the first time at which the temperature was beyond the limit of its stage.

    LAMMPS stops itself there; a run that was killed before it did still shows it in its rows.

    Returns
    -------
    dict or None
        ``stage``, ``step``, and ``temperature`` and ``limit`` in K.
    """
    for stage_log in log.stages:
        if stage_log.name not in plan.stage_names:
            continue
        limit = plan.temperature_limit(stage_log.name)
        found = [(int(row[0]), row[TEMPERATURE_COLUMN]) for row in stage_log.rows]
        if stage_log is log.stage and log.runaway:
            found = sorted([*found, log.runaway])
        for step, temperature in found:
            if limit is not None and temperature > limit:
                return {'stage': stage_log.name, 'step': step, 'temperature': temperature, 'limit': limit}
    return None


def find_disagreement(deviations: Mapping[str, Mapping[str, float]], limit: float) -> dict[str, Any] | None:
    """Return the first stage in which the models of a committee differ by more than the limit on average.

    Parameters
    ----------
    deviations : mapping
        Of each stage, with the mean of the largest deviation of a force, ``mean_eV_A``.
    limit : float
        Largest mean, eV/Å; one that is not a number is beyond it.

    Returns
    -------
    dict or None
        ``stage``, and ``mean`` and ``limit`` in eV/Å.
    """
    for stage, values in deviations.items():
        if not values['mean_eV_A'] <= limit:
            return {'stage': stage, 'mean': values['mean_eV_A'], 'limit': limit}
    return None


def missing_outputs(
    plan: MdPlan, frames: Mapping[str, int], resumed: Resume | None, final: FinalState | None
) -> list[str]:
    """Return what a run that completed should have left and did not, one phrase for each.

    Parameters
    ----------
    plan : MdPlan
        What was run.
    frames : mapping of str to int
        Number of frames read of each stage.
    resumed : Resume, optional
        Where the run went on from: the stage it was in has fewer frames than the plan says.
    final : FinalState, optional
        The last configuration.
    """
    missing = [
        f'{stage.name} has {frames.get(stage.name, 0)} frames, expected {plan.stage_frames(stage)}'
        for stage in plan.stages
        if not isinstance(stage, MinimiseStage)
        and stage.name in frames
        and not (resumed and resumed.stage == stage.name)
        and frames[stage.name] != plan.stage_frames(stage)
    ]
    if final is None:
        missing.append('the final configuration is missing')
    return missing
