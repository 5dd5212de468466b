"""What launch commands say and ask of dumps that are too large to be retrieved: where they stay, who reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from aiida.cmdline.utils import echo

#: Names of the options, which become inputs of the workchain.
ANALYSE, LARGEST, STASH = 'dump_analyse', 'dump_largest', 'dump_stash'
BYTES_PER_GB = 10**9


def dump_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what becomes of large dumps to a command."""
    for option in reversed([
        click.option(
            '--analyse', ANALYSE, metavar='CODE',
            help='Code that runs softclay-analyse on the computer of LAMMPS, for dumps that stay there; the only one '
            'there if not given.',
        ),
        click.option(
            '--max-retrieved', LARGEST, type=click.FloatRange(min=0), metavar='GB',
            help='Raw dumps of a run that are larger stay on the computer.',
        ),
        click.option(
            '--stash', STASH, metavar='FOLDER',
            help='Folder on that computer, with its whole path, to which dumps that stay are copied.',
        ),
    ]):  # fmt: skip
        command = option(command)
    return command


def take_dump_inputs(arguments: dict[str, Any]) -> dict[str, Any]:
    """Take the options of :func:`dump_options` out of the arguments of a command and return them as inputs.

    Ends the command with a sentence if the code does not exist.
    """
    from aiida import orm
    from aiida.common.exceptions import MultipleObjectsError, NotExistent

    analyse, largest, stash = (arguments.pop(name, None) for name in (ANALYSE, LARGEST, STASH))
    inputs: dict[str, Any] = {}
    if analyse is not None:
        try:
            inputs['analysis_code'] = orm.load_code(analyse)
        except (NotExistent, MultipleObjectsError, ValueError) as error:
            echo.echo_critical(f'--analyse {analyse}: {error}')
    if largest is not None:
        inputs['max_retrieved_bytes'] = round(largest * BYTES_PER_GB)
    if stash is not None:
        inputs['dump_stash'] = stash
    return inputs


def settle_dumps(builder: Any, plan: list[Any]) -> list[Any]:
    """Return the plan with the place of dumps that stay; where some do, the code that is there reads them.

    Parameters
    ----------
    builder : ProcessBuilder
        Of a workchain with the inputs of ``softclay.md`` that tell of dumps; gets ``analysis_code`` if it has none, a
        run needs one, and the computer has one or is the one that the setup made.
    plan : list of StageEstimate
        Its estimate.
    """
    from aiida_softclay.calculations.lammps import MAX_RETRIEVED_BYTES
    from aiida_softclay.workflows.trajectory_analyses import LARGEST_IN_DAEMON

    given = builder._inputs(prune=True)
    code = given.get('code') or given['codes']['lmp']
    limit = given['max_retrieved_bytes'].value if 'max_retrieved_bytes' in given else MAX_RETRIEVED_BYTES
    stays = [row.bytes_frames > limit for row in plan]
    large = any(row.frames * row.n_atoms > LARGEST_IN_DAEMON and row.bytes_frames for row in plan)
    reader = given.get('analysis_code')
    if reader is None and (any(stays) or large) and (reader := _analysis_code(code.computer)) is not None:
        builder.analysis_code = reader
    where = code.computer.label if code.computer is not None else 'the computer of LAMMPS'
    where += f', read there by {reader.full_label}' if reader is not None else ', where nothing reads them (--analyse)'
    if 'dump_stash' in given:
        where += f', copied to {given["dump_stash"].value}'
    return [replace(row, stays_on=where if stay else '') for row, stay in zip(plan, stays, strict=True)]


def _analysis_code(computer: Any) -> Any:
    """Return the code for analyses on a computer: the only one there, or one that is made on that of the setup."""
    from aiida import orm

    from aiida_softclay.setup.codes import ANALYSIS, ensure_code
    from aiida_softclay.setup.errors import SetupError

    if computer is None:
        return None
    query = orm.QueryBuilder().append(orm.Computer, filters={'pk': computer.pk}, tag='computer')
    query.append(orm.InstalledCode, with_computer='computer', filters={'attributes.input_plugin': ANALYSIS.plugin})
    found = [code for code in query.all(flat=True) if not code.is_hidden]
    if len(found) > 1:
        echo.echo_report(
            f'several codes read trajectories on {computer.label}: choose with --analyse from '
            f'{", ".join(sorted(code.full_label for code in found))}'
        )
    if found:
        return found[0] if len(found) == 1 else None
    if computer.transport_type != 'core.local':
        return None
    try:
        return ensure_code(ANALYSIS, computer, None, 1, Path.cwd(), echo.echo_report)
    except SetupError as error:
        echo.echo_report(str(error))
        return None
