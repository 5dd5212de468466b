"""Zones and bands planted in a random glass are found; what is not there is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.analysis.shear_zones import localisation, shear_zones

CELL = np.array([[32.0, 0, 0], [4.0, 33.0, 0], [-6.0, 5.0, 34.0]])
N_ATOMS = 2000
seeds = st.integers(0, 2**32 - 1)


def atoms(seed=0):
    return np.random.default_rng(seed).random((N_ATOMS, 3))


def near(fractions, centre, radius, axes=(0, 1, 2)):
    """Atoms whose distance to a point, an axis or a plane of the cell is small; nearest image of a mild tilt."""
    delta = fractions - np.asarray(centre)
    delta -= np.rint(delta)
    delta[:, [axis for axis in range(3) if axis not in axes]] = 0
    return np.flatnonzero(np.linalg.norm(delta @ CELL, axis=1) < radius)


@pytest.mark.parametrize(('axes', 'dimension'), [((0, 1, 2), 0), ((0, 1), 1), ((1, 2), 1), ((2,), 2), ((0,), 2)])
def test_dimension_of_planted_zones(axes, dimension):
    fractions = atoms()
    # Across the corner of the cell, so that each zone is cut by the faces.
    radius = 7.0 if len(axes) == 3 else 4.0
    chosen = near(fractions, (0, 0, 0), radius, axes)
    zones = shear_zones(fractions @ CELL, CELL, chosen)
    assert zones.zones[0].size > 0.95 * len(chosen)
    assert zones.dimension == zones.zones[0].dimension == dimension
    # A quarter of all atoms taken at random nearly span the cell as well: a plane is told by its dimension.
    assert zones.clustering > (1.5 if dimension < 2 else 1.0)
    assert zones.mean_size > zones.random_mean_size + 3 * zones.random_deviation
    if dimension == 0:
        centre = zones.zones[0].centre @ np.linalg.inv(CELL)
        assert (centre - np.rint(centre)) @ CELL == pytest.approx(np.zeros(3), abs=1.0)
        # A full sphere of radius R has a radius of gyration of sqrt(3/5) R.
        assert zones.zones[0].radius_of_gyration == pytest.approx(np.sqrt(0.6) * radius, rel=0.1)
    else:
        assert np.isnan(zones.zones[0].radius_of_gyration)


def test_all_atoms_and_single_atoms():
    fractions = atoms()
    whole = shear_zones(fractions @ CELL, CELL, np.arange(N_ATOMS))
    assert whole.dimension == 3
    assert whole.clustering == pytest.approx(1)
    lonely = shear_zones(fractions @ CELL, CELL, [3])
    assert lonely.zones == ()
    assert (lonely.mean_size, lonely.dimension) == (1, 0)
    random = shear_zones(fractions @ CELL, CELL, np.random.default_rng(5).permutation(N_ATOMS)[:100])
    assert random.clustering == pytest.approx(1, abs=5 * random.random_deviation / random.random_mean_size)


def test_two_zones_are_two():
    fractions = atoms()
    first, second = near(fractions, (0.2, 0.2, 0.2), 6.0), near(fractions, (0.7, 0.7, 0.7), 5.0)
    found = shear_zones(fractions @ CELL, CELL, np.concatenate([first, second]))
    assert [set(zone.atoms) for zone in found.zones[:2]] == [set(first), set(second)]
    assert found.n_selected == len(first) + len(second)


@given(seeds)
@settings(max_examples=8, deadline=None)
def test_zones_ignore_wrapping_order_and_choice_of_cell(seed):
    rng = np.random.default_rng(seed)
    fractions = atoms(seed)
    chosen = rng.permutation(N_ATOMS)[:300]
    expected = shear_zones(fractions @ CELL, CELL, chosen)
    order = rng.permutation(N_ATOMS)
    moved = (fractions + rng.integers(-2, 3, fractions.shape)) @ CELL + rng.normal(size=3)
    flip = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]])
    found = shear_zones(moved[order], flip @ CELL, np.argsort(order)[chosen])
    assert {frozenset(order[zone.atoms]) for zone in found.zones} == {frozenset(z.atoms) for z in expected.zones}
    assert found.mean_size == pytest.approx(expected.mean_size)
    assert [zone.dimension for zone in found.zones] == [zone.dimension for zone in expected.zones]
    assert sorted(zone.radius_of_gyration for zone in found.zones) == pytest.approx(
        sorted(zone.radius_of_gyration for zone in expected.zones), nan_ok=True
    )


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_band_is_seen_along_its_normal_alone(axis):
    fractions = atoms()
    values = np.zeros(N_ATOMS)
    values[np.abs(fractions[:, axis] - 0.55) < 0.05] = 1.0  # fills exactly layer 5 of 10
    found = localisation(values, fractions @ CELL, CELL)
    others = [other for other in range(3) if other != axis]
    assert found.layering[axis] == pytest.approx(1)
    assert found.layering[others] == pytest.approx([0, 0], abs=0.01)
    assert np.flatnonzero(found.profiles[axis]).tolist() == [5]
    assert found.half_share[axis] == pytest.approx(0.05, abs=0.02)
    assert found.half_share[others] == pytest.approx([0.5, 0.5], abs=0.1)
    assert found.participation == pytest.approx(values.mean())
    # A band across the faces of the cell is as thin.
    shifted = localisation(values, (fractions + 0.45) @ CELL, CELL)
    assert shifted.half_share == pytest.approx(found.half_share)


def test_localisation_without_order_is_zero_on_average():
    rng = np.random.default_rng(3)
    layering = [localisation(rng.exponential(size=500), rng.random((500, 3)) @ CELL, CELL).layering for _ in range(300)]
    assert np.mean(layering) == pytest.approx(0, abs=5 * np.std(layering) / np.sqrt(900))
    even = localisation(np.ones(500), rng.random((500, 3)) @ CELL, CELL)
    assert even.participation == pytest.approx(1)
    assert even.deviation == 0
    assert even.layering == pytest.approx(0)


@pytest.mark.parametrize('seed', range(6))
def test_small_cells_have_the_zones_of_their_supercells(seed):
    """Heights from 5 to 12 Å, a cutoff of 4 Å: what ends within the cell is there once in every copy of it."""
    rng = np.random.default_rng(seed)
    cell = np.array([[5.0, 0, 0], [1.5, 9.0, 0], [-1.0, 2.0, 12.0]])
    positions = rng.uniform(size=(40, 3)) @ cell
    selected = rng.choice(40, 9, replace=False)
    copies = np.indices((2, 2, 2)).reshape(3, -1).T
    large = np.concatenate([positions + copy @ cell for copy in copies])
    many = np.concatenate([selected + 40 * number for number in range(8)])
    small_zones = shear_zones(positions, cell, selected, cutoff=4.0, minimum_size=1, n_random=2).zones
    zones = shear_zones(large, 2 * cell, many, cutoff=4.0, minimum_size=1, n_random=2).zones
    ended = [(zone.size, round(zone.radius_of_gyration, 6)) for zone in small_zones if zone.dimension == 0]
    found = [(zone.size, round(zone.radius_of_gyration, 6)) for zone in zones if zone.dimension == 0]
    assert sorted(found) == sorted(8 * ended)
    assert {zone.dimension for zone in zones} == {zone.dimension for zone in small_zones}


def test_an_atom_that_reaches_its_own_image_is_a_thread():
    cell = np.diag([3.5, 20.0, 20.0])
    positions = np.array([[0.0, 5, 5], [1.0, 15, 15]])
    zones = shear_zones(positions, cell, [0], cutoff=4.0, minimum_size=1, n_random=2).zones
    assert [(zone.size, zone.dimension) for zone in zones] == [(1, 1)]


def test_what_makes_no_zone_is_a_sentence():
    positions = atoms() @ CELL
    with pytest.raises(ValueError, match='no atom was selected'):
        shear_zones(positions, CELL, [])
    with pytest.raises(ValueError, match='there are 2000 atoms'):
        shear_zones(positions, CELL, [2000])
    with pytest.raises(ValueError, match='cutoff must be positive'):
        shear_zones(positions, CELL, [1], cutoff=0.0)
    with pytest.raises(ValueError, match='not all zero'):
        localisation(np.zeros(2000), positions, CELL)
    with pytest.raises(ValueError, match='divided into 10 layers'):
        localisation([1.0, 2.0], positions[:2], CELL)
