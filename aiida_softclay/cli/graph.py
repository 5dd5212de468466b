"""``softclay graph``: the provenance as a picture."""

from __future__ import annotations

from pathlib import Path

import click
from aiida.cmdline.params import arguments
from aiida.cmdline.utils import decorators, echo


@click.command('graph')
@arguments.NODE()
@click.option(
    '-o', '--output', type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help='File to write (.png, .svg or .pdf); softclay-graph-NODE.png by default.',
)  # fmt: skip
@click.option(
    '--max-nodes', type=click.IntRange(2, 2000), default=80, show_default=True, help='Draw at most this many.'
)
@decorators.with_dbenv()
def graph(node, output, max_nodes):
    """Draw the ancestors of NODE (a results node, or a workchain that has one) back to the crystals."""
    from aiida_softclay.report.graph import draw_graph

    path = output or Path(f'softclay-graph-{node.pk}.png')
    try:
        count = draw_graph(node, path, max_nodes)
    except ValueError as error:
        echo.echo_critical(str(error))
    echo.echo_success(f'{count} nodes drawn to {path}')
