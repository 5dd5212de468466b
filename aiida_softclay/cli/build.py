"""``softclay build``: the cell a glass starts from, as a file or a node, without running anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from aiida.cmdline.utils import decorators, echo

from aiida_softclay.cli.params import FORMAT

STARTS = ('particles', 'polycrystal', 'oligomers', 'framework', 'substitution', 'random')
#: Order in which starts are tried where none is named: what the papers made of such a material.
PREFERENCE = ('particles', 'polycrystal', 'framework', 'oligomers', 'substitution')


class Triple(click.ParamType):
    """Three whole numbers, written 3x3x3 or 3,3,3."""

    name = '3x3x3'

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the three numbers as a list."""
        if not isinstance(value, str):
            return value
        parts = re.split(r'[x×,]', value)
        if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) for part in parts):
            self.fail(f'{value} is not three positive whole numbers such as 3x3x3', param, ctx)
        return [int(part) for part in parts]


@click.command('build')
@click.argument('material')
@click.option('--start', type=click.Choice(STARTS), help='How the cell is made; what the papers did by default.')
@click.option('-N', '--n-atoms', type=click.IntRange(min=1), help='Wanted number of atoms, before --expand.')
@click.option('--seed', type=click.IntRange(min=0), default=1, show_default=True)
@click.option('--expand', type=Triple(), help='Copies along the three vectors.')
@click.option('--density', 'density_g_cm3', type=click.FloatRange(min=0, min_open=True), help='g/cm³, of molecules.')
@click.option('--cations', help='Cation where MATERIAL names none: Li, Na or K.')
@click.option('-o', '--output', type=click.Path(dir_okay=False, path_type=Path), help='File, format by its ending.')
@click.option('--picture', type=click.Path(dir_okay=False, path_type=Path), help='Picture of the cell: png, pdf, svg.')
@click.option('--store', is_flag=True, help='Keep it as a node, made by a calcfunction.')
@FORMAT
def build(
    material: str, start: str | None, output: Path | None, picture: Path | None, store: bool, output_format: str,
    **settings: Any,
) -> None:  # fmt: skip
    """Build the cell a glass of MATERIAL starts from and print how it was made.

    MATERIAL is salts (2LiCl-GaF3), one salt (MgCl2), molecules (Li3Al3O2Cl8, LAOC0.3b) or a composition
    (LiAlO0.75Cl2.5). `softclay launch amorphous` makes the glass of it.
    """
    chosen = {name: value for name, value in settings.items() if value is not None}
    if output is not None and output.exists():
        echo.echo_critical(f'{output} exists: name another file')
    try:
        start = start or _guess(material, chosen)
        if start != 'substitution':
            chosen.setdefault('n_atoms', {'polycrystal': 408, 'framework': 128, 'oligomers': 128}.get(start, 320))
        node = None
        if store:
            node, atoms, report = _stored(start, material, chosen)
        else:
            from aiida_softclay.structures.starts import make_start

            atoms, report = make_start(start, material, chosen)
    except ValueError as error:
        echo.echo_critical(str(error))
    _print_report(report, output_format)
    if output is not None:
        _write(atoms, output)
    if picture is not None:
        _draw(atoms, picture, report)
    if node is not None:
        echo.echo_success(f'StructureData <{node.pk}>: `softclay launch amorphous {material} --structure {node.pk}`')


def _guess(material: str, settings: dict[str, Any]) -> str:
    """Return the first start that takes the material."""
    from aiida_softclay.structures.starts import start_material

    reasons = []
    for name in PREFERENCE:
        try:
            start_material(
                name, material, {'n_atoms': 100_000, **{k: settings[k] for k in ('cations',) if k in settings}}
            )
        except ValueError as error:
            reasons.append(str(error))
        else:
            return name
    raise ValueError(reasons[0])


@decorators.with_dbenv()
def _stored(start: str, material: str, settings: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return the node of a cell, its atoms and its report."""
    from aiida import orm

    from aiida_softclay.calcfunctions.structures import build_start_cell

    made = build_start_cell(orm.Dict({'start': start, 'material': material, **settings}))
    return made['structure'], made['structure'].get_ase(), made['report'].get_dict()


def _print_report(report: dict[str, Any], output_format: str) -> None:
    """Print what a person wants to know of a cell, or all of it."""
    import json

    if output_format == 'json':
        echo.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    rows = {name: value for name, value in report.items() if not isinstance(value, list | dict) or name == 'expand'}
    if output_format == 'csv':
        import pandas as pd

        echo.echo(pd.DataFrame(rows.items(), columns=['quantity', 'value']).to_csv(index=False), nl=False)
        return
    from rich.table import Table

    from aiida_softclay.cli.params import wide_console

    grid = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows.items():
        grid.add_row(name, f'{value:.6g}' if isinstance(value, float) else str(value))
    wide_console(120).print(grid)
    for sentence in report.get('warnings', ()):
        echo.echo_warning(sentence)


def _write(atoms: Any, output: Path) -> None:
    """Write a cell; end the command with a sentence if that cannot be done."""
    import ase.io
    from ase.io.formats import UnknownFileTypeError

    try:
        ase.io.write(output, atoms)
    except (UnknownFileTypeError, OSError, ValueError) as error:
        echo.echo_critical(f'{output} cannot be written: {error or "the ending names no format; try .cif or .xyz"}')
    echo.echo_success(f'written to {output}')


def _draw(atoms: Any, picture: Path, report: dict[str, Any]) -> None:
    """Draw a cell, coloured by grain where it has grains; end the command with a sentence if that cannot be done."""
    from aiida_softclay.analysis.cell_picture import draw_cell, save_picture

    grains = atoms.arrays.get('grain')
    classes = {} if grains is None else {'classes': grains, 'class_name': 'grain'}
    try:
        save_picture(draw_cell(atoms, title=str(report['material']), **classes), picture, picture.suffix.lstrip('.'))
    except (OSError, ValueError) as error:
        echo.echo_critical(f'{picture} cannot be drawn: {error}')
    echo.echo_success(f'drawn to {picture}')
