"""Let a run go on until the error of its number is as small as wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext

from aiida_softclay.calcfunctions.continuation import continue_run, continue_statistics, record_run_lengths
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.workflows.md import MdWorkChain

STAGE = 'production'
#: Outputs of a run, besides its trajectory, that hold a node for each stage.
SERIES = ('thermo', 'collective', 'averages')


class ExtensionMixin:
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

    def production(self) -> tuple[Any, orm.ArrayData]:
        """Return trajectory and time series of the production so far."""
        if 'joined' in self.ctx:
            return self.ctx.joined['trajectory'], self.ctx.joined['thermo']
        return self.ctx.md.outputs.trajectories[STAGE], self.ctx.md.outputs.thermo[STAGE]

    def centres(self) -> orm.ArrayData | None:
        """Return the centres of the elements that the program wrote in the production so far, if it did."""
        if 'joined' in self.ctx:
            return self.ctx.joined.get('collective')
        outputs = self.ctx.md.outputs
        return outputs.collective[STAGE] if 'collective' in outputs and STAGE in outputs.collective else None

    def inspect_md(self) -> Any:
        """Look at the first run; its outputs are attached when it is known whether more follow."""
        self.ctx.runs, self.ctx.analyses, self.ctx.extension_ps = [self.ctx.md], [], 0.0
        if self.is_steered and self.ctx.md.is_finished_ok and 'trajectories' in self.ctx.md.outputs:
            return None
        return super().inspect_md()

    def judge(self) -> Any:
        """Analyse the production so far and decide whether it goes on."""
        self.ctx.extension_ps = 0.0
        if not self.is_steered:
            return None
        self.ctx.analysis = None
        node = self.run_analysis()
        if not node.is_finished_ok:
            self._attach_runs()
            return self.exit_codes.ERROR_ANALYSIS.format(message=node.exit_message)
        self.ctx.analysis = node
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
        """Join the run to those before it; without it, the results are those of the runs before."""
        node = self.ctx.extension
        if not node.is_finished_ok:
            self.analyse()
            message = f'extension {len(self.ctx.runs)}: {node.exit_message or node.process_state}'
            if node.exit_status is not None and 500 <= node.exit_status < 600:
                return self.exit_codes.ERROR_UNPHYSICAL_RUN.format(message=message)
            return self.exit_codes.ERROR_MD.format(message=message)
        runs = [*self.ctx.runs, node]
        parts = {f'trajectory_{index:04d}': run.outputs.trajectories[STAGE] for index, run in enumerate(runs)}
        parts |= {
            f'{name}_{index:04d}': run.outputs[name][STAGE]
            for name in SERIES
            for index, run in enumerate(runs)
            if name in run.outputs and STAGE in run.outputs[name]
        }
        made, join = continue_run.run_get_node(**parts, metadata={'call_link_label': 'continue_run'})
        if not join.is_finished_ok:
            self._attach_runs()
            return self.exit_codes.ERROR_ANALYSIS.format(message=join.exit_message)
        self.ctx.runs, self.ctx.joined = runs, dict(made)
        return None

    def analyse(self) -> Any:
        """Attach the runs, if they are not yet, and turn them into numbers."""
        if self.is_steered:
            self._attach_runs()
            seams = {'seams': self.ctx.joined['seams']} if 'joined' in self.ctx else {}
            results = {f'results_{index:04d}': node for index, node in enumerate(self.ctx.analyses)}
            self.out('run_lengths', record_run_lengths(**results, **seams, metadata={'call_link_label': 'run_lengths'}))
        return super().analyse()

    def _attach_runs(self) -> None:
        """Attach the outputs of all runs as those of one: joined where there are several."""
        outputs = self.exposed_outputs(self.ctx.runs[0], MdWorkChain)
        if len(self.ctx.runs) > 1:
            outputs['trajectories'] = {**outputs['trajectories'], STAGE: self.ctx.joined['trajectory']}
            for name in SERIES:
                if name in outputs:
                    # Columns that not every run has are not those of the whole.
                    whole = {STAGE: self.ctx.joined[name]} if name in self.ctx.joined else {}
                    outputs[name] = {key: node for key, node in outputs[name].items() if key != STAGE} | whole
            last = self.ctx.runs[-1].outputs
            outputs['structure'], outputs['velocities'] = last.structure, last.velocities
            parts = {f'run_{index:04d}': run.outputs.statistics for index, run in enumerate(self.ctx.runs)}
            outputs['statistics'] = continue_statistics(
                orm.Str(STAGE), **parts, metadata={'call_link_label': 'continue_statistics'}
            )
        self.out_many(outputs)
