"""OUTCAR, written step by step in the blocks that parsers look for."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
from ase import units

from aiida_softclay.engines.vasp.record import Frame, Run

_RULE = ' ' + '-' * 77 + '\n'


class OutcarWriter:
    """Writes OUTCAR: the header at once, one block at each frame, the timing block on `close`."""

    def __init__(self, path: Path, run: Run):
        self.run = run
        self._start = time.perf_counter()
        n_atoms = len(run.symbols)
        self._file = path.open('w', encoding='utf-8')
        row = '  %15.9f %15.9f %15.9f   %15.9f %15.9f %15.9f\n'
        self._template = (
            '\n' + '-' * 39 + ' Iteration %6d(   1)  ' + '-' * 39 + '\n\n\n'
            '  FORCE on cell =-STRESS in cart. coord.  units (eV):\n'
            '  Direction    XX          YY          ZZ          XY          YZ          ZX\n'
            '  ' + '-' * 86 + '\n'
            # Where VASP lists nine contributions, which parsers skip by counting lines.
            + '  one model potential, no separate contributions' + '\n' * 9 + '  ' + '-' * 86 + '\n'
            '  Total   ' + ' %14.7f' * 6 + '\n'
            '  in kB   ' + ' %14.7f' * 6 + '\n'
            '  external pressure = %14.5f kB  Pullay stress = %14.5f kB\n\n'
            ' VOLUME and BASIS-vectors are now :\n' + _RULE +
            '  energy-cutoff  :        0.00\n  volume of cell : %15.6f\n'
            '      direct lattice vectors                 reciprocal lattice vectors\n'
            + '  %17.11f %17.11f %17.11f   %14.9f %14.9f %14.9f\n' * 3 +
            '\n  length of vectors\n  %14.9f %14.9f %14.9f   %14.9f %14.9f %14.9f\n\n\n'
            ' POSITION                                       TOTAL-FORCE (eV/Angst)\n'
            ' ' + '-' * 83 + '\n' + row * n_atoms + ' ' + '-' * 83 + '\n'
            '    total drift:                          %15.9f %15.9f %15.9f\n\n\n' + '-' * 104 + '\n\n\n'
            '  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n'
            '  ---------------------------------------------------\n'
            '  free  energy   TOTEN  = %20.10f eV\n\n'
            '  energy  without entropy= %20.10f  energy(sigma->0) = %20.10f\n'
        )  # fmt: skip
        self._motion = (
            '\n  ENERGY OF THE ELECTRON-ION-THERMOSTAT SYSTEM (eV)\n'
            '  ---------------------------------------------------\n'
            '%% ion-electron   TOTEN  = %18.8f  see above\n'
            '  kinetic energy EKIN   = %18.8f\n'
            '  kin. lattice  EKIN_LAT= %18.8f  (temperature %10.3f K)\n'
            '  nose potential ES     = %18.8f\n'
            '  nose kinetic   EPS    = %18.8f\n'
            '  ---------------------------------------------------\n'
            '  total energy   ETOTAL = %18.8f eV\n'
        )
        self._file.write(self._header())
        self._file.flush()

    def _header(self) -> str:
        run, s = self.run, self.run.settings
        generator = run.generator()
        n_kpoints = len(run.kpoints.points)
        counts = ' '.join(f'{count:5d}' for count in run.counts)
        # Tags that parsers search for by name are printed once, below, with the value in force.
        elsewhere = ('NELM', 'NSW', 'IBRION', 'ISPIN', 'NBANDS', 'NWRITE')
        lines = [
            f' {generator.pop("program")} {generator.pop("version")}: {generator["subversion"]}',
            f' executed on this machine date {run.started:%Y.%m.%d  %H:%M:%S}',
            ' running on    1 total cores',
            *(f'   {name:<16s}: {text}' for name, text in generator.items()),
            '',
            # In small letters, because readers look for ISPIN and the like anywhere in a line.
            f' tags of INCAR without effect on a model potential: {", ".join(s.no_effect).lower() or "none"}',
            ' ' + '-' * 100,
            '',
            ' INCAR:',
            *(f'   {name} = {text}' for name, text in s.tags.items() if name not in elsewhere),
            '',
            # VASP prints each potential twice, and parsers take every second one.
            *(f' POTCAR:    {entry.title}' for entry in run.species * 2),
        ]
        for entry in run.species:
            lines += [
                f'   TITEL  = {entry.title}',
                f'   LEXCH  = {entry.exchange}',
                f'   POMASS = {entry.mass:8.3f}; ZVAL   = {entry.valence:8.3f}    mass and valenz',
            ]
        lines += [
            f' POSCAR =  {run.title}'[:51],
            '',
            ' Dimension of arrays:',
            f'   k-points           NKPTS = {n_kpoints:6d}   k-points in BZ     NKDIM = {n_kpoints:6d}'
            '   number of bands    NBANDS=      1',
            f'   number of dos      NEDOS =      1   number of ions     NIONS = {len(run.symbols):6d}',
            '   non local maximal  LDIM  =      0   total plane-waves  NPLWV =      0',
            f'   ions per type =            {counts}',
            '',
            f' SYSTEM =  {s.system or run.title}',
            '',
            ' Startparameter for this run:',
            '   NWRITE =      2    write-flag & timer',
            '   ISPIN  =      1    spin polarized calculation?',
            '',
            ' Electronic Relaxation 1',
            f'   NELM   = {s.nelm:6d};   NELMIN=  2; NELMDL=  0     # of ELM steps',
            '',
            ' Ionic relaxation',
            f'   EDIFFG = {s.ediffg:.1E}   stopping-criterion for IOM',
            f'   NSW    = {s.n_steps:6d}    number of steps for IOM',
            f'   IBRION = {s.ibrion if s.n_steps else -1:6d}    ionic relax: 0-MD 1-quasi-New 2-CG',
            f'   ISIF   = {s.isif:6d}    stress and relaxation',
            f'   POTIM  = {s.timestep_fs:8.4f}    time-step for ionic-motion (fs)',
            f'   TEBEG  = {s.temperature_begin:8.1f};   TEEND  = {s.temperature_end:8.1f} temperature during run',
            f'   PSTRESS= {s.pressure_kbar:8.1f} pullay stress',
            f'   RANDOM_SEED = {" ".join(map(str, run.seed)) or "not used"}',
            '',
            '  k-points in reciprocal lattice and weights: as in KPOINTS, without effect',
        ]
        lines += [
            f' {a:11.8f} {b:11.8f} {c:11.8f} {weight:15.3f}'
            for (a, b, c), weight in zip(run.kpoints.points, run.kpoints.weights, strict=True)
        ]
        return '\n'.join([*lines, '', ''])

    def write_frame(self, frame: Frame) -> None:
        """Write one ionic step in one piece."""
        volume = abs(np.linalg.det(frame.cell))
        xx, xy, xz, _, yy, yz, _, _, zz = frame.stress_kbar.ravel()
        kbar = np.array([xx, yy, zz, xy, yz, xz])
        reciprocal = np.linalg.inv(frame.cell).T
        pressure = self.run.settings.pressure_kbar
        numbers: list[float] = [frame.step]
        numbers += (kbar * 0.1 * units.GPa * volume).tolist() + kbar.tolist()
        numbers += [float(kbar[:3].mean()) - pressure, pressure, volume]
        numbers += np.hstack([frame.cell, reciprocal]).ravel().tolist()
        numbers += np.linalg.norm(frame.cell, axis=1).tolist() + np.linalg.norm(reciprocal, axis=1).tolist()
        # Positions are wrapped into the cell, as in vasprun.xml.
        direct = np.linalg.solve(frame.cell.T, frame.positions.T).T
        wrapped = (direct - np.floor(direct)) @ frame.cell
        numbers += np.hstack([wrapped, frame.forces]).ravel().tolist() + frame.forces.sum(axis=0).tolist()
        numbers += [frame.energy] * 3
        text = self._template % tuple(numbers)
        if frame.kinetic is not None:
            text += self._motion % (
                frame.energy, frame.kinetic, frame.lattice_kinetic, frame.temperature, *frame.thermostat, frame.total
            )  # fmt: skip
        self._file.write(text)
        self._file.flush()

    def note(self, text: str) -> None:
        """Write a line about what happened."""
        self._file.write(f'\n {text}\n')
        self._file.flush()

    def close(self, finished: bool = True) -> None:
        """Write the timing block, by which parsers know that a run has come to its end, and close the file."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        elapsed = time.perf_counter() - self._start
        if finished:
            self._file.write(
                '\n\n General timing and accounting informations for this job:\n'
                ' ========================================================\n\n'
                f'                  Total CPU time used (sec): {usage.ru_utime + usage.ru_stime:12.3f}\n'
                f'                            User time (sec): {usage.ru_utime:12.3f}\n'
                f'                          System time (sec): {usage.ru_stime:12.3f}\n'
                f'                         Elapsed time (sec): {elapsed:12.3f}\n\n'
                f'                   Maximum memory used (kb): {usage.ru_maxrss:12d}.\n'
                '                   Average memory used (kb):          N/A\n'
            )
        self._file.close()
