"""Remove fast vibrations from time series, and count the slow changes between two states that are left."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.fft import dct, idct

from .trajectory import Array, IntArray


def low_pass(series: npt.ArrayLike, spacing: float, cutoff_frequency: float) -> Array:
    r"""Return a series without its components above a frequency, by Fourier transform.

    The series is continued by its mirror image before the transform (a cosine transform), so that a difference between
    its ends is not taken for an oscillation. Component k has the frequency :math:`k / (2 N \Delta t)`. you2025 filters
    dihedral angles of the time axis in ps with a cutoff of 1, that is 1 THz.

    Parameters
    ----------
    series : array_like, shape (n_samples,) or (n_samples, k)
        Samples at equal distances in time.
    spacing : float
        Time between samples, any unit.
    cutoff_frequency : float
        In the inverse unit of ``spacing``; components at this frequency are kept.

    Returns
    -------
    ndarray
        In the shape of ``series``.

    Raises
    ------
    ValueError
        If the series holds values that are not finite, the spacing or the frequency is not positive, or the sampling
        is too coarse for the frequency to mean anything.
    """
    data = np.asarray(series, dtype=float)
    if not data.ndim or len(data) < 2 or not np.isfinite(data).all():
        raise ValueError('a filter needs two samples at least, all of them finite')
    if not spacing > 0 or not cutoff_frequency > 0:
        raise ValueError(f'spacing ({spacing}) and cutoff frequency ({cutoff_frequency}) must be positive')
    if cutoff_frequency * spacing > 0.5:
        raise ValueError(
            f'samples {spacing:g} apart hold no frequency above {0.5 / spacing:g}: a filter at {cutoff_frequency:g} '
            'removes nothing, write frames oftener'
        )
    spectrum = dct(data, type=2, axis=0)
    spectrum[np.arange(len(data)) / (2 * len(data) * spacing) > cutoff_frequency * (1 + 1e-12)] = 0.0
    return np.asarray(idct(spectrum, type=2, axis=0))


def two_state_sequence(series: npt.ArrayLike, low: float, high: float) -> IntArray:
    """Return 0 after the series was last below ``low`` and 1 after it was last above ``high``.

    The gap between the limits keeps small excursions from being counted as changes of state. Before either limit is
    reached for the first time the state is -1.

    Parameters
    ----------
    series : array_like, shape (n_samples,) or (n_samples, k)
        Any unit.
    low, high : float
        Limits, ``low < high``.

    Raises
    ------
    ValueError
        If the limits are not in order.
    """
    if not low < high:
        raise ValueError(f'the lower limit ({low:g}) must lie below the upper one ({high:g})')
    data = np.asarray(series, dtype=float)
    states = np.where(data < low, 0, np.where(data > high, 1, -1))
    # Each sample between the limits takes over the row of the last one that was outside of them.
    rows = np.where(states >= 0, np.arange(len(data)).reshape(-1, *(1,) * (data.ndim - 1)), -1)
    last = np.maximum.accumulate(rows, axis=0)
    return np.where(last >= 0, np.take_along_axis(states, np.maximum(last, 0), axis=0), -1).astype(np.int64)


def nearest_well_sequence(angle: npt.ArrayLike, period: float, hysteresis: float = 0.25) -> IntArray:
    """Return the number of the well that an unwrapped angle is in, relative to the well at its mean start.

    Wells lie ``period`` apart. A new well is entered when the angle comes closer to its middle than
    ``0.5 - hysteresis`` of a period, so that a rest on the barrier counts as no rotation.

    Parameters
    ----------
    angle : array_like, shape (n_samples,)
        Unwrapped, relative to the middle of the first well, in the unit of ``period``.
    period : float
        Distance of the wells.
    hysteresis : float
        Share of a period, 0 … 0.5.

    Raises
    ------
    ValueError
        If period or hysteresis make no sense.
    """
    if not period > 0 or not 0 <= hysteresis < 0.5:
        raise ValueError(f'the period ({period}) must be positive and the hysteresis ({hysteresis}) within 0 … 0.5')
    data = np.asarray(angle, dtype=float) / period
    nearest = np.rint(data)
    inside = np.abs(data - nearest) <= 0.5 - hysteresis
    inside[0] = True
    rows = np.maximum.accumulate(np.where(inside, np.arange(data.size), 0))
    return nearest[rows].astype(np.int64)
