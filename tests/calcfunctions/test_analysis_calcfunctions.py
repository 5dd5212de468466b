"""Analysis as calcfunctions: numbers in the schema, curves with units, sentences for bad input."""

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.mechanics import analyse_pulses, analyse_stress_strain_curve
from aiida_softclay.calcfunctions.structure_analysis import analyse_anion_exchange, exchange_parameters
from aiida_softclay.calcfunctions.transport import analyse_conductivity
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

pytestmark = pytest.mark.usefixtures('aiida_profile')
ENGINE = {'program': 'LAMMPS', 'version': '22 Jul 2025', 'potential': 'DeePMD model.pb', 'potential_uuid': 'x'}


def trajectory_node(tmp_path, positions, cells, numbers, every=100, timestep_ps=0.001):
    path = tmp_path / 'trajectory.h5'
    cells = np.broadcast_to(cells, (len(positions), 3, 3))
    with TrajectoryFile(path, 'w', numbers, timestep_ps, engine=ENGINE, stage='melt') as target:
        for index, (frame, cell) in enumerate(zip(positions, cells, strict=True)):
            target.append(frame, cell, 5000 + index * every)
    return MdTrajectoryData.from_file(path)


def thermo_node(n_rows, cells=None, stress=None, every_ps=0.1, start_ps=0.0, temperature=300.0, energy=-100.0):
    node = orm.ArrayData()
    rng = np.random.default_rng(0)
    node.set_array('time_ps', start_ps + np.arange(n_rows) * every_ps)
    node.set_array('temperature_K', temperature + rng.normal(scale=5, size=n_rows))
    node.set_array('potential_energy_eV', np.full(n_rows, energy))
    node.set_array('stress_yz_GPa', np.zeros(n_rows) if stress is None else stress)
    node.set_array('cell', np.repeat(np.eye(3)[None] * 20.0, n_rows, axis=0) if cells is None else cells)
    return node


def numbers_of(results):
    check_results(results.get_dict())
    return {row['name']: row for row in results['numbers']}


def sheared(strain, height=20.0):
    cells = np.repeat(np.eye(3)[None] * height, len(strain), axis=0)
    cells[:, 2, 1] = np.asarray(strain) * height
    return cells


