"""What of a take-away its AiiDA archive holds, and what is left out of it: POTCARs, and bulk unless it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, BinaryIO

from aiida import orm
from aiida.common.links import LinkType
from aiida.manage import get_manager
from aiida.repository import Repository

from aiida_softclay.data.left_out import ASKED, BULK, LEFT_OUT_EXTRA, LICENSED
from aiida_softclay.data.telling import Tell
from aiida_softclay.report.export.potcar import holds_potcar, is_potcar_name
from aiida_softclay.report.export.selection import Selection, chunks

#: Raw trajectories in the folders of jobs; nodes of trajectories are told by their type.
BULK_ENDINGS = ('.lammpstrj', '.lammpstrj.gz', '.dcd', '.xtc', '.trr', '.dump', '.dump.gz', 'XDATCAR')
TRAJECTORY_TYPE, POTCAR_FILE_TYPE = 'data.softclay.trajectory.', 'data.vasp.potcar_file.'
#: A trajectory joined from trajectories joined from trajectories: how far back its jobs are looked for.
GENERATIONS = 8


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
            orm.Node, filters={'id': {'in': part}, 'extras': {'has_key': LEFT_OUT_EXTRA}},
            project=['uuid', 'id', 'node_type', f'extras.{LEFT_OUT_EXTRA}'],
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
