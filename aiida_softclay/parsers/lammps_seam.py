"""Whether a run that goes on is where the run before it stopped."""

from __future__ import annotations

from typing import Any

from aiida_softclay.calculations.lammps_script import THERMO_KEYWORDS, Resume
from aiida_softclay.parsers.lammps_log import RunLog, StageLog

#: What is compared, and by which name of LAMMPS; positions and cell decide the energy, velocities the temperature.
COMPARED = {'temperature_K': 'temp', 'potential_energy_eV': 'pe', 'volume_A3': 'vol'}
#: A model in single precision, or on another number of processes, gives energies that differ by less.
ENERGY_TOLERANCE_EV_PER_ATOM = 1.0e-4
RELATIVE_TOLERANCE = 1.0e-4


def state_at(stage_log: StageLog | None, step: int) -> dict[str, float] | None:
    """Return temperature, potential energy and volume at a step, or ``None`` if the log has no row there."""
    rows = [row for row in stage_log.rows if int(row[0]) == step] if stage_log else []
    if not rows:
        return None
    return {name: rows[-1][THERMO_KEYWORDS.index(keyword)] for name, keyword in COMPARED.items()}


def seam_record(log: RunLog, resumed: Resume | None, before: dict[str, float] | None) -> dict[str, Any] | None:
    """Return how the first state of a run differs from the last one of the run before, or ``None`` at no seam.

    Parameters
    ----------
    log : RunLog
        Of the run that goes on.
    resumed : Resume or None
    before : dict or None
        :func:`state_at` of the run before.

    Returns
    -------
    dict or None
        ``stage``, ``step``, ``checked``, and the differences (after minus before) and the values before by name.
    """
    if resumed is None:
        return None
    seam: dict[str, Any] = {'stage': resumed.stage, 'step': resumed.step, 'checked': False}
    first = log.stages[0] if log.stages else None
    # The energy of a minimisation whose cell is relaxed holds the work of the barostat, which begins anew.
    if before is None or first is None or first.name != resumed.stage or first.kind == 'minimise':
        return seam
    after = state_at(first, resumed.step)
    if after is None:
        return seam
    differences = {name: after[name] - value for name, value in before.items() if name in after}
    return {**seam, 'checked': True, 'differences': differences, 'before': before}


def seam_problem(seam: dict[str, Any] | None, n_atoms: int) -> str | None:
    """Return which differences at a seam are more than rounding, as text, or ``None``."""
    if not seam or not seam['checked']:
        return None
    problems = []
    for name, difference in seam['differences'].items():
        before = seam['before'][name]
        relative = RELATIVE_TOLERANCE * abs(before)
        limit = ENERGY_TOLERANCE_EV_PER_ATOM * n_atoms if name == 'potential_energy_eV' else relative
        if not abs(difference) <= limit:
            problems.append(f'{name} is {before + difference:g} after {before:g}')
    return ', '.join(problems) or None
