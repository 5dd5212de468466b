"""Deformation at constant rate: modulus and yield stress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.common import AttributeDict
from ase import Atoms

from aiida_softclay.calcfunctions.mechanics import analyse_stress_strain_curve
from aiida_softclay.calcfunctions.plasticity import analyse_plasticity
from aiida_softclay.calculations.lammps_system import lammps_cell
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.calculations.md_stages import COMPONENTS, SHEAR_COMPONENTS
from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.workflows.experiment import ExperimentWorkChain
from aiida_softclay.workflows.trajectory_analyses import trajectory_of

#: Frames in each interval of strain: a frame is then within a tenth of the interval of its place.
FRAMES_PER_SNAPSHOT = 5
#: Fewest rows in the elastic window; four make a line.
FEWEST_ROWS = 8
#: Largest strain between two rows of output: a flip of the cell is a jump of half a lattice vector at least.
LARGEST_STEP = 0.05
#: Tilt of the cell over its length at which the box of LAMMPS ends (1.5), less what the free lengths may change.
LARGEST_TILT = 1.3
#: Lengths of the cell that are the height of a tilt and the limit of it.
_HEIGHT_AND_LENGTH = {'xy': (1, 0), 'xz': (2, 0), 'yz': (2, 1)}


def snapshot_stride(parameters: Mapping[str, Any]) -> int:
    """Return the steps between two frames, so that every interval of D²min has some at any rate.

    Raises
    ------
    ValueError
        If a stride was given that leaves intervals without a frame.
    """
    interval = float(parameters['snapshot_strain'])
    if not 0 < interval <= float(parameters['maximum_strain']):
        raise ValueError(
            f'snapshot_strain = {interval:g} must be positive and within maximum_strain = '
            f'{float(parameters["maximum_strain"]):g}'
        )
    strain_per_step = abs(float(parameters['rate_per_ps'])) * float(parameters['timestep_ps'])
    if parameters['dump_every'] is None:
        if not strain_per_step > 0:
            return 1  # The plan says what is wrong with the time step.
        return max(1, int(interval / FRAMES_PER_SNAPSHOT / strain_per_step + 1e-9))
    spacing = strain_per_step * int(parameters['dump_every'])
    if spacing > interval * (1 + 1e-9):
        raise ValueError(
            f'dump_every = {parameters["dump_every"]} leaves a strain of {spacing:.3g} between two frames, more than '
            f'snapshot_strain = {interval:g}: leave it null, which fits the rate'
        )
    return int(parameters['dump_every'])


def largest_tilt(atoms: Atoms, component: str, strain: float) -> float:
    """Return the largest tilt over length that a cell reaches when it is sheared by a strain, flips never being made.

    The cell is taken in the orientation of LAMMPS, with the lengths that it has before.
    """
    matrix = lammps_cell(np.asarray(atoms.cell[:])).cell
    height, limit = _HEIGHT_AND_LENGTH[component]
    before = float(matrix[height, limit] / matrix[limit, limit])
    return max(abs(before), abs(before + strain * float(matrix[height, height] / matrix[limit, limit])))


class ConstantStrainWorkChain(ExperimentWorkChain):
    """Deform one component of the cell at a constant rate, all others at zero stress, and follow the stress.

    As in gupta2023 Fig. 2a (yz at 1e9 per second, 300 K) and you2025 Fig. S19 (tension along x). A negative rate
    compresses, or shears the other way. The box of LAMMPS is never flipped, so that the strain is its tilt over its
    height; what would need a flip, or would be read too seldom to notice one, is refused.
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
        if not (abs(rate) > 0 and largest > 0):
            raise ValueError(
                f'rate_per_ps = {rate:g} and maximum_strain = {largest:g}: the rate must not be zero (negative for '
                'compression) and the maximum strain positive'
            )
        window = parameters['elastic_window']
        if len(window) != 2 or not 0 <= window[0] < window[1] <= largest:
            raise ValueError(f'elastic_window {window} must be two strains in order, within 0 … {largest:g}')
        if not float(parameters['average_half_width']) > 0 or not float(parameters['yield_offset']) > 0:
            raise ValueError('average_half_width and yield_offset are strains, and must be positive')
        dump_every = snapshot_stride(parameters)
        common = {
            'temperature_K': parameters['temperature_K'],
            'tdamp_ps': parameters['tdamp_ps'],
            'pdamp_ps': parameters['pdamp_ps'],
        }
        plan = MdPlan.from_dict(
            {
                'timestep_ps': parameters['timestep_ps'],
                'seed': parameters['seed'],
                'thermo_every': parameters['thermo_every'],
                'dump_every': dump_every,
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
        step = abs(rate) * float(parameters['timestep_ps']) * int(parameters['thermo_every'])
        if component in SHEAR_COMPONENTS and step > LARGEST_STEP:
            raise ValueError(
                f'the strain changes by {step:.3g} from one row of output to the next, in which a flip of the box '
                'would not be seen: lower rate_per_ps or thermo_every'
            )
        if (rows := (window[1] - window[0]) / step) < FEWEST_ROWS:
            raise ValueError(
                f'elastic_window {window} holds {rows:.2g} rows of output at this rate, {FEWEST_ROWS} are needed: '
                'lower thermo_every or rate_per_ps, or widen the window'
            )
        return plan

    @classmethod
    def validate_inputs(cls, inputs: AttributeDict, context: Any) -> str | None:
        """Return what is wrong with the combination of inputs: the strain must not need a flip of the box."""
        if problem := super().validate_inputs(inputs, context):
            return problem
        if 'structure' not in inputs or 'parameters' not in inputs:
            return None
        parameters = inputs['parameters'].get_dict()
        component, largest = parameters['component'], float(parameters['maximum_strain'])
        if component not in SHEAR_COMPONENTS:
            return None
        atoms = inputs['structure'].get_ase()
        sign = 1.0 if parameters['rate_per_ps'] > 0 else -1.0
        tilt = largest_tilt(atoms, component, sign * largest)
        if tilt <= LARGEST_TILT:
            return None
        return (
            f'a shear {component} of {sign * largest:g} tilts this cell to {tilt:.2g} times its length, where the box '
            f'would have to flip ({LARGEST_TILT} is allowed, since the free lengths change): lower maximum_strain, or '
            'repeat the cell along the direction of shear'
        )

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

    def further_analyses(self) -> dict[str, tuple[Any, Callable[[], orm.ProcessNode]]]:
        """Return the analysis of non-affine displacements: where the glass gives way (gupta2023, Fig. 2)."""
        return {'plasticity': (trajectory_of(self.ctx.md, 'deform'), self._analyse_plasticity)}

    def _analyse_plasticity(self) -> orm.ProcessNode:
        parameters = self.ctx.parameters
        symbols = set(self.inputs.structure.get_symbols_set())
        charges = {symbol: IONIC_RADII[symbol][1] for symbol in symbols if symbol in IONIC_RADII}
        options = {
            'component': parameters['component'],
            'interval': parameters['snapshot_strain'],
            # The neighbours that are followed are those of the cation of the highest charge, Ga in gupta2023.
            'central': max(charges, key=lambda symbol: (charges[symbol], symbol)) if charges else None,
            # In a small cell no atom may lie below a tenth of the maximum; percentiles always hold some.
            'class_rule': 'percentile',
            'context': self.context(),
        }
        trajectory = trajectory_of(self.ctx.md, 'deform')
        return self.start_analysis('plasticity', analyse_plasticity, options, trajectory, 'deform')
