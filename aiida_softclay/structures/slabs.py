"""Multilayer slabs of two salts, [001] on [001], at a wanted molar ratio."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from ase import Atoms

from aiida_softclay.structures.checks import density
from aiida_softclay.structures.composition import Mixture, MixtureError
from aiida_softclay.structures.crystals import Phase
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.lattice_match import PlaneMatch, match_planes, plane_primitive
from aiida_softclay.structures.neighbours import contact_violations, heights, minimum_distance
from aiida_softclay.structures.supercells import sort_by_element


#: How many of the most promising slabs are really stacked and compared by density.
SHORTLIST = 6


class SlabError(ValueError):
    """No slab fits the wishes; the message says which to relax."""


@dataclass(frozen=True)
class Slab:
    """A periodic two-salt slab and how it came about.

    Attributes
    ----------
    atoms : ase.Atoms
        Cell with the interfaces normal to z; the array ``tags`` holds the index of the salt an atom comes from.
    report : dict
        Counts, strain, mismatch, interface gaps, density, smallest distance; JSON-serialisable.
    """

    atoms: Atoms
    report: dict[str, Any]


def carve_layer(phase: Phase, matrix: np.ndarray, target: np.ndarray, formula_units: int) -> Atoms:
    """Return a layer of whole formula units of a crystal, strained to a plane cell at constant volume.

    Of each element the atoms nearest to a middle plane are taken, as many as the formula units hold; where a plane
    of atoms is only partly needed, it is filled evenly and from both sides alternately. So the layer is neutral and,
    where the crystal's own terminations are polar, its surface charge is halved on both sides instead of left on one.

    Parameters
    ----------
    phase : Phase
        The salt.
    matrix : ndarray, shape (2, 2), int
        Supercell of the plane-primitive cell.
    target : ndarray, shape (2, 2), Å
        Cell the supercell is strained to.
    formula_units : int
        How many.

    Returns
    -------
    ase.Atoms
        Cell: ``target`` and the thickness that formula units of the crystal's volume fill; the layer's middle at z = 0.
    """
    base = plane_primitive(phase.to_atoms())
    units_per_cell = len(base) // sum(phase.composition.values())
    plane_cells = round(abs(float(np.linalg.det(matrix))))
    spacing = base.get_volume() / float(np.linalg.norm(np.cross(base.cell[0], base.cell[1])))
    repeats = math.ceil(formula_units / (plane_cells * units_per_cell)) + 2
    fractional = base.get_scaled_positions() % 1.0
    span = range(-int(np.abs(matrix).sum()), int(np.abs(matrix).sum()) + 1)
    shifts = np.array([(i, j) for i in span for j in span])
    plane = np.linalg.inv(matrix)
    positions, numbers = [], []
    lateral = base.cell[2, :2] @ np.linalg.inv(base.cell[:2, :2])
    for layer in range(repeats):
        # The third vector may lean: what it moves sideways is taken along, in units of the plane cell.
        flat = fractional[:, :2] + (fractional[:, 2:] + layer) * lateral
        scaled = (flat[:, None] + shifts[None]) @ plane
        inside = np.all((scaled > -1e-7) & (scaled < 1 - 1e-7), axis=2)
        owner, shift = np.nonzero(inside)
        z = (fractional[owner, 2] + layer) * spacing
        positions.append(np.column_stack([scaled[owner, shift], z]))
        numbers.append(base.get_atomic_numbers()[owner])
    points, species = np.concatenate(positions), np.concatenate(numbers)
    wanted = {symbol: count * formula_units for symbol, count in phase.composition.items()}
    symbols = np.array(Atoms(numbers=species).get_chemical_symbols())
    height = repeats * spacing
    planes = np.unique(np.round(points[:, 2], 4))
    middle = height / 2
    near = planes[np.abs(planes - middle) <= spacing / 2 + 1e-6]
    candidates = np.unique(np.round(np.concatenate([near, (near[1:] + near[:-1]) / 2]), 6))
    best: tuple[float, float, np.ndarray] | None = None
    for centre in candidates:
        chosen, cost = _select(points, symbols, wanted, float(centre))
        if best is None or cost < best[0] - 1e-6:
            best = (cost, float(centre), chosen)
    assert best is not None  # noqa: S101 - there is always a plane of atoms near the middle
    _, centre, chosen = best
    squeeze = plane_cells * abs(np.linalg.det(base.cell[:2, :2])) / abs(np.linalg.det(target))
    thickness = formula_units * phase.volume / abs(np.linalg.det(target))
    xyz = np.column_stack([points[chosen, :2] @ target, (points[chosen, 2] - centre) * squeeze])
    cell = np.zeros((3, 3))
    cell[:2, :2] = target
    cell[2, 2] = thickness
    return Atoms(numbers=species[chosen], positions=xyz, cell=cell, pbc=True)


def _select(
    points: np.ndarray, symbols: np.ndarray, wanted: dict[str, int], centre: float
) -> tuple[np.ndarray, float]:
    """Return the atoms nearest to a plane, so many of each element, and how lopsided the choice is."""
    chosen: list[int] = []
    dipole = 0.0
    for symbol, count in wanted.items():
        members = np.flatnonzero(symbols == symbol)
        distance = np.round(np.abs(points[members, 2] - centre), 4)
        taken: list[int] = []
        for level in np.unique(distance):
            shell = members[distance == level]
            room = count - len(taken)
            if room <= 0:
                break
            if len(shell) > room:
                shell = _spread(points, shell, room, centre)
            taken += shell.tolist()
        chosen += taken
        dipole += abs(float((points[taken, 2] - centre).mean()))
    order = np.array(chosen)
    spread = float(points[order, 2].max() - points[order, 2].min())
    return order, dipole + 0.01 * spread


def _spread(points: np.ndarray, members: np.ndarray, count: int, centre: float) -> np.ndarray:
    """Return ``count`` atoms of a layer, evenly over the plane, as many above the centre as below."""
    above = members[points[members, 2] > centre + 1e-6]
    below = members[points[members, 2] <= centre + 1e-6]
    larger, smaller = (above, below) if len(above) >= len(below) else (below, above)
    first = min(math.ceil(count / 2), len(larger))
    second = min(count - first, len(smaller))
    first = count - second
    result = []
    for group, number in ((larger, first), (smaller, second)):
        picked: list[int] = []
        for _ in range(number):
            rest = [index for index in group if index not in picked]
            if not picked:
                picked.append(int(rest[0]))
                continue
            gaps = points[rest][:, None, :2] - points[picked][None, :, :2]
            gaps -= np.rint(gaps)
            picked.append(int(rest[int(np.argmax(np.round((gaps**2).sum(axis=2).min(axis=1), 6)))]))
        result += picked
    return np.array(result, dtype=int)


def _stack(lower: Atoms, upper: Atoms, table: np.ndarray) -> tuple[Atoms, float, np.ndarray]:
    """Put two layers on each other as closely as the ions' radii allow; return the slab, the gap and the shift."""
    n_lower = len(lower)
    numbers = np.concatenate([lower.get_atomic_numbers(), upper.get_atomic_numbers()])
    groups = np.repeat([0, 1], [n_lower, len(upper)])
    low, high = lower.get_positions(), upper.get_positions()
    low[:, 2] -= low[:, 2].min()
    high[:, 2] -= high[:, 2].min()
    tops = low[:, 2].max(), high[:, 2].max()
    nominal = lower.cell[2, 2] + upper.cell[2, 2]

    def place(gap: float, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cell = lower.cell[:].copy()
        cell[2] = (0, 0, tops[0] + tops[1] + 2 * gap)
        moved = high + np.array([*shift, tops[0] + gap])
        return np.concatenate([low, moved]), cell

    def fits(gap: float, shift: np.ndarray) -> bool:
        positions, cell = place(gap, shift)
        return len(contact_violations(numbers, positions, cell, table, groups)[0]) == 0

    # Rough layers may interlock, but not by more than leaves the slab at the density of its salts.
    least = max(0.5 * (nominal - tops[0] - tops[1]), -0.45 * min(tops))
    best: tuple[float, np.ndarray] | None = None
    for u, v in itertools.product((0.0, 0.25, 0.5, 0.75), repeat=2):
        shift = np.array([u, v]) @ lower.cell[:2, :2]
        ceiling = 5.0 if best is None else best[0] - 0.01
        if ceiling < least or not fits(ceiling, shift):
            continue
        bottom, top = least, ceiling
        if fits(least, shift):
            best = (least, shift)
            break
        while top - bottom > 0.01:
            trial = 0.5 * (bottom + top)
            bottom, top = (bottom, trial) if fits(trial, shift) else (trial, top)
        best = (top, shift)
    if best is None:
        raise SlabError('the two salts cannot be stacked without ions too close: lower the strain or the atom count')
    positions, cell = place(*best)
    return Atoms(numbers=numbers, positions=positions, cell=cell, pbc=True, tags=groups), best[0], best[1]


def _counts(mixture: Mixture, max_atoms: int) -> list[tuple[int, int]]:
    """Return pairs of formula units of the two salts: those with the exact ratio, or else the nearest ratios."""
    units = mixture.formula_units
    exact = [(units[0] * k, units[1] * k) for k in range(1, max_atoms // mixture.atoms_per_unit + 1)]
    if exact:
        return exact
    sizes = [sum(entry.composition.values()) for entry in mixture.phases]
    wanted = math.log(units[0] / units[1])
    pairs = [
        (i, j)
        for i in range(1, max_atoms // sizes[0] + 1)
        for j in range(1, (max_atoms - i * sizes[0]) // sizes[1] + 1)
    ]
    if not pairs:
        raise SlabError(f'{max_atoms} atoms hold no formula unit of each salt of {mixture}: raise max_atoms')
    nearest = min(abs(math.log(i / j) - wanted) for i, j in pairs)
    return [(i, j) for i, j in pairs if abs(math.log(i / j) - wanted) < nearest + 1e-9]


def interface_slab(
    mixture: Mixture,
    *,
    min_length: float = 10.0,
    max_atoms: int = 400,
    n_atoms: int | None = None,
    thickness: float | None = None,
    max_strain: float = 0.06,
) -> Slab:
    """Return a multilayer slab [001] salt A | [001] salt B (gupta2023, Methods).

    Among all common in-plane cells and numbers of formula units that fulfil the wishes, those with the atom count
    nearest to ``n_atoms`` (or the fewest atoms) are taken, and of these the one with the least strain.

    Parameters
    ----------
    mixture : Mixture
        Exactly two salts.
    min_length : float
        Smallest distance between opposite faces of the cell, Å.
    max_atoms : int
        Largest number of atoms.
    n_atoms : int, optional
        Wanted number of atoms; as few as possible if not given.
    thickness : float, optional
        Smallest height of the stack (both salts), Å; ``min_length`` if not given.
    max_strain : float
        Largest principal strain either salt may bear, as a fraction; their volumes are kept.

    Returns
    -------
    Slab

    Raises
    ------
    SlabError
        If nothing fits; the message says what to relax.
    """
    if len(mixture.salts) != 2:
        raise MixtureError(f'a slab needs two salts, {mixture} has {len(mixture.salts)}')
    for value, what in ((min_length, 'min_length'), (max_strain, 'max_strain'), (thickness, 'thickness')):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise SlabError(f'{what} must be positive, not {value}')
    if n_atoms is not None and n_atoms > max_atoms:
        raise SlabError(f'n_atoms = {n_atoms} is more than max_atoms = {max_atoms}')
    height = max(min_length, thickness or 0.0)
    phases = mixture.phases
    table = contact_table(mixture.elements)
    cells = [plane_primitive(entry.to_atoms()).cell[:2, :2] for entry in phases]
    counts = _counts(mixture, max_atoms)
    per_atom = mixture.unit_volume / mixture.atoms_per_unit
    volumes = {pair: sum(n * entry.volume for n, entry in zip(pair, phases, strict=True)) for pair in counts}
    # The area is raised step by step: a wide cell takes many atoms, and the number of lattice matches grows with the
    # fourth power of its width.
    largest_area = max(volumes.values()) / height
    area = min(largest_area, 1.5 * max(min_length**2, 0.0 if n_atoms is None else n_atoms * per_atom / height))
    while True:
        options = _options(mixture, cells, volumes, area, (min_length, height, max_strain), n_atoms)
        if options or area >= largest_area:
            break
        area = min(largest_area, 1.4 * area)
    if not options:
        raise SlabError(_refusal(mixture, cells, min_length, height, max_atoms, max_strain))
    closest = min(option[0] for option in options)
    slack = 0.02 * n_atoms if n_atoms is not None else 0.1 * closest
    shortlist = sorted((o for o in options if o[0] <= closest + slack), key=lambda o: (round(o[1], 6), o[0], o[2]))
    best: tuple[float, Atoms, float, np.ndarray, tuple[int, int], PlaneMatch] | None = None
    for _, _, _, pair, match in shortlist[:SHORTLIST]:
        layers = [
            carve_layer(entry, matrix, match.cell, number)
            for entry, matrix, number in zip(phases, match.matrices, pair, strict=True)
        ]
        stacked, gap, shift = _stack(layers[0], layers[1], table)
        cost = match.strain + 0.25 * abs(1 - density(stacked) / mixture.rule_density)
        if best is None or cost < best[0] - 1e-6:
            best = (cost, stacked, gap, shift, pair, match)
    assert best is not None  # noqa: S101 - the shortlist is not empty
    _, stacked, gap, shift, pair, match = best
    atoms = sort_by_element(stacked)
    atoms.wrap()
    atoms.info['mixture'] = mixture.name
    ratio = Fraction(pair[0], pair[1])
    wanted = Fraction(mixture.formula_units[0], mixture.formula_units[1])
    report = {
        'mixture': mixture.name,
        'n_atoms': len(atoms),
        'formula_units': dict(zip(mixture.salts, pair, strict=True)),
        'requested_ratio': float(wanted),
        'ratio': float(ratio),
        'exact_ratio': ratio == wanted,
        'plane_cells': {
            salt: round(abs(float(np.linalg.det(matrix))))
            for salt, matrix in zip(mixture.salts, match.matrices, strict=True)
        },
        'principal_strains': {
            salt: [round(value - 1, 5) for value in pair_]
            for salt, pair_ in zip(mixture.salts, match.stretches, strict=True)
        },
        'largest_strain': round(match.strain, 5),
        'interface_gap_A': round(float(gap), 3),
        'lateral_shift_A': [round(float(value), 3) for value in shift],
        'cell_heights_A': [round(float(value), 4) for value in heights(atoms.cell[:])],
        'density_g_cm3': round(density(atoms), 4),
        'rule_density_g_cm3': round(mixture.rule_density, 4),
        'minimum_distance_A': round(minimum_distance(atoms), 4),
        'warnings': [],
    }
    if ratio != wanted:
        report['warnings'].append(
            f'{mixture} needs {mixture.atoms_per_unit} atoms for its exact ratio, more than the {max_atoms} allowed: '
            f'the slab has {float(ratio):.4g} instead of {float(wanted):.4g}'
        )
    return Slab(atoms, report)


def _options(
    mixture: Mixture,
    cells: list[np.ndarray],
    volumes: dict[tuple[int, int], float],
    max_area: float,
    limits: tuple[float, float, float],
    n_atoms: int | None,
) -> list[tuple[float, float, float, tuple[int, int], PlaneMatch]]:
    """Return all slabs within the limits: distance from the wanted size, demerit, area, formula units, match."""
    min_length, height, max_strain = limits
    sizes = [sum(entry.composition.values()) for entry in mixture.phases]
    options = []
    for match in match_planes(cells[0], cells[1], min_length=min_length, max_area=max_area, max_strain=max_strain):
        for pair, volume in volumes.items():
            if volume / match.area < height:
                continue
            size = pair[0] * sizes[0] + pair[1] * sizes[1]
            distance = float(size if n_atoms is None else abs(size - n_atoms))
            rough = sum(
                _partial(n, entry, m) for n, entry, m in zip(pair, mixture.phases, match.matrices, strict=True)
            )
            options.append((distance, match.strain + 0.05 * rough, match.area, pair, match))
    return options


def _partial(units: int, phase: Phase, matrix: np.ndarray) -> float:
    """Return how far the number of formula units is from filling whole atomic layers of the crystal (0 to 0.5)."""
    base = plane_primitive(phase.to_atoms())
    per_cell = len(base) // sum(phase.composition.values())
    levels = len(np.unique(np.round(base.get_scaled_positions()[:, 2] % 1.0, 3)))
    per_layer = per_cell / max(1, levels // len(phase.composition)) * round(abs(float(np.linalg.det(matrix))))
    return abs(units / per_layer - round(units / per_layer))


def _refusal(
    mixture: Mixture, cells: list[np.ndarray], min_length: float, height: float, max_atoms: int, max_strain: float
) -> str:
    """Return what to change so that a slab exists."""
    wish = f'no slab of {mixture} with at most {max_atoms} atoms is {min_length:g} Å wide and {height:g} Å high'
    smallest = min_length**2 * height
    needed = math.ceil(smallest / mixture.unit_volume) * mixture.atoms_per_unit
    if needed > max_atoms:
        return f'{wish}: that takes about {needed} atoms; raise max_atoms or lower min_length'
    area = max_atoms / mixture.atoms_per_unit * mixture.unit_volume / height
    relaxed = match_planes(cells[0], cells[1], min_length=min_length, max_area=area, max_strain=0.25)
    if relaxed:
        return (
            f'{wish} with a strain of at most {max_strain:.1%}: the least is {relaxed[0].strain:.1%}; '
            'raise max_strain or max_atoms'
        )
    return f'{wish}; raise max_atoms or max_strain, or lower min_length'
