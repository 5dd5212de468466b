"""Answer "where does this come from?": the data ancestors of a node, condensed to what a scientist recognises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from aiida import orm

from aiida_softclay.data.engine import engine_text

#: What a node is called in a trace, by entry point or class; the order is that of the chain.
KINDS = ('results', 'curve', 'time series', 'trajectory', 'potential', 'frames', 'structure', 'facts')


@dataclass
class Step:
    """One node of a trace.

    Attributes
    ----------
    node : aiida.orm.Data
        The data node.
    kind : str
        One of :data:`KINDS`.
    depth : int
        Number of processes between it and the node that was asked about.
    maker : aiida.orm.ProcessNode or None
        The calculation or calcfunction that created it.
    description : str
        What it holds.
    engine : str
        The program and version that made it, as recorded; empty if no program did.
    """

    node: orm.Data
    kind: str
    depth: int
    maker: orm.ProcessNode | None
    description: str
    engine: str = ''
    parents: list[int] = field(default_factory=list)


def kind_of(node_type: str) -> str | None:
    """Return what nodes of a type are called in a trace, as far as the type says it.

    >>> kind_of('data.softclay.potential.PotentialData.')
    'potential'
    """
    for part, kind in (
        ('softclay.frames', 'frames'),
        ('softclay.potential', 'potential'),
        ('softclay.trajectory', 'trajectory'),
        ('core.structure', 'structure'),
    ):
        if part in node_type:
            return kind
    return None


def _kind(node: orm.Data) -> str | None:
    if kind := kind_of(node.node_type):
        return kind
    if isinstance(node, orm.Dict) and str(node.base.attributes.get('schema', '')).startswith('softclay-results'):
        return 'results'
    if isinstance(node, orm.ArrayData) and type(node) is orm.ArrayData:
        return 'time series'
    return None


def _is_request(node: orm.Data, children: list[orm.Node]) -> bool:
    """Return whether a node says which structure was to be built."""
    builders = [child for child in children if str(getattr(child, 'process_label', '')).startswith('build_')]
    return isinstance(node, orm.Dict) and bool(builders)


def engine_of(node: orm.Data, maker: orm.ProcessNode | None = None) -> str:
    """Return the program and version that a node states, or the code of the job that made it."""
    text = engine_text(node.base.attributes.get('engine', None))
    if text:
        return text
    if _kind(node) == 'potential':
        return f'DeePMD-kit {node.base.attributes.get("version", "")} ({node.base.attributes.get("backend", "")})'
    if isinstance(maker, orm.CalcJobNode):
        code = maker.inputs.code if 'code' in maker.inputs else None
        return f'code {code.full_label}' if code is not None else ''
    return ''


def _source(maker: orm.ProcessNode | None) -> str:
    """Return where the facts of a crystal were taken from, as its builder reported."""
    if maker is None or not str(maker.process_label).startswith('build_'):
        return ''
    made = maker.base.links.get_outgoing().all_nodes()
    sources = [str(node.base.attributes.get('source', '')) for node in made if isinstance(node, orm.Dict)]
    described = [node.description for node in made if isinstance(node, orm.StructureData)]
    return next((text for text in [*sources, *described] if text), '')


def describe(node: orm.Data, kind: str, maker: orm.ProcessNode | None = None) -> str:
    """Return what a node of a kind holds, in a line."""
    attributes = node.base.attributes
    if kind == 'results':
        names = [number['name'] for number in attributes.get('numbers', [])]
        return f'{len(names)} numbers: {", ".join(names[:4])}{", …" if len(names) > 4 else ""}'
    if kind == 'facts':
        return ', '.join(
            f'{key} {value}' for key, value in sorted(attributes.all.items()) if not isinstance(value, dict)
        )
    if kind == 'structure':
        built = f'{node.get_formula(mode="hill_compact")}, {len(node.sites)} atoms'
        source = _source(maker)
        return built + (f', from: {source}' if source else '')
    if kind == 'frames':
        formulas = ', '.join(attributes.get('formulas', [])[:4])
        return f'{attributes.get("n_frames", "?")} labelled frames of {formulas}'
    if kind == 'potential':
        rmse = attributes.get('test_rmse', None)
        errors = ', '.join(f'{name} {value:.3g}' for name, value in rmse.items()) if rmse else ''
        return f'{"-".join(attributes.get("type_map", []))}, md5 {str(attributes.get("md5", ""))[:8]}' + (
            f', test RMSE {errors}' if errors else ''
        )
    if kind == 'trajectory':
        return (
            f'{attributes.get("n_frames", "?")} frames of {attributes.get("n_atoms", "?")} atoms, '
            f'steps {attributes.get("first_step", "?")}–{attributes.get("last_step", "?")}'
        )
    return ', '.join(node.get_arraynames()[:6]) if isinstance(node, orm.ArrayData) else node.node_type


def _parents(pks: list[int]) -> Iterator[tuple[int, int, str]]:
    """Yield (parent, child, link label) over the data provenance one level up."""
    query = orm.QueryBuilder()
    query.append(orm.Node, filters={'id': {'in': pks}}, tag='child', project='id')
    query.append(
        orm.Node,
        with_outgoing='child',
        edge_filters={'type': {'in': ['create', 'input_calc']}},
        project='id',
        edge_project='label',
    )
    for child, parent, label in query.all():
        yield parent, child, label


def results_node(node: orm.Node) -> orm.Node:
    """Return the results node of a workchain, or the node itself when it is data.

    Raises
    ------
    ValueError
        If a process has no results yet.
    """
    if not isinstance(node, orm.ProcessNode):
        return node
    results = node.base.links.get_outgoing(link_label_filter='results').all()
    if not results:
        state = node.process_state.value if node.process_state else 'not started'
        raise ValueError(f'{node.process_label} <{node.pk}> has no results: it is {state}')
    return results[0].node


def trace(node: orm.Node) -> list[Step]:
    """Return the ancestors of ``node`` that matter, from the node itself back to the crystals.

    Parameters
    ----------
    node : aiida.orm.Node
        A data node, or a workchain that has results.

    Returns
    -------
    list of Step
        Sorted by depth; inputs that are only settings are left out, and every kept step knows which kept steps it was
        made from.

    Raises
    ------
    ValueError
        If a process without results is given.
    """
    start = results_node(node)
    depth = {start.pk: 0}
    edges: dict[int, set[int]] = {}
    frontier = [start.pk]
    while frontier:
        following = []
        for parent, child, _ in _parents(frontier):
            edges.setdefault(child, set()).add(parent)
            if parent not in depth:
                depth[parent] = depth[child] + 1
                following.append(parent)
        frontier = following
    nodes = {
        row[0].pk: row[0]
        for row in orm.QueryBuilder().append(orm.Node, filters={'id': {'in': sorted(depth)}}, project='*').all()
    }
    children: dict[int, list[orm.Node]] = {}
    for child, parents in edges.items():
        for parent in parents:
            children.setdefault(parent, []).append(nodes[child])
    steps: dict[int, Step] = {}
    for pk, distance in depth.items():
        candidate = nodes[pk]
        kind = _kind(candidate) if isinstance(candidate, orm.Data) else None
        if kind is None and isinstance(candidate, orm.Data) and _is_request(candidate, children.get(pk, [])):
            kind = 'facts'
        if kind is None and pk != start.pk:
            continue
        maker = next((nodes[parent] for parent in edges.get(pk, ())), None)
        kind = kind or 'results'
        steps[pk] = Step(
            candidate, kind, (distance + 1) // 2, maker, describe(candidate, kind, maker), engine_of(candidate, maker)
        )
    for pk, step in steps.items():
        step.parents = sorted(_nearest_kept(pk, edges, steps))
    return sorted(steps.values(), key=lambda step: (step.depth, KINDS.index(step.kind), step.node.pk))


def _nearest_kept(pk: int, edges: dict[int, set[int]], kept: dict[int, Step]) -> set[int]:
    found: set[int] = set()
    seen: set[int] = set()
    frontier = set(edges.get(pk, ()))
    while frontier:
        current = frontier.pop()
        if current in seen:
            continue
        seen.add(current)
        if current in kept:
            found.add(current)
        else:
            frontier |= edges.get(current, set())
    return found
