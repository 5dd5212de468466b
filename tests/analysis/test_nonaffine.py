"""D²min and local strain against affine deformations, least squares by hand, and OVITO."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aiida_softclay.analysis.cell_choice import CellMismatchError, continuous_cells, equivalent_cell
from aiida_softclay.analysis.nonaffine import (
    FrameMismatchError,
    TooFewNeighboursError,
    green_lagrange,
    mean_over_space,
    mises_strain,
    non_affine_displacement,
)

#: About thirty neighbours: hardly ever fewer than four.
CUTOFF = 5.0
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None)


def glass(rng, n_atoms=150, density=0.06, sigma=0.2):
    """Random atoms in a random triclinic cell, one frame and a later one."""
    length = (n_atoms / density) ** (1 / 3)
    cell = length * (np.eye(3) + np.tril(rng.uniform(-0.3, 0.3, (3, 3)), -1))
    positions = rng.random((n_atoms, 3)) @ cell
    gradient = np.eye(3) + rng.normal(scale=0.03, size=(3, 3))
    later = positions @ gradient.T + rng.normal(scale=sigma, size=positions.shape)
    return positions, cell, later, cell @ gradient.T


def by_least_squares(before, old, after, new, cutoff):
    """The definition, atom by atom, over explicit periodic images."""
    shifts = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=3)))
    d2min, gradients = [], []
    later = np.linalg.inv(old) @ new  # rows map: r_later = r_before @ later, but for what is left
    for i in range(len(before)):
        vectors = before[None] + (shifts @ old)[:, None] - before[i]
        near = np.linalg.norm(vectors, axis=2) < cutoff
        near[np.all(shifts == 0, axis=1), i] = False
        image, j = np.nonzero(near)
        r = vectors[image, j]
        raw = after[j] - after[i]
        affine = r @ later
        # The image of the neighbour in the later frame that is nearest to where the cell alone would carry it.
        options = raw[:, None] + (np.array(list(itertools.product(range(-6, 7), repeat=3))) @ new)[None]
        best = np.linalg.norm(options - affine[:, None], axis=2).argmin(axis=1)
        r_later = options[np.arange(len(r)), best]
        solution, *_ = np.linalg.lstsq(r, r_later, rcond=None)
        d2min.append(((r_later - r @ solution) ** 2).sum())
        gradients.append(solution.T)
    return np.array(d2min), np.array(gradients)


#: Vibrations, and ions that moved by as much as the cell is wide.
sigmas = st.sampled_from([0.2, 4.0])


@given(seeds, sigmas)
@settings(max_examples=6, deadline=None)
def test_agrees_with_least_squares_atom_by_atom(seed, sigma):
    frames = glass(np.random.default_rng(seed), n_atoms=40, sigma=sigma)
    # The cell is smaller than twice the cutoff: several images of one atom are neighbours.
    result = non_affine_displacement(*frames, 5.0)
    d2min, gradients = by_least_squares(*frames, 5.0)
    assert result.d2min == pytest.approx(d2min, abs=1e-9)
    assert result.deformation_gradients == pytest.approx(gradients, abs=1e-9)


@given(seeds)
@few
def test_affine_deformation_has_no_non_affine_part(seed):
    rng = np.random.default_rng(seed)
    positions, cell, _, _ = glass(rng)
    gradient = np.eye(3) + rng.normal(scale=0.05, size=(3, 3))
    result = non_affine_displacement(positions, cell, positions @ gradient.T, cell @ gradient.T, CUTOFF)
    assert result.d2min == pytest.approx(np.zeros(len(positions)), abs=1e-9)
    assert result.deformation_gradients == pytest.approx(np.broadcast_to(gradient, (len(positions), 3, 3)), abs=1e-9)
    assert result.cell_gradient == pytest.approx(gradient)
    assert result.strains == pytest.approx(np.broadcast_to(green_lagrange(gradient), (len(positions), 3, 3)), abs=1e-9)


@given(seeds, st.floats(0, 25))
@few
def test_rotation_is_no_strain(seed, angle):
    rng = np.random.default_rng(seed)
    positions, cell, _, _ = glass(rng)
    rotation = Rotation.from_rotvec(np.radians(angle) * np.array([1, 2, 2]) / 3).as_matrix()
    result = non_affine_displacement(positions, cell, positions @ rotation.T, cell @ rotation.T, CUTOFF)
    assert result.d2min == pytest.approx(np.zeros(len(positions)), abs=1e-8)
    assert result.shear_strain == pytest.approx(np.zeros(len(positions)), abs=1e-9)
    assert result.volumetric_strain == pytest.approx(np.zeros(len(positions)), abs=1e-9)
    assert result.deformation_gradients[0] == pytest.approx(rotation, abs=1e-9)


@pytest.mark.parametrize('gamma', [0.01, 0.2])
def test_simple_shear_has_half_the_engineering_shear(gamma):
    gradient = np.eye(3)
    gradient[1, 2] = gamma
    strain = green_lagrange(gradient)
    # E = (F^T F - 1) / 2 by hand: E_yz = gamma / 2, E_zz = gamma^2 / 2.
    assert strain[1, 2] == pytest.approx(gamma / 2)
    assert strain[2, 2] == pytest.approx(gamma**2 / 2)
    assert mises_strain(strain) == pytest.approx(np.sqrt(gamma**2 / 4 + gamma**4 / 12))
    assert mises_strain(0.3 * np.eye(3)) == pytest.approx(0)


def test_one_displaced_atom_by_hand():
    # Simple cubic lattice, six neighbours at distance a: sum of r r^T is 2 a^2. The central atom moves by d along x:
    # u = -d to every neighbour, no first moment, F = 1 and D2 = 6 d^2. A neighbour along x sees one u = d at r = a x:
    # F_xx = 1 + d a / (2 a^2), D2 = d^2 - d^2 / 2.
    a, d = 3.0, 0.4
    grid = np.array(list(itertools.product(range(5), repeat=3)), dtype=float) * a
    cell = np.eye(3) * 5 * a
    moved = grid.copy()
    centre = np.flatnonzero((grid == 2 * a).all(axis=1))[0]
    moved[centre, 0] += d
    result = non_affine_displacement(grid, cell, moved, cell, 1.2 * a)
    expected = np.zeros(len(grid))
    expected[centre] = 6 * d**2
    expected[np.isclose(np.linalg.norm(grid - grid[centre], axis=1), a)] = d**2 / 2
    assert result.d2min == pytest.approx(expected)
    assert result.deformation_gradients[centre] == pytest.approx(np.eye(3))
    beside = np.flatnonzero((grid == np.array([1, 2, 2]) * a).all(axis=1))[0]
    assert result.deformation_gradients[beside][0, 0] == pytest.approx(1 + d / (2 * a))
    assert set(result.n_neighbours) == {6}


@given(seeds, sigmas)
@few
def test_wrapping_order_offset_and_choice_of_cell_do_not_matter(seed, sigma):
    rng = np.random.default_rng(seed)
    before, old, after, new = glass(rng, sigma=sigma)
    expected = non_affine_displacement(before, old, after, new, CUTOFF)

    def same(result, order=slice(None)):
        assert result.d2min == pytest.approx(expected.d2min[order], abs=1e-8)
        assert result.deformation_gradients == pytest.approx(expected.deformation_gradients[order], abs=1e-8)

    images = rng.integers(-2, 3, (2, len(before), 3))
    same(non_affine_displacement(before + images[0] @ old, old, after + images[1] @ new, new, CUTOFF))
    order = rng.permutation(len(before))
    same(non_affine_displacement(before[order], old, after[order], new, CUTOFF), order)
    same(non_affine_displacement(before + rng.normal(size=3) * 9, old, after + rng.normal(size=3) * 9, new, CUTOFF))
    flip = np.array([[1, 0, 0], [rng.integers(-2, 3), 1, 0], [rng.integers(-2, 3), rng.integers(-2, 3), 1]])
    same(non_affine_displacement(before, old, after, flip @ new, CUTOFF))
    wrapped = after @ np.linalg.inv(flip @ new) % 1.0 @ (flip @ new)
    same(non_affine_displacement(before, flip.T @ old, wrapped, flip @ new, CUTOFF))


def test_doubling_the_cell_changes_nothing():
    before, old, after, new = glass(np.random.default_rng(5), n_atoms=30)
    double = np.diag([2, 1, 1])
    twice = non_affine_displacement(
        np.concatenate([before, before + old[0]]), double @ old, np.concatenate([after, after + new[0]]), double @ new,
        CUTOFF,
    )  # fmt: skip
    assert np.tile(non_affine_displacement(before, old, after, new, CUTOFF).d2min, 2) == pytest.approx(twice.d2min)


def test_agrees_with_ovito():
    data = pytest.importorskip('ovito.data')
    modifiers, pipeline = pytest.importorskip('ovito.modifiers'), pytest.importorskip('ovito.pipeline')
    before, old, after, new = glass(np.random.default_rng(6), n_atoms=400)

    def source(positions, cell):
        collection = data.DataCollection()
        collection.create_particles(count=len(positions)).create_property('Position', data=positions)
        collection.create_cell(np.hstack([cell.T, np.zeros((3, 1))]), pbc=(True, True, True))
        return pipeline.StaticSource(data=collection)

    modifier = modifiers.AtomicStrainModifier(cutoff=CUTOFF, output_nonaffine_squared_displacements=True)
    modifier.reference = source(before, old)
    line = pipeline.Pipeline(source=source(after, new))
    line.modifiers.append(modifier)
    particles = line.compute().particles
    result = non_affine_displacement(before, old, after, new, CUTOFF)
    assert result.d2min == pytest.approx(np.array(particles['Nonaffine Squared Displacement']), abs=1e-9)
    assert result.shear_strain == pytest.approx(np.array(particles['Shear Strain']), abs=1e-9)
    assert result.volumetric_strain == pytest.approx(np.array(particles['Volumetric Strain']), abs=1e-9)


def test_what_cannot_be_computed_is_a_sentence():
    before, old, after, new = glass(np.random.default_rng(7))
    with pytest.raises(FrameMismatchError, match='150 and 149 atoms'):
        non_affine_displacement(before, old, after[1:], new)
    with pytest.raises(TooFewNeighboursError, match='larger cutoff'):
        non_affine_displacement(before, old, after, new, 1.0)
    with pytest.raises(ValueError, match='positive'):
        non_affine_displacement(before, old, after, new, -1.0)
    broken = after.copy()
    broken[3, 1] = np.nan
    with pytest.raises(FrameMismatchError, match=r'later frame are not finite .*number 3'):
        non_affine_displacement(before, old, broken, new)
    with pytest.raises(CellMismatchError, match='volume'):
        non_affine_displacement(before, old, after, 0 * new)
    with pytest.raises(CellMismatchError, match='matched'):
        non_affine_displacement(before, old, after, 5 * new)
    # A sheet of atoms: enough neighbours, all in one plane.
    sheet = np.array(list(itertools.product(range(4), range(4), [0])), dtype=float) * 3
    with pytest.raises(TooFewNeighboursError, match='one plane'):
        non_affine_displacement(sheet, np.diag([12.0, 12, 40]), sheet, np.diag([12.0, 12, 40]), 4.0)


def test_flips_of_the_cell_are_undone():
    strains = np.linspace(0, 1.4, 80)
    cells = np.tile(np.array([[20.0, 0, 0], [1, 21, 0], [2, 3, 22]]), (80, 1, 1))
    cells[:, 2, 1] += strains * 22
    flipped = cells.copy()
    # What LAMMPS does: subtract b from c as often as brings the tilt below half the length.
    flipped[:, 2] -= np.rint(cells[:, 2, 1] / 21)[:, None] * cells[:, 1]
    assert np.abs(np.diff(flipped[:, 2, 1])).max() > 10
    assert continuous_cells(flipped) == pytest.approx(cells)
    assert continuous_cells(cells) == pytest.approx(cells)
    with pytest.raises(CellMismatchError, match='n_frames, 3, 3'):
        continuous_cells(cells[0])
    assert equivalent_cell(flipped[79], cells[79]) == pytest.approx(cells[79])


def test_mean_over_space_knows_the_correlation_of_neighbours():
    rng = np.random.default_rng(8)
    pulls, naive = [], []
    for _ in range(200):
        fractions = rng.random((2000, 3))
        # A field that is constant within 6 x 6 x 6 cubes: about nine atoms share a value.
        field = rng.exponential(size=(6, 6, 6))
        values = field[tuple((fractions * 6).astype(int).T)]
        estimate = mean_over_space(values, fractions - 3)
        pulls.append((estimate.value - 1) / estimate.error)
        naive.append((estimate.value - 1) / (values.std() / np.sqrt(2000)))
    assert 0.58 < np.mean(np.abs(pulls) < 1) < 0.78
    assert np.mean(np.abs(naive) < 1) < 0.5
    assert estimate.n_samples == 27
    assert np.isnan(mean_over_space([1.0], [[0, 0, 0]]).error)
