"""Protocols: named, documented sets of parameters, one YAML file for each workchain."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

PROTOCOL_FOLDER = Path(__file__).parent / 'protocols'


class ProtocolError(ValueError):
    """A protocol, or an override of one, that does not exist."""


def recursive_merge(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``left`` updated with ``right``, mapping by mapping; lists and scalars are replaced whole."""
    merged = copy.deepcopy(dict(left))
    for key, value in right.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = recursive_merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _check_overrides(allowed: Mapping[str, Any], overrides: Mapping[str, Any], where: str, free: set[str]) -> None:
    for key, value in overrides.items():
        path = f'{where}.{key}' if where else key
        if key not in allowed:
            known = ', '.join(sorted(allowed))
            raise ProtocolError(f'unknown override `{path}`: this protocol knows {known}')
        if isinstance(value, Mapping) and isinstance(allowed[key], Mapping) and path not in free:
            _check_overrides(allowed[key], value, path, free)


def check_overrides(allowed: Mapping[str, Any], overrides: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """Refuse overrides of values that there are not.

    Parameters
    ----------
    allowed : mapping
        The values, nested.
    overrides : mapping
        What replaces some of them, nested alike.
    free : collection of str
        Dotted names of mappings whose keys the user may choose.

    Raises
    ------
    ProtocolError
        With the dotted name of the first that is not known.
    """
    _check_overrides(allowed, overrides, '', set(free))


def leaves(tree: Mapping[str, Any], where: str = '') -> list[str]:
    """Return the dotted names of all values of a nested mapping; lists count as one value."""
    names: list[str] = []
    for key, value in tree.items():
        path = f'{where}.{key}' if where else str(key)
        names += leaves(value, path) if isinstance(value, Mapping) and value else [path]
    return names


class ProtocolMixin:
    """Give a workchain its protocols from ``protocols/<_protocol_file>.yaml``.

    The file holds ``default_protocol``, ``default_inputs`` (what all protocols share), ``protocols`` (name to
    ``description`` and the values that differ), ``descriptions`` (dotted name of each value to what it is and where it
    comes from) and, optionally, ``free_overrides`` (dotted names of mappings whose keys the user may choose).
    """

    _protocol_file: str

    @classmethod
    def _load_protocol_file(cls) -> dict[str, Any]:
        return yaml.safe_load((PROTOCOL_FOLDER / f'{cls._protocol_file}.yaml').read_text(encoding='utf-8'))

    @classmethod
    def get_default_protocol(cls) -> str:
        """Return the name of the protocol used when none is asked for."""
        return cls._load_protocol_file()['default_protocol']

    @classmethod
    def get_available_protocols(cls) -> dict[str, str]:
        """Return the names of the protocols with their descriptions."""
        return {name: value['description'] for name, value in cls._load_protocol_file()['protocols'].items()}

    @classmethod
    def get_protocol_descriptions(cls) -> dict[str, str]:
        """Return what each value of the protocol is and where it comes from, by dotted name."""
        return dict(cls._load_protocol_file().get('descriptions', {}))

    @classmethod
    def get_protocol_inputs(
        cls, protocol: str | None = None, overrides: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the values of a protocol, with overrides applied.

        Parameters
        ----------
        protocol : str, optional
            Name of the protocol; the default protocol if not given.
        overrides : mapping, optional
            Values that replace those of the protocol, nested like it.

        Raises
        ------
        ProtocolError
            If the protocol, or a key of the overrides, does not exist.
        """
        data = cls._load_protocol_file()
        name = protocol or data['default_protocol']
        if name not in data['protocols']:
            raise ProtocolError(f'unknown protocol `{name}`: choose from {", ".join(data["protocols"])}')
        selected = dict(data['protocols'][name])
        selected.pop('description', None)
        inputs = recursive_merge(data.get('default_inputs') or {}, selected)
        if overrides:
            check_overrides(inputs, overrides, data.get('free_overrides') or ())
            inputs = recursive_merge(inputs, overrides)
        return inputs
