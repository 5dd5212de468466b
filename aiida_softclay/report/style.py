"""How figures look: fonts, one colour for each element everywhere, units in labels, panel letters, small print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from aiida import orm

from aiida_softclay.analysis.cell_picture import ELEMENTS

#: Colours of the set of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9']
#: What belongs to no element: totals, means, guides for the eye.
INK, GREY, LIGHT = '#202020', '#707070', '#d0d0d0'
#: Relative luminance above which a colour is too pale for a line on white paper.
PALE = 0.6
#: Width of a page of two columns, inches, and height of a panel over its width.
PAGE_WIDTH, PANEL_SHAPE = 7.1, 0.75
#: Panels on one page before a third column saves paper.
MOST_IN_TWO_COLUMNS = 8

#: Sizes for print at the width of a page; text in vector files stays text that can be edited.
RC: dict[str, Any] = {
    'font.family': 'sans-serif', 'font.size': 7, 'axes.titlesize': 7.5, 'axes.labelsize': 7, 'xtick.labelsize': 6.5,
    'ytick.labelsize': 6.5, 'legend.fontsize': 6, 'legend.frameon': False, 'legend.handlelength': 1.5,
    'legend.labelspacing': 0.25, 'legend.columnspacing': 1.0, 'legend.borderaxespad': 0.3, 'axes.linewidth': 0.6,
    'axes.spines.top': False, 'axes.spines.right': False, 'axes.titlelocation': 'left', 'axes.titlepad': 5,
    'axes.labelpad': 2.5, 'xtick.major.width': 0.6, 'ytick.major.width': 0.6, 'xtick.major.size': 2.5,
    'ytick.major.size': 2.5, 'xtick.minor.size': 1.5, 'ytick.minor.size': 1.5, 'lines.linewidth': 1.1,
    'lines.markersize': 3.5, 'errorbar.capsize': 2, 'axes.formatter.limits': (-4, 6),
    'axes.formatter.useoffset': False,
    'axes.formatter.use_mathtext': True, 'mathtext.default': 'regular', 'pdf.fonttype': 42, 'svg.fonttype': 'none',
    'savefig.dpi': 300, 'figure.facecolor': 'white',
}  # fmt: skip
_SUPERSCRIPT = str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹')


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of all figures, without a screen and without changing that of the caller."""
    import matplotlib as mpl

    mpl.use('Agg')
    with mpl.rc_context(RC):
        yield


def element_colour(symbol: str) -> str:
    """Return the colour of an element, that of the pictures of cells, darker where a line would be too pale.

    Elements without a colour of their own get grey.
    """
    text = ELEMENTS[symbol][0] if symbol in ELEMENTS else GREY
    channels = [int(text[start : start + 2], 16) for start in (1, 3, 5)]
    linear = [(value / 255) ** 2.2 for value in channels]
    if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > PALE:
        channels = [round(0.72 * value) for value in channels]
    return '#' + ''.join(f'{value:02x}' for value in channels)


def colours_of(names: Sequence[str]) -> list[str]:
    """Return a colour for each name: that of the element if all are elements, else those of the set in order."""
    if names and all(name in ELEMENTS for name in names):
        return [element_colour(name) for name in names]
    return [COLOURS[index % len(COLOURS)] for index in range(len(names))]


def unit_text(unit: str) -> str:
    """Return a unit as it is printed.

    >>> unit_text('Å^-2'), unit_text('cm^2/s'), unit_text('1')
    ('Å⁻²', 'cm²/s', '')
    """
    if unit == '1':
        return ''
    return re.sub(r'\^(-?\d+)', lambda match: match.group(1).translate(_SUPERSCRIPT), unit)


def label(quantity: str, unit: str = '1') -> str:
    """Return the label of an axis: the quantity, and its unit in brackets unless it is a pure number.

    >>> label('stress', 'GPa'), label('strain', '1')
    ('stress (GPa)', 'strain')
    """
    text = unit_text(unit)
    return f'{quantity} ({text})' if text else quantity


def unit_in(curve: orm.ArrayData, array: str, otherwise: str = '1') -> str:
    """Return the unit of an array of a curve, as the curve itself states it."""
    return (curve.base.attributes.get('units', None) or {}).get(array, otherwise)


def unit_of_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the unit that rows of results share.

    Raises
    ------
    ValueError
        If they have different ones and cannot be drawn on one axis.
    """
    units = sorted({row['unit'] for row in rows})
    if len(units) != 1:
        raise ValueError(f'numbers in {" and ".join(units) or "no unit"} cannot share an axis')
    return units[0]


def errors_of_rows(rows: Iterable[Mapping[str, Any]]) -> list[float]:
    """Return the errors of rows; one without an error gets no bar: a bar of no length would say that it is exact."""
    return [np.nan if row['error'] is None else float(row['error']) for row in rows]


def band(axes: Any, x: npt.ArrayLike, y: npt.ArrayLike, error: npt.ArrayLike, colour: str) -> None:
    """Shade one standard error about a line."""
    values, width = np.asarray(y, dtype=float), np.asarray(error, dtype=float)
    axes.fill_between(x, values - width, values + width, color=colour, alpha=0.22, lw=0)


def legend(axes: Any, **options: Any) -> None:
    """Add a legend in two columns where it has many entries."""
    handles, texts = axes.get_legend_handles_labels()
    if texts:
        axes.legend(handles, texts, ncols=options.pop('ncols', 2 if len(texts) > 5 else 1), **options)


def headroom(axes: Any, share: float) -> None:
    """Leave room above the data, as a share of their range, for a legend that must not cover them."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == 'log':
        axes.set_ylim(low, high * (high / low) ** share)
    else:
        axes.set_ylim(low, high + share * (high - low))


