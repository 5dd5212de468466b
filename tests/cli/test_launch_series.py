"""``softclay launch …-series``: points, runs, steps and bytes before anything starts; sentences for bad requests."""

from __future__ import annotations

import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_softclay.cli.launch import launch


def run(*arguments):
    return CliRunner().invoke(launch, list(map(str, arguments)), terminal_width=200)


@pytest.mark.parametrize(
    ('command', 'arguments', 'points', 'runs', 'steps'),
    [
        # 100 ps before, then three times 400 ps on and off, in steps of 1 fs.
        ('stress-pulse', ('--protocol', 'paper', '--replicas', 3), ('magnitude_mpa_10_0', 'magnitude_mpa_50_0'), 6,
         6 * 2_500_000),
        ('stress-pulse', ('--vary', 'magnitude_mpa=10,50', '--vary', 'component=yz,xz', '--replicas', 2),
         ('magnitude_mpa_10_component_yz', 'magnitude_mpa_50_component_xz'), 8, 8 * 2500),
        # A strain of 0.2 at 1e-3 per ps is 200 ps, at 1e-2 it is 20; 50 before.
        ('constant-strain', ('--protocol', 'paper', '--vary', 'rate_per_ps=1e-3,1e-2', '--replicas', 1),
         ('rate_per_ps_0_001', 'rate_per_ps_0_01'), 2, 320_000),
    ],
)  # fmt: skip
def test_dry_run_has_a_line_for_each_point(salt_words, command, arguments, points, runs, steps):
    outcome = run(f'{command}-series', *salt_words, *arguments)
    assert outcome.exit_code == 0, outcome.output
    lines = {line.split()[0]: line.split() for line in outcome.output.splitlines() if line.strip()}
    assert set(points) <= set(lines)
    assert lines['all'][1] == str(runs)
    assert 'MB' in outcome.output or 'kB' in outcome.output
    assert f'{steps:,}' in lines['all']
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == 0


@pytest.mark.parametrize(
    ('command', 'arguments', 'sentence'),
    [
        ('stress-pulse', ('--vary', 'magnitude=10'), 'there is no parameter `magnitude` to vary'),
        ('stress-pulse', ('--vary', 'magnitude_mpa=10,0'), 'magnitude_mpa is 0'),
        ('stress-pulse', ('--vary', 'magnitude_mpa=10,50', '--replicas', 40), '80 runs, more than max_runs = 64'),
        ('stress-pulse', ('--replicas', 4, '--max-runs', 7), '8 runs, more than max_runs = 7'),
        ('stress-pulse', ('--vary', 'magnitude_mpa=10', '--replicas', 1), 'two runs at least'),
        ('constant-strain', ('--vary', 'rate_per_ps=0.1,fast'), 'could not convert'),
        ('constant-strain', ('--vary', 'maximum_strain=0.2,3'), 'have to be flipped'),
        ('constant-strain', ('--protocol', 'huge'), 'unknown protocol `huge`'),
    ],
)
def test_wrong_requests_get_a_sentence(salt_words, command, arguments, sentence):
    outcome = run(f'{command}-series', *salt_words, *arguments)
    assert outcome.exit_code != 0
    assert sentence in ' '.join(outcome.output.split())
    assert 'Traceback' not in outcome.output


def test_a_potential_is_needed(salt_words):
    assert 'name a fitted potential' in run('constant-strain-series', salt_words[0]).output
