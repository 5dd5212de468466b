"""What the molecular dynamics experiments share: a plan made from parameters, one run, one analysis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, WorkChain

from aiida_softclay.calculations.lammps import structure_symbols, validate_physics
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.data.engine import engine_text
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.md import MdWorkChain, classical_inputs
from aiida_softclay.workflows.md_inputs import frames_problem, remote_problem
from aiida_softclay.workflows.md_remote import REMOTE_INPUTS, set_remote_inputs
from aiida_softclay.workflows.protocol import ProtocolMixin
from aiida_softclay.workflows.trajectory_analyses import TrajectoryAnalysesMixin, curves_of, is_large

MD_INPUTS = (
    *('code', 'structure', 'potential', 'classical', 'velocities', 'options', 'max_iterations'),
    *REMOTE_INPUTS,
)


class ExperimentWorkChain(ProtocolMixin, TrajectoryAnalysesMixin, WorkChain):
    """An experiment on an equilibrated structure: subclasses make the plan and analyse the run."""

    #: What the experiment is called in labels and reports.
    _title: str
    #: Whether the numbers come from the frames of the run and not from its time series.
    _needs_frames = False

    @classmethod
    def needs_frames(cls) -> bool:
        """Return whether the numbers come from the frames of the run and not from its time series."""
        return cls._needs_frames

    @classmethod
    def build_plan(cls, parameters: Mapping[str, Any]) -> MdPlan:
        """Return the stages of the experiment.

        Raises
        ------
        ValueError
            With a sentence that says which parameter to change.
        """
        raise NotImplementedError(f'{cls.__name__} makes no plan')

    @classmethod
    def check_parameters(cls, parameters: Mapping[str, Any], elements: list[str]) -> str | None:
        """Return what is wrong with the parameters apart from the plan, given the elements atom by atom."""
        return None

    @classmethod
    def validate_parameters(cls, node: orm.Dict, _: Any) -> str | None:
        """Return what is wrong with the parameters."""
        parameters = node.get_dict()
        required = set(cls.get_protocol_inputs())
        known = required | {'protocol', 'context'}
        if unknown := sorted(set(parameters) - known):
            return f'unknown parameter {", ".join(unknown)}: known are {", ".join(sorted(known))}'
        if missing := sorted(required - set(parameters)):
            return f'the parameters lack {", ".join(missing)}: start from get_builder_from_protocol'
        try:
            cls.build_plan(parameters)
        except (TypeError, ValueError) as error:
            return str(error)
        return None

    @classmethod
    def validate_inputs(cls, inputs: AttributeDict, context: Any) -> str | None:
        """Return what is wrong with the combination of inputs."""
        if 'structure' not in inputs or 'parameters' not in inputs:
            return None
        parameters = inputs['parameters'].get_dict()
        try:
            plan = cls.build_plan(parameters)
            symbols = structure_symbols(inputs['structure'])
        except ValueError as error:
            return str(error)
        # The same checks as those of the run itself, before anything is submitted.
        problem = validate_physics({**inputs, 'plan': orm.Dict(plan.to_dict())}, context)
        problem = problem or remote_problem(inputs) or cls.check_parameters(parameters, symbols)
        return problem or (frames_problem(inputs, plan) if cls._needs_frames else None)

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(MdWorkChain, include=MD_INPUTS)
        spec.input(
            'parameters', valid_type=orm.Dict, validator=cls.validate_parameters,
            help='Temperature, durations and analysis: see the protocols and their descriptions.',
        )  # fmt: skip
        spec.inputs.validator = cls.validate_inputs
        spec.outline(
            cls.setup, cls.run_md, cls.inspect_md, cls.analyse, cls.inspect_analysis, cls.analyse_further,
            cls.inspect_further, cls.conclude,
        )  # fmt: skip
        spec.expose_outputs(MdWorkChain)
        spec.output('results', valid_type=orm.Dict, help='Numbers with errors, in the results schema.')
        spec.output('curve', valid_type=orm.ArrayData, help='The plotted curves; units in the attribute `units`.')
        spec.output_namespace(
            'further', valid_type=orm.Dict, dynamic=True, required=False,
            help='Numbers of further analyses of the run, in the results schema.',
        )  # fmt: skip
        spec.output_namespace(
            'further_curves', valid_type=orm.ArrayData, dynamic=True, required=False, help='Their curves.'
        )
        spec.exit_code(410, 'ERROR_MD', message='the molecular dynamics run failed: {message}')
        spec.exit_code(
            412,
            'ERROR_FRAMES_STAY',
            message='the run is whole, but its dumps are larger than max_retrieved_bytes and stay on the computer: '
            'give analysis_code, analyse them there with `softclay launch analyse`, or raise the limit',
        )
        spec.exit_code(
            501,
            'ERROR_UNPHYSICAL_RUN',
            message='the run became unphysical: {message}',
        )
        spec.exit_code(510, 'ERROR_ANALYSIS', message='{message}')

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        structure: orm.StructureData,
        potential: orm.Data | None = None,
        classical: Mapping[str, Any] | None = None,
        *,
        velocities: orm.ArrayData | None = None,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **remote: Any,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        code : Code
            LAMMPS.
        structure : StructureData
            Equilibrated structure.
        potential : PotentialData, optional
            Model file; else ``classical``.
        classical : mapping, optional
            ``pair_lines`` and ``files``, as for ``softclay.md``.
        velocities : ArrayData, optional
            Å/ps, in the order and orientation of the structure; drawn at the temperature if not given.
        protocol, overrides
            See :meth:`get_available_protocols` and :meth:`get_protocol_descriptions`.
        options : mapping, optional
            Scheduler options of the jobs.
        **remote
            ``analysis_code``, ``analysis_options``, ``max_retrieved_bytes`` and ``dump_stash``: what becomes of dumps
            that are too large to be retrieved, see ``softclay.md``.

        Raises
        ------
        ProtocolError
            If the protocol, or a key of the overrides, does not exist.
        PlanError
            If the parameters make no plan that can be run.
        """
        parameters = cls.get_protocol_inputs(protocol, overrides)
        md = MdWorkChain.get_builder_from_protocol(
            code, structure, cls.build_plan(parameters), potential=potential, classical=classical,
            velocities=velocities, options=options,
        )  # fmt: skip
        builder = cls.get_builder()
        for name in ('code', 'structure', 'potential', 'velocities', 'options'):
            if (value := getattr(md, name)) is not None:
                setattr(builder, name, value)
        if classical is not None:
            builder.classical = classical_inputs(classical)
        set_remote_inputs(builder, remote)
        builder.parameters = orm.Dict({**parameters, 'protocol': protocol or cls.get_default_protocol()})
        builder.metadata.label = f'{cls._title} of {structure.get_formula()}'
        return builder

    def setup(self):
        """Unpack the parameters."""
        self.ctx.parameters = self.inputs.parameters.get_dict()

    def run_md(self):
        """Submit the run."""
        plan = self.build_plan(self.ctx.parameters)
        inputs = AttributeDict(self.exposed_inputs(MdWorkChain))
        inputs.plan = orm.Dict(plan.to_dict())
        inputs.metadata = {'call_link_label': 'md', 'label': self._title}
        node = self.submit(MdWorkChain, **inputs)
        self.report(
            f'{self._title}: {plan.total_duration_ps:g} ps in {plan.total_steps} steps, '
            f'{len(self.inputs.structure.sites)} atoms, MdWorkChain<{node.pk}>'
        )
        return ToContext(md=node)

    def inspect_md(self):
        """Attach the outputs of the run, whole or not."""
        md = self.ctx.md
        self.out_many(self.exposed_outputs(md, MdWorkChain))
        if md.is_finished_ok and self._needs_frames and not {'trajectories', 'remote_trajectories'} & set(md.outputs):
            return self.exit_codes.ERROR_FRAMES_STAY
        if md.is_finished_ok:
            return None
        message = message_of(md)
        if md.exit_status is not None and 500 <= md.exit_status < 600:
            return self.exit_codes.ERROR_UNPHYSICAL_RUN.format(message=message)
        return self.exit_codes.ERROR_MD.format(message=message)

    def context(self) -> dict[str, Any]:
        """Return what all numbers of the experiment share."""
        statistics = self.ctx.md.outputs.statistics.get_dict()
        engine = statistics.get('engine') or {}
        return {
            'engine': engine_text(engine),
            'potential_uuid': engine.get('potential_uuid'),
            'protocol': self.ctx.parameters.get('protocol', 'own parameters'),
            'seed': self.ctx.parameters.get('seed'),
            'formula': self.inputs.structure.get_formula(),
            'n_atoms': len(self.inputs.structure.sites),
            'target_temperature_K': self.ctx.parameters['temperature_K'],
            **(self.ctx.parameters.get('context') or {}),
        }

    def run_analysis(self) -> orm.ProcessNode:
        """Start the analysis of the experiment and return its process, which may have ended."""
        raise NotImplementedError(f'{type(self).__name__} analyses nothing')

    def further_analyses(self) -> dict[str, tuple[Any, Callable[[], orm.ProcessNode]]]:
        """Return further analyses of the run: the trajectory of each, and what starts it, by name.

        What they cannot find does not fail the experiment.
        """
        return {}

    def analyse(self) -> Any:
        """Start turning the run into numbers."""
        return self.keep(analysis=self.run_analysis())

    def inspect_analysis(self) -> Any:
        """Attach the numbers."""
        node = self.ctx.analysis
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_ANALYSIS.format(message=message_of(node))
        self.out('results', node.outputs.results)
        self.out('curve', curves_of(node)['curve'])
        return None

    def analyse_further(self) -> Any:
        """Start the further analyses of what can be read; what the daemon cannot do is left to a job."""
        has_code, started = 'analysis_code' in self.inputs, {}
        for name, (trajectory, start) in self.further_analyses().items():
            if trajectory is None:
                self.report(f'no numbers of {name}: the frames stay on the computer, and there is no analysis_code')
            elif is_large(trajectory) and not has_code:
                self.report(f'{name} is left to a job, as the trajectory is large: give analysis_code')
            else:
                started[f'further_{name}'] = start()
        self.ctx.further = list(started)
        return self.keep(**started)

    def inspect_further(self) -> None:
        """Attach the numbers of the further analyses, and report those that found none."""
        for key in self.ctx.further:
            node, name = self.ctx[key], key.removeprefix('further_')
            if not node.is_finished_ok:
                self.report(f'warning: no numbers of {name}: {message_of(node)}')
                continue
            self.out(f'further.{name}', node.outputs.results)
            for label, curve in curves_of(node).items():
                self.out(f'further_curves.{name}_{label}', curve)

    def conclude(self) -> Any:
        """Say what a careful reader must know."""
        numbers = self.ctx.analysis.outputs.results['numbers']
        for text in sorted({text for row in numbers for text in row['warnings']}):
            self.report(f'warning: {text}')
        self.report(f'{len(numbers)} numbers in results <{self.ctx.analysis.outputs.results.pk}>')
        return None
