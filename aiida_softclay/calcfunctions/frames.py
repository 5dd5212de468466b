"""Merge, split, select and import labelled frames with provenance."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiida.common.exceptions import InputValidationError
from aiida.engine import calcfunction
from aiida.orm import Dict, Float, FolderData, Int

from aiida_softclay.data import frames_file
from aiida_softclay.data.frames import FramesData

#: Keys of the parameters of :func:`frames_from_vasp_folder` and their defaults.
VASP_DEFAULTS: dict[str, Any] = {
    'filename': 'vasprun.xml',
    'energy_kind': 'e_fr_energy',
    'stride': 1,
    'start': 0,
    'keep_unconverged': False,
    'label': 'vasp',
    'stage': '',
}


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn the errors of the pure functions into those that AiiDA shows as a sentence."""
    try:
        yield
    except ValueError as exception:
        raise InputValidationError(str(exception)) from exception


@calcfunction
def merge_frames(**frames: FramesData) -> FramesData:
    """Return all frames in one node; the order is that of the sorted input names.

    Inputs whose labels lie on different energy surfaces (energy kind, engine, model, functional) are refused.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack, _clear_errors():
        paths = [stack.enter_context(frames[name].open_path()) for name in sorted(frames)]
        target = Path(folder) / FramesData.FILE_NAME
        frames_file.merge_files(paths, target)
        return FramesData.from_file(target)


@calcfunction
def split_frames(frames: FramesData, fraction: Float, seed: Int) -> dict[str, FramesData]:
    """Return ``training`` (the fraction) and ``validation`` frames, stratified by composition and source."""
    with tempfile.TemporaryDirectory() as folder, frames.open_path() as path, _clear_errors():
        targets = {name: Path(folder) / f'{name}.h5' for name in ('training', 'validation')}
        frames_file.split(path, targets['training'], targets['validation'], fraction.value, seed.value)
        return {name: FramesData.from_file(target) for name, target in targets.items()}


@calcfunction
def select_frames(frames: FramesData, n: Int, seed: Int) -> FramesData:
    """Return ``n`` frames drawn at random, in proportion from every composition and source."""
    with tempfile.TemporaryDirectory() as folder, frames.open_path() as path, _clear_errors():
        target = Path(folder) / FramesData.FILE_NAME
        frames_file.select(path, target, n.value, seed.value)
        return FramesData.from_file(target)


@calcfunction
def frames_from_vasp_folder(folder: FolderData, parameters: Dict) -> FramesData:
    """Return the frames of the ``vasprun.xml`` in a folder (a retrieved folder, or files of the user's own).

    ``parameters`` may set the keys of :data:`VASP_DEFAULTS`.
    """
    unknown = sorted(set(parameters.get_dict()) - set(VASP_DEFAULTS))
    if unknown:
        raise InputValidationError(f'unknown parameters {", ".join(unknown)}: known are {", ".join(VASP_DEFAULTS)}')
    options = {**VASP_DEFAULTS, **parameters.get_dict()}
    name = options['filename']
    if name not in folder.base.repository.list_object_names():
        raise InputValidationError(f'the folder holds no file {name}')
    summary = frames_file.VasprunSummary(options['energy_kind'])
    source = {'label': options['label'], 'stage': options['stage']}
    with tempfile.TemporaryDirectory() as scratch, _clear_errors():
        target = Path(scratch) / FramesData.FILE_NAME
        with folder.base.repository.as_path(name) as path, frames_file.FramesFile(target, 'w') as output:
            blocks = frames_file.iter_vasprun(
                path, summary, options['stride'], options['start'], options['keep_unconverged']
            )
            for block in blocks:
                output.append(block, source)
            if summary.n_frames == 0:
                raise ValueError(
                    f'none of the {summary.n_steps} ionic steps can be used ({summary.n_unconverged} not '
                    f'electronically converged, start {options["start"]})'
                )
        node = FramesData.from_file(target)
    node.label = options['label']
    node.description = (
        f'{summary.n_frames} of {summary.n_steps} ionic steps, {summary.n_unconverged} left out as not converged'
        + (', the file is cut' if summary.truncated else '')
    )
    return node
