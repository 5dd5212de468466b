"""Equation of state: bulk modulus and equilibrium volume from energies at several volumes, with fit errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import curve_fit

Array = npt.NDArray[np.float64]

#: From eV/Å³ to GPa.
GPA = 160.21766208
#: Four parameters and at least two degrees of freedom for their errors.
FEWEST_VOLUMES = 6
#: Derivatives of the bulk modulus of solids lie between about 2 and 8; beyond these the fit follows something else.
DERIVATIVE_RANGE = (1.0, 15.0)


@dataclass(frozen=True)
class EquationOfState:
    """A third-order Birch–Murnaghan curve fitted to energies.

    Attributes
    ----------
    volumes, energies : ndarray, shape (n,)
        The points in the order of their volumes, Å³ and eV.
    energy, energy_error : float
        E0, eV.
    volume, volume_error : float
        V0, Å³.
    bulk_modulus, bulk_modulus_error : float
        B0, GPa.
    derivative, derivative_error : float
        B0', a pure number.
    residual_deviation : float
        Standard deviation of the residuals, eV, with four degrees of freedom taken.
    warnings : tuple of str
        What a careful reader must know.
    """

    volumes: Array
    energies: Array
    energy: float
    energy_error: float
    volume: float
    volume_error: float
    bulk_modulus: float
    bulk_modulus_error: float
    derivative: float
    derivative_error: float
    residual_deviation: float
    warnings: tuple[str, ...]

    def __call__(self, volumes: npt.ArrayLike) -> Array:
        """Return the fitted energies, eV, at volumes in Å³."""
        return birch_murnaghan(volumes, self.energy, self.volume, self.bulk_modulus / GPA, self.derivative)


def birch_murnaghan(
    volumes: npt.ArrayLike, energy: float, volume: float, bulk_modulus: float, derivative: float
) -> Array:
    r"""Return the energy of the third-order Birch–Murnaghan equation of state.

    .. math::
        E(V) = E_0 + \frac{9 V_0 B_0}{16} \left\{ (x - 1)^3 B_0' + (x - 1)^2 (6 - 4 x) \right\},
        \quad x = (V_0 / V)^{2/3}

    (Birch, Phys. Rev. 71, 809 (1947)).

    Parameters
    ----------
    volumes : array_like, shape (n,)
        Å³.
    energy : float
        E0, eV.
    volume : float
        V0, Å³.
    bulk_modulus : float
        B0, eV/Å³.
    derivative : float
        B0'.
    """
    x = (volume / np.asarray(volumes, dtype=float)) ** (2 / 3)
    shape = (x - 1) ** 3 * derivative + (x - 1) ** 2 * (6 - 4 * x)
    return np.asarray(energy + 9 * volume * bulk_modulus / 16 * shape)


def fit_birch_murnaghan(volumes: npt.ArrayLike, energies: npt.ArrayLike) -> EquationOfState:
    """Return the Birch–Murnaghan curve through energies.

    The curve is a cubic polynomial in V^(-2/3), so a linear fit gives where the minimum is; the least-squares fit
    from there gives the errors of the parameters, from the scatter of the points about the curve.

    Parameters
    ----------
    volumes : array_like, shape (n,)
        Volumes of the cell, Å³, in any order.
    energies : array_like, shape (n,)
        Energies of the cell, eV.

    Raises
    ------
    ValueError
        If there are fewer than six different volumes, a number is not finite, or the energy has no minimum between
        the smallest and the largest volume.
    """
    v, e = np.asarray(volumes, dtype=float), np.asarray(energies, dtype=float)
    if v.ndim != 1 or v.shape != e.shape:
        raise ValueError(f'volumes and energies differ in shape: {v.shape} and {e.shape}')
    if not (np.isfinite(v).all() and np.isfinite(e).all()) or (v <= 0).any():
        raise ValueError('an equation of state needs finite energies at positive volumes')
    if np.unique(np.round(v, 6)).size < FEWEST_VOLUMES:
        raise ValueError(
            f'an equation of state needs {FEWEST_VOLUMES} different volumes, there are {np.unique(v.round(6)).size}'
        )
    order = np.argsort(v)
    v, e = v[order], e[order]
    start = _minimum(v, e)
    # The energies of a cell are large against their changes: the fit is done about their minimum.
    offset = float(e.min())
    parameters, covariance = curve_fit(birch_murnaghan, v, e - offset, p0=(start[0] - offset, *start[1:]))
    errors = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
    residuals = e - offset - birch_murnaghan(v, *parameters)
    energy, volume, modulus, derivative = (float(value) for value in parameters)
    warnings = []
    if not DERIVATIVE_RANGE[0] <= derivative <= DERIVATIVE_RANGE[1]:
        warnings.append(
            f'the derivative of the bulk modulus is {derivative:.3g}, outside of what solids have: the curve is not '
            'smooth (a change of structure along it, too few k-points) or too short'
        )
    beside = min(int((v < volume).sum()), int((v > volume).sum()))
    if beside < 2:
        warnings.append(f'only {beside} of the volumes lies beyond the minimum on one side: extend the range there')
    if errors[2] > 0.1 * abs(modulus):
        warnings.append('the points scatter about the curve: the bulk modulus is known to worse than 10 %')
    return EquationOfState(
        volumes=v, energies=e, energy=energy + offset, energy_error=float(errors[0]), volume=volume,
        volume_error=float(errors[1]), bulk_modulus=modulus * GPA, bulk_modulus_error=float(errors[2]) * GPA,
        derivative=derivative, derivative_error=float(errors[3]),
        residual_deviation=float(np.sqrt((residuals**2).sum() / (v.size - 4))), warnings=tuple(warnings),
    )  # fmt: skip


def missing_side(volumes: npt.ArrayLike, energies: npt.ArrayLike, beside: int = 2) -> int:
    """Return on which side of the minimum volumes are missing for an equation of state.

    Parameters
    ----------
    volumes, energies : array_like, shape (n,)
        Å³ and eV; the lowest energy counts as the minimum.
    beside : int
        Volumes that must lie on each side of it.

    Returns
    -------
    int
        -1 for smaller volumes, 1 for larger, 0 if none is missing.
    """
    v, e = np.asarray(volumes, dtype=float), np.asarray(energies, dtype=float)
    lowest = int(np.argmin(e[np.argsort(v)]))
    if lowest < beside:
        return -1
    return 1 if v.size - 1 - lowest < beside else 0


def _minimum(v: Array, e: Array) -> tuple[float, float, float, float]:
    """Return E0 (eV), V0 (Å³), B0 (eV/Å³) and B0' of the cubic in V^(-2/3) through the points."""
    centre = float(v.mean())
    # u is 1 in the middle of the range: powers of it are of one size and the system is well conditioned.
    u = (v / centre) ** (-2 / 3)
    cubic = np.polynomial.Polynomial.fit(u, e, 3).convert()
    slope, curvature, third = cubic.deriv(1), cubic.deriv(2), cubic.deriv(3)
    roots = np.asarray(slope.roots())
    real = roots[np.abs(roots.imag) < 1e-9].real
    inside = [float(root) for root in real if u.min() <= root <= u.max() and curvature(root) > 0]
    if not inside:
        raise ValueError(
            f'the energy has no minimum between {v[0]:.4g} and {v[-1]:.4g} Å³ (it is lowest at '
            f'{v[int(np.argmin(e))]:.4g} Å³): scan volumes around the equilibrium'
        )
    root = inside[0]
    volume = centre * root ** (-3 / 2)
    # With u ∝ V^(-2/3): du/dV = -2u/(3V), so B0 = V E'' = (4/9) u² E_uu / V and, at the minimum,
    # B0' = 4 + (2/3) u E_uuu / E_uu, the latter from B = V d²E/dV² differentiated once more.
    second = float(curvature(root))
    modulus = 4 / 9 * root**2 * second / volume
    derivative = 4 + 2 / 3 * root * float(third(root)) / second
    return float(cubic(root)), volume, modulus, derivative
