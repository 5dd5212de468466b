"""The smallest supercell that is at least so wide in every direction."""

from __future__ import annotations

import itertools
import math

import numpy as np
import spglib
from ase import Atoms
from ase.build import make_supercell

from aiida_softclay.structures.neighbours import heights

#: Above so many candidate matrices only the diagonal supercell is tried: large cells gain nothing from the search.
SEARCH_BUDGET = 60_000
#: How far atoms may be off their symmetric positions in the search for lattice vectors, Å.
SYMMETRY_PRECISION = 1e-3


def hermite_normal_forms(determinant: int) -> np.ndarray:
    """Return all distinct sublattices of an index, as integer matrices in Hermite normal form.

    Returns
    -------
    ndarray, shape (m, 3, 3), int
        Lower triangular; rows are the new lattice vectors in units of the old.
    """
    forms = []
    for a in range(1, determinant + 1):
        if determinant % a:
            continue
        rest = determinant // a
        for c in range(1, rest + 1):
            if rest % c:
                continue
            f = rest // c
            forms += [[[a, 0, 0], [b, c, 0], [d, e, f]] for b, d, e in itertools.product(range(a), range(a), range(c))]
    return np.array(forms, dtype=int)


def reduce_bases(matrices: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Shorten the vectors of many supercells at once by subtracting whole vectors from each other.

    Parameters
    ----------
    matrices : ndarray, shape (m, 3, 3), int
        Supercell matrices, rows are new vectors.
    cell : ndarray, shape (3, 3), Å

    Returns
    -------
    ndarray, shape (m, 3, 3), int
        The same sublattices in compact, right-handed bases.
    """
    reduced = matrices.copy()
    for _ in range(60):
        changed = False
        for i, j in itertools.permutations(range(3), 2):
            vectors = reduced @ cell
            dot = np.einsum('mk,mk->m', vectors[:, i], vectors[:, j])
            norm = np.einsum('mk,mk->m', vectors[:, i], vectors[:, i])
            # The small bias leaves vectors alone that are exactly half way: they would flip for ever.
            steps = np.trunc(dot / norm + np.sign(dot) * (0.5 - 1e-9)).astype(int)
            if steps.any():
                changed = True
                reduced[:, j] -= steps[:, None] * reduced[:, i]
        if not changed:
            break
    left_handed = np.linalg.det(reduced @ cell) * np.linalg.det(cell) < 0
    reduced[left_handed] *= -1
    return reduced


def supercell_matrix(cell: np.ndarray, min_length: float, *, diagonal: bool = False) -> np.ndarray:
    """Return the integer matrix of the smallest supercell with all heights at least ``min_length``.

    Heights are the distances between opposite faces, so an atom is at least that far from its periodic images.

    Parameters
    ----------
    cell : ndarray, shape (3, 3), Å
        Rows are the lattice vectors.
    min_length : float
        In Å.
    diagonal : bool
        Only multiples of the given vectors; otherwise every sublattice is searched in order of size.

    Returns
    -------
    ndarray, shape (3, 3), int
        Rows are the new vectors; the determinant is the number of cells.

    Raises
    ------
    ValueError
        If ``min_length`` is not positive and finite.
    """
    if not (np.isfinite(min_length) and min_length > 0):
        raise ValueError(f'the minimum length must be a positive number of Å, not {min_length}')
    cell = np.asarray(cell, dtype=float)
    repeats = np.maximum(1, np.ceil(min_length / heights(cell) - 1e-9)).astype(int)
    best = np.diag(repeats)
    largest = int(np.prod(repeats))
    if diagonal:
        return best
    # The volume of a cell is at least the product of its heights.
    smallest = max(1, math.ceil(min_length**3 / abs(np.linalg.det(cell)) - 1e-9))
    seen = 0
    for determinant in range(smallest, largest):
        forms = hermite_normal_forms(determinant)
        seen += len(forms)
        if seen > SEARCH_BUDGET:
            break
        bases = reduce_bases(forms, cell)
        lowest = heights(bases @ cell).min(axis=1)
        if lowest.max() >= min_length - 1e-9:
            return bases[int(np.argmax(np.round(lowest, 6)))]
    return best


def primitive_cell(atoms: Atoms) -> Atoms:
    """Return the crystal in its smallest cell, not turned; the same atoms where no smaller cell is found.

    A conventional cell that is centred holds two, three or four of them, and its multiples miss most of the sublattices
    among which the smallest supercell is sought.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic crystal.

    Returns
    -------
    ase.Atoms
        ``info`` is kept.
    """
    cell = (atoms.cell[:], atoms.get_scaled_positions(), atoms.get_atomic_numbers())
    try:
        found = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=SYMMETRY_PRECISION)
    except spglib.SpglibError:
        found = None
    if found is None or len(found[2]) >= len(atoms):
        return atoms.copy()
    lattice, positions, numbers = found
    reduced = Atoms(numbers=numbers, cell=lattice, scaled_positions=positions, pbc=True)
    reduced.info = dict(atoms.info)
    return reduced


def supercell(atoms: Atoms, min_length: float, *, max_atoms: int | None = None, diagonal: bool = False) -> Atoms:
    """Return the smallest supercell with all heights at least ``min_length``.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic cell.
    min_length : float
        In Å.
    max_atoms : int, optional
        Refuse anything larger.
    diagonal : bool
        Only multiples of the given lattice vectors; otherwise every sublattice of the crystal is searched, also those
        that a centred cell hides.

    Returns
    -------
    ase.Atoms
        Atoms grouped by element in order of first appearance, ``info`` kept.

    Raises
    ------
    ValueError
        If it would hold more than ``max_atoms``.
    """
    if not diagonal:
        atoms = primitive_cell(atoms)
    matrix = supercell_matrix(atoms.cell[:], min_length, diagonal=diagonal)
    count = round(abs(np.linalg.det(matrix))) * len(atoms)
    if max_atoms is not None and count > max_atoms:
        raise ValueError(
            f'a supercell at least {min_length:g} Å wide needs {count} atoms, more than the {max_atoms} allowed: '
            'raise max_atoms or lower min_length'
        )
    repeated = make_supercell(atoms, matrix)
    return sort_by_element(repeated, atoms.info)


def sort_by_element(atoms: Atoms, info: dict | None = None) -> Atoms:
    """Return the structure with its atoms grouped by element, in order of first appearance."""
    order = list(dict.fromkeys(atoms.get_chemical_symbols()))
    rank = np.array([order.index(symbol) for symbol in atoms.get_chemical_symbols()])
    ordered = atoms[np.argsort(rank, kind='stable')]
    ordered.info = dict(info if info is not None else atoms.info)
    return ordered
