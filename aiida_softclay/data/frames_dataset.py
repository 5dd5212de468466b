"""Draw a training and a validation set from frames files of any number and size, in two readings and one writing.

The frames are drawn by lot: every configuration has a number computed from itself and the seed, and the lowest of each
stratum are taken. So what is drawn does not depend on how the frames are distributed over files or in which order these
are given, and a data set that has grown keeps most of what it had on each side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .frames_operations import check_seed, combine_energy_surfaces, distribute_frames
from .frames_screen import (
    BEYOND_FORCE,
    BEYOND_PRESSURE,
    DUPLICATE,
    GOOD,
    NOT_FINITE,
    ScreenedFile,
    Stratum,
    join_screened,
    mark_duplicates,
    screen_file,
)
from .frames_store import FramesFile
from .telling import told

PathLike = str | Path

#: Parameters of :func:`build_dataset` and their defaults.
DATASET_DEFAULTS: dict[str, Any] = {
    'n_frames': None,
    'training_fraction': 0.8,
    'seed': 0,
    'max_force_eV_A': None,
    'max_pressure_GPa': None,
    'drop_duplicates': True,
    'type_map': None,
}

#: Names of the states of a frame in the report.
STATE_NAMES = {
    'non_finite': NOT_FINITE,
    'beyond_force': BEYOND_FORCE,
    'beyond_pressure': BEYOND_PRESSURE,
    'duplicates': DUPLICATE,
    'usable': GOOD,
}


def dataset_problem(parameters: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the parameters of :func:`build_dataset`, or ``None``."""
    unknown = sorted(set(parameters) - set(DATASET_DEFAULTS))
    if unknown:
        return f'unknown parameters {", ".join(unknown)}: known are {", ".join(DATASET_DEFAULTS)}'
    given = {**DATASET_DEFAULTS, **parameters}
    fraction = given['training_fraction']
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        return (
            f'training_fraction is {fraction!r}: give a share larger than 0 and smaller than 1, since a potential that '
            'is not tested on frames it has not seen cannot be judged'
        )
    for key in ('max_force_eV_A', 'max_pressure_GPa'):
        value = given[key]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0):
            return f'{key} is {value!r}: give a positive number, or none for no bound'
    n_frames = given['n_frames']
    if n_frames is not None and (isinstance(n_frames, bool) or not isinstance(n_frames, int) or n_frames < 2):
        return f'n_frames is {n_frames!r}: give a whole number of at least 2, or none for all frames'
    seed = given['seed']
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        return f'seed is {seed!r}: give a whole number that is not negative'
    if not isinstance(given['drop_duplicates'], bool):
        return f'drop_duplicates is {given["drop_duplicates"]!r}: give true or false'
    return None


