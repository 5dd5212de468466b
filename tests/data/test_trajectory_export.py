"""Exported trajectories, read back by the programs that they are for."""

from __future__ import annotations

import tracemalloc

import MDAnalysis
import numpy as np
import pytest
from ase.io import read
from click.testing import CliRunner

from aiida_softclay.analysis.mdanalysis_trajectory import MDAnalysisTrajectory
from aiida_softclay.cli.trajectory import trajectory as command
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_export import export_trajectory
from aiida_softclay.data.trajectory_file import TrajectoryFile

CELL = np.array([[14.0, 0, 0], [2.5, 13, 0], [-1.5, 3.0, 12]])
NUMBERS = [3, 17, 9, 31, 17]


@pytest.fixture
def run(tmp_path):
    """A file of unwrapped paths that leave the cell, which breathes; its positions and cells."""
    rng = np.random.default_rng(2)
    positions = rng.normal(scale=0.8, size=(40, 5, 3)).cumsum(axis=0) + rng.uniform(0, 12, (5, 3))
    cells = CELL * (1 + 0.01 * np.sin(np.arange(40)))[:, None, None]
    with TrajectoryFile(tmp_path / 'run.h5', 'w', NUMBERS, 0.002, resolution=1e-3) as file:
        for index in range(40):
            file.append(positions[index], cells[index], 1000 + 50 * index)
    return tmp_path / 'run.h5', positions, cells


def universe(written):
    if len(written) == 2:
        return MDAnalysis.Universe(str(written[1]), str(written[0]))
    return MDAnalysis.Universe(
        str(written[0]),
        format='LAMMPSDUMP',
        atom_style='id type element x y z',
        lammps_coordinate_convention='unwrapped',
    )


@pytest.mark.parametrize('form', ['xtc', 'dcd', 'lammpstrj'])
def test_mdanalysis_reads_what_was_stored(run, tmp_path, form):
    path, positions, cells = run
    with TrajectoryFile(path) as file:
        written = export_trajectory(file, tmp_path / f'out.{form}', start=4, stride=3)
    found = universe(written)
    chosen = range(4, 40, 3)
    assert len(found.trajectory) == len(chosen)
    for frame, index in zip(found.trajectory, chosen, strict=True):
        np.testing.assert_allclose(frame.positions, positions[index], atol=7e-4)
        np.testing.assert_allclose(frame.triclinic_dimensions, cells[index], atol=2e-4)
    if form != 'lammpstrj':
        assert [str(symbol).capitalize() for symbol in found.atoms.elements] == ['Li', 'Cl', 'F', 'Ga', 'Cl']
        assert found.trajectory.dt == pytest.approx(0.002 * 50 * 3, rel=1e-4)
    if form == 'xtc':
        assert found.trajectory[11].time == pytest.approx(0.002 * (1000 + 50 * 37), rel=1e-6)
        symbols = ['Li', 'Cl', 'F', 'Ga', 'Cl']
        again = MDAnalysisTrajectory(found, symbols)
        np.testing.assert_allclose(again.positions[2:5], positions[10:17:3], atol=7e-4)


def test_ase_reads_extended_xyz(run, tmp_path):
    path, positions, cells = run
    with TrajectoryFile(path) as file:
        export_trajectory(file, tmp_path / 'out.extxyz')
    frames = read(tmp_path / 'out.extxyz', index=':')
    assert len(frames) == 40
    assert (frames[7].numbers == NUMBERS).all()
    assert frames[7].info['Step'] == 1350
    np.testing.assert_allclose(frames[7].positions, positions[7], atol=7e-4)
    np.testing.assert_allclose(frames[7].cell, cells[7], atol=1e-8)


@pytest.mark.parametrize('form', ['xtc', 'dcd', 'lammpstrj', 'extxyz'])
def test_ovito_reads_all_formats(run, tmp_path, form):
    ovito = pytest.importorskip('ovito.io')
    path, positions, cells = run
    with TrajectoryFile(path) as file:
        target = export_trajectory(file, tmp_path / f'out.{form}')[0]
    pipeline = ovito.import_file(str(target))
    assert pipeline.num_frames == 40
    found = pipeline.compute(11)
    # Of formats that do not say where a cell begins, it takes the origin to be its middle.
    origin = np.array(found.cell)[:, 3]
    np.testing.assert_allclose(found.particles.positions - origin, positions[11], atol=7e-4)
    np.testing.assert_allclose(np.array(found.cell)[:, :3].T, cells[11], atol=2e-4)


def test_a_cell_in_any_orientation_is_turned(tmp_path):
    """Distances stay what they are."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler('xyz', [0.3, -0.7, 1.1]).as_matrix()
    positions = np.random.default_rng(0).uniform(0, 12, (2, 5, 3))
    for name, cell, points in (('plain', CELL, positions), ('turned', CELL @ turn, positions @ turn)):
        with TrajectoryFile(tmp_path / f'{name}.h5', 'w', NUMBERS, 0.001) as file:
            for index in range(2):
                file.append(points[index], cell, index)
        with TrajectoryFile(tmp_path / f'{name}.h5') as file:
            export_trajectory(file, tmp_path / f'{name}.dcd')
    found = [universe([tmp_path / f'{name}.dcd', tmp_path / f'{name}.pdb']) for name in ('plain', 'turned')]
    np.testing.assert_allclose(found[0].atoms.positions, found[1].atoms.positions, atol=1e-5)


def test_export_is_by_streaming(tmp_path):
    with TrajectoryFile(tmp_path / 'long.h5', 'w', [3] * 2000, 0.001, resolution=1e-3) as file:
        for index in range(1500):
            file.append(np.full((2000, 3), 0.001 * index), np.eye(3) * 30, index)
    with TrajectoryFile(tmp_path / 'long.h5') as file:
        tracemalloc.start()
        try:
            export_trajectory(file, tmp_path / 'long.dcd')
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (tmp_path / 'long.dcd').stat().st_size > 1500 * 2000 * 12
    assert peak < 30e6


def test_command(run, tmp_path, aiida_profile):
    node = MdTrajectoryData.from_file(run[0]).store()
    target = tmp_path / 'made.dcd'
    outcome = CliRunner().invoke(command, ['export', str(node.pk), '-o', str(target), '--stride', '4'])
    assert outcome.exit_code == 0, outcome.output
    assert len(universe([target, tmp_path / 'made.pdb']).trajectory) == 10
    for name, words in (('made.dcd', 'exists'), ('made.vtk', '`vtk` is no format'), ('late.dcd', 'no frame is left')):
        arguments = ['export', str(node.pk), '-o', str(tmp_path / name), *(['--start', '40'] if 'late' in name else [])]
        (tmp_path / 'made.pdb').unlink(missing_ok=True)
        outcome = CliRunner().invoke(command, arguments)
        assert outcome.exit_code != 0
        assert words in outcome.output
