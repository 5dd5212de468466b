"""Read labelled frames from ``vasprun.xml`` as a stream, also from a file that was cut while it was written."""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ET
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

#: The names under which reading a ``vasprun.xml`` is known elsewhere.
VasprunError = VaspOutputError
VasprunSummary = VaspSummary


def _array(varray: ET.Element | None) -> np.ndarray | None:
    """Return the rows of a ``varray`` as an array of shape (n, 3); unreadable rows are not numbers."""
    if varray is None:
        return None
    rows = [(row.text or '').split() for row in varray]
    try:
        return np.array(rows, dtype=float).reshape(len(rows), 3)
    except ValueError:
        return np.array([[number_or_nan(item) for item in row] if len(row) == 3 else [np.nan] * 3 for row in rows])


def _energies(element: ET.Element | None) -> dict[str, float]:
    if element is None:
        return {}
    return {item.get('name', ''): number_or_nan(item.text) for item in element.findall('i')}


def _energy(calculation: ET.Element, kind: str) -> float:
    """Return the energy of an ionic step.

    VASP's outer ``e_0_energy`` and ``e_wo_entrp`` are known to be wrong, while those of the last electronic step are
    right but lack what is added after it (dispersion); the outer free energy is right. So the two others are the last
    electronic step's plus the difference of the free energies.
    """
    outer = _energies(calculation.find('energy'))
    if kind == DEFAULT_ENERGY_KIND:
        return outer.get(kind, float('nan'))
    steps = calculation.findall('scstep')
    last = _energies(steps[-1].find('energy')) if steps else {}
    if kind in last and DEFAULT_ENERGY_KIND in last and DEFAULT_ENERGY_KIND in outer:
        return last[kind] + outer[DEFAULT_ENERGY_KIND] - last[DEFAULT_ENERGY_KIND]
    return outer.get(kind, float('nan'))


def _atoms(atominfo: ET.Element) -> tuple[list[str], dict[str, str]]:
    """Return the symbols of the atoms in order and the title of each element's pseudopotential."""
    symbols: list[str] = []
    potentials: dict[str, str] = {}
    for array in atominfo.findall('array'):
        for row in array.iterfind('set/rc'):
            cells = [(cell.text or '').strip() for cell in row.findall('c')]
            if array.get('name') == 'atoms':
                symbols.append(cells[0])
            elif array.get('name') == 'atomtypes' and len(cells) >= 5:
                potentials[cells[1]] = ' '.join(cells[4].split())
    return symbols, potentials


class _Reader:
    """State of one pass over the file."""

    def __init__(self, summary: VaspSummary) -> None:
        self.summary = summary
        self.generator: dict[str, str] = {}
        self.potentials: dict[str, str] = {}

    def header(self, element: ET.Element) -> None:
        """Take what a header element says."""
        if element.tag == 'generator':
            self.generator = {i.get('name', '').lower(): (i.text or '').strip() for i in element.findall('i')}
        elif element.tag in ('incar', 'parameters'):
            # VASP lists a tag again among its response functions, with another value (NELM 1): the first counts.
            named = [(i.get('name', ''), (i.text or '').strip()) for i in element.iter('i')]
            self.summary.parameters.update(dict(reversed(named)))
        elif element.tag == 'atominfo':
            self.summary.symbols, self.potentials = _atoms(element)

    def finish_header(self) -> None:
        """Put the engine together once the header is complete."""
        if not self.summary.symbols:
            raise VasprunError('the file has no atominfo before its first ionic step: it is not a complete vasprun.xml')
        self.summary.engine = engine_record(self.generator, self.summary.parameters, self.potentials)

    def step(self, calculation: ET.Element) -> dict[str, Any]:
        """Return the arrays of one ionic step."""
        arrays = {child.get('name'): child for child in calculation.findall('varray')}
        cell = _array(calculation.find("structure/crystal/varray[@name='basis']"))
        fractional = _array(calculation.find("structure/varray[@name='positions']"))
        forces = _array(arrays.get('forces'))
        n_atoms = len(self.summary.symbols)
        if cell is None or fractional is None or forces is None or not len(cell) == 3 or len(fractional) != n_atoms:
            raise VasprunError(f'ionic step {self.summary.n_steps} has no forces or no structure of {n_atoms} atoms')
        stress = _array(arrays.get('stress'))
        # VASP's stress has the sign of a pressure: positive when the cell wants to expand, as the virial.
        volume = abs(np.linalg.det(cell))
        virial = None if stress is None else stress * volume / KILOBAR_ANGSTROM3_PER_EV
        # With an external pressure VASP's outer energies are enthalpies; forces and stress belong to the energy.
        work = self.summary.number('PSTRESS', 0.0) * volume / KILOBAR_ANGSTROM3_PER_EV
        return {
            'positions': fractional @ cell,
            'cells': cell,
            'energies': _energy(calculation, self.summary.energy_kind) - work,
            'forces': forces,
            'virials': virial,
            'temperature': self.summary.target_temperature(self.summary.n_steps),
        }


