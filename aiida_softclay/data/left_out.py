"""Files that nodes lack because the archive with which they came left them out: what is said where one is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida.orm import SinglefileData

#: Extra of a node that was imported without files: what it lacks, why, with which hash, and where that is.
LEFT_OUT_EXTRA = 'softclay_left_out'
#: Reasons for which a file is left out of an archive.
LICENSED, BULK = 'POTCAR, which the licence of VASP forbids to pass on', 'bulk trajectory'
ASKED = 'left out as asked'
#: Reason to the option of `softclay export` that decides it.
_WITH_FILE = {BULK: 'with `--with-trajectories`', ASKED: 'without `--leave-out` of it'}


def missing_file(node: SinglefileData) -> str | None:
    """Return what to say if the file of a node is not in this profile; ``None`` if it is.

    The sentence names the file, its size and hash, why it is not here, where it was when the archive was written, and
    what to do.
    """
    name = node.filename
    if name in node.base.repository.list_object_names():
        return None
    known = next((item for item in node.base.extras.get(LEFT_OUT_EXTRA, []) if item['path'] == name), None)
    about = f'{name} of {node.__class__.__name__} <{node.pk}>'
    elsewhere = 'import that into a profile that does not have this node yet, since AiiDA adds no file to one it has'
    if known is None:
        return f'{about} is not here: its node came without the file. Find an archive that holds it, and {elsewhere}'
    return (
        f'{about} ({known["bytes"]:,} bytes, sha256 {known["sha256"]}) is not here: the archive that it came with left '
        f'it out ({known["reason"]}). {_place(known["location"])} Export it from there '
        f'{_WITH_FILE.get(known["reason"], "with its file")}, or ask who made the archive to do so '
        f'(`softclay export {node.uuid} DIR --parts archive`), and {elsewhere}'
    )


def first_missing_file(nodes: Mapping[str, SinglefileData]) -> str | None:
    """Return what to say of the first of some named inputs whose file is not in this profile, or ``None``."""
    for name, node in nodes.items():
        if problem := missing_file(node):
            return f'{name}: {problem}'
    return None


def _place(location: Mapping[str, Any]) -> str:
    """Return where a file was when the archive was written."""
    profile = location.get('profile')
    text = f'It is in the profile {profile} ({location["profile_uuid"]})' if profile else 'It is where that was written'
    folders = [f'{folder["path"]} on {folder["computer"]} ({folder["host"]})' for folder in location.get('remote', [])]
    return f'{text}, of jobs that ran in {", ".join(folders)}.' if folders else f'{text}.'
