"""Whether an equilibration is over: density, energy, cell lengths and cell angles must not drift any more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from aiida import orm
from ase.cell import Cell

from aiida_softclay.analysis.statistics import DriftTest, drift_test

#: Changes over the averaged time that do not count, where the caller does not say. Gupta et al. (2023) equilibrate
#: until density, cell and energy do not change any more, and give no numbers.
DRIFT_TOLERANCE = {
    'density_relative': 0.005,
    'energy_eV_per_atom': 0.001,
    'cell_length_relative': 0.005,
    'cell_angle_degrees': 0.5,
}
#: A drift test needs eight rows at least.
FEWEST_ROWS = 8
UNITS = {'density': 'g/cm^3', 'energy': 'eV/atom'}
LENGTHS, ANGLES = ('a', 'b', 'c'), ('alpha', 'beta', 'gamma')


def tolerance_problem(tolerances: Mapping[str, float]) -> str | None:
    """Return what is wrong with tolerances, or ``None``."""
    if unknown := sorted(set(tolerances) - set(DRIFT_TOLERANCE)):
        return f'drift_tolerance.{unknown[0]} is not known: there are {", ".join(DRIFT_TOLERANCE)}'
    for name, value in tolerances.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            return f'drift_tolerance.{name} is {value!r}: give a positive number'
    return None


def equilibrium_rows(thermo: orm.ArrayData, discard_fraction: float) -> slice:
    """Return the rows of a time series that are averaged: those after the discarded start."""
    total = len(thermo.get_array('time_ps'))
    return slice(min(int(np.ceil(discard_fraction * total)), max(0, total - 1)), total)


def equilibrium_drifts(
    thermo: orm.ArrayData, n_atoms: int, discard_fraction: float, tolerances: Mapping[str, float] | None = None
) -> dict[str, DriftTest]:
    """Return the drift tests over the averaged rows.

    Parameters
    ----------
    thermo : ArrayData
        Time series of the stage.
    n_atoms : int
    discard_fraction : float
        Share of the stage, from its start, that is left out.
    tolerances : mapping, optional
        Changes over the rows that do not matter, as in :data:`DRIFT_TOLERANCE`.

    Returns
    -------
    dict
        ``density`` (g/cm³), ``energy`` (eV/atom), ``cell length a`` to ``c`` (Å) and ``cell angle alpha`` to ``gamma``
        (degrees); empty if there are too few rows to tell. A length or angle that is held fixed does not drift.
    """
    limits = {**DRIFT_TOLERANCE, **(tolerances or {})}
    rows = equilibrium_rows(thermo, discard_fraction)
    times = thermo.get_array('time_ps')[rows]
    if len(times) < FEWEST_ROWS:
        return {}
    cells = np.array([Cell(cell).cellpar() for cell in thermo.get_array('cell')[rows]])
    series = {
        'density': (thermo.get_array('density_g_cm3')[rows], float(limits['density_relative']), True),
        'energy': (
            thermo.get_array('potential_energy_eV')[rows] / n_atoms, float(limits['energy_eV_per_atom']), False
        ),
    }  # fmt: skip
    for index, name in enumerate(LENGTHS):
        series[f'cell length {name}'] = cells[:, index], float(limits['cell_length_relative']), True
    for index, name in enumerate(ANGLES):
        series[f'cell angle {name}'] = cells[:, 3 + index], float(limits['cell_angle_degrees']), False
    return {
        name: drift_test(values, times, tolerance=limit * (float(np.abs(values).mean()) if relative else 1.0))
        for name, (values, limit, relative) in series.items()
    }


def drifting(drifts: Mapping[str, DriftTest]) -> list[str]:
    """Return the names of what still drifts."""
    return [name for name, test in drifts.items() if test.drifting]


def drift_notes(drifts: Mapping[str, DriftTest], duration_ps: float) -> list[str]:
    """Return a sentence for everything that drifts, and for what the run is too short to tell of."""
    notes, open_questions = [], []
    for name, test in drifts.items():
        unit = UNITS.get(name, 'Å' if name.startswith('cell length') else 'degrees')
        if test.drifting:
            notes.append(
                f'the {name} still drifts: {test.drift:+.3g} ± {test.drift_error:.2g} {unit} over the '
                f'last {duration_ps:.4g} ps; equilibrate longer'
            )
        elif not test.resolved:
            open_questions.append(f'the {name} of {2 * test.drift_error:.2g} {unit}')
    if open_questions:
        notes.append(f'the run is too short to exclude a drift of {", ".join(open_questions)}')
    return notes
