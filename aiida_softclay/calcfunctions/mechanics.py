"""Stress pulses and stress–strain curves as calcfunctions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.mechanics import (
    SHEAR_COMPONENTS,
    PulseStage,
    StressPulse,
    WindowMean,
    analyse_stress_pulse,
    fluctuation_modulus,
    strain_from_cells,
)
from aiida_softclay.analysis.plastic_verdict import PlasticVerdict, plastic_verdict
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.statistics import block_average
from aiida_softclay.analysis.stress_strain import StressStrain, analyse_stress_strain
from aiida_softclay.analysis.tension import poisson_ratio
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed, temperature_notes

#: Strain rate of the papers, per ps.
PAPER_RATE = 1e-3


@calcfunction
def analyse_pulses(parameters: orm.Dict, **thermo: orm.ArrayData) -> dict[str, orm.Data] | ExitCode:
    """Return residual strains and energy changes of a stress-pulse experiment.

    Parameters
    ----------
    parameters : Dict
        ``component``, ``n_atoms``, ``stages`` (in order: ``name``, ``kind`` reference, on or off, ``cycle``,
        ``stress_GPa``), and optionally ``half_width_ps``, ``tail_share``, ``confidence`` (of the verdicts, 0.95),
        ``target_temperature_K``, ``context``.
    **thermo : ArrayData
        Time series of each stage by its name.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: time, strain, stress, energy; raw and averaged).
    """
    options = parameters.get_dict()
    try:
        component, n_atoms = options['component'], int(options['n_atoms'])
        stages, start = [], 0
        for stage in options['stages']:
            if stage['name'] not in thermo:
                raise ValueError(f'there is no time series of stage {stage["name"]}')
            stop = start + len(thermo[stage['name']].get_array('time_ps'))
            stages.append(
                PulseStage(stage['name'], stage['kind'], int(stage['cycle']), start, stop, float(stage['stress_GPa']))
            )
            start = stop
        series = _joined([thermo[stage.name] for stage in stages], component)
        pulse = analyse_stress_pulse(
            series['time'], strain_from_cells(series['cell'], component), series['stress'],
            series['potential_energy'] / n_atoms, stages, half_width_ps=float(options.get('half_width_ps', 5.0)),
            tail_share=float(options.get('tail_share', 0.5)),
        )  # fmt: skip
        # The reference stage may start cold; what counts is the temperature from its averaged part on.
        reference = next(stage for stage in stages if stage.kind == 'reference')
        temperature = block_average(series['temperature'][(reference.start + reference.stop) // 2 :])
        conditions = {'temperature_K': temperature.mean, 'n_atoms': n_atoms, 'component': component}
        notes = temperature_notes(temperature.mean, options.get('target_temperature_K'))
        verdicts = _verdicts(pulse, float(options.get('confidence', 0.95)))
        quantities = _pulse_numbers(pulse, verdicts, conditions, len(series['time']), notes)
        rest = slice((reference.start + reference.stop) // 2, reference.stop)
        quantities += _fluctuation_numbers(series['cell'][rest], series['temperature'][rest], conditions, notes)
        context = {**conditions, 'duration_ps': float(np.ptp(series['time'])), **options.get('context', {})}
        if verdicts:
            context['verdict'] = verdicts[max(verdicts)].verdict
        curve = columns_node(
            {
                'time': (pulse.times, 'ps'),
                'strain': (pulse.strain, '1'),
                'strain_averaged': (pulse.mean_strain, '1'),
                'stress': (pulse.stress, 'GPa'),
                'stress_averaged': (pulse.mean_stress, 'GPa'),
                'stress_applied': (pulse.applied_stress, 'GPa'),
                'energy_change': (pulse.energy, 'meV/atom'),
                'energy_change_averaged': (pulse.mean_energy, 'meV/atom'),
            }
        )
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': curve}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


@calcfunction
def analyse_stress_strain_curve(thermo: orm.ArrayData, parameters: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return modulus and yield stress of a deformation at constant rate.

    Parameters
    ----------
    thermo : ArrayData
        Time series of the deformation.
    parameters : Dict
        ``component``, ``rate_per_ps``, ``n_atoms``, and optionally ``elastic_window``, ``half_width``, ``offset``
        (strains), ``target_temperature_K``, ``context``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: strain, stress, raw and averaged).
    """
    options = parameters.get_dict()
    try:
        component, rate = options['component'], float(options['rate_per_ps'])
        series = _joined([thermo], component)
        # A compression is analysed as the positive strain and stress that it is, up to the sign.
        sign = -1.0 if rate < 0 else 1.0
        strain = sign * strain_from_cells(series['cell'], component)
        low, high = (float(edge) for edge in options.get('elastic_window', (0.0, 0.02)))
        response = analyse_stress_strain(
            strain, sign * series['stress'], elastic_window=(low, high),
            half_width=float(options.get('half_width', 0.0025)), offset=float(options.get('offset', 0.002)),
        )  # fmt: skip
        temperature = block_average(series['temperature'])
        conditions = {
            'temperature_K': temperature.mean, 'n_atoms': int(options['n_atoms']), 'component': component,
            'rate_per_ps': rate,
        }  # fmt: skip
        notes = temperature_notes(temperature.mean, options.get('target_temperature_K'))
        if abs(rate) > 1.5 * PAPER_RATE:
            times = f'{abs(rate) / PAPER_RATE:g} times'
            notes.append(f'the strain rate is {times} that of gupta2023 (1e-3 per ps), which raises stresses')
        quantities = _strain_numbers(response, component, conditions, notes)
        quantities += _tension_numbers(series['cell'], component, (low, high), conditions, notes)
        context = {**conditions, 'duration_ps': float(np.ptp(series['time'])), **options.get('context', {})}
        curve = columns_node(
            {
                'time': (series['time'], 'ps'),
                'strain': (sign * response.strain, '1'),
                'stress': (sign * response.stress, 'GPa'),
                'stress_averaged': (sign * response.mean_stress, 'GPa'),
                'energy': (series['potential_energy'] / int(options['n_atoms']), 'eV/atom'),
            }
        )
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': curve}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _joined(nodes: Sequence[orm.ArrayData], component: str) -> dict[str, np.ndarray]:
    """Return the columns that are needed, all stages one after the other."""
    columns = {
        'time': 'time_ps', 'cell': 'cell', 'stress': f'stress_{component}_GPa', 'temperature': 'temperature_K',
        'potential_energy': 'potential_energy_eV',
    }  # fmt: skip
    for node in nodes:
        missing = sorted(set(columns.values()) - set(node.get_arraynames()))
        if missing:
            raise ValueError(f'the time series lacks {", ".join(missing)}')
    return {name: np.concatenate([node.get_array(column) for node in nodes]) for name, column in columns.items()}


