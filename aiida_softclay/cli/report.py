"""``softclay report``: a study as one HTML page."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from aiida.cmdline.utils import decorators, echo

from aiida_softclay.cli.params import PROCESS


@click.command('report')
@PROCESS
@click.option(
    '-o', '--output', type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    help='File to write, or - for the standard output; softclay-report-PROCESS.html by default.',
)  # fmt: skip
@click.option('-f', '--force', is_flag=True, help='Replace a file that is there.')
@decorators.with_dbenv()
def report(process, output, force):
    """Write PROCESS (a pk, uuid or label) as one HTML page: figures, numbers, provenance, and how to do it again.

    \b
    Examples:
      softclay report 123
      softclay report 123 -o study.html --force

    PROCESS is a study, a stage, an experiment or an analysis. One that runs or failed gives a page of what there is.
    The page needs no network and prints to PDF from any browser.
    """  # noqa: D301 - click reads the character \b as: keep these lines
    from aiida_softclay.report.page import content_of, render_page, write_report

    try:
        if output is not None and str(output) == '-':
            # As bytes: the encoding of a terminal may know no Greek.
            sys.stdout.buffer.write(render_page(content_of(process)).encode('utf-8'))
            return
        path = output or Path(f'softclay-report-{process.pk}.html')
        size = write_report(process, path, force)
    except (ValueError, FileExistsError) as error:
        echo.echo_critical(str(error))
    except OSError as error:
        echo.echo_critical(f'{output or "the report"} cannot be written: {error}')
    echo.echo_success(f'{path} is written, {size / 1e6:.1f} MB: open it in a browser')
