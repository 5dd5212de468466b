"""Transport as calcfunctions: numbers in the schema that agree with the functions behind them."""

import numpy as np
import pytest
from aiida import orm

from aiida_softclay.analysis.arrhenius import BOLTZMANN_EV
from aiida_softclay.analysis.quantity import Quantity, check_results, results_dict
from aiida_softclay.calcfunctions.arrhenius import analyse_arrhenius
from aiida_softclay.calcfunctions.ion_motion import (
    analyse_anion_motion,
    analyse_boundary_mobility,
    analyse_hops,
    analyse_mobility_classes,
)
from aiida_softclay.calcfunctions.onsager import analyse_ionic_conductivity
from aiida_softclay.calcfunctions.transport import analyse_conductivity
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

pytestmark = pytest.mark.usefixtures('aiida_profile')
CHARGES = {'Li': 1, 'Cl': -1}


def trajectory_node(tmp_path, positions, numbers, edge=12.0, every=100):
    path = tmp_path / 'trajectory.h5'
    engine = {'program': 'LAMMPS', 'version': '22 Jul 2025', 'potential': 'model.pb'}
    with TrajectoryFile(path, 'w', numbers, 0.001, engine=engine, stage='production') as target:
        for index, frame in enumerate(positions):
            target.append(frame, np.eye(3) * edge, 5000 + index * every)
    return MdTrajectoryData.from_file(path)


def thermo_node(temperature=600.0, n_rows=100):
    node = orm.ArrayData()
    node.set_array('temperature_K', temperature + np.random.default_rng(0).normal(scale=5, size=n_rows))
    return node


def numbers_of(results):
    check_results(results.get_dict())
    return {row['name']: row for row in results['numbers']}


def salt(n_frames=300):
    rng = np.random.default_rng(1)
    numbers = np.repeat([3, 17], 20)
    return np.cumsum(rng.normal(scale=0.3, size=(n_frames, 40, 3)), axis=0), numbers


def test_conductivity_of_all_ions_in_the_schema(tmp_path):
    positions, numbers = salt()
    node = trajectory_node(tmp_path, positions, numbers)
    outputs = analyse_ionic_conductivity(node, thermo_node(), orm.Dict({'charges': CHARGES}))
    rows = numbers_of(outputs['results'])
    total = rows['conductivity.self.Li']['value'] + rows['conductivity.distinct.Li']['value']
    total += rows['conductivity.self.Cl']['value'] + rows['conductivity.distinct.Cl']['value']
    total -= 2 * rows['conductivity.distinct.Li-Cl']['value']
    assert rows['conductivity.total']['value'] == pytest.approx(total, rel=1e-6)
    ratio = rows['conductivity.nernst_einstein']['value'] / rows['conductivity.total']['value']
    assert rows['haven_ratio']['value'] == pytest.approx(ratio)
    assert rows['transference.Li']['value'] + rows['transference.Cl']['value'] == pytest.approx(1)
    assert all(row['error'] > 0 for name, row in rows.items() if not name.startswith('transference'))
    # Momentum is conserved: the lighter ions carry the share of the current that the masses of the others have.
    assert rows['transference.Li']['value'] == pytest.approx(35.45 / (35.45 + 6.94), abs=1e-3)
    assert any('masses alone' in text for text in rows['transference.Li']['warnings'])
    assert rows['conductivity.total']['conditions']['reference'] == 'centre of mass'
    # A step of 0.3 Å in each direction makes a jump of 2 Å in 15 frames.
    first, last = rows['conductivity.total']['window']
    assert first == pytest.approx(1.5, abs=0.25)
    assert last == pytest.approx(3 * first, abs=0.1)
    curve = outputs['curve']
    assert curve.base.attributes.get('units')['collective_Li_Cl'] == 'Å^2'
    assert curve.get_array('collective_Li_Li')[0] == 0


