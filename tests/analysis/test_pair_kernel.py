"""The compiled loops against plain NumPy, freud and the symmetries that no analysis may break."""

from __future__ import annotations

import itertools

import freud
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from MDAnalysis import Universe

from aiida_softclay.analysis.class_rdf import class_radial_distribution
from aiida_softclay.analysis.compiled import compiled
from aiida_softclay.analysis.coordination import coordination_numbers
from aiida_softclay.analysis.mdanalysis_trajectory import MDAnalysisTrajectory
from aiida_softclay.analysis.neighbours import neighbours
from aiida_softclay.analysis.pair_kernel import pair_histogram, pairs_within
from aiida_softclay.analysis.rdf import radial_distribution
from aiida_softclay.analysis.trajectory import ArrayTrajectory, iter_frames

TILTED = np.array([[11.0, 0, 0], [4.5, 9.0, 0], [-3.0, 5.0, 12.0]])
SETTINGS = settings(max_examples=20, deadline=None, derandomize=True)


def all_distances(positions, cell, cutoff):
    """Oracle: distances from each atom to every atom and image, shape (n_images, n_atoms, n_atoms), without itself."""
    heights = abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(np.roll(cell, -1, 0), np.roll(cell, -2, 0)), axis=1)
    fractions = positions @ np.linalg.inv(cell)
    points = (fractions - np.floor(fractions)) @ cell
    reach = [range(-int(cutoff / height) - 2, int(cutoff / height) + 3) for height in heights]
    images = np.array(list(itertools.product(*reach)))
    vectors = points[None, None] + (images @ cell)[:, None, None] - points[None, :, None]
    distances = np.linalg.norm(vectors, axis=-1)
    itself = np.flatnonzero((images == 0).all(axis=1))[0]
    np.fill_diagonal(distances[itself], np.inf)
    return distances


def oracle_histogram(positions, cell, labels, n_labels, r_max, n_bins):
    distances = all_distances(positions, cell, r_max)
    counts = np.zeros((n_labels, n_labels, n_bins), dtype=int)
    _, first, second = np.nonzero(distances < r_max)
    bins = (distances[distances < r_max] / r_max * n_bins).astype(int)
    np.add.at(counts, (labels[first], labels[second], bins), 1)
    return counts


