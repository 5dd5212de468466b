"""D²min of a liquid that LAMMPS shears in a cell which it flips."""

import subprocess

import numpy as np
import pytest
from ase.io import read

from aiida_softclay.analysis.nonaffine_series import non_affine_series, pairs_by_strain, strain_of
from aiida_softclay.analysis.trajectory import ArrayTrajectory

RATE = 1.0
SCRIPT = f"""
units metal
boundary p p p
lattice fcc 5.6
region all prism 0 4 0 4 0 4 0 0 0
create_box 1 all
create_atoms 1 box
mass 1 39.95
pair_style lj/cut 7.0
pair_coeff 1 1 0.0104 3.4
velocity all create 300 1 mom yes
timestep 0.004
fix 1 all nvt temp 150 150 0.1
run 150
reset_timestep 0
fix 2 all deform 1 yz erate {RATE} remap v flip yes
dump 1 all custom 10 sheared.dump id type x y z
dump_modify 1 sort id format float %.10g
run 300
"""


@pytest.mark.engine
def test_flips_of_lammps_do_not_matter(tmp_path, lmp_program):
    (tmp_path / 'shear.in').write_text(SCRIPT)
    done = subprocess.run(
        [lmp_program, '-in', 'shear.in', '-log', 'none', '-screen', 'none'], cwd=tmp_path, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    frames = read(tmp_path / 'sheared.dump', index=':', format='lammps-dump-text')
    positions, cells = np.array([f.positions for f in frames]), np.array([f.cell[:] for f in frames])
    run = ArrayTrajectory(positions, cells, np.full(256, 18))
    times = 0.04 * np.arange(31)
    tilts = cells[:, 2, 1] / cells[:, 2, 2]
    flipped = np.flatnonzero(np.abs(np.diff(tilts)) > 0.5)
    assert len(flipped) == 1
    strain = strain_of(run, 'yz')
    assert strain == pytest.approx(RATE * times, abs=1e-6)

    pairs = pairs_by_strain(strain, 0.04)
    series = non_affine_series(run, pairs, cutoff=6.0, strain=strain)
    # The cells that the rate gives, without any flip.
    straight = np.repeat(cells[:1], 31, axis=0)
    straight[:, 2, 1] = RATE * times * straight[:, 2, 2]
    expected = non_affine_series(ArrayTrajectory(positions, straight, run.atomic_numbers), pairs, cutoff=6.0)
    assert series.d2min == pytest.approx(expected.d2min, rel=1e-4, abs=1e-4)
    across = series.mean[flipped[0]]
    assert across == pytest.approx(series.mean.mean(), rel=0.5)
