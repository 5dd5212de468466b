"""``softclay doctor``: everything that a report needs, and nothing that is private."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_softclay.setup import doctor


def fail(message: str, status: int = 501) -> orm.WorkChainNode:
    node = orm.WorkChainNode()
    node.set_process_label('Failing')
    node.set_process_state('finished')
    node.set_exit_status(status)
    node.set_exit_message(message)
    return node.store()


@pytest.fixture
def failures(aiida_profile_clean):
    fail('the density is 0.1: nothing is there')
    fail(f'no file {Path.home()}/secrets/POTCAR, password=hunter2, postgresql://me:hunter2@db/aiida')
    fail('x' * 5000)
    fail('fine', status=0)


def run(*arguments):
    from aiida_softclay.cli.doctor import doctor as command

    return CliRunner().invoke(command, list(arguments))


def test_everything_is_gathered(failures, lmp_code):
    found = json.loads(run('--json', '--quick').output)
    assert list(found) == ['system', 'packages', 'plugins', 'profile', 'daemon', 'disk', 'engines', 'failed']
    assert found['packages']['aiida-core'].startswith('2.')
    assert found['profile']['storage'].startswith('core.')
    assert found['plugins']['aiida.workflows'] > 10
    assert found['engines'] == {lmp_code.label: f'plugin {lmp_code.default_calc_job_plugin}'}
    assert [row['exit_status'] for row in found['failed']] == [501, 501, 501]
    assert found['failed'][-1]['message'] == 'the density is 0.1: nothing is there'
    assert len(found['failed'][0]['message']) == doctor.MESSAGE_LENGTH


def test_nothing_private_is_said(failures):
    text = run('--quick').output
    assert 'hunter2' not in text
    assert f'{Path.home()}/' not in text
    assert 'password=***' in text
    assert '~/secrets/POTCAR' in text


def test_versions_of_engines_are_asked_for(aiida_profile_clean, lmp_program):
    assert 'LAMMPS' in doctor._version(lmp_program, doctor.VERSION_ARGUMENTS['lmp'])
    assert 'cannot be started' in doctor._version('/nowhere/lmp', ())
    assert doctor._version('/bin/false', ()) == 'says no version (exit status 1)'


@pytest.mark.parametrize(
    ('printed', 'line'),
    [
        (
            'Large-scale Atomic/Molecular Massively Parallel Simulator - 22 Jul 2025 - Update 2',
            '22 Jul 2025 - Update 2',
        ),
        ('DeePMD-kit: Cannot find libcudart.so.12\nDeePMD-kit v3.2.0', 'DeePMD-kit v3.2.0'),
        ('softclay-vasp 0.1.0; model: CHGNet 0.3.0', 'softclay-vasp 0.1.0; model: CHGNet 0.3.0'),
    ],
)
def test_the_line_with_the_version_is_found(printed, line):
    assert doctor.VERSION_LINE.search(printed).group(0).endswith(line)


def test_a_broken_section_does_not_hide_the_others(aiida_profile_clean, monkeypatch):
    def broken():
        raise OSError(f'{Path.home()}/gone')

    monkeypatch.setattr(doctor, '_disk', broken)
    found = doctor.gather(engines=False)
    assert found['disk'] == {'error': 'OSError: ~/gone'}
    assert found['packages']['click']


@pytest.mark.parametrize(
    ('text', 'clean'),
    [
        ('/home/jane/study/lmp.log', '~/study/lmp.log'),
        ('PASSWORD: hunter2', 'PASSWORD: ***'),
        ('api_key=abc', 'api_key=***'),
        ('amqp://guest:guest@127.0.0.1', 'amqp://***@127.0.0.1'),
        ('the density is 2.07', 'the density is 2.07'),
    ],
)
def test_texts_are_scrubbed(text, clean):
    assert doctor.scrub(text) == clean


def test_the_name_of_the_user_is_left_out(monkeypatch):
    monkeypatch.setattr(getpass, 'getuser', lambda: 'jane.doe')
    assert doctor.scrub('owned by jane.doe') == 'owned by ***'
