"""Panels of the fit of a potential: errors over the steps of the training, and test frames against predictions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.arrays import array_of
from aiida_softclay.report.registry import Draw
from aiida_softclay.report.style import COLOURS, GREY, INK, headroom, label, legend, unit_in

#: Most points of a parity plot: more make the file large and the picture no better.
MOST_POINTS = 4000
#: Name of a quantity in words, its column in the learning curve, the key of its test error, and that of its gate.
QUANTITIES = {
    'energy': ('energy', 'rmse_e', 'energy_meV_atom', 'rmse_energy_meV_atom'),
    'force': ('force', 'rmse_f', 'force_meV_A', 'rmse_force_meV_A'),
}
#: The units that test errors and gates carry in their names.
ERROR_UNITS = {'energy': 'meV/atom', 'force': 'meV/Å'}


def _finite(values: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that a logarithmic axis can show: dp writes nan where there are no reference data."""
    kept = np.isfinite(values) & (values > 0)
    return steps[kept], values[kept]


def learning_curve(kind: str, axes: Any, curve: orm.ArrayData, gate: float | None = None) -> None:
    """Draw the root mean square errors on training and validation frames over the steps.

    Parameters
    ----------
    kind : str
        ``energy`` or ``force``.
    axes : matplotlib.axes.Axes
    curve : aiida.orm.ArrayData
        Output ``learning_curve`` of ``softclay.fit_potential``.
    gate : float, optional
        Largest test error that is accepted, meV/atom or meV/Å.
    """
    name, column, _, _ = QUANTITIES[kind]
    steps, arrays = array_of(curve, 'step'), curve.get_arraynames()
    unit = '1'
    for suffix, text, colour in (('_trn', 'training', COLOURS[5]), ('_val', 'validation', COLOURS[0]),
                                 ('', 'training', COLOURS[5])):  # fmt: skip
        if column + suffix in arrays:
            unit = unit_in(curve, column + suffix, 'eV/atom' if kind == 'energy' else 'eV/Å')
            axes.plot(*_finite(array_of(curve, column + suffix), steps), color=colour, lw=1.0, label=text)
    if gate is not None:
        axes.axhline(gate / 1000, color=INK, lw=0.8, ls='--', label=f'gate {gate:g} {ERROR_UNITS[kind]}')
    axes.set(xlabel='training step', ylabel=label(f'RMSE of the {name}', unit), yscale='log')
    axes.set_title(f'Learning curve, {"energies" if kind == "energy" else "forces"}')
    headroom(axes, 0.15)
    legend(axes, loc='upper right')


def parity(kind: str, axes: Any, details: orm.ArrayData, error: float | None = None) -> None:
    """Draw predictions against labels of the test frames, energies about their mean, with the diagonal.

    Parameters
    ----------
    kind : str
        ``energy`` or ``force``.
    axes : matplotlib.axes.Axes
    details : aiida.orm.ArrayData
        Output ``test_details`` of ``softclay.fit_potential``: eV/atom, eV/Å.
    error : float, optional
        Root mean square error over all test frames, meV/atom or meV/Å.
    """
    reference = np.asarray(array_of(details, f'{kind}_reference'), dtype=float).ravel()
    predicted = np.asarray(array_of(details, f'{kind}_predicted'), dtype=float).ravel()
    stride = max(1, -(-reference.size // MOST_POINTS))
    zero = reference.mean() if kind == 'energy' else 0.0
    reference, predicted = reference[::stride] - zero, predicted[::stride] - zero
    text = '' if error is None else f'RMSE {error:.3g} {ERROR_UNITS[kind]}'
    axes.plot(reference, predicted, '.', ms=2.5, color=COLOURS[0], alpha=0.4, rasterized=True, label=text or None)
    low, high = min(reference.min(), predicted.min()), max(reference.max(), predicted.max())
    edge = 0.05 * (high - low) or 1.0
    axes.plot([low - edge, high + edge], [low - edge, high + edge], color=GREY, lw=0.7)
    unit = unit_in(details, f'{kind}_reference', 'eV/atom' if kind == 'energy' else 'eV/Å')
    quantity = 'energy less its mean' if kind == 'energy' else 'force component'
    axes.set(xlabel=label(f'{quantity}, labels', unit), ylabel=label('potential', unit))
    axes.set_title(f'Test frames, {"energies" if kind == "energy" else "forces"}')
    legend(axes, loc='upper left')


def fit_panels(process: orm.ProcessNode) -> dict[str, tuple[orm.ArrayData, Draw]]:
    """Return the panels of a fit: learning curves and parity plots; none for what is no fit."""
    found: dict[str, tuple[orm.ArrayData, Draw]] = {}
    outputs = process.outputs
    potential = outputs.potential if 'potential' in outputs else None
    verdict = {} if potential is None else potential.base.attributes.get('verdict', None) or {}
    errors = {} if potential is None else potential.base.attributes.get('test_rmse', None) or {}
    gate = verdict.get('gate') or {}
    if 'learning_curve' in outputs:
        for kind, (_, _, _, limit) in QUANTITIES.items():
            draw = partial(learning_curve, kind, gate=gate.get(limit))
            found[f'learning_{kind}'] = (outputs.learning_curve, draw)
    if 'test_details' in outputs:
        for kind, (_, _, key, _) in QUANTITIES.items():
            if f'{kind}_reference' in outputs.test_details.get_arraynames():
                found[f'test_{kind}'] = (outputs.test_details, partial(parity, kind, error=errors.get(key)))
    return found
