"""The error that decides how long a run goes on, and the window of lags it comes from, on walks with a known answer."""

import numpy as np
import pytest

from aiida_softclay.analysis.collective import collective_displacement
from aiida_softclay.analysis.displacement import mean_squared_displacement
from aiida_softclay.analysis.onsager import ionic_conductivity
from aiida_softclay.analysis.run_length import judge_run_length
from aiida_softclay.analysis.trajectory import ArrayTrajectory
from aiida_softclay.analysis.transport import CM2_PER_S, diffusive_window, nernst_einstein, self_diffusion

CELL = np.eye(3) * 30.0
SPACING = 0.1
STEP = 0.3
#: Three directions of a variance of 0.09 Å² every 0.1 ps.
EXACT = STEP**2 / (2 * SPACING) * CM2_PER_S


def run(positions, numbers=None):
    numbers = np.full(positions.shape[1], 3) if numbers is None else numbers
    return ArrayTrajectory(positions, CELL, numbers, timestep_ps=SPACING)


def analysed(positions):
    """Return D in the frame of the walls, of which independent walkers know."""
    trajectory = run(positions)
    found = mean_squared_displacement(
        trajectory, max_lag_ps=0.3 * SPACING * len(positions), reference=np.zeros((len(positions), 3))
    )
    return self_diffusion(found['Li'])


def test_error_that_steers_a_run_covers_the_truth():
    """Each run is stopped by its own error, as in the workchain: the errors must still hold what they promise."""
    rng = np.random.default_rng(5)
    pulls, errors, lengths = [], [], []
    for _ in range(80):
        walk = np.cumsum(rng.normal(scale=STEP, size=(4000, 24, 3)), axis=0)
        n_frames = 200
        while True:
            found = analysed(walk[:n_frames])
            decision = judge_run_length(
                found.diffusivity, found.diffusivity_error, n_frames * SPACING, 0.05, 4000 * SPACING
            )
            if not decision.extension_ps:
                break
            n_frames = min(4000, n_frames + round(decision.extension_ps / SPACING))
        assert decision.reached
        pulls.append((found.diffusivity - EXACT) / found.diffusivity_error)
        errors.append(found.diffusivity_error / found.diffusivity)
        lengths.append(n_frames)
    assert 0.55 < np.mean(np.abs(pulls) < 1) < 0.85
    assert np.mean(np.abs(pulls) < 2) > 0.88
    assert np.mean(pulls) == pytest.approx(0, abs=0.4)
    assert max(errors) <= 0.05
    # Predicted lengths are neither a waste nor crept up to.
    assert 300 < np.median(lengths) < 2500


def test_error_falls_with_the_root_of_the_length():
    rng = np.random.default_rng(1)
    short, long = [], []
    for _ in range(12):
        walk = np.cumsum(rng.normal(scale=STEP, size=(4000, 24, 3)), axis=0)
        short.append(analysed(walk[:1000]).diffusivity_error)
        long.append(analysed(walk).diffusivity_error)
    assert np.mean(short) / np.mean(long) == pytest.approx(2, rel=0.3)


def test_window_is_that_of_the_ions_and_not_of_the_run():
    rng = np.random.default_rng(2)
    # 16 frames to a jump of 2 Å on average.
    windows = [
        diffusive_window(mean_squared_displacement(run(np.cumsum(rng.normal(scale=STEP, size=(n, 50, 3)), axis=0))))
        for n in (600, 1800)
    ]
    for start, stop in windows:
        assert start == pytest.approx(1.5, abs=0.35)
        assert stop == pytest.approx(3 * start)


