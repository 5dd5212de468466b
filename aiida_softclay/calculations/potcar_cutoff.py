"""The plane-wave cutoff that POTCAR files ask for, compared with the one of INCAR."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_ENMAX = re.compile(r'\bENMAX\s*=\s*([\d.]+)')


def potcar_enmax(potcar: Any) -> float | None:
    """Return the ENMAX of a ``PotcarData`` node in eV; ``None`` if it has none, like a placeholder.

    Only the header is read: a POTCAR is up to a megabyte.
    """
    with potcar.find_file_node().get_file_obj() as handle:
        header = handle.read(8192)
    found = _ENMAX.search(header.decode('utf-8', errors='replace') if isinstance(header, bytes) else header)
    return float(found.group(1)) if found else None


def cutoff_problem(incar: Mapping[str, Any], potcars: Iterable[Any]) -> str | None:
    """Return a sentence if ENCUT is below the ENMAX of a potential, or ``None``.

    Parameters
    ----------
    incar : mapping
        INCAR tags in any case. Without ENCUT the program takes the largest ENMAX itself, which is fine.
    potcars : iterable of PotcarData
        The potentials of a run.
    """
    encut = next((value for key, value in incar.items() if key.lower() == 'encut'), None)
    if encut is None:
        return None
    for potcar in {potcar.uuid: potcar for potcar in potcars}.values():
        enmax = potcar_enmax(potcar)
        if enmax is not None and enmax > float(encut):
            return (
                f'ENCUT = {float(encut):g} eV is below the ENMAX = {enmax:g} eV of the potential {potcar.full_name}: '
                'raise ENCUT to the largest ENMAX at least, or choose a softer potential'
            )
    return None
