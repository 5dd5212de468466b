"""The engines of the benchmark of concurrent learning: CHGNet, ``dp`` and ``lmp``, called directly."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.update(OMP_NUM_THREADS='1', DP_INTRA_OP_PARALLELISM_THREADS='1', DP_INTER_OP_PARALLELISM_THREADS='1',
                  TF_CPP_MIN_LOG_LEVEL='2', TF_ENABLE_ONEDNN_OPTS='0')  # fmt: skip

import numpy as np

SYSTEM, FORMULA_UNITS, ELEMENTS = '2LiCl-GaF3', 2, ['Li', 'Ga', 'Cl', 'F']
TIMESTEP_FS, STRIDE, RELAXATION_STEPS = 2.0, 10, 100
#: Most neighbours of each element within the cutoff; 10, 6, 11 and 14 in two melt-quenches.
SEL = [12, 8, 12, 16]
#: Layers of the descriptor and of the fitting net, and the weights of the loss at the end of the training.
NETWORK = {
    'descriptor': [12, 24, 48], 'fitting': [64, 64, 64], 'limit_pref_e': 1, 'limit_pref_f': 100, 'limit_pref_v': 0.1,
}  # fmt: skip


# ---- the embedded engine: molecular dynamics and single points with the driver's own parts --------------------------
def evaluator(settings, atoms):
    """Return the driver's evaluator of these atoms; the network is loaded once."""
    from aiida_softclay.engines.vasp.calculators import build_evaluator

    if not hasattr(evaluator, 'calculators'):
        evaluator.calculators = build_evaluator(settings, atoms, ELEMENTS, os.environ).calculators
    from aiida_softclay.engines.vasp.calculators import Evaluator

    return Evaluator(atoms, evaluator.calculators)


def frame_of(positions, cell, found):
    """Return positions (Å), cell (Å), energy (eV), forces (eV/Å) and virial (eV) of an evaluated configuration."""
    return positions.copy(), cell.copy(), found.energy, found.forces.copy(), -found.stress * abs(np.linalg.det(cell))


def aimd(atoms, steps, begin_K, end_K, seed, pressure_GPa=None, velocities=None):
    """Run Langevin dynamics with CHGNet; return all frames and the last velocities."""
    from ase.data import atomic_masses

    from aiida_softclay.engines.vasp.dynamics import integrator_class, maxwell_boltzmann
    from aiida_softclay.engines.vasp.incar import interpret

    tags = {'IBRION': '0', 'NSW': str(steps), 'POTIM': str(TIMESTEP_FS), 'TEBEG': str(begin_K), 'TEEND': str(end_K),
            'MDALGO': '3', 'LANGEVIN_GAMMA': ' '.join(['10'] * len(ELEMENTS)), 'ISIF': '2'}  # fmt: skip
    if pressure_GPa is not None:
        tags |= {'ISIF': '3', 'PSTRESS': str(10 * pressure_GPa), 'LANGEVIN_GAMMA_L': '10', 'PMASS': '1000'}
    settings = interpret(tags, len(ELEMENTS))
    masses, rng = atomic_masses[atoms.numbers], np.random.default_rng(seed)
    integrator = integrator_class(settings)
    if velocities is None:
        velocities = maxwell_boltzmann(masses, begin_K, rng, integrator.degrees_of_freedom_of(len(atoms)))
    arguments = [settings, atoms.positions, atoms.cell.array, velocities, masses, evaluator(settings, atoms.copy()),
                 np.full(len(atoms), 10.0), rng]  # fmt: skip
    dynamics = integrator(*arguments, {}) if pressure_GPa is not None else integrator(*arguments)
    frames = []
    for step in range(1, steps + 1):
        frames.append(frame_of(dynamics.positions, dynamics.cell, dynamics.evaluation))
        dynamics.step(settings.temperature(step))
    end = atoms.copy()
    end.set_cell(dynamics.cell)
    end.positions = dynamics.positions
    return frames, end, dynamics.velocities


def label(atoms, places):
    """Return labelled frames of the given positions and cells."""
    from aiida_softclay.engines.vasp.incar import interpret

    evaluate = evaluator(interpret({}, len(ELEMENTS)), atoms.copy())
    return [frame_of(positions, cell, evaluate(positions, cell)) for positions, cell in places]


def packing(seed):
    """Return a random mixture, its ions pushed apart; nothing is computed for it."""
    from aiida_softclay.structures.composition import Mixture
    from aiida_softclay.structures.mixtures import random_mixture

    atoms = random_mixture(Mixture.parse(SYSTEM), FORMULA_UNITS, seed=seed)
    return atoms[np.argsort([ELEMENTS.index(symbol) for symbol in atoms.get_chemical_symbols()], kind='stable')]


