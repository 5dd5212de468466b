"""``softclay launch``: plans that cost nothing, and sentences for what cannot be launched."""

from __future__ import annotations

import pytest
import yaml
from aiida import load_profile, orm
from aiida.manage.configuration import Profile
from aiida.tools import delete_nodes
from aiida.tools.archive import import_archive
from click.testing import CliRunner
from launch_samples import MODEL, record_codes

from aiida_softclay.calculations.potcars import upload_placeholder_family
from aiida_softclay.cli.launch import launch
from aiida_softclay.cli.launching import bytes_text
from aiida_softclay.report.export import Options, take_away


def run(*arguments):
    return CliRunner().invoke(launch, [str(argument) for argument in arguments], terminal_width=200)


def nodes() -> int:
    return orm.QueryBuilder().append(orm.ProcessNode).count()


def make_code(computer, label, plugin):
    """Return a code that is never run: a dry run needs it on record only."""
    return orm.InstalledCode(
        label=label, computer=computer, filepath_executable=f'/opt/{label}', default_calc_job_plugin=plugin
    ).store()


@pytest.fixture
def profile(aiida_profile_clean, localhost):
    upload_placeholder_family('placeholders', ['Li', 'Ga', 'F', 'Cl', 'Mg'])
    record_codes(localhost)
    return localhost


@pytest.mark.parametrize('mixture', ['2LiCl-GaF3', 'MgCl2-GaF3'])
def test_dry_run_of_a_study_prints_its_plan_and_submits_nothing(profile, mixture):
    outcome = run('study', mixture, '--dry-run')
    assert outcome.exit_code == 0, outcome.output
    for stage in ('aimd:slab', 'aimd:melt', 'fit_potential', 'amorphous', 'stress_pulse', 'conductivity', 'core-hours'):
        assert stage in outcome.output
    assert nodes() == 0


def test_paper_scale_costs_more(profile):
    def last_number(protocol):
        outcome = run('study', '2LiCl-GaF3', '--dry-run', '--protocol', protocol)
        assert outcome.exit_code == 0, outcome.output
        total = next(line for line in outcome.output.splitlines() if line.startswith('all'))
        return float(total.split()[-1].replace(',', ''))

    assert last_number('paper') > 100 * last_number('demo')


def test_dry_runs_of_the_stages(profile, salt, potential, tmp_path):
    plan = tmp_path / 'plan.yaml'
    plan.write_text(
        yaml.safe_dump({'stages': [{'name': 'hot', 'kind': 'nvt', 'duration_ps': 1.0, 'temperature_K': 500.0}]})
    )
    for arguments in (
        ('aimd', 'LiCl'),
        ('md', salt.pk, plan, '--potential', potential.pk),
        ('stress-pulse', salt.pk, '--potential', potential.pk),
        ('constant-strain', salt.pk, '--potential', potential.pk),
        ('conductivity', salt.pk, '--potential', potential.pk),
    ):
        outcome = run(*arguments, '--dry-run')
        assert outcome.exit_code == 0, outcome.output
        assert 'core-hours' in outcome.output
        assert ('raw dumps' in outcome.output) == (arguments[0] != 'aimd')


def test_a_potential_that_came_without_its_model_is_refused(profile, salt, potential, tmp_path):
    uuid = potential.uuid
    take_away([potential], tmp_path / 'out', Options(('archive',), leave_out=('*.pb',)))
    delete_nodes([potential.pk], dry_run=False)
    import_archive(tmp_path / 'out' / 'archive.aiida')
    for arguments in (('study', 'LiCl-MgCl2'), ('amorphous', 'LiCl'), ('conductivity', salt.pk)):
        outcome = run(*arguments, '--potential', uuid, '--dry-run')
        assert outcome.exit_code != 0
        said = ' '.join(outcome.output.split())
        assert f'{MODEL.name} of PotentialData <{orm.load_node(uuid).pk}>' in said, said
        assert 'the archive that it came with left it out (left out as asked)' in said
        assert 'Traceback' not in said
    assert nodes() == 0


