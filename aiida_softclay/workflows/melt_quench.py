"""Melt–quench sampling of a whole set of structures by AIMD, each with its own highest temperature, in parallel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode, WorkChain, while_
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calcfunctions.melt_quench import summarise_melt_quench
from aiida_softclay.calcfunctions.results import collect_results
from aiida_softclay.calculations.potcar_cutoff import cutoff_problem
from aiida_softclay.calculations.potcars import select_potentials
from aiida_softclay.data.frames import FramesData
from aiida_softclay.workflows.aimd import AimdWorkChain, gamma_point, incar_problem
from aiida_softclay.workflows.concurrency import BoundedBranchesMixin, computer_job_limit
from aiida_softclay.workflows.melt_quench_layout import lay_out, probe_structure
from aiida_softclay.workflows.options import DEFAULT_OPTIONS
from aiida_softclay.workflows.ports import (
    define_job_bound,
    define_job_options,
    define_pseudopotentials,
    given_job_bound,
    given_mapping,
)
from aiida_softclay.workflows.protocol import ProtocolMixin
from aiida_softclay.workflows.sampling import build_structure


def _validate_incar(node: orm.Dict, _: Any) -> str | None:
    return incar_problem(node.get_dict())


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Return a sentence if the structures, the schedule or the potentials cannot be used."""
    if not {'parameters', 'potential_family', 'incar'} <= set(inputs):
        return None
    parameters, own = inputs['parameters'].get_dict(), dict(inputs.get('structures') or {})
    share = parameters.get('minimum_success_share')
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        return f'minimum_success_share is {share!r}: give a share from 0 to 1'
    mapping = given_mapping(inputs)
    try:
        branches = lay_out(parameters, own)
        elements = sorted({element for branch in branches for element in branch.elements})
        family = inputs['potential_family'].value
        potentials = select_potentials(probe_structure(elements), family, mapping)
    except (ValueError, TypeError, KeyError) as error:
        # A PotentialFamilyError and a PlanError are ValueErrors too; a KeyError is a parameter that is not there.
        return f'parameters lack {error}' if isinstance(error, KeyError) else str(error)
    for branch in branches:
        tags = {**inputs['incar'].get_dict(), **branch.incar}
        problem = incar_problem(tags) or cutoff_problem(tags, [potentials[element] for element in branch.elements])
        if problem is not None:
            return f'structure {branch.label}: {problem}'
    return None


