"""The folder and the marker of a profile that the setup made: what it may change and remove, and what is default."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile

MARKER_NAME = 'softclay.json'
PLACEHOLDER_FAMILY = 'softclay-placeholder'
CODE_LABELS = ('lmp', 'dp', 'vasp')


def config_folder() -> Path:
    """Return the folder of the AiiDA configuration, which follows ``AIIDA_PATH``."""
    from aiida.manage.configuration import get_config

    return Path(get_config(create=True).dirpath)


def profile_folder(name: str) -> Path:
    """Return the folder in which the setup keeps everything of the profile ``name``."""
    return config_folder() / 'softclay' / name


@dataclass
class Marker:
    """What the setup made and chose for one profile, stored as JSON in the profile's folder.

    Attributes
    ----------
    profile : str
        Name of the profile.
    profile_uuid : str or None
        Its UUID; ``None`` while the profile is being made.
    backend : str
        Storage backend of the profile.
    created_database : bool
        Whether the PostgreSQL database was created by the setup (and is dropped with the profile).
    computer : str or None
        Label of the computer of the codes.
    codes : dict
        Engine (``lmp``, ``dp``, ``vasp``) to full code label.
    potential_family : str
        Label of the POTCAR family.
    verified : dict
        UUID of a code to when it last ran its check, in seconds since the epoch.
    """

    profile: str
    profile_uuid: str | None = None
    backend: str = 'core.sqlite_dos'
    created_database: bool = False
    computer: str | None = None
    codes: dict[str, str] = field(default_factory=dict)
    potential_family: str = PLACEHOLDER_FAMILY
    verified: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str) -> Marker | None:
        """Return the marker of the profile ``name``, or ``None`` if the setup made no such profile."""
        path = profile_folder(name) / MARKER_NAME
        if not path.is_file():
            return None
        known = set(cls.__dataclass_fields__)
        data: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        return cls(**{key: value for key, value in data.items() if key in known})

    def save(self) -> None:
        """Write the marker, atomically."""
        path = profile_folder(self.profile) / MARKER_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix('.tmp')
        temporary.write_text(json.dumps(asdict(self), indent=2) + '\n', encoding='utf-8')
        os.replace(temporary, path)

    def owns(self, profile: Profile) -> bool:
        """Return whether ``profile`` is the one that the setup made under this name, not a later namesake."""
        config = profile.storage_config
        place = config.get('filepath') or config.get('repository_uri', '').removeprefix('file://')
        inside = bool(place) and Path(place).resolve().is_relative_to(profile_folder(self.profile).resolve())
        return profile.uuid == self.profile_uuid or (self.profile_uuid is None and inside)


@dataclass(frozen=True)
class Defaults:
    """What a command uses in the loaded profile when the user names nothing else."""

    codes: dict[str, str]
    potential_family: str
    computer: str | None
    made_by_setup: bool


def current_defaults() -> Defaults:
    """Return the defaults of the loaded profile; of a profile that the setup did not make, the usual labels.

    Raises
    ------
    RuntimeError
        If no profile is loaded.
    """
    from aiida.manage import get_manager

    profile = get_manager().get_profile()
    if profile is None:
        raise RuntimeError('no profile is loaded')
    marker = Marker.load(profile.name)
    if marker is None or not marker.owns(profile):
        codes = {label: f'{label}@localhost' for label in CODE_LABELS}
        return Defaults(codes, PLACEHOLDER_FAMILY, None, made_by_setup=False)
    codes = {label: marker.codes.get(label, f'{label}@localhost') for label in CODE_LABELS}
    return Defaults(codes, marker.potential_family, marker.computer, made_by_setup=True)
