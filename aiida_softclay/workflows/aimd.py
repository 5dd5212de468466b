"""Ab initio MD over a plan of segments, positions, cell and velocities carried over every seam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, WorkChain, append_, while_
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calcfunctions.aimd import aimd_results, collect_seams, draw_velocities, merge_series
from aiida_softclay.calcfunctions.frames import merge_frames
from aiida_softclay.calculations.aimd_plan import PLAN_TAGS, AimdPlan, AimdRun, PlanError, melt_quench_segments
from aiida_softclay.calculations.potcars import PotentialFamilyError, select_potentials
from aiida_softclay.calculations.vasp_md import VaspMdCalculation, potcar_elements, velocities_problem
from aiida_softclay.data.frames import FramesData
from aiida_softclay.workflows.protocol import ProtocolError, ProtocolMixin

DEFAULT_OPTIONS = {
    'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1},
    'withmpi': False,
    'max_wallclock_seconds': 86400,
}


def gamma_point() -> orm.KpointsData:
    """Return the Γ point alone, which the papers use for cells of 10 Å and more."""
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([1, 1, 1])
    return kpoints


def incar_problem(incar: Mapping[str, Any]) -> str | None:
    """Return what is wrong with INCAR tags that go beside a plan, or ``None``."""
    from parsevasp.constants import incar_tags

    taken = sorted(key.upper() for key in incar if key.lower() in PLAN_TAGS)
    if taken:
        return f'the plan decides {", ".join(taken)}: remove it from `incar` and change the plan instead'
    unknown = sorted(key for key in incar if key.lower() not in incar_tags)
    if unknown:
        return f'`incar` holds {", ".join(unknown)}, which VASP does not know: check the spelling'
    return None


def _validate_plan(node: orm.Dict, _: Any) -> str | None:
    try:
        AimdPlan.from_dict(node.get_dict())
    except PlanError as error:
        return f'plan: {error}'
    return None


def _validate_incar(node: orm.Dict, _: Any) -> str | None:
    return incar_problem(node.get_dict())


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Check what needs several inputs: potentials for the elements, velocities for the sites, friction."""
    if not {'structure', 'plan', 'potential_family'} <= set(inputs):
        return None
    structure, plan = inputs['structure'], AimdPlan.from_dict(inputs['plan'].get_dict())
    mapping = inputs['potential_mapping'].get_dict() if 'potential_mapping' in inputs else {}
    try:
        select_potentials(structure, inputs['potential_family'].value, mapping)
        for run in plan.runs():
            plan.incar(run, potcar_elements(structure))
    except (PotentialFamilyError, PlanError) as error:
        return str(error)
    if np.linalg.det(structure.cell) <= 0:
        return 'the lattice vectors of the structure are left-handed or linearly dependent: exchange two of them'
    if 'velocities' in inputs:
        return velocities_problem(inputs['velocities'], len(structure.sites))
    if plan.segments[0].temperature_K is None:
        return (
            f'segment {plan.segments[0].name} comes first: give it temperature_K to draw velocities at, or velocities'
        )
    return None


