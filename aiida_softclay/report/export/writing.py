"""The parts of a take-away put together: how large each would be, and the writing of all at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiida import orm

from aiida_softclay.data.telling import Tell
from aiida_softclay.report.export import files, tables
from aiida_softclay.report.export.archive import committees, write_archive
from aiida_softclay.report.export.files import Taken
from aiida_softclay.report.export.manifest import describe
from aiida_softclay.report.export.options import PARTS, Options
from aiida_softclay.report.export.package import check_target, pack, put_in_place
from aiida_softclay.report.export.plan import LeftOut, plan_archive
from aiida_softclay.report.export.selection import Selection, select

ARCHIVE = 'archive.aiida'
#: A page with its pictures.
PAGE_BYTES = 1_500_000


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
    left_out: list[LeftOut] = field(default_factory=list)
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
            plan = plan_archive(selection, options.limit, options.leave_out, tell)
            out = sum(item.bytes for item in plan.left_out)
            note = f'{len(plan.left_out)} files of {out:,} bytes are left out' if plan.left_out else ''
            sizes.append(PartSize(part, len(selection.pks), plan.bytes, False, note))
        elif part == 'tables':
            sizes.append(PartSize(part, *tables.estimate(selection), False, 'curves, and the tables of numbers'))
        elif part == 'report':
            pages = sum(isinstance(node, orm.ProcessNode) for node in selection.roots)
            sizes.append(PartSize(part, pages, pages * PAGE_BYTES, False, 'pages'))
        else:
            items, size = files.estimate(part, selection, options.stride)
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
    elsewhere = {part: files.files_elsewhere(part, selection) for part in options.parts}
    found.extend(
        f'{count} {part} have no file in this profile, so that they are not written as {part}'
        for part, count in elsewhere.items()
        if count
    )
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
    if 'trajectories' in options.parts and (problem := files.trajectories_problem()):
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
                    plan = plan_archive(selection, options.limit, options.leave_out, tell)
                    groups = committees(selection)
                    write_archive(selection, plan, content / ARCHIVE, groups, tell)
                    about = f'AiiDA archive of {len(selection.pks)} nodes: `verdi archive import {ARCHIVE}`'
                    written: Iterator[Taken] = iter([Taken(content / ARCHIVE, about)])
                else:
                    written = _write_part(part, selection, content / part, options, tell)
                taken.extend((part, item) for item in written)
        describe(content, selection, options, plan, taken, warnings, tell)
        n_files = sum(1 for path in content.rglob('*') if path.is_file())
        result = pack(content, target, temporary, tell)
        size = put_in_place(result, target, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return TakeAway(target, size, n_files, plan.left_out if plan else [], warnings)


def _write_part(part: str, selection: Selection, folder: Path, options: Options, tell: Tell) -> Iterator[Taken]:
    if part == 'trajectories':
        return files.write_trajectories(selection, folder, tell, options.stride)
    writers = {
        'frames': files.write_frames,
        'potentials': files.write_potentials,
        'structures': files.write_structures,
        'densities': files.write_densities,
        'tables': tables.write_tables,
        'report': files.write_reports,
    }
    return writers[part](selection, folder, tell)
