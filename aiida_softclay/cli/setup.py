"""``softclay setup``: what ``setup_profile.sh`` does once Python is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .params import YES

PROFILE = click.option('--profile', 'name', default='softclay', show_default=True, help='Name of the profile.')


def _say(line: str) -> None:
    click.echo(f'  {line}')


def _fail(exception: Any) -> None:
    click.echo(f'Error: {exception}', err=True)
    sys.exit(int(exception.status))


@click.group('setup')
def setup() -> None:
    """Make, check and remove a profile with computer, codes and potentials."""


@setup.command('configure')
@PROFILE
@click.option('--postgres', is_flag=True, help='PostgreSQL and RabbitMQ instead of SQLite and the built-in broker.')
@click.option('--db-host', default='127.0.0.1', show_default=True, help='PostgreSQL server.')
@click.option('--db-port', type=int, default=5432, show_default=True, help='Its port.')
@click.option('--db-user', default='aiida', show_default=True, help='Its user.')
@click.option('--db-password', envvar='SOFTCLAY_DB_PASSWORD', default='', help='Or set SOFTCLAY_DB_PASSWORD.')
@click.option('--db-name', help='Database, made if missing.  [default: aiida-PROFILE]')
@click.option('--broker-protocol', type=click.Choice(['amqp', 'amqps']), default='amqp', show_default=True)
@click.option('--broker-host', default='127.0.0.1', show_default=True, help='RabbitMQ server.')
@click.option('--broker-port', type=int, default=5672, show_default=True, help='Its port.')
@click.option('--broker-user', default='guest', show_default=True, help='Its user.')
@click.option('--broker-password', envvar='SOFTCLAY_BROKER_PASSWORD', default='guest', help='Its password.')
@click.option('--broker-vhost', default='', help='Its virtual host.')
@click.option('--vasp', help='Real VASP: a program, or on this machine a whole command.')
@click.option('--potcars', type=click.Path(path_type=Path), help='Your POTCAR files, for --vasp.')
@click.option('--family', default='softclay-vasp', show_default=True, help='Name of the family of --potcars.')
@click.option('--lmp', help='Your LAMMPS.')
@click.option('--dp', help='Your DeePMD-kit.')
@click.option('--analyse', help='softclay-analyse there, for trajectories too large to be retrieved.')
@click.option('--computer', help='An existing computer of the profile, instead of localhost.')
@click.option('--max-jobs', type=click.IntRange(min=1), help='Jobs at once.  [default: the number of cores]')
@click.option('--no-check', is_flag=True, help='Do not run each code once at the end.')
@click.option('--trust-minutes', type=float, default=0.0, help='Nor those that ran within this time.')
def configure(name: str, postgres: bool, no_check: bool, trust_minutes: float, **values: Any) -> None:
    """Make the profile NAME with all it needs, or complete it; then run each code once."""
    from aiida_softclay.setup.errors import SetupError
    from aiida_softclay.setup.profile import PostgresOptions
    from aiida_softclay.setup.run import Wishes, configure_profile, verify_engines

    services = {key: values.pop(key) for key in list(values) if key.startswith(('db_', 'broker_'))}
    try:
        configure_profile(name, PostgresOptions(**services) if postgres else None, Wishes(**values), _say)
        if not no_check:
            verify_engines(name, _say, trust_minutes)
    except SetupError as exception:
        _fail(exception)


@setup.command('verify')
@PROFILE
def verify(name: str) -> None:
    """Run each code of the profile once, on a task of seconds."""
    from aiida_softclay.setup.errors import SetupError
    from aiida_softclay.setup.run import verify_engines

    try:
        verify_engines(name, _say)
    except SetupError as exception:
        _fail(exception)


@setup.command('remove')
@PROFILE
@YES
def remove(name: str, yes: bool) -> None:
    """Remove the profile NAME with its data, daemon and work folder, if the setup made it."""
    from aiida_softclay.setup.errors import ExitStatus, SetupError
    from aiida_softclay.setup.marker import profile_folder
    from aiida_softclay.setup.profile import remove_profile

    try:
        folder = profile_folder(name)
        if folder.exists() and not yes:
            _check_and_ask(name, folder)
        if not remove_profile(name, _say):
            _say(f'there is no profile `{name}` to remove')
    except click.Abort:
        _fail(SetupError(ExitStatus.REFUSED, 'nothing was removed; --yes removes without asking'))
    except SetupError as exception:
        _fail(exception)


def _check_and_ask(name: str, folder: Path) -> None:
    from aiida.manage.configuration import get_config

    from aiida_softclay.setup.profile import active_processes, load, owned_profile

    running = ''
    if name in get_config().profile_names:
        owned_profile(name)
        load(name)
        active = len(active_processes())
        running = f' {active} processes have not ended.' if active else ''
    click.confirm(f'Remove profile `{name}` with all its data in {folder}?{running}', abort=True)


@setup.command('daemon')
@PROFILE
@click.argument('action', type=click.Choice(['start', 'stop']))
def daemon(name: str, action: str) -> None:
    """Start or stop the daemon of the profile NAME."""
    from aiida_softclay.setup.errors import SetupError
    from aiida_softclay.setup.profile import owned_profile, start_daemon, stop_daemon

    try:
        owned_profile(name)
        (start_daemon if action == 'start' else stop_daemon)(name, _say)
    except SetupError as exception:
        _fail(exception)
