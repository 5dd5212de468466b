"""Where a take-away is put: a folder, a zip file or a compressed tar file, which appear at once and whole."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
from pathlib import Path

from aiida_softclay.data.telling import Tell

PACKED = ('.zip', '.tar.gz', '.tgz')
#: Endings of archives that are not written; a folder of such a name would mislead.
OTHER_ARCHIVES = ('.aiida', '.tar', '.gz', '.bz2', '.xz', '.7z', '.rar', '.zst')
#: What is compressed already.
STORED = ('.aiida', '.xtc', '.png')
#: By this file a folder is known as an earlier take-away, which may be replaced.
MANIFEST = 'manifest.json'


def ending_of(target: Path) -> str:
    """Return which kind of file a target is: ``.zip``, ``.tar.gz`` or ``.tgz``; nothing for a folder."""
    return next((ending for ending in PACKED if target.name.lower().endswith(ending)), '')


def check_target(target: Path, force: bool = False) -> None:
    """Check that a take-away can be put there.

    Raises
    ------
    ValueError
        With a sentence that says what to type instead.
    """
    if not ending_of(target) and target.name.lower().endswith(OTHER_ARCHIVES):
        raise ValueError(f'{target.name} is no folder, .zip or .tar.gz: name one of these')
    if not target.parent.is_dir():
        raise ValueError(f'there is no folder {target.parent} to put {target.name} into: make it first')
    if not os.access(target.parent, os.W_OK):
        raise ValueError(f'{target.parent} cannot be written to: choose another folder')
    if not os.path.lexists(target):
        return
    if target.is_symlink():
        raise ValueError(f'{target} is a link: name another folder or file')
    if ending_of(target):
        if not target.is_file():
            raise ValueError(f'{target} is a folder: name a file, or a folder that does not end in {ending_of(target)}')
        if not force:
            raise ValueError(f'{target} exists: name another file, or replace it with --force')
        return
    if not target.is_dir():
        raise ValueError(f'{target} is a file: name a folder, or a file that ends in .zip or .tar.gz')
    if not any(target.iterdir()):
        return
    if not force:
        raise ValueError(f'{target} exists and is not empty: name another folder, or replace it with --force')
    if not (target / MANIFEST).is_file():
        raise ValueError(
            f'{target} is no earlier export, it has no {MANIFEST}: --force replaces only those; name another folder'
        )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open('rb') as handle:
        return hashlib.file_digest(handle, 'sha256').hexdigest()


def pack(content: Path, target: Path, temporary: Path, tell: Tell = lambda *_: None) -> Path:
    """Return what is to be put in place: the folder itself, or a file made of it below one folder of its name."""
    ending = ending_of(target)
    if not ending:
        return content
    packed = temporary / 'packed'
    top = target.name[: -len(ending)]
    paths = sorted(path for path in content.rglob('*') if path.is_file())
    if ending == '.zip':
        with zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as archive:
            for done, path in enumerate(paths, start=1):
                kind = zipfile.ZIP_STORED if path.suffix in STORED else zipfile.ZIP_DEFLATED
                archive.write(path, f'{top}/{path.relative_to(content).as_posix()}', kind)
                tell('packing', done, len(paths))
        return packed
    with tarfile.open(packed, 'w:gz', compresslevel=6) as tar:
        for done, path in enumerate(paths, start=1):
            tar.add(path, f'{top}/{path.relative_to(content).as_posix()}', filter=_anonymous)
            tell('packing', done, len(paths))
    return packed


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who packed it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ''
    return member


def put_in_place(result: Path, target: Path, temporary: Path) -> int:
    """Rename what was made to its target, an earlier one out of the way first, and return its bytes."""
    earlier = temporary / 'earlier'
    if result.is_file():
        result.replace(target)
        return target.stat().st_size
    if target.exists():
        target.rename(earlier)
    try:
        result.rename(target)
    except OSError:
        if earlier.exists():
            earlier.rename(target)
        raise
    return sum(path.stat().st_size for path in target.rglob('*') if path.is_file())
