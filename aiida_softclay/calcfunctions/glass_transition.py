"""Glass transition of a cooled structure, and its dependence on the cooling rate, as calcfunctions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.glass_transition import GlassTransition, NoGlassTransitionError, glass_transition
from aiida_softclay.analysis.quantity import Quantity, check_results, results_dict
from aiida_softclay.analysis.volume_curve import (
    RateDependence,
    VolumePoint,
    cooling_points,
    ladder_point,
    rate_dependence,
)
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed, temperature_notes

GLASS_TRANSITION = 'glass_transition_temperature'
#: 2 °C per minute (yang2024, Methods), K/ps.
CALORIMETER_RATE = 2 / 60 * 1e-12
RESAMPLED = 'repetitions with new noise and with redistributed residuals, the larger'
TRANSITION = (
    'crossing of two lines through specific volume against temperature, at this cooling rate (gupta2023, Supplementary '
    'Fig. 9)'
)


@calcfunction
def analyse_glass_transition(parameters: orm.Dict, **thermo: orm.ArrayData) -> dict[str, orm.Data] | ExitCode:
    """Return the glass transition of a ladder of temperatures or of a continuous cooling.

    Data that do not show two regimes give a glass transition without a value, whose warning says why.

    Parameters
    ----------
    parameters : Dict
        ``mode``; ``stages`` (of a ladder: ``name`` and ``temperature_K`` of each rung; of a cooling: one, with
        ``temperature_start_K`` and ``temperature_end_K``); ``edges_K`` of the bins of a cooling; ``rate_K_per_ps``;
        ``discard_share`` and ``drift_tolerance`` of a ladder; ``confidence``, ``n_resamples``, ``seed``; ``context``.
    **thermo : ArrayData
        Time series of each stage by its name.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: specific volume, error and lines by temperature).
    """
    options = parameters.get_dict()
    try:
        points = sorted(_points(options, thermo), key=lambda point: point.temperature)
        columns = {
            'temperature': (np.array([point.temperature for point in points]), 'K'),
            'measured_temperature': (np.array([point.measured_temperature for point in points]), 'K'),
            'specific_volume': (np.array([point.volume for point in points]), 'cm^3/g'),
            'specific_volume_error': (np.array([point.error for point in points]), 'cm^3/g'),
            'drift': (np.array([point.drift for point in points]), 'cm^3/g'),
            'drifting': (np.array([float(point.drifting) for point in points]), '1'),
        }
        temperatures, volumes, errors = (
            columns[name][0] for name in ('temperature', 'specific_volume', 'specific_volume_error')
        )
        found: GlassTransition | NoGlassTransitionError
        try:
            found = glass_transition(
                temperatures, volumes, errors, confidence=float(options['confidence']),
                n_resamples=int(options['n_resamples']), seed=int(options['seed']),
            )  # fmt: skip
            columns['two_lines'] = (found.at(temperatures), 'cm^3/g')
        except NoGlassTransitionError as error:
            found = error
        rate = float(options['rate_K_per_ps'])
        conditions = {
            'mode': options['mode'],
            'cooling_rate_K_per_ps': rate,
            'temperatures_K': [float(temperatures[0]), float(temperatures[-1])],
        }
        quantities = _numbers(found, points, conditions, _notes(points))
        context = {'cooling_rate_K_per_ps': rate, 'mode': options['mode'], **options.get('context', {})}
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': columns_node(columns)}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


@calcfunction
def analyse_cooling_rates(context: orm.Dict, **runs: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return how the glass transition depends on the cooling rate.

    Parameters
    ----------
    context : Dict
        What the numbers share.
    **runs : Dict
        Results of :func:`analyse_glass_transition`, one for each rate.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: glass transition by cooling rate).
    """
    try:
        rows = [_transition(runs[label].get_dict()) for label in sorted(runs)]
        rows.sort(key=lambda row: row['conditions']['cooling_rate_K_per_ps'])
        rates = np.array([row['conditions']['cooling_rate_K_per_ps'] for row in rows])
        temperatures = np.array([row['value'] for row in rows])
        errors = np.array([row['error'] for row in rows])
        line = rate_dependence(rates, temperatures, errors)
        intervals = np.array([row['conditions']['interval_K'] for row in rows])
        curve = columns_node(
            {
                'rate': (rates, 'K/ps'),
                'glass_transition': (temperatures, 'K'),
                'glass_transition_error': (errors, 'K'),
                'interval_low': (intervals[:, 0], 'K'),
                'interval_high': (intervals[:, 1], 'K'),
                'line': (line.at(rates), 'K'),
            }
        )
        results = results_dict(_rate_numbers(line, rates), **context.get_dict())
        return {'results': orm.Dict(results), 'curve': curve}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _points(options: dict[str, Any], thermo: dict[str, orm.ArrayData]) -> list[VolumePoint]:
    """Return the specific volume at each temperature."""
    stages = options['stages']
    for stage in stages:
        if stage['name'] not in thermo:
            raise ValueError(f'there is no time series of stage {stage["name"]}')
    if options['mode'] == 'cooling':
        stage = stages[0]
        node = thermo[stage['name']]
        times = node.get_array('time_ps')
        share = (times - times[0]) / np.ptp(times)
        start, end = float(stage['temperature_start_K']), float(stage['temperature_end_K'])
        thermostat = start + (end - start) * share
        return cooling_points(thermostat, node.get_array('temperature_K'), _volumes(node), options['edges_K'])
    return [
        ladder_point(
            float(stage['temperature_K']), thermo[stage['name']].get_array('temperature_K'),
            _volumes(thermo[stage['name']]), discard_share=float(options['discard_share']),
            drift_tolerance=float(options['drift_tolerance']),
        )
        for stage in stages
    ]  # fmt: skip


