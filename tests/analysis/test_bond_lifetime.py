"""Bonds that break and form at random have a known survival, persistence and lifetime."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aiida_softclay.analysis.bond_lifetime import bond_lifetime
from aiida_softclay.analysis.trajectory import ArrayTrajectory


def trajectory_of(distances, stride=5, timestep_ps=0.01):
    """One fluorine at a given distance from each of many gallium atoms that are far apart, shape (n_frames, n)."""
    n_frames, n_pairs = distances.shape
    per_edge = math.ceil(n_pairs ** (1 / 3))
    sites = np.indices((per_edge,) * 3).reshape(3, -1).T[:n_pairs] * 9.0 + 1.0
    positions = np.empty((n_frames, 2 * n_pairs, 3))
    positions[:, :n_pairs] = sites
    positions[:, n_pairs:] = sites
    # Along -x, through the face of the cell.
    positions[:, n_pairs:, 0] -= distances
    return ArrayTrajectory(
        positions, np.eye(3) * 9.0 * per_edge, np.array(['Ga'] * n_pairs + ['F'] * n_pairs),
        stride * np.arange(n_frames), timestep_ps,
    )  # fmt: skip


def telegraph(n_frames, n_pairs, breaking, forming, seed):
    rng = np.random.default_rng(seed)
    bonded = np.empty((n_frames, n_pairs), dtype=bool)
    bonded[0] = rng.uniform(size=n_pairs) < forming / (breaking + forming)
    for frame in range(1, n_frames):
        chance = rng.uniform(size=n_pairs)
        bonded[frame] = np.where(bonded[frame - 1], chance >= breaking, chance < forming)
    return bonded


def test_a_telegraph_process_gives_its_rates():
    """Breaking with 6 %, forming with 3 % in every interval of 0.05 ps."""
    bonded = telegraph(300, 500, 0.06, 0.03, seed=1)
    found = bond_lifetime(trajectory_of(np.where(bonded, 1.9, 3.2)), ('Ga', 'F'), 2.5, n_origins=12)
    tau = -0.05 / math.log(1 - 0.06)
    assert found.lifetime.value == pytest.approx(tau, abs=3 * found.lifetime.error)
    assert found.lifetime.error < 0.03 * tau
    assert found.n_bonds == pytest.approx(bonded.sum(axis=1).mean())
    assert found.n_broken == (bonded[:-1] & ~bonded[1:]).sum()
    lags = np.arange(found.times_ps.size)
    assert found.times_ps == pytest.approx(0.05 * lags)
    assert found.survival == pytest.approx(0.94**lags, abs=0.03)
    equilibrium = 1 / 3
    assert found.persistence == pytest.approx(equilibrium + (1 - equilibrium) * 0.91**lags, abs=0.06)
    assert found.survival[0] == found.persistence[0] == 1
    assert (np.diff(found.survival) <= 0).all()


def test_curves_equal_those_of_a_table_of_bonds():
    """Against the definition, origin by origin."""
    bonded = telegraph(21, 60, 0.2, 0.3, seed=4)
    found = bond_lifetime(trajectory_of(np.where(bonded, 1.9, 3.2)), ('F', 'Ga'), 2.5, n_origins=3)
    survival, persistence = [], []
    for origin in (0, 5, 10):
        members = bonded[origin]
        window = bonded[origin : origin + 11, members]
        survival.append(np.logical_and.accumulate(window, axis=0).mean(axis=1))
        persistence.append(window.mean(axis=1))
    assert found.survival == pytest.approx(np.mean(survival, axis=0))
    assert found.persistence == pytest.approx(np.mean(persistence, axis=0))
    assert found.survival_error == pytest.approx(np.std(survival, axis=0, ddof=1) / math.sqrt(3))


def test_a_vibration_across_the_cutoff_breaks_nothing():
    distances = np.full((40, 30), 2.4)
    distances[1::2, :20] = 2.6
    trembling = bond_lifetime(trajectory_of(distances), ('Ga', 'F'), 2.5)
    assert trembling.n_broken == 20 * 20
    steady = bond_lifetime(trajectory_of(distances), ('Ga', 'F'), 2.5, release_cutoff=3.0)
    assert steady.n_broken == 0
    assert steady.lifetime.value == math.inf
    assert math.isnan(steady.lifetime.error)
    # No event in 30 bonds × 39 intervals of 0.05 ps: three were expected at the lower bound.
    assert steady.lower_bound_ps == pytest.approx(30 * 39 * 0.05 / 3)
    assert (steady.survival == 1).all()


def test_later_frames_alone_give_what_a_later_start_gives():
    bonded = telegraph(60, 80, 0.1, 0.1, seed=9)
    distances = np.where(bonded, 1.9, 3.2)
    whole = bond_lifetime(trajectory_of(distances), ('Ga', 'F'), 2.5, start=20)
    part = bond_lifetime(trajectory_of(distances[20:]), ('Ga', 'F'), 2.5)
    assert whole.lifetime.value == pytest.approx(part.lifetime.value)
    assert whole.lifetime.error == pytest.approx(part.lifetime.error)
    assert whole.survival == pytest.approx(part.survival)


def test_what_gives_no_lifetime_is_refused():
    distances = np.full((10, 5), 1.9)
    with pytest.raises(ValueError, match='too few'):
        bond_lifetime(trajectory_of(distances[:3]), ('Ga', 'F'), 2.5)
    with pytest.raises(ValueError, match='no Ga–F bond is shorter'):
        bond_lifetime(trajectory_of(distances), ('Ga', 'F'), 1.2)
    with pytest.raises(ValueError, match='no closer than it forms'):
        bond_lifetime(trajectory_of(distances), ('Ga', 'F'), 2.5, release_cutoff=2.0)
    with pytest.raises(ValueError, match='asks for Cl'):
        bond_lifetime(trajectory_of(distances), ('Ga', 'Cl'), 2.5)
    uneven = trajectory_of(distances)
    uneven.steps[-1] += 3
    with pytest.raises(ValueError, match='equally spaced'):
        bond_lifetime(uneven, ('Ga', 'F'), 2.5)
    distances[1::2] = 3.2
    with pytest.raises(ValueError, match='keep frames more often'):
        bond_lifetime(trajectory_of(distances[:4]), ('Ga', 'F'), 2.5)
