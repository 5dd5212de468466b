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
from aiida_softclay.calculations.aimd_plan import PLAN_TAGS, AimdPlan, AimdRun, PlanError, melt_quench_segments
from aiida_softclay.calculations.potcar_cutoff import cutoff_problem
from aiida_softclay.calculations.potcars import PotentialFamilyError, select_potentials
from aiida_softclay.calculations.vasp_md import VaspMdCalculation, potcar_elements, velocities_problem
from aiida_softclay.data.frames import FramesData
from aiida_softclay.workflows.aimd_handlers import AimdHandlersMixin
from aiida_softclay.workflows.aimd_relaxation import AimdRelaxationMixin
from aiida_softclay.workflows.options import DEFAULT_OPTIONS
from aiida_softclay.workflows.ports import define_job_options, define_pseudopotentials, given_mapping
from aiida_softclay.workflows.protocol import ProtocolError, ProtocolMixin


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
    mapping = given_mapping(inputs)
    try:
        potentials = select_potentials(structure, inputs['potential_family'].value, mapping)
        for run in plan.runs():
            plan.incar(run, potcar_elements(structure))
    except (PotentialFamilyError, PlanError) as error:
        return str(error)
    problem = cutoff_problem(inputs['incar'].get_dict() if 'incar' in inputs else {}, potentials.values())
    if problem is not None:
        return problem
    if np.linalg.det(structure.cell) <= 0:
        return 'the lattice vectors of the structure are left-handed or linearly dependent: exchange two of them'
    if 'velocities' in inputs:
        return velocities_problem(inputs['velocities'], len(structure.sites))
    if plan.segments[0].temperature_K is None:
        return (
            f'segment {plan.segments[0].name} comes first: give it temperature_K to draw velocities at, or velocities'
        )
    return None


