"""Merge, select and split frames files as streams; every operation is seeded and keeps the origin of each frame."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from .frames_store import BlockView, FramesFile
from .frames_surface import check_energy_kinds, combine_engines
from .hdf5 import read_rows_again

PathLike = str | Path


def merge_files(inputs: Sequence[PathLike], output: PathLike) -> int:
    """Write the frames of several files into one.

    Parameters
    ----------
    inputs : sequence of paths
        Frames files, in the order in which their frames are written.
    output : path
        File to write.

    Returns
    -------
    int
        Number of frames written.

    Raises
    ------
    ValueError
        If there is nothing to merge.
    IncompatibleFramesError
        If energy kind, engine, model or functional differ.
    """
    if not inputs:
        raise ValueError('there are no frames to merge')
    total = 0
    with FramesFile(output, 'w') as target:
        for path in inputs:
            with FramesFile(path) as origin:
                target.describe(origin.energy_kind, origin.engine)
                for view in origin.blocks():
                    total += copy_frames(origin, view, target)
    return total


def copy_frames(origin: FramesFile, view: BlockView, target: FramesFile, mask: np.ndarray | None = None) -> int:
    """Copy the frames of a block (those where ``mask``, shape (n_frames,), is True) and return their number."""
    return distribute_frames(origin, view, [(target, mask)])[0]


def distribute_frames(
    origin: FramesFile,
    view: BlockView,
    targets: Sequence[tuple[FramesFile, np.ndarray | None]],
    verified: bool = False,
) -> list[int]:
    """Copy the frames of a block to several files, reading it once.

    Parameters
    ----------
    origin : FramesFile
        The file the block is in.
    view : BlockView
        The block.
    targets : sequence of tuple
        Files to append to, and which frames: an array of bool, shape (n_frames,), or None for all.
    verified : bool
        The block has just been read with its checksums: do not compute them again.

    Returns
    -------
    list of int
        Number of frames that each file got.
    """
    sources = origin.sources
    copied = [0] * len(targets)
    for start in range(0, view.n_frames, view.slab):
        stop = min(start + view.slab, view.n_frames)
        rows = [slice(None) if mask is None else np.flatnonzero(mask[start:stop]) for _, mask in targets]
        if not any(isinstance(keep, slice) or len(keep) for keep in rows):
            continue
        if verified:
            slab = {name: read_rows_again(data, start, stop) for name, data in view.datasets.items()}
        else:
            slab = {name: data[start:stop] for name, data in view.datasets.items()}
        for place, ((target, _), keep) in enumerate(zip(targets, rows, strict=True)):
            if not isinstance(keep, slice) and not len(keep):
                continue
            arrays = {name: array[keep] for name, array in slab.items()}
            used, inverse = np.unique(arrays['source_index'], return_inverse=True)
            mapped = np.array([target.add_source(sources[index]) for index in used], dtype='<i4')
            arrays['source_index'] = mapped[inverse]
            target.append_arrays(view.atomic_numbers, arrays)
            copied[place] += len(arrays['energies'])
    return copied


def combine_energy_surfaces(inputs: Sequence[PathLike]) -> dict[str, Any]:
    """Return ``energy_kind``, ``engine``, ``virial_convention`` and ``elements`` of several files from their headers.

    Raises
    ------
    IncompatibleFramesError
        If the labels do not lie on one energy surface.
    """
    combined: dict[str, Any] = {}
    numbers: set[int] = set()
    for path in inputs:
        with FramesFile(path) as frames:
            numbers.update(chemical_symbols.index(element) for element in frames.elements)
            if not combined:
                combined = {'energy_kind': frames.energy_kind, 'engine': frames.engine}
                combined['virial_convention'] = frames.virial_convention
                continue
            check_energy_kinds(combined['energy_kind'], frames.energy_kind)
            combined['engine'] = combine_engines(combined['engine'], frames.engine)
    combined['elements'] = [chemical_symbols[number] for number in sorted(numbers)]
    return combined


def _strata(origin: FramesFile) -> Iterator[tuple[BlockView, list[np.ndarray]]]:
    """Yield each block with the frame indices of each of its source labels."""
    labels = [str(source.get('label', '')) for source in origin.sources]
    for view in origin.blocks():
        index = view.source_index[:]
        groups: dict[str, list[int]] = {}
        for position, source in enumerate(index):
            groups.setdefault(labels[source] if source < len(labels) else '', []).append(position)
        yield view, [np.array(groups[label]) for label in sorted(groups)]


def _generator(seed: int, view: BlockView) -> np.random.Generator:
    """Return random numbers that depend on the seed and the block, not on the order of blocks in the file."""
    digest = hashlib.sha256(view.key[0] + bytes([view.key[1]])).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], 'little')])


def _shares(sizes: Sequence[int], total: int) -> list[int]:
    """Distribute ``total`` over strata in proportion to their sizes (largest remainders first)."""
    everything = sum(sizes)
    exact = [size * total / everything for size in sizes]
    shares = [int(value) for value in exact]
    order = sorted(range(len(sizes)), key=lambda stratum: (shares[stratum] - exact[stratum], stratum))
    for stratum in order[: total - sum(shares)]:
        shares[stratum] += 1
    return shares


def check_seed(seed: int) -> int:
    """Return the seed, or raise a ValueError if it is none."""
    if int(seed) != seed or seed < 0:
        raise ValueError(f'the seed must be a whole number that is not negative, not {seed!r}')
    return int(seed)


def select(origin: PathLike, output: PathLike, n: int, seed: int, stratified: bool = True) -> int:
    """Draw ``n`` frames at random without repetition; their order is kept.

    Parameters
    ----------
    origin, output : path
        File to draw from, file to write.
    n : int
        Number of frames to draw.
    seed : int
        Seed; the same seed and content give the same frames.
    stratified : bool
        Draw from every composition and source label in proportion to its size; else from all frames alike.

    Returns
    -------
    int
        Number of frames written, always ``n``.

    Raises
    ------
    ValueError
        If ``n`` is not between 1 and the number of frames.
    """
    seed = check_seed(seed)
    with FramesFile(origin) as source:
        available = source.n_frames
        if not 1 <= n <= available:
            raise ValueError(f'cannot select {n} frames: choose between 1 and the {available} there are')
        strata = list(_strata(source))
        masks = {view.key: np.zeros(view.n_frames, dtype=bool) for view, _ in strata}
        if stratified:
            flat = [(view, group) for view, groups in strata for group in groups]
            shares = _shares([len(group) for _, group in flat], n)
            generators = {view.key: _generator(seed, view) for view, _ in strata}
            for (view, group), share in zip(flat, shares, strict=True):
                masks[view.key][generators[view.key].choice(group, share, replace=False)] = True
        else:
            chosen = np.zeros(available, dtype=bool)
            chosen[np.random.default_rng(seed).choice(available, n, replace=False)] = True
            start = 0
            for view, _ in strata:
                masks[view.key] = chosen[start : start + view.n_frames]
                start += view.n_frames
        with FramesFile(output, 'w', energy_kind=source.energy_kind, engine=source.engine) as target:
            return sum(copy_frames(source, view, target, masks[view.key]) for view, _ in strata)


def split(
    origin: PathLike, out_training: PathLike, out_validation: PathLike, fraction: float = 0.8, seed: int = 0
) -> dict[str, Any]:
    """Split frames into training and validation sets, stratified by composition and source label.

    Every block of at least two frames has at least one frame in each set; a block of one frame goes to training.

    Parameters
    ----------
    origin, out_training, out_validation : path
        File to split, files to write.
    fraction : float
        Share of the training set, between 0 and 1 (exclusive).
    seed : int
        Seed; the same seed and content give the same sets.

    Returns
    -------
    dict
        ``training`` and ``validation`` (numbers of frames) and ``blocks``, a list of
        ``{'formula', 'training', 'validation'}``.

    Raises
    ------
    ValueError
        If the fraction is not between 0 and 1, or nothing would be left for validation.
    """
    seed = check_seed(seed)
    if not 0 < fraction < 1:
        raise ValueError(f'the training fraction must be larger than 0 and smaller than 1, not {fraction}')
    with FramesFile(origin) as source:
        strata = list(_strata(source))
        if not any(view.n_frames >= 2 for view, _ in strata):
            raise ValueError('cannot split: no composition has two frames, nothing would be left for validation')
        counts: dict[str, Any] = {'training': 0, 'validation': 0, 'blocks': []}
        options: dict[str, Any] = {'energy_kind': source.energy_kind, 'engine': source.engine}
        with FramesFile(out_training, 'w', **options) as training, FramesFile(out_validation, 'w', **options) as held:
            for view, groups in strata:
                mask = np.zeros(view.n_frames, dtype=bool)
                if view.n_frames >= 2:
                    wanted = min(max(round(view.n_frames * (1 - fraction)), 1), view.n_frames - 1)
                    generator = _generator(seed, view)
                    for group, share in zip(groups, _shares([len(group) for group in groups], wanted), strict=True):
                        mask[generator.choice(group, share, replace=False)] = True
                n_training = copy_frames(source, view, training, ~mask)
                n_validation = copy_frames(source, view, held, mask)
                counts['training'] += n_training
                counts['validation'] += n_validation
                counts['blocks'].append({'formula': view.formula, 'training': n_training, 'validation': n_validation})
    return counts
