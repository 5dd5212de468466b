"""Trust levels, shares, fingerprints, farthest points and the end of learning, against known answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase.build import bulk, make_supercell
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from aiida_softclay.analysis.selection import (
    ACCURATE,
    CANDIDATE,
    FAILED,
    Fingerprint,
    TrustLevels,
    adaptive_levels,
    farthest_points,
    fingerprint,
    learning_state,
    shares,
    spread_selection,
    within_volume,
)

LEVELS = TrustLevels(0.1, 0.3)


def print_of(atoms, species=('Cl', 'Li'), **kwargs):
    return fingerprint(atoms.positions, atoms.cell.array, atoms.numbers, species, **kwargs)


def rattled(size=(1, 1, 1), seed=0, amplitude=0.15):
    atoms = bulk('LiCl', 'rocksalt', a=5.1, cubic=True) * size
    atoms.rattle(amplitude, seed=seed)
    return atoms


def test_trust_levels_divide_at_their_bounds():
    values = [0.0, 0.0999, 0.1, 0.2999, 0.3, 5.0, np.nan, np.inf]
    expected = [ACCURATE, ACCURATE, CANDIDATE, CANDIDATE, FAILED, FAILED, FAILED, FAILED]
    assert LEVELS.classify(values).tolist() == expected


@pytest.mark.parametrize(('lower', 'upper'), [(0.3, 0.1), (0.0, 0.1), (0.1, 0.1), (-1, 1), (np.nan, 1)])
def test_levels_that_make_no_sense_are_refused(lower, upper):
    with pytest.raises(ValueError, match='below the upper'):
        TrustLevels(lower, upper)


def test_shares_count_what_an_exploded_run_did_not_reach():
    classes = LEVELS.classify([0.05, 0.05, 0.2, 0.4])
    assert shares(classes) == {'accurate': 0.5, 'candidate': 0.25, 'failed': 0.25}
    assert shares(classes, n_missing=4) == {'accurate': 0.25, 'candidate': 0.125, 'failed': 0.625}
    assert shares([], 0) == {'accurate': 0.0, 'candidate': 0.0, 'failed': 0.0}


def test_adaptive_levels_are_those_of_the_rule():
    values = np.arange(1, 101) / 100
    # 90 below the upper level; a tenth of all hundred are candidates: 0.81 … 0.90 exactly, as 0.91 has failed.
    levels = adaptive_levels(values, floor=0.05, upper=0.905, fraction=0.1)
    assert (levels.lower, levels.upper) == (0.81, 0.905)
    assert (levels.classify(values) == CANDIDATE).sum() == 10
    assert adaptive_levels(values, 0.05, 0.905, 0.1, minimum=30).lower == 0.61
    # The floor holds where the committee agrees.
    assert adaptive_levels(values / 100, 0.05, 0.905, 0.1).lower == 0.05
    # Everything failed: nothing to adapt to.
    assert adaptive_levels([2.0, 3.0], 0.05, 0.905, 0.1).lower == 0.05
    with pytest.raises(ValueError, match='share of 0 candidates'):
        adaptive_levels(values, 0.05, 0.9, 0.0)
    with pytest.raises(ValueError, match='trust levels of 1 and'):
        adaptive_levels(values, 1.0, 0.9, 0.1)


def test_volumes_are_compared_both_ways_and_in_any_orientation():
    cell = np.array([[4.0, 0, 0], [1, 4, 0], [0, 1, 4]])
    factors = np.array([1.0, 1.15, 1.18, 0.86, 0.84])
    turned = cell @ Rotation.random(rng=1).as_matrix()
    # 1.6 ** (1/3) is 1.1696
    expected = [True, True, False, True, False]
    assert within_volume(factors[:, None, None] * turned, cell, 1.6).tolist() == expected
    assert within_volume(-factors[:, None, None] * cell, cell, 1.6).tolist() == expected
    with pytest.raises(ValueError, match='above 1'):
        within_volume([cell], cell, 1.0)


def test_a_single_pair_gives_the_fingerprint_of_the_formula():
    from ase import Atoms

    # One Li and one Cl 2.5 Å apart in a large cell: each sees the other only.
    atoms = Atoms('LiCl', [[0, 0, 0], [2.5, 0, 0]], cell=[30] * 3, pbc=True)
    vector = print_of(atoms, cutoff=5.0, n_bins=10).vector.reshape(2, 2, 2, 10)
    weight = 0.5 * (1 + np.cos(np.pi / 2)) / 2.5**2
    # 2.5 Å is the edge between the bins 4 (centre 2.25) and 5 (2.75): half of the weight each.
    expected = np.zeros((2, 2, 2, 10))
    expected[0, 0, 1, 4:6] = expected[1, 0, 0, 4:6] = weight / 2
    np.testing.assert_allclose(vector, expected, atol=1e-6)
    # covalent radii of 1.28 and 1.02 Å
    assert print_of(atoms, cutoff=5.0).closest_contact == pytest.approx(2.5 / 2.30)


def test_the_fingerprint_does_not_see_how_a_cell_is_written():
    atoms = rattled()
    vector = print_of(atoms).vector
    rng = np.random.default_rng(3)
    order = rng.permutation(len(atoms))
    shifted = atoms.copy()
    shifted.positions += rng.normal(size=3) + np.array([2, -1, 1]) @ atoms.cell.array
    turn = Rotation.random(rng=4).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn)
    turned.positions = atoms.positions @ turn
    for other in (
        atoms[order],
        shifted,
        turned,
        atoms * (2, 1, 1),
        make_supercell(atoms, [[1, 1, 0], [0, 1, 0], [0, 0, 1]]),
    ):
        np.testing.assert_allclose(print_of(other).vector, vector, atol=1e-5)


def test_the_fingerprint_sees_what_differs():
    atoms = rattled(seed=0)
    denser = atoms.copy()
    denser.set_cell(atoms.cell * 0.97, scale_atoms=True)
    sheared = atoms.copy()
    sheared.set_cell(atoms.cell.array @ (np.eye(3) + 0.1 * np.eye(3, k=-1)), scale_atoms=True)
    swapped = atoms.copy()
    swapped.numbers[[0, 1]] = atoms.numbers[[1, 0]]
    vectors = [print_of(item).vector for item in (atoms, denser, sheared, swapped)]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(vectors, 2)]
    moved = atoms.copy()
    moved.positions[0] += 1e-2
    noise = np.linalg.norm(print_of(moved).vector - vectors[0])
    assert min(distances) > 10 * noise > 0


def test_the_fingerprint_is_continuous_where_a_neighbour_leaves():
    from ase import Atoms

    def at(distance):
        return print_of(Atoms('LiCl', [[0, 0, 0], [distance, 0, 0]], cell=[30] * 3, pbc=True), cutoff=5.0).vector

    for distance in (2.5, 2.625, 5.0):
        assert np.abs(at(distance + 1e-4) - at(distance - 1e-4)).max() < 2e-4


def test_elements_that_are_absent_leave_zeros_and_unknown_ones_are_refused():
    atoms = rattled()
    more = print_of(atoms, ('Cl', 'Ga', 'Li')).vector.reshape(3, 2, 3, -1)
    np.testing.assert_array_equal(more[1], 0)
    np.testing.assert_array_equal(more[:, :, 1], 0)
    np.testing.assert_allclose(more[np.ix_([0, 2], [0, 1], [0, 2])].ravel(), print_of(atoms).vector)
    with pytest.raises(ValueError, match='atoms other than Cl'):
        print_of(atoms, ('Cl',))


def brute_force(points, n, first):
    chosen = [first]
    while len(chosen) < min(n, len(points)):
        gaps = [
            -1.0 if k in chosen else min(((points[k] - points[c]) ** 2).sum() for c in chosen)
            for k in range(len(points))
        ]
        chosen.append(gaps.index(max(gaps)))
    return chosen


@given(
    arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(-5, 5).map(float)),
    st.integers(0, 14),
    st.data(),
)
def test_farthest_points_are_those_of_the_brute_force(points, n, data):
    first = data.draw(st.integers(0, len(points) - 1))
    found = farthest_points(points, n, first=first)
    assert found.tolist() == brute_force(points, n, first)[:n]
    assert len(set(found.tolist())) == len(found)


def test_farthest_points_spread():
    # Ten points near zero and three far away: the three are among the first four.
    points = np.r_[np.random.default_rng(1).normal(0, 0.01, (10, 2)), [[5, 0], [0, 5], [-5, -5]]]
    assert {10, 11, 12} <= set(farthest_points(points, 4).tolist())
    with pytest.raises(ValueError, match='finite'):
        farthest_points([[np.nan]], 1)


PLANTED = {'a': np.array([0.05, 0.2, 0.2, 0.25]), 'b': np.array([0.15, 0.4, 0.12])}


def planted_print(name, row):
    place = {('a', 1): 0.0, ('a', 2): 0.01, ('a', 3): 3.0, ('b', 0): 10.0, ('b', 2): 10.01}[name, row]
    return Fingerprint(np.array([place, 0.0]), 0.1 if (name, row) == ('b', 2) else 0.9)


def planted_candidates():
    return {name: np.flatnonzero(LEVELS.classify(values) == CANDIDATE) for name, values in PLANTED.items()}


def test_the_spread_begins_with_the_largest_deviation_and_refuses_contacts():
    candidates = planted_candidates()
    assert {name: rows.tolist() for name, rows in candidates.items()} == {'a': [1, 2, 3], 'b': [0, 2]}
    one = spread_selection(candidates, PLANTED, planted_print, 1)
    assert (one.chosen, one.pool, one.unphysical) == ({'a': [3]}, 5, {'b': [2]})
    # From 3.0 the farthest is 10.0, then 0.0; its twin at 0.01 comes last.
    assert spread_selection(candidates, PLANTED, planted_print, 3).chosen == {'a': [1, 3], 'b': [0]}
    assert spread_selection(candidates, PLANTED, planted_print, 99).chosen == {'a': [1, 2, 3], 'b': [0]}
    assert spread_selection({}, {}, planted_print, 3).chosen == {}


def test_the_pool_is_drawn_with_the_seed():
    candidates = {'a': np.arange(1000)}
    deviation = {'a': np.linspace(0.1, 0.2, 1000)}

    def select(seed):
        return spread_selection(
            candidates, deviation, lambda _, row: Fingerprint(np.array([float(row)]), 1.0), 5, max_pool=50, seed=seed
        )

    assert select(1) == select(1)
    assert select(1).chosen != select(2).chosen
    assert select(1).pool == 50


def history(*rows):
    return [dict(zip(('candidate', 'failed', 'incomplete'), row, strict=False)) for row in rows]


@pytest.mark.parametrize(
    ('rows', 'options', 'state'),
    [
        ([], {}, 'learning'),
        ([(0.2, 0)], {}, 'learning'),
        ([(0.2, 0), (0.009, 0)], {}, 'converged'),
        ([(0.2, 0), (0.009, 0)], {'generations_below': 2}, 'learning'),
        ([(0.008, 0), (0.2, 0), (0.009, 0)], {'generations_below': 2}, 'learning'),
        ([(0.008, 0), (0.009, 0)], {'generations_below': 2}, 'converged'),
        # What exploded has not converged, even where nothing is a candidate.
        ([(0.001, 0.6)], {'max_failed_share': 0.5, 'generations_failed': 2}, 'learning'),
        ([(0.001, 0.6), (0.1, 0.7)], {'max_failed_share': 0.5, 'generations_failed': 2}, 'diverged'),
        ([(0.1, 0.7), (0.1, 0.1), (0.1, 0.7)], {'max_failed_share': 0.5, 'generations_failed': 2}, 'learning'),
        ([(0.0, 1.0)], {'max_failed_share': 0.5, 'generations_failed': 3}, 'diverged'),
        # A run that was not done may hide candidates.
        ([(0.0, 0.0, True)], {}, 'learning'),
    ],
)
def test_the_end_of_learning(rows, options, state):
    assert learning_state(history(*rows), max_candidate_share=0.01, **options) == state