def _verdicts(pulse: StressPulse, confidence: float) -> dict[int, PlasticVerdict]:
    """Return whether the strain that stays after each cycle is plastic, by the number of the cycle."""
    noise = pulse.thermal_strain_noise
    if not noise > 0:
        return {}
    loaded = {result.stage.cycle: result.value for result in pulse.loaded_strains}
    return {
        result.stage.cycle: plastic_verdict(
            result.value, result.error, result.n_samples, noise, noise_error=noise / np.sqrt(2 * result.n_samples),
            loaded=loaded.get(result.stage.cycle), confidence=confidence,
        )
        for result in pulse.residual_strains
    }  # fmt: skip


def _pulse_numbers(
    pulse: StressPulse, verdicts: dict[int, PlasticVerdict], conditions: dict[str, Any], rows: int, notes: list[str]
) -> list[Quantity]:
    def number(name: str, result: WindowMean, unit: str, definition: str) -> Quantity:
        cycle = result.stage.cycle
        judged = verdicts.get(cycle) if name == 'residual_strain' else None
        verdict = {} if judged is None else {'verdict': judged.verdict, 'reason': judged.reason}
        return Quantity(
            name=f'{name}.cycle_{cycle}', value=result.value, error=result.error, unit=unit, definition=definition,
            n_samples=result.n_samples, error_method='block averages of both windows, in quadrature',
            window=result.window_ps, window_unit='ps', frames_used=rows,
            conditions={
                **conditions,
                'applied_stress_GPa': result.stage.applied_stress,
                'thermal_strain_noise': pulse.thermal_strain_noise,
                **verdict,
            },
            warnings=[*result.warnings, *notes],
        )  # fmt: skip

    quantities = [
        number(
            'strain_under_load', result, '1',
            'mean engineering strain (tilt over height) at the end of the loading less that before the first pulse',
        )
        for result in pulse.loaded_strains
    ]  # fmt: skip
    quantities += [
        number(
            'residual_strain', result, '1',
            'mean engineering strain (tilt over height) at the end of the release less that before the first pulse '
            '(gupta2023, Fig. 1c)',
        )
        for result in pulse.residual_strains
    ]  # fmt: skip
    quantities += [
        number(
            'energy_change', result, 'meV/atom',
            'mean potential energy at the end of the release less that before the first pulse (gupta2023, Fig. 1c)',
        )
        for result in pulse.energy_changes
    ]  # fmt: skip
    quantities += [
        Quantity(
            name=f'residual_over_noise.cycle_{result.stage.cycle}', value=verdicts[result.stage.cycle].ratio,
            error=verdicts[result.stage.cycle].ratio_error, unit='1', n_samples=result.n_samples,
            definition='magnitude of the residual strain over the thermal noise of the strain; the verdict is plastic '
            'above 1 and elastic below 1 if the confidence interval says so',
            error_method='errors of both, in quadrature', window=result.window_ps, window_unit='ps', frames_used=rows,
            conditions={
                **conditions,
                'verdict': verdicts[result.stage.cycle].verdict,
                'reason': verdicts[result.stage.cycle].reason,
                'interval': list(verdicts[result.stage.cycle].interval),
                'confidence': verdicts[result.stage.cycle].confidence,
            },
            warnings=list(notes),
        )
        for result in pulse.residual_strains
        if result.stage.cycle in verdicts
    ]  # fmt: skip
    n_samples = pulse.residual_strains[0].n_samples if pulse.residual_strains else 1
    quantities.append(
        Quantity(
            name='thermal_strain_noise', value=pulse.thermal_strain_noise,
            error=pulse.thermal_strain_noise / np.sqrt(2 * n_samples), unit='1',
            definition='standard deviation of the strain at zero stress before the first pulse',
            n_samples=n_samples, error_method='normal distribution', conditions=dict(conditions),
        )
    )  # fmt: skip
    return quantities


