"""The report of a study as a page: complete, escaped, readable without its pictures, and without a network."""

from __future__ import annotations

import base64
import html
import importlib
import inspect
import itertools
import re

import numpy as np
import pytest
from aiida import orm
from page_reader import Page
from report_samples import CHGNET, HOSTILE, MIXTURE, Study, number, table, workchain

from aiida_softclay.report import registry
from aiida_softclay.report.page import chain as chain_module
from aiida_softclay.report.page import content_of, figures, render_page
from aiida_softclay.report.page.captions import CHAPTER_OF, DEFINITIONS, definition_of
from aiida_softclay.report.page.chain import LAYERS
from aiida_softclay.report.page.chain_drawing import draw_chain
from aiida_softclay.report.page.inputs import ARGUMENTS, launch_command
from aiida_softclay.report.page.numbers import value_text
from aiida_softclay.report.page.parts import parts_of
from aiida_softclay.report.page.pictures import Picture, panel_picture, plain
from aiida_softclay.report.registry import Source, panels_from
from aiida_softclay.report.scorecard_table import scorecard

LARGEST_PAGE = 4_000_000
#: Attributes by which a browser fetches something.
FETCHING = {'src', 'srcset', 'href', 'poster', 'data', 'action', 'background', 'xlink:href', 'formaction', 'ping'}


class Sample:
    """A study, what a report says of it, and the page."""

    def __init__(self, study):
        self.study = study
        self.content = content_of(study.node)
        self.page = Page(render_page(self.content))


@pytest.fixture(scope='module')
def whole(aiida_profile, tmp_path_factory):
    study = Study(tmp_path_factory.mktemp('study'), label=HOSTILE)
    study.later = study.analysed()
    return Sample(study)


def test_page_is_whole_and_small(whole):
    page = whole.page
    assert not page.open
    assert page.source.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert len(page.source.encode()) < LARGEST_PAGE
    for heading in ('Warnings', 'Where it comes from', 'Potential', 'The cell', 'Figures', 'Numbers',
                    'Against the papers', 'Inputs and versions', 'Do it again'):  # fmt: skip
        assert (2, heading) in page.headings
    anchors = {attrs['id'] for _, attrs in page.tags if 'id' in attrs}
    assert len(anchors) == sum('id' in attrs for _, attrs in page.tags)
    for tag, attrs in page.tags:
        if tag == 'a':
            assert attrs['href'].removeprefix('#') in anchors


def test_page_asks_nothing_of_the_network(whole):
    policy = next(attrs['content'] for tag, attrs in whole.page.tags if attrs.get('http-equiv'))
    assert policy.startswith("default-src 'none'")
    for tag, attrs in whole.page.tags:
        assert tag not in {'script', 'iframe', 'object', 'embed', 'base', 'form'}
        for name in FETCHING & attrs.keys():
            assert attrs[name].startswith(('data:', '#')), f'{tag} {name}={attrs[name][:80]}'
        assert not any(name.startswith('on') for name in attrs)
    assert not re.search(r'url\(|@import', whole.page.source)
    for picture in vectors(whole.page):
        assert '<script' not in picture
        targets = re.findall(r'href="([^"]*)"', picture)
        assert all(target.startswith(('#', 'data:image/png')) for target in targets)
        assert all(target.startswith('#') for target in re.findall(r'url\(([^)]*)\)', picture))
        assert not re.search(r'<!DOCTYPE', picture)


def vectors(page):
    marker = 'data:image/svg+xml;base64,'
    return [base64.b64decode(attrs['src'].removeprefix(marker)).decode() for attrs in page.images()
            if attrs['src'].startswith(marker)]  # fmt: skip


def test_pictures_are_vectors_or_pixels_by_their_points(whole):
    kinds = [attrs['src'].partition(';')[0] for attrs in whole.page.images()]
    assert {'data:image/svg+xml', 'data:image/png'} == set(kinds)
    assert kinds.count('data:image/svg+xml') > 10
    source = Source(None, {'curve': whole.study.node.outputs.curves.conductivity})
    node, draw = panels_from('conductivity', source)['msd']
    first = panel_picture(node, draw)
    assert first == panel_picture(node, draw)
    assert first.source.startswith('data:image/svg')


