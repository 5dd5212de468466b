"""POTCAR: which elements, in which order, with which masses. The pseudopotentials themselves are not used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ase.data import atomic_masses, atomic_numbers

from aiida_softclay.engines.vasp.errors import InputError


@dataclass(frozen=True)
class Species:
    """One entry of POTCAR."""

    symbol: str
    title: str
    exchange: str
    mass: float
    valence: float


def read_potcar(path: Path) -> list[Species]:
    """Return the species of a POTCAR in their order.

    The element is the second word of TITEL up to an underscore, as in ``PAW_PBE Li_sv 10Sep2004``.

    Raises
    ------
    InputError
        If the file is missing, has no TITEL, or a TITEL names no element.
    """
    try:
        text = path.read_text(encoding='utf-8', errors='replace')
    except OSError as error:
        raise InputError(f'POTCAR cannot be read: {error.strerror}') from error
    starts = [match.start() for match in re.finditer(r'^\s*TITEL\s*=', text, re.MULTILINE)]
    if not starts:
        raise InputError('POTCAR holds no TITEL line: it is not a POTCAR, or it is empty')
    species = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        entry = text[start:end]
        title = entry.partition('=')[2].partition('\n')[0].strip()
        words = title.split()
        symbol = re.split(r'[_.\d]', words[1])[0] if len(words) > 1 else ''
        if atomic_numbers.get(symbol, 0) < 1:
            raise InputError(f'POTCAR: the title `{title}` names no element as its second word')
        mass = re.search(r'POMASS\s*=\s*([\d.]+)', entry)
        valence = re.search(r'ZVAL\s*=\s*([\d.]+)', entry)
        exchange = re.search(r'LEXCH\s*=\s*(\S+)', entry)
        species.append(
            Species(
                symbol=symbol,
                title=title,
                exchange=exchange.group(1) if exchange else '--',
                mass=float(mass.group(1))
                if mass and float(mass.group(1)) > 0
                else atomic_masses[atomic_numbers[symbol]],
                valence=float(valence.group(1)) if valence else 0.0,
            )
        )
    return species


def check_species(species: list[Species], names: list[str] | None, counts: list[int]) -> None:
    """Check that POTCAR and POSCAR speak of the same species in the same order.

    POSCAR may hold names of kinds (``Li1``, ``Cl_bridge``); those that are not an element after digits and suffixes
    are dropped cannot be checked and are left alone.

    Raises
    ------
    InputError
        If numbers of species differ, or an element differs.
    """
    in_potcar = ' '.join(entry.symbol for entry in species)
    in_poscar = ' '.join(names) if names else f'{len(counts)} species without names'
    if len(species) != len(counts):
        raise InputError(
            f'POTCAR has {len(species)} species ({in_potcar}), POSCAR has {len(counts)} ({in_poscar}): '
            'concatenate one POTCAR for each species in the order of POSCAR'
        )
    for index, (entry, name) in enumerate(zip(species, names or [], strict=False), start=1):
        element = re.split(r'[_/.\d]', name)[0]
        if element in atomic_numbers and element != entry.symbol:
            raise InputError(
                f'species {index} is {entry.symbol} in POTCAR but {name} in POSCAR '
                f'(POTCAR: {in_potcar}; POSCAR: {in_poscar}): concatenate the POTCARs in the order of POSCAR'
            )
