"""Turn the checkpoint of a training into a model file with ``dp freeze``."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import datastructures
from aiida.common.folders import Folder
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.data.potential import PotentialData

from .dp_base import DpCalculation, checkpoint_copies, model_filename


class DpFreezeCalculation(DpCalculation):
    """Write the network of a checkpoint as one file that LAMMPS and ASE read."""

    _STEP = 'freeze'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs and outputs."""
        super().define(spec)
        spec.input('parent_folder', valid_type=orm.RemoteData, help='Remote folder of the training.')
        spec.input(
            'checkpoint', valid_type=orm.Str, required=False, serializer=to_aiida_type,
            help='Name of the checkpoint, as in the statistics of the training; by default the latest.',
        )  # fmt: skip
        spec.input(
            'parameters', valid_type=orm.Dict, required=False,
            help='Input of the training: type map, cutoff and seed of the potential are recorded from it.',
        )  # fmt: skip
        spec.output('potential', valid_type=PotentialData, help='The model, not compressed.')

    def prepare_for_submission(self, folder: Folder) -> datastructures.CalcInfo:
        """Copy the checkpoint and freeze it."""
        checkpoint = self.inputs.checkpoint.value if 'checkpoint' in self.inputs else 'model.ckpt'
        model = model_filename(self.inputs.backend.value)
        where = ['-c', checkpoint] if 'checkpoint' in self.inputs else []
        calc_info = self._calc_info(['freeze', '-o', model, *where])
        calc_info.remote_copy_list = checkpoint_copies(self.inputs.parent_folder, checkpoint)
        calc_info.retrieve_temporary_list = [model]
        return calc_info
