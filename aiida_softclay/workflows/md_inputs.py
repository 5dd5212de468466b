"""What goes into a molecular dynamics workchain, checked where it is submitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from aiida import orm

from aiida_softclay.calculations.lammps import MAX_RETRIEVED_BYTES, dumps_stay, structure_symbols
from aiida_softclay.calculations.lammps_inputs import validate_physics
from aiida_softclay.calculations.remote_folders import computer_problem
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
    if problem := remote_problem(value):
        return problem
    if 'deviation_check_seconds' in value and 'max_model_deviation_eV_A' not in value:
        return 'deviation_check_seconds needs max_model_deviation_eV_A, the limit beyond which the job is stopped'
    return None


def remote_problem(value):
    """Return what is wrong with the inputs that say what becomes of dumps that stay on the computer."""
    stashes = sorted({value[name].value for name in ('restart_stash', 'dump_stash') if name in value})
    if len(stashes) > 1:
        return f'a job has one stash: give the same folder as restart_stash and dump_stash, not {" and ".join(stashes)}'
    engine = {'code': value['code']} if 'code' in value else {}
    return computer_problem(value.get('analysis_code'), engine, 'LAMMPS runs')


def frames_problem(value, plan):
    """Return a sentence if the frames of a run, which its analysis needs, would lie where nothing reads them."""
    if 'analysis_code' in value:
        return None
    limit = value['max_retrieved_bytes'].value if 'max_retrieved_bytes' in value else MAX_RETRIEVED_BYTES
    symbols = structure_symbols(value['structure'])
    if not dumps_stay(plan, symbols, limit):
        return None
    where = value['code'].computer.label if 'code' in value and value['code'].computer is not None else 'the computer'
    return (
        f'the raw dumps of this run take {plan.dump_bytes(Counter(symbols)):,} bytes, more than max_retrieved_bytes = '
        f'{limit:,}: they would stay on {where}, where its analysis cannot read them. Give analysis_code, a code for '
        f'softclay-analyse on {where}, or raise max_retrieved_bytes, or write fewer frames (dump_every)'
    )


def validate_stash(value, _):
    """Return what is wrong with a folder in which files are kept."""
    if value is not None and not PurePosixPath(value.value).is_absolute():
        return f'a stash is a folder on the computer, given with its whole path, and not {value.value!r}'
    return None


def validate_options(value, _):
    """Return what is wrong with the options of a job of one process."""
    return None if value is None else options_problem(value.get_dict())


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
