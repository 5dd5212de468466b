"""Panels of transport: mean squared displacements, conductivities in parts, activation energies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.arrays import array_of
from aiida_softclay.report.registry import Panel, Source, panels_for
from aiida_softclay.report.style import (
    COLOURS,
    GREY,
    INK,
    band,
    colours_of,
    element_colour,
    errors_of_rows,
    headroom,
    label,
    legend,
    power_text,
    shade,
    unit_in,
    unit_of_rows,
    unit_text,
)

#: Share of the longest lag that is drawn: beyond it few origins are left, and noise sets the scale.
SHOWN = 0.5
#: How far an Arrhenius plot goes beyond its points and its line, as a factor.
REACH = 100.0


@panels_for('conductivity')
def conductivity(source: Source) -> Iterator[Panel]:
    """Yield the mean squared displacements with the window of the fit."""
    if source.curve is not None:
        window = next((row['window'] for row in source.rows('diffusivity.') if row.get('window')), None)
        yield 'msd', source.curve, lambda axes, curve: mean_squared_displacements(axes, curve, window)


def mean_squared_displacements(axes: Any, curve: orm.ArrayData, window: list[float] | None = None) -> None:
    """Draw the mean squared displacement of each species with its error."""
    lag = array_of(curve, 'lag_time')
    names = [
        name.removeprefix('msd_') for name in sorted(curve.get_arraynames())
        if name.startswith('msd_') and not name.startswith('msd_error_')
    ]  # fmt: skip
    last = max(SHOWN * lag[-1], window[1] if window else 0.0)
    shown = lag <= last
    highest = 0.0
    for name, colour in zip(names, colours_of(names), strict=True):
        values, error = array_of(curve, f'msd_{name}'), array_of(curve, f'msd_error_{name}')
        axes.plot(lag, values, color=colour, label=name)
        band(axes, lag, values, error, colour)
        upper = values + np.nan_to_num(error)
        highest = max(highest, float(np.nanmax(upper[shown])))
    if window:
        shade(axes, window, 'window of the fit')
    axes.set(xlabel=label('lag time', unit_in(curve, 'lag_time', 'ps')), title='Mean squared displacement')
    axes.set(ylabel=label('MSD', unit_in(curve, f'msd_{names[0]}', 'Å^2')), xlim=(0, last))
    axes.set_ylim(0, 1.05 * highest if highest > 0 else None)
    legend(axes, loc='upper left')


@panels_for('collective', 'ionic_conductivity')
def ionic_conductivity(source: Source) -> Iterator[Panel]:
    """Yield σ in its self and distinct parts (yang2024, Fig. 5f) and the products of collective displacements."""
    if source.results is not None and source.rows('conductivity.'):
        rows = source.rows('conductivity.')
        yield 'conductivities', source.results, lambda axes, _: _conductivity_parts(axes, rows)
    if source.curve is not None:
        window = next((row['window'] for row in source.rows('conductivity.total') if row.get('window')), None)
        yield 'collective', source.curve, lambda axes, curve: _collective(axes, curve, window)


def _conductivity_parts(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Draw σ in its self and distinct parts with errors (yang2024, eqs. 2 to 7)."""
    names = [row['name'].removeprefix('conductivity.').replace('.', ' ') for row in rows]
    names = ['Nernst–Einstein' if name == 'nernst_einstein' else name.replace('-', '–') for name in names]
    kinds = {'self': COLOURS[0], 'distinct': COLOURS[1]}
    colours = [kinds.get(name.split()[0], GREY) for name in names]
    axes.barh(
        range(len(rows)), [row['value'] for row in rows], xerr=errors_of_rows(rows), color=colours, height=0.7,
        error_kw={'lw': 0.8},
    )  # fmt: skip
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis='y', length=0)
    axes.axvline(0, color=INK, lw=0.6)
    axes.invert_yaxis()
    axes.set(xlabel=label('conductivity', unit_of_rows(rows)), title='Self and distinct parts')


