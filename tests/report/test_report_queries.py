"""Numbers found again, traced to the crystals they came from, and drawn."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import WorkChain, calcfunction

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.report.graph import draw_graph
from aiida_softclay.report.provenance import trace
from aiida_softclay.report.queries import format_value, numbers_of, results_table


@calcfunction
def build_cell(parameters):
    structure = orm.StructureData(cell=[[parameters['length'], 0, 0], [0, 5.0, 0], [0, 0, 5.0]])
    structure.append_atom(position=(0.0, 0.0, 0.0), symbols='Li')
    return structure


@calcfunction
def measure(structure):
    volume = structure.get_cell_volume()
    return orm.Dict(
        results_dict(
            [Quantity('volume', volume, 0.5, 'A^3', 'a · (b × c)', 4, conditions={'temperature_K': 300.0})],
            mixture='2LiCl-GaF3',
            engine='a ruler',
        )
    )


class Measurement(WorkChain):
    """Builds a cell and measures it."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('length', valid_type=orm.Float)
        spec.outline(cls.run_it)
        spec.output('results', valid_type=orm.Dict)

    def run_it(self):
        structure = build_cell(orm.Dict({'crystal': 'box', 'length': self.inputs.length.value}))
        self.out('results', measure(structure))


class Study(WorkChain):
    """Calls a measurement and hands its numbers on."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.outline(cls.call, cls.finish)
        spec.output('results', valid_type=orm.Dict)

    def call(self):
        from aiida.engine import ToContext

        return ToContext(child=self.submit(Measurement, length=orm.Float(7.0)))

    def finish(self):
        self.out('results', self.ctx.child.outputs.results)


@pytest.fixture
def measured(aiida_profile_clean):
    from aiida.engine import run_get_node

    _, node = run_get_node(Measurement, length=orm.Float(4.0))
    assert node.is_finished_ok
    return node


def test_numbers_are_found_with_their_units(measured):
    table = results_table()
    assert len(table) == 1
    row = table.iloc[0]
    assert (row['name'], row['value'], row['error'], row['unit']) == ('volume', pytest.approx(100.0), 0.5, 'A^3')
    assert row['process_pk'] == measured.pk
    assert row['temperature_K'] == 300.0
    assert numbers_of(measured.outputs.results).iloc[0]['value'] == pytest.approx(100.0)


def test_filters(measured):
    assert len(results_table(name='vol*', mixture='gaf3', engine='RULER', temperature=(299.0, 301.0))) == 1
    assert results_table(name='density').empty
    assert results_table(mixture='MgCl2').empty
    assert results_table(temperature=(400.0, 500.0)).empty
    assert results_table(since=measured.ctime.replace(year=2100)).empty


def test_numbers_of_stages_are_listed_once(measured):
    from aiida.engine import run_get_node

    _, study = run_get_node(Study)
    assert sorted(results_table()['process_pk']) == sorted([measured.pk, study.pk])
    assert len(results_table(everything=True)) == 3


def test_trace_leads_back_to_the_crystal(measured):
    steps = trace(measured)
    assert [step.kind for step in steps] == ['results', 'structure', 'facts']
    assert steps[0].maker.process_label == 'measure'
    assert steps[1].parents == [steps[2].node.pk]
    assert 'crystal box' in steps[2].description


def test_trace_of_a_process_without_results_says_so(measured):
    child = measured.called[0]
    with pytest.raises(ValueError, match='has no results'):
        trace(child)


@pytest.mark.parametrize('suffix', ['.png', '.svg', '.pdf'])
def test_graph_is_a_picture(measured, tmp_path, suffix):
    path = tmp_path / f'graph{suffix}'
    assert draw_graph(measured, path) == 3
    magic = {'.png': b'\x89PNG', '.svg': b'<?xml', '.pdf': b'%PDF'}[suffix]
    assert path.read_bytes().startswith(magic)
    with pytest.raises(ValueError, match=r'written as \.png'):
        draw_graph(measured, tmp_path / 'graph.txt')


@pytest.mark.parametrize(
    ('value', 'error', 'text'),
    [
        (2.8172, 0.0413, '2.817 ± 0.041'),
        (1234.5, 67.8, '1234 ± 68'),
        (1.7e-9, 3.2e-10, '(1.70 ± 0.32)e-09'),
        (0.0, 1e-8, '(0.0 ± 1.0)e-08'),
        (1.234e-9, None, '1.234e-09'),
        (None, None, 'undetermined'),
    ],
)
def test_values_are_printed_with_the_digits_their_error_allows(value, error, text):
    assert format_value(value, error) == text


def test_composition_is_found_however_it_was_named(measured):
    assert len(results_table(composition='Cl64F96Ga32Li64')) == 1
    assert len(results_table(composition='Ga-Cl-F-Li')) == 1
    assert results_table(composition='MgCl2-GaF3').empty
    with pytest.raises(ValueError, match='is no material'):
        results_table(composition='soft stuff')


def test_dates_and_limits(measured):
    from aiida.engine import run_get_node

    _, newer = run_get_node(Measurement, length=orm.Float(5.0))
    both = results_table()
    assert list(both['process_pk']) == [measured.pk, newer.pk]
    newest = results_table(limit=1)
    assert list(newest['process_pk']) == [newer.pk]
    assert newest.attrs['found'] == 2
    between = newer.outputs.results.ctime
    assert list(results_table(since=between)['process_pk']) == [newer.pk]
    assert list(results_table(until=measured.outputs.results.ctime)['process_pk']) == [measured.pk]


def test_descendants_of_a_crystal_are_numbers_and_studies(aiida_profile_clean):
    from aiida.engine import run_get_node

    from aiida_softclay.report.descendants import descendants

    _, study = run_get_node(Study)
    structure = orm.QueryBuilder().append(orm.StructureData).one()[0]
    found = descendants(structure)
    assert found.counts == {'results': 1}
    assert found.steps[0].node.uuid == study.outputs.results.uuid
    assert [(pk, label) for pk, label, _ in found.studies] == [(study.pk, 'Study')]
    facts = structure.creator.inputs.parameters
    further = descendants(facts)
    assert further.counts == {'structure': 1, 'results': 1}
    assert [step.depth for step in further.steps] == [1, 2]
    assert descendants(study.outputs.results).counts == {}


def test_studies_are_compared_by_inputs_and_numbers(measured):
    from aiida.engine import run_get_node

    from aiida_softclay.report.compare import compare_studies

    _, other = run_get_node(Measurement, length=orm.Float(5.0))
    found = compare_studies(measured, other)
    assert found.inputs.to_dict('records') == [{'input': 'length', 'first': 4.0, 'second': 5.0}]
    row = found.numbers.iloc[0]
    assert (row['name'], row['first'], row['second']) == ('volume', pytest.approx(100.0), pytest.approx(125.0))
    assert row['ratio'] == pytest.approx(1.25)
    assert row['errors'] == pytest.approx(25 / (0.5 * 2**0.5))
    same = compare_studies(measured, measured)
    assert same.inputs.empty
    assert same.n_same == 1


def test_inputs_are_flat_and_told_apart_by_what_they_hold(aiida_profile_clean):
    from aiida.common.links import LinkType

    from aiida_softclay.report.compare import flat_inputs

    cells = [orm.StructureData(cell=[[edge, 0, 0], [0, 5.0, 0], [0, 0, 5.0]]) for edge in (4.0, 4.0, 5.0)]
    for cell in cells:
        cell.append_atom(position=(0.0, 0.0, 0.0), symbols='Li')
    found = []
    for cell in cells:
        process = orm.WorkChainNode()
        process.base.links.add_incoming(cell.store(), LinkType.INPUT_WORK, 'structure')
        plan = orm.Dict({'melt': {'steps': 5, 'tags': []}}).store()
        process.base.links.add_incoming(plan, LinkType.INPUT_WORK, 'md__plan')
        found.append(flat_inputs(process.store()))
    assert found[0]['md.plan.melt.steps'] == 5
    assert found[0]['structure'] == found[1]['structure'] != found[2]['structure']
