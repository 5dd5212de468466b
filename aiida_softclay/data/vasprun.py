"""Read labelled frames from ``vasprun.xml`` as a stream, also from a file that was cut while it was written."""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .frame_block import FrameBlock, InvalidFramesError
from .hdf5 import SLAB_BYTES, rows_in

#: stress (kB) · volume (Å³) / this = virial (eV): 1 eV/Å³ = 1602.176634 kB.
KILOBAR_ANGSTROM3_PER_EV = 1602.176634

#: ``e_fr_energy`` (free energy) is the one whose derivative the forces are, and the one DeePMD-kit's tools take;
#: ``e_0_energy`` is extrapolated to zero smearing, ``e_wo_entrp`` leaves out the electronic entropy.
ENERGY_KINDS = ('e_fr_energy', 'e_0_energy', 'e_wo_entrp')
DEFAULT_ENERGY_KIND = 'e_fr_energy'


class VasprunError(ValueError):
    """The file is not a ``vasprun.xml`` with at least one complete ionic step."""


@dataclass
class VasprunSummary:
    """What reading a ``vasprun.xml`` found besides the frames.

    ``n_steps`` counts the complete ionic steps, ``n_frames`` those kept, ``n_unconverged`` those left out because the
    electronic loop ran into NELM; ``truncated`` tells that the file ends before its closing tag.
    """

    energy_kind: str
    engine: dict[str, Any] = field(default_factory=dict)
    symbols: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    n_steps: int = 0
    n_frames: int = 0
    n_unconverged: int = 0
    truncated: bool = False


def _number(text: str | None) -> float:
    """Return a number; what Fortran could not print (``****``) is not a number."""
    try:
        return float(text or 'nan')
    except ValueError:
        return float('nan')


def _array(varray: ET.Element | None) -> np.ndarray | None:
    """Return the rows of a ``varray`` as an array of shape (n, 3); unreadable rows are not numbers."""
    if varray is None:
        return None
    rows = [(row.text or '').split() for row in varray]
    try:
        return np.array(rows, dtype=float).reshape(len(rows), 3)
    except ValueError:
        return np.array([[_number(item) for item in row] if len(row) == 3 else [float('nan')] * 3 for row in rows])


def _energies(element: ET.Element | None) -> dict[str, float]:
    if element is None:
        return {}
    return {item.get('name', ''): _number(item.text) for item in element.findall('i')}


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


#: Parameters that decide the energy surface, and their name in the engine record. K-points are left out: they follow
#: the size of each cell.
ENGINE_PARAMETERS = {'ENMAX': 'encut_eV', 'METAGGA': 'metagga', 'IVDW': 'ivdw', 'LHFCALC': 'hybrid', 'LDAU': 'ldau'}
_NOTHING = {'', '--', '0', 'F', '.FALSE.', 'NONE'}


def _engine(generator: dict[str, str], parameters: dict[str, str], potentials: dict[str, str]) -> dict[str, Any]:
    """Return who computed the labels: the generator block, and for an electronic-structure program its functional.

    A stand-in writes VASP's layout, so it names itself in ``engine_program``, ``engine_version`` and ``engine_model``;
    its cutoff and the titles of its placeholder pseudopotentials say nothing about its energies and are left out.
    """
    engine: dict[str, Any] = {
        'program': generator.get('engine_program') or generator.get('program') or 'unknown',
        'version': generator.get('engine_version') or generator.get('version') or '',
    }
    model = generator.get('engine_model') or generator.get('model')
    named = {'model': model, 'functional': generator.get('functional'), 'dispersion': generator.get('dispersion')}
    engine.update({key: value for key, value in named.items() if value and value.upper() not in _NOTHING})
    if not engine['program'].lower().startswith('vasp'):
        return engine
    for tag, name in ENGINE_PARAMETERS.items():
        value = parameters.get(tag, '').strip().strip('"')
        if value.upper() not in _NOTHING:
            engine[name] = _number(value) if name == 'encut_eV' else value
    if 'functional' not in engine:
        gga = parameters.get('GGA', '').strip()
        titles = {title.split()[0] for title in potentials.values() if title}
        engine['functional'] = gga if gga.upper() not in _NOTHING else ', '.join(sorted(titles)) or 'unknown'
    if potentials:
        engine['potentials'] = potentials
    return engine


class _Reader:
    """State of one pass over the file."""

    def __init__(self, summary: VasprunSummary) -> None:
        self.summary = summary
        self.generator: dict[str, str] = {}
        self.potentials: dict[str, str] = {}

    def header(self, element: ET.Element) -> None:
        """Take what a header element says."""
        if element.tag == 'generator':
            self.generator = {i.get('name', '').lower(): (i.text or '').strip() for i in element.findall('i')}
        elif element.tag in ('incar', 'parameters'):
            self.summary.parameters.update({i.get('name', ''): (i.text or '').strip() for i in element.iter('i')})
        elif element.tag == 'atominfo':
            self.summary.symbols, self.potentials = _atoms(element)

    def finish_header(self) -> None:
        """Put the engine together once the header is complete."""
        if not self.summary.symbols:
            raise VasprunError('the file has no atominfo before its first ionic step: it is not a complete vasprun.xml')
        self.summary.engine = _engine(self.generator, self.summary.parameters, self.potentials)

    def number(self, tag: str, default: float) -> float:
        """Return a numeric parameter."""
        try:
            return float(self.summary.parameters.get(tag, '').split()[0])
        except (IndexError, ValueError):
            return default

    def temperature(self, step: int) -> float:
        """Return the target temperature of an MD step (TEBEG to TEEND over NSW), 0 K for ions at rest."""
        if self.number('IBRION', -1) != 0:
            return 0.0
        begin = self.number('TEBEG', float('nan'))
        end = self.number('TEEND', begin)
        return begin + (end - begin) * step / max(self.number('NSW', 0), 1)

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
        work = self.number('PSTRESS', 0.0) * volume / KILOBAR_ANGSTROM3_PER_EV
        return {
            'positions': fractional @ cell,
            'cells': cell,
            'energies': _energy(calculation, self.summary.energy_kind) - work,
            'forces': forces,
            'virials': virial,
            'temperature': self.temperature(self.summary.n_steps),
        }


