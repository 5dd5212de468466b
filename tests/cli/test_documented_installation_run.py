"""Pages whose commands make profiles and speak to a daemon, in an installation of their own, with a real daemon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from documented_lines import lines_of, steps_of
from documented_places import NOT_HERE
from documented_session import go_through, type_and_judge

DAEMON_PAGES = ('docs/topics/provenance.md', 'docs/howto/cluster.md', 'docs/howto/resume.md')
SUBMIT = """
from aiida import load_profile, orm
load_profile('many')
from aiida.engine import submit
from aiida.plugins import CalculationFactory
computer = orm.Computer('here', 'localhost', '', 'core.local', 'core.direct', '{work}').store()
computer.configure(safe_interval=0.0)
computer.set_default_mpiprocs_per_machine(1)
builder = CalculationFactory('core.arithmetic.add').get_builder()
builder.code = orm.InstalledCode(label='bash', computer=computer, filepath_executable='/bin/bash').store()
builder.x, builder.y = orm.Int(1), orm.Int(2)
builder.metadata.options = {{'resources': {{'num_machines': 1}}, 'withmpi': False, 'sleep': 600}}
print(submit(builder).pk)
"""
STATE = """
from aiida import load_profile, orm
load_profile('many')
print(orm.load_node({pk}).process_state.value)
"""


def own(shell, *words, given=None):
    """Run a program in the installation, and return what it printed."""
    environment = {
        **os.environ, 'AIIDA_PATH': str(shell.folder / 'aiida'),
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
    }  # fmt: skip
    done = subprocess.run(words, env=environment, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f'{words}\n{done.stdout}\n{done.stderr}'
    return done.stdout


@pytest.mark.daemon
@pytest.mark.timeout(600)
def test_pages_of_the_daemon(shell, nodes):
    """provenance.md, cluster.md and resume.md: a setting, two workers, a repair, a job that is paused and killed."""
    (shell.folder / 'aiida').mkdir()
    own(
        shell, 'verdi', 'profile', 'setup', 'core.sqlite_dos', '--profile-name', 'many', '--email', 'me@example.org',
        '--broker', 'core.zeromq', '--non-interactive',
    )  # fmt: skip
    # As the setup does: a busy machine takes longer than AiiDA's two seconds.
    own(shell, 'verdi', '-p', 'many', 'config', 'set', 'daemon.timeout', '60')
    keys, pk = dict(nodes), None
    try:
        for page in DAEMON_PAGES:
            for line in lines_of(page):
                if line in NOT_HERE:
                    continue
                if 'process pause' in line:
                    pk = own(shell, sys.executable, '-', given=SUBMIT.format(work=shell.folder / 'work')).strip()
                    keys['study'] = pk
                type_and_judge(page, line, shell, keys, once=False)
                if 'process kill' in line:
                    assert own(shell, sys.executable, '-', given=STATE.format(pk=pk)).strip() == 'killed'
    finally:
        own(shell, 'verdi', '-p', 'many', 'daemon', 'stop')


@pytest.mark.timeout(600)
def test_take_away(shell, nodes):
    """take-away.md: what is exported here is imported, or looked at where it lies, in an installation of its own."""
    page = 'docs/howto/take-away.md'
    (shell.folder / 'aiida').mkdir()
    failures = go_through(page, shell, nodes, kinds=('console',))
    assert not failures, '\n'.join(failures)
    (block,) = [text for kind, text in steps_of(page) if kind == 'python']
    # Its profile is there once the commands below it were typed.
    own(shell, sys.executable, '-', given=block)
