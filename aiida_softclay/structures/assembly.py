"""Eight particles in a cubic cell, turned so that no interface faces another of the same direction."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms

from aiida_softclay.structures.checks import check_structure, density
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.grains import GRAIN
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.neighbours import close_pairs, minimum_distance
from aiida_softclay.structures.packing import push_apart
from aiida_softclay.structures.particles import Particle, cut_particle
from aiida_softclay.structures.sharing import TOLERATED_DEVIATION, AssemblyError, share_units, units_per_particle
from aiida_softclay.structures.supercells import sort_by_element

__all__ = [
    'SITES',
    'TOLERATED_DEVIATION',
    'Assembly',
    'AssemblyError',
    'assemble_particles',
    'orientation_choices',
    'pack_particles',
    'proper_rotations',
    'touching_sites',
    'units_per_particle',
]  # fmt: skip

SITES = tuple((x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1))
#: Gap between the outermost ions of two particles that is tried first, Å; less than any anion-cation layer distance.
CLOSEST_GAP = 1.0
#: How far an ion may be moved to make room, Å: enough for what sticks out, too little to change the structure.
LARGEST_PUSH = 0.6
#: Below this the ions of two particles would overlap: Li-F 1.2 Å apart, two thirds of any bond.
LEAST_CONTACT_SCALE = 0.7
SWEEPS = 60


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


def assemble_particles(
    slab: Atoms, mixture: Mixture, n_atoms: int, *, seed: int = 0, contact_scale: float = 1.0
) -> Assembly:
    """Return eight cubic particles of a slab in a periodic 2×2×2 arrangement (gupta2023, Methods).

    The particles are copies of one where eight equal ones meet the size within 2 %, as in the paper; if not, some hold
    a formula unit more than the others (see :func:`~aiida_softclay.structures.sharing.share_units`).

    Parameters
    ----------
    slab : ase.Atoms
        Periodic slab of the mixture, a and b in the interface plane; may have been equilibrated.
    mixture : Mixture
        What it is made of.
    n_atoms : int
        Wanted number of atoms; the nearest whole number of formula units of the mixture is made.
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
        If the size is too small, or a wish makes no sense.
    aiida_softclay.structures.particles.ParticleError
        If the slab does not fit the mixture.
    """
    if not (math.isfinite(contact_scale) and contact_scale > 0):
        raise AssemblyError(f'contact_scale must be a positive number, not {contact_scale}')
    if contact_scale < LEAST_CONTACT_SCALE:
        raise AssemblyError(
            f'with contact_scale = {contact_scale:g} ions of different particles would overlap: give at least '
            f'{LEAST_CONTACT_SCALE:g}, 1 keeps the distances of the ionic radii'
        )
    shares = share_units(mixture, n_atoms)
    cut = {units: cut_particle(slab, mixture, units, seed=seed) for units in dict.fromkeys(shares)}
    return pack_particles([cut[units] for units in shares], mixture, n_atoms, seed=seed, contact_scale=contact_scale)


def pack_particles(
    particles: Sequence[Particle], mixture: Mixture, n_atoms: int, *, seed: int = 0, contact_scale: float = 1.0
) -> Assembly:
    """Return eight particles, turned against each other, as close as their ions allow.

    Parameters
    ----------
    particles : sequence of Particle
        Eight; they go to the sites at random if they are not equal.
    mixture, n_atoms, seed, contact_scale
        As for :func:`assemble_particles`.

    Returns
    -------
    Assembly
    """
    generator = np.random.default_rng([seed, 8])
    choices = orientation_choices()
    axes = choices[int(generator.integers(len(choices)))]
    rotations = proper_rotations()
    turns = []
    for axis in axes:
        fitting = [matrix for matrix in rotations if abs(matrix[axis, 2]) > 0.5]
        turns.append(fitting[int(generator.integers(len(fitting)))])
    equal = all(particle is particles[0] for particle in particles)
    if not equal:
        particles = [particles[int(index)] for index in generator.permutation(len(particles))]
    # A cube centred between its outermost atoms on both sides packs closest.
    bases = [
        positions - 0.5 * (positions.max(axis=0) + positions.min(axis=0))
        for positions in (particle.atoms.get_positions() for particle in particles)
    ]
    extent = max(float(np.ptp(base, axis=0).max()) for base in bases)
    every = np.concatenate([particle.atoms.get_atomic_numbers() for particle in particles])
    groups = np.repeat(np.arange(len(particles)), [len(base) for base in bases])
    turned = np.concatenate([base @ turn.T for base, turn in zip(bases, turns, strict=True)])
    sites = np.array(SITES)[groups] + 0.5
    table = contact_scale * contact_table(mixture.elements)
    # Flat faces would pack at the distance of two ion layers; what sticks out of a rough face is pushed aside.
    for gap in np.arange(CLOSEST_GAP, CLOSEST_GAP + float(table.max()) + 0.1, 0.25):
        pitch = extent + float(gap)
        cell = 2 * pitch * np.eye(3)
        packing = push_apart(every, turned + sites * pitch, cell, table, groups=groups, sweeps=SWEEPS)
        if packing.violations == 0 and packing.largest_displacement <= LARGEST_PUSH:
            break
    atoms = Atoms(numbers=every, positions=packing.positions, cell=cell, pbc=True, tags=groups)
    atoms.set_array(GRAIN, groups)
    atoms = sort_by_element(atoms)
    atoms.wrap()
    atoms.info['mixture'] = mixture.name
    deviation = len(atoms) / n_atoms - 1
    report: dict[str, Any] = {
        'mixture': mixture.name,
        'n_atoms': len(atoms),
        'n_atoms_requested': int(n_atoms),
        'n_atoms_deviation': round(deviation, 5),
        'formula_units': len(atoms) // mixture.atoms_per_unit,
        'equal_particles': equal,
        'particle': particles[0].report,
        'particles': [_summary(particle) for particle in particles],
        'interface_normals': ['xyz'[axis] for axis in axes],
        'rotations': [[[int(value) for value in row] for row in turn] for turn in turns],
        'sites': [list(site) for site in SITES],
        'cell_length_A': round(2 * pitch, 4),
        'gap_A': round(pitch - extent, 4),
        'largest_displacement_A': round(packing.largest_displacement, 4),
        'density_g_cm3': round(density(atoms), 4),
        'rule_density_g_cm3': round(mixture.rule_density, 4),
        'minimum_distance_A': round(minimum_distance(atoms), 4),
        'closest_particles_A': round(closest_approach(atoms), 4),
        'seed': int(seed),
        'warnings': list(dict.fromkeys(sentence for one in particles for sentence in one.report['warnings'])),
    }
    if abs(deviation) > TOLERATED_DEVIATION + 1e-9:
        report['warnings'].append(
            f'{n_atoms} atoms were asked for; whole formula units of {mixture} ({mixture.atoms_per_unit} atoms) come '
            f'nearest with {len(atoms)}'
        )
    report['warnings'] += check_structure(atoms, mixture, density_range=(0.2, 1.3), contact_scale=0.85 * contact_scale)
    return Assembly(atoms, report)


def closest_approach(atoms: Atoms, cutoff: float = 4.0) -> float:
    """Return the smallest distance between atoms of different particles, Å; infinite beyond the cutoff (Å)."""
    first, second, vectors = close_pairs(atoms.get_positions(), atoms.cell[:], cutoff)
    grains = atoms.get_array(GRAIN)
    apart = grains[first] != grains[second]
    return float(np.linalg.norm(vectors[apart], axis=1).min()) if apart.any() else float('inf')


def _summary(particle: Particle) -> dict[str, Any]:
    """Return what is said of each of eight particles."""
    return {name: particle.report[name] for name in ('salt_units', 'n_atoms', 'ions_trimmed', 'ions_added')}
