"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Any

import click
from aiida.cmdline.params import arguments, types

#: A process by its key, UUID or label.
PROCESS = arguments.PROCESS(type=types.ProcessParamType())

#: How a table is written.
FORMAT = click.option(
    '--format',
    'output_format',
    type=click.Choice(['table', 'csv', 'json']),
    default='table',
    show_default=True,
    help='How the table is written.',
)

YES = click.option('--yes', '-y', is_flag=True, help='Do not ask.')


def require_profile() -> str:
    """Return the name of the loaded profile; end the command with a sentence if there is none."""
    from aiida.cmdline.utils import echo
    from aiida.manage import get_manager

    profile = get_manager().get_profile()
    if profile is None:
        echo.echo_critical('no profile is loaded: make one with `./setup_profile.sh`, or name yours with `-p NAME`')
    return profile.name


def wide_console(width: int = 140) -> Any:
    """Return a rich console as wide as the terminal; a pipe has no width, and cutting at 80 columns helps nobody."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=width)
