"""The census of coordination polyhedra in a snapshot: which anions surround every cation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from .coordination import Estimate, coordination_numbers
from .rdf import MINIMUM_RANGE, BondCutoff, RadialDistribution, bond_cutoffs, first_minimum, radial_distribution
from .trajectory import IntArray, Trajectory, n_frames_of, species_of

#: How the errors of a single snapshot are found.
SPREAD = 'spread over the cations of one snapshot, taken as independent'
WILSON = 'half the Wilson interval of one standard deviation over the cations of one snapshot, taken as independent'


class CensusError(ValueError):
    """Atoms whose surroundings cannot be counted; the message says why."""


def split_ions(species: Sequence[str], charges: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return the cations and the anions among elements, each by atomic number, as formulas are written.

    Parameters
    ----------
    species : sequence of str
        Elements.
    charges : mapping of str to float
        Formal charges, in elementary charges.

    Raises
    ------
    CensusError
        If an element has no charge, or there are no cations or no anions.
    """
    unknown = [symbol for symbol in species if not charges.get(symbol)]
    if unknown:
        raise CensusError(f'no formal charge is known for {", ".join(unknown)}: give it among the charges')
    ordered = sorted(species, key=lambda symbol: atomic_numbers[symbol])
    cations = [symbol for symbol in ordered if charges[symbol] > 0]
    anions = [symbol for symbol in ordered if charges[symbol] < 0]
    if not cations or not anions:
        raise CensusError(
            f'{", ".join(species)} are all {"cations" if cations else "anions"}: there is no bond to count'
        )
    return cations, anions


def census_range(pairs: Sequence[tuple[str, str]]) -> float:
    """Return how far g(r) must reach to find the first minimum of all pairs, Å."""
    bonds = [covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]] for first, second in pairs]
    return MINIMUM_RANGE * float(max(bonds)) + 0.3


def census_cutoffs(
    final: Trajectory, initial: Trajectory | None, pairs: Sequence[tuple[str, str]], bin_width: float = 0.05
) -> dict[tuple[str, str], BondCutoff]:
    """Return one cutoff for each bond: the first minimum of g(r) of the final state.

    A bond that the final state does not resolve is looked for in the mean of both states and in the initial one; the
    last resort is a multiple of the sum of the covalent radii, and the ``method`` of the cutoff says so. The same
    cutoffs are meant for both states: then a change of coordination never comes from a change of cutoff.

    Parameters
    ----------
    final, initial : Trajectory
        The states; the frames of each are averaged.
    pairs : sequence of (str, str)
        Cation and anion.
    bin_width : float
        Of g(r), Å.
    """
    reach = census_range(pairs)

    def curves(state: Trajectory) -> RadialDistribution:
        return radial_distribution(state, pairs, r_max=reach, bin_width=bin_width, n_frames=None)

    after = curves(final)
    found = {pair: first_minimum(after.radii, after.g[row], pair) for row, pair in enumerate(after.pairs)}
    unresolved = [pair for pair, cutoff in found.items() if cutoff.method.startswith('fallback')]
    if initial is not None and unresolved:
        earlier = bond_cutoffs([after, curves(initial)])
        found |= {pair: earlier[pair] for pair in unresolved}
    return found


@dataclass(frozen=True)
class AnionCensus:
    """What surrounds the cations of one element.

    Attributes
    ----------
    central : str
        The cation.
    anions : tuple of str
        The elements that are counted.
    counts : ndarray, shape (n_central, n_anions)
        Neighbours of every cation within the cutoffs, by element.
    """

    central: str
    anions: tuple[str, ...]
    counts: IntArray

    @property
    def coordination(self) -> dict[str, Estimate]:
        """Return the mean number of neighbours of each element, and of all of them as ``anions``."""
        columns = dict(zip(self.anions, self.counts.T, strict=True))
        return {name: _mean(column) for name, column in {**columns, 'anions': self.counts.sum(axis=1)}.items()}

    @property
    def folds(self) -> dict[int, Estimate]:
        """Return the share of cations with 0, 1, 2… neighbours in all; only numbers that occur."""
        tally = Counter(self.counts.sum(axis=1).tolist())
        return {number: share(tally[number], len(self.counts)) for number in sorted(tally)}

    @property
    def species(self) -> dict[str, Estimate]:
        """Return the share of each kind of polyhedron, for example ``GaF2Cl2``, the most frequent first."""
        tally = Counter(map(tuple, self.counts.tolist()))
        ordered = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
        return {self.name_of(key): share(number, len(self.counts)) for key, number in ordered}

    def name_of(self, counts: Sequence[int]) -> str:
        """Return the formula of a polyhedron with so many of each anion; the bare cation has none."""
        terms = [f'{anion}{n if n > 1 else ""}' for anion, n in zip(self.anions, counts, strict=True) if n]
        return self.central + ''.join(terms)

    def share_of(self, name: str) -> Estimate:
        """Return the share of one kind of polyhedron, 0 if there is none."""
        return self.species.get(name, share(0, len(self.counts)))

    def tetrahedra(self, anion: str) -> Estimate:
        """Return the share of cations with exactly four of one anion and no other.

        For Ga and Cl these are the GaCl3-like units of gupta2023 (Fig. 3b).
        """
        return self.share_of(self.name_of([4 if name == anion else 0 for name in self.anions]))


def anion_census(
    state: Trajectory,
    cutoffs: Mapping[tuple[str, str], float],
    cations: Sequence[str] | None = None,
    anions: Sequence[str] | None = None,
) -> dict[str, AnionCensus]:
    """Return what surrounds the cations of a single snapshot.

    Parameters
    ----------
    state : Trajectory
        One frame.
    cutoffs : mapping of (str, str) to float
        Cation and anion to the distance below which they are bonded, Å.
    cations, anions : sequence of str, optional
        The order in which they are reported; that of the cutoffs if not given.

    Returns
    -------
    dict of str to AnionCensus
        By cation.

    Raises
    ------
    CensusError
        If there is more than one frame.
    ValueError
        If an element is absent or a cutoff is not positive.
    """
    if n_frames_of(state) != 1:
        raise CensusError(f'a census is of one snapshot, there are {n_frames_of(state)} frames')
    found = coordination_numbers(state, cutoffs, n_frames=None)
    centres = list(dict.fromkeys(pair[0] for pair in cutoffs)) if cations is None else list(cations)
    others = list(dict.fromkeys(pair[1] for pair in cutoffs)) if anions is None else list(anions)
    present = species_of(state)
    made = {}
    for central in centres:
        around = [other for other in others if (central, other) in found and other in present]
        made[central] = AnionCensus(
            central, tuple(around), np.stack([found[central, other].counts[0] for other in around], axis=1)
        )
    return made


def share(number: int, total: int) -> Estimate:
    r"""Return the share of atoms of one kind with half the Wilson interval of one standard deviation.

    .. math:: \frac{1}{1 + 1/n} \sqrt{\frac{p (1 - p)}{n} + \frac{1}{4 n^2}}

    (Wilson, J. Am. Stat. Assoc. 22, 209 (1927)), which stays above zero where none or all of the atoms are of the kind.
    """
    value = number / total
    error = math.sqrt(value * (1 - value) / total + 0.25 / total**2) / (1 + 1 / total)
    return Estimate(value, error, total, WILSON)


def _mean(column: IntArray) -> Estimate:
    error = float(column.std(ddof=1) / math.sqrt(column.size)) if column.size > 1 else math.nan
    return Estimate(float(column.mean()), error, int(column.size), SPREAD if column.size > 1 else 'single cation')
