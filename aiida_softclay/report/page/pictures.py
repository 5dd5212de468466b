"""Pictures that a page carries in itself: panels as vectors where they are small, as pixels where they are dense."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.registry import Draw
from aiida_softclay.report.style import style, tidy_ticks

#: Width and height of a panel, inches: its text is legible on a phone of 390 px and not coarse on a desktop.
PANEL = (4.2, 3.1)
#: A panel with more points than this, or with pixels of its own, is written as pixels, whose size does not grow.
MOST_POINTS = 3000
#: Dots per inch of pixels: two for each of a desktop's.
DPI = 170
#: Sizes of the text of a panel on a page, points; panels are written for print, where 7 points are enough.
LARGER = {
    'font.size': 9, 'axes.titlesize': 9.5, 'axes.labelsize': 9, 'xtick.labelsize': 8, 'ytick.labelsize': 8,
    'legend.fontsize': 7.5, 'lines.linewidth': 1.3, 'svg.fonttype': 'path', 'svg.hashsalt': 'softclay',
    'axes.formatter.use_mathtext': False,  # typesetting each tick takes half of the time, and looks the same
}  # fmt: skip
#: Most names that an alternative text lists.
MOST_NAMES = 8


@dataclass(frozen=True)
class Picture:
    """A picture as it stands in a page.

    Attributes
    ----------
    source : str
        Data URI.
    alt : str
        What it shows, for those who cannot see it.
    width, height : int
        Pixels that it takes at its natural size, which only fixes the shape.
    """

    source: str
    alt: str
    width: int
    height: int


def data_uri(content: bytes, kind: str) -> str:
    """Return the content of a picture as a data URI; ``kind`` is ``png`` or ``svg``."""
    media = {'png': 'image/png', 'svg': 'image/svg+xml'}[kind]
    return f'data:{media};base64,{base64.b64encode(content).decode("ascii")}'


def panel_picture(node: Any, draw: Draw) -> Picture:
    """Return a panel of the registry as a picture.

    Parameters
    ----------
    node : aiida.orm.Data
        What is drawn.
    draw : callable
        Draws it on axes.

    Returns
    -------
    Picture
        A vector, or pixels where there are more than :data:`MOST_POINTS` points.
    """
    import matplotlib as mpl

    with style(), mpl.rc_context(LARGER):
        from matplotlib import pyplot as plt

        figure, axes = plt.subplots(figsize=PANEL, layout='constrained')
        try:
            draw(axes, node)
            tidy_ticks(axes)
            alt = alternative_text(axes)
            kind = 'png' if is_dense(figure) else 'svg'
            content = _vector(figure) if kind == 'svg' else _pixels(figure)
        finally:
            plt.close(figure)
    return Picture(data_uri(content, kind), alt, *(round(96 * edge) for edge in PANEL))


def is_dense(figure: Any) -> bool:
    """Return whether a figure holds more points than a vector is good for, or pixels."""
    points = 0
    for axes in figure.axes:
        coloured = (np.size(part.get_array()) for part in axes.collections if hasattr(part, 'get_array'))
        if axes.images or any(count > 1 for count in coloured):
            return True
        points += sum(len(line.get_xdata(orig=False)) for line in axes.lines)
        points += sum(len(path.vertices) for part in axes.collections for path in part.get_paths())
    return points > MOST_POINTS


def _pixels(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=DPI, metadata={'Software': None})
    return fewer_colours(buffer.getvalue())


def fewer_colours(content: bytes) -> bytes:
    """Return a PNG in 256 colours, which the eye hardly tells from all and which take a third of the space.

    The palette covers the colours rather than their counts: the few pixels of a colour bar, or of the atoms that move
    most, keep their colour beside thousands of others.
    """
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        flat = Image.new('RGB', image.size, 'white')
        flat.paste(image.convert('RGB'), mask=image.getchannel('A') if 'A' in image.getbands() else None)
        few = flat.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
        few.save(buffer, 'png', optimize=True)
    return buffer.getvalue()


def _vector(figure: Any) -> bytes:
    buffer = io.BytesIO()
    # Neither date nor program: the same numbers give the same page.
    figure.savefig(buffer, format='svg', metadata={'Date': None, 'Creator': None, 'Format': None, 'Type': None})
    text = buffer.getvalue().decode('utf-8')
    # The document type names an address; nobody fetches it, but a page without requests needs not even name it.
    text = re.sub(r'<!DOCTYPE[^>]*>\s*', '', text, flags=re.DOTALL)
    text = re.sub(r'<metadata>.*?</metadata>\s*', '', text, flags=re.DOTALL)
    return text.encode('utf-8')


def alternative_text(axes: Any) -> str:
    """Return what axes show: title, quantities with units and ranges, and the names in the legend."""
    from matplotlib.ticker import FixedFormatter

    title = plain(axes.get_title(loc='left') or axes.get_title()) or 'Plot'
    x, y = plain(axes.get_xlabel()), plain(axes.get_ylabel())
    sentence = title
    if x and y:
        sentence += f': {y} against {x}'
    elif x or y:
        sentence += f': {x or y}'
    names = [plain(text) for text in axes.get_legend_handles_labels()[1]]
    for axis in (axes.xaxis, axes.yaxis):
        # Names of bars; ticks of numbers tell less than the range of the lines.
        if isinstance(axis.get_major_formatter(), FixedFormatter):
            names += [plain(text) for text in axis.get_major_formatter().seq if re.search('[A-Za-z]', text)]
    for other in (*axes.child_axes, *(sibling for sibling in axes.figure.axes if sibling is not axes)):
        names += [plain(other.get_ylabel())] if other.get_ylabel() else []
    names = list(dict.fromkeys(name for name in names if name and not name.startswith('_')))
    if names:
        more = f' and {len(names) - MOST_NAMES} more' if len(names) > MOST_NAMES else ''
        sentence += f'. Shown: {", ".join(names[:MOST_NAMES])}{more}'
    if x and y and (ends := _range(axes)):
        sentence += f'. {ends}'
    return sentence + '.'


def _range(axes: Any) -> str:
    """Return over what the lines of axes run; empty where there are none."""
    columns = [np.asarray(line.get_data(), dtype=float) for line in axes.lines if len(line.get_xdata()) > 2]
    if not columns:
        return ''
    low_x, high_x = axes.get_xlim()
    points = np.concatenate(columns, axis=1)
    points = points[:, np.isfinite(points).all(axis=0)]
    points = points[:, (points[0] >= min(low_x, high_x)) & (points[0] <= max(low_x, high_x))]
    if not points.size:
        return ''
    (left, right), (low, high) = ((float(row.min()), float(row.max())) for row in points)
    return f'The lines run from {left:.3g} to {right:.3g}, at values from {low:.3g} to {high:.3g}'.replace('-', '−')


def plain(text: str) -> str:
    """Return the text of a label without the marks of mathematical type.

    >>> plain('mean $D^2_{min}$ (Å²)')
    'mean D²min (Å²)'
    """
    text = re.sub(r'\\math[a-z]+', '', text.replace('$D^2_{min}$', 'D²min'))
    return re.sub(r'[${}]|_(?=\{)', '', re.sub(r'\$_\{?([^}$]*)\}?\$', r'\1', text)).strip()


def cell_picture(structure: orm.StructureData, about: str, **options: Any) -> Picture:
    """Return the picture of a cell.

    Parameters
    ----------
    structure : aiida.orm.StructureData
    about : str
        What the cell is, for the alternative text.
    **options
        As for :func:`~aiida_softclay.analysis.cell_picture.draw_cell`.
    """
    from aiida_softclay.analysis.cell_picture import draw_cell, save_picture

    atoms = structure.get_ase()
    buffer = io.BytesIO()
    figure = draw_cell(atoms, width_cm=10.0, dpi=150, **options)
    save_picture(figure, buffer, 'png')
    content = fewer_colours(buffer.getvalue())
    counts = {symbol: atoms.get_chemical_symbols().count(symbol) for symbol in dict.fromkeys(atoms.symbols)}
    lengths = ' × '.join(f'{length:.1f}' for length in atoms.cell.lengths())
    alt = f'{about}: {", ".join(f"{count} {name}" for name, count in counts.items())} in a cell of {lengths} Å.'
    width, height = png_size(content)
    return Picture(data_uri(content, 'png'), alt, width // 2, height // 2)


def png_size(content: bytes) -> tuple[int, int]:
    """Return width and height of a PNG, pixels."""
    return int.from_bytes(content[16:20], 'big'), int.from_bytes(content[20:24], 'big')
