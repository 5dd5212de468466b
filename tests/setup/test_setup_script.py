"""``setup_profile.sh`` as a stranger meets it: its options, its exit statuses, and what it leaves alone."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from aiida_softclay.setup.errors import ExitStatus

SCRIPT = Path(__file__).parents[2] / 'setup_profile.sh'

NODES = """
import json
from aiida import load_profile, orm
from aiida.manage import get_config
profile = load_profile('{name}')
config = get_config()
codes = orm.QueryBuilder().append(orm.InstalledCode).all(flat=True)
computer = orm.load_computer('localhost')
print(json.dumps({{
    'default': config.default_profile_name,
    'broker': profile.process_control_backend,
    'storage': profile.storage_backend,
    'options': {{key: config.get_option(key, scope='{name}') for key in
                ('daemon.timeout', 'runner.poll.interval', 'caching.default_enabled')}},
    'codes': sorted((code.pk, code.full_label, code.default_calc_job_plugin) for code in codes),
    'nodes': orm.QueryBuilder().append(orm.Node).count(),
    'limit': computer.get_property('softclay_max_jobs'),
    'poll': computer.get_minimum_job_poll_interval(),
    'workdir': computer.get_workdir(),
}}))
"""


def test_syntax():
    """Bash reads the script without complaint."""
    assert subprocess.run(['bash', '-n', str(SCRIPT)], check=False).returncode == 0


def test_help_names_every_option_and_status(sandbox):
    """What the script understands is what it explains, and the statuses are those of the Python side."""
    text = sandbox.run(SCRIPT, '--help')
    assert text.returncode == 0
    source = SCRIPT.read_text(encoding='utf-8')
    parsing = source[source.index('while (($#))') : source.index('command=${command:-setup}')]
    parsing = re.sub(r'^ *#.*$', '', parsing, flags=re.MULTILINE)
    understood = set(re.findall(r'(?<!=)(--[a-z-]+)(?= |\))', parsing)) - {'--'}
    assert len(understood) > 20
    assert understood <= set(re.findall(r'--[a-z-]+', text.stdout))
    explained = {int(number) for number in re.findall(r'(?:^|\s)(\d+) (?=[a-zP])', text.stdout.split('statuses')[1])}
    assert {int(status) for status in ExitStatus} <= explained


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['frobnicate'], 'unknown command or option'),
        (['--frobnicate'], 'unknown command or option'),
        (['demo', 'test'], 'two commands'),
        (['--profile'], 'needs a value'),
        (['--max-jobs', '0'], 'positive number'),
        (['--max-jobs=many'], 'positive number'),
        (['--profile', 'a b;c'], 'a profile is named with'),
    ],
)
def test_wrong_usage(sandbox, arguments, sentence):
    """Wrong usage ends with status 2 and a sentence, before anything is made."""
    result = sandbox.run(SCRIPT, *arguments)
    assert result.returncode == ExitStatus.USAGE
    assert sentence in result.stderr
    assert list(sandbox.folder.iterdir()) == []


def test_no_environment_and_no_installation(sandbox):
    """Without an environment to use and without leave to make one, nothing can be done."""
    result = sandbox.run(SCRIPT, '--no-install', '--venv', 'nowhere')
    assert result.returncode == ExitStatus.PYTHON
    assert 'no virtual environment' in result.stderr


def test_something_else_in_the_place_of_the_environment(sandbox):
    """A folder that is no virtual environment is neither used nor removed."""
    (sandbox.folder / 'mine').mkdir()
    (sandbox.folder / 'mine' / 'thesis.txt').write_text('precious')
    assert sandbox.run(SCRIPT, '--venv', 'mine').returncode == ExitStatus.PYTHON
    assert sandbox.run(SCRIPT, 'remove', '--yes', '--venv', 'mine').returncode == 0
    assert (sandbox.folder / 'mine' / 'thesis.txt').read_text() == 'precious'


def test_vasp_without_potcars(sandbox):
    """A real VASP without POTCAR files could not run: refused before the profile is made."""
    result = sandbox.script('--vasp', '/bin/true')
    assert result.returncode == ExitStatus.USAGE
    assert '--potcars' in result.stderr
    assert not (sandbox.folder / '.aiida' / 'softclay' / 'softclay').exists()


def test_life_of_a_profile(sandbox):
    """Made, made again without change, bounded anew, not removed without leave, removed without trace."""
    wanted = ('--max-jobs', '3', '--analyse', 'softclay-analyse')
    first = sandbox.script(*wanted)
    assert first.returncode == 0, first.stderr
    made = json.loads(sandbox.python(NODES.format(name='softclay')))
    assert made['default'] == 'softclay'
    assert (made['storage'], made['broker']) == ('core.sqlite_dos', 'core.zeromq')
    assert made['options'] == {'daemon.timeout': 30, 'runner.poll.interval': 1, 'caching.default_enabled': True}
    labels = ['lmp@localhost', 'dp@localhost', 'vasp@localhost', 'analyse@localhost']
    assert [label for _, label, _ in made['codes']] == labels
    assert made['limit'] == 3
    assert made['workdir'].startswith(str(sandbox.folder))

    again = sandbox.script(*wanted)
    assert again.returncode == 0, again.stderr
    assert json.loads(sandbox.python(NODES.format(name='softclay'))) == made

    kept = sandbox.script('remove')
    assert kept.returncode == ExitStatus.REFUSED
    assert json.loads(sandbox.python(NODES.format(name='softclay'))) == made

    other = sandbox.script('--postgres')
    assert other.returncode == ExitStatus.PROFILE
    assert 'core.sqlite_dos' in other.stderr

    removed = sandbox.script('remove', '--yes')
    assert removed.returncode == 0, removed.stderr
    assert 'softclay' not in json.loads((sandbox.folder / '.aiida' / 'config.json').read_text())['profiles']
    assert not (sandbox.folder / '.aiida' / 'softclay' / 'softclay').exists()
    assert sandbox.script('remove', '--yes').returncode == 0


def test_profile_of_somebody_else(sandbox):
    """A profile that the script did not make is neither changed nor removed, and stays the default."""
    make = (
        'verdi profile setup core.sqlite_dos --non-interactive --profile-name softclay --email me@here --set-as-default'
    )
    assert sandbox.run(*make.split()).returncode == 0
    config = sandbox.folder / '.aiida' / 'config.json'
    before = config.read_text()
    for arguments, status in (((), ExitStatus.PROFILE), (('remove', '--yes'), ExitStatus.REFUSED)):
        result = sandbox.script(*arguments)
        assert result.returncode == status
        assert 'not make' in result.stderr or 'not made' in result.stderr
        assert config.read_text() == before

    assert sandbox.script('--profile', 'ours').returncode == 0
    assert json.loads(config.read_text())['default_profile'] == 'softclay'
    assert sandbox.script('remove', '--yes', '--profile', 'ours').returncode == 0
    assert list(json.loads(config.read_text())['profiles']) == ['softclay']
    assert json.loads(config.read_text())['default_profile'] == 'softclay'
