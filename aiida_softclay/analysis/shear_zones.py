"""Shear transformation zones and shear bands: where in the cell the non-affine displacements gather."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .pair_kernel import pairs_within
from .percolation import periodic_parts
from .trajectory import Array, IntArray


@dataclass(frozen=True)
class Zone:
    """Connected atoms of large non-affine displacement.

    Attributes
    ----------
    atoms : ndarray of int, shape (n,)
        Indices in increasing order.
    centre : ndarray, shape (3,)
        Mean position, wrapped into the cell, Å; ``nan`` for a zone that meets its own periodic images.
    radius_of_gyration : float
        Å; ``nan`` for a zone that meets its own periodic images.
    dimension : int
        Number of independent directions in which the zone meets its own periodic images: 0 for a shear transformation
        zone, 1 for a thread, 2 for a band that spans the cell, 3 for all of it.
    """

    atoms: IntArray
    centre: Array
    radius_of_gyration: float
    dimension: int

    @property
    def size(self) -> int:
        """Number of atoms."""
        return int(self.atoms.size)


@dataclass(frozen=True)
class ShearZones:
    """All zones of one pair of frames.

    Attributes
    ----------
    zones : tuple of Zone
        The largest first; zones of fewer than ``minimum_size`` atoms are left out.
    n_selected : int
        Atoms that were clustered.
    mean_size : float
        Number of atoms in the zone of a selected atom, averaged over the selected atoms.
    random_mean_size, random_deviation : float
        The same for as many atoms taken at random, and its standard deviation from draw to draw.
    cutoff : float
        Å.
    minimum_size : int
        Fewest atoms of a zone.
    """

    zones: tuple[Zone, ...]
    n_selected: int
    mean_size: float
    random_mean_size: float
    random_deviation: float
    cutoff: float
    minimum_size: int

    @property
    def clustering(self) -> float:
        """How many times larger the zones are than those of atoms taken at random.

        Neighbours share much of their D²min, so that thermal motion alone gives more than 1: compare with a run at
        rest.
        """
        return self.mean_size / self.random_mean_size

    @property
    def dimension(self) -> int:
        """Largest dimension of a zone."""
        return max((zone.dimension for zone in self.zones), default=0)


def shear_zones(
    positions: npt.ArrayLike,
    cell: npt.ArrayLike,
    selected: npt.ArrayLike,
    cutoff: float = 4.0,
    minimum_size: int = 5,
    n_random: int = 20,
) -> ShearZones:
    """Return the clusters of the atoms of large non-affine displacement: the shear transformation zones.

    Selected atoms closer than ``cutoff`` belong to one zone (gupta2023, Fig. 2b–e, marks such zones by eye); in a cell
    below twice the cutoff, the images of an atom count one by one. What
    clustering means is told by the same number of atoms taken at random from all.

    Parameters
    ----------
    positions : array_like, shape (n_atoms, 3)
        All atoms, Å, wrapped or not.
    cell : array_like, shape (3, 3)
        Rows are the lattice vectors, Å.
    selected : array_like of int
        Indices of the atoms of large D²min, for example ``classes_by_percentile(d2min, upper=95).largest``.
    cutoff : float
        Largest distance of two atoms of a zone that need no others between them, Å.
    minimum_size : int
        Fewest atoms of a zone: single atoms that hop are no shear transformation zone.
    n_random : int
        Random draws, always the same ones.

    Raises
    ------
    ValueError
        If no atom is selected, one does not exist, or the cutoff or a position makes no sense.
    """
    points, matrix = np.asarray(positions, dtype=float), np.asarray(cell, dtype=float)
    chosen = np.unique(np.asarray(selected, dtype=np.int64))
    n_atoms = len(points)
    if not chosen.size:
        raise ValueError('no atom was selected: there is nothing to cluster')
    if chosen[0] < 0 or chosen[-1] >= n_atoms:
        raise ValueError(f'there are {n_atoms} atoms, the selection asks for {chosen[0]} … {chosen[-1]}')
    found = pairs_within(points, matrix, cutoff)
    generator = np.random.default_rng(0)
    draws = [
        _mean_size(_cluster_sizes(n_atoms, generator.permutation(n_atoms)[: chosen.size], found.first, found.second))
        for _ in range(n_random)
    ]
    row = np.full(n_atoms, -1)
    row[chosen] = np.arange(chosen.size)
    inverse = np.linalg.inv(matrix)
    fractions = (points @ inverse)[chosen]
    bonds = (row[found.first] >= 0) & (row[found.second] >= 0)
    i, j = row[found.first[bonds]], row[found.second[bonds]]
    # The image that is meant, which in a small cell is one of several.
    parts = periodic_parts(chosen.size, i, j, np.rint(found.vectors[bonds] @ inverse - fractions[j] + fractions[i]))
    whole, sizes = (fractions + parts.image) @ matrix, parts.sizes
    zones = [
        _zone(chosen, np.flatnonzero(parts.label == part), whole, matrix, int(parts.dimension[part]))
        for part in np.argsort(-sizes, kind='stable')
        if sizes[part] >= minimum_size
    ]
    return ShearZones(
        zones=tuple(zones), n_selected=int(chosen.size), mean_size=_mean_size(sizes),
        random_mean_size=float(np.mean(draws)), random_deviation=float(np.std(draws, ddof=1)), cutoff=float(cutoff),
        minimum_size=minimum_size,
    )  # fmt: skip


def _cluster_sizes(n_atoms: int, chosen: IntArray, first: IntArray, second: IntArray) -> IntArray:
    """Return the sizes of the clusters of the chosen atoms."""
    row = np.full(n_atoms, -1)
    row[chosen] = np.arange(chosen.size)
    both = (row[first] >= 0) & (row[second] >= 0)
    graph = coo_array(
        (np.ones(int(both.sum()), dtype=bool), (row[first[both]], row[second[both]])), shape=(chosen.size, chosen.size)
    )
    return np.bincount(connected_components(graph, directed=False)[1])


def _mean_size(sizes: IntArray) -> float:
    return float((sizes.astype(float) ** 2).sum() / sizes.sum())


def _zone(chosen: IntArray, members: IntArray, whole: Array, matrix: Array, dimension: int) -> Zone:
    if dimension:
        return Zone(chosen[members], np.full(3, math.nan), math.nan, dimension)
    centre = whole[members].mean(axis=0)
    radius = math.sqrt(float(((whole[members] - centre) ** 2).sum(axis=1).mean()))
    inside = centre @ np.linalg.inv(matrix)
    return Zone(chosen[members], (inside - np.floor(inside)) @ matrix, radius, 0)


@dataclass(frozen=True)
class Localisation:
    """How unevenly a per-atom quantity is spread over atoms and over layers of the cell.

    Attributes
    ----------
    participation : float
        Participation ratio: 1 if all atoms share alike, 1/N if one atom has it all.
    deviation : float
        Standard deviation over the atoms, in the unit of the values; for the von Mises strain this is the degree of
        strain localisation.
    profiles : ndarray, shape (3, n_layers)
        Mean over layers parallel to the faces (b, c), (c, a) and (a, b) of the cell; ``nan`` for empty layers.
    layering : ndarray, shape (3,)
        Share of the variance over atoms that lies between these layers: 1 if the value depends on the layer alone, 0
        on average for atoms without order.
    half_share : ndarray, shape (3,)
        Thinnest slab that holds half of the sum, as a share of the height: nearly 0.5 for a uniform deformation,
        little for a band.
    """

    participation: float
    deviation: float
    profiles: Array
    layering: Array
    half_share: Array


def localisation(
    values: npt.ArrayLike, positions: npt.ArrayLike, cell: npt.ArrayLike, n_layers: int = 10
) -> Localisation:
    r"""Return measures of localisation of D²min or local strain.

    Participation ratio :math:`(\sum v)^2 / (N \sum v^2)`; standard deviation of the von Mises strain over the atoms as
    the degree of strain localisation, as is usual for metallic glasses; for layers, the share of the variance between
    them with the correction for chance :math:`\epsilon^2 = [S_b - (k - 1) S_w / (N - k)] / S`
    (Kelley, Proc. Natl. Acad. Sci. 21, 554 (1935)), with sums of squares between k layers, within them, and in total.

    Shear along ``yz`` moves layers of normal z along y: its bands are layers parallel to (a, b), or their conjugates
    parallel to (c, a). The other normal tells what the same measure gives without a band.

    Parameters
    ----------
    values : array_like, shape (n_atoms,)
        Not negative, for example D²min in Å².
    positions : array_like, shape (n_atoms, 3)
        Å, wrapped or not.
    cell : array_like, shape (3, 3)
        Rows are the lattice vectors, Å.
    n_layers : int
        Layers along each height.

    Raises
    ------
    ValueError
        If values are negative, not finite or all zero, or there are fewer atoms than layers.
    """
    data = np.asarray(values, dtype=float)
    if not np.isfinite(data).all() or data.min() < 0 or not data.any():
        raise ValueError('localisation needs finite values that are not negative and not all zero')
    if n_layers < 2 or data.size <= n_layers:
        raise ValueError(f'{data.size} atoms cannot be divided into {n_layers} layers')
    inside = np.asarray(positions, dtype=float) @ np.linalg.inv(np.asarray(cell, dtype=float)) % 1.0
    layer = np.minimum((inside * n_layers).astype(int), n_layers - 1)
    mean, total = float(data.mean()), float(((data - data.mean()) ** 2).sum())
    profiles, layering, half = np.full((3, n_layers), np.nan), np.zeros(3), np.zeros(3)
    for axis in range(3):
        population = np.bincount(layer[:, axis], minlength=n_layers)
        sums = np.bincount(layer[:, axis], data, minlength=n_layers)
        filled = population > 0
        profiles[axis, filled] = sums[filled] / population[filled]
        between = float((population[filled] * (profiles[axis, filled] - mean) ** 2).sum())
        chance = (filled.sum() - 1) * (total - between) / (data.size - filled.sum())
        layering[axis] = (between - chance) / total if total > 0 else 0.0
        half[axis] = _thinnest_half(inside[:, axis], data)
    return Localisation(
        participation=float(data.sum() ** 2 / (data.size * (data**2).sum())), deviation=float(data.std(ddof=1)),
        profiles=profiles, layering=layering, half_share=half,
    )  # fmt: skip


def _thinnest_half(heights: Array, values: Array) -> float:
    """Return the width of the thinnest periodic slab of heights 0 … 1 that holds half of the values."""
    order = np.argsort(heights, kind='stable')
    height = np.concatenate([heights[order], heights[order] + 1.0])
    held = np.cumsum(np.concatenate([values[order], values[order]]))
    before = held - np.concatenate([values[order], values[order]])
    n_atoms = heights.size
    last = np.searchsorted(held, before[:n_atoms] + 0.5 * held[n_atoms - 1] * (1 - 1e-12))
    return float(np.clip(height[np.minimum(last, 2 * n_atoms - 1)] - height[:n_atoms], 0.0, 1.0).min())
