"""How a cell narrows when it is pulled: Poisson's ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .mechanics import strain_from_cells
from .statistics import linear_fit

AXES = ('xx', 'yy', 'zz')


@dataclass(frozen=True)
class PoissonRatio:
    """Poisson's ratio of a pull along one axis with free sides.

    Attributes
    ----------
    value, error : float
        Mean of both sides and its standard error: from the residuals, or the difference of the sides if that is larger.
    sides : (float, float)
        The ratio of each side.
    window : (float, float)
        Strains of the fit.
    n_blocks : int
        Independent samples behind the error.
    """

    value: float
    error: float
    sides: tuple[float, float]
    window: tuple[float, float]
    n_blocks: int


def poisson_ratio(
    cells: npt.ArrayLike, component: str, elastic_window: tuple[float, float] = (0.0, 0.02)
) -> PoissonRatio:
    r"""Return Poisson's ratio :math:`\nu = -\mathrm{d}\varepsilon_\perp / \mathrm{d}\varepsilon_\parallel`.

    The slopes of least-squares lines through the strains of the two free sides, with errors for correlated residuals.
    With Young's modulus E of the same pull, the bulk modulus of an isotropic glass is :math:`E / [3 (1 - 2\nu)]` and
    its shear modulus :math:`E / [2 (1 + \nu)]`.

    Parameters
    ----------
    cells : array_like, shape (n_frames, 3, 3)
        Rows are the lattice vectors in LAMMPS orientation, Å.
    component : str
        ``xx``, ``yy`` or ``zz``.
    elastic_window : (float, float)
        Absolute strains of the fit, in tension or compression.

    Raises
    ------
    ValueError
        If the component is a shear, or the window holds fewer than four frames.
    """
    if component not in AXES:
        raise ValueError(f'a cell is pulled along {", ".join(AXES)}, not {component}')
    along = strain_from_cells(cells, component)
    low, high = elastic_window
    elastic = (np.abs(along) >= low - 1e-12) & (np.abs(along) <= high + 1e-12)
    if elastic.sum() < 4:
        raise ValueError(
            f'the elastic window {low:g} … {high:g} holds {int(elastic.sum())} points: four are needed; strain further '
            'or write thermo output more often'
        )
    fits = [
        linear_fit(along[elastic], strain_from_cells(cells, axis)[elastic], correlated=True)
        for axis in AXES
        if axis != component
    ]
    sides = (-fits[0].slope, -fits[1].slope)
    noise = 0.5 * math.hypot(fits[0].slope_error, fits[1].slope_error)
    blocks = elastic.sum() / max(fit.statistical_inefficiency for fit in fits)
    return PoissonRatio(
        value=0.5 * (sides[0] + sides[1]), error=max(noise, 0.5 * abs(sides[0] - sides[1])), sides=sides,
        window=(float(along[elastic].min()), float(along[elastic].max())), n_blocks=max(1, int(blocks)),
    )  # fmt: skip
