"""Runs on a real SLURM whose operator interferes: time limits, cancelled jobs, nodes that fail or are drained."""

import asyncio
import threading

import numpy as np
import pytest
from aiida import orm
from aiida.cmdline.utils.common import get_workchain_report
from aiida.engine import run_get_node
from aiida.manage import get_manager
from ase.build import bulk

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calculations.lammps import LammpsMdCalculation
from aiida_softclay.workflows.constant_strain import ConstantStrainWorkChain
from aiida_softclay.workflows.md import MdWorkChain

pytestmark = [pytest.mark.engine, pytest.mark.cluster]

# A long cutoff makes LAMMPS slow enough to be caught in the middle.
ARGON = {'pair_lines': ['pair_style lj/cut 14.0', 'pair_coeff * * 0.0104 3.4', 'pair_modify shift yes']}
LAST_STEP, FRAME, ROW = 1500, 50, 10
PLAN = {
    'timestep_ps': 0.002, 'seed': 7, 'thermo_every': ROW, 'dump_every': FRAME, 'restart_every': 50,
    'stages': [
        {'name': 'long', 'kind': 'npt', 'duration_ps': 0.002 * LAST_STEP, 'temperature_K': 20,
         'stress_GPa': {'yz': 0.02}},
        {'name': 'last', 'kind': 'nve', 'duration_ps': 0.2},
    ],
}  # fmt: skip
RESTARTS = ('long.a.restart', 'long.b.restart')
OPTIONS = {'max_wallclock_seconds': 600}
TIME_LIMIT, NODE_FAILURE = 120, 140  # AiiDA's exit statuses of every CalcJob


def argon(size):
    return orm.StructureData(ase=bulk('Ar', 'fcc', a=5.3, cubic=True) * (size, size, size))


