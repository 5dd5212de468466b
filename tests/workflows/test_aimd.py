"""AIMD over seams with the real driver over EMT, and everything that is refused before it starts."""

from __future__ import annotations

import numpy as np
import pytest
from aimd_samples import FAMILY, alloy, emt_inputs, frames_of, run, segments, series
from ase.build import bulk

from aiida_softclay.calculations.aimd_plan import AimdPlan


@pytest.fixture
def inputs(aiida_profile, vasp_emt_code):
    """Everything but the plan."""
    return emt_inputs(vasp_emt_code)


@pytest.mark.engine
def test_three_segments_are_one_trajectory(inputs):
    """Newton's equations do not know of seams: cut in three, the trajectory is the uninterrupted one."""
    _, whole = run(inputs, {'timestep_fs': 2.0, 'seed': 3, 'segments': segments(60)})
    assert whole.is_finished_ok, whole.exit_message
    _, parts = run(inputs, {'timestep_fs': 2.0, 'seed': 3, 'segments': segments(24, 14, 22)})
    assert parts.is_finished_ok, parts.exit_message

    assert series(whole, 'step').tolist() == list(range(30))
    assert series(parts, 'step').tolist() == list(range(30))
    assert series(parts, 'segment_index').tolist() == [0] * 12 + [1] * 7 + [2] * 11
    np.testing.assert_allclose(series(parts, 'free_energy_eV'), series(whole, 'free_energy_eV'), atol=2e-8)
    first, second = frames_of(whole), frames_of(parts)
    assert first.symbols == second.symbols == alloy().get_chemical_symbols()
    assert first.n_frames == second.n_frames == 30
    cell = np.array(first.cells[0])
    shift = (first.positions - second.positions) @ np.linalg.inv(cell)
    assert np.abs((shift - np.rint(shift)) @ cell).max() < 2e-6
    np.testing.assert_allclose(first.forces, second.forces, atol=1e-5)
    np.testing.assert_allclose(
        parts.outputs.velocities.get_array('velocities'), whole.outputs.velocities.get_array('velocities'), atol=1e-10
    )

    # It moved, and kept its energy.
    assert np.abs(first.positions[-1] - first.positions[0]).max() > 0.02
    total = series(whole, 'free_energy_eV') + series(whole, 'kinetic_energy_eV')
    assert np.ptp(total) / 8 < 2e-3
    assert series(whole, 'temperature_K')[0] == pytest.approx(600.0, abs=0.1)

    seams = parts.outputs.seams.get_dict()
    assert seams['continuous']
    assert len(seams['seams']) == 3
    assert all(seam['position_difference_A'] < 1e-6 for seam in seams['seams'])
    assert all(abs(seam['energy_jump_meV_per_atom']) < 2.0 for seam in seams['seams'][1:])


@pytest.mark.engine
def test_the_poscar_that_ran_is_the_one_that_is_stored(inputs):
    from aiida.orm import CalcJobNode

    from aiida_softclay.calculations.vasp_inputs import read_poscar, vasp_order

    _, node = run(inputs, {'timestep_fs': 2.0, 'segments': segments(6, 6)})
    first, second = [child for child in node.called if isinstance(child, CalcJobNode)]
    poscar = read_poscar(second.base.repository.get_object_content('POSCAR'))
    order = vasp_order(alloy().get_chemical_symbols())
    np.testing.assert_array_equal(poscar.velocities, first.outputs.velocities.get_array('velocities')[order])
    assert second.inputs.structure.uuid == first.outputs.structure.uuid
    assert second.inputs.velocities.uuid == first.outputs.velocities.uuid
    kept = set(first.outputs.retrieved.base.repository.list_object_names())
    assert 'vasprun.xml' not in kept
    assert 'POTCAR' not in set(first.base.repository.list_object_names()) | kept
    statistics = first.outputs.statistics.get_dict()
    assert statistics['program']['program'] == 'softclay-vasp'
    assert 'EMT' in str(statistics['program'])


@pytest.mark.engine
def test_thermostat_state_is_carried_too(inputs):
    """A Nosé–Hoover run cut in two is the uninterrupted one, since the driver's CONTCAR holds the friction."""
    plan = {'timestep_fs': 2.0, 'seed': 5}
    ramp = segments(40, ensemble='nvt', temperature_end_K=900.0)
    _, whole = run(inputs, plan | {'segments': ramp})
    _, parts = run(inputs, plan | {'segments': ramp, 'max_steps_per_run': 12})
    assert parts.is_finished_ok, parts.exit_message
    np.testing.assert_allclose(series(parts, 'temperature_K'), series(whole, 'temperature_K'), atol=0.02)