def exchanging(tmp_path, n_frames=50):
    """Two rock salts that swap part of their anions half-way: GaF and LiCl, both with six neighbours."""
    atoms = bulk('LiF', 'rocksalt', a=4.4, cubic=True) * (4, 4, 4)
    # Left half GaF-like, right half LiCl-like, in one lattice.
    left = atoms.positions[:, 0] < atoms.cell[0, 0] / 2 - 0.1
    symbols = np.array(atoms.get_chemical_symbols(), dtype='U2')
    symbols[left & (symbols == 'Li')] = 'Ga'
    symbols[~left & (symbols == 'F')] = 'Cl'
    atoms.set_chemical_symbols(symbols)
    positions = np.repeat(atoms.positions[None], n_frames, axis=0)
    positions += np.random.default_rng(1).normal(scale=0.05, size=positions.shape)
    fluorine, chlorine = np.flatnonzero(symbols == 'F'), np.flatnonzero(symbols == 'Cl')
    for first, second in list(zip(fluorine, chlorine, strict=True))[::4]:
        swap = positions[n_frames // 2 :, [first, second]]
        positions[n_frames // 2 :, [second, first]] = swap
    return trajectory_node(tmp_path, positions, atoms.cell[:], atoms.numbers)


def test_anion_exchange_of_a_swapped_lattice(tmp_path):
    melt = exchanging(tmp_path)
    parameters = exchange_parameters('2LiCl-GaF3', before_ps=1.0, after_ps=1.0, n_frames=5)
    assert parameters['central'] == 'Ga'
    outputs = analyse_anion_exchange(melt, orm.Dict(parameters))
    numbers = numbers_of(outputs['results'])
    # Interface included: Ga at the boundary sees chlorine from the start. 128 Ga with 6 neighbours each.
    with melt.open_trajectory() as frames:
        cell = frames.cells[0]
        ga, f, cl = (np.flatnonzero(frames.atomic_numbers == z) for z in (31, 9, 17))
        for name, index in (('before', 0), ('after', -1)):
            positions = frames.positions[index if index >= 0 else len(frames.steps) - 1]
            counts = []
            for others in (f, cl):
                delta = positions[ga][:, None] - positions[others][None]
                delta -= np.round(delta / cell[0, 0]) * cell[0, 0]
                counts.append((np.linalg.norm(delta, axis=2) < 2.7).sum())
            assert sum(counts) == 6 * len(ga)
            assert numbers[f'anion_exchange.{name}']['value'] == pytest.approx(counts[1] / sum(counts))
    change = numbers['anion_exchange.change']
    assert change['value'] > 3 * change['error'] > 0
    total = numbers['coordination.Ga-F.after']['value'] + numbers['coordination.Ga-Cl.after']['value']
    assert total == pytest.approx(6)
    assert numbers['coordination.Li-Cl.change']['value'] < 0 < numbers['coordination.Li-F.change']['value']
    context = outputs['results']['context']
    assert context['engine'] == 'LAMMPS 22 Jul 2025, DeePMD model.pb'
    assert context['n_atoms'] == 512
    assert context['frames'] == {'before': 5, 'after': 5}
    assert sum(context['census']['after'].values()) == pytest.approx(1)
    assert set(context['cutoffs']) == {'Ga-F', 'Ga-Cl', 'Li-Cl', 'Li-F'}
    curve = outputs['curve']
    units = curve.base.attributes.get('units')
    assert set(units) == set(curve.get_arraynames())
    assert curve.get_array('g_Ga_Cl_after').shape == curve.get_array('radii').shape


def test_anion_exchange_of_two_structures(tmp_path):
    melt = exchanging(tmp_path)
    parameters = {'central': 'Ga', 'old_anion': 'F', 'new_anion': 'Cl'}
    outputs = analyse_anion_exchange(
        melt.get_step_structure(-1), orm.Dict(parameters), reference=melt.get_step_structure(0)
    )
    numbers = numbers_of(outputs['results'])
    assert numbers['anion_exchange.change']['value'] > 0
    assert numbers['anion_exchange.after']['error_method'] == 'spread over central atoms'
    assert 'coordination.Li-Cl.after' not in numbers


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'central': 'Mg'}, 'asks for Mg, the atoms are'),
        ({'before_ps': 3.0, 'after_ps': 3.0}, 'must leave room between them'),
        ({'bin_width': -1}, 'bins make no sense'),
        ({'old_anion': 'Xx'}, 'asks for Xx'),
    ],
)
def test_exchange_of_what_is_not_there_is_a_sentence(tmp_path, changes, sentence):
    parameters = {**exchange_parameters('2LiCl-GaF3'), **changes}
    outputs, node = analyse_anion_exchange.run_get_node(exchanging(tmp_path), orm.Dict(parameters))
    assert node.exit_status == 510
    assert sentence in node.exit_message
    assert 'results' not in outputs


def test_exchange_parameters_of_mixtures():
    assert exchange_parameters('1.5MgCl2-GaF3') == {
        'central': 'Ga', 'old_anion': 'F', 'new_anion': 'Cl', 'partner': 'Mg',
    }  # fmt: skip
    with pytest.raises(ValueError, match='nothing to exchange'):
        exchange_parameters('LiF-GaF3')
    assert engine_text(None) == ''


def test_pulses_in_the_schema():
    strain = {'equilibrate': 0.0, 'load_1': 0.02, 'release_1': 0.005}
    thermo, start = {}, 0.0
    rng = np.random.default_rng(2)
    for name, value in strain.items():
        cells = sheared(value + rng.normal(scale=1e-4, size=200))
        thermo[name] = thermo_node(200, cells, start_ps=start, energy=-100.0 + value)
        start += 20.0
    stages = [
        {'name': 'equilibrate', 'kind': 'reference', 'cycle': 0, 'stress_GPa': 0.0},
        {'name': 'load_1', 'kind': 'on', 'cycle': 1, 'stress_GPa': 0.05},
        {'name': 'release_1', 'kind': 'off', 'cycle': 1, 'stress_GPa': 0.0},
    ]
    parameters = orm.Dict(
        {'component': 'yz', 'n_atoms': 10, 'stages': stages, 'half_width_ps': 1.0, 'context': {'engine': 'LAMMPS'}}
    )
    outputs = analyse_pulses(parameters, **thermo)
    numbers = numbers_of(outputs['results'])
    residual = numbers['residual_strain.cycle_1']
    assert residual['value'] == pytest.approx(0.005, abs=4 * residual['error'])
    assert 0 < residual['error'] < 1e-4
    assert numbers['strain_under_load.cycle_1']['value'] == pytest.approx(0.02, abs=1e-4)
    assert numbers['energy_change.cycle_1']['value'] == pytest.approx(0.5)
    assert numbers['thermal_strain_noise']['value'] == pytest.approx(1e-4, rel=0.3)
    assert outputs['results']['context']['engine'] == 'LAMMPS'
    curve = outputs['curve']
    assert len(curve.get_array('strain_averaged')) == 600
    assert curve.base.attributes.get('units')['energy_change'] == 'meV/atom'
    _, node = analyse_pulses.run_get_node(parameters, equilibrate=thermo['equilibrate'])
    assert 'no time series of stage load_1' in node.exit_message


