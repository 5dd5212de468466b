"""The scorecard of a profile: every published number with the best of ours beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from aiida_softclay.report import scorecard as rules
from aiida_softclay.report.index import open_index
from aiida_softclay.report.queries import FROM_NUMBERS, SOURCES, TABLES_JOINED

#: Columns of the table of :func:`scorecard`, in order.
COLUMNS = [
    'paper', 'id', 'material', 'quantity', 'value', 'error', 'unit', 'published_value', 'bound', 'kind', 'ratio',
    'deviation', 'agreement', 'verdict', 'reasons', 'scale', 'engine', 'labels', 'n_atoms', 'duration_ps',
    'temperature_K', 'process', 'process_pk', 'results_pk', 'ctime', 'n_others', 'printed', 'source',
]  # fmt: skip
SELECTED = {
    'name': 'k.name', 'value': 'n.value', 'error': 'n.error', 'unit': 'k.unit', 'composition': 'm.composition',
    'elements': 'm.elements', 'salts': 'n.salts', 'temperature_K': 'n.temperature_K', 'n_atoms': 'n.n_atoms',
    'duration_ps': 'n.duration_ps', 'component': 'n.component', 'protocol': 'p.text', 'labels_kind': 'n.labels_kind',
    'labels': 'l.text', 'warnings': 'w.text', 'engine': 'e.text', 'process': 's.process',
    'process_pk': 's.process_pk', 'results_pk': 's.results_pk', 'ctime': 'g.made', 'count': 'g.amount',
}  # fmt: skip
FACTS = tuple(field.name for field in fields(rules.Computed))


def scorecard(papers: Sequence[str] | None = None, processes: Sequence[int] | None = None) -> pd.DataFrame:
    """Return every published number with the number of this profile that answers it best.

    Parameters
    ----------
    papers : sequence of str, optional
        Short names; all five by default.
    processes : sequence of int, optional
        Keys of the processes whose numbers count; by default those that no other process called.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COLUMNS`, a row for each published number; ``verdict`` is ``none yet`` where the profile has
        none. ``published_value`` is in ``unit``, which is ours. ``n_others`` counts further numbers that answer. How
        many numbers of the profile answer nothing published is ``attrs['unmatched']``.

    Raises
    ------
    ValueError
        If a paper is not one of the five.
    """
    wanted = list(papers or rules.papers())
    if unknown := [name for name in wanted if name not in rules.papers()]:
        raise ValueError(f'{", ".join(unknown)} is none of the papers: choose from {", ".join(rules.papers())}')
    published = [number for number in rules.published_numbers() if number.paper in wanted]
    with open_index() as index:
        kinds = index.execute('SELECT id, name FROM kinds').fetchall()
        named = [pk for pk, name in kinds if any(rules.is_named(name, number) for number in published)]
        marks = ', '.join('?' * len(named))
        chosen = ', '.join(str(int(pk)) for pk in processes or ())
        whose = 'NOT s.called' if processes is None else f's.process_pk IN ({chosen})'
        # The newest of each group first, from what the index holds in its order, and only then the texts of these few.
        grouped = (
            f'JOIN numbers n ON n.alike = a.id WHERE NOT a.called AND a.kind IN ({marks})'
            if processes is None
            else f'JOIN numbers n ON n.alike = a.id {SOURCES} WHERE {whose} AND a.kind IN ({marks})'
        )
        groups = (
            f'SELECT n.rowid AS number, max(n.made) AS made, count(*) AS amount FROM alike a {grouped} GROUP BY a.id'  # noqa: S608
        )
        columns = ', '.join(SELECTED.values())
        tables = TABLES_JOINED.replace(
            FROM_NUMBERS, f'FROM ({groups}) g JOIN numbers n ON n.rowid = g.number {SOURCES}'
        )
        rows = index.execute(f'SELECT {columns} {tables}', named).fetchall()
        total = index.execute(f'SELECT count(*) {FROM_NUMBERS} WHERE {whose}').fetchone()[0]
    found = [dict(zip(SELECTED, row, strict=True)) for row in rows]
    pool = [(rules.Computed(**{name: row[name] for name in FACTS}), row) for row in found]
    used: set[int] = set()
    table = pd.DataFrame([_row(number, pool, used) for number in published], columns=COLUMNS)
    table.attrs['unmatched'] = total - sum(pool[position][1]['count'] for position in used)
    return table


def _row(number: rules.Published, pool: list[tuple[rules.Computed, dict[str, Any]]], used: set[int]) -> dict[str, Any]:
    row: dict[str, Any] = {
        'paper': number.paper, 'id': number.id, 'material': number.material, 'quantity': number.quantity[0],
        'unit': number.unit, 'published_value': number.value, 'bound': number.bound, 'kind': number.kind,
        'printed': number.printed, 'source': number.source, 'verdict': 'none yet', 'agreement': '',
        'reasons': number.needs, 'n_others': 0, 'scale': '', 'engine': '', 'labels': '', 'process': '',
    }  # fmt: skip
    answers = [position for position, (one, _) in enumerate(pool) if rules.matches(one, number)]
    used.update(answers)
    chosen = rules.best([(pool[position][0], pool[position][1]['ctime']) for position in answers], number)
    if chosen is None:
        return row
    about = next(pool[position][1] for position in answers if pool[position][0] is chosen)
    level, reasons = rules.verdict(chosen, number)
    return {
        **row, 'quantity': chosen.name, 'value': chosen.value, 'error': chosen.error, 'unit': chosen.unit,
        **rules.compare(chosen, number), 'verdict': level, 'reasons': '; '.join(reasons),
        'scale': rules.scale_of(chosen.protocol), 'engine': about['engine'], 'labels': about['labels'],
        'n_atoms': about['n_atoms'], 'duration_ps': about['duration_ps'], 'temperature_K': about['temperature_K'],
        'process': about['process'], 'process_pk': about['process_pk'], 'results_pk': about['results_pk'],
        'ctime': pd.Timestamp(about['ctime'], unit='s', tz='UTC'),
        'n_others': sum(pool[position][1]['count'] for position in answers) - 1,
    }  # fmt: skip
