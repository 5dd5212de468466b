"""Ionic conductivity with all correlations: self and distinct parts, Haven ratio, transference numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import constants

from .collective import CENTRE_OF_MASS, CollectiveDisplacement
from .coordination import Estimate
from .displacement import MeanSquaredDisplacement
from .slope_errors import larger_error, line_weights, slope_variance_factor, stretches_of
from .time_origins import displacement_products
from .trajectory import Array
from .transport import Diffusion, diffusive_window, lags_in_window, self_diffusion

GAUSSIAN = 'independent Gaussian steps of the collective displacements'
STRETCHES = 'stretches of the run'


@dataclass(frozen=True)
class IonicConductivity:
    r"""Conductivity of all ions with its parts, in mS/cm.

    With the collective displacement :math:`\Delta R_\alpha = \sum_{i \in \alpha} \Delta r_i`, all from slopes in one
    window of lags (yang2024, eqs. 2–7):

    .. math::
        \sigma_\mathrm{tot} = \sum_\alpha (\sigma^s_\alpha + \sigma^d_\alpha)
        + \sum_{\alpha < \beta} 2 \, \mathrm{sign}(z_\alpha z_\beta) \, \sigma^d_{\alpha\beta}

    Attributes
    ----------
    total : Estimate
        :math:`\sigma_\mathrm{tot}` (eq. 2), from the displacement of all charge.
    own : dict of str to Estimate
        :math:`\sigma^s_\alpha` (eq. 4): every ion with itself; of species whose single ions are known.
    distinct : dict of str to Estimate
        :math:`\sigma^d_\alpha` (eq. 5): different ions of one species; of the same species.
    between : dict of (str, str) to Estimate
        :math:`\sigma^d_{\alpha\beta}` (eq. 7) with the charges' absolute values: positive where two species move along.
    nernst_einstein : Estimate
        :math:`\sum_\alpha \sigma^s_\alpha`: ions that do not know of each other; ``nan`` unless all species are known.
    haven_ratio : Estimate
        :math:`H_\mathrm{R} = \sum_\alpha \sigma^s_\alpha / \sigma_\mathrm{tot}`.
    transference : dict of str to Estimate
        Share of the current that a species carries in the frame of reference:
        :math:`t_\alpha = \sum_\beta \mathrm{sign}(z_\alpha z_\beta) \sigma_{\alpha\beta} / \sigma_\mathrm{tot}`.
    diffusion : dict of str to Diffusion
        Self-diffusion in the same window.
    slopes : ndarray, shape (n_species, n_species)
        :math:`\mathrm{d} \langle \Delta R_\alpha \cdot \Delta R_\beta \rangle / \mathrm{d} \tau`, Å²/ps.
    species : tuple of str
        Order of the rows of ``slopes``.
    charges : dict of str to float
        Charge numbers.
    window_ps : (float, float)
        Lags of the fit.
    reference : str
        Frame of reference of ``transference`` and of every part; ``total`` is the same in all of them if the ions
        are neutral together.
    n_frames : int
        Frames of the collective displacements.
    warnings : tuple of str
        Why numbers may not be what they are called.
    """

    total: Estimate
    own: dict[str, Estimate]
    distinct: dict[str, Estimate]
    between: dict[tuple[str, str], Estimate]
    nernst_einstein: Estimate
    haven_ratio: Estimate
    transference: dict[str, Estimate]
    diffusion: dict[str, Diffusion]
    slopes: Array
    species: tuple[str, ...]
    charges: dict[str, float]
    window_ps: tuple[float, float]
    reference: str
    n_frames: int
    warnings: tuple[str, ...]


def conductivity_per_slope(volume: float, temperature: float) -> float:
    r"""Return :math:`e^2 / (6 V k_\mathrm{B} T)` in (mS/cm) / (Å²/ps), for a volume in Å³ and a temperature in K.

    Raises
    ------
    ValueError
        If volume or temperature are not positive.
    """
    if not (volume > 0 and temperature > 0 and math.isfinite(volume) and math.isfinite(temperature)):
        raise ValueError(f'volume and temperature must be positive: {volume} Å³, {temperature} K')
    siemens_per_metre = constants.e**2 / (6 * volume * 1e-30 * constants.k * temperature) * 1e-20 / 1e-12
    return 10.0 * siemens_per_metre


def ionic_conductivity(
    collective: CollectiveDisplacement,
    own: Mapping[str, MeanSquaredDisplacement],
    charges: Mapping[str, float],
    *,
    volume: float,
    temperature: float,
    window_ps: tuple[float, float] | None = None,
    hop_length: float = 2.0,
    partial: bool = False,
) -> IonicConductivity:
    r"""Return the conductivity of all ions with its self and distinct parts and their errors.

    Slopes of the collective displacements have the errors of independent Gaussian steps
    (:func:`~aiida_softclay.analysis.slope_errors.slope_variance_factor`), with
    :math:`\langle \Delta R_\alpha \cdot \Delta R_\beta \rangle / \tau` in the middle of the window in place of the
    slope, so that a displacement that does not grow still has an error. Where stretches of the run differ by more than
    twice that, their scatter is the error.

    Parameters
    ----------
    collective : CollectiveDisplacement
        Of every species that carries charge.
    own : mapping of str to MeanSquaredDisplacement
        Of the same species, in the same frame of reference; from the same run, not necessarily at the same frames.
    charges : mapping of str to float
        Charge numbers z.
    volume : float
        Å³.
    temperature : float
        K.
    window_ps : (float, float), optional
        Lags of the fit, of self and collective parts alike; those of :func:`~.transport.diffusive_window` for all
        species if not given. A collective displacement is a single path, whose slope is known to about a quarter from
        lags of up to a tenth of the run, and to a half only from lags of up to a third.
    hop_length : float
        Length of a jump, for the warning that a species has not diffused, Å.
    partial : bool
        Whether ``own`` may lack species, whose ions were not followed one by one: the total, what species have between
        them and the transference numbers do not need it; the self and distinct parts of these species, the
        Nernst–Einstein sum and the Haven ratio do, and are left out or ``nan``.

    Raises
    ------
    ValueError
        If a charge or a mean squared displacement is missing, the window holds fewer than three lags, or volume or
        temperature are not positive.
    """
    names = collective.species
    _check_inputs(collective, own, charges, partial)
    followed = tuple(name for name in names if name in own)
    factor = conductivity_per_slope(volume, temperature)
    spacing, n_frames = collective.spacing_ps, collective.n_frames
    start, stop = window_ps or diffusive_window({name: own[name] for name in followed}, hop_length=hop_length)
    lag_times = np.arange(n_frames, dtype=float) * spacing
    inside = lags_in_window(lag_times, start, stop)
    lags = lag_times[inside]
    weights = line_weights(lags)
    middle = int(inside[inside.size // 2])

    products = collective.products(int(inside[-1]) + 1)
    slopes = np.tensordot(weights, products[inside], axes=1)
    effective = products[middle] / (middle * spacing)
    kappa = slope_variance_factor(n_frames, int(inside[0]), int(inside[-1]))
    diagonal = np.diag(effective)
    expected = np.sqrt(kappa * (np.outer(diagonal, diagonal) + effective**2))
    pieces = [
        np.tensordot(weights, displacement_products(collective.sums[part], int(inside[-1]) + 1)[inside], axes=1)
        for part in stretches_of(n_frames, int(inside[-1]))
    ]
    stretches = np.array(pieces) if pieces else np.empty((0, *slopes.shape))
    errors = larger_error(expected, stretches)

    z = np.array([float(charges[name]) for name in names])
    size = np.abs(np.outer(z, z)) * factor
    carried, carried_error = size * slopes, size * errors
    n_stretches = len(stretches)

    def estimate(value: float, error: float, from_stretches: bool) -> Estimate:
        samples = n_stretches if from_stretches else max(1, round(1 / kappa))
        return Estimate(float(value), float(error), samples, STRETCHES if from_stretches else GAUSSIAN)

    _check_reach(own, followed, stop)
    self_parts, distinct, diffusion = {}, {}, {}
    warnings: list[str] = []
    for row, name in enumerate(names):
        if name not in own:
            continue
        found = self_diffusion(own[name], (start, stop), hop_length=hop_length)
        diffusion[name] = found
        warnings += found.warnings
        # 6 N D in Å²/ps, from cm²/s.
        per_diffusivity = 6 * collective.counts[row] * 1e4 * factor * z[row] ** 2
        self_value, self_error = found.diffusivity * per_diffusivity, found.diffusivity_error * per_diffusivity
        self_parts[name] = Estimate(self_value, self_error, found.n_samples, found.error_method)
        distinct[name] = estimate(
            carried[row, row] - self_value, _quadrature(carried_error[row, row], self_error),
            errors[row, row] > expected[row, row],
        )  # fmt: skip
    between = {
        (names[a], names[b]): estimate(carried[a, b], carried_error[a, b], errors[a, b] > expected[a, b])
        for a in range(len(names)) for b in range(a + 1, len(names))
    }  # fmt: skip

    charge_path = collective.charge_displacement(charges)[:, None]
    charge_products = displacement_products(charge_path, int(inside[-1]) + 1)[:, 0, 0]
    total_slope = float(weights @ charge_products[inside])
    total_expected = math.sqrt(2 * kappa) * abs(float(z @ effective @ z))
    total_error = float(larger_error(np.array(total_expected), stretches @ z @ z))
    total = estimate(factor * total_slope, factor * total_error, total_error > total_expected)
    independent = _independent(self_parts, names)
    if unknown := [name for name in names if name not in own]:
        warnings.append(
            f'the ions of {", ".join(unknown)} were not followed one by one: their self parts are not known, and so '
            'neither is the Nernst–Einstein sum nor the Haven ratio'
        )
    if not total.value > 2 * total.error:
        warnings.append(
            'the total conductivity is not distinguished from zero: Haven ratio and transference numbers mean nothing'
        )
    if len(names) == 2 and collective.reference == CENTRE_OF_MASS:
        warnings.append(
            f'relative to the centre of mass, the transference numbers of {names[0]} and {names[1]} follow from their '
            'masses alone: take another frame of reference'
        )
    excess = float(sum(count * charge for count, charge in zip(collective.counts, z, strict=True)))
    if abs(excess) > 1e-6 * float(np.abs(z) @ np.array(collective.counts)):
        warnings.append(
            f'the charges of {", ".join(names)} sum to {excess:+g}: the total conductivity depends on the frame of '
            f'reference ({collective.reference}) and lacks a species'
        )
    return IonicConductivity(
        total=total, own=self_parts, distinct=distinct, between=between, nernst_einstein=independent,
        haven_ratio=_ratio(independent, total), transference=_transference(names, z, slopes, effective, kappa, total),
        diffusion=diffusion, slopes=slopes, species=names, charges={name: float(charges[name]) for name in names},
        window_ps=(float(lags[0]), float(lags[-1])), reference=collective.reference, n_frames=n_frames,
        warnings=tuple(warnings),
    )  # fmt: skip


def _independent(self_parts: Mapping[str, Estimate], names: tuple[str, ...]) -> Estimate:
    if set(self_parts) != set(names):
        return Estimate(math.nan, math.nan, 0, 'not all self parts are known')
    return Estimate(
        sum(part.value for part in self_parts.values()), _quadrature(*(part.error for part in self_parts.values())),
        min(part.n_samples for part in self_parts.values()), 'self parts in quadrature',
    )  # fmt: skip


def _check_inputs(
    collective: CollectiveDisplacement, own: Mapping[str, MeanSquaredDisplacement], charges: Mapping[str, float],
    partial: bool,
) -> None:  # fmt: skip
    for what, known in (('charge', charges), ('mean squared displacement', own)):
        missing = [name for name in collective.species if name not in known]
        if missing and not (partial and known is own and len(missing) < len(collective.species)):
            raise ValueError(f'no {what} was given for {", ".join(missing)}')
    for row, name in enumerate(collective.species):
        if name in own and own[name].n_atoms and own[name].n_atoms != collective.counts[row]:
            raise ValueError(
                f'the mean squared displacement of {name} is of {own[name].n_atoms} atoms, its collective displacement '
                f'of {collective.counts[row]}: take both from one system'
            )


def _check_reach(own: Mapping[str, MeanSquaredDisplacement], names: tuple[str, ...], stop: float) -> None:
    for name in names:
        lags = own[name].lag_times
        if lags[-1] < stop - 1.5 * lags[1]:
            raise ValueError(
                f'the mean squared displacement of {name} reaches lags of {lags[-1]:g} ps, the window {stop:g} ps: '
                'self and collective parts must have one window'
            )


def _quadrature(*errors: float) -> float:
    known = [error for error in errors if math.isfinite(error)]
    return math.hypot(*known) if known else math.nan


def _ratio(numerator: Estimate, denominator: Estimate) -> Estimate:
    if not math.isfinite(numerator.value):
        return Estimate(math.nan, math.nan, 0, numerator.method)
    if denominator.value <= 0:
        return Estimate(math.nan, math.nan, denominator.n_samples, 'the total is not positive')
    value = numerator.value / denominator.value
    error = _quadrature(numerator.error / denominator.value, value * denominator.error / denominator.value)
    return Estimate(value, error, denominator.n_samples, denominator.method)


def _transference(
    names: tuple[str, ...], z: Array, slopes: Array, effective: Array, kappa: float, total: Estimate
) -> dict[str, Estimate]:
    """Return the share of the current of each species; numerator and denominator share their noise."""
    current, noise = slopes * np.outer(z, z), effective * np.outer(z, z)
    sums, whole = current.sum(axis=1), float(current.sum())
    if whole <= 0:
        return {name: Estimate(math.nan, math.nan, total.n_samples, 'the total is not positive') for name in names}
    per_species, all_together = noise.sum(axis=1), float(noise.sum())
    shares = {}
    for row, name in enumerate(names):
        value = float(sums[row] / whole)
        # Cov(s_xy, s_uv) = κ (s_xu s_yv + s_xv s_yu) with x the species and y = u = v all charge together.
        variance = noise[row, row] * all_together + per_species[row] ** 2
        covariance = 2 * per_species[row] * all_together
        squared = variance - 2 * value * covariance + 2 * value**2 * all_together**2
        error = math.sqrt(max(kappa * squared, 0.0)) / whole
        # Where stretches say that the total is less certain than its model, so are the shares.
        model = math.sqrt(2 * kappa) * all_together / whole
        scale = max(1.0, total.error / total.value / model) if total.method == STRETCHES and model > 0 else 1.0
        shares[name] = Estimate(value, scale * error, total.n_samples, total.method)
    return shares
