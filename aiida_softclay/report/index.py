"""An index of the numbers of a profile, so that ten thousand studies are searched as fast as ten.

A results node never changes once it is stored, so what was read from it stays true: the index is one SQLite file beside
the configuration, brought up to date before every query by comparing the results nodes of the profile with those in it.
It can be deleted at any time; it is made again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.manage import get_manager

from aiida_softclay.analysis.quantity import SCHEMA
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.telling import told
from aiida_softclay.report.composition import elements_text, reduced_text
from aiida_softclay.report.values import finite_or_none
from aiida_softclay.setup.marker import config_folder

#: Raise it whenever what is stored changes: an index of another version is made anew.
VERSION = 4
#: Nodes that are read at once.
BATCH = 500
#: Columns of a number.
N_COLUMNS = 20
#: Places in a row of :func:`_number` of what numbers that answer the same question agree in, beside their kind:
#: material, protocol, labels, component, salts, size, duration, warnings. Temperatures count in steps of 5 K.
ALIKE, TEMPERATURE, STEP_K = (1, 12, 14, 15, 7, 16, 5, 6, 13), 4, 5
#: Makers of numbers: a workchain returns them, an analysis job creates them.
MAKERS = (orm.WorkChainNode, orm.CalcJobNode)
#: Links by which numbers leave their maker.
LINKS = {
    'or': [{'label': 'results'}, {'label': {'like': r'further\_\_%'}}],
    'type': {'in': ['return', 'create']},
}

TABLES = """
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, process_pk INTEGER, results_pk INTEGER, results_uuid TEXT, process TEXT, called INTEGER,
    ctime REAL, potential_uuid TEXT
);
CREATE INDEX sources_process ON sources (process_pk);
CREATE INDEX sources_ctime ON sources (ctime);
CREATE INDEX sources_potential ON sources (potential_uuid);
CREATE TABLE kinds (
    id INTEGER PRIMARY KEY, name TEXT, unit TEXT, definition TEXT, error_method TEXT,
    UNIQUE (name, unit, definition, error_method)
);
CREATE TABLE state (newest TEXT);
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT UNIQUE);
CREATE TABLE materials (id INTEGER PRIMARY KEY, mixture TEXT, composition TEXT, elements TEXT,
    UNIQUE (mixture, composition, elements));
