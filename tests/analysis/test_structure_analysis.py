"""Radial distribution, cutoffs, coordination and exchange against crystals, ideal gases and independent programs."""

import math

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list
from MDAnalysis import Universe
from MDAnalysis.analysis.rdf import InterRDF

from aiida_softclay.analysis.coordination import (
    Estimate,
    anion_exchange,
    change,
    coordination_numbers,
    estimate_from_frames,
    exchange_pairs,
)
from aiida_softclay.analysis.neighbours import neighbours, uses_minimum_image
from aiida_softclay.analysis.rdf import bond_cutoffs, first_minimum, radial_distribution
from aiida_softclay.analysis.trajectory import ArrayTrajectory, cell_heights, iter_chunks, select_frames

TILTED = np.array([[14.0, 0, 0], [5.5, 13.0, 0], [-4.0, 6.0, 15.0]])


def trajectory_of(*frames):
    return ArrayTrajectory(
        np.array([atoms.positions for atoms in frames]), np.array([atoms.cell[:] for atoms in frames]),
        frames[0].numbers,
    )  # fmt: skip


def rattled(atoms, n_frames, stdev, seed=0):
    frames = []
    for index in range(n_frames):
        copy = atoms.copy()
        copy.rattle(stdev, seed=seed + index)
        frames.append(copy)
    return trajectory_of(*frames)


def ideal_gas(cell, symbols, n_frames, seed):
    rng = np.random.default_rng(seed)
    fractions = rng.uniform(size=(n_frames, len(symbols), 3))
    return ArrayTrajectory(fractions @ cell, cell, np.array(symbols))


def sorted_pairs(first, second, distances):
    order = np.lexsort((distances, second, first))
    return first[order], second[order], distances[order]


@pytest.mark.parametrize('cutoff', [3.0, 5.9, 8.0, 16.0])
def test_neighbours_equal_ase_in_a_tilted_cell(cutoff):
    """The two routes of the list (minimum image, explicit images) give what ASE finds."""
    from ase import Atoms

    rng = np.random.default_rng(2)
    # Some positions are far outside the cell, as unwrapped trajectories are.
    atoms = Atoms('Ar30', positions=rng.uniform(-40, 40, size=(30, 3)), cell=TILTED, pbc=True)
    expected = neighbor_list('ijd', atoms, cutoff)
    found = neighbours(atoms.positions, TILTED, cutoff)
    ours = sorted_pairs(found.first, found.second, found.distances)
    theirs = sorted_pairs(*expected)
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])
    assert ours[2] == pytest.approx(theirs[2], abs=1e-4)


def test_neighbours_do_not_depend_on_the_orientation_of_the_cell():
    rng = np.random.default_rng(4)
    points = rng.uniform(size=(40, 3)) @ TILTED
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))  # proper or improper
    plain, turned = neighbours(points, TILTED, 5.0), neighbours(points @ rotation, TILTED @ rotation, 5.0)
    assert uses_minimum_image(TILTED, 5.0)
    assert np.sort(plain.distances) == pytest.approx(np.sort(turned.distances), abs=1e-4)


def test_neighbours_refuse_nonsense():
    with pytest.raises(ValueError, match='must be positive'):
        neighbours(np.zeros((1, 3)), TILTED, -1.0)
    with pytest.raises(ValueError, match='span a volume'):
        neighbours(np.zeros((1, 3)), np.zeros((3, 3)), 1.0)
    with pytest.raises(ValueError, match='not finite'):
        neighbours(np.full((1, 3), np.nan), TILTED, 1.0)


def test_cell_heights():
    volume = abs(np.linalg.det(TILTED))
    areas = [np.linalg.norm(np.cross(TILTED[(i + 1) % 3], TILTED[(i + 2) % 3])) for i in range(3)]
    assert cell_heights(TILTED) == pytest.approx([volume / area for area in areas])


