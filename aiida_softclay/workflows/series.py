"""Many runs of one workchain with different parameters, side by side: the base of every series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ProcessBuilder, WorkChain, while_

from aiida_softclay.workflows.concurrency import BoundedBranchesMixin
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.ports import branch_limit, define_job_bound
from aiida_softclay.workflows.protocol import ProtocolError, ProtocolMixin, check_overrides, recursive_merge


class SeriesWorkChain(ProtocolMixin, BoundedBranchesMixin, WorkChain):
    """Run one workchain once for each set of overrides of its parameters, never more than a bound at once.

    A subclass names the workchain (:attr:`_process`), says which runs there are (:meth:`runs_of`) and what becomes of
    their numbers (:meth:`combine`). Every run is checked before anything is submitted. A run that fails is named and
    does not stop the others. Launched again with caching, the jobs that ended well are not repeated.
    """

    #: The workchain that is run; it takes its parameters as `parameters`.
    _process: type[WorkChain]
    #: What the runs are called in messages.
    _runs = 'runs'
    #: Where the outputs of a run go: its output to a namespace of the series and the type of the nodes there.
    _gathered: Mapping[str, tuple[str, type[orm.Data], str]] = {
        'results': ('stages', orm.Dict, 'Results of each run.'),
    }
    #: What stands before the label of a run in its call link.
    _link_prefix = ''

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(cls._process)
        define_job_bound(spec, what=cls._runs, where='computer of LAMMPS bears')
        spec.inputs.validator = cls.validate_inputs
        spec.outline(cls.setup, while_(cls.has_pending_branches)(cls.submit_branches), cls.results)
        spec.output(
            'results', valid_type=orm.Dict, required=False, help='The numbers of the series, in the results schema.'
        )
        for namespace, valid_type, text in cls._gathered.values():
            spec.output_namespace(namespace, valid_type=valid_type, dynamic=True, help=text)

    @classmethod
    def runs_of(cls, inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the overrides of each run by its label.

        Raises
        ------
        ValueError
            With a sentence that says which input to change.
        """
        raise NotImplementedError(f'{cls.__name__} does not say what it runs')

    def combine(self, finished: Mapping[str, orm.ProcessNode], failed: list[str]) -> Any:
        """Put the numbers of the runs together, given those that have any and sentences about those that failed."""
        raise NotImplementedError(f'{type(self).__name__} does not combine its runs')

    @classmethod
    def validate_inputs(cls, inputs: AttributeDict, context: Any) -> str | None:
        """Return what is wrong with the series or one of its runs."""
        if 'parameters' not in inputs:
            return None
        base = inputs['parameters'].get_dict()
        try:
            runs = cls.runs_of(inputs)
        except ValueError as error:
            return str(error)
        for label, overrides in runs.items():
            try:
                check_overrides(base, overrides)
            except (ProtocolError, AttributeError) as error:
                return f'{label}: {error}'
            parameters = orm.Dict(recursive_merge(base, overrides))
            problem = cls._process.validate_parameters(parameters, None)
            problem = problem or cls._process.validate_inputs({**inputs, 'parameters': parameters}, context)
            if problem:
                return f'{label}: {problem}'
        return None

    @classmethod
    def series_builder(cls, made: ProcessBuilder, max_concurrent_jobs: int | None) -> Any:
        """Return a builder with the inputs of that of a single run."""
        builder = cls.get_builder()
        for name, value in made._inputs(prune=True).items():
            if name != 'metadata':
                builder[name] = value
        if max_concurrent_jobs is not None:
            builder.max_concurrent_jobs = orm.Int(max_concurrent_jobs)
        return builder

    def queue_order(self, runs: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
        """Return the labels of the runs in the order in which they start."""
        return list(runs)

    def run_title(self, name: str) -> str:
        """Return the label of the process of a run."""
        return name

    def setup(self) -> None:
        """Queue the runs."""
        self.ctx.runs = self.runs_of(self.inputs)
        self.queue_branches(self.queue_order(self.ctx.runs), branch_limit(self.inputs, self.inputs.code))

    def build_branch(self, name: str) -> Any:
        """Return the builder of one run."""
        builder = self._process.get_builder()
        for key, value in self.exposed_inputs(self._process).items():
            if key not in ('parameters', 'metadata'):
                builder[key] = value
        builder.parameters = orm.Dict(recursive_merge(self.inputs.parameters.get_dict(), self.ctx.runs[name]))
        builder.metadata.label = self.run_title(name)
        builder.metadata.call_link_label = f'{self._link_prefix}{name}'
        return builder

    def results(self) -> Any:
        """Gather what the runs have made, and combine it."""
        finished, failed = {}, []
        for name in self.ctx.runs:
            process = self.branch(name)
            for output, (namespace, _, _) in self._gathered.items():
                if output in process.outputs:
                    self.out(f'{namespace}.{name}', process.outputs[output])
            if 'results' in process.outputs:
                finished[name] = process
            if not process.is_finished_ok:
                failed.append(f'{name} ({message_of(process)})')
        return self.combine(finished, failed)
