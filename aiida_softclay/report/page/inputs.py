"""What a report ran with: codes, versions of programs, seeds; and what to type to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from aiida import orm
from aiida.common.exceptions import EntryPointError
from aiida.plugins import WorkflowFactory

from aiida_softclay.data.engine import engine_text
from aiida_softclay.report.page.parts import Part
from aiida_softclay.workflows.protocol import ProtocolError, ProtocolMixin

#: Most seeds that are listed one by one.
MOST_SEEDS = 40
#: Stage to what `softclay launch` takes beside the protocol: the input, and the option it is given by (empty for an
#: argument).
ARGUMENTS = {
    'study': (('mixture', ''), ('potential_family', '--family'), ('potential', '--potential')),
    'amorphous': (
        ('mixture', ''), ('potential', '--potential'), ('interface', '--interface'), ('structure', '--structure'),
    ),
    'conductivity': (('structure', ''), ('potential', '--potential')),
    'stress_pulse': (('structure', ''), ('potential', '--potential')),
    'constant_strain': (('structure', ''), ('potential', '--potential')),
    'glass_transition': (('structure', ''), ('potential', '--potential')),
}  # fmt: skip
#: Keys of parameters that a workchain adds to those of its protocol.
ADDED = {'protocol', 'context'}
#: Columns of the codes.
CODE_COLUMNS = ('label', 'computer', 'program', 'plugin', 'node')


def codes_of(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Return the codes that the jobs of a report ran with, :data:`CODE_COLUMNS` of each.

    Of the program its name is told and not its folder, which is nobody's business where a report is passed on.
    """
    rows: dict[int, dict[str, Any]] = {}
    for code in _codes_under({part.node.pk for part in parts}):
        computer = code.computer.label if code.computer is not None else ''
        program = str(getattr(code, 'filepath_executable', '') or '').rpartition('/')[2]
        row = (code.label, computer, program, code.default_calc_job_plugin or '', code.pk)
        rows[code.pk] = dict(zip(CODE_COLUMNS, row, strict=True))
    return [rows[pk] for pk in sorted(rows)]


def _codes_under(pks: set[int]) -> list[orm.AbstractCode]:
    """Return the codes that jobs under processes took, through any number of workchains."""
    jobs, frontier, known = set(pks), set(pks), set(pks)
    while frontier:
        query = orm.QueryBuilder()
        query.append(orm.WorkflowNode, filters={'id': {'in': sorted(frontier)}}, tag='caller')
        query.append(orm.ProcessNode, with_incoming='caller', project='id')
        frontier = set(query.distinct().all(flat=True)) - known
        known |= frontier
        jobs |= frontier
    query = orm.QueryBuilder()
    query.append(orm.CalcJobNode, filters={'id': {'in': sorted(jobs)}}, tag='job')
    query.append(orm.Data, with_outgoing='job', filters={'node_type': {'like': 'data.core.code.%'}})
    return query.distinct().all(flat=True)


def versions_of(parts: Iterable[Part]) -> list[tuple[str, str]]:
    """Return program or engine, as the nodes state it, and what it made."""
    found: dict[str, set[str]] = {}
    pks = [part.node.pk for part in parts]
    for part in parts:
        version = part.node.base.attributes.get('version', None) or {}
        for key, name in (('plugin', 'aiida-softclay'), ('core', 'aiida-core')):
            if isinstance(version, Mapping) and version.get(key):
                found.setdefault(f'{name} {version[key]}', set()).add('workflows')
    query = orm.QueryBuilder()
    query.append(orm.ProcessNode, filters={'id': {'in': pks}}, tag='maker')
    query.append(
        orm.Data, with_incoming='maker', project=['node_type', 'attributes.engine', 'attributes.version'],
        filters={'node_type': {'like': 'data.softclay.%'}},
    )  # fmt: skip
    for node_type, engine, version in query.distinct().all():
        what = {'frames': 'labelled frames', 'trajectory': 'trajectories', 'potential': 'potentials'}.get(
            node_type.split('.')[2], node_type
        )
        text = f'DeePMD-kit {version}' if what == 'potentials' and version else engine_text(engine)
        if text:
            found.setdefault(text, set()).add(what)
    return [(text, ', '.join(sorted(what))) for text, what in sorted(found.items())]


