"""Which numbers of formula units and which common in-plane cells a slab of given salts may have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from ase import Atoms

from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.lattice_match import PlaneMatch, match_layers, plane_primitive
from aiida_softclay.structures.solid_solution import Constituent

#: Distance from the wanted size, demerit, area, formula units of each layer, match.
Option = tuple[float, float, float, tuple[int, ...], PlaneMatch]


class SlabError(ValueError):
    """No slab fits the wishes; the message says which to relax."""


def layer_units(kinds: tuple[Constituent, ...], mixture: Mixture, max_atoms: int) -> list[tuple[int, ...]]:
    """Return formula units of each layer: those with the exact ratio of all salts, or else the nearest ratios."""
    units = [sum(kind.units) for kind in kinds]
    exact = [tuple(n * k for n in units) for k in range(1, max_atoms // mixture.atoms_per_unit + 1)]
    if exact:
        return exact
    if len(kinds) > 2:
        raise SlabError(
            f'a slab of {mixture} needs at least {mixture.atoms_per_unit} atoms for its ratio, more than max_atoms = '
            f'{max_atoms}: raise max_atoms or take a simpler ratio'
        )
    sizes = [_atoms_per_unit(kind) for kind in kinds]
    wanted = math.log(units[0] / units[1])
    # Every salt of a solution must be there.
    least = [math.ceil(sum(kind.units) / min(kind.units)) if kind.is_solution else 1 for kind in kinds]
    pairs = [
        (i, j)
        for i in range(least[0], max_atoms // sizes[0] + 1)
        for j in range(least[1], (max_atoms - i * sizes[0]) // sizes[1] + 1)
    ]
    if not pairs:
        raise SlabError(f'{max_atoms} atoms hold no formula unit of each salt of {mixture}: raise max_atoms')
    nearest = min(abs(math.log(i / j) - wanted) for i, j in pairs)
    return [(i, j) for i, j in pairs if abs(math.log(i / j) - wanted) < nearest + 1e-9]


def plane_size(matrix: np.ndarray) -> int:
    """Return how many primitive plane cells a supercell holds."""
    return round(abs(float(np.linalg.det(matrix))))


def wanted_plane_sizes(kinds: tuple[Constituent, ...], plane_cells: Mapping[str, int]) -> tuple[int, ...]:
    """Return the primitive plane cells that are asked for of each layer; refuse names that are no layers."""
    names = [kind.name for kind in kinds]
    if set(plane_cells) != set(names):
        raise SlabError(f'plane_cells must name {" and ".join(names)}, not {", ".join(plane_cells)}')
    return tuple(int(plane_cells[name]) for name in names)


def slab_options(
    kinds: tuple[Constituent, ...],
    volumes: dict[tuple[int, ...], float],
    max_area: float,
    limits: tuple[float, float, float],
    n_atoms: int | None,
    plane_sizes: tuple[int, ...] | None,
) -> list[Option]:
    """Return all slabs within the limits: distance from the wanted size, demerit, area, formula units, match."""
    min_length, height, max_strain = limits
    options = []
    for match in _matches(kinds, min_length, max_area, max_strain):
        if plane_sizes is not None and plane_sizes != tuple(plane_size(matrix) for matrix in match.matrices):
            continue
        for units, volume in volumes.items():
            if volume / match.area < height:
                continue
            size = sum(number * _atoms_per_unit(kind) for number, kind in zip(units, kinds, strict=True))
            distance = float(size if n_atoms is None else abs(size - n_atoms))
            rough = sum(_partial(n, kind, m) for n, kind, m in zip(units, kinds, match.matrices, strict=True))
            options.append((distance, match.strain + 0.05 * rough, match.area, units, match))
    return options


def _matches(kinds: tuple[Constituent, ...], min_length: float, max_area: float, max_strain: float) -> list[PlaneMatch]:
    cells = [plane_cell(kind)[0].cell[:2, :2] for kind in kinds]
    amounts = [sum(kind.units) * kind.phase.volume for kind in kinds]
    return match_layers(cells, amounts, min_length=min_length, max_area=max_area, max_strain=max_strain)


def _atoms_per_unit(kind: Constituent) -> int:
    return sum(kind.phase.composition.values())


def plane_cell(kind: Constituent) -> tuple[Atoms, float]:
    """Return the plane-primitive crystal of a layer and its formula units per atomic layer."""
    # The crystal of a single salt is the same in every mixture.
    return _plane_base(kind if kind.is_solution else Constituent(kind.salts, (1,)))


@lru_cache(maxsize=64)
def _plane_base(kind: Constituent) -> tuple[Atoms, float]:
    base = plane_primitive(kind.phase.to_atoms())
    levels = len(np.unique(np.round(base.get_scaled_positions()[:, 2] % 1.0, 3)))
    per_cell = len(base) // _atoms_per_unit(kind)
    return base, per_cell / max(1, levels // len(kind.phase.composition))


def _partial(units: int, kind: Constituent, matrix: np.ndarray) -> float:
    """Return how far the number of formula units is from filling whole atomic layers of the crystal (0 to 0.5)."""
    per_layer = plane_cell(kind)[1] * round(abs(float(np.linalg.det(matrix))))
    return abs(units / per_layer - round(units / per_layer))


def refusal(
    mixture: Mixture,
    kinds: tuple[Constituent, ...],
    min_length: float,
    height: float,
    max_atoms: int,
    max_strain: float,
) -> str:
    """Return what to change so that a slab exists."""
    wish = f'no slab of {mixture} with at most {max_atoms} atoms is {min_length:g} Å wide and {height:g} Å high'
    smallest = min_length**2 * height
    needed = math.ceil(smallest / mixture.unit_volume) * mixture.atoms_per_unit
    if needed > max_atoms:
        return f'{wish}: that takes about {needed} atoms; raise max_atoms or lower min_length'
    area = max_atoms / mixture.atoms_per_unit * mixture.unit_volume / height
    relaxed = _matches(kinds, min_length, area, 0.25)
    if relaxed:
        return (
            f'{wish} with a strain of at most {max_strain:.1%}: the least is {relaxed[0].strain:.1%}; '
            'raise max_strain or max_atoms'
        )
    return f'{wish}; raise max_atoms or max_strain, or lower min_length'
