"""What differs between two studies: their inputs, and what that did to their numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from aiida import orm

from aiida_softclay.report.queries import results_table
from aiida_softclay.report.values import finite_or_none

#: Columns of the two tables of a :class:`Comparison`.
INPUT_COLUMNS = ['input', 'first', 'second']
NUMBER_COLUMNS = ['name', 'unit', 'first', 'first_error', 'second', 'second_error', 'difference', 'ratio', 'errors']


@dataclass
class Comparison:
    """Two studies side by side.

    Attributes
    ----------
    inputs : pandas.DataFrame
        Inputs that differ, by dotted name; an input that one study has not is empty there.
    numbers : pandas.DataFrame
        Numbers of either: value and error of both, second less first, second over first, and the difference in errors
        of both in quadrature.
    n_same : int
        How many inputs are the same.
    """

    inputs: pd.DataFrame
    numbers: pd.DataFrame
    n_same: int


def flat_inputs(process: orm.ProcessNode) -> dict[str, Any]:
    """Return the inputs of a process by dotted name; dictionaries value by value, other nodes as what they hold.

    Two nodes with the same content count as the same input, whatever their keys: structures, potentials and frames are
    told apart by their hash.
    """
    found: dict[str, Any] = {}
    for entry in process.base.links.get_incoming(node_class=orm.Data).all():
        name = entry.link_label.replace('__', '.')
        found |= _flat(name, entry.node)
    return found


def _flat(name: str, node: orm.Node) -> dict[str, Any]:
    if isinstance(node, orm.Dict):
        return _leaves(name, node.get_dict())
    if isinstance(node, orm.List):
        return {name: node.get_list()}
    if isinstance(node, orm.BaseType):
        return {name: node.value}
    if isinstance(node, orm.AbstractCode):
        return {name: node.full_label}
    digest = node.base.caching.get_hash() or node.uuid
    if isinstance(node, orm.StructureData):
        return {name: f'{node.get_formula(mode="hill_compact")}, {len(node.sites)} atoms ({digest[:8]})'}
    return {name: f'{type(node).__name__} ({digest[:8]})'}


def _leaves(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        found: dict[str, Any] = {}
        for key, inner in value.items():
            found |= _leaves(f'{name}.{key}', inner)
        return found
    return {name: value}


def compare_studies(first: orm.ProcessNode, second: orm.ProcessNode) -> Comparison:
    """Return which inputs differ between two processes, and their numbers side by side.

    Parameters
    ----------
    first, second : aiida.orm.ProcessNode
        Workchains or analysis jobs, finished or not.

    Returns
    -------
    Comparison
        Two tables; a number that only one of them has is kept, without difference.
    """
    inputs = [flat_inputs(process) for process in (first, second)]
    names = sorted({*inputs[0], *inputs[1]})
    missing = object()
    rows = []
    for name in names:
        one, other = (given.get(name, missing) for given in inputs)
        if one is missing or other is missing or one != other:
            rows.append((name, None if one is missing else one, None if other is missing else other))
    return Comparison(
        pd.DataFrame(rows, columns=INPUT_COLUMNS, dtype=object), _numbers(first, second), len(names) - len(rows)
    )


def _numbers(first: orm.ProcessNode, second: orm.ProcessNode) -> pd.DataFrame:
    tables = [results_table(process=process).set_index(['name', 'unit']) for process in (first, second)]
    rows = []
    for key in dict.fromkeys([*tables[0].index, *tables[1].index]):
        values = []
        for table in tables:
            row = table.loc[[key]].iloc[0] if key in table.index else None
            values += [finite_or_none(row['value']), finite_or_none(row['error'])] if row is not None else [None, None]
        one, one_error, other, other_error = values
        difference = ratio = errors = None
        if one is not None and other is not None:
            difference = other - one
            ratio = other / one if one else None
            spread = math.hypot(one_error or 0.0, other_error or 0.0)
            errors = difference / spread if spread > 0 else None
        rows.append((*key, *values, difference, ratio, errors))
    return pd.DataFrame(rows, columns=NUMBER_COLUMNS)
