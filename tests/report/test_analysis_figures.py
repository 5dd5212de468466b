"""Every panel shows the numbers of its node: the data of lines and bars, errors, units in the labels, legends."""

from __future__ import annotations

import re

import numpy as np
import pytest
from aiida import orm
from figure_samples import outputs_of
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from aiida_softclay.calculations.analyses import ANALYSES
from aiida_softclay.report.analysis_figures import CALCFUNCTIONS
from aiida_softclay.report.figures import SUFFIXES, save_panels
from aiida_softclay.report.figures_density import project, read_cube_node
from aiida_softclay.report.figures_plasticity import class_limits
from aiida_softclay.report.registry import REGISTRY, Source, panels_for, panels_from
from aiida_softclay.report.style import element_colour, style

pytestmark = pytest.mark.usefixtures('aiida_profile')


class Drawn:
    """The panels of an analysis on axes that stay open, with the nodes they show."""

    def __init__(self, name, outputs):
        self.outputs = outputs
        arrays = {key: node for key, node in outputs.items() if isinstance(node, orm.ArrayData)}
        files = {key: node for key, node in outputs.items() if isinstance(node, orm.SinglefileData)}
        self.source = Source(outputs.get('results'), arrays, files)
        self.panels = panels_from(name, self.source)
        self.axes = {}
        with style():
            for title, (node, draw) in self.panels.items():
                _, axes = plt.subplots()
                draw(axes, node)
                self.axes[title] = axes

    def array(self, name, node='curve'):
        return self.outputs[node].get_array(name)

    def __getitem__(self, panel):
        return self.axes[panel]


@pytest.fixture(scope='module')
def drawn(aiida_profile, tmp_path_factory):
    """Return a function that draws an analysis, once."""
    found = {}

    def of(name):
        if name not in found:
            found[name] = Drawn(name, outputs_of(name, tmp_path_factory.mktemp(name)))
        return found[name]

    yield of
    plt.close('all')


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def line(axes, name):
    """Return the data of a line by its label."""
    found = next(line for line in axes.lines if line.get_label() == name)
    return found.get_xdata(), found.get_ydata()


def labels(axes):
    return axes.get_xlabel(), axes.get_ylabel()


def heights(axes):
    return [patch.get_height() for patch in axes.patches]


def segments(axes):
    """Return the spans of all error bars as (number, 2) arrays of their ends."""
    return [
        np.array([part[:, 1] for part in bars.get_segments()])
        for container in axes.containers
        if hasattr(container, 'has_yerr') and container.has_yerr
        for bars in container[2]
    ]


def bands(axes):
    """Return lower and upper edge of each band, from left to right."""
    found = []
    for band in axes.collections:
        points = band.get_paths()[0].vertices
        found.append((points[:, 1].min(), points[:, 1].max()))
    return found


def test_every_analysis_has_panels():
    assert set(ANALYSES) <= set(REGISTRY)
    assert set(CALCFUNCTIONS.values()) <= set(REGISTRY)
    assert panels_from('unknown', Source()) == {}
    with pytest.raises(ValueError, match='registered twice'):
        panels_for('hops')(lambda source: iter(()))


def test_axes_carry_quantity_and_unit(drawn):
    """No panel leaves an axis of numbers without what is on it; units are those that the nodes state."""
    names = sorted(set(REGISTRY) - {'collective', 'reaction_energy', 'density_map', 'screening'})
    for name in names:
        for title, axes in drawn(name).axes.items():
            for axis, text in zip((axes.xaxis, axes.yaxis), labels(axes), strict=True):
                written = all(isinstance(part, str) and re.search('[A-Za-z]', part) for part in
                              (tick.get_text() for tick in axis.get_ticklabels()))  # fmt: skip
                assert text or written, f'{name}, {title}'
                assert '_' not in text.replace('$_', '').replace('^2_', '')
                assert '^' not in text.replace('$D^2', '')
            assert axes.get_title(loc='left'), f'{name}, {title}'


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