@pytest.mark.engine
def test_npt_moves_the_cell_over_the_seam(inputs):
    plan = {'timestep_fs': 2.0, 'segments': segments(10, 10, ensemble='npt', pressure_GPa=5.0)}
    _, node = run(inputs, plan)
    assert node.is_finished_ok, node.exit_message
    cells = frames_of(node).cells
    assert np.abs(cells[-1] - cells[0]).max() > 1e-4
    assert node.outputs.seams['continuous']
    assert max(seam['cell_difference_A'] for seam in node.outputs.seams['seams']) < 1e-6


STOP_ONCE = "if [ ! -e {marker} ]; then touch {marker}; echo 'LSTOP = .TRUE.' > STOPCAR; fi"


@pytest.mark.engine
def test_a_run_that_is_stopped_is_continued(inputs, tmp_path):
    """The first run finds a STOPCAR and ends after one step; the whole is still what was planned."""
    from aiida.orm import CalcJobNode, Dict

    options = {'prepend_text': STOP_ONCE.format(marker=tmp_path / 'stopped')}
    plan = {'timestep_fs': 2.0, 'seed': 3, 'frame_stride': 4, 'segments': segments(120)}
    _, node = run(inputs | {'options': Dict(options)}, plan)
    assert node.is_finished_ok, node.exit_message
    first, second = [child for child in node.called if isinstance(child, CalcJobNode)]
    assert first.exit_status == 401
    assert first.outputs.statistics['steps_done'] == 1
    assert second.inputs.parameters['nsw'] == 59
    assert series(node, 'step').tolist() == list(range(60))
    # Frames are equidistant across the stop.
    np.testing.assert_allclose(frames_of(node).energies, series(node, 'free_energy_eV')[::4], atol=1e-8)
    drift = {number['name']: number for number in node.outputs.results['numbers']}['energy_drift.part_0']
    assert abs(drift['value']) < 20.0
    assert drift['unit'] == 'meV/atom/ps'


@pytest.mark.engine
def test_runs_without_end_are_given_up(inputs):
    from aiida.orm import CalcJobNode, Dict, Int

    options = {'prepend_text': "echo 'LSTOP = .TRUE.' > STOPCAR"}
    plan = {'timestep_fs': 2.0, 'frame_stride': 50, 'segments': segments(60)}
    _, node = run(inputs | {'options': Dict(options), 'max_iterations': Int(2)}, plan)
    assert node.exit_status == 401
    assert 'part_0: not complete after 2 runs' in node.exit_message
    runs = [child for child in node.called if isinstance(child, CalcJobNode)]
    # The second run made step 1 only, which the stride leaves out.
    assert ['frames' in child.outputs for child in runs] == [True, False]


@pytest.mark.engine
def test_the_time_limit_follows_the_walltime(inputs):
    from aiida.orm import CalcJobNode, Dict

    options = Dict({'max_wallclock_seconds': 1000})
    _, node = run(inputs | {'options': options}, {'timestep_fs': 2.0, 'segments': segments(4)})
    (child,) = [child for child in node.called if isinstance(child, CalcJobNode)]
    assert child.get_option('environment_variables') == {'SOFTCLAY_TIME_LIMIT': '940'}


@pytest.mark.engine
def test_a_refused_incar_ends_with_what_the_program_said(inputs):
    from aiida.orm import Dict

    _, node = run(inputs | {'incar': Dict({'lhfcalc': True})}, {'timestep_fs': 2.0, 'segments': segments(6)})
    assert node.exit_status == 402
    assert 'LHFCALC' in node.exit_message


@pytest.mark.engine
def test_hold_temperature_is_reported_with_its_error(inputs):
    from aiida_softclay.analysis.quantity import check_results

    plan = {'timestep_fs': 2.0, 'segments': segments(600, ensemble='nvt')}
    _, node = run(inputs, plan)
    results = node.outputs.results.get_dict()
    check_results(results)
    (number,) = results['numbers']
    assert number['name'] == 'temperature.part_0'
    assert abs(number['value'] - 600.0) < 150.0
    assert number['error'] > 0
    context = results['context']
    assert (context['steps'], context['steps_planned'], context['frames'], context['frames_planned']) == (300,) * 4


