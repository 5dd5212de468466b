"""Glasses from a chloroaluminate crystal: 2 Cl -> O + vacancy, cations adjusted, neutral and on composition."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.data import atomic_numbers
from scipy.spatial import cKDTree

from aiida_softclay.structures.checks import check_ions, density
from aiida_softclay.structures.crystals import AMU_PER_A3_IN_G_CM3, UnknownCrystalError, crystal, phase
from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.structures.molecular_packing import bonds_and_angles, pack_molecules
from aiida_softclay.structures.neighbours import close_pairs, heights, minimum_distance
from aiida_softclay.structures.oligomers import CATION_CATION, DENSITY_RANGE, molecular_table
from aiida_softclay.structures.oxychlorides import Oxychloride, OxychlorideError, rule_density
from aiida_softclay.structures.supercells import sort_by_element

#: Density of a substituted cell as a fraction of the rule of mixtures: 96 atoms of LiAlCl4 take 2552 Å³ as a crystal
#: and 2677 Å³ as a glass (qyang2025, section 2.1).
DENSITY_FRACTION = 0.953
#: Bond length of the new O to its metal, Å: that of the oxychloride trimer.
METAL_OXYGEN = 1.70
#: Smallest distances are packed with these factors, one after the other until the ions fit.
CONTACT_SCALES = (1.05, 1.0, 0.95)
#: The contacts a substituted cell is checked with: its tetrahedra lost their order but not yet their crystal's places.
CHECK_SCALE = 0.95
#: Longest metal-anion bond of the crystal, Å.
LONGEST_BOND = 2.6
#: How far outside the cell atoms count when voids are looked for, Å: the voids of a crystal are smaller.
VOID_REACH = 8.0
CHLORINE, OXYGEN, VACANCY = 0, 1, 2


@dataclass(frozen=True)
class Substitution:
    """A substituted cell and how it came about.

    Attributes
    ----------
    atoms : ase.Atoms
        Periodic; the array ``molecule_id`` tells which tetrahedron an atom belongs to, cations have -1.
    report : dict
        Composition, counts, density, distances, seed; JSON-serialisable.
    """

    atoms: Atoms
    report: dict[str, Any]


@dataclass(frozen=True)
class Sites:
    """The crystal whose anions are exchanged.

    Attributes
    ----------
    atoms : ase.Atoms
        Supercell of the parent.
    anions, metals, cations : ndarray, int
        Indices of each kind.
    owners : ndarray, shape (n_anions,), int
        Which metal (0 to n_metals - 1) each anion is bonded to.
    vectors : ndarray, shape (n_anions, 3), Å
        From that metal to the anion.
    """

    atoms: Atoms
    anions: np.ndarray
    metals: np.ndarray
    cations: np.ndarray
    owners: np.ndarray
    vectors: np.ndarray


def parent_sites(parent: str, repeat: Sequence[int]) -> Sites:
    """Return the sites of a supercell of a crystal of MX4 tetrahedra.

    Raises
    ------
    OxychlorideError
        If the crystal is not made of such tetrahedra.
    """
    numbers = [int(value) for value in repeat]
    if len(numbers) != 3 or min(numbers) < 1:
        raise OxychlorideError(f'repeat is three positive whole numbers, not {list(repeat)}')
    atoms = crystal(parent).repeat(numbers)
    symbols = np.array(atoms.get_chemical_symbols())
    charges = np.array([IONIC_RADII[symbol][1] for symbol in symbols])
    metals, anions, cations = (np.flatnonzero(charges == value) for value in (3, -1, 1))
    first, second, vectors = close_pairs(atoms.get_positions(), atoms.cell[:], LONGEST_BOND)
    swapped = np.isin(second, metals)
    centre, other = np.where(swapped, second, first), np.where(swapped, first, second)
    vectors = np.where(swapped[:, None], -vectors, vectors)
    bonded = np.isin(centre, metals) & np.isin(other, anions)
    order = np.argsort(other[bonded], kind='stable')
    if not np.array_equal(other[bonded][order], anions) or len(anions) != 4 * len(metals):
        raise OxychlorideError(f'{parent} is not made of separate tetrahedra of four Cl: choose LiAlCl4 or NaAlCl4')
    owners = np.searchsorted(metals, centre[bonded][order])
    return Sites(atoms, anions, metals, cations, owners, vectors[bonded][order])


def draw_choice(sites: Sites, n_oxygen: int, n_vacant: int, generator: np.random.Generator) -> np.ndarray:
    """Return what becomes of each anion, drawn so that no tetrahedron changes more than it must.

    Oxygen goes to the tetrahedra in turn, in a drawn order; vacancies go to those that have lost fewest and, among
    these, hold least oxygen, since a tetrahedron with a vacancy takes a neighbour's O as a bridge.

    Returns
    -------
    ndarray, shape (n_anions,), int
        0 stays Cl, 1 becomes O, 2 is left out.
    """
    kinds = np.zeros(len(sites.anions), dtype=int)
    n_metals = len(sites.metals)
    for kind, number in ((OXYGEN, n_oxygen), (VACANCY, n_vacant)):
        for _ in range(number):
            lost = np.bincount(sites.owners[kinds == kind], minlength=n_metals)
            other = np.bincount(sites.owners[kinds == OXYGEN], minlength=n_metals)
            free = np.bincount(sites.owners[kinds == CHLORINE], minlength=n_metals)
            rank = np.where(free > 0, (n_metals + 1) * lost + other, np.iinfo(int).max)
            metal = generator.choice(np.flatnonzero(rank == rank.min()))
            kinds[generator.choice(np.flatnonzero((sites.owners == metal) & (kinds == CHLORINE)))] = kind
    return kinds


def anion_permutations(parent: str, repeat: Sequence[int]) -> np.ndarray:
    """Return how the symmetry of a crystal's supercell permutes its anions.

    All operations of the space group that keep the supercell, with all translations of the crystal.

    Returns
    -------
    ndarray, shape (n_operations, n_anions), int
        ``kinds[permutation]`` is the choice as the operation carries it.
    """
    base = crystal(parent)
    found = spglib.get_symmetry((base.cell[:], base.get_scaled_positions(), base.numbers), symprec=1e-3)
    if found is None:
        raise OxychlorideError(f'the symmetry of {parent} was not found')
    numbers = np.array([int(value) for value in repeat])
    sites = parent_sites(parent, repeat)
    scaled = sites.atoms.get_scaled_positions()[sites.anions]
    tree = cKDTree(np.mod(scaled, 1.0), boxsize=1.0)
    shifts = np.stack(np.meshgrid(*(np.arange(n) for n in numbers), indexing='ij'), axis=-1).reshape(-1, 3)
    permutations = []
    for rotation, translation in zip(found['rotations'], found['translations'], strict=True):
        # In units of the supercell the rotation is S^-1 R S; it keeps the supercell if that is a whole matrix.
        inside = rotation * numbers[None, :] / numbers[:, None]
        if not np.allclose(inside, np.rint(inside)):
            continue
        for shift in shifts:
            moved = np.mod(scaled @ inside.T + (translation + shift) / numbers, 1.0)
            distance, image = tree.query(np.where(moved > 1 - 1e-9, 0.0, moved))
            if distance.max() < 1e-3:
                permutations.append(image)
    return np.unique(np.array(permutations, dtype=int), axis=0)


def canonical_choice(kinds: np.ndarray, permutations: np.ndarray) -> bytes:
    """Return the same bytes for all choices that symmetry carries into each other, and for no others."""
    images = np.ascontiguousarray(kinds[permutations].astype(np.uint8))
    return min(row.tobytes() for row in images)


def distinct_choices(
    sites: Sites, permutations: np.ndarray, n_oxygen: int, n_vacant: int, seed: int, *, patience: int = 2000
) -> Iterator[np.ndarray]:
    """Yield drawn choices none of which symmetry carries into another; end after ``patience`` draws bring none."""
    generator = np.random.default_rng(seed)
    seen: set[bytes] = set()
    barren = 0
    while barren < patience:
        kinds = draw_choice(sites, n_oxygen, n_vacant, generator)
        code = canonical_choice(kinds, permutations)
        if code in seen:
            barren += 1
            continue
        seen.add(code)
        barren = 0
        yield kinds


def void_positions(
    positions: np.ndarray, clearances: np.ndarray, cell: np.ndarray, number: int, generator: np.random.Generator
) -> np.ndarray:
    """Return places for more cations, as far from everything as there are.

    Parameters
    ----------
    positions : ndarray, shape (n, 3), Å
    clearances : ndarray, shape (n,), Å
        Smallest distance a cation should have from each atom.
    cell : ndarray, shape (3, 3), Å
    number : int
    generator : numpy.random.Generator
        Draws the places that are compared.

    Returns
    -------
    ndarray, shape (number, 3), Å
    """
    places: list[np.ndarray] = []
    trials = generator.random((max(500, 60 * number), 3)) @ cell
    inverse = np.linalg.inv(cell)
    images, owners = _with_images(positions, cell, VOID_REACH)
    score = np.full(len(trials), np.inf)
    for clearance in np.unique(clearances):
        tree = cKDTree(images[clearances[owners] == clearance])
        score = np.minimum(score, tree.query(trials)[0] / clearance)
    for _ in range(number):
        best = int(np.argmax(score))
        places.append(trials[best])
        gaps = (trials - trials[best]) @ inverse
        gaps -= np.rint(gaps)
        score = np.minimum(score, np.linalg.norm(gaps @ cell, axis=1) / (1.2 * CATION_CATION))
    return np.array(places).reshape(-1, 3)


def _with_images(positions: np.ndarray, cell: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return atoms wrapped into the cell with their images up to a distance outside it, and whose image each is."""
    fractional = np.mod(positions @ np.linalg.inv(cell), 1.0)
    margin = reach / heights(cell)
    images, owners = [], []
    for shift in itertools.product(*(range(-n, n + 1) for n in np.ceil(margin).astype(int))):
        moved = fractional + np.array(shift)
        inside = np.flatnonzero(((moved > -margin) & (moved < 1 + margin)).all(axis=1))
        images.append(moved[inside] @ cell)
        owners.append(inside)
    return np.concatenate(images), np.concatenate(owners)


