"""Self-diffusion and Nernst–Einstein conductivity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import constants

from .displacement import MeanSquaredDisplacement
from .statistics import linear_fit
from .trajectory import Array, IntArray

#: Latest window of a linear fit, as shares of the run: at least three independent stretches see the longest lag.
DEFAULT_WINDOW = (0.1, 0.3)
#: Last lag of the window over its first; frames before its first lag; step of the search for it; how far the exponent
#: of the MSD may be from 1 there, half of what passes without a warning.
WINDOW_RATIO = DEFAULT_WINDOW[1] / DEFAULT_WINDOW[0]
FIRST_FRAMES = 5
SEARCH_STEP = 1.2
DIFFUSIVE_EXPONENT = 0.1

WINDOW_RULE = (
    'from a lag τ to 3 τ, τ the earliest one at which every species that moves has gone one jump and its MSD grows '
    'with a power of time within 0.1 of 1, at the latest a tenth of the run'
)

#: From Å²/ps to cm²/s.
CM2_PER_S = 1e-16 / 1e-12


@dataclass(frozen=True)
class Diffusion:
    """Self-diffusion coefficient of a species from the slope of its mean squared displacement.

    Attributes
    ----------
    species : str
        Element.
    diffusivity, diffusivity_error : float
        D and its standard error, cm²/s.
    intercept : float
        MSD of the fitted line at zero lag, Å² (the rattling in the cage).
    window_ps : (float, float)
        Lags of the fit, ps.
    exponent, exponent_error : float
        Slope of log MSD against log lag in the window; 1 when diffusive.
    msd_at_end : float
        MSD at the end of the window, Å².
    n_atoms, n_samples, n_frames : int
        Atoms, independent samples behind the error (atoms or stretches of the run), frames read.
    error_method : str
        What the error comes from.
    warnings : tuple of str
        Why the number may not be a diffusion coefficient.
    """

    species: str
    diffusivity: float
    diffusivity_error: float
    intercept: float
    window_ps: tuple[float, float]
    exponent: float
    exponent_error: float
    msd_at_end: float
    n_atoms: int
    n_samples: int
    n_frames: int
    error_method: str
    warnings: tuple[str, ...]


def lags_in_window(lags: Array, start: float, stop: float) -> IntArray:
    """Return the numbers of the lags in a window, without lag 0, which is exact and no part of any regime.

    Parameters
    ----------
    lags : ndarray, shape (n_lags,)
        Equally spaced lags from 0 on, ps.
    start, stop : float
        ps, both included.

    Raises
    ------
    ValueError
        If the window holds fewer than three lags.
    """
    inside = np.flatnonzero((lags >= start - 1e-9) & (lags <= stop + 1e-9) & (lags > 0))
    if inside.size < 3:
        raise ValueError(
            f'the window {start:g} … {stop:g} ps holds {inside.size} lags of {lags[1] - lags[0]:g} ps within the '
            f'computed {lags[-1]:g} ps: three are needed; choose a longer window or dump more often'
        )
    return inside


def msd_exponent(lags: Array, msd: Array) -> tuple[float, float]:
    """Return the slope of log MSD against log lag with its error; ``nan`` where an MSD is not positive."""
    if not (msd > 0).all():
        return math.nan, math.nan
    line = linear_fit(np.log(lags), np.log(msd))
    return line.slope, line.slope_error


def diffusive_window(results: Mapping[str, MeanSquaredDisplacement], *, hop_length: float = 2.0) -> tuple[float, float]:
    r"""Return the window of lags for the slopes of all species of a run, ps.

    It is :math:`[\tau, 3 \tau]`, with :math:`\tau` the earliest lag at which every species that moves has an MSD of one
    jump squared, and grows within the window with a power of time within 0.1 of 1. A species moves if it makes that
    jump within a tenth of the run; :math:`\tau` is a tenth of the run where none does, and where none of the earlier
    windows is diffusive. The window depends on how fast the ions are and not on the length of the run, once that is
    long enough: only so does a longer run have a smaller error, because the slope of a path over a given *share* of a
    run is known to the same fraction however long it is
    (:func:`~aiida_softclay.analysis.slope_errors.slope_variance_factor`). A lower bound in terms of the jump follows
    He, Zhu, Epstein and Mo, npj Comput. Mater. 4, 18 (2018).

    Parameters
    ----------
    results : mapping of str to MeanSquaredDisplacement
        Species whose slopes are to be taken in one window, with lags of up to 30 % of the run.
    hop_length : float
        Length of a jump to a neighbouring site, Å.

    Raises
    ------
    ValueError
        If there is no species.
    """
    if not results:
        raise ValueError('a window needs the mean squared displacement of one species at least')
    lags = next(iter(results.values())).lag_times
    spacing = float(lags[1] - lags[0])
    duration = spacing * (next(iter(results.values())).n_frames - 1)
    latest = DEFAULT_WINDOW[0] * duration
    moving, start = [], FIRST_FRAMES * spacing
    for result in results.values():
        gone = np.flatnonzero((result.msd >= hop_length**2) & (lags <= latest + 1e-9))
        if gone.size:
            moving.append(result)
            start = max(start, float(lags[gone[0]]))
    while moving and start < latest:
        inside = (lags >= start - 1e-9) & (lags <= WINDOW_RATIO * start + 1e-9)
        exponents = [msd_exponent(lags[inside], result.msd[inside])[0] for result in moving]
        if all(abs(exponent - 1) <= DIFFUSIVE_EXPONENT for exponent in exponents):
            return start, WINDOW_RATIO * start
        start *= SEARCH_STEP
    return latest, DEFAULT_WINDOW[1] * duration


def self_diffusion(
    result: MeanSquaredDisplacement,
    window_ps: tuple[float, float] | None = None,
    *,
    hop_length: float = 2.0,
    exponent_tolerance: float = 0.2,
) -> Diffusion:
    r"""Return the self-diffusion coefficient with its error.

    .. math:: D_\alpha = \frac{1}{6} \frac{\mathrm{d}}{\mathrm{d}\tau} \mathrm{MSD}_\alpha(\tau)

    (yang2024, eq. 1) from a straight line in a stated window of lags. The slope of the mean is the mean of the slopes
    of the single atoms, whose scatter gives the error. Atoms that move together are worth fewer than they are: this
    shows in the slopes of consecutive stretches of the run, whose error replaces the first where it is more than twice
    as large (with three stretches it is itself only known to 50 %).

    Parameters
    ----------
    result : MeanSquaredDisplacement
        Mean squared displacement of the species.
    window_ps : (float, float), optional
        Lags of the fit; those of :func:`diffusive_window` for this species if not given.
    hop_length : float
        Length of a jump to a neighbouring site, Å: a species that moved less on average has not diffused yet.
    exponent_tolerance : float
        Largest deviation of the logarithmic slope from 1 that passes without a warning.

    Raises
    ------
    ValueError
        If the window holds fewer than three lags.
    """
    lags = result.lag_times
    spacing = float(lags[1] - lags[0])
    duration = spacing * (result.n_frames - 1)
    start, stop = window_ps or diffusive_window({result.species: result}, hop_length=hop_length)
    inside = lags_in_window(lags, start, stop)
    x = lags[inside]
    centred = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    atom_slopes = result.per_atom[:, inside] @ centred
    block_slopes = result.blocks[:, inside] @ centred
    block_slopes = block_slopes[np.isfinite(block_slopes)]
    # Groups of atoms may differ by one in size: the mean over atoms is that of the curve itself.
    slope = float(result.msd[inside] @ centred)
    error, n_samples, method = 0.0, 1, 'none: a single atom and a single stretch'
    if atom_slopes.size > 1:
        error = float(atom_slopes.std(ddof=1) / math.sqrt(atom_slopes.size))
        single = result.n_atoms in (0, atom_slopes.size)
        n_samples, method = int(atom_slopes.size), f'spread over {"" if single else "groups of "}atoms'
    if block_slopes.size > 1:
        block_error = float(block_slopes.std(ddof=1) / math.sqrt(block_slopes.size))
        if block_error > 2 * error:
            error, n_samples, method = block_error, int(block_slopes.size), 'stretches of the run'

    msd = result.msd[inside]
    end = float(msd[-1])
    warnings = []
    exponent, exponent_error = msd_exponent(x, msd)
    if abs(exponent - 1) > exponent_tolerance:
        regime = 'ballistic or still accelerating' if exponent > 1 else 'caged or subdiffusive'
        warnings.append(
            f'{result.species} is not diffusive between {x[0]:g} and {x[-1]:g} ps: MSD grows with the power '
            f'{exponent:.2f} of time ({regime})'
        )
    if end < hop_length**2:
        needed = (hop_length**2 - end) / slope + x[-1] if slope > 0 else math.inf
        advice = (
            f'at this rate the window must reach {needed:.3g} ps and the run {needed / DEFAULT_WINDOW[1]:.3g} ps'
            if math.isfinite(needed) else 'no diffusion is visible in this run'
        )  # fmt: skip
        warnings.append(
            f'the run is too short for {result.species}: its MSD reaches {end:.3g} Å² in the window, less than one '
            f'jump of {hop_length:g} Å squared; {advice}'
        )
    if slope <= 2 * error:
        warnings.append(f'the diffusivity of {result.species} is not distinguished from zero')
    if x[-1] > 0.5 * duration:
        warnings.append('the window passes half of the trajectory, where few independent time origins are left')
    return Diffusion(
        species=result.species, diffusivity=slope / 6 * CM2_PER_S,
        diffusivity_error=error / 6 * CM2_PER_S if error > 0 else math.nan,
        intercept=float(msd.mean() - slope * x.mean()), window_ps=(float(x[0]), float(x[-1])), exponent=exponent,
        exponent_error=exponent_error, msd_at_end=end, n_atoms=result.n_atoms or int(atom_slopes.size),
        n_samples=n_samples, n_frames=result.n_frames, error_method=method, warnings=tuple(warnings),
    )  # fmt: skip


@dataclass(frozen=True)
class Conductivity:
    """Nernst–Einstein conductivity of one species.

    Attributes
    ----------
    species : str
        Element.
    charge : float
        Charge number z.
    conductivity, conductivity_error : float
        mS/cm.
    temperature : float
        K.
    volume : float
        Å³.
    n_ions : int
        Ions in that volume.
    """

    species: str
    charge: float
    conductivity: float
    conductivity_error: float
    temperature: float
    volume: float
    n_ions: int


def nernst_einstein(
    diffusion: Diffusion,
    charge: float,
    *,
    n_ions: int,
    volume: float,
    temperature: float,
    temperature_error: float = 0.0,
    volume_error: float = 0.0,
) -> Conductivity:
    r"""Return the conductivity of independently moving ions.

    .. math:: \sigma = \frac{N z^2 e^2}{V k_\mathrm{B} T} D

    (yang2024, eq. 4 with eq. 1; you2025, Methods); correlations between ions are left out.

    Parameters
    ----------
    diffusion : Diffusion
        Self-diffusion coefficient of the ions.
    charge : float
        Charge number z, the formal oxidation state.
    n_ions : int
        Ions in ``volume``.
    volume, volume_error : float
        Å³.
    temperature, temperature_error : float
        K.

    Raises
    ------
    ValueError
        If volume, temperature or number of ions are not positive.
    """
    if volume <= 0 or temperature <= 0 or n_ions <= 0:
        raise ValueError(f'volume, temperature and ions must be positive: {volume} Å³, {temperature} K, {n_ions}')
    factor = n_ions * (charge * constants.e) ** 2 / (volume * 1e-30 * constants.k * temperature)  # S s / m³
    siemens_per_metre = factor * diffusion.diffusivity * 1e-4
    value = siemens_per_metre * 10.0  # 1 S/m = 10 mS/cm
    per_diffusivity = factor * 1e-3
    error = math.sqrt(
        (per_diffusivity * diffusion.diffusivity_error) ** 2
        + (value * temperature_error / temperature) ** 2
        + (value * volume_error / volume) ** 2
    )
    return Conductivity(diffusion.species, float(charge), value, error, temperature, volume, n_ions)
