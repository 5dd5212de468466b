"""A look at a job while it runs: whether the models of a committee still agree."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from aiida.engine.processes.calcjobs.monitors import CalcJobMonitorResult
from aiida.orm import CalcJobNode
from aiida.schedulers import JobState

from aiida_softclay.calculations.lammps_committee import DEVIATION_FILE
from aiida_softclay.calculations.lammps_script import LOG_FILE
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.parsers.lammps_deviation import deviation_arrays, read_deviation
from aiida_softclay.parsers.lammps_log import read_log

#: A mean of fewer deviations says little of a stage.
LEAST_SAMPLES = 10


def stop_at_model_deviation(node: CalcJobNode, transport: Any) -> CalcJobMonitorResult | None:
    """Ask for the end of a job whose models disagree, in the stage that it is in, by more than its limit on average.

    The limit is the input ``max_model_deviation_eV_A``; the parser then judges the job by the same mean, and gives it
    its exit code.

    Parameters
    ----------
    node : CalcJobNode
    transport : Transport
        Open, to the computer of the job.
    """
    # Asked once more after the job has ended, when there is nothing left to stop.
    if node.get_scheduler_state() is JobState.DONE or 'max_model_deviation_eV_A' not in node.inputs:
        return None
    mean = running_mean(node, transport)
    limit = node.inputs.max_model_deviation_eV_A.value
    if mean is None or mean <= limit:
        return None
    message = f'the largest force deviation is {mean:.3g} eV/Å on average, the limit is {limit:g}'
    return CalcJobMonitorResult(message=message, override_exit_code=False)


def running_mean(node: CalcJobNode, transport: Any) -> float | None:
    """Return the mean largest force deviation in the present stage of a job, in eV/Å; ``None`` while there are few."""
    folder = node.get_remote_workdir()
    if folder is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        for name in (LOG_FILE, DEVIATION_FILE):
            if not transport.isfile(f'{folder}/{name}'):
                return None
            transport.getfile(f'{folder}/{name}', f'{scratch}/{name}')
        with (Path(scratch) / LOG_FILE).open(encoding='utf-8', errors='replace') as handle:
            log = read_log(handle)
        with (Path(scratch) / DEVIATION_FILE).open(encoding='utf-8', errors='replace') as handle:
            deviation = read_deviation(handle)
    plan = MdPlan.from_dict(node.inputs.plan.get_dict())
    if log.completed or log.stage is None or log.stage.name not in plan.stage_names:
        return None
    every = node.inputs.deviation_every.value if 'deviation_every' in node.inputs else None
    arrays = deviation_arrays(plan, log.stage, deviation, every, last_frame=None)
    largest = arrays['max_force_deviation_eV_A']
    return float(largest.mean()) if len(largest) >= LEAST_SAMPLES else None
