"""Activation energies of the numbers of a series of conductivity runs, and what may be read off their lines."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from scipy import stats

from aiida_softclay.analysis.arrhenius import Arrhenius, GlassTransitionError, arrhenius
from aiida_softclay.analysis.quantity import Quantity, check_results, results_dict
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed

TEMPERATURE = 'temperature_K'
GLASS_TRANSITION = 'glass_transition_temperature'
#: Numbers that follow a line of their logarithm against 1/T.
ACTIVATED = re.compile(r'(diffusivity\.[^.]+|conductivity\.(?!self\.|distinct\.)[^.]+)')
ENERGY = 'slope of ln {what} against −1 / (k_B T), weighted with the errors'
PREFACTOR = 'value of {what} on its Arrhenius line at infinite temperature'
VALUE = 'read off the Arrhenius line of {name} at {temperature:g} K'
SIDES = {'below': 'below_glass_transition', 'above': 'above_glass_transition', '': ''}
LINE_POINTS = 51
#: Parts of warnings of single runs that do not concern a line through them.
NOT_OF_LINES = ('not extrapolated', 'masses alone')


@calcfunction
def analyse_temperatures(
    settings: orm.Dict, glass_transition: orm.Dict | None = None, **tables: orm.Dict
) -> dict[str, orm.Data] | ExitCode:
    """Return activation energies, prefactors and extrapolated values of the numbers of a series over temperatures.

    Where the temperatures lie on both sides of the glass transition, each side has its own line, and where it lies
    between the data and the temperature to read off, the number has no value and its warning says why; unless
    ``extrapolate_across_glass_transition``.

    Parameters
    ----------
    settings : Dict
        ``points`` (list of ``label`` and ``values``, as in :func:`~.series.combine_runs`), and optionally ``at_K``
        (list of temperatures to read off), ``glass_transition_K``, ``extrapolate_across_glass_transition``,
        ``confidence``, ``context``.
    glass_transition : Dict, optional
        Results with the number ``glass_transition_temperature``, instead of ``glass_transition_K``.
    **tables : Dict
        Results of :func:`~.series.combine_runs`.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and, for each quantity with a line, ``curve_QUANTITY`` (ArrayData: points
        with errors, line with its confidence band, with units).
    """
    options = settings.get_dict()
    try:
        at = _transition_of(options, glass_transition)
        numbers = [row for label in sorted(tables) for row in _numbers_of(tables[label])]
        quantities, curves = [], {}
        for prefix, points in _groups(options['points']).items():
            for name in _names(numbers, points):
                found = _series(numbers, points, name)
                made, lines = _activated(found, name, at, options, prefix)
                quantities += made
                for line in lines:
                    curves[_label('curve', prefix, name, line.side)] = _curve(line, name, options, at)
        if not quantities:
            raise ValueError('no number of the series is known at two temperatures: there is no activation energy')
        context = {'glass_transition_K': at, **options.get('context', {})}
        return {'results': orm.Dict(results_dict(quantities, **context)), **curves}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


@calcfunction
def join_tables(single_ions: orm.Dict, **tables: orm.Dict) -> orm.Dict:
    """Return the numbers of several results nodes of a series in one, each with the ``source`` it was taken from.

    The context is that of ``single_ions``, the table of :func:`~.series.combine_runs`.

    Raises
    ------
    ValueError
        If a node does not follow the results schema.
    """
    joined = single_ions.get_dict()
    joined['numbers'] = [
        {**row, 'source': node.uuid}
        for node in (single_ions, *(tables[label] for label in sorted(tables)))
        for row in _numbers_of(node)
    ]
    check_results(joined)
    return orm.Dict(joined)


@dataclass(frozen=True)
class _Line:
    """An Arrhenius line on one side of the glass transition with its points."""

    side: str
    rows: list[dict[str, Any]]
    found: Arrhenius


def _numbers_of(table: orm.Dict) -> list[dict[str, Any]]:
    content = table.get_dict()
    check_results(content)
    return content['numbers']


def _transition_of(options: dict[str, Any], node: orm.Dict | None) -> float | None:
    """Return the glass transition in K, from the settings or from results."""
    given = options.get('glass_transition_K')
    if node is None:
        return None if given is None else float(given)
    if given is not None:
        raise ValueError('the glass transition is given twice, as a temperature and as results: leave out one')
    found = [row for row in _numbers_of(node) if row['name'].rpartition('.')[2] == GLASS_TRANSITION]
    known = [row for row in found if row['value'] is not None]
    if len(known) != 1:
        names = ', '.join(row['name'] for row in known) or 'none'
        raise ValueError(
            f'the results must hold one {GLASS_TRANSITION} and hold {names}: give glass_transition_K instead'
        )
    return float(known[0]['value'])


def _groups(points: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the points that differ in temperature only, by a prefix made of the other parameters."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        words = [f'{name.rpartition(".")[2]}_{value}' for name, value in point['values'].items() if name != TEMPERATURE]
        prefix = re.sub(r'[^a-z0-9]+', '_', '_'.join(words).lower()).strip('_')
        groups.setdefault(f'{prefix}.' if prefix else '', []).append(point)
    return groups


def _names(numbers: list[dict[str, Any]], points: list[dict[str, Any]]) -> list[str]:
    labels = tuple(f'{point["label"]}.' for point in points)
    names = {row['name'].partition('.')[2] for row in numbers if row['name'].startswith(labels)}
    return sorted(name for name in names if ACTIVATED.fullmatch(name))


def _series(numbers: list[dict[str, Any]], points: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the rows of one number by temperature."""
    by_name = {row['name']: row for row in numbers}
    rows = [by_name[f'{point["label"]}.{name}'] for point in points if f'{point["label"]}.{name}' in by_name]
    found = []
    for row in rows:
        temperature = (row.get('conditions') or {}).get(TEMPERATURE)
        if temperature is None:
            raise ValueError(f'{row["name"]} does not say at which temperature it holds')
        found.append({**row, TEMPERATURE: float(temperature)})
    return sorted(found, key=lambda row: row[TEMPERATURE])


