"""A measured G(r) or S(q) as a sum of two phases, as a calcfunction: scales, shares of the phases and the residual."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from pymatgen.core import Composition

from aiida_softclay.analysis.pair_distribution import PhaseFit, fit_phases
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.scattering import mean_scattering_length
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.series_options import read_options
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed

Array = npt.NDArray[np.float64]

#: Keys of the parameters that may be left out, with their defaults. ``length_unit`` (Å or nm) is that of the measured
#: curve, ``fit_range`` in Å or Å⁻¹. ``resolution`` is where the transform behind the measured curve ends: the largest q
#: (Å⁻¹) of a G(r), the largest r (Å) of an S(q); with 0, every point counts as independent.
DEFAULTS: dict[str, Any] = {
    'radiation': 'x-ray',
    'length_unit': 'Å',
    'fit_range': [1.0, 20.0],
    'resolution': 0.0,
    'context': {},
}
PHASES = ('first', 'second')
#: Arrays of a curve against r and against q, with the power of a length that the values are in.
KINDS = {'r': ('G', 1, -2, 'Å', 'Å^-2'), 'q': ('S', -1, 0, 'Å^-1', '1')}
PER_UNIT = {'Å': 1.0, 'nm': 10.0}


@calcfunction
def fit_measured_phases(
    parameters: orm.Dict, measured: orm.ArrayData, first: orm.ArrayData, second: orm.ArrayData
) -> dict[str, orm.Data] | ExitCode:
    """Return with which shares the curves of two phases add up to a measured one (you2025: LAOC and LiCl, 88:12).

    S(q) is fitted as q [S(q) - 1], whose transform is G(r): both weigh the points alike.

    Parameters
    ----------
    parameters : Dict
        ``formulas`` (``{'first': 'Li3Al3O2Cl8', 'second': 'LiCl'}``), and optionally the keys of :data:`DEFAULTS`.
    measured : ArrayData
        ``r`` and ``G``, or ``q`` and ``S``.
    first, second : ArrayData
        Curves of the phases as ``analyse_scattering`` leaves them: ``r`` and ``G_x_ray``, ``q`` and ``S_neutron``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: the points within the range, the measured curve,
        the fit, the part of each phase, and what is left).
    """
    try:
        options = read_options(parameters, DEFAULTS, required=('formulas',))
        compositions = _compositions(options)
        x, points, observed, phases = _common_grid(measured, {'first': first, 'second': second}, options)
        weight = points if x == 'q' else np.ones(points.size)
        level = 1.0 if x == 'q' else 0.0
        fit = fit_phases(
            points, weight * (observed - level), {name: weight * (phases[name] - level) for name in PHASES},
            r_min=float(points[0]), r_max=float(points[-1]), q_max=options['resolution'] or None,
        )  # fmt: skip
        parts = {name: fit.scales[name] * (phases[name] - level) for name in PHASES}
        total = level + sum(parts.values())
        y, _, _, x_unit, unit = KINDS[x]
        curve = columns_node({
            x: (points, x_unit), f'measured_{y}': (observed, unit), f'fit_{y}': (total, unit),
            **{f'{name}_{y}': (level + part, unit) for name, part in parts.items()},
            f'residual_{y}': (observed - total, unit),
        })  # fmt: skip
        window = (float(points[0]), float(points[-1]))
        numbers = [
            Quantity(**number, window=window, window_unit=x_unit) for number in _numbers(fit, compositions, options, x)
        ]
        context = {'formulas': options['formulas'], 'radiation': options['radiation'], **options['context']}
        return {'results': orm.Dict(results_dict(numbers, **context)), 'curve': curve}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _compositions(options: dict[str, Any]) -> dict[str, Composition]:
    formulas = options['formulas']
    if not isinstance(formulas, dict) or set(formulas) != set(PHASES):
        raise ValueError(f'formulas must name the first and the second phase, it is {formulas!r}')
    if options['radiation'] not in {'x-ray', 'neutron'}:
        raise ValueError(f'radiation must be x-ray or neutron, it is {options["radiation"]!r}')
    if options['length_unit'] not in PER_UNIT:
        raise ValueError(f'length_unit must be Å or nm, it is {options["length_unit"]!r}')
    return {name: Composition(formulas[name]) for name in PHASES}


def _common_grid(
    measured: orm.ArrayData, phases: dict[str, orm.ArrayData], options: dict[str, Any]
) -> tuple[str, Array, Array, dict[str, Array]]:
    """Return r or q, the measured points that all curves and the range share, and the curves there."""
    names = set(measured.get_arraynames())
    kinds = [x for x, (y, *_) in KINDS.items() if {x, y} <= names]
    if len(kinds) != 1:
        raise ValueError(f'the measured curve must hold r and G, or q and S; it holds {", ".join(sorted(names))}')
    x = kinds[0]
    y, power, power_of_values, x_unit, _ = KINDS[x]
    points, observed = _column_pair(measured, 'measured curve', x, y)
    factor = PER_UNIT[options['length_unit']]
    points, observed = points * factor**power, observed * factor**power_of_values
    edges = options['fit_range']
    if len(edges) != 2 or not all(isinstance(edge, int | float) for edge in edges) or not edges[0] < edges[1]:
        raise ValueError(f'fit_range must be two numbers, the smaller one first, it is {edges!r}')
    name_of_values = f'{y}_{options["radiation"].replace("-", "_")}'
    curves = {name: _column_pair(node, f'curve of the {name} phase', x, name_of_values)
              for name, node in phases.items()}  # fmt: skip
    low = max(edges[0], *(grid[0] for grid, _ in curves.values()))
    high = min(edges[1], *(grid[-1] for grid, _ in curves.values()))
    inside = (points >= low) & (points <= high)
    if not inside.any():
        raise ValueError(f'no measured point lies between {low:.2f} and {high:.2f} {x_unit}: is length_unit right?')
    points = points[inside]
    return x, points, observed[inside], {name: np.interp(points, *columns) for name, columns in curves.items()}


def _column_pair(node: orm.ArrayData, what: str, x: str, y: str) -> tuple[Array, Array]:
    if missing := [name for name in (x, y) if name not in node.get_arraynames()]:
        raise ValueError(f'the {what} lacks {", ".join(missing)}')
    points, values = (np.asarray(node.get_array(name), dtype=float) for name in (x, y))
    if points.ndim != 1 or points.shape != values.shape or not np.isfinite([points, values]).all():
        raise ValueError(f'{x} and {y} of the {what} must be rows of finite numbers of the same length')
    if points.size < 2 or (np.diff(points) <= 0).any():
        raise ValueError(f'{x} of the {what} must increase from point to point')
    return points, values


def _numbers(
    fit: PhaseFit, compositions: dict[str, Composition], options: dict[str, Any], x: str
) -> Iterator[dict[str, Any]]:
    """Yield the numbers of the fit, as far as they are known here."""
    common: dict[str, Any] = {'unit': '1', 'n_samples': max(1, round(fit.n_independent))}
    scattering = {
        name: mean_scattering_length(formula.get_el_amt_dict(), options['radiation'])
        for name, formula in compositions.items()
    }
    warnings = [
        f'the scale of {options["formulas"][name]} is held at 0, it would be negative'
        for name, scale in fit.scales.items() if scale == 0
    ]  # fmt: skip
    if x == 'q' and options['radiation'] == 'x-ray':
        warnings.append('the mean form factors are taken at q = 0: their ratio depends on q where elements differ')
    curve = 'G' if x == 'r' else 'q [S - 1]'
    yield {
        'name': 'phase_fit.weighted_residual', 'value': fit.residual, 'error': None,
        'definition': f'R_w = sqrt(Σ (o - c)² / Σ o²) of {curve} (Proffen and Billinge 1999)',
        'error_method': 'none: the measurement carries no errors', **common,
    }  # fmt: skip
    method = 'scatter of the residuals over the independent points'
    amounts = {
        'formula_fraction': ('formula units', {name: float(c.num_atoms) for name, c in compositions.items()}),
        'mass_fraction': ('mass', {name: float(c.num_atoms / c.weight) for name, c in compositions.items()}),
    }
    for name in PHASES:
        conditions = {'formula': options['formulas'][name], 'radiation': options['radiation']}
        shared = {'error_method': method, 'conditions': conditions, 'warnings': list(warnings), **common}
        yield {
            'name': f'phase_fit.{name}.scale', 'value': fit.scales[name], 'error': fit.scale_errors[name],
            'definition': f'factor of {curve} of the phase in the sum that fits the measured one best', **shared,
        }  # fmt: skip
        for key, (what, divisors) in amounts.items():
            known = any(fit.scales.values())
            value = fit.fractions(scattering, divisors)[name] if known else math.nan
            error = fit.fraction_errors(scattering, divisors)[name] if known else math.nan
            yield {
                'name': f'phase_fit.{name}.{key}', 'value': value, 'error': error,
                'definition': f'share of the {what} in this phase: scale over <b>² at q = 0, per atom', **shared,
            }  # fmt: skip