def _fluctuation_numbers(
    cells: np.ndarray, temperatures: np.ndarray, conditions: dict[str, Any], notes: list[str]
) -> list[Quantity]:
    component = conditions['component']
    if component not in SHEAR_COMPONENTS or len(cells) < 8:
        return []
    strain = strain_from_cells(cells, component)
    if not strain.std() > 0:
        return []
    volume = float(np.abs(np.linalg.det(cells)).mean())
    found = fluctuation_modulus(strain, volume, float(np.mean(temperatures)))
    return [
        Quantity(
            name='shear_modulus.fluctuations', value=found.value, error=found.error, unit='GPa',
            definition='k_B T / (V ⟨δγ²⟩) of the strain at zero stress before the first pulse (equipartition)',
            n_samples=found.n_samples, error_method='variance of correlated normal samples', frames_used=len(cells),
            conditions={**conditions, 'volume_A3': volume, 'strain_noise': found.strain_noise},
            warnings=[*found.warnings, *notes],
        )
    ]  # fmt: skip


def _strain_numbers(
    response: StressStrain, component: str, conditions: dict[str, Any], notes: list[str]
) -> list[Quantity]:
    shear = component in SHEAR_COMPONENTS
    name = 'shear_modulus' if shear else 'youngs_modulus'
    what = 'shear stress against engineering shear' if shear else 'stress against strain with free sides'
    rows = int(response.strain.size)
    common: dict[str, Any] = {'unit': 'GPa', 'frames_used': rows, 'conditions': dict(conditions)}
    noise = 'repetitions with new noise of the size and correlation of that in the elastic window'
    offset_missing = [text for text in response.warnings if 'offset' in text]
    at_end = [text for text in response.warnings if 'end of the run' in text]
    elastic = [text for text in response.warnings if text not in offset_missing and text not in at_end]
    return [
        Quantity(
            name=name, value=response.modulus, error=response.modulus_error,
            definition=f'slope of {what} in the elastic window, at this strain rate', n_samples=response.n_blocks,
            error_method='least squares with correlated residuals', window=response.window, window_unit='1',
            warnings=[*elastic, *notes], **common,
        ),
        Quantity(
            name='yield_stress.maximum', value=response.maximum_stress, error=response.maximum_stress_error,
            definition=f'largest stress averaged over ±{response.half_width:g} of strain (gupta2023, Fig. 2a), less '
            'what noise adds to a maximum',
            n_samples=rows, error_method=noise, window=(float(response.strain[0]), float(response.strain[-1])),
            window_unit='1', warnings=[*at_end, *notes], **{**common, 'conditions': {
                **conditions, 'strain_at_maximum': response.strain_at_maximum,
                'noise_taken_off_GPa': response.maximum_stress_bias}},
        ),
        Quantity(
            name='yield_stress.offset', value=response.offset_stress,
            error=response.offset_stress_error,
            definition=f'stress where the curve falls below the elastic line shifted by {response.offset:g} of strain',
            n_samples=rows, error_method=noise, window=(float(response.strain[0]), float(response.strain[-1])),
            window_unit='1', warnings=[*offset_missing, *notes], **{**common, 'conditions': {
                **conditions, 'strain_at_offset_yield': response.offset_strain,
                'strain_at_offset_yield_error': response.offset_strain_error}},
        ),
        Quantity(
            name='thermal_stress_noise', value=response.thermal_noise, error=response.thermal_noise_error,
            definition='standard deviation of single samples of the stress about the elastic line',
            n_samples=response.n_blocks, error_method='normal distribution', window=response.window, window_unit='1',
            warnings=list(notes), **common,
        ),
    ]  # fmt: skip


def _tension_numbers(
    cells: np.ndarray, component: str, window: tuple[float, float], conditions: dict[str, Any], notes: list[str]
) -> list[Quantity]:
    if component in SHEAR_COMPONENTS:
        return []
    found = poisson_ratio(cells, component, window)
    return [
        Quantity(
            name='poissons_ratio', value=found.value, error=found.error, unit='1',
            definition='− d(lateral strain) / d(strain) in the elastic window, mean of the two free sides',
            n_samples=found.n_blocks, error_method='correlated residuals, or half the difference of the sides',
            window=found.window, window_unit='1', frames_used=len(cells),
            conditions={**conditions, 'sides': list(found.sides)}, warnings=list(notes),
        )
    ]  # fmt: skip
