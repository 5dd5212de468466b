"""Long work tells how far it is, whoever listens."""

from __future__ import annotations

import numpy as np

from aiida_softclay.cli.patience import Progress
from aiida_softclay.data.telling import tell, telling, told
from aiida_softclay.data.trajectory_export import export_trajectory
from aiida_softclay.data.trajectory_file import TrajectoryFile


def test_nobody_needs_to_listen():
    tell('work', 1, 2)
    assert list(told([1, 2], 'work', 2)) == [1, 2]


def test_an_export_tells_of_every_frame(tmp_path):
    path = tmp_path / 'run.h5'
    with TrajectoryFile(path, 'w', np.array([3, 17]), 0.001) as target:
        for step in range(5):
            target.append(np.zeros((2, 3)), np.eye(3) * 5, step)
    heard = []
    with TrajectoryFile(path) as run, telling(lambda *how_far: heard.append(how_far)):
        export_trajectory(run, tmp_path / 'run.extxyz', stride=2)
    assert heard == [('writing frames to run.extxyz', done, 3) for done in range(4)]
    tell('work', 1, 2)
    assert len(heard) == 4, 'nobody listens after the context'


def test_patience_is_five_seconds():
    """Nothing is said of what is quick; then at most every five seconds, with the time that is left."""
    said, now = [], [0.0]
    progress = Progress(said.append, lambda: now[0])
    for second in range(21):
        now[0] = float(second)
        progress('frames', second, 20)
    assert said == ['frames: 5 of 20, about 15 s left', 'frames: 10 of 20, about 10 s left',
                    'frames: 15 of 20, about 5 s left']  # fmt: skip
    progress('panels', 0, 3)
    now[0] += 6
    progress('panels', 0, 3)
    assert said[-1] == 'panels: 0 of 3'
