"""How often the terminal ligands of oligomers rotate, and how long they stay eclipsed or staggered."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .conformation import ConformationSeries
from .coordination import Estimate, estimate_from_frames
from .filtering import low_pass, nearest_well_sequence, two_state_sequence
from .trajectory import Array, IntArray

#: Half-way between eclipsed (0°) and staggered (60°), and the limits that a change of state has to cross.
MIDDLE = 30.0
LIMITS = (20.0, 40.0)
#: Distance of the wells of a threefold rotor, degrees.
PERIOD = 120.0


@dataclass(frozen=True)
class RotationStatistics:
    """Bending and rotation of the bridges of a glass of oligomers.

    Attributes
    ----------
    filtered : ndarray, shape (n_frames, n_followed)
        Low-pass filtered dihedral angles, degrees.
    followed : ndarray of int, shape (n_followed,)
        Columns of the series whose bridges last and whose dihedral is defined throughout.
    bending : Estimate
        Mean angle of the bridges, degrees.
    bending_deviation : Estimate
        Standard deviation of the angle of a bridge in time, degrees.
    dihedral : Estimate
        Mean of the smallest dihedral angle, degrees.
    eclipsed_share : Estimate
        Share of time that the filtered angle is nearer to 0° than to 60°.
    transition_rate : Estimate
        Changes between eclipsed and staggered per bridge and ps.
    rotation_rate : Estimate
        Net steps of 120° per bridge and ps; none for bridges that only swing.
    lasting_share : Estimate
        Share of the bridges of the first frame that are whole in every frame.
    cutoff_thz : float
        Frequency of the filter.
    """

    filtered: Array
    followed: IntArray
    bending: Estimate
    bending_deviation: Estimate
    dihedral: Estimate
    eclipsed_share: Estimate
    transition_rate: Estimate
    rotation_rate: Estimate
    lasting_share: Estimate
    cutoff_thz: float


def rotation_statistics(series: ConformationSeries, cutoff_thz: float = 1.0) -> RotationStatistics:
    """Return the statistics of bending and rotation of bridges that last.

    Angles are filtered below 1 THz first (you2025, Methods), which leaves the transitions between discrete angles and
    removes vibrations. A transition leads from below 20° to above 40° or back. A rotation is a step of the filtered
    torsion to another well of a threefold rotor. Errors of rates are those of rare independent events, the square root
    of their number (of one event if there was none), or of the spread over bridges if that is larger.

    Parameters
    ----------
    series : ConformationSeries
        Angles at equal distances in time.
    cutoff_thz : float
        1/ps.

    Raises
    ------
    ValueError
        If frames are not equally spaced, too far apart for the filter, or no bridge lasts.
    """
    times = series.times_ps
    steps = np.diff(times)
    if times.size < 4 or steps[0] <= 0 or not np.allclose(steps, steps[0], rtol=1e-6):
        raise ValueError('rotation statistics need four frames at least, equally spaced in time')
    whole = series.intact.all(axis=0)
    followed = np.flatnonzero(whole & ~np.isnan(series.dihedral).any(axis=0) & ~np.isnan(series.torsion).any(axis=0))
    if not followed.size:
        raise ValueError(
            f'none of the {whole.size} bridges lasts with its ligands through all frames: use a shorter run, or longer '
            'bond lengths if bonds only vibrate'
        )
    spacing, duration = float(steps[0]), float(times[-1] - times[0])
    bending, dihedral = series.bending[:, followed], series.dihedral[:, followed]
    filtered = low_pass(dihedral, spacing, cutoff_thz)
    eclipsed = filtered < MIDDLE
    states = two_state_sequence(filtered, *LIMITS)
    changes = ((np.diff(states, axis=0) != 0) & (states[:-1] >= 0)).sum(axis=0)
    torsion = low_pass(series.torsion[:, followed], spacing, cutoff_thz)
    turns = np.array([_turns(column) for column in torsion.T])
    deviation = bending.std(axis=0, ddof=1)
    number = followed.size
    spread = float(deviation.std(ddof=1) / math.sqrt(number)) if number > 1 else math.nan
    lasting = float(whole.mean())
    return RotationStatistics(
        filtered=filtered, followed=followed.astype(np.int64),
        bending=estimate_from_frames(bending.mean(axis=1), bending.mean(axis=0)),
        bending_deviation=Estimate(float(deviation.mean()), spread, number, 'spread over bridges'),
        dihedral=estimate_from_frames(dihedral.mean(axis=1), dihedral.mean(axis=0)),
        eclipsed_share=estimate_from_frames(eclipsed.mean(axis=1), eclipsed.mean(axis=0)),
        transition_rate=_rate(changes, duration), rotation_rate=_rate(turns, duration),
        lasting_share=Estimate(lasting, math.sqrt(lasting * (1 - lasting) / whole.size), whole.size, 'binomial'),
        cutoff_thz=float(cutoff_thz),
    )  # fmt: skip


def _turns(torsion: Array) -> int:
    """Return the number of steps between wells; the middle of the first well is where the rotor rests first."""
    offset = math.degrees(float(np.angle(np.exp(1j * np.radians(torsion * 360 / PERIOD)).mean()))) * PERIOD / 360
    wells = nearest_well_sequence(torsion - offset, PERIOD)
    return int(np.abs(np.diff(wells)).sum())


def _rate(events: IntArray, duration: float) -> Estimate:
    """Return events per bridge and ps."""
    total, exposure = int(events.sum()), events.size * duration
    error = math.sqrt(max(total, 1)) / exposure
    if events.size > 1:
        error = max(error, float(events.std(ddof=1)) / math.sqrt(events.size) / duration)
    return Estimate(total / exposure, error, events.size, 'counted events, or spread over bridges')
