"""What X-rays and neutrons see of a run, as a calcfunction: S(q), G(r) and the agreement with a measured G(r)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.pair_distribution import fit_phases, reduced_distribution, weighted_residual
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.rdf import RadialDistribution, radial_distribution
from aiida_softclay.analysis.scattering import composition_of, pair_weights
from aiida_softclay.analysis.structure_factor import StructureFactor, structure_factor
from aiida_softclay.analysis.trajectory import Trajectory, cell_heights, n_frames_of, select_frames
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.series_options import read_options, run_context, start_frame
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed
from aiida_softclay.data.trajectory import MdTrajectoryData

Array = npt.NDArray[np.float64]

#: Keys of the parameters that may be left out, with their defaults; lengths in Å, q in Å⁻¹. g(r) ends at ``r_max``, or
#: at half the smallest height of the cell if that is less; ``window`` takes the ripples of this end off S(q); ``q_max``
#: (0: none) and ``q_damp`` are the end and the resolution of the measurement behind G(r); a measured curve is of
#: ``measured_radiation`` and compared within ``fit_range``.
DEFAULTS: dict[str, Any] = {
    'radiation': ['x-ray', 'neutron'],
    'r_max': 15.0,
    'bin_width': 0.02,
    'n_frames': 20,
    'start_ps': 0.0,
    'q_range': [0.5, 20.0],
    'q_step': 0.02,
    'window': True,
    'q_max': 0.0,
    'q_damp': 0.0,
    'measured_radiation': 'x-ray',
    'fit_range': [1.0, 15.0],
    'context': {},
}
#: Relative distance by which g(r) ends before half the smallest height of the cell.
MARGIN = 1e-3


@calcfunction
def analyse_scattering(
    trajectory: MdTrajectoryData, parameters: orm.Dict, measured: orm.ArrayData | None = None
) -> dict[str, orm.Data] | ExitCode:
    """Return total structure factors and reduced pair distribution functions, and compare with a measured one.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Any run.
    parameters : Dict
        Optionally the keys of :data:`DEFAULTS`.
    measured : ArrayData, optional
        ``r`` in Å and ``G`` in Å⁻² of a measurement.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: q, S(q) and its error, r, G(r) of each radiation;
        with a measurement its points that are compared, and the calculated ones there).
    """
    try:
        options = read_options(parameters, DEFAULTS)
        q = _q_grid(options)
        with trajectory.open_trajectory() as frames:
            start = start_frame(frames, options['start_ps'])
            reach, warnings = _reach(frames, options, start)
            found = radial_distribution(
                frames, r_max=reach, bin_width=options['bin_width'], n_frames=options['n_frames'], start=start
            )
            composition = composition_of(frames)
            context = run_context(trajectory, frames, options, start)
        conditions = {
            'r_max_A': reach, 'q_max_per_A': options['q_max'] or None, 'q_damp_per_A': options['q_damp'],
            'number_density_per_A3': found.density,
        }  # fmt: skip
        factor = structure_factor(found, composition, q, options['window'])
        columns: dict[str, tuple[Any, str]] = {'q': (q, 'Å^-1'), 'r': (found.radii, 'Å')}
        quantities: list[Quantity] = []
        reduced: dict[str, Array] = {}
        for radiation in options['radiation']:
            label = radiation.replace('-', '_')
            total, error = factor.total(radiation)
            reduced[radiation] = _reduced(found, composition, radiation, options)
            columns |= {
                f'S_{label}': (total, '1'), f'S_error_{label}': (error, '1'),
                f'G_{label}': (reduced[radiation], 'Å^-2'),
            }  # fmt: skip
            if not options['q_max']:
                columns[f'G_error_{label}'] = (_reduced_error(found, composition, radiation, options), 'Å^-2')
            quantities += _peak_numbers(radiation, factor, total, error, found, reduced[radiation])
        if measured is not None:
            radiation = options['measured_radiation']
            if radiation not in reduced:
                reduced[radiation] = _reduced(found, composition, radiation, options)
            points, observed, calculated = _common_points(measured, found.radii, reduced[radiation], options)
            quantities += _comparison_numbers(radiation, points, observed, calculated, options)
            columns |= {
                'measured_r': (points, 'Å'), 'measured_G': (observed, 'Å^-2'), 'calculated_G': (calculated, 'Å^-2')
            }  # fmt: skip
        context |= {'frames_used': found.n_frames, **conditions}
        for quantity in quantities:
            quantity.conditions.update(conditions)
            quantity.warnings.extend(warnings)
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': columns_node(columns)}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _range_of(options: dict[str, Any], key: str) -> tuple[float, float]:
    edges = options[key]
    numbers = [edge for edge in edges if isinstance(edge, int | float)]
    if len(edges) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise ValueError(f'{key} must be two numbers, the smaller one first, it is {edges!r}')
    return float(numbers[0]), float(numbers[1])


def _q_grid(options: dict[str, Any]) -> Array:
    first, last = _range_of(options, 'q_range')
    if not 0 < options['q_step'] <= last - first:
        raise ValueError(f'q_step must be positive and less than the range of q, it is {options["q_step"]:g} Å⁻¹')
    if not options['radiation']:
        raise ValueError('radiation is empty: give x-ray, neutron or both')
    if not all(isinstance(name, str) for name in options['radiation']):
        raise ValueError(f'radiation must name x-ray, neutron or both, it is {options["radiation"]!r}')
    return np.linspace(first, last, round((last - first) / options['q_step']) + 1)


def _reach(frames: Trajectory, options: dict[str, Any], start: int) -> tuple[float, list[str]]:
    """Return where g(r) ends, whole bins within half the cell, and what a reader must know about it."""
    chosen = select_frames(n_frames_of(frames), options['n_frames'], start)
    half = min(0.5 * float(cell_heights(frames.cells[index]).min()) for index in chosen) / (1 + MARGIN)
    width = options['bin_width']
    if not width > 0 or not options['r_max'] > width:
        raise ValueError(f'the bins make no sense: width {width:g} Å up to {options["r_max"]:g} Å')
    if options['r_max'] <= half:
        return options['r_max'], []
    reach = math.floor(half / width) * width
    return reach, [
        f'g(r) ends at {reach:.2f} Å, half the smallest height of the cell: S(q) is resolved to {math.pi / reach:.2f} '
        'Å⁻¹'
    ]


def _reduced(
    found: RadialDistribution, composition: dict[str, float], radiation: Any, options: dict[str, Any]
) -> Array:
    return reduced_distribution(found, composition, radiation, options['q_max'] or None, options['q_damp'])


def _reduced_error(
    found: RadialDistribution, composition: dict[str, float], radiation: Any, options: dict[str, Any]
) -> Array:
    """Return the standard error of G(r) from those of the partial g(r), taken as independent of each other."""
    weights = pair_weights(composition, found.pairs, radiation)
    spread = np.sqrt(((weights[:, None] * found.g_error) ** 2).sum(axis=0))
    damping = np.exp(-0.5 * (found.radii * options['q_damp']) ** 2)
    return np.asarray(4 * math.pi * found.density * found.radii * spread * damping)


def _peak_numbers(
    radiation: str, factor: StructureFactor, total: Array, error: Array, found: RadialDistribution, reduced: Array
) -> Iterator[Quantity]:
    """Yield place and height of the highest peak of S(q), and the place of that of G(r)."""
    top = int(np.argmax(total))
    notes = ['the largest value lies at an end of the range of q: it is no peak'] if top in {0, len(total) - 1} else []
    window = (float(factor.q[0]), float(factor.q[-1]))
    common: dict[str, Any] = {'n_samples': min(10, found.n_frames), 'frames_used': found.n_frames}
    name = f'structure_factor.{radiation}'
    weighting = 'weights c_a c_b f_a f_b / <f>² of the partial structure factors (Faber and Ziman 1965)'
    yield Quantity(
        name=f'{name}.highest_peak_position', value=float(factor.q[top]), error=0.5 * math.pi / factor.r_max,
        unit='Å^-1', definition=f'q at which S(q) is largest; {weighting}',
        error_method='half the resolution π / r_max that the end of g(r) leaves', window=window, window_unit='Å^-1',
        warnings=list(notes), **common,
    )  # fmt: skip
    yield Quantity(
        name=f'{name}.highest_peak', value=float(total[top]), error=float(error[top]), unit='1',
        definition=f'largest value of S(q); {weighting}', error_method='errors of g(r) over blocks of frames',
        window=window, window_unit='Å^-1', warnings=list(notes), **common,
    )  # fmt: skip
    half_bin = 0.5 * float(found.edges[1] - found.edges[0])
    yield Quantity(
        name=f'pair_distribution.{radiation}.highest_peak_position', value=float(found.radii[np.argmax(reduced)]),
        error=half_bin, unit='Å', definition='r at which G(r) = 4 π ρ r [g(r) - 1] is largest (weights at q = 0)',
        error_method='half a bin of g(r)', window=(0.0, float(found.edges[-1])), window_unit='Å', **common,
    )  # fmt: skip


def _common_points(
    measured: orm.ArrayData, radii: Array, reduced: Array, options: dict[str, Any]
) -> tuple[Array, Array, Array]:
    """Return r, the measured and the calculated G(r) at the measured points within the range of comparison."""
    names = measured.get_arraynames()
    if missing := [name for name in ('r', 'G') if name not in names]:
        raise ValueError(f'the measured curve lacks {", ".join(missing)}: give r in Å and G in Å⁻²')
    points, values = (np.asarray(measured.get_array(name), dtype=float) for name in ('r', 'G'))
    if points.ndim != 1 or points.shape != values.shape or not np.isfinite([points, values]).all():
        raise ValueError('the measured r and G must be rows of finite numbers of the same length')
    first, last = _range_of(options, 'fit_range')
    inside = (points >= max(first, radii[0])) & (points <= min(last, radii[-1]))
    if not inside.any():
        raise ValueError(
            f'no measured point lies between {max(first, radii[0]):.2f} and {min(last, radii[-1]):.2f} Å: is r in Å?'
        )
    return points[inside], values[inside], np.interp(points[inside], radii, reduced)


def _comparison_numbers(
    radiation: str, points: Array, observed: Array, calculated: Array, options: dict[str, Any]
) -> Iterator[Quantity]:
    """Yield the residual as it is, and with the scale that fits best."""
    fit = fit_phases(
        points, observed, {'run': calculated}, r_min=float(points[0]), r_max=float(points[-1]),
        q_max=options['q_max'] or None,
    )  # fmt: skip
    name = f'pair_distribution.{radiation}'
    formula = 'R_w = sqrt(Σ (G_measured - G_calculated)² / Σ G_measured²) (Proffen and Billinge 1999)'
    common: dict[str, Any] = {
        'unit': '1', 'n_samples': max(1, round(fit.n_independent)), 'window': (float(points[0]), float(points[-1])),
        'window_unit': 'Å',
    }  # fmt: skip
    none = 'none: the measurement carries no errors'
    yield Quantity(
        name=f'{name}.weighted_residual', value=weighted_residual(observed, calculated), error=None,
        definition=f'{formula}, both as they are', error_method=none, **common,
    )  # fmt: skip
    yield Quantity(
        name=f'{name}.weighted_residual_scaled', value=fit.residual, error=None,
        definition=f'{formula}, the calculated curve times the scale that fits best', error_method=none, **common,
    )  # fmt: skip
    yield Quantity(
        name=f'{name}.scale', value=fit.scales['run'], error=fit.scale_errors['run'],
        definition='factor by which the calculated G(r) fits the measured one best, in least squares',
        error_method='scatter of the residuals over the independent points', **common,
    )  # fmt: skip
