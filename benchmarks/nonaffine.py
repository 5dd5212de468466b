"""How fast D²min of one pair of frames is, against OVITO in the same run.

Usage: ``python benchmarks/nonaffine.py [--atoms 12000] [--repeat 5] [--peers PYTHON]``

A random glass of the density of 2LiCl-GaF3 in a triclinic cell, sheared, with thermal noise; neighbours within 5 and 7
Å. Both programs get the same arrays in memory and give D²min, deformation gradient and strain of every atom; the CPU
time of the fastest repetition counts, without start-up and compilation. OVITO lives in an environment of its own, made
when first needed; ``--peers`` names another interpreter that has it. Exit status 1 if the two disagree by more than
1e-9 Å², or ours takes more than half the CPU time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peer_environment import add_option, peer_python

CUTOFFS = (5.0, 7.0)
DENSITY = 0.0635
WORST_RATIO = 0.5
TOLERANCE = 1e-9


def frames(n_atoms: int) -> dict[str, np.ndarray]:
    """Return two frames of a sheared glass."""
    rng = np.random.default_rng(0)
    length = (n_atoms / DENSITY) ** (1 / 3)
    old = length * np.array([[1.0, 0, 0], [0.1, 1, 0], [-0.05, 0.07, 1]])
    before = rng.random((n_atoms, 3)) @ old
    gradient = np.eye(3) + rng.normal(scale=0.01, size=(3, 3))
    after = before @ gradient.T + rng.normal(scale=0.2, size=before.shape)
    return {'before': before, 'old': old, 'after': after, 'new': old @ gradient.T}


def with_ours(before: np.ndarray, old: np.ndarray, after: np.ndarray, new: np.ndarray, cutoff: float) -> np.ndarray:
    """Return D²min in Å² and the CPU and wall time of the fastest repetition, s, by cutoff, of this package."""
    from aiida_softclay.analysis.nonaffine import non_affine_displacement

    result = non_affine_displacement(before, old, after, new, cutoff)
    _ = result.shear_strain, result.volumetric_strain
    return result.d2min


def with_ovito(before: np.ndarray, old: np.ndarray, after: np.ndarray, new: np.ndarray, cutoff: float) -> np.ndarray:
    """Return the same of OVITO."""
    from ovito.data import DataCollection
    from ovito.modifiers import AtomicStrainModifier
    from ovito.pipeline import Pipeline, StaticSource

    def source(positions: np.ndarray, cell: np.ndarray) -> StaticSource:
        collection = DataCollection()
        collection.create_particles(count=len(positions)).create_property('Position', data=positions)
        collection.create_cell(np.hstack([cell.T, np.zeros((3, 1))]), pbc=(True, True, True))
        return StaticSource(data=collection)

    modifier = AtomicStrainModifier(
        cutoff=cutoff, output_nonaffine_squared_displacements=True, output_deformation_gradients=True
    )
    modifier.reference = source(before, old)
    pipeline = Pipeline(source=source(after, new))
    pipeline.modifiers.append(modifier)
    return np.array(pipeline.compute().particles['Nonaffine Squared Displacement'])


PROGRAMS = {'ours': with_ours, 'ovito': with_ovito}


def measure(program: str, inputs: str, output: str, repeat: int) -> None:
    """Time one program in this process and write what it took and found."""
    with np.load(inputs) as stored:
        arrays = dict(stored)
    found = {}
    for cutoff in CUTOFFS:
        times = []
        for _ in range(repeat + 1):
            start, wall = time.process_time(), time.perf_counter()
            d2min = PROGRAMS[program](**arrays, cutoff=cutoff)
            times.append((time.process_time() - start, time.perf_counter() - wall))
        # The first call compiles or loads what it needs.
        found |= {f'd2min_{cutoff:g}': d2min, f'times_{cutoff:g}': np.array(min(times[1:]))}
    np.savez(output, **found)


def run(program: str, python: str, inputs: Path, repeat: int) -> dict[str, np.ndarray] | None:
    """Time one program in a process of its own; return nothing if it is not installed."""
    output = inputs.with_name(f'{program}.npz')
    command = [python, __file__, '--run', program, str(inputs), str(output), str(repeat)]
    environment = {**os.environ, 'QT_QPA_PLATFORM': 'offscreen'}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        if 'ModuleNotFoundError' in done.stderr:
            return None
        raise SystemExit(f'{program} failed:\n{done.stderr}')
    with np.load(output) as stored:
        return dict(stored)


def main() -> int:
    """Run both programs, print the table; return 0 if ours agrees and is fast enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--atoms', type=int, default=12_000)
    parser.add_argument('--repeat', type=int, default=5)
    add_option(parser)
    arguments = parser.parse_args()
    peers = peer_python(arguments.peers)
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / 'frames.npz'
        np.savez(inputs, **frames(arguments.atoms))
        ours = run('ours', sys.executable, inputs, arguments.repeat)
        ovito = run('ovito', peers, inputs, arguments.repeat)
    if ours is None:
        raise SystemExit('aiida_softclay is not installed in this environment')
    good = True
    print(f'{arguments.atoms} atoms   {"ours cpu_s":>11s}{"wall_s":>9s}{"ovito cpu_s":>13s}{"wall_s":>9s}{"ratio":>8s}')
    for cutoff in CUTOFFS:
        cpu, wall = ours[f'times_{cutoff:g}']
        line = f'rc = {cutoff:g} Å{"":6s}{cpu:11.3f}{wall:9.3f}'
        if ovito is not None:
            peer_cpu, peer_wall = ovito[f'times_{cutoff:g}']
            difference = np.abs(ours[f'd2min_{cutoff:g}'] - ovito[f'd2min_{cutoff:g}']).max()
            line += f'{peer_cpu:13.3f}{peer_wall:9.3f}{cpu / peer_cpu:8.2f}   largest difference {difference:.1e} Å²'
            good &= cpu <= WORST_RATIO * peer_cpu and difference < TOLERANCE
        print(line)
    if ovito is None:
        print(f'{peers} has no OVITO: pip install ovito there, or name another interpreter with --peers')
    return 0 if good else 1


if __name__ == '__main__':
    if sys.argv[1:2] == ['--run']:
        measure(*sys.argv[2:5], repeat=int(sys.argv[5]))
    else:
        raise SystemExit(main())