class AimdWorkChain(ProtocolMixin, WorkChain):
    """Run a plan of AIMD segments, each from where the one before it ended, and collect the frames.

    A run that is killed or stops early is continued from its last CONTCAR; one that left none is repeated.
    """

    _process_class = VaspMdCalculation
    _protocol_file = 'aimd'

    defaults = AttributeDict({
        'max_iterations': 5,
        # Seconds before the walltime at which the driver stops itself, at least, and as a share of the walltime.
        'walltime_margin_s': 60,
        'walltime_margin_share': 0.02,
    })  # fmt: skip

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input('structure', valid_type=orm.StructureData, help='Where the first segment starts.')
        spec.input(
            'plan', valid_type=orm.Dict, serializer=to_aiida_type, validator=_validate_plan,
            help='`timestep_fs`, `seed`, `frame_stride`, `max_steps_per_run` and `segments`, see `AimdPlan`.',
        )  # fmt: skip
        spec.input('code', valid_type=orm.AbstractCode, help='VASP, or the VASP-compatible driver.')
        spec.input('potential_family', valid_type=orm.Str, serializer=to_aiida_type, help='Family of POTCAR files.')
        spec.input(
            'potential_mapping', valid_type=orm.Dict, serializer=to_aiida_type, required=False,
            help='Full name of the potential of an element, where it is not the plain one (`{"Ga": "Ga_d"}`).',
        )  # fmt: skip
        spec.input(
            'incar', valid_type=orm.Dict, serializer=to_aiida_type, validator=_validate_incar,
            help='INCAR tags of the electronic structure; those of the dynamics come from the plan.',
        )  # fmt: skip
        spec.input('kpoints', valid_type=orm.KpointsData, default=gamma_point, help='The Γ point if not given.')
        spec.input(
            'velocities', valid_type=orm.ArrayData, required=False,
            help='Array `velocities` (Å/fs); drawn at the temperature of the first segment if not given.',
        )  # fmt: skip
        spec.input(
            'options', valid_type=orm.Dict, serializer=to_aiida_type, default=lambda: orm.Dict(DEFAULT_OPTIONS),
            help='`metadata.options` of every run.',
        )  # fmt: skip
        spec.input(
            'max_iterations', valid_type=orm.Int, serializer=to_aiida_type,
            default=lambda: orm.Int(cls.defaults.max_iterations),
            help='Most runs for one piece of the plan, should they be killed or stop early.',
        )  # fmt: skip
        spec.input(
            'keep_vasprun', valid_type=orm.Bool, serializer=to_aiida_type, default=lambda: orm.Bool(False),
            help='Whether vasprun.xml stays in the repository.',
        )  # fmt: skip
        spec.inputs.validator = _validate_inputs

        spec.outline(
            cls.setup,
            while_(cls.has_runs_left)(cls.run_segment, cls.inspect_run),
            cls.results,
        )

        spec.output('frames', valid_type=FramesData, help='Labelled frames of all segments.')
        spec.output('structure', valid_type=orm.StructureData, help='Structure after the last step.')
        spec.output('velocities', valid_type=orm.ArrayData, help='Velocities after the last step, Å/fs.')
        spec.output('series', valid_type=orm.ArrayData, help='Temperature and energies at every step of the plan.')
        spec.output('seams', valid_type=orm.Dict, help='How each run began compared with the end of the one before.')
        spec.output('results', valid_type=orm.Dict, help='The numbers, in the results schema.')

        spec.exit_code(
            401,
            'ERROR_TOO_MANY_RUNS',
            message='segment {segment}: not complete after {count} runs; the last: {message}',
        )
        spec.exit_code(402, 'ERROR_RUN_FAILED', message='segment {segment}, run <{pk}>: {message}')
        spec.exit_code(500, 'ERROR_PHYSICS', message='segment {segment}, run <{pk}>: {message}')
        spec.exit_code(
            510, 'ERROR_BROKEN_SEAM',
            message='run {run} (segment {segment}) did not begin where the one before it ended: see the output `seams`',
        )  # fmt: skip

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        structure: orm.StructureData,
        potential_family: str,
        *,
        plan: AimdPlan | Mapping[str, Any] | None = None,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        potential_mapping: Mapping[str, str] | None = None,
        label: str | None = None,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        code, structure
            What to run and from where.
        potential_family : str
            Label of a family of POTCAR files with all elements of the structure.
        plan : AimdPlan or mapping, optional
            The plan; where it is not given, the melt–quench of the protocol's ``schedule``.
        protocol, overrides
            See :meth:`get_protocol_inputs`.
        options : mapping, optional
            Replaces entries of the default ``metadata.options``.
        potential_mapping : mapping, optional
            Full names of potentials by element.
        label : str, optional
            Label of the workchain; the formula if not given.

        Raises
        ------
        ProtocolError, PlanError
            If the protocol, an override or the plan is wrong.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        if plan is None:
            try:
                segments = melt_quench_segments(**inputs['schedule'])
            except TypeError as error:
                raise ProtocolError(f'the schedule of the protocol is wrong: {error}') from None
            plan = {**inputs['plan'], 'segments': segments}
        parsed = plan if isinstance(plan, AimdPlan) else AimdPlan.from_dict(plan)
        builder = cls.get_builder()
        builder.code = code
        builder.structure = structure
        builder.potential_family = orm.Str(potential_family)
        if potential_mapping:
            builder.potential_mapping = orm.Dict(dict(potential_mapping))
        builder.plan = orm.Dict(parsed.as_dict())
        builder.incar = orm.Dict(inputs['incar'])
        builder.options = orm.Dict({**DEFAULT_OPTIONS, **(options or {})})
        builder.max_iterations = orm.Int(inputs['max_iterations'])
        builder.keep_vasprun = orm.Bool(inputs['keep_vasprun'])
        builder.metadata.label = label or f'AIMD of {structure.get_formula(mode="hill_compact")}'
        return builder

    def setup(self) -> None:
        """Split the plan into runs and choose the velocities of the first."""
        plan = AimdPlan.from_dict(self.inputs.plan.get_dict())
        self.ctx.plan = plan.as_dict()
        self.ctx.queue = [run.as_dict() for run in plan.runs()]
        self.ctx.attempts = 0
        self.ctx.runs = []
        self.ctx.finished = []
        self.ctx.structure = self.inputs.structure
        if 'velocities' in self.inputs:
            self.ctx.velocities = self.inputs.velocities
        else:
            self.ctx.velocities = draw_velocities(
                self.inputs.structure,
                orm.Dict({'temperature_K': plan.segments[0].temperature_K, 'seed': plan.seed}),
                metadata={'call_link_label': 'draw_velocities'},
            )
        self.report(
            f'{len(plan.segments)} segments, {plan.total_steps} steps ({plan.duration_ps:g} ps) in '
            f'{len(self.ctx.queue)} runs, {plan.n_frames} frames'
        )

    def has_runs_left(self) -> bool:
        """Return whether a piece of the plan is still to be run."""
        return bool(self.ctx.queue)

    def run_segment(self) -> ToContext:
        """Submit the next run, from the structure and velocities of the last one."""
        plan = AimdPlan.from_dict(self.ctx.plan)
        run = AimdRun(**self.ctx.queue[0])
        mapping = self.inputs.potential_mapping.get_dict() if 'potential_mapping' in self.inputs else {}
        potentials = select_potentials(self.ctx.structure, self.inputs.potential_family.value, mapping)
        tags = {key.lower(): value for key, value in self.inputs.incar.get_dict().items()}
        tags |= plan.incar(run, potcar_elements(self.ctx.structure))
        sampling = {
            'frame_stride': plan.frame_stride,
            'first_step': run.first_step,
            'segment': run.segment,
            'segment_index': run.segment_index,
            'label': self.inputs.structure.label or self.inputs.structure.get_formula(mode='hill'),
            'keep_vasprun': self.inputs.keep_vasprun.value,
        }
        index = len(self.ctx.runs)
        inputs = {
            'code': self.inputs.code,
            'structure': self.ctx.structure,
            'velocities': self.ctx.velocities,
            'parameters': orm.Dict(tags),
            'kpoints': self.inputs.kpoints,
            'potential': potentials,
            'sampling': orm.Dict(sampling),
            'metadata': {
                'options': self._options(),
                'call_link_label': f'run_{index:03d}_{run.segment}',
                'label': f'{run.segment} {run.start}+{run.n_steps}',
            },
        }
        calculation = self.submit(self._process_class, **inputs)
        self.report(f'{run.segment}: steps {run.start} to {run.start + run.n_steps} launched <{calculation.pk}>')
        return ToContext(runs=append_(calculation))

    def _options(self) -> dict[str, Any]:
        """Return the options of a run; the driver is told when to stop itself, VASP does not heed it."""
        options = {**DEFAULT_OPTIONS, **self.inputs.options.get_dict()}
        walltime = options.get('max_wallclock_seconds')
        if walltime:
            margin = max(self.defaults.walltime_margin_s, self.defaults.walltime_margin_share * walltime)
            if walltime > 2 * margin:
                limit = {'SOFTCLAY_TIME_LIMIT': str(int(walltime - margin))}
                options['environment_variables'] = {**limit, **options.get('environment_variables', {})}
        return options

    def inspect_run(self) -> Any:
        """Take over what a run reached; queue what is left of it, repeat it, or give up."""
        calculation = self.ctx.runs[-1]
        run = AimdRun(**self.ctx.queue[0])
        codes = self._process_class.spec().exit_codes
        status = calculation.exit_status
        message = calculation.exit_message or f'{calculation.process_state.value} with exit status {status}'
        where = {'segment': run.segment, 'pk': calculation.pk, 'message': message}
        self.ctx.attempts += 1

        if calculation.is_excepted or calculation.is_killed:
            return self.exit_codes.ERROR_RUN_FAILED.format(**where)
        if status in (codes.ERROR_NOT_FINITE.status, codes.ERROR_TEMPERATURE_RUNAWAY.status):
            return self.exit_codes.ERROR_PHYSICS.format(**where)

        if status in (0, codes.WARNING_ELECTRONIC_NOT_CONVERGED.status):
            if status:
                self.report(f'{run.segment}: {message}')
            self._take_over(calculation)
            self.ctx.queue = self.ctx.queue[1:]
            self.ctx.attempts = 0
            return None

        if self.ctx.attempts >= self.inputs.max_iterations.value:
            return self.exit_codes.ERROR_TOO_MANY_RUNS.format(
                segment=run.segment, count=self.ctx.attempts, message=message
            )
        if status in (codes.ERROR_STOPPED_EARLY.status, codes.ERROR_INTERRUPTED.status):
            done = calculation.outputs.statistics.get_dict()['steps_done']
            self._take_over(calculation)
            self.ctx.queue = [run.after(done).as_dict(), *self.ctx.queue[1:]]
            self.report(f'{run.segment}: {message}; going on from step {run.start + done}')
            return None
        if status == codes.ERROR_PROGRAM_STOPPED.status and self.ctx.attempts > 1:
            # A program that refuses its input twice refuses it for good.
            return self.exit_codes.ERROR_RUN_FAILED.format(**where)
        self.report(f'{run.segment}: {message}; repeating the run')
        return None

    def _take_over(self, calculation: orm.CalcJobNode) -> None:
        self.ctx.structure = calculation.outputs.structure
        self.ctx.velocities = calculation.outputs.velocities
        self.ctx.finished = [*self.ctx.finished, len(self.ctx.runs) - 1]

    def results(self) -> Any:
        """Join frames and series, check the seams, and write the numbers."""
        children = {f'run_{index:03d}': self.ctx.runs[index] for index in self.ctx.finished}
        frames = {name: child.outputs.frames for name, child in children.items() if 'frames' in child.outputs}
        series = {name: child.outputs.series for name, child in children.items()}
        statistics = {name: child.outputs.statistics for name, child in children.items()}

        seams = collect_seams(**statistics, metadata={'call_link_label': 'collect_seams'})
        self.out('seams', seams)
        # One run's outputs are the whole's; a copy would only be another node of the same content.
        merged_frames, merged_series = next(iter(frames.values())), next(iter(series.values()))
        if len(frames) > 1:
            merged_frames = merge_frames(**frames, metadata={'call_link_label': 'merge_frames'})
        if len(series) > 1:
            merged_series = merge_series(**series, metadata={'call_link_label': 'merge_series'})
        self.out('frames', merged_frames)
        self.out('series', merged_series)
        self.out('structure', self.ctx.structure)
        self.out('velocities', self.ctx.velocities)
        self.out(
            'results',
            aimd_results(self.inputs.plan, merged_series, **statistics, metadata={'call_link_label': 'aimd_results'}),
        )
        for seam in seams.get_dict()['seams']:
            if not seam['continuous']:
                return self.exit_codes.ERROR_BROKEN_SEAM.format(run=seam['run'], segment=seam['segment'])
        self.report(f'{merged_frames.n_frames} frames from {len(children)} runs, all seams continuous')
        return None
