"""A potential from its reference structures: melt–quench sampling, fit, proof, as each of the papers did it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, WorkChain, if_
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calcfunctions.results import collect_results
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.potential import PotentialData
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.fit_committee import FitCommitteeWorkChain
from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain
from aiida_softclay.workflows.melt_quench import MeltQuenchWorkChain
from aiida_softclay.workflows.ports import (
    define_codes,
    define_job_bound,
    define_pseudopotentials,
    given_job_bound,
    given_mapping,
    given_options,
    set_engines,
)
from aiida_softclay.workflows.protocol import ProtocolMixin
from aiida_softclay.workflows.validate_potential import ValidatePotentialWorkChain


def _validate_parameters(node: orm.Dict, _: Any) -> str | None:
    """Return a sentence if a stage has a protocol or an override that does not exist."""
    parameters = node.get_dict()
    stages = {'melt_quench': MeltQuenchWorkChain, 'fit': FitPotentialWorkChain}
    if parameters.get('validation', {}).get('protocol') is not None:
        stages['validation'] = ValidatePotentialWorkChain
    for stage, process in stages.items():
        settings = parameters.get(stage)
        if not isinstance(settings, Mapping):
            return f'`{stage}` is missing: give its protocol and overrides'
        try:
            process.get_protocol_inputs(settings.get('protocol'), settings.get('overrides'))
        except ValueError as error:
            return f'{stage}: {error}'
    models = parameters.get('n_models')
    if not isinstance(models, int) or isinstance(models, bool) or models < 1:
        return f'n_models is {models!r}: give a whole number of at least 1'
    return None


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Return a sentence if the sampling would be refused, or if an engine that the proof needs is missing."""
    if 'parameters' not in inputs or 'codes' not in inputs:
        return None
    for name in ('vasp', 'dp'):
        if name not in inputs['codes']:
            return f'codes.{name} is missing: without it there is nothing to sample or to fit with'
    try:
        builder = _sampling_builder(inputs)
    except ValueError as error:
        return f'melt_quench: {error}'
    problem = MeltQuenchWorkChain.spec().inputs.validate(builder._inputs(prune=True))
    return None if problem is None else f'melt_quench: {problem.message}'


def _sampling_builder(inputs: Mapping[str, Any]) -> Any:
    """Return the builder of the sampling."""
    parameters = inputs['parameters'].get_dict()
    settings = parameters['melt_quench']
    own = dict(inputs.get('structures') or {})
    return MeltQuenchWorkChain.get_builder_from_protocol(
        inputs['codes']['vasp'],
        own or parameters.get('structures'),
        inputs['potential_family'].value,
        protocol=settings['protocol'],
        overrides=settings['overrides'],
        options=given_options(inputs).get('vasp'),
        potential_mapping=given_mapping(inputs),
        max_concurrent_jobs=given_job_bound(inputs),
    )


