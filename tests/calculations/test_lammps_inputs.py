"""What goes into a LAMMPS run: structures in any orientation, safe potentials, sentences for what does not fit."""

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from scipy.spatial.transform import Rotation

from aiida_softclay.calculations.lammps_potential import parse_classical
from aiida_softclay.calculations.lammps_script import Resume, wallclock_margin, write_script
from aiida_softclay.calculations.lammps_system import data_file, lammps_cell
from aiida_softclay.calculations.md_plan import MdPlan

LINES = ['pair_style lj/cut 8.0', 'pair_coeff * * 0.0104 3.4']


@pytest.mark.parametrize('seed', range(5))
def test_cell_is_rotated_not_deformed(seed):
    rng = np.random.default_rng(seed)
    cell = np.diag([5.0, 6.0, 7.0]) + rng.uniform(-2, 2, (3, 3))
    if np.linalg.det(cell) < 0:
        cell[2] *= -1
    result = lammps_cell(cell)
    np.testing.assert_allclose(result.cell @ result.cell.T, cell @ cell.T, atol=1e-10)
    np.testing.assert_allclose(cell @ result.rotation, result.cell, atol=1e-10)
    assert np.linalg.det(result.rotation) == pytest.approx(1)
    assert (np.triu(result.cell, 1) == 0).all()
    assert (np.diag(result.cell) > 0).all()


def test_left_handed_cell_spans_the_same_lattice():
    cell = np.array([[4.0, 0, 0], [1, 5, 0], [0.5, 0.3, -6]])
    result = lammps_cell(cell)
    assert np.linalg.det(result.rotation) == pytest.approx(1)
    coefficients = (cell @ result.rotation) @ np.linalg.inv(result.cell)
    np.testing.assert_allclose(coefficients, np.round(coefficients), atol=1e-9)
    assert abs(np.linalg.det(coefficients)) == pytest.approx(1)


def test_flat_cell_is_refused():
    with pytest.raises(ValueError, match='no volume'):
        lammps_cell(np.diag([5.0, 5.0, 0.0]))


def test_data_file_keeps_the_order_of_the_atoms():
    text = data_file(['Cl', 'Li'], np.array([[0, 0, 0], [2.5, 0, 0]]), np.eye(3) * 5, ['Li', 'Ga', 'Cl'], {'Cl': -1.0})
    assert '3 atom types' in text
    assert '1 3 -1 0.0' in text
    assert '2 1 0 2.5' in text
    assert '2 69.72' in text


@pytest.mark.parametrize(
    'line',
    [
        'shell rm -rf x',
        'pair_style lj/cut 8.0\nshell touch x',
        'pair_style lj/cut ${x}',
        'pair_style lj/cut $(shell)',
        'pair_style lj/cut 8.0 &',
        'pair_coeff * * "a b"',
        "pair_coeff * * 'a'",
        'pair_coeff 1 1 1.0 ; shell x',
        'pair_coeff 1 1 1.0 # comment',
        'include other.in',
        'if 1 then x',
        'python f input 1',
        'print x',
        'variable x equal 1',
        'jump SELF interrupted',
        'plugin load x.so',
        'pair_style python 5.0',
        'pair_style mdi',
        'pair_style deepmd other.pb',
        'pair_coeff * * /etc/passwd Ar',
        'pair_coeff * * ../x.eam Ar',
        'pair_coeff * * x.eam Ar',
        '',
        '   ',
        'pair_style lj/cut 8.0\t',
        'ѕhell x',
        7,
        ['pair_style lj/cut 8.0'],
    ],
)
def test_injection_is_refused(line):
    with pytest.raises(ValueError, match='line'):
        parse_classical([*LINES, line], ['Ar'])


@pytest.mark.parametrize(
    'name', ['../x', 'a b', 'input.in', 'log.lammps', 'x.restart', '', '-x', 'a/b', 'model.pb', '_x']
)
def test_file_names_are_checked(name):
    with pytest.raises(ValueError, match='file name'):
        parse_classical(LINES, ['Ar'], [name])


def test_element_symbols_become_type_numbers():
    potential = parse_classical(
        {
            'elements': ['Na', 'Cl'],
            'lines': ['pair_style born/coul/long 8.0', 'pair_coeff Cl Na 0.2 0.3 2.7 0 0', 'kspace_style ewald 1e-5'],
            'charges': {'Na': 1, 'Cl': -1},
        },
        ['Cl', 'Na'],
    )
    assert potential.lines[1] == 'pair_coeff 1 2 0.2 0.3 2.7 0 0'
    assert potential.elements == ('Na', 'Cl')


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        ({'elements': ['Na'], 'lines': LINES}, 'the structure has Ar'),
        ({'lines': LINES, 'charge': {}}, 'unknown key charge'),
        ({'lines': LINES, 'charges': {'Xe': 1}}, 'charge'),
        ({'lines': LINES[1:]}, 'no pair_style'),
        ({'elements': ['Ar', 'Ar'], 'lines': LINES}, 'twice'),
    ],
)
def test_potentials_that_do_not_fit(data, words):
    with pytest.raises(ValueError, match=words):
        parse_classical(data, ['Ar'])


def test_a_file_that_is_given_may_be_named():
    assert parse_classical(['pair_style eam/alloy', 'pair_coeff * * Al.eam.alloy Al'], ['Al'], ['Al.eam.alloy'])


