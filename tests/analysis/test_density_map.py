"""Maps of ions with a known density: normal distributions, sites, channels, and cube files read by ASE."""

import numpy as np
import pytest
from ase.io.cube import read_cube
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.analysis import density_map as module
from aiida_softclay.analysis.density_map import density_map, write_density_cube
from aiida_softclay.analysis.percolation import periodic_parts
from aiida_softclay.analysis.trajectory import ArrayTrajectory

CELL = np.array([[8.0, 0, 0], [1.0, 9.0, 0], [-2.0, 1.5, 10.0]])
MIDDLE = np.array([0.5, 0.5, 0.5]) @ CELL


def framed(lithium, cell=CELL):
    """Lithium paths (n_frames, n_ions, 3) with two heavy opposite atoms that hold the centre of mass."""
    lithium = np.asarray(lithium, dtype=float)
    positions = np.concatenate([lithium, np.zeros((len(lithium), 2, 3))], axis=1)
    # The heavy atoms take up what lithium moves: the centre of mass stays at the middle of the cell.
    masses = np.array([6.94] * lithium.shape[1] + [208.98] * 2)
    missing = masses.sum() * MIDDLE - np.einsum('i,fic->fc', masses[:-2], lithium)
    positions[:, -2:] = (missing / (2 * 208.98))[:, None]
    return ArrayTrajectory(positions, cell, np.array(['Li'] * lithium.shape[1] + ['Bi'] * 2))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=6, deadline=None)
def test_integral_is_one_and_drift_wrapping_and_flips_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    run = framed(rng.normal(size=(12, 3, 3)) + MIDDLE)
    for smoothing in (0.0, 0.7):
        found = density_map(run, 'Li', spacing=0.5, smoothing=smoothing)
        assert found.density.sum() * found.voxel_volume == pytest.approx(1)
        assert found.number_density.sum() * found.voxel_volume == pytest.approx(3)
        drift = np.cumsum(rng.normal(size=(12, 1, 3)), axis=0)
        drift -= drift[0]
        moved = ArrayTrajectory(run.positions + drift, run.cells, run.atomic_numbers)
        assert density_map(moved, 'Li', spacing=0.5, smoothing=smoothing).density == pytest.approx(found.density)
        flipped = np.array(run.cells)
        flipped[6:, 2] += flipped[6:, 0]
        again = ArrayTrajectory(run.positions, flipped, run.atomic_numbers)
        assert density_map(again, 'Li', spacing=0.5, smoothing=smoothing).density == pytest.approx(found.density)


def test_a_still_ion_is_one_point_and_smoothing_makes_it_a_gaussian():
    site = np.array([0.25, 0.5, 0.75]) @ CELL
    run = framed(np.tile(site, (8, 1, 1)))
    found = density_map(run, 'Li', spacing=0.25)
    index = tuple(np.rint(np.array([0.25, 0.5, 0.75]) * found.density.shape).astype(int))
    assert found.density[index] == pytest.approx(1 / found.voxel_volume)
    assert np.count_nonzero(found.density) == 1
    assert found.error.max() == 0
    assert found.volume_share(2e-4).value == pytest.approx(1 / found.density.size)
    assert found.channel_dimension() == 0
    smooth = density_map(run, 'Li', spacing=0.25, smoothing=0.6)
    centre = np.array(index) / smooth.density.shape
    grid = np.stack(np.meshgrid(*[np.arange(n) / n for n in smooth.density.shape], indexing='ij'), axis=-1) - centre
    grid -= np.rint(grid)
    distance = np.linalg.norm(grid @ CELL, axis=-1)
    # The normal distribution by its formula, where no periodic image reaches.
    near = distance < 2.5
    gauss = np.exp(-0.5 * (distance / 0.6) ** 2) / (2 * np.pi * 0.6**2) ** 1.5
    assert smooth.density[near] == pytest.approx(gauss[near], rel=1e-3, abs=1e-6)