def _collective(axes: Any, curve: orm.ArrayData, window: list[float] | None) -> None:
    """Draw the products of the collective displacements: of each species with itself, and of different ones."""
    lag = array_of(curve, 'lag_time')
    pairs = [name.split('_')[1:] for name in curve.get_arraynames() if name.startswith('collective_')]
    own = [first for first, second in pairs if first == second]
    for name, colour in zip(own, colours_of(own), strict=True):
        axes.plot(lag, array_of(curve, f'collective_{name}_{name}'), color=colour, label=name)
    mixed = [(first, second) for first, second in pairs if first != second]
    for index, (first, second) in enumerate(mixed):
        line = ('--', ':', '-.')[index // 2 % 3]
        colour = element_colour(first) if index % 2 == 0 else INK
        axes.plot(lag, array_of(curve, f'collective_{first}_{second}'), line, color=colour, lw=0.9,
                  label=f'{first}–{second}')  # fmt: skip
    if window:
        shade(axes, window, 'window of the fit')
    axes.axhline(0, color=GREY, lw=0.4, zorder=0)
    unit = unit_in(curve, f'collective_{own[0]}_{own[0]}', 'Å^2')
    axes.set(xlabel=label('lag time', unit_in(curve, 'lag_time', 'ps')), title='Collective displacements')
    axes.set(ylabel=label('⟨Σ Δr · Σ Δr⟩', unit), xlim=(0, lag[-1]))
    headroom(axes, 0.25)
    legend(axes, loc='upper left')


@panels_for('arrhenius')
def arrhenius(source: Source) -> Iterator[Panel]:
    """Yield the Arrhenius plot (you2025, Fig. S16; dai2023, Supplementary Fig. 15)."""
    if source.curve is not None:
        yield 'arrhenius', source.curve, lambda axes, curve: _arrhenius(axes, curve, source)


def _arrhenius(axes: Any, curve: orm.ArrayData, source: Source) -> None:
    """Draw points with errors, the line with its confidence band, and the line beyond the data dashed."""
    temperature, value = array_of(curve, 'temperature'), array_of(curve, 'value')
    axes.errorbar(
        1000 / temperature, value, yerr=array_of(curve, 'value_error'), fmt='o', color=COLOURS[0], lw=0.8,
        label='simulated', zorder=3,
    )  # fmt: skip
    grid, line = array_of(curve, 'line_temperature'), array_of(curve, 'line')
    inside = (grid >= temperature.min() * (1 - 1e-9)) & (grid <= temperature.max() * (1 + 1e-9))
    rows = _rows_of_line(source)
    energy = next((row for row in rows if 'activation_energy.' in row['name']), None)
    text = '' if energy is None else f'$E_a$ = {_number(energy)}'
    axes.plot(1000 / grid[inside], line[inside], '-', color=COLOURS[1], label=text or 'fit')
    beyond = [part for part in (grid <= temperature.min(), grid >= temperature.max()) if part.sum() > 1]
    for index, part in enumerate(beyond):
        axes.plot(1000 / grid[part], line[part], '--', color=COLOURS[1], label='' if index else 'extrapolated')
    confidence = curve.base.attributes.get('confidence', 0.95)
    axes.fill_between(
        1000 / grid, array_of(curve, 'line_lower'), array_of(curve, 'line_upper'), color=COLOURS[1], alpha=0.18, lw=0,
        label=f'{100 * confidence:g} % confidence',
    )  # fmt: skip
    for row in rows:
        about = row.get('conditions') or {}
        if '.at_' in row['name'] and 'lower' in about:
            reach = [[row['value'] - about['lower']], [about['upper'] - row['value']]]
            axes.errorbar(
                1000 / about['temperature_K'], row['value'], yerr=reach, fmt='D', color=COLOURS[1], mfc='white', lw=0.8,
                label=f'{about["temperature_K"]:g} K: {power_text(row["value"], 2)} {unit_text(row["unit"])}',
            )  # fmt: skip
    glass = (energy or {}).get('conditions', {}).get('glass_transition_K')
    low, high = axes.get_xlim()
    if glass and low < 1000 / glass < high:
        axes.axvline(1000 / glass, color=GREY, lw=0.8, ls=':', label='$T_g$')
    axes.set(yscale='log', xlabel='1000/T (K⁻¹)', title='Arrhenius')
    # A line through hot points only knows nothing at room temperature: its band must not hide the points.
    shown = np.concatenate([value[value > 0], line[line > 0]])
    bottom, highest = axes.get_ylim()
    axes.set_ylim(max(bottom, shown.min() / REACH), min(highest, shown.max() * REACH))
    name = curve.base.attributes.get('quantity', 'value').partition('.')
    axes.set_ylabel(label(f'{name[0]} of {name[2]}' if name[2] else name[0], unit_in(curve, 'value')))
    top = axes.secondary_xaxis('top', functions=(_reciprocal, _reciprocal))
    ticks = _apart(np.unique(np.round(temperature)), 0.12 * float(np.ptp(axes.get_xlim())))
    top.set_xticks(ticks, [f'{t:.0f} K' for t in ticks])
    # Inside, so that neither letter nor title of the panel is overwritten.
    top.tick_params(labelsize=5.5, length=2, direction='in', pad=-9)
    headroom(axes, 0.08)
    legend(axes, ncols=1, loc='upper right', bbox_to_anchor=(1, 0.95))


def _apart(temperatures: np.ndarray, gap: float) -> list[float]:
    """Return temperatures whose reciprocals, 1000/K, leave room for a label each; the lowest is always there."""
    kept: list[float] = []
    for temperature in temperatures:
        if not kept or 1000 / kept[-1] - 1000 / temperature >= gap:
            kept.append(float(temperature))
    return kept


def _rows_of_line(source: Source) -> list[dict[str, Any]]:
    """Return the numbers of the line that is drawn, where the results hold several."""
    if not source.subject:
        return source.rows()
    found = []
    for row in source.rows():
        name = row['name'].replace('activation_energy.', '').partition('.at_')[0]
        if re.sub(r'[^0-9A-Za-z]+', '_', name).strip('_') == source.subject:
            found.append(row)
    return found


def _reciprocal(x: np.ndarray) -> np.ndarray:
    """Return 1000/x; both ways, since it is its own inverse."""
    values = np.asarray(x, dtype=float)
    return 1000.0 / np.where(np.abs(values) < 1e-9, 1e-9, values)


def _number(row: Mapping[str, Any]) -> str:
    from aiida_softclay.report.queries import format_value

    return f'{format_value(row["value"], row["error"])} {row["unit"]}'
