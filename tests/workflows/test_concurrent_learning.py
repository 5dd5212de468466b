"""Concurrent learning: its decisions, and the loop itself with the real dp and lmp and EMT as labelling engine."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.workflows.concurrent_learning import ConcurrentLearningWorkChain

pytestmark = pytest.mark.filterwarnings('ignore')

#: A network so small that a step takes a millisecond.
NETWORK = {
    'compress': False,
    'deepmd': {
        'model': {
            'descriptor': {'rcut': 4.5, 'rcut_smth': 1.0, 'neuron': [4, 8], 'axis_neuron': 4, 'precision': 'float64'},
            'fitting_net': {'neuron': [8, 8], 'precision': 'float64'},
        },
        'training': {'numb_steps': 200, 'disp_freq': 50, 'save_freq': 100},
    },
}
OVERRIDES = {
    'trust': {'lower_eV_A': 0.001, 'upper_eV_A': 50.0, 'adaptive_fraction': 0.5, 'adaptive_minimum': 2},
    'selection': {'max_configurations': 4},
    'stop': {'max_generations': 2, 'max_candidate_share': 0.001, 'max_failed_share': 1.0},
    'committee': {'n_models': 2, 'overrides': NETWORK},
    'exploration': {
        'timestep_ps': 0.002, 'frame_every_ps': 0.02,
        'conditions': [
            {'label': 'warm', 'temperature_K': 300, 'duration_ps': 0.1},
            {'label': 'sheared', 'temperature_K': 300, 'shear_rate_per_ps': 0.1, 'duration_ps': 0.1},
        ],
    },
    'label': {'overrides': {'incar': {'ivdw': 0}}},
}  # fmt: skip


def copper(seed=0, amplitude=0.05):
    atoms = bulk('Cu', 'fcc', a=3.6, cubic=True) * (2, 2, 1)
    atoms.rattle(amplitude, seed=seed)
    return atoms


def labelled_by_the_engine(code, family, folder, n_frames=12):
    """Rattled copper, labelled by softclay.label itself, so that it lies on the energy surface of what comes later."""
    from aiida.engine import run_get_node

    from aiida_softclay.workflows.label import LabelWorkChain

    builder = LabelWorkChain.get_builder_from_protocol(
        code,
        rattled_trajectory(folder / 'initial.h5', n_frames),
        family,
        protocol='demo',
        overrides=OVERRIDES['label']['overrides'],
    )
    node = run_get_node(builder).node
    assert node.is_finished_ok, node.exit_message
    return node.outputs.frames['all']


def rattled_trajectory(path, n_frames):
    from aiida_softclay.data.trajectory import MdTrajectoryData
    from aiida_softclay.data.trajectory_file import TrajectoryFile

    with TrajectoryFile(path, 'w', copper().numbers, 0.002, {'program': 'test'}, 'explore') as file:
        for step in range(n_frames):
            atoms = copper(step)
            file.append(atoms.positions, atoms.cell.array, 10 * step)
    return MdTrajectoryData.from_file(path)


@pytest.fixture
def family(aiida_profile):
    from aiida_softclay.calculations.potcars import upload_placeholder_family

    upload_placeholder_family('concurrent', ['Cu'])
    return 'concurrent'


@pytest.fixture
def codes(dp_code, lmp_code, vasp_emt_code):
    return {'dp': dp_code, 'lmp': lmp_code, 'vasp': vasp_emt_code}


@pytest.mark.engine
def test_a_generation_explores_selects_labels_and_learns(codes, family, tmp_path):
    """The loop with the real engines: one generation, then the final fit on what it added."""
    from aiida.engine import run_get_node

    initial = labelled_by_the_engine(codes['vasp'], family, tmp_path)
    start = orm.StructureData(ase=copper(99, 0.02))
    overrides = {
        **OVERRIDES,
        'stop': {**OVERRIDES['stop'], 'max_generations': 1},
        'final': {
            'protocol': 'demo',
            'overrides': {**NETWORK, 'gate': {'rmse_energy_meV_atom': 1e5, 'rmse_force_meV_A': 1e5}},
        },
    }
    builder = ConcurrentLearningWorkChain.get_builder_from_protocol(
        codes, initial, {'cu': start}, potential_family=family, overrides=overrides
    )
    node = run_get_node(builder).node
    assert node.exit_status == 710, (node.exit_status, node.exit_message)
    assert 'not converged after 1 generations' in node.exit_message

    record = node.outputs.generations.generation_000.get_dict()
    assert record['decision'] == 'learning'
    assert record['n_explored'] == 11, 'six frames of two runs, with their common start once'
    assert record['n_labelled'] == 4
    assert record['levels']['lower_eV_A'] > 0.001
    assert record['committee_numbers']
    # What is labelled is what the runs went through, with the labels of EMT itself.
    frames = node.outputs.frames
    assert set(frames) == {'initial', 'generation_000_cu'}
    runs = {run['process']: name for name, run in record['runs'].items()}
    assert set(runs.values()) == {'cu_warm', 'cu_sheared'}
    trajectories = {name: orm.load_node(uuid).outputs.trajectories.explore for uuid, name in runs.items()}
    with frames.generation_000_cu.open_frames() as file:
        view = next(iter(file.blocks()))
        assert file.sources[0]['stage'] == 'label'
        for row, place in enumerate(record['selected']['cu']):
            with trajectories[place['run']].open_trajectory() as trajectory:
                assert trajectory.steps[place['frame']] == place['step']
                atoms = trajectory.atoms(place['frame'])
            # The driver may write its cell in another orientation and wraps positions: forces tell.
            atoms.calc = EMT()
            assert view.energies[row] == pytest.approx(atoms.get_potential_energy(), abs=1e-3)
            np.testing.assert_allclose(
                np.linalg.norm(view.forces[row], axis=1), np.linalg.norm(atoms.get_forces(), axis=1), atol=2e-3
            )
    # The last fit knew them.
    fit = node.base.links.get_outgoing(link_label_filter='final_fit').one().node
    used = fit.outputs.training_frames.n_frames + fit.outputs.validation_frames.n_frames
    assert used == 16
    assert node.outputs.potential.test_rmse['force_meV_A'] > 0
    assert set(node.outputs.potentials) == {'model_00', 'model_01'}
    # Everything the generation made is in its group.
    group = orm.Group.collection.get(label=record['group'])
    members = {member.uuid for member in group.nodes}
    expected = [
        node.outputs.generations.generation_000, frames.generation_000_cu, *node.outputs.potentials.values(),
        *trajectories.values(),
    ]  # fmt: skip
    assert {item.uuid for item in expected} <= members
    check_results(node.outputs.results.get_dict())
    numbers = {row['name']: row['value'] for row in node.outputs.results['numbers']}
    assert numbers['labelled_frames'] == 4
    assert numbers['final.rmse_force'] == pytest.approx(node.outputs.potential.test_rmse['force_meV_A'])
