"""A polycrystal of one salt: eight cubic grains in a cubic cell, turned against each other, each still the crystal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import make_supercell

from aiida_softclay.structures.assembly import (
    CLOSEST_GAP,
    SITES,
    TOLERATED_DEVIATION,
    Assembly,
    AssemblyError,
    orientation_choices,
    proper_rotations,
    touching_sites,
    units_per_particle,
)
from aiida_softclay.structures.checks import check_structure, density
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import crystal
from aiida_softclay.structures.grains import GRAIN, crystal_rotations, misorientation
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.neighbours import contact_violations, minimum_distance
from aiida_softclay.structures.particles import cut_particle, upright_frame
from aiida_softclay.structures.supercells import sort_by_element

#: Grains that face each other are turned by at least this, degrees: below it a boundary is an array of dislocations.
LEAST_MISORIENTATION = 15.0
#: Directions of the crystal along the edges of a grain, tried in this order; rows are the vectors that take the places
#: of a, b and c. Quarter turns bring a cubic crystal onto itself, so that its grains must be cut along other edges.
CUTS = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((1, 1, 0), (-1, 1, 0), (0, 0, 1)),
    ((1, -1, 0), (1, 1, -2), (1, 1, 1)),
    ((2, 1, 0), (-1, 2, 0), (0, 0, 1)),
)
#: Choices of turns that are drawn for each cut.
DRAWS = 200
#: Steps in which grains are brought together, Å.
STEPS = (0.25, 0.05)


def possible_sizes(mixture: Mixture, n_atoms: int) -> list[int]:
    """Return the nearest numbers of atoms, not above and not below a wish, that eight equal grains can hold."""
    unit = 8 * mixture.atoms_per_unit
    return sorted({max(unit, unit * (n_atoms // unit)), max(unit, unit * math.ceil(n_atoms / unit))})


def _grain_units(mixture: Mixture, n_atoms: int) -> int:
    """Return the formula units of each grain; refuse a size that whole formula units miss by more than 2 %."""
    unit = 8 * mixture.atoms_per_unit
    # The wish is compared without rounding errors: 408 for 400 is 2 % and no more.
    try:
        units = units_per_particle(mixture, n_atoms)
    except AssemblyError:
        units = 0
    if units < 1 or abs(unit * units - n_atoms) > TOLERATED_DEVIATION * n_atoms + 1e-6:
        nearest = ' or '.join(str(size) for size in possible_sizes(mixture, n_atoms))
        raise AssemblyError(
            f'a polycrystal of {mixture} cannot have {n_atoms} atoms within {TOLERATED_DEVIATION:.0%}: eight equal '
            f'grains of whole formula units hold a multiple of {unit}; ask for {nearest}'
        )
    return units


def _checked_salt(salt: str, n_atoms: int, seed: int, contact_scale: float) -> Mixture:
    """Return the salt; refuse wishes that make no sense."""
    for value, least, what in ((n_atoms, 1, 'n_atoms'), (seed, 0, 'seed')):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise AssemblyError(f'{what} must be a whole number of at least {least}, not {value!r}')
    if not (math.isfinite(contact_scale) and contact_scale > 0):
        raise AssemblyError(f'contact_scale must be a positive number, not {contact_scale}')
    mixture = Mixture.parse(salt)
    if len(mixture.salts) != 1:
        raise AssemblyError(
            f'a polycrystal is made of one salt, {mixture} has {len(mixture.salts)}: assemble particles of its slab '
            'instead'
        )
    # Two moles of one salt are that salt.
    return Mixture.parse(mixture.salts[0])


def turn_grains(base: Atoms, generator: np.random.Generator) -> tuple[Atoms, np.ndarray, tuple[int, ...], list[float]]:
    """Choose along which edges grains are cut and how they are turned so that none that face each other are parallel.

    Parameters
    ----------
    base : ase.Atoms
        Crystal.
    generator : numpy.random.Generator
        Draws among the equivalent orientations.

    Returns
    -------
    crystal : ase.Atoms
        The crystal in a cell whose a and ab plane the grains are cut along.
    turns : ndarray, shape (8, 3, 3)
        Rotations of the cut grain.
    axes : tuple of int
        Axis along which the normal of the ab plane of each grain points.
    angles : list of float
        Misorientation over each of the twelve boundaries, degrees.

    Raises
    ------
    AssemblyError
        If no choice turns all grains far enough.
    """
    symmetry, rotations, choices = crystal_rotations(base), proper_rotations(), orientation_choices()
    for matrix in CUTS:
        cut = base if matrix == CUTS[0] else make_supercell(base, np.array(matrix))
        frame = upright_frame(cut.cell[:])
        for _ in range(DRAWS):
            axes = choices[int(generator.integers(len(choices)))]
            turns = []
            for axis in axes:
                fitting = rotations[np.abs(rotations[:, axis, 2]) > 0.5]
                turns.append(fitting[int(generator.integers(len(fitting)))])
            angles = [misorientation(turns[i] @ frame, turns[j] @ frame, symmetry) for i, j in touching_sites()]
            if min(angles) >= LEAST_MISORIENTATION:
                return cut, np.array(turns), axes, angles
    raise AssemblyError(
        f'no way was found to turn grains of {base.get_chemical_formula()} by {LEAST_MISORIENTATION:g} degrees or more '
        'against all their neighbours'
    )


def _bring_together(
    numbers: np.ndarray, turned: np.ndarray, extent: float, table: np.ndarray
) -> tuple[np.ndarray, float]:
    """Put rigid grains on their sites as close as their ions allow; return positions, and edge of one site in Å."""
    groups = np.repeat(np.arange(8), turned.shape[1])
    sites = np.array(SITES) + 0.5

    def place(gap: float) -> np.ndarray:
        return (turned + (sites * (extent + gap))[:, None]).reshape(-1, 3)

    def apart(gap: float) -> bool:
        cell = 2 * (extent + gap) * np.eye(3)
        return len(contact_violations(numbers, place(gap), cell, table, groups=groups)[0]) == 0

    # At the largest contact distance between outermost ions no two grains can be too close.
    gap, farthest = CLOSEST_GAP, max(CLOSEST_GAP, float(table.max()) + 1e-6)
    for step in STEPS:
        while gap < farthest and not apart(gap):
            gap = min(gap + step, farthest)
        farthest, gap = gap, max(CLOSEST_GAP, gap - step)
    return place(farthest), extent + farthest


def polycrystal(salt: str, n_atoms: int = 10_200, *, seed: int = 0, contact_scale: float = 1.0) -> Assembly:
    """Return eight cubic grains of one salt in a periodic 2×2×2 arrangement (yang2024, Methods: MgCl2, 10 200 atoms).

    A cubic grain of whole formula units is cut from the crystal, and eight copies of it are turned so that no two that
    face each other are parallel. The grains stay rigid and are brought together until ions of two of them would be too
    close; relaxing positions and cell with a potential closes the gaps.

    Parameters
    ----------
    salt : str
        Id or formula of a salt with a crystal structure, for example ``MgCl2``.
    n_atoms : int
        Wanted number of atoms; the nearest multiple of eight formula units is made if it is within 2 %.
    seed : int
        For the cut, and for the choice among equivalent orientations.
    contact_scale : float
        Multiplies the smallest distances that ions of different grains keep.

    Returns
    -------
    Assembly
        Its atoms have the array ``grain`` with the number of the grain (0 to 7) of every atom; the report says what
        was trimmed from the cube or added to it (``particle``, for each grain) and how the grains are turned.

    Raises
    ------
    AssemblyError
        If the size cannot be met (the message says which can), or another wish makes no sense.
    aiida_softclay.structures.composition.MixtureError
        If the salt is not known.
    """
    mixture = _checked_salt(salt, n_atoms, seed, contact_scale)
    units = _grain_units(mixture, n_atoms)
    table = contact_scale * contact_table(mixture.elements)
    cut, turns, axes, angles = turn_grains(crystal(mixture.salts[0]), np.random.default_rng([seed, 8]))
    particle = cut_particle(cut, mixture, units, seed=seed)
    base = particle.atoms.get_positions()
    # A cube centred between its outermost atoms on both sides packs closest.
    base = base - 0.5 * (base.max(axis=0) + base.min(axis=0))
    extent = float(np.ptp(base, axis=0).max())
    numbers = np.tile(particle.atoms.get_atomic_numbers(), 8)
    positions, pitch = _bring_together(numbers, base @ turns.transpose(0, 2, 1), extent, table)
    atoms = Atoms(numbers=numbers, positions=positions, cell=2 * pitch * np.eye(3), pbc=True)
    grains = np.repeat(np.arange(8), len(base))
    atoms.set_tags(grains)
    atoms.set_array(GRAIN, grains)
    atoms = sort_by_element(atoms)
    atoms.wrap()
    atoms.info['mixture'] = mixture.name
    report: dict[str, Any] = {
        'mixture': mixture.name,
        'n_atoms': len(atoms),
        'n_atoms_requested': int(n_atoms),
        'n_atoms_deviation': round(len(atoms) / n_atoms - 1, 5),
        'formula_units': 8 * units,
        'particle': particle.report,
        'interface_normals': ['xyz'[axis] for axis in axes],
        'rotations': [[[int(value) for value in row] for row in turn] for turn in turns],
        'smallest_misorientation_deg': round(min(angles), 3),
        'sites': [list(site) for site in SITES],
        'cell_length_A': round(2 * pitch, 4),
        'gap_A': round(pitch - extent, 4),
        'density_g_cm3': round(density(atoms), 4),
        'rule_density_g_cm3': round(mixture.rule_density, 4),
        'minimum_distance_A': round(minimum_distance(atoms), 4),
        'seed': int(seed),
    }
    # Inside a grain distances are those of the crystal, whatever the scale.
    scale = min(1.0, contact_scale)
    report['warnings'] = check_structure(atoms, mixture, density_range=(0.2, 1.3), contact_scale=scale)
    return Assembly(atoms, report)
