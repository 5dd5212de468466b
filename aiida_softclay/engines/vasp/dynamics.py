r"""Molecular dynamics: constant energy, Nosé-Hoover, Langevin, and Langevin at constant pressure.

All integrators are symmetric splittings with velocities at the time of the positions, so that a run that continues from
positions and velocities is the same run. Targets may change at every step, which is how temperature ramps are made.

* Constant energy: velocity Verlet.
* Nosé-Hoover, with chains: G. J. Martyna et al., Mol. Phys. 87, 1117 (1996).
* Langevin: BAOAB, B. Leimkuhler and C. Matthews, Appl. Math. Res. Express 2013, 34.
* Langevin at constant pressure with a fully flexible cell: D. Quigley and M. I. J. Probert, J. Chem. Phys. 120, 11432
  (2004), with a symmetric strain-rate tensor, so that the cell does not rotate.

Units: Å, fs, eV, atomic mass units; velocities in Å/fs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import units

from aiida_softclay.engines.vasp.calculators import Evaluation
from aiida_softclay.engines.vasp.incar import Settings

#: (Å/fs^2) / (eV/Å/amu): accelerations from forces; its inverse turns amu (Å/fs)^2 into eV.
ACCELERATION = units.fs**2
#: eV/Å^3 for one kB (0.1 GPa).
KBAR = 0.1 * units.GPa
#: The thermostat's mass is that of at least this temperature, so that a ramp may start at zero.
LOWEST_THERMOSTAT_TEMPERATURE = 10.0

Evaluate = Callable[[np.ndarray, np.ndarray], Evaluation]


def maxwell_boltzmann(
    masses: np.ndarray, temperature: float, rng: np.random.Generator, degrees_of_freedom: int
) -> np.ndarray:
    """Return velocities (Å/fs) with zero total momentum that have exactly the given temperature.

    Parameters
    ----------
    masses : ndarray, shape (n_atoms,), amu
    temperature : float, K
    rng : numpy.random.Generator
    degrees_of_freedom : int
        By which the kinetic energy is divided.
    """
    velocities = rng.standard_normal((len(masses), 3)) * np.sqrt(1.0 / masses)[:, None]
    if len(masses) > 1:
        velocities -= masses @ velocities / masses.sum()
    kinetic = 0.5 * float(masses @ (velocities**2).sum(axis=1)) / ACCELERATION
    wanted = 0.5 * degrees_of_freedom * units.kB * temperature
    return velocities * np.sqrt(wanted / kinetic)


class Dynamics:
    """Velocity Verlet at constant energy; the other integrators build on it.

    Attributes
    ----------
    positions : ndarray, shape (n_atoms, 3), Å
        Not wrapped.
    velocities : ndarray, shape (n_atoms, 3), Å/fs
        At the time of the positions.
    cell : ndarray, shape (3, 3), Å
    evaluation : Evaluation
        Energy, forces and stress at the positions.
    """

    #: Whether the total momentum is conserved, so that three degrees of freedom are none of the thermostat's.
    conserves_momentum = True

    def __init__(self, settings: Settings, positions, cell, velocities, masses, evaluate: Evaluate):
        self.settings = settings
        self.dt = settings.timestep_fs
        self.positions, self.cell, self.velocities = positions.copy(), cell.copy(), velocities.copy()
        self.masses = np.asarray(masses, dtype=float)
        self._evaluate = evaluate
        self._acceleration = ACCELERATION / self.masses[:, None]
        if self.conserves_momentum:
            self._remove_drift()
        self.evaluation = evaluate(self.positions, self.cell)

    @classmethod
    def degrees_of_freedom_of(cls, n_atoms: int) -> int:
        """Return the number of degrees of freedom that share the kinetic energy."""
        return 3 * n_atoms - 3 if cls.conserves_momentum and n_atoms > 1 else 3 * n_atoms

    @property
    def degrees_of_freedom(self) -> int:
        """Number of degrees of freedom that share the kinetic energy."""
        return self.degrees_of_freedom_of(len(self.masses))

    def _remove_drift(self) -> None:
        """Remove a total momentum that carries energy; rounding is left alone, so that continuing is exact."""
        drift = self.masses @ self.velocities / self.masses.sum()
        if 0.5 * self.masses.sum() * float(drift @ drift) / ACCELERATION > 1e-10 * self.kinetic_energy:
            self.velocities -= drift

    @property
    def kinetic_energy(self) -> float:
        """Kinetic energy of the atoms (eV)."""
        return 0.5 * float(self.masses @ (self.velocities**2).sum(axis=1)) / ACCELERATION

    @property
    def temperature(self) -> float:
        """Instantaneous temperature (K)."""
        return 2.0 * self.kinetic_energy / (units.kB * self.degrees_of_freedom)

    @property
    def thermostat_energy(self) -> tuple[float, float]:
        """Potential and kinetic energy of the thermostat (eV)."""
        return 0.0, 0.0

    @property
    def lattice_kinetic_energy(self) -> float:
        """Kinetic energy of the cell (eV)."""
        return 0.0

    @property
    def carried_state(self) -> dict[str, list[float]]:
        """What beyond positions and velocities a continued run starts from, in 1/fs."""
        return {}

    def _kick(self, time: float) -> None:
        self.velocities += time * self._acceleration * self.evaluation.forces

    def step(self, temperature: float) -> None:
        """Advance by one time step towards the target temperature (K)."""
        del temperature
        self._kick(0.5 * self.dt)
        self.positions += self.dt * self.velocities
        self.evaluation = self._evaluate(self.positions, self.cell)
        self._kick(0.5 * self.dt)


class NoseHoover(Dynamics):
    r"""Nosé-Hoover chains.

    The first link's mass is :math:`Q = 2 g k T / \omega^2`, where :math:`g` is the number of degrees of freedom and
    :math:`\omega` the frequency at which the temperature swings: one period is 40 time steps for SMASS = 0,
    NHC_PERIOD time steps for MDALGO = 4, and what :math:`Q = \mathrm{SMASS} \cdot |a_1|^2` gives for SMASS > 0.
    While the target is ramped the frequency is kept and the mass follows.
    """

    def __init__(self, settings, positions, cell, velocities, masses, evaluate, state=None):
        super().__init__(settings, positions, cell, velocities, masses, evaluate)
        chains = settings.nose_chains
        stored = (state or {}).get('xi', [])
        self.friction = np.array(stored) if len(stored) == chains else np.zeros(chains)
        self.position = np.zeros(chains)
        reference = max(settings.temperature_begin, settings.temperature_end, LOWEST_THERMOSTAT_TEMPERATURE)
        if settings.nose_mass > 0:
            q = settings.nose_mass * float(cell[0] @ cell[0]) / ACCELERATION
            self.frequency = np.sqrt(2.0 * self.degrees_of_freedom * units.kB * reference / q)
        else:
            self.frequency = 2.0 * np.pi / (settings.nose_period_steps * settings.timestep_fs)
        self._set_target(settings.temperature(0))

    def _set_target(self, temperature: float) -> None:
        thermal = units.kB * max(temperature, LOWEST_THERMOSTAT_TEMPERATURE)
        self.thermal = units.kB * temperature
        # The links after the first couple to one degree of freedom.
        share = np.array([2.0 * self.degrees_of_freedom] + [2.0] * (len(self.friction) - 1))
        self.masses_of_links = share * thermal / self.frequency**2

    @property
    def thermostat_energy(self) -> tuple[float, float]:
        """Potential and kinetic energy of the thermostat (eV)."""
        shares = np.array([self.degrees_of_freedom] + [1] * (len(self.friction) - 1))
        return float(shares @ self.position) * self.thermal, 0.5 * float(self.masses_of_links @ self.friction**2)

    @property
    def carried_state(self) -> dict[str, list[float]]:
        """The friction of each link."""
        return {'xi': [float(value) for value in self.friction]}

    def _thermostat(self, time: float) -> None:
        """Advance thermostat and velocities by the thermostat's part of the equations of motion."""
        xi, q, last = self.friction, self.masses_of_links, len(self.friction) - 1
        twice_kinetic = 2.0 * self.kinetic_energy

        def pull(k: int) -> float:
            if k == 0:
                return (twice_kinetic - self.degrees_of_freedom * self.thermal) / q[0]
            return (q[k - 1] * xi[k - 1] ** 2 - self.thermal) / q[k]

        def half(k: int) -> None:
            damping = np.exp(-0.25 * time * xi[k + 1]) if k < last else 1.0
            xi[k] = (xi[k] * damping + 0.5 * time * pull(k)) * damping

        for k in range(last, -1, -1):
            half(k)
        scale = np.exp(-time * xi[0])
        self.velocities *= scale
        twice_kinetic *= scale**2
        self.position += time * xi
        for k in range(last + 1):
            half(k)

    def step(self, temperature: float) -> None:
        """Advance by one time step towards the target temperature (K)."""
        self._set_target(temperature)
        self._thermostat(0.5 * self.dt)
        super().step(temperature)
        self._thermostat(0.5 * self.dt)


