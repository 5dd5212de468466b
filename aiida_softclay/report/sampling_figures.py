"""Panels of a plan of AIMD segments: temperature and energy over time, through the seams."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.arrays import array_of
from aiida_softclay.report.registry import Draw
from aiida_softclay.report.style import COLOURS, GREY, label, unit_in


def _over_time(axes: Any, series: orm.ArrayData, values: np.ndarray, colour: str) -> None:
    """Draw values at every step against the time, with a line wherever a segment begins."""
    time, segment = array_of(series, 'time_fs') / 1000, array_of(series, 'segment_index')
    axes.plot(time, values, color=colour, lw=0.8)
    for start in time[1:][np.diff(segment) != 0]:
        axes.axvline(start, color=GREY, lw=0.6, ls=':', zorder=0)
    axes.set_xlabel(label('time', 'ps'))


def _temperature(axes: Any, series: orm.ArrayData) -> None:
    _over_time(axes, series, array_of(series, 'temperature_K'), COLOURS[1])
    axes.set_ylabel(label('temperature', unit_in(series, 'temperature_K', 'K')))
    axes.set_title('Temperature of the AIMD')


def _energy(n_atoms: int, axes: Any, series: orm.ArrayData) -> None:
    _over_time(axes, series, array_of(series, 'free_energy_eV') / n_atoms, COLOURS[0])
    axes.set_ylabel(label('energy', f'{unit_in(series, "free_energy_eV", "eV")}/atom'))
    axes.set_title('Energy of the AIMD')


def sampling_panels(process: orm.ProcessNode) -> dict[str, tuple[orm.ArrayData, Draw]]:
    """Return the panels of an AIMD run; none for what is no such run."""
    outputs = process.outputs
    if 'series' not in outputs or 'structure' not in outputs:
        return {}
    series = outputs.series
    if not isinstance(series, orm.ArrayData) or 'segment_index' not in series.get_arraynames():
        return {}
    energy = partial(_energy, len(outputs.structure.sites))
    return {'aimd_temperature': (series, _temperature), 'aimd_energy': (series, energy)}
