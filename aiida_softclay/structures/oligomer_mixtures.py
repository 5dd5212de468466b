"""Glasses of several kinds of oxychloride molecules and cations in one cell, of a wanted number of atoms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from aiida_softclay.structures.checks import check_ions, density
from aiida_softclay.structures.crystals import AMU_PER_A3_IN_G_CM3
from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.structures.molecular_packing import bonds_and_angles, pack_molecules
from aiida_softclay.structures.molecules import ChainFormula, Molecule, chain_molecule
from aiida_softclay.structures.neighbours import minimum_distance
from aiida_softclay.structures.oligomers import (
    ATTEMPTS,
    CONTACT_SCALES,
    DENSITY_RANGE,
    MOST_MOLECULES,
    PAPER_DENSITY,
    MolecularGlass,
    OligomerError,
    gather_molecules,
    molecular_table,
)
from aiida_softclay.structures.oxychlorides import rule_density
from aiida_softclay.structures.supercells import sort_by_element

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
#: Most atoms of a cell that is packed in one piece.
MOST_ATOMS = 20_000


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
    if not (math.isfinite(density_g_cm3) and density_g_cm3 > 0):
        raise OligomerError(f'the density must be positive, not {density_g_cm3} g/cm^3')
    molecules, ions = smallest_unit(kinds, cations)
    size = sum(ChainFormula.parse(name).n_atoms * number for name, number in molecules.items()) + sum(ions.values())
    units = units_for_atoms(n_atoms, size)
    chains = [ChainFormula.parse(name) for name, number in molecules.items() for _ in range(number * units)]
    models = {name: chain_molecule(name) for name in molecules}
    generator = np.random.default_rng(seed)
    symbols = [symbol for chain in chains for symbol in models[chain.formula].atoms.get_chemical_symbols()]
    owners = [[index] * chain.n_atoms for index, chain in enumerate(chains)]
    # Cations of different kinds are put at random alike: their order does not matter.
    free = [cation for cation, number in ions.items() for _ in range(number * units)]
    ids = np.array([index for row in owners for index in row] + [-1] * len(free))
    symbols += free
    kept, lengths = kept_distances([models[chain.formula] for chain in chains])
    length = float((Atoms(symbols).get_masses().sum() / density_g_cm3 * AMU_PER_A3_IN_G_CM3) ** (1 / 3))
    cell = length * np.eye(3)
    # A large cell has some molecules that fit only without the extra room.
    scales = CONTACT_SCALES if len(chains) <= MOST_MOLECULES else (1.0,)
    for _ in range(ATTEMPTS):
        drawn = [chain_molecule(chain, generator=generator).atoms.get_positions() for chain in chains]
        places = [Rotation.random(rng=generator).apply(one) + generator.random(3) * length for one in drawn]
        start = np.concatenate([*places, generator.random((len(free), 3)) * length])
        for scale in scales:
            table = molecular_table(tuple(ions), chains[0].metal, scale)
            packing = pack_molecules(
                Atoms(symbols).numbers, start, kept, cell, table, lengths=lengths, generator=generator
            )  # fmt: skip
            if packing.fits:
                break
        if packing.fits:
            break
    else:
        raise OligomerError(
            f'{len(chains)} molecules with {len(free)} cations do not fit at {density_g_cm3:g} g/cm^3 '
            f'({packing.violations} pairs stay too close, a bond is off by {packing.bond_error:.1%}): lower '
            'the density or change the seed'
        )
    atoms = Atoms(symbols, positions=gather_molecules(packing.positions, ids, cell), cell=cell, pbc=True)
    atoms.set_array('molecule_id', ids)
    report = {
        'molecules': {name: number * units for name, number in molecules.items()},
        'cations': {name: number * units for name, number in ions.items()},
        'largest_bond_error': packing.bond_error,
        'contact_scale': scale,
        'seed': seed,
    }
    return checked_glass(atoms, report)


def kept_distances(models: list[Molecule]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs across bonds and angles of molecules one after the other, and their distances in Å.

    Returns
    -------
    pairs : ndarray, shape (k, 2), int
    lengths : ndarray, shape (k,), Å
    """
    pairs, lengths, first = [], [], 0
    for model in models:
        local = bonds_and_angles(model.bonds, len(model.atoms))
        pairs.append(local + first)
        lengths.append(np.linalg.norm(np.diff(model.atoms.positions[local], axis=1)[:, 0], axis=1))
        first += len(model.atoms)
    return np.concatenate(pairs), np.concatenate(lengths)


def checked_glass(atoms: Atoms, report: dict) -> MolecularGlass:
    """Return a glass grouped by element with the facts of its report completed.

    Raises
    ------
    OligomerError
        If charge, density or distances are wrong.
    """
    ordered = sort_by_element(atoms)
    counts = Counter(ordered.get_chemical_symbols())
    rule = rule_density(counts)
    problems = check_ions(
        ordered, {element: float(IONIC_RADII[element][1]) for element in counts}, rule_density=rule,
        density_range=DENSITY_RANGE,
    )  # fmt: skip
    if problems:
        raise OligomerError(f'the glass of {ordered.get_chemical_formula()} is not sound: {"; ".join(problems)}')
    facts = {
        'n_atoms': len(ordered),
        'n_molecules': int(ordered.arrays['molecule_id'].max()) + 1,
        'density_g_cm3': density(ordered),
        'rule_density_g_cm3': rule,
        'minimum_distance_A': minimum_distance(ordered),
        'warnings': [] if rule is not None else ['the density was not compared: no rule of mixtures for this glass'],
    }
    return MolecularGlass(ordered, {**report, **facts})