def _why_unusable(row: dict[str, Any]) -> str | None:
    """Return why a number is no point of an Arrhenius line."""
    conditions = row.get('conditions') or {}
    moved, jump = conditions.get('msd_at_end_A2'), conditions.get('hop_length_A')
    if moved is not None and jump is not None and moved < jump**2:
        return 'the ions have not gone one jump'
    if row['value'] is None or row['error'] is None:
        return 'it has no value or no error'
    if row['value'] <= 0 or row['error'] <= 0:
        return 'its value or error is not positive'
    return None


def _activated(
    rows: list[dict[str, Any]], name: str, at: float | None, options: dict[str, Any], prefix: str
) -> tuple[list[Quantity], list[_Line]]:
    """Return activation energies, prefactors and extrapolated values of one number."""
    across = bool(options.get('extrapolate_across_glass_transition', False))
    confidence = float(options.get('confidence', 0.95))
    unusable = {id(row): why for row in rows if (why := _why_unusable(row))}
    left_out = [f'{row[TEMPERATURE]:.0f} K is left out: {unusable[id(row)]}' for row in rows if id(row) in unusable]
    usable = [row for row in rows if id(row) not in unusable]
    # An ion that stands still at every temperature has no activation energy to report.
    if len({row[TEMPERATURE] for row in usable}) < 2:
        return [], []
    # What single runs are warned of concerns the line as well.
    doubts = [f'{row[TEMPERATURE]:.0f} K: {text}' for row in usable for text in row.get('warnings') or []]
    doubts = [text for text in doubts if not any(part in text for part in NOT_OF_LINES)]
    both = at is not None and usable[0][TEMPERATURE] < at < usable[-1][TEMPERATURE]
    split = both and not across
    groups = {'': usable} if not split else {
        'below': [row for row in usable if row[TEMPERATURE] < at],
        'above': [row for row in usable if row[TEMPERATURE] >= at],
    }  # fmt: skip
    lines = [
        _Line(side, part, _fit(part, name, at, across)) for side, part in groups.items()
        if len({row[TEMPERATURE] for row in part}) > 1
    ]  # fmt: skip
    made = []
    for line in lines:
        made += _line_numbers(line, name, prefix, rows[0]['unit'], confidence, [*left_out, *doubts])
    for temperature in options.get('at_K') or []:
        made.append(
            _read_off(
                lines, float(temperature), name, prefix, rows[0]['unit'], at, split, options, [*left_out, *doubts]
            )
        )
    return made, lines


def _fit(rows: list[dict[str, Any]], name: str, at: float | None, across: bool) -> Arrhenius:
    return arrhenius(
        [row[TEMPERATURE] for row in rows], [row['value'] for row in rows], [row['error'] for row in rows],
        times_temperature=name.startswith('conductivity'), glass_transition=at, across_glass_transition=across,
    )  # fmt: skip


def _reach(found: Arrhenius, confidence: float) -> float:
    """Return the half width of a confidence interval in standard errors."""
    tail = 0.5 + confidence / 2
    return float(stats.t.ppf(tail, found.n_samples - 2) if found.n_samples > 2 else stats.norm.ppf(tail))


