"""The glass transition at several cooling rates, side by side, and its dependence on the rate."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import WorkChain, while_

from aiida_softclay.calcfunctions.glass_transition import analyse_cooling_rates
from aiida_softclay.calcfunctions.results import collect_results
from aiida_softclay.workflows.concurrency import BoundedBranchesMixin, computer_job_limit
from aiida_softclay.workflows.glass_transition import GlassTransitionWorkChain
from aiida_softclay.workflows.ports import define_job_bound
from aiida_softclay.workflows.protocol import ProtocolMixin


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


class GlassTransitionSeriesWorkChain(ProtocolMixin, BoundedBranchesMixin, WorkChain):
    """Cool the same structure at several rates and follow how the glass transition moves.

    A rate that fails, or shows no transition, is named and does not stop the others.
    """

    _protocol_file = GlassTransitionWorkChain._protocol_file

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(GlassTransitionWorkChain)
        spec.input(
            'rates_K_per_ps', valid_type=orm.List, serializer=orm.to_aiida_type,
            help='Cooling rates; each replaces that of the parameters.',
        )  # fmt: skip
        define_job_bound(spec, what='rates', where='computer of LAMMPS bears')
        spec.inputs.validator = cls.validate_inputs
        spec.outline(cls.setup, while_(cls.has_pending_branches)(cls.submit_branches), cls.results)
        spec.output(
            'results', valid_type=orm.Dict, required=False, help='The numbers of all rates, in the results schema.'
        )
        spec.output(
            'curve', valid_type=orm.ArrayData, required=False, help='Glass transition by cooling rate, with units.'
        )
        spec.output_namespace('stages', valid_type=orm.Dict, dynamic=True, help='Results of each rate.')
        spec.output_namespace(
            'curves', valid_type=orm.ArrayData, dynamic=True, help='Volumes of each rate, with units.'
        )
        spec.exit_code(404, 'ERROR_RATES_FAILED', message='these rates failed: {branches}')
        spec.exit_code(520, 'ERROR_NO_TWO_REGIMES', message='no rate shows a glass transition: {branches}')

    @classmethod
    def validate_inputs(cls, inputs: AttributeDict, context: Any) -> str | None:
        """Return what is wrong with a rate."""
        if any(name not in inputs for name in ('parameters', 'rates_K_per_ps')):
            return None
        try:
            rates = rates_by_label(inputs['rates_K_per_ps'].get_list())
        except ValueError as error:
            return str(error)
        for rate in rates.values():
            parameters = orm.Dict({**inputs['parameters'].get_dict(), 'rate_K_per_ps': rate})
            problem = GlassTransitionWorkChain.validate_parameters(parameters, None)
            problem = problem or GlassTransitionWorkChain.validate_inputs({**inputs, 'parameters': parameters}, context)
            if problem:
                return f'at {rate:g} K/ps: {problem}'
        return None

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
        builder = cls.get_builder()
        for name, value in made._inputs(prune=True).items():
            if name != 'metadata':
                builder[name] = value
        builder.rates_K_per_ps = orm.List(list(labels.values()))
        if max_concurrent_jobs is not None:
            builder.max_concurrent_jobs = orm.Int(max_concurrent_jobs)
        builder.metadata.label = f'glass transition series of {structure.get_formula()}'
        return builder

    def setup(self) -> None:
        """Queue the rates, the slowest first because it takes longest."""
        bound = self.inputs.get('max_concurrent_jobs')
        limit = bound.value if bound is not None else computer_job_limit(self.inputs.code)
        self.ctx.rates = rates_by_label(self.inputs.rates_K_per_ps.get_list())
        self.queue_branches(sorted(self.ctx.rates, key=self.ctx.rates.get), limit)

    def build_branch(self, name: str) -> Any:
        """Return the builder of one rate."""
        builder = GlassTransitionWorkChain.get_builder()
        for key, value in self.exposed_inputs(GlassTransitionWorkChain).items():
            if key not in ('parameters', 'metadata'):
                builder[key] = value
        parameters = self.inputs.parameters.get_dict()
        builder.parameters = orm.Dict({**parameters, 'rate_K_per_ps': self.ctx.rates[name]})
        builder.metadata.label = f'glass transition at {self.ctx.rates[name]:g} K/ps'
        builder.metadata.call_link_label = name
        return builder

    def results(self) -> Any:
        """Gather the numbers of all rates, and the line through their transitions if there are two."""
        stages, crossings, failed = {}, {}, []
        for name in self.ctx.rates:
            process = self.branch(name)
            if 'results' in process.outputs:
                stages[name] = process.outputs.results
                self.out(f'stages.{name}', process.outputs.results)
                self.out(f'curves.{name}', process.outputs.curve)
            if process.is_finished_ok:
                crossings[name] = process.outputs.results
            else:
                failed.append(f'{name} ({process.exit_message})')
        context = orm.Dict({'rates_K_per_ps': self.ctx.rates, 'formula': self.inputs.structure.get_formula()})
        if len(crossings) > 1:
            made, node = analyse_cooling_rates.run_get_node(
                context, **crossings, metadata={'call_link_label': 'analyse_cooling_rates'}
            )
            if node.is_finished_ok:
                self.out('curve', made['curve'])
                stages['rate_dependence'] = made['results']
            else:
                failed.append(f'rate_dependence ({node.exit_message})')
        if stages:
            collected = collect_results(context, **stages, metadata={'call_link_label': 'collect_results'})
            self.out('results', collected)
        if not crossings and stages:
            return self.exit_codes.ERROR_NO_TWO_REGIMES.format(branches=', '.join(failed))
        if failed:
            return self.exit_codes.ERROR_RATES_FAILED.format(branches=', '.join(failed))
        return None
