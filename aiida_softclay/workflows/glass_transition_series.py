"""The glass transition at several cooling rates, side by side, and its dependence on the rate."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm

from aiida_softclay.calcfunctions.glass_transition import analyse_cooling_rates
from aiida_softclay.calcfunctions.results import collect_results
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.glass_transition import GlassTransitionWorkChain
from aiida_softclay.workflows.series import SeriesWorkChain


def rates_by_label(rates: Sequence[float]) -> dict[str, float]:
    """Return cooling rates in K/ps by a label for each.

    >>> rates_by_label([0.5, 10])
    {'rate_0_5': 0.5, 'rate_10': 10.0}

    Raises
    ------
    ValueError
        If a rate is not positive or given twice, or there is only one.
    """
    found: dict[str, float] = {}
    for rate in rates:
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not math.isfinite(rate) or rate <= 0:
            raise ValueError(f'{rate!r} is not a cooling rate: give positive numbers, in K/ps')
        label = 'rate_' + re.sub(r'[^0-9a-z]+', '_', f'{float(rate):g}')
        if label in found:
            raise ValueError(f'the cooling rate {rate:g} K/ps is given twice')
        found[label] = float(rate)
    if len(found) < 2:
        raise ValueError('a series needs two cooling rates at least; one alone is a run of `softclay.glass_transition`')
    return found


class GlassTransitionSeriesWorkChain(SeriesWorkChain):
    """Cool the same structure at several rates and follow how the glass transition moves.

    A rate that fails, or shows no transition, is named and does not stop the others.
    """

    _process = GlassTransitionWorkChain
    _protocol_file = GlassTransitionWorkChain._protocol_file
    _runs = 'rates'
    _gathered = {
        'results': ('stages', orm.Dict, 'Results of each rate.'),
        'curve': ('curves', orm.ArrayData, 'Volumes of each rate, with units.'),
    }

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define the rates and what may fail."""
        super().define(spec)
        spec.input(
            'rates_K_per_ps', valid_type=orm.List, serializer=orm.to_aiida_type,
            help='Cooling rates; each replaces that of the parameters.',
        )  # fmt: skip
        spec.output(
            'curve', valid_type=orm.ArrayData, required=False, help='Glass transition by cooling rate, with units.'
        )
        spec.exit_code(404, 'ERROR_RATES_FAILED', message='these rates failed: {branches}')
        spec.exit_code(520, 'ERROR_NO_TWO_REGIMES', message='no rate shows a glass transition: {branches}')

    @classmethod
    def rates(cls, inputs: Mapping[str, Any]) -> dict[str, float]:
        """Return the cooling rates by label, K/ps."""
        return rates_by_label(inputs['rates_K_per_ps'].get_list())

    @classmethod
    def runs_of(cls, inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the override of each rate."""
        if 'rates_K_per_ps' not in inputs:
            raise ValueError('rates_K_per_ps is missing: the cooling rates, in K/ps')
        return {label: {'rate_K_per_ps': rate} for label, rate in cls.rates(inputs).items()}

    @classmethod
    def get_builder_from_protocol(
        cls, code: orm.AbstractCode, structure: orm.StructureData, rates: Sequence[float], *,
        max_concurrent_jobs: int | None = None, overrides: Mapping[str, Any] | None = None, **settings: Any,
    ) -> Any:  # fmt: skip
        """Return a complete builder.

        Parameters
        ----------
        code, structure, overrides, settings
            As for :meth:`GlassTransitionWorkChain.get_builder_from_protocol`.
        rates : sequence of float
            Cooling rates, K/ps.
        max_concurrent_jobs : int, optional
            Most rates at once.

        Raises
        ------
        ValueError
            If the rates, the protocol or an override make no series.
        """
        labels = rates_by_label(rates)
        made = GlassTransitionWorkChain.get_builder_from_protocol(
            code, structure, overrides={**(overrides or {}), 'rate_K_per_ps': max(labels.values())}, **settings
        )
        builder = cls.series_builder(made, max_concurrent_jobs)
        builder.rates_K_per_ps = orm.List(list(labels.values()))
        builder.metadata.label = f'glass transition series of {structure.get_formula()}'
        return builder

    def queue_order(self, runs: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
        """Start with the slowest rate because it takes longest."""
        return sorted(runs, key=lambda name: runs[name]['rate_K_per_ps'])

    def run_title(self, name: str) -> str:
        """Return the label of the process of a rate."""
        return f'glass transition at {self.ctx.runs[name]["rate_K_per_ps"]:g} K/ps'

    def combine(self, finished: Mapping[str, orm.ProcessNode], failed: list[str]) -> Any:
        """Gather the numbers of all rates, and the line through their transitions if there are two."""
        stages = {name: process.outputs.results for name, process in finished.items()}
        crossings = {name: stages[name] for name, process in finished.items() if process.is_finished_ok}
        failed = list(failed)
        context = orm.Dict({'rates_K_per_ps': self.rates(self.inputs), 'formula': self.inputs.structure.get_formula()})
        if len(crossings) > 1:
            made, node = analyse_cooling_rates.run_get_node(
                context, **crossings, metadata={'call_link_label': 'analyse_cooling_rates'}
            )
            if node.is_finished_ok:
                self.out('curve', made['curve'])
                stages['rate_dependence'] = made['results']
            else:
                failed.append(f'rate_dependence ({message_of(node)})')
        if stages:
            collected = collect_results(context, **stages, metadata={'call_link_label': 'collect_results'})
            self.out('results', collected)
        if not crossings and stages:
            return self.exit_codes.ERROR_NO_TWO_REGIMES.format(branches=', '.join(failed))
        if failed:
            return self.exit_codes.ERROR_RATES_FAILED.format(branches=', '.join(failed))
        return None
