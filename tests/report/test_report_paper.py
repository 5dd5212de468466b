"""The page of all runs of a paper: several glasses and experiments, whose steps a reader has to tell apart."""

from __future__ import annotations

import pytest
from aiida import orm
from click.testing import CliRunner
from figure_samples import body, shaken, thermo, walkers
from page_reader import Page
from report_samples import ENGINE, MIXTURE, calcfunction, number, potential, stage_thermo, table, workchain

from aiida_softclay.analysis.quantity import results_dict
from aiida_softclay.calcfunctions import transport
from aiida_softclay.calcfunctions.results import collect_results
from aiida_softclay.cli.plot import plot
from aiida_softclay.report.page import MOST_WARNINGS, content_of, figures, render_page
from aiida_softclay.report.page.pictures import Picture

N_WARNINGS = MOST_WARNINGS + 5


def cell(edge):
    from figure_samples import mixed_salt

    return orm.StructureData(ase=mixed_salt(edge))


@pytest.fixture
def sketches(monkeypatch):
    """Leave out the drawing: what is drawn of is looked at here, not the lines."""
    picture = Picture('data:,', 'A picture that nobody looks at', 1, 1)
    monkeypatch.setattr(figures, 'panel_picture', lambda node, draw: picture)
    monkeypatch.setattr(figures, 'cell_picture', lambda structure, about: picture)


@pytest.fixture
def paper(aiida_profile_clean, tmp_path):
    """A paper with two glasses and a conductivity of one of them."""
    parameters = orm.Dict({'paper': 'yang2024', 'protocol': 'demo'})
    model = potential().store()
    root = workchain('paper', 'PaperWorkChain', {'parameters': parameters, 'potential': model})
    stages = {}
    for name, edge in (('glass', 2), ('polycrystal', 3)):
        inputs = {'mixture': orm.Str(MIXTURE), 'potential': model, 'parameters': orm.Dict({'protocol': 'demo'})}
        made = workchain('amorphous', 'AmorphousWorkChain', inputs, caller=root, call=name)
        quantities = [number(f'length_{i}', 1.0, 0.1, 'Å', warnings=[f'warning {name} {i}']) for i in range(8)]
        outputs = {
            'structure': cell(edge), 'initial_structure': cell(edge),
            'results': table(*quantities, engine=ENGINE, n_atoms=8 * edge**3),
        }  # fmt: skip
        maker = calcfunction(f'summarise_{name}', {'trajectory': shaken(tmp_path)}, made)
        maker.gives(**outputs, thermo__equilibrate=stage_thermo())
        made.gives(**outputs, thermo__equilibrate=maker.node.outputs.thermo.equilibrate)
        root.gives(**{f'structures__{name}': outputs['structure'], f'stages__{name}': outputs['results']})
        stages[name] = outputs['results']
    charges = orm.Dict({'charges': {'Li': 1, 'Cl': -1}, 'context': {'engine': ENGINE, 'protocol': 'demo'}})
    walk = walkers(tmp_path)
    found = body(transport.analyse_conductivity)(walk, thermo(), charges)
    inputs = {'structure': root.node.outputs.structures.glass, 'potential': model, 'parameters': orm.Dict({})}
    run = workchain('conductivity', 'ConductivityWorkChain', inputs, caller=root, call='conductivity')
    calcfunction('analyse_conductivity', {'trajectory': walk}, run).gives(**found)
    run.gives(**found)
    stages['conductivity'] = found['results']
    context = orm.Dict({'paper': 'yang2024', 'protocol': 'demo'})
    collected = body(collect_results)(context, **stages)
    maker = calcfunction('collect_results', {'context': context, **stages}, root)
    root.gives(**maker.gives(result=collected) and {'results': collected})
    return root.node


def test_steps_of_a_paper_are_told_apart(paper, sketches):
    content = content_of(paper)
    facts = dict(content.facts)
    sizes = [len(paper.outputs.structures[name].sites) for name in ('glass', 'polycrystal')]
    assert facts['Atoms'] == ' and '.join(f'{size:,}'.replace(',', ' ') for size in sizes)
    assert facts['Engine of the numbers'] == ENGINE
    assert [figure.definition for figure in content.cells] == [
        'The cell of step glass, coloured by element.', 'The cell of step polycrystal, coloured by element.',
    ]  # fmt: skip
    assert [figure.nodes for figure in content.cells] == [
        [paper.outputs.structures[name].pk] for name in ('glass', 'polycrystal')
    ]
    said = {figure.scale.partition('.')[0] for figure in content.figures if figure.title == 'equilibration'}
    assert said == {'Step glass', 'Step polycrystal'}
    assert any(figure.scale.startswith('Step conductivity.') for figure in content.figures if figure.title == 'msd')


def test_many_warnings_are_folded(paper, sketches):
    content = content_of(paper)
    assert len(content.warnings) >= N_WARNINGS
    page = render_page(content)
    assert f'{len(content.warnings) - MOST_WARNINGS} further warnings' in page
    # Folded, not left out.
    text = Page(page).text
    assert all(sentence in text for sentence, _ in content.warnings)


def test_plot_of_a_paper_names_the_steps_that_have_curves(paper):
    children = {link.link_label: link.node.pk for link in paper.base.links.get_outgoing().all()}
    for arguments in ([str(paper.pk), '--list'], [str(paper.pk)]):
        outcome = CliRunner().invoke(plot, arguments)
        assert 'has no curves to plot of its own' in outcome.output
        for name in ('glass', 'polycrystal', 'conductivity'):
            assert f'{children[name]} ({name})' in outcome.output
    assert outcome.exit_code == 1


def test_what_has_no_curves_at_all_says_so(aiida_profile_clean):
    alone = workchain('reaction_energy', 'ReactionEnergyWorkChain', {})
    alone.gives(results=orm.Dict(results_dict([], engine=ENGINE)))
    outcome = CliRunner().invoke(plot, [str(alone.node.pk), '--list'])
    assert outcome.exit_code == 0
    assert outcome.output.rstrip().endswith(f'<{alone.node.pk}> has no curves to plot')
