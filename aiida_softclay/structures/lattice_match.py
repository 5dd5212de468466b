"""Common in-plane cells for crystal surfaces, with the strain each must bear."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

#: Unimodular changes of basis that are tried on reduced plane cells: all with entries of at most one.
_BASES = np.array(
    [m for m in itertools.product((-1, 0, 1), repeat=4) if m[0] * m[3] - m[1] * m[2] == 1], dtype=int
).reshape(-1, 2, 2)


@dataclass(frozen=True)
class PlaneMatch:
    """Plane supercells of two or more surfaces brought to one common cell.

    Attributes
    ----------
    matrices : tuple of ndarray, shape (2, 2), int
        Supercell of each surface, rows are new vectors.
    cell : ndarray, shape (2, 2), Å
        The common cell, rows are its vectors, the first along x.
    stretches : tuple of (float, float)
        Principal stretches of each surface (1 = unstrained).
    """

    matrices: tuple[np.ndarray, ...]
    cell: np.ndarray
    stretches: tuple[tuple[float, float], ...]

    @property
    def strain(self) -> float:
        """Largest principal strain of any surface, as a fraction."""
        return max(abs(value - 1) for pair in self.stretches for value in pair)

    @property
    def area(self) -> float:
        """Area of the common cell, Å²."""
        return abs(float(np.linalg.det(self.cell)))

    @property
    def heights(self) -> np.ndarray:
        """Distances between opposite edges of the common cell, shape (2,), Å."""
        return self.area / np.linalg.norm(self.cell, axis=1)[::-1]


def plane_supercells(cell: np.ndarray, max_area: float) -> np.ndarray:
    """Return all distinct plane supercells up to an area, in reduced bases.

    Parameters
    ----------
    cell : ndarray, shape (2, 2), Å
    max_area : float
        In Å².

    Returns
    -------
    ndarray, shape (m, 2, 2), int
    """
    area = abs(np.linalg.det(cell))
    forms = [
        [[a, 0], [b, n // a]]
        for n in range(1, int(max_area / area + 1e-9) + 1)
        for a in range(1, n + 1)
        if n % a == 0
        for b in range(a)
    ]
    matrices = np.array(forms, dtype=int).reshape(-1, 2, 2)
    for _ in range(60):
        changed = False
        for i, j in ((0, 1), (1, 0)):
            vectors = matrices @ cell
            dot = (vectors[:, 0] * vectors[:, 1]).sum(axis=1)
            norm = (vectors[:, i] ** 2).sum(axis=1)
            steps = np.trunc(dot / norm + np.sign(dot) * (0.5 - 1e-9)).astype(int)
            changed = changed or bool(steps.any())
            matrices[:, j] -= steps[:, None] * matrices[:, i]
        if not changed:
            break
    flipped = np.linalg.det(matrices @ cell) < 0
    matrices[flipped, 1] *= -1
    return matrices


def match_planes(
    first: np.ndarray, second: np.ndarray, *, min_length: float, max_area: float, max_strain: float
) -> list[PlaneMatch]:
    """Return common cells of two plane lattices, best first.

    Both surfaces are strained by the square root of the stretch that separates them, so that each bears half.

    Parameters
    ----------
    first, second : ndarray, shape (2, 2), Å
        Plane lattices, rows are vectors.
    min_length : float
        Smallest distance between opposite edges of the common cell, Å.
    max_area : float
        Largest area of the common cell, Å².
    max_strain : float
        Largest principal strain of either surface.

    Returns
    -------
    list of PlaneMatch
        For each pair of areas the match with the least strain, ordered by strain; empty if there is none.
    """
    room = (1 + max_strain) ** 2
    left = _wide_enough(plane_supercells(first, max_area * room), first, min_length / room)
    right = _wide_enough(plane_supercells(second, max_area * room), second, min_length / room)
    if not (len(left) and len(right)):
        return []
    right = (_BASES[:, None] @ right[None]).reshape(-1, 2, 2)
    left_sizes = np.rint(np.linalg.det(left)).astype(int)
    right_sizes = np.rint(np.linalg.det(right)).astype(int)
    left_area, right_area = abs(np.linalg.det(first)), abs(np.linalg.det(second))
    # With the metrics G = A·Aᵀ the stretches s between two cells fulfil s₁² + s₂² = tr(G_left⁻¹ G_right) and
    # s₁·s₂ = the ratio of areas: a product of two small matrices for all pairs at once.
    left_metric = np.linalg.inv(np.einsum('aij,akj->aik', left @ first, left @ first)).reshape(-1, 4)
    right_metric = np.einsum('bij,bkj->bik', right @ second, right @ second).reshape(-1, 4)
    matches = []
    for n_left, n_right in itertools.product(np.unique(left_sizes), np.unique(right_sizes)):
        ratio = (n_right * right_area) / (n_left * left_area)
        area = math.sqrt(n_left * left_area * n_right * right_area)
        if not room**-2 < ratio < room**2 or area > max_area + 1e-9:
            continue
        lefts, rights = left[left_sizes == n_left], right[right_sizes == n_right]
        total = left_metric[left_sizes == n_left] @ right_metric[right_sizes == n_right].T
        root = np.sqrt(np.maximum(0.25 * total**2 - ratio**2, 0.0))
        larger = np.sqrt(np.sqrt(0.5 * total + root))
        smaller = np.sqrt(ratio) / larger
        strain = np.max([larger - 1, 1 / larger - 1, smaller - 1, 1 / smaller - 1], axis=0)
        usable = np.argwhere(strain <= max_strain)
        order = np.argsort(np.round(strain[tuple(usable.T)], 9), kind='stable')
        for i, j in usable[order]:
            match = _common_cell(lefts[i], rights[j], first, second)
            if match.heights.min() >= min_length - 1e-9:
                matches.append(match)
                break
    return sorted(matches, key=lambda match: (round(match.strain, 9), match.area))


def fit_plane(
    cell: np.ndarray, lattice: np.ndarray, max_strain: float
) -> tuple[np.ndarray, tuple[float, float]] | None:
    """Return the supercell of a plane lattice that needs the least strain to become a given cell.

    Parameters
    ----------
    cell : ndarray, shape (2, 2), Å
        Rows are vectors of a reduced cell.
    lattice : ndarray, shape (2, 2), Å
        Rows are vectors.
    max_strain : float
        Largest principal strain of the lattice.

    Returns
    -------
    (ndarray, shape (2, 2), int; (float, float)) or None
        Supercell matrix, and principal stretches in ascending order; ``None`` if every supercell needs more strain.
    """
    area, room = abs(float(np.linalg.det(cell))), (1 + max_strain) ** 2
    matrices = plane_supercells(lattice, area * room)
    sizes = np.abs(np.linalg.det(matrices @ lattice)) if len(matrices) else np.empty(0)
    matrices = matrices[sizes >= area / room]
    if not len(matrices):
        return None
    matrices = (_BASES[:, None] @ matrices[None]).reshape(-1, 2, 2)
    gradients = np.linalg.inv(matrices @ lattice) @ cell
    total, ratio = (gradients**2).sum(axis=(1, 2)), np.abs(np.linalg.det(gradients))
    larger = np.sqrt(0.5 * (total + np.sqrt(np.maximum(total**2 - 4 * ratio**2, 0.0))))
    strain = np.maximum(np.abs(larger - 1), np.abs(ratio / larger - 1))
    best = int(np.argmin(np.round(strain, 9)))
    if strain[best] > max_strain:
        return None
    return matrices[best], (float(ratio[best] / larger[best]), float(larger[best]))


def match_layers(
    cells: Sequence[np.ndarray], volumes: Sequence[float], *, min_length: float, max_area: float, max_strain: float
) -> list[PlaneMatch]:
    """Return common cells of two or more plane lattices, best first.

    The two of which there is most share the strain between them, the others are strained to their common cell.

    Parameters
    ----------
    cells : sequence of ndarray, shape (2, 2), Å
        Plane lattices, rows are vectors.
    volumes : sequence of float
        How much there is of each.
    min_length, max_area, max_strain
        As for :func:`match_planes`.

    Returns
    -------
    list of PlaneMatch
        As of :func:`match_planes`, with matrices and stretches in the order of ``cells``.
    """
    first, second = sorted(np.argsort(-np.asarray(volumes), kind='stable')[:2].tolist())
    pairs = match_planes(
        cells[first], cells[second], min_length=min_length, max_area=max_area, max_strain=max_strain
    )  # fmt: skip
    if len(cells) == 2:
        return pairs
    matches = []
    for pair in pairs:
        found = dict(zip((first, second), zip(pair.matrices, pair.stretches, strict=True), strict=True))
        for index, cell in enumerate(cells):
            fit = found.get(index) or fit_plane(pair.cell, cell, max_strain)
            if fit is None:
                break
            found[index] = fit
        else:
            matrices, stretches = zip(*(found[index] for index in range(len(cells))), strict=True)
            matches.append(PlaneMatch(matrices, pair.cell, stretches))
    return sorted(matches, key=lambda match: (round(match.strain, 9), match.area))


def _wide_enough(matrices: np.ndarray, cell: np.ndarray, length: float) -> np.ndarray:
    """Return the supercells whose edges are at least so far apart."""
    vectors = matrices @ cell
    widths = np.abs(np.linalg.det(vectors)) / np.linalg.norm(vectors, axis=2).max(axis=1)
    return matrices[widths >= length - 1e-9]


def _common_cell(left: np.ndarray, right: np.ndarray, first: np.ndarray, second: np.ndarray) -> PlaneMatch:
    """Return the cell half way between two plane supercells, its first vector along x."""
    # Row vectors: right = left @ gradient; the singular values are the stretches from one to the other.
    rotation, stretch, _ = np.linalg.svd(np.linalg.inv(left @ first) @ right @ second)
    half = np.sqrt(stretch)
    cell = left @ first @ rotation @ np.diag(half) @ rotation.T
    angle = np.arctan2(cell[0, 1], cell[0, 0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    low, high = sorted(float(value) for value in half)
    # Plane vectors come out right-handed, so the second has a positive y.
    return PlaneMatch((left, right), cell @ turn, ((low, high), (1 / high, 1 / low)))


def plane_primitive(atoms: Atoms, tolerance: float = 1e-3) -> Atoms:
    """Return the crystal with the smallest cell that keeps its third lattice vector's planes.

    Conventional cells that are centred in the (001) plane (rock salt) repeat there with shorter vectors, which gives
    a lattice match more choice.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic crystal, a along x, b in the xy plane.
    tolerance : float
        In fractional coordinates.

    Returns
    -------
    ase.Atoms
        Same crystal; first two vectors in the xy plane, third unchanged.
    """
    fractional = atoms.get_scaled_positions() % 1.0
    numbers = atoms.get_atomic_numbers()
    rarest = min(set(numbers.tolist()), key=lambda number: int((numbers == number).sum()))
    members = fractional[numbers == rarest]
    shifts = [np.zeros(3)]
    for candidate in members[1:] - members[0]:
        wrapped = candidate - np.rint(candidate)
        if abs(wrapped[2]) > tolerance:
            continue
        difference = (fractional + wrapped)[:, None] - fractional[None]
        difference -= np.rint(difference)
        same = (np.abs(difference).max(axis=2) < tolerance) & (numbers[:, None] == numbers[None])
        if same.any(axis=1).all():
            shifts.append(wrapped)
    if len(shifts) == 1:
        return atoms.copy()
    points = [np.array([x, y, 0.0]) + s for s in shifts for x in (-1, 0, 1) for y in (-1, 0, 1)]
    vectors = [point @ atoms.cell[:] for point in points]
    area = float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1]))) / len(shifts)
    first, second = (np.array(side) for side in zip(*itertools.permutations(vectors, 2), strict=True))
    right = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] - area) < 1e-4 * area
    pairs = list(zip(first[right], second[right], strict=True))
    u, v = min(pairs, key=lambda pair: round(float(np.linalg.norm(pair[0]) + np.linalg.norm(pair[1])), 6))
    cell = np.array([u, v, atoms.cell[2]])
    inside = atoms.get_positions() @ np.linalg.inv(cell)
    inside -= np.floor(inside + tolerance)
    chosen: list[int] = []
    for index in range(len(atoms)):
        separate = True
        for other in chosen:
            delta = inside[index] - inside[other]
            delta -= np.rint(delta)
            if numbers[index] == numbers[other] and np.abs(delta).max() < 10 * tolerance:
                separate = False
                break
        if separate:
            chosen.append(index)
    angle = np.arctan2(cell[0, 1], cell[0, 0])
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    reduced = Atoms(numbers=numbers[chosen], cell=cell @ turn, scaled_positions=inside[chosen], pbc=True)
    reduced.info = dict(atoms.info)
    return reduced
