"""Every analysis has panels with quantity and unit on their axes, and they can be written in every format."""

from __future__ import annotations

import re

import pytest
from drawn_panels import labels

from aiida_softclay.calculations.analyses import ANALYSES
from aiida_softclay.report.analysis_figures import CALCFUNCTIONS
from aiida_softclay.report.figures import SUFFIXES, save_panels
from aiida_softclay.report.registry import REGISTRY, Source, panels_for, panels_from

pytestmark = pytest.mark.usefixtures('aiida_profile')


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
            for axis, text in zip((axes.xaxis, axes.yaxis), labels(axes), strict=True) if axes.axison else ():
                written = all(isinstance(part, str) and re.search('[A-Za-z]', part) for part in
                              (tick.get_text() for tick in axis.get_ticklabels()))  # fmt: skip
                assert text or written, f'{name}, {title}'
                assert '_' not in text.replace('$_', '').replace('^2_', '')
                assert '^' not in text.replace('$D^2', '')
            assert axes.get_title(loc='left'), f'{name}, {title}'


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
