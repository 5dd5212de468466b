"""``setup_profile.sh`` typed where the environment that it finds or makes only notes down what it is told to do.

The script itself runs as it is. Of what it starts, the commands of this package are parsed by their own parsers, and
pip and pytest are not followed further.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click

from aiida_softclay.cli import softclay
from aiida_softclay.cli.setup import setup

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
case "$*" in
    *sys.version_info*) exec {python} "$@" ;;
    *sys.prefix*) dirname "$(dirname "$0")"; exit ;;
    '-m venv '*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
printf '%s\\0' "$@" >> {notes}
printf '\\n' >> {notes}
"""


def lay_out(folder: Path) -> dict[str, str]:
    """Put the script and an environment beside it into a folder; return the variables under which it is typed."""
    for name in ('setup_profile.sh', 'pyproject.toml'):
        shutil.copy(ROOT / name, folder)
    python = folder / '.venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON.format(python=sys.executable, notes=notes_of(folder)))
    python.chmod(0o755)
    return {'PYTHON': str(python)}


def make_repository(folder: Path) -> Path:
    """Return a repository with the script that can be cloned."""
    made = folder / 'origin'
    made.mkdir()
    for name in ('setup_profile.sh', 'pyproject.toml'):
        shutil.copy(ROOT / name, made)
    about = ('-c', 'user.name=me', '-c', 'user.email=me@example.org')
    for words in (('init', '-q'), ('add', '.'), (*about, 'commit', '-q', '-m', 'Begin')):
        subprocess.run(['git', *words], cwd=made, check=True)
    return made


def notes_of(folder: Path) -> Path:
    """Return the file in which the environment notes down what it is told."""
    return folder / 'told'


def take_calls(folder: Path) -> list[list[str]]:
    """Return the arguments of each call of Python since the last time."""
    notes = notes_of(folder)
    if not notes.exists():
        return []
    calls = [line.split('\0')[:-1] for line in notes.read_text().splitlines()]
    notes.unlink()
    return calls


def parse_calls(calls: list[list[str]]) -> list[str]:
    """Parse the calls of the commands of this package, with the checks of their options; return what was called."""
    found = []
    for words in calls:
        if words[:2] == ['-m', 'aiida_softclay.setup']:
            found.append(f'setup {parse(setup, words[2:])}')
        elif words[:2] == ['-m', 'aiida_softclay.cli']:
            # The profile is not there: the option of the group is left out.
            assert words[2] == '-p'
            found.append(parse(softclay, words[4:]))
        elif words[0] == '-m':
            found.append(words[1])
    return found


def parse(command: click.Command, words: list[str]) -> str:
    """Parse the words of a command down to its last subcommand; return its name."""
    context, names = None, []
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f'{words[0]} is no command'
        names.append(words[0])
        command, words = found, words[1:]
    context = command.make_context(names[-1], list(words))
    assert context.params
    return ' '.join(names)
