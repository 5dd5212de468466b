"""Look around in the loaded profile and say exactly what to type where something is wrong."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .broker import clearing_command, start_command
from .engines import check_codes
from .marker import config_folder, current_defaults

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile

OK, WARNING, FAILURE = 'ok', 'warning', 'failure'

#: Free space below which a warning is given, and below which jobs must be expected to fail.
LOW_DISK_GB = 5.0
FULL_DISK_GB = 0.5
#: Age in seconds of a daemon by which its workers have connected to the broker, on a busy machine too.
CONNECT_SECONDS = 90.0


@dataclass(frozen=True)
class Finding:
    """One line of the check: what was looked at, how it is, and what to type if it should be otherwise."""

    subject: str
    status: str
    message: str
    remedy: str = ''


def examine(*, run_codes: bool = True) -> Iterator[Finding]:
    """Yield the findings about the loaded profile, the quick ones first.

    Parameters
    ----------
    run_codes : bool
        Whether each code is run once, which takes some twenty seconds.
    """
    from aiida.manage import get_manager

    profile = get_manager().get_profile()
    yield Finding('profile', OK, f'{profile.name} ({profile.storage_backend}) in {config_folder()}')
    storage = _storage(profile)
    yield storage
    if storage.status == FAILURE:
        return  # nothing else can be read
    active = _active()
    daemon_runs = yield from _daemon(profile, len(active))
    yield from _broker(profile, daemon_runs)
    yield from _processes(profile, active, daemon_runs)
    yield from _computer_and_disk()
    yield _family()
    yield from _codes(run_codes)


def _storage(profile: Profile) -> Finding:
    from aiida.common.exceptions import AiidaException
    from aiida.manage import get_manager
    from sqlalchemy.exc import SQLAlchemyError

    try:
        storage = get_manager().get_profile_storage()
    except (AiidaException, SQLAlchemyError, OSError) as exception:
        remedy = 'start the PostgreSQL server' if profile.storage_backend == 'core.psql_dos' else 'verdi status'
        return Finding('storage', FAILURE, str(exception).splitlines()[0], remedy)
    return Finding('storage', OK, f'opens, schema {storage.version_head()}')


def _active() -> list[Any]:
    from aiida.orm import ProcessNode, QueryBuilder

    active = {'attributes.process_state': {'in': ['created', 'waiting', 'running']}}
    query = QueryBuilder().append(ProcessNode, filters=active).order_by({ProcessNode: 'id'})
    return query.all(flat=True)


def _daemon(profile: Profile, n_active: int) -> Any:
    from aiida.engine.daemon.client import DaemonException, get_daemon_client

    client = get_daemon_client(profile.name)
    verdi = f'verdi -p {profile.name}'
    waiting = f': {n_active} processes wait for it and go on where they were' if n_active else ''
    try:
        info = client.get_status()
    except DaemonException as exception:
        stale = 'stale' in str(exception)
        what = 'it was killed (machine restarted?)' if stale else 'it does not run'
        status = FAILURE if n_active else WARNING
        yield Finding('daemon', status, f'{what}{waiting}', start_command(profile))
        return False
    workers = client.get_number_of_workers()
    if not workers:
        yield Finding('daemon', FAILURE, 'it runs, but without a worker', f'{verdi} daemon incr')
        return True
    yield Finding('daemon', OK, f'runs as process {info["pid"]} with {workers} worker(s)')
    return True


def _broker(profile: Profile, daemon_runs: bool) -> Iterator[Finding]:
    from aiida.manage import get_manager

    verdi = f'verdi -p {profile.name}'
    backend = profile.process_control_backend
    if backend is None:
        yield Finding('broker', FAILURE, 'the profile has none, so the daemon cannot be used', './setup_profile.sh')
        return
    broker = get_manager().get_broker()
    if backend == 'core.zeromq':
        if broker.check_service_reachable():
            if daemon_runs and _deaf(profile, broker.probe_service_status()):
                what = 'ZeroMQ: the workers do not reach it, so no process moves'
                yield Finding('broker', FAILURE, what, f'{verdi} daemon stop; {verdi} daemon start')
            else:
                yield Finding('broker', OK, 'ZeroMQ, run by the daemon')
        elif daemon_runs:
            restart = f'{verdi} daemon stop; {verdi} daemon start'
            yield Finding('broker', FAILURE, 'ZeroMQ: the daemon runs without it', restart)
        else:
            yield Finding('broker', OK, 'ZeroMQ: starts with the daemon')
        return
    from aiida.brokers.rabbitmq.defaults import detect_rabbitmq_config

    config = profile.process_control_config
    keys = ('protocol', 'username', 'password', 'host', 'port', 'virtual_host')
    where = f'{config["broker_host"]}:{config["broker_port"]}'
    try:
        detect_rabbitmq_config(**{key: config[f'broker_{key}'] for key in keys})
    except ConnectionError:
        yield Finding('broker', FAILURE, f'RabbitMQ at {where} does not answer', 'start the RabbitMQ server')
    else:
        yield Finding('broker', OK, f'RabbitMQ at {where}')


def _deaf(profile: Profile, status: Mapping[str, Any]) -> bool:
    """Return whether no worker takes tasks from the broker although the daemon has had the time to connect them."""
    import psutil
    from aiida.engine.daemon.client import get_daemon_client

    pid = get_daemon_client(profile.name).get_daemon_pid()
    try:
        age = time.time() - psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return False
    return age > CONNECT_SECONDS and status.get('task_subscribers') == 0


def zeromq_tasks(folder: Path) -> set[int]:
    """Return the processes that have a task with the ZeroMQ broker.

    The files are read directly: AiiDA's own reader puts the tasks that are being worked on back into the queue, which
    must not happen while the broker runs.

    Parameters
    ----------
    folder : Path
        Folder of the broker's queue, with ``pending`` and ``processing``.
    """
    pks = set()
    for path in [*folder.glob('pending/*.json'), *folder.glob('processing/*.json')]:
        try:
            body = json.loads(path.read_text(encoding='utf-8')).get('body') or {}
        except FileNotFoundError:
            continue  # taken up, or done with, between the listing and the reading
        pk = body.get('args', {}).get('pid')
        if pk is not None:
            pks.add(int(pk))
    return pks


def _processes(profile: Profile, active: Iterable[Any], daemon_runs: bool) -> Iterator[Finding]:
    from aiida.manage import get_manager

    verdi = f'verdi -p {profile.name}'
    active = list(active)
    if not active:
        yield Finding('processes', OK, 'none is under way')
        return
    paused = [node for node in active if node.paused]
    for node in paused:
        yield Finding(
            'processes',
            FAILURE,
            f'{_name(node)} is paused: {node.process_status or "no reason given"}',
            f'{verdi} process report {node.pk}; when the reason is gone: {verdi} process play {node.pk}',
        )
    lost: list[Any] = []
    if profile.process_control_backend == 'core.zeromq':
        broker = get_manager().get_broker()
        queue = Path(get_manager().get_config().filepaths(profile)['broker_service']['dir']) / 'storage' / 'tasks'
        with_task = zeromq_tasks(queue)
        lost = [node for node in active if node.pk not in with_task and _needs_task(node)]
        if broker is not None and lost:
            # A process that ended between the query and the look at the queue is not lost.
            lost = [node for node in lost if not _ended(node)]
    if lost:
        names = ', '.join(_name(node) for node in lost[:5]) + (' ...' if len(lost) > 5 else '')
        yield Finding(
            'processes',
            FAILURE,
            f'{names}: the daemon knows nothing of it any more (calculation functions of a killed worker are run anew '
            'by their workchain and only have to be cleared away)',
            f'{verdi} daemon stop; {clearing_command(profile)}{verdi} process repair; {verdi} daemon start',
        )
    for node, job in _recycled(active):
        yield Finding(
            'processes',
            FAILURE,
            f'{_name(node)}: its job {job} is gone (machine restarted?) and the number belongs to another program',
            f'{verdi} process kill {node.pk}, then launch again: what was computed is reused',
        )
    if not paused and not lost:
        state = 'under way' if daemon_runs else 'waiting for the daemon'
        yield Finding('processes', OK, f'{len(active)} {state}')


def _needs_task(node: Any) -> bool:
    """Return whether a task must exist for an active process: a calculation function is run by its caller's task.

    Its caller has gone past it, or has ended, only if the worker that ran it was killed.
    """
    from aiida.orm import CalcFunctionNode, WorkFunctionNode

    if not isinstance(node, CalcFunctionNode | WorkFunctionNode):
        return True
    caller = node.caller
    return caller is None or caller.is_terminated or any(other.pk > node.pk for other in caller.called)


def _ended(node: Any) -> bool:
    from aiida.orm import load_node

    return load_node(node.pk).is_terminated


def _name(node: Any) -> str:
    return f'{node.process_label} {node.pk}'


def _recycled(active: Iterable[Any]) -> Iterator[tuple[Any, str]]:
    """Yield calculations whose local job number belongs to a program that runs elsewhere than in the job's folder."""
    import psutil
    from aiida.orm import CalcJobNode

    for node in active:
        if not isinstance(node, CalcJobNode) or node.computer is None or node.get_job_id() is None:
            continue
        if (node.computer.transport_type, node.computer.scheduler_type) != ('core.local', 'core.direct'):
            continue
        try:
            folder = psutil.Process(int(node.get_job_id())).cwd()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue  # it has ended; the daemon will see that by itself
        except psutil.AccessDenied:
            folder = ''  # a program of another user is not our job
        work = node.get_remote_workdir()
        if work and not Path(folder or '/').is_relative_to(Path(work).resolve()):
            yield node, node.get_job_id()


