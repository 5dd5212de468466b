"""Glasses of oxychloride molecules: chains of tetrahedra and the cations that balance them, packed at a density."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from scipy.spatial.transform import Rotation

from aiida_softclay.structures.checks import check_ions, density
from aiida_softclay.structures.crystals import AMU_PER_A3_IN_G_CM3
from aiida_softclay.structures.ions import IONIC_RADII, contact_table
from aiida_softclay.structures.molecular_packing import bonds_and_angles, pack_molecules
from aiida_softclay.structures.molecules import ChainFormula, chain_molecule
from aiida_softclay.structures.neighbours import heights, minimum_distance
from aiida_softclay.structures.oxychlorides import rule_density
from aiida_softclay.structures.supercells import sort_by_element

#: Density of the oxychloride glass, g/cm³ (you2025).
PAPER_DENSITY = 1.9
#: Smallest distances of unbonded ions in the packing, Å: a metal gets no fifth neighbour and cations stay apart.
METAL_ANION = 2.9
METAL_METAL = 2.9
METAL_CATION = 2.9
CATION_CATION = 2.6
#: The ions' smallest distances are packed with these factors, one after the other until the molecules fit.
CONTACT_SCALES = (1.1, 1.05, 1.0)
#: Starts that are drawn before a glass is given up.
ATTEMPTS = 3
#: Fractions of the rule of mixtures a glass may have; the measured 1.9 g/cm³ is 0.92 of it.
DENSITY_RANGE = (0.7, 1.15)
#: More molecules than this are not packed one by one: a packed cell is repeated instead.
MOST_MOLECULES = 130


class OligomerError(ValueError):
    """A glass that cannot be packed; the message says what to change."""


@dataclass(frozen=True)
class MolecularGlass:
    """A packed glass and how it came about.

    Attributes
    ----------
    atoms : ase.Atoms
        Periodic; the array ``molecule_id`` counts the molecules from 0, cations have -1. Every molecule is in one piece
        with its centre inside the cell, so atoms may stick out of it.
    report : dict
        Counts, density, bonds, distances, seed; JSON-serialisable.
    """

    atoms: Atoms
    report: dict[str, Any]


def molecular_table(cation: str | Sequence[str], metal: str, scale: float = 1.0) -> np.ndarray:
    """Return the smallest distances of unbonded ions in a packing, shape (119, 119), Å; one cation or several."""
    cations = [cation] if isinstance(cation, str) else list(cation)
    table = scale * contact_table({*cations, metal, 'O', 'Cl'})
    numbers = {name: atomic_numbers[name] for name in (*cations, metal, 'O', 'Cl')}
    rules = [(metal, 'Cl', METAL_ANION), (metal, 'O', METAL_ANION), (metal, metal, METAL_METAL)]
    rules += [(metal, one, METAL_CATION) for one in cations]
    rules += [(one, other, CATION_CATION) for one in cations for other in cations]
    for first, second, distance in rules:
        table[numbers[first], numbers[second]] = table[numbers[second], numbers[first]] = distance
    return table


def repeat_molecules(atoms: Atoms, repeat: Sequence[int]) -> Atoms:
    """Return a supercell in which every copy of a molecule has an id of its own."""
    numbers = [int(value) for value in repeat]
    if len(numbers) != 3 or min(numbers) < 1:
        raise OligomerError(f'repeat is three positive whole numbers, not {list(repeat)}')
    copies = int(np.prod(numbers))
    repeated = atoms.repeat(numbers)
    ids = repeated.arrays['molecule_id']
    shift = (int(ids.max()) + 1) * np.repeat(np.arange(copies), len(atoms))
    repeated.set_array('molecule_id', np.where(ids >= 0, ids + shift, -1))
    return sort_by_element(repeated)


def oligomer_glass(
    anion: str = 'Al3O2Cl8',
    *,
    cation: str = 'Li',
    n_molecules: int = 8,
    density_g_cm3: float = PAPER_DENSITY,
    seed: int = 0,
    repeat: Sequence[int] = (1, 1, 1),
) -> MolecularGlass:
    """Return chain molecules and their cations packed into a cubic cell.

    Torsions, orientations and places are drawn by the seed. In the packing bonds and angles keep their values within
    2 %, unbonded ions keep their distances, and torsions give way.

    Parameters
    ----------
    anion : str
        ``Al3O2Cl8`` (trimer), ``Al4O3Cl10`` (tetramer), ``Al3O2Cl7`` and ``Al3O2Cl6`` (one and two bridging Cl), …
    cation : str
        ``Li``, ``Na`` or ``K``; as many as neutralise the molecules.
    n_molecules : int
        Molecules that are packed, at most 130: larger glasses are repeated cells.
    density_g_cm3 : float
        In g/cm³.
    seed : int
    repeat : sequence of int
        Copies of the packed cell along its three vectors.

    Returns
    -------
    MolecularGlass

    Raises
    ------
    OligomerError
        If the numbers make no sense or the molecules do not fit; the message says what to change.
    """
    chain = ChainFormula.parse(anion)
    if IONIC_RADII.get(cation, (0.0, 0))[1] != 1:
        raise OligomerError(f'the cation is Li, Na or K, not {cation!r}')
    if not 1 <= n_molecules <= MOST_MOLECULES:
        raise OligomerError(
            f'{n_molecules} molecules cannot be packed: give 1 to {MOST_MOLECULES}, and repeat the cell for more'
        )
    if not (math.isfinite(density_g_cm3) and density_g_cm3 > 0):
        raise OligomerError(f'the density must be positive, not {density_g_cm3} g/cm^3')
    generator = np.random.default_rng(seed)
    n_cations = -chain.charge * n_molecules
    model = chain_molecule(chain)
    size = len(model.atoms)
    symbols = model.atoms.get_chemical_symbols() * n_molecules + [cation] * n_cations
    ids = np.concatenate([np.repeat(np.arange(n_molecules), size), np.full(n_cations, -1)])
    numbers = Atoms(symbols).numbers
    length = float((Atoms(symbols).get_masses().sum() / density_g_cm3 * AMU_PER_A3_IN_G_CM3) ** (1 / 3))
    cell = length * np.eye(3)
    pairs = bonds_and_angles(model.bonds, size)
    kept = np.concatenate([pairs + size * index for index in range(n_molecules)])
    # Every conformation has the bonds and angles of the planar one.
    lengths = np.tile(np.linalg.norm(model.atoms.positions[pairs[:, 1]] - model.atoms.positions[pairs[:, 0]], axis=1),
                      n_molecules)  # fmt: skip
    for _ in range(ATTEMPTS):
        molecules = [chain_molecule(chain, generator=generator).atoms.get_positions() for _ in range(n_molecules)]
        places = [
            Rotation.random(rng=generator).apply(molecule) + generator.random(3) * length for molecule in molecules
        ]
        start = np.concatenate([*places, generator.random((n_cations, 3)) * length])
        for scale in CONTACT_SCALES:
            table = molecular_table(cation, chain.metal, scale)
            packing = pack_molecules(numbers, start, kept, cell, table, lengths=lengths, generator=generator)
            if packing.fits:
                break
        if packing.fits:
            break
    else:
        raise OligomerError(
            f'{n_molecules} molecules {chain.formula} with {n_cations} {cation} do not fit at {density_g_cm3:g} g/cm^3 '
            f'({packing.violations} pairs stay too close, a bond is off by {packing.bond_error:.1%}): lower '
            'the density or change the seed'
        )
    atoms = Atoms(symbols, positions=gather_molecules(packing.positions, ids, cell), cell=cell, pbc=True)
    atoms.set_array('molecule_id', ids)
    atoms = repeat_molecules(atoms, repeat)
    copies = len(atoms) // len(symbols)
    rule = rule_density(Counter(symbols))
    report = {
        'anion': chain.formula,
        'anion_charge': chain.charge,
        'bridging_chlorine': chain.n_bridging,
        'cation': cation,
        'n_molecules': n_molecules * copies,
        'n_atoms': len(atoms),
        'repeat': [int(value) for value in repeat],
        'density_g_cm3': density(atoms),
        'rule_density_g_cm3': rule,
        'cell_heights_A': [round(float(value), 4) for value in heights(atoms.cell[:])],
        'minimum_distance_A': minimum_distance(atoms),
        'largest_bond_error': packing.bond_error,
        'contact_scale': scale,
        'seed': seed,
        'warnings': [] if rule is not None else ['the density was not compared: no rule of mixtures for this glass'],
    }
    charges = {element: float(IONIC_RADII[element][1]) for element in set(symbols)}
    problems = check_ions(atoms, charges, rule_density=rule, density_range=DENSITY_RANGE)
    if problems:
        raise OligomerError(f'the glass of {chain.formula} is not sound: {"; ".join(problems)}')
    return MolecularGlass(atoms, report)


def gather_molecules(positions: np.ndarray, ids: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return positions with every molecule shifted whole so that its centre is inside the cell; -1 are single ions."""
    owners = np.where(ids >= 0, ids, int(ids.max(initial=-1)) + 1 + np.arange(len(ids)))
    _, owners = np.unique(owners, return_inverse=True)
    sizes = np.bincount(owners).astype(float)
    centres = np.stack([np.bincount(owners, positions[:, axis]) for axis in range(3)], axis=1) / sizes[:, None]
    return positions - (np.floor(centres @ np.linalg.inv(cell)) @ cell)[owners]
