"""Errors of means and lines through series that oscillate, such as the volume under a barostat."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.linalg import matmul_toeplitz

from .trajectory import Array

#: Highest order that is tried. The volume under a Nosé–Hoover barostat swings with one or two frequencies, each of
#: which takes two orders, on top of a slow relaxation.
LARGEST_ORDER = 12
#: Samples for each coefficient that is fitted, at least.
SAMPLES_PER_ORDER = 8
#: Length of the periodic series whose covariance stands for that of an infinite one, in lengths of the sample.
PADDING = 16
#: Fewest periods in a series from which an oscillation is told from a slow decay.
FEWEST_PERIODS = 2


def burg(series: npt.ArrayLike, largest_order: int) -> list[tuple[Array, float]]:
    r"""Return the autoregressive models of all orders from 0, by the method of Burg.

    .. math:: x_t = \sum_{k=1}^{p} \phi_k x_{t-k} + \epsilon_t

    Forward and backward prediction errors are minimised together, order by order; the models are always stationary
    (Percival and Walden, Spectral Analysis for Physical Applications, Cambridge (1993), section 9.5).

    Parameters
    ----------
    series : array_like, shape (n_samples,)
        Equally spaced, with zero mean.
    largest_order : int

    Returns
    -------
    list of (ndarray, shape (order,), float)
        Coefficients :math:`\phi` and the variance of :math:`\epsilon`; orders that leave no error end the list.
    """
    values = np.asarray(series, dtype=float)
    variance = float(values @ values) / values.size
    coefficients: Array = np.empty(0)
    models = [(coefficients, variance)]
    forward, backward = values[1:], values[:-1]
    for _ in range(largest_order):
        power = float(forward @ forward + backward @ backward)
        if power <= 0.0 or variance <= 0.0:
            break
        reflection = 2.0 * float(forward @ backward) / power
        coefficients = np.append(coefficients - reflection * coefficients[::-1], reflection)
        variance *= 1.0 - reflection**2
        models.append((coefficients, variance))
        forward, backward = (forward - reflection * backward)[1:], (backward - reflection * forward)[:-1]
    return models


def oscillating_covariance(residuals: npt.ArrayLike, n_fitted: int = 1) -> Array | None:
    r"""Return the autocovariance of a series that swings about its mean or line, from its autoregressive model.

    Of the models of :func:`burg` the one with the smallest corrected information criterion of Akaike is taken (Hurvich
    and Tsai, Biometrika 76, 297 (1989)). A slow decay beside the oscillation, that is a real root :math:`\rho` of the
    model, is estimated too short from few decay times and is corrected as that of a first-order process (Kendall,
    Biometrika 41, 403 (1954)). The error of a mean from such a model is that of Heidelberger and Welch, Commun. ACM
    24, 233 (1981). An oscillation cancels in a mean, which a first-order process with the same correlation of
    neighbours, or blocks shorter than a period, cannot know.

    Parameters
    ----------
    residuals : array_like, shape (n_samples,)
        What is left of an equally spaced series after its mean or line.
    n_fitted : int
        Parameters that were fitted to the series, 1 for a mean, 2 for a line.

    Returns
    -------
    ndarray, shape (n_samples,), or None
        Covariance at lags 0 … n − 1, in the unit of the series squared; ``None`` if the series does not oscillate, or
        is shorter than two periods: a first-order process then describes it as well.
    """
    values = np.asarray(residuals, dtype=float)
    n_samples = values.size
    largest = min(LARGEST_ORDER, n_samples // SAMPLES_PER_ORDER)
    if largest < 2 or not np.ptp(values) > 1e-12 * np.abs(values).max(initial=0.0):
        return None
    best: tuple[float, Array, float] | None = None
    for coefficients, variance in burg(values, largest):
        fitted = coefficients.size + n_fitted
        if variance <= 0.0:
            continue
        criterion = n_samples * math.log(variance) + 2 * fitted * n_samples / (n_samples - fitted - 1)
        if best is None or criterion < best[0]:
            best = (criterion, coefficients, variance)
    if best is None or best[1].size < 2:
        return None
    _, coefficients, variance = best
    frequencies = np.abs(np.angle(np.roots(np.concatenate([[1.0], -coefficients]))))
    if not ((frequencies < math.pi - 1e-9) & (frequencies * n_samples > 2 * math.pi * FEWEST_PERIODS)).any():
        return None
    coefficients = _without_bias(coefficients, n_samples, n_fitted)
    variance *= n_samples / (n_samples - coefficients.size - n_fitted)
    length = 2 ** math.ceil(math.log2(PADDING * n_samples))
    response = np.fft.rfft(np.concatenate([[1.0], -coefficients]), length)
    covariance: Array = np.fft.irfft(variance / np.abs(response) ** 2, length)[:n_samples]
    return covariance


def _without_bias(coefficients: Array, n_samples: int, n_fitted: int) -> Array:
    """Return the coefficients with the slowest real root lengthened by what a short series takes from it."""
    roots = np.roots(np.concatenate([[1.0], -coefficients]))
    real = np.flatnonzero((np.abs(roots.imag) < 1e-9) & (roots.real > 0))
    if not real.size:
        return coefficients
    slowest = real[roots.real[real].argmax()]
    corrected = roots[slowest].real + (n_fitted + (n_fitted + 2) * roots[slowest].real) / n_samples
    roots[slowest] = max(roots[slowest].real, min(corrected, 1.0 - 1.0 / n_samples))
    made: Array = -np.asarray(np.poly(roots).real[1:], dtype=np.float64)
    return made


def combination_error(weights: npt.ArrayLike, covariance: Array) -> float:
    r"""Return the standard error :math:`\sqrt{w^T C w}` of a weighted sum of a stationary series.

    Parameters
    ----------
    weights : array_like, shape (n_samples,)
        :math:`1/n` for a mean, :math:`(x - \bar x) / S_{xx}` for the slope of a line.
    covariance : ndarray, shape (n_samples,)
        At lags 0 … n − 1.
    """
    column = np.asarray(weights, dtype=float)
    return math.sqrt(max(float(column @ matmul_toeplitz(covariance, column)), 0.0))
