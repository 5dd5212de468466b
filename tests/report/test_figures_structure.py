"""Panels of structures: pair distributions, scattering, polyhedra and chains, conformations, density maps."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_panels import bands, heights, labels, line, segments, texts
from matplotlib.colors import to_hex

from aiida_softclay.report.figures_density import project, read_cube_node
from aiida_softclay.report.style import element_colour

pytestmark = pytest.mark.usefixtures('aiida_profile')


def test_pair_distributions(drawn):
    found = drawn('pair_distributions')
    axes = found['pair_distributions']
    assert labels(axes) == ('r (Å)', 'g(r)')
    assert texts(axes) == ['Cl–Cl', 'F–Cl', 'F–F', 'Ga–Cl', 'Ga–F', 'Ga–Ga']
    radii, g = line(axes, 'Ga–F')
    assert np.array_equal(radii, found.array('radii'))
    assert np.array_equal(g, found.array('g_Ga_F'))
    upper = (found.array('g_Ga_F') + found.array('g_error_Ga_F')).max()
    assert any(edges[1] == pytest.approx(upper) for edges in bands(axes))
    assert labels(found['coordination']) == ('r (Å)', 'neighbours within r')
    assert np.array_equal(line(found['coordination'], 'Ga–Cl')[1], found.array('coordination_Ga_Cl'))


def test_anion_exchange_and_census(drawn):
    found = drawn('anion_exchange')
    assert texts(found['pair_distributions']) == ['Ga–F before', 'Ga–F after', 'Ga–Cl before', 'Ga–Cl after']
    assert np.array_equal(line(found['pair_distributions'], 'Ga–Cl after')[1], found.array('g_Ga_Cl_after'))
    rows = {row['name']: row for row in found.source.rows('coordination.')}
    assert heights(found['neighbours'])[:2] == [rows[f'coordination.Ga-{x}.before']['value'] for x in ('F', 'Cl')]
    row = rows['coordination.Ga-F.after']
    assert segments(found['neighbours'])[1][0] == pytest.approx([row['value'] - row['error'],
                                                                 row['value'] + row['error']])  # fmt: skip
    found = drawn('census')
    assert labels(found['polyhedra']) == ('time (ps)', 'share of the cations')
    assert np.array_equal(line(found['polyhedra'], 'GaF₆')[1], found.array('share_GaF6'))
    assert np.array_equal(line(found['exchange'], 'Cl')[1], found.array('anion_share_Cl'))
    assert to_hex(found['exchange'].lines[0].get_color()) == element_colour('Cl')
    assert len(found['exchange'].collections) == 2, 'a band for the error of each'


def test_chains_and_bonds(drawn):
    found = drawn('chains')
    assert np.allclose(heights(found['chains']), found.array('share'))
    ends = segments(found['chains'])[0]
    assert np.allclose(np.ptp(ends, axis=1), 2 * found.array('share_error'))
    assert np.array_equal(line(found['chain_growth'], 'isolated share')[1], found.array('isolated'))
    found = drawn('bond_lifetimes')
    row = found.source.row('bond_lifetime.Li-Cl')
    assert texts(found['bonds']) == [f'Li–Cl, lifetime {row["value"]:.3g} ps']
    assert np.array_equal(found['bonds'].lines[0].get_ydata(), found.array('persistence_Li_Cl'))
    assert labels(found['bonds']) == ('lag time (ps)', 'share of the bonds')


def test_scattering(drawn):
    found = drawn('scattering')
    assert labels(found['structure_factor']) == ('q (Å⁻¹)', 'S(q)')
    assert texts(found['structure_factor']) == ['neutron', 'X-ray']
    assert np.array_equal(line(found['structure_factor'], 'X-ray')[1], found.array('S_x_ray'))
    assert labels(found['reduced_pdf']) == ('r (Å)', 'G(r) (Å⁻²)')
    assert np.array_equal(line(found['reduced_pdf'], 'neutron')[1], found.array('G_neutron'))
    scale = found.source.row('pair_distribution.x-ray.scale')['value']
    assert np.array_equal(line(found['measured_pdf'], 'measured')[1], found.array('measured_G'))
    assert np.allclose(line(found['measured_pdf'], 'calculated, scaled')[1], scale * found.array('calculated_G'))
    difference = line(found['measured_pdf'], 'difference, shifted')[1]
    assert np.allclose(np.diff(difference), np.diff(found.array('measured_G') - scale * found.array('calculated_G')))
    residual = found.source.row('pair_distribution.x-ray.weighted_residual_scaled')['value']
    assert f'{residual:.3f}' in found['measured_pdf'].get_title(loc='left')


def test_phase_fit(drawn):
    found = drawn('phase_fit')
    axes = found['phase_fit']
    assert labels(axes) == ('r (Å)', 'G(r) (Å⁻²)')
    share = found.source.row('phase_fit.second.formula_fraction')['value']
    assert texts(axes) == [
        'measured', 'fit', 'difference, shifted', f'Al₃O₂Cl₅, {100 * (1 - share):.3g} %', f'LiCl, {100 * share:.3g} %'
    ]  # fmt: skip
    assert np.array_equal(line(axes, 'fit')[1], found.array('fit_G'))
    assert np.allclose(found.array('first_G') + found.array('second_G'), found.array('fit_G'))
    difference = line(axes, 'difference, shifted')[1]
    assert np.allclose(np.diff(difference), np.diff(found.array('residual_G')))
    assert difference.max() < found.array('fit_G').min()
    assert f'{found.source.row("phase_fit.weighted_residual")["value"]:.3f}' in axes.get_title(loc='left')


def test_conformation(drawn):
    found = drawn('conformation')
    axes = found['conformation']
    assert texts(axes) == ['bridge angle', 'smallest dihedral']
    angles = found.array('bridge_angle').ravel()
    expected, _ = np.histogram(angles[np.isfinite(angles)], bins=np.linspace(0, 180, 91), density=True)
    outline = axes.patches[0].get_xy()
    assert outline[:, 1].max() == pytest.approx(expected.max())
    assert labels(axes) == ('angle (°)', 'probability density (1/°)')
    filtered = line(found['dihedral'], 'low-pass filtered')[1]
    assert any(np.array_equal(filtered, column) for column in found.array('dihedral_filtered').T)
    raw = line(found['dihedral'], 'as it is')[1]
    assert any(np.array_equal(raw, column, equal_nan=True) for column in found.array('dihedral').T)
    assert [text.get_text() for text in found['dihedral'].texts] == ['eclipsed', 'staggered']


def test_density_maps(drawn):
    found = drawn('density_map')
    assert list(found.axes) == ['density_Cl', 'density_Li']
    density, cell = read_cube_node(found.outputs['cube_Li'])
    across, up, integral = project(density, cell)
    axes = found['density_Li']
    assert np.allclose(axes.collections[0].get_array(), integral)
    assert axes.child_axes[0].get_ylabel() == '∫P dz (Å⁻²)'
    # The view keeps the whole probability: its area times the integral is 1 ion of 1.
    sides = np.array([[across[-1, 0] - across[0, 0], up[-1, 0] - up[0, 0]],
                      [across[0, -1] - across[0, 0], up[0, -1] - up[0, 0]]])  # fmt: skip
    assert integral.mean() * abs(np.linalg.det(sides)) == pytest.approx(1, abs=1e-3)
    # The ion runs along c at half of a and b, wherever the oblique axes put that in the view.
    place = np.unravel_index(np.argmax(integral), integral.shape)
    assert np.allclose(np.array(place) / integral.shape, 0.5, atol=0.1)
