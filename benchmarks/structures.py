"""How long, and with how much memory, the largest model cells are built.

Usage: ``python benchmarks/structures.py [--atoms 12000] [--repeat 3] [--all]``

Cells of eight particles: the polycrystal of MgCl2, and clays of two and three salts with the slab their particles are
cut from (as built, not equilibrated); with ``--all`` every clay of the list. Each run is a process of its own on one
core, the time is without imports, the memory with them; the fastest run of each counts. The budget is 10 s and 1 GB for
each; exit status 1 if either is exceeded, or if a cell is more than 2 % off the size.
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
POLYCRYSTAL = 'MgCl2'
CLAYS = ('2LiCl-GaF3', '2LiCl-0.5AlF3-0.5GaF3')
MORE_CLAYS = (
    'LiCl-GaF3', '3LiCl-GaF3', '4LiCl-GaF3', '0.5MgCl2-GaF3', 'MgCl2-GaF3', '1.5MgCl2-GaF3', '2LiBr-GaF3', '2LiI-GaF3',
    '2LiCl-SbF3', '2LiI-InBr3', '2NaCl-GaF3', '2LiCl-InF3', '2LiCl-LaF3', '2LiCl-0.25AlF3-0.75GaF3',
    '2LiCl-0.75AlF3-0.25GaF3', 'LiCl-MgCl2-GaF3',
)  # fmt: skip


def build(material: str, n_atoms: int) -> dict[str, float]:
    """Build the cell of one salt or clay in this process and return what it took."""
    from aiida_softclay.structures.assembly import assemble_particles
    from aiida_softclay.structures.composition import Mixture
    from aiida_softclay.structures.polycrystal import polycrystal
    from aiida_softclay.structures.slabs import interface_slab

    start, before = time.perf_counter(), time.process_time()
    if material == POLYCRYSTAL:
        assembly = polycrystal(material, n_atoms)
    else:
        mixture = Mixture.parse(material)
        assembly = assemble_particles(interface_slab(mixture).atoms, mixture, n_atoms)
    return {
        'atoms': len(assembly.atoms),
        'wall_s': time.perf_counter() - start,
        'cpu_s': time.process_time() - before,
        'peak_MB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(material: str, n_atoms: int) -> dict[str, float]:
    """Build one cell in a process of its own, on one core."""
    threads = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1')
    command = [sys.executable, __file__, '--run', material, str(n_atoms)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **threads})
    if done.returncode:
        raise SystemExit(f'{material} failed:\n{done.stderr}')
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Build each cell in turn, print the table; return 0 within the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--atoms', type=int, default=12_000)
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--all', action='store_true', help='every clay of the list')
    arguments = parser.parse_args()

    materials = (POLYCRYSTAL, *CLAYS, *(MORE_CLAYS if arguments.all else ()))
    runs = {material: [] for material in materials}
    for _ in range(arguments.repeat):
        for material in materials:
            runs[material].append(measure(material, arguments.atoms))
    columns = ('atoms', 'wall_s', 'cpu_s', 'peak_MB')
    print(f'{"":24s}' + ''.join(f'{column:>10s}' for column in columns))
    within = True
    for material, found in runs.items():
        run = min(found, key=lambda one: one['wall_s'])
        print(f'{material:24s}' + ''.join(f'{run[column]:10.2f}' for column in columns))
        within &= run['wall_s'] <= WALL_S and run['peak_MB'] < PEAK_MB
        within &= abs(run['atoms'] - arguments.atoms) <= TOLERATED_DEVIATION * arguments.atoms
    return 0 if within else 1


if __name__ == '__main__':
    if sys.argv[1:2] == ['--run']:
        print(json.dumps(build(sys.argv[2], int(sys.argv[3]))))
    else:
        raise SystemExit(main())
