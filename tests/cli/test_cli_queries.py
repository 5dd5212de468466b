"""``softclay results``, ``trace``, ``graph`` and ``status`` as a user types them."""

from __future__ import annotations

import json
import time

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import WorkChain, calcfunction
from click.testing import CliRunner

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.cli.status import duration_text, rest
from aiida_softclay.report.progress import Progress, last_step, state_text


@calcfunction
def build_sample(parameters):
    structure = orm.StructureData(cell=[[5.0, 0, 0], [0, 5.0, 0], [0, 0, 5.0]])
    structure.append_atom(position=(0.0, 0.0, 0.0), symbols='Li')
    return {'structure': structure, 'report': orm.Dict({'source': 'a handbook'})}


@calcfunction
def weigh(sample, parameters):
    quantities = [
        Quantity('density', parameters['density'], 0.02, 'g/cm^3', 'mass over volume', 5),
        Quantity('modulus', None, None, 'GPa', 'slope', 0, warnings=['too few points for a slope']),
    ]
    return orm.Dict(results_dict(quantities, mixture='2LiCl-GaF3', engine='a balance', n_atoms=320))


class Weighing(WorkChain):
    """A workchain with numbers, or without them."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('density', valid_type=orm.Float)
        spec.outline(cls.weigh)
        spec.output('results', valid_type=orm.Dict)
        spec.exit_code(501, 'ERROR_WEIGHTLESS', message='the density is {density}: nothing is there')

    def weigh(self):
        if self.inputs.density.value <= 0:
            return self.exit_codes.ERROR_WEIGHTLESS.format(density=self.inputs.density.value)
        sample = build_sample(orm.Dict({'crystal': 'LiCl'}))['structure']
        self.out('results', weigh(sample, orm.Dict({'density': self.inputs.density.value})))
        return None


@pytest.fixture
def weighing(aiida_profile_clean):
    from aiida.engine import run_get_node

    return run_get_node(Weighing, density=orm.Float(2.07))[1]


@pytest.fixture
def failed(aiida_profile_clean):
    from aiida.engine import run_get_node

    return run_get_node(Weighing, density=orm.Float(-1.0))[1]


def softclay(name: str, *arguments: str):
    import importlib

    command = getattr(importlib.import_module(f'aiida_softclay.cli.{name}'), name)
    return CliRunner().invoke(command, [str(argument) for argument in arguments], terminal_width=200)


def test_table_shows_value_error_unit_and_warnings(weighing):
    outcome = softclay('results', weighing.pk, '--warnings')
    assert outcome.exit_code == 0, outcome.output
    assert '2.070 ± 0.020' in outcome.output
    assert 'g/cm^3' in outcome.output
    assert 'undetermined' in outcome.output
    assert 'too few points for a slope' in outcome.output
    assert 'a balance' in outcome.output


def test_csv_and_json_hold_all_columns(weighing):
    lines = softclay('results', '--format', 'csv').output.splitlines()
    assert lines[0].startswith('name,value,error,unit')
    assert len(lines) == 3
    rows = json.loads(softclay('results', '--format', 'json', '--name', 'dens*').output)
    assert [(row['name'], row['value'], row['n_atoms']) for row in rows] == [('density', 2.07, 320)]


def test_results_of_a_failed_process_say_so(failed):
    outcome = softclay('results', failed.pk)
    assert outcome.exit_code != 0
    assert 'has no results' in outcome.output
    assert 'Traceback' not in outcome.output


def test_trace_ends_at_the_crystal(weighing):
    rows = json.loads(softclay('trace', weighing.pk, '--format', 'json').output)
    assert [row['kind'] for row in rows] == ['results', 'structure', 'facts']
    assert rows[0]['made_by'] == 'weigh'
    assert 'a handbook' in rows[1]['holds']
    assert 'crystal LiCl' in rows[2]['holds']
    outcome = softclay('trace', weighing.outputs.results.pk)
    assert outcome.exit_code == 0
    assert 'facts' in outcome.output


def test_graph_writes_a_picture(weighing, tmp_path):
    path = tmp_path / 'graph.png'
    outcome = softclay('graph', weighing.pk, '--output', path)
    assert outcome.exit_code == 0, outcome.output
    assert path.read_bytes().startswith(b'\x89PNG')
    assert softclay('graph', weighing.pk, '--output', tmp_path / 'graph.doc').exit_code != 0


def test_status_names_the_end(weighing):
    outcome = softclay('status', weighing.pk)
    assert outcome.exit_code == 0, outcome.output
    assert 'finished' in outcome.output
    assert f'softclay results {weighing.pk}' in outcome.output


def test_status_of_a_warning_is_no_failure(aiida_profile_clean):
    """Exit codes from 700 on say that the outputs are there, but not all that was asked for."""
    node = orm.WorkChainNode(process_type='aiida.workflows:softclay.paper')
    node.set_process_label('PaperWorkChain')
    node.set_process_state('finished')
    node.set_exit_status(710)
    node.set_exit_message('the numbers are outputs, but without those of: glass_transition')
    node.store()
    said = softclay('status', node.pk).output
    assert 'finished with a warning [710]' in said
    assert 'failed' not in said
    assert f'softclay results {node.pk}' in said


def test_status_of_a_failure_quotes_it(failed):
    assert state_text(failed) == 'failed [501]: the density is -1.0: nothing is there'
    assert 'verdi process report' in softclay('status', failed.pk).output


def test_status_without_a_process_lists_what_was_launched(aiida_profile_clean):
    """Workchains of this package that nothing called; those that have not ended come first."""
    assert 'nothing was launched' in softclay('status').output
    nodes = {}
    for name, state, status in (('finished', 'finished', 0), ('failed', 'finished', 401), ('going', 'waiting', None),
                                ('child', 'finished', 0), ('foreign', 'finished', 0)):  # fmt: skip
        own = 'softclay.md' if name == 'child' else 'softclay.study'
        node = orm.WorkChainNode(process_type='aiida.workflows:' + ('other.work' if name == 'foreign' else own))
        node.label = f'of {name}'
        node.set_process_label('StudyWorkChain')
        node.set_process_state(state)
        if status is not None:
            node.set_exit_status(status)
            node.set_exit_message('no potential' if status else '')
        if name == 'child':
            node.base.links.add_incoming(nodes['finished'], LinkType.CALL_WORK, 'md')
        nodes[name] = node.store()
    outcome = softclay('status')
    assert outcome.exit_code == 0, outcome.output
    rows = [line for line in outcome.output.splitlines() if ' of ' in line and line.split()[0].isdigit()]
    assert [int(row.split()[0]) for row in rows] == [nodes[name].pk for name in ('going', 'failed', 'finished')]
    assert 'failed [401]: no potential' in rows[1]
    assert f'softclay status {nodes["going"].pk}' in outcome.output
    assert softclay('status', '--follow').exit_code == 2


def test_following_a_large_study_costs_little_and_sees_its_end():
    """A look that took a second is followed by a rest of half a minute, which ends with the process."""
    looks = []

    class Process:
        @property
        def is_terminated(self):
            looks.append(time.monotonic())
            return len(looks) == 3

    began = time.monotonic()
    rest(Process(), interval=0.05, cost=1.0)
    assert len(looks) == 3
    assert 0.15 <= time.monotonic() - began < 10
    looks.clear()
    rest(Process(), interval=0.05, cost=0.0)
    assert not looks


def test_progress_is_read_from_whole_lines_only():
    import re

    pattern = re.compile(r'^\s*(\d+)\s+T=', re.MULTILINE)
    assert last_step('  41 T=  300. E= ...\n  42 T=  301. E= ...\n  4', pattern) == 42
    assert last_step('', pattern) is None
    progress = Progress(250, 1000, 'steps', 50.0)
    assert progress.fraction == 0.25
    assert progress.seconds_left == 15.0
    assert [duration_text(seconds) for seconds in (None, 42, 75, 7380)] == ['', '42 s', '1 min 15 s', '2 h 3 min']


def test_trace_goes_forward_too(weighing):
    structure = orm.QueryBuilder().append(orm.StructureData).one()[0]
    found = json.loads(softclay('trace', structure.pk, '--forward', '--format', 'json').output)
    assert found['counts'] == {'results': 1}
    assert [row['pk'] for row in found['studies']] == [weighing.pk]
    text = softclay('trace', structure.pk, '--forward').output
    assert 'It led to: 1 results' in text
    assert f'Weighing <{weighing.pk}>' in text
    assert 'Nothing was made' not in text


def test_two_studies_are_compared(weighing):
    from aiida.engine import run_get_node

    other = run_get_node(Weighing, density=orm.Float(2.17))[1]
    outcome = softclay('compare', weighing.pk, other.pk)
    assert outcome.exit_code == 0, outcome.output
    assert '1 inputs differ, 0 are the same' in outcome.output
    assert '+3.5' in outcome.output
    found = json.loads(softclay('compare', weighing.pk, other.pk, '--format', 'json', '--name', 'dens*').output)
    assert found['inputs'] == [{'input': 'density', 'first': 2.07, 'second': 2.17}]
    assert [row['name'] for row in found['numbers']] == ['density']


def test_filters_of_results_as_they_are_typed(weighing):
    rows = json.loads(softclay('results', '--format', 'json', '--composition', 'Li2GaCl2F3', '--limit', '1').stdout)
    assert len(rows) == 1
    assert json.loads(softclay('results', '--format', 'json', '--until', '2001-01-01').stdout) == []
    refused = softclay('results', '--composition', 'clay')
    assert refused.exit_code != 0
    assert 'is no material' in refused.output
