"""Unwrapping gives back the path that was folded into the cell, or refuses to guess."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.analysis.unwrap import unwrap

TRICLINIC = np.array([[9.0, 0.0, 0.0], [2.5, 8.0, 0.0], [-1.0, 3.0, 10.0]])


def walk(n_frames, length, cell, seed=0):
    """Return a random walk of steps of one length, as it is and folded into the cell."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(n_frames, 5, 3))
    steps *= length / np.linalg.norm(steps, axis=2, keepdims=True)
    path = np.cumsum(steps, axis=0)
    fractional = path @ np.linalg.inv(cell)
    return path, (fractional - np.floor(fractional)) @ cell


@pytest.mark.parametrize('cell', [np.eye(3) * 8.0, TRICLINIC])
def test_a_folded_path_comes_back(cell):
    path, folded = walk(400, 1.5, cell)
    assert np.abs(path[-1] - path[0]).max() > 10.0
    found = np.array(list(unwrap((frame, cell) for frame in folded)))
    np.testing.assert_allclose(found - found[0], path - path[0], atol=1e-9)
    np.testing.assert_allclose(found[0], folded[0], atol=1e-12)


def test_unwrapped_positions_stay():
    path, _ = walk(100, 1.0, TRICLINIC)
    found = np.array(list(unwrap((frame, TRICLINIC) for frame in path)))
    np.testing.assert_allclose(found, path, atol=1e-9)


def test_steps_that_could_be_those_of_an_image_are_refused():
    cell = np.eye(3) * 8.0
    _, folded = walk(50, 3.9, cell)
    with pytest.raises(ValueError, match='between frames 0 and 1 an atom moves'):
        list(unwrap((frame, cell) for frame in folded))


def test_a_breathing_cell_moves_nothing_by_itself():
    fractional = np.random.default_rng(1).random((4, 3))
    cells = [TRICLINIC * (1 + 0.02 * np.sin(0.3 * step)) for step in range(30)]
    found = list(unwrap((fractional @ cell, cell) for cell in cells))
    for positions, cell in zip(found, cells, strict=True):
        np.testing.assert_allclose(positions, fractional @ cell, atol=1e-9)


@given(st.integers(0, 10**6), st.integers(1, 20))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_any_image_and_any_first_frame_give_the_same_displacements(seed, offset):
    """Each atom of each frame may be given as any of its images, and the path may be taken up anywhere."""
    rng = np.random.default_rng(seed)
    path, _ = walk(40, 1.2, TRICLINIC, seed)
    images = path + rng.integers(-3, 4, size=path.shape) @ TRICLINIC
    order = rng.permutation(path.shape[1])
    found = np.array(list(unwrap((frame[order], TRICLINIC) for frame in images)))
    np.testing.assert_allclose(found - found[0], (path - path[0])[:, order], atol=1e-8)
    later = np.array(list(unwrap((frame, TRICLINIC) for frame in images[offset:])))
    np.testing.assert_allclose(later - later[0], path[offset:] - path[offset], atol=1e-8)


@pytest.mark.parametrize(
    ('positions', 'cell', 'words'),
    [
        (np.full((4, 3), np.nan), TRICLINIC, 'frame 1 has positions'),
        (np.zeros((4, 3)), np.full((3, 3), np.inf), 'frame 1 has positions or cell'),
        (np.zeros((4, 3)), np.zeros((3, 3)), 'frame 1 must be three lattice vectors'),
        (np.zeros((3, 3)), TRICLINIC, '3 atoms instead of 4'),
    ],
)
def test_frames_that_cannot_be_followed_are_refused(positions, cell, words):
    with pytest.raises(ValueError, match=words):
        list(unwrap([(np.zeros((4, 3)), TRICLINIC), (positions, cell)]))
