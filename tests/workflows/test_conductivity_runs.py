"""Runs of a real LAMMPS that go on until their error is small enough: a molten salt of charged, screened spheres."""

from __future__ import annotations

import numpy as np
import pytest
from aiida.engine import run_get_node
from molten_salt import SALT, salt

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.workflows.conductivity import ConductivityWorkChain

OVERRIDES = {
    'temperature_K': 1200.0, 'timestep_ps': 0.002, 'equilibrate_ps': 2.0, 'duration_ps': 2.0, 'dump_every': 10,
    'thermo_every': 10, 'relative_error_wanted': 0.08, 'error_species': 'Li', 'max_duration_ps': 8.0,
}  # fmt: skip


def numbers_of(node):
    results = node.get_dict()
    check_results(results)
    return {row['name']: row for row in results['numbers']}


@pytest.mark.engine
def test_a_run_goes_on_until_its_error_is_small_enough(lmp_code):
    builder = ConductivityWorkChain.get_builder_from_protocol(lmp_code, salt(), classical=SALT, overrides=OVERRIDES)
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    record = node.outputs.run_lengths.get_dict()
    first, last = record['runs'][0], record['runs'][-1]
    assert len(record['runs']) > 1
    assert last['reached'] or last['duration_ps'] == pytest.approx(OVERRIDES['max_duration_ps'])
    assert last['relative_error'] < first['relative_error']
    # The seams: the same positions, forces and velocities before and after.
    assert len(record['seams']) == len(record['runs']) - 1
    for seam in record['seams']:
        # Positions are kept to 0.001 Å.
        assert seam['largest_shift_A'] < 2.1e-3
        assert abs(seam['energy_change_eV']) < 1e-8
        assert seam['temperature_after_K'] == pytest.approx(seam['temperature_before_K'], rel=1e-6)
    trajectory, thermo = node.outputs.trajectories.production, node.outputs.thermo.production
    assert trajectory.stride_steps == OVERRIDES['dump_every']
    with trajectory.open_trajectory() as frames:
        positions, steps, numbers_of_atoms = frames.positions[:], frames.steps[:], frames.atomic_numbers
    assert (steps[-1] - steps[0]) * 0.002 == pytest.approx(last['duration_ps'])
    # 20 fs: no atom jumps by a cell edge of 12 Å.
    assert np.abs(np.diff(positions, axis=0)).max() < 2.0
    centres = node.outputs.collective.production
    with_frame = np.isin(centres.get_array('step'), steps)
    assert with_frame.sum() == len(steps)
    assert len(set(np.diff(centres.get_array('step')))) == 1
    lithium = [number == 3 for number in numbers_of_atoms]
    assert centres.get_array('centre_Li')[with_frame] == pytest.approx(positions[:, lithium].mean(axis=1), abs=1e-3)
    assert (np.diff(thermo.get_array('step')) == OVERRIDES['thermo_every']).all()
    assert np.diff(thermo.get_array('time_ps')) == pytest.approx(0.02)
    assert node.outputs.statistics['stages']['production']['last_step'] == steps[-1]
    # The conductivities of the ions alone are the self parts of that of all together.
    numbers, collective = numbers_of(node.outputs.results), numbers_of(node.outputs.further.collective)
    for ion in ('Li', 'Cl'):
        assert collective[f'conductivity.self.{ion}']['value'] == pytest.approx(numbers[f'conductivity.{ion}']['value'])
        assert collective[f'conductivity.self.{ion}']['window'] == pytest.approx(
            numbers[f'diffusivity.{ion}']['window']
        )
    assert numbers['diffusivity.Li']['value'] > numbers['diffusivity.Cl']['value'] > 1e-5
    assert node.outputs.results['context']['seed'] == 1


@pytest.mark.parametrize(
    ('overrides', 'sentence'),
    [
        ({'relative_error_wanted': 10.0}, 'a share between 0 and 1'),
        ({'relative_error_wanted': 0.1, 'max_duration_ps': 1.0}, 'max_duration_ps 1.0 is below duration_ps'),
        ({'window_share': [0.5, 0.2]}, 'in order'),
    ],
)
def test_bad_lengths_get_a_sentence(overrides, sentence):
    with pytest.raises(ValueError, match=sentence):
        ConductivityWorkChain.build_plan(ConductivityWorkChain.get_protocol_inputs(overrides=overrides))


def test_a_steered_run_ends_with_a_frame():
    parameters = ConductivityWorkChain.get_protocol_inputs(overrides={'duration_ps': 6.003, 'dump_every': 10})
    assert ConductivityWorkChain.build_plan(parameters).steps('production') == 6003
    plan = ConductivityWorkChain.build_plan({**parameters, 'relative_error_wanted': 0.1})
    assert plan.steps('production') == 6010


def test_the_error_of_an_absent_species_is_refused():
    parameters = ConductivityWorkChain.get_protocol_inputs(overrides={'error_species': 'Na'})
    assert 'species Na is not in' in ConductivityWorkChain.check_parameters(parameters, ['Li', 'Cl'])
    parameters |= {'error_species': 'Cl', 'species': ['Li']}
    assert 'Cl is not among species Li' in ConductivityWorkChain.check_parameters(parameters, ['Li', 'Cl'])


@pytest.mark.parametrize(
    ('analyses', 'sentence'),
    [
        ({'mobility': {}}, "there is no analysis 'mobility': choose from anion_motion"),
        ({'chains': None}, 'analyses.chains holds the parameters of the analysis'),
        ({'chains': {'bonds': {'O': 2.3}, 'context': {}}}, 'its context is that of the run'),
    ],
)
def test_analyses_that_a_run_cannot_have_are_refused(analyses, sentence):
    parameters = ConductivityWorkChain.get_protocol_inputs(overrides={'analyses': analyses})
    assert sentence in ConductivityWorkChain.check_parameters(parameters, ['Li', 'Cl'])
