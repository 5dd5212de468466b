"""``softclay launch validate-potential``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import echo

from aiida_softclay.cli.launching import find_family, launch_command


def structure_label(text: str) -> str:
    """Return a label made of what a structure was called by.

    >>> structure_label('cells/LiCl big.cif')
    'LiCl_big'
    >>> structure_label('1234')
    's1234'
    """
    stem = Path(text).stem if '.' in Path(text).name else text
    label = re.sub(r'_+', '_', re.sub('[^A-Za-z0-9]', '_', stem)).strip('_')
    return label if label[:1].isalpha() else f's{label}'


def read_structures(arguments: tuple[str, ...], min_length: float) -> dict[str, Any]:
    """Return the structures of the command line by label; ends the command with a sentence if two are called alike."""
    from aiida_softclay.cli.launch import _load_structure

    found: dict[str, Any] = {}
    for argument in arguments:
        name, given, rest = argument.partition('=')
        text = rest if given else argument
        label = name if given else structure_label(argument)
        if label in found:
            echo.echo_critical(f'two structures are called {label}: name them, LABEL=STRUCTURE')
        found[label] = _load_structure(text, min_length)
    return found


@launch_command('validate-potential', 'vasp', 'dp', 'lmp')
@click.argument('potential', type=types.DataParamType(sub_classes=('aiida.data:softclay.potential',)))
@click.argument('structures', nargs=-1)
@click.option('--family', help='POTCAR family, if there are several.')
@click.option('--min-length', type=click.FloatRange(min=1), default=10.0, show_default=True, help='Of a crystal, Å.')
def validate_potential(potential, structures, family, min_length, protocol, overrides, options, codes):
    """Prove POTENTIAL (pk or uuid) against its engine on STRUCTURES, or on those of the protocol.

    A structure is the name of a known crystal, a file, or the pk of a StructureData; LABEL=STRUCTURE names it.
    """
    from aiida.plugins import WorkflowFactory

    from aiida_softclay.workflows.estimate_melt_quench import is_stand_in
    from aiida_softclay.workflows.estimate_validate import count_entry_atoms, estimate_validation

    given = read_structures(structures, min_length)
    builder = WorkflowFactory('softclay.validate_potential').get_builder_from_protocol(
        codes, potential, find_family(family), structures=given or None, protocol=protocol, overrides=overrides,
        options=dict.fromkeys(codes, options) if options else None,
    )  # fmt: skip
    parameters = builder.parameters.get_dict()
    if given:
        n_atoms = {label: len(node.sites) for label, node in given.items()}
    else:
        n_atoms = {entry['label']: count_entry_atoms(entry) for entry in parameters['structures']}
    return builder, estimate_validation(parameters, n_atoms, is_stand_in(builder.potential_family.value))
