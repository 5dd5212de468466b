"""The range of potentials over which a material neither takes up nor gives off an ion."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiida_softclay.analysis.hull_energy import phase_diagram
from aiida_softclay.analysis.thermodynamics import (
    EntriesError,
    PhaseEntry,
    PhaseSet,
    check_entries,
    phase_set,
    reduced_formula,
    within,
)

#: Charge numbers of the ions of this field.
ION_CHARGES = {'Li': 1, 'Na': 1, 'K': 1, 'Mg': 2, 'Ca': 2, 'Zn': 2, 'Al': 3}
#: Ions taken up by one formula unit below this count as none.
EXCHANGE_TOLERANCE = 1e-4
#: Change of an energy for the derivative of the window with respect to it, eV/atom.
ENERGY_STEP = 1e-4


@dataclass(frozen=True)
class Stage:
    """What a material is in equilibrium with over a range of potentials.

    Attributes
    ----------
    lower, upper : float
        Potentials against the metal, V; infinite at the end of the last stage.
    ions : float
        Ions taken up (positive) or given off by the composition asked about.
    reaction : str
        The reaction with ions from, or to, the metal.
    phases : tuple of str
        Ids of the phases.
    """

    lower: float
    upper: float
    ions: float
    reaction: str
    phases: tuple[str, ...]


@dataclass(frozen=True)
class ElectrochemicalWindow:
    """Reduction and oxidation potentials of a composition.

    Attributes
    ----------
    formula : str
        The composition.
    ion : str
        The ion that is exchanged; potentials are against its metal.
    reduction, oxidation : float
        Below the first the material takes up ions, above the second it gives them off, V. The second is infinite if
        there is nothing to give.
    reduction_error, oxidation_error : float or None
        One standard error each, V; None if a phase that decides has none.
    stages : tuple of Stage
        All equilibria from low to high potential.
    phase_set : PhaseSet
        What was considered.
    """

    formula: str
    ion: str
    reduction: float
    oxidation: float
    reduction_error: float | None
    oxidation_error: float | None
    stages: tuple[Stage, ...]
    phase_set: PhaseSet

    @property
    def width(self) -> float:
        """Oxidation minus reduction potential, V."""
        return self.oxidation - self.reduction

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; an infinite potential becomes None."""
        finite = {key: value if math.isfinite(value) else None for key, value in
                  (('reduction_V', self.reduction), ('oxidation_V', self.oxidation))}  # fmt: skip
        return {
            'formula': self.formula, 'ion': self.ion, **finite, 'reduction_error_V': self.reduction_error,
            'oxidation_error_V': self.oxidation_error,
            'stages': [
                {'lower_V': stage.lower, 'upper_V': stage.upper if math.isfinite(stage.upper) else None,
                 'ions': stage.ions, 'reaction': stage.reaction, 'phases': list(stage.phases)}
                for stage in self.stages
            ],
        }  # fmt: skip


def _stages(entries: Sequence[PhaseEntry], composition: Mapping[str, float], ion: str, charge: int) -> list[Stage]:
    """Return the equilibria of a composition open to an ion, from low to high potential."""
    from pymatgen.core import Composition, Element

    diagram = phase_diagram(entries)
    element = Element(ion)
    profile = diagram.get_element_profile(element, Composition(dict(composition)))
    reference = diagram.el_refs[element].energy_per_atom
    potentials = [-(step['chempot'] - reference) / charge for step in profile]
    return [
        Stage(
            float(potential) + 0.0, float(following) + 0.0, float(step['evolution']), str(step['reaction']),
            tuple(sorted(phase.attribute for phase in step['entries'] if phase.attribute is not None)),
        )
        for step, potential, following in zip(profile, potentials, [*potentials[1:], math.inf], strict=True)
    ]  # fmt: skip


