"""Tables of computed phases: what they hold, and which energies may be compared."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ENTRIES_SCHEMA = 'softclay-entries/1'
#: The corrections of the Materials Project put these run types on one scale.
MP_RUN_TYPES = {'GGA': 'GGA/GGA+U', 'GGA_U': 'GGA/GGA+U', 'GGA+U': 'GGA/GGA+U'}


class EntriesError(ValueError):
    """A table of phases that cannot be used; the message says what to change."""


def parse_formula(formula: str) -> dict[str, float]:
    """Return the atoms of each element in a formula.

    Raises
    ------
    EntriesError
        If it is no formula of chemical elements.
    """
    from pymatgen.core import Composition, Element

    try:
        composition = Composition(formula)
    except (ValueError, KeyError, TypeError) as error:
        raise EntriesError(f'`{formula}` is not a chemical formula: write for example GaF3') from error
    if not composition or not all(isinstance(element, Element) for element in composition):
        raise EntriesError(f'`{formula}` is not a formula of chemical elements: write for example GaF3')
    return {element.symbol: float(amount) for element, amount in composition.items()}


def reduced_formula(composition: Mapping[str, float]) -> str:
    """Return the reduced formula of a composition, elements in the order of electronegativity."""
    from pymatgen.core import Composition

    return str(Composition(dict(composition)).get_reduced_formula_and_factor()[0])


@dataclass(frozen=True)
class PhaseEntry:
    """A phase and its computed energy.

    Attributes
    ----------
    id : str
        Unique name in its table, such as ``GaCl3`` or ``mp-30952``.
    composition : dict
        Atoms of each element in the cell that was computed.
    energy : float
        Energy of that cell, eV.
    engine : str
        What computed it: program, functional or model, corrections. Only energies of one engine can be compared.
    source : str
        Where the energy is from (uuid of a node, database, paper).
    error : float or None
        One standard error of ``energy``, eV.
    """

    id: str
    composition: Mapping[str, float]
    energy: float
    engine: str
    source: str = ''
    error: float | None = None

    @cached_property
    def n_atoms(self) -> float:
        """Atoms of the cell."""
        return float(sum(self.composition.values()))

    @cached_property
    def formula(self) -> str:
        """Reduced formula."""
        return reduced_formula(self.composition)

    @property
    def energy_per_atom(self) -> float:
        """Energy, eV/atom."""
        return self.energy / self.n_atoms

    @property
    def error_per_atom(self) -> float | None:
        """One standard error of the energy, eV/atom."""
        return None if self.error is None else self.error / self.n_atoms

    def as_dict(self) -> dict[str, Any]:
        """Return the row of a table."""
        return {
            'id': self.id, 'formula': self.formula, 'composition': dict(self.composition), 'energy_eV': self.energy,
            'error_eV': self.error, 'n_atoms': self.n_atoms, 'engine': self.engine, 'source': self.source,
        }  # fmt: skip


def _number(row: Mapping[str, Any], key: str, name: str) -> float:
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise EntriesError(f'{name}: {key} is {value!r}, not a finite number')
    return float(value)


def _composition(row: Mapping[str, Any], name: str) -> dict[str, float]:
    given = row.get('composition', row.get('formula'))
    if isinstance(given, Mapping):
        composition = parse_formula(''.join(f'{element}{float(amount):g}' for element, amount in given.items()))
    elif isinstance(given, str):
        composition = parse_formula(given)
    else:
        raise EntriesError(f'{name} has no formula: give `formula` or `composition`')
    atoms = sum(composition.values())
    if row.get('n_atoms') is None:
        return composition
    n_atoms = _number(row, 'n_atoms', name)
    multiple = n_atoms / atoms
    if n_atoms <= 0 or abs(multiple - round(multiple)) > 1e-6:
        raise EntriesError(f'{name}: {n_atoms:g} atoms are no whole number of formula units of {atoms:g} atoms')
    return {element: amount * round(multiple) for element, amount in composition.items()}


def _from_row(row: Mapping[str, Any], number: int) -> PhaseEntry:
    name = str(row.get('id') or row.get('formula') or f'entry {number}')
    if 'energy_eV' not in row:
        raise EntriesError(f'{name} has no energy: give `energy_eV`, the energy of all `n_atoms` atoms')
    if not row.get('engine'):
        raise EntriesError(f'{name} does not say what computed it: give `engine`, such as `PBE-D2, VASP 6.2`')
    error = None if row.get('error_eV') is None else _number(row, 'error_eV', name)
    if error is not None and error < 0:
        raise EntriesError(f'{name}: error_eV is {error:g}, below 0')
    return PhaseEntry(
        name, _composition(row, name), _number(row, 'energy_eV', name), str(row['engine']),
        str(row.get('source') or ''), error,
    )  # fmt: skip


def _from_computed_entry(row: Mapping[str, Any], number: int) -> PhaseEntry:
    """Return an entry of pymatgen, read field by field: nothing that a file names is imported."""
    name = str(row.get('entry_id') or f'entry {number}')
    parameters = row.get('parameters') or {}
    given = parameters.get('run_type') or (row.get('data') or {}).get('run_type') or ''
    # An enumeration is written as a mapping with its value.
    run_type = str(given.get('value') or '') if isinstance(given, Mapping) else str(given)
    if not run_type:
        raise EntriesError(f'{name} has no parameters.run_type, so that it is not known what computed it')
    correction = row.get('correction')
    if correction is None and row.get('energy_adjustments'):
        raise EntriesError(f'{name} has energy_adjustments but no `correction`, their sum: write it with as_dict()')
    energy = _number(row, 'energy', name) + (0.0 if correction is None else _number(row, 'correction', name))
    run_type = MP_RUN_TYPES.get(run_type, run_type)
    corrected = 'with corrections' if row.get('energy_adjustments') or correction else 'no corrections'
    return PhaseEntry(
        name, _composition({'composition': row.get('composition')}, name), energy, f'{run_type}, computed entries',
        f'computed entry {name}, {corrected}',
    )  # fmt: skip


def parse_entries(content: Any) -> tuple[PhaseEntry, ...]:
    """Return the entries of a table.

    Parameters
    ----------
    content : list or mapping
        Rows, or a mapping with ``entries``. A row has ``formula`` or ``composition``, ``energy_eV`` (of all
        ``n_atoms`` atoms; of one formula unit if that is not given), ``engine``, and optionally ``id``, ``source`` and
        ``error_eV``. Entries of pymatgen (``as_dict`` of a ``ComputedEntry``, as mp-api gives them) are read too; their
        energies include their corrections.

    Raises
    ------
    EntriesError
        If a row lacks something, two have one id, or engines are mixed.
    """
    rows = content.get('entries') if isinstance(content, Mapping) else content
    if not isinstance(rows, (list, tuple)) or not rows or not all(isinstance(row, Mapping) for row in rows):
        raise EntriesError('a table of phases is a list of rows, or a mapping with the list `entries`')
    entries = tuple(
        _from_computed_entry(row, number) if 'energy' in row and 'energy_eV' not in row else _from_row(row, number)
        for number, row in enumerate(rows)
    )
    check_entries(entries)
    return entries


def load_entries(path: str | Path) -> tuple[PhaseEntry, ...]:
    """Return the entries of a JSON or YAML file, see :func:`parse_entries`.

    Raises
    ------
    EntriesError
        If the file is of another kind or holds no usable table.
    """
    path = Path(path)
    readers = {'.json': json.loads, '.yaml': yaml.safe_load, '.yml': yaml.safe_load}
    if path.suffix.lower() not in readers:
        raise EntriesError(f'{path.name} is neither JSON nor YAML; pickles are never read')
    try:
        content = readers[path.suffix.lower()](path.read_text(encoding='utf-8'))
    except (ValueError, yaml.YAMLError) as error:
        raise EntriesError(f'{path.name} cannot be read: {error}') from error
    return parse_entries(content)


def check_entries(entries: Sequence[PhaseEntry]) -> None:
    """Refuse tables whose energies cannot be compared.

    Raises
    ------
    EntriesError
        If there is no entry, two have one id, or the energies are of different engines.
    """
    if not entries:
        raise EntriesError('the table holds no phase')
    counts = Counter(entry.id for entry in entries)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise EntriesError(f'two phases have the id {", ".join(twice)}: give each its own')
    by_engine: dict[str, list[str]] = {}
    for entry in entries:
        by_engine.setdefault(entry.engine, []).append(entry.id)
    if len(by_engine) > 1:
        listed = '; '.join(f'{engine}: {", ".join(names[:3])}' for engine, names in by_engine.items())
        raise EntriesError(
            f'the energies are of {len(by_engine)} engines, whose zeros differ ({listed}): keep those of one engine'
        )


@dataclass(frozen=True)
class PhaseSet:
    """What a number was computed against.

    Attributes
    ----------
    chemical_system : str
        Elements with hyphens, sorted.
    ids, formulas : tuple of str
        The phases.
    engine : str
        What computed all of them.
    absent_elements : tuple of str
        Elements with no entry; none of the products can be one of these.
    """

    chemical_system: str
    ids: tuple[str, ...]
    formulas: tuple[str, ...]
    engine: str
    absent_elements: tuple[str, ...] = ()

    @property
    def statement(self) -> str:
        """One sentence that goes with every number."""
        named = [
            name if name == formula else f'{formula} ({name})'
            for name, formula in zip(self.ids, self.formulas, strict=True)
        ]
        absent = f' No entry for the elements {", ".join(self.absent_elements)}.' if self.absent_elements else ''
        return (
            f'Against {len(named)} phases of {self.chemical_system} by {self.engine}: {", ".join(named)}.{absent} '
            'A phase that is not listed was not considered and can only lower the hull.'
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, with the statement."""
        return {
            'chemical_system': self.chemical_system, 'ids': list(self.ids), 'formulas': list(self.formulas),
            'engine': self.engine, 'absent_elements': list(self.absent_elements), 'statement': self.statement,
        }  # fmt: skip