class Operator(threading.Thread):
    """Somebody who works on the cluster while workchains run; what goes wrong there fails the test."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.problem = work, None

    def run(self):
        try:
            self.work()
        except BaseException as exception:
            self.problem = exception

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.join(timeout=5)
        if kind is None:
            assert not self.is_alive(), 'the operator still waits for something that did not happen'
            if self.problem is not None:
                raise self.problem


def run_together(*builders):
    """Run several workchains at the same time in this process."""
    runner = get_manager().get_runner()
    nodes = [runner.schedule(builder) for builder in builders]

    async def ended():
        while not all(node.is_terminated for node in nodes):
            await asyncio.sleep(0.2)

    runner.loop.run_until_complete(ended())
    return nodes


def jobs_of(node):
    """Return the LAMMPS jobs of a workchain in their order, and what its reports and theirs say."""
    jobs = [child for child in node.called_descendants if isinstance(child, orm.CalcJobNode)]
    chains = [node, *(child for child in node.called_descendants if isinstance(child, orm.WorkChainNode))]
    text = '\n'.join(get_workchain_report(chain, 'REPORT') for chain in chains)
    return sorted(jobs, key=lambda job: job.pk), text


def check_whole(node):
    """Every step of the plan is there once, and thermostat and barostat went on where they were."""
    long = node.outputs.thermo.long
    np.testing.assert_array_equal(long.get_array('step'), np.arange(0, LAST_STEP + 1, ROW))
    with node.outputs.trajectories.long.open_trajectory() as trajectory:
        np.testing.assert_array_equal(trajectory.steps[:], np.arange(0, LAST_STEP + 1, FRAME))
        assert np.abs(np.diff(trajectory.positions[:], axis=0)).max() < 2.0
    assert node.outputs.trajectories.last.n_frames == 3
    assert node.outputs.statistics['steps'] == LAST_STEP + 100
    # Without a job's end, too, it jumps where the barostat takes a new reference cell, every 500 steps.
    jumps = np.abs(np.diff(long.get_array('conserved_energy_eV')))
    assert jumps[long.get_array('step')[1:] % 500 != 0].max() < 1e-3


def test_time_limit_cancelled_jobs_and_a_node_that_fails_and_is_drained(slurm, slurm_lmp):
    """Two workchains lose every job but their last, each time in another way, and end with whole results."""
    md, strain = [], []

    def operate():
        # A job that hangs until its time limit; SLURM looks at the limits twice a minute.
        hanging = slurm.running_with(*RESTARTS)
        slurm.freeze(hanging)
        slurm.exhaust_time(hanging)
        # A job that is cancelled while it runs.
        cancelled = slurm.running_with('equilibrate.end.restart')
        slurm.freeze(cancelled)
        slurm.command('scancel', cancelled.number)
        slurm.gone(cancelled)
        hung = slurm.running_with('deform.dump.bin')
        slurm.freeze(hung)
        slurm.gone(hanging)
        # The node fails under both; the next jobs find it down. One of them is cancelled before it ever ran.
        running = slurm.running_with(*RESTARTS)
        slurm.freeze(running)
        slurm.set_node('DOWN')
        slurm.gone(running)
        slurm.gone(hung)
        waiting = slurm.waiting('long')
        slurm.command('scancel', waiting.number)
        md.extend([hanging, running, waiting])
        strain.extend([cancelled, hung, slurm.waiting('deform')])
        slurm.gone(waiting)
        waiting = slurm.waiting('long')
        slurm.set_node('RESUME')
        # A node that is drained lets its jobs end and starts none.
        running = slurm.running_with(*RESTARTS)
        assert running.number == waiting.number
        slurm.freeze(running)
        slurm.set_node('DRAIN')
        slurm.command('scancel', running.number)
        slurm.gone(running)
        last = slurm.waiting('long')
        slurm.wait(lambda: not slurm.jobs('R', 'CG'), 'the end of the other job, which the drained node lets run')
        assert [job.number for job in slurm.jobs('PD')] == [last.number]
        slurm.set_node('RESUME')
        md.extend([running, last])

    builders = (
        MdWorkChain.get_builder_from_protocol(slurm_lmp, argon(5), PLAN, classical=ARGON, options=OPTIONS),
        ConstantStrainWorkChain.get_builder_from_protocol(
            slurm_lmp, argon(5), classical=ARGON, options=OPTIONS,
            overrides={'temperature_K': 20.0, 'timestep_ps': 0.002},
        ),
    )  # fmt: skip
    with Operator(operate):
        md_node, strain_node = run_together(*builders)
    md_jobs, md_text = jobs_of(md_node)
    strain_jobs, strain_text = jobs_of(strain_node)
    assert md_node.is_finished_ok, md_text
    assert strain_node.is_finished_ok, strain_text
    check_whole(md_node)
    check_results(strain_node.outputs.results.get_dict())
    steps = strain_node.outputs.thermo.deform.get_array('step')
    np.testing.assert_array_equal(steps, np.arange(steps[0], steps[-1] + 1, 5))

    # No job more than the operator ended, and each ended as SLURM says.
    codes = LammpsMdCalculation.exit_codes
    cut, silent = codes.ERROR_INTERRUPTED.status, codes.ERROR_NO_LOG.status
    assert [job.get_job_id() for job in md_jobs] == [job.number for job in md]
    assert [job.exit_status for job in md_jobs] == [TIME_LIMIT, NODE_FAILURE, silent, cut, 0]
    assert [job.get_job_id() for job in strain_jobs] == [job.number for job in strain]
    assert [job.exit_status for job in strain_jobs] == [cut, NODE_FAILURE, 0]
    # The reports tell the reader, too.
    assert 'walltime' in md_text
    assert 'NODE FAILURE' in md_text
    assert 'NODE FAILURE' in strain_text


def test_over_ssh_a_cancelled_job_goes_on(slurm, slurm_lmp_ssh):
    """The same over SSH: upload, queue, restart files that stay on the cluster, and what comes back."""

    def operate():
        job = slurm.running_with(*RESTARTS)
        slurm.freeze(job)
        slurm.command('scancel', job.number)

    builder = MdWorkChain.get_builder_from_protocol(
        slurm_lmp_ssh, argon(5), PLAN, classical=ARGON, options=OPTIONS
    )  # fmt: skip
    with Operator(operate):
        _, node = run_get_node(builder)
    jobs, text = jobs_of(node)
    assert node.is_finished_ok, text
    check_whole(node)
    assert len(jobs) == 2
    assert jobs[0].computer.transport_type == 'core.ssh'
    assert 'CANCELLED' in jobs[0].get_scheduler_stderr()
