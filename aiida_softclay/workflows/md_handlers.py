"""What a molecular dynamics workchain does after a job: one handler for each way it can end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from aiida import orm
from aiida.engine import ExitCode

from aiida_softclay.calculations.lammps import LammpsMdCalculation


class Handled(NamedTuple):
    """A handler has taken care of a job; with an exit code the workchain ends."""

    exit_code: ExitCode | None = None


class MdHandlersMixin:
    """Inspect the last job of a molecular dynamics workchain.

    The handlers are asked in the order of :meth:`handlers`; the first one that knows how the job ended acts and reports
    what it did. A job that got further than the one before it is gone on from, whatever ended it. One that did not is
    repeated, at most ``max_transient_failures`` times in a row, and only after a failure that can be the computer's.
    """

    ctx: Any
    inputs: Any
    exit_codes: Any
    report: Any
    out: Any
    _attach_outputs: Any

    def handlers(self) -> tuple[Callable[[orm.CalcJobNode], Handled | None], ...]:
        """Return the handlers in the order in which they are asked."""
        return (
            self.handle_killed_process,
            self.handle_complete_plan,
            self.handle_lost_atoms,
            self.handle_not_finite,
            self.handle_temperature_runaway,
            self.handle_model_deviation,
            self.handle_disk_full,
            self.handle_walltime,
            self.handle_walltime_kill,
            self.handle_out_of_memory,
            self.handle_node_failure,
            self.handle_kill,
            self.handle_failed_start,
            self.handle_refused_job,
        )

    def inspect_segment(self) -> ExitCode | None:
        """Decide whether the plan is finished, goes on, or has failed."""
        node = self.ctx.segment
        self.ctx.segments.append(node)
        for handler in self.handlers():
            handled = handler(node)
            if handled is not None:
                if handled.exit_code is not None:
                    self._attach_outputs()
                return handled.exit_code
        return None

    def handle_killed_process(self, node: orm.CalcJobNode) -> Handled | None:
        """End after a process that was killed by its user, or excepted: repeating it would be against their will."""
        if not (node.is_excepted or node.is_killed):
            return None
        return self._give_up('ERROR_SEGMENT', node)

    def handle_complete_plan(self, node: orm.CalcJobNode) -> Handled | None:
        """Finish with a job that did all that was left of the plan."""
        if not node.is_finished_ok:
            return None
        self.ctx.finished = True
        return Handled()

    def handle_lost_atoms(self, node: orm.CalcJobNode) -> Handled | None:
        """End after atoms were lost: the same forces would throw them out again."""
        return self._give_up_if(node, 'ERROR_LOST_ATOMS')

    def handle_not_finite(self, node: orm.CalcJobNode) -> Handled | None:
        """End after energies or positions became nan: the same forces would give nan again."""
        return self._give_up_if(node, 'ERROR_NOT_FINITE')

    def handle_temperature_runaway(self, node: orm.CalcJobNode) -> Handled | None:
        """End after the temperature ran away: what follows it is not the material any more."""
        return self._give_up_if(node, 'ERROR_TEMPERATURE_RUNAWAY')

    def handle_model_deviation(self, node: orm.CalcJobNode) -> Handled | None:
        """End after the committee disagreed by more than the limit: the potential does not know where the run is."""
        return self._give_up_if(node, 'ERROR_MODEL_DEVIATION')

    def handle_disk_full(self, node: orm.CalcJobNode) -> Handled | None:
        """End after the disk of the computer was full: more jobs would only fill it again, and others' with it."""
        if not self._ended_as(node, 'ERROR_DISK_FULL'):
            return None
        folder = node.get_remote_workdir() or 'its work directory'
        return self._give_up('ERROR_DISK_FULL', node, computer=node.computer.label, folder=folder)

    def handle_walltime(self, node: orm.CalcJobNode) -> Handled | None:
        """Go on after a job that stopped itself before its time limit: this is how segments are meant to end."""
        if not self._ended_as(node, 'ERROR_OUT_OF_WALLTIME'):
            return None
        return self._go_on_or_repeat(node, 'stopped before its time limit')

    def handle_walltime_kill(self, node: orm.CalcJobNode) -> Handled | None:
        """Go on from the last periodic restart after the scheduler was faster than the job's own clock."""
        if not self._ended_as(node, 'ERROR_SCHEDULER_OUT_OF_WALLTIME'):
            return None
        return self._go_on_or_repeat(node, 'killed at its time limit')

    def handle_out_of_memory(self, node: orm.CalcJobNode) -> Handled | None:
        """Go on if the job got somewhere, since its neighbours may have taken the memory; else end.

        A job that never had room will not have it the next time either.
        """
        if not self._ended_as(node, 'ERROR_SCHEDULER_OUT_OF_MEMORY'):
            return None
        if self._progress(node) is None:
            return self._give_up('ERROR_OUT_OF_MEMORY', node)
        return self._go_on_or_repeat(node, 'out of memory')

    def handle_node_failure(self, node: orm.CalcJobNode) -> Handled | None:
        """Go on from the last periodic restart after a machine died; the next job gets another one, or a mended one."""
        if not self._ended_as(node, 'ERROR_SCHEDULER_NODE_FAILURE'):
            return None
        return self._go_on_or_repeat(node, 'its machine failed')

    def handle_kill(self, node: orm.CalcJobNode) -> Handled | None:
        """Go on from the last periodic restart after a job was killed: preempted, cancelled, or with its machine."""
        if not self._ended_as(node, 'ERROR_INTERRUPTED'):
            return None
        return self._go_on_or_repeat(node, 'interrupted')

    def handle_failed_start(self, node: orm.CalcJobNode) -> Handled | None:
        """Repeat a job that left nothing: a file system that did not answer leaves no more than a wrong program."""
        if not any(self._ended_as(node, label) for label in NOTHING_LEFT):
            return None
        return self._go_on_or_repeat(node, 'left nothing')

    def handle_refused_job(self, node: orm.CalcJobNode) -> Handled | None:
        """End after everything else: a refused model, an invalid account, output that is not whole."""
        return self._give_up('ERROR_SEGMENT', node)

    @staticmethod
    def _ended_as(node: orm.CalcJobNode, label: str) -> bool:
        return bool(node.exit_status == LammpsMdCalculation.exit_codes[label].status)

    @staticmethod
    def _message(node: orm.CalcJobNode) -> str:
        state = node.process_state.value if node.process_state else 'unknown'
        return node.exit_message or f'{state} with exit status {node.exit_status}'

    def _give_up_if(self, node: orm.CalcJobNode, label: str) -> Handled | None:
        return self._give_up(label, node) if self._ended_as(node, label) else None

    def _give_up(self, label: str, node: orm.CalcJobNode, **facts: Any) -> Handled:
        """End under the name of the failure; what was computed until then is attached."""
        code = self.exit_codes[label].format(message=self._message(node), **facts)
        self.report(
            f'job {len(self.ctx.segments)}, LammpsMdCalculation<{node.pk}>: {self._message(node)}; the run ends'
        )
        return Handled(code)

    def _progress(self, node: orm.CalcJobNode) -> dict[str, Any] | None:
        """Return the restart of a job that got further than where it started, else ``None``."""
        statistics = node.outputs.statistics.get_dict() if 'statistics' in node.outputs else {}
        restart = statistics.get('restart')
        before = self.ctx.resume
        if restart is None:
            return None
        if before is not None and (restart['stage'], restart['step']) == (before['stage'], before['step']):
            return None
        return dict(restart)

    def _go_on_or_repeat(self, node: orm.CalcJobNode, what: str) -> Handled:
        """Go on from the restart of a job, or run the job again from where it started, so many times."""
        said = f'job {len(self.ctx.segments)}, LammpsMdCalculation<{node.pk}>, {what}: {self._message(node)}'
        restart = self._progress(node)
        if restart is not None:
            self.ctx.failures = 0
            self.ctx.resume = restart
            self.ctx.parent_folder = node.outputs.remote_folder
            self.report(f'{said}; going on from step {restart["step"]} of stage {restart["stage"]}')
            return Handled()
        self.ctx.failures += 1
        # What a job without progress computed is computed again by the next one, and must not be joined twice.
        self.ctx.segments[-1] = None
        allowed = self.inputs.max_transient_failures.value
        if self.ctx.failures > allowed:
            self.report(f'{said}; it was repeated {allowed} times, the run ends')
            code = self.exit_codes.ERROR_NO_PROGRESS
            return Handled(code.format(count=self.ctx.failures, message=self._message(node)))
        self.report(f'{said}; running it again from where it started, {self.ctx.failures} of {allowed} times')
        return Handled()


#: Exit codes of jobs without so much as a first stage; AiiDA's own is that of a job whose files could not be fetched.
NOTHING_LEFT = ('ERROR_NO_LOG', 'ERROR_NO_STAGE', 'ERROR_NO_RETRIEVED_FOLDER')
