"""The table of a series of runs: means over replicas, verdicts of stress pulses, yield against strain rate."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.plastic_verdict import plastic_verdict
from aiida_softclay.analysis.quantity import Quantity, check_results, results_dict
from aiida_softclay.analysis.replicas import ReplicaMean, combine_replicas
from aiida_softclay.analysis.strain_rate import YieldRateDependence, yield_rate_dependence
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed

#: Rows of one number, one for each replica, by the name of the number.
Rows = dict[str, list[dict[str, Any]]]
RATE, MAGNITUDE = 'rate_per_ps', 'magnitude_mpa'
YIELDS = ('yield_stress.maximum', 'yield_stress.offset')
SLOPE = 'm of σ = σ0 + m ln(rate / rate0) through the yield stresses of all runs: GPa for a factor e of the strain rate'
OVER_NOISE = (
    'magnitude of the mean residual strain over the thermal noise of the strain; the verdict is plastic above 1 and '
    'elastic below 1 if the confidence interval says so'
)


@calcfunction
def combine_runs(settings: orm.Dict, **runs: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return one table of a series of runs, with the spread of replicas as error.

    Parameters
    ----------
    settings : Dict
        ``points``: list of ``label``, ``values`` (varied parameters by dotted name) and ``runs`` (labels);
        ``confidence``; ``experiment`` (``stress_pulse`` and ``constant_strain`` have more to say than means);
        ``failed`` (labels of runs without numbers); ``context``.
    **runs : Dict
        Results nodes by the label of the run.

    Returns
    -------
    dict
        ``results`` (Dict, results schema; numbers are named ``POINT.NUMBER``) and ``curve`` (ArrayData: varied
        parameters, and each number with its error, by point).
    """
    options = settings.get_dict()
    try:
        confidence = float(options.get('confidence', 0.95))
        points = [point for point in options['points'] if any(run in runs for run in point['runs'])]
        if not points:
            raise ValueError('no run has any numbers')
        tables = {point['label']: _rows({run: runs[run] for run in point['runs'] if run in runs}) for point in points}
        quantities, columns = [], _axes(points)
        for point in points:
            missing = [run for run in point['runs'] if run not in runs]
            lost = [f'{", ".join(missing)} failed: {len(missing)} of {len(point["runs"])} replicas'] if missing else []
            quantities += [
                _combined(point['label'], name, rows, confidence, lost) for name, rows in tables[point['label']].items()
            ]
        further = FURTHER.get(options.get('experiment', ''))
        if further is not None:
            quantities = further(points, tables, quantities, columns, confidence)
        context = {
            **_common([_content(node)['context'] for _, node in sorted(runs.items())]),
            **options.get('context', {}),
            'points': {point['label']: {'values': point['values'], 'runs': point['runs']} for point in points},
            'confidence': confidence,
        }
        _add_numbers(columns, points, quantities)
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': _curve(columns, points)}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _content(node: orm.Dict) -> dict[str, Any]:
    content = node.get_dict()
    check_results(content)
    return {**content, 'context': content.get('context') or {}}


def _rows(runs: Mapping[str, orm.Dict]) -> Rows:
    """Return the rows of each number over the replicas, in the order of the runs."""
    found: Rows = {}
    for run, node in runs.items():
        for row in _content(node)['numbers']:
            found.setdefault(row['name'], []).append({**row, 'run': run, 'source': node.uuid})
    return found


