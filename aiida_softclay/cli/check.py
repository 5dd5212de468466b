"""``softclay check``: is everything there and running, and if not, what to type."""

from __future__ import annotations

import sys

import click
from aiida.cmdline.utils.decorators import with_dbenv

from .params import require_profile

MARKS = {'ok': '[green]ok[/green]', 'warning': '[yellow]warning[/yellow]', 'failure': '[red]FAILURE[/red]'}


@click.command('check')
@click.option('--quick', is_flag=True, help='Do not run each code once.')
def check(quick: bool) -> None:
    """Check profile, daemon, processes, disk, potentials and codes; say what to type where something is wrong.

    The exit status is 1 if anything is found that keeps calculations from running.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    require_profile()
    findings = _examine(quick)
    console = Console()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style='bold')
    table.add_column()
    table.add_column(overflow='fold')
    for finding in findings:
        table.add_row(finding.subject, MARKS[finding.status], escape(finding.message))
    console.print(table)
    for finding in findings:
        if finding.status != 'ok' and finding.remedy:
            # Plain text on a line of its own: a command must survive copying from a narrow terminal.
            click.echo(f'-> {finding.subject}: {finding.remedy}')
    if any(finding.status == 'failure' for finding in findings):
        sys.exit(1)


@with_dbenv()
def _examine(quick: bool) -> list:
    from aiida_softclay.setup.health import examine

    return list(examine(run_codes=not quick))
