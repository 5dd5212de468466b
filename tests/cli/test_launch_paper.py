"""``softclay launch paper``: the plan of a paper before anything is submitted."""

from __future__ import annotations

import pytest
from aiida import orm
from click.testing import CliRunner
from launch_samples import record_codes

from aiida_softclay.calculations.potcars import upload_placeholder_family
from aiida_softclay.cli.launch import launch


@pytest.fixture
def engines(aiida_profile_clean, localhost):
    upload_placeholder_family('placeholders', ['Li', 'Mg', 'Ga', 'Al', 'F', 'O', 'Cl'])
    record_codes(localhost)


def run(*arguments):
    return CliRunner().invoke(launch, ['paper', *arguments], terminal_width=200)


def test_dry_run_lists_every_step_of_a_paper(engines):
    outcome = run('yang2024', '--scale', 'demo', '--dry-run')
    assert outcome.exit_code == 0, outcome.output
    for step in ('thermodynamics: MgCl2-GaF3', 'potential: ', 'fit_potential', 'glass: MgCl2-GaF3', 'glass_transition',
                 'stress_pulse', 'conductivity_polycrystal', 'polycrystal: MgCl2'):  # fmt: skip
        assert step in outcome.output
    assert orm.QueryBuilder().append(orm.WorkChainNode).count() == 0


def test_dry_run_of_a_potential_names_the_crystals_of_its_proof(engines):
    """The proof takes the smallest crystals that are not sampled, as the workchain chooses them afterwards."""
    outcome = run('qyang2025', '--scale', 'demo', '-n')
    assert outcome.exit_code == 0, outcome.output
    for part in ('label:parity_AlOCl', 'label:tension_LiAlO2_gamma', 'aimd:AlOCl_1000K', 'md:AlOCl_1000K', 'predict'):
        assert f'potential: proof, {part}' in outcome.output
    assert 'proof, label:parity_LiAlCl4' not in outcome.output


def test_dry_run_of_a_line_through_several_temperatures(engines):
    outcome = run('dai2023', '--scale', 'paper', '-n')
    assert outcome.exit_code == 0, outcome.output
    assert 'arrhenius (line through 4 runs)' in outcome.output
    assert '3500 ps' in outcome.output or '3600 ps' in outcome.output


def test_scales_that_contradict_each_other_are_refused(engines):
    outcome = run('gupta2023', '--scale', 'demo', '--protocol', 'paper')
    assert outcome.exit_code != 0
    assert 'give one of them' in outcome.output
