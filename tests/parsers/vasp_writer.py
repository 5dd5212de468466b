"""Write the files that VASP leaves after an MD run, in its own formats, for atoms that fly freely."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.units import kB

from aiida_softclay.calculations.vasp_inputs import poscar_text, vasp_order
from aiida_softclay.parsers.vasp_files import EV_PER_AMU_A2_FS2

TIMING = """
 General timing and accounting informations for this job:
 ========================================================

                  Total CPU time used (sec):       12.345
                         Elapsed time (sec):       13.579
"""


class FreeFlight:
    """Atoms without forces: every position, velocity and energy is known.

    Real VASP groups the atoms by species; this does so too, whatever the order of the sites.
    """

    def __init__(self, atoms: Atoms, velocities: np.ndarray, timestep: float = 2.0, planned: int = 10) -> None:
        self.order = vasp_order(atoms.get_chemical_symbols())
        self.atoms, self.velocities, self.timestep, self.planned = atoms, velocities, timestep, planned
        self.symbols = [atoms.get_chemical_symbols()[site] for site in self.order]
        masses = np.array([atomic_masses[atomic_numbers[symbol]] for symbol in atoms.get_chemical_symbols()])
        self.kinetic = 0.5 * EV_PER_AMU_A2_FS2 * float((masses[:, None] * velocities**2).sum())
        self.temperature = 2 * self.kinetic / ((3 * len(atoms) - 3) * kB)

    def positions(self, step: int) -> np.ndarray:
        """Return the positions of the sites after ``step`` steps, not wrapped."""
        return self.atoms.positions + step * self.timestep * self.velocities

    @staticmethod
    def energy(step: int) -> float:
        """Return the free energy at a step."""
        return -20.0 - 0.001 * step

    def contcar(self, step: int) -> str:
        """Return the CONTCAR after ``step`` steps, wrapped as VASP does."""
        cell = self.atoms.cell.array
        scaled = np.linalg.solve(cell.T, self.positions(step).T).T % 1.0
        return poscar_text(
            cell, self.atoms.get_chemical_symbols(), scaled @ cell, velocities=self.velocities, comment='unknown system'
        )

    def oszicar(self, steps: int, electronic: int = 5, energies: dict[int, str] | None = None) -> str:
        """Return an OSZICAR with ``electronic`` electronic steps for each MD step."""
        lines = []
        for step in range(steps):
            lines.append('       N       E                     dE             d eps       ncg     rms          rms(c)')
            lines += [
                f'DAV: {count:3d}    -0.200000000000E+02   -0.20000E+00   -0.10000E-02   640   0.100E+00'
                for count in range(1, electronic + 1)
            ]
            energy = (energies or {}).get(step, f'{self.energy(step):.8E}')
            lines.append(
                f'{step + 1:7d} T= {self.temperature:5.0f}. E= {self.energy(step) + self.kinetic:.8E} F= {energy} '
                f'E0= {self.energy(step):.8E}  EK= {self.kinetic:.5E} SP= 0.00E+00 SK= 0.00E+00'
            )
        return '\n'.join(lines) + '\n'

    def vasprun(
        self,
        steps: int,
        closed: bool = True,
        energies: dict[int, str] | None = None,
        volume_ratio: Callable[[int], float] = lambda step: 1.0,
    ) -> str:
        """Return a vasprun.xml with ``steps`` complete ionic steps, the volume as a multiple of that of the atoms."""
        rows = ''.join(f'<rc><c>{symbol}</c><c>1</c></rc>' for symbol in self.symbols)
        text = [
            '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n  <i name="program" type="string">'
            'vasp </i>\n  <i name="version" type="string">6.4.3  </i>\n </generator>\n <parameters>\n'
            f'  <i type="int" name="NSW">{self.planned}</i><i type="int" name="IBRION">0</i><i name="TEBEG">300.0</i>'
            '<i name="TEEND">300.0</i><i type="int" name="NELM">60</i><i type="string" name="GGA">PE</i>\n'
            ' </parameters>\n'
            f' <atominfo>\n  <atoms>{len(self.symbols)}</atoms>\n  <array name="atoms"><set>{rows}</set></array>\n'
            ' </atominfo>\n'
        ]
        cell = self.atoms.cell.array
        for step in range(steps):
            energy = (energies or {}).get(step, f'{self.energy(step):.8f}')
            scaled = np.linalg.solve(cell.T, self.positions(step)[self.order].T).T % 1.0
            block = f'<energy><i name="e_fr_energy">{energy}</i><i name="e_0_energy">{energy}</i></energy>\n'
            text.append(
                f' <calculation>\n  <scstep>{block}</scstep>\n  <structure>\n   <crystal>\n'
                f'    <varray name="basis">{self._rows(cell * volume_ratio(step) ** (1 / 3))}</varray>\n   </crystal>\n'
                f'   <varray name="positions">{self._rows(scaled)}</varray>\n  </structure>\n'
                f'  <varray name="forces">{self._rows(np.zeros_like(scaled))}</varray>\n'
                f'  <varray name="stress">{self._rows(np.eye(3))}</varray>\n  {block} </calculation>\n'
            )
        return ''.join(text) + ('</modeling>\n' if closed else '')

    @staticmethod
    def _rows(table: np.ndarray) -> str:
        return ''.join('<v>' + ' '.join(f'{value:16.8f}' for value in row) + '</v>\n' for row in table)
