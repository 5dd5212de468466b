"""Parity of two sets of labels of the same frames, and the elastic answer of two engines to the same strains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Fewest blocks that are resampled: with fewer the spread of the samples says little.
FEWEST_BLOCKS = 4


@dataclass(frozen=True)
class Parity:
    """Deviation of predictions from a reference, in the unit of the labels.

    Attributes
    ----------
    rmse, mae, bias, largest : float
        Root mean square, mean absolute, mean and largest absolute deviation (prediction less reference).
    r_squared : float
        Share of the variance of the reference that the prediction explains; ``nan`` for a constant reference.
    rmse_error, mae_error, bias_error, r_squared_error : float
        Standard errors from a bootstrap over blocks of frames; ``nan`` where there are too few.
    n_frames, n_blocks, n_values : int
        Frames, blocks that were resampled, and single numbers that were compared.
    """

    rmse: float
    mae: float
    bias: float
    largest: float
    r_squared: float
    rmse_error: float
    mae_error: float
    bias_error: float
    r_squared_error: float
    n_frames: int
    n_blocks: int
    n_values: int


def correlated_block(values: npt.ArrayLike) -> int:
    r"""Return after how many frames the deviations are independent, for blocks of the bootstrap.

    The statistical inefficiency :math:`1 + 2 \sum_t \rho(t)` of the mean square deviation of a frame, summed up to the
    first value that is not positive; 1 for independent frames.

    Parameters
    ----------
    values : array_like, shape (n_frames,)
        One number for each frame, in the order of time.
    """
    data = np.asarray(values, dtype=float)
    centred = data - data.mean()
    variance = float(centred @ centred)
    if data.size < 4 or variance == 0.0:
        return 1
    inefficiency = 1.0
    for lag in range(1, data.size // 2):
        correlation = float(centred[lag:] @ centred[:-lag]) / variance
        # Independent samples scatter by 1/sqrt(n): what is below that is no correlation.
        if correlation <= 1 / math.sqrt(data.size):
            break
        inefficiency += 2 * correlation
    return max(1, math.ceil(inefficiency))


def parity(
    reference: npt.ArrayLike,
    prediction: npt.ArrayLike,
    *,
    block_size: int | None = None,
    n_samples: int = 1000,
    seed: int = 0,
) -> Parity:
    r"""Return how far predictions are from a reference, with errors from a bootstrap over blocks of frames.

    .. math:: \mathrm{RMSE} = \sqrt{\langle d^2 \rangle}, \quad \mathrm{MAE} = \langle |d| \rangle, \quad
        R^2 = 1 - \frac{\sum d^2}{\sum (y - \bar y)^2}

    with :math:`d` the prediction less the reference :math:`y`. The atoms of a frame move together and neighbouring
    frames of a trajectory resemble each other, so whole blocks of consecutive frames are drawn with repetition (block
    bootstrap; Künsch, Ann. Stat. 17, 1217 (1989)).

    Parameters
    ----------
    reference, prediction : array_like, shape (n_frames, ...)
        Labels of the same frames in the order of time: energies (n_frames,), forces (n_frames, n_atoms, 3), …
    block_size : int, optional
        Frames in a block; :func:`correlated_block` of the mean square deviations if not given.
    n_samples : int
        Bootstrap samples.
    seed : int
        Seed of the bootstrap.

    Raises
    ------
    ValueError
        If the shapes differ, there is no frame or a number is not finite.
    """
    y, p = np.asarray(reference, dtype=float), np.asarray(prediction, dtype=float)
    if y.shape != p.shape or y.ndim < 1 or y.size == 0:
        raise ValueError(f'reference and prediction differ in shape or are empty: {y.shape} and {p.shape}')
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise ValueError('a label is not finite')
    n_frames = y.shape[0]
    y, p = y.reshape(n_frames, -1), p.reshape(n_frames, -1)
    width = y.shape[1]
    difference = p - y
    centred = y - y.mean()
    # Sums over each frame are all that is needed: the samples below add them up again.
    sums = np.stack(
        [(difference**2).sum(1), np.abs(difference).sum(1), difference.sum(1), (centred**2).sum(1), centred.sum(1)]
    )  # fmt: skip
    size = correlated_block(sums[0]) if block_size is None else int(block_size)
    if size < 1:
        raise ValueError(f'the block size must be at least 1, it is {block_size}')
    starts = np.arange(0, n_frames, size)
    blocks = np.add.reduceat(sums, starts, axis=1)
    counts = np.diff(np.append(starts, n_frames)) * width
    values = _measures(sums.sum(axis=1), n_frames * width)
    errors = np.full(4, math.nan)
    if starts.size >= FEWEST_BLOCKS:
        drawn = np.random.default_rng(seed).integers(0, starts.size, (n_samples, starts.size))
        samples = _measures(blocks[:, drawn].sum(axis=2), counts[drawn].sum(axis=1))
        # A resampling of n blocks spreads like n - 1 of them.
        errors = samples.std(axis=1) * math.sqrt(starts.size / (starts.size - 1))
    rmse, mae, bias, explained = (float(value) for value in values)
    rmse_error, mae_error, bias_error, explained_error = (float(error) for error in errors)
    return Parity(
        rmse=rmse, mae=mae, bias=bias, largest=float(np.abs(difference).max()), r_squared=explained,
        rmse_error=rmse_error, mae_error=mae_error, bias_error=bias_error, r_squared_error=explained_error,
        n_frames=n_frames, n_blocks=int(starts.size), n_values=int(y.size),
    )  # fmt: skip


def _measures(sums: Array, count: npt.ArrayLike) -> Array:
    """Return RMSE, MAE, bias and R² of sums (5, ...) of d², |d|, d, y² and y over ``count`` numbers."""
    squares, absolute, signed, reference_squares, reference = sums
    number = np.asarray(count, dtype=float)
    spread = reference_squares - reference**2 / number
    with np.errstate(divide='ignore', invalid='ignore'):
        explained = np.where(spread > 0, 1 - squares / spread, math.nan)
    return np.stack([np.sqrt(squares / number), absolute / number, signed / number, explained])


@dataclass(frozen=True)
class StrainResponse:
    """Stress against a few static strains.

    Attributes
    ----------
    strain, stress : ndarray, shape (n,)
        In the order of the strain; stress in GPa, tension positive.
    modulus, modulus_error : float
        Slope at zero strain, GPa.
    stress_at_zero : float
        Stress of the fitted curve at zero strain, GPa: the cell was not free of stress if it is not zero.
    curvature : float
        Coefficient of the square of the strain, GPa.
    maximum_stress, strain_at_maximum : float
        The largest stress of the points, GPa, and where it is.
    window : (float, float)
        Strains of the fit.
    n_fitted : int
        Points of the fit.
    warnings : tuple of str
        What a careful reader must know.
    """

    strain: Array
    stress: Array
    modulus: float
    modulus_error: float
    stress_at_zero: float
    curvature: float
    maximum_stress: float
    strain_at_maximum: float
    window: tuple[float, float]
    n_fitted: int
    warnings: tuple[str, ...]


def strain_response(
    strain: npt.ArrayLike, stress: npt.ArrayLike, window: tuple[float, float] | None = None
) -> StrainResponse:
    r"""Return the modulus of a static stress–strain curve.

    .. math:: \sigma(\varepsilon) = \sigma_0 + E \varepsilon + c \varepsilon^2

    fitted by least squares; the error of :math:`E` is from the scatter about the parabola. Static points have no
    thermal noise, but a straight line would put the curvature into the modulus.

    Parameters
    ----------
    strain, stress : array_like, shape (n,)
        Engineering strain and stress in GPa (tension positive), in any order.
    window : (float, float), optional
        Strains of the fit; all if not given.

    Raises
    ------
    ValueError
        If fewer than five different strains are in the window, or a number is not finite.
    """
    x, y = np.asarray(strain, dtype=float), np.asarray(stress, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f'strain and stress differ in shape: {x.shape} and {y.shape}')
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError('a strain or a stress is not finite')
    order = np.argsort(x)
    x, y = x[order], y[order]
    low, high = window if window is not None else (float(x.min(initial=0.0)), float(x.max(initial=0.0)))
    inside = (x >= low - 1e-9) & (x <= high + 1e-9)
    if np.unique(np.round(x[inside], 9)).size < 5:
        raise ValueError(
            f'the elastic window {low:g} … {high:g} holds {int(inside.sum())} strains: five are needed for a parabola '
            'with an error'
        )
    design = np.vander(x[inside], 3, increasing=True)
    coefficients, *_ = np.linalg.lstsq(design, y[inside], rcond=None)
    residuals = y[inside] - design @ coefficients
    variance = float(residuals @ residuals) / (inside.sum() - 3)
    error = math.sqrt(variance * float(np.linalg.inv(design.T @ design)[1, 1]))
    top = int(np.argmax(y))
    warnings = []
    if coefficients[1] <= 0:
        warnings.append('the stress does not rise with the strain')
    elif error > 0.1 * coefficients[1]:
        warnings.append(
            f'the curve is not smooth in the elastic window ({coefficients[1]:.3g} ± {error:.1g} GPa): the structure '
            'rearranges between the strains, or the ions are not relaxed tightly enough'
        )
    return StrainResponse(
        strain=x, stress=y, modulus=float(coefficients[1]), modulus_error=error, stress_at_zero=float(coefficients[0]),
        curvature=float(coefficients[2]), maximum_stress=float(y[top]), strain_at_maximum=float(x[top]),
        window=(float(x[inside][0]), float(x[inside][-1])), n_fitted=int(inside.sum()), warnings=tuple(warnings),
    )  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """Whether two values agree.

    Attributes
    ----------
    difference, error : float
        Second less first value, and the errors of both in quadrature.
    allowed : float
        Largest difference that counts as agreement.
    verdict : {'agrees', 'disagrees', 'unresolved'}
        ``unresolved`` if the error bar is too wide to tell.
    """

    difference: float
    error: float
    allowed: float
    verdict: str


def compare(
    first: float, first_error: float, second: float, second_error: float, tolerance: float, n_sigma: float = 2.0
) -> Agreement:
    """Return whether the second value agrees with the first.

    They agree if they differ by no more than the tolerance, or by no more than ``n_sigma`` errors; but an error bar so
    wide (``n_sigma`` errors beyond half of the first value, where that is more than the tolerance) that nearly
    everything would agree proves nothing and is ``unresolved``.

    Parameters
    ----------
    first, second : float
        The values, the first one the reference.
    first_error, second_error : float
        Their standard errors; ``nan`` where unknown, which counts as unresolved unless within the tolerance.
    tolerance : float
        Largest difference that does not matter.
    n_sigma : float
        Number of errors within which values count as the same.
    """
    difference = second - first
    error = math.hypot(first_error, second_error)
    widest = max(0.5 * abs(first), tolerance)
    if not math.isfinite(error):
        verdict = 'agrees' if abs(difference) <= tolerance else 'unresolved'
        return Agreement(difference, error, tolerance, verdict)
    allowed = max(tolerance, n_sigma * error)
    verdict = 'agrees' if n_sigma * error <= widest else 'unresolved'
    if abs(difference) > allowed:
        verdict = 'disagrees'
    return Agreement(difference, error, allowed, verdict)
