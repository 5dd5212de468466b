"""Diffusion and conductivity of a production run as a calcfunction."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.diffusion_intervals import bayesian_diffusion, bootstrap_diffusion
from aiida_softclay.analysis.displacement import MeanSquaredDisplacement, mean_squared_displacement
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.run_length import RunLength, judge_run_length
from aiida_softclay.analysis.statistics import block_average
from aiida_softclay.analysis.trajectory import indices_of, n_frames_of, species_of, times_ps_of
from aiida_softclay.analysis.transport import (
    DEFAULT_WINDOW,
    WINDOW_RULE,
    Conductivity,
    Diffusion,
    diffusive_window,
    nernst_einstein,
    self_diffusion,
)
from aiida_softclay.calcfunctions.centres import system_counts, system_path
from aiida_softclay.calcfunctions.columns import columns_node
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
HOP_LENGTH = 2.0
CONDUCTIVITY = 'Nernst–Einstein conductivity N z² e² D / (V k_B T) of independently moving ions (yang2024, eq. 4)'


@calcfunction
def analyse_conductivity(
    trajectory: MdTrajectoryData,
    thermo: orm.ArrayData,
    parameters: orm.Dict,
    centres: orm.ArrayData | None = None,
) -> dict[str, orm.Data] | ExitCode:
    """Return diffusivities and Nernst–Einstein conductivities of a run at constant volume.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Production run.
    thermo : ArrayData
        Its time series, for the temperature.
    parameters : Dict
        ``charges`` (element to charge number), and optionally ``species`` (all by default), ``window_ps`` or
        ``window_share`` (lags of the fit, in ps or as shares of the run; by default those of
        :func:`~aiida_softclay.analysis.transport.diffusive_window` for all of the species together), ``hop_length`` in
        Å, ``estimates`` (list of ``bootstrap``, ``bayesian``: further estimates of the diffusivities, with intervals),
        ``run_length`` (``relative_error_wanted``, ``max_duration_ps``, ``species`` or none for the one that carries
        most: whether the run is long enough, and how long to go on, in the context of the results), ``context``.
    centres : ArrayData, optional
        ``time_ps`` and ``centre_X`` (n, 3) for every element X, unwrapped, Å, with a row at every frame: the centre of
        mass of the whole where the trajectory does not hold all elements.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: lag times and MSD of each species).
    """
    options = parameters.get_dict()
    try:
        charges = {element: float(charge) for element, charge in options['charges'].items()}
        hop_length = float(options.get('hop_length', HOP_LENGTH))
        temperature = block_average(thermo.get_array('temperature_K'))
        with trajectory.open_trajectory() as frames:
            species = list(options.get('species') or species_of(frames))
            missing = sorted(set(species) - set(charges))
            if missing:
                raise ValueError(f'no charge was given for {", ".join(missing)}')
            duration = float(np.ptp(times_ps_of(frames)))
            displacements = mean_squared_displacement(
                frames, species, max_lag_ps=max(0.5 * duration, longest_lag(options, duration)),
                n_groups=SCATTER_GROUPS, reference=system_path(frames, centres) if frames.left_out else None,
            )  # fmt: skip
            volumes = np.abs(np.linalg.det(np.asarray(frames.cells[:], dtype=float)))
            counts = {symbol: int(indices_of(frames, symbol).size) for symbol in species}
            n_frames, n_atoms = n_frames_of(frames), sum(system_counts(frames).values())
        window = window_of(displacements, options, duration)
        volume = float(volumes.mean())
        conditions = {
            'temperature_K': temperature.mean, 'volume_A3': volume, 'n_atoms': n_atoms,
            'duration_ps': duration,
        }  # fmt: skip
        notes = temperature_notes(temperature.mean, options.get('target_temperature_K'))
        if temperature.mean > 1.1 * ROOM_TEMPERATURE:
            notes.append(f'this holds at {temperature.mean:.0f} K and is not extrapolated to room temperature')
        quantities: list[Quantity] = []
        found = {symbol: self_diffusion(displacements[symbol], window, hop_length=hop_length) for symbol in species}
        conductivities = {
            symbol: nernst_einstein(
                found[symbol], charges[symbol], n_ions=counts[symbol], volume=volume, temperature=temperature.mean,
                temperature_error=temperature.error if np.isfinite(temperature.error) else 0.0,
            )
            for symbol in species
        }  # fmt: skip
        steering, run_length = _run_length(found, conductivities, options.get('run_length'), duration, hop_length)
        for symbol in species:
            remarks = (
                [*notes, run_length.reason] if run_length and symbol == steering and _falls_short(run_length) else notes
            )
            moved = {'msd_at_end_A2': found[symbol].msd_at_end, 'hop_length_A': hop_length}
            quantities += _numbers(found[symbol], conductivities[symbol], {**conditions, **moved}, remarks)
            for name in options.get('estimates', []):
                warnings = [*found[symbol].warnings, *remarks]
                quantities.append(_interval(displacements[symbol], window, name, conditions, warnings))
        spread = float(np.ptp(volumes) / volume)
        context = {
            'engine': engine_text(trajectory.engine), 'formula': trajectory.formula, **conditions, 'n_frames': n_frames,
            'window_ps': list(window), 'window_rule': _rule(options), **options.get('context', {}),
        }  # fmt: skip
        if run_length:
            context['run_length'] = {'species': steering, **run_length.as_dict()}
        if spread > 1e-6:
            context['volume_spread'] = spread
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': _curve(displacements)}
    except (ValueError, KeyError, ImportError) as error:
        return analysis_failed(error)


def longest_lag(options: dict[str, Any], duration: float) -> float:
    """Return the longest lag in ps that the window of the options can reach in a run of this length."""
    if options.get('window_ps') is not None:
        return float(options['window_ps'][1])
    return float((options.get('window_share') or DEFAULT_WINDOW)[1]) * duration


def window_of(
    displacements: dict[str, MeanSquaredDisplacement], options: dict[str, Any], duration: float
) -> tuple[float, float]:
    """Return the window of lags of a run in ps: that of the options, else where all species diffuse.

    Parameters
    ----------
    displacements : dict
        Mean squared displacement of each species, up to :func:`longest_lag`.
    options : dict
        ``window_ps``, ``window_share`` and ``hop_length`` in Å, all optional.
    duration : float
        ps.
    """
    if options.get('window_ps') is not None:
        first, last = options['window_ps']
        return float(first), float(last)
    if options.get('window_share') is not None:
        first, last = options['window_share']
        return float(first) * duration, float(last) * duration
    return diffusive_window(displacements, hop_length=float(options.get('hop_length', HOP_LENGTH)))


def _rule(options: dict[str, Any]) -> str:
    if options.get('window_ps') is not None:
        return 'given in ps'
    return 'given as shares of the run' if options.get('window_share') is not None else WINDOW_RULE


def _run_length(
    found: dict[str, Diffusion], conductivities: dict[str, Conductivity], wanted: dict[str, Any] | None,
    duration: float, hop_length: float,
) -> tuple[str, RunLength | None]:  # fmt: skip
    """Return the species whose error decides on the length of the run, and the decision."""
    if not wanted or wanted.get('relative_error_wanted') is None:
        return '', None
    # Where nothing is charged, what diffuses most.
    chosen = wanted.get('species') or max(
        found, key=lambda name: (conductivities[name].conductivity, found[name].diffusivity)
    )
    if chosen not in found:
        raise ValueError(f'the error of {chosen} is wanted, but only {", ".join(found)} are analysed')
    result = found[chosen]
    return chosen, judge_run_length(
        result.diffusivity, result.diffusivity_error, duration, float(wanted['relative_error_wanted']),
        float(wanted['max_duration_ps']), diffuses=result.msd_at_end >= hop_length**2, what=f'D of {chosen}',
    )  # fmt: skip


def _falls_short(run_length: RunLength) -> bool:
    """Return whether the run is at its limit without the error that was wanted."""
    return not run_length.reached and run_length.extension_ps == 0


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
    columns = {'lag_time': (next(iter(displacements.values())).lag_times, 'ps')}
    for symbol, result in displacements.items():
        columns |= {f'msd_{symbol}': (result.msd, 'Å^2'), f'msd_error_{symbol}': (result.msd_error, 'Å^2')}
    return columns_node(columns)