class AimdWorkChain(ProtocolMixin, AimdHandlersMixin, AimdRelaxationMixin, WorkChain):
    """Run a plan of AIMD segments, each from where an earlier one ended; the frames stay where the runs left them.

    A run that is killed or stops early is continued from its last CONTCAR; one that left none is repeated. Electronic
    trouble is answered once with a more robust minimiser. What failed physically ends under its own name, and the
    frames of the runs before it are outputs all the same.
    """

    _process_class = VaspMdCalculation
    _protocol_file = 'aimd'

    defaults = AttributeDict({
        'max_iterations': 5,
        # Seconds before the walltime at which the driver stops itself, at least, and as a share of the walltime.
        'walltime_margin_s': 60,
        'walltime_margin_share': 0.02,
        # A run that did this share of its steps has made progress and does not count towards max_iterations.
        'least_progress': 0.05,
        # For electronic trouble: ALGO that is more robust than the one in use (VASP's manual: Normal is more robust
        # than Fast, and All suits insulators), and how many times more electronic steps.
        'robust_algo': {'fast': 'Normal', 'veryfast': 'Normal', 'normal': 'All'},
        'robust_algo_otherwise': 'Normal',
        'nelm_factor': 2,
        'nelm_of_vasp': 60,
        # Ionic steps of one run of a relaxation before a segment; it is continued for up to max_iterations runs.
        'relaxation_steps': 200,
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
        define_pseudopotentials(spec)
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
            'source_label', valid_type=orm.Str, serializer=to_aiida_type, required=False,
            help='Name of the structure in the records of its frames; its label or formula if not given.',
        )  # fmt: skip
        define_job_options(spec, 'every run')
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
            while_(cls.has_runs_left)(
                cls.enter_segment,
                while_(cls.should_relax)(cls.run_relaxation, cls.inspect_relaxation),
                cls.run_segment,
                cls.inspect_run,
            ),
            cls.results,
        )

        spec.output_namespace(
            'frames', valid_type=FramesData, dynamic=True,
            help='Labelled frames, one node for each run that kept some: `run_000`, `run_001`, in order.',
        )  # fmt: skip
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
        spec.exit_code(
            403, 'ERROR_RELAXATION_FAILED', message='relaxation before segment {segment}, run {count}: {message}'
        )
        physics = 'segment {segment}, run <{pk}>: {message}'
        spec.exit_code(500, 'ERROR_NOT_FINITE', message=physics)
        spec.exit_code(501, 'ERROR_TEMPERATURE_RUNAWAY', message=physics)
        spec.exit_code(502, 'ERROR_ELECTRONIC_NOT_CONVERGED', message=f'{physics} (more robust settings did not help)')
        spec.exit_code(503, 'ERROR_VOLUME_COLLAPSE', message=physics)
        spec.exit_code(504, 'ERROR_VOLUME_EXPANSION', message=physics)
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
        # Where each segment ended, for those that start from another than the one before.
        self.ctx.ends = {}
        self.ctx.entered = self.ctx.relaxed = self.ctx.remedy_segment = None
        self.ctx.structure = self.inputs.structure
        self.ctx.velocities = self.inputs.velocities if 'velocities' in self.inputs else None
        if self.ctx.velocities is None and plan.segments[0].relax_before is None:
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

    def enter_segment(self) -> None:
        """Go back to the end of an earlier segment, where the next one says that it starts from there."""
        plan, run = AimdPlan.from_dict(self.ctx.plan), AimdRun(**self.ctx.queue[0])
        if self.ctx.entered == run.segment:
            return
        self.ctx.entered = run.segment
        self.ctx.relaxation_runs = 0
        parent = plan.segments[run.segment_index].start_from
        if parent is not None:
            self.ctx.structure, self.ctx.velocities = self.ctx.ends[parent]

    def potentials(self) -> dict[str, Any]:
        """Return the potential of each kind of the structure."""
        return select_potentials(self.ctx.structure, self.inputs.potential_family.value, given_mapping(self.inputs))

    def run_segment(self) -> ToContext:
        """Submit the next run, from the structure and velocities of the last one."""
        plan = AimdPlan.from_dict(self.ctx.plan)
        run = AimdRun(**self.ctx.queue[0])
        segment = plan.segments[run.segment_index]
        tags = {key.lower(): value for key, value in self.inputs.incar.get_dict().items()}
        if self.ctx.remedy_segment == run.segment:
            tags |= self.electronic_remedy()
        tags |= plan.incar(run, potcar_elements(self.ctx.structure))
        sampling = {
            'frame_stride': plan.frame_stride,
            'first_step': run.first_step,
            'segment': run.segment,
            'segment_index': run.segment_index,
            'label': self._source_label(),
            'keep_vasprun': self.inputs.keep_vasprun.value,
            'volume_start_A3': abs(float(np.linalg.det(self.inputs.structure.cell))),
            'volume_ratio_min': plan.volume_ratio_min,
            'volume_ratio_max': plan.volume_ratio_max,
        }
        if run.start == 0 and segment.start_from is not None:
            sampling['start_from'] = segment.start_from
        if run.start == 0 and segment.relax_before is not None:
            sampling['begins_anew'] = True
        index = len(self.ctx.runs)
        inputs = {
            'code': self.inputs.code,
            'structure': self.ctx.structure,
            'velocities': self.ctx.velocities,
            'parameters': orm.Dict(tags),
            'kpoints': self.inputs.kpoints,
            'potential': self.potentials(),
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

    def _source_label(self) -> str:
        if 'source_label' in self.inputs:
            return str(self.inputs.source_label.value)
        return self.inputs.structure.label or self.inputs.structure.get_formula(mode='hill')

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

    def results(self) -> Any:
        """Join the series, check the seams, and write the numbers; frames are not copied."""
        children = {f'run_{index:03d}': self.ctx.runs[index] for index in self.ctx.finished}
        series = {name: child.outputs.series for name, child in children.items()}
        statistics = {name: child.outputs.statistics for name, child in children.items()}

        seams = collect_seams(**statistics, metadata={'call_link_label': 'collect_seams'})
        self.out('seams', seams)
        # One run's series is the whole's; a copy would only be another node of the same content.
        merged_series = next(iter(series.values()))
        if len(series) > 1:
            merged_series = merge_series(**series, metadata={'call_link_label': 'merge_series'})
        n_frames = self.attach_frames()
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
        self.report(f'{n_frames} frames from {len(children)} runs, all seams continuous')
        return None