def _computer_and_disk() -> Iterator[Finding]:
    from aiida.common.exceptions import AiidaException, NotExistent
    from aiida.orm import load_computer

    label = current_defaults().computer or 'localhost'
    places = [config_folder()]
    try:
        computer = load_computer(label)
        with computer.get_transport() as transport:
            user = transport.whoami()
    except NotExistent:
        yield Finding('computer', FAILURE, f'this profile has no computer `{label}`', './setup_profile.sh')
    except (AiidaException, OSError) as exception:
        yield Finding('computer', FAILURE, f'`{label}` does not answer: {exception}', f'verdi computer test {label}')
    else:
        limit = computer.get_property('softclay_max_jobs', None)
        bound = f', at most {limit} job(s) at once' if limit else ', no bound on jobs'
        yield Finding('computer', OK, f'`{label}` answers{bound}')
        if computer.transport_type == 'core.local':
            places.append(Path(computer.get_workdir().format(username=user)))
    volumes = {}
    for place in places:
        while not place.exists():
            place = place.parent  # noqa: PLW2901
        volumes.setdefault(place.stat().st_dev, place)
    yield from (disk_space(place) for place in volumes.values())


def disk_space(place: Path) -> Finding:
    """Return the finding about the free space of the volume that ``place`` is on."""
    free = shutil.disk_usage(place).free / 1e9
    remedy = 'make room: old studies with `verdi node delete`, then `verdi storage maintain --full`'
    if free < FULL_DISK_GB:
        return Finding('disk', FAILURE, f'{free:.1f} GB free in {place}: jobs will fail', remedy)
    if free < LOW_DISK_GB:
        return Finding('disk', WARNING, f'{free:.1f} GB free in {place}', remedy)
    return Finding('disk', OK, f'{free:.0f} GB free in {place}')


def _family() -> Finding:
    from aiida_softclay.calculations.potcars import PotentialFamilyError, family_elements

    name = current_defaults().potential_family
    try:
        elements = family_elements(name)
    except PotentialFamilyError as exception:
        return Finding('potentials', FAILURE, str(exception), './setup_profile.sh')
    return Finding('potentials', OK, f'family `{name}` for {len(elements)} elements')


def _codes(run_codes: bool) -> Iterator[Finding]:
    from aiida.common.exceptions import NotExistent
    from aiida.orm import load_code

    codes = []
    for label in current_defaults().codes.values():
        try:
            codes.append(load_code(label))
        except NotExistent:
            yield Finding('code', FAILURE, f'this profile has no code `{label}`', './setup_profile.sh')
    if not run_codes:
        for code in codes:
            yield Finding('code', OK, f'{code.full_label}: {code.filepath_executable} (not run)')
        return
    for result in check_codes(codes, current_defaults().potential_family):
        status = OK if result.ok else FAILURE
        yield Finding('code', status, f'{result.code}: {result.message}', result.remedy)
