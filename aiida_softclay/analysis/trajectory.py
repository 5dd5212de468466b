"""What the analysis reads: frames of a simulation, sliced piece by piece and never held whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Volume below which three vectors are no cell, Å³.
SMALLEST_VOLUME = 1e-6

#: Bytes of positions that are read at once.
CHUNK_BYTES = 64 * 2**20


@runtime_checkable
class Trajectory(Protocol):
    """Frames of a simulation.

    ``positions[a:b]`` (b − a, n_atoms, 3) in Å, unwrapped; ``cells`` (n_frames, 3, 3) in Å, rows are the lattice
    vectors; ``atomic_numbers`` (n_atoms,); ``steps`` (n_frames,), absolute; ``timestep_ps``.
    """

    @property
    def positions(self) -> Any: ...  # noqa: D102

    @property
    def cells(self) -> Any: ...  # noqa: D102

    @property
    def atomic_numbers(self) -> Any: ...  # noqa: D102

    @property
    def steps(self) -> Any: ...  # noqa: D102

    @property
    def timestep_ps(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class ArrayTrajectory:
    """A trajectory in plain arrays.

    Attributes
    ----------
    positions : ndarray, shape (n_frames, n_atoms, 3)
        Unwrapped positions, Å.
    cells : ndarray, shape (n_frames, 3, 3)
        Rows are the lattice vectors, Å; a single cell (3, 3) holds for all frames.
    atomic_numbers : ndarray, shape (n_atoms,)
        Atomic numbers, or chemical symbols.
    steps : ndarray, shape (n_frames,)
        Absolute step of each frame; 0, 1, 2… if not given.
    timestep_ps : float
        Length of a step.
    """

    positions: npt.NDArray[Any]
    cells: npt.NDArray[Any]
    atomic_numbers: npt.NDArray[Any]
    steps: npt.NDArray[Any] | None = None
    timestep_ps: float = 1.0

    def __post_init__(self) -> None:
        positions = np.asarray(self.positions)
        positions = positions[None] if positions.ndim == 2 else positions
        if positions.ndim != 3 or positions.shape[2] != 3:
            raise ValueError(f'positions must have the shape (n_frames, n_atoms, 3), not {positions.shape}')
        n_frames, n_atoms = positions.shape[:2]
        cells = np.asarray(self.cells, dtype=float)
        cells = np.broadcast_to(cells, (n_frames, 3, 3)) if cells.shape == (3, 3) else cells
        if cells.shape != (n_frames, 3, 3):
            raise ValueError(f'cells must have the shape ({n_frames}, 3, 3), not {cells.shape}')
        numbers = np.asarray(self.atomic_numbers)
        if numbers.dtype.kind in 'US':
            symbols, place = np.unique(numbers, return_inverse=True)
            numbers = np.array([atomic_number(str(symbol)) for symbol in symbols], dtype=int)[place]
        if numbers.shape != (n_atoms,):
            raise ValueError(f'atomic_numbers must have the shape ({n_atoms},), not {numbers.shape}')
        steps = np.arange(n_frames) if self.steps is None else np.asarray(self.steps)
        if steps.shape != (n_frames,):
            raise ValueError(f'steps must have the shape ({n_frames},), not {steps.shape}')
        for name, value in (('positions', positions), ('cells', cells), ('atomic_numbers', numbers), ('steps', steps)):
            object.__setattr__(self, name, value)


def atomic_number(symbol: str) -> int:
    """Return the atomic number of an element.

    Raises
    ------
    ValueError
        If there is no such element.
    """
    number = atomic_numbers.get(symbol, 0)
    if number == 0:
        raise ValueError(f'`{symbol}` is no chemical element')
    return int(number)


def species_of(trajectory: Trajectory) -> list[str]:
    """Return the elements of a trajectory, in the order of their first appearance."""
    numbers = np.asarray(trajectory.atomic_numbers)
    _, first = np.unique(numbers, return_index=True)
    return [chemical_symbols[int(numbers[index])] for index in np.sort(first)]


def indices_of(trajectory: Trajectory, symbol: str) -> IntArray:
    """Return the indices of the atoms of an element.

    Raises
    ------
    ValueError
        If the trajectory holds no such atoms.
    """
    indices = np.flatnonzero(np.asarray(trajectory.atomic_numbers) == atomic_number(symbol))
    if indices.size == 0:
        raise ValueError(f'there is no {symbol} among the atoms, only {", ".join(species_of(trajectory))}')
    return indices.astype(np.int64)


def element_labels(trajectory: Trajectory) -> IntArray:
    """Return the place of the element of each atom in :func:`species_of`, shape (n_atoms,)."""
    label = np.zeros(len(chemical_symbols), dtype=np.int64)
    for row, symbol in enumerate(species_of(trajectory)):
        label[atomic_number(symbol)] = row
    return label[np.asarray(trajectory.atomic_numbers, dtype=int)]


def masses_of(trajectory: Trajectory) -> Array:
    """Return the standard atomic masses, shape (n_atoms,), in g/mol: the weights of the centre of mass.

    Raises
    ------
    ValueError
        If the trajectory lacks atoms of the system, so that no centre of mass can be had from it.
    """
    if left_out := getattr(trajectory, 'left_out', None):
        raise ValueError(
            f'the trajectory has no {", ".join(left_out)}: the centre of mass needs all atoms. Give the centres '
            'of the elements that the run wrote beside it (collective), run with all elements in dump_elements, or '
            'take another reference than the centre of mass'
        )
    return np.asarray(atomic_masses[np.asarray(trajectory.atomic_numbers, dtype=int)], dtype=float)


def times_ps_of(trajectory: Trajectory) -> Array:
    """Return the times of the frames since step 0, shape (n_frames,), in ps."""
    return np.asarray(trajectory.steps, dtype=float) * float(trajectory.timestep_ps)


def n_frames_of(trajectory: Trajectory) -> int:
    """Return the number of frames."""
    return len(trajectory.steps)


def check_finite(positions: npt.NDArray[Any], first: int = 0) -> None:
    """Check that all positions of consecutive frames are numbers.

    Parameters
    ----------
    positions : ndarray, shape (n_frames, n_atoms, 3)
        Of all atoms, so that the atom that is named is the one of the trajectory.
    first : int
        Number of the first of the frames in the trajectory.

    Raises
    ------
    ValueError
        With the first frame that is not finite, and its first atom.
    """
    finite = np.isfinite(positions)
    if finite.all():
        return
    row = int(np.argmin(finite.all(axis=(1, 2))))
    bad = np.flatnonzero(~finite[row].all(axis=1))
    raise ValueError(
        f'{bad.size} positions of frame {first + row} are not finite (the first is that of atom {bad[0]}): the run has '
        'exploded or its file is damaged, use the frames before'
    )


def iter_chunks(trajectory: Trajectory, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int, Array]]:
    """Yield ``(first, last, positions)`` of consecutive pieces of bounded size, positions in Å as float64.

    Raises
    ------
    ValueError
        If a position is not finite.
    """
    stop = n_frames_of(trajectory) if stop is None else stop
    size = max(1, CHUNK_BYTES // (len(trajectory.atomic_numbers) * 24))
    for first in range(start, stop, size):
        last = min(first + size, stop)
        piece = np.asarray(trajectory.positions[first:last], dtype=float)
        check_finite(piece, first)
        yield first, last, piece


def select_frames(n_frames: int, n_selected: int | None, start: int = 0) -> list[int]:
    """Return the indices of at most ``n_selected`` frames, evenly spread over ``start … n_frames`` with the last one.

    Raises
    ------
    ValueError
        If no frame is left.
    """
    if start >= n_frames or n_frames <= 0:
        raise ValueError(f'no frame is left: {n_frames} frames, the first to be used is number {start}')
    available = n_frames - start
    if n_selected is None or n_selected >= available:
        return list(range(start, n_frames))
    if n_selected < 1:
        raise ValueError(f'the number of frames must be positive, it is {n_selected}')
    return sorted({round(start + (index + 1) * available / n_selected) - 1 for index in range(n_selected)})


def frame(trajectory: Trajectory, index: int) -> tuple[Array, Array]:
    """Return positions (n_atoms, 3) and cell (3, 3) of one frame, Å.

    Raises
    ------
    ValueError
        If a position is not finite.
    """
    positions = np.asarray(trajectory.positions[index : index + 1], dtype=float)
    check_finite(positions, index)
    return positions[0], np.asarray(trajectory.cells[index], dtype=float)


def iter_frames(trajectory: Trajectory, indices: Sequence[int]) -> Iterator[tuple[int, Array, Array]]:
    """Yield index, positions (n_atoms, 3) and cell (3, 3) of the chosen frames, Å.

    Frames that follow each other are read together, in pieces of bounded size: a compressed file is read once.

    Raises
    ------
    ValueError
        If a position is not finite.
    """
    size = max(1, CHUNK_BYTES // (len(trajectory.atomic_numbers) * 24))
    first = 0
    while first < len(indices):
        last = first + 1
        while last < len(indices) and last - first < size and indices[last] == indices[last - 1] + 1:
            last += 1
        begin, end = indices[first], indices[last - 1] + 1
        piece, cells = trajectory.positions[begin:end], np.asarray(trajectory.cells[begin:end], dtype=float)
        for row, index in enumerate(range(begin, end)):
            check_finite(piece[row : row + 1], index)
            yield index, np.asarray(piece[row], dtype=float), cells[row]
        first = last


def cell_heights(cell: npt.ArrayLike) -> Array:
    """Return the distances between opposite faces of a cell, shape (3,), Å; rows of ``cell`` are lattice vectors."""
    matrix = np.asarray(cell, dtype=float)
    inverse = np.linalg.inv(matrix)
    return np.asarray(1.0 / np.linalg.norm(inverse, axis=0))


def check_pairs(pairs: Sequence[tuple[str, str]], species: Sequence[str]) -> None:
    """Check that both elements of every pair are there.

    Raises
    ------
    ValueError
        With the pair and what there is.
    """
    for pair in pairs:
        missing = [symbol for symbol in pair if symbol not in species]
        if missing:
            raise ValueError(
                f'the pair {"–".join(pair)} asks for {", ".join(missing)}, the atoms are {", ".join(species)}'
            )
