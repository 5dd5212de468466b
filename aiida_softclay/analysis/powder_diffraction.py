"""Powder patterns of crystals for X-rays and neutrons."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from pymatgen.analysis.diffraction.neutron import NDCalculator
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from .scattering import Radiation
from .trajectory import Array


@dataclass(frozen=True)
class PowderPattern:
    """Reflections of a crystalline powder.

    Attributes
    ----------
    two_theta : ndarray, shape (n_peaks,)
        Scattering angles 2θ, degrees.
    intensity : ndarray, shape (n_peaks,)
        Integrated intensities with multiplicity and Lorentz factor (and polarisation for X-rays); the largest is 100.
    spacings : ndarray, shape (n_peaks,)
        Distances of the lattice planes, Å.
    reflections : tuple of str
        Indices of the families of planes of each peak, for example ``200``.
    wavelength : float
        Å.
    """

    two_theta: Array
    intensity: Array
    spacings: Array
    reflections: tuple[str, ...]
    wavelength: float

    def profile(self, two_theta: npt.ArrayLike, width: float = 0.15) -> Array:
        """Return the pattern on a grid of angles, every reflection a Gaussian of one full width at half maximum.

        Parameters
        ----------
        two_theta : array_like, shape (n,)
            Degrees.
        width : float
            Full width at half maximum, degrees.

        Raises
        ------
        ValueError
            If the width is not positive.
        """
        if not width > 0:
            raise ValueError(f'the width of the reflections must be positive, it is {width}°')
        sigma = width / math.sqrt(8 * math.log(2))
        grid = np.asarray(two_theta, dtype=float)
        shapes = np.exp(-0.5 * ((grid[:, None] - self.two_theta) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
        return np.asarray(shapes @ self.intensity)


def powder_pattern(
    crystal: Atoms | Structure,
    radiation: Radiation = 'x-ray',
    wavelength: float | str = 'CuKa1',
    two_theta: tuple[float, float] = (10.0, 90.0),
) -> PowderPattern:
    """Return the powder pattern of a crystal at rest.

    Bragg's law and the kinematic intensities of pymatgen (De Graef and McHenry, Structure of Materials, 2nd ed.,
    chapters 11 and 12).

    Parameters
    ----------
    crystal : Atoms or Structure
        Periodic in all directions.
    radiation : {'x-ray', 'neutron'}
        What is scattered.
    wavelength : float or str
        Å, or the name of an X-ray line, for example ``CuKa1``.
    two_theta : (float, float)
        Range of angles, degrees.

    Raises
    ------
    ValueError
        If the range, the wavelength or the radiation makes no sense, or no reflection lies in the range.
    """
    if not 0 < two_theta[0] < two_theta[1] <= 180:
        raise ValueError(f'the angles must rise between 0 and 180°, they are {two_theta[0]:g} … {two_theta[1]:g}°')
    if radiation not in {'x-ray', 'neutron'}:
        raise ValueError(f'`{radiation}` is not known: it is `x-ray` or `neutron`')
    if isinstance(crystal, Atoms):
        if not crystal.pbc.all():
            raise ValueError('a powder pattern is of a crystal: the cell must be periodic in all directions')
        crystal = AseAtomsAdaptor.get_structure(crystal)
    if radiation == 'neutron' and isinstance(wavelength, str):
        raise ValueError(f'the wavelength of neutrons must be a number in Å, not `{wavelength}`')
    if not isinstance(wavelength, str) and not wavelength > 0:
        raise ValueError(f'the wavelength must be positive, it is {wavelength} Å')
    calculator = XRDCalculator(wavelength) if radiation == 'x-ray' else NDCalculator(wavelength)
    found = calculator.get_pattern(crystal, scaled=True, two_theta_range=two_theta)
    if not len(found.x):
        raise ValueError(f'no reflection lies between {two_theta[0]:g} and {two_theta[1]:g}°')
    names = tuple(' '.join(''.join(map(str, plane['hkl'])) for plane in planes) for planes in found.hkls)
    return PowderPattern(
        np.asarray(found.x, dtype=float), np.asarray(found.y, dtype=float), np.asarray(found.d_hkls, dtype=float),
        names, float(calculator.wavelength),
    )  # fmt: skip
