"""Whether the molecules of a glass are whole: bonds kept, molecules torn apart, and anions that changed places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .coordination import cutoff_table
from .pair_kernel import pairs_within
from .trajectory import IntArray, Trajectory, element_labels, frame, n_frames_of, species_of


class MoleculeLabelsError(ValueError):
    """Labels of molecules that do not go with the atoms; the message says why."""


def bonded_pairs(
    state: Trajectory, limits: Mapping[tuple[str, str], float], shortest: Mapping[tuple[str, str], float] | None = None
) -> IntArray:
    """Return the bonds of a snapshot: pairs of atoms, the cation first, within the limits of their elements.

    Parameters
    ----------
    state : Trajectory
        One frame.
    limits : mapping of (str, str) to float
        Cation and anion to the distance below which they are bonded, Å.
    shortest : mapping, optional
        Distances (Å) at and below which a pair is no sound bond.

    Returns
    -------
    ndarray, shape (n_bonds, 2)
        Each pair once, sorted.

    Raises
    ------
    MoleculeLabelsError
        If there is more than one frame.
    """
    if n_frames_of(state) != 1:
        raise MoleculeLabelsError(
            f'molecules are followed between two snapshots, there are {n_frames_of(state)} frames'
        )
    positions, cell = frame(state, 0)
    species, labels = species_of(state), element_labels(state)
    present = {pair: limit for pair, limit in limits.items() if set(pair) <= set(species)}
    if not present:
        return np.empty((0, 2), dtype=np.int64)
    pairs = pairs_within(positions, cell, cutoff_table(present, species), labels)
    is_cation = np.isin(labels, [species.index(pair[0]) for pair in present])
    swap = ~is_cation[pairs.first]
    bonds = np.stack([np.where(swap, pairs.second, pairs.first), np.where(swap, pairs.first, pairs.second)], axis=1)
    if shortest is not None:
        floor = np.array([shortest.get((species[labels[a]], species[labels[b]]), 0.0) for a, b in bonds])
        bonds = bonds[pairs.distances > floor]
    return np.unique(bonds, axis=0).reshape(-1, 2)


def own_bonds(bonds: IntArray, molecule_ids: npt.ArrayLike) -> IntArray:
    """Return the bonds within a molecule; ions of their own carry a negative id."""
    ids = np.asarray(molecule_ids)
    return bonds[(ids[bonds[:, 0]] == ids[bonds[:, 1]]) & (ids[bonds[:, 0]] >= 0)]


def torn_molecules(bonds: IntArray, molecule_ids: npt.ArrayLike) -> IntArray:
    """Return the ids of the molecules that their own bonds do not hold together.

    Parameters
    ----------
    bonds : ndarray, shape (n_bonds, 2)
        Pairs of atoms; those between molecules do not count.
    molecule_ids : array_like of int, shape (n_atoms,)
        Molecule of each atom, negative for ions of their own.
    """
    ids = np.asarray(molecule_ids)
    kept = own_bonds(bonds, ids)
    graph = coo_matrix((np.ones(len(kept)), (kept[:, 0], kept[:, 1])), shape=(ids.size, ids.size))
    pieces = connected_components(graph, directed=False)[1]
    members = np.flatnonzero(ids >= 0)
    molecule_and_piece = np.unique(np.stack([ids[members], pieces[members]], axis=1), axis=0)
    molecules, n_pieces = np.unique(molecule_and_piece[:, 0], return_counts=True)
    return np.asarray(molecules[n_pieces > 1], dtype=np.int64)


@dataclass(frozen=True)
class MoleculeIntegrity:
    """What became of the molecules of a glass.

    Attributes
    ----------
    n_molecules : int
        Molecules of two or more atoms.
    n_bonds : int
        Bonds within molecules in the initial cell.
    intact : int
        Those of them that are still there.
    exchanged : int
        Those that their cation replaced by a bond to an anion that was not its neighbour before.
    torn_initially, torn : ndarray of int
        Ids of the molecules in several pieces: as packed, and those whole at first that the treatment tore.
    lost, gained : ndarray, shape (n_bonds, 2)
        Bonds of the molecules that broke, and those that their cations formed.
    """

    n_molecules: int
    n_bonds: int
    intact: int
    exchanged: int
    torn_initially: IntArray
    torn: IntArray
    lost: IntArray
    gained: IntArray


def molecule_integrity(
    initial: Trajectory,
    final: Trajectory,
    molecule_ids: npt.ArrayLike,
    cutoffs: Mapping[tuple[str, str], float],
    ideal_bonds: Mapping[tuple[str, str], float] | None = None,
    tolerance: float = 0.15,
) -> MoleculeIntegrity:
    """Follow the molecules of a glass from its initial cell to its final one.

    A bond is a cation and an anion of one molecule closer than the cutoff in the initial cell; it is intact if they are
    in the final one. A molecule is torn if its own bonds no longer hold it in one piece; the opening of a ring leaves
    it whole. Packing is judged by the ideal bond lengths where they are known: a first minimum is far beyond them.

    Parameters
    ----------
    initial, final : Trajectory
        One frame each, of the same atoms in the same order.
    molecule_ids : array_like of int, shape (n_atoms,)
        Molecule of each atom, negative for ions of their own.
    cutoffs : mapping of (str, str) to float
        Cation and anion to the distance below which they are bonded, Å; one cutoff for both states.
    ideal_bonds : mapping of (str, str) to float, optional
        Length of the bond in the isolated molecule, Å. Bonds without one are judged by their cutoff.
    tolerance : float
        Relative deviation from the ideal length up to which the packing kept a bond. Bridging bonds are 7 % longer than
        terminal ones; unbonded atoms of a molecule are 30 % further apart.

    Raises
    ------
    MoleculeLabelsError
        If labels and atoms do not go together, or there is more than one frame.
    """
    ids = np.asarray(molecule_ids)
    numbers = np.asarray(initial.atomic_numbers)
    if not np.array_equal(numbers, np.asarray(final.atomic_numbers)):
        raise MoleculeLabelsError('the initial and the final cell hold different atoms, or in another order')
    if ids.shape != numbers.shape:
        raise MoleculeLabelsError(f'there are molecule ids for {ids.size} atoms, the cells hold {numbers.size}')
    if ids.dtype.kind not in 'iu':
        raise MoleculeLabelsError(f'molecule ids are whole numbers, not {ids.dtype}')
    sizes = np.unique(ids[ids >= 0], return_counts=True)[1]
    before, after = bonded_pairs(initial, cutoffs), bonded_pairs(final, cutoffs)
    own = own_bonds(before, ids)
    if not len(own):
        raise MoleculeLabelsError(
            'no two atoms of a molecule are bonded in the initial cell: the ids are of other atoms'
        )
    sound = before
    if ideal_bonds:
        longest = {**cutoffs, **{pair: (1 + tolerance) * length for pair, length in ideal_bonds.items()}}
        shortest = {pair: (1 - tolerance) * length for pair, length in ideal_bonds.items()}
        sound = bonded_pairs(initial, longest, shortest)
    packed_torn = torn_molecules(sound, ids)
    kept = _common(own, after, ids.size)
    torn = np.setdiff1d(torn_molecules(own[kept], ids), torn_molecules(own, ids))
    holders = np.unique(own[:, 0])
    new = after[~_common(after, before, ids.size)]
    gained = new[np.isin(new[:, 0], holders)]
    lost = own[~kept]
    per_cation = [np.bincount(bonds[:, 0], minlength=ids.size) for bonds in (lost, gained)]
    return MoleculeIntegrity(
        n_molecules=int((sizes > 1).sum()), n_bonds=len(own), intact=int(kept.sum()),
        exchanged=int(np.minimum(*per_cation).sum()), torn_initially=packed_torn, torn=torn, lost=lost, gained=gained,
    )  # fmt: skip


def _common(bonds: IntArray, others: IntArray, n_atoms: int) -> npt.NDArray[np.bool_]:
    """Return which of the bonds are among the others."""
    return np.isin(bonds[:, 0] * n_atoms + bonds[:, 1], others[:, 0] * n_atoms + others[:, 1])


def molecule_formulas(symbols: Sequence[str], molecule_ids: npt.ArrayLike) -> dict[str, int]:
    """Return how many molecules of each formula there are, elements in the order of their first appearance."""
    ids = np.asarray(molecule_ids)
    kinds = list(dict.fromkeys(symbols))
    place = np.array([kinds.index(symbol) for symbol in symbols])
    molecules, rows = np.unique(ids[ids >= 0], return_inverse=True)
    counts = np.zeros((molecules.size, len(kinds)), dtype=np.int64)
    np.add.at(counts, (rows, place[ids >= 0]), 1)
    formulas: dict[str, int] = {}
    for row in counts.tolist():
        text = ''.join(f'{kind}{n if n > 1 else ""}' for kind, n in zip(kinds, row, strict=True) if n)
        formulas[text] = formulas.get(text, 0) + 1
    return formulas
