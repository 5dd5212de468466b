"""Pack molecules and ions into a periodic cell without overlaps: bonds and angles are kept, torsions give way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from aiida_softclay.structures.neighbours import close_pairs

#: Pairs up to this far beyond their limit are kept in the list between searches, Å.
SKIN = 0.8
#: The cell starts so many times as long and shrinks to its size in so many steps with a few rounds after each: loosely
#: packed molecules get out of each other's way, while those put at random into the final cell would be entangled.
EXPANSION = 1.6
SHRINKING_STEPS = 40
ROUNDS_PER_STEP = 4
#: While the cell is still wide, distances grow from this fraction of their limits to the whole.
FIRST_FRACTION = 0.4
GROWTH_ROUNDS = 40
#: Overlaps are resolved a little beyond the limit: pairs would otherwise meet exactly at it for ever.
MARGIN = 1.02
#: Rounds for bonds and angles after each round for overlaps, and how much of the mean correction is applied.
BOND_ROUNDS = 4
RELAXATION = 1.4
#: After this many rounds only a few molecules of a large cell are still strained: these get more rounds for bonds, so
#: that the whole cell need not wait for them.
LATE = 220
LATE_BOND_ROUNDS = 16
#: With more overlaps than atoms after this many rounds there is no room: the packing is given up.
HOPELESS = 300
#: Share of the last round's move that the next one starts with: molecules drift apart faster than they are pushed.
MOMENTUM = 0.85
#: Largest relative change of a bond or of a distance across an angle in the result.
BOND_TOLERANCE = 0.02
#: Largest move of an atom in one round for overlaps, Å.
LARGEST_MOVE = 0.3
#: So many atoms are a large cell; its pairs come from a periodic k-d tree if it is rectangular, several times faster.
MANY_ATOMS = 1500


@dataclass(frozen=True)
class MolecularPacking:
    """Atoms after packing.

    Attributes
    ----------
    positions : ndarray, shape (n, 3), Å
        Every molecule in one piece; not wrapped.
    violations : int
        Pairs that are still too close, without those bonded to each other or to a common atom.
    bond_error : float
        Largest relative change of a bond or of a distance across an angle.
    sweeps : int
        Rounds that were needed.
    """

    positions: np.ndarray
    violations: int
    bond_error: float
    sweeps: int

    @property
    def fits(self) -> bool:
        """Whether nothing is too close and no bond or angle is strained."""
        return self.violations == 0 and self.bond_error < BOND_TOLERANCE


def bonds_and_angles(bonds: np.ndarray, n_atoms: int) -> np.ndarray:
    """Return the pairs bonded to each other or to a common atom.

    Parameters
    ----------
    bonds : ndarray, shape (m, 2), int
    n_atoms : int

    Returns
    -------
    ndarray, shape (k, 2), int
        Each pair once, the lower index first.
    """
    neighbours: list[list[int]] = [[] for _ in range(n_atoms)]
    for first, second in np.asarray(bonds, dtype=int).reshape(-1, 2):
        neighbours[first].append(int(second))
        neighbours[second].append(int(first))
    pairs = {(min(a, b), max(a, b)) for a, others in enumerate(neighbours) for b in others}
    pairs |= {(min(a, b), max(a, b)) for others in neighbours for a in others for b in others if a != b}
    return np.array(sorted(pairs), dtype=int).reshape(-1, 2)


def pack_molecules(
    numbers: np.ndarray,
    positions: np.ndarray,
    kept: np.ndarray,
    cell: np.ndarray,
    table: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    sweeps: int = 1000,
    generator: np.random.Generator | None = None,
    expansion: float = EXPANSION,
) -> MolecularPacking:
    """Move atoms until none are too close, keeping the distances of bonded pairs and of pairs across an angle.

    Constraints are projected one kind after the other (position-based dynamics): overlapping pairs are pushed apart
    along their connection, then bonds and angles are restored. The cell starts larger and shrinks on the way. Close
    pairs come from a k-d tree and are kept with a skin, so the cost of a round is proportional to the number of atoms.

    Parameters
    ----------
    numbers : ndarray, shape (n,), int
        Atomic numbers.
    positions : ndarray, shape (n, 3), Å
        Every molecule in one piece, not wrapped.
    kept : ndarray, shape (k, 2), int
        Pairs whose distance is kept, as :func:`bonds_and_angles` gives them; they may be closer than the table says.
    cell : ndarray, shape (3, 3), Å
        Rows are the lattice vectors.
    table : ndarray, shape (119, 119), Å
        Smallest acceptable distance of unbonded atoms by atomic numbers.
    lengths : ndarray, shape (k,), Å, optional
        Distances of the kept pairs; those of ``positions`` if not given.
    sweeps : int
        Largest number of rounds; fewer are made where there is plainly no room.
    generator : numpy.random.Generator, optional
        Directions for atoms on top of each other; a fixed one if not given.
    expansion : float
        How many times as long the cell is at first; 1 for a start that is nearly packed.

    Returns
    -------
    MolecularPacking
    """
    random = generator or np.random.default_rng(0)
    current = np.array(positions, dtype=float)
    n_atoms = len(current)
    left, right = np.asarray(kept, dtype=int).reshape(-1, 2).T
    wanted = np.linalg.norm(current[right] - current[left], axis=1) if lengths is None else np.asarray(lengths)
    shares = np.maximum(np.bincount(np.concatenate([left, right]), minlength=n_atoms), 1)[:, None]
    codes = np.sort(left * n_atoms + right)
    present = np.unique(numbers)
    reach = MARGIN * float(table[np.ix_(present, present)].max())
    members = _molecules(left, right, n_atoms)
    anchor: np.ndarray | None = None
    first = second = np.empty(0, int)
    offsets = np.empty((0, 3))
    limits = np.empty(0)
    swing = np.zeros_like(current)
    violations, error, sweep = 0, 0.0, 0
    factors = np.geomspace(expansion, 1.0, SHRINKING_STEPS + 1) if expansion > 1 else np.ones(1)
    factor = 1.0
    first_fraction = FIRST_FRACTION if expansion > 1 else 1.0
    for sweep in range(sweeps + 1):
        wide = float(factors[min(max(0, sweep - GROWTH_ROUNDS) // ROUNDS_PER_STEP, len(factors) - 1)])
        if wide != factor:
            current = _spread(current, members, wide / factor)
            factor, anchor, swing = wide, None, np.zeros_like(current)
        if anchor is None or _moved(current - anchor) > 0.49 * SKIN:
            anchor = current.copy()
            first, second, offsets = _pairs_with_offsets(current, factor * np.asarray(cell), reach + SKIN)
            direct = np.abs(offsets).max(axis=1, initial=0.0) < 1e-6
            bonded = direct & _contains(codes, first * n_atoms + second)
            first, second, offsets = first[~bonded], second[~bonded], offsets[~bonded]
            limits = table[numbers[first], numbers[second]]
        vectors = current[second] - current[first] + offsets
        distance = _lengths(vectors)
        violations = int((distance < limits - 1e-9).sum())
        error = _largest_error(current, left, right, wanted)
        if (factor == 1.0 and violations == 0 and error < BOND_TOLERANCE) or sweep == sweeps:
            break
        if sweep >= HOPELESS and violations > n_atoms:
            break
        target = MARGIN * min(1.0, first_fraction + sweep / GROWTH_ROUNDS) * limits
        near = distance < target
        a, b, gap = first[near], second[near], distance[near][:, None]
        # Atoms on top of each other have no direction: they get a random one.
        direction = np.where(gap > 1e-3, vectors[near] / np.maximum(gap, 1e-3), random.normal(size=(len(a), 3)))
        push = 0.5 * (target[near][:, None] - gap) * direction
        move = _sums(np.concatenate([-push, push]), np.concatenate([a, b]), n_atoms)
        move = _limited(move, LARGEST_MOVE) + _limited(MOMENTUM * swing, LARGEST_MOVE)
        before = current
        current = current + move
        for _ in range(BOND_ROUNDS):
            current = current + _restoring(current, left, right, wanted, n_atoms) * RELAXATION / shares
        if n_atoms >= MANY_ATOMS and sweep >= LATE:
            late = _strained(current, left, right, wanted, members)
            for _ in range(LATE_BOND_ROUNDS):
                correction = _restoring(current, left[late], right[late], wanted[late], n_atoms)
                current = current + correction * RELAXATION / shares
        swing = current - before
    return MolecularPacking(current, violations, error, sweep)


def _pairs_with_offsets(
    positions: np.ndarray, cell: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs closer than a cutoff and the lattice vectors that lead to the image of the second atom."""
    edges = np.diag(cell)
    if len(positions) < MANY_ATOMS or not np.allclose(cell, np.diag(edges)) or edges.min() <= 2.01 * cutoff:
        first, second, vectors = close_pairs(positions, cell, cutoff)
        return first, second, vectors - (positions[second] - positions[first])
    wrapped = positions - np.floor(positions / edges) * edges
    # Rounding can leave an atom on the far face, which the tree does not accept.
    wrapped[wrapped >= edges] = 0.0
    first, second = cKDTree(wrapped, boxsize=edges).query_pairs(cutoff, output_type='ndarray').T
    offsets = -edges * np.rint((positions[second] - positions[first]) / edges)
    return first, second, offsets