def _open(path: str | Path | BinaryIO) -> BinaryIO:
    if not isinstance(path, (str, Path)):
        return path
    return gzip.open(path, 'rb') if str(path).endswith('.gz') else open(path, 'rb')  # type: ignore[return-value]


def _block(summary: VasprunSummary, steps: list[dict[str, Any]]) -> FrameBlock:
    arrays: dict[str, Any] = {name: np.array([step[name] for step in steps]) for name in steps[0] if name != 'virials'}
    with_stress = [step['virials'] is not None for step in steps]
    if any(with_stress) and not all(with_stress):
        raise VasprunError('some ionic steps have a stress and some have none')
    arrays['virials'] = np.array([step['virials'] for step in steps]) if all(with_stress) else None
    block = FrameBlock.from_symbols(summary.symbols, **arrays)
    block.provenance = {'energy_kind': summary.energy_kind, 'engine': summary.engine}
    return block


def iter_vasprun(
    path: str | Path | BinaryIO,
    summary: VasprunSummary,
    stride: int = 1,
    start: int = 0,
    keep_unconverged: bool = False,
    frames_per_block: int | None = None,
) -> Iterator[FrameBlock]:
    """Yield the ionic steps of a ``vasprun.xml`` in blocks of bounded size.

    Parameters
    ----------
    path : path or binary file object
        The file, may be gzipped (name ends with ``.gz``).
    summary : VasprunSummary
        Filled while reading; complete once the iterator is exhausted. Its ``energy_kind`` chooses the energy.
    stride, start : int
        Keep the steps ``start``, ``start + stride`` …, counted from 0.
    keep_unconverged : bool
        Keep steps whose electronic loop ran into NELM.
    frames_per_block : int, optional
        Frames per yielded block; by default about 8 MB.

    Raises
    ------
    VasprunError
        If this is no ``vasprun.xml`` or holds no complete ionic step.
    """
    if stride < 1 or start < 0:
        raise ValueError(f'stride must be at least 1 and start not negative, not {stride} and {start}')
    if summary.energy_kind not in ENERGY_KINDS:
        raise ValueError(f'unknown energy kind {summary.energy_kind!r}: choose one of {", ".join(ENERGY_KINDS)}')
    reader = _Reader(summary)
    pending: list[dict[str, Any]] = []
    handle = _open(path)
    try:
        # Expat bounds entity expansion itself (2.4.1 and later), and the file comes from the user's own job.
        events = ET.iterparse(handle, events=('start', 'end'))  # noqa: S314
        root: ET.Element | None = None
        while True:
            try:
                event, element = next(events)
            except StopIteration:
                break
            except (ET.ParseError, EOFError, gzip.BadGzipFile) as exception:
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
                if summary.n_steps >= start and (summary.n_steps - start) % stride == 0:
                    nelm = reader.number('NELM', float('inf'))
                    if not keep_unconverged and len(element.findall('scstep')) >= nelm:
                        summary.n_unconverged += 1
                    else:
                        pending.append(reader.step(element))
                        summary.n_frames += 1
                summary.n_steps += 1
                # Clearing the element alone would leave one empty element per step in the root.
                element.clear()
                root.clear()
                size = frames_per_block or rows_in(SLAB_BYTES, len(summary.symbols) * 48 + 200, most=1000)
                if len(pending) >= size:
                    yield _block(summary, pending)
                    pending = []
    finally:
        if handle is not path:
            handle.close()
    if summary.n_steps == 0:
        raise VasprunError('the file holds no complete ionic step' + (' (it is cut)' if summary.truncated else ''))
    if pending:
        yield _block(summary, pending)


def frames_from_vasprun(
    path: str | Path | BinaryIO,
    stride: int = 1,
    energy_kind: str = DEFAULT_ENERGY_KIND,
    start: int = 0,
    keep_unconverged: bool = False,
) -> FrameBlock:
    """Read a ``vasprun.xml`` into one block in memory (see :func:`iter_vasprun` for files of any size).

    Returns
    -------
    FrameBlock
        Its ``provenance`` has ``energy_kind``, ``engine``, ``truncated``, ``n_steps`` and ``n_unconverged``.

    Raises
    ------
    VasprunError
        If this is no ``vasprun.xml`` or holds no usable ionic step.
    """
    summary = VasprunSummary(energy_kind)
    blocks = list(iter_vasprun(path, summary, stride=stride, start=start, keep_unconverged=keep_unconverged))
    if not blocks:
        raise VasprunError(
            f'none of the {summary.n_steps} ionic steps can be used '
            f'({summary.n_unconverged} not electronically converged, start {start})'
        )
    joined = blocks[0]
    if len(blocks) > 1:
        if len({block.virials is None for block in blocks}) != 1:
            raise InvalidFramesError('some ionic steps have a stress and some have none')
        for name in ('positions', 'cells', 'energies', 'forces', 'temperature', 'virials'):
            if getattr(joined, name) is not None:
                setattr(joined, name, np.concatenate([getattr(block, name) for block in blocks]))
    joined.provenance.update(truncated=summary.truncated, n_steps=summary.n_steps, n_unconverged=summary.n_unconverged)
    return joined
