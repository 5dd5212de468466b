"""Molecular dynamics of any length: a plan run in segments that stop themselves, go on exactly and are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, WorkChain, while_

from aiida_softclay.calcfunctions.md import (
    merge_averages,
    merge_collective,
    merge_deviations,
    merge_statistics,
    merge_thermo,
    merge_trajectories,
)
from aiida_softclay.calculations.lammps import LammpsMdCalculation
from aiida_softclay.calculations.lammps_committee import others_of
from aiida_softclay.calculations.lammps_script import RESTART_FILES
from aiida_softclay.calculations.md_outputs import define_stage_outputs
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.workflows.md_handlers import MdHandlersMixin
from aiida_softclay.workflows.md_inputs import classical_inputs, validate_inputs, validate_positive, validate_stash
from aiida_softclay.workflows.md_remote import RemoteDumpsMixin, holds
from aiida_softclay.workflows.options import DEFAULT_OPTIONS, parallel_options


class MdWorkChain(RemoteDumpsMixin, MdHandlersMixin, WorkChain):
    """Run a plan of stages with LAMMPS, in as many jobs as its length needs.

    A job that runs out of its wall time stops itself and writes a restart; one that is killed leaves the last periodic
    restart. The next job goes on from there within the same stage, with the same thermostat state. Stages that took
    several jobs are joined; those that took one are passed through. How each end of a job is handled is in
    :class:`~aiida_softclay.workflows.md_handlers.MdHandlersMixin`. Restart files stay on the computer.
    """

    defaults = AttributeDict(
        {
            'max_iterations': 50,
            # A job that fails the same way three times, without one restart file in between, will fail again.
            'max_transient_failures': 2,
        }
    )

    @classmethod
    def define(cls, spec):
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(
            LammpsMdCalculation,
            include=(
                *('code', 'structure', 'plan', 'potential', 'classical', 'velocities'),
                *('committee', 'deviation_every', 'max_model_deviation_eV_A', 'parent_folder', 'resume'),
                'max_retrieved_bytes',
            ),
        )
        spec.input(
            'options',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({name: value for name, value in DEFAULT_OPTIONS.items() if name != 'withmpi'}),
            serializer=orm.to_aiida_type,
            help='metadata.options of the jobs; max_wallclock_seconds sets their length, resources the MPI ranks and, '
            'as num_cores_per_mpiproc, the threads of each. More than one rank is started with mpirun.',
        )
        spec.input(
            'max_iterations',
            valid_type=orm.Int,
            default=lambda: orm.Int(cls.defaults.max_iterations),
            serializer=orm.to_aiida_type,
            help='Largest number of jobs.',
        )
        spec.input(
            'max_transient_failures',
            valid_type=orm.Int,
            default=lambda: orm.Int(cls.defaults.max_transient_failures),
            serializer=orm.to_aiida_type,
            validator=lambda node, _: (
                None if node is None or node.value >= 0 else 'a number of times cannot be negative'
            ),
            help='How often in a row a job that failed by no fault of its own, and got no further, is run again.',
        )
        spec.input(
            'restart_stash',
            valid_type=orm.Str,
            required=False,
            serializer=orm.to_aiida_type,
            validator=validate_stash,
            help='Folder on the computer in which the restart files of each job are kept, where the work directory is '
            'cleaned from time to time.',
        )
        spec.input(
            'deviation_check_seconds',
            valid_type=orm.Int,
            required=False,
            serializer=orm.to_aiida_type,
            validator=validate_positive,
            help='Look at the model deviation of a running job every so many seconds, and stop the job once its mean '
            'is above max_model_deviation_eV_A; without it a job is judged at its end.',
        )
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            while_(cls.should_run)(
                cls.run_segment,
                cls.inspect_segment,
            ),
            cls.convert_dumps,
            cls.results,
        )
        spec.output(
            'statistics', valid_type=orm.Dict, required=False, help='Steps, speed, versions and seams of the whole run.'
        )
        spec.output('structure', valid_type=orm.StructureData, required=False, help='Last structure.')
        spec.output('velocities', valid_type=orm.ArrayData, required=False, help='Last velocities, Å/ps.')
        define_stage_outputs(spec)
        spec.exit_code(
            401, 'ERROR_NO_PROGRESS', message='the job failed {count} times without getting further: {message}'
        )
        spec.exit_code(
            402,
            'ERROR_TOO_MANY_SEGMENTS',
            message='the plan is not finished after {count} jobs, it is at step {step} of stage {stage}: '
            'raise max_iterations or max_wallclock_seconds',
        )
        spec.exit_code(
            403,
            'ERROR_DISK_FULL',
            message='the disk of {computer} is full: make room there and go on; the job ran in {folder}: {message}',
        )
        spec.exit_code(
            404,
            'ERROR_OUT_OF_MEMORY',
            message='the job needs more memory than it may have: ask for more, or for more machines with fewer MPI '
            'ranks each: {message}',
        )
        spec.exit_code(410, 'ERROR_SEGMENT', message='the LAMMPS job failed: {message}')
        spec.exit_code(501, 'ERROR_LOST_ATOMS', message='{message}')
        spec.exit_code(502, 'ERROR_NOT_FINITE', message='{message}')
        spec.exit_code(503, 'ERROR_MODEL_DEVIATION', message='{message}')
        spec.exit_code(504, 'ERROR_TEMPERATURE_RUNAWAY', message='{message}')

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        structure: orm.StructureData,
        plan: Mapping[str, Any] | MdPlan,
        potential: orm.Data | None = None,
        classical: Mapping[str, Any] | None = None,
        velocities: orm.ArrayData | None = None,
        options: Mapping[str, Any] | None = None,
        max_iterations: int | None = None,
        committee: Mapping[str, orm.Data] | Sequence[orm.Data] | None = None,
        deviation_every: int | None = None,
        max_model_deviation_eV_A: float | None = None,
        **others: Any,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        code : Code
            LAMMPS.
        structure : StructureData
        plan : mapping or MdPlan
        potential : PotentialData, optional
            Model file; else ``classical``.
        classical : mapping, optional
            ``pair_lines`` (list of lines, or mapping with elements, lines and charges) and ``files`` (nodes).
        velocities : ArrayData, optional
            Å/ps, in the order and orientation of the structure.
        options : mapping, optional
            Options of the jobs, on top of the defaults.
        max_iterations : int, optional
        committee : mapping or sequence of PotentialData, optional
            Models whose deviation from each other is written; the potential drives, and may be among them.
        deviation_every : int, optional
            Steps between model deviations; with each frame if not given.
        max_model_deviation_eV_A : float, optional
            Limit, in eV/Å, of the mean over a stage of the largest force deviation.
        **others
            Plain values, or nodes, of the inputs ``max_transient_failures``, ``restart_stash``,
            ``deviation_check_seconds``, ``max_retrieved_bytes``, ``analysis_code``, ``analysis_options`` and
            ``dump_stash``.

        Raises
        ------
        PlanError
            If the plan cannot be run.
        """
        checked = plan if isinstance(plan, MdPlan) else MdPlan.from_dict(plan)
        builder = cls.get_builder()
        builder.code = code
        builder.structure = structure
        builder.plan = orm.Dict(checked.to_dict())
        if potential is not None:
            builder.potential = potential
        if committee is not None:
            builder.committee = others_of(committee, potential)
        others |= {'deviation_every': deviation_every, 'max_iterations': max_iterations}
        others['max_model_deviation_eV_A'] = max_model_deviation_eV_A
        for name, value in others.items():
            if value is not None:
                setattr(builder, name, value if isinstance(value, orm.Node) else orm.to_aiida_type(value))
        if classical is not None:
            builder.classical = classical_inputs(classical)
        if velocities is not None:
            builder.velocities = velocities
        builder.options = orm.Dict(parallel_options(options, code))
        return builder

    @classmethod
    def get_builder_to_go_on(cls, node: orm.WorkChainNode) -> Any:
        """Return a builder that goes on where a run that did not finish its plan stopped.

        The outputs are those of what is left of the plan; the stage in which the run stopped begins at that step.

        Parameters
        ----------
        node : WorkChainNode
            A run that ended for too few jobs, a full disk, too little memory or a computer that kept failing.

        Raises
        ------
        ValueError
            If none of its jobs left a restart file.
        """
        jobs = sorted((job for job in node.called if isinstance(job, orm.CalcJobNode)), key=lambda job: job.pk)
        for job in reversed(jobs):
            restart = job.outputs.statistics.get_dict().get('restart') if 'statistics' in job.outputs else None
            if restart:
                builder = node.get_builder_restart()
                builder.resume = orm.Dict(restart)
                kept = 'remote_stash' in job.outputs and holds(job.outputs.remote_stash, RESTART_FILES)
                builder.parent_folder = job.outputs['remote_stash' if kept else 'remote_folder']
                return builder
        raise ValueError(f'no job of run {node.pk} left a restart file: launch it again from its start')

    def setup(self):
        """Unpack the plan and start at its first stage."""
        self.ctx.plan = self.inputs.plan.get_dict()
        self.ctx.options = self.segment_options()
        self.ctx.segments = []
        self.ctx.resume = self.inputs.resume.get_dict() if 'resume' in self.inputs else None
        self.ctx.parent_folder = self.inputs.parent_folder if 'resume' in self.inputs else None
        self.ctx.failures = 0
        self.ctx.finished = False
        plan = MdPlan.from_dict(self.ctx.plan)
        self.report(
            f'{len(plan.stages)} stages ({", ".join(plan.stage_names)}), {plan.total_steps} steps at most, '
            f'{len(self.inputs.structure.sites)} atoms'
        )
        if 'potential' in self.inputs and not self.inputs.potential.compressed:
            self.report(
                f'the model {self.inputs.potential.filename} is not compressed and runs slower than it could: '
                'softclay.fit_potential gives compressed ones'
            )

    def segment_options(self) -> dict[str, Any]:
        """Return the options of the jobs, with what the other inputs say of them."""
        options = parallel_options(self.inputs.options.get_dict(), self.inputs.code)
        if (stash := self.stash_option()) is not None:
            options['stash'] = stash
        return options

    def should_run(self):
        """Return whether the plan is unfinished and jobs are left."""
        return not self.ctx.finished and len(self.ctx.segments) < self.inputs.max_iterations.value

    def run_segment(self):
        """Submit the next job, from the start or from the last restart."""
        inputs = AttributeDict(self.exposed_inputs(LammpsMdCalculation))
        number = len(self.ctx.segments) + 1
        inputs.metadata = {
            'options': self.ctx.options,
            'label': f'molecular dynamics, job {number}',
            'call_link_label': f'segment_{number:04d}',
        }
        if self.ctx.resume is not None:
            inputs.resume = orm.Dict(self.ctx.resume)
            inputs.parent_folder = self.ctx.parent_folder
        if 'deviation_check_seconds' in self.inputs:
            seconds = self.inputs.deviation_check_seconds.value
            monitor = {'entry_point': 'softclay.model_deviation', 'minimum_poll_interval': seconds}
            inputs.monitors = {'model_deviation': orm.Dict(monitor)}
        node = self.submit(LammpsMdCalculation, **inputs)
        start = f' from step {self.ctx.resume["step"]} of {self.ctx.resume["stage"]}' if self.ctx.resume else ''
        self.report(f'launched job {number}, LammpsMdCalculation<{node.pk}>{start}')
        return ToContext(segment=node)

    def results(self):
        """Join the segments of each stage and attach the outputs."""
        if not self.ctx.finished:
            resume = self.ctx.resume or {'step': 0, 'stage': MdPlan.from_dict(self.ctx.plan).stage_names[0]}
            self._attach_outputs()
            return self.exit_codes.ERROR_TOO_MANY_SEGMENTS.format(
                count=len(self.ctx.segments), step=resume['step'], stage=resume['stage']
            )
        self._attach_outputs()
        last = self.ctx.segments[-1].outputs
        self.out('structure', last.structure)
        self.out('velocities', last.velocities)
        if 'conversion' in self.ctx and not self.ctx.conversion.is_finished_ok:
            conversion = self.ctx.conversion
            return self.exit_codes.ERROR_CONVERSION.format(message=conversion.exit_message or conversion.process_state)
        return None

    def _attach_outputs(self):
        """Attach the outputs of the stages: joined where a stage took several jobs, else passed through."""
        segments = [node for node in self.ctx.segments if node is not None]
        if not segments:
            return
        self.attach_remote(segments)
        merges = {
            'thermo': merge_thermo, 'trajectories': merge_trajectories, 'model_deviation': merge_deviations,
            'collective': merge_collective, 'averages': merge_averages,
        }  # fmt: skip
        for namespace, merge in merges.items():
            for name in MdPlan.from_dict(self.ctx.plan).stage_names:
                parts = self._parts(segments, namespace, name)
                if len(parts) == 1:
                    self.out(f'{namespace}.{name}', parts[0])
                elif parts:
                    keyed = {f'segment_{index:04d}': part for index, part in enumerate(parts)}
                    self.out(f'{namespace}.{name}', merge(**keyed, metadata={'call_link_label': f'merge_{namespace}'}))
        statistics = [node.outputs.statistics for node in segments if 'statistics' in node.outputs]
        if len(statistics) == 1:
            self.out('statistics', statistics[0])
        elif statistics:
            keyed = {f'segment_{index:04d}': part for index, part in enumerate(statistics)}
            self.out('statistics', merge_statistics(**keyed))

    @staticmethod
    def _parts(segments, namespace, name):
        """Return the outputs of one stage over the jobs, from the last job that started the stage anew."""
        parts = []
        for node in segments:
            if namespace not in node.outputs or name not in node.outputs[namespace]:
                continue
            record = node.outputs.statistics.get_dict()['stages'][name]
            if not record['continued']:
                parts = []
            parts.append(node.outputs[namespace][name])
        return parts
