"""Chains of tetrahedra: central atoms that share a bridging anion, their lengths and their bridges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .coordination import Coordination, Estimate, coordination_of, cutoff_table, neighbour_counts
from .pair_kernel import Pairs, pairs_within
from .statistics import block_average
from .trajectory import (
    Array,
    IntArray,
    Trajectory,
    check_pairs,
    element_labels,
    indices_of,
    iter_frames,
    n_frames_of,
    select_frames,
    species_of,
)

#: Largest distance of two aluminium atoms of one chain, Å (qyang2025).
LINK_CUTOFF = 4.2


@dataclass(frozen=True)
class Chains:
    """Chains of one frame.

    Attributes
    ----------
    chain : ndarray of int, shape (n_central,)
        Chain of each central atom, in the order of the atoms.
    lengths : ndarray of int, shape (n_chains,)
        Number of central atoms of each chain; 1 for an isolated one.
    links : ndarray of int, shape (n_links, 2)
        Central atoms (places among them, the smaller first) that are linked, each pair once.
    bridges : ndarray of bool, shape (n_links, n_elements)
        Which elements bridge each link.
    """

    chain: IntArray
    lengths: IntArray
    links: IntArray
    bridges: npt.NDArray[np.bool_]


def chains_from_bonds(bonds: Pairs, labels: IntArray, central: int, bridging: Iterable[int], cutoff: float) -> Chains:
    """Return the chains of one frame from its bonds.

    Two central atoms are linked if they are bonded to the same bridging atom and closer to each other than ``cutoff``;
    their distance is taken along the two bonds, so that it belongs to the images that the bridge connects.

    Parameters
    ----------
    bonds : Pairs
        Bonds between central and bridging atoms; others are left out.
    labels : ndarray of int, shape (n_atoms,)
        Element of each atom.
    central : int
        Label of the central element.
    bridging : iterable of int
        Labels of the bridging elements, the columns of :attr:`Chains.bridges`.
    cutoff : float
        Largest distance of linked atoms, Å.
    """
    columns = list(bridging)
    place = np.cumsum(labels == central) - 1
    n_central = int(place[-1]) + 1
    is_bridging = np.zeros(labels.max() + 1, dtype=bool)
    is_bridging[columns] = True
    # Every bond seen from the bridge: forward ones start there, the others are turned round.
    first, second = labels[bonds.first], labels[bonds.second]
    forward = np.flatnonzero(is_bridging[first] & (second == central))
    backward = np.flatnonzero(is_bridging[second] & (first == central))
    bridge = np.concatenate([bonds.first[forward], bonds.second[backward]])
    centre = place[np.concatenate([bonds.second[forward], bonds.first[backward]])]
    vector = np.concatenate([bonds.vectors[forward], -bonds.vectors[backward]])
    # Only atoms that bridge matter; they are few beside the terminal ones.
    shared = np.bincount(bridge, minlength=labels.size)[bridge] > 1
    bridge, centre, vector = bridge[shared], centre[shared], vector[shared]
    order = np.argsort(bridge, kind='stable')
    bridge, centre, vector = bridge[order], centre[order], vector[order]

    pairs, elements = [np.empty((0, 2), dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for offset in range(1, int(np.bincount(bridge).max()) if bridge.size else 1):
        same = np.flatnonzero(bridge[offset:] == bridge[:-offset])
        separation = vector[same + offset] - vector[same]
        near = same[np.einsum('ij,ij->i', separation, separation) < cutoff**2]
        pairs.append(np.sort(np.column_stack([centre[near], centre[near + offset]]), axis=1))
        elements.append(labels[bridge[near]])
    ends, element = np.concatenate(pairs), np.concatenate(elements)
    # A bridge between an atom and its own image makes no chain longer.
    apart = ends[:, 0] != ends[:, 1]
    code, which = np.unique(ends[apart, 0] * n_central + ends[apart, 1], return_inverse=True)
    links = np.column_stack([code // n_central, code % n_central])
    bridges = np.zeros((len(code), len(columns)), dtype=bool)
    for column, label in enumerate(columns):
        bridges[which[element[apart] == label], column] = True
    graph = coo_array((np.ones(len(links), dtype=np.int8), (links[:, 0], links[:, 1])), shape=(n_central, n_central))
    n_chains, chain = connected_components(graph, directed=False)
    return Chains(chain.astype(np.int64), np.bincount(chain, minlength=n_chains), links, bridges)


@dataclass(frozen=True)
class ChainStatistics:
    """Chains of a run.

    Attributes
    ----------
    central : str
        Element of the central atoms.
    shares : dict of int to Estimate
        Share of the central atoms that are in chains of each length, the shortest first; 1 means isolated.
    numbers : dict of int to float
        Mean number of chains of each length in a frame.
    isolated : Estimate
        Share of isolated central atoms.
    mean_length : Estimate
        Mean number of central atoms of a chain (number average; isolated atoms count as chains of one).
    bridges : dict of str to Estimate
        Share of the links that only this element bridges, and that several do (``O+Cl``); empty without links.
    isolated_per_frame, mean_length_per_frame : ndarray, shape (n_frames,)
        Share of isolated atoms and mean length in every frame.
    coordination : dict of (str, str) to Coordination
        Bonds of the central atoms, counted on the way.
    frames : tuple of int
        The frames.
    """

    central: str
    shares: dict[int, Estimate]
    numbers: dict[int, float]
    isolated: Estimate
    mean_length: Estimate
    bridges: dict[str, Estimate]
    isolated_per_frame: Array
    mean_length_per_frame: Array
    coordination: dict[tuple[str, str], Coordination]
    frames: tuple[int, ...]


def _with_sampling_error(per_frame: Array, variances: Array, n_groups: float, name: str) -> Estimate:
    """Return the mean over frames with the larger of the error in time and that of so few groups of atoms."""
    average = block_average(per_frame)
    sampling = math.sqrt(float(variances.mean()))
    if math.isfinite(average.error) and average.error >= sampling:
        return Estimate(average.mean, average.error, average.n_blocks, 'block averages over frames')
    return Estimate(average.mean, sampling, max(round(n_groups), 1), f'spread over {name}')


def chain_statistics(
    trajectory: Trajectory,
    central: str,
    bonds: Mapping[tuple[str, str], float],
    cutoff: float = LINK_CUTOFF,
    n_frames: int | None = 20,
    start: int = 0,
) -> ChainStatistics:
    r"""Return how long the chains of tetrahedra are, averaged over frames.

    Central atoms closer than ``cutoff`` that share a bridging atom are one chain (qyang2025, Fig. 1d). The error bars
    are those of a ratio of sums over chains, which are the independent groups here and not the atoms,
    :math:`s^2 = \sum_c (y_c - R x_c)^2 / (\sum_c x_c)^2` with :math:`R = \sum_c y_c / \sum_c x_c` (Cochran, Sampling
    Techniques, 3rd ed., section 2.11), or the error of the mean over time if that is larger.

    Parameters
    ----------
    trajectory : Trajectory
        Frames.
    central : str
        Element of the central atoms (``Al``).
    bonds : mapping of (str, str) to float
        Central and bridging element to the distance (Å) below which they are bonded.
    cutoff : float
        Largest distance of two central atoms of one link, Å.
    n_frames, start : int
        Frames spread evenly from ``start`` on; all for ``None``.

    Raises
    ------
    ValueError
        If no bond is given, a bond is not of the central element, an element is absent or a cutoff is not positive.
    """
    species = species_of(trajectory)
    if not bonds:
        raise ValueError(f'no bond of {central} to a bridging element was given')
    check_pairs(list(bonds), species)
    if not cutoff > 0 or any(pair[0] != central or pair[1] == central for pair in bonds):
        raise ValueError(f'bonds must go from {central} to other elements, and the link cutoff must be positive')
    table, labels = cutoff_table(bonds, species), element_labels(trajectory)
    bridging = [pair[1] for pair in bonds]
    columns = [species.index(symbol) for symbol in bridging]
    members = indices_of(trajectory, central)
    n_central = members.size
    selected = select_frames(n_frames_of(trajectory), n_frames, start)

    counts = np.zeros((len(bonds), len(selected), n_central), dtype=np.int64)
    per_length = np.zeros((len(selected), n_central + 1), dtype=np.int32)
    kinds = ['+'.join(np.array(bridging)[[bool(code >> bit & 1) for bit in range(len(bridging))]].tolist())
             for code in range(1 << len(bridging))]  # fmt: skip
    per_kind = np.zeros((len(selected), len(kinds)))
    for row, (_, positions, cell) in enumerate(iter_frames(trajectory, selected)):
        pairs = pairs_within(positions, cell, table, labels)
        counts[:, row] = neighbour_counts(pairs, labels, len(species))[members][:, columns].T
        found = chains_from_bonds(pairs, labels, species.index(central), columns, cutoff)
        per_length[row] = np.bincount(found.lengths, minlength=n_central + 1)
        per_kind[row] = np.bincount(found.bridges @ (1 << np.arange(len(bridging))), minlength=len(kinds))

    sizes = np.arange(n_central + 1)
    n_chains = per_length.sum(axis=1)
    atoms = per_length * sizes
    # Sums over chains of the squared deviation from the ratio, for each length at once.
    squares = per_length @ sizes**2
    shares = {}
    for length in np.flatnonzero(per_length.any(axis=0)):
        ratio = atoms[:, length] / n_central
        variance = (atoms[:, length] * length * (1 - 2 * ratio) + ratio**2 * squares) / n_central**2
        shares[int(length)] = _with_sampling_error(ratio, variance, n_chains.mean(), 'chains')
    isolated = atoms[:, 1] / n_central
    lengths = n_central / n_chains
    spread = (squares - n_central * lengths) / n_chains**2
    links = per_kind.sum(axis=1)
    bridges = {}
    if links.all():
        for code in np.flatnonzero(per_kind.any(axis=0)):
            ratio = per_kind[:, code] / links
            bridges[kinds[code]] = _with_sampling_error(ratio, ratio * (1 - ratio) / links, links.mean(), 'links')
    return ChainStatistics(
        central=central, shares=shares, numbers={n: float(per_length[:, n].mean()) for n in shares},
        isolated=shares.get(1, Estimate(0.0, 0.0, len(selected), 'no isolated atom in any frame')),
        mean_length=_with_sampling_error(lengths, spread, n_chains.mean(), 'chains'),
        bridges=bridges, isolated_per_frame=isolated, mean_length_per_frame=lengths, frames=tuple(selected),
        coordination={
            pair: coordination_of(pair, bonds[pair], table) for pair, table in zip(bonds, counts, strict=True)
        },
    )  # fmt: skip
