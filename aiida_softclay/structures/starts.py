"""The cells from which glasses are made: which there are, what material each takes, and how to build one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from aiida_softclay.structures.assembly import AssemblyError, units_per_particle
from aiida_softclay.structures.building import make_structure
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.grains import GRAIN
from aiida_softclay.structures.materials import (
    Material,
    MaterialError,
    oligomer_material,
    parse_material,
    parse_oligomers,
)
from aiida_softclay.structures.molecular_glass import repeat_molecules
from aiida_softclay.structures.oxychlorides import Oxychloride
from aiida_softclay.structures.sharing import share_units
from aiida_softclay.structures.substitution import parent_sites
from aiida_softclay.structures.supercells import sort_by_element

#: Arrays of a start that tell its atoms apart: the number of the grain, or of the molecule.
LABELS = (GRAIN, 'molecule_id')
#: Chains in a cell of the framework that molecules are cut from.
CHAINS = 4
#: A cell that is off the wanted number of atoms by more than this fraction carries a warning.
TOLERATED_DEVIATION = 0.02
#: Keys that a start may be given; each start takes some of them.
SETTINGS = {'n_atoms', 'seed', 'contact_scale', 'expand', 'cations', 'density_g_cm3', 'substitution', 'slab'}


def _mixture(text: str, settings: Mapping[str, Any]) -> Material:
    mixture = Mixture.parse(text)
    if len(mixture.salts) < 2:
        raise MaterialError(
            f'{mixture} is one salt: particles are cut from a slab of two or more; take the start polycrystal for it'
        )
    units_per_particle(mixture, _size(settings))
    return Material.of_mixture(mixture)


def _salt(text: str, settings: Mapping[str, Any]) -> Material:
    mixture = Mixture.parse(text)
    if len(mixture.salts) != 1:
        raise MaterialError(
            f'a polycrystal is of one salt, {mixture} has {len(mixture.salts)}: take the start particles for it'
        )
    units_per_particle(mixture, _size(settings))
    return Material.of_mixture(Mixture.parse(mixture.salts[0]))


def _random(text: str, settings: Mapping[str, Any]) -> Material:
    mixture = Mixture.parse(text)
    _size(settings)
    return Material.of_mixture(mixture)


def _molecules(text: str, settings: Mapping[str, Any]) -> Material:
    _size(settings)
    return oligomer_material(text, settings.get('cations') or 'Li')


def _framework(text: str, settings: Mapping[str, Any]) -> Material:
    kinds, cations = parse_oligomers(text, settings.get('cations') or 'Li')
    if not isinstance(kinds, str) or not isinstance(cations, str) or kinds.startswith(('LAOC', 'PLAOC', 'tetramer')):
        raise MaterialError(
            f'{text} cannot be cut from a framework of chains: give one molecule and one cation, for example '
            'Li3Al3O2Cl8; or take the start oligomers'
        )
    return _molecules(text, settings)


def _oxychloride(text: str, settings: Mapping[str, Any]) -> Material:
    composition = Oxychloride.parse(text)
    return Material.of_counts(composition.counts(composition.smallest_number))


def _size(settings: Mapping[str, Any]) -> int:
    number = settings.get('n_atoms')
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
        raise MaterialError(f'n_atoms must be a positive whole number, not {number!r}')
    return int(number)


def _particles_recipe(text: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {'mixture': text, **_some(settings, 'n_atoms', 'seed', 'contact_scale', 'slab')}


def _polycrystal_recipe(text: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {'salt': text, **_some(settings, 'n_atoms', 'seed', 'contact_scale')}


def _random_recipe(text: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    units = max(1, round(_size(settings) / Mixture.parse(text).atoms_per_unit))
    return {
        'mixture': text, 'n_formula_units': units, 'density': settings.get('density_g_cm3'),
        **_some(settings, 'seed', 'contact_scale'),
    }  # fmt: skip


def _oligomers_recipe(text: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    kinds, cations = parse_oligomers(text, settings.get('cations') or 'Li')
    return {
        'kinds': kinds, 'cations': cations, 'density': settings.get('density_g_cm3'),
        **_some(settings, 'n_atoms', 'seed'),
    }  # fmt: skip


def _framework_recipe(text: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    kinds, cations = parse_oligomers(text, settings.get('cations') or 'Li')
    return {
        'anion': kinds, 'cation': cations, 'n_molecules': _framework_molecules(text, settings),
        'density': settings.get('density_g_cm3'),
        **_some(settings, 'seed'),
    }  # fmt: skip


def _framework_molecules(text: str, settings: Mapping[str, Any]) -> int:
    """Return the number of molecules next to the wish: the parent has four chains, all of them are cut alike."""
    return max(1, round(_size(settings) / _framework(text, settings).atoms_per_unit / CHAINS)) * CHAINS


def _substitution_recipe(text: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        'composition': text, 'density': settings.get('density_g_cm3'), **dict(settings.get('substitution') or {}),
        **_some(settings, 'seed'),
    }  # fmt: skip


def _some(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: settings[name] for name in names if settings.get(name) is not None}


@dataclass(frozen=True)
class Start:
    """One way to begin.

    Attributes
    ----------
    kind : str
        Key of :data:`aiida_softclay.structures.building.MAKERS`.
    about : str
        What it is and which material it takes.
    material : callable
        Text and settings to the :class:`Material`; raises ValueError where they do not go with this start.
    recipe : callable
        Text and settings to the parameters of the maker.
    """

    kind: str
    about: str
    material: Callable[[str, Mapping[str, Any]], Material]
    recipe: Callable[[str, Mapping[str, Any]], dict[str, Any]]


STARTS = {
    'particles': Start(
        'particles', 'eight turned particles cut from a slab of salts (gupta2023): 2LiCl-GaF3',
        _mixture, _particles_recipe,
    ),
    'polycrystal': Start(
        'polycrystal', 'eight turned grains of one salt (yang2024): MgCl2', _salt, _polycrystal_recipe
    ),
    'oligomers': Start(
        'molecules', 'oxychloride molecules and cations packed at random (you2025): Li3Al3O2Cl8, LAOC0.3b',
        _molecules, _oligomers_recipe,
    ),
    'framework': Start(
        'framework', 'oxychloride molecules cut from the chains of LiNbOCl4 (you2025): Li3Al3O2Cl8',
        _framework, _framework_recipe,
    ),
    'substitution': Start(
        'substitution', 'a chloroaluminate crystal with Cl replaced by O (dai2023, qyang2025): LiAlO0.75Cl2.5',
        _oxychloride, _substitution_recipe,
    ),
    'random': Start('melt', 'the ions of salts packed at random: 2LiCl-GaF3', _random, _random_recipe),
}  # fmt: skip
#: The start of a structure that the user brings, for example one that was melted and quenched by AIMD.
GIVEN = 'given'


def start_material(start: str, text: str, settings: Mapping[str, Any]) -> Material:
    """Return what a start is made of, and refuse a material or size that does not go with it.

    Parameters
    ----------
    start : str
        Key of :data:`STARTS`, or :data:`GIVEN`.
    text : str
        The material.
    settings : mapping
        Some of :data:`SETTINGS`: ``n_atoms``, ``seed``, ``contact_scale``, ``expand`` (copies along the three vectors),
        ``cations``, ``density_g_cm3``, ``substitution`` (``parent``, ``repeat``, ``choice``, ``density_fraction``),
        ``slab``.

    Raises
    ------
    ValueError
        With a sentence that says what to change.
    """
    if unknown := sorted(set(settings) - SETTINGS):
        raise MaterialError(f'a start does not know {", ".join(unknown)}: choose from {", ".join(sorted(SETTINGS))}')
    copies(settings)
    if start == GIVEN:
        return parse_material(text, settings.get('cations') or 'Li')
    if start not in STARTS:
        raise MaterialError(f'there is no start {start!r}: choose from {", ".join([*STARTS, GIVEN])}')
    return STARTS[start].material(text, settings)


def copies(settings: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return how often a start is repeated along its three vectors.

    Raises
    ------
    MaterialError
        If ``expand`` is not three positive whole numbers.
    """
    expand = settings.get('expand') or (1, 1, 1)
    whole = isinstance(expand, Sequence) and not isinstance(expand, str) and len(expand) == 3
    if not whole or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in expand):
        raise MaterialError(f'expand is three positive whole numbers, not {expand!r}')
    return int(expand[0]), int(expand[1]), int(expand[2])


