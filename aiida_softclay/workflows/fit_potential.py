"""Fit a Deep Potential to labelled frames, test it on frames it has not seen, accept or refuse it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.common.exceptions import InputValidationError
from aiida.engine import ToContext, WorkChain, if_, while_
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calcfunctions.potential import assess_potential
from aiida_softclay.calculations.dp_compress import DpCompressCalculation
from aiida_softclay.calculations.dp_freeze import DpFreezeCalculation
from aiida_softclay.calculations.dp_test import DpTestCalculation
from aiida_softclay.calculations.dp_train import parent_problem
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.potential import PotentialData
from aiida_softclay.workflows.endings import message_of

from .fit_dataset import define_data_set, fill_data_set, make_data_set
from .fit_parameters import (
    GATE_KEYS,
    Frames,
    complete_parameters,
    inputs_problem,
    parameters_problem,
    validate_parameters,
)
from .fit_training import TrainingMixin
from .options import DEFAULT_OPTIONS
from .protocol import ProtocolMixin, recursive_merge

__all__ = ('FitPotentialWorkChain', 'complete_parameters', 'parameters_problem')


def validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Return a sentence if the inputs cannot work together."""
    problem = inputs_problem(inputs)
    if problem or 'parent_folder' not in inputs or 'parameters' not in inputs:
        return problem
    parameters = inputs['parameters'].get_dict()
    return parent_problem(parameters['deepmd'], parameters.get('backend', 'tensorflow'), inputs['parent_folder'])