def mixture(seed):
    """Return a random mixture, its worst contacts relaxed by the engine."""
    from ase.optimize import FIRE

    from aiida_softclay.engines.vasp.incar import interpret

    atoms = packing(seed)
    atoms.calc = evaluator(interpret({}, len(ELEMENTS)), atoms.copy()).calculators[0]
    FIRE(atoms, logfile=None).run(fmax=1.0, steps=30)
    atoms.calc = None
    return atoms


# ---- dp, in processes forked from one that has imported it ---------------------------------------------------------
def _write_to(path):
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)


def _dp(folder, arguments):
    os.chdir(folder)
    _write_to(f'{arguments[1]}.log')
    from deepmd.main import main

    main(arguments)


def _predict(queue, models, frames, numbers):
    _write_to(Path(models[0]).with_name('predict.log'))
    from deepmd.infer import DeepPot

    types = [ELEMENTS.index(symbol) for symbol in numbers]
    positions, cells = (np.array([frame[k] for frame in frames]).reshape(len(frames), -1) for k in (0, 1))
    queue.put([[array.reshape(len(frames), -1) for array in DeepPot(model).eval(positions, cells, types)[:2]]
               for model in models])  # fmt: skip


class Trainer:
    """Trains, freezes and evaluates small models, a few at once."""

    def __init__(self, folder, steps, symbols, jobs, network=None):
        self.folder, self.steps, self.symbols, self.count = folder, steps, symbols, 0
        self.network = NETWORK | (network or {})
        self.pool = ThreadPoolExecutor(jobs)
        self.context = multiprocessing.get_context('forkserver')
        self.context.set_forkserver_preload(['deepmd.main', 'deepmd.infer', 'deepmd.tf.entrypoints'])

    def _run(self, target, *arguments):
        process = self.context.Process(target=target, args=arguments)
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f'{arguments} ended with {process.exitcode}')

    def fit(self, tasks):
        """Return the paths of the models trained on the frames with the seed of each task."""
        names = [f'fit_{self.count + k:03d}' for k in range(len(tasks))]
        self.count += len(tasks)
        return list(self.pool.map(lambda name, task: self._fit(self.folder / name, *task), names, tasks))

    def _fit(self, folder, frames, seed):
        data = folder / 'data' / 'set.000'
        data.mkdir(parents=True)
        np.savetxt(folder / 'data' / 'type.raw', [ELEMENTS.index(symbol) for symbol in self.symbols], fmt='%d')
        (folder / 'data' / 'type_map.raw').write_text('\n'.join(ELEMENTS) + '\n')
        for k, name in enumerate(('coord', 'box', 'energy', 'force', 'virial')):
            values = np.array([frame[k] for frame in frames], dtype=float)
            np.save(data / f'{name}.npy', values.reshape(len(frames), -1) if k != 2 else values)
        (folder / 'input.json').write_text(json.dumps(self._input(seed)))
        self._run(_dp, folder, ['--tf', 'train', '--skip-neighbor-stat', 'input.json'])
        self._run(_dp, folder, ['--tf', 'freeze', '-o', 'model.pb'])
        return folder / 'model.pb'

    def _input(self, seed):
        descriptor = {'type': 'se_e2_a', 'sel': SEL, 'rcut': 4.5, 'rcut_smth': 0.5, 'axis_neuron': 6,
                      'neuron': self.network['descriptor'], 'type_one_side': True, 'precision': 'float32',
                      'seed': seed}  # fmt: skip
        return {
            'model': {
                'type_map': ELEMENTS,
                'descriptor': descriptor,
                'fitting_net': {'neuron': self.network['fitting'], 'precision': 'float32', 'seed': seed + 1},
            },
            'learning_rate': {
                'type': 'exp', 'start_lr': 2e-2, 'stop_lr': 1e-4, 'decay_steps': max(self.steps // 100, 1)
            },
            'loss': {'type': 'ener', 'start_pref_e': 0.02, 'start_pref_f': 1000, 'start_pref_v': 0.02,
                     **{key: value for key, value in self.network.items() if key.startswith('limit')}},
            'training': {'numb_steps': self.steps, 'disp_freq': 100, 'save_freq': self.steps, 'seed': seed + 2,
                         'training_data': {'systems': ['data'], 'batch_size': 4}},
        }  # fmt: skip

    def errors(self, models, test):
        """Return the errors of each model: RMSE of forces (meV/Å, by condition too) and of energies (meV/atom).

        Of the energies the mean of the error is told, too, over all frames (``shift``) and at each condition.
        """
        frames = [frame for part in test.values() for frame in part]
        edges = np.cumsum([0, *(len(part) for part in test.values())])
        queue = self.context.Queue()
        process = self.context.Process(target=_predict, args=(queue, [str(m) for m in models], frames, self.symbols))
        process.start()
        predictions = queue.get(timeout=3600)
        process.join()
        energies = np.array([frame[2] for frame in frames])
        forces = np.array([frame[3] for frame in frames]).reshape(len(frames), -1)
        rows = []
        for energy, force in predictions:
            squared = ((force - forces) ** 2).mean(axis=1)
            off = 1000 * (energy[:, 0] - energies) / len(self.symbols)
            rows.append({
                'force': 1000 * float(np.sqrt(squared.mean())),
                'energy': float(np.sqrt((off**2).mean())),
                'shift': float(off.mean()),
                'shift_by_condition': {name: float(off[edges[k] : edges[k + 1]].mean()) for k, name in enumerate(test)},
                'by_condition': {name: 1000 * float(np.sqrt(squared[edges[k] : edges[k + 1]].mean()))
                                 for k, name in enumerate(test)},
            })  # fmt: skip
        return rows


# ---- exploration with lmp and the package's plans and selection ----------------------------------------------------
def explore(folder, models, starts, conditions, duration_ps, seed):
    """Run each start at its condition, driven by the first model; one process runs all, since it starts slowly.

    Returns
    -------
    list of tuple
        For each run the frames it reached (positions, cell, largest deviation of a force in eV/Å), and how many were
        planned.
    """
    from aiida_softclay.calculations.lammps_script import write_script
    from aiida_softclay.calculations.lammps_system import data_file, lammps_cell
    from aiida_softclay.workflows.exploration import exploration_plan

    rules = {'timestep_ps': TIMESTEP_FS / 1000, 'frame_every_ps': STRIDE * TIMESTEP_FS / 1000, 'coupling': 'tri',
             'tdamp_ps': 0.1, 'pdamp_ps': 0.5, 'relaxation_steps': RELAXATION_STEPS}  # fmt: skip
    lines = [f'pair_style deepmd {" ".join(map(str, models))} out_file deviation.out out_freq {STRIDE}',
             f'pair_coeff * * {" ".join(ELEMENTS)}']  # fmt: skip
    plans = []
    for k, (start, condition) in enumerate(zip(starts, conditions, strict=True)):
        wanted = {key: value for key, value in condition.items() if key != 'strain'} | {'duration_ps': duration_ps}
        plans.append(exploration_plan(rules, wanted, 0, seed + k))
        system, place = lammps_cell(start.cell.array), folder / str(k)
        place.mkdir(parents=True)
        symbols = start.get_chemical_symbols()
        (place / 'structure.data').write_text(
            data_file(symbols, start.positions @ system.rotation, system.cell, ELEMENTS, {}, None)
        )
        (place / 'input.in').write_text(write_script(plans[k], lines, has_velocities=False))
    waiting = list(range(len(plans)))
    while waiting:
        _run_all(folder, waiting)
        # An explosion ends the process: the run that had begun is what it is, those after it are still to be done.
        waiting = [k for k in waiting[1:] if not (folder / str(k) / 'log.lammps').exists()]
    return [(_reached(plan, folder / str(k), symbols), plan.stage_frames('explore')) for k, plan in enumerate(plans)]


def _run_all(folder, numbers):
    commands = [f'clear\nshell cd {folder / str(k)}\nlog log.lammps\ninclude input.in' for k in numbers]
    (folder / 'all.in').write_text('\n'.join(commands) + '\n')
    program = Path(sys.executable).parent / 'lmp'
    with open(folder / 'out', 'a') as out:
        subprocess.run([program, '-in', 'all.in', '-log', 'none', '-screen', 'none'], cwd=folder, stdout=out,
                       stderr=out, check=False)  # fmt: skip


def _reached(plan, folder, symbols):
    """Return the frames of an exploration with their deviations; those of the relaxation before it do not count."""
    from aiida_softclay.data.trajectory_file import TrajectoryFile
    from aiida_softclay.parsers.lammps_results import convert_dump
    from aiida_softclay.workflows.exploration import STAGE

    written, target = folder / 'deviation.out', folder / f'{STAGE}.h5'
    rows = np.loadtxt(written, ndmin=2, usecols=(0, 4)) if written.exists() else np.empty((0, 2))
    deviation = {int(step): value for step, value in rows}
    if not convert_dump(plan, STAGE, folder, target, symbols, {})[0]:
        return []
    with TrajectoryFile(target) as file:
        return [(frame.positions.astype(float), frame.cell, deviation.get(frame.step, np.nan))
                for frame in file.iter_frames()]  # fmt: skip
