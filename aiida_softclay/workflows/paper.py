"""All runs that answer the published numbers of one paper, as one workchain.

One workchain, and not a set of studies submitted side by side: a glass needs the potential that another step fits, and
an experiment the glass, so that something has to wait and pass nodes on. The daemon does that across restarts, each
step is called by this process and keeps its own results, and launching again reuses what had finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import WorkChain, while_
from aiida.orm.nodes.data.base import to_aiida_type
from aiida.plugins import WorkflowFactory

from aiida_softclay.calcfunctions.arrhenius import analyse_arrhenius
from aiida_softclay.calcfunctions.results import collect_results
from aiida_softclay.data.potential import PotentialData, validate_model
from aiida_softclay.workflows.concurrency import BoundedBranchesMixin
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.md import MdWorkChain
from aiida_softclay.workflows.md_inputs import remote_problem
from aiida_softclay.workflows.md_remote import REMOTE_INPUTS, given_remote, set_remote_inputs
from aiida_softclay.workflows.ports import (
    branch_limit,
    define_codes,
    define_job_bound,
    define_pseudopotentials,
    given_mapping,
    given_options,
    set_engines,
)
from aiida_softclay.workflows.protocol import ProtocolMixin
from aiida_softclay.workflows.study_inputs import PlannedRun, frames_problem

POTENTIAL = 'potential'
ARRHENIUS = 'arrhenius'
THERMODYNAMICS = 'softclay.reaction_energy'
BUILD_POTENTIAL = 'softclay.build_potential'
AMORPHOUS = 'softclay.amorphous'
EXPERIMENTS = tuple(
    f'softclay.{name}' for name in ('stress_pulse', 'constant_strain', 'conductivity', 'glass_transition')
)
PROCESSES = (THERMODYNAMICS, BUILD_POTENTIAL, AMORPHOUS, *EXPERIMENTS, ARRHENIUS)


def needs(step: Mapping[str, Any]) -> list[str]:
    """Return the steps that a step waits for.

    >>> needs({'process': 'softclay.conductivity', 'structure': 'glass'})
    ['potential', 'glass']
    """
    if step['process'] == AMORPHOUS:
        return [POTENTIAL]
    if step['process'] in EXPERIMENTS:
        return [POTENTIAL, step['structure']]
    return list(step.get('runs') or ())


def validate_parameters(node: orm.Dict, _: Any) -> str | None:
    """Return a sentence if the steps do not fit together, or name a protocol that there is not."""
    parameters = node.get_dict()
    steps = parameters.get('steps')
    if not isinstance(steps, Mapping) or not steps:
        return 'there are no steps: start from get_builder_from_protocol'
    for name, step in steps.items():
        if step.get('process') not in PROCESSES:
            return f'step {name}: unknown process {step.get("process")!r}, known are {", ".join(PROCESSES)}'
        if step['process'] in EXPERIMENTS and 'structure' not in step:
            return f'step {name}: `structure` is missing, the step whose glass it starts from'
        # The potential may be an input.
        if missing := [other for other in needs(step) if other not in steps and other != POTENTIAL]:
            return f'step {name} needs {", ".join(missing)}, which is no step'
        if step['process'] == ARRHENIUS:
            continue
        try:
            WorkflowFactory(step['process']).get_protocol_inputs(step.get('protocol'), step.get('overrides'))
        except ValueError as error:
            return f'step {name}: {error}'
    return None


def planned_runs(parameters: Mapping[str, Any]) -> list[PlannedRun]:
    """Return the experiments among the steps, with the glass that each starts from."""
    steps = parameters['steps']
    found = []
    for name, step in steps.items():
        if step['process'] in EXPERIMENTS:
            glass = steps[step['structure']]
            found.append(PlannedRun(name, WorkflowFactory(step['process']), step, glass['material'], glass))
    return found


def validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Return a sentence if there is neither a potential nor what it takes to make one."""
    if 'parameters' not in inputs or 'codes' not in inputs:
        return None
    processes = {step['process'] for step in inputs['parameters'].get_dict()['steps'].values()}
    uses_vasp = processes & {THERMODYNAMICS, BUILD_POTENTIAL}
    if uses_vasp and ('vasp' not in inputs['codes'] or 'potential_family' not in inputs):
        return 'codes.vasp and potential_family are missing: phases are relaxed, or frames are sampled, with them'
    if BUILD_POTENTIAL in processes and 'dp' not in inputs['codes']:
        return 'codes.dp is missing: without a finished potential one is fitted'
    if POTENTIAL not in inputs and BUILD_POTENTIAL not in processes:
        return 'there is neither a potential nor a step that makes one'
    engine = {'code': inputs['codes']['lmp']} if 'lmp' in inputs['codes'] else {}
    return remote_problem({**inputs, **engine}) or frames_problem(inputs, planned_runs(inputs['parameters'].get_dict()))


