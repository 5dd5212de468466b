"""Structure factors, G(r), fits of phases and powder patterns against formulas, tables and freud."""

from __future__ import annotations

import math

import freud
import numpy as np
import pytest
from ase.build import bulk

from aiida_softclay.analysis.class_rdf import RadialDistribution
from aiida_softclay.analysis.pair_distribution import (
    broadened,
    fit_phases,
    from_structure_factor,
    reduced_distribution,
    weighted_residual,
)
from aiida_softclay.analysis.powder_diffraction import powder_pattern
from aiida_softclay.analysis.rdf import radial_distribution
from aiida_softclay.analysis.scattering import (
    composition_of,
    mean_scattering_length,
    pair_weights,
    scattering_length,
)
from aiida_softclay.analysis.structure_factor import structure_factor
from aiida_softclay.analysis.trajectory import ArrayTrajectory

Q = np.linspace(0.3, 15.0, 200)
ALL_PAIRS = (('Li', 'Li'), ('Li', 'Cl'), ('Cl', 'Cl'))


def distribution_of(g, density=0.05, r_max=20.0, pairs=(('Ar', 'Ar'),)):
    edges = np.linspace(0.0, r_max, 2001)
    radii = 0.5 * (edges[1:] + edges[:-1])
    table = np.array([g(radii)] * len(pairs))
    nothing = np.zeros_like(table)
    return RadialDistribution(radii, edges, pairs, table, nothing, nothing, 1, density)


def crystal_distribution(structure, r_max=12.0, bin_width=0.02):
    trajectory = ArrayTrajectory(structure.positions[None], structure.cell[:], structure.numbers)
    return radial_distribution(trajectory, r_max=r_max, bin_width=bin_width), composition_of(trajectory)


def test_structure_factor_of_a_hole_is_analytic():
    """No atoms within 3 Å, an ideal gas beyond: S = 1 − 4πρ (sin qσ − qσ cos qσ) / q³."""
    found = structure_factor(distribution_of(lambda r: (r > 3.0).astype(float)), {'Ar': 1}, Q, window=False)
    expected = 1 - 4 * math.pi * 0.05 * (np.sin(3 * Q) - 3 * Q * np.cos(3 * Q)) / Q**3
    assert found.partial[0] == pytest.approx(expected, abs=1e-9)
    flat = structure_factor(distribution_of(np.ones_like), {'Ar': 1}, Q)
    assert flat.partial == pytest.approx(np.ones((1, Q.size)), abs=1e-12)


def test_structure_factor_of_dimers_equals_debye_and_freud():
    """Dimers placed at random: S = 1 + sin(qd) / qd."""
    rng = np.random.default_rng(2)
    cell = np.diag([28.0, 28.0, 28.0])
    centres = rng.uniform(size=(10, 300, 3)) @ cell
    axes = rng.normal(size=(10, 300, 3))
    axes *= 2.0 / np.linalg.norm(axes, axis=2, keepdims=True)
    positions = np.concatenate([centres, centres + axes], axis=1)
    trajectory = ArrayTrajectory(positions, cell, np.array(['Ar'] * 600))
    q = np.linspace(0.6, 6.0, 28)
    found = structure_factor(
        radial_distribution(trajectory, r_max=13.9, bin_width=0.02, n_frames=None), {'Ar': 1}, q, window=False
    )
    deviation = (found.partial[0] - 1 - np.sinc(2.0 * q / math.pi)) / found.partial_error[0]
    assert np.sqrt((deviation**2).mean()) < 2.0
    # All points of the reciprocal lattice: freud draws a sample of them anew each time.
    direct = freud.diffraction.StaticStructureFactorDirect(bins=8, k_max=6.0, k_min=2.0, num_sampled_k_points=0)
    for frame in positions:
        points = freud.box.Box.from_matrix(cell).wrap(frame)
        direct.compute((freud.box.Box.from_matrix(cell), points), reset=False)
    ours = np.interp(direct.bin_centers, q, found.partial[0])
    assert ours == pytest.approx(direct.S_k, abs=0.04)


def test_the_window_quiets_the_ripples_of_a_short_range():
    """A g(r) that is cut where it still oscillates rings at large q; the window takes most of that off."""
    cut = distribution_of(lambda r: 1 + np.sin(4 * r) / np.maximum(r, 1.0), r_max=10.0)
    rough = structure_factor(cut, {'Ar': 1}, Q, window=False).partial[0]
    smooth = structure_factor(cut, {'Ar': 1}, Q, window=True).partial[0]
    assert np.abs(smooth[Q > 8] - 1).max() < 0.3 * np.abs(rough[Q > 8] - 1).max()


