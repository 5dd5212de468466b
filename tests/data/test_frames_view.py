"""Frames of several files seen as one trajectory: the same numbers, in order, and no more of them than asked for."""

from __future__ import annotations

import numpy as np
import pytest
from ase.io import iread
from frame_samples import make_block, write_frames
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiida_softclay.data import frames_view
from aiida_softclay.data.frames_store import BlockView
from aiida_softclay.data.frames_view import FramesView, run_steps

#: Files of one block, of two blocks, and of two sources in one block.
PARTS = [
    [(make_block(n_frames=10, seed=1), 'heat')],
    [(make_block(n_frames=4, seed=2), 'hold'), (make_block(('Li', 'Cl'), n_frames=3, seed=3), 'hold')],
    [(make_block(n_frames=5, seed=4), 'cool'), (make_block(n_frames=6, seed=5), 'npt')],
]
ENERGIES = np.concatenate([block.energies for part in PARTS for block, _ in part])
LABELS = [label for part in PARTS for block, label in part for _ in range(block.n_frames)]


@pytest.fixture
def paths(tmp_path):
    return [write_frames(tmp_path / f'{index}.h5', part) for index, part in enumerate(PARTS)]


@pytest.fixture
def view(paths):
    return FramesView({f'run_{index:03d}': path for index, path in reversed(list(enumerate(paths)))})


def energies(view):
    found = [block.energies for _, block in view.slabs()]
    return np.concatenate(found) if found else np.array([])


def test_order_is_that_of_the_names(view):
    assert view.n_frames == len(view) == 28
    assert view.names == ['run_000', 'run_001', 'run_002']
    np.testing.assert_array_equal(energies(view), ENERGIES)
    assert [source['label'] for source, block in view for _ in range(block.n_frames)] == LABELS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    start=st.integers(-30, 30), stop=st.integers(-30, 30) | st.none(), step=st.integers(1, 9),
    slab=st.integers(1, 12), again=st.integers(1, 3),
)  # fmt: skip
def test_a_slice_is_the_slice_of_an_array(view, start, stop, step, slab, again):
    """Over boundaries of files, blocks, sources and slabs, and slices of slices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlockView, 'slab', property(lambda self: slab))
        part = view[start:stop:step][::again]
        np.testing.assert_array_equal(energies(part), ENERGIES[start:stop:step][::again])
        assert len(part) == len(ENERGIES[start:stop:step][::again])
        labels = [source['label'] for source, block in part for _ in range(block.n_frames)]
        assert labels == LABELS[start:stop:step][::again]


def test_one_frame_with_its_labels(view):
    atoms = view[12]
    block = PARTS[1][0][0]
    assert atoms.get_chemical_symbols() == block.symbols
    np.testing.assert_allclose(atoms.positions, block.positions[2], atol=1e-6)
    np.testing.assert_allclose(atoms.get_forces(), block.forces[2], atol=1e-6)
    assert atoms.get_potential_energy() == block.energies[2]
    assert len(view[15]) == 2
    assert view[-1].get_potential_energy() == view[5::1][22].get_potential_energy() == ENERGIES[-1]
    for index in (28, -29):
        with pytest.raises(IndexError):
            view[index]


def test_nothing_is_read_that_is_not_asked_for(view, monkeypatch):
    opened = []
    original = frames_view.FramesFile

    def spy(path):
        opened.append(path.name)
        return original(path)

    monkeypatch.setattr(frames_view, 'FramesFile', spy)
    part = view[11:13]
    assert opened == []
    energies(part)
    assert opened == ['1.h5']


def test_memory_is_one_slab(tmp_path):
    """A trajectory of 80 MB passes with a few slabs in memory."""
    import tracemalloc

    block = make_block(('Li',) * 500, n_frames=1200, seed=1)
    paths = [write_frames(tmp_path / f'{index}.h5', [(block, 'a')]) for index in range(2)]
    size = 2 * sum(np.asarray(array, dtype=np.float32).nbytes for array in (block.positions, block.forces))
    view = FramesView(paths)
    tracemalloc.start()
    total = sum(slab.n_frames for _, slab in view)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 2400
    assert peak < 0.6 * size


def test_extxyz_goes_through_it(view, tmp_path):
    path = tmp_path / 'part.extxyz'
    assert view[::9].write_extxyz(path) == 4
    back = list(iread(path, index=':'))
    np.testing.assert_allclose([atoms.get_potential_energy() for atoms in back], ENERGIES[::9], rtol=1e-9)
    assert [atoms.info['label'] for atoms in back] == LABELS[::9]


def test_steps_follow_the_frames(paths):
    view = FramesView(paths, [range(0, 20, 2), range(20, 34, 2), range(40, 62, 2)])
    assert view.steps.tolist() == [*range(0, 34, 2), *range(40, 62, 2)]
    assert view[3:30:5].steps.tolist() == view.steps[3:30:5].tolist()
    with pytest.raises(ValueError, match=r'those of \[1, 7, 11\] frames, not of \[10, 7, 11\]'):
        FramesView(paths, [[0], range(7), range(11)])


def test_steps_from_the_statistics_of_a_run():
    statistics = {'first_step': 7, 'frame_stride': 5, 'steps_recorded': 20, 'steps_left_out': [15]}
    assert run_steps(statistics).tolist() == [10, 20, 25]
    assert run_steps({**statistics, 'steps_recorded': 3, 'steps_left_out': []}).tolist() == []


def test_what_cannot_be_viewed(view):
    with pytest.raises(ValueError, match='no frames to view'):
        FramesView([])
    with pytest.raises(ValueError, match='positive step'):
        view[::-1]
    assert not view[5:5]
