"""Two straight lines that meet: the weighted least-squares fit of a continuous line with one break."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .trajectory import Array

#: Fewest points on either side of the break: a line through two has no residual of its own.
FEWEST_POINTS_A_SIDE = 3


@dataclass(frozen=True)
class HingeFits:
    r"""Lines with one break, :math:`y = h + b_- \min(x - x_0, 0) + b_+ \max(x - x_0, 0)`, one for each sample.

    Attributes
    ----------
    position, height : ndarray, shape (n_samples,)
        The break :math:`(x_0, h)`, in the units of x and y.
    slope_low, slope_high : ndarray, shape (n_samples,)
        Slopes below and above the break.
    chi_squared : ndarray, shape (n_samples,)
        Sum of the squared residuals in units of the errors.
    free_crossing : ndarray, shape (n_samples,)
        Where the two lines of the best split cross if each side has a line of its own, whether or not that is between
        the sides; ``nan`` for parallel lines.
    """

    position: Array
    height: Array
    slope_low: Array
    slope_high: Array
    chi_squared: Array
    free_crossing: Array

    def at(self, x: Array, sample: int = 0) -> Array:
        """Return the fitted line of one sample at ``x``, shape (n_points,)."""
        distance = np.asarray(x, dtype=float) - self.position[sample]
        below, above = np.minimum(distance, 0.0), np.maximum(distance, 0.0)
        return self.height[sample] + self.slope_low[sample] * below + self.slope_high[sample] * above


def weighted_fit(design: Array, y: Array, errors: Array) -> tuple[Array, Array]:
    """Return coefficients and chi-squared of weighted linear least squares, sample by sample.

    Parameters
    ----------
    design : ndarray, shape (n_points, n_coefficients)
    y : ndarray, shape (n_samples, n_points)
    errors : ndarray, shape (n_points,)

    Returns
    -------
    coefficients : ndarray, shape (n_samples, n_coefficients)
    chi_squared : ndarray, shape (n_samples,)
    """
    scaled = y / errors
    weighted = design / errors[:, None]
    coefficients = scaled @ np.linalg.pinv(weighted).T
    residuals = scaled - coefficients @ weighted.T
    return coefficients, np.einsum('ij,ij->i', residuals, residuals)


def polynomial_chi_squared(x: Array, y: Array, errors: Array, degree: int) -> Array:
    """Return the chi-squared of a polynomial through each sample, shape (n_samples,)."""
    centred = (x - x.mean()) / np.ptp(x)
    return weighted_fit(np.vander(centred, degree + 1), np.atleast_2d(y), errors)[1]


def fit_hinges(x: Array, y: Array, errors: Array) -> HingeFits:
    """Return the best continuous line with one break through each sample.

    The minimum is exact, not searched on a grid: between two neighbouring points the best break is where the lines of
    both sides, each fitted on its own, cross, if they cross there; otherwise it is one of the points (Hudson, J. Am.
    Stat. Assoc. 61, 1097 (1966)). The break lies between the third and the third last point.

    Parameters
    ----------
    x : ndarray, shape (n_points,)
        Increasing; six points at least.
    y : ndarray, shape (n_samples, n_points) or (n_points,)
        Samples that are fitted alike.
    errors : ndarray, shape (n_points,)
        Standard errors of the points, positive.

    Raises
    ------
    ValueError
        If there are fewer than six points, or they are not in order.
    """
    samples = np.atleast_2d(np.asarray(y, dtype=float))
    n_points, side = x.size, FEWEST_POINTS_A_SIDE
    if n_points < 2 * side or (np.diff(x) <= 0).any():
        raise ValueError(f'a line with a break needs {2 * side} points in increasing order, there are {n_points}')
    origin, width = float(x.mean()), float(np.ptp(x))
    u = (x - origin) / width
    ones = np.ones_like(u)
    candidates: list[Array] = []
    best_free = np.full(len(samples), np.inf)
    free_crossing = np.full(len(samples), np.nan)
    for k in range(side, n_points - side + 1):
        low, chi_low = weighted_fit(np.column_stack([ones[:k], u[:k]]), samples[:, :k], errors[:k])
        high, chi_high = weighted_fit(np.column_stack([ones[k:], u[k:]]), samples[:, k:], errors[k:])
        with np.errstate(divide='ignore', invalid='ignore'):
            crossing = (low[:, 0] - high[:, 0]) / (high[:, 1] - low[:, 1])
        free = chi_low + chi_high
        better = free < best_free
        best_free = np.where(better, free, best_free)
        free_crossing = np.where(better, crossing, free_crossing)
        between = (crossing >= u[k - 1]) & (crossing <= u[k])
        at = np.where(between, crossing, 0.0)
        height = low[:, 0] + low[:, 1] * at
        candidates.append(np.array([at, height, low[:, 1], high[:, 1], np.where(between, free, np.inf)]))
    for j in range(side - 1, n_points - side + 1):
        distance = u - u[j]
        design = np.column_stack([ones, np.minimum(distance, 0.0), np.maximum(distance, 0.0)])
        found, chi_squared = weighted_fit(design, samples, errors)
        candidates.append(np.array([np.full(len(samples), u[j]), *found.T, chi_squared]))
    table = np.array(candidates)
    chosen = table[table[:, 4].argmin(axis=0), :, np.arange(len(samples))]
    return HingeFits(
        position=origin + width * chosen[:, 0], height=chosen[:, 1], slope_low=chosen[:, 2] / width,
        slope_high=chosen[:, 3] / width, chi_squared=chosen[:, 4],
        free_crossing=np.where(np.isfinite(free_crossing), origin + width * free_crossing, np.nan),
    )  # fmt: skip
