"""``softclay screening``: which pairs of salts may become clays, from any table of computed phases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from aiida.cmdline.utils import echo

from aiida_softclay.cli.params import FORMAT

COLUMNS = ('pair', 'largest driving force', 'meV/atom', 'driving force', 'kinetics', 'ratio', 'outlook', 'published')


@click.command('screening')
@click.argument('table')
@click.argument('pairs', nargs=-1, metavar='[SALT-SALT]...')
@click.option('--molecular-solid', 'solids', multiple=True, help='Formula of a further molecular solid, once for each.')
@click.option('--without', multiple=True, metavar='ID', help='Leave a phase of the table out, to see what hangs on it.')
@click.option('--evidence', is_flag=True, help='Print what each verdict rests on, and what it cannot decide.')
@FORMAT
def screening(
    table: str,
    pairs: tuple[str, ...],
    solids: tuple[str, ...],
    without: tuple[str, ...],
    evidence: bool,
    output_format: str,
) -> None:
    """Hold pairs of salts against the three criteria for clays, by the energies in TABLE.

    TABLE is a JSON or YAML file of entries (own ones, or those of the Materials Project as mp-api gives them), or the
    pk of the table of a reaction-energy run. A pair is written LiCl-GaF3, with 3LiCl-GaF3 for a ratio; without any,
    the pairs of the papers are taken.
    """
    from aiida_softclay.analysis.reaction_energy import names_a_ratio, parse_mixture
    from aiida_softclay.analysis.screening import screen_pair, screening_table

    try:
        entries = _entries(table)
        if unknown := sorted(set(without) - {entry.id for entry in entries}):
            echo.echo_critical(f'the table has no phase with the id {", ".join(unknown)}')
        entries = tuple(entry for entry in entries if entry.id not in without)
        rows: list[Any] = []
        for text in pairs:
            moles = parse_mixture(text)
            if len(moles) != 2:
                echo.echo_critical(f'{text} is not a pair of salts: write for example LiCl-GaF3')
            (first, amount), (second, other) = moles.items()
            x = amount / other if names_a_ratio(text) else None
            rows.append(screen_pair(entries, first, second, x, solids))
        rows = rows or list(screening_table(entries, None, solids))
    except ValueError as error:
        echo.echo_critical(str(error))
    _print(rows, evidence, output_format)


def _entries(table: str) -> Any:
    from aiida_softclay.analysis.thermodynamics import load_entries, parse_entries

    if Path(table).is_file():
        return load_entries(table)
    from aiida import orm
    from aiida.common.exceptions import MultipleObjectsError, NotExistent

    from aiida_softclay.cli.params import require_profile

    require_profile()
    try:
        node = orm.load_node(table)
    except (NotExistent, MultipleObjectsError, ValueError):
        echo.echo_critical(f'{table} is neither a file nor the pk of a table')
    if not isinstance(node, orm.Dict):
        echo.echo_critical(f'{table} is a {type(node).__name__}, not the table of a reaction-energy run')
    return parse_entries(node.get_dict())


def _row(pair: Any) -> dict[str, Any]:
    # What stays as it is has no error.
    error = '' if pair.reaction is None or not pair.reaction.error else f' ± {1000 * pair.reaction.error:.1f}'
    clay = '' if pair.published is None else {True: 'clay', False: 'no clay', None: ''}[pair.published.clay]
    verdicts = {criterion.name: criterion.verdict for criterion in pair.criteria}
    return dict(zip(COLUMNS, (
        f'{pair.first}-{pair.second}',
        '' if pair.reaction is None else pair.reaction.equation,
        '' if pair.reaction is None else f'{1000 * pair.reaction.energy:.1f}{error}',
        verdicts['driving force'], verdicts['kinetics'], verdicts['ratio'], pair.outlook, clay,
    ), strict=True))  # fmt: skip


def _print(rows: list[Any], evidence: bool, output_format: str) -> None:
    import json

    if output_format == 'json':
        echo.echo(json.dumps([row.as_dict() for row in rows], indent=2, ensure_ascii=False))
        return
    if output_format == 'csv':
        import pandas as pd

        echo.echo(pd.DataFrame([_row(row) for row in rows]).to_csv(index=False), nl=False)
        return
    from rich.table import Table

    from aiida_softclay.cli.params import wide_console

    grid = Table(box=None, header_style='bold', pad_edge=False)
    for column in COLUMNS:
        grid.add_column(column, justify='right' if column == 'meV/atom' else 'left')
    for row in rows:
        grid.add_row(*(str(value) for value in _row(row).values()))
    wide_console(180).print(grid)
    for row in rows:
        if row.contradicts:
            echo.echo(f'(!) {row.contradicts}')
    if evidence:
        for row in rows:
            echo.echo(f'\n{row.first}-{row.second}: {row.phase_statement}')
            for criterion in row.criteria:
                echo.echo(f'  {criterion.name} {criterion.verdict}: {criterion.evidence}')
                echo.echo(f'    cannot: {criterion.cannot}')
        return
    if statement := next((row.phase_statement for row in rows if row.phase_statement), ''):
        about = statement if len(rows) == 1 else 'Each pair is judged against the phases of its own elements.'
        echo.echo(f'\n{about} `--evidence` prints the phases and what each verdict rests on.')
