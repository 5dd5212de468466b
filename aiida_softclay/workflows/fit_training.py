"""Train over as many jobs as the wall time asks for: what is done when a job ends before the training does."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import CalcJob, ToContext

from aiida_softclay.calculations.dp_train import DpTrainCalculation, parent_problem

from .protocol import recursive_merge


class TrainingMixin:
    """The part of a fit that trains: one learning curve and one schedule over any number of jobs.

    Every job goes on from the last checkpoint of the one before it, with the same number of steps, since learning rate
    and loss are functions of the step over that number. A job that is lost without having got further is repeated once.
    """

    defaults = AttributeDict({
        # How many checkpoints a job should write before its wall time, where one was too short for the first.
        'checkpoints_before_cut': 3,
        # How often in a row a job may end without a new checkpoint and be submitted again.
        'max_repeats': 1,
    })  # fmt: skip

    @classmethod
    def define_training(cls, spec: Any) -> None:
        """Declare the ways a training can end for good."""
        spec.exit_code(
            221, 'ERROR_CHECKPOINT', message='the training cannot go on from the given checkpoint: {message}'
        )
        spec.exit_code(310, 'ERROR_TRAINING_FAILED', message='the training failed: {message}')
        spec.exit_code(
            400, 'ERROR_TRAINING_UNFINISHED',
            message='the training is at step {step} of {planned} after {jobs} jobs: raise max_iterations or the wall '
            'time, and go on from the output remote_folder',
        )  # fmt: skip
        spec.exit_code(
            401, 'ERROR_NO_PROGRESS',
            message='the training ended twice without a new checkpoint (step {step}): give more wall time or lower '
            'deepmd.training.save_freq',
        )  # fmt: skip
        spec.exit_code(
            410, 'ERROR_OUT_OF_RESOURCES',
            message='the training ran out of memory or disk: {message}; ask for more, or lower '
            'deepmd.training.training_data.batch_size',
        )  # fmt: skip
        spec.exit_code(500, 'ERROR_LOSS_DIVERGED', message='the training is of no use: {message}')

    def setup_training(self) -> None:
        """Begin at nothing, or at a given checkpoint."""
        self.ctx.jobs = 0
        self.ctx.trained = False
        self.ctx.repeats = 0
        self.ctx.save_freq = None
        #: Trainings with checkpoints, the latest last: an older one is the way out if a folder is gone.
        self.ctx.parents = []
        self.ctx.checkpoint_step = -1

    def should_train(self) -> bool:
        """Return whether steps are left."""
        return not self.ctx.trained

    def _start(self) -> tuple[orm.RemoteData | None, str | None]:
        """Return the folder to go on from and the name of its checkpoint."""
        if self.ctx.parents:
            parent = self.ctx.parents[-1]
            return parent.outputs.remote_folder, parent.outputs.statistics['checkpoint']
        if 'parent_folder' not in self.inputs:
            return None, None
        folder = self.inputs.parent_folder
        creator = folder.creator
        known = creator is not None and 'statistics' in creator.outputs
        return folder, creator.outputs.statistics.get('checkpoint', None) if known else None

    def run_training(self) -> Any:
        """Train, from scratch or from the last checkpoint."""
        builder = self._builder(DpTrainCalculation, f'train_{self.ctx.jobs}')
        extra = self.ctx.parameters.get('training_options') or {}
        builder.metadata.options = recursive_merge(self.ctx.options, dict(extra))
        if self.ctx.parameters.get('device'):
            builder.device = orm.Str(self.ctx.parameters.device)
        builder.training_frames = self.ctx.frames.training
        builder.validation_frames = self.ctx.frames.validation
        deepmd = self.inputs.parameters.get_dict()['deepmd']
        if self.ctx.save_freq is not None:
            deepmd['training']['save_freq'] = self.ctx.save_freq
        builder.parameters = orm.Dict(deepmd)
        folder, checkpoint = self._start()
        if folder is not None:
            problem = parent_problem(deepmd, builder.backend.value, folder, self.ctx.frames.training)
            if problem:
                return self.exit_codes.ERROR_CHECKPOINT.format(message=problem)
            builder.parent_folder = folder
            if checkpoint:
                builder.checkpoint = orm.Str(checkpoint)
        self.ctx.jobs += 1
        running = self.submit(builder)
        start = 'from scratch' if folder is None else f'from {checkpoint or "the latest checkpoint"}'
        self.report(f'training {start}: launched <{running.pk}>')
        return ToContext(train=running)

    def inspect_training(self) -> Any:
        """Go on to the model, continue from the checkpoint, repeat what was lost, or give up with the reason."""
        train, codes = self.ctx.train, DpTrainCalculation.exit_codes
        if train.is_finished_ok:
            self.ctx.trained = True
            self._attach_training()
            self.report(f'trained {train.outputs.statistics["last_step"]} steps in {self.ctx.jobs} jobs')
            return None
        status = train.exit_status
        if status == codes.ERROR_STOPPED_WITH_CHECKPOINT.status:
            return self._continue_training()
        if status == codes.ERROR_STOPPED_BEFORE_CHECKPOINT.status:
            return self._repeat_training('it ended before its first checkpoint')
        if status == codes.ERROR_CHECKPOINT_GONE.status:
            return self._go_back()
        lost = (
            codes.ERROR_NO_OUTPUT, CalcJob.exit_codes.ERROR_NO_RETRIEVED_FOLDER,
            CalcJob.exit_codes.ERROR_SCHEDULER_NODE_FAILURE,
        )  # fmt: skip
        if status in [code.status for code in lost]:
            return self._repeat_training('it was lost without output')
        self._attach_training()
        message = train.exit_message or f'exit status {status}'
        if status == codes.ERROR_LOSS_NOT_FINITE.status:
            return self.exit_codes.ERROR_LOSS_DIVERGED.format(message=message)
        if status in (codes.ERROR_OUT_OF_MEMORY.status, codes.ERROR_DISK_FULL.status):
            return self.exit_codes.ERROR_OUT_OF_RESOURCES.format(message=message)
        if status == codes.ERROR_OTHER_TRAINING.status:
            return self.exit_codes.ERROR_CHECKPOINT.format(message=message)
        return self.exit_codes.ERROR_TRAINING_FAILED.format(message=message)

    def _attach_training(self) -> None:
        """Attach what there is of the training, so that a curve tells why it failed and a folder where to go on."""
        train = self.ctx.train
        if 'learning_curve' in train.outputs:
            self.out('learning_curve', train.outputs.learning_curve)
        if 'statistics' in train.outputs:
            self.out('training', train.outputs.statistics)
        holder = train if train.is_finished_ok else (self.ctx.parents or [None])[-1]
        if holder is not None:
            self.out('remote_folder', holder.outputs.remote_folder)

    def _continue_training(self) -> Any:
        """Go on from the new checkpoint; a job that left none is repeated."""
        train = self.ctx.train
        facts = train.outputs.statistics.get_dict()
        step = facts['checkpoint_step'] or 0
        if step <= self.ctx.checkpoint_step or self._is_given(facts['checkpoint']):
            return self._repeat_training('it left no new checkpoint')
        self.ctx.parents = [*self.ctx.parents, train]
        self.ctx.checkpoint_step, self.ctx.repeats = step, 0
        self.report(f'stopped at step {facts["last_step"]} of {facts["steps_planned"]}: continuing from {step}')
        return self._out_of_jobs()

    def _is_given(self, checkpoint: str) -> bool:
        """Return whether a checkpoint is only the copy of the one that the first job began with."""
        return not self.ctx.parents and checkpoint == self._start()[1]

    def _out_of_jobs(self) -> Any:
        if self.ctx.jobs < self.ctx.parameters.get('max_iterations', 1):
            return None
        self._attach_training()
        facts = self.ctx.train.outputs.statistics.get_dict() if 'statistics' in self.ctx.train.outputs else {}
        return self.exit_codes.ERROR_TRAINING_UNFINISHED.format(
            step=facts.get('last_step'), planned=facts.get('steps_planned'), jobs=self.ctx.jobs
        )

    def _repeat_training(self, why: str) -> Any:
        """Submit the same job once more, since nodes fail; after that it is no accident.

        Where the wall time was shorter than the way to the next checkpoint, the same job would end in the same place:
        then checkpoints are written more often, which changes neither the model nor the schedule.
        """
        facts = self.ctx.train.outputs.statistics.get_dict() if 'statistics' in self.ctx.train.outputs else {}
        if self.ctx.repeats >= self.defaults.max_repeats:
            self._attach_training()
            return self.exit_codes.ERROR_NO_PROGRESS.format(step=max(self.ctx.checkpoint_step, 0))
        self.ctx.repeats += 1
        action = 'once more'
        done = (facts.get('last_step') or 0) - max(self.ctx.checkpoint_step, 0)
        if facts.get('stopped_before_walltime') and done >= self.defaults.checkpoints_before_cut:
            self.ctx.save_freq = done // self.defaults.checkpoints_before_cut
            action = f'again, with a checkpoint every {self.ctx.save_freq} steps'
        self.report(f'training <{self.ctx.train.pk}>: {why}; it is submitted {action}')
        return self._out_of_jobs()

    def _go_back(self) -> Any:
        """Go on from the checkpoint before, or from scratch, if the folder of the last one was emptied."""
        message = self.ctx.train.exit_message
        if not self.ctx.parents:
            return self.exit_codes.ERROR_CHECKPOINT.format(message=message)
        self.ctx.parents = self.ctx.parents[:-1]
        step = self.ctx.parents[-1].outputs.statistics['checkpoint_step'] if self.ctx.parents else None
        self.ctx.checkpoint_step = -1 if step is None else step
        self.report(f'{message}; going back to {"the start" if step is None else f"step {step}"}')
        return self._out_of_jobs()
