"""Centres of the elements that LAMMPS writes beside the frames: the whole system where frames hold a part of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
from aiida import orm

from aiida_softclay.analysis.collective import CENTRE_OF_MASS, reference_at_frames, reference_path
from aiida_softclay.analysis.trajectory import Array
from aiida_softclay.data.trajectory_file import TrajectoryFile


def system_counts(frames: TrajectoryFile) -> dict[str, int]:
    """Return the atoms of each element of the simulated system in its order, those included that no frame holds.

    The order names pairs of elements: it is that of a trajectory of all atoms.
    """
    counts = Counter(frames.symbols) + Counter(frames.left_out)
    return {symbol: counts[symbol] for symbol in frames.element_order}


def centre_columns(frames: TrajectoryFile, centres: orm.ArrayData) -> tuple[Array, dict[str, Array]]:
    """Return the times of the rows in ps and the centre of each element of the system, shape (n_rows, 3), Å.

    Parameters
    ----------
    frames : TrajectoryFile
        Trajectory of the same run.
    centres : ArrayData
        ``time_ps`` and ``centre_X`` for every element X.

    Raises
    ------
    ValueError
        If an element or the times are missing.
    """
    names, wanted = centres.get_arraynames(), system_counts(frames)
    missing = [symbol for symbol in wanted if f'centre_{symbol}' not in names]
    if missing or 'time_ps' not in names:
        raise ValueError(f'the centres lack {", ".join(missing) or "time_ps"}')
    columns = {symbol: np.asarray(centres.get_array(f'centre_{symbol}'), dtype=float) for symbol in wanted}
    return np.asarray(centres.get_array('time_ps'), dtype=float), columns


def system_path(frames: TrajectoryFile, centres: orm.ArrayData | None, reference: str = CENTRE_OF_MASS) -> Array:
    """Return the path of a frame of reference at every frame, shape (n_frames, 3), Å.

    It is that of the frames where they hold all atoms, and else that of the centres, which are of all atoms always.

    Raises
    ------
    ValueError
        If the frames lack atoms and the centres do not cover the run.
    """
    if not frames.left_out or centres is None:
        return reference_path(frames, reference)
    times, columns = centre_columns(frames, centres)
    return reference_at_frames(frames, times, columns, system_counts(frames), reference)
