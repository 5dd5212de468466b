"""A picture of the provenance of a number that fits on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from aiida_softclay.report.provenance import KINDS, trace

#: Fill colours by kind: from the colour-blind safe set of Okabe and Ito.
COLOURS = {
    'results': '#f0e442', 'curve': '#fbf6c4', 'time series': '#e3e3e3', 'trajectory': '#9ad0f0', 'potential': '#e8a33d',
    'frames': '#7cc8a4', 'structure': '#d9d9f3', 'facts': '#f4cbe0',
}  # fmt: skip


def draw_graph(node: orm.Node, path: Path, max_nodes: int = 80) -> int:
    """Draw the condensed provenance of ``node``.

    Parameters
    ----------
    node : aiida.orm.Node
        A data node, or a workchain with results.
    path : pathlib.Path
        Where to write; the suffix (``.png``, ``.svg``, ``.pdf``) decides the format.
    max_nodes : int
        Time series are left out, then the deepest steps, when there are more than this.

    Returns
    -------
    int
        Number of nodes drawn.

    Raises
    ------
    ValueError
        If the suffix is none that matplotlib writes.
    """
    import matplotlib as mpl
    import networkx as nx

    mpl.use('Agg')
    from matplotlib import pyplot as plt

    if path.suffix.lower() not in {'.png', '.svg', '.pdf'}:
        raise ValueError(f'{path.name}: the picture is written as .png, .svg or .pdf')
    steps = trace(node)
    if len(steps) > max_nodes:
        steps = [step for step in steps if step.kind != 'time series' or step.depth == 0][:max_nodes]
    kept = {step.node.pk: step for step in steps}
    graph = nx.DiGraph()
    for pk, step in kept.items():
        graph.add_node(pk, layer=0)
        for parent in step.parents:
            if parent in kept:
                graph.add_edge(parent, pk)
    graph = nx.transitive_reduction(graph) if graph.number_of_edges() else graph
    graph.add_nodes_from(kept)
    for layer, generation in enumerate(nx.topological_generations(graph)):
        for pk in generation:
            graph.nodes[pk]['layer'] = layer
    positions = nx.multipartite_layout(graph, subset_key='layer', align='horizontal')
    layers = max(data['layer'] for _, data in graph.nodes(data=True)) + 1
    widest = max(sum(1 for _, data in graph.nodes(data=True) if data['layer'] == layer) for layer in range(layers))
    figure, axes = plt.subplots(figsize=(max(7.0, 2.1 * widest), max(4.0, 1.3 * layers)))
    rows: dict[int, list[int]] = {}
    for pk, data in graph.nodes(data=True):
        rows.setdefault(data['layer'], []).append(pk)
    for layer, members in rows.items():
        # Below the mean of its parents a node has the fewest crossings (barycentre heuristic of layered drawings).
        members.sort(key=lambda pk: (_mean_column(graph, pk, positions), KINDS.index(kept[pk].kind), pk))
        for column, pk in enumerate(members):
            positions[pk] = ((column + 0.5) / len(members) * widest, -float(layer))
    nx.draw_networkx_edges(graph, positions, ax=axes, edge_color='#808080', arrowsize=9, node_size=1800, width=0.8)
    for pk, (x, y) in positions.items():
        step = kept[pk]
        maker = step.maker.process_label if step.maker is not None else 'given'
        detail = step.description if len(step.description) < 34 else step.description[:32] + '…'
        axes.text(
            x, y, f'{step.kind} {pk}\n{detail}\n{maker}', ha='center', va='center', fontsize=6.5,
            bbox={'boxstyle': 'round,pad=0.35', 'facecolor': COLOURS[step.kind], 'edgecolor': '#404040', 'lw': 0.6},
        )  # fmt: skip
    axes.set_xlim(-0.1, widest + 0.1)
    axes.set_ylim(-layers + 0.4, 0.6)
    axes.set_axis_off()
    axes.set_title(f'Where {trace_title(steps)} comes from', fontsize=9)
    figure.savefig(path, dpi=160, bbox_inches='tight')
    plt.close(figure)
    return len(kept)


def _mean_column(graph: Any, pk: int, positions: dict[int, tuple[float, float]]) -> float:
    """Return the mean column of the parents of a node, which are placed already."""
    parents = list(graph.predecessors(pk))
    return sum(positions[parent][0] for parent in parents) / len(parents) if parents else 0.0


def trace_title(steps: list) -> str:
    """Return the words for the node a trace starts from."""
    return f'{steps[0].kind} <{steps[0].node.pk}>'
