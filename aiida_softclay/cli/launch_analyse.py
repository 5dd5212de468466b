"""``softclay launch analyse``: an analysis of a trajectory as a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import echo

from aiida_softclay.cli.launching import launch_command, read_overrides


class NamedNode(click.ParamType):
    """A node for one input, written NAME=PK, or NAME=PK:FILE for a file in a remote folder."""

    name = 'name=pk[:file]'

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the name, the node and the file, which may be empty."""
        if not isinstance(value, str):
            return value
        name, equals, key = value.partition('=')
        if not (name and equals and key):
            self.fail(f'{value} is not NAME=PK', param, ctx)
        key, _, file = key.partition(':')
        return name, types.NodeParamType().convert(key, param, ctx), file


@launch_command('analyse', 'analyse')
@click.argument('analysis')
@click.argument('nodes', nargs=-1, required=True, type=NamedNode())
@click.option(
    '--parameters', type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True,
    help='YAML file with the parameters of the analysis.',
)  # fmt: skip
def analyse(analysis, nodes, parameters, protocol, overrides, options, codes):
    """Run ANALYSIS on NODES in a job, where the daemon would take too long or the data have to stay.

    NODES are NAME=PK: trajectories (or remote folders that hold one) and time series, by the names that the analysis
    gives them, for example `trajectory=123 thermo=124`. The file of a remote folder follows its PK:
    `trajectory=125:production.h5`.
    """
    from aiida import orm

    from aiida_softclay.calculations.analysis import AnalysisCalculation
    from aiida_softclay.workflows.estimate import StageEstimate

    if protocol or overrides:
        echo.echo_critical('an analysis has no protocol: its parameters are in --parameters')
    builder = AnalysisCalculation.get_builder()
    builder.code = codes['analyse']
    builder.analysis = orm.Str(analysis)
    builder.parameters = orm.Dict(read_overrides(parameters) or {})
    given = {name: node for name, node, _ in nodes}
    if len(given) < len(nodes):
        echo.echo_critical('a name is given twice')
    arrays = {name: node for name, node in given.items() if isinstance(node, orm.ArrayData)}
    builder.trajectories = {name: node for name, node in given.items() if name not in arrays}
    if files := {name: file for name, _, file in nodes if file}:
        builder.remote_files = orm.Dict(files)
    if arrays:
        builder.arrays = arrays
    for key, value in (options or {}).items():
        setattr(builder.metadata.options, key, value)
    builder.metadata.label = f'analysis {analysis}'
    atoms = max((getattr(node, 'n_atoms', 0) for node in builder.trajectories.values()), default=0)
    return builder, [StageEstimate(f'analyse:{analysis}', 1, atoms, 0, 0.0, 0, 0.0, 0.0)]
