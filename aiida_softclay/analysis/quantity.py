"""The one schema in which every number of the package is reported."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 'softclay-results/1'


@dataclass(frozen=True)
class Quantity:
    """A number that can be believed: value, error bar, unit, definition and the data it rests on.

    Attributes
    ----------
    name : str
        Dotted machine name, for example ``diffusivity.Li`` or ``density``.
    value : float
        The estimate, in ``unit``; ``None`` where it could not be determined (the reason is in ``warnings``).
    error : float or None
        One standard error of ``value``, in ``unit``; ``None`` only where the data allow no estimate.
    unit : str
        Unit in plain text (``g/cm^3``, ``mS/cm``, ``1`` for a pure number).
    definition : str
        One sentence with the formula and its source.
    n_samples : int
        Number of independent samples (blocks, frames, origins) behind ``error``.
    error_method : str
        How ``error`` was found, for example ``block averages``.
    window : tuple of float or None
        The range of the independent variable that was used.
    window_unit : str or None
        Unit of ``window``.
    frames_used : int or None
        Number of frames or rows that were read.
    conditions : dict
        What the number holds at: ``temperature_K``, ``n_atoms``, ``duration_ps``, ...
    warnings : list of str
        Sentences a careful reader must know.
    """

    name: str
    value: float | None
    error: float | None
    unit: str
    definition: str
    n_samples: int
    error_method: str = ''
    window: tuple[float, float] | None = None
    window_unit: str | None = None
    frames_used: int | None = None
    conditions: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the quantity as a JSON-serialisable dictionary; non-finite numbers become ``None``."""
        row = asdict(self)
        for key in ('value', 'error'):
            if row[key] is not None:
                row[key] = float(row[key]) if math.isfinite(row[key]) else None
        row['n_samples'] = int(row['n_samples'])
        if row['window'] is not None:
            row['window'] = [float(edge) for edge in row['window']]
        return row


def results_dict(quantities: Iterable[Quantity], **context: Any) -> dict[str, Any]:
    """Return the results schema for ``quantities``.

    Parameters
    ----------
    quantities : iterable of Quantity
        The numbers, with unique names.
    **context
        What they share (engine, scale, composition, ...).

    Returns
    -------
    dict
        ``{'schema', 'numbers': [...], 'context': {...}}``.

    Raises
    ------
    ValueError
        If two quantities carry the same name.
    """
    numbers = [quantity.as_dict() for quantity in quantities]
    names = [row['name'] for row in numbers]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ValueError(f'two numbers of one result carry the same name: {", ".join(duplicates)}')
    return {'schema': SCHEMA, 'numbers': numbers, 'context': dict(context)}


def check_results(results: Mapping[str, Any]) -> None:
    """Check that ``results`` follows the schema.

    Raises
    ------
    ValueError
        With a sentence that names the first violation.
    """
    if results.get('schema') != SCHEMA:
        raise ValueError(f'the schema is {results.get("schema")!r}, not {SCHEMA!r}')
    required = {'name', 'value', 'error', 'unit', 'definition', 'n_samples'}
    for row in results.get('numbers', []):
        missing = required - set(row)
        if missing:
            raise ValueError(f'{row.get("name", "a number")} lacks {", ".join(sorted(missing))}')
        if row['value'] is None and not row.get('warnings'):
            raise ValueError(f'{row["name"]} has no value and no warning that says why')
