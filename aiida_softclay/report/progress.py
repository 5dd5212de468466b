"""How far a running process is: read from the files of its jobs, on whichever computer they run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState


@dataclass(frozen=True)
class Progress:
    """Steps done out of steps planned by one job.

    Attributes
    ----------
    done, total : int
        Steps.
    unit : str
        What a step is.
    rate : float or None
        Steps per second since the job began to write; ``None`` if unknown.
    """

    done: int
    total: int
    unit: str
    rate: float | None = None

    @property
    def fraction(self) -> float:
        """Return the share that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Return the estimated time to the end, s."""
        if not self.rate:
            return None
        return max(0, self.total - self.done) / self.rate


#: Entry point of a CalcJob to (file with its progress, pattern whose first group is the step, what a step is).
_SOURCES = {
    'softclay.lammps': ('log.lammps', re.compile(r'^\s*(\d+)\s+[-\d.]', re.MULTILINE), 'MD steps'),
    'softclay.dp.train': ('lcurve.out', re.compile(r'^\s*(\d+)\s+[-\d.]', re.MULTILINE), 'training steps'),
    'softclay.vasp_md': ('OSZICAR', re.compile(r'^\s*(\d+)\s+(?:T=|F=)', re.MULTILINE), 'AIMD steps'),
}


def last_step(tail: str, pattern: re.Pattern[str]) -> int | None:
    """Return the step of the last complete line of ``tail`` that matches, or ``None``."""
    complete = tail[: tail.rfind('\n') + 1]
    steps = pattern.findall(complete)
    return int(steps[-1]) if steps else None


def _planned_steps(node: orm.CalcJobNode, entry_point: str) -> int:
    inputs = node.inputs
    if entry_point == 'softclay.lammps':
        from aiida_softclay.calculations.md_plan import MdPlan

        return MdPlan.from_dict(inputs.plan.get_dict()).total_steps
    if entry_point == 'softclay.dp.train':
        return int(inputs.parameters.get_dict()['training']['numb_steps'])
    return int(inputs.parameters.get_dict().get('nsw', 0))


def job_progress(node: orm.CalcJobNode, transport: object | None = None) -> Progress | None:
    """Return the progress of a running job, or ``None`` where it has written nothing yet.

    Parameters
    ----------
    node : aiida.orm.CalcJobNode
        A job of this plugin.
    transport : aiida.transports.Transport, optional
        An open connection to its computer; one is opened if not given.

    Raises
    ------
    OSError
        If the computer cannot be reached.
    """
    entry_point = (node.process_type or '').partition(':')[2]
    if entry_point not in _SOURCES or node.get_remote_workdir() is None:
        return None
    filename, pattern, unit = _SOURCES[entry_point]
    # A job may wait for a free slot before it computes: its clock starts with the birth of the file it writes where the
    # file system knows that, else with the submission.
    quoted = shlex.quote(filename)
    clocks = f'stat -c %W {quoted} 2>/dev/null || echo 0; stat -c %Y _aiidasubmit.sh; date +%s'
    command = f'tail -c 4096 {quoted} 2>/dev/null; echo; {clocks}'
    workdir = node.get_remote_workdir()

    def read(connection) -> str:
        _, stdout, _ = connection.exec_command_wait(command, workdir=workdir)
        return stdout

    if transport is not None:
        stdout = read(transport)
    else:
        with node.computer.get_transport(user=node.user) as connection:
            stdout = read(connection)
    body, born, submitted, now = stdout.rstrip().rsplit('\n', 3)
    done = last_step(body + '\n', pattern)
    if done is None:
        return None
    elapsed = int(now) - (int(born) if born.isdigit() and int(born) > 0 else int(submitted))
    return Progress(done, _planned_steps(node, entry_point), unit, done / elapsed if elapsed > 0 else None)


@dataclass
class ProcessLine:
    """One process of the tree under a workchain."""

    node: orm.ProcessNode
    depth: int
    label: str
    progress: Progress | None = None


def process_tree(root: orm.ProcessNode, with_progress: bool = True, calcfunctions: bool = False) -> list[ProcessLine]:
    """Return the processes called by ``root``, depth first, in the order of their start.

    Parameters
    ----------
    root : aiida.orm.ProcessNode
        The workchain.
    with_progress : bool
        Read the files of the running jobs.
    calcfunctions : bool
        List calcfunctions too.

    Returns
    -------
    list of ProcessLine
        ``root`` first.
    """
    lines: list[ProcessLine] = []

    def visit(node: orm.ProcessNode, depth: int, label: str) -> None:
        line = ProcessLine(node, depth, label)
        if with_progress and isinstance(node, orm.CalcJobNode) and not node.is_terminated:
            line.progress = job_progress(node)
        lines.append(line)
        calls = node.base.links.get_outgoing(link_type=(LinkType.CALL_WORK, LinkType.CALL_CALC)).all()
        for link in sorted(calls, key=lambda link: link.node.pk):
            if isinstance(link.node, orm.CalcFunctionNode) and not calcfunctions:
                continue
            name = link.link_label if link.link_label not in {'CALL', 'iteration'} else ''
            visit(link.node, depth + 1, name)

    visit(root, 0, root.label)
    return lines


def ended_with_warning(node: orm.ProcessNode) -> bool:
    """Return whether a process gave its outputs, but not all that was asked for: exit codes 700 to 799."""
    return node.exit_status is not None and 700 <= node.exit_status < 800


def state_text(node: orm.ProcessNode) -> str:
    """Return the state of a process in words, with the message of a failed one.

    The traceback of a process that excepted is for its author: the last line says what happened.
    """
    if node.process_state is None:
        return 'created'
    if node.is_finished:
        if node.is_finished_ok:
            return 'finished'
        how = 'finished with a warning' if ended_with_warning(node) else 'failed'
        return f'{how} [{node.exit_status}]: {node.exit_message or "no message"}'
    if node.is_excepted:
        lines = str(node.exception or '').strip().splitlines()
        return f'stopped by an error: {lines[-1]}' if lines else 'stopped by an error'
    if node.is_killed:
        return 'killed'
    return 'paused' if getattr(node, 'paused', False) else str(node.process_state.value)


def latest_runs(n_ended: int = 10) -> list[orm.WorkChainNode]:
    """Return what was launched: all that has not ended, and the newest of what has.

    Parameters
    ----------
    n_ended : int
        How many of those that have ended.

    Returns
    -------
    list of aiida.orm.WorkChainNode
        Workchains of this package that no other process called, newest first.
    """
    ended = [state.value for state in (ProcessState.FINISHED, ProcessState.EXCEPTED, ProcessState.KILLED)]
    own = {'process_type': {'like': 'aiida.workflows:softclay.%'}}
    state = 'attributes.process_state'

    def launched(extra: dict) -> Iterator[orm.WorkChainNode]:
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters=own | extra).order_by(
            {orm.WorkChainNode: {'id': 'desc'}}
        )  # fmt: skip
        return (node for (node,) in query.iterall(batch_size=100) if node.caller is None)

    going = list(launched({state: {'!in': ended}}))
    return [*going, *islice(launched({state: {'in': ended}}), n_ended)]
