"""Panels of density maps: the probability density of an element seen along a lattice vector."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from aiida import orm

from aiida_softclay.report.registry import Panel, Source, panels_for
from aiida_softclay.report.style import INK, colour_bar, element_colour, label, power_text

Array = npt.NDArray[np.float64]


@panels_for('density_map')
def density_map(source: Source) -> Iterator[Panel]:
    """Yield a projection of the density of each element that was mapped (you2025, Fig. 4b and c)."""
    for name in sorted(source.files):
        if name.startswith('cube_'):
            species = name.removeprefix('cube_')
            row = source.row(f'isosurface_volume.{species}')
            isovalue = None if row is None else row['conditions'].get('isovalue_per_A3')
            yield (
                f'density_{species}', source.files[name],
                lambda axes, node, species=species, isovalue=isovalue: _projection(axes, node, species, isovalue),
            )  # fmt: skip


def read_cube_node(node: orm.SinglefileData) -> tuple[Array, Array]:
    """Return the density (Å⁻³) of a cube file and its cell (Å)."""
    from ase.io.cube import read_cube

    found = read_cube(io.StringIO(node.get_content()))
    return np.asarray(found['data'], dtype=float), np.asarray(found['atoms'].cell[:], dtype=float)


def project(density: Array, cell: Array) -> tuple[Array, Array, Array]:
    """Return the line integral of a density along the third lattice vector, and where its points are in that view.

    Parameters
    ----------
    density : ndarray, shape (nx, ny, nz)
        Å⁻³.
    cell : ndarray, shape (3, 3)
        Rows are the lattice vectors, Å.

    Returns
    -------
    across, up : ndarray, shape (nx + 1, ny + 1)
        Corners of the pixels perpendicular to the third lattice vector, Å; a grid point is the middle of its pixel.
    integral : ndarray, shape (nx, ny)
        Å⁻²; its integral over the view is that of the density over the cell.
    """
    depth = float(np.linalg.norm(cell[2]))
    along = cell[2] / depth
    first = cell[0] - (cell[0] @ along) * along
    right = first / np.linalg.norm(first)
    view = np.array([right, np.cross(along, right)])
    nx, ny, nz = density.shape
    a, b = np.meshgrid((np.arange(nx + 1) - 0.5) / nx, (np.arange(ny + 1) - 0.5) / ny, indexing='ij')
    points = a[..., None] * (view @ cell[0]) + b[..., None] * (view @ cell[1])
    return points[..., 0], points[..., 1], density.sum(axis=2) * depth / nz


def _projection(axes: Any, node: orm.SinglefileData, species: str, isovalue: float | None) -> None:
    """Draw the density integrated along the view, and the outline of the isosurface of the paper."""
    density, cell = read_cube_node(node)
    across, up, integral = project(density, cell)
    image = axes.pcolormesh(across, up, integral, cmap='cividis', vmin=0, rasterized=True)
    colour_bar(axes, image, label('∫P dz', 'Å^-2'))
    highest = density.max(axis=2)
    if isovalue and highest.min() < isovalue < highest.max():
        middle = [0.25 * (edge[1:, 1:] + edge[1:, :-1] + edge[:-1, 1:] + edge[:-1, :-1]) for edge in (across, up)]
        axes.contour(*middle, highest, levels=[isovalue], colors=['white'], linewidths=0.6)
        axes.plot([], [], color='#a0a0a0', lw=0.8, label=f'isosurface {power_text(isovalue)} Å⁻³ (white)')
        axes.legend(loc='upper left', bbox_to_anchor=(0, -0.2))
    axes.set_aspect('equal')
    for side in ('top', 'right'):
        axes.spines[side].set_visible(True)
    axes.set(xlabel=label('x', 'Å'), ylabel=label('y', 'Å'), title=f'Where {species} is, seen along c')
    axes.title.set_color(element_colour(species) if species else INK)
