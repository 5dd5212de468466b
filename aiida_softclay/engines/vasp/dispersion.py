r"""Grimme's pairwise dispersion, as VASP adds it on IVDW: D2 here, D3 by the ``dftd3`` package.

DFT-D2 (S. Grimme, J. Comput. Chem. 27, 1787 (2006)):

.. math:: E = -\frac{s_6}{2} \sum_{ij\mathbf{L}}' \frac{C_{6ij}}{r^6}
          \frac{1}{1 + e^{-d (r / (s_R R_{ij}) - 1)}},\quad C_{6ij} = \sqrt{C_{6i} C_{6j}},\quad R_{ij} = R_i + R_j

Since the coefficients of pairs are products of coefficients of atoms, the undamped sum over all periodic images is
computed by Ewald's method (N. Karasawa and W. A. Goddard, J. Phys. Chem. 93, 7320 (1989)), and the damping, which
differs from one only at short distance, in real space. VASP truncates the sum at VDW_RADIUS = 50 Å; the tail beyond is
included here, unless VDW_RADIUS is given, in which case the plain sum is truncated there.
"""

from __future__ import annotations

import math

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols
from scipy.special import erfc

from aiida_softclay.engines.vasp.errors import CalculatorError, InputError
from aiida_softclay.engines.vasp.neighbours import neighbour_pairs

#: eV Å^6 for one J nm^6 / mol.
C6_UNIT = 1.0e6 / 96485.33212

# C6 in J nm^6 / mol and R0 in Å, table 1 of Grimme (2006): hydrogen to xenon.
_GRIMME_2006 = """
H 0.14 1.001 He 0.08 1.012 Li 1.61 0.825 Be 1.61 1.408 B 3.13 1.485 C 1.75 1.452 N 1.23 1.397 O 0.70 1.342 F 0.75 1.287
Ne 0.63 1.243 Na 5.71 1.144 Mg 5.71 1.364 Al 10.79 1.639 Si 9.23 1.716 P 7.84 1.705 S 5.57 1.683 Cl 5.07 1.639
Ar 4.61 1.595 K 10.80 1.485 Ca 10.80 1.474 Sc 10.80 1.562 Ti 10.80 1.562 V 10.80 1.562 Cr 10.80 1.562 Mn 10.80 1.562
Fe 10.80 1.562 Co 10.80 1.562 Ni 10.80 1.562 Cu 10.80 1.562 Zn 10.80 1.562 Ga 16.99 1.650 Ge 17.10 1.727 As 16.37 1.760
Se 12.64 1.771 Br 12.47 1.749 Kr 12.01 1.727 Rb 24.67 1.628 Sr 24.67 1.606 Y 24.67 1.639 Zr 24.67 1.639 Nb 24.67 1.639
Mo 24.67 1.639 Tc 24.67 1.639 Ru 24.67 1.639 Rh 24.67 1.639 Pd 24.67 1.639 Ag 24.67 1.639 Cd 24.67 1.639 In 37.32 1.672
Sn 38.71 1.804 Sb 38.44 1.881 Te 31.74 1.892 I 31.50 1.892 Xe 29.99 1.881
"""
_TABLE = _GRIMME_2006.split()
D2_PARAMETERS = {
    symbol: (float(c6), float(r0)) for symbol, c6, r0 in zip(_TABLE[::3], _TABLE[1::3], _TABLE[2::3], strict=True)
}

#: s6 of D2 for PBE, the functional of the data on which CHGNet was trained and the default of VASP.
D2_S6_PBE = 0.75