def subscripts(formula: str) -> str:
    """Return a formula with its numbers as subscripts.

    >>> subscripts('AlO2Cl2')
    'AlO₂Cl₂'
    """
    return formula.translate(str.maketrans('0123456789', '₀₁₂₃₄₅₆₇₈₉'))


def formula_text(formula: str) -> str:
    """Return a formula as chemists write it: reduced, elements in the order of their electronegativity.

    >>> formula_text('Cl6912Li6912')
    'LiCl'
    >>> formula_text('Cl8F24Ga8Mg4')
    'MgGa2Cl2F6'
    """
    from pymatgen.core import Composition

    try:
        # The reduced formula of pymatgen would group ions, MgGa2(ClF3)2, that a glass does not have.
        parts = Composition(formula).reduced_composition.formula.split()
    except ValueError:
        # A formula with names of kinds, or a text: better as it is than not at all.
        return formula
    return ''.join(re.sub(r'(?<=[A-Za-z])1$', '', part) for part in parts)


def fit_to_lines(axes: Any, first: float) -> None:
    """Show lines from ``first`` on and scale to them: wide bands of few neighbours do not count."""
    highest, last = 0.0, first
    for line in axes.lines:
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        if len(x) > 2:
            shown = y[(x >= first) & np.isfinite(y)]
            highest, last = max(highest, float(shown.max(initial=0.0))), max(last, float(x.max()))
    axes.set(xlim=(first, last), ylim=(0, 1.1 * highest or 1.0))


def power_text(value: float, digits: int = 3) -> str:
    """Return a number with a power of ten instead of an e.

    >>> power_text(1.2e-7), power_text(25.0), power_text(50000)
    ('1.2×10⁻⁷', '25', '50000')
    """
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f'{float(f"{value:.{digits}g}"):g}'.replace('-', '−')
    mantissa, _, exponent = f'{value:.{digits - 1}e}'.partition('e')
    number = (mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa).replace('-', '−')
    return f'{number}×10{str(int(exponent)).translate(_SUPERSCRIPT)}'


def tidy_ticks(axes: Any) -> None:
    """Keep the labels of ticks apart, and write powers of ten at the ticks themselves.

    A factor above the axis is overlooked; on a logarithmic axis of few decades every minor tick would be labelled.
    """
    from matplotlib.ticker import AutoLocator, LogLocator, NullFormatter

    for axis, limits, scale in (
        (axes.xaxis, axes.get_xlim(), axes.get_xscale()), (axes.yaxis, axes.get_ylim(), axes.get_yscale())
    ):  # fmt: skip
        largest = max(abs(limits[0]), abs(limits[1]))
        if scale == 'log':
            axis.set_minor_formatter(NullFormatter())
            if max(limits) < 100 * min(limits):
                axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axis.set_major_formatter(lambda value, _: power_text(value))
        elif isinstance(axis.get_major_locator(), AutoLocator):
            axis.get_major_locator().set_params(nbins=6 if axis is axes.xaxis else 7)
            if largest < 1e-3 or largest >= 1e5:
                axis.set_major_formatter(lambda value, _: power_text(value))


def colour_bar(axes: Any, image: Any, text: str) -> None:
    """Add a bar of the height of the axes, whatever their shape."""
    bar = axes.figure.colorbar(image, cax=axes.inset_axes([1.03, 0, 0.04, 1]))
    bar.set_label(text)
    bar.outline.set_linewidth(0.5)


def shade(axes: Any, edges: Sequence[float], text: str) -> None:
    """Shade a range of the abscissa and name it in the legend."""
    axes.axvspan(edges[0], edges[1], color=LIGHT, alpha=0.35, lw=0, zorder=0, label=text)


def grid_of(number: int) -> tuple[int, int]:
    """Return the rows and columns of a page with so many panels."""
    columns = min(number, 2 if number <= MOST_IN_TWO_COLUMNS else 3)
    return -(-number // columns), columns


def letter(axes: Any, index: int) -> None:
    """Write the letter of a panel above its upper left corner, and its title behind it."""
    name = chr(ord('a') + index % 26) * (1 + index // 26)
    title = axes.get_title(loc='left') or axes.get_title()
    axes.set_title('')
    # The space keeps the title off the letter at any width of the panel.
    axes.set_title('      ' + title, loc='left')
    axes.annotate(
        name, (0, 1), xytext=(0, 5), xycoords='axes fraction', textcoords='offset points', fontsize=9,
        fontweight='bold', ha='left', va='bottom',
    )  # fmt: skip


def small_print(context: Mapping[str, Any]) -> str:
    """Return what a reader must know of a run: what, how large, by which engine, at which scale.

    >>> small_print({'mixture': '2LiCl-GaF3', 'n_atoms': 320, 'engine': 'LAMMPS', 'protocol': 'demo'})
    '2LiCl-GaF3, 320 atoms, LAMMPS, demo'
    """
    stated = [str(context.get('mixture') or formula_text(str(context.get('formula') or '')))]
    atoms = context.get('model_atoms') or context.get('n_atoms')
    stated.append(f'{atoms} atoms' if atoms else '')
    stated.append(str(context.get('engine') or ''))
    protocol = str(context.get('protocol') or '')
    stated.append(protocol)
    return ', '.join(text for text in stated if text)