CREATE TABLE alike (id INTEGER PRIMARY KEY, kind INTEGER, called INTEGER, rest TEXT, UNIQUE (kind, called, rest));
CREATE TABLE numbers (
    source INTEGER, made REAL, alike INTEGER, kind INTEGER, material INTEGER, value REAL, error REAL,
    temperature_K REAL, n_atoms REAL,
    duration_ps REAL, component TEXT, n_samples INTEGER, window TEXT, window_unit TEXT, engine INTEGER,
    protocol INTEGER, warnings INTEGER, labels INTEGER, labels_kind TEXT, salts TEXT
);
CREATE INDEX numbers_source ON numbers (source);
CREATE INDEX numbers_kind ON numbers (kind);
CREATE INDEX numbers_material ON numbers (material);
CREATE INDEX numbers_alike ON numbers (alike, made);
"""


def index_path() -> Path | None:
    """Return the file of the index of the loaded profile; ``None`` for a profile that lives in memory."""
    profile = get_manager().get_profile()
    if profile is None:
        raise RuntimeError('no profile is loaded')
    if profile.storage_backend == 'core.sqlite_temp':
        return None
    return config_folder() / 'softclay-index' / f'{profile.uuid}.sqlite'


@contextlib.contextmanager
def open_index() -> Iterator[sqlite3.Connection]:
    """Yield a connection to the index of the loaded profile, brought up to date.

    Where its file cannot be written, the index is made in memory: slower, with the same answers.
    """
    path = index_path()
    connection = None
    if path is not None:
        try:
            connection = _connect(path)
            _update(connection)
        except (sqlite3.Error, OSError):
            if connection is not None:
                connection.close()
            connection = None
    if connection is None:
        connection = sqlite3.connect(':memory:', isolation_level=None)
        connection.executescript(TABLES)
        _update(connection)
    try:
        yield connection
    finally:
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    if connection.execute('PRAGMA user_version').fetchone()[0] == VERSION:
        return connection
    connection.execute('BEGIN EXCLUSIVE')
    # Another process may have made it while this one waited.
    if connection.execute('PRAGMA user_version').fetchone()[0] != VERSION:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            connection.execute(f'DROP TABLE "{name}"')
        for statement in TABLES.split(';'):
            connection.execute(statement)
        connection.execute(f'PRAGMA user_version = {VERSION}')
    connection.execute('COMMIT')
    return connection


def _pairs() -> orm.QueryBuilder:
    query = orm.QueryBuilder()
    query.append(MAKERS, tag='maker', project='id')
    query.append(orm.Dict, with_incoming='maker', edge_filters=LINKS, project=['id', 'uuid'], tag='results')
    return query


def _newest() -> str:
    """Return what tells whether results were added or deleted: how many there are, and which is the newest.

    A key that was given back is told apart by its uuid; a link that came late changes the number.
    """
    last = _pairs().order_by({'results': {'id': 'desc'}}).limit(1).all()
    return json.dumps([_pairs().count(), last])


def _update(connection: sqlite3.Connection) -> None:
    """Take in the results nodes that are new and drop those that were deleted."""
    newest = _newest()
    if connection.execute('SELECT newest FROM state').fetchone() == (newest,):
        return
    present = {(maker, uuid): results for maker, results, uuid in _pairs().all()}
    known = {
        (maker, uuid): source
        for source, maker, uuid in connection.execute('SELECT id, process_pk, results_uuid FROM sources')
    }
    fresh = sorted(present.keys() - known.keys(), key=lambda pair: present[pair])
    gone = [(known[pair],) for pair in known.keys() - present.keys()]
    connection.execute('BEGIN IMMEDIATE')
    try:
        connection.executemany('DELETE FROM numbers WHERE source = ?', gone)
        connection.executemany('DELETE FROM sources WHERE id = ?', gone)
        _read(connection, [(maker, present[maker, uuid]) for maker, uuid in fresh])
        connection.execute('DELETE FROM state')
        # Of before the comparison: what came meanwhile is found the next time.
        connection.execute('INSERT INTO state VALUES (?)', (newest,))
    except BaseException:
        connection.execute('ROLLBACK')
        raise
    connection.execute('COMMIT')


def _read(connection: sqlite3.Connection, pairs: Sequence[tuple[int, int]]) -> None:
    interned = _Interned(connection)
    models: dict[str, dict[str, Any]] = {}
    # Another process may have taken some in since this one compared.
    known = set(connection.execute('SELECT process_pk, results_uuid FROM sources'))
    starts = range(0, len(pairs), BATCH)
    for start in told(starts, f'indexing results, in batches of {BATCH}', len(starts)):
        batch = pairs[start : start + BATCH]
        makers = sorted({maker for maker, _ in batch})
        nodes = orm.QueryBuilder().append(
            orm.Dict,
            filters={'id': {'in': sorted({pk for _, pk in batch})}},
            project=['id', 'uuid', 'ctime', 'attributes'],
        )
        contents = {pk: rest for pk, *rest in nodes.all()}
        parts = _parts(content for _, _, content in contents.values())
        processes = dict(
            orm.QueryBuilder()
            .append(orm.ProcessNode, filters={'id': {'in': makers}}, project=['id', 'attributes.process_label'])
            .all()
        )
        called, protocols = _called(makers), _protocols(makers)
        potentials = _potentials(makers, models)
        for maker, pk in batch:
            uuid, ctime, content = contents[pk]
            if content.get('schema') != SCHEMA or (maker, uuid) in known:
                continue
            context = {'protocol': protocols.get(maker), **(content.get('context') or {})}
            potential = context.get('potential_uuid') or potentials.get(maker)
            cursor = connection.execute(
                'INSERT INTO sources (process_pk, results_pk, results_uuid, process, called, ctime, potential_uuid) '
                'VALUES (?, ?, ?, ?, ?, ?, ?)',
                (maker, pk, uuid, processes[maker], int(maker in called), ctime.timestamp(), potential),
            )
            rows = []
            for number in content['numbers']:
                row = _number(interned, number, _conditions(number, context, parts), potential, models)
                alike = interned.alike(row, maker in called)
                rows.append((cursor.lastrowid, ctime.timestamp(), alike, *row))
            marks = ', '.join('?' * N_COLUMNS)
            connection.executemany(f'INSERT INTO numbers VALUES ({marks})', rows)  # noqa: S608


def _parts(contents: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the results that collected numbers were taken from, and those that these were taken from, by uuid."""
    found: dict[str, dict[str, Any]] = {}
    frontier = list(contents)
    while frontier:
        wanted = {row['source'] for content in frontier for row in content.get('numbers') or [] if 'source' in row}
        wanted -= found.keys()
        if not wanted:
            break
        query = orm.QueryBuilder()
        query.append(orm.Dict, filters={'uuid': {'in': sorted(wanted)}}, project=['uuid', 'attributes'])
        fresh = dict(query.all())
        # Sources that were deleted are not asked for again.
        found |= {uuid: fresh.get(uuid, {}) for uuid in wanted}
        frontier = list(fresh.values())
    return found


