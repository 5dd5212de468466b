"""One block of labelled frames in memory: many configurations of one ordered list of atoms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers as NUMBER_OF_SYMBOL  # noqa: N812
from ase.data import chemical_symbols

from .ordered_atoms import OrderedAtoms

if TYPE_CHECKING:
    from ase import Atoms

#: Per-frame arrays of a block and how they are stored. Energies and cells keep double precision: an energy of a
#: thousand eV in single precision would be good to 0.1 meV only, and cells carry the strain.
FRAME_DTYPES = {
    'positions': '<f4',
    'cells': '<f8',
    'energies': '<f8',
    'forces': '<f4',
    'virials': '<f4',
    'source_index': '<i4',
    'temperature': '<f4',
}


#: Volume below which a cell is none, Å³.
NO_VOLUME_A3 = 1e-6


class InvalidFramesError(ValueError):
    """Frames that cannot be stored: wrong shapes, numbers that are not finite, unknown elements."""


@dataclass
class FrameBlock(OrderedAtoms):
    """Labelled frames of one ordered list of atoms.

    Attributes
    ----------
    atomic_numbers : ndarray, shape (n_atoms,)
    positions : ndarray, shape (n_frames, n_atoms, 3), Å
    cells : ndarray, shape (n_frames, 3, 3), Å, rows are lattice vectors
    energies : ndarray, shape (n_frames,), eV per cell
    forces : ndarray, shape (n_frames, n_atoms, 3), eV/Å
    virials : ndarray, shape (n_frames, 3, 3), eV, or None
        Potential part only, positive in compression: ``-volume * ASE stress``, DeePMD's sign.
    temperature : ndarray, shape (n_frames,), K, or None
        Target temperature of the run the frame is from; nan where unknown.
    provenance : dict
        What is known of the origin: ``energy_kind`` and ``engine`` are checked and recorded by the file the block is
        appended to, the rest (``truncated``, ``n_steps`` …) is for the caller.
    """

    atomic_numbers: np.ndarray
    positions: np.ndarray
    cells: np.ndarray
    energies: np.ndarray
    forces: np.ndarray
    virials: np.ndarray | None = None
    temperature: np.ndarray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_symbols(cls, symbols: list[str], **arrays: Any) -> FrameBlock:
        """Make a block from chemical symbols instead of atomic numbers."""
        unknown = sorted({symbol for symbol in symbols if NUMBER_OF_SYMBOL.get(symbol, 0) < 1})
        if unknown:
            raise InvalidFramesError(f'unknown chemical symbols: {", ".join(unknown)}')
        return cls(atomic_numbers=np.array([NUMBER_OF_SYMBOL[symbol] for symbol in symbols]), **arrays)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(np.asarray(self.energies).reshape(-1))

    def taken(self, rows: np.ndarray) -> FrameBlock:
        """Return the frames chosen by a mask or by indices."""
        arrays: dict[str, Any] = {
            name: None if getattr(self, name) is None else np.asarray(getattr(self, name))[rows]
            for name in FRAME_DTYPES
            if name != 'source_index'
        }
        return FrameBlock(atomic_numbers=self.atomic_numbers, provenance=dict(self.provenance), **arrays)

    def validated(self) -> dict[str, np.ndarray]:
        """Return the arrays in their stored types after checking them.

        Returns
        -------
        dict
            The arrays named as in :data:`FRAME_DTYPES` (``virials`` missing if there are none) and
            ``atomic_numbers`` of type int32.

        Raises
        ------
        InvalidFramesError
            If a shape is wrong, an element unknown, a cell without volume or a number not finite; the message names
            the frames by index.
        """
        numbers = np.asarray(self.atomic_numbers)
        if numbers.ndim != 1 or not len(numbers):
            raise InvalidFramesError('atomic_numbers must be a list with at least one atom')
        if not np.issubdtype(numbers.dtype, np.integer) or numbers.min() < 1 or numbers.max() >= len(chemical_symbols):
            raise InvalidFramesError(f'atomic_numbers must be whole numbers from 1 to {len(chemical_symbols) - 1}')
        n_frames, n_atoms = self.n_frames, len(numbers)
        shapes: dict[str, tuple[int, ...]] = {
            'positions': (n_frames, n_atoms, 3),
            'cells': (n_frames, 3, 3),
            'energies': (n_frames,),
            'forces': (n_frames, n_atoms, 3),
            'virials': (n_frames, 3, 3),
        }
        checked: dict[str, np.ndarray] = {}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is None and name == 'virials':
                continue
            array = np.asarray(value, dtype=float)
            if array.shape != shape:
                raise InvalidFramesError(f'{name} has the shape {array.shape}, expected {shape}')
            self._refuse(
                ~np.isfinite(array.reshape(n_frames, -1)).all(axis=1), f'numbers in {name} that are not finite'
            )
            checked[name] = array
        self._refuse(np.abs(np.linalg.det(checked['cells'])) < NO_VOLUME_A3, 'a cell without volume')
        temperature = (
            np.full(n_frames, np.nan) if self.temperature is None else np.asarray(self.temperature, dtype=float)
        )
        if temperature.shape != (n_frames,):
            raise InvalidFramesError(f'temperature has the shape {temperature.shape}, expected {(n_frames,)}')
        self._refuse(np.isinf(temperature) | (temperature < 0), 'a negative or infinite temperature')
        checked['temperature'] = temperature
        stored = {name: np.ascontiguousarray(array, dtype=FRAME_DTYPES[name]) for name, array in checked.items()}
        stored['atomic_numbers'] = np.ascontiguousarray(numbers, dtype='<i4')
        return stored

    @staticmethod
    def _refuse(bad: np.ndarray, what: str) -> None:
        indices = np.flatnonzero(bad)
        if len(indices):
            shown = ', '.join(str(index) for index in indices[:10]) + (', …' if len(indices) > 10 else '')
            raise InvalidFramesError(f'{what} in {len(indices)} frame(s) of the block, index {shown}')


def usable_frames(block: FrameBlock) -> np.ndarray:
    """Return which frames of a block have finite numbers and a cell with volume.

    Returns
    -------
    ndarray of bool, shape (n_frames,)
    """
    n_frames = block.n_frames
    good = np.ones(n_frames, dtype=bool)
    for array in (block.positions, block.cells, block.energies, block.forces, block.virials):
        if array is not None and n_frames:
            good &= np.isfinite(np.asarray(array).reshape(n_frames, -1)).all(axis=1)
    # The determinant of a cell with nan is nan, which is not larger either.
    with np.errstate(invalid='ignore'):
        return good & (np.abs(np.linalg.det(np.asarray(block.cells, dtype=float))) >= NO_VOLUME_A3)


def block_atoms(block: FrameBlock, index: int) -> Atoms:
    """Return frame ``index`` of a block as ASE atoms with energy, forces and stress."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.stress import full_3x3_to_voigt_6_stress

    atoms = Atoms(block.atomic_numbers, positions=block.positions[index], cell=block.cells[index], pbc=True)
    labels = {'energy': float(block.energies[index]), 'forces': block.forces[index].astype(float)}
    if block.virials is not None:
        labels['stress'] = full_3x3_to_voigt_6_stress(-block.virials[index].astype(float) / atoms.get_volume())
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms
