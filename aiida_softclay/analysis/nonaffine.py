"""Local deformation between two frames: non-affine squared displacement D²min and local strain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .cell_choice import equivalent_cell
from .cell_list import sort_atoms
from .coordination import Estimate
from .nonaffine_kernel import neighbour_sums
from .trajectory import Array, IntArray

#: Fewest neighbours that can tell a non-affine displacement: any three vectors follow from three others by a matrix.
MIN_NEIGHBOURS = 4

#: Smallest determinant of Σ r rᵀ, over that of a sphere of the same trace, for neighbours that do not lie in a plane.
SMALLEST_SPREAD = 1e-8


class TooFewNeighboursError(ValueError):
    """Atoms whose neighbours do not determine a deformation."""


class FrameMismatchError(ValueError):
    """Two frames that do not hold the same atoms, or hold values that are not finite."""


@dataclass(frozen=True)
class NonAffine:
    """Local deformation of every atom between two frames.

    Attributes
    ----------
    d2min : ndarray, shape (n_atoms,)
        Non-affine squared displacement, summed over the neighbours, Å².
    deformation_gradients : ndarray, shape (n_atoms, 3, 3)
        F of every atom, acting on column vectors: r(t) ≈ F r(t − Δ).
    n_neighbours : ndarray, shape (n_atoms,)
        Neighbours within the cutoff in the reference frame.
    cell_gradient : ndarray, shape (3, 3)
        Deformation gradient of the cell.
    cutoff : float
        Å.
    """

    d2min: Array
    deformation_gradients: Array
    n_neighbours: IntArray
    cell_gradient: Array
    cutoff: float

    @property
    def strains(self) -> Array:
        """Green–Lagrange strain E = (FᵀF − 1) / 2 of every atom, shape (n_atoms, 3, 3); free of rotations."""
        return green_lagrange(self.deformation_gradients)

    @property
    def shear_strain(self) -> Array:
        """Von Mises invariant of the strain of every atom, shape (n_atoms,); see :func:`mises_strain`."""
        return mises_strain(self.strains)

    @property
    def volumetric_strain(self) -> Array:
        """One third of the trace of the strain of every atom, shape (n_atoms,)."""
        return np.trace(self.strains, axis1=1, axis2=2) / 3


def green_lagrange(gradients: npt.ArrayLike) -> Array:
    """Return E = (FᵀF − 1) / 2 of deformation gradients of shape (…, 3, 3)."""
    f = np.asarray(gradients, dtype=float)
    return np.asarray(0.5 * (np.swapaxes(f, -1, -2) @ f - np.eye(3)))


def mises_strain(strains: npt.ArrayLike) -> Array:
    r"""Return the von Mises invariant of strain tensors of shape (…, 3, 3).

    .. math::
        \eta^2 = E_{yz}^2 + E_{xz}^2 + E_{xy}^2
            + \tfrac{1}{6} [(E_{yy} - E_{zz})^2 + (E_{xx} - E_{zz})^2 + (E_{xx} - E_{yy})^2]

    (Shimizu, Ogata and Li, Mater. Trans. 48, 2923 (2007), eq. 5): half the engineering shear for a small simple shear,
    0 for a change of volume.
    """
    e = np.asarray(strains, dtype=float)
    xx, yy, zz = e[..., 0, 0], e[..., 1, 1], e[..., 2, 2]
    normal = ((yy - zz) ** 2 + (xx - zz) ** 2 + (xx - yy) ** 2) / 6
    return np.asarray(np.sqrt(e[..., 1, 2] ** 2 + e[..., 0, 2] ** 2 + e[..., 0, 1] ** 2 + normal))


def non_affine_displacement(
    reference_positions: npt.ArrayLike,
    reference_cell: npt.ArrayLike,
    positions: npt.ArrayLike,
    cell: npt.ArrayLike,
    cutoff: float = 5.0,
) -> NonAffine:
    r"""Return D²min and the local deformation gradient of every atom between two frames.

    .. math:: D^2_{\min, i} = \min_F \sum_j | r_{ij}(t) - F r_{ij}(t - \Delta) |^2

    over the neighbours j within ``cutoff`` in the reference frame (Falk and Langer, Phys. Rev. E 57, 7192 (1998),
    eqs. 2.11–2.14; gupta2023, Fig. 2). With :math:`r(t) = A r(t - \Delta) + u` and A the deformation of the cell,
    :math:`F = A + (\sum u r^T) (\sum r r^T)^{-1}`. Vectors are taken to the nearest periodic image, that of the later
    frame such that u is shortest; neither wrapping nor the choice of the cell of a lattice matters.

    Parameters
    ----------
    reference_positions, positions : array_like, shape (n_atoms, 3)
        Å, atoms in the same order, wrapped or not.
    reference_cell, cell : array_like, shape (3, 3)
        Rows are the lattice vectors, Å; periodic in all directions.
    cutoff : float
        Å. In a small cell, several images of one atom may be neighbours.

    Raises
    ------
    FrameMismatchError
        If the frames hold different numbers of atoms, or positions are not finite.
    CellMismatchError
        If the cells cannot be two states of one lattice.
    TooFewNeighboursError
        If an atom has fewer than four neighbours, or they lie in a plane.
    ValueError
        If the cutoff is not positive.
    """
    before, after = np.asarray(reference_positions, dtype=float), np.asarray(positions, dtype=float)
    check_frames(before, after)
    old = np.asarray(reference_cell, dtype=float)
    new = equivalent_cell(cell, old)
    shifts = after @ np.linalg.inv(new) - before @ np.linalg.inv(old)
    counts, moments, crosses, squares = neighbour_sums(sort_atoms(before, old, float(cutoff)), shifts, new)
    _check_neighbours(counts, moments, float(cutoff))
    # Σ r rᵀ is symmetric: G M = C is solved as M Gᵀ = Cᵀ.
    local = np.swapaxes(np.linalg.solve(moments, np.swapaxes(crosses, 1, 2)), 1, 2)
    d2min = np.maximum(squares - np.einsum('nab,nab->n', local, crosses), 0.0)
    cell_gradient = np.linalg.solve(old, new).T
    return NonAffine(d2min, local + cell_gradient, counts, cell_gradient, float(cutoff))


def check_frames(before: Array, after: Array) -> None:
    """Check that two frames may hold the same atoms.

    Raises
    ------
    FrameMismatchError
        If the shapes differ or a value is not finite.
    """
    if before.ndim != 2 or before.shape[1] != 3 or not len(before):
        raise FrameMismatchError(f'positions must have the shape (n_atoms, 3), not {before.shape}')
    if before.shape != after.shape:
        raise FrameMismatchError(
            f'the frames hold {len(before)} and {len(after)} atoms: give two frames of the same atoms in the same order'
        )
    for name, points in (('reference', before), ('later', after)):
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        if bad.size:
            raise FrameMismatchError(
                f'the positions of {bad.size} atoms of the {name} frame are not finite (the first is number {bad[0]})'
            )


def check_same_species(before: npt.ArrayLike, after: npt.ArrayLike) -> None:
    """Check that two frames hold the same elements in the same order.

    Raises
    ------
    FrameMismatchError
        If the numbers of atoms or their elements differ.
    """
    numbers, others = np.asarray(before), np.asarray(after)
    if numbers.shape != others.shape:
        raise FrameMismatchError(
            f'the frames hold {numbers.size} and {others.size} atoms: give two frames of the same atoms'
        )
    if different := int((numbers != others).sum()):
        raise FrameMismatchError(
            f'{different} atoms have another element in the other frame: give the same atoms in the same order'
        )


def _check_neighbours(counts: IntArray, moments: Array, cutoff: float) -> None:
    few = np.flatnonzero(counts < MIN_NEIGHBOURS)
    if few.size:
        raise TooFewNeighboursError(
            f'{few.size} atoms have fewer than {MIN_NEIGHBOURS} neighbours within {cutoff:g} Å (the first is number '
            f'{few[0]} with {counts[few[0]]}): their deformation is not determined, use a larger cutoff'
        )
    spread = np.trace(moments, axis1=1, axis2=2) / 3
    flat = np.flatnonzero(np.linalg.det(moments) <= SMALLEST_SPREAD * spread**3)
    if flat.size:
        raise TooFewNeighboursError(
            f'all neighbours of {flat.size} atoms within {cutoff:g} Å lie in one plane (the first is number '
            f'{flat[0]}): their deformation is not determined, use a larger cutoff'
        )


def mean_over_space(values: npt.ArrayLike, fractions: npt.ArrayLike, n_parts: int = 3) -> Estimate:
    """Return the mean of a per-atom value with the error of block averages over parts of the cell.

    Neighbouring atoms share their neighbours and hence much of D²min: single atoms are no independent samples, parts of
    the cell wider than a shear transformation zone nearly are.

    Parameters
    ----------
    values : array_like, shape (n_atoms,)
        Any unit.
    fractions : array_like, shape (n_atoms, 3)
        Fractional coordinates, wrapped or not.
    n_parts : int
        Parts along each cell vector.
    """
    data = np.asarray(values, dtype=float)
    inside = np.asarray(fractions, dtype=float) % 1.0
    index = np.minimum((inside * n_parts).astype(int), n_parts - 1)
    part = (index[:, 0] * n_parts + index[:, 1]) * n_parts + index[:, 2]
    population = np.bincount(part, minlength=n_parts**3)
    filled = population > 0
    n_filled = int(filled.sum())
    mean = float(data.mean())
    if n_filled < 2:
        return Estimate(mean, math.nan, 1, 'single sample')
    sums = np.bincount(part, data, minlength=n_parts**3)[filled]
    # Linearised ratio of the sum to the number of atoms: parts hold different numbers of atoms.
    deviations = sums - mean * population[filled]
    error = math.sqrt(n_filled / (n_filled - 1) * float(deviations @ deviations)) / data.size
    return Estimate(mean, error, n_filled, 'block averages over parts of the cell')