def start_size(start: str, text: str, settings: Mapping[str, Any]) -> int:
    """Return about how many atoms a start has, without building it.

    Raises
    ------
    ValueError
        As for :func:`start_material`.
    """
    material = start_material(start, text, settings)
    number = int(np.prod(copies(settings)))
    if start == 'substitution':
        options = dict(settings.get('substitution') or {})
        composition = Oxychloride.parse(text)
        parent = options.get('parent') or f'{composition.cation}{composition.metal}Cl4'
        metals = len(parent_sites(parent, options.get('repeat') or (2, 2, 1)).metals)
        return number * sum(composition.counts(metals).values())
    if start == GIVEN:
        raise MaterialError('the size of a given structure is that of the structure')
    if start == 'framework':
        return number * _framework_molecules(text, settings) * material.atoms_per_unit
    if start == 'particles':
        mixture = Mixture.parse(text)
        return number * sum(sum(mixture.count_atoms(units).values()) for units in share_units(mixture, _size(settings)))
    return number * max(1, round(_size(settings) / material.atoms_per_unit)) * material.atoms_per_unit


def make_start(start: str, text: str, settings: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    """Return the cell of a start and the report of how it was made.

    Parameters and errors are those of :func:`start_material`.

    Returns
    -------
    atoms : ase.Atoms
        Periodic; with an array of :data:`LABELS` where its grains or molecules are told apart.
    report : dict
        JSON-serialisable.
    """
    material = start_material(start, text, settings)
    if start == GIVEN:
        raise MaterialError('a given structure is not built: expand_cell repeats it')
    kind = STARTS[start].kind
    atoms, report = make_structure(kind, STARTS[start].recipe(text, settings))
    expanded = expand_cell(atoms, copies(settings))
    if material.units_of(expanded) is None:
        raise AssemblyError(f'{expanded.get_chemical_formula()} is no whole number of {material}: a defect of {kind}')
    about = {'material': material.name, 'start': start, **report}
    about |= {'n_atoms': len(expanded), 'expand': list(copies(settings))}
    if 'molecule_id' in expanded.arrays:
        about['n_molecules'] = int(expanded.arrays['molecule_id'].max()) + 1
    wanted = _size(settings) if start == 'framework' else len(atoms)
    if abs(len(atoms) - wanted) > TOLERATED_DEVIATION * wanted:
        step = CHAINS * material.atoms_per_unit
        about['warnings'] = [
            *about['warnings'],
            f'{wanted} atoms were asked for; whole chains make multiples of {step}',
        ]
    return expanded, about


def expand_cell(atoms: Atoms, repeat: Sequence[int]) -> Atoms:
    """Return a cell repeated along its vectors, sorted by element; copies of molecules and grains get their own ids."""
    if tuple(repeat) == (1, 1, 1):
        return atoms
    if 'molecule_id' in atoms.arrays:
        return repeat_molecules(atoms, repeat)
    repeated = atoms.repeat([int(number) for number in repeat])
    if GRAIN in atoms.arrays:
        number = int(atoms.arrays[GRAIN].max()) + 1
        shift = number * np.repeat(np.arange(int(np.prod(repeat))), len(atoms))
        repeated.set_array(GRAIN, repeated.arrays[GRAIN] + shift)
    return sort_by_element(repeated)


def label_arrays(atoms: Atoms) -> dict[str, np.ndarray]:
    """Return the arrays that tell grains or molecules apart, by name."""
    return {name: atoms.arrays[name] for name in LABELS if name in atoms.arrays}