class Langevin(Dynamics):
    """Langevin dynamics with a friction coefficient for each atom; the total momentum takes part."""

    conserves_momentum = False

    def __init__(self, settings, positions, cell, velocities, masses, evaluate, friction, rng):
        super().__init__(settings, positions, cell, velocities, masses, evaluate)
        # 1/ps to 1/fs.
        self._decay = np.exp(-1e-3 * np.asarray(friction, dtype=float) * self.dt)[:, None]
        self._noise = np.sqrt((1.0 - self._decay**2) * ACCELERATION / self.masses[:, None])
        self._rng = rng

    def _fluctuate(self, temperature: float) -> None:
        noise = self._rng.standard_normal(self.velocities.shape)
        self.velocities = self._decay * self.velocities + np.sqrt(units.kB * temperature) * self._noise * noise

    def step(self, temperature: float) -> None:
        """Advance by one time step at the target temperature (K)."""
        self._kick(0.5 * self.dt)
        self.positions += 0.5 * self.dt * self.velocities
        self._fluctuate(temperature)
        self.positions += 0.5 * self.dt * self.velocities
        self.evaluation = self._evaluate(self.positions, self.cell)
        self._kick(0.5 * self.dt)


def _exponential(symmetric: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(symmetric)
    return (vectors * np.exp(values)) @ vectors.T


class LangevinNPT(Langevin):
    r"""Langevin dynamics of atoms and cell at constant pressure.

    The mass of the strain rate :math:`\eta` is :math:`W = \mathrm{PMASS} \cdot V_0^{2/3}`, which for a cubic cell is
    the kinetic energy of lattice vectors with the mass PMASS, as in Parrinello and Rahman.
    """

    def __init__(self, settings, positions, cell, velocities, masses, evaluate, friction, rng, state=None):
        super().__init__(settings, positions, cell, velocities, masses, evaluate, friction, rng)
        self._w = settings.lattice_mass * abs(np.linalg.det(cell)) ** (2.0 / 3.0)
        self._pressure = settings.pressure_kbar * KBAR
        self._lattice_decay = np.exp(-1e-3 * settings.lattice_friction_per_ps * self.dt)
        stored = (state or {}).get('strain_rate', [])
        self.strain_rate = np.array(stored).reshape(3, 3) if len(stored) == 9 else np.zeros((3, 3))

    @property
    def lattice_kinetic_energy(self) -> float:
        """Kinetic energy of the cell (eV)."""
        return 0.5 * self._w * float((self.strain_rate**2).sum()) / ACCELERATION

    @property
    def carried_state(self) -> dict[str, list[float]]:
        """The strain rate, row by row."""
        return {'strain_rate': [float(value) for value in self.strain_rate.ravel()]}

    def _push_cell(self, time: float) -> None:
        volume = abs(np.linalg.det(self.cell))
        momentum_flux = (self.velocities * self.masses[:, None]).T @ self.velocities / ACCELERATION
        drive = momentum_flux - volume * (self.evaluation.stress + self._pressure * np.eye(3))
        drive += np.eye(3) * np.trace(momentum_flux) / self.degrees_of_freedom
        self.strain_rate += time * ACCELERATION / self._w * drive

    def _push_atoms(self, time: float) -> None:
        rate = self.strain_rate + np.eye(3) * np.trace(self.strain_rate) / self.degrees_of_freedom
        drag = _exponential(-0.5 * time * rate)
        self.velocities = self.velocities @ drag
        self._kick(time)
        self.velocities = self.velocities @ drag

    def _drift(self, time: float) -> None:
        stretch = _exponential(0.5 * time * self.strain_rate)
        self.positions = (self.positions @ stretch + time * self.velocities) @ stretch
        self.cell = self.cell @ stretch @ stretch

    def _fluctuate(self, temperature: float) -> None:
        super()._fluctuate(temperature)
        noise = self._rng.standard_normal((3, 3))
        amplitude = np.sqrt((1.0 - self._lattice_decay**2) * units.kB * temperature * ACCELERATION / self._w)
        # The off-diagonal element counts twice in the kinetic energy: half the variance, which the mean of two gives.
        self.strain_rate = self._lattice_decay * self.strain_rate + amplitude * 0.5 * (noise + noise.T)

    def step(self, temperature: float) -> None:
        """Advance by one time step at the target temperature (K)."""
        self._push_cell(0.5 * self.dt)
        self._push_atoms(0.5 * self.dt)
        self._drift(0.5 * self.dt)
        self._fluctuate(temperature)
        self._drift(0.5 * self.dt)
        self.evaluation = self._evaluate(self.positions, self.cell)
        self._push_atoms(0.5 * self.dt)
        self._push_cell(0.5 * self.dt)


def integrator_class(settings: Settings) -> type[Dynamics]:
    """Return the integrator that INCAR asks for."""
    if settings.thermostat == 'nose':
        return NoseHoover
    if settings.thermostat == 'langevin':
        return LangevinNPT if settings.isif == 3 else Langevin
    return Dynamics
