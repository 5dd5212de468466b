"""Neutral layers of whole formula units, carved from a crystal along [001] and strained in the plane."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms

from aiida_softclay.structures.crystals import Phase


def carve_layer(base: Atoms, phase: Phase, matrix: np.ndarray, target: np.ndarray, formula_units: int) -> Atoms:
    """Return a layer of whole formula units of a crystal, strained to a plane cell at constant volume.

    Of each element the atoms nearest to a middle plane are taken, as many as the formula units hold; where a plane
    of atoms is only partly needed, it is filled evenly and from both sides alternately. So the layer is neutral and,
    where the crystal's own terminations are polar, its surface charge is halved on both sides instead of left on one.

    Parameters
    ----------
    base : ase.Atoms
        Crystal of the salt with the cell of :func:`~aiida_softclay.structures.lattice_match.plane_primitive`.
    phase : Phase
        The salt.
    matrix : ndarray, shape (2, 2), int
        Supercell of the plane-primitive cell.
    target : ndarray, shape (2, 2), Å
        Cell the supercell is strained to.
    formula_units : int
        How many.

    Returns
    -------
    ase.Atoms
        Cell: ``target`` and the thickness that formula units of the crystal's volume fill; the layer's middle at z = 0.
    """
    units_per_cell = len(base) // sum(phase.composition.values())
    plane_cells = round(abs(float(np.linalg.det(matrix))))
    spacing = base.get_volume() / float(np.linalg.norm(np.cross(base.cell[0], base.cell[1])))
    repeats = math.ceil(formula_units / (plane_cells * units_per_cell)) + 2
    fractional = base.get_scaled_positions() % 1.0
    span = range(-int(np.abs(matrix).sum()), int(np.abs(matrix).sum()) + 1)
    shifts = np.array([(i, j) for i in span for j in span])
    plane = np.linalg.inv(matrix)
    positions, numbers = [], []
    lateral = base.cell[2, :2] @ np.linalg.inv(base.cell[:2, :2])
    for layer in range(repeats):
        # The third vector may lean: what it moves sideways is taken along, in units of the plane cell.
        flat = fractional[:, :2] + (fractional[:, 2:] + layer) * lateral
        scaled = (flat[:, None] + shifts[None]) @ plane
        inside = np.all((scaled > -1e-7) & (scaled < 1 - 1e-7), axis=2)
        owner, shift = np.nonzero(inside)
        z = (fractional[owner, 2] + layer) * spacing
        positions.append(np.column_stack([scaled[owner, shift], z]))
        numbers.append(base.get_atomic_numbers()[owner])
    points, species = np.concatenate(positions), np.concatenate(numbers)
    wanted = {symbol: count * formula_units for symbol, count in phase.composition.items()}
    symbols = np.array(Atoms(numbers=species).get_chemical_symbols())
    height = repeats * spacing
    planes = np.unique(np.round(points[:, 2], 4))
    middle = height / 2
    near = planes[np.abs(planes - middle) <= spacing / 2 + 1e-6]
    candidates = np.unique(np.round(np.concatenate([near, (near[1:] + near[:-1]) / 2]), 6))
    best: tuple[float, float, np.ndarray] | None = None
    for centre in candidates:
        chosen, cost = _select(points, symbols, wanted, float(centre))
        if best is None or cost < best[0] - 1e-6:
            best = (cost, float(centre), chosen)
    assert best is not None  # noqa: S101 - there is always a plane of atoms near the middle
    _, centre, chosen = best
    squeeze = plane_cells * abs(np.linalg.det(base.cell[:2, :2])) / abs(np.linalg.det(target))
    thickness = formula_units * phase.volume / abs(np.linalg.det(target))
    xyz = np.column_stack([points[chosen, :2] @ target, (points[chosen, 2] - centre) * squeeze])
    cell = np.zeros((3, 3))
    cell[:2, :2] = target
    cell[2, 2] = thickness
    return Atoms(numbers=species[chosen], positions=xyz, cell=cell, pbc=True)


def _select(points: np.ndarray, symbols: np.ndarray, wanted: dict[str, int], centre: float) -> tuple[np.ndarray, float]:
    """Return the atoms nearest to a plane, so many of each element, and how lopsided the choice is."""
    chosen: list[int] = []
    dipole = 0.0
    for symbol, count in wanted.items():
        members = np.flatnonzero(symbols == symbol)
        distance = np.round(np.abs(points[members, 2] - centre), 4)
        taken: list[int] = []
        for level in np.unique(distance):
            shell = members[distance == level]
            room = count - len(taken)
            if room <= 0:
                break
            if len(shell) > room:
                shell = _spread(points, shell, room, centre)
            taken += shell.tolist()
        chosen += taken
        dipole += abs(float((points[taken, 2] - centre).mean()))
    order = np.array(chosen)
    spread = float(points[order, 2].max() - points[order, 2].min())
    return order, dipole + 0.01 * spread


def _spread(points: np.ndarray, members: np.ndarray, count: int, centre: float) -> np.ndarray:
    """Return ``count`` atoms of a layer, evenly over the plane, as many above the centre as below."""
    above = members[points[members, 2] > centre + 1e-6]
    below = members[points[members, 2] <= centre + 1e-6]
    larger, smaller = (above, below) if len(above) >= len(below) else (below, above)
    first = min(math.ceil(count / 2), len(larger))
    second = min(count - first, len(smaller))
    first = count - second
    result = []
    for group, number in ((larger, first), (smaller, second)):
        # Each next one is the farthest from those picked before it.
        nearest = np.full(len(group), np.inf)
        picked: list[int] = []
        for _ in range(number):
            chosen = int(np.argmax(nearest))
            picked.append(int(group[chosen]))
            gaps = points[group, :2] - points[group[chosen], :2]
            gaps -= np.rint(gaps)
            nearest = np.minimum(nearest, np.round((gaps**2).sum(axis=1), 6))
            nearest[chosen] = -1.0
        result += picked
    return np.array(result, dtype=int)
