"""Solid solutions: isostructural salts that share the sites of one crystal, and which salts of a mixture do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
from ase import Atoms

from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import Phase, Site, load_phases
from aiida_softclay.structures.ions import IONIC_RADII

#: Ions replace each other in a crystal if their radii differ by less than this fraction of the larger one
#: (V. M. Goldschmidt, J. Chem. Soc. 1937, 655).
GOLDSCHMIDT_LIMIT = 0.15
#: How far the sites of two crystals of one structure type may be apart, in fractional coordinates.
SAME_SITE = 0.1


@dataclass(frozen=True)
class Constituent:
    """What one kind of layer of a mixture is made of: a salt, or isostructural salts in solid solution.

    Attributes
    ----------
    salts : tuple of str
        Ids of the phases.
    units : tuple of int
        Formula units of each in one formula unit of the mixture.
    """

    salts: tuple[str, ...]
    units: tuple[int, ...]

    @property
    def is_solution(self) -> bool:
        """Whether several salts share the crystal."""
        return len(self.salts) > 1

    @property
    def host(self) -> str:
        """The most abundant of the salts, the first of those where several are."""
        return self.salts[int(np.argmax(self.units))]

    @property
    def phase(self) -> Phase:
        """Crystal of the host; of a solution with the cell and the sites averaged over the salts (Vegard's rule)."""
        return _mean_phase(self)

    @property
    def ions(self) -> tuple[str, ...]:
        """The element of each salt that the salts of a solution do not have in common; empty for a single salt."""
        known = load_phases()
        if not self.is_solution:
            return ()
        others = [replaced_ions(known[self.salts[0]], known[salt]) for salt in self.salts[1:]]
        pairs = [pair for pair in others if pair is not None]
        return pairs[0][0], *(pair[1] for pair in pairs)

    @property
    def name(self) -> str:
        """The salt, or the solution as mineralogists write it: ``(Al,Ga)F3``."""
        if not self.is_solution:
            return self.salts[0]
        phase = load_phases()[self.salts[0]]
        shared = f'({",".join(self.ions)})'
        return ''.join(
            f'{shared if element == self.ions[0] else element}{number if number > 1 else ""}'
            for element, number in phase.composition.items()
        )

    def split(self, number: int) -> tuple[int, ...]:
        """Return so many formula units shared among the salts as nearly as whole numbers allow."""
        whole = sum(self.units)
        exact = [Fraction(number * units, whole) for units in self.units]
        shares = [int(value) for value in exact]
        order = sorted(range(len(exact)), key=lambda index: (shares[index] - exact[index], index))
        for index in order[: number - sum(shares)]:
            shares[index] += 1
        return tuple(shares)


def replaced_ions(first: Phase, second: Phase) -> tuple[str, str] | None:
    """Return the ions that replace each other in two isostructural salts, ``None`` if the salts do not mix.

    Salts mix where they have the same structure type (space group, occupied Wyckoff positions, nearly the same
    coordinates), differ in one element of the same charge, and its radii differ by less than Goldschmidt's 15 %.

    Returns
    -------
    (str, str) or None
        Element of the first and of the second salt.
    """
    own = set(first.composition) - set(second.composition), set(second.composition) - set(first.composition)
    if len(own[0]) != 1 or len(own[1]) != 1:
        return None
    only_first, only_second = own[0].pop(), own[1].pop()
    renamed = {only_first if key == only_second else key: value for key, value in second.composition.items()}
    charges = {only_first if key == only_second else key: value for key, value in second.oxidation_states.items()}
    radii = [IONIC_RADII.get(element, (0.0, 0))[0] for element in (only_first, only_second)]
    if renamed != first.composition or charges != first.oxidation_states:
        return None
    if min(radii) <= (1 - GOLDSCHMIDT_LIMIT) * max(radii):
        return None
    group = (first.space_group, first.origin_choice, first.formula_units)
    if group != (second.space_group, second.origin_choice, second.formula_units):
        return None
    if _paired_sites(first, second, {only_second: only_first}) is None:
        return None
    return only_first, only_second


def _paired_sites(first: Phase, second: Phase, rename: dict[str, str]) -> list[Site] | None:
    """Return the site of the second crystal that corresponds to each of the first, ``None`` if some have none."""
    rest = list(second.sites)
    pairs = []
    for site in first.sites:
        for other in rest:
            same = rename.get(other.element, other.element) == site.element and other.wyckoff == site.wyckoff
            if same and np.abs(np.subtract(site.xyz, other.xyz)).max() < SAME_SITE:
                pairs.append(other)
                rest.remove(other)
                break
        else:
            return None
    return pairs if not rest else None


@lru_cache(maxsize=64)
def _mean_phase(constituent: Constituent) -> Phase:
    known = load_phases()
    host = known[constituent.host]
    if not constituent.is_solution:
        return host
    weights = np.array(constituent.units) / sum(constituent.units)
    lattices, sites = [], []
    for salt in constituent.salts:
        pair = (host.id, host.id) if salt == host.id else replaced_ions(host, known[salt])
        rename = {} if pair is None else {pair[1]: pair[0]}
        paired = _paired_sites(host, known[salt], rename)
        lattices.append(known[salt].lattice)
        sites.append([site.xyz for site in paired or host.sites])
    lattice = tuple(float(value) for value in weights @ np.array(lattices))
    mean = np.einsum('s,sij->ij', weights, np.array(sites))
    return replace(
        host,
        id=constituent.name,
        lattice=lattice,  # type: ignore[arg-type]
        sites=tuple(
            replace(site, xyz=(float(x), float(y), float(z)))
            for site, (x, y, z) in zip(host.sites, mean, strict=True)
        ),
    )  # fmt: skip


def constituents(mixture: Mixture) -> tuple[Constituent, ...]:
    """Return the kinds of layers a slab of a mixture has: of three or more salts, isostructural ones form a solution.

    Two salts always stay apart, and so do all if none would be left to meet the solution at an interface.

    Parameters
    ----------
    mixture : Mixture
        One salt or several.

    Returns
    -------
    tuple of Constituent
        In the order in which their first salts are written.
    """
    known = load_phases()
    units = mixture.formula_units
    apart = tuple(Constituent((salt,), (number,)) for salt, number in zip(mixture.salts, units, strict=True))
    if len(mixture.salts) < 3:
        return apart
    groups: list[list[int]] = []
    for index, salt in enumerate(mixture.salts):
        for group in groups:
            if _mixes([known[mixture.salts[member]] for member in group], known[salt]):
                group.append(index)
                break
        else:
            groups.append([index])
    if len(groups) == 1:
        return apart
    return tuple(
        Constituent(tuple(mixture.salts[i] for i in group), tuple(units[i] for i in group)) for group in groups
    )


def _mixes(group: Sequence[Phase], salt: Phase) -> bool:
    """Return whether a salt mixes with each of a group, on the site that the salts of the group share already."""
    if any(replaced_ions(member, salt) is None for member in group):
        return False
    pairs = [replaced_ions(group[0], other) for other in (*group[1:], salt)]
    return len({pair[0] for pair in pairs if pair is not None}) == 1


def occupy(atoms: Atoms, constituent: Constituent, counts: Sequence[int], generator: np.random.Generator) -> Atoms:
    """Return a piece of a solution's mean crystal with the shared sites given to the salts' ions at random.

    Parameters
    ----------
    atoms : ase.Atoms
        Whole formula units of :attr:`Constituent.phase`.
    constituent : Constituent
        A single salt is returned as it is.
    counts : sequence of int
        Formula units of each of its salts; all of ``atoms`` together.
    generator : numpy.random.Generator
        Draws which site gets which ion, all choices equally likely.

    Returns
    -------
    ase.Atoms

    Raises
    ------
    ValueError
        If the counts are not those of the atoms.
    """
    if not constituent.is_solution:
        return atoms
    host = constituent.ions[constituent.salts.index(constituent.host)]
    symbols = np.array(atoms.get_chemical_symbols(), dtype=object)
    sites = np.flatnonzero(symbols == host)
    each = constituent.phase.composition[host]
    ions = [ion for ion, number in zip(constituent.ions, counts, strict=True) for _ in range(number * each)]
    if len(ions) != len(sites):
        raise ValueError(f'{len(sites)} sites of {constituent.name} cannot be given to {len(ions)} ions')
    symbols[sites] = generator.permutation(np.array(ions, dtype=object))
    occupied = atoms.copy()
    occupied.set_chemical_symbols(symbols.tolist())
    return occupied