def test_centres_written_on_the_fly_replace_the_frames(tmp_path):
    positions, numbers = salt()
    node = trajectory_node(tmp_path, positions[::2], numbers, every=200)
    centres = orm.ArrayData()
    centres.set_array('time_ps', 5.0 + np.arange(300) * 0.1)
    centres.set_array('centre_Li', positions[:, :20].mean(axis=1))
    centres.set_array('centre_Cl', positions[:, 20:].mean(axis=1))
    parameters = orm.Dict({'charges': CHARGES, 'reference': 'laboratory'})
    columns = analyse_ionic_conductivity(node, thermo_node(), parameters, centres)
    frames = analyse_ionic_conductivity(node, thermo_node(), parameters)
    found, expected = (numbers_of(outputs['results'])['conductivity.total'] for outputs in (columns, frames))
    assert found['value'] == pytest.approx(expected['value'], abs=expected['error'])
    assert found['frames_used'] == 300
    assert expected['frames_used'] == 150
    assert columns['results']['context']['collective_from'].startswith('centres')
    short = orm.ArrayData()
    short.set_array('time_ps', np.arange(300) * 0.1)
    short.set_array('centre_Li', np.zeros((300, 3)))
    _, failed = analyse_ionic_conductivity.run_get_node(node, thermo_node(), parameters, short)
    assert failed.exit_status == 510
    assert 'lack Cl' in failed.exit_message


def test_further_estimates_of_the_diffusivity(tmp_path):
    positions, numbers = salt()
    node = trajectory_node(tmp_path, positions, numbers)
    parameters = {'charges': CHARGES, 'window_share': [0.05, 0.2], 'estimates': ['bootstrap']}
    rows = numbers_of(analyse_conductivity(node, thermo_node(), orm.Dict(parameters))['results'])
    resampled, direct = rows['diffusivity.Li.bootstrap'], rows['diffusivity.Li']
    assert resampled['value'] == pytest.approx(direct['value'], rel=0.05)
    assert resampled['error'] == pytest.approx(direct['error'], rel=0.3)
    assert resampled['conditions']['lower'] < resampled['value'] < resampled['conditions']['upper']
    _, failed = analyse_conductivity.run_get_node(
        node, thermo_node(), orm.Dict({**parameters, 'estimates': ['jackknife']})
    )
    assert 'no estimate called' in failed.exit_message


def run_at(temperature, value, error, warnings=()):
    number = Quantity('diffusivity.Li', value, error, 'cm^2/s', 'D', 10, conditions={'temperature_K': temperature},
                      warnings=list(warnings))  # fmt: skip
    return orm.Dict(results_dict([number]))


def test_activation_energy_in_the_schema():
    ladder = [318.0, 348.0, 378.0]
    values = 1e-3 * np.exp(-0.3 / (BOLTZMANN_EV * np.array(ladder)))
    runs = {
        f'run_{index}': run_at(T, value, 0.1 * value)
        for index, (T, value) in enumerate(zip(ladder, values, strict=True))
    }
    parameters = {'quantity': 'diffusivity.Li', 'at_K': [300.0], 'glass_transition_K': 256.0}
    rows = numbers_of(analyse_arrhenius(orm.Dict(parameters), **runs)['results'])
    assert rows['activation_energy.diffusivity.Li']['value'] == pytest.approx(0.3)
    room = rows['diffusivity.Li.at_300_K']
    assert room['value'] == pytest.approx(1e-3 * np.exp(-0.3 / (BOLTZMANN_EV * 300)))
    assert room['conditions']['lower'] < room['value'] < room['conditions']['upper']
    _, failed = analyse_arrhenius.run_get_node(orm.Dict({**parameters, 'at_K': [200.0]}), **runs)
    assert failed.exit_status == 510
    assert 'glass transition' in failed.exit_message
    asked = orm.Dict({**parameters, 'at_K': [200.0], 'across_glass_transition': True})
    rows = numbers_of(analyse_arrhenius(asked, **runs)['results'])
    assert any('activation energy changes' in text for text in rows['diffusivity.Li.at_200_K']['warnings'])
    runs['run_9'] = run_at(393.0, None, None, ['too short'])
    _, failed = analyse_arrhenius.run_get_node(orm.Dict(parameters), **runs)
    assert 'run_9 has no temperature, no value or no error' in failed.exit_message


