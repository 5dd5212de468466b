"""MPI ranks and threads of a LAMMPS job: what the options ask for, and the lines that make the job keep to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Read by LAMMPS (OMP), by TensorFlow and by DeePMD-kit. Without them TensorFlow takes every core, in every rank.
INTRA_OP_VARIABLES = ('TF_NUM_INTRAOP_THREADS', 'DP_INTRA_OP_PARALLELISM_THREADS')
INTER_OP_VARIABLES = ('TF_NUM_INTEROP_THREADS', 'DP_INTER_OP_PARALLELISM_THREADS')


def n_ranks(resources: Mapping[str, Any], default_per_machine: int | None = None) -> int:
    """Return the MPI ranks that resources ask for.

    Parameters
    ----------
    resources : mapping
        ``metadata.options.resources`` of a job, of any scheduler.
    default_per_machine : int, optional
        That of the computer, where the resources say nothing.
    """
    if total := resources.get('tot_num_mpiprocs'):
        return int(total)
    per_machine = resources.get('num_mpiprocs_per_machine') or default_per_machine or 1
    return int(resources.get('num_machines') or 1) * int(per_machine)


def n_threads(resources: Mapping[str, Any]) -> int | None:
    """Return the threads of each rank that resources ask for, or ``None`` if they leave it to code and computer."""
    if cores := resources.get('num_cores_per_mpiproc'):
        return int(cores)
    cores, ranks = resources.get('num_cores_per_machine'), resources.get('num_mpiprocs_per_machine')
    if cores and ranks:
        return max(1, int(cores) // int(ranks))
    return None


def thread_lines(resources: Mapping[str, Any]) -> str:
    """Return the lines of a job script that set the threads of each rank.

    What the resources say wins; else what the code, the computer or the environment says stays, and where nobody says
    anything there is one thread.
    """
    threads = n_threads(resources)
    if threads is not None:
        values = dict.fromkeys(('OMP_NUM_THREADS', *INTRA_OP_VARIABLES), str(threads))
    else:
        values = {'OMP_NUM_THREADS': '${OMP_NUM_THREADS:-1}'}
        values |= {name: f'${{{name}:-$OMP_NUM_THREADS}}' for name in INTRA_OP_VARIABLES}
    values |= {name: f'${{{name}:-1}}' for name in INTER_OP_VARIABLES}
    return '\n'.join(f'export {name}={value}' for name, value in values.items())


def ranks_of_job(node: Any) -> int:
    """Return the MPI ranks that the job of a CalcJob node was to have: one if it is not started with mpirun."""
    with_mpi = node.inputs.code.with_mpi if 'code' in node.inputs else None
    if with_mpi is None:
        with_mpi = node.get_option('withmpi')
    default = node.computer.get_default_mpiprocs_per_machine() if node.computer else None
    return n_ranks(node.get_option('resources') or {}, default) if with_mpi else 1
