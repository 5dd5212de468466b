"""Crystal structures of the salts and their competing phases, from a data file in which every number has a source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.formula import Formula
from ase.spacegroup import crystal as expand_orbits

DATA_FILE = Path(__file__).parent / 'crystals.yaml'
SCHEMA = 'soft-clay-crystals/1'
CONFIDENCES = ('high', 'medium', 'low')
AMU_PER_A3_IN_G_CM3 = 1.66053906660


class CrystalDataError(ValueError):
    """The crystal data file contradicts itself."""


class UnknownCrystalError(ValueError):
    """A phase was asked for that the data file does not hold, or that its formula does not single out."""


@dataclass(frozen=True)
class Site:
    """One crystallographic orbit: element, Wyckoff letter with multiplicity, fractional coordinates."""

    element: str
    wyckoff: str
    xyz: tuple[float, float, float]

    @property
    def multiplicity(self) -> int:
        """Number of atoms of the orbit in the conventional cell."""
        return int(self.wyckoff[:-1])


@dataclass(frozen=True)
class Phase:
    """A crystalline phase as the data file gives it.

    Attributes
    ----------
    id : str
        Unique name; the formula, with a suffix where polymorphs share it.
    formula : str
        Formula of one of the ``formula_units`` (Z) in the cell.
    space_group, origin_choice : int
        International number and setting (2 is the second origin choice).
    symbol : str
        Hermann-Mauguin symbol.
    lattice : tuple of float
        a, b, c in Å and α, β, γ in degrees.
    oxidation_states : dict
        Mean formal charge of each element; all zero in elements and alloys.
    sites : tuple of Site
        The orbits.
    density_expected : float
        Reported density, g/cm³, and where it is from in ``density_source``.
    molecular, dispersion_bound : bool
        Built of neutral molecules; held together mainly through halide-halide contacts.
    confidence : str
        ``high``, ``medium`` or ``low``; what these mean is written in the data file.
    source, coordinates_source, notes : str
        Where cell and positions come from.
    """

    id: str
    name: str
    formula: str
    space_group: int
    origin_choice: int
    lattice: tuple[float, float, float, float, float, float]
    formula_units: int
    oxidation_states: dict[str, float]
    sites: tuple[Site, ...]
    density_expected: float
    density_source: str
    molecular: bool
    dispersion_bound: bool
    confidence: str
    source: str
    coordinates_source: str
    notes: str
    symbol: str = ''

    @property
    def composition(self) -> dict[str, int]:
        """Atoms of each element in one formula unit."""
        return {str(element): int(count) for element, count in Formula(self.formula).count().items()}

    @property
    def is_salt(self) -> bool:
        """Whether the phase is made of ions."""
        return any(self.oxidation_states.values())

    @property
    def charge(self) -> float:
        """Sum of the formal charges of one formula unit."""
        return float(sum(self.oxidation_states[element] * count for element, count in self.composition.items()))

    @property
    def volume(self) -> float:
        """Volume of one formula unit, Å³."""
        a, b, c, *angles = self.lattice
        ca, cb, cg = np.cos(np.radians(angles))
        return float(a * b * c * np.sqrt(1 - ca**2 - cb**2 - cg**2 + 2 * ca * cb * cg) / self.formula_units)

    @property
    def mass(self) -> float:
        """Mass of one formula unit, u."""
        return float(sum(atomic_masses[atomic_numbers[el]] * count for el, count in self.composition.items()))

    @property
    def density(self) -> float:
        """Density of the cell as given, g/cm³."""
        return self.mass / self.volume * AMU_PER_A3_IN_G_CM3

    def to_atoms(self) -> Atoms:
        """Return the conventional cell, periodic, a along x and b in the xy plane."""
        structure = expand_orbits(
            symbols=[site.element for site in self.sites],
            basis=[site.xyz for site in self.sites],
            spacegroup=self.space_group,
            setting=self.origin_choice,
            cellpar=self.lattice,
            onduplicates='error',
        )
        return Atoms(
            structure.get_chemical_symbols(),
            cell=structure.cell[:],
            scaled_positions=structure.get_scaled_positions(),
            pbc=True,
        )


def _site(row: dict[str, Any]) -> Site:
    x, y, z = (float(value) for value in row['xyz'])
    return Site(row['el'], row['wyckoff'], (x, y, z))


def _phase(entry: dict[str, Any]) -> Phase:
    lattice = entry['lattice']
    group = entry['space_group']
    return Phase(
        id=entry['id'],
        name=entry.get('name', ''),
        formula=entry['formula'],
        space_group=int(group['number']),
        origin_choice=2 if 'origin choice 2' in group.get('setting', '') else 1,
        lattice=tuple(float(lattice[key]) for key in ('a', 'b', 'c', 'alpha', 'beta', 'gamma')),  # type: ignore[arg-type]
        formula_units=int(entry['Z']),
        oxidation_states={str(key): float(value) for key, value in entry['oxidation_states'].items()},
        sites=tuple(_site(row) for row in entry['sites']),
        density_expected=float(entry['density_expected']),
        density_source=entry.get('density_source', ''),
        molecular=bool(entry['molecular_solid']),
        dispersion_bound=bool(entry['dispersion_bound']),
        confidence=entry['confidence'],
        source=entry['source'],
        coordinates_source=entry.get('coordinates_source', ''),
        notes=entry.get('notes', ''),
        symbol=str(group.get('symbol', '')),
    )


def _check_phase(phase: Phase) -> None:
    composition = phase.composition
    if set(composition) != set(phase.oxidation_states):
        raise CrystalDataError(f'{phase.id}: the oxidation states are not those of the elements of {phase.formula}')
    if abs(phase.charge) > 1e-9:
        raise CrystalDataError(f'{phase.id}: the oxidation states of {phase.formula} sum to {phase.charge:+g}, not 0')
    counts: dict[str, int] = {}
    for site in phase.sites:
        counts[site.element] = counts.get(site.element, 0) + site.multiplicity
    expected = {element: count * phase.formula_units for element, count in composition.items()}
    if counts != expected:
        raise CrystalDataError(f'{phase.id}: the orbits hold {counts}, but Z = {phase.formula_units} needs {expected}')
    if phase.confidence not in CONFIDENCES:
        raise CrystalDataError(f'{phase.id}: the confidence is {phase.confidence!r}, not one of {CONFIDENCES}')
    if not phase.source:
        raise CrystalDataError(f'{phase.id} names no source')


@lru_cache(maxsize=4)
def load_phases(path: Path = DATA_FILE) -> dict[str, Phase]:
    """Return all phases of a crystal data file by id, checked for charge, orbit counts and sources.

    Raises
    ------
    CrystalDataError
        With a sentence that names the phase and the contradiction.
    """
    content = yaml.safe_load(path.read_text(encoding='utf-8'))
    if not isinstance(content, dict) or content.get('schema') != SCHEMA:
        raise CrystalDataError(f'{path.name} does not declare the schema {SCHEMA!r}')
    phases: dict[str, Phase] = {}
    for entry in content['phases']:
        try:
            phase = _phase(entry)
        except (KeyError, TypeError, ValueError) as error:
            raise CrystalDataError(f'{path.name}: {entry.get("id", "a phase")} cannot be read: {error!r}') from error
        if phase.id in phases:
            raise CrystalDataError(f'{path.name} holds {phase.id} twice')
        _check_phase(phase)
        phases[phase.id] = phase
    return phases


def list_crystals(
    elements: Iterable[str] | None = None, *, salts_only: bool = False, confidence: str | None = None
) -> list[str]:
    """Return the ids of the known phases.

    Parameters
    ----------
    elements : iterable of str, optional
        Only phases made of these elements and no others.
    salts_only : bool
        Leave out elements and alloys.
    confidence : str, optional
        Only phases of this confidence or better.
    """
    allowed = None if elements is None else set(elements)
    worst = len(CONFIDENCES) if confidence is None else CONFIDENCES.index(confidence) + 1
    return [
        phase.id
        for phase in load_phases().values()
        if (allowed is None or set(phase.composition) <= allowed)
        and (phase.is_salt or not salts_only)
        and phase.confidence in CONFIDENCES[:worst]
    ]


def _reduced(formula: str) -> dict[str, int]:
    reduced, _ = Formula(formula).reduce()
    return {str(element): int(count) for element, count in reduced.count().items()}


def phase(name: str) -> Phase:
    """Return the phase with this id, or the only one with this formula (in any order of elements).

    Raises
    ------
    UnknownCrystalError
        If there is none, or if polymorphs share the formula; the message lists the choices.
    """
    phases = load_phases()
    if name in phases:
        return phases[name]
    try:
        wanted = _reduced(name)
    except (ValueError, KeyError):
        wanted = {}
    matches = [entry for entry in phases.values() if wanted and _reduced(entry.formula) == wanted]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UnknownCrystalError(f'{name} has several polymorphs: choose {" or ".join(m.id for m in matches)}')
    raise UnknownCrystalError(f'no crystal structure is known for {name!r}; known are {", ".join(phases)}')


def find_crystals(text: str | None = None, *, salts_only: bool = False) -> list[Phase]:
    """Return the phases an id, a formula or a chemical system stands for.

    Parameters
    ----------
    text : str, optional
        ``LiAlO2_gamma`` (one phase), ``LiAlO2`` (all its polymorphs) or ``Li-Ga-F-Cl`` (all phases of these elements
        and no others); everything if not given.
    salts_only : bool
        Leave out elements and alloys.

    Raises
    ------
    UnknownCrystalError
        If there is none; the message lists what is known.
    """
    phases = load_phases()
    parts = [part.strip() for part in text.split('-')] if text else []
    if text is None:
        found = list(phases.values())
    elif text in phases:
        return [phases[text]]
    elif len(parts) > 1 and all(part in atomic_numbers for part in parts):
        found = [phases[name] for name in list_crystals(parts)]
    else:
        try:
            wanted = _reduced(text)
        except (ValueError, KeyError):
            wanted = {}
        found = [entry for entry in phases.values() if wanted and _reduced(entry.formula) == wanted]
    found = [entry for entry in found if entry.is_salt or not salts_only]
    if not found:
        raise UnknownCrystalError(
            f'no crystal structure is known for {text!r}: give an id, a formula or a chemical system such as '
            f'Li-Ga-F-Cl; known are {", ".join(phases)}'
        )
    return found


def crystal(name: str) -> Atoms:
    """Return the conventional cell of a known phase.

    Parameters
    ----------
    name : str
        Id or formula, for example ``LiCl``, ``GaF3`` or ``LiAlO2_gamma``.

    Returns
    -------
    ase.Atoms
        Periodic cell in Å, a along x; ``info['phase']`` is the id.

    Raises
    ------
    UnknownCrystalError
        If the phase is not known; the message lists those that are.
    """
    entry = phase(name)
    atoms = entry.to_atoms()
    atoms.info['phase'] = entry.id
    return atoms
