"""Where the ions of one element are found: probability density on a grid, isosurfaces, and cube files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.cube import write_cube
from scipy import ndimage

from .cell_choice import continuous_cells
from .coordination import Estimate
from .percolation import periodic_parts
from .trajectory import Array, IntArray, Trajectory, indices_of, iter_frames, masses_of, n_frames_of

#: Most points of a grid: its cube file takes 13 bytes for each.
MOST_POINTS = 8_000_000

#: Isosurface of the paper (you2025, Fig. 4b and c), Å⁻³.
PAPER_ISOVALUE = 2e-4


@dataclass(frozen=True)
class DensityMap:
    """Probability density of an element on a periodic grid.

    Attributes
    ----------
    density : ndarray, shape (nx, ny, nz)
        Å⁻³; its integral over the cell is 1. Point (i, j, k) lies at i/nx, j/ny, k/nz of the lattice vectors.
    error : ndarray, shape (nx, ny, nz)
        Standard error from blocks of consecutive frames, Å⁻³; ``nan`` for a single block.
    blocks : ndarray, shape (n_blocks, nx, ny, nz)
        The densities of these blocks, Å⁻³.
    cell : ndarray, shape (3, 3)
        Mean cell, rows are the lattice vectors, Å.
    species : str
        Element.
    n_ions : int
        Ions of this element: the number density is ``n_ions * density``.
    n_frames : int
        Frames.
    smoothing : float
        Standard deviation of the Gaussian that the density was smoothed with, Å.
    volume_change : float
        Largest relative deviation of the volume of a frame from that of the mean cell.
    positions : ndarray, shape (n_atoms, 3)
        All atoms of the first frame in the mean cell, wrapped, Å.
    atomic_numbers : ndarray of int, shape (n_atoms,)
        Their elements.
    """

    density: Array
    error: Array
    blocks: Array
    cell: Array
    species: str
    n_ions: int
    n_frames: int
    smoothing: float
    volume_change: float
    positions: Array
    atomic_numbers: IntArray

    @property
    def number_density(self) -> Array:
        """Ions of the element per volume, Å⁻³."""
        return self.density * self.n_ions

    @property
    def voxel_volume(self) -> float:
        """Volume of a grid point, Å³."""
        return abs(float(np.linalg.det(self.cell))) / self.density.size

    def volume_share(self, isovalue: float = PAPER_ISOVALUE) -> Estimate:
        """Return the share of the volume where the density exceeds ``isovalue`` (Å⁻³).

        The error is that of the jackknife over the blocks of frames.
        """
        value = float((self.density > isovalue).mean())
        n_blocks = len(self.blocks)
        if n_blocks < 2:
            return Estimate(value, math.nan, 1, 'single block')
        total = self.blocks.sum(axis=0)
        without = np.array([((total - block) / (n_blocks - 1) > isovalue).mean() for block in self.blocks])
        error = math.sqrt((n_blocks - 1) * float(((without - without.mean()) ** 2).mean()))
        return Estimate(value, error, n_blocks, 'jackknife over blocks of frames')

    def channel_dimension(self, isovalue: float = PAPER_ISOVALUE) -> int:
        """Return in how many independent directions connected space above ``isovalue`` (Å⁻³) spans the cell.

        0 for separate sites or rings, 1, 2 or 3 for pathways along lines, in sheets, or in all directions.
        """
        label, n_labels = ndimage.label(self.density > isovalue)
        if not n_labels:
            return 0
        first, second, steps = [], [], []
        for axis in range(3):
            far, near = np.take(label, -1, axis=axis), np.take(label, 0, axis=axis)
            meet = (far > 0) & (near > 0)
            # The near face of the next cell lies behind the far face of this one.
            pairs = np.unique(np.column_stack([far[meet], near[meet]]) - 1, axis=0)
            first.append(pairs[:, 0])
            second.append(pairs[:, 1])
            steps.append(np.tile(np.eye(3, dtype=np.int64)[axis], (len(pairs), 1)))
        parts = periodic_parts(n_labels, np.concatenate(first), np.concatenate(second), np.concatenate(steps))
        return int(parts.dimension.max())


def density_map(
    trajectory: Trajectory,
    species: str,
    *,
    frames: Sequence[int] | None = None,
    spacing: float = 0.3,
    smoothing: float = 0.0,
    n_blocks: int = 4,
) -> DensityMap:
    r"""Return the probability density of an element, averaged over time and over its ions.

    .. math:: P(r) = \frac{1}{N T} \sum_{t} \sum_i \delta(r - r_i(t)), \qquad \int_V P\, \mathrm{d}^3 r = 1

    with every position counted at the nearest point of the grid (you2025, Methods: the density is averaged in a uniform
    grid; isosurfaces at 2e-4 in Fig. 4b and c). Positions are taken relative to the centre of mass of all atoms, which
    stays where it is in the first frame, and as fractions of the cell of their own frame.

    Parameters
    ----------
    trajectory : Trajectory
        Unwrapped frames.
    species : str
        Element.
    frames : sequence of int, optional
        Frames to use, in order; all if not given.
    spacing : float
        Largest distance of two grid points along a lattice vector, Å.
    smoothing : float
        Standard deviation of a Gaussian, Å; at least half the spacing, or 0 for none. It blurs counting noise and
        leaves the integral as it is.
    n_blocks : int
        Blocks of consecutive frames for the errors.

    Raises
    ------
    ValueError
        If the element is absent, no frame is left, positions are not finite, or grid or smoothing make no sense.
    """
    ions = indices_of(trajectory, species)
    chosen = list(range(n_frames_of(trajectory))) if frames is None else list(frames)
    if not chosen:
        raise ValueError('no frame was given')
    if not spacing > 0 or smoothing < 0 or 0 < smoothing < 0.5 * spacing:
        raise ValueError(
            f'the spacing ({spacing:g} Å) must be positive, the smoothing ({smoothing:g} Å) 0 or at least half of it'
        )
    cells = continuous_cells(np.asarray(trajectory.cells[:], dtype=float)[chosen])
    cell = cells.mean(axis=0)
    shape = tuple(int(n) for n in np.maximum(np.ceil(np.linalg.norm(cell, axis=1) / spacing - 1e-9), 1))
    if math.prod(shape) > MOST_POINTS:
        raise ValueError(f'{" × ".join(map(str, shape))} grid points are too many: use a wider spacing')
    weights = masses_of(trajectory) / masses_of(trajectory).sum()
    n_blocks = max(1, min(n_blocks, len(chosen)))
    edges = np.linspace(0, len(chosen), n_blocks + 1).round().astype(int)
    counts = np.zeros((n_blocks, math.prod(shape)))
    origin = start = np.empty(0)
    for row, (_, positions, _) in enumerate(iter_frames(trajectory, chosen)):
        inverse = np.linalg.inv(cells[row])
        centre = weights @ positions
        if not row:
            start = positions @ inverse
            origin = weights @ start
        points = np.rint(((positions[ions] - centre) @ inverse + origin) * shape).astype(np.int64) % shape
        code = (points[:, 0] * shape[1] + points[:, 1]) * shape[2] + points[:, 2]
        counts[np.searchsorted(edges, row, side='right') - 1] += np.bincount(code, minlength=counts.shape[1])
    volume = abs(float(np.linalg.det(cell)))
    # Counts per ion, frame and voxel volume.
    blocks = (counts / (np.diff(edges)[:, None] * ions.size * volume / counts.shape[1])).reshape(n_blocks, *shape)
    if smoothing:
        blocks = np.array([_smooth(block, cell, smoothing) for block in blocks])
    shares = np.diff(edges) / len(chosen)
    density = np.einsum('b,bijk->ijk', shares, blocks)
    error = blocks.std(axis=0, ddof=1) / math.sqrt(n_blocks) if n_blocks > 1 else np.full(shape, np.nan)
    return DensityMap(
        density=density, error=error, blocks=blocks, cell=cell, species=species, n_ions=int(ions.size),
        n_frames=len(chosen), smoothing=float(smoothing),
        volume_change=float(np.abs(np.abs(np.linalg.det(cells)) / volume - 1).max()), positions=(start % 1.0) @ cell,
        atomic_numbers=np.asarray(trajectory.atomic_numbers, dtype=np.int64),
    )  # fmt: skip


def _smooth(density: Array, cell: Array, width: float) -> Array:
    """Return a periodic density convolved with a normalised Gaussian of standard deviation ``width`` (Å)."""
    frequencies = [np.fft.fftfreq(n, 1.0 / n) for n in density.shape[:2]]
    frequencies.append(np.fft.rfftfreq(density.shape[2], 1.0 / density.shape[2]))
    reciprocal = 2 * np.pi * np.linalg.inv(cell)
    # k of each component: whole numbers times the reciprocal lattice vectors, the columns of the inverse cell.
    wave = sum(
        frequency.reshape([-1 if axis == own else 1 for axis in range(3)])[..., None] * reciprocal[:, own]
        for own, frequency in enumerate(frequencies)
    )
    damping = np.exp(-0.5 * width**2 * np.einsum('ijkc,ijkc->ijk', wave, wave))
    smooth = np.fft.irfftn(np.fft.rfftn(density) * damping, s=density.shape, axes=(0, 1, 2))
    # A Gaussian narrower than the grid leaves ripples below zero.
    positive = np.maximum(smooth, 0.0)
    return np.asarray(positive * (density.sum() / positive.sum()))


def write_density_cube(path: str | Path, found: DensityMap) -> None:
    """Write a density map with the atoms of its first frame as a Gaussian cube file.

    The values are in Å⁻³, as the isosurfaces of the papers are, while lengths are in bohr by the definition of the
    format; the comment line says so.

    Parameters
    ----------
    path : str or Path
        File to be written.
    found : DensityMap
        The map.
    """
    atoms = Atoms(found.atomic_numbers, found.positions, cell=found.cell, pbc=True)
    comment = f'probability density of {found.species} in 1/Angstrom^3 (integral 1), mean of {found.n_frames} frames'
    with open(path, 'w', encoding='ascii') as file:
        write_cube(file, atoms, data=found.density, comment=comment)
