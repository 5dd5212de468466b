"""D²min and local gradients of a sheared liquid against `fix nonaffine/displacement` of LAMMPS.

LAMMPS takes the neighbours of the later frame and gives the root mean square over them, we take those of the
reference and give the sum. Both are the same numbers for the atoms whose neighbours are the same in both frames.
"""

import subprocess

import numpy as np
import pytest
from ase.io import read
from ase.neighborlist import neighbor_list

from aiida_softclay.analysis.nonaffine import non_affine_displacement

CUTOFF = 6.0
SCRIPT = f"""
units metal
boundary p p p
lattice fcc 5.6
region all prism 0 6 0 6 0 6 1.1 -0.7 0.9
create_box 1 all
create_atoms 1 box
mass 1 39.95
pair_style lj/cut 8.0
pair_coeff 1 1 0.0104 3.4
comm_modify cutoff 11.0
velocity all create 900 7 mom yes
timestep 0.004
fix melt all nvt temp 400 400 0.1
run 300
unfix melt
reset_timestep 0
fix d2 all nonaffine/displacement 1 d2min custom {CUTOFF} fixed 0
run 0
write_dump all custom before.dump id type x y z modify sort id format float %.12g
run 1
# Nothing integrates: the atoms move by what the cell and the random numbers say. A face is crossed by many.
change_box all xy delta 0.5 yz delta -0.4 xz delta 0.2 x scale 1.006 y scale 0.995 remap units box
displace_atoms all random 0.04 0.04 0.04 11 units box
displace_atoms all move 9.0 -3.0 5.0 units box
run 1
write_dump all custom after.dump id type x y z f_d2[1] f_d2[2] f_d2[3] modify sort id format float %.12g
"""


@pytest.mark.engine
def test_non_affine_displacements_are_those_of_lammps(tmp_path, lmp_program):
    (tmp_path / 'shear.in').write_text(SCRIPT)
    done = subprocess.run(
        [lmp_program, '-in', 'shear.in', '-log', 'none', '-screen', 'none'], cwd=tmp_path, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = (read(tmp_path / f'{name}.dump', format='lammps-dump-text') for name in ('before', 'after'))
    # The dump of the later frame has the numbers of the fix in its last three columns.
    root_mean_square, volumetric, deviatoric = np.loadtxt(tmp_path / 'after.dump', skiprows=9)[:, 5:].T
    found = non_affine_displacement(before.positions, before.cell[:], after.positions, after.cell[:], CUTOFF)

    pairs = [set(zip(*neighbor_list('ij', atoms, CUTOFF), strict=True)) for atoms in (before, after)]
    changed = {atom for atom, _ in pairs[0] ^ pairs[1]}
    same = np.array([atom for atom in range(len(before)) if atom not in changed])
    assert same.size > 100
    assert found.d2min[same] == pytest.approx((found.n_neighbours * root_mean_square**2)[same], rel=1e-6)
    # Other neighbours, other numbers: the comparison above is not one of zeros or constants.
    others = np.array(sorted(changed))
    assert np.abs(found.d2min / (found.n_neighbours * root_mean_square**2) - 1)[others].max() > 1e-3
    assert found.d2min[same].std() > 0.1 * found.d2min[same].mean()

    # LAMMPS leaves out the half of E = (FᵀF − 1) / 2.
    assert 2 * found.volumetric_strain[same] == pytest.approx(volumetric[same], abs=1e-7)
    assert 2 * found.shear_strain[same] == pytest.approx(deviatoric[same], abs=1e-7)
    # The cell alone shears by 1.5 %: the atoms are deformed with it.
    assert deviatoric.mean() > 0.01