def seeds_of(parts: Iterable[Part]) -> list[tuple[str, str, int]]:
    """Return where a seed stands, the seed, and the node that holds it; at most :data:`MOST_SEEDS`."""
    found: dict[tuple[int, str], tuple[str, str, int]] = {}
    for part in parts:
        for link in part.node.base.links.get_incoming(node_class=orm.Dict).all():
            for name, value in _seeds(link.node.get_dict(), link.link_label.replace('__', '.')):
                found.setdefault((link.node.pk, name), (f'{part.title}: {name}', value, link.node.pk))
        if part.group == 'fit' and 'potential' in part.node.outputs:
            potential = part.node.outputs.potential
            seed = potential.base.attributes.get('seed', None)
            if seed is not None:
                found[potential.pk, 'seed'] = (f'{part.title}: training', str(seed), potential.pk)
    return list(found.values())[:MOST_SEEDS]


def _seeds(tree: Any, where: str) -> list[tuple[str, str]]:
    if not isinstance(tree, Mapping):
        return []
    found = []
    for key, value in tree.items():
        path = f'{where}.{key}'
        if isinstance(value, Mapping):
            found += _seeds(value, path)
        elif str(key) == 'seed' and value is not None:
            found.append((path, str(value)))
    return found


def launch_command(process: orm.ProcessNode, entry_point: str) -> tuple[str, str]:
    """Return the command that launches a process anew, and the overrides it needs as YAML.

    Parameters
    ----------
    process : aiida.orm.ProcessNode
    entry_point : str
        Without its group.

    Returns
    -------
    command, overrides : str
        Both empty where `softclay launch` has no command for it, or its parameters are not those of a protocol.
    """
    if entry_point not in ARGUMENTS or 'parameters' not in process.inputs:
        return '', ''
    parameters = process.inputs.parameters.get_dict()
    try:
        workchain: type[ProtocolMixin] = WorkflowFactory(f'softclay.{entry_point}')
        protocol = str(parameters.get('protocol') or '')
        changed = differences(workchain.get_protocol_inputs(protocol), parameters) if protocol else None
    except (ProtocolError, EntryPointError):
        return '', ''
    if changed is None:
        return '', ''
    words = ['softclay', 'launch', entry_point.replace('_', '-')]
    for name, option in ARGUMENTS[entry_point]:
        if name in process.inputs:
            node = process.inputs[name]
            words += [option] * bool(option) + [str(node.value) if isinstance(node, orm.Str) else node.uuid[:8]]
    words += ['--protocol', protocol]
    text = ''
    if changed:
        words += ['--overrides', 'overrides.yaml']
        text = yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)
    return shlex.join(words), text


def again(process: orm.ProcessNode, entry_point: str) -> list[tuple[str, str]]:
    """Return what to type to run a process again and to see more of it: pairs of a sentence and lines.

    Parameters
    ----------
    process : aiida.orm.ProcessNode
    entry_point : str
        Without its group.
    """
    found = []
    command, overrides = launch_command(process, entry_point)
    if overrides:
        found.append(('With what differs from the protocol in a file overrides.yaml:', overrides.rstrip()))
    if command:
        said = 'what had finished is taken from the cache; another seed makes a new run'
        found.append((f'The same again, from a terminal ({said}):', command))
    is_function = isinstance(process, orm.CalcFunctionNode)
    if is_function:
        module, _, name = str(process.process_type or '').rpartition('.')
        if module:
            lines = (
                f'from {module} import {name}',
                f"links = load_node('{process.uuid}').base.links.get_incoming(node_class=orm.Data)",
                f'{name}(**{{link.link_label: link.node for link in links.all()}})',
            )
            found.append(('Exactly the inputs of this function, in verdi shell:', '\n'.join(lines)))
    else:
        lines = ('from aiida.engine import submit', f"submit(load_node('{process.uuid}').get_builder_restart())")
        found.append(('Exactly the inputs of this process, in verdi shell:', '\n'.join(lines)))
    results = process.outputs.results if 'results' in process.outputs else None
    lines = [f'softclay plot {process.pk} -o figures.pdf']
    if not is_function:
        lines = [f'softclay results {process.pk} --warnings', *lines, f'softclay export {process.pk} study.zip']
    if results is not None:
        lines.insert(-2 if not is_function else 0, f'softclay trace {results.pk}')
    found.append(('Numbers, ancestors, figures for print, and everything for another machine:', '\n'.join(lines)))
    return found


def differences(protocol: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what parameters have that the protocol has not, or has otherwise, nested alike.

    >>> differences({'a': 1, 'b': {'c': 2, 'd': 3}}, {'a': 1, 'b': {'c': 5, 'd': 3}})
    {'b': {'c': 5}}
    """
    found: dict[str, Any] = {}
    for key, value in parameters.items():
        if key in ADDED:
            continue
        if isinstance(value, Mapping) and isinstance(protocol.get(key), Mapping):
            if inner := differences(protocol[key], value):
                found[key] = inner
        elif key not in protocol or protocol[key] != value:
            found[key] = value
    return found
