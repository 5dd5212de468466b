"""Panels of mechanics: pulses, stress against strain, non-affine displacements with zones, bands and chemistry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from aiida import orm
from ase.data import atomic_numbers

from aiida_softclay.report.arrays import array_of
from aiida_softclay.report.cell_panel import plastic_snapshots
from aiida_softclay.report.registry import Panel, Source, panels_for
from aiida_softclay.report.style import (
    COLOURS,
    GREY,
    INK,
    LIGHT,
    band,
    colour_bar,
    colours_of,
    element_colour,
    fit_to_lines,
    headroom,
    label,
    legend,
    unit_in,
)

D2MIN = '$D^2_{min}$'
#: Limits of the classes of largest and smallest D²min: fractions of the maximum (gupta2023, Fig. 2), and percentiles.
FRACTIONS = (0.9, 0.1)
PERCENTILES = (90.0, 10.0)


@panels_for('stress_pulse')
def stress_pulse(source: Source) -> Iterator[Panel]:
    """Yield strain and energy through the pulses (gupta2023, Fig. 1c)."""
    if source.curve is None:
        return
    component = str(source.context.get('component') or (source.rows() or [{}])[0].get('conditions', {}).get('component')
                    or '')  # fmt: skip
    yield 'stress_pulse', source.curve, lambda axes, curve: _pulse_strain(axes, curve, component)
    if 'energy_change' in source.curve.get_arraynames():
        yield 'pulse_energy', source.curve, _pulse_energy


def _loads(axes: Any, curve: orm.ArrayData) -> None:
    """Shade the time under load and say how large the load is."""
    time, applied = array_of(curve, 'time'), array_of(curve, 'stress_applied')
    on = np.flatnonzero(np.abs(applied) > 0)
    if not on.size:
        return
    for part in np.split(on, np.flatnonzero(np.diff(on) > 1) + 1):
        axes.axvspan(time[part[0]], time[part[-1]], color=LIGHT, alpha=0.35, lw=0, zorder=0)
        axes.annotate(
            f'{1000 * applied[part[0]]:g} MPa', (0.5 * (time[part[0]] + time[part[-1]]), 1),
            xycoords=('data', 'axes fraction'), xytext=(0, -2), textcoords='offset points', ha='center', va='top',
            fontsize=6, color=GREY,
        )  # fmt: skip


def _pulse_strain(axes: Any, curve: orm.ArrayData, component: str) -> None:
    time = array_of(curve, 'time')
    _loads(axes, curve)
    axes.plot(time, array_of(curve, 'strain'), color=COLOURS[5], lw=0.4)
    axes.plot(time, array_of(curve, 'strain_averaged'), color=COLOURS[0], lw=1.3)
    axes.axhline(0, color=GREY, lw=0.4, zorder=0)
    name = f'shear strain γ$_{{{component}}}$' if component else 'shear strain'
    axes.set(xlabel=label('time', unit_in(curve, 'time', 'ps')), ylabel=name, title='Stress pulses')
    headroom(axes, 0.12)


def _pulse_energy(axes: Any, curve: orm.ArrayData) -> None:
    time = array_of(curve, 'time')
    _loads(axes, curve)
    axes.plot(time, array_of(curve, 'energy_change'), color='#e8c9ad', lw=0.4)
    axes.plot(time, array_of(curve, 'energy_change_averaged'), color=COLOURS[1], lw=1.3)
    axes.axhline(0, color=GREY, lw=0.4, zorder=0)
    axes.set(
        xlabel=label('time', unit_in(curve, 'time', 'ps')),
        ylabel=label('change of potential energy', unit_in(curve, 'energy_change')), title='Energy through the pulses',
    )  # fmt: skip
    headroom(axes, 0.12)


@panels_for('constant_strain')
def constant_strain(source: Source) -> Iterator[Panel]:
    """Yield stress against strain with the elastic line and the points of yield."""
    if source.curve is not None:
        yield 'constant_strain', source.curve, lambda axes, curve: _stress_strain(axes, curve, source)


def _stress_strain(axes: Any, curve: orm.ArrayData, source: Source) -> None:
    strain, averaged = array_of(curve, 'strain'), array_of(curve, 'stress_averaged')
    axes.plot(strain, array_of(curve, 'stress'), color=COLOURS[5], lw=0.4)
    axes.plot(strain, averaged, color=COLOURS[0], lw=1.3, label='stress')
    sign = -1.0 if strain[-1] < strain[0] else 1.0
    modulus = source.row('shear_modulus') or source.row('youngs_modulus')
    inside = np.isfinite(averaged)
    if modulus is not None and modulus.get('window'):
        low, high = modulus['window']
        chosen = inside & (sign * strain >= low) & (sign * strain <= high)
        # The line passes through the mean of what it was fitted to.
        centre = (strain[chosen].mean(), averaged[chosen].mean()) if chosen.any() else (0.0, 0.0)
        # It is drawn beyond the window, so that the eye sees where the curve leaves it.
        ends = sign * np.array([low, low + 2 * (high - low)])
        kind = 'G' if modulus['name'] == 'shear_modulus' else 'E'
        axes.plot(
            ends, centre[1] + modulus['value'] * (ends - centre[0]), '--', color=INK, lw=1.0,
            label=f'{kind} = {_with_error(modulus)}',
        )  # fmt: skip
    for name, where, marker, text in (
        ('yield_stress.maximum', 'strain_at_maximum', 'o', 'largest'),
        ('yield_stress.offset', 'strain_at_offset_yield', 's', 'offset'),
    ):
        row = source.row(name)
        at = (row or {}).get('conditions', {}).get(where)
        if row is not None and at is not None:
            axes.errorbar(
                sign * at, sign * row['value'], yerr=row['error'], fmt=marker, color=COLOURS[1], mfc='white', ms=4,
                lw=0.8, label=f'yield ({text}): {_with_error(row)}',
            )  # fmt: skip
    component = (modulus or {}).get('conditions', {}).get('component') or source.context.get('component')
    shear = modulus is None or modulus['name'] == 'shear_modulus'
    kind = 'shear ' if shear else ''
    index = f'$_{{{component}}}$' if component else ''
    axes.set(
        xlabel=f'{kind}strain {"γ" if shear else "ε"}{index}',
        ylabel=label(f'{kind}stress {"τ" if shear else "σ"}{index}', unit_in(curve, 'stress', 'GPa')),
        title='Constant strain rate',
    )  # fmt: skip
    headroom(axes, 0.3)
    legend(axes, loc='upper left')


def _with_error(row: Mapping[str, Any]) -> str:
    from aiida_softclay.report.queries import format_value

    return f'{format_value(row["value"], row["error"])} {row["unit"]}'


@panels_for('plasticity')
def plasticity(source: Source) -> Iterator[Panel]:
    """Yield D²min against strain, its distribution, zones, bands, g(r) of classes and snapshots (gupta2023, Fig. 2)."""
    curve = source.curve
    if curve is not None:
        thermal = source.row('d2min.thermal')
        yield 'plasticity', curve, lambda axes, node: _plastic_strain(axes, node, thermal)
        names = set(curve.get_arraynames())
        if 'zone_mean_size' in names:
            yield 'zones', curve, lambda axes, node: _zones(axes, node, source)
        if 'layer_profiles' in names:
            yield 'layers', curve, _layers
        if any(name.startswith('g_largest_') for name in names):
            yield 'classes', curve, lambda axes, node: _class_pairs(axes, node, source)
    if 'atoms' in source.arrays:
        yield 'd2min', source.arrays['atoms'], lambda axes, node: _d2min_distribution(axes, node, source)
        yield from plastic_snapshots(source.arrays['atoms'])


def _strain_of(curve: orm.ArrayData) -> np.ndarray:
    strain = array_of(curve, 'strain')
    return strain[:, -1] if strain.ndim == 2 else strain


def _plastic_strain(axes: Any, curve: orm.ArrayData, thermal: Mapping[str, Any] | None) -> None:
    """Draw the mean D²min of all atoms and of every element against strain."""
    strain = _strain_of(curve)
    mean, error = array_of(curve, 'd2min'), array_of(curve, 'd2min_error')
    axes.plot(strain, mean, color=INK, lw=1.4, label='all')
    band(axes, strain, mean, error, INK)
    others = [name.removeprefix('d2min_') for name in sorted(curve.get_arraynames()) if name.startswith('d2min_')]
    elements = [name for name in others if name not in ('error', 'largest')]
    for name in elements if len(elements) > 1 else ():
        axes.plot(strain, array_of(curve, f'd2min_{name}'), color=element_colour(name), lw=1.0, label=name)
    if thermal is not None:
        axes.axhline(thermal['value'], color=GREY, lw=0.8, ls='--', label='at rest')
    axes.set(xlabel='strain', ylabel=label(f'mean {D2MIN}', unit_in(curve, 'd2min')), title='Non-affine displacements')
    legend(axes)


def class_limits(table: np.ndarray, rule: str) -> tuple[tuple[np.ndarray, str], tuple[np.ndarray, str]]:
    """Return the limits of the classes of largest and smallest D²min in each pair of frames, with their names.

    Parameters
    ----------
    table : ndarray, shape (n_pairs, n_atoms)
        D²min of the atoms that are divided, Å².
    rule : str
        Text that names percentiles, or the fractions of the maximum.
    """
    if 'percentile' in rule:
        found = [(np.nanpercentile(table, share, axis=1), f'{share:g}th percentile') for share in PERCENTILES]
    else:
        highest = np.nanmax(table, axis=1)
        found = [(share * highest, f'{100 * share:g} % of the maximum') for share in FRACTIONS]
    return found[0], found[1]


def _d2min_distribution(axes: Any, atoms: orm.ArrayData, source: Source) -> None:
    """Draw the distribution of D²min over atoms and pairs of frames, with the limits of the classes.

    Where the classes are of one element, only its atoms count. Classes are made anew for each pair of frames: the
    marks are the medians of the limits, the shades their ranges.
    """
    table = array_of(atoms, 'd2min')
    table = table[None, :] if table.ndim == 1 else table
    classed = next(iter(source.rows('coordination.')), None)
    rule = str((classed or {}).get('conditions', {}).get('class_rule') or 'maximum')
    of = 'all atoms'
    if classed is not None and 'atomic_numbers' in atoms.get_arraynames():
        of = classed['name'].split('.')[1].partition('-')[0]
        table = table[:, array_of(atoms, 'atomic_numbers') == atomic_numbers[of]]
    unit = unit_in(atoms, 'd2min', 'Å^2')
    axes.set(xlabel=label(D2MIN, unit), title=f'Distribution of {D2MIN}, {of}')
    axes.set_ylabel(label('probability density', unit.replace('^2', '^-2')))
    values = table[np.isfinite(table) & (table > 0)]
    if not values.size:
        return
    # A few atoms that hardly move would stretch a logarithmic axis without telling anything.
    low, high = float(np.quantile(values, 1e-3)), float(values.max())
    bins = np.geomspace(low if low < high else 0.5 * high, high, 50)
    axes.hist(values, bins=bins, density=True, color=COLOURS[0], histtype='stepfilled', alpha=0.45)
    axes.set(xscale='log', yscale='log')
    line = '-.' if 'percentile' in rule else '--'
    for (edges, text), colour in zip(class_limits(table, rule), (COLOURS[1], COLOURS[2]), strict=True):
        axes.axvspan(float(edges.min()), float(edges.max()), color=colour, alpha=0.15, lw=0)
        axes.axvline(float(np.median(edges)), color=colour, lw=0.9, ls=line, label=text)
    headroom(axes, 0.25)
    legend(axes, loc='upper right')


def _zones(axes: Any, curve: orm.ArrayData, source: Source) -> None:
    """Draw how the atoms that rearrange most cluster, against as many drawn at random; bands are marked."""
    strain, found = _strain_of(curve), array_of(curve, 'zone_mean_size')
    axes.plot(strain, found, 'o-', ms=3, color=COLOURS[1], label=f'largest {D2MIN}')
    axes.plot(strain, array_of(curve, 'zone_random_mean_size'), '--', color=GREY, label='as many at random')
    rest = source.row('shear_zones.mean_size.thermal')
    if rest is not None:
        axes.axhline(rest['value'], color=COLOURS[0], lw=0.8, ls=':', label='at rest')
    bands = array_of(curve, 'zone_dimension') >= 2
    if bands.any():
        axes.plot(strain[bands], found[bands], 's', ms=6, mfc='none', color=INK, label='band across the cell')
    axes.set(xlabel='strain', ylabel='atoms in the zone of an atom', title='Shear transformation zones', ylim=(0, None))
    headroom(axes, 0.3)
    legend(axes, loc='upper left')


def _layers(axes: Any, curve: orm.ArrayData) -> None:
    """Draw D²min averaged in layers parallel to the faces that layer most, against strain: a band is a stripe."""
    profiles, layering = array_of(curve, 'layer_profiles'), array_of(curve, 'layering')
    axis = int(np.argmax(layering.mean(axis=0)))
    strain = array_of(curve, 'strain')
    edges = np.append(strain[:, 0], strain[-1, -1]) if strain.ndim == 2 else np.arange(len(strain) + 1)
    if (np.diff(edges) <= 0).any():
        edges = np.linspace(float(strain.min()), float(strain.max()), len(profiles) + 1)
    heights = np.linspace(0, 1, profiles.shape[2] + 1)
    image = axes.pcolormesh(edges, heights, profiles[:, axis].T, cmap='cividis', vmin=0, rasterized=True)
    colour_bar(axes, image, label(f'mean {D2MIN}', unit_in(curve, 'layer_profiles', 'Å^2')))
    faces = ('b–c', 'c–a', 'a–b')[axis]
    axes.set(xlabel='strain', ylabel=f'height above the {faces} face', title=f'Layers parallel to the {faces} face')


def _class_pairs(axes: Any, curve: orm.ArrayData, source: Source) -> None:
    """Draw g(r) about the atoms of largest and of smallest D²min (gupta2023, Fig. 2f)."""
    radii = array_of(curve, 'radii')
    arrays = curve.get_arraynames()
    partners = sorted(name.removeprefix('g_largest_') for name in arrays if name.startswith('g_largest_'))
    rows = source.rows('coordination.')
    central = rows[0]['name'].split('.')[1].partition('-')[0] if rows else ''
    for partner, colour in zip(partners, colours_of(partners), strict=True):
        for kind, line in (('largest', '-'), ('smallest', '--')):
            values = array_of(curve, f'g_{kind}_{partner}')
            name = f'{central}–{partner}' if central else partner
            axes.plot(radii, values, line, color=colour, label=f'{name}, {kind} {D2MIN}')
            band(axes, radii, values, array_of(curve, f'g_error_{kind}_{partner}'), colour)
    window = rows[0].get('window') if rows else None
    about = f' at strains {window[0]:.3g} to {window[1]:.3g}' if window else ''
    axes.set(xlabel=label('r', unit_in(curve, 'radii', 'Å')), ylabel='g(r)', title=f'Neighbours by {D2MIN}{about}')
    fit_to_lines(axes, 0.8)
    legend(axes, ncols=1)
