"""Parity, its error bars, static stress–strain curves and verdicts against cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.analysis.parity import compare, correlated_block, parity, strain_response


def test_measures_of_known_deviations():
    reference = np.array([1.0, 2.0, 3.0, 4.0])
    found = parity(reference, reference + np.array([0.3, -0.1, 0.3, -0.1]))
    assert found.rmse == pytest.approx(math.sqrt((0.09 + 0.01) / 2))
    assert found.mae == pytest.approx(0.2)
    assert found.bias == pytest.approx(0.1)
    assert found.largest == pytest.approx(0.3)
    assert found.r_squared == pytest.approx(1 - 0.2 / 5.0)
    assert (found.n_frames, found.n_values) == (4, 4)


def test_agrees_with_scikit_style_formulas_on_forces():
    rng = np.random.default_rng(3)
    reference = rng.normal(size=(30, 7, 3))
    predicted = reference + 0.1 * rng.normal(size=(30, 7, 3))
    found = parity(reference, predicted)
    flat = predicted.ravel() - reference.ravel()
    assert found.rmse == pytest.approx(np.sqrt(np.mean(flat**2)))
    assert found.r_squared == pytest.approx(1 - np.mean(flat**2) / reference.var())
    assert found.n_values == 630


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.01, 100), offset=st.floats(-1000, 1000))
def test_scaling_the_unit_scales_the_errors(scale, offset):
    rng = np.random.default_rng(0)
    reference, noise = rng.normal(size=(20, 6)), 0.1 * rng.normal(size=(20, 6))
    plain = parity(reference, reference + noise)
    scaled = parity(scale * reference + offset, scale * (reference + noise) + offset)
    assert scaled.rmse == pytest.approx(scale * plain.rmse, rel=1e-5)
    assert scaled.rmse_error == pytest.approx(scale * plain.rmse_error, rel=1e-4)
    assert scaled.r_squared == pytest.approx(plain.r_squared, rel=1e-5)


def test_bootstrap_error_of_independent_frames():
    """The spread of the RMSE over many data sets is what the bootstrap of a single one estimates."""
    rng = np.random.default_rng(1)
    sets = [parity(np.zeros(50), rng.normal(0, 0.2, 50), n_samples=400) for _ in range(200)]
    spread = np.std([found.rmse for found in sets])
    assert np.mean([found.rmse_error for found in sets]) == pytest.approx(spread, rel=0.15)
    assert np.mean([found.bias_error for found in sets]) == pytest.approx(0.2 / math.sqrt(50), rel=0.1)


def test_correlated_frames_have_larger_errors():
    """Deviations that last ten frames: blocks find the error of the mean, single frames are far too sure."""
    rng = np.random.default_rng(7)
    blocked, naive, biases = [], [], []
    for _ in range(100):
        deviations = np.repeat(rng.normal(0, 0.2, 40), 10)
        found = parity(np.zeros(400), deviations, n_samples=300)
        assert 8 <= found.n_blocks <= 100
        blocked.append(found.bias_error)
        naive.append(parity(np.zeros(400), deviations, block_size=1, n_samples=300).bias_error)
        biases.append(found.bias)
    assert np.mean(naive) < 0.5 * np.std(biases)
    assert np.mean(blocked) == pytest.approx(np.std(biases), rel=0.25)


def test_block_of_white_noise_is_one():
    rng = np.random.default_rng(2)
    sizes = [correlated_block(rng.normal(size=200)) for _ in range(50)]
    assert np.median(sizes) <= 2
    assert correlated_block(np.ones(20)) == 1


def test_too_few_frames_have_no_error():
    found = parity([1.0, 2.0, 3.0], [1.1, 2.0, 3.0])
    assert math.isnan(found.rmse_error)
    assert found.rmse > 0
    assert math.isnan(parity([1.0, 1.0], [1.0, 2.0]).r_squared)


@pytest.mark.parametrize(('reference', 'predicted'), [([], []), ([1.0], [1.0, 2.0]), ([1.0, np.nan], [1.0, 1.0])])
def test_labels_that_cannot_be_compared(reference, predicted):
    with pytest.raises(ValueError, match=r'label|shape'):
        parity(reference, predicted)


def test_modulus_of_a_parabola():
    strain = np.linspace(-0.01, 0.03, 9)
    found = strain_response(strain[::-1], (0.2 + 30 * strain - 150 * strain**2)[::-1])
    assert found.modulus == pytest.approx(30)
    assert found.stress_at_zero == pytest.approx(0.2)
    assert found.curvature == pytest.approx(-150)
    assert found.modulus_error < 1e-9
    assert found.strain_at_maximum == pytest.approx(0.03)
    assert not found.warnings


def test_error_of_the_modulus_covers_the_truth():
    strain = np.linspace(-0.02, 0.02, 9)
    hits = 0
    for seed in range(200):
        noise = np.random.default_rng(seed).normal(0, 0.02, strain.size)
        found = strain_response(strain, 30 * strain - 200 * strain**2 + noise)
        # With six degrees of freedom, 2.45 errors hold 95 %.
        hits += abs(found.modulus - 30) < 2.45 * found.modulus_error
    assert 180 <= hits <= 198


def test_strains_outside_of_the_window_do_not_count():
    strain = np.linspace(0, 0.1, 11)
    stress = np.where(strain <= 0.05, 40 * strain, 1.0)
    found = strain_response(strain, stress, (0.0, 0.05))
    assert found.modulus == pytest.approx(40)
    assert found.n_fitted == 6
    with pytest.raises(ValueError, match='five are needed'):
        strain_response(strain, stress, (0.0, 0.03))
    assert strain_response(strain, -stress).warnings


@pytest.mark.parametrize(
    ('values', 'tolerance', 'verdict'),
    [
        ((16.6, 0.1, 15.9, 0.1), 0.83, 'agrees'),  # yang2024, Table 2: within 5 %
        ((26.4, 2.0, 27.6, 2.0), 0.1, 'agrees'),  # within two errors
        ((16.6, 0.1, 13.0, 0.1), 0.83, 'disagrees'),
        ((10.0, 20.0, 30.0, 20.0), 0.5, 'unresolved'),  # everything would agree
        ((10.0, 20.0, 10.0, 20.0), 0.5, 'unresolved'),
        ((10.0, math.nan, 10.2, 0.1), 0.5, 'agrees'),
        ((10.0, math.nan, 11.0, 0.1), 0.5, 'unresolved'),
    ],
)
def test_verdicts(values, tolerance, verdict):
    found = compare(*values, tolerance)
    assert found.verdict == verdict
    assert found.difference == pytest.approx(values[2] - values[0])
