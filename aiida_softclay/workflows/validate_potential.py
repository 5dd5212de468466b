"""Prove a potential: engine against potential on the same structures, ending in one table with verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import WorkChain, while_
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calcfunctions.frames import merge_frames
from aiida_softclay.calcfunctions.validation_table import assess_validation
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_surface import IncompatibleFramesError, combine_engines
from aiida_softclay.data.potential import PotentialData, validate_model
from aiida_softclay.workflows import validation_plan as plan
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.ports import (
    branch_limit,
    define_codes,
    define_job_bound,
    define_pseudopotentials,
    set_engines,
)
from aiida_softclay.workflows.protocol import ProtocolMixin
from aiida_softclay.workflows.sampling import build_structure
from aiida_softclay.workflows.validation_branches import ValidationBranchesMixin


def _labels(inputs: Mapping[str, Any]) -> list[str]:
    """Return the labels of the structures: those given, else those of the protocol."""
    if inputs.get('structures'):
        return list(inputs['structures'])
    return [entry['label'] for entry in inputs['parameters'].get_dict().get('structures') or []]


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    if 'parameters' not in inputs or 'potential' not in inputs:
        return None
    parameters, labels, potential = inputs['parameters'].get_dict(), _labels(inputs), inputs['potential']
    if not labels:
        return 'there is no structure: give `structures`, or take a protocol that names some'
    if problem := plan.parameters_problem(parameters, labels):
        return problem
    codes = inputs.get('codes', {})
    needed = ['vasp']
    if plan.plan_series(parameters, labels, []):
        needed.append('dp')
    if plan.conductivity_runs(parameters['conductivity'], labels):
        needed += ['dp', 'lmp']
    missing = [name for name in dict.fromkeys(needed) if name not in codes]
    if missing:
        return f'codes.{missing[0]} is missing: these proofs need {", ".join(dict.fromkeys(needed))}'
    given = inputs.get('structures') or {}
    elements = {label: set(structure.get_ase().get_chemical_symbols()) for label, structure in given.items()}
    try:
        elements |= {
            entry['label']: plan.entry_elements(entry) for entry in ([] if given else parameters['structures'])
        }
    except ValueError as error:
        return str(error)
    for label, symbols in elements.items():
        if unknown := potential.missing_elements(symbols):
            known = '-'.join(potential.type_map)
            return f'the structure {label} contains {", ".join(unknown)}, which the potential ({known}) does not know'
    for run in plan.conductivity_runs(parameters['conductivity'], labels).values() if given else []:
        problem = plan.charges_problem(parameters['conductivity'], given[run['structure']])
        if problem:
            return f'the structure {run["structure"]}: {problem}'
    if given:
        seen = plan.seen_in_training(plan.training_frames_of(potential), given)
        return plan.seen_problem(parameters, labels, seen)
    return None


class ValidatePotentialWorkChain(ProtocolMixin, ValidationBranchesMixin, WorkChain):
    """Compare a potential with its engine as the papers do: errors on unseen structures, moduli, conductivities.

    The engine labels displaced cells, and relaxes the ions of cells scaled in volume and strained along one axis; the
    potential is evaluated on the very same geometries. Both run dynamics of the same length, step and temperature in
    the same cell. A potential that fails has its table all the same; the exit code says so.
    """

    _protocol_file = 'validate_potential'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input('potential', valid_type=PotentialData, validator=validate_model, help='The potential to prove.')
        spec.input(
            'parameters', valid_type=orm.Dict, serializer=to_aiida_type,
            help='Which proofs on which structures, and what counts as agreement: see the protocols.',
        )  # fmt: skip
        define_codes(spec, required=('vasp',))
        define_pseudopotentials(spec)
        define_job_bound(spec)
        spec.input_namespace(
            'structures', valid_type=orm.StructureData, dynamic=True, required=False,
            help='Structures by label; they replace those of the protocol.',
        )  # fmt: skip
        spec.inputs.validator = _validate_inputs

        spec.outline(
            cls.setup,
            cls.build_structures,
            cls.queue_engine,
            while_(cls.has_pending_branches)(cls.submit_branches),
            while_(cls.should_extend)(
                cls.queue_extension,
                while_(cls.has_pending_branches)(cls.submit_branches),
            ),
            cls.gather_frames,
            cls.queue_predictions,
            while_(cls.has_pending_branches)(cls.submit_branches),
            cls.assess,
        )

        spec.output('results', valid_type=orm.Dict, required=False, help='The table, in the results schema.')
        spec.output_namespace(
            'curves', valid_type=orm.ArrayData, dynamic=True, required=False,
            help='`parity`, `equations_of_state`, `stress_strain`, and `msd_engine_X`, `msd_potential_X` of a run X.',
        )  # fmt: skip
        spec.output_namespace(
            'frames', valid_type=FramesData, dynamic=True, required=False, help='Labelled frames that were compared.'
        )
        spec.output_namespace(
            'stages', valid_type=orm.Dict, dynamic=True, required=False,
            help='Diffusivities and conductivities of each run, of the engine and of the potential.',
        )  # fmt: skip

        spec.exit_code(210, 'ERROR_STRUCTURE', message='the structure `{label}` cannot be used: {message}')
        spec.exit_code(211, 'ERROR_SEEN_IN_TRAINING', message='{message}')
        spec.exit_code(401, 'ERROR_BRANCHES_FAILED', message='these parts failed, the rest is in the table: {branches}')
        spec.exit_code(
            501, 'ERROR_GATE_FAILED', message='{passed} of {total} proofs passed, {required} asked for: {verdicts}'
        )
        spec.exit_code(510, 'ERROR_ANALYSIS', message='{message}')

    @classmethod
    def get_builder_from_protocol(
        cls,
        codes: Mapping[str, orm.AbstractCode],
        potential: PotentialData,
        potential_family: str,
        *,
        structures: Mapping[str, orm.StructureData] | None = None,
        potential_mapping: Mapping[str, str] | None = None,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        max_concurrent_jobs: int | None = None,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        codes : mapping
            ``vasp``, ``dp`` and ``lmp`` to codes.
        potential : PotentialData
        potential_family : str
            Label of a family of POTCAR files with all elements.
        structures : mapping, optional
            Structures by label, instead of those of the protocol.
        potential_mapping : mapping, optional
            Full names of potentials by element.
        protocol, overrides
            See :meth:`get_protocol_inputs`.
        options : mapping, optional
            ``vasp``, ``dp``, ``lmp`` to scheduler options.
        max_concurrent_jobs : int, optional
            Most branches at once.

        Raises
        ------
        ProtocolError
            If the protocol, or a key of the overrides, does not exist.
        ValueError
            If the structures of the protocol cannot be laid out for this potential.
        """
        parameters = cls.get_protocol_inputs(protocol, overrides)
        parameters['protocol'] = protocol or cls.get_default_protocol()
        if structures:
            parameters['structures'] = []
        else:
            frames = plan.training_frames_of(potential)
            known = [] if frames is None else frames.base.attributes.get('source_labels', [])
            parameters['structures'] = plan.expand_structures(parameters['structures'], potential.type_map, known)
        builder = cls.get_builder()
        builder.potential = potential
        if structures:
            builder.structures = dict(structures)
        builder.parameters = orm.Dict(parameters)
        set_engines(
            builder, codes, potential_family=potential_family, potential_mapping=potential_mapping, options=options,
            max_concurrent_jobs=max_concurrent_jobs,
        )  # fmt: skip
        builder.metadata.label = f'validation of {potential.label or potential.filename}'
        return builder

    def setup(self) -> None:
        """Read the inputs once."""
        self.ctx.parameters = self.inputs.parameters.get_dict()
        self.ctx.limit = branch_limit(self.inputs, *self.inputs.codes.values())
        self.ctx.failures, self.ctx.failed_branches = {}, []
        self.ctx.extensions = 0

    def build_structures(self) -> Any:
        """Take the structures that were given, or build those of the protocol; refuse those that were trained on."""
        structures = dict(self.inputs.structures) if self.inputs.get('structures') else {}
        for entry in [] if structures else self.ctx.parameters['structures']:
            try:
                structures[entry['label']] = build_structure(entry)
            except ValueError as error:
                return self.exit_codes.ERROR_STRUCTURE.format(label=entry['label'], message=str(error))
        potential = self.inputs.potential
        for label, structure in structures.items():
            unknown = potential.missing_elements(structure.get_ase().get_chemical_symbols())
            if unknown:
                message = f'the potential does not know {", ".join(unknown)}'
                return self.exit_codes.ERROR_STRUCTURE.format(label=label, message=message)
        labels = list(structures)
        self.ctx.seen = plan.seen_in_training(plan.training_frames_of(potential), structures)
        chosen = bool(self.inputs.get('structures'))
        if problem := plan.seen_problem(self.ctx.parameters, labels, self.ctx.seen, chosen):
            return self.exit_codes.ERROR_SEEN_IN_TRAINING.format(message=problem)
        if self.ctx.seen:
            self.report(f'the potential was fitted to frames of {", ".join(self.ctx.seen)}: no parity on these')
        self.ctx.structures = structures
        self.ctx.series = plan.plan_series(self.ctx.parameters, labels, self.ctx.seen)
        self.ctx.runs = plan.conductivity_runs(self.ctx.parameters['conductivity'], labels)
        for about in self.ctx.runs.values():
            label = about['structure']
            problem = plan.charges_problem(self.ctx.parameters['conductivity'], structures[label])
            if problem:
                return self.exit_codes.ERROR_STRUCTURE.format(label=label, message=problem)
        for name, series in self.ctx.series.items():
            series['reference_cell'] = [list(vector) for vector in structures[series['structure']].cell]
            self.make_series(name)
        return None

    def queue_engine(self) -> None:
        """Queue the labels, and the dynamics of both sides, which need nothing of each other."""
        self.ctx.label_branches = {}
        for group in (plan.RELAXED, plan.STATIC):
            names = [name for name, series in self.ctx.series.items() if series['group'] == group]
            if names:
                self.ctx.label_branches[f'label_{group}'] = names
        self.queue_branches([*self._dynamics(), *self.ctx.label_branches], self.ctx.limit)

    def _dynamics(self) -> list[str]:
        return [f'{kind}_{run}' for run in self.ctx.runs for kind in ('aimd', 'md')]

    def _note_failures(self, branches: list[str]) -> None:
        """Remember which parts failed and why."""
        for name in branches:
            node = self.branch(name)
            if not node.is_finished_ok:
                reason = f'{node.process_label} <{node.pk}>: {message_of(node)}'
                self.ctx.failed_branches.append(f'{name} ({reason})')
                about = self.ctx.label_branches.get(name) or [name.partition('_')[2]]
                self.ctx.failures |= dict.fromkeys(about, reason)

    def gather_frames(self) -> Any:
        """Gather what was labelled: one set of frames for each start of `dp`; analyse the engine's dynamics."""
        self._note_failures([*self.ctx.label_branches, *self._dynamics()])
        self.note_unrelaxed()
        sets: dict[str, dict[str, FramesData]] = {}
        for name, frames in self.labelled().items():
            sets.setdefault(self.ctx.series[name]['group'], {})[name] = frames
        self.ctx.analyses = {}
        for run in self.ctx.runs:
            sample = self.analyse_run(run)
            if sample is not None:
                sets.setdefault(plan.AIMD, {})[f'aimd_{run}'] = sample
        self.ctx.sets = {}
        for group, nodes in sets.items():
            if len(nodes) == 1:
                self.ctx.sets[group] = next(iter(nodes.values()))
            else:
                self.ctx.sets[group] = merge_frames(**nodes, metadata={'call_link_label': f'merge_{group}'})
            self.out(f'frames.{group}', self.ctx.sets[group])

    def queue_predictions(self) -> None:
        """Queue one start of `dp` for each set of frames."""
        self.queue_branches([f'test_{group}' for group in self.ctx.sets], self.ctx.limit)

    def context(self) -> dict[str, Any]:
        """Return what all rows share: potential, what it was fitted to, and what is compared."""
        potential = self.inputs.potential
        context: dict[str, Any] = {
            'protocol': self.ctx.parameters.get('protocol', 'own parameters'),
            'potential': {'uuid': potential.uuid, 'md5': potential.md5, 'fitted_to': potential.labels},
            'structures': {label: structure.get_formula() for label, structure in self.ctx.structures.items()},
            'seen_in_training': self.ctx.seen,
            'training_on_record': plan.training_frames_of(potential) is not None,
        }
        if self.ctx.sets and potential.labels:
            try:
                combine_engines(potential.labels, next(iter(self.ctx.sets.values())).engine)
            except IncompatibleFramesError as error:
                context['engine_differs'] = str(error)
                self.report(f'warning: this is not the engine that the potential was fitted to: {error}')
        return context

    def assess(self) -> Any:
        """Make the table and judge the potential by it."""
        self._note_failures([f'test_{group}' for group in self.ctx.sets])
        nodes: dict[str, orm.Data] = dict(self.ctx.analyses)
        for group, frames in self.ctx.sets.items():
            outputs = self.branch(f'test_{group}').outputs
            if 'details' in outputs:
                nodes |= {f'frames_{group}': frames, f'details_{group}': outputs.details}
        reasons = dict(self.ctx.failures)
        for name, series in self.ctx.series.items():
            if series['group'] in reasons:
                reasons.setdefault(name, reasons[series['group']])
        parameters = {
            'agreement': self.ctx.parameters['agreement'], 'series': self.ctx.series, 'runs': self.ctx.runs,
            'failures': reasons,
            'parity_missing': plan.parity_missing(self.ctx.parameters, list(self.ctx.structures), self.ctx.seen),
            'elastic_window': self.ctx.parameters['tension']['elastic_window'],
            'seed': self.ctx.parameters['seed'], 'context': self.context(),
        }  # fmt: skip
        _, node = assess_validation.run_get_node(
            orm.Dict(parameters), **nodes, metadata={'call_link_label': 'assess_validation'}
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_ANALYSIS.format(message=message_of(node))
        for name in node.outputs:
            self.out('results' if name == 'results' else f'curves.{name}', node.outputs[name])
        context = node.outputs.results['context']
        verdicts = ', '.join(f'{proof} {verdict}' for proof, verdict in context['proofs'].items())
        self.report(f'{context["proofs_passed"]} of {len(context["proofs"])} proofs passed: {verdicts}')
        if self.ctx.failed_branches:
            return self.exit_codes.ERROR_BRANCHES_FAILED.format(branches=', '.join(self.ctx.failed_branches))
        if not context['gate_passed']:
            return self.exit_codes.ERROR_GATE_FAILED.format(
                passed=context['proofs_passed'], total=len(context['proofs']), required=context['proofs_required'],
                verdicts=verdicts,
            )  # fmt: skip
        return None
