"""The job gate: never more jobs at once than allowed, and a lock that outlives nobody."""

import signal
import subprocess
import time

import pytest

from aiida_softclay.setup.computer import job_gate

# Each job notes the time at which it gets through the gate and the time at which it is done.
JOB = '{gate}\ndate +%s.%N >> "{log}.start"\nsleep {seconds}\ndate +%s.%N >> "{log}.end"\n'


def start(folder, number, slots, seconds, environment=None):
    """Start a job in the background, as core.direct does."""
    script = folder / f'job {number}.sh'
    text = JOB.format(gate=job_gate(folder / 'the slots', slots), log=folder / f'log {number}', seconds=seconds)
    script.write_text(text)
    return subprocess.Popen(['bash', str(script)], env=environment, start_new_session=True)


def most_at_once(folder, numbers):
    """Return the largest number of jobs that were past the gate at one time."""
    events = []
    for number in numbers:
        events.append((float((folder / f'log {number}.start').read_text()), 1))
        events.append((float((folder / f'log {number}.end').read_text()), -1))
    running = most = 0
    for _, change in sorted(events):
        running += change
        most = max(most, running)
    return most


def test_never_more_than_allowed(tmp_path):
    """Six jobs through two slots: two at a time, and all get through."""
    jobs = [start(tmp_path, number, 2, 0.4) for number in range(6)]
    for job in jobs:
        assert job.wait(timeout=60) == 0
    assert most_at_once(tmp_path, range(6)) == 2


def test_a_killed_job_frees_its_slot(tmp_path):
    """Killed with its children, a job cannot release anything itself: the system does."""
    blocking = start(tmp_path, 0, 1, 300)
    try:
        deadline = time.time() + 30
        while not (tmp_path / 'log 0.start').exists() and time.time() < deadline:
            time.sleep(0.05)
        # Only now: of two jobs started together either may be the first.
        waiting = start(tmp_path, 1, 1, 0)
        time.sleep(1.0)
        assert not (tmp_path / 'log 1.start').exists()
    finally:
        subprocess.run(['kill', f'-{signal.SIGKILL}', '--', f'-{blocking.pid}'], check=True)
        blocking.wait(timeout=30)
    assert waiting.wait(timeout=30) == 0
    assert (tmp_path / 'log 1.end').exists()


def test_switched_off(tmp_path):
    """The checks of the codes do not wait for jobs."""
    import os

    blocking = start(tmp_path, 0, 1, 300)
    try:
        deadline = time.time() + 30
        while not (tmp_path / 'log 0.start').exists() and time.time() < deadline:
            time.sleep(0.05)
        passing = start(tmp_path, 1, 1, 0, environment={**os.environ, 'SOFTCLAY_JOB_GATE': 'off'})
        assert passing.wait(timeout=30) == 0
    finally:
        subprocess.run(['kill', f'-{signal.SIGKILL}', '--', f'-{blocking.pid}'], check=True)
        blocking.wait(timeout=30)


def test_no_slots():
    """A gate that lets nobody through is refused."""
    with pytest.raises(ValueError, match='at least one job'):
        job_gate('/nowhere', 0)
