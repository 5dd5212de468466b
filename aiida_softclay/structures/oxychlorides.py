"""Compositions M_x Al O_y Cl_z: parsed, checked for charge, and their density by the rule of mixtures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from scipy.optimize import linprog

from aiida_softclay.structures.crystals import AMU_PER_A3_IN_G_CM3, UnknownCrystalError, phase
from aiida_softclay.structures.ions import IONIC_RADII

_TERM = re.compile(r'([A-Z][a-z]?)(\d+(?:\.\d+)?)?')


class OxychlorideError(ValueError):
    """A composition that cannot be read or made; the message says what can."""


@dataclass(frozen=True)
class Oxychloride:
    """Composition of a chloroaluminate glass for one metal atom.

    Attributes
    ----------
    cation, metal : str
        Monovalent cation and trivalent metal.
    cations, oxygen, chlorine : Fraction
        Atoms of each for one metal: x, y and z in M_x Al O_y Cl_z.
    """

    cation: str
    metal: str
    cations: Fraction
    oxygen: Fraction
    chlorine: Fraction

    @classmethod
    def parse(cls, text: str) -> Oxychloride:
        """Read a composition such as ``Li1.5AlO0.75Cl3`` or ``Li3Al3O2Cl8``.

        Raises
        ------
        OxychlorideError
            If it is not one cation, one trivalent metal, Cl and perhaps O, or not neutral.
        """
        clean = str(text).strip()
        terms = _TERM.findall(clean)
        if not terms or ''.join(element + number for element, number in terms) != clean:
            raise OxychlorideError(f'{text!r} is no formula: write for example LiAlO0.75Cl2.5')
        counts: dict[str, Fraction] = {}
        for element, number in terms:
            counts[element] = counts.get(element, Fraction(0)) + Fraction(number or 1)
        cations = [element for element in counts if IONIC_RADII.get(element, (0, 0))[1] == 1]
        metals = [element for element in counts if IONIC_RADII.get(element, (0, 0))[1] == 3]
        if len(cations) != 1 or len(metals) != 1 or set(counts) - {cations[0], metals[0], 'O', 'Cl'}:
            raise OxychlorideError(f'{text!r} is not one alkali, one trivalent metal, O and Cl: write LiAlO0.75Cl2.5')
        unit = counts[metals[0]]
        if unit == 0 or counts.get('Cl', 0) == 0:
            raise OxychlorideError(f'{text!r} lacks its metal or its Cl')
        made = cls(
            cations[0], metals[0], counts[cations[0]] / unit, counts.get('O', Fraction(0)) / unit, counts['Cl'] / unit
        )
        charge = made.cations + 3 - 2 * made.oxygen - made.chlorine
        if charge:
            raise OxychlorideError(
                f'{text} is not neutral: its charge is {float(charge):+g} for one {made.metal}; with this '
                f'{made.cation} and O it takes {float(made.cations + 3 - 2 * made.oxygen):g} Cl'
            )
        return made

    @property
    def smallest_number(self) -> int:
        """Fewest metal atoms that give whole numbers of all ions."""
        return int(np.lcm.reduce([self.cations.denominator, self.oxygen.denominator, self.chlorine.denominator]))

    def counts(self, n_metals: int) -> dict[str, int]:
        """Return the ions for so many metal atoms.

        Raises
        ------
        OxychlorideError
            If they are no whole numbers.
        """
        if n_metals % self.smallest_number:
            raise OxychlorideError(
                f'{self.formula} needs a multiple of {self.smallest_number} {self.metal}, not {n_metals}: change repeat'
            )
        numbers = {
            self.cation: self.cations, self.metal: Fraction(1), 'O': self.oxygen, 'Cl': self.chlorine,
        }  # fmt: skip
        return {element: int(value * n_metals) for element, value in numbers.items()}

    @property
    def formula(self) -> str:
        """Formula for one metal atom, e.g. ``LiAlO0.75Cl2.5``."""
        terms = ((self.cation, self.cations), (self.metal, Fraction(1)), ('O', self.oxygen), ('Cl', self.chlorine))
        return ''.join(f'{element}{float(n):g}' if n != 1 else element for element, n in terms if n)


def rule_density(counts: Mapping[str, float]) -> float | None:
    """Return the density of an oxychloride by the rule of mixtures, g/cm³.

    The composition is made of the crystals MAlCl4, AlOCl, AlCl3 and MCl, which keep the tetrahedra of the glass (Al2O3
    and LiAlO2 would not), with as much MAlCl4 as there can be. The density of AlOCl is of low confidence.

    Parameters
    ----------
    counts : mapping
        Atoms of each element.

    Returns
    -------
    float or None
        ``None`` where the crystals are not known (K, Ga).
    """
    cation = next((element for element in counts if IONIC_RADII.get(element, (0, 0))[1] == 1), '')
    metal = next((element for element in counts if IONIC_RADII.get(element, (0, 0))[1] == 3), '')
    entries = []
    for name in (f'{cation}{metal}Cl4', f'{metal}OCl', f'{metal}Cl3', f'{cation}Cl'):
        try:
            entries.append(phase(name))
        except UnknownCrystalError:
            continue
    elements = sorted(counts)
    balance = np.array([[entry.composition.get(element, 0) for entry in entries] for element in elements], dtype=float)
    if not entries:
        return None
    # MAlCl4 takes more room than MCl and AlCl3: the largest volume has most of it.
    found = linprog(
        [-entry.volume for entry in entries], A_eq=balance, b_eq=[float(counts[element]) for element in elements]
    )  # fmt: skip
    if not found.success:
        return None
    mass = sum(atomic_masses[atomic_numbers[element]] * number for element, number in counts.items())
    return float(-mass / found.fun * AMU_PER_A3_IN_G_CM3)
