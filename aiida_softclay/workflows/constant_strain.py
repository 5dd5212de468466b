"""Deformation at constant rate: modulus and yield stress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiida import orm

from aiida_softclay.calcfunctions.mechanics import analyse_stress_strain_curve
from aiida_softclay.calcfunctions.plasticity import analyse_plasticity
from aiida_softclay.calculations.md_plan import COMPONENTS, MdPlan
from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.workflows.experiment import ExperimentWorkChain


class ConstantStrainWorkChain(ExperimentWorkChain):
    """Deform one component of the cell at a constant rate, all others at zero stress, and follow the stress.

    As in gupta2023 Fig. 2a (yz at 1e9 per second, 300 K) and you2025 Fig. S19 (tension along x).
    """

    _protocol_file = 'constant_strain'
    _title = 'constant strain rate'

    @classmethod
    def build_plan(cls, parameters: Mapping[str, Any]) -> MdPlan:
        """Return the stages: equilibration and deformation."""
        component = parameters['component']
        if component not in COMPONENTS:
            raise ValueError(f'unknown component `{component}`: choose from {", ".join(COMPONENTS)}')
        rate, largest = float(parameters['rate_per_ps']), float(parameters['maximum_strain'])
        if rate == 0 or largest <= 0:
            raise ValueError(
                f'rate_per_ps = {rate:g} and maximum_strain = {largest:g}: the rate must not be zero (negative for '
                'compression) and the maximum strain positive'
            )
        window = parameters['elastic_window']
        if len(window) != 2 or not 0 <= window[0] < window[1] <= largest:
            raise ValueError(f'elastic_window {window} must be two strains in order, within 0 … {largest:g}')
        common = {
            'temperature_K': parameters['temperature_K'],
            'tdamp_ps': parameters['tdamp_ps'],
            'pdamp_ps': parameters['pdamp_ps'],
        }
        return MdPlan.from_dict(
            {
                'timestep_ps': parameters['timestep_ps'],
                'seed': parameters['seed'],
                'thermo_every': parameters['thermo_every'],
                'dump_every': parameters['dump_every'],
                'stages': [
                    {
                        'name': 'equilibrate', 'kind': 'npt', 'duration_ps': parameters['equilibrate_ps'],
                        'coupling': 'tri', **common,
                    },
                    {
                        'name': 'deform', 'kind': 'deform', 'component': component, 'rate_per_ps': rate,
                        'duration_ps': largest / abs(rate), **common,
                    },
                ],
            }
        )  # fmt: skip

    def run_analysis(self) -> orm.CalcFunctionNode:
        """Find modulus and yield stress."""
        parameters = self.ctx.parameters
        options = {
            'component': parameters['component'],
            'rate_per_ps': parameters['rate_per_ps'],
            'n_atoms': len(self.inputs.structure.sites),
            'target_temperature_K': parameters['temperature_K'],
            'elastic_window': parameters['elastic_window'],
            'half_width': parameters['average_half_width'],
            'offset': parameters['yield_offset'],
            'context': self.context(),
        }
        _, node = analyse_stress_strain_curve.run_get_node(
            self.ctx.md.outputs.thermo.deform,
            orm.Dict(options),
            metadata={'call_link_label': 'analyse_stress_strain_curve'},
        )
        return node

    def further_analyses(self) -> dict[str, Callable[[], orm.CalcFunctionNode]]:
        """Return the analysis of non-affine displacements: where the glass gives way (gupta2023, Fig. 2)."""
        return {'plasticity': self._analyse_plasticity}

    def _analyse_plasticity(self) -> orm.CalcFunctionNode:
        parameters = self.ctx.parameters
        symbols = set(self.inputs.structure.get_symbols_set())
        charges = {symbol: IONIC_RADII[symbol][1] for symbol in symbols if symbol in IONIC_RADII}
        options = {
            'component': parameters['component'],
            # The neighbours that are followed are those of the cation of the highest charge, Ga in gupta2023.
            'central': max(charges, key=lambda symbol: (charges[symbol], symbol)) if charges else None,
            # In a small cell no atom may lie below a tenth of the maximum; percentiles always hold some.
            'class_rule': 'percentile',
            'context': self.context(),
        }
        trajectories = self.ctx.md.outputs.trajectories
        _, node = analyse_plasticity.run_get_node(
            trajectories.deform, orm.Dict(options), metadata={'call_link_label': 'analyse_plasticity'}
        )
        return node
