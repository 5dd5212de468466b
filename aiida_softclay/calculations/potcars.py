"""Families of POTCAR files: placeholders for engines that need none, and the checks every family must pass.

VASP's pseudopotentials are licensed and cannot be shipped. The VASP-compatible driver takes nothing but the elements
from POTCAR, so a few lines without any pseudopotential do; their title says what they are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiida.orm import StructureData

#: First word of the TITEL of a placeholder; the second word is the element, as in every POTCAR.
PLACEHOLDER_TITLE = 'PLACEHOLDER'
PLACEHOLDER_DESCRIPTION = (
    'Placeholders without pseudopotentials, for the VASP-compatible driver of aiida-softclay only.'
)

_TEMPLATE = """\
 {title} {element}
 parameters from PSCTR are:
   TITEL  = {title} {element} not-a-pseudopotential
   LEXCH  = PE
   POMASS = {mass:9.3f}; ZVAL   =    0.000    mass; no valence electrons, this is a placeholder
 END of PSCTR-controll parameters
 End of Dataset
"""


class PotentialFamilyError(ValueError):
    """A POTCAR family that does not exist or does not fit."""


def placeholder_potcar(element: str) -> str:
    """Return the text of a placeholder POTCAR: title, mass and end markers, no pseudopotential.

    Raises
    ------
    PotentialFamilyError
        If ``element`` is not the symbol of an element.
    """
    from ase.data import atomic_masses, atomic_numbers

    if atomic_numbers.get(element, 0) < 1:
        raise PotentialFamilyError(f'`{element}` is not the symbol of an element')
    return _TEMPLATE.format(title=PLACEHOLDER_TITLE, element=element, mass=atomic_masses[atomic_numbers[element]])


def write_placeholder_potcars(folder: str | Path, elements: Iterable[str]) -> list[Path]:
    """Write ``folder/<element>/POTCAR`` for each element, the layout in which POTCARs are distributed.

    Returns
    -------
    list of Path
        The files written, in the order of the sorted symbols.
    """
    paths = []
    for element in sorted(set(elements)):
        path = Path(folder) / element / 'POTCAR'
        text = placeholder_potcar(element)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
        paths.append(path)
    return paths


def family_elements(name: str) -> dict[str, list[str]]:
    """Return the elements of a POTCAR family with the full names of their potentials (``{'Ga': ['Ga', 'Ga_d']}``).

    Raises
    ------
    PotentialFamilyError
        If the family does not exist; the message names those that do.
    """
    from aiida_vasp.data.potcar import PotcarData, PotcarGroup

    group = PotcarData.get_potcar_group(name)
    if group is None:
        from aiida.orm import QueryBuilder

        known = QueryBuilder().append(PotcarGroup, project='label').all(flat=True)
        have = f'this profile has {", ".join(sorted(known))}' if known else 'this profile has none'
        raise PotentialFamilyError(
            f'there is no POTCAR family `{name}` ({have}): upload yours with '
            '`aiida-vasp potcar uploadfamily`, or the placeholders with `./setup_profile.sh`'
        )
    elements: dict[str, list[str]] = {}
    for node in group.nodes:
        elements.setdefault(node.element, []).append(node.full_name)
    return {element: sorted(names) for element, names in sorted(elements.items())}


def upload_placeholder_family(name: str, elements: Iterable[str]) -> int:
    """Make sure that the POTCAR family ``name`` holds a placeholder for each element.

    Parameters
    ----------
    name : str
        Label of the family; made if it does not exist.
    elements : iterable of str
        Symbols of the elements.

    Returns
    -------
    int
        Number of placeholders that were added to the family; 0 on a second call.

    Raises
    ------
    PotentialFamilyError
        If the family exists and holds real POTCARs, which placeholders must never join, or for an unknown element.
    """
    from aiida_vasp.data.potcar import PotcarData

    wanted = set(elements)
    group = PotcarData.get_potcar_group(name)
    if group is not None:
        nodes = list(group.nodes)
        real = sorted(node.full_name for node in nodes if not is_placeholder(node))
        if real:
            raise PotentialFamilyError(
                f'the POTCAR family `{name}` holds real potentials ({", ".join(real[:3])}, ...): '
                'give the placeholders a family of their own'
            )
        wanted -= {node.element for node in nodes}
    if not wanted:
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        # aiida-vasp reads `family/element/POTCAR` from the end of the path.
        source = Path(temporary) / 'softclay-placeholders'
        write_placeholder_potcars(source, wanted)
        _, added, _ = PotcarData.upload_potcar_family(
            source, name, PLACEHOLDER_DESCRIPTION, stop_if_existing=False, dry_run=False
        )
    return int(added)


#: The same under the name that says what it guarantees.
ensure_placeholder_family = upload_placeholder_family


def is_placeholder(potcar: Any) -> bool:
    """Return whether a ``PotcarData`` node is one of the placeholders."""
    return str(potcar.title).split()[:1] == [PLACEHOLDER_TITLE]


def select_potentials(
    structure: StructureData, family: str, mapping: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the potential of each kind of a structure from a family, checked.

    Parameters
    ----------
    structure : StructureData
        The kinds' symbols say which elements are needed.
    family : str
        Label of the POTCAR family.
    mapping : mapping, optional
        Full name of the potential for an element or a kind (``{'Ga': 'Ga_d'}``); the element's plain name by default.

    Returns
    -------
    dict
        Kind name to ``PotcarData``.

    Raises
    ------
    PotentialFamilyError
        If the family does not exist, lacks an element, or the mapping names a potential that it lacks or that is of
        another element.
    """
    from aiida_vasp.data.potcar import PotcarData

    mapping = dict(mapping or {})
    available = family_elements(family)
    symbols = {kind.name: kind.symbol for kind in structure.kinds}
    missing = sorted(set(symbols.values()) - set(available))
    if missing:
        raise PotentialFamilyError(
            f'the POTCAR family `{family}` has no potential for {", ".join(missing)}: '
            'upload a POTCAR for each, or choose another family'
        )
    unknown = sorted(set(mapping) - set(symbols) - set(symbols.values()) - set(available))
    if unknown:
        raise PotentialFamilyError(f'the potential mapping names {", ".join(unknown)}, which no element or kind bears')
    nodes = {node.full_name: node for node in PotcarData.get_potcar_group(family).nodes}
    potentials = {}
    for kind, symbol in symbols.items():
        full_name = mapping.get(kind, mapping.get(symbol, symbol))
        if full_name not in nodes:
            raise PotentialFamilyError(
                f'the POTCAR family `{family}` has no `{full_name}` for {kind}: it has '
                f'{", ".join(available[symbol])}; say which in the potential mapping'
            )
        if nodes[full_name].element != symbol:
            raise PotentialFamilyError(
                f'the potential mapping gives `{full_name}`, a potential of {nodes[full_name].element}, to {kind}'
            )
        potentials[kind] = nodes[full_name]
    return potentials
