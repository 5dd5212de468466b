"""``softclay crystals``: the crystal structures at hand, and the structures the papers sample."""

from __future__ import annotations

from typing import Any

import click
from aiida.cmdline.utils import echo

from aiida_softclay.cli.params import FORMAT

SETS = ('gupta2023', 'yang2024', 'you2025', 'dai2023', 'qyang2025')


@click.command('crystals')
@click.argument('what', metavar='[FORMULA|CHEMICAL-SYSTEM]', required=False)
@click.option('--set', 'name', type=click.Choice(SETS), help='The structures of a paper instead, each one built.')
@click.option('--demo', is_flag=True, help='With --set: its small version, at most 40 atoms each.')
@click.option('--salts-only', is_flag=True, help='Leave out elements and alloys.')
@FORMAT
def crystals(what: str | None, name: str | None, demo: bool, salts_only: bool, output_format: str) -> None:
    """List the crystal structures at hand: all, those of a FORMULA (LiAlO2), or of a CHEMICAL-SYSTEM (Li-Ga-F-Cl)."""
    from aiida_softclay.structures.crystals import UnknownCrystalError, find_crystals

    if name is not None:
        if what is not None or salts_only:
            echo.echo_critical('give a formula or chemical system, or --set, not both')
        _print_set(name, demo, output_format)
        return
    if demo:
        echo.echo_critical('--demo goes with --set')
    try:
        phases = find_crystals(what, salts_only=salts_only)
    except UnknownCrystalError as error:
        echo.echo_critical(str(error))
    rows = [
        {
            'id': entry.id,
            'formula': entry.formula,
            'space group': f'{entry.symbol} ({entry.space_group})',
            'atoms': sum(entry.composition.values()) * entry.formula_units,
            'density (g/cm^3)': round(entry.density, 3),
            'confidence': entry.confidence,
            'source': entry.source,
        }
        for entry in phases
    ]
    _print_rows(rows, output_format)


def _print_set(name: str, demo: bool, output_format: str) -> None:
    """Print the structures of a paper: atoms, cells, mismatch of slabs, highest temperature and the reason for it."""
    from aiida_softclay.structures.building import make_structure
    from aiida_softclay.structures.reference_sets import describe_set
    from aiida_softclay.workflows.sampling import DEMO, layout_structures

    rows = []
    for entry in layout_structures(f'{name}{DEMO}' if demo else name, 1):
        atoms, report = make_structure(entry.kind, entry.parameters)
        mismatch = report.get('lateral_mismatch')
        rows.append(
            {
                'label': entry.label,
                'kind': entry.kind,
                'formula': atoms.get_chemical_formula(mode='metal'),
                'atoms': len(atoms),
                'cell lengths (Å)': ' × '.join(f'{value:.1f}' for value in atoms.cell.lengths()),
                'narrowest (Å)': round(float(min(report['cell_heights_A'])), 2),
                'density (g/cm^3)': round(float(report['density_g_cm3']), 3),
                'mismatch': '' if mismatch is None else f'{mismatch:.1%}',
                'Tmax (K)': round(entry.maximum_temperature_K or 0),
                'why': entry.temperature_reason,
                'flag': entry.flag,
            }
        )
    _print_rows(rows, output_format)
    if output_format != 'table':
        return
    about = describe_set(name)
    published = ', '.join(f'{number} {what}' for what, number in about['published'].items())
    echo.echo(f'\n{about["description"]}. {about["paper"]}. Published: {published}.')
    for sentence in about['missing']:
        echo.echo(f'(!) {sentence.strip()}')


def _print_rows(rows: list[dict[str, Any]], output_format: str) -> None:
    import pandas as pd

    table = pd.DataFrame(rows)
    if output_format == 'csv':
        echo.echo(table.to_csv(index=False), nl=False)
        return
    if output_format == 'json':
        echo.echo(table.to_json(orient='records', indent=2, force_ascii=False))
        return
    from rich.table import Table

    from aiida_softclay.cli.params import wide_console

    grid = Table(box=None, header_style='bold', pad_edge=False)
    for column in table.columns:
        number = pd.api.types.is_numeric_dtype(table[column])
        long = column in {'source', 'why'}
        grid.add_column(column, justify='right' if number else 'left', no_wrap=not long, overflow='fold')
    for row in rows:
        grid.add_row(*(str(value) for value in row.values()))
    wide_console(200).print(grid)
