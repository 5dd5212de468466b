"""One way to every kind of structure: its atoms, the report of how they were made, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ase import Atoms

from aiida_softclay.structures.assembly import assemble_particles
from aiida_softclay.structures.chain_framework import framework_glass
from aiida_softclay.structures.checks import check_crystal, check_structure, density
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import crystal, phase
from aiida_softclay.structures.mixtures import random_mixture, units_for_length
from aiida_softclay.structures.molecular_glass import PAPER_DENSITY, repeat_molecules
from aiida_softclay.structures.neighbours import heights, minimum_distance
from aiida_softclay.structures.oligomer_mixtures import oligomer_mixture
from aiida_softclay.structures.oligomers import oligomer_glass
from aiida_softclay.structures.polycrystal import polycrystal
from aiida_softclay.structures.slabs import interface_slab
from aiida_softclay.structures.substitution import substituted_crystal
from aiida_softclay.structures.supercells import supercell

#: Density of a slab as a fraction of the rule of mixtures: interfaces take room, strain keeps the salts' volumes.
SLAB_DENSITY_RANGE = (0.7, 1.1)


class UnsoundStructureError(ValueError):
    """A structure that no simulation should be given; the message says what is wrong with it."""


def choose_options(given: Mapping[str, Any], required: set[str], optional: set[str], what: str) -> dict[str, Any]:
    """Return the parameters without empty values.

    Raises
    ------
    ValueError
        If one is missing or not known.
    """
    options = {key: value for key, value in given.items() if value is not None}
    if missing := sorted(required - set(options)):
        raise ValueError(f'{what} needs {", ".join(missing)}')
    if unknown := sorted(set(options) - required - optional):
        known = ', '.join(sorted(required | optional))
        raise ValueError(f'{what} does not know {", ".join(unknown)}: choose from {known}')
    return options


def _sound(problems: list[str], what: str) -> None:
    if problems:
        raise UnsoundStructureError(f'{what} is not sound: {"; ".join(problems)}')


def make_crystal(parameters: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    """Return a crystal, or the smallest supercell of it that is wide enough, and its report."""
    options = choose_options(parameters, {'crystal'}, {'min_length', 'max_atoms', 'diagonal'}, 'a crystal')
    entry = phase(options['crystal'])
    atoms = crystal(entry.id)
    if 'min_length' in options:
        atoms = supercell(
            atoms, float(options['min_length']), max_atoms=options.get('max_atoms'),
            diagonal=bool(options.get('diagonal', False)),
        )  # fmt: skip
    _sound(check_crystal(atoms, entry), f'the cell of {entry.id}')
    return atoms, {'crystal': entry.id, 'warnings': [], **_facts(atoms)}


def make_slab(parameters: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    """Return a multilayer slab of two or more salts and its report."""
    sizes = {'n_atoms', 'min_length', 'max_atoms', 'thickness', 'plane_cells'}
    options = choose_options(parameters, {'mixture'}, sizes | {'max_strain', 'density_fraction', 'seed'}, 'a slab')
    mixture = Mixture.parse(options.pop('mixture'))
    slab = interface_slab(mixture, **options)
    exact = bool(slab.report['exact_ratio'])
    problems = check_structure(slab.atoms, mixture, density_range=SLAB_DENSITY_RANGE, exact_ratio=exact)
    _sound(problems, f'the slab of {mixture}')
    return slab.atoms, slab.report


def make_melt(parameters: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    """Return ions packed at random in a cubic cell and the report of it."""
    optional = {'n_formula_units', 'min_length', 'density', 'seed', 'contact_scale'}
    options = choose_options(parameters, {'mixture'}, optional, 'a random mixture')
    mixture = Mixture.parse(options['mixture'])
    wanted = float(options.get('density', mixture.rule_density))
    units = int(options.get('n_formula_units', 0))
    if 'min_length' in options and wanted > 0:
        units = max(units, units_for_length(mixture, float(options['min_length']), wanted))
    elif 'n_formula_units' not in options:
        raise ValueError('a random mixture needs n_formula_units or min_length')
    seed, scale = int(options.get('seed', 0)), float(options.get('contact_scale', 1.0))
    atoms = random_mixture(mixture, units, density=wanted, seed=seed, contact_scale=scale)
    problems = check_structure(atoms, mixture, density_range=(0.0, float('inf')), contact_scale=scale)
    _sound(problems, f'the random {mixture}')
    report = {
        'mixture': mixture.name,
        'formula_units': units,
        'rule_density_g_cm3': mixture.rule_density,
        'cell_length_A': float(atoms.cell[0, 0]),
        'seed': seed,
        'warnings': [],
        **_facts(atoms),
    }
    return atoms, report


def make_oligomers(parameters: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    """Return chain molecules packed with their cations and the report of it."""
    optional = {'anion', 'cation', 'n_molecules', 'density', 'seed', 'repeat'}
    options = choose_options(parameters, set(), optional, 'a glass of oligomers')
    glass = oligomer_glass(
        options.get('anion', 'Al3O2Cl8'), cation=options.get('cation', 'Li'),
        n_molecules=int(options.get('n_molecules', 8)),
        density_g_cm3=float(options.get('density', PAPER_DENSITY)), seed=int(options.get('seed', 0)),
        repeat=options.get('repeat', (1, 1, 1)),
    )  # fmt: skip
    return glass.atoms, glass.report


def make_molecules(parameters: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    """Return molecules of one or several kinds with their cations, packed in one piece, and the report of it."""
    optional = {'cations', 'density', 'seed'}
    options = choose_options(parameters, {'kinds', 'n_atoms'}, optional, 'a glass of molecules')
    glass = oligomer_mixture(
        options['kinds'], cations=options.get('cations', 'Li'), n_atoms=int(options['n_atoms']),
        density_g_cm3=float(options.get('density', PAPER_DENSITY)), seed=int(options.get('seed', 0)),
    )  # fmt: skip
    return glass.atoms, glass.report


def make_framework(parameters: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    """Return molecules cut from the chains of LiNbOCl4 with their cations, and the report of it."""
    optional = {'cation', 'n_molecules', 'density', 'seed', 'repeat'}
    options = choose_options(parameters, {'anion'}, optional, 'a framework glass')
    glass = framework_glass(
        options['anion'], cation=options.get('cation', 'Li'), n_molecules=int(options.get('n_molecules', 8)),
        density_g_cm3=float(options.get('density', PAPER_DENSITY)), seed=int(options.get('seed', 0)),
    )  # fmt: skip
    atoms = repeat_molecules(glass.atoms, options.get('repeat', (1, 1, 1)))
    molecules = int(atoms.arrays['molecule_id'].max()) + 1
    return atoms, {**glass.report, **_facts(atoms), 'n_molecules': molecules}


def make_particles(parameters: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    """Return eight turned particles cut from a slab as it is built, and the report of both."""
    optional = {'seed', 'contact_scale', 'slab'}
    options = choose_options(parameters, {'mixture', 'n_atoms'}, optional, 'a particle assembly')
    slab, about_slab = make_slab({'mixture': options['mixture'], **dict(options.get('slab', {}))})
    made = assemble_particles(
        slab, Mixture.parse(options['mixture']), int(options['n_atoms']), seed=int(options.get('seed', 0)),
        contact_scale=float(options.get('contact_scale', 1.0)),
    )  # fmt: skip
    return made.atoms, {**made.report, 'slab': about_slab}


def make_polycrystal(parameters: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    """Return eight turned grains of one salt and the report of how they were cut, turned and packed."""
    options = choose_options(parameters, {'salt', 'n_atoms'}, {'seed', 'contact_scale'}, 'a polycrystal')
    made = polycrystal(
        options['salt'], int(options['n_atoms']), seed=int(options.get('seed', 0)),
        contact_scale=float(options.get('contact_scale', 1.0)),
    )  # fmt: skip
    return made.atoms, made.report


def make_substitution(parameters: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    """Return a crystal with 2 Cl -> O + vacancy and the report of it."""
    optional = {'parent', 'repeat', 'density', 'density_fraction', 'choice', 'seed'}
    options = choose_options(parameters, {'composition'}, optional, 'a substituted crystal')
    made = substituted_crystal(
        options['composition'], parent=options.get('parent'), repeat=options.get('repeat', (2, 2, 1)),
        seed=int(options.get('seed', 0)), choice=int(options.get('choice', 0)),
        density_fraction=options.get('density_fraction'), density_g_cm3=options.get('density'),
    )  # fmt: skip
    return made.atoms, made.report


def _facts(atoms: Atoms) -> dict[str, Any]:
    return {
        'n_atoms': len(atoms),
        'density_g_cm3': density(atoms),
        'cell_heights_A': [round(float(value), 4) for value in heights(atoms.cell[:])],
        'minimum_distance_A': minimum_distance(atoms),
    }


#: Kind of a structure to its maker.
MAKERS: dict[str, Callable[[Mapping[str, Any]], tuple[Atoms, dict[str, Any]]]] = {
    'crystal': make_crystal,
    'slab': make_slab,
    'melt': make_melt,
    'oligomers': make_oligomers,
    'molecules': make_molecules,
    'framework': make_framework,
    'particles': make_particles,
    'polycrystal': make_polycrystal,
    'substitution': make_substitution,
}


def make_structure(kind: str, parameters: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    """Return the atoms of a structure of some kind, checked, and the report of how they were made.

    Parameters
    ----------
    kind : str
        A key of :data:`MAKERS`.
    parameters : mapping
        Parameters of its maker in this module.

    Raises
    ------
    ValueError
        If it cannot be made or is not sound: charge, density or contacts; the message says what to change.
    """
    if kind not in MAKERS:
        raise ValueError(f'there is no structure of kind {kind!r}: choose from {", ".join(MAKERS)}')
    return MAKERS[kind](parameters)
