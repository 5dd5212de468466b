"""Reports of what runs, failed or is no study, and the command that writes them."""

from __future__ import annotations

import html

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from figure_samples import outputs_of
from page_reader import Page
from report_samples import MIXTURE, Study, calcfunction, number, table, workchain

from aiida_softclay.report import registry
from aiida_softclay.report.page import content_of, figures, render_page, write_report
from aiida_softclay.report.page.pictures import Picture


@pytest.fixture
def sketches(monkeypatch):
    """Leave out the drawing, where a test is about everything else."""
    picture = Picture('data:,', 'A picture that nobody looks at', 1, 1)
    monkeypatch.setattr(figures, 'panel_picture', lambda node, draw: picture)
    monkeypatch.setattr(figures, 'cell_picture', lambda structure, about: picture)


def test_failed_study_reports_what_there_is(aiida_profile, tmp_path, sketches):
    message = 'the amorphous model failed: 3 atoms < lost & gone'
    study = Study(tmp_path, glass=False, exit_status=403, message=message)
    content = content_of(study.node)
    page = Page(render_page(content))
    assert f'The study <{study.node.pk}> did not succeed: failed [403]: {message}.' in content.missing
    assert 'The conductivity run did not run.' in content.missing
    assert not any('fit of the potential did' in sentence for sentence in content.missing)
    assert {figure.title for figure in content.figures} == {
        'learning_energy',
        'learning_force',
        'test_energy',
        'test_force',
    }
    assert [found.heading for found in content.tables] == ['Potential']
    assert html.escape(message) in page.source
    assert not content.stages[0]['ok']
    assert 'Traceback' not in page.text
    assert 'There are no curves to draw.' in page.text
    assert 'There is no structure to draw.' in page.text


def test_numbers_of_a_study_from_the_cache_are_its_own(aiida_profile, tmp_path, sketches):
    """What another study collected names the nodes of that one: neither twice, nor by the keys of others."""
    first = Study(tmp_path, experiments=())
    second = Study(tmp_path, experiments=(), cached_from=first)
    tables = content_of(second.node).tables
    assert [found.heading for found in tables] == [found.heading for found in content_of(first.node).tables]
    shown = {row.node for found in tables for row in found.rows}
    assert shown == {node.pk for node in second.stages.values()}
    assert not shown & {node.pk for node in first.stages.values()}


def test_process_that_ended_with_a_warning_has_not_failed(aiida_profile):
    node = workchain('paper', 'PaperWorkChain', {}, exit_status=710, message='without those of: glass').node
    said = 'finished with a warning [710]: without those of: glass.'
    assert content_of(node).missing == [f'The runs of a paper <{node.pk}> {said}']


def test_study_that_runs_says_so(aiida_profile, tmp_path, sketches):
    study = Study(tmp_path, glass=False, fitted=False, state='running')
    content = content_of(study.node)
    assert content.missing[0] == f'The study <{study.node.pk}> has not ended yet: this is what there is so far.'
    assert 'The fit of the potential has not started yet.' in content.missing
    assert 'The ab initio sampling has not started yet.' not in content.missing
    assert content.stages[0]['ok'], 'what runs has not failed'
    text = Page(render_page(content)).text
    assert 'There are no numbers yet, so that none carries a warning.' in text
    assert 'There is no machine-learned potential here.' in text
    assert 'No number here answers a published one.' in text


def test_process_that_raised_is_told_in_its_last_line(aiida_profile):
    made = workchain('amorphous', 'AmorphousWorkChain', {'mixture': orm.Str(MIXTURE)}, state='excepted')
    made.node.set_exception('Traceback (most recent call last):\n  File "secret.py"\nValueError: no such cell')
    content = content_of(made.node)
    assert content.missing == [
        f'The amorphous model <{made.node.pk}> did not succeed: stopped by an error: ValueError: no such cell.'
    ]
    assert 'secret.py' not in render_page(content)


def test_analysis_has_a_page(aiida_profile, tmp_path):
    made = calcfunction('analyse_arrhenius', {'parameters': orm.Dict({'quantity': 'diffusivity.Li'})})
    made.gives(**outputs_of('arrhenius', tmp_path))
    content = content_of(made.node)
    assert [figure.title for figure in content.figures] == ['arrhenius']
    assert content.tables[0].rows[0].unit == 'eV'
    assert Page(render_page(content)).headings[0][1] == 'Analysis arrhenius'


