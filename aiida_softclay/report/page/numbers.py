"""The numbers of a report, stage by stage, each with its definition, its node and its warnings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiida import orm

from aiida_softclay.analysis.quantity import SCHEMA
from aiida_softclay.data.engine import engine_text
from aiida_softclay.report.page.parts import STAGES, Part
from aiida_softclay.report.queries import format_value
from aiida_softclay.report.scorecard import STAGE
from aiida_softclay.report.style import power_text, unit_text
from aiida_softclay.report.values import finite_or_none

#: Conditions that have a column of their own, or that say nothing to a reader.
SHOWN_ELSEWHERE = {'temperature_K', 'n_atoms', 'engine'}
#: Stages of a study, by the first part of the names of its numbers, to their headings.
HEADINGS = {
    'potential': 'Potential', 'amorphous': 'Amorphous model', 'checks': 'Checks of the amorphous model',
    'exchange': 'Exchange of anions', 'conductivity_collective': 'Conductivity of all ions together',
    'constant_strain_plasticity': 'Plasticity at constant strain rate', 'sampling': 'Ab initio sampling',
    'fit': 'Fit of the potential', 'validation': 'Validation of the potential', 'arrhenius': 'Activation energies',
}  # fmt: skip
#: Headings of the tables in the order of reading; others follow as they come.
ORDER = [
    HEADINGS['amorphous'], HEADINGS['checks'], HEADINGS['exchange'], 'Stress pulses', 'Constant strain rate',
    HEADINGS['constant_strain_plasticity'], 'Conductivity', HEADINGS['conductivity_collective'], HEADINGS['potential'],
]  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A number as it stands in a table; texts are plain, the page escapes them.

    Attributes
    ----------
    name, value, unit : str
        Value with its error.
    temperature, atoms : str
        Empty where not recorded.
    definition, window, error_method, n_samples : str
        How it was found.
    conditions : list of (str, str)
        What else it holds at.
    warnings : list of str
    node : int
        Results node that it was first written in.
    """

    name: str
    value: str
    unit: str
    temperature: str
    atoms: str
    definition: str
    window: str
    error_method: str
    n_samples: str
    conditions: list[tuple[str, str]]
    warnings: list[str]
    node: int


@dataclass
class Table:
    """Numbers of one stage: heading, the results node, and the rows."""

    heading: str
    node: int
    rows: list[Number] = field(default_factory=list)


def tables_of(parts: Iterable[Part]) -> list[Table]:
    """Return the numbers of the parts of a report, every number once.

    A study that ended collects those of its stages; of one that did not, those of the stages that did are taken.

    Parameters
    ----------
    parts : iterable of Part
        The first is the root.
    """
    every = [(part, label, node) for part in parts if part.relation != 'before' for label, node in _results_of(part)]
    contents = {node.uuid: node.get_dict() for _, _, node in every}
    contents = {uuid: content for uuid, content in contents.items() if content.get('schema') == SCHEMA}
    # Of a study from the cache the numbers name the nodes of the study that ran first; here stand their copies.
    own: dict[str, int] = {}
    for _, _, node in every:
        if node.uuid in contents:
            own.setdefault(_digest(contents[node.uuid]), node.pk)
    sources = _sources(contents.values())
    nodes = {uuid: own.get(digest, pk) for uuid, (pk, digest) in sources.items()}
    collected = {digest for _, digest in sources.values()}
    tables: list[Table] = []
    shown: set[str] = set()
    for part, label, node in every:
        if node.uuid in shown or node.uuid not in contents or _digest(contents[node.uuid]) in collected:
            continue
        shown.add(node.uuid)
        tables += _tables(part, label, node, contents[node.uuid], nodes)
    # What was launched on its own stays behind; within the study the order is that of reading.
    return sorted(tables, key=lambda table: ORDER.index(table.heading) if table.heading in ORDER else len(ORDER))


def _results_of(part: Part) -> list[tuple[str, orm.Dict]]:
    """Return the results nodes of a process, those that collect others first."""
    found = {}
    for link in part.node.base.links.get_outgoing(node_class=orm.Dict).all():
        name = link.link_label
        if name.startswith(('results', 'stages__', 'further__', 'checks')) or part.group == 'analysis':
            found.setdefault(link.node.pk, (name, link.node))
    return sorted(found.values(), key=lambda pair: (not pair[0].startswith('results'), pair[1].pk))


