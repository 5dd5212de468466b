"""Multilayer slabs of two salts, [001] on [001], at a wanted molar ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms

from aiida_softclay.structures.checks import density
from aiida_softclay.structures.composition import Mixture, MixtureError
from aiida_softclay.structures.crystals import load_phases
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.lattice_match import PlaneMatch, match_planes, plane_primitive
from aiida_softclay.structures.layers import carve_layer
from aiida_softclay.structures.neighbours import heights, minimum_distance
from aiida_softclay.structures.stacking import press_together, stack_layers
from aiida_softclay.structures.supercells import sort_by_element

#: How many of the most promising slabs are really stacked and compared by density.
SHORTLIST = 5
#: Smallest cell width of the papers' ab initio sampling, Å (gupta2023, Methods).
PAPER_LENGTH = 10.0
#: Strains that are allowed one after the other where the caller sets no limit.
CLOSE_ENOUGH = 0.1
STRAINS = (0.06, 0.09, 0.12, 0.15)
#: Heights of the three slabs of one series, Å: this project's choice, the papers say only that there are three.
THICKNESSES = (10.0, 15.0, 20.0)


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
    min_length: float | None = None,
    max_atoms: int = 400,
    n_atoms: int | None = None,
    thickness: float | None = None,
    max_strain: float | None = None,
    density_fraction: float = 0.9,
    plane_cells: Mapping[str, int] | None = None,
) -> Slab:
    """Return a multilayer slab [001] salt A | [001] salt B (gupta2023, Methods).

    Among all common in-plane cells and numbers of formula units that fulfil the wishes, those with the atom count
    nearest to ``n_atoms`` (or the fewest atoms) are taken, and of these the one with the least strain.

    Parameters
    ----------
    mixture : Mixture
        Exactly two salts.
    min_length : float, optional
        Smallest distance between opposite faces of the cell, Å. If not given, 10 Å (gupta2023), or where ``n_atoms``
        is too few for that, 0.85 of the edge of a cube of so many atoms.
    max_atoms : int
        Largest number of atoms.
    n_atoms : int, optional
        Wanted number of atoms; as few as possible if not given.
    thickness : float, optional
        Smallest height of the stack (both salts), Å; ``min_length`` if not given.
    max_strain : float, optional
        Largest principal strain either salt may bear, as a fraction; their volumes are kept. If not given, the first
        of 6, 9, 12 and 15 % that any slab fulfils, with a warning above 6 %.
    density_fraction : float
        Density, as a fraction of the rule of mixtures, to which the stack is pressed together if ions need not move
        far for it.
    plane_cells : mapping, optional
        Primitive plane cells of each salt in the common cell, as ``report['plane_cells']`` of another slab gives them:
        fixes the in-plane cell of a series of slabs.

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
    for value, what in (
        (min_length, 'min_length'),
        (max_strain, 'max_strain'),
        (thickness, 'thickness'),
        (density_fraction, 'density_fraction'),
    ):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise SlabError(f'{what} must be positive, not {value}')
    if n_atoms is not None and n_atoms > max_atoms:
        raise SlabError(f'n_atoms = {n_atoms} is more than max_atoms = {max_atoms}')
    per_atom = mixture.unit_volume / mixture.atoms_per_unit
    if min_length is None:
        min_length = PAPER_LENGTH
        if n_atoms is not None:
            min_length = min(min_length, 0.85 * (n_atoms * per_atom) ** (1 / 3))
    height = max(min_length, thickness or 0.0)
    sizes = None if plane_cells is None else _plane_sizes(mixture, plane_cells)
    phases = mixture.phases
    table = contact_table(mixture.elements)
    cells = [_plane_cell(salt)[0].cell[:2, :2] for salt in mixture.salts]
    counts = _counts(mixture, max_atoms)
    volumes = {pair: sum(n * entry.volume for n, entry in zip(pair, phases, strict=True)) for pair in counts}
    # The area is raised step by step: a wide cell takes many atoms, and the number of lattice matches grows with the
    # fourth power of its width.
    largest_area = max(volumes.values()) / height
    area = min(largest_area, max(1.5 * min_length**2, 0.0 if n_atoms is None else 1.1 * n_atoms * per_atom / height))
    strains = STRAINS if max_strain is None else (max_strain,)
    options: list[tuple[float, float, float, tuple[int, int], PlaneMatch]] = []
    for limit in strains:
        trial = area
        options = _options(mixture, cells, volumes, trial, (min_length, height, limit), n_atoms, sizes)
        while not options and trial < largest_area:
            trial = min(largest_area, 1.4 * trial)
            options = _options(mixture, cells, volumes, trial, (min_length, height, limit), n_atoms, sizes)
        # Rather more strain than a slab of quite another size than asked for.
        if options and (n_atoms is None or min(option[0] for option in options) <= CLOSE_ENOUGH * n_atoms):
            break
    if not options:
        raise SlabError(_refusal(mixture, cells, min_length, height, max_atoms, strains[-1]))
    closest = min(option[0] for option in options)
    slack = 0.02 * n_atoms if n_atoms is not None else 0.1 * closest
    shortlist = sorted((o for o in options if o[0] <= closest + slack), key=lambda o: (round(o[1], 6), o[0], o[2]))
    best: tuple[float, Atoms, dict[str, Any], tuple[int, int], PlaneMatch] | None = None
    for _, _, _, pair, match in shortlist[:SHORTLIST]:
        layers = [
            carve_layer(_plane_cell(entry.id)[0], entry, matrix, match.cell, number)
            for entry, matrix, number in zip(phases, match.matrices, pair, strict=True)
        ]
        stacked, interface = stack_layers(layers[0], layers[1], table)
        cost = match.strain + 0.25 * abs(1 - density(stacked) / mixture.rule_density)
        if best is None or cost < best[0] - 1e-6:
            best = (cost, stacked, interface, pair, match)
    assert best is not None  # noqa: S101 - the shortlist is not empty
    _, stacked, interface, pair, match = best
    stacked, pushed = press_together(stacked, mixture, table, density_fraction, min_length)
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
        'plane_cells': {salt: _plane_size(matrix) for salt, matrix in zip(mixture.salts, match.matrices, strict=True)},
        'principal_strains': {
            salt: [round(value - 1, 5) for value in pair_]
            for salt, pair_ in zip(mixture.salts, match.stretches, strict=True)
        },
        'largest_strain': round(match.strain, 5),
        # Each salt bears half of what separates the unstrained lattices.
        'lateral_mismatch': round((1 + match.strain) ** 2 - 1, 5),
        **interface,
        'largest_displacement_A': round(pushed, 3),
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
    if max_strain is None and match.strain > STRAINS[0]:
        report['warnings'].append(
            f'a slab of this size strains the salts by {match.strain:.1%}: it is only fit for melting'
        )
    return Slab(atoms, report)


