"""Displacements of single ions, fast and slow classes and their surroundings, from cases known by construction."""

import numpy as np
import pytest
from scipy.stats import maxwell

from aiida_softclay.analysis.atom_classes import EmptyClassError
from aiida_softclay.analysis.class_rdf import class_radial_distribution
from aiida_softclay.analysis.displacement import mean_squared_displacement
from aiida_softclay.analysis.displacement_classes import (
    class_coordination,
    displacement_distribution,
    mobility_classes,
    total_displacements,
)
from aiida_softclay.analysis.trajectory import ArrayTrajectory

CELL = np.eye(3) * 40.0


def test_displacements_are_relative_to_the_centre_of_mass():
    positions = np.zeros((3, 2, 3))
    positions[-1] = [[3.0, 0, 0], [0, 4.0, 0]]
    found = total_displacements(ArrayTrajectory(positions + 7.0, CELL, np.array([12, 12])))
    # Equal masses: both are displaced by half of the difference.
    assert found == pytest.approx([2.5, 2.5])
    drifting = positions + np.arange(3)[:, None, None] * np.array([1.0, -2.0, 0.5])
    assert total_displacements(ArrayTrajectory(drifting, CELL, np.array([12, 12]))) == pytest.approx(found)
    with pytest.raises(ValueError, match='order of time'):
        total_displacements(ArrayTrajectory(positions, CELL, np.array([12, 12])), 2, 1)


def test_density_of_brownian_displacements_is_that_of_maxwell():
    rng = np.random.default_rng(0)
    lengths = np.linalg.norm(rng.normal(scale=0.8, size=(40000, 3)), axis=1)
    found = displacement_distribution(lengths)
    assert (found.density * np.diff(found.edges)).sum() == pytest.approx(1)
    shares = np.diff(maxwell.cdf(found.edges, scale=0.8)) / 0.05
    filled = shares * 0.05 * 40000 > 10
    pulls = (found.density - shares)[filled] / found.density_error[filled]
    assert 0.8 < pulls.std() < 1.2
    assert found.edges[1] == pytest.approx(0.05)
    assert (found.density_error > 0).all()


def test_displacements_without_meaning_are_refused():
    with pytest.raises(ValueError, match='no displacements'):
        displacement_distribution([])
    with pytest.raises(ValueError, match='finite'):
        displacement_distribution([1.0, np.nan])
    with pytest.raises(ValueError, match='width'):
        displacement_distribution([1.0], 0.0)


def two_kinds():
    """Five magnesium ions with five chlorines that follow them far, and five with six fluorines that do not move."""
    octahedron = 2.0 * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    numbers, start, moves = [], [], []
    for site in range(10):
        centre = np.array([8.0 * (site % 5) + 4, 8.0 * (site // 5) + 4, 4])
        fast = site < 5
        ligands = octahedron[:5] if fast else octahedron
        numbers += [12] + [17 if fast else 9] * len(ligands)
        start += [centre, *(centre + ligands)]
        moves += [fast * (1 + 0.01 * site)] * (1 + len(ligands))
    n_frames = 21
    along = np.linspace(0, 8.0, n_frames)[:, None, None] * np.array([0, 0, 1.0])
    positions = np.array(start) + along * np.array(moves)[None, :, None]
    # A heavy host far from all keeps the centre of mass in place.
    host = np.broadcast_to([20.0, 30.0, 20.0], (n_frames, 2000, 3))
    rng = np.random.default_rng(1)
    host = host + rng.uniform(-9, 9, size=(1, 2000, 3))
    numbers = np.array(numbers + [79] * 2000)
    return ArrayTrajectory(np.concatenate([positions, host], axis=1), CELL, numbers, timestep_ps=0.5)


def test_fast_ions_are_undercoordinated_where_they_are_built_so():
    trajectory = two_kinds()
    found = mobility_classes(trajectory, 'Mg')
    magnesium = np.flatnonzero(np.asarray(trajectory.atomic_numbers) == 12)
    assert found.classes.largest.tolist() == magnesium[:5].tolist()
    assert found.classes.smallest.tolist() == magnesium[5:].tolist()
    assert found.fast_ratio == pytest.approx(2, rel=0.01)
    assert found.slow_ratio < 1e-3
    coordination = class_coordination(trajectory, found.members, {'Cl': 2.5, 'F': 2.5}, n_frames=None)
    fast, slow = coordination['Mg fast'], coordination['Mg slow']
    assert fast.numbers == pytest.approx(np.full(21, 5.0))
    assert slow.mean.value == pytest.approx(6)
    assert fast.by_neighbour['F'].max() == 0
    assert slow.mean_by_neighbour['F'].value == pytest.approx(6)
    assert fast.times_ps[-1] == pytest.approx(10.0)
    assert fast.n_ions == 5


def test_classes_reach_radial_distributions_and_displacements():
    trajectory = two_kinds()
    found = mobility_classes(trajectory, 'Mg')
    masks = found.masks(len(trajectory.atomic_numbers))
    g = class_radial_distribution(trajectory, masks, [('Mg fast', 'Cl'), ('Mg slow', 'Cl')], r_max=3.0, n_frames=3)
    assert g.coordination[g.row('Mg fast', 'Cl'), -1] == pytest.approx(5)
    assert g.coordination[g.row('Mg slow', 'Cl'), -1] == 0
    msd = mean_squared_displacement(trajectory, classes=found.members, max_lag_ps=10.0)
    assert msd['Mg fast'].msd[-1] == pytest.approx(64, rel=0.05)
    assert msd['Mg slow'].msd[-1] == pytest.approx(0, abs=1e-3)


def test_empty_classes_and_absent_elements_are_said():
    trajectory = two_kinds()
    with pytest.raises(EmptyClassError):
        mobility_classes(trajectory, 'Cl')
    with pytest.raises(ValueError, match='no Li among'):
        mobility_classes(trajectory, 'Li')
    with pytest.raises(ValueError, match='holds no atoms'):
        class_coordination(trajectory, {'fast': []}, {'Cl': 2.5})
    with pytest.raises(ValueError, match='there is no Br'):
        class_coordination(trajectory, {'fast': [0]}, {'Br': 2.5})
