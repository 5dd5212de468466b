"""The tables of a take-away as csv: numbers, where they come from, how they compare, and every curve with its units."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from aiida import orm
from aiida.common.links import LinkType
from aiida.manage import get_manager
from aiida.repository import Repository

from aiida_softclay.data.telling import Tell
from aiida_softclay.report.export.files import Taken
from aiida_softclay.report.export.selection import Selection, chunks
from aiida_softclay.report.provenance import trace
from aiida_softclay.report.queries import COLUMNS, numbers_of, results_table
from aiida_softclay.report.scorecard_table import scorecard

CALLS = (LinkType.CALL_CALC.value, LinkType.CALL_WORK.value)
#: An array of more columns, such as the positions of atoms, is no curve.
MOST_COLUMNS = 40
#: Bytes of a number in a curve, and of a row in the tables of numbers with its definition.
NUMBER_BYTES, ROW_BYTES = 16, 900
#: Nodes whose arrays are in memory at once.
CURVES_AT_ONCE = 50
#: Restart states: they are for the next run, and the archive has them.
NO_CURVES = ('velocities',)


def write_tables(selection: Selection, folder: Path, tell: Tell) -> Iterator[Taken]:
    """Write ``results``, ``all_numbers``, ``trace``, ``scorecard`` and the curves; empty ones are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = (
        (
            'results',
            results_of_roots(selection),
            'the numbers of what was asked for, with errors and units',
        ),
        ('all_numbers', all_numbers(selection), 'the numbers of every stage'),
        ('trace', trace_table(selection), 'the ancestors of the numbers, back to the crystals'),
        ('scorecard', scorecard_of(selection), 'published numbers beside those that are answered here'),
    )
    for name, table, holds in tables:
        if not table.empty:
            target = folder / f'{name}.csv'
            table.to_csv(target, index=False)
            yield Taken(target, f'{holds}: {len(table)} rows')
    yield from write_curves(selection, folder / 'curves', tell)


def _with_uuids(table: pd.DataFrame) -> pd.DataFrame:
    """Add what keys mean in other profiles."""
    for column in ('process', 'results'):
        keys = {int(pk) for pk in table[f'{column}_pk'].dropna()}
        uuids: dict[int, str] = {}
        for part in chunks(keys):
            query = orm.QueryBuilder().append(orm.Node, filters={'id': {'in': part}}, project=['id', 'uuid'])
            uuids |= dict(query.all())
        table[f'{column}_uuid'] = table[f'{column}_pk'].map(uuids)
    return table


def results_of_roots(selection: Selection) -> pd.DataFrame:
    """Return the numbers of the processes and results nodes that were asked for."""
    found = []
    for node in selection.roots:
        if isinstance(node, orm.ProcessNode):
            found.append(results_table(process=node))
        elif isinstance(node, orm.Dict) and 'numbers' in node.base.attributes.all:
            found.append(numbers_of(node))
    found = [table for table in found if not table.empty]
    return _with_uuids(pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS))


def all_numbers(selection: Selection) -> pd.DataFrame:
    """Return the numbers of every workchain and analysis job that is taken."""
    table = results_table(everything=True)
    return _with_uuids(table[table['process_pk'].isin(selection.pks)].reset_index(drop=True))


def scorecard_of(selection: Selection) -> pd.DataFrame:
    """Return the published numbers that are answered by what is taken."""
    called = {link.target_id for link in selection.links if link.link_type in CALLS}
    processes = sorted(selection.pks - called)
    table = scorecard(processes=processes)
    return table[table['verdict'] != 'none yet'].reset_index(drop=True)


def trace_table(selection: Selection) -> pd.DataFrame:
    """Return the ancestors of what was asked for, a row each, as ``softclay trace`` finds them."""
    rows: dict[str, dict[str, Any]] = {}
    for node in selection.roots:
        try:
            steps = trace(node)
        except ValueError:
            # A process that has no results has no ancestors of results.
            continue
        if len(steps) == 1:
            # Nothing led to it.
            continue
        uuids = {step.node.pk: step.node.uuid for step in steps}
        for step in steps:
            rows.setdefault(
                step.node.uuid,
                {
                    'depth': step.depth, 'kind': step.kind, 'uuid': step.node.uuid, 'holds': step.description,
                    'made_by': step.maker.process_label if step.maker is not None else 'given',
                    'made_by_uuid': step.maker.uuid if step.maker is not None else None, 'engine': step.engine,
                    'from': ' '.join(uuids[pk] for pk in step.parents),
                },
            )  # fmt: skip
    return pd.DataFrame(list(rows.values()))


