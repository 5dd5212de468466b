"""Importing OUTCAR, compared with dpdata and ASE reading the same file, and with vasprun.xml of the same run."""

from __future__ import annotations

import gzip
import re
import tracemalloc

import numpy as np
import pytest
from frame_samples import vasprun_text
from outcar_samples import outcar_text

from aiida_softclay.data.frames_file import (
    FramesFile,
    VaspOutputError,
    VaspSummary,
    frames_from_outcar,
    frames_from_vasprun,
    iter_outcar,
)
from aiida_softclay.data.frames_import import append_output, find_outputs, output_of_folder


@pytest.fixture
def outcar(tmp_path, images):
    """A complete OUTCAR of the images."""
    path = tmp_path / 'OUTCAR'
    path.write_text(outcar_text(images))
    return path


def write(tmp_path, images, **options):
    path = tmp_path / 'OUTCAR'
    path.write_text(outcar_text(images, **options))
    return path


def test_agrees_with_dpdata(outcar):
    """dpdata reads the same atoms, energies, forces and virials from the same file."""
    import dpdata

    system = dpdata.LabeledSystem(str(outcar), fmt='vasp/outcar')
    block = frames_from_outcar(outcar)
    names = [system['atom_names'][kind] for kind in system['atom_types']]
    assert block.symbols == names == ['Cu', 'Cu', 'Al', 'Al']
    np.testing.assert_allclose(block.energies, system['energies'], atol=1e-8)
    np.testing.assert_allclose(np.linalg.det(block.cells), np.linalg.det(system['cells']), rtol=1e-7)
    np.testing.assert_allclose(
        np.linalg.norm(block.forces, axis=2), np.linalg.norm(system['forces'], axis=2), atol=1e-6
    )
    # dpdata turns the cell so that it is lower triangular: eigenvalues do not depend on that.
    np.testing.assert_allclose(np.linalg.eigvalsh(block.virials), np.linalg.eigvalsh(system['virials']), atol=1e-5)


def test_agrees_with_ase(outcar, images):
    from ase.io import read

    block = frames_from_outcar(outcar)
    for index, atoms in enumerate(read(outcar, ':', format='vasp-out')):
        np.testing.assert_allclose(block.positions[index], atoms.positions, atol=1e-9)
        np.testing.assert_allclose(block.cells[index], atoms.cell[:], atol=1e-9)
        np.testing.assert_allclose(block.forces[index], atoms.get_forces(), atol=1e-9)
        stress = -block.virials[index] / atoms.get_volume()
        np.testing.assert_allclose(stress, atoms.get_stress(voigt=False), rtol=1e-6, atol=1e-9)
        assert block.energies[index] == pytest.approx(atoms.get_potential_energy(force_consistent=True), abs=1e-8)
    assert block.n_frames == len(images)


@pytest.mark.parametrize('kind', ['e_fr_energy', 'e_0_energy', 'e_wo_entrp'])
@pytest.mark.parametrize('pstress', [0.0, 50.0])
def test_agrees_with_vasprun(tmp_path, images, kind, pstress):
    """Both outputs of one run give the same labels to their printed digits and the same engine, with PSTRESS too."""
    xml = tmp_path / 'vasprun.xml'
    text = vasprun_text(images, tags=f'   <i name="PSTRESS">{pstress}</i>\n')
    if pstress:
        for atoms in images:
            energy = atoms.get_potential_energy()
            enthalpy = energy + pstress * atoms.get_volume() / 1602.176634
            text = text.replace(
                f'<i name="e_fr_energy"> {energy:16.8f} </i>', f'<i name="e_fr_energy"> {enthalpy:.9f} </i>'
            )
            # The last electronic step has E, the outer energies E + PV.
    xml.write_text(text)
    expected = frames_from_vasprun(xml, energy_kind=kind)
    block = frames_from_outcar(write(tmp_path, images, pstress=pstress), energy_kind=kind)
    for name, tolerance in (('positions', 6e-6), ('cells', 1e-7), ('forces', 1e-6), ('energies', 1e-7)):
        np.testing.assert_allclose(getattr(block, name), getattr(expected, name), atol=tolerance)
    np.testing.assert_allclose(block.virials, expected.virials, atol=1e-6)
    np.testing.assert_allclose(block.temperature, expected.temperature)
    assert block.provenance == expected.provenance


