"""Modulus and yield stress from a stress–strain curve at constant rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .statistics import linear_fit, two_sided_average
from .trajectory import Array


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
        Largest averaged stress, GPa, with the noise of that average, and where it occurs.
    offset_stress, offset_strain : float or None
        Where the averaged curve falls below the elastic line shifted by the offset; ``None`` if it does not.
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
    strain_at_maximum: float
    offset_stress: float | None
    offset_strain: float | None
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
    rule, where the averaged curve falls lastingly below :math:`\sigma_0 + G(\gamma - 0.002)` past the elastic window.

    Parameters
    ----------
    strain : array_like, shape (n,)
        Engineering strain, increasing.
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
    averaged = two_sided_average(gamma, sigma, half_width)
    # Near the ends the average has few points: their noise would be taken for the maximum.
    full = (gamma - gamma[0] >= half_width) & (gamma[-1] - gamma >= half_width)
    candidates = np.flatnonzero(full) if full.any() else np.arange(gamma.size)
    top = int(candidates[np.argmax(averaged[candidates])])
    per_average = max(1, int(np.sum(np.abs(gamma - gamma[top]) <= half_width)))
    noise = line.residual_deviation * math.sqrt(line.statistical_inefficiency / per_average)

    # Within the elastic window the curve scatters around the line by construction; past it, the first crossing that
    # lasts for one width of the average counts: a single noisy point is no yield.
    limit = line(gamma - offset)
    below = np.flatnonzero((averaged < limit) & full & (gamma >= gamma[elastic][-1]))
    crossing = next((int(row) for row in below if _lasts(averaged, limit, gamma, int(row), half_width)), None)
    warnings = []
    if line.slope_error > 0.3 * abs(line.slope):
        warnings.append(
            f'the modulus is hardly determined ({line.slope:.3g} ± {line.slope_error:.1g} GPa): the thermal noise of '
            'the stress is as large as the signal; use a larger cell, a wider elastic window or a slower rate'
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
        warnings.append('the curve never falls below the offset line: no 0.2 % offset yield within the run')
    return StressStrain(
        strain=gamma, stress=sigma, mean_stress=averaged, modulus=line.slope, modulus_error=line.slope_error,
        intercept=line.intercept, window=(float(gamma[elastic][0]), float(gamma[elastic][-1])),
        n_blocks=max(1, int(elastic.sum() / line.statistical_inefficiency)), maximum_stress=float(averaged[top]),
        maximum_stress_error=noise, strain_at_maximum=float(gamma[top]),
        offset_stress=None if crossing is None else float(averaged[crossing]),
        offset_strain=None if crossing is None else float(gamma[crossing]), offset=offset, half_width=half_width,
        warnings=tuple(warnings),
    )  # fmt: skip


def _lasts(averaged: Array, line: Array, gamma: Array, row: int, width: float) -> bool:
    rows = (gamma >= gamma[row]) & (gamma <= gamma[row] + width)
    return bool((averaged[rows] < line[rows]).all())
