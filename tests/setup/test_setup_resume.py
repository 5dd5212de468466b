"""A daemon that is really killed: what goes on by itself, and what the line that `softclay check` prints repairs."""

import re
import shlex
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

SUBMIT = """
import sys
from aiida import load_profile, orm
load_profile('softclay')
from aiida.common.exceptions import NotExistent
from aiida.engine import submit
from aiida.plugins import CalculationFactory
label = 'bash@localhost'
try:
    code = orm.load_code(label)
except NotExistent:
    code = orm.InstalledCode(label='bash', computer=orm.load_computer('localhost'), filepath_executable='/bin/bash',
                             default_calc_job_plugin='core.arithmetic.add').store()
builder = CalculationFactory('core.arithmetic.add').get_builder()
builder.code = code
builder.x = orm.Int(1)
builder.y = orm.Int(int(sys.argv[1]))
builder.metadata.options = {'resources': {'num_machines': 1}, 'withmpi': False, 'sleep': int(sys.argv[2])}
print(submit(builder).pk)
"""
STATE = """
import sys, time
from aiida import load_profile, orm
load_profile('softclay')
deadline = time.time() + float(sys.argv[2])
while time.time() < deadline:
    node = orm.load_node(int(sys.argv[1]))
    if node.is_terminated:
        break
    time.sleep(0.5)
print(node.process_state.value, node.exit_status, node.outputs.sum.value if node.is_finished_ok else '')
"""


@pytest.fixture
def running(sandbox):
    """A profile whose daemon runs, and is stopped and removed at the end."""
    assert sandbox.script().returncode == 0
    command = (sys.executable, '-m', 'aiida_softclay.setup', 'daemon', '--profile', 'softclay')
    assert sandbox.run(*command, 'start').returncode == 0
    yield sandbox
    sandbox.script('remove', '--yes')


def daemon_processes(sandbox):
    """Return the daemon of the sandbox and its children: broker and workers."""
    pid = int((sandbox.folder / '.aiida' / 'daemon' / 'circus-softclay.pid').read_text())
    daemon = psutil.Process(pid)
    return daemon, [child for child in daemon.children() if child.status() != psutil.STATUS_ZOMBIE]


def check(sandbox):
    """Return status and output of the quick check."""
    result = sandbox.run(sys.executable, '-m', 'aiida_softclay.cli', 'check', '--quick')
    return result.returncode, result.stdout


@pytest.mark.daemon
def test_killed_and_resumed(running):
    """A killed worker is replaced; after a killed daemon, and after a lost task, the printed line is all it takes."""
    # 1. kill -9 of the worker while a job runs: nothing to type
    pk = running.python(SUBMIT, '1', '5')
    _, children = daemon_processes(running)
    (worker,) = [child for child in children if 'worker' in child.cmdline()]
    worker.send_signal(signal.SIGKILL)
    assert running.python(STATE, pk, '240') == 'finished 0 2'

    # 2. everything is killed, as by a power cut, and the broker has lost its tasks
    pk = running.python(SUBMIT, '2', '5')
    time.sleep(2)
    daemon, children = daemon_processes(running)
    for process in [daemon, *children]:
        if process.is_running():
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs([daemon, *children], timeout=10)
    status, text = check(running)
    assert status == 1
    (start,) = re.findall(r'^-> daemon: (.*)$', text, flags=re.MULTILINE)
    assert start.startswith('rm -f ')
    assert start.endswith('; verdi -p softclay daemon start')
    assert 'process repair' not in text
    tasks = list(Path(running.folder).glob('.aiida/broker/*/storage/tasks/*/*.json'))
    assert tasks
    for task in tasks:
        task.unlink()
    status, text = check(running)
    assert status == 1
    assert pk in text
    (repair,) = re.findall(r'^-> processes: (verdi .*)$', text, flags=re.MULTILINE)
    for line in repair.split('; '):
        running.run(*shlex.split(line))
    assert running.python(STATE, pk, '240') == 'finished 0 3'
    status, text = check(running)
    assert status == 0, text