def test_engine_of_old_and_new_versions(tmp_path, images):
    engine = frames_from_outcar(write(tmp_path, images, version='6.4.2', tags=['IVDW = 11'])).provenance['engine']
    assert engine['ivdw'] == '11'
    old = frames_from_outcar(write(tmp_path, images, version='5.4.4.18Apr17-6-g9f103f2a35', dispersion=True))
    assert old.provenance['engine'] == {
        'program': 'vasp',
        'version': '5.4.4.18Apr17-6-g9f103f2a35',
        'functional': 'PE',
        'encut_eV': 500.0,
        'potentials': {'Cu': 'PAW_PBE Cu 17Jan2003', 'Al': 'PAW_PBE Al 17Jan2003'},
        'ivdw': 'of a kind that OUTCAR does not state',
    }
    titles = ['PAW_PBE Cu_pv 06Sep2000', 'PAW_PBE Al 04Jan2001']
    assert frames_from_outcar(write(tmp_path, images, titles=titles)).symbols == ['Cu', 'Cu', 'Al', 'Al']


def test_machine_learned_steps_are_not_read(tmp_path, images, outcar):
    expected = frames_from_outcar(outcar)
    block = frames_from_outcar(write(tmp_path, images, learned=True))
    for name in ('positions', 'forces', 'energies', 'virials'):
        np.testing.assert_array_equal(getattr(block, name), getattr(expected, name))


def test_without_stress(tmp_path, images):
    """ISIF = 0 prints no stress: frames without virials."""
    assert frames_from_outcar(write(tmp_path, images, stress=False)).virials is None


def test_unconverged_steps_are_left_out(tmp_path, images):
    path = write(tmp_path, images[:2], electronic=60)
    with pytest.raises(VaspOutputError, match='2 not electronically converged'):
        frames_from_outcar(path)
    assert frames_from_outcar(path, keep_unconverged=True).n_frames == 2


def test_numbers_that_fortran_could_not_print(tmp_path, images, outcar):
    """Stars in one force, in one stress, and run together with their neighbour: two steps dropped and counted."""
    text = outcar.read_text()
    starts = [match.end() for match in re.finditer(r'TOTAL-FORCE \(eV/Angst\)\n.*\n', text)]
    row = text[starts[1] : text.index('\n', starts[1])]
    text = text[: starts[1]] + row[:42] + '*' * 14 + row[56:] + text[starts[1] + len(row) :]
    stress = [match.start() for match in re.finditer('  in kB', text)][3]
    line = text[stress : text.index('\n', stress)]
    text = text[:stress] + line[:22] + '*' * 12 + line[34:] + text[stress + len(line) :]
    outcar.write_text(text)
    raw = frames_from_outcar(outcar)
    assert np.isnan(raw.forces[1, 0, 0])
    assert np.isfinite(raw.forces[1, 1:]).all()
    assert np.isnan(raw.virials[3, 1, 1])
    with FramesFile(tmp_path / 'a.h5', 'w') as frames:
        summary = append_output(frames, outcar, {'label': 'x'})
        (view,) = frames.blocks()
        energies = [images[i].get_potential_energy() for i in (0, 2, 4)]
        np.testing.assert_allclose(view.energies[:], energies, atol=1e-7)
    assert (summary.n_steps, summary.n_frames, summary.n_broken) == (5, 3, 2)


def test_negative_numbers_without_space_between(tmp_path, images):
    """A cell of −100 Å components fills its fields."""
    path = write(tmp_path, images[:1])
    text = path.read_text()
    start = text.index('reciprocal lattice vectors') + len('reciprocal lattice vectors\n')
    rows = '  -100.000000000-100.000000000   0.000000000   0.1 0.1 0.1\n'
    rows += '   100.000000000-100.000000000   0.000000000   0.1 0.1 0.1\n     0.0 0.0 10.0   0.1 0.1 0.1\n'
    end = text.index('\n\n', start)
    path.write_text(text[:start] + rows.rstrip('\n') + text[end:])
    assert np.linalg.det(frames_from_outcar(path).cells[0]) == pytest.approx(200_000)


def test_every_truncation_yields_a_prefix(outcar, images, tmp_path):
    """Cut anywhere, the file yields exactly the steps whose energies are complete, or says that there is none."""
    text = outcar.read_text()
    path = tmp_path / 'cut'
    energies = [atoms.get_potential_energy() for atoms in images]
    ends = [match.end() for match in re.finditer(r'energy  without entropy.*\n', text)]
    for length in [*range(0, ends[-1], 397), *(end + shift for end in ends for shift in (-30, -1, 0))]:
        path.write_text(text[:length])
        whole = sum(end <= length for end in ends)
        if whole == 0:
            with pytest.raises(VaspOutputError):
                frames_from_outcar(path)
            continue
        block = frames_from_outcar(path)
        assert (block.n_frames, block.provenance['truncated']) == (whole, True)
        np.testing.assert_allclose(block.energies, energies[:whole], atol=1e-7)
    assert frames_from_outcar(outcar).provenance['truncated'] is False