class GrimmeD2(Calculator):
    """DFT-D2 dispersion of a periodic system.

    Parameters
    ----------
    s6, d, sr : float
        Global scaling, steepness and range of the damping; the defaults are those of VASP for PBE.
    parameters : dict, optional
        ``{symbol: (C6 in J nm^6/mol, R0 in Å)}`` that replace the published ones.
    cutoff : float, optional
        Truncate the plain sum at this distance (Å); by default all periodic images are summed.
    """

    implemented_properties = ('energy', 'free_energy', 'forces', 'stress')

    #: Where the real-space part ends (Å), and how far exp(-(r/eta)^2) has fallen there.
    real_space_cutoff = 9.0
    decay = 4.6

    def __init__(self, s6=D2_S6_PBE, d=20.0, sr=1.0, parameters=None, cutoff=None):
        super().__init__()
        self.s6, self.d, self.sr, self.cutoff = s6, d, sr, cutoff
        self.table = {**D2_PARAMETERS, **(parameters or {})}

    def _coefficients(self, symbols: list[str]) -> tuple[np.ndarray, np.ndarray]:
        missing = sorted(set(symbols) - set(self.table))
        if missing:
            raise InputError(
                f'IVDW = 10: there are no published D2 parameters for {", ".join(missing)}; '
                'give VDW_C6 and VDW_R0 for every species, or use D3 (IVDW = 11 or 12)'
            )
        c6, r0 = np.array([self.table[symbol] for symbol in symbols]).T
        return np.sqrt(c6 * C6_UNIT), r0

    def calculate(self, atoms=None, properties=('energy',), system_changes=all_changes):
        """Compute energy (eV), forces (eV/Å) and stress (eV/Å^3, tension positive) of all periodic images."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        if not atoms.pbc.all():
            raise CalculatorError('the D2 dispersion needs three periodic directions')
        symbols = [chemical_symbols[number] for number in atoms.numbers]
        b, r0 = self._coefficients(symbols)
        cell, positions = atoms.cell.array, atoms.positions
        volume = atoms.get_volume()
        cutoff = self.cutoff or self.real_space_cutoff
        i, j, vectors, r = neighbour_pairs(positions, cell, cutoff)
        pair, radius = b[i] * b[j], (r0[i] + r0[j]) * self.sr
        inverse6 = r**-6
        damping = 1.0 / (1.0 + np.exp(np.minimum(-self.d * (r / radius - 1.0), 700.0)))
        damping_slope = self.d / radius * damping * (1.0 - damping)
        if self.cutoff:
            kernel, slope = inverse6 * damping, inverse6 * (damping_slope - 6.0 * damping / r)
            energy, forces, virial = 0.0, np.zeros_like(positions), np.zeros((3, 3))
        else:
            eta = cutoff / self.decay
            a2 = (r / eta) ** 2
            gauss = np.exp(-a2)
            kernel = inverse6 * ((1.0 + a2 + 0.5 * a2 * a2) * gauss + damping - 1.0)
            slope = -6.0 * kernel / r + inverse6 * (damping_slope - a2**3 * gauss / r)
            energy, forces, virial = self._reciprocal(b, positions, cell, volume, eta)
        energy = -self.s6 * (energy + 0.5 * float(pair @ kernel))
        # Each pair is listed from both ends; the force on atom i is -dE/dr_i with r pointing from i to j.
        weight = (pair * slope / r)[:, None] * vectors
        pair_forces = np.zeros_like(positions)
        np.add.at(pair_forces, i, weight)
        forces = -self.s6 * (forces + pair_forces)
        virial = -self.s6 * (virial + 0.5 * weight.T @ vectors)
        stress = virial / volume
        self.results = {
            'energy': energy, 'free_energy': energy, 'forces': forces,
            'stress': stress.ravel()[[0, 4, 8, 5, 2, 1]],
        }  # fmt: skip

    def _reciprocal(self, b, positions, cell, volume, eta):
        """Return the reciprocal part of sum b_i b_j / r^6: energy, forces, and its derivative by strain."""
        limit = 2.0 * self.decay / eta
        reciprocal = 2.0 * np.pi * np.linalg.inv(cell).T
        n = np.floor(limit * np.linalg.norm(cell, axis=1) / (2.0 * np.pi)).astype(int)
        grid = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in n], indexing='ij'), axis=-1).reshape(-1, 3)
        # h and -h are equal: keep the half that comes after the origin in this ordering.
        h = grid[len(grid) // 2 + 1 :] @ reciprocal
        length = np.linalg.norm(h, axis=1)
        h, length = h[length < limit], length[length < limit]
        x = 0.5 * length * eta
        gauss = np.exp(-x * x)
        tail = math.sqrt(math.pi) * erfc(x)
        weight = length**3 * (tail + (0.5 / x**3 - 1.0 / x) * gauss)
        weight_slope = 3.0 * length**2 * (tail - gauss / x)
        phase = positions @ h.T
        cosine, sine = np.cos(phase), np.sin(phase)
        real, imaginary = b @ cosine, b @ sine
        square = real**2 + imaginary**2
        prefactor = 2.0 * math.pi**1.5 / (24.0 * volume)
        total = b.sum()
        origin = math.pi**1.5 / (6.0 * volume * eta**3) * total**2
        energy_h = prefactor * float(weight @ square)
        energy = energy_h + origin - float(b @ b) / (12.0 * eta**6)
        # dE/dr_i = 2 prefactor b_i sum_h w (Im S cos - Re S sin) h
        forces = -2.0 * prefactor * b[:, None] * ((weight * (imaginary * cosine - real * sine)) @ h)
        virial = -prefactor * (h * (square * weight_slope / length)[:, None]).T @ h - np.eye(3) * (energy_h + origin)
        return energy, forces, virial


def make_d2(symbols: list[str], options: dict) -> GrimmeD2:
    """Return the D2 calculator that the VDW tags of INCAR ask for; ``symbols`` are the species of POTCAR."""
    parameters = {}
    for tag, index in (('c6', 0), ('r0', 1)):
        if tag in options:
            if len(options[tag]) != len(symbols):
                raise InputError(f'INCAR: VDW_{tag.upper()} must hold {len(symbols)} values, one for each species')
            for symbol, value in zip(symbols, options[tag], strict=True):
                entry = list(parameters.get(symbol, D2_PARAMETERS.get(symbol, (0.0, 1.0))))
                entry[index] = value
                parameters[symbol] = tuple(entry)
    return GrimmeD2(
        s6=options.get('s6', D2_S6_PBE), d=options.get('d', 20.0), sr=options.get('sr', 1.0), parameters=parameters,
        cutoff=options.get('radius'),
    )  # fmt: skip


#: Cutoff of the pairs in D3 (Å) unless VDW_RADIUS is given; the default of VASP.
D3_RADIUS = 50.2
#: Cutoff of the coordination numbers (Å) unless VDW_CNRADIUS is given; the default of VASP.
D3_CN_RADIUS = 20.0


def make_d3(damping: str, options: dict):
    """Return a D3 calculator for PBE without three-body terms, as in VASP.

    Raises
    ------
    CalculatorError
        If the ``dftd3`` package is not installed.
    """
    try:
        from dftd3.ase import DFTD3
    except ImportError as error:
        raise CalculatorError(
            'IVDW = 11 and 12 need the package dftd3: pip install dftd3, or use D2 (IVDW = 10)'
        ) from error
    # Grimme's parameters for PBE: J. Chem. Phys. 132, 154104 (2010) and J. Comput. Chem. 32, 1456 (2011).
    tweaks = {'d3bj': {'s8': 0.7875, 'a1': 0.4289, 'a2': 4.4407}, 'd3zero': {'s8': 0.722, 'rs6': 1.217}}[damping]
    tweaks |= {key: options[key] for key in ('s6', 's8', 'a1', 'a2') if key in options} | {'s9': 0.0}
    if 'sr' in options:
        tweaks['rs6'] = options['sr']
    cutoffs = {
        'disp2': options.get('radius', D3_RADIUS), 'disp3': D3_CN_RADIUS, 'cn': options.get('cnradius', D3_CN_RADIUS)
    }  # fmt: skip
    return DFTD3(damping=damping, params_tweaks=tweaks, realspace_cutoff=cutoffs)