def slab_series(mixture: Mixture, thicknesses: Sequence[float] = THICKNESSES, **wishes: Any) -> list[Slab]:
    """Return slabs of several thicknesses on one in-plane cell, that of the thinnest.

    Parameters
    ----------
    mixture : Mixture
        Exactly two salts.
    thicknesses : sequence of float
        Smallest height of each stack, Å.
    **wishes
        As for :func:`interface_slab`.

    Returns
    -------
    list of Slab
        In the order of ``thicknesses``.

    Raises
    ------
    SlabError
        If one of them cannot be made; the message says what to relax.
    """
    if not thicknesses:
        raise SlabError('a series of slabs needs at least one thickness')
    thinnest = interface_slab(mixture, thickness=min(thicknesses), **wishes)
    fixed = {**wishes, 'plane_cells': thinnest.report['plane_cells']}
    return [
        thinnest if height == min(thicknesses) else interface_slab(mixture, thickness=height, **fixed)
        for height in thicknesses
    ]


def _plane_size(matrix: np.ndarray) -> int:
    return round(abs(float(np.linalg.det(matrix))))


def _plane_sizes(mixture: Mixture, plane_cells: Mapping[str, int]) -> tuple[int, int]:
    if set(plane_cells) != set(mixture.salts):
        raise SlabError(f'plane_cells must name {" and ".join(mixture.salts)}, not {", ".join(plane_cells)}')
    first, second = (int(plane_cells[salt]) for salt in mixture.salts)
    return first, second


def _options(
    mixture: Mixture,
    cells: list[np.ndarray],
    volumes: dict[tuple[int, int], float],
    max_area: float,
    limits: tuple[float, float, float],
    n_atoms: int | None,
    plane_sizes: tuple[int, int] | None,
) -> list[tuple[float, float, float, tuple[int, int], PlaneMatch]]:
    """Return all slabs within the limits: distance from the wanted size, demerit, area, formula units, match."""
    min_length, height, max_strain = limits
    sizes = [sum(entry.composition.values()) for entry in mixture.phases]
    options = []
    for match in match_planes(cells[0], cells[1], min_length=min_length, max_area=max_area, max_strain=max_strain):
        if plane_sizes is not None and plane_sizes != tuple(_plane_size(matrix) for matrix in match.matrices):
            continue
        for pair, volume in volumes.items():
            if volume / match.area < height:
                continue
            size = pair[0] * sizes[0] + pair[1] * sizes[1]
            distance = float(size if n_atoms is None else abs(size - n_atoms))
            rough = sum(_partial(n, salt, m) for n, salt, m in zip(pair, mixture.salts, match.matrices, strict=True))
            options.append((distance, match.strain + 0.05 * rough, match.area, pair, match))
    return options


@lru_cache(maxsize=64)
def _plane_cell(salt: str) -> tuple[Atoms, float]:
    """Return the plane-primitive crystal of a salt and its formula units per atomic layer; slow, hence remembered."""
    entry = load_phases()[salt]
    base = plane_primitive(entry.to_atoms())
    levels = len(np.unique(np.round(base.get_scaled_positions()[:, 2] % 1.0, 3)))
    per_cell = len(base) // sum(entry.composition.values())
    return base, per_cell / max(1, levels // len(entry.composition))


def _partial(units: int, salt: str, matrix: np.ndarray) -> float:
    """Return how far the number of formula units is from filling whole atomic layers of the crystal (0 to 0.5)."""
    per_layer = _plane_cell(salt)[1] * round(abs(float(np.linalg.det(matrix))))
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
