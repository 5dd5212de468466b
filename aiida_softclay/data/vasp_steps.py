"""What reading ionic steps from ``vasprun.xml`` and from ``OUTCAR`` has in common."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .frame_block import FrameBlock, InvalidFramesError, usable_frames
from .hdf5 import SLAB_BYTES, rows_in

#: stress (kB) · volume (Å³) / this = virial (eV): 1 eV/Å³ = 1602.176634 kB.
KILOBAR_ANGSTROM3_PER_EV = 1602.176634

#: ``e_fr_energy`` (free energy) is the one whose derivative the forces are, and the one DeePMD-kit's tools take;
#: ``e_0_energy`` is extrapolated to zero smearing, ``e_wo_entrp`` leaves out the electronic entropy.
ENERGY_KINDS = ('e_fr_energy', 'e_0_energy', 'e_wo_entrp')
DEFAULT_ENERGY_KIND = 'e_fr_energy'

#: Parameters that decide the energy surface, and their name in the engine record. K-points are left out: they follow
#: the size of each cell.
ENGINE_PARAMETERS = {'ENMAX': 'encut_eV', 'METAGGA': 'metagga', 'IVDW': 'ivdw', 'LHFCALC': 'hybrid', 'LDAU': 'ldau'}
NOTHING = {'', '--', '0', 'F', '.FALSE.', 'NONE'}


class VaspOutputError(ValueError):
    """The file is no output of VASP with at least one complete ionic step."""


@dataclass
class VaspSummary:
    """What reading an output of VASP found besides the frames.

    ``n_steps`` counts the complete ionic steps, ``n_frames`` those kept, ``n_unconverged`` those left out because the
    electronic loop ran into NELM, ``n_broken`` those left out because a number is not finite (Fortran writes stars for
    what does not fit) or the cell has no volume; ``truncated`` tells that the file ends before its closing lines.
    """

    energy_kind: str
    engine: dict[str, Any] = field(default_factory=dict)
    symbols: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    n_steps: int = 0
    n_frames: int = 0
    n_unconverged: int = 0
    n_broken: int = 0
    truncated: bool = False

    def number(self, tag: str, default: float) -> float:
        """Return a numeric parameter."""
        try:
            return float(self.parameters.get(tag, '').split()[0])
        except (IndexError, ValueError):
            return default

    def target_temperature(self, step: int) -> float:
        """Return the target temperature of an MD step (TEBEG to TEEND over NSW), 0 K for ions at rest."""
        if self.number('IBRION', -1) != 0:
            return 0.0
        begin = self.number('TEBEG', math.nan)
        end = self.number('TEEND', begin)
        return begin + (end - begin) * step / max(self.number('NSW', 0), 1)

    def nothing_usable(self, start: int) -> str:
        """Return the sentence for a file none of whose steps was kept."""
        return (
            f'none of the {self.n_steps} ionic steps can be used ({self.n_unconverged} not electronically converged, '
            f'{self.n_broken} with numbers that are not finite, start {start})'
        )


@dataclass
class IonicStep:
    """One complete ionic step as it comes from a file: ``arrays`` makes its arrays when they are wanted."""

    n_electronic: int
    arrays: Callable[[], dict[str, Any]]


def number_or_nan(text: str | bytes | None) -> float:
    """Return a number; what Fortran could not print (``****``) is not a number."""
    try:
        return float(text or 'nan')
    except ValueError:
        return math.nan


def engine_record(
    generator: Mapping[str, str], parameters: Mapping[str, str], potentials: Mapping[str, str]
) -> dict[str, Any]:
    """Return who computed the labels: the program, and for an electronic-structure program its functional.

    A stand-in writes VASP's layout, so it names itself in ``engine_program``, ``engine_version`` and ``engine_model``;
    its cutoff and the titles of its placeholder pseudopotentials say nothing about its energies and are left out.
    """
    engine: dict[str, Any] = {
        'program': generator.get('engine_program') or generator.get('program') or 'unknown',
        'version': generator.get('engine_version') or generator.get('version') or '',
    }
    model = generator.get('engine_model') or generator.get('model')
    named = {'model': model, 'functional': generator.get('functional'), 'dispersion': generator.get('dispersion')}
    engine.update({key: value for key, value in named.items() if value and value.upper() not in NOTHING})
    if not engine['program'].lower().startswith('vasp'):
        return engine
    for tag, name in ENGINE_PARAMETERS.items():
        value = parameters.get(tag, '').strip().strip('"')
        if value.upper() not in NOTHING:
            engine[name] = number_or_nan(value) if name == 'encut_eV' else value
    if 'functional' not in engine:
        gga = parameters.get('GGA', '').strip()
        titles = {title.split()[0] for title in potentials.values() if title}
        engine['functional'] = gga if gga.upper() not in NOTHING else ', '.join(sorted(titles)) or 'unknown'
    if potentials:
        engine['potentials'] = dict(potentials)
    return engine


def open_output(path: str | Path | BinaryIO) -> BinaryIO:
    """Open an output for reading bytes, unpacking it if its name ends with ``.gz``."""
    if not isinstance(path, (str, Path)):
        return path
    return gzip.open(path, 'rb') if str(path).endswith('.gz') else open(path, 'rb')  # type: ignore[return-value]


def blocks_of_steps(
    steps: Iterator[IonicStep],
    summary: VaspSummary,
    stride: int = 1,
    start: int = 0,
    keep_unconverged: bool = False,
    frames_per_block: int | None = None,
    drop_broken: bool = False,
) -> Iterator[FrameBlock]:
    """Yield the wanted ionic steps in blocks of bounded size and count the others in ``summary``.

    Parameters
    ----------
    steps : iterator of IonicStep
        The steps of a file; when one is given, ``summary`` has its symbols, parameters and engine.
    summary : VaspSummary
        Complete once the iterator is exhausted. Its ``energy_kind`` chooses the energy.
    stride, start : int
        Keep the steps ``start``, ``start + stride`` …, counted from 0.
    keep_unconverged : bool
        Keep steps whose electronic loop ran into NELM.
    frames_per_block : int, optional
        Frames per yielded block; by default about 8 MB.
    drop_broken : bool
        Leave out steps with numbers that are not finite; else they are yielded like the others.

    Raises
    ------
    VaspOutputError
        If the file holds no complete ionic step.
    """
    if stride < 1 or start < 0:
        raise ValueError(f'stride must be at least 1 and start not negative, not {stride} and {start}')
    if summary.energy_kind not in ENERGY_KINDS:
        raise ValueError(f'unknown energy kind {summary.energy_kind!r}: choose one of {", ".join(ENERGY_KINDS)}')
    pending: list[dict[str, Any]] = []

    def block() -> FrameBlock | None:
        made = _block(summary, pending)
        pending.clear()
        if drop_broken:
            good = usable_frames(made)
            summary.n_broken += int((~good).sum())
            made = made.taken(good)
        summary.n_frames += made.n_frames
        return made if made.n_frames else None

    for step in steps:
        if summary.n_steps >= start and (summary.n_steps - start) % stride == 0:
            if not keep_unconverged and step.n_electronic >= summary.number('NELM', math.inf):
                summary.n_unconverged += 1
            else:
                pending.append(step.arrays())
        summary.n_steps += 1
        size = frames_per_block or rows_in(SLAB_BYTES, len(summary.symbols) * 48 + 200, most=1000)
        if len(pending) >= size and (made := block()) is not None:
            yield made
    if summary.n_steps == 0:
        raise VaspOutputError('the file holds no complete ionic step' + (' (it is cut)' if summary.truncated else ''))
    if pending and (made := block()) is not None:
        yield made


def _block(summary: VaspSummary, steps: list[dict[str, Any]]) -> FrameBlock:
    arrays: dict[str, Any] = {name: np.array([step[name] for step in steps]) for name in steps[0] if name != 'virials'}
    with_stress = [step['virials'] is not None for step in steps]
    if any(with_stress) and not all(with_stress):
        raise VaspOutputError('some ionic steps have a stress and some have none')
    arrays['virials'] = np.array([step['virials'] for step in steps]) if all(with_stress) else None
    block = FrameBlock.from_symbols(summary.symbols, **arrays)
    block.provenance = {'energy_kind': summary.energy_kind, 'engine': summary.engine}
    return block


def joined_block(blocks: Iterator[FrameBlock], summary: VaspSummary, start: int) -> FrameBlock:
    """Return all blocks of a file as one.

    Raises
    ------
    VaspOutputError
        If no step was usable.
    """
    parts = list(blocks)
    if not parts:
        raise VaspOutputError(summary.nothing_usable(start))
    joined = parts[0]
    if len(parts) > 1:
        if len({block.virials is None for block in parts}) != 1:
            raise InvalidFramesError('some ionic steps have a stress and some have none')
        for name in ('positions', 'cells', 'energies', 'forces', 'temperature', 'virials'):
            if getattr(joined, name) is not None:
                setattr(joined, name, np.concatenate([getattr(block, name) for block in parts]))
    joined.provenance.update(
        truncated=summary.truncated, n_steps=summary.n_steps, n_unconverged=summary.n_unconverged,
        n_broken=summary.n_broken,
    )  # fmt: skip
    return joined
