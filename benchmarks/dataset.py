"""How long, and with how much memory, a data set is built and exported, compared with dpdata doing the same work.

Usage: ``python benchmarks/dataset.py [--frames 700000] [--atoms 96] [--structures 10] [--draw 0.36] [--repeat 3]``

Both begin with labelled frames on disk in their own format (one frames file, one DeePMD npy system a structure), leave
out frames that are not finite or repeat a configuration, draw a share of the rest at random, split it 80/20 within
every structure, and write DeePMD npy systems for training and validation. dpdata itself neither checks nor compares
frames, so the few lines that its users write for that are here, with the same hash function; ``dpdata-bare`` is dpdata
without them, for information. Ours writes two frames files on the way, which become nodes. Each run is a process of its
own; they take turns, and the fastest run of each counts. ``--ours-only`` leaves dpdata out, for sizes that do not fit
into its memory. The budget is a ratio of 1 to ``dpdata`` and 1 GB; exit status 1 if either is exceeded.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from xxhash import xxh3_128_digest

ELEMENTS = ('Li', 'Ga', 'Cl', 'F')
TRAINING_FRACTION = 0.8
PEAK_MB = 1000
#: Frames made at a time.
CHUNK = 1000


def symbols_of(structure: int, n_atoms: int) -> list[str]:
    """Return the atoms of a structure; each has another composition."""
    n_metal = n_atoms // 2
    n_lithium = 1 + structure % (n_metal - 1)
    n_chloride = (n_atoms - n_metal) // 2
    counts = (n_lithium, n_metal - n_lithium, n_chloride, n_atoms - n_metal - n_chloride)
    return [symbol for symbol, count in zip(ELEMENTS, counts, strict=True) for _ in range(count)]


def chunks(structure: int, n_frames: int, n_atoms: int):
    """Yield thermally displaced frames with labels, in pieces."""
    rng = np.random.default_rng(structure)
    sites = rng.random((n_atoms, 3), dtype=np.float32) * 10
    for start in range(0, n_frames, CHUNK):
        size = min(CHUNK, n_frames - start)
        yield {
            'positions': sites + 0.3 * rng.standard_normal((size, n_atoms, 3), dtype=np.float32),
            'cells': np.repeat(np.eye(3)[None] * 10.5, size, axis=0),
            'energies': rng.normal(-500, 1, size),
            'forces': rng.standard_normal((size, n_atoms, 3), dtype=np.float32),
            'virials': rng.standard_normal((size, 3, 3), dtype=np.float32),
        }


def write_inputs(folder: Path, n_frames: int, n_atoms: int, n_structures: int, with_dpdata: bool) -> None:
    """Write the same frames in both formats."""
    from aiida_softclay.data.frames_file import FrameBlock, FramesFile

    names = {'positions': 'coord', 'cells': 'box', 'energies': 'energy', 'forces': 'force', 'virials': 'virial'}
    for structure in range(n_structures):
        symbols, size = symbols_of(structure, n_atoms), n_frames // n_structures
        system = folder / 'npy' / f'{structure:03d}'
        if with_dpdata:
            (system / 'set.000').mkdir(parents=True)
            (system / 'type_map.raw').write_text('\n'.join(ELEMENTS) + '\n')
            (system / 'type.raw').write_text('\n'.join(str(ELEMENTS.index(symbol)) for symbol in symbols) + '\n')
        arrays: dict[str, np.ndarray] = {}
        start = 0
        with FramesFile(folder / f'{structure:03d}.h5', 'w', energy_kind='e_fr_energy') as frames:
            for piece in chunks(structure, size, n_atoms):
                frames.append(FrameBlock.from_symbols(symbols, **piece), {'label': f's{structure}', 'stage': 'md'})
                for name, rows in piece.items() if with_dpdata else ():
                    flat = rows.reshape(len(rows), -1) if rows.ndim > 1 else rows
                    if name not in arrays:
                        path = system / 'set.000' / f'{names[name]}.npy'
                        shape = (size, *flat.shape[1:])
                        arrays[name] = np.lib.format.open_memmap(path, 'w+', flat.dtype, shape)
                    arrays[name][start : start + len(rows)] = flat
                start += CHUNK


def run_ours(folder: Path, target: Path, draw: int) -> dict[str, float]:
    """Build and export with this package."""
    from aiida_softclay.data.frames_file import build_dataset, export_deepmd_npy

    start = time.perf_counter()
    sets = target / 'training.h5', target / 'validation.h5'
    build_dataset(sorted(folder.glob('*.h5')), *sets, n_frames=draw, training_fraction=TRAINING_FRACTION)
    built = time.perf_counter()
    for path in sets:
        export_deepmd_npy(path, target / path.stem, ELEMENTS)
    return {'build_s': built - start, 'export_s': time.perf_counter() - built}


def usable(system, seen: set[bytes]) -> np.ndarray:
    """Return the indices of the frames that are finite and whose configuration is not in ``seen``."""
    data = system.data
    finite = np.ones(len(system), dtype=bool)
    for name in ('coords', 'cells', 'energies', 'forces', 'virials'):
        finite &= np.isfinite(data[name].reshape(len(system), -1)).all(axis=1)
    atoms = data['atom_types'].tobytes()
    kept = []
    for index in np.flatnonzero(finite):
        configuration = atoms + data['cells'][index].tobytes() + data['coords'][index].tobytes()
        # The digest and not the bytes: these would be another copy of all positions.
        digest = xxh3_128_digest(configuration)
        if digest not in seen:
            seen.add(digest)
            kept.append(index)
    return np.array(kept, dtype=int)


def run_dpdata(folder: Path, target: Path, draw: int, screen: bool = True) -> dict[str, float]:
    """Load, screen, draw, split and dump with dpdata."""
    import dpdata

    start = time.perf_counter()
    rng = np.random.default_rng(0)
    paths = sorted((folder / 'npy').iterdir())
    systems = [dpdata.LabeledSystem(str(path), fmt='deepmd/npy') for path in paths]
    if screen:
        seen: set[bytes] = set()
        systems = [system.sub_system(usable(system, seen)) for system in systems]
    total = sum(len(system) for system in systems)
    parts = {'training': dpdata.MultiSystems(), 'validation': dpdata.MultiSystems()}
    for system in systems:
        system.shuffle()
        share = round(draw * len(system) / total)
        chosen = rng.permutation(len(system))[:share]
        n_training = round(share * TRAINING_FRACTION)
        parts['training'].append(system.sub_system(np.sort(chosen[:n_training])))
        parts['validation'].append(system.sub_system(np.sort(chosen[n_training:])))
    built = time.perf_counter()
    for name, part in parts.items():
        part.to_deepmd_npy(str(target / name), set_size=10_000)
    return {'build_s': built - start, 'export_s': time.perf_counter() - built}


def measure(engine: str, folder: Path, draw: int) -> dict[str, float]:
    """Run one engine in a process of its own and return its times and peak memory."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as target:
        command = [sys.executable, __file__, '--run', engine, str(folder), target, str(draw)]
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise SystemExit(f'{engine} failed:\n{done.stderr}')
        counts = [
            sum(len(np.load(path, mmap_mode='r')) for path in Path(target).glob(f'{name}/*/set.*/energy.npy'))
            for name in ('training', 'validation')
        ]
        return json.loads(done.stdout.splitlines()[-1]) | {'training': counts[0], 'validation': counts[1]}


