"""Train a Deep Potential with ``dp train``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common import datastructures
from aiida.common.exceptions import NotExistent
from aiida.common.folders import Folder
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.data.frames import FramesData

from .dp_base import DpCalculation, backend_problem, checkpoint_copies, export_frames, missing_elements
from .dp_checkpoint import CHECK_LINES, MODEL_FILE, PARENT_INPUT, PARENT_MODEL_FILE, checkpoint_problem, identity_text
from .dp_train_input import training_input, training_problem


def _validate_parameters(node: orm.Dict, _: Any) -> str | None:
    return training_problem(node.get_dict())


def parent_problem(
    parameters: Mapping[str, Any],
    backend: str,
    parent_folder: orm.RemoteData,
    training_frames: FramesData | None = None,
) -> str | None:
    """Return why a training cannot go on from a folder, as far as the database knows the training that made it."""
    creator = parent_folder.creator
    if creator is None or 'parameters' not in creator.inputs or 'training_frames' not in creator.inputs:
        return None
    parent_backend = creator.inputs.backend.value if 'backend' in creator.inputs else 'tensorflow'
    problem = checkpoint_problem(parameters, backend, creator.inputs.parameters.get_dict(), parent_backend)
    if problem or training_frames is None:
        return problem
    given, before = (
        node.base.attributes.get('content_hash', None) for node in (training_frames, creator.inputs.training_frames)
    )
    if given != before:
        return 'the checkpoint is of a training on other frames: go on with the same data set, or train from scratch'
    return None


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    parameters = inputs.get('parameters')
    if parameters is None or training_problem(parameters.get_dict()):
        return None  # the port says so itself
    type_map = parameters.get_dict()['model']['type_map']
    frames = {name: inputs[name] for name in ('training_frames', 'validation_frames') if name in inputs}
    for name, node in frames.items():
        missing = missing_elements(node, type_map)
        if missing:
            return (
                f'{name} contain {", ".join(missing)}, which model.type_map ({", ".join(type_map)}) lacks: add them to '
                'the type map or leave these frames out'
            )
    if len(frames) == 2:
        kinds = {node.energy_kind for node in frames.values()}
        if len(kinds) > 1:
            return f'training and validation frames hold different energies ({", ".join(sorted(kinds))})'
        hashes = {node.base.attributes.get('content_hash') for node in frames.values()}
        if len(hashes) < 2:
            return 'training_frames and validation_frames are the same frames: split them, or the test is worthless'
    backend = inputs['backend'].value if 'backend' in inputs else 'tensorflow'
    problem = backend_problem(backend, trains=True)
    if problem:
        return problem
    if 'parent_folder' in inputs:
        return parent_problem(parameters.get_dict(), backend, inputs['parent_folder'], frames.get('training_frames'))
    if 'checkpoint' in inputs:
        return 'a checkpoint is named but no parent_folder that holds it'
    return None


class DpTrainCalculation(DpCalculation):
    """Train a Deep Potential, from scratch or from the checkpoint of a training that was cut.

    The job ends itself shortly before its wall time. The last checkpoint stays in the remote folder; give that folder
    as ``parent_folder`` to continue. The learning curve of the parent is taken along, so that the last job of a chain
    holds the whole curve.
    """

    _STEP = 'train'
    _RETRIEVE = ('lcurve.out', 'out.json', 'checkpoint', PARENT_INPUT, PARENT_MODEL_FILE)

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outputs and the ways a training can end."""
        super().define(spec)
        spec.input('training_frames', valid_type=FramesData, help='Frames to fit.')
        spec.input('validation_frames', valid_type=FramesData, help='Frames to watch the fit on; none of the others.')
        spec.input(
            'parameters', valid_type=orm.Dict, serializer=to_aiida_type, validator=_validate_parameters,
            help='Input of `dp train` without the paths of the data and of its own files. `model.descriptor.sel` may '
            'be `auto` or `auto:1.2` (margin on the neighbours found); what it became is in the statistics.',
        )  # fmt: skip
        spec.input(
            'parent_folder', valid_type=orm.RemoteData, required=False,
            help='Remote folder of a training with the same inputs, to continue from.',
        )  # fmt: skip
        spec.input(
            'checkpoint', valid_type=orm.Str, required=False, serializer=to_aiida_type,
            help='Name of the checkpoint in the parent folder, as in its statistics; by default the latest.',
        )  # fmt: skip
        spec.inputs.validator = _validate_inputs
        spec.output(
            'learning_curve', valid_type=orm.ArrayData,
            help='Errors by step; arrays as in lcurve.out, units in the attribute `units`.',
        )  # fmt: skip
        spec.exit_code(
            220, 'ERROR_OTHER_TRAINING',
            message='the checkpoint is of another training, so this one cannot go on from it: {reason}',
        )  # fmt: skip
        spec.exit_code(301, 'ERROR_NO_LEARNING_CURVE', message='lcurve.out cannot be read: {reason}')
        spec.exit_code(302, 'ERROR_NO_CHECKPOINT', message='the training finished but left no checkpoint')
        spec.exit_code(
            303, 'ERROR_CHECKPOINT_GONE',
            message='the checkpoint {checkpoint} is not in the parent folder any more or cannot be read: {reason}',
        )  # fmt: skip
        spec.exit_code(
            400, 'ERROR_STOPPED_WITH_CHECKPOINT',
            message='training was stopped at step {step} of {planned}; continue from {checkpoint} in the remote folder',
        )  # fmt: skip
        spec.exit_code(
            401, 'ERROR_STOPPED_BEFORE_CHECKPOINT',
            message='training was stopped at step {step} of {planned}, before its first checkpoint: give more wall '
            'time or lower training.save_freq',
        )  # fmt: skip
        spec.exit_code(
            500, 'ERROR_LOSS_NOT_FINITE',
            message='the loss diverged at step {step}: lower the learning rate or look for broken frames',
        )  # fmt: skip

    def prepare_for_submission(self, folder: Folder) -> datastructures.CalcInfo:
        """Write the systems and the input."""
        parameters = self.inputs.parameters.get_dict()
        type_map = parameters['model']['type_map']
        systems = self._systems_of_parent()
        there_already = systems is not None
        if systems is None:
            systems = {
                name: export_frames(self.inputs[f'{name}_frames'], folder, f'data/{name}', type_map)[0]
                for name in ('training', 'validation')
            }
        data = training_input(parameters, systems['training'], systems['validation'])
        with folder.open('input.json', 'w') as handle:
            json.dump(data, handle, indent=2)
        backend = self.inputs.backend.value
        with folder.open(MODEL_FILE, 'w') as handle:
            handle.write(identity_text(parameters, backend))
        command = ['train', 'input.json']
        copies = []
        if 'parent_folder' in self.inputs:
            checkpoint = self.inputs.checkpoint.value if 'checkpoint' in self.inputs else 'model.ckpt'
            command += ['--restart', checkpoint]
            parent = self.inputs.parent_folder
            copies = checkpoint_copies(parent, checkpoint, 'lcurve.out')
            if there_already:
                copies.append((parent.computer.uuid, str(Path(parent.get_remote_path()) / 'data'), '.'))
            for name, target in ((MODEL_FILE, PARENT_MODEL_FILE), ('out.json', PARENT_INPUT)):
                copies.append((parent.computer.uuid, str(Path(parent.get_remote_path()) / name), target))
        calc_info = self._calc_info(command)
        if copies:
            calc_info.prepend_text = f'{CHECK_LINES}\n{calc_info.prepend_text}'.strip()
        calc_info.remote_copy_list = copies
        return calc_info

    def _systems_of_parent(self) -> dict[str, list[str]] | None:
        """Return the systems that the parent wrote of the same frames, or ``None`` if that is not known.

        A paper's data set is more than half a gigabyte: copying it on the computer spares every job of a chain writing
        it in the daemon and sending it.
        """
        creator = self.inputs.parent_folder.creator if 'parent_folder' in self.inputs else None
        if creator is None:
            return None
        try:
            for name in ('training_frames', 'validation_frames'):
                nodes = self.inputs[name], creator.inputs[name]
                if len({node.base.attributes.get('content_hash') for node in nodes}) > 1:
                    return None
            written = json.loads(creator.base.repository.get_object_content('input.json'))['training']
            return {name: list(written[f'{name}_data']['systems']) for name in ('training', 'validation')}
        except (NotExistent, FileNotFoundError, AttributeError, KeyError, ValueError):
            return None