@pytest.mark.parametrize('r_max', [5.0, 9.0])
def test_ideal_gas_has_g_of_one(r_max):
    """Also for cross pairs of unequal numbers, in a tilted cell; beyond half the height images appear as lines."""
    gas = ideal_gas(TILTED, ['Ga'] * 30 + ['F'] * 90, 100, seed=3)
    result = radial_distribution(gas, r_max=r_max, bin_width=0.25, n_frames=None)
    for row, pair in enumerate(result.pairs):
        if r_max > 6 and pair[0] == pair[1]:
            continue  # self-images add delta peaks at lattice vectors
        deviation = (result.g[row] - 1)[4:] / result.g_error[row][4:]
        assert abs(deviation.mean()) < 0.8, pair
        assert np.sqrt((deviation**2).mean()) < 1.8, pair
        assert result.g[row][-8:].mean() == pytest.approx(1, abs=0.03), pair
    # The running coordination is the integral of density times g.
    row = result.row('Ga', 'F')
    shells = 4 / 3 * math.pi * np.diff(result.edges**3)
    integral = np.cumsum(result.g[row] * shells) * 90 / abs(np.linalg.det(TILTED))
    assert result.coordination[row] == pytest.approx(integral, rel=1e-6)


def test_shells_of_fcc_and_rocksalt():
    fcc = trajectory_of(bulk('Cu', cubic=True, a=3.6))
    result = radial_distribution(fcc, r_max=6.0, bin_width=0.1)
    edges = result.edges[1:]
    cumulative = result.coordination[0]
    distances = 3.6 * np.sqrt([0.5, 1.0, 1.5, 2.0, 2.5])
    for shell, total in enumerate(np.cumsum([12, 6, 24, 12, 24])):
        assert cumulative[np.searchsorted(edges, distances[shell] + 0.01)] == pytest.approx(total)

    salt = trajectory_of(bulk('NaCl', 'rocksalt', a=5.64))
    result = radial_distribution(salt, pairs=[('Na', 'Cl'), ('Na', 'Na')], r_max=6.0, bin_width=0.05)
    unlike = result.coordination[result.row('Na', 'Cl')]
    like = result.coordination[result.row('Na', 'Na')]
    edges = result.edges[1:]
    assert unlike[np.searchsorted(edges, 3.0)] == pytest.approx(6)
    assert unlike[np.searchsorted(edges, 5.0)] == pytest.approx(14)
    assert like[np.searchsorted(edges, 4.2)] == pytest.approx(12)


def test_triclinic_cell_gives_the_g_of_the_equivalent_orthorhombic_supercell():
    """One crystal in its primitive, a sheared and a cubic cell."""
    primitive = bulk('NaCl', 'rocksalt', a=5.64)
    cubic = bulk('NaCl', 'rocksalt', a=5.64, cubic=True)
    sheared = cubic * (3, 3, 3)
    cell = sheared.cell[:].copy()
    cell[1] += cell[0]
    cell[2] -= 2 * cell[1]
    sheared.set_cell(cell)
    curves = [
        radial_distribution(trajectory_of(atoms), pairs=[('Na', 'Cl')], r_max=7.0, bin_width=0.1)
        for atoms in (primitive, cubic, cubic * (3, 3, 3), sheared)
    ]
    for curve in curves[1:]:
        assert curve.g == pytest.approx(curves[0].g)
        assert curve.coordination == pytest.approx(curves[0].coordination)


def test_g_equals_mdanalysis():
    rng = np.random.default_rng(8)
    cell = np.diag([13.0, 14.0, 15.0])
    gas = ideal_gas(cell, ['Ga'] * 40 + ['Cl'] * 70, 5, seed=9)
    gas.positions[:, 40:] += rng.normal(scale=0.1, size=(5, 70, 3))
    universe = Universe.empty(110, trajectory=True)
    universe.load_new(gas.positions.astype('f4'), dimensions=np.tile([13, 14, 15, 90, 90, 90], (5, 1)))
    peer = InterRDF(universe.atoms[:40], universe.atoms[40:], nbins=60, range=(0, 6)).run()
    ours = radial_distribution(gas, pairs=[('Ga', 'Cl')], r_max=6.0, bin_width=0.1, n_frames=None)
    # Single pairs change bins with the rounding of positions to single precision.
    assert ours.g[0][10:] == pytest.approx(peer.results.rdf[10:], abs=0.02)


