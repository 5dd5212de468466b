"""What must hold for a structure before it is given to a simulation, as sentences where it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from ase import Atoms

from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import AMU_PER_A3_IN_G_CM3, Phase
from aiida_softclay.structures.ions import IONIC_RADII, contact_table
from aiida_softclay.structures.neighbours import contact_violations


def density(atoms: Atoms) -> float:
    """Return the density of a periodic structure, g/cm³."""
    return float(atoms.get_masses().sum() / atoms.get_volume() * AMU_PER_A3_IN_G_CM3)


def total_charge(atoms: Atoms, mixture: Mixture) -> float:
    """Return the sum of the formal charges the elements carry in the mixture's salts, in elementary charges."""
    charges = mixture.oxidation_states
    return float(sum(charges[element] * number for element, number in Counter(atoms.get_chemical_symbols()).items()))


def composition_units(atoms: Atoms, mixture: Mixture) -> int | None:
    """Return how many formula units of the mixture the structure is, or ``None`` if it is no whole number of them."""
    counts = Counter(atoms.get_chemical_symbols())
    unit = mixture.formula_unit
    if set(counts) != set(unit):
        return None
    ratios = {divmod(counts[element], unit[element]) for element in unit}
    if len(ratios) == 1:
        quotient, remainder = next(iter(ratios))
        if remainder == 0:
            return quotient
    return None


def check_structure(
    atoms: Atoms,
    mixture: Mixture,
    *,
    density_range: tuple[float, float] = (0.5, 1.4),
    contact_scale: float = 1.0,
    exact_ratio: bool = True,
) -> list[str]:
    """Return a sentence for everything that is wrong with a structure; none if it is sound.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic structure.
    mixture : Mixture
        What it should be made of.
    density_range : tuple of float
        Allowed density as a fraction of the rule of mixtures.
    contact_scale : float
        Multiplies the smallest acceptable distances; below 1 for snapshots of molecular dynamics.
    exact_ratio : bool
        Whether the structure must be a whole number of the mixture's formula units.
    """
    foreign = sorted(set(atoms.get_chemical_symbols()) - set(mixture.elements))
    if foreign:
        return [f'the structure holds {", ".join(foreign)}, which {mixture} does not']
    problems = check_ions(
        atoms, mixture.oxidation_states, rule_density=mixture.rule_density, density_range=density_range,
        contact_scale=contact_scale,
    )  # fmt: skip
    if exact_ratio and composition_units(atoms, mixture) is None:
        problems.append(f'{atoms.get_chemical_formula()} is no whole number of formula units of {mixture}')
    return problems


def check_ions(
    atoms: Atoms,
    charges: Mapping[str, float],
    *,
    rule_density: float | None = None,
    density_range: tuple[float, float] = (0.5, 1.4),
    contact_scale: float = 1.0,
    contacts: bool = True,
) -> list[str]:
    """Return a sentence for everything that is wrong with charge, density and distances of a structure.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic structure.
    charges : mapping
        Formal charge of each element, in elementary charges.
    rule_density : float, optional
        Density of the crystals the structure could be made of, g/cm³; nothing is said about the density without it.
    density_range : tuple of float
        Allowed density as a fraction of ``rule_density``.
    contact_scale : float
        Multiplies the smallest acceptable distances.
    contacts : bool
        Whether ionic distances are checked; elements and alloys have none.
    """
    problems = []
    charge = sum(charges[element] * number for element, number in Counter(atoms.get_chemical_symbols()).items())
    if abs(charge) > 1e-6:
        problems.append(f'the structure carries a charge of {charge:+g} e: ions are missing or too many')
    low, high = density_range
    if rule_density is not None and not low <= density(atoms) / rule_density <= high:
        problems.append(
            f'the density {density(atoms):.2f} g/cm^3 is {density(atoms) / rule_density:.2f} of the rule of mixtures '
            f'({rule_density:.2f}), outside {low:g} to {high:g}'
        )
    if not contacts:
        return problems
    if found := closest_contact(atoms, contact_scale):
        problems.append(found)
    return problems


def closest_contact(atoms: Atoms, contact_scale: float = 1.0) -> str | None:
    """Return a sentence on the ions that are closer than they should be, or ``None`` if none are.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic structure of ions.
    contact_scale : float
        Multiplies the smallest acceptable distances (:func:`aiida_softclay.structures.ions.contact_distance`).
    """
    table = contact_scale * contact_table(set(atoms.get_chemical_symbols()))
    first, second, vectors, overlap = contact_violations(
        atoms.get_atomic_numbers(), atoms.get_positions(), atoms.cell[:], table
    )
    if not len(first):
        return None
    worst = int(np.argmax(overlap))
    symbols = atoms.get_chemical_symbols()
    distance = float(np.linalg.norm(vectors[worst]))
    return (
        f'{len(first)} pairs are too close; the worst are {symbols[first[worst]]} {first[worst]} and '
        f'{symbols[second[worst]]} {second[worst]} at {distance:.2f} Å, at least {distance + overlap[worst]:.2f} '
        'is wanted'
    )


def check_crystal(atoms: Atoms, entry: Phase) -> list[str]:
    """Return a sentence for everything that is wrong with a supercell of a known phase.

    Its density must be that of the phase's cell within 0.1 %; ionic distances are checked in salts whose ions all have
    a tabulated radius.
    """
    known = entry.is_salt and set(entry.composition) <= set(IONIC_RADII)
    problems = check_ions(
        atoms, entry.oxidation_states, rule_density=entry.density, density_range=(0.999, 1.001), contacts=known
    )
    counts = Counter(atoms.get_chemical_symbols())
    if len({counts[element] / number for element, number in entry.composition.items()}) != 1:
        problems.append(f'{atoms.get_chemical_formula()} is no whole number of {entry.formula}')
    return problems
