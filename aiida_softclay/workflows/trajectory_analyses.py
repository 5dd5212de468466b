"""Analyses of trajectories where these are: in the daemon, in a job, or in a job on the computer that holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiida import orm
from aiida.engine import ToContext

from aiida_softclay.calculations.analysis import AnalysisCalculation
from aiida_softclay.calculations.convert import trajectory_file
from aiida_softclay.calculations.remote_folders import FOLDERS
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.workflows.options import serial_options

#: Frames times atoms of the largest trajectory that is analysed while the daemon waits: some seconds.
LARGEST_IN_DAEMON = 100_000_000
#: What an analysis job puts before the name of a curve.
JOB_CURVES = 'arrays__'


def trajectory_of(run: orm.ProcessNode, stage: str) -> Any:
    """Return the trajectory of a stage of a run of ``softclay.md``, or of a workchain with its outputs.

    Returns
    -------
    MdTrajectoryData, RemoteData or None
        The node, or the folder on the computer that holds it as ``STAGE.h5``, or nothing.
    """
    if 'trajectories' in run.outputs and stage in run.outputs.trajectories:
        return run.outputs.trajectories[stage]
    remote = run.outputs.remote_trajectories if 'remote_trajectories' in run.outputs else None
    if remote is None or isinstance(remote, FOLDERS):
        return remote
    return remote.get(stage)


def is_large(trajectory: Any) -> bool:
    """Return whether the analysis of a trajectory would keep the daemon for more than some seconds."""
    return isinstance(trajectory, MdTrajectoryData) and trajectory.n_frames * trajectory.n_atoms > LARGEST_IN_DAEMON


def curves_of(analysis: orm.ProcessNode) -> dict[str, orm.ArrayData]:
    """Return the curves of an analysis by name, whether a calcfunction or a job made them."""
    links = analysis.base.links.get_outgoing(node_class=orm.ArrayData).all()
    return {link.link_label.removeprefix(JOB_CURVES): link.node for link in links}


class TrajectoryAnalysesMixin:
    """Start analyses of trajectories, in a workchain with the inputs of ``softclay.md``.

    A trajectory in the repository is analysed by a calcfunction, a large one by a job if there is an ``analysis_code``,
    and one that stayed on the computer by a job there. All three call the same function.
    """

    ctx: Any
    inputs: Any
    report: Any
    submit: Any

    def engine_options(self) -> dict[str, Any]:
        """Return the options of the LAMMPS jobs."""
        return self.inputs.options.get_dict() if 'options' in self.inputs else {}

    def job_options(self) -> dict[str, Any]:
        """Return the options of the jobs of the analysis code."""
        own = self.inputs.analysis_options.get_dict() if 'analysis_options' in self.inputs else None
        return serial_options(self.engine_options(), own)

    def start_analysis(
        self,
        name: str,
        function: Callable[..., Any],
        parameters: Mapping[str, Any],
        trajectory: Any,
        stage: str,
        arrays: Mapping[str, orm.ArrayData] | None = None,
    ) -> orm.ProcessNode:
        """Return the process of an analysis: a calcfunction that has run, or a job that was submitted.

        Parameters
        ----------
        name : str
            Key of :data:`~aiida_softclay.calculations.analyses.ANALYSES`.
        function : callable
            The calcfunction of this name, which takes ``trajectory``, ``parameters`` and the arrays.
        parameters : mapping
        trajectory : MdTrajectoryData, RemoteData or RemoteStashFolderData
            See :func:`trajectory_of`.
        stage : str
            Its stage, which names the file in a folder.
        arrays : mapping of str to ArrayData, optional
            Time series by the names of the function's arguments.
        """
        has_code = 'analysis_code' in self.inputs
        if isinstance(trajectory, MdTrajectoryData) and not (is_large(trajectory) and has_code):
            _, node = function.run_get_node(  # type: ignore[attr-defined]
                trajectory=trajectory, parameters=orm.Dict(dict(parameters)), **(arrays or {}),
                metadata={'call_link_label': function.__name__},
            )  # fmt: skip
            return node
        inputs: dict[str, Any] = {
            'code': self.inputs.analysis_code, 'analysis': name, 'parameters': orm.Dict(dict(parameters)),
            'trajectories': {'trajectory': trajectory}, 'arrays': dict(arrays or {}),
            'metadata': {
                'call_link_label': function.__name__, 'label': f'analysis {name}',
                'options': self.job_options(),
            },
        }  # fmt: skip
        if not isinstance(trajectory, MdTrajectoryData):
            inputs['remote_files'] = {'trajectory': trajectory_file(stage)}
        node = self.submit(AnalysisCalculation, **inputs)
        self.report(f'{name} is analysed by a job, AnalysisCalculation<{node.pk}>')
        return node

    def keep(self, **processes: orm.ProcessNode) -> ToContext | None:
        """Put processes into the context, and wait for those that have not ended."""
        running = {name: node for name, node in processes.items() if not node.is_terminated}
        for name, node in processes.items():
            if name not in running:
                self.ctx[name] = node
        return ToContext(**running) if running else None