def test_plasticity(drawn):
    found = drawn('plasticity')
    assert list(found.axes) == ['plasticity', 'zones', 'layers', 'classes', 'd2min']
    axes = found['plasticity']
    assert texts(axes) == ['all', 'Cl', 'F', 'Ga', 'at rest']
    strain = found.array('strain')[:, 1]
    assert np.array_equal(line(axes, 'Ga')[0], strain)
    assert np.array_equal(line(axes, 'Ga')[1], found.array('d2min_Ga'))
    assert bands(axes)[0][1] == pytest.approx((found.array('d2min') + found.array('d2min_error')).max())
    assert line(axes, 'at rest')[1][0] == found.source.row('d2min.thermal')['value']
    assert np.array_equal(line(found['zones'], 'as many at random')[1], found.array('zone_random_mean_size'))
    image = found['layers'].collections[0].get_array()
    axis = int(np.argmax(found.array('layering').mean(axis=0)))
    assert axis == 2, 'the layer that gives way is parallel to a and b'
    assert np.array_equal(image, found.array('layer_profiles')[:, axis].T)
    bar = found['layers'].child_axes[0]
    assert bar.get_ylabel() == 'mean $D^2_{min}$ (Å²)'
    axes = found['classes']
    assert texts(axes)[0] == 'Ga–Cl, largest $D^2_{min}$'
    assert np.array_equal(line(axes, texts(axes)[1])[1], found.array('g_smallest_Cl'))
    assert len(axes.collections) == 4


def test_marks_of_the_classes_follow_their_rule(drawn):
    """The percentiles are those of the atoms of the element that was divided, in each pair of frames."""
    found = drawn('plasticity')
    atoms = found.outputs['atoms']
    gallium = atoms.get_array('d2min')[:, atoms.get_array('atomic_numbers') == 31]
    expected = np.median(np.percentile(gallium, 90, axis=1))
    assert texts(found['d2min']) == ['90th percentile', '10th percentile']
    assert line(found['d2min'], '90th percentile')[0][0] == pytest.approx(expected)
    (upper, text), (lower, _) = class_limits(gallium, 'above 90 % and below 10 % of the maximum')
    assert text == '90 % of the maximum'
    assert np.allclose(upper, 9 * lower)
    assert np.allclose(upper, 0.9 * gallium.max(axis=1))
    assert labels(found['d2min']) == ('$D^2_{min}$ (Å²)', 'probability density (Å⁻²)')


def test_stress_and_strain(drawn):
    found = drawn('constant_strain')
    axes = found['constant_strain']
    assert np.array_equal(line(axes, 'stress')[1], found.array('stress_averaged'))
    modulus = found.source.row('shear_modulus')
    x, y = next(part.get_data() for part in axes.lines if str(part.get_label()).startswith('G = '))
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(modulus['value'])
    top = found.source.row('yield_stress.maximum')
    ends = segments(axes)[0][0]
    assert ends == pytest.approx([top['value'] - top['error'], top['value'] + top['error']])
    assert labels(axes) == ('shear strain γ$_{yz}$', 'shear stress τ$_{yz}$ (GPa)')
    found = drawn('stress_pulse')
    assert np.array_equal(found['stress_pulse'].lines[1].get_ydata(), found.array('strain_averaged'))
    assert [text.get_text() for text in found['stress_pulse'].texts] == ['50 MPa', '50 MPa']
    assert np.array_equal(found['pulse_energy'].lines[1].get_ydata(), found.array('energy_change_averaged'))
    assert labels(found['pulse_energy'])[1] == 'change of potential energy (meV/atom)'


def test_transport(drawn):
    found = drawn('conductivity')
    axes = found['msd']
    assert texts(axes) == ['Cl', 'Li', 'window of the fit']
    assert np.array_equal(line(axes, 'Li')[1], found.array('msd_Li'))
    assert len(axes.collections) == 2
    window = found.source.row('diffusivity.Li')['window']
    assert axes.patches[0].get_x() == window[0]
    assert axes.patches[0].get_x() + axes.patches[0].get_width() == pytest.approx(window[1])
    found = drawn('ionic_conductivity')
    bars = found['conductivities']
    rows = found.source.rows('conductivity.')
    assert [text.get_text() for text in bars.get_yticklabels()] == [
        'total', 'Nernst–Einstein', 'self Li', 'distinct Li', 'self Cl', 'distinct Cl', 'distinct Li–Cl'
    ]  # fmt: skip
    assert [patch.get_width() for patch in bars.patches] == [row['value'] for row in rows]
    assert bars.get_xlabel() == 'conductivity (mS/cm)'
    assert texts(found['collective']) == ['Li', 'Cl', 'Li–Cl', 'window of the fit']
    assert np.array_equal(line(found['collective'], 'Li–Cl')[1], found.array('collective_Li_Cl'))


