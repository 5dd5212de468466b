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
    help='File to write (.png, .svg or .pdf); softclay-plot-PROCESS.png by default.',
)  # fmt: skip
@decorators.with_dbenv()
def plot(process, output):
    """Plot the curves of PROCESS: a study, an experiment, a validation, or a glass with its cell."""
    from aiida_softclay.report.figures import plot_curves

    path = output or Path(f'softclay-plot-{process.pk}.png')
    try:
        panels = plot_curves(process, path)
    except ValueError as error:
        echo.echo_critical(str(error))
    echo.echo_success(f'{", ".join(panels)} plotted to {path}')
