"""Layers put on each other: as rigid bodies as close as ions allow, then pressed together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from aiida_softclay.structures.checks import density
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.neighbours import contact_violations
from aiida_softclay.structures.packing import push_apart

#: How far an ion may be moved when the interface is closed, Å.
LARGEST_PUSH = 0.8
PRESS_SWEEPS = 200
#: Lateral shifts that are tried along each vector of the plane cell.
SHIFTS = 6
#: Step by which all gaps are opened where layers meet through a thin one, Å.
OPENING = 0.25


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
    depth = below[:, None] + above[None, :]

    def needed(fractional: np.ndarray, closest: np.ndarray, apart: np.ndarray) -> float:
        room = closest**2 - ((fractional @ lower.cell[:2, :2]) ** 2).sum(axis=-1)
        touching = room > 0
        return float((np.sqrt(room[touching]) - apart[touching]).max(initial=-np.inf))

    gap = needed(lateral, limits, depth)
    # Only pairs that would need more than that if they were above each other are worth a look at their images.
    outer = limits - depth > gap
    lateral, limits, depth = lateral[outer], limits[outer], depth[outer]
    # The cell may be narrower than two contacts: the nearest images on all sides count.
    for image in itertools.product((-1, 0, 1), repeat=2):
        gap = max(gap, needed(lateral + np.array(image), limits, depth))
    return gap


def stack_layers(layers: Sequence[Atoms], table: np.ndarray) -> tuple[Atoms, dict[str, Any]]:
    """Put layers on each other, the first on the last again, as closely as the ions' radii allow.

    Parameters
    ----------
    layers : sequence of ase.Atoms
        Two or more, of one plane cell, from below.
    table : ndarray, shape (119, 119), Å
        Smallest acceptable distances.

    Returns
    -------
    slab : ase.Atoms
        Periodic; the array ``tags`` holds the number of the layer of every atom.
    report : dict
        Largest gap between two layers and lateral shifts, Å; JSON-serialisable.
    """
    nominal = sum(layer.cell[2, 2] for layer in layers)
    extents = [float(np.ptp(layer.get_positions()[:, 2])) for layer in layers]
    plane = layers[0].cell[:2, :2]
    shifts, gaps = [np.zeros(2)], []
    for index in range(1, len(layers)):
        lower, upper, last = layers[index - 1], layers[index], index == len(layers) - 1
        # Rough layers may interlock, but not by more than leaves the slab at the density of its salts.
        thinnest = min(extents[index - 1], extents[index], *(extents[:1] if last else []))
        least = max((nominal - sum(extents)) / len(layers), -0.45 * thinnest)
        best = (np.inf, np.zeros(2))
        for u, v in itertools.product(np.arange(SHIFTS) / SHIFTS, repeat=2):
            shift = np.array([u, v]) @ plane
            gap = max(contact_gap(lower, upper, shift - shifts[-1], table), least)
            if last:
                gap = max(gap, contact_gap(upper, layers[0], -shift, table))
            if gap < best[0] - 1e-6:
                best = (gap, shift)
        gaps.append(float(best[0]))
        shifts.append(best[1])
    gaps.append(gaps[-1])
    slab = _pile(layers, shifts, gaps)
    # A layer of a few atoms may leave holes through which the layers on both of its sides meet.
    while len(layers) > 2 and _layers_overlap(slab, table):
        gaps = [gap + OPENING for gap in gaps]
        slab = _pile(layers, shifts, gaps)
    lateral = [[round(float(value), 3) for value in shift] for shift in shifts[1:]]
    report: dict[str, Any] = {'interface_gap_A': round(max(gaps), 3)}
    if len(layers) == 2:
        return slab, report | {'lateral_shift_A': lateral[0]}
    return slab, report | {'interface_gaps_A': [round(gap, 3) for gap in gaps], 'lateral_shifts_A': lateral}


def _pile(layers: Sequence[Atoms], shifts: Sequence[np.ndarray], gaps: Sequence[float]) -> Atoms:
    """Return the slab of layers with these shifts, and these gaps above each."""
    placed, height = [], 0.0
    for layer, shift, gap in zip(layers, shifts, gaps, strict=True):
        positions = layer.get_positions()
        positions += np.array([*shift, height - positions[:, 2].min()])
        placed.append(positions)
        height += float(np.ptp(positions[:, 2])) + gap
    cell = layers[0].cell[:].copy()
    cell[2] = (0, 0, height)
    return Atoms(
        numbers=np.concatenate([layer.get_atomic_numbers() for layer in layers]),
        positions=np.concatenate(placed),
        cell=cell,
        pbc=True,
        tags=np.repeat(np.arange(len(layers)), [len(layer) for layer in layers]),
    )


def _layers_overlap(slab: Atoms, table: np.ndarray) -> bool:
    first, second, _, _ = contact_violations(slab.get_atomic_numbers(), slab.get_positions(), slab.cell[:], table)
    return bool((slab.get_tags()[first] != slab.get_tags()[second]).any())


def press_together(
    slab: Atoms, mixture: Mixture, table: np.ndarray, fraction: float, min_length: float
) -> tuple[Atoms, float]:
    """Press a slab together along z towards a density, moving ions that come too close; return how far they moved.

    Rigid layers touch where single ions stick out and leave the rest of the interface empty.
    """
    actual = density(slab) / mixture.rule_density
    layers = int(slab.get_tags().max()) + 1
    for wanted in np.arange(fraction, actual, -0.02):
        scale = actual / float(wanted)
        if slab.cell[2, 2] * scale < min_length:
            continue
        pressed = slab.copy()
        positions = pressed.get_positions()
        # Every interface gives the same part of the height.
        positions[:, 2] -= pressed.get_tags() / layers * slab.cell[2, 2] * (1 - scale)
        cell = pressed.cell[:].copy()
        cell[2, 2] *= scale
        packing = push_apart(pressed.get_atomic_numbers(), positions, cell, table, sweeps=PRESS_SWEEPS)
        if packing.violations == 0 and packing.largest_displacement <= LARGEST_PUSH:
            pressed.set_cell(cell)
            pressed.set_positions(packing.positions)
            return pressed, packing.largest_displacement
    return slab, 0.0
