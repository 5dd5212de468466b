"""Error bars of correlated series, straight lines with errors, and a test for drift."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Fewest blocks from which an error is estimated: with fewer its own uncertainty exceeds 40 %.
MIN_BLOCKS = 4


@dataclass(frozen=True)
class BlockAverage:
    """Mean of a correlated series with its standard error.

    Attributes
    ----------
    mean : float
        Arithmetic mean, in the unit of the series.
    error : float
        Standard error of the mean; ``nan`` for a single sample.
    error_uncertainty : float
        One standard deviation of ``error`` itself.
    standard_deviation : float
        Standard deviation of the single samples (thermal noise, not an error of the mean).
    block_size : int
        Samples per block at the chosen level.
    n_blocks : int
        Number of blocks behind ``error``.
    statistical_inefficiency : float
        Number of samples worth one independent sample, ``(error / naive error)**2``, at least 1.
    converged : bool
        Whether the error reached a plateau; if not, the largest estimate is given and is a lower bound.
    levels : ndarray, shape (n_levels, 3)
        Block size, error and its uncertainty at every level of the blocking transformation.
    """

    mean: float
    error: float
    error_uncertainty: float
    standard_deviation: float
    block_size: int
    n_blocks: int
    statistical_inefficiency: float
    converged: bool
    levels: Array


def _series(values: npt.ArrayLike, name: str = 'series') -> Array:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f'the {name} must be one-dimensional and not empty, its shape is {array.shape}')
    if not np.isfinite(array).all():
        raise ValueError(f'the {name} contains values that are not finite')
    return array


def _autoregressive_inefficiency(residuals: Array, n_fitted: int) -> float:
    r"""Return the statistical inefficiency of a first-order process with the correlation of neighbouring residuals.

    :math:`g = (1 + \rho) / (1 - \rho)`. The estimate of :math:`\rho` is corrected for its bias, which is
    :math:`-(1 + 3\rho)/n` about a mean and :math:`-(2 + 4\rho)/n` about a line (Kendall, Biometrika 41, 403 (1954)).
    """
    n_samples = residuals.size
    scatter = float(residuals @ residuals)
    if n_samples < 3 or scatter == 0.0:
        return 1.0
    correlation = float(residuals[1:] @ residuals[:-1]) / scatter
    correlation += (n_fitted + (n_fitted + 2) * correlation) / n_samples
    if correlation <= 0.0:
        return 1.0
    correlation = min(correlation, 1.0 - 1.0 / n_samples)
    return (1.0 + correlation) / (1.0 - correlation)


def block_average(series: npt.ArrayLike) -> BlockAverage:
    r"""Return the mean of a correlated series with the error of the Flyvbjerg–Petersen blocking method.

    Neighbouring samples are averaged in pairs again and again; at each level with :math:`n` blocks the error is
    :math:`s_B = \sqrt{c_0 / (n - 1)}`, with :math:`c_0` the variance of the blocks, known to
    :math:`s_B / \sqrt{2 (n - 1)}` (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989), eqs. 26–28). The level is
    the first whose block size :math:`B` fulfils :math:`B^3 > 2 N (s_B / s_1)^4`, where the systematic error of too
    short blocks falls below the statistical error of too few (Lee et al., Phys. Rev. E 83, 066706 (2011)).

    Of a series of few correlation times, blocks see too little of the slow fluctuations. The error is therefore never
    below that of a first-order process with the observed correlation of neighbouring samples.

    Parameters
    ----------
    series : array_like, shape (n_samples,)
        Samples at equal distances in time, any unit.

    Returns
    -------
    BlockAverage

    Raises
    ------
    ValueError
        If the series is empty, not one-dimensional or not finite.
    """
    data = _series(series)
    n_samples = data.size
    mean = float(data.mean())
    if n_samples == 1:
        return BlockAverage(mean, math.nan, math.nan, 0.0, 1, 1, 1.0, False, np.empty((0, 3)))
    deviation = float(data.std(ddof=1))

    rows = []
    blocks, size = data, 1
    while blocks.size >= 2:
        error = float(blocks.std() / math.sqrt(blocks.size - 1))
        rows.append((size, error, error / math.sqrt(2 * (blocks.size - 1)), blocks.size))
        even = blocks[: blocks.size // 2 * 2]
        blocks, size = even.reshape(-1, 2).mean(axis=1), size * 2

    usable = [row for row in rows if row[3] >= MIN_BLOCKS] or rows[:1]
    naive = rows[0][1]
    chosen, converged = None, False
    for row in usable:
        # A constant series has no error at any level.
        if naive == 0.0 or row[0] ** 3 > 2 * n_samples * (row[1] / naive) ** 4:
            chosen, converged = row, True
            break
    if chosen is None:
        chosen = max(usable, key=lambda row: row[1])
    error = chosen[1]
    assumed = _autoregressive_inefficiency(data - mean, n_fitted=1)
    if assumed > 1.0:
        variance = float(((data - mean) ** 2).sum()) / max(n_samples - assumed, assumed)
        error = max(error, math.sqrt(assumed * variance / n_samples))
    uncertainty = max(chosen[2], error / math.sqrt(2 * max(chosen[3] - 1, 1)))
    inefficiency = max(1.0, (error / naive) ** 2) if naive > 0 else 1.0
    return BlockAverage(
        mean=mean, error=error, error_uncertainty=uncertainty, standard_deviation=deviation, block_size=chosen[0],
        n_blocks=chosen[3], statistical_inefficiency=inefficiency, converged=converged,
        levels=np.array([row[:3] for row in rows]),
    )  # fmt: skip


@dataclass(frozen=True)
class LinearFit:
    """A straight line ``y = intercept + slope * x`` with standard errors.

    Attributes
    ----------
    slope, intercept : float
        Coefficients of the line.
    slope_error, intercept_error : float
        Their standard errors, from the scatter of the residuals; ``nan`` for two points.
    r_squared : float
        Share of the variance of ``y`` that the line explains.
    residual_deviation : float
        Standard deviation of the residuals.
    statistical_inefficiency : float
        Factor by which correlated residuals enlarged the variances (1: taken as independent).
    n_samples : int
        Number of points.
    """

    slope: float
    intercept: float
    slope_error: float
    intercept_error: float
    r_squared: float
    residual_deviation: float
    statistical_inefficiency: float
    n_samples: int

    def __call__(self, x: npt.ArrayLike) -> Array:
        """Return the height of the line at ``x``."""
        return self.intercept + self.slope * np.asarray(x, dtype=float)


def linear_fit(x: npt.ArrayLike, y: npt.ArrayLike, correlated: bool = False) -> LinearFit:
    r"""Return the least-squares line through points.

    .. math:: b = S_{xy} / S_{xx}, \quad s_b^2 = g \frac{\sum_i e_i^2}{(n - 2 g) S_{xx}}

    with residuals :math:`e_i` and :math:`g` their statistical inefficiency (1 for independent points): the line takes
    two degrees of freedom of the :math:`n / g` independent points.

    Parameters
    ----------
    x, y : array_like, shape (n_samples,)
        The points; ``x`` in the order of time if ``correlated``.
    correlated : bool
        Whether neighbouring points are correlated, as in a time series: :math:`g` is then the larger of that of
        :func:`block_average` and that of a first-order process with the correlation of neighbouring residuals.

    Raises
    ------
    ValueError
        If there are fewer than two different ``x``, or the shapes differ.
    """
    abscissa, ordinate = _series(x, 'x'), _series(y, 'y')
    if abscissa.shape != ordinate.shape:
        raise ValueError(f'x and y differ in length: {abscissa.size} and {ordinate.size}')
    centred = abscissa - abscissa.mean()
    s_xx = float(centred @ centred)
    if abscissa.size < 2 or s_xx == 0.0:
        raise ValueError('a straight line needs points at two different x at least')
    slope = float(centred @ ordinate) / s_xx
    intercept = float(ordinate.mean() - slope * abscissa.mean())
    residuals = ordinate - intercept - slope * abscissa
    n_samples = abscissa.size
    scatter = float(residuals @ residuals)
    total = float(((ordinate - ordinate.mean()) ** 2).sum())
    inefficiency = 1.0
    if correlated and n_samples > 2:
        blocked = block_average(residuals).statistical_inefficiency
        inefficiency = max(blocked, _autoregressive_inefficiency(residuals, n_fitted=2))
    freedom = max(n_samples - 2 * inefficiency, min(inefficiency, n_samples - 2))
    variance = inefficiency * scatter / freedom if n_samples > 2 else math.nan
    return LinearFit(
        slope=slope,
        intercept=intercept,
        slope_error=math.sqrt(variance / s_xx),
        intercept_error=math.sqrt(variance * (1 / n_samples + abscissa.mean() ** 2 / s_xx)),
        r_squared=1.0 - scatter / total if total > 0 else 1.0,
        residual_deviation=math.sqrt(scatter / (n_samples - 2)) if n_samples > 2 else 0.0,
        statistical_inefficiency=inefficiency,
        n_samples=n_samples,
    )


@dataclass(frozen=True)
class DriftTest:
    """Whether a series still drifts.

    Attributes
    ----------
    mean, mean_error : float
        Mean of the series and its block error.
    slope, slope_error : float
        Change per sample, or per unit of ``times``, with its error for correlated samples.
    drift, drift_error : float
        Change over the whole series along the fitted line, ``slope * duration``.
    relative_drift : float
        ``drift / |mean|``; ``nan`` for a zero mean.
    significant : bool
        Whether the drift exceeds ``n_sigma`` of its own errors.
    tolerance : float or None
        Largest drift that does not matter, in the unit of the series.
    drifting : bool
        Significant, and larger than the tolerance where one was given.
    resolved : bool
        Whether the data could have shown a drift as large as the tolerance (``n_sigma * drift_error <= tolerance``);
        true where none was given.
    n_samples : int
        Length of the series.
    """

    mean: float
    mean_error: float
    slope: float
    slope_error: float
    drift: float
    drift_error: float
    relative_drift: float
    significant: bool
    tolerance: float | None
    drifting: bool
    resolved: bool
    n_samples: int


def drift_test(
    series: npt.ArrayLike,
    times: npt.ArrayLike | None = None,
    tolerance: float | None = None,
    n_sigma: float = 2.0,
) -> DriftTest:
    """Return whether a series still changes systematically, judged by a line with errors for correlated samples.

    Parameters
    ----------
    series : array_like, shape (n_samples,)
        For example density, cell length or potential energy of an equilibration; eight samples at least.
    times : array_like, shape (n_samples,), optional
        Times of the samples; their number if not given.
    tolerance : float, optional
        Largest change over the whole series that does not matter, in the unit of the series.
    n_sigma : float
        Number of standard errors beyond which a drift counts as significant.

    Raises
    ------
    ValueError
        If the series is shorter than eight samples.
    """
    data = _series(series)
    if data.size < 8:
        raise ValueError(f'a drift test needs eight samples at least, there are {data.size}')
    abscissa = np.arange(data.size, dtype=float) if times is None else _series(times, 'times')
    line = linear_fit(abscissa, data, correlated=True)
    duration = float(abscissa[-1] - abscissa[0])
    average = block_average(data)
    drift, drift_error = line.slope * duration, line.slope_error * abs(duration)
    # Rounding noise of a constant series must not count as a drift.
    floor = 1e-12 * max(1.0, float(np.abs(data).max()))
    significant = abs(drift) > max(n_sigma * drift_error, floor)
    return DriftTest(
        mean=average.mean, mean_error=average.error, slope=line.slope, slope_error=line.slope_error, drift=drift,
        drift_error=drift_error, relative_drift=drift / abs(average.mean) if average.mean else math.nan,
        significant=significant, tolerance=tolerance,
        drifting=significant and (tolerance is None or abs(drift) > tolerance),
        resolved=tolerance is None or n_sigma * drift_error <= tolerance, n_samples=int(data.size),
    )  # fmt: skip


def two_sided_average(times: npt.ArrayLike, values: npt.ArrayLike, half_width: float) -> Array:
    r"""Replace each value by its mean over :math:`[t - \Delta t, t + \Delta t]`, as gupta2023 does (Methods, 5 ps).

    The window is cut symmetrically at the ends of the series, so that a straight line stays what it is.

    Parameters
    ----------
    times : array_like, shape (n_samples,)
        Increasing times.
    values : array_like, shape (n_samples,) or (n_samples, k)
        Values at these times.
    half_width : float
        :math:`\Delta t`, in the unit of ``times``; 0 leaves the values as they are.

    Returns
    -------
    ndarray
        The averaged values, in the shape of ``values``.

    Raises
    ------
    ValueError
        If the times do not increase, or the half-width is negative.
    """
    instants, data = _series(times, 'times'), np.asarray(values, dtype=float)
    if data.shape[0] != instants.size:
        raise ValueError(f'{instants.size} times for {data.shape[0]} values')
    if half_width < 0:
        raise ValueError(f'the half-width of the average is negative: {half_width}')
    if np.any(np.diff(instants) < 0):
        raise ValueError('the times of a running average must increase')
    # A tolerance of 1e-9 keeps samples that sit on the edge of the window in it.
    widths = np.minimum(half_width, np.minimum(instants - instants[0], instants[-1] - instants)) + 1e-9
    first = np.searchsorted(instants, instants - widths, side='left')
    last = np.searchsorted(instants, instants + widths, side='right')
    sums = np.concatenate([np.zeros((1, *data.shape[1:])), np.cumsum(data - data.mean(axis=0), axis=0)])
    counts = (last - first).reshape(-1, *(1,) * (data.ndim - 1))
    return (sums[last] - sums[first]) / counts + data.mean(axis=0)
