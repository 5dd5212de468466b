"""A universe of MDAnalysis as a trajectory, read frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .trajectory import Array, IntArray, atomic_number


class _Frames:
    """One array over all frames, of which only the slice that is asked for is read."""

    def __init__(self, reader: Any, read: Any) -> None:
        self._reader = reader
        self._read = read

    def __getitem__(self, key: int | slice) -> Array:
        if isinstance(key, slice):
            return np.array([self._read(self._reader[int(index)]) for index in range(*key.indices(len(self._reader)))])
        return np.asarray(self._read(self._reader[int(key)]))


class MDAnalysisTrajectory:
    """A universe or group of atoms of MDAnalysis as what the analysis reads.

    Positions are as the file has them: wrapped ones serve all structure analysis, but not displacements (see
    :mod:`~aiida_softclay.analysis.unwrap`).

    Parameters
    ----------
    atoms : MDAnalysis.Universe or MDAnalysis.AtomGroup
        The atoms; they must be the same in all frames.
    symbols : sequence of str, shape (n_atoms,), optional
        Chemical symbols; those of the topology if not given.

    Raises
    ------
    ValueError
        If there are no elements, no frames, or no periodic cell.
    """

    def __init__(self, atoms: Any, symbols: Sequence[str] | None = None) -> None:
        group = atoms.atoms
        if symbols is None:
            if not hasattr(group, 'elements'):
                raise ValueError('the topology has no elements: give the chemical symbols of the atoms')
            symbols = [str(symbol) for symbol in group.elements]
        if len(symbols) != len(group):
            raise ValueError(f'{len(symbols)} symbols were given for {len(group)} atoms')
        self._reader = group.universe.trajectory
        if self._reader.ts.triclinic_dimensions is None:
            raise ValueError('the frames have no periodic cell')
        self.atomic_numbers: IntArray = np.array([atomic_number(symbol) for symbol in symbols], dtype=np.int64)
        self._group = group
        self.timestep_ps = float(self._reader.dt)

    @property
    def steps(self) -> IntArray:
        """Number of each frame; :attr:`timestep_ps` lies between two."""
        return np.arange(len(self._reader), dtype=np.int64)

    @property
    def positions(self) -> _Frames:
        """Positions (n_frames, n_atoms, 3) in Å, read when sliced."""
        return _Frames(self._reader, lambda timestep: timestep.positions[self._group.indices].astype(float))

    @property
    def cells(self) -> _Frames:
        """Lattice vectors (n_frames, 3, 3) in Å as rows, read when sliced."""
        return _Frames(self._reader, lambda timestep: np.array(timestep.triclinic_dimensions, dtype=float))
