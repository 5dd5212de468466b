"""An experiment over the product of varied parameters, with replicas, ending in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.common import AttributeDict

from aiida_softclay.calcfunctions.series import combine_runs
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.experiment import ExperimentWorkChain
from aiida_softclay.workflows.protocol import recursive_merge
from aiida_softclay.workflows.series import SeriesWorkChain
from aiida_softclay.workflows.series_plan import SeriesPoint, series_points

SETTINGS = ('vary', 'replicas', 'confidence', 'max_runs')


class ExperimentSeriesWorkChain(SeriesWorkChain):
    """Repeat an experiment for every combination of varied parameters, each with several seeds.

    The numbers of each point are means over its replicas, with the spread between them as error; the error within the
    runs stands beside it. A run that fails is named and does not stop the others.
    """

    _process: type[ExperimentWorkChain]
    _gathered = {
        'results': ('stages', orm.Dict, 'Results of each run.'),
        'curve': ('curves', orm.ArrayData, 'Curves of each run, with units.'),
    }

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define the settings of the series and what may fail."""
        super().define(spec)
        spec.input(
            'series', valid_type=orm.Dict, serializer=orm.to_aiida_type, validator=cls.validate_series,
            help='What is varied (`vary`: dotted name to a list of values), `replicas`, `confidence` of intervals, '
            '`max_runs`.',
        )  # fmt: skip
        spec.output('curve', valid_type=orm.ArrayData, required=False, help='Numbers with errors by point, with units.')
        spec.exit_code(404, 'ERROR_RUNS_FAILED', message='these runs failed: {branches}')
        spec.exit_code(510, 'ERROR_ANALYSIS', message='{message}')

    @classmethod
    def validate_series(cls, node: orm.Dict, _: Any) -> str | None:
        """Return what is wrong with the settings themselves."""
        settings = node.get_dict()
        if unknown := sorted(set(settings) - {*SETTINGS, 'protocol'}):
            return f'unknown setting {", ".join(unknown)}: known are {", ".join(SETTINGS)}'
        if missing := [name for name in SETTINGS if name not in settings]:
            return f'the settings lack {", ".join(missing)}: start from get_builder_from_protocol'
        if not isinstance(settings['vary'], Mapping):
            return f'vary = {settings["vary"]!r} must map the name of a parameter to a list of values'
        confidence = settings['confidence']
        if isinstance(confidence, bool) or not isinstance(confidence, (int, float)) or not 0 < confidence < 1:
            return f'confidence = {confidence!r} must lie between 0 and 1'
        return None

    @classmethod
    def points_of(cls, inputs: Mapping[str, Any]) -> list[SeriesPoint]:
        """Return the points of the series with their runs.

        Raises
        ------
        ValueError
            With a sentence that says which setting to change.
        """
        settings = inputs['series'].get_dict()
        return series_points(
            inputs['parameters'].get_dict(), settings['vary'], settings['replicas'], settings['max_runs']
        )

    @classmethod
    def runs_of(cls, inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the overrides of each run."""
        return {label: changed for point in cls.points_of(inputs) for label, changed in point.runs.items()}

    @classmethod
    def validate_inputs(cls, inputs: AttributeDict, context: Any) -> str | None:
        """Return what is wrong with the series or one of its runs."""
        if any(name not in inputs for name in ('parameters', 'series')) or cls.validate_series(inputs['series'], None):
            return None
        try:
            points = cls.points_of(inputs)
        except ValueError as error:
            return str(error)
        if 'velocities' in inputs and any(len(point.runs) > 1 for point in points):
            return (
                'replicas differ in the seed of their velocities, and these are given: leave out `velocities`, or make '
                'one run of each point'
            )
        return super().validate_inputs(inputs, context)

    @classmethod
    def get_builder_from_protocol(
        cls, code: orm.AbstractCode, structure: orm.StructureData, *, vary: Mapping[str, Sequence[Any]] | None = None,
        replicas: int | None = None, max_runs: int | None = None, max_concurrent_jobs: int | None = None,
        protocol: str | None = None, overrides: Mapping[str, Any] | None = None, **settings: Any,
    ) -> Any:  # fmt: skip
        """Return a complete builder.

        Parameters
        ----------
        code, structure, settings
            As for the builder of a single experiment.
        vary : mapping, optional
            Dotted name of a parameter to its values, ``{'magnitude_mpa': [10, 50]}``; of the protocol if not given.
        replicas : int, optional
            Runs of each point, with seeds that follow that of the experiment; of the protocol if not given, one if
            ``vary`` holds the seeds.
        max_runs : int, optional
            More runs than these are refused; of the protocol if not given.
        max_concurrent_jobs : int, optional
            Most runs at once.
        protocol : str, optional
            Of the series and of the experiment.
        overrides : mapping, optional
            Of the parameters of every run.

        Raises
        ------
        ValueError
            If the protocol or an override does not exist, or the settings make no series.
        """
        chosen = cls.get_protocol_inputs(protocol)
        if vary is not None:
            chosen['vary'] = {name: list(values) for name, values in vary.items()}
            if 'seed' in vary and replicas is None:
                replicas = 1
        for name, value in (('replicas', replicas), ('max_runs', max_runs)):
            if value is not None:
                chosen[name] = value
        name = protocol or cls.get_default_protocol()
        parameters = cls._process.get_protocol_inputs(name, overrides)
        points = series_points(parameters, chosen['vary'], chosen['replicas'], chosen['max_runs'])
        # What all runs share is validated by itself, so it has to be one of them.
        first = next(iter(points[0].runs.values()))
        made = cls._process.get_builder_from_protocol(
            code, structure, protocol=name, overrides=recursive_merge(overrides or {}, first), **settings
        )
        builder = cls.series_builder(made, max_concurrent_jobs)
        builder.series = orm.Dict({**chosen, 'protocol': name})
        builder.metadata.label = f'{cls._process._title} series of {structure.get_formula()}'
        return builder

    def run_title(self, name: str) -> str:
        """Return the label of the process of a run."""
        return f'{self._process._title}: {name}'

    def combine(self, finished: Mapping[str, orm.ProcessNode], failed: list[str]) -> Any:
        """Make the table."""
        if finished:
            points = self.points_of(self.inputs)
            settings = {
                'experiment': self._process._protocol_file,
                'points': [
                    {'label': point.label, 'values': point.values, 'runs': list(point.runs)} for point in points
                ],
                'confidence': self.inputs.series['confidence'],
                'context': {
                    'formula': self.inputs.structure.get_formula(),
                    'seeds': sorted({seed for point in points for seed in point.seeds.values()}),
                    'failed': failed,
                },
            }
            runs = {name: process.outputs.results for name, process in finished.items()}
            made, node = combine_runs.run_get_node(
                orm.Dict(settings), **runs, metadata={'call_link_label': 'combine_runs'}
            )
            if not node.is_finished_ok:
                return self.exit_codes.ERROR_ANALYSIS.format(message=message_of(node))
            self.out('results', made['results'])
            self.out('curve', made['curve'])
            self.report(f'{len(finished)} of {len(self.ctx.runs)} runs at {len(points)} points')
        if failed:
            return self.exit_codes.ERROR_RUNS_FAILED.format(branches=', '.join(failed))
        return None