def curve_nodes(selection: Selection) -> list[orm.ArrayData]:
    """Return the arrays that workchains gave out, without the states of restarts."""
    returned = {
        link.target_id: link.link_label
        for link in selection.links
        if link.link_type == LinkType.RETURN.value and not link.link_label.endswith(NO_CURVES)
    }
    types = {'node_type': {'in': [orm.ArrayData.class_node_type, orm.XyData.class_node_type]}}
    return [node for node in selection.nodes(orm.ArrayData, **types) if node.pk in returned]


def estimate(selection: Selection) -> tuple[int, int]:
    """Return how many curves there are, and about how many bytes all tables take."""
    nodes = curve_nodes(selection)
    shapes = [
        shape
        for node in nodes
        for name, shape in node.base.attributes.all.items()
        if name.startswith('array|') and math.prod(shape[1:]) <= MOST_COLUMNS
    ]
    rows = len(all_numbers(selection)) + len(results_of_roots(selection))
    return len(nodes), sum(math.prod(shape) for shape in shapes) * NUMBER_BYTES + rows * ROW_BYTES


def write_curves(selection: Selection, folder: Path, tell: Tell) -> Iterator[Taken]:
    """Write the arrays of each node that are of one length side by side, with their units in the first line."""
    nodes = curve_nodes(selection)
    for first in range(0, len(nodes), CURVES_AT_ONCE):
        batch = nodes[first : first + CURVES_AT_ONCE]
        for done, (node, arrays) in enumerate(zip(batch, _read_arrays(batch), strict=True), start=first + 1):
            for suffix, table in curve_tables(arrays, node.base.attributes.get('units', None)):
                folder.mkdir(parents=True, exist_ok=True)
                target = folder / f'{selection.names[node.pk]}{suffix}.csv'
                table.to_csv(target, index=False)
                more = ', …' if len(table.columns) > 6 else ''
                yield Taken(target, ', '.join(table.columns[:6]) + more, [node.uuid])
            tell('curves', done, len(nodes))


def _read_arrays(nodes: Sequence[orm.ArrayData]) -> list[dict[str, np.ndarray]]:
    """Return the arrays of some nodes, read together: a query for each would take longer than the reading."""
    places: dict[str, list[tuple[int, str]]] = {}
    for index, node in enumerate(nodes):
        keys = Repository.flatten(node.base.repository.metadata)
        for name in node.get_arraynames():
            if key := keys.get(f'{name}.npy'):
                places.setdefault(key, []).append((index, name))
    found: list[dict[str, np.ndarray]] = [{} for _ in nodes]
    for key, stream in get_manager().get_profile_storage().get_repository().iter_object_streams(list(places)):
        array = np.load(io.BytesIO(stream.read()), allow_pickle=False)
        for index, name in places[key]:
            found[index][name] = array
    # In the order in which the node names them.
    return [
        {name: arrays[name] for name in node.get_arraynames() if name in arrays}
        for node, arrays in zip(nodes, found, strict=True)
    ]


def curve_tables(arrays: Mapping[str, np.ndarray], units: Any = None) -> list[tuple[str, pd.DataFrame]]:
    """Return arrays as tables, one for each length, the longest first.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Name to array.
    units : mapping of str to str, optional
        Name to unit; anything else than a mapping states none.

    Returns
    -------
    list of (str, pandas.DataFrame)
        What the name of the file ends in (nothing for the first table, then ``_2`` and so on) and the table. Columns
        are called ``name (unit)``; arrays of more dimensions have a column for each component. Scalars and what has
        more than 40 columns are not among them.
    """
    units = units if isinstance(units, dict) else {}
    columns: dict[int, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        if array.ndim == 0 or array.dtype.kind not in 'biufUS':
            continue
        unit = f' ({units[name]})' if units.get(name) else ''
        flat = array.reshape(len(array), -1) if array.size else array.reshape(len(array), 0)
        if flat.shape[1] > MOST_COLUMNS:
            continue
        group = columns.setdefault(len(array), {})
        for index in range(flat.shape[1]):
            part = '' if flat.shape[1] == 1 else '_' + '_'.join(map(str, np.unravel_index(index, array.shape[1:])))
            group[f'{name}{part}{unit}'] = flat[:, index]
    ordered = [(length, columns[length]) for length in sorted(columns, reverse=True) if length and columns[length]]
    return [
        ('' if number == 1 else f'_{number}', pd.DataFrame(group)) for number, (_, group) in enumerate(ordered, start=1)
    ]
