"""Coordination numbers, anion exchange and the census of mixed-anion complexes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error.

    Attributes
    ----------
    value, error : float
        Mean and standard error; the error is ``nan`` where the data allow none.
    n_samples : int
        Independent samples behind the error: blocks of frames, or atoms.
    method : str
        How the error was found.
    """

    value: float
    error: float
    n_samples: int
    method: str


def estimate_from_frames(per_frame: Array, per_atom: Array | None = None) -> Estimate:
    """Return the mean over frames with the larger of the two errors that the data allow.

    Frames of one glass share most of their bonds: the scatter over frames says how the number fluctuates in time, the
    scatter over atoms how well this many atoms represent the material. The larger one is reported.

    Parameters
    ----------
    per_frame : ndarray, shape (n_frames,)
        Value in every frame.
    per_atom : ndarray, shape (n_atoms,), optional
        Value of every atom, averaged over the frames.
    """
    average = block_average(per_frame)
    candidates = []
    if math.isfinite(average.error):
        candidates.append((average.error, average.n_blocks, 'block averages over frames'))
    if per_atom is not None and per_atom.size > 1:
        error = float(per_atom.std(ddof=1) / math.sqrt(per_atom.size))
        candidates.append((error, int(per_atom.size), 'spread over central atoms'))
    if not candidates:
        return Estimate(average.mean, math.nan, 1, 'single sample')
    error, n_samples, method = max(candidates)
    return Estimate(average.mean, error, n_samples, method)


@dataclass(frozen=True)
class Coordination:
    """Numbers of neighbours of one kind around central atoms.

    Attributes
    ----------
    pair : (str, str)
        Central element and element of the neighbours.
    cutoff : float
        Å.
    counts : ndarray, shape (n_frames, n_central)
        Neighbours of every central atom in every frame.
    mean : Estimate
        Mean coordination number.
    """

    pair: tuple[str, str]
    cutoff: float
    counts: IntArray
    mean: Estimate

    @property
    def distribution(self) -> Array:
        """Return the share of central atoms with 0, 1, 2… neighbours."""
        return np.bincount(self.counts.ravel()) / self.counts.size


def coordination_of(pair: tuple[str, str], cutoff: float, counts: IntArray) -> Coordination:
    """Return the coordination of a pair from the counts (n_frames, n_central)."""
    return Coordination(pair, cutoff, counts, estimate_from_frames(counts.mean(axis=1), counts.mean(axis=0)))


def neighbour_counts(bonds: Pairs, labels: IntArray, n_labels: int) -> IntArray:
    """Return how many bonded neighbours of each label every atom has, shape (n_atoms, n_labels)."""
    code = np.concatenate(
        [bonds.first * n_labels + labels[bonds.second], bonds.second * n_labels + labels[bonds.first]]
    )
    return np.bincount(code, minlength=labels.size * n_labels).reshape(labels.size, n_labels)


def cutoff_table(cutoffs: Mapping[tuple[str, str], float], species: Sequence[str]) -> Array:
    """Return the symmetric table of cutoffs (Å) between elements; 0 where none is given.

    Raises
    ------
    ValueError
        If a cutoff is not positive, or a pair has two different cutoffs in its two orders.
    """
    table = np.zeros((len(species), len(species)))
    for (first, second), cutoff in cutoffs.items():
        if not 0 < cutoff < math.inf:
            raise ValueError(f'the cutoff of {first}–{second} must be positive, it is {cutoff} Å')
        if cutoffs.get((second, first), cutoff) != cutoff:
            raise ValueError(f'{first}–{second} and {second}–{first} have different cutoffs: one bond, one cutoff')
        row, column = species.index(first), species.index(second)
        table[row, column] = table[column, row] = cutoff
    return table


def coordination_numbers(
    trajectory: Trajectory,
    cutoffs: Mapping[tuple[str, str], float],
    n_frames: int | None = 20,
    start: int = 0,
) -> dict[tuple[str, str], Coordination]:
    """Return the coordination numbers of several pairs of elements.

    Parameters
    ----------
    trajectory : Trajectory
        Frames.
    cutoffs : mapping of (str, str) to float
        Central element and neighbour to the distance (Å) below which they are bonded.
    n_frames, start : int
        Frames spread evenly from ``start`` on; all for ``None``.

    Raises
    ------
    ValueError
        If an element is absent or a cutoff is not positive.
    """
    if not cutoffs:
        raise ValueError('no pair of elements was given')
    check_pairs(list(cutoffs), species_of(trajectory))
    selected = select_frames(n_frames_of(trajectory), n_frames, start)
    species = species_of(trajectory)
    labels = element_labels(trajectory)
    table = cutoff_table(cutoffs, species)
    counts = {pair: np.zeros((len(selected), indices_of(trajectory, pair[0]).size), dtype=np.int64) for pair in cutoffs}
    members = {pair[0]: indices_of(trajectory, pair[0]) for pair in cutoffs}
    for row, (_, positions, cell) in enumerate(iter_frames(trajectory, selected)):
        found = pairs_within(positions, cell, table, labels)
        around = neighbour_counts(found, labels, len(species))
        for pair in cutoffs:
            counts[pair][row] = around[members[pair[0]], species.index(pair[1])]
    return {pair: coordination_of(pair, float(cutoffs[pair]), table) for pair, table in counts.items()}


