"""What LAMMPS writes of a run between its frames: centres of the elements and averages, also over a killed job."""

import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms
from fast_lammps import make_code, program

from aiida_softclay.analysis.collective import LABORATORY, collective_displacement
from aiida_softclay.calcfunctions.onsager import analyse_ionic_conductivity
from aiida_softclay.calculations.analysis import AnalysisCalculation
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile
from aiida_softclay.workflows.md import MdWorkChain

pytestmark = pytest.mark.engine

MELT = {
    'elements': ['Cl', 'Ga', 'Li'],
    'lines': ['pair_style lj/cut 7.0', 'pair_coeff * * 0.01 2.6', 'pair_coeff 1 3 0.03 2.2'],
    'charges': {'Cl': 0, 'Ga': 0, 'Li': 0},
}
STAGES = [
    {'name': 'relax', 'kind': 'minimise', 'max_steps': 200},
    {'name': 'melt', 'kind': 'npt', 'duration_ps': 0.75, 'temperature_K': 900,
     'stress_GPa': dict.fromkeys(('xx', 'yy', 'zz'), -1)},
    {'name': 'hold', 'kind': 'nvt', 'duration_ps': 3, 'temperature_K': 900},
]  # fmt: skip


@pytest.fixture
def lj_code(localhost, lmp_program, tmp_path):
    """LAMMPS without its plugins, whose first process is killed once it has written two restart files of `hold`."""
    script = tmp_path / 'killed_once'
    script.write_text(
        f'#!/bin/bash\n{program()} "$@" &\npid=$!\n'
        f'if [ ! -e {tmp_path}/once ]; then touch {tmp_path}/once\n'
        'until [ -s hold.b.restart ]; do sleep 0.01; done\nkill -9 $pid\nfi\nwait $pid\n'
    )
    script.chmod(0o755)
    return make_code(localhost, 'lmp-killed', script)


def killed_run(lj_code, **inputs):
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing='ij'), axis=-1).reshape(-1, 3) * 3.0
    symbols = np.where(rng.permutation(216) < 108, 'Li', 'Cl')
    structure = orm.StructureData(ase=Atoms(list(symbols), positions=grid + 0.1, cell=[18.0] * 3, pbc=True))
    plan = {
        'timestep_ps': 0.002, 'seed': 7, 'thermo_every': 40, 'dump_every': 20, 'collective_every': 10,
        'restart_every': 110, 'stages': STAGES,
    }  # fmt: skip
    builder = MdWorkChain.get_builder_from_protocol(
        lj_code, structure, plan, classical={'pair_lines': MELT}, options={'max_wallclock_seconds': 600}
    )
    for name, value in inputs.items():
        setattr(builder, name, value)
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    return node


def check_centres(killed_run):
    """They are the mean positions of the frames, at every stride of the stage and once each."""
    outputs = killed_run.outputs
    assert set(outputs.collective) == set(outputs.averages) == {'melt', 'hold'}
    assert len([process for process in killed_run.called if process.process_label == 'LammpsMdCalculation']) == 2
    for stage, first, last in (('melt', 0, 375), ('hold', 375, 1875)):
        centres = outputs.collective[stage]
        assert centres.base.attributes.get('counts') == {
            symbol: outputs.trajectories[stage].symbol_counts[symbol] for symbol in ('Li', 'Cl')
        }
        steps = centres.get_array('step')
        np.testing.assert_array_equal(steps, np.arange(first, last + 1, 10))
        with outputs.trajectories[stage].open_trajectory() as frames:
            lithium = np.asarray(frames.atomic_numbers) == 3
            rows = np.searchsorted(steps, frames.steps[:])
            np.testing.assert_array_equal(steps[rows], frames.steps[:])
            for symbol, chosen in (('Li', lithium), ('Cl', ~lithium)):
                mean = np.asarray(frames.positions[:], dtype=float)[:, chosen].mean(axis=1)
                np.testing.assert_allclose(centres.get_array(f'centre_{symbol}')[rows], mean, atol=2e-4)
            moved = np.ptp(collective_displacement(frames, reference=LABORATORY).sums[:, 0], axis=0)
    # What the columns are compared with is no crystal at rest.
    assert moved.max() > 10