def _conditions(
    number: Mapping[str, Any], context: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what is known of a number: of the table it stands in, of those it was taken from, and of itself.

    What a stage states of itself goes before what the study says of all stages.
    """
    known, name, row = dict(context), number['name'], number
    while (source := parts.get(row.get('source', ''))) and source.get('schema') == SCHEMA:
        known |= {key: value for key, value in (source.get('context') or {}).items() if value not in (None, '')}
        name = name.partition('.')[2]
        row = next((other for other in source['numbers'] if other['name'] == name), {})
    return known | (number.get('conditions') or {})


def _protocols(makers: Iterable[int]) -> dict[int, str]:
    """Return the protocol in the parameters of each process."""
    query = orm.QueryBuilder()
    query.append(MAKERS, tag='maker', filters={'id': {'in': list(makers)}}, project='id')
    query.append(orm.Dict, with_outgoing='maker', edge_filters={'label': 'parameters'}, project='attributes.protocol')
    return {maker: protocol for maker, protocol in query.all() if isinstance(protocol, str)}


def _called(makers: Iterable[int]) -> set[int]:
    """Return which processes another workchain called."""
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, tag='caller')
    query.append(MAKERS, with_incoming='caller', filters={'id': {'in': list(makers)}}, project='id')
    return set(query.all(flat=True))


def _potentials(makers: Iterable[int], models: dict[str, dict[str, Any]]) -> dict[int, str]:
    """Return the uuid of the potential of each process, given or returned, and note what is known of all potentials."""
    from aiida_softclay.data.potential import PotentialData

    if not models:
        query = orm.QueryBuilder().append(PotentialData, project=['uuid', 'attributes.labels', 'attributes.type_map'])
        models |= {'': {}, **{uuid: {'labels': labels, 'type_map': known} for uuid, labels, known in query.all()}}
    found: dict[int, str] = {}
    for link in ({'with_outgoing': 'maker'}, {'with_incoming': 'maker'}):
        query = orm.QueryBuilder()
        query.append(MAKERS, tag='maker', filters={'id': {'in': list(makers)}}, project='id')
        query.append(PotentialData, edge_filters={'label': 'potential'}, project='uuid', **link)
        found |= dict(query.all())
    return found


class _Interned:
    """Texts that many numbers share, stored once. Names of tables and columns come from this module only."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: dict[tuple[Any, ...], int] = {}

    def __call__(self, table: str, columns: str, *values: Any) -> int:
        key = (table, *values)
        if key not in self._ids:
            marks = ', '.join('?' * len(values))
            self._connection.execute(f'INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})', values)  # noqa: S608
            where = ' AND '.join(f'{name} = ?' for name in columns.split(', '))
            row = self._connection.execute(f'SELECT id FROM {table} WHERE {where}', values).fetchone()  # noqa: S608
            self._ids[key] = row[0]
        return self._ids[key]

    def text(self, text: Any) -> int:
        """Return the key of a text."""
        return self('texts', 'text', '' if text is None else str(text))

    def material(self, mixture: Any, formula: Any, elements: str = '') -> int:
        """Return the key of a material, named as a mixture, by the formula of its cell, or by its elements only."""
        name = '' if mixture is None else str(mixture)
        composition = reduced_text(name) or reduced_text(str(formula or ''))
        return self(
            'materials', 'mixture, composition, elements', name, composition, elements_text(composition) or elements
        )

    def alike(self, row: Sequence[Any], called: bool) -> int:
        """Return the key of all numbers that answer a question as well as this one; the newest stands for them."""
        temperature = row[TEMPERATURE]
        rest = [*(row[place] for place in ALIKE), None if temperature is None else int(temperature / STEP_K)]
        # Whether there is a value and an error counts, not which.
        rest += [row[2] is None, row[3] is None]
        return self('alike', 'kind, called, rest', row[0], int(called), json.dumps(rest))


def labels_kind(labels: Mapping[str, Any] | None) -> str:
    """Return ``model`` for energies of a model, ``dft`` for those of a functional, and nothing if it is not known.

    >>> labels_kind({'program': 'softclay-vasp', 'model': 'CHGNet 0.3.0'})
    'model'
    """
    labels = labels if isinstance(labels, Mapping) else {}
    return 'model' if labels.get('model') else 'dft' if labels.get('functional') else ''


def _number(
    interned: _Interned, number: Mapping[str, Any], known: Mapping[str, Any], potential: str | None,
    models: Mapping[str, Mapping[str, Any]],
) -> tuple[Any, ...]:  # fmt: skip
    """Return the row of a number, without its source."""
    model = models.get(known.get('potential_uuid') or potential or '') or {}
    labels = _record(known.get('labels')) or model.get('labels') or _record(known.get('engine'))
    # An energy above the hull is that of the phase in its name.
    hull = {row['id']: row.get('formula') for row in known.get('hull') or [] if 'id' in row}
    phase = hull.get(number['name'].rpartition('energy_above_hull.')[2])
    elements = (
        known.get('elements') or (_record(known.get('model')) or {}).get('type_map') or model.get('type_map') or ()
    )
    elements = '-'.join(sorted(elements.split('-') if isinstance(elements, str) else elements))
    window = number.get('window')
    return (
        interned(
            'kinds', 'name, unit, definition, error_method', number['name'], number['unit'], number['definition'],
            number.get('error_method') or '',
        ),
        interned.material(None if phase else known.get('mixture'), phase or known.get('formula'), elements),
        number['value'], number['error'],
        *(finite_or_none(known.get(name)) for name in ('temperature_K', 'n_atoms', 'duration_ps')),
        known.get('component'), number['n_samples'],
        None if window is None else json.dumps(window), number.get('window_unit'),
        interned.text(engine_text(known.get('engine'))), interned.text(known.get('protocol')),
        interned.text('; '.join(number.get('warnings') or [])), interned.text(engine_text(labels)),
        labels_kind(labels), '-'.join(sorted(known.get('salts') or [])),
    )  # fmt: skip


def _record(value: Any) -> Any:
    """Return a record of an engine or a model, and nothing for what another context calls by the same name."""
    return value if isinstance(value, Mapping) else None
