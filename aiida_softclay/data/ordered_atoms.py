"""What an ordered list of atoms says of itself."""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula


class OrderedAtoms:
    """Number, symbols and formula of what has ``atomic_numbers``, shape (n_atoms,)."""

    atomic_numbers: np.ndarray

    @property
    def n_atoms(self) -> int:
        """Number of atoms of every frame."""
        return len(self.atomic_numbers)

    @property
    def symbols(self) -> list[str]:
        """Chemical symbols in the order of the atoms."""
        return [chemical_symbols[number] for number in self.atomic_numbers]

    @property
    def formula(self) -> str:
        """Full formula of the cell, metals first, for example ``'Li16Cl16'``."""
        return str(Formula.from_list(self.symbols).format('metal'))
