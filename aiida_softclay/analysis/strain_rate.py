"""How the yield stress depends on the strain rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from .mechanics import BOLTZMANN_EV, GPA
from .replicas import ONE_SIGMA
from .statistics import linear_fit
from .trajectory import Array

FEWEST_RATES = 3
#: Chance below which the means of the rates are said to miss the line.
CURVED = 0.05


@dataclass(frozen=True)
class YieldRateDependence:
    r"""The line :math:`\sigma_y = \sigma_0 + m \ln(\dot\gamma / \dot\gamma_0)` through yield stresses.

    Attributes
    ----------
    slope, slope_error : float
        m and its error, GPa for a factor e of the rate; ± covers 68.3 %.
    slope_interval : (float, float)
        Confidence interval of the slope by Student's t.
    confidence : float
        Its confidence.
    reference_rate : float
        :math:`\dot\gamma_0`, the geometric mean of the rates, per ps.
    stress, stress_error : float
        :math:`\sigma_0`, GPa; ± covers 68.3 %.
    rates : (float, float)
        Lowest and highest rate, per ps.
    n_rates, n_samples : int
        Different rates, and runs.
    freedom : int
        Degrees of freedom behind the errors.
    chance_of_line : float
        Probability that the means of the rates miss a true line by as much as these (F test of lack of fit against the
        spread of replicas); ``nan`` without replicas.
    rises : bool
        Whether the slope is above zero by its confidence interval.
    warnings : tuple of str
        What a careful reader must know.
    """

    slope: float
    slope_error: float
    slope_interval: tuple[float, float]
    confidence: float
    reference_rate: float
    stress: float
    stress_error: float
    rates: tuple[float, float]
    n_rates: int
    n_samples: int
    freedom: int
    chance_of_line: float
    rises: bool
    warnings: tuple[str, ...]

    def at(self, rates: npt.ArrayLike) -> Array:
        """Return the yield stress of the line at rates per ps, GPa."""
        return self.stress + self.slope * np.log(np.asarray(rates, dtype=float) / self.reference_rate)

    def activation_volume(self, temperature: float) -> tuple[float, float]:
        r"""Return :math:`V^* = k_B T / m` with its error, Å³.

        Eyring's thermally activated flow far from equilibrium (J. Chem. Phys. 4, 283 (1936)): the volume over which the
        stress works in one rearrangement.

        Raises
        ------
        ValueError
            If the yield stress does not rise with the rate beyond doubt.
        """
        if not self.rises:
            raise ValueError('the yield stress does not rise with the rate beyond doubt: there is no activation volume')
        volume = BOLTZMANN_EV * temperature / self.slope * GPA
        return volume, volume * self.slope_error / self.slope


def yield_rate_dependence(
    rates: npt.ArrayLike, stresses: npt.ArrayLike, *, confidence: float = 0.95
) -> YieldRateDependence:
    r"""Return how the yield stress depends on the logarithm of the strain rate.

    .. math:: \sigma_y = \sigma_0 + m \ln(\dot\gamma / \dot\gamma_0)

    as thermally activated flow has it (Eyring 1936), by least squares over all runs, replicas of a rate included. The
    errors are those of the scatter of the runs about the line, with Student's t. Where the means of the rates miss the
    line by more than the spread of replicas explains (F test), the scatter of the means takes its place, with two
    degrees of freedom less than there are rates.

    Parameters
    ----------
    rates : array_like, shape (n_runs,)
        Magnitude of the engineering strain rate, per ps; a rate with replicas comes several times.
    stresses : array_like, shape (n_runs,)
        Yield stresses, GPa.
    confidence : float
        Of the interval of the slope.

    Raises
    ------
    ValueError
        If there are fewer than three different rates, or a rate is not positive.
    """
    q, sigma = np.asarray(rates, dtype=float), np.asarray(stresses, dtype=float)
    if q.ndim != 1 or q.shape != sigma.shape:
        raise ValueError(f'rates and yield stresses must be two lists of one length, not {q.shape} and {sigma.shape}')
    if not np.isfinite(q).all() or not np.isfinite(sigma).all() or (q <= 0).any():
        raise ValueError('rates must be positive and yield stresses finite')
    if not 0 < confidence < 1:
        raise ValueError(f'confidence = {confidence} must lie between 0 and 1')
    different, group = np.unique(q, return_inverse=True)
    n, k = int(q.size), int(different.size)
    if k < FEWEST_RATES:
        raise ValueError(
            f'a dependence on the strain rate needs yield stresses at three rates at least, there are {k}: two points '
            'always make a line'
        )
    x = np.log(q)
    middle = float(x.mean())
    x = x - middle
    line = linear_fit(x, sigma)
    s_xx = float(x @ x)
    residuals = sigma - line(x)
    scatter, freedom = float(residuals @ residuals), n - 2
    means = np.bincount(group, sigma) / np.bincount(group)
    pure = float(np.sum((sigma - means[group]) ** 2))
    lack, chance = max(scatter - pure, 0.0), math.nan
    warnings = []
    if n > k and pure > 0:
        chance = float(special.fdtrc(k - 2, n - k, (lack / (k - 2)) / (pure / (n - k))))
        if chance < CURVED:
            scatter, freedom = lack, k - 2
            warnings.append(
                f'the yield stresses do not lie on one line against the logarithm of the rate (chance {chance:.2g})'
            )
    deviation = math.sqrt(scatter / freedom)
    slope_error, height_error = deviation / math.sqrt(s_xx), deviation / math.sqrt(n)
    one_sigma = float(special.stdtrit(freedom, 0.5 + ONE_SIGMA / 2))
    reach = float(special.stdtrit(freedom, 0.5 + confidence / 2)) * slope_error
    low, high = line.slope - reach, line.slope + reach
    if low <= 0 <= high:
        warnings.append(f'the slope is not distinguished from zero at {100 * confidence:g} % confidence')
    if different[-1] / different[0] < 10:
        warnings.append(
            f'the rates span a factor of {different[-1] / different[0]:.2g}: less than a decade tells little of a '
            'logarithm'
        )
    return YieldRateDependence(
        slope=line.slope, slope_error=one_sigma * slope_error, slope_interval=(low, high), confidence=confidence,
        reference_rate=math.exp(middle), stress=line.intercept, stress_error=one_sigma * height_error,
        rates=(float(different[0]), float(different[-1])), n_rates=k, n_samples=n, freedom=freedom,
        chance_of_line=chance, rises=low > 0, warnings=tuple(warnings),
    )  # fmt: skip