def _steps(path: str | Path | BinaryIO, summary: VaspSummary) -> Iterator[IonicStep]:
    """Yield the complete ionic steps and fill in what the header says."""
    reader = _Reader(summary)
    handle = open_output(path)
    try:
        # Expat bounds entity expansion itself (2.4.1 and later), and the file comes from the user's own job.
        events = ET.iterparse(handle, events=('start', 'end'))  # noqa: S314
        root: ET.Element | None = None
        while True:
            try:
                event, element = next(events)
            except StopIteration:
                break
            except (ET.ParseError, EOFError, gzip.BadGzipFile, zlib.error) as exception:
                if root is None:
                    raise VasprunError(f'not a vasprun.xml (empty or not XML): {exception}') from None
                summary.truncated = True
                break
            if root is None:
                root = element
                if root.tag != 'modeling':
                    raise VasprunError(f'not a vasprun.xml: its outermost element is <{root.tag}>')
            if event == 'start':
                continue
            if element.tag in ('generator', 'incar', 'parameters', 'atominfo'):
                reader.header(element)
                element.clear()
            elif element.tag == 'calculation':
                if not summary.engine:
                    reader.finish_header()
                calculation = element
                yield IonicStep(len(element.findall('scstep')), lambda step=calculation: reader.step(step))  # type: ignore[misc]
                # Clearing the element alone would leave one empty element per step in the root.
                element.clear()
                root.clear()
    finally:
        if handle is not path:
            handle.close()


def iter_vasprun(
    path: str | Path | BinaryIO,
    summary: VaspSummary,
    stride: int = 1,
    start: int = 0,
    keep_unconverged: bool = False,
    frames_per_block: int | None = None,
    drop_broken: bool = False,
) -> Iterator[FrameBlock]:
    """Yield the ionic steps of a ``vasprun.xml`` in blocks of bounded size.

    Parameters
    ----------
    path : path or binary file object
        The file, may be gzipped (name ends with ``.gz``).
    summary : VaspSummary
        Filled while reading; complete once the iterator is exhausted. Its ``energy_kind`` chooses the energy.
    stride, start, keep_unconverged, frames_per_block, drop_broken
        As for :func:`~aiida_softclay.data.vasp_steps.blocks_of_steps`.

    Raises
    ------
    VasprunError
        If this is no ``vasprun.xml`` or holds no complete ionic step.
    """
    return blocks_of_steps(
        _steps(path, summary), summary, stride, start, keep_unconverged, frames_per_block, drop_broken
    )


def frames_from_vasprun(
    path: str | Path | BinaryIO,
    stride: int = 1,
    energy_kind: str = DEFAULT_ENERGY_KIND,
    start: int = 0,
    keep_unconverged: bool = False,
    drop_broken: bool = False,
) -> FrameBlock:
    """Read a ``vasprun.xml`` into one block in memory (see :func:`iter_vasprun` for files of any size).

    Returns
    -------
    FrameBlock
        Its ``provenance`` has ``energy_kind``, ``engine``, ``truncated``, ``n_steps``, ``n_unconverged`` and
        ``n_broken``.

    Raises
    ------
    VasprunError
        If this is no ``vasprun.xml`` or holds no usable ionic step.
    """
    summary = VaspSummary(energy_kind)
    return joined_block(
        iter_vasprun(path, summary, stride, start, keep_unconverged, drop_broken=drop_broken), summary, start
    )
