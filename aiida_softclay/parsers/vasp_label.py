"""Parser of the single points of a job: frames of those that are whole, and what became of every other one."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser

from aiida_softclay.calculations.vasp_inputs import vasp_order
from aiida_softclay.calculations.vasp_label import STATUS_FILE, STDOUT_FILE, folder_name, is_relaxation
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import (
    FrameBlock,
    FramesFile,
    IncompatibleFramesError,
    InvalidFramesError,
    VasprunError,
    VasprunSummary,
    iter_vasprun,
)
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

from .vasp_files import last_words, minimum_image_distance

#: A configuration has a label if it is `done`. `failed` and `not_converged` would be so again; the others were not
#: computed to the end because the job was not.
DONE, FAILED, NOT_CONVERGED, KILLED, NOT_STARTED = 'done', 'failed', 'not_converged', 'killed', 'not_started'
UNFINISHED = (KILLED, NOT_STARTED)
#: vasprun.xml prints eight decimals of a direct coordinate.
POSITION_TOLERANCE_A = 1e-4
RELAXED_MARK = 'reached required accuracy'
SHOWN_INDICES = 10


@dataclass
class RunTimes:
    """When the run of one configuration began and ended (seconds since 1970), and its exit status."""

    begin: int | None = None
    end: int | None = None
    exit_status: int | None = None


def read_status(text: str) -> dict[str, RunTimes]:
    """Return what the status file says of each folder; a last line that was cut is left out."""
    runs: dict[str, RunTimes] = {}
    for line in text.split('\n')[:-1]:
        words = line.split()
        try:
            if words[:1] == ['begin'] and len(words) == 3:
                runs[words[1]] = RunTimes(begin=int(words[2]))
            elif words[:1] == ['end'] and len(words) == 4 and words[1] in runs:
                runs[words[1]].exit_status, runs[words[1]].end = int(words[2]), int(words[3])
        except ValueError:
            continue
    return runs


@dataclass
class ConfigurationRecord:
    """What became of one configuration; the keys of an entry of ``statistics.configurations``."""

    index: int
    state: str
    reason: str = ''
    energy_eV: float | None = None  # noqa: N815
    ionic_steps: int = 0
    relaxed: bool | None = None
    exit_status: int | None = None
    wall_time_s: int | None = None


def read_last_step(path: Path, summary: VasprunSummary) -> FrameBlock | None:
    """Return the last complete ionic step of a ``vasprun.xml``, read as a stream; ``None`` if it did not converge.

    Only the last step of a relaxation is a label: on the way there the electrons may have failed to converge.

    Raises
    ------
    VasprunError
        If there is no complete step.
    """
    last, steps_read = None, 0
    for block in iter_vasprun(path, summary, frames_per_block=1):
        last, steps_read = block, summary.n_steps
    return last if steps_read == summary.n_steps else None


class VaspLabelParser(Parser):
    """Read the run of every configuration; one that failed, or was cut, does not hinder the others."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Parse the retrieved files; return ``None`` if every configuration has its label."""
        codes = self.exit_codes
        if 'retrieved_temporary_folder' not in kwargs:
            return codes.ERROR_NO_TEMPORARY_FOLDER
        self.folder = Path(kwargs['retrieved_temporary_folder'])
        inputs = self.node.inputs
        self.settings = inputs.settings.get_dict() if 'settings' in inputs else {}
        self.trajectory = inputs.configurations
        tags = {key.lower(): value for key, value in inputs.parameters.get_dict().items()}
        self.max_steps = int(tags.get('nsw', 0)) if is_relaxation(tags) else None
        indices = inputs.indices.get_list() if 'indices' in inputs else range(self.trajectory.n_frames)
        self.runs = read_status(self._status_text())
        if not self.runs:
            said = (self.node.get_scheduler_stderr() or '').strip().splitlines()
            return codes.ERROR_NOT_STARTED.format(reason=said[-1][:300] if said else 'it wrote no status')
        with tempfile.TemporaryDirectory() as scratch:
            records = self._read_all(sorted(indices), Path(scratch))
        return self._exit_code(records)

    def _status_text(self) -> str:
        if STATUS_FILE not in self.retrieved.base.repository.list_object_names():
            return ''
        content = self.retrieved.base.repository.get_object_content(STATUS_FILE, mode='rb')
        return content.decode('utf-8', errors='replace')

    def _read_all(self, indices: list[int], scratch: Path) -> list[ConfigurationRecord]:
        """Read every configuration in order, and attach the outputs."""
        records, engine = [], {}
        relaxed_path, frames_path = scratch / 'relaxed.h5', scratch / 'frames.h5'
        with self.trajectory.open_trajectory() as given, FramesFile(frames_path, 'w') as frames:
            self.sites = np.argsort(vasp_order(given.symbols))
            # No engine here: these positions come from relaxations, whose program is in the statistics.
            relaxed = TrajectoryFile(relaxed_path, 'w', given.atomic_numbers, given.timestep_ps, stage='relaxed')
            for index in indices:
                record, block = self._read_one(index, given)
                if block is not None:
                    try:
                        frames.append(block, self._source())
                    except IncompatibleFramesError as error:
                        record.state, record.reason = FAILED, str(error)
                    else:
                        relaxed.append(block.positions[0], block.cells[0], int(given.steps[index]))
                        engine = frames.engine
                records.append(record)
            relaxed.close()
        if any(record.state == DONE for record in records):
            self.out('frames', FramesData.from_file(frames_path))
            if self.max_steps is not None:
                self.out('configurations', MdTrajectoryData.from_file(relaxed_path))
        self.out('statistics', orm.Dict({
            'configurations': [asdict(record) for record in records],
            'counts': {state: sum(record.state == state for record in records)
                       for state in (DONE, FAILED, NOT_CONVERGED, KILLED, NOT_STARTED)},
            'engine': engine,
            'energy_kind': self._energy_kind,
            'relaxation': self.max_steps is not None,
            'n_atoms': self.trajectory.n_atoms,
        }))  # fmt: skip
        return records

    @property
    def _energy_kind(self) -> str:
        return self.settings.get('energy_kind', 'e_fr_energy')

    def _source(self) -> dict[str, Any]:
        """Return the origin of the frames; frames of one origin are one stratum when they are split."""
        return {
            'label': self.settings.get('label') or self.trajectory.formula,
            'stage': self.settings.get('stage') or 'label',
        }

    def _read_one(self, index: int, given: TrajectoryFile) -> tuple[ConfigurationRecord, FrameBlock | None]:
        """Return what became of a configuration, and its frame in the order of the sites if it has a label."""
        folder = self.folder / folder_name(index)
        times = self.runs.get(folder_name(index))
        record = ConfigurationRecord(index, NOT_STARTED, 'the job ended before its turn came')
        if times is None:
            return record, None
        record.exit_status = times.exit_status
        if times.end is None:
            record.state, record.reason = KILLED, 'the job was killed while it was computed'
        else:
            record.wall_time_s = times.end - times.begin
            record.state = FAILED
            record.reason = last_words(folder / STDOUT_FILE) or f'exit status {times.exit_status}, nothing was printed'
        summary = VasprunSummary(energy_kind=self._energy_kind)
        try:
            block = read_last_step(folder / 'vasprun.xml', summary)
        except FileNotFoundError:
            return record, None
        except (VasprunError, InvalidFramesError) as error:
            if times.end is not None and times.exit_status == 0:
                record.reason = str(error)
            return record, None
        record.ionic_steps = summary.n_steps
        # A run that was cut in a relaxation is not at its end. A whole file is a label, however the program ended:
        # some MPI libraries fail when all is written.
        if summary.truncated:
            if times.end is not None and times.exit_status == 0:
                record.reason = 'vasprun.xml is cut'
            return record, None
        if block is None:
            record.state = NOT_CONVERGED
            record.reason = 'the electronic loop used up NELM: raise NELM or change ALGO'
            return record, None
        block, problem = self._in_site_order(block, index, given)
        if problem:
            record.state, record.reason = FAILED, problem
            return record, None
        record.state, record.reason = DONE, ''
        record.energy_eV = float(block.energies[0])
        if self.max_steps is not None:
            # Fewer steps than NSW are no proof: a run may have been told to stop.
            record.relaxed = self._says_relaxed(folder / STDOUT_FILE)
        return record, block

    def _in_site_order(self, block: FrameBlock, index: int, given: TrajectoryFile) -> tuple[FrameBlock, str]:
        """Return the frame with its atoms in the order of the trajectory, and what is wrong with it or nothing."""
        if len(block.symbols) != len(self.sites) or [block.symbols[i] for i in self.sites] != given.symbols:
            return block, 'vasprun.xml holds other atoms than the configuration'
        positions = np.asarray(block.positions)[:, self.sites]
        forces = np.asarray(block.forces)[:, self.sites]
        ordered = FrameBlock(
            np.asarray(block.atomic_numbers)[self.sites], positions, block.cells, block.energies, forces,
            block.virials, None, dict(block.provenance),
        )  # fmt: skip
        virials = np.zeros(1) if block.virials is None else block.virials
        if not all(np.isfinite(array).all() for array in (positions, forces, block.energies, block.cells, virials)):
            return ordered, 'energy, forces or stress are not finite'
        if block.virials is None:
            return ordered, 'vasprun.xml holds no stress'
        if np.abs(block.cells[0] - given.cells[index]).max() > POSITION_TOLERANCE_A:
            return ordered, 'vasprun.xml holds another cell than the configuration'
        if self.max_steps is None:
            shift = minimum_image_distance(positions[0], given.positions[index], given.cells[index])
            if np.abs(shift).max() > POSITION_TOLERANCE_A:
                return ordered, 'vasprun.xml holds other positions than the configuration'
        return ordered, ''

    @staticmethod
    def _says_relaxed(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open(encoding='utf-8', errors='replace') as handle:
            return any(RELAXED_MARK in line for line in handle)

    def _exit_code(self, records: list[ConfigurationRecord]) -> ExitCode | None:
        codes, planned = self.exit_codes, len(records)
        unfinished = [record for record in records if record.state in UNFINISHED]
        if unfinished:
            return codes.ERROR_INTERRUPTED.format(done=planned - len(unfinished), planned=planned)
        missing = [record for record in records if record.state != DONE]
        if len(missing) == planned:
            return codes.ERROR_NO_LABEL.format(planned=planned, reason=missing[0].reason)
        if missing:
            return codes.WARNING_CONFIGURATIONS_LEFT_OUT.format(
                count=len(missing), planned=planned, indices=_shown(missing), reason=missing[0].reason
            )
        moving = [record for record in records if record.relaxed is False]
        if moving:
            return codes.WARNING_NOT_RELAXED.format(count=len(moving), planned=planned, indices=_shown(moving))
        return None


def _shown(records: list[ConfigurationRecord]) -> str:
    shown = ', '.join(str(record.index) for record in records[:SHOWN_INDICES])
    return shown + (', …' if len(records) > SHOWN_INDICES else '')
