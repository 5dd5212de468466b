"""Unwrap positions that a program folded back into the cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from .trajectory import SMALLEST_VOLUME, Array, cell_heights

#: Share of the smallest height of the cell that an atom may move between two frames. From one half on, a displacement
#: cannot be told from that of a periodic image; the margin lets a jump be seen before it is mistaken.
LARGEST_STEP = 0.4


def unwrap(frames: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]]) -> Iterator[Array]:
    """Yield the positions of consecutive frames without jumps across the faces of the cell.

    The displacement between two frames is the shortest of those to the periodic images (minimum image in fractional
    coordinates), which is the true one if atoms move less than half the cell in between.

    Parameters
    ----------
    frames : iterable of (positions, cell)
        Positions (n_atoms, 3) in Å, wrapped or not, and lattice vectors as rows (3, 3) in Å, in the order of time.

    Yields
    ------
    ndarray, shape (n_atoms, 3)
        Å; the first frame is as given.

    Raises
    ------
    ValueError
        If an atom moves more than 0.4 of the smallest height of the cell between two frames, positions or cells are
        not finite, or the number of atoms changes.
    """
    last: Array | None = None
    path: Array | None = None
    for index, (positions, cell) in enumerate(frames):
        matrix, points = np.asarray(cell, dtype=float), np.asarray(positions, dtype=float)
        if not (np.isfinite(points).all() and np.isfinite(matrix).all()):
            raise ValueError(f'frame {index} has positions or cell vectors that are not finite')
        if matrix.shape != (3, 3) or abs(np.linalg.det(matrix)) < SMALLEST_VOLUME:
            raise ValueError(f'the cell of frame {index} must be three lattice vectors that span a volume')
        if last is not None and points.shape != last.shape:
            raise ValueError(f'frame {index} has {len(points)} atoms instead of {len(last)}: their paths are lost')
        fractional = points @ np.linalg.inv(matrix)
        if last is None or path is None:
            last, path = fractional, fractional.copy()
        else:
            step = fractional - last
            step -= np.round(step)
            longest = float(np.linalg.norm(step @ matrix, axis=1).max())
            allowed = LARGEST_STEP * float(cell_heights(matrix).min())
            if longest > allowed:
                raise ValueError(
                    f'between frames {index - 1} and {index} an atom moves {longest:.3g} Å, more than {allowed:.3g} Å '
                    f'({LARGEST_STEP:g} of the smallest height of the cell): its path cannot be followed; keep frames '
                    'more often or use a larger cell'
                )
            path, last = path + step, fractional
        yield path @ matrix
