"""``softclay results``: the numbers of the profile as a table."""

from __future__ import annotations

import click
from aiida.cmdline.params import arguments, types
from aiida.cmdline.utils import decorators, echo


@click.command('results')
@arguments.PROCESS(type=types.ProcessParamType(), required=False)
@click.option('-n', '--name', help='Shell-style pattern on the name of the number, e.g. "diffusivity.*".')
@click.option('-m', '--mixture', help='Part of the mixture, e.g. "GaF3".')
@click.option('-c', '--composition', help='A material however it was named, 2LiCl-GaF3, or its elements, Li-Ga-F-Cl.')
@click.option(
    '--potential', type=types.DataParamType(sub_classes=('aiida.data:softclay.potential',)),
    help='Only numbers computed with this potential (pk or uuid).',
)  # fmt: skip
@click.option('-e', '--engine', help='Part of the engine, e.g. "CHGNet".')
@click.option('-T', '--temperature', nargs=2, type=float, metavar='LOW HIGH', help='Temperature range, K.')
@click.option('--since', type=click.DateTime(), help='Only numbers made after this moment.')
@click.option('--until', type=click.DateTime(), help='Only numbers made before this moment.')
@click.option('--limit', type=click.IntRange(1), default=500, show_default=True, help='Most numbers, the newest.')
@click.option('-a', '--all', 'everything', is_flag=True, help='Also numbers of workchains that are part of a study.')
@click.option(
    '-f', '--format', 'style', type=click.Choice(['table', 'csv', 'json']), default='table', show_default=True
)
@click.option('-w', '--warnings', 'show_warnings', is_flag=True, help='Print the warnings below the table.')
@decorators.with_dbenv()
def results(
    process, name, mixture, composition, potential, engine, temperature, since, until, limit, everything, style,
    show_warnings,
):  # fmt: skip
    """Print the numbers of PROCESS (a pk, uuid or label), or all numbers of the profile that pass the filters.

    \b
    Examples:
      softclay results 123 --warnings
      softclay results --name "diffusivity.*" --composition MgCl2-GaF3 --temperature 290 310
      softclay results --potential 45 --since 2026-01-01 --format csv > numbers.csv
    """  # noqa: D301 - click reads the character \b as: keep these lines
    from aiida_softclay.report.queries import results_table

    try:
        table = results_table(
            process=process, name=name, mixture=mixture, composition=composition, potential=potential, engine=engine,
            temperature=temperature, since=since, until=until, everything=everything, limit=limit,
        )  # fmt: skip
    except ValueError as error:
        echo.echo_critical(str(error))
    if process is not None and table.empty:
        state = process.process_state.value if getattr(process, 'process_state', None) else 'no process'
        echo.echo_critical(f'{process} has no results: it is {state}. `softclay status {process.pk}` tells more.')
    if style == 'csv':
        echo.echo(table.to_csv(index=False), nl=False)
    elif style == 'json':
        echo.echo(table.to_json(orient='records', date_format='iso', indent=2))
    else:
        print_table(table, show_warnings)
    left_out = table.attrs['found'] - len(table)
    if left_out:
        echo.echo_report(f'{left_out} older numbers are left out: --limit sets how many are shown', err=True)


def print_table(table, show_warnings: bool = False) -> None:
    """Print a table of numbers with their units, errors and warnings."""
    from rich.table import Table

    from aiida_softclay.cli.params import wide_console
    from aiida_softclay.report.queries import format_value

    console = wide_console()
    if table.empty:
        console.print('No numbers yet. `softclay launch study 2LiCl-GaF3` makes some.')
        return
    with_process = table['process_pk'].nunique() > 1
    grid = Table(box=None, header_style='bold', pad_edge=False)
    columns = ['quantity', 'value ± error', 'unit', 'T (K)', 'atoms', 'node', '']
    if with_process:
        columns.insert(0, 'process')
    for column in columns:
        right = column in {'value ± error', 'T (K)', 'atoms'}
        grid.add_column(column, justify='right' if right else 'left', no_wrap=column != 'process')
    for row in table.to_dict('records'):
        cells = [
            row['name'],
            format_value(_number(row['value']), _number(row['error'])),
            row['unit'],
            '' if _number(row['temperature_K']) is None else f'{row["temperature_K"]:.0f}',
            '' if _number(row['n_atoms']) is None else f'{row["n_atoms"]:.0f}',
            str(row['results_pk']),
            '(!)' if row['warnings'] else '',
        ]
        if with_process:
            cells.insert(0, f'{row["process"]} <{row["process_pk"]}>')
        grid.add_row(*cells)
    console.print(grid)
    # What is not recorded is NaN beside rows that record it.
    said = table[['mixture', 'engine', 'protocol']].fillna('').drop_duplicates()
    for mixture, engine, protocol in said.itertuples(index=False):
        known = [
            f'{key} {value}'
            for key, value in (('mixture', mixture), ('protocol', protocol), ('engine', engine))
            if value
        ]
        if known:
            console.print('Computed with: ' + ', '.join(known), soft_wrap=True)
    flagged = table[table['warnings'] != '']
    if flagged.empty:
        return
    if not show_warnings:
        console.print(f'(!) {len(flagged)} numbers carry warnings; `softclay results … --warnings` prints them.')
        return
    names: dict[str, list[str]] = {}
    for row in flagged.to_dict('records'):
        for sentence in row['warnings'].split('; '):
            names.setdefault(sentence, []).append(row['name'])
    for sentence, carriers in names.items():
        console.print(f'(!) {", ".join(carriers)}: {sentence}', soft_wrap=True)


def _number(value) -> float | None:
    """Return a finite float or ``None``: pandas turns missing numbers into nan."""
    import math

    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return float(value)
