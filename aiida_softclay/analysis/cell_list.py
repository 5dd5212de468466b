"""Atoms sorted into small cells, and what lies around each: the ground of every loop over pairs.

Atoms are sorted into small cells of the lattice. Around every cell lies a stencil of rows of cells that reaches as far
as the cutoff; it may wind around the lattice several times, each time with another lattice vector, so that a cutoff
beyond half the height of the cell meets all periodic images, those of the atom itself too. Every undirected pair is met
once: rows above the cell, or further along in the row of the cell itself (Allen and Tildesley, Computer Simulation of
Liquids, 2nd ed., section 5.3.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .compiled import compiled
from .trajectory import SMALLEST_VOLUME, Array, IntArray, cell_heights

#: Fewest atoms per small cell on average, and most small cells per cutoff: many small cells avoid pairs beyond the
#: cutoff, few large ones give longer loops. The time is flat around these numbers.
ATOMS_PER_CELL = 1.5
CELLS_PER_CUTOFF = 3.0
#: Small cells whose surroundings are held at once: bounds the memory of large systems.
CELLS_PER_BLOCK = 8192


@compiled
def _sort_into_cells(fractions: Array, sizes: IntArray) -> tuple[IntArray, IntArray]:
    """Return the atoms in the order of their cells (x fastest), and where each cell starts."""
    n_atoms = fractions.shape[0]
    owner = np.empty(n_atoms, np.int64)
    starts = np.zeros(sizes[0] * sizes[1] * sizes[2] + 1, np.int64)
    for atom in range(n_atoms):
        x = min(int(fractions[atom, 0] * sizes[0]), sizes[0] - 1)
        y = min(int(fractions[atom, 1] * sizes[1]), sizes[1] - 1)
        z = min(int(fractions[atom, 2] * sizes[2]), sizes[2] - 1)
        owner[atom] = (z * sizes[1] + y) * sizes[0] + x
        starts[owner[atom] + 1] += 1
    for cell in range(starts.size - 1):
        starts[cell + 1] += starts[cell]
    filled = starts[:-1].copy()
    order = np.empty(n_atoms, np.int64)
    for atom in range(n_atoms):
        order[filled[owner[atom]]] = atom
        filled[owner[atom]] += 1
    return order, starts


@compiled
def _find_runs(
    starts: IntArray, sizes: IntArray, stencil: IntArray, matrix: Array, begin: int, end: int, runs: IntArray,
    shifts: Array,
) -> int:  # fmt: skip
    """Write the runs of atoms around some cells; return how many there are, more than fit if there is no room."""
    n_runs = 0
    nx, ny, nz = sizes[0], sizes[1], sizes[2]
    for home in range(begin, end):
        if starts[home] == starts[home + 1]:
            continue
        x, y, z = home % nx, home // nx % ny, home // (nx * ny)
        for row in range(stencil.shape[0]):
            dy, dz, first, last = stencil[row, 0], stencil[row, 1], stencil[row, 2], stencil[row, 3]
            turn_y, turn_z = (y + dy) // ny, (z + dz) // nz
            base = ((z + dz - turn_z * nz) * ny + y + dy - turn_y * ny) * nx
            # The row leaves the lattice and comes in again: one run for each turn.
            for turn_x in range((x + first) // nx, (x + last) // nx + 1):
                left = max(x + first - turn_x * nx, 0)
                right = min(x + last - turn_x * nx, nx - 1)
                low, high = starts[base + left], starts[base + right + 1]
                if low == high:
                    continue
                if n_runs < runs.shape[0]:
                    is_home = dy == 0 and dz == 0 and turn_x == 0
                    runs[n_runs, 0], runs[n_runs, 1] = starts[home], starts[home + 1]
                    runs[n_runs, 2], runs[n_runs, 3] = -1 if is_home else low, high
                    for axis in range(3):
                        shifts[n_runs, axis] = (
                            turn_x * matrix[0, axis] + turn_y * matrix[1, axis] + turn_z * matrix[2, axis]
                        )
                n_runs += 1
    return n_runs


@dataclass(frozen=True)
class SortedAtoms:
    """The atoms of one frame in the order of their small cells.

    Attributes
    ----------
    positions : ndarray, shape (3, n_atoms)
        Wrapped positions in the order of the cells, Å; the components are contiguous.
    order : ndarray, shape (n_atoms,)
        Index of each sorted atom in the frame.
    starts : ndarray, shape (n_cells + 1,)
        First sorted atom of each small cell.
    sizes : ndarray, shape (3,)
        Number of small cells along each lattice vector.
    stencil : ndarray, shape (n_rows, 4)
        Rows of cells around a cell, the upper half: distance along b and c, first and last cell along a.
    matrix : ndarray, shape (3, 3)
        Lattice vectors as rows, Å.
    cutoff : float
        Å.
    """

    positions: Array
    order: IntArray
    starts: IntArray
    sizes: IntArray
    stencil: IntArray
    matrix: Array
    cutoff: float

    def blocks(self) -> Iterator[tuple[IntArray, Array]]:
        """Yield which runs of atoms may be neighbours, for a block of small cells at a time.

        Yields
        ------
        runs : ndarray, shape (n_runs, 4)
            First and last + 1 of the central atoms, first and last + 1 of the atoms around them. Where the first atom
            around is -1, each central atom starts with the atom behind itself.
        shifts : ndarray, shape (n_runs, 3)
            Lattice vector that is added to the atoms around, Å.
        """
        n_cells = self.starts.size - 1
        for first in range(0, n_cells, CELLS_PER_BLOCK):
            last = min(first + CELLS_PER_BLOCK, n_cells)
            room = 2 * len(self.stencil) * (last - first)
            while True:
                runs, shifts = np.empty((room, 4), dtype=np.int64), np.empty((room, 3))
                n_runs = _find_runs(self.starts, self.sizes, self.stencil, self.matrix, first, last, runs, shifts)
                if n_runs <= room:
                    break
                room = n_runs
            yield runs[:n_runs], shifts[:n_runs]


@lru_cache(maxsize=64)
def _geometry(cell: bytes, cutoff: float, n_atoms: int) -> tuple[IntArray, IntArray]:
    """Return the number of small cells along each axis and the upper half of the stencil.

    A row of the stencil holds its distance in cells along b and c, and the first and last cell along a. In the frame
    where a lies along x and b in the xy plane, z depends on the third fraction alone and y on the last two, so the gaps
    between two rows follow one after the other.
    """
    matrix = np.frombuffer(cell).reshape(3, 3)
    volume = abs(float(np.linalg.det(matrix)))
    edge = max(cutoff / CELLS_PER_CUTOFF, (ATOMS_PER_CELL * volume / n_atoms) ** (1 / 3))
    sizes = np.maximum((cell_heights(matrix) / edge).astype(np.int64), 1)
    step_a, step_b, step_c = (np.linalg.cholesky(matrix @ matrix.T) / sizes[:, None]).tolist()
    # Rounding must not lose a pair at the very cutoff.
    reach = cutoff * (1 + 1e-9)

    rows = []
    for dz in range(math.ceil(reach / step_c[2]) + 1):
        z_gap = max((dz - 1) * step_c[2], 0.0)
        if z_gap >= reach:
            continue
        # Two atoms dz cells apart differ by dz - 1 … dz + 1 steps along c, and these lean over b and a.
        lean_y = sorted(((dz - 1) * step_c[1], (dz + 1) * step_c[1]))
        lean_x = sorted(((dz - 1) * step_c[0], (dz + 1) * step_c[0]))
        lowest = math.floor((-reach - lean_y[1]) / step_b[1]) - 1
        highest = math.ceil((reach - lean_y[0]) / step_b[1]) + 1
        for dy in range(lowest if dz else 0, highest + 1):
            y_gap = max((dy - 1) * step_b[1] + lean_y[0], -(dy + 1) * step_b[1] - lean_y[1], 0.0)
            left = reach**2 - z_gap**2 - y_gap**2
            if left <= 0:
                continue
            over = sorted(((dy - 1) * step_b[0], (dy + 1) * step_b[0]))
            first = math.floor((-math.sqrt(left) - over[1] - lean_x[1]) / step_a[0])
            last = math.ceil((math.sqrt(left) - over[0] - lean_x[0]) / step_a[0])
            rows.append((dy, dz, 0 if dy == dz == 0 else first, last))
    return sizes, np.array(rows, dtype=np.int64)


def check_points(points: Array) -> None:
    """Check that positions (n_atoms, 3) are there and finite.

    Raises
    ------
    ValueError
        With the first atom whose position is not a number.
    """
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise ValueError(f'the positions must have the shape (n_atoms, 3), not {points.shape}')
    if not np.isfinite(points).all():
        raise ValueError(f'some positions are not finite; atom {np.argmin(np.isfinite(points).all(axis=1))} is first')


def sort_atoms(positions: npt.ArrayLike, cell: npt.ArrayLike, cutoff: float) -> SortedAtoms:
    """Return the atoms of a frame prepared for a loop over all pairs within a cutoff.

    Parameters
    ----------
    positions : array_like, shape (n_atoms, 3)
        Å; wrapped or not.
    cell : array_like, shape (3, 3)
        Rows are the lattice vectors, Å, of any orientation and tilt; periodic in all directions.
    cutoff : float
        Å.

    Raises
    ------
    ValueError
        If the cutoff is not positive, the cell has no volume, or numbers are missing or not finite.
    """
    points, matrix = np.asarray(positions, dtype=float), np.ascontiguousarray(cell, dtype=float)
    if not 0 < cutoff < np.inf:
        raise ValueError(f'the cutoff must be positive, it is {cutoff} Å')
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < SMALLEST_VOLUME:
        raise ValueError('the cell must be three lattice vectors that span a volume')
    check_points(points)
    fractions = points @ np.linalg.inv(matrix)
    fractions -= np.floor(fractions)
    sizes, stencil = _geometry(matrix.tobytes(), float(cutoff), len(points))
    order, starts = _sort_into_cells(fractions, sizes)
    sorted_positions = np.ascontiguousarray((fractions[order] @ matrix).T)
    return SortedAtoms(sorted_positions, order, starts, sizes, stencil, matrix, float(cutoff))
