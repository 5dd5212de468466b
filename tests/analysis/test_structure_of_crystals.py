"""What is known of real crystals: their polyhedra, molecules and networks, from g(r) to chains, and from a file."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_softclay.analysis.census import census_over_time
from aiida_softclay.analysis.chains import chain_statistics
from aiida_softclay.analysis.coordination import coordination_numbers
from aiida_softclay.analysis.rdf import bond_cutoffs, radial_distribution
from aiida_softclay.analysis.trajectory import ArrayTrajectory
from aiida_softclay.data.trajectory_file import TrajectoryFile
from aiida_softclay.structures.crystals import crystal


def rattled(name, n_frames=3, stdev=0.03):
    atoms = crystal(name)
    atoms = atoms.repeat([int(np.ceil(10.0 / length)) for length in atoms.cell.lengths()])
    rng = np.random.default_rng(1)
    positions = atoms.positions + rng.normal(scale=stdev, size=(n_frames, len(atoms), 3))
    return ArrayTrajectory(positions, atoms.cell[:], atoms.numbers)


def cutoff_of(trajectory, pair):
    found = bond_cutoffs([radial_distribution(trajectory, [pair], r_max=6.0, n_frames=None)])[pair]
    assert found.method == 'first minimum of g(r)'
    return found.cutoff


@pytest.mark.parametrize(
    ('name', 'pair', 'polyhedron'),
    [
        ('GaF3', ('Ga', 'F'), 'GaF6'),
        ('GaCl3', ('Ga', 'Cl'), 'GaCl4'),
        ('LiCl', ('Li', 'Cl'), 'LiCl6'),
        ('MgCl2', ('Mg', 'Cl'), 'MgCl6'),
        ('LiAlCl4', ('Al', 'Cl'), 'AlCl4'),
        ('Li3GaF6', ('Ga', 'F'), 'GaF6'),
    ],
)
def test_polyhedra(name, pair, polyhedron):
    trajectory = rattled(name)
    cutoff = cutoff_of(trajectory, pair)
    census = census_over_time(coordination_numbers(trajectory, {pair: cutoff}, n_frames=None).values())
    assert census.names == [polyhedron]
    assert census.shares[polyhedron].value == 1


@pytest.mark.parametrize(
    ('name', 'pair', 'length'),
    [
        ('LiAlCl4', ('Al', 'Cl'), 1),  # isolated tetrahedra
        ('GaCl3', ('Ga', 'Cl'), 2),  # molecules Ga2Cl6 of two tetrahedra that share an edge
    ],
)
def test_molecules(name, pair, length):
    trajectory = rattled(name)
    found = chain_statistics(trajectory, pair[0], {pair: cutoff_of(trajectory, pair)}, n_frames=None)
    assert list(found.shares) == [length]
    assert found.mean_length.value == length
    # A crystal has no spread, neither in time nor from molecule to molecule.
    assert found.mean_length.error == 0
    assert set(found.bridges) == ({'Cl'} if length > 1 else set())


def test_octahedra_that_share_corners_are_one_network():
    trajectory = rattled('GaF3')
    pair = ('Ga', 'F')
    found = chain_statistics(trajectory, 'Ga', {pair: cutoff_of(trajectory, pair)}, n_frames=None)
    n_gallium = int((trajectory.atomic_numbers == 31).sum())
    assert list(found.shares) == [n_gallium]
    # Ga–Ga along a bent Ga–F–Ga bridge are 3.6 Å apart; below that, nothing is linked.
    assert chain_statistics(trajectory, 'Ga', {pair: 2.3}, cutoff=3.0).isolated.value == 1


def test_a_trajectory_file_is_analysed_as_plain_arrays_are(tmp_path):
    plain = rattled('GaCl3', n_frames=7, stdev=0.1)
    path = tmp_path / 'trajectory.h5'
    with TrajectoryFile(path, 'w', atomic_numbers=plain.atomic_numbers, timestep_ps=0.001) as writer:
        for step, (positions, cell) in enumerate(zip(plain.positions, plain.cells, strict=True)):
            writer.append(positions, cell, step)
    with TrajectoryFile(path) as streamed:
        options = {'r_max': 5.0, 'bin_width': 0.1, 'n_frames': None}
        ours, theirs = radial_distribution(streamed, **options), radial_distribution(plain, **options)
        # Positions are kept in single precision: a pair at the edge of a bin may change it.
        assert ours.coordination == pytest.approx(theirs.coordination, abs=0.05)
        bonds = {('Ga', 'Cl'): 2.8}
        assert chain_statistics(streamed, 'Ga', bonds).numbers == chain_statistics(plain, 'Ga', bonds).numbers
