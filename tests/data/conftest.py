"""Frames, vasprun.xml files and models as files."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
from frame_samples import graph, make_block, vasprun_text, write_frames


@pytest.fixture
def frames_path(tmp_path):
    """Three blocks (two orders of one formula), two sources, 25 frames."""
    return write_frames(
        tmp_path / 'frames.h5',
        [
            (make_block(n_frames=10, seed=1), 'melt'),
            (make_block(n_frames=7, seed=2), 'quench'),
            (make_block(('Cl', 'Li', 'Ga', 'F'), n_frames=5, seed=3), 'melt'),
            (make_block(('Li', 'Cl'), n_frames=3, seed=4), 'melt'),
        ],
    )


@pytest.fixture(scope='session')
def images():
    """Five thermally displaced, sheared and compressed Cu–Al cells with EMT energies, forces and stress."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator

    start = bulk('Cu', 'fcc', 3.5, cubic=True)
    start.symbols[[1, 2]] = 'Al'
    start.set_cell(start.cell[:] @ np.array([[1, 0, 0], [0.05, 1, 0], [-0.03, 0.02, 1.0]]), scale_atoms=True)
    rng = np.random.default_rng(7)
    result = []
    for _ in range(5):
        atoms = start[[0, 3, 1, 2]]
        atoms.positions += rng.normal(scale=0.05, size=(4, 3))
        atoms.calc = EMT()
        labels = {
            'energy': atoms.get_potential_energy(),
            'forces': atoms.get_forces(),
            'stress': atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **labels)
        result.append(atoms)
    return result


@pytest.fixture
def vasprun(tmp_path, images):
    """A complete vasprun.xml of the images."""
    path = tmp_path / 'vasprun.xml'
    path.write_text(vasprun_text(images))
    return path


@pytest.fixture
def model_path(tmp_path):
    """A file with the structure of a frozen model for Li and Cl with a cutoff of 6 Å."""
    path = tmp_path / 'model.pb'
    path.write_bytes(graph())
    return path


@pytest.fixture
def run_driver(tmp_path, vasp_program):
    """Return a function that runs the VASP-compatible driver with EMT on four rattled Cu atoms, given its INCAR.

    The outputs are in ``tmp_path``; returned are the atoms of the start.
    """
    from ase.build import bulk
    from ase.io import write

    def run(incar):
        atoms = bulk('Cu', 'fcc', 3.6, cubic=True)
        atoms.rattle(0.05, seed=1)
        write(tmp_path / 'POSCAR', atoms, format='vasp')
        (tmp_path / 'POTCAR').write_text(
            '  PAW_PBE Cu 01Jan2000\n   11.0\n parameters from PSCTR are:\n   VRHFIN =Cu: placeholder\n   LEXCH  = PE\n'
            '   TITEL  = PAW_PBE Cu 01Jan2000\n   POMASS =   63.546; ZVAL   =   11.000    mass and valenz\n'
            'End of Dataset\n'
        )
        (tmp_path / 'INCAR').write_text(incar)
        (tmp_path / 'KPOINTS').write_text('Gamma\n0\nGamma\n1 1 1\n')
        environment = {**os.environ, 'SOFTCLAY_CALCULATOR': 'ase.calculators.emt:EMT'}
        done = subprocess.run(
            [vasp_program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return atoms

    return run
