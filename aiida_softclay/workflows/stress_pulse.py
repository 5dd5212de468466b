"""Cycles of applied stress and release, and the strain that stays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aiida import orm

from aiida_softclay.calcfunctions.mechanics import analyse_pulses
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.calculations.md_stages import COMPONENTS
from aiida_softclay.workflows.experiment import ExperimentWorkChain


def pulse_stages(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return name, kind, cycle and stress (GPa) of the stages, in order."""
    cycles = int(parameters['cycles'])
    if cycles < 1:
        raise ValueError(f'cycles = {cycles}: there must be one cycle of stress at least')
    stress = float(parameters['magnitude_mpa']) / 1000
    if stress == 0 or not math.isfinite(stress):
        raise ValueError(
            f'magnitude_mpa is {1000 * stress:g}: give the stress of the pulse in MPa, 10 or 50 in gupta2023'
        )
    stages = [{'name': 'equilibrate', 'kind': 'reference', 'cycle': 0, 'stress_GPa': 0.0}]
    for cycle in range(1, cycles + 1):
        stages.append({'name': f'load_{cycle}', 'kind': 'on', 'cycle': cycle, 'stress_GPa': stress})
        stages.append({'name': f'release_{cycle}', 'kind': 'off', 'cycle': cycle, 'stress_GPa': 0.0})
    return stages


class StressPulseWorkChain(ExperimentWorkChain):
    """Apply a stress component, release it, and repeat; report the residual strain after each release.

    As in gupta2023 Fig. 1c and yang2024 Fig. 4c: one component of the external stress at 10 or 50 MPa, all others 0,
    NPT with all six components of the cell free. A stage without stress before the first pulse gives the zero of the
    strain and its thermal noise, against which the residual strain is called plastic, elastic or undetermined.
    """

    _protocol_file = 'stress_pulse'
    _title = 'stress pulse'

    @classmethod
    def build_plan(cls, parameters: Mapping[str, Any]) -> MdPlan:
        """Return the stages: equilibration, then loading and release for each cycle."""
        component = parameters['component']
        if component not in COMPONENTS:
            raise ValueError(f'unknown component `{component}`: choose from {", ".join(COMPONENTS)}')
        if not 0 < float(parameters['confidence']) < 1 or not 0 < float(parameters['tail_share']) <= 1:
            raise ValueError(
                f'confidence = {parameters["confidence"]} must lie between 0 and 1, and tail_share = '
                f'{parameters["tail_share"]} must be a share of a stage'
            )
        if float(parameters['average_half_width_ps']) < 0:
            raise ValueError(f'average_half_width_ps = {parameters["average_half_width_ps"]} must not be negative')
        durations = {'reference': 'equilibrate_ps', 'on': 'load_ps', 'off': 'release_ps'}
        return MdPlan.from_dict(
            {
                'timestep_ps': parameters['timestep_ps'],
                'seed': parameters['seed'],
                'thermo_every': parameters['thermo_every'],
                'dump_every': parameters['dump_every'],
                'dump_elements': parameters['dump_elements'],
                'stages': [
                    {
                        'name': stage['name'],
                        'kind': 'npt',
                        'duration_ps': parameters[durations[stage['kind']]],
                        'temperature_K': parameters['temperature_K'],
                        'stress_GPa': {component: stage['stress_GPa']},
                        'tdamp_ps': parameters['tdamp_ps'],
                        'pdamp_ps': parameters['pdamp_ps'],
                        'coupling': 'tri',
                    }
                    for stage in pulse_stages(parameters)
                ],
            }
        )

    def run_analysis(self) -> orm.CalcFunctionNode:
        """Find the residual strains."""
        parameters = self.ctx.parameters
        options = {
            'component': parameters['component'],
            'n_atoms': len(self.inputs.structure.sites),
            'target_temperature_K': parameters['temperature_K'],
            'stages': pulse_stages(parameters),
            'half_width_ps': parameters['average_half_width_ps'],
            'tail_share': parameters['tail_share'],
            'confidence': parameters['confidence'],
            'context': {**self.context(), 'magnitude_mpa': parameters['magnitude_mpa']},
        }
        thermo = {stage['name']: self.ctx.md.outputs.thermo[stage['name']] for stage in options['stages']}
        _, node = analyse_pulses.run_get_node(
            orm.Dict(options), **thermo, metadata={'call_link_label': 'analyse_pulses'}
        )
        return node
