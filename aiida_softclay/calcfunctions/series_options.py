"""What analyses of the structure of a run share: parameters, bonds and cutoffs, what they record, their curves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from aiida import orm

from aiida_softclay.analysis.anion_census import census_range
from aiida_softclay.analysis.rdf import BondCutoff, bond_cutoffs, radial_distribution
from aiida_softclay.analysis.trajectory import Trajectory, check_pairs, n_frames_of, species_of, times_ps_of
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.trajectory import MdTrajectoryData

Pair = tuple[str, str]

#: Frames whose mean g(r) gives the cutoffs that are not given.
CUTOFF_FRAMES = 10


def read_options(parameters: orm.Dict, defaults: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the parameters with their defaults, each of the kind of its default.

    Raises
    ------
    ValueError
        If a key is unknown or missing, or a value is of another kind than the default.
    """
    given = parameters.get_dict()
    if unknown := sorted(set(given) - set(defaults) - set(required)):
        known = ', '.join([*required, *defaults])
        raise ValueError(f'the parameters hold {", ".join(unknown)}, which is not known here: choose from {known}')
    if missing := [key for key in required if key not in given]:
        raise ValueError(f'the parameters lack {", ".join(missing)}')
    options = {**defaults, **given}
    for key, default in defaults.items():
        value = options[key]
        # All frames are asked for by null; a number without a default may be left out.
        if value is None and (default is None or key == 'n_frames'):
            continue
        whole, number = isinstance(default, int), isinstance(default, int | float)
        if isinstance(default, bool) or not number:
            fits = default is None or isinstance(value, type(default))
        else:
            fits = isinstance(value, int | float) and not isinstance(value, bool) and (not whole or value == int(value))
        if not fits:
            kind = 'a whole number' if whole else 'a number' if number else f'like {default!r}'
            raise ValueError(f'{key} must be {kind}, it is {value!r}')
        if number and not isinstance(default, bool):
            options[key] = type(default)(value)
    return options


def start_frame(frames: Trajectory, start_ps: float) -> int:
    """Return the first frame at or after a time since the begin of the run, ps."""
    times = times_ps_of(frames)
    return int((times - times[0] < start_ps - 1e-9).sum())


def run_context(
    trajectory: MdTrajectoryData, frames: Trajectory, options: dict[str, Any], start: int
) -> dict[str, Any]:
    """Return what all numbers of a run share."""
    times = times_ps_of(frames)
    return {
        'engine': engine_text(trajectory.engine), 'formula': trajectory.formula, 'stage': trajectory.stage,
        'n_atoms': trajectory.n_atoms, 'n_frames': n_frames_of(frames), 'start_ps': float(times[start] - times[0]),
        'duration_ps': float(times[-1] - times[start]), **options['context'],
    }  # fmt: skip


def pair_of(text: str) -> Pair:
    """Return the two elements of a pair such as ``Li-Cl``.

    Raises
    ------
    ValueError
        If it is written in another way.
    """
    parts = str(text).split('-')
    if len(parts) != 2 or not all(parts):
        raise ValueError(f'{text!r} is no pair of elements: write it as Li-Cl')
    return parts[0], parts[1]


def lengths_given(options: dict[str, Any], key: str = 'cutoffs') -> dict[Pair, float]:
    """Return the lengths of the parameters, pair to Å.

    Raises
    ------
    ValueError
        If a pair is written in another way than ``Li-Cl``, or a length is no number.
    """
    return {pair_of(name): _length(name, length) for name, length in options[key].items()}


def bonds_given(options: dict[str, Any]) -> dict[str, float | None]:
    """Return the bonds of the parameters, to their length in Å or to ``None``.

    Raises
    ------
    ValueError
        If there is none, or a length is no number.
    """
    bonds = options['bonds']
    if not isinstance(bonds, dict) or not bonds:
        raise ValueError(f'bonds must map each bond to its length in Å or to null, it is {bonds!r}')
    return {name: None if length is None else _length(name, length) for name, length in bonds.items()}


def _length(name: str, length: Any) -> float:
    if isinstance(length, bool) or not isinstance(length, int | float):
        raise ValueError(f'the cutoff of {name} must be a number in Å, it is {length!r}')
    return float(length)


def cutoffs_of(frames: Trajectory, bonds: dict[Pair, float | None], start: int) -> dict[Pair, BondCutoff]:
    """Return the cutoff of each bond, the first minimum of g(r) where none is given.

    Raises
    ------
    ValueError
        If an element is absent.
    """
    check_pairs(list(bonds), species_of(frames))
    given = {pair: length for pair, length in bonds.items() if length is not None}
    searched = [pair for pair, length in bonds.items() if length is None]
    found: dict[Pair, BondCutoff] = {}
    if searched:
        reach = census_range(searched)
        found = bond_cutoffs([radial_distribution(frames, searched, r_max=reach, n_frames=CUTOFF_FRAMES, start=start)])
    complete = with_given(found, given)
    return {pair: complete[pair] for pair in bonds}


def cutoff_context(cutoffs: dict[Pair, BondCutoff]) -> dict[str, Any]:
    """Return the cutoffs as they are recorded."""
    return {
        '-'.join(pair): {
            'cutoff_A': found.cutoff, 'method': found.method,
            'peak_A': found.peak if math.isfinite(found.peak) else None,
        }
        for pair, found in cutoffs.items()
    }  # fmt: skip


def with_given(found: dict[Pair, BondCutoff], given: dict[Pair, float]) -> dict[Pair, BondCutoff]:
    """Return the cutoffs, those that were given in place of those that were found.

    Raises
    ------
    ValueError
        If one is not positive.
    """
    replaced = {}
    for pair, length in given.items():
        if not 0 < length < math.inf:
            raise ValueError(f'the cutoff of {"-".join(pair)} must be positive, it is {length:g} Å')
        peak = found[pair].peak if pair in found else math.nan
        replaced[pair] = BondCutoff(pair, length, peak, 'given')
    return {**found, **replaced}


def cutoff_warnings(cutoffs: Iterable[BondCutoff]) -> list[str]:
    """Return a sentence for each cutoff that g(r) does not show."""
    return [
        f'cutoff of {"–".join(found.pair)} is {found.cutoff:.2f} Å by {found.method}'
        for found in cutoffs
        if found.method.startswith('fallback')
    ]