PLAN = MdPlan.from_dict(
    {
        'timestep_ps': 0.001,
        'stages': [
            {'name': 'relax', 'kind': 'minimise'},
            {'name': 'pulse', 'kind': 'npt', 'duration_ps': 1, 'temperature_K': 300, 'stress_GPa': {'yz': 0.01}},
            {'name': 'pull', 'kind': 'deform', 'component': 'xx', 'rate_per_ps': 1e-3, 'duration_ps': 1,
             'temperature_K': 300},
        ],
    }
)  # fmt: skip


def test_script_says_what_the_physics_needs():
    script = write_script(PLAN, LINES, has_velocities=True)
    # A tension-positive stress of 10 MPa is a pressure of -100 bar, and all six components are controlled.
    assert 'x 0 0 1 y 0 0 1 z 0 0 1 yz -100 -100 1 xz 0 0 1 xy 0 0 1 flip no' in script
    # Minimisation removes velocities, so they are drawn although the data file has some.
    assert 'velocity all create 300' in script
    assert 'deform 1 x erate 0.001' in script
    assert ' x 0.0 0.0' not in script.split('fix integrate_pull')[1].split('\n')[0]
    assert 'timer' not in script


def test_a_script_that_goes_on_has_nothing_of_the_stages_before():
    script = write_script(PLAN, LINES, True, Resume('pulse', 400, within=True), max_wallclock_seconds=3600)
    assert 'read_restart' in script
    assert 'read_data' not in script
    assert 'minimize' not in script
    assert 'velocity' not in script
    assert 'run 1000 upto start 0 stop 1000' in script
    assert 'timer timeout 00:57:00 every 10' in script
    fresh = write_script(PLAN, LINES, True, Resume('pulse', 0, within=False))
    assert 'velocity all create' in fresh


def test_margin():
    assert wallclock_margin(60) == 10
    assert wallclock_margin(3600) == 180
    assert wallclock_margin(86400) == 300


@pytest.fixture
def submit(localhost):
    """Make a process with these inputs, which validates them."""
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager
    from aiida.plugins import CalculationFactory

    code = orm.InstalledCode(label='none', computer=localhost, filepath_executable='/bin/true').store()

    def run(**inputs):
        base = {
            'code': code,
            'structure': orm.StructureData(ase=bulk('Ar', 'fcc', a=5.3, cubic=True)),
            'plan': {'stages': [{'name': 'a', 'kind': 'nvt', 'duration_ps': 1, 'temperature_K': 10}]},
            'classical': {'pair_lines': LINES},
        }
        base |= inputs
        return instantiate_process(
            get_manager().get_runner(), CalculationFactory('softclay.lammps'), **{k: v for k, v in base.items() if v}
        )

    return run


def velocities(shape):
    return orm.ArrayData({'velocities': np.zeros(shape)})


@pytest.mark.parametrize(
    ('inputs', 'words'),
    [
        ({'classical': None}, 'either a potential'),
        ({'classical': {'pair_lines': [*LINES, 'shell ls']}}, 'shell'),
        ({'classical': {'pair_lines': {'elements': ['Ne'], 'lines': LINES}}}, 'fitted to all elements'),
        ({'plan': {'stages': [{'name': 'a', 'kind': 'nvt', 'duration_ps': 1, 'temperature_K': -1}]}}, 'give kelvin'),
        ({'plan': {'stages': [{'name': 'a', 'kind': 'nve', 'duration_ps': 1}]}}, 'no velocities to start from'),
        ({'velocities': lambda: velocities((3, 3))}, r'shape \(4, 3\)'),
        ({'resume': {'stage': 'a', 'step': 0, 'within': True, 'file': '../x'}}, 'which no run of this plan writes'),
        ({'resume': {'stage': 'b', 'step': 0, 'within': True, 'file': 'a.a.restart'}}, 'does not have'),
        ({'resume': {'stage': 'a', 'step': 0, 'within': True, 'file': 'a.a.restart'}}, 'needs parent_folder'),
        ({'structure': lambda: orm.StructureData(cell=np.eye(3).tolist())}, 'no atoms'),
        ({'structure': lambda: orm.StructureData(ase=_slab())}, 'not periodic'),
    ],
)
def test_refused_at_submission_with_a_sentence(submit, inputs, words):
    inputs = {key: value() if callable(value) else value for key, value in inputs.items()}
    with pytest.raises(ValueError, match=words):
        submit(**inputs)


def _slab():
    atoms = bulk('Ar', 'fcc', a=5.3, cubic=True)
    atoms.pbc = [True, True, False]
    return atoms


def test_good_inputs_are_accepted(submit):
    submit()


def test_rotated_and_permuted_structures_are_the_same_physics():
    """Distances, which are all a potential sees, survive the change of orientation."""
    atoms = bulk('Ar', 'fcc', a=5.3)
    atoms.rattle(0.1, seed=1)
    turned = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    for cell, positions in ((atoms.cell.array, atoms.positions), (atoms.cell.array @ turned, atoms.positions @ turned)):
        result = lammps_cell(cell)
        np.testing.assert_allclose(
            np.linalg.solve(result.cell.T, (positions @ result.rotation).T),
            np.linalg.solve(atoms.cell.array.T, atoms.positions.T),
            atol=1e-10,
        )
