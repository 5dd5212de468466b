"""The integrators against conservation laws, the canonical and the isobaric ensemble; segments against one run."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units

from aiida_softclay.engines.vasp import dynamics as md
from aiida_softclay.engines.vasp.incar import Settings

TEMPERATURE = 60.0


def settings(**kwargs) -> Settings:
    return Settings(
        mode='md', ibrion=0, **{'n_steps': 1, 'timestep_fs': 4.0, 'temperature_begin': TEMPERATURE,
        'temperature_end': TEMPERATURE, **kwargs},
    )  # fmt: skip


def start(integrator, argon, chosen, *extra, seed=1, temperature=TEMPERATURE):
    positions, cell, masses, evaluate = argon
    dof = integrator.degrees_of_freedom_of(len(masses))
    velocities = md.maxwell_boltzmann(masses, temperature, np.random.default_rng(seed), dof)
    return integrator(chosen, positions, cell, velocities, masses, evaluate, *extra)


def total_energy(run) -> float:
    return run.evaluation.energy + run.kinetic_energy + sum(run.thermostat_energy) + run.lattice_kinetic_energy


def test_initial_velocities(argon):
    masses = argon[2]
    velocities = md.maxwell_boltzmann(masses, 300.0, np.random.default_rng(0), 3 * len(masses) - 3)
    assert np.abs(masses @ velocities).max() < 1e-12
    # Å/fs to m/s, amu to kg: the textbook's 3/2 k T for each atom but one.
    kinetic = 0.5 * (masses * units._amu) @ ((velocities * 1e5) ** 2).sum(axis=1)
    assert kinetic == pytest.approx(1.5 * (len(masses) - 1) * units._k * 300.0, rel=1e-6)


@pytest.mark.parametrize('integrator', [md.Dynamics, md.NoseHoover])
def test_conserved_energy_is_second_order_in_the_time_step(argon, integrator):
    """Halving the time step of a second-order symplectic integrator divides its error by four; no drift remains."""
    spread = []
    for dt in (8.0, 4.0):
        chosen = settings(timestep_fs=dt, nose_period_steps=800.0 / dt)
        run = start(integrator, argon, chosen)
        energies = []
        for _ in range(int(2000 / dt)):
            run.step(TEMPERATURE)
            energies.append(total_energy(run))
        energies = np.array(energies)
        spread.append(energies.std())
        half = len(energies) // 2
        assert abs(energies[:half].mean() - energies[half:].mean()) < 2 * energies.std()
    kinetic = run.kinetic_energy
    assert spread[1] < 1e-3 * kinetic
    assert 3.0 < spread[0] / spread[1] < 5.5


def test_constant_energy_is_time_reversible(argon):
    run = start(md.Dynamics, argon, settings())
    origin = run.positions.copy()
    for _ in range(50):
        run.step(0.0)
    run.velocities *= -1
    for _ in range(50):
        run.step(0.0)
    assert np.abs(run.positions - origin).max() < 1e-9


def sample(run, n_steps, warm_up, observe, temperature=TEMPERATURE):
    values = []
    for step in range(n_steps):
        run.step(temperature)
        if step >= warm_up:
            values.append(observe(run))
    return np.array(values)


def small_argon(argon):
    """Fewer atoms and a shorter cutoff, for the long runs that averages need."""
    from ase.build import bulk

    atoms = bulk('Ar', 'fcc', a=5.6, cubic=True) * (2, 2, 2)
    evaluate = type(argon[3])(cutoff=5.5)
    return atoms.positions, atoms.cell.array, np.full(len(atoms), 39.948), evaluate


def canonical(values, dof):
    """Mean temperature over the target, and variance of the kinetic energy over that of the canonical ensemble."""
    mean = values.mean() / (0.5 * dof * units.kB * TEMPERATURE)
    return mean, values.var() / (0.5 * dof * (units.kB * TEMPERATURE) ** 2)


@pytest.mark.parametrize('chains', [1, 3])
def test_nose_hoover_is_canonical(argon, chains):
    chosen = settings(nose_chains=chains, nose_period_steps=60.0, timestep_fs=6.0)
    run = start(md.NoseHoover, small_argon(argon), chosen, seed=2)
    values = sample(run, 8000, 1500, lambda r: r.kinetic_energy)
    mean, variance = canonical(values, 3 * 32 - 3)
    assert mean == pytest.approx(1.0, abs=0.025)
    assert variance == pytest.approx(1.0, abs=0.3)
    assert np.abs(run.masses @ run.velocities).max() < 1e-9


def test_langevin_is_canonical_for_each_species(argon):
    """Different friction for each species must not give them different temperatures."""
    positions, cell, masses, evaluate = small_argon(argon)
    masses = np.where(np.arange(32) < 16, 20.0, 60.0)
    friction = np.where(np.arange(32) < 16, 30.0, 6.0)
    rng = np.random.default_rng(5)
    run = start(md.Langevin, (positions, cell, masses, evaluate), settings(timestep_fs=6.0), friction, rng)

    def per_species(r):
        energy = 0.5 * masses * (r.velocities**2).sum(axis=1) / md.ACCELERATION
        return [energy[:16].sum(), energy[16:].sum()]

    values = sample(run, 8000, 1500, per_species)
    wanted = 0.5 * 48 * units.kB * TEMPERATURE
    assert values.mean(axis=0) / wanted == pytest.approx([1.0, 1.0], abs=0.04)
    mean, variance = canonical(values.sum(axis=1), 96)
    assert mean == pytest.approx(1.0, abs=0.025)
    assert variance == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize('thermostat', ['nose', 'langevin'])
def test_a_ramp_is_followed(argon, thermostat):
    n_steps = 3000
    chosen = settings(n_steps=n_steps, temperature_begin=10.0, temperature_end=70.0, thermostat=thermostat)
    integrator = md.integrator_class(chosen)
    extra = [np.full(32, 10.0), np.random.default_rng(0)] if thermostat == 'langevin' else []
    run = start(integrator, small_argon(argon), chosen, *extra, temperature=10.0)
    temperatures = []
    for step in range(1, n_steps + 1):
        run.step(chosen.temperature(step))
        temperatures.append(run.temperature)
    thirds = np.array(temperatures).reshape(3, -1).mean(axis=1)
    assert thirds == pytest.approx([20.0, 40.0, 60.0], abs=4.0)


def test_a_ramp_may_start_at_zero(argon):
    chosen = settings(n_steps=2000, temperature_begin=0.0, temperature_end=60.0, thermostat='nose')
    positions, cell, masses, evaluate = small_argon(argon)
    shaken = positions + np.random.default_rng(3).normal(scale=0.02, size=positions.shape)
    run = start(md.NoseHoover, (shaken, cell, masses, evaluate), chosen, temperature=0.0)
    assert run.temperature == 0.0
    temperatures = []
    for step in range(1, 2001):
        run.step(chosen.temperature(step))
        temperatures.append(run.temperature)
    assert np.mean(temperatures[-500:]) == pytest.approx(52.5, abs=8.0)


def test_constant_pressure(argon):
    """The mean internal pressure is the external one, the cell shares the heat, and the volume follows the pressure."""
    from ase.build import bulk

    atoms = bulk('Ar', 'fcc', a=5.5, cubic=True) * (2, 2, 2)
    crystal = atoms.positions, atoms.cell.array, np.full(32, 39.948), type(argon[3])(cutoff=5.0)
    cold = {'timestep_fs': 6.0, 'temperature_begin': 20.0, 'temperature_end': 20.0}
    friction, volumes = np.full(32, 5.0), {}

    def observe(run):
        volume = np.linalg.det(run.cell)
        pressure = 2 * run.kinetic_energy / (3 * volume) - np.trace(run.evaluation.stress) / 3
        return pressure / md.KBAR, run.lattice_kinetic_energy, volume, run.temperature

    for pressure_kbar in (1.0, 5.0):
        chosen = settings(
            isif=3, thermostat='langevin', pressure_kbar=pressure_kbar, lattice_mass=40.0, lattice_friction_per_ps=20.0,
            **cold,
        )  # fmt: skip
        run = start(md.LangevinNPT, crystal, chosen, friction, np.random.default_rng(9), temperature=20.0)
        values = sample(run, 8000, 2000, observe, temperature=20.0)
        pressure, lattice, volume, temperature = values.mean(axis=0)
        assert pressure == pytest.approx(pressure_kbar, abs=0.1)
        # Six independent strain rates hold k T / 2 each.
        assert lattice == pytest.approx(3.0 * units.kB * 20.0, rel=0.12)
        assert temperature == pytest.approx(20.0, rel=0.04)
        volumes[pressure_kbar] = volume
        # No rotation: the strain rate is symmetric.
        assert np.abs(run.strain_rate - run.strain_rate.T).max() < 1e-12
        # An independent check of the mean volume: held there, the crystal has the wanted pressure.
        scale = (volume / np.linalg.det(crystal[1])) ** (1 / 3)
        held = (crystal[0] * scale, crystal[1] * scale, *crystal[2:])
        fixed = start(md.Langevin, held, settings(**cold), friction, np.random.default_rng(4), temperature=20.0)
        assert sample(fixed, 4000, 1000, observe, temperature=20.0)[:, 0].mean() == pytest.approx(
            pressure_kbar, abs=0.15
        )
    assert volumes[5.0] < 0.95 * volumes[1.0]


CHAINS = {
    'nve': {'MDALGO': 1},
    'nose': {'MDALGO': 2, 'SMASS': 0},
    'chain': {'MDALGO': 4, 'NHC_NCHAINS': 3},
}


@pytest.mark.parametrize('kind', CHAINS)
def test_two_segments_are_one_run(make_case, copper, kind):
    """What CONTCAR carries is all there is: the same trajectory to rounding, thermostat included."""
    incar = {'IBRION': 0, 'POTIM': 3, 'TEBEG': 600, 'RANDOM_SEED': '1 0 0', **CHAINS[kind]}
    whole, first, second = make_case('whole'), make_case('first'), make_case('second')
    whole.write(copper, {**incar, 'NSW': 40})
    assert whole.run() == 0, whole.output
    first.write(copper, {**incar, 'NSW': 20})
    assert first.run() == 0
    second.continue_from(first)
    assert second.run() == 0
    one, two = whole.contcar(), second.contcar()
    shift = np.linalg.solve(one.cell.T, (one.positions - two.positions).T)
    assert np.abs(shift - np.round(shift)).max() * 7.22 < 1e-10
    assert np.abs(one.velocities - two.velocities).max() < 1e-12
    energies = np.concatenate([first.oszicar()[:, 3], second.oszicar()[:, 3]])
    assert np.abs(energies - whole.oszicar()[:, 3]).max() < 2e-8
    if kind == 'nve':
        conserved = whole.oszicar()[:, 2]
        assert np.ptp(conserved) < 0.01 * whole.oszicar()[0, 4]


def test_first_frame_is_the_input_and_velocities_are_synchronous(make_case, copper):
    """The temperature of the first frame is that of the velocities in POSCAR."""
    first, second = make_case('first'), make_case('second')
    first.write(copper, {'IBRION': 0, 'POTIM': 3, 'TEBEG': 600, 'MDALGO': 1, 'NSW': 5})
    assert first.run() == 0
    assert first.oszicar()[0, 1] == pytest.approx(600.0, abs=0.01)
    second.continue_from(first)
    assert second.run() == 0
    velocities = first.contcar().velocities
    kinetic = 0.5 * (63.546 * units._amu) * ((velocities * 1e5) ** 2).sum()
    assert second.oszicar()[0, 1] == pytest.approx(2 * kinetic / (93 * units._k), rel=1e-4)


def test_random_numbers(make_case, copper):
    """The same inputs give the same run, the seed is recorded, and another seed gives another run."""
    incar = {
        'IBRION': 0, 'NSW': 6, 'POTIM': 2, 'TEBEG': 300, 'MDALGO': 3, 'LANGEVIN_GAMMA': '10', 'ISIF': 3,
        'LANGEVIN_GAMMA_L': 5,
    }  # fmt: skip
    runs = {}
    for name, seed in {'a': None, 'b': None, 'c': '7 0 0', 'd': '7 0 0', 'e': '8 0 0'}.items():
        case = make_case(name)
        case.write(copper, {**incar, **({'RANDOM_SEED': seed} if seed else {})})
        assert case.run() == 0, case.output
        runs[name] = case.contcar().positions
        assert 'RANDOM_SEED = ' in (case.folder / 'OUTCAR').read_text()
    assert np.array_equal(runs['a'], runs['b'])
    assert np.array_equal(runs['c'], runs['d'])
    assert not np.allclose(runs['a'], runs['c'])
    assert not np.allclose(runs['c'], runs['e'])


def test_total_momentum_of_given_velocities_is_removed(argon):
    positions, cell, masses, evaluate = argon
    velocities = md.maxwell_boltzmann(masses, TEMPERATURE, np.random.default_rng(0), 321) + 0.01
    run = md.Dynamics(settings(), positions, cell, velocities, masses, evaluate)
    assert np.abs(run.masses @ run.velocities).max() < 1e-10
