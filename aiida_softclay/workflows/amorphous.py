"""The amorphous model: a start, such as eight rotated particles of two salts, treated until it is a glass at rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, WorkChain, if_, while_

from aiida_softclay.calcfunctions.equilibrium import (
    drifting,
    equilibrium_drifts,
    equilibrium_rows,
)
from aiida_softclay.calcfunctions.glass import summarise_glass
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.structures.checks import closest_contact
from aiida_softclay.structures.starts import GIVEN
from aiida_softclay.workflows.amorphous_checks import GlassChecksMixin
from aiida_softclay.workflows.amorphous_energies import GlassEnergiesMixin
from aiida_softclay.workflows.amorphous_plan import LAST, amorphous_plan, parameters_problem
from aiida_softclay.workflows.amorphous_start import build_start, material_of, start_problem, start_sentence
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.md import MdWorkChain, classical_inputs
from aiida_softclay.workflows.md_inputs import remote_problem
from aiida_softclay.workflows.md_remote import REMOTE_INPUTS, set_remote_inputs
from aiida_softclay.workflows.protocol import ProtocolMixin


class AmorphousWorkChain(ProtocolMixin, GlassEnergiesMixin, GlassChecksMixin, WorkChain):
    """Make the amorphous model of a material by the procedures of the papers.

    By default that of gupta2023 (Methods): a multilayer slab of the salts, equilibrated by AIMD if one is given and as
    built otherwise, is cut into a cubic particle; eight copies, turned against each other, are relaxed at 0 K, which
    closes the gaps, melted at constant volume, relaxed, and equilibrated at zero stress. Other protocols start from
    grains of one salt, from molecules or from a substituted crystal, and take other steps. All of them are one run of
    ``softclay.md``, and the last is repeated until nothing drifts any more.
    """

    _protocol_file = 'amorphous'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(
            MdWorkChain, include=('code', 'potential', 'classical', 'options', 'max_iterations', *REMOTE_INPUTS)
        )
        spec.input(
            'mixture', valid_type=orm.Str, serializer=orm.to_aiida_type,
            help='The material: salts and their ratio (2LiCl-GaF3), one salt (MgCl2), molecules (Li3Al3O2Cl8, '
            'LAOC0.3b) or a composition (LiAlO0.75Cl2.5), as the start takes it.',
        )  # fmt: skip
        spec.input(
            'structure', valid_type=orm.StructureData, required=False,
            help='What the start `given` begins with, for example a glass made by AIMD.',
        )  # fmt: skip
        spec.input(
            'interface', valid_type=orm.StructureData, required=False,
            help='Periodic slab with the interfaces in its ab plane, usually equilibrated by AIMD; built if not given.',
        )  # fmt: skip
        spec.input(
            'parameters', valid_type=orm.Dict, serializer=orm.to_aiida_type, validator=cls.validate_parameters,
            help='Start, steps, size, temperatures, durations: see the protocols and their descriptions.',
        )  # fmt: skip
        spec.inputs.validator = cls.validate_inputs
        spec.outline(
            cls.setup,
            cls.build,
            cls.run_md,
            cls.inspect_md,
            while_(cls.should_extend)(cls.run_extension, cls.inspect_md),
            cls.check_physics,
            if_(cls.should_compare_energies)(cls.run_energies, cls.inspect_energies),
            cls.results,
        )
        spec.output('structure', valid_type=orm.StructureData, required=False, help='The glass: the last snapshot.')
        spec.output('velocities', valid_type=orm.ArrayData, required=False, help='Velocities of it, Å/ps.')
        spec.output('initial_structure', valid_type=orm.StructureData, help='The start before the first step.')
        spec.output('start_report', valid_type=orm.Dict, required=False, help='How it was cut, turned and packed.')
        spec.output(
            'labels', valid_type=orm.ArrayData, required=False,
            help='Grain or molecule of every atom, in the order of the structures; -1 is a free ion.',
        )  # fmt: skip
        spec.output('statistics', valid_type=orm.Dict, required=False, help='Steps, speed and versions of the run.')
        spec.output_namespace(
            'thermo', valid_type=orm.ArrayData, dynamic=True, required=False, help='Time series of each stage.'
        )
        spec.output_namespace(
            'trajectories', valid_type=MdTrajectoryData, dynamic=True, required=False, help='Trajectory of each stage.'
        )
        spec.output_namespace(
            'remote_trajectories', valid_type=orm.RemoteData, dynamic=True, required=False,
            help='Where frames stay on the computer: the folder that holds those of each stage as STAGE.h5.',
        )  # fmt: skip
        spec.output_namespace(
            'stashed_trajectories', valid_type=orm.RemoteStashFolderData, dynamic=True, required=False,
            help='The same, copied to a folder below dump_stash.',
        )  # fmt: skip
        spec.output('results', valid_type=orm.Dict, required=False, help='Density, energy, cell, composition.')
        spec.output(
            'checks', valid_type=orm.Dict, required=False,
            help='Density against experiment, coordination before and after, torn molecules, energy above crystals.',
        )  # fmt: skip
        spec.output('picture', valid_type=orm.SinglefileData, required=False, help='The last snapshot, as a png.')
        spec.output(
            'energies', valid_type=orm.Dict, required=False,
            help='Energies at 0 K of the relaxed glass and of the crystals of its material, by the same potential.',
        )  # fmt: skip
        spec.exit_code(210, 'ERROR_BUILD', message='the structure cannot be built: {message}')
        spec.exit_code(410, 'ERROR_MD', message='the molecular dynamics run failed: {message}')
        spec.exit_code(501, 'ERROR_LOST_ATOMS', message='atoms were lost: {message}')
        spec.exit_code(502, 'ERROR_NOT_FINITE', message='the energy is not finite: {message}')
        spec.exit_code(504, 'ERROR_TEMPERATURE_RUNAWAY', message='{message}')
        spec.exit_code(
            510, 'ERROR_DENSITY',
            message='the glass has {ratio:.2f} times the density of the unmixed crystals, outside {low:g} to {high:g}: '
            'the potential does not hold this mixture together, or it has collapsed',
        )  # fmt: skip
        spec.exit_code(511, 'ERROR_COMPOSITION', message='the glass is {formula}, but {wanted} was built')
        spec.exit_code(
            513, 'ERROR_CONTACTS',
            message='{what}: the potential has lost its repulsion there; sample such configurations and fit it again',
        )  # fmt: skip
        spec.exit_code(
            512, 'ERROR_NOT_EQUILIBRATED',
            message='after {count} extensions these still drift: {what}; the glass and its numbers are attached, '
            'equilibrate longer (equilibrate.duration_ps, max_extensions) or state wider tolerances',
        )  # fmt: skip

    @classmethod
    def build_plan(cls, parameters: Mapping[str, Any]) -> MdPlan:
        """Return the stages of the steps.

        Raises
        ------
        PlanError
            With a sentence that says which parameter to change.
        """
        return amorphous_plan(parameters)

    @classmethod
    def validate_parameters(cls, node: orm.Dict, _: Any) -> str | None:
        """Return what is wrong with the parameters."""
        parameters = node.get_dict()
        required = set(cls.get_protocol_inputs())
        if unknown := sorted(set(parameters) - required - {'protocol', 'context'}):
            return f'unknown parameter {", ".join(unknown)}: known are {", ".join(sorted(required))}'
        if missing := sorted(required - set(parameters)):
            return f'the parameters lack {", ".join(missing)}: start from get_builder_from_protocol'
        return parameters_problem(parameters)

    @classmethod
    def validate_inputs(cls, inputs: AttributeDict, _: Any) -> str | None:
        """Return what is wrong with the combination of inputs."""
        if any(name not in inputs for name in ('mixture', 'parameters')):
            return None
        classical = inputs.get('classical') or {}
        if ('potential' in inputs) == ('pair_lines' in classical):
            return 'give either a potential (a model file) or classical.pair_lines, and not both'
        return remote_problem(inputs) or start_problem(inputs)

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        mixture: str | orm.Str,
        potential: orm.Data | None = None,
        classical: Mapping[str, Any] | None = None,
        *,
        interface: orm.StructureData | None = None,
        structure: orm.StructureData | None = None,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **remote: Any,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        code : Code
            LAMMPS.
        mixture : str
            The material, for example ``2LiCl-GaF3``.
        potential : PotentialData, optional
            Model file; else ``classical``.
        classical : mapping, optional
            ``pair_lines`` and ``files``, as for ``softclay.md``.
        interface : StructureData, optional
            Equilibrated slab.
        structure : StructureData, optional
            What to start from instead of what the protocol builds.
        protocol, overrides
            See :meth:`get_available_protocols` and :meth:`get_protocol_descriptions`.
        options : mapping, optional
            Scheduler options of the jobs.
        **remote
            ``analysis_code``, ``analysis_options``, ``max_retrieved_bytes`` and ``dump_stash``: what becomes of dumps
            that are too large to be retrieved, see ``softclay.md``.

        Raises
        ------
        ProtocolError
            If the protocol, or a key of the overrides, does not exist.
        """
        text = mixture.value if isinstance(mixture, orm.Str) else str(mixture)
        parameters = cls.get_protocol_inputs(protocol, overrides)
        if structure is not None:
            parameters['start'] = GIVEN
        builder = cls.get_builder()
        builder.code = code
        builder.mixture = mixture if isinstance(mixture, orm.Str) else orm.Str(text)
        builder.parameters = orm.Dict({**parameters, 'protocol': protocol or cls.get_default_protocol()})
        if interface is not None:
            builder.interface = interface
        if structure is not None:
            builder.structure = structure
        if potential is not None:
            builder.potential = potential
        if classical is not None:
            builder.classical = classical_inputs(classical)
        if options is not None:
            default = MdWorkChain.spec().inputs['options'].default().get_dict()
            builder.options = orm.Dict({**default, **options})
        set_remote_inputs(builder, remote)
        builder.metadata.label = f'amorphous {text}'
        return builder

    def setup(self):
        """Unpack the inputs."""
        self.ctx.parameters = self.inputs.parameters.get_dict()
        self.ctx.material = material_of(self.inputs).name
        self.ctx.rule_density = material_of(self.inputs).rule_density
        self.ctx.extensions = 0

    def build(self):
        """Build the start."""
        try:
            made = build_start(self.inputs)
        except ValueError as error:
            return self.exit_codes.ERROR_BUILD.format(message=str(error))
        self.ctx.initial = made.structure
        self.out('initial_structure', made.structure)
        if 'report' in made:
            self.out('start_report', made.report)
        if 'labels' in made:
            self.out('labels', made.labels)
        for name in ('slab_report', 'report'):
            for sentence in made[name]['warnings'] if name in made else ():
                self.report(f'warning: {sentence}')
        self.report(start_sentence(material_of(self.inputs), made, self.ctx.parameters['start']))
        return None

    def run_md(self):
        """Submit all stages as one run."""
        plan = self.build_plan(self.ctx.parameters)
        self.ctx.last_stage = LAST
        return self._submit(plan, self.ctx.initial, None, 'md')

    def _submit(self, plan: MdPlan, structure: orm.StructureData, velocities: orm.ArrayData | None, label: str) -> Any:
        """Submit a run of ``softclay.md``."""
        inputs = AttributeDict(self.exposed_inputs(MdWorkChain))
        inputs.structure = structure
        inputs.plan = orm.Dict(plan.to_dict())
        if velocities is not None:
            inputs.velocities = velocities
        inputs.metadata = {'call_link_label': label, 'label': f'{self.inputs.mixture.value}: {label}'}
        node = self.submit(MdWorkChain, **inputs)
        self.report(
            f'launched {", ".join(plan.stage_names)}: {plan.total_duration_ps:g} ps of dynamics, MdWorkChain<{node.pk}>'
        )
        return ToContext(md=node)

    def inspect_md(self):
        """Attach what the run gave and stop if it failed."""
        md = self.ctx.md
        for namespace in ('thermo', 'trajectories'):
            if namespace in md.outputs:
                for name, node in md.outputs[namespace].items():
                    self.out(f'{namespace}.{name}', node)
        for namespace in ('remote_trajectories', 'stashed_trajectories'):
            for name in md.outputs.remote_summary['stages'] if namespace in md.outputs else ():
                self.out(f'{namespace}.{name}', md.outputs[namespace])
        if md.is_finished_ok:
            return None
        for name in ('ERROR_LOST_ATOMS', 'ERROR_NOT_FINITE', 'ERROR_TEMPERATURE_RUNAWAY'):
            if md.exit_status == MdWorkChain.exit_codes[name].status:
                return self.exit_codes[name].format(message=message_of(md))
        return self.exit_codes.ERROR_MD.format(message=message_of(md))

    def should_extend(self):
        """Return whether the glass still drifts and may be equilibrated further."""
        if self.ctx.extensions >= int(self.ctx.parameters['max_extensions']):
            return False
        self.ctx.drifting = self._drifting()
        return bool(self.ctx.drifting)

    def _drifting(self) -> list[str]:
        """Return what still drifts in the last stage."""
        thermo = self.ctx.md.outputs.thermo[self.ctx.last_stage]
        drifts = equilibrium_drifts(
            thermo, len(self.ctx.initial.sites), float(self.ctx.parameters['discard_fraction']),
            self.ctx.parameters['drift_tolerance'],
        )  # fmt: skip
        return drifting(drifts)

    def run_extension(self):
        """Equilibrate for as long again, from the last positions and velocities.

        The thermostat and barostat start at rest, so the seam is no exact continuation; averages never reach over it.
        """
        self.ctx.extensions += 1
        self.ctx.last_stage = f'equilibrate_{self.ctx.extensions + 1}'
        plan = self.build_plan(self.ctx.parameters).to_dict()
        plan['stages'] = [{**plan['stages'][-1], 'name': self.ctx.last_stage}]
        self.report(f'{", ".join(self.ctx.drifting)} still drift: extension {self.ctx.extensions}')
        md = self.ctx.md.outputs
        return self._submit(MdPlan.from_dict(plan), md.structure, md.velocities, f'md_extension_{self.ctx.extensions}')

    def check_physics(self):
        """Refuse a glass that has lost its composition, exploded or collapsed, as a whole or between two ions."""
        md = self.ctx.md.outputs
        for name in ('structure', 'velocities', 'statistics'):
            self.out(name, md[name])
        formula, wanted = md.structure.get_formula(), self.ctx.initial.get_formula()
        if formula != wanted:
            return self.exit_codes.ERROR_COMPOSITION.format(formula=formula, wanted=wanted)
        thermo = md.thermo[self.ctx.last_stage]
        rows = equilibrium_rows(thermo, float(self.ctx.parameters['discard_fraction']))
        if not np.isfinite(thermo.get_array('potential_energy_eV')).all():
            return self.exit_codes.ERROR_NOT_FINITE.format(message=f'stage {self.ctx.last_stage}')
        if contact := closest_contact(md.structure.get_ase(), float(self.ctx.parameters['contact_fraction'])):
            return self.exit_codes.ERROR_CONTACTS.format(what=contact)
        if self.ctx.rule_density is None:
            self.report('warning: the density is not judged: the crystals of this material are not known')
            return None
        ratio = float(thermo.get_array('density_g_cm3')[rows].mean()) / self.ctx.rule_density
        low, high = self.ctx.parameters['density_range']
        if not low <= ratio <= high:
            return self.exit_codes.ERROR_DENSITY.format(ratio=ratio, low=low, high=high)
        return None

    def _treatment(self) -> dict[str, Any]:
        """Return the temperatures, times and rates of the steps that were taken."""
        parameters, steps = self.ctx.parameters, self.ctx.parameters['steps']
        found: dict[str, Any] = {}
        if 'melt' in steps:
            found['melt_temperature_K'] = parameters['melt']['temperature_K']
            found['melt_duration_ps'] = parameters['melt']['duration_ps']
        if 'quench' in steps:
            found['quench_rate_K_per_ps'] = parameters['quench']['rate_K_per_ps']
        return found

    def results(self):
        """Collect the numbers."""
        md = self.ctx.md.outputs
        parameters = self.ctx.parameters
        engine = md.statistics.get_dict().get('engine') or {}
        summary = summarise_glass(
            md.structure,
            md.thermo[self.ctx.last_stage],
            orm.Dict(
                {
                    'material': self.ctx.material,
                    'temperature_K': parameters['equilibrate']['temperature_K'],
                    'discard_fraction': parameters['discard_fraction'],
                    'drift_tolerance': parameters['drift_tolerance'],
                    'context': {
                        'engine': engine_text(engine),
                        'potential_uuid': engine.get('potential_uuid'),
                        'protocol': parameters.get('protocol', 'own parameters'),
                        'formula': md.structure.get_formula(),
                        'n_atoms': len(md.structure.sites),
                        'start': parameters['start'],
                        'steps': ', '.join(parameters['steps']),
                        **self._treatment(),
                        'extensions': self.ctx.extensions,
                        **(parameters.get('context') or {}),
                    },
                }
            ),
            metadata={'call_link_label': 'summarise_glass'},
        )
        self.out('results', summary)
        density = summary['numbers'][0]
        for sentence in density['warnings']:
            self.report(f'warning: {sentence}')
        self.report(f'density {density["value"]:.3f} ± {density["error"] or float("nan"):.3f} g/cm^3')
        self.check_glass(summary)
        self.draw_glass()
        left = self._drifting()
        if left and parameters['require_equilibrium']:
            return self.exit_codes.ERROR_NOT_EQUILIBRATED.format(what=', '.join(left), count=self.ctx.extensions)
        return None
