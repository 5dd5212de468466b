"""``softclay trace``: where a number comes from, and what a node led to."""

from __future__ import annotations

import click
from aiida.cmdline.params import arguments
from aiida.cmdline.utils import decorators, echo


@click.command('trace')
@arguments.NODE()
@click.option('-f', '--format', 'style', type=click.Choice(['table', 'json']), default='table', show_default=True)
@click.option('-a', '--all', 'everything', is_flag=True, help='One line a node, instead of one line a kind and maker.')
@click.option('-t', '--times', is_flag=True, help='Also list time series (thermo columns, learning curves).')
@click.option(
    '-F', '--forward', is_flag=True, help='What NODE led to: a crystal, frames, a potential, a study.'
)  # fmt: skip
@click.option('--newest', type=click.IntRange(1), default=5, show_default=True, help='With -F: nodes of each kind.')
@decorators.with_dbenv()
def trace(node, style, everything, times, forward, newest):
    """Print the ancestors of NODE (a results node, or a workchain that has one) back to the crystals.

    With --forward print what was made from NODE, and which studies used it.

    \b
    Examples:
      softclay trace 123                what made these numbers
      softclay trace 45 --forward       what this potential, or this crystal, led to
    """  # noqa: D301 - click reads the character \b as: keep these lines
    import json

    if forward:
        print_descendants(node, style, newest)
        return

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
    print_trace(rows, everything)


def print_trace(rows: list[dict], everything: bool = False) -> None:
    """Print the steps of a trace, those of one kind and maker in one line unless ``everything`` is asked for."""
    from rich.table import Table

    from aiida_softclay.cli.params import wide_console

    groups: dict[object, list[dict]] = {}
    for row in rows:
        key = row['pk'] if everything else (row['kind'], row['made_by'], row['engine'])
        groups.setdefault(key, []).append(row)
    console = wide_console(200)
    grid = Table(box=None, header_style='bold', pad_edge=False)
    for column in ('kind', 'nodes', 'hold', 'made by', 'engine', 'from'):
        grid.add_column(column, overflow='fold')
    for members in groups.values():
        first = members[0]
        makers = sorted({row['made_by_pk'] for row in members if row['made_by_pk'] is not None})
        sources = sorted({pk for row in members for pk in row['from']} - {row['pk'] for row in members})
        holds = list(dict.fromkeys(row['holds'] for row in members))
        grid.add_row(
            first['kind'],
            _some([row['pk'] for row in members]),
            '; '.join(_short(text) for text in holds[:3]) + ('; …' if len(holds) > 3 else ''),
            first['made_by'] + (f' <{_some(makers)}>' if makers else ''),
            first['engine'],
            _some(sources),
        )
    console.print(grid)


def print_descendants(node, style: str, newest: int) -> None:
    """Print what came of a node: how much of each kind, the newest of each, and the studies."""
    import json

    from rich.table import Table

    from aiida_softclay.cli.params import wide_console
    from aiida_softclay.report.descendants import descendants

    found = descendants(node, newest=newest)
    studies = [{'pk': pk, 'process': process, 'label': label} for pk, process, label in found.studies]
    if style == 'json':
        nodes = [
            {'depth': step.depth, 'kind': step.kind, 'pk': step.node.pk, 'uuid': step.node.uuid,
             'holds': step.description, 'engine': step.engine}
            for step in found.steps
        ]  # fmt: skip
        content = {'counts': found.counts, 'newest': nodes, 'studies': studies, 'n_studies': found.n_studies}
        echo.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    console = wide_console(160)
    if not found.counts and not studies:
        console.print(f'Nothing was made from {node.pk} yet.')
        return
    counts = ', '.join(f'{count} {kind}' for kind, count in found.counts.items())
    console.print(f'It led to: {counts or "no data yet"}.')
    grid = Table(box=None, header_style='bold', pad_edge=False)
    for column in ('kind', 'node', 'holds', 'engine', 'calculations between'):
        grid.add_column(column, overflow='fold')
    for step in found.steps:
        grid.add_row(step.kind, str(step.node.pk), _short(step.description), step.engine, str(step.depth))
    console.print(grid)
    if studies:
        names = ', '.join(f'{row["process"]} <{row["pk"]}>' for row in studies[:10])
        more = f' and {found.n_studies - 10} more' if found.n_studies > 10 else ''
        console.print(f'Used by: {names}{more}.', soft_wrap=True)


def _short(text: str, length: int = 90) -> str:
    """Return the beginning of a text; ``--format json`` has all of it."""
    return text if len(text) <= length else text[: length - 1] + '…'


def _some(values: list, count: int = 4) -> str:
    """Return the first values, and how many more there are."""
    shown = ', '.join(str(value) for value in values[:count])
    return shown + (f' +{len(values) - count}' if len(values) > count else '')
