"""Panels of mechanics: what deformation moves irreversibly, stress against strain, pulses of stress."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_panels import bands, labels, line, segments, texts

from aiida_softclay.report.figures_plasticity import class_limits

pytestmark = pytest.mark.usefixtures('aiida_profile')


def test_plasticity(drawn):
    found = drawn('plasticity')
    assert list(found.axes) == [
        'plasticity', 'zones', 'layers', 'classes', 'd2min', 'snapshot_1', 'snapshot_2', 'snapshot_3',
    ]  # fmt: skip
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
