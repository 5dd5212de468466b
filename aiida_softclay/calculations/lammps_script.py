"""The LAMMPS script of a plan: all stages in one run, which stops itself in time and can be continued exactly.

Every number and name in the script comes from a checked :class:`MdPlan` or a checked potential. What the parser relies
on is marked by ``softclay:`` lines in the log. A stage ends with ``<stage>.end.restart``; during a stage two restart
files alternate; a run that stops itself writes ``<stage>.stop.restart`` with all fixes still defined, so that their
thermostat and barostat variables are in it. A run that goes on is the same, bit by bit on one process, as one in one
piece, with two exceptions of LAMMPS: ``fix npt`` takes the mass of its barostat from the target temperature at the
start of a run, so the barostat of a temperature ramp changes its (arbitrary) mass at a seam, and ``fix deform`` moves
the box once more at a seam, which rounds differently. Fix ids carry the name of the stage, because LAMMPS gives the
state of a fix in a restart file to the first new fix of the same id and style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiida_softclay.calculations.lammps_columns import column_fixes, definition_lines
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.calculations.md_stages import (
    COMPONENTS,
    SHEAR_COMPONENTS,
    DeformStage,
    DynamicsStage,
    MinimiseStage,
    NptStage,
    NveStage,
    StageBase,
)

DATA_FILE = 'structure.data'
RESUME_FILE = 'resume.restart'
# Two dots: the files that this run writes, and not the one it went on from.
RESTART_FILES = '*.*.restart'
FINAL_FILE = 'final.dump'
LOG_FILE = 'log.lammps'
DUMP_SUFFIX = '.dump.bin'
THERMO_KEYWORDS = (
    *('step', 'temp', 'pe', 'ke', 'etotal', 'vol', 'density', 'lx', 'ly', 'lz', 'xy', 'xz', 'yz'),
    *('pxx', 'pyy', 'pzz', 'pyz', 'pxz', 'pxy', 'ecouple', 'econserve'),
)
MARK = 'softclay:'
BAR_PER_GPA = 1.0e4
LAMMPS_COMPONENT = {'xx': 'x', 'yy': 'y', 'zz': 'z', 'yz': 'yz', 'xz': 'xz', 'xy': 'xy'}

# A round of cell relaxation that changes the volume by less than this fraction, and ends within this pressure of zero,
# is the last one.
VOLUME_CONVERGED = 1.0e-5
PRESSURE_CONVERGED_BAR = 50.0
VOLUME_CLOSED = 1.0e-3
LARGEST_VOLUME_CHANGE_PER_ITERATION = 0.002
# Steps between two looks at the clock and at the temperature.
CHECK_EVERY = 10
RUNAWAY_FIX = 'runaway_'


@dataclass(frozen=True)
class Resume:
    """Where a run goes on.

    ``stage`` is the stage to run; ``within`` says whether the restart file was written during that stage (its fixes
    go on) or at the end of the stage before (the stage starts).
    """

    stage: str
    step: int
    within: bool


def wallclock_margin(max_wallclock_seconds: float) -> float:
    """Return the seconds before the limit of the scheduler at which the run stops itself: 5 %, from 10 s to 5 min."""
    return min(max(10.0, 0.05 * max_wallclock_seconds), 300.0)


def _clock(seconds: float) -> str:
    whole = max(1, int(seconds))
    return f'{whole // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}'


def write_script(
    plan: MdPlan,
    pair_lines: Sequence[str],
    has_velocities: bool,
    resume: Resume | None = None,
    max_wallclock_seconds: float | None = None,
    types: Mapping[str, int] | None = None,
) -> str:
    """Return the script that runs the plan, from its start or from where ``resume`` says.

    Parameters
    ----------
    plan : MdPlan
    pair_lines : sequence of str
        Checked lines that define the interactions.
    has_velocities : bool
        Whether the data file holds velocities.
    resume : Resume, optional
    max_wallclock_seconds : float, optional
        Limit of the scheduler; the run stops itself before it.
    types : mapping of str to int, optional
        Elements of the structure and their atom types, for the columns that are written of each element.
    """
    types = types or {}
    classical = not any('deepmd' in line for line in pair_lines)
    lines = ['# Written by aiida-softclay from the plan of the calculation.']
    if max_wallclock_seconds is not None:
        # Before anything else: loading a large model takes part of the time, too.
        limit = max_wallclock_seconds - wallclock_margin(max_wallclock_seconds)
        lines += [f'timer timeout {_clock(limit)} every {CHECK_EVERY}']
    lines += [
        'units metal',
        'atom_style charge',
        'boundary p p p',
        'box tilt large',
    ]
    if resume is None:
        lines += [f'read_data {DATA_FILE}', 'reset_timestep 0']
    else:
        lines += [f'read_restart {RESUME_FILE}']
    lines += list(pair_lines)
    lines += [
        'neighbor 2.0 bin',
        # Nothing is assumed about how far atoms move between rebuilds: in a melt under pressure they move far.
        'neigh_modify every 1 delay 0 check yes',
        f'timestep {plan.timestep_ps:.12g}',
        f'thermo_style custom {" ".join(THERMO_KEYWORDS)}',
        'thermo_modify lost error norm no flush yes format float %.12g',
        *definition_lines(types),
    ]
    first = 0 if resume is None else plan.stage_names.index(resume.stage)
    for index in range(first, len(plan.stages)):
        within = resume is not None and index == first and resume.within
        has_timer = max_wallclock_seconds is not None
        lines += ['', *_stage_lines(plan, index, within, has_velocities, has_timer, types, classical)]
    final = f'write_dump all custom {FINAL_FILE} id type xu yu zu vx vy vz modify sort id format float %.17g'
    lines += [
        '',
        final,
        f'print "{MARK} completed"',
        'jump SELF finished',
        '',
        'label interrupted',
        'write_restart ${stage}.stop.restart',
        final,
        f'print "{MARK} interrupted stage=${{stage}} step=$(step)"',
        'label finished',
        '',
    ]
    return '\n'.join(lines)


def _stage_lines(
    plan: MdPlan, index: int, within: bool, has_velocities: bool, has_timer: bool, types: Mapping[str, int],
    classical: bool,
) -> list[str]:  # fmt: skip
    stage = plan.stages[index]
    start = plan.start_step(stage)
    end = start + plan.steps(stage)
    dump = f'trajectory_{stage.name}'
    lines = [
        *_dumped_group_lines(plan, stage, types),
        f'variable stage string {stage.name}',
        f'print "{MARK} begin stage={stage.name} kind={stage.kind} step=$(step)"',
        *_velocity_lines(plan, index, within, has_velocities),
        # LAMMPS counts strides from step 0; these count from the start of the stage, so that frames are equidistant.
        f'variable rows_{stage.name} equal stride({start},{end},{plan.stage_thermo_every(stage)})',
        f'variable frames_{stage.name} equal stride({start},{end},{plan.stage_dump_every(stage)})',
        f'thermo v_rows_{stage.name}',
        f'dump {dump} {_dumped_group(plan, stage)} custom {plan.stage_dump_every(stage)} '
        f'{stage.name}{DUMP_SUFFIX} xu yu zu',
        # A continued run writes the frame it starts from again, so that none can be missing between the two.
        f'dump_modify {dump} every v_frames_{stage.name} sort id first yes flush yes',
        f'restart {plan.restart_every} {stage.name}.a.restart {stage.name}.b.restart',
    ]
    if isinstance(stage, MinimiseStage):
        lines += _minimise_lines(stage, start, has_timer)
    else:
        fixes = [*_fix_lines(plan, stage), *_runaway_lines(plan, stage)]
        lines += [line for _, line in fixes]
        columns = column_fixes(plan, stage, types, classical) if types else []
        lines += [line for _, group in columns for line in group]
        lines += [
            # `start` and `stop` make ramps and strains run over the whole stage, whichever part of it is done here.
            f'run {end} upto start {start} stop {end}',
            f'if "$(step) < {end}" then "jump SELF interrupted"',
            *[f'unfix {name}' for name, _ in reversed([*fixes, *columns])],
        ]
    lines += [f'undump {dump}', 'restart 0']
    if isinstance(stage, MinimiseStage):
        lines += [f'print "{MARK} iterations={start} until=$(step)"', f'reset_timestep {start}']
    lines += [f'write_restart {stage.name}.end.restart', f'print "{MARK} end stage={stage.name} step=$(step)"']
    return lines


def _dumped_group(plan: MdPlan, stage: StageBase) -> str:
    return 'all' if plan.stage_elements(stage) is None else f'dumped_{stage.name}'


def _dumped_group_lines(plan: MdPlan, stage: StageBase, types: Mapping[str, int]) -> list[str]:
    elements = plan.stage_elements(stage)
    if elements is None:
        return []
    return [f'group {_dumped_group(plan, stage)} type {" ".join(str(types[element]) for element in elements)}']


def _velocity_lines(plan: MdPlan, index: int, within: bool, has_velocities: bool) -> list[str]:
    if within:
        return []
    if isinstance(plan.stages[index], MinimiseStage):
        return ['velocity all set 0.0 0.0 0.0']
    if not plan.needs_velocities(index) or (index == 0 and has_velocities):
        return []
    temperature = plan.initial_temperature(index)
    if temperature is None:
        return []
    # `loop all` makes the velocities independent of the number of processes.
    seed = plan.seed + index
    return [f'velocity all create {temperature:.12g} {seed} mom yes rot no dist gaussian loop all']


def _fix_lines(plan: MdPlan, stage: DynamicsStage) -> list[tuple[str, str]]:
    """Return the ids and lines of the fixes of a stage with dynamics."""
    name = f'integrate_{stage.name}'
    if isinstance(stage, NveStage):
        return [(name, f'fix {name} all nve')]
    temperature = stage.temperature_K  # type: ignore[attr-defined]
    end_temperature = getattr(stage, 'temperature_end_K', None) or temperature
    thermostat = f'temp {temperature:.12g} {end_temperature:.12g} {stage.tdamp_ps:.12g}'  # type: ignore[attr-defined]
    if isinstance(stage, NptStage):
        line = f'fix {name} all npt {thermostat} {_barostat(stage)} flip no'
        if stage.coupling == 'tri' and not stage.is_hydrostatic and stage.reset_reference_ps is not None:
            line += f' nreset {max(1, round(stage.reset_reference_ps / plan.timestep_ps))}'
        return [(name, line)]
    if isinstance(stage, DeformStage):
        free = [component for component in COMPONENTS if component != stage.component]
        barostat = ' '.join(f'{LAMMPS_COMPONENT[component]} 0.0 0.0 {stage.pdamp_ps:.12g}' for component in free)
        line = f'fix {name} all npt {thermostat} {barostat} flip no'
        if stage.component in SHEAR_COMPONENTS:
            # The tilt that is prescribed must not follow the height of the cell as well.
            line += f' scale{stage.component} no'
        deform = f'deform_{stage.name}'
        axis = LAMMPS_COMPONENT[stage.component]
        return [
            (name, line),
            (deform, f'fix {deform} all deform 1 {axis} erate {stage.rate_per_ps:.12g} remap v flip no'),
        ]
    return [(name, f'fix {name} all nvt {thermostat}')]


def _runaway_lines(plan: MdPlan, stage: DynamicsStage) -> list[tuple[str, str]]:
    """Return the fix that ends a run whose temperature has run away, so that it still writes its last state."""
    limit = plan.temperature_limit(stage)
    if limit is None:
        return []
    name = f'{RUNAWAY_FIX}{stage.name}'
    halt = f'fix {name} all halt {CHECK_EVERY} v_temperature_{stage.name} > {limit:.12g} error continue'
    return [(name, f'variable temperature_{stage.name} equal c_thermo_temp\n{halt}')]


def _barostat(stage: NptStage) -> str:
    """Return the barostat of a stage; LAMMPS targets pressures, which are minus the stress."""
    pressure = {component: -value * BAR_PER_GPA + 0.0 for component, value in stage.stress.items()}
    if stage.coupling == 'iso':
        return f'iso {pressure["xx"]:.12g} {pressure["xx"]:.12g} {stage.pdamp_ps:.12g}'
    components = COMPONENTS if stage.coupling == 'tri' else COMPONENTS[:3]
    return ' '.join(
        f'{LAMMPS_COMPONENT[component]} {pressure[component]:.12g} {pressure[component]:.12g} {stage.pdamp_ps:.12g}'
        for component in components
    )


def _minimise_lines(stage: MinimiseStage, start: int, has_timer: bool) -> list[str]:
    """Return the lines of a minimisation: rounds of cell relaxation, each from the cell that the last one reached."""
    name = stage.name
    limit = start + stage.max_steps
    minimize = f'minimize {stage.energy_tolerance:.12g} {stage.force_tolerance_eV_A:.12g} ${{left}} $(10*v_left)'
    stop_if_out_of_time = ['if "$(timeremain) <= 0.0" then "jump SELF interrupted"'] if has_timer else []
    lines = ['min_style cg', 'min_modify norm max dmax 0.1 line quadratic']
    if stage.relax_cell == 'none':
        return [*lines, f'variable left equal {limit}-step', minimize, *stop_if_out_of_time]
    passes = [('settle', 0.0, _is_relaxed(stage.relax_cell))]
    if stage.closing_pressure_GPa:
        passes.insert(0, ('close', stage.closing_pressure_GPa * BAR_PER_GPA, ''))
    for label, pressure, relaxed in passes:
        tolerance = VOLUME_CLOSED if label == 'close' else VOLUME_CONVERGED
        condition = f'abs(vol/v_before-1)<{tolerance:g}' + (f'&&{relaxed}' if relaxed else '')
        lines += [
            f'variable round loop {stage.max_rounds}',
            f'label {label}_{name}',
            'variable before equal $(vol)',
            f'variable left equal {limit}-step',
            f'if "${{left}} <= 0" then "jump SELF {label}_done_{name}"',
            f'fix relax_{name} all box/relax {stage.relax_cell} {pressure:.12g} '
            f'vmax {LARGEST_VOLUME_CHANGE_PER_ITERATION:g}',
            minimize,
            f'unfix relax_{name}',
            *stop_if_out_of_time,
            f'variable done equal {condition}',
            f'print "{MARK} round=${{round}} phase={label} volume=$(vol) converged=$(v_done)"',
            f'if "$(v_done) > 0.5" then "jump SELF {label}_done_{name}"',
            'next round',
            f'jump SELF {label}_{name}',
            f'label {label}_done_{name}',
            'variable round delete',
        ]
    return lines


def _is_relaxed(coupling: str) -> str:
    """Return the LAMMPS formula that says whether the pressures which the cell can relax are close to zero."""
    if coupling == 'iso':
        return f'abs(pxx+pyy+pzz)<{3 * PRESSURE_CONVERGED_BAR:g}'
    keys = ['pxx', 'pyy', 'pzz'] + (['pyz', 'pxz', 'pxy'] if coupling == 'tri' else [])
    return '&&'.join(f'(abs({key})<{PRESSURE_CONVERGED_BAR:g})' for key in keys)
