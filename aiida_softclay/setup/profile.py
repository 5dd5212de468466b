"""Make, configure and remove the AiiDA profile; never one that was made by somebody else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .broker import clear_broker_leftover
from .errors import ExitStatus, SetupError
from .marker import Marker, config_folder, profile_folder

if TYPE_CHECKING:
    from aiida.manage.configuration import Config, Profile

Say = Callable[[str], None]

#: Options of the profile and the reason for each.
PROFILE_OPTIONS: dict[str, Any] = {
    'daemon.timeout': 30,  # with the default of 2 s a restart on a busy machine fails and leaves the daemon stopped
    'runner.poll.interval': 1,  # the fallback when a message was lost: a minute's wait per step otherwise
    'caching.default_enabled': True,  # a study that is launched again reuses what was computed
    'warnings.showdeprecations': False,
    'warnings.rabbitmq_version': False,
}


@dataclass(frozen=True)
class PostgresOptions:
    """Where the PostgreSQL server and the RabbitMQ server of a profile are."""

    db_host: str = '127.0.0.1'
    db_port: int = 5432
    db_user: str = 'aiida'
    db_password: str = ''
    db_name: str | None = None
    broker_protocol: str = 'amqp'
    broker_host: str = '127.0.0.1'
    broker_port: int = 5672
    broker_user: str = 'guest'
    broker_password: str = 'guest'  # noqa: S105 - RabbitMQ's own default, valid from localhost only
    broker_vhost: str = ''


def load(name: str) -> Profile:
    """Load the profile ``name``, whatever profile was loaded before."""
    from aiida.manage.configuration import load_profile

    return load_profile(name, allow_switch=True)


def owned_profile(name: str) -> tuple[Marker, Profile]:
    """Return marker and profile of a profile that the setup made.

    Raises
    ------
    SetupError
        If there is no such profile, or it was made by somebody else.
    """
    config = _config()
    marker = Marker.load(name)
    if name not in config.profile_names:
        raise SetupError(ExitStatus.PROFILE, f'there is no profile `{name}`: run ./setup_profile.sh --profile {name}')
    profile = config.get_profile(name)
    if marker is None or not marker.owns(profile):
        raise SetupError(ExitStatus.REFUSED, f'profile `{name}` was not made by this script: it is left alone')
    return marker, profile


def ensure_profile(name: str, postgres: PostgresOptions | None, say: Say) -> tuple[Marker, Profile]:
    """Make the profile ``name`` unless the setup made it before; configure and load it.

    Parameters
    ----------
    name : str
        Name of the profile.
    postgres : PostgresOptions or None
        Use PostgreSQL and RabbitMQ there; ``None`` for SQLite and the broker that is built into AiiDA.
    say : callable
        Receives one line for each thing done.

    Raises
    ------
    SetupError
        If a profile of this name exists that the setup did not make, or a server cannot be reached.
    """
    config = _config()
    backend = 'core.psql_dos' if postgres else 'core.sqlite_dos'
    marker = Marker.load(name)
    if name in config.profile_names:
        profile = config.get_profile(name)
        if marker is None or not marker.owns(profile):
            raise SetupError(
                ExitStatus.PROFILE,
                f'a profile `{name}` exists that this script did not make; it is left alone: choose --profile NAME',
            )
        if profile.storage_backend != backend:
            raise SetupError(
                ExitStatus.PROFILE,
                f'profile `{name}` keeps its data in {profile.storage_backend}, not in {backend}: choose another '
                f'--profile NAME, or remove it with its data: ./setup_profile.sh remove --profile {name}',
            )
        say(f'profile `{name}` is there ({profile.storage_backend}, {profile.process_control_backend})')
    else:
        marker, profile = _create(config, name, backend, postgres, say)
    if marker.profile_uuid is None:
        marker.profile_uuid = profile.uuid
    marker.save()
    _ensure_user(profile)
    for option, value in PROFILE_OPTIONS.items():
        config.set_option(option, value, scope=name)
    # A default that was removed counts as none: AiiDA keeps its name.
    if config.default_profile_name not in config.profile_names:
        config.set_default_profile(name, overwrite=True)
        say(f'profile `{name}` is the default profile now, as there was none')
    config.store()
    load(name)
    return marker, profile


def remove_profile(name: str, say: Say) -> bool:
    """Remove the profile ``name`` with its daemon, jobs and data; return whether there was anything to remove.

    Raises
    ------
    SetupError
        If a profile of that name exists that the setup did not make.
    """
    from aiida.manage import get_manager

    config = _config()
    folder = profile_folder(name)
    marker = Marker.load(name)
    if name not in config.profile_names:
        if marker is None:
            return False
        shutil.rmtree(folder)
        say(f'removed {folder}, left over from a profile `{name}` that no longer exists')
        return True
    marker, profile = owned_profile(name)
    stop_daemon(name, say)
    _stop_jobs(folder, say)
    get_manager().unload_profile()
    # Where this profile's daemon and broker keep their files, outside its folder.
    paths = [path for group in config.filepaths(profile).values() for path in group.values() if isinstance(path, str)]
    paths += [config.filepaths(profile)['circus']['socket']['file'], str(config_folder() / 'access' / name)]
    traces = [Path(path) for path in paths]
    if profile.storage_backend == 'core.psql_dos':
        from .services import drop_database, drop_queue

        if profile.process_control_backend == 'core.rabbitmq':
            drop_queue(profile)
        drop_database(profile.storage_config, whole=marker.created_database)
    shutil.rmtree(folder / 'storage', ignore_errors=True)
    was_default = config.default_profile_name == name
    config.remove_profile(name)
    if was_default and config.profile_names:
        config.set_default_profile(config.profile_names[0], overwrite=True)
        say(f'profile `{config.default_profile_name}` is the default profile now')
    config.store()
    # The marker goes last: interrupted before, the removal can be repeated.
    for path in [*traces, folder]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    say(f'removed profile `{name}`, its data and {folder}')
    return True


def active_processes() -> list[int]:
    """Return the keys of the processes of the loaded profile that have not ended."""
    from aiida.orm import ProcessNode, QueryBuilder

    active = {'attributes.process_state': {'in': ['created', 'waiting', 'running']}}
    return QueryBuilder().append(ProcessNode, filters=active, project='id').order_by({ProcessNode: 'id'}).all(flat=True)


def start_daemon(name: str, say: Say) -> None:
    """Start the daemon of the profile ``name`` unless it runs.

    Raises
    ------
    SetupError
        If it does not start; the message holds its own.
    """
    from aiida.common.exceptions import ConfigurationError
    from aiida.engine.daemon.client import DaemonException, get_daemon_client

    client = get_daemon_client(name)
    if client.is_daemon_running:
        say(f'the daemon of `{name}` runs')
        return
    if clear_broker_leftover(client.profile):
        say('removed what a killed broker had left behind')
    try:
        client.start_daemon()
    except (DaemonException, ConfigurationError) as exception:
        raise SetupError(ExitStatus.DAEMON, f'the daemon of `{name}` does not start: {exception}') from exception
    say(f'started the daemon of `{name}`')


def stop_daemon(name: str, say: Say) -> None:
    """Stop the daemon of the profile ``name`` if it runs."""
    from aiida.engine.daemon.client import DaemonException, DaemonNotRunningException, get_daemon_client

    client = get_daemon_client(name)
    if not client.is_daemon_running:
        return
    try:
        client.stop_daemon(wait=True, timeout=30)
    except DaemonNotRunningException:
        return
    except DaemonException as exception:
        raise SetupError(
            ExitStatus.DAEMON,
            f'the daemon of `{name}` (process {client.get_daemon_pid()}) does not stop: {exception}; end it and repeat',
        ) from exception
    say(f'stopped the daemon of `{name}`')


def _config() -> Config:
    from aiida.manage.configuration import get_config

    return get_config(create=True)


def _create(
    config: Config, name: str, backend: str, postgres: PostgresOptions | None, say: Say
) -> tuple[Marker, Profile]:
    from aiida.common.exceptions import EntryPointError, StorageMigrationError

    folder = profile_folder(name)
    storage = folder / 'storage'
    if storage.exists() and any(storage.iterdir()):
        raise SetupError(
            ExitStatus.PROFILE,
            f'{storage} holds the data of a profile that no longer exists: move it away, or remove it with '
            f'./setup_profile.sh remove --profile {name}',
        )
    marker = Marker(profile=name, backend=backend)
    # Saved before the profile exists, so that a profile left half-made by a crash is still known to be ours.
    marker.save()
    if postgres is None:
        from aiida.plugins import BrokerFactory

        storage_config: dict[str, Any] = {'filepath': str(storage)}
        broker = 'core.zeromq'
        broker_config = BrokerFactory(broker).get_default_config()
    else:
        from .services import rabbitmq_config, require_database

        broker = 'core.rabbitmq'
        broker_config = rabbitmq_config(postgres)
        database = postgres.db_name or f'aiida-{name}'
        marker.created_database = require_database(postgres, database)
        marker.save()
        storage_config = {
            'database_hostname': postgres.db_host,
            'database_port': postgres.db_port,
            'database_name': database,
            'database_username': postgres.db_user,
            'database_password': postgres.db_password,
            'repository_uri': storage.as_uri(),
        }
    try:
        profile = config.create_profile(
            name=name,
            storage_backend=backend,
            storage_config=storage_config,
            broker_backend=broker,
            broker_config=broker_config,
        )
    except (StorageMigrationError, EntryPointError, ValueError, TypeError) as exception:
        raise SetupError(ExitStatus.PROFILE, f'profile `{name}` cannot be made: {exception}') from exception
    say(f'made profile `{name}` ({backend}, {broker}) in {folder}')
    return marker, profile


def _ensure_user(profile: Profile) -> None:
    """Give the profile its default user; separate from its making because that may have been interrupted between."""
    from aiida.manage.configuration import create_default_user, get_config_option

    if not profile.default_user_email:
        create_default_user(profile, get_config_option('autofill.user.email') or 'softclay@localhost')


def _stop_jobs(folder: Any, say: Say) -> None:
    """End the jobs that still run in the profile's work folder: nobody would read their results."""
    import psutil

    jobs = []
    for process in psutil.process_iter(['cwd', 'username']):
        if process.info['cwd'] and process.info['cwd'].startswith(f'{folder}/work/'):
            process.terminate()
            jobs.append(process)
    if jobs:
        _, alive = psutil.wait_procs(jobs, timeout=5)
        for process in alive:
            process.kill()
        say(f'ended {len(jobs)} processes of jobs that still ran')
