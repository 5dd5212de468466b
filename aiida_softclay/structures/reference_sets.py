"""The reference structures of the papers: which they are, how to build them and how hot they are sampled."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import list_crystals, load_phases, phase

DATA_FILE = Path(__file__).parent / 'reference_sets.yaml'
SCHEMA = 'soft-clay-reference-sets/1'
#: Smallest cell width of the papers' ab initio sampling, Å (gupta2023, yang2024).
PAPER_LENGTH = 10.0


class ReferenceSetError(ValueError):
    """A reference set or chemical system that is not known; the message lists the choices."""


@lru_cache(maxsize=1)
def _content() -> dict[str, Any]:
    content = yaml.safe_load(DATA_FILE.read_text(encoding='utf-8'))
    if content.get('schema') != SCHEMA:
        raise ReferenceSetError(f'{DATA_FILE.name} does not declare the schema {SCHEMA!r}')
    return content


def reference_sets() -> list[str]:
    """Return the names of the reference sets, by paper."""
    return list(_content()['sets'])


def describe_set(name: str) -> dict[str, Any]:
    """Return what a set is: ``description``, ``paper``, ``published`` (numbers of structures) and ``missing``.

    Raises
    ------
    ReferenceSetError
        If there is no such set.
    """
    entry = _set(name)
    return copy.deepcopy({key: entry[key] for key in ('description', 'paper', 'published', 'missing')})


def _set(name: str) -> dict[str, Any]:
    sets = _content()['sets']
    if name not in sets:
        raise ReferenceSetError(f'there is no reference set {name!r}: choose from {", ".join(sets)}')
    return sets[name]


def melting_point(crystal: str) -> tuple[float, str] | None:
    """Return the melting point of a phase in K and its source, or ``None`` if it is not known."""
    found = _content()['melting_points'].get(phase(crystal).id)
    return None if found is None else (float(found['value']), str(found['source']))


def maximum_temperature(kind: str, parameters: Mapping[str, Any]) -> tuple[float, str]:
    """Return the highest temperature of a structure's melt-quench and the reason for it.

    1.5 times the melting point, rounded to 10 K and at most 2000 K; of a slab or a melt, that of the salt that melts
    first; 900 K where no melting point is known.

    Parameters
    ----------
    kind : str
        ``crystal``, ``slab``, ``melt``, ``oligomers``, ``framework`` or ``substitution``.
    parameters : mapping
        Parameters of the builder.

    Returns
    -------
    temperature : float
        In K.
    reason : str
    """
    rule = _content()['temperature_rule']
    if kind in {'oligomers', 'framework', 'substitution'}:
        return 600.0, 'oxychlorides are melted at 600 K (you2025, dai2023)'
    names = [parameters['crystal']] if kind == 'crystal' else list(Mixture.parse(parameters['mixture']).salts)
    known = {name: point for name in names if (point := melting_point(name)) is not None}
    if not known:
        fallback = float(rule['fallback_K'])
        what = 'the melting point is not known' if len(names) == 1 else 'no melting point is known'
        return fallback, f'{what}: {fallback:.0f} K, the highest temperature the potential is used at'
    lowest = min(known, key=lambda name: known[name][0])
    value, source = known[lowest]
    grid = float(rule['rounding_K'])
    wanted = grid * round(float(rule['factor']) * value / grid)
    reason = f'{rule["factor"]:g} times the melting point of {lowest}, {value:g} K ({source})'
    if wanted > rule['cap_K']:
        return float(rule['cap_K']), f'{reason}, capped'
    return wanted, reason


def complete_entry(entry: Mapping[str, Any], source: str = '') -> dict[str, Any]:
    """Return an entry of a set as plain values, with its highest temperature and source filled in.

    Parameters
    ----------
    entry : mapping
        ``label``, ``kind``, ``parameters``, and optionally ``maximum_temperature_K``, ``temperature_reason``, ``flag``.
    source : str
        Where the entry comes from, if it does not say.

    Returns
    -------
    dict
        ``label``, ``kind``, ``parameters``, ``maximum_temperature_K``, ``temperature_reason``, ``source``, ``flag``.
    """
    parameters = copy.deepcopy(dict(entry['parameters']))
    temperature, reason = entry.get('maximum_temperature_K'), entry.get('temperature_reason', 'as given')
    if temperature is None:
        temperature, reason = maximum_temperature(entry['kind'], parameters)
    origin = entry.get('source') or source
    if entry['kind'] == 'crystal':
        known = load_phases()[phase(parameters['crystal']).id]
        origin = f'{origin}; {known.source}' if origin else known.source
    return {
        'label': str(entry['label']),
        'kind': str(entry['kind']),
        'parameters': parameters,
        'maximum_temperature_K': float(temperature),
        'temperature_reason': str(reason),
        'source': origin,
        'flag': str(entry.get('flag') or ''),
    }


def reference_set(name: str) -> list[dict[str, Any]]:
    """Return the structures a paper samples.

    Parameters
    ----------
    name : str
        ``gupta2023``, ``yang2024``, ``you2025``, ``dai2023`` or ``qyang2025``.

    Returns
    -------
    list of dict
        As :func:`complete_entry` gives them.

    Raises
    ------
    ReferenceSetError
        If there is no such set.
    """
    found = _set(name)
    return [complete_entry(entry, found['paper']) for entry in found['structures']]


def demo_set(name: str) -> list[dict[str, Any]]:
    """Return a few structures of a set with at most 40 atoms each, which two cores can sample.

    Raises
    ------
    ReferenceSetError
        If there is no such set.
    """
    found = _set(name)
    return [complete_entry(entry, f'{found["paper"]}, at demo scale') for entry in found['demo']]


def chemical_system_set(system: str, min_length: float = PAPER_LENGTH) -> list[dict[str, Any]]:
    """Return the supercells of all known salts made of the elements of a chemical system and no others.

    Parameters
    ----------
    system : str
        Element symbols with hyphens, for example ``Li-Ga-F-Cl``.
    min_length : float
        Smallest height of the cells, Å.

    Raises
    ------
    ReferenceSetError
        If no salt of these elements is known.
    """
    elements = [part.strip() for part in system.split('-')]
    names = list_crystals(elements, salts_only=True)
    if not names:
        raise ReferenceSetError(f'no salt of the elements {", ".join(elements)} is known')
    return [
        complete_entry({'label': name, 'kind': 'crystal', 'parameters': {'crystal': name, 'min_length': min_length}})
        for name in names
    ]
