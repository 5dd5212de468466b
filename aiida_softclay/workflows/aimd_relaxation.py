"""The relaxation that a segment of an AIMD plan may ask for before it starts."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ToContext, append_
from aiida_vasp.calcs.vasp import VaspCalculation

from aiida_softclay.calcfunctions.aimd import draw_velocities, in_order_of_sites, in_order_of_vasp
from aiida_softclay.calculations.aimd_plan import AimdPlan, AimdRun
from aiida_softclay.calculations.aimd_segment import AimdSegment

#: What moves, to VASP's ISIF.
ISIF = {'ions': 2, 'cell': 3}


class AimdRelaxationMixin:
    """Relax to a minimum of the energy and draw velocities anew, where the next segment asks for it.

    A melt is far from its minimum: a relaxation that has not converged is continued from where it stopped.
    """

    ctx: Any
    inputs: Any
    defaults: Any
    exit_codes: Any
    report: Any
    submit: Any
    potentials: Any
    attach_frames: Any
    _options: Any

    def _next_segment(self) -> tuple[AimdPlan, AimdSegment, AimdRun]:
        plan, run = AimdPlan.from_dict(self.ctx.plan), AimdRun(**self.ctx.queue[0])
        return plan, plan.segments[run.segment_index], run

    def should_relax(self) -> bool:
        """Return whether the next segment wants a relaxation that has not been done."""
        _, segment, run = self._next_segment()
        return segment.relax_before is not None and run.start == 0 and self.ctx.relaxed != segment.name

    def run_relaxation(self) -> ToContext:
        """Submit the relaxation."""
        plan, segment, _ = self._next_segment()
        tags = {key.lower(): value for key, value in self.inputs.incar.get_dict().items()}
        tags |= {
            'ibrion': 2,
            'isif': ISIF[str(segment.relax_before)],
            'nsw': self.defaults.relaxation_steps,
            'ediffg': -plan.relaxation_force_eV_A,
        }
        grouped = in_order_of_vasp(self.ctx.structure, metadata={'call_link_label': 'in_order_of_vasp'})
        calculation = self.submit(
            VaspCalculation,
            code=self.inputs.code,
            structure=grouped,
            parameters=orm.Dict(tags),
            kpoints=self.inputs.kpoints,
            potential=self.potentials(),
            settings=orm.Dict({'parser_settings': {'include_node': ['structure']}}),
            metadata={
                'options': self._options(),
                'call_link_label': f'relax_{segment.name}_{self.ctx.relaxation_runs}',
                'label': f'relaxation before {segment.name}',
            },
        )
        self.ctx.relaxation_runs += 1
        self.report(f'{segment.name}: relaxation ({segment.relax_before}) launched <{calculation.pk}>')
        return ToContext(relaxations=append_(calculation))

    def inspect_relaxation(self) -> ExitCode | None:
        """Take the relaxed structure and draw velocities at the temperature of the segment, or go on relaxing."""
        plan, segment, run = self._next_segment()
        calculation = self.ctx.relaxations[-1]
        converged = calculation.exit_status == 0
        message = calculation.exit_message or f'exit status {calculation.exit_status}'
        if 'structure' not in calculation.outputs or (
            not converged and self.ctx.relaxation_runs >= self.inputs.max_iterations.value
        ):
            self.attach_frames()
            return self.exit_codes.ERROR_RELAXATION_FAILED.format(
                segment=segment.name, count=self.ctx.relaxation_runs, message=f'<{calculation.pk}> {message}'
            )
        self.ctx.structure = in_order_of_sites(
            self.ctx.structure, calculation.outputs.structure, metadata={'call_link_label': 'in_order_of_sites'}
        )
        if not converged:
            self.report(f'{segment.name}: {message}; going on with the relaxation from there')
            return None
        self.ctx.relaxed = segment.name
        self.ctx.velocities = draw_velocities(
            self.ctx.structure,
            orm.Dict({'temperature_K': segment.temperature_K, 'seed': plan.seed + run.first_step}),
            metadata={'call_link_label': 'draw_velocities'},
        )
        return None