def _volumes(node: orm.ArrayData) -> np.ndarray:
    """Return the specific volume of each row, cm³/g."""
    return 1.0 / node.get_array('density_g_cm3')


def _notes(points: list[VolumePoint]) -> list[str]:
    notes = []
    if moving := [f'{point.temperature:.4g}' for point in points if point.drifting]:
        notes.append(f'the specific volume still drifts at {", ".join(moving)} K: cool more slowly')
    # Where the temperature itself was missed the point is not at the place it is plotted at.
    off = [note for point in points for note in temperature_notes(point.measured_temperature, point.temperature)]
    return notes + off[:1]


def _numbers(
    found: GlassTransition | NoGlassTransitionError, points: list[VolumePoint], conditions: dict[str, Any],
    notes: list[str],
) -> list[Quantity]:  # fmt: skip
    rate = conditions['cooling_rate_K_per_ps']
    decades = math.log10(rate / CALORIMETER_RATE)
    dependence = (
        f'the glass transition depends on the cooling rate: {rate:g} K/ps here is {decades:.0f} decades above a '
        'calorimeter (2 K/min in yang2024), which raises it'
    )
    window = (points[0].temperature, points[-1].temperature)
    common: dict[str, Any] = {
        'n_samples': len(points), 'window': window, 'window_unit': 'K', 'error_method': RESAMPLED,
        'frames_used': sum(point.n_samples for point in points),
    }  # fmt: skip
    speed = Quantity(
        name='cooling_rate', value=rate, error=0.0, unit='K/ps', n_samples=len(points), error_method='prescribed',
        definition='fall of the temperature over the time it takes; of a ladder, the step over the time of a rung',
        window=window, window_unit='K', conditions=dict(conditions),
    )  # fmt: skip
    if isinstance(found, NoGlassTransitionError):
        missing = Quantity(
            name=GLASS_TRANSITION, value=None, error=None, unit='K', definition=TRANSITION,
            conditions=dict(conditions), warnings=[str(found), *notes], **common,
        )  # fmt: skip
        return [missing, speed]
    details = {
        **conditions,
        'interval_K': list(found.interval),
        'confidence': found.confidence,
        'free_crossing_K': found.free_crossing if math.isfinite(found.free_crossing) else None,
        'chance_of_one_line': found.chance,
        'evidence_against_a_parabola': found.curvature_evidence,
        'reduced_chi_squared': found.reduced_chi_squared,
        'specific_volume_cm3_g': found.specific_volume,
    }
    rows = [
        Quantity(
            name=GLASS_TRANSITION, value=found.temperature, error=found.temperature_error, unit='K',
            definition=TRANSITION, conditions=details, warnings=[dependence, *found.warnings, *notes], **common,
        )
    ]  # fmt: skip
    rows += [
        Quantity(
            name=f'thermal_expansion.{side}', value=value, error=error, unit='1/K',
            definition=f'slope of the line {where} the glass transition over the specific volume at it',
            conditions={**conditions, 'glass_transition_K': found.temperature}, warnings=list(notes), **common,
        )
        for side, where, value, error in (
            ('glass', 'below', found.expansion_glass, found.expansion_glass_error),
            ('liquid', 'above', found.expansion_liquid, found.expansion_liquid_error),
        )
    ]  # fmt: skip
    return [*rows, speed]


def _transition(results: dict[str, Any]) -> dict[str, Any]:
    check_results(results)
    for row in results['numbers']:
        if row['name'] == GLASS_TRANSITION and row['value'] is not None:
            return row
    raise ValueError('a run without a glass transition cannot be part of a series: leave it out')


def _rate_numbers(line: RateDependence, rates: np.ndarray) -> list[Quantity]:
    common: dict[str, Any] = {
        'n_samples': line.n_samples, 'error_method': 'weighted least squares',
        'window': (float(rates.min()), float(rates.max())), 'window_unit': 'K/ps', 'warnings': list(line.warnings),
    }  # fmt: skip
    conditions: dict[str, Any] = {'reference_rate_K_per_ps': line.reference_rate}
    if math.isfinite(line.reduced_chi_squared):
        conditions['reduced_chi_squared'] = line.reduced_chi_squared
    return [
        Quantity(
            name='glass_transition_per_decade', value=line.slope, error=line.slope_error, unit='K',
            definition='slope of the glass transition against the decimal logarithm of the cooling rate',
            conditions=dict(conditions), **common,
        ),
        Quantity(
            name=f'{GLASS_TRANSITION}.at_mean_rate', value=line.temperature, error=line.temperature_error, unit='K',
            definition='glass transition of the line at the geometric mean of the cooling rates',
            conditions=dict(conditions), **common,
        ),
    ]  # fmt: skip
