"""What a take-away says of itself: its README, the manifest of its files and their check sums."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.manage import get_manager

from aiida_softclay.data.telling import Tell
from aiida_softclay.report.export.files import Taken
from aiida_softclay.report.export.options import Options
from aiida_softclay.report.export.package import MANIFEST, sha256_of
from aiida_softclay.report.export.plan import ArchivePlan
from aiida_softclay.report.export.readme import readme
from aiida_softclay.report.export.selection import Selection

SCHEMA = 'softclay-take-away/1'
SUMS, README = 'SHA256SUMS', 'README.md'


def describe(
    content: Path, selection: Selection, options: Options, plan: ArchivePlan | None,
    taken: Sequence[tuple[str, Taken]], warnings: Sequence[str], tell: Tell,
) -> None:  # fmt: skip
    """Write README, manifest and check sums.

    Parameters
    ----------
    content : Path
        Folder of the take-away; its empty folders are removed.
    selection : Selection
        The nodes.
    options : Options
        What was asked for.
    plan : ArchivePlan or None
        What the archive has and what is left out; ``None`` if no archive was asked for.
    taken : sequence of (str, Taken)
        Parts and what was written of them.
    warnings : sequence of str
        What a reader has to know.
    tell : callable
        Called with ('check sums', done, all).
    """
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
