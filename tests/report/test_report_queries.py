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