def test_units_come_from_the_numbers(drawn):
    content = drawn('ionic_conductivity').outputs['results'].get_dict()
    for row in content['numbers']:
        row['unit'] = 'S/m' if row['unit'] == 'mS/cm' else row['unit']
        row['error'] = None if row['name'] == 'conductivity.total' else row['error']
    panels = panels_from('ionic_conductivity', Source(orm.Dict(content)))
    _, axes = plt.subplots()
    panels['conductivities'][1](axes, None)
    assert axes.get_xlabel() == 'conductivity (S/m)'
    bars = next(container[2][0] for container in axes.containers if hasattr(container, 'has_xerr'))
    spans = [part for part in bars.get_segments() if len(part)]
    assert len(spans) == len(axes.patches) - 1, 'a number without an error has no bar for one'


def test_arrhenius(drawn):
    found = drawn('arrhenius')
    axes = found['arrhenius']
    points = axes.containers[0]
    assert np.allclose(points[0].get_xdata(), 1000 / found.array('temperature'))
    assert np.array_equal(points[0].get_ydata(), found.array('value'))
    spans = segments(axes)[0]
    assert np.allclose(spans[:, 1] - spans[:, 0], 2 * found.array('value_error'))
    solid, dashed = (part for part in axes.lines if part.get_linestyle() in ('-', '--') and len(part.get_xdata()) > 1)
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ('-', '--')
    assert dashed.get_xdata().max() == pytest.approx(1000 / 300)
    assert solid.get_xdata().max() == pytest.approx(1000 / 340)
    assert {'extrapolated', '95 % confidence', 'simulated'} <= set(texts(axes))
    room = found.source.row('diffusivity.Li.at_300_K')
    order = int(np.argmin(found.array('line_temperature')))
    assert found.array('line')[order] == pytest.approx(room['value'])
    assert found.array('line_lower')[order] == pytest.approx(room['conditions']['lower'])
    shade = next(band for band in axes.collections if band.get_label() == '95 % confidence')
    assert shade.get_paths()[0].vertices[:, 1].max() == pytest.approx(found.array('line_upper').max())
    assert labels(axes) == ('1000/T (K⁻¹)', 'diffusivity of Li (cm²/s)')
    assert axes.get_yscale() == 'log'


def test_lines_of_a_series_take_their_own_energy(drawn):
    """Where the results hold several lines, each plot names that of its own quantity."""
    one = drawn('arrhenius')
    content = one.outputs['results'].get_dict()
    other = {**content['numbers'][0], 'name': 'activation_energy.conductivity.total', 'value': 0.7, 'error': 0.1}
    results = orm.Dict({**content, 'numbers': [other, *content['numbers']]})
    source = Source(results, {'curve': one.outputs['curve']}, subject='diffusivity_Li')
    _, axes = plt.subplots()
    panels_from('arrhenius', source)['arrhenius'][1](axes, one.outputs['curve'])
    energy = one.source.row('activation_energy.diffusivity.Li')['value']
    shown = next(text for text in texts(axes) if text.startswith('$E_a$'))
    assert float(shown.split(' = ')[1].split()[0]) == pytest.approx(energy, abs=0.001)


def test_fast_and_slow_ions(drawn):
    found = drawn('mobility_classes')
    assert list(found.axes) == ['displacements', 'classes', 'class_neighbours', 'class_pairs']
    axes = found['displacements']
    n_bins = len(found.array('density'))
    assert np.array_equal(heights(axes)[:n_bins], found.array('density'))
    assert np.allclose(np.ptp(segments(axes)[0], axis=1), 2 * found.array('density_error'))
    limits = found.outputs['curve'].base.attributes.get('class_limits')
    slow, fast = axes.patches[n_bins:]
    assert (slow.get_x(), slow.get_width()) == (0, pytest.approx(limits['slow']))
    assert fast.get_x() == pytest.approx(limits['fast'])
    numbers = [found.array(name, 'classes').size for name in ('slow', 'fast')]
    assert texts(axes) == [f'slow ({numbers[0]} ions)', f'fast ({numbers[1]} ions)']
    assert labels(axes) == ('displacement (Å)', 'probability density (Å⁻¹)')
    assert np.array_equal(line(found['classes'], 'fast')[1], found.array('coordination_fast'))
    assert np.array_equal(line(found['class_neighbours'], 'slow Li–Cl')[1], found.array('g_slow_Cl'))
    assert texts(found['class_pairs']) == ['fast–fast', 'fast–slow', 'slow–slow']
    assert np.array_equal(line(found['class_pairs'], 'fast–slow')[1], found.array('g_fast_slow'))