def main() -> int:
    """Write the inputs, run each engine in turn, print the table; return 0 within the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--frames', type=int, default=700_000, help='frames to draw from, by default as many as a paper has'
    )
    parser.add_argument('--atoms', type=int, default=96, help='atoms of a frame')
    parser.add_argument('--structures', type=int, default=10)
    parser.add_argument('--draw', type=float, default=0.36, help='share of the frames to draw (250 000 of 700 000)')
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--ours-only', action='store_true')
    parser.add_argument('--folder', help='where to write; needs 24 bytes an atom and frame, twice with dpdata')
    arguments = parser.parse_args()

    work = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        engines = ['ours'] if arguments.ours_only else ['ours', 'dpdata', 'dpdata-bare']
        inputs = work / 'inputs'
        inputs.mkdir()
        write_inputs(inputs, arguments.frames, arguments.atoms, arguments.structures, 'dpdata' in engines)
        draw = round(arguments.frames * arguments.draw)
        runs = {engine: [] for engine in engines}
        for _ in range(arguments.repeat):
            for engine in engines:
                runs[engine].append(measure(engine, inputs, draw))
    finally:
        shutil.rmtree(work)

    columns = ('build_s', 'export_s', 'wall_s', 'cpu_s', 'peak_MB', 'training', 'validation')
    print(f'{arguments.frames} frames of {arguments.atoms} atoms in {arguments.structures} structures, {draw} drawn')
    print(f'{"":12s}' + ''.join(f'{column:>12s}' for column in columns))
    best = {engine: min(found, key=lambda run: run['wall_s']) for engine, found in runs.items()}
    for engine, run in best.items():
        print(
            f'{engine:12s}'
            + ''.join(f'{run[column]:12.2f}' if '_' in column else f'{run[column]:12d}' for column in columns)
        )
    within = best['ours']['peak_MB'] < PEAK_MB
    if 'dpdata' in best:
        ratio = best['ours']['wall_s'] / best['dpdata']['wall_s']
        pairs = zip(runs['ours'], runs['dpdata'], strict=True)
        ratios = sorted(ours['wall_s'] / peer['wall_s'] for ours, peer in pairs)
        bare = best['ours']['wall_s'] / best['dpdata-bare']['wall_s']
        print(f'ours / dpdata: {ratio:.2f} (single runs {ratios[0]:.2f} to {ratios[-1]:.2f})')
        print(f'ours / dpdata without looking at the frames: {bare:.2f}')
        within &= ratio <= 1
    return 0 if within else 1


if __name__ == '__main__':
    if sys.argv[1:2] == ['--run']:
        engine, folder, target, draw = sys.argv[2:]
        before = time.process_time()
        run = {'ours': run_ours, 'dpdata': run_dpdata, 'dpdata-bare': functools.partial(run_dpdata, screen=False)}
        found = run[engine](Path(folder), Path(target), int(draw))
        found |= {
            'wall_s': found['build_s'] + found['export_s'],
            'cpu_s': time.process_time() - before,
            'peak_MB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(found))
    else:
        raise SystemExit(main())
