"""What the stages of a report took and gave, read from the database: back to the crystals, before it is drawn."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_softclay.report.analysis_figures import entry_point_of
from aiida_softclay.report.page.parts import STAGES, Part
from aiida_softclay.report.provenance import kind_of

#: Group of stages to the row of its box.
LAYER_OF = {
    'sampling': 'sampling', 'fit': 'fit', 'validation': 'experiment', 'thermodynamics': 'experiment',
    'glass': 'glass', 'experiment': 'experiment', 'analysis': 'analysis',
}  # fmt: skip


class Lineage:
    """What the stages of a report took and gave, read once.

    Attributes
    ----------
    parts : list of Part
        The stages that have a box, without those that are inside the box of another.
    inputs, outputs : dict
        Process to the data that it took, and that it gave.
    """

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


def stages_before(parts: list[Part]) -> list[Part]:
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


def load_data(pks: set[int]) -> dict[int, orm.Data]:
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


def final_structures(graph: Lineage) -> set[int]:
    """Return the structures that glasses made and that experiments took, or that nobody took."""
    found = set()
    for part in graph.parts:
        if part.group == 'glass' and 'structure' in part.node.outputs:
            found.add(part.node.outputs.structure.pk)
    return found


def crystals_of(graph: Lineage, data: dict[int, orm.Data]) -> tuple[dict[int, orm.Data], dict[int, set[int]]]:
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
