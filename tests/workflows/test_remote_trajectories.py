"""Runs whose frames stay on the computer: the numbers of those that are retrieved, copies that outlive the cleaning."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from md_samples import ARGON, argon, reports, run_md
from molten_salt import ONE_EXTENSION, SALT, salt
from test_conductivity_runs import numbers_of

from aiida_softclay.calcfunctions.plasticity import analyse_plasticity
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile
from aiida_softclay.workflows.conductivity import ConductivityWorkChain
from aiida_softclay.workflows.constant_strain import ConstantStrainWorkChain
from aiida_softclay.workflows.md import MdWorkChain


@pytest.fixture
def analyse_code(localhost):
    """The program of analyses on the computer of LAMMPS."""
    program = Path(sys.executable).parent / 'softclay-analyse'
    return orm.InstalledCode(
        label='analyse', computer=localhost, filepath_executable=str(program), with_mpi=False,
        default_calc_job_plugin='softclay.analysis', prepend_text='export OMP_NUM_THREADS=1\n',
    ).store()  # fmt: skip


def conductivity(code, overrides=ONE_EXTENSION, **remote):
    builder = ConductivityWorkChain.get_builder_from_protocol(
        code, salt(), classical=SALT, overrides=overrides, **remote
    )
    _, node = run_get_node(builder)
    return node


def values_of(node):
    return {name: (row['value'], row['error'], row['warnings']) for name, row in numbers_of(node).items()}


@pytest.mark.engine
def test_a_conductivity_is_the_same_wherever_its_frames_are(lmp_code, analyse_code, tmp_path):
    """Two runs joined by the daemon, or where they lie: the same numbers, from jobs on that computer."""
    here = conductivity(lmp_code)
    assert here.is_finished_ok, here.exit_message
    stash = tmp_path / 'kept'
    there = conductivity(lmp_code, analysis_code=analyse_code, max_retrieved_bytes=0, dump_stash=str(stash))
    assert there.is_finished_ok, there.exit_message
    assert len(here.outputs.run_lengths['runs']) == 2
    assert values_of(there.outputs.results) == values_of(here.outputs.results)
    assert values_of(there.outputs.further.collective) == values_of(here.outputs.further.collective)
    for name in ('msd_Li', 'lag_time'):
        np.testing.assert_array_equal(there.outputs.curve.get_array(name), here.outputs.curve.get_array(name))
    assert there.outputs.run_lengths['seams'] == here.outputs.run_lengths['seams']
    joined, wanted = there.outputs.collective.production, here.outputs.collective.production
    np.testing.assert_array_equal(joined.get_array('centre_Li'), wanted.get_array('centre_Li'))
    assert joined.base.attributes.get('units') == wanted.base.attributes.get('units')

    retrieved = here.outputs.trajectories.production

    # No frame came over: they were converted, joined and analysed by jobs.
    assert 'trajectories' not in there.outputs
    jobs = {process.process_label for process in there.called_descendants if isinstance(process, orm.CalcJobNode)}
    assert jobs == {'LammpsMdCalculation', 'ConvertCalculation', 'JoinCalculation', 'AnalysisCalculation'}
    assert there.outputs.results.creator.process_label == 'AnalysisCalculation'
    assert sorted(there.outputs.remote_dumps) == sorted(there.outputs.stashed_dumps) == ['segment_0000', 'segment_0001']

    # The work directories are cleaned: what was kept still holds the whole run.
    for node in there.called_descendants:
        if isinstance(node, orm.CalcJobNode):
            shutil.rmtree(node.get_remote_workdir())
    kept = Path(there.outputs.stashed_trajectories.target_basepath)
    assert stash in kept.parents
    summary = there.outputs.remote_summary['stages']['production']
    with TrajectoryFile(kept / 'production.h5') as frames, retrieved.open_trajectory() as wanted:
        np.testing.assert_array_equal(frames.positions[:], wanted.positions[:])
        np.testing.assert_array_equal(frames.steps[:], wanted.steps[:])
        assert frames.content_hash() == summary['content_hash']
    for folder in dict(there.outputs.stashed_dumps).values():
        assert (Path(folder.target_basepath) / 'production.dump.bin').stat().st_size > 0


@pytest.mark.engine
def test_frames_of_one_element_give_its_conductivity(lmp_code):
    """LAMMPS writes the centres of all elements, so that those frames have a centre of mass."""
    # The window is else looked for among the ions that are followed.
    overrides = {**ONE_EXTENSION, 'relative_error_wanted': None, 'window_share': [0.1, 0.3]}
    whole = conductivity(lmp_code, overrides=overrides)
    part = conductivity(lmp_code, overrides={**overrides, 'dump_elements': ['Li']})
    assert part.is_finished_ok, part.exit_message
    assert part.outputs.trajectories.production.formula == 'Li32'
    wanted, found = numbers_of(whole.outputs.results), numbers_of(part.outputs.results)
    assert set(found) == {'diffusivity.Li', 'conductivity.Li'}
    assert found['diffusivity.Li']['value'] == pytest.approx(wanted['diffusivity.Li']['value'], rel=1e-3)
    wanted, found = numbers_of(whole.outputs.further.collective), numbers_of(part.outputs.further.collective)
    assert found['conductivity.total']['value'] == pytest.approx(wanted['conductivity.total']['value'], rel=1e-6)
    assert found['haven_ratio']['value'] is None


@pytest.mark.engine
def test_zones_of_a_shear_are_found_where_its_frames_are(lmp_code, analyse_code):
    overrides = {'temperature_K': 300.0, 'equilibrate_ps': 0.1, 'rate_per_ps': 0.2, 'maximum_strain': 0.1,
                 'thermo_every': 5, 'snapshot_strain': 0.05, 'timestep_ps': 0.002}  # fmt: skip
    found = []
    reading = {'analysis_code': analyse_code, 'analysis_options': {'max_wallclock_seconds': 300}}
    for remote in (reading, {}):
        builder = ConstantStrainWorkChain.get_builder_from_protocol(
            lmp_code, salt(), classical=SALT, overrides=overrides, options={'max_wallclock_seconds': 600},
            max_retrieved_bytes=0, **remote,
        )  # fmt: skip
        _, node = run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        found.append(node)
    there, unread = found
    job = there.outputs.further.plasticity.creator
    frames = Path(there.outputs.remote_trajectories.get_remote_path()) / 'deform.h5'
    here = analyse_plasticity(MdTrajectoryData.from_file(frames), job.inputs.parameters)
    assert values_of(there.outputs.further.plasticity) == values_of(here['results'])
    curves = {f'plasticity_{name}' for name, node in here.items() if isinstance(node, orm.ArrayData)}
    assert set(there.outputs.further_curves) == curves
    limits = {
        job.process_label: job.get_option('max_wallclock_seconds')
        for job in there.called_descendants if isinstance(job, orm.CalcJobNode)
    }  # fmt: skip
    assert limits == {'LammpsMdCalculation': 600, 'ConvertCalculation': 300, 'AnalysisCalculation': 300}
    # The curve of the stress needs no frames.
    assert values_of(unread.outputs.results) == values_of(there.outputs.results)
    assert 'further' not in unread.outputs
    assert 'there is no analysis_code' in reports(unread)


def problem_of(builder):
    found = builder.process_class.spec().inputs.validate(builder._inputs(prune=True))
    return found and found.message


def test_what_nothing_would_read_is_refused_before_it_runs(lmp_code, analyse_code):
    builder = ConductivityWorkChain.get_builder_from_protocol(
        lmp_code, salt(), classical=SALT, overrides=ONE_EXTENSION, max_retrieved_bytes=50_000
    )
    symbols = {'Li': 32, 'Cl': 32}
    size = MdPlan.from_dict(ConductivityWorkChain.build_plan(builder.parameters.get_dict()).to_dict()).dump_bytes(
        symbols
    )
    message = problem_of(builder)
    assert f'take {size:,} bytes, more than max_retrieved_bytes = 50,000' in message
    assert 'Give analysis_code' in message
    builder.max_retrieved_bytes = orm.Int(size)
    assert problem_of(builder) is None
    builder.max_retrieved_bytes = orm.Int(0)
    builder.analysis_code = analyse_code
    assert problem_of(builder) is None
    # Without species there is nothing to follow.
    builder.parameters = orm.Dict({**builder.parameters.get_dict(), 'dump_elements': ['Cl']})
    assert 'add Li to dump_elements' in problem_of(builder)


def test_jobs_run_where_the_frames_are(lmp_code, analyse_code, aiida_computer_local):
    elsewhere = orm.InstalledCode(
        label='analyse', computer=aiida_computer_local(label='elsewhere'), filepath_executable='/bin/true'
    ).store()
    stages = [{'name': 'hold', 'kind': 'nvt', 'duration_ps': 0.1, 'temperature_K': 50}]
    base = {
        'code': lmp_code,
        'structure': argon(1),
        'plan': {'stages': stages},
        'classical': {'pair_lines': orm.List(ARGON['pair_lines'])},
    }
    for changes, sentence in (
        ({'analysis_code': elsewhere}, 'LAMMPS runs on softclay-tests, the job would run on elsewhere'),
        ({'analysis_code': analyse_code, 'dump_stash': '/a', 'restart_stash': '/b'}, 'a job has one stash'),
        ({'dump_stash': 'kept'}, 'given with its whole path'),
    ):
        with pytest.raises(ValueError, match=sentence):
            run_get_node(MdWorkChain, **base, **changes)


@pytest.mark.engine
def test_copies_of_dumps_and_restart_files_share_a_folder(aiida_profile_clean, lmp_code, tmp_path):
    stash = tmp_path / 'kept'
    stages = [{'name': 'hold', 'kind': 'nvt', 'duration_ps': 0.2, 'temperature_K': 50}]
    kept = {'max_retrieved_bytes': 0, 'dump_stash': str(stash), 'restart_stash': str(stash)}
    node = run_md(lmp_code, stages, argon(2), others=kept)
    (folder,) = dict(node.outputs.stashed_dumps).values()
    names = {path.name for path in Path(folder.target_basepath).iterdir()}
    assert {'hold.dump.bin', 'hold.end.restart'} <= names
    # Dumps that are retrieved are not copied.
    node = run_md(lmp_code, stages, argon(2), others={**kept, 'max_retrieved_bytes': 10**9}, seed=8)
    assert 'stashed_dumps' not in node.outputs
    assert not any(path.name == 'hold.dump.bin' for path in stash.rglob('*') if folder.target_basepath not in str(path))
    # A job of an earlier launch, which copied nothing, is not taken for one that does.
    run_md(lmp_code, stages, argon(2), others={'max_retrieved_bytes': 0}, seed=9)
    with enable_caching(identifier='aiida.calculations:softclay.lammps'):
        again = run_md(lmp_code, stages, argon(2), others={'max_retrieved_bytes': 0, 'dump_stash': str(stash)}, seed=9)
    assert 'stashed_dumps' in again.outputs
