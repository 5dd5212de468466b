"""Means over replicas, verdicts and rates against synthetic runs of known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aiida_softclay.analysis.plastic_verdict import plastic_verdict
from aiida_softclay.analysis.replicas import combine_replicas
from aiida_softclay.analysis.strain_rate import yield_rate_dependence


@pytest.mark.parametrize('n_replicas', [2, 3, 6])
def test_spread_of_replicas_covers_the_truth(n_replicas):
    """Of few replicas too: that is what Student's t is for."""
    rng = np.random.default_rng(n_replicas)
    one_sigma, interval = [], []
    for _ in range(1200):
        found = combine_replicas(rng.normal(3.0, 0.2, n_replicas), np.full(n_replicas, 0.2))
        one_sigma.append(abs(found.value - 3.0) < found.error)
        interval.append(found.interval[0] < 3.0 < found.interval[1])
    assert np.mean(one_sigma) == pytest.approx(0.683, abs=0.03)
    assert np.mean(interval) == pytest.approx(0.95, abs=0.02)
    assert found.within_error == pytest.approx(0.2 / math.sqrt(n_replicas))


def test_replicas_that_differ_more_than_their_errors_are_reported():
    found = combine_replicas([1.0, 1.5, 0.6], [0.05, 0.05, 0.05])
    assert found.value == pytest.approx(3.1 / 3)
    assert found.deviation == pytest.approx(np.std([1.0, 1.5, 0.6], ddof=1))
    assert found.error == pytest.approx(1.3213 * found.deviation / math.sqrt(3), rel=1e-3)
    assert 'scatter 9 times' in found.warnings[0]
    assert found.chance < 1e-6
    rng = np.random.default_rng(0)
    chances = [combine_replicas(rng.normal(0, 0.1, 4), np.full(4, 0.1)).chance for _ in range(1000)]
    # Where the errors are right, the chance is uniform.
    assert np.quantile(chances, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.05)


