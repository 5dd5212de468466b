"""Which panels each analysis has: families of figures register what they draw under the name of the analysis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiida import orm

#: What draws a node on axes. It raises a ValueError if the node lacks what it draws, or holds what does not fit.
Draw = Callable[[Any, Any], None]
#: Name of the panel, the node behind it, and what draws it.
Panel = tuple[str, orm.Data, Draw]


@dataclass(frozen=True)
class Source:
    """What an analysis left.

    Attributes
    ----------
    results : aiida.orm.Dict or None
        Its numbers.
    arrays : mapping of str to aiida.orm.ArrayData
        Its curves by the names of the outputs.
    files : mapping of str to aiida.orm.SinglefileData
        Its files.
    subject : str
        What the curve is about, where the numbers are about several things; letters, digits and underscores.
    """

    results: orm.Dict | None = None
    arrays: Mapping[str, orm.ArrayData] = field(default_factory=dict)
    files: Mapping[str, orm.SinglefileData] = field(default_factory=dict)
    subject: str = ''

    @property
    def curve(self) -> orm.ArrayData | None:
        """The curve, if there is one."""
        return self.arrays.get('curve')

    @property
    def context(self) -> dict[str, Any]:
        """What the numbers share."""
        return {} if self.results is None else dict(self.results.get_dict().get('context') or {})

    def rows(self, prefix: str = '') -> list[dict[str, Any]]:
        """Return the numbers whose names begin with a prefix and that have a value."""
        if self.results is None:
            return []
        found = self.results.get_dict().get('numbers', [])
        return [row for row in found if row['name'].startswith(prefix) and row['value'] is not None]

    def row(self, name: str) -> dict[str, Any] | None:
        """Return a number by its name, if it has a value."""
        return next((row for row in self.rows(name) if row['name'] == name), None)


#: Analysis to what yields its panels.
REGISTRY: dict[str, Callable[[Source], Iterator[Panel]]] = {}


def panels_for(*names: str) -> Callable[[Callable[[Source], Iterator[Panel]]], Callable[[Source], Iterator[Panel]]]:
    """Register what yields the panels of analyses."""

    def register(function: Callable[[Source], Iterator[Panel]]) -> Callable[[Source], Iterator[Panel]]:
        for name in names:
            if name in REGISTRY:
                raise ValueError(f'the panels of {name} are registered twice')
            REGISTRY[name] = function
        return function

    return register


def panels_from(name: str, source: Source) -> dict[str, tuple[orm.Data, Draw]]:
    """Return the panels of an analysis by name; none for one that has no figure."""
    if name not in REGISTRY:
        return {}
    return {title: (node, draw) for title, node, draw in REGISTRY[name](source)}
