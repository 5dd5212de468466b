"""An analysis of trajectories as a job: for what is too much for the daemon, or must stay on the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from aiida import orm
from aiida.common import datastructures
from aiida.common.folders import Folder
from aiida.engine import CalcJob
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calculations.analyses import ANALYSES, find_analysis
from aiida_softclay.calculations.analysis_program import define_program, program_job
from aiida_softclay.calculations.caching import ReuseOnlySuccess
from aiida_softclay.calculations.remote_folders import FOLDERS, computer_problem, folder_path
from aiida_softclay.data.trajectory import MdTrajectoryData


def validate_analysis(node: orm.Str, _: Any) -> str | None:
    """Return a sentence if there is no such analysis."""
    return None if node.value in ANALYSES else f'there is no analysis {node.value!r}: choose from {", ".join(ANALYSES)}'


def validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Return what is wrong with the combination of inputs."""
    if 'analysis' not in inputs or inputs['analysis'].value not in ANALYSES:
        return None
    trajectories = inputs.get('trajectories') or {}
    problem = find_analysis(inputs['analysis'].value).problem(set(trajectories), set(inputs.get('arrays') or {}))
    if problem:
        return problem
    files = inputs['remote_files'].get_dict() if 'remote_files' in inputs else {}
    if unknown := sorted(set(files) - set(trajectories)):
        return f'remote_files names {", ".join(unknown)}, which is no trajectory of this job'
    for name, node in trajectories.items():
        if isinstance(node, MdTrajectoryData):
            if name in files:
                return f'remote_files names {name}, but that trajectory is a node of its own'
            continue
        if problem := computer_problem(inputs.get('code'), {name: node}, 'the trajectory {name} lies'):
            return problem
        path = PurePosixPath(str(files.get(name, MdTrajectoryData.FILE_NAME)))
        if path.is_absolute() or '..' in path.parts:
            return f'remote_files.{name} is {path}: give a path below the remote folder'
    return None


class AnalysisCalculation(ReuseOnlySuccess, CalcJob):
    """Run one of the analyses in a job, by the same function that the daemon would call.

    A trajectory is a node, which is copied into the job, or a remote folder on the same computer, whose file is read
    where it lies.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outputs and exit codes."""
        super().define(spec)
        spec.input(
            'analysis', valid_type=orm.Str, serializer=to_aiida_type, validator=validate_analysis,
            help=f'One of {", ".join(ANALYSES)}.',
        )  # fmt: skip
        spec.input('parameters', valid_type=orm.Dict, serializer=to_aiida_type, help='Parameters of that analysis.')
        spec.input_namespace(
            'trajectories', valid_type=(MdTrajectoryData, *FOLDERS), dynamic=True,
            help='Its trajectories by name: nodes, or folders that hold a trajectory file.',
        )  # fmt: skip
        spec.input(
            'remote_files', valid_type=orm.Dict, serializer=to_aiida_type, required=False,
            help=f'Files in the remote folders by name of the trajectory; {MdTrajectoryData.FILE_NAME} if not given.',
        )  # fmt: skip
        spec.input_namespace(
            'arrays', valid_type=orm.ArrayData, dynamic=True, required=False, help='Its time series by name.'
        )
        spec.inputs.validator = validate_inputs
        define_program(spec, 'softclay.analysis')
        spec.output('results', valid_type=orm.Dict, required=False, help='The numbers, in the results schema.')
        spec.output_namespace('arrays', valid_type=orm.ArrayData, dynamic=True, required=False, help='Its curves.')
        spec.output_namespace(
            'files', valid_type=orm.SinglefileData, dynamic=True, required=False, help='Its files, such as cubes.'
        )
        spec.output('statistics', valid_type=orm.Dict, required=False, help='Time, memory and versions.')
        spec.exit_code(510, 'ERROR_ANALYSIS', message='{reason}')

    def remote_names(self) -> dict[str, str]:
        """Return the files in the remote folders by the name of the trajectory."""
        return self.inputs.remote_files.get_dict() if 'remote_files' in self.inputs else {}

    def description(self) -> dict[str, Any]:
        """Return what the program is to do with its trajectories and arrays."""
        return {'analysis': self.inputs.analysis.value, 'parameters': self.inputs.parameters.get_dict()}

    def prepare_for_submission(self, folder: Folder) -> datastructures.CalcInfo:
        """Write the job and say where the trajectories are."""
        copied, linked, files = [], [], {}
        remote = self.remote_names()
        for name, node in self.inputs.trajectories.items():
            files[name] = f'trajectory_{name}.h5'
            if isinstance(node, MdTrajectoryData):
                copied.append((node.uuid, node.FILE_NAME, files[name]))
            else:
                path = folder_path(node) / str(remote.get(name, MdTrajectoryData.FILE_NAME))
                linked.append((node.computer.uuid, str(path), files[name]))
        arrays = {}
        for name, node in (self.inputs.get('arrays') or {}).items():
            arrays[name] = f'arrays_{name}.npz'
            with folder.open(arrays[name], 'wb') as handle:
                np.savez(handle, **{key: node.get_array(key) for key in node.get_arraynames()})
        job = {**self.description(), 'trajectories': files, 'arrays': arrays}
        calc_info = program_job(folder, self.inputs.code, job)
        calc_info.local_copy_list = copied
        calc_info.remote_symlink_list = linked
        # A trajectory is a node already: it is not stored again among the inputs of the job.
        calc_info.provenance_exclude_list = [target for _, _, target in copied]
        calc_info.retrieve_temporary_list = ['output_*']
        return calc_info
