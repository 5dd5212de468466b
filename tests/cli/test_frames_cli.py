"""``softclay frames``: import of files, trees and calculations, info, build and export."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.plugins import DataFactory
from click.testing import CliRunner

from aiida_softclay.cli import softclay

sys.path.insert(0, str(Path(__file__).parents[1] / 'data'))
from frame_samples import make_block, vasprun_text
from outcar_samples import outcar_text


@pytest.fixture
def run(aiida_profile_clean):
    """Return a function that runs the command line in an empty profile."""

    def invoke(*arguments, status=0):
        result = CliRunner().invoke(softclay, ['frames', *map(str, arguments)], obj=None, env={'COLUMNS': '200'})
        assert result.exit_code == status, result.output + repr(result.exception)
        return result.output

    return invoke


@pytest.fixture
def images():
    """Five rattled Cu–Al cells with EMT labels."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator

    found = []
    for seed in range(5):
        atoms = bulk('Cu', 'fcc', 3.6, cubic=True)
        atoms.symbols[2:] = 'Al'
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        labels = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces', 'stress')}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        found.append(atoms)
    return found


@pytest.fixture
def tree(tmp_path, images):
    """Four runs: with vasprun.xml and POTCAR, with OUTCAR only, cut after two steps, and one that failed at once."""
    root = tmp_path / 'old'
    for name in ('crystal/heat', 'crystal/quench', 'slab', 'failed'):
        (root / name).mkdir(parents=True)
        (root / name / 'POTCAR').write_text('licensed')
    (root / 'crystal/heat/vasprun.xml').write_text(vasprun_text(images))
    (root / 'crystal/heat/OUTCAR').write_text('not looked at')
    (root / 'crystal/quench/OUTCAR').write_text(outcar_text(images[::-1]))
    text = vasprun_text(images[::2], generator='  <i name="date" type="string">2020 </i>\n')
    end = [position for position in range(len(text)) if text.startswith('</calculation>', position)][1]
    (root / 'slab/vasprun.xml').write_text(text[: end + 200])
    (root / 'failed/OUTCAR').write_text(' vasp.6.4.2 20Jul23\n Error EDDDAV\n')
    return root


def all_frames():
    return orm.QueryBuilder().append(DataFactory('softclay.frames')).all(flat=True)


def test_import_of_a_tree(run, tree):
    """Three runs become frames, the failed one is listed; again, everything is known; POTCAR is nowhere."""
    output = run('import', tree, '--recursive', '--stage', 'old', '--group', 'aimd')
    assert '3 imported (12 frames), 0 known before, 1 not usable' in output
    assert f'{tree / "failed/OUTCAR"}: not an OUTCAR' in output
    frames = all_frames()
    assert sorted((label, node.n_frames) for node in frames for label in node.base.attributes.get('source_labels')) == [
        ('crystal/heat', 5), ('crystal/quench', 5), ('slab', 2),
    ]  # fmt: skip
    assert {node.pk for node in orm.load_group('aimd').nodes} == {node.pk for node in frames}
    folders = orm.QueryBuilder().append(orm.FolderData).all(flat=True)
    assert sorted(name for folder in folders for name in folder.base.repository.list_object_names()) == [
        'OUTCAR', 'vasprun.xml', 'vasprun.xml',
    ]  # fmt: skip
    assert all(node.creator.inputs.folder in folders for node in frames)
    assert any('the file is cut' in node.description for node in frames)

    again = run('import', tree, '--recursive', '--stage', 'old')
    assert '0 imported (0 frames), 3 known before, 1 not usable' in again
    assert len(all_frames()) == 3
    # Other options make other frames of the same stored file.
    assert '3 imported' in run('import', tree, '-r', '--stride', '2')
    assert orm.QueryBuilder().append(orm.FolderData).count() == 3


def test_import_of_patterns_and_what_is_not_there(run, tree):
    assert '2 imported' in run('import', tree / 'crystal' / '*' / '[vO]*', '--label', 'LiCl', '--start', '1', status=0)
    assert 'no such file or folder, and no node' in run('import', tree / 'nonesuch', status=1)
    assert 'not an OUTCAR' in run('import', tree / 'failed', status=1)
    assert 'there is no vasprun.xml or OUTCAR' in run('import', tree, status=1)


