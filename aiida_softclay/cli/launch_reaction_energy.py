"""``softclay launch reaction-energy``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import echo

from aiida_softclay.cli.launching import find_family, launch_command, read_structures_file


@launch_command('reaction-energy', 'vasp')
@click.argument('mixture')
@click.option('--family', help='POTCAR family, if there are several.')
@click.option('--ion', help='Mobile ion, for the electrochemical window against its metal, for example Li.')
@click.option(
    '--phase', 'phases', multiple=True, metavar='NAME=STRUCTURE',
    help='A further competing phase: a structure file or the pk of a structure, once for each.',
)  # fmt: skip
@click.option('--max-jobs', type=click.IntRange(1), help='Most phases at once.')
def reaction_energy(mixture, family, ion, phases, max_jobs, protocol, overrides, options, codes):
    """Relax all phases that compete with the salts of MIXTURE (LiCl-GaF3): driving force, hull energies, window.

    The phases are the crystals of these elements, as `softclay crystals Li-Ga-F-Cl` lists them, and those given with
    --phase. With amounts, 2LiCl-GaF3, that ratio is computed besides the one with the largest driving force.
    """
    from aiida.plugins import WorkflowFactory

    builder = WorkflowFactory('softclay.reaction_energy').get_builder_from_protocol(
        codes['vasp'], mixture, find_family(family), ion=ion, structures=dict(_named(text) for text in phases),
        protocol=protocol, overrides=overrides, options=options, max_concurrent_jobs=max_jobs,
    )  # fmt: skip
    return builder, [estimate(builder)]


def _named(text: str) -> tuple[str, Any]:
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    name, equals, what = text.partition('=')
    if not (name.isidentifier() and equals and what):
        echo.echo_critical(f'--phase {text} is not NAME=STRUCTURE: a name of letters, digits and _, then a file or pk')
    if Path(what).is_file():
        return name, orm.StructureData(ase=read_structures_file(Path(what)))
    try:
        return name, types.DataParamType(sub_classes=('aiida.data:core.structure',)).convert(what, None, None)
    except (click.BadParameter, NotExistent):
        echo.echo_critical(f'--phase {text}: {what} is neither a file nor the pk of a structure')
        raise


def estimate(builder: Any) -> Any:
    """Return the size of a run, every relaxation as long as it may be."""
    from aiida_softclay.calcfunctions.thermodynamics import primitive_cell
    from aiida_softclay.structures.crystals import crystal
    from aiida_softclay.workflows.estimate import CHGNET_CORE_SECONDS, StageEstimate
    from aiida_softclay.workflows.reaction_energy import library_phases

    parameters = builder.parameters.get_dict()
    taken, _ = library_phases(parameters)
    atoms = [len(primitive_cell(crystal(name))) for name in taken]
    atoms += [len(structure.sites) for structure in (builder.structures or {}).values()]
    if largest := parameters['phases']['max_atoms']:
        atoms = [count for count in atoms if count <= largest]
    steps = int(parameters['relaxation'].get('nsw', 0))
    jobs = 2 if parameters['final_single_point'] else 1
    return StageEstimate(
        'phases', jobs * len(atoms), max(atoms, default=0), steps * len(atoms),
        core_hours=steps * sum(atoms) * CHGNET_CORE_SECONDS / 3600,
    )  # fmt: skip
