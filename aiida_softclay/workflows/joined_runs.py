"""The production of an experiment in several runs: joined in the daemon, or by a job where the frames stayed."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_softclay.calcfunctions.continuation import continue_run
from aiida_softclay.calculations.convert import trajectory_file
from aiida_softclay.calculations.join import JoinCalculation
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.workflows.md_remote import stash_options
from aiida_softclay.workflows.trajectory_analyses import TrajectoryAnalysesMixin, trajectory_of

STAGE = 'production'
#: Outputs of a run, besides its trajectory, that hold a node for each stage.
SERIES = ('thermo', 'collective', 'averages')


class JoinedRunsMixin(TrajectoryAnalysesMixin):
    """Join runs of which each went on from the one before, in a workchain with the inputs of ``softclay.md``.

    ``ctx.joined`` holds what comes of it: ``trajectory`` (a node, or the folder in which it stayed), ``thermo``,
    ``seams`` and, where all runs have them, ``collective`` and ``averages``.
    """

    def production(self) -> tuple[Any, orm.ArrayData]:
        """Return trajectory and time series of the production so far."""
        if 'joined' in self.ctx:
            return self.ctx.joined['trajectory'], self.ctx.joined['thermo']
        return trajectory_of(self.ctx.md, STAGE), self.ctx.md.outputs.thermo[STAGE]

    def centres(self) -> orm.ArrayData | None:
        """Return the centres of the elements that the program wrote in the production so far, if it did."""
        if 'joined' in self.ctx:
            return self.ctx.joined.get('collective')
        outputs = self.ctx.md.outputs
        return outputs.collective[STAGE] if 'collective' in outputs and STAGE in outputs.collective else None

    def start_join(self, runs: list[orm.ProcessNode]) -> orm.ProcessNode:
        """Return the process that joins the runs: a calcfunction that has run, or a job where frames stayed."""
        trajectories = {f'trajectory_{index:04d}': trajectory_of(run, STAGE) for index, run in enumerate(runs)}
        series = {
            f'{name}_{index:04d}': run.outputs[name][STAGE]
            for name in SERIES
            for index, run in enumerate(runs)
            if name in run.outputs and STAGE in run.outputs[name]
        }
        if all(isinstance(node, MdTrajectoryData) for node in trajectories.values()):
            _, node = continue_run.run_get_node(**trajectories, **series, metadata={'call_link_label': 'continue_run'})
            return node
        options = self.job_options()
        if 'dump_stash' in self.inputs:
            options['stash'] = stash_options(self.inputs.dump_stash.value, [trajectory_file(STAGE)])
        node = self.submit(
            JoinCalculation, code=self.inputs.analysis_code, stage=STAGE, trajectories=trajectories, arrays=series,
            metadata={'call_link_label': 'continue_run', 'label': 'joined production', 'options': options},
        )  # fmt: skip
        self.report(f'the runs are joined where they lie, JoinCalculation<{node.pk}>')
        return node

    @staticmethod
    def joined_parts(join: orm.ProcessNode) -> dict[str, orm.Data]:
        """Return what came of joining the runs, by name."""
        if isinstance(join, orm.CalcFunctionNode):
            return {link.link_label: link.node for link in join.base.links.get_outgoing(node_class=orm.Data).all()}
        parts = {'trajectory': join.outputs.remote_folder, 'seams': join.outputs.seams, 'summary': join.outputs.summary}
        if 'remote_stash' in join.outputs:
            parts['stash'] = join.outputs.remote_stash
        return {**parts, **{name: join.outputs.arrays[name] for name in join.outputs.arrays}}

    def put_joined(self, outputs: dict[str, Any]) -> None:
        """Put the joined production in the place of that of the first run."""
        joined = self.ctx.joined
        kept = {name: node for name, node in (outputs.get('trajectories') or {}).items() if name != STAGE}
        if isinstance(joined['trajectory'], MdTrajectoryData):
            outputs['trajectories'] = {**kept, STAGE: joined['trajectory']}
        else:
            outputs['trajectories'] = kept
            outputs['remote_trajectories'], outputs['remote_summary'] = joined['trajectory'], joined['summary']
            outputs.pop('stashed_trajectories', None)
            if 'stash' in joined:
                outputs['stashed_trajectories'] = joined['stash']
            for name in ('remote_dumps', 'stashed_dumps'):
                folders = [run.outputs[name][key] for run in self.ctx.runs if name in run.outputs
                           for key in sorted(run.outputs[name])]  # fmt: skip
                outputs[name] = {f'segment_{index:04d}': folder for index, folder in enumerate(folders)}
        for name in SERIES:
            if name in outputs:
                # Columns that not every run has are not those of the whole.
                whole = {STAGE: joined[name]} if name in joined else {}
                outputs[name] = {key: node for key, node in outputs[name].items() if key != STAGE} | whole
