"""Many folders in one process: each ends with what a run of its own leaves, and none stops the others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

EMT = 'ase.calculators.emt:EMT'
STATIC = {'NSW': 0, 'IBRION': -1}
#: What differs between two runs of the same inputs: when they ran, how long, and a number that no other run has.
VARIABLE = re.compile(
    r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d{4} \d\d \d\d|\d\d:\d\d:\d\d|[0-9a-f]{8}-[0-9a-f-]{27}|\d+\.\d+ s each|'
    r'executed on.*|[Tt]ime.*|.*[Ee]lapsed.*|.*CPU.*'
)


def start(program, folder, *arguments, **environment):
    variables = {**os.environ, 'SOFTCLAY_CALCULATOR': EMT, 'OMP_NUM_THREADS': '1', **environment}
    done = subprocess.run(
        [program, *arguments], cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.engine
def test_folders_end_like_runs_of_their_own(make_case, alloy, tmp_path, vasp_program):
    incars = {'one': STATIC, 'broken': {'NSW': -3}, 'two': {'IBRION': 2, 'NSW': 3, 'EDIFFG': -1e-3}, 'bare': None}
    for name, incar in incars.items():
        make_case(name).write(alloy, incar)
        shutil.copytree(tmp_path / name, tmp_path / 'alone' / name)
    (tmp_path / 'list').write_text('\n'.join([*incars, 'missing']) + '\n')
    status, printed, errors = start(vasp_program, tmp_path, '--folders', 'list')
    assert (status, errors) == (0, '')
    lines = [line.split() for line in printed.splitlines()]
    assert [line[:2] for line in lines[::2]] == [['begin', name] for name in (*incars, 'missing')]
    assert [line[:3] for line in lines[1::2]] == [
        ['end', 'one', '0'], ['end', 'broken', '2'], ['end', 'two', '0'], ['end', 'bare', '2'], ['end', 'missing', '4'],
    ]  # fmt: skip
    for name in incars:
        alone = tmp_path / 'alone' / name
        _, output, errors = start(vasp_program, alone)
        (alone / 'vasp_output').write_text(output + errors)
        for path in (tmp_path / name).iterdir():
            texts = [VARIABLE.sub('', (folder / path.name).read_text()) for folder in (path.parent, alone)]
            assert texts[0] == texts[1], path
        assert {path.name for path in (tmp_path / name).iterdir()} == {path.name for path in alone.iterdir()}


@pytest.mark.engine
def test_no_folder_is_begun_when_time_is_up(make_case, alloy, tmp_path, vasp_program):
    for name in ('one', 'two'):
        make_case(name).write(alloy, STATIC)
    (tmp_path / 'list').write_text('one\ntwo\n')
    status, printed, _ = start(vasp_program, tmp_path, '--folders', 'list', SOFTCLAY_TIME_LIMIT='0.1')
    assert status == 0
    assert [line.split()[:2] for line in printed.splitlines()] == [['begin', 'one'], ['end', 'one']]
    assert not (tmp_path / 'two' / 'vasprun.xml').exists()


@pytest.mark.engine
def test_a_list_that_cannot_be_read(tmp_path, vasp_program):
    status, _, errors = start(vasp_program, tmp_path, '--folders', 'nothing')
    assert status == 2
    assert 'the list of folders nothing cannot be read' in errors
