"""Cubic particles of whole, neutral formula units, cut from a repeated slab."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from aiida_softclay.structures.checks import composition_units, total_charge
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.neighbours import contact_violations, heights

#: Positions of the cube that are tried; the one that needs the fewest ions trimmed or added is cut.
CENTRES = 256
#: Fraction of the smallest acceptable distance below which two ions of a slab are on top of each other: no thermal
#: motion brings them so close.
OVERLAP = 0.6
#: A particle of which a larger fraction comes from outside the cube is not cubic, and the slab not of its composition.
LARGEST_ADDED = 0.1


class ParticleError(ValueError):
    """A particle that cannot be cut; the message says why."""


@dataclass(frozen=True)
class Particle:
    """A free-standing cubic particle and how it was cut.

    Attributes
    ----------
    atoms : ase.Atoms
        Without cell, centred on the origin, edges along x, y, z, the normal of the interfaces along z.
    edge : float
        Edge of the cube that its atoms fill at the density of the slab, Å.
    report : dict
        JSON-serialisable.
    """

    atoms: Atoms
    edge: float
    report: dict[str, Any]


def upright_frame(cell: np.ndarray) -> np.ndarray:
    """Return the rotation that puts a along x and the normal of the ab plane along z.

    Parameters
    ----------
    cell : ndarray, shape (3, 3), Å
        Rows are the lattice vectors.

    Returns
    -------
    ndarray, shape (3, 3)
        Orthogonal; ``positions @ frame.T`` turns row vectors.
    """
    first = cell[0] / np.linalg.norm(cell[0])
    normal = np.cross(cell[0], cell[1])
    normal = normal / np.linalg.norm(normal)
    if float(normal @ cell[2]) < 0:
        normal = -normal
    return np.array([first, np.cross(normal, first), normal])


def upright(slab: Atoms) -> Atoms:
    """Return the slab turned so that a is along x and the normal of the ab plane along z."""
    frame = upright_frame(slab.cell[:])
    turned = slab.copy()
    turned.set_cell(slab.cell[:] @ frame.T)
    turned.set_positions(slab.get_positions() @ frame.T)
    return turned


def _checked(slab: Atoms, mixture: Mixture, formula_units: int | Sequence[int], seed: int) -> tuple[int, ...]:
    """Return the formula units of each salt; refuse wishes and slabs of which no particle can be cut."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ParticleError(f'seed must be a whole number of at least 0, not {seed!r}')
    if isinstance(formula_units, int | np.integer):
        units = tuple(int(formula_units) * number for number in mixture.formula_units)
    else:
        units = tuple(int(number) for number in formula_units)
    if len(units) != len(mixture.salts):
        raise ParticleError(f'{mixture} has {len(mixture.salts)} salts, but formula units of {len(units)} are given')
    if min(units) < 0 or max(units) < 1:
        raise ParticleError(f'a particle needs at least one formula unit of {mixture}, not {formula_units}')
    present = set(slab.get_chemical_symbols())
    if present != set(mixture.elements):
        raise ParticleError(
            f'the slab is made of {", ".join(sorted(present))}, but {mixture} of {", ".join(sorted(mixture.elements))}'
        )
    if abs(np.linalg.det(slab.cell[:])) < 1e-6:
        raise ParticleError('the slab has no periodic cell, so it cannot be repeated to cut a particle')
    first, second, vectors, overlap = contact_violations(
        slab.get_atomic_numbers(), slab.get_positions(), slab.cell[:], OVERLAP * contact_table(mixture.elements)
    )
    if len(first):
        worst, symbols = int(np.argmax(overlap)), slab.get_chemical_symbols()
        raise ParticleError(
            f'ions of the slab overlap: {symbols[first[worst]]} {first[worst]} and {symbols[second[worst]]} '
            f'{second[worst]} are {np.linalg.norm(vectors[worst]):.2f} Å apart; relax or equilibrate it first'
        )
    return units


