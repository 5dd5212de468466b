"""The convex hull of a table of phases, and the energy of each phase against all others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiida_softclay.analysis.thermodynamics import PhaseEntry, check_entries, find_entry, phase_set, within

#: Energies per atom that differ by less are the same (eV).
ENERGY_TOLERANCE = 1e-6
#: Amounts below are not part of a decomposition (fraction of the atoms).
AMOUNT_TOLERANCE = 1e-6
#: An element without an entry is held this far above everything else (eV/atom), where it is never a product.
ABSENT_ELEMENT_ENERGY = 100.0


def phase_diagram(entries: Sequence[PhaseEntry]) -> Any:
    """Return pymatgen's phase diagram; ``attribute`` of each of its entries is the id of ours.

    pymatgen wants an energy for every element. One that is not in the table is put far above all phases, where it
    spans the hull and is part of no decomposition of what the table's phases can make up; its ``attribute`` is None.
    """
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    made = [PDEntry(Composition(dict(entry.composition)), entry.energy, attribute=entry.id) for entry in entries]
    high = max(entry.energy_per_atom for entry in entries) + ABSENT_ELEMENT_ENERGY
    made += [PDEntry(Composition(element), high) for element in phase_set(entries).absent_elements]
    return PhaseDiagram(made)


def decompose(composition: Mapping[str, float], entries: Sequence[PhaseEntry]) -> tuple[dict[str, float], float] | None:
    """Return the phases of lowest energy that make up a composition, by linear programming.

    Minimises Σ a_i e_i over the fractions a_i ≥ 0 of the atoms in phase i, whose elements must add up to the
    composition; e_i is the energy per atom.

    Returns
    -------
    fractions : dict
        Id to fraction of the atoms.
    energy : float
        eV/atom.

    None if the entries cannot make up the composition.
    """
    from scipy.optimize import linprog

    elements = sorted(composition)
    usable = within(entries, elements)
    if not usable:
        return None
    total = sum(composition.values())
    shares = np.array([[entry.composition.get(el, 0.0) / entry.n_atoms for entry in usable] for el in elements])
    energies = np.array([entry.energy_per_atom for entry in usable])
    # Energies of tens of eV with differences of meV: the solver's tolerance is absolute.
    offset = float(energies.mean())
    answer = linprog(energies - offset, A_eq=shares, b_eq=[composition[el] / total for el in elements], method='highs')
    if answer.status != 0:
        return None
    parts = {entry.id: float(x) for entry, x in zip(usable, answer.x, strict=True) if x > AMOUNT_TOLERANCE}
    return parts, float(answer.fun) + offset


@dataclass(frozen=True)
class HullEnergy:
    """Where a phase lies against all others of its table.

    Attributes
    ----------
    id, formula : str
        The phase.
    above_hull : float
        Energy above the convex hull of the whole table, eV/atom; 0 for a stable phase.
    distance : float or None
        Energy minus that of the best mixture of the other phases, eV/atom: negative for a stable phase, which would
        have to rise by so much to decompose. None where the others cannot make up its composition.
    error : float or None
        One standard error of ``distance``, eV/atom.
    decomposition : dict
        That mixture: id to fraction of the atoms.
    """

    id: str
    formula: str
    above_hull: float
    distance: float | None
    error: float | None
    decomposition: Mapping[str, float]

    @property
    def stable(self) -> bool:
        """Whether the phase is on the hull."""
        return self.above_hull <= ENERGY_TOLERANCE


def combined_error(weights: Mapping[str, float], entries: Iterable[PhaseEntry]) -> float | None:
    """Return the standard error of Σ w_i e_i, the errors of the phases taken as independent.

    Parameters
    ----------
    weights : mapping
        Id to weight of the energy per atom.
    entries : iterable of PhaseEntry

    Returns
    -------
    float or None
        eV/atom; None if a phase with a weight carries no error.
    """
    errors = {entry.id: entry.error_per_atom for entry in entries}
    terms = [(weight, errors[name]) for name, weight in weights.items() if abs(weight) > AMOUNT_TOLERANCE]
    if any(error is None for _, error in terms):
        return None
    return math.sqrt(sum((weight * error) ** 2 for weight, error in terms if error is not None))


def hull_energies(entries: Sequence[PhaseEntry], names: Iterable[str] | None = None) -> tuple[HullEnergy, ...]:
    """Return the energy of each phase against the convex hull, from the lowest to the highest.

    Parameters
    ----------
    entries : sequence of PhaseEntry
        The competing phases, those asked about among them.
    names : iterable of str, optional
        Ids or formulas; all if not given.

    Raises
    ------
    EntriesError
        If the table cannot be used or lacks a name.
    """
    check_entries(entries)
    chosen = list(entries) if names is None else [find_entry(entries, name) for name in names]
    found = []
    for entry in chosen:
        others = [other for other in entries if other.id != entry.id]
        answer = decompose(entry.composition, others)
        if answer is None:
            found.append(HullEnergy(entry.id, entry.formula, 0.0, None, None, {}))
            continue
        parts, energy = answer
        distance = entry.energy_per_atom - energy
        error = combined_error({entry.id: 1.0, **{name: -share for name, share in parts.items()}}, entries)
        found.append(HullEnergy(entry.id, entry.formula, max(distance, 0.0), distance, error, parts))
    return tuple(sorted(found, key=lambda row: (row.above_hull, row.id)))
