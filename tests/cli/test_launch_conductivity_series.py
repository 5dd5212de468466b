"""``softclay launch conductivity-series``: what each temperature costs, and sentences for what cannot be run."""

from __future__ import annotations

import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_softclay.cli.launch import launch


def run(*arguments):
    return CliRunner().invoke(launch, ['conductivity-series', *map(str, arguments)], terminal_width=200)


def test_dry_run_has_a_line_for_each_temperature(salt_words):
    outcome = run(*salt_words, '--temperatures', '500,600,700', '--replicas', '2', '--at', '300,350')
    assert outcome.exit_code == 0, outcome.output
    lines = [line.split() for line in outcome.output.splitlines() if line.startswith('temperature_k_')]
    assert [words[0] for words in lines] == ['temperature_k_500_0', 'temperature_k_600_0', 'temperature_k_700_0']
    # Two runs of half a picosecond and six, in steps of 1 fs.
    assert all(words[1] == '2' and '13,000' in words for words in lines)
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == 0


def test_dry_run_says_when_runs_end(salt_words):
    outcome = run(*salt_words, '--temperatures', '600,700', '--error', '0.1', '--species', 'Li', '--max-duration', '50')
    assert outcome.exit_code == 0, outcome.output
    assert 'known to 10 %, at 50 ps at the latest' in ' '.join(outcome.output.split())


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (('--temperatures', 'hot,cold'), 'are no temperatures'),
        (('--temperatures', '500,-600'), 'is not a temperature'),
        (('--temperatures', '500,600', '--at', '0'), 'must be a list of temperatures'),
        (('--temperatures', '500,600', '--species', 'Na'), 'species Na is not in the structure'),
        (('--temperatures', '500,600', '--error', '0.1', '--max-duration', '1'), 'is below duration_ps'),
        (('--temperatures', '500', '--replicas', '1'), 'two runs at least'),
        (('--protocol', 'huge'), 'unknown protocol `huge`'),
    ],
)
def test_wrong_requests_get_a_sentence(salt_words, arguments, sentence):
    outcome = run(*salt_words, *arguments)
    assert outcome.exit_code != 0
    assert sentence in ' '.join(outcome.output.split())
