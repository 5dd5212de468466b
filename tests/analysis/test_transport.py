"""Displacement, diffusion and conductivity against walks whose coefficients are known."""

import numpy as np
import pytest
from MDAnalysis import Universe
from MDAnalysis.analysis.msd import EinsteinMSD

from aiida_softclay.analysis.displacement import (
    centre_of_mass,
    equal_spacing_ps,
    mean_squared_displacement,
    squared_displacements,
)
from aiida_softclay.analysis.trajectory import ArrayTrajectory
from aiida_softclay.analysis.transport import Diffusion, nernst_einstein, self_diffusion

CELL = np.eye(3) * 20.0


def random_walk(n_frames, n_atoms, step, rng):
    """Brownian steps: MSD = 3 step² per frame, so D = step² / 2 Å² per frame."""
    return np.cumsum(rng.normal(scale=step, size=(n_frames, n_atoms, 3)), axis=0)


def with_heavy_host(positions, n_host=400):
    """Walkers in a host so heavy that the centre of mass stays where it is."""
    n_frames, n_atoms, _ = positions.shape
    host = np.broadcast_to(np.zeros(3), (n_frames, n_host, 3))
    numbers = np.array([3] * n_atoms + [79] * n_host)
    return ArrayTrajectory(np.concatenate([positions, host], axis=1), CELL, numbers, timestep_ps=0.5)


def test_fft_equals_the_double_loop():
    rng = np.random.default_rng(0)
    positions = random_walk(40, 3, 0.7, rng) + 1e3
    expected = np.array([
        [((positions[lag:, i] - positions[: 40 - lag, i]) ** 2).sum(axis=1).mean() for lag in range(40)]
        for i in range(3)
    ])  # fmt: skip
    assert squared_displacements(positions) == pytest.approx(expected, abs=1e-9)
    assert squared_displacements(positions, 10) == pytest.approx(expected[:, :10], abs=1e-9)


def test_msd_equals_mdanalysis():
    rng = np.random.default_rng(1)
    positions = random_walk(200, 5, 0.3, rng).astype('f4')
    universe = Universe.empty(5, trajectory=True)
    universe.load_new(positions)
    peer = EinsteinMSD(universe, fft=False).run()
    ours = squared_displacements(positions).mean(axis=0)
    assert ours == pytest.approx(peer.results.timeseries, rel=1e-4, abs=1e-4)


def test_random_walk_gives_its_diffusivity_with_honest_errors():
    """Two thirds of many walks lie within one error of the truth."""
    rng = np.random.default_rng(2)
    truth = 0.3**2 / 2 / 0.5 * 1e-4  # Å² per frame of 0.5 ps, in cm²/s
    results = [
        self_diffusion(
            mean_squared_displacement(with_heavy_host(random_walk(150, 40, 0.3, rng), 50), ['Li'])['Li'], (5.0, 20.0)
        )
        for _ in range(150)
    ]
    pulls = np.array([(result.diffusivity - truth) / result.diffusivity_error for result in results])
    # The centre of mass follows the walkers a little: 40 Li are 3 % of the mass.
    assert np.mean([result.diffusivity for result in results]) == pytest.approx(truth, rel=0.05)
    assert 0.58 < np.mean(np.abs(pulls) < 1) < 0.8
    assert np.mean([result.exponent for result in results]) == pytest.approx(1, abs=0.03)
    assert sum(any('not diffusive' in warning for warning in result.warnings) for result in results) < 10
    assert results[0].error_method == 'spread over atoms'
    assert results[0].window_ps == (5.0, 20.0)


def test_atoms_that_move_together_enlarge_the_error():
    rng = np.random.default_rng(12)
    together = np.repeat(random_walk(600, 1, 0.3, rng), 40, axis=1)
    result = self_diffusion(mean_squared_displacement(with_heavy_host(together), ['Li'])['Li'])
    assert result.error_method == 'stretches of the run'
    assert result.n_samples == 3
    assert result.diffusivity_error > 0.05 * result.diffusivity


def test_ballistic_motion_is_not_diffusion():
    rng = np.random.default_rng(3)
    velocities = rng.normal(size=(1, 30, 3))
    times = np.arange(100)[:, None, None] * 0.5
    msd = mean_squared_displacement(with_heavy_host(velocities * times), ['Li'])['Li']
    # The mean square speed, apart from the small recoil of the host.
    assert msd.msd[10] == pytest.approx((velocities**2).sum(axis=2).mean() * msd.lag_times[10] ** 2, rel=0.02)
    result = self_diffusion(msd)
    assert result.exponent == pytest.approx(2, abs=0.01)
    assert any('ballistic' in warning for warning in result.warnings)


def test_rattling_in_a_cage_is_not_diffusion():
    rng = np.random.default_rng(4)
    result = self_diffusion(mean_squared_displacement(with_heavy_host(rng.normal(scale=0.1, size=(300, 20, 3))))['Li'])
    assert any('caged' in warning for warning in result.warnings)
    assert any('run is too short' in warning for warning in result.warnings)
    assert result.intercept == pytest.approx(6 * 0.01, rel=0.05)
    assert any('not distinguished from zero' in warning for warning in result.warnings)


