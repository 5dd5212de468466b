"""Neighbours within a cutoff in any periodic cell, however small or tilted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .pair_kernel import directed, pairs_within
from .trajectory import Array, IntArray, cell_heights

#: Relative margin by which the cutoff must stay below half the smallest height for the minimum image to be enough.
MINIMUM_IMAGE_MARGIN = 1e-6


@dataclass(frozen=True)
class NeighbourList:
    """Directed pairs of neighbours; each pair appears as i→j and as j→i, sorted by both indices.

    Attributes
    ----------
    first, second : ndarray, shape (n_pairs,)
        Indices of the central atom and of its neighbour.
    distances : ndarray, shape (n_pairs,)
        Distances, Å.
    cutoff : float
        Largest distance, Å.
    n_atoms : int
        Number of atoms.
    """

    first: IntArray
    second: IntArray
    distances: Array
    cutoff: float
    n_atoms: int


def uses_minimum_image(cell: npt.ArrayLike, cutoff: float) -> bool:
    """Return whether no atom can see two images of another (or one of itself) within ``cutoff`` (Å)."""
    return bool(cutoff * (1 + MINIMUM_IMAGE_MARGIN) < 0.5 * cell_heights(cell).min())


def neighbours(positions: npt.ArrayLike, cell: npt.ArrayLike, cutoff: float) -> NeighbourList:
    """Return all directed pairs closer than a cutoff.

    Parameters
    ----------
    positions : array_like, shape (n_atoms, 3)
        Å; wrapped or not.
    cell : array_like, shape (3, 3)
        Rows are the lattice vectors, Å, of any orientation and tilt; periodic in all directions.
    cutoff : float
        Å. Where it exceeds half the smallest height of the cell, all images are counted, those of the atom itself too.

    Raises
    ------
    ValueError
        If the cutoff is not positive, the cell has no volume or positions are missing or not finite.
    """
    points = np.asarray(positions, dtype=float)
    first, second, distances = directed(pairs_within(points, cell, cutoff), len(points))
    return NeighbourList(first, second, distances, float(cutoff), len(points))
