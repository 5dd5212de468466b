"""What the tests of the command line share."""

from __future__ import annotations

import pytest
from aiida import orm
from launch_samples import MODEL, record_codes


@pytest.fixture
def salt_words(aiida_profile_clean, localhost):
    """The words of a dry run of molecular dynamics of a salt: structure, potential, ``--dry-run``."""
    from aiida_softclay.data.potential import PotentialData
    from aiida_softclay.structures.crystals import crystal

    record_codes(localhost, 'lmp')
    structure = orm.StructureData(ase=crystal('LiCl') * (2, 2, 2)).store()
    return structure.pk, '--potential', PotentialData(MODEL).store().pk, '--dry-run'


@pytest.fixture
def salt():
    """A crystal of LiCl."""
    from aiida_softclay.structures.crystals import crystal

    return orm.StructureData(ase=crystal('LiCl')).store()


@pytest.fixture
def potential():
    """A potential that is never run."""
    from aiida_softclay.data.potential import PotentialData

    return PotentialData(MODEL).store()
