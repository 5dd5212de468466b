"""The chain behind a report in a few boxes: crystals, AIMD, frames, potential, glass, experiments, numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from aiida import orm

from aiida_softclay.data.engine import engine_text
from aiida_softclay.report.page.lineage import (
    LAYER_OF,
    Lineage,
    crystals_of,
    final_structures,
    load_data,
    stages_before,
)
from aiida_softclay.report.page.parts import Part
from aiida_softclay.report.progress import ended_with_warning
from aiida_softclay.report.provenance import describe, kind_of
from aiida_softclay.report.style import formula_text

#: Rows of the picture, from the first to the last.
LAYERS = ('crystals', 'sampling', 'frames', 'fit', 'potential', 'glass', 'model', 'experiment', 'analysis', 'numbers')
#: Most boxes in a row before they are drawn as one.
MOST_IN_LAYER = 4
#: Most node keys that a box lists.
MOST_KEYS = 6


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
    upstream = stages_before(parts)
    graph = Lineage([*upstream, *parts])
    stages = {part.node.pk: part for part in graph.parts}
    data = load_data({pk for found in (graph.inputs, graph.outputs) for pks in found.values() for pk in pks})
    members: dict[tuple[str, int], str] = {}  # (process or data, key) to the layer
    for part in graph.parts:
        members['process', part.node.pk] = LAYER_OF[part.group]
    made_by_glass = {pk for part in graph.parts if part.group == 'glass' for pk in graph.outputs[part.node.pk]}
    sampled = {pk for part in graph.parts if part.group == 'sampling' for pk in graph.outputs[part.node.pk]}
    final = final_structures(graph)
    for pk, node in data.items():
        kind = kind_of(node.node_type)
        if kind == 'frames' and pk in sampled:
            members['data', pk] = 'frames'
        elif kind == 'potential':
            members['data', pk] = 'potential'
        elif kind == 'structure' and pk in final and pk in made_by_glass:
            members['data', pk] = 'model'
    crystals, of_crystals = crystals_of(graph, data)
    for pk in crystals:
        members['data', pk] = 'crystals'
    numbers = _numbers(parts)
    chain = Chain()
    place: dict[tuple[str, int], int] = {}
    for layer in LAYERS:
        keys = sorted(key for key, found in members.items() if found == layer)
        if layer == 'potential':
            keys = _last_potentials(keys, graph, parts)
        for group in _groups(layer, keys, stages):
            place.update(dict.fromkeys(group, len(chain.boxes)))
            chain.boxes.append(_box(layer, group, stages, {**data, **crystals}))
        if layer == 'numbers' and numbers is not None:
            place['data', numbers.pk] = len(chain.boxes)
            count = len(numbers.get_dict().get('numbers') or [])
            chain.boxes.append(Box('numbers', 'Numbers', f'{count} number{"" if count == 1 else "s"}', [numbers.pk]))
    chain.edges = _edges(graph, place, of_crystals, data, numbers)
    return chain


def _numbers(parts: list[Part]) -> orm.Dict | None:
    """Return the results of the root, if it has any."""
    root = parts[0].node
    return root.outputs.results if 'results' in root.outputs else None


def _last_potentials(keys: list[tuple[str, int]], graph: Lineage, parts: list[Part]) -> list[tuple[str, int]]:
    """Return the potentials that are used, or that the fits return; a fit has several on its way."""
    used = {pk for part in graph.parts if part.group != 'fit' for pk in graph.inputs[part.node.pk]}
    given = {pk for part in graph.parts if part.group == 'fit' for pk in graph.outputs[part.node.pk]}
    return [key for key in keys if key[1] in used or key[1] in given]


def _groups(layer: str, keys: list[tuple[str, int]], stages: dict[int, Part]) -> list[list[tuple[str, int]]]:
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
        part = stages.get(key[1])
        kinds.setdefault(part.title if part is not None else '', []).append(key)
    return list(kinds.values())


def _box(layer: str, keys: list[tuple[str, int]], stages: dict[int, Part], data: dict[int, orm.Data]) -> Box:
    pks = [pk for _, pk in keys]
    if keys[0][0] == 'process':
        parts = [stages[pk] for pk in pks]
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
    return Box(layer, 'Glass', f'{formula_text(node.get_formula())}, {len(node.sites)} atoms', pks)


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
    return formula_text(node.get_formula())


def _about(parts: list[Part]) -> str:
    """Return what stands in the box of stages: of many what they sampled, of one the protocol."""
    if len(parts) > 1:
        names = [part.title.partition(': ')[2] for part in parts]
        return ', '.join(name for name in names if name)
    parameters = parts[0].node.inputs.parameters if 'parameters' in parts[0].node.inputs else None
    protocol = parameters.get_dict().get('protocol') if isinstance(parameters, orm.Dict) else None
    return f'protocol {protocol}' if protocol else ''


def _edges(
    graph: Lineage, place: dict[tuple[str, int], int], of_crystals: dict[int, set[int]], data: dict[int, orm.Data],
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
