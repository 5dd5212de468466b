"""What the helps tell to type exists: every command, with every option. The pages are typed in another test."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex

import click
import pytest

from aiida_softclay import cli
from aiida_softclay.cli.examples import EXAMPLES

PROGRAMS = ('softclay', 'verdi data softclay')


def parse(line):
    """Parse a command line down to its last option; it fails where a word is none of its command."""
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
        parse('softclay plot 12 --colour red')
    with pytest.raises(AssertionError, match='launch stdy is no command'):
        parse('verdi data softclay launch stdy 2LiCl-GaF3')


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
        parse(line)
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
