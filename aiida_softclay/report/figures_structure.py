"""Panels of structure: pairs, polyhedra, chains, bonds, scattering."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.arrays import array_of
from aiida_softclay.report.registry import Draw, Panel, Source, panels_for
from aiida_softclay.report.style import (
    COLOURS,
    GREY,
    INK,
    band,
    colours_of,
    headroom,
    label,
    legend,
    subscripts,
    unit_in,
)

#: Most polyhedra that are drawn by name: those of the largest share.
MOST_KINDS = 8


def printed(name: str) -> str:
    """Return the name of a pair or a polyhedron as it is printed.

    >>> printed('Li_Cl'), printed('GaF2Cl4')
    ('Li–Cl', 'GaF₂Cl₄')
    """
    return subscripts(name.replace('_', '–'))


def columns(
    title: str, x: str, x_label: str, y_label: str, prefix: str, unit: str | None = None, names: Sequence[str] = ()
) -> Draw:
    """Return what draws the arrays of a curve that share a prefix against one of them, with bands for their errors.

    Units are those of the arrays themselves; ``names`` are the arrays without the prefix, all of them if not given.
    """

    def draw(axes: Any, curve: orm.ArrayData) -> None:
        arrays = set(curve.get_arraynames())
        abscissa = array_of(curve, x)
        found = [f'{prefix}{name}' for name in names] or [
            name for name in sorted(arrays - {x}) if name.startswith(prefix) and 'error' not in name
        ]
        found = [name for name in found if array_of(curve, name).shape == abscissa.shape]
        texts = [name.removeprefix(prefix) for name in found]
        for index, (name, text, colour) in enumerate(zip(found, texts, colours_of(texts), strict=True)):
            line = '-' if index < len(COLOURS) or colour not in COLOURS else '--'
            values = array_of(curve, name)
            axes.plot(abscissa, values, line, color=colour, label=printed(text))
            for error in (f'{prefix}error_{text}', f'{name}_error'):
                if error in arrays:
                    band(axes, abscissa, values, array_of(curve, error), colour)
        axes.set(
            xlabel=label(x_label, unit_in(curve, x)),
            ylabel=label(y_label, unit or (unit_in(curve, found[0]) if found else '1')), title=title,
        )  # fmt: skip
        legend(axes)

    return draw


def _pairs(axes: Any, curve: orm.ArrayData) -> None:
    columns('Pair distribution', 'radii', 'r', 'g(r)', 'g_')(axes, curve)
    axes.axhline(1, color=GREY, lw=0.5, ls=':', zorder=0)
    axes.set(xlim=(0, array_of(curve, 'radii')[-1]), ylim=(0, None))


def _running(axes: Any, curve: orm.ArrayData) -> None:
    columns('Running coordination', 'radii', 'r', 'neighbours within r', 'coordination_')(axes, curve)
    # A shell count passes its plateau of a few neighbours long before the end of g(r).
    axes.set(xlim=(0, 0.75 * array_of(curve, 'radii')[-1]), ylim=(0, 14))


@panels_for('pair_distributions')
def pair_distributions(source: Source) -> Iterator[Panel]:
    """Yield g(r) and running coordination."""
    if source.curve is not None:
        yield 'pair_distributions', source.curve, _pairs
        yield 'coordination', source.curve, _running


def _before_after(axes: Any, curve: orm.ArrayData) -> None:
    """Draw g(r) of the bonds of the central cation before and after the melt (gupta2023, Fig. 1b)."""
    radii = array_of(curve, 'radii')
    arrays = set(curve.get_arraynames())
    pairs = curve.base.attributes.get('pairs')[:2]
    for colour, pair in zip(colours_of([pair.split('-')[1] for pair in pairs]), pairs, strict=True):
        name = pair.replace('-', '_')
        for state, line in (('before', ':'), ('after', '-')):
            values = array_of(curve, f'g_{name}_{state}')
            axes.plot(radii, values, line, color=colour, label=f'{pair.replace("-", "–")} {state}')
            if f'g_error_{name}_{state}' in arrays:
                band(axes, radii, values, array_of(curve, f'g_error_{name}_{state}'), colour)
    axes.set(xlabel=label('r', unit_in(curve, 'radii', 'Å')), ylabel='g(r)', title='Start and end of the melt')
    axes.set(xlim=(0.8, radii[-1]), ylim=(0, None))
    legend(axes)


@panels_for('anion_exchange')
def anion_exchange(source: Source) -> Iterator[Panel]:
    """Yield g(r) before and after, and how the numbers of neighbours changed."""
    if source.curve is not None:
        yield 'pair_distributions', source.curve, _before_after
    rows = [row for row in source.rows('coordination.') if row['name'].endswith(('.before', '.after'))]
    if source.results is not None and rows:
        yield 'neighbours', source.results, lambda axes, _: _neighbours(axes, rows)


def _neighbours(axes: Any, rows: list[dict[str, Any]]) -> None:
    pairs = list(dict.fromkeys(row['name'].split('.')[1] for row in rows))
    table = {row['name']: row for row in rows}
    for offset, state, colour in ((-0.18, 'before', GREY), (0.18, 'after', COLOURS[0])):
        found = [table.get(f'coordination.{pair}.{state}') for pair in pairs]
        values = [np.nan if row is None else row['value'] for row in found]
        errors = [np.nan if row is None or row['error'] is None else row['error'] for row in found]
        axes.bar(np.arange(len(pairs)) + offset, values, 0.34, yerr=errors, color=colour, label=state,
                 error_kw={'lw': 0.8})  # fmt: skip
    axes.set_xticks(range(len(pairs)), [pair.replace('-', '–') for pair in pairs])
    axes.set(ylabel='mean number of neighbours', title='Anion exchange')
    legend(axes)


def _polyhedra(axes: Any, curve: orm.ArrayData) -> None:
    """Draw the shares of the commonest polyhedra over time."""
    names = [name.removeprefix('share_') for name in curve.get_arraynames() if name.startswith('share_')]
    common = sorted(names, key=lambda name: (-float(np.mean(array_of(curve, f'share_{name}'))), name))[:MOST_KINDS]
    columns('Polyhedra', 'time', 'time', 'share of the cations', 'share_', names=common)(axes, curve)
    axes.set_ylim(0, None)
    headroom(axes, 0.25)
    legend(axes, loc='upper center', ncols=min(4, len(common)))


def _exchange(axes: Any, curve: orm.ArrayData) -> None:
    columns('Extent of exchange', 'time', 'time', 'share of the bonds', 'anion_share_')(axes, curve)
    axes.set_ylim(0, 1)


@panels_for('census')
def census(source: Source) -> Iterator[Panel]:
    """Yield the shares of polyhedra, and of the bonds that go to each anion, over time."""
    if source.curve is None:
        return
    yield 'polyhedra', source.curve, _polyhedra
    if sum(name.startswith('anion_share_error_') for name in source.curve.get_arraynames()) > 1:
        yield 'exchange', source.curve, _exchange


def _chain_lengths(axes: Any, curve: orm.ArrayData) -> None:
    """Draw the share of the central atoms in chains of each length (qyang2025, Fig. 1d)."""
    lengths, shares, errors = (array_of(curve, name) for name in ('length', 'share', 'share_error'))
    axes.bar(lengths, shares, yerr=errors, color=COLOURS[0], error_kw={'lw': 0.8})
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel='centres in the chain', ylabel='share of the centres', title='Chains', ylim=(0, None))


def _chains_over_time(axes: Any, curve: orm.ArrayData) -> None:
    time = array_of(curve, 'time')
    axes.plot(time, array_of(curve, 'mean_length'), color=COLOURS[0], label='mean length of a chain')
    axes.plot(time, array_of(curve, 'isolated'), color=COLOURS[1], label='isolated share')
    axes.set(xlabel=label('time', unit_in(curve, 'time', 'ps')), ylabel='length; share', title='Chains over time')
    axes.set_ylim(0, None)
    headroom(axes, 0.2)
    legend(axes, loc='upper left')


@panels_for('chains')
def chains(source: Source) -> Iterator[Panel]:
    """Yield the distribution of lengths of chains, and their growth."""
    if source.curve is None:
        return
    yield 'chains', source.curve, _chain_lengths
    if len(array_of(source.curve, 'time')) > 1:
        yield 'chain_growth', source.curve, _chains_over_time


@panels_for('bond_lifetimes')
def bond_lifetimes(source: Source) -> Iterator[Panel]:
    """Yield how many of the bonds last, with the lifetimes that were found."""
    if source.curve is None:
        return
    lifetimes = {row['name'].partition('.')[2]: row for row in source.rows('bond_lifetime.')}

    def draw(axes: Any, curve: orm.ArrayData) -> None:
        columns('Bonds that last', 'lag_time', 'lag time', 'share of the bonds', 'persistence_')(axes, curve)
        for line in axes.lines:
            row = lifetimes.get(line.get_label().replace('–', '-'))
            if row is not None:
                line.set_label(f'{line.get_label()}, lifetime {row["value"]:.3g} {row["unit"]}')
        axes.set_ylim(0, 1.05)
        legend(axes)

    yield 'bonds', source.curve, draw


def _structure_factor(axes: Any, curve: orm.ArrayData) -> None:
    _radiations('S(q)', 'q', 'S_')(axes, curve)
    axes.axhline(1, color=GREY, lw=0.5, ls=':', zorder=0)


def _reduced(axes: Any, curve: orm.ArrayData) -> None:
    _radiations('G(r)', 'r', 'G_')(axes, curve)
    axes.axhline(0, color=GREY, lw=0.5, ls=':', zorder=0)


def _radiations(quantity: str, x: str, prefix: str) -> Draw:
    title = 'Structure factor' if x == 'q' else 'Reduced pair distribution'

    def draw(axes: Any, curve: orm.ArrayData) -> None:
        columns(title, x, x, quantity, prefix)(axes, curve)
        for line in axes.lines:
            line.set_label({'x–ray': 'X-ray', 'neutron': 'neutron'}.get(line.get_label(), line.get_label()))
        axes.set_xlim(0, array_of(curve, x)[-1])
        legend(axes)

    return draw


@panels_for('scattering')
def scattering(source: Source) -> Iterator[Panel]:
    """Yield S(q), G(r) and the comparison with a measured G(r)."""
    if source.curve is None:
        return
    yield 'structure_factor', source.curve, _structure_factor
    yield 'reduced_pdf', source.curve, _reduced
    if 'measured_G' in source.curve.get_arraynames():
        residual = next((row for row in source.rows() if row['name'].endswith('.weighted_residual_scaled')), None)
        scale = next((row for row in source.rows() if row['name'].endswith('.scale')), None)
        yield 'measured_pdf', source.curve, lambda axes, curve: _measured(axes, curve, scale, residual)


def _against(axes: Any, x: Any, measured: Any, calculated: Any, name: str) -> None:
    """Draw measured points, a calculated curve through them, and their difference below both."""
    below = min(measured.min(), calculated.min()) - 0.6 * np.ptp(measured - calculated)
    axes.plot(x, measured, 'o', ms=2, mfc='none', mew=0.6, color=GREY, label='measured')
    axes.plot(x, calculated, color=COLOURS[1], label=name)
    axes.plot(x, measured - calculated + below, color=INK, lw=0.7, label='difference, shifted')
    axes.axhline(below, color=GREY, lw=0.4)


def _measured(axes: Any, curve: orm.ArrayData, scale: dict[str, Any] | None, residual: dict[str, Any] | None) -> None:
    """Draw the measured G(r), the calculated one at its best scale, and their difference below (you2025, Fig. 2d)."""
    calculated = array_of(curve, 'calculated_G') * (1.0 if scale is None else scale['value'])
    _against(axes, array_of(curve, 'measured_r'), array_of(curve, 'measured_G'), calculated, 'calculated, scaled')
    text = '' if residual is None else f', $R_w$ = {residual["value"]:.3f}'
    axes.set(xlabel=label('r', unit_in(curve, 'measured_r', 'Å')), ylabel=label('G(r)', unit_in(curve, 'measured_G')))
    axes.set(title=f'Measured and calculated{text}')
    headroom(axes, 0.2)
    legend(axes, ncols=3, loc='upper right')


@panels_for('phase_fit')
def phase_fit(source: Source) -> Iterator[Panel]:
    """Yield the measured curve, the sum of two phases, each of them, and the residual."""
    if source.curve is not None:
        yield 'phase_fit', source.curve, lambda axes, curve: _phases(axes, curve, source)


def _phases(axes: Any, curve: orm.ArrayData, source: Source) -> None:
    x, y = ('r', 'G') if 'r' in curve.get_arraynames() else ('q', 'S')
    formulas, points = source.context.get('formulas', {}), array_of(curve, x)
    _against(axes, points, array_of(curve, f'measured_{y}'), array_of(curve, f'fit_{y}'), 'fit')
    for name, colour in (('first', COLOURS[0]), ('second', COLOURS[2])):
        share = source.row(f'phase_fit.{name}.formula_fraction')
        text = subscripts(formulas.get(name, name)) + ('' if share is None else f', {100 * share["value"]:.3g} %')
        axes.plot(points, array_of(curve, f'{name}_{y}'), color=colour, lw=0.7, label=text, zorder=1)
    residual = source.row('phase_fit.weighted_residual')
    text = '' if residual is None else f', $R_w$ = {residual["value"]:.3f}'
    axes.set(xlabel=label(x, unit_in(curve, x)), ylabel=label(f'{y}({x})', unit_in(curve, f'measured_{y}')))
    axes.set(title=f'Fit of two phases{text}')
    headroom(axes, 0.3)
    legend(axes, ncols=2, loc='upper right')


@panels_for('powder_pattern')
def powder_pattern(source: Source) -> Iterator[Panel]:
    """Yield the powder pattern of a crystal."""
    if source.curve is not None:
        name = subscripts(str(source.context.get('formula') or 'crystal'))
        yield 'powder_pattern', source.curve, lambda axes, curve: powder_lines(axes, _arrays(curve), name)


def _arrays(curve: orm.ArrayData) -> dict[str, np.ndarray]:
    return {name: array_of(curve, name) for name in curve.get_arraynames()}


def powder_lines(axes: Any, arrays: Mapping[str, np.ndarray], name: str) -> None:
    """Draw the profile of a powder pattern above marks where its reflections are.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    arrays : mapping
        ``two_theta`` and ``intensity`` of the profile, ``reflection_two_theta``.
    name : str
        Of the crystal.
    """
    axes.plot(arrays['two_theta'], arrays['intensity'], color=COLOURS[0], lw=0.8)
    axes.vlines(arrays['reflection_two_theta'], -8, -3, color=INK, lw=0.5)
    axes.set(xlabel='2θ (°)', ylabel='intensity (largest 100)', title=f'Powder pattern of {name}')
    axes.set_xlim(arrays['two_theta'][[0, -1]])
