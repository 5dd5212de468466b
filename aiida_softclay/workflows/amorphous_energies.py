"""The energy of a glass above its crystals: relaxations of both at 0 K with the same potential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext

from aiida_softclay.calcfunctions.glass import collect_energies
from aiida_softclay.calcfunctions.structures import build_crystal
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.structures.materials import Material
from aiida_softclay.workflows.amorphous_start import material_of
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.md import MdWorkChain
from aiida_softclay.workflows.md_remote import REMOTE_INPUTS

GLASS = 'glass'
STAGE = 'relax'
#: Narrowest width of a crystal's supercell, Å. LAMMPS needs none, but a potential sees more than one cell of it.
CRYSTAL_LENGTH = 8.0


def relaxation_plan(parameters: Mapping[str, Any]) -> MdPlan:
    """Return the relaxation of positions and cell to zero stress, from the parameters of ``softclay.amorphous``."""
    relax = {**parameters['relax'], 'closing_pressure_GPa': 0.0, 'dump_every': int(parameters['relax']['max_steps'])}
    return MdPlan.from_dict(
        {
            'timestep_ps': parameters['timestep_ps'],
            'seed': int(parameters['seed']),
            'thermo_every': parameters['thermo_every'],
            'stages': [{'name': STAGE, 'kind': 'minimise', **relax}],
        }
    )


def energy_structures(material: Material, glass: orm.StructureData) -> dict[str, orm.StructureData]:
    """Return what is relaxed, by name: the glass, and the crystals of its material."""
    found = {GLASS: glass}
    for name in material.crystals:
        wishes = orm.Dict({'crystal': name, 'min_length': CRYSTAL_LENGTH})
        made = build_crystal(wishes, metadata={'call_link_label': f'build_crystal_{name}'})
        found[name] = made['structure'] if isinstance(made, Mapping) else made
    return found


def energy_inputs(
    exposed: AttributeDict, structure: orm.StructureData, parameters: Mapping[str, Any], name: str
) -> AttributeDict:
    """Return the inputs of the relaxation of one structure."""
    inputs = AttributeDict(exposed)
    inputs.structure = structure
    inputs.plan = orm.Dict(relaxation_plan(parameters).to_dict())
    for remote in REMOTE_INPUTS:
        # Two frames of a relaxation, which nobody reads: they are no reason for further jobs.
        inputs.pop(remote, None)
    inputs.metadata = {'call_link_label': f'relax_{name}', 'label': f'{name} at 0 K'}
    return inputs


def about_structures(structures: Mapping[str, orm.StructureData]) -> dict[str, dict[str, Any]]:
    """Return formula and number of atoms of each structure, for the table of energies."""
    return {
        name: {'formula': node.get_formula(mode='hill'), 'n_atoms': len(node.sites)}
        for name, node in structures.items()
    }


class GlassEnergiesMixin:
    """Relax a glass and the crystals of its material at 0 K, in a workchain with the inputs of ``softclay.md``.

    The workchain holds ``ctx.parameters`` and ``ctx.md``, the run whose last structure is the glass.
    """

    def should_compare_energies(self):
        """Return whether the crystals are relaxed too."""
        return bool(self.ctx.parameters['reference_energies'])

    def run_energies(self):
        """Relax the glass and the crystals of its material at 0 K, side by side."""
        structures = energy_structures(material_of(self.inputs), self.ctx.md.outputs.structure)
        self.ctx.energy_structures = structures
        exposed = self.exposed_inputs(MdWorkChain)
        running = {
            f'energy_{name}': self.submit(MdWorkChain, **energy_inputs(exposed, node, self.ctx.parameters, name))
            for name, node in structures.items()
        }
        self.report(f'launched the relaxations of {", ".join(structures)} at 0 K')
        return ToContext(**running)

    def inspect_energies(self):
        """Gather the energies; a crystal that this potential cannot relax is named and left out."""
        found = {}
        for name in self.ctx.energy_structures:
            process = self.ctx[f'energy_{name}']
            if process.is_finished_ok:
                found[name] = process.outputs.thermo[STAGE]
            else:
                self.report(f'warning: no energy of {name}: {message_of(process)}')
        about = about_structures({name: self.ctx.energy_structures[name] for name in found})
        self.out(
            'energies',
            collect_energies(
                orm.Dict({'structures': about}), **found, metadata={'call_link_label': 'collect_energies'}
            ),
        )
