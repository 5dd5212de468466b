"""Connected parts of a periodic cell, and whether they meet their own periodic images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from .trajectory import IntArray


@dataclass(frozen=True)
class PeriodicParts:
    """Connected parts of a periodic graph.

    Attributes
    ----------
    label : ndarray of int, shape (n_nodes,)
        Part of every node.
    image : ndarray of int, shape (n_nodes, 3)
        Lattice vectors, in units of the cell, that make each part whole.
    dimension : ndarray of int, shape (n_parts,)
        Number of independent directions in which a part meets its own periodic images: 0 for a part that ends within
        the cell, 1 for a thread, 2 for a sheet, 3 for a network.
    """

    label: IntArray
    image: IntArray
    dimension: IntArray

    @property
    def sizes(self) -> IntArray:
        """Number of nodes of every part."""
        return np.bincount(self.label, minlength=self.dimension.size)


def periodic_parts(n_nodes: int, first: npt.ArrayLike, second: npt.ArrayLike, steps: npt.ArrayLike) -> PeriodicParts:
    """Return the connected parts of a periodic graph and the dimension of each.

    From one node of a part all others are reached along edges, adding up their lattice vectors. Where two ways to a
    node differ by a lattice vector, the part meets its image along it; the rank of these vectors is the dimension.

    Parameters
    ----------
    n_nodes : int
        Number of nodes.
    first, second : array_like of int, shape (n_edges,)
        Ends of the edges, each edge in one direction or both.
    steps : array_like of int, shape (n_edges, 3)
        Lattice vector, in units of the cell, that brings the second node next to the first.
    """
    i, j = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    step = np.asarray(steps, dtype=np.int64).reshape(-1, 3)
    source, target = np.concatenate([i, j]), np.concatenate([j, i])
    vector = np.concatenate([step, -step])
    # One edge for each pair of nodes is enough to reach all of them.
    code = source * n_nodes + target
    kept, where = np.unique(code, return_index=True)
    graph = coo_array((np.ones(kept.size), (source[where], target[where])), shape=(n_nodes, n_nodes)).tocsr()
    n_parts, label = connected_components(graph, directed=False)
    image = np.zeros((n_nodes, 3), dtype=np.int64)
    _, roots = np.unique(label, return_index=True)
    for root in roots[np.bincount(label, minlength=n_parts) > 1].tolist():
        order, predecessors = breadth_first_order(graph, root, directed=True)
        later = order[1:]
        edge = where[np.searchsorted(kept, predecessors[later].astype(np.int64) * n_nodes + later)]
        for node, before, along in zip(later.tolist(), predecessors[later].tolist(), vector[edge], strict=True):
            image[node] = image[before] + along
    windings = image[i] + step - image[j]
    dimension = np.zeros(n_parts, dtype=np.int64)
    turning = windings.any(axis=1)
    part, windings = label[i[turning]], windings[turning]
    for number in np.unique(part).tolist():
        dimension[number] = np.linalg.matrix_rank(np.unique(windings[part == number], axis=0))
    return PeriodicParts(label.astype(np.int64), image, dimension)
