"""Panels of single ions: fast and slow ones, hops between units, turning anions, grain boundaries, conformation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.arrays import array_of
from aiida_softclay.report.figures_transport import mean_squared_displacements
from aiida_softclay.report.registry import Panel, Source, panels_for
from aiida_softclay.report.style import (
    COLOURS,
    GREY,
    INK,
    band,
    colours_of,
    element_colour,
    errors_of_rows,
    fit_to_lines,
    headroom,
    label,
    legend,
    subscripts,
    unit_in,
    unit_of_rows,
)

#: Fast ions are drawn red and slow ones black, as in yang2024, Fig. 5.
FAST, SLOW = COLOURS[1], INK


@panels_for('mobility_classes')
def mobility_classes(source: Source) -> Iterator[Panel]:
    """Yield the distribution of displacements with both classes, and their neighbours (yang2024, Fig. 5b and c)."""
    if source.curve is None:
        return
    yield 'displacements', source.curve, lambda axes, curve: _displacements(axes, curve, source)
    yield 'classes', source.curve, _class_neighbours
    arrays = source.curve.get_arraynames()
    species = next((row['name'].split('.')[1] for row in source.rows('coordination.')), 'ions')
    others = sorted(
        name.removeprefix('g_fast_') for name in arrays
        if name.startswith('g_fast_') and name not in ('g_fast_fast', 'g_fast_slow')
    )  # fmt: skip
    if others:
        yield 'class_neighbours', source.curve, lambda axes, curve: _class_partners(axes, curve, species, others)
    if 'g_fast_slow' in arrays:
        yield 'class_pairs', source.curve, lambda axes, curve: _class_with_class(axes, curve, species)


def _class_partners(axes: Any, curve: orm.ArrayData, species: str, others: list[str]) -> None:
    """Draw g(r) of fast (solid) and slow ions (dashed) with each element (yang2024, Fig. 5d)."""
    radii = array_of(curve, 'radii')
    for other, colour in zip(others, colours_of(others), strict=True):
        for kind, line in (('fast', '-'), ('slow', '--')):
            values = array_of(curve, f'g_{kind}_{other}')
            axes.plot(radii, values, line, color=colour, label=f'{kind} {species}–{other}')
            band(axes, radii, values, array_of(curve, f'g_error_{kind}_{other}'), colour)
    _finish_pairs(axes, curve, f'Neighbours of fast and slow {species}')


def _class_with_class(axes: Any, curve: orm.ArrayData, species: str) -> None:
    """Draw g(r) among the fast, among the slow, and between both (yang2024, Fig. 5d and e)."""
    radii, arrays = array_of(curve, 'radii'), curve.get_arraynames()
    for name, colour in (('fast_fast', FAST), ('fast_slow', COLOURS[0]), ('slow_slow', SLOW)):
        if f'g_{name}' in arrays:
            values = array_of(curve, f'g_{name}')
            axes.plot(radii, values, color=colour, label=name.replace('_', '–'))
            band(axes, radii, values, array_of(curve, f'g_error_{name}'), colour)
    _finish_pairs(axes, curve, f'Fast and slow {species} among each other')


def _finish_pairs(axes: Any, curve: orm.ArrayData, title: str) -> None:
    axes.axhline(1, color=GREY, lw=0.5, ls=':', zorder=0)
    axes.set(xlabel=label('r', unit_in(curve, 'radii', 'Å')), ylabel='g(r)', title=title)
    fit_to_lines(axes, 0.8)
    legend(axes)


def _displacements(axes: Any, curve: orm.ArrayData, source: Source) -> None:
    """Draw the density of displacements with its errors; the ranges of the fast and the slow ions are shaded."""
    centres, density = array_of(curve, 'displacement'), array_of(curve, 'density')
    width = float(centres[1] - centres[0]) if len(centres) > 1 else 1.0
    axes.bar(centres, density, width, color='#b8c8d8', edgecolor='none')
    axes.errorbar(centres, density, yerr=array_of(curve, 'density_error'), fmt='none', ecolor=GREY, elinewidth=0.4,
                  capsize=0)  # fmt: skip
    limits = curve.base.attributes.get('class_limits', None)
    if limits:
        counts = curve.base.attributes.get('class_members', {})
        axes.axvspan(0, limits['slow'], color=SLOW, alpha=0.15, lw=0, label=f'slow ({counts.get("slow", "?")} ions)')
        axes.axvspan(
            limits['fast'], float(centres[-1] + 0.5 * width), color=FAST, alpha=0.22, lw=0,
            label=f'fast ({counts.get("fast", "?")} ions)',
        )  # fmt: skip
    species = next((row['name'].split('.')[1] for row in source.rows('coordination.')), 'ions')
    axes.set(
        xlabel=label('displacement', unit_in(curve, 'displacement', 'Å')), title=f'Displacements of {species}',
        ylabel=label('probability density', unit_in(curve, 'density', 'Å^-1')), ylim=(0, None),
        xlim=(0, float(centres[-1] + 0.5 * width)),
    )  # fmt: skip
    headroom(axes, 0.15)
    legend(axes, loc='upper center', ncols=2)


def _class_neighbours(axes: Any, curve: orm.ArrayData) -> None:
    """Draw the coordination of fast and slow ions over time; all neighbours solid, each element dashed."""
    time, arrays = array_of(curve, 'time'), set(curve.get_arraynames())
    for kind, colour in (('fast', FAST), ('slow', SLOW)):
        axes.plot(time, array_of(curve, f'coordination_{kind}'), color=colour, label=kind)
        names = sorted(name for name in arrays if name.startswith(f'coordination_{kind}_'))
        for name, line in zip(names if len(names) > 1 else (), ('--', ':', '-.', '--'), strict=False):
            text = f'{kind}, {name.rpartition("_")[2]}'
            axes.plot(time, array_of(curve, name), line, color=colour, lw=0.7, label=text)
    axes.set(xlabel=label('time', unit_in(curve, 'time', 'ps')), ylabel='mean number of neighbours')
    axes.set(title='Neighbours of fast and slow ions', ylim=(0, None))
    headroom(axes, 0.25)
    legend(axes, loc='upper left', ncols=3)


@panels_for('hops')
def hops(source: Source) -> Iterator[Panel]:
    """Yield the shares of hops by kind, and the units at the sites of hops (qyang2025, Fig. 2b and c)."""
    if source.results is None:
        return
    shares = source.rows('hop_share.')
    if shares:
        yield 'hops', source.results, lambda axes, _: _hop_shares(axes, shares, source)
    sites = source.context.get('units_at_hops')
    if sites:
        yield 'hop_sites', source.results, lambda axes, _: _hop_sites(axes, sites, source.context.get('units') or {})


def _hop_shares(axes: Any, rows: list[dict[str, Any]], source: Source) -> None:
    names = [row['name'].partition('.')[2] for row in rows]
    axes.bar(range(len(rows)), [row['value'] for row in rows], 0.6, yerr=errors_of_rows(rows),
             color=COLOURS[: len(rows)], error_kw={'lw': 0.8})  # fmt: skip
    for place, row in enumerate(rows):
        rate = source.row(f'hop_rate.{names[place]}')
        if rate is not None:
            top = row['value'] + (row['error'] or 0.0)
            unit = rate['unit'].replace('^-1', '⁻¹')
            axes.annotate(f'{rate["value"]:.2g} {unit}', (place, top), xytext=(0, 3), textcoords='offset points',
                          ha='center', fontsize=6)  # fmt: skip
    axes.set_xticks(range(len(rows)), [name.replace('-', '-\n', 1) for name in names])
    axes.set(ylabel='share of the hops', ylim=(0, None), title='Hops between units (rate per ion above)')
    headroom(axes, 0.08)


def _hop_sites(axes: Any, sites: dict[str, float], units: dict[str, float]) -> None:
    names = sorted({*sites, *units})
    for offset, table, colour, text in ((-0.18, units, GREY, 'all units'), (0.18, sites, COLOURS[0], 'at hops')):
        axes.bar(np.arange(len(names)) + offset, [table.get(name, 0.0) for name in names], 0.34, color=colour,
                 label=text)  # fmt: skip
    axes.set_xticks(range(len(names)), [subscripts(name) for name in names], rotation=30 if len(names) > 4 else 0)
    axes.set(ylabel='share of the units', title='Units where ions hop', ylim=(0, None))
    headroom(axes, 0.2)
    legend(axes, loc='upper right', ncols=2)


@panels_for('anion_motion')
def anion_motion(source: Source) -> Iterator[Panel]:
    """Yield rotation against migration, by unit, and what the displacements are made of (qyang2025, Fig. 2d)."""
    rows = [row for name in ('rotated', 'migrated', 'resting') if (row := source.row(f'anions.{name}'))]
    if source.results is not None and rows:
        units = source.rows('units.rotated.')
        yield 'anion_shares', source.results, lambda axes, _: _anion_shares(axes, rows, units)
    if source.curve is not None:
        yield 'anions', source.curve, _anion_parts
        if 'each_msd' in source.curve.get_arraynames():
            yield 'each_anion', source.curve, _each_anion


def _anion_shares(axes: Any, rows: list[dict[str, Any]], units: list[dict[str, Any]]) -> None:
    """Draw the shares of anions that turned, left and rested, and behind a gap those of units with a turned one."""
    places = [*range(len(rows)), *(len(rows) + 0.5 + np.arange(len(units)))]
    every = [*rows, *units]
    colours = [*(COLOURS[0], COLOURS[1], GREY)[: len(rows)], *[COLOURS[5]] * len(units)]
    axes.bar(places, [row['value'] for row in every], 0.65, yerr=errors_of_rows(every), color=colours,
             error_kw={'lw': 0.8})  # fmt: skip
    names = [row['name'].rpartition('.')[2] for row in rows]
    names += [f'in {subscripts(row["name"].rpartition(".")[2])}' for row in units]
    axes.set_xticks(places, names, rotation=30, ha='right', rotation_mode='anchor')
    axes.set(ylabel='share', ylim=(0, None), title='Anions that turn, leave, rest; units with a turned one')


def _anion_parts(axes: Any, curve: orm.ArrayData) -> None:
    lag = array_of(curve, 'lag_time')
    parts = (('msd', 'whole', INK), ('msd_turning', 'by turning', COLOURS[0]),
             ('msd_carried', 'with the centre', COLOURS[1]), ('msd_mixed', 'mixed (counts twice)', GREY))  # fmt: skip
    for name, text, colour in parts:
        axes.plot(lag, array_of(curve, name), color=colour, lw=1.4 if name == 'msd' else 1.0, label=text)
    axes.set(xlabel=label('lag time', unit_in(curve, 'lag_time', 'ps')), title='Anions that stay')
    axes.set_ylabel(label('MSD', unit_in(curve, 'msd', 'Å^2')))
    headroom(axes, 0.2)
    legend(axes, loc='upper left', ncols=2)


def _each_anion(axes: Any, curve: orm.ArrayData) -> None:
    """Draw the mean squared displacement of each anion: a plateau for those that turn, a slope for those that leave."""
    lag = array_of(curve, 'lag_time')
    left, turned = (array_of(curve, name).astype(bool) for name in ('each_migrated', 'each_rotated'))
    lines = array_of(curve, 'each_msd')
    for members, text, colour in (
        (~left & ~turned, 'resting', GREY), (turned & ~left, 'rotated', COLOURS[0]), (left, 'migrated', COLOURS[1])
    ):  # fmt: skip
        if members.any():
            drawn = axes.plot(lag, lines[members].T, color=colour, lw=0.5, alpha=0.7)
            drawn[0].set_label(f'{text} ({int(members.sum())})')
    axes.set(xlabel=label('lag time', unit_in(curve, 'lag_time', 'ps')), title='Each anion', ylim=(0, None))
    axes.set_ylabel(label('MSD', unit_in(curve, 'each_msd', 'Å^2')))
    headroom(axes, 0.2)
    legend(axes, loc='upper left', ncols=3)


@panels_for('boundary_mobility')
def boundary_mobility(source: Source) -> Iterator[Panel]:
    """Yield displacements and diffusivities at grain boundaries and in the bulk (yang2024, polycrystals)."""
    if source.curve is not None:
        window = next((row['window'] for row in source.rows('diffusivity.') if row.get('window')), None)
        yield 'boundary_msd', source.curve, lambda axes, curve: mean_squared_displacements(axes, curve, window)
    rows = source.rows('diffusivity.')
    if source.results is not None and rows:
        yield 'boundaries', source.results, lambda axes, _: _regions(axes, rows, source)


def _regions(axes: Any, rows: list[dict[str, Any]], source: Source) -> None:
    names = [row['name'].split('.')[1:] for row in rows]
    axes.bar(range(len(rows)), [row['value'] for row in rows], 0.6, yerr=errors_of_rows(rows),
             color=[COLOURS[index % len(COLOURS)] for index in range(len(rows))], error_kw={'lw': 0.8})  # fmt: skip
    for place, (species, region) in enumerate(names):
        share = source.row(f'conductivity_share.{species}.{region}')
        if share is not None:
            top = rows[place]['value'] + (rows[place]['error'] or 0.0)
            axes.annotate(f'{100 * share["value"]:.0f} % of σ', (place, top), xytext=(0, 3), ha='center', fontsize=6,
                          textcoords='offset points')  # fmt: skip
    axes.set_xticks(range(len(rows)), [f'{species}, {region}' for species, region in names])
    axes.set(ylabel=label('diffusivity', unit_of_rows(rows)), title='Grain boundary and bulk')
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), None)
    headroom(axes, 0.1)


@panels_for('conformation')
def conformation(source: Source) -> Iterator[Panel]:
    """Yield the distributions of the angles of bridges, and a dihedral over time (you2025, Fig. 4d and e)."""
    if source.curve is None:
        return
    yield 'conformation', source.curve, _angles
    yield 'dihedral', source.curve, _dihedral_over_time


def _angles(axes: Any, curve: orm.ArrayData) -> None:
    bins = np.linspace(0, 180, 91)
    for name, text, colour in (
        ('bridge_angle', 'bridge angle', element_colour('O')), ('dihedral', 'smallest dihedral', COLOURS[0])
    ):  # fmt: skip
        values = array_of(curve, name).ravel()
        axes.hist(values[np.isfinite(values)], bins=bins, density=True, color=colour, alpha=0.6, histtype='stepfilled',
                  label=text)  # fmt: skip
    _marks(axes.axvline)
    axes.set(xlabel='angle (°)', ylabel='probability density (1/°)', title='Conformation', xlim=(0, 180))
    axes.set_xticks(range(0, 181, 30))
    headroom(axes, 0.2)
    legend(axes, loc='upper right', ncols=2)


def _marks(line: Any) -> None:
    """Mark the eclipsed and the staggered dihedral."""
    for angle, style in ((0.0, '-'), (60.0, ':')):
        line(angle, color=GREY, lw=0.7, ls=style, zorder=0)


def _dihedral_over_time(axes: Any, curve: orm.ArrayData) -> None:
    """Draw the dihedral of the followed bridge that turns most, as it is and low-pass filtered (you2025, Fig. 4e)."""
    time, filtered = array_of(curve, 'time'), array_of(curve, 'dihedral_filtered')
    followed = array_of(curve, 'followed').astype(int)
    spread = np.nan_to_num(np.nanstd(filtered, axis=0)) if filtered.size else np.zeros(0)
    axes.set(xlabel=label('time', unit_in(curve, 'time', 'ps')), ylabel='smallest dihedral (°)', ylim=(-3, 75))
    axes.set_title('Dihedral of one bridge')
    _marks(axes.axhline)
    for angle, text in ((0.0, 'eclipsed'), (60.0, 'staggered')):
        axes.annotate(text, (1, angle), xycoords=('axes fraction', 'data'), xytext=(2, 0), ha='left', va='center',
                      fontsize=6, textcoords='offset points', color=GREY, rotation=90)  # fmt: skip
    if not spread.size:
        return
    column = int(np.argmax(spread))
    bridge = followed[column] if filtered.shape[1] == len(followed) else column
    axes.plot(time, array_of(curve, 'dihedral')[:, bridge], color='#b8c8d8', lw=0.5, label='as it is')
    axes.plot(time, filtered[:, column], color=COLOURS[0], label='low-pass filtered')
    legend(axes, loc='upper left', ncols=2)
