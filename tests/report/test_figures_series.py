"""Panels of series, snapshots of cells and powder patterns."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_panels import labels, line, texts

pytestmark = pytest.mark.usefixtures('aiida_profile')


def test_residual_strains_stand_against_the_stress(drawn):
    found = drawn('stress_pulse_series')
    axes = found['residual_strain']
    assert labels(axes) == ('applied stress (MPa)', 'residual strain after pulse 1')
    marks = [container for container in axes.containers if hasattr(container, 'has_yerr')]
    drawn_at = [(float(mark[0].get_xdata()[0]), float(mark[0].get_ydata()[0])) for mark in marks]
    expected = zip(found.array('magnitude_mpa'), found.array('residual_strain_cycle_1'), strict=True)
    assert drawn_at == [pytest.approx(pair) for pair in expected]
    assert [mark[0].get_fillstyle() for mark in marks] == ['none', 'left', 'full']
    # A span is a rectangle of the noise on both sides.
    assert axes.patches[0].get_height() == pytest.approx(2 * 0.002, rel=1e-3)


def test_yield_stress_against_the_rate(drawn):
    found = drawn('constant_strain_series')
    axes = found['rate_dependence']
    assert axes.get_xscale() == 'log'
    assert texts(axes) == ['largest, temperature_K 300.0', 'largest, temperature_K 400.0']
    fitted = [line for line in axes.lines if len(line.get_xdata()) == 3 and line.get_linestyle() == '-'
              and line.get_marker() in ('None', '')]  # fmt: skip
    assert len(fitted) == 2
    assert fitted[0].get_ydata() == pytest.approx(0.5 + 0.03 * np.log([0.1, 1, 10]), abs=1e-6)
    assert labels(axes) == ('strain rate (1/ps)', 'yield stress (GPa)')


def test_snapshots_are_coloured_by_d2min(drawn):
    """The layer that gives way is in the picture of its pair of frames, on the scale of all pictures."""
    found = drawn('plasticity')
    atoms = found.outputs['atoms']
    pairs = atoms.get_array('snapshot_pairs')
    n_pairs = len(atoms.get_array('d2min'))
    assert pairs.tolist() == [int(np.ceil(n_pairs * share / 3)) - 1 for share in (1, 2, 3)]
    assert atoms.get_array('snapshot_positions').shape == (3, *atoms.get_array('d2min').shape[1:], 3)
    for index, strain in enumerate(atoms.get_array('snapshot_strain')):
        axes = found[f'snapshot_{index + 1}']
        assert axes.get_title(loc='left') == f'$D^2_{{min}}$ of the atoms at a strain of {strain:.3g}'
        pixels = axes.images[0].get_array()
        assert pixels.shape[0] > 200
        # Atoms are drawn, not a white page.
        assert (np.asarray(pixels)[..., :3].min(axis=2) < 0.5).mean() > 0.1


def test_each_anion_has_its_line(drawn):
    found = drawn('anion_motion')
    axes = found['each_anion']
    left, turned = found.array('each_migrated'), found.array('each_rotated')
    assert len(axes.lines) == 12
    name = f'rotated ({int((turned * (1 - left)).sum())})'
    first = int(np.flatnonzero(turned * (1 - left))[0])
    assert np.array_equal(line(axes, name)[1], found.array('each_msd')[first])


def test_powder_pattern_is_of_bragg(drawn):
    found = drawn('powder_pattern')
    (profile, *_) = found['powder_pattern'].lines
    # Rock salt: 111 and 200 at sin θ = λ √(h² + k² + l²) / 2 a.
    expected = 2 * np.degrees(np.arcsin(1.54056 * np.sqrt([3, 4]) / (2 * 5.13)))
    heights = np.interp(expected, profile.get_xdata(), profile.get_ydata())
    assert sorted(heights)[1] == pytest.approx(100, abs=1)
    assert sorted(heights)[0] > 70
    row = found.source.row('powder.strongest.two_theta')
    assert min(abs(expected - row['value'])) < 0.01
