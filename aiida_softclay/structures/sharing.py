"""How many formula units of each salt each of eight particles holds, for a cell of a wanted number of atoms."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.solid_solution import Constituent, constituents

PARTICLES = 8
TOLERATED_DEVIATION = 0.02
#: A wish for less than this fraction of the smallest cell is a mistake; above it the smallest cell is the nearest.
SMALLEST_WISH = 0.75


class AssemblyError(ValueError):
    """An assembly that cannot be made; the message says what to change."""


def share_units(mixture: Mixture, n_atoms: int) -> tuple[tuple[int, ...], ...]:
    """Return the formula units of each salt in each of eight particles.

    The particles together hold a whole number of the mixture's formula units. They are equal where that meets the
    wanted size within 2 %; if not, some hold one more than the others, so that the total is as near as formula units
    allow. Where isostructural salts form a solution, such as (Al,Ga)F3, a particle holds whole formula units of the
    solution and of the other salts in the exact ratio, and the salts of the solution in the nearest whole numbers:
    only all eight together have their exact ratio.

    Parameters
    ----------
    mixture : Mixture
        Any number of salts.
    n_atoms : int
        Wanted number of atoms of all particles together.

    Returns
    -------
    tuple of tuple of int, shape (8, n_salts)
        The particles that hold more come first.

    Raises
    ------
    AssemblyError
        If ``n_atoms`` is no positive whole number, or too few for one formula unit in each particle.
    """
    if isinstance(n_atoms, bool) or not isinstance(n_atoms, int | np.integer) or n_atoms < 1:
        raise AssemblyError(f'n_atoms must be a positive whole number, not {n_atoms!r}')
    unit = mixture.atoms_per_unit
    kinds = constituents(mixture)
    # A portion is the smallest neutral amount with the ratio of the layers, e.g. 2LiCl-(Al,Ga)F3.
    portions_per_unit = math.gcd(*(sum(kind.units) for kind in kinds))
    total = math.floor(Fraction(int(n_atoms), unit) + Fraction(1, 2))
    smallest = unit * math.ceil(PARTICLES / portions_per_unit)
    if total * portions_per_unit < PARTICLES or n_atoms < SMALLEST_WISH * smallest:
        raise AssemblyError(
            f'{n_atoms} atoms are too few: eight particles of at least one formula unit of {mixture} '
            f'({unit // portions_per_unit} atoms) take {smallest}; raise n_atoms'
        )
    equal = PARTICLES * math.floor(Fraction(int(n_atoms), PARTICLES * unit) + Fraction(1, 2))
    if equal and abs(equal * unit - n_atoms) <= TOLERATED_DEVIATION * n_atoms:
        total = equal
    portions = [
        total * portions_per_unit // PARTICLES + (index < total * portions_per_unit % PARTICLES)
        for index in range(PARTICLES)
    ]
    shares: list[dict[str, int]] = [{} for _ in portions]
    for kind in kinds:
        _share_solution(kind, [n * sum(kind.units) // portions_per_unit for n in portions], shares)
    return tuple(tuple(share[salt] for salt in mixture.salts) for share in shares)


def _share_solution(kind: Constituent, places: list[int], shares: list[dict[str, int]]) -> None:
    """Fill the places of a solution in each particle with its salts so that all particles together are exact.

    One salt after the other is given to the places that are left, in proportion; the running sum is rounded, so that
    no particle is off by more than one.
    """
    left = list(places)
    for index, salt in enumerate(kind.salts):
        fraction = Fraction(kind.units[index], sum(kind.units[index:]))
        offered, given = 0, 0
        for number, share in enumerate(shares):
            offered += left[number]
            share[salt] = math.floor(fraction * offered + Fraction(1, 2)) - given
            given += share[salt]
            left[number] -= share[salt]


def units_per_particle(mixture: Mixture, n_atoms: int) -> int:
    """Return how many formula units each of eight equal particles holds for a total nearest to ``n_atoms``.

    Raises
    ------
    AssemblyError
        As for :func:`share_units`.
    """
    share_units(mixture, n_atoms)
    return max(1, math.floor(n_atoms / (PARTICLES * mixture.atoms_per_unit) + 0.5))
