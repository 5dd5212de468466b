"""What the documentation tells to type exists: every command, with every option."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import click
import pytest

from aiida_softclay import cli
from aiida_softclay.cli.examples import EXAMPLES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
PROGRAMS = ('softclay', 'verdi data softclay')


def documented():
    """Yield page and command line of everything behind a prompt, lines that go on joined."""
    for page in PAGES:
        text = page.read_text().replace('\\\n', ' ')
        for block in re.findall(r'```console\n(.*?)```', text, flags=re.DOTALL):
            for line in block.splitlines():
                command = line.removeprefix('$ ').partition('  #')[0].strip()
                if line.startswith('$ ') and command.startswith(PROGRAMS):
                    yield pytest.param(command, id=f'{page.stem}: {command[:60]}')


@pytest.mark.parametrize('line', list(documented()))
def test_commands_of_the_documentation_exist(line):
    for program in PROGRAMS:
        line = line.removeprefix(f'{program} ') if line.startswith(f'{program} ') else line
    words = shlex.split(re.split(r' [|>;&] ?', line)[0])
    command: click.Command = cli.softclay
    context = click.Context(command, info_name='softclay')
    seen = []
    while isinstance(command, click.Group):
        _, words, _ = _parsed(command, context, words)
        name = words.pop(0)
        seen.append(name)
        found = command.get_command(context, name)
        assert found is not None, f'{" ".join(seen)} is no command'
        command, context = found, click.Context(found, info_name=name, parent=context)
    _parsed(command, context, words)


def test_what_does_not_exist_is_found():
    with pytest.raises(click.NoSuchOption):
        test_commands_of_the_documentation_exist('softclay plot 12 --colour red')
    with pytest.raises(AssertionError, match='launch stdy is no command'):
        test_commands_of_the_documentation_exist('verdi data softclay launch stdy 2LiCl-GaF3')


def _parsed(command, context, words):
    """Return values, what is left, and the order; a group leaves what follows its own options."""
    parser = command.make_parser(context)
    parser.allow_interspersed_args = not isinstance(command, click.Group)
    if isinstance(command, click.Group):
        values, rest, order = parser.parse_args(args=list(words))
        return values, list(rest), order
    return parser.parse_args(args=list(words))


def commands(command=cli.softclay, name=''):
    """Yield every command with its name below ``softclay``."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for key in command.list_commands(context):
            yield from commands(command.get_command(context, key), f'{name} {key}'.strip())
    else:
        yield name, command


@pytest.mark.parametrize(
    ('name', 'command'), list(commands()), ids=lambda value: value if isinstance(value, str) else ''
)
def test_help_ends_with_examples_that_can_be_typed(name, command):
    text = f'{command.help or ""}{command.epilog or ""}'
    lines = [line.strip() for line in text.partition('Example')[2].splitlines() if line.strip().startswith('softclay')]
    assert lines, f'the help of softclay {name} has no example'
    for line in lines:
        assert line.startswith(f'softclay {name}'), line
        test_commands_of_the_documentation_exist(line)
        words = [word for word in shlex.split(line.removeprefix(f'softclay {name}')) if not word.startswith('-')]
        needed = [one for one in command.params if isinstance(one, click.Argument) and one.required]
        assert '--help' in line or len(words) >= len(needed), f'{line}: an argument is missing'


def test_no_example_is_of_a_command_that_is_gone():
    assert set(EXAMPLES) <= {name for name, _ in commands()}


def test_every_module_of_a_command_is_registered():
    """A module that defines the command of its own name can be called by it."""
    for module in pkgutil.iter_modules(cli.__path__):
        loaded = importlib.import_module(f'{cli.__name__}.{module.name}') if module.name != '__main__' else None
        found = getattr(loaded, module.name, None)
        if isinstance(found, click.Command):
            assert module.name in cli.COMMANDS, f'softclay {module.name} is not registered'
