"""The local computer with its job gate, or an existing computer of the profile."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ExitStatus, SetupError
from .profile import Say

if TYPE_CHECKING:
    from aiida.orm import Computer

LOCAL_LABEL = 'localhost'
#: Property of the computer that bounds how many jobs compute on it at once.
MAX_JOBS_PROPERTY = 'softclay_max_jobs'

_GATE = """\
# At most {slots} jobs compute at once: core.direct starts everything it is given. Each job takes one of {slots} locks;
# the system releases it when the last process of the job has ended, however it ended. SOFTCLAY_JOB_GATE=off skips it.
if [ "${{SOFTCLAY_JOB_GATE:-on}}" = on ] && command -v flock > /dev/null; then
    mkdir -p {folder}
    softclay_waiting=yes
    while [ "$softclay_waiting" = yes ]; do
        for softclay_slot in {numbers}; do
            exec {{softclay_lock}}> {folder}/"slot-$softclay_slot"
            if flock --nonblock "$softclay_lock"; then
                softclay_waiting=no
                break
            fi
            exec {{softclay_lock}}>&-
        done
        if [ "$softclay_waiting" = yes ]; then
            sleep 0.5
        fi
    done
fi
"""


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def job_gate(folder: str | Path, slots: int) -> str:
    """Return the bash lines by which at most ``slots`` jobs compute at once.

    Parameters
    ----------
    folder : str or Path
        Where the lock files are kept.
    slots : int
        Number of jobs.

    Raises
    ------
    ValueError
        If ``slots`` is not positive.
    """
    if slots < 1:
        raise ValueError(f'at least one job must be allowed, not {slots}')
    numbers = ' '.join(str(number) for number in range(1, slots + 1))
    return _GATE.format(slots=slots, numbers=numbers, folder=shlex.quote(str(folder)))


def ensure_local_computer(folder: Path, max_jobs: int, say: Say) -> Computer:
    """Make, or bring up to date, the local computer with its work folder and its job gate."""
    from aiida.common.exceptions import NotExistent
    from aiida.orm import Computer, load_computer

    work = folder / 'work'
    try:
        computer = load_computer(LOCAL_LABEL)
        news = 'is there'
    except NotExistent:
        computer = Computer(
            label=LOCAL_LABEL,
            hostname='localhost',
            description='This machine',
            transport_type='core.local',
            scheduler_type='core.direct',
            workdir=str(work),
        )
        news = 'made'
    computer.set_minimum_job_poll_interval(1.0)
    computer.set_default_mpiprocs_per_machine(1)
    computer.set_prepend_text(job_gate(folder / 'slots', max_jobs))
    computer.set_property(MAX_JOBS_PROPERTY, max_jobs)
    computer.store()
    computer.configure(safe_interval=0.0, use_login_shell=False)
    work.mkdir(parents=True, exist_ok=True)
    say(f'computer `{LOCAL_LABEL}` {news}: at most {max_jobs} job(s) at once, work in {work}')
    return computer


def existing_computer(label: str, max_jobs: int | None, say: Say) -> Computer:
    """Return a computer that the user set up, after a connection to it succeeded; nothing of it but the bound is set.

    Raises
    ------
    SetupError
        If it does not exist, is not configured for this user, or does not answer.
    """
    from aiida.common.exceptions import AiidaException, NotExistent
    from aiida.orm import load_computer

    try:
        computer = load_computer(label)
    except NotExistent as exception:
        raise SetupError(
            ExitStatus.COMPUTER,
            f'this profile has no computer `{label}`: make it with `verdi computer setup` and '
            f'`verdi computer configure`, then repeat this command',
        ) from exception
    if not computer.is_configured:
        raise SetupError(
            ExitStatus.COMPUTER,
            f'computer `{label}` is not configured: `verdi computer configure {computer.transport_type} {label}`',
        )
    try:
        with computer.get_transport() as transport:
            user = transport.whoami()
    except (AiidaException, OSError) as exception:
        raise SetupError(
            ExitStatus.COMPUTER, f'computer `{label}` does not answer: {exception}; see `verdi computer test {label}`'
        ) from exception
    if max_jobs is not None:
        computer.set_property(MAX_JOBS_PROPERTY, max_jobs)
        computer.store()
    limit = computer.get_property(MAX_JOBS_PROPERTY, None)
    say(f'computer `{label}` answers (as {user})' + (f', at most {limit} jobs at once' if limit else ''))
    return computer
