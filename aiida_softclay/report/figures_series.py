"""Panels of series of experiments: residual strain against the size of the pulse, yield stress against the rate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.arrays import array_of
from aiida_softclay.report.registry import Panel, Source, panels_for
from aiida_softclay.report.style import COLOURS, GREY, headroom, label, legend, unit_in

MAGNITUDE, RATE = 'magnitude_mpa', 'rate_per_ps'
YIELDS = (('yield_stress_maximum', 'largest', 'o'), ('yield_stress_offset', 'offset', 's'))
#: Verdict on a residual strain to the filling of its mark.
FILLED = {'plastic': 'full', 'elastic': 'none'}


def _groups(curve: orm.ArrayData, source: Source, axis: str) -> Iterator[tuple[str, list[int]]]:
    """Yield the points of a curve that differ along one axis only: what the others are, and which rows.

    Signs of the axis count as one more parameter.
    """
    points = source.context.get('points') or {}
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(curve.base.attributes.get('points')):
        values = (points.get(name) or {}).get('values') or {}
        words = [f'{key.rpartition(".")[2]} {value}' for key, value in values.items() if key != axis]
        if float(values.get(axis, 0)) < 0:
            words.append('negative')
        groups.setdefault(', '.join(words), []).append(row)
    yield from groups.items()


@panels_for('stress_pulse_series')
def stress_pulses(source: Source) -> Iterator[Panel]:
    """Yield what is left of the strain after the last release, against the stress that was applied."""
    if source.curve is None or MAGNITUDE not in source.curve.get_arraynames():
        return
    cycles = [int(found[1]) for name in source.curve.get_arraynames()
              if (found := re.fullmatch(r'residual_strain_cycle_(\d+)', name))]  # fmt: skip
    if cycles:
        yield 'residual_strain', source.curve, lambda axes, curve: _residuals(axes, curve, source, max(cycles))


def _residuals(axes: Any, curve: orm.ArrayData, source: Source, cycle: int) -> None:
    """Draw residual strains with their errors; full marks are plastic, empty ones elastic, the band is the noise."""
    name = f'residual_strain_cycle_{cycle}'
    stress, residual = array_of(curve, MAGNITUDE), array_of(curve, name)
    error = array_of(curve, f'{name}_error')
    noise = array_of(curve, 'thermal_strain_noise') if 'thermal_strain_noise' in curve.get_arraynames() else None
    verdicts = [
        (source.row(f'{point}.residual_strain.cycle_{cycle}') or {}).get('conditions', {}).get('verdict', '')
        for point in curve.base.attributes.get('points')
    ]
    if noise is not None and np.isfinite(noise).any():
        level = float(np.sqrt(np.nanmean(noise**2)))
        axes.axhspan(-level, level, color=GREY, alpha=0.2, lw=0, label='thermal noise')
    for index, (text, rows) in enumerate(_groups(curve, source, MAGNITUDE)):
        colour = COLOURS[index % len(COLOURS)]
        order = sorted(rows, key=lambda row: abs(stress[row]))
        axes.plot(np.abs(stress[order]), residual[order], '-', color=colour, lw=0.7, label=text or None)
        for row in order:
            axes.errorbar(
                abs(stress[row]), residual[row], yerr=np.nan_to_num(error[row]), fmt='o', color=colour, ms=5, lw=0.8,
                fillstyle=FILLED.get(verdicts[row], 'left'),
            )  # fmt: skip
    axes.axhline(0, color=GREY, lw=0.5, zorder=0)
    axes.set(
        xlabel='applied stress (MPa)', ylabel=f'residual strain after pulse {cycle}',
        title='Full: plastic; empty: elastic; half: undetermined',
    )  # fmt: skip
    headroom(axes, 0.2)
    legend(axes, loc='upper left')


@panels_for('constant_strain_series')
def strain_rates(source: Source) -> Iterator[Panel]:
    """Yield the yield stresses against the strain rate, with the lines fitted to them."""
    if source.curve is None or RATE not in source.curve.get_arraynames():
        return
    if any(name in source.curve.get_arraynames() for name, _, _ in YIELDS):
        yield 'rate_dependence', source.curve, lambda axes, curve: _rates(axes, curve, source)


def _rates(axes: Any, curve: orm.ArrayData, source: Source) -> None:
    rates, arrays = np.abs(array_of(curve, RATE)), curve.get_arraynames()
    groups = list(_groups(curve, source, RATE))
    lines = {name: array_of(curve, name) for name in arrays if name.endswith('_line')}
    for name, text, marker in YIELDS:
        if name not in arrays:
            continue
        values, errors = array_of(curve, name), array_of(curve, f'{name}_error')
        for index, (about, rows) in enumerate(groups):
            colour = COLOURS[index % len(COLOURS)]
            order = sorted(rows, key=lambda row: rates[row])
            axes.errorbar(
                rates[order], values[order], yerr=np.nan_to_num(errors[order]), fmt=marker, color=colour, mfc='white',
                ms=4, lw=0.8, label=f'{text}{f", {about}" if about else ""}',
            )  # fmt: skip
            for line, fitted in lines.items():
                # The line of a group has values at its points only.
                if line.endswith(f'{name}_line') and np.isfinite(fitted[rows]).all():
                    axes.plot(rates[order], fitted[order], '-', color=colour, lw=0.9)
    axes.set(xscale='log', xlabel='strain rate (1/ps)', title='Yield stress and strain rate')
    axes.set_ylabel(label('yield stress', next(unit_in(curve, name) for name, _, _ in YIELDS if name in arrays)))
    headroom(axes, 0.25)
    legend(axes, loc='upper left', ncols=2)
