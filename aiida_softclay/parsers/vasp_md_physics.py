"""What tells a physical failure of an MD run by its name: temperature, volume, electronic convergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Share of the steps that may miss electronic convergence without a word; they are left out of the frames anyway.
UNCONVERGED_SHARE = 0.01
#: A hotter run has exploded: this many times the highest target, plus this many kelvin for small cells.
RUNAWAY_FACTOR = 5.0
RUNAWAY_MARGIN_K = 1000.0
#: Bounds of a moving cell relative to the starting volume where the plan states none.
VOLUME_RATIO_MIN = 0.5
VOLUME_RATIO_MAX = 2.0


@dataclass(frozen=True)
class PhysicalFailure:
    """One physical failure.

    Attributes
    ----------
    code : str
        Label of the exit code of ``softclay.vasp_md``.
    step : int
        Step of the run at which it shows first.
    facts : dict
        What its message needs.
    """

    code: str
    step: int
    facts: dict[str, Any]


def runaway(temperature: npt.ArrayLike, limit_K: float | None, targets_K: Sequence[float]) -> PhysicalFailure | None:
    """Return the first step hotter than the limit, with the hottest temperature, or ``None``.

    Parameters
    ----------
    temperature : array_like, shape (n_steps,), K, nan where unknown
    limit_K : float or None
        The limit; by default five times the highest target plus 1000 K.
    targets_K : sequence of float
        Target temperatures at the ends of the run.
    """
    values = np.asarray(temperature, dtype=float)
    if limit_K is None:
        if not targets_K:
            return None
        limit_K = RUNAWAY_FACTOR * max(targets_K) + RUNAWAY_MARGIN_K
    hot = np.flatnonzero(np.nan_to_num(values, nan=0.0) > limit_K)
    if not len(hot):
        return None
    hottest = int(np.nanargmax(values))
    facts = {'temperature': float(values[hottest]), 'at': hottest, 'target': float(max(targets_K, default=limit_K))}
    return PhysicalFailure('ERROR_TEMPERATURE_RUNAWAY', int(hot[0]), facts)


def volume_change(volume: npt.ArrayLike, start_A3: float, lowest: float, highest: float) -> PhysicalFailure | None:
    """Return the first step at which the volume leaves its bounds, or ``None``.

    Parameters
    ----------
    volume : array_like, shape (n_steps,), Å³
    start_A3 : float
        Volume at the start of the plan, Å³.
    lowest, highest : float
        Bounds relative to it.
    """
    ratio = np.asarray(volume, dtype=float) / start_A3
    outside = np.flatnonzero((ratio < lowest) | (ratio > highest))
    if not len(outside):
        return None
    step = int(outside[0])
    collapsed = ratio[step] < lowest
    return PhysicalFailure(
        'ERROR_VOLUME_COLLAPSE' if collapsed else 'ERROR_VOLUME_EXPANSION',
        step,
        {'ratio': float(ratio[step]), 'bound': lowest if collapsed else highest},
    )


def first_failure(
    series: Mapping[str, npt.NDArray[Any]],
    tags: Mapping[str, Any],
    sampling: Mapping[str, Any],
    start_A3: float,
) -> PhysicalFailure | None:
    """Return the physical failure that showed first, or ``None``: a cell that collapses also heats, and the reverse.

    Parameters
    ----------
    series : mapping of ndarray, shape (n_steps,)
        ``temperature_K`` and ``volume_A3``.
    tags : mapping
        INCAR in lower case.
    sampling : mapping
        Limits that were given.
    start_A3 : float
        Volume of the starting structure of the run, Å³.
    """
    targets = [float(tags[tag]) for tag in ('tebeg', 'teend') if tag in tags]
    found = [runaway(series['temperature_K'], sampling.get('temperature_limit_K'), targets)]
    if int(tags.get('isif', 2)) == 3:
        found.append(
            volume_change(
                series['volume_A3'],
                float(sampling.get('volume_start_A3') or start_A3),
                float(sampling.get('volume_ratio_min') or VOLUME_RATIO_MIN),
                float(sampling.get('volume_ratio_max') or VOLUME_RATIO_MAX),
            )
        )
    return min((failure for failure in found if failure is not None), key=lambda failure: failure.step, default=None)
