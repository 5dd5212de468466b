"""Every way a job of a molecular dynamics run can end has its handler: it goes on, repeats or gives up, and says so."""

import re
import shutil

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from md_samples import (
    ARGON,
    KILL,
    argon,
    code_that_always,
    code_that_fails_in_turn,
    code_that_fails_once,
    reports,
    run_md,
)

from aiida_softclay.workflows.md import MdWorkChain

pytestmark = pytest.mark.engine

LINES = ARGON['pair_lines']
HOLD = [{'name': 'hold', 'kind': 'nvt', 'duration_ps': 1.0, 'temperature_K': 30}]
LONG = [{'name': 'long', 'kind': 'nvt', 'duration_ps': 3.0, 'temperature_K': 30}]
#: As soon as LAMMPS works on the stage, and long before its first restart file.
KILL_EARLY = """
  until grep -q 'begin stage' log.lammps 2>/dev/null; do sleep 0.01; done
  kill -9 $pid
"""


def end_reasons(node):
    statistics = node.outputs.statistics.get_dict()
    return statistics.get('end_reasons', [statistics['end_reason']])


def test_a_runaway_temperature_ends_the_run_by_name(lj_code):
    """A crystal squeezed to half its volume sets its energy free."""
    atoms = bulk('Ar', 'fcc', a=4.0, cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=1)
    node = run_md(lj_code, HOLD, orm.StructureData(ase=atoms), expect=504)
    assert re.search(r'stage hold: 1\d\d\d K at step 10, the limit is 1150 K', node.exit_message)
    assert node.outputs.thermo.hold.get_array('temperature_K')[-1] > 1150
    (job,) = node.called
    # The last state was written: it shows which atoms are too close.
    assert 'structure' in job.outputs
    assert end_reasons(node) == ['temperature_runaway']
    assert 'ran away' in reports(node)


def test_energies_that_are_not_finite_end_the_run_by_name(lj_code):
    atoms = bulk('Ar', 'fcc', a=5.3, cubic=True)
    atoms.positions[1] = atoms.positions[0]
    node = run_md(lj_code, HOLD, orm.StructureData(ase=atoms), expect=502)
    assert 'stage hold' in node.exit_message
    assert len(node.called) == 1


def test_a_full_disk_ends_the_run_by_name(lj_code, tmp_path):
    """The system's own device without room stands for the disk: LAMMPS gets the true error."""
    code = code_that_always(lj_code, tmp_path, 'full', before='ln -sf /dev/full hold.dump.bin')
    node = run_md(code, HOLD, expect=403)
    assert 'No space left on device' in node.exit_message
    assert f'the disk of {lj_code.computer.label} is full' in node.exit_message
    assert len(node.called) == 1
    assert end_reasons(node) == ['disk_full']


def test_failures_without_progress_are_repeated_so_often(lj_code, tmp_path):
    code = code_that_always(lj_code, tmp_path, 'killed', meanwhile=KILL_EARLY)
    node = run_md(code, LONG, argon(5), expect=401, others={'max_transient_failures': 1})
    assert len(node.called) == 2
    assert 'the job failed 2 times without getting further' in node.exit_message
    assert 'running it again from where it started, 1 of 1 times' in reports(node)
    assert 'it was repeated 1 times, the run ends' in reports(node)


#: What Slurm and PBS print into a job's standard error when they end it.
NODE_FAILURE = 'slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-02T03:04:05 DUE TO NODE FAILURE ***'
OUT_OF_TIME = '=>> PBS: job killed: walltime 66 exceeded limit 60'
OUT_OF_MEMORY = 'slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.'


def test_jobs_that_the_scheduler_ended_go_on(lj_code, tmp_path):
    """One run loses its machine, then its time, then its memory, and is whole in the end."""
    messages = [NODE_FAILURE, OUT_OF_TIME, OUT_OF_MEMORY]
    code = code_that_fails_in_turn(lj_code, tmp_path, 'unlucky', [f"{KILL}\necho '{text}' >&2" for text in messages])
    node = run_md(code, LONG, argon(4), restart_every=50)
    jobs = sorted((job for job in node.called if isinstance(job, orm.CalcJobNode)), key=lambda job: job.pk)
    assert [job.exit_status for job in jobs] == [140, 120, 110, 0]
    for job, message in zip(jobs, messages, strict=False):
        assert message in job.exit_message
        assert 'it can go on from step' in job.exit_message
    assert end_reasons(node) == ['node_failure', 'walltime_kill', 'out_of_memory', 'completed']
    np.testing.assert_array_equal(node.outputs.thermo.long.get_array('step'), np.arange(0, 1501, 10))
    with node.outputs.trajectories.long.open_trajectory() as trajectory:
        np.testing.assert_array_equal(trajectory.steps[:], np.arange(0, 1501, 50))
    assert all(seam['checked'] for seam in node.outputs.statistics['seams'])
    said = reports(node)
    for words in ('its machine failed: ', 'killed at its time limit: ', 'out of memory: '):
        assert words in said
    assert said.count('going on from step') == 3