def test_hops_anions_and_boundaries(drawn):
    found = drawn('hops')
    rows = found.source.rows('hop_share.')
    assert heights(found['hops']) == [row['value'] for row in rows]
    assert [text.get_text() for text in found['hops'].get_xticklabels()] == [
        'intra-\nchain', 'inter-\nchain', 'iso-\nassisted'
    ]  # fmt: skip
    assert segments(found['hops'])[0][2] == pytest.approx(
        [rows[2]['value'] - rows[2]['error'], rows[2]['value'] + rows[2]['error']]
    )
    assert texts(found['hop_sites']) == ['all units', 'at hops']
    found = drawn('anion_motion')
    values = [found.source.row(f'anions.{name}')['value'] for name in ('rotated', 'migrated', 'resting')]
    assert heights(found['anion_shares'])[:3] == values
    assert [text.get_text() for text in found['anion_shares'].get_xticklabels()][3] == 'in AlCl₄'
    assert np.array_equal(line(found['anions'], 'by turning')[1], found.array('msd_turning'))
    assert labels(found['anions']) == ('lag time (ps)', 'MSD (Å²)')
    found = drawn('boundary_mobility')
    assert np.array_equal(line(found['boundary_msd'], 'bulk')[1], found.array('msd_bulk'))
    values = [found.source.row(f'diffusivity.Mg.{region}')['value'] for region in ('boundary', 'bulk')]
    assert heights(found['boundaries']) == values
    assert found['boundaries'].get_ylabel() == 'diffusivity (cm²/s)'


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


def test_thermodynamics(drawn):
    found = drawn('thermodynamics')
    context = found.source.context
    axes = found['reaction_energies']
    assert axes.lines[0].get_ydata() == pytest.approx([1000 * row['energy_eV_atom'] for row in context['reactions']])
    assert labels(axes)[1] == 'reaction energy (meV/atom)'
    assert '3 LiCl + 2 GaF₃ → GaCl₃ + Li₃GaF₆\n−100 meV/atom' in [text.get_text() for text in axes.texts]
    window = context['window']
    stairs = next(patch for patch in found['window'].patches if hasattr(patch, 'get_data'))
    assert stairs.get_data().values.tolist() == [stage['ions'] for stage in window['stages']]
    assert texts(found['window'])[0] == (
        f'reduction at {window["reduction_V"]:.2f} ± {window["reduction_error_V"]:.2f} V'
    )
    hull = sorted(row['value'] for row in found.source.rows('energy_above_hull.'))
    assert found['hull'].containers[0][0].get_xdata().tolist() == hull
    assert found['hull'].get_xlabel() == 'energy above the hull (meV/atom)'
    grid = drawn('screening')
    pairs = grid.outputs['results']['pairs']
    colours = {'met': '#009e73', 'not met': '#d55e00', 'undecided': '#c8c8c8'}
    verdicts = [criterion['verdict'] for pair in pairs for criterion in pair['criteria']]
    assert [to_hex(patch.get_facecolor()) for patch in grid['screening'].patches] == [
        colours[verdict] for verdict in verdicts
    ]
    assert grid['screening'].get_yticklabels()[0].get_text() == 'LiCl + GaF₃'


def test_glass_transition_and_cooling_rate(drawn):
    found = drawn('glass_transition')
    axes = found['glass_transition']
    shown = sorted(value for container in axes.containers for value in container[0].get_ydata())
    assert np.allclose(shown, np.sort(found.array('specific_volume')))
    row = found.source.row('glass_transition_temperature')
    x, y = line(axes, 'two lines')
    assert row['value'] in x
    assert np.interp(row['value'], x, y) == pytest.approx(row['conditions']['specific_volume_cm3_g'])
    assert labels(axes) == ('temperature (K)', 'specific volume (cm³/g)')
    found = drawn('cooling_rates')
    axes = found['cooling_rates']
    assert axes.containers[0][0].get_ydata().tolist() == found.array('glass_transition').tolist()
    assert np.array_equal(line(axes, 'line in log rate')[1], found.array('line'))
    assert labels(axes) == ('cooling rate (K/ps)', 'glass transition (K)')


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_figures_are_written(drawn, tmp_path, suffix):
    """Vector files hold text as text; each panel has its letter; what the numbers hold for is in small print."""
    panels = {
        name: drawn(analysis).panels[name] for analysis, name in
        (('plasticity', 'layers'), ('density_map', 'density_Li'), ('thermodynamics', 'reaction_energies'))
    }  # fmt: skip
    path = tmp_path / f'figure{suffix}'
    save_panels(panels, path, 'made up, demo')
    content = path.read_bytes()
    assert content.startswith({'.pdf': b'%PDF', '.svg': b'<?xml', '.png': b'\x89PNG'}[suffix])
    if suffix == '.svg':
        text = content.decode()
        assert all(word in text for word in ('>a<', '>c<', 'made up, demo', 'reaction energy (meV/atom)'))