def _window(stages: Sequence[Stage]) -> tuple[float, float]:
    """Return the ends of the stage that exchanges nothing; they coincide where only one potential does that."""
    for stage in stages:
        if abs(stage.ions) < EXCHANGE_TOLERANCE:
            return stage.lower, stage.upper
    for taking, giving in itertools.pairwise(stages):
        if taking.ions > 0 > giving.ions:
            return taking.upper, taking.upper
    # More ions than any phase can hold: the metal itself is left over.
    return stages[0].lower, stages[0].lower


def _errors(
    entries: Sequence[PhaseEntry], composition: Mapping[str, float], ion: str, charge: int
) -> tuple[float | None, float | None]:
    """Return the errors of both ends, propagated by central differences over the phases that decide.

    A derivative stands for the phases in equilibrium now; it says nothing of others that an error could bring in.
    """
    squares: list[float | None] = [0.0, 0.0]
    stages = _stages(entries, composition, ion, charge)
    deciding = {name for stage in stages for name in stage.phases} | {
        entry.id for entry in entries if set(entry.composition) == {ion}
    }
    for index, entry in enumerate(entries):
        if entry.id not in deciding:
            continue
        ends = []
        for sign in (1, -1):
            moved = replace(entry, energy=entry.energy + sign * ENERGY_STEP * entry.n_atoms)
            ends.append(_window(_stages([*entries[:index], moved, *entries[index + 1 :]], composition, ion, charge)))
        for end in (0, 1):
            if not (math.isfinite(ends[0][end]) and math.isfinite(ends[1][end])):
                continue
            slope = (ends[0][end] - ends[1][end]) / (2 * ENERGY_STEP)
            known = squares[end]
            if known is None or abs(slope) < 1e-6:
                continue
            error = entry.error_per_atom
            squares[end] = None if error is None else known + (slope * error) ** 2
    low, high = (None if square is None else math.sqrt(square) for square in squares)
    return low, high


def electrochemical_window(
    entries: Sequence[PhaseEntry], composition: Mapping[str, float], ion: str, charge: int | None = None
) -> ElectrochemicalWindow:
    """Return the electrochemical window of a composition from the grand-potential phase diagram open to an ion.

    At the chemical potential μ of the ion's element the other elements form the phases of lowest Σ E − μ N_ion. The
    window is the range of μ over which these hold as many ions as the composition; V = −(μ − E(metal)) / z against the
    metal (Ong et al., Chem. Mater. 20, 1798 (2008); Richards et al., Chem. Mater. 28, 266 (2016); yang2024, Methods).
    It is that of the equilibrium phases: an amorphous material of this composition lies above the hull, and is at
    best this stable.

    Parameters
    ----------
    entries : sequence of PhaseEntry
        The competing phases, the metal among them; those of other elements are left out.
    composition : mapping
        Atoms of each element, see :func:`~aiida_softclay.analysis.reaction_energy.mixed_composition`.
    ion : str
        Element of the ion.
    charge : int, optional
        Its charge number z; known for the common ions.

    Raises
    ------
    EntriesError
        If the table lacks an element, the composition has no other element than the ion, or z is not known.
    """
    check_entries(entries)
    number = charge if charge is not None else ION_CHARGES.get(ion)
    if number is None or number < 1:
        raise EntriesError(f'the charge of the ion of {ion} is not known: give `charge`, a whole number above 0')
    if not set(composition) - {ion}:
        raise EntriesError(f'{reduced_formula(composition)} has no element besides {ion}: it has no window')
    used = within(entries, {*composition, ion})
    about = phase_set(used)
    absent = sorted(set(about.absent_elements) | ({*composition, ion} - set(about.chemical_system.split('-'))))
    if absent:
        raise EntriesError(f'a window needs an entry for each element: add {", ".join(absent)}')
    stages = _stages(used, composition, ion, number)
    low, high = _window(stages)
    errors = _errors(used, composition, ion, number)
    return ElectrochemicalWindow(
        reduced_formula(composition), ion, low, high, *errors, tuple(stages), about
    )  # fmt: skip
