"""Panels of transport: displacements, conductivities, Arrhenius plots, mobile ions, hops and boundaries."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from aiida import orm
from drawn_panels import heights, labels, line, segments, texts
from matplotlib.figure import Figure

from aiida_softclay.report.registry import Source, panels_from

pytestmark = pytest.mark.usefixtures('aiida_profile')


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
    content = deepcopy(drawn('ionic_conductivity').outputs['results'].get_dict())
    for row in content['numbers']:
        row['unit'] = 'S/m' if row['unit'] == 'mS/cm' else row['unit']
        row['error'] = None if row['name'] == 'conductivity.total' else row['error']
    panels = panels_from('ionic_conductivity', Source(orm.Dict(content)))
    axes = Figure().subplots()
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
    axes = Figure().subplots()
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
