"""Intervals of the self-diffusion of Brownian atoms, and displacements against an independent program."""

import sys

import numpy as np
import pytest

from aiida_softclay.analysis.diffusion_intervals import bayesian_diffusion, bootstrap_diffusion
from aiida_softclay.analysis.displacement import mean_squared_displacement, squared_displacements
from aiida_softclay.analysis.time_origins import displacement_products
from aiida_softclay.analysis.trajectory import ArrayTrajectory
from aiida_softclay.analysis.transport import self_diffusion

WINDOW = (5.0, 20.0)
TRUTH = 0.3**2 / 2 / 0.5 * 1e-4


def brownian(rng, n_atoms=40, n_frames=150, n_groups=None):
    walk = np.cumsum(rng.normal(scale=0.3, size=(n_frames, n_atoms, 3)), axis=0)
    trajectory = ArrayTrajectory(walk, np.eye(3) * 20, np.full(n_atoms, 3), timestep_ps=0.5)
    return mean_squared_displacement(trajectory, reference=np.zeros((n_frames, 3)), n_groups=n_groups)['Li']


def test_bootstrap_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    found = [bootstrap_diffusion(brownian(rng), WINDOW, confidence=0.9, n_resamples=400) for _ in range(150)]
    inside = np.mean([low < TRUTH < high for low, high in (result.interval for result in found)])
    assert 0.8 < inside < 0.97
    assert np.mean([result.diffusivity for result in found]) == pytest.approx(TRUTH, rel=0.03)


def test_bootstrap_agrees_with_the_standard_error():
    msd = brownian(np.random.default_rng(1), 400)
    resampled, direct = bootstrap_diffusion(msd, WINDOW), self_diffusion(msd, WINDOW)
    assert resampled.diffusivity == pytest.approx(direct.diffusivity, rel=0.01)
    assert resampled.error == pytest.approx(direct.diffusivity_error, rel=0.08)
    assert bootstrap_diffusion(msd, WINDOW) == resampled
    with pytest.raises(ValueError, match='too few to resample'):
        bootstrap_diffusion(brownian(np.random.default_rng(2), 5), WINDOW)
    with pytest.raises(ValueError, match='between 0 and 1'):
        bootstrap_diffusion(msd, WINDOW, confidence=95)


def test_groups_of_atoms_give_the_same_diffusivity_and_error():
    atoms = brownian(np.random.default_rng(3), 401)
    groups = brownian(np.random.default_rng(3), 401, n_groups=100)
    assert groups.per_atom.shape[0] == 100
    assert groups.msd == pytest.approx(atoms.msd, rel=1e-9)
    assert groups.blocks == pytest.approx(atoms.blocks, rel=1e-9, nan_ok=True)
    single, grouped = self_diffusion(atoms, WINDOW), self_diffusion(groups, WINDOW)
    assert grouped.diffusivity == pytest.approx(single.diffusivity, rel=1e-9)
    assert grouped.diffusivity_error == pytest.approx(single.diffusivity_error, rel=0.25)
    assert grouped.error_method == 'spread over groups of atoms'
    assert grouped.n_atoms == 401
    assert grouped.n_samples == 100


def test_bayesian_estimate_of_brownian_motion():
    pytest.importorskip('kinisi')
    rng = np.random.default_rng(4)
    found = [bayesian_diffusion(brownian(rng, 60), WINDOW) for _ in range(2)]
    for result in found:
        assert abs(result.diffusivity - TRUTH) < 4 * result.error
        assert result.interval[0] < result.diffusivity < result.interval[1]
        assert 0.01 < result.error / TRUTH < 0.2


def test_a_missing_kinisi_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'kinisi', None)
    monkeypatch.setitem(sys.modules, 'kinisi.diffusion', None)
    monkeypatch.setitem(sys.modules, 'scipp', None)
    with pytest.raises(ImportError, match=r'aiida-softclay\[bayesian\]'):
        bayesian_diffusion(brownian(np.random.default_rng(5)), WINDOW)


def test_displacements_equal_those_of_tidynamics():
    tidynamics = pytest.importorskip('tidynamics')
    rng = np.random.default_rng(6)
    walk = np.cumsum(rng.normal(size=(200, 2, 3)), axis=0)
    for atom, found in enumerate(squared_displacements(walk)):
        assert found == pytest.approx(tidynamics.msd(walk[:, atom]), rel=1e-7, abs=1e-7)
    products = sum(
        np.array(tidynamics.cross_displacement(walk[:, :, axis])[0][1]) for axis in range(3)
    )  # fmt: skip
    assert displacement_products(walk)[:, 0, 1] == pytest.approx(products, rel=1e-7, abs=1e-7)
