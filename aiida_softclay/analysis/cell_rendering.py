"""Spheres in a cell as an image: orthographic projection, hidden surfaces, light, and which edges are in sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .compiled import compiled
from .trajectory import Array

#: Each pixel is the mean of so many by so many: smooth rims.
SUPERSAMPLING = 2
#: Rows that are lit at once, which bounds the memory.
ROWS = 256
#: Where the light comes from: right, up, towards the viewer.
LIGHT = np.array([-0.45, 0.55, 0.70]) / np.linalg.norm([-0.45, 0.55, 0.70])
AMBIENT, DIFFUSE, SPECULAR, SHININESS = 0.52, 0.55, 0.22, 24
#: Rims, where the surface turns away from the viewer by more than this cosine, are darkened to this factor.
RIM_COSINE, RIM_FACTOR = 0.30, 0.62
#: The farthest atoms are faded into the white background by this share, for depth.
FADING = 0.45
#: Directions to the viewer by name: one of the faces with a glimpse of two others, or along a lattice vector.
OBLIQUE = (0.38, -1.0, 0.27)


class ViewError(ValueError):
    """A view from which nothing can be seen; the message says what to give."""


@dataclass(frozen=True)
class Scene:
    """An image of spheres and how to find one's way in it.

    Attributes
    ----------
    image : ndarray, shape (height, width, 4), uint8
        Red, green, blue and opacity; the first row is the top.
    extent : tuple of float
        Left, right, bottom and top of the image in the coordinates of the view, Å.
    depth : ndarray, shape (SUPERSAMPLING * height, SUPERSAMPLING * width)
        Height of the visible surface towards the viewer, Å; minus infinity where there is none.
    """

    image: npt.NDArray[np.uint8]
    extent: tuple[float, float, float, float]
    depth: npt.NDArray[np.float32]

    def in_sight(self, points: npt.ArrayLike, margin: float = 0.05) -> npt.NDArray[np.bool_]:
        """Return which points (n, 3) of the view are not behind a sphere; ``margin`` in Å."""
        x, y, z = np.asarray(points, dtype=float).T
        left, right, bottom, top = self.extent
        rows, columns = self.depth.shape
        column = np.clip(((x - left) / (right - left) * columns).astype(int), 0, columns - 1)
        row = np.clip(((top - y) / (top - bottom) * rows).astype(int), 0, rows - 1)
        return np.asarray(z + margin >= self.depth[row, column])


def view_axes(cell: npt.ArrayLike, view: str | Sequence[float] = 'oblique') -> Array:
    """Return the axes of a view as rows: to the right, up, and towards the viewer.

    Parameters
    ----------
    cell : array_like, shape (3, 3)
        Rows are the lattice vectors, Å.
    view : str or sequence of float
        ``oblique``; ``a``, ``b`` or ``c`` to look along a lattice vector, from its tip; or the Cartesian direction
        towards the viewer.

    Raises
    ------
    ViewError
        If it is none of these.
    """
    matrix = np.asarray(cell, dtype=float)
    if isinstance(view, str):
        if view not in {'oblique', 'a', 'b', 'c'}:
            raise ViewError(f'the view is oblique, a, b, c or three numbers, not {view!r}')
        towards = np.array(OBLIQUE) if view == 'oblique' else matrix['abc'.index(view)]
    else:
        towards = np.asarray(view, dtype=float)
    length = np.linalg.norm(towards) if towards.shape == (3,) and np.isfinite(towards).all() else 0.0
    if length < 1e-9:
        raise ViewError(f'the direction towards the viewer is three numbers, not all zero; not {view!r}')
    towards = towards / length
    # The vector c points up, unless one looks along it.
    up = matrix[2] / np.linalg.norm(matrix[2])
    if abs(up @ towards) > 0.999:
        up = matrix[1] / np.linalg.norm(matrix[1])
    right = np.cross(up, towards)
    right /= np.linalg.norm(right)
    return np.array([right, np.cross(towards, right), towards])


@compiled
def _nearest_spheres(
    x: Array, y: Array, z: Array, radii: Array, height: int, width: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Return the sphere seen in each pixel (-1 for none) and the height of its surface; all lengths in pixels."""
    owner = np.full((height, width), -1, np.int32)
    surface = np.full((height, width), -np.inf, np.float32)
    for sphere in range(x.size):
        radius = radii[sphere]
        for row in range(max(0, int(y[sphere] - radius)), min(height, int(y[sphere] + radius) + 2)):
            dy = row + 0.5 - y[sphere]
            for column in range(max(0, int(x[sphere] - radius)), min(width, int(x[sphere] + radius) + 2)):
                dx = column + 0.5 - x[sphere]
                rest = radius * radius - dx * dx - dy * dy
                if rest > 0:
                    level = z[sphere] + np.sqrt(rest)
                    if level > surface[row, column]:
                        surface[row, column] = level
                        owner[row, column] = sphere
    return owner, surface