def test_hops_and_rotation_in_the_schema(tmp_path):
    """One isolated tetrahedron that turns, and one at rest; a lithium ion that goes from the first to the second."""
    corners = 2.1 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    positions = np.zeros((60, 11, 3))
    for row in range(60):
        c, s = np.cos(np.pi / 2 * min(row / 30, 1)), np.sin(np.pi / 2 * min(row / 30, 1))
        positions[row, 1:5] = corners @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        positions[row, 5] = [9.0, 0, 0]
        positions[row, 6:10] = corners + np.array([9.0, 0, 0])
        positions[row, 10] = [0, 0, 3.0] if row < 30 else [9.0, 0, 3.0]
    node = trajectory_node(tmp_path, positions, np.array([13, 17, 17, 17, 17] * 2 + [3]), edge=20.0, every=500)
    parameters = orm.Dict({'bonds': {'Cl': 2.7}, 'residence_ps': 2.0})
    outputs = analyse_hops(node, parameters)
    rows = numbers_of(outputs['results'])
    assert rows['hop_share.iso-assisted']['value'] == 1
    assert rows['hop_rate.all']['value'] == pytest.approx(1 / 29.5)
    assert outputs['hops'].get_array('frames').tolist() == [30]
    assert outputs['results']['context']['units'] == {'AlCl4': 1.0}
    outputs = analyse_anion_motion(node, parameters)
    rows = numbers_of(outputs['results'])
    assert rows['anions.rotated']['value'] == pytest.approx(0.5)
    assert rows['units.rotated.AlCl4']['value'] == pytest.approx(0.5)
    curve = outputs['curve']
    parts = sum(
        curve.get_array(f'msd_{part}') * weight for part, weight in (('turning', 1), ('carried', 1), ('mixed', 2))
    )
    assert curve.get_array('msd') == pytest.approx(parts)
    _, failed = analyse_hops.run_get_node(node, orm.Dict({'bonds': {'O': 2.2}}))
    assert failed.exit_status == 510
    assert 'O' in failed.exit_message


def test_classes_and_boundaries_in_the_schema(tmp_path):
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(*[np.arange(1.0, 18.0, 3.0)] * 3, indexing='ij'), axis=-1).reshape(-1, 3)
    grains = (grid[:, 2] > 9).astype(int)
    at_boundary = np.isin(grid[:, 2], [1.0, 7.0, 10.0, 16.0])
    numbers = np.where(np.arange(len(grid)) % 2, 12, 17)
    scale = np.where(numbers == 12, np.where(at_boundary, 0.4, 0.02), 0.0)
    walk = np.cumsum(rng.normal(size=(150, len(grid), 3)), axis=0)
    positions = grid + (walk - walk[0]) * scale[:, None]
    node = trajectory_node(tmp_path, positions, numbers, edge=18.0, every=500)
    grain_node = orm.ArrayData()
    grain_node.set_array('grain', grains)
    parameters = {'species': 'Mg', 'charge': 2, 'cutoff': 3.5}
    outputs = analyse_boundary_mobility(node, thermo_node(300.0), grain_node, orm.Dict(parameters))
    rows = numbers_of(outputs['results'])
    assert rows['diffusivity.Mg.boundary']['value'] > 20 * rows['diffusivity.Mg.bulk']['value']
    assert rows['conductivity_share.Mg.boundary']['value'] == pytest.approx(1, abs=0.05)
    parts = [rows[f'conductivity.Mg.{region}']['value'] for region in ('boundary', 'bulk')]
    assert rows['conductivity_share.Mg.bulk']['value'] == pytest.approx(parts[1] / sum(parts))
    outputs = analyse_mobility_classes(node, orm.Dict({'species': 'Mg', 'cutoffs': {'Cl': 3.5}, 'n_frames': 5}))
    rows = numbers_of(outputs['results'])
    assert set(outputs['classes'].get_array('slow')) <= set(np.flatnonzero(numbers == 12))
    assert rows['coordination.Mg.slow']['value'] == pytest.approx(rows['coordination.Mg.slow.Cl']['value'])
    curve = outputs['curve']
    assert curve.get_array('density').sum() * 0.05 == pytest.approx(1)
    assert curve.base.attributes.get('units')['coordination_fast'] == '1'
    _, failed = analyse_boundary_mobility.run_get_node(
        node, thermo_node(), grain_node, orm.Dict({**parameters, 'species': 'Li'})
    )
    assert 'no Li among' in failed.exit_message
