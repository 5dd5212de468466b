"""Parser of an MD run: frames, final structure and velocities, series and statistics, from complete or cut files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser
from ase.units import kB

from aiida_softclay.calculations.vasp_inputs import Poscar, PoscarError, read_poscar, vasp_order
from aiida_softclay.calculations.vasp_md import structure_kinds, structure_positions, structure_symbols
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FrameBlock, FramesFile, VasprunError, VasprunSummary, iter_vasprun

from .vasp_files import (
    Oszicar,
    OutcarEnd,
    central_velocities,
    electronic_breakdown,
    kinetic_temperature,
    last_words,
    minimum_image_distance,
    read_oszicar,
    read_outcar_end,
    step_of_contcar,
    temperatures,
)
from .vasp_md_physics import UNCONVERGED_SHARE, first_failure

SERIES_UNITS = {
    'step': '1',
    'time_fs': 'fs',
    'temperature_K': 'K',
    'free_energy_eV': 'eV',
    'energy_sigma0_eV': 'eV',
    'kinetic_energy_eV': 'eV',
    'total_energy_eV': 'eV',
    'volume_A3': 'Å^3',
    'segment_index': '1',
}


class VaspMdParser(Parser):
    """Read one MD run. Whatever was written before a run was cut is used up to its last complete step."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Parse the retrieved files; return ``None`` for a complete run, else the exit code of the way it ended."""
        codes = self.exit_codes
        if 'retrieved_temporary_folder' not in kwargs:
            return codes.ERROR_NO_RETRIEVED_TEMPORARY_FOLDER
        self.folder = Path(kwargs['retrieved_temporary_folder'])
        self.sampling = self.node.inputs.sampling.get_dict() if 'sampling' in self.node.inputs else {}
        self.tags = {key.lower(): value for key, value in self.node.inputs.parameters.get_dict().items()}
        self.structure = self.node.inputs.structure
        # Row i of an array in the order of VASP belongs to site order[i]; sites takes it back.
        self.sites = np.argsort(vasp_order(structure_kinds(self.structure)))
        self.first_step = int(self.sampling.get('first_step', 0))
        self.stride = int(self.sampling.get('frame_stride', 1))

        end = self._read_end()
        rows = self._read_oszicar()
        with self._file('vasprun.xml') as vasprun, tempfile.TemporaryDirectory() as temporary:
            if vasprun is None:
                said = last_words(self.folder / 'vasp_output') or 'it wrote no vasprun.xml'
                return codes.ERROR_PROGRAM_STOPPED.format(reason=said)
            return self._parse_run(vasprun, rows, end, Path(temporary) / 'frames.h5')

    def _parse_run(self, vasprun: Any, rows: Oszicar, end: OutcarEnd, path: Path) -> ExitCode | None:
        codes = self.exit_codes
        summary = VasprunSummary(energy_kind='e_fr_energy')
        try:
            reading = self._read_frames(vasprun, summary, rows, path)
        except VasprunError as error:
            said = last_words(self.folder / 'vasp_output')
            if not end.finished and not len(rows) and said:
                return codes.ERROR_PROGRAM_STOPPED.format(reason=said)
            return codes.ERROR_NO_FRAMES.format(reason=str(error))

        planned = int(self.tags['nsw'])
        if end.finished and not summary.truncated and len(rows) > summary.n_steps:
            return codes.ERROR_FRAMES_MISSING.format(frames=summary.n_steps, steps=len(rows))
        contcar, problem = self._read_contcar()
        done = summary.n_steps
        if contcar is not None and not (end.finished and not summary.truncated):
            found = step_of_contcar(
                contcar.positions[self.sites], contcar.velocities[self.sites], reading['tail'], summary.n_steps,
                contcar.cell, float(self.tags['potim']),
            )  # fmt: skip
            if found == 0:
                contcar, problem = None, 'CONTCAR is still that of the start'
            elif found is None or contcar.steps not in (None, found):
                contcar, problem = None, 'CONTCAR does not follow from the recorded frames'
            else:
                done = found
        rebuilt = contcar is None and 'other atoms' not in problem
        if rebuilt:
            contcar, done = self._state_of_frames(reading['last'], summary.n_steps)
        steps = min(done, summary.n_steps)
        series = self._series(rows, reading, steps)
        unconverged = sum(count >= int(self.tags.get('nelm', 60)) for count in rows.electronic_steps[:steps])
        n_frames = self._store_frames(path, reading, steps)
        due = [step for step in range(steps) if (self.first_step + step) % self.stride == 0]
        statistics = {
            'program': summary.engine, 'segment': self.sampling.get('segment'), 'first_step': self.first_step,
            'steps_planned': planned, 'steps_done': done, 'steps_recorded': steps,
            'finished': end.finished, 'truncated': summary.truncated,
            'n_frames': n_frames, 'frame_stride': self.stride,
            'steps_left_out': [self.first_step + step for step in sorted({*due} - {*reading['kept']})],
            'state_from': None if contcar is None else f'frames ({problem})' if rebuilt else 'CONTCAR',
            'start_from': self.sampling.get('start_from'), 'begins_anew': bool(self.sampling.get('begins_anew')),
            'timestep_fs': float(self.tags['potim']), 'n_atoms': len(self.sites), 'wall_time_s': end.wall_time_s,
            'steps_not_converged': unconverged, 'energy_kind': summary.energy_kind,
            'start': self._start(reading['first'], series), 'end': self._end(series),
        }  # fmt: skip
        self.out('statistics', orm.Dict(statistics))
        self.out('series', self._series_node(series))

        bad = self._not_finite(reading['finite'][:steps], series)
        if bad is not None:
            return codes.ERROR_NOT_FINITE.format(step=bad)
        if n_frames:
            self.out('frames', FramesData.from_file(path))
        failure = first_failure(series, self.tags, self.sampling, abs(np.linalg.det(self.structure.cell)))
        if failure is not None:
            facts = {**failure.facts, 'step': self.first_step + failure.facts.get('at', failure.step)}
            return codes[failure.code].format(**facts)
        if due and not n_frames:
            return codes.ERROR_ELECTRONIC_NOT_CONVERGED.format(steps=len(due))
        if contcar is None:
            return codes.ERROR_NO_CONTCAR.format(reason=problem)
        self._output_end_state(contcar)
        if done < planned:
            breakdown = None if end.finished else electronic_breakdown(self.folder / 'vasp_output')
            if breakdown:
                return codes.ERROR_ELECTRONIC_BREAKDOWN.format(done=done, planned=planned, reason=breakdown)
            if rebuilt:
                return codes.ERROR_FINAL_STATE_LOST.format(done=done, planned=planned, reason=problem)
            code = codes.ERROR_STOPPED_EARLY if end.finished else codes.ERROR_INTERRUPTED
            return code.format(done=done, planned=planned)
        if unconverged > UNCONVERGED_SHARE * steps:
            return codes.WARNING_ELECTRONIC_NOT_CONVERGED.format(count=unconverged, steps=steps)
        return None

    def _file(self, name: str) -> Any:
        """Open a file that was fetched for the parser or is kept; yields ``None`` if it is missing or empty."""
        temporary = self.folder / name
        return _Maybe(temporary if temporary.is_file() else None, self.retrieved, name)

    def _read_end(self) -> OutcarEnd:
        outcar = self.folder / 'OUTCAR'
        return read_outcar_end(outcar) if outcar.is_file() else OutcarEnd(False, None)

    def _read_oszicar(self) -> Oszicar:
        path = self.folder / 'OSZICAR'
        if not path.is_file():
            self.logger.warning('OSZICAR is missing: temperatures and kinetic energies are not known')
            return Oszicar()
        with path.open(encoding='utf-8', errors='replace') as handle:
            return read_oszicar(handle)

    def _read_contcar(self) -> tuple[Poscar | None, str]:
        """Return the CONTCAR if it is complete and of the right atoms, else what is wrong with it."""
        try:
            poscar = read_poscar(self.retrieved.base.repository.get_object_content('CONTCAR'))
        except FileNotFoundError:
            return None, 'CONTCAR is missing'
        except PoscarError as error:
            return None, str(error)
        order = vasp_order(structure_kinds(self.structure))
        symbols = structure_symbols(self.structure)
        if poscar.symbols != [symbols[site] for site in order]:
            return None, 'CONTCAR holds other atoms than the input structure'
        if poscar.velocities is None:
            return None, 'CONTCAR holds no velocities'
        return poscar, ''

    def _state_of_frames(self, last: list[tuple[np.ndarray, np.ndarray]], n_steps: int) -> tuple[Poscar | None, int]:
        """Return the last state that the frames themselves fix, and its step, for a run whose CONTCAR is lost.

        A moving cell has velocities of its own, which frames do not fix well enough.
        """
        if len(last) < 3 or int(self.tags.get('isif', 2)) == 3:
            return None, n_steps
        (before, cell), (now, _), (after, _) = last
        velocities = central_velocities(before, after, cell, float(self.tags['potim']))
        if not (np.isfinite(now).all() and np.isfinite(velocities).all()):
            return None, n_steps
        order = vasp_order(structure_kinds(self.structure))
        symbols = structure_symbols(self.structure)
        return Poscar(cell, [symbols[site] for site in order], now[order], velocities[order], None), n_steps - 2

    def _read_frames(self, vasprun: Any, summary: VasprunSummary, rows: Oszicar, path: Path) -> dict[str, Any]:
        """Write the sampled frames to ``path`` as they are read; return what else is needed of all of them."""
        nelm = int(self.tags.get('nelm', 60))
        source = {
            'label': self.sampling.get('label') or self.structure.get_formula(mode='hill'),
            'stage': self.sampling.get('segment') or 'md',
        }
        first = None
        # All positions, since a killed run may leave a CONTCAR much older than its last frame; single precision is
        # enough to recognise a frame, and 5000 steps of 500 atoms take 30 MB.
        tail: list[np.ndarray] = []
        energies: list[float] = []
        volumes: list[float] = []
        finite: list[bool] = []
        kept: list[int] = []
        last: list[tuple[np.ndarray, np.ndarray]] = []
        target: FramesFile | None = None
        try:
            for block in iter_vasprun(vasprun, summary, keep_unconverged=True):
                self._check_atoms(block)
                positions = np.asarray(block.positions)[:, self.sites]
                forces = np.asarray(block.forces)[:, self.sites]
                if first is None:
                    first = (positions[0], np.asarray(block.cells[0]))
                tail.extend(positions.astype(np.float32))
                last = [*last, *zip(positions[-3:], np.asarray(block.cells)[-3:], strict=True)][-3:]
                energies.extend(np.asarray(block.energies))
                volumes.extend(np.abs(np.linalg.det(block.cells)))
                good = np.isfinite(positions).all(axis=(1, 2)) & np.isfinite(forces).all(axis=(1, 2))
                good &= np.isfinite(block.energies) & np.isfinite(block.cells).all(axis=(1, 2))
                step = np.arange(len(finite), len(finite) + len(good))
                finite.extend(good)
                counts = np.array([rows.electronic_steps[i] if i < len(rows) else 0 for i in step])
                chosen = ((self.first_step + step) % self.stride == 0) & good & (counts < nelm)
                if not chosen.any():
                    continue
                picked = FrameBlock(
                    np.asarray(block.atomic_numbers)[self.sites], positions[chosen], block.cells[chosen],
                    block.energies[chosen], forces[chosen], None if block.virials is None else block.virials[chosen],
                    None if block.temperature is None else block.temperature[chosen], dict(block.provenance),
                )  # fmt: skip
                target = target or FramesFile(path, 'w')
                target.append(picked, source)
                kept.extend(step[chosen])
        finally:
            if target is not None:
                target.close()
        return {
            'first': first, 'tail': tail, 'energies': np.array(energies), 'volumes': np.array(volumes),
            'finite': np.array(finite), 'kept': kept, 'last': last,
        }  # fmt: skip

    def _check_atoms(self, block: FrameBlock) -> None:
        symbols = structure_symbols(self.structure)
        if len(block.symbols) != len(self.sites) or [block.symbols[i] for i in self.sites] != symbols:
            raise VasprunError('vasprun.xml holds other atoms than the input structure')

    def _store_frames(self, path: Path, reading: dict[str, Any], steps: int) -> int:
        """Drop the sampled frames that lie beyond the state the run can be continued from; return how many stay."""
        wanted = sum(step < steps for step in reading['kept'])
        if wanted < len(reading['kept']) and wanted:
            shorter = path.with_name('shorter.h5')
            with FramesFile(path) as old, FramesFile(shorter, 'w') as new:
                (view,) = old.blocks()
                block = view.read(0, wanted)
                block.provenance = {'energy_kind': old.energy_kind, 'engine': old.engine}
                new.append(block, old.sources[0])
            shorter.replace(path)
        return wanted

    def _series(self, rows: Oszicar, reading: dict[str, Any], steps: int) -> dict[str, np.ndarray]:
        """Return the columns of the steps ``0 .. steps - 1``; what OSZICAR does not have is not a number."""

        def column(values: Any) -> np.ndarray:
            padded = np.full(steps, np.nan)
            known = np.asarray(values, dtype=float)[:steps]
            padded[: len(known)] = known
            return padded

        step = np.arange(self.first_step, self.first_step + steps)
        return {
            'step': step,
            'time_fs': step * float(self.tags['potim']),
            'temperature_K': column(temperatures(rows, len(self.sites))),
            'free_energy_eV': column(reading['energies']),
            'volume_A3': column(reading['volumes']),
            'energy_sigma0_eV': column(rows.energy_sigma0),
            'kinetic_energy_eV': column(rows.kinetic_energy),
            'total_energy_eV': column(rows.total_energy),
            'segment_index': np.full(steps, int(self.sampling.get('segment_index', 0))),
        }

    def _series_node(self, series: dict[str, np.ndarray]) -> orm.ArrayData:
        node = orm.ArrayData()
        for name, values in series.items():
            node.set_array(name, values)
        node.base.attributes.set('units', SERIES_UNITS)
        return node

    def _start(self, first: tuple[np.ndarray, np.ndarray], series: dict[str, np.ndarray]) -> dict[str, Any]:
        """Compare the first recorded frame with the structure and velocities that were given."""
        cell = np.array(self.structure.cell)
        shift = minimum_image_distance(first[0], structure_positions(self.structure), cell)
        given = None
        if 'velocities' in self.node.inputs:
            mass_of = {kind.name: kind.mass for kind in self.structure.kinds}
            masses = [mass_of[name] for name in structure_kinds(self.structure)]
            given = kinetic_temperature(self.node.inputs.velocities.get_array('velocities'), masses)
        return {
            'position_difference_A': float(np.abs(shift).max()),
            'cell_difference_A': float(np.abs(first[1] - cell).max()),
            'temperature_given_K': given,
            # With the degrees of freedom of the line above, whichever the program counts for its thermostat.
            'temperature_K': _value(2 * series['kinetic_energy_eV'] / (max(3 * len(self.sites) - 3, 1) * kB), 0),
            'energy_eV': _value(series['free_energy_eV'] + series['kinetic_energy_eV'], 0),
        }

    @staticmethod
    def _end(series: dict[str, np.ndarray]) -> dict[str, Any]:
        return {
            'temperature_K': _value(series['temperature_K'], -1),
            'energy_eV': _value(series['free_energy_eV'] + series['kinetic_energy_eV'], -1),
        }

    def _not_finite(self, finite: np.ndarray, series: dict[str, np.ndarray]) -> int | None:
        """Return the first step of the whole plan at which something is not finite, or ``None``."""
        bad = ~finite
        # Rows that OSZICAR lacks because it was cut are unknown, not wrong.
        known = np.isfinite(series['kinetic_energy_eV']).nonzero()[0]
        if len(known):
            bad = bad | ~np.isfinite(series['temperature_K']) & (np.arange(len(bad)) <= known[-1])
        return int(self.first_step + np.flatnonzero(bad)[0]) if bad.any() else None

    def _output_end_state(self, contcar: Poscar) -> None:
        structure = self.structure.clone()
        structure.reset_cell(contcar.cell.tolist())
        structure.reset_sites_positions(contcar.positions[self.sites].tolist())
        structure.label = self.structure.label
        velocities = orm.ArrayData()
        velocities.set_array('velocities', contcar.velocities[self.sites])
        if contcar.lattice_velocities is not None:
            velocities.set_array('lattice_velocities', contcar.lattice_velocities)
        velocities.base.attributes.set('units', {'velocities': 'Å/fs'})
        if contcar.carried_state:
            velocities.base.attributes.set('thermostat_state', contcar.carried_state)
        self.out('structure', structure)
        self.out('velocities', velocities)


class _Maybe:
    """Context of a file that is in the temporary folder, in the repository, or nowhere."""

    def __init__(self, path: Path | None, retrieved: orm.FolderData, name: str) -> None:
        self.path, self.retrieved, self.name = path, retrieved, name
        self.context: Any = None

    def __enter__(self) -> Any:
        if self.path is not None:
            self.context = self.path.open('rb')
        elif self.name in self.retrieved.base.repository.list_object_names():
            self.context = self.retrieved.base.repository.open(self.name, 'rb')
        return None if self.context is None else self.context.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self.context is not None:
            self.context.__exit__(*error)


def _value(column: np.ndarray, index: int) -> float | None:
    if not len(column) or not np.isfinite(column[index]):
        return None
    return float(column[index])
