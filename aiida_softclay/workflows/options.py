"""Scheduler options that a job gets where the user names none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_softclay.calculations.lammps_resources import n_ranks

#: One process on one machine for a day.
DEFAULT_OPTIONS: dict[str, Any] = {
    'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1},
    'withmpi': False,
    'max_wallclock_seconds': 86400,
}


def parallel_options(options: Mapping[str, Any] | None, code: Any = None) -> dict[str, Any]:
    """Return options on top of the defaults, started with mpirun if they ask for more than one MPI rank.

    Parameters
    ----------
    options : mapping, optional
        ``metadata.options`` of a job. ``withmpi`` wins if it is there.
    code : Code, optional
        A code that says itself whether it is started with mpirun wins over the number of ranks.
    """
    given = dict(options or {})
    merged = {**DEFAULT_OPTIONS, **given}
    if 'withmpi' not in given:
        if code is not None and code.with_mpi is not None:
            del merged['withmpi']
        else:
            merged['withmpi'] = n_ranks(merged['resources']) > 1
    return merged


#: What says in which queue and on whose account a job runs, whatever it runs.
QUEUE_OPTIONS = ('account', 'queue_name', 'qos', 'max_wallclock_seconds')


def serial_options(options: Mapping[str, Any] | None, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return options of a job of one process beside the jobs of an engine: their queue, account and time limit.

    Parameters
    ----------
    options : mapping, optional
        ``metadata.options`` of the engine's jobs.
    own : mapping, optional
        What is said of the job itself, which wins.
    """
    inherited = {name: value for name, value in (options or {}).items() if name in QUEUE_OPTIONS}
    return {**inherited, **(own or {})}


def options_problem(options: Mapping[str, Any], code: Any = None) -> str | None:
    """Return what is wrong with the options of an MPI program, or ``None``."""
    resources = options.get('resources') or {}
    if not isinstance(resources, Mapping):
        return 'options.resources is not a mapping: give num_machines and num_mpiprocs_per_machine'
    try:
        ranks = n_ranks(resources)
    except (TypeError, ValueError):
        return f'options.resources holds something that is not a number: {dict(resources)}'
    with_mpi = options.get('withmpi', code.with_mpi if code is not None else None)
    if ranks > 1 and with_mpi is False:
        return (
            f'{ranks} MPI ranks are asked for, but without mpirun (withmpi is False) the program would run on one: '
            'leave withmpi out, or ask for one rank'
        )
    limit = options.get('max_wallclock_seconds')
    if limit is not None and not limit > 0:
        return f'max_wallclock_seconds = {limit} is no time to run in: give seconds, above 0'
    return None