def substituted_crystal(
    composition: str,
    *,
    parent: str | None = None,
    repeat: Sequence[int] = (2, 2, 1),
    seed: int = 0,
    choice: int = 0,
    density_fraction: float | None = None,
    density_g_cm3: float | None = None,
) -> Substitution:
    """Return a supercell of MAlCl4 with 2 Cl -> O + vacancy and its cations adjusted.

    A composition M_x Al O_y Cl_z is neutral if z = 3 + x - 2y: it has y O for each Al where Cl was, 4 - y - z empty Cl
    sites, and x cations, taken out at random or put into voids. The tetrahedra that are left move together to the
    density as whole bodies; what then comes too close is pushed apart with bonds and angles kept.

    Parameters
    ----------
    composition : str
        For example ``LiAlO0.75Cl2.5``; the parent's own formula leaves the crystal as it is.
    parent : str, optional
        Crystal; ``LiAlCl4`` for Li and Al, ``NaAlCl4`` for Na and Al, … if not given.
    repeat : sequence of int
        Cells of the parent along its vectors; 2×2×1 of LiAlCl4 has 96 atoms.
    seed : int
        Draws sites and cations.
    choice : int
        Which of the choices of this seed that no symmetry relates.
    density_fraction : float, optional
        Density as a fraction of the rule of mixtures; 0.953 if the crystal is changed at all.
    density_g_cm3 : float, optional
        Density in g/cm³ instead.

    Returns
    -------
    Substitution

    Raises
    ------
    OxychlorideError
        If the composition is not neutral, does not fit the cell, or leaves no room; the message says what to change.
    """
    wanted = Oxychloride.parse(composition)
    name = parent or f'{wanted.cation}{wanted.metal}Cl4'
    try:
        entry = phase(name)
    except UnknownCrystalError as error:
        raise OxychlorideError(f'there is no crystal {name} to start from: {error}') from error
    sites = parent_sites(entry.id, repeat)
    n_metals = len(sites.metals)
    counts = wanted.counts(n_metals)
    n_vacant = 4 * n_metals - counts['O'] - counts['Cl']
    if n_vacant < 0:
        raise OxychlorideError(f'{wanted.formula} has more anions than {entry.id} has sites')
    if set(entry.composition) != {wanted.cation, wanted.metal, 'Cl'}:
        raise OxychlorideError(f'{entry.id} is not of the elements of {wanted.formula}')
    kinds = _choice(sites, entry.id, repeat, (counts['O'], n_vacant), seed, choice)
    generator = np.random.default_rng([seed, choice])
    rule = rule_density(counts)
    pristine = not counts['O'] and counts[wanted.cation] == n_metals
    if density_g_cm3 is None and not (pristine and density_fraction is None) and rule is not None:
        density_g_cm3 = (density_fraction or DENSITY_FRACTION) * rule
    atoms, largest_move, bond_error, scale = _assemble(
        sites, kinds, wanted, counts[wanted.cation], density_g_cm3, generator
    )
    report = {
        'composition': wanted.formula,
        'parent': entry.id,
        'repeat': [int(value) for value in repeat],
        'n_atoms': len(atoms),
        'counts': {element: number for element, number in counts.items() if number},
        'empty_chlorine_sites': n_vacant,
        'cations_added': counts[wanted.cation] - n_metals,
        'density_g_cm3': density(atoms),
        'rule_density_g_cm3': rule,
        'cell_heights_A': [round(float(value), 4) for value in heights(atoms.cell[:])],
        'minimum_distance_A': minimum_distance(atoms),
        'largest_displacement_A': largest_move,
        'largest_bond_error': bond_error,
        'contact_scale': scale,
        'seed': seed,
        'choice': choice,
        'warnings': [] if rule is not None else ['the density was not compared: no rule of mixtures for this glass'],
    }
    charges = {element: float(IONIC_RADII[element][1]) for element in set(atoms.get_chemical_symbols())}
    problems = check_ions(atoms, charges, rule_density=rule, density_range=DENSITY_RANGE, contact_scale=CHECK_SCALE)
    if Counter(atoms.get_chemical_symbols()) != Counter({el: number for el, number in counts.items() if number}):
        problems.append(f'the cell holds {atoms.get_chemical_formula()} instead of {report["counts"]}')
    if problems:
        raise OxychlorideError(f'the cell of {wanted.formula} is not sound: {"; ".join(problems)}')
    return Substitution(atoms, report)


