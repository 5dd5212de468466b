"""Two lines with a known crossing, and data without one: lines, bends, breaks the wrong way round."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from aiida_softclay.analysis.glass_transition import NoGlassTransitionError, VolumeCurveError, glass_transition
from aiida_softclay.analysis.hinge import fit_hinges, polynomial_chi_squared
from aiida_softclay.analysis.volume_curve import cooling_points, ladder_point, rate_dependence

LADDER = np.arange(100.0, 401.0, 25.0)
TG, HEIGHT, GLASS, LIQUID = 218.0, 0.4, 2e-5, 8e-5
quick = partial(glass_transition, n_resamples=400)


def two_lines(temperatures, tg=TG, glass=GLASS, liquid=LIQUID):
    distance = np.asarray(temperatures) - tg
    return HEIGHT + glass * np.minimum(distance, 0) + liquid * np.maximum(distance, 0)


def noisy(values, deviation, seed):
    return values + deviation * np.random.default_rng(seed).normal(size=len(values))


@pytest.mark.parametrize('tg', [203.0, 225.0, 290.0])
def test_exact_data_give_the_crossing_and_both_expansions(tg):
    found = quick(LADDER, two_lines(LADDER, tg), np.full(LADDER.size, 1e-5))
    assert found.temperature == pytest.approx(tg)
    assert found.free_crossing == pytest.approx(tg)
    assert found.specific_volume == pytest.approx(HEIGHT)
    assert found.expansion_glass == pytest.approx(GLASS / HEIGHT)
    assert found.expansion_liquid == pytest.approx(LIQUID / HEIGHT)
    assert found.interval[0] < tg < found.interval[1]
    assert found.at(LADDER) == pytest.approx(two_lines(LADDER, tg))
    assert found.warnings == ()


@pytest.mark.parametrize('n_temperatures', [8, 13])
def test_intervals_and_errors_cover_what_they_promise(n_temperatures):
    ladder = np.linspace(100, 400, n_temperatures)
    deviation, inside, pulls, slopes = 2e-4, [], [], []
    for seed in range(150):
        values = noisy(two_lines(ladder), deviation, seed)
        try:
            found = quick(ladder, values, np.full(n_temperatures, deviation), seed=seed)
        except NoGlassTransitionError:
            continue
        inside.append(found.interval[0] < TG < found.interval[1])
        pulls.append((found.temperature - TG) / found.temperature_error)
        slopes.append((found.expansion_liquid - LIQUID / HEIGHT) / found.expansion_liquid_error)
    assert len(inside) > 130
    # Five standard deviations of a binomial distribution of 150 tries at 95 %.
    assert np.mean(inside) > 0.86
    assert 0.75 < np.std(pulls) < 1.3
    assert 0.75 < np.std(slopes) < 1.3
    assert abs(np.mean(pulls)) < 0.4


def test_errors_that_are_too_small_are_enlarged():
    deviation, inside = 2e-4, []
    for seed in range(60):
        found = quick(LADDER, noisy(two_lines(LADDER), deviation, seed), np.full(LADDER.size, deviation / 5))
        inside.append(found.interval[0] < TG < found.interval[1])
        assert any('as much about the two lines as their errors say' in text for text in found.warnings)
        assert found.reduced_chi_squared > 3
    assert np.mean(inside) > 0.8


@pytest.mark.parametrize('claimed', [1.0, 0.2])
def test_a_straight_line_is_refused_whether_its_errors_are_right_or_too_small(claimed):
    accepted = 0
    for seed in range(100):
        values = noisy(HEIGHT + 5e-5 * (LADDER - TG), 1e-4, seed)
        try:
            quick(LADDER, values, np.full(LADDER.size, claimed * 1e-4), seed=seed)
        except NoGlassTransitionError:
            continue
        accepted += 1
    # One per cent by chance; half of those break the wrong way round.
    assert accepted <= 4


@pytest.mark.parametrize(
    ('values', 'sentence'),
    [
        (HEIGHT + 5e-5 * LADDER, 'one straight line'),
        (two_lines(LADDER, glass=LIQUID, liquid=GLASS), 'grows more slowly above'),
        (0.3 + 2e-5 * LADDER + 1e-7 * LADDER**2, 'a parabola describes'),
        (0.3 + 0.02 * np.exp(LADDER / 200), 'a parabola describes'),
        (two_lines(LADDER, tg=120.0), 'fewer than three temperatures below'),
        (two_lines(LADDER, tg=390.0), 'fewer than three temperatures above'),
    ],
)
def test_data_without_two_regimes_are_refused(values, sentence):
    with pytest.raises(NoGlassTransitionError, match=sentence):
        quick(LADDER, values, np.full(LADDER.size, 2e-5))


def test_a_bend_that_noise_hides_is_not_sold_as_two_lines_without_a_warning():
    bent = 0.3 + 2e-5 * LADDER + 1e-7 * LADDER**2
    for seed in range(40):
        try:
            found = quick(LADDER, noisy(bent, 4e-4, seed), np.full(LADDER.size, 4e-4), seed=seed)
        except NoGlassTransitionError:
            continue
        assert any('smooth bend' in text for text in found.warnings)


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'temperatures': LADDER[:5]}, 'differ in shape'),
        ({'volumes': np.where(LADDER == 200, np.nan, HEIGHT)}, 'must be finite'),
        ({'errors': np.zeros(LADDER.size)}, 'must be positive'),
        ({'temperatures': LADDER - 273.15}, 'must be positive'),
        ({'temperatures': np.where(LADDER == 125, 100, LADDER)}, 'two values at 100 K'),
    ],
)
def test_data_that_cannot_be_fitted_get_a_sentence(changes, sentence):
    data = {'temperatures': LADDER, 'volumes': two_lines(LADDER), 'errors': np.full(LADDER.size, 1e-5), **changes}
    with pytest.raises(VolumeCurveError, match=sentence):
        quick(*data.values())


def test_five_temperatures_are_too_few():
    with pytest.raises(VolumeCurveError, match='two lines need 6 temperatures'):
        quick(LADDER[:5], two_lines(LADDER[:5]), np.full(5, 1e-5))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3), stretch=st.floats(0.1, 10))
def test_order_and_units_of_the_data_do_not_matter(seed, scale, stretch):
    rng = np.random.default_rng(seed)
    errors = rng.uniform(2e-5, 6e-5, LADDER.size)
    values = two_lines(LADDER) + errors * rng.normal(size=LADDER.size)
    first = quick(LADDER, values, errors, n_resamples=200)
    mixed = rng.permutation(LADDER.size)
    second = quick(stretch * LADDER[mixed], scale * values[mixed], scale * errors[mixed], n_resamples=200)
    assert second.temperature == pytest.approx(stretch * first.temperature)
    assert second.temperature_error == pytest.approx(stretch * first.temperature_error)
    assert second.interval == pytest.approx([stretch * edge for edge in first.interval])
    assert second.expansion_liquid == pytest.approx(first.expansion_liquid / stretch)
    assert second.chance == first.chance


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), n_points=st.integers(6, 12))
def test_the_fit_of_the_break_is_the_minimum_that_a_search_finds(seed, n_points):
    """The closed form against a numerical search over the break, on any data."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 1, n_points)) + 0.01 * np.arange(n_points)
    y, errors = rng.normal(size=n_points), rng.uniform(0.5, 2, n_points)
    found = fit_hinges(x, y, errors)

    def chi_squared(position):
        design = np.column_stack([np.ones_like(x), np.minimum(x - position, 0), np.maximum(x - position, 0)])
        scaled = design / errors[:, None]
        coefficients, *_ = np.linalg.lstsq(scaled, y / errors)
        return float(((y / errors - scaled @ coefficients) ** 2).sum())

    searched = [
        minimize_scalar(chi_squared, bounds=(low, high), method='bounded').fun for low, high in pairwise(x[2:-2])
    ]
    assert found.chi_squared[0] == pytest.approx(chi_squared(found.position[0]))
    assert found.chi_squared[0] <= min(searched) + 1e-6
    assert found.chi_squared[0] <= polynomial_chi_squared(x, y, errors, 1)[0] + 1e-9


