"""Every command of docs/tutorials/analyse-a-study.md, typed as it stands, and the outputs printed there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / 'docs'
PAGE = DOCS / 'tutorials' / 'analyse-a-study.md'
STUDY = DOCS / 'data' / 'demo-study.zip'
#: Between the outputs of two blocks of Python.
MARK = '----- end of block -----'


def blocks():
    """Return kind and text of each fenced block of the page, in order."""
    return re.findall(r'^```(console|python|text)\n(.*?)^```$', PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The folder in which a reader stands, and the environment of commands."""
    place = tmp_path_factory.mktemp('tutorial')
    shutil.copy(STUDY, place)
    (place / 'aiida').mkdir()
    return place


@pytest.fixture(scope='module')
def environment(folder):
    return {
        **os.environ, 'AIIDA_PATH': str(folder / 'aiida'), 'MPLBACKEND': 'agg',
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
    }  # fmt: skip


def run(words, place, environment, **options):
    done = subprocess.run(
        words, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=300, **options
    )
    assert done.returncode == 0, f'{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}'
    return done.stdout


@pytest.mark.timeout(600)
def test_every_command(folder, environment):
    place, outputs, python, wanted = folder, {}, [], []
    kinds = [kind for kind, _ in blocks()]
    first = kinds.index('python')
    after = [text for kind, text in blocks()[first:] if kind == 'console']
    for kind, text in blocks()[:first]:
        assert kind == 'console'
        place = type_lines(text, place, environment, outputs)
    for kind, text in blocks()[first:]:
        if kind == 'python':
            python.append(text)
            wanted.append(None)
        elif kind == 'text':
            wanted[-1] = text
    script = f'\nprint({MARK!r})\n'.join(python)
    printed = run([sys.executable, '-'], place, environment, input=script).split(f'{MARK}\n')
    for number, (expected, text) in enumerate(zip(wanted, printed, strict=True)):
        if expected is not None:
            assert text == expected, f'block {number} of Python prints\n{text}'
    for text in after:
        place = type_lines(text, place, environment, outputs)
    # What the page says of these outputs.
    assert '±' in next(text for line, text in outputs.items() if ' results ' in line)
    trace = next(text for line, text in outputs.items() if ' trace ' in line)
    assert {'potential', 'frames', 'trajectory', 'structure', 'facts'} <= set(trace.split())
    for name in ('curves.png', 'run.xtc', 'run.pdb'):
        assert (place / name).stat().st_size > 10_000, name


def type_lines(text, place, environment, outputs):
    """Run the lines behind prompts and return where one stands then."""
    for line in text.splitlines():
        command = line.removeprefix('$ ')
        assert line.startswith('$ '), line
        if command.startswith('cd '):
            place = place / command.removeprefix('cd ').strip()
        else:
            outputs[command] = run(['bash', '-c', command], place, environment)
    return place


def test_size():
    """The documentation stays small enough to be cloned in a moment."""
    assert STUDY.stat().st_size < 5_000_000