def _choice(
    sites: Sites, parent: str, repeat: Sequence[int], numbers: tuple[int, int], seed: int, choice: int
) -> np.ndarray:
    """Return the choice of this number that no symmetry relates to the earlier ones of the seed."""
    if choice < 0:
        raise OxychlorideError(f'the choice is counted from 0, not {choice}')
    if choice == 0:
        return draw_choice(sites, *numbers, np.random.default_rng(seed))
    for index, kinds in enumerate(distinct_choices(sites, anion_permutations(parent, repeat), *numbers, seed)):
        if index == choice:
            return kinds
    raise OxychlorideError(f'the cell has no {choice + 1} choices of sites that symmetry does not relate')


def _assemble(
    sites: Sites, kinds: np.ndarray, wanted: Oxychloride, n_cations: int, target: float | None,
    generator: np.random.Generator,
) -> tuple[Atoms, float, float, float]:  # fmt: skip
    """Return the cell with its ions at the wanted density, how far ions moved, the bond error and the contact scale."""
    kept = np.flatnonzero(kinds != VACANCY)
    centres = sites.atoms.get_positions()[sites.metals]
    arms = sites.vectors[kept].copy()
    oxygen = kinds[kept] == OXYGEN
    arms[oxygen] *= METAL_OXYGEN / np.linalg.norm(arms[oxygen], axis=1, keepdims=True)
    lithium = sites.atoms.get_positions()[sites.cations]
    if n_cations < len(lithium):
        lithium = lithium[np.sort(generator.choice(len(lithium), n_cations, replace=False))]
    cell = sites.atoms.cell[:].copy()
    symbols = [wanted.metal] * len(centres) + ['O' if is_oxygen else 'Cl' for is_oxygen in oxygen]
    model = Atoms(symbols + [wanted.cation] * n_cations)
    factor = 1.0
    if target is not None:
        if not (math.isfinite(target) and target > 0):
            raise OxychlorideError(f'the density must be positive, not {target}')
        volume = model.get_masses().sum() / target * AMU_PER_A3_IN_G_CM3
        factor = float((volume / abs(np.linalg.det(cell))) ** (1 / 3))
    cell, centres, lithium = factor * cell, factor * centres, factor * lithium
    owners = sites.owners[kept]
    frame = np.concatenate([centres, centres[owners] + arms])
    if n_cations > len(lithium):
        table = molecular_table(wanted.cation, wanted.metal)
        clearances = np.array([table[atomic_numbers[wanted.cation], number] for number in Atoms(symbols).numbers])
        everything = np.concatenate([frame, lithium])
        reach = np.concatenate([clearances, np.full(len(lithium), 1.2 * CATION_CATION)])
        added = void_positions(everything, reach, cell, n_cations - len(lithium), generator)
        lithium = np.concatenate([lithium, added])
    start = np.concatenate([frame, lithium])
    ids = np.concatenate([np.arange(len(centres)), owners, np.full(n_cations, -1)])
    if target is None:
        atoms = Atoms(model.get_chemical_symbols(), positions=start, cell=cell, pbc=True)
        atoms.set_array('molecule_id', ids)
        return sort_by_element(atoms), 0.0, 0.0, 1.0
    bonds = np.stack([owners, len(centres) + np.arange(len(owners))], axis=1)
    pairs = bonds_and_angles(bonds, len(start))
    for scale in CONTACT_SCALES:
        table = molecular_table(wanted.cation, wanted.metal, scale)
        packing = pack_molecules(model.numbers, start, pairs, cell, table, generator=generator, expansion=1.0)
        if packing.fits:
            atoms = Atoms(model.get_chemical_symbols(), positions=packing.positions, cell=cell, pbc=True)
            atoms.set_array('molecule_id', ids)
            moved = float(np.linalg.norm(packing.positions - start, axis=1).max())
            return sort_by_element(atoms), moved, packing.bond_error, scale
    raise OxychlorideError(
        f'{wanted.formula} does not fit at {target:.2f} g/cm^3: {packing.violations} pairs stay too close; lower the '
        'density or change the seed'
    )
