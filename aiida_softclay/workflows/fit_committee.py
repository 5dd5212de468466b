"""Fit several potentials to one data set: where they disagree, none of them is to be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.common.exceptions import InputValidationError
from aiida.engine import WorkChain, while_
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calcfunctions.committee import RESULTS, collect_committee
from aiida_softclay.data.committee import Committee
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.potential import PotentialData
from aiida_softclay.workflows.endings import message_of

from .concurrency import BoundedBranchesMixin, computer_job_limit
from .fit_dataset import define_data_set, fill_data_set, make_data_set
from .fit_parameters import Frames, inputs_problem, parameters_problem
from .fit_potential import FitPotentialWorkChain
from .options import DEFAULT_OPTIONS
from .protocol import ProtocolMixin, recursive_merge

#: Seeds that a fit takes from its own: descriptor, fitting network, order of the batches.
SEEDS_PER_MODEL = 3


def member_parameters(parameters: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Return the parameters of one member: those of the committee with the seeds counted up.

    Parameters
    ----------
    parameters : mapping
        Parameters of the committee, completed.
    index : int
        Number of the member, from 0.
    """
    member = recursive_merge(parameters, {})
    member.pop('n_models', None)
    deepmd = member['deepmd']
    member['seed'] += SEEDS_PER_MODEL * index
    for holder in (deepmd['model']['descriptor'], deepmd['model']['fitting_net'], deepmd['training']):
        holder['seed'] += SEEDS_PER_MODEL * index
    return member


def validate_parameters(node: orm.Dict, _: Any = None) -> str | None:
    """Return a sentence if the parameters cannot work."""
    parameters = node.get_dict()
    number = parameters.get('n_models')
    if not isinstance(number, int) or isinstance(number, bool) or number < 2:
        return f'n_models is {number!r}: a committee needs at least two potentials, one alone cannot disagree'
    return parameters_problem(parameters)


