"""What pair analysis costs beside other programs: all partial g(r), and coordination with chains of tetrahedra.

Usage: ``python benchmarks/pairs.py [--frames 100] [--atoms 12000] [--peers PYTHON]``

A disordered oxychloride of four elements at 0.046 atoms/Å³ in a slightly tilted cell; ten partial g(r) up to 10 Å in
200 bins, then the neighbours of aluminium and the chains of aluminium behind common O or Cl. Every program works on the
same frames in a process of its own and on two cores at most; CPU seconds of all its threads without imports and, for
ours, without the first frame, whose compilation is given apart. ``--peers`` is a Python that has vesin, freud,
MDAnalysis and OVITO, by default an environment made for them. Exit status 1 if g(r) takes more than a third of the best
peer or the chains more than half of OVITO, or if the numbers of pairs differ.
"""

from __future__ import annotations

import argparse
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

ELEMENTS = ('Li', 'Al', 'O', 'Cl')
SHARES = (1.0, 1.0, 0.75, 2.5)
R_MAX, N_BINS = 10.0, 200
BONDS = {('Al', 'O'): 2.4, ('Al', 'Cl'): 2.9}
CHAIN_CUTOFF = 4.2
LARGEST_RATIO = {'g(r)': 1 / 3, 'chains': 1 / 2}

Frame = tuple[np.ndarray, np.ndarray]


def write_frames(path: Path, n_atoms: int, n_frames: int) -> None:
    """Write frames of atoms that rattle about the sites of a cubic lattice, elements mixed at random."""
    rng = np.random.default_rng(7)
    edge = (n_atoms / 0.046) ** (1 / 3)
    cell = np.array([[edge, 0, 0], [0.05 * edge, edge, 0], [-0.03 * edge, 0.04 * edge, edge]])
    per_edge = int(np.ceil(n_atoms ** (1 / 3)))
    sites = np.indices((per_edge,) * 3).reshape(3, -1).T[rng.permutation(per_edge**3)[:n_atoms]] / per_edge
    kinds = rng.choice(4, size=n_atoms, p=np.array(SHARES) / sum(SHARES))
    positions = (sites @ cell)[None] + rng.normal(scale=0.35, size=(n_frames, n_atoms, 3))
    np.savez(path, positions=positions, cell=cell, kinds=kinds)