class FitPotentialWorkChain(ProtocolMixin, TrainingMixin, WorkChain):
    """Build the data set, train (over as many jobs as the wall time asks for), freeze, compress, test, judge.

    The test set is the part of the frames that the training never saw. A potential that misses the gate is still
    attached, with its errors, but the workchain ends with an exit code, so that nothing goes on from it unnoticed.
    """

    _protocol_file = 'fit_potential'

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
            'clean_workdir', valid_type=orm.Bool, default=lambda: orm.Bool(False), serializer=to_aiida_type,
            help='Empty the remote folders (frames and checkpoints) after success.',
        )  # fmt: skip
        spec.input(
            'parent_folder', valid_type=orm.RemoteData, required=False,
            help='Remote folder of a training with the same parameters and frames that did not finish, to go on from.',
        )  # fmt: skip
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            cls.build_data_set,
            while_(cls.should_train)(cls.run_training, cls.inspect_training),
            cls.run_freeze,
            cls.inspect_freeze,
            if_(cls.should_compress)(cls.run_compress, cls.inspect_compress),
            cls.run_test,
            cls.inspect_test,
            cls.assess,
        )
        spec.output('potential', valid_type=PotentialData, help='The potential, with its test errors.')
        spec.output('learning_curve', valid_type=orm.ArrayData, help='Errors over the steps, of all jobs as one.')
        spec.output('training', valid_type=orm.Dict, help='Statistics of the training: versions, sel, timings.')
        spec.output('test', valid_type=orm.Dict, help='Errors on the test frames, overall and by system.')
        spec.output('test_details', valid_type=orm.ArrayData, help='Reference and prediction, for parity plots.')
        spec.output('results', valid_type=orm.Dict, help='Test errors in the results schema.')
        spec.output(
            'remote_folder', valid_type=orm.RemoteData, required=False,
            help='Folder with the last checkpoint: of the finished training, or to go on from.',
        )  # fmt: skip
        cls.define_training(spec)
        spec.exit_code(220, 'ERROR_DATA_SET', message='no data set can be made of the frames: {message}')
        spec.exit_code(311, 'ERROR_FREEZE_FAILED', message='the model could not be frozen: {message}')
        spec.exit_code(312, 'ERROR_COMPRESS_FAILED', message='the model could not be compressed: {message}')
        spec.exit_code(313, 'ERROR_TEST_FAILED', message='the model could not be tested: {message}')
        spec.exit_code(
            501, 'ERROR_NOT_THE_SAME_MODEL', message='compression does not preserve the model: {message}'
        )  # fmt: skip
        spec.exit_code(
            510, 'ERROR_GATE_FAILED',
            message='the potential is refused: on unseen frames its errors are {energy:.3g} meV/atom (limit '
            '{energy_limit:g}) and {force:.4g} meV/Å (limit {force_limit:g}); train longer or on more frames',
        )  # fmt: skip

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        frames: Frames | None = None,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        prepared: Mapping[str, FramesData] | None = None,
        parent_folder: orm.RemoteData | None = None,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        code : aiida.orm.AbstractCode
            ``dp``.
        frames : FramesData or mapping of str to FramesData
            All labelled frames, in any number of nodes.
        protocol : str, optional
            ``demo``, ``balanced``, ``paper`` (gupta2023), ``yang2024`` or ``you2025``.
        overrides : mapping, optional
            Values that replace those of the protocol, nested like it; ``deepmd`` takes any key of ``dp train``.
        options : mapping, optional
            Scheduler options of every job; those of the protocol come under them.
        prepared : mapping, optional
            ``training`` and ``validation`` frames: then ``frames`` is not given and nothing is drawn or split.
        parent_folder : aiida.orm.RemoteData, optional
            Folder of a training that did not finish (output ``remote_folder`` of a fit with the same inputs).

        Raises
        ------
        ProtocolError
            If the protocol or an override does not exist.
        """
        builder = cls.get_builder()
        builder.code = code
        parameters = fill_data_set(builder, cls.get_protocol_inputs(protocol, overrides), frames, prepared)
        builder.parameters = orm.Dict(parameters)
        given = recursive_merge(parameters.get('options') or {}, dict(options or {}))
        builder.options = orm.Dict(recursive_merge(DEFAULT_OPTIONS, given))
        if parent_folder is not None:
            builder.parent_folder = parent_folder
        builder.metadata.label = f'Deep Potential for {"-".join(parameters["deepmd"]["model"]["type_map"])}'
        return builder

    def setup(self) -> None:
        """Take the inputs as plain values."""
        self.ctx.parameters = AttributeDict(self.inputs.parameters.get_dict())
        self.ctx.options = self.inputs.options.get_dict() if 'options' in self.inputs else dict(DEFAULT_OPTIONS)
        threads = self.ctx.parameters.get('n_threads')
        if threads is not None:
            # After the code's own prepend_text, which comes earlier in the script.
            lines = [
                f'export OMP_NUM_THREADS={threads} DP_INTRA_OP_PARALLELISM_THREADS={threads} '
                'DP_INTER_OP_PARALLELISM_THREADS=1'
            ]
            self.ctx.options['prepend_text'] = '\n'.join([*lines, self.ctx.options.get('prepend_text', '')]).strip()
        self.setup_training()

    def build_data_set(self) -> Any:
        """Draw the frames and set the test frames aside, unless that was done before."""
        try:
            parts = make_data_set(self.inputs, self.ctx.parameters)
        except InputValidationError as error:
            return self.exit_codes.ERROR_DATA_SET.format(message=str(error))
        self.ctx.frames = AttributeDict({name: parts[name] for name in ('training', 'validation')})
        for name, node in self.ctx.frames.items():
            self.out(f'{name}_frames', node)
        if 'report' in parts:
            self.out('dataset', parts['report'])
        self.report(
            f'{parts["training"].n_frames} frames to train on, {parts["validation"].n_frames} to test on, '
            f'{len(parts["training"].formulas)} compositions'
        )
        return None

    def _builder(self, process: Any, label: str) -> Any:
        builder = process.get_builder()
        builder.code = self.inputs.code
        builder.backend = orm.Str(self.ctx.parameters.get('backend', 'tensorflow'))
        builder.metadata.options = dict(self.ctx.options)
        if self.ctx.parameters.get('device') == 'cpu':
            builder.device = orm.Str('cpu')
        builder.metadata.call_link_label = label
        builder.metadata.label = label
        return builder

    def run_freeze(self) -> ToContext:
        """Make a model file of the last checkpoint."""
        builder = self._builder(DpFreezeCalculation, 'freeze')
        builder.parent_folder = self.ctx.train.outputs.remote_folder
        builder.checkpoint = orm.Str(self.ctx.train.outputs.statistics['checkpoint'])
        builder.parameters = orm.Dict(self.inputs.parameters.get_dict()['deepmd'])
        return ToContext(freeze=self.submit(builder))

    def inspect_freeze(self) -> Any:
        """Take the model."""
        if not self.ctx.freeze.is_finished_ok:
            return self.exit_codes.ERROR_FREEZE_FAILED.format(message=message_of(self.ctx.freeze))
        self.ctx.potential = self.ctx.freeze.outputs.potential
        return None

    def should_compress(self) -> bool:
        """Return whether to tabulate the embedding network."""
        return bool(self.ctx.parameters.get('compress', True))

    def run_compress(self) -> ToContext:
        """Compress the model and compare the two on frames of the test set."""
        settings = self.ctx.parameters.get('compression', {})
        builder = self._builder(DpCompressCalculation, 'compress')
        builder.potential = self.ctx.potential
        builder.frames = self.ctx.frames.validation
        for port, key, kind in (
            ('step', 'step', orm.Float),
            ('extrapolate', 'extrapolate', orm.Int),
            ('max_energy_difference', 'max_energy_difference_eV_atom', orm.Float),
            ('max_force_difference', 'max_force_difference_eV_A', orm.Float),
            ('max_virial_difference', 'max_virial_difference_eV_atom', orm.Float),
            ('n_frames', 'n_frames', orm.Int),
        ):
            if key in settings:
                builder[port] = kind(settings[key])
        return ToContext(compress=self.submit(builder))

    def inspect_compress(self) -> Any:
        """Take the compressed model."""
        compress = self.ctx.compress
        if compress.exit_status == DpCompressCalculation.exit_codes.ERROR_MODELS_DIFFER.status:
            return self.exit_codes.ERROR_NOT_THE_SAME_MODEL.format(message=message_of(compress))
        if not compress.is_finished_ok:
            return self.exit_codes.ERROR_COMPRESS_FAILED.format(message=message_of(compress))
        self.ctx.potential = self.ctx.compress.outputs.potential
        agreement = self.ctx.compress.outputs.statistics['agreement']
        self.report(
            f'compressed: forces change by at most {agreement["max_force_difference_eV_A"]:.1e} eV/Å, energies by '
            f'{agreement["max_energy_difference_eV_atom"]:.1e} eV/atom'
        )
        return None

    def run_test(self) -> ToContext:
        """Predict the test frames with the model that will be used."""
        settings = self.ctx.parameters.get('test', {})
        builder = self._builder(DpTestCalculation, 'test')
        builder.potential = self.ctx.potential
        builder.frames = self.ctx.frames.validation
        builder.seed = orm.Int(self.ctx.parameters.seed)
        for key in ('max_frames', 'max_forces'):
            if key in settings:
                builder[key] = orm.Int(settings[key])
        return ToContext(test=self.submit(builder))

    def inspect_test(self) -> Any:
        """Take the errors."""
        if not self.ctx.test.is_finished_ok:
            return self.exit_codes.ERROR_TEST_FAILED.format(message=message_of(self.ctx.test))
        self.out('test', self.ctx.test.outputs.errors)
        self.out('test_details', self.ctx.test.outputs.details)
        return None

    def assess(self) -> Any:
        """Attach the potential with its errors, and refuse it if they are too large."""
        gate = dict(self.ctx.parameters.gate or {})
        assessed = assess_potential(
            self.ctx.potential, self.ctx.test.outputs.errors, orm.Dict(gate), self.ctx.train.outputs.statistics,
            self.ctx.frames.training, self.ctx.frames.validation, metadata={'call_link_label': 'assess_potential'},
        )  # fmt: skip
        self.out('potential', assessed['potential'])
        self.out('results', assessed['results'])
        overall = self.ctx.test.outputs.errors.get_dict()['overall']
        energy, force = overall['energy']['rmse'], overall['force']['rmse']
        self.report(f'test errors: {energy:.3g} meV/atom, {force:.4g} meV/Å')
        if assessed['potential'].passed_gate is False:
            return self.exit_codes.ERROR_GATE_FAILED.format(
                energy=energy, force=force, energy_limit=gate[GATE_KEYS[0]], force_limit=gate[GATE_KEYS[1]]
            )
        if self.inputs.clean_workdir.value:
            for node in self.node.called_descendants:
                if isinstance(node, orm.CalcJobNode):
                    node.outputs.remote_folder._clean()
        return None
