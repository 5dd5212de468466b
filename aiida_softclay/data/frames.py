"""Labelled frames as an AiiDA node."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .frames_file import FramesFile
from .hdf5_node import Hdf5Data


class FramesData(Hdf5Data):
    """Labelled frames (positions, cells, energies, forces, virials) of any number of compositions.

    Make one with ``FramesData.from_file('frames.h5')``; read it with ``with node.open_frames() as frames``, which
    gives a :class:`~aiida_softclay.data.frames_file.FramesFile`.
    """

    FILE_NAME: ClassVar[str] = 'frames.h5'

    @staticmethod
    def _summarise(path: Path) -> dict[str, Any]:
        with FramesFile(path) as frames:
            lowest: list[float] = []
            highest: list[float] = []
            composition: dict[str, int] = {}
            atoms: list[int] = []
            with_virials = 0
            for view in frames.blocks():
                composition[view.formula] = composition.get(view.formula, 0) + view.n_frames
                atoms.append(view.n_atoms)
                with_virials += view.n_frames if view.virials is not None else 0
                temperature = view.temperature[:]
                temperature = temperature[np.isfinite(temperature)]
                if len(temperature):
                    lowest.append(float(temperature.min()))
                    highest.append(float(temperature.max()))
            if frames.n_frames == 0:
                raise ValueError('it holds no frame')
            return {
                'n_frames': frames.n_frames,
                'n_frames_with_virial': with_virials,
                'n_blocks': len(atoms),
                'formulas': frames.formulas,
                'frames_per_formula': dict(sorted(composition.items())),
                'elements': frames.elements,
                'n_atoms_range': [min(atoms), max(atoms)],
                'temperature_range': [min(lowest), max(highest)] if lowest else None,
                'energy_kind': frames.energy_kind,
                'virial_convention': frames.virial_convention,
                'engine': frames.engine,
                'source_labels': sorted({str(source.get('label', '')) for source in frames.sources}),
                'content_hash': frames.content_hash(),
            }

    def __repr__(self) -> str:
        kind = (
            f'{self.n_frames} frames of {", ".join(self.formulas)}'
            if 'n_frames' in self.base.attributes.all
            else 'empty'
        )
        return f'<{self.__class__.__name__}: {kind}, uuid: {self.uuid} (pk: {self.pk})>'

    @contextlib.contextmanager
    def open_frames(self) -> Iterator[FramesFile]:
        """Open the frames for reading."""
        with self._local_file() as path, FramesFile(path) as frames:
            yield frames

    @contextlib.contextmanager
    def open_path(self) -> Iterator[Path]:
        """Yield a path of the file for reading only, for functions that take paths."""
        with self._local_file() as path:
            yield path

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.base.attributes.get('n_frames')

    @property
    def formulas(self) -> list[str]:
        """Full formulas of the compositions."""
        return self.base.attributes.get('formulas')

    @property
    def elements(self) -> list[str]:
        """Chemical symbols, ordered by atomic number."""
        return self.base.attributes.get('elements')

    @property
    def temperature_range(self) -> tuple[float, float] | None:
        """Lowest and highest target temperature, K; None if unknown."""
        value = self.base.attributes.get('temperature_range')
        return None if value is None else (value[0], value[1])

    @property
    def energy_kind(self) -> str:
        """Which energy the labels are."""
        return self.base.attributes.get('energy_kind')

    @property
    def virial_convention(self) -> str:
        """Sign, unit and content of the virials."""
        return self.base.attributes.get('virial_convention')

    @property
    def engine(self) -> dict[str, Any]:
        """Program, version, model or functional that computed the labels."""
        return self.base.attributes.get('engine')
