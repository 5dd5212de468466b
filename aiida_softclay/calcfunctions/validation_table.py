"""The table of a validation: what the engine gives, what the potential gives, the difference and its error bar."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.comparison import SIDES, ComparisonTable
from aiida_softclay.analysis.equation_of_state import GPA, EquationOfState, fit_birch_murnaghan
from aiida_softclay.analysis.parity import parity, strain_response
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed
from aiida_softclay.calcfunctions.validation import AXES
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.label_pairs import LabelPairs, label_pairs

#: Labelled and predicted frames by the source label of their series.
Pairs = dict[str, LabelPairs]

PARITY_UNITS = {'energy': ('meV/atom', 'eV/atom'), 'force': ('meV/Å', 'eV/Å'), 'virial': ('meV/atom', 'eV/atom')}
BULK_MODULUS = (
    'B0 of the third-order Birch–Murnaghan curve through the energies of the cell scaled in volume; '
    'its shape kept, ions relaxed by the engine in each cell, the potential evaluated on the same geometries'
)
TENSILE = (
    'with the cell strained along one axis, its other lengths fixed; ions relaxed by the engine in each cell, the '
    'potential evaluated on the same geometries'
)


@calcfunction
def assess_validation(parameters: orm.Dict, **nodes: orm.Data) -> dict[str, orm.Data] | ExitCode:
    """Return the table of all proofs and the curves behind it.

    Parameters
    ----------
    parameters : Dict
        ``agreement``, ``series`` (source label of frames to ``proof``, ``structure``, ``n_configurations``,
        ``n_not_relaxed`` and what the proof needs), ``runs`` (label of a conductivity run to ``structure`` and
        ``temperature_K``), ``failures`` (series or run to the reason why it has no data), ``parity_missing`` (why a
        parity that was asked for has no structure, or nothing), ``elastic_window``, ``seed``, ``context``.
    **nodes
        ``frames_X`` (FramesData) with ``details_X`` (ArrayData of ``softclay.dp.test``) for each set X of frames, and
        ``engine_R`` with ``potential_R`` (results of ``analyse_conductivity``) for each run R.

    Returns
    -------
    dict
        ``results`` (Dict, results schema; its context holds the verdicts) and, where there are such proofs,
        ``parity``, ``equations_of_state`` and ``stress_strain`` (ArrayData).
    """
    options = parameters.get_dict()
    try:
        pairs: Pairs = {}
        engines: list[dict[str, Any]] = []
        for name in sorted(nodes):
            if name.startswith('frames_'):
                pairs |= label_pairs(nodes[name], nodes[name.replace('frames_', 'details_', 1)])
                engines.append(nodes[name].engine)
        table = ComparisonTable(options['agreement'])
        curves = {
            'parity': _parity(table, pairs, options),
            'equations_of_state': _equations_of_state(table, pairs, options),
            'stress_strain': _stress_strain(table, pairs, options),
        }
        _conductivities(table, nodes, options)
    except (ValueError, KeyError) as error:
        return analysis_failed(error)
    context = dict(options.get('context') or {})
    if engines:
        context['engine'] = engine_text(engines[0])
    proofs = table.proofs()
    passed = sum(verdict == 'agrees' for verdict in proofs.values())
    wanted = options['agreement'].get('proofs_passed')
    required = len(proofs) if wanted is None else int(wanted)
    results = results_dict(
        table.quantities, **context, proofs=proofs, proofs_passed=passed, proofs_required=required,
        gate_passed=passed >= required, agreement=options['agreement'], verdicts=table.verdicts,
    )  # fmt: skip
    return {'results': orm.Dict(results), **{name: curve for name, curve in curves.items() if curve is not None}}


def _of(options: dict[str, Any], proof: str) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Return the series of a proof by the name of what they are about; a series may have an extension."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for label, series in options['series'].items():
        if series['proof'] == proof:
            found.setdefault(series['subject'], []).append((label, series))
    return found


def _gather(
    parts: list[tuple[str, dict[str, Any]]], pairs: Pairs, failures: dict[str, str]
) -> tuple[list[LabelPairs], list[str]]:
    """Return what there is of a series and sentences about what is missing.

    Raises
    ------
    ValueError
        If nothing is there; the message says why.
    """
    present = [pairs[label] for label, _ in parts if label in pairs]
    planned = sum(int(series['n_configurations']) for _, series in parts)
    there = sum(part.n_frames for part in present)
    reasons = [failures[label] for label, _ in parts if label in failures]
    if not present:
        raise ValueError('; '.join(reasons) or 'no configuration was labelled')
    notes = [f'{planned - there} of {planned} configurations have no label', *reasons] if there < planned else []
    moving = sum(int(series.get('n_not_relaxed', 0)) for _, series in parts)
    if moving:
        notes.append(f'the ions of {moving} of {there} configurations are not relaxed: raise relaxation.incar.nsw')
    return present, notes


def _parity(table: ComparisonTable, pairs: Pairs, options: dict[str, Any]) -> orm.ArrayData | None:
    arrays: dict[str, tuple[np.ndarray, str]] = {}
    if options.get('parity_missing'):
        name = 'parity.unseen_structures.rmse_force'
        table.failed('parity', 'unseen structures', name, 'meV/Å', 'RMSE', options['parity_missing'])
    limits = {key: float(table.agreement[f'rmse_{key}']) for key in ('energy_meV_atom', 'force_meV_A')}
    for subject, parts in _of(options, 'parity').items():
        series = parts[0][1]
        try:
            (found,), notes = _gather(parts, pairs, options['failures'])
        except ValueError as error:
            for kind in ('energy', 'force'):
                unit = PARITY_UNITS[kind][0]
                table.failed('parity', subject, f'parity.{subject}.rmse_{kind}', unit, 'RMSE', str(error))
            continue
        sets = {
            'energy': (found.energies / found.n_atoms, found.predicted_energies / found.n_atoms),
            'force': (found.forces, found.predicted_forces),
        }
        if found.virials is not None and found.predicted_virials is not None:
            sets['virial'] = (found.virials / found.n_atoms, found.predicted_virials / found.n_atoms)
        for kind, (reference, predicted) in sets.items():
            arrays[f'{kind}_engine_{subject}'] = (np.asarray(reference), PARITY_UNITS[kind][1])
            arrays[f'{kind}_potential_{subject}'] = (np.asarray(predicted), PARITY_UNITS[kind][1])
            # Independently displaced configurations are not correlated; frames of a trajectory are.
            measured = parity(
                reference, predicted, seed=int(options['seed']), block_size=1 if series['independent'] else None
            )
            unit = PARITY_UNITS[kind][0]
            common: dict[str, Any] = {
                'n_samples': measured.n_blocks, 'frames_used': measured.n_frames,
                'error_method': 'bootstrap over blocks of frames',
                'conditions': {'n_atoms': found.n_atoms, **series.get('conditions', {})}, 'warnings': notes,
            }  # fmt: skip
            what = f'of the {kind} of the potential against the engine on frames of {subject} that it was not fitted to'
            for name, value, error, text in (
                ('rmse', 1000 * measured.rmse, 1000 * measured.rmse_error, 'root mean square deviation'),
                ('mae', 1000 * measured.mae, 1000 * measured.mae_error, 'mean absolute deviation'),
                ('bias', 1000 * measured.bias, 1000 * measured.bias_error, 'mean deviation (potential less engine)'),
            ):
                quantity = Quantity(f'parity.{subject}.{name}_{kind}', value, error, unit, f'{text} {what}', **common)
                table.quantities.append(quantity)
            flat = math.isnan(measured.r_squared)
            table.quantities.append(
                Quantity(
                    f'parity.{subject}.r2_{kind}', None if flat else measured.r_squared, measured.r_squared_error, '1',
                    f'share of the variance explained, {what}',
                    **{**common, 'warnings': [*notes, *(['the reference is constant'] if flat else [])]},
                )
            )  # fmt: skip
            if kind in ('energy', 'force'):
                limit = limits['energy_meV_atom' if kind == 'energy' else 'force_meV_A']
                rmse = 1000 * measured.rmse
                table.judge(
                    'parity', subject, f'parity.{subject}.rmse_{kind}', 'agrees' if rmse <= limit else 'disagrees',
                    difference=rmse, error=1000 * measured.rmse_error, allowed=limit, unit=unit,
                )  # fmt: skip
    return _array_data(arrays)


def _equations_of_state(table: ComparisonTable, pairs: Pairs, options: dict[str, Any]) -> orm.ArrayData | None:
    arrays: dict[str, tuple[np.ndarray, str]] = {}
    for subject, parts in _of(options, 'bulk_modulus').items():
        name = f'bulk_modulus.{subject}'
        try:
            found, notes = _gather(parts, pairs, options['failures'])
            volumes = np.concatenate([part.volumes for part in found])
            energies = [
                np.concatenate([part.energies for part in found]),
                np.concatenate([part.predicted_energies for part in found]),
            ]
            order = np.argsort(volumes)
            arrays[f'volume_{subject}'] = (volumes[order], 'Å^3')
            for side, values in zip(SIDES, energies, strict=True):
                arrays[f'energy_{side}_{subject}'] = (values[order], 'eV')
        except ValueError as error:
            table.failed('bulk_modulus', subject, name, 'GPa', BULK_MODULUS, str(error))
            continue
        curves, reasons = _fits(volumes, energies)
        if reasons:
            known = {side: (fit.bulk_modulus, fit.bulk_modulus_error) for side, fit in curves.items()}
            table.failed('bulk_modulus', subject, name, 'GPa', BULK_MODULUS, '; '.join(reasons), known)
            continue
        fits = [curves[side] for side in SIDES]
        conditions = {'n_atoms': found[0].n_atoms, 'temperature_K': 0.0}
        warnings = tuple((*fit.warnings, *notes) for fit in fits)
        facts = {
            'window': (float(volumes.min()), float(volumes.max())), 'window_unit': 'Å^3', 'frames_used': volumes.size,
        }  # fmt: skip
        rows: list[tuple[str, str, str, Callable[[EquationOfState], tuple[float, float]]]] = [
            ('bulk_modulus', 'GPa', BULK_MODULUS, lambda fit: (fit.bulk_modulus, fit.bulk_modulus_error)),
            ('equilibrium_volume', 'Å^3', 'V0 of the same curve', lambda fit: (fit.volume, fit.volume_error)),
            ('bulk_modulus_derivative', '1', "B0' of the curve", lambda fit: (fit.derivative, fit.derivative_error)),
        ]  # fmt: skip
        for key, unit, definition, value in rows:
            table.pair(
                'bulk_modulus', subject, f'{key}.{subject}', (value(fits[0]), value(fits[1])), unit, definition,
                relative=float(table.agreement['bulk_modulus']) if key == 'bulk_modulus' else None,
                n_samples=int(volumes.size) - 4, error_method='covariance of the least-squares fit',
                conditions=conditions, warnings=(warnings[0], warnings[1]), facts=facts,
            )  # fmt: skip
    return _array_data(arrays)


def _fits(volumes: np.ndarray, energies: list[np.ndarray]) -> tuple[dict[str, EquationOfState], list[str]]:
    """Return the curves of the sides that have one, and why the others have none."""
    curves, reasons = {}, []
    for side, values in zip(SIDES, energies, strict=True):
        try:
            curves[side] = fit_birch_murnaghan(volumes, values)
        except (ValueError, RuntimeError) as error:
            reasons.append(f'{side}: {error}')
    return curves, reasons


def _stress_strain(table: ComparisonTable, pairs: Pairs, options: dict[str, Any]) -> orm.ArrayData | None:
    arrays: dict[str, tuple[np.ndarray, str]] = {}
    for subject, parts in _of(options, 'tension').items():
        series = parts[0][1]
        name = f'tensile_modulus.{subject}'
        definition = f'slope at zero strain of the stress {series["component"]} {TENSILE}'
        axis = AXES[series['component']]
        try:
            (found,), notes = _gather(parts, pairs, options['failures'])
            if found.virials is None or found.predicted_virials is None:
                raise ValueError('the labels hold no virials, so there is no stress: label with ISIF of 2 or more')
            # Rows are lattice vectors: new cell = old cell @ (1 + strain).
            stretch = np.linalg.inv(np.asarray(series['reference_cell'], dtype=float)) @ found.cells
            strain = stretch[:, axis, axis] - 1
            order = np.argsort(strain)
            stresses = [
                -virials[:, axis, axis] / found.volumes * GPA for virials in (found.virials, found.predicted_virials)
            ]
            arrays[f'strain_{subject}'] = (strain[order], '1')
            for side, values in zip(SIDES, stresses, strict=True):
                arrays[f'stress_{side}_{subject}'] = (values[order], 'GPa')
            window = (float(options['elastic_window'][0]), float(options['elastic_window'][1]))
            curves = [strain_response(strain, values, window) for values in stresses]
        except ValueError as error:
            table.failed('tension', subject, name, 'GPa', definition, str(error))
            continue
        conditions = {'n_atoms': found.n_atoms, 'temperature_K': 0.0, 'component': series['component']}
        first, second = curves
        table.pair(
            'tension', subject, name, ((first.modulus, first.modulus_error), (second.modulus, second.modulus_error)),
            'GPa', definition, relative=float(table.agreement['tensile_modulus']), n_samples=first.n_fitted - 3,
            error_method='covariance of the parabola', conditions=conditions,
            warnings=((*first.warnings, *notes), (*second.warnings, *notes)),
            facts={'window': first.window, 'window_unit': '1', 'frames_used': int(strain.size)},
        )  # fmt: skip
        # Every strain is compared by itself: the modulus says nothing about the end of the curve.
        measured = parity(stresses[0], stresses[1], block_size=1, seed=int(options['seed']))
        allowed = float(table.agreement['tensile_stress']) * float(np.ptp(stresses[0]))
        table.quantities.append(
            Quantity(
                f'tensile_stress.{subject}.rmse', measured.rmse, measured.rmse_error, 'GPa',
                f'root mean square difference of the stress {series["component"]} at the same strains {TENSILE}',
                measured.n_frames, error_method='bootstrap over the strains', frames_used=measured.n_frames,
                window=(float(strain.min()), float(strain.max())), window_unit='1',
                conditions={**conditions, 'allowed': allowed}, warnings=list(notes),
            )
        )  # fmt: skip
        table.judge(
            'tension', subject, f'tensile_stress.{subject}.rmse',
            'agrees' if measured.rmse <= allowed else 'disagrees',
            difference=measured.rmse, error=measured.rmse_error, allowed=allowed, unit='GPa',
        )  # fmt: skip
    return _array_data(arrays)


def _conductivities(table: ComparisonTable, nodes: dict[str, orm.Data], options: dict[str, Any]) -> None:
    relative = float(table.agreement['conductivity'])
    for run, about in options['runs'].items():
        subject = f'{about["structure"]}.{about["temperature_K"]:g}K'
        missing = [side for side in SIDES if f'{side}_{run}' not in nodes]
        if missing:
            reason = options['failures'].get(run) or f'there are no results of the {" and the ".join(missing)}'
            name, definition = f'conductivity.{subject}', 'Nernst–Einstein conductivity'
            table.failed('conductivity', subject, name, 'mS/cm', definition, reason)
            continue
        first, second = ({row['name']: row for row in nodes[f'{side}_{run}'].get_dict()['numbers']} for side in SIDES)
        for name, row in first.items():
            kind, species = name.split('.')
            judged = kind == 'conductivity'
            peer = second[name]
            if row['value'] is None or peer['value'] is None:
                reason = '; '.join(row['warnings'] or peer['warnings'])
                table.failed(
                    'conductivity', subject, f'{kind}.{subject}.{species}', row['unit'], row['definition'], reason
                )
                continue
            table.pair(
                'conductivity', subject, f'{kind}.{subject}.{species}', (_value(row), _value(peer)), row['unit'],
                row['definition'], relative=relative if judged else None,
                n_samples=min(row['n_samples'], peer['n_samples']), error_method=row['error_method'],
                conditions={key: row['conditions'].get(key) for key in ('n_atoms', 'duration_ps', 'volume_A3')}
                | {'temperature_K': about['temperature_K']},
                warnings=(row['warnings'], peer['warnings']),
                facts={'window': tuple(row['window']), 'window_unit': row['window_unit'],
                       'frames_used': row['frames_used']},
            )  # fmt: skip


def _value(row: dict[str, Any]) -> tuple[float, float]:
    return float(row['value']), math.nan if row['error'] is None else float(row['error'])


def _array_data(columns: dict[str, tuple[np.ndarray, str]]) -> orm.ArrayData | None:
    """Return a node with the columns and their units, or ``None`` if there are none."""
    return columns_node(columns) if columns else None
