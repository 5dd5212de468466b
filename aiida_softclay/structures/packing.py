"""Push ions apart until none are closer than their radii allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiida_softclay.structures.neighbours import close_pairs

#: Pairs up to this far beyond their limit are kept in the list between searches, Å.
SKIN = 0.6
#: Fraction of its starting distance that a tight contact within a group must keep; pushes go 2 % beyond the limit.
INNER = 0.97


@dataclass(frozen=True)
class Packing:
    """Positions after pushing.

    Attributes
    ----------
    positions : ndarray, shape (n, 3), Å
        Not wrapped.
    violations : int
        Pairs that are still too close.
    largest_displacement : float
        In Å.
    """

    positions: np.ndarray
    violations: int
    largest_displacement: float


def push_apart(
    numbers: np.ndarray,
    positions: np.ndarray,
    cell: np.ndarray,
    table: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    sweeps: int = 600,
    generator: np.random.Generator | None = None,
) -> Packing:
    """Move overlapping pairs apart along their connection, again and again, until no pair is too close.

    Parameters
    ----------
    numbers : ndarray, shape (n,), int
        Atomic numbers.
    positions : ndarray, shape (n, 3), Å
    cell : ndarray, shape (3, 3), Å
        Rows are the lattice vectors.
    table : ndarray, shape (119, 119), Å
        Smallest acceptable distance by atomic numbers.
    groups : ndarray, shape (n,), int, optional
        Bodies whose own contacts are taken as they are: ions of one group that start too close may stay so.
        A group must be in one piece, not wrapped.
    sweeps : int
        Largest number of rounds.
    generator : numpy.random.Generator, optional
        If given, the ions are shaken every hundred sweeps, which frees jammed starts.

    Returns
    -------
    Packing
    """
    start = np.array(positions, dtype=float)
    current = start.copy()
    present = np.unique(numbers)
    # Ions are pushed a little farther than needed: pairs would otherwise meet exactly at the limit for ever.
    reach = 1.02 * float(table[np.ix_(present, present)].max())
    directions = generator or np.random.default_rng(0)
    anchor: np.ndarray | None = None
    violations = 0
    first = second = np.empty(0, int)
    offsets = np.empty((0, 3))
    limits = np.empty(0)
    for sweep in range(sweeps + 1):
        if anchor is None or np.abs(current - anchor).max() > 0.25 * SKIN:
            anchor = current.copy()
            first, second, vectors = close_pairs(current, cell, reach + SKIN)
            offsets = vectors - (current[second] - current[first])
            limits = table[numbers[first], numbers[second]]
            if groups is not None:
                initial = np.linalg.norm(start[second] - start[first], axis=1)
                tight = (groups[first] == groups[second]) & (initial < limits)
                limits = np.where(tight, INNER * initial, limits)
        vectors = current[second] - current[first] + offsets
        distance = np.linalg.norm(vectors, axis=1)
        violations = int((distance < limits - 1e-9).sum())
        if violations == 0 or sweep == sweeps:
            break
        near = distance < 1.02 * limits
        random = directions.normal(size=(int(near.sum()), 3))
        # Atoms on top of each other have no direction: they get a random one.
        lengths = distance[near][:, None]
        direction = np.where(lengths > 1e-3, vectors[near] / np.maximum(lengths, 1e-3), random)
        push = 0.5 * (1.02 * limits[near] - distance[near])[:, None] * direction
        np.add.at(current, first[near], -push)
        np.add.at(current, second[near], push)
        if generator is not None and sweep % 100 == 99:
            current += generator.normal(scale=0.15, size=current.shape)
    moved = float(np.linalg.norm(current - start, axis=1).max()) if len(current) else 0.0
    return Packing(current, violations, moved)
