"""``softclay launch build-potential``: sample, fit and prove a potential as one of the papers did."""

from __future__ import annotations

from typing import Any

import click

from aiida_softclay.cli.launching import find_family, launch_command


@launch_command('build-potential', 'vasp', 'dp', 'lmp')
@click.argument('paper', required=False)
@click.option(
    '--structures', multiple=True,
    help='A reference set, a chemical system or a crystal, instead of those of the paper; may be repeated.',
)  # fmt: skip
@click.option('--models', type=click.IntRange(1), help='Potentials to fit; more than one make a committee.')
@click.option('--family', help='POTCAR family, if there are several.')
@click.option('--max-jobs', type=click.IntRange(1), help='Most branches of a stage at once.')
def build_potential(paper, structures, models, family, max_jobs, protocol, overrides, options, codes):
    """Sample, fit and prove the potential of PAPER: gupta2023, yang2024, you2025, dai2023 or qyang2025.

    PAPER is a protocol: `gupta2023_demo` runs on two cores, and `softclay launch protocols build_potential` lists all.
    """
    from aiida.plugins import WorkflowFactory

    if paper and protocol and paper != protocol:
        raise ValueError(f'PAPER is {paper} and --protocol is {protocol}: give one of them')
    changes = dict(overrides or {})
    if models is not None:
        changes['n_models'] = models
    process = WorkflowFactory('softclay.build_potential')
    label = find_family(family)
    chosen = None if not structures else structures[0] if len(structures) == 1 else list(structures)
    builder = process.get_builder_from_protocol(
        codes, label, structures=chosen, protocol=paper or protocol, overrides=changes,
        options=dict.fromkeys(codes, options) if options else None, max_concurrent_jobs=max_jobs,
    )  # fmt: skip
    return builder, plan_of(builder)


def plan_of(builder: Any) -> list[Any]:
    """Return the estimates of the sampling, structure by structure, of the fit and of the parts of the proof."""
    from aiida.plugins import WorkflowFactory

    from aiida_softclay.workflows.estimate import estimate_fit
    from aiida_softclay.workflows.estimate_melt_quench import estimate_melt_quench, is_stand_in
    from aiida_softclay.workflows.estimate_validate import estimate_proof
    from aiida_softclay.workflows.melt_quench_layout import lay_out

    parameters, stand_in = builder.parameters.get_dict(), is_stand_in(builder.potential_family.value)
    sampling = WorkflowFactory('softclay.build_potential').sampling_builder(builder).parameters.get_dict()
    stages = estimate_melt_quench(sampling, None, stand_in)
    frames = sum(stage.frames for stage in stages)
    mean = sum(stage.frames * stage.n_atoms for stage in stages) // max(frames, 1)
    settings = parameters['fit']
    fit = WorkflowFactory('softclay.fit_potential').get_protocol_inputs(settings['protocol'], settings['overrides'])
    stages = [*stages, estimate_fit(fit, mean, parameters['n_models'])]
    if parameters['validation']['protocol'] is None:
        return stages
    return [*stages, *estimate_proof(parameters['validation'], lay_out(sampling, None), stand_in)]