def _tables(
    part: Part, label: str, results: orm.Dict, content: Mapping[str, Any], nodes: Mapping[str, int]
) -> list[Table]:
    own = part.title + (f', launched on its own as <{part.node.pk}>' if part.relation == 'later' else '')
    inner = label.partition('__')[2]
    if inner:
        own = HEADINGS.get(inner) or f'{own}: {inner.replace("_", " ")}'
    elif label == 'checks':
        own = HEADINGS['checks']
    context = content.get('context') or {}
    found: dict[str, Table] = {}
    for row in content['numbers']:
        stage, dot, rest = row['name'].partition('.')
        collected = bool(row.get('source') and dot)
        heading = _heading(stage) if collected else own
        node = nodes.get(row.get('source'), results.pk)
        table = found.setdefault(heading, Table(heading, results.pk))
        table.rows.append(_number(row, rest if collected else row['name'], context, node))
    return list(found.values())


def _heading(stage: str) -> str:
    """Return the heading of a stage that numbers were collected from."""
    if stage in HEADINGS:
        return HEADINGS[stage]
    if stage in STAGES:
        return STAGES[stage][0]
    if temperature := re.fullmatch(r'temperature_k_(\d+)_(\d+)', stage, re.IGNORECASE):
        return f'At {float(".".join(temperature.groups())):g} K'
    return stage.replace('_', ' ') if not STAGE.fullmatch(stage) else stage.replace('_', ' ').capitalize()


def _digest(content: Mapping[str, Any]) -> str:
    """Return what tells two results apart, whichever nodes hold them."""
    return json.dumps(content, sort_keys=True)


def _sources(contents: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, str]]:
    """Return key and digest of the results that collected numbers were taken from, by uuid; not of deleted ones."""
    uuids = {row['source'] for content in contents for row in content['numbers'] if row.get('source')}
    if not uuids:
        return {}
    query = orm.QueryBuilder()
    query.append(orm.Dict, filters={'uuid': {'in': sorted(uuids)}}, project=['uuid', 'id', 'attributes'])
    return {uuid: (pk, _digest(content)) for uuid, pk, content in query.all()}


def _number(row: Mapping[str, Any], name: str, context: Mapping[str, Any], node: int) -> Number:
    conditions = dict(row.get('conditions') or {})
    known = {**context, **conditions}
    temperature = known.get('temperature_K')
    window = ''
    if row.get('window'):
        low, high = row['window']
        window = f'{low:.4g} to {high:.4g} {unit_text(row.get("window_unit") or "1")}'.strip()
    details = [
        (key, _condition(value)) for key, value in sorted(conditions.items())
        if key not in SHOWN_ELSEWHERE and value not in (None, '', [], {})
    ]  # fmt: skip
    return Number(
        name, value_text(finite_or_none(row['value']), finite_or_none(row['error'])), unit_text(row['unit']),
        '' if finite_or_none(temperature) is None else f'{temperature:.0f}',
        '' if finite_or_none(known.get('n_atoms')) is None else f'{known["n_atoms"]:.0f}',
        str(row.get('definition') or ''), window, str(row.get('error_method') or ''), str(row.get('n_samples', '')),
        details, [str(text) for text in row.get('warnings') or []], node,
    )  # fmt: skip


def value_text(value: float | None, error: float | None) -> str:
    """Return value and error as they are printed, powers of ten instead of an e.

    >>> value_text(1.234e-9, 2.1e-10), value_text(None, None), value_text(-3.5, None)
    ('(1.23 ± 0.21)×10⁻⁹', 'undetermined', '−3.5')
    """
    if value is None:
        return 'undetermined'
    if error is not None and 0 < error < 1e-6 * abs(value):
        # The error of rounding, as of a number that a law fixes: its digits would hide the value.
        return f'{power_text(value, 6)} ± {power_text(error, 2)}'
    text = format_value(value, error)
    mantissa, mark, exponent = text.partition('e') if 'und' not in text else (text, '', '')
    if mark:
        text = f'{mantissa}×10{unit_text(f"^{int(exponent)}")}'
    elif error is None:
        text = power_text(value, 4)
    return text.replace('-', '−')


def _condition(value: Any) -> str:
    if isinstance(value, Mapping):
        if value.get('program'):
            return engine_text(value)
        return ', '.join(f'{key} {_condition(item)}' for key, item in value.items())
    if isinstance(value, float):
        return f'{value:.5g}'
    if isinstance(value, list | tuple):
        return ', '.join(_condition(item) for item in value)
    return str(value)


def warnings_of(tables: Iterable[Table]) -> list[tuple[str, list[str]]]:
    """Return each warning with the names of the numbers that carry it, those that most carry first."""
    found: dict[str, list[str]] = {}
    for table in tables:
        for row in table.rows:
            for text in row.warnings:
                found.setdefault(text, []).append(row.name)
    return sorted(found.items(), key=lambda pair: -len(pair[1]))