def test_scattering_lengths_are_those_of_the_tables():
    """International Tables C, table 6.1.1.1 for X-rays; Sears, Neutron News 3, 26 (1992)."""
    assert scattering_length('O', 'x-ray', 4 * math.pi * np.array([0.0, 0.2, 0.3, 0.4])) == pytest.approx(
        [8.0, 5.63, 4.09, 3.01], rel=0.01
    )
    assert [float(scattering_length(symbol, 'neutron')) for symbol in ('Li', 'Cl', 'O', 'Al')] == pytest.approx(
        [-1.90, 9.577, 5.803, 3.449], abs=0.01
    )
    with pytest.raises(ValueError, match='end there'):
        scattering_length('Cl', 'x-ray', [10.0, 24.0])
    with pytest.raises(ValueError, match='no chemical element'):
        scattering_length('Xy', 'neutron')
    with pytest.raises(ValueError, match='`electron` is not known'):
        scattering_length('O', 'electron')


@pytest.mark.parametrize('radiation', ['x-ray', 'neutron'])
def test_weights_add_up_to_one(radiation):
    weights = pair_weights({'Li': 3, 'Cl': 5}, ALL_PAIRS, radiation, Q)
    assert weights.sum(axis=0) == pytest.approx(np.ones(Q.size))
    total = structure_factor(distribution_of(np.ones_like, pairs=ALL_PAIRS), {'Li': 3, 'Cl': 5}, Q).total(radiation)
    assert total[0] == pytest.approx(np.ones(Q.size))
    with pytest.raises(ValueError, match='every pair of Li, Cl once'):
        pair_weights({'Li': 3, 'Cl': 5}, ALL_PAIRS[:2], radiation)
    with pytest.raises(ValueError, match='mean scattering length vanishes'):
        pair_weights({'Li': 9.577, 'Cl': 1.90}, ALL_PAIRS, 'neutron')


def test_first_peak_of_a_crystal_has_the_area_of_its_shell():
    """Of LiCl, six Li–Cl bonds of 2.565 Å, spread by the displacements, and their share of the neutron intensity."""
    distribution, composition = crystal_distribution(bulk('LiCl', 'rocksalt', a=5.13, cubic=True))
    smooth = broadened(distribution, 0.08)
    r = smooth.radii
    curve = reduced_distribution(smooth, composition, 'neutron')
    radial = r * curve + 4 * math.pi * r**2 * smooth.density
    inside = np.abs(r - 2.565) < 0.45
    lengths = {'Li': -1.90, 'Cl': 9.577}
    area = 6 * lengths['Li'] * lengths['Cl'] / (0.5 * sum(lengths.values())) ** 2
    assert np.trapezoid(radial[inside], r[inside]) == pytest.approx(area, rel=0.01)
    mean = np.average(r[inside], weights=radial[inside])
    variance = np.average((r[inside] - mean) ** 2, weights=radial[inside])
    assert variance == pytest.approx(2 * 0.08**2, rel=0.05)
    with pytest.raises(ValueError, match='narrower bins'):
        broadened(distribution, 0.01)


def test_the_two_ways_to_g_of_r_agree():
    """Convoluting G(r) with a finite range of q is the same as transforming S(q) over that range."""
    distribution, composition = crystal_distribution(bulk('LiCl', 'rocksalt', a=5.13, cubic=True), r_max=30.0)
    smooth = broadened(distribution, 0.15)
    # Let the order fade so that both ways see a distribution that ends before its range does.
    fading = RadialDistribution(
        smooth.radii, smooth.edges, smooth.pairs, 1 + (smooth.g - 1) * np.exp(-((smooth.radii / 9) ** 2)),
        smooth.g_error, smooth.coordination, 1, smooth.density,
    )  # fmt: skip
    q = np.linspace(0.01, 14.0, 2000)
    total, _ = structure_factor(fading, composition, q, window=False).total('neutron')
    by_transform = from_structure_factor(q, total, fading.radii)
    by_convolution = reduced_distribution(fading, composition, 'neutron', q_max=14.0)
    inside = (fading.radii > 1.0) & (fading.radii < 20.0)
    assert by_convolution[inside] == pytest.approx(by_transform[inside], abs=0.02 * np.abs(by_transform).max())
    damped = reduced_distribution(fading, composition, 'neutron', q_damp=0.05)
    plain = reduced_distribution(fading, composition, 'neutron')
    assert damped == pytest.approx(plain * np.exp(-((0.05 * fading.radii) ** 2) / 2))


def test_weighted_residual():
    curve = np.sin(np.arange(50.0))
    assert weighted_residual(curve, curve) == 0
    assert weighted_residual(curve, 0.752 * curve) == pytest.approx(0.248)
    assert weighted_residual(curve, 0 * curve) == pytest.approx(1)
    with pytest.raises(ValueError, match='zero everywhere'):
        weighted_residual(0 * curve, curve)
    with pytest.raises(ValueError, match='same grid'):
        weighted_residual(curve, curve[:-1])


