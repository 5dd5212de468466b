"""Errors of means and lines through noise that swings, against what many independent series scatter by."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from aiida_softclay.analysis.autoregression import burg, combination_error, oscillating_covariance
from aiida_softclay.analysis.statistics import block_average
from aiida_softclay.analysis.volume_curve import cooling_points, ladder_point

PERIOD, DECAY = 20.0, 30.0
#: A damped oscillation driven by noise, as the volume under a barostat: φ1, φ2.
SWING = (2 * math.exp(-1 / DECAY) * math.cos(2 * math.pi / PERIOD), -math.exp(-2 / DECAY))


def series(coefficients, n_samples, seed):
    noise = np.random.default_rng(seed).normal(size=n_samples + 2000)
    return lfilter([1], np.concatenate([[1], -np.asarray(coefficients)]), noise)[2000:]


def long_run_error(n_samples):
    """Standard error of the mean of a long series: that of its noise over the sum of the filter."""
    return 1 / (1 - sum(SWING)) / math.sqrt(n_samples)


def test_the_model_of_a_long_series_is_the_one_it_was_made_with():
    coefficients, variance = burg(series(SWING, 20_000, 0), 2)[2]
    assert coefficients == pytest.approx(SWING, abs=0.01)
    assert variance == pytest.approx(1, abs=0.03)


def test_the_covariance_is_that_of_the_oscillator():
    found = oscillating_covariance(series(SWING, 20_000, 1))[:60]
    lag = np.arange(60)
    omega = 2 * math.pi / PERIOD
    # Of an AR(2) process with complex roots r exp(±iω): r^k sin(ωk + ψ) / sin ψ.
    r2 = math.exp(-2 / DECAY)
    phase = math.atan((1 + r2) / (1 - r2) * math.tan(omega))
    expected = np.exp(-lag / DECAY) * np.sin(omega * lag + phase) / math.sin(phase)
    assert found / found[0] == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize('n_samples', [100, 400])
def test_errors_of_means_are_those_of_many_series_where_blocks_give_several_times_as_much(n_samples):
    means, errors, blocks = [], [], []
    for seed in range(200):
        values = series(SWING, n_samples, seed)
        means.append(values.mean())
        covariance = oscillating_covariance(values - values.mean())
        errors.append(combination_error(np.full(n_samples, 1 / n_samples), covariance))
        blocks.append(block_average(values).error)
    pulls = np.array(means) / errors
    assert np.std(means) == pytest.approx(long_run_error(n_samples), rel=0.2)
    assert 0.85 < np.std(pulls) < 1.2
    # Four standard deviations of a binomial distribution of 200 tries at 95 %.
    assert np.mean(np.abs(pulls) < 1.96) > 0.89
    assert np.median(errors) == pytest.approx(np.std(means), rel=0.15)
    assert np.median(blocks) > 4 * np.std(means)


def test_what_does_not_swing_is_left_to_blocks():
    kept = [oscillating_covariance(series([0.8], 250, seed)) is not None for seed in range(100)]
    assert np.mean(kept) < 0.3
    # Less than two periods may as well be a slow decay.
    assert oscillating_covariance(np.sin(np.arange(30) / 30 * 2 * math.pi)) is None
    assert oscillating_covariance(np.zeros(100)) is None
    assert oscillating_covariance(np.full(100, 0.3)) is None


def test_rungs_and_bins_whose_volume_swings_have_the_error_of_their_mean():
    temperatures, scale, pulls, bins, drifting = np.full(500, 300.0), 1e-4, [], [], 0
    thermostat = np.linspace(310, 290, 500)
    for seed in range(100):
        noise = scale * series(SWING, 500, seed)
        point = ladder_point(300.0, temperatures, 0.4 + noise, drift_tolerance=1e-5)
        pulls.append((point.volume - 0.4) / point.error)
        drifting += point.drifting
        [middle] = cooling_points(thermostat, thermostat, 0.4 + 1e-5 * (thermostat - 300) + noise, [290, 310])
        bins.append((middle.volume - 0.4) / middle.error)
    assert 0.8 < np.std(pulls) < 1.2
    assert 0.8 < np.std(bins) < 1.2
    # The settled part holds 250 rows; the error is no upper limit but the size of it.
    assert point.error == pytest.approx(scale * long_run_error(250), rel=0.4)
    # Two standard errors: one in twenty, and no more than a few beyond that.
    assert drifting < 15
    assert ladder_point(300.0, temperatures, 0.4 + noise + 2e-5 * np.arange(500)).drifting
