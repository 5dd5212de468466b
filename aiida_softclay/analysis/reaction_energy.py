"""Reaction energies of two salts over all mixing ratios: which products, and how much energy they release."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from aiida_softclay.analysis.hull_energy import AMOUNT_TOLERANCE, combined_error, decompose, phase_diagram
from aiida_softclay.analysis.thermodynamics import (
    EntriesError,
    PhaseEntry,
    PhaseSet,
    check_entries,
    find_entry,
    parse_formula,
    phase_set,
    reduced_formula,
    within,
)

#: Stoichiometric numbers are written as whole numbers up to this denominator.
MAX_DENOMINATOR = 60


@dataclass(frozen=True)
class SaltReaction:
    """A balanced reaction of salts, and its energy.

    Attributes
    ----------
    equation : str
        Such as ``3 LiCl + 2 GaF3 -> Li3GaF6 + GaCl3``; ``no reaction`` where nothing changes.
    energy : float
        Reaction energy, eV per atom of the reactants (and so of the products); negative if energy is released.
    error : float or None
        One standard error of ``energy``.
    atomic_fraction : float
        Share of all atoms that are those of the first salt.
    moles : dict
        Formula units of each salt per formula unit of the last one (of the first where there is none of the last).
    reactants, products : dict
        Id to formula units, on the scale of the equation; what stays as it was is left out.
    remaining : dict
        Id to fraction of the atoms of the salts that are left over unreacted.
    """

    equation: str
    energy: float
    error: float | None
    atomic_fraction: float
    moles: Mapping[str, float]
    reactants: Mapping[str, float]
    products: Mapping[str, float]
    remaining: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            'equation': self.equation, 'energy_eV_atom': self.energy, 'error_eV_atom': self.error,
            'atomic_fraction': self.atomic_fraction, 'moles': dict(self.moles), 'reactants': dict(self.reactants),
            'products': dict(self.products), 'remaining': dict(self.remaining),
        }  # fmt: skip


@dataclass(frozen=True)
class ReactionProfile:
    """All reactions of two salts, one for each ratio at which the products change.

    Between two neighbouring ratios the energy per atom is linear in the fraction of the atoms, so the largest driving
    force of all ratios is one of these.

    Attributes
    ----------
    salts : tuple of str
        Ids of the two salts.
    reactions : tuple of SaltReaction
        From pure second to pure first salt.
    phase_set : PhaseSet
        What was considered.
    """

    salts: tuple[str, str]
    reactions: tuple[SaltReaction, ...]
    phase_set: PhaseSet

    @property
    def best(self) -> SaltReaction:
        """The reaction with the largest driving force per atom."""
        return min(self.reactions, key=lambda reaction: reaction.energy)

    @property
    def rivals(self) -> tuple[SaltReaction, ...]:
        """Reactions that the errors do not tell from the best one: within two combined errors of it."""
        best = self.best
        if best.error is None:
            return ()
        return tuple(
            reaction
            for reaction in self.reactions
            if reaction is not best
            and reaction.error is not None
            and reaction.energy - best.energy < 2 * math.hypot(best.error, reaction.error)
        )


def _whole(amounts: Sequence[float]) -> list[float]:
    """Return amounts scaled to the smallest whole numbers where that is possible, else to the smallest of them."""
    smallest = min(amounts)
    ratios = [Fraction(amount / smallest).limit_denominator(MAX_DENOMINATOR) for amount in amounts]
    scale = math.lcm(*(ratio.denominator for ratio in ratios))
    whole = [float(ratio * scale) for ratio in ratios]
    exact = all(
        math.isclose(number / scale, amount / smallest, rel_tol=1e-4)
        for number, amount in zip(whole, amounts, strict=True)
    )
    return whole if exact else [amount / smallest for amount in amounts]


def _side(amounts: Mapping[str, float], formulas: Mapping[str, str]) -> str:
    return ' + '.join(
        formulas[name] if math.isclose(amount, 1.0, rel_tol=1e-6) else f'{amount:.6g} {formulas[name]}'
        for name, amount in amounts.items()
    )


def _formula_atoms(entry: PhaseEntry) -> float:
    return sum(parse_formula(entry.formula).values())


def _reaction(
    shares: Mapping[str, float], products: Mapping[str, float], entries: Mapping[str, PhaseEntry]
) -> SaltReaction:
    """Return the reaction of salts whose shares of the atoms are ``shares`` to phases of the shares ``products``."""
    change = {name: products.get(name, 0.0) - shares.get(name, 0.0) for name in {**shares, **products}}
    moving = {name: value for name, value in change.items() if abs(value) > AMOUNT_TOLERANCE}
    energy = sum(value * entries[name].energy_per_atom for name, value in moving.items())
    error = combined_error(moving, entries.values()) if moving else 0.0
    formula_units = {name: abs(value) / _formula_atoms(entries[name]) for name, value in moving.items()}
    scaled = dict(zip(formula_units, _whole(list(formula_units.values())), strict=True)) if moving else {}
    order = [*shares, *sorted(name for name in products if name not in shares)]
    left = {name: scaled[name] for name in order if moving.get(name, 0.0) < 0}
    right = {name: scaled[name] for name in order if moving.get(name, 0.0) > 0}
    formulas = {name: entries[name].formula for name in moving}
    names = [name for name in shares if shares[name] > AMOUNT_TOLERANCE]
    unit = shares[names[-1]] / _formula_atoms(entries[names[-1]])
    return SaltReaction(
        equation=f'{_side(left, formulas)} -> {_side(right, formulas)}' if moving else 'no reaction',
        energy=float(energy), error=error, atomic_fraction=float(next(iter(shares.values()))),
        moles={name: shares[name] / _formula_atoms(entries[name]) / unit for name in names},
        reactants=left, products=right,
        remaining={
            name: min(share, products[name]) for name, share in shares.items() if products.get(name, 0.0) > 0
        },
    )  # fmt: skip


def reaction_energies(entries: Sequence[PhaseEntry], first: str, second: str) -> ReactionProfile:
    """Return the reactions of two salts over all mixing ratios and sets of products.

    ΔE(x) = E_hull(x A + (1 − x) B) − x E(A) − (1 − x) E(B), everything per atom, x the fraction of the atoms that are
    A's (Richards et al., Chem. Mater. 28, 266 (2016), eq. 1; the reaction energies of gupta2023 and yang2024).

    Parameters
    ----------
    entries : sequence of PhaseEntry
        The competing phases and both salts; those of other elements are left out.
    first, second : str
        Ids or formulas; for a formula the polymorph of lowest energy is taken.

    Raises
    ------
    EntriesError
        If the table cannot be used, lacks a salt, or both are the same.
    """
    check_entries(entries)
    salts = find_entry(entries, first), find_entry(entries, second)
    if salts[0].formula == salts[1].formula:
        raise EntriesError(f'{first} and {second} have one composition: two different salts react')
    used = within(entries, {element for salt in salts for element in salt.composition})
    diagram = phase_diagram(used)
    by_id = {entry.id: entry for entry in used}
    from pymatgen.core import Composition

    fractional = [Composition(dict(salt.composition)).fractional_composition for salt in salts]
    reactions = []
    for mixture in reversed(diagram.get_critical_compositions(*fractional)):
        x = _share_of_first(mixture.fractional_composition, fractional)
        mixed = fractional[0] * x + fractional[1] * (1 - x)
        parts: dict[str, float] = {}
        for phase, amount in diagram.get_decomposition(mixed).items():
            if phase.attribute is not None and amount > AMOUNT_TOLERANCE:
                parts[phase.attribute] = parts.get(phase.attribute, 0.0) + float(amount)
        reactions.append(_reaction({salts[0].id: x, salts[1].id: 1 - x}, parts, by_id))
    ordered = sorted(reactions, key=lambda reaction: reaction.atomic_fraction)
    return ReactionProfile((salts[0].id, salts[1].id), tuple(ordered), phase_set(used))


def _share_of_first(mixture: Any, ends: Sequence[Any]) -> float:
    """Return x of ``mixture = x a + (1 − x) b`` from the element that tells the ends apart best."""
    elements = {*ends[0].elements, *ends[1].elements}
    element = max(sorted(elements, key=str), key=lambda el: abs(ends[0][el] - ends[1][el]))
    x = (mixture[element] - ends[1][element]) / (ends[0][element] - ends[1][element])
    return float(min(max(x, 0.0), 1.0))


def reaction_at_ratio(entries: Sequence[PhaseEntry], moles: Mapping[str, float]) -> SaltReaction:
    """Return what salts mixed in a given ratio react to.

    Parameters
    ----------
    entries : sequence of PhaseEntry
    moles : mapping
        Id or formula of each salt to its formula units, such as ``{'LiCl': 2, 'GaF3': 1}``.

    Raises
    ------
    EntriesError
        If the table cannot be used, lacks a salt, or an amount is not above 0.
    """
    check_entries(entries)
    salts = _formula_units(entries, moles)
    by_id = {entry.id: entry for entry in entries}
    atoms = {name: amount * _formula_atoms(by_id[name]) for name, amount in salts.items()}
    shares = {name: value / sum(atoms.values()) for name, value in atoms.items()}
    answer = decompose(mixed_composition(entries, moles), entries)
    if answer is None:
        raise EntriesError(f'no phases make up {moles}: the energies or compositions of the table are out of range')
    return _reaction(shares, answer[0], by_id)


def mixed_composition(entries: Sequence[PhaseEntry], moles: Mapping[str, float]) -> dict[str, float]:
    """Return the atoms of each element in a mixture of salts.

    Raises
    ------
    EntriesError
        If the table lacks a salt.
    """
    total: dict[str, float] = {}
    for name, amount in _formula_units(entries, moles).items():
        for element, count in parse_formula(find_entry(entries, name).formula).items():
            total[element] = total.get(element, 0.0) + amount * count
    return total


def _formula_units(entries: Sequence[PhaseEntry], moles: Mapping[str, float]) -> dict[str, float]:
    """Return the reduced formula units of each salt by id: one Al2Cl6 is two AlCl3."""
    if not moles or any(not amount > 0 for amount in moles.values()):
        raise EntriesError('give each salt an amount above 0')
    units: dict[str, float] = {}
    for name, amount in moles.items():
        salt = find_entry(entries, name)
        written = 1.0 if name == salt.id else sum(parse_formula(name).values()) / _formula_atoms(salt)
        units[salt.id] = units.get(salt.id, 0.0) + amount * written
    return units


def parse_mixture(text: str) -> dict[str, float]:
    """Return the formula units of each salt of a mixture such as ``3LiCl-2GaF3`` or ``1.5 MgCl2 + GaF3``.

    Raises
    ------
    EntriesError
        If it cannot be read.
    """
    moles: dict[str, float] = {}
    for part in text.replace('+', '-').split('-'):
        word = part.strip()
        digits = len(word) - len(word.lstrip('0123456789.'))
        try:
            amount = float(word[:digits]) if digits else 1.0
        except ValueError as error:
            raise EntriesError(f'`{word}` has no amount that can be read: write for example 1.5MgCl2') from error
        composition = parse_formula(word[digits:].strip())
        formula = reduced_formula(composition)
        units = sum(composition.values()) / sum(parse_formula(formula).values())
        moles[formula] = moles.get(formula, 0.0) + amount * units
    return moles


def names_a_ratio(text: str) -> bool:
    """Return whether a mixture is written with an amount: ``1MgCl2-GaF3`` is a ratio, ``MgCl2-GaF3`` is a pair."""
    return any(part.strip()[:1].isdigit() for part in text.replace('+', '-').split('-'))
