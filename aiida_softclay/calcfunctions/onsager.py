"""Conductivity with all correlations between ions, as a calcfunction."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.collective import (
    CENTRE_OF_MASS,
    CollectiveDisplacement,
    collective_displacement,
    collective_from_centres,
)
from aiida_softclay.analysis.coordination import Estimate
from aiida_softclay.analysis.displacement import mean_squared_displacement
from aiida_softclay.analysis.onsager import IonicConductivity, ionic_conductivity
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.statistics import block_average
from aiida_softclay.analysis.trajectory import n_frames_of, times_ps_of
from aiida_softclay.calcfunctions.centres import centre_columns, system_counts, system_path
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed, temperature_notes
from aiida_softclay.calcfunctions.transport import SCATTER_GROUPS, longest_lag, window_of
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

TOTAL = 'e² / (6 V k_B T) times the slope of the squared displacement of all charge, Σ z_i r_i (yang2024, eq. 2)'
SELF = 'e² z² / (6 V k_B T) times the slope of the summed squared displacements of the ions (yang2024, eq. 4)'
DISTINCT = 'e² z² / (6 V k_B T) times the slope of the displacement products of different ions (yang2024, eq. 5)'
BETWEEN = (
    'e² |z_a z_b| / (6 V k_B T) times the slope of the product of the collective displacements of two species '
    '(yang2024, eq. 7)'
)
INDEPENDENT = 'sum of the self parts of all species (Nernst–Einstein)'
HAVEN = 'Haven ratio: the sum of the self parts over the total conductivity'
TRANSFERENCE = 'share of the current that the species carries in the stated frame of reference'


@calcfunction
def analyse_ionic_conductivity(
    trajectory: MdTrajectoryData,
    thermo: orm.ArrayData,
    parameters: orm.Dict,
    centres: orm.ArrayData | None = None,
) -> dict[str, orm.Data] | ExitCode:
    """Return the total conductivity of a run at constant volume with its self and distinct parts.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Production run.
    thermo : ArrayData
        Its time series, for the temperature.
    parameters : Dict
        ``charges`` (element to charge number, for all elements), and optionally ``window_ps`` or ``window_share`` (lags
        of the fit, in ps or as shares of the run; by default those of
        :func:`~aiida_softclay.analysis.transport.diffusive_window`, as in ``analyse_conductivity``), ``reference``
        (``centre of mass``, ``laboratory`` or an element), ``hop_length`` in Å, ``target_temperature_K``,
        ``context``.
    centres : ArrayData, optional
        ``time_ps`` and ``centre_X`` (n, 3) for every element X: unwrapped centres that the program wrote while it ran,
        more often than the trajectory, for the collective displacements. Where the trajectory lacks elements they are
        needed, and give the frame of reference too; what takes the single ions of the elements without frames is then
        empty, with a warning.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: lag times and products of collective
        displacements).
    """
    options = parameters.get_dict()
    try:
        charges = {element: float(charge) for element, charge in options['charges'].items()}
        reference = str(options.get('reference', CENTRE_OF_MASS))
        temperature = block_average(thermo.get_array('temperature_K'))
        with trajectory.open_trajectory() as frames:
            times = times_ps_of(frames)
            duration = float(np.ptp(times))
            volumes = np.abs(np.linalg.det(np.asarray(frames.cells[:], dtype=float)))
            own = mean_squared_displacement(
                frames,
                max_lag_ps=longest_lag(options, duration),
                n_groups=SCATTER_GROUPS,
                reference=system_path(frames, centres, reference),
            )
            window = window_of(own, options, duration)
            collective = (
                collective_displacement(frames, reference=reference) if centres is None
                else _from_columns(frames, centres, reference)
            )  # fmt: skip
            n_frames, n_atoms, partial = n_frames_of(frames), sum(system_counts(frames).values()), bool(frames.left_out)
        volume = float(volumes.mean())
        found = ionic_conductivity(
            collective, own, charges, volume=volume, temperature=temperature.mean, window_ps=window,
            hop_length=float(options.get('hop_length', 2.0)), partial=partial,
        )  # fmt: skip
        conditions = {
            'temperature_K': temperature.mean, 'volume_A3': volume, 'n_atoms': n_atoms,
            'duration_ps': duration, 'reference': found.reference,
        }  # fmt: skip
        notes = temperature_notes(temperature.mean, options.get('target_temperature_K'))
        spread = float(np.ptp(volumes) / volume)
        if spread > 1e-6:
            notes.append(f'the volume varied by {100 * spread:.2g} % of itself: positions of atoms scale with it')
        context = {
            'engine': engine_text(trajectory.engine), 'formula': trajectory.formula, **conditions, 'n_frames': n_frames,
            'collective_from': 'trajectory' if centres is None else 'centres written while the run went on',
            **options.get('context', {}),
        }  # fmt: skip
        quantities = _numbers(found, conditions, notes)
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': _curve(collective, window[1])}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _from_columns(frames: TrajectoryFile, centres: orm.ArrayData, reference: str) -> CollectiveDisplacement:
    rows, columns = centre_columns(frames, centres)
    times = times_ps_of(frames)
    spacing = max(float(np.diff(rows).max(initial=0.0)), float(np.diff(times).max(initial=0.0)))
    if abs(np.ptp(rows) - np.ptp(times)) > spacing:
        raise ValueError(
            f'the centres cover {np.ptp(rows):g} ps and the trajectory {np.ptp(times):g} ps: they are not of one run'
        )
    return collective_from_centres(rows, columns, system_counts(frames), reference)


def _numbers(found: IonicConductivity, conditions: dict[str, Any], notes: list[str]) -> list[Quantity]:
    common: dict[str, Any] = {
        'window': found.window_ps, 'window_unit': 'ps', 'frames_used': found.n_frames, 'conditions': conditions,
        'warnings': [*found.warnings, *notes],
    }  # fmt: skip

    def number(name: str, estimate: Estimate, unit: str, definition: str) -> Quantity:
        return Quantity(
            name=name, value=estimate.value, error=estimate.error, unit=unit, definition=definition,
            n_samples=estimate.n_samples, error_method=estimate.method, **common,
        )  # fmt: skip

    rows = [
        number('conductivity.total', found.total, 'mS/cm', TOTAL),
        number('conductivity.nernst_einstein', found.nernst_einstein, 'mS/cm', INDEPENDENT),
        number('haven_ratio', found.haven_ratio, '1', HAVEN),
    ]
    for name in found.species:
        if name in found.own:
            rows.append(number(f'conductivity.self.{name}', found.own[name], 'mS/cm', SELF))
            rows.append(number(f'conductivity.distinct.{name}', found.distinct[name], 'mS/cm', DISTINCT))
        rows.append(number(f'transference.{name}', found.transference[name], '1', TRANSFERENCE))
    for (first, second), estimate in found.between.items():
        rows.append(number(f'conductivity.distinct.{first}-{second}', estimate, 'mS/cm', BETWEEN))
    return rows


def _curve(collective: CollectiveDisplacement, longest: float) -> orm.ArrayData:
    """Return the products of the collective displacements up to the end of the window."""
    n_lags = min(collective.n_frames, round(longest / collective.spacing_ps) + 1)
    products = collective.products(n_lags)
    columns = {'lag_time': (np.arange(n_lags) * collective.spacing_ps, 'ps')}
    for a, first in enumerate(collective.species):
        for b in range(a, len(collective.species)):
            columns[f'collective_{first}_{collective.species[b]}'] = (products[:, a, b], 'Å^2')
    return columns_node(columns)
