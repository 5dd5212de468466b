"""Cooling through the glass transition: specific volume against temperature, and the crossing of its two lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm

from aiida_softclay.analysis.glass_transition import FEWEST_TEMPERATURES
from aiida_softclay.analysis.volume_curve import FEWEST_ROWS
from aiida_softclay.calcfunctions.glass_transition import GLASS_TRANSITION, analyse_glass_transition
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.workflows.experiment import ExperimentWorkChain

MODES = ('ladder', 'cooling')


def ladder_of(parameters: Mapping[str, Any]) -> list[float]:
    """Return the temperatures from the highest to the lowest, K; of a cooling, the limits of its bins.

    Raises
    ------
    ValueError
        If they make no ladder.
    """
    high, low, step = (float(parameters[f'temperature_{name}_K']) for name in ('high', 'low', 'step'))
    if not 0 < low < high or not 0 < step <= high - low:
        raise ValueError(
            f'temperatures from {high:g} to {low:g} K in steps of {step:g} K: the highest comes first, all are positive'
        )
    n_steps = round((high - low) / step)
    if abs(n_steps * step - (high - low)) > 1e-6 * step:
        raise ValueError(
            f'steps of {step:g} K do not lead from {high:g} to {low:g} K: take temperature_step_K = '
            f'{(high - low) / n_steps:g}'
        )
    n_temperatures = n_steps + 1 if parameters['mode'] == 'ladder' else n_steps
    if n_temperatures < FEWEST_TEMPERATURES:
        raise ValueError(
            f'{n_temperatures} temperatures are too few for two lines, which need {FEWEST_TEMPERATURES}: lower '
            'temperature_step_K or widen the range'
        )
    return [high - index * step for index in range(n_steps + 1)]


class GlassTransitionWorkChain(ExperimentWorkChain):
    """Cool an amorphous structure at constant pressure and find where its volume changes from one line to another.

    As in gupta2023 (Supplementary Fig. 9: -58 °C) and yang2024 (Fig. S18: -53 °C), at zero pressure unless told. A
    `ladder` holds each temperature in turn, downwards, each from the end of the last; a `cooling` lowers the
    temperature continuously. Both have the same rate: a ladder stays step / rate at each temperature. What shows no two
    regimes, such as a crystal, ends with exit code 520, its curve attached.
    """

    _protocol_file = 'glass_transition'
    _title = 'glass transition'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define what this experiment may end with beyond the others."""
        super().define(spec)
        spec.exit_code(520, 'ERROR_NO_TWO_REGIMES', message='there is no glass transition in the data: {message}')

    @classmethod
    def build_plan(cls, parameters: Mapping[str, Any]) -> MdPlan:
        """Return the stages: equilibration at the highest temperature, and the rungs or the cooling."""
        mode, rate = parameters['mode'], float(parameters['rate_K_per_ps'])
        if mode not in MODES:
            raise ValueError(f'unknown mode `{mode}`: choose from {", ".join(MODES)}')
        if not rate > 0:
            raise ValueError(f'rate_K_per_ps = {rate:g}: give the positive speed of cooling')
        discard, tolerance = float(parameters['discard_share']), float(parameters['drift_tolerance'])
        if not 0 <= discard < 1 or not tolerance > 0:
            raise ValueError(
                f'discard_share = {discard:g} must be a share below 1, drift_tolerance = {tolerance:g} positive'
            )
        if not 0 < float(parameters['confidence']) < 1 or int(parameters['n_resamples']) < 200:
            raise ValueError('confidence must be between 0 and 1, and n_resamples 200 at least')
        temperatures = ladder_of(parameters)
        hold_ps = float(parameters['temperature_step_K']) / rate
        rows = hold_ps / float(parameters['timestep_ps']) / int(parameters['thermo_every'])
        if (kept := rows * (1 - discard if mode == 'ladder' else 1)) < FEWEST_ROWS:
            raise ValueError(
                f'{kept:.3g} rows are averaged at each temperature, {FEWEST_ROWS} are needed: lower thermo_every or '
                'rate_K_per_ps'
            )
        pressure = float(parameters['pressure_GPa'])
        if not pressure >= 0:
            raise ValueError(f'pressure_GPa = {pressure:g}: a liquid under tension would tear; give zero or more')
        common = {
            'kind': 'npt', 'coupling': parameters['coupling'], 'tdamp_ps': parameters['tdamp_ps'],
            'pdamp_ps': parameters['pdamp_ps'],
            'stress_GPa': dict.fromkeys(('xx', 'yy', 'zz'), -pressure) if pressure else {},
        }  # fmt: skip
        melt = {'name': 'equilibrate', 'temperature_K': temperatures[0], 'duration_ps': parameters['equilibrate_ps']}
        stages: list[dict[str, Any]] = [{**melt, **common}]
        if mode == 'cooling':
            stages.append(
                {
                    'name': 'cool', 'temperature_K': temperatures[0], 'temperature_end_K': temperatures[-1],
                    'duration_ps': (temperatures[0] - temperatures[-1]) / rate, **common,
                }
            )  # fmt: skip
        else:
            stages += [
                {'name': f'rung_{number:03d}', 'temperature_K': temperature, 'duration_ps': hold_ps, **common}
                for number, temperature in enumerate(temperatures, start=1)
            ]
        names = ('timestep_ps', 'seed', 'thermo_every', 'dump_every', 'dump_elements')
        outputs = {name: parameters[name] for name in names}
        return MdPlan.from_dict({**outputs, 'stages': stages})

    def context(self) -> dict[str, Any]:
        """Return what all numbers of the experiment share; it has no one temperature."""
        self.ctx.parameters.setdefault('temperature_K', None)
        shared = super().context()
        shared.pop('target_temperature_K')
        shared['pressure_GPa'] = self.ctx.parameters['pressure_GPa']
        return shared

    def run_analysis(self) -> orm.CalcFunctionNode:
        """Find the crossing."""
        parameters = self.ctx.parameters
        temperatures = ladder_of(parameters)
        if parameters['mode'] == 'cooling':
            stages = [{'name': 'cool', 'temperature_start_K': temperatures[0], 'temperature_end_K': temperatures[-1]}]
        else:
            stages = [
                {'name': f'rung_{number:03d}', 'temperature_K': temperature}
                for number, temperature in enumerate(temperatures, start=1)
            ]
        shared = ('mode', 'rate_K_per_ps', 'discard_share', 'drift_tolerance', 'confidence', 'n_resamples', 'seed')
        options = {
            **{name: parameters[name] for name in shared},
            'stages': stages,
            'edges_K': temperatures[::-1],
            'context': self.context(),
        }
        series = {stage['name']: self.ctx.md.outputs.thermo[stage['name']] for stage in stages}
        _, node = analyse_glass_transition.run_get_node(
            orm.Dict(options), **series, metadata={'call_link_label': 'analyse_glass_transition'}
        )
        return node

    def conclude(self) -> Any:
        """End with a sentence if there is no transition among the numbers."""
        super().conclude()
        row = next(row for row in self.outputs['results']['numbers'] if row['name'] == GLASS_TRANSITION)
        if row['value'] is None:
            return self.exit_codes.ERROR_NO_TWO_REGIMES.format(message=row['warnings'][0])
        return None