def test_too_little_memory_for_the_first_step_is_not_tried_again(lj_code, tmp_path):
    code = code_that_always(lj_code, tmp_path, 'starved', meanwhile=f"{KILL_EARLY}\n  echo '{OUT_OF_MEMORY}' >&2\n")
    node = run_md(code, LONG, argon(5), expect=404)
    assert len(node.called) == 1
    assert 'ask for more' in node.exit_message


def test_a_run_goes_on_from_restart_files_that_were_stashed(lj_code, tmp_path):
    """The first run has too few jobs, then its work directory is cleaned away."""
    killed = code_that_fails_once(lj_code, tmp_path, 'killed', first=KILL)
    stash = tmp_path / 'stash'
    once = {'max_iterations': 1, 'restart_stash': str(stash)}
    cut = run_md(killed, LONG, argon(4), expect=402, others=once, restart_every=50)
    (job,) = cut.called
    kept = sorted(path.name for path in stash.rglob('*.restart'))
    assert kept == ['long.a.restart', 'long.b.restart']
    assert job.outputs.remote_stash.target_basepath.startswith(str(stash))
    shutil.rmtree(job.outputs.remote_folder.get_remote_path())

    builder = MdWorkChain.get_builder_to_go_on(cut)
    builder.max_iterations = orm.Int(5)
    resume = builder.resume.get_dict()
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    step = node.outputs.thermo[resume['stage']].get_array('step')
    assert step[0] >= resume['step']
    assert node.outputs.statistics['resumed_from']['step'] == resume['step']
    assert node.outputs.statistics['seam']['checked']

    with pytest.raises(ValueError, match='no job of run'):
        MdWorkChain.get_builder_to_go_on(orm.WorkChainNode())


SHEAR = {'kind': 'deform', 'component': 'yz', 'rate_per_ps': 0.1}


@pytest.mark.parametrize(
    ('stage', 'plan', 'words'),
    [
        ({'kind': 'npt', 'coupling': 'aniso', 'stress_GPa': {'xy': 0.1}}, {}, 'a shear stress needs coupling `tri`'),
        ({**SHEAR, 'duration_ps': 20.0}, {}, 'would have to be flipped'),
        ({'tdamp_ps': 0.005}, {}, 'tdamp_ps = 0.005 is below five time steps'),
        ({}, {'timestep_ps': 0.05}, 'too long for a time step'),
        ({'temperature_K': 0}, {}, '0 K is not a temperature to simulate'),
        ({'temperature_end_K': 0}, {}, '0 K is not a temperature to simulate'),
        ({'kind': 'npt', 'stress_GPa': {'zy': 0.1}}, {}, 'unknown stress component zy'),
        ({'duration_ps': -1}, {}, 'greater than 0 (given: -1)'),
        ({}, {'max_temperature_K': 20}, 'aims at 30 K'),
    ],
)
def test_bad_plans_are_refused_at_submission(lj_code, stage, plan, words):
    bad = {'timestep_ps': 0.002, **plan, 'stages': [{**HOLD[0], **stage}]}
    with pytest.raises(ValueError, match=re.escape(words)):
        run_get_node(
            MdWorkChain, code=lj_code, structure=argon(1), plan=orm.Dict(bad), classical={'pair_lines': orm.List(LINES)}
        )


@pytest.mark.parametrize(
    ('inputs', 'words'),
    [
        ({'classical': {'pair_lines': {'elements': ['Ne'], 'lines': LINES}}}, 'the structure has Ar'),
        ({'restart_stash': 'kept'}, 'whole path'),
        ({'max_transient_failures': -1}, 'cannot be negative'),
        ({'deviation_check_seconds': 10}, 'needs max_model_deviation_eV_A'),
        (
            {'options': {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 4}, 'withmpi': False}},
            '4 MPI ranks',
        ),
        ({'options': {'resources': {'num_machines': 1}, 'max_wallclock_seconds': 0}}, 'no time to run in'),
    ],
)
def test_bad_inputs_are_refused_at_submission(lj_code, inputs, words):
    base = {'code': lj_code, 'structure': argon(1), 'plan': {'stages': HOLD}, 'classical': {'pair_lines': LINES}}
    with pytest.raises(ValueError, match=words):
        run_get_node(MdWorkChain, **{**base, **inputs})
