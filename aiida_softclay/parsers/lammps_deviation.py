"""Read the model deviation that a committee writes, stage by stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiida_softclay.calculations.lammps_committee import DEVIATION_COLUMNS, deviation_stride
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.calculations.md_stages import MinimiseStage
from aiida_softclay.parsers.lammps_log import StageLog

DEVIATION_UNITS = {
    'step': '',
    'time_ps': 'ps',
    **{name: 'eV/Å' if 'force' in name else 'eV (for each atom)' for name in DEVIATION_COLUMNS},
}


@dataclass
class DeviationLog:
    """The rows of a file of deviations by step.

    Where two stages meet, the file has two rows of one step: ``first`` is that of the stage that ends, ``last`` that of
    the stage that begins, which differ if there is a minimisation between them.
    """

    first: dict[int, list[float]] = field(default_factory=dict)
    last: dict[int, list[float]] = field(default_factory=dict)


def read_deviation(lines: Iterable[str]) -> DeviationLog:
    """Return the rows of a file of deviations; a last line without its end may be cut inside a number and is left out.

    A minimisation counts its iterations as steps, which are then set back: rows beyond the step it goes back to are
    those of the minimisation, and are dropped.
    """
    log = DeviationLog()
    before = None
    for line in lines:
        words = line.split()
        if not line.endswith('\n') or line.startswith('#') or len(words) < 1 + len(DEVIATION_COLUMNS):
            continue
        try:
            step, row = int(words[0]), [float(word) for word in words[1 : 1 + len(DEVIATION_COLUMNS)]]
        except ValueError:
            continue
        if before is not None and step < before:
            for table in (log.first, log.last):
                for later in [known for known in table if known > step]:
                    del table[later]
        log.first.setdefault(step, row)
        log.last[step] = row
        before = step
    return log


def deviation_arrays(
    plan: MdPlan, stage_log: StageLog, log: DeviationLog, every: int | None, last_frame: int | None
) -> dict[str, NDArray[Any]]:
    """Return the deviations of a stage by name, in the units of ``DEVIATION_UNITS``; empty for a minimisation.

    Parameters
    ----------
    plan : MdPlan
    stage_log : StageLog
        What the log says of the stage.
    log : DeviationLog
    every : int or None
        Steps between the rows that are kept; by default those between frames.
    last_frame : int or None
        Step of the last frame. Nothing beyond the last sign of life of the stage is its own.
    """
    stage = plan.stage(stage_log.name)
    steps: list[int] = []
    start = plan.start_step(stage)
    if not isinstance(stage, MinimiseStage):
        stride = deviation_stride(plan, stage, every)
        seen = [int(row[0]) for row in stage_log.rows[-1:]] + ([] if last_frame is None else [last_frame])
        end = min(start + plan.steps(stage), max(seen, default=-1))
        steps = [step for step in range(start, end + 1, stride) if step in log.first and step >= stage_log.first_step]
    rows = [log.last[step] if step == start else log.first[step] for step in steps]
    table = np.array(rows, dtype=float).reshape(-1, len(DEVIATION_COLUMNS))
    step = np.array(steps, dtype=np.int64)
    return {
        'step': step,
        'time_ps': step * plan.timestep_ps,
        **dict(zip(DEVIATION_COLUMNS, np.ascontiguousarray(table.T), strict=True)),
    }
