"""``softclay build`` as a user types it, and the plans of glasses and their series."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_softclay.cli.build import STARTS, build
from aiida_softclay.cli.launch import launch
from aiida_softclay.structures import starts
from aiida_softclay.structures.materials import parse_material


def run(*words, fails=False, command=build):
    result = CliRunner().invoke(command, [str(word) for word in words], terminal_width=200)
    assert (result.exit_code != 0) == fails, result.output
    return result.output


def test_the_choices_are_the_starts():
    assert set(STARTS) == set(starts.STARTS)


@pytest.mark.parametrize(
    ('material', 'start'),
    [
        ('2LiCl-GaF3', 'particles'),
        ('LiCl', 'polycrystal'),
        ('Li3Al3O2Cl8', 'framework'),
        ('LAOC0.3b', 'oligomers'),
        ('LiAlO0.75Cl2.5', 'substitution'),
    ],
)
def test_a_material_is_built_as_the_papers_did(material, start):
    size = {'particles': 64, 'polycrystal': 128, 'oligomers': 184}.get(start)
    report = json.loads(run(material, '--format', 'json', *(['-N', size] if size else [])))
    assert (report['start'], report['material']) == (start, parse_material(material).name)
    assert report['density_g_cm3'] > 0.5


def test_file_holds_the_cell_and_is_not_overwritten(tmp_path):
    file = tmp_path / 'glass.xyz'
    assert 'written to' in run('Li3Al3O2Cl8', '--expand', '1x1x2', '-o', file)
    atoms = ase.io.read(file)
    assert parse_material('Li3Al3O2Cl8').units_of(atoms) == 16
    assert atoms.arrays['molecule_id'].max() == 15
    assert 'exists: name another file' in run('Li3Al3O2Cl8', '-o', file, fails=True)


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['2KCl-GaF3'], 'the salt KCl is not known'),
        (['LiCl', '--start', 'particles'], 'take the start polycrystal'),
        (['2LiCl-GaF3', '-N', '10'], 'are too few'),
        (['2LiCl-GaF3', '--expand', '2x2'], 'not three positive whole numbers'),
        (['LiCl', '-N', '128', '-o', 'cell.unknown'], 'cannot be written'),
    ],
)
def test_wrong_calls_get_a_sentence(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sentence in run(*words, fails=True)


def test_stored_cell_has_a_history(aiida_profile_clean):
    """The node is made by a calcfunction whose inputs say everything."""
    assert 'StructureData <' in run('LiCl', '-N', '128', '--store')
    node = orm.QueryBuilder().append(orm.StructureData).one()[0]
    assert node.creator.process_label == 'build_start_cell'
    assert node.creator.inputs.parameters['material'] == 'LiCl'


def test_series_and_other_starts_are_planned(aiida_profile_clean, localhost):
    """A dry run lists every variant and submits nothing; a wrong variant is named."""
    from aiida_softclay.data.potential import PotentialData

    orm.InstalledCode(
        label='lmp', computer=localhost, filepath_executable='/opt/lmp', default_calc_job_plugin='softclay.lammps'
    ).store()
    model = PotentialData(Path(__file__).parents[1] / 'workflows' / 'fixtures' / 'md_lithium_chloride.pb').store()
    common = ['LiCl', '--potential', model.pk, '--dry-run', '--protocol', 'polycrystal']
    assert '10200' in run('amorphous', *common, command=launch)
    varied = ['--vary', 'equilibrate.temperature_K=300,400', '--vary', 'seed=1,2']
    text = run('amorphous-series', *common, *varied, command=launch)
    assert 'temperature_k_400_seed_2' in text
    assert text.count('10200') == 4
    wrong = run('amorphous-series', *common, '--vary', 'equilibrate.temperature_K=-600', command=launch, fails=True)
    assert 'temperature_k_600' in wrong
    assert 'kelvin' in wrong
    assert 'is not NAME=V1,V2' in run('amorphous-series', *common, '--vary', 'seed', command=launch, fails=True)
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == 0
