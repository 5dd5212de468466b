"""Structures in LAMMPS' orientation: the cell rotated to lower triangular form, and the data file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

CELL_TOLERANCE = 1e-3


@dataclass(frozen=True)
class LammpsCell:
    """A cell in LAMMPS' convention and how to get there.

    Attributes
    ----------
    cell : ndarray, shape (3, 3), Å
        Lower triangular: a along x, b in the xy plane; rows are lattice vectors; positive diagonal.
    rotation : ndarray, shape (3, 3)
        Proper rotation Q with ``vector_lammps = vector @ Q`` for row vectors.
    """

    cell: NDArray[np.float64]
    rotation: NDArray[np.float64]


def lammps_cell(cell: NDArray[np.float64]) -> LammpsCell:
    """Return the cell in LAMMPS' convention, by the QR decomposition of its transpose.

    A left-handed cell spans the same lattice as the right-handed one with the third vector reversed, which is used
    instead, since LAMMPS knows right-handed cells only and a mirror image would be another structure.

    Raises
    ------
    ValueError
        If the cell is flat or not finite.
    """
    vectors = np.array(cell, dtype=float)
    if vectors.shape != (3, 3) or not np.isfinite(vectors).all():
        raise ValueError('the cell is not three finite vectors')
    determinant = float(np.linalg.det(vectors))
    if abs(determinant) < CELL_TOLERANCE:
        raise ValueError(
            'the cell has no volume: molecular dynamics here needs a cell that is periodic in all directions'
        )
    if determinant < 0:
        vectors[2] *= -1.0
    orthogonal, upper = np.linalg.qr(vectors.T)
    signs = np.sign(np.diag(upper))
    orthogonal, upper = orthogonal * signs, (upper.T * signs).T
    lower = np.tril(upper.T)
    # Rounding of a cell that is lower triangular already must not turn into a tilt.
    lower[np.abs(lower) < 1e-12 * np.abs(lower).max()] = 0.0
    return LammpsCell(lower, orthogonal)


def elements_in_order(symbols: Sequence[str]) -> list[str]:
    """Return the distinct element symbols in order of first appearance."""
    return list(dict.fromkeys(symbols))


def data_file(
    symbols: Sequence[str],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    elements: Sequence[str],
    charges: Mapping[str, float] | None = None,
    velocities: NDArray[np.float64] | None = None,
) -> str:
    """Return a LAMMPS data file with ``atom_style charge`` and atom ids in the order of the input.

    Parameters
    ----------
    symbols : sequence of str, length n_atoms
    positions : ndarray, shape (n_atoms, 3), Å
        In the orientation of ``cell``.
    cell : ndarray, shape (3, 3), Å
        Lower triangular, see :func:`lammps_cell`.
    elements : sequence of str
        Element of each atom type, all of them, also those that do not occur.
    charges : mapping, optional
        Charge of each element in e, 0 if not given.
    velocities : ndarray, shape (n_atoms, 3), Å/ps, optional
    """
    charges = charges or {}
    type_of = {element: number for number, element in enumerate(elements, start=1)}
    lines = [
        'LAMMPS data file written by aiida-softclay (units metal)',
        '',
        f'{len(symbols)} atoms',
        f'{len(elements)} atom types',
        '',
        f'0.0 {cell[0, 0]:.16g} xlo xhi',
        f'0.0 {cell[1, 1]:.16g} ylo yhi',
        f'0.0 {cell[2, 2]:.16g} zlo zhi',
        # The tilt line makes the box triclinic from the start, which any later shear needs.
        f'{cell[1, 0]:.16g} {cell[2, 0]:.16g} {cell[2, 1]:.16g} xy xz yz',
        '',
        'Masses',
        '',
    ]
    lines += [f'{type_of[element]} {atomic_masses[atomic_numbers[element]]:.6f} # {element}' for element in elements]
    lines += ['', 'Atoms # charge', '']
    lines += [
        f'{index} {type_of[symbol]} {charges.get(symbol, 0.0):.10g} {x:.12f} {y:.12f} {z:.12f}'
        for index, (symbol, (x, y, z)) in enumerate(zip(symbols, positions, strict=True), start=1)
    ]
    if velocities is not None:
        lines += ['', 'Velocities', '']
        lines += [f'{index} {x:.12g} {y:.12g} {z:.12g}' for index, (x, y, z) in enumerate(velocities, start=1)]
    return '\n'.join([*lines, ''])
