"""Grains of a polycrystal or particles of a clay: how they are turned against each other, and where they meet."""

from __future__ import annotations

import numpy as np
import spglib
from ase import Atoms

from aiida_softclay.structures.neighbours import close_pairs

#: Name of the array of an ``ase.Atoms`` that holds the number of the grain or particle of every atom.
GRAIN = 'grain'
#: An atom with an atom of another grain this near is at a boundary, Å: the outermost ions of either side, also while
#: the gap between rigid grains has not been closed by relaxation.
BOUNDARY_CUTOFF = 6.0
#: How far atoms may be off their symmetric positions in the search for rotations, Å.
SYMMETRY_PRECISION = 1e-3


def boundary_atoms(
    positions: np.ndarray, cell: np.ndarray, grains: np.ndarray, cutoff: float = BOUNDARY_CUTOFF
) -> np.ndarray:
    """Return which atoms are at a grain boundary: those with an atom of another grain within a cutoff.

    Parameters
    ----------
    positions : ndarray, shape (n, 3), Å
        Cartesian, wrapped or not.
    cell : ndarray, shape (3, 3), Å
        Rows are the lattice vectors of the periodic cell.
    grains : ndarray, shape (n,), int
        Number of the grain of every atom; any numbers, equal ones are one grain.
    cutoff : float
        In Å.

    Returns
    -------
    ndarray, shape (n,), bool
        True at a boundary, False in the bulk of a grain.

    Raises
    ------
    ValueError
        If there is not one grain number for each position, or the cutoff is not positive.
    """
    positions, grains = np.asarray(positions, dtype=float), np.asarray(grains)
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(f'positions must have the shape (n, 3), not {positions.shape}')
    if grains.shape != (len(positions),):
        raise ValueError(
            f'there must be one grain number for each of the {len(positions)} positions, not the shape {grains.shape}'
        )
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise ValueError(f'the cutoff must be a positive number of Å, not {cutoff}')
    first, second, _ = close_pairs(positions, cell, cutoff)
    apart = grains[first] != grains[second]
    found = np.zeros(len(positions), dtype=bool)
    found[first[apart]] = True
    found[second[apart]] = True
    return found


def split_boundary(atoms: Atoms, cutoff: float = BOUNDARY_CUTOFF) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the atoms at the boundaries and of those in the bulk of the grains.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic, with the array ``grain``.
    cutoff : float
        In Å.

    Returns
    -------
    boundary, bulk : ndarray, int
        In ascending order; together every atom once.

    Raises
    ------
    ValueError
        If the structure has no grain numbers, or the cutoff is not positive.
    """
    if not atoms.has(GRAIN):
        raise ValueError(f'the structure has no array {GRAIN!r} with the number of the grain of every atom')
    found = boundary_atoms(atoms.get_positions(), atoms.cell[:], atoms.get_array(GRAIN), cutoff)
    return np.flatnonzero(found), np.flatnonzero(~found)


def crystal_rotations(atoms: Atoms) -> np.ndarray:
    """Return the rotations that leave the directions of a crystal as they are.

    The inversion is counted as a symmetry of every crystal, as in diffraction: two grains that differ only by it have
    the same lattice and no boundary to speak of.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic crystal.

    Returns
    -------
    ndarray, shape (m, 3, 3)
        Orthogonal Cartesian matrices with determinant +1, the identity among them.

    Raises
    ------
    ValueError
        If no symmetry can be determined, for example because two atoms are on top of each other.
    """
    cell = (atoms.cell[:], atoms.get_scaled_positions(), atoms.get_atomic_numbers())
    try:
        found = spglib.get_symmetry(cell, symprec=SYMMETRY_PRECISION)
    except spglib.SpglibError:
        found = None
    if found is None:
        raise ValueError(f'no symmetry can be determined of {atoms.get_chemical_formula()}')
    lattice = atoms.cell[:].T
    matrices = lattice @ np.unique(found['rotations'], axis=0) @ np.linalg.inv(lattice)
    proper = matrices * np.sign(np.linalg.det(matrices))[:, None, None]
    return np.unique(np.round(proper, 9), axis=0)


def misorientation(first: np.ndarray, second: np.ndarray, symmetry: np.ndarray) -> float:
    """Return the smallest angle by which one grain must be turned to be parallel to another.

    Parameters
    ----------
    first, second : ndarray, shape (3, 3)
        Rotations from the crystal to the grains.
    symmetry : ndarray, shape (m, 3, 3)
        Rotations of the crystal onto itself, as :func:`crystal_rotations` gives them.

    Returns
    -------
    float
        In degrees; zero for parallel grains.
    """
    traces = np.trace(np.asarray(first).T @ np.asarray(second) @ symmetry, axis1=-2, axis2=-1)
    return float(np.degrees(np.arccos(np.clip(0.5 * (traces.max() - 1.0), -1.0, 1.0))))
