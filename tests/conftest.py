"""Fixtures shared by all rooms: a throw-away AiiDA profile, the real engines as codes, small structures."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import Engine, event

# The same examples on every run of the continuous integration, new ones everywhere else.
settings.register_profile('ci', derandomize=True, deadline=None)
if os.environ.get('CI'):
    settings.load_profile('ci')

pytest_plugins = ['aiida.tools.pytest_fixtures']


@event.listens_for(Engine, 'connect')
def _do_not_wait_for_the_disk(connection, _record):
    """Let SQLite not wait for the disk at every commit: a profile of the tests need not survive a power cut."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute('PRAGMA synchronous=OFF')


# For the same reason: the repository waits for the disk with every file.
os.fsync = lambda _file: None


# Two test workers or a daemon beside the tests must not oversubscribe a two-core machine.
THREADS = '1'
#: Pause between two looks at a child that runs.
POLL_S = 0.2
for _variable in ('OMP_NUM_THREADS', 'DP_INTRA_OP_PARALLELISM_THREADS', 'DP_INTER_OP_PARALLELISM_THREADS'):
    os.environ.setdefault(_variable, THREADS)


#: Rooms whose files take minutes: they come first, so that no worker is left alone with one of them at the end.
LONG = ('schedulers', 'workflows', 'setup', 'engines')


def pytest_collection_modifyitems(items):
    """Run the files of the long rooms first."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


def find_program(name: str) -> str | None:
    """Return the path of a program of this Python environment, else of the PATH, else ``None``."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else shutil.which(name)


def require_program(name: str) -> str:
    """Return the path of an engine; its absence is a failure where the engines are promised, else a skip."""
    path = find_program(name)
    if path is None:
        if os.environ.get('SOFTCLAY_REQUIRE_ENGINES'):
            pytest.fail(f'{name} is not installed although SOFTCLAY_REQUIRE_ENGINES is set')
        pytest.skip(f'{name} is not installed: pip install aiida-softclay[engines]')
    return path


@pytest.fixture(scope='session')
def lmp_program(tmp_path_factory) -> str:
    """Path of the LAMMPS executable, started without its plugins where the input needs none of them."""
    from fast_lammps import write_choice

    return write_choice(tmp_path_factory.mktemp('lammps'), require_program('lmp'))


@pytest.fixture(scope='session')
def dp_program() -> str:
    """Path of the DeePMD-kit executable."""
    return require_program('dp')


@pytest.fixture(scope='session')
def vasp_program() -> str:
    """Path of the VASP-compatible driver."""
    return require_program('softclay-vasp')


@pytest.fixture(scope='session')
def aiida_profile(aiida_profile):
    """The throw-away profile, whose runner asks for ended children a few times a second.

    AiiDA lets the runner of a profile for tests ask without a pause, which takes a whole core from the engines.
    """
    from aiida.manage import get_manager

    manager = get_manager()
    manager.create_runner = partial(manager.create_runner, poll_interval=POLL_S)
    manager.reset_runner()
    return aiida_profile


@pytest.fixture
def localhost(aiida_profile, tmp_path):
    """The local computer, polled often, in a profile that exists for the tests only."""
    from aiida.orm import Computer, QueryBuilder

    existing = QueryBuilder().append(Computer, filters={'label': 'softclay-tests'}).first(flat=True)
    if existing is not None:
        return existing
    work = tmp_path / 'work'
    computer = Computer(
        label='softclay-tests',
        hostname='localhost',
        transport_type='core.local',
        scheduler_type='core.direct',
        workdir=str(work),
    ).store()
    computer.set_minimum_job_poll_interval(0.1)
    computer.set_default_mpiprocs_per_machine(1)
    computer.configure(safe_interval=0.0)
    return computer


def _code(localhost, label: str, path: str, plugin: str, prepend: str = ''):
    from aiida.orm import InstalledCode

    return InstalledCode(
        label=label,
        computer=localhost,
        filepath_executable=path,
        default_calc_job_plugin=plugin,
        prepend_text='export OMP_NUM_THREADS=1 TF_ENABLE_ONEDNN_OPTS=0\n' + prepend,
        with_mpi=False,
    ).store()


@pytest.fixture
def lmp_code(localhost, lmp_program):
    """LAMMPS as an AiiDA code."""
    return _code(localhost, 'lmp', lmp_program, 'softclay.lammps')


@pytest.fixture
def dp_code(localhost, dp_program):
    """DeePMD-kit as an AiiDA code."""
    return _code(localhost, 'dp', dp_program, 'softclay.dp.train')


@pytest.fixture
def vasp_code(localhost, vasp_program):
    """The VASP-compatible driver (CHGNet) as an AiiDA code."""
    return _code(localhost, 'vasp', vasp_program, 'softclay.vasp_md')


@pytest.fixture
def vasp_emt_code(localhost, vasp_program):
    """The VASP-compatible driver over ASE's EMT: milliseconds a step, for Cu, Al, Ni, Ag, Au and Pt."""
    return _code(
        localhost,
        'vasp-emt',
        vasp_program,
        'softclay.vasp_md',
        prepend='export SOFTCLAY_CALCULATOR=ase.calculators.emt:EMT\n',
    )
