"""Frames of some of the elements with the centres of all: the numbers of the whole trajectory, or a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase.data import chemical_symbols

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.centres import system_counts
from aiida_softclay.calcfunctions.continuation import continue_run
from aiida_softclay.calcfunctions.onsager import analyse_ionic_conductivity
from aiida_softclay.calcfunctions.transport import analyse_conductivity
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile
from aiida_softclay.parsers.lammps_results import engine_with_left_out

NUMBERS = np.repeat([3, 31, 17], [20, 10, 50])
CHARGES = {'Li': 1, 'Ga': 3, 'Cl': -1}
N_FRAMES, STRIDE, BETWEEN = 240, 100, 4


@pytest.fixture(scope='module')
def paths():
    """Random walks of three elements of different speed, which drift together: (n_rows, n_atoms, 3), Å."""
    rng = np.random.default_rng(5)
    rows = (N_FRAMES - 1) * BETWEEN + 1
    speeds = np.array([{3: 0.3, 31: 0.03, 17: 0.08}[number] for number in NUMBERS])[None, :, None]
    steps = rng.normal(size=(rows, NUMBERS.size, 3)) * speeds
    # The drift is as large as the walk of lithium: without the frame of reference the numbers would be others.
    steps += np.array([0.2, -0.1, 0.05]) + 0.1 * rng.normal(size=(rows, 1, 3))
    return 5.0 + np.cumsum(steps, axis=0)


@pytest.fixture
def writing(aiida_profile, paths, tmp_path):
    """What writes frames of some of the atoms, temperatures, and the centres of all elements."""

    def write(name, chosen):
        numbers = NUMBERS[chosen]
        elements = [chemical_symbols[number] for number in set(numbers)]
        engine = engine_with_left_out(
            {'program': 'LAMMPS', 'version': '1'}, [chemical_symbols[z] for z in NUMBERS], elements
        )
        path = tmp_path / f'{name}.h5'
        with TrajectoryFile(path, 'w', numbers, 0.001, engine=engine, stage='production') as target:
            for index, frame in enumerate(paths[::BETWEEN]):
                target.append(frame[chosen], np.eye(3) * 14.0, index * STRIDE)
        return MdTrajectoryData.from_file(path).store()

    steps = np.arange(len(paths)) * STRIDE // BETWEEN
    columns = {'step': steps, 'time_ps': steps * 0.001}
    for number in set(NUMBERS):
        columns[f'centre_{chemical_symbols[number]}'] = paths[:, number == NUMBERS].mean(axis=1)
    thermo = orm.ArrayData({'temperature_K': 600.0 + np.random.default_rng(0).normal(scale=5, size=100)})
    return write, thermo, orm.ArrayData(columns)


@pytest.fixture
def written(writing):
    """The whole run, the same with frames of lithium alone, temperatures, and the centres of all elements."""
    write, thermo, centres = writing
    return write('whole', NUMBERS > 0), write('lithium', NUMBERS == 3), thermo, centres


def numbers_of(results):
    check_results(results['results'].get_dict())
    return {row['name']: row for row in results['results']['numbers']}


def test_diffusion_is_that_of_the_whole(written):
    whole, lithium, thermo, centres = written
    parameters = orm.Dict({'charges': CHARGES, 'window_share': [0.02, 0.1]})
    wanted = numbers_of(analyse_conductivity(whole, thermo, parameters))
    found = numbers_of(analyse_conductivity(lithium, thermo, parameters, centres))
    assert set(found) == {'diffusivity.Li', 'conductivity.Li'}
    for name, row in found.items():
        assert row['value'] == pytest.approx(wanted[name]['value'], rel=1e-5)
        assert row['error'] == pytest.approx(wanted[name]['error'], rel=1e-4)
        assert row['conditions']['n_atoms'] == NUMBERS.size
    # The walk has this diffusivity: relative to the centre of mass, so without the drift.
    expected = BETWEEN * 0.3**2 / (2 * STRIDE * 0.001) * 1e-4
    assert found['diffusivity.Li']['value'] == pytest.approx(expected, rel=0.1)


def test_collective_numbers_that_need_no_other_ions_stay(written):
    whole, lithium, thermo, centres = written
    parameters = orm.Dict({'charges': CHARGES, 'window_share': [0.02, 0.1]})
    wanted = numbers_of(analyse_ionic_conductivity(whole, thermo, parameters, centres))
    found = numbers_of(analyse_ionic_conductivity(lithium, thermo, parameters, centres))
    missing = {f'conductivity.{part}.{ion}' for part in ('self', 'distinct') for ion in ('Ga', 'Cl')}
    assert set(wanted) - set(found) == missing
    unknown = {name for name, row in found.items() if row['value'] is None}
    assert unknown == {'conductivity.nernst_einstein', 'haven_ratio'}
    assert all(row['error'] is None for name, row in found.items() if name in unknown)
    for name in set(found) - unknown:
        assert found[name]['value'] == pytest.approx(wanted[name]['value'], rel=1e-5), name
    assert any('Ga, Cl were not followed one by one' in text for text in found['haven_ratio']['warnings'])


@pytest.mark.parametrize('elements', [(3,), (17,), (31,), (3, 17), (31, 17)])
def test_names_are_those_of_the_whole(writing, elements):
    """Whatever elements the frames hold, pairs are named in the order of the system: Li, Ga, Cl."""
    write, thermo, centres = writing
    parameters = orm.Dict({'charges': CHARGES, 'window_share': [0.02, 0.1]})
    made = analyse_ionic_conductivity(write('whole', NUMBERS > 0), thermo, parameters, centres)
    wanted, curve = numbers_of(made), made['curve']
    made = analyse_ionic_conductivity(write('part', np.isin(NUMBERS, elements)), thermo, parameters, centres)
    found = numbers_of(made)
    assert list(found) == [name for name in wanted if name in found]
    pairs = [f'conductivity.distinct.{pair}' for pair in ('Li-Ga', 'Li-Cl', 'Ga-Cl')]
    assert [name for name in found if '-' in name] == pairs
    for name in (*pairs, 'conductivity.total', 'transference.Ga'):
        assert found[name]['value'] == pytest.approx(wanted[name]['value'], rel=1e-5), name
    assert set(made['curve'].get_arraynames()) == set(curve.get_arraynames())
    np.testing.assert_allclose(
        made['curve'].get_array('collective_Ga_Cl'), curve.get_array('collective_Ga_Cl'), rtol=1e-9
    )


def test_an_order_that_was_not_recorded(aiida_profile, tmp_path):
    """Files of earlier versions say what they lack, and not where it stands in the system."""
    path = tmp_path / 'earlier.h5'
    with TrajectoryFile(path, 'w', [17, 3], 0.001, engine={'atoms_left_out': {'Ga': 10, 'F': 2}}) as target:
        target.append(np.zeros((2, 3)), np.eye(3), 0)
    with TrajectoryFile(path) as opened:
        assert system_counts(opened) == {'Cl': 1, 'Li': 1, 'F': 2, 'Ga': 10}
        assert opened.element_order == ['Cl', 'Li', 'F', 'Ga']


def test_the_reference_may_be_an_element_without_frames(written):
    whole, lithium, thermo, centres = written
    parameters = orm.Dict({'charges': CHARGES, 'window_share': [0.02, 0.1], 'reference': 'Ga'})
    wanted = numbers_of(analyse_ionic_conductivity(whole, thermo, parameters, centres))
    found = numbers_of(analyse_ionic_conductivity(lithium, thermo, parameters, centres))
    for name in ('conductivity.self.Li', 'transference.Cl'):
        assert found[name]['value'] == pytest.approx(wanted[name]['value'], rel=1e-4)


def test_what_does_not_cover_the_run_gets_a_sentence(written):
    _, lithium, thermo, centres = written
    arrays = {name: centres.get_array(name) for name in centres.get_arraynames()}
    parameters = orm.Dict({'charges': CHARGES, 'window_share': [0.02, 0.1]})
    without_chlorine = {name: values for name, values in arrays.items() if name != 'centre_Cl'}
    too_coarse = {name: values[::6] for name, values in arrays.items()}
    cut = {name: values[: len(values) // 2] for name, values in arrays.items()}
    broken = {**arrays, 'centre_Ga': np.where(arrays['step'][:, None] == 2000, np.nan, arrays['centre_Ga'])}
    for columns, sentence in (
        (None, 'Give the centres'),
        (without_chlorine, 'the centres lack Cl'),
        (too_coarse, 'collective_every must divide dump_every'),
        (cut, 'there are no centres at'),
        (broken, 'not finite'),
    ):
        given = {} if columns is None else {'centres': orm.ArrayData(columns)}
        _, node = analyse_conductivity.run_get_node(lithium, thermo, parameters, **given)
        assert node.exit_status == 510
        assert sentence in node.exit_message


def halves(paths, tmp_path, shift=0):
    """Two runs of lithium frames; the second begins wrapped into the cell and at step 0, ``shift`` steps too late."""
    cut, edge = 100, 14.0
    wrapped = paths[cut:] - edge * np.floor(paths[cut] / edge)
    made = {}
    for number, (rows, first) in enumerate(((paths[: cut + 1], 5000), (wrapped, 0))):
        path = tmp_path / f'run_{number}.h5'
        engine = {'program': 'LAMMPS', 'atoms_left_out': {'Ga': 10, 'Cl': 50}}
        with TrajectoryFile(path, 'w', NUMBERS[:20], 0.001, engine=engine, stage='production') as target:
            for index, frame in enumerate(rows):
                target.append(frame[:20], np.eye(3) * edge, first + index * STRIDE)
        steps = first + np.arange(len(rows)) * STRIDE
        thermo = {'step': steps, 'time_ps': steps * 0.001, 'potential_energy_eV': np.zeros(len(rows))}
        node = orm.ArrayData({**thermo, 'temperature_K': np.full(len(rows), 600.0)})
        node.base.attributes.set('units', {})
        centres = {
            f'centre_{name}': rows[:, z == NUMBERS].mean(axis=1) for name, z in (('Li', 3), ('Ga', 31), ('Cl', 17))
        }
        late = shift if number else 0
        made |= {
            f'trajectory_{number:04d}': MdTrajectoryData.from_file(path), f'thermo_{number:04d}': node,
            f'collective_{number:04d}': orm.ArrayData(
                {'step': steps + late, 'time_ps': (steps + late) * 0.001, **centres}
            ),
        }  # fmt: skip
    return made


def test_centres_of_elements_without_frames_go_on_over_a_seam(aiida_profile, paths, tmp_path):
    paths = paths[:200]
    made = continue_run(**halves(paths, tmp_path))
    np.testing.assert_array_equal(made['collective'].get_array('step'), 5000 + np.arange(200) * STRIDE)
    for name, number in (('Li', 3), ('Ga', 31), ('Cl', 17)):
        wanted = paths[:, number == NUMBERS].mean(axis=1)
        np.testing.assert_allclose(made['collective'].get_array(f'centre_{name}'), wanted, atol=1e-9)
    _, node = continue_run.run_get_node(**halves(paths, tmp_path, shift=7))
    assert node.exit_status == 510
    assert 'the centres of run 2 do not start where those before it end' in node.exit_message
