"""The sums over the neighbours of each atom that its local deformation follows from."""

from __future__ import annotations

import itertools

import numpy as np
from ase.geometry import minkowski_reduce

from .cell_list import SortedAtoms
from .compiled import compiled
from .trajectory import Array, IntArray


@compiled
def _sums(
    positions: Array,
    runs: IntArray,
    images: Array,
    cutoff: float,
    displacements: Array,
    lattice: Array,
    safe: float,
    counts: IntArray,
    sums: Array,
) -> None:
    """Add up the number of neighbours, and in 16 columns the sums of r·rᵀ (xx, xy, xz, yy, yz, zz), u·rᵀ and u·u.

    Both directions of a pair have the same products: r and u change their signs together. A difference of displacements
    longer than ``safe`` is brought to its nearest image by the short lattice vectors.
    """
    x, y, z = positions[0], positions[1], positions[2]
    limit = cutoff * cutoff
    ux, uy, uz = displacements[0], displacements[1], displacements[2]
    for run in range(runs.shape[0]):
        for i in range(runs[run, 0], runs[run, 1]):
            xi, yi, zi = x[i] - images[run, 0], y[i] - images[run, 1], z[i] - images[run, 2]
            for j in range(i + 1 if runs[run, 2] < 0 else runs[run, 2], runs[run, 3]):
                rx, ry, rz = x[j] - xi, y[j] - yi, z[j] - zi
                if rx * rx + ry * ry + rz * rz >= limit:
                    continue
                vx, vy, vz = ux[j] - ux[i], uy[j] - uy[i], uz[j] - uz[i]
                square = vx * vx + vy * vy + vz * vz
                shorter = square > safe
                while shorter:
                    shorter = False
                    for k in range(lattice.shape[0]):
                        wx, wy, wz = vx + lattice[k, 0], vy + lattice[k, 1], vz + lattice[k, 2]
                        other = wx * wx + wy * wy + wz * wz
                        if other < square * (1 - 1e-12):
                            vx, vy, vz, square, shorter = wx, wy, wz, other, True
                for atom in (i, j):
                    counts[atom] += 1
                    row = sums[atom]
                    row[0] += rx * rx
                    row[1] += rx * ry
                    row[2] += rx * rz
                    row[3] += ry * ry
                    row[4] += ry * rz
                    row[5] += rz * rz
                    row[6] += vx * rx
                    row[7] += vx * ry
                    row[8] += vx * rz
                    row[9] += vy * rx
                    row[10] += vy * ry
                    row[11] += vy * rz
                    row[12] += vz * rx
                    row[13] += vz * ry
                    row[14] += vz * rz
                    row[15] += square


def neighbour_sums(atoms: SortedAtoms, shifts: Array, deformed: Array) -> tuple[IntArray, Array, Array, Array]:
    """Return the number of neighbours of each atom, and its sums of r·rᵀ, u·rᵀ and u·u.

    Here r is the vector to a neighbour in the reference frame, and u what is left of its change when that of the cell
    is taken off, to the nearest periodic image.

    Parameters
    ----------
    atoms : SortedAtoms
        The reference frame.
    shifts : ndarray, shape (n_atoms, 3)
        Change of the fractional coordinates of each atom between the frames, up to whole numbers.
    deformed : ndarray, shape (3, 3)
        Cell of the later frame, Å.

    Returns
    -------
    counts : ndarray of int, shape (n_atoms,)
    moments, crosses : ndarray, shape (n_atoms, 3, 3)
        Å².
    squares : ndarray, shape (n_atoms,)
        Å².
    """
    relative = shifts[atoms.order] - shifts[atoms.order[0]]
    relative -= np.rint(relative)
    # A vector that none of these shortens is the shortest of its images: they hold all faces of the Wigner–Seitz cell.
    reduced, _ = minkowski_reduce(deformed)
    steps = np.array([step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)])
    lattice = np.ascontiguousarray(steps @ reduced)
    shortest = float((lattice**2).sum(axis=1).min())
    displacements = np.ascontiguousarray((relative @ deformed).T)
    sorted_counts, sorted_sums = np.zeros(len(relative), dtype=np.int64), np.zeros((len(relative), 16))
    for runs, images in atoms.blocks():
        _sums(
            atoms.positions, runs, images, atoms.cutoff, displacements, lattice, 0.25 * shortest, sorted_counts,
            sorted_sums,
        )  # fmt: skip
    counts, sums = np.empty_like(sorted_counts), np.empty_like(sorted_sums)
    counts[atoms.order], sums[atoms.order] = sorted_counts, sorted_sums
    moments = sums[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    return counts, moments, sums[:, 6:15].reshape(-1, 3, 3), sums[:, 15]