def _common(contents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what all have alike, with the mean of numbers that differ; other differences are left out."""
    shared = {}
    for key in contents[0]:
        values = [content.get(key) for content in contents]
        if all(value == values[0] for value in values):
            shared[key] = values[0]
        elif key != 'seed' and all(_is_number(value) for value in values):
            shared[key] = float(np.mean(values))
    return shared


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _warnings(rows: list[dict[str, Any]]) -> list[str]:
    """Return the warnings of the replicas, those that differ in their numbers only as one."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        for text in row.get('warnings') or []:
            groups.setdefault(re.sub(r'-?\d[\d.e+-]*', '#', text), []).append(text)
    return [
        texts[0] if len(texts) == len(rows) else f'in {len(texts)} of {len(rows)} runs: {texts[0]}'
        for texts in groups.values()
    ]


def _mean(rows: list[dict[str, Any]], confidence: float) -> ReplicaMean:
    errors = [math.nan if row['error'] is None else float(row['error']) for row in rows]
    return combine_replicas([float(row['value']) for row in rows], errors, confidence=confidence)


def _combined(label: str, name: str, rows: list[dict[str, Any]], confidence: float, lost: list[str]) -> Quantity:
    """Return the mean of one number over the replicas that have it."""
    known = [row for row in rows if row['value'] is not None]
    conditions = _common([row.get('conditions') or {} for row in rows])
    conditions['runs'] = [row['run'] for row in known]
    common: dict[str, Any] = {
        'name': f'{label}.{name}', 'unit': rows[0]['unit'], 'window_unit': rows[0].get('window_unit'),
    }  # fmt: skip
    if not known:
        return Quantity(
            value=None, error=None, definition=rows[0]['definition'], n_samples=0, conditions=conditions,
            warnings=[*lost, *(_warnings(rows) or ['no run could determine it'])], **common,
        )  # fmt: skip
    mean = _mean(known, confidence)
    part = [] if len(known) == len(rows) else [
        f'only {len(known)} of {len(rows)} runs could determine it, which may not be typical ones'
    ]  # fmt: skip
    conditions |= {
        'n_replicas': mean.n_replicas, 'within_run_error': _finite(mean.within_error),
        'deviation_of_replicas': _finite(mean.deviation), 't_factor': _finite(mean.t_factor),
        'interval': None if mean.interval is None else list(mean.interval), 'confidence': confidence,
        'values': [row['value'] for row in known],
    }  # fmt: skip
    windows = {tuple(row['window']) for row in known if row.get('window')}
    frames = [row['frames_used'] for row in known if row.get('frames_used') is not None]
    return Quantity(
        value=mean.value, error=mean.error, n_samples=mean.n_replicas, error_method=mean.method,
        definition=f'{rows[0]["definition"]}; mean over replicas', window=windows.pop() if len(windows) == 1 else None,
        frames_used=sum(frames) if frames else None, conditions=conditions,
        warnings=[*lost, *part, *mean.warnings, *_warnings(known)], **common,
    )  # fmt: skip


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _axes(points: list[dict[str, Any]]) -> dict[str, tuple[list[float], str]]:
    """Return the varied parameters that are numbers, by point."""
    names = points[0]['values']
    return {
        _array_name(name): ([float(point['values'][name]) for point in points], '')
        for name in names
        if all(_is_number(point['values'][name]) for point in points)
    }


def _array_name(name: str) -> str:
    return re.sub(r'[^0-9a-zA-Z]+', '_', name).strip('_')


def _add_numbers(
    columns: dict[str, tuple[list[float], str]], points: list[dict[str, Any]], quantities: list[Quantity]
) -> None:
    """Add every number that more than one point reports, with its error."""
    found = {quantity.name: quantity for quantity in quantities}
    labels = [point['label'] for point in points]
    names = {name[len(label) + 1 :] for label in labels for name in found if name.startswith(f'{label}.')}
    for name in sorted(names):
        rows = [found.get(f'{label}.{name}') for label in labels]
        unit = next(row.unit for row in rows if row is not None)
        for suffix in ('value', 'error'):
            values = [None if row is None else getattr(row, suffix) for row in rows]
            key = _array_name(name) + ('_error' if suffix == 'error' else '')
            columns[key] = ([math.nan if value is None else float(value) for value in values], unit)


def _curve(columns: dict[str, tuple[list[float], str]], points: list[dict[str, Any]]) -> orm.ArrayData:
    node = columns_node(columns)
    node.base.attributes.set('points', [point['label'] for point in points])
    return node


def _pulses(
    points: list[dict[str, Any]], tables: dict[str, Rows], quantities: list[Quantity],
    columns: dict[str, tuple[list[float], str]], confidence: float,
) -> list[Quantity]:  # fmt: skip
    """Judge the mean residual strain of every cycle, and bracket the magnitude at which flow begins."""
    # The mean of the magnitudes of single runs is not the magnitude of their mean.
    kept = [quantity for quantity in quantities if '.residual_over_noise.' not in quantity.name]
    last: dict[str, str] = {}
    for point in points:
        rows = tables[point['label']]
        noises = [row['value'] for row in rows.get('thermal_strain_noise', []) if row['value']]
        cycles = sorted(int(name.rpartition('_')[2]) for name in rows if name.startswith('residual_strain.cycle_'))
        for cycle in cycles if noises else []:
            residual = _mean(rows[f'residual_strain.cycle_{cycle}'], confidence)
            loads = [row['value'] for row in rows.get(f'strain_under_load.cycle_{cycle}', [])]
            runs = residual.n_replicas
            standard = residual.deviation / math.sqrt(runs) if runs > 1 else residual.error
            samples = runs if runs > 1 else rows[f'residual_strain.cycle_{cycle}'][0]['n_samples']
            noise = float(np.sqrt(np.mean(np.square(noises))))
            found = plastic_verdict(
                residual.value, standard, samples, noise, confidence=confidence,
                noise_error=noise / math.sqrt(2 * max(len(noises), 1)), loaded=float(np.mean(loads)) if loads else None,
            )  # fmt: skip
            last[point['label']] = found.verdict
            conditions = {
                **point['values'], 'n_replicas': runs, 'verdict': found.verdict, 'reason': found.reason,
                'thermal_strain_noise': noise, 'interval': list(found.interval), 'confidence': confidence,
            }  # fmt: skip
            for quantity in kept:
                if quantity.name == f'{point["label"]}.residual_strain.cycle_{cycle}':
                    quantity.conditions.update(verdict=found.verdict, reason=found.reason)
            kept.append(
                Quantity(
                    name=f'{point["label"]}.residual_over_noise.cycle_{cycle}', value=found.ratio,
                    error=found.ratio_error, unit='1', n_samples=runs, error_method=residual.method,
                    definition=OVER_NOISE, conditions=conditions,
                    warnings=[found.reason] if found.verdict == 'undetermined' else [],
                )
            )  # fmt: skip
    return kept + _onsets(points, last)


def _onsets(points: list[dict[str, Any]], last: dict[str, str]) -> list[Quantity]:
    """Return the smallest magnitude that leaves a plastic strain after the last cycle, beside the largest elastic one.

    One for each combination of the other parameters.
    """
    found = []
    for label, group in _groups(points, MAGNITUDE).items():
        judged = [(abs(float(point['values'][MAGNITUDE])), last.get(point['label'])) for point in group]
        plastic = min((size for size, verdict in judged if verdict == 'plastic'), default=None)
        elastic = max((size for size, verdict in judged if verdict == 'elastic'), default=None)
        bracket = plastic is not None and elastic is not None and elastic < plastic
        warnings = []
        if plastic is None:
            warnings.append('no magnitude of the series leaves a strain that is plastic beyond doubt')
        elif not bracket:
            warnings.append('no smaller magnitude is elastic beyond doubt: flow may begin below this one')
        found.append(
            Quantity(
                name=f'{label}smallest_plastic_magnitude', value=plastic,
                error=(plastic - elastic) / 2 if bracket else None, unit='MPa', n_samples=len(group),
                error_method='half the distance to the largest elastic magnitude' if bracket else '',
                definition='smallest applied stress whose residual strain after the last release is plastic',
                conditions={'largest_elastic_magnitude_mpa': elastic}, warnings=warnings,
            )
        )  # fmt: skip
    return found


def _groups(points: list[dict[str, Any]], axis: str) -> dict[str, list[dict[str, Any]]]:
    """Return the points that differ in one parameter only, by a prefix that names the other parameters."""
    found: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        if axis not in point['values']:
            return {}
        words = [f'{name.rpartition(".")[2]}_{value}' for name, value in point['values'].items() if name != axis]
        if float(point['values'][axis]) < 0:
            words.append('negative')
        prefix = re.sub(r'[^a-z0-9]+', '_', '_'.join(words).lower()).strip('_')
        found.setdefault(f'{prefix}.' if prefix else '', []).append(point)
    return found


def _rates(
    points: list[dict[str, Any]], tables: dict[str, Rows], quantities: list[Quantity],
    columns: dict[str, tuple[list[float], str]], confidence: float,
) -> list[Quantity]:  # fmt: skip
    """Fit the yield stresses of every combination of the other parameters against the rate."""
    kept = list(quantities)
    for prefix, group in _groups(points, RATE).items():
        for name in YIELDS:
            rows = [(abs(float(point['values'][RATE])), row) for point in group
                    for row in tables[point['label']].get(name, []) if row['value'] is not None]  # fmt: skip
            common = {'name': f'{prefix}rate_dependence.{name}', 'unit': 'GPa', 'definition': SLOPE,
                      'n_samples': len(rows)}  # fmt: skip
            try:
                line = yield_rate_dependence(
                    [rate for rate, _ in rows], [row['value'] for _, row in rows], confidence=confidence
                )
            except ValueError as error:
                kept.append(Quantity(value=None, error=None, warnings=[str(error)], **common))
                continue
            kept += _line_numbers(line, rows, prefix, name, common)
            inside = {point['label'] for point in group}
            values = [float(line.at([abs(point['values'][RATE])])[0]) if point['label'] in inside else math.nan
                      for point in points]  # fmt: skip
            columns[_array_name(f'{prefix}{name}_line')] = (values, 'GPa')
    return kept


def _line_numbers(
    line: YieldRateDependence, rows: list[tuple[float, dict[str, Any]]], prefix: str, name: str, common: dict[str, Any]
) -> list[Quantity]:
    temperatures = [(row.get('conditions') or {}).get('temperature_K') for _, row in rows]
    about = {
        'reference_rate_per_ps': line.reference_rate, 'n_rates': line.n_rates, 'degrees_of_freedom': line.freedom,
        'confidence': line.confidence,
    }  # fmt: skip
    spread = {
        'error_method': 'least squares over all runs, Student t (68.3 %)',
        'window': line.rates,
        'window_unit': '1/ps',
    }
    chance = {} if math.isnan(line.chance_of_line) else {'chance_of_line': line.chance_of_line}
    found = [
        Quantity(
            value=line.slope, error=line.slope_error, warnings=list(line.warnings),
            conditions={**about, **chance, 'interval': list(line.slope_interval)}, **spread, **common,
        ),
        Quantity(
            value=line.stress, error=line.stress_error, warnings=list(line.warnings), conditions=dict(about), **spread,
            **{**common, 'name': f'{prefix}{name}.at_mean_rate',
               'definition': 'yield stress of the line at the geometric mean of the strain rates'},
        ),
    ]  # fmt: skip
    if line.rises and all(_is_number(value) for value in temperatures):
        volume, error = line.activation_volume(float(np.mean(temperatures)))
        found.append(
            Quantity(
                name=f'{prefix}activation_volume.{name}', value=volume, error=error, unit='Å^3', n_samples=len(rows),
                definition='k_B T / m, the volume over which the stress works in one rearrangement (Eyring 1936)',
                conditions={**about, 'temperature_K': float(np.mean(temperatures))}, warnings=list(line.warnings),
                **spread,
            )
        )  # fmt: skip
    return found


#: What an experiment has to say beyond means.
FURTHER: dict[str, Callable[..., list[Quantity]]] = {'stress_pulse': _pulses, 'constant_strain': _rates}
