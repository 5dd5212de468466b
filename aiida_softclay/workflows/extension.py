"""Let a run go on until the error of its number is as small as wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext

from aiida_softclay.calcfunctions.continuation import continue_statistics, record_run_lengths
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.joined_runs import STAGE, JoinedRunsMixin
from aiida_softclay.workflows.md import MdWorkChain
from aiida_softclay.workflows.trajectory_analyses import trajectory_of


class ExtensionMixin(JoinedRunsMixin):
    """Extend the production of an experiment by runs that start from its last structure and velocities.

    Positions and velocities at a seam are those at the end of the run before, which is checked; the Nosé–Hoover
    thermostat starts anew with zero velocity of its own, as it does at the start of every stage, and forgets that
    within a few of its relaxation times. Each run is analysed together with all before it, and the results of the
    analysis hold the decision (:func:`~aiida_softclay.analysis.run_length.judge_run_length`).
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define the record."""
        super().define(spec)
        spec.output(
            'run_lengths', valid_type=orm.Dict, required=False,
            help='Where an error is wanted: value, error and decision after each run, and how the runs meet.',
        )  # fmt: skip

    @staticmethod
    def whole_frames(parameters: Mapping[str, Any], duration_ps: float) -> float:
        """Return a duration of whole strides of the trajectory, so that a run ends with a frame."""
        stride = parameters['dump_every'] * parameters['timestep_ps']
        return max(1, math.ceil(duration_ps / stride - 1e-6)) * stride

    @property
    def is_steered(self) -> bool:
        """Whether an error is wanted, and not a length."""
        return self.ctx.parameters['relative_error_wanted'] is not None

    def setup(self) -> None:
        """Start without extensions."""
        super().setup()
        self.ctx.runs, self.ctx.analyses, self.ctx.extension_ps = [], [], 0.0
        # What ended the last extension before its time: the label of the exit code and its message.
        self.ctx.broken = None

    def inspect_md(self) -> Any:
        """Look at the first run; its outputs are attached when it is known whether more follow."""
        self.ctx.runs = [self.ctx.md]
        if self.is_steered and self.ctx.md.is_finished_ok and trajectory_of(self.ctx.md, STAGE) is not None:
            return None
        return super().inspect_md()

    def judge(self) -> Any:
        """Decide whether the production goes on, by the analysis of what there is of it."""
        self.ctx.extension_ps = 0.0
        if not self.is_steered or self.ctx.broken:
            return None
        node = self.ctx.analysis
        if not node.is_finished_ok:
            self.attach_runs()
            return self.exit_codes.ERROR_ANALYSIS.format(message=message_of(node))
        self.ctx.analyses.append(node.outputs.results)
        decision = node.outputs.results['context']['run_length']
        self.ctx.extension_ps = decision['extension_ps']
        self.report(decision['reason'])
        return None

    def should_extend(self) -> bool:
        """Return whether the run goes on."""
        return self.ctx.extension_ps > 0

    def extend(self) -> Any:
        """Submit the next run, from where the last one ended."""
        parameters, last = self.ctx.parameters, self.ctx.runs[-1]
        first = self.build_plan(parameters)
        stage = first.stage(STAGE).model_copy(
            update={'duration_ps': self.whole_frames(parameters, self.ctx.extension_ps)}
        )
        plan = MdPlan.from_dict({**first.to_dict(), 'stages': [stage.model_dump(mode='json')]})
        inputs = AttributeDict(self.exposed_inputs(MdWorkChain))
        inputs.plan = orm.Dict(plan.to_dict())
        inputs.structure, inputs.velocities = last.outputs.structure, last.outputs.velocities
        number = len(self.ctx.runs)
        inputs.metadata = {'call_link_label': f'md_extension_{number}', 'label': f'{self._title}, extension {number}'}
        node = self.submit(MdWorkChain, **inputs)
        self.report(f'extension {number}: {plan.total_duration_ps:g} ps, MdWorkChain<{node.pk}>')
        return ToContext(extension=node)

    def inspect_extension(self) -> Any:
        """Start joining the run to those before it; without it, the results are those of the runs before."""
        node = self.ctx.extension
        if not node.is_finished_ok:
            physics = node.exit_status is not None and 500 <= node.exit_status < 600
            label = 'ERROR_UNPHYSICAL_RUN' if physics else 'ERROR_MD'
            self.ctx.broken = (label, f'extension {len(self.ctx.runs)}: {message_of(node)}')
            return None
        if trajectory_of(node, STAGE) is None:
            self.ctx.broken = ('ERROR_FRAMES_STAY', '')
            return None
        return self.keep(join=self.start_join([*self.ctx.runs, node]))

    def inspect_join(self) -> Any:
        """Take the joined run, if its parts fit."""
        if self.ctx.broken:
            return None
        if not self.ctx.join.is_finished_ok:
            self.attach_runs()
            return self.exit_codes.ERROR_ANALYSIS.format(message=message_of(self.ctx.join))
        self.ctx.runs = [*self.ctx.runs, self.ctx.extension]
        self.ctx.joined = self.joined_parts(self.ctx.join)
        return None

    def analyse_longer(self) -> Any:
        """Analyse all runs together, if there is one more."""
        return None if self.ctx.broken else self.analyse()

    def attach_all(self) -> None:
        """Attach the runs, if they are not yet, and what was decided after each."""
        if not self.is_steered:
            return
        self.attach_runs()
        seams = {'seams': self.ctx.joined['seams']} if 'joined' in self.ctx else {}
        results = {f'results_{index:04d}': node for index, node in enumerate(self.ctx.analyses)}
        self.out('run_lengths', record_run_lengths(**results, **seams, metadata={'call_link_label': 'run_lengths'}))

    def attach_runs(self) -> None:
        """Attach the outputs of all runs as those of one: joined where there are several."""
        outputs = self.exposed_outputs(self.ctx.runs[0], MdWorkChain)
        if len(self.ctx.runs) > 1:
            self.put_joined(outputs)
            last = self.ctx.runs[-1].outputs
            outputs['structure'], outputs['velocities'] = last.structure, last.velocities
            parts = {f'run_{index:04d}': run.outputs.statistics for index, run in enumerate(self.ctx.runs)}
            outputs['statistics'] = continue_statistics(
                orm.Str(STAGE), **parts, metadata={'call_link_label': 'continue_statistics'}
            )
        self.out_many(outputs)

    def conclude(self) -> Any:
        """Say what a careful reader must know, and end as the last extension did."""
        super().conclude()
        if not self.ctx.broken:
            return None
        label, message = self.ctx.broken
        return self.exit_codes[label].format(message=message)
