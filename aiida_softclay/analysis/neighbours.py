"""Neighbours within a cutoff in any periodic cell, however small or tilted."""

from __future__ import annotations

from dataclasses import dataclass

import freud
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .trajectory import Array, IntArray, cell_heights

#: Relative margin by which the cutoff must stay below half the smallest height for the minimum image to be enough.
MINIMUM_IMAGE_MARGIN = 1e-6


@dataclass(frozen=True)
class NeighbourList:
    """Directed pairs of neighbours; each pair appears as i→j and as j→i.

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


def _lower_triangular(cell: Array) -> Array:
    """Return the cell rotated so that a lies along x and b in the xy plane."""
    triangular = np.linalg.cholesky(cell @ cell.T)
    return np.asarray(triangular)


def _with_freud(fractions: Array, cell: Array, cutoff: float) -> NeighbourList:
    # freud stores the vectors as columns, and wants a right-handed, triangular box; distances do not change.
    box = freud.box.Box.from_matrix(_lower_triangular(cell).T)
    points = box.wrap((fractions - 0.5) @ _lower_triangular(cell))
    query = freud.locality.AABBQuery(box, points)
    found = query.query(points, {'mode': 'ball', 'r_max': cutoff, 'exclude_ii': True}).toNeighborList()
    return NeighbourList(
        np.asarray(found.query_point_indices, dtype=np.int64), np.asarray(found.point_indices, dtype=np.int64),
        np.asarray(found.distances, dtype=float), cutoff, len(points),
    )  # fmt: skip


def _with_images(fractions: Array, cell: Array, cutoff: float) -> NeighbourList:
    """Return the neighbours among explicit periodic images, those of the atom itself included."""
    n_atoms = len(fractions)
    margins = cutoff / cell_heights(cell) + 1e-9
    images, owners = fractions, np.arange(n_atoms)
    # Axis by axis, the images of the images: the corners of the shell come by themselves.
    for axis in range(3):
        reach = int(np.ceil(margins[axis]))
        pieces, piece_owners = [], []
        for shift in range(-reach, reach + 1):
            moved = images.copy()
            moved[:, axis] += shift
            near = (moved[:, axis] > -margins[axis]) & (moved[:, axis] < 1 + margins[axis])
            pieces.append(moved[near])
            piece_owners.append(owners[near])
        images, owners = np.concatenate(pieces), np.concatenate(piece_owners)
    central, surrounding = cKDTree(fractions @ cell), cKDTree(images @ cell)
    table = central.sparse_distance_matrix(surrounding, cutoff, output_type='ndarray')
    # An atom meets itself at zero distance once; two different atoms on one site are a pair all the same.
    table = table[~((table['v'] < 1e-9) & (table['i'] == owners[table['j']]))]
    return NeighbourList(
        table['i'].astype(np.int64), owners[table['j']].astype(np.int64), table['v'].astype(float), cutoff, n_atoms
    )


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
        If the cutoff is not positive, the cell has no volume or positions are not finite.
    """
    points, matrix = np.asarray(positions, dtype=float), np.asarray(cell, dtype=float)
    if cutoff <= 0:
        raise ValueError(f'the cutoff must be positive, it is {cutoff} Å')
    if matrix.shape != (3, 3) or abs(np.linalg.det(matrix)) < 1e-6:
        raise ValueError('the cell must be three lattice vectors that span a volume')
    if not np.isfinite(points).all():
        raise ValueError('some positions are not finite')
    fractions = points @ np.linalg.inv(matrix)
    fractions -= np.floor(fractions)
    if uses_minimum_image(matrix, cutoff):
        return _with_freud(fractions, matrix, cutoff)
    return _with_images(fractions, matrix, cutoff)
