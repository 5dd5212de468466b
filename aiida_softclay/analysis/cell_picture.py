"""A picture of the atoms in a cell that can be printed: coloured by element, by grain or molecule, or by a value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors

from .cell_rendering import FADING, Scene, cell_edges, render_spheres, view_axes
from .trajectory import Array, atomic_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colour and radius (Å, about half the ionic one) of elements in the picture. The first colours are of the set of Okabe
#: and Ito, which colour-blind readers can tell apart.
ELEMENTS: dict[str, tuple[str, float]] = {
    'Li': ('#cc79a7', 0.62), 'Na': ('#8f5fb8', 0.70), 'K': ('#5a3d8a', 0.80), 'Mg': ('#e69f00', 0.62),
    'Al': ('#56b4e9', 0.60), 'Ga': ('#0072b2', 0.62), 'In': ('#44546a', 0.66), 'Sb': ('#7a7a7a', 0.66),
    'La': ('#9c7a4d', 0.76), 'Nb': ('#5f9ea0', 0.64), 'O': ('#d55e00', 0.74), 'F': ('#f0e442', 0.70),
    'Cl': ('#009e73', 0.92), 'Br': ('#8c3b1f', 1.00), 'I': ('#5b2c6f', 1.10),
}  # fmt: skip
#: Colours of classes, and of atoms that belong to none.
CLASSES = ('#0072b2', '#e69f00', '#009e73', '#cc79a7', '#d55e00', '#56b4e9', '#f0e442', '#7a5195', '#8c6d46', '#6b8e23')
NO_CLASS = '#c8c8c8'
#: More classes than this are told apart by colour only and counted in the legend.
MOST_NAMED = len(CLASSES)
#: Lengths of scale bars, Å.
SCALE_BARS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
INK = '#202020'
EDGE_POINTS = 800


class PictureError(ValueError):
    """A picture that cannot be drawn; the message says what to change."""


def draw_cell(
    atoms: Atoms,
    *,
    classes: npt.ArrayLike | None = None,
    class_name: str = 'class',
    values: npt.ArrayLike | None = None,
    value_label: str = '',
    value_range: tuple[float, float] | None = None,
    view: str | Sequence[float] = 'oblique',
    width_cm: float = 12.0,
    dpi: int = 300,
    radius_scale: float = 1.0,
    wrap: bool = True,
    title: str | None = None,
) -> Figure:
    """Draw the atoms of a cell as spheres, with the edges of the cell, its axes, a scale bar and a legend.

    The spheres are hidden by each other and lit as a raster image, everything else is drawn by lines and text; the same
    atoms give the same picture.

    Parameters
    ----------
    atoms : ase.Atoms
        With a cell.
    classes : array_like of int, shape (n_atoms,), optional
        What tells the atoms apart instead of the element: grain, molecule, or yes and no; negative for none.
    class_name : str
        What the classes are called in the legend.
    values : array_like of float, shape (n_atoms,), optional
        A number for each atom, shown by colour with a bar; atoms without one (nan) are grey.
    value_label : str
        Name and unit of the values.
    value_range : (float, float), optional
        Values at the ends of the colours, those of the values if not given; what lies beyond has the colour of the end.
    view : str or sequence of float
        As for :func:`~aiida_softclay.analysis.cell_rendering.view_axes`.
    width_cm, dpi : float, int
        Length of the longer side of the cell on paper, and its resolution.
    radius_scale : float
        Multiplies all radii.
    wrap : bool
        Whether atoms outside the cell are brought back into it; without it molecules stay whole.
    title : str, optional
        A line above the picture.

    Returns
    -------
    matplotlib.figure.Figure
        To be saved with :func:`save_picture`, or shown in a notebook.

    Raises
    ------
    PictureError
        If there is no atom or no cell, or classes or values do not go with the atoms.
    ViewError
        If the view is none.
    """
    from matplotlib.figure import Figure

    if len(atoms) == 0 or abs(np.linalg.det(atoms.cell[:])) < 1e-6:
        raise PictureError('a picture needs atoms in a cell with a volume')
    if not np.isfinite(atoms.positions).all():
        raise PictureError('the position of an atom is not a number')
    if classes is not None and values is not None:
        raise PictureError('the atoms are coloured by classes or by values, not by both')
    if not (width_cm > 0 and dpi > 0 and radius_scale > 0):
        raise PictureError('width, resolution and the scale of the radii are positive numbers')
    axes_of_view = view_axes(atoms.cell[:], view)
    positions = atoms.get_positions(wrap=True, pbc=True) if wrap else atoms.get_positions()
    points = positions @ axes_of_view.T
    symbols = atoms.get_chemical_symbols()
    radii = radius_scale * np.array([_drawn(symbol)[1] for symbol in symbols])
    colours, legend, bar = _colours(symbols, classes, class_name, values, value_range)
    edges = cell_edges(atoms.cell[:]) @ axes_of_view.T
    low = np.minimum((points - radii[:, None]).min(axis=0), edges.min(axis=(0, 1)))[:2] - 0.3
    high = np.maximum((points + radii[:, None]).max(axis=0), edges.max(axis=(0, 1)))[:2] + 0.3
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    # A value must have the colour of the bar at any depth.
    fading = FADING if values is None else 0.0
    scene = render_spheres(points, radii, colours, extent, max(1, round(width_cm / 2.54 * dpi)), fading)

    size = (high - low) * width_cm / 2.54 / float((high - low).max())
    figure = Figure(figsize=(float(size[0]), float(size[1])), dpi=dpi)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.imshow(scene.image, extent=extent, aspect='equal', interpolation='antialiased', zorder=1)
    _draw_edges(axes, edges, scene)
    room = 0.14 * float((high - low).max())
    axis_arrows = np.asarray(atoms.cell[:]) @ axes_of_view.T
    _draw_axes(axes, axis_arrows, np.array([low[0] + 0.4 * room, low[1] - 0.75 * room]), 0.55 * room)
    _draw_scale_bar(axes, high[0], float(low[1]) - 0.3 * room, float(high[0] - low[0]))
    if bar is not None:
        from matplotlib.cm import ScalarMappable

        found = figure.colorbar(ScalarMappable(*bar), ax=axes, cax=axes.inset_axes((1.03, 0.25, 0.03, 0.5)))
        found.set_label(value_label, fontsize=8)
        found.ax.tick_params(labelsize=7)
    if legend:
        _draw_legend(axes, legend)
    if title:
        axes.set_title(title, fontsize=9, color=INK)
    return figure


def save_picture(figure: Figure, target: Any, kind: str) -> None:
    """Write a picture to a path or an open binary file, without the date of writing.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    target : path or binary file
    kind : str
        ``png``, ``pdf`` or ``svg``.

    Raises
    ------
    PictureError
        If it is none of these.
    """
    dates: dict[str, dict[str, Any]] = {'png': {}, 'pdf': {'CreationDate': None}, 'svg': {'Date': None}}
    if kind not in dates:
        raise PictureError(f'a picture is written as {", ".join(dates)}, not {kind!r}')
    figure.savefig(
        target, format=kind, metadata=dates[kind], bbox_inches='tight', pad_inches=0.05, facecolor='white'
    )  # fmt: skip


def _drawn(symbol: str) -> tuple[str | tuple[float, float, float], float]:
    """Return colour and radius of an element."""
    if symbol in ELEMENTS:
        return ELEMENTS[symbol]
    number = atomic_number(symbol)
    red, green, blue = (float(part) for part in jmol_colors[number])
    return (red, green, blue), 0.5 * float(covalent_radii[number])


def _colours(
    symbols: list[str], classes: npt.ArrayLike | None, class_name: str, values: npt.ArrayLike | None,
    value_range: tuple[float, float] | None,
) -> tuple[Array, list[tuple[Any, str]], tuple[Any, Any] | None]:  # fmt: skip
    """Return the colour of every atom, the entries of the legend, and normalisation and colours of a bar."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize, to_rgb

    if values is not None:
        numbers = _one_each(values, len(symbols), 'values').astype(float)
        known = np.isfinite(numbers)
        if not known.any():
            raise PictureError('none of the values is a number')
        low, high = value_range or (float(numbers[known].min()), float(numbers[known].max()))
        scale = Normalize(low, high, clip=True)
        shade = colormaps['viridis']
        colours = np.tile(to_rgb(NO_CLASS), (len(symbols), 1))
        colours[known] = shade(scale(numbers[known]))[:, :3]
        return colours, [], (scale, shade)
    if classes is not None:
        return _class_colours(_one_each(classes, len(symbols), 'classes'), class_name)
    # Legend: in the order of atomic numbers.
    kinds = sorted(set(symbols), key=atomic_number)
    paint = {symbol: to_rgb(_drawn(symbol)[0]) for symbol in kinds}
    return np.array([paint[s] for s in symbols]), [(paint[s], f'{s} ({symbols.count(s)})') for s in kinds], None


