"""Lattice vectors that belong together in two frames: programs describe one lattice by different cells."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from ase.geometry import minkowski_reduce

from .trajectory import Array


class CellMismatchError(ValueError):
    """Two cells that cannot be two states of one lattice."""


def equivalent_cell(cell: npt.ArrayLike, reference: npt.ArrayLike) -> Array:
    """Return the lattice vectors of a cell that lie closest to those of a reference.

    LAMMPS flips a strongly tilted box to an equivalent less tilted one. The lattice stays what it was, but its vectors
    no longer continue those of the frame before; the returned ones do, as long as no vector moved by more than half
    the shortest lattice vector.

    Parameters
    ----------
    cell, reference : array_like, shape (3, 3)
        Rows are the lattice vectors, Å.

    Returns
    -------
    ndarray, shape (3, 3)
        Rows span the same lattice as those of ``cell``.

    Raises
    ------
    CellMismatchError
        If a cell has no volume, is not finite, or the closest vectors do not span the lattice.
    """
    matrix, origin = np.asarray(cell, dtype=float), np.asarray(reference, dtype=float)
    for candidate in (matrix, origin):
        if candidate.shape != (3, 3) or not np.isfinite(candidate).all() or abs(np.linalg.det(candidate)) < 1e-6:
            raise CellMismatchError('a cell must be three finite lattice vectors that span a volume')
    reduced, _ = minkowski_reduce(matrix)
    # In a reduced cell the closest lattice vector is at most one step from the rounded coefficients.
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    candidates = np.rint(origin @ np.linalg.inv(reduced))[:, None] + steps
    distances = np.linalg.norm(candidates @ reduced - origin[:, None], axis=2)
    chosen = candidates[np.arange(3), distances.argmin(axis=1)]
    if round(abs(float(np.linalg.det(chosen)))) != 1:
        raise CellMismatchError(
            'the lattice vectors of the two frames cannot be matched: the cells differ by more than a deformation, '
            'give frames of one run that are closer together'
        )
    return np.asarray(chosen @ reduced)


def continuous_cells(cells: npt.ArrayLike) -> Array:
    """Return the cells of consecutive frames with every flip to an equivalent cell undone.

    Parameters
    ----------
    cells : array_like, shape (n_frames, 3, 3)
        Rows are the lattice vectors, Å.

    Returns
    -------
    ndarray, shape (n_frames, 3, 3)
        Each cell spans the lattice of its frame; its vectors continue those of the frame before.

    Raises
    ------
    CellMismatchError
        If the cells of two frames cannot be matched.
    """
    matrices = np.array(cells, dtype=float)
    if matrices.ndim != 3 or matrices.shape[1:] != (3, 3):
        raise CellMismatchError(f'cells must have the shape (n_frames, 3, 3), not {matrices.shape}')
    for index in range(1, len(matrices)):
        # The matching costs a lattice reduction, which a frame without a flip does not need.
        step = np.linalg.solve(matrices[index - 1].T, (matrices[index] - matrices[index - 1]).T).T
        if not np.isfinite(step).all() or np.abs(step).max() > 0.1:
            matrices[index] = equivalent_cell(matrices[index], matrices[index - 1])
    return matrices
