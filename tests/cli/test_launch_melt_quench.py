"""``softclay launch melt-quench``: plans that cost nothing, and sentences for what cannot be launched."""

from __future__ import annotations

import pytest
from aiida import orm
from click.testing import CliRunner
from launch_samples import record_codes

from aiida_softclay.calculations.potcars import upload_placeholder_family
from aiida_softclay.cli.launch_melt_quench import melt_quench


def run(*arguments):
    return CliRunner().invoke(melt_quench, [*(str(argument) for argument in arguments), '--dry-run'])


def stored() -> int:
    return orm.QueryBuilder().append(orm.Node).count()


@pytest.fixture
def profile(aiida_profile_clean, localhost):
    upload_placeholder_family('placeholders', ['Li', 'Ga', 'F', 'Cl', 'Mg'])
    record_codes(localhost, 'vasp')


@pytest.fixture
def cif(profile, tmp_path):
    from aiida_softclay.structures.crystals import crystal

    path = tmp_path / 'my salt.cif'
    crystal('LiF').write(path)
    return path


def rows(outcome):
    assert outcome.exit_code == 0, outcome.output
    return [line.split() for line in outcome.output.splitlines()[1:] if ' K) ' in line]


def test_a_dry_run_lists_every_structure_and_stores_nothing(profile):
    before = stored()
    listed = rows(run('gupta2023:demo'))
    assert [row[0] for row in listed] == ['LiCl', 'GaF3', 'GaCl3', 'slab']
    # 1.5 times 878 K, 4 stages, 8 atoms, 350 steps of 2 fs, every second a frame.
    assert listed[0][1:7] == ['(1320', 'K)', '4', '8', '350', '0.7']
    assert listed[0][8] == '175'
    assert [row[0] for row in rows(run())] == [row[0] for row in listed]
    assert stored() == before


def test_a_chemical_system_and_crystals_by_name(profile):
    assert {'LiCl', 'LiF'} == {row[0] for row in rows(run('Li-F-Cl'))}
    named = rows(run('LiCl', 'LiF', '--temperature', 1234, '--protocol', 'gupta2023'))
    assert [row[:3] for row in named] == [['LiCl', '(1234', 'K)'], ['LiF', '(1234', 'K)']]
    assert named[0][5] == '45,000'


def test_files_of_ones_own(cif):
    before = stored()
    assert rows(run(cif, '--temperature', 900))[0][:3] == ['my_salt', '(900', 'K)']
    assert stored() == before


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (('gupta1999',), 'no reference set'),
        (('NaCl',), 'no potential for Na'),
        (('LiCl', '--protocol', 'huge'), 'unknown protocol `huge`: choose from demo, balanced, paper, gupta2023'),
        (('LiCl', '--temperature', '-3'), 'Invalid value'),
        (('LiCl', '--temperature', '1e6'), 'above 20000 K'),
        (('LiCl', '--family', 'nobody'), 'no POTCAR family nobody'),
    ],
)
def test_wrong_requests_get_a_sentence(profile, arguments, sentence):
    outcome = run(*arguments)
    assert outcome.exit_code != 0
    assert sentence in outcome.output
    assert 'Traceback' not in outcome.output


def test_wrong_files_get_a_sentence(cif, tmp_path):
    assert 'has no maximum_temperature_K' in run(cif).output
    assert 'launch names and files apart' in run(cif, 'LiCl').output
    text = tmp_path / 'text.cif'
    text.write_text('no structure')
    assert 'cannot be read as a structure' in run(text, '--temperature', 900).output
    molecule = tmp_path / 'molecule.xyz'
    molecule.write_text('1\n\nLi 0 0 0\n')
    assert 'has no cell' in run(molecule, '--temperature', 900).output


def test_overrides_change_the_stages(profile, tmp_path):
    path = tmp_path / 'overrides.yaml'
    path.write_text('stages:\n  npt: null\n  cool: {duration_fs: null, rate_K_per_ps: -100}\n')
    outcome = run('LiCl', '-O', path)
    assert 'structure LiCl: stage cool: rate_K_per_ps is -100' in outcome.output
    path.write_text('stages: {npt: null, hold: {duration_fs: 1000}}\ntemperatures: {LiCl: 800}\n')
    assert rows(run('LiCl', '-O', path))[0][1:6] == ['(800', 'K)', '3', '64', '700']