def test_function_is_called_again_with_its_inputs(measured_again):
    """The lines of the page, typed as they stand, give the same number from the same nodes."""
    node, again = measured_again
    assert again.pk != node.pk
    assert again.process_label == node.process_label
    inputs = [sorted(link.node.uuid for link in found.base.links.get_incoming(node_class=orm.Data).all())
              for found in (node, again)]  # fmt: skip
    assert inputs[0] == inputs[1]


@pytest.fixture
def measured_again(aiida_profile_clean):
    from aiida_softclay.calcfunctions.arrhenius import analyse_arrhenius

    runs = {}
    for T in (350.0, 400.0, 450.0):
        value = 1e-2 * np.exp(-0.3 / (8.617e-5 * T))
        row = number('diffusivity.Li', value, 0.1 * value, 'cm^2/s', conditions={'temperature_K': T})
        runs[f'run_{T:.0f}'] = table(row)
    _, node = analyse_arrhenius.run_get_node(orm.Dict({'quantity': 'diffusivity.Li'}), **runs)
    assert node.is_finished_ok, node.exit_message
    lines = next(lines for text, lines in content_of(node).again if text.startswith('Exactly'))
    exec(lines, {'load_node': orm.load_node, 'orm': orm})  # noqa: S102 - what the page tells to type
    functions = orm.QueryBuilder().append(orm.CalcFunctionNode).order_by({orm.CalcFunctionNode: {'id': 'asc'}})
    return node, functions.all(flat=True)[-1]


def test_analysis_on_a_run_of_a_model_says_so(aiida_profile, tmp_path, sketches):
    """Nothing in the inputs of an analysis names the labels: they stand behind the potential of the run."""
    study = Study(tmp_path, experiments=('conductivity',))
    content = content_of(study.analysed())
    assert content.caution.startswith('Energies and forces behind these numbers come from CHGNet 0.3.0')
    assert content.potential['pk'] == study.potential.pk
    assert [box.layer for box in content.chain.boxes][-2:] == ['analysis', 'numbers']


def test_aimd_is_drawn_through_its_seams(aiida_profile):
    from matplotlib import pyplot as plt

    from aiida_softclay.report.figures import panels_of

    segment = np.repeat([0, 1], [30, 20])
    series = orm.ArrayData({
        'time_fs': 2.0 * np.arange(50), 'segment_index': segment, 'temperature_K': 300.0 + segment,
        'free_energy_eV': np.linspace(-80.0, -72.0, 50),
    })  # fmt: skip
    made = workchain('aimd', 'AimdWorkChain', {})
    made.gives(series=series, structure=orm.StructureData(ase=bulk('LiCl', 'rocksalt', 5.1, cubic=True)))
    _, axes = plt.subplots()
    node, draw = panels_of(made.node)['aimd_energy']
    draw(axes, node)
    curve, seam = axes.lines
    assert np.allclose(curve.get_ydata()[[0, -1]], [-10.0, -9.0])
    assert np.allclose(seam.get_xdata(), 0.06)
    assert axes.get_ylabel() == 'energy (eV/atom)'
    plt.close('all')
    content = content_of(made.node)
    assert [(figure.title, figure.chapter) for figure in content.figures] == [
        ('aimd_temperature', 'sampling'), ('aimd_energy', 'sampling'),
    ]  # fmt: skip
    assert all(figure.definition for figure in content.figures)


def test_curve_that_cannot_be_drawn_costs_no_other(aiida_profile):
    made = workchain('conductivity', 'ConductivityWorkChain', {})
    made.gives(results=table(number('diffusivity.Li', 1e-6, 1e-7, 'cm^2/s')), curve=orm.ArrayData({'nonsense': [1.0]}))
    content = content_of(made.node)
    (figure,) = content.figures
    assert figure.picture is None
    assert figure.problem == f'msd could not be drawn: ArrayData <{made.node.outputs.curve.pk}> has no array lag_time'
    page = Page(render_page(content))
    assert figure.problem in page.text.replace("' ", "'")
    assert '(1.00 ± 0.10)×10⁻⁶' in page.text


@pytest.fixture
def logged(monkeypatch, caplog):
    """What catches the logger of reports, whatever AiiDA has set up above it."""
    monkeypatch.setattr(figures.LOGGER, 'propagate', False)
    figures.LOGGER.addHandler(caplog.handler)
    yield caplog
    figures.LOGGER.removeHandler(caplog.handler)


@pytest.mark.parametrize('broken', [ValueError('7 lags and 8 values'), FileNotFoundError('it was left out')])
def test_data_that_do_not_fit_are_said_and_not_logged(aiida_profile, monkeypatch, logged, broken):
    figure = figure_with(monkeypatch, broken)
    assert figure.problem == f'msd could not be drawn: {broken}'
    assert not logged.records