def phase_set(entries: Sequence[PhaseEntry]) -> PhaseSet:
    """Return what a table holds."""
    check_entries(entries)
    elements = sorted({element for entry in entries for element in entry.composition})
    present = {next(iter(entry.composition)) for entry in entries if len(entry.composition) == 1}
    ordered = sorted(entries, key=lambda entry: (entry.formula, entry.id))
    return PhaseSet(
        '-'.join(elements), tuple(entry.id for entry in ordered), tuple(entry.formula for entry in ordered),
        entries[0].engine, tuple(element for element in elements if element not in present),
    )  # fmt: skip


def within(entries: Iterable[PhaseEntry], elements: Iterable[str]) -> tuple[PhaseEntry, ...]:
    """Return the entries made of these elements and no others."""
    allowed = set(elements)
    return tuple(entry for entry in entries if set(entry.composition) <= allowed)


def find_entry(entries: Iterable[PhaseEntry], name: str) -> PhaseEntry:
    """Return the entry with this id, else the lowest in energy with this formula.

    Raises
    ------
    EntriesError
        If there is none.
    """
    known = tuple(entries)
    for entry in known:
        if entry.id == name:
            return entry
    try:
        wanted = reduced_formula(parse_formula(name))
    except EntriesError:
        wanted = ''
    matches = [entry for entry in known if entry.formula == wanted]
    if not matches:
        listed = ', '.join(sorted({entry.formula for entry in known})[:30])
        raise EntriesError(f'the table holds no phase {name}: add it; it holds {listed}')
    return min(matches, key=lambda entry: entry.energy_per_atom)
