"""Which of our numbers answers a published one, and how far the two may be compared: rules without a database.

A verdict is the worst of the rules of :data:`RULES`. *Comparable* means that the same quantity of the same material was
computed at the published scale on energies of the same kind; *indicative* that it tells an order of magnitude; *not
comparable* that the two numbers do not answer the same question. Whether they agree is another matter, and is said only
where they may be compared.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from aiida_softclay.report.composition import largest_difference

COMPARABLE, INDICATIVE, NOT_COMPARABLE = 'comparable', 'indicative', 'not comparable'
VERDICTS = (COMPARABLE, INDICATIVE, NOT_COMPARABLE)
NUMBERS_FILE = Path(__file__).parent / 'published_numbers.yaml'

#: Share of the published size or duration from which a run counts as of the same scale, and as of its order.
SAME_SCALE, SAME_ORDER = 0.5, 0.1
#: Temperatures that count as the same, and as near, K.
SAME_TEMPERATURE, NEAR_TEMPERATURE = 5.0, 25.0
#: Difference of the share of an element that whole formula units explain, and that is still the same material.
SAME_COMPOSITION, NEAR_COMPOSITION = 0.005, 0.02
#: Differences up to this many errors count as agreement.
N_ERRORS = 2.0
COMPONENTS = {'shear': ('xy', 'xz', 'yz'), 'tension': ('xx', 'yy', 'zz')}
#: What may stand before the name of a number: the stage of a study that it was taken from.
STAGE = re.compile(
    r'potential|sampling|fit|validation|amorphous|checks|exchange|polycrystal|thermodynamics|reaction_energy|'
    r'(glass|glass_transition|stress_pulse|constant_strain|conductivity|arrhenius|build_potential|tension|shear)(_\w+)?'
)


@dataclass(frozen=True)
class Published:
    """A number of a paper.

    Attributes
    ----------
    paper, id : str
        Short name of the paper, and of the number in it.
    quantity : tuple of str
        Names in the results schema that answer it, shell patterns.
    value, unit
        As printed; ``per_atoms`` is the number of atoms it is printed for, where it is that of a cell.
    kind : str
        ``computed`` or ``measured``.
    bound : str
        ``upper`` or ``lower`` where the paper only says less or more than.
    of, pair, system : str
        The material, or two salts, or elements of which any composition will do.
    conditions : dict
        ``temperature_K``, ``n_atoms``, ``duration_ps``, ``component`` (``shear`` or ``tension``).
    printed, source : str
        The number in the words of the paper, and where it stands.
    needs : str
        What answers it, where no run of ``softclay launch paper`` does.
    stands_in : bool
        Whether the structure of the paper is not at hand and another one stands for it.
    """

    paper: str
    id: str
    quantity: tuple[str, ...]
    value: float
    unit: str
    kind: str
    printed: str
    source: str
    bound: str = ''
    of: str = ''
    pair: str = ''
    system: str = ''
    per_atoms: int | None = None
    needs: str = ''
    stands_in: bool = False
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def material(self) -> str:
        """What it is of, in words."""
        return self.of or self.pair or self.system

    @property
    def of_crystals(self) -> bool:
        """Whether it rests on relaxed crystals, so that neither size nor duration of a run plays a part."""
        return bool(self.pair) or self.quantity[0].startswith('energy_above_hull')


@dataclass(frozen=True)
class Computed:
    """A number of a profile, with what decides whether it answers a published one; ``None`` or empty if not known."""

    name: str
    value: float | None
    error: float | None
    unit: str
    composition: str = ''
    elements: str = ''
    salts: str = ''
    temperature_K: float | None = None  # noqa: N815
    n_atoms: float | None = None
    duration_ps: float | None = None
    component: str | None = None
    protocol: str = ''
    labels_kind: str = ''
    labels: str = ''
    warnings: str = ''


@cache
def published_numbers() -> tuple[Published, ...]:
    """Return every published number, paper by paper."""
    content = yaml.safe_load(NUMBERS_FILE.read_text(encoding='utf-8'))
    return tuple(
        Published(**{**row, 'paper': paper, 'quantity': tuple(row['quantity']), 'value': float(row['value'])})
        for paper, about in content.items()
        for row in about['numbers']
    )


def papers() -> tuple[str, ...]:
    """Return the short names of the papers."""
    return tuple(dict.fromkeys(number.paper for number in published_numbers()))


@cache
def _units() -> Any:
    import pint

    registry = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    registry.define('atom = []')
    return registry


@lru_cache(maxsize=1024)
def convert(value: float, unit: str, to: str) -> float:
    """Return ``value`` in another unit.

    Raises
    ------
    ValueError
        If one of the units is not known, or if they measure different things.

    >>> convert(-58, 'degC', 'K')
    215.14999999999998
    """
    import pint

    units = _units()
    try:
        return float(units.Quantity(value, units.Unit(unit)).to(units.Unit(to)).magnitude)
    except (pint.errors.PintError, ValueError, AssertionError) as error:
        raise ValueError(f'{unit} cannot be written in {to}: {error}') from error


def is_named(name: str, published: Published) -> bool:
    """Return whether a number has one of the names, with nothing but stages of a study before it."""
    rest = name
    while True:
        if any(fnmatch.fnmatchcase(rest, pattern) for pattern in published.quantity):
            return True
        stage, dot, rest = rest.partition('.')
        if not dot or not STAGE.fullmatch(stage):
            return False


def same_material(computed: Computed, published: Published) -> bool:
    """Return whether both are of one material, within what whole formula units need."""
    if published.pair:
        return computed.salts == '-'.join(sorted(published.pair.split('-')))
    if published.system:
        return set(computed.elements.split('-')) == set(published.system.split('-'))
    return largest_difference(computed.composition, published.of) <= NEAR_COMPOSITION


def matches(computed: Computed, published: Published) -> bool:
    """Return whether a number answers a published one at all: name, material, kind of load and kind of unit."""
    if not is_named(computed.name, published) or not same_material(computed, published):
        return False
    component = published.conditions.get('component')
    if component and computed.component not in COMPONENTS[component]:
        return False
    try:
        convert(1.0, computed.unit, published.unit)
    except ValueError:
        return False
    return True


Rule = Callable[[Computed, Published], tuple[str, str]]
FINE = (COMPARABLE, '')


def rule_value(computed: Computed, _: Published) -> tuple[str, str]:
    """Without a value nothing can be compared; without an error it cannot be said what a difference means."""
    if computed.value is None:
        return NOT_COMPARABLE, 'it could not be determined'
    if computed.error is None:
        return INDICATIVE, 'it has no error'
    return FINE


def rule_scale(computed: Computed, published: Published) -> tuple[str, str]:
    """Return what the protocol allows: a demo shows that the chain runs and confirms nothing."""
    scale = scale_of(computed.protocol)
    if scale == 'demo':
        return (INDICATIVE if published.of_crystals else NOT_COMPARABLE), 'a demo shows that the chain runs'
    if not scale:
        return INDICATIVE, 'its protocol is not recorded'
    return FINE


def _extent(have: float | None, wanted: float | None, what: str, unit: str = '') -> tuple[str, str]:
    if wanted is None:
        return FINE
    if have is None:
        return INDICATIVE, f'its {what} is not recorded'
    share = have / wanted
    if share >= SAME_SCALE:
        return FINE
    level = INDICATIVE if share >= SAME_ORDER else NOT_COMPARABLE
    return level, f'{have:g}{unit} {what} against {wanted:g}{unit}'


def rule_size(computed: Computed, published: Published) -> tuple[str, str]:
    """Half of the published atoms count as the same scale, a tenth as its order."""
    return _extent(computed.n_atoms, published.conditions.get('n_atoms'), 'atoms')


def rule_duration(computed: Computed, published: Published) -> tuple[str, str]:
    """Half of the published time counts as the same scale, a tenth as its order."""
    return _extent(computed.duration_ps, published.conditions.get('duration_ps'), 'run', ' ps')


def rule_temperature(computed: Computed, published: Published) -> tuple[str, str]:
    """Numbers at temperatures more than 25 K apart answer different questions."""
    wanted = published.conditions.get('temperature_K')
    if wanted is None:
        return FINE
    if computed.temperature_K is None:
        return INDICATIVE, 'its temperature is not recorded'
    apart = abs(computed.temperature_K - wanted)
    if apart <= SAME_TEMPERATURE:
        return FINE
    level = INDICATIVE if apart <= NEAR_TEMPERATURE else NOT_COMPARABLE
    return level, f'{computed.temperature_K:.0f} K against {wanted:g} K'


def rule_material(computed: Computed, published: Published) -> tuple[str, str]:
    """Take a composition that is off by more than whole formula units explain for another material."""
    if not published.of or largest_difference(computed.composition, published.of) <= SAME_COMPOSITION:
        return FINE
    return INDICATIVE, f'the composition is {computed.composition}'


def rule_energies(computed: Computed, _: Published) -> tuple[str, str]:
    """Energies of a model in the place of DFT never confirm a number that rests on DFT."""
    if computed.labels_kind == 'dft':
        return FINE
    if computed.labels_kind == 'model':
        return INDICATIVE, f'energies of {computed.labels or "a model"}, not of DFT'
    return INDICATIVE, 'it is not recorded what the energies come from'


def rule_measured(_: Computed, published: Published) -> tuple[str, str]:
    """Hold measured numbers apart: they are of a real sample, not of the model that was computed."""
    return (INDICATIVE, 'the published number is measured') if published.kind == 'measured' else FINE


def rule_structure(_: Computed, published: Published) -> tuple[str, str]:
    """Where the structure of the paper is not at hand, another one stands for it."""
    return (INDICATIVE, 'another structure stands for that of the paper') if published.stands_in else FINE


def rule_warnings(computed: Computed, _: Published) -> tuple[str, str]:
    """Let a number that carries warnings confirm nothing."""
    return (INDICATIVE, f'it carries a warning: {computed.warnings}') if computed.warnings else FINE


#: All rules; the worst of them is the verdict.
RULES: tuple[Rule, ...] = (
    rule_value, rule_scale, rule_size, rule_duration, rule_temperature, rule_material, rule_energies, rule_measured,
    rule_structure, rule_warnings,
)  # fmt: skip


def verdict(computed: Computed, published: Published) -> tuple[str, list[str]]:
    """Return the worst verdict of all rules, and the reasons of all that are not content, the worst first."""
    found = [rule(computed, published) for rule in RULES]
    found.sort(key=lambda pair: -VERDICTS.index(pair[0]))
    return found[0][0], [reason for _, reason in found if reason]


def scale_of(protocol: str) -> str:
    """Return the scale that a protocol stands for: ``demo``, ``balanced``, ``paper`` or ``own``; empty if not known.

    >>> scale_of('gupta2023_demo'), scale_of('you2025'), scale_of('own parameters')
    ('demo', 'paper', 'own')
    """
    if not protocol:
        return ''
    for scale in ('demo', 'balanced', 'own'):
        if scale in protocol:
            return scale
    return 'paper'


def rank(computed: Computed, published: Published) -> tuple[Any, ...]:
    """Return the key by which the best of several numbers comes first: verdict, value, scale, temperature, size."""
    level, _ = verdict(computed, published)
    scale = ('paper', 'balanced', 'own', 'demo', '').index(scale_of(computed.protocol))
    wanted = published.conditions.get('temperature_K')
    known = wanted is not None and computed.temperature_K is not None
    apart = abs(computed.temperature_K - wanted) if known else 0.0  # type: ignore[operator]
    preferred = next(i for i, name in enumerate(published.quantity) if _ends(computed.name, name))
    return VERDICTS.index(level), computed.value is None, scale, preferred, apart, -(computed.n_atoms or 0.0)


def _ends(name: str, pattern: str) -> bool:
    parts = name.split('.')
    return any(fnmatch.fnmatchcase('.'.join(parts[start:]), pattern) for start in range(len(parts)))


def compare(computed: Computed, published: Published) -> dict[str, Any]:
    """Return the published number in our unit, the ratio to it, the difference in errors, and whether both agree.

    ``agreement`` is ``agrees`` or ``differs`` within :data:`N_ERRORS` errors, ``met`` or ``not met`` for a bound, and
    empty where the verdict is that the numbers are not comparable.
    """
    there = published.value
    if published.per_atoms:
        there *= (computed.n_atoms or published.per_atoms) / published.per_atoms
    there = convert(there, published.unit, computed.unit)
    row: dict[str, Any] = {'published_value': there, 'ratio': None, 'deviation': None, 'agreement': ''}
    if computed.value is None:
        return row
    if there:
        row['ratio'] = computed.value / there
    error = computed.error or 0.0
    level, _ = verdict(computed, published)
    if published.bound == 'upper':
        row['agreement'] = 'met' if computed.value <= there else 'not met'
    elif published.bound == 'lower':
        row['agreement'] = 'met' if computed.value - N_ERRORS * error > there else 'not met'
    elif error > 0:
        row['deviation'] = (computed.value - there) / error
        row['agreement'] = 'agrees' if abs(row['deviation']) <= N_ERRORS else 'differs'
    if level == NOT_COMPARABLE:
        row['agreement'] = ''
    return row


def best(candidates: Iterable[tuple[Computed, float]], published: Published) -> Computed | None:
    """Return the number that answers best of those that do, the newest among equals.

    Parameters
    ----------
    candidates : iterable of (Computed, float)
        Numbers and when they were made, in seconds.
    """
    found = [(rank(one, published), -made, index, one) for index, (one, made) in enumerate(candidates)]
    return min(found)[-1] if found else None
