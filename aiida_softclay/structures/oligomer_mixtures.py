"""Glasses of several kinds of oxychloride molecules and cations in one cell, of a wanted number of atoms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from scipy.spatial.transform import Rotation

from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.structures.molecular_glass import (
    ATTEMPTS,
    MOST_ATOMS,
    PAPER_DENSITY,
    GlassContents,
    MolecularGlass,
    OligomerError,
)
from aiida_softclay.structures.molecules import ChainFormula, chain_molecule

#: The compositions of you2025 as whole numbers of molecules; 0.3b is 1/3 1b + 2/3 0b, PLAOC holds AlCl4 as well.
COMPOSITIONS: dict[str, dict[str, int]] = {
    'LAOC0b': {'Al3O2Cl8': 1},
    'LAOC0.3b': {'Al3O2Cl8': 2, 'Al3O2Cl7': 1},
    'LAOC1b': {'Al3O2Cl7': 1},
    'LAOC1.5b': {'Al3O2Cl7': 1, 'Al3O2Cl6': 1},
    'LAOC2b': {'Al3O2Cl6': 1},
    'PLAOC0.3b': {'Al3O2Cl8': 2, 'Al3O2Cl7': 1, 'AlCl4': 1},
    'tetramer': {'Al4O3Cl10': 1},
}
#: The number of atoms may be off the wish by this fraction.
SIZE_TOLERANCE = 0.02


def _shares(given: Mapping[str, float], what: str) -> dict[str, int]:
    """Return amounts as the smallest whole numbers in the same ratio."""
    values = {str(name): float(amount) for name, amount in given.items()}
    if not values or not all(math.isfinite(value) and value > 0 for value in values.values()):
        raise OligomerError(f'the amounts of {what} are positive numbers, not {dict(given)}')
    total = sum(values.values())
    fractions = {name: Fraction(value / total).limit_denominator(60) for name, value in values.items()}
    common = math.lcm(*(fraction.denominator for fraction in fractions.values()))
    counts = {name: int(fraction * common) for name, fraction in fractions.items()}
    if any(abs(counts[name] / sum(counts.values()) - values[name] / total) > 1e-3 for name in counts):
        raise OligomerError(f'the amounts of {what} are no simple ratio: {dict(given)}; give fractions such as 0.75')
    return counts


def smallest_unit(
    kinds: str | Mapping[str, float], cations: str | Mapping[str, float] = 'Li'
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the fewest molecules and cations that have the wanted ratios exactly and are neutral.

    Parameters
    ----------
    kinds : str or mapping
        A name of :data:`COMPOSITIONS`, one molecule such as ``Al3O2Cl8``, or amounts of molecules.
    cations : str or mapping
        ``Li``, ``Na`` or ``K``, or their amounts, e.g. ``{'Na': 0.75, 'K': 0.25}``.

    Returns
    -------
    molecules, cations : dict
        Whole numbers by formula and by element.

    Raises
    ------
    OligomerError, MoleculeError
        If a formula, cation or amount makes no sense.
    """
    if isinstance(kinds, str):
        kinds = COMPOSITIONS.get(kinds, {kinds: 1})
    ions = _shares({cations: 1} if isinstance(cations, str) else cations, 'cations')
    for cation in ions:
        if IONIC_RADII.get(cation, (0.0, 0))[1] != 1:
            raise OligomerError(f'the cation is Li, Na or K, not {cation!r}')
    chains = [(ChainFormula.parse(name), number) for name, number in _shares(kinds, 'molecules').items()]
    if len({chain.formula for chain, _ in chains}) < len(chains):
        raise OligomerError(f'a molecule is named twice in {dict(kinds)}')
    if len({chain.metal for chain, _ in chains}) > 1:
        raise OligomerError(f'the molecules have different metals: {", ".join(kinds)}')
    charge = -sum(chain.charge * number for chain, number in chains)
    parts = sum(ions.values())
    factor = parts // math.gcd(charge, parts)
    return (
        {chain.formula: number * factor for chain, number in chains},
        {cation: number * charge * factor // parts for cation, number in ions.items()},
    )


def units_for_atoms(n_atoms: int, unit: int) -> int:
    """Return how many units of so many atoms come within 2 % of a number of atoms.

    Raises
    ------
    OligomerError
        If none does; the message names the nearest sizes.
    """
    if not unit <= n_atoms * (1 + SIZE_TOLERANCE) or n_atoms > MOST_ATOMS:
        raise OligomerError(f'{n_atoms} atoms cannot be made: give {unit} to {MOST_ATOMS}')
    number = max(1, round(n_atoms / unit))
    if abs(number * unit - n_atoms) > SIZE_TOLERANCE * n_atoms:
        lower = n_atoms // unit
        sizes = ' or '.join(str(count * unit) for count in (lower, lower + 1) if count)
        raise OligomerError(
            f'{n_atoms} atoms are no whole number of units of {unit} atoms within {SIZE_TOLERANCE:.0%}: ask for {sizes}'
        )
    return number


def oligomer_mixture(
    kinds: str | Mapping[str, float] = 'LAOC0b',
    *,
    cations: str | Mapping[str, float] = 'Li',
    n_atoms: int = 128,
    density_g_cm3: float = PAPER_DENSITY,
    seed: int = 0,
) -> MolecularGlass:
    """Return molecules of one or several kinds and their cations packed into a cubic cell.

    Torsions, orientations and places are drawn by the seed. In the packing bonds and angles keep their values within
    2 %, unbonded ions keep their distances, and torsions give way.

    The cell is packed in one piece, so no two molecules are copies of each other even in 16 384 atoms.

    Parameters
    ----------
    kinds, cations
        As for :func:`smallest_unit`; the ratios are kept exactly.
    n_atoms : int
        Wanted number of atoms; the cell has it within 2 %.
    density_g_cm3 : float
        In g/cm³.
    seed : int
        Draws conformations, orientations and places.

    Returns
    -------
    MolecularGlass

    Raises
    ------
    OligomerError
        If the numbers make no sense or the molecules do not fit; the message says what to change.
    """
    molecules, ions = smallest_unit(kinds, cations)
    size = sum(ChainFormula.parse(name).n_atoms * number for name, number in molecules.items()) + sum(ions.values())
    units = units_for_atoms(n_atoms, size)
    contents = GlassContents(
        tuple(ChainFormula.parse(name) for name, number in molecules.items() for _ in range(number * units)),
        # Cations of different kinds are put at random alike: their order does not matter.
        tuple(cation for cation, number in ions.items() for _ in range(number * units)),
    )
    length = contents.volume(density_g_cm3) ** (1 / 3)
    cell = length * np.eye(3)
    generator = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        drawn = [chain_molecule(chain, generator=generator).atoms.get_positions() for chain in contents.chains]
        places = [Rotation.random(rng=generator).apply(one) + generator.random(3) * length for one in drawn]
        start = np.concatenate([*places, generator.random((len(contents.cations), 3)) * length])
        packing, scale = contents.pack(start, cell, generator=generator)
        if packing.fits:
            return contents.glass(packing, cell, {'contact_scale': scale, 'seed': seed})
    raise contents.misfit(packing, density_g_cm3)
