"""Diffusion and conductivity at several temperatures, with replicas, and their Arrhenius lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm

from aiida_softclay.calcfunctions.series import combine_runs
from aiida_softclay.calcfunctions.temperature_series import analyse_temperatures, join_tables
from aiida_softclay.calculations.md_stages import LARGEST_TEMPERATURE_K
from aiida_softclay.workflows.conductivity import ConductivityWorkChain
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.experiment_series import SETTINGS, ExperimentSeriesWorkChain
from aiida_softclay.workflows.protocol import recursive_merge

#: Settings of the lines, beside those of every series.
LINE_SETTINGS = ('at_K', 'glass_transition_K', 'extrapolate_across_glass_transition')
#: What a protocol of the series changes in that of its runs.
RUN_OVERRIDES = 'run_overrides'
TEMPERATURE = 'temperature_K'


def is_temperature(value: Any) -> bool:
    """Return whether a value is a temperature in K that can be simulated."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 < value <= LARGEST_TEMPERATURE_K


class ConductivitySeriesWorkChain(ExperimentSeriesWorkChain):
    """Let the ions of a structure diffuse at several temperatures, each with several seeds; fit Arrhenius lines.

    The numbers of each temperature are means over its replicas, with the spread between them as error and the error
    within the runs beside it. Diffusivities and conductivities get activation energy, prefactor and a value at the
    temperatures ``at_K``: never across the glass transition unless that is asked for, in which case, as where no glass
    transition is known, the number says so. A temperature that fails is named and does not stop the others.
    """

    _process = ConductivityWorkChain
    _protocol_file = 'conductivity_series'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define what comes beside the means."""
        super().define(spec)
        spec.input(
            'glass_transition', valid_type=orm.Dict, required=False,
            help='Results of `softclay.glass_transition`, instead of `glass_transition_K` in the settings.',
        )  # fmt: skip
        spec.output_namespace(
            'further', valid_type=orm.Dict, dynamic=True, required=False,
            help='`arrhenius`: activation energies, prefactors and values read off; `collective`: means over replicas '
            'of the total conductivity, its parts and the Haven ratio. In the results schema.',
        )  # fmt: skip
        spec.output_namespace(
            'further_curves', valid_type=orm.ArrayData, dynamic=True, required=False,
            help='Points and line of each quantity, and the collective numbers by temperature, with units.',
        )  # fmt: skip

    @classmethod
    def validate_series(cls, node: orm.Dict, context: Any) -> str | None:
        """Return what is wrong with the settings themselves."""
        settings = node.get_dict()
        common = {name: value for name, value in settings.items() if name not in (*LINE_SETTINGS, RUN_OVERRIDES)}
        if unknown := sorted(set(common) - {*SETTINGS, 'protocol'}):
            return f'unknown setting {", ".join(unknown)}: known are {", ".join((*SETTINGS, *LINE_SETTINGS))}'
        if problem := super().validate_series(orm.Dict(common), context):
            return problem
        if missing := [name for name in LINE_SETTINGS if name not in settings]:
            return f'the settings lack {", ".join(missing)}: start from get_builder_from_protocol'
        transition = settings['glass_transition_K']
        if transition is not None and not is_temperature(transition):
            return f'glass_transition_K = {transition!r} is not a temperature in K'
        wanted = settings['at_K']
        if not isinstance(wanted, Sequence) or isinstance(wanted, str) or not all(map(is_temperature, wanted)):
            return f'at_K = {wanted!r} must be a list of temperatures in K'
        if not isinstance(settings['extrapolate_across_glass_transition'], bool):
            return 'extrapolate_across_glass_transition is true or false'
        return None

    @classmethod
    def validate_inputs(cls, inputs: Any, context: Any) -> str | None:
        """Return what is wrong with the series or one of its runs."""
        if (
            'glass_transition' in inputs and 'series' in inputs
            and inputs['series'].get_dict().get('glass_transition_K') is not None
        ):  # fmt: skip
            return 'the glass transition is given twice, as results and as glass_transition_K: leave out one'
        return super().validate_inputs(inputs, context)

    @classmethod
    def get_builder_from_protocol(
        cls, code: orm.AbstractCode, structure: orm.StructureData, *, temperatures: Sequence[float] | None = None,
        glass_transition_K: float | None = None, glass_transition: orm.Dict | None = None,
        at_K: Sequence[float] | None = None, extrapolate_across_glass_transition: bool | None = None,
        vary: Mapping[str, Sequence[Any]] | None = None, protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None, **settings: Any,
    ) -> Any:  # fmt: skip
        """Return a complete builder.

        Parameters
        ----------
        code, structure, settings
            As for the builder of :class:`~.experiment_series.ExperimentSeriesWorkChain`.
        temperatures : sequence of float, optional
            K; short for ``vary={'temperature_K': temperatures}``; of the protocol if neither is given.
        glass_transition_K : float, optional
            Beyond it nothing is extrapolated.
        glass_transition : Dict, optional
            Results of ``softclay.glass_transition`` that hold it.
        at_K : sequence of float, optional
            Temperatures at which the lines are read off.
        extrapolate_across_glass_transition : bool, optional
            Draw one line across the glass transition all the same; every number then carries a warning.
        vary : mapping, optional
            Dotted name of a parameter to its values.
        protocol : str, optional
            Of the series and of the experiment.
        overrides : mapping, optional
            Of the parameters of every run.

        Raises
        ------
        ValueError
            If the protocol or an override does not exist, or the settings make no series.
        """
        if temperatures is not None:
            if vary and TEMPERATURE in vary:
                raise ValueError('the temperatures are given twice, in `temperatures` and in `vary`: leave out one')
            vary = {**(vary or {}), TEMPERATURE: [float(value) for value in temperatures]}
        changes = cls.get_protocol_inputs(protocol)[RUN_OVERRIDES]
        builder = super().get_builder_from_protocol(
            code, structure, vary=vary, protocol=protocol, overrides=recursive_merge(changes, overrides or {}),
            **settings,
        )  # fmt: skip
        given = {
            'glass_transition_K': glass_transition_K, 'at_K': None if at_K is None else list(at_K),
            'extrapolate_across_glass_transition': extrapolate_across_glass_transition,
        }  # fmt: skip
        changed = {name: value for name, value in given.items() if value is not None}
        builder.series = orm.Dict({**builder.series.get_dict(), **changed})
        if glass_transition is not None:
            builder.glass_transition = glass_transition
        return builder

    def combine(self, finished: Mapping[str, orm.ProcessNode], failed: list[str]) -> Any:
        """Make the tables and the lines."""
        if finished:
            found = self.points_of(self.inputs)
            points = [{'label': point.label, 'values': point.values, 'runs': list(point.runs)} for point in found]
            seeds = sorted({seed for point in found for seed in point.seeds.values()})
            context = {'formula': self.inputs.structure.get_formula(), 'seeds': seeds, 'failed': failed}
            runs = {name: process.outputs.results for name, process in finished.items()}
            made, node = self._combine_runs('combine_runs', points, context, runs)
            if not node.is_finished_ok:
                return self.exit_codes.ERROR_ANALYSIS.format(message=message_of(node))
            self.out('curve', made['curve'])
            tables = {'single_ions': made['results'], **self._collective_table(points, context, finished)}
            tables |= self._fit_lines(points, tables)
            self.out('results', join_tables(**tables, metadata={'call_link_label': 'join_tables'}))
            self.report(f'{len(finished)} of {len(self.ctx.runs)} runs at {len(points)} points')
        if failed:
            return self.exit_codes.ERROR_RUNS_FAILED.format(branches=', '.join(failed))
        return None

    def _combine_runs(
        self, link: str, points: list[dict[str, Any]], context: dict[str, Any], runs: dict[str, orm.Dict]
    ) -> tuple[dict[str, Any], orm.CalcFunctionNode]:
        confidence = self.inputs.series['confidence']
        settings = orm.Dict({'points': points, 'confidence': confidence, 'context': context})
        return combine_runs.run_get_node(settings, **runs, metadata={'call_link_label': link})

    def _collective_table(
        self, points: list[dict[str, Any]], context: dict[str, Any], finished: Mapping[str, orm.ProcessNode]
    ) -> dict[str, orm.Dict]:
        """Return the means of the collective numbers, if the runs have any."""
        runs = {
            name: process.outputs.further.collective for name, process in finished.items()
            if 'further' in process.outputs and 'collective' in process.outputs.further
        }  # fmt: skip
        if not runs:
            return {}
        made, node = self._combine_runs('combine_collective', points, context, runs)
        if not node.is_finished_ok:
            self.report(f'warning: no collective numbers: {message_of(node)}')
            return {}
        self.out('further.collective', made['results'])
        self.out('further_curves.collective', made['curve'])
        return {'collective': made['results']}

    def _fit_lines(self, points: list[dict[str, Any]], tables: dict[str, orm.Dict]) -> dict[str, orm.Dict]:
        """Return the activation energies and what is read off; report what could not be."""
        settings = self.inputs.series.get_dict()
        chosen = {name: settings[name] for name in (*LINE_SETTINGS, 'confidence')}
        context = {'formula': self.inputs.structure.get_formula(), 'protocol': settings.get('protocol')}
        transition = {'glass_transition': self.inputs.glass_transition} if 'glass_transition' in self.inputs else {}
        made, node = analyse_temperatures.run_get_node(
            orm.Dict({**chosen, 'points': points, 'context': context}), **transition, **tables,
            metadata={'call_link_label': 'analyse_temperatures'},
        )  # fmt: skip
        if not node.is_finished_ok:
            self.report(f'warning: no Arrhenius lines: {message_of(node)}')
            return {}
        self.out('further.arrhenius', made['results'])
        for name, curve in made.items():
            if name != 'results':
                self.out(f'further_curves.{name.replace("curve", "arrhenius", 1)}', curve)
        for row in made['results']['numbers']:
            if row['value'] is None:
                self.report(f'warning: no {row["name"]}: {"; ".join(row["warnings"])}')
            elif 'activation_energy' in row['name']:
                self.report(f'{row["name"]} = {row["value"]:.3g} ± {row["error"]:.2g} eV')
        return {'arrhenius': made['results']}
