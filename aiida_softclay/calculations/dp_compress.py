"""Speed a model up with ``dp compress`` and check that it is still the same model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import datastructures
from aiida.common.folders import Folder
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.potential import PotentialData, validate_model

from .dp_base import DpCalculation, export_frames, missing_elements, model_filename, validate_positive


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    potential = inputs.get('potential')
    if potential is None:
        return None
    if potential.compressed:
        return 'the potential is compressed already'
    if 'backend' in inputs and potential.model_backend != inputs['backend'].value:
        return f'the potential is a {potential.model_backend} model, the backend is {inputs["backend"].value}'
    if 'frames' in inputs:
        missing = missing_elements(inputs['frames'], potential.type_map)
        if missing:
            return f'the frames contain {", ".join(missing)}, which the potential does not know'
    return None


class DpCompressCalculation(DpCalculation):
    """Tabulate the embedding networks; with frames given, both models predict them and must agree."""

    _STEP = 'compress'
    _RETRIEVE = ('model_devi.out',)

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs and outputs."""
        super().define(spec)
        spec.input('potential', valid_type=PotentialData, validator=validate_model, help='The model as it was frozen.')
        spec.input('frames', valid_type=FramesData, required=False, help='Frames to compare the two models on.')
        spec.input(
            'n_frames', valid_type=orm.Int, default=lambda: orm.Int(20), serializer=to_aiida_type,
            validator=validate_positive, help='Compare on at most so many frames, drawn at random.',
        )  # fmt: skip
        spec.input(
            'step', valid_type=orm.Float, default=lambda: orm.Float(0.01), serializer=to_aiida_type,
            validator=validate_positive, help='Spacing of the table (`dp compress -s`).',
        )  # fmt: skip
        spec.input(
            'extrapolate', valid_type=orm.Int, default=lambda: orm.Int(5), serializer=to_aiida_type,
            validator=validate_positive, help='Range of the coarse table over that of the data (`-e`).',
        )  # fmt: skip
        spec.input(
            'max_force_difference', valid_type=orm.Float, default=lambda: orm.Float(0.01), serializer=to_aiida_type,
            validator=validate_positive, help='Largest allowed |ΔF| of an atom between the two models, eV/Å.',
        )  # fmt: skip
        spec.input(
            'max_energy_difference', valid_type=orm.Float, default=lambda: orm.Float(0.001),
            serializer=to_aiida_type, validator=validate_positive,
            help='Largest allowed difference of the energies of a frame, eV/atom.',
        )  # fmt: skip
        spec.input(
            'max_virial_difference', valid_type=orm.Float, default=lambda: orm.Float(0.01),
            serializer=to_aiida_type, validator=validate_positive,
            help='Largest allowed difference of a component of the virials of a frame, eV/atom.',
        )  # fmt: skip
        spec.inputs.validator = _validate_inputs
        spec.output('potential', valid_type=PotentialData, help='The compressed model.')
        spec.exit_code(303, 'ERROR_NO_COMPARISON', message='the two models could not be compared: {reason}')
        spec.exit_code(
            510, 'ERROR_MODELS_DIFFER',
            message='compression changed {what}: lower `step`',
        )  # fmt: skip

    def prepare_for_submission(self, folder: Folder) -> datastructures.CalcInfo:
        """Copy the model, and the frames to compare on."""
        original = self.inputs.potential.filename
        compressed = model_filename(self.inputs.backend.value, compressed=True)
        commands = [
            [
                'compress', '-i', original, '-o', compressed, '-s', f'{self.inputs.step.value:g}',
                '-e', str(self.inputs.extrapolate.value),
            ],
        ]  # fmt: skip
        if 'frames' in self.inputs:
            export_frames(
                self.inputs.frames, folder, 'data/check', self.inputs.potential.type_map, self.inputs.n_frames.value
            )
            commands.append(['model-devi', '-m', original, compressed, '-s', 'data/check', '-o', 'model_devi.out'])
        calc_info = self._calc_info(*commands)
        calc_info.local_copy_list = [(self.inputs.potential.uuid, original, original)]
        calc_info.retrieve_temporary_list = [compressed]
        return calc_info
