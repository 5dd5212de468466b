"""Mean squared displacements and conductivities of a large run against freud and tidynamics, from one file.

Usage: ``python benchmarks/transport.py [--peers PYTHON] [--atoms N] [--frames 2000] [--long-frames 0] [--repeat 3]``

PYTHON is an interpreter that has numpy, h5py, freud-analysis and tidynamics; without it an environment of their own is
made for the peers (``peer_environment.py``). A trajectory file of Brownian ions MgCl2–GaF3 is written to a temporary
folder (``--folder``), and every program reads it in a process of its own on one core. Time is that of the processor
without imports, memory the peak of the process with them; the programs take turns and the fastest turn of each counts.
Three cases:

* ``msd``: every atom, all time origins. freud works on blocks of atoms, which is its fastest and smallest way.
* ``conductivity``: every self and distinct part. tidynamics gives the displacement of every atom and of the sums.
* ``long``: ``msd`` of a run that does not fit in memory, only if ``--long-frames`` is given (12 bytes for each atom
  and frame on disk; 3.6 GB for 12 000 atoms and 25 000 frames).

Exit status 1 if the package takes more than half of the time of the peer, or more memory than the limit of the case.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peer_environment import add_option, peer_python

LARGEST_SHARE = 0.5
LIMITS_GB = {'msd': 0.5, 'conductivity': 0.5, 'long': 2.0}
PEERS = {'msd': 'freud', 'conductivity': 'tidynamics', 'long': 'freud'}
CHARGES = {'Mg': 2, 'Ga': 3, 'F': -1, 'Cl': -1}
SHARES = {'Mg': 1, 'Ga': 1, 'F': 3, 'Cl': 2}
NUMBERS = {'Mg': 12, 'Ga': 31, 'F': 9, 'Cl': 17}
STEP = 0.02
#: Bytes of positions that a peer holds at once, and atoms that it is given at once.
PEER_HELD = 1000 * 2**20
PEER_BLOCK = 100
WINDOW = (0.02, 0.1)


def write(path: Path, n_atoms: int, n_frames: int) -> None:
    """Write Brownian paths frame by frame."""
    from aiida_softclay.data.trajectory_file import TrajectoryFile

    rng = np.random.default_rng(0)
    units = n_atoms // sum(SHARES.values())
    numbers = np.repeat(list(NUMBERS.values()), [units * share for share in SHARES.values()])
    positions = (rng.random((len(numbers), 3)) * 64).astype('f4')
    with TrajectoryFile(path, 'w', numbers, 0.001) as file:
        for index in range(n_frames):
            positions += rng.standard_normal(positions.shape, dtype='f4') * np.float32(STEP)
            file.append(positions, np.eye(3) * 64, 1000 * index)


def ours(case: str, path: str) -> dict[str, float]:
    """Run the package."""
    from aiida_softclay.analysis.collective import collective_displacement
    from aiida_softclay.analysis.displacement import mean_squared_displacement
    from aiida_softclay.analysis.onsager import ionic_conductivity
    from aiida_softclay.data.trajectory_file import TrajectoryFile

    start = time.process_time()
    with TrajectoryFile(path) as file:
        own = mean_squared_displacement(file, n_groups=64, n_blocks=1 if case != 'conductivity' else 3)
        if case == 'conductivity':
            # Both programs fit the same lags; the time step of the file is 1 ps for each frame.
            span = file.n_frames - 1
            found = ionic_conductivity(
                collective_displacement(file), own, CHARGES, volume=64.0**3, temperature=300,
                window_ps=(WINDOW[0] * span, WINDOW[1] * span),
            )  # fmt: skip
            check = found.total.value
        else:
            check = float(own['Cl'].msd[len(own['Cl'].msd) // 5])
    return {'cpu_s': time.process_time() - start, 'check': check}


def peer(case: str, path: str) -> dict[str, float]:
    """Run the peer on the same file."""
    import h5py

    if case == 'conductivity':
        import tidynamics
    else:
        import freud
    start = time.process_time()
    with h5py.File(path) as file:
        stored, numbers = file['positions'], file['atomic_numbers'][:]
        n_frames, n_atoms, _ = stored.shape
        masses = np.array([{12: 24.305, 31: 69.723, 9: 18.998403163, 17: 35.45}[number] for number in numbers])
        held = min(n_atoms, PEER_HELD // (12 * n_frames))
        centre = np.empty((n_frames, 3))
        result = dict.fromkeys(CHARGES, 0.0)
        for first in range(0, n_atoms, held):
            block = np.empty((n_frames, min(held, n_atoms - first), 3), dtype='f4')
            for row in range(0, n_frames, 200):
                part = stored[row : row + 200]
                if first == 0:
                    centre[row : row + 200] = np.einsum('fni,n->fi', part, masses / masses.sum())
                block[row : row + 200] = part[:, first : first + held]
            inner = numbers[first : first + held]
            # freud sums in single precision: far from the origin that costs it the third digit.
            block -= block[0].copy()
            block -= (centre - centre[0])[:, None].astype('f4')
            if case == 'conductivity':
                return {'check': with_tidynamics(tidynamics, block, inner), 'cpu_s': time.process_time() - start}
            for symbol, number in NUMBERS.items():
                chosen = np.flatnonzero(inner == number)
                for at in range(0, chosen.size, PEER_BLOCK):
                    some = chosen[at : at + PEER_BLOCK]
                    found = freud.msd.MSD(mode='window').compute(block[:, some])
                    result[symbol] = result[symbol] + found.msd * some.size / (numbers == number).sum()
    n_lags = round((n_frames - 1) / 2) + 1
    return {'cpu_s': time.process_time() - start, 'check': float(result['Cl'][n_lags // 5])}


def with_tidynamics(tidynamics, paths: np.ndarray, numbers: np.ndarray) -> float:
    """Return the total conductivity, and compute every part of it."""
    n_frames = len(paths)
    lags = np.arange(int(np.ceil(WINDOW[0] * (n_frames - 1))), int(WINDOW[1] * (n_frames - 1)) + 1)
    per_slope = 10 * (1.602176634e-19) ** 2 / (6 * 64**3 * 1e-30 * 1.380649e-23 * 300) * 1e-8
    slope = lambda values: np.polyfit(lags * 1.0, values[lags], 1)[0]  # noqa: E731
    own, sums = {}, []
    for symbol, number in NUMBERS.items():
        chosen = np.flatnonzero(numbers == number)
        own[symbol] = sum(tidynamics.msd(paths[:, atom].astype(float)) for atom in chosen)
        sums.append(paths[:, chosen].sum(axis=1, dtype=float))
    together = np.zeros((len(sums), len(sums)))
    for axis in range(3):
        products = tidynamics.cross_displacement(np.array([path[:, axis] for path in sums]).T)
        together += [[slope(products[a][b]) for b in range(len(sums))] for a in range(len(sums))]
    parts = {symbol: slope(values) for symbol, values in own.items()}
    distinct = {symbol: together[row, row] - parts[symbol] for row, symbol in enumerate(parts)}
    charges = np.array(list(CHARGES.values()))
    assert len(distinct) == len(charges)
    return float(per_slope * (charges @ together @ charges))


def measure(interpreter: str, who: str, case: str, path: Path) -> dict[str, float]:
    """Run one program in a process of its own, on one core."""
    threads = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'NUMBA_NUM_THREADS'), '1')
    command = [interpreter, __file__, '--run', who, case, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **threads})
    if done.returncode:
        raise SystemExit(f'{who} failed at {case}:\n{done.stderr}')
    return json.loads(done.stdout.splitlines()[-1])


def compare(case: str, peers: str, path: Path, repeat: int) -> bool:
    """Let both programs take turns, print the best of each and return whether the limits are kept."""
    runs: dict[str, list[dict[str, float]]] = {'ours': [], PEERS[case]: []}
    for _ in range(repeat):
        runs['ours'].append(measure(sys.executable, 'ours', case, path))
        runs[PEERS[case]].append(measure(peers, 'peer', case, path))
    best = {who: min(found, key=lambda run: run['cpu_s']) for who, found in runs.items()}
    for who, run in best.items():
        print(f'{case:13s} {who:11s} {run["cpu_s"]:8.2f} s  {run["peak_GB"]:5.2f} GB   check {run["check"]:.6g}')
    share = best['ours']['cpu_s'] / best[PEERS[case]]['cpu_s']
    kept = share <= LARGEST_SHARE and best['ours']['peak_GB'] <= LIMITS_GB[case]
    agree = abs(best['ours']['check'] / best[PEERS[case]]['check'] - 1) < 1e-3
    verdict = ('kept' if kept else 'EXCEEDED') + ('' if agree else ', RESULTS DIFFER')
    print(
        f'{case:13s} share of the time {share:.2f} (at most {LARGEST_SHARE}), at most {LIMITS_GB[case]} GB: {verdict}'
    )
    return kept and agree


def main() -> int:
    """Write the files, run all cases, print the table; return 0 within the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_option(parser)
    parser.add_argument('--atoms', type=int, default=12000)
    parser.add_argument('--frames', type=int, default=2000)
    parser.add_argument('--long-frames', type=int, default=0)
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--folder', default=None)
    parser.add_argument('--run', nargs=3, metavar=('WHO', 'CASE', 'PATH'), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        who, case, path = options.run
        found = ours(case, path) if who == 'ours' else peer(case, path)
        found['peak_GB'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(json.dumps(found))
        return 0
    kept, peers = True, peer_python(options.peers)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / 'run.h5'
        write(path, options.atoms, options.frames)
        for case in ('msd', 'conductivity'):
            kept &= compare(case, peers, path, options.repeat)
        if options.long_frames:
            write(path, options.atoms, options.long_frames)
            kept &= compare('long', peers, path, 1)
    return 0 if kept else 1


if __name__ == '__main__':
    sys.exit(main())
