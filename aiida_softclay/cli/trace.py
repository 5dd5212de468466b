"""``softclay trace``: where a number comes from."""

from __future__ import annotations

import click
from aiida.cmdline.params import arguments
from aiida.cmdline.utils import decorators, echo


@click.command('trace')
@arguments.NODE()
@click.option('-f', '--format', 'style', type=click.Choice(['table', 'json']), default='table', show_default=True)
@click.option('-t', '--times', is_flag=True, help='Also list time series (thermo columns, learning curves).')
@decorators.with_dbenv()
def trace(node, style, times):
    """Print the ancestors of NODE (a results node, or a workchain that has one) back to the crystals."""
    import json

    from aiida_softclay.report.provenance import trace as trace_node

    try:
        steps = trace_node(node)
    except ValueError as error:
        echo.echo_critical(str(error))
    if not times:
        steps = [step for step in steps if step.kind != 'time series' or step.depth == 0]
    rows = [
        {
            'depth': step.depth,
            'kind': step.kind,
            'pk': step.node.pk,
            'uuid': step.node.uuid,
            'holds': step.description,
            'made_by': step.maker.process_label if step.maker is not None else 'given',
            'made_by_pk': step.maker.pk if step.maker is not None else None,
            'engine': step.engine,
            'from': step.parents,
        }
        for step in steps
    ]
    if style == 'json':
        echo.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, header_style='bold', pad_edge=False)
    for column in ('kind', 'node', 'holds', 'made by', 'engine', 'from'):
        grid.add_column(column, overflow='fold')
    for row in rows:
        maker = row['made_by'] + (f' <{row["made_by_pk"]}>' if row['made_by_pk'] is not None else '')
        sources = ', '.join(str(pk) for pk in row['from'])
        grid.add_row(row['kind'], str(row['pk']), row['holds'], maker, row['engine'], sources)
    Console().print(grid)
