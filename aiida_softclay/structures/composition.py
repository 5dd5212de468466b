"""Mixtures of salts: ``2LiCl-GaF3`` and its relatives, in whole numbers of neutral formula units."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from ase.data import atomic_numbers
from ase.formula import Formula

from aiida_softclay.structures.crystals import (
    AMU_PER_A3_IN_G_CM3,
    Phase,
    UnknownCrystalError,
    list_crystals,
    load_phases,
    phase,
)
from aiida_softclay.structures.ions import IONIC_RADII

#: Amounts beyond this denominator (0.3333 written for 1/3) are taken as rounded fractions.
LARGEST_DENOMINATOR = 24
_TERM = re.compile(r'^(?P<amount>\d+(?:\.\d+)?|\d+/\d+)?\s*\*?\s*(?P<name>[A-Z][A-Za-z0-9_]*)$')
_NUMBER = re.compile(r'^(\d+(?:\.\d+)?|\d+/\d+)$')


class MixtureError(ValueError):
    """A mixture that cannot be read or made."""


class UnknownSaltError(MixtureError):
    """A salt without a crystal structure in the data file."""


class NonNeutralError(MixtureError):
    """Ions whose charges do not sum to zero."""


def _amount(text: str) -> Fraction:
    value = Fraction(text)
    rounded = value.limit_denominator(LARGEST_DENOMINATOR)
    if value and not rounded:
        rounded = Fraction(1, LARGEST_DENOMINATOR)
    if abs(rounded - value) > Fraction(1, 2000):
        raise MixtureError(
            f'the amount {text} needs too large a formula unit; give a fraction with a denominator of at most '
            f'{LARGEST_DENOMINATOR}, for example {rounded}'
        )
    return rounded


def _salt(name: str) -> Phase:
    try:
        found = phase(name)
    except UnknownCrystalError as error:
        if 'polymorphs' in str(error):
            raise UnknownSaltError(str(error)) from error
        try:
            counts = Formula(name).count()
        except (ValueError, KeyError):
            counts = {}
        if counts and all(element in IONIC_RADII for element in counts):
            charge = sum(IONIC_RADII[element][1] * count for element, count in counts.items())
            if charge:
                ions = ', '.join(f'{element} {IONIC_RADII[element][1]:+d}' for element in counts)
                raise NonNeutralError(f'{name} is not neutral: with {ions} its charge is {charge:+d}') from error
        raise UnknownSaltError(
            f'the salt {name} is not known; known are {", ".join(list_crystals(salts_only=True))}'
        ) from error
    if not found.is_salt:
        raise UnknownSaltError(
            f'{name} is an element or alloy, not a salt; known salts are {", ".join(list_crystals(salts_only=True))}'
        )
    return found


def _hill(counts: dict[str, int]) -> str:
    """Return a formula with the cations first, each kind in order of atomic number."""

    def key(element: str) -> tuple[bool, int]:
        return IONIC_RADII.get(element, (0.0, 1))[1] < 0, atomic_numbers[element]

    return ''.join(f'{el}{counts[el] if counts[el] > 1 else ""}' for el in sorted(counts, key=key))


@dataclass(frozen=True)
class Mixture:
    """Salts in a fixed molar ratio.

    Attributes
    ----------
    salts : tuple of str
        Ids of the crystal phases, in the order written.
    amounts : tuple of Fraction
        Moles of each, as written.
    """

    salts: tuple[str, ...]
    amounts: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        if len(self.salts) != len(self.amounts) or not self.salts:
            raise MixtureError('a mixture needs one amount for each of its salts')
        repeated = sorted({salt for salt in self.salts if self.salts.count(salt) > 1})
        if repeated:
            raise MixtureError(f'{", ".join(repeated)} is named twice in one mixture: add the amounts up')
        for salt, amount in zip(self.salts, self.amounts, strict=True):
            if amount <= 0:
                raise MixtureError(f'the amount of {salt} is {amount}: it must be larger than 0')
        self.check_neutral()

    @classmethod
    def parse(cls, text: str) -> Mixture:
        """Read a mixture.

        Accepted are ``2LiCl-GaF3`` (with a hyphen, dash or plus sign), ``1.5MgCl2-GaF3``, ``3/2 MgCl2 + GaF3``,
        ``2LiCl-0.3AlF3-0.7GaF3`` and ``LiCl:GaF3=2:1``.

        Parameters
        ----------
        text : str
            The mixture; a single salt is one too.

        Raises
        ------
        UnknownSaltError
            If there is no crystal structure for a salt; the message lists those there are.
        NonNeutralError
            If the charges of a salt do not balance.
        MixtureError
            If the text cannot be read.
        """
        clean = re.sub(r'[‐‑‒–—−·⋅]', '-', str(text)).strip()
        help_ = 'write for example 2LiCl-GaF3, 2LiCl-0.3AlF3-0.7GaF3 or LiCl:GaF3=2:1'
        if not clean:
            raise MixtureError(f'the mixture is empty: {help_}')
        if '=' in clean:
            left, _, right = clean.partition('=')
            names = [part.strip() for part in left.split(':')]
            numbers = [part.strip() for part in right.split(':')]
            if len(names) != len(numbers):
                raise MixtureError(f'{text!r} names {len(names)} salts but {len(numbers)} amounts: {help_}')
            for number in numbers:
                if not _NUMBER.match(number):
                    raise MixtureError(f'{number!r} in {text!r} is not an amount: {help_}')
            terms = list(zip(numbers, names, strict=True))
        else:
            terms = []
            for part in re.split(r'[-+]', clean):
                match = _TERM.match(part.strip())
                if match is None:
                    raise MixtureError(f'{part.strip()!r} in {text!r} is not an amount and a salt: {help_}')
                terms.append((match['amount'] or '1', match['name']))
        try:
            amounts = tuple(_amount(number) for number, _ in terms)
        except ZeroDivisionError as error:
            raise MixtureError(f'{text!r} divides by zero') from error
        return cls(tuple(_salt(name).id for _, name in terms), amounts)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The crystal phases of the salts."""
        known = load_phases()
        return tuple(known[salt] for salt in self.salts)

    @property
    def formula_units(self) -> tuple[int, ...]:
        """Whole formula units of each salt in the smallest sample with the exact ratio, e.g. (3, 2) for 1.5 to 1."""
        scale = math.lcm(*(amount.denominator for amount in self.amounts))
        whole = [int(amount * scale) for amount in self.amounts]
        divisor = math.gcd(*whole)
        return tuple(number // divisor for number in whole)

    @property
    def formula_unit(self) -> dict[str, int]:
        """Atoms of each element in the smallest sample with the exact ratio of whole salts."""
        return self.count_atoms(self.formula_units)

    @property
    def atoms_per_unit(self) -> int:
        """Atoms in one ``formula_unit``."""
        return sum(self.formula_unit.values())

    @property
    def elements(self) -> list[str]:
        """Elements, by atomic number."""
        return sorted(self.formula_unit, key=lambda element: atomic_numbers[element])

    @property
    def reduced_formula(self) -> str:
        """Formula of one ``formula_unit``, cations first, e.g. ``Li2GaF3Cl2``."""
        return _hill(self.formula_unit)

    @property
    def name(self) -> str:
        """The mixture as the papers write it, e.g. ``2LiCl-GaF3``."""
        parts = []
        for salt, amount in zip(self.salts, self.amounts, strict=True):
            number = '' if amount == 1 else str(amount)
            if amount.denominator in (2, 4, 5, 8, 10, 20):
                number = f'{float(amount):g}'
            parts.append(f'{number}{" " if "/" in number else ""}{salt}')
        return '-'.join(parts)

    @property
    def oxidation_states(self) -> dict[str, float]:
        """Formal charge of each element, averaged over the salts where they differ."""
        charges: dict[str, float] = {}
        counts: dict[str, int] = {}
        for entry, units in zip(self.phases, self.formula_units, strict=True):
            for element, number in entry.composition.items():
                charges[element] = charges.get(element, 0.0) + entry.oxidation_states[element] * number * units
                counts[element] = counts.get(element, 0) + number * units
        return {element: charges[element] / counts[element] for element in charges}

    @property
    def unit_volume(self) -> float:
        """Volume of one ``formula_unit`` when the salts' crystal volumes add, Å³."""
        return sum(entry.volume * units for entry, units in zip(self.phases, self.formula_units, strict=True))

    @property
    def unit_mass(self) -> float:
        """Mass of one ``formula_unit``, u."""
        return sum(entry.mass * units for entry, units in zip(self.phases, self.formula_units, strict=True))

    @property
    def rule_density(self) -> float:
        """Density by the rule of mixtures (the crystals' volumes add), g/cm³."""
        return self.unit_mass / self.unit_volume * AMU_PER_A3_IN_G_CM3

    def count_atoms(self, formula_units: tuple[int, ...]) -> dict[str, int]:
        """Return the atoms of each element in so many formula units of each salt."""
        counts: dict[str, int] = {}
        for entry, units in zip(self.phases, formula_units, strict=True):
            for element, number in entry.composition.items():
                counts[element] = counts.get(element, 0) + number * units
        return counts

    def check_neutral(self) -> None:
        """Check that the formal charges of every salt sum to zero.

        Raises
        ------
        NonNeutralError
            With the salt and its charge.
        """
        for entry in self.phases:
            if abs(entry.charge) > 1e-9:
                raise NonNeutralError(f'{entry.id} is not neutral: its charge is {entry.charge:+g}')

    def __str__(self) -> str:
        return self.name
