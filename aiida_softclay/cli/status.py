"""``softclay status``: how far a study is."""

from __future__ import annotations

import time

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import decorators

from aiida_softclay.cli.params import wide_console


@click.command('status')
@click.argument('process', type=types.ProcessParamType(), required=False)
@click.option('-f', '--follow', is_flag=True, help='Refresh until the process has ended.')
@click.option(
    '-i',
    '--interval',
    type=click.FloatRange(min=0.5),
    default=5.0,
    show_default=True,
    help='Seconds between refreshes.',
)
@click.option('-c', '--calcfunctions', is_flag=True, help='List calcfunctions too.')
@decorators.with_dbenv()
def status(process, follow, interval, calcfunctions):
    """Print the stages of PROCESS (a pk, uuid or label), with steps done, rate and time left of running jobs.

    Without PROCESS, list what was launched: all that has not ended, and the newest of what has.
    """
    console = wide_console()
    if process is None:
        if follow:
            raise click.UsageError('name the process to follow: `softclay status` lists them')
        print_latest(console)
        return
    if follow:
        follow_process(process, console, interval, calcfunctions)
    else:
        console.print(render(process, calcfunctions))
    hint = advice(process)
    if hint:
        console.print(hint, soft_wrap=True)


def print_latest(console) -> None:
    """Print what was launched, newest first, and what to type to see more of it."""
    from rich.table import Table
    from rich.text import Text

    from aiida_softclay.report.progress import latest_runs, state_text

    nodes = latest_runs()
    if not nodes:
        console.print('nothing was launched in this profile yet: `softclay launch --help` lists what can be')
        return
    grid = Table(box=None, header_style='bold', pad_edge=False)
    for column in ('pk', 'process', 'label', 'launched', 'state'):
        grid.add_column(column, justify='right' if column == 'pk' else 'left')
    for node in nodes:
        launched = node.ctime.astimezone().strftime('%Y-%m-%d %H:%M')
        grid.add_row(str(node.pk), node.process_label, Text(node.label), launched, Text(state_text(node)))
    console.print(grid)
    console.print(f'`softclay status {nodes[0].pk}` shows the stages of the first.')


def follow_process(node, console, interval: float = 5.0, calcfunctions: bool = False) -> None:
    """Show the progress of ``node`` until it has ended: a live picture on a terminal, one line a change elsewhere."""
    from rich.live import Live

    if console.is_terminal:
        with Live(render(node, calcfunctions), console=console, refresh_per_second=2) as live:
            while not node.is_terminated:
                began = time.process_time()
                live.update(render(node, calcfunctions))
                rest(node, interval, time.process_time() - began)
            live.update(render(node, calcfunctions))
        return
    seen: dict[int, str] = {}
    while True:
        ended, began = node.is_terminated, time.process_time()
        print_changes(node, console, seen)
        if ended:
            return
        rest(node, interval, time.process_time() - began)


def rest(node, interval: float, cost: float) -> None:
    """Wait between two looks at a process, no longer than it runs.

    Looking at hundreds of processes takes a second of the processor that the study may need itself: the longer it took,
    the longer is the wait, so that following costs a thirtieth of a core at most.
    """
    end = time.monotonic() + max(interval, 30 * cost)
    while True:
        time.sleep(max(0.0, min(interval, end - time.monotonic())))
        if time.monotonic() >= end or node.is_terminated:
            return


def print_changes(node, console, seen: dict[int, str]) -> None:
    """Print one line for every process whose state is not the one in ``seen``."""
    from aiida_softclay.report.progress import process_tree, state_text

    for line in process_tree(node, with_progress=False):
        state = state_text(line.node)
        if seen.get(line.node.pk) != state:
            seen[line.node.pk] = state
            stamp = time.strftime('%H:%M:%S')
            name = ' '.join(part for part in (line.node.process_label, line.label) if part)
            console.print(
                f'{stamp} {"  " * line.depth}{name} <{line.node.pk}>: {state}',
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def render(node, calcfunctions: bool = False):
    """Return the table of the processes under ``node``."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from aiida_softclay.report.progress import process_tree, state_text

    grid = Table(box=None, header_style='bold', pad_edge=False)
    for column in ('process', 'pk', 'state', 'progress', 'steps', 'rate', 'left'):
        grid.add_column(column, justify='right' if column in {'pk', 'steps', 'rate', 'left'} else 'left')
    try:
        lines = process_tree(node, calcfunctions=calcfunctions)
    except OSError:
        lines = process_tree(node, with_progress=False, calcfunctions=calcfunctions)
    for line in lines:
        name = '  ' * line.depth + (line.label or line.node.process_label or '')
        cells = ['', '', '', '']
        if line.progress is not None:
            progress = line.progress
            cells = [
                ProgressBar(total=1.0, completed=progress.fraction, width=20),
                f'{progress.done} / {progress.total} {progress.unit}',
                f'{progress.rate:.1f}/s' if progress.rate else '',
                duration_text(progress.seconds_left),
            ]
        grid.add_row(Text(name), str(line.node.pk), Text(state_text(line.node)), *cells)
    return grid


def duration_text(seconds: float | None) -> str:
    """Return a duration for people.

    >>> duration_text(75)
    '1 min 15 s'
    """
    if seconds is None:
        return ''
    total = round(seconds)
    if total < 60:
        return f'{total} s'
    if total < 3600:
        return f'{total // 60} min {total % 60} s'
    return f'{total // 3600} h {total % 3600 // 60} min'


def advice(node) -> str | None:
    """Return what to type when a process cannot go on by itself, or ``None``."""
    from aiida.engine.daemon.client import get_daemon_client

    from aiida_softclay.report.progress import ended_with_warning
    from aiida_softclay.setup.broker import start_command

    if node.is_terminated:
        if node.is_finished_ok:
            return f'`softclay results {node.pk}` prints its numbers.'
        if ended_with_warning(node):
            return (
                f'`softclay results {node.pk}` prints the numbers that there are; '
                f'`verdi process report {node.pk}` tells what was in the way of the others.'
            )
        return f'`verdi process report {node.pk}` tells the story; launch it again and all that had finished is reused.'
    if getattr(node, 'paused', False):
        return f'It is paused: `verdi process play {node.pk}` lets it go on.'
    client = get_daemon_client()
    if not client.is_daemon_running:
        start = start_command(client.profile)
        return f'The daemon is not running, so nothing moves: `{start}` lets it go on where it was.'
    return None
