"""Glasses of whole molecules and the cations that balance them: how they are packed, repeated and checked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from aiida_softclay.structures.checks import check_ions, density
from aiida_softclay.structures.crystals import AMU_PER_A3_IN_G_CM3
from aiida_softclay.structures.ions import IONIC_RADII, contact_table
from aiida_softclay.structures.molecular_packing import (
    EXPANSION,
    MolecularPacking,
    bonds_and_angles,
    pack_molecules,
)
from aiida_softclay.structures.molecules import ChainFormula, Molecule, chain_molecule
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
#: A cell of more molecules has some that fit only without the extra room.
MOST_MOLECULES = 130
#: Most atoms of a cell that is packed in one piece.
MOST_ATOMS = 20_000
#: Starts that are drawn before a glass is given up.
ATTEMPTS = 3
#: Fractions of the rule of mixtures a glass may have; the measured 1.9 g/cm³ is 0.92 of it.
DENSITY_RANGE = (0.7, 1.15)


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


@dataclass(frozen=True)
class GlassContents:
    """What is packed: the atoms of one molecule after the other, then the cations.

    Attributes
    ----------
    chains : tuple of ChainFormula
        One for every molecule, all of one metal.
    cations : tuple of str
        One for every cation.
    """

    chains: tuple[ChainFormula, ...]
    cations: tuple[str, ...]

    @cached_property
    def models(self) -> list[Molecule]:
        """The molecules with the bonds and angles they should have."""
        known = {chain: chain_molecule(chain) for chain in set(self.chains)}
        return [known[chain] for chain in self.chains]

    @cached_property
    def symbols(self) -> list[str]:
        """Elements of all atoms."""
        return [symbol for model in self.models for symbol in model.atoms.get_chemical_symbols()] + list(self.cations)

    @cached_property
    def molecule_ids(self) -> np.ndarray:
        """Molecule of every atom, shape (n_atoms,), int; -1 for cations."""
        sizes = [chain.n_atoms for chain in self.chains]
        return np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.full(len(self.cations), -1)]).astype(int)

    def volume(self, density_g_cm3: float) -> float:
        """Return the volume at a density, Å³.

        Raises
        ------
        OligomerError
            If the density is not positive, or so far off the rule of mixtures that the glass would be refused.
        """
        if not (math.isfinite(density_g_cm3) and density_g_cm3 > 0):
            raise OligomerError(f'the density must be positive, not {density_g_cm3} g/cm^3')
        rule = rule_density(Counter(self.symbols))
        low, high = DENSITY_RANGE
        if rule is not None and not low <= density_g_cm3 / rule <= high:
            raise OligomerError(
                f'{density_g_cm3:g} g/cm^3 is {density_g_cm3 / rule:.2f} of the rule of mixtures ({rule:.2f} g/cm^3), '
                f'outside {low:g} to {high:g}: ask for {low * rule:.2f} to {high * rule:.2f}'
            )
        return float(Atoms(self.symbols).get_masses().sum() / density_g_cm3 * AMU_PER_A3_IN_G_CM3)

    def pack(
        self, start: np.ndarray, cell: np.ndarray, *, generator: np.random.Generator, expansion: float = EXPANSION
    ) -> tuple[MolecularPacking, float]:
        """Move the atoms of a start until the molecules are whole and nothing is too close.

        Parameters
        ----------
        start : ndarray, shape (n_atoms, 3), Å
            Every molecule in one piece; its bonds and angles need not be right.
        cell : ndarray, shape (3, 3), Å
        generator : numpy.random.Generator
        expansion : float
            As for :func:`~aiida_softclay.structures.molecular_packing.pack_molecules`.

        Returns
        -------
        packing : MolecularPacking
            The first that fits, or else the last one tried.
        contact_scale : float
            The factor of :data:`CONTACT_SCALES` it was made with.
        """
        kept, lengths = kept_distances(self.models)
        numbers = Atoms(self.symbols).numbers
        for scale in CONTACT_SCALES if len(self.chains) <= MOST_MOLECULES else (1.0,):
            table = molecular_table(sorted(set(self.cations)), self.chains[0].metal, scale)
            packing = pack_molecules(
                numbers, start, kept, cell, table, lengths=lengths, generator=generator, expansion=expansion
            )
            if packing.fits:
                break
        return packing, scale

    def misfit(self, packing: MolecularPacking, density_g_cm3: float) -> OligomerError:
        """Return the error that says why a packing is no glass."""
        return OligomerError(
            f'{len(self.chains)} molecules with {len(self.cations)} cations do not fit at {density_g_cm3:g} g/cm^3 '
            f'({packing.violations} pairs stay too close, a bond is off by {packing.bond_error:.1%}): lower '
            'the density or change the seed'
        )

    def glass(self, packing: MolecularPacking, cell: np.ndarray, report: dict[str, Any]) -> MolecularGlass:
        """Return a packing as a checked glass; the report gets the bonds and the facts of the cell.

        Raises
        ------
        OligomerError
            If charge, density or distances are wrong.
        """
        positions = gather_molecules(packing.positions, self.molecule_ids, cell)
        atoms = Atoms(self.symbols, positions=positions, cell=cell, pbc=True)
        atoms.set_array('molecule_id', self.molecule_ids)
        counts = {
            'molecules': dict(Counter(chain.formula for chain in self.chains)),
            'cations': dict(Counter(self.cations)),
        }
        return checked_glass(atoms, {**counts, **report, 'largest_bond_error': packing.bond_error})


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


def kept_distances(models: Sequence[Molecule]) -> tuple[np.ndarray, np.ndarray]:
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


def gather_molecules(positions: np.ndarray, ids: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return positions with every molecule shifted whole so that its centre is inside the cell; -1 are single ions."""
    owners = np.where(ids >= 0, ids, int(ids.max(initial=-1)) + 1 + np.arange(len(ids)))
    _, owners = np.unique(owners, return_inverse=True)
    sizes = np.bincount(owners).astype(float)
    centres = np.stack([np.bincount(owners, positions[:, axis]) for axis in range(3)], axis=1) / sizes[:, None]
    return positions - (np.floor(centres @ np.linalg.inv(cell)) @ cell)[owners]


