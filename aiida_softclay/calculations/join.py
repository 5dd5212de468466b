"""Join runs of which each went on from the one before, on the computer where their trajectories lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calculations.analysis import AnalysisCalculation
from aiida_softclay.calculations.convert import trajectory_file
from aiida_softclay.calculations.remote_folders import computer_problem
from aiida_softclay.data.trajectory import MdTrajectoryData


def validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Return what is wrong with the combination of inputs."""
    trajectories = inputs.get('trajectories') or {}
    if len(trajectories) < 2:
        return f'{len(trajectories)} trajectories are given: there is nothing to join'
    folders = {name: node for name, node in trajectories.items() if not isinstance(node, MdTrajectoryData)}
    return computer_problem(inputs.get('code'), folders, 'the trajectory {name} lies')


class JoinCalculation(AnalysisCalculation):
    """Write the joined trajectory of several runs to the folder of this job, by the function the daemon would call.

    The trajectory stays there as `STAGE.h5`; time series, centres and what was found at the seams come back.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outputs and exit codes."""
        super().define(spec)
        for name in ('analysis', 'parameters', 'remote_files'):
            del spec.inputs[name]
        for name in ('results', 'files', 'statistics'):
            del spec.outputs[name]
        spec.input('stage', valid_type=orm.Str, serializer=to_aiida_type, help='Stage of the runs, names the file.')
        trajectories, arrays = spec.inputs['trajectories'], spec.inputs['arrays']
        trajectories.help = '`trajectory_0000`, `trajectory_0001`, … in order: nodes, or folders that hold STAGE.h5.'
        arrays.help = '`thermo_0000`, …; where all runs have them `collective_0000`, …, `averages_0000`, ….'
        spec.inputs.validator = validate_inputs
        spec.inputs['metadata']['options']['parser_name'].default = 'softclay.join'
        spec.output('seams', valid_type=orm.Dict, required=False, help='What changes where the runs meet.')
        spec.output(
            'summary', valid_type=orm.Dict, required=False,
            help='File, bytes, frames, first and last step and content hash of the joined trajectory.',
        )  # fmt: skip

    def remote_names(self) -> dict[str, str]:
        """Return the files in the remote folders by the name of the trajectory."""
        name = trajectory_file(self.inputs.stage.value)
        return {
            key: name for key, node in self.inputs.trajectories.items() if not isinstance(node, MdTrajectoryData)
        }  # fmt: skip

    def description(self) -> dict[str, Any]:
        """Return what the program is to do, with the units and other facts that go on with the time series."""
        facts = {
            name: {key: value for key, value in node.base.attributes.all.items() if not key.startswith('array|')}
            for name, node in (self.inputs.get('arrays') or {}).items()
        }
        return {'join': self.inputs.stage.value, 'attributes': facts}
