"""The root of the command line, and ``softclay check``."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from aiida_softclay.cli import COMMANDS, LazyGroup, softclay


@pytest.fixture
def run(aiida_profile):
    """Return a function that runs the command line in the profile of the tests."""

    def invoke(*arguments):
        return CliRunner().invoke(softclay, list(arguments), obj=None, env={'COLUMNS': '200'})

    return invoke


def test_help_lists_the_commands(run):
    """Each command whose module is there is listed, with its help."""
    result = run('--help')
    assert result.exit_code == 0, result.output
    for command in ('check', 'setup'):
        assert command in result.output


def test_every_command_is_what_it_is_called():
    """The table of commands and the commands agree."""
    import importlib
    import importlib.util

    for name, module in COMMANDS.items():
        if importlib.util.find_spec(module) is not None:
            assert getattr(importlib.import_module(module), name).name == name


def test_missing_module_is_no_command(run):
    """A command whose module is not there is not listed, and asking for it is answered with suggestions."""
    group = LazyGroup(
        'group', lazy_commands={'gone': 'aiida_softclay.cli.nonesuch', 'check': 'aiida_softclay.cli.check'}
    )
    assert CliRunner().invoke(group, ['--help']).output.count('gone') == 0
    result = CliRunner().invoke(group, ['chek'])
    assert result.exit_code != 0
    assert 'check' in result.output


def test_help_is_fast():
    """Asking for help, or completing a word, loads neither the engine of AiiDA nor the science."""
    code = (
        'import sys; from aiida_softclay.cli import softclay; import click; '
        'context = click.Context(softclay); softclay.list_commands(context); '
        'print([name for name in ("aiida.orm", "ase", "pymatgen", "h5py", "scipy", "pandas") if name in sys.modules])'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == '[]'


def test_check_says_what_is_missing_and_what_to_type(run, monkeypatch):
    """Without the codes and the potentials that are asked for the check fails and says what makes them."""
    from aiida_softclay.setup import health
    from aiida_softclay.setup.marker import Defaults

    monkeypatch.setattr(health, 'current_defaults', lambda: Defaults({'lmp': 'lmp@moon'}, 'nonesuch', 'moon', False))
    result = run('check', '--quick')
    assert result.exit_code == 1, result.output
    assert 'no code `lmp@moon`' in result.output
    assert 'no computer `moon`' in result.output
    assert 'no POTCAR family `nonesuch`' in result.output
    assert '-> code: ./setup_profile.sh' in result.output


def test_check_of_a_complete_profile(run, monkeypatch):
    """Findings without a failure end with status 0, and a warning shows its remedy."""
    from aiida_softclay.setup import health

    findings = [health.Finding('daemon', health.WARNING, 'it does not run', 'verdi daemon start')]
    monkeypatch.setattr(health, 'examine', lambda run_codes: findings)
    result = run('check')
    assert result.exit_code == 0, result.output
    assert '-> daemon: verdi daemon start' in result.output
