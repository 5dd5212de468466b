"""The marker: which profile is ours, and which only bears the name."""

import json

import pytest
from aiida.manage.configuration import Profile

from aiida_softclay.setup import marker
from aiida_softclay.setup.errors import ExitStatus, SetupError
from aiida_softclay.setup.marker import Marker


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A configuration folder that is empty."""
    monkeypatch.setattr(marker, 'config_folder', lambda: tmp_path)
    return tmp_path


def profile(storage, uuid):
    """Return a profile that keeps its data in ``storage``."""
    return Profile(
        'clay',
        {
            'PROFILE_UUID': uuid,
            'storage': {'backend': 'core.sqlite_dos', 'config': {'filepath': str(storage)}},
            'process_control': {'backend': None, 'config': None},
        },
    )


def test_saved_and_loaded(folder):
    """What is saved is loaded; a field that a later version wrote is passed over."""
    made = Marker('clay', profile_uuid='a', codes={'lmp': 'lmp@localhost'}, verified={'b': 1.5})
    made.save()
    assert Marker.load('clay') == made
    path = folder / 'softclay' / 'clay' / marker.MARKER_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), 'later': 1}))
    assert Marker.load('clay') == made
    assert Marker.load('other') is None


def test_namesake_is_not_ours(folder):
    """A profile of the same name that was made later, by somebody else, has another UUID."""
    ours = folder / 'softclay' / 'clay' / 'storage'
    assert Marker('clay', profile_uuid='a').owns(profile(ours, 'a'))
    assert not Marker('clay', profile_uuid='a').owns(profile(folder / 'elsewhere', 'b'))
    assert not Marker('clay', profile_uuid='a').owns(profile(ours, 'b'))


def test_interrupted_making_is_ours(folder):
    """Before the UUID is noted the place of the data decides."""
    assert Marker('clay').owns(profile(folder / 'softclay' / 'clay' / 'storage', 'a'))
    assert not Marker('clay').owns(profile(folder / 'softclay' / 'clayish' / 'storage', 'a'))
    assert not Marker('clay').owns(profile(folder / 'repository', 'a'))


def test_status_travels_with_the_sentence():
    """The exit status of the script is that of the error."""
    error = SetupError(ExitStatus.COMPUTER, 'a sentence')
    assert (error.status, str(error)) == (6, 'a sentence')


def test_defaults_of_the_loaded_profile(aiida_profile):
    """In a profile that the setup did not make the usual labels are tried."""
    defaults = marker.current_defaults()
    assert not defaults.made_by_setup
    assert defaults.codes == {label: f'{label}@localhost' for label in ('lmp', 'dp', 'vasp')}
