"""Text dumps of LAMMPS, also those of other people's runs: read by frames and kept as a trajectory file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .telling import tell
from .text_numbers import NOT_A_NUMBER, POWERS_OF_TEN, TRUNCATED, parse_table
from .trajectory_file import TrajectoryFile

#: Columns that hold positions, the best first; whether they are fractions of the cell, and whether they are wrapped.
POSITIONS = (
    (('xu', 'yu', 'zu'), False, False),
    (('xsu', 'ysu', 'zsu'), True, False),
    (('x', 'y', 'z'), False, True),
    (('xs', 'ys', 'zs'), True, True),
)
IMAGES = ('ix', 'iy', 'iz')
_LONGEST_HEADER = 4096


class DumpError(ValueError):
    """A dump that cannot be read; the message says what is wrong with it."""


@dataclass(frozen=True)
class TextFrame:
    """One frame of a dump.

    Attributes
    ----------
    step : int
        Absolute step.
    cell : ndarray, shape (3, 3), Å
        Rows are the vectors.
    corner : ndarray, shape (3,), Å
        Where they begin.
    columns : dict
        Name of a column to its numbers, shape (n_atoms,), in the order of the file.
    """

    step: int
    cell: np.ndarray
    corner: np.ndarray
    columns: dict[str, np.ndarray]

    @property
    def positions(self) -> np.ndarray:
        """Unwrapped positions relative to the corner of the cell, shape (n_atoms, 3), Å, in the order of the file.

        Raises
        ------
        DumpError
            If the columns do not tell them.
        """
        for names, scaled, wrapped in POSITIONS:
            if not set(names) <= set(self.columns):
                continue
            if wrapped and not set(IMAGES) <= set(self.columns):
                continue
            found = np.stack([self.columns[name] for name in names], axis=1)
            found = found @ self.cell if scaled else found - self.corner
            if wrapped:
                found = found + np.stack([self.columns[name] for name in IMAGES], axis=1) @ self.cell
            return found
        raise DumpError(
            'the dump does not say how often atoms crossed the cell: it needs the columns xu yu zu, or x y z ix iy iz'
        )


def cell_from_bounds(bounds: np.ndarray, tilts: np.ndarray) -> np.ndarray:
    """Return the cell of a triclinic dump, whose bounds are those of the box around the tilted cell.

    Parameters
    ----------
    bounds : ndarray, shape (3, 2), Å
        Lower and upper bound along x, y and z.
    tilts : ndarray, shape (3,), Å
        xy, xz and yz.
    """
    edges = np.ptp(bounds - _tilted_extent(tilts), axis=1)
    xy, xz, yz = tilts
    return np.array([[edges[0], 0.0, 0.0], [xy, edges[1], 0.0], [xz, yz, edges[2]]])


def corner_from_bounds(bounds: np.ndarray, tilts: np.ndarray) -> np.ndarray:
    """Return where the vectors of that cell begin, shape (3,), Å."""
    return (bounds - _tilted_extent(tilts))[:, 0]


def _tilted_extent(tilts: np.ndarray) -> np.ndarray:
    """Return by how much a tilted cell reaches beyond its edges, below and above, shape (3, 2), Å."""
    xy, xz, yz = tilts
    sums = (0.0, xy, xz, xy + xz)
    return np.array([[min(sums), max(sums)], [min(0.0, yz), max(0.0, yz)], [0.0, 0.0]])


def iter_text_dump(path: Path, wanted: Sequence[str] | None = None) -> Iterator[TextFrame]:
    """Yield the whole frames of a text dump (``dump atom`` or ``custom``); a last frame that was cut ends it.

    The file is mapped, not loaded: memory holds one frame.

    Parameters
    ----------
    path : Path
        The dump, uncompressed.
    wanted : sequence of str, optional
        Columns to read; all numbers if not given. Text such as ``element`` is passed over.

    Raises
    ------
    DumpError
        If it is no text dump, or a whole frame holds something that is no number.
    """
    if path.stat().st_size == 0:
        raise DumpError(f'{path.name} is empty')
    data = np.memmap(path, dtype=np.uint8, mode='r')
    position, count = 0, 0
    while position < len(data):
        tell(f'reading {path.name}, in MB', position // 10**6, len(data) // 10**6)
        header = _header(data, position)
        if header is None:
            if count:
                return
            raise DumpError(f'{path.name} is no text dump of LAMMPS: it does not begin with ITEM: TIMESTEP')
        position, step, n_atoms, bounds, tilts, names = header
        chosen = [name for name in names if name != 'element' and (wanted is None or name in wanted)]
        targets = np.array([chosen.index(name) if name in chosen else -1 for name in names], dtype=np.int64)
        table = np.empty((n_atoms, len(chosen)))
        end = parse_table(data, position, n_atoms, targets, table, POWERS_OF_TEN)
        if end == TRUNCATED:
            return
        if end == NOT_A_NUMBER:
            raise DumpError(f'{path.name}: the frame of step {step} holds something that is no number')
        position, count = int(end), count + 1
        columns = {name: table[:, index] for index, name in enumerate(chosen)}
        yield TextFrame(step, cell_from_bounds(bounds, tilts), corner_from_bounds(bounds, tilts), columns)


def _header(data: np.ndarray, start: int) -> tuple[int, int, int, np.ndarray, np.ndarray, list[str]] | None:
    """Return where the table begins, step, number of atoms, bounds, tilts and columns; None if that is no header."""
    text = data[start : start + _LONGEST_HEADER].tobytes()
    found: dict[str, Any] = {}
    offset = 0
    while True:
        end = text.find(b'\n', offset)
        if end < 0:
            return None
        line = text[offset:end].decode('ascii', errors='replace').strip()
        offset = end + 1
        if not line.startswith('ITEM:'):
            return None
        name, count = line.removeprefix('ITEM:').strip(), 1
        if name.startswith('ATOMS'):
            break
        count = 3 if name.startswith('BOX BOUNDS') else 1
        rows = []
        for _ in range(count):
            end = text.find(b'\n', offset)
            if end < 0:
                return None
            rows.append(text[offset:end].split())
            offset = end + 1
        found['BOX BOUNDS' if count == 3 else name] = rows
    try:
        step, n_atoms = int(found['TIMESTEP'][0][0]), int(found['NUMBER OF ATOMS'][0][0])
        box = np.array(found['BOX BOUNDS'], dtype=float)
    except (KeyError, ValueError, IndexError):
        return None
    if box.shape not in ((3, 2), (3, 3)) or n_atoms < 1:
        return None
    return start + offset, step, n_atoms, box[:, :2], box[:, 2] if box.shape[1] == 3 else np.zeros(3), name.split()[1:]


def import_text_dump(
    source: Path,
    target: Path,
    elements: Mapping[int, int],
    timestep_ps: float,
    *,
    engine: Mapping[str, Any] | None = None,
    stage: str = 'imported',
    resolution: float | None = None,
) -> int:
    """Write the frames of a text dump to a trajectory file, atoms in order of their ids.

    Parameters
    ----------
    source, target : Path
        The dump, and the trajectory file to write.
    elements : mapping
        Type of LAMMPS to atomic number.
    timestep_ps : float
        Time step in ps: a dump does not say it.
    engine : mapping, optional
        Program, version and potential.
    stage : str
        What the run was.
    resolution : float, optional
        Spacing in Å of the grid to which positions are rounded; single precision if not given.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    DumpError
        If columns are missing, a type has no element, or atoms come and go.
    """
    wanted = {'id', 'type', *IMAGES, *(name for names, _, _ in POSITIONS for name in names)}
    order: np.ndarray | None = None
    output: TrajectoryFile | None = None
    count = 0
    try:
        for frame in iter_text_dump(source, tuple(wanted)):
            if missing := {'id', 'type'} - set(frame.columns):
                raise DumpError(f'{source.name} lacks the column {", ".join(sorted(missing))}')
            order = np.argsort(frame.columns['id'], kind='stable')
            types = frame.columns['type'][order].astype(int)
            if output is None:
                if unknown := sorted(set(types.tolist()) - set(elements)):
                    raise DumpError(f'no element was named for type {", ".join(map(str, unknown))} of {source.name}')
                first = types
                numbers = np.array([elements[kind] for kind in types.tolist()])
                output = TrajectoryFile(target, 'w', numbers, timestep_ps, dict(engine or {}), stage, resolution)
            if not np.array_equal(types, first):
                raise DumpError(f'{source.name}: at step {frame.step} the atoms are others than in the first frame')
            output.append(frame.positions[order], frame.cell, frame.step)
            count += 1
    finally:
        if output is not None:
            output.close()
    if not count:
        raise DumpError(f'{source.name} holds no whole frame')
    return count