def test_two_phases_are_found_again():
    """88 formula units of one phase and 12 of another, weighed as a diffractometer does, with noise."""
    glass, in_glass = crystal_distribution(bulk('LiCl', 'zincblende', a=5.6, cubic=True))
    salt, in_salt = crystal_distribution(bulk('LiCl', 'rocksalt', a=5.13, cubic=True))
    curves = {
        'glass': reduced_distribution(broadened(glass, 0.2), in_glass, 'x-ray', q_max=24.0),
        'salt': reduced_distribution(broadened(salt, 0.1), in_salt, 'x-ray', q_max=24.0),
    }
    atoms = {'glass': 14, 'salt': 2}
    scattering = {'glass': mean_scattering_length({'Li': 1, 'Cl': 3}, 'x-ray'), 'salt': 10.0}
    assert scattering['glass'] == pytest.approx((3 + 3 * 17) / 4)
    true = {'glass': 0.88, 'salt': 0.12}
    pure = {name: true[name] * atoms[name] * scattering[name] ** 2 for name in true}
    scale = {name: value / sum(pure.values()) for name, value in pure.items()}
    exact = sum(scale[name] * curves[name] for name in true)
    rng = np.random.default_rng(6)
    deviations = []
    for _ in range(40):
        noise = rng.normal(scale=0.1, size=exact.size)
        fit = fit_phases(glass.radii, exact + noise, curves, r_min=1.5)
        deviations.append((fit.scales['salt'] - scale['salt']) / fit.scale_errors['salt'])
    assert np.std(deviations) == pytest.approx(1, abs=0.3)
    fit = fit_phases(glass.radii, exact, curves)
    assert fit.residual == pytest.approx(0, abs=1e-9)
    assert fit.fractions(scattering, atoms) == pytest.approx(true)
    wider = fit_phases(glass.radii, exact + noise, curves, q_max=24.0)
    assert wider.n_independent == pytest.approx(11.0 * 24.0 / math.pi, rel=0.01)
    assert wider.scale_errors['salt'] > fit_phases(glass.radii, exact + noise, curves).scale_errors['salt']


def test_a_phase_that_is_not_there_gets_nothing():
    r = np.linspace(0.1, 15, 500)
    first, second = np.sin(3 * r), np.sin(4.1 * r)
    fit = fit_phases(r, 2.0 * first - 0.5 * second, {'first': first, 'second': second})
    assert fit.scales['second'] == 0
    with pytest.raises(ValueError, match='not independent'):
        fit_phases(r, first, {'one': first, 'same': 2 * first})
    with pytest.raises(ValueError, match='too few'):
        fit_phases(r, first, {'one': first}, r_min=14.9)
    with pytest.raises(ValueError, match='not finite'):
        fit_phases(r, first * np.nan, {'one': first})


def test_coarse_curves_are_refused():
    coarse = distribution_of(np.ones_like, r_max=1000.0)
    with pytest.raises(ValueError, match='take narrower bins'):
        structure_factor(coarse, {'Ar': 1}, [8.0])
    with pytest.raises(ValueError, match='positive numbers'):
        structure_factor(coarse, {'Ar': 1}, [0.0, 1.0])
    with pytest.raises(ValueError, match='carry q up to'):
        reduced_distribution(coarse, {'Ar': 1}, 'x-ray', q_max=20.0)
    with pytest.raises(ValueError, match='says nothing about'):
        from_structure_factor(np.arange(1, 9.0), np.ones(8), [5.0])
    with pytest.raises(ValueError, match='must increase'):
        from_structure_factor([1.0, 1.0], [1.0, 1.0], [1.0])


def test_powder_pattern_of_rocksalt():
    """Bragg's law with d = a / √(h² + k² + l²), and no reflections of mixed indices."""
    pattern = powder_pattern(bulk('NaCl', 'rocksalt', a=5.64), wavelength=1.5406)
    by_name = {}
    for spacing, angle in zip(pattern.spacings, pattern.two_theta, strict=True):
        by_name[round((5.64 / spacing) ** 2)] = angle
    assert sorted(by_name) == [3, 4, 8, 11, 12, 16, 19, 20, 24]  # all indices even or all odd
    for squares, angle in by_name.items():
        assert angle == pytest.approx(2 * np.degrees(np.arcsin(1.5406 / 2 / (5.64 / math.sqrt(squares)))), abs=0.01)
    assert by_name[4] == pytest.approx(31.7, abs=0.05)
    assert pattern.two_theta[np.argmax(pattern.intensity)] == pytest.approx(by_name[4])
    grid = np.linspace(10, 90, 8001)
    assert np.trapezoid(pattern.profile(grid), grid) == pytest.approx(pattern.intensity.sum(), rel=1e-3)


def test_neutrons_see_lithium_out_of_phase():
    """The (111) reflection of LiCl goes with the difference of the lengths, (200) with their sum."""
    structure = bulk('LiCl', 'rocksalt', a=5.13, cubic=True)
    pattern = powder_pattern(structure, 'neutron', 1.8, (20.0, 60.0))
    strongest = pattern.two_theta[np.argmax(pattern.intensity)]
    assert strongest == pytest.approx(2 * np.degrees(np.arcsin(0.9 * math.sqrt(3) / 5.13)), abs=0.01)
    for arguments, words in (
        ({'wavelength': 'CuKa'}, 'must be a number'), ({'wavelength': -1.0}, 'must be positive'),
        ({'wavelength': 1.0, 'two_theta': (50.0, 20.0)}, 'must rise'),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            powder_pattern(structure, 'neutron', **arguments)
    structure.pbc = False
    with pytest.raises(ValueError, match='is of a crystal'):
        powder_pattern(structure)
