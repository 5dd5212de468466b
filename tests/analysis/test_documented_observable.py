"""The observable that the documentation writes as an example does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from aiida_softclay.analysis.trajectory import ArrayTrajectory

PAGE = Path(__file__).parents[2] / 'docs' / 'howto' / 'add-an-observable.md'


def test_share_of_bound_ions_of_rock_salt():
    """All ions of a perfect crystal have partners at a/2; with half of the partners far away, some have none."""
    (code,) = re.findall(r'```python\n(.*?)```', PAGE.read_text(), flags=re.DOTALL)
    names = {'__name__': 'documented'}
    exec(compile(code, PAGE.name, 'exec', dont_inherit=True), names)  # noqa: S102 - the page's own code is what is tested
    crystal = bulk('LiCl', 'rocksalt', a=5.14, cubic=True).repeat(2)
    frames = np.repeat(crystal.positions[None], 6, axis=0)
    trajectory = ArrayTrajectory(frames, crystal.cell[:], crystal.numbers, timestep_ps=0.1)
    share = names['bound_share']
    assert share(trajectory, 'Li', 'Cl', 2.7).share.value == 1.0
    assert share(trajectory, 'Li', 'Cl', 2.5).share.value == 0.0
    # One ion leaves its place in half of the frames.
    frames[3:, np.flatnonzero(crystal.numbers == 3)[0]] += 1.285
    moved = ArrayTrajectory(frames, crystal.cell[:], crystal.numbers, timestep_ps=0.1)
    apart = 1.285 * np.sqrt(3)
    found = share(moved, 'Li', 'Cl', 0.99 * apart).share
    assert found.value == pytest.approx(0.0)
    n_ions = int((crystal.numbers == 3).sum())
    assert share(moved, 'Li', 'Cl', 1.01 * apart).share.value == pytest.approx(0.5 / n_ions)
