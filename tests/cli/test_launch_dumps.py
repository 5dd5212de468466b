"""Dry runs say where large dumps will lie and who reads them; runs that nothing could analyse are refused."""

from __future__ import annotations

import pytest
import yaml
from aiida import orm
from click.testing import CliRunner
from launch_samples import record_codes

from aiida_softclay.calculations.potcars import upload_placeholder_family
from aiida_softclay.cli.launch import launch
from aiida_softclay.cli.launching import bytes_text
from aiida_softclay.workflows.conductivity import ConductivityWorkChain


def run(*arguments):
    return CliRunner().invoke(launch, [str(argument) for argument in arguments], terminal_width=200)


def text_of(*arguments):
    outcome = run(*arguments, '--dry-run')
    assert outcome.exit_code == 0, outcome.output
    return ' '.join(outcome.output.split())


@pytest.fixture
def profile(aiida_profile_clean, localhost):
    record_codes(localhost)
    return localhost


@pytest.fixture
def reader(profile):
    def make(label='readers', computer=profile):
        return orm.InstalledCode(
            label=label, computer=computer, filepath_executable=f'/opt/{label}',
            default_calc_job_plugin='softclay.analysis',
        ).store()  # fmt: skip

    return make


def frames_of(atoms):
    plan = ConductivityWorkChain.build_plan(ConductivityWorkChain.get_protocol_inputs())
    return plan.dump_bytes(atoms), plan.stored_bytes(atoms)


def test_the_place_of_large_dumps_is_in_the_plan(profile, salt, potential, reader):
    arguments = ('conductivity', salt.pk, '--potential', potential.pk)
    atoms = salt.get_ase().symbols.formula.count()
    raw, kept = frames_of(atoms)
    whole = text_of(*arguments)
    assert f'trajectories in the repository {bytes_text(kept)}.' in whole
    assert 'Too large' not in whole
    reader()
    text = text_of(*arguments, '--max-retrieved', '1e-9', '--stash', '/archive/me')
    assert 'trajectories in the repository 0 B.' in text
    assert (
        f'Too large to be retrieved: conductivity. Raw dumps of {bytes_text(raw)} and the trajectories made of them, '
        f'{bytes_text(kept)}, stay on {profile.label}, read there by readers@{profile.label}, copied to /archive/me.'
    ) in text
    # A dry run leaves nothing behind.
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == 0


def test_a_code_is_made_where_the_program_is(profile, salt, potential):
    text = text_of('constant-strain', salt.pk, '--potential', potential.pk, '--max-retrieved', '1e-9')
    assert f'read there by analyse@{profile.label}.' in text
    assert orm.load_code(f'analyse@{profile.label}').default_calc_job_plugin == 'softclay.analysis'


def test_a_study_says_it_of_all_its_runs(profile, reader):
    upload_placeholder_family('placeholders', ['Li', 'Ga', 'F', 'Cl'])
    reader()
    text = text_of('study', '2LiCl-GaF3', '--max-retrieved', '1e-6', '--stash', '/archive/me')
    assert 'Too large to be retrieved: amorphous, stress_pulse, constant_strain, conductivity. Raw dumps of' in text
    assert f'stay on {profile.label}, read there by readers@{profile.label}, copied to /archive/me.' in text


def test_the_code_is_the_one_on_that_computer(profile, salt, potential, reader, aiida_computer_local):
    arguments = ('conductivity', salt.pk, '--potential', potential.pk, '--max-retrieved', '1e-9')
    first, _ = reader('first'), reader('second')
    outcome = run(*arguments, '--dry-run')
    assert outcome.exit_code != 0
    assert 'choose with --analyse from first@' in outcome.output
    assert 'Give analysis_code' in outcome.output
    assert f'read there by {first.full_label}' in text_of(*arguments, '--analyse', first.full_label)
    elsewhere = reader('elsewhere', aiida_computer_local(label='elsewhere'))
    outcome = run(*arguments, '--analyse', elsewhere.full_label, '--dry-run')
    assert 'the job would run on elsewhere' in outcome.output
    assert outcome.exit_code != 0
    outcome = run(*arguments, '--analyse', 'nobody@nowhere', '--dry-run')
    assert '--analyse nobody@nowhere' in outcome.output
    outcome = run(*arguments, '--analyse', first.full_label, '--stash', 'here', '--dry-run')
    assert 'given with its whole path' in outcome.output


def test_series_and_other_experiments_take_the_same_options(profile, salt, potential, reader, tmp_path):
    reader()
    plan = tmp_path / 'plan.yaml'
    stages = [{'name': 'hot', 'kind': 'nvt', 'duration_ps': 1.0, 'temperature_K': 500.0}]
    plan.write_text(yaml.safe_dump({'stages': stages}))
    common = ('--potential', potential.pk, '--max-retrieved', '1e-9')
    for arguments in (
        ('conductivity-series', salt.pk, '--temperatures', '600,700', '--replicas', '2'),
        ('constant-strain', salt.pk),
        ('stress-pulse-series', salt.pk, '--vary', 'magnitude_mpa=10,50', '--replicas', '2'),
        ('glass-transition', salt.pk),
        ('md', salt.pk, plan),
    ):
        text = text_of(*arguments, *common)
        assert f'stay on {profile.label}, read there by readers@' in text, arguments
    raw, _ = frames_of(salt.get_ase().symbols.formula.count())
    text = text_of('conductivity-series', salt.pk, '--temperatures', '600,700', '--replicas', '2', *common)
    assert f'Raw dumps of {bytes_text(4 * raw)}' in text


def test_frames_of_one_element_are_smaller(profile, salt, potential, tmp_path):
    overrides = tmp_path / 'lithium.yaml'
    overrides.write_text('dump_elements: [Li]\n')
    atoms = salt.get_ase().symbols.formula.count()
    text = text_of('conductivity', salt.pk, '--potential', potential.pk, '--overrides', overrides)
    assert f'trajectories in the repository {bytes_text(frames_of({"Li": atoms["Li"]})[1])}.' in text
