"""Importing vasprun.xml, compared with dpdata and ASE reading the same file, and with the derivative of the energy."""

from __future__ import annotations

import gzip
import io
import tracemalloc

import numpy as np
import pytest
from frame_samples import vasprun_text

from aiida_softclay.data.frames_file import (
    FramesFile,
    InvalidFramesError,
    VasprunError,
    VasprunSummary,
    frames_from_vasprun,
    iter_vasprun,
)


def test_agrees_with_dpdata(vasprun):
    """dpdata reads the same energies, forces, positions, cells and virials from the same file."""
    import dpdata

    system = dpdata.LabeledSystem(str(vasprun), fmt='vasp/xml')
    block = frames_from_vasprun(vasprun)
    names = [system['atom_names'][kind] for kind in system['atom_types']]
    assert block.symbols == names == ['Cu', 'Cu', 'Al', 'Al']
    np.testing.assert_allclose(block.energies, system['energies'], atol=1e-8)
    # dpdata turns the cell so that it is lower triangular; distances, energies and traces do not depend on that.
    np.testing.assert_allclose(np.linalg.det(block.cells), np.linalg.det(system['cells']), rtol=1e-7)
    np.testing.assert_allclose(
        np.trace(block.virials, axis1=1, axis2=2), np.trace(system['virials'], axis1=1, axis2=2), rtol=1e-6
    )
    np.testing.assert_allclose(
        np.linalg.norm(block.forces, axis=2), np.linalg.norm(system['forces'], axis=2), atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.eigvalsh(block.virials), np.linalg.eigvalsh(system['virials']), atol=1e-5)


def test_agrees_with_ase(vasprun, images):
    """ASE's reader gives the images back, and its stress (tension positive) is −virial/volume."""
    from ase.io import read

    block = frames_from_vasprun(vasprun)
    for index, (atoms, image) in enumerate(zip(read(vasprun, ':', format='vasp-xml'), images, strict=True)):
        np.testing.assert_allclose(block.positions[index], image.positions, atol=1e-6)
        np.testing.assert_allclose(block.cells[index], atoms.cell[:], atol=1e-6)
        np.testing.assert_allclose(block.forces[index], atoms.get_forces(), atol=1e-6)
        stress = -block.virials[index] / atoms.get_volume()
        np.testing.assert_allclose(stress, atoms.get_stress(voigt=False), rtol=1e-5, atol=1e-8)


