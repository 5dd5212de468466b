"""Activation energies of data that follow a line, or that a glass transition breaks."""

import numpy as np
import pytest

from aiida_softclay.analysis.arrhenius import BOLTZMANN_EV, GlassTransitionError, arrhenius

LADDER = np.arange(303.0, 379.0, 15.0)


def thermally_activated(temperatures, energy=0.30, prefactor=3.0e2):
    return prefactor * np.exp(-energy / (BOLTZMANN_EV * temperatures))


def test_exact_data_give_their_activation_energy_and_prefactor():
    values = thermally_activated(LADDER)
    found = arrhenius(LADDER, values, 0.1 * values, glass_transition=256.0)
    assert found.activation_energy == pytest.approx(0.30, abs=1e-10)
    assert np.exp(found.log_prefactor) == pytest.approx(3.0e2)
    assert found.warnings == ()
    assert found.at(300.0).value == pytest.approx(thermally_activated(300.0))


def test_conductivity_times_temperature():
    values = thermally_activated(LADDER) / LADDER
    found = arrhenius(LADDER, values, 0.1 * values, times_temperature=True, glass_transition=256.0)
    assert found.activation_energy == pytest.approx(0.30, abs=1e-10)
    assert found.at(300.0).value == pytest.approx(thermally_activated(300.0) / 300.0)
    plain = arrhenius(LADDER, values, 0.1 * values)
    # d ln T / d (1 / k T) = - k T: the two energies differ by k T of the data.
    assert plain.activation_energy == pytest.approx(0.30 - BOLTZMANN_EV * LADDER.mean(), rel=0.005)


def test_errors_and_intervals_cover_what_they_promise():
    rng = np.random.default_rng(0)
    truth, at_room = thermally_activated(LADDER), thermally_activated(300.0)
    share = np.array([0.3, 0.2, 0.15, 0.1, 0.08, 0.05])
    pulls, inside = [], []
    for _ in range(600):
        values = truth * np.exp(share * rng.normal(size=6))
        found = arrhenius(LADDER, values, share * values, glass_transition=256.0)
        pulls.append((found.activation_energy - 0.30) / found.activation_energy_error)
        low, high = found.at(300.0, confidence=0.9).interval
        inside.append(low < at_room < high)
    # The errors of the line are enlarged by chance scatter, never reduced: a little wider than a normal deviate.
    assert 0.6 < np.mean(np.abs(pulls) < 1) < 0.85
    assert 0.88 < np.mean(inside) < 1.0


def test_two_lines_are_not_called_one():
    values = np.where(LADDER < 340, thermally_activated(LADDER), thermally_activated(LADDER, 0.6, 8.6e6))
    found = arrhenius(LADDER, values, 0.03 * values)
    assert any('not one line' in text for text in found.warnings)
    assert found.activation_energy_error > 0.01


def test_nothing_is_extrapolated_across_the_glass_transition_unless_asked():
    values = thermally_activated(LADDER)
    found = arrhenius(LADDER, values, 0.1 * values, glass_transition=256.0)
    with pytest.raises(GlassTransitionError, match='lies between the data'):
        found.at(250.0)
    asked = found.at(250.0, across_glass_transition=True)
    assert asked.value == pytest.approx(thermally_activated(250.0))
    assert any('activation energy changes' in text for text in asked.warnings)
    below = arrhenius([213.0, 228.0, 243.0], thermally_activated(np.array([213.0, 228.0, 243.0])), [1e-9] * 3,
                      glass_transition=256.0)  # fmt: skip
    with pytest.raises(GlassTransitionError):
        below.at(300.0)
    with pytest.raises(GlassTransitionError, match='both sides'):
        arrhenius(LADDER, values, 0.1 * values, glass_transition=340.0)
    assert arrhenius(LADDER, values, 0.1 * values, glass_transition=340.0, across_glass_transition=True).warnings


def test_an_unknown_glass_transition_is_said():
    values = thermally_activated(LADDER)
    found = arrhenius(LADDER, values, 0.1 * values)
    assert any('no glass transition was given' in text for text in found.at(250.0).warnings)
    assert found.at(320.0).warnings == ()


def test_what_has_no_logarithm_is_named():
    values = thermally_activated(LADDER)
    with pytest.raises(ValueError, match='leave out 318 K'):
        arrhenius(LADDER, values * np.array([1, -1, 1, 1, 1, 1]), 0.1 * values)
    with pytest.raises(ValueError, match='two different temperatures'):
        arrhenius([300.0, 300.0], [1.0, 2.0], [0.1, 0.1])
    with pytest.raises(ValueError, match='finite'):
        arrhenius([300.0, 310.0], [1.0, np.nan], [0.1, 0.1])
    with pytest.raises(ValueError, match='differ in shape'):
        arrhenius([300.0, 310.0], [1.0], [0.1])
    pair = arrhenius([300.0, 330.0], [1.0, 2.0], [0.1, 0.1])
    assert any('without a test' in text for text in pair.warnings)
    assert pair.at(310.0).interval[0] < pair.at(310.0).value
    assert any('biased' in text for text in arrhenius(LADDER, values, 0.6 * values).warnings)
    with pytest.raises(ValueError, match='no value at'):
        pair.at(-3.0)