@dataclass(frozen=True)
class AnionExchange:
    """How far the anions of two salts have changed places around a cation.

    Attributes
    ----------
    central, old_anion, new_anion : str
        The cation, the anion of its own salt, and the anion it takes over (Ga, F, Cl in 2LiCl–GaF3).
    extent : Estimate
        Share of the bonds of the cation to these anions that go to the new one, 0 … 1.
    extent_per_frame : ndarray, shape (n_frames,)
        The same in every frame.
    census : dict of (int, int) to float
        Share of cations with m old and n new anions, as ``{(m, n): share}``, the most frequent first.
    molecular_share : Estimate
        Share of cations with exactly four new anions and no old one (GaCl3-like units of gupta2023).
    """

    central: str
    old_anion: str
    new_anion: str
    extent: Estimate
    extent_per_frame: Array
    census: dict[tuple[int, int], float]
    molecular_share: Estimate


def anion_exchange(old: Coordination, new: Coordination) -> AnionExchange:
    r"""Return the extent of anion exchange and the census of complexes from two coordinations of one cation.

    .. math:: \xi = \frac{n(\text{cation–new})}{n(\text{cation–old}) + n(\text{cation–new})}

    with the numbers of bonds of all cations of a frame; 0 for unmixed salts. GaCl3-like units are tetrahedra of four
    new anions (gupta2023, Fig. 3b).

    Raises
    ------
    ValueError
        If the coordinations belong to different cations, or there is no bond at all.
    """
    if old.pair[0] != new.pair[0] or old.counts.shape != new.counts.shape:
        raise ValueError('the coordinations belong to different atoms or frames')
    totals = old.counts.sum(axis=1) + new.counts.sum(axis=1)
    if (totals == 0).any():
        raise ValueError(f'a frame has no {old.pair[0]}–{old.pair[1]} and no {new.pair[0]}–{new.pair[1]} bond')
    per_frame = new.counts.sum(axis=1) / totals
    # Linearised ratio: the deviation of each cation from the common extent, for the spread over cations.
    mean_old, mean_new = old.counts.mean(axis=0), new.counts.mean(axis=0)
    bonds = float((mean_old + mean_new).mean())
    extent = float(per_frame.mean())
    per_atom = extent + (mean_new - extent * (mean_old + mean_new)) / bonds
    units = (old.counts == 0) & (new.counts == 4)
    base = int(new.counts.max()) + 1
    numbers = np.bincount((old.counts * base + new.counts).ravel())
    present = np.flatnonzero(numbers)
    present = present[np.argsort(-numbers[present], kind='stable')]
    return AnionExchange(
        central=old.pair[0], old_anion=old.pair[1], new_anion=new.pair[1],
        extent=estimate_from_frames(per_frame, per_atom), extent_per_frame=per_frame,
        census={divmod(int(code), base): float(numbers[code] / old.counts.size) for code in present},
        molecular_share=estimate_from_frames(units.mean(axis=1), units.mean(axis=0)),
    )  # fmt: skip


def change(before: Estimate, after: Estimate) -> Estimate:
    """Return ``after − before`` with the errors added in quadrature."""
    errors = [error for error in (before.error, after.error) if math.isfinite(error)]
    error = math.hypot(*errors) if errors else math.nan
    method = f'quadrature of {before.method} and {after.method}'
    return Estimate(after.value - before.value, error, min(before.n_samples, after.n_samples), method)


def exchange_pairs(central: str, old_anion: str, new_anion: str, partner: str | None) -> Sequence[tuple[str, str]]:
    """Return the four bonds of an exchange: cation–old, cation–new, partner–new, partner–old."""
    pairs = [(central, old_anion), (central, new_anion)]
    return pairs if partner is None else [*pairs, (partner, new_anion), (partner, old_anion)]
