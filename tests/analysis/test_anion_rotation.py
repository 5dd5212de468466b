"""Rotation and migration of anions that are turned and moved by hand."""

import numpy as np
import pytest

from aiida_softclay.analysis.anion_rotation import anion_motion
from aiida_softclay.analysis.displacement import mean_squared_displacement
from aiida_softclay.analysis.trajectory import ArrayTrajectory

CELL = np.eye(3) * 40.0
BONDS = {('Al', 'Cl'): 2.7}
TETRAHEDRON = 2.1 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
SITES = np.array([[8.0, 8, 8], [20.0, 8, 8], [32.0, 8, 8]])


def turned(angle):
    """Return the tetrahedron turned about z by an angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return TETRAHEDRON @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def units(angles_of, shifts_of=None, n_frames=81, cell=CELL, offset=0.0):
    """Return AlCl4 units at three sites; angles and shifts are functions of (site, time from 0 to 1)."""
    positions = np.empty((n_frames, 15 + 1, 3))
    for row, time in enumerate(np.linspace(0, 1, n_frames)):
        rows = []
        for site, centre in enumerate(SITES):
            middle = centre + (shifts_of(site, time) if shifts_of else 0.0)
            rows += [middle, *(middle + turned(angles_of(site, time)))]
        # A very heavy atom keeps the centre of mass nearly in place.
        positions[row] = [*rows, [20.0, 30, 30]]
    numbers = np.array([13, 17, 17, 17, 17] * 3 + [92])
    return ArrayTrajectory(positions + offset, cell, numbers, timestep_ps=0.25)


def test_units_that_turn_are_rotating():
    """The first unit turns by a right angle, the second by a tenth of it, the third not at all."""
    share = {0: 1.0, 1: 0.1, 2: 0.0}
    found = anion_motion(units(lambda site, time: share[site] * np.pi / 2 * np.clip(4 * time - 1, 0, 1)), BONDS)
    # The bonds have an angle of 54.7° to the axis: a turn by 90° moves them by 70.5°.
    assert found.rotated.value == pytest.approx(4 / 12)
    assert found.migrated.value == 0
    assert found.migrated.error == pytest.approx(1 / 12)
    assert found.resting.value == pytest.approx(8 / 12)
    assert found.largest_angles[:4] == pytest.approx(np.full(4, 70.5288), abs=1e-3)
    assert found.rotated_per_unit['AlCl4'].value == pytest.approx(1 / 3)
    assert found.n_anions == 12


def test_steady_rotation_has_the_displacement_of_a_circle():
    """Radius ρ = R sin θ, sin² θ = 2/3, speed ω: |Δb|² = 4 ρ² sin²(ω τ / 2), u · u' = 1 - |Δb|² / 2 R²."""
    turns = 4 * np.pi
    found = anion_motion(units(lambda site, time: turns * time, n_frames=161), BONDS)
    expected = 4 * 2.1**2 * (2 / 3) * np.sin(turns * found.lag_times / 40.0 / 2) ** 2
    assert found.turning == pytest.approx(expected, abs=1e-9)
    assert found.orientation == pytest.approx(1 - expected / (2 * 2.1**2), abs=1e-9)
    assert found.carried == pytest.approx(np.zeros(80), abs=1e-9)
    assert found.total == pytest.approx(expected, abs=1e-9)


def test_units_that_drift_carry_their_anions():
    along = np.array([0.0, 0, 6.0])
    signs = np.array([1, -1, 0])
    found = anion_motion(units(lambda site, time: 0.0, lambda site, time: signs[site] * along * time), BONDS)
    assert found.rotated.value == 0
    assert found.turning == pytest.approx(np.zeros(40), abs=1e-9)
    assert found.carried == pytest.approx(2 / 3 * (6.0 * found.lag_times / 20.0) ** 2, abs=1e-9)
    trajectory = units(lambda site, time: 3 * time, lambda site, time: signs[site] * along * time)
    both = anion_motion(trajectory, BONDS)
    assert both.total == pytest.approx(both.turning + both.carried + 2 * both.mixed, abs=1e-12)
    own = mean_squared_displacement(trajectory, ['Cl'], max_lag_ps=both.lag_times[-1])['Cl']
    assert both.total == pytest.approx(own.msd, abs=1e-5)


def test_batches_of_anions_change_nothing(monkeypatch):
    trajectory = units(lambda site, time: (1 + site) * time)
    whole = anion_motion(trajectory, BONDS)
    monkeypatch.setattr('aiida_softclay.analysis.anion_rotation.HELD_BYTES', 81 * 96 * 5)
    parts = anion_motion(trajectory, BONDS)
    assert parts.turning == pytest.approx(whole.turning, abs=1e-12)
    assert parts.orientation == pytest.approx(whole.orientation, abs=1e-12)
    assert parts.largest_angles == pytest.approx(whole.largest_angles)