def test_one_replica_has_the_error_of_its_run():
    found = combine_replicas([2.0], [0.3])
    assert (found.value, found.error, found.interval, found.n_replicas) == (2.0, 0.3, None, 1)
    assert 'nothing of the spread' in found.warnings[0]
    unknown = combine_replicas([2.0, 2.2], [0.3, math.nan])
    assert math.isnan(unknown.within_error)
    assert math.isfinite(unknown.error)
    for values, errors, sentence in [
        ([], [], 'one length'), ([1.0, math.nan], None, 'finite'), ([1.0], [-0.1], 'negative'),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            combine_replicas(values, errors)
    with pytest.raises(ValueError, match='between 0 and 1'):
        combine_replicas([1.0, 2.0], confidence=95)


@pytest.mark.parametrize(('n_rates', 'n_replicas'), [(3, 1), (3, 3), (5, 2)])
def test_slope_against_the_rate_has_an_honest_interval(n_rates, n_replicas):
    rng = np.random.default_rng(n_rates * n_replicas)
    rates = np.repeat(np.geomspace(1e-4, 1e-2, n_rates), n_replicas)
    inside, one_sigma, curved = [], [], []
    for _ in range(1000):
        stresses = 0.5 + 0.03 * np.log(rates / 1e-3) + rng.normal(0, 0.02, rates.size)
        found = yield_rate_dependence(rates, stresses)
        inside.append(found.slope_interval[0] < 0.03 < found.slope_interval[1])
        one_sigma.append(abs(found.slope - 0.03) < found.slope_error)
        curved.append(any('one line' in text for text in found.warnings))
    # A line is taken for curved in one of twenty series, whose errors are then widened.
    assert 0.93 < np.mean(inside) < 0.985
    assert 0.65 < np.mean(one_sigma) < 0.73
    assert np.mean(curved) == pytest.approx(0.0 if n_replicas == 1 else 0.05, abs=0.02)
    assert found.reference_rate == pytest.approx(1e-3)
    assert found.at([1e-3])[0] == pytest.approx(0.5, abs=0.06)


def test_exact_lines_curves_and_flow_without_rate():
    rates = [1e-4, 1e-3, 1e-2]
    line = yield_rate_dependence(rates, 0.5 + 0.03 * np.log(np.array(rates) / 1e-3))
    assert line.slope == pytest.approx(0.03)
    assert line.rises
    volume, error = line.activation_volume(300.0)
    # k_B T is 4.142e-21 J; over 0.03 GPa that is 138 Å³.
    assert volume == pytest.approx(138.06, rel=1e-3)
    assert error == pytest.approx(0, abs=1e-6)
    rng = np.random.default_rng(1)
    many = np.repeat(np.geomspace(1e-4, 1e-2, 4), 4)
    bent = yield_rate_dependence(many, 0.5 + 0.05 * np.log(many / 1e-3) ** 2 + rng.normal(0, 0.01, many.size))
    assert bent.freedom == 2
    assert any('do not lie on one line' in text for text in bent.warnings)
    flat = yield_rate_dependence(many, 0.5 + rng.normal(0, 0.01, many.size))
    assert any('not distinguished from zero' in text for text in flat.warnings)
    with pytest.raises(ValueError, match='no activation volume'):
        flat.activation_volume(300.0)
    narrow = yield_rate_dependence([1e-3, 2e-3, 3e-3], [0.5, 0.52, 0.53])
    assert any('less than a decade' in text for text in narrow.warnings)


@pytest.mark.parametrize(
    ('rates', 'stresses', 'sentence'),
    [
        ([1e-3, 1e-2], [0.5, 0.6], 'three rates at least, there are 2'),
        ([1e-3, 1e-3, 1e-2, 1e-2], [0.5, 0.5, 0.6, 0.6], 'there are 2'),
        ([-1e-3, 1e-3, 1e-2], [0.5, 0.5, 0.6], 'must be positive'),
        ([1e-3, 1e-2, 1e-1], [0.5, 0.6], 'one length'),
    ],
)
def test_rates_that_make_no_line_are_refused(rates, stresses, sentence):
    with pytest.raises(ValueError, match=sentence):
        yield_rate_dependence(rates, stresses)


@pytest.mark.parametrize(
    ('residual', 'error', 'n_samples', 'loaded', 'verdict', 'why'),
    [
        (0.010, 0.0005, 16, 0.03, 'plastic', 'exceeds the thermal noise'),
        (-0.010, 0.0005, 16, -0.03, 'plastic', 'exceeds'),
        (0.0001, 0.0002, 16, 0.03, 'elastic', 'within the thermal noise'),
        # Resolved, but the cell wanders as far at rest.
        (0.001, 0.0001, 16, 0.03, 'elastic', 'within'),
        (0.0025, 0.0005, 16, 0.03, 'undetermined', 'both sides'),
        # Four blocks know their error badly: 3.2 errors reach below the noise.
        (0.004, 0.0009, 4, 0.03, 'undetermined', 'both sides'),
        (0.004, 0.0009, 100, 0.03, 'plastic', 'exceeds'),
        (0.0001, 0.0002, 16, 0.001, 'undetermined', 'tested nothing'),
        (0.010, math.nan, 1, 0.03, 'undetermined', 'has no error'),
    ],
)
def test_verdicts(residual, error, n_samples, loaded, verdict, why):
    found = plastic_verdict(residual, error, n_samples, 0.002, loaded=loaded)
    assert found.verdict == verdict
    assert why in found.reason
    assert found.ratio == pytest.approx(abs(residual) / 0.002)


def test_verdicts_are_rarely_wrong():
    """A true strain above or below the noise is called the opposite in less than one of forty cases."""
    rng = np.random.default_rng(2)
    for truth, wrong in ((0.0021, 'elastic'), (0.0019, 'plastic')):
        calls = []
        for _ in range(1000):
            samples = rng.normal(truth, 0.0006, 5)
            error = float(samples.std(ddof=1) / math.sqrt(5))
            calls.append(plastic_verdict(float(samples.mean()), error, 5, 0.002, loaded=0.03).verdict == wrong)
        assert np.mean(calls) < 0.025
    with pytest.raises(ValueError, match='without noise'):
        plastic_verdict(0.1, 0.01, 5, 0.0)
