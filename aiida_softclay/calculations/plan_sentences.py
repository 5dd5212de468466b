"""What pydantic finds wrong with a plan of segments, as sentences that name the segment and the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def sentence(error: Any, values: Mapping[str, Any]) -> str:
    """Return one validation error as a sentence that names the segment and the field."""
    where = list(error['loc'])
    prefix = ''
    if where[:1] == ['segments'] and len(where) > 1:
        segments = values.get('segments')
        entry = segments[where[1]] if isinstance(segments, Sequence) else None
        name = entry.get('name') if isinstance(entry, Mapping) else None
        prefix = f'segment {name or where[1] + 1}: '
        where = where[2:]
    field = '.'.join(str(part) for part in where)
    kind = error['type']
    if kind == 'extra_forbidden':
        return f'{prefix}`{field}` is not known here; check the spelling and the unit in the name'
    if kind == 'missing':
        return f'{prefix}`{field}` is missing'
    if kind == 'value_error':
        return prefix + str(error['ctx']['error'])
    return f'{prefix}{field} is {error.get("input")!r}: {error["msg"][0].lower()}{error["msg"][1:]}'