def test_pairs_and_bins_are_checked():
    gas = ideal_gas(TILTED, ['Ga'] * 3 + ['F'] * 9, 2, seed=3)
    with pytest.raises(ValueError, match='Ga–Cl asks for Cl'):
        radial_distribution(gas, pairs=[('Ga', 'Cl')])
    with pytest.raises(ValueError, match='bins make no sense'):
        radial_distribution(gas, bin_width=0.0)
    with pytest.raises(ValueError, match='no chemical element'):
        ArrayTrajectory(np.zeros((1, 1, 3)), np.eye(3), np.array(['Xx1']))


def test_first_minimum_of_analytic_curves():
    r = np.arange(0.025, 8, 0.05)
    # Peak at 1.9 Å, second shell at 3.6 Å: the valley between two Gaussians of one width and height is half-way.
    liquid = 4 * np.exp(-((r - 1.9) ** 2) / 0.18) + 4 * np.exp(-((r - 3.1) ** 2) / 0.18)
    found = first_minimum(r, liquid, ('Ga', 'F'))
    assert found.method == 'first minimum of g(r)'
    assert found.peak == pytest.approx(1.9, abs=0.03)
    assert found.cutoff == pytest.approx(2.5, abs=0.03)
    # An empty gap: the middle of it, or of what the search may see (3.13 Å).
    crystal = 9 * np.exp(-((r - 1.9) ** 2) / 0.005) + 9 * np.exp(-((r - 3.0) ** 2) / 0.005)
    assert 2.3 < first_minimum(r, crystal, ('Ga', 'F')).cutoff < 2.6
    for curve in (np.zeros_like(r), 0.3 * liquid / 4, np.clip(r - 1, 0, None)):
        fallback = first_minimum(r, curve, ('Ga', 'F'))
        assert fallback.method.startswith('fallback')
        assert fallback.cutoff == pytest.approx(1.4 * (1.22 + 0.57))
    assert 'ends too early' in first_minimum(r[:40], liquid[:40], ('Ga', 'F')).method


def test_coordination_of_rocksalt_is_six():
    crystal = rattled(bulk('LiCl', 'rocksalt', a=5.13, cubic=True) * (3, 3, 3), 6, 0.1)
    curve = radial_distribution(crystal, pairs=[('Li', 'Cl')], r_max=6.0)
    cutoff = bond_cutoffs([curve])['Li', 'Cl']
    assert cutoff.method == 'first minimum of g(r)'
    assert 3.0 < cutoff.cutoff < 4.0
    result = coordination_numbers(crystal, {('Li', 'Cl'): cutoff.cutoff})['Li', 'Cl']
    assert result.mean.value == 6
    assert result.mean.error == 0
    assert result.distribution[6] == 1


def exchanged_gas(share, seed):
    """Isolated GaX4 units far from each other, the X being Cl with the probability `share`."""
    rng = np.random.default_rng(seed)
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    symbols, positions = [], []
    for site in np.indices((6, 6, 6)).reshape(3, -1).T * 10.0:
        symbols.append('Ga')
        positions.append(site)
        for corner in corners:
            anion = 'Cl' if rng.uniform() < share else 'F'
            symbols.append(anion)
            positions.append(site + corner * (2.2 if anion == 'Cl' else 1.8))
    return ArrayTrajectory(np.array([positions]), np.eye(3) * 60.0, np.array(symbols)), np.array(symbols)


