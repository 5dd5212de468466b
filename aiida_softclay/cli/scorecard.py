"""``softclay scorecard``: our numbers beside the published ones."""

from __future__ import annotations

import click
from aiida.cmdline.utils import decorators, echo

PAPERS = ('gupta2023', 'yang2024', 'you2025', 'dai2023', 'qyang2025')


@click.command('scorecard')
@click.option('--paper', 'papers', type=click.Choice(PAPERS), multiple=True, help='Only this paper; may be repeated.')
@click.option('--computed', 'only_computed', is_flag=True, help='Only published numbers that this profile answers.')
@click.option('--reasons', 'show_reasons', is_flag=True, help='Print why a number is not comparable, and the source.')
@click.option('--json', 'style', flag_value='json', help='Write JSON.')
@click.option('--csv', 'style', flag_value='csv', help='Write CSV.')
@decorators.with_dbenv()
def scorecard(papers, only_computed, show_reasons, style):
    """Print every published number with the number of this profile that answers it best.

    \b
    Examples:
      softclay scorecard --paper gupta2023
      softclay scorecard --computed --reasons
      softclay scorecard --csv > scorecard.csv

    A number is comparable, indicative or not comparable by rules that docs/howto/scorecard.md states; what comes from a
    demo never confirms a published number.
    """  # noqa: D301 - click reads the character \b as: keep these lines
    from aiida_softclay.report.scorecard_table import scorecard as make_scorecard

    table = make_scorecard(papers or None)
    if only_computed:
        unmatched = table.attrs['unmatched']
        table = table[table['verdict'] != 'none yet'].reset_index(drop=True)
        table.attrs['unmatched'] = unmatched
    if style == 'csv':
        echo.echo(table.to_csv(index=False), nl=False)
    elif style == 'json':
        echo.echo(table.to_json(orient='records', date_format='iso', indent=2, force_ascii=False))
    else:
        print_scorecard(table, show_reasons)


def print_scorecard(table, show_reasons: bool = False) -> None:
    """Print a scorecard as a table, paper by paper."""
    from rich.table import Table

    from aiida_softclay.cli.params import wide_console
    from aiida_softclay.report.queries import format_value

    console = wide_console(180)
    for paper, rows in table.groupby('paper', sort=False):
        grid = Table(
            title=paper, title_justify='left', title_style='bold', box=None, header_style='bold', pad_edge=False
        )
        for column in ('number', 'of', 'value ± error', 'published', 'unit', 'ratio', 'verdict', '', 'scale', 'atoms',
                       'ps', 'node', 'more'):  # fmt: skip
            right = column in {'value ± error', 'published', 'ratio', 'atoms', 'ps', 'more'}
            grid.add_column(column, justify='right' if right else 'left', no_wrap=column not in {'of'})
        for row in rows.to_dict('records'):
            missing = row['verdict'] == 'none yet'
            grid.add_row(
                row['id'], row['material'],
                '' if missing else format_value(_real(row['value']), _real(row['error'])),
                {'upper': '< ', 'lower': '> '}.get(row['bound'], '') + f'{row["published_value"]:.4g}',
                row['unit'], _text(row['ratio'], '.3g'), row['verdict'], row['agreement'], row['scale'] or '',
                _text(row['n_atoms'], '.0f'), _text(row['duration_ps'], '.4g'), _text(row['results_pk'], '.0f'),
                f'+{row["n_others"]}' if row['n_others'] else '',
            )  # fmt: skip
        console.print(grid)
        if show_reasons:
            for row in rows.to_dict('records'):
                console.print(f'  {row["id"]}: "{row["printed"]}", {row["source"]}', soft_wrap=True, markup=False)
                if row['reasons']:
                    console.print(f'    {row["verdict"]}: {row["reasons"]}', soft_wrap=True, markup=False)
        console.print()
    engines = sorted({text for text in table['labels'].dropna() if text})
    if engines:
        console.print(f'Energies from: {"; ".join(engines)}.', soft_wrap=True, markup=False)
    answered = int((table['verdict'] != 'none yet').sum())
    counts = table['verdict'].value_counts()
    said = ', '.join(
        f'{counts[name]} {name}' for name in ('comparable', 'indicative', 'not comparable') if name in counts
    )
    console.print(
        f'{answered} of {len(table)} published numbers are answered{": " + said if said else ""}. '
        f'{table.attrs["unmatched"]} numbers of this profile have no published counterpart here.',
        soft_wrap=True,
    )
    if not show_reasons and answered:
        console.print('`softclay scorecard --reasons` says why, and where the published numbers stand.')


def _real(value) -> float | None:
    import math

    return None if value is None or isinstance(value, str) or not math.isfinite(value) else float(value)


def _text(value, style: str) -> str:
    number = _real(value)
    return '' if number is None else format(number, style)
