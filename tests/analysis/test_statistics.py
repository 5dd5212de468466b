"""Errors of correlated series against processes whose answer is known."""

import numpy as np
import pytest
from scipy.signal import lfilter

from aiida_softclay.analysis.statistics import block_average, drift_test, linear_fit, two_sided_average


def autoregressive(n_samples, coefficient, rng):
    """First-order process x_i = a x_(i-1) + noise, started in its stationary state."""
    noise = rng.normal(size=n_samples + 2000)
    return lfilter([1.0], [1.0, -coefficient], noise)[2000:]


@pytest.mark.parametrize('coefficient', [0.0, 0.5, 0.9])
def test_block_error_of_an_autoregressive_process(coefficient):
    """The variance of the mean of AR(1) noise is 1 / (N (1 - a)^2) for long series."""
    rng = np.random.default_rng(7)
    n_samples = 2**15
    expected = 1 / (1 - coefficient) / np.sqrt(n_samples)
    averages = [block_average(autoregressive(n_samples, coefficient, rng)) for _ in range(20)]
    errors = [average.error for average in averages]
    inefficiencies = [average.statistical_inefficiency for average in averages]
    assert np.mean(errors) == pytest.approx(expected, rel=0.08)
    assert np.mean(inefficiencies) == pytest.approx((1 + coefficient) / (1 - coefficient), rel=0.2)


@pytest.mark.parametrize(('n_samples', 'coefficient'), [(50, 0.0), (100, 0.5), (200, 0.9), (2000, 0.97)])
def test_errors_cover_the_truth_also_in_short_series(n_samples, coefficient):
    """Of many series, 68 % have their mean and their slope within one error of the truth."""
    rng = np.random.default_rng(11)
    x = np.arange(n_samples)
    inside = np.zeros(2)
    for _ in range(300):
        series = autoregressive(n_samples, coefficient, rng)
        average, line = block_average(series), linear_fit(x, series, correlated=True)
        inside += abs(average.mean) < average.error, abs(line.slope) < line.slope_error
    assert (inside / 300 > 0.6).all()
    assert (inside / 300 < 0.78).all()


def test_block_average_says_when_it_did_not_converge():
    rng = np.random.default_rng(1)
    short = autoregressive(64, 0.99, rng)
    average = block_average(short)
    assert not average.converged
    assert average.error > short.std() / np.sqrt(short.size)


def test_block_average_edge_cases():
    assert np.isnan(block_average([2.0]).error)
    assert block_average([2.0, 2.0, 2.0]).error == 0.0
    with pytest.raises(ValueError, match='not finite'):
        block_average([1.0, np.nan])
    with pytest.raises(ValueError, match='not empty'):
        block_average([])


def test_line_errors_cover_the_truth():
    """Of many fits, 68 % lie within one standard error of the true slope, also when the noise is correlated."""
    rng = np.random.default_rng(3)
    x = np.linspace(0, 1, 2000)
    inside = {False: 0, True: 0}
    for _ in range(200):
        noise = autoregressive(x.size, 0.9, rng)
        for correlated in inside:
            fit = linear_fit(x, 5 * x + noise, correlated=correlated)
            inside[correlated] += abs(fit.slope - 5) < fit.slope_error
    assert 0.58 < inside[True] / 200 < 0.78
    assert inside[False] / 200 < 0.35  # what ignoring the correlation would claim


def test_line_matches_numpy_covariance():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 7, 40)
    y = 1.5 - 0.3 * x + rng.normal(scale=0.2, size=40)
    coefficients, covariance = np.polyfit(x, y, 1, cov='unscaled')
    scatter = ((y - np.polyval(coefficients, x)) ** 2).sum() / 38
    fit = linear_fit(x, y)
    assert [fit.slope, fit.intercept] == pytest.approx(list(coefficients))
    assert [fit.slope_error, fit.intercept_error] == pytest.approx(list(np.sqrt(np.diag(covariance) * scatter)))
    with pytest.raises(ValueError, match='two different x'):
        linear_fit([1.0, 1.0], [0.0, 1.0])


def test_drift_is_found_and_noise_is_not():
    rng = np.random.default_rng(5)
    false_alarms = sum(drift_test(autoregressive(1000, 0.8, rng)).drifting for _ in range(200))
    assert false_alarms / 200 < 0.12
    times = np.linspace(0, 20, 1000)
    drifting = drift_test(10 + 0.5 * times + autoregressive(1000, 0.8, rng), times)
    assert drifting.drifting
    assert drifting.drift == pytest.approx(10, abs=3 * drifting.drift_error)
    assert not drift_test(10 + 0.5 * times, times, tolerance=11).drifting
    assert not drift_test(np.full(20, 3.3)).significant
    with pytest.raises(ValueError, match='eight samples'):
        drift_test([1.0, 2.0])


def test_two_sided_average():
    times = np.arange(0, 100, 0.5)
    line = 3 - 0.2 * times
    assert two_sided_average(times, line, 5.0) == pytest.approx(line)
    # A sine of period P is damped by sinc(2 dt / P) away from the ends.
    sine = np.sin(2 * np.pi * times / 20)
    expected = sine * np.mean(np.cos(2 * np.pi * np.arange(-5, 5.1, 0.5) / 20))
    assert two_sided_average(times, sine, 5.0)[10:-10] == pytest.approx(expected[10:-10])
    assert two_sided_average(times, np.c_[line, sine], 0.0) == pytest.approx(np.c_[line, sine])
