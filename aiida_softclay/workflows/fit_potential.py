"""Fit a Deep Potential to labelled frames, test it on frames it has not seen, accept or refuse it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, WorkChain, if_, while_
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calcfunctions.frames import select_frames, split_frames
from aiida_softclay.calcfunctions.potential import assess_potential
from aiida_softclay.calculations.dp_base import BACKENDS
from aiida_softclay.calculations.dp_compress import DpCompressCalculation
from aiida_softclay.calculations.dp_freeze import DpFreezeCalculation
from aiida_softclay.calculations.dp_test import DpTestCalculation
from aiida_softclay.calculations.dp_train import DpTrainCalculation
from aiida_softclay.calculations.dp_train_input import training_problem
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.potential import PotentialData

from .protocol import ProtocolMixin, recursive_merge

DEFAULT_OPTIONS = {
    'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1},
    'withmpi': False,
    'max_wallclock_seconds': 86400,
}
#: Decays of the learning rate in a training of gupta2023: 800 000 steps, one decay every 5000.
DECAYS = 160
GATE_KEYS = ('rmse_energy_meV_atom', 'rmse_force_meV_A')


def type_map_of(frames: FramesData) -> list[str]:
    """Return the elements of the frames by electronegativity (metals first)."""
    from pymatgen.core import Element

    return sorted(frames.elements, key=lambda symbol: (Element(symbol).X, symbol))


def complete_parameters(parameters: Mapping[str, Any], frames: FramesData) -> dict[str, Any]:
    """Return parameters of a protocol with type map, seeds and decay of the learning rate filled in.

    Parameters
    ----------
    parameters : mapping
        Values of a protocol.
    frames : FramesData
        What the potential is fitted to; the type map is taken from it unless one is given.
    """
    complete = recursive_merge(parameters, {})
    deepmd, seed = complete['deepmd'], complete['seed']
    model, training, rate = deepmd['model'], deepmd['training'], deepmd['learning_rate']
    if model.get('type_map') is None:
        model['type_map'] = type_map_of(frames)
    model['descriptor'].setdefault('seed', seed)
    model['fitting_net'].setdefault('seed', seed + 1)
    training.setdefault('seed', seed + 2)
    if 'decay_steps' in rate and rate['decay_steps'] is None:
        rate['decay_steps'] = max(1, int(training['numb_steps']) // DECAYS)
    return complete


def parameters_problem(parameters: Mapping[str, Any], n_frames: int | None = None) -> str | None:
    """Return what is wrong with complete parameters, for a given number of frames if known, or ``None``."""
    missing = [key for key in ('deepmd', 'gate', 'training_fraction', 'seed') if key not in parameters]
    if missing:
        return f'the parameters lack {", ".join(missing)}: take them from a protocol (get_builder_from_protocol)'
    if parameters.get('backend', 'tensorflow') not in BACKENDS:
        return f'unknown backend `{parameters["backend"]}`: choose from {", ".join(BACKENDS)}'
    for key in GATE_KEYS:
        value = parameters['gate'].get(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
            return f'gate.{key} is {value!r}: give a positive number, above which the potential is refused'
    fraction = parameters['training_fraction']
    if not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        return f'training_fraction is {fraction!r}: give a share between 0 and 1, so that frames remain for the test'
    for key, lowest in (('n_frames', 2), ('n_threads', 1), ('max_iterations', 1)):
        value = parameters.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < lowest):
            return f'{key} is {value!r}: give a whole number of at least {lowest}'
    if n_frames is not None:
        used = min(n_frames, parameters.get('n_frames') or n_frames)
        if used * (1 - fraction) < 1 or used * fraction < 1:
            return (
                f'{used} frames at a training_fraction of {fraction:g} leave none to train or none to test on: '
                'give more frames or another fraction'
            )
    problem = training_problem(parameters['deepmd'])
    return f'deepmd: {problem}' if problem else None


def _validate_parameters(node: orm.Dict, _: Any) -> str | None:
    return parameters_problem(node.get_dict())


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    if 'frames' not in inputs or 'parameters' not in inputs:
        return None
    parameters, frames = inputs['parameters'].get_dict(), inputs['frames']
    problem = parameters_problem(parameters, frames.n_frames)
    if problem:
        return problem
    type_map = parameters['deepmd']['model']['type_map']
    missing = [element for element in frames.elements if element not in type_map]
    if missing:
        return (
            f'the frames contain {", ".join(missing)}, which deepmd.model.type_map ({", ".join(type_map)}) lacks: add '
            'them to the type map or leave these frames out'
        )
    return None


class FitPotentialWorkChain(ProtocolMixin, WorkChain):
    """Split the frames, train (over as many jobs as the wall time asks for), freeze, compress, test, judge.

    The test set is the part of the frames that the training never saw. A potential that misses the gate is still
    attached, with its errors, but the workchain ends with an exit code, so that nothing goes on from it unnoticed.
    """

    _protocol_file = 'fit_potential'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode, help='`dp` of DeePMD-kit.')
        spec.input('frames', valid_type=FramesData, help='All labelled frames.')
        spec.input(
            'parameters', valid_type=orm.Dict, serializer=to_aiida_type, validator=_validate_parameters,
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
        spec.inputs.validator = _validate_inputs
        spec.outline(
            cls.setup,
            cls.split,
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
        spec.output('training_frames', valid_type=FramesData, help='What was trained on.')
        spec.output('validation_frames', valid_type=FramesData, help='What was tested on.')
        spec.output('results', valid_type=orm.Dict, help='Test errors in the results schema.')
        spec.exit_code(310, 'ERROR_TRAINING_FAILED', message='the training failed: {message}')
        spec.exit_code(311, 'ERROR_FREEZE_FAILED', message='the model could not be frozen: {message}')
        spec.exit_code(312, 'ERROR_COMPRESS_FAILED', message='the model could not be compressed: {message}')
        spec.exit_code(313, 'ERROR_TEST_FAILED', message='the model could not be tested: {message}')
        spec.exit_code(
            400, 'ERROR_TRAINING_UNFINISHED',
            message='the training is at step {step} of {planned} after {jobs} jobs: raise max_iterations or the wall '
            'time',
        )  # fmt: skip
        spec.exit_code(
            401, 'ERROR_NO_PROGRESS',
            message='the training was cut twice without a new checkpoint (step {step}): give more wall time or lower '
            'deepmd.training.save_freq',
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
        frames: FramesData,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        code : aiida.orm.AbstractCode
            ``dp``.
        frames : FramesData
            All labelled frames.
        protocol : str, optional
            ``demo``, ``balanced``, ``paper`` (gupta2023), ``yang2024`` or ``you2025``.
        overrides : mapping, optional
            Values that replace those of the protocol, nested like it; ``deepmd`` takes any key of ``dp train``.
        options : mapping, optional
            Scheduler options of every job.

        Raises
        ------
        ProtocolError
            If the protocol or an override does not exist.
        """
        builder = cls.get_builder()
        builder.code = code
        builder.frames = frames
        builder.parameters = orm.Dict(complete_parameters(cls.get_protocol_inputs(protocol, overrides), frames))
        builder.options = orm.Dict(recursive_merge(DEFAULT_OPTIONS, dict(options or {})))
        builder.metadata.label = f'Deep Potential for {"-".join(frames.elements)}'
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
        self.ctx.jobs = 0
        self.ctx.trained = False
        self.ctx.parent = None
        self.ctx.checkpoint_step = -1

    def split(self) -> None:
        """Draw the frames and set the test frames aside."""
        parameters, frames = self.ctx.parameters, self.inputs.frames
        seed = orm.Int(parameters.seed)
        wanted = parameters.get('n_frames')
        if wanted is not None and wanted < frames.n_frames:
            frames = select_frames(frames, orm.Int(wanted), seed, metadata={'call_link_label': 'select_frames'})
        parts = split_frames(
            frames, orm.Float(parameters.training_fraction), seed, metadata={'call_link_label': 'split_frames'}
        )
        self.ctx.frames = AttributeDict(parts)
        self.out('training_frames', parts['training'])
        self.out('validation_frames', parts['validation'])
        self.report(
            f'{parts["training"].n_frames} frames to train on, {parts["validation"].n_frames} to test on, '
            f'{len(frames.formulas)} compositions'
        )

    def should_train(self) -> bool:
        """Return whether steps are left."""
        return not self.ctx.trained

    def _builder(self, process: Any, label: str) -> Any:
        builder = process.get_builder()
        builder.code = self.inputs.code
        builder.backend = orm.Str(self.ctx.parameters.get('backend', 'tensorflow'))
        builder.metadata.options = dict(self.ctx.options)
        builder.metadata.call_link_label = label
        builder.metadata.label = label
        return builder

    def run_training(self) -> ToContext:
        """Train, from scratch or from the last checkpoint."""
        builder = self._builder(DpTrainCalculation, f'train_{self.ctx.jobs}')
        builder.training_frames = self.ctx.frames.training
        builder.validation_frames = self.ctx.frames.validation
        builder.parameters = orm.Dict(self.inputs.parameters.get_dict()['deepmd'])
        if self.ctx.parent is not None:
            builder.parent_folder = self.ctx.parent.outputs.remote_folder
            builder.checkpoint = orm.Str(self.ctx.parent.outputs.statistics['checkpoint'])
        self.ctx.jobs += 1
        running = self.submit(builder)
        start = 'from scratch' if self.ctx.parent is None else f'from step {self.ctx.checkpoint_step}'
        self.report(f'training {start}: launched <{running.pk}>')
        return ToContext(train=running)

    def inspect_training(self) -> Any:
        """Go on to the model, continue from the checkpoint, or give up with the reason."""
        train = self.ctx.train
        if train.is_finished_ok:
            self.ctx.trained = True
            self.out('learning_curve', train.outputs.learning_curve)
            self.out('training', train.outputs.statistics)
            self.report(f'trained {train.outputs.statistics["last_step"]} steps in {self.ctx.jobs} jobs')
            return None
        resumable = DpTrainCalculation.exit_codes.ERROR_STOPPED_WITH_CHECKPOINT.status
        if train.exit_status != resumable:
            if 'learning_curve' in train.outputs:
                self.out('learning_curve', train.outputs.learning_curve)
            message = train.exit_message or f'exit status {train.exit_status}'
            return self.exit_codes.ERROR_TRAINING_FAILED.format(message=message)
        facts = train.outputs.statistics.get_dict()
        step = facts['checkpoint_step'] or 0
        if step <= self.ctx.checkpoint_step:
            return self.exit_codes.ERROR_NO_PROGRESS.format(step=step)
        if self.ctx.jobs >= self.ctx.parameters.get('max_iterations', 1):
            return self.exit_codes.ERROR_TRAINING_UNFINISHED.format(
                step=facts['last_step'], planned=facts['steps_planned'], jobs=self.ctx.jobs
            )
        self.ctx.parent, self.ctx.checkpoint_step = train, step
        self.report(f'stopped at step {facts["last_step"]} of {facts["steps_planned"]}: continuing from {step}')
        return None

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
            return self.exit_codes.ERROR_FREEZE_FAILED.format(message=self.ctx.freeze.exit_message)
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
            ('max_force_difference', 'max_force_difference_eV_A', orm.Float),
            ('n_frames', 'n_frames', orm.Int),
        ):
            if key in settings:
                builder[port] = kind(settings[key])
        return ToContext(compress=self.submit(builder))

    def inspect_compress(self) -> Any:
        """Take the compressed model."""
        if not self.ctx.compress.is_finished_ok:
            return self.exit_codes.ERROR_COMPRESS_FAILED.format(message=self.ctx.compress.exit_message)
        self.ctx.potential = self.ctx.compress.outputs.potential
        agreement = self.ctx.compress.outputs.statistics['agreement']
        self.report(f'compressed: forces change by at most {agreement["max_force_difference_eV_A"]:.1e} eV/Å')
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
            return self.exit_codes.ERROR_TEST_FAILED.format(message=self.ctx.test.exit_message)
        self.out('test', self.ctx.test.outputs.errors)
        self.out('test_details', self.ctx.test.outputs.details)
        return None

    def assess(self) -> Any:
        """Attach the potential with its errors, and refuse it if they are too large."""
        gate = dict(self.ctx.parameters.gate)
        assessed = assess_potential(
            self.ctx.potential, self.ctx.test.outputs.errors, orm.Dict(gate), self.ctx.train.outputs.statistics,
            self.ctx.frames.training, self.ctx.frames.validation, metadata={'call_link_label': 'assess_potential'},
        )  # fmt: skip
        self.out('potential', assessed['potential'])
        self.out('results', assessed['results'])
        overall = self.ctx.test.outputs.errors.get_dict()['overall']
        energy, force = overall['energy']['rmse'], overall['force']['rmse']
        self.report(f'test errors: {energy:.3g} meV/atom, {force:.4g} meV/Å')
        if not assessed['results'].get_dict()['context']['gate_passed']:
            return self.exit_codes.ERROR_GATE_FAILED.format(
                energy=energy, force=force, energy_limit=gate[GATE_KEYS[0]], force_limit=gate[GATE_KEYS[1]]
            )
        if self.inputs.clean_workdir.value:
            for node in self.node.called_descendants:
                if isinstance(node, orm.CalcJobNode):
                    node.outputs.remote_folder._clean()
        return None
