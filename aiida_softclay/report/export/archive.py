"""The AiiDA archive of a take-away: the whole provenance without POTCARs and, unless asked for, without bulk.

No stored node is changed. While AiiDA writes the archive, each row of its database passes through here: a file that is
left out is taken out of the list of files of its node, so that the archive imports as any other; the node keeps its
attributes, and an extra of its copy says what was left out, why, with which hash, and where it is. AiiDA takes the
hashes off the nodes that it imports, so that nothing is cached from one that lacks a file.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from aiida import orm
from aiida.common.progress_reporter import ProgressReporterAbstract, get_progress_reporter, set_progress_reporter
from aiida.orm.entities import EntityTypes
from aiida.tools.archive.create import EXPORT_LOGGER, create_archive
from aiida.tools.archive.implementations.sqlite_zip.main import ArchiveFormatSqlZip
from aiida.tools.archive.implementations.sqlite_zip.writer import ArchiveWriterSqlZip

from aiida_softclay.data.left_out import LEFT_OUT_EXTRA
from aiida_softclay.data.telling import Tell
from aiida_softclay.report.export.plan import ArchivePlan
from aiida_softclay.report.export.potcar import text_holds_potcar
from aiida_softclay.report.export.selection import Selection, chunks


class PotcarTextError(ValueError):
    """A POTCAR in what cannot be left out of an archive: the attributes of a node."""


def write_archive(
    selection: Selection,
    plan: ArchivePlan,
    target: Path,
    groups: list[orm.Group] | None = None,
    tell: Tell = lambda *_: None,
) -> None:
    """Write the archive.

    Parameters
    ----------
    selection : Selection
        The nodes.
    plan : ArchivePlan
        What is left out; messages that are left out are counted in it.
    target : Path
        A file that does not exist.
    groups : list of Group, optional
        Groups to take along; their nodes must be among those of the selection.
    tell : callable
        Called with ('writing the archive', done, all) rows or files.

    Raises
    ------
    PotcarTextError
        If attributes or extras of a node hold a POTCAR.
    """
    entities = [*selection.starting_nodes(), *(groups or [])]
    level, reporter = EXPORT_LOGGER.level, get_progress_reporter()
    # AiiDA's own account of it is a page long.
    EXPORT_LOGGER.setLevel('WARNING')
    set_progress_reporter(_reporter(tell))
    try:
        create_archive(entities, target, archive_format=_Format(plan), **selection.rules)
    finally:
        EXPORT_LOGGER.setLevel(level)
        set_progress_reporter(reporter)


def _reporter(tell: Tell) -> type[ProgressReporterAbstract]:
    """Return a progress bar of AiiDA that only tells how far it is."""

    class Reporter(ProgressReporterAbstract):
        def update(self, n: int = 1) -> None:
            super().update(n)
            tell('writing the archive', self.n, self.total)

    return Reporter


class _Format(ArchiveFormatSqlZip):
    """AiiDA's own format, written through :class:`_Writer`."""

    def __init__(self, plan: ArchivePlan) -> None:
        super().__init__()
        self._plan = plan

    def open(self, path: Any, mode: Any = 'r', *, compression: int = 6, **kwargs: Any) -> Any:
        """Open an archive."""
        if mode in ('x', 'w'):
            return _Writer(path, self, mode=mode, compression=compression, plan=self._plan, **kwargs)
        return super().open(path, mode, compression=compression, **kwargs)


class _Writer(ArchiveWriterSqlZip):
    """Leaves out what a plan says."""

    def __init__(self, *args: Any, plan: ArchivePlan, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plan = plan
        self._left_out = plan.by_node()

    def bulk_insert(self, entity_type: EntityTypes, rows: list[dict[str, Any]], allow_defaults: bool = False) -> None:
        """Write rows of the database without what is left out."""
        if entity_type == EntityTypes.NODE:
            rows = [self._node(row) for row in rows]
        elif entity_type in (EntityTypes.LOG, EntityTypes.COMMENT):
            kept = [row for row in rows if not text_holds_potcar(_text(row))]
            self._plan.texts += len(rows) - len(kept)
            rows = kept
        super().bulk_insert(entity_type, rows, allow_defaults)

    def _node(self, row: dict[str, Any]) -> dict[str, Any]:
        if text_holds_potcar(_text({key: value for key, value in row.items() if key != 'repository_metadata'})):
            raise PotcarTextError(
                f'attributes or extras of node {row["id"]} ({row["uuid"]}) hold the text of a POTCAR, which must not '
                'leave the profile, and a stored node is not changed: leave out the part `archive`'
            )
        missing = self._left_out.get(row['id'], [])
        if not missing:
            return row
        said = [
            {key: value for key, value in asdict(item).items() if key not in ('uuid', 'pk', 'node_type')}
            for item in missing
        ]
        shorter = _without(row['repository_metadata'], {item.path for item in missing})
        return {**row, 'repository_metadata': shorter, 'extras': {**(row['extras'] or {}), LEFT_OUT_EXTRA: said}}

    def put_object(self, stream: BinaryIO, *, buffer_size: int | None = None, key: str | None = None) -> str:
        """Write a file unless it is left out; what nobody looked at is left out too."""
        if key is not None and key not in self._plan.sizes:
            return key
        return super().put_object(stream, buffer_size=buffer_size, key=key)


def _text(row: dict[str, Any]) -> str:
    return json.dumps(row, default=str, ensure_ascii=False)


def _without(metadata: dict[str, Any], paths: set[str]) -> dict[str, Any]:
    """Return the list of files of a node without some; folders stay, also when they are empty then.

    >>> _without({'o': {'in': {'o': {'POTCAR': {'k': 'abc'}}}, 'INCAR': {'k': 'def'}}}, {'in/POTCAR'})
    {'o': {'in': {}, 'INCAR': {'k': 'def'}}}
    """
    shorter = copy.deepcopy(metadata)
    for path in paths:
        *folders, name = path.split('/')
        level = shorter
        for folder in folders:
            level = level['o'][folder]
        level['o'].pop(name)
        if not level['o']:
            level.pop('o')
    return shorter


def committees(selection: Selection) -> list[orm.Group]:
    """Return the committees of potentials all of whose members are taken."""
    from aiida_softclay.data.committee import Committee

    found: dict[int, orm.Group] = {}
    for part in chunks(selection.pks):
        query = orm.QueryBuilder().append(orm.Node, filters={'id': {'in': part}}, tag='member')
        query.append(Committee, with_node='member')
        found |= {group.pk: group for group in query.distinct().all(flat=True)}
    return [group for _, group in sorted(found.items()) if {node.pk for node in group.nodes} <= selection.pks]
