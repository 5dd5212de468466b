"""The file of deviations of a real run (heat, minimise, fly), whole and cut anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.parsers.lammps_deviation import deviation_arrays, read_deviation
from aiida_softclay.parsers.lammps_log import StageLog

FILE = Path(__file__).parent / 'fixtures' / 'lammps_deviation' / 'model_deviation.out'
PLAN = MdPlan.from_dict({
    'timestep_ps': 0.001, 'dump_every': 10, 'stages': [
        {'name': 'heat', 'kind': 'nvt', 'duration_ps': 0.035, 'temperature_K': 300},
        {'name': 'relax', 'kind': 'minimise', 'relax_cell': 'iso'},
        {'name': 'fly', 'kind': 'nve', 'duration_ps': 0.05, 'temperature_K': 300},
    ],
})  # fmt: skip


def arrays(text, name='fly', every=None, last_frame=85, first_step=35):
    stage = StageLog(name, 'nve', first_step)
    return deviation_arrays(PLAN, stage, read_deviation(text.splitlines(keepends=True)), every, last_frame)


def test_stages_are_told_apart():
    text = FILE.read_text()
    heat, fly = arrays(text, 'heat', last_frame=30, first_step=0), arrays(text)
    assert list(heat['step']) == [0, 10, 20, 30]
    assert list(fly['step']) == [35, 45, 55, 65, 75, 85]
    assert fly['time_ps'][0] == pytest.approx(0.035)
    assert not len(arrays(text, 'relax')['step'])
    rows = [line.split() for line in text.splitlines()[1:]]
    # The row of step 35 is there three times: the end of heat, the start of relax, and the start of fly.
    boundary = [float(row[4]) for row in rows if row[0] == '35']
    assert len(boundary) == 3
    assert fly['max_force_deviation_eV_A'][0] == boundary[2] != boundary[0]
    assert arrays(text, 'heat', every=35, last_frame=35, first_step=0)['max_force_deviation_eV_A'][1] == boundary[0]


def test_rows_of_a_minimisation_are_not_those_of_the_stage_after_it():
    """Killed when `fly` had begun and computed one step: rows of the minimisation reach further."""
    lines = FILE.read_text().splitlines(keepends=True)
    back = next(
        index for index in range(10, len(lines)) if int(lines[index].split()[0]) < int(lines[index - 1].split()[0])
    )
    assert list(arrays(''.join(lines[: back + 1]), last_frame=35)['step']) == [35]
    assert list(arrays(''.join(lines[:back]), last_frame=None)['step']) == []


def test_cut_anywhere():
    """No cut gives an error, and no row is half read."""
    text = FILE.read_text()
    whole = arrays(text)
    # Frames are written after the first row of their stage.
    start = text.index('\n', text.rindex('          35 ')) + 1
    for cut in range(start, len(text), 7):
        part = arrays(text[:cut])
        known = np.isin(part['step'], whole['step'])
        assert known.all()
        if len(part['step']) > 1:
            rows = np.isin(whole['step'], part['step'][1:])
            np.testing.assert_array_equal(part['min_force_deviation_eV_A'][1:], whole['min_force_deviation_eV_A'][rows])
    assert not read_deviation(['# step\n', 'garbage\n', '1 2 3\n', '10 1 2 3 4 5 x\n']).last
    assert np.isnan(read_deviation(['10 nan nan nan nan nan nan\n']).last[10]).all()
