"""Compositions as texts that can be compared: those of mixtures, of formulas, of cells."""

from __future__ import annotations

import math
from functools import lru_cache


@lru_cache(maxsize=4096)
def atom_fractions(text: str) -> tuple[tuple[str, float], ...]:
    """Return the share of each element in a material, by alphabet; nothing if the text names none.

    Parameters
    ----------
    text : str
        ``2LiCl-GaF3``, ``LiAlO0.75Cl2.5``, ``Li3Al3O2Cl8`` or the formula of a cell, ``Cl128F96Ga32Li64``.

    >>> atom_fractions('MgCl2')
    (('Cl', 0.6666666666666666), ('Mg', 0.3333333333333333))
    """
    counts = _counts(text)
    total = sum(counts.values())
    return tuple((element, counts[element] / total) for element in sorted(counts)) if total else ()


def _counts(text: str) -> dict[str, float]:
    from aiida_softclay.structures.materials import MaterialError, parse_material

    if not text:
        return {}
    formula = _formula_counts(text)
    if formula:
        return formula
    try:
        return dict(parse_material(text).counts)
    except (MaterialError, ValueError):
        return {}


def _formula_counts(text: str) -> dict[str, float]:
    """Return the atoms of a chemical formula; amounts may be broken."""
    from pymatgen.core import Composition

    try:
        return {element.symbol: float(count) for element, count in Composition(text).items()}
    except (ValueError, KeyError, AttributeError):
        return {}


@lru_cache(maxsize=4096)
def reduced_text(text: str) -> str:
    """Return the composition in smallest whole numbers, elements by alphabet; empty if the text names none.

    >>> reduced_text('2LiCl-GaF3'), reduced_text('Cl64F96Ga32Li64')
    ('Cl2F3Ga1Li2', 'Cl2F3Ga1Li2')
    """
    counts = _counts(text)
    if not counts:
        return ''
    scale = next((n for n in range(1, 101) if all(abs(n * v - round(n * v)) < 1e-6 for v in counts.values())), 100)
    whole = {element: round(scale * value) for element, value in counts.items()}
    divisor = math.gcd(*whole.values()) or 1
    return ''.join(f'{element}{whole[element] // divisor}' for element in sorted(whole))


@lru_cache(maxsize=4096)
def elements_text(text: str) -> str:
    """Return the elements of a material by alphabet, joined by hyphens.

    >>> elements_text('2LiCl-GaF3')
    'Cl-F-Ga-Li'
    """
    return '-'.join(element for element, _ in atom_fractions(text))


def largest_difference(one: str, other: str) -> float:
    """Return the largest difference of the share of any element; one if either text names no material.

    >>> largest_difference('2LiCl-GaF3', 'Cl64F96Ga32Li64')
    0.0
    """
    first, second = dict(atom_fractions(one)), dict(atom_fractions(other))
    if not first or not second:
        return 1.0
    return max(abs(first.get(element, 0.0) - second.get(element, 0.0)) for element in {*first, *second})
