"""What a glass is made of, whichever way its material is written: salts, a composition, or molecules and cations."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce

from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from aiida_softclay.structures.composition import Mixture, MixtureError
from aiida_softclay.structures.crystals import load_phases
from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.structures.molecules import ChainFormula, MoleculeError
from aiida_softclay.structures.oligomer_mixtures import COMPOSITIONS, smallest_unit
from aiida_softclay.structures.oxychlorides import Oxychloride, OxychlorideError, rule_density

_ALKALI = re.compile(r'^(?P<cations>(?:(?:Li|Na|K)(?:\d+(?:\.\d+)?)?)+)(?P<molecule>[A-Z].*)$')
_CATION = re.compile(r'(Li|Na|K)(\d+(?:\.\d+)?)?')
_TERM = re.compile(r'^(?P<amount>\d+(?:\.\d+)?)?\s*(?P<name>\[?[A-Z].*)$')


class MaterialError(ValueError):
    """A material that cannot be read; the message says how to write one."""


@dataclass(frozen=True)
class Material:
    """Ions in a fixed ratio.

    Attributes
    ----------
    name : str
        As the papers write it: ``2LiCl-GaF3``, ``Li3Al3O2Cl8``.
    counts : dict
        Atoms of each element in the smallest sample with the exact ratio.
    charges : dict
        Formal charge of each element, in elementary charges.
    rule_density : float or None
        Density if the volumes of the crystals it could be made of add, g/cm³; None where they are not known.
    salts : tuple of str
        Ids of the salts it is mixed from; empty where it is given by its composition.
    """

    name: str
    counts: dict[str, int]
    charges: dict[str, float]
    rule_density: float | None
    salts: tuple[str, ...] = ()

    @classmethod
    def of_mixture(cls, mixture: Mixture) -> Material:
        """Return the material of a mixture of salts."""
        counts = mixture.formula_unit
        return cls(mixture.name, counts, mixture.oxidation_states, mixture.rule_density, mixture.salts)

    @classmethod
    def of_counts(cls, counts: Mapping[str, int]) -> Material:
        """Return the material of an oxychloride with so many ions."""
        divisor = reduce(math.gcd, counts.values())
        unit = {element: number // divisor for element, number in counts.items() if number}
        name = ''.join(f'{element}{number if number > 1 else ""}' for element, number in unit.items())
        charges = {element: float(IONIC_RADII[element][1]) for element in unit}
        return cls(name, unit, charges, rule_density(unit))

    @property
    def elements(self) -> list[str]:
        """Elements, by atomic number."""
        return sorted(self.counts, key=lambda element: atomic_numbers[element])

    @property
    def crystals(self) -> tuple[str, ...]:
        """Ids of the crystals it is compared with: its salts, or the chlorides an oxychloride could be made of."""
        if self.salts:
            return self.salts
        cations = [element for element in self.counts if IONIC_RADII[element][1] == 1]
        metals = [element for element in self.counts if IONIC_RADII[element][1] == 3]
        names = [f'{cation}{metal}Cl4' for cation in cations for metal in metals]
        names += [f'{metal}{rest}' for metal in metals for rest in ('OCl', 'Cl3')]
        names += [f'{cation}Cl' for cation in cations]
        known = load_phases()
        return tuple(name for name in names if name in known)

    @property
    def atoms_per_unit(self) -> int:
        """Atoms of the smallest sample."""
        return sum(self.counts.values())

    @property
    def unit_mass(self) -> float:
        """Mass of the smallest sample, u."""
        return float(sum(atomic_masses[atomic_numbers[element]] * number for element, number in self.counts.items()))

    def units_of(self, atoms: Atoms) -> int | None:
        """Return how many of the smallest samples a structure holds, or ``None`` if it is no whole number of them."""
        found: dict[str, int] = {}
        for symbol in atoms.get_chemical_symbols():
            found[symbol] = found.get(symbol, 0) + 1
        if set(found) != set(self.counts):
            return None
        units = {Fraction(found[element], self.counts[element]) for element in found}
        return int(next(iter(units))) if len(units) == 1 and next(iter(units)).denominator == 1 else None

    def __str__(self) -> str:
        return self.name


def parse_oligomers(
    text: str, cations: str | Mapping[str, float] = 'Li'
) -> tuple[str | Mapping[str, float], str | Mapping[str, float]]:
    """Read molecules and their cations.

    Accepted are a name of :data:`~aiida_softclay.structures.oligomer_mixtures.COMPOSITIONS` (``LAOC0.3b``), molecules
    (``Al3O2Cl8``, ``2Al3O2Cl8-Al3O2Cl7``), and one molecule with its cations (``Li3Al3O2Cl8``,
    ``Na1.5K1.5Al3O2Cl8``).

    Parameters
    ----------
    text : str
        The molecules.
    cations : str or mapping
        What balances them where the text names no cation.

    Returns
    -------
    kinds, cations
        As :func:`~aiida_softclay.structures.oligomer_mixtures.oligomer_mixture` takes them.

    Raises
    ------
    MaterialError
        If it cannot be read or the cations named do not balance the molecule.
    """
    clean = re.sub(r'[‐‑‒–—−·⋅]', '-', str(text)).strip()
    if clean in COMPOSITIONS:
        return clean, cations
    try:
        if match := _ALKALI.match(clean):
            chain = ChainFormula.parse(match['molecule'])
            named: dict[str, float] = {}
            for element, number in _CATION.findall(match['cations']):
                named[element] = named.get(element, 0.0) + float(number or 1)
            if abs(sum(named.values()) + chain.charge) > 1e-6:
                raise MaterialError(
                    f'{clean} is not neutral: {chain.formula} carries {chain.charge:+d} and takes {-chain.charge} '
                    f'cations, not {sum(named.values()):g}'
                )
            return chain.formula, named if len(named) > 1 else next(iter(named))
        amounts: dict[str, float] = {}
        for part in re.split(r'\s*(?:-(?=[\d\sA-Z[])|\+(?=[\d\sA-Z[]))\s*', clean):
            term = _TERM.match(part.strip())
            if term is None:
                raise MaterialError(f'{part!r} in {text!r} is no molecule')
            name = ChainFormula.parse(term['name']).formula
            amounts[name] = amounts.get(name, 0.0) + float(term['amount'] or 1)
    except MoleculeError as error:
        raise MaterialError(f'{error}; named compositions are {", ".join(COMPOSITIONS)}') from error
    return next(iter(amounts)) if len(amounts) == 1 else amounts, cations


def oligomer_material(text: str, cations: str | Mapping[str, float] = 'Li') -> Material:
    """Return the material of molecules and cations.

    Raises
    ------
    ValueError
        If it cannot be read or is not neutral.
    """
    kinds, ions = parse_oligomers(text, cations)
    molecules, numbers = smallest_unit(kinds, ions)
    counts = dict(numbers)
    for name, number in molecules.items():
        for element, count in ChainFormula.parse(name).counts.items():
            counts[element] = counts.get(element, 0) + count * number
    return Material.of_counts(counts)


def parse_material(text: str, cations: str | Mapping[str, float] = 'Li') -> Material:
    """Read a material: salts, the composition of an oxychloride, or molecules.

    Parameters
    ----------
    text : str
        ``2LiCl-GaF3``, ``MgCl2``, ``LiAlO0.75Cl2.5``, ``LAOC0.3b``, ``Al3O2Cl8``, …
    cations : str or mapping
        What balances molecules where the text names no cation.

    Raises
    ------
    MaterialError
        If it is none of these.
    """
    try:
        return Material.of_mixture(Mixture.parse(text))
    except MixtureError as error:
        not_salts = error
    try:
        composition = Oxychloride.parse(text)
        return Material.of_counts(composition.counts(composition.smallest_number))
    except OxychlorideError as error:
        not_composition = error
    try:
        return oligomer_material(text, cations)
    except ValueError as error:
        # Only a text that begins like an oxychloride was meant as one.
        meant = not_composition if _ALKALI.match(text.strip()) and 'Al' in text else not_salts
        raise MaterialError(str(meant)) from error
