"""The family of POTCAR files: placeholders for the VASP-compatible driver, or the user's own."""

from __future__ import annotations

from pathlib import Path

from .errors import ExitStatus, SetupError
from .marker import PLACEHOLDER_FAMILY
from .profile import Say

USER_FAMILY = 'softclay-vasp'

#: Elements of the papers' salts and of those that are screened with them.
PLACEHOLDER_ELEMENTS = (
    *('H', 'Li', 'Be', 'B', 'C', 'N', 'O', 'F', 'Na', 'Mg', 'Al', 'Si', 'P', 'S', 'Cl', 'K', 'Ca', 'Sc', 'Ti', 'V'),
    *('Cr', 'Mn', 'Fe', 'Co', 'Ni', 'Cu', 'Zn', 'Ga', 'Ge', 'As', 'Se', 'Br', 'Rb', 'Sr', 'Y', 'Zr', 'Nb', 'Mo'),
    *('Ag', 'Cd', 'In', 'Sn', 'Sb', 'Te', 'I', 'Cs', 'Ba', 'La', 'Ce', 'Lu', 'Hf', 'Ta', 'W', 'Pb', 'Bi'),
)


def ensure_placeholder_family(say: Say) -> str:
    """Make sure that the placeholder family is there; return its label."""
    from aiida_softclay.calculations.potcars import PotentialFamilyError, upload_placeholder_family

    try:
        added = upload_placeholder_family(PLACEHOLDER_FAMILY, PLACEHOLDER_ELEMENTS)
    except PotentialFamilyError as exception:
        raise SetupError(ExitStatus.POTENTIALS, str(exception)) from exception
    news = f'{added} placeholders added' if added else 'is there'
    say(f'potential family `{PLACEHOLDER_FAMILY}`: {news} (no pseudopotentials, for the VASP-compatible driver only)')
    return PLACEHOLDER_FAMILY


def ensure_user_family(source: Path, name: str, say: Say) -> str:
    """Upload the user's POTCAR files as the family ``name``; return its label.

    Parameters
    ----------
    source : Path
        Folder (or tar archive) with one folder for each potential, as VASP distributes them.
    name : str
        Label of the family.
    say : callable
        Receives one line for each thing done.

    Raises
    ------
    SetupError
        If ``source`` is missing or holds no POTCAR.
    """
    from aiida_vasp.data.potcar import PotcarData

    if not source.exists():
        raise SetupError(ExitStatus.POTENTIALS, f'--potcars {source} does not exist')
    if source.is_dir() and not any(source.rglob('POTCAR*')):
        raise SetupError(
            ExitStatus.POTENTIALS, f'no POTCAR under {source}: it must hold folders such as Li/POTCAR, Ga_d/POTCAR'
        )
    try:
        found, added, _ = PotcarData.upload_potcar_family(
            str(source.absolute()), name, 'POTCAR files of the user of this profile', stop_if_existing=False
        )
    except (ValueError, OSError) as exception:
        raise SetupError(
            ExitStatus.POTENTIALS, f'the POTCAR files in {source} cannot be read: {exception}'
        ) from exception
    say(f'potential family `{name}`: {found} POTCARs found, {added} added')
    return name
