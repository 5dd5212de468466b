"""The AiiDA archive of a take-away: the whole provenance without POTCARs and, unless asked for, without bulk.

No stored node is changed. While AiiDA writes the archive, each row of its database passes through here: a file that is
left out is taken out of the list of files of its node, so that the archive imports as any other; the node keeps its
attributes, and an extra of its copy says what was left out, why, with which hash, and where it is. AiiDA takes the
hashes off the nodes that it imports, so that nothing is cached from one that lacks a file.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO

from aiida import orm
from aiida.common.links import LinkType
from aiida.common.progress_reporter import ProgressReporterAbstract, get_progress_reporter, set_progress_reporter
from aiida.manage import get_manager
from aiida.orm.entities import EntityTypes
from aiida.repository import Repository
from aiida.tools.archive.create import EXPORT_LOGGER, create_archive
from aiida.tools.archive.implementations.sqlite_zip.main import ArchiveFormatSqlZip
from aiida.tools.archive.implementations.sqlite_zip.writer import ArchiveWriterSqlZip

from aiida_softclay.data.left_out import ASKED, BULK, LICENSED
from aiida_softclay.data.left_out import LEFT_OUT_EXTRA as EXTRA
from aiida_softclay.data.telling import Tell
from aiida_softclay.report.export.potcar import holds_potcar, is_potcar_name, text_holds_potcar
from aiida_softclay.report.export.selection import Selection, chunks

#: Raw trajectories in the folders of jobs; nodes of trajectories are told by their type.
BULK_ENDINGS = ('.lammpstrj', '.lammpstrj.gz', '.dcd', '.xtc', '.trr', '.dump', '.dump.gz', 'XDATCAR')
TRAJECTORY_TYPE, POTCAR_FILE_TYPE = 'data.softclay.trajectory.', 'data.vasp.potcar_file.'
#: A trajectory joined from trajectories joined from trajectories: how far back its jobs are looked for.
GENERATIONS = 8


class PotcarTextError(ValueError):
    """A POTCAR in what cannot be left out of an archive: the attributes of a node."""


@dataclass
class LeftOut:
    """A file that stays behind.

    Attributes
    ----------
    uuid, node_type : str
        The node that holds it, in this profile and in the archive.
    pk : int
        Its key in this profile.
    path : str
        Name of the file in the node.
    sha256 : str
        Hash of the file, under which a repository of AiiDA keeps it.
    bytes : int
        Its size.
    reason : str
        :data:`LICENSED`, :data:`BULK` or :data:`ASKED`.
    location : dict
        Profile that has it (name, uuid) and the folders of the jobs that made it (computer, host, path).
    """

    uuid: str
    pk: int
    node_type: str
    path: str
    sha256: str
    bytes: int
    reason: str
    location: dict[str, Any] = field(default_factory=dict)


@dataclass
class ArchivePlan:
    """What goes into an archive: ``sizes`` (bytes by hash) of the files that are taken, ``left_out`` the rest.

    ``before`` lists what the nodes lack in this profile already, because they came with an earlier take-away;
    ``texts`` counts messages of logs and comments that are left out because they hold a POTCAR, which is found out when
    the archive is written.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    before: list[LeftOut] = field(default_factory=list)
    texts: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of the files that are taken, before compression."""
        return sum(self.sizes.values())

    def by_node(self) -> dict[int, list[LeftOut]]:
        """Return what is left out of each node."""
        found: dict[int, list[LeftOut]] = {}
        for item in self.left_out:
            found.setdefault(item.pk, []).append(item)
        return found


def plan_archive(
    selection: Selection, bulk_above: int | None, leave_out: Sequence[str] = (), tell: Tell = lambda *_: None
) -> ArchivePlan:
    """Look at every file of the provenance and decide which are left out.

    Parameters
    ----------
    selection : Selection
        The nodes.
    bulk_above : int or None
        Trajectories of more bytes are left out; ``None`` keeps all.
    leave_out : sequence of str
        Shell-style patterns; files whose name matches one are left out.
    tell : callable
        Called with ('reading files', done, all).

    Returns
    -------
    ArchivePlan
        Every file that is taken was read to its end and holds no POTCAR.
    """
    owners = _owners(selection)
    plan = ArchivePlan()
    repository = get_manager().get_profile_storage().get_repository()
    for done, (key, stream) in enumerate(repository.iter_object_streams(list(owners)), start=1):
        places = owners[key]
        bulky = bulk_above is not None and any(_is_bulk(node_type, path) for _, _, node_type, path in places)
        size = _size(stream)
        reason = ''
        if size and any(is_potcar_name(path) or POTCAR_FILE_TYPE in kind for _, _, kind, path in places):
            reason = LICENSED
        elif bulky and bulk_above is not None and size > bulk_above:
            reason = BULK
        elif any(fnmatch(path.rpartition('/')[2], pattern) for pattern in leave_out for *_, path in places):
            reason = ASKED
        elif holds_potcar(stream):
            reason = LICENSED
        if reason:
            plan.left_out.extend(LeftOut(uuid, pk, kind, path, key, size, reason) for pk, uuid, kind, path in places)
        else:
            plan.sizes[key] = size
        tell('reading files', done, len(owners))
    plan.left_out.sort(key=lambda item: (item.reason, item.pk, item.path))
    _locate(plan, selection)
    plan.before = _left_out_before(selection)
    return plan


def _owners(selection: Selection) -> dict[str, list[tuple[int, str, str, str]]]:
    """Return for each file of the repository the nodes that hold it: (pk, uuid, type, path)."""
    owners: dict[str, list[tuple[int, str, str, str]]] = {}
    for part in chunks(selection.pks):
        query = orm.QueryBuilder().append(
            orm.Node, filters={'id': {'in': part}}, project=['id', 'uuid', 'node_type', 'repository_metadata']
        )
        for pk, uuid, node_type, metadata in query.iterall():
            for path, key in Repository.flatten(metadata).items():
                if key is not None:
                    owners.setdefault(key, []).append((pk, uuid, node_type, path))
    return owners


def _left_out_before(selection: Selection) -> list[LeftOut]:
    """Return the files that the nodes lack in this profile already, as their extra says."""
    found = []
    for part in chunks(selection.pks):
        query = orm.QueryBuilder().append(
            orm.Node, filters={'id': {'in': part}, 'extras': {'has_key': EXTRA}},
            project=['uuid', 'id', 'node_type', f'extras.{EXTRA}'],
        )  # fmt: skip
        for uuid, pk, node_type, items in query.all():
            found.extend(LeftOut(uuid, pk, node_type, **item) for item in items)
    return found


def _is_bulk(node_type: str, path: str) -> bool:
    return TRAJECTORY_TYPE in node_type or path.endswith(BULK_ENDINGS)


def _size(stream: BinaryIO) -> int:
    """Return the bytes of a file and stand at its beginning again."""
    try:
        size = stream.seek(0, 2)
    except (NotImplementedError, OSError, ValueError):
        # A packed file that is compressed does not know its length.
        size = 0
        while block := stream.read(1 << 20):
            size += len(block)
    stream.seek(0)
    return size


def _locate(plan: ArchivePlan, selection: Selection) -> None:
    """Note where what is left out can be found."""
    profile = get_manager().get_profile()
    if profile is None or not plan.left_out:
        return
    makers: dict[int, list[int]] = {}
    for link in selection.links:
        if link.link_type in (LinkType.CREATE.value, LinkType.INPUT_CALC.value):
            makers.setdefault(link.target_id, []).append(link.source_id)
    for item in plan.left_out:
        item.location = {'profile': profile.name, 'profile_uuid': profile.uuid}
        if item.reason != LICENSED:
            item.location['remote'] = _remote_folders(item.pk, makers)


def _remote_folders(pk: int, makers: dict[int, list[int]]) -> list[dict[str, str]]:
    """Return the folders of the jobs that made a file, or what it was joined from."""
    frontier, seen = {pk}, {pk}
    for _ in range(GENERATIONS):
        frontier = {parent for child in frontier for parent in makers.get(child, ())} - seen
        if not frontier:
            break
        seen |= frontier
        jobs = orm.QueryBuilder().append(orm.CalcJobNode, filters={'id': {'in': sorted(frontier)}}).all(flat=True)
        folders = [
            {'computer': job.computer.label, 'host': job.computer.hostname, 'path': job.get_remote_workdir()}
            for job in jobs
            if job.computer is not None and job.get_remote_workdir()
        ]
        if folders:
            return folders
    return []


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
        return {**row, 'repository_metadata': shorter, 'extras': {**(row['extras'] or {}), EXTRA: said}}

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
