"""Find the numbers of a profile: every ``results`` output of every workchain, as one pandas table."""

from __future__ import annotations

import fnmatch
from datetime import datetime
from typing import Any

import pandas as pd
from aiida import orm

from aiida_softclay.analysis.quantity import SCHEMA
from aiida_softclay.data.engine import engine_text

#: Columns of the table of :func:`results_table`, in order.
COLUMNS = [
    'name', 'value', 'error', 'unit', 'temperature_K', 'mixture', 'n_atoms', 'engine', 'protocol', 'process',
    'process_pk', 'results_pk', 'definition', 'n_samples', 'error_method', 'window', 'window_unit', 'warnings', 'ctime',
]  # fmt: skip


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
    engine: str | None = None,
    temperature: tuple[float, float] | None = None,
    since: datetime | None = None,
    everything: bool = False,
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
    temperature : tuple of float, optional
        Lowest and highest temperature, K.
    since : datetime, optional
        Only numbers made after this time.
    everything : bool
        Also the numbers of workchains that another workchain called; a study collects those of its stages, so that by
        default every number appears once.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COLUMNS`, newest last.
    """
    filters: dict[str, Any] = {}
    if process is not None:
        filters['id'] = process.pk
    query = orm.QueryBuilder()
    # A workchain returns its numbers, an analysis job makes them.
    makers = (orm.WorkChainNode, orm.CalcJobNode)
    query.append(makers, filters=filters, tag='maker', project=['id', 'attributes.process_label'])
    node_filters: dict[str, Any] = {'attributes.schema': SCHEMA}
    if since is not None:
        node_filters['ctime'] = {'>=': since}
    query.append(
        orm.Dict,
        with_incoming='maker',
        edge_filters={
            'or': [{'label': 'results'}, {'label': {'like': r'further\_\_%'}}],
            'type': {'in': ['return', 'create']},
        },
        filters=node_filters,
        project=['id', 'ctime', 'attributes'],
    )
    query.order_by({orm.Dict: 'ctime'})
    found = query.all()
    called: set[int] = set()
    if not everything and process is None and found:
        children = orm.QueryBuilder()
        children.append(orm.WorkChainNode, tag='caller')
        children.append(
            makers,
            with_incoming='caller',
            filters={'id': {'in': sorted({row[0] for row in found})}},
            project='id',
        )
        called = set(children.all(flat=True))
    rows = []
    for process_pk, label, results_pk, ctime, content in found:
        if process_pk in called:
            continue
        for number in content['numbers']:
            row = _row(number, content.get('context', {}))
            row.update(process=label, process_pk=process_pk, results_pk=results_pk, ctime=ctime)
            rows.append(row)
    table = pd.DataFrame(rows, columns=COLUMNS)
    if name:
        table = table[table['name'].map(lambda text: fnmatch.fnmatchcase(text, name))]
    for column, part in (('mixture', mixture), ('engine', engine)):
        if part:
            table = table[table[column].map(lambda text, part=part: part.lower() in str(text or '').lower())]
    if temperature is not None:
        low, high = temperature
        numeric = pd.to_numeric(table['temperature_K'], errors='coerce')
        table = table[(numeric >= low) & (numeric <= high)]
    return table.reset_index(drop=True)


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
