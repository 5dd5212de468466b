"""From the files of a LAMMPS run to arrays and records: no AiiDA, so that every way a run can end is easily tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from aiida_softclay.calculations.lammps_script import BAR_PER_GPA, DUMP_SUFFIX, THERMO_KEYWORDS, Resume
from aiida_softclay.calculations.lammps_system import elements_in_order
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.calculations.md_stages import MinimiseStage
from aiida_softclay.data.trajectory_file import InvalidTrajectoryError, TrajectoryFile
from aiida_softclay.parsers.lammps_files import iter_dump, restart_step
from aiida_softclay.parsers.lammps_log import RunLog, StageLog

ARRAY_NAMES = {
    'temp': 'temperature_K',
    'pe': 'potential_energy_eV',
    'ke': 'kinetic_energy_eV',
    'etotal': 'total_energy_eV',
    'vol': 'volume_A3',
    'density': 'density_g_cm3',
    'ecouple': 'thermostat_energy_eV',
    'econserve': 'conserved_energy_eV',
}
THERMO_UNITS = {
    'step': '',
    'time_ps': 'ps',
    'temperature_K': 'K',
    'potential_energy_eV': 'eV',
    'kinetic_energy_eV': 'eV',
    'total_energy_eV': 'eV',
    'volume_A3': 'Å^3',
    'density_g_cm3': 'g/cm^3',
    'thermostat_energy_eV': 'eV',
    'conserved_energy_eV': 'eV',
    **{f'stress_{component}_GPa': 'GPa' for component in ('xx', 'yy', 'zz', 'yz', 'xz', 'xy')},
    'cell': 'Å',
}


def is_regular_step(plan: MdPlan, stage: Any, step: int, every: int) -> bool:
    """Return whether a step is one at which a whole stage has output, not one at which a run was cut or continued."""
    if isinstance(stage, MinimiseStage):
        return True
    start = plan.start_step(stage)
    return (step - start) % every == 0 or step == start + plan.steps(stage)


def thermo_arrays(plan: MdPlan, stage_log: StageLog) -> dict[str, NDArray]:
    """Return the time series of a stage by name, in the units of ``THERMO_UNITS``; stress is tension positive.

    The time of a minimisation is that at which it happens: its steps are iterations and take no time.
    """
    stage = plan.stage(stage_log.name)
    every = plan.stage_thermo_every(stage)
    rows = [row for row in stage_log.rows if is_regular_step(plan, stage, int(row[0]), every)]
    table = np.array(rows, dtype=float).reshape(-1, len(THERMO_KEYWORDS))
    column = dict(zip(THERMO_KEYWORDS, table.T, strict=True))
    step = column['step'].astype(np.int64)
    time = np.full(len(step), plan.start_step(stage)) if isinstance(stage, MinimiseStage) else step
    arrays: dict[str, NDArray] = {'step': step, 'time_ps': time * plan.timestep_ps}
    arrays |= {name: column[keyword] for keyword, name in ARRAY_NAMES.items()}
    arrays |= {
        f'stress_{component}_GPa': -column[f'p{component}'] / BAR_PER_GPA + 0.0
        for component in ('xx', 'yy', 'zz', 'yz', 'xz', 'xy')
    }
    cell = np.zeros((len(step), 3, 3))
    cell[:, 0, 0], cell[:, 1, 1], cell[:, 2, 2] = column['lx'], column['ly'], column['lz']
    cell[:, 1, 0], cell[:, 2, 0], cell[:, 2, 1] = column['xy'], column['xz'], column['yz']
    arrays['cell'] = cell
    return arrays


def engine_with_left_out(
    engine: dict[str, Any], symbols: Sequence[str], elements: Sequence[str] | None
) -> dict[str, Any]:
    """Return the engine record of a trajectory that holds the atoms of some elements.

    Where atoms are left out it says how many of each element, and in which order the elements of the whole system come,
    so that what is named by elements has the same names as with all atoms.
    """
    left_out = Counter(symbol for symbol in symbols if elements is not None and symbol not in elements)
    if not left_out:
        return engine
    return {**engine, 'atoms_left_out': dict(left_out), 'element_order': elements_in_order(symbols)}


def convert_dump(
    plan: MdPlan, name: str, folder: Path, target: Path, symbols: Sequence[str], engine: dict[str, Any]
) -> tuple[int, int | None, bool]:
    """Write the trajectory of a stage to an HDF5 file, frame by frame, with the precision that the plan asks for.

    ``symbols`` are those of all atoms, of which the file holds those of the elements that the stage dumps.

    Returns
    -------
    tuple
        Number of frames, step of the last one (``None`` if there is none), and whether all positions were finite.
    """
    stage = plan.stage(name)
    every = plan.stage_dump_every(stage)
    source = folder / f'{name}{DUMP_SUFFIX}'
    last: int | None = None
    count, finite = 0, True
    if not source.is_file():
        return count, last, finite
    elements = plan.stage_elements(stage)
    numbers = [atomic_numbers[symbol] for symbol in symbols if elements is None or symbol in elements]
    engine = engine_with_left_out(engine, symbols, elements)
    resolution = plan.position_resolution_A
    with TrajectoryFile(target, 'w', numbers, plan.timestep_ps, engine, name, resolution) as trajectory:
        for frame in iter_dump(source):
            if last is not None and frame.step <= last:
                continue
            if not isinstance(stage, MinimiseStage) and (frame.step - plan.start_step(stage)) % every:
                continue
            try:
                trajectory.append(frame.positions, frame.cell, frame.step)
            except InvalidTrajectoryError:
                finite = bool(np.isfinite(frame.positions).all())
                break
            last = frame.step
            count += 1
    return count, last, finite


def find_restart(
    plan: MdPlan, log: RunLog, folder: Path, last_frames: dict[str, int | None], resumed: Resume | None
) -> dict[str, Any] | None:
    """Return where a run that did not complete can go on without losing a frame or a row, or ``None``.

    Restart files that LAMMPS did not finish are passed over, and so are those beyond the last frame that arrived.
    """
    stage_log = log.stage
    if stage_log is None:
        return None
    names = plan.stage_names
    if stage_log.ended:
        following = names.index(stage_log.name) + 1
        if following == len(names):
            return None
        return _at_start(plan, names[following], stage_log.name, folder)
    stage = plan.stage(stage_log.name)
    best: dict[str, Any] | None = None
    for which in ('stop', 'a', 'b'):
        file = f'{stage_log.name}.{which}.restart'
        step = restart_step(folder / file)
        if step is None or (best is not None and step <= best['step']):
            continue
        frames_end = last_frames.get(stage_log.name)
        rows_end = int(stage_log.rows[-1][0]) if stage_log.rows else None
        if frames_end is None or rows_end is None:
            continue
        # The frame and the row at the restart step itself are written again by the job that goes on.
        if frames_end < step - plan.stage_dump_every(stage) or rows_end < step - plan.stage_thermo_every(stage):
            continue
        best = {'stage': stage_log.name, 'step': step, 'within': True, 'file': file}
    if best is None and names.index(stage_log.name) > 0 and not (resumed and resumed.stage == stage_log.name):
        return _at_start(plan, stage_log.name, names[names.index(stage_log.name) - 1], folder)
    return best


def _at_start(plan: MdPlan, name: str, before: str, folder: Path) -> dict[str, Any] | None:
    file = f'{before}.end.restart'
    step = restart_step(folder / file)
    if step is None or step != plan.start_step(name):
        return None
    return {'stage': name, 'step': step, 'within': False, 'file': file}


def stage_statistics(plan: MdPlan, stage_log: StageLog, resumed: Resume | None, frames: int) -> dict[str, Any]:
    """Return what one stage did in this job."""
    stage = plan.stage(stage_log.name)
    minimise = isinstance(stage, MinimiseStage)
    last_step = int(stage_log.rows[-1][0]) if stage_log.rows else stage_log.first_step
    if stage_log.ended and not minimise:
        last_step = plan.start_step(stage) + plan.steps(stage)
    record: dict[str, Any] = {
        'kind': stage_log.kind,
        'first_step': stage_log.first_step,
        'last_step': last_step,
        'steps': last_step - stage_log.first_step,
        'planned_steps': plan.steps(stage),
        'completed': stage_log.ended,
        'continued': bool(resumed and resumed.within and resumed.stage == stage_log.name),
        'n_frames': frames,
        'loop_seconds': stage_log.loop_seconds,
        'steps_per_second': stage_log.loop_steps / stage_log.loop_seconds if stage_log.loop_seconds > 0 else None,
    }
    if minimise:
        record['stopping_criterion'] = stage_log.stopping_criterion
        record['largest_force_eV_A'] = stage_log.final_force_eV_A
        record['rounds'] = stage_log.rounds
        # Without a cell there are no rounds, and reaching a tolerance is what convergence means.
        within = stage_log.stopping_criterion in ('energy tolerance', 'force tolerance', 'linesearch alpha is zero')
        record['converged'] = stage_log.converged if stage.relax_cell != 'none' else within
    return record