def test_exchange_of_tetrahedra_is_binomial():
    trajectory, symbols = exchanged_gas(0.4, seed=1)
    tables = coordination_numbers(trajectory, {('Ga', 'F'): 2.5, ('Ga', 'Cl'): 3.0})
    result = anion_exchange(tables['Ga', 'F'], tables['Ga', 'Cl'])
    true_share = np.mean(symbols[symbols != 'Ga'] == 'Cl')
    assert result.extent.value == pytest.approx(true_share)
    assert result.extent.error == pytest.approx(np.sqrt(0.4 * 0.6 / (4 * 216)), rel=0.15)
    assert sum(result.census.values()) == pytest.approx(1)
    for n_new in range(5):
        expected = math.comb(4, n_new) * 0.4**n_new * 0.6 ** (4 - n_new)
        assert result.census[4 - n_new, n_new] == pytest.approx(expected, abs=4 * np.sqrt(expected / 216))
    assert result.molecular_share.value == result.census[0, 4]
    assert change(Estimate(0.1, 0.03, 5, 'a'), Estimate(0.4, 0.04, 7, 'b')).value == pytest.approx(0.3)
    assert change(Estimate(0.1, 0.03, 5, 'a'), Estimate(0.4, 0.04, 7, 'b')).error == pytest.approx(0.05)


def test_exchange_refuses_what_does_not_belong_together():
    trajectory, _ = exchanged_gas(0.4, seed=1)
    tables = coordination_numbers(trajectory, {('Ga', 'F'): 2.5, ('Cl', 'F'): 3.0, ('Ga', 'Cl'): 0.1})
    with pytest.raises(ValueError, match='different atoms'):
        anion_exchange(tables['Ga', 'F'], tables['Cl', 'F'])
    with pytest.raises(ValueError, match='no Ga–Cl'):
        anion_exchange(tables['Ga', 'Cl'], tables['Ga', 'Cl'])
    assert exchange_pairs('Mg', 'Cl', 'F', 'Ga') == [('Mg', 'Cl'), ('Mg', 'F'), ('Ga', 'F'), ('Ga', 'Cl')]


def test_a_cutoff_is_shared_by_states_before_and_after():
    before, _ = exchanged_gas(0.0, seed=1)
    after, _ = exchanged_gas(0.5, seed=2)
    symbols = np.array(['Ga', 'F', 'Cl'])
    far = ArrayTrajectory(  # the salt before: chlorine far from gallium
        np.concatenate([before.positions, np.full((1, 1, 3), 5.0)], axis=1), before.cells,
        np.concatenate([before.atomic_numbers, [17]]),
    )  # fmt: skip
    curves = [radial_distribution(state, pairs=[('Ga', 'F'), ('Ga', 'Cl')], r_max=5.0) for state in (far, after)]
    cutoffs = bond_cutoffs(curves)
    assert set(symbols) == {'Ga', 'F', 'Cl'}
    assert cutoffs['Ga', 'Cl'].method == 'first minimum of g(r)'
    assert 2.3 < cutoffs['Ga', 'Cl'].cutoff < 4.0
    with pytest.raises(ValueError, match='differ in pairs'):
        bond_cutoffs([curves[0], radial_distribution(after, pairs=[('Ga', 'F')], r_max=5.0)])


def test_estimates_and_frame_selection():
    assert math.isnan(estimate_from_frames(np.array([1.0])).error)
    assert estimate_from_frames(np.array([1.0]), np.array([0.0, 2.0])).error == pytest.approx(1.0)
    assert select_frames(100, 4) == [24, 49, 74, 99]
    assert select_frames(3, 10) == [0, 1, 2]
    assert select_frames(10, 2, start=6) == [7, 9]
    with pytest.raises(ValueError, match='no frame is left'):
        select_frames(5, 2, start=5)


def test_chunks_cover_every_frame_once(monkeypatch):
    monkeypatch.setattr('aiida_softclay.analysis.trajectory.CHUNK_BYTES', 24 * 12 * 3)
    gas = ideal_gas(TILTED, ['Ga'] * 3 + ['F'] * 9, 10, seed=3)
    pieces = list(iter_chunks(gas))
    assert [piece[:2] for piece in pieces] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert np.concatenate([piece[2] for piece in pieces]) == pytest.approx(gas.positions)
