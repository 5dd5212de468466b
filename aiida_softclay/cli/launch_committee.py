"""``softclay launch fit-committee``."""

from __future__ import annotations

import click
from aiida.cmdline.params import types

from aiida_softclay.cli.launching import launch_command


@launch_command('fit-committee', 'dp')
@click.argument(
    'frames', nargs=-1, required=True, type=types.DataParamType(sub_classes=('aiida.data:softclay.frames',))
)
@click.option('--models', type=click.IntRange(2), help='Number of potentials; by default that of the protocol.')
@click.option('--label', help='Begin of the label of the committee; the elements by default.')
def fit_committee(frames, models, label, protocol, overrides, options, codes):
    """Fit several potentials to the labelled FRAMES (pks or uuids), whose disagreement measures their error."""
    from aiida.plugins import WorkflowFactory

    from aiida_softclay.workflows.estimate import estimate_fit, mean_atoms

    builder = WorkflowFactory('softclay.fit_committee').get_builder_from_protocol(
        codes['dp'], {f'set_{index:03d}': node for index, node in enumerate(frames)}, n_models=models,
        protocol=protocol, overrides=overrides, options=options, label=label,
    )  # fmt: skip
    parameters = builder.parameters.get_dict()
    return builder, [estimate_fit(parameters, mean_atoms(frames), parameters['n_models'])]
