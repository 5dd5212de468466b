"""Answer "what did this lead to?": the data made from a node, and the studies that used it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from aiida import orm

from aiida_softclay.report.provenance import KINDS, describe, engine_of, kind_of

#: Values in one condition of a query: the databases bound them.
CHUNK = 5000


@dataclass
class Descendants:
    """What came of a node.

    Attributes
    ----------
    counts : dict
        Number of nodes of each kind: frames, potentials, structures, trajectories, results.
    steps : list of Descendant
        The newest of each kind.
    studies : list of tuple
        (pk, process label, label) of the workchains that no other called and that used the node or what came of it, the
        newest first.
    n_studies : int
        How many of these there are; ``studies`` holds the newest.
    """

    counts: dict[str, int]
    steps: list[Descendant]
    studies: list[tuple[int, str, str]] = field(default_factory=list)
    n_studies: int = 0


@dataclass
class Descendant:
    """A node that was made from another one: how many processes lie between, and what it holds."""

    node: orm.Data
    kind: str
    depth: int
    description: str
    engine: str


def _chunks(values: Iterable[int]) -> Iterator[list[int]]:
    ordered = sorted(values)
    for start in range(0, len(ordered), CHUNK):
        yield ordered[start : start + CHUNK]


def _children(pks: Iterable[int]) -> set[int]:
    """Return what the processes made that took any of these nodes."""
    found: set[int] = set()
    for part in _chunks(pks):
        query = orm.QueryBuilder()
        query.append(orm.Data, filters={'id': {'in': part}}, tag='parent')
        query.append(orm.CalculationNode, with_incoming='parent', tag='maker')
        query.append(orm.Data, with_incoming='maker', edge_filters={'type': 'create'}, project='id')
        found |= set(query.distinct().all(flat=True))
    return found


def descendants(node: orm.Node, newest: int = 20, longest: int = 100) -> Descendants:
    """Return what was made from a node, over any number of calculations.

    Parameters
    ----------
    node : aiida.orm.Node
        A data node, such as a crystal, frames or a potential; or a process, whose outputs are followed.
    newest : int
        How many nodes of each kind are described.
    longest : int
        How many studies are named.

    Returns
    -------
    Descendants
        Counts over everything, descriptions of the newest.
    """
    if isinstance(node, orm.ProcessNode):
        outgoing = node.base.links.get_outgoing(node_class=orm.Data).all()
        start = {entry.node.pk for entry in outgoing}
        depth = dict.fromkeys(start, 0)
    else:
        start = {node.pk}
        depth = {node.pk: 0}
    frontier, level = start, 0
    while frontier:
        level += 1
        frontier = _children(frontier) - depth.keys()
        depth |= dict.fromkeys(frontier, level)
    made = depth.keys() if isinstance(node, orm.ProcessNode) else depth.keys() - {node.pk}
    kinds = _kinds(made)
    counts = Counter(kinds.values())
    chosen = [
        pk
        for kind in counts
        for pk in sorted((pk for pk, found in kinds.items() if found == kind), reverse=True)[:newest]
    ]
    nodes = {row.pk: row for part in _chunks(chosen) for row in _nodes(part)}
    steps = [
        Descendant(nodes[pk], kinds[pk], depth[pk], describe(nodes[pk], kinds[pk]), engine_of(nodes[pk]))
        for pk in chosen
    ]
    steps.sort(key=lambda step: (step.depth, KINDS.index(step.kind), -step.node.pk))
    studies = _studies(depth.keys())
    if isinstance(node, orm.ProcessNode):
        studies = [row for row in studies if row[0] != node.pk]
    return Descendants(dict(counts), steps, studies[:longest], len(studies))


def _nodes(pks: Sequence[int]) -> list[orm.Node]:
    return orm.QueryBuilder().append(orm.Data, filters={'id': {'in': list(pks)}}).all(flat=True)


def _kinds(pks: Iterable[int]) -> dict[int, str]:
    """Return the kind of each node that is no mere setting, without loading the nodes."""
    found: dict[int, str] = {}
    for part in _chunks(pks):
        query = orm.QueryBuilder()
        query.append(orm.Data, filters={'id': {'in': part}}, project=['id', 'node_type'])
        rows = query.all()
        tables = [pk for pk, node_type in rows if node_type.startswith('data.core.dict.')]
        if tables:
            schemas = orm.QueryBuilder().append(
                orm.Dict,
                filters={'id': {'in': tables}, 'attributes.schema': {'like': 'softclay-results%'}},
                project='id',
            )
            found |= dict.fromkeys(schemas.all(flat=True), 'results')
        for pk, node_type in rows:
            if kind := kind_of(node_type):
                found[pk] = kind
    return found


def _studies(pks: Iterable[int]) -> list[tuple[int, str, str]]:
    """Return the workchains that took any of these nodes and that no other workchain called, the newest first."""
    users: dict[int, tuple[int, str, str]] = {}
    for part in _chunks(pks):
        query = orm.QueryBuilder()
        query.append(orm.Data, filters={'id': {'in': part}}, tag='data')
        query.append(
            orm.ProcessNode, with_incoming='data', project=['id', 'attributes.process_label', 'label']
        )  # fmt: skip
        users |= {row[0]: tuple(row) for row in query.distinct().all()}
    # From each process up to the workchain that nobody called.
    top: dict[int, tuple[int, str, str]] = {}
    level = users
    while level:
        called: dict[int, tuple[int, str, str]] = {}
        children: set[int] = set()
        for part in _chunks(level):
            query = orm.QueryBuilder()
            query.append(orm.ProcessNode, filters={'id': {'in': part}}, tag='child', project='id')
            query.append(
                orm.WorkflowNode, with_outgoing='child', project=['id', 'attributes.process_label', 'label']
            )  # fmt: skip
            for child, *caller in query.all():
                children.add(child)
                called[caller[0]] = (caller[0], caller[1], caller[2])
        top |= {pk: row for pk, row in level.items() if pk not in children}
        level = {pk: row for pk, row in called.items() if pk not in top}
    return sorted(top.values(), reverse=True)
