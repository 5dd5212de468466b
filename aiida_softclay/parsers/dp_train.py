"""Parser of a training: learning curve, versions, timings and where to continue."""

from __future__ import annotations

import json
from typing import Any

from aiida import orm
from aiida.engine import ExitCode

from aiida_softclay.calculations.dp_checkpoint import (
    MODEL_FILE,
    PARENT_INPUT,
    PARENT_MODEL_FILE,
    completed_inputs_problem,
    differences,
)

from .dp_base import DpParser
from .dp_files import (
    LearningCurve,
    UnreadableError,
    checkpoint_failure,
    checkpoint_step,
    read_checkpoint_name,
    read_learning_curve,
)


class DpTrainParser(DpParser):
    """Read one training job, complete or cut."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Return ``None`` for a finished training, else the exit code of the way it ended."""
        log, curve_text = self.log, self.text('lcurve.out')
        refusal = self.without_gpu() or self.refusal()
        if refusal is not None:
            return refusal
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
            checkpoint_step=self.step_of(checkpoint, curve),
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
        crawling = self.not_on_gpu(facts)
        if crawling is not None:
            return crawling
        other = self.other_training()
        if other is not None:
            return other
        if not facts['finished']:
            return self.interrupted(curve, checkpoint, planned, log)
        if curve is None:
            return self.exit_codes.ERROR_NO_LEARNING_CURVE.format(reason=problem)
        if checkpoint is None:
            return self.exit_codes.ERROR_NO_CHECKPOINT
        return None

    def interrupted(self, curve: LearningCurve | None, checkpoint: str | None, planned: int, log: str) -> ExitCode:
        """Return the exit code of a training that did not finish."""
        broken = checkpoint_failure(log)
        if broken is not None:
            kind, line = broken
            if kind == 'other':
                return self.exit_codes.ERROR_OTHER_TRAINING.format(reason=line)
            wanted = self.node.inputs.checkpoint.value if 'checkpoint' in self.node.inputs else 'model.ckpt'
            return self.exit_codes.ERROR_CHECKPOINT_GONE.format(checkpoint=wanted, reason=line)
        # An error of the program itself would come again: only a run that was ended from outside is worth continuing.
        if 'Traceback (most recent call last)' in log:
            return self.stopped(log)
        if curve is None and checkpoint is None and not self.was_cut:
            return self.stopped(log)
        step = curve.last_step if curve else 0
        if checkpoint is None:
            return self.exit_codes.ERROR_STOPPED_BEFORE_CHECKPOINT.format(step=step, planned=planned)
        return self.exit_codes.ERROR_STOPPED_WITH_CHECKPOINT.format(step=step, planned=planned, checkpoint=checkpoint)

    def refusal(self) -> ExitCode | None:
        """Return the exit code of a job that ended itself before dp, since the checkpoint is of another training."""
        if PARENT_MODEL_FILE not in self.text('REFUSED'):
            return None
        try:
            own = json.loads(self.node.base.repository.get_object_content(MODEL_FILE))
            found = differences(own, json.loads(self.text(PARENT_MODEL_FILE)))
        except (OSError, json.JSONDecodeError):
            found = []
        reason = '; '.join(found[:4]) or 'the descriptions of the two models differ'
        return self.exit_codes.ERROR_OTHER_TRAINING.format(reason=reason)

    def not_on_gpu(self, facts: dict[str, Any]) -> ExitCode | None:
        """Return an exit code if dp computed on the CPU of a machine with a GPU, and would do so in the next job too.

        Its build of TensorFlow or PyTorch may find no CUDA; then it goes on without a word, tens of times slower.
        """
        device = str(facts.get('device', ''))
        wanted = self.node.inputs.device.value if 'device' in self.node.inputs else None
        if wanted != 'gpu' or not device.upper().startswith('CPU') or facts['finished']:
            return None
        return self.exit_codes.ERROR_NO_GPU.format(
            reason=f'there is one, but dp computed on {device}: does its installation fit the CUDA of the machine?'
        )

    def other_training(self) -> ExitCode | None:
        """Return an exit code if dp went on from the checkpoint of another model without a word.

        It does, for example, if only the order of the type map differs. Folders of our own trainings are checked before
        dp starts; of others there is the input as dp completed it.
        """
        if self.text(PARENT_MODEL_FILE):
            return None
        found = completed_inputs_problem(self.text('out.json'), self.text(PARENT_INPUT))
        return self.exit_codes.ERROR_OTHER_TRAINING.format(reason=found) if found else None

    def step_of(self, checkpoint: str | None, curve: LearningCurve | None) -> int | None:
        """Return the step of a checkpoint; where its name does not tell (JAX), the last at which one was due."""
        step = checkpoint_step(checkpoint)
        if checkpoint is None or step is not None or curve is None:
            return step
        every = int(self.node.inputs.parameters['training'].get('save_freq', 1000))
        return curve.last_step // every * every

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
