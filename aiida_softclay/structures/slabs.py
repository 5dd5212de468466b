"""Multilayer slabs of two or more salts, [001] on [001], at a wanted molar ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from ase import Atoms

from aiida_softclay.structures.checks import density
from aiida_softclay.structures.composition import Mixture, MixtureError
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.lattice_match import PlaneMatch
from aiida_softclay.structures.layers import carve_layer
from aiida_softclay.structures.neighbours import heights, minimum_distance
from aiida_softclay.structures.slab_options import (
    Option,
    SlabError,
    layer_units,
    plane_cell,
    plane_size,
    refusal,
    slab_options,
    wanted_plane_sizes,
)
from aiida_softclay.structures.solid_solution import Constituent, constituents, occupy
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


#: Density over the rule of mixtures beyond which ions would have to overlap: packing alone makes no salt denser.
DENSEST = 1.1


@dataclass(frozen=True)
class Slab:
    """A periodic slab of two or more layers and how it came about.

    Attributes
    ----------
    atoms : ase.Atoms
        Cell with the interfaces normal to z; the array ``tags`` holds the number of the layer an atom comes from, which
        for two salts is the index of the salt.
    report : dict
        Counts, strain, mismatch, interface gaps, density, smallest distance; JSON-serialisable.
    """

    atoms: Atoms
    report: dict[str, Any]


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
    seed: int = 0,
) -> Slab:
    """Return a multilayer slab [001] salt A | [001] salt B (gupta2023, Methods).

    Of three or more salts, isostructural ones whose ions may replace each other form one layer, a solid solution with
    the cell of Vegard's rule and the ions at random on the sites they share, such as (Al,Ga)F3; every other salt
    has a layer of its own, in the order written.

    Among all common in-plane cells and numbers of formula units that fulfil the wishes, those with the atom count
    nearest to ``n_atoms`` (or the fewest atoms) are taken, and of these the one with the least strain.

    Parameters
    ----------
    mixture : Mixture
        Two salts or more.
    min_length : float, optional
        Smallest distance between opposite faces of the cell, Å. If not given, 10 Å (gupta2023), or where ``n_atoms``
        is too few for that, 0.85 of the edge of a cube of so many atoms.
    max_atoms : int
        Largest number of atoms.
    n_atoms : int, optional
        Wanted number of atoms; as few as possible if not given.
    thickness : float, optional
        Smallest height of the stack (all layers), Å; ``min_length`` if not given.
    max_strain : float, optional
        Largest principal strain a layer may bear, as a fraction; volumes are kept. If not given, the first
        of 6, 9, 12 and 15 % that any slab fulfils, with a warning above 6 %.
    density_fraction : float
        Density, as a fraction of the rule of mixtures, to which the stack is pressed together if ions need not move
        far for it.
    plane_cells : mapping, optional
        Primitive plane cells of each layer in the common cell, as ``report['plane_cells']`` of another slab gives them:
        fixes the in-plane cell of a series of slabs.
    seed : int
        Decides which ion of a solid solution is on which site; nothing else is random.

    Returns
    -------
    Slab

    Raises
    ------
    SlabError
        If nothing fits; the message says what to relax.
    """
    if len(mixture.salts) < 2:
        raise MixtureError(f'a slab needs two salts or more, {mixture} has {len(mixture.salts)}')
    for value, what in (
        (min_length, 'min_length'),
        (max_strain, 'max_strain'),
        (thickness, 'thickness'),
        (density_fraction, 'density_fraction'),
    ):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise SlabError(f'{what} must be positive, not {value}')
    if density_fraction > DENSEST:
        raise SlabError(
            f'density_fraction = {density_fraction:g} asks for ions that overlap: crystals have 1, give at most '
            f'{DENSEST:g}'
        )
    if seed < 0:
        raise SlabError(f'seed must not be negative, it is {seed}')
    if n_atoms is not None and n_atoms > max_atoms:
        raise SlabError(f'n_atoms = {n_atoms} is more than max_atoms = {max_atoms}')
    kinds = constituents(mixture)
    per_atom = mixture.unit_volume / mixture.atoms_per_unit
    if min_length is None:
        min_length = PAPER_LENGTH
        if n_atoms is not None:
            min_length = min(min_length, 0.85 * (n_atoms * per_atom) ** (1 / 3))
    height = max(min_length, thickness or 0.0)
    sizes = None if plane_cells is None else wanted_plane_sizes(kinds, plane_cells)
    counts = layer_units(kinds, mixture, max_atoms)
    volumes = {units: sum(n * kind.phase.volume for n, kind in zip(units, kinds, strict=True)) for units in counts}
    # The area is raised step by step: a wide cell takes many atoms, and the number of lattice matches grows with the
    # fourth power of its width.
    largest_area = max(volumes.values()) / height
    area = min(largest_area, max(1.5 * min_length**2, 0.0 if n_atoms is None else 1.1 * n_atoms * per_atom / height))
    strains = STRAINS if max_strain is None else (max_strain,)
    options: list[Option] = []
    for limit in strains:
        trial = area
        options = slab_options(kinds, volumes, trial, (min_length, height, limit), n_atoms, sizes)
        while not options and trial < largest_area:
            trial = min(largest_area, 1.4 * trial)
            options = slab_options(kinds, volumes, trial, (min_length, height, limit), n_atoms, sizes)
        # Rather more strain than a slab of quite another size than asked for.
        if options and (n_atoms is None or min(option[0] for option in options) <= CLOSE_ENOUGH * n_atoms):
            break
    if not options:
        raise SlabError(refusal(mixture, kinds, min_length, height, max_atoms, strains[-1]))
    closest = min(option[0] for option in options)
    slack = 0.02 * n_atoms if n_atoms is not None else 0.1 * closest
    shortlist = sorted((o for o in options if o[0] <= closest + slack), key=lambda o: (round(o[1], 6), o[0], o[2]))
    slab = _densest(mixture, kinds, shortlist[:SHORTLIST], (density_fraction, min_length), seed)
    warnings = slab.report['warnings']
    if not slab.report['exact_ratio']:
        found = ', '.join(f'{number} {salt}' for salt, number in slab.report['formula_units'].items())
        warnings.append(
            f'{mixture} needs {mixture.atoms_per_unit} atoms for its exact ratio, more than the {max_atoms} allowed: '
            f'the slab holds {found}'
        )
    if max_strain is None and slab.report['largest_strain'] > STRAINS[0]:
        warnings.append(
            f'a slab of this size strains the salts by {slab.report["largest_strain"]:.1%}: it is only fit for melting'
        )
    return slab


def _densest(
    mixture: Mixture, kinds: tuple[Constituent, ...], shortlist: list[Option], limits: tuple[float, float], seed: int
) -> Slab:
    """Stack each slab of a shortlist, press the best together and report on it."""
    table = contact_table(mixture.elements)
    best: tuple[float, Atoms, dict[str, Any], tuple[int, ...], PlaneMatch] | None = None
    for _, _, _, units, match in shortlist:
        generator = np.random.default_rng([seed, 1])
        layers = [
            occupy(
                carve_layer(plane_cell(kind)[0], kind.phase, matrix, match.cell, number),
                kind, kind.split(number), generator,
            )
            for kind, matrix, number in zip(kinds, match.matrices, units, strict=True)
        ]  # fmt: skip
        stacked, interface = stack_layers(layers, table)
        cost = match.strain + 0.25 * abs(1 - density(stacked) / mixture.rule_density)
        if best is None or cost < best[0] - 1e-6:
            best = (cost, stacked, interface, units, match)
    assert best is not None  # noqa: S101 - the shortlist is not empty
    _, stacked, interface, units, match = best
    stacked, pushed = press_together(stacked, mixture, table, *limits)
    atoms = sort_by_element(stacked)
    atoms.wrap()
    atoms.info['mixture'] = mixture.name
    return Slab(atoms, _report(mixture, kinds, units, match, atoms, {**interface, 'largest_displacement_A': pushed}))


def _report(
    mixture: Mixture,
    kinds: tuple[Constituent, ...],
    units: tuple[int, ...],
    match: PlaneMatch,
    atoms: Atoms,
    interface: dict[str, Any],
) -> dict[str, Any]:
    """Return the account of a slab."""
    shares = [dict(zip(kind.salts, kind.split(number), strict=True)) for kind, number in zip(kinds, units, strict=True)]
    amounts = {salt: number for share in shares for salt, number in share.items()}
    found = [amounts[salt] for salt in mixture.salts]
    ratios = {Fraction(number, unit) for number, unit in zip(found, mixture.formula_units, strict=True)}
    stretches = [value for pair in match.stretches for value in pair]
    report = {
        'mixture': mixture.name,
        'n_atoms': len(atoms),
        'formula_units': {salt: amounts[salt] for salt in mixture.salts},
        'layers': [
            {
                'name': kind.name,
                'kind': 'solid solution' if kind.is_solution else 'crystal',
                'formula_units': share,
                'lattice': [round(value, 5) for value in kind.phase.lattice],
            }
            for kind, share in zip(kinds, shares, strict=True)
        ],
        'exact_ratio': len(ratios) == 1,
        'plane_cells': {kind.name: plane_size(matrix) for kind, matrix in zip(kinds, match.matrices, strict=True)},
        'principal_strains': {
            kind.name: [round(value - 1, 5) for value in pair]
            for kind, pair in zip(kinds, match.stretches, strict=True)
        },
        'largest_strain': round(match.strain, 5),
        # What separates the unstrained lattices: of two, each bears half.
        'lateral_mismatch': round(
            (1 + match.strain) ** 2 - 1 if len(kinds) == 2 else max(stretches) / min(stretches) - 1, 5
        ),
        **interface,
        'largest_displacement_A': round(interface['largest_displacement_A'], 3),
        'cell_heights_A': [round(float(value), 4) for value in heights(atoms.cell[:])],
        'density_g_cm3': round(density(atoms), 4),
        'rule_density_g_cm3': round(mixture.rule_density, 4),
        'minimum_distance_A': round(minimum_distance(atoms), 4),
        'warnings': [],
    }  # fmt: skip
    if len(mixture.salts) == 2:
        report['requested_ratio'] = mixture.formula_units[0] / mixture.formula_units[1]
        report['ratio'] = found[0] / found[1]
    return report


def slab_series(mixture: Mixture, thicknesses: Sequence[float] = THICKNESSES, **wishes: Any) -> list[Slab]:
    """Return slabs of several thicknesses on one in-plane cell, that of the thinnest.

    Parameters
    ----------
    mixture : Mixture
        Two salts or more.
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
