"""What AIMD does when a run is killed, stopped, cut, not converged, flies apart or must be relaxed first."""

from __future__ import annotations

import numpy as np
import pytest
from aimd_samples import INCAR, alloy, emt_inputs, frames_of, jobs, run, segments, series, wrapped


@pytest.fixture
def inputs(aiida_profile, vasp_emt_code):
    """Everything but the plan."""
    return emt_inputs(vasp_emt_code)


#: The driver, troubled on its first and second start: killed without warning once its OSZICAR has so many lines, then
#: stopped by a STOPCAR.
TROUBLED = """#!/bin/bash
{vasp} &
pid=$!
if [ ! -e {folder}/killed ]; then
    touch {folder}/killed
    for i in $(seq 1200); do sleep 0.02; [ $(grep -c T= OSZICAR 2>/dev/null || echo 0) -ge {steps} ] && break; done
    # The first state that is on disk after that, then no warning.
    for i in $(seq 600); do sleep 0.02; grep -qs steps= CONTCAR && break; done
    kill -9 $pid
elif [ ! -e {folder}/stopped ]; then
    touch {folder}/stopped
    for i in $(seq 1200); do sleep 0.02; [ $(grep -c T= OSZICAR 2>/dev/null || echo 0) -ge 50 ] && break; done
    echo 'LSTOP = .TRUE.' > STOPCAR
fi
wait $pid 2>/dev/null
exit 0
"""


@pytest.mark.engine
def test_a_killed_and_a_stopped_run_lose_only_what_was_not_written(inputs, localhost, vasp_program, tmp_path):
    """The first run is killed (kill -9) at a random step, the second finds a STOPCAR; the whole is one trajectory."""
    steps = int(np.random.default_rng().integers(5, 400))
    script = TROUBLED.format(vasp=vasp_program, folder=tmp_path, steps=steps)
    code = wrapped(localhost, 'troubled', tmp_path, script)
    plan = {'timestep_fs': 2.0, 'seed': 3, 'frame_stride': 5, 'segments': segments(4000)}
    _, node = run(inputs | {'code': code}, plan)
    assert node.is_finished_ok, (steps, node.exit_message)
    first, second, third = jobs(node)
    assert (first.exit_status, second.exit_status, third.exit_status) == (400, 401, 0), steps
    done = [job.outputs.statistics['steps_done'] for job in (first, second, third)]
    assert 0 < done[0] < 2000
    assert done[1] >= 50
    assert second.inputs.parameters['nsw'] == 2000 - done[0]
    assert third.inputs.parameters['nsw'] == 2000 - done[0] - done[1]
    assert sum(done) == 2000
    assert series(node, 'step').tolist() == list(range(2000))
    np.testing.assert_allclose(frames_of(node).energies, series(node, 'free_energy_eV')[::5], atol=1e-8)
    assert node.outputs.seams['continuous']
    total = series(node, 'free_energy_eV') + series(node, 'kinetic_energy_eV')
    for seam in np.cumsum(done)[:2]:
        assert abs(total[seam] - total[seam - 1]) / 8 < 5e-3

    # For as long as rounding has not grown, it is the trajectory that nobody disturbed.
    _, whole = run(inputs, plan | {'segments': segments(1000)})
    np.testing.assert_allclose(series(node, 'free_energy_eV')[:500], series(whole, 'free_energy_eV'), atol=1e-6)


@pytest.mark.engine
def test_a_lost_contcar_costs_two_steps(inputs, localhost, vasp_program, tmp_path):
    """The state is found again from the frames; at constant energy the trajectory is the undisturbed one."""
    marker = tmp_path / 'lost'
    script = f'#!/bin/bash\n{vasp_program} || exit $?\n[ -e {marker} ] || : > CONTCAR\ntouch {marker}\n'
    code = wrapped(localhost, 'lost', tmp_path, script)
    plan = {'timestep_fs': 2.0, 'seed': 3, 'segments': segments(60)}
    _, node = run(inputs | {'code': code}, plan)
    assert node.is_finished_ok, node.exit_message
    first, second = jobs(node)
    assert (first.exit_status, second.inputs.parameters['nsw']) == (403, 2)
    _, whole = run(inputs, plan)
    assert series(node, 'step').tolist() == list(range(30))
    np.testing.assert_allclose(series(node, 'free_energy_eV'), series(whole, 'free_energy_eV'), atol=1e-6)
    velocities = [end.outputs.velocities.get_array('velocities') for end in (node, whole)]
    np.testing.assert_allclose(*velocities, atol=1e-6)
    assert node.outputs.seams['continuous']