def render_spheres(
    points: npt.ArrayLike,
    radii: npt.ArrayLike,
    colours: npt.ArrayLike,
    extent: tuple[float, float, float, float],
    pixels: int,
    fading: float = FADING,
) -> Scene:
    """Return an image of lit spheres in front of a transparent background.

    Parameters
    ----------
    points : array_like, shape (n, 3)
        Centres in the coordinates of the view: right, up, towards the viewer; Å.
    radii : array_like, shape (n,)
        Å.
    colours : array_like, shape (n, 3)
        Red, green, blue, 0 to 1.
    extent : tuple of float
        Left, right, bottom and top of what is shown, Å.
    pixels : int
        Length of the longer side of the image.
    fading : float
        Share of white in the farthest spheres; 0 where colours stand for numbers.
    """
    centres, sizes, paint = (np.asarray(value, dtype=float) for value in (points, radii, colours))
    left, right, bottom, top = extent
    scale = SUPERSAMPLING * pixels / max(right - left, top - bottom)
    width = SUPERSAMPLING * max(1, round((right - left) * scale / SUPERSAMPLING))
    height = SUPERSAMPLING * max(1, round((top - bottom) * scale / SUPERSAMPLING))
    x, y, z = scale * (centres[:, 0] - left), scale * (top - centres[:, 1]), scale * centres[:, 2]
    owner, surface = _nearest_spheres(x, y, z, scale * sizes, height, width)
    far = (z.max() - z) / max(float(np.ptp(z)), 1e-9)
    half = LIGHT + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    image = np.empty((height // SUPERSAMPLING, width // SUPERSAMPLING, 4), dtype=np.uint8)
    for first in range(0, height, ROWS):
        block = owner[first : first + ROWS]
        rows, columns = np.nonzero(block >= 0)
        sphere = block[rows, columns]
        radius = scale * sizes[sphere]
        across = (columns + 0.5 - x[sphere]) / radius
        along = (y[sphere] - (rows + first + 0.5)) / radius
        normal = np.stack([across, along, np.sqrt(np.maximum(1 - across**2 - along**2, 0))])
        light = AMBIENT + DIFFUSE * np.maximum(LIGHT @ normal, 0)
        light *= np.where(normal[2] < RIM_COSINE, RIM_FACTOR, 1.0)
        gloss = SPECULAR * np.maximum(half @ normal, 0) ** SHININESS
        colour = np.clip(paint[sphere] * light[:, None] + gloss[:, None], 0, 1)
        faded = (fading * far[sphere])[:, None]
        layer = np.zeros((*block.shape, 4), dtype=np.float32)
        layer[rows, columns, :3] = colour * (1 - faded) + faded
        layer[rows, columns, 3] = 1.0
        shape = (block.shape[0] // SUPERSAMPLING, SUPERSAMPLING, -1, SUPERSAMPLING, 4)
        mean = layer.reshape(shape).mean(axis=(1, 3))
        # Colours were averaged over covered and empty points: back to those of the covered ones.
        mean[..., :3] /= np.maximum(mean[..., 3:], 1e-6)
        start = first // SUPERSAMPLING
        image[start : start + len(mean)] = np.rint(255 * np.clip(mean, 0, 1)).astype(np.uint8)
    return Scene(image, extent, surface / np.float32(scale))


def cell_edges(cell: npt.ArrayLike) -> Array:
    """Return the twelve edges of a cell, shape (12, 2, 3), Å."""
    matrix = np.asarray(cell, dtype=float)
    edges = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
            start = corner[0] * matrix[others[0]] + corner[1] * matrix[others[1]]
            edges.append([start, start + matrix[axis]])
    return np.array(edges)
