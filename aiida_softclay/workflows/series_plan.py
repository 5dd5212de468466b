"""What a series runs: every combination of varied parameters, several times each with other random numbers."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiida_softclay.calculations.md_plan import LARGEST_SEED
from aiida_softclay.workflows.protocol import ProtocolError, check_overrides, recursive_merge

#: Parameter of the random numbers: runs that differ in it alone are replicas of each other.
SEED = 'seed'


def nested(name: str, value: Any) -> dict[str, Any]:
    """Return a value as overrides, by its dotted name.

    >>> nested('melt.temperature_K', 900)
    {'melt': {'temperature_K': 900}}
    """
    found: Any = value
    for key in reversed(name.split('.')):
        found = {key: found}
    return found


def _label(words: Sequence[str]) -> str:
    return re.sub(r'_+', '_', re.sub(r'[^a-z0-9]+', '_', '_'.join(words).lower())).strip('_')


def _word(name: str, value: Any) -> str:
    # A label has no sign, and tension and compression are not the same.
    negative = isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0
    return f'{name.rsplit(".", 1)[-1]}_{value}' + ('_negative' if negative else '')


def variants_of(choices: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """Return every combination of values as overrides, by a label that says what differs.

    Parameters
    ----------
    choices : mapping
        Dotted name of a parameter to its values, for example ``{'melt.temperature_K': [700, 900, 1100]}``.

    Raises
    ------
    ProtocolError
        If there is nothing to vary, or a value is given twice.
    """
    if not choices or not all(choices.values()):
        raise ProtocolError('a series varies something: name a parameter and its values, melt.temperature_K=700,900')
    found: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*choices.values()):
        overrides: dict[str, Any] = {}
        for name, value in zip(choices, values, strict=True):
            overrides = recursive_merge(overrides, nested(name, value))
        label = _label([_word(name, value) for name, value in zip(choices, values, strict=True)])
        if label in found:
            raise ProtocolError(f'{label} comes twice in the series')
        found[label] = overrides
    return found


@dataclass(frozen=True)
class SeriesPoint:
    """One combination of parameters and its runs.

    Attributes
    ----------
    label : str
        What differs from the other points.
    values : dict
        Dotted name of each varied parameter to its value here.
    runs : dict of str to dict
        Overrides of each run by its label; they differ in the seed.
    seeds : dict of str to int
        Seed of each run by its label.
    """

    label: str
    values: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    seeds: dict[str, int]


def series_points(
    parameters: Mapping[str, Any], vary: Mapping[str, Sequence[Any]], replicas: int, most_runs: int
) -> list[SeriesPoint]:
    """Return the points of a series with their runs.

    Parameters
    ----------
    parameters : mapping
        Parameters of a single run; those that are varied must be among them.
    vary : mapping
        Dotted name of a parameter to its values. Values of ``seed`` are replicas, like ``replicas``.
    replicas : int
        Runs of each point, with the seed of the parameters and those that follow it.
    most_runs : int
        More runs than these are refused.

    Raises
    ------
    ProtocolError
        With a sentence that says which value to change.
    """
    for name, values in vary.items():
        if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence) or not values:
            raise ProtocolError(f'{name} is varied over {values!r}: give a list of values')
    for count, what in ((replicas, 'replicas'), (most_runs, 'max_runs')):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ProtocolError(f'{what} = {count!r} must be a whole number, 1 at least')
    seeds = _seeds(parameters, vary, replicas)
    axes = {name: [_number(value, _lookup(parameters, name)) for value in vary[name]] for name in vary if name != SEED}
    for name, values in axes.items():
        if any(value in values[:index] for index, value in enumerate(values)):
            raise ProtocolError(f'{name} is varied over {values}: a value comes twice')
    n_runs = math.prod(len(values) for values in axes.values()) * len(seeds)
    if n_runs < 2:
        raise ProtocolError(
            'a series has two runs at least: vary a parameter (magnitude_mpa=10,50) or ask for replicas'
        )
    if n_runs > most_runs:
        raise ProtocolError(
            f'the series has {n_runs} runs, more than max_runs = {most_runs}: vary less, take fewer replicas, or raise '
            'max_runs'
        )
    variants = variants_of(axes) if axes else {'replicas': {}}
    points = []
    for (label, overrides), values in zip(variants.items(), itertools.product(*axes.values()), strict=True):
        names = {f'{label}_seed_{seed}': seed for seed in seeds}
        runs = {name: recursive_merge(overrides, {SEED: seed}) for name, seed in names.items()}
        for name, changed in runs.items():
            try:
                check_overrides(parameters, changed)
            except ProtocolError as error:
                raise ProtocolError(f'{name}: {error}') from None
        points.append(SeriesPoint(label, dict(zip(axes, values, strict=True)), runs, names))
    return points


def _seeds(parameters: Mapping[str, Any], vary: Mapping[str, Sequence[Any]], replicas: int) -> list[int]:
    if SEED not in vary:
        first = parameters.get(SEED, 1)
        seeds = [first + index for index in range(replicas)] if isinstance(first, int) else [first]
    elif replicas > 1:
        raise ProtocolError(
            f'the seeds are given, {list(vary[SEED])}, and so are {replicas} replicas: give one of them'
        )
    else:
        seeds = list(vary[SEED])
    if not all(isinstance(seed, int) and not isinstance(seed, bool) and 1 <= seed <= LARGEST_SEED for seed in seeds):
        raise ProtocolError(f'the seeds {seeds} must be whole numbers from 1 to {LARGEST_SEED}')
    if len(set(seeds)) < len(seeds):
        raise ProtocolError(f'the seeds {seeds} repeat: the same seed gives the same run')
    return seeds


def _lookup(parameters: Mapping[str, Any], name: str) -> Any:
    found: Any = parameters
    for depth, key in enumerate(name.split('.')):
        if not isinstance(found, Mapping) or key not in found:
            known = ', '.join(sorted(found)) if isinstance(found, Mapping) else 'no more'
            where = '.'.join(name.split('.')[: depth + 1])
            raise ProtocolError(f'there is no parameter `{where}` to vary: known are {known}')
        found = found[key]
    return found


def _number(value: Any, like: Any) -> Any:
    """Return a number that YAML took for text: `1e-3` has no point and is a string there."""
    if isinstance(value, str) and isinstance(like, (int, float)) and not isinstance(like, bool):
        try:
            return float(value)
        except ValueError:
            return value
    return value
