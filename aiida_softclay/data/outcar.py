"""Read labelled frames from ``OUTCAR`` as a stream, also from a file that was cut while it was written.

VASP prints positions to 1e-5 Å and stresses to 1e-5 kB here, less than in ``vasprun.xml``, which is therefore preferred
where both exist. A step counts once the line with its energies is complete; what machine-learned steps print under
``ML`` is not read.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .frame_block import FrameBlock
from .vasp_steps import (
    DEFAULT_ENERGY_KIND,
    KILOBAR_ANGSTROM3_PER_EV,
    IonicStep,
    VaspOutputError,
    VaspSummary,
    blocks_of_steps,
    engine_record,
    joined_block,
    number_or_nan,
    open_output,
)

#: Fortran runs numbers together where one fills its field, and prints stars where it does not fit.
_NUMBER = re.compile(rb'[-+]?\d*\.\d*(?:[EeDd][-+]?\d+)?|[-+]?\d+|\*+|[-+]?[Nn]a[Nn]|[-+]?[Ii]nf(?:inity)?')
_TAG = re.compile(r'([A-Z_]{3,})\s*=\s*([^\s;]+)')
_STEP = re.compile(rb'Iteration\s*\d+\(\s*(\d+|\*+)\)')
#: Tags of the header that are read; the last mention of each counts, which is the value in force.
_TAGS = {
    'NELM', 'NSW', 'IBRION', 'ISIF', 'TEBEG', 'TEEND', 'PSTRESS', 'ENCUT', 'GGA', 'METAGGA', 'IVDW', 'LHFCALC', 'LDAU',
}  # fmt: skip
_CLOSING = b'General timing and accounting informations'
#: A header longer than this belongs to another program's file.
_HEADER_LINES = 2_000_000


class OutcarError(VaspOutputError):
    """The file is not an ``OUTCAR`` with at least one complete ionic step."""


def _numbers(line: bytes) -> list[float]:
    return [number_or_nan(token.replace(b'D', b'E').replace(b'd', b'e')) for token in _NUMBER.findall(line)]


def _row(line: bytes, n_numbers: int, n_wanted: int) -> list[float]:
    """Return the first numbers of a row of a table, or not-a-numbers if the row has not as many as it should."""
    found = _numbers(line)
    return found[:n_wanted] if len(found) == n_numbers else [float('nan')] * n_wanted


class _Header:
    """What the lines before the first electronic step say."""

    def __init__(self, summary: VaspSummary) -> None:
        self.summary = summary
        self.generator: dict[str, str] = {}
        self.titles: list[str] = []
        self.listed: list[str] = []
        self.counts: list[int] = []
        self.n_ions = 0
        self._counting = False

    def line(self, text: str) -> None:
        """Take what one line says."""
        stripped = text.strip()
        if not self.generator and stripped:
            self._program(stripped)
        elif self._counting:
            # Many types need a second line.
            if re.fullmatch(r'[\d\s]+', stripped) and sum(self.counts) < self.n_ions:
                self.counts += [int(word) for word in re.findall(r'\d+', stripped)]
            else:
                self._counting = False
        if 'TITEL' in text:
            self.titles.append(' '.join(text.split('=', 1)[-1].split()))
        elif stripped.startswith('POTCAR:'):
            self.listed.append(' '.join(stripped[7:].split()))
        elif match := re.search(r'NIONS\s*=\s*(\d+)', text):
            self.n_ions = int(match.group(1))
        elif 'ions per type' in text:
            self.counts = [int(word) for word in re.findall(r'\d+', text.split('=', 1)[-1])]
            self._counting = True
        elif '=' in text:
            self.summary.parameters.update({tag: value for tag, value in _TAG.findall(text) if tag in _TAGS})
        elif ':' in text and not self.generator['program'].lower().startswith('vasp'):
            # A stand-in says here what it is.
            name, value = (part.strip() for part in text.split(':', 1))
            if name in ('model', 'functional', 'dispersion', 'engine_program', 'engine_version', 'engine_model'):
                self.generator[name] = value

    def _program(self, first: str) -> None:
        words = first.split()
        if words[0].startswith('vasp.'):
            self.generator = {'program': 'vasp', 'version': words[0][5:]}
        else:
            self.generator = {'program': words[0], 'version': words[1].rstrip(':') if len(words) > 1 else ''}

    def finish(self) -> None:
        """Put atoms and engine together once the header is complete."""
        # Each potential is listed twice, and some versions leave out titles.
        titles = self.titles if len(self.titles) == len(self.counts) else self.listed[: len(self.listed) // 2]
        if not self.counts or len(titles) != len(self.counts):
            raise OutcarError(
                f'the OUTCAR names {len(titles)} potentials for {len(self.counts)} types of ions: its elements are not '
                'certain, import vasprun.xml instead'
            )
        elements = [re.match('[A-Z][a-z]?', title.split()[1] if len(title.split()) > 1 else title) for title in titles]
        if any(element is None for element in elements):
            raise OutcarError(f'the titles of the potentials name no elements: {"; ".join(titles)}')
        names = [element.group() for element in elements if element is not None]
        self.summary.symbols = [name for name, count in zip(names, self.counts, strict=True) for _ in range(count)]
        if self.n_ions and len(self.summary.symbols) != self.n_ions:
            raise OutcarError(f'{self.n_ions} ions, but {len(self.summary.symbols)} in the list of types')
        parameters = dict(self.summary.parameters)
        parameters['ENMAX'] = parameters.pop('ENCUT', '')
        # The tags as typed say .TRUE. where vasprun.xml has T.
        logical = {'.TRUE.': 'T', '.T.': 'T', 'TRUE': 'T'}
        parameters = {tag: logical.get(value.upper(), value) for tag, value in parameters.items()}
        self.summary.engine = engine_record(self.generator, parameters, dict(zip(names, titles, strict=True)))


class _Step:
    """What has been read of the ionic step under way."""

    def __init__(self) -> None:
        self.n_electronic = 0
        self.stress: list[float] | None = None
        self.cell: np.ndarray | None = None
        self.rows: np.ndarray | None = None
        self.free_energy = float('nan')

    def arrays(self, summary: VaspSummary, energies: list[float], cell: np.ndarray, number: int) -> dict[str, Any]:
        """Return the arrays of the step, given the line ``energy without entropy …, energy(sigma->0) …``."""
        rows = self.rows
        if rows is None:
            raise OutcarError(f'ionic step {number} has no forces')
        virial = None
        if self.stress is not None:
            xx, yy, zz, xy, yz, zx = self.stress
            # VASP's stress has the sign of a pressure; PSTRESS is not part of these numbers.
            kilobar = np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
            virial = kilobar * abs(np.linalg.det(cell)) / KILOBAR_ANGSTROM3_PER_EV
        # With an external pressure TOTEN stays the energy here; the enthalpy has a line of its own.
        kinds = {'e_fr_energy': self.free_energy, 'e_wo_entrp': energies[0], 'e_0_energy': energies[1]}
        return {
            'positions': rows[:, :3],
            'cells': cell,
            'energies': kinds[summary.energy_kind],
            'forces': rows[:, 3:],
            'virials': virial,
            'temperature': summary.target_temperature(number),
        }


def _lines(handle: BinaryIO, summary: VaspSummary) -> Iterator[bytes]:
    """Yield the complete lines; a file that ends otherwise is cut."""
    try:
        for line in handle:
            if not line.endswith(b'\n'):
                break
            yield line
    except (EOFError, gzip.BadGzipFile, zlib.error):
        summary.truncated = True


def _steps(path: str | Path | BinaryIO, summary: VaspSummary) -> Iterator[IonicStep]:
    """Yield the complete ionic steps and fill in what the header says."""
    handle = open_output(path)
    try:
        lines = _lines(handle, summary)
        _read_header(lines, summary)
        summary.truncated = True
        yield from _read_steps(lines, summary)
    finally:
        if handle is not path:
            handle.close()


def _read_header(lines: Iterator[bytes], summary: VaspSummary) -> None:
    header = _Header(summary)
    for number, line in enumerate(lines):
        if _STEP.search(line):
            header.finish()
            return
        if number > _HEADER_LINES or (number == 0 and line.lstrip().startswith(b'<')):
            break
        header.line(line.decode('latin-1'))
    if not header.counts:
        raise OutcarError('not an OUTCAR: no electronic step and no list of ions in it')
    raise OutcarError('the file holds no complete ionic step (it is cut)')


def _read_steps(lines: Iterator[bytes], summary: VaspSummary) -> Iterator[IonicStep]:
    """Yield the steps; the first line of the first electronic step has been read already."""
    step, machine_learned, cell = _Step(), False, None
    step.n_electronic = 1
    n_atoms = len(summary.symbols)
    number = 0
    for line in lines:
        if b'Iteration' in line:
            match = _STEP.search(line)
            if match:
                step.n_electronic = int(match.group(1)) if match.group(1).isdigit() else step.n_electronic + 1
        elif b'FORCE on cell' in line:
            machine_learned = b'ML' in line
        elif line.startswith((b'  in kB', b' in kB')) and not machine_learned:
            step.stress = _row(line, 6, 6)
        elif b'direct lattice vectors' in line:
            # The range first, so that no line is taken that belongs to what follows.
            rows = [_row(row, 6, 3) for _, row in zip(range(3), lines, strict=False)]
            cell = np.array(rows) if len(rows) == 3 else cell
        elif b'TOTAL-FORCE (eV/Angst)' in line and b'ML' not in line:
            next(lines, None)
            rows = [_row(row, 6, 6) for _, row in zip(range(n_atoms), lines, strict=False)]
            step.rows = np.array(rows) if len(rows) == n_atoms else None
        elif b'free  energy   TOTEN' in line:
            found = _numbers(line.split(b'=', 1)[-1])
            step.free_energy = found[0] if found else float('nan')
        elif b'energy  without entropy' in line and b'ML' not in line:
            words = re.split(rb'=', line)
            energies = [(_numbers(word) or [float('nan')])[0] for word in words[1:]]
            # With NWRITE below 2 not every step prints its forces.
            if step.rows is not None and cell is not None and len(energies) == 2:
                done = step, energies, cell, number
                yield IonicStep(step.n_electronic, lambda s=done: s[0].arrays(summary, *s[1:]))  # type: ignore[misc]
            number += 1
            step = _Step()
        elif b'Edisp (eV)' in line and summary.engine['program'] == 'vasp':
            # Older versions do not list IVDW; energies with a dispersion correction are no plain functional's.
            summary.engine.setdefault('ivdw', 'of a kind that OUTCAR does not state')
        elif _CLOSING in line:
            summary.truncated = False


def iter_outcar(
    path: str | Path | BinaryIO,
    summary: VaspSummary,
    stride: int = 1,
    start: int = 0,
    keep_unconverged: bool = False,
    frames_per_block: int | None = None,
    drop_broken: bool = False,
) -> Iterator[FrameBlock]:
    """Yield the ionic steps of an ``OUTCAR`` in blocks of bounded size.

    Parameters
    ----------
    path : path or binary file object
        The file, may be gzipped (name ends with ``.gz``).
    summary : VaspSummary
        Filled while reading; complete once the iterator is exhausted. Its ``energy_kind`` chooses the energy:
        ``e_fr_energy`` is ``free  energy   TOTEN``, ``e_wo_entrp`` ``energy  without entropy`` and ``e_0_energy``
        ``energy(sigma->0)`` of the ionic step.
    stride, start, keep_unconverged, frames_per_block, drop_broken
        As for :func:`~aiida_softclay.data.vasp_steps.blocks_of_steps`.

    Raises
    ------
    VaspOutputError
        If this is no ``OUTCAR`` or holds no complete ionic step.
    """
    return blocks_of_steps(
        _steps(path, summary), summary, stride, start, keep_unconverged, frames_per_block, drop_broken
    )


def frames_from_outcar(
    path: str | Path | BinaryIO,
    stride: int = 1,
    energy_kind: str = DEFAULT_ENERGY_KIND,
    start: int = 0,
    keep_unconverged: bool = False,
    drop_broken: bool = False,
) -> FrameBlock:
    """Read an ``OUTCAR`` into one block in memory (see :func:`iter_outcar` for files of any size).

    Returns
    -------
    FrameBlock
        With the same ``provenance`` as :func:`~aiida_softclay.data.vasprun.frames_from_vasprun`.

    Raises
    ------
    VaspOutputError
        If this is no ``OUTCAR`` or holds no usable ionic step.
    """
    summary = VaspSummary(energy_kind)
    return joined_block(
        iter_outcar(path, summary, stride, start, keep_unconverged, drop_broken=drop_broken), summary, start
    )