#: The driver, whose electronic minimiser is said to need all its steps unless ALGO is the one that helps.
UNCONVERGED = """#!/bin/bash
{vasp} || exit $?
grep -qi 'ALGO *= *{helps}' INCAR || sed -i 's/^ *[0-9]* T=/DAV: 999\\n&/' OSZICAR
"""


@pytest.mark.engine
@pytest.mark.parametrize(('helps', 'status'), [('All', 0), ('Exact', 502)])
def test_electronic_trouble_is_answered_once(inputs, localhost, vasp_program, tmp_path, helps, status):
    from aiida.orm import Dict

    code = wrapped(localhost, f'unconverged-{helps}', tmp_path, UNCONVERGED.format(vasp=vasp_program, helps=helps))
    incar = Dict({**INCAR, 'algo': 'Normal', 'nelm': 40})
    plan = {'timestep_fs': 2.0, 'max_steps_per_run': 5, 'segments': segments(20)}
    _, node = run(inputs | {'code': code, 'incar': incar}, plan)
    assert node.exit_status == status, node.exit_message
    runs = jobs(node)
    settings = [(job.inputs.parameters['algo'], job.inputs.parameters['nelm']) for job in runs]
    if status:
        assert 'did not help' in node.exit_message
        assert settings == [('Normal', 40), ('All', 80)]
        assert 'series' not in node.outputs
    else:
        # The piece is repeated, and the rest of the segment keeps what helped.
        assert settings == [('Normal', 40), ('All', 80), ('All', 80)]
        assert runs[0].exit_status == 502
        assert series(node, 'step').tolist() == list(range(10))
        assert node.outputs.results['context']['steps_not_converged'] == 0


@pytest.mark.engine
def test_a_cell_that_flies_apart_is_named(inputs):
    """Torn by 40 GPa the crystal grows; the frames of the segment before are kept."""
    pull = segments(200, ensemble='npt', pressure_GPa=-40.0, lattice_mass_amu=50.0)
    pull[0]['name'] = 'pull'
    plan = {'timestep_fs': 2.0, 'volume_ratio_max': 1.05, 'segments': [*segments(8), *pull]}
    _, node = run(inputs, plan)
    assert node.exit_status == 504
    assert 'segment pull' in node.exit_message
    assert 'bound is 1.05' in node.exit_message
    assert frames_of(node).n_frames == 4
    assert len(jobs(node)) == 2


@pytest.mark.engine
def test_a_relaxation_between_segments(inputs, monkeypatch):
    """The cell is relaxed between melt and quench, in several runs: no stress is left, velocities are drawn anew."""
    from aiida_softclay.workflows.aimd import AimdWorkChain

    monkeypatch.setitem(AimdWorkChain.defaults, 'relaxation_steps', 12)
    melt, quench = segments(8, 12)
    plan = {'timestep_fs': 2.0, 'segments': [melt, quench | {'relax_before': 'cell', 'temperature_K': 300.0}]}
    _, node = run(inputs | {'max_iterations': 10}, plan)
    assert node.is_finished_ok, node.exit_message
    first, *relaxations, _ = jobs(node)
    assert len(relaxations) > 1
    assert [job.exit_status for job in relaxations[-2:]] == [702, 0]
    relaxation = relaxations[0]
    assert (relaxation.inputs.parameters['ibrion'], relaxation.inputs.parameters['isif']) == (2, 3)
    assert len(first.outputs.structure.sites) == len(relaxation.inputs.structure.sites) == 8
    block = frames_of(node)
    # The first frame after it lies in the minimum: sites in their own order, no forces, no pressure.
    assert block.symbols == alloy().get_chemical_symbols()
    assert np.abs(block.forces[4]).max() < 0.02
    assert np.abs(block.virials[4]).max() < 0.1 < np.abs(block.virials[0]).max()
    assert block.energies[4] < block.energies[:4].min()
    assert np.abs(block.cells[4] - block.cells[3]).max() > 0.01
    assert series(node, 'temperature_K')[4] == pytest.approx(300.0, abs=0.5)
    seams = node.outputs.seams.get_dict()
    assert seams['continuous']
    assert seams['seams'][1]['begins_anew']
    assert seams['seams'][1]['energy_jump_meV_per_atom'] is None


@pytest.mark.engine
def test_a_relaxation_without_end_is_named(inputs, monkeypatch):
    from aiida_softclay.workflows.aimd import AimdWorkChain

    monkeypatch.setitem(AimdWorkChain.defaults, 'relaxation_steps', 2)
    (segment,) = segments(8)
    _, node = run(inputs | {'max_iterations': 1}, {'segments': [segment | {'relax_before': 'ions'}]})
    assert node.exit_status == 403
    assert 'relaxation before segment part_0, run 1' in node.exit_message