class BuildPotentialWorkChain(ProtocolMixin, WorkChain):
    """Melt and quench the reference structures, fit a potential (or a committee) to the frames, and prove it.

    What a stage gave is attached before the next one starts, so that a potential that misses its gate or its proof can
    still be looked at; the exit code says that it should not be used.
    """

    _protocol_file = 'build_potential'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input(
            'parameters', valid_type=orm.Dict, serializer=to_aiida_type, validator=_validate_parameters,
            help='Protocol and overrides of each stage: see the protocols.',
        )  # fmt: skip
        spec.input_namespace(
            'structures', valid_type=orm.StructureData, dynamic=True, required=False,
            help='Structures of your own by label, in the place of the reference structures.',
        )  # fmt: skip
        define_codes(spec, required=('vasp', 'dp'))
        define_pseudopotentials(spec)
        define_job_bound(spec, 'branches of a stage')
        spec.inputs.validator = _validate_inputs

        spec.outline(
            cls.setup,
            cls.run_sampling,
            cls.inspect_sampling,
            cls.run_fit,
            cls.inspect_fit,
            if_(cls.should_validate)(cls.run_validation, cls.inspect_validation),
            cls.results,
        )

        spec.output_namespace('frames', valid_type=FramesData, dynamic=True, help='Labelled frames of the sampling.')
        spec.output('potential', valid_type=PotentialData, required=False, help='The potential; of several, the first.')
        spec.output_namespace(
            'potentials', valid_type=PotentialData, dynamic=True, required=False, help='All members of a committee.'
        )
        spec.output('committee', valid_type=orm.Dict, required=False, help='Group that holds the committee.')
        spec.output('results', valid_type=orm.Dict, required=False, help='All numbers, in the results schema.')
        spec.output_namespace(
            'stages', valid_type=orm.Dict, dynamic=True, required=False, help='Results of each stage.'
        )
        spec.output_namespace(
            'curves', valid_type=orm.ArrayData, dynamic=True, required=False, help='Curves of the proof.'
        )
        spec.exit_code(401, 'ERROR_SAMPLING_FAILED', message='the sampling failed: {message}')
        spec.exit_code(402, 'ERROR_FIT_FAILED', message='the fit of the potential failed: {message}')
        spec.exit_code(403, 'ERROR_VALIDATION_FAILED', message='the proof could not be finished: {message}')
        spec.exit_code(501, 'ERROR_POTENTIAL_REFUSED', message='the potential misses its gate: {message}')
        spec.exit_code(502, 'ERROR_NOT_PROVED', message='the potential fails its proof: {message}')

    @classmethod
    def get_builder_from_protocol(
        cls,
        codes: Mapping[str, orm.AbstractCode],
        potential_family: str,
        *,
        structures: Any = None,
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
        potential_family : str
            Label of a family of POTCAR files with all elements.
        structures : str, list or mapping, optional
            What ``softclay.melt_quench`` takes, instead of the structures of its protocol.
        potential_mapping : mapping, optional
            Full names of potentials by element.
        protocol, overrides
            See :meth:`get_protocol_inputs`.
        options : mapping, optional
            ``vasp``, ``dp``, ``lmp`` to scheduler options.
        max_concurrent_jobs : int, optional
            Most branches of a stage at once.

        Raises
        ------
        ProtocolError
            If the protocol, or a key of the overrides, does not exist.
        """
        parameters = cls.get_protocol_inputs(protocol, overrides)
        parameters['protocol'] = protocol or cls.get_default_protocol()
        builder = cls.get_builder()
        if isinstance(structures, Mapping) and all(isinstance(node, orm.StructureData) for node in structures.values()):
            builder.structures = dict(structures)
        elif structures is not None:
            parameters['structures'] = structures
        builder.parameters = orm.Dict(parameters)
        set_engines(
            builder, codes, potential_family=potential_family, potential_mapping=potential_mapping, options=options,
            max_concurrent_jobs=max_concurrent_jobs,
        )  # fmt: skip
        builder.metadata.label = f'potential ({parameters["protocol"]})'
        return builder

    @classmethod
    def sampling_builder(cls, inputs: Mapping[str, Any]) -> Any:
        """Return the builder of the sampling that these inputs lead to, for estimates of its size."""
        return _sampling_builder(inputs)

    def setup(self) -> None:
        """Read the inputs once."""
        self.ctx.parameters = AttributeDict(self.inputs.parameters.get_dict())
        self.ctx.stages = {}

    def run_sampling(self) -> ToContext:
        """Melt and quench."""
        builder = _sampling_builder(self.inputs)
        builder.metadata.call_link_label = 'melt_quench'
        return ToContext(sampling=self.submit(builder))

    def inspect_sampling(self) -> Any:
        """Take the frames, also where a few structures failed."""
        sampling = self.ctx.sampling
        frames = dict(sampling.outputs.frames) if 'frames' in sampling.outputs else {}
        for name, node in frames.items():
            self.out(f'frames.{name}', node)
        if 'results' in sampling.outputs:
            self._keep('sampling', sampling)
        warning = MeltQuenchWorkChain.exit_codes.WARNING_STRUCTURES_FAILED.status
        if not (sampling.is_finished_ok or sampling.exit_status == warning) or not frames:
            return self.exit_codes.ERROR_SAMPLING_FAILED.format(message=sampling.exit_message or 'there are no frames')
        if not sampling.is_finished_ok:
            self.report(f'warning: {message_of(sampling)}')
        self.ctx.frames = frames
        self.report(f'{sum(node.n_frames for node in frames.values())} labelled frames in {len(frames)} nodes')
        return None

    def _keep(self, stage: str, process: orm.ProcessNode) -> None:
        self.ctx.stages[stage] = process.outputs.results
        self.out(f'stages.{stage}', process.outputs.results)

    def run_fit(self) -> ToContext:
        """Fit one potential, or a committee."""
        settings = self.ctx.parameters.fit
        common = {
            'protocol': settings.protocol,
            'overrides': settings.overrides,
            'options': given_options(self.inputs).get('dp'),
        }
        if self.ctx.parameters.n_models > 1:
            builder = FitCommitteeWorkChain.get_builder_from_protocol(
                self.inputs.codes.dp, self.ctx.frames, n_models=self.ctx.parameters.n_models, **common
            )
        else:
            builder = FitPotentialWorkChain.get_builder_from_protocol(self.inputs.codes.dp, self.ctx.frames, **common)
        builder.metadata.call_link_label = 'fit'
        return ToContext(fit=self.submit(builder))

    def inspect_fit(self) -> Any:
        """Take the potential, and stop if it missed its gate."""
        fit = self.ctx.fit
        if 'results' in fit.outputs:
            self._keep('fit', fit)
        if 'committee' in fit.outputs:
            self.out('committee', fit.outputs.committee)
        potentials = dict(fit.outputs.potentials) if 'potentials' in fit.outputs else {}
        for name, node in potentials.items():
            self.out(f'potentials.{name}', node)
        potential = fit.outputs.potential if 'potential' in fit.outputs else next(iter(potentials.values()), None)
        if potential is not None:
            self.out('potential', potential)
            self.ctx.potential = potential
        if fit.is_finished_ok:
            return None
        refused = fit.exit_status is not None and 500 <= fit.exit_status < 600
        code = self.exit_codes.ERROR_POTENTIAL_REFUSED if refused else self.exit_codes.ERROR_FIT_FAILED
        return code.format(message=message_of(fit))

    def should_validate(self) -> bool:
        """Return whether the protocol asks for a proof."""
        return self.ctx.parameters.validation.protocol is not None

    def run_validation(self) -> Any:
        """Compare the potential with its engine."""
        settings = self.ctx.parameters.validation
        try:
            builder = ValidatePotentialWorkChain.get_builder_from_protocol(
                dict(self.inputs.codes),
                self.ctx.potential,
                self.inputs.potential_family.value,
                potential_mapping=given_mapping(self.inputs),
                protocol=settings.protocol,
                overrides=settings.overrides,
                options=given_options(self.inputs),
                max_concurrent_jobs=given_job_bound(self.inputs),
            )
        except ValueError as error:
            return self.exit_codes.ERROR_VALIDATION_FAILED.format(message=str(error))
        builder.metadata.call_link_label = 'validation'
        return ToContext(validation=self.submit(builder))

    def inspect_validation(self) -> None:
        """Take the table and the curves."""
        validation = self.ctx.validation
        if 'results' in validation.outputs:
            self._keep('validation', validation)
        for name, node in (dict(validation.outputs.curves) if 'curves' in validation.outputs else {}).items():
            self.out(f'curves.{name}', node)

    def results(self) -> Any:
        """Gather every number in one table, and say if the proof failed."""
        engines = {stage: node.get_dict()['context'].get('engine', '') for stage, node in self.ctx.stages.items()}
        context = {
            'protocol': self.ctx.parameters.get('protocol', 'own parameters'),
            'engine': engines.get('sampling', ''),
            'elements': '-'.join(self.ctx.potential.type_map),
        }
        collected = collect_results(
            orm.Dict(context), **self.ctx.stages, metadata={'call_link_label': 'collect_results'}
        )
        self.out('results', collected)
        self.report(f'{len(collected["numbers"])} numbers in results <{collected.pk}>')
        validation = self.ctx.get('validation')
        if validation is None or validation.is_finished_ok:
            return None
        physics = validation.exit_status is not None and 500 <= validation.exit_status < 600
        code = self.exit_codes.ERROR_NOT_PROVED if physics else self.exit_codes.ERROR_VALIDATION_FAILED
        return code.format(message=message_of(validation))