def histogram(kinds: np.ndarray, first: np.ndarray, second: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Return counts (16, n_bins) of undirected pairs, as a peer's user would get them with NumPy."""
    bins = np.minimum((distances * (N_BINS / R_MAX)).astype(np.int64), N_BINS - 1)
    code = (kinds[first] * 4 + kinds[second]) * N_BINS + bins
    return np.bincount(code, minlength=16 * N_BINS)


def rdf_softclay(kinds: np.ndarray, cell: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return what counts the pairs of a frame for all partial g(r) with this package."""
    from aiida_softclay.analysis.rdf import radial_distribution
    from aiida_softclay.analysis.trajectory import ArrayTrajectory

    symbols = np.array(ELEMENTS)[kinds]

    def run(positions: np.ndarray) -> float:
        trajectory = ArrayTrajectory(positions, cell, symbols)
        result = radial_distribution(trajectory, r_max=R_MAX, bin_width=R_MAX / N_BINS, n_frames=None)
        counts = np.bincount(kinds)
        total = 0.0
        for row, (a, b) in enumerate(result.pairs):
            share = 0.5 if a == b else 1.0
            total += share * result.coordination[row, -1] * counts[ELEMENTS.index(a)]
        return total * result.n_frames

    return run


def rdf_vesin(kinds: np.ndarray, cell: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return what counts the same pairs with the neighbour list of vesin."""
    from vesin import NeighborList

    calculator = NeighborList(cutoff=R_MAX, full_list=False)

    def run(positions: np.ndarray) -> float:
        return sum(
            histogram(kinds, *calculator.compute(frame, cell, periodic=True, quantities='ijd')).sum()
            for frame in positions
        )

    return run


def rdf_freud(kinds: np.ndarray, cell: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return what counts the same pairs with freud."""
    import freud

    freud.parallel.set_num_threads(2)
    box = freud.box.Box.from_matrix(cell.T)

    def run(positions: np.ndarray) -> float:
        total = 0.0
        for frame in positions:
            query = freud.locality.AABBQuery(box, box.wrap(frame))
            found = query.query(query.points, {'r_max': R_MAX, 'exclude_ii': True}).toNeighborList()
            total += histogram(kinds, found.query_point_indices, found.point_indices, found.distances).sum() / 2
        return total

    return run


def rdf_mdanalysis(kinds: np.ndarray, cell: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return what counts the same pairs with MDAnalysis."""
    from MDAnalysis.lib.distances import self_capped_distance
    from MDAnalysis.lib.mdamath import triclinic_box

    box = triclinic_box(*cell)

    def run(positions: np.ndarray) -> float:
        total = 0.0
        for frame in positions:
            pairs, distances = self_capped_distance(frame.astype('f4'), R_MAX, box=box)
            total += histogram(kinds, pairs[:, 0], pairs[:, 1], distances).sum()
        return total

    return run


def ovito_data(kinds: np.ndarray, cell: np.ndarray) -> Callable[[np.ndarray], object]:
    """Return a frame as OVITO takes it, positions and cell in Å."""
    from ovito.data import DataCollection, ParticleType

    def make(positions: np.ndarray) -> object:
        data = DataCollection()
        data.create_cell(np.column_stack([cell.T, np.zeros(3)]), pbc=(True, True, True))
        particles = data.create_particles(count=len(kinds))
        particles.create_property('Position', data=positions)
        types = particles.create_property('Particle Type', data=kinds + 1)
        for index, name in enumerate(ELEMENTS):
            types.types.append(ParticleType(id=index + 1, name=name))
        return data

    return make


def rdf_ovito(kinds: np.ndarray, cell: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return what counts the same pairs with OVITO."""
    from ovito.modifiers import CoordinationAnalysisModifier

    make = ovito_data(kinds, cell)
    modifier = CoordinationAnalysisModifier(cutoff=R_MAX, number_of_bins=N_BINS, partial=True)

    def run(positions: np.ndarray) -> float:
        total = 0.0
        for frame in positions:
            data = make(frame)
            data.apply(modifier)
            assert data.tables['coordination-rdf'].y.shape == (N_BINS, 10)
            total += np.asarray(data.particles['Coordination']).sum() / 2
        return total

    return run


def chains_softclay(kinds: np.ndarray, cell: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return what counts bonds and chains of a frame with this package."""
    from aiida_softclay.analysis.chains import chain_statistics
    from aiida_softclay.analysis.trajectory import ArrayTrajectory

    symbols = np.array(ELEMENTS)[kinds]

    def run(positions: np.ndarray) -> float:
        trajectory = ArrayTrajectory(positions, cell, symbols)
        found = chain_statistics(trajectory, 'Al', BONDS, CHAIN_CUTOFF, n_frames=None)
        return float(sum(table.counts.sum() for table in found.coordination.values()))

    return run


def chains_ovito(kinds: np.ndarray, cell: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return what counts the same bonds and chains with OVITO."""
    from ovito.modifiers import ClusterAnalysisModifier, CreateBondsModifier

    make = ovito_data(kinds, cell)
    bonds = CreateBondsModifier(mode=CreateBondsModifier.Mode.Pairwise)
    for (first, second), cutoff in BONDS.items():
        bonds.set_pairwise_cutoff(first, second, cutoff)
    clusters = ClusterAnalysisModifier(neighbor_mode=ClusterAnalysisModifier.NeighborMode.Bonding)

    def run(positions: np.ndarray) -> float:
        total = 0
        for frame in positions:
            data = make(frame)
            data.apply(bonds)
            data.apply(clusters)
            topology = np.asarray(data.particles.bonds.topology)
            counts = np.bincount(topology.ravel(), minlength=len(kinds))
            of_aluminium = np.asarray(data.particles['Cluster'])[kinds == 1]
            total += counts[kinds == 1].sum()
            assert np.bincount(of_aluminium).sum() == (kinds == 1).sum()
        return float(total)

    return run


PROGRAMS = {
    'g(r)': {'softclay': rdf_softclay, 'vesin': rdf_vesin, 'freud': rdf_freud, 'MDAnalysis': rdf_mdanalysis,
             'OVITO': rdf_ovito},
    'chains': {'softclay': chains_softclay, 'OVITO': chains_ovito},
}  # fmt: skip


def run_here(task: str, program: str, path: str) -> None:
    """Run one program on the frames in this process and print what it took."""
    with np.load(path) as data:
        positions, cell, kinds = data['positions'], data['cell'], data['kinds']
    run = PROGRAMS[task][program](kinds, cell)
    start = time.process_time()
    run(positions[:1])
    first = time.process_time() - start
    start, wall = time.process_time(), time.perf_counter()
    pairs = run(positions)
    took = {'cpu_s': time.process_time() - start, 'wall_s': time.perf_counter() - wall, 'first_s': first}
    print(json.dumps({**took, 'pairs': float(pairs)}))


def measure(python: str, task: str, program: str, path: Path) -> dict[str, float] | None:
    """Run one program in a process of its own; None where it is not installed."""
    # An empty cache for compiled code, so that the first frame tells what compilation costs.
    threads = {'OMP_NUM_THREADS': '2', 'OVITO_THREAD_COUNT': '2', 'OPENBLAS_NUM_THREADS': '1'}
    environment = {**os.environ, **threads, 'NUMBA_CACHE_DIR': str(path.parent / f'cache-{task[0]}')}
    command = [python, __file__, '--run', task, program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if 'ModuleNotFoundError' in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(f'{program} failed:\n{done.stderr}')
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Run all programs, print the table; return 0 where ours is fast enough and all agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=100)
    parser.add_argument('--atoms', type=int, default=12_000)
    add_option(parser)
    arguments = parser.parse_args()
    peers = peer_python(arguments.peers)

    good = True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'frames.npz'
        write_frames(path, arguments.atoms, arguments.frames)
        print(f'{"":20s}{"CPU s":>9s}{"wall s":>9s}{"first s":>9s}{"pairs":>14s}{"ours/peer":>11s}')
        for task, programs in PROGRAMS.items():
            ours: dict[str, float] = {}
            ratios = {}
            for program in programs:
                found = measure(sys.executable if program == 'softclay' else peers, task, program, path)
                if found is None:
                    print(f'{task:8s}{program:12s}  not installed')
                    continue
                ours = ours or found
                line = f'{task:8s}{program:12s}{found["cpu_s"]:9.2f}{found["wall_s"]:9.2f}{found["first_s"]:9.2f}'
                line += f'{found["pairs"]:14.0f}'
                if program != 'softclay':
                    ratios[program] = ours['cpu_s'] / found['cpu_s']
                    line += f'{ratios[program]:11.3f}'
                    good &= abs(found['pairs'] / ours['pairs'] - 1) < 1e-5
                print(line, flush=True)
            good &= all(ratio <= LARGEST_RATIO[task] for ratio in ratios.values())
    return 0 if good else 1


if __name__ == '__main__':
    if sys.argv[1:2] == ['--run']:
        run_here(*sys.argv[2:5])
    else:
        sys.exit(main())
