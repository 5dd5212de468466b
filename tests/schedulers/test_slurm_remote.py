"""Frames that stay on a cluster behind SSH: joined and analysed there by jobs of its queue."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from aiida import orm
from aiida.cmdline.utils.common import get_workchain_report
from aiida.engine import run_get_node
from molten_salt import ONE_EXTENSION, SALT, salt

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.workflows.conductivity import ConductivityWorkChain

pytestmark = [pytest.mark.engine, pytest.mark.cluster]

OPTIONS = {'max_wallclock_seconds': 600}


@pytest.fixture
def analyse_ssh(slurm_computer_ssh):
    """The program of analyses on the cluster, over SSH."""
    return orm.InstalledCode(
        label='analyse', computer=slurm_computer_ssh, with_mpi=False, default_calc_job_plugin='softclay.analysis',
        filepath_executable=str(Path(sys.executable).parent / 'softclay-analyse'),
        prepend_text='export OMP_NUM_THREADS=1\n',
    ).store()  # fmt: skip


def test_over_ssh_a_conductivity_is_computed_where_its_frames_lie(slurm, slurm_lmp_ssh, analyse_ssh, tmp_path):
    """Runs, conversion, joining, analysis: all jobs of SLURM; numbers come back, frames do not."""
    stash = tmp_path / 'kept'
    builder = ConductivityWorkChain.get_builder_from_protocol(
        slurm_lmp_ssh, salt(), classical=SALT, overrides=ONE_EXTENSION, options=OPTIONS,
        analysis_code=analyse_ssh, analysis_options=OPTIONS, max_retrieved_bytes=0, dump_stash=str(stash),
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.is_finished_ok, get_workchain_report(node, 'REPORT')
    check_results(node.outputs.results.get_dict())
    diffusivity = next(row for row in node.outputs.results['numbers'] if row['name'] == 'diffusivity.Li')
    assert 0 < diffusivity['error'] < diffusivity['value']
    assert len(node.outputs.run_lengths['runs']) == 2

    assert 'trajectories' not in node.outputs
    jobs = [child for child in node.called_descendants if isinstance(child, orm.CalcJobNode)]
    kinds = {job.process_label for job in jobs}
    assert kinds == {'LammpsMdCalculation', 'ConvertCalculation', 'JoinCalculation', 'AnalysisCalculation'}
    numbers = [job.get_job_id() for job in jobs]
    assert len(set(numbers)) == len(jobs), 'not every job had a number of its own in the queue'
    assert all(job.computer.transport_type == 'core.ssh' for job in jobs)
    for job in jobs:
        names = job.outputs.retrieved.base.repository.list_object_names()
        assert not [name for name in names if name.endswith(('.dump.bin', '.h5'))], job.process_label
    # Copies outlive the cleaning of the work directory.
    assert [path for path in stash.rglob('*') if path.is_file()]
