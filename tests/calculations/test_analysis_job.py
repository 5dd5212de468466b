"""The analysis job: the numbers of the calcfunction, from a node or from a folder on the computer; its failures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_softclay.calcfunctions.transport import analyse_conductivity
from aiida_softclay.calculations.analyses import ANALYSES, find_analysis
from aiida_softclay.calculations.analysis import AnalysisCalculation
from aiida_softclay.cli.analyse import main
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile
from aiida_softclay.report.figures import plot_curves

PARAMETERS = {'charges': {'Li': 1, 'Cl': -1}}


@pytest.fixture
def walkers(tmp_path):
    """A file of 40 ions that walk at random."""
    path = tmp_path / 'trajectory.h5'
    positions = np.cumsum(np.random.default_rng(1).normal(scale=0.3, size=(200, 40, 3)), axis=0)
    with TrajectoryFile(path, 'w', np.repeat([3, 17], 20), 0.001, engine={'program': 'LAMMPS'}, stage='run') as target:
        for index, frame in enumerate(positions):
            target.append(frame, np.eye(3) * 12.0, index * 100)
    return path


def thermo():
    return orm.ArrayData({'temperature_K': 600.0 + np.random.default_rng(0).normal(scale=5, size=100)})


@pytest.fixture
def code(localhost):
    program = Path(sys.executable).parent / 'softclay-analyse'
    return orm.InstalledCode(
        label='analyse', computer=localhost, filepath_executable=str(program), with_mpi=False,
        default_calc_job_plugin='softclay.analysis', prepend_text='export OMP_NUM_THREADS=1\n',
    ).store()  # fmt: skip


def inputs(code, **changes):
    common = {'code': code, 'analysis': 'conductivity', 'parameters': PARAMETERS, 'arrays': {'thermo': thermo()}}
    return {**common, **changes}


def rows(results):
    return {row['name']: (row['value'], row['error'], row['unit']) for row in results['numbers']}


@pytest.mark.parametrize('where', ['node', 'folder'])
def test_job_and_calcfunction_agree(aiida_profile, code, walkers, where):
    """The same function on the same data gives the same numbers and curves, wherever the trajectory lies."""
    node = MdTrajectoryData.from_file(walkers).store()
    expected = analyse_conductivity(node, thermo(), orm.Dict(PARAMETERS))
    source, extra = node, {}
    if where == 'folder':
        target = walkers.rename(walkers.with_name('production.h5'))
        source = orm.RemoteData(computer=code.computer, remote_path=str(target.parent))
        extra = {'remote_files': {'trajectory': target.name}}
    results, job = run_get_node(AnalysisCalculation, **inputs(code, trajectories={'trajectory': source}, **extra))
    assert job.is_finished_ok, job.exit_message
    assert rows(results['results']) == rows(expected['results'])
    curve, wanted = results['arrays']['curve'], expected['curve']
    assert set(curve.get_arraynames()) == set(wanted.get_arraynames())
    assert np.array_equal(curve.get_array('msd_Li'), wanted.get_array('msd_Li'))
    assert curve.base.attributes.get('units') == wanted.base.attributes.get('units')
    statistics = results['statistics'].get_dict()
    assert statistics['frames'] == {'trajectory': 200}
    assert statistics['peak_memory_MB'] > 10
    assert {'numpy', 'aiida-softclay'} <= set(statistics['versions'])
    assert plot_curves(job, walkers.with_name('msd.png')) == ['msd']
    # The trajectory is a node or stays where it is: the job's inputs hold no copy of it.
    assert not any(name.endswith('.h5') for name in job.base.repository.list_object_names())


def test_data_that_cannot_be_analysed_say_so(aiida_profile, code, walkers):
    node = MdTrajectoryData.from_file(walkers).store()
    _, job = run_get_node(
        AnalysisCalculation, **inputs(code, trajectories={'trajectory': node}, parameters={'charges': {'Li': 1}})
    )
    assert job.exit_status == AnalysisCalculation.exit_codes.ERROR_ANALYSIS.status
    assert 'no charge was given for Cl' in job.exit_message


def test_missing_and_broken_trajectories_are_named(aiida_profile, code, tmp_path):
    """A folder without the file, and a file that is cut, end with the reason and not with a traceback in the parser."""
    (tmp_path / 'cut.h5').write_bytes(b'\x89HDF\r\n\x1a\n cut')
    folder = orm.RemoteData(computer=code.computer, remote_path=str(tmp_path))
    _, job = run_get_node(
        AnalysisCalculation,
        **inputs(code, trajectories={'trajectory': folder}, remote_files={'trajectory': 'cut.h5'}),
    )
    assert job.exit_status == AnalysisCalculation.exit_codes.ERROR_NO_RESULT.status
    assert 'Error' in job.exit_message


def test_a_fit_of_curves_needs_no_trajectory(aiida_profile, code):
    r = np.arange(0.5, 12.0, 0.05)
    first, second = np.sin(3 * r), np.sin(2.2 * r)
    curves = {'measured': {'r': r, 'G': 0.7 * first + 0.3 * second}, 'first': {'r': r, 'G_x_ray': first},
              'second': {'r': r, 'G_x_ray': second}}  # fmt: skip
    results, job = run_get_node(
        AnalysisCalculation, code=code, analysis='phase_fit', trajectories={},
        parameters={'formulas': {'first': 'Al3O2Cl5', 'second': 'LiCl'}},
        arrays={name: orm.ArrayData(curve) for name, curve in curves.items()},
    )  # fmt: skip
    assert job.is_finished_ok, job.exit_message
    found = rows(results['results'])
    assert found['phase_fit.first.scale'][0] == pytest.approx(0.7)
    assert found['phase_fit.second.scale'][0] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'analysis': 'alchemy'}, 'there is no analysis'),
        ({'arrays': {}}, 'lacks the array thermo'),
        ({'trajectories': {}}, 'lacks the trajectory trajectory'),
        ({'arrays': {'thermo': 0, 'other': 0}}, 'does not know the array other'),
        ({'remote_files': {'trajectory': '../secret.h5'}}, 'a path below the remote folder'),
        ({'remote_files': {'another': 'x.h5'}}, 'is no trajectory of this job'),
    ],
)
def test_bad_jobs_are_refused_at_submission(aiida_profile, code, tmp_path, changes, sentence):
    if 'arrays' in changes:
        changes = {'arrays': {name: thermo() for name in changes['arrays']}}
    folder = orm.RemoteData(computer=code.computer, remote_path=str(tmp_path))
    with pytest.raises(ValueError, match=sentence):
        run_get_node(AnalysisCalculation, **{**inputs(code, trajectories={'trajectory': folder}), **changes})


@pytest.mark.parametrize('name', ANALYSES)
def test_every_analysis_takes_data_and_parameters(name):
    found = find_analysis(name)
    assert found.trajectories or found.arrays
    assert found.problem(set(), set()) is not None
    assert found.problem(set(found.trajectories), set(found.arrays)) is None


def test_the_program_says_how_it_is_called(capsys):
    assert main([]) == 2
    assert 'usage: softclay-analyse' in capsys.readouterr().out