def cut_particle(slab: Atoms, mixture: Mixture, formula_units: int | Sequence[int], *, seed: int = 0) -> Particle:
    """Return a cubic particle of exactly so many formula units of the mixture.

    The slab is repeated periodically as far as the cube reaches. A cube of the wanted volume is laid at many
    positions; where its content is nearest to the wanted composition it is cut, and of each element the surplus
    farthest out is trimmed or the lack made up by the next ions outside the faces. So atoms may have mixed over the
    interface (as they have after ab initio equilibration) and the particle is still exact and neutral.

    Parameters
    ----------
    slab : ase.Atoms
        Periodic; a and b span the interface plane.
    mixture : Mixture
        What the particle is made of.
    formula_units : int or sequence of int
        Formula units of the whole mixture, or of each of its salts.
    seed : int
        For the positions that are tried.

    Returns
    -------
    Particle

    Raises
    ------
    ParticleError
        If the slab is not made of the mixture's elements or its ions overlap, or a number makes no sense.
    """
    units = _checked(slab, mixture, formula_units, seed)
    counts = Counter(slab.get_chemical_symbols())
    wanted = {element: number for element, number in mixture.count_atoms(units).items() if number}
    slab = upright(slab)
    cell = slab.cell[:]
    edge = (sum(wanted.values()) / len(slab) * slab.get_volume()) ** (1 / 3)
    # The scarcest element decides how large a piece of the slab holds the particle's atoms.
    scale = max(wanted[element] / counts[element] for element in wanted)
    reach = 0.75 * (scale * slab.get_volume()) ** (1 / 3) + 4.0
    generator = np.random.default_rng(seed)
    centres = generator.random((CENTRES, 3)) @ cell

    fractional = slab.get_scaled_positions(wrap=True)
    margin = reach / heights(cell)
    spans = [range(-math.ceil(m), math.ceil(m) + 1) for m in margin]
    shifts = np.array(list(itertools.product(*spans)))
    images = (fractional[:, None] + shifts[None]).reshape(-1, 3)
    index = np.repeat(np.arange(len(slab)), len(shifts))
    near = np.all((images > -margin) & (images < 1 + margin), axis=1)
    positions, index = images[near] @ cell, index[near]
    symbols = np.array(slab.get_chemical_symbols())[index]

    trees = {element: cKDTree(positions[symbols == element]) for element in wanted}
    inside = {
        element: tree.query_ball_point(centres, 0.5 * edge, p=np.inf, return_length=True)
        for element, tree in trees.items()
    }
    misfit = np.sum([np.abs(inside[element] - wanted[element]) for element in wanted], axis=0)
    best = int(np.argmin(misfit))
    centre = centres[best]

    chosen: list[np.ndarray] = []
    for element, number in wanted.items():
        members = np.flatnonzero(symbols == element)
        distance = np.abs(positions[members] - centre).max(axis=1)
        if len(members) < number:
            raise ParticleError(f'the repeated slab holds only {len(members)} of the {number} {element} needed')
        chosen.append(members[np.argsort(np.round(distance, 9), kind='stable')[:number]])
    order = np.concatenate(chosen)
    atoms = Atoms(symbols=symbols[order], positions=positions[order] - centre, tags=slab.get_tags()[index[order]])
    atoms.info['mixture'] = mixture.name
    charge = total_charge(atoms, mixture)
    if abs(charge) > 1e-6:
        raise ParticleError(f'the particle would carry a charge of {charge:+g} e')
    found = {element: int(inside[element][best]) for element in wanted}
    extent = np.ptp(atoms.get_positions(), axis=0)
    trimmed = {element: max(0, found[element] - wanted[element]) for element in wanted}
    added = {element: max(0, wanted[element] - found[element]) for element in wanted}
    share = Fraction(sum(units), sum(mixture.formula_units))
    report = {
        'mixture': mixture.name,
        'formula_units': int(share) if share.denominator == 1 else float(share),
        'salt_units': dict(zip(mixture.salts, units, strict=True)),
        'n_atoms': len(atoms),
        'edge_A': round(edge, 4),
        'extent_A': [round(float(value), 4) for value in extent],
        'ions_in_cube': found,
        'ions_trimmed': trimmed,
        'ions_added': added,
        'charge_e': 0.0,
        'seed': seed,
        'warnings': [],
    }
    if composition_units(slab, mixture) is None and sum(added.values()) > LARGEST_ADDED * len(atoms):
        report['warnings'].append(
            f'{sum(added.values())} of the {len(atoms)} ions of a particle are from outside its cube: the slab is '
            f'{slab.get_chemical_formula()}, give one nearer to {mixture}'
        )
    return Particle(atoms, edge, report)
