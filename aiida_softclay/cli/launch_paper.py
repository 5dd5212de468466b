"""``softclay launch paper``: everything that answers the published numbers of a paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
from aiida.cmdline.params import types

from aiida_softclay.cli.launching import find_family, launch_command


@launch_command('paper', 'vasp', 'dp', 'lmp', dumps=True)
@click.argument('paper', type=click.Choice(['gupta2023', 'yang2024', 'you2025', 'dai2023', 'qyang2025']))
@click.option('--scale', type=click.Choice(['demo', 'balanced', 'paper']), help='The same as --protocol.')
@click.option('--family', help='POTCAR family, if there are several.')
@click.option(
    '--potential', type=types.DataParamType(sub_classes=('aiida.data:softclay.potential',)),
    help='A fitted potential (pk or uuid), instead of making one.',
)  # fmt: skip
@click.option('--max-jobs', type=click.IntRange(1), help='Most steps at once.')
def paper(paper, scale, family, potential, max_jobs, protocol, overrides, options, codes, remote):
    """Run what answers the published numbers of PAPER, then `softclay scorecard --paper PAPER` shows them.

    \b
    Examples:
      softclay launch paper gupta2023 --scale demo --dry-run
      softclay launch paper yang2024 --scale paper --potential 1234 --wait

    A step that fails does not stop the others. Launched again, what had finished is reused where caching is on.
    """  # noqa: D301 - click reads the character \b as: keep these lines
    from aiida.plugins import WorkflowFactory

    if scale and protocol and scale != protocol:
        raise ValueError(f'--scale is {scale} and --protocol is {protocol}: give one of them')
    builder = WorkflowFactory('softclay.paper').get_builder_from_protocol(
        codes, paper, potential_family=find_family(family), potential=potential, protocol=scale or protocol,
        overrides=overrides, options=dict.fromkeys(codes, options) if options else None, max_concurrent_jobs=max_jobs,
        **remote,
    )  # fmt: skip
    return builder, plan_of(builder)


def plan_of(builder: Any) -> list[Any]:
    """Return the estimates of the steps; a step is listed with the stages it consists of."""
    from aiida_softclay.workflows.estimate import glass_atoms
    from aiida_softclay.workflows.paper import AMORPHOUS

    steps = builder.parameters.get_dict()['steps']
    atoms = {
        name: glass_atoms(_inputs(step), step['material'])
        for name, step in steps.items()
        if step['process'] == AMORPHOUS
    }
    return [estimate for name, step in steps.items() for estimate in _estimates(name, step, atoms, builder)]


def _inputs(step: dict[str, Any]) -> dict[str, Any]:
    from aiida.plugins import WorkflowFactory

    return WorkflowFactory(step['process']).get_protocol_inputs(step.get('protocol'), step.get('overrides'))


def _estimates(name: str, step: dict[str, Any], atoms: dict[str, int], builder: Any) -> list[Any]:
    from aiida.plugins import WorkflowFactory

    from aiida_softclay.cli.launch_build_potential import plan_of as plan_of_potential
    from aiida_softclay.cli.launch_reaction_energy import estimate as estimate_phases
    from aiida_softclay.workflows import paper as chain
    from aiida_softclay.workflows.estimate import StageEstimate, estimate_amorphous, estimate_experiment

    process = step['process']
    if process == chain.ARRHENIUS:
        return [StageEstimate(f'{name} (line through {len(step["runs"])} runs)', 1)]
    common = {'protocol': step.get('protocol'), 'overrides': step.get('overrides')}
    if process == chain.BUILD_POTENTIAL:
        made = WorkflowFactory(process).get_builder_from_protocol(
            dict(builder.codes), builder.potential_family.value, **common
        )
        return [replace(stage, stage=f'{name}: {stage.stage}') for stage in plan_of_potential(made)]
    if process == chain.THERMODYNAMICS:
        made = WorkflowFactory(process).get_builder_from_protocol(
            builder.codes['vasp'], step['material'], builder.potential_family.value, ion=step.get('ion'), **common
        )
        return [replace(estimate_phases(made), stage=f'{name}: {step["material"]}')]
    if process == chain.AMORPHOUS:
        return [replace(estimate_amorphous(_inputs(step), step['material']), stage=f'{name}: {step["material"]}')]
    return [replace(estimate_experiment(process, _inputs(step), atoms[step['structure']]), stage=name)]
