"""Import finished VASP runs: find their outputs, tell what they are, and write their usable steps to a frames file."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .frames_store import FramesFile
from .outcar import iter_outcar
from .vasp_steps import DEFAULT_ENERGY_KIND, VaspOutputError, VaspSummary, open_output
from .vasprun import iter_vasprun

PathLike = str | Path

#: Outputs with frames, the best first: vasprun.xml has more digits than OUTCAR.
OUTPUT_NAMES = ('vasprun.xml', 'vasprun.xml.gz', 'OUTCAR', 'OUTCAR.gz')


def reader_of(path: PathLike) -> Callable[..., Iterator[Any]]:
    """Return the function that reads an output, chosen by how the file begins and not by its name.

    Raises
    ------
    VaspOutputError
        If the file is empty or not readable.
    """
    try:
        with open_output(path) as handle:
            start = handle.read(4096).lstrip()
    except (OSError, EOFError, zlib.error) as exception:
        raise VaspOutputError(f'cannot be read: {exception}') from None
    if not start:
        raise VaspOutputError('the file is empty')
    return iter_vasprun if start.startswith(b'<') else iter_outcar


def append_output(
    target: FramesFile,
    path: PathLike,
    source: dict[str, Any],
    energy_kind: str = DEFAULT_ENERGY_KIND,
    stride: int = 1,
    start: int = 0,
    keep_unconverged: bool = False,
) -> VaspSummary:
    """Append the usable steps of a ``vasprun.xml`` or ``OUTCAR`` to a frames file.

    Steps that are not electronically converged or hold numbers that are not finite are left out and counted in the
    summary that is returned; a file that was cut is used up to its last complete step.

    Raises
    ------
    VaspOutputError
        If the file is neither, or none of its steps can be used.
    """
    summary = VaspSummary(energy_kind)
    for block in reader_of(path)(path, summary, stride, start, keep_unconverged, drop_broken=True):
        target.append(block, source)
    if summary.n_frames == 0:
        raise VaspOutputError(summary.nothing_usable(start))
    return summary


def check_output(
    path: PathLike, energy_kind: str = DEFAULT_ENERGY_KIND, start: int = 0, keep_unconverged: bool = False
) -> VaspSummary:
    """Read an output up to its first usable step.

    Raises
    ------
    VaspOutputError
        If there is none.
    """
    summary = VaspSummary(energy_kind)
    blocks = reader_of(path)(path, summary, 1, start, keep_unconverged, frames_per_block=1, drop_broken=True)
    if next(blocks, None) is None:
        raise VaspOutputError(summary.nothing_usable(start))
    return summary


def output_of_folder(folder: Path) -> Path | None:
    """Return the output of a folder to import, or None if it holds none that is not empty."""
    paths = (folder / name for name in OUTPUT_NAMES)
    return next((path for path in paths if path.is_file() and path.stat().st_size), None)


def find_outputs(paths: Iterable[Path], recursive: bool = False) -> Iterator[Path]:
    """Yield the outputs to import, one of each folder, sorted by path.

    Parameters
    ----------
    paths : iterable of Path
        Files, which are taken as they are, and folders.
    recursive : bool
        Look into the folders below as well.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    """
    for path in paths:
        if path.is_file():
            yield path
            continue
        if not path.is_dir():
            raise FileNotFoundError(f'there is no file or folder {path}')
        folders = [path]
        if recursive:
            folders = sorted({path, *(found.parent for name in OUTPUT_NAMES for found in path.rglob(name))})
        yield from (output for folder in folders if (output := output_of_folder(folder)) is not None)


def file_sha256(path: PathLike) -> str:
    """Return the SHA-256 of a file, by which it is recognised when it is imported again."""
    with open(path, 'rb') as handle:
        return hashlib.file_digest(handle, 'sha256').hexdigest()
