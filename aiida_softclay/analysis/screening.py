"""Which pairs of salts may become soft as clay: the three criteria of gupta2023, and what decides each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from aiida_softclay.analysis.reaction_energy import ReactionProfile, SaltReaction, reaction_energies
from aiida_softclay.analysis.thermodynamics import EntriesError, PhaseEntry, find_entry, parse_formula, reduced_formula

DATA_FILE = Path(__file__).parent / 'screening.yaml'
SCHEMA = 'soft-clay-screening/1'
MET, NOT_MET, UNDECIDED = 'met', 'not met', 'undecided'
#: An energy is told from zero at this many standard errors.
N_SIGMA = 2.0
#: Reaction energies closer to zero are none (eV/atom): rounding of a hull.
NO_ENERGY = 1e-6


@dataclass(frozen=True)
class PublishedMixture:
    """A mixture that was made or computed in a paper; the fields are explained in the data file."""

    first: str
    second: str
    clay: bool | None
    tested_x: tuple[float, ...]
    clay_x: tuple[float, float] | None
    driving_force: bool | None
    energy_eV_atom: float | None  # noqa: N815
    products: tuple[str, ...] | None
    peaks: tuple[str, ...] | None
    source: str


@dataclass(frozen=True)
class Criterion:
    """One of the criteria and what is known about it.

    Attributes
    ----------
    name : str
        ``driving force``, ``kinetics`` or ``ratio``.
    verdict : str
        ``met``, ``not met`` or ``undecided``.
    evidence : str
        What the verdict rests on.
    cannot : str
        What these data cannot decide.
    """

    name: str
    verdict: str
    evidence: str
    cannot: str


@dataclass(frozen=True)
class ScreenedPair:
    """A pair of salts against the criteria.

    Attributes
    ----------
    first, second : str
        The salts.
    reaction : SaltReaction or None
        That of the largest driving force; None if the table lacks a salt.
    molecular_solids : tuple of str
        Molecular solids among its products.
    criteria : tuple of Criterion
        Driving force, kinetics, ratio.
    published : PublishedMixture or None
        What a paper reports on the pair.
    agrees : bool or None
        Whether the products are those that the paper computed; None where it names none.
    phase_statement : str
        What was considered.
    """

    first: str
    second: str
    reaction: SaltReaction | None
    molecular_solids: tuple[str, ...]
    criteria: tuple[Criterion, Criterion, Criterion]
    published: PublishedMixture | None
    agrees: bool | None
    phase_statement: str

    @property
    def contradicts(self) -> str:
        """The sentence that says how driving force and paper differ, empty where they do not."""
        if self.reaction is None or self.published is None or self.published.driving_force is None:
            return ''
        released = _releases_energy(self.reaction)
        if released is None or released == self.published.driving_force:
            return ''
        told = 'a driving force' if self.published.driving_force else 'no driving force'
        return (
            f'{self.first}-{self.second}: {told} is reported ({self.published.source}), the table has '
            f'{"one" if released else "none"}: phases may be missing, or the engine is wrong about them'
        )

    @property
    def outlook(self) -> str:
        """``ruled out`` if a criterion is not met, ``meets all`` if all are, else ``open``."""
        verdicts = [criterion.verdict for criterion in self.criteria]
        if NOT_MET in verdicts:
            return 'ruled out'
        return 'meets all' if set(verdicts) == {MET} else 'open'

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            'first': self.first, 'second': self.second, 'outlook': self.outlook,
            'reaction': None if self.reaction is None else self.reaction.as_dict(),
            'molecular_solids': list(self.molecular_solids),
            'criteria': [asdict(criterion) for criterion in self.criteria],
            'published': None if self.published is None else asdict(self.published),
            'agrees_with_published_products': self.agrees, 'contradicts': self.contradicts,
            'phase_set': self.phase_statement,
        }  # fmt: skip


@lru_cache(maxsize=1)
def _content() -> dict[str, Any]:
    content = yaml.safe_load(DATA_FILE.read_text(encoding='utf-8'))
    if content.get('schema') != SCHEMA:
        raise EntriesError(f'{DATA_FILE.name} does not declare the schema {SCHEMA!r}')
    return content


def molecular_solids() -> dict[str, str]:
    """Return the known molecular solids that exchange of anions forms: reduced formula to source."""
    return {reduced_formula(parse_formula(row['formula'])): row['source'] for row in _content()['molecular_solids']}


def published_mixtures() -> tuple[PublishedMixture, ...]:
    """Return the mixtures of gupta2023 (Table 1 and Discussion) and yang2024."""

    def frozen(value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    return tuple(
        PublishedMixture(**{key: frozen(value) for key, value in row.items()}) for row in _content()['mixtures']
    )


def find_published(first: str, second: str) -> PublishedMixture | None:
    """Return what the papers report on a pair of salts, in either order."""
    wanted = {_reduced(first), _reduced(second)}
    return next((row for row in published_mixtures() if {_reduced(row.first), _reduced(row.second)} == wanted), None)


def _reduced(formula: str) -> str:
    return reduced_formula(parse_formula(formula))


def _products(reaction: SaltReaction, entries: Sequence[PhaseEntry]) -> set[str]:
    return {find_entry(entries, name).formula for name in reaction.products}


def _releases_energy(reaction: SaltReaction) -> bool | None:
    """Return whether energy is released; None if the error is too large to tell."""
    error = N_SIGMA * (reaction.error or 0.0)
    if reaction.energy + error < -NO_ENERGY:
        return True
    return False if reaction.energy >= -NO_ENERGY else None


def _driving_force(profile: ReactionProfile, entries: Sequence[PhaseEntry], solids: set[str]) -> Criterion:
    """Judge criterion (i): a driving force for an exchange of anions that forms a molecular solid."""
    cannot = 'energies at 0 K of the phases listed: no entropy, no amorphous phase, no phase that is not in the table'
    salts = {find_entry(entries, name).formula for name in profile.salts}
    elements = set(profile.phase_set.chemical_system.split('-'))
    possible = {solid for solid in solids if set(parse_formula(solid)) <= elements} - salts
    missing = sorted(possible - set(profile.phase_set.formulas))
    best = profile.best
    energy = f'{1000 * best.energy:.1f} meV/atom for {best.equation}'
    if missing:
        absent = f'the table lacks the molecular solid {", ".join(missing)}; without it {energy}'
        return Criterion('driving force', UNDECIDED, absent, cannot)
    releases = _releases_energy(best)
    if releases is None:
        return Criterion('driving force', UNDECIDED, f'{energy}, which the error does not tell from zero', cannot)
    if not releases:
        return Criterion('driving force', NOT_MET, 'no ratio of the salts releases energy', cannot)
    formed = sorted(_products(best, entries) & possible)
    rivals = [reaction for reaction in profile.rivals if bool(_products(reaction, entries) & possible) != bool(formed)]
    if rivals:
        other = f'{energy}; within the errors {rivals[0].equation} could be the best'
        return Criterion('driving force', UNDECIDED, other, cannot)
    if formed:
        return Criterion('driving force', MET, f'{energy}, with the molecular solid {", ".join(formed)}', cannot)
    elsewhere = [
        reaction for reaction in profile.reactions if _products(reaction, entries) & possible and reaction.energy < 0
    ]
    if elsewhere:
        second = min(elsewhere, key=lambda reaction: reaction.energy)
        text = f'{energy} forms none; {1000 * second.energy:.1f} meV/atom for {second.equation}, at another ratio, does'
        return Criterion('driving force', UNDECIDED, text, cannot)
    none = f'{", ".join(sorted(possible))} is not among the products' if possible else (
        'no known molecular solid has these elements'
    )  # fmt: skip
    return Criterion('driving force', NOT_MET, f'{energy}; {none}', cannot)


def _kinetics(published: PublishedMixture | None, solids: set[str]) -> Criterion:
    """Judge criterion (ii): exchange so slow that it neither completes nor separates into phases."""
    cannot = (
        'energies of crystals hold nothing about rates: this takes diffraction after ball milling, or MD of the '
        'interface (extent of exchange against time)'
    )
    if published is None or published.peaks is None:
        return Criterion('kinetics', UNDECIDED, 'no diffraction after ball milling is on record', cannot)
    separated = sorted(set(published.peaks) & solids)
    seen = ' + '.join(published.peaks)
    if separated:
        text = f'peaks of {seen} after ball milling: {", ".join(separated)} has separated ({published.source})'
        return Criterion('kinetics', NOT_MET, text, cannot)
    text = f'peaks of {seen} after ball milling, none of a molecular solid ({published.source})'
    return Criterion('kinetics', MET, text, cannot)


def _ratio(first: str, published: PublishedMixture | None, best: SaltReaction | None, x: float | None) -> Criterion:
    """Judge criterion (iii): neither salt in much excess."""
    cannot = 'no rule gives the range of ratios before the experiment (gupta2023, Discussion)'
    parts = []
    if best is not None and best.products and len(best.moles) == 2:
        amounts = list(best.moles.values())
        parts.append(f'the largest driving force is at x = {amounts[0] / amounts[1]:.3g}')
    verdict = UNDECIDED
    if published is not None and published.clay_x is not None:
        low, high = published.clay_x
        # The range is written for the salts in the order of the paper.
        if _reduced(first) != _reduced(published.first):
            low, high = 1 / high, 1 / low
        parts.append(f'clay at x = {low:g} to {high:g} ({published.source})')
        if x is not None:
            verdict = MET if low <= x <= high else NOT_MET
            parts.append(f'asked about x = {x:g}')
    elif published is not None and published.tested_x:
        tested = ', '.join(f'{value:g}' for value in published.tested_x)
        parts.append(f'tested at x = {tested} of {published.first} per {published.second} only ({published.source})')
    return Criterion('ratio', verdict, '; '.join(parts) or 'no ratio is on record', cannot)


def screen_pair(
    entries: Sequence[PhaseEntry],
    first: str,
    second: str,
    x: float | None = None,
    more_molecular_solids: Iterable[str] = (),
) -> ScreenedPair:
    """Return two salts against the three criteria of gupta2023.

    (i) a driving force for an exchange of anions that leads to a molecular solid, (ii) kinetics slow enough that
    exchange stays incomplete, (iii) a ratio with neither salt in much excess.

    Parameters
    ----------
    entries : sequence of PhaseEntry
        The competing phases.
    first, second : str
        Ids or formulas of the salts.
    x : float, optional
        Moles of the first per mole of the second.
    more_molecular_solids : iterable of str
        Formulas besides those of :func:`molecular_solids`.

    Raises
    ------
    EntriesError
        If the table cannot be used or both salts are the same.
    """
    solids = {*molecular_solids(), *(reduced_formula(parse_formula(formula)) for formula in more_molecular_solids)}
    formulas, lacking = [], []
    for name in (first, second):
        try:
            formulas.append(find_entry(entries, name).formula)
        except EntriesError:
            formulas.append(reduced_formula(parse_formula(name)))
            lacking.append(name)
    published = find_published(*formulas)
    if lacking:
        force = Criterion('driving force', UNDECIDED, f'the table lacks {" and ".join(lacking)}', 'anything')
        criteria = (force, _kinetics(published, solids), _ratio(formulas[0], published, None, x))
        return ScreenedPair(first, second, None, (), criteria, published, None, '')
    profile = reaction_energies(entries, first, second)
    best = profile.best
    formed = _products(best, entries)
    agrees = None
    if published is not None and published.products is not None:
        agrees = formed == set(published.products)
    return ScreenedPair(
        first, second, best, tuple(sorted((formed & solids) - set(formulas))),
        (
            _driving_force(profile, entries, solids),
            _kinetics(published, solids),
            _ratio(formulas[0], published, best, x),
        ),
        published, agrees, profile.phase_set.statement,
    )  # fmt: skip


def screening_table(
    entries: Sequence[PhaseEntry],
    pairs: Iterable[tuple[str, str]] | None = None,
    more_molecular_solids: Iterable[str] = (),
) -> tuple[ScreenedPair, ...]:
    """Return several pairs against the criteria, those of the papers if none are named.

    Parameters
    ----------
    entries : sequence of PhaseEntry
        The competing phases of all pairs.
    pairs : iterable of (str, str), optional
        Ids or formulas of salts.
    more_molecular_solids : iterable of str
        Formulas besides those of :func:`molecular_solids`.

    Raises
    ------
    EntriesError
        As :func:`screen_pair`.
    """
    chosen = [(row.first, row.second) for row in published_mixtures()] if pairs is None else list(pairs)
    solids = tuple(more_molecular_solids)
    return tuple(screen_pair(entries, first, second, more_molecular_solids=solids) for first, second in chosen)
