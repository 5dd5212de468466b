"""Parser of molecular dynamics runs: outputs for whatever is whole, and an exit code for each way a run ends."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser

from aiida_softclay.calculations.lammps import MAX_RETRIEVED_BYTES, dumps_stay, resume_point, structure_symbols
from aiida_softclay.calculations.lammps_columns import sampling_steps
from aiida_softclay.calculations.lammps_committee import DEVIATION_FILE
from aiida_softclay.calculations.lammps_resources import n_threads, ranks_of_job
from aiida_softclay.calculations.lammps_script import FINAL_FILE, LOG_FILE
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.parsers.lammps_checks import find_disagreement, find_runaway, missing_outputs
from aiida_softclay.parsers.lammps_columns import AVERAGE_UNITS, average_arrays, centre_arrays, centre_units
from aiida_softclay.parsers.lammps_deviation import DEVIATION_UNITS, DeviationLog, deviation_arrays, read_deviation
from aiida_softclay.parsers.lammps_files import FinalState, read_final_dump
from aiida_softclay.parsers.lammps_log import DISK_FULL, RunLog, StageLog, read_log
from aiida_softclay.parsers.lammps_results import (
    THERMO_UNITS,
    convert_dump,
    find_restart,
    stage_statistics,
    thermo_arrays,
)
from aiida_softclay.parsers.lammps_seam import seam_problem, seam_record, state_at
from aiida_softclay.parsers.scheduler_messages import NODE_FAILURE, OUT_OF_MEMORY, OUT_OF_WALLTIME, scheduler_reason

LARGEST_STDERR = 20_000
#: AiiDA's own exit statuses for what schedulers do to a job lie between these.
FIRST_SCHEDULER_STATUS, FIRST_MONITOR_STATUS = 110, 150
KILLED_BY = {OUT_OF_WALLTIME: 'walltime_kill', OUT_OF_MEMORY: 'out_of_memory', NODE_FAILURE: 'node_failure'}
LOST_ATOMS = re.compile(r'Lost atoms|Atom count is inconsistent|atoms? (?:has )?moved out of', re.IGNORECASE)
NOT_FINITE = re.compile(r'Non-numeric|not a number|\bnan\b', re.IGNORECASE)
UNKNOWN_STYLE = re.compile(r'Unrecognized pair style|Unknown pair style', re.IGNORECASE)
DEEPMD_REFUSED = re.compile(r'DeePMD-kit Error|deepmd.*(?:not found|type_map|Element)|INVALID_ARGUMENT', re.IGNORECASE)


class LammpsMdParser(Parser):
    """Parse the log, the dumps and the final state of a run, whole or not."""

    def parse(self, **kwargs: Any) -> Any:
        """Create the outputs and return the exit code."""
        temporary = Path(kwargs['retrieved_temporary_folder'])
        self.plan = MdPlan.from_dict(self.node.inputs.plan.get_dict())
        self.symbols = structure_symbols(self.node.inputs.structure)
        limit = self.node.inputs.max_retrieved_bytes.value if 'max_retrieved_bytes' in self.node.inputs else None
        self.dumps_stay = dumps_stay(self.plan, self.symbols, MAX_RETRIEVED_BYTES if limit is None else limit)
        self.resumed = None
        if resume := self._resume_data():
            self.resumed, _ = resume_point(resume, self.plan)
        stdout = self._text(self.node.get_option('output_filename'))
        stderr = self._stderr()

        log = self._read_log()
        if log is None:
            if ended := self._ended_by_scheduler(stderr):
                return _with_message(ended[0], f'{ended[1]}, before LAMMPS started')
            return self.exit_codes.ERROR_NO_LOG.format(error=_last_line(stderr) or 'and nothing was printed')
        engine = {'program': 'LAMMPS', 'version': log.version, **self._potential_record()}
        if log.deepmd:
            engine['deepmd'] = {**log.deepmd, 'backend': self.node.inputs.potential.model_backend}
        last_frames, all_finite = self._stage_outputs(log, temporary, engine)
        final = None
        if log.completed or log.interrupted:
            final = self._final_outputs(temporary)
        restart = None if log.completed else find_restart(self.plan, log, temporary, last_frames, self.resumed)
        if restart and restart['within'] and (state := state_at(log.stage, restart['step'])):
            restart['state'] = state
        self.seam = seam_record(log, self.resumed, self._resume_data().get('state'))
        exit_code, reason = self._exit_code(log, stdout, stderr, restart, all_finite, final)
        self._statistics(log, engine, reason, restart)
        return exit_code

    def _resume_data(self) -> dict[str, Any]:
        return self.node.inputs.resume.get_dict() if 'resume' in self.node.inputs else {}

    def _text(self, name: str) -> str:
        if name not in self.retrieved.base.repository.list_object_names():
            return ''
        return self.retrieved.base.repository.get_object_content(name, mode='rb').decode('utf-8', errors='replace')

    def _stderr(self) -> str:
        return (self.node.get_scheduler_stderr() or '')[-LARGEST_STDERR:]

    def _read_log(self) -> RunLog | None:
        if LOG_FILE not in self.retrieved.base.repository.list_object_names():
            return None
        with self.retrieved.base.repository.open(LOG_FILE, 'rb') as handle:
            return read_log(line.decode('utf-8', errors='replace') for line in handle)

    def _potential_record(self) -> dict[str, Any]:
        if 'potential' in self.node.inputs:
            potential = self.node.inputs.potential
            text = f'DeePMD {potential.filename}'
            if potential.labels:
                what = potential.labels.get('model') or potential.labels.get('functional') or 'unknown labels'
                dispersion = potential.labels.get('dispersion')
                text += f' fitted to {what}' + (f' + {dispersion}' if dispersion else '')
            return {'potential': text, 'potential_uuid': potential.uuid}
        return {'potential': 'classical', 'potential_uuid': self.node.inputs.classical.pair_lines.uuid}

    def _stage_outputs(
        self, log: RunLog, temporary: Path, engine: dict[str, Any]
    ) -> tuple[dict[str, int | None], bool]:
        last_frames: dict[str, int | None] = {}
        all_finite = True
        self.frames, self.deviations = {}, {}
        deviation = self._read_deviation(temporary)
        with tempfile.TemporaryDirectory() as scratch:
            for stage_log in log.stages:
                name = stage_log.name
                if name not in self.plan.stage_names:
                    continue
                if self.dumps_stay:
                    # Each frame is flushed as each row is: the rows say how far the frames on the computer go.
                    last_frames[name] = int(stage_log.rows[-1][0]) if stage_log.rows else None
                    self._series_outputs(stage_log, temporary, deviation, last_frames[name])
                    continue
                target = Path(scratch) / f'{name}.h5'
                count, last_frames[name], finite = convert_dump(
                    self.plan, name, temporary, target, self.symbols, engine
                )
                self.frames[name] = count
                all_finite = all_finite and finite
                if count:
                    self.out(f'trajectories.{name}', MdTrajectoryData.from_file(target))
                self._series_outputs(stage_log, temporary, deviation, last_frames[name])
        return last_frames, all_finite

    def _series_outputs(
        self, stage_log: StageLog, temporary: Path, deviation: DeviationLog | None, last_frame: int | None
    ) -> None:
        """Attach the time series of a stage."""
        arrays = thermo_arrays(self.plan, stage_log)
        if len(arrays['step']):
            self.out(f'thermo.{stage_log.name}', series_node(arrays, THERMO_UNITS))
        self._column_outputs(stage_log.name, temporary)
        if deviation is not None:
            self._deviation_output(stage_log, deviation, last_frame)

    def _column_outputs(self, name: str, temporary: Path) -> None:
        """Attach what LAMMPS wrote of a stage between the frames."""
        counts = Counter(self.symbols)
        arrays = centre_arrays(self.plan, name, temporary, list(counts))
        if len(arrays['step']):
            node = series_node(arrays, centre_units(list(counts)))
            node.base.attributes.set('counts', dict(counts))
            self.out(f'collective.{name}', node)
        arrays = average_arrays(self.plan, name, temporary)
        if len(arrays['step']):
            node = series_node(arrays, AVERAGE_UNITS)
            width = self.plan.stage_thermo_every(self.plan.stage(name))
            node.base.attributes.set('window_steps', width)
            node.base.attributes.set('sampling_steps', sampling_steps(width, 'classical' in self.node.inputs))
            self.out(f'averages.{name}', node)

    def _read_deviation(self, temporary: Path) -> DeviationLog | None:
        path = temporary / DEVIATION_FILE
        if 'committee' not in self.node.inputs or not path.is_file():
            return None
        with path.open(encoding='utf-8', errors='replace') as handle:
            return read_deviation(handle)

    def _deviation_output(self, stage_log: StageLog, deviation: DeviationLog, last_frame: int | None) -> None:
        every = self.node.inputs.deviation_every.value if 'deviation_every' in self.node.inputs else None
        arrays = deviation_arrays(self.plan, stage_log, deviation, every, last_frame)
        if not len(arrays['step']):
            return
        self.out(f'model_deviation.{stage_log.name}', series_node(arrays, DEVIATION_UNITS))
        largest = arrays['max_force_deviation_eV_A']
        self.deviations[stage_log.name] = {
            'mean_eV_A': float(largest.mean()),
            'largest_eV_A': float(largest.max()),
            'n_samples': len(largest),
        }

    def _final_outputs(self, temporary: Path) -> FinalState | None:
        final = read_final_dump(temporary / FINAL_FILE)
        if final is None or len(final.positions) != len(self.symbols):
            return None
        initial = self.node.inputs.structure
        structure = orm.StructureData(cell=final.cell.tolist())
        for kind in initial.kinds:
            structure.append_kind(kind)
        scaled = np.linalg.solve(final.cell.T, final.positions.T).T
        wrapped = (scaled - np.floor(scaled)) @ final.cell
        for site, position in zip(initial.sites, wrapped, strict=True):
            structure.append_site(orm.Site(kind_name=site.kind_name, position=position.tolist()))
        velocities = orm.ArrayData({'velocities': final.velocities})
        velocities.base.attributes.set('units', {'velocities': 'Å/ps'})
        self.out('structure', structure)
        self.out('velocities', velocities)
        return final

    def _committee(self) -> list[str]:
        if 'committee' not in self.node.inputs:
            return []
        return [self.node.inputs.committee[name].uuid for name in sorted(self.node.inputs.committee)]

    def _statistics(self, log: RunLog, engine: dict[str, Any], reason: str, restart: dict[str, Any] | None) -> None:
        stages = {
            item.name: stage_statistics(self.plan, item, self.resumed, self.frames.get(item.name, 0))
            for item in log.stages
            if item.name in self.plan.stage_names
        }
        seconds = sum(item['loop_seconds'] for item in stages.values())
        steps = sum(item.loop_steps for item in log.stages)
        notes = list(log.warnings)
        notes += [
            f'minimisation {name} did not converge: {item["stopping_criterion"]}'
            for name, item in stages.items()
            if item['completed'] and item.get('converged') is False
        ]
        if 'potential' in self.node.inputs and not self.node.inputs.potential.compressed:
            notes.append(
                'the model is not compressed: a compressed one gives the same forces in a fraction of the time'
            )
        record = {
            'end_reason': reason,
            'stages': stages,
            'n_atoms': len(self.symbols),
            'seed': self.plan.seed,
            'timestep_ps': self.plan.timestep_ps,
            'steps': steps,
            'steps_per_second': steps / seconds if seconds > 0 else None,
            'loop_seconds': seconds,
            'wall_seconds': log.wall_seconds,
            'mpi_tasks': log.mpi_tasks,
            'threads': log.threads,
            'requested': {
                'mpi_tasks': ranks_of_job(self.node),
                'threads': n_threads(self.node.get_option('resources') or {}),
                'max_wallclock_seconds': self.node.get_option('max_wallclock_seconds'),
            },
            'lammps_version': log.version,
            'deepmd': engine.get('deepmd'),
            'engine': engine,
            'committee': self._committee(),
            'model_deviation': self.deviations,
            'dangerous_builds': log.dangerous_builds,
            'dumps_remain_on_computer': self.dumps_stay,
            'restart': restart,
            'resumed_from': self._resume_data() or None,
            'seam': self.seam,
            'warnings': notes,
        }
        self.out('statistics', orm.Dict(record))

    def _exit_code(
        self,
        log: RunLog,
        stdout: str,
        stderr: str,
        restart: dict[str, Any] | None,
        all_finite: bool,
        final: FinalState | None,
    ) -> tuple[Any, str]:
        """Return the exit code and the word for it, the most specific reason first."""
        codes = self.exit_codes
        where = {'stage': 'none', 'step': 0}
        if log.stage:
            last = log.stage.rows[-1][0] if log.stage.rows else log.stage.first_step
            where = {'stage': log.stage.name, 'step': int(last)}
        error = log.error
        if error is None and not (log.completed or log.interrupted):
            # Errors of MPI and of the plugin are printed, not logged.
            error = next((line.strip() for line in (stdout + '\n' + stderr).splitlines() if 'ERROR' in line), None)
        printed = '\n'.join([error or '', stdout, stderr])
        if match := DISK_FULL.search(printed):
            return codes.ERROR_DISK_FULL.format(error=error or match[0]), 'disk_full'
        requested = ranks_of_job(self.node)
        if log.mpi_tasks is not None and log.mpi_tasks < requested:
            return codes.ERROR_MPI_RANKS.format(requested=requested, actual=log.mpi_tasks), 'mpi_ranks'
        ended = None if log.completed or log.interrupted else self._ended_by_scheduler(printed)
        if error is not None:
            code, word = self._error_code(error, where)
            # What a killed program prints last is no reason of its own; what LAMMPS says of the physics is.
            if ended is None or word in ('lost_atoms', 'not_finite'):
                return code, word
        if log.not_finite_step is not None or not all_finite:
            message = f'not finite at step {log.not_finite_step}' if log.not_finite_step is not None else 'positions'
            return codes.ERROR_NOT_FINITE.format(error=message, **where), 'not_finite'
        if runaway := find_runaway(self.plan, log):
            return codes.ERROR_TEMPERATURE_RUNAWAY.format(**runaway), 'temperature_runaway'
        if disagreement := self._disagreement():
            return codes.ERROR_MODEL_DEVIATION.format(**disagreement), 'model_deviation'
        if differences := seam_problem(self.seam, len(self.symbols)):
            return codes.ERROR_SEAM.format(**{**self.seam, 'differences': differences}), 'seam'
        if log.interrupted:
            if restart is None:
                return codes.ERROR_INTERRUPTED.format(restart='its start only', **where), 'interrupted'
            return codes.ERROR_OUT_OF_WALLTIME.format(stage=restart['stage'], step=restart['step']), 'walltime'
        if not log.completed:
            return self._killed_code(log, restart, ended, stderr, where)
        if missing := missing_outputs(self.plan, self.frames, self.resumed, final):
            return codes.ERROR_INCOMPLETE_OUTPUT.format(error='; '.join(missing)), 'incomplete_output'
        # Said outright, because AiiDA would else take the scheduler's word for the end of the job, such as a time limit
        # that was reached after LAMMPS had finished.
        return ExitCode(0), 'completed'

    def _error_code(self, error: str, where: dict[str, Any]) -> tuple[Any, str]:
        """Return the exit code of a run that LAMMPS ended with an error."""
        codes = self.exit_codes
        if LOST_ATOMS.search(error):
            return codes.ERROR_LOST_ATOMS.format(error=error, **where), 'lost_atoms'
        if NOT_FINITE.search(error):
            return codes.ERROR_NOT_FINITE.format(error=error, **where), 'not_finite'
        if UNKNOWN_STYLE.search(error):
            return codes.ERROR_PAIR_STYLE_UNKNOWN.format(error=error), 'pair_style_unknown'
        if DEEPMD_REFUSED.search(error):
            return codes.ERROR_MODEL_REFUSED.format(error=error), 'model_refused'
        return codes.ERROR_LAMMPS.format(error=error), 'error'

    def _ended_by_scheduler(self, printed: str) -> tuple[ExitCode, str] | None:
        """Return AiiDA's exit code for what the scheduler did to the job, and the words for it, or ``None``."""
        status = self.node.exit_status
        if status and FIRST_SCHEDULER_STATUS <= status < FIRST_MONITOR_STATUS:
            return self.exit_codes(status), (self.node.exit_message or f'scheduler status {status}').rstrip('.')
        if reason := scheduler_reason(printed):
            return self.exit_codes[reason[0]], reason[1]
        return None

    def _killed_code(
        self,
        log: RunLog,
        restart: dict[str, Any] | None,
        ended: tuple[ExitCode, str] | None,
        stderr: str,
        where: dict[str, Any],
    ) -> tuple[ExitCode, str]:
        """Return the exit code of a run that neither finished nor stopped itself, by its cause if that is known."""
        codes = self.exit_codes
        point = f'step {restart["step"]} of stage {restart["stage"]}' if restart else 'its start only'
        if ended is not None:
            message = f'{ended[1]}; in stage {where["stage"]} after step {where["step"]}, it can go on from {point}'
            label = next(name for name, code in codes.items() if code.status == ended[0].status)
            return _with_message(ended[0], message), KILLED_BY.get(label, 'killed')
        if log.stage is None:
            return codes.ERROR_NO_STAGE.format(error=_last_line(stderr) or 'it may have been killed'), 'killed'
        return codes.ERROR_INTERRUPTED.format(restart=point, **where), 'killed'

    def _disagreement(self) -> dict[str, Any] | None:
        if 'max_model_deviation_eV_A' not in self.node.inputs:
            return None
        return find_disagreement(self.deviations, self.node.inputs.max_model_deviation_eV_A.value)


def series_node(arrays: dict[str, Any], units: dict[str, str]) -> orm.ArrayData:
    """Return time series as a node that knows its units."""
    node = orm.ArrayData(arrays)
    node.base.attributes.set('units', {name: units[name] for name in arrays})
    return node


def _with_message(code: ExitCode, message: str) -> ExitCode:
    return ExitCode(code.status, message, code.invalidates_cache)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and 'libcudart' not in line]
    return lines[-1][:500] if lines else ''