@pytest.mark.parametrize('broken', [TypeError('msd() takes 1 argument'), KeyError('lag'), AttributeError('no colour')])
def test_mistake_of_the_program_is_said_and_logged(aiida_profile, monkeypatch, logged, broken):
    figure = figure_with(monkeypatch, broken)
    assert figure.picture is None
    assert f'by a mistake of aiida-softclay and not of the data: drawing failed with {type(broken).__name__}' in (
        figure.problem
    )
    (record,) = logged.records
    assert record.getMessage() == 'msd could not be drawn'
    assert record.exc_info[1] is broken


def figure_with(monkeypatch, broken):
    """Return the one figure of a page whose drawing raises."""

    def draw(axes, node):
        raise broken

    monkeypatch.setitem(registry.REGISTRY, 'conductivity', lambda source: iter([('msd', source.curve, draw)]))
    (figure,) = content_of(conductivity().node).figures
    return figure


def conductivity():
    made = workchain('conductivity', 'ConductivityWorkChain', {})
    made.gives(results=table(number('diffusivity.Li', 1e-6, 1e-7, 'cm^2/s')), curve=orm.ArrayData({'lag_time': [1.0]}))
    return made


def test_mistake_that_finds_no_panels_costs_no_other_part(aiida_profile, monkeypatch, sketches):
    def panels(source):
        raise RuntimeError('not thought of')

    monkeypatch.setitem(registry.REGISTRY, 'conductivity', panels)
    (figure,) = content_of(conductivity().node).figures
    assert 'drawing failed with RuntimeError: not thought of' in figure.problem
    assert figure.picture is None


def test_traceback_is_printed_beside_the_page(aiida_profile, monkeypatch, tmp_path):
    """Typed by a user: the page is whole on the standard output, the traceback on the standard error."""
    from click.testing import CliRunner

    from aiida_softclay.cli import softclay

    def draw(axes, node):
        raise TypeError('msd() takes 1 argument')

    monkeypatch.setitem(registry.REGISTRY, 'conductivity', lambda source: iter([('msd', source.curve, draw)]))
    outcome = CliRunner().invoke(softclay, ['report', str(conductivity().node.pk), '-o', '-'])
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.startswith('<!DOCTYPE html>')
    assert 'Traceback' not in outcome.stdout
    assert 'drawing failed with TypeError' in outcome.stdout
    assert 'Error: msd could not be drawn\nTraceback (most recent call last)' in outcome.stderr
    assert 'TypeError: msd() takes 1 argument' in outcome.stderr


def test_foreign_process_is_refused(aiida_profile, tmp_path):
    other = calcfunction('add', {})
    with pytest.raises(ValueError, match='is no study, stage, experiment or analysis of this package'):
        write_report(other.node, tmp_path / 'page.html')
    assert not (tmp_path / 'page.html').exists()


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Run the command in an empty folder, on a page that takes no time."""
    from click.testing import CliRunner

    from aiida_softclay.cli.report import report

    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(report, [str(argument) for argument in arguments])


def test_command_writes_once_and_replaces_when_told(aiida_profile, command, tmp_path):
    node = workchain('amorphous', 'AmorphousWorkChain', {'mixture': orm.Str(MIXTURE)}).node
    path = tmp_path / f'softclay-report-{node.pk}.html'
    done = command(node.pk)
    assert done.exit_code == 0, done.output
    assert path.name in done.output
    path.write_text('mine', encoding='utf-8')
    refused = command(node.pk)
    assert refused.exit_code != 0
    assert '--force' in refused.output
    assert path.read_text(encoding='utf-8') == 'mine'
    assert command(node.pk, '--force').exit_code == 0
    assert path.read_text(encoding='utf-8').startswith('<!DOCTYPE html>')
    assert command(node.pk, '-o', 'other.html').exit_code == 0
    assert (tmp_path / 'other.html').exists()
    printed = command(node.pk, '-o', '-')
    assert printed.stdout.startswith('<!DOCTYPE html>')
    assert printed.stdout.rstrip().endswith('</html>')


def test_command_ends_with_a_sentence(aiida_profile, command):
    outcome = command(calcfunction('add', {}).node.pk)
    assert outcome.exit_code != 0
    assert 'is no study' in outcome.output
    node = workchain('amorphous', 'AmorphousWorkChain', {}).node
    outcome = command(node.pk, '-o', 'no/such/folder/page.html')
    assert outcome.exit_code != 0
    assert 'cannot be written' in outcome.output
    assert 'Traceback' not in outcome.output
