"""Reader of the log of a LAMMPS run written by this package, line by line, tolerating any kind of end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from aiida_softclay.calculations.lammps_script import MARK, RUNAWAY_FIX, THERMO_KEYWORDS

N_COLUMNS = len(THERMO_KEYWORDS)
LOOP = re.compile(r'Loop time of (\S+) on (\d+) procs for (\d+) steps with (\d+) atoms')
CPU = re.compile(r'CPU use with (\d+) MPI tasks x (\d+|no) OpenMP threads')
# Said at the start, so that it is known of a run that was killed, too.
GRID = re.compile(r'(\d+) by (\d+) by (\d+) MPI processor grid')
OPENMP = re.compile(r'using (\d+) OpenMP thread')
HALT = re.compile(rf'Fix halt condition for fix-id {RUNAWAY_FIX}\S+ met on step (\d+) with value (\S+)')
WALL = re.compile(r'Total wall time: (\d+):(\d+):(\d+)')
DISK_FULL = re.compile(r'No space left on device|Disk quota exceeded', re.IGNORECASE)
LARGEST_MESSAGE = 500
# What the DeePMD plugin says of itself, and under which name it is recorded.
DEEPMD_FACTS = {
    'source:': 'version',
    'source commit:': 'commit',
    'build variant:': 'build',
    'set tf intra_op_parallelism_threads:': 'intra_op_threads',
    'set tf inter_op_parallelism_threads:': 'inter_op_threads',
}


@dataclass
class StageLog:
    """What the log says of one stage."""

    name: str
    kind: str
    first_step: int
    rows: list[list[float]] = field(default_factory=list)
    ended: bool = False
    loop_seconds: float = 0.0
    loop_steps: int = 0
    rounds: int = 0
    stopping_criterion: str | None = None
    converged: bool | None = None
    final_force_eV_A: float | None = None  # noqa: N815


@dataclass
class RunLog:
    """What the log says of the run; ``runaway`` is the step and the temperature in K at which it was stopped."""

    version: str | None = None
    n_atoms: int | None = None
    mpi_tasks: int | None = None
    threads: int | None = None
    wall_seconds: float | None = None
    stages: list[StageLog] = field(default_factory=list)
    completed: bool = False
    interrupted: bool = False
    not_finite_step: int | None = None
    runaway: tuple[int, float] | None = None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    dangerous_builds: int = 0
    deepmd: dict[str, str] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """The first error message, or ``None``."""
        return self.errors[0] if self.errors else None

    @property
    def stage(self) -> StageLog | None:
        """The last stage that began."""
        return self.stages[-1] if self.stages else None


def _numbers(words: list[str]) -> list[float] | None:
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def read_log(lines: Iterable[str]) -> RunLog:
    """Return what a log says; a last line without its end is ignored, because it may be cut inside a number."""
    log = RunLog()
    in_table = False
    for line in lines:
        whole = line.endswith('\n')
        text = line.strip()
        if in_table and whole:
            words = text.split()
            values = _numbers(words) if len(words) == N_COLUMNS else None
            if values is not None and log.stages:
                _add_row(log, values)
                continue
        if text.startswith(MARK) and whole:
            _read_mark(log, text)
        elif text.startswith('Step ') and len(text.split()) == N_COLUMNS:
            in_table = True
        elif text.startswith('ERROR'):
            log.errors.append(text[:LARGEST_MESSAGE])
            in_table = False
        elif text.startswith('Last input line:') and log.errors:
            log.errors[-1] += f' ({text[:LARGEST_MESSAGE]})'
        elif text.startswith('WARNING') and len(log.warnings) < 20 and text not in log.warnings:
            log.warnings.append(text[:LARGEST_MESSAGE])
        elif match := LOOP.match(text):
            in_table = False
            log.n_atoms = int(match[4])
            if log.stage:
                log.stage.loop_seconds += float(match[1])
                log.stage.loop_steps += int(match[3])
        elif match := HALT.match(text):
            _read_halt(log, int(match[1]), float(match[2]))
        elif match := GRID.match(text):
            log.mpi_tasks = int(match[1]) * int(match[2]) * int(match[3])
        elif match := OPENMP.match(text):
            log.threads = int(match[1])
        elif match := CPU.search(text):
            log.mpi_tasks = int(match[1])
            log.threads = int(match[2]) if match[2].isdigit() else 1
        elif match := WALL.match(text):
            hours, minutes, seconds = (int(group) for group in match.groups())
            log.wall_seconds = 3600.0 * hours + 60.0 * minutes + seconds
        elif text.startswith('LAMMPS (') and log.version is None:
            log.version = text.removeprefix('LAMMPS (').rstrip(')')
        elif text.startswith('Stopping criterion =') and log.stage:
            log.stage.stopping_criterion = text.partition('=')[2].strip()
        elif text.startswith('Force max component initial, final =') and log.stage:
            values = _numbers(text.partition('=')[2].split())
            log.stage.final_force_eV_A = values[-1] if values else None
        elif text.startswith('Dangerous builds =') and text.split()[-1].isdigit():
            log.dangerous_builds += int(text.split()[-1])
        elif key := next((key for key in DEEPMD_FACTS if text.startswith(key)), None):
            log.deepmd[DEEPMD_FACTS[key]] = text.removeprefix(key).strip()
        elif (match := re.match(r'(\d+) atoms$', text)) and log.n_atoms is None:
            log.n_atoms = int(match[1])
    return log


def _add_row(log: RunLog, values: list[float]) -> None:
    stage = log.stages[-1]
    if log.not_finite_step is not None:
        return
    if not all(isfinite(value) for value in values):
        log.not_finite_step = int(values[0]) if isfinite(values[0]) else -1
        return
    # Rounds of a minimisation, and runs that continue, print the step they start from again.
    if stage.rows and stage.rows[-1][0] == values[0]:
        stage.rows.pop()
    stage.rows.append(values)


def _read_halt(log: RunLog, step: int, temperature: float) -> None:
    # Nothing is greater than nan, but LAMMPS stops there as well.
    if isfinite(temperature):
        log.runaway = step, temperature
    elif log.not_finite_step is None:
        log.not_finite_step = step


def _read_mark(log: RunLog, text: str) -> None:
    words = text.removeprefix(MARK).split()
    pairs: dict[str, Any] = dict(word.split('=', 1) for word in words if '=' in word)
    verb = words[0] if words else ''
    try:
        if verb == 'begin':
            log.stages.append(StageLog(pairs['stage'], pairs['kind'], int(pairs['step'])))
        elif verb == 'end' and log.stage and log.stage.name == pairs['stage']:
            log.stage.ended = True
        elif verb == 'completed':
            log.completed = True
        elif verb == 'interrupted':
            log.interrupted = True
        elif verb.startswith('round=') and log.stage:
            log.stage.rounds += 1
            log.stage.converged = float(pairs['converged']) > 0.5
    except (KeyError, ValueError):
        # A marker cut by a crash says nothing that the rows and files do not say as well.
        return
