"""Diffusion and conductivity of a production run as a calcfunction."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.diffusion_intervals import bayesian_diffusion, bootstrap_diffusion
from aiida_softclay.analysis.displacement import MeanSquaredDisplacement, mean_squared_displacement
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.statistics import block_average
from aiida_softclay.analysis.trajectory import indices_of, n_frames_of, species_of, times_ps_of
from aiida_softclay.analysis.transport import DEFAULT_WINDOW, Conductivity, Diffusion, nernst_einstein, self_diffusion
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed, temperature_notes
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.trajectory import MdTrajectoryData

DIFFUSIVITY = (
    'slope / 6 of the mean squared displacement over all time origins, in the frame of the centre of mass of all atoms '
    '(yang2024, eq. 1)'
)
ROOM_TEMPERATURE = 300.0
#: Groups of atoms whose scatter gives the error: a row for each of 12 000 atoms would be larger than the run.
SCATTER_GROUPS = 256
INTERVALS = {'bootstrap': bootstrap_diffusion, 'bayesian': bayesian_diffusion}
CONDUCTIVITY = 'Nernst–Einstein conductivity N z² e² D / (V k_B T) of independently moving ions (yang2024, eq. 4)'


@calcfunction
def analyse_conductivity(
    trajectory: MdTrajectoryData, thermo: orm.ArrayData, parameters: orm.Dict
) -> dict[str, orm.Data] | ExitCode:
    """Return diffusivities and Nernst–Einstein conductivities of a run at constant volume.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Production run.
    thermo : ArrayData
        Its time series, for the temperature.
    parameters : Dict
        ``charges`` (element to charge number), and optionally ``species`` (all by default), ``window_share`` (lags of
        the fit as shares of the run), ``hop_length`` in Å, ``estimates`` (list of ``bootstrap``, ``bayesian``: further
        estimates of the diffusivities, with intervals), ``context``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: lag times and MSD of each species).
    """
    options = parameters.get_dict()
    try:
        charges = {element: float(charge) for element, charge in options['charges'].items()}
        share = [float(edge) for edge in options.get('window_share', DEFAULT_WINDOW)]
        temperature = block_average(thermo.get_array('temperature_K'))
        with trajectory.open_trajectory() as frames:
            species = list(options.get('species') or species_of(frames))
            missing = sorted(set(species) - set(charges))
            if missing:
                raise ValueError(f'no charge was given for {", ".join(missing)}')
            duration = float(np.ptp(times_ps_of(frames)))
            displacements = mean_squared_displacement(
                frames, species, max_lag_ps=max(0.5, share[1]) * duration, n_groups=SCATTER_GROUPS
            )
            volumes = np.abs(np.linalg.det(np.asarray(frames.cells[:], dtype=float)))
            counts = {symbol: int(indices_of(frames, symbol).size) for symbol in species}
            n_frames = n_frames_of(frames)
        window = (share[0] * duration, share[1] * duration)
        volume = float(volumes.mean())
        conditions = {
            'temperature_K': temperature.mean, 'volume_A3': volume, 'n_atoms': trajectory.n_atoms,
            'duration_ps': duration,
        }  # fmt: skip
        notes = temperature_notes(temperature.mean, options.get('target_temperature_K'))
        if temperature.mean > 1.1 * ROOM_TEMPERATURE:
            notes.append(f'this holds at {temperature.mean:.0f} K and is not extrapolated to room temperature')
        quantities: list[Quantity] = []
        for symbol in species:
            found = self_diffusion(displacements[symbol], window, hop_length=float(options.get('hop_length', 2.0)))
            conductivity = nernst_einstein(
                found, charges[symbol], n_ions=counts[symbol], volume=volume, temperature=temperature.mean,
                temperature_error=temperature.error if np.isfinite(temperature.error) else 0.0,
            )  # fmt: skip
            quantities += _numbers(found, conductivity, conditions, notes)
            for name in options.get('estimates', []):
                quantities.append(_interval(displacements[symbol], window, name, conditions, [*found.warnings, *notes]))
        spread = float(np.ptp(volumes) / volume)
        context = {
            'engine': engine_text(trajectory.engine), 'formula': trajectory.formula, **conditions, 'n_frames': n_frames,
            **options.get('context', {}),
        }  # fmt: skip
        if spread > 1e-6:
            context['volume_spread'] = spread
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': _curve(displacements)}
    except (ValueError, KeyError, ImportError) as error:
        return analysis_failed(error)


def _interval(
    result: MeanSquaredDisplacement, window: tuple[float, float], name: str, conditions: dict[str, Any],
    warnings: list[str],
) -> Quantity:  # fmt: skip
    """Return the diffusivity with an interval."""
    if name not in INTERVALS:
        raise ValueError(f'there is no estimate called {name!r}, only {", ".join(INTERVALS)}')
    found = INTERVALS[name](result, window)
    return Quantity(
        name=f'diffusivity.{result.species}.{name}', value=found.diffusivity, error=found.error, unit='cm^2/s',
        definition=f'{DIFFUSIVITY}: mean and deviation of the {found.method}', n_samples=found.n_samples,
        error_method=found.method, window=found.window_ps, window_unit='ps', frames_used=result.n_frames,
        conditions={
            **conditions, 'lower': found.interval[0], 'upper': found.interval[1], 'confidence': found.confidence
        },
        warnings=warnings,
    )  # fmt: skip


def _numbers(
    found: Diffusion, conductivity: Conductivity, conditions: dict[str, Any], notes: list[str]
) -> list[Quantity]:
    common: dict[str, Any] = {
        'n_samples': found.n_samples, 'error_method': found.error_method, 'window': found.window_ps,
        'window_unit': 'ps', 'frames_used': found.n_frames, 'warnings': [*found.warnings, *notes],
    }  # fmt: skip
    return [
        Quantity(
            name=f'diffusivity.{found.species}', value=found.diffusivity, error=found.diffusivity_error, unit='cm^2/s',
            definition=DIFFUSIVITY, conditions={**conditions, 'msd_exponent': found.exponent}, **common,
        ),
        Quantity(
            name=f'conductivity.{found.species}', value=conductivity.conductivity,
            error=conductivity.conductivity_error, unit='mS/cm',
            definition=CONDUCTIVITY, conditions={**conditions, 'charge': conductivity.charge}, **common,
        ),
    ]  # fmt: skip


def _curve(displacements: dict[str, MeanSquaredDisplacement]) -> orm.ArrayData:
    """Return the mean squared displacements of all species in one node."""
    curve = orm.ArrayData()
    units = {'lag_time': 'ps'}
    curve.set_array('lag_time', next(iter(displacements.values())).lag_times)
    for symbol, result in displacements.items():
        curve.set_array(f'msd_{symbol}', result.msd)
        curve.set_array(f'msd_error_{symbol}', result.msd_error)
        units |= {f'msd_{symbol}': 'Å^2', f'msd_error_{symbol}': 'Å^2'}
    curve.base.attributes.set('units', units)
    return curve
