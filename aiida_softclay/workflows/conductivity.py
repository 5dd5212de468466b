"""Diffusion at constant volume and the Nernst–Einstein conductivity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiida import orm

from aiida_softclay.calcfunctions.onsager import analyse_ionic_conductivity
from aiida_softclay.calcfunctions.transport import analyse_conductivity
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.workflows.experiment import ExperimentWorkChain


def formal_charges(elements: list[str], given: Mapping[str, float]) -> dict[str, float]:
    """Return the charge number of each element: the one given, else the formal oxidation state.

    Raises
    ------
    ValueError
        If an element has neither.
    """
    unknown = sorted(set(elements) - set(IONIC_RADII) - set(given))
    if unknown:
        raise ValueError(f'no oxidation state is known for {", ".join(unknown)}: give it in `charges`')
    return {element: float(given.get(element, IONIC_RADII.get(element, (0, 0))[1])) for element in set(elements)}


class ConductivityWorkChain(ExperimentWorkChain):
    """Let the ions diffuse at constant volume and temperature; report D and σ of each species.

    As in yang2024 (Fig. 5a, eq. 1; 25 ns at 300 K): mean squared displacement over all time origins in the frame of the
    centre of mass, Nernst–Einstein conductivity with the formal charges.
    """

    _protocol_file = 'conductivity'
    _title = 'conductivity'

    @classmethod
    def build_plan(cls, parameters: Mapping[str, Any]) -> MdPlan:
        """Return the stages: equilibration and production."""
        window = parameters['window_share']
        if len(window) != 2 or not 0 < window[0] < window[1] <= 1:
            raise ValueError(f'window_share {window} must be two shares of the run in order, between 0 and 1')
        common = {'kind': 'nvt', 'temperature_K': parameters['temperature_K'], 'tdamp_ps': parameters['tdamp_ps']}
        plan = MdPlan.from_dict(
            {
                'timestep_ps': parameters['timestep_ps'],
                'seed': parameters['seed'],
                'thermo_every': parameters['thermo_every'],
                'dump_every': parameters['dump_every'],
                'stages': [
                    {
                        'name': 'equilibrate', 'duration_ps': parameters['equilibrate_ps'],
                        # Nobody reads this part: two frames show where it went.
                        'dump_every': max(1, round(parameters['equilibrate_ps'] / parameters['timestep_ps'])), **common,
                    },
                    {'name': 'production', 'duration_ps': parameters['duration_ps'], **common},
                ],
            }
        )  # fmt: skip
        frames = plan.stage_frames('production')
        if frames * (window[1] - window[0]) < 4:
            raise ValueError(
                f'the production run has {frames} frames, too few lags for a fit: lower dump_every or lengthen the run'
            )
        return plan

    @classmethod
    def check_parameters(cls, parameters: Mapping[str, Any], elements: list[str]) -> str | None:
        """Return what is wrong with species and charges."""
        absent = sorted(set(parameters['species'] or []) - set(elements))
        if absent:
            return f'species {", ".join(absent)} is not in the structure, which has {", ".join(sorted(set(elements)))}'
        try:
            charges = formal_charges(elements, parameters['charges'])
        except (TypeError, ValueError) as error:
            return str(error)
        total = sum(charges[element] for element in elements)
        if abs(total) > 1e-6:
            listed = ', '.join(f'{element} {charges[element]:+g}' for element in sorted(charges))
            return f'the charges {listed} do not sum to zero over the structure but to {total:+g}: correct `charges`'
        return None

    def _charges(self) -> dict[str, float]:
        """Return the charge number of each element of the structure."""
        return formal_charges(self.inputs.structure.get_ase().get_chemical_symbols(), self.ctx.parameters['charges'])

    def run_analysis(self) -> orm.CalcFunctionNode:
        """Find diffusivities and conductivities."""
        parameters = self.ctx.parameters
        options = {
            'charges': self._charges(),
            'species': parameters['species'],
            'window_share': parameters['window_share'],
            'hop_length': parameters['hop_length'],
            'target_temperature_K': parameters['temperature_K'],
            'context': self.context(),
        }
        _, node = analyse_conductivity.run_get_node(
            self.ctx.md.outputs.trajectories.production,
            self.ctx.md.outputs.thermo.production,
            orm.Dict(options),
            metadata={'call_link_label': 'analyse_conductivity'},
        )
        return node

    def further_analyses(self) -> dict[str, Callable[[], orm.CalcFunctionNode]]:
        """Return the analysis of collective displacements: σ in self and distinct parts, Haven ratio, transference."""
        return {'collective': self._analyse_collective} if any(self._charges().values()) else {}

    def _analyse_collective(self) -> orm.CalcFunctionNode:
        parameters = self.ctx.parameters
        options = {
            'charges': self._charges(),
            'hop_length': parameters['hop_length'],
            'target_temperature_K': parameters['temperature_K'],
            'context': self.context(),
        }
        _, node = analyse_ionic_conductivity.run_get_node(
            self.ctx.md.outputs.trajectories.production,
            self.ctx.md.outputs.thermo.production,
            orm.Dict(options),
            metadata={'call_link_label': 'analyse_ionic_conductivity'},
        )
        return node