def _line_numbers(
    line: _Line, name: str, prefix: str, unit: str, confidence: float, doubts: list[str]
) -> list[Quantity]:
    found, side = line.found, f'.{SIDES[line.side]}' if line.side else ''
    what = f'({name} T)' if found.times_temperature else name
    reach = _reach(found, confidence)
    conditions = {
        'glass_transition_K': found.glass_transition, 'reduced_chi_squared': found.reduced_chi_squared,
        'temperatures_K': [row[TEMPERATURE] for row in line.rows], 'confidence': confidence,
    }  # fmt: skip
    conditions = {
        key: value for key, value in conditions.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }  # fmt: skip
    common: dict[str, Any] = {
        'n_samples': found.n_samples, 'error_method': 'weighted least squares', 'window': found.temperatures,
        'window_unit': 'K', 'warnings': [*found.warnings, *doubts],
    }  # fmt: skip
    energy, spread = found.activation_energy, reach * found.activation_energy_error
    logarithm, width = found.log_prefactor, reach * found.log_prefactor_error
    prefactor = math.exp(logarithm)
    return [
        Quantity(
            name=f'{prefix}activation_energy.{name}{side}', value=energy, error=found.activation_energy_error,
            unit='eV', definition=ENERGY.format(what=what),
            conditions={**conditions, 'interval': [energy - spread, energy + spread]}, **common,
        ),
        Quantity(
            name=f'{prefix}prefactor.{name}{side}', value=prefactor, error=prefactor * found.log_prefactor_error,
            unit=f'{unit} K' if found.times_temperature else unit, definition=PREFACTOR.format(what=what),
            conditions={**conditions, 'interval': [math.exp(logarithm - width), math.exp(logarithm + width)]}, **common,
        ),
    ]  # fmt: skip


def _read_off(
    lines: list[_Line], temperature: float, name: str, prefix: str, unit: str, at: float | None, split: bool,
    options: dict[str, Any], doubts: list[str],
) -> Quantity:  # fmt: skip
    """Return the value at a temperature, or why there is none."""
    common: dict[str, Any] = {
        'name': f'{prefix}{name}.at_{temperature:g}_K', 'unit': unit,
        'definition': VALUE.format(name=name, temperature=temperature),
    }  # fmt: skip
    side = ('below' if at is not None and temperature < at else 'above') if split else ''
    chosen = [line for line in lines if line.side == side]
    if not chosen:
        reason = (
            f'there are no two temperatures {side} the glass transition at {at:.0f} K, on the side of '
            f'{temperature:.0f} K: simulate there, or ask for the extrapolation across it'
        )
        return Quantity(
            value=None, error=None, n_samples=0, conditions={'temperature_K': temperature}, warnings=[reason], **common
        )
    found = chosen[0].found
    confidence = float(options.get('confidence', 0.95))
    try:
        there = found.at(
            temperature, confidence=confidence,
            across_glass_transition=bool(options.get('extrapolate_across_glass_transition', False)),
        )  # fmt: skip
    except GlassTransitionError as error:
        return Quantity(
            value=None, error=None, n_samples=0, conditions={'temperature_K': temperature}, warnings=[str(error)],
            **common,
        )  # fmt: skip
    return Quantity(
        value=there.value, error=there.error, n_samples=found.n_samples, error_method='weighted least squares',
        window=found.temperatures, window_unit='K',
        conditions={
            'temperature_K': temperature, 'lower': there.interval[0], 'upper': there.interval[1],
            'confidence': confidence,
        },
        warnings=[*there.warnings, *doubts], **common,
    )  # fmt: skip


def _curve(line: _Line, name: str, options: dict[str, Any], at: float | None) -> orm.ArrayData:
    """Return points and line, the latter as far as it may be read off."""
    confidence = float(options.get('confidence', 0.95))
    across = bool(options.get('extrapolate_across_glass_transition', False))
    ends = [row[TEMPERATURE] for row in line.rows]
    for temperature in options.get('at_K') or []:
        outside = at is not None and not across and (ends[0] < at) != (temperature < at)
        ends += [] if outside else [float(temperature)]
    grid = np.sort(1 / np.linspace(1 / max(ends), 1 / min(ends), LINE_POINTS))
    unit = line.rows[0]['unit']
    read = [line.found.at(float(T), confidence=confidence, across_glass_transition=True) for T in grid]
    columns: dict[str, tuple[Any, str]] = {
        'temperature': ([row[TEMPERATURE] for row in line.rows], 'K'),
        'value': ([row['value'] for row in line.rows], unit),
        'value_error': ([row['error'] for row in line.rows], unit),
        'line_temperature': (grid, 'K'),
        'line': ([point.value for point in read], unit),
        'line_lower': ([point.interval[0] for point in read], unit),
        'line_upper': ([point.interval[1] for point in read], unit),
    }
    node = columns_node(columns)
    node.base.attributes.set('quantity', name)
    node.base.attributes.set('confidence', confidence)
    return node


def _label(*words: str) -> str:
    return re.sub(r'[^0-9A-Za-z]+', '_', '_'.join(word for word in words if word)).strip('_')
