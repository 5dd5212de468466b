"""Pairs of frames along a strain run, and classes of atoms by their non-affine displacement."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.analysis.atom_classes import EmptyClassError, classes_by_maximum, classes_by_percentile
from aiida_softclay.analysis.nonaffine import non_affine_displacement
from aiida_softclay.analysis.nonaffine_series import non_affine_series, pairs_by_strain, strain_of
from aiida_softclay.analysis.trajectory import ArrayTrajectory


def sheared_glass(n_frames=41, largest=0.8, sigma=0.05, flip=True, n_atoms=200):
    """A glass sheared along yz by equal steps with independent noise on every atom; the box flips as in LAMMPS."""
    rng = np.random.default_rng(0)
    length = (n_atoms / 0.06) ** (1 / 3)
    fractions = rng.random((n_atoms, 3))
    cells = np.tile(np.eye(3) * length, (n_frames, 1, 1))
    cells[:, 2, 1] = np.linspace(0, largest, n_frames) * length
    positions = fractions @ cells + rng.normal(scale=sigma, size=(n_frames, n_atoms, 3))
    if flip:
        cells[:, 2] -= np.rint(cells[:, 2, 1] / length)[:, None] * cells[:, 1]
    return ArrayTrajectory(positions, cells, np.array(['Ga'] * 50 + ['F'] * 150), np.arange(n_frames) * 10)


def test_series_of_a_sheared_glass_sees_the_noise_only():
    run = sheared_glass()
    strain = strain_of(run, 'yz')
    assert strain == pytest.approx(np.linspace(0, 0.8, 41))
    pairs = pairs_by_strain(strain, 0.04)
    assert pairs.tolist() == [[2 * k, 2 * k + 2] for k in range(20)]
    series = non_affine_series(run, pairs, cutoff=5.0, strain=strain)
    one = non_affine_displacement(
        run.positions[6], run.cells[6], run.positions[8], run.cells[8], 5.0
    )  # fmt: skip
    assert series.d2min[3] == pytest.approx(one.d2min)
    assert series.shear_strain[3] == pytest.approx(one.shear_strain)
    # Noise s on every coordinate of two frames: each of n vectors gains u_j - u_i with u of variance 2 s^2. The fit
    # takes 3 of n + n <1, r (r r)^-1 r> degrees of freedom; for a cloud centred on the atom the common u_i is not
    # fitted at all and each u_j gives 3 (n - 3) 2 s^2, in sum 2 s^2 3 (2 n - 3) up to the asymmetry of the cloud.
    n = one.n_neighbours
    expected = 6 * 0.05**2 * (2 * n - 3).mean()
    assert series.average().value == pytest.approx(expected, rel=0.12)
    assert abs(series.average().value - series.mean.mean()) < 1e-12
    gallium = series.average(atoms=np.arange(50), rows=series.between(0.2, 0.6))
    assert gallium.value == pytest.approx(series.d2min[5:15, :50].mean())
    assert gallium.error > 0
    unflipped = non_affine_series(sheared_glass(flip=False), pairs)
    assert unflipped.d2min == pytest.approx(series.d2min, abs=1e-8)


def test_pairs_are_checked():
    run = sheared_glass()
    strain = strain_of(run, 'yz')
    assert pairs_by_strain(-strain, 0.4).tolist() == [[0, 20], [20, 40]]
    with pytest.raises(ValueError, match='less than one interval'):
        pairs_by_strain(strain, 2.0)
    with pytest.raises(ValueError, match='write frames oftener'):
        pairs_by_strain(strain, 0.01)
    with pytest.raises(ValueError, match='must be positive'):
        pairs_by_strain(strain, 0.0)
    with pytest.raises(ValueError, match='frames 0 … 40'):
        non_affine_series(run, [(0, 41)])
    with pytest.raises(ValueError, match='no pair'):
        non_affine_series(run, [])
    series = non_affine_series(run, [(0, 40), (40, 0)])
    with pytest.raises(ValueError, match='not chosen by strain'):
        series.between(0, 1)
    series = non_affine_series(run, [(0, 1)], strain=strain)
    with pytest.raises(ValueError, match=r'the run covers 0 … 0\.02'):
        series.between(0.09, 0.14)
    assert series.average().method == 'block averages over parts of the cell'


def test_classes_by_hand():
    values = np.array([0.0, 1.0, 9.5, 10.0, 0.5, 20.0])
    found = classes_by_maximum(values, atoms=[0, 1, 2, 3, 4])
    assert found.largest.tolist() == [2, 3]
    assert found.smallest.tolist() == [0, 4]
    assert (found.upper, found.lower) == (9.0, 1.0)
    assert classes_by_maximum(values).largest.tolist() == [5]
    found = classes_by_percentile(np.arange(101.0)[::-1])
    assert found.largest.tolist() == list(range(10))
    assert found.smallest.tolist() == list(range(91, 101))
    assert '90th' in found.rule


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
@settings(max_examples=20, deadline=None)
def test_classes_keep_their_share_and_ignore_units(seed, unit):
    values = np.random.default_rng(seed).exponential(size=400)
    by_share = classes_by_percentile(values * unit, upper=80, lower=30)
    assert len(by_share.largest) == 80
    assert len(by_share.smallest) == 120
    assert set(by_share.largest).isdisjoint(by_share.smallest)
    scaled, plain = classes_by_maximum(values * unit), classes_by_maximum(values)
    assert scaled.largest.tolist() == plain.largest.tolist()
    assert scaled.smallest.tolist() == plain.smallest.tolist()
    assert values[plain.smallest].max() < 0.1 * values.max() < 0.9 * values.max() < values[plain.largest].min()


@pytest.mark.parametrize('classes', [classes_by_maximum, classes_by_percentile])
def test_classes_without_atoms_are_a_sentence(classes):
    with pytest.raises(EmptyClassError, match='is empty'):
        classes(np.zeros(5))
    with pytest.raises(EmptyClassError, match='no atoms to choose from'):
        classes(np.arange(5.0), atoms=[])
    with pytest.raises(ValueError, match='not finite'):
        classes([0, 1, np.nan])
    with pytest.raises(ValueError, match='atom 7 is not one of the 5'):
        classes(np.arange(5.0), atoms=[0, 7])
    with pytest.raises(ValueError, match='lower <= upper'):
        classes(np.arange(5.0), lower=0.5, upper=0.2)
    with pytest.raises(ValueError, match='one value for each atom'):
        classes(np.zeros((5, 3)))
    with pytest.raises(EmptyClassError, match='smallest values is empty'):
        classes_by_maximum([5.0, 6.0, 10.0])
    with pytest.raises(ValueError, match='not negative'):
        classes_by_maximum([-1.0, 5.0])
