"""Bonds, mobile ions and regions do not depend on images, order of atoms, cell vectors, origin or drift."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.analysis.bond_lifetime import bond_lifetime
from aiida_softclay.analysis.displacement_classes import mobility_classes
from aiida_softclay.analysis.region_mobility import region_mobility, regions_of
from aiida_softclay.analysis.trajectory import ArrayTrajectory

few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)
CELL = np.array([[11.0, 0, 0], [2.5, 12.0, 0], [-1.5, 3.0, 10.0]])
N_ATOMS = 45


def walk(rng, n_frames=30):
    """Atoms that walk freely in a triclinic cell, some of them far more than others."""
    start = rng.uniform(size=(N_ATOMS, 3)) @ CELL
    steps = rng.normal(size=(n_frames, N_ATOMS, 3)) * rng.uniform(0.01, 0.3, size=N_ATOMS)[:, None]
    symbols = rng.permutation(['Li'] * 20 + ['Cl'] * 15 + ['Al'] * 10)
    return ArrayTrajectory(start + steps.cumsum(axis=0), CELL, symbols, timestep_ps=0.2)


def images_of(rng, run):
    """Every atom of every frame in another image."""
    shifts = rng.integers(-2, 3, size=run.positions.shape)
    return replace(run, positions=run.positions + shifts @ CELL)


def paths_of(rng, run):
    """Every atom in another image that it keeps: its path is the same."""
    return replace(run, positions=run.positions + rng.integers(-2, 3, size=(N_ATOMS, 3)) @ CELL)


def drift_of(rng, run):
    """The whole system elsewhere in every frame."""
    return replace(run, positions=run.positions + rng.normal(scale=3, size=(len(run.positions), 1, 3)))


def cell_of(rng, run):
    """Other vectors of the same lattice."""
    change = np.eye(3, dtype=int)
    change[1, 0], change[2, 0], change[2, 1] = rng.integers(-2, 3, size=3)
    return replace(run, cells=np.broadcast_to(change @ CELL, run.cells.shape))


def turned(rng, run):
    """Everything turned in space."""
    matrix = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return replace(run, positions=run.positions @ matrix, cells=run.cells @ matrix)


def shuffled(rng, run):
    """Another order of the atoms, and the place of each old one."""
    order = rng.permutation(N_ATOMS)
    moved = replace(run, positions=run.positions[:, order], atomic_numbers=run.atomic_numbers[order])
    return moved, order


@given(seeds)
@few
def test_lifetimes_of_bonds(seed):
    rng = np.random.default_rng(seed)
    run = walk(rng)
    expected = bond_lifetime(run, ('Al', 'Cl'), 3.4, 3.8, n_origins=4)
    assert expected.n_bonds > 0

    def same(other, start=0):
        found = bond_lifetime(other, ('Al', 'Cl'), 3.4, 3.8, n_origins=4, start=start)
        assert (found.n_bonds, found.n_broken) == (expected.n_bonds, expected.n_broken)
        assert found.lifetime.value == pytest.approx(expected.lifetime.value, nan_ok=True)
        assert found.survival == pytest.approx(expected.survival, nan_ok=True)
        assert found.persistence == pytest.approx(expected.persistence, nan_ok=True)

    for change in (images_of, drift_of, cell_of, turned):
        same(change(rng, run))
    same(shuffled(rng, run)[0])
    # Frames before the first that is used.
    earlier = ArrayTrajectory(
        np.concatenate([walk(rng, 5).positions, run.positions]), CELL, run.atomic_numbers, timestep_ps=0.2
    )
    same(earlier, start=5)


@given(seeds)
@few
def test_classes_of_mobile_ions(seed):
    rng = np.random.default_rng(seed)
    run = walk(rng)
    limits = {'upper': 0.6, 'lower': 0.4}
    expected = mobility_classes(run, 'Li', **limits)

    def same(found, place=None):
        place = np.arange(N_ATOMS) if place is None else place
        for ours, theirs in zip(expected.members.values(), found.members.values(), strict=True):
            assert np.sort(place[theirs]).tolist() == ours.tolist()
        assert np.sort(found.displacements) == pytest.approx(np.sort(expected.displacements))
        assert (found.fast_ratio, found.slow_ratio) == pytest.approx((expected.fast_ratio, expected.slow_ratio))

    for change in (paths_of, drift_of, cell_of, turned):
        same(mobility_classes(change(rng, run), 'Li', **limits))
    other, order = shuffled(rng, run)
    same(mobility_classes(other, 'Li', **limits), order)
    earlier = replace(
        run, positions=np.concatenate([walk(rng, 5).positions, run.positions]),
        cells=np.broadcast_to(CELL, (35, 3, 3)), steps=np.arange(35),
    )  # fmt: skip
    same(mobility_classes(earlier, 'Li', first=5, **limits))


@given(seeds)
@few
def test_mobility_of_regions(seed):
    rng = np.random.default_rng(seed)
    run = walk(rng)
    mask = np.arange(N_ATOMS) % 2 == 0
    # Both regions have ions, whatever the order of the elements is.
    mask[np.flatnonzero(run.atomic_numbers == 3)[:2]] = [True, False]

    def mobility(other, boundary):
        return region_mobility(
            other, 'Li', regions_of(other, 'Li', boundary), 1, volume=abs(np.linalg.det(CELL)), temperature=300.0,
            window_ps=(0.6, 1.8),
        )  # fmt: skip

    expected = mobility(run, mask)

    def same(found):
        assert found.ratio.value == pytest.approx(expected.ratio.value, rel=1e-4)
        for name in ('boundary', 'bulk'):
            assert found.displacements[name].msd == pytest.approx(expected.displacements[name].msd, rel=1e-4, abs=1e-6)
            assert found.diffusion[name].diffusivity == pytest.approx(expected.diffusion[name].diffusivity, rel=1e-4)
            assert found.share[name].value == pytest.approx(expected.share[name].value, rel=1e-4)

    for change in (paths_of, drift_of, cell_of, turned):
        same(mobility(change(rng, run), mask))
    other, order = shuffled(rng, run)
    same(mobility(other, mask[order]))
    # The clock may start anywhere.
    same(mobility(replace(run, steps=run.steps + 1000), mask))
