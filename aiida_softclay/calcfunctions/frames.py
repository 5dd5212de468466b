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

from aiida_softclay.data import frames_file, frames_import
from aiida_softclay.data.frames import FramesData

#: Keys of the parameters of :func:`frames_from_vasp_folder` and their defaults.
VASP_DEFAULTS: dict[str, Any] = {
    'filename': None,
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
def build_dataset(parameters: Dict, **frames: FramesData) -> dict[str, Any]:
    """Return ``training`` and ``validation`` frames, drawn from all inputs, and a ``report`` of what was left out.

    Broken frames, frames beyond the bounds on force and pressure and repeated configurations are left out and counted;
    the rest is drawn and split by lot, stratified by composition, source label and stage. ``parameters`` may set the
    keys of :data:`~aiida_softclay.data.frames_dataset.DATASET_DEFAULTS`. Neither the names of the inputs nor how the
    frames are distributed over them decides which frames are drawn.
    """
    if not frames:
        raise InputValidationError('there are no frames to build a data set from: give at least one FramesData')
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack, _clear_errors():
        paths = [stack.enter_context(frames[name].open_path()) for name in sorted(frames)]
        targets = {name: Path(folder) / f'{name}.h5' for name in ('training', 'validation')}
        report = frames_file.build_dataset(paths, *targets.values(), **parameters.get_dict())
        nodes = {name: FramesData.from_file(target) for name, target in targets.items()}
        return {**nodes, 'report': Dict(report)}


@calcfunction
def frames_from_vasp_folder(folder: FolderData, parameters: Dict) -> FramesData:
    """Return the frames of the ``vasprun.xml`` or ``OUTCAR`` in a folder (retrieved, or files of the user's own).

    ``parameters`` may set the keys of :data:`VASP_DEFAULTS`. Without a ``filename`` the first output that has a usable
    step is taken, ``vasprun.xml`` before ``OUTCAR``.
    """
    unknown = sorted(set(parameters.get_dict()) - set(VASP_DEFAULTS))
    if unknown:
        raise InputValidationError(f'unknown parameters {", ".join(unknown)}: known are {", ".join(VASP_DEFAULTS)}')
    options = {**VASP_DEFAULTS, **parameters.get_dict()}
    wanted, source = options.pop('filename'), {'label': options.pop('label'), 'stage': options.pop('stage')}
    there = folder.base.repository.list_object_names()
    names = [name for name in ([wanted] if wanted else frames_import.OUTPUT_NAMES) if name in there]
    if not names:
        raise InputValidationError(f'the folder holds no file {wanted or " or ".join(frames_import.OUTPUT_NAMES)}')
    failures = []
    for name in names:
        with tempfile.TemporaryDirectory() as scratch, _clear_errors():
            target = Path(scratch) / FramesData.FILE_NAME
            try:
                with folder.base.repository.as_path(name) as path, frames_file.FramesFile(target, 'w') as output:
                    summary = frames_import.append_output(output, path, source, **options)
            except frames_file.VaspOutputError as exception:
                failures.append(f'{name}: {exception}')
                continue
            node = FramesData.from_file(target)
        node.label = source['label']
        node.description = _description(name, summary)
        return node
    raise InputValidationError('; '.join(failures))


def _description(name: str, summary: frames_file.VaspSummary) -> str:
    """Return how many steps of a file were used, and why the others were not."""
    left_out = [
        f'{count} left out as {reason}'
        for count, reason in (
            (summary.n_unconverged, 'not electronically converged'),
            (summary.n_broken, 'holding numbers that are not finite'),
        )
        if count
    ]
    cut = ['the file is cut'] if summary.truncated else []
    return ', '.join([f'{summary.n_frames} of {summary.n_steps} ionic steps of {name}', *left_out, *cut])
