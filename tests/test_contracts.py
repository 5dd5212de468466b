"""What every plugin of the package promises, checked over all entry points."""

from __future__ import annotations

import ast
import inspect
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from aiida.engine import CalcJob, WorkChain
from aiida.plugins import CalculationFactory, WorkflowFactory

import aiida_softclay
from aiida_softclay.workflows.protocol import ProtocolMixin, leaves

PACKAGE = Path(aiida_softclay.__file__).parent
GROUPS = ('aiida.data', 'aiida.groups', 'aiida.calculations', 'aiida.parsers', 'aiida.workflows', 'aiida.cmdline.data')
POINTS = [point for group in GROUPS for point in entry_points(group=group)]
OURS = [point for point in POINTS if point.value.startswith('aiida_softclay')]
WORKFLOWS = [point.name for point in OURS if point.group == 'aiida.workflows']
CALCULATIONS = [point.name for point in OURS if point.group == 'aiida.calculations']
NUMBER_MAKERS = [name for name in WORKFLOWS if name != 'softclay.md']
#: First digit of an exit status to what kind of trouble it stands for; below 200 is AiiDA's own.
RANGES = {2: 'input', 3: 'missing or unreadable output', 4: 'interrupted', 5: 'physics', 7: 'warning'}


@pytest.mark.parametrize('point', OURS, ids=lambda point: f'{point.group}:{point.name}')
def test_entry_point_loads(point):
    assert point.load() is not None


def test_every_kind_of_plugin_is_registered():
    assert {point.group for point in OURS} == set(GROUPS)


@pytest.mark.parametrize('name', WORKFLOWS)
def test_workchain_is_documented(name):
    process = WorkflowFactory(name)
    assert issubclass(process, WorkChain)
    assert process.__doc__
    undocumented = [port for port, value in process.spec().inputs.items() if not value.help and port != 'metadata']
    assert not undocumented


@pytest.mark.parametrize('name', NUMBER_MAKERS)
def test_numbers_come_in_one_schema(name):
    assert 'results' in WorkflowFactory(name).spec().outputs


@pytest.mark.parametrize('name', [*WORKFLOWS, *CALCULATIONS])
def test_exit_codes_are_in_their_ranges(name):
    factory = WorkflowFactory if name in WORKFLOWS else CalculationFactory
    process = factory(name)
    inherited = {
        code.status
        for parent in process.__mro__[1:]
        if hasattr(parent, 'exit_codes')
        for code in parent.exit_codes.values()
    }
    for code in process.exit_codes.values():
        if code.status < 200 or code.status in inherited:
            continue
        assert code.status // 100 in RANGES, f'{name} {code.status}: {code.message}'
        assert code.message


@pytest.mark.parametrize('name', WORKFLOWS)
def test_exit_codes_that_are_returned_exist(name):
    process = WorkflowFactory(name)
    sources = [inspect.getsource(base) for base in process.__mro__ if base.__module__.startswith('aiida_softclay')]
    returned = {label for source in sources for label in re.findall(r'self\.exit_codes\.([A-Z]\w+)', source)}
    assert returned <= set(process.exit_codes)


@pytest.mark.parametrize('name', WORKFLOWS)
def test_protocols_are_complete(name):
    process = WorkflowFactory(name)
    if not issubclass(process, ProtocolMixin):
        pytest.skip('no protocol: its plan is its input')
    assert {'demo', 'balanced', 'paper'} <= set(process.get_available_protocols())
    described = process.get_protocol_descriptions()
    for protocol in process.get_available_protocols():
        values = process.get_protocol_inputs(protocol)
        undescribed = [
            leaf for leaf in leaves(values)
            if not any(leaf == key or leaf.startswith(f'{key}.') for key in described)
        ]  # fmt: skip
        assert not undescribed, f'{name} {protocol}'


@pytest.mark.parametrize('name', CALCULATIONS)
def test_calculations_are_documented(name):
    process = CalculationFactory(name)
    assert issubclass(process, CalcJob)
    assert process.__doc__


#: Room to the rooms it may import from: the direction of the architecture.
ALLOWED = {
    'structures': set(),
    'analysis': set(),
    'engines': {'structures'},
    'data': {'structures', 'analysis'},
    'calculations': {'data', 'structures', 'analysis'},
    'parsers': {'data', 'structures', 'analysis', 'calculations'},
    'calcfunctions': {'data', 'structures', 'analysis', 'calculations'},
    'workflows': {'calculations', 'parsers', 'calcfunctions', 'data', 'structures', 'analysis'},
}


def imported_modules(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding='utf-8'))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


@pytest.mark.parametrize('room', ALLOWED)
def test_rooms_import_in_one_direction(room):
    for path in (PACKAGE / room).rglob('*.py'):
        modules = imported_modules(path)
        if room in {'structures', 'analysis', 'engines'}:
            assert not any(module.split('.')[0] == 'aiida' for module in modules), path
        rooms = {module.split('.')[1] for module in modules if module.startswith('aiida_softclay.')}
        assert rooms <= ALLOWED[room] | {room}, path


def test_root_links_lead_into_the_package():
    root = PACKAGE.parent
    for name in ('workflows', 'calcfunctions'):
        assert (root / name).resolve() == PACKAGE / name


@pytest.mark.parametrize('name', CALCULATIONS)
def test_failed_jobs_are_not_reused(name, aiida_profile):
    """Launching again must try again: only successes and warnings may be taken from the cache."""
    from aiida.orm import CalcJobNode

    process = CalculationFactory(name)
    statuses = {None, 0, 120, *(code.status for code in process.exit_codes.values())}
    for status in statuses:
        node = CalcJobNode()
        if status is not None:
            node.set_exit_status(status)
        # Warnings are reused unless a code says otherwise.
        if not status or status < 700:
            assert process.is_valid_cache(node) == (not status), status
