"""Find the numbers of a profile: every ``results`` output of every workchain, as one pandas table."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pandas as pd
from aiida import orm

from aiida_softclay.analysis.quantity import SCHEMA
from aiida_softclay.data.engine import engine_text
from aiida_softclay.report.composition import reduced_text
from aiida_softclay.report.index import open_index

#: Columns of the table of :func:`results_table`, in order.
COLUMNS = [
    'name', 'value', 'error', 'unit', 'temperature_K', 'mixture', 'n_atoms', 'engine', 'protocol', 'process',
    'process_pk', 'results_pk', 'definition', 'n_samples', 'error_method', 'window', 'window_unit', 'warnings', 'ctime',
    'composition', 'elements', 'salts', 'component', 'duration_ps', 'potential_uuid', 'labels', 'labels_kind',
]  # fmt: skip
#: Column of the table to column of the index.
SELECTED = {
    'name': 'k.name', 'value': 'n.value', 'error': 'n.error', 'unit': 'k.unit', 'temperature_K': 'n.temperature_K',
    'mixture': 'm.mixture', 'n_atoms': 'n.n_atoms', 'engine': 'e.text', 'protocol': 'p.text', 'process': 's.process',
    'process_pk': 's.process_pk', 'results_pk': 's.results_pk', 'definition': 'k.definition',
    'n_samples': 'n.n_samples', 'error_method': 'k.error_method', 'window': 'n.window',
    'window_unit': 'n.window_unit', 'warnings': 'w.text', 'ctime': 's.ctime', 'composition': 'm.composition',
    'elements': 'm.elements', 'salts': 'n.salts', 'component': 'n.component', 'duration_ps': 'n.duration_ps',
    'potential_uuid': 's.potential_uuid', 'labels': 'l.text', 'labels_kind': 'n.labels_kind',
}  # fmt: skip
SOURCES = 'JOIN sources s ON s.id = n.source'
FROM_NUMBERS = f'FROM numbers n {SOURCES}'
TABLES_JOINED = (
    f'{FROM_NUMBERS} JOIN kinds k ON k.id = n.kind '
    'JOIN materials m ON m.id = n.material JOIN texts e ON e.id = n.engine JOIN texts p ON p.id = n.protocol '
    'JOIN texts w ON w.id = n.warnings JOIN texts l ON l.id = n.labels'
)


def _row(number: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    conditions = number.get('conditions') or {}

    def known(key: str) -> Any:
        return conditions.get(key, context.get(key))

    return {
        'name': number['name'],
        'value': number['value'],
        'error': number['error'],
        'unit': number['unit'],
        'temperature_K': known('temperature_K'),
        'mixture': known('mixture'),
        'n_atoms': known('n_atoms'),
        'engine': engine_text(known('engine')),
        'protocol': known('protocol'),
        'definition': number['definition'],
        'n_samples': number['n_samples'],
        'error_method': number.get('error_method', ''),
        'window': number.get('window'),
        'window_unit': number.get('window_unit'),
        'warnings': '; '.join(number.get('warnings') or []),
    }


def numbers_of(results: orm.Dict) -> pd.DataFrame:
    """Return the numbers of one results node.

    Parameters
    ----------
    results : aiida.orm.Dict
        A node in the results schema.

    Returns
    -------
    pandas.DataFrame
        One row per number, columns :data:`COLUMNS`.

    Raises
    ------
    ValueError
        If the node does not follow the schema.
    """
    content = results.get_dict()
    if content.get('schema') != SCHEMA:
        raise ValueError(f'node {results.pk} is not a results node: its schema is {content.get("schema")!r}')
    rows = [_row(number, content.get('context', {})) for number in content['numbers']]
    for row in rows:
        row.update(results_pk=results.pk, ctime=results.ctime)
    return pd.DataFrame(rows, columns=COLUMNS)


def results_table(
    *,
    process: orm.ProcessNode | None = None,
    name: str | None = None,
    mixture: str | None = None,
    composition: str | None = None,
    engine: str | None = None,
    potential: orm.Data | str | None = None,
    temperature: tuple[float, float] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    everything: bool = False,
    limit: int | None = None,
) -> pd.DataFrame:
    """Return the numbers of the profile that pass all filters.

    Parameters
    ----------
    process : aiida.orm.ProcessNode, optional
        Only the numbers of this workchain or analysis job.
    name : str, optional
        Shell-style pattern on the name of the number, for example ``diffusivity.*``.
    mixture, engine : str, optional
        Case-insensitive parts of the mixture and of the engine.
    composition : str, optional
        A material, which is found however it was named: ``2LiCl-GaF3`` finds ``Cl64F96Ga32Li64`` too. Elements joined
        by hyphens, ``Li-Ga-F-Cl``, find all that consist of exactly these.
    potential : PotentialData or str, optional
        Only numbers that were computed with it, or that judge it; a text is the beginning of its uuid.
    temperature : tuple of float, optional
        Lowest and highest temperature, K.
    since, until : datetime, optional
        Only numbers made after and before these times; of the local time zone if they name none.
    everything : bool
        Also the numbers of workchains that another workchain called; a study collects those of its stages, so that by
        default every number appears once.
    limit : int, optional
        Largest number of rows, the newest; ``attrs['found']`` of the table says how many there are.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COLUMNS`, newest last.

    Raises
    ------
    ValueError
        If ``composition`` names no material.
    """
    where, values = _conditions(name, mixture, composition, engine, potential, temperature, since, until)
    if process is not None:
        where.append('s.process_pk = ?')
        values.append(process.pk)
    elif not everything:
        where.append('NOT s.called')
    clause = f' WHERE {" AND ".join(where)}' if where else ''
    order, tables = 's.ctime, s.id, n.rowid', TABLES_JOINED
    if limit is not None:
        # Newest first, so that the oldest are left out; put in order below. Without a condition that picks few, the
        # sources are gone through by date until there are enough.
        order = f's.ctime DESC, s.id DESC, n.rowid DESC LIMIT {int(limit)}'
        if not (name or composition or process or potential):
            tables = tables.replace(FROM_NUMBERS, 'FROM sources s CROSS JOIN numbers n ON n.source = s.id')
    with open_index() as index:
        found = None
        if limit is not None:
            found = index.execute(f'SELECT count(*) {FROM_NUMBERS}{clause}', values).fetchone()[0]
        columns = ', '.join(SELECTED.values())
        rows = index.execute(f'SELECT {columns} {tables}{clause} ORDER BY {order}', values).fetchall()
    table = pd.DataFrame(rows, columns=list(SELECTED))
    if limit is not None:
        table = table.iloc[::-1]
    for column in ('mixture', 'engine', 'protocol'):
        table[column] = table[column].map(lambda text: text or None)
    table['engine'] = table['engine'].fillna('')
    table['window'] = table['window'].map(lambda text: json.loads(text) if isinstance(text, str) else None)
    table['ctime'] = pd.to_datetime(table['ctime'], unit='s', utc=True)
    table = table.reset_index(drop=True)
    table.attrs['found'] = len(table) if found is None else found
    return table


def _conditions(
    name: str | None, mixture: str | None, composition: str | None, engine: str | None,
    potential: orm.Data | str | None, temperature: tuple[float, float] | None, since: datetime | None,
    until: datetime | None,
) -> tuple[list[str], list[Any]]:  # fmt: skip
    """Return the conditions of a query of the index and the values in them."""
    where: list[str] = []
    values: list[Any] = []

    def add(condition: str, *given: Any) -> None:
        where.append(condition)
        values.extend(given)

    if name:
        add('n.kind IN (SELECT id FROM kinds WHERE name GLOB ?)', name)
    if mixture:
        add('n.material IN (SELECT id FROM materials WHERE instr(lower(mixture), ?))', mixture.lower())
    if engine:
        add('n.engine IN (SELECT id FROM texts WHERE instr(lower(text), ?))', engine.lower())
    if composition:
        elements = composition.split('-')
        if all(re.fullmatch('[A-Z][a-z]?', element) for element in elements):
            add('n.material IN (SELECT id FROM materials WHERE elements = ?)', '-'.join(sorted(elements)))
        elif reduced := reduced_text(composition):
            add('n.material IN (SELECT id FROM materials WHERE composition = ?)', reduced)
        else:
            raise ValueError(f'{composition} is no material: write 2LiCl-GaF3, LiAlO0.75Cl2.5, or elements, Li-Ga-F-Cl')
    if potential is not None:
        uuid = potential if isinstance(potential, str) else potential.uuid
        add('s.potential_uuid GLOB ?', f'{uuid}*')
    if temperature is not None:
        add('n.temperature_K BETWEEN ? AND ?', *temperature)
    if since is not None:
        add('s.ctime >= ?', since.timestamp())
    if until is not None:
        add('s.ctime <= ?', until.timestamp())
    return where, values


def format_value(value: float | None, error: float | None) -> str:
    """Return ``value ± error`` with the error at two significant digits and the value at the same decimal.

    >>> format_value(2.8172, 0.0413)
    '2.817 ± 0.041'
    >>> format_value(1.234e-9, None)
    '1.234e-09'
    """
    if value is None:
        return 'undetermined'
    if error is None or not error > 0:
        return f'{value:.4g}'
    exponent = int(f'{error:e}'.partition('e')[2])
    if -4 <= exponent <= 4:
        decimals = max(0, 1 - exponent)
        return f'{value:.{decimals}f} ± {error:.{decimals}f}'
    scale = int(f'{value:e}'.partition('e')[2]) if value else exponent
    decimals = max(0, scale - exponent + 1)
    return f'({value / 10**scale:.{decimals}f} ± {error / 10**scale:.{decimals}f})e{scale:+03d}'