def _one_each(array: npt.ArrayLike, n_atoms: int, what: str) -> npt.NDArray[Any]:
    found = np.asarray(array)
    if found.shape != (n_atoms,):
        raise PictureError(f'there must be one of the {what} for each of the {n_atoms} atoms, not {found.shape}')
    return found


def _class_colours(classes: npt.NDArray[Any], name: str) -> tuple[Array, list[tuple[Any, str]], None]:
    from matplotlib.colors import hsv_to_rgb, to_rgb

    if classes.dtype.kind not in 'biu':
        raise PictureError(f'classes are whole numbers or yes and no, not {classes.dtype}: give them as values')
    yes_or_no = classes.dtype.kind == 'b'
    numbers = np.where(classes, 0, -1) if yes_or_no else classes
    kinds = np.unique(numbers[numbers >= 0])
    colours = np.tile(to_rgb(NO_CLASS), (numbers.size, 1))
    few = kinds.size <= MOST_NAMED
    for rank, kind in enumerate(kinds):
        # Hues a golden angle apart: neighbours in number are never alike.
        hue = hsv_to_rgb((0.618034 * rank % 1.0, 0.55 + 0.3 * (rank % 2), 0.85 - 0.2 * (rank % 3) / 2))
        colours[numbers == kind] = to_rgb(CLASSES[rank]) if few else hue
    legend: list[tuple[Any, str]]
    if yes_or_no:
        legend = [(to_rgb(CLASSES[0]), f'{name} ({int((numbers == 0).sum())})')]
    elif few:
        legend = [(to_rgb(CLASSES[rank]), f'{name} {kind}') for rank, kind in enumerate(kinds)]
    else:
        legend = [(None, f'{kinds.size} × {name}')]
    if (numbers < 0).any():
        legend.append((to_rgb(NO_CLASS), f'other ({int((numbers < 0).sum())})'))
    return colours, legend, None


