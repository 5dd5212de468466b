"""What the tests of the workflows share."""

import pytest
from fast_lammps import make_code


@pytest.fixture
def lj_code(localhost, lmp_program):
    """LAMMPS without its plugins: it starts in a tenth of a second instead of several."""
    return make_code(localhost, 'lmp-lj')
