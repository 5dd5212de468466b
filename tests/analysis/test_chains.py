"""Chains of tetrahedra and censuses against structures that were built with known ones."""

from __future__ import annotations

import math

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.analysis.census import census_over_time
from aiida_softclay.analysis.chains import chain_statistics, chains_from_bonds
from aiida_softclay.analysis.coordination import coordination_numbers
from aiida_softclay.analysis.neighbours import neighbours
from aiida_softclay.analysis.pair_kernel import pairs_within
from aiida_softclay.analysis.trajectory import ArrayTrajectory

BONDS = {('Al', 'O'): 2.2, ('Al', 'Cl'): 2.6}


def straight_chain(length, bridges, origin):
    """Return symbols and positions of Al–X–Al–X–Al along x; Al are 3.4 Å apart, and each has one terminal Cl."""
    symbols, positions = [], []
    for index in range(length):
        centre = np.add(origin, [3.4 * index, 0, 0])
        symbols += ['Al', 'Cl']
        positions += [centre, np.add(centre, [0, 0, 2.2])]
        if index < length - 1:
            between = bridges[index] if isinstance(bridges[index], list) else [bridges[index]]
            for sign, bridge in zip((1, -1), between, strict=False):
                symbols.append(bridge)
                positions.append(np.add(centre, [1.7, sign * 0.9, 0]))
    return symbols, positions


