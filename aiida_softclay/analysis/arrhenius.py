"""Activation energy of diffusion or conduction, and what may be read off it at other temperatures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import constants, stats

from .trajectory import Array

#: eV/K.
BOLTZMANN_EV = constants.k / constants.e


class GlassTransitionError(ValueError):
    """An Arrhenius line would be drawn across the glass transition, where its slope changes."""


@dataclass(frozen=True)
class Extrapolation:
    """A quantity at a temperature, read off an Arrhenius line.

    Attributes
    ----------
    temperature : float
        K.
    value, error : float
        In the unit of the data; one standard error, from that of the logarithm.
    interval : (float, float)
        Confidence interval; its ends are at equal distances in the logarithm.
    confidence : float
        Its confidence.
    warnings : tuple of str
        Why it may be wrong all the same.
    """

    temperature: float
    value: float
    error: float
    interval: tuple[float, float]
    confidence: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Arrhenius:
    r"""A line :math:`\ln (X T^m) = \ln A - E_\mathrm{a} / (k_\mathrm{B} T)`.

    Attributes
    ----------
    activation_energy, activation_energy_error : float
        eV.
    log_prefactor, log_prefactor_error : float
        ln A, with A in the unit of the data (times K if ``times_temperature``).
    times_temperature : bool
        Whether the line is that of X T (m = 1), as theory has it for a conductivity, instead of X.
    covariance : ndarray, shape (2, 2)
        Of (ln A, activation energy).
    reduced_chi_squared : float
        Scatter about the line in units of the errors; ``nan`` for two points.
    n_samples : int
        Temperatures.
    temperatures : (float, float)
        Lowest and highest, K.
    glass_transition : float or None
        K.
    warnings : tuple of str
        What a careful reader must know.
    """

    activation_energy: float
    activation_energy_error: float
    log_prefactor: float
    log_prefactor_error: float
    times_temperature: bool
    covariance: Array
    reduced_chi_squared: float
    n_samples: int
    temperatures: tuple[float, float]
    glass_transition: float | None
    warnings: tuple[str, ...]

    def at(
        self, temperature: float, *, confidence: float = 0.95, across_glass_transition: bool = False
    ) -> Extrapolation:
        """Return the quantity at a temperature.

        Parameters
        ----------
        temperature : float
            K.
        confidence : float
            Of the interval, from Student's t with two degrees of freedom less than there are temperatures.
        across_glass_transition : bool
            Allow a temperature on the other side of the glass transition than the data.

        Raises
        ------
        GlassTransitionError
            If the glass transition lies between the data and the temperature, and that was not asked for.
        ValueError
            If the temperature or the confidence makes no sense.
        """
        if not temperature > 0 or not 0 < confidence < 1:
            raise ValueError(f'there is no value at {temperature} K with a confidence of {confidence}')
        warnings = list(self.warnings)
        low, high = self.temperatures
        if self.glass_transition is not None and (
            temperature < self.glass_transition < high or low < self.glass_transition < temperature
        ):
            text = (
                f'the glass transition at {self.glass_transition:.0f} K lies between the data '
                f'({low:.0f} … {high:.0f} K) and {temperature:.0f} K'
            )
            if not across_glass_transition:
                raise GlassTransitionError(
                    f'{text}: the activation energy changes there; simulate at {temperature:.0f} K, or ask for the '
                    'extrapolation across it'
                )
            warnings.append(f'{text}, where the activation energy changes')
        elif self.glass_transition is None and not low <= temperature <= high:
            warnings.append(
                f'{temperature:.0f} K is outside the data ({low:.0f} … {high:.0f} K) and no glass transition was '
                'given: whether the line holds there is not known'
            )
        gradient = np.array([1.0, -1.0 / (BOLTZMANN_EV * temperature)])
        logarithm = self.log_prefactor + gradient[1] * self.activation_energy
        logarithm -= math.log(temperature) if self.times_temperature else 0.0
        deviation = math.sqrt(max(float(gradient @ self.covariance @ gradient), 0.0))
        value = math.exp(logarithm)
        if self.n_samples > 2:
            reach = deviation * float(stats.t.ppf(0.5 + confidence / 2, self.n_samples - 2))
        else:
            reach = deviation * float(stats.norm.ppf(0.5 + confidence / 2))
        return Extrapolation(
            temperature, value, value * deviation, (value * math.exp(-reach), value * math.exp(reach)), confidence,
            tuple(warnings),
        )  # fmt: skip


def arrhenius(
    temperatures: npt.ArrayLike,
    values: npt.ArrayLike,
    errors: npt.ArrayLike,
    *,
    times_temperature: bool = False,
    glass_transition: float | None = None,
    across_glass_transition: bool = False,
) -> Arrhenius:
    r"""Return the activation energy of a quantity that was measured at several temperatures.

    .. math:: \ln (X T^m) = \ln A - E_\mathrm{a} / (k_\mathrm{B} T)

    by least squares weighted with the errors of :math:`\ln X`, :math:`s_X / X` (dai2023, Supplementary Note 5, for
    the conductivity between 303 and 378 K). Where the points scatter more than their errors say, the errors of the
    line are enlarged by the square root of the reduced :math:`\chi^2`.

    Parameters
    ----------
    temperatures : array_like, shape (n_samples,)
        K; two different ones at least, three for a test of the line.
    values, errors : array_like, shape (n_samples,)
        Diffusivities, conductivities or rates, positive, with their standard errors.
    times_temperature : bool
        Fit :math:`X T` instead of :math:`X`.
    glass_transition : float, optional
        K.
    across_glass_transition : bool
        Allow data on both sides of the glass transition.

    Raises
    ------
    GlassTransitionError
        If data lie on both sides of the glass transition, and that was not asked for.
    ValueError
        If values or errors are not positive, or there are fewer than two temperatures.
    """
    T, x, s = (np.asarray(column, dtype=float) for column in (temperatures, values, errors))
    if T.ndim != 1 or not T.shape == x.shape == s.shape:
        raise ValueError(f'temperatures, values and errors differ in shape: {T.shape}, {x.shape}, {s.shape}')
    if not all(np.isfinite(column).all() for column in (T, x, s)) or (T <= 0).any():
        raise ValueError('temperatures, values and errors must be finite, and temperatures positive')
    bad = [f'{t:.0f} K' for t, value, error in zip(T, x, s, strict=True) if value <= 0 or error <= 0]
    if bad:
        raise ValueError(
            f'values and errors must be positive for a logarithm; leave out {", ".join(bad)}, or run longer'
        )
    if np.unique(T).size < 2:
        raise ValueError('an activation energy needs two different temperatures at least')
    warnings = []
    if glass_transition is not None and T.min() < glass_transition < T.max():
        text = (
            f'the data ({T.min():.0f} … {T.max():.0f} K) lie on both sides of the glass transition '
            f'({glass_transition:.0f} K)'
        )
        if not across_glass_transition:
            raise GlassTransitionError(f'{text}: fit either side, or ask for one line across it')
        warnings.append(f'{text}, where the activation energy changes')
    vague = [f'{t:.0f} K' for t, value, error in zip(T, x, s, strict=True) if error > 0.5 * value]
    if vague:
        warnings.append(
            f'the values at {", ".join(vague)} are known to less than half of themselves: their logarithms are biased'
        )
    y = np.log(x) + (np.log(T) if times_temperature else 0.0)
    weights = (x / s) ** 2
    design = np.column_stack([np.ones_like(T), -1.0 / (BOLTZMANN_EV * T)])
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    coefficients = covariance @ design.T @ (weights * y)
    residuals = y - design @ coefficients
    chi_squared = float(weights @ residuals**2) / (T.size - 2) if T.size > 2 else math.nan
    if chi_squared > 1:
        covariance = covariance * chi_squared
        if T.size > 2 and stats.chi2.sf(chi_squared * (T.size - 2), T.size - 2) < 0.01:
            warnings.append(
                f'the points scatter {math.sqrt(chi_squared):.1f} times as much as their errors say: not one line'
            )
    if np.unique(T).size < 3:
        warnings.append('two temperatures make a line without a test of it')
    return Arrhenius(
        activation_energy=float(coefficients[1]), activation_energy_error=math.sqrt(covariance[1, 1]),
        log_prefactor=float(coefficients[0]), log_prefactor_error=math.sqrt(covariance[0, 0]),
        times_temperature=times_temperature, covariance=covariance, reduced_chi_squared=chi_squared,
        n_samples=int(T.size), temperatures=(float(T.min()), float(T.max())), glass_transition=glass_transition,
        warnings=tuple(warnings),
    )  # fmt: skip
