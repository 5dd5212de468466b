"""Random mixtures of ions at a given density, as starting points of melts."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import AMU_PER_A3_IN_G_CM3
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.packing import push_apart

ATTEMPTS = 3
SWEEPS = 600


class PackingError(ValueError):
    """Ions that do not fit; the message says what to change."""


def units_for_length(mixture: Mixture, min_length: float, density: float | None = None) -> int:
    """Return the fewest formula units whose cubic cell has an edge of at least ``min_length`` (Å) at a density.

    Raises
    ------
    PackingError
        If length or density is not positive.
    """
    wanted = mixture.rule_density if density is None else float(density)
    if not (min_length > 0 and wanted > 0):
        raise PackingError(f'length and density must be positive, not {min_length} Å and {wanted} g/cm^3')
    return math.ceil(min_length**3 / mixture.unit_volume * wanted / mixture.rule_density - 1e-9)


def random_mixture(
    mixture: Mixture,
    formula_units: int,
    *,
    density: float | None = None,
    seed: int = 0,
    contact_scale: float = 1.0,
) -> Atoms:
    """Return ions at random in a cubic periodic cell, none closer than the ions' radii allow.

    Positions are drawn uniformly and pushed apart along the overlapping pairs until no pair is too close. Cations
    and anions keep different distances, so the result already has alternating charges in the nearest shell.

    Parameters
    ----------
    mixture : Mixture
        What is mixed.
    formula_units : int
        Formula units of the whole mixture.
    density : float, optional
        In g/cm³; by the rule of mixtures if not given.
    seed : int
        Makes the result reproducible.
    contact_scale : float
        Multiplies the smallest distances.

    Returns
    -------
    ase.Atoms
        Atoms grouped by element.

    Raises
    ------
    PackingError
        If the numbers are not positive or the ions do not fit at this density.
    """
    if formula_units < 1:
        raise PackingError(f'at least one formula unit of {mixture} is needed, not {formula_units}')
    wanted = mixture.rule_density if density is None else float(density)
    if not (math.isfinite(wanted) and wanted > 0):
        raise PackingError(f'the density must be positive, not {density} g/cm^3')
    counts = mixture.formula_unit
    symbols = [element for element in counts for _ in range(counts[element] * formula_units)]
    numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
    length = (formula_units * mixture.unit_mass / wanted * AMU_PER_A3_IN_G_CM3) ** (1 / 3)
    cell = length * np.eye(3)
    table = contact_scale * contact_table(counts)
    generator = np.random.default_rng(seed)
    remaining = 0
    for _ in range(ATTEMPTS):
        positions = generator.random((len(numbers), 3)) * length
        packing = push_apart(numbers, positions, cell, table, sweeps=SWEEPS, generator=generator)
        remaining = packing.violations
        if remaining == 0:
            atoms = Atoms(symbols=symbols, positions=packing.positions % length, cell=cell, pbc=True)
            atoms.info['mixture'] = mixture.name
            return atoms
    raise PackingError(
        f'{len(numbers)} ions of {mixture} do not fit at {wanted:.2f} g/cm^3 (the rule of mixtures gives '
        f'{mixture.rule_density:.2f}): {remaining} pairs stay too close; lower the density or contact_scale'
    )
