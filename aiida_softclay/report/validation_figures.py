"""The pictures of a validation: parity, equations of state, stress–strain curves, mean squared displacements."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.arrays import array_of
from aiida_softclay.report.style import COLOURS, GREY, band, element_colour, legend

#: Most points of a parity plot: more make the file large and the picture no better.
MOST_POINTS = 5000


def subjects(curve: orm.ArrayData, prefix: str) -> list[str]:
    """Return what the arrays of a curve are about: the rest of the names that begin with a prefix."""
    return sorted(name.removeprefix(prefix) for name in curve.get_arraynames() if name.startswith(prefix))


def parity_panel(kind: str, axes: Any, curve: orm.ArrayData) -> None:
    """Draw energies (each structure about its own mean, which may differ by many eV) or forces, and the diagonal."""
    lowest, highest = np.inf, -np.inf
    for index, subject in enumerate(subjects(curve, f'{kind}_engine_')):
        reference = array_of(curve, f'{kind}_engine_{subject}').ravel()
        predicted = array_of(curve, f'{kind}_potential_{subject}').ravel()
        stride = max(1, reference.size // MOST_POINTS)
        shift = reference.mean() if kind == 'energy' else 0.0
        reference, predicted = reference[::stride] - shift, predicted[::stride] - shift
        lowest, highest = (
            min(lowest, reference.min(), predicted.min()), max(highest, reference.max(), predicted.max())
        )  # fmt: skip
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(reference, predicted, '.', ms=3, color=colour, alpha=0.5, label=subject, rasterized=True)
    edge = 0.05 * (highest - lowest)
    axes.plot([lowest - edge, highest + edge], [lowest - edge, highest + edge], color=GREY, lw=0.7)
    unit = 'energy less its mean (eV/atom)' if kind == 'energy' else 'force (eV/Å)'
    axes.set(
        xlabel=f'{unit}, engine', ylabel='potential', title=f'Parity of {"energies" if kind == "energy" else "forces"}'
    )
    legend(axes)


def equations_of_state(axes: Any, curve: orm.ArrayData) -> None:
    """Draw the energies of engine (points, solid) and potential (crosses, dashed), each above its own minimum."""
    from aiida_softclay.analysis.equation_of_state import fit_birch_murnaghan

    for index, subject in enumerate(subjects(curve, 'volume_')):
        volumes = array_of(curve, f'volume_{subject}')
        fine = np.linspace(volumes.min(), volumes.max(), 200)
        for side, marker, style in (('engine', 'o', '-'), ('potential', 'x', '--')):
            energies = array_of(curve, f'energy_{side}_{subject}')
            zero, colour = energies.min(), COLOURS[index % len(COLOURS)]
            try:
                axes.plot(fine, fit_birch_murnaghan(volumes, energies)(fine) - zero, style, color=colour, lw=1)
            except (ValueError, RuntimeError):
                # The points without a curve show why the table has no modulus.
                axes.plot(volumes, energies - zero, ':', color=colour, lw=0.7)
            axes.plot(volumes, energies - zero, marker, color=colour, ms=4, label=f'{subject}, {side}')
    axes.set(xlabel='volume (Å³)', ylabel='energy above lowest (eV)', title='Equations of state')
    legend(axes)


def stress_strain(axes: Any, curve: orm.ArrayData) -> None:
    """Draw the stresses of engine (solid) and potential (dashed) at the same strains."""
    for index, subject in enumerate(subjects(curve, 'strain_')):
        strain, colour = array_of(curve, f'strain_{subject}'), COLOURS[index % len(COLOURS)]
        for side, style in (('engine', 'o-'), ('potential', 'x--')):
            stress = array_of(curve, f'stress_{side}_{subject}')
            axes.plot(strain, stress, style, color=colour, ms=4, lw=1, label=f'{subject}, {side}')
    axes.set(xlabel='strain', ylabel='stress (GPa)', title='Static tension, ions relaxed')
    legend(axes)


def displacement_panel(run: str, engine: orm.ArrayData, axes: Any, potential: orm.ArrayData) -> None:
    """Draw the mean squared displacements of one run with both, with their errors."""
    for side, curve, style in (('engine', engine, '-'), ('potential', potential, '--')):
        lag = array_of(curve, 'lag_time')
        for species in subjects(curve, 'msd_error_'):
            values, error = array_of(curve, f'msd_{species}'), array_of(curve, f'msd_error_{species}')
            colour = element_colour(species)
            axes.plot(lag, values, style, color=colour, label=f'{species}, {side}')
            band(axes, lag, values, error, colour)
    axes.set(xlabel='lag time (ps)', ylabel='MSD (Å²)', title=f'Mean squared displacement, {run}')
    legend(axes)


def validation_panels(
    process: orm.ProcessNode,
) -> dict[str, tuple[orm.ArrayData, Callable[[Any, orm.ArrayData], None]]]:
    """Return the panels of a validation: name to the node and what draws it."""
    if 'curves' not in process.outputs:
        return {}
    curves = process.outputs.curves
    found: dict[str, tuple[orm.ArrayData, Callable[[Any, orm.ArrayData], None]]] = {}
    if 'parity' in curves:
        found['parity_energy'] = (curves.parity, partial(parity_panel, 'energy'))
        found['parity_force'] = (curves.parity, partial(parity_panel, 'force'))
    if 'equations_of_state' in curves:
        found['equations_of_state'] = (curves.equations_of_state, equations_of_state)
    if 'stress_strain' in curves:
        found['stress_strain'] = (curves.stress_strain, stress_strain)
    for name in sorted(curves):
        run = name.removeprefix('msd_potential_')
        if run != name and f'msd_engine_{run}' in curves:
            found[f'msd_{run}'] = (curves[name], partial(displacement_panel, run, curves[f'msd_engine_{run}']))
    return found
