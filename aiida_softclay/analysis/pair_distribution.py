"""The reduced pair distribution function G(r) as total scattering measures it, and fits of phases to a measured one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import nnls

from .class_rdf import RadialDistribution
from .scattering import Radiation, pair_weights
from .trajectory import Array

#: Fewest points that a fit of scales may rest on, for each phase.
POINTS_PER_PHASE = 10


def broadened(distribution: RadialDistribution, displacement: float) -> RadialDistribution:
    """Return the distribution of a structure at rest as if its atoms moved without correlation.

    Every distance is spread by a Gaussian of the variance 2 u², and r g(r) is what a Gaussian moves along (Proffen and
    Billinge, J. Appl. Cryst. 32, 572 (1999)). The running coordination stays that of the structure at rest.

    Parameters
    ----------
    distribution : RadialDistribution
        Of a crystal at rest, in narrow bins.
    displacement : float
        Root mean square displacement u of an atom along one direction, Å.

    Raises
    ------
    ValueError
        If the displacement is not positive or the bins are too wide to show it.
    """
    width = float(distribution.edges[1] - distribution.edges[0])
    sigma = math.sqrt(2.0) * displacement
    if not displacement > 0 or sigma < width:
        raise ValueError(f'bins of {width:g} Å cannot show displacements of {displacement:g} Å: take narrower bins')
    radial = distribution.radii * (distribution.g - 1)
    # Beyond its end the distribution is taken as 1; below zero r [g - 1] goes on as an odd function.
    doubled = np.concatenate([-radial[:, ::-1], radial], axis=1)
    smooth = gaussian_filter1d(doubled, sigma / width, axis=1, mode='constant')[:, radial.shape[1] :]
    return replace(distribution, g=1 + smooth / distribution.radii)


def reduced_distribution(
    distribution: RadialDistribution,
    composition: Mapping[str, float],
    radiation: Radiation,
    q_max: float | None = None,
    q_damp: float = 0.0,
) -> Array:
    r"""Return the reduced pair distribution function G(r) at the bins of g(r).

    .. math:: G(r) = 4 \pi \rho\, r \Big[ \sum_{a \le b} w_{ab}\, g_{ab}(r) - 1 \Big]\, e^{-(r q_\mathrm{damp})^2 / 2}

    with the weights at q = 0 (Peterson et al., J. Appl. Cryst. 54, 317 (2021), and what PDFgui compares with). A
    measurement that ends at ``q_max`` shows it convoluted with :math:`\sin(q_\mathrm{max} r) / \pi r`.

    Parameters
    ----------
    distribution : RadialDistribution
        Partial g(r) of every pair of elements.
    composition : mapping of str to float
        Share, or number, of the atoms of each element.
    radiation : {'x-ray', 'neutron'}
        What is scattered.
    q_max : float, optional
        End of the measurement, Å⁻¹; none if not given.
    q_damp : float
        Resolution of the instrument, Å⁻¹.

    Returns
    -------
    ndarray, shape (n_bins,)
        Å⁻².

    Raises
    ------
    ValueError
        If a pair is missing, or the bins are wider than ``q_max`` resolves.
    """
    weights = pair_weights(composition, distribution.pairs, radiation)
    r = distribution.radii
    curve = 4 * math.pi * distribution.density * r * (weights @ distribution.g - 1)
    if q_max is not None:
        width = float(distribution.edges[1] - distribution.edges[0])
        if not 0 < q_max <= math.pi / width:
            raise ValueError(f'bins of {width:g} Å carry q up to {math.pi / width:.3g} Å⁻¹, not {q_max:g} Å⁻¹')
        # G is odd: the image below zero takes part in the convolution.
        kernel = np.sinc(q_max * (r[:, None] - r) / math.pi) - np.sinc(q_max * (r[:, None] + r) / math.pi)
        curve = kernel @ curve * q_max / math.pi * width
    return np.asarray(curve * np.exp(-0.5 * (r * q_damp) ** 2))


def from_structure_factor(q: npt.ArrayLike, total: npt.ArrayLike, radii: npt.ArrayLike) -> Array:
    r"""Return the reduced pair distribution function of a structure factor, as a measurement is evaluated.

    .. math:: G(r) = \frac{2}{\pi} \int_{q_\mathrm{min}}^{q_\mathrm{max}} q\, [S(q) - 1] \sin(qr)\, \mathrm{d}q

    Parameters
    ----------
    q, total : array_like, shape (n_q,)
        Å⁻¹, increasing, and S(q).
    radii : array_like, shape (n_r,)
        Å.

    Raises
    ------
    ValueError
        If the curves do not fit each other, are not finite, or are too coarse for these distances.
    """
    points, values, r = (np.asarray(array, dtype=float) for array in (q, total, radii))
    if points.ndim != 1 or points.shape != values.shape or points.size < 2 or (np.diff(points) <= 0).any():
        raise ValueError('q must increase and have one value of S(q) each')
    if not (np.isfinite(points).all() and np.isfinite(values).all() and np.isfinite(r).all()):
        raise ValueError('S(q) contains values that are not finite')
    if float(np.diff(points).max()) * float(r.max()) > math.pi:
        raise ValueError(f'q in steps of {np.diff(points).max():.3g} Å⁻¹ says nothing about {r.max():g} Å')
    return np.asarray(2 / math.pi * np.trapezoid(points * (values - 1) * np.sin(np.outer(r, points)), points, axis=1))


def weighted_residual(observed: npt.ArrayLike, calculated: npt.ArrayLike, weights: npt.ArrayLike = 1.0) -> float:
    r"""Return the weighted residual of two curves.

    .. math:: R_w = \sqrt{\sum_i w_i (o_i - c_i)^2 \Big/ \sum_i w_i o_i^2}

    (Proffen and Billinge, J. Appl. Cryst. 32, 572 (1999)); 0 for equal curves, 1 for a flat calculated one.

    Raises
    ------
    ValueError
        If the curves differ in shape, are not finite, or nothing was observed.
    """
    o, c = np.asarray(observed, dtype=float), np.asarray(calculated, dtype=float)
    if o.shape != c.shape or not (np.isfinite(o).all() and np.isfinite(c).all()):
        raise ValueError('the observed and the calculated curve must be finite and on the same grid')
    w = np.broadcast_to(np.asarray(weights, dtype=float), o.shape)
    norm = float((w * o**2).sum())
    if norm <= 0:
        raise ValueError('the observed curve is zero everywhere')
    return math.sqrt(float((w * (o - c) ** 2).sum()) / norm)


@dataclass(frozen=True)
class PhaseFit:
    """A measured G(r) as a sum of phases.

    Attributes
    ----------
    scales, scale_errors : dict of str to float
        Scale of the curve of each phase and its standard error.
    residual : float
        Weighted residual R_w.
    calculated : ndarray, shape (n_r,)
        The sum, at all points that were given.
    n_independent : float
        Independent points behind the errors.
    covariance : ndarray, shape (n_phases, n_phases)
        Of the scales, in their order.
    """

    scales: dict[str, float]
    scale_errors: dict[str, float]
    residual: float
    calculated: Array
    n_independent: float
    covariance: Array

    def fractions(
        self, mean_scattering: Mapping[str, float], atoms_per_formula: Mapping[str, float]
    ) -> dict[str, float]:
        r"""Return the share of formula units of each phase.

        A phase of :math:`N_i` atoms adds :math:`N_i \langle b \rangle_i^2\, G_i` to the measured curve, so its formula
        units are in proportion to the scale over :math:`n_i \langle b \rangle_i^2`; 1 atom per formula unit gives the
        share of atoms.

        Parameters
        ----------
        mean_scattering : mapping of str to float
            Mean scattering length of each phase (:func:`~aiida_softclay.analysis.scattering.mean_scattering_length`).
        atoms_per_formula : mapping of str to float
            Atoms in a formula unit of each phase.
        """
        amounts = {name: scale / mean_scattering[name] ** 2 / atoms_per_formula[name]
                   for name, scale in self.scales.items()}  # fmt: skip
        total = sum(amounts.values())
        return {name: amount / total for name, amount in amounts.items()}

    def fraction_errors(
        self, mean_scattering: Mapping[str, float], atoms_per_formula: Mapping[str, float]
    ) -> dict[str, float]:
        r"""Return the standard errors of :meth:`fractions`, with the scales as correlated as the fit leaves them.

        The amounts are :math:`a_i = g_i s_i`, so that :math:`\partial x_i / \partial s_k = g_k (\delta_{ik} - x_i) / A`
        with their sum A.
        """
        names = list(self.scales)
        per_scale = np.array([1 / mean_scattering[name] ** 2 / atoms_per_formula[name] for name in names])
        shares = np.array(list(self.fractions(mean_scattering, atoms_per_formula).values()))
        total = float(per_scale @ np.array(list(self.scales.values())))
        slopes = (np.eye(len(names)) - shares[:, None]) * per_scale / total
        variances = np.einsum('ik,kl,il->i', slopes, self.covariance, slopes)
        return dict(zip(names, np.sqrt(variances).tolist(), strict=True))


def fit_phases(
    radii: npt.ArrayLike,
    observed: npt.ArrayLike,
    phases: Mapping[str, npt.ArrayLike],
    r_min: float = 1.0,
    r_max: float = math.inf,
    q_max: float | None = None,
) -> PhaseFit:
    r"""Return the scales, none negative, with which the curves of phases add up to a measured one.

    Least squares between ``r_min`` and ``r_max`` (you2025 fits LAOC and LiCl in this way, 88:12 with R_w 0.248). The
    errors come from the scatter of the residuals over the points that are independent: a curve measured up to
    ``q_max`` has one for each :math:`\pi / q_\mathrm{max}` (Farrow et al., Phys. Rev. B 84, 134105 (2011)).

    Parameters
    ----------
    radii, observed : array_like, shape (n_r,)
        Å, equally spaced, and G(r).
    phases : mapping of str to array_like, shape (n_r,)
        G(r) of each phase on the same grid, with the same ``q_max`` and damping as the measured one.
    r_min, r_max : float
        Range of the fit, Å.
    q_max : float, optional
        End of the measurement, Å⁻¹; every point counts as independent if not given.

    Raises
    ------
    ValueError
        If curves do not fit each other, are not finite or not independent, or the range is too short.
    """
    r, target = np.asarray(radii, dtype=float), np.asarray(observed, dtype=float)
    if not phases:
        raise ValueError('no phase was given')
    table = np.array([np.asarray(curve, dtype=float) for curve in phases.values()])
    if r.ndim != 1 or target.shape != r.shape or table.shape != (len(phases), r.size):
        raise ValueError(f'the measured curve and those of the phases must share one grid of {r.size} distances')
    if not (np.isfinite(target).all() and np.isfinite(table).all()):
        raise ValueError('a curve contains values that are not finite')
    inside = (r >= r_min) & (r <= r_max)
    n_points = int(inside.sum())
    if n_points < POINTS_PER_PHASE * len(phases):
        raise ValueError(f'{n_points} points between {r_min:g} and {r_max:g} Å are too few for {len(phases)} phases')
    design = table[:, inside].T
    if np.linalg.matrix_rank(design) < len(phases):
        raise ValueError('the curves of the phases are not independent: their scales cannot be told apart')
    scales, _ = nnls(design, target[inside])
    n_independent = float(n_points)
    if q_max is not None:
        n_independent = min(n_independent, float(r[inside][-1] - r[inside][0]) * q_max / math.pi)
    rest = target[inside] - design @ scales
    freedom = n_independent - len(phases)
    variance = float((rest**2).mean()) * n_independent / freedom if freedom > 0 else math.nan
    covariance = variance * np.linalg.inv(design.T @ design) * n_points / n_independent
    return PhaseFit(
        scales=dict(zip(phases, scales.tolist(), strict=True)),
        scale_errors=dict(zip(phases, np.sqrt(np.diag(covariance)).tolist(), strict=True)),
        residual=weighted_residual(target[inside], design @ scales), calculated=table.T @ scales,
        n_independent=n_independent, covariance=covariance,
    )  # fmt: skip
