"""Boundary against bulk, with ions that were made fast at the boundary."""

import numpy as np
import pytest

from aiida_softclay.analysis.displacement import mean_squared_displacement
from aiida_softclay.analysis.region_mobility import region_mobility, regions_of
from aiida_softclay.analysis.trajectory import ArrayTrajectory
from aiida_softclay.analysis.transport import nernst_einstein, self_diffusion
from aiida_softclay.structures.grains import boundary_atoms

CONDITIONS = {'volume': 24.0**3, 'temperature': 300.0, 'window_ps': (5.0, 20.0)}


def two_slabs(fast=0.5, slow=0.1, n_frames=200):
    """Two grains, one above the other; magnesium within 6 Å of the other grain walks five times as far."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(1.0, 24.0, 3.0)] * 3, indexing='ij'), axis=-1).reshape(-1, 3)
    cell = np.eye(3) * 24.0
    grains = (grid[:, 2] > 12).astype(int)
    mask = boundary_atoms(grid, cell, grains, cutoff=3.5)
    numbers = np.where(np.arange(len(grid)) % 2, 12, 92)
    scale = np.where(numbers == 12, np.where(mask, fast, slow), 0.0)
    walk = np.cumsum(rng.normal(size=(n_frames, len(grid), 3)), axis=0) * scale[:, None]
    return ArrayTrajectory(grid + walk, cell, numbers, timestep_ps=0.5), mask


def test_boundary_and_bulk_have_the_mobilities_they_were_given():
    trajectory, mask = two_slabs()
    regions = regions_of(trajectory, 'Mg', mask)
    assert regions['boundary'].size + regions['bulk'].size == 256
    found = region_mobility(trajectory, 'Mg', regions, 2, **CONDITIONS)
    for name, scale in (('boundary', 0.5), ('bulk', 0.1)):
        truth = scale**2 / 2 / 0.5 * 1e-4
        # The centre of mass follows a little.
        assert found.diffusion[name].diffusivity == pytest.approx(truth, rel=0.15)
    assert found.ratio.value == pytest.approx(25, rel=0.2)
    assert found.ratio.error < 5
    expected = 25 * regions['boundary'].size / (25 * regions['boundary'].size + regions['bulk'].size)
    assert found.share['boundary'].value == pytest.approx(expected, abs=0.02)
    assert found.share['boundary'].value + found.share['bulk'].value == pytest.approx(1)
    assert found.share['boundary'].error == pytest.approx(found.share['bulk'].error)


def test_parts_of_all_regions_sum_to_the_species():
    trajectory, mask = two_slabs()
    found = region_mobility(trajectory, 'Mg', regions_of(trajectory, 'Mg', mask), 2, **CONDITIONS)
    whole = self_diffusion(mean_squared_displacement(trajectory, ['Mg'])['Mg'], CONDITIONS['window_ps'])
    expected = nernst_einstein(whole, 2, n_ions=256, volume=CONDITIONS['volume'], temperature=300.0)
    parts = sum(part.conductivity for part in found.conductivity.values())
    assert parts == pytest.approx(expected.conductivity, rel=1e-6)


def test_ions_that_rattle_are_said_to():
    trajectory, mask = two_slabs(fast=0.5, slow=0.0)
    found = region_mobility(trajectory, 'Mg', regions_of(trajectory, 'Mg', mask), 2, **CONDITIONS)
    assert any(text.startswith('bulk: the run is too short') for text in found.warnings)
    assert found.share['boundary'].value == pytest.approx(1, abs=0.01)


def test_regions_that_make_no_sense_are_refused():
    trajectory, mask = two_slabs(n_frames=20)
    with pytest.raises(ValueError, match='no Mg in the bulk'):
        regions_of(trajectory, 'Mg', np.ones_like(mask))
    with pytest.raises(ValueError, match='mask of the shape'):
        regions_of(trajectory, 'Mg', np.flatnonzero(mask))
    with pytest.raises(ValueError, match='no Li among'):
        regions_of(trajectory, 'Li', mask)
    with pytest.raises(ValueError, match='in two regions'):
        region_mobility(trajectory, 'Mg', {'a': [1, 3], 'b': [3, 5]}, 2, **CONDITIONS)
    with pytest.raises(ValueError, match='not Mg'):
        region_mobility(trajectory, 'Mg', {'a': [1, 3], 'b': [0]}, 2, **CONDITIONS)
    with pytest.raises(ValueError, match='two regions at least'):
        region_mobility(trajectory, 'Mg', {'a': [1, 3]}, 2, **CONDITIONS)


def test_an_unknown_error_stays_unknown():
    trajectory, mask = two_slabs(n_frames=100)
    boundary, bulk = regions_of(trajectory, 'Mg', mask).values()
    # One atom, and stretches that are shorter than the window: nothing tells the error.
    found = region_mobility(trajectory, 'Mg', {'one': boundary[:1], 'bulk': bulk}, 2, **CONDITIONS)
    assert np.isnan(found.diffusion['one'].diffusivity_error)
    assert np.isnan(found.share['one'].error)
    assert np.isnan(found.share['bulk'].error)