def _draw_edges(axes: Axes, edges: Array, scene: Scene) -> None:
    """Draw what can be seen of the edges of the cell."""
    from matplotlib.collections import LineCollection

    segments = []
    for start, end in edges:
        points = start + np.linspace(0, 1, EDGE_POINTS)[:, None] * (end - start)
        seen = scene.in_sight(points)
        changes = np.flatnonzero(np.diff(seen.astype(int))) + 1
        runs = np.split(np.arange(EDGE_POINTS), changes)
        segments += [points[run[[0, -1]], :2] for run in runs if seen[run[0]] and run.size > 1]
    axes.add_collection(LineCollection(segments, colors=INK, linewidths=0.8, capstyle='round', zorder=2))


def _draw_axes(axes: Axes, vectors: Array, origin: Array, length: float) -> None:
    """Draw the directions of the lattice vectors as arrows."""
    for name, vector in zip('abc', vectors, strict=True):
        tip = origin + length * vector[:2] / np.linalg.norm(vector)
        if np.linalg.norm(tip - origin) < 0.12 * length:
            # One looks along it.
            axes.plot(*origin, 'o', ms=2.5, color=INK, clip_on=False, zorder=3)
            tip = origin - 0.15 * length
        else:
            axes.annotate(
                '', (float(tip[0]), float(tip[1])), (float(origin[0]), float(origin[1])),
                annotation_clip=False, zorder=3,
                arrowprops={'arrowstyle': '-|>', 'lw': 0.9, 'color': INK, 'shrinkA': 0, 'shrinkB': 0},
            )  # fmt: skip
        place = origin + 1.25 * (tip - origin)
        axes.text(
            float(place[0]),
            float(place[1]),
            name,
            style='italic',
            fontsize=8,
            color=INK,
            ha='center',
            va='center',
            clip_on=False,
        )


def _draw_scale_bar(axes: Axes, right: float, height: float, width: float) -> None:
    """Draw a bar of a round length below the right end of the cell."""
    length = max((bar for bar in SCALE_BARS if bar <= 0.3 * width), default=SCALE_BARS[0])
    axes.plot([right - length, right], [height] * 2, color=INK, lw=2.0, solid_capstyle='butt', clip_on=False)
    text = f'{length / 10:g} nm' if length >= 5 else f'{length:g} Å'
    axes.annotate(
        text, (right - length / 2, height), (0, -3), textcoords='offset points', ha='center', va='top', fontsize=8,
        color=INK, annotation_clip=False,
    )  # fmt: skip


def _draw_legend(axes: Axes, entries: list[tuple[Any, str]]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], ls='', marker='' if colour is None else 'o', ms=7, mfc=colour or 'none', mec=INK, mew=0.4)
        for colour, _ in entries
    ]
    columns = max(1, math.ceil(len(entries) / 14))
    axes.legend(
        handles, [text for _, text in entries], loc='upper left', bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8,
        handletextpad=0.3, borderaxespad=0.0, labelcolor=INK, ncols=columns,
    )  # fmt: skip
