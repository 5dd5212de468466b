"""What the tests of the figures share."""

from __future__ import annotations

import pytest
from drawn_panels import Drawn
from figure_samples import outputs_of


@pytest.fixture(scope='module')
def drawn(aiida_profile, tmp_path_factory):
    """Return a function that draws an analysis, once."""
    found = {}

    def of(name):
        if name not in found:
            found[name] = Drawn(name, outputs_of(name, tmp_path_factory.mktemp(name)))
        return found[name]

    return of
