"""Which labels lie on one energy surface and may be mixed in one set of frames."""

from __future__ import annotations

from typing import Any

#: Engine facts that may differ between frames of one data set: patch versions are collected, and each element's
#: pseudopotential is only compared with the same element's. Everything else decides the energy surface.
COLLECTED_ENGINE_KEYS = ('version', 'potentials')


class IncompatibleFramesError(ValueError):
    """Frames whose labels do not lie on one energy surface and must not be mixed."""


def combine_engines(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the engine record of frames from two origins.

    Raises
    ------
    IncompatibleFramesError
        If program, model, functional or another label-defining fact differs.
    """
    for key in sorted((set(first) | set(second)) - set(COLLECTED_ENGINE_KEYS)):
        if first.get(key) != second.get(key):
            raise IncompatibleFramesError(
                f'the frames come from different engines: {key} is {first.get(key)!r} in one and {second.get(key)!r} '
                'in the other; fit one potential per engine and functional, or relabel one set'
            )
    combined = dict(first)
    versions = {part for record in (first, second) for part in str(record.get('version', '')).split(', ') if part}
    if versions:
        combined['version'] = ', '.join(sorted(versions))
    potentials = dict(first.get('potentials', {}))
    for element, title in second.get('potentials', {}).items():
        if potentials.setdefault(element, title) != title:
            raise IncompatibleFramesError(
                f'the frames come from different pseudopotentials of {element}: {potentials[element]!r} and {title!r}'
            )
    if potentials:
        combined['potentials'] = potentials
    return combined


def check_energy_kinds(first: str, second: str) -> None:
    """Refuse to mix energies of two kinds.

    Raises
    ------
    IncompatibleFramesError
        If they differ.
    """
    if first != second:
        raise IncompatibleFramesError(
            f'the energies are of different kinds, {first!r} and {second!r}: import all frames with the same '
            'energy_kind'
        )
