"""The engines as AiiDA codes: found beside this Python, or given by the user."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ExitStatus, SetupError
from .profile import Say

if TYPE_CHECKING:
    from aiida.orm import Computer, InstalledCode


@dataclass(frozen=True)
class Engine:
    """A program of the chain: its code label, the program that comes with the package, and its plugin."""

    label: str
    program: str
    plugin: str
    option: str
    variables: tuple[str, ...]


_TENSORFLOW = (
    'TF_NUM_INTRAOP_THREADS',
    'TF_NUM_INTEROP_THREADS',
    'DP_INTRA_OP_PARALLELISM_THREADS',
    'DP_INTER_OP_PARALLELISM_THREADS',
)
ENGINES = (
    Engine('lmp', 'lmp', 'softclay.lammps', '--lmp', _TENSORFLOW),
    Engine('dp', 'dp', 'softclay.dp.train', '--dp', _TENSORFLOW),
    Engine('vasp', 'softclay-vasp', 'softclay.vasp_md', '--vasp', ('SOFTCLAY_THREADS',)),
)
#: The program of analysis jobs; its code is made when it is first needed.
ANALYSIS = Engine('analyse', 'softclay-analyse', 'softclay.analysis', '--analyse', ('NUMBA_NUM_THREADS',))


def thread_settings(engine: Engine, threads: int, *, local: bool) -> str:
    """Return the lines of a job script that bound an engine's threads and silence its start-up chatter.

    The daemon's environment reaches local jobs, so everything an engine looks at is set. On a cluster only the OpenMP
    threads are: how many there are is the scheduler's and the user's affair.
    """
    if not local:
        return 'export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}\n'
    names = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', *engine.variables)
    lines = [f'export {name}={threads}' for name in names]
    if engine.variables == _TENSORFLOW:
        # Without oneDNN the sums are taken in one order: the same job gives the same numbers.
        lines += ['export TF_CPP_MIN_LOG_LEVEL=3', 'export TF_ENABLE_ONEDNN_OPTS=0']
    return '\n'.join(lines) + '\n'


def ensure_code(
    engine: Engine, computer: Computer, command: str | None, threads: int, folder: Path, say: Say
) -> InstalledCode:
    """Make the code of an engine on ``computer``, unless the same is there.

    A code whose program or settings changed is not edited, because calculations that ran point to it: the old one is
    hidden under another label and a new one takes its place.

    Parameters
    ----------
    engine : Engine
        The engine.
    computer : aiida.orm.Computer
        Where it runs.
    command : str, optional
        What the user gave: a program, or on this machine a whole command such as ``mpirun -np 4 vasp_std``.
    threads : int
        Threads for each job on this machine.
    folder : Path
        The profile's folder, which takes the script that a whole command is wrapped in.
    say : callable
        Receives one line for each thing done.

    Raises
    ------
    SetupError
        If the program is not found.
    """
    from aiida.common.exceptions import NotExistent
    from aiida.orm import InstalledCode, load_code

    local = computer.transport_type == 'core.local'
    path = _local_program(engine, command, folder) if local else _remote_program(engine, command, computer)
    wanted = {
        'filepath_executable': path,
        'default_calc_job_plugin': engine.plugin,
        'prepend_text': thread_settings(engine, threads, local=local),
        # The programs that come with the package are serial; for the user's own the job's options decide.
        'with_mpi': False if command is None and local else None,
    }
    full_label = f'{engine.label}@{computer.label}'
    try:
        code = load_code(full_label)
    except NotExistent:
        code = None
    if code is not None:
        have = {
            'filepath_executable': str(code.filepath_executable),
            'default_calc_job_plugin': code.default_calc_job_plugin,
            'prepend_text': code.prepend_text,
            'with_mpi': code.with_mpi,
        }
        if have == wanted:
            say(f'code `{full_label}` is there: {path}')
            return code
        code.is_hidden = True
        code.label = f'{engine.label}-before-{code.pk}'
        say(f'code `{full_label}` changed: the former one is kept as `{code.label}`')
    code = InstalledCode(label=engine.label, computer=computer, **wanted).store()
    say(f'code `{full_label}` made: {path}')
    return code


def _local_program(engine: Engine, command: str | None, folder: Path) -> str:
    words = shlex.split(command) if command else [engine.program]
    beside = Path(sys.executable).parent / words[0]
    found = str(beside) if command is None and beside.is_file() else shutil.which(words[0])
    if found is None:
        if command is None:
            remedy = f"install it with `pip install 'aiida-softclay[engines]'`, or name yours with {engine.option}"
        else:
            remedy = f'give {engine.option} an existing program'
        raise SetupError(ExitStatus.ENGINE, f'the program `{words[0]}` for code `{engine.label}` is not here: {remedy}')
    found = str(Path(found).absolute())
    if len(words) == 1:
        return found
    script = folder / 'bin' / f'{engine.label}.sh'
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec {shlex.join([found, *words[1:]])} "$@"\n', encoding='utf-8')
    script.chmod(0o755)
    return str(script)


def _remote_program(engine: Engine, command: str | None, computer: Computer) -> str:
    words = shlex.split(command) if command else [engine.program]
    if len(words) > 1:
        raise SetupError(
            ExitStatus.USAGE,
            f'{engine.option} takes one program on computer `{computer.label}`, not a whole command: the launcher '
            '(mpirun, srun) belongs to the computer, module loads to its prepend text',
        )
    with computer.get_transport() as transport:
        lookup = f'{computer.get_prepend_text()}\ncommand -v {shlex.quote(words[0])}'
        status, stdout, _ = transport.exec_command_wait(f'bash -lc {shlex.quote(lookup)}')
    found = stdout.strip().splitlines()[-1] if status == 0 and stdout.strip() else ''
    if not found.startswith('/'):
        raise SetupError(
            ExitStatus.ENGINE,
            f'the program `{words[0]}` for code `{engine.label}` is not on computer `{computer.label}`: '
            f'give its absolute path with {engine.option}',
        )
    return found
