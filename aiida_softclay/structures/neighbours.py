"""Close pairs in a periodic cell of any shape, by a k-d tree over the atoms and the images just outside the cell."""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree


def heights(cell: np.ndarray) -> np.ndarray:
    """Return the perpendicular distances between opposite faces of a cell.

    Parameters
    ----------
    cell : ndarray, shape (..., 3, 3), Å
        Rows are the lattice vectors.

    Returns
    -------
    ndarray, shape (..., 3), Å
    """
    cell = np.asarray(cell, dtype=float)
    normals = np.stack([np.cross(cell[..., (i + 1) % 3, :], cell[..., (i + 2) % 3, :]) for i in range(3)], axis=-2)
    volume = np.abs(np.linalg.det(cell))
    return volume[..., None] / np.linalg.norm(normals, axis=-1)


def close_pairs(positions: np.ndarray, cell: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs closer than a cutoff under periodic boundary conditions.

    Parameters
    ----------
    positions : ndarray, shape (n, 3), Å
        Cartesian, wrapped or not.
    cell : ndarray, shape (3, 3), Å
        Rows are the lattice vectors; the cell may be smaller than the cutoff.
    cutoff : float
        In Å.

    Returns
    -------
    first, second : ndarray, shape (m,), int
        Atom indices; each pair of an atom and an image once, so the same two atoms may come up several times.
    vectors : ndarray, shape (m, 3), Å
        From the first atom to that image of the second.
    """
    positions = np.asarray(positions, dtype=float)
    cell = np.asarray(cell, dtype=float)
    n_atoms = len(positions)
    if n_atoms == 0:
        return np.empty(0, int), np.empty(0, int), np.empty((0, 3))
    fractional = positions @ np.linalg.inv(cell)
    fractional -= np.floor(fractional)
    margin = cutoff / heights(cell)
    reach = np.ceil(margin).astype(int)
    images, owners, home = [], [], []
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        moved = fractional + np.array(shift)
        near = np.all((moved > -margin - 1e-9) & (moved < 1 + margin + 1e-9), axis=1)
        index = np.flatnonzero(near)
        images.append(moved[index])
        owners.append(index)
        home.append(np.full(len(index), not any(shift)))
    all_positions = np.concatenate(images) @ cell
    all_owners = np.concatenate(owners)
    is_home = np.concatenate(home)
    centre = fractional @ cell
    pairs = cKDTree(centre).sparse_distance_matrix(cKDTree(all_positions), cutoff, output_type='ndarray')
    first, image = pairs['i'], pairs['j']
    second = all_owners[image]
    vectors = all_positions[image] - centre[first]
    # Every pair is found from both ends: keep the end with the lower index, and of an atom with its own images the
    # half space of shifts that comes first.
    own = first == second
    positive = np.zeros(len(first), bool)
    undecided = np.ones(len(first), bool)
    for axis in range(3):
        larger = undecided & (vectors[:, axis] > 1e-6)
        positive |= larger
        undecided &= np.abs(vectors[:, axis]) <= 1e-6
    keep = np.where(own, positive & ~is_home[image], first < second)
    return first[keep], second[keep], vectors[keep]


def minimum_distance(atoms: Atoms, cutoff: float = 4.0) -> float:
    """Return the smallest distance between two atoms of a periodic structure, Å.

    A structure with nothing closer than ``cutoff`` (Å) is searched at twice and four times the cutoff; beyond that
    the answer is infinite.
    """
    for factor in (1.0, 2.0, 4.0):
        _, _, vectors = close_pairs(atoms.get_positions(), atoms.cell[:], factor * cutoff)
        if len(vectors):
            return float(np.linalg.norm(vectors, axis=1).min())
    return float('inf')


def contact_violations(
    numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, table: np.ndarray, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs that are closer than their smallest acceptable distance.

    Parameters
    ----------
    numbers : ndarray, shape (n,), int
        Atomic numbers.
    positions, cell
        As for :func:`close_pairs`.
    table : ndarray, shape (119, 119), Å
        Smallest acceptable distance by atomic numbers.
    groups : ndarray, shape (n,), int, optional
        If given, pairs within one group are ignored unless they go through the boundary.

    Returns
    -------
    first, second : ndarray, shape (m,), int
    vectors : ndarray, shape (m, 3), Å
    overlap : ndarray, shape (m,), Å
        Acceptable minus actual distance, positive.
    """
    present = np.unique(numbers)
    cutoff = float(table[np.ix_(present, present)].max()) if len(present) else 0.0
    first, second, vectors = close_pairs(positions, cell, cutoff)
    if groups is not None:
        direct = positions[second] - positions[first]
        through = np.linalg.norm(direct - vectors, axis=1) > 1e-6
        keep = (groups[first] != groups[second]) | through
        first, second, vectors = first[keep], second[keep], vectors[keep]
    overlap = table[numbers[first], numbers[second]] - np.linalg.norm(vectors, axis=1)
    bad = overlap > 1e-9
    return first[bad], second[bad], vectors[bad], overlap[bad]
