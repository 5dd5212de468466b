"""``softclay launch concurrent-learning``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click
from aiida.cmdline.params import types

from aiida_softclay.cli.launching import find_family, launch_command


def structure_labels(structures: Sequence[Any]) -> dict[str, Any]:
    """Return structures by labels that can be names of links: their own label, else their formula, numbered if twice.

    Parameters
    ----------
    structures : sequence of StructureData
    """
    labelled: dict[str, Any] = {}
    for node in structures:
        words = re.findall('[A-Za-z0-9]+', node.label or node.get_formula(mode='hill'))
        stem = '_'.join(words) or 'structure'
        name, number = stem, 1
        while name in labelled:
            number += 1
            name = f'{stem}_{number}'
        labelled[name] = node
    return labelled


@launch_command('concurrent-learning', 'vasp', 'dp', 'lmp')
@click.argument(
    'frames', nargs=-1, required=True, type=types.DataParamType(sub_classes=('aiida.data:softclay.frames',))
)
@click.option(
    '--structure', 'structures', multiple=True, required=True,
    type=types.DataParamType(sub_classes=('aiida.data:core.structure',)),
    help='Structure to explore from (pk or uuid); may be given several times.',
)  # fmt: skip
@click.option('--family', help='POTCAR family, if there are several.')
@click.option('--max-jobs', type=click.IntRange(1), help='Most exploration runs at once.')
def concurrent_learning(frames, structures, family, max_jobs, protocol, overrides, options, codes):
    """Improve a potential where it will be used, beginning with the labelled FRAMES (pks or uuids).

    A committee of potentials explores from every structure; what it disagrees about is labelled and learned.
    """
    from aiida.plugins import WorkflowFactory

    from aiida_softclay.workflows.estimate_concurrent import estimate_concurrent
    from aiida_softclay.workflows.estimate_melt_quench import is_stand_in

    chosen = find_family(family)
    builder = WorkflowFactory('softclay.concurrent_learning').get_builder_from_protocol(
        codes, {f'initial_{index:03d}': node for index, node in enumerate(frames)}, structure_labels(structures),
        potential_family=chosen, protocol=protocol, overrides=overrides,
        options=dict.fromkeys(codes, options) if options else None, max_concurrent_jobs=max_jobs,
    )  # fmt: skip
    atoms = [len(node.sites) for node in structures]
    return builder, estimate_concurrent(builder.parameters.get_dict(), atoms, stand_in=is_stand_in(chosen))