def autocorrelated(n_samples, correlation, seed):
    noise = np.random.default_rng(seed).normal(size=n_samples)
    for index in range(1, n_samples):
        noise[index] = correlation * noise[index - 1] + np.sqrt(1 - correlation**2) * noise[index]
    return noise


def test_a_rung_leaves_out_its_start_and_flags_its_drift():
    settled = HEIGHT + 1e-4 * autocorrelated(400, 0.8, 0)
    start = 0.05 * np.exp(-np.arange(400) / 20)
    point = ladder_point(300.0, np.full(400, 301.0), settled + start)
    assert point.volume == pytest.approx(HEIGHT, abs=4 * point.error)
    assert point.n_samples == 200
    assert not point.drifting
    # Nine independent rows are worth one of these: (1 + 0.8) / (1 - 0.8).
    assert point.error == pytest.approx(1e-4 * np.sqrt(9 / 200), rel=0.5)
    assert ladder_point(300.0, np.full(400, 300.0), settled + 1e-5 * np.arange(400)).drifting
    with pytest.raises(VolumeCurveError, match='rows are left of the rung'):
        ladder_point(300.0, np.full(10, 300.0), settled[:10])


def test_a_cooling_gives_the_volume_at_the_middle_of_each_bin_and_its_glass_transition():
    thermostat = np.linspace(400, 100, 6000)
    edges = np.linspace(100, 400, 13)
    pulls = []
    for seed in range(8):
        volumes = two_lines(thermostat) + 1e-3 * autocorrelated(6000, 0.7, seed)
        points = cooling_points(thermostat, thermostat, volumes, edges)
        assert [point.temperature for point in points] == pytest.approx(0.5 * (edges[1:] + edges[:-1]))
        assert sum(point.n_samples for point in points) == 6000
        away = [point for point in points if abs(point.temperature - TG) > 15]
        pulls += [(point.volume - two_lines([point.temperature])[0]) / point.error for point in away]
    assert 0.7 < np.std(pulls) < 1.4
    found = quick([p.temperature for p in points], [p.volume for p in points], [p.error for p in points])
    assert found.interval[0] < TG < found.interval[1]
    with pytest.raises(VolumeCurveError, match=r'the bin at 112\.5 K holds'):
        cooling_points(thermostat[::200], thermostat[::200], volumes[::200], edges)


def test_glass_transitions_of_several_rates_lie_on_a_line_in_the_logarithm():
    rates = np.array([0.1, 1.0, 10.0, 100.0])
    line = rate_dependence(rates, 200 + 12 * np.log10(rates), np.full(4, 2.0))
    assert line.slope == pytest.approx(12)
    # Decades -1 … 2 about their mean: S_xx = 5.
    assert line.slope_error == pytest.approx(2 / np.sqrt(5))
    assert line.at(1.0) == pytest.approx(200)
    assert any('not to be extended' in text for text in line.warnings)
    assert any('without a test' in text for text in rate_dependence([1, 10], [200, 210], [2, 2]).warnings)
    with pytest.raises(VolumeCurveError, match='two rates at least'):
        rate_dependence([1.0, 1.0], [200, 201], [1, 1])
