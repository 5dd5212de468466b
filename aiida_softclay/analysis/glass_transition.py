"""The glass transition as the crossing of two lines: specific volume against temperature, and whether there are two."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from .hinge import FEWEST_POINTS_A_SIDE, HingeFits, fit_hinges, polynomial_chi_squared
from .trajectory import Array

FEWEST_TEMPERATURES = 2 * FEWEST_POINTS_A_SIDE
#: One line is given up for two only if chance alone would do as well less often than this.
LARGEST_CHANCE = 0.01
#: Points that scatter more than their errors with less chance than this have errors that are not believed.
UNBELIEVABLE_SCATTER = 0.05
#: Difference of the Bayesian information criterion below which the evidence is not strong (Kass and Raftery, J. Am.
#: Stat. Assoc. 90, 773 (1995)).
STRONG_EVIDENCE = 6.0


class VolumeCurveError(ValueError):
    """A curve of specific volumes that cannot be fitted; the message says what to change."""


class NoGlassTransitionError(VolumeCurveError):
    """The specific volumes do not show two regimes with a crossing between them."""


@dataclass(frozen=True)
class GlassTransition:
    r"""Two lines :math:`v(T)` that cross at the glass transition.

    Attributes
    ----------
    temperature, temperature_error : float
        Crossing and its standard error, K.
    interval : (float, float)
        Confidence interval of the crossing, K: the hull of both below.
    parametric_interval, residual_interval : (float, float)
        From new data drawn with the errors, and from redistributed residuals, K.
    confidence : float
        Of the intervals.
    specific_volume : float
        At the crossing, cm³/g.
    slope_glass, slope_liquid : float
        dv/dT below and above the crossing, cm³/(g K).
    slope_glass_error, slope_liquid_error : float
        Their standard errors.
    expansion_glass, expansion_liquid : float
        Expansion coefficients :math:`\frac{1}{v(T_g)} \frac{dv}{dT}` of either side, 1/K.
    expansion_glass_error, expansion_liquid_error : float
        Their standard errors.
    free_crossing : float
        Crossing of two lines fitted to either side of the best split without being made to meet, K.
    chance : float
        Probability that data on one line improve as much by a break.
    curvature_evidence : float
        Bayesian information criterion of a parabola less that of two lines; positive if it speaks for the lines.
    reduced_chi_squared : float
        Scatter about the two lines in units of the errors.
    n_samples : int
        Temperatures.
    temperatures : (float, float)
        Lowest and highest, K.
    warnings : tuple of str
        What a careful reader must know.
    """

    temperature: float
    temperature_error: float
    interval: tuple[float, float]
    parametric_interval: tuple[float, float]
    residual_interval: tuple[float, float]
    confidence: float
    specific_volume: float
    slope_glass: float
    slope_glass_error: float
    slope_liquid: float
    slope_liquid_error: float
    expansion_glass: float
    expansion_glass_error: float
    expansion_liquid: float
    expansion_liquid_error: float
    free_crossing: float
    chance: float
    curvature_evidence: float
    reduced_chi_squared: float
    n_samples: int
    temperatures: tuple[float, float]
    warnings: tuple[str, ...]

    def at(self, temperatures: npt.ArrayLike) -> Array:
        """Return the specific volume of the two lines at temperatures in K, cm³/g."""
        distance = np.asarray(temperatures, dtype=float) - self.temperature
        below, above = np.minimum(distance, 0.0), np.maximum(distance, 0.0)
        return self.specific_volume + self.slope_glass * below + self.slope_liquid * above


def glass_transition(
    temperatures: npt.ArrayLike,
    specific_volumes: npt.ArrayLike,
    errors: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 1,
) -> GlassTransition:
    r"""Return the temperature at which the specific volume changes from one line to another.

    .. math:: v(T) = v_g + \beta_\mathrm{glass} \min(T - T_g, 0) + \beta_\mathrm{liquid} \max(T - T_g, 0)

    by least squares weighted with the errors, as the transition is read off in gupta2023 (Supplementary Fig. 9) and
    yang2024 (Fig. S18). Two regimes are only reported if

    * one line is worse by more than chance: the fall of :math:`\chi^2` is compared with that of data drawn on one line,
      because no tabulated F distribution holds for a break whose place was searched for. Where the points scatter more
      than their errors say, the ratio F of that fall to the remaining :math:`\chi^2` is compared instead;
    * the volume grows faster above the crossing than below;
    * the crossing is within the data, three temperatures at least on either side;
    * a parabola, which has one parameter less, is no better by the Bayesian information criterion: data that only
      bend have no crossing.

    Parameters
    ----------
    temperatures : array_like, shape (n_temperatures,)
        K, in any order; six different ones at least.
    specific_volumes, errors : array_like, shape (n_temperatures,)
        cm³/g, with their standard errors.
    confidence : float
        Of the interval of the crossing.
    n_resamples : int
        Repetitions of either kind, and of the data on one line.
    seed : int
        Of the random numbers.

    Raises
    ------
    NoGlassTransitionError
        If the data do not show two regimes; the sentence says in which way.
    VolumeCurveError
        If the data cannot be fitted: too few, not finite, twice the same temperature.
    """
    T, v, s = _checked(temperatures, specific_volumes, errors)
    if not 0 < confidence < 1 or n_resamples < 200:
        raise VolumeCurveError(
            f'a confidence of {confidence:g} from {n_resamples} repetitions: give one between 0 and 1, and 200 at least'
        )
    rng = np.random.default_rng(seed)
    fit = fit_hinges(T, v, s)
    freedom = T.size - 4
    reduced = float(fit.chi_squared[0]) / freedom
    believed = float(stats.chi2.sf(fit.chi_squared[0], freedom)) > UNBELIEVABLE_SCATTER
    chance = _chance_of_one_line(T, v, s, float(fit.chi_squared[0]), believed, n_resamples, rng)
    evidence = _evidence_against_a_parabola(T, v, s, float(fit.chi_squared[0]))
    _refuse_one_regime(T, fit, chance, evidence)

    # Errors that are too small for the scatter are enlarged, those that are too large are kept.
    enlarged = s * math.sqrt(max(reduced, 1.0))
    line = fit.at(T)
    parametric = fit_hinges(T, line + enlarged * rng.standard_normal((n_resamples, T.size)), s)
    residuals = (v - line) / s
    # Fitted residuals are smaller than the noise by the degrees of freedom that the fit took.
    residuals = (residuals - residuals.mean()) * math.sqrt(T.size / freedom)
    redistributed = fit_hinges(T, line + s * rng.choice(residuals, (n_resamples, T.size)), s)
    edges = [0.5 - confidence / 2, 0.5 + confidence / 2]
    intervals = [np.quantile(found.position, edges) for found in (parametric, redistributed)]
    interval = (min(float(low) for low, _ in intervals), max(float(high) for _, high in intervals))

    def spread(values: list[Array]) -> float:
        return max(float(column.std(ddof=1)) for column in values)

    both = (parametric, redistributed)
    height = float(fit.height[0])
    return GlassTransition(
        temperature=float(fit.position[0]), temperature_error=spread([found.position for found in both]),
        interval=interval, parametric_interval=(float(intervals[0][0]), float(intervals[0][1])),
        residual_interval=(float(intervals[1][0]), float(intervals[1][1])), confidence=confidence,
        specific_volume=height,
        slope_glass=float(fit.slope_low[0]), slope_glass_error=spread([found.slope_low for found in both]),
        slope_liquid=float(fit.slope_high[0]), slope_liquid_error=spread([found.slope_high for found in both]),
        expansion_glass=float(fit.slope_low[0]) / height,
        expansion_glass_error=spread([found.slope_low / found.height for found in both]),
        expansion_liquid=float(fit.slope_high[0]) / height,
        expansion_liquid_error=spread([found.slope_high / found.height for found in both]),
        free_crossing=float(fit.free_crossing[0]), chance=chance, curvature_evidence=evidence,
        reduced_chi_squared=reduced, n_samples=int(T.size), temperatures=(float(T[0]), float(T[-1])),
        warnings=_warnings(T, fit, interval, evidence, reduced, believed),
    )  # fmt: skip


def _checked(temperatures: npt.ArrayLike, volumes: npt.ArrayLike, errors: npt.ArrayLike) -> tuple[Array, Array, Array]:
    """Return the data in the order of temperature."""
    T, v, s = (np.asarray(column, dtype=float) for column in (temperatures, volumes, errors))
    if T.ndim != 1 or not T.shape == v.shape == s.shape:
        raise VolumeCurveError(f'temperatures, volumes and errors differ in shape: {T.shape}, {v.shape}, {s.shape}')
    if not all(np.isfinite(column).all() for column in (T, v, s)):
        raise VolumeCurveError('temperatures, specific volumes and errors must be finite: leave out the others')
    if (T <= 0).any() or (v <= 0).any() or (s <= 0).any():
        raise VolumeCurveError('temperatures (kelvin), specific volumes and errors must be positive')
    order = np.argsort(T)
    T, v, s = T[order], v[order], s[order]
    if (twice := T[:-1][np.diff(T) == 0]).size:
        raise VolumeCurveError(f'there are two values at {twice[0]:g} K: average them first')
    if T.size < FEWEST_TEMPERATURES:
        raise VolumeCurveError(
            f'two lines need {FEWEST_TEMPERATURES} temperatures at least, three on either side; there are {T.size}'
        )
    return T, v, s


def _chance_of_one_line(
    T: Array, v: Array, s: Array, chi_squared: float, believed: bool, n_resamples: int, rng: np.random.Generator
) -> float:
    """Return how often data on one line gain as much by a break."""
    # The line itself does not matter: both fits reproduce it exactly.
    noise = s * rng.standard_normal((n_resamples, T.size))
    broken = fit_hinges(T, noise, s).chi_squared
    falls = polynomial_chi_squared(T, noise, s, 1) - broken
    fall = float(polynomial_chi_squared(T, v, s, 1)[0]) - chi_squared
    as_good = falls >= fall if believed else falls / broken >= fall / chi_squared
    return (1 + int(as_good.sum())) / (1 + n_resamples)


def _evidence_against_a_parabola(T: Array, v: Array, s: Array, chi_squared: float) -> float:
    parabola = float(polynomial_chi_squared(T, v, s, 2)[0])
    scale = max(1.0, min(chi_squared / (T.size - 4), parabola / (T.size - 3)))
    return (parabola - chi_squared) / scale - math.log(T.size)


def _refuse_one_regime(T: Array, fit: HingeFits, chance: float, evidence: float) -> None:
    """Raise with the first reason why there is no glass transition in the data."""
    position, low, high = (float(column[0]) for column in (fit.position, fit.slope_low, fit.slope_high))
    crossing = float(fit.free_crossing[0])
    within = f'the data ({T[0]:.4g} … {T[-1]:.4g} K)'
    if chance > LARGEST_CHANCE:
        raise NoGlassTransitionError(
            f'one straight line describes the specific volume as well as two (by chance with p = {chance:.2g}, limit '
            f'{LARGEST_CHANCE:g}): there are no two regimes in {within}; widen the range or average longer'
        )
    if high <= low:
        raise NoGlassTransitionError(
            f'the specific volume grows more slowly above {position:.4g} K than below ({high:.3g} against {low:.3g} '
            'cm^3/(g K)): that is no glass transition'
        )
    if math.isfinite(crossing) and not T[0] < crossing < T[-1]:
        raise NoGlassTransitionError(f'the two lines cross at {crossing:.4g} K, outside {within}: widen the range')
    edge = FEWEST_POINTS_A_SIDE - 1
    if position <= T[edge] or position >= T[-1 - edge]:
        side = 'below' if position <= T[edge] else 'above'
        raise NoGlassTransitionError(
            f'the break is at {position:.4g} K, with fewer than three temperatures {side} it in {within}: widen the '
            'range there'
        )
    if evidence < 0:
        raise NoGlassTransitionError(
            f'a parabola describes the specific volume better than two lines (information criterion {evidence:.1f}): '
            f'it bends all over {within} and has no crossing; start less far above the bend, or average longer'
        )


def _warnings(
    T: Array, fit: HingeFits, interval: tuple[float, float], evidence: float, reduced: float, believed: bool
) -> tuple[str, ...]:
    warnings = []
    if evidence < STRONG_EVIDENCE:
        warnings.append(
            f'a parabola is nearly as good as two lines (information criterion {evidence:.1f}, strong from '
            f'{STRONG_EVIDENCE:g}): the crossing may be that of a smooth bend'
        )
    if not believed:
        warnings.append(
            f'the points scatter {math.sqrt(reduced):.1f} times as much about the two lines as their errors say'
        )
    crossing = float(fit.free_crossing[0])
    if not interval[0] <= crossing <= interval[1]:
        where = f'at {crossing:.4g} K' if math.isfinite(crossing) else 'nowhere'
        warnings.append(f'two lines that need not meet between their points cross {where}, outside the interval')
    edge = FEWEST_POINTS_A_SIDE - 1
    if interval[0] <= T[edge] or interval[1] >= T[-1 - edge]:
        warnings.append('the interval reaches the last three temperatures of a side: it may be wider than it says')
    return tuple(warnings)
