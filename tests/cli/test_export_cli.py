"""``softclay export`` as a user types it: where it writes, what it refuses, what it says."""

from __future__ import annotations

import json
import tarfile
import zipfile

import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_softclay.cli.export import export
from aiida_softclay.report.export import PARTS, manifest


@pytest.fixture
def note(aiida_profile):
    return orm.Dict({'a': 1}, label='a note').store()


def run(*arguments):
    return CliRunner().invoke(export, [str(argument) for argument in arguments], terminal_width=200)


def test_a_folder(note, tmp_path):
    outcome = run(note.pk, tmp_path / 'out')
    assert outcome.exit_code == 0, outcome.output
    assert f'{tmp_path / "out"}: 4 files' in outcome.output
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'README.md', 'manifest.json', 'SHA256SUMS', 'archive.aiida',
    }  # fmt: skip
    assert json.loads((tmp_path / 'out' / 'manifest.json').read_text())['asked_for'][0]['uuid'] == note.uuid
    # Nothing is left of the writing, and others may read it.
    assert [path.name for path in tmp_path.iterdir()] == ['out']
    assert (tmp_path / 'out').stat().st_mode & 0o077 == 0o777 & ~_umask() & 0o077


def _umask():
    import os

    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_packed_files(note, tmp_path):
    assert run(note.uuid, tmp_path / 'a.b.zip').exit_code == 0
    with zipfile.ZipFile(tmp_path / 'a.b.zip') as archive:
        assert archive.testzip() is None
        assert {name.split('/')[0] for name in archive.namelist()} == {'a.b'}
    assert run(note.pk, tmp_path / 'notes.tar.gz').exit_code == 0
    with tarfile.open(tmp_path / 'notes.tar.gz') as archive:
        members = archive.getmembers()
        assert {member.name.split('/')[0] for member in members} == {'notes'}
        assert {(member.uid, member.uname) for member in members} == {(0, '')}


def test_replaced_only_when_forced(note, tmp_path):
    for target in (tmp_path / 'out', tmp_path / 'out.zip'):
        assert run(note.pk, target).exit_code == 0
        outcome = run(note.pk, target)
        assert outcome.exit_code != 0
        assert '--force' in outcome.output
        before = target.stat().st_ino
        assert run(note.pk, target, '--force').exit_code == 0
        assert target.stat().st_ino != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out', 'out.zip']


def test_what_is_no_earlier_export_is_never_replaced(note, tmp_path):
    (tmp_path / 'thesis').mkdir()
    (tmp_path / 'thesis' / 'chapter.tex').write_text('years of work')
    outcome = run(note.pk, tmp_path / 'thesis', '--force')
    assert outcome.exit_code != 0
    assert 'no earlier export' in outcome.output
    assert (tmp_path / 'thesis' / 'chapter.tex').read_text() == 'years of work'
    (tmp_path / 'empty').mkdir()
    assert run(note.pk, tmp_path / 'empty').exit_code == 0


@pytest.mark.parametrize(
    ('target', 'sentence'),
    [
        ('nowhere/out', 'make it first'),
        ('out.tar', 'no folder, .zip or .tar.gz'),
        ('out.aiida', 'no folder, .zip or .tar.gz'),
        ('file', 'is a file: name a folder'),
        ('folder.zip', 'is a folder: name a file'),
        ('link', 'is a link'),
    ],
)
def test_bad_targets(note, tmp_path, target, sentence):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'folder.zip').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path)
    for more in ([], ['--dry-run']):
        outcome = run(note.pk, tmp_path / target, *more)
        assert outcome.exit_code != 0
        assert sentence in ' '.join(outcome.output.split())
        assert 'Traceback' not in outcome.output


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--parts', 'frames,movies'], '`movies` is no part: choose from archive'),
        (['--parts', ','], 'no part is named'),
        (['--bulk-above', 'much'], 'is no number of MB'),
        (['--bulk-above', '-1'], 'give a number from 0 up'),
        (['--bulk-above', 'nan'], 'give a number from 0 up'),
        (['--stride', '0'], 'x>=1'),
    ],
)
def test_bad_options(note, tmp_path, arguments, sentence):
    outcome = run(note.pk, tmp_path / 'out', *arguments)
    assert outcome.exit_code != 0
    assert sentence in outcome.output
    assert list(tmp_path.iterdir()) == []


def test_unknown_node(aiida_profile, tmp_path):
    outcome = run(999999, tmp_path / 'out')
    assert outcome.exit_code != 0
    assert '999999' in outcome.output


def test_parts_are_chosen(note, tmp_path):
    assert run(note.pk, tmp_path / 'out', '--parts', 'tables, archive').exit_code == 0
    assert json.loads((tmp_path / 'out' / 'manifest.json').read_text())['options']['parts'] == ['archive', 'tables']


def test_dry_run_writes_nothing(note, tmp_path):
    outcome = run(note.pk, tmp_path / 'out', '--dry-run', '--parts', 'all')
    assert outcome.exit_code == 0, outcome.output
    for part in PARTS:
        assert part in outcome.output
    assert 'nothing was written' in outcome.output
    assert list(tmp_path.iterdir()) == []


def test_half_of_it_is_never_there(note, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError('no space left on device')

    run(note.pk, tmp_path / 'out')
    before = (tmp_path / 'out' / 'manifest.json').read_text()
    monkeypatch.setattr(manifest, 'sha256_of', fail)
    for target in (tmp_path / 'out', tmp_path / 'new', tmp_path / 'new.zip'):
        outcome = run(note.pk, target, '--force')
        assert outcome.exit_code != 0
        assert 'no space left on device' in outcome.output
    assert [path.name for path in tmp_path.iterdir()] == ['out']
    assert (tmp_path / 'out' / 'manifest.json').read_text() == before
