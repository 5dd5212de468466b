"""Panels of reaction energies and voltages, of screened salts, and of the glass transition."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_panels import labels, line, texts
from matplotlib.colors import to_hex

pytestmark = pytest.mark.usefixtures('aiida_profile')


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