def _molecules(left: np.ndarray, right: np.ndarray, n_atoms: int) -> np.ndarray:
    """Return the molecule each atom belongs to: the connected components of the pairs."""
    graph = coo_matrix((np.ones(len(left)), (left, right)), shape=(n_atoms, n_atoms))
    return connected_components(graph, directed=False)[1]


def _spread(positions: np.ndarray, members: np.ndarray, factor: float) -> np.ndarray:
    """Return positions with the centres of the molecules scaled and the molecules as they were."""
    sizes = np.bincount(members).astype(float)
    centres = _sums(positions, members, len(sizes)) / sizes[:, None]
    return positions + ((factor - 1) * centres)[members]


def _contains(codes: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return which of the numbers asked for are among sorted codes."""
    if not len(codes):
        return np.zeros(len(asked), bool)
    place = np.minimum(np.searchsorted(codes, asked), len(codes) - 1)
    return codes[place] == asked


def _sums(values: np.ndarray, owners: np.ndarray, n_owners: int) -> np.ndarray:
    """Return the sum of vectors over their owners, shape (n_owners, 3)."""
    return np.stack([np.bincount(owners, values[:, axis], minlength=n_owners) for axis in range(3)], axis=1)


def _moved(displacements: np.ndarray) -> float:
    """Return the longest displacement in a large cell, an upper bound of it in a small one, Å."""
    if len(displacements) < MANY_ATOMS:
        return float(np.abs(displacements).max()) * 1.75
    return float(_lengths(displacements).max())


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """Return the lengths of vectors; by columns, since a reduction over three numbers takes several times as long."""
    x, y, z = vectors.T
    return np.sqrt(x * x + y * y + z * z)


def _limited(vectors: np.ndarray, largest: float) -> np.ndarray:
    """Return vectors shortened to a largest length."""
    lengths = _lengths(vectors)[:, None]
    return vectors * np.minimum(1.0, largest / np.maximum(lengths, 1e-12))


def _restoring(
    positions: np.ndarray, left: np.ndarray, right: np.ndarray, wanted: np.ndarray, n_atoms: int
) -> np.ndarray:
    """Return the sum over its bonds and angles of what would restore each of them, shape (n, 3), Å."""
    vectors = positions[right] - positions[left]
    distance = np.maximum(_lengths(vectors), 1e-6)
    half = (0.5 * (distance - wanted) / distance)[:, None] * vectors
    return _sums(np.concatenate([half, -half]), np.concatenate([left, right]), n_atoms)


def _strained(
    positions: np.ndarray, left: np.ndarray, right: np.ndarray, wanted: np.ndarray, members: np.ndarray
) -> np.ndarray:
    """Return the indices of all pairs of those molecules that have a strained one."""
    distance = _lengths(positions[right] - positions[left])
    bad = np.zeros(len(positions), bool)
    bad[members[left[np.abs(distance / wanted - 1) > 0.8 * BOND_TOLERANCE]]] = True
    return np.flatnonzero(bad[members[left]])


def _largest_error(positions: np.ndarray, left: np.ndarray, right: np.ndarray, wanted: np.ndarray) -> float:
    if not len(left):
        return 0.0
    distance = _lengths(positions[right] - positions[left])
    return float(np.abs(distance / wanted - 1).max())
