"""What reading a text dump costs beside other programs.

Usage: ``python benchmarks/text_dump.py [--frames 500] [--atoms 12000] [--peers PYTHON] [--folder DIR]``

A dump of ``id type xu yu zu``, atoms in no order; every program sorts the positions of every frame by id and adds
them up. Each runs in a process of its own on one core; CPU seconds without imports and without compilation, which is
given apart. ``--peers`` is a Python that has polars, OVITO and MDAnalysis; what is missing is left out. Exit status 1
if ours takes longer than the best peer, or if the sums differ.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from peer_environment import add_option, peer_python


def write_dump(path: Path, n_atoms: int, n_frames: int) -> None:
    """Write ions that walk about, in a new order in every frame, positions in Å with six digits."""
    rng = np.random.default_rng(5)
    edge = (n_atoms / 0.07) ** (1 / 3)
    positions = rng.random((n_atoms, 3)) * edge
    types = rng.integers(1, 5, n_atoms)
    bounds = '\n'.join([f'0.0000000000000000e+00 {edge:.16e}'] * 3)
    with path.open('w') as handle:
        for frame in range(n_frames):
            positions += rng.normal(scale=0.05, size=positions.shape)
            order = rng.permutation(n_atoms)
            handle.write(f'ITEM: TIMESTEP\n{frame * 1000}\nITEM: NUMBER OF ATOMS\n{n_atoms}\n')
            handle.write(f'ITEM: BOX BOUNDS pp pp pp\n{bounds}\nITEM: ATOMS id type xu yu zu\n')
            table = np.column_stack([order + 1, types[order], positions[order]])
            np.savetxt(handle, table, fmt='%d %d %.6g %.6g %.6g')


def with_softclay(path: Path) -> float:
    """Return the sum of all positions, Å, read by this package."""
    from aiida_softclay.data.lammps_dump import iter_text_dump

    total = 0.0
    for frame in iter_text_dump(path):
        total += float(frame.positions[np.argsort(frame.columns['id'])].sum())
    return total


def with_polars(path: Path) -> float:
    """Return the sum of all positions, Å, each table read by polars."""
    import polars

    total, count = 0.0, 0
    with path.open('rb') as handle:
        while handle.readline():
            handle.readline(), handle.readline()
            count = int(handle.readline())
            for _ in range(5):
                handle.readline()
            # Lines have no fixed length: the table is cut out line by line.
            block = b''.join(handle.readline() for _ in range(count))
            table = polars.read_csv(io.BytesIO(block), separator=' ', has_header=False)
            values = table.to_numpy()
            total += float(values[np.argsort(values[:, 0]), 2:5].sum())
    return total


def with_ovito(path: Path) -> float:
    """Return the sum of all positions, Å, read by OVITO."""
    from ovito.io import import_file

    pipeline = import_file(str(path), sort_particles=True)
    return float(sum(np.asarray(pipeline.compute(i).particles.positions).sum() for i in range(pipeline.num_frames)))


def with_mdanalysis(path: Path) -> float:
    """Return the sum of all positions, Å, read by MDAnalysis."""
    import MDAnalysis

    universe = MDAnalysis.Universe(
        str(path), format='LAMMPSDUMP', topology_format='LAMMPSDUMP', lammps_coordinate_convention='unwrapped'
    )
    return float(sum(step.positions.astype(float).sum() for step in universe.trajectory))


PROGRAMS: dict[str, Callable[[Path], float]] = {
    'softclay': with_softclay, 'polars': with_polars, 'OVITO': with_ovito, 'MDAnalysis': with_mdanalysis,
}  # fmt: skip


def measure(name: str, path: Path, short: Path) -> None:
    """Run one program twice, the first time on one frame, and print what it took."""
    started = time.process_time()
    PROGRAMS[name](short)
    first = time.process_time() - started
    started = time.process_time()
    total = PROGRAMS[name](path)
    print(json.dumps({'seconds': time.process_time() - started, 'first': first, 'sum': total}))


def main() -> int:
    """Write the dump, run all programs, print the table; return 0 where ours is fast enough and all agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=500)
    parser.add_argument('--atoms', type=int, default=12_000)
    add_option(parser)
    parser.add_argument('--folder', type=Path)
    parser.add_argument('--measure', nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]), Path(options.measure[2]))
        return 0
    peer = peer_python(options.peers)
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'POLARS_MAX_THREADS': '1', 'OVITO_THREAD_COUNT': '1'}
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path, short = Path(folder) / 'run.dump', Path(folder) / 'short.dump'
        write_dump(path, options.atoms, options.frames)
        write_dump(short, options.atoms, 1)
        print(f'{options.frames} frames of {options.atoms} atoms, {path.stat().st_size / 1e6:.0f} MB')
        for name in PROGRAMS:
            python = sys.executable if name == 'softclay' else peer
            words = [python, __file__, '--measure', name, str(path), str(short)]
            done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                print(f'{name:12s} not here')
                continue
            row = found[name] = json.loads(done.stdout.splitlines()[-1])
            print(f'{name:12s} {row["seconds"]:8.2f} s, first frame {row["first"]:.2f} s')
    peers = {name: row for name, row in found.items() if name != 'softclay'}
    if not peers:
        return 0
    best = min(peers, key=lambda name: peers[name]['seconds'])
    ratio = found['softclay']['seconds'] / peers[best]['seconds']
    agree = all(abs(row['sum'] / found['softclay']['sum'] - 1) < 1e-4 for row in peers.values())
    print(f'ours / {best}: {ratio:.2f} (at most 1); sums {"agree" if agree else "DIFFER"}')
    return 0 if ratio <= 1 and agree else 1


if __name__ == '__main__':
    sys.exit(main())
