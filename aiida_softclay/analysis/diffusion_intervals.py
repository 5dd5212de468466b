"""Confidence intervals of self-diffusion: by resampling atoms, and from the posterior of a Bayesian regression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .displacement import MeanSquaredDisplacement
from .slope_errors import line_weights
from .trajectory import Array, IntArray
from .transport import CM2_PER_S, diffusive_window, lags_in_window

#: Lags that a Bayesian regression uses: more hold no more information, and its covariance matrix is inverted.
BAYESIAN_LAGS = 50


@dataclass(frozen=True)
class DiffusionInterval:
    """A self-diffusion coefficient with an interval.

    Attributes
    ----------
    species : str
        Element, or name of the class.
    diffusivity, error : float
        Mean and standard deviation of the resampled or posterior values, cm²/s.
    interval : (float, float)
        cm²/s.
    confidence : float
        Of the interval.
    window_ps : (float, float)
        Lags of the fit, ps.
    n_samples : int
        Atoms, or groups of atoms, behind it.
    method : str
        How it was found.
    """

    species: str
    diffusivity: float
    error: float
    interval: tuple[float, float]
    confidence: float
    window_ps: tuple[float, float]
    n_samples: int
    method: str


def _window(result: MeanSquaredDisplacement, window_ps: tuple[float, float] | None) -> IntArray:
    start, stop = window_ps or diffusive_window({result.species: result})
    return lags_in_window(result.lag_times, start, stop)


def _interval(
    result: MeanSquaredDisplacement, inside: IntArray, values: Array, confidence: float, method: str
) -> DiffusionInterval:
    low, high = np.quantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2])
    lags = result.lag_times[inside]
    return DiffusionInterval(
        result.species, float(values.mean()), float(values.std(ddof=1)), (float(low), float(high)), confidence,
        (float(lags[0]), float(lags[-1])), len(result.per_atom), method,
    )  # fmt: skip


def bootstrap_diffusion(
    result: MeanSquaredDisplacement,
    window_ps: tuple[float, float] | None = None,
    *,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> DiffusionInterval:
    """Return the self-diffusion coefficient with the percentile interval of resampled atoms.

    Atoms (or groups of atoms) are drawn with replacement as often as there are, and the slope of their mean taken
    (Efron, Ann. Stat. 7, 1 (1979)). Unlike the standard error, the interval may be lopsided, which it is where few
    atoms do most of the moving.

    Parameters
    ----------
    result : MeanSquaredDisplacement
        Of ten atoms or groups at least.
    window_ps : (float, float), optional
        Lags of the fit; those of :func:`~.transport.diffusive_window` if not given.
    confidence : float
        Of the interval.
    n_resamples : int
        Samples to draw.
    seed : int
        Of the random numbers.

    Raises
    ------
    ValueError
        If there are fewer than ten atoms, the window holds fewer than three lags or the confidence makes no sense.
    """
    _check(confidence)
    n_rows = len(result.per_atom)
    if n_rows < 10:
        raise ValueError(f'{n_rows} atoms or groups of {result.species} are too few to resample: ten are needed')
    inside = _window(result, window_ps)
    slopes = result.per_atom[:, inside] @ line_weights(result.lag_times[inside])
    drawn = np.random.default_rng(seed).integers(n_rows, size=(n_resamples, n_rows))
    values = slopes[drawn].mean(axis=1) / 6 * CM2_PER_S
    return _interval(result, inside, values, confidence, f'{n_resamples} bootstrap samples of atoms')


def bayesian_diffusion(
    result: MeanSquaredDisplacement,
    window_ps: tuple[float, float] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> DiffusionInterval:
    """Return the self-diffusion coefficient from the posterior of a straight line with correlated points.

    Values at different lags share most of their noise; kinisi models their covariance as that of Brownian motion and
    samples slope and intercept (McCluskey et al., J. Chem. Theory Comput. 21, 79 (2025)). The variances are those of
    the scatter over atoms, the number of independent displacements falls as one over the lag.

    Parameters
    ----------
    result : MeanSquaredDisplacement
        Of two atoms or groups at least.
    window_ps : (float, float), optional
        Lags of the fit; those of :func:`~.transport.diffusive_window` if not given.
    confidence : float
        Of the interval.
    seed : int
        Of the random numbers.

    Raises
    ------
    ImportError
        If kinisi is not installed.
    ValueError
        If there are fewer than two atoms, the window holds fewer than three lags or the confidence makes no sense.
    """
    _check(confidence)
    try:
        import scipp
        from kinisi.diffusion import Diffusion
    except ImportError as error:
        raise ImportError('the Bayesian estimate needs kinisi: pip install aiida-softclay[bayesian]') from error
    inside = _window(result, window_ps)
    chosen = inside[np.unique(np.linspace(0, inside.size - 1, BAYESIAN_LAGS).round().astype(int))]
    variances = result.msd_error[chosen] ** 2
    if not np.isfinite(variances).all() or (variances <= 0).any():
        raise ValueError(f'the scatter over atoms of {result.species} is not known: two atoms are needed at least')
    lags = result.lag_times[chosen]
    duration = float(result.lag_times[1]) * (result.n_frames - 1)
    n_atoms = result.n_atoms or len(result.per_atom)
    data = scipp.DataArray(
        scipp.array(dims=['time interval'], values=result.msd[chosen], variances=variances, unit='angstrom^2'),
        coords={
            'time interval': scipp.array(dims=['time interval'], values=lags, unit='ps'),
            'n_samples': scipp.array(dims=['time interval'], values=n_atoms * duration / lags),
        },
    )
    model = Diffusion(scipp.DataGroup({'da': data, 'dimensionality': scipp.scalar(3.0)}))
    # kinisi draws from the global generator of NumPy: it is put back as it was.
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(seed)  # noqa: NPY002
        model.bayesian_regression(start_dt=scipp.scalar(float(lags[0]), unit='ps'), progress=False)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    values = np.asarray(model.gradient.values, dtype=float) / 6 * CM2_PER_S
    return _interval(result, inside, values, confidence, 'posterior of a line with the covariance of Brownian motion')


def _check(confidence: float) -> None:
    if not 0 < confidence < 1 or math.isnan(confidence):
        raise ValueError(f'the confidence is a number between 0 and 1, not {confidence}')
