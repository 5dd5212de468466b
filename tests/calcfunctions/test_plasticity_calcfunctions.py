"""Non-affine displacements, conformations and density maps as nodes: numbers in the schema, sentences for bad input."""

import io

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from ase.io.cube import read_cube

from aiida_softclay.analysis.nonaffine import non_affine_displacement
from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.conformation import analyse_conformation
from aiida_softclay.calcfunctions.density import analyse_density_map
from aiida_softclay.calcfunctions.plasticity import analyse_plasticity
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

pytestmark = pytest.mark.usefixtures('aiida_profile')
ENGINE = {'program': 'LAMMPS', 'version': '22 Jul 2025', 'potential': 'DeePMD model.pb', 'potential_uuid': 'x'}


def trajectory_node(folder, positions, cells, numbers, every=100, name='trajectory'):
    path = folder / f'{name}.h5'
    cells = np.broadcast_to(cells, (len(positions), 3, 3))
    with TrajectoryFile(path, 'w', numbers, 0.001, engine=ENGINE, stage='deform') as target:
        for index, (frame, cell) in enumerate(zip(positions, cells, strict=True)):
            target.append(frame, cell, index * every)
    return MdTrajectoryData.from_file(path)


def numbers_of(results):
    check_results(results.get_dict())
    return {row['name']: row for row in results['numbers']}


def salt():
    """Rock salt of Ga, F and Cl with atoms in random order of the anions."""
    atoms = bulk('LiF', 'rocksalt', a=4.6, cubic=True) * (4, 4, 4)
    symbols = np.array(atoms.get_chemical_symbols(), dtype='U2')
    symbols[symbols == 'Li'] = 'Ga'
    anions = np.flatnonzero(symbols == 'F')
    symbols[anions[np.random.default_rng(0).random(anions.size) < 0.4]] = 'Cl'
    atoms.set_chemical_symbols(symbols)
    return atoms


def strain_run(folder, sigma, gamma, n_frames=9, name='deform'):
    atoms = salt()
    rng = np.random.default_rng(1)
    length = atoms.cell[0, 0]
    cells = np.repeat(atoms.cell[:][None], n_frames, axis=0)
    cells[:, 2, 1] += np.linspace(0, gamma, n_frames) * length
    positions = atoms.get_scaled_positions() @ cells + rng.normal(scale=sigma, size=(n_frames, len(atoms), 3))
    return trajectory_node(folder, positions, cells, atoms.numbers, name=name), positions, cells


def test_plasticity_in_the_schema(tmp_path):
    node, positions, cells = strain_run(tmp_path, 0.10, 0.08)
    rest, *_ = strain_run(tmp_path, 0.05, 0.0, name='rest')
    parameters = {'component': 'yz', 'cutoff': 4.0, 'central': 'Ga', 'strain_window': [0.02, 0.06],
                  'class_rule': 'percentile', 'context': {'scale': 'demo'}}  # fmt: skip
    outputs = analyse_plasticity(node, orm.Dict(parameters), reference=rest)
    numbers = numbers_of(outputs['results'])
    # The trajectory holds single precision.
    table = outputs['atoms'].get_array('d2min')
    expected = non_affine_displacement(positions[3], cells[3], positions[4], cells[4], 4.0).d2min
    assert table[3] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert numbers['d2min']['value'] == pytest.approx(table.mean(), rel=1e-4)
    assert numbers['d2min']['unit'] == 'Å^2'
    assert numbers['d2min']['error'] > 0
    # Noise of half the size has a quarter of the squared displacement.
    ratio = numbers['d2min.thermal']['value'] / numbers['d2min']['value']
    assert ratio == pytest.approx(0.25, abs=0.03)
    excess = numbers['d2min.excess']
    assert excess['value'] == pytest.approx(numbers['d2min']['value'] - numbers['d2min.thermal']['value'])
    assert {'d2min.Ga', 'd2min.F', 'd2min.Cl', 'shear_zones.number', 'strain_localisation'} <= set(numbers)
    # The same kind of noise gives the same zones, however strong it is.
    for name in ('shear_zones.clustering', 'd2min.participation'):
        pair = numbers[name], numbers[f'{name}.thermal']
        assert pair[0]['value'] == pytest.approx(pair[1]['value'], abs=5 * (pair[0]['error'] + pair[1]['error']))
    # Noise without order: no bands, no zones beyond chance.
    assert abs(numbers['shear_band.layering.a-b']['value']) < 0.05
    assert numbers['shear_band.spanning_share']['value'] == 0
    assert numbers['shear_band.half_thickness.a-b']['value'] == pytest.approx(0.45, abs=0.08)
    shares = [numbers[f'coordination.Ga-{anion}.all']['value'] for anion in ('F', 'Cl')]
    assert sum(shares) == pytest.approx(6, abs=0.1)
    assert numbers['coordination.Ga-Cl.largest']['window'] == pytest.approx([0.02, 0.06])
    curve = outputs['curve']
    assert curve.get_array('strain') == pytest.approx(np.column_stack([np.arange(8), np.arange(1, 9)]) / 100)
    assert set(curve.base.attributes.get('units')) == set(curve.get_arraynames())
    assert curve.get_array('g_largest_Cl').shape == curve.get_array('radii').shape
    context = outputs['results']['context']
    assert context['scale'] == 'demo'
    assert context['lag_ps'] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'component': 'zy'}, 'unknown component'),
        ({'interval': 0.5}, 'less than one interval'),
        ({'cutoff': 1.0}, 'larger cutoff'),
        ({'central': 'Mg'}, 'there is no Mg'),
        ({'central': 'Ga', 'strain_window': [0.09, 0.14]}, 'no pair of frames lies within'),
    ],
)
def test_runs_that_cannot_be_analysed_are_a_sentence(tmp_path, changes, sentence):
    node, *_ = strain_run(tmp_path, 0.1, 0.03, n_frames=4)
    parameters = {'component': 'yz', 'cutoff': 4.0, **changes}
    _, process = analyse_plasticity.run_get_node(node, orm.Dict(parameters))
    assert process.exit_status == 510
    assert sentence in process.exit_message


