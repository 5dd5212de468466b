"""Trajectories: file, joining of stages, node."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from aiida.common.exceptions import ValidationError
from aiida.orm import QueryBuilder, load_node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiida_softclay.data.hdf5 import DamagedFileError
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import InvalidTrajectoryError, TrajectoryFile
from aiida_softclay.data.trajectory_join import concatenate

NUMBERS = [3, 17, 17, 31]
CELL = np.array([[5.0, 0, 0], [1.0, 6, 0], [-1.0, 0.5, 7]])


def frame(step):
    """Return positions and cell that are a function of the step."""
    positions = np.array([[0.1, 0.2, 0.3], [1, 2, 3], [3, 2, 1], [4, 4, 4.0]]) + step * np.array([0.011, 0, -0.02])
    return positions, CELL * (1 + step * 1e-5)


def write(path, steps, timestep_ps=0.001, numbers=NUMBERS, stage='nvt', shift=0.0):
    with TrajectoryFile(path, 'w', numbers, timestep_ps, engine={'program': 'lammps'}, stage=stage) as trajectory:
        for step in steps:
            positions, cell = frame(step)
            trajectory.append(positions[: len(numbers)] + shift, cell, step)
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / 'run.h5', range(100, 1100, 10))


def test_round_trip(path):
    with TrajectoryFile(path) as trajectory:
        assert (trajectory.n_frames, trajectory.n_atoms, trajectory.formula) == (100, 4, 'GaLiCl2')
        assert (trajectory.timestep_ps, trajectory.stage, trajectory.engine) == (0.001, 'nvt', {'program': 'lammps'})
        np.testing.assert_array_equal(trajectory.steps[:], np.arange(100, 1100, 10))
        np.testing.assert_allclose(trajectory.times_ps, np.arange(0.1, 1.1, 0.01))
        np.testing.assert_allclose(trajectory.positions[7], frame(170)[0], atol=1e-6)
        np.testing.assert_array_equal(trajectory.cells[7], frame(170)[1])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(-120, 120), stop=st.none() | st.integers(-120, 120), stride=st.integers(1, 120),
    slab=st.integers(48, 2000),
)  # fmt: skip
def test_iterating_is_slicing(path, start, stop, stride, slab):
    from unittest.mock import patch

    with patch('aiida_softclay.data.trajectory_file.SLAB_BYTES', slab), TrajectoryFile(path) as trajectory:
        found = [item.step for item in trajectory.iter_frames(start, stop, stride)]
        assert found == trajectory.steps[:][start:stop:stride].tolist()


def test_append_continues(path):
    with TrajectoryFile(path, 'a') as trajectory:
        trajectory.append(*frame(1100), 1100)
        assert trajectory.n_frames == 101
        np.testing.assert_allclose(trajectory.positions[-1], frame(1100)[0], atol=1e-5)
        with pytest.raises(InvalidTrajectoryError, match=r'step 1100 does not come after the last frame \(step 1100\)'):
            trajectory.append(*frame(1100), 1100)
    with TrajectoryFile(path) as trajectory:
        assert trajectory.n_frames == 101
        with pytest.raises(ValueError, match='open for reading'):
            trajectory.append(*frame(1200), 1200)


@pytest.mark.parametrize(
    ('positions', 'cell', 'message'),
    [
        (np.zeros((3, 3)), CELL, r'expected \(4, 3\)'),
        (np.full((4, 3), np.nan), CELL, 'not finite'),
        (np.zeros((4, 3)), np.full((3, 3), np.inf), 'not finite'),
        (np.zeros((4, 3)), np.ones((3, 3)), 'no volume'),
    ],
)
def test_broken_frames_are_refused(path, positions, cell, message):
    with (
        TrajectoryFile(path, 'a') as trajectory,
        pytest.raises(InvalidTrajectoryError, match=f'step 2000: .*{message}'),
    ):
        trajectory.append(positions, cell, 2000)
    with TrajectoryFile(path) as trajectory:
        assert trajectory.n_frames == 100


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({}, 'needs atomic_numbers'),
        ({'atomic_numbers': [3, 0], 'timestep_ps': 0.001}, 'whole numbers'),
        ({'atomic_numbers': [3], 'timestep_ps': 0.0}, 'positive number of ps'),
    ],
)
def test_bad_creation(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        TrajectoryFile(tmp_path / 'a.h5', 'w', **arguments)
    assert not (tmp_path / 'a.h5').exists()


def test_damaged(path, tmp_path):
    data = path.read_bytes()
    for content in (b'', b'text' * 500, data[: len(data) // 2]):
        path.write_bytes(content)
        with pytest.raises(DamagedFileError):
            TrajectoryFile(path)
    import h5py

    with h5py.File(tmp_path / 'other.h5', 'w') as file:
        file['x'] = 1
    with pytest.raises(DamagedFileError, match='not a trajectory file'):
        TrajectoryFile(tmp_path / 'other.h5')


def test_same_content_same_bytes_and_hash(tmp_path):
    first = write(tmp_path / 'a.h5', range(50)).read_bytes()
    time.sleep(1.1)
    assert write(tmp_path / 'b.h5', range(50)).read_bytes() == first
    hashes = set()
    for number, options in enumerate(({}, {'shift': 1e-4}, {'stage': 'npt'}, {'timestep_ps': 0.002})):
        with TrajectoryFile(write(tmp_path / f'{number}.h5', range(50), **options)) as trajectory:
            hashes.add(trajectory.content_hash())
    with TrajectoryFile(tmp_path / '0.h5', 'r') as one, TrajectoryFile(tmp_path / 'b.h5') as other:
        assert one.content_hash() == other.content_hash()
    assert len(hashes) == 4


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 6)), max_size=4), order=st.randoms())
def test_joined_segments_are_the_whole_run(tmp_path, cuts, order):
    """A run written in overlapping segments, given in any order, is the run written at once."""
    starts = sorted({0, *(start for start, _ in cuts)})
    overlap = dict(cuts)
    parts = []
    for number, start in enumerate(starts):
        stop = starts[number + 1] if number + 1 < len(starts) else 40
        stop = min(stop + overlap.get(start, 0), 40)
        parts.append(write(tmp_path / f'{number}.h5', range(start * 10, stop * 10, 10)))
    order.shuffle(parts)
    seams = concatenate(parts, tmp_path / 'joined.h5')
    write(tmp_path / 'whole.h5', range(0, 400, 10))
    with TrajectoryFile(tmp_path / 'joined.h5') as joined, TrajectoryFile(tmp_path / 'whole.h5') as whole:
        assert joined.content_hash() == whole.content_hash()
    assert len(seams) == len(starts) - 1
    assert all(seam['gap_steps'] in (10, None) for seam in seams)


def test_seams_are_reported(tmp_path):
    parts = [
        write(tmp_path / 'a.h5', range(0, 60, 10), stage='melt'),
        write(tmp_path / 'b.h5', range(50, 100, 10), stage='cool'),
        write(tmp_path / 'c.h5', [150], stage='cool'),
    ]
    seams = concatenate(parts, tmp_path / 'joined.h5')
    assert [(seam['step'], seam['gap_steps'], seam['repeated']) for seam in seams] == [(60, 10, 1), (150, 60, 0)]
    assert seams[0]['largest_difference_angstrom'] == 0
    with TrajectoryFile(tmp_path / 'joined.h5') as joined:
        assert joined.stage == 'melt+cool'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'numbers': [17, 3, 17, 31]}, 'different atoms'),
        ({'timestep_ps': 0.002}, 'different time steps'),
        ({'shift': 0.5}, 'contradicts.*step 50'),
    ],
)
def test_runs_that_are_not_one_are_refused(tmp_path, options, message):
    parts = [write(tmp_path / 'a.h5', range(0, 60, 10)), write(tmp_path / 'b.h5', range(50, 100, 10), **options)]
    with pytest.raises(InvalidTrajectoryError, match=message):
        concatenate(parts, tmp_path / 'joined.h5')
    with pytest.raises(InvalidTrajectoryError, match='no trajectories'):
        concatenate([], tmp_path / 'joined.h5')


def test_size_and_memory(tmp_path):
    """A trajectory is 12 bytes per atom and frame and next to nothing besides, and is handled in bounded memory."""
    n_atoms, n_frames = 2000, 1600
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 40, (n_atoms, 3))
    noise = [rng.normal(scale=0.15, size=(n_atoms, 3)) for _ in range(20)]
    path = tmp_path / 'big.h5'
    tracemalloc.start()
    try:
        with TrajectoryFile(path, 'w', np.full(n_atoms, 3), 0.001) as trajectory:
            for step in range(n_frames):
                trajectory.append(base + noise[step % 20], np.eye(3) * 40, step)
        with TrajectoryFile(path) as trajectory:
            assert sum(1 for _ in trajectory.iter_frames()) == n_frames
            trajectory.content_hash()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size / n_atoms / n_frames < 12.2
    assert peak < 25e6


def test_node(path, aiida_profile):
    node = MdTrajectoryData.from_file(path).store()
    node = load_node(node.pk)
    assert node.filename == 'trajectory.h5'
    assert (node.n_frames, node.n_atoms, node.formula, node.symbol_counts) == (
        100, 4, 'GaLiCl2', {'Cl': 2, 'Ga': 1, 'Li': 1},
    )  # fmt: skip
    assert (node.first_step, node.last_step, node.stride_steps, node.timestep_ps) == (100, 1090, 10, 0.001)
    assert (node.stage, node.engine) == ('nvt', {'program': 'lammps'})
    with node.open_trajectory() as trajectory:
        np.testing.assert_allclose(trajectory.positions[-1], frame(1090)[0], atol=1e-5)
    structure = node.get_step_structure(-1)
    np.testing.assert_allclose([site.position for site in structure.sites], frame(1090)[0], atol=1e-5)
    np.testing.assert_allclose(structure.cell, frame(1090)[1], atol=1e-12)
    assert [site.kind_name for site in structure.sites] == ['Li', 'Cl', 'Cl', 'Ga']
    with pytest.raises(IndexError, match='has 100 frames'):
        node.get_step_structure(100)
    query = QueryBuilder().append(MdTrajectoryData, filters={'attributes.n_atoms': 4, 'attributes.stage': 'nvt'})
    assert node.pk in [found.pk for found in query.all(flat=True)]


def test_node_refuses(tmp_path, aiida_profile):
    with pytest.raises(ValidationError, match='holds no frame'):
        MdTrajectoryData.from_file(write(tmp_path / 'empty.h5', []))
    (tmp_path / 'text.h5').write_text('hello')
    with pytest.raises(ValidationError, match=r'trajectory\.h5 cannot be used'):
        MdTrajectoryData.from_file(tmp_path / 'text.h5')
    with pytest.raises(ValidationError, match='there is no file'):
        MdTrajectoryData.from_file(tmp_path / 'missing.h5')
    with pytest.raises(ValidationError):
        MdTrajectoryData().store()


def grid_file(path, positions, resolution=1e-3, steps=None):
    with TrajectoryFile(path, 'w', [3] * positions.shape[1], 0.001, resolution=resolution) as trajectory:
        for index, row in enumerate(positions):
            trajectory.append(row, CELL, index if steps is None else steps[index])
    return path


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000), jump=st.sampled_from([0.05, 3.0, 25.0]), resolution=st.sampled_from([1e-4, 1e-3]),
    key=st.one_of(
        st.integers(-40, 39), st.slices(40), st.lists(st.integers(0, 39), min_size=1, max_size=8, unique=True),
        st.tuples(st.slices(40), st.slices(5)), st.tuples(st.integers(0, 39), st.just([4, 0, 2]), st.integers(0, 2)),
    ),
)  # fmt: skip
def test_positions_on_a_grid_are_those_given(tmp_path, seed, jump, resolution, key):
    """However far atoms go, and however the file is sliced, to half of the resolution."""
    positions = np.random.default_rng(seed).normal(scale=jump, size=(40, 5, 3)).cumsum(axis=0)
    with TrajectoryFile(grid_file(tmp_path / 'grid.h5', positions, resolution)) as trajectory:
        assert trajectory.resolution == resolution
        found, wanted = trajectory.positions[key], positions[key]
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=0.5 * resolution + 1e-7 * np.abs(positions).max(), rtol=0)


def test_grid_continues_and_hashes_by_content(tmp_path):
    """What is in the file counts, and not where its references lie or in how many sittings it was written."""
    positions = np.random.default_rng(5).normal(scale=9, size=(60, 7, 3)).cumsum(axis=0)
    whole = grid_file(tmp_path / 'whole.h5', positions)
    first = grid_file(tmp_path / 'first.h5', positions[:25])
    second = grid_file(tmp_path / 'second.h5', positions[20:], steps=range(20, 60))
    concatenate([second, first], tmp_path / 'joined.h5')
    with TrajectoryFile(first, 'a') as trajectory:
        for index in range(25, 60):
            trajectory.append(positions[index], CELL, index)
    hashes, references = set(), set()
    for path in (whole, first, tmp_path / 'joined.h5'):
        with TrajectoryFile(path) as trajectory:
            hashes.add(trajectory.content_hash())
            references.add(trajectory.positions.n_references)
            assert trajectory.n_frames == 60
    assert len(hashes) == 1
    assert min(references) > 1
    with (
        TrajectoryFile(grid_file(tmp_path / 'far.h5', positions), 'a') as trajectory,
        pytest.raises(InvalidTrajectoryError, match='step 99: an atom is 1e\\+08 Å from the origin'),
    ):
        trajectory.append(np.full((7, 3), 1e8), CELL, 99)
    with pytest.raises(ValueError, match=r'between 0 and 0\.01'):
        TrajectoryFile(tmp_path / 'coarse.h5', 'w', NUMBERS, 0.001, resolution=0.1)


def test_grid_takes_six_bytes(tmp_path, aiida_profile):
    """For each atom and frame, of a liquid whose atoms leave the range of their first reference."""
    rng = np.random.default_rng(0)
    positions = rng.normal(scale=0.4, size=(1500, 400, 3)).cumsum(axis=0) + rng.uniform(0, 40, (400, 3))
    path = grid_file(tmp_path / 'liquid.h5', positions)
    with TrajectoryFile(path) as trajectory:
        assert trajectory.positions.n_references > 1
    assert path.stat().st_size / positions.size * 3 < 6.5
    node = MdTrajectoryData.from_file(path)
    assert (node.resolution, node.base.attributes.get('encoding')) == (1e-3, 'int16 displacements on a grid')
    assert MdTrajectoryData.from_file(write(tmp_path / 'single.h5', range(3))).resolution is None