def test_virial_is_minus_the_strain_derivative_of_the_energy(vasprun, images):
    """DeePMD's virial is −dE/dε; EMT's energy is differentiated numerically along each strain component."""
    from ase.calculators.emt import EMT

    block = frames_from_vasprun(vasprun)
    for a, b in ((0, 0), (1, 1), (0, 1), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * 5e-5
            strain[b, a] += sign * 5e-5
            atoms = images[0].copy()
            atoms.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
            atoms.calc = EMT()
            energies.append(atoms.get_potential_energy())
        derivative = (energies[0] - energies[1]) / 2e-4
        assert block.virials[0][a, b] == pytest.approx(-derivative, abs=2e-3)
    assert np.trace(block.virials[0]) > 0, 'a compressed crystal has a positive virial'


@pytest.mark.parametrize(('kind', 'offset'), [('e_fr_energy', 0.0), ('e_0_energy', 0.01), ('e_wo_entrp', 0.02)])
def test_energy_kinds(vasprun, images, kind, offset):
    """The wrong outer energies of VASP are replaced by those of the last electronic step plus the correction."""
    block = frames_from_vasprun(vasprun, energy_kind=kind)
    expected = [atoms.get_potential_energy() + offset for atoms in images]
    np.testing.assert_allclose(block.energies, expected, atol=1e-7)
    assert block.provenance['energy_kind'] == kind


def test_unknown_energy_kind_and_stride(vasprun):
    with pytest.raises(ValueError, match=r"unknown energy kind 'energy'.*e_fr_energy"):
        frames_from_vasprun(vasprun, energy_kind='energy')
    with pytest.raises(ValueError, match='stride must be at least 1'):
        frames_from_vasprun(vasprun, stride=0)


def test_provenance(vasprun, images, tmp_path):
    engine = frames_from_vasprun(vasprun).provenance['engine']
    assert engine == {
        'program': 'vasp',
        'version': '6.4.2',
        'functional': 'PE',
        'encut_eV': 500.0,
        'potentials': {'Cu': 'PAW_PBE Cu 17Jan2003', 'Al': 'PAW_PBE Al 17Jan2003'},
    }
    path = tmp_path / 'other.xml'
    said = {'engine_program': 'stand-in', 'engine_version': '1.2', 'engine_model': 'CHGNet 0.3.0', 'dispersion': 'D3'}
    lines = ''.join(f'  <i name="{key}" type="string">{value} </i>\n' for key, value in said.items())
    path.write_text(vasprun_text(images, program='vasp-like', generator=lines))
    engine = frames_from_vasprun(path).provenance['engine']
    assert engine == {'program': 'stand-in', 'version': '1.2', 'model': 'CHGNet 0.3.0', 'dispersion': 'D3'}


def test_temperature_is_the_target_of_the_ramp(vasprun, images, tmp_path):
    np.testing.assert_allclose(frames_from_vasprun(vasprun).temperature, [300, 360, 420, 480, 540])
    np.testing.assert_allclose(frames_from_vasprun(vasprun, stride=2, start=1).temperature, [360, 480])
    path = tmp_path / 'relax.xml'
    path.write_text(vasprun_text(images, tags='   <i type="int" name="IBRION">2</i>\n'))
    np.testing.assert_allclose(frames_from_vasprun(path).temperature, 0)


def test_stride_and_file_objects(vasprun, images):
    energies = [atoms.get_potential_energy() for atoms in images]
    block = frames_from_vasprun(io.BytesIO(vasprun.read_bytes()), stride=2, start=1)
    np.testing.assert_allclose(block.energies, energies[1::2], atol=1e-7)
    assert block.provenance['n_steps'] == 5
    packed = vasprun.with_name('vasprun.xml.gz')
    packed.write_bytes(gzip.compress(vasprun.read_bytes()))
    np.testing.assert_allclose(frames_from_vasprun(packed).energies, energies, atol=1e-7)


def test_every_truncation_keeps_the_whole_steps(vasprun, images, tmp_path):
    """Cut anywhere, the file yields exactly the steps that are complete, or says that there is none."""
    text = vasprun.read_text()
    path = tmp_path / 'cut.xml'
    for length in range(0, len(text) - 12, 997):
        path.write_text(text[:length])
        whole = text[:length].count('</calculation>')
        if whole == 0:
            with pytest.raises(VasprunError):
                frames_from_vasprun(path)
            continue
        block = frames_from_vasprun(path)
        assert (block.n_frames, block.provenance['truncated']) == (whole, True)
        np.testing.assert_allclose(block.energies, [a.get_potential_energy() for a in images[:whole]], atol=1e-7)
    assert frames_from_vasprun(vasprun).provenance['truncated'] is False


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('', 'empty or not XML'),
        ('no xml at all', 'not XML'),
        ('<html></html>', 'outermost element is <html>'),
        ('<modeling></modeling>', 'no complete ionic step'),
        ('<modeling><calculation></calculation></modeling>', 'no atominfo'),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / 'vasprun.xml'
    path.write_text(content)
    with pytest.raises(VasprunError, match=message):
        frames_from_vasprun(path)


def test_unconverged_steps_are_left_out(images, tmp_path):
    path = tmp_path / 'vasprun.xml'
    text = vasprun_text(images[:2])
    path.write_text(text.replace('<i type="int" name="NELM">60</i>', '<i type="int" name="NELM">3</i>'))
    with pytest.raises(VasprunError, match='2 not electronically converged'):
        frames_from_vasprun(path)
    assert frames_from_vasprun(path, keep_unconverged=True).n_frames == 2


def test_numbers_that_fortran_could_not_print(vasprun, images, tmp_path):
    """Stars become not-a-number: the frames file names the frame, an import leaves it out and counts it."""
    text = vasprun.read_text()
    start = text.index('<varray name="forces"', text.index('</calculation>'))
    text = text[:start] + text[start:].replace('<v>', '<v> **************', 1)
    path = tmp_path / 'stars.xml'
    path.write_text(text)
    block = frames_from_vasprun(path)
    assert np.isnan(block.forces[1, 0]).all()
    with FramesFile(tmp_path / 'a.h5', 'w') as frames, pytest.raises(InvalidFramesError, match=r'forces.*index 1'):
        frames.append(block, {'label': 'x'})
    kept = frames_from_vasprun(path, drop_broken=True)
    assert (kept.n_frames, kept.provenance['n_broken']) == (4, 1)
    np.testing.assert_array_equal(kept.energies, np.delete(block.energies, 1))


def test_without_stress(images, tmp_path):
    path = tmp_path / 'vasprun.xml'
    path.write_text(vasprun_text(images, stress=False))
    assert frames_from_vasprun(path).virials is None


def test_memory_does_not_grow_with_the_file(images, tmp_path):
    """A file of 2000 steps and one of 200 need the same memory."""
    text = vasprun_text(images)
    first = text.index(' <calculation>')
    body = text[first : text.index('</modeling>')]
    peaks = []
    for repeat in (40, 400):
        path = tmp_path / 'long.xml'
        path.write_text(text[:first] + body * repeat + '</modeling>\n')
        tracemalloc.start()
        summary = VasprunSummary('e_fr_energy')
        n_frames = sum(block.n_frames for block in iter_vasprun(path, summary, frames_per_block=50))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert n_frames == summary.n_steps == 5 * repeat
    assert peaks[1] < 1.5 * peaks[0] + 2e5


@pytest.mark.engine
def test_frames_of_the_driver(tmp_path, run_driver):
    """The driver's own file gives frames that carry its model, and dpdata reads the same numbers from it."""
    import dpdata

    atoms = run_driver(
        'IBRION = 0\nNSW = 4\nPOTIM = 2.0\nMDALGO = 2\nSMASS = 1.0\nTEBEG = 300\nTEEND = 500\nISIF = 2\nISYM = 0\n'
    )
    block = frames_from_vasprun(tmp_path / 'vasprun.xml')
    assert (block.n_frames, block.provenance['truncated']) == (4, False)
    engine = block.provenance['engine']
    assert 'EMT' in engine['model']
    assert not engine['program'].lower().startswith('vasp')
    np.testing.assert_allclose(block.temperature, [300, 350, 400, 450])
    system = dpdata.LabeledSystem(str(tmp_path / 'vasprun.xml'), fmt='vasp/xml')
    np.testing.assert_allclose(block.energies, system['energies'], atol=1e-8)
    np.testing.assert_allclose(np.linalg.eigvalsh(block.virials), np.linalg.eigvalsh(system['virials']), atol=1e-5)
    np.testing.assert_allclose(block.positions[0] % 3.6, atoms.positions % 3.6, atol=1e-5)


@pytest.mark.engine
def test_external_pressure_does_not_make_the_energy_an_enthalpy(tmp_path, run_driver):
    """The same atoms have the same energy in a Langevin NPT run at 5 GPa and in ASE, although VASP writes E + PV."""
    from ase.calculators.emt import EMT

    atoms = run_driver(
        'IBRION = 0\nNSW = 3\nPOTIM = 1.0\nMDALGO = 3\nTEBEG = 300\nISIF = 3\nISYM = 0\nPSTRESS = 50\n'
        'LANGEVIN_GAMMA = 10\nLANGEVIN_GAMMA_L = 10\nPMASS = 1000\n'
    )
    block = frames_from_vasprun(tmp_path / 'vasprun.xml')
    for index in range(block.n_frames):
        image = atoms.copy()
        image.set_cell(block.cells[index])
        image.set_positions(block.positions[index])
        image.calc = EMT()
        # Positions are stored in single precision; PV would be 1.5 eV.
        assert block.energies[index] == pytest.approx(image.get_potential_energy(), abs=1e-3)