class PaperWorkChain(ProtocolMixin, BoundedBranchesMixin, WorkChain):
    """Run everything that answers the published numbers of a paper, each step as soon as what it needs is there.

    A step that fails is named, what needs it is left out, and everything else goes on.
    """

    _protocol_file = 'paper'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input(
            'parameters', valid_type=orm.Dict, serializer=to_aiida_type, validator=validate_parameters,
            help='The paper and its steps: see the protocols.',
        )  # fmt: skip
        define_codes(spec, required=('lmp',))
        define_pseudopotentials(spec, required=False)
        define_job_bound(spec, 'steps at once')
        spec.expose_inputs(MdWorkChain, include=REMOTE_INPUTS)
        spec.input(
            'potential', valid_type=PotentialData, required=False, validator=validate_model,
            help='A finished potential: none is made then.',
        )  # fmt: skip
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            while_(cls.has_ready_steps)(
                cls.queue_ready_steps,
                while_(cls.has_pending_branches)(cls.submit_branches),
                cls.inspect_steps,
            ),
            cls.results,
        )
        spec.output('results', valid_type=orm.Dict, required=False, help='All numbers, in the results schema.')
        spec.output('potential', valid_type=PotentialData, required=False, help='The potential that was used.')
        spec.output_namespace(
            'structures', valid_type=orm.StructureData, dynamic=True, required=False, help='The glass of each step.'
        )
        spec.output_namespace('stages', valid_type=orm.Dict, dynamic=True, help='Results of each step.')
        spec.exit_code(401, 'ERROR_ALL_FAILED', message='no step gave numbers: {steps}')
        spec.exit_code(
            710, 'WARNING_STEPS_MISSING', message='the numbers are outputs, but without those of: {steps}'
        )  # fmt: skip

    @classmethod
    def steps_of(
        cls, paper: str, protocol: str | None = None, overrides: Mapping[str, Any] | None = None,
        with_potential: bool = True,
    ) -> dict[str, dict[str, Any]]:  # fmt: skip
        """Return the steps of a paper at a scale.

        Parameters
        ----------
        paper : str
            Short name.
        protocol : str, optional
            ``demo``, ``balanced`` or ``paper``.
        overrides : mapping, optional
            Step to what changes in it.
        with_potential : bool
            Whether the potential is made.

        Raises
        ------
        ProtocolError
            If there is no such protocol.
        ValueError
            If there is no such paper.
        """
        known = cls.get_protocol_inputs(protocol)
        if paper not in known:
            raise ValueError(f'there are no steps for `{paper}`: choose from {", ".join(known)}')
        steps = cls.get_protocol_inputs(protocol, {paper: dict(overrides or {})})[paper]
        return {name: step for name, step in steps.items() if with_potential or step['process'] != BUILD_POTENTIAL}

    @classmethod
    def get_builder_from_protocol(
        cls,
        codes: Mapping[str, orm.AbstractCode],
        paper: str,
        *,
        potential_family: str | None = None,
        potential_mapping: Mapping[str, str] | None = None,
        potential: Any = None,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        max_concurrent_jobs: int | None = None,
        **remote: Any,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        codes : mapping
            ``vasp``, ``dp`` and ``lmp`` to codes.
        paper : str
            ``gupta2023``, ``yang2024``, ``you2025``, ``dai2023`` or ``qyang2025``.
        potential_family : str, optional
            Label of a family of POTCAR files with all elements.
        potential_mapping : mapping, optional
            Full names of potentials by element.
        potential : PotentialData, optional
            A finished potential.
        protocol : str, optional
            The scale: ``demo``, ``balanced`` or ``paper``.
        overrides : mapping, optional
            Step to what changes in it, see :meth:`steps_of`.
        options : mapping, optional
            ``vasp``, ``dp``, ``lmp`` to scheduler options.
        max_concurrent_jobs : int, optional
            Most steps at once.
        **remote
            ``analysis_code``, ``analysis_options``, ``max_retrieved_bytes`` and ``dump_stash``: what becomes of dumps
            that are too large to be retrieved, see ``softclay.md``.

        Raises
        ------
        ValueError
            If paper or protocol do not exist.
        """
        scale = protocol or cls.get_default_protocol()
        steps = cls.steps_of(paper, scale, overrides, with_potential=potential is None)
        builder = cls.get_builder()
        builder.parameters = orm.Dict({'paper': paper, 'protocol': scale, 'steps': steps})
        if potential is not None:
            builder.potential = potential
        set_remote_inputs(builder, remote)
        set_engines(
            builder, codes, potential_family=potential_family, potential_mapping=potential_mapping, options=options,
            max_concurrent_jobs=max_concurrent_jobs,
        )  # fmt: skip
        builder.metadata.label = f'{paper} ({scale})'
        return builder

    def setup(self) -> None:
        """Read the inputs once."""
        parameters = self.inputs.parameters.get_dict()
        self.ctx.paper, self.ctx.scale = parameters['paper'], parameters['protocol']
        self.ctx.steps = parameters['steps']
        self.ctx.done, self.ctx.failed, self.ctx.stages, self.ctx.glasses = [], {}, {}, {}
        self.ctx.queued = []
        self.ctx.limit = branch_limit(self.inputs, *self.inputs.codes.values())
        if POTENTIAL in self.inputs:
            self.ctx.potential = self.inputs.potential
            self.ctx.done.append(POTENTIAL)
            self.out(POTENTIAL, self.inputs.potential)

    def _ready(self) -> list[str]:
        waiting = [name for name in self.ctx.steps if name not in [*self.ctx.done, *self.ctx.failed]]
        return [name for name in waiting if set(needs(self.ctx.steps[name])) <= set(self.ctx.done)]

    def has_ready_steps(self) -> bool:
        """Return whether a step has all that it needs."""
        return bool(self._ready())

    def queue_ready_steps(self) -> None:
        """Queue every step that has all that it needs; a line through numbers is drawn at once."""
        ready = self._ready()
        self.ctx.queued = [name for name in ready if self.ctx.steps[name]['process'] != ARRHENIUS]
        for name in ready:
            if name not in self.ctx.queued:
                self._draw_line(name)
        self.queue_branches(self.ctx.queued, self.ctx.limit)

    def build_branch(self, name: str) -> Any:
        """Return the builder of a step."""
        step = self.ctx.steps[name]
        process = WorkflowFactory(step['process'])
        options = given_options(self.inputs)
        common = {'protocol': step.get('protocol'), 'overrides': step.get('overrides')}
        mapping = given_mapping(self.inputs)
        codes = self.inputs.codes
        if step['process'] == BUILD_POTENTIAL:
            builder = process.get_builder_from_protocol(
                dict(codes), self.inputs.potential_family.value, potential_mapping=mapping, options=options or None,
                **common,
            )  # fmt: skip
        elif step['process'] == THERMODYNAMICS:
            builder = process.get_builder_from_protocol(
                codes.vasp, step['material'], self.inputs.potential_family.value, ion=step.get('ion'),
                options=options.get('vasp'), potential_mapping=mapping, **common,
            )  # fmt: skip
        else:
            start = step['material'] if step['process'] == AMORPHOUS else self.ctx.glasses[step['structure']]
            builder = process.get_builder_from_protocol(
                codes.lmp, start, potential=self.ctx.potential, options=options.get('lmp'), **common,
                **given_remote(self.inputs),
            )  # fmt: skip
        builder.metadata.call_link_label = name
        return builder

    def inspect_steps(self) -> None:
        """Take what the steps of this wave gave; numbers are taken of those that failed too."""
        for name in self.ctx.queued:
            step, process = self.ctx.steps[name], self.branch(name)
            if 'results' in process.outputs:
                self._keep(name, process.outputs.results)
            for further in process.outputs.further if 'further' in process.outputs else ():
                self._keep(f'{name}_{further}', process.outputs.further[further])
            warned = process.exit_status is not None and process.exit_status >= 700
            fitted = step['process'] == BUILD_POTENTIAL and POTENTIAL in process.outputs
            if fitted:
                self.ctx.potential = process.outputs.potential
                self.out(POTENTIAL, self.ctx.potential)
            if step['process'] == AMORPHOUS and process.is_finished_ok:
                self.ctx.glasses[name] = process.outputs.structure
                self.out(f'structures.{name}', process.outputs.structure)
            if process.is_finished_ok or warned:
                self.ctx.done.append(name)
            else:
                self._fail(name, message_of(process))

    def _keep(self, name: str, results: orm.Dict) -> None:
        self.ctx.stages[name] = results
        self.out(f'stages.{name}', results)

    def _fail(self, name: str, reason: str) -> None:
        self.ctx.failed[name] = reason
        self.report(f'{name} failed: {reason}')

    def _draw_line(self, name: str) -> None:
        """Draw the Arrhenius line of a step."""
        step = self.ctx.steps[name]
        context = {'mixture': step['material'], 'protocol': self.ctx.scale}
        first = self.ctx.stages[step['runs'][0]]['context']
        context |= {key: first[key] for key in ('engine', 'potential_uuid', 'n_atoms', 'duration_ps') if key in first}
        parameters = {'quantity': step['quantity'], 'at_K': step.get('at_K') or [], 'context': context}
        runs = {run: self.ctx.stages[run] for run in step['runs']}
        _, node = analyse_arrhenius.run_get_node(
            orm.Dict(parameters), **runs, metadata={'call_link_label': name}
        )  # fmt: skip
        if node.is_finished_ok:
            self._keep(name, node.outputs.results)
            self.ctx.done.append(name)
        else:
            self._fail(name, message_of(node))

    def results(self) -> Any:
        """Gather every number in one table, and name what is missing."""
        left_out = [name for name in self.ctx.steps if name not in [*self.ctx.done, *self.ctx.failed]]
        missing = '; '.join(
            [f'{name} ({reason})' for name, reason in self.ctx.failed.items()]
            + [f'{name} (needs what failed)' for name in left_out]
        )
        if not self.ctx.stages:
            return self.exit_codes.ERROR_ALL_FAILED.format(steps=missing)
        context = {'paper': self.ctx.paper, 'protocol': self.ctx.scale}
        collected = collect_results(
            orm.Dict(context), **self.ctx.stages, metadata={'call_link_label': 'collect_results'}
        )  # fmt: skip
        self.out('results', collected)
        self.report(f'{len(collected["numbers"])} numbers in results <{collected.pk}>')
        return self.exit_codes.WARNING_STEPS_MISSING.format(steps=missing) if missing else None
