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


@pytest.fixture(scope='module')
def nodes(aiida_profile, tmp_path_factory):
    """What the documentation takes as given, in the profile; nothing of it is left for other files."""
    from documented_profile import fill

    aiida_profile.reset_storage()
    yield fill(tmp_path_factory.mktemp('profile'))
    aiida_profile.reset_storage()


@pytest.fixture
def shell(nodes, tmp_path, aiida_profile):
    """A shell in a folder with the files that the pages take as given."""
    from documented_profile import lay_out
    from documented_setup import lay_out as lay_out_setup
    from documented_shell import Shell

    lay_out(tmp_path)
    return Shell(tmp_path, aiida_profile.name, lay_out_setup(tmp_path))
