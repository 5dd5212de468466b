"""Which nodes a take-away holds: the provenance of what was asked for, and a name that says what each node is."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.tools.graph.graph_traversers import get_nodes_export

#: Values in one condition of a query: the databases bound them.
CHUNK = 5000
#: Longest name of a file without its ending.
LONGEST_NAME = 80
#: Rules of AiiDA by which nothing leads up from a process to the workchain that called it.
WITHOUT_CALLERS = {'call_calc_backward': False, 'call_work_backward': False}


@dataclass
class Selection:
    """The nodes of a take-away.

    Attributes
    ----------
    roots : list of Node
        What was asked for.
    pks : set of int
        All nodes that are taken: the roots, what they were made from, what they called and made.
    unfinished : list of ProcessNode
        Processes among them that have not ended; they stay behind, AiiDA archives hold finished ones only.
    names : dict
        Key to name, for data nodes.
    rules : dict
        Rules of AiiDA that the archive is collected by.
    """

    roots: list[orm.Node]
    pks: set[int]
    unfinished: list[orm.ProcessNode] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    rules: dict[str, bool] = field(default_factory=dict)
    links: list[Any] = field(default_factory=list)

    def nodes(self, node_class: Any, **filters: Any) -> Iterator[Any]:
        """Yield the nodes of a class, in the order in which they were made."""
        for part in chunks(self.pks):
            query = orm.QueryBuilder()
            query.append(node_class, filters={'id': {'in': part}, **filters}, tag='node')
            query.order_by({'node': {'id': 'asc'}})
            yield from query.all(flat=True)

    def starting_nodes(self) -> list[orm.Node]:
        """Return the nodes from which AiiDA collects the archive: the roots, or all that is finished of them."""
        if not self.unfinished:
            return self.roots
        return list(self.nodes(orm.Node))


def chunks(values: Iterable[int], size: int = CHUNK) -> Iterator[list[int]]:
    """Yield sorted values in lists that a database takes in one condition."""
    ordered = sorted(values)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def select(roots: Sequence[orm.Node], callers: bool = True) -> Selection:
    """Return the provenance of nodes: inputs, ancestors, everything called and made, and the callers.

    Parameters
    ----------
    roots : sequence of aiida.orm.Node
        Stored nodes.
    callers : bool
        Whether the workchains that called something, and so everything else that these called and made, belong to it.

    Returns
    -------
    Selection
        Without processes that have not ended, and without what these have made so far.

    Raises
    ------
    ValueError
        If nothing is left, because what was asked for runs and nothing of it has ended.
    """
    rules: dict[str, bool] = {} if callers else dict(WITHOUT_CALLERS)
    found = get_nodes_export({node.pk for node in roots}, get_links=True, **rules)
    pks, links = set(found['nodes']), list(found['links'] or ())
    unfinished, named_by = _unfinished(pks), links
    if unfinished:
        open_pks = {node.pk for node in unfinished}
        made = {link.target_id for link in links if link.source_id in open_pks and _is(link, LinkType.CREATE)}
        pks -= open_pks | made
        # A study that runs is not reached from its finished stages: it cannot be archived before it ends.
        rules = dict(WITHOUT_CALLERS)
        links = [link for link in links if link.source_id in pks and link.target_id in pks]
    if not pks or (unfinished and not _any_process(pks) and all(isinstance(node, orm.ProcessNode) for node in roots)):
        states = ', '.join(f'{node.process_label} <{node.pk}>' for node in roots if isinstance(node, orm.ProcessNode))
        raise ValueError(f'{states} runs and no calculation of it has ended: there is nothing to take away yet')
    selection = Selection(list(roots), pks, unfinished, rules=rules, links=links)
    selection.names = _names(selection, named_by)
    return selection


def _is(link: Any, *kinds: LinkType) -> bool:
    return link.link_type in {kind.value for kind in kinds}


def _unfinished(pks: Collection[int]) -> list[orm.ProcessNode]:
    found: list[orm.ProcessNode] = []
    for part in chunks(pks):
        query = orm.QueryBuilder()
        query.append(orm.ProcessNode, filters={'id': {'in': part}, 'attributes.sealed': {'!in': [True]}})
        found.extend(query.all(flat=True))
    return sorted(found, key=lambda node: node.pk)


def _any_process(pks: Collection[int]) -> bool:
    return any(
        orm.QueryBuilder().append(orm.ProcessNode, filters={'id': {'in': part}}).limit(1).count()
        for part in chunks(pks)
    )


def words(text: str) -> str:
    """Return a text as part of the name of a file: words joined by underscores, formulas as they are.

    >>> words('StressPulseWorkChain'), words('relax_LiCl'), words('curves__stress pulse/α')
    ('stress_pulse', 'relax_LiCl', 'curves.stress_pulse')
    """
    text, is_class = re.subn('(WorkChain|Calculation)$', '', text)
    if is_class:
        text = re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', text).lower()
    return re.sub(r'[^A-Za-z0-9._+-]+', '_', text.replace('__', '.')).strip('._')


def _names(selection: Selection, links: Sequence[Any]) -> dict[int, str]:
    """Return a unique name for each data node: by the output it is, below the stage that gave it out."""
    labels: dict[int, str] = {}
    uuids: dict[int, str] = {}
    processes = {link.source_id for link in links} | selection.pks
    for part in chunks(processes):
        query = orm.QueryBuilder().append(
            orm.ProcessNode, filters={'id': {'in': part}}, project=['id', 'attributes.process_label']
        )
        labels |= {pk: str(label or '') for pk, label in query.all()}
    for part in chunks(selection.pks):
        query = orm.QueryBuilder().append(orm.Data, filters={'id': {'in': part}}, project=['id', 'uuid'])
        uuids |= dict(query.all())
    outputs: dict[int, list[tuple[str, int]]] = {}
    calls: dict[int, list[tuple[str, int]]] = {}
    inputs: dict[int, str] = {}
    for link in sorted(links, key=lambda link: (link.source_id, link.target_id)):
        if _is(link, LinkType.RETURN, LinkType.CREATE):
            outputs.setdefault(link.source_id, []).append((link.link_label, link.target_id))
        elif _is(link, LinkType.CALL_CALC, LinkType.CALL_WORK):
            calls.setdefault(link.source_id, []).append((link.link_label, link.target_id))
        elif _is(link, LinkType.INPUT_CALC, LinkType.INPUT_WORK):
            inputs.setdefault(link.source_id, link.link_label)
    called = {pk for children in calls.values() for _, pk in children}
    roots = [node.pk for node in selection.roots if node.pk in labels]
    queue = deque([(pk, '') for pk in roots])
    queue.extend((pk, words(labels[pk])) for pk in sorted(labels.keys() - called - set(roots)))
    names: dict[int, str] = {}
    seen: set[int] = set()
    while queue:
        process, prefix = queue.popleft()
        if process in seen:
            continue
        seen.add(process)
        for label, pk in outputs.get(process, ()):
            if pk in uuids:
                names.setdefault(pk, _joined(prefix, label))
        for label, pk in calls.get(process, ()):
            own = labels.get(pk, '') if label in ('CALL', 'CALL_CALC', 'CALL_WORK') else label
            queue.append((pk, _joined(prefix, own)))
    for pk in uuids.keys() - names.keys():
        names[pk] = words(inputs.get(pk, 'node'))
    return _unique({pk: names[pk] for pk in sorted(uuids)}, uuids)


def _joined(prefix: str, label: str) -> str:
    return '.'.join(part for part in (prefix, words(label)) if part)


def _unique(names: dict[int, str], uuids: dict[int, str]) -> dict[int, str]:
    """Return names that differ also where case does not matter; the first words of a long one are left out."""
    short = {pk: (name[-LONGEST_NAME:].lstrip('._') or 'node') for pk, name in names.items()}
    counts: dict[str, int] = {}
    for name in short.values():
        counts[name.lower()] = counts.get(name.lower(), 0) + 1
    return {pk: name if counts[name.lower()] == 1 else f'{name}_{uuids[pk][:8]}' for pk, name in short.items()}