def build_dataset(
    inputs: Sequence[PathLike], out_training: PathLike, out_validation: PathLike, **parameters: Any
) -> dict[str, Any]:
    """Leave out broken and repeated frames, draw the wanted number, and split it.

    The shares of compositions, source labels and stages in both sets are those of the frames given (largest
    remainders), except that every label of every composition with at least two usable frames has at least one in each
    set.

    Parameters
    ----------
    inputs : sequence of paths
        Frames files; their order does not matter.
    out_training, out_validation : path
        Files to write.
    n_frames : int, optional
        How many to draw; all that are usable if None or if there are no more.
    training_fraction : float
        Share of the training set, between 0 and 1 (exclusive).
    seed : int
        The same seed and frames give the same sets.
    max_force_eV_A, max_pressure_GPa : float, optional
        Frames with a larger force or a larger magnitude of the pressure (of the virial, without kinetic part) are left
        out.
    drop_duplicates : bool
        Keep one frame of each configuration (the same atoms, cell and positions as stored), one with a virial if there
        is one.
    type_map : sequence of str, optional
        Refuse frames of other elements.

    Returns
    -------
    dict
        ``parameters``, ``counts`` (``given``, ``non_finite``, ``beyond_force``, ``beyond_pressure``, ``duplicates``,
        ``duplicates_of_other_energy``, ``usable``, ``drawn``, ``training``, ``validation``; a frame left out counts
        once, for the first reason), ``strata`` (a list of the same counts with ``formula``, ``label`` and ``stage``),
        ``energy_kind``, ``virial_convention``, ``engine``, ``elements``, ``without_virial``.

    Raises
    ------
    ValueError
        If a parameter is wrong, nothing usable is left, or ``n_frames`` cannot cover every label twice.
    IncompatibleFramesError
        If energy kind, engine, model or functional differ.
    """
    problem = dataset_problem(parameters)
    if problem:
        raise ValueError(problem)
    options = {**DATASET_DEFAULTS, **parameters}
    seed = check_seed(options['seed'])
    if not inputs:
        raise ValueError('there are no frames to build a data set from')
    # Headers first: what cannot be mixed is refused before gigabytes are read.
    surface = combine_energy_surfaces(inputs)
    if options['type_map'] is not None:
        outside = [element for element in surface['elements'] if element not in options['type_map']]
        if outside:
            raise ValueError(
                f'the frames contain {", ".join(outside)}, which the type map {", ".join(options["type_map"])} lacks: '
                'add them to the type map or leave these frames out'
            )
    files = [
        screen_file(path, options['max_force_eV_A'], options['max_pressure_GPa'])
        for path in told(inputs, 'screening sets of frames', len(inputs))
    ]
    files.sort(key=lambda file: file.identity)
    frames = join_screened(files)
    of_other_energy = mark_duplicates(frames) if options['drop_duplicates'] else 0
    chosen, validation = draw(frames, options['n_frames'], options['training_fraction'], seed)

    labels: dict[str, Any] = {'energy_kind': surface['energy_kind'], 'engine': surface['engine']}
    start = 0
    with FramesFile(out_training, 'w', **labels) as training, FramesFile(out_validation, 'w', **labels) as held:
        for file in files:
            with FramesFile(file.path) as origin:
                for view in origin.blocks():
                    part = slice(start, start + view.n_frames)
                    masks = chosen[part] & ~validation[part], chosen[part] & validation[part]
                    distribute_frames(origin, view, [(training, masks[0]), (held, masks[1])], verified=True)
                    start = part.stop
    return {
        'parameters': options,
        **_counts(frames, chosen, validation),
        'duplicates_of_other_energy': of_other_energy,
        'without_virial': int((chosen & ~frames.with_virial).sum()),
        **surface,
    }


