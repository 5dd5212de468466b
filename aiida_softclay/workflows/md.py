"""Molecular dynamics of any length: a plan run in segments that stop themselves, go on exactly and are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, WorkChain, while_

from aiida_softclay.calcfunctions.md import merge_deviations, merge_statistics, merge_thermo, merge_trajectories
from aiida_softclay.calculations.lammps import LammpsMdCalculation, validate_physics
from aiida_softclay.calculations.lammps_committee import others_of
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.workflows.options import DEFAULT_OPTIONS


def validate_inputs(value, context):
    """Return what is wrong with the combination of inputs."""
    return validate_physics(value, context)


def classical_inputs(classical: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of a classical potential as nodes.

    Parameters
    ----------
    classical : mapping
        ``pair_lines`` (list of lines, mapping with elements, lines and charges, or a node of either) and, optionally,
        ``files`` (nodes by name).
    """
    lines = classical['pair_lines']
    if not isinstance(lines, orm.Data):
        lines = orm.Dict(dict(lines)) if isinstance(lines, Mapping) else orm.List(list(lines))
    files = classical.get('files')
    return {'pair_lines': lines, **({'files': dict(files)} if files else {})}


class MdWorkChain(WorkChain):
    """Run a plan of stages with LAMMPS, in as many jobs as its length needs.

    A job that runs out of its wall time stops itself and writes a restart; one that is killed leaves the last periodic
    restart. The next job goes on from there within the same stage, with the same thermostat state. Stages that took
    several jobs are joined; those that took one are passed through.
    """

    defaults = AttributeDict(
        {
            'max_iterations': 50,
            # A run that is killed again without one restart file in between will not get further the next time.
            'max_failures_without_progress': 2,
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
                *('committee', 'deviation_every', 'max_model_deviation_eV_A'),
            ),
        )
        spec.input(
            'options',
            valid_type=orm.Dict,
            default=lambda: orm.Dict(DEFAULT_OPTIONS),
            serializer=orm.to_aiida_type,
            help='metadata.options of the jobs; max_wallclock_seconds sets their length.',
        )
        spec.input(
            'max_iterations',
            valid_type=orm.Int,
            default=lambda: orm.Int(cls.defaults.max_iterations),
            serializer=orm.to_aiida_type,
            help='Largest number of jobs.',
        )
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            while_(cls.should_run)(
                cls.run_segment,
                cls.inspect_segment,
            ),
            cls.results,
        )
        spec.output(
            'statistics', valid_type=orm.Dict, required=False, help='Steps, speed, versions and seams of the whole run.'
        )
        spec.output('structure', valid_type=orm.StructureData, required=False, help='Last structure.')
        spec.output('velocities', valid_type=orm.ArrayData, required=False, help='Last velocities, Å/ps.')
        spec.output_namespace(
            'thermo',
            valid_type=orm.ArrayData,
            dynamic=True,
            required=False,
            help='Time series of each stage, with units.',
        )
        spec.output_namespace(
            'trajectories', valid_type=MdTrajectoryData, dynamic=True, required=False, help='Trajectory of each stage.'
        )
        spec.output_namespace(
            'model_deviation',
            valid_type=orm.ArrayData,
            dynamic=True,
            required=False,
            help='Model deviation of the committee in each stage, with units; its steps are those of the frames.',
        )
        spec.exit_code(401, 'ERROR_NO_PROGRESS', message='the job was killed {count} times without progress: {message}')
        spec.exit_code(
            402,
            'ERROR_TOO_MANY_SEGMENTS',
            message='the plan is not finished after {count} jobs, it is at step {step} of stage {stage}: '
            'raise max_iterations or max_wallclock_seconds',
        )
        spec.exit_code(410, 'ERROR_SEGMENT', message='the LAMMPS job failed: {message}')
        spec.exit_code(501, 'ERROR_LOST_ATOMS', message='{message}')
        spec.exit_code(502, 'ERROR_NOT_FINITE', message='{message}')
        spec.exit_code(503, 'ERROR_MODEL_DEVIATION', message='{message}')

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
        if deviation_every is not None:
            builder.deviation_every = orm.Int(deviation_every)
        if max_model_deviation_eV_A is not None:
            builder.max_model_deviation_eV_A = orm.Float(max_model_deviation_eV_A)
        if classical is not None:
            builder.classical = classical_inputs(classical)
        if velocities is not None:
            builder.velocities = velocities
        builder.options = orm.Dict({**DEFAULT_OPTIONS, **(options or {})})
        if max_iterations is not None:
            builder.max_iterations = orm.Int(max_iterations)
        return builder

    def setup(self):
        """Unpack the plan and start at its first stage."""
        self.ctx.plan = self.inputs.plan.get_dict()
        self.ctx.options = self.inputs.options.get_dict()
        self.ctx.segments = []
        self.ctx.resume = None
        self.ctx.parent_folder = None
        self.ctx.failures = 0
        self.ctx.finished = False
        plan = MdPlan.from_dict(self.ctx.plan)
        self.report(
            f'{len(plan.stages)} stages ({", ".join(plan.stage_names)}), {plan.total_steps} steps at most, '
            f'{len(self.inputs.structure.sites)} atoms'
        )

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
        node = self.submit(LammpsMdCalculation, **inputs)
        start = f' from step {self.ctx.resume["step"]} of {self.ctx.resume["stage"]}' if self.ctx.resume else ''
        self.report(f'launched job {number}, LammpsMdCalculation<{node.pk}>{start}')
        return ToContext(segment=node)

    def inspect_segment(self):
        """Decide whether the plan is finished, goes on or has failed."""
        node = self.ctx.segment
        self.ctx.segments.append(node)
        if node.is_finished_ok:
            self.ctx.finished = True
            return None
        exit_code = self._judge(node)
        if exit_code is not None:
            self._attach_outputs()
        return exit_code

    def _judge(self, node):
        """Return the exit code of a job that failed, or `None` if the plan goes on."""
        codes = LammpsMdCalculation.exit_codes
        message = node.exit_message or str(node.process_state)
        if node.exit_status == codes.ERROR_LOST_ATOMS.status:
            return self.exit_codes.ERROR_LOST_ATOMS.format(message=message)
        if node.exit_status == codes.ERROR_NOT_FINITE.status:
            return self.exit_codes.ERROR_NOT_FINITE.format(message=message)
        if node.exit_status == codes.ERROR_MODEL_DEVIATION.status:
            return self.exit_codes.ERROR_MODEL_DEVIATION.format(message=message)
        if node.exit_status == codes.ERROR_OUT_OF_WALLTIME.status:
            return self._continue_after(node, message, planned=True)
        # Everything that can be the computer's fault and not the run's: killed, node lost, scheduler messages.
        interrupted = node.exit_status in (
            codes.ERROR_INTERRUPTED.status,
            codes.ERROR_NO_STAGE.status,
            codes.ERROR_NO_LOG.status,
        ) or (node.exit_status is not None and 100 <= node.exit_status < 200)
        if interrupted:
            return self._continue_after(node, message, planned=False)
        return self.exit_codes.ERROR_SEGMENT.format(message=message)

    def _continue_after(self, node, message, planned):
        """Go on from the restart of a job that did not finish, or again from where that job itself started.

        A job without a usable restart of its own is run again, which counts as a failure without progress; jobs that
        keep getting further may be interrupted as often as max_iterations allows.
        """
        statistics = node.outputs.statistics.get_dict() if 'statistics' in node.outputs else {}
        restart = statistics.get('restart')
        before = self.ctx.resume
        progress = restart is not None and (
            before is None or (restart['stage'], restart['step']) != (before['stage'], before['step'])
        )
        if progress:
            self.ctx.failures = 0
            self.ctx.resume = restart
            self.ctx.parent_folder = node.outputs.remote_folder
        else:
            self.ctx.failures += 1
            # What a job without progress computed is computed again by the next one, and must not be joined twice.
            self.ctx.segments[-1] = None
        if self.ctx.failures >= self.defaults.max_failures_without_progress:
            return self.exit_codes.ERROR_NO_PROGRESS.format(count=self.ctx.failures, message=message)
        action = 'goes on' if progress else 'is run again'
        self.report(f'{"stopped before its time limit" if planned else "interrupted"}: {message}; the plan {action}')
        return None

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
        return None

    def _attach_outputs(self):
        """Attach the outputs of the stages: joined where a stage took several jobs, else passed through."""
        segments = [node for node in self.ctx.segments if node is not None]
        if not segments:
            return
        merges = {'thermo': merge_thermo, 'trajectories': merge_trajectories, 'model_deviation': merge_deviations}
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
