"""Displacements of a real LAMMPS run: from its frames, and from the columns that it writes while it runs."""

import subprocess

import numpy as np
import pytest

from aiida_softclay.analysis.collective import LABORATORY, collective_displacement, collective_from_centres
from aiida_softclay.analysis.displacement import mean_squared_displacement
from aiida_softclay.analysis.displacement_classes import total_displacements
from aiida_softclay.analysis.onsager import ionic_conductivity
from aiida_softclay.analysis.trajectory import ArrayTrajectory

pytestmark = pytest.mark.engine
EDGE, N_ATOMS, EVERY = 17.0, 216, 10
SCRIPT = f"""
units metal
region box block 0 {EDGE} 0 {EDGE} 0 {EDGE}
create_box 2 box
create_atoms 1 random {N_ATOMS // 2} 11 box overlap 1.8
create_atoms 2 random {N_ATOMS // 2} 12 box overlap 1.8 maxtry 500
mass 1 6.94
mass 2 35.45
pair_style lj/cut 6.0
pair_coeff * * 0.01 2.3
minimize 1e-4 1e-2 50 200
velocity all create 900 3 mom yes
timestep 0.002
fix motion all nve
run 200
reset_timestep 0
group lithium type 1
group chlorine type 2
compute li lithium com
compute cl chlorine com
compute moved lithium msd com no
fix columns all ave/time {EVERY} 1 {EVERY} c_li[*] c_cl[*] c_moved[4] file columns.txt format " %.10g"
dump frames all custom {EVERY} frames.txt id type xu yu zu
dump_modify frames sort id format float %.7f
run 1500
"""


@pytest.fixture(scope='module')
def melt(lmp_program, tmp_path_factory):
    folder = tmp_path_factory.mktemp('melt')
    (folder / 'in.lmp').write_text(SCRIPT)
    subprocess.run([lmp_program, '-in', 'in.lmp', '-log', 'none'], cwd=folder, check=True, capture_output=True)
    lines = (folder / 'frames.txt').read_text().splitlines()
    size = N_ATOMS + 9
    frames = np.array([np.loadtxt(lines[first + 9 : first + size]) for first in range(0, len(lines), size)])
    numbers = np.where(frames[0, :, 1] == 1, 3, 17)
    steps = np.array([int(lines[first + 1]) for first in range(0, len(lines), size)])
    trajectory = ArrayTrajectory(frames[:, :, 2:], np.eye(3) * EDGE, numbers, steps, 0.002)
    return trajectory, np.loadtxt(folder / 'columns.txt')


def test_columns_and_frames_give_one_conductivity(melt):
    trajectory, columns = melt
    centres = {'Li': columns[:, 1:4], 'Cl': columns[:, 4:7]}
    counts = {'Li': N_ATOMS // 2, 'Cl': N_ATOMS // 2}
    own = mean_squared_displacement(trajectory)
    conditions = {'volume': EDGE**3, 'temperature': 900.0}
    found = [
        ionic_conductivity(collective, own, {'Li': 1, 'Cl': -1}, **conditions)
        for collective in (
            collective_from_centres(columns[:, 0] * 0.002, centres, counts), collective_displacement(trajectory),
        )
    ]  # fmt: skip
    assert found[0].total.value == pytest.approx(found[1].total.value, rel=1e-3)
    assert found[0].between['Li', 'Cl'].value == pytest.approx(found[1].between['Li', 'Cl'].value, rel=1e-3)
    assert found[0].total.value > 0
    # Momentum is conserved: the heavier ions move less by the ratio of the masses.
    sums = collective_displacement(trajectory, reference=LABORATORY).sums
    moved = sums[-1] - sums[0]
    assert 6.94 * moved[0] == pytest.approx(-35.45 * moved[1], abs=0.5)


def test_displacements_are_those_that_lammps_finds(melt):
    """Its ``compute msd`` counts from the first step on, through all images."""
    trajectory, columns = melt
    lithium = np.asarray(trajectory.atomic_numbers) == 3
    for row in (10, 50, 150):
        found = (total_displacements(trajectory, 0, row)[lithium] ** 2).mean()
        assert found == pytest.approx(columns[row, 7], rel=1e-3)