def test_a_turn_that_does_not_last_is_none():
    def angle(site, time):
        return np.pi / 2 if 0.5 <= time < 0.5 + 3.5 / 80 else 0.0

    assert anion_motion(units(angle), BONDS, residence_ps=1.25).rotated.value == 0
    assert anion_motion(units(angle), BONDS, residence_ps=1.0).rotated.value == 1
    late = anion_motion(units(lambda site, time: np.pi / 2 * (time > 0.97)), BONDS, residence_ps=1.0)
    assert late.rotated.value == 0


def test_an_anion_that_changes_its_centre_has_migrated():
    trajectory = units(lambda site, time: 0.0)
    positions = trajectory.positions.copy()
    positions[40:, 1] = SITES[1] + [0, 0, 2.2]
    # Bonded to none at the end.
    positions[60:, 7] = [20.0, 20, 20]
    moved = ArrayTrajectory(positions, CELL, trajectory.atomic_numbers, timestep_ps=0.25)
    found = anion_motion(moved, BONDS)
    assert found.migrated.value == pytest.approx(2 / 12)
    assert np.isnan(found.largest_angles[0])
    # A short visit is none.
    positions[42:, 1] = trajectory.positions[42:, 1]
    back = ArrayTrajectory(positions, CELL, trajectory.atomic_numbers, timestep_ps=0.25)
    assert anion_motion(back, BONDS).migrated.value == pytest.approx(1 / 12)


def test_a_bridge_that_leans_over_is_said_to_be_one():
    positions = np.zeros((40, 3, 3))
    positions[:, 1] = [4.4, 0, 0]
    positions[:20, 2], positions[20:, 2] = [2.1, 0, 0], [2.3, 0, 0]
    found = anion_motion(ArrayTrajectory(positions, CELL, np.array([13, 13, 17]), timestep_ps=0.25), BONDS)
    assert found.migrated.value == 1
    assert any('were bridges' in text for text in found.warnings)
    assert any('no Cl stayed' in text for text in found.warnings)


def test_wrapped_and_shifted_units_turn_alike():
    angle = lambda site, time: np.pi / 2 * time  # noqa: E731
    expected = anion_motion(units(angle), BONDS)
    shifted = units(angle, offset=13.0)
    # Each atom at an image of its own, the same throughout the run.
    images = np.random.default_rng(0).integers(-2, 3, size=(1, 16, 3)) * 40.0
    scattered = ArrayTrajectory(shifted.positions + images, CELL, shifted.atomic_numbers, timestep_ps=0.25)
    found = anion_motion(scattered, BONDS)
    assert found.rotated.value == expected.rotated.value
    assert found.turning == pytest.approx(expected.turning, abs=1e-9)


def test_what_is_not_there_gets_a_sentence():
    trajectory = units(lambda site, time: 0.0)
    with pytest.raises(ValueError, match='no length of the bond'):
        anion_motion(trajectory, {})
    with pytest.raises(ValueError, match='no Cl is within'):
        anion_motion(trajectory, {('Al', 'Cl'): 1.0})
    with pytest.raises(ValueError, match='Br'):
        anion_motion(trajectory, BONDS, anion='Br')
    with pytest.raises(ValueError, match='too few'):
        anion_motion(trajectory, BONDS, residence_ps=100.0)
    with pytest.raises(ValueError, match='nothing turns'):
        anion_motion(trajectory, BONDS, rotation_angle=200.0)


def test_single_anions_have_their_own_displacement(monkeypatch):
    """The units turn at speeds 0, ω and 2ω: each of their anions is on a circle of ρ² = (2/3) R²."""
    turns = 2 * np.pi
    trajectory = units(lambda site, time: site * turns * time, n_frames=161)
    found = anion_motion(trajectory, BONDS)
    assert found.followed.tolist() == list(range(12))
    for row, ion in enumerate(found.followed):
        expected = 4 * 2.1**2 * (2 / 3) * np.sin((ion // 4) * turns * found.lag_times / 40.0 / 2) ** 2
        assert found.each[row] == pytest.approx(expected, abs=1e-6)
    assert found.each.mean(axis=0) == pytest.approx(found.total, abs=1e-6)
    assert found.followed_turned.tolist() == [False] * 4 + [True] * 8
    assert not found.followed_left.any()
    monkeypatch.setattr('aiida_softclay.analysis.anion_rotation.MOST_FOLLOWED', 5)
    part = anion_motion(trajectory, BONDS)
    assert part.followed.tolist() == [0, 2, 5, 8, 11]
    assert part.each == pytest.approx(found.each[part.followed], abs=1e-12)
