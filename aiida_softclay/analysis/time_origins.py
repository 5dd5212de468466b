"""Averages over all time origins by Fourier transforms, for one set of paths or for pairs of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

from .trajectory import Array

#: Bytes of padded series that are transformed at once: what stays in the cache of a core is transformed fastest.
CACHE_BYTES = 3 * 2**20


def padded_length(n_frames: int, n_lags: int) -> int:
    """Return the length to which series are padded with zeros, so that no lag meets its own periodic image."""
    return int(next_fast_len(n_frames + n_lags - 1, real=True))


def n_lags_within(n_frames: int, n_lags: int | None) -> int:
    """Return the number of lags, all of them where none was asked for and never more than there are frames."""
    return n_frames if n_lags is None else max(1, min(n_lags, n_frames))


def _pairs_of_ends(products: Array, n_lags: int) -> Array:
    """Return the sum of ``products[t] + products[t + lag]`` over all origins t; time is the first axis."""
    reached = np.empty((n_lags, *products.shape[1:]))
    reached[0] = 2 * products.sum(axis=0)
    # All products twice, less those that no origin reaches.
    ends = products[: n_lags - 1] + products[::-1][: n_lags - 1]
    reached[1:] = reached[0] - np.cumsum(ends, axis=0)
    return reached


def _mean_over_origins(reached: Array, twice_correlation: Array, n_frames: int) -> Array:
    n_lags = len(reached)
    origins = (n_frames - np.arange(n_lags, dtype=float)).reshape(-1, *(1,) * (reached.ndim - 1))
    mean = (reached - twice_correlation) / origins
    mean[0] = 0.0
    return mean


def squared_displacements_of_rows(series: Array, n_lags: int) -> Array:
    r"""Return the squared displacement of every path averaged over all time origins.

    Parameters
    ----------
    series : ndarray, shape (n_paths, 3, n_frames)
        Coordinates, time along the last axis so that it is contiguous, each with a mean of about zero.
    n_lags : int
        Number of lags, from 0 on.

    Returns
    -------
    ndarray, shape (n_lags, n_paths)
    """
    n_paths, _, n_frames = series.shape
    length = padded_length(n_frames, n_lags)
    result = np.empty((n_lags, n_paths))
    step = max(1, CACHE_BYTES // (3 * 8 * length))
    for first in range(0, n_paths, step):
        part = np.asarray(series[first : first + step], dtype=float)
        spectrum = rfft(part, n=length, axis=2)
        power = (spectrum.real**2 + spectrum.imag**2).sum(axis=1)
        correlation = irfft(power, n=length, axis=1)[:, :n_lags].T
        squares = np.einsum('pct,pct->tp', part, part)
        reached = _pairs_of_ends(squares, n_lags)
        result[:, first : first + step] = _mean_over_origins(reached, 2 * correlation, n_frames)
    return np.maximum(result, 0.0)


def summed_squared_displacement(series: npt.NDArray[np.floating], n_lags: int) -> Array:
    r"""Return the squared displacement averaged over all time origins and summed over paths.

    The transform back is linear: the spectra of all paths are added first, and one transform serves them all.

    Parameters
    ----------
    series : ndarray, shape (n_paths, 3, n_frames)
        Coordinates, time along the last axis, each with a mean of about zero; single precision is widened piece by
        piece.
    n_lags : int
        Number of lags, from 0 on.

    Returns
    -------
    ndarray, shape (n_lags,)
    """
    n_paths, _, n_frames = series.shape
    length = padded_length(n_frames, n_lags)
    rows = series.reshape(3 * n_paths, n_frames)
    power = np.zeros(2 * (length // 2 + 1))
    squares = np.zeros(n_frames)
    step = max(1, CACHE_BYTES // (8 * length))
    for first in range(0, len(rows), step):
        part = np.asarray(rows[first : first + step], dtype=float)
        flat = rfft(part, n=length, axis=1).view(float)
        power += np.einsum('st,st->t', flat, flat)
        squares += np.einsum('st,st->t', part, part)
    correlation = irfft(power[0::2] + power[1::2], n=length)[:n_lags]
    mean = _mean_over_origins(_pairs_of_ends(squares, n_lags), 2 * correlation, n_frames)
    return np.maximum(mean, 0.0)


def displacement_products(paths: npt.ArrayLike, n_lags: int | None = None) -> Array:
    r"""Return the scalar products of the displacements of all pairs of paths, averaged over all time origins.

    .. math::
        C_{ab}(\tau) = \frac{1}{T - \tau} \sum_{t=0}^{T-\tau-1}
        [R_a(t + \tau) - R_a(t)] \cdot [R_b(t + \tau) - R_b(t)]

    Parameters
    ----------
    paths : array_like, shape (n_frames, n_paths, 3)
        Positions at equal distances in time.
    n_lags : int, optional
        Number of lags, from 0 on; all if not given.

    Returns
    -------
    ndarray, shape (n_lags, n_paths, n_paths)
        Symmetric in the paths, in the square of the unit of the paths.
    """
    r = np.asarray(paths, dtype=float)
    n_frames, n_paths, _ = r.shape
    n_lags = n_lags_within(n_frames, n_lags)
    r = r - r.mean(axis=0)
    length = padded_length(n_frames, n_lags)
    spectrum = rfft(r, n=length, axis=0)
    result = np.empty((n_lags, n_paths, n_paths))
    for a in range(n_paths):
        for b in range(a, n_paths):
            # The real part of the cross spectrum belongs to the mean of both orders in time, as the product needs.
            both = (spectrum[:, a] * spectrum[:, b].conj()).real.sum(axis=1)
            correlation = irfft(both, n=length)[:n_lags]
            products = (r[:, a] * r[:, b]).sum(axis=1)
            mean = _mean_over_origins(_pairs_of_ends(products, n_lags), 2 * correlation, n_frames)
            result[:, a, b] = result[:, b, a] = mean
    return result
