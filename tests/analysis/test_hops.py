"""Hops of ions that are moved by hand between units of known chains."""

import numpy as np
import pytest

from aiida_softclay.analysis.hops import find_hops, hop_statistics, nearest_units, stay_durations, unit_name
from aiida_softclay.analysis.trajectory import ArrayTrajectory

CELL = np.eye(3) * 40.0
BONDS = {('Al', 'O'): 2.2, ('Al', 'Cl'): 2.7}
#: Two aluminium atoms that share an oxygen, a second such pair, and an isolated tetrahedron.
ALUMINIUM = np.array([[5.0, 5, 5], [8.4, 5, 5], [5.0, 15, 5], [8.4, 15, 5], [18.0, 10, 5]])
OXYGEN = np.array([[6.7, 5, 5], [6.7, 15, 5]])
TETRAHEDRON = 2.1 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5


def framework():
    chlorine = [ALUMINIUM[site] + TETRAHEDRON * [1, 1, 1] for site in (4,)]
    # Chain ends carry three chlorines each, away from the bridge.
    away = {0: -1, 1: 1, 2: -1, 3: 1}
    for site, side in away.items():
        chlorine.append(ALUMINIUM[site] + 2.1 * np.array([[side * 0.5, 0.8, 0.3], [side * 0.5, -0.8, 0.3], [0, 0, -1]]))
    return np.concatenate([ALUMINIUM, OXYGEN, *chlorine]), [13] * 5 + [8] * 2 + [17] * (4 + 12)


def run_of(visits, n_frames=60, every=1):
    """Return a trajectory in which each ion sits 3 Å above the units it visits: lists of (first frame, unit)."""
    frame, numbers = framework()
    lithium = np.zeros((n_frames, len(visits), 3))
    for ion, stays in enumerate(visits):
        for first, unit in stays:
            lithium[first:, ion] = ALUMINIUM[unit] + [0.1 * ion, 0, 3.0]
    rest = np.broadcast_to(frame, (n_frames, len(frame), 3))
    numbers = np.array([3] * len(visits) + numbers)
    return ArrayTrajectory(np.concatenate([lithium, rest], axis=1), CELL, numbers, timestep_ps=0.5)


def test_every_kind_of_hop_is_told():
    trajectory = run_of([
        [(0, 0), (20, 1)],  # along the first chain
        [(0, 1), (20, 2)],  # from the first chain to the second
        [(0, 4), (30, 0)],  # from the isolated unit to a chain
        [(0, 3), (30, 4)],  # from a chain to the isolated unit
        [(0, 2)],  # never
    ])  # fmt: skip
    found = hop_statistics(trajectory, BONDS)
    assert found.kinds == ('intra-chain', 'inter-chain', 'iso-assisted', 'inter-chain')
    assert found.hops.frames.tolist() == [20, 20, 30, 30]
    assert found.hops.origins.tolist() == [0, 1, 4, 3]
    assert found.hops.destinations.tolist() == [1, 2, 0, 4]
    assert found.shares['inter-chain'].value == pytest.approx(0.5)
    assert sum(share.value for share in found.shares.values()) == pytest.approx(1)
    assert found.rates['all'].value == pytest.approx(4 / (5 * 29.5))
    assert found.rates['intra-chain'].error == pytest.approx(1 / (5 * 29.5))
    assert found.unit_shares == pytest.approx({'AlOCl3': 0.8, 'AlCl4': 0.2})
    assert found.site_shares == pytest.approx({'AlOCl3': 0.75, 'AlCl4': 0.25})
    assert any('only 4 hops' in text for text in found.warnings)


def test_short_visits_are_no_hops():
    trajectory = run_of([[(0, 0), (20, 1), (22, 0)], [(0, 0), (58, 1)]])
    found = hop_statistics(trajectory, BONDS, residence_ps=2.0)
    assert found.kinds == ()
    assert found.shares == {}
    assert found.rates['all'].value == 0
    assert found.rates['all'].error > 0
    assert hop_statistics(trajectory, BONDS, residence_ps=1.0).kinds == ('intra-chain',) * 3


def test_a_change_by_way_of_a_short_visit_is_one_hop():
    units = np.array([[0] * 5 + [1] * 2 + [-1] * 2 + [2] * 5]).T
    found = find_hops(units, 4)
    assert found.frames.tolist() == [9]
    assert (found.origins[0], found.destinations[0]) == (0, 2)
    assert len(find_hops(units, 2).frames) == 2
    assert stay_durations(np.array([[0] * 5 + [1] * 6 + [0] * 5]).T, 4, 0.5) == pytest.approx([3.0])


def test_units_are_found_across_the_faces_of_a_tilted_cell():
    cell = np.array([[12.0, 0, 0], [5.0, 12, 0], [0, 0, 12]])
    positions = np.array([[[0.5, 0.5, 0.5], [11.5, 0.5, 0.5], [4.0, 0.5, 0.5]]])
    far = ArrayTrajectory(positions + 3 * cell[1], cell, np.array([3, 13, 13]))
    assert nearest_units(far).tolist() == [[0]]
    assert nearest_units(far, cutoff=0.5).tolist() == [[-1]]


def test_order_of_atoms_does_not_matter():
    trajectory = run_of([[(0, 0), (20, 1)], [(0, 1), (20, 2)], [(0, 4), (30, 0)]])
    order = np.random.default_rng(0).permutation(trajectory.positions.shape[1])
    shuffled = ArrayTrajectory(trajectory.positions[:, order], CELL, trajectory.atomic_numbers[order], timestep_ps=0.5)
    assert hop_statistics(shuffled, BONDS).shares == hop_statistics(trajectory, BONDS).shares


def test_a_model_of_random_hops_gives_its_rate():
    rng = np.random.default_rng(1)
    changes = rng.random((4000, 30)) < 0.005
    units = np.cumsum(changes, axis=0)
    found = find_hops(units, 1)
    assert found.frames.size == changes[1:].sum()


def test_what_cannot_be_told_gets_a_sentence():
    trajectory = run_of([[(0, 0)]], n_frames=6)
    with pytest.raises(ValueError, match='run longer'):
        hop_statistics(trajectory, BONDS)
    with pytest.raises(ValueError, match='no Na among'):
        nearest_units(trajectory, 'Na')
    with pytest.raises(ValueError, match='both Al'):
        nearest_units(trajectory, 'Al')
    with pytest.raises(ValueError, match='bonds must go'):
        hop_statistics(trajectory, {})
    with pytest.raises(ValueError, match='one frame at least'):
        find_hops([[0]], 0)
    assert any('cannot tell' in text for text in hop_statistics(trajectory, BONDS, residence_ps=0.4).warnings)
    assert unit_name('Al', ['O', 'Cl'], [4, 0]) == 'AlO4'
