"""Two layers put on each other: as rigid bodies as close as ions allow, then pressed together."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from ase import Atoms

from aiida_softclay.structures.checks import density
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.packing import push_apart

#: How far an ion may be moved when the interface is closed, Å.
LARGEST_PUSH = 0.8
PRESS_SWEEPS = 200
#: Lateral shifts that are tried along each vector of the plane cell.
SHIFTS = 6


def contact_gap(lower: Atoms, upper: Atoms, shift: np.ndarray, table: np.ndarray) -> float:
    """Return the smallest distance between the faces of two rigid layers at which no ions are too close.

    For ions whose lateral distance is d and whose smallest distance is t, the heights must differ by √(t² − d²).

    Parameters
    ----------
    lower, upper : ase.Atoms
        Layers with the same plane cell.
    shift : ndarray, shape (2,), Å
        Lateral shift of the upper layer.
    table : ndarray, shape (119, 119), Å
        Smallest acceptable distances.

    Returns
    -------
    float
        In Å; between the highest ion of one and the lowest of the other, negative where the layers interlock.
    """
    below = lower.get_positions()[:, 2].max() - lower.get_positions()[:, 2]
    above = upper.get_positions()[:, 2] - upper.get_positions()[:, 2].min()
    limits = table[np.ix_(lower.get_atomic_numbers(), upper.get_atomic_numbers())]
    lateral = upper.get_positions()[None, :, :2] + shift - lower.get_positions()[:, None, :2]
    lateral = lateral @ np.linalg.inv(lower.cell[:2, :2])
    lateral -= np.rint(lateral)
    gap = -np.inf
    # The cell may be narrower than two contacts: the nearest images on all sides count.
    for image in itertools.product((-1, 0, 1), repeat=2):
        square = (((lateral + np.array(image)) @ lower.cell[:2, :2]) ** 2).sum(axis=2)
        needed = np.sqrt(np.maximum(limits**2 - square, 0.0)) - below[:, None] - above[None, :]
        gap = max(gap, float(np.where(square < limits**2, needed, -np.inf).max()))
    return gap


def stack_layers(lower: Atoms, upper: Atoms, table: np.ndarray) -> tuple[Atoms, dict[str, Any]]:
    """Put two layers on each other as closely as the ions' radii allow; return the slab with gap and shift."""
    nominal = lower.cell[2, 2] + upper.cell[2, 2]
    extents = [float(np.ptp(layer.get_positions()[:, 2])) for layer in (lower, upper)]
    # Rough layers may interlock, but not by more than leaves the slab at the density of its salts.
    least = max(0.5 * (nominal - sum(extents)), -0.45 * min(extents))
    best = (np.inf, np.zeros(2))
    for u, v in itertools.product(np.arange(SHIFTS) / SHIFTS, repeat=2):
        shift = np.array([u, v]) @ lower.cell[:2, :2]
        gap = max(contact_gap(lower, upper, shift, table), contact_gap(upper, lower, -shift, table), least)
        if gap < best[0] - 1e-6:
            best = (gap, shift)
    gap, shift = best
    low, high = lower.get_positions(), upper.get_positions()
    low[:, 2] -= low[:, 2].min()
    high += np.array([*shift, extents[0] + gap - high[:, 2].min()])
    cell = lower.cell[:].copy()
    cell[2] = (0, 0, sum(extents) + 2 * gap)
    slab = Atoms(
        numbers=np.concatenate([lower.get_atomic_numbers(), upper.get_atomic_numbers()]),
        positions=np.concatenate([low, high]),
        cell=cell,
        pbc=True,
        tags=np.repeat([0, 1], [len(lower), len(upper)]),
    )
    return slab, {
        'interface_gap_A': round(float(gap), 3),
        'lateral_shift_A': [round(float(value), 3) for value in shift],
    }


def press_together(
    slab: Atoms, mixture: Mixture, table: np.ndarray, fraction: float, min_length: float
) -> tuple[Atoms, float]:
    """Press a slab together along z towards a density, moving ions that come too close; return how far they moved.

    Rigid layers touch where single ions stick out and leave the rest of the interface empty.
    """
    actual = density(slab) / mixture.rule_density
    for wanted in np.arange(fraction, actual, -0.02):
        scale = actual / float(wanted)
        if slab.cell[2, 2] * scale < min_length:
            continue
        pressed = slab.copy()
        upper = pressed.get_tags() == 1
        positions = pressed.get_positions()
        closer = 0.5 * slab.cell[2, 2] * (1 - scale)
        positions[upper, 2] -= closer
        cell = pressed.cell[:].copy()
        cell[2, 2] *= scale
        packing = push_apart(pressed.get_atomic_numbers(), positions, cell, table, sweeps=PRESS_SWEEPS)
        if packing.violations == 0 and packing.largest_displacement <= LARGEST_PUSH:
            pressed.set_cell(cell)
            pressed.set_positions(packing.positions)
            return pressed, packing.largest_displacement
    return slab, 0.0
