"""How long, and with how much memory, the largest model cells are built.

Usage: ``python benchmarks/structures.py [--atoms 12000] [--repeat 3]``

Two cells of eight particles: the polycrystal of MgCl2, and the clay 2LiCl-GaF3 with the slab its particles are cut from
(as built, not equilibrated). Each run is a process of its own on one core, the time is without imports, the memory with
them; the fastest run of each counts. The budget is 10 s and 1 GB for each; exit status 1 if either is exceeded, or if a
cell is more than 2 % off the size.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

WALL_S = 10.0
PEAK_MB = 1000
TOLERATED_DEVIATION = 0.02
BUILDERS = ('polycrystal', 'clay')


def build(builder: str, n_atoms: int) -> dict[str, float]:
    """Build one cell in this process and return what it took."""
    from aiida_softclay.structures.assembly import assemble_particles
    from aiida_softclay.structures.composition import Mixture
    from aiida_softclay.structures.polycrystal import polycrystal
    from aiida_softclay.structures.slabs import interface_slab

    start, before = time.perf_counter(), time.process_time()
    if builder == 'polycrystal':
        assembly = polycrystal('MgCl2', n_atoms)
    else:
        mixture = Mixture.parse('2LiCl-GaF3')
        assembly = assemble_particles(interface_slab(mixture).atoms, mixture, n_atoms)
    return {
        'atoms': len(assembly.atoms),
        'wall_s': time.perf_counter() - start,
        'cpu_s': time.process_time() - before,
        'peak_MB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(builder: str, n_atoms: int) -> dict[str, float]:
    """Build one cell in a process of its own, on one core."""
    threads = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1')
    command = [sys.executable, __file__, '--run', builder, str(n_atoms)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **threads})
    if done.returncode:
        raise SystemExit(f'{builder} failed:\n{done.stderr}')
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Build each cell in turn, print the table; return 0 within the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--atoms', type=int, default=12_000)
    parser.add_argument('--repeat', type=int, default=3)
    arguments = parser.parse_args()

    runs = {builder: [] for builder in BUILDERS}
    for _ in range(arguments.repeat):
        for builder in BUILDERS:
            runs[builder].append(measure(builder, arguments.atoms))
    columns = ('atoms', 'wall_s', 'cpu_s', 'peak_MB')
    print(f'{"":12s}' + ''.join(f'{column:>10s}' for column in columns))
    within = True
    for builder, found in runs.items():
        run = min(found, key=lambda one: one['wall_s'])
        print(f'{builder:12s}' + ''.join(f'{run[column]:10.2f}' for column in columns))
        within &= run['wall_s'] <= WALL_S and run['peak_MB'] < PEAK_MB
        within &= abs(run['atoms'] - arguments.atoms) <= TOLERATED_DEVIATION * arguments.atoms
    return 0 if within else 1


if __name__ == '__main__':
    if sys.argv[1:2] == ['--run']:
        print(json.dumps(build(sys.argv[2], int(sys.argv[3]))))
    else:
        raise SystemExit(main())
