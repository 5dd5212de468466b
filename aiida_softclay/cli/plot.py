"""``softclay plot``: the curves behind the numbers."""

from __future__ import annotations

from pathlib import Path

import click
from aiida.cmdline.utils import decorators, echo

from aiida_softclay.cli.params import PROCESS


@click.command('plot')
@PROCESS
@click.option(
    '-o', '--output', type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help='File to write (.pdf, .svg or .png); softclay-plot-PROCESS.png by default.',
)  # fmt: skip
@click.option('--panel', 'wanted', multiple=True, metavar='NAME', help='Only this panel, once for each that is wanted.')
@click.option('--list', 'listed', is_flag=True, help='Only print the names of the panels.')
@decorators.with_dbenv()
def plot(process, output, wanted, listed):
    """Plot the curves of PROCESS.

    PROCESS is a study, an experiment, a glass, a validation, an analysis (its job or its calcfunction), a reaction
    energy or a screening.
    """
    from aiida_softclay.report.figures import nothing_to_plot, panels_of, plot_curves

    if listed:
        found = panels_of(process)
        for name, (node, _) in found.items():
            echo.echo(f'{name} <{node.pk}>')
        if not found:
            echo.echo_report(nothing_to_plot(process))
        return
    path = output or Path(f'softclay-plot-{process.pk}.png')
    try:
        panels = plot_curves(process, path, wanted)
    except ValueError as error:
        echo.echo_critical(str(error))
    echo.echo_success(f'{", ".join(panels)} plotted to {path}')