def test_dry_run_says_what_a_choice_of_elements_saves(profile, salt, potential, tmp_path):
    plan = tmp_path / 'plan.yaml'
    stages = [{'name': 'hot', 'kind': 'nvt', 'duration_ps': 10.0, 'temperature_K': 500.0}]
    texts = []
    for elements in (None, ['Li']):
        plan.write_text(yaml.safe_dump({'dump_every': 1, 'dump_elements': elements, 'stages': stages}))
        outcome = run('md', salt.pk, plan, '--potential', potential.pk, '--dry-run')
        assert outcome.exit_code == 0, outcome.output
        texts.append(' '.join(outcome.output.split()))
    n_atoms = len(salt.sites)
    sizes = [10_001 * (count * 6 + 192) for count in (n_atoms, n_atoms // 2)]
    for text, size in zip(texts, sizes, strict=True):
        assert f'trajectories in the repository {bytes_text(size)}' in text


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (('study', '2LiCl-GaF9'), 'GaF9'),
        (('study', 'LiCl-GaF2'), 'not neutral'),
        (('study', '2LiCl-GaF3', '--protocol', 'huge'), 'unknown protocol `huge`: choose from demo, balanced, paper'),
        (('study', '2LiCl-GaF3', '--family', 'nobody'), 'no POTCAR family nobody'),
        (('study', '2LiCl-GaF3', '--lmp', 'nothing@nowhere'), 'nothing@nowhere'),
        (('aimd', 'unobtainium'), 'neither a file nor the pk of a structure'),
        (('amorphous', '2LiCl-GaF3'), 'name a fitted potential with --potential'),
    ],
)
def test_wrong_requests_get_a_sentence(profile, arguments, sentence):
    outcome = run(*arguments, '--dry-run')
    assert outcome.exit_code != 0
    assert sentence in outcome.output
    assert 'Traceback' not in outcome.output
    assert nodes() == 0


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('amorphous: {temperature: 1}', 'unknown override `amorphous.temperature`'),
        ('amorphous: {overrides: {melt: {temperature_K: -5}}}', 'not a temperature'),
        ('[1, 2]', 'must hold a mapping'),
        ('a: [', 'is not YAML'),
    ],
)
def test_wrong_overrides_get_a_sentence(profile, tmp_path, text, sentence):
    path = tmp_path / 'overrides.yaml'
    path.write_text(text)
    outcome = run('study', '2LiCl-GaF3', '--dry-run', '--overrides', path)
    assert outcome.exit_code != 0
    assert sentence in outcome.output
    assert 'Traceback' not in outcome.output


def test_a_file_that_holds_no_structure_is_named(profile, tmp_path):
    path = tmp_path / 'POSCAR'
    path.write_text('no structure')
    outcome = run('aimd', path, '--dry-run')
    assert outcome.exit_code != 0
    assert f'{path} cannot be read as a structure' in outcome.output.replace('\n', '')


def test_potential_that_does_not_know_an_element_is_refused(profile, potential):
    outcome = run('study', '2LiCl-GaF3', '--potential', potential.pk, '--dry-run')
    assert outcome.exit_code != 0
    assert 'does not know F, Ga' in outcome.output


def test_plan_in_the_wrong_unit_is_refused(profile, salt, potential, tmp_path):
    plan = tmp_path / 'plan.yaml'
    stage = {'name': 'hot', 'kind': 'nvt', 'duration_ps': 1.0, 'temperature_K': 500.0}
    plan.write_text(yaml.safe_dump({'timestep_ps': 1.0, 'stages': [stage]}))
    outcome = run('md', salt.pk, plan, '--potential', potential.pk, '--dry-run')
    assert outcome.exit_code != 0
    assert 'probably in fs' in outcome.output


def test_several_codes_have_to_be_named(profile):
    make_code(profile, 'other-lmp', 'softclay.lammps')
    make_code(profile, 'third-lmp', 'softclay.lammps')
    outcome = run('study', '2LiCl-GaF3', '--dry-run')
    assert outcome.exit_code != 0
    assert 'several codes run lmp' in outcome.output
    assert run('study', '2LiCl-GaF3', '--dry-run', '--lmp', 'other-lmp').exit_code == 0


def test_without_a_broker_it_says_how_to_get_one(profile, salt, potential):
    outcome = run('glass-transition', salt.pk, '--potential', potential.pk)
    assert outcome.exit_code == 1
    assert 'nothing was submitted' in outcome.output
    assert 'has no broker' in outcome.output
    assert 'setup_profile.sh' in outcome.output
    assert nodes() == 0


def test_where_the_broker_is_stopped_it_says_what_starts_it(profile, salt, potential, monkeypatch):
    """The broker of such a profile ends with its daemon; that of the tests has none, and its daemon never runs."""
    monkeypatch.setattr(Profile, 'process_control_backend', 'core.zeromq')
    outcome = run('glass-transition', salt.pk, '--potential', potential.pk)
    assert outcome.exit_code == 1
    assert 'nothing was submitted: the daemon is not running' in outcome.output
    assert f'verdi -p {load_profile().name} daemon start' in outcome.output
    assert 'Traceback' not in outcome.output
    assert nodes() == 0


def test_protocols_are_printed_with_their_sources():
    outcome = run('protocols', 'study')
    assert outcome.exit_code == 0
    assert 'demo (default)' in outcome.output
    outcome = run('protocols', 'stress_pulse', 'paper')
    assert 'magnitude_mpa: 50.0' in outcome.output
    assert 'gupta2023' in outcome.output


def test_sizes_are_for_people():
    assert [bytes_text(count) for count in (0, 12, 1530000, 2.5e12)] == ['', '12 B', '1.53 MB', '2.5 TB']


def test_a_larger_network_costs_more_by_what_was_measured():
    """One core, 112 atoms: 0.0266 s a step with the network of the demo, 0.251 s with that of gupta2023."""
    from aiida_softclay.workflows.estimate import estimate_fit
    from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain

    hours = {}
    for protocol in ('demo', 'paper'):
        values = FitPotentialWorkChain.get_protocol_inputs(protocol)
        one = estimate_fit(values, n_atoms=112)
        hours[protocol] = one.core_hours / one.steps
        # A committee costs as many times as much.
        assert estimate_fit(values, 112, n_models=4).core_hours == pytest.approx(4 * one.core_hours)
    assert hours['demo'] * 3600 == pytest.approx(0.0266, rel=0.1)
    assert hours['paper'] * 3600 == pytest.approx(0.251, rel=0.1)
