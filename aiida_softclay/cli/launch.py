"""``softclay launch``: start a study or one of its stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import echo

from aiida_softclay.cli.launch_analyse import analyse
from aiida_softclay.cli.launch_build_potential import build_potential
from aiida_softclay.cli.launch_committee import fit_committee
from aiida_softclay.cli.launch_concurrent import concurrent_learning
from aiida_softclay.cli.launch_conductivity_series import conductivity_series
from aiida_softclay.cli.launch_glass_transition import glass_transition
from aiida_softclay.cli.launch_label import label
from aiida_softclay.cli.launch_melt_quench import melt_quench
from aiida_softclay.cli.launch_paper import paper
from aiida_softclay.cli.launch_reaction_energy import reaction_energy
from aiida_softclay.cli.launch_series import SERIES
from aiida_softclay.cli.launch_validate import validate_potential
from aiida_softclay.cli.launching import (
    check_builder,
    find_family,
    launch_command,
    read_choices,
    read_structures_file,
)


@click.group('launch')
def launch() -> None:
    """Launch a study of a mixture, or one stage of it."""


FAMILY = click.option('--family', help='POTCAR family, if there are several.')
POTENTIAL = click.option(
    '--potential', type=types.DataParamType(sub_classes=('aiida.data:softclay.potential',)),
    help='A fitted potential (pk or uuid).',
)  # fmt: skip
STRUCTURE = click.argument('structure', type=types.DataParamType(sub_classes=('aiida.data:core.structure',)))


def _build(process: str, *args: Any, **kwargs: Any) -> Any:
    from aiida.plugins import WorkflowFactory

    return WorkflowFactory(process).get_builder_from_protocol(*args, **kwargs)


@launch.command('protocols')
@click.argument('process', type=click.Choice(
    ['study', 'paper', 'build_potential', 'aimd', 'melt_quench', 'fit_potential', 'fit_committee',
     'concurrent_learning', 'validate_potential', 'label', 'reaction_energy', 'amorphous', 'stress_pulse',
     'constant_strain', 'glass_transition', 'conductivity', 'stress_pulse_series', 'constant_strain_series',
     'conductivity_series']
))  # fmt: skip
@click.argument('protocol', required=False)
def protocols(process: str, protocol: str | None) -> None:
    """List the protocols of PROCESS, or print the values of one PROTOCOL with their meaning and source."""
    import yaml
    from aiida.plugins import WorkflowFactory

    workchain = WorkflowFactory(f'softclay.{process}')
    if protocol is None:
        for name, description in workchain.get_available_protocols().items():
            default = ' (default)' if name == workchain.get_default_protocol() else ''
            echo.echo(f'{name}{default}: {description.strip()}')
        return
    try:
        values = workchain.get_protocol_inputs(protocol)
    except ValueError as error:
        echo.echo_critical(str(error))
    echo.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    # As comments, so that the output is a file of overrides.
    for name, description in workchain.get_protocol_descriptions().items():
        echo.echo('\n'.join(f'# {line}' for line in f'{name}: {description.strip()}'.splitlines()))


@launch_command('study', 'vasp', 'dp', 'lmp', dumps=True)
@click.argument('mixture')
@FAMILY
@POTENTIAL
@click.option('--max-jobs', type=click.IntRange(1), help='Most branches at once.')
def study(mixture, family, potential, max_jobs, protocol, overrides, options, codes, remote):
    """Compute everything for MIXTURE, for example 2LiCl-GaF3: sample, fit, build the glass, load it, let it diffuse."""
    from aiida_softclay.workflows.estimate import estimate_study

    builder = _build(
        'softclay.study', codes, mixture, potential_family=find_family(family), potential=potential, protocol=protocol,
        overrides=overrides, options=dict.fromkeys(codes, options) if options else None, max_concurrent_jobs=max_jobs,
        **remote,
    )  # fmt: skip
    return builder, estimate_study(mixture, builder.parameters.get_dict(), with_fit=potential is None)


@launch_command('aimd', 'vasp')
@click.argument('structure')
@FAMILY
@click.option('--min-length', type=click.FloatRange(min=1), default=10.0, show_default=True, help='Of the cell, Å.')
def aimd(structure, family, min_length, protocol, overrides, options, codes):
    """Sample STRUCTURE by AIMD: the name of a known crystal, a structure file, or the pk of a StructureData."""
    from aiida_softclay.workflows.estimate import estimate_aimd

    node = _load_structure(structure, min_length)
    builder = _build(
        'softclay.aimd', code=codes['vasp'], structure=node, potential_family=find_family(family), protocol=protocol,
        overrides=overrides, options=options,
    )  # fmt: skip
    return builder, [estimate_aimd('aimd', builder.plan.get_dict(), len(node.sites))]


@launch_command('fit-potential', 'dp')
@click.argument(
    'frames', nargs=-1, required=True, type=types.DataParamType(sub_classes=('aiida.data:softclay.frames',))
)
@click.option(
    '--continue-from', 'parent_folder', type=types.DataParamType(sub_classes=('aiida.data:core.remote',)),
    help='Output remote_folder of a fit with the same frames and protocol whose training did not finish.',
)  # fmt: skip
def fit_potential(frames, parent_folder, protocol, overrides, options, codes):
    """Fit a potential to the labelled FRAMES (pks or uuids)."""
    from aiida_softclay.workflows.estimate import estimate_fit, mean_atoms

    builder = _build(
        'softclay.fit_potential', codes['dp'], {f'set_{index:03d}': node for index, node in enumerate(frames)},
        protocol=protocol, overrides=overrides, options=options, parent_folder=parent_folder,
    )  # fmt: skip
    return builder, [estimate_fit(builder.parameters.get_dict(), mean_atoms(frames))]


@launch_command('amorphous', 'lmp', dumps=True)
@click.argument('material')
@POTENTIAL
@click.option(
    '--interface', type=types.DataParamType(sub_classes=('aiida.data:core.structure',)), help='Equilibrated slab.'
)
@click.option(
    '--structure', type=types.DataParamType(sub_classes=('aiida.data:core.structure',)),
    help='What to start from, such as a glass made by AIMD, instead of what the protocol builds.',
)  # fmt: skip
def amorphous(material, potential, interface, structure, protocol, overrides, options, codes, remote):
    """Build and equilibrate the glass of MATERIAL with a fitted potential.

    MATERIAL is written as the start of the protocol takes it: 2LiCl-GaF3, MgCl2, Li3Al3O2Cl8, LAOC0.3b,
    LiAlO0.75Cl2.5. `softclay build` shows the cell without running anything.
    """
    from aiida_softclay.workflows.estimate import estimate_amorphous

    builder = _build(
        'softclay.amorphous', codes['lmp'], material, potential=_required(potential), interface=interface,
        structure=structure, protocol=protocol, overrides=overrides, options=options, **remote,
    )  # fmt: skip
    return builder, [estimate_amorphous(builder.parameters.get_dict(), material, structure)]


@launch_command('amorphous-series', 'lmp', dumps=True)
@click.argument('material')
@POTENTIAL
@click.option(
    '--vary', multiple=True, required=True, metavar='NAME=V1,V2,…',
    help='A parameter of the protocol and its values, for example melt.temperature_K=700,900,1100; '
    'several make every combination.',
)  # fmt: skip
@click.option(
    '--structure', type=types.DataParamType(sub_classes=('aiida.data:core.structure',)),
    help='What to start from instead of what the protocol builds.',
)  # fmt: skip
@click.option('--max-jobs', type=click.IntRange(1), help='Most variants at once.')
def amorphous_series(material, potential, vary, structure, max_jobs, protocol, overrides, options, codes, remote):
    """Make the glass of MATERIAL once for each value of some parameters: melt temperatures, cooling rates, seeds."""
    from aiida_softclay.workflows.estimate import estimate_amorphous
    from aiida_softclay.workflows.protocol import recursive_merge
    from aiida_softclay.workflows.series_plan import variants_of

    variants = variants_of(read_choices(vary))
    builder = _build(
        'softclay.amorphous_series', codes['lmp'], material, variants, potential=_required(potential),
        structure=structure, protocol=protocol, overrides=overrides, options=options, max_concurrent_jobs=max_jobs,
        **remote,
    )  # fmt: skip
    check_builder(builder)
    base = builder.parameters.get_dict()
    return builder, [
        replace(estimate_amorphous(recursive_merge(base, changed), material, structure), stage=label)
        for label, changed in variants.items()
    ]


@launch_command('md', 'lmp', dumps=True)
@STRUCTURE
@click.argument('plan', type=click.Path(exists=True, dir_okay=False, path_type=Path))
@POTENTIAL
@click.option(
    '--committee', multiple=True, type=types.DataParamType(sub_classes=('aiida.data:softclay.potential',)),
    help='Another potential for the model deviation, once for each.',
)  # fmt: skip
def md(structure, plan, potential, committee, protocol, overrides, options, codes, remote):
    """Run the stages of the YAML file PLAN on STRUCTURE with a fitted potential."""
    import yaml

    from aiida_softclay.workflows.estimate import estimate_md

    if protocol or overrides:
        echo.echo_critical('a plan has no protocol: write what you want into the plan')
    try:
        content = yaml.safe_load(plan.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        echo.echo_critical(f'{plan} is not YAML: {error}')
    if not isinstance(content, dict):
        echo.echo_critical(f'{plan} must hold a mapping with `stages`')
    builder = _build(
        'softclay.md', codes['lmp'], structure, content, potential=_required(potential), options=options,
        committee=committee or None, **remote,
    )  # fmt: skip
    return builder, [estimate_md('md', content, structure.get_ase().symbols.formula.count())]


def _experiment(name: str, process: str, about: str) -> click.Command:
    def command(structure, potential, protocol, overrides, options, codes, remote):
        from aiida_softclay.workflows.estimate import estimate_experiment

        builder = _build(
            process, codes['lmp'], structure, potential=_required(potential), protocol=protocol, overrides=overrides,
            options=options, **remote,
        )  # fmt: skip
        atoms = structure.get_ase().symbols.formula.count()
        return builder, [estimate_experiment(process, builder.parameters.get_dict(), atoms)]

    command.__doc__ = about
    return launch_command(name, 'lmp', dumps=True)(STRUCTURE(POTENTIAL(command)))


EXPERIMENTS = [
    _experiment('stress-pulse', 'softclay.stress_pulse', 'Load STRUCTURE with pulses of stress and release it.'),
    _experiment('constant-strain', 'softclay.constant_strain', 'Strain STRUCTURE at a constant rate.'),
    _experiment('conductivity', 'softclay.conductivity', 'Let the ions of STRUCTURE diffuse.'),
]


def _required(potential: Any) -> Any:
    if potential is None:
        echo.echo_critical('name a fitted potential with --potential; `verdi node list` and `softclay trace` find it')
    return potential


def _load_structure(text: str, min_length: float) -> Any:
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    from aiida_softclay.calcfunctions.structures import build_crystal
    from aiida_softclay.structures.crystals import UnknownCrystalError, phase

    if Path(text).is_file():
        return orm.StructureData(ase=read_structures_file(Path(text)))
    try:
        phase(text)
    except UnknownCrystalError as crystal_error:
        try:
            return types.DataParamType(sub_classes=('aiida.data:core.structure',)).convert(text, None, None)
        except (click.BadParameter, NotExistent):
            echo.echo_critical(f'{text} is neither a file nor the pk of a structure, and {crystal_error}')
    made = build_crystal(orm.Dict({'crystal': text, 'min_length': min_length}))
    return made['structure'] if isinstance(made, dict) else made


for _command in (
    study, paper, build_potential, aimd, melt_quench, fit_potential, fit_committee, concurrent_learning,
    validate_potential, label, reaction_energy, amorphous, amorphous_series, md, analyse, glass_transition,
    *EXPERIMENTS, *SERIES, conductivity_series,
):  # fmt: skip
    launch.add_command(_command)