def built(*chains, edge=40.0):
    symbols, positions = [], []
    for row, (length, bridges) in enumerate(chains):
        more, places = straight_chain(length, bridges, [36.0, 6.0 + 7.0 * (row % 5), 6.0 + 9.0 * (row // 5)])
        symbols += more
        positions += places
    # The chains start at 36 Å of 40 and go through the face of the cell.
    return ArrayTrajectory(np.array([positions]) % edge, np.eye(3) * edge, np.array(symbols))


def test_known_chains():
    trajectory = built((1, []), (1, []), (2, ['O']), (3, ['O', 'Cl']), (4, [['O', 'Cl'], 'O', 'Cl']))
    found = chain_statistics(trajectory, 'Al', BONDS)
    assert {length: share.value for length, share in found.shares.items()} == pytest.approx(
        {1: 2 / 11, 2: 2 / 11, 3: 3 / 11, 4: 4 / 11}
    )
    assert found.numbers == {1: 2, 2: 1, 3: 1, 4: 1}
    assert found.isolated == found.shares[1]
    assert found.mean_length.value == pytest.approx(11 / 5)
    assert {name: share.value for name, share in found.bridges.items()} == pytest.approx(
        {'O': 3 / 6, 'Cl': 2 / 6, 'O+Cl': 1 / 6}
    )
    assert found.coordination['Al', 'O'].counts.sum() == 2 * 4
    assert found.coordination['Al', 'O'].counts.tolist() == (
        coordination_numbers(trajectory, BONDS)['Al', 'O'].counts.tolist()
    )


def test_a_shared_anion_is_no_link_beyond_the_cutoff():
    """Two Al 3.4 Å apart: linked at 4.2 Å, isolated at 3.3 Å."""
    trajectory = built((2, ['O']), (2, ['Cl']))
    assert chain_statistics(trajectory, 'Al', BONDS).isolated.value == 0
    assert chain_statistics(trajectory, 'Al', BONDS).isolated.method == 'no isolated atom in any frame'
    apart = chain_statistics(trajectory, 'Al', BONDS, cutoff=3.3)
    assert apart.isolated.value == 1
    assert apart.bridges == {}


@given(st.integers(0, 10**6), st.sampled_from([0.0, 3.0]))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_chains_equal_those_of_a_graph(seed, tilt):
    """Connected components of the graph that the definition describes, built pair by pair."""
    rng = np.random.default_rng(seed)
    cell = np.diag([14.0, 15.0, 16.0]) + tilt * np.tri(3, k=-1)
    labels = rng.choice(3, size=150, p=[0.3, 0.2, 0.5])
    labels[0] = 0
    positions = rng.uniform(-20, 20, size=(150, 3))
    table = np.array([[0, 2.2, 2.6], [2.2, 0, 0], [2.6, 0, 0]])
    found = chains_from_bonds(pairs_within(positions, cell, table, labels), labels, 0, (1, 2), 4.2)

    near = neighbours(positions, cell, 4.2)
    distance = {}
    for i, j, value in zip(near.first.tolist(), near.second.tolist(), near.distances.tolist(), strict=True):
        distance[i, j] = min(value, distance.get((i, j), math.inf))
    graph = networkx.Graph()
    centres = np.flatnonzero(labels == 0).tolist()
    graph.add_nodes_from(centres)
    for bridge in np.flatnonzero(labels > 0).tolist():
        bonded = [i for i in centres if distance.get((bridge, i), 99) < table[0, labels[bridge]]]
        graph.add_edges_from((i, j) for i in bonded for j in bonded if i < j and distance.get((i, j), 99) < 4.2)
    components = list(networkx.connected_components(graph))
    assert sorted(found.lengths.tolist()) == sorted(len(component) for component in components)
    assert len(found.links) == graph.number_of_edges()
    for component in components:
        assert len({int(found.chain[centres.index(atom)]) for atom in component}) == 1


def test_errors_of_the_shares_are_those_of_independent_chains():
    """Draw glasses of chains at random: the scatter of the isolated share is the error that each one gives."""
    rng = np.random.default_rng(4)
    shares, errors = [], []
    for _ in range(120):
        lengths = rng.choice([1, 2, 3], size=15, p=[0.5, 0.25, 0.25])
        found = chain_statistics(built(*((int(n), ['O'] * (n - 1)) for n in lengths), edge=45.0), 'Al', BONDS)
        shares.append(found.isolated.value)
        errors.append(found.isolated.error)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(shares, ddof=1), rel=0.25)


def test_chains_refuse_what_makes_no_sense():
    trajectory = built((2, ['O']))
    with pytest.raises(ValueError, match='asks for F'):
        chain_statistics(trajectory, 'Al', {('Al', 'F'): 2.0})
    with pytest.raises(ValueError, match='must go from Al'):
        chain_statistics(trajectory, 'Al', {('O', 'Al'): 2.0})
    with pytest.raises(ValueError, match='no bond of Al'):
        chain_statistics(trajectory, 'Al', {})
    with pytest.raises(ValueError, match='must be positive'):
        chain_statistics(trajectory, 'Al', {('Al', 'O'): math.nan})
    with pytest.raises(ValueError, match='one bond, one cutoff'):
        coordination_numbers(trajectory, {('Al', 'O'): 2.0, ('O', 'Al'): 2.1})


def exchanging_units(shares, seed):
    """Ga with four anions each, of which a growing share is Cl: the exchange of a melt with time."""
    rng = np.random.default_rng(seed)
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    sites = np.indices((5, 5, 5)).reshape(3, -1).T * 9.0
    n_units = len(sites)
    symbols = np.array(['Ga'] * n_units + ['F'] * 4 * n_units + ['Cl'] * 4 * n_units)
    frames, drawn = [], []
    for share in shares:
        is_new = rng.uniform(size=(n_units, 4)) < share
        # An anion that is not bonded waits far from all gallium.
        bound = (sites[:, None] + 2.0 * corners).reshape(-1, 3)
        waiting = np.repeat(sites + 4.5, 4, axis=0)
        old = np.where(is_new.reshape(-1, 1), waiting, bound)
        new = np.where(is_new.reshape(-1, 1), bound, waiting + 0.5)
        frames.append(np.concatenate([sites, old, new]))
        drawn.append(is_new)
    return ArrayTrajectory(np.array(frames), np.eye(3) * 45.0, symbols), np.array(drawn)


def test_census_and_exchange_over_time():
    trajectory, drawn = exchanging_units(np.linspace(0, 0.6, 12), seed=3)
    tables = coordination_numbers(trajectory, {('Ga', 'F'): 2.5, ('Ga', 'Cl'): 2.5}, n_frames=None)
    census = census_over_time(tables.values())
    value, error = census.extent('Cl')
    assert value == pytest.approx(drawn.mean(axis=(1, 2)))
    expected = drawn.mean(axis=2).std(axis=1, ddof=1) / np.sqrt(125)
    assert error == pytest.approx(expected)
    assert census.extent('F')[0] == pytest.approx(1 - value)
    number = drawn.sum(axis=2)
    for n_new, name in enumerate(['GaF4', 'GaF3Cl', 'GaF2Cl2', 'GaFCl3', 'GaCl4']):
        kind = census.names.index(name)
        assert census.shares_per_frame[:, kind] == pytest.approx((number == n_new).mean(axis=1))
        assert census.shares[name].value == pytest.approx((number == n_new).mean())
        assert np.array_equal(census.kind_of == kind, number == n_new)
    assert census.share('GaCl6').value == 0
    assert census.share('GaCl6').error > 0
    assert sum(share.value for share in census.shares.values()) == pytest.approx(1)
    assert census.shares_per_frame.mean(axis=0).tolist() == sorted(census.shares_per_frame.mean(axis=0))[::-1]


def test_census_refuses_what_does_not_belong_together():
    trajectory, _ = exchanging_units([0.2, 0.5], seed=1)
    tables = coordination_numbers(trajectory, {('Ga', 'F'): 2.5, ('Ga', 'Cl'): 2.5, ('Cl', 'F'): 0.1})
    with pytest.raises(ValueError, match='of one cation'):
        census_over_time([tables['Ga', 'F'], tables['Cl', 'F']])
    with pytest.raises(ValueError, match='frame 0 has no bond'):
        census_over_time([tables['Cl', 'F']])
    with pytest.raises(ValueError, match='Li was not counted'):
        census_over_time([tables['Ga', 'F']]).extent('Li')
