"""The checks of a glass that a referee would ask for, in one table, and a picture of its cell."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase import Atoms

from aiida_softclay.analysis.anion_census import anion_census, census_cutoffs, split_ions
from aiida_softclay.analysis.glass_checks import element_counts
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.trajectory import ArrayTrajectory, species_of
from aiida_softclay.calcfunctions.glass_check_numbers import (
    census_context,
    census_numbers,
    density_numbers,
    energy_numbers,
    molecule_numbers,
)
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed
from aiida_softclay.structures.crystals import list_crystals, load_phases
from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.structures.materials import Material, MaterialError, parse_material

#: Keys of the parameters of :func:`check_glass`, all of which may be left out, with their defaults.
CHECK_DEFAULTS: dict[str, Any] = {
    'material': None,
    'cations': None,
    'charges': {},
    'temperature_K': None,
    'density_g_cm3': None,
    'density_error_g_cm3': None,
    'potential_energy_per_atom_eV': None,
    'potential_energy_error_eV': None,
    'bin_width': 0.05,
    'bond_tolerance': 0.15,
    'context': {},
}


def needed_crystals(material: str, cations: str = 'Li') -> dict[str, list[str]]:
    """Return the crystals whose energies a glass is compared with.

    Parameters
    ----------
    material : str
        As :func:`~aiida_softclay.structures.materials.parse_material` takes it.
    cations : str
        What balances molecules where the text names no cation.

    Returns
    -------
    dict
        ``mixture``: its salts, or the chlorides an oxychloride could be made of; ``competing``: all other known
        crystals of its elements, with which the lowest mixture is the convex hull.
    """
    parsed = parse_material(material, cations)
    mixture = list(parsed.crystals)
    phases = load_phases()
    others = [name for name in list_crystals(parsed.elements) if phases[name].is_salt and name not in mixture]
    return {'mixture': mixture, 'competing': others}


@calcfunction
def check_glass(
    initial: orm.StructureData,
    final: orm.StructureData,
    parameters: orm.Dict,
    molecules: orm.ArrayData | None = None,
    references: orm.Dict | None = None,
) -> orm.Dict | ExitCode:
    """Compare a glass with what it was made of.

    Density against the rule of mixtures and experiment; the anions around every cation before and after; molecules that
    were torn; the energy above the crystals.

    Parameters
    ----------
    initial, final : StructureData
        The start and the glass: the same atoms in the same order.
    parameters : Dict
        Some of :data:`CHECK_DEFAULTS`: ``material`` (its text) and ``cations``; ``charges`` of elements that have no
        tabulated ion; ``temperature_K`` of the glass, and its mean ``density_g_cm3`` and
        ``potential_energy_per_atom_eV`` with their errors; ``bin_width`` of g(r) in Å; ``bond_tolerance``; ``context``.
    molecules : ArrayData, optional
        The array ``molecule_id``, -1 for ions of their own. Without it nothing is said about molecules.
    references : Dict, optional
        ``references``: id of a crystal to ``energy_eV``, ``n_atoms`` and ``formula``; and ``glass``, the same of the
        glass at 0 K. By the same potential.

    Returns
    -------
    Dict
        Results schema; the context holds the cutoffs and the whole census.
    """
    try:
        options = _options(parameters.get_dict())
        return orm.Dict(_checked(initial, final, options, molecules, references))
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(given) - set(CHECK_DEFAULTS)):
        raise ValueError(f'the checks do not know {", ".join(unknown)}: choose from {", ".join(CHECK_DEFAULTS)}')
    return {**CHECK_DEFAULTS, **given}


def _checked(
    initial: orm.StructureData,
    final: orm.StructureData,
    options: dict[str, Any],
    molecules: orm.ArrayData | None,
    references: orm.Dict | None,
) -> dict[str, Any]:
    # Atoms are made once of each node: of large cells this takes longer than the checks.
    start, atoms = initial.get_ase(), final.get_ase()
    states = [_snapshot(start), _snapshot(atoms)]
    before, after = states
    if sorted(before.atomic_numbers.tolist()) != sorted(after.atomic_numbers.tolist()):
        raise ValueError(
            f'the start is {start.get_chemical_formula()} and the glass {atoms.get_chemical_formula()}: they differ in '
            'atoms'
        )
    counts = element_counts(atoms.get_chemical_symbols())
    material, problems = _material(options, atoms)
    charges = {element: float(IONIC_RADII[element][1]) for element in counts if element in IONIC_RADII}
    charges |= {} if material is None else material.charges
    charges |= {element: float(value) for element, value in options['charges'].items()}
    cations, anions = split_ions(species_of(after), charges)
    charge = sum(charges[element] * number for element, number in counts.items())
    if abs(charge) > 1e-6 * len(atoms):
        problems.append(f'the cell carries a charge of {charge:+g} e: ions are missing or too many')

    pairs = [(cation, anion) for cation in cations for anion in anions]
    cutoffs = census_cutoffs(after, before, pairs, float(options['bin_width']))
    lengths = {pair: found.cutoff for pair, found in cutoffs.items()}
    censuses = [anion_census(state, lengths, cations, anions) for state in states]
    quantities: list[Quantity] = [
        *density_numbers(start, atoms, material, options, problems),
        *census_numbers(*censuses, cutoffs, charges),
    ]
    context: dict[str, Any] = {}
    if molecules is not None and 'molecule_id' in molecules.get_arraynames():
        ids = molecules.get_array('molecule_id')
        found, about = molecule_numbers(before, after, ids, lengths, float(options['bond_tolerance']))
        quantities += found
        context |= about
    if references is not None or options['potential_energy_per_atom_eV'] is not None:
        table = {} if references is None else references.get_dict()
        found, about = energy_numbers(counts, table, options, material)
        quantities += found
        context |= about
    context |= {
        'material': None if material is None else material.name,
        'formula': atoms.get_chemical_formula(),
        'n_atoms': len(atoms),
        'problems': problems,
        'census': {name: census_context(census) for name, census in zip(('before', 'after'), censuses, strict=True)},
        'cutoffs': {
            '-'.join(pair): {'cutoff_A': found.cutoff, 'method': found.method} for pair, found in cutoffs.items()
        },
    }
    # What was measured here comes before what the caller says of it.
    return results_dict(quantities, **{**options['context'], **context})


def _snapshot(atoms: Atoms) -> ArrayTrajectory:
    return ArrayTrajectory(atoms.positions[None], atoms.cell[:], atoms.numbers)


def _material(options: dict[str, Any], atoms: Atoms) -> tuple[Material | None, list[str]]:
    """Return the material of the parameters, or of the atoms themselves, and what is wrong with it."""
    if options['material'] is None:
        return None, ['no material was named: there is no rule of mixtures and no crystalline mixture to compare with']
    try:
        material = parse_material(options['material'], options['cations'] or 'Li')
    except MaterialError as error:
        return None, [str(error)]
    if material.units_of(atoms) is None:
        return material, [f'{atoms.get_chemical_formula()} is no whole number of {material}']
    return material, []
