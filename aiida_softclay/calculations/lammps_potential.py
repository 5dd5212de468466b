"""What a user may say about a classical potential, and nothing more: LAMMPS scripts can run shell commands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

# One command a line, of printable characters that LAMMPS neither expands ($), continues (&), quotes nor comments out.
ALLOWED_LINE = re.compile(r'[A-Za-z0-9_.+*/:\- ]{1,500}')
ALLOWED_FILENAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.+\-]{0,99}')
ALLOWED_COMMANDS = ('pair_style', 'pair_coeff', 'pair_modify', 'kspace_style', 'kspace_modify')
# These styles run code, open connections or read files that are not nodes of the provenance graph.
REFUSED_STYLES = ('python', 'mdi', 'quip', 'kim', 'lepton', 'deepmd', 'deepspin')
REFUSED_WORDS = ('shell', 'include', 'jump', 'python', 'plugin', 'system')
RESERVED_FILES = re.compile(
    r'(input\.in|log\.lammps|lammps\.out|structure\.data|resume\.restart|model\..*|_.*|.*\.(restart|bin|dump))'
)


@dataclass(frozen=True)
class ClassicalPotential:
    """A checked classical potential: elements in the order of the LAMMPS atom types, script lines and charges in e."""

    elements: tuple[str, ...]
    lines: tuple[str, ...]
    charges: Mapping[str, float] = field(default_factory=dict)


def check_filename(name: str) -> str | None:
    """Return why a file may not be copied into the run under this name, or ``None``."""
    if not ALLOWED_FILENAME.fullmatch(name):
        return f'file name {name!r} has characters other than letters, digits, dot, plus, minus and underscore'
    if RESERVED_FILES.fullmatch(name):
        return f'file name {name!r} is used by the run itself: rename the file'
    return None


def _check_line(line: Any, filenames: Sequence[str]) -> str | None:
    if not isinstance(line, str):
        return f'a line of the potential is not text: {line!r}'
    if not ALLOWED_LINE.fullmatch(line):
        return (
            f'line {line!r} has characters that are not allowed: letters, digits, blanks and _ . + - * / : are; '
            'one command a line, without $ & # quotes or line breaks'
        )
    words = line.split()
    if not words or words[0] not in ALLOWED_COMMANDS:
        return f'line {line!r} is not one of {", ".join(ALLOWED_COMMANDS)}: charges go into `charges`'
    for word in words[1:]:
        refused = word.lower() in REFUSED_WORDS or (
            words[0] == 'pair_style' and word.split('/')[0].lower() in REFUSED_STYLES
        )
        if refused:
            return f'line {line!r}: `{word}` is not allowed in a classical potential'
        # A style such as lj/cut holds a slash too; a path to a file outside the run directory starts with one or
        # goes up, and everything else that exists in the run directory is listed.
        if word.startswith('/') or '..' in word or (word not in filenames and PurePosixPath(word).suffix[1:].isalpha()):
            return f'line {line!r}: `{word}` points outside the run; give the file in `files` and its plain name here'
    return None


def parse_classical(
    data: Mapping[str, Any] | Sequence[Any], structure_elements: Sequence[str], filenames: Sequence[str] = ()
) -> ClassicalPotential:
    """Return the checked potential.

    Parameters
    ----------
    data : mapping or sequence
        Either ``{'elements': [...], 'lines': [...], 'charges': {...}}`` or just the lines. The elements are in the
        order of the atom types 1, 2, … of the lines; without them they are in order of appearance in the structure.
        Element symbols may be used instead of type numbers. Charges are in units of e.
    structure_elements : sequence of str
        Elements of the structure in order of first appearance.
    filenames : sequence of str
        Names of the files that are copied into the run.

    Raises
    ------
    ValueError
        With a sentence that says what to change.
    """
    if isinstance(data, Mapping):
        unknown = sorted(set(data) - {'elements', 'lines', 'charges'})
        if unknown:
            raise ValueError(f'unknown key {", ".join(unknown)} of the classical potential: elements, lines, charges')
        elements = list(data.get('elements') or structure_elements)
        lines, charges = data.get('lines', []), dict(data.get('charges') or {})
    else:
        elements, lines, charges = list(structure_elements), list(data), {}
    for element in elements:
        if not isinstance(element, str) or not re.fullmatch(r'[A-Z][a-z]?', element):
            raise ValueError(f'{element!r} is not an element symbol')
    if len(set(elements)) < len(elements):
        raise ValueError(f'an element is listed twice: {elements}')
    for name in filenames:
        if problem := check_filename(name):
            raise ValueError(problem)
    if len(set(filenames)) < len(filenames):
        raise ValueError(f'two files of the potential have the same name: {sorted(filenames)}')
    for line in lines:
        if problem := _check_line(line, filenames):
            raise ValueError(problem)
    if not any(line.split()[0] == 'pair_style' for line in lines):
        raise ValueError('the classical potential has no pair_style line')
    for element, charge in charges.items():
        if element not in elements or isinstance(charge, bool) or not isinstance(charge, int | float):
            raise ValueError(
                f'charge {charge!r} of {element!r}: give a number of elementary charges for a known element'
            )
    check_elements(structure_elements, elements, 'the classical potential')
    numbered = tuple(_number_types(line, elements) for line in lines)
    return ClassicalPotential(tuple(elements), numbered, {key: float(value) for key, value in charges.items()})


def _number_types(line: str, elements: Sequence[str]) -> str:
    """Return a line with the element symbols that stand for the atom types of ``pair_coeff`` turned into numbers."""
    words = line.split()
    if words[0] != 'pair_coeff' or len(words) < 3:
        return ' '.join(words)
    pair = [str(elements.index(word) + 1) if word in elements else word for word in words[1:3]]
    if all(word.isdigit() for word in pair):
        pair.sort(key=int)
    return ' '.join([words[0], *pair, *words[3:]])


def check_elements(structure_elements: Sequence[str], known: Sequence[str], what: str) -> None:
    """Raise a ``ValueError`` with a sentence if the structure has elements that the potential does not know."""
    missing = [element for element in structure_elements if element not in known]
    if missing:
        raise ValueError(
            f'the structure has {", ".join(missing)}, but {what} knows only {", ".join(known)}: '
            'use a potential that was fitted to all elements of the structure'
        )
