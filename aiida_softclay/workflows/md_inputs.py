"""What goes into a molecular dynamics workchain, checked where it is submitted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from aiida import orm

from aiida_softclay.calculations.lammps_inputs import validate_physics
from aiida_softclay.workflows.options import options_problem


def validate_inputs(value, context):
    """Return what is wrong with the combination of inputs."""
    if problem := validate_physics(value, context):
        return problem
    if (
        'options' in value
        and 'code' in value
        and (problem := options_problem(value['options'].get_dict(), value['code']))
    ):
        return problem
    if 'deviation_check_seconds' in value and 'max_model_deviation_eV_A' not in value:
        return 'deviation_check_seconds needs max_model_deviation_eV_A, the limit beyond which the job is stopped'
    return None


def validate_stash(value, _):
    """Return what is wrong with the folder for restart files."""
    if value is not None and not PurePosixPath(value.value).is_absolute():
        return f'restart_stash is a folder on the computer, given with its whole path, and not {value.value!r}'
    return None


def validate_positive(value, _):
    """Return what is wrong with a number of times or seconds."""
    return None if value is None or value.value > 0 else f'{value.value} is not above 0'


def classical_inputs(classical: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of a classical potential as nodes.

    Parameters
    ----------
    classical : mapping
        ``pair_lines`` (list of lines, mapping with elements, lines and charges, or a node of either) and, optionally,
        ``files`` (nodes by name).
    """
    lines = classical['pair_lines']
    if not isinstance(lines, orm.Data):
        lines = orm.Dict(dict(lines)) if isinstance(lines, Mapping) else orm.List(list(lines))
    files = classical.get('files')
    return {'pair_lines': lines, **({'files': dict(files)} if files else {})}
