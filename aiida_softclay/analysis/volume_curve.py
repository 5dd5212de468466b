"""Specific volume against temperature from runs at zero stress: rungs of a ladder, or one continuous cooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .autoregression import combination_error, oscillating_covariance
from .glass_transition import VolumeCurveError
from .statistics import LinearFit, block_average, linear_fit
from .trajectory import Array

#: Rows below which neither an error nor a drift can be judged.
FEWEST_ROWS = 8


@dataclass(frozen=True)
class VolumePoint:
    """Specific volume at one temperature.

    Attributes
    ----------
    temperature : float
        K; that of the thermostat.
    measured_temperature : float
        Mean of the run, K.
    volume, error : float
        Mean and its standard error, cm³/g.
    n_samples : int
        Rows that were averaged.
    drifting : bool
        Whether the volume of a rung drifts beyond the tolerance; false for a cooling, where it must.
    drift, drift_error : float
        Change of the volume over the averaged rows, cm³/g; 0 for a cooling.
    """

    temperature: float
    measured_temperature: float
    volume: float
    error: float
    n_samples: int
    drifting: bool = False
    drift: float = 0.0
    drift_error: float = 0.0


def ladder_point(
    temperature: float,
    measured: npt.ArrayLike,
    volumes: npt.ArrayLike,
    *,
    discard_share: float = 0.5,
    drift_tolerance: float = 0.002,
) -> VolumePoint:
    """Return the specific volume of one rung, its start left out, with the error of correlated rows.

    A volume that swings under the barostat has the error of its autoregressive model
    (:func:`~aiida_softclay.analysis.autoregression.oscillating_covariance`), any other that of block averages, which
    would take the swings for slow fluctuations.

    Parameters
    ----------
    temperature : float
        Of the thermostat, K.
    measured, volumes : array_like, shape (n_rows,)
        Instantaneous temperatures (K) and specific volumes (cm³/g), equally spaced in time.
    discard_share : float
        Share of the rung, from its start, in which it settles.
    drift_tolerance : float
        Relative change over the averaged rows that does not matter.

    Raises
    ------
    VolumeCurveError
        If too few rows are left.
    """
    heat, volume = np.asarray(measured, dtype=float), np.asarray(volumes, dtype=float)
    start = math.ceil(discard_share * volume.size)
    heat, volume = heat[start:], volume[start:]
    if volume.size < FEWEST_ROWS:
        raise VolumeCurveError(
            f'{volume.size} rows are left of the rung at {temperature:g} K, {FEWEST_ROWS} are needed: write rows more '
            'often (thermo_every), cool more slowly or discard less'
        )
    mean, error = _mean(volume)
    length = volume.size - 1
    line = _line(np.arange(volume.size, dtype=np.float64), volume)
    drift, drift_error = line.slope * length, line.slope_error * length
    # Rounding noise of a constant series must not count as a drift.
    moving = abs(drift) > max(2 * drift_error, drift_tolerance * mean, 1e-12 * mean)
    return VolumePoint(temperature, float(heat.mean()), mean, error, int(volume.size), moving, drift, drift_error)


def _mean(volumes: Array) -> tuple[float, float]:
    mean = float(volumes.mean())
    covariance = oscillating_covariance(volumes - mean)
    if covariance is None:
        return mean, block_average(volumes).error
    return mean, combination_error(np.full(volumes.size, 1 / volumes.size), covariance)


def _line(abscissa: Array, volumes: Array) -> LinearFit:
    """Return the line through rows in the order of time, with the errors of oscillating or decaying residuals."""
    line = linear_fit(abscissa, volumes, correlated=True)
    covariance = oscillating_covariance(volumes - line(abscissa), n_fitted=2)
    if covariance is None:
        return line
    centred = abscissa - abscissa.mean()
    slope = centred / (centred @ centred)
    height = 1 / abscissa.size - abscissa.mean() * slope
    return replace(
        line, slope_error=combination_error(slope, covariance), intercept_error=combination_error(height, covariance)
    )


def cooling_points(
    thermostat: npt.ArrayLike, measured: npt.ArrayLike, volumes: npt.ArrayLike, edges: Sequence[float]
) -> list[VolumePoint]:
    """Return the specific volume at the middle of each bin of a continuous cooling.

    The rows of a bin are those at which the thermostat, not the fluctuating temperature of the atoms, is within it:
    volume and temperature fluctuate together. The value is that of a line through the rows at the middle of the bin,
    with the error of correlated residuals, which swing under the barostat.

    Parameters
    ----------
    thermostat, measured, volumes : array_like, shape (n_rows,)
        Temperature of the thermostat and of the atoms (K) and specific volume (cm³/g), equally spaced in time.
    edges : sequence of float
        Increasing limits of the bins, K.

    Raises
    ------
    VolumeCurveError
        If a bin holds too few rows.
    """
    target, heat, volume = (np.asarray(column, dtype=float) for column in (thermostat, measured, volumes))
    limits = np.asarray(edges, dtype=float)
    # The last bin takes its upper limit, at which a cooling starts.
    index = np.clip(np.searchsorted(limits, target, side='right') - 1, 0, limits.size - 2)
    index[(target < limits[0] - 1e-9) | (target > limits[-1] + 1e-9)] = -1
    points = []
    for number in range(limits.size - 1):
        rows = index == number
        middle = 0.5 * float(limits[number] + limits[number + 1])
        if rows.sum() < FEWEST_ROWS:
            raise VolumeCurveError(
                f'the bin at {middle:g} K holds {rows.sum()} rows, {FEWEST_ROWS} are needed: write rows more often '
                '(thermo_every), cool more slowly or take wider bins'
            )
        line = _line(target[rows] - middle, volume[rows])
        points.append(
            VolumePoint(middle, float(heat[rows].mean()), line.intercept, line.intercept_error, int(rows.sum()))
        )
    return points


@dataclass(frozen=True)
class RateDependence:
    r"""The line :math:`T_g = T_1 + m \log_{10} (q / q_0)` through glass transitions at several cooling rates.

    Attributes
    ----------
    slope, slope_error : float
        m, K per decade of the rate.
    reference_rate : float
        :math:`q_0`, the geometric mean of the rates, K/ps.
    temperature, temperature_error : float
        :math:`T_1` at the reference rate, K.
    reduced_chi_squared : float
        Scatter about the line in units of the errors; ``nan`` for two rates.
    n_samples : int
        Rates.
    warnings : tuple of str
        What a careful reader must know.
    """

    slope: float
    slope_error: float
    reference_rate: float
    temperature: float
    temperature_error: float
    reduced_chi_squared: float
    n_samples: int
    warnings: tuple[str, ...]

    def at(self, rates: npt.ArrayLike) -> Array:
        """Return the glass transition of the line at rates in K/ps."""
        return self.temperature + self.slope * np.log10(np.asarray(rates, dtype=float) / self.reference_rate)


def rate_dependence(rates: npt.ArrayLike, temperatures: npt.ArrayLike, errors: npt.ArrayLike) -> RateDependence:
    r"""Return how the glass transition depends on the cooling rate.

    A glass forms where relaxation becomes slower than cooling. If relaxation is thermally activated over the narrow
    range of the transitions, :math:`T_g` is linear in :math:`\ln q` to first order (Moynihan et al., J. Phys. Chem.
    78, 2673 (1974)). The line holds for the decades that were simulated; it bends towards lower rates.

    Parameters
    ----------
    rates : array_like, shape (n_rates,)
        K/ps, two different ones at least.
    temperatures, errors : array_like, shape (n_rates,)
        Glass transitions with their standard errors, K.

    Raises
    ------
    VolumeCurveError
        If there are fewer than two rates, or a value is not positive.
    """
    q, T, s = (np.asarray(column, dtype=float) for column in (rates, temperatures, errors))
    if q.ndim != 1 or not q.shape == T.shape == s.shape:
        raise VolumeCurveError(f'rates, temperatures and errors differ in shape: {q.shape}, {T.shape}, {s.shape}')
    if not all(np.isfinite(column).all() and (column > 0).all() for column in (q, T, s)):
        raise VolumeCurveError('rates (K/ps), temperatures (K) and errors must be finite and positive')
    if np.unique(q).size < 2:
        raise VolumeCurveError('the dependence on the cooling rate needs glass transitions at two rates at least')
    decades = np.log10(q)
    middle = float(decades.mean())
    design = np.column_stack([np.ones_like(q), decades - middle]) / s[:, None]
    covariance = np.linalg.inv(design.T @ design)
    height, slope = covariance @ design.T @ (T / s)
    freedom = q.size - 2
    residuals = (T - height - slope * (decades - middle)) / s
    reduced = float(residuals @ residuals) / freedom if freedom else math.nan
    if freedom and reduced > 1:
        covariance = covariance * reduced
    warnings = [
        f'the line holds between {q.min():g} and {q.max():g} K/ps; calorimetry cools more than ten decades more '
        'slowly, and the line is not to be extended there'
    ]
    if not freedom:
        warnings.append('two rates make a line without a test of it')
    return RateDependence(
        slope=float(slope), slope_error=math.sqrt(covariance[1, 1]), reference_rate=10**middle,
        temperature=float(height), temperature_error=math.sqrt(covariance[0, 0]), reduced_chi_squared=reduced,
        n_samples=int(q.size), warnings=tuple(warnings),
    )  # fmt: skip