def test_reference_must_hold_the_same_atoms(tmp_path):
    node, positions, cells = strain_run(tmp_path, 0.1, 0.03, n_frames=4)
    other = trajectory_node(tmp_path, positions, cells, salt().numbers[::-1], name='other')
    _, process = analyse_plasticity.run_get_node(node, orm.Dict({'component': 'yz', 'cutoff': 4.0}), reference=other)
    assert 'another element' in process.exit_message


def dimers(twists):
    """Two O(AlCl3)2 with a straight bridge, turned by the same angles, and one Li."""
    arms = []
    for twist in twists:
        atoms = [np.zeros(3), np.array([-1.7, 0, 0]), np.array([1.7, 0, 0])]
        for side, turn in ((-1, 0.0), (1, twist)):
            phi = np.radians(120 * np.arange(3) + turn)
            ring = np.column_stack([np.full(3, side * 0.7), 2.0 * np.cos(phi), 2.0 * np.sin(phi)])
            atoms += list(np.array([side * 1.7, 0, 0]) + ring)
        arms.append(atoms)
    single = np.array(arms)
    lithium = np.full((len(twists), 1, 3), 3.0)
    return np.concatenate([single + 6.0, single + np.array([6.0, 6.0, 13.0]), lithium], axis=1)


def test_conformation_in_the_schema(tmp_path):
    twists = np.where(np.arange(240) < 120, 60.0, 0.0)
    numbers_z = np.array([8, 13, 13, *[17] * 6] * 2 + [3])
    node = trajectory_node(tmp_path, dimers(twists), np.diag([14.0, 14, 18]), numbers_z)
    outputs = analyse_conformation(node, orm.Dict({'most_frames': 120}))
    numbers = numbers_of(outputs['results'])
    assert numbers['bridge_angle']['value'] == pytest.approx(180, abs=0.1)
    assert numbers['dihedral']['value'] == pytest.approx(30, abs=0.1)
    assert numbers['eclipsed_share']['value'] == pytest.approx(0.5, abs=0.01)
    assert numbers['transition_rate']['value'] == pytest.approx(1 / 23.8)
    assert numbers['bridges_lasting']['value'] == 1
    context = outputs['results']['context']
    assert (context['n_bridges'], context['frame_spacing_ps']) == (2, pytest.approx(0.2))
    curve = outputs['curve']
    assert curve.get_array('dihedral').shape == (120, 2)
    assert set(curve.base.attributes.get('units')) == set(curve.get_arraynames())
    _, process = analyse_conformation.run_get_node(node, orm.Dict({'anion': 'F'}))
    assert process.exit_status == 510
    assert 'there is no F' in process.exit_message


def test_density_maps_in_the_schema(tmp_path):
    rng = np.random.default_rng(2)
    cell = np.diag([6.0, 7.0, 8.0])
    positions = np.tile(np.array([[3.0, 3.5, 4.0]]), (200, 6, 1))
    positions[:, 0, 2] = rng.random(200) * 8.0  # one Li runs along c
    positions[:, 1:5] += rng.normal(scale=0.1, size=(200, 4, 3))
    numbers_z = np.array([3, 17, 17, 17, 17, 83])
    node = trajectory_node(tmp_path, positions, cell, numbers_z)
    outputs = analyse_density_map(node, orm.Dict({'species': ['Li', 'Cl'], 'spacing': 0.5, 'smoothing': 0.5}))
    numbers = numbers_of(outputs['results'])
    assert numbers['channel_dimension.Li']['value'] == 1
    assert numbers['channel_dimension.Cl']['value'] == 0
    assert 0 < numbers['isosurface_volume.Li']['value'] < 0.5
    assert numbers['isosurface_volume.Li']['error'] is not None
    cube = read_cube(io.StringIO(outputs['cube_Li'].get_content()))
    assert cube['data'].sum() * 336 / cube['data'].size == pytest.approx(1, abs=1e-4)
    assert cube['atoms'].cell[:] == pytest.approx(cell, abs=1e-4)
    late = analyse_density_map(node, orm.Dict({'species': ['Li'], 'start_ps': 15.0, 'spacing': 0.5, 'smoothing': 0.5}))
    assert numbers_of(late['results'])['isosurface_volume.Li']['frames_used'] == 50
    for parameters, sentence in (({}, 'lack species'), ({'species': ['Na']}, 'there is no Na')):
        _, process = analyse_density_map.run_get_node(node, orm.Dict(parameters))
        assert process.exit_status == 510
        assert sentence in process.exit_message
