"""The chain behind a report in a few boxes: crystals, AIMD, frames, potential, glass, experiments, numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_softclay.data.engine import engine_text
from aiida_softclay.report.analysis_figures import entry_point_of
from aiida_softclay.report.page.parts import STAGES, Part, ended_with_warning
from aiida_softclay.report.provenance import describe, kind_of

#: Rows of the picture, from the first to the last.
LAYERS = ('crystals', 'sampling', 'frames', 'fit', 'potential', 'glass', 'model', 'experiment', 'analysis', 'numbers')
#: Most boxes in a row before they are drawn as one.
MOST_IN_LAYER = 4
#: Most node keys that a box lists.
MOST_KEYS = 6
#: Group of stages to the row of its box.
LAYER_OF = {
    'sampling': 'sampling', 'fit': 'fit', 'validation': 'experiment', 'thermodynamics': 'experiment',
    'glass': 'glass', 'experiment': 'experiment', 'analysis': 'analysis',
}  # fmt: skip


@dataclass
class Box:
    """A box of the picture.

    Attributes
    ----------
    layer : str
        One of :data:`LAYERS`.
    title : str
        What it is.
    detail : str
        What it holds, in a line.
    nodes : list of int
        Nodes that it stands for.
    failed : bool
        Whether a process in it did not end well.
    """

    layer: str
    title: str
    detail: str
    nodes: list[int]
    failed: bool = False

    @property
    def keys(self) -> str:
        """Return the nodes as a text."""
        listed = ', '.join(f'<{pk}>' for pk in self.nodes[:MOST_KEYS])
        rest = len(self.nodes) - MOST_KEYS
        return listed + (f' and {rest} more' if rest > 0 else '')


@dataclass
class Chain:
    """Boxes and the pairs of their indices that are joined, from what was used to what was made."""

    boxes: list[Box] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)

    def sentence(self) -> str:
        """Return the chain in words, for those who cannot see it."""
        said = []
        for index, box in enumerate(self.boxes):
            sources = [self.boxes[first].title for first, second in self.edges if second == index]
            text = f'{box.title} {box.keys}' + (f' from {", ".join(dict.fromkeys(sources))}' if sources else '')
            said.append(text)
        return '; '.join(said) + '.'


class _Graph:
    """What the nodes around the parts of a report are made from, read once."""

    def __init__(self, parts: list[Part]) -> None:
        own = {part.node.pk for part in parts if part.group in LAYER_OF}
        # The fits of a committee, and the runs of a series, are inside its box.
        self.parts = [part for part in parts if part.node.pk in own and not _is_inside(part.node, own)]
        self.inputs: dict[int, set[int]] = {part.node.pk: set() for part in self.parts}
        self.outputs: dict[int, set[int]] = {part.node.pk: set() for part in self.parts}
        pks = sorted(self.inputs)
        for process, data in _linked(pks, incoming=True):
            self.inputs[process].add(data)
        for process, data in _linked(pks, incoming=False):
            self.outputs[process].add(data)


def _is_inside(process: orm.ProcessNode, others: set[int]) -> bool:
    caller = process.caller
    while caller is not None:
        if caller.pk in others:
            return True
        caller = caller.caller
    return False


def _linked(pks: list[int], incoming: bool) -> list[tuple[int, int]]:
    """Return pairs of process and data: what it took, or what it gave."""
    if not pks:
        return []
    query = orm.QueryBuilder()
    query.append(orm.ProcessNode, filters={'id': {'in': pks}}, tag='process', project='id')
    relation: dict[str, Any] = {'with_outgoing': 'process'} if incoming else {'with_incoming': 'process'}
    query.append(orm.Data, project='id', **relation)
    return [tuple(row) for row in query.distinct().all()]


def chain_of(parts: Iterable[Part]) -> Chain:
    """Return the chain behind a report.

    Parameters
    ----------
    parts : iterable of Part
        The first is the root.

    Returns
    -------
    Chain
        About ten to twenty boxes; what is many is drawn as one box.
    """
    parts = [*parts]
    upstream = _upstream(parts)
    graph = _Graph([*upstream, *parts])
    nodes = {part.node.pk: part for part in graph.parts}
    data = _load({pk for found in (graph.inputs, graph.outputs) for pks in found.values() for pk in pks})
    members: dict[tuple[str, int], str] = {}  # (process or data, key) to the layer
    for part in graph.parts:
        members['process', part.node.pk] = LAYER_OF[part.group]
    made_by_glass = {pk for part in graph.parts if part.group == 'glass' for pk in graph.outputs[part.node.pk]}
    sampled = {pk for part in graph.parts if part.group == 'sampling' for pk in graph.outputs[part.node.pk]}
    final = _final_structures(graph)
    for pk, node in data.items():
        kind = kind_of(node.node_type)
        if kind == 'frames' and pk in sampled:
            members['data', pk] = 'frames'
        elif kind == 'potential':
            members['data', pk] = 'potential'
        elif kind == 'structure' and pk in final and pk in made_by_glass:
            members['data', pk] = 'model'
    crystals, of_crystals = _crystals(graph, data)
    for pk in crystals:
        members['data', pk] = 'crystals'
    numbers = _numbers(parts)
    chain = Chain()
    place: dict[tuple[str, int], int] = {}
    for layer in LAYERS:
        keys = sorted(key for key, found in members.items() if found == layer)
        if layer == 'potential':
            keys = _last_potentials(keys, graph, parts)
        for group in _groups(layer, keys, nodes):
            place.update(dict.fromkeys(group, len(chain.boxes)))
            chain.boxes.append(_box(layer, group, nodes, {**data, **crystals}))
        if layer == 'numbers' and numbers is not None:
            place['data', numbers.pk] = len(chain.boxes)
            count = len(numbers.get_dict().get('numbers') or [])
            chain.boxes.append(Box('numbers', 'Numbers', f'{count} number{"" if count == 1 else "s"}', [numbers.pk]))
    chain.edges = _edges(graph, place, of_crystals, data, numbers)
    return chain


def _upstream(parts: list[Part]) -> list[Part]:
    """Return the stages, not of this report, that made what its parts were given, back to the crystals."""
    found: dict[int, Part] = {}
    known = {part.node.pk for part in parts}
    frontier = [part.node for part in parts if part.relation in ('root', 'before', 'later')]
    while frontier:
        following = []
        for process in frontier:
            for link in process.base.links.get_incoming(node_class=orm.Data).all():
                maker = _stage_behind(link.node) if _is_followed(link.node.node_type) else None
                if maker is None or maker.pk in known:
                    continue
                known.add(maker.pk)
                call = maker.base.links.get_incoming(link_type=LinkType.CALL_WORK).all()
                found[maker.pk] = Part(maker, call[0].link_label if call else '', 'before')
                following.append(maker)
        frontier = following
    return list(found.values())


def _is_followed(node_type: str) -> bool:
    """Return whether data of a type lead from stage to stage: settings do not."""
    return kind_of(node_type) is not None or node_type.startswith('data.core.array.ArrayData.')


def _stage_behind(node: orm.Data) -> orm.ProcessNode | None:
    """Return the stage that a node was made in: the outermost workchain above its maker that has a box."""
    caller, found = node.creator.caller if node.creator is not None else None, None
    while caller is not None:
        group = STAGES.get(entry_point_of(caller), ('', ''))[1]
        found = caller if group in LAYER_OF else found
        caller = caller.caller
    return found


def _load(pks: set[int]) -> dict[int, orm.Data]:
    """Return the frames, potentials, trajectories, structures and time series among nodes."""
    if not pks:
        return {}
    query = orm.QueryBuilder()
    query.append(
        orm.Data,
        filters={
            'id': {'in': sorted(pks)},
            'or': [{'node_type': {'like': f'data.{kind}.%'}} for kind in ('softclay', 'core.structure', 'core.array')],
        },
    )
    return {node.pk: node for node in query.all(flat=True)}


def _final_structures(graph: _Graph) -> set[int]:
    """Return the structures that glasses made and that experiments took, or that nobody took."""
    found = set()
    for part in graph.parts:
        if part.group == 'glass' and 'structure' in part.node.outputs:
            found.add(part.node.outputs.structure.pk)
    return found


def _crystals(graph: _Graph, data: dict[int, orm.Data]) -> tuple[dict[int, orm.Data], dict[int, set[int]]]:
    """Return the crystals that stages began with, and which stage began with which.

    A crystal is a structure that a builder made from facts only; what a stage was given is followed back to them.
    """
    made = {pk for pks in graph.outputs.values() for pk in pks}
    starts: dict[int, set[int]] = {}
    for part in graph.parts:
        given = {pk for pk in graph.inputs[part.node.pk] if pk in data and kind_of(data[pk].node_type) == 'structure'}
        if part.group == 'glass' and 'initial_structure' in part.node.outputs:
            given.add(part.node.outputs.initial_structure.pk)
        starts[part.node.pk] = given
    crystals: dict[int, orm.Data] = {}
    used: dict[int, set[int]] = {}
    for process, given in starts.items():
        own = graph.outputs[process]
        for start in given:
            if start in made and start not in own:
                continue
            for crystal in _first_structures(start, made - own):
                crystals[crystal.pk] = crystal
                used.setdefault(process, set()).add(crystal.pk)
    return crystals, used


def _first_structures(start: int, stop: set[int]) -> list[orm.Data]:
    """Return the structures at the root of what a structure was built from, not going past what stages made."""
    frontier, known, first = {start}, {start}, []
    while frontier:
        query = orm.QueryBuilder()
        query.append(orm.StructureData, filters={'id': {'in': sorted(frontier)}}, tag='child', project='id')
        query.append(orm.CalculationNode, with_outgoing='child', edge_filters={'type': 'create'}, tag='maker')
        query.append(
            orm.StructureData, with_outgoing='maker', edge_filters={'type': 'input_calc'}, project='id'
        )  # fmt: skip
        rows = query.distinct().all()
        with_parents = {child for child, _ in rows}
        first += sorted(frontier - with_parents)
        frontier = {parent for _, parent in rows} - known - stop
        known |= frontier
    return [orm.load_node(pk) for pk in first]


def _numbers(parts: list[Part]) -> orm.Dict | None:
    """Return the results of the root, if it has any."""
    root = parts[0].node
    return root.outputs.results if 'results' in root.outputs else None


def _last_potentials(keys: list[tuple[str, int]], graph: _Graph, parts: list[Part]) -> list[tuple[str, int]]:
    """Return the potentials that are used, or that the fits return; a fit has several on its way."""
    used = {pk for part in graph.parts if part.group != 'fit' for pk in graph.inputs[part.node.pk]}
    given = {pk for part in graph.parts if part.group == 'fit' for pk in graph.outputs[part.node.pk]}
    return [key for key in keys if key[1] in used or key[1] in given]


def _groups(layer: str, keys: list[tuple[str, int]], nodes: dict[int, Part]) -> list[list[tuple[str, int]]]:
    """Return which members of a row share a box."""
    if not keys:
        return []
    if layer in ('frames', 'crystals') or (layer in ('sampling', 'potential', 'model') and len(keys) > MOST_IN_LAYER):
        return [keys]
    if len(keys) <= MOST_IN_LAYER:
        return [[key] for key in keys]
    # Of many experiments and analyses those of one kind share a box.
    kinds: dict[str, list[tuple[str, int]]] = {}
    for key in keys:
        part = nodes.get(key[1])
        kinds.setdefault(part.title if part is not None else '', []).append(key)
    return list(kinds.values())


def _box(layer: str, keys: list[tuple[str, int]], nodes: dict[int, Part], data: dict[int, orm.Data]) -> Box:
    pks = [pk for _, pk in keys]
    if keys[0][0] == 'process':
        parts = [nodes[pk] for pk in pks]
        ended = [part.node for part in parts if part.node.is_terminated]
        failed = any(not node.is_finished_ok and not ended_with_warning(node) for node in ended)
        running = any(not part.node.is_terminated for part in parts)
        title = parts[0].title if len(parts) == 1 else f'{parts[0].title.partition(":")[0]}, {len(parts)} runs'
        detail = 'failed' if failed else 'not done' if running else _about(parts)
        return Box(layer, title, detail, pks, failed)
    found = [data[pk] for pk in pks]
    if layer == 'frames':
        total = sum(node.base.attributes.get('n_frames', 0) or 0 for node in found)
        engines = sorted({engine_text(node.base.attributes.get('engine', None)) for node in found} - {''})
        labels = ', '.join(text.rpartition(' (')[0] or text for text in engines)
        return Box(layer, f'{total} labelled frames', f'energies of {labels}' if labels else '', pks)
    if layer == 'crystals':
        names = list(dict.fromkeys(_start_name(node) for node in found))
        return Box(layer, 'Crystals and cells built of them', ', '.join(names), pks)
    if layer == 'potential':
        rmse = found[-1].base.attributes.get('test_rmse', None) or {}
        said = [f'{rmse[key]:.3g} {unit}' for key, unit in (('energy_meV_atom', 'meV/atom'), ('force_meV_A', 'meV/Å'))
                if rmse.get(key) is not None]  # fmt: skip
        detail = f'test RMSE {", ".join(said)}' if said else describe(found[-1], 'potential')
        return Box(layer, 'Potential' if len(found) == 1 else f'{len(found)} potentials', detail, pks)
    node = found[-1]
    return Box(layer, 'Glass', f'{node.get_formula(mode="hill_compact")}, {len(node.sites)} atoms', pks)


def _start_name(node: orm.StructureData) -> str:
    """Return what a structure was built as: the crystal or mixture in the facts, else its formula."""
    creator = node.creator
    if creator is not None:
        for link in creator.base.links.get_incoming(node_class=orm.Dict).all():
            facts = link.node.get_dict()
            for key in ('crystal', 'mixture', 'material'):
                if isinstance(facts.get(key), str):
                    kind = str(creator.process_label or '').removeprefix('build_').replace('_', ' ')
                    return facts[key] if key == 'crystal' else f'{kind} of {facts[key]}'
    return node.get_formula(mode='hill_compact')


def _about(parts: list[Part]) -> str:
    """Return what stands in the box of stages: of many what they sampled, of one the protocol."""
    if len(parts) > 1:
        names = [part.title.partition(': ')[2] for part in parts]
        return ', '.join(name for name in names if name)
    parameters = parts[0].node.inputs.parameters if 'parameters' in parts[0].node.inputs else None
    protocol = parameters.get_dict().get('protocol') if isinstance(parameters, orm.Dict) else None
    return f'protocol {protocol}' if protocol else ''


def _edges(
    graph: _Graph, place: dict[tuple[str, int], int], of_crystals: dict[int, set[int]], data: dict[int, orm.Data],
    numbers: orm.Dict | None,
) -> list[tuple[int, int]]:  # fmt: skip
    """Return which boxes are joined."""
    found: set[tuple[int, int]] = set()
    made = {pk: process for process, pks in graph.outputs.items() for pk in pks}

    def join(first: tuple[str, int], second: tuple[str, int]) -> None:
        if first in place and second in place and place[first] != place[second]:
            found.add((place[first], place[second]))

    for process in graph.inputs:
        here = ('process', process)
        for pk in graph.inputs[process]:
            if ('data', pk) in place:
                join(('data', pk), here)
            elif pk in made and pk in data and made[pk] != process:
                join(('process', made[pk]), here)
        for pk in graph.outputs[process]:
            if pk not in graph.inputs[process]:
                join(here, ('data', pk))
        for pk in of_crystals.get(process, ()):
            join(('data', pk), here)
    if numbers is not None:
        end = ('data', numbers.pk)
        taken = {numbers.pk}
        if numbers.creator is not None:
            taken |= {link.node.pk for link in numbers.creator.base.links.get_incoming(node_class=orm.Data).all()}
        for process, pks in graph.outputs.items():
            if pks & taken:
                join(('process', process), end)
    return sorted(found)
