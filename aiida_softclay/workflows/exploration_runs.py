"""The exploration runs of concurrent learning: one for every structure and condition, driven by a committee."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict

from aiida_softclay.calcfunctions.selection import DEVIATION, TRAJECTORY
from aiida_softclay.data.left_out import first_missing_file
from aiida_softclay.workflows.concurrency import BoundedBranchesMixin
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.exploration import (
    STAGE,
    exploration_plan,
    labels_problem,
    parameters_problem,
    run_names,
)
from aiida_softclay.workflows.md import MdWorkChain
from aiida_softclay.workflows.ports import given_options

#: Ends of an exploration run that are the potential's fault: what was reached before counts, the rest has failed.
EXPLODED = ('ERROR_LOST_ATOMS', 'ERROR_NOT_FINITE', 'ERROR_TEMPERATURE_RUNAWAY')


def validate_parameters(value: orm.Dict, _: Any) -> str | None:
    """Return a sentence if the parameters make no sense."""
    return parameters_problem(value.get_dict())


def validate_inputs(inputs: AttributeDict, _: Any) -> str | None:
    """Return a sentence if the inputs contradict each other."""
    if 'parameters' not in inputs:
        return None
    frames, structures = inputs.get('frames', {}), inputs.get('structures', {})
    problem = labels_problem(frames, 'the name of frames is') or labels_problem(structures, 'the label of a structure')
    if problem:
        return problem
    if not frames or not structures:
        return 'give at least one node of labelled frames to begin with, and one structure to explore from'
    if problem := first_missing_file(frames):
        return problem
    reserved = [name for name in frames if name.startswith('generation_')]
    if reserved:
        return f'frames cannot be called {", ".join(reserved)}: this is what the frames of the generations are called'
    conditions = inputs['parameters'].get_dict()['exploration']['conditions']
    if len(run_names(structures, conditions)) < len(structures) * len(conditions):
        return 'two exploration runs would have the same name: rename a structure or a condition'
    known = {element for node in frames.values() for element in node.elements}
    for label, structure in structures.items():
        missing = sorted(set(structure.get_symbols_set()) - known)
        if missing:
            return f'the structure {label} has {", ".join(missing)}, of which no labelled frame tells anything'
    return None


class ExplorationRunsMixin(BoundedBranchesMixin):
    """Explore from every structure at every condition, in bounded waves of ``softclay.md``.

    The workchain has the inputs ``codes.lmp`` and ``structures``, ``generation`` and ``parameters`` in its context, and
    the method :meth:`committee_potentials`.
    """

    def queue_exploration(self) -> None:
        """Queue a run for every structure and condition."""
        self.ctx.runs = run_names(self.inputs.structures, self.ctx.parameters.exploration.conditions)
        self.queue_branches(self.ctx.runs, self.ctx.limit)

    def run_plan(self, name: str) -> Any:
        """Return the plan of one exploration run of this generation."""
        parameters = self.ctx.parameters
        conditions = {condition['label']: condition for condition in parameters.exploration.conditions}
        number = self.ctx.generation * len(self.ctx.runs) + sorted(self.ctx.runs).index(name)
        return exploration_plan(
            parameters.exploration,
            conditions[self.ctx.runs[name][1]],
            self.ctx.generation,
            parameters.seed + number + 1,
        )

    def build_branch(self, name: str) -> Any:
        """Return the builder of one exploration run."""
        potentials = self.committee_potentials()
        first, *others = potentials
        builder = MdWorkChain.get_builder_from_protocol(
            self.inputs.codes.lmp,
            self.inputs.structures[self.ctx.runs[name][0]],
            self.run_plan(name),
            potential=potentials[first],
            committee={other: potentials[other] for other in others},
            options=given_options(self.inputs).get('lmp'),
        )
        builder.metadata.call_link_label = f'explore_{self.ctx.generation:03d}_{name}'
        return builder

    def explored(self) -> tuple[dict[str, Any], dict[str, orm.Data], list[str]]:
        """Return the description of the runs, their trajectories and deviations, and the messages of lost runs."""
        conditions = {condition['label']: dict(condition) for condition in self.ctx.parameters.exploration.conditions}
        exploded = {MdWorkChain.exit_codes[name].status for name in EXPLODED}
        runs, nodes, messages = {}, {}, []
        for name, (structure, condition) in self.ctx.runs.items():
            process = self.branch(name)
            failure = process.exit_message if process.exit_status in exploded else None
            runs[name] = {
                'structure': structure, 'condition': conditions[condition], 'process': process.uuid,
                'n_planned': self.run_plan(name).stage_frames(STAGE), 'failure': failure,
                'exit_status': process.exit_status,
            }  # fmt: skip
            if not process.is_finished_ok and failure is None:
                messages.append(f'{name} ({message_of(process)})')
            for prefix, namespace in ((TRAJECTORY, 'trajectories'), (DEVIATION, 'model_deviation')):
                if namespace in process.outputs and STAGE in process.outputs[namespace]:
                    nodes[prefix + name] = process.outputs[namespace][STAGE]
        return runs, nodes, messages
