"""Molecular-dynamics trajectory as an AiiDA node."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from aiida.orm import StructureData

from .hdf5_node import Hdf5Data
from .trajectory_file import TrajectoryFile


class MdTrajectoryData(Hdf5Data):
    """A trajectory: unwrapped positions, a cell per frame, absolute steps.

    Make one with ``MdTrajectoryData.from_file('trajectory.h5')``; read it with
    ``with node.open_trajectory() as trajectory``, which gives a
    :class:`~aiida_softclay.data.trajectory_file.TrajectoryFile` whose arrays are read when sliced.
    """

    FILE_NAME: ClassVar[str] = 'trajectory.h5'

    @staticmethod
    def _summarise(path: Path) -> dict[str, Any]:
        with TrajectoryFile(path) as trajectory:
            steps = trajectory.steps[:]
            if not len(steps):
                raise ValueError('it holds no frame')
            strides = np.unique(np.diff(steps))
            return {
                'n_frames': trajectory.n_frames,
                'n_atoms': trajectory.n_atoms,
                'formula': trajectory.formula,
                'symbol_counts': dict(sorted(Counter(trajectory.symbols).items())),
                'timestep_ps': trajectory.timestep_ps,
                'first_step': int(steps[0]),
                'last_step': int(steps[-1]),
                'stride_steps': int(strides[0]) if len(strides) == 1 else None,
                'engine': trajectory.engine,
                'stage': trajectory.stage,
                'encoding': trajectory.encoding,
                'resolution_A': trajectory.resolution,
                'content_hash': trajectory.content_hash(),
            }

    def __repr__(self) -> str:
        about = 'empty'
        if 'n_frames' in self.base.attributes.all:
            about = f'{self.n_frames} frames of {self.formula}, steps {self.first_step} to {self.last_step}'
        return f'<{self.__class__.__name__}: {about}, uuid: {self.uuid} (pk: {self.pk})>'

    @contextlib.contextmanager
    def open_trajectory(self) -> Iterator[TrajectoryFile]:
        """Open the trajectory for reading."""
        with self._local_file() as path, TrajectoryFile(path) as trajectory:
            yield trajectory

    @contextlib.contextmanager
    def open_path(self) -> Iterator[Path]:
        """Yield a path of the file for reading only, for functions that take paths."""
        with self._local_file() as path:
            yield path

    def get_step_structure(self, index: int) -> StructureData:
        """Return frame ``index`` (negative from the end) as a structure with unwrapped positions.

        Raises
        ------
        IndexError
            If there is no such frame.
        """
        if not -self.n_frames <= index < self.n_frames:
            raise IndexError(f'there is no frame {index}: the trajectory has {self.n_frames} frames')
        with self.open_trajectory() as trajectory:
            return StructureData(ase=trajectory.atoms(index % self.n_frames))

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.base.attributes.get('n_frames')

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.base.attributes.get('n_atoms')

    @property
    def formula(self) -> str:
        """Full formula of the cell."""
        return self.base.attributes.get('formula')

    @property
    def symbol_counts(self) -> dict[str, int]:
        """Number of atoms of each element."""
        return self.base.attributes.get('symbol_counts')

    @property
    def timestep_ps(self) -> float:
        """Time step, ps."""
        return self.base.attributes.get('timestep_ps')

    @property
    def first_step(self) -> int:
        """Absolute step of the first frame."""
        return self.base.attributes.get('first_step')

    @property
    def last_step(self) -> int:
        """Absolute step of the last frame."""
        return self.base.attributes.get('last_step')

    @property
    def stride_steps(self) -> int | None:
        """Steps between frames, None if not constant."""
        return self.base.attributes.get('stride_steps')

    @property
    def resolution(self) -> float | None:
        """Spacing in Å of the grid to which positions are rounded, None if they have single precision."""
        return self.base.attributes.get('resolution_A', None)

    @property
    def engine(self) -> dict[str, Any]:
        """Program, version and potential that made it."""
        return self.base.attributes.get('engine')

    @property
    def stage(self) -> str:
        """Stage of the plan."""
        return self.base.attributes.get('stage')