@st.composite
def periodic_atoms(draw):
    """Return a few atoms anywhere in a cell of any shape that is not flat, perhaps left-handed."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    cell = np.diag(rng.uniform(4, 12, size=3)) + draw(st.sampled_from([0.0, 2.5])) * rng.normal(size=(3, 3))
    if abs(np.linalg.det(cell)) < 40:
        cell = np.diag(np.abs(np.diag(cell)) + 3.5)
    n_atoms = draw(st.integers(1, 25))
    return rng.uniform(-30, 30, size=(n_atoms, 3)), cell, rng.integers(0, 3, size=n_atoms)


@given(periodic_atoms(), st.floats(1.0, 6.5))
@SETTINGS
def test_histogram_equals_plain_numpy(atoms, r_max):
    positions, cell, labels = atoms
    found = pair_histogram(positions, cell, labels, 3, r_max, 40)
    expected = oracle_histogram(positions, cell, labels, 3, r_max, 40)
    # A distance at the edge of a bin may fall on either side.
    assert np.abs(np.cumsum(found - expected, axis=2)).max() <= 2
    assert abs(found.sum() - expected.sum()) <= 2


@given(periodic_atoms(), st.floats(1.0, 6.0))
@SETTINGS
def test_list_of_pairs_equals_plain_numpy(atoms, cutoff):
    positions, cell, labels = atoms
    table = np.array([[0.0, cutoff, 0.6 * cutoff], [cutoff, 0.8 * cutoff, 0.0], [0.6 * cutoff, 0.0, 0.0]])
    pairs = pairs_within(positions, cell, table, labels)
    distances = all_distances(positions, cell, cutoff)
    close = distances < table[labels][:, labels]
    ours = np.sort(pairs.distances)
    # Half of the directed pairs of the oracle are undirected ones.
    assert ours == pytest.approx(np.sort(distances[close])[::2], abs=1e-9)
    separation = positions[pairs.second] - positions[pairs.first] - pairs.vectors
    turns = separation @ np.linalg.inv(cell)
    assert turns == pytest.approx(np.round(turns), abs=1e-8)
    assert np.linalg.norm(pairs.vectors, axis=1) == pytest.approx(pairs.distances)


@given(periodic_atoms(), st.integers(0, 1000))
@SETTINGS
def test_nothing_depends_on_wrapping_order_origin_or_choice_of_the_cell(atoms, seed):
    positions, cell, labels = atoms
    rng = np.random.default_rng(seed)
    original = np.sort(neighbours(positions, cell, 4.0).distances)
    folded = positions + rng.integers(-3, 4, size=positions.shape) @ cell
    order = rng.permutation(len(positions))
    # Another basis of the same lattice: integer vectors of determinant one.
    basis = np.eye(3, dtype=int)
    basis[0, 1], basis[1, 2], basis[2, 0] = rng.integers(-1, 2, size=3)
    basis = basis if round(np.linalg.det(basis)) == 1 else np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]])
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    for points, matrix in (
        (folded, cell), (positions[order], cell), (positions + rng.normal(size=3), cell), (positions, basis @ cell),
        (positions @ rotation, cell @ rotation), (positions, cell[[2, 0, 1]]),
    ):  # fmt: skip
        assert np.sort(neighbours(points, matrix, 4.0).distances) == pytest.approx(original, abs=1e-9)
    counts = pair_histogram(positions, cell, labels, 3, 5.0, 1)
    assert np.array_equal(pair_histogram(folded[order], cell, labels[order], 3, 5.0, 1), counts)


def test_blocks_of_cells_make_no_difference(monkeypatch):
    """Large systems are worked through block by block, with room that may have to grow."""
    rng = np.random.default_rng(6)
    # All atoms in one corner: much denser than the room for pairs is made for.
    points, labels = 0.2 * rng.uniform(size=(120, 3)) @ (3 * TILTED), rng.integers(0, 2, size=120)
    whole = pair_histogram(points, 3 * TILTED, labels, 2, 4.0, 8)
    pairs = pairs_within(points, 3 * TILTED, 4.0)
    monkeypatch.setattr('aiida_softclay.analysis.cell_list.CELLS_PER_BLOCK', 7)
    assert np.array_equal(pair_histogram(points, 3 * TILTED, labels, 2, 4.0, 8), whole)
    again = pairs_within(points, 3 * TILTED, 4.0)
    assert np.array_equal(again.first, pairs.first)
    assert np.array_equal(again.vectors, pairs.vectors)
    assert whole.sum() == 2 * pairs.first.size == (all_distances(points, 3 * TILTED, 4.0) < 4.0).sum()


def test_neighbours_are_sorted_and_go_both_ways():
    points = np.random.default_rng(3).uniform(size=(60, 3)) @ TILTED
    found = neighbours(points, TILTED, 4.0)
    assert np.array_equal(np.lexsort((found.second, found.first)), np.arange(found.first.size))
    forward = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert forward == {(second, first) for first, second in forward}


def test_g_of_a_random_triclinic_gas_equals_freud():
    rng = np.random.default_rng(11)
    cell = 3 * TILTED
    positions = rng.uniform(size=(4, 900, 3)) @ cell
    symbols = np.array(['Ga'] * 300 + ['Cl'] * 600)
    ours = radial_distribution(ArrayTrajectory(positions, cell, symbols), r_max=8.0, bin_width=0.1, n_frames=None)
    box = freud.box.Box.from_matrix(cell.T)
    like, unlike = freud.density.RDF(80, 8.0), freud.density.RDF(80, 8.0)
    for frame in positions:
        points = box.wrap(frame)
        like.compute((box, points[300:]), reset=False)
        unlike.compute((box, points[300:]), query_points=points[:300], reset=False)
    assert ours.coordination[ours.row('Cl', 'Cl')] == pytest.approx(like.n_r, rel=2e-3, abs=2e-3)
    # freud divides by the density of all points, we by that of the others.
    assert ours.g[ours.row('Cl', 'Cl')][8:] * 599 / 600 == pytest.approx(like.rdf[8:], abs=0.03)
    assert ours.g[ours.row('Ga', 'Cl')][8:] == pytest.approx(unlike.rdf[8:], abs=0.03)


def test_g_of_classes_that_change_from_frame_to_frame():
    """Fast ions gather in one half of the box: twice as many of their kind around them."""
    rng = np.random.default_rng(5)
    cell = np.diag([40.0, 40.0, 40.0])
    positions = rng.uniform(size=(12, 1200, 3)) @ cell
    symbols = np.array(['Mg'] * 800 + ['Cl'] * 400)
    fast = (positions[:, :, 0] < 20.0) & (symbols == 'Mg')
    slow = ~fast & (symbols == 'Mg')
    trajectory = ArrayTrajectory(positions, cell, symbols)
    pairs = [('fast', 'fast'), ('fast', 'slow'), ('fast', 'Cl'), ('Mg', 'Mg')]
    found = class_radial_distribution(
        trajectory, {'fast': fast, 'slow': slow}, pairs, r_max=6.0, bin_width=0.5, n_frames=None
    )
    # Through a wall at distance r from everywhere, a fraction 1 - r / (2 · 20) of a shell stays in a slab of 20 Å.
    inside = 2 * (1 - found.radii / 40.0)
    for row, expected in enumerate((inside, 2 - inside, np.ones(12), np.ones(12))):
        deviation = (found.g[row] - expected)[2:] / found.g_error[row][2:]
        assert np.sqrt((deviation**2).mean()) < 2.2, pairs[row]
    plain = radial_distribution(trajectory, [('Mg', 'Mg')], r_max=6.0, bin_width=0.5, n_frames=None)
    assert found.g[3] == pytest.approx(plain.g[0])


def test_classes_are_checked():
    trajectory = ArrayTrajectory(np.zeros((2, 3, 3)) + np.arange(3)[:, None], np.eye(3) * 9, np.array(['Ga', 'F', 'F']))
    with pytest.raises(ValueError, match='`idle` is empty in all 2 frames'):
        class_radial_distribution(trajectory, {'idle': np.zeros((2, 3), dtype=bool)}, [('idle', 'F')])
    with pytest.raises(ValueError, match='an element has this name'):
        class_radial_distribution(trajectory, {'F': np.ones(3, dtype=bool)})
    with pytest.raises(ValueError, match=r'a mask of the shape \(3,\) or \(2, 3\)'):
        class_radial_distribution(trajectory, {'some': np.array([0, 2])})


def test_nonsense_is_refused_in_words():
    points = np.zeros((2, 3))
    with pytest.raises(ValueError, match='atom 1 is first'):
        pairs_within(np.array([[0.0, 0, 0], [0, np.inf, 0]]), TILTED, 2.0)
    with pytest.raises(ValueError, match='atom 1 is first'):
        pairs_within(np.array([[0.0, 0, 0], [0, np.nan, 0]]), TILTED, [[2.0, 0], [0, 0]], [0, 1])
    with pytest.raises(ValueError, match='one label from 0 to 1'):
        pair_histogram(points, TILTED, [0, 2], 2, 3.0, 10)
    with pytest.raises(ValueError, match='symmetric table'):
        pairs_within(points, TILTED, [[1.0, 2.0], [0.0, 1.0]], [0, 1])
    with pytest.raises(ValueError, match='or 0 where no pair is wanted'):
        pairs_within(points, TILTED, [[1.0, -2.0], [-2.0, 1.0]], [0, 1])
    with pytest.raises(ValueError, match='shape'):
        pairs_within(np.empty((0, 3)), TILTED, 2.0)
    with pytest.raises(ValueError, match='span a volume'):
        pairs_within(points, np.full((3, 3), np.nan), 2.0)
    assert pairs_within(points, TILTED, [[0.0, 0, 0], [0, 0, 0], [0, 0, 1.0]], [0, 1]).first.size == 0


def test_code_is_compiled_where_nothing_can_be_written(monkeypatch):
    """A read-only installation without any cache directory still computes."""
    # Of the places for compiled code only that of modules in zip files is left, which this is not.
    monkeypatch.setattr(numba.core.config, 'CACHE_LOCATOR_CLASSES', 'ZipCacheLocator')
    with pytest.raises(RuntimeError, match='cannot cache'):
        numba.njit(cache=True)(lambda x: x + 1)
    assert compiled(lambda x: x + 1)(1) == 2


@given(st.integers(0, 8))
@settings(max_examples=5, deadline=None, derandomize=True)
def test_a_later_start_is_the_same_as_fewer_frames(start):
    rng = np.random.default_rng(1)
    positions, symbols = rng.uniform(0, 30, size=(10, 60, 3)), np.array(['Li', 'Cl'] * 30)
    options = {'r_max': 4.0, 'bin_width': 0.5, 'n_frames': None}
    whole = radial_distribution(ArrayTrajectory(positions, TILTED, symbols), start=start, **options)
    part = radial_distribution(ArrayTrajectory(positions[start:], TILTED, symbols), **options)
    assert whole.g == pytest.approx(part.g)
    assert whole.coordination == pytest.approx(part.coordination)
    assert whole.g_error == pytest.approx(part.g_error, nan_ok=True)


def test_frames_from_mdanalysis_equal_plain_arrays():
    rng = np.random.default_rng(2)
    symbols = np.array(['Li'] * 20 + ['Cl'] * 40)
    universe = Universe.empty(60, trajectory=True)
    universe.add_TopologyAttr('elements', symbols)
    positions = rng.uniform(0, 15, size=(6, 60, 3)).astype('f4')
    dimensions = np.array([[14 + 0.1 * frame, 15, 16, 85, 95, 100] for frame in range(6)], dtype='f4')
    universe.load_new(positions, dimensions=dimensions)
    streamed = MDAnalysisTrajectory(universe)
    plain = ArrayTrajectory(positions, streamed.cells[:], symbols)
    options = {'r_max': 5.0, 'bin_width': 0.5, 'n_frames': None}
    assert radial_distribution(streamed, **options).g == pytest.approx(radial_distribution(plain, **options).g)
    bonds = {('Li', 'Cl'): 3.0}
    assert np.array_equal(
        coordination_numbers(streamed, bonds)['Li', 'Cl'].counts, coordination_numbers(plain, bonds)['Li', 'Cl'].counts
    )
    chloride = MDAnalysisTrajectory(universe.select_atoms('element Cl'))
    assert chloride.positions[2:4] == pytest.approx(positions[2:4, 20:])
    assert chloride.positions[5] == pytest.approx(positions[5, 20:])
    with pytest.raises(ValueError, match='no elements'):
        MDAnalysisTrajectory(Universe.empty(3, trajectory=True))


def test_frames_are_read_in_runs(monkeypatch):
    positions = np.random.default_rng(0).normal(size=(12, 4, 3))
    trajectory = ArrayTrajectory(positions, np.eye(3) * 9, np.array(['Li'] * 4))
    monkeypatch.setattr('aiida_softclay.analysis.trajectory.CHUNK_BYTES', 4 * 24 * 3)
    wanted = [0, 1, 2, 3, 4, 7, 9, 10]
    found = list(iter_frames(trajectory, wanted))
    assert [index for index, _, _ in found] == wanted
    assert np.array([frame for _, frame, _ in found]) == pytest.approx(positions[wanted])