def test_window_passes_the_cage():
    """Ions that rattle by more than they have drifted: the early slope is too steep, the chosen window is not."""
    rng = np.random.default_rng(3)
    drift = np.cumsum(rng.normal(scale=0.12, size=(6000, 60, 3)), axis=0)
    noise = np.zeros_like(drift)
    for row in range(1, len(noise)):
        noise[row] = 0.95 * noise[row - 1] + rng.normal(scale=0.16, size=noise.shape[1:])
    found = mean_squared_displacement(run(drift + noise))
    start, stop = diffusive_window(found)
    exact = 0.12**2 / (2 * SPACING) * CM2_PER_S
    chosen = self_diffusion(found['Li'], (start, stop))
    assert abs(chosen.exponent - 1) <= 0.1
    assert chosen.diffusivity == pytest.approx(exact, rel=0.2)
    assert stop < 0.25 * 600
    assert self_diffusion(found['Li'], (0.5, 1.5)).diffusivity > 1.5 * exact


def test_window_of_ions_at_rest_is_the_latest():
    rng = np.random.default_rng(4)
    found = mean_squared_displacement(run(rng.normal(scale=0.2, size=(400, 10, 3))))
    assert diffusive_window(found) == pytest.approx((0.1 * 39.9, 0.3 * 39.9))
    with pytest.raises(ValueError, match='one species'):
        diffusive_window({})


def test_self_parts_are_the_conductivities_of_the_diffusivities():
    """Caged anions used to be fitted in two windows, which gave two conductivities."""
    rng = np.random.default_rng(6)
    walk = np.cumsum(rng.normal(scale=STEP, size=(800, 40, 3)), axis=0)
    walk[:, 20:] = rng.normal(scale=0.3, size=(800, 20, 3))
    trajectory = run(walk, np.repeat([3, 17], 20))
    own = mean_squared_displacement(trajectory)
    window = diffusive_window(own)
    whole = ionic_conductivity(
        collective_displacement(trajectory), own, {'Li': 1, 'Cl': -1}, volume=27000.0, temperature=600.0
    )
    singles = {
        name: nernst_einstein(
            self_diffusion(own[name], window), charge, n_ions=20, volume=27000.0, temperature=600.0
        ).conductivity
        for name, charge in (('Li', 1), ('Cl', -1))
    }
    assert whole.own['Li'].value == pytest.approx(singles['Li'], rel=1e-9)
    assert whole.own['Cl'].value == pytest.approx(singles['Cl'], rel=1e-9)
    assert whole.nernst_einstein.value == pytest.approx(sum(singles.values()), rel=1e-9)
    assert whole.haven_ratio.value == pytest.approx(sum(singles.values()) / whole.total.value, rel=1e-9)


@pytest.mark.parametrize(
    ('value', 'error', 'duration', 'options', 'reached', 'extension'),
    [
        (1.0, 0.04, 100.0, {}, True, 0.0),
        (1.0, 0.06, 100.0, {}, False, 100 * 1.2 * 1.44 - 100),
        (1.0, 0.051, 100.0, {}, False, 25.0),
        (1.0, 0.5, 100.0, {}, False, 200.0),
        (-1.0, 0.5, 100.0, {}, False, 200.0),
        (1.0, np.nan, 100.0, {}, False, 200.0),
        # A small error of a number that is no diffusivity.
        (1.0, 0.01, 100.0, {'diffuses': False}, False, 200.0),
        (1.0, 0.5, 900.0, {}, False, 100.0),
        (1.0, 0.5, 999.0, {}, False, 0.0),
    ],
)
def test_decision(value, error, duration, options, reached, extension):
    found = judge_run_length(value, error, duration, 0.05, 1000.0, **options)
    assert found.reached is reached
    assert found.extension_ps == pytest.approx(extension)
    assert ('reached' in found.reason) == (not extension)
    assert found.as_dict()['relative_error'] is None or found.relative_error == pytest.approx(error / value)


@pytest.mark.parametrize(('wanted', 'limit'), [(0.0, 10.0), (5.0, 10.0), (0.1, 0.0)])
def test_nonsense_is_refused(wanted, limit):
    with pytest.raises(ValueError, match=r'wanted|positive'):
        judge_run_length(1.0, 0.1, 5.0, wanted, limit)
