"""Partial and total structure factors from radial distribution functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .class_rdf import RadialDistribution
from .scattering import Radiation, pair_weights
from .trajectory import Array


@dataclass(frozen=True)
class StructureFactor:
    """Faber–Ziman partial structure factors.

    Attributes
    ----------
    q : ndarray, shape (n_q,)
        Å⁻¹.
    pairs : tuple of (str, str)
        Elements, one pair for each row of the arrays below.
    partial : ndarray, shape (n_pairs, n_q)
        Partial structure factors; 1 for an ideal gas and for large q.
    partial_error : ndarray, shape (n_pairs, n_q)
        Their standard errors, from those of g(r) taken as independent from bin to bin.
    composition : dict of str to float
        Share of the atoms of each element.
    r_max : float
        Where g(r) ended, Å: features narrower than π / r_max in q are not resolved.
    """

    q: Array
    pairs: tuple[tuple[str, str], ...]
    partial: Array
    partial_error: Array
    composition: dict[str, float]
    r_max: float

    def total(self, radiation: Radiation) -> tuple[Array, Array]:
        r"""Return the total structure factor and its standard error, shape (n_q,) each.

        .. math:: S(q) = \sum_{a \le b} w_{ab}(q)\, A_{ab}(q)

        with the weights of :func:`~aiida_softclay.analysis.scattering.pair_weights`.

        Raises
        ------
        ValueError
            If a pair of elements is missing, or q is beyond the tables.
        """
        weights = pair_weights(self.composition, self.pairs, radiation, self.q)
        error = np.sqrt(((weights * self.partial_error) ** 2).sum(axis=0))
        return (weights * self.partial).sum(axis=0), error


def structure_factor(
    distribution: RadialDistribution, composition: Mapping[str, float], q: npt.ArrayLike, window: bool = True
) -> StructureFactor:
    r"""Return the partial structure factors of radial distribution functions.

    .. math::
        A_{ab}(q) = 1 + 4 \pi \rho \int_0^{R} r^2\, [g_{ab}(r) - 1]\, \frac{\sin qr}{qr}\, L(r)\, \mathrm{d}r

    (Faber and Ziman, Phil. Mag. 11, 153 (1965)), integrated exactly for a g(r) that is constant within each bin. The
    window :math:`L(r) = \sin(\pi r / R) / (\pi r / R)` takes the ripples off that a g(r) which ends at R leaves behind,
    at the price of broader peaks (Lorch, J. Phys. C 2, 229 (1969)).

    Parameters
    ----------
    distribution : RadialDistribution
        Partial g(r), up to half the smallest height of the cell if possible.
    composition : mapping of str to float
        Share, or number, of the atoms of each element.
    q : array_like, shape (n_q,)
        Å⁻¹, positive.
    window : bool
        Whether to apply the window L.

    Raises
    ------
    ValueError
        If q is not positive and finite, or finer than the bins of g(r) allow.
    """
    points = np.asarray(q, dtype=float)
    edges = distribution.edges
    width = float(edges[1] - edges[0])
    if points.ndim != 1 or not points.size or not np.isfinite(points).all() or points.min() <= 0:
        raise ValueError('q must be a row of positive numbers in Å⁻¹')
    if points.max() * width > math.pi:
        raise ValueError(
            f'g(r) in bins of {width:g} Å says nothing beyond q = {math.pi / width:.3g} Å⁻¹: take narrower bins'
        )
    total = sum(composition.values())
    # ∫ r sin(qr) dr over each bin, divided by q.
    antiderivative = np.sin(points[:, None] * edges) / points[:, None] ** 2
    antiderivative -= edges * np.cos(points[:, None] * edges) / points[:, None]
    kernel = 4 * math.pi * distribution.density * np.diff(antiderivative, axis=1) / points[:, None]
    if window:
        kernel *= np.sinc(distribution.radii / edges[-1])
    return StructureFactor(
        q=points, pairs=distribution.pairs, partial=1 + (distribution.g - 1) @ kernel.T,
        partial_error=np.sqrt(distribution.g_error**2 @ kernel.T**2),
        composition={symbol: share / total for symbol, share in composition.items()}, r_max=float(edges[-1]),
    )  # fmt: skip
