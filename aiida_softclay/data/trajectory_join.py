"""Trajectories of one run as one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .trajectory_file import InvalidTrajectoryError, TrajectoryFile


def concatenate(
    inputs: Sequence[str | Path], output: str | Path, stage: str | None = None, seam_tolerance: float = 0.01
) -> list[dict[str, Any]]:
    """Join trajectories of one run in the order of their steps, without repeating frames.

    Parameters
    ----------
    inputs : sequence of paths
        Trajectory files of the same atoms and time step, in any order.
    output : path
        File to write.
    stage : str, optional
        Name of the result's stage; by default the inputs' names, each once, joined with ``+``.
    seam_tolerance : float
        Å; frames that two inputs both have must agree within this, else they are not one run.

    Returns
    -------
    list of dict
        One record per seam: ``step`` (first new frame), ``gap_steps`` (distance to the frame before) and
        ``repeated`` (number of frames left out) and ``largest_difference_angstrom`` among those (None if none).

    Raises
    ------
    InvalidTrajectoryError
        If atoms or time step differ, or the runs contradict each other where they overlap.
    """
    if not inputs:
        raise InvalidTrajectoryError('there are no trajectories to join')
    order: list[tuple[int, int, str | Path]] = []
    stages: dict[int, str] = {}
    facts: list[tuple[bytes, float, dict[str, Any], float | None]] = []
    for number, path in enumerate(inputs):
        with TrajectoryFile(path) as part:
            if part.n_frames == 0:
                continue
            order.append((int(part.steps[0]), number, path))
            stages[number] = part.stage
            facts.append((part.atomic_numbers.tobytes(), part.timestep_ps, part.engine, part.resolution))
    if not order:
        raise InvalidTrajectoryError('none of the trajectories has a frame')
    if len({fact[0] for fact in facts}) != 1:
        raise InvalidTrajectoryError('the trajectories hold different atoms, or the same in another order')
    if len({fact[1] for fact in facts}) != 1:
        raise InvalidTrajectoryError(f'the trajectories have different time steps: {sorted({f[1] for f in facts})} ps')
    order.sort(key=lambda item: item[:2])
    if stage is None:
        stage = '+'.join(dict.fromkeys(stages[number] for _, number, _ in order if stages[number]))
    seams: list[dict[str, Any]] = []
    resolutions = [fact[3] for fact in facts]
    # Positions of single precision are not rounded where one of the parts has them.
    resolution = None if None in resolutions else min(value for value in resolutions if value is not None)
    numbers = np.frombuffer(facts[0][0], dtype='<i4')
    with TrajectoryFile(output, 'w', numbers, facts[0][1], facts[0][2], stage, resolution) as target:
        for _, _, path in order:
            _join(target, path, seams, seam_tolerance)
    return seams


def _join(target: TrajectoryFile, path: str | Path, seams: list[dict[str, Any]], tolerance: float) -> None:
    """Append one trajectory's new frames and record the seam."""
    known = target.steps[:]
    repeated, largest, first_new = 0, None, None
    with TrajectoryFile(path) as part:
        for frame in part.iter_frames():
            if len(known) and frame.step <= known[-1]:
                at = int(np.searchsorted(known, frame.step))
                if known[at] != frame.step:
                    raise InvalidTrajectoryError(f'{path} has a frame at step {frame.step} between existing frames')
                difference = float(np.abs(target.positions[at] - frame.positions).max())
                largest = max(difference, largest or 0.0)
                if difference > tolerance:
                    raise InvalidTrajectoryError(
                        f'{path} contradicts the frames before it: at step {frame.step} positions differ by '
                        f'{difference:.3g} Å (tolerance {tolerance:g} Å); the runs do not continue each other'
                    )
                repeated += 1
                continue
            first_new = frame.step if first_new is None else first_new
            target.append(frame.positions, frame.cell, frame.step)
    if len(known):
        seams.append(
            {
                'step': first_new,
                'gap_steps': None if first_new is None else int(first_new - known[-1]),
                'repeated': repeated,
                'largest_difference_angstrom': largest,
            }
        )


def join_segments(parts: Sequence[str | Path], output: str | Path) -> int:
    """Join trajectories of consecutive jobs of one stage, in order, and return the number of frames.

    Frames beyond the step at which a later job starts did not lead to the present state and are left out.

    Raises
    ------
    InvalidTrajectoryError
        If there is nothing to join.
    """
    if not parts:
        raise InvalidTrajectoryError('there are no trajectories to join')
    firsts = []
    for path in parts:
        with TrajectoryFile(path) as part:
            firsts.append(int(part.steps[0]) if part.n_frames else None)
            facts = (part.atomic_numbers, part.timestep_ps, part.engine, part.stage, part.resolution)
    with TrajectoryFile(output, 'w', *facts) as joined:
        for number, path in enumerate(parts):
            end = min((first for first in firsts[number + 1 :] if first is not None), default=None)
            with TrajectoryFile(path) as part:
                for frame in part.iter_frames():
                    if end is not None and frame.step >= end:
                        break
                    joined.append(frame.positions, frame.cell, frame.step)
        return joined.n_frames
