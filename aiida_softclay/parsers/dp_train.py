"""Parser of a training: learning curve, versions, timings and where to continue."""

from __future__ import annotations

import json
from typing import Any

from aiida import orm
from aiida.engine import ExitCode

from .dp_base import DpParser
from .dp_files import LearningCurve, UnreadableError, checkpoint_step, read_checkpoint_name, read_learning_curve


class DpTrainParser(DpParser):
    """Read one training job, complete or cut."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Return ``None`` for a finished training, else the exit code of the way it ended."""
        log, curve_text = self.log, self.text('lcurve.out')
        if not log and not curve_text:
            return self.resource_failure() or self.exit_codes.ERROR_NO_OUTPUT
        parameters = self.node.inputs.parameters.get_dict()
        planned = int(parameters['training']['numb_steps'])
        checkpoint = read_checkpoint_name(self.text('checkpoint'))
        curve, problem = None, ''
        try:
            curve = read_learning_curve(curve_text.splitlines(keepends=True))
        except UnreadableError as error:
            problem = str(error)
        facts = self.log_facts(log)
        bad_step = facts.pop('nan_step')
        facts.update(
            steps_planned=planned,
            last_step=curve.last_step if curve else None,
            n_restarts=curve.n_restarts if curve else 0,
            checkpoint=checkpoint,
            checkpoint_step=checkpoint_step(checkpoint),
            sel=self.selected_neighbours(),
            stopped_before_walltime=self.was_cut,
        )
        self.out_statistics(facts)
        if curve is not None:
            self.out('learning_curve', self.curve_node(curve))
            bad_step = curve.first_bad_step if bad_step is None else bad_step
        if bad_step is not None:
            return self.exit_codes.ERROR_LOSS_NOT_FINITE.format(step=bad_step)
        failure = self.resource_failure(log)
        if failure is not None:
            return failure
        if not facts['finished']:
            return self.interrupted(curve, checkpoint, planned, log)
        if curve is None:
            return self.exit_codes.ERROR_NO_LEARNING_CURVE.format(reason=problem)
        if checkpoint is None:
            return self.exit_codes.ERROR_NO_CHECKPOINT
        return None

    def interrupted(self, curve: LearningCurve | None, checkpoint: str | None, planned: int, log: str) -> ExitCode:
        """Return the exit code of a training that did not finish."""
        # An error of the program itself would come again: only a run that was ended from outside is worth continuing.
        if 'Traceback (most recent call last)' in log:
            return self.stopped(log)
        if curve is None and checkpoint is None and not self.was_cut:
            return self.stopped(log)
        step = curve.last_step if curve else 0
        if checkpoint is None:
            return self.exit_codes.ERROR_STOPPED_BEFORE_CHECKPOINT.format(step=step, planned=planned)
        return self.exit_codes.ERROR_STOPPED_WITH_CHECKPOINT.format(step=step, planned=planned, checkpoint=checkpoint)

    def selected_neighbours(self) -> Any:
        """Return ``sel`` as DeePMD used it, which settles `auto`."""
        try:
            return json.loads(self.text('out.json'))['model']['descriptor']['sel']
        except (json.JSONDecodeError, KeyError, TypeError):
            return None

    @staticmethod
    def curve_node(curve: LearningCurve) -> orm.ArrayData:
        """Return the learning curve as a node."""
        node = orm.ArrayData()
        for name, array in curve.arrays.items():
            node.set_array(name, array)
        node.base.attributes.set('units', curve.units())
        node.base.attributes.set('n_restarts', curve.n_restarts)
        return node
