"""The rows of the table of glass checks: how each number is named, defined, and given an error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ase import Atoms

from aiida_softclay.analysis.anion_census import AnionCensus, share
from aiida_softclay.analysis.coordination import Estimate, change
from aiida_softclay.analysis.glass_checks import (
    CrystalMixture,
    ReferenceEnergyError,
    density_g_cm3,
    element_counts,
    lowest_mixture,
    missing_references,
    parse_references,
    salt_mixture,
    thermal_energy,
)
from aiida_softclay.analysis.molecule_integrity import molecule_formulas, molecule_integrity
from aiida_softclay.analysis.quantity import Quantity
from aiida_softclay.analysis.rdf import BondCutoff
from aiida_softclay.analysis.trajectory import ArrayTrajectory
from aiida_softclay.structures.glass_densities import glass_density
from aiida_softclay.structures.materials import Material
from aiida_softclay.structures.molecules import GEOMETRIES
from aiida_softclay.structures.oxychlorides import rule_density

#: Polyhedra around cations of at least this charge are reported as numbers, those of the others in the context only.
FRAMEWORK_CHARGE = 2.0
#: Polyhedra rarer than this in both states are in the context only.
SMALLEST_SHARE = 0.02
#: Coordination numbers that are always reported.
FOLDS = (3, 4, 5, 6)


def density_numbers(
    initial: Atoms, final: Atoms, material: Material | None, options: Mapping[str, Any], problems: list[str]
) -> Iterator[Quantity]:
    """Yield the density and its ratios to the rule of mixtures and to the measured one."""
    counts = element_counts(final.get_chemical_symbols())
    conditions: dict[str, Any] = {'n_atoms': len(final)}
    if options['temperature_K'] is not None:
        conditions['temperature_K'] = float(options['temperature_K'])
    yield Quantity(
        'density.before', density_g_cm3(initial.numbers, initial.cell[:]), None, 'g/cm^3',
        'mass over volume of the initial cell', 1, error_method='a single cell', conditions={'n_atoms': len(initial)},
    )  # fmt: skip
    given = options['density_g_cm3']
    value = density_g_cm3(final.numbers, final.cell[:]) if given is None else float(given)
    error = options['density_error_g_cm3']
    what = 'mass over volume of the last snapshot' if given is None else 'mean mass over volume at zero stress'
    if given is None:
        error, method = None, 'a single snapshot: fluctuations of the volume are not in it'
    else:
        method = 'no error was given with the mean' if error is None else 'as given with the mean'
    yield Quantity(
        'density.after', value, error, 'g/cm^3', what, 1, error_method=method, conditions=conditions,
        warnings=list(problems),
    )  # fmt: skip
    rule = rule_density(counts) if material is None else material.rule_density
    if rule is None:
        yield Quantity(
            'density_ratio.rule_of_mixtures', None, None, '1', 'density over that of the unmixed crystals', 0,
            conditions=conditions, warnings=['no rule of mixtures: the crystals it could be made of are not known'],
        )  # fmt: skip
    else:
        yield Quantity(
            'density_ratio.rule_of_mixtures', value / rule, None if error is None else error / rule, '1',
            f'{what}, over the density of the unmixed crystals whose volumes add, {rule:.4f} g/cm^3', 1,
            error_method=f'{method}; the rule is taken as exact', conditions=conditions, warnings=list(problems),
        )  # fmt: skip
    measured = glass_density(counts)
    if measured is None:
        yield Quantity(
            'density_ratio.measured', None, None, '1', 'density over the measured one', 0, conditions=conditions,
            warnings=['no measured density of this composition is known to the data file'],
        )  # fmt: skip
        return
    ratio = value / measured.value
    spread = ratio * math.hypot(measured.uncertainty / measured.value, (error or 0.0) / value)
    notes = [] if measured.names(counts) else [f'measured on {measured.id}, a composition of the same family']
    yield Quantity(
        'density_ratio.measured', ratio, spread, '1',
        f'{what}, over the measured density of {measured.id}, {measured.value:g} g/cm^3 ({measured.source})', 1,
        error_method=f'uncertainty of the measured density, {measured.uncertainty:g} g/cm^3: '
        f'{measured.uncertainty_source}',
        conditions=conditions, warnings=[*problems, *notes],
    )  # fmt: skip


def census_context(censuses: Mapping[str, AnionCensus]) -> dict[str, dict[str, float]]:
    """Return the share of every kind of polyhedron by cation, the most frequent first."""
    return {
        central: {name: estimate.value for name, estimate in census.species.items()}
        for central, census in censuses.items()
    }


def census_numbers(
    before: Mapping[str, AnionCensus],
    after: Mapping[str, AnionCensus],
    cutoffs: Mapping[tuple[str, str], BondCutoff],
    charges: Mapping[str, float],
) -> Iterator[Quantity]:
    """Yield coordination numbers, shares of polyhedra and tetrahedra of one anion around every cation."""
    for central, final in after.items():
        first = before[central]
        warnings = [
            f'cutoff of {central}–{anion} is {cutoffs[central, anion].cutoff:.2f} Å by {cutoffs[central, anion].method}'
            for anion in final.anions
            if cutoffs[central, anion].method.startswith('fallback')
        ]
        ends, starts = final.coordination, first.coordination
        within = ', '.join(f'{anion} within {cutoffs[central, anion].cutoff:.2f} Å' for anion in final.anions)
        for name in ends if len(final.anions) > 1 else final.anions:
            what = within if name == 'anions' else f'{name} within {cutoffs[central, name].cutoff:.2f} Å'
            text = f'mean number of neighbours of {central}: {what}'
            yield from _states(f'coordination.{central}-{name}', text, starts[name], ends[name], warnings)
        absent = share(0, len(final.counts))
        for number in sorted({*FOLDS, *(n for n in final.folds if final.folds[n].value >= SMALLEST_SHARE)}):
            text = f'share of {central} with exactly {number} neighbours: {within}'
            yield from _states(
                f'fold.{central}.{number}', text, first.folds.get(number, absent), final.folds.get(number, absent),
                warnings, states=('before', 'after'),
            )  # fmt: skip
        if charges[central] < FRAMEWORK_CHARGE:
            continue
        ended, started = final.species, first.species
        for name in [*ended, *(other for other in started if other not in ended)]:
            pair = started.get(name, absent), ended.get(name, absent)
            if max(estimate.value for estimate in pair) >= SMALLEST_SHARE:
                text = f'share of {central} whose neighbours are those of {name}: {within}'
                yield from _states(f'species.{name}', text, *pair, warnings, states=('before', 'after'))
        for anion in final.anions if len(final.anions) > 1 else ():
            text = (
                f'share of {central} with exactly four {anion} and no other anion within the first minimum '
                f'(GaCl3-like for Ga and Cl, gupta2023 Fig. 3b): {within}'
            )
            yield from _states(
                f'tetrahedra.{central}{anion}4', text, first.tetrahedra(anion), final.tetrahedra(anion), warnings
            )


def _states(
    name: str,
    text: str,
    before: Estimate,
    after: Estimate,
    warnings: list[str],
    states: tuple[str, ...] = ('before', 'after', 'change'),
) -> Iterator[Quantity]:
    """Yield a number of the start, of the glass, and its change."""
    found = {'before': before, 'after': after, 'change': change(before, after)}
    for state, estimate in ((state, found[state]) for state in states):
        yield Quantity(
            f'{name}.{state}', estimate.value, estimate.error if math.isfinite(estimate.error) else None, '1',
            f'change of the {text}' if state == 'change' else f'{text}, {state}', estimate.n_samples,
            error_method=estimate.method, frames_used=2 if state == 'change' else 1, warnings=list(warnings),
        )  # fmt: skip


def ideal_bonds(symbols: set[str]) -> dict[tuple[str, str], float]:
    """Return the bond lengths molecules of these elements are built with, Å."""
    found = {}
    for metal, shape in GEOMETRIES.items():
        if metal in symbols:
            found[metal, 'O'], found[metal, 'Cl'] = shape.metal_oxygen, shape.metal_chlorine
    return {pair: length for pair, length in found.items() if pair[1] in symbols}


def molecule_numbers(
    before: ArrayTrajectory,
    after: ArrayTrajectory,
    molecule_ids: np.ndarray,
    cutoffs: Mapping[tuple[str, str], float],
    tolerance: float,
) -> tuple[list[Quantity], dict[str, Any]]:
    """Return how many bonds and molecules of the start are still whole, and what the molecules were."""
    ids = np.asarray(molecule_ids)
    atoms = Atoms(before.atomic_numbers)
    members = {str(symbol) for symbol, label in zip(atoms.symbols, ids, strict=False) if label >= 0}
    own = {pair: cutoff for pair, cutoff in cutoffs.items() if set(pair) <= members}
    ideal = {pair: length for pair, length in ideal_bonds(members).items() if pair in own}
    found = molecule_integrity(before, after, ids, own, ideal, tolerance)
    within = ', '.join(f'{"–".join(pair)} within {cutoff:.2f} Å' for pair, cutoff in own.items())
    packed = (
        ', '.join(f'{"–".join(pair)} within {tolerance:.0%} of {length:.2f} Å' for pair, length in ideal.items())
        or within
    )
    intact, exchanged = (share(number, found.n_bonds) for number in (found.intact, found.exchanged))
    counts = [
        ('molecules.count', found.n_molecules, 'number of molecules of two or more atoms in the start'),
        (
            'molecules.torn_by_packing', len(found.torn_initially),
            f'number of molecules that their bonds do not hold in one piece in the start: {packed}',
        ),
        (
            'molecules.torn', len(found.torn),
            f'number of molecules, whole in the start, that what is left of their bonds does not hold: {within}',
        ),
        ('molecules.bonds', found.n_bonds, f'number of bonds within molecules in the start: {within}'),
    ]  # fmt: skip
    quantities = [
        Quantity(name, float(number), 0.0, '1', text, 1, error_method='counted') for name, number, text in counts
    ]
    shares = [
        ('molecules.bonds_intact', intact, f'share of the bonds of the start that are in the glass: {within}'),
        (
            'molecules.bonds_exchanged', exchanged,
            'share of the bonds of the start that their cation replaced by bonds to other anions: Σ over cations of '
            f'min(lost, gained) / bonds; {within}',
        ),
    ]  # fmt: skip
    quantities += [
        Quantity(
            name, estimate.value, estimate.error, '1', text, estimate.n_samples,
            error_method=estimate.method.replace('cations', 'bonds'), frames_used=2,
        )
        for name, estimate, text in shares
    ]  # fmt: skip
    return quantities, {'molecules': molecule_formulas(list(atoms.symbols), ids)}


def energy_numbers(
    counts: Mapping[str, int], table: Mapping[str, Any], options: Mapping[str, Any], material: Material | None
) -> tuple[list[Quantity], dict[str, Any]]:
    """Return the energies of the glass above its salts and above the lowest mixture of all references."""
    references = parse_references(table.get('references') or {})
    value, error, state, conditions, warnings = _glass_energy(table.get('glass'), options)
    mixtures: dict[str, tuple[str, CrystalMixture | None, list[str]]] = {}
    needed = () if material is None else material.crystals
    if material is not None and material.salts:
        try:
            made = salt_mixture(counts, material.salts, references)
            mixtures['energy_above_salts'] = ('the unreacted salts', made, [])
        except ReferenceEnergyError as problem:
            mixtures['energy_above_salts'] = ('the unreacted salts', None, [str(problem)])
    text = f'the mixture of lowest energy (lower convex hull, Ong et al. 2008) of {", ".join(references) or "nothing"}'
    missing = missing_references(needed, references)
    notes = [f'no energy of {", ".join(missing)}: the lowest mixture is of the others'] if missing else []
    try:
        mixtures['energy_above_crystals'] = (text, lowest_mixture(counts, references), notes)
    except ReferenceEnergyError as problem:
        mixtures['energy_above_crystals'] = (text, None, [*notes, str(problem)])
    quantities, about = [], {}
    for name, (against, mixture, found) in mixtures.items():
        known = value is not None and mixture is not None
        formula = 'E/N of the glass less Σ x_i E_i of the crystals, x_i the share of the atoms, same potential'
        reached = '' if mixture is None else f': {mixture}'
        quantities.append(
            Quantity(
                name, value - mixture.energy_per_atom if known else None, error if known else None, 'eV/atom',
                f'{formula}; the glass {state}, against {against}{reached}', 1 if known else 0,
                error_method='error of the mean energy' if error is not None else 'a single relaxed structure',
                conditions=conditions, warnings=[*warnings, *found],
            )
        )  # fmt: skip
        if mixture is not None:
            about[name] = mixture.shares
    return quantities, {'crystalline_mixtures': about}


def _glass_energy(
    glass: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> tuple[float | None, float | None, str, dict[str, Any], list[str]]:
    """Return energy per atom and its error (eV), the state it is of, its conditions and what a reader must know."""
    if glass is not None:
        relaxed = parse_references({'the glass': glass})['the glass']
        return relaxed.energy_per_atom, None, 'relaxed at 0 K', {'temperature_K': 0.0}, []
    value, temperature = options['potential_energy_per_atom_eV'], options['temperature_K']
    if value is None:
        return None, None, 'without energy', {}, ['the energy of the glass is not given']
    if temperature is None:
        note = 'the temperature of the mean potential energy is not given: it holds an unknown thermal part'
        return float(value), options['potential_energy_error_eV'], 'at an unknown temperature', {}, [note]
    note = (
        f'the glass is at {float(temperature):g} K and the crystals at 0 K: about 3/2 kT = '
        f'{thermal_energy(float(temperature)):.4f} eV/atom of the difference is vibration'
    )
    return (
        float(value), options['potential_energy_error_eV'], f'as its mean potential energy at {float(temperature):g} K',
        {'temperature_K': float(temperature)}, [note],
    )  # fmt: skip
