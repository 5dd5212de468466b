"""Outputs of VASP itself, which ASE is installed with, read as ASE, pymatgen and dpdata read them."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import pytest
from ase.io import read

from aiida_softclay.data.frames_file import frames_from_vasprun
from aiida_softclay.data.outcar import frames_from_outcar

FOLDER = Path(ase.__file__).parent / 'test' / 'testdata' / 'vasp'
VASPRUNS = ('vasprun_dfpt.xml', 'vasprun_pstress.xml')
OUTCARS = ('OUTCAR_example_1',)
READERS = {'.xml': (frames_from_vasprun, 'vasp-xml', 'vasp/xml'), '': (frames_from_outcar, 'vasp-out', 'vasp/outcar')}


def block_of(name):
    return READERS[Path(name).suffix][0](FOLDER / name)


@pytest.mark.parametrize('name', [*VASPRUNS, *OUTCARS])
def test_agrees_with_ase(name):
    block = block_of(name)
    images = read(FOLDER / name, ':', format=READERS[Path(name).suffix][1])
    assert block.n_frames == len(images)
    for index, atoms in enumerate(images):
        assert block.symbols == atoms.get_chemical_symbols()
        np.testing.assert_allclose(block.positions[index], atoms.positions, atol=1e-5)
        np.testing.assert_allclose(block.cells[index], atoms.cell[:], atol=1e-8)
        np.testing.assert_allclose(block.forces[index], atoms.get_forces(apply_constraint=False), atol=1e-8)
        assert block.energies[index] == pytest.approx(atoms.calc.results['free_energy'], abs=1e-8)
        virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
        np.testing.assert_allclose(block.virials[index], virial, atol=1e-6)


@pytest.mark.parametrize('name', [*VASPRUNS, *OUTCARS])
def test_agrees_with_dpdata(name):
    import dpdata

    block = block_of(name)
    system = dpdata.LabeledSystem(str(FOLDER / name), fmt=READERS[Path(name).suffix][2])
    assert block.symbols == [system['atom_names'][kind] for kind in system['atom_types']]
    # dpdata turns the cell so that it is lower triangular; what does not depend on that is compared.
    np.testing.assert_allclose(
        np.linalg.norm(block.forces, axis=2), np.linalg.norm(system['forces'], axis=2), atol=1e-8
    )
    np.testing.assert_allclose(np.linalg.eigvalsh(block.virials), np.linalg.eigvalsh(system['virials']), atol=1e-6)
    volume = np.abs(np.linalg.det(block.cells))
    # With an external pressure, 1 kB in this file, dpdata keeps VASP's enthalpy.
    work = volume / 1602.1766 if name == 'vasprun_pstress.xml' else 0.0
    np.testing.assert_allclose(block.energies + work, system['energies'], atol=1e-7)


@pytest.mark.parametrize('name', VASPRUNS)
def test_agrees_with_pymatgen(name):
    from pymatgen.io.vasp import Vasprun

    block = block_of(name)
    run = Vasprun(FOLDER / name, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    assert block.n_frames == len(run.ionic_steps)
    for index, step in enumerate(run.ionic_steps):
        np.testing.assert_allclose(block.forces[index], step['forces'], atol=1e-8)
        np.testing.assert_allclose(block.cells[index], step['structure'].lattice.matrix, atol=1e-8)
        volume = step['structure'].volume
        np.testing.assert_allclose(block.virials[index], np.array(step['stress']) * volume / 1602.1766, atol=1e-5)
        work = volume / 1602.1766 if name == 'vasprun_pstress.xml' else 0.0
        assert block.energies[index] + work == pytest.approx(float(step['e_fr_energy']), abs=1e-6)


@pytest.mark.parametrize('name', [*VASPRUNS, *OUTCARS])
def test_the_engine_is_vasp(name):
    engine = block_of(name).provenance['engine']
    assert engine['program'].lower() == 'vasp'
    assert engine['version']
