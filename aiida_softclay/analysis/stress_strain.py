"""Modulus and yield stress from a stress–strain curve at constant rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from .statistics import LinearFit, linear_fit, two_sided_average
from .trajectory import Array, IntArray

#: Repetitions with new noise behind the errors of the yield stresses; they are then known to 7 %.
N_REPETITIONS = 100


@dataclass(frozen=True)
class StressStrain:
    """Stress–strain curve at constant rate, its modulus and yield stress.

    Attributes
    ----------
    strain, stress : ndarray, shape (n,)
        Raw curve; stress in GPa, tension positive.
    mean_stress : ndarray, shape (n,)
        Stress averaged over [γ − w, γ + w], GPa.
    modulus, modulus_error : float
        Slope of the curve in the window, GPa: shear modulus for a shear component, Young's modulus for tension with
        free sides.
    intercept : float
        Stress of the fitted line at zero strain, GPa.
    window : (float, float)
        Strains of the fit.
    n_blocks : int
        Independent samples behind the modulus.
    maximum_stress, maximum_stress_error, strain_at_maximum : float
        Largest averaged stress less what noise alone adds to a maximum, GPa, its error, and where it occurs.
    maximum_stress_bias : float
        What was taken off, GPa.
    offset_stress, offset_stress_error, offset_strain, offset_strain_error : float or None
        Where the curve falls below the elastic line shifted by the offset, GPa and strain; ``None`` if it does not.
    thermal_noise, thermal_noise_error : float
        Standard deviation of single samples of the stress about the elastic line, GPa.
    offset : float
        Strain by which the line is shifted (0.002).
    half_width : float
        w, strain.
    warnings : tuple of str
        What a careful reader must know.
    """

    strain: Array
    stress: Array
    mean_stress: Array
    modulus: float
    modulus_error: float
    intercept: float
    window: tuple[float, float]
    n_blocks: int
    maximum_stress: float
    maximum_stress_error: float
    maximum_stress_bias: float
    strain_at_maximum: float
    offset_stress: float | None
    offset_stress_error: float | None
    offset_strain: float | None
    offset_strain_error: float | None
    thermal_noise: float
    thermal_noise_error: float
    offset: float
    half_width: float
    warnings: tuple[str, ...]


def analyse_stress_strain(
    strain: npt.ArrayLike,
    stress: npt.ArrayLike,
    *,
    elastic_window: tuple[float, float] = (0.0, 0.02),
    half_width: float = 0.0025,
    offset: float = 0.002,
) -> StressStrain:
    r"""Return modulus and yield stress of a stress–strain curve.

    The modulus is the slope of a least-squares line in the elastic window with errors for correlated residuals. The
    yield stress is given twice: as the maximum of the averaged curve (gupta2023, Fig. 2a), and by the 0.2 % offset
    rule, where the curve changes from above to below :math:`\sigma_0 + G(\gamma - 0.002)` past the elastic window. The
    place of the change is where the sum of the differences up to it is largest, which uses all points and not the first
    that happens to lie below.

    Errors of the yield stresses are those of repetitions of the analysis on the averaged curve with new noise, of the
    size and correlation of the residuals in the elastic window. The maximum of a noisy curve lies above that of the
    curve; the repetitions tell by how much. It is taken off, and counts as uncertain by as much.

    Parameters
    ----------
    strain : array_like, shape (n,)
        Engineering strain in the order of time; it grows, apart from the thermal motion of the cell.
    stress : array_like, shape (n,)
        GPa, tension positive.
    elastic_window : (float, float)
        Strains of the fit.
    half_width : float
        Half-width of the running average over strain.
    offset : float
        Offset of the elastic line.

    Raises
    ------
    ValueError
        If the elastic window holds fewer than four points.
    """
    gamma, sigma = np.asarray(strain, dtype=float), np.asarray(stress, dtype=float)
    if gamma.shape != sigma.shape or gamma.ndim != 1:
        raise ValueError(f'strain and stress differ in shape: {gamma.shape} and {sigma.shape}')
    low, high = elastic_window
    elastic = (gamma >= low - 1e-12) & (gamma <= high + 1e-12)
    if elastic.sum() < 4:
        raise ValueError(
            f'the elastic window {low:g} … {high:g} holds {int(elastic.sum())} points: four are needed; strain further '
            'or write thermo output more often'
        )
    line = linear_fit(gamma[elastic], sigma[elastic], correlated=True)
    averaged = average_over_strain(gamma, sigma, half_width)
    # Near the ends the average has few points: their noise would be taken for the maximum.
    full = (gamma - gamma.min() >= half_width) & (gamma.max() - gamma >= half_width)
    candidates = np.flatnonzero(full) if full.any() else np.arange(gamma.size)
    top = int(candidates[np.argmax(averaged[candidates])])
    per_average = max(1, int(np.sum(np.abs(gamma - gamma[top]) <= half_width)))
    noise = line.residual_deviation * math.sqrt(line.statistical_inefficiency / per_average)
    crossing = _offset_crossing(gamma, sigma, elastic, line, offset)
    repeated = _repeat(gamma, sigma, elastic, line, offset, half_width, candidates)
    bias = repeated.maximum_bias
    warnings = []
    if line.slope_error > 0.3 * abs(line.slope):
        warnings.append(
            f'the modulus is hardly determined ({line.slope:.3g} ± {line.slope_error:.1g} GPa): the thermal noise of '
            'the stress is as large as the signal; use a larger cell, a wider elastic window or a slower rate'
        )
    if (back := float(np.max(np.maximum.accumulate(gamma) - gamma))) > half_width:
        warnings.append(
            f'the strain goes back by up to {back:.2g} as the cell breathes, more than the half-width of the average '
            f'({half_width:g}): use a larger cell or a slower barostat'
        )
    if line.slope <= 0:
        warnings.append('the stress does not rise with the strain in the elastic window')
    if top >= candidates[-1] - max(1, candidates.size // 50):
        warnings.append('the largest stress is at the end of the run: the yield stress may be higher')
    if noise > abs(line.slope) * offset:
        warnings.append(
            f'the noise of the averaged stress ({noise:.2g} GPa) exceeds what the offset of {offset:g} is worth '
            f'({abs(line.slope) * offset:.2g} GPa): the offset yield stress is uncertain'
        )
    if crossing is None:
        warnings.append(
            f'the curve never falls below the offset line: no {100 * offset:g} % offset yield within the run'
        )
    elif gamma[crossing] <= gamma[elastic][-1]:
        warnings.append(
            'the curve is below the offset line from the end of the elastic window on: the offset yield stress is an '
            'upper limit, choose a narrower window'
        )
    if bias > 0.2 * abs(float(averaged[top])):
        warnings.append(
            f'noise alone adds {bias:.2g} GPa to the largest averaged stress of {averaged[top]:.2g} GPa: use a larger '
            'cell or a wider average'
        )
    n_blocks = max(1, int(elastic.sum() / line.statistical_inefficiency))
    return StressStrain(
        strain=gamma, stress=sigma, mean_stress=averaged, modulus=line.slope, modulus_error=line.slope_error,
        intercept=line.intercept, window=(float(gamma[elastic][0]), float(gamma[elastic][-1])),
        n_blocks=n_blocks, maximum_stress=float(averaged[top]) - bias,
        maximum_stress_error=math.hypot(repeated.maximum_deviation, bias), maximum_stress_bias=bias,
        strain_at_maximum=float(gamma[top]),
        offset_stress=None if crossing is None else float(line(gamma[crossing] - offset)),
        offset_stress_error=None if crossing is None else repeated.offset_stress_deviation,
        offset_strain=None if crossing is None else float(gamma[crossing]),
        offset_strain_error=None if crossing is None else repeated.offset_strain_deviation,
        thermal_noise=line.residual_deviation, thermal_noise_error=line.residual_deviation / math.sqrt(2 * n_blocks),
        offset=offset, half_width=half_width, warnings=tuple(warnings),
    )  # fmt: skip


def average_over_strain(strain: Array, values: Array, half_width: float) -> Array:
    r"""Return the average over all samples whose strain lies in :math:`[\gamma - w, \gamma + w]`, narrower at the ends.

    A shear strain is a tilt over a height that the barostat moves: in a small cell it goes back now and then, so that
    neighbours in strain are not always neighbours in time.

    Parameters
    ----------
    strain, values : ndarray, shape (n,)
        In any order.
    half_width : float
        :math:`w`.
    """
    order = np.argsort(strain, kind='stable')
    averaged = np.empty_like(values, dtype=float)
    averaged[order] = two_sided_average(strain[order], values[order], half_width)
    return averaged


def _offset_crossing(
    gamma: Array, sigma: Array, elastic: npt.NDArray[np.bool_], line: LinearFit, offset: float
) -> int | None:
    """Return the row where the curve changes from above the shifted elastic line to below it."""
    start = int(np.flatnonzero(elastic)[-1])
    above = (sigma - line(gamma - offset))[start:]
    sums = np.cumsum(above)
    row = int(np.argmax(sums))
    # What follows must be below the line by more than correlated noise adds up to.
    after = above.size - 1 - row
    scatter = line.residual_deviation * math.sqrt(line.statistical_inefficiency * max(after, 1))
    if after < 1 or sums[row] - sums[-1] <= 2 * scatter:
        return None
    return start + row


@dataclass(frozen=True)
class _Repetitions:
    maximum_bias: float
    maximum_deviation: float
    offset_stress_deviation: float
    offset_strain_deviation: float


def _repeat(
    gamma: Array,
    sigma: Array,
    elastic: npt.NDArray[np.bool_],
    line: LinearFit,
    offset: float,
    half_width: float,
    candidates: IntArray,
) -> _Repetitions:
    """Return how the yield stresses scatter when the noise of the elastic window is drawn anew."""
    smooth = average_over_strain(gamma, sigma, half_width)
    # Three times the width: the noise that is left in the curve would be taken for its shape.
    wide = average_over_strain(gamma, sigma, 3 * half_width)
    highest = float(average_over_strain(gamma, wide, half_width)[candidates].max())
    inefficiency = line.statistical_inefficiency
    correlation = (inefficiency - 1) / (inefficiency + 1)
    generator = np.random.default_rng(0)
    settle = math.ceil(10 * inefficiency)
    maxima, stresses, strains = [], [], []
    for _ in range(N_REPETITIONS):
        white = line.residual_deviation * generator.normal(size=gamma.size + settle)
        noise = lfilter([math.sqrt(1 - correlation**2)], [1, -correlation], white)[settle:]
        maxima.append(float(average_over_strain(gamma, wide + noise, half_width)[candidates].max()))
        again = linear_fit(gamma[elastic], (smooth + noise)[elastic])
        again = replace(again, statistical_inefficiency=inefficiency)
        row = _offset_crossing(gamma, smooth + noise, elastic, again, offset)
        if row is not None:
            stresses.append(float(again(gamma[row] - offset)))
            strains.append(float(gamma[row]))
    enough = len(stresses) > 1
    return _Repetitions(
        maximum_bias=max(float(np.mean(maxima)) - highest, 0.0), maximum_deviation=float(np.std(maxima, ddof=1)),
        offset_stress_deviation=float(np.std(stresses, ddof=1)) if enough else math.nan,
        offset_strain_deviation=float(np.std(strains, ddof=1)) if enough else math.nan,
    )  # fmt: skip
