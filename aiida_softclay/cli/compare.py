"""``softclay compare``: what differs between two studies."""

from __future__ import annotations

import click
from aiida.cmdline.params import arguments, types
from aiida.cmdline.utils import decorators, echo


@click.command('compare')
@arguments.PROCESS('first', type=types.ProcessParamType())
@arguments.PROCESS('second', type=types.ProcessParamType())
@click.option('-n', '--name', help='Shell-style pattern on the name of the numbers, e.g. "*diffusivity*".')
@click.option(
    '-f', '--format', 'style', type=click.Choice(['table', 'json']), default='table', show_default=True
)  # fmt: skip
@decorators.with_dbenv()
def compare(first, second, name, style):
    """Print which inputs differ between FIRST and SECOND (pks, uuids or labels), and what that did to their numbers.

    \b
    Examples:
      softclay compare 123 456
      softclay compare 123 456 --name "*conductivity*"
    """  # noqa: D301 - click reads the character \b as: keep these lines
    import fnmatch
    import json

    from aiida_softclay.report.compare import compare_studies

    found = compare_studies(first, second)
    numbers = found.numbers
    if name:
        numbers = numbers[numbers['name'].map(lambda text: fnmatch.fnmatchcase(text, name))]
    if style == 'json':
        tables = {'inputs': found.inputs, 'numbers': numbers}
        content = {key: json.loads(table.to_json(orient='records')) for key, table in tables.items()}
        echo.echo(json.dumps({**content, 'n_same_inputs': found.n_same}, indent=2, ensure_ascii=False))
        return
    print_comparison(first, second, found, numbers)


def print_comparison(first, second, found, numbers) -> None:
    """Print the tables of a comparison."""
    from rich.table import Table

    from aiida_softclay.cli.params import wide_console
    from aiida_softclay.report.queries import format_value

    console = wide_console(160)
    heads = [f'{process.process_label} <{process.pk}>' for process in (first, second)]
    if found.inputs.empty:
        console.print(f'All {found.n_same} inputs are the same.')
    else:
        grid = Table(box=None, header_style='bold', pad_edge=False)
        for column in ('input', *heads):
            grid.add_column(column, overflow='fold')
        for row in found.inputs.itertuples(index=False):
            grid.add_row(row.input, *('' if value is None else str(value) for value in (row.first, row.second)))
        console.print(grid)
        console.print(f'{len(found.inputs)} inputs differ, {found.n_same} are the same.')
    if numbers.empty:
        console.print('Neither has numbers.' if found.numbers.empty else 'No number has such a name.')
        return
    console.print()
    grid = Table(box=None, header_style='bold', pad_edge=False)
    for column in ('quantity', *heads, 'unit', 'ratio', 'difference in errors'):
        right = column not in {'quantity', 'unit'}
        grid.add_column(column, justify='right' if right else 'left', no_wrap=True)
    for row in numbers.astype(object).where(numbers.notna(), None).to_dict('records'):
        cells = [
            format_value(row[side], row[f'{side}_error']) if row[side] is not None else ''
            for side in ('first', 'second')
        ]
        grid.add_row(
            row['name'], *cells, row['unit'], '' if row['ratio'] is None else f'{row["ratio"]:.3g}',
            '' if row['errors'] is None else f'{row["errors"]:+.1f}',
        )  # fmt: skip
    console.print(grid)
