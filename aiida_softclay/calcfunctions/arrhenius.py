"""Activation energies from runs at several temperatures, as a calcfunction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.arrhenius import Arrhenius, arrhenius
from aiida_softclay.analysis.quantity import Quantity, check_results, results_dict
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed

ENERGY = 'slope of ln {what} against −1 / (k_B T), weighted with the errors'
VALUE = 'read off the Arrhenius line of {name} at {temperature:g} K'
#: Points of the line that is kept for drawing.
LINE_POINTS = 101


@calcfunction
def analyse_arrhenius(parameters: orm.Dict, **runs: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return the activation energy of a number that several runs report, and its values at other temperatures.

    Parameters
    ----------
    parameters : Dict
        ``quantity`` (name of the number, for example ``diffusivity.Li``), and optionally ``at_K`` (list of
        temperatures to read off), ``confidence`` (0.95), ``glass_transition_K``, ``across_glass_transition`` (false),
        ``times_temperature`` (whether ln(X T) is fitted; by default for conductivities), ``context``.
    **runs : Dict
        Results nodes, whose number carries the condition ``temperature_K``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: temperatures and values with errors, and the line
        with its confidence band from the lowest to the highest temperature of data and ``at_K``).
    """
    options = parameters.get_dict()
    try:
        name = str(options['quantity'])
        rows = [_row(runs[label].get_dict(), name, label) for label in sorted(runs)]
        across = bool(options.get('across_glass_transition', False))
        found = arrhenius(
            [row['conditions']['temperature_K'] for row in rows], [row['value'] for row in rows],
            [row['error'] for row in rows],
            times_temperature=bool(options.get('times_temperature', name.startswith('conductivity'))),
            glass_transition=options.get('glass_transition_K'), across_glass_transition=across,
        )  # fmt: skip
        # A number that its own run calls doubtful makes a doubtful line.
        doubts = [f'{row["label"]}: {text}' for row in rows for text in row.get('warnings') or []]
        quantities = _numbers(found, name, rows[0]['unit'], options, across, doubts)
        results = results_dict(quantities, **options.get('context', {}))
        return {'results': orm.Dict(results), 'curve': _curve(found, rows, name, options)}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _row(results: dict[str, Any], name: str, label: str) -> dict[str, Any]:
    check_results(results)
    for row in results['numbers']:
        if row['name'] == name:
            conditions = row.get('conditions') or {}
            if 'temperature_K' not in conditions or row['value'] is None or row['error'] is None:
                raise ValueError(f'{name} of {label} has no temperature, no value or no error')
            return {**row, 'label': label}
    raise ValueError(f'{label} reports no {name}')


def _curve(found: Arrhenius, rows: list[dict[str, Any]], name: str, options: dict[str, Any]) -> orm.ArrayData:
    """Return points and line; where the line crosses the glass transition is for the reader to see."""
    rows = sorted(rows, key=lambda row: row['conditions']['temperature_K'])
    temperatures = np.array([row['conditions']['temperature_K'] for row in rows], dtype=float)
    ends = [*temperatures, *(float(temperature) for temperature in options.get('at_K', []))]
    # The line bends on neither axis of the plot: points even in 1/T, those of the data among them.
    grid = np.unique([*(1 / np.linspace(1 / max(ends), 1 / min(ends), LINE_POINTS)), *temperatures])
    confidence = float(options.get('confidence', 0.95))
    line = [found.at(float(T), confidence=confidence, across_glass_transition=True) for T in grid]
    unit = rows[0]['unit']
    columns = {
        'temperature': (temperatures, 'K'), 'value': ([row['value'] for row in rows], unit),
        'value_error': ([row['error'] for row in rows], unit), 'line_temperature': (grid, 'K'),
        'line': ([point.value for point in line], unit), 'line_lower': ([point.interval[0] for point in line], unit),
        'line_upper': ([point.interval[1] for point in line], unit),
    }  # fmt: skip
    node = columns_node(columns)
    node.base.attributes.set('quantity', name)
    node.base.attributes.set('confidence', confidence)
    return node


def _numbers(
    found: Arrhenius, name: str, unit: str, options: dict[str, Any], across: bool, doubts: list[str]
) -> list[Quantity]:
    common: dict[str, Any] = {
        'n_samples': found.n_samples, 'error_method': 'weighted least squares', 'window': found.temperatures,
        'window_unit': 'K',
    }  # fmt: skip
    conditions = {'glass_transition_K': found.glass_transition, 'reduced_chi_squared': found.reduced_chi_squared}
    conditions = {key: value for key, value in conditions.items() if value is not None and math.isfinite(value)}
    what = f'({name} T)' if found.times_temperature else name
    rows = [
        Quantity(
            name=f'activation_energy.{name}', value=found.activation_energy, error=found.activation_energy_error,
            unit='eV', definition=ENERGY.format(what=what), conditions=conditions,
            warnings=[*found.warnings, *doubts], **common,
        )
    ]  # fmt: skip
    for temperature in options.get('at_K', []):
        there = found.at(
            float(temperature), confidence=float(options.get('confidence', 0.95)), across_glass_transition=across
        )
        rows.append(
            Quantity(
                name=f'{name}.at_{float(temperature):g}_K', value=there.value, error=there.error, unit=unit,
                definition=VALUE.format(name=name, temperature=float(temperature)),
                conditions={
                    'temperature_K': float(temperature), 'lower': there.interval[0], 'upper': there.interval[1],
                    'confidence': there.confidence,
                },
                warnings=[*there.warnings, *doubts], **common,
            )
        )  # fmt: skip
    return rows
