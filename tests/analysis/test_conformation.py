"""Bridges of known geometry that bend and rotate in a known way, and ASE for the angles."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.analysis.conformation import conformation_series, find_bridges
from aiida_softclay.analysis.filtering import low_pass, nearest_well_sequence, two_state_sequence
from aiida_softclay.analysis.rotation_statistics import rotation_statistics
from aiida_softclay.analysis.trajectory import ArrayTrajectory
from aiida_softclay.structures.oligomers import oligomer_glass

CELL = np.array([[14.0, 0, 0], [2.0, 15.0, 0], [-3.0, 1.0, 16.0]])
SYMBOLS = ['O', 'Al', 'Al', *['Cl'] * 6]


def dimer(twist, bend=180.0, n_back=3):
    """O(AlCl3)2 with its ligands turned against each other by ``twist`` degrees about the two bonds to O."""
    atoms = [np.zeros(3)]
    half = np.radians(bend) / 2
    arms = [np.array([-np.sin(half), np.cos(half), 0]), np.array([np.sin(half), np.cos(half), 0])]
    atoms += [1.7 * arm for arm in arms]
    for side, arm in enumerate(arms):
        across = np.array([0, 0, 1.0])
        other = np.cross(arm, across) * (1 if side else -1)
        for ligand in range(3 if side == 0 else n_back):
            phi = np.radians(120 * ligand + (twist if side else 0.0))
            outwards = np.cos(phi) * across + np.sin(phi) * other
            atoms.append(1.7 * arm + 2.1 * (arm / 3 + np.sqrt(8) / 3 * outwards))
    return np.array(atoms)


def run(twists, bend=180.0, spacing_ps=0.01, place=(0.1, 13.0, 2.0)):
    positions = np.array([dimer(twist, bend) for twist in twists]) + np.array(place)
    return ArrayTrajectory(positions, CELL, np.array(SYMBOLS), timestep_ps=spacing_ps)


@pytest.mark.parametrize(
    ('twist', 'smallest'), [(0, 0), (25, 25), (60, 60), (70, 50), (120, 0), (-35, 35), (180, 60), (275, 35)]
)
def test_eclipsed_and_staggered_by_construction(twist, smallest):
    series = conformation_series(run([twist]))
    assert series.dihedral[0, 0] == pytest.approx(smallest, abs=1e-6)
    assert series.bending[0, 0] == pytest.approx(180, abs=1e-5)
    assert series.intact.all()


@given(st.floats(0, 360), st.floats(128, 175), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_agrees_with_ase_in_any_cell(twist, bend, seed):
    # A narrower bridge brings Cl into reach of the other Al, where it is no terminal ligand any more.
    rng = np.random.default_rng(seed)
    positions = dimer(twist, bend) + rng.normal(scale=0.05, size=(9, 3)) + rng.uniform(-20, 20, 3)
    atoms = Atoms(SYMBOLS, positions, cell=CELL, pbc=True)
    shuffled = rng.permutation(9)
    wrapped = positions + rng.integers(-2, 3, (9, 3)) @ CELL
    flip = np.array([[1, 0, 0], [1, 1, 0], [-1, 0, 1]])
    series = conformation_series(ArrayTrajectory(wrapped[shuffled], flip @ CELL, np.array(SYMBOLS)[shuffled]))
    expected = min(
        min(angle, 360 - angle)
        for angle in (atoms.get_dihedral(a, 1, 2, b, mic=True) for a, b in itertools.product((3, 4, 5), (6, 7, 8)))
    )
    assert series.dihedral[0, 0] == pytest.approx(expected, abs=1e-6)
    assert series.bending[0, 0] == pytest.approx(atoms.get_angle(1, 0, 2, mic=True), abs=1e-6)
    assert shuffled[series.bridges.anions].tolist() == [0]
    assert set(shuffled[series.bridges.ends[0]]) == {1, 2}


def test_glass_of_eight_trimers_has_sixteen_bridges():
    # you2025, Methods: sixteen bridging oxygens in the cell of eight Al3O2Cl8.
    glass = oligomer_glass('Al3O2Cl8').atoms
    series = conformation_series(ArrayTrajectory(glass.positions, glass.cell[:], glass.numbers))
    assert series.bending.shape == (1, 16)
    assert np.all((series.bending > 110) & (series.bending < 160))
    # Three ligands against two or three: never further than 60 degrees from one another.
    assert np.all(series.dihedral < 62)


def test_rotations_are_followed_through_whole_turns():
    twists = np.linspace(0, 500, 101)
    series = conformation_series(run(twists))
    assert series.torsion[:, 0] == pytest.approx(twists, abs=1e-6)
    assert conformation_series(run(-twists)).torsion[-1, 0] == pytest.approx(-500)
    assert conformation_series(run(twists), frames=range(0, 101, 4)).torsion[-1, 0] == pytest.approx(500)


def hopping(n_frames=1200, spacing_ps=0.05):
    """Staggered, a jump by 120° at a quarter of the run, eclipsed from the middle on; 3 THz vibration on top."""
    time = np.arange(n_frames) * spacing_ps
    twist = np.where(time < time[-1] / 4, 60.0, 180.0)
    twist[time > time[-1] / 2] = 240.0
    return run(twist + 8 * np.sin(2 * np.pi * 3.0 * time), spacing_ps=spacing_ps)


def test_statistics_of_a_rotor_with_three_states():
    series = conformation_series(hopping())
    found = rotation_statistics(series)
    duration = float(series.times_ps[-1])
    # One change from staggered to eclipsed; the jump of 120 degrees leads from staggered to staggered. In wells of 120
    # degrees it is one rotation, the half step of 60 degrees none or one.
    assert found.transition_rate.value == pytest.approx(1 / duration)
    assert found.rotation_rate.value * duration in (pytest.approx(1), pytest.approx(2))
    assert found.eclipsed_share.value == pytest.approx(0.5, abs=0.02)
    assert found.bending.value == pytest.approx(180, abs=1e-4)
    assert found.lasting_share.value == 1
    assert found.transition_rate.error >= 1 / duration * 0.99
    # The vibration is gone, the level of each state is left.
    assert found.filtered[150, 0] == pytest.approx(series.dihedral[120:180, 0].mean(), abs=0.5)
    assert np.ptp(found.filtered[120:180]) < 1
    swinging = rotation_statistics(conformation_series(run(60 + 30 * np.sin(np.arange(400) / 10), spacing_ps=0.1)))
    assert swinging.rotation_rate.value == 0
    assert swinging.rotation_rate.error > 0


def test_broken_and_bare_bridges_are_not_followed():
    twists = np.zeros(30)
    whole, broken = run(twists), run(twists)
    broken.positions[20:, 2] += 2.0  # one Al leaves its oxygen
    pair = ArrayTrajectory(
        np.concatenate([whole.positions, broken.positions + np.array([0, 0, 8.0])], axis=1), CELL,
        np.array(SYMBOLS * 2), timestep_ps=0.1,
    )  # fmt: skip
    series = conformation_series(pair)
    assert series.intact.sum(axis=0).tolist() == [30, 20]
    found = rotation_statistics(series)
    assert found.followed.tolist() == [0]
    assert found.lasting_share.value == 0.5
    with pytest.raises(ValueError, match='none of the 1 bridges lasts'):
        rotation_statistics(conformation_series(ArrayTrajectory(
            broken.positions, CELL, np.array(SYMBOLS), timestep_ps=0.1)))  # fmt: skip
    bare = ArrayTrajectory(whole.positions[:, :6], CELL, np.array(SYMBOLS[:6]))
    assert np.isnan(conformation_series(bare).dihedral).all()


def test_what_cannot_be_followed_is_a_sentence():
    trajectory = run([0.0] * 6)
    with pytest.raises(ValueError, match='there is no Ga'):
        conformation_series(trajectory, cation='Ga')
    with pytest.raises(ValueError, match='no bridges to follow'):
        find_bridges(trajectory, cutoff=1.0)
    with pytest.raises(ValueError, match='smaller than twice'):
        find_bridges(trajectory, cutoff=8.0)
    with pytest.raises(ValueError, match='no frame'):
        conformation_series(trajectory, frames=[])
    with pytest.raises(ValueError, match='write frames oftener'):
        rotation_statistics(conformation_series(run([0.0] * 6, spacing_ps=1.0)))
    with pytest.raises(ValueError, match='equally spaced'):
        rotation_statistics(conformation_series(trajectory, frames=[0, 1, 3, 4]))


def test_filter_keeps_slow_and_removes_fast():
    spacing, n = 0.01, 2000
    time = (np.arange(n) + 0.5) * spacing
    slow = 3 + 2 * np.cos(2 * np.pi * 0.35 * time)  # half periods fit in 20 ps: kept exactly
    fast = np.cos(2 * np.pi * 5.0 * time)
    assert low_pass(slow + fast, spacing, 1.0) == pytest.approx(slow, abs=1e-9)
    both = low_pass(np.column_stack([slow, fast]), spacing, 1.0)
    assert both[:, 1] == pytest.approx(np.zeros(n), abs=1e-9)
    line = np.linspace(0, 100, n)  # no false oscillation from the jump between the ends
    assert low_pass(line, spacing, 1.0) == pytest.approx(line, abs=1.0)
    noise = np.random.default_rng(0).normal(size=20000)
    # White noise of unit variance: the share of frequencies that passes is the variance that is left.
    assert low_pass(noise, spacing, 5.0).var() == pytest.approx(0.1, rel=0.1)
    with pytest.raises(ValueError, match='finite'):
        low_pass([0.0, np.nan, 1.0], 1.0, 0.1)
    with pytest.raises(ValueError, match='positive'):
        low_pass(line, 0.0, 1.0)


def test_state_sequences_by_hand():
    series = [30, 10, 30, 50, 35, 25, 15, 45]
    assert two_state_sequence(series, 20, 40).tolist() == [-1, 0, 0, 1, 1, 1, 0, 1]
    assert two_state_sequence(np.column_stack([series, series]), 20, 40)[:, 1].tolist() == [-1, 0, 0, 1, 1, 1, 0, 1]
    assert nearest_well_sequence([0, 50, 70, 55, 110, 130, 300, 240], 120).tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    with pytest.raises(ValueError, match='below the upper'):
        two_state_sequence(series, 40, 20)
    with pytest.raises(ValueError, match='hysteresis'):
        nearest_well_sequence(series, 120, 0.6)