def check_averages(killed_run):
    """They are near the rows of the log and less noisy; the window in which the job was killed is left out."""
    outputs = killed_run.outputs
    averages, thermo = outputs.averages.hold, outputs.thermo.hold
    steps = averages.get_array('step')
    assert averages.base.attributes.get('window_steps') == 40
    assert averages.base.attributes.get('sampling_steps') == 10
    assert set(np.diff(steps)) <= {40, 80}
    assert steps[0] == 440
    assert steps[-1] == 1840
    assert len(steps) == 35 or (len(steps) == 36 and (np.diff(steps) == 40).all())
    for name in ('temperature_K', 'stress_xx_GPa', 'potential_energy_eV'):
        mean, rows = averages.get_array(name), thermo.get_array(name)
        assert mean.mean() == pytest.approx(rows.mean(), abs=3 * rows.std() / np.sqrt(len(rows) / 4))
    assert averages.get_array('stress_xy_GPa').std() < thermo.get_array('stress_xy_GPa').std()
    np.testing.assert_allclose(averages.get_array('cell')[0], thermo.get_array('cell')[0], rtol=1e-9, atol=1e-9)
    assert averages.base.attributes.get('units')['stress_xy_GPa'] == 'GPa'


def check_conductivity(killed_run):
    """At the stride of the frames it is that of the frames."""
    outputs = killed_run.outputs
    trajectory, thermo, centres = (outputs[name].hold for name in ('trajectories', 'thermo', 'collective'))
    rows = np.isin(centres.get_array('step'), np.arange(375, 1876, 20))
    same_stride = orm.ArrayData({name: centres.get_array(name)[rows] for name in centres.get_arraynames()})
    parameters = orm.Dict({'charges': {'Li': 1, 'Cl': -1}, 'window_share': [0.02, 0.1]})
    found = []
    for columns in (None, same_stride, centres):
        given = {} if columns is None else {'centres': columns}
        results, node = analyse_ionic_conductivity.run_get_node(trajectory, thermo, parameters, **given)
        assert node.is_finished_ok, node.exit_message
        numbers = {row['name']: row for row in results['results']['numbers']}
        found.append(numbers['conductivity.total'])
    assert found[1]['value'] == pytest.approx(found[0]['value'], rel=2e-3)
    assert found[2]['value'] == pytest.approx(found[0]['value'], rel=0.1)
    assert found[0]['value'] > 0


def test_columns_of_a_run_that_was_killed(lj_code):
    node = killed_run(lj_code)
    check_centres(node)
    check_averages(node)
    check_conductivity(node)


def test_frames_of_a_large_run_stay_where_they_are(lj_code):
    """Converted and analysed on the computer, a run that was killed gives the numbers of the daemon."""
    program = Path(sys.executable).parent / 'softclay-analyse'
    analyse = orm.InstalledCode(
        label='analyse', computer=lj_code.computer, filepath_executable=str(program), with_mpi=False,
        default_calc_job_plugin='softclay.analysis', prepend_text='export OMP_NUM_THREADS=1\n',
    ).store()  # fmt: skip
    node = killed_run(lj_code, max_retrieved_bytes=orm.Int(100_000), analysis_code=analyse)
    outputs = node.outputs
    assert 'trajectories' not in outputs
    assert sorted(outputs.remote_dumps) == ['segment_0000', 'segment_0001']
    jobs = [process for process in node.called if process.process_label == 'LammpsMdCalculation']
    assert not any('dump' in name for job in jobs for name in job.outputs.retrieved.list_object_names())
    summary = outputs.remote_summary.get_dict()['stages']
    assert (summary['hold']['first_step'], summary['hold']['last_step'], summary['hold']['n_frames']) == (375, 1875, 76)
    path = Path(outputs.remote_trajectories.get_remote_path()) / 'hold.h5'
    assert summary['hold']['bytes'] == path.stat().st_size
    assert path.stat().st_size < 7 * 216 * 76 + 40_000
    with TrajectoryFile(path) as frames:
        np.testing.assert_array_equal(frames.steps[:], np.arange(375, 1876, 20))

    parameters = {'charges': {'Li': 1, 'Cl': -1}, 'window_share': [0.02, 0.1]}
    results, job = run_get_node(
        AnalysisCalculation, code=analyse, analysis='ionic_conductivity', parameters=parameters,
        trajectories={'trajectory': outputs.remote_trajectories},
        remote_files={'trajectory': 'hold.h5'},
        arrays={'thermo': outputs.thermo.hold, 'centres': outputs.collective.hold},
    )  # fmt: skip
    assert job.is_finished_ok, job.exit_message
    brought = MdTrajectoryData.from_file(path)
    wanted = analyse_ionic_conductivity(brought, outputs.thermo.hold, orm.Dict(parameters), outputs.collective.hold)[
        'results'
    ]
    found = {row['name']: row['value'] for row in results['results']['numbers']}
    assert found == {row['name']: row['value'] for row in wanted['numbers']}
