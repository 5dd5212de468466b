"""Runs that went on from each other, joined: a walk cut in two, whose second half starts wrapped and at step 0."""

import numpy as np
import pytest
from aiida import orm

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.continuation import continue_run, record_run_lengths
from aiida_softclay.calcfunctions.transport import analyse_conductivity
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

pytestmark = pytest.mark.usefixtures('aiida_profile')
EDGE, EVERY, START = 12.0, 100, 5000
NUMBERS = np.repeat([3, 17], 15)
CUT = 120


def trajectory_node(tmp_path, name, positions, first_step):
    path = tmp_path / f'{name}.h5'
    with TrajectoryFile(path, 'w', NUMBERS, 0.001, engine={'program': 'LAMMPS'}, stage='production') as target:
        for index, frame in enumerate(positions):
            target.append(frame, np.eye(3) * EDGE, first_step + index * EVERY)
    return MdTrajectoryData.from_file(path)


def rows_node(first_step, energies, temperatures):
    steps = first_step + np.arange(len(energies)) * EVERY
    node = orm.ArrayData(
        {'step': steps, 'time_ps': steps * 0.001, 'potential_energy_eV': energies, 'temperature_K': temperatures}
    )
    node.base.attributes.set('units', {'step': '', 'time_ps': 'ps'})
    return node


def centres_node(first_step, positions):
    steps = first_step + np.arange(len(positions)) * EVERY
    centres = {f'centre_{name}': positions[:, z == NUMBERS].mean(axis=1) for name, z in (('Li', 3), ('Cl', 17))}
    return orm.ArrayData({'step': steps, 'time_ps': steps * 0.001, **centres})


@pytest.fixture
def walk():
    return np.cumsum(np.random.default_rng(1).normal(scale=0.3, size=(300, 30, 3)), axis=0)


@pytest.fixture
def parts(tmp_path, walk):
    second = walk[CUT:] - EDGE * np.floor(walk[CUT] / EDGE)
    rng = np.random.default_rng(2)
    energies, temperatures = rng.normal(size=300), rng.normal(600, 5, size=300)
    return {
        'trajectory_0000': trajectory_node(tmp_path, 'first', walk[: CUT + 1], START),
        'trajectory_0001': trajectory_node(tmp_path, 'second', second, 0),
        'thermo_0000': rows_node(START, energies[: CUT + 1], temperatures[: CUT + 1]),
        'thermo_0001': rows_node(0, energies[CUT:], temperatures[CUT:]),
        'collective_0000': centres_node(START, walk[: CUT + 1]),
        'collective_0001': centres_node(0, second),
    }


def test_joined_runs_are_the_run_in_one_piece(parts, walk):
    assert np.abs(np.floor(walk[CUT] / EDGE)).max() > 0, 'no atom has left the cell: nothing is tested'
    outputs = continue_run(**parts)
    with outputs['trajectory'].open_trajectory() as joined:
        assert joined.positions[:] == pytest.approx(walk, abs=1e-4)
        assert joined.steps[:].tolist() == (START + np.arange(300) * EVERY).tolist()
    assert outputs['thermo'].get_array('step').tolist() == (START + np.arange(300) * EVERY).tolist()
    assert outputs['thermo'].get_array('time_ps') == pytest.approx(5.0 + 0.1 * np.arange(300))
    centre = outputs['collective'].get_array('centre_Li')
    assert centre == pytest.approx(walk[:, :15].mean(axis=1), abs=1e-4)
    (seam,) = outputs['seams']['seams']
    assert seam['step'] == START + CUT * EVERY
    assert seam['largest_shift_A'] < 1e-4
    assert seam['energy_change_eV'] == 0


def test_runs_that_do_not_meet_are_refused(parts, tmp_path, walk):
    elsewhere = trajectory_node(tmp_path, 'elsewhere', walk[CUT + 1 :], 0)
    _, failed = continue_run.run_get_node(**{**parts, 'trajectory_0001': elsewhere})
    assert failed.exit_status == 510
    assert 'run 2 does not start where run 1 ended' in failed.exit_message
    other = rows_node(0, np.ones(300 - CUT), np.full(300 - CUT, 600.0))
    _, failed = continue_run.run_get_node(**{**parts, 'thermo_0001': other})
    assert 'the potential energy changes by' in failed.exit_message


def test_decisions_are_in_the_results_and_on_record(parts):
    def analysed(wanted, limit):
        options = {
            'charges': {'Li': 1, 'Cl': -1},
            'run_length': {'relative_error_wanted': wanted, 'max_duration_ps': limit, 'species': 'Li'},
        }
        outputs = analyse_conductivity(parts['trajectory_0000'], parts['thermo_0000'], orm.Dict(options))
        check_results(outputs['results'].get_dict())
        rows = {row['name']: row for row in outputs['results']['numbers']}
        return outputs['results'], rows, outputs['results']['context']['run_length']

    first, rows, decision = analysed(0.02, 100.0)
    assert decision['species'] == 'Li'
    assert not decision['reached']
    row = rows['diffusivity.Li']
    assert decision['relative_error'] == pytest.approx(row['error'] / row['value'])
    assert decision['extension_ps'] == pytest.approx(24.0)
    assert not [text for text in row['warnings'] if 'limit' in text]
    last, rows, decision = analysed(0.02, 12.0)
    assert decision['extension_ps'] == 0
    assert any('is not reached within the limit of 12 ps' in text for text in rows['diffusivity.Li']['warnings'])
    assert not any('limit' in text for text in rows['diffusivity.Cl']['warnings'])
    record = record_run_lengths(results_0000=first, results_0001=last, seams=orm.Dict({'seams': [{'step': 1}]}))
    assert [run['extension_ps'] for run in record['runs']] == [pytest.approx(24.0), 0]
    assert record['runs'][0]['value'] == row['value']
    assert record['seams'] == [{'step': 1}]
