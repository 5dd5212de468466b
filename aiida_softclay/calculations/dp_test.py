"""Compare a model with labelled frames by ``dp test``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import datastructures
from aiida.common.folders import Folder
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.potential import PotentialData, validate_model

from .dp_base import DpCalculation, export_frames, missing_elements, validate_positive


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    if 'potential' not in inputs or 'frames' not in inputs:
        return None
    missing = missing_elements(inputs['frames'], inputs['potential'].type_map)
    if missing:
        return (
            f'the frames contain {", ".join(missing)}, which the potential '
            f'({", ".join(inputs["potential"].type_map)}) does not know'
        )
    if 'backend' in inputs and inputs['potential'].model_backend != inputs['backend'].value:
        return f'the potential is a {inputs["potential"].model_backend} model, the backend is {inputs["backend"].value}'
    return None


class DpTestCalculation(DpCalculation):
    """Predict frames that the model has not seen and report the errors: overall, by system, by structure and stage."""

    _STEP = 'test'
    #: Which frame of which system is from which structure and stage.
    ORIGINS = 'origins.json'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs and outputs."""
        super().define(spec)
        spec.input('potential', valid_type=PotentialData, validator=validate_model, help='The model.')
        spec.input('frames', valid_type=FramesData, help='Labelled frames.')
        spec.input(
            'max_frames', valid_type=orm.Int, default=lambda: orm.Int(2000), serializer=to_aiida_type,
            validator=validate_positive, help='Test on at most so many frames, drawn at random with `seed`.',
        )  # fmt: skip
        spec.input(
            'max_forces', valid_type=orm.Int, default=lambda: orm.Int(20_000), serializer=to_aiida_type,
            validator=validate_positive, help='Keep at most so many atoms in the parity arrays; the errors use all.',
        )  # fmt: skip
        spec.input(
            'seed', valid_type=orm.Int, default=lambda: orm.Int(0), serializer=to_aiida_type,
            help='Seed of the choice.',
        )  # fmt: skip
        spec.inputs.validator = _validate_inputs
        spec.output(
            'errors',
            valid_type=orm.Dict,
            help='RMSE, MAE and largest error: overall, by system, by structure (label), by structure and stage.',
        )
        spec.output('details', valid_type=orm.ArrayData, help='Reference and prediction, for parity plots.')
        spec.exit_code(304, 'ERROR_NO_DETAILS', message='the detail files of dp test cannot be used: {reason}')
        spec.exit_code(501, 'ERROR_PREDICTION_NOT_FINITE', message='the model predicts numbers that are not finite')

    def prepare_for_submission(self, folder: Folder) -> datastructures.CalcInfo:
        """Copy the model and write the systems."""
        potential = self.inputs.potential
        export_frames(
            self.inputs.frames, folder, 'data/test', potential.type_map,
            self.inputs.max_frames.value, self.inputs.seed.value, self.ORIGINS,
        )  # fmt: skip
        command = ['test', '-m', potential.filename, '-s', 'data/test', '-n', '0', '-d', 'detail']
        calc_info = self._calc_info(command)
        calc_info.local_copy_list = [(potential.uuid, potential.filename, potential.filename)]
        calc_info.retrieve_temporary_list = ['detail.e.out', 'detail.f.out', 'detail.v.out']
        return calc_info
