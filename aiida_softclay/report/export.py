"""Take a study away: everything that another person needs to read, check and continue it, in one folder or file."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.manage import get_manager

from aiida_softclay.report import export_archive, export_files, export_tables
from aiida_softclay.report.export_files import Taken
from aiida_softclay.report.export_package import check_target, pack, put_in_place, sha256_of
from aiida_softclay.report.export_readme import readme
from aiida_softclay.report.export_selection import Selection, select

Tell = Callable[[str, int, int], None]
SCHEMA = 'softclay-take-away/1'
PARTS = ('archive', 'frames', 'potentials', 'structures', 'densities', 'tables', 'report', 'trajectories')
#: Trajectories are bulk, and the archive has the small ones.
DEFAULT_PARTS = PARTS[:-1]
#: Trajectories above this are left out of the archive unless they are asked for, bytes.
BULK_ABOVE = 10_000_000
#: A page with its pictures.
PAGE_BYTES = 1_500_000
MANIFEST, SUMS, README, ARCHIVE = 'manifest.json', 'SHA256SUMS', 'README.md', 'archive.aiida'


@dataclass(frozen=True)
class Options:
    """What is taken.

    Attributes
    ----------
    parts : tuple of str
        Some of :data:`PARTS`.
    with_trajectories : bool
        Whether the archive keeps trajectories of any size.
    bulk_above : int
        Size above which it does not, bytes.
    leave_out : tuple of str
        Patterns of names of files that it does not keep either.
    stride : int
        Of the part ``trajectories`` every so many frames.
    callers : bool
        Whether the workchains that called what is taken, and all that these called, are taken too.
    """

    parts: tuple[str, ...] = DEFAULT_PARTS
    with_trajectories: bool = False
    bulk_above: int = BULK_ABOVE
    leave_out: tuple[str, ...] = ()
    stride: int = 1
    callers: bool = True

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown:
            raise ValueError(f'{", ".join(unknown)} is no part: choose from {", ".join(PARTS)}')
        if not self.parts:
            raise ValueError(f'nothing is to be taken: choose parts from {", ".join(PARTS)}')
        if self.bulk_above < 0 or self.stride < 1:
            raise ValueError('the size of bulk must not be negative, and the stride must be at least 1')

    @property
    def limit(self) -> int | None:
        """Largest trajectory of the archive, bytes; ``None`` for any."""
        return None if self.with_trajectories else self.bulk_above


@dataclass
class PartSize:
    """What a part would take: ``items`` and ``bytes``, which are an estimate unless ``exact``."""

    part: str
    items: int
    bytes: int
    exact: bool
    note: str = ''


@dataclass
class TakeAway:
    """What was written: ``target``, ``bytes`` of it, how many ``files``, ``left_out`` of the archive, ``warnings``."""

    target: Path
    bytes: int
    files: int
    left_out: list[export_archive.LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def dry_run(
    roots: Sequence[orm.Node], options: Options, tell: Tell = lambda *_: None
) -> tuple[list[PartSize], list[str]]:
    """Return the size of each part, and what there is to warn of; nothing is written.

    Raises
    ------
    ValueError
        If there is nothing to take.
    """
    selection = select(roots, options.callers)
    sizes = []
    for part in PARTS:
        if part not in options.parts:
            continue
        if part == 'archive':
            plan = export_archive.plan_archive(selection, options.limit, options.leave_out, tell)
            out = sum(item.bytes for item in plan.left_out)
            note = f'{len(plan.left_out)} files of {out:,} bytes are left out' if plan.left_out else ''
            sizes.append(PartSize(part, len(selection.pks), plan.bytes, False, note))
        elif part == 'tables':
            sizes.append(PartSize(part, *export_tables.estimate(selection), False, 'curves, and the tables of numbers'))
        elif part == 'report':
            pages = sum(isinstance(node, orm.ProcessNode) for node in selection.roots)
            sizes.append(PartSize(part, pages, pages * PAGE_BYTES, False, 'pages'))
        else:
            items, size = export_files.estimate(part, selection, options.stride)
            sizes.append(PartSize(part, items, size, part in ('potentials', 'densities')))
    return sizes, warnings_of(selection, options)


def warnings_of(selection: Selection, options: Options) -> list[str]:
    """Return what a reader has to know about processes that did not end well."""
    found = []
    if selection.unfinished:
        names = ', '.join(f'{node.process_label} <{node.pk}>' for node in selection.unfinished[:3])
        more = f' and {len(selection.unfinished) - 3} more' if len(selection.unfinished) > 3 else ''
        found.append(
            f'{names}{more} had not ended: AiiDA archives hold finished processes only, so that these are not in it, '
            'but what of them has finished is. Export again when they have ended.'
        )
    for node in selection.roots:
        if isinstance(node, orm.ProcessNode) and node.is_terminated and not node.is_finished_ok:
            message = node.exit_message or (node.process_state.value if node.process_state else '')
            found.append(f'{node.process_label} <{node.pk}> failed: {message or "no message"}')
    if 'trajectories' in options.parts:
        missing = export_files.trajectories_elsewhere(selection)
        if missing:
            found.append(f'{missing} trajectories have no file in this profile, so that no XTC of them is written')
    return found


def take_away(
    roots: Sequence[orm.Node], target: Path, options: Options | None = None, force: bool = False,
    tell: Tell = lambda *_: None,
) -> TakeAway:  # fmt: skip
    """Write a take-away.

    Everything is written beside the target and renamed at the end, so that there is never half of one.

    Parameters
    ----------
    roots : sequence of aiida.orm.Node
        Processes or data; their whole provenance is taken.
    target : Path
        A folder, or a file that ends in ``.zip``, ``.tar.gz`` or ``.tgz``.
    options : Options
        Parts and sizes.
    force : bool
        Replace an earlier take-away.
    tell : callable
        Called with what is being done, and how many of how many are.

    Returns
    -------
    TakeAway

    Raises
    ------
    ValueError
        If the target cannot be written, exists, or there is nothing to take; the message says what to do.
    PotcarTextError
        If attributes of a node hold a POTCAR.
    """
    options, target = options or Options(), Path(os.path.abspath(target))
    check_target(target, force)
    if 'trajectories' in options.parts and (problem := export_files.trajectories_problem()):
        raise ValueError(problem)
    selection = select(roots, options.callers)
    warnings = warnings_of(selection, options)
    temporary = Path(tempfile.mkdtemp(prefix=f'.{target.name}.', dir=target.parent))
    try:
        content = temporary / 'content'
        content.mkdir()
        taken: list[tuple[str, Taken]] = []
        plan = None
        for part in PARTS:
            if part in options.parts:
                if part == 'archive':
                    plan = export_archive.plan_archive(selection, options.limit, options.leave_out, tell)
                    groups = export_archive.committees(selection)
                    export_archive.write_archive(selection, plan, content / ARCHIVE, groups, tell)
                    about = f'AiiDA archive of {len(selection.pks)} nodes: `verdi archive import {ARCHIVE}`'
                    written: Iterator[Taken] = iter([Taken(content / ARCHIVE, about)])
                else:
                    written = _write_part(part, selection, content / part, options, tell)
                taken.extend((part, item) for item in written)
        _describe(content, selection, options, plan, taken, warnings, tell)
        files = sum(1 for path in content.rglob('*') if path.is_file())
        result = pack(content, target, temporary, tell)
        size = put_in_place(result, target, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return TakeAway(target, size, files, plan.left_out if plan else [], warnings)


def _write_part(part: str, selection: Selection, folder: Path, options: Options, tell: Tell) -> Iterator[Taken]:
    if part == 'trajectories':
        return export_files.write_trajectories(selection, folder, tell, options.stride)
    writers = {
        'frames': export_files.write_frames,
        'potentials': export_files.write_potentials,
        'structures': export_files.write_structures,
        'densities': export_files.write_densities,
        'tables': export_tables.write_tables,
        'report': export_files.write_reports,
    }
    return writers[part](selection, folder, tell)


def _describe(
    content: Path, selection: Selection, options: Options, plan: export_archive.ArchivePlan | None,
    taken: Sequence[tuple[str, Taken]], warnings: Sequence[str], tell: Tell,
) -> None:  # fmt: skip
    """Write README, manifest and check sums."""
    for folder in sorted(content.rglob('*'), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    listed = [
        {'path': item.path.relative_to(content).as_posix() + ('/' if item.path.is_dir() else ''), 'holds': item.holds}
        for _, item in taken
    ]
    parts = [part for part in options.parts if (content / part).is_dir() or (part == 'archive' and plan is not None)]
    text = readme(selection, parts, plan, listed, warnings, version('aiida-softclay'))
    (content / README).write_text(text, encoding='utf-8')
    files = list(_files(content, taken, tell))
    profile = get_manager().get_profile()
    manifest: dict[str, Any] = {
        'schema': SCHEMA,
        'made': datetime.now(UTC).isoformat(timespec='seconds'),
        'versions': {name: version(name) for name in ('aiida-softclay', 'aiida-core')},
        'profile': {'name': profile.name, 'uuid': profile.uuid} if profile is not None else None,
        'asked_for': [_root(node) for node in selection.roots],
        'options': asdict(options),
        'n_nodes': len(selection.pks),
        'warnings': list(warnings),
        'unfinished': [{'uuid': node.uuid, 'process': node.process_label} for node in selection.unfinished],
        'left_out': [asdict(item) for item in (*plan.left_out, *plan.before)] if plan is not None else [],
        'left_out_messages': plan.texts if plan is not None else 0,
        'files': files,
    }
    (content / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    sums = [(item['sha256'], item['path']) for item in files]
    sums.append((sha256_of(content / MANIFEST), MANIFEST))
    (content / SUMS).write_text(''.join(f'{digest}  {path}\n' for digest, path in sums), encoding='utf-8')


def _files(content: Path, taken: Sequence[tuple[str, Taken]], tell: Tell) -> Iterator[dict[str, Any]]:
    """Yield a record of each file: path, size, sha256, part, what it holds and which nodes."""
    about = {item.path: (part, item) for part, item in taken}
    paths = sorted(path for path in content.rglob('*') if path.is_file())
    for done, path in enumerate(paths, start=1):
        part, item = next((about[place] for place in (path, *path.parents) if place in about), ('', Taken(path, '')))
        yield {
            'path': path.relative_to(content).as_posix(), 'bytes': path.stat().st_size, 'sha256': sha256_of(path),
            'part': part, 'holds': item.holds, 'nodes': item.uuids,
        }  # fmt: skip
        tell('check sums', done, len(paths))


def _root(node: orm.Node) -> dict[str, Any]:
    record: dict[str, Any] = {'uuid': node.uuid, 'pk': node.pk, 'type': node.node_type, 'label': node.label}
    if isinstance(node, orm.ProcessNode):
        state = node.process_state.value if node.process_state else None
        record |= {'process': node.process_label, 'state': state, 'exit_status': node.exit_status}
    return record
