"""A crystal with a planted shear transformation zone of other chemistry: zones, bands and neighbours are found."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from aiida_softclay.analysis.atom_classes import EmptyClassError
from aiida_softclay.analysis.nonaffine_series import non_affine_series, pairs_by_strain, strain_of
from aiida_softclay.analysis.plasticity import over_pairs, plastic_environment, zone_series
from aiida_softclay.analysis.trajectory import ArrayTrajectory

RADIUS = 6.0


def strained_crystal(n_frames=6):
    """Rock salt GaF; within a sphere GaCl, whose atoms jump about between frames. The cell is sheared along yz."""
    crystal = bulk('LiF', 'rocksalt', a=4.6, cubic=True) * (6, 6, 6)
    symbols = np.array(crystal.get_chemical_symbols(), dtype='U2')
    symbols[symbols == 'Li'] = 'Ga'
    length = crystal.cell[0, 0]
    middle = np.full(3, length / 2)
    inside = np.linalg.norm(crystal.positions - middle, axis=1) < RADIUS
    near = np.linalg.norm(crystal.positions - middle, axis=1) < RADIUS + 2.5
    symbols[near & (symbols == 'F')] = 'Cl'
    rng = np.random.default_rng(0)
    positions = np.repeat(crystal.positions[None], n_frames, axis=0)
    positions = positions + rng.normal(scale=0.02, size=positions.shape)
    positions[:, inside] += rng.normal(scale=0.25, size=(n_frames, inside.sum(), 3))
    cells = np.repeat(crystal.cell[:][None], n_frames, axis=0)
    cells[:, 2, 1] += 0.01 * np.arange(n_frames) * length
    positions = (positions / length) @ cells
    return ArrayTrajectory(positions, cells, symbols), inside, middle


@pytest.fixture(scope='module')
def strained():
    run, inside, middle = strained_crystal()
    strain = strain_of(run, 'yz')
    return run, inside, middle, non_affine_series(run, pairs_by_strain(strain, 0.01), cutoff=4.0, strain=strain)


def test_planted_zone_is_the_zone(strained):
    run, inside, middle, series = strained
    found = zone_series(run, series, percentile=100 * (1 - inside.mean()))
    assert len(found.zones) == 5
    for zones in found.zones:
        largest = zones.zones[0]
        assert largest.dimension == 0
        assert np.mean(inside[largest.atoms]) > 0.85
        assert largest.size > 0.7 * inside.sum()
        assert largest.centre == pytest.approx(middle, abs=1.5)
        assert zones.clustering > 3
    # A sphere is seen along all three normals alike, and is no band.
    layering = np.mean([one.layering for one in found.d2min], axis=0)
    assert layering.max() < 2 * layering.min() < 0.8
    assert np.mean([one.participation for one in found.d2min]) < 3 * inside.mean()
    assert found.share == pytest.approx(100 * inside.mean())


def test_neighbours_of_the_atoms_that_rearrange(strained):
    run, inside, _, series = strained
    rows = series.between(0.01, 0.05)
    found = plastic_environment(run, series, 'Ga', ['F', 'Cl'], rule='percentile', rows=rows)
    # Six anions around every Ga: chlorine in the zone, fluorine outside.
    assert found.coordination['largest', 'Cl'].value > 3
    assert found.coordination['smallest', 'Cl'].value < 0.2
    assert found.coordination['smallest', 'F'].value == pytest.approx(6, abs=0.2)
    assert found.coordination['all', 'F'].value + found.coordination['all', 'Cl'].value == pytest.approx(6, abs=0.05)
    assert 0 < found.coordination['largest', 'Cl'].error < 0.3
    assert found.strain_window == pytest.approx((0.01, 0.05))
    assert found.members['largest'] == pytest.approx(0.1 * 864, abs=1)
    peak = np.argmin(np.abs(found.distribution.radii - 2.3))
    around = slice(peak - 6, peak + 7)
    g = {pair: row[around].mean() for pair, row in zip(found.distribution.pairs, found.distribution.g, strict=True)}
    assert g['largest', 'F'] < g['Ga', 'F'] < g['smallest', 'F'] * 1.05
    assert g['largest', 'Cl'] > 3 * g['Ga', 'Cl'] > 3 * g['smallest', 'Cl']
    by_maximum = plastic_environment(run, series, 'Ga', ['F'])
    assert by_maximum.members['largest'] < 20
    assert '90 %' in by_maximum.rule
    assert inside.any()


def test_pairs_without_a_class_are_left_out(strained):
    run, _, _, series = strained
    gallium = np.flatnonzero(run.atomic_numbers == 31)
    d2min = series.d2min.copy()
    d2min[1, gallium] = 1.0
    some = plastic_environment(run, replace(series, d2min=d2min), 'Ga', ['F'])
    assert some.left_out == 1
    rows = np.array([0, 2, 3, 4])
    assert some.coordination == plastic_environment(run, series, 'Ga', ['F'], rows=rows).coordination
    with pytest.raises(EmptyClassError, match='is empty'):
        plastic_environment(run, replace(series, d2min=np.ones_like(d2min)), 'Ga', ['F'])


def test_what_is_not_there_is_a_sentence(strained):
    run, _, _, series = strained
    with pytest.raises(ValueError, match='there is no Mg'):
        plastic_environment(run, series, 'Mg', ['F'])
    with pytest.raises(ValueError, match='not by `size`'):
        plastic_environment(run, series, 'Ga', ['F'], rule='size')
    with pytest.raises(ValueError, match='the run covers'):
        series.between(0.2, 0.3)
    single = over_pairs([3.0])
    assert single.value == 3
    assert np.isnan(single.error)
    assert single.method == 'single pair of frames'
