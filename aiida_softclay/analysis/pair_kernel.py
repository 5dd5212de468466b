"""The loops over pairs of atoms behind g(r), coordination and bonds: a histogram of distances, and a list of pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .cell_list import check_points, sort_atoms
from .compiled import compiled
from .trajectory import Array, IntArray

#: Pairs that are collected before they are counted: small enough for the first-level cache.
BATCH = 2048


@dataclass(frozen=True)
class Pairs:
    """Undirected pairs of atoms, each once; an atom and its own image count as well.

    Attributes
    ----------
    first, second : ndarray, shape (n_pairs,)
        Indices of the atoms.
    vectors : ndarray, shape (n_pairs, 3)
        From the first to the second atom, or to the image that is meant, Å.
    distances : ndarray, shape (n_pairs,)
        Å.
    """

    first: IntArray
    second: IntArray
    vectors: Array
    distances: Array


@compiled
def _count_distances(
    positions: Array, runs: IntArray, shifts: Array, cutoff: float, labels: IntArray, n_labels: int, n_bins: int
) -> IntArray:
    """Count the distances of undirected pairs by labels and bins.

    The pairs within the cutoff are first collected without a branch, then turned into bins and counted.
    """
    x, y, z = positions[0], positions[1], positions[2]
    limit, scale = cutoff * cutoff, n_bins / cutoff
    counts = np.zeros(n_labels * n_labels * n_bins, np.int64)
    offset = labels * n_bins
    codes = np.empty(BATCH + x.size, np.int64)
    squares = np.empty(BATCH + x.size, np.float64)
    n_found = 0
    for run in range(runs.shape[0]):
        for i in range(runs[run, 0], runs[run, 1]):
            xi, yi, zi = x[i] - shifts[run, 0], y[i] - shifts[run, 1], z[i] - shifts[run, 2]
            base = offset[i] * n_labels
            for j in range(i + 1 if runs[run, 2] < 0 else runs[run, 2], runs[run, 3]):
                dx, dy, dz = x[j] - xi, y[j] - yi, z[j] - zi
                square = dx * dx + dy * dy + dz * dz
                squares[n_found] = square
                codes[n_found] = base + offset[j]
                n_found += square < limit
            if n_found >= BATCH:
                for k in range(n_found):
                    codes[k] += min(int(np.sqrt(squares[k]) * scale), n_bins - 1)
                for k in range(n_found):
                    counts[codes[k]] += 1
                n_found = 0
    for k in range(n_found):
        counts[codes[k] + min(int(np.sqrt(squares[k]) * scale), n_bins - 1)] += 1
    return counts.reshape(n_labels, n_labels, n_bins)


@compiled
def _list_pairs(
    positions: Array, order: IntArray, runs: IntArray, shifts: Array, labels: IntArray, limits: Array, room: int
) -> tuple[int, IntArray, IntArray, Array]:
    """List the undirected pairs below the squared limit of their labels, Å²; where there is no room, count on."""
    x, y, z = positions[0], positions[1], positions[2]
    first, second = np.empty(room, np.int64), np.empty(room, np.int64)
    vectors = np.empty((room, 3), np.float64)
    n_found = 0
    for run in range(runs.shape[0]):
        for i in range(runs[run, 0], runs[run, 1]):
            limit = limits[labels[i]]
            xi, yi, zi = x[i] - shifts[run, 0], y[i] - shifts[run, 1], z[i] - shifts[run, 2]
            for j in range(i + 1 if runs[run, 2] < 0 else runs[run, 2], runs[run, 3]):
                dx, dy, dz = x[j] - xi, y[j] - yi, z[j] - zi
                if dx * dx + dy * dy + dz * dz < limit[labels[j]]:
                    if n_found < room:
                        first[n_found], second[n_found] = order[i], order[j]
                        vectors[n_found, 0], vectors[n_found, 1], vectors[n_found, 2] = dx, dy, dz
                    n_found += 1
    return n_found, first, second, vectors


@compiled
def _stable_order(keys: IntArray, n_keys: int) -> IntArray:
    """Return the order that sorts small integers, equal ones as they come."""
    starts = np.zeros(n_keys + 1, np.int64)
    for key in keys:
        starts[key + 1] += 1
    for key in range(n_keys):
        starts[key + 1] += starts[key]
    order = np.empty(keys.size, np.int64)
    for index in range(keys.size):
        order[starts[keys[index]]] = index
        starts[keys[index]] += 1
    return order


def pair_histogram(
    positions: npt.ArrayLike, cell: npt.ArrayLike, labels: npt.ArrayLike, n_labels: int, r_max: float, n_bins: int
) -> IntArray:
    """Return how many atoms of each label lie at each distance from the atoms of each label.

    Parameters
    ----------
    positions : array_like, shape (n_atoms, 3)
        Å; wrapped or not.
    cell : array_like, shape (3, 3)
        Rows are the lattice vectors, Å.
    labels : array_like of int, shape (n_atoms,)
        Label of each atom, 0 … n_labels - 1.
    n_labels : int
        Number of labels.
    r_max : float
        Å. Beyond half the smallest height of the cell, all images are counted, those of the atom itself too.
    n_bins : int
        Number of bins of equal width from 0 to ``r_max``.

    Returns
    -------
    ndarray, shape (n_labels, n_labels, n_bins)
        Number of directed pairs, from the first label to the second.

    Raises
    ------
    ValueError
        As :func:`~aiida_softclay.analysis.cell_list.sort_atoms`, or if the labels do not fit the atoms.
    """
    atoms = sort_atoms(positions, cell, r_max)
    kinds = np.asarray(labels, dtype=np.int64)
    _check_labels(kinds, n_labels, atoms.order.size)
    kinds = kinds[atoms.order]
    half = np.zeros((n_labels, n_labels, n_bins), dtype=np.int64)
    for runs, shifts in atoms.blocks():
        half += _count_distances(atoms.positions, runs, shifts, atoms.cutoff, kinds, n_labels, n_bins)
    return half + half.transpose(1, 0, 2)


def _check_labels(labels: IntArray, n_labels: int, n_atoms: int) -> None:
    """Check the labels: the compiled loops do not check their indices."""
    if labels.shape != (n_atoms,) or (n_atoms and (labels.min() < 0 or labels.max() >= n_labels)):
        raise ValueError(f'there must be one label from 0 to {n_labels - 1} for each of the {n_atoms} atoms')


def pairs_within(
    positions: npt.ArrayLike,
    cell: npt.ArrayLike,
    cutoffs: float | npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
) -> Pairs:
    """Return all undirected pairs closer than a cutoff that may depend on the labels of both atoms.

    Parameters
    ----------
    positions : array_like, shape (n_atoms, 3)
        Å; wrapped or not.
    cell : array_like, shape (3, 3)
        Rows are the lattice vectors, Å.
    cutoffs : float or array_like, shape (n_labels, n_labels)
        Å; symmetric in the labels, 0 where no pair is wanted.
    labels : array_like of int, shape (n_atoms,), optional
        Label of each atom; needed for several cutoffs.

    Raises
    ------
    ValueError
        As :func:`~aiida_softclay.analysis.cell_list.sort_atoms`, or if cutoffs or labels make no sense.
    """
    table = np.atleast_2d(np.asarray(cutoffs, dtype=float))
    if table.shape != (len(table), len(table)) or not np.array_equal(table, table.T):
        raise ValueError('the cutoffs must be one distance or a symmetric table of distances between labels')
    if not table.max() > 0 or (table < 0).any():
        raise ValueError(f'the cutoff must be positive, or 0 where no pair is wanted; the smallest is {table.min()} Å')
    points = np.asarray(positions, dtype=float)
    kinds = np.zeros(len(points), dtype=np.int64) if labels is None else np.asarray(labels, dtype=np.int64)
    _check_labels(kinds, len(table), len(points))
    # Atoms without a partner only stand in the way.
    taking_part = np.asarray(table.any(axis=1))[kinds]
    chosen = None
    if not taking_part.all():
        chosen = np.flatnonzero(taking_part)
        check_points(points)
        if not chosen.size:
            return Pairs(chosen, chosen, np.empty((0, 3)), np.empty(0))
        points, kinds = points[chosen], kinds[chosen]
    atoms = sort_atoms(points, cell, float(table.max()))
    order = atoms.order if chosen is None else chosen[atoms.order]
    kinds = kinds[atoms.order]
    # Room for an ideal gas and half as much again; a second turn if the atoms are denser where it counts.
    volume = abs(float(np.linalg.det(atoms.matrix)))
    room = int(np.pi * atoms.cutoff**3 * order.size**2 / volume) + 64
    blocks = []
    for runs, shifts in atoms.blocks():
        while True:
            n_pairs, *found = _list_pairs(atoms.positions, order, runs, shifts, kinds, table**2, room)
            if n_pairs <= room:
                break
            room = n_pairs
        blocks.append([array[:n_pairs].copy() for array in found])
    first, second, vectors = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    return Pairs(first, second, vectors, np.sqrt(np.einsum('ij,ij->i', vectors, vectors)))


def directed(pairs: Pairs, n_atoms: int) -> tuple[IntArray, IntArray, Array]:
    """Return first atom, second atom and distance of both directions of every pair, sorted by first and second atom."""
    first = np.concatenate([pairs.first, pairs.second])
    second = np.concatenate([pairs.second, pairs.first])
    distances = np.concatenate([pairs.distances, pairs.distances])
    order = _stable_order(second, n_atoms)
    order = order[_stable_order(first[order], n_atoms)]
    return first[order], second[order], distances[order]
