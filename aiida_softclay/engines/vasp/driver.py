"""The program ``softclay-vasp``: run like VASP, without arguments, in a folder with its four input files."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from pathlib import Path

#: Programs read these when they are first imported, hence before anything else here.
_THREAD_VARIABLES = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'NUMEXPR_NUM_THREADS')

HELP = """\
softclay-vasp: a VASP-compatible driver over ASE calculators. It is not VASP, and its energies are not from
density-functional theory: they come from a model potential (CHGNet by default) that every output file names.

Usage: softclay-vasp [--version | --help | --folders LIST]
  Runs in the current folder, which must hold INCAR, POSCAR, POTCAR and KPOINTS, and writes vasprun.xml, OUTCAR,
  CONTCAR, XDATCAR and OSZICAR there.
  With --folders it runs in each of the folders that the file LIST names, one a line, and leaves in each what a run of
  its own leaves there, with what that run prints in vasp_output: loading the model takes longer than a single point.
  A run that fails does not stop the others. Two lines a folder go to standard output, when the run begins and when it
  ends: `begin FOLDER TIME` and `end FOLDER STATUS TIME`, with its exit status and the time in seconds since 1970. When
  the time limit is near, or on SIGTERM, the folders that are left are not begun.

Environment
  SOFTCLAY_CALCULATOR         module:factory of an ASE calculator (default: CHGNet)
  SOFTCLAY_CALCULATOR_KWARGS  JSON object of arguments for it ({{"model_name": "r2scan"}} for CHGNet)
  SOFTCLAY_THREADS            threads (default: OMP_NUM_THREADS, else 1)
  SOFTCLAY_TIME_LIMIT         stop cleanly before this many seconds have passed since the start
  SOFTCLAY_FRAME_STRIDE       write only every n-th step of molecular dynamics to vasprun.xml, OUTCAR and XDATCAR

What it does, by INCAR
  static       NSW = 0 or IBRION = -1
  relaxation   IBRION = 1 (BFGS) or 2 (FIRE); ISIF = 2, 3, 4; EDIFFG of both signs; PSTRESS with ISIF = 3
  dynamics     IBRION = 0 with POTIM (fs), TEBEG, TEEND (linear ramp):
                 constant energy     SMASS = -3, or MDALGO = 1 with ANDERSEN_PROB = 0
                 Nose-Hoover         MDALGO = 2 or SMASS >= 0; chains: MDALGO = 4, NHC_NCHAINS, NHC_PERIOD
                 Langevin            MDALGO = 3, LANGEVIN_GAMMA (1/ps, one for each species)
                 constant pressure   MDALGO = 3, ISIF = 3, LANGEVIN_GAMMA_L, PMASS, PSTRESS (kB)
               RANDOM_SEED fixes the random numbers; POMASS replaces the masses of POTCAR
  dispersion   IVDW = 1 or 10 (Grimme D2), 11 (D3, zero damping), 12 (D3, Becke-Johnson), with their VDW_ parameters
  stop         LSTOP or LABORT in STOPCAR, SIGTERM, or the time limit: after the current step, with all files closed

Tags that are honoured
{honoured}
Tags that are accepted, recorded, and have no effect, because a model potential has no electrons
{no_effect}
Any other tag is refused, unless it switches off what the driver does not do anyway.

Exit status: 0 done or stopped cleanly, 2 bad input, 3 calculator not available, 4 files cannot be written,
5 the simulation has left the physical (not finite). With --folders: 0, or 2 if LIST cannot be read.
"""


def _wrap(names) -> str:
    import textwrap

    return textwrap.fill(' '.join(sorted(names)), 110, initial_indent='  ', subsequent_indent='  ')


def _help() -> str:
    from aiida_softclay.engines.vasp.incar import HONOURED_TAGS, NO_EFFECT_TAGS

    return HELP.format(honoured=_wrap(HONOURED_TAGS), no_effect=_wrap(NO_EFFECT_TAGS))


def _version() -> str:
    from aiida_softclay import __version__
    from aiida_softclay.engines.vasp.calculators import model_name

    return f'softclay-vasp {__version__}; model: {model_name(os.environ)}'


def _set_threads() -> None:
    threads = os.environ.get('SOFTCLAY_THREADS') or os.environ.get('OMP_NUM_THREADS') or '1'
    if not threads.isdigit() or int(threads) < 1:
        from aiida_softclay.engines.vasp.errors import InputError

        raise InputError(f'SOFTCLAY_THREADS = {threads} must be a positive whole number')
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = threads


def _run(folder: Path, started: float) -> int:
    """Run in one folder and return the exit status; what went wrong is one line on standard error."""
    from aiida_softclay.engines.vasp.errors import DriverError

    try:
        from aiida_softclay.engines.vasp.run import Driver

        Driver(folder, os.environ, started).execute()
    except DriverError as error:
        print(f' softclay-vasp error: {error}', file=sys.stderr, flush=True)
        return error.exit_status
    except OSError as error:
        print(f' softclay-vasp error: a file cannot be written: {error}', file=sys.stderr, flush=True)
        return 4
    return 0


def _run_alone(folder: Path, started: float) -> int:
    """Run in one of several folders: what it prints goes to ``vasp_output`` there, and nothing stops the others."""
    try:
        with (
            (folder / 'vasp_output').open('w', encoding='utf-8') as output,
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            try:
                return _run(folder, started)
            except Exception:
                traceback.print_exc()
                return 1
    except OSError:
        return 4


def _run_folders(names: Path, started: float) -> int:
    """Run in each of the folders that a file names, one a line."""
    from aiida_softclay.engines.vasp.errors import InputError
    from aiida_softclay.engines.vasp.run import StopSignal, time_limit

    try:
        folders = [Path(line) for line in names.read_text(encoding='utf-8').splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'the list of folders {names} cannot be read: {error}') from error
    # It knows the longest run so far, as it knows the longest step within one.
    stop = StopSignal(Path.cwd(), time_limit(os.environ), started)
    for folder in folders:
        print(f'begin {folder} {int(time.time())}', flush=True)
        status = _run_alone(folder, started)
        print(f'end {folder} {status} {int(time.time())}', flush=True)
        if stop.reason() is not None:
            break
    return 0


def main() -> int:
    """Run the driver as the command line says and return its exit status."""
    started = time.monotonic()
    from aiida_softclay.engines.vasp.errors import DriverError

    try:
        arguments = sys.argv[1:]
        _set_threads()
        if not arguments:
            return _run(Path.cwd(), started)
        if len(arguments) == 1 and arguments[0] in ('--version', '-V'):
            print(_version())
            return 0
        if len(arguments) == 2 and arguments[0] == '--folders':
            return _run_folders(Path(arguments[1]), started)
        print(_help())
        return 0 if arguments[0] in ('--help', '-h') else 2
    except DriverError as error:
        print(f' softclay-vasp error: {error}', file=sys.stderr, flush=True)
        return error.exit_status


if __name__ == '__main__':
    sys.exit(main())
