"""What the parsers of all DeePMD-kit steps share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.exceptions import ValidationError
from aiida.engine import CalcJob, ExitCode
from aiida.parsers import Parser

from aiida_softclay.data.potential import PotentialData

from .dp_files import failure_kind, last_words, read_log


class DpParser(Parser):
    """Read logs, tell full disks and full memory from other failures, take model files."""

    def text(self, name: str) -> str:
        """Return a retrieved file, or nothing."""
        if name not in self.retrieved.base.repository.list_object_names():
            return ''
        return self.retrieved.base.repository.get_object_content(name, mode='rb').decode('utf-8', errors='replace')

    @property
    def log(self) -> str:
        """What the program of this step printed."""
        return self.text(self.node.process_class.output_file())

    def scheduler_texts(self) -> list[str]:
        """Return what the scheduler kept: a shell reports a killed program there."""
        return [self.node.get_scheduler_stdout() or '', self.node.get_scheduler_stderr() or '']

    def resource_failure(self, *logs: str) -> ExitCode | None:
        """Return the exit code of a full disk or memory, if one was reported."""
        found = failure_kind(*logs, *self.scheduler_texts())
        if found is None:
            # What a scheduler reports of itself, AiiDA has set before the parser is called.
            if self.node.exit_status == CalcJob.exit_codes.ERROR_SCHEDULER_OUT_OF_MEMORY.status:
                return self.exit_codes.ERROR_OUT_OF_MEMORY.format(reason='the scheduler says so')
            return None
        kind, line = found
        code = self.exit_codes.ERROR_DISK_FULL if kind == 'disk' else self.exit_codes.ERROR_OUT_OF_MEMORY
        return code.format(reason=line)

    def without_gpu(self) -> ExitCode | None:
        """Return the exit code of a job that was to compute on a GPU where there is none."""
        refused = self.text('REFUSED').strip()
        return self.exit_codes.ERROR_NO_GPU.format(reason=refused) if 'no GPU' in refused else None

    def stopped(self, *logs: str) -> ExitCode:
        """Return the exit code of a program that ended early, with its last words."""
        failure = self.without_gpu() or self.resource_failure(*logs)
        if failure is not None:
            return failure
        if self.was_cut:
            return self.exit_codes.ERROR_PROGRAM_STOPPED.format(reason='it was out of wall time')
        words = next((said for said in map(last_words, reversed(logs)) if said), '')
        if not words:
            return self.exit_codes.ERROR_NO_OUTPUT
        return self.exit_codes.ERROR_PROGRAM_STOPPED.format(reason=words)

    @property
    def was_cut(self) -> bool:
        """Whether the job stopped itself before its wall time."""
        return 'SOFTCLAY: stopped before the wall time' in self.text('WALLTIME')

    def log_facts(self, *logs: str) -> dict[str, Any]:
        """Return what the logs say of versions, device and time."""
        facts = read_log('\n'.join(logs))
        facts.setdefault('backend', self.node.inputs.backend.value)
        if self.node.process_class._STEP != 'train':
            del facts['finished'], facts['nan_step']
        return facts

    def take_model(self, kwargs: dict[str, Any], name: str, **about: Any) -> PotentialData | ExitCode:
        """Return the model file of the temporary folder as a potential, or the exit code that says what it lacks."""
        folder = kwargs.get('retrieved_temporary_folder')
        path = Path(folder) / name if folder else None
        if path is None or not path.is_file():
            return self.failed_model()
        try:
            return PotentialData(path, backend=self.node.inputs.backend.value, **about)
        except ValidationError as error:
            return self.resource_failure(self.log) or self.exit_codes.ERROR_NOT_A_MODEL.format(reason=str(error))

    def failed_model(self) -> ExitCode:
        """Return why there is no model."""
        code = self.stopped(self.log)
        if code.status == self.exit_codes.ERROR_PROGRAM_STOPPED.status and not self.was_cut:
            return self.exit_codes.ERROR_NO_MODEL.format(reason=last_words(self.log))
        return code

    def out_statistics(self, facts: dict[str, Any]) -> None:
        """Attach the statistics."""
        self.out('statistics', orm.Dict(facts))