def test_gzipped_and_cut(outcar, tmp_path):
    path = tmp_path / 'OUTCAR.gz'
    packed = gzip.compress(outcar.read_bytes())
    path.write_bytes(packed)
    assert frames_from_outcar(path).n_frames == 5
    for share in (0.2, 0.5, 0.8):
        path.write_bytes(packed[: int(share * len(packed))])
        try:
            assert frames_from_outcar(path).provenance['truncated']
        except VaspOutputError:
            continue


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('', 'no list of ions'),
        ('no outcar at all\n', 'no list of ions'),
        ('<modeling>\n', 'not an OUTCAR'),
        (' vasp.6.4.2 x\n   ions per type =   2\n----- Iteration      1(   1) ---\n', '0 potentials for 1 types'),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / 'OUTCAR'
    path.write_text(content)
    with pytest.raises(VaspOutputError, match=message):
        frames_from_outcar(path)


def test_steps_without_forces_are_passed_over(tmp_path, images):
    """With NWRITE below 2 only the first and the last step have forces."""
    path = write(tmp_path, images)
    text = path.read_text()
    parts = re.split(r'(?= POSITION  .*TOTAL-FORCE)', text)
    for number in (2, 3, 4):
        parts[number] = parts[number][parts[number].index('    total drift') :]
    path.write_text(''.join(parts))
    block = frames_from_outcar(path)
    np.testing.assert_allclose(block.energies, [images[i].get_potential_energy() for i in (0, 4)], atol=1e-7)
    np.testing.assert_allclose(block.temperature, [300, 540])


def test_memory_does_not_grow_with_the_file(images, tmp_path):
    """A file of 2000 steps and one of 200 need the same memory."""
    text = outcar_text(images, electronic=1)
    first = text.index(f'{"-" * 39} Iteration')
    body = text[first : text.index(' General timing')]
    peaks = []
    for repeat in (40, 400):
        path = tmp_path / 'OUTCAR'
        path.write_text(text[:first] + body * repeat)
        tracemalloc.start()
        summary = VaspSummary('e_fr_energy')
        n_frames = sum(block.n_frames for block in iter_outcar(path, summary, frames_per_block=50))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert n_frames == summary.n_steps == 5 * repeat
    assert peaks[1] < 1.5 * peaks[0] + 2e5


def test_the_output_of_a_folder(tmp_path, outcar, images):
    """vasprun.xml is taken before OUTCAR, however it is named it is read by what it holds."""
    (tmp_path / 'vasprun.xml').touch()
    assert output_of_folder(tmp_path) == outcar
    (tmp_path / 'vasprun.xml').write_text(vasprun_text(images))
    assert output_of_folder(tmp_path) == tmp_path / 'vasprun.xml'
    below = tmp_path / 'b' / 'c'
    below.mkdir(parents=True)
    (below / 'OUTCAR').write_text(outcar.read_text())
    assert list(find_outputs([tmp_path])) == [tmp_path / 'vasprun.xml']
    assert list(find_outputs([tmp_path], recursive=True)) == [tmp_path / 'vasprun.xml', below / 'OUTCAR']
    with pytest.raises(FileNotFoundError, match='no file or folder'):
        list(find_outputs([tmp_path / 'none']))
    outcar.rename(tmp_path / 'some.name')
    with FramesFile(tmp_path / 'a.h5', 'w') as frames:
        assert append_output(frames, tmp_path / 'some.name', {'label': 'x'}).n_frames == 5


@pytest.mark.engine
def test_outcar_of_the_driver(tmp_path, run_driver):
    """Both outputs of the driver give the same labels and the same engine, under pressure as well."""
    run_driver(
        'IBRION = 0\nNSW = 3\nPOTIM = 1.0\nMDALGO = 3\nTEBEG = 300\nISIF = 3\nISYM = 0\nPSTRESS = 50\n'
        'LANGEVIN_GAMMA = 10\nLANGEVIN_GAMMA_L = 10\nPMASS = 1000\n'
    )
    expected, block = frames_from_vasprun(tmp_path / 'vasprun.xml'), frames_from_outcar(tmp_path / 'OUTCAR')
    # ASE's eV, with which the driver makes its enthalpy, differs from today's in the eighth digit: 1e-6 of 1.5 eV.
    for name, tolerance in (('cells', 1e-7), ('forces', 1e-6), ('energies', 2e-6), ('virials', 1e-5)):
        np.testing.assert_allclose(getattr(block, name), getattr(expected, name), atol=tolerance)
    np.testing.assert_allclose(block.positions, expected.positions, atol=1e-6)
    assert block.provenance == expected.provenance