@pytest.fixture
def vasp_workchain(tmp_path, images, aiida_localhost):
    """A stored workchain that called two VASP calculations: one with files, one without."""
    workchain = orm.WorkChainNode(process_type='aiida.workflows:vasp.vasp').store()
    for number, text in enumerate((outcar_text(images), None)):
        calculation = orm.CalcJobNode(computer=aiida_localhost, process_type='aiida.calculations:vasp.vasp')
        calculation.label = f'md {number}'
        calculation.base.links.add_incoming(workchain, LinkType.CALL_CALC, f'call_{number}')
        calculation.store()
        retrieved = orm.FolderData()
        if text:
            (tmp_path / 'OUTCAR').write_text(text)
            retrieved.base.repository.put_object_from_file(str(tmp_path / 'OUTCAR'), 'OUTCAR')
        retrieved.base.links.add_incoming(calculation, LinkType.CREATE, 'retrieved')
        retrieved.store()
    return workchain


def test_import_of_aiida_calculations(run, vasp_workchain):
    """The retrieved folder is the input, so that the frames descend from the calculation."""
    assert '1 imported (5 frames)' in run('import', vasp_workchain.pk)
    (node,) = all_frames()
    assert node.base.attributes.get('source_labels') == ['md 0']
    (calculation,) = [called for called in vasp_workchain.called if called.label == 'md 0']
    assert node.creator.inputs.folder.pk == calculation.outputs.retrieved.pk
    assert '1 known before' in run('import', calculation.uuid)
    other = next(called for called in vasp_workchain.called if called.label == 'md 1')
    assert 'has no folder with vasprun.xml' in run('import', other.pk, status=1)


def test_info_build_and_export(run, tree, tmp_path):
    """The same configuration imported from two files of a run is counted as repeated; exports are complete."""
    run('import', tree, '-r')
    crystal = next(node for node in all_frames() if node.base.attributes.get('source_labels') == ['crystal/heat'])
    info = run('info', crystal.pk)
    for part in ('Al2Cu2', 'crystal/heat', '300 – 540', 'functional PE', 'e_fr_energy', 'positive in compression'):
        assert part in info
    output = run('build', *(node.pk for node in all_frames()), '--training-fraction', '0.5', '--max-force', '100')
    (report,) = [node for node in orm.QueryBuilder().append(orm.Dict).all(flat=True) if 'counts' in node.get_dict()]
    counts = report.get_dict()['counts']
    # OUTCAR has fewer digits, so only the two frames of the slab are repeated exactly.
    assert (counts['given'], counts['duplicates']) == (12, 2)
    assert counts['training'] + counts['validation'] == 10
    assert f'report <{report.pk}>' in output
    run('export', crystal.pk, tmp_path / 'deepmd', '--type-map', 'Al,Cu,Li')
    (box,) = tmp_path.glob('deepmd/*/set.000/box.npy')
    assert np.load(box).shape == (5, 9)
    assert '5 frames' in run('export', crystal.pk, tmp_path / 'xyz', '--format', 'extxyz')
    from ase.io import read

    assert len(read(tmp_path / 'xyz' / 'frames.extxyz', ':')) == 5
    assert 'exists: choose another folder' in run('export', crystal.pk, tmp_path / 'xyz', '-f', 'extxyz', status=1)
    assert 'lacks Al' in run('export', crystal.pk, tmp_path / 'other', '--type-map', 'Cu,Li', status=1)


def test_mixed_functionals_and_bad_parameters_are_refused(run, tmp_path):
    from aiida_softclay.data.frames_file import FramesFile

    pks = []
    for functional in ('PE', 'PS'):
        engine = {'program': 'vasp', 'version': '6.4.2', 'functional': functional}
        with FramesFile(tmp_path / 'a.h5', 'w') as frames:
            frames.append(make_block(n_frames=5, engine=engine), {'label': functional})
        pks.append(DataFactory('softclay.frames').from_file(tmp_path / 'a.h5').store().pk)
    assert "functional is 'PE' in one and 'PS' in the other" in run('build', *pks, status=1)
    assert 'training_fraction is 1.0' in run('build', pks[0], '-f', '1', status=1)
    assert 'type map Li, Cl lacks' in run('build', pks[0], '--type-map', 'Li,Cl', status=1)
    assert 'there are no frames' in run('build', status=1)