def refuse(inputs, sentence, **changes):
    from aiida_softclay.workflows.aimd import AimdWorkChain

    plan = {'timestep_fs': 2.0, 'segments': segments(10)}
    with pytest.raises(ValueError, match=sentence):
        AimdWorkChain(inputs={**inputs, 'plan': plan, **changes})


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'potential_family': 'nothing'}, 'no POTCAR family `nothing`'),
        ({'incar': {'encut': 300, 'TEBEG': 300}}, 'the plan decides TEBEG'),
        ({'incar': {'enkut': 300}}, '`incar` holds enkut, which VASP does not know'),
        ({'plan': {'segments': [{'name': 'a', 'temperature_K': -5, 'duration_fs': 10}]}}, 'temperature_K is -5'),
        ({'plan': {'timestep_fs': -1, 'segments': segments(10)}}, 'timestep_fs is -1'),
        ({'plan': {'segments': [{'name': 'a', 'ensemble': 'nve', 'duration_fs': 10}]}}, 'give it temperature_K'),
        ({'potential_mapping': {'Cu': 'Cu_pv'}}, 'has no `Cu_pv` for Cu'),
        (
            {'plan': {'segments': [*segments(10), {**segments(10)[0], 'name': 'b', 'start_from': 'c'}]}},
            'segment b starts from `c`, which is no segment before it',
        ),
        ({'plan': {'volume_ratio_max': 0.5, 'segments': segments(10)}}, 'volume_ratio_max is 0.5'),
    ],
)
def test_bad_inputs_are_refused_at_submission(inputs, changes, sentence):
    refuse(inputs, sentence, **changes)


def test_a_missing_element_and_a_left_handed_cell_are_refused(inputs):
    from aiida.orm import StructureData

    refuse(inputs, 'has no potential for Ni', structure=StructureData(ase=bulk('Ni', cubic=True)))
    atoms = alloy()
    atoms.set_cell(atoms.cell[[1, 0, 2]])
    refuse(inputs, 'left-handed', structure=StructureData(ase=atoms))


def test_every_protocol_is_documented_and_builds(inputs, vasp_emt_code):
    from aiida_softclay.workflows.aimd import AimdWorkChain
    from aiida_softclay.workflows.protocol import ProtocolError, leaves

    structure, family = inputs['structure'], FAMILY
    described = set(AimdWorkChain.get_protocol_descriptions())
    for protocol in ('demo', 'balanced', 'paper'):
        assert set(leaves(AimdWorkChain.get_protocol_inputs(protocol))) == described
        builder = AimdWorkChain.get_builder_from_protocol(vasp_emt_code, structure, family, protocol=protocol)
        plan = AimdPlan.from_dict(builder.plan.get_dict())
        assert [segment.name for segment in plan.segments] == ['heat', 'hold', 'cool']
    assert plan.duration_ps == 50.0
    assert (plan.timestep_fs, plan.frame_stride, builder.incar['ivdw'], builder.incar['encut']) == (2.0, 1, 10, 500)
    builder = AimdWorkChain.get_builder_from_protocol(
        vasp_emt_code, structure, family, overrides={'schedule': {'maximum_temperature_K': 900}, 'incar': {'ivdw': 11}},
        options={'max_wallclock_seconds': 100}, label='mine',
    )  # fmt: skip
    assert builder.plan['segments'][1]['temperature_K'] == 900
    assert builder.incar['ivdw'] == 11
    assert builder.options['resources'] == {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
    assert builder.metadata.label == 'mine'
    with pytest.raises(ProtocolError, match=r'unknown override `schedule\.max_K`'):
        AimdWorkChain.get_builder_from_protocol(vasp_emt_code, structure, family, overrides={'schedule': {'max_K': 1}})


def test_broken_seams_are_named():
    from aiida_softclay.calcfunctions.aimd import check_seams

    def statistics(first_step, difference=0.0, temperature=600.0):
        return {
            'segment': 'hold', 'first_step': first_step, 'steps_done': 10, 'n_atoms': 8, 'end': {'energy_eV': -1.0},
            'start': {'position_difference_A': difference, 'cell_difference_A': 0.0, 'temperature_given_K': 600.0,
                      'temperature_K': temperature, 'energy_eV': -1.008},
        }  # fmt: skip

    good = check_seams([statistics(0), statistics(10)])
    assert good['continuous']
    assert good['seams'][1]['energy_jump_meV_per_atom'] == pytest.approx(-1.0)
    assert not check_seams([statistics(0), statistics(10, difference=0.01)])['continuous']
    assert not check_seams([statistics(0), statistics(10, temperature=300.0)])['continuous']
    assert not check_seams([statistics(0), statistics(12)])['continuous']