def draw(
    frames: ScreenedFile, n_frames: int | None, training_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which frames are drawn, and which frames belong to validation if they are drawn.

    Returns
    -------
    chosen, validation : ndarray of bool, shape (n_frames,)

    Raises
    ------
    ValueError
        If no frame is usable, none would be left for validation, or ``n_frames`` is too small for the labels.
    """
    usable = frames.state == GOOD
    chosen, validation = np.zeros(len(usable), dtype=bool), np.zeros(len(usable), dtype=bool)
    indices = np.flatnonzero(usable)
    indices = indices[np.argsort(frames.stratum[indices], kind='stable')]
    ends = np.cumsum(np.bincount(frames.stratum[indices], minlength=len(frames.strata)))
    members = dict(zip(frames.strata, np.split(indices, ends[:-1]), strict=True)) if len(ends) else {}
    sizes = {stratum: len(indices) for stratum, indices in members.items() if len(indices)}
    available = sum(sizes.values())
    if not available:
        raise ValueError(
            f'none of the {len(usable)} frames can be used: all are broken or beyond the bounds on force and pressure'
        )
    wanted = available if n_frames is None else min(n_frames, available)
    drawn = _allocate(sizes, wanted, at_least=2, keep_one=False)
    if sum(drawn.values()) > wanted:
        raise ValueError(
            f'{wanted} frames cannot cover all structures, each with one frame to train and one to test on: give '
            f'n_frames of at least {sum(drawn.values())}'
        )
    lots = _lots(frames.digests, seed, 'draw')
    for stratum, share in drawn.items():
        indices = members[stratum]
        chosen[indices[np.argsort(lots[indices], kind='stable')[:share]]] = True

    held = _allocate(drawn, round(wanted * (1 - training_fraction)), at_least=1, keep_one=True)
    if not sum(held.values()):
        raise ValueError('cannot split: no structure has two usable frames, nothing would be left for validation')
    lots = _lots(frames.digests, seed, 'validation')
    for stratum, share in held.items():
        indices = members[stratum][chosen[members[stratum]]]
        validation[indices[np.argsort(lots[indices], kind='stable')[:share]]] = True
    return chosen, validation


def _lots(digests: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """Return a random number (uint64) of every configuration: its digest and the seed, mixed as by splitmix64."""
    constant = int.from_bytes(hashlib.sha256(f'{purpose}:{seed}'.encode()).digest()[:8], 'little')
    lots = digests[:, 0] ^ np.uint64(constant)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        lots = (lots ^ (lots >> np.uint64(shift))) * np.uint64(factor)
    return lots ^ (lots >> np.uint64(31))


def _allocate(sizes: Mapping[Stratum, int], total: int, at_least: int, keep_one: bool) -> dict[Stratum, int]:
    """Distribute ``total`` frames over labels (composition and source label) and each label's share over its stages.

    Every label gets ``at_least`` so many, or all it has; with ``keep_one`` every label keeps a frame for the other set.
    The sum is larger than ``total`` if the labels need more.
    """
    labels: dict[tuple[str, str], dict[Stratum, int]] = {}
    for stratum, size in sizes.items():
        labels.setdefault(stratum[:2], {})[stratum] = size
    most = {label: sum(stages.values()) - keep_one for label, stages in labels.items()}
    weights = {label: sum(stages.values()) for label, stages in labels.items()}
    least = {label: min(at_least, most[label]) for label in labels}
    shares = shares_between(weights, total, least, most)
    result: dict[Stratum, int] = {}
    for label, stages in labels.items():
        result |= shares_between(stages, shares[label], dict.fromkeys(stages, 0), stages)
    return result


def shares_between(
    weights: Mapping[Any, int], total: int, least: Mapping[Any, int], most: Mapping[Any, int]
) -> dict[Any, int]:
    """Distribute ``total`` in proportion to ``weights`` by largest remainders, within bounds.

    The sum is ``total`` unless the bounds forbid it.
    """
    everything = sum(weights.values())
    exact = {key: weight * total / everything for key, weight in weights.items()}
    shares = {key: min(max(int(exact[key]), least[key]), most[key]) for key in weights}
    missing = total - sum(shares.values())
    step = 1 if missing > 0 else -1
    bound = most if missing > 0 else least
    while missing:
        able = [key for key in shares if shares[key] != bound[key]]
        if not able:
            break
        # One frame each at a time, to those that are furthest from their exact share.
        able.sort(key=lambda key: (step * (shares[key] - exact[key]), key))
        for key in able[: abs(missing)]:
            shares[key] += step
        missing = total - sum(shares.values())
    return shares


def _counts(frames: ScreenedFile, chosen: np.ndarray, validation: np.ndarray) -> dict[str, Any]:
    """Return the counts of the report, overall and by stratum."""
    n_strata = len(frames.strata)

    def by_stratum(mask: np.ndarray) -> np.ndarray:
        return np.bincount(frames.stratum[mask], minlength=n_strata)

    columns = {'given': np.bincount(frames.stratum, minlength=n_strata)}
    columns |= {name: by_stratum(frames.state == state) for name, state in STATE_NAMES.items()}
    columns['drawn'] = by_stratum(chosen)
    columns['training'] = by_stratum(chosen & ~validation)
    columns['validation'] = by_stratum(chosen & validation)
    strata = [
        {'formula': formula, 'label': label, 'stage': stage}
        | {name: int(column[index]) for name, column in columns.items()}
        for index, (formula, label, stage) in enumerate(frames.strata)
        if columns['given'][index]
    ]
    return {'counts': {name: int(column.sum()) for name, column in columns.items()}, 'strata': strata}