def test_every_picture_says_what_it_shows(whole):
    assert len(whole.page.images()) > 20
    for attrs in whole.page.images():
        assert len(attrs['alt']) > 25
        assert not re.search(r'[$\\]|_\{', attrs['alt'])
        assert int(attrs['width']) > 0
        assert int(attrs['height']) > 0
    alts = [attrs['alt'] for attrs in whole.page.images()]
    assert any(
        alt.startswith('Mean squared displacement: MSD (Å²) against lag time (ps). Shown: Cl, Li') for alt in alts
    )
    assert any('Ga' in alt and '18.4 × 18.4 × 18.4 Å' in alt for alt in alts)
    chain = next(attrs for tag, attrs in whole.page.tags if attrs.get('role') == 'img')
    assert f'Potential <{whole.study.potential.pk}> from Fit of the potential' in chain['aria-label']


@pytest.mark.parametrize(
    ('text', 'words'),
    [('mean $D^2_{min}$ (Å²)', 'mean D²min (Å²)'), ('γ$_{yz}$', 'γyz'), ('$\\mathdefault{10}$', '10')],
)
def test_marks_of_type_are_no_words(text, words):
    assert plain(text) == words


def test_headings_descend_by_one(whole):
    levels = [level for level, _ in whole.page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert whole.page.headings[0][1] == f'Study of {MIXTURE}'


def test_every_number_stands_with_its_node_and_its_warnings(whole):
    numbers = whole.study.node.outputs.results['numbers']
    rows = {(row.name, row.node): row for found in whole.content.tables for row in found.rows}
    for stage, node in whole.study.stages.items():
        mine = [given for given in numbers if given['source'] == node.uuid]
        assert mine
        for given in mine:
            shown = rows[given['name'].removeprefix(f'{stage}.'), node.pk]
            assert shown.value == value_text(given['value'], given['error'])
            assert shown.definition == given['definition']
            assert shown.warnings == given['warnings']
    assert sum(len(found.rows) for found in whole.content.tables if 'on its own' not in found.heading) == len(numbers)
    assert '2.410 ± 0.020' in whole.page.text
    assert f'<{whole.study.stages["amorphous"].pk}>' in whole.page.text
    assert dict(whole.content.warnings)['the energy still drifts by 0.1 σ'] == ['potential_energy']
    assert 'the energy still drifts by 0.1 σ (potential_energy)' in whole.page.text


def test_what_was_launched_later_is_there(whole):
    title = f'Analysis mobility_classes, launched on its own as <{whole.study.later.pk}>'
    assert (3, title) in whole.page.headings
    titles = [figure.title for figure in whole.content.figures if figure.process == whole.study.later.pk]
    assert {'displacements', 'classes'} <= set(titles)


@pytest.mark.parametrize(('value', 'error', 'words'), [
    (1.234e-9, 2.1e-10, '(1.23 ± 0.21)×10⁻⁹'), (None, None, 'undetermined'), (-3.5, None, '−3.5'),
    (2.41, 0.02, '2.410 ± 0.020'), (1.2e-7, None, '1.2×10⁻⁷'),
    (0.163717858, 1.2e-10, '0.163718 ± 1.2×10⁻¹⁰'),
])  # fmt: skip
def test_values_are_printed_as_in_a_paper(value, error, words):
    assert value_text(value, error) == words


def test_figures_have_captions_with_definition_scale_and_nodes(whole):
    assert not [figure.problem for figure in whole.content.figures if figure.problem]
    for figure in whole.content.figures:
        assert figure.definition, figure.title
        assert figure.nodes
        assert figure.scale, figure.title
    drawn = {figure.title: figure for figure in whole.content.figures}
    assert {
        'pair_distributions', 'neighbours', 'stress_pulse', 'constant_strain', 'plasticity', 'd2min', 'msd',
        'conductivities', 'learning_energy', 'learning_force', 'test_energy', 'test_force', 'equilibration', 'census',
    } <= set(drawn)  # fmt: skip
    window = whole.study.stages['conductivity']['numbers'][0]['window']
    assert f'Window {window[0]:.3g} to {window[1]:.3g} ps (diffusivity.Li' in drawn['msd'].window
    assert 'demo' in drawn['msd'].scale
    assert drawn['test_force'].chapter == 'potential'


def test_every_panel_of_the_registry_has_words():
    """A new panel needs a definition: its name is taken from what registers it."""
    ours = {name: function for name, function in registry.REGISTRY.items()
            if function.__module__.startswith('aiida_softclay.')}  # fmt: skip
    assert len(ours) > 20
    for name, function in ours.items():
        assert name in CHAPTER_OF, name
        lines = inspect.getsource(function)
        for panel in re.findall(r"""yield\s*\(?\s*f?'([a-z_0-9{}]+)'""", lines):
            assert definition_of(name, panel.partition('{')[0].rstrip('_')), f'{name}.{panel}'
    for module in ('validation_figures', 'fit_figures'):
        source = inspect.getsource(importlib.import_module(f'aiida_softclay.report.{module}'))
        for panel in re.findall(r"found\[f?'([a-z_{}]+)'\]", source):
            stem = panel.partition('_{')[0]
            assert definition_of('validation', stem) or f'{stem}_energy' in DEFINITIONS, panel


def test_chain_is_collapsed_and_joined(whole):
    chain = whole.content.chain
    study = whole.study
    assert 8 <= len(chain.boxes) <= 20
    place = {pk: index for index, box in enumerate(chain.boxes) for pk in box.nodes}
    joined = set(chain.edges)
    called = {
        link.link_label: link.node.pk for link in study.node.base.links.get_outgoing().all()
        if isinstance(link.node, orm.WorkChainNode)
    }  # fmt: skip
    for name in ('salts_licl_000', 'salts_gaf3_000', 'slab_000'):
        assert (place[called[f'aimd_{name.removesuffix("_000")}']], place[study.frames[name].pk]) in joined
    assert len({place[node.pk] for node in study.frames.values()}) == 1
    for crystal, name in zip(study.crystals, ('salts_licl', 'salts_gaf3', 'slab'), strict=True):
        assert (place[crystal.pk], place[called[f'aimd_{name}']]) in joined
    assert (place[called['fit_potential']], place[study.potential.pk]) in joined
    for name in ('conductivity', 'stress_pulse', 'constant_strain'):
        assert (place[study.potential.pk], place[called[name]]) in joined
        assert (place[study.structure.pk], place[called[name]]) in joined
        assert (place[called[name]], place[study.node.outputs.results.pk]) in joined
    # The glass began with the slab that had been sampled.
    assert (place[called['aimd_slab']], place[called['amorphous']]) in joined
    assert all(LAYERS.index(chain.boxes[a].layer) < LAYERS.index(chain.boxes[b].layer) for a, b in joined)
    assert '15 labelled frames' in chain.sentence()


def test_many_runs_share_a_box(whole, monkeypatch):
    monkeypatch.setattr(chain_module, 'MOST_IN_LAYER', 2)
    parts, _ = parts_of(whole.study.node)
    boxes = [box for box in chain_module.chain_of(parts).boxes if box.layer == 'sampling']
    assert [(box.title, box.detail) for box in boxes] == [('AIMD, 3 runs', 'salts_licl, salts_gaf3, slab')]
    assert len(boxes[0].nodes) == 3


@pytest.mark.parametrize(('columns', 'width'), [(4, 920), (2, 372)])
def test_boxes_of_the_chain_keep_apart_and_inside(whole, columns, width):
    drawing = draw_chain(whole.content.chain, columns, width)
    found = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', drawing)
    boxes = np.array(found, dtype=float)
    assert len(boxes) == len(whole.content.chain.boxes)
    high = float(re.search(r'viewBox="0 0 \d+ ([\d.]+)"', drawing).group(1))
    assert (boxes[:, 0] >= 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= width).all()
    assert (boxes[:, 1] + boxes[:, 3] <= high).all()
    for first, second in itertools.combinations(boxes, 2):
        across = first[0] < second[0] + second[2] and second[0] < first[0] + first[2]
        along = first[1] < second[1] + second[3] and second[1] < first[1] + first[3]
        assert not (across and along)
    # A line may touch the box it leaves and the one it enters, and crosses none.
    for path in re.findall(r'<path d="M([^"]*)" fill="none"', drawing):
        points = np.array([part.split() for part in path.split('L')], dtype=float)
        for x, y, wide, tall in boxes:
            for start, end in itertools.pairwise(points):
                low, top = np.minimum(start, end), np.maximum(start, end)
                inside = top[0] > x + 1 and low[0] < x + wide - 1 and top[1] > y + 1.5 and low[1] < y + tall - 1.5
                assert not inside
    for box in whole.content.chain.boxes:
        assert f'&lt;{box.nodes[0]}&gt;' in drawing


def test_nothing_is_called_dft_that_is_not(whole):
    assert whole.content.caution.startswith(f'Energies and forces behind these numbers come from {CHGNET["model"]}')
    assert 'Not DFT.' in whole.page.text
    said = re.sub(r'in the place of DFT|Not DFT\.|Nothing on this page is a DFT result|not of DFT', '', whole.page.text)
    assert 'DFT' not in said


def test_texts_of_users_are_escaped(whole):
    assert HOSTILE not in whole.page.source
    assert '<script' not in whole.page.source
    assert html.escape(HOSTILE, quote=False) in whole.page.source.replace('&#34;', '"')
    assert f'Label {HOSTILE}' in whole.page.text


def test_inputs_and_what_to_type_are_there(whole):
    lines = [line for _, lines in whole.content.again for line in lines.splitlines()]
    assert lines[:2] == [
        'seed: 7',
        'softclay launch study 2LiCl-GaF3 --family placeholders --protocol demo --overrides overrides.yaml',
    ]
    pk, results = whole.study.node.pk, whole.study.node.outputs.results.pk
    assert lines[-4:] == [
        f'softclay results {pk} --warnings', f'softclay trace {results}', f'softclay plot {pk} -o figures.pdf',
        f'softclay export {pk} study.zip',
    ]  # fmt: skip
    assert f"load_node('{whole.study.node.uuid}').get_builder_restart()" in whole.page.text.replace('&#39;', "'")
    seeds = {(where, seed) for where, seed, _ in whole.content.seeds}
    assert ('Study: parameters.seed', '7') in seeds
    assert ('Fit of the potential: training', '11') in seeds
    versions = dict(whole.content.versions)
    assert versions['DeePMD-kit 3.2.0'] == 'potentials'
    assert versions['CHGNet 0.3.0 + D2 (softclay-vasp 0.1.0)'] == 'labelled frames'
    assert versions['aiida-softclay 0.1.0'] == 'workflows'


def test_words_of_a_command_are_quoted(aiida_profile):
    inputs = {'mixture': orm.Str('2LiCl-GaF3; rm -rf *'), 'parameters': orm.Dict({'protocol': 'demo'})}
    command, _ = launch_command(workchain('study', 'StudyWorkChain', inputs).node, 'study')
    assert "'2LiCl-GaF3; rm -rf *'" in command
    unknown = workchain('study', 'StudyWorkChain', {'parameters': orm.Dict({'protocol': 'no such'})}).node
    assert launch_command(unknown, 'study') == ('', '')


@pytest.mark.parametrize('name', sorted(ARGUMENTS))
def test_commands_that_launch_again_exist(name):
    import click

    from aiida_softclay.cli import softclay

    launch = softclay.get_command(click.Context(softclay), 'launch')
    command = launch.get_command(click.Context(launch), name.replace('_', '-'))
    options = {option for parameter in command.params for option in parameter.opts}
    assert {option for _, option in ARGUMENTS[name] if option} | {'--protocol', '--overrides'} <= options
    given = [argument for argument, option in ARGUMENTS[name] if not option]
    assert len(given) == sum(isinstance(parameter, click.Argument) for parameter in command.params)


def test_potential_states_errors_and_gate(whole):
    found = whole.content.potential
    assert [(row['name'], row['rmse'], row['gate'], row['met']) for row in found['rows']] == [
        ('energy', '4.2', '30', 'met'), ('force', '118', '400', 'met'),
    ]  # fmt: skip
    assert found['verdict'] == 'The potential passed its gate.'
    assert dict(found['about'])['Frames'] == '400 for training, 100 for the test, 2000 training steps'


def test_scorecard_holds_numbers_of_this_process_only(aiida_profile):
    made = []
    for value in (-94.9, -93.4):
        process = workchain('reaction_energy', 'ReactionEnergyWorkChain', {})
        results = table(number('reaction_energy', value, 0.5, 'meV/atom'), salts=['LiCl', 'GaF3'], engine=CHGNET)
        process.gives(results=results)
        made.append(process.node)
    for node, value in zip(made, (-94.9, -93.4), strict=True):
        rows = scorecard(['gupta2023'], processes=[node.pk]).set_index('id')
        assert rows.loc['reaction_energy', 'value'] == value
        assert rows.loc['reaction_energy', 'n_others'] == 0
        (row,) = [row for row in content_of(node).scorecard if row['id'] == 'reaction_energy']
        assert row['process_pk'] == node.pk
        assert row['ours'] == value_text(value, 0.5)
        assert row['verdict'] == 'indicative'


@pytest.fixture
def sketches(monkeypatch):
    """Leave out the drawing, where a test is about everything else."""
    picture = Picture('data:,', 'A picture that nobody looks at', 1, 1)
    monkeypatch.setattr(figures, 'panel_picture', lambda node, draw: picture)
    monkeypatch.setattr(figures, 'cell_picture', lambda structure, about: picture)


def test_single_experiment_has_a_page_with_its_potential(whole, sketches):
    child = next(node for node in whole.study.node.called if node.process_label == 'ConductivityWorkChain')
    content = content_of(child)
    assert {'msd', 'conductivities', 'learning_energy'} <= {figure.title for figure in content.figures}
    assert [row['title'] for row in content.stages][:2] == ['Conductivity', 'Fit of the potential']
    assert content.chain.boxes[0].layer == 'crystals'
    assert content.caution
    assert not any('did not' in sentence for sentence in content.missing)
