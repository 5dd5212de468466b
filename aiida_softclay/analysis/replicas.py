"""One number from several runs that differ in their random numbers only: mean, and the spread as its error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from .trajectory import Array

#: Probability within one standard deviation of a normal distribution: what every ± of the package covers.
ONE_SIGMA = float(special.ndtr(1.0) - special.ndtr(-1.0))
#: Replicas that scatter more than their errors say with a smaller chance than this are reported.
SMALLEST_CHANCE = 0.01


@dataclass(frozen=True)
class ReplicaMean:
    r"""Mean over replicas with its errors, in the unit of the values.

    Attributes
    ----------
    value : float
        Arithmetic mean.
    error : float
        :math:`t\,s/\sqrt n` such that ± covers 68.3 % (Student's t, n − 1 degrees of freedom); of a single replica,
        the error within its run; ``nan`` where that is not known.
    deviation : float
        s, standard deviation between replicas; ``nan`` for one.
    within_error : float
        Error of the mean that the errors within the runs predict, :math:`\sqrt{\sum e_i^2}/n`; ``nan`` where one of
        them is not known.
    t_factor : float
        t; ``nan`` for one replica.
    interval : (float, float) or None
        Confidence interval of the mean by Student's t; ``None`` for one replica.
    confidence : float
        Its confidence.
    chance : float
        Probability that replicas whose errors are right scatter as much as these (Cochran's Q); ``nan`` if not known.
    n_replicas : int
        n.
    method : str
        How ``error`` was found.
    warnings : tuple of str
        What a careful reader must know.
    """

    value: float
    error: float
    deviation: float
    within_error: float
    t_factor: float
    interval: tuple[float, float] | None
    confidence: float
    chance: float
    n_replicas: int
    method: str
    warnings: tuple[str, ...]


def combine_replicas(
    values: npt.ArrayLike, errors: npt.ArrayLike | None = None, *, confidence: float = 0.95
) -> ReplicaMean:
    r"""Return the mean of a number over replicas, with the spread between them as its error.

    .. math:: \bar x = \frac{1}{n} \sum x_i, \quad s^2 = \frac{\sum (x_i - \bar x)^2}{n - 1}, \quad
        \delta x = t_{n-1}(68.3\,\%) \, s / \sqrt n

    The factor t (1.84 for two replicas, 1.32 for three, 1.14 for five) makes ± cover what it covers for a known
    standard deviation, since s of few replicas is mostly too small. Weights by the errors within the runs are not used:
    these errors know nothing of what a run cannot leave within its time, which is why replicas are made.

    Parameters
    ----------
    values : array_like, shape (n_replicas,)
        One value for each replica, independent of each other.
    errors : array_like, shape (n_replicas,), optional
        Errors within the runs; ``nan`` where unknown.
    confidence : float
        Of the interval.

    Raises
    ------
    ValueError
        If there is no value, one is not finite, an error is negative, or the confidence is no share.
    """
    x = np.asarray(values, dtype=float)
    e = np.full(x.shape, math.nan) if errors is None else np.asarray(errors, dtype=float)
    if x.ndim != 1 or not x.size or x.shape != e.shape:
        raise ValueError(f'values and errors of replicas must be two lists of one length, not {x.shape} and {e.shape}')
    if not np.isfinite(x).all() or (e < 0).any():
        raise ValueError('the values of replicas must be finite and their errors not negative')
    if not 0 < confidence < 1:
        raise ValueError(f'confidence = {confidence} must lie between 0 and 1')
    n, mean = int(x.size), float(x.mean())
    within = float(np.sqrt(np.sum(e**2)) / n)
    if n == 1:
        return ReplicaMean(
            mean, within, math.nan, within, math.nan, None, confidence, math.nan, 1, 'error within the only run',
            ('one replica: the error is that within the run, and says nothing of the spread between runs',),
        )  # fmt: skip
    deviation = float(x.std(ddof=1))
    standard = deviation / math.sqrt(n)
    factor = float(special.stdtrit(n - 1, 0.5 + ONE_SIGMA / 2))
    reach = float(special.stdtrit(n - 1, 0.5 + confidence / 2)) * standard
    chance, warnings = _consistency(x, e)
    return ReplicaMean(
        value=mean, error=factor * standard, deviation=deviation, within_error=within, t_factor=factor,
        interval=(mean - reach, mean + reach), confidence=confidence, chance=chance, n_replicas=n,
        method=f'spread of {n} replicas, s/√n times {factor:.3g} (Student t, 68.3 %)', warnings=warnings,
    )  # fmt: skip


def _consistency(x: Array, e: Array) -> tuple[float, tuple[str, ...]]:
    """Return the chance of so large a scatter if the errors within the runs were right, and a sentence if small."""
    if not np.isfinite(e).all() or (e <= 0).any():
        return math.nan, ()
    weights = 1 / e**2
    mean = float(weights @ x / weights.sum())
    scatter = float(weights @ (x - mean) ** 2)
    chance = float(special.chdtrc(x.size - 1, scatter))
    if chance >= SMALLEST_CHANCE:
        return chance, ()
    times = math.sqrt(scatter / (x.size - 1))
    return chance, (
        f'the replicas scatter {times:.2g} times as much as the errors within their runs say: runs of this length do '
        'not sample what makes them differ',
    )
