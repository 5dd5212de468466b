"""``softclay powder``: what a diffractometer would see of crystals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from aiida.cmdline.utils import echo

from aiida_softclay.cli.params import FORMAT


@click.command('powder')
@click.argument('crystals', nargs=-1, required=True)
@click.option('--neutron', is_flag=True, help='Neutrons instead of X-rays; give --wavelength in Å.')
@click.option('--wavelength', default='CuKa1', show_default=True, help='Å, or the name of an X-ray line.')
@click.option(
    '--range', 'two_theta', type=(float, float), default=(10.0, 90.0), show_default=True, help='Angles 2θ, degrees.'
)
@click.option('--width', type=click.FloatRange(min=0, min_open=True), default=0.15, show_default=True,
              help='Full width of a reflection at half its maximum, degrees.')  # fmt: skip
@click.option('-o', '--output', type=click.Path(dir_okay=False, path_type=Path), help='Figure: png, pdf, svg.')
@click.option('--store', is_flag=True, help='Keep structures and patterns as nodes, made by calcfunctions.')
@FORMAT
def powder(
    crystals: tuple[str, ...], neutron: bool, wavelength: str, two_theta: tuple[float, float], width: float,
    output: Path | None, store: bool, output_format: str,
) -> None:  # fmt: skip
    """Print the powder patterns of CRYSTALS: ids or formulas of `softclay crystals`, or the pk of structures.

    \b
    Examples:
        softclay powder LiCl GaF3 Li3GaF6 -o phases.pdf
        softclay powder 1234 --neutron --wavelength 1.8
    """  # noqa: D301 - click reads the escape
    import pandas as pd

    from aiida_softclay.calcfunctions.powder import pattern_of

    if neutron and wavelength == 'CuKa1':
        echo.echo_critical('neutrons have no X-ray line: give their --wavelength in Å')
    options: dict[str, Any] = {
        'radiation': 'neutron' if neutron else 'x-ray', 'wavelength': _wavelength(wavelength),
        'two_theta': list(two_theta), 'width': width,
    }  # fmt: skip
    if output is not None and output.exists():
        echo.echo_critical(f'{output} exists: name another file')
    tables, curves = [], {}
    for text in crystals:
        for name, atoms, node in _crystals(text):
            try:
                pattern = pattern_of(atoms, options)
            except ValueError as error:
                echo.echo_critical(f'{name}: {error}')
            tables.append(
                pd.DataFrame({
                    'crystal': name, '2theta (degree)': pattern.two_theta.round(3),
                    'intensity': pattern.intensity.round(2), 'd (Å)': pattern.spacings.round(4),
                    'hkl': pattern.reflections,
                })
            )  # fmt: skip
            curves[name] = _stored(node, name, options) if store else _unstored(pattern, options)
    table = pd.concat(tables, ignore_index=True)
    if output_format == 'json':
        echo.echo(table.to_json(orient='records', indent=2, force_ascii=False))
    elif output_format == 'csv':
        echo.echo(table.to_csv(index=False), nl=False)
    else:
        echo.echo(table.to_string(index=False))
    if output is not None:
        _draw(curves, options, output)
        echo.echo_success(f'wrote {output}')


def _wavelength(text: str) -> float | str:
    """Return a number if it is one; names of lines are judged by what knows them."""
    try:
        return float(text)
    except ValueError:
        from pymatgen.analysis.diffraction.xrd import WAVELENGTHS

        if text not in WAVELENGTHS:
            echo.echo_critical(f'{text} is neither a number in Å nor one of {", ".join(WAVELENGTHS)}')
        return text


def _crystals(text: str) -> list[tuple[str, Any, Any]]:
    """Return name, atoms and node (None for one of the library) of what an argument stands for."""
    from aiida_softclay.structures.crystals import UnknownCrystalError, crystal, find_crystals

    if text.isdecimal():
        from aiida import orm
        from aiida.common.exceptions import NotExistent

        from aiida_softclay.cli.params import require_profile

        require_profile()
        try:
            node = orm.load_node(int(text))
        except NotExistent:
            echo.echo_critical(f'there is no node {text}')
        if not isinstance(node, orm.StructureData):
            echo.echo_critical(f'<{text}> is a {type(node).__name__}, not a structure')
        return [(f'{node.get_formula()} <{node.pk}>', node.get_ase(), node)]
    try:
        return [(entry.id, crystal(entry.id), None) for entry in find_crystals(text)]
    except UnknownCrystalError as error:
        echo.echo_critical(str(error))
        raise AssertionError from error


def _stored(node: Any, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays of the calcfunction, which keeps the crystal as well."""
    from aiida import orm

    from aiida_softclay.calcfunctions.powder import analyse_powder_pattern
    from aiida_softclay.calcfunctions.structures import build_crystal
    from aiida_softclay.cli.params import require_profile

    require_profile()
    structure = node if node is not None else build_crystal(orm.Dict({'crystal': name}))
    made, process = analyse_powder_pattern.run_get_node(structure, orm.Dict(options))
    if not process.is_finished_ok:
        echo.echo_critical(f'{name}: {process.exit_message}')
    echo.echo_report(f'{name}: pattern <{made["curve"].pk}> by <{process.pk}>')
    return {key: made['curve'].get_array(key) for key in made['curve'].get_arraynames()}


def _unstored(pattern: Any, options: dict[str, Any]) -> dict[str, Any]:
    from aiida_softclay.calcfunctions.powder import profile_of

    angles, profile = profile_of(pattern, options)
    return {'two_theta': angles, 'intensity': profile, 'reflection_two_theta': pattern.two_theta}


def _draw(curves: dict[str, Any], options: dict[str, Any], path: Path) -> None:
    from aiida_softclay.report.figures import SUFFIXES, save_panels
    from aiida_softclay.report.figures_structure import powder_lines

    if path.suffix.lower() not in SUFFIXES:
        echo.echo_critical(f'{path.name}: the picture is written as .png, .svg or .pdf')
    said = f'{options["radiation"]}, {options["wavelength"]}{"" if isinstance(options["wavelength"], str) else " Å"}'
    panels = {
        name: (None, lambda axes, _, name=name, arrays=arrays: powder_lines(axes, arrays, name))
        for name, arrays in curves.items()
    }
    save_panels(panels, path, f'{said}; kinematic intensities of crystals at rest')