class MeltQuenchWorkChain(ProtocolMixin, BoundedBranchesMixin, WorkChain):
    """Heat, hold and cool many structures by AIMD, and hold them at constant pressure while they are hot.

    Each structure is a branch of its own: one that fails is named in the summary and does not stop the others. Frames
    stay in the nodes that the runs made.
    """

    _protocol_file = 'melt_quench'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode, help='VASP, or the VASP-compatible driver.')
        spec.input(
            'parameters', valid_type=orm.Dict, serializer=to_aiida_type,
            help='Structures, stages and temperatures: see the protocols.',
        )  # fmt: skip
        spec.input_namespace(
            'structures', valid_type=orm.StructureData, dynamic=True, required=False,
            help='Structures of your own by label, in the place of those of the parameters.',
        )  # fmt: skip
        define_pseudopotentials(spec)
        spec.input(
            'incar', valid_type=orm.Dict, serializer=to_aiida_type, validator=_validate_incar,
            help='INCAR tags of the electronic structure; those of the dynamics come from the stages.',
        )  # fmt: skip
        spec.input('kpoints', valid_type=orm.KpointsData, default=gamma_point, help='The Γ point if not given.')
        define_job_options(spec, 'every run')
        define_job_bound(spec, 'structures', 'computer of the code bears')
        spec.inputs.validator = _validate_inputs

        spec.outline(
            cls.setup,
            while_(cls.has_structures_to_build)(cls.build_next),
            cls.queue_structures,
            while_(cls.has_pending_branches)(cls.submit_branches),
            cls.gather,
            cls.results,
        )

        spec.output_namespace(
            'frames', valid_type=FramesData, dynamic=True,
            help='Labelled frames, a node for each run of each structure: `<label>_<run>`.',
        )  # fmt: skip
        spec.output_namespace(
            'structures', valid_type=orm.StructureData, dynamic=True, help='Each structure after its last step.'
        )
        spec.output('results', valid_type=orm.Dict, help='The numbers of all structures, in the results schema.')
        spec.output(
            'summary', valid_type=orm.Dict,
            help='For each structure what ran, how hot, how many frames, and the name of its failure.',
        )  # fmt: skip

        spec.exit_code(
            401, 'ERROR_TOO_FEW_STRUCTURES',
            message='{n_succeeded} of {n_structures} structures came through, fewer than the share {share:g} asked '
            'for; failed: {failures}',
        )  # fmt: skip
        spec.exit_code(
            701, 'WARNING_STRUCTURES_FAILED',
            message='{n_succeeded} of {n_structures} structures came through; failed: {failures}',
        )  # fmt: skip

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        structures: Any,
        potential_family: str,
        *,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        potential_mapping: Mapping[str, str] | None = None,
        max_concurrent_jobs: int | None = None,
        label: str | None = None,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        code : aiida.orm.AbstractCode
            VASP or its stand-in.
        structures : str, list, mapping or None
            What :func:`~aiida_softclay.workflows.sampling.layout_structures` takes (the name of a reference set, a
            chemical system, entries), or a mapping of labels to ``StructureData`` of your own; ``None`` for those of
            the protocol.
        potential_family, potential_mapping
            The POTCARs.
        protocol, overrides
            See :meth:`get_protocol_inputs`; a stage that is overridden with ``None`` is left out.
        options : mapping, optional
            Replaces entries of the default ``metadata.options``.
        max_concurrent_jobs : int, optional
            Most structures at once.
        label : str, optional
            Label of the workchain.

        Raises
        ------
        ProtocolError
            If the protocol or an override does not exist.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        incar = AimdWorkChain.get_protocol_inputs(inputs.pop('aimd_protocol'))['incar'] | inputs.pop('incar')
        name = protocol or cls.get_default_protocol()
        builder = cls.get_builder()
        if isinstance(structures, Mapping) and all(isinstance(node, orm.StructureData) for node in structures.values()):
            inputs['structures'] = None
            builder.structures = dict(structures)
            title = ', '.join(sorted(structures))
        else:
            inputs['structures'] = inputs['structures'] if structures is None else structures
            title = inputs['structures'] if isinstance(inputs['structures'], str) else 'own list'
        # A list keeps its order in every database, a mapping does not.
        inputs['stages'] = [
            {'name': stage, **values} for stage, values in inputs['stages'].items() if values is not None
        ]
        builder.code = code
        builder.parameters = orm.Dict({**inputs, 'protocol': name})
        builder.incar = orm.Dict(incar)
        builder.potential_family = orm.Str(potential_family)
        if potential_mapping:
            builder.potential_mapping = orm.Dict(dict(potential_mapping))
        builder.options = orm.Dict({**DEFAULT_OPTIONS, **(options or {})})
        if max_concurrent_jobs is not None:
            builder.max_concurrent_jobs = orm.Int(max_concurrent_jobs)
        builder.metadata.label = label or f'melt-quench ({name}) of {title}'
        return builder

    def setup(self) -> None:
        """Lay out the structures, their temperatures and plans."""
        self.ctx.parameters = AttributeDict(self.inputs.parameters.get_dict())
        own = dict(self.inputs.structures) if 'structures' in self.inputs else {}
        self.ctx.structures = {}
        self.ctx.failures = {}
        self.ctx.branches = {}
        for branch in lay_out(self.ctx.parameters, own):
            self.ctx.branches[branch.label] = {
                'entry': None if branch.entry is None else branch.entry.as_dict(),
                'maximum_temperature_K': branch.maximum_temperature_K,
                'temperature_reason': branch.temperature_reason,
                'plan': branch.plan.as_dict(),
                'incar': branch.incar,
            }
            if branch.entry is None:
                self.ctx.structures[branch.label] = own[branch.label]
        self.ctx.to_build = [label for label in self.ctx.branches if label not in self.ctx.structures]

    def has_structures_to_build(self) -> bool:
        """Return whether a structure is still to be built."""
        return bool(self.ctx.to_build)

    def build_next(self) -> None:
        """Build one structure: a slab takes seconds, between which the daemon serves others."""
        label, *self.ctx.to_build = self.ctx.to_build
        try:
            self.ctx.structures[label] = build_structure(self.ctx.branches[label]['entry'])
        except ValueError as error:
            self._fail(label, 'CANNOT_BE_BUILT', str(error))

    def _fail(self, label: str, name: str, message: str) -> None:
        self.ctx.failures[label] = {'name': name, 'message': message}
        self.report(f'{label}: {name}: {message}')

    def queue_structures(self) -> None:
        """Queue every structure whose AIMD can be submitted."""
        for label in list(self.ctx.structures):
            problem = AimdWorkChain.spec().inputs.validate(self.build_branch(label)._inputs(prune=True))
            if problem is not None:
                self._fail(label, 'REFUSED', str(problem.message))
        ready = [label for label in self.ctx.branches if label not in self.ctx.failures]
        self.queue_branches(ready, given_job_bound(self.inputs) or computer_job_limit(self.inputs.code))

    def build_branch(self, name: str) -> Any:
        """Return the builder of the AIMD of one structure."""
        branch = self.ctx.branches[name]
        builder = AimdWorkChain.get_builder()
        builder.code = self.inputs.code
        builder.structure = self.ctx.structures[name]
        builder.plan = orm.Dict(branch['plan'])
        builder.potential_family = self.inputs.potential_family
        if 'potential_mapping' in self.inputs:
            builder.potential_mapping = self.inputs.potential_mapping
        builder.incar = orm.Dict({**self.inputs.incar.get_dict(), **branch['incar']})
        builder.kpoints = self.inputs.kpoints
        builder.options = self.inputs.options
        builder.max_iterations = orm.Int(self.ctx.parameters.max_iterations)
        builder.keep_vasprun = orm.Bool(self.ctx.parameters.keep_vasprun)
        # Slabs of one mixture share the label of their nodes; a data set must tell them apart.
        builder.source_label = orm.Str(name)
        builder.metadata.label = name
        builder.metadata.call_link_label = f'aimd_{name}'
        return builder

    def gather(self) -> None:
        """Take frames and structures of every branch, also what a failed one had finished."""
        self.ctx.n_frames = dict.fromkeys(self.ctx.branches, 0)
        for label in self.ctx.branches:
            if self.branch_key(label) not in self.ctx:
                continue
            process = self.branch(label)
            if not process.is_finished_ok:
                self._fail(label, *_failure(process))
            for run, node in (dict(process.outputs.frames) if 'frames' in process.outputs else {}).items():
                self.out(f'frames.{label}_{run.removeprefix("run_")}', node)
                self.ctx.n_frames[label] += node.n_frames
            if 'structure' in process.outputs:
                self.out(f'structures.{label}', process.outputs.structure)

    def results(self) -> ExitCode | None:
        """Write the summary and the numbers; fail or warn where structures failed."""
        done = {label: self.branch(label) for label in self.ctx.branches if self.branch_key(label) in self.ctx}
        results = {label: node.outputs.results for label, node in done.items() if 'results' in node.outputs}
        record = {
            label: {
                'failure': self.ctx.failures.get(label),
                'maximum_temperature_K': branch['maximum_temperature_K'],
                'temperature_reason': branch['temperature_reason'],
                'source': (branch['entry'] or {}).get('source', 'own structure'),
                'n_frames': self.ctx.n_frames[label],
                'aimd': done[label].uuid if label in done else None,
            }
            for label, branch in self.ctx.branches.items()
        }
        summary = summarise_melt_quench(
            orm.Dict({'structures': record}), **results, metadata={'call_link_label': 'summarise_melt_quench'}
        )
        self.out('summary', summary)
        engines = [node.get_dict()['context'].get('engine') for node in results.values()]
        context = {'protocol': self.ctx.parameters.get('protocol', 'own parameters'), 'engine': next(iter(engines), '')}
        self.out(
            'results',
            collect_results(orm.Dict(context), **results, metadata={'call_link_label': 'collect_results'}),
        )
        counts = {key: summary[key] for key in ('n_structures', 'n_succeeded')}
        self.report(f'{counts["n_succeeded"]} of {counts["n_structures"]} structures, {summary["n_frames"]} frames')
        if not self.ctx.failures:
            return None
        failures = ', '.join(f'{label} ({failure["name"]})' for label, failure in self.ctx.failures.items())
        share = self.ctx.parameters.minimum_success_share
        if counts['n_succeeded'] < share * counts['n_structures']:
            return self.exit_codes.ERROR_TOO_FEW_STRUCTURES.format(**counts, failures=failures, share=share)
        return self.exit_codes.WARNING_STRUCTURES_FAILED.format(**counts, failures=failures)


def _failure(process: orm.ProcessNode) -> tuple[str, str]:
    """Return the name and the message of the way an AIMD workchain failed."""
    codes = {code.status: label for label, code in AimdWorkChain.exit_codes.items()}
    if process.is_excepted:
        return 'EXCEPTED', str(process.exception or '').strip().rpartition('\n')[2]
    if process.is_killed:
        return 'KILLED', 'the workchain was killed'
    name = codes.get(process.exit_status, f'EXIT_{process.exit_status}').removeprefix('ERROR_')
    return name, process.exit_message or ''
