"""What an AIMD workchain does after a run: one handler for each way it can end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from aiida import orm
from aiida.engine import ExitCode

from aiida_softclay.calculations.aimd_plan import AimdRun


class Handled(NamedTuple):
    """A handler has taken care of a run; with an exit code the workchain ends."""

    exit_code: ExitCode | None = None


class AimdHandlersMixin:
    """Inspect the last run of an AIMD workchain.

    The handlers are asked in the order of :meth:`handlers`; the first one that knows the failure acts and reports what
    it did. Every constant they use is in ``defaults``.
    """

    ctx: Any
    inputs: Any
    defaults: Any
    exit_codes: Any
    report: Any
    _process_class: Any

    def handlers(self) -> tuple[Callable[[orm.CalcJobNode, AimdRun], Handled | None], ...]:
        """Return the handlers in the order in which they are asked."""
        return (
            self.handle_killed_process,
            self.handle_physical_failure,
            self.handle_electronic_trouble,
            self.handle_complete_run,
            self.handle_endless_repetition,
            self.handle_early_stop,
            self.handle_refused_input,
            self.handle_unusable_output,
        )

    def inspect_run(self) -> ExitCode | None:
        """Take over what the last run reached; queue what is left of it, repeat it, or give up."""
        calculation, run = self.ctx.runs[-1], AimdRun(**self.ctx.queue[0])
        self.ctx.attempts += 1
        for handler in self.handlers():
            handled = handler(calculation, run)
            if handled is not None:
                return handled.exit_code
        return None

    def handle_killed_process(self, calculation: orm.CalcJobNode, run: AimdRun) -> Handled | None:
        """End after a process that was killed by its user or excepted: repeating it would be against their will."""
        if not (calculation.is_excepted or calculation.is_killed):
            return None
        return self._give_up('ERROR_RUN_FAILED', calculation, run)

    def handle_physical_failure(self, calculation: orm.CalcJobNode, run: AimdRun) -> Handled | None:
        """End after an explosion, a collapse or boiling, under its own name: the same run would fail again."""
        labels = (
            'ERROR_NOT_FINITE', 'ERROR_TEMPERATURE_RUNAWAY', 'ERROR_VOLUME_COLLAPSE', 'ERROR_VOLUME_EXPANSION'
        )  # fmt: skip
        label = next((label for label in labels if self._ended_as(calculation, label)), None)
        return None if label is None else self._give_up(label, calculation, run)

    def handle_electronic_trouble(self, calculation: orm.CalcJobNode, run: AimdRun) -> Handled | None:
        """Change the minimiser after too many steps without electronic convergence, or after it broke down.

        Once in a segment the piece is repeated with a more robust ALGO and a larger NELM, which change how the ground
        state is found and not which it is; the rest of the segment keeps them. Then it fails by name.
        """
        broke_down = self._ended_as(calculation, 'ERROR_ELECTRONIC_BREAKDOWN')
        labels = ('WARNING_ELECTRONIC_NOT_CONVERGED', 'ERROR_ELECTRONIC_NOT_CONVERGED')
        if not broke_down and not any(self._ended_as(calculation, label) for label in labels):
            return None
        if self.ctx.remedy_segment == run.segment:
            return self._give_up('ERROR_ELECTRONIC_NOT_CONVERGED', calculation, run)
        self.ctx.remedy_segment = run.segment
        tags = self.electronic_remedy()
        again = f'repeating it with ALGO = {tags["algo"]}, NELM = {tags["nelm"]}'
        if broke_down:
            # What lies before the breakdown converged and is kept.
            self._continue(calculation, run)
            again = f'going on with ALGO = {tags["algo"]}, NELM = {tags["nelm"]}'
        self.report(f'{run.segment}: {self._message(calculation)}; {again}')
        return Handled()

    def electronic_remedy(self) -> dict[str, Any]:
        """Return the INCAR tags of the remedy for electronic trouble."""
        tags = {key.lower(): value for key, value in self.inputs.incar.get_dict().items()}
        algorithm = str(tags.get('algo', 'Normal')).lower()
        return {
            'algo': self.defaults.robust_algo.get(algorithm, self.defaults.robust_algo_otherwise),
            'nelm': int(self.defaults.nelm_factor * int(tags.get('nelm', self.defaults.nelm_of_vasp))),
        }

    def handle_complete_run(self, calculation: orm.CalcJobNode, run: AimdRun) -> Handled | None:
        """Take over a run with all its steps: the next piece of the plan starts from its end."""
        if calculation.exit_status != 0:
            return None
        self._take_over(calculation)
        self.ctx.queue = self.ctx.queue[1:]
        self.ctx.attempts = 0
        if not any(left['segment'] == run.segment for left in self.ctx.queue):
            self.ctx.ends = {**self.ctx.ends, run.segment: [self.ctx.structure, self.ctx.velocities]}
        return Handled()

    def handle_endless_repetition(self, calculation: orm.CalcJobNode, run: AimdRun) -> Handled | None:
        """Give up after ``max_iterations`` runs that hardly got anywhere."""
        done = self._steps_done(calculation)
        if done >= self.defaults.least_progress * run.n_steps:
            # A walltime that holds a tenth of a piece is slow, not stuck.
            self.ctx.attempts = 0
        if self.ctx.attempts < self.inputs.max_iterations.value:
            return None
        message = self._message(calculation)
        code = self.exit_codes.ERROR_TOO_MANY_RUNS.format(segment=run.segment, count=self.ctx.attempts, message=message)
        self.attach_frames()
        return Handled(code)

    def handle_early_stop(self, calculation: orm.CalcJobNode, run: AimdRun) -> Handled | None:
        """Go on from the last state that was written, after walltime, STOPCAR, a killed job or a dead machine."""
        labels = ('ERROR_STOPPED_EARLY', 'ERROR_INTERRUPTED', 'ERROR_FINAL_STATE_LOST')
        if not any(self._ended_as(calculation, label) for label in labels):
            return None
        self._continue(calculation, run)
        left = AimdRun(**self.ctx.queue[0])
        self.report(f'{run.segment}: {self._message(calculation)}; going on from step {left.start}')
        return Handled()

    def handle_refused_input(self, calculation: orm.CalcJobNode, run: AimdRun) -> Handled | None:
        """End after two refusals of the input; one may be a machine that was not well."""
        if not self._ended_as(calculation, 'ERROR_PROGRAM_STOPPED') or self.ctx.attempts < 2:
            return None
        return self._give_up('ERROR_RUN_FAILED', calculation, run)

    def handle_unusable_output(self, calculation: orm.CalcJobNode, run: AimdRun) -> Handled | None:
        """Repeat the run from the same start if its output is missing or unreadable, or the scheduler gave up."""
        self.report(f'{run.segment}: {self._message(calculation)}; repeating the run')
        return Handled()

    def _ended_as(self, calculation: orm.CalcJobNode, label: str) -> bool:
        return calculation.exit_status == self._process_class.exit_codes[label].status

    @staticmethod
    def _message(calculation: orm.CalcJobNode) -> str:
        state = calculation.process_state.value if calculation.process_state else 'unknown'
        return calculation.exit_message or f'{state} with exit status {calculation.exit_status}'

    @staticmethod
    def _steps_done(calculation: orm.CalcJobNode) -> int:
        """Return the steps that can be continued from: none without a final state."""
        if 'structure' not in calculation.outputs:
            return 0
        return int(calculation.outputs.statistics.get_dict()['steps_done'])

    def _take_over(self, calculation: orm.CalcJobNode) -> None:
        self.ctx.structure = calculation.outputs.structure
        self.ctx.velocities = calculation.outputs.velocities
        self.ctx.finished = [*self.ctx.finished, len(self.ctx.runs) - 1]

    def _continue(self, calculation: orm.CalcJobNode, run: AimdRun) -> None:
        """Take over a part of a run and queue the rest."""
        self._take_over(calculation)
        self.ctx.queue = [run.after(self._steps_done(calculation)).as_dict(), *self.ctx.queue[1:]]

    def _give_up(self, label: str, calculation: orm.CalcJobNode, run: AimdRun) -> Handled:
        """End under the name of the failure; frames of the runs before it are not lost."""
        self.attach_frames()
        return Handled(
            self.exit_codes[label].format(segment=run.segment, pk=calculation.pk, message=self._message(calculation))
        )

    def attach_frames(self) -> int:
        """Put the frames of all runs that were taken over into the outputs and return their number."""
        total = 0
        for index in self.ctx.finished:
            outputs = self.ctx.runs[index].outputs
            if 'frames' in outputs:
                self.out(f'frames.run_{index:03d}', outputs.frames)
                total += outputs.frames.n_frames
        return total

    out: Any
