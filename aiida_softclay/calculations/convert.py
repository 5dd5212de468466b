"""Turn raw LAMMPS dumps into trajectory files on the computer where they lie, for runs too large to be retrieved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import datastructures
from aiida.common.folders import Folder
from aiida.engine import CalcJob
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calculations.analysis_program import JOB_FILE, define_program, program_job
from aiida_softclay.calculations.caching import ReuseOnlySuccess
from aiida_softclay.calculations.lammps import structure_symbols, validate_plan, validate_structure
from aiida_softclay.calculations.remote_folders import FOLDERS, computer_problem, folder_path


def trajectory_file(stage: str) -> str:
    """Return the name of the trajectory file of a stage in the folder of the conversion."""
    return f'{stage}.h5'


def validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Return what is wrong with the folders."""
    if not inputs.get('segments'):
        return 'segments holds no folder: give those of the LAMMPS jobs, in the order of their names'
    return computer_problem(inputs.get('code'), inputs['segments'], 'the dumps of {name} lie')


class ConvertCalculation(ReuseOnlySuccess, CalcJob):
    """Write the trajectory of every stage, joined over the jobs of the run, to the folder of this job.

    The files stay there: `remote_folder` is what analysis jobs take as a trajectory, with `STAGE.h5` as the file.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outputs and exit codes."""
        super().define(spec)
        spec.input('plan', valid_type=orm.Dict, serializer=to_aiida_type, validator=validate_plan, help='Of the run.')
        spec.input('structure', valid_type=orm.StructureData, validator=validate_structure, help='Of the run.')
        spec.input('engine', valid_type=orm.Dict, serializer=to_aiida_type, help='`statistics.engine` of the run.')
        spec.input_namespace(
            'segments',
            valid_type=FOLDERS,
            dynamic=True,
            help='Folders of its jobs, or those in which their dumps were kept, in the order of their names.',
        )
        spec.inputs.validator = validate_inputs
        define_program(spec, 'softclay.convert')
        spec.output(
            'summary', valid_type=orm.Dict, required=False,
            help='For each stage: file, bytes, frames, first and last step, content hash.',
        )  # fmt: skip
        spec.exit_code(510, 'ERROR_CONVERSION', message='{reason}')

    def prepare_for_submission(self, folder: Folder) -> datastructures.CalcInfo:
        """Write the job and link the folders of the run."""
        names = sorted(self.inputs.segments)
        folders = {name: self.inputs.segments[name] for name in names}
        linked = [(node.computer.uuid, str(folder_path(node)), name) for name, node in folders.items()]
        job = {
            'convert': names, 'plan': self.inputs.plan.get_dict(), 'engine': self.inputs.engine.get_dict(),
            'symbols': structure_symbols(self.inputs.structure),
        }  # fmt: skip
        calc_info = program_job(folder, self.inputs.code, job)
        calc_info.remote_symlink_list = linked
        calc_info.provenance_exclude_list = [JOB_FILE]
        return calc_info
