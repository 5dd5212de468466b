"""``softclay launch glass-transition``: what each rate costs, and sentences for what cannot be cooled."""

from __future__ import annotations

import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_softclay.cli.launch import launch


def run(*arguments):
    return CliRunner().invoke(launch, ['glass-transition', *map(str, arguments)], terminal_width=200)


def test_dry_run_has_a_line_for_each_rate(salt_words):
    outcome = run(*salt_words, '--rates', '10,100', '--mode', 'cooling')
    assert outcome.exit_code == 0, outcome.output
    steps = {line.split()[0]: line for line in outcome.output.splitlines() if 'K/ps' in line}
    assert set(steps) == {'10', '100'}
    # 800 K at 10 K/ps in steps of 1 fs, after one picosecond of equilibration.
    assert '81,000' in steps['10']
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == 0


def test_dry_run_of_the_rate_of_the_protocol_and_of_one_rate(salt_words):
    for arguments, rate in (((), '50 K/ps'), (('--rates', '5'), '5 K/ps')):
        outcome = run(*salt_words, *arguments)
        assert outcome.exit_code == 0, outcome.output
        assert rate in outcome.output


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (('--rates', 'fast,slow'), 'are no cooling rates'),
        (('--rates', '1,1'), 'given twice'),
        (('--rates', '1,-1'), 'is not a cooling rate'),
        (('--rates', '1,100000'), 'rows are averaged'),
        (('--protocol', 'huge'), 'unknown protocol `huge`'),
    ],
)
def test_wrong_requests_get_a_sentence(salt_words, arguments, sentence):
    outcome = run(*salt_words, *arguments)
    assert outcome.exit_code != 0
    assert sentence in outcome.output
    assert 'Traceback' not in outcome.output


def test_a_potential_is_needed(salt_words):
    assert 'name a fitted potential' in run(salt_words[0]).output