def repeat_molecules(atoms: Atoms, repeat: Sequence[int]) -> Atoms:
    """Return a supercell in which every copy of a molecule has an id of its own.

    Raises
    ------
    OligomerError
        If the numbers of copies are not three positive whole numbers.
    """
    numbers = [int(value) for value in repeat]
    if len(numbers) != 3 or min(numbers) < 1:
        raise OligomerError(f'repeat is three positive whole numbers, not {list(repeat)}')
    copies = int(np.prod(numbers))
    repeated = atoms.repeat(numbers)
    ids = repeated.arrays['molecule_id']
    shift = (int(ids.max()) + 1) * np.repeat(np.arange(copies), len(atoms))
    repeated.set_array('molecule_id', np.where(ids >= 0, ids + shift, -1))
    return sort_by_element(repeated)


def glass_facts(atoms: Atoms) -> dict[str, Any]:
    """Return what the report of every glass says about its cell; JSON-serialisable."""
    return {
        'n_atoms': len(atoms),
        'n_molecules': int(atoms.arrays['molecule_id'].max()) + 1,
        'density_g_cm3': density(atoms),
        'cell_heights_A': [round(float(value), 4) for value in heights(atoms.cell[:])],
        'minimum_distance_A': minimum_distance(atoms),
    }


def checked_glass(atoms: Atoms, report: dict[str, Any]) -> MolecularGlass:
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
    warnings = list(report.get('warnings', []))
    if rule is None:
        warnings.append('the density was not compared: no rule of mixtures for this glass')
    facts = {**glass_facts(ordered), 'rule_density_g_cm3': rule, 'warnings': warnings}
    return MolecularGlass(ordered, {**report, **facts})
