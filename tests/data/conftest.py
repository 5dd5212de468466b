"""Frames, vasprun.xml files and models as files."""

from __future__ import annotations

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
