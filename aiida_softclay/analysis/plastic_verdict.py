"""Whether a strain that stays after a release is plastic, judged against the thermal noise of the strain."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

VERDICTS = ('plastic', 'elastic', 'undetermined')


@dataclass(frozen=True)
class PlasticVerdict:
    """What a residual strain is.

    Attributes
    ----------
    verdict : str
        ``plastic``, ``elastic`` or ``undetermined``.
    ratio, ratio_error : float
        Magnitude of the residual strain over the thermal noise, with its error.
    interval : (float, float)
        Confidence interval of the magnitude of the residual strain.
    noise : float
        Thermal noise of the strain.
    confidence : float
        Of the interval.
    reason : str
        A sentence.
    """

    verdict: str
    ratio: float
    ratio_error: float
    interval: tuple[float, float]
    noise: float
    confidence: float
    reason: str


def plastic_verdict(
    residual: float,
    error: float,
    n_samples: int,
    noise: float,
    *,
    noise_error: float = 0.0,
    loaded: float | None = None,
    confidence: float = 0.95,
) -> PlasticVerdict:
    r"""Return whether a residual strain is plastic.

    The yardstick is the thermal noise, the standard deviation of the strain at zero stress: what the cell does by
    itself. With the confidence interval :math:`|\gamma_r| \pm t_{n-1} \delta\gamma_r` of the residual strain,

    * ``plastic``: the whole interval lies above the noise;
    * ``elastic``: the whole interval lies below it, and the load strained the cell by more than the noise;
    * ``undetermined``: neither.

    A residual strain that averages resolve but that is smaller than the noise counts as elastic: so much the cell
    wanders at rest. The noise falls with the square root of the volume, so a larger cell resolves a smaller strain.

    Parameters
    ----------
    residual : float
        Residual strain, of either sign.
    error : float
        Its standard error, not widened.
    n_samples : int
        Independent samples, or replicas, behind the error; one gives no verdict.
    noise : float
        Standard deviation of the strain at zero stress before the first pulse.
    noise_error : float
        Its error, which only enters that of the ratio.
    loaded : float, optional
        Strain under load.
    confidence : float
        Of the interval.

    Raises
    ------
    ValueError
        If the noise is not positive, or the confidence is no share.
    """
    if not noise > 0:
        raise ValueError(f'the thermal noise of the strain is {noise:g}: without noise there is nothing to judge by')
    if not 0 < confidence < 1:
        raise ValueError(f'confidence = {confidence} must lie between 0 and 1')
    size = abs(residual)
    known = n_samples > 1 and math.isfinite(error)
    reach = float(special.stdtrit(n_samples - 1, 0.5 + confidence / 2)) * error if known else math.inf
    low, high = max(size - reach, 0.0), size + reach
    ratio = size / noise
    ratio_error = math.hypot(error, ratio * noise_error) / noise if math.isfinite(error) else math.nan
    what = f'the residual strain ({size:.2g}, {100 * confidence:g} % within {low:.2g} … {high:.2g})'
    if not known:
        verdict, reason = 'undetermined', 'the residual strain has no error: run longer, or more replicas'
    elif low > noise:
        verdict, reason = 'plastic', f'{what} exceeds the thermal noise of the strain ({noise:.2g})'
    elif loaded is not None and abs(loaded) < noise:
        verdict = 'undetermined'
        reason = (
            f'the strain under load ({abs(loaded):.2g}) is below the thermal noise ({noise:.2g}): the pulse tested '
            'nothing; use a larger cell or stress'
        )
    elif high <= noise:
        verdict, reason = 'elastic', f'{what} is within the thermal noise of the strain ({noise:.2g})'
    else:
        verdict = 'undetermined'
        reason = (
            f'{what} lies on both sides of the thermal noise of the strain ({noise:.2g}): longer releases, more '
            'replicas or a larger cell decide'
        )
    return PlasticVerdict(verdict, ratio, ratio_error, (low, high), noise, confidence, reason)
