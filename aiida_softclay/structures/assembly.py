"""Eight particles in a cubic cell, turned so that no interface faces another of the same direction."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms

from aiida_softclay.structures.checks import check_structure, density
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.grains import GRAIN
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.neighbours import minimum_distance
from aiida_softclay.structures.packing import push_apart
from aiida_softclay.structures.particles import Particle, cut_particle
from aiida_softclay.structures.supercells import sort_by_element

SITES = tuple((x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1))
TOLERATED_DEVIATION = 0.02
#: Gap between the outermost ions of two particles that is tried first, Å; less than any anion-cation layer distance.
CLOSEST_GAP = 1.0
#: How far an ion may be moved to make room, Å: enough for what sticks out, too little to change the structure.
LARGEST_PUSH = 0.6
SWEEPS = 60


class AssemblyError(ValueError):
    """An assembly that cannot be made; the message says what to change."""


@dataclass(frozen=True)
class Assembly:
    """Eight particles in one periodic cell.

    Attributes
    ----------
    atoms : ase.Atoms
        Cubic periodic cell; the arrays ``tags`` and ``grain`` hold the number of the particle (0 to 7).
    report : dict
        JSON-serialisable account of cutting, turning and packing.
    """

    atoms: Atoms
    report: dict[str, Any]


def proper_rotations() -> np.ndarray:
    """Return the 24 rotations that map a cube onto itself.

    Returns
    -------
    ndarray, shape (24, 3, 3)
        Orthogonal matrices with determinant +1; ``positions @ R.T`` turns row vectors.
    """
    rotations = []
    for permutation in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            for row, (column, sign) in enumerate(zip(permutation, signs, strict=True)):
                matrix[row, column] = sign
            if np.linalg.det(matrix) > 0:
                rotations.append(matrix)
    return np.array(rotations)


def touching_sites() -> list[tuple[int, int]]:
    """Return the pairs of the eight sites that share a face in the periodic 2×2×2 arrangement.

    Along each axis a site has the same neighbour on both sides, so there are twelve pairs, the edges of a cube.
    """
    pairs = set()
    for number, site in enumerate(SITES):
        for axis in range(3):
            for step in (1, -1):
                other = list(site)
                other[axis] = (other[axis] + step) % 2
                pairs.add(tuple(sorted((number, SITES.index((other[0], other[1], other[2]))))))
    return sorted(pairs)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def orientation_choices() -> tuple[tuple[int, ...], ...]:
    """Return all ways to give the eight sites an axis each so that no two that touch have the same.

    These are the proper colourings of the cube graph in three colours, found by trying all 3⁸; of them those are
    kept that use the three axes as evenly as possible, so that the assembly is as isotropic as it can be.
    """
    pairs = touching_sites()
    proper = [
        colours
        for colours in itertools.product(range(3), repeat=8)
        if all(colours[first] != colours[second] for first, second in pairs)
    ]
    evenness = {colours: max(colours.count(axis) for axis in range(3)) for colours in proper}
    best = min(evenness.values())
    return tuple(colours for colours in proper if evenness[colours] == best)


def units_per_particle(mixture: Mixture, n_atoms: int) -> int:
    """Return how many formula units each of eight identical particles holds for a total nearest to ``n_atoms``.

    Raises
    ------
    AssemblyError
        If that is less than one formula unit for each particle.
    """
    smallest = 8 * mixture.atoms_per_unit
    if n_atoms < 0.75 * smallest:
        raise AssemblyError(
            f'{n_atoms} atoms are too few: eight particles of at least one formula unit of {mixture} '
            f'({mixture.atoms_per_unit} atoms) take {smallest}; raise n_atoms'
        )
    return max(1, math.floor(n_atoms / smallest + 0.5))


def assemble_particles(
    slab: Atoms, mixture: Mixture, n_atoms: int, *, seed: int = 0, contact_scale: float = 1.0
) -> Assembly:
    """Return eight identical cubic particles of a slab in a periodic 2×2×2 arrangement (gupta2023, Methods).

    Parameters
    ----------
    slab : ase.Atoms
        Periodic two-salt slab, a and b in the interface plane; may have been equilibrated.
    mixture : Mixture
        What it is made of.
    n_atoms : int
        Wanted number of atoms; the nearest multiple of eight times whole formula units is made.
    seed : int
        For the cut, and for the choice among equivalent orientations.
    contact_scale : float
        Multiplies the smallest distances that ions of different particles keep.

    Returns
    -------
    Assembly

    Raises
    ------
    AssemblyError
        If the size is too small.
    aiida_softclay.structures.particles.ParticleError
        If the slab does not fit the mixture.
    """
    particle = cut_particle(slab, mixture, units_per_particle(mixture, n_atoms), seed=seed)
    return pack_particle(particle, mixture, n_atoms, seed=seed, contact_scale=contact_scale)


def pack_particle(
    particle: Particle, mixture: Mixture, n_atoms: int, *, seed: int = 0, contact_scale: float = 1.0
) -> Assembly:
    """Return eight turned copies of a particle, as close as their ions allow.

    Parameters and errors are those of :func:`assemble_particles`.
    """
    generator = np.random.default_rng([seed, 8])
    choices = orientation_choices()
    axes = choices[int(generator.integers(len(choices)))]
    rotations = proper_rotations()
    turns = []
    for axis in axes:
        fitting = [matrix for matrix in rotations if abs(matrix[axis, 2]) > 0.5]
        turns.append(fitting[int(generator.integers(len(fitting)))])
    base = particle.atoms.get_positions()
    # A cube centred between its outermost atoms on both sides packs closest.
    base = base - 0.5 * (base.max(axis=0) + base.min(axis=0))
    turned = np.array([base @ turn.T for turn in turns])
    numbers = particle.atoms.get_atomic_numbers()
    table = contact_scale * contact_table(mixture.elements)
    extent = float(np.ptp(base, axis=0).max())
    every = np.tile(numbers, 8)
    groups = np.repeat(np.arange(8), len(base))
    sites = np.array(SITES) + 0.5
    # Flat faces would pack at the distance of two ion layers; what sticks out of a rough face is pushed aside.
    for gap in np.arange(CLOSEST_GAP, CLOSEST_GAP + float(table.max()) + 0.1, 0.25):
        pitch = extent + float(gap)
        cell = 2 * pitch * np.eye(3)
        placed = (turned + (sites * pitch)[:, None]).reshape(-1, 3)
        packing = push_apart(every, placed, cell, table, groups=groups, sweeps=SWEEPS)
        if packing.violations == 0 and packing.largest_displacement <= LARGEST_PUSH:
            break
    atoms = Atoms(numbers=every, positions=packing.positions, cell=cell, pbc=True, tags=groups)
    atoms.set_array(GRAIN, groups)
    atoms = sort_by_element(atoms)
    atoms.wrap()
    atoms.info['mixture'] = mixture.name
    deviation = len(atoms) / n_atoms - 1
    report = {
        'mixture': mixture.name,
        'n_atoms': len(atoms),
        'n_atoms_requested': n_atoms,
        'n_atoms_deviation': round(deviation, 5),
        'formula_units': 8 * particle.report['formula_units'],
        'particle': particle.report,
        'interface_normals': ['xyz'[axis] for axis in axes],
        'rotations': [[[int(value) for value in row] for row in turn] for turn in turns],
        'sites': [list(site) for site in SITES],
        'cell_length_A': round(2 * pitch, 4),
        'gap_A': round(pitch - extent, 4),
        'largest_displacement_A': round(packing.largest_displacement, 4),
        'density_g_cm3': round(density(atoms), 4),
        'rule_density_g_cm3': round(mixture.rule_density, 4),
        'minimum_distance_A': round(minimum_distance(atoms), 4),
        'seed': seed,
        'warnings': [],
    }
    if abs(deviation) > TOLERATED_DEVIATION:
        report['warnings'].append(
            f'{n_atoms} atoms were asked for; eight particles of whole formula units of {mixture} '
            f'({mixture.atoms_per_unit} atoms) come nearest with {len(atoms)}'
        )
    report['warnings'] += check_structure(atoms, mixture, density_range=(0.2, 1.3), contact_scale=0.85 * contact_scale)
    return Assembly(atoms, report)
