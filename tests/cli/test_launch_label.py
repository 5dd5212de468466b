"""``softclay launch label``: configurations from files and nodes, and sentences for what are none."""

from __future__ import annotations

import pytest
from aiida import orm
from ase.build import bulk
from ase.io import write
from click.testing import CliRunner
from launch_samples import record_codes

from aiida_softclay.calculations.potcars import upload_placeholder_family
from aiida_softclay.cli.launch import launch
from aiida_softclay.cli.launch_label import from_file, trajectory_of


def run(*arguments):
    return CliRunner().invoke(launch, ['label', *map(str, arguments)], terminal_width=200)


@pytest.fixture
def salts(tmp_path):
    """A file with three configurations of one salt and one of another, mixed."""
    first, second = bulk('LiCl', 'rocksalt', a=5.1, cubic=True), bulk('LiF', 'rocksalt', a=4.0, cubic=True)
    frames = [first.copy(), second, first.copy(), first.copy()]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=seed)
    path = tmp_path / 'salts.extxyz'
    write(path, frames)
    return path, frames


@pytest.fixture
def profile(aiida_profile_clean, localhost):
    upload_placeholder_family('placeholders', ['Li', 'F', 'Cl'])
    record_codes(localhost, 'vasp')


def test_frames_of_a_file_are_grouped_by_their_atoms(aiida_profile, salts):
    path, frames = salts
    first, second = from_file(path)
    assert (first.n_frames, second.n_frames) == (3, 1)
    with first.open_trajectory() as opened:
        assert abs(opened.positions[1] - frames[2].positions).max() < 1e-5


def test_dry_run_says_what_it_costs(profile, salts):
    path, frames = salts
    stored = trajectory_of(frames[:1]).store()
    outcome = run(path, stored.pk, '--dry-run')
    assert outcome.exit_code == 0, outcome.output
    assert 'label' in outcome.output
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == 0


def test_what_is_no_configuration_gets_a_sentence(profile, tmp_path, salts):
    assert 'neither a file nor the pk of a trajectory' in run('123456', '--dry-run').output
    (tmp_path / 'notes.txt').write_text('nothing')
    assert 'cannot be read' in run(tmp_path / 'notes.txt', '--dry-run').output
    molecule = bulk('Li', 'bcc', a=3.5)
    molecule.pbc = False
    write(tmp_path / 'molecule.extxyz', molecule)
    assert 'not periodic' in run(tmp_path / 'molecule.extxyz', '--dry-run').output
    silver = bulk('Ag', 'fcc', a=4.1)
    write(tmp_path / 'silver.extxyz', silver)
    outcome = run(tmp_path / 'silver.extxyz', '--dry-run')
    assert 'no potential for Ag' in outcome.output
    assert 'Traceback' not in outcome.output