@pytest.mark.parametrize('sign', [1, -1])
def test_stress_strain_in_the_schema(sign):
    strain = np.linspace(0, 0.1, 400)
    stress = sign * np.where(strain < 0.05, 8 * strain, 0.4 - 2 * (strain - 0.05))
    thermo = thermo_node(400, sheared(sign * strain), stress)
    parameters = orm.Dict({'component': 'yz', 'rate_per_ps': sign * 0.05, 'n_atoms': 100, 'half_width': 0.001})
    outputs = analyse_stress_strain_curve(thermo, parameters)
    numbers = numbers_of(outputs['results'])
    assert numbers['shear_modulus']['value'] == pytest.approx(8)
    assert '50 times that of gupta2023' in ' '.join(numbers['shear_modulus']['warnings'])
    assert numbers['yield_stress.maximum']['value'] == pytest.approx(0.4, abs=0.005)
    assert numbers['yield_stress.maximum']['conditions']['strain_at_maximum'] == pytest.approx(0.05, abs=0.001)
    # Offset line 8 (g - 0.002) meets 0.4 - 2 (g - 0.05) at g = 0.0516.
    assert numbers['yield_stress.offset']['conditions']['strain_at_offset_yield'] == pytest.approx(0.0516, abs=5e-4)
    assert outputs['curve'].get_array('strain')[-1] == pytest.approx(sign * 0.1)


def test_conductivity_in_the_schema(tmp_path):
    rng = np.random.default_rng(3)
    step = 0.2
    positions = np.zeros((200, 60, 3))
    positions[:, :30] = np.cumsum(rng.normal(scale=step, size=(200, 30, 3)), axis=0)
    positions[:, 30:] = rng.normal(scale=0.05, size=(200, 30, 3))
    numbers_z = np.array([3] * 30 + [17] * 30)
    node = trajectory_node(tmp_path, positions, np.eye(3) * 12.0, numbers_z, every=100)
    parameters = orm.Dict({'charges': {'Li': 1, 'Cl': -1}, 'window_share': [0.05, 0.2], 'target_temperature_K': 600.0})
    outputs = analyse_conductivity(node, thermo_node(100, temperature=600.0), parameters)
    numbers = numbers_of(outputs['results'])
    diffusivity = numbers['diffusivity.Li']
    # 0.1 ps a frame; the centre of mass takes 1/6 of the mass of the walkers along.
    truth = step**2 / 2 / 0.1 * 1e-4
    assert diffusivity['value'] == pytest.approx(truth, rel=0.2)
    assert diffusivity['error'] > 0
    expected = 30 * (1.602176634e-19) ** 2 / (1728e-30 * 1.380649e-23 * 600) * diffusivity['value'] * 1e-4 * 10
    assert numbers['conductivity.Li']['value'] == pytest.approx(expected, rel=0.01)
    assert any('not extrapolated' in text for text in numbers['conductivity.Li']['warnings'])
    assert any('too short' in text for text in numbers['diffusivity.Cl']['warnings'])
    assert outputs['results']['context']['duration_ps'] == pytest.approx(19.9)
    assert outputs['curve'].base.attributes.get('units')['msd_Li'] == 'Å^2'
    _, failed = analyse_conductivity.run_get_node(node, thermo_node(100), orm.Dict({'charges': {'Li': 1}}))
    assert failed.exit_status == 510
    assert 'no charge was given for Cl' in failed.exit_message
