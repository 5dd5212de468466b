"""XDATCAR and OSZICAR: the trajectory for viewers, and one line for each step."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aiida_softclay.engines.vasp.poscar import fractional
from aiida_softclay.engines.vasp.record import Frame, Run


class XdatcarWriter:
    """Writes XDATCAR; where the cell changes, each frame carries its own, as in VASP."""

    def __init__(self, path: Path, run: Run):
        self.run = run
        self._every_cell = run.settings.moves_cell
        self._block = 'Direct configuration=%6d\n' + '  %.12f %.12f %.12f\n' * len(run.symbols)
        self._file = path.open('w', encoding='utf-8')
        if not self._every_cell:
            self._file.write(self._header(run.cell))
            self._file.flush()

    def _header(self, cell: np.ndarray) -> str:
        vectors = '\n'.join(f' {a:18.12f} {b:18.12f} {c:18.12f}' for a, b, c in cell)
        symbols = ' '.join(f'{s.symbol:>4s}' for s in self.run.species)
        counts = ' '.join(f'{count:4d}' for count in self.run.counts)
        return f'{self.run.title or "unknown system"}\n           1\n{vectors}\n {symbols}\n {counts}\n'

    def write_frame(self, frame: Frame) -> None:
        """Write one configuration."""
        text = self._header(frame.cell) if self._every_cell else ''
        numbers = fractional(frame.positions, frame.cell).ravel().tolist()
        self._file.write(text + self._block % (frame.step, *numbers))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class OszicarWriter:
    """Writes OSZICAR: every step of a run, whatever the frame stride."""

    def __init__(self, path: Path):
        self._file = path.open('w', encoding='utf-8')
        self._previous: float | None = None

    def line(self, frame: Frame) -> str:
        """Return the line of a step in the form of VASP."""
        if frame.kinetic is not None:
            potential, kinetic = frame.thermostat
            return (
                f'{frame.step:7d} T= {frame.temperature:8.2f} E= {frame.total:.8E} F= {frame.energy:.8E} '
                f'E0= {frame.energy:.8E}  EK= {frame.kinetic:.8E} SP= {potential:.2E} SK= {kinetic:.2E}'
            )
        change = frame.energy - self._previous if self._previous is not None else frame.energy
        return f'{frame.step:4d} F= {frame.energy:.8E} E0= {frame.energy:.8E}  d E ={change:.6E}'

    def write_frame(self, frame: Frame) -> str:
        """Write the line of a step and return it."""
        line = self.line(frame)
        self._previous = frame.energy
        self._file.write(line + '\n')
        self._file.flush()
        return line

    def close(self) -> None:
        """Close the file."""
        self._file.close()
