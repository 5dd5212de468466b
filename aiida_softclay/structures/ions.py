"""Ionic radii, and how close two ions may come in a structure that a force field can take over."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase.data import atomic_numbers

#: Shannon's effective ionic radii in Å (Acta Cryst. A32, 751 (1976)) with the charge they are for; six neighbours.
IONIC_RADII: dict[str, tuple[float, int]] = {
    'Li': (0.76, 1),
    'Na': (1.02, 1),
    'K': (1.38, 1),
    'Mg': (0.72, 2),
    'Al': (0.535, 3),
    'Ga': (0.62, 3),
    'In': (0.80, 3),
    'Sb': (0.76, 3),
    'La': (1.032, 3),
    'Nb': (0.64, 5),
    'O': (1.40, -2),
    'F': (1.33, -1),
    'Cl': (1.81, -1),
    'Br': (1.96, -1),
    'I': (2.20, -1),
}
#: Fractions of the sum of radii below which a contact is unphysical. Bonds of tetrahedral cations are up to 10 %
#: shorter than the six-coordinate sum (Al-Cl 2.13 Å against 2.35 Å), and anions of one polyhedron overlap by as much.
BOND_FRACTION = 0.82
ANION_FRACTION = 0.80
#: Smallest cation-cation distance, Å: edge-sharing polyhedra of these salts stay above it (Li-Li 2.31 Å in Li2O).
CATION_DISTANCE = 2.3


def radius(element: str) -> float:
    """Return the ionic radius of an element, Å.

    Raises
    ------
    ValueError
        If none is tabulated.
    """
    if element not in IONIC_RADII:
        raise ValueError(f'no ionic radius is tabulated for {element}; known are {", ".join(IONIC_RADII)}')
    return IONIC_RADII[element][0]


def contact_distance(first: str, second: str) -> float:
    """Return the smallest acceptable distance between two ions, Å."""
    total = radius(first) + radius(second)
    charges = IONIC_RADII[first][1], IONIC_RADII[second][1]
    if charges[0] * charges[1] < 0:
        return BOND_FRACTION * total
    if charges[0] < 0:
        return ANION_FRACTION * total
    return CATION_DISTANCE


def contact_table(elements: Iterable[str]) -> np.ndarray:
    """Return the smallest acceptable distances as a table over atomic numbers.

    Returns
    -------
    ndarray, shape (119, 119), Å
        ``table[Z1, Z2]``; zero for elements that were not asked for.
    """
    table = np.zeros((119, 119))
    names = sorted(set(elements))
    for first in names:
        for second in names:
            table[atomic_numbers[first], atomic_numbers[second]] = contact_distance(first, second)
    return table