class FitCommitteeWorkChain(ProtocolMixin, BoundedBranchesMixin, WorkChain):
    """Build one data set, fit several potentials to it in parallel, and make a committee of them."""

    _protocol_file = 'fit_committee'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode, help='`dp` of DeePMD-kit.')
        define_data_set(spec)
        spec.input(
            'parameters', valid_type=orm.Dict, serializer=to_aiida_type, validator=validate_parameters,
            help='Values of a protocol, completed (see get_builder_from_protocol).',
        )  # fmt: skip
        spec.input(
            'options', valid_type=orm.Dict, required=False, serializer=to_aiida_type,
            help='Scheduler options of every job.',
        )  # fmt: skip
        spec.input(
            'label', valid_type=orm.Str, required=False, serializer=to_aiida_type,
            help='Begin of the label of the committee; the elements by default.',
        )  # fmt: skip
        spec.inputs.validator = inputs_problem
        spec.outline(
            cls.setup,
            cls.build_data_set,
            while_(cls.has_pending_branches)(cls.submit_branches),
            cls.inspect_fits,
            cls.make_committee,
            cls.judge,
        )
        spec.output_namespace('potentials', valid_type=PotentialData, dynamic=True, help='`model_00`, `model_01`, …')
        spec.output_namespace(
            'learning_curves', valid_type=orm.ArrayData, dynamic=True, required=False, help='Of each training.'
        )
        spec.output(
            'committee', valid_type=orm.Dict, required=False,
            help='Label and uuid of the group `softclay.committee` that holds the potentials, and its members.',
        )  # fmt: skip
        spec.output('results', valid_type=orm.Dict, help='Test errors of each member and their spread.')
        spec.exit_code(220, 'ERROR_DATA_SET', message='no data set can be made of the frames: {message}')
        spec.exit_code(310, 'ERROR_FITS_FAILED', message='these fits gave no potential: {branches}')
        spec.exit_code(
            510, 'ERROR_GATE_FAILED', message='these potentials are refused: {branches}; the outputs are attached'
        )
        spec.exit_code(
            511, 'ERROR_NOT_A_COMMITTEE', message='the potentials are no committee: {message}'
        )  # fmt: skip

    @classmethod
    def get_protocol_inputs(
        cls, protocol: str | None = None, overrides: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the values of ``softclay.fit_potential`` at a protocol, and ``n_models``; see the base class."""
        changes = dict(overrides or {})
        own = {key: changes.pop(key) for key in ('n_models',) if key in changes}
        values = super().get_protocol_inputs(protocol, own)
        fit = FitPotentialWorkChain.get_protocol_inputs(protocol or cls.get_default_protocol(), changes)
        return {**fit, **values}

    @classmethod
    def get_protocol_descriptions(cls) -> dict[str, str]:
        """Return what each value of the protocol is and where it comes from, by dotted name."""
        return {**FitPotentialWorkChain.get_protocol_descriptions(), **super().get_protocol_descriptions()}

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        frames: Frames | None = None,
        *,
        n_models: int | None = None,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        label: str | None = None,
        prepared: Mapping[str, FramesData] | None = None,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        code : aiida.orm.AbstractCode
            ``dp``.
        frames : FramesData or mapping of str to FramesData
            All labelled frames, in any number of nodes.
        n_models : int, optional
            Number of potentials; by default that of the protocol.
        protocol : str, optional
            As those of ``softclay.fit_potential``.
        overrides : mapping, optional
            Values that replace those of ``softclay.fit_potential``, nested like it; ``gate: null`` judges no member.
        options : mapping, optional
            Scheduler options of every job.
        label : str, optional
            Begin of the label of the committee.
        prepared : mapping, optional
            ``training`` and ``validation`` frames: then ``frames`` is not given and nothing is drawn or split.

        Raises
        ------
        ProtocolError
            If the protocol or an override does not exist.
        """
        changes = dict(overrides or {})
        if n_models is not None:
            changes['n_models'] = n_models
        builder = cls.get_builder()
        builder.code = code
        parameters = fill_data_set(builder, cls.get_protocol_inputs(protocol, changes), frames, prepared)
        builder.parameters = orm.Dict(parameters)
        given = recursive_merge(parameters.get('options') or {}, dict(options or {}))
        builder.options = orm.Dict(recursive_merge(DEFAULT_OPTIONS, given))
        elements = '-'.join(parameters['deepmd']['model']['type_map'])
        builder.label = orm.Str(label or elements)
        builder.metadata.label = f'Committee of {parameters["n_models"]} for {elements}'
        return builder

    def setup(self) -> None:
        """Name the members and queue their fits."""
        self.ctx.parameters = AttributeDict(self.inputs.parameters.get_dict())
        self.ctx.members = [f'model_{index:02d}' for index in range(self.ctx.parameters.n_models)]
        self.queue_branches(self.ctx.members, computer_job_limit(self.inputs.code))

    def build_data_set(self) -> Any:
        """Draw the frames once, for all members."""
        try:
            parts = make_data_set(self.inputs, self.ctx.parameters)
        except InputValidationError as error:
            return self.exit_codes.ERROR_DATA_SET.format(message=str(error))
        self.ctx.frames = {name: parts[name] for name in ('training', 'validation')}
        for name, node in self.ctx.frames.items():
            self.out(f'{name}_frames', node)
        if 'report' in parts:
            self.out('dataset', parts['report'])
        self.report(f'{parts["training"].n_frames} frames to train on, {parts["validation"].n_frames} to test on')
        return None

    def build_branch(self, name: str) -> Any:
        """Return the fit of one member."""
        builder = FitPotentialWorkChain.get_builder()
        builder.code = self.inputs.code
        builder.prepared = dict(self.ctx.frames)
        builder.parameters = orm.Dict(
            member_parameters(self.inputs.parameters.get_dict(), self.ctx.members.index(name))
        )
        if 'options' in self.inputs:
            builder.options = self.inputs.options
        builder.metadata.call_link_label = name
        builder.metadata.label = f'{self.node.label or "committee"}: {name}'
        return builder

    def inspect_fits(self) -> Any:
        """Take the potentials, also those that missed their gate; a member without potential ends the committee."""
        refused = FitPotentialWorkChain.exit_codes.ERROR_GATE_FAILED.status
        missing, self.ctx.refused = [], []
        for name in self.ctx.members:
            fit = self.branch(name)
            if 'learning_curve' in fit.outputs:
                self.out(f'learning_curves.{name}', fit.outputs.learning_curve)
            if not (fit.is_finished_ok or fit.exit_status == refused):
                missing.append(f'{name} ({message_of(fit)})')
                continue
            self.out(f'potentials.{name}', fit.outputs.potential)
            if fit.exit_status == refused:
                self.ctx.refused.append(f'{name} ({message_of(fit)})')
        if missing:
            return self.exit_codes.ERROR_FITS_FAILED.format(branches='; '.join(missing))
        return None

    def make_committee(self) -> Any:
        """Put the potentials into a group and compare their errors."""
        potentials = {name: self.branch(name).outputs.potential for name in self.ctx.members}
        label = (
            self.inputs.label.value if 'label' in self.inputs else '-'.join(self.ctx.parameters.deepmd.model.type_map)
        )
        try:
            group = Committee.get_or_create(f'{label}-{self.node.uuid[:8]}', list(potentials.values()))
        except ValueError as error:
            return self.exit_codes.ERROR_NOT_A_COMMITTEE.format(message=str(error))
        results = {f'{name}{RESULTS}': self.branch(name).outputs.results for name in self.ctx.members}
        collected = collect_committee(
            orm.Dict({'label': group.label, 'uuid': group.uuid}),
            **potentials,
            **results,
            metadata={'call_link_label': 'collect_committee'},
        )
        self.out('committee', collected['committee'])
        self.out('results', collected['results'])
        self.report(f'committee {group.label} of {len(potentials)} potentials')
        return None

    def judge(self) -> Any:
        """Refuse the committee if one of its members was refused."""
        if self.ctx.refused:
            return self.exit_codes.ERROR_GATE_FAILED.format(branches='; '.join(self.ctx.refused))
        return None