def test_drift_of_the_whole_system_is_removed():
    rng = np.random.default_rng(5)
    still = with_heavy_host(random_walk(100, 20, 0.3, rng))
    drift = np.arange(100)[:, None, None] * np.array([0.5, -0.2, 0.1])
    moving = ArrayTrajectory(still.positions + drift, CELL, still.atomic_numbers, timestep_ps=0.5)
    expected, found = mean_squared_displacement(still), mean_squared_displacement(moving)
    for symbol in ('Li', 'Au'):
        assert found[symbol].msd == pytest.approx(expected[symbol].msd, abs=1e-5)
    assert centre_of_mass(moving)[-1] - centre_of_mass(moving)[0] == pytest.approx(
        99 * np.array([0.5, -0.2, 0.1]) + centre_of_mass(still)[-1] - centre_of_mass(still)[0]
    )


def test_batches_and_pieces_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(6)
    trajectory = with_heavy_host(random_walk(50, 12, 0.3, rng), 10)
    whole = mean_squared_displacement(trajectory)['Li']
    monkeypatch.setattr('aiida_softclay.analysis.displacement.HELD_BYTES', 50 * 12 * 7)
    monkeypatch.setattr('aiida_softclay.analysis.displacement.BATCH_ATOMS', 5)
    monkeypatch.setattr('aiida_softclay.analysis.trajectory.CHUNK_BYTES', 24 * 22 * 7)
    pieces = mean_squared_displacement(trajectory)['Li']
    assert pieces.msd == pytest.approx(whole.msd)
    assert pieces.blocks == pytest.approx(whole.blocks, nan_ok=True)


def test_nernst_einstein_by_hand():
    """1 e² / (1 nm³ k_B 300 K) · 1e-9 m²/s = 6.1977 S/m for one ion; ten times that in mS/cm."""
    diffusion = Diffusion('Mg', 1e-5, 1e-6, 0.0, (1.0, 2.0), 1.0, 0.0, 9.0, 10, 3, 100, '', ())
    result = nernst_einstein(diffusion, 2, n_ions=1, volume=1000.0, temperature=300.0)
    expected = 4 * (1.602176634e-19) ** 2 / (1e-27 * 1.380649e-23 * 300) * 1e-9 * 10
    assert result.conductivity == pytest.approx(expected)
    assert result.conductivity == pytest.approx(4 * 61.977, rel=1e-3)
    assert result.conductivity_error == pytest.approx(0.1 * expected)
    wider = nernst_einstein(
        diffusion, 2, n_ions=1, volume=1000.0, temperature=300.0, temperature_error=30, volume_error=100
    )
    assert wider.conductivity_error == pytest.approx(expected * np.sqrt(0.03))
    with pytest.raises(ValueError, match='must be positive'):
        nernst_einstein(diffusion, 1, n_ions=1, volume=1000.0, temperature=-5.0)


def test_published_conductivity_follows_from_published_diffusivity():
    """yang2024: D(Mg) = 1.7e-9 cm²/s is 0.31 mS/cm at 300 K, with 12 000 atoms MgCl2–GaF3 (7 atoms) in 6.4 nm."""
    diffusion = Diffusion('Mg', 1.7e-9, 0.0, 0.0, (1.0, 2.0), 1.0, 0.0, 9.0, 10, 3, 100, '', ())
    result = nernst_einstein(diffusion, 2, n_ions=12000 // 7, volume=64.0**3, temperature=300.0)
    assert result.conductivity == pytest.approx(0.31, rel=0.15)


def test_bad_trajectories_get_a_sentence():
    rng = np.random.default_rng(7)
    walk = random_walk(50, 3, 0.3, rng)
    uneven = ArrayTrajectory(walk, CELL, np.array([3, 3, 3]), steps=np.r_[0:49, 60])
    with pytest.raises(ValueError, match='not equally spaced'):
        equal_spacing_ps(uneven)
    with pytest.raises(ValueError, match='four frames'):
        mean_squared_displacement(ArrayTrajectory(walk[:3], CELL, np.array([3, 3, 3])))
    with pytest.raises(ValueError, match='no Ga among'):
        mean_squared_displacement(ArrayTrajectory(walk, CELL, np.array([3, 3, 3])), ['Ga'])
    msd = mean_squared_displacement(ArrayTrajectory(walk, CELL, np.array([3, 3, 79])), ['Li'])['Li']
    with pytest.raises(ValueError, match='three are needed'):
        self_diffusion(msd, (1.0, 2.0))
    assert any('half of the trajectory' in w for w in self_diffusion(
        mean_squared_displacement(ArrayTrajectory(walk, CELL, np.array([3, 3, 79])), max_lag_ps=49)['Li'], (5, 40)
    ).warnings)  # fmt: skip