def test_error_bars_cover_a_known_density():
    rng = np.random.default_rng(1)
    pulls = []
    for _ in range(5):
        # Independent uniform positions: the density is 1/V everywhere.
        found = density_map(framed(rng.random((200, 60, 3)) @ CELL), 'Li', spacing=2.0, n_blocks=10)
        pulls.append((found.density * 720 - 1) / (found.error * 720))
    pulls = np.array(pulls)
    # Student's t with nine degrees of freedom lies within one standard error for 66 % of the points.
    assert 0.6 < np.mean(np.abs(pulls) < 1) < 0.73
    share = found.volume_share(1 / 720)
    assert share.value == pytest.approx(0.5, abs=0.12)
    assert share.error > 0


@pytest.mark.parametrize(('free', 'dimension'), [((2,), 1), ((0, 1), 2), ((0, 1, 2), 3), ((), 0)])
def test_channels_span_the_directions_in_which_ions_run(free, dimension):
    rng = np.random.default_rng(2)
    fractions = np.full((400, 30, 3), 0.02)
    fractions += rng.normal(scale=0.02, size=fractions.shape)
    for axis in free:
        fractions[..., axis] = rng.random((400, 30))
    found = density_map(framed(fractions @ CELL), 'Li', spacing=0.5, smoothing=0.5)
    assert found.channel_dimension(2e-4) == dimension
    assert found.channel_dimension(1.0) == 0


def test_ring_within_the_cell_is_no_channel():
    angle = np.linspace(0, 2 * np.pi, 300)
    ring = MIDDLE + 2.0 * np.column_stack([np.cos(angle), np.sin(angle), 0 * angle])
    found = density_map(framed(ring[:, None]), 'Li', spacing=0.4, smoothing=0.4)
    assert found.channel_dimension() == 0
    assert 0.01 < found.volume_share().value < 0.2


def test_cube_file_is_read_back_by_ase(tmp_path):
    rng = np.random.default_rng(3)
    found = density_map(framed(rng.normal(size=(20, 4, 3)) + MIDDLE), 'Li', spacing=0.8, smoothing=0.6)
    write_density_cube(tmp_path / 'li.cube', found)
    with open(tmp_path / 'li.cube', encoding='ascii') as file:
        content = read_cube(file)
    assert content['data'] == pytest.approx(found.density, rel=1e-6)
    assert content['atoms'].cell[:] == pytest.approx(found.cell, abs=1e-4)
    assert content['atoms'].numbers.tolist() == [3, 3, 3, 3, 83, 83]
    assert content['atoms'].positions == pytest.approx(found.positions, abs=1e-5)
    assert content['origin'] == pytest.approx(0)
    assert (tmp_path / 'li.cube').read_text().startswith('probability density of Li in 1/Angstrom^3')


def test_what_has_no_map_is_a_sentence(monkeypatch):
    run = framed(np.tile(MIDDLE, (4, 1, 1)))
    with pytest.raises(ValueError, match='there is no Na'):
        density_map(run, 'Na')
    with pytest.raises(ValueError, match='no frame'):
        density_map(run, 'Li', frames=[])
    with pytest.raises(ValueError, match='at least half'):
        density_map(run, 'Li', spacing=0.5, smoothing=0.1)
    monkeypatch.setattr(module, 'MOST_POINTS', 100)
    with pytest.raises(ValueError, match='wider spacing'):
        density_map(run, 'Li')
    monkeypatch.undo()
    run.positions[2, 0, 0] = np.nan
    with pytest.raises(ValueError, match='frame 2 are not finite'):
        density_map(run, 'Li')
    assert np.isnan(density_map(run, 'Li', frames=[0]).error).all()
    assert np.isnan(density_map(run, 'Li', frames=[0]).volume_share().error)


def test_periodic_parts_by_hand():
    # 0-1 a closed pair, 2-3 meets its image along a, 4 its own along b and c, 5 alone, 6-7-8 a ring without winding.
    first, second = [0, 2, 3, 4, 4, 6, 7, 8], [1, 3, 2, 4, 4, 7, 8, 6]
    steps = [[1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [-1, 1, 0], [0, -1, 0]]
    parts = periodic_parts(9, first, second, steps)
    assert parts.label.tolist() == [0, 0, 1, 1, 2, 3, 4, 4, 4]
    assert parts.dimension.tolist() == [0, 1, 2, 0, 0]
    assert parts.sizes.tolist() == [2, 2, 1, 1, 3]
    assert parts.image[1].tolist() == [1, 0, 0]
