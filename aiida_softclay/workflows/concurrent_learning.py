"""Concurrent learning: train a committee, explore, label what it disagrees about, until it agrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, WorkChain, if_, while_
from aiida.plugins import DataFactory

from aiida_softclay.analysis.selection import learning_state
from aiida_softclay.calcfunctions.selection import (
    DEVIATION,
    SELECTED,
    record_generation,
    select_candidates,
    summarise_learning,
)
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.exploration_runs import ExplorationRunsMixin, validate_inputs, validate_parameters
from aiida_softclay.workflows.fit_committee import FitCommitteeWorkChain
from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain
from aiida_softclay.workflows.label import LabelWorkChain
from aiida_softclay.workflows.ports import (
    branch_limit,
    define_codes,
    define_job_bound,
    define_pseudopotentials,
    given_mapping,
    given_options,
    set_engines,
)
from aiida_softclay.workflows.protocol import ProtocolMixin, recursive_merge

FramesData = DataFactory('softclay.frames')
PotentialData = DataFactory('softclay.potential')


class ConcurrentLearningWorkChain(ProtocolMixin, ExplorationRunsMixin, WorkChain):
    """Label only what a committee of potentials does not know, where the study will go.

    Each generation trains a committee on all frames so far, lets it explore every structure at every condition, takes
    the configurations on which it disagrees by more than the lower and less than the upper trust level, spreads the
    choice over them, labels these with single points and adds them to the frames. It ends when few enough
    configurations are left to disagree about. What a generation made is in a group, what it decided in a node.
    """

    _protocol_file = 'concurrent_learning'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        define_codes(spec)
        define_pseudopotentials(spec)
        define_job_bound(spec, 'exploration runs', 'computer of LAMMPS bears')
        spec.input_namespace('frames', valid_type=FramesData, dynamic=True, help='Labelled frames to begin with.')
        spec.input_namespace(
            'structures', valid_type=orm.StructureData, dynamic=True, help='What is explored from, by label.'
        )
        spec.input(
            'parameters', valid_type=orm.Dict, validator=validate_parameters, help='Values of a protocol.'
        )  # fmt: skip
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            while_(cls.should_learn)(
                cls.start_generation,
                if_(cls.should_fit_committee)(cls.run_committee, cls.inspect_committee),
                cls.queue_exploration,
                while_(cls.has_pending_branches)(cls.submit_branches),
                cls.select,
                if_(cls.should_label)(cls.run_label, cls.inspect_label),
                cls.record,
            ),
            if_(cls.should_fit_final)(cls.run_final, cls.inspect_final),
            cls.results,
        )
        spec.output('potential', valid_type=PotentialData, required=False, help='The final potential.')
        spec.output_namespace('potentials', valid_type=PotentialData, dynamic=True, help='The last committee.')
        spec.output_namespace('frames', valid_type=FramesData, dynamic=True, help='All labelled frames.')
        spec.output_namespace('generations', valid_type=orm.Dict, dynamic=True, help='What each generation decided.')
        spec.output('results', valid_type=orm.Dict, required=False, help='All numbers, in the results schema.')
        spec.exit_code(401, 'ERROR_COMMITTEE_FAILED', message='generation {number}: the committee failed: {message}')
        spec.exit_code(402, 'ERROR_EXPLORATION_FAILED', message='generation {number}: no run explored: {message}')
        spec.exit_code(403, 'ERROR_SELECTION_FAILED', message='generation {number}: nothing was selected: {message}')
        spec.exit_code(404, 'ERROR_LABEL_FAILED', message='generation {number}: nothing was labelled: {message}')
        spec.exit_code(405, 'ERROR_FINAL_FIT_FAILED', message='the fit of the final potential failed: {message}')
        spec.exit_code(501, 'ERROR_POTENTIAL_REFUSED', message='the final potential is refused: {message}')
        spec.exit_code(
            510, 'ERROR_EXPLORATION_DIVERGED',
            message='after generation {number} the exploration is beyond what can be learned: {share:.0%} of the '
            'configurations failed; begin with more labelled frames, lower temperatures, shorter runs or higher levels',
        )  # fmt: skip
        spec.exit_code(
            710, 'WARNING_NOT_CONVERGED',
            message='not converged after {count} generations: {share:.1%} of the configurations are still candidates, '
            'the limit is {limit:.1%}; the potential is trained on all that was labelled',
        )  # fmt: skip

    @classmethod
    def get_builder_from_protocol(
        cls,
        codes: Mapping[str, orm.AbstractCode],
        frames: Any,
        structures: Mapping[str, orm.StructureData],
        *,
        potential_family: str,
        potential_mapping: Mapping[str, str] | None = None,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        max_concurrent_jobs: int | None = None,
    ) -> Any:
        """Return a builder with everything set.

        Parameters
        ----------
        codes : mapping
            ``dp``, ``lmp`` and ``vasp`` to codes.
        frames : FramesData or mapping
            Labelled frames to begin with; a mapping gives them names.
        structures : mapping
            Label to the structures to explore from.
        potential_family : str
            Label of the POTCAR family.
        potential_mapping : mapping, optional
            Element to POTCAR name; the elements themselves by default.
        protocol, overrides
            See :meth:`get_available_protocols`.
        options : mapping, optional
            ``vasp``, ``dp``, ``lmp`` to scheduler options.
        max_concurrent_jobs : int, optional
            Most exploration runs at once.

        Raises
        ------
        ProtocolError
            If the protocol, or a key of the overrides, does not exist.
        """
        parameters = cls.get_protocol_inputs(protocol, overrides)
        parameters['protocol'] = protocol or cls.get_default_protocol()
        builder = cls.get_builder()
        builder.frames = dict(frames) if isinstance(frames, Mapping) else {'initial': frames}
        builder.structures = dict(structures)
        builder.parameters = orm.Dict(parameters)
        set_engines(
            builder, codes, potential_family=potential_family, potential_mapping=potential_mapping, options=options,
            max_concurrent_jobs=max_concurrent_jobs,
        )  # fmt: skip
        builder.metadata.label = f'concurrent learning of {", ".join(sorted(builder.structures))}'[:255]
        return builder

    def setup(self) -> None:
        """Read the inputs once."""
        self.ctx.parameters = AttributeDict(self.inputs.parameters.get_dict())
        self.ctx.frames = dict(self.inputs.frames)
        self.ctx.generation = -1
        self.ctx.records, self.ctx.history = {}, []
        self.ctx.committee = None
        self.ctx.committee_is_current = False
        self.ctx.state = 'learning'
        self.ctx.limit = branch_limit(self.inputs, self.inputs.codes.lmp)

    def should_learn(self) -> bool:
        """Return whether another generation is needed and allowed."""
        return self.ctx.state == 'learning' and self.ctx.generation + 1 < self.ctx.parameters.stop.max_generations

    def start_generation(self) -> None:
        """Begin a generation with a group of its own."""
        self.ctx.generation += 1
        self.ctx.selected, self.ctx.label, self.ctx.n_labelled = {}, None, 0
        self.ctx.n_frames_before = sum(node.n_frames for node in self.ctx.frames.values())
        label = f'{self.node.uuid}/generation_{self.ctx.generation:03d}'
        # A step that is run again after a daemon was killed finds the group that it made.
        group, created = orm.Group.collection.get_or_create(label=label)
        if created:
            group.description = f'concurrent learning {self.node.uuid}, generation {self.ctx.generation}'
        self.ctx.group = label

    def should_fit_committee(self) -> bool:
        """Return whether there are frames that the committee has not learned."""
        return not self.ctx.committee_is_current

    def run_committee(self) -> ToContext:
        """Train the committee on all frames so far, without a gate."""
        settings = self.ctx.parameters.committee
        builder = FitCommitteeWorkChain.get_builder_from_protocol(
            self.inputs.codes.dp,
            self.ctx.frames,
            n_models=settings.n_models,
            protocol=settings.protocol,
            overrides=recursive_merge(settings.overrides, {'gate': None}),
            options=given_options(self.inputs).get('dp'),
            label=f'{self.ctx.group}/committee',
        )
        builder.metadata.call_link_label = f'committee_{self.ctx.generation:03d}'
        running = self.submit(builder)
        self.report(
            f'generation {self.ctx.generation}: {settings.n_models} models on {self.ctx.n_frames_before} frames '
            f'<{running.pk}>'
        )
        return ToContext(committee=running)

    def inspect_committee(self) -> Any:
        """Take the potentials."""
        committee = self.ctx.committee
        if not committee.is_finished_ok:
            self._attach()
            return self.exit_codes.ERROR_COMMITTEE_FAILED.format(
                number=self.ctx.generation, message=message_of(committee)
            )
        self.ctx.committee_is_current = True
        return None

    def committee_potentials(self) -> dict[str, PotentialData]:
        """Return the members of the present committee; the first one drives."""
        outputs = self.ctx.committee.outputs if self.ctx.committee is not None else {}
        return dict(sorted(outputs.potentials.items())) if 'potentials' in outputs else {}

    def select(self) -> Any:
        """Choose what to label, and judge how far the learning is."""
        runs, nodes, messages = self.explored()
        number, parameters = self.ctx.generation, self.ctx.parameters
        if not any(name.startswith(DEVIATION) for name in nodes) and messages:
            self._attach()
            return self.exit_codes.ERROR_EXPLORATION_FAILED.format(number=number, message=', '.join(messages))
        settings = orm.Dict(
            {'runs': runs, 'trust': dict(parameters.trust), 'selection': dict(parameters.selection),
             'seed': parameters.seed + number}
        )  # fmt: skip
        outputs, node = select_candidates.run_get_node(
            settings, **nodes, metadata={'call_link_label': f'select_{number:03d}'}
        )
        if not node.is_finished_ok:
            self._attach()
            return self.exit_codes.ERROR_SELECTION_FAILED.format(number=number, message=message_of(node))
        self.ctx.selection = outputs['report']
        self.ctx.selected = {
            name.removeprefix(SELECTED): value for name, value in outputs.items() if name.startswith(SELECTED)
        }
        self.ctx.explored = list(nodes.values())
        report = outputs['report'].get_dict()
        self.ctx.history.append({**report['shares'], 'incomplete': bool(report['incomplete'])})
        stop = {key: value for key, value in parameters.stop.items() if key != 'max_generations'}
        self.ctx.state = learning_state(self.ctx.history, **stop)
        share = report['shares']
        self.report(
            f'generation {number}: {share["accurate"]:.1%} accurate, {share["candidate"]:.1%} candidates, '
            f'{share["failed"]:.1%} failed of {report["n_explored"] + report["n_missing"]} configurations; '
            f'{report["n_selected"]} selected; {self.ctx.state}'
            + (f'; not explored: {", ".join(messages)}' if messages else '')
        )
        return None

    def should_label(self) -> bool:
        """Return whether there is something to label and a generation that will learn it."""
        return self.ctx.state == 'learning' and bool(self.ctx.selected)

    def run_label(self) -> ToContext:
        """Label the selected configurations."""
        settings = self.ctx.parameters.label
        builder = LabelWorkChain.get_builder_from_protocol(
            self.inputs.codes.vasp,
            self.ctx.selected,
            self.inputs.potential_family.value,
            protocol=settings.protocol,
            overrides=settings.overrides,
            options=given_options(self.inputs).get('vasp'),
            potential_mapping=given_mapping(self.inputs),
        )
        builder.metadata.call_link_label = f'label_{self.ctx.generation:03d}'
        return ToContext(label=self.submit(builder))

    def inspect_label(self) -> Any:
        """Add what was labelled to the frames; configurations that failed are in the record."""
        label = self.ctx.label
        frames = dict(label.outputs.frames) if 'frames' in label.outputs else {}
        if not frames:
            self._attach()
            return self.exit_codes.ERROR_LABEL_FAILED.format(number=self.ctx.generation, message=message_of(label))
        for structure, node in sorted(frames.items()):
            self.ctx.frames[f'generation_{self.ctx.generation:03d}_{structure}'] = node
            self.ctx.n_labelled += node.n_frames
        self.ctx.committee_is_current = False
        return None

    def record(self) -> Any:
        """Keep what the generation found and decided in one node, and all it made in its group."""
        number = self.ctx.generation
        extra = {'committee': self.ctx.committee.outputs.results}
        if self.ctx.label is not None and 'summary' in self.ctx.label.outputs:
            extra['labels'] = self.ctx.label.outputs.summary
        facts = {
            'generation': number, 'decision': self.ctx.state, 'n_frames_before': self.ctx.n_frames_before,
            'n_labelled': self.ctx.n_labelled, 'group': self.ctx.group,
            'committee': {name: node.uuid for name, node in self.committee_potentials().items()},
            'stop': dict(self.ctx.parameters.stop),
        }  # fmt: skip
        record = record_generation(
            orm.Dict(facts), self.ctx.selection, **extra, metadata={'call_link_label': f'record_{number:03d}'}
        )
        self.ctx.records[f'generation_{number:03d}'] = record
        members = [record, self.ctx.selection, *self.committee_potentials().values(), *self.ctx.explored]
        members += self.ctx.selected.values()
        members += [node for name, node in self.ctx.frames.items() if name.startswith(f'generation_{number:03d}_')]
        orm.Group.collection.get(label=self.ctx.group).add_nodes(members)
        if self.ctx.state == 'diverged':
            self._attach()
            self._summarise({})
            return self.exit_codes.ERROR_EXPLORATION_DIVERGED.format(
                number=number, share=self.ctx.history[-1]['failed']
            )
        return None

    def should_fit_final(self) -> bool:
        """Return whether the final potential is a fit of its own."""
        return self.ctx.parameters.final.protocol is not None

    def run_final(self) -> ToContext:
        """Fit the final potential to all frames."""
        settings = self.ctx.parameters.final
        builder = FitPotentialWorkChain.get_builder_from_protocol(
            self.inputs.codes.dp, self.ctx.frames, protocol=settings.protocol, overrides=settings.overrides,
            options=given_options(self.inputs).get('dp'),
        )  # fmt: skip
        builder.metadata.call_link_label = 'final_fit'
        return ToContext(final=self.submit(builder))

    def inspect_final(self) -> Any:
        """Take the potential; one that missed its gate is attached, but the workchain says so."""
        final = self.ctx.final
        if 'potential' in final.outputs:
            self.out('potential', final.outputs.potential)
        if final.is_finished_ok:
            return None
        self._attach()
        refused = final.exit_status is not None and 500 <= final.exit_status < 600
        if refused:
            self._summarise({'fit': final.outputs.results})
            return self.exit_codes.ERROR_POTENTIAL_REFUSED.format(message=message_of(final))
        return self.exit_codes.ERROR_FINAL_FIT_FAILED.format(message=message_of(final))

    def _attach(self) -> None:
        """Attach what there is, however it ends."""
        for namespace, nodes in (
            ('frames', self.ctx.frames), ('generations', self.ctx.records), ('potentials', self.committee_potentials())
        ):  # fmt: skip
            for name, node in nodes.items():
                self.out(f'{namespace}.{name}', node)

    def _summarise(self, fit: dict[str, orm.Dict]) -> None:
        """Gather the numbers."""
        engine = next(iter(self.ctx.frames.values())).engine
        context = {
            'protocol': self.ctx.parameters.get('protocol', 'own parameters'), 'decision': self.ctx.state,
            'labels': engine, 'structures': sorted(self.inputs.structures),
            'n_frames': sum(node.n_frames for node in self.ctx.frames.values()),
        }  # fmt: skip
        self.out('results', summarise_learning(orm.Dict(context), **self.ctx.records, **fit))

    def results(self) -> Any:
        """Attach everything; a learning that its limit ended is a warning."""
        self._attach()
        if self.should_fit_final():
            self._summarise({'fit': self.ctx.final.outputs.results})
        else:
            # Members that could not be tested come last.
            errors = {name: (node.test_rmse or {}) for name, node in self.committee_potentials().items()}
            best = min(errors, key=lambda name: errors[name].get('force_meV_A', float('inf')))
            self.out('potential', self.committee_potentials()[best])
            self._summarise({})
        if self.ctx.state != 'converged':
            return self.exit_codes.WARNING_NOT_CONVERGED.format(
                count=self.ctx.generation + 1, share=self.ctx.history[-1]['candidate'],
                limit=self.ctx.parameters.stop.max_candidate_share,
            )  # fmt: skip
        return None
