"""The error of a slope that is read off an average over all time origins."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np

from .trajectory import Array

#: Steps into which a run is divided to find the factor, and lags of the window that are kept: the factor of a longer
#: run with the same shares is the same to within a few per cent.
GRID_STEPS = 300
GRID_LAGS = 40
#: Stretches of a run that have to hold their own lags this many times over to be compared with each other.
STRETCH_PER_LAG = 3.0


def line_weights(lags: Array) -> Array:
    """Return the weights w with which ``w @ values`` is the slope of the least-squares line over ``lags``."""
    centred = lags - lags.mean()
    return np.asarray(centred / (centred @ centred))


@lru_cache(maxsize=64)
def slope_variance_factor(n_frames: int, first_lag: int, last_lag: int) -> float:
    r"""Return the factor that turns diffusive slopes into the covariance of their estimates.

    For paths :math:`x, y, u, v` whose steps are Gaussian and independent in time, in three dimensions, the slopes
    :math:`s` of displacement products averaged over all time origins have

    .. math::
        \mathrm{Cov}(s_{xy}, s_{uv}) = \kappa \, (s_{xu} s_{yv} + s_{xv} s_{yu}), \quad
        \kappa = \tfrac{1}{3} \mathrm{tr} W^2

    where :math:`\sum_{pq} W_{pq} \Delta x_p \Delta y_q` is the slope as a quadratic form in the steps: every lag
    :math:`k` of the window, with weight :math:`c_k` in the line and :math:`T - k` origins, adds
    :math:`c_k / (T - k)` times the number of origins whose displacement contains both steps (Isserlis' theorem; for a
    single lag the result of Qian et al., Biophys. J. 60, 910 (1991)).

    Parameters
    ----------
    n_frames : int
        Frames of the run.
    first_lag, last_lag : int
        Window of the fit, frames.

    Returns
    -------
    float
        :math:`\kappa`; the relative error of a single slope is :math:`\sqrt{2 \kappa}`.

    Raises
    ------
    ValueError
        If the window is not inside the run.
    """
    if not 0 < first_lag < last_lag < n_frames:
        raise ValueError(f'lags {first_lag} … {last_lag} are not a window of a run of {n_frames} frames')
    n_steps = n_frames - 1
    grid = min(n_steps, max(GRID_STEPS, math.ceil(12 * n_steps / (last_lag - first_lag))), 5 * GRID_STEPS)
    edges = np.array([first_lag, last_lag]) * grid / n_steps
    lags = np.unique(np.linspace(edges[0], edges[1], GRID_LAGS).round().astype(int))
    lags = lags[lags > 0]
    if lags.size < 2:
        lags = np.array([max(1, lags[0]), max(1, lags[0]) + 1])
    steps = np.arange(grid)
    low, high = np.minimum.outer(steps, steps), np.maximum.outer(steps, steps)
    quadratic = np.zeros((grid, grid))
    for lag, weight in zip(lags, line_weights(lags.astype(float)), strict=True):
        n_origins = grid + 1 - lag
        covering = np.minimum(low, n_origins - 1) - np.maximum(high - lag + 1, 0) + 1
        quadratic += weight / n_origins * np.maximum(covering, 0)
    return float((quadratic**2).sum() / 3)


def stretches_of(n_frames: int, last_lag: int, most: int = 5) -> list[slice]:
    """Return consecutive stretches of a run that are long enough for the window, or none if three do not fit."""
    number = min(most, int(n_frames / (STRETCH_PER_LAG * last_lag)))
    if number < 3:
        return []
    edges = np.linspace(0, n_frames, number + 1).astype(int)
    return [slice(int(first), int(last)) for first, last in pairwise(edges)]


def larger_error(expected: Array, stretch_values: Array) -> Array:
    """Return the expected errors, or those of the stretches where these are more than twice as large.

    Three to five stretches know their error to 35 … 50 % only: taking it always, or the larger of the two, would make
    the error as uncertain, or too large on average.

    Parameters
    ----------
    expected : ndarray
        Errors from the model of independent steps.
    stretch_values : ndarray, shape (n_stretches, ...)
        The same quantities from stretches of the run.
    """
    if len(stretch_values) < 3:
        return expected
    observed = stretch_values.std(axis=0, ddof=1) / math.sqrt(len(stretch_values))
    return np.asarray(np.where(observed > 2 * expected, observed, expected))
