"""How many labelled frames concurrent learning needs against random sampling of AIMD, for the same accuracy.

Usage: ``python benchmarks/concurrent_learning.py --out DIR [--quick | --size small | --size trained] [--seeds 1]
[--jobs 1] [--conditions-baseline]``

The system is 2LiCl-GaF3 with 16 atoms, liquid and glass; the labels are those of the embedded engine (CHGNet 0.3.0; no
DFT).
Three ways to choose N frames for one and the same network and number of training steps:

``random``       N frames drawn at random from one AIMD melt-quench and a hold at constant pressure, as the papers did
``concurrent``   24 frames drawn like that, then generations of: a committee, LAMMPS runs at the conditions below driven
                 by it, selection by model deviation and fingerprint, single points
``conditions``   (--conditions-baseline) N frames drawn at random from AIMD at those very conditions

The test set is AIMD from other random packings at the conditions of a study: 300, 600 and 900 K, -0.5 and 1 GPa and
sheared. Nothing of it is trained on. What is compared is the number of frames at equal error of the forces, for each
melt-quench by itself: the frames of the last generation over those at which the curve of random frames, interpolated,
has the same error. Each point is the mean over the models of a committee. A ratio is an upper limit where no number of
random frames reaches that error.

A curve that is flat cannot show a saving: the network and its training are chosen so that, with random frames, the
error falls from 24 frames to several hundreds. They were chosen on melt-quenches of other seeds, without a look at
concurrent learning.

Every run of LAMMPS begins with a random packing of its own, for which nothing was computed, as a study begins with
structures that were built and not sampled; the committee itself relaxes it. The test set is of other packings again.

The engines are the driver's integrators and calculator, ``dp`` and ``lmp``, called directly: through the workchains
``softclay.concurrent_learning`` is made of, every job would add its start. Plans, trust levels and selection are the
package's own functions.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from concurrent_learning_engines import ELEMENTS, Trainer, aimd, explore, label, mixture, packing

from aiida_softclay.analysis.selection import (
    CANDIDATE,
    FAILED,
    adaptive_levels,
    fingerprint,
    shares,
    spread_selection,
    within_volume,
)

#: What a study does to its material; ``strain`` is a fixed shear of the cell, which AIMD has instead of a rate.
CONDITIONS = [
    {'label': 't300', 'temperature_K': 300, 'pressure_GPa': 0.0},
    {'label': 't300_sheared', 'temperature_K': 300, 'strain': 0.15, 'shear_rate_per_ps': 0.1},
    {'label': 't600', 'temperature_K': 600, 'pressure_GPa': 0.0},
    {'label': 't900', 'temperature_K': 900, 'pressure_GPa': 0.0},
    {'label': 't900_expanded', 'temperature_K': 900, 'pressure_GPa': -0.5},
    {'label': 't900_compressed', 'temperature_K': 900, 'pressure_GPa': 1.0},
]
SIZES = {
    'full': {
        'heat': 400, 'hold': 1200, 'cool': 400, 'npt': 1000, 'test_packings': 2, 'test_steps': 150,
        'test_equilibration': 150, 'training': 3000, 'initial': 24, 'per_generation': 24, 'generations': 2, 'models': 2,
        'packings': 2, 'explore_ps': 0.75, 'random': [24, 72, 216, 648],
    },
    # Three times the training, with a network and final weights nearer to those of the papers: with those of `full` the
    # energies of the training frames themselves are off by 13 meV/atom in the end. The last generation takes more, from
    # narrower bounds: the committee is good by then.
    'trained': {
        'heat': 400, 'hold': 1200, 'cool': 400, 'npt': 1000, 'test_packings': 2, 'test_steps': 150,
        'test_equilibration': 150, 'training': 9000, 'initial': 24, 'per_generation': 24, 'generations': 3, 'models': 2,
        'packings': 2, 'explore_ps': 0.75, 'random': [24, 72, 216, 648], 'max_force': 6.0,
        'later': {2: {'per_generation': 72, 'packings': 3, 'duration_ps': 1.0, 'upper': 0.5, 'max_volume_ratio': 1.3}},
        'network': {'descriptor': [25, 50, 100], 'fitting': [120, 120, 120], 'limit_pref_e': 20, 'limit_pref_f': 1,
                    'limit_pref_v': 1},
    },
    'small': {
        'heat': 100, 'hold': 300, 'cool': 100, 'npt': 250, 'test_packings': 1, 'test_steps': 60,
        'test_equilibration': 60, 'training': 1500, 'initial': 24, 'per_generation': 24, 'generations': 1, 'models': 2,
        'packings': 2, 'explore_ps': 0.5, 'random': [24, 96, 384],
    },
    'quick': {
        'heat': 20, 'hold': 40, 'cool': 20, 'npt': 20, 'test_packings': 1, 'test_steps': 20, 'test_equilibration': 10,
        'training': 800, 'initial': 12, 'per_generation': 6, 'generations': 1, 'models': 2,
        'packings': 1, 'explore_ps': 0.1, 'random': [12, 48],
    },
}  # fmt: skip
#: Candidates are the half of what is below the upper level, until the lower one is at its floor (eV/Å).
TRUST = {'floor': 0.1, 'upper': 1.0, 'fraction': 0.5, 'minimum': 20}
DURATION_GROWTH, MAX_VOLUME_RATIO = 2.0, 1.6


def of_generation(settings, number):
    """Return what holds for one generation."""
    common = {
        'per_generation': settings['per_generation'], 'packings': settings['packings'], 'upper': TRUST['upper'],
        'duration_ps': settings['explore_ps'] * DURATION_GROWTH**number, 'max_volume_ratio': MAX_VOLUME_RATIO,
    }  # fmt: skip
    return common | settings.get('later', {}).get(number, {})


def melt_quench(settings, seed):
    """Return the frames of a melt-quench and of a hold at constant pressure."""
    atoms = mixture(seed)
    heat, atoms, v = aimd(atoms, settings['heat'], 300, 1500, seed)
    hold, atoms, v = aimd(atoms, settings['hold'], 1500, 1500, seed + 1, velocities=v)
    cool, _, _ = aimd(atoms, settings['cool'], 1500, 300, seed + 2, velocities=v)
    npt, _, _ = aimd(atoms, settings['npt'], 1500, 1500, seed + 3, 0.0, velocities=v)
    return heat + hold + cool + npt


def at_conditions(settings, seed, every):
    """Return frames of AIMD at each condition, from random mixtures of its own."""
    parts = {condition['label']: [] for condition in CONDITIONS}
    for number, condition in enumerate(CONDITIONS * settings['test_packings']):
        atoms = mixture(seed + number)
        temperature, pressure = condition['temperature_K'], condition.get('pressure_GPa')
        if 'strain' in condition:
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + condition['strain'] * np.eye(3, k=-1)), scale_atoms=True)
        _, atoms, v = aimd(atoms, settings['test_equilibration'], 900, 900, seed + number)
        _, atoms, v = aimd(atoms, settings['test_equilibration'], temperature, temperature, seed + number, pressure)
        frames, _, _ = aimd(atoms, settings['test_steps'], temperature, temperature, seed + number, pressure, v)
        parts[condition['label']] += frames[::every]
    return parts


def generation(trainer, folder, models, settings, number, seed):
    """Explore each condition from packings of its own and select; return what to label, and the shares."""
    rules = of_generation(settings, number)
    conditions = CONDITIONS * rules['packings']
    names = [f'{condition["label"]}_{k}' for k, condition in enumerate(conditions)]
    starts = [packing(seed + k) for k in range(len(conditions))]
    runs = explore(folder, models, starts, conditions, rules['duration_ps'], seed)
    frames = {name: reached for name, (reached, _) in zip(names, runs, strict=True)}
    start, planned = starts[0], sum(count for _, count in runs)
    values = {name: np.array([frame[2] for frame in part]) for name, part in frames.items()}
    missing = planned - sum(len(part) for part in frames.values())
    within = {
        name: within_volume([frame[1] for frame in frames[name]], start.cell.array, rules['max_volume_ratio'])
        for name in frames
    }
    levels = adaptive_levels(
        np.concatenate([*(values[name][within[name]] for name in values), np.empty(0)]),
        TRUST['floor'], rules['upper'], TRUST['fraction'], TRUST['minimum'],
    )  # fmt: skip
    classes = {name: np.where(within[name], levels.classify(value), FAILED) for name, value in values.items()}
    chosen = spread_selection(
        {name: np.flatnonzero(kind == CANDIDATE) for name, kind in classes.items()}, values,
        lambda name, row: fingerprint(*frames[name][row][:2], start.numbers, ELEMENTS),
        rules['per_generation'], min_contact=0.6, seed=seed,
    )  # fmt: skip
    places = [frames[name][row][:2] for name, rows in chosen.chosen.items() for row in rows]
    counts = shares(np.concatenate([*classes.values(), np.empty(0, dtype=int)]), missing)
    return places, {
        'lower': levels.lower,
        **counts,
        'by_run': {name: len(rows) for name, rows in chosen.chosen.items()},
    }


# ---- the comparison ------------------------------------------------------------------------------------------------
def draws(pool, n, settings, seed):
    """Return as many draws of n frames as a committee has models, each with the seed of its network."""
    rng = np.random.default_rng([seed, n])
    return [
        ([pool[i] for i in rng.choice(len(pool), n, replace=False)], 1000 * seed + n + 10 * k)
        for k in range(settings['models'])
    ]


def learning_curve(trainer, pool, settings, test, seed, name, skip=None):
    """Return the errors of models trained on frames drawn at random."""
    points = []
    for n in [n for n in settings['random'] if n <= len(pool) and n != skip]:
        models = trainer.fit(draws(pool, n, settings, seed))
        points.append({'n': n, 'seed': seed, 'models': trainer.errors(models, test)})
        report(name, points[-1])
    return points


def concurrent(trainer, folder, pool, settings, test, seed):
    """Return the errors of the committees of each generation; the first learns random frames of the melt-quench."""
    known, _ = draws(pool, settings['initial'], settings, seed)[0]
    reference = mixture(seed)
    points, labelled, largest = [], len(known), settings.get('max_force', np.inf)
    for number in range(settings['generations'] + 1):
        models = trainer.fit([(known, 100_000 * (number + 1) + 100 * seed + 10 * k) for k in range(settings['models'])])
        points.append({'n': labelled, 'used': len(known), 'seed': seed, 'models': trainer.errors(models, test)})
        if number < settings['generations']:
            places, points[-1]['exploration'] = generation(
                trainer, folder / f'generation_{number}', models, settings, number, 100_000 * seed + 100 * number
            )
            # A configuration that no run of the engine would visit can outweigh all others in a fit. Its label counts.
            known = known + [frame for frame in label(reference, places) if np.abs(frame[3]).max() <= largest]
            labelled += len(places)
        report('concurrent', points[-1])
    return points


def mean_errors(points, key):
    """Return N, mean error and its standard error over all models and seeds of that N."""
    rows = []
    for n in sorted({point['n'] for point in points}):
        values = np.array([row[key] for point in points if point['n'] == n for row in point['models']])
        rows.append((n, values.mean(), values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan))
    return np.array(rows)


def frames_needed(curve, error):
    """Return at how many random frames the curve reaches the error (log-log interpolation), and whether it does."""
    n, values = np.log(curve[:, 0]), np.log(np.minimum.accumulate(curve[:, 1]))
    if np.log(error) < values[-1]:
        return float(curve[-1, 0]), False
    return float(np.exp(np.interp(-np.log(error), -values, n))), True


def report(name, point):
    """Print one point of a learning curve."""
    force, energy = ([row[key] for row in point['models']] for key in ('force', 'energy'))
    text = f'{name:11s} seed {point["seed"]}  N {point["n"]:4d}  forces {np.mean(force):6.1f} meV/Å'
    shift = np.mean([row['shift'] for row in point['models']])
    text += f' (models {min(force):.1f} to {max(force):.1f})'
    text += f'  energies {np.mean(energy):5.2f} (mean {shift:+.2f}) meV/atom'
    if 'exploration' in point:
        text += '  ' + ' '.join(f'{k} {v:.2f}' for k, v in point['exploration'].items() if not isinstance(v, dict))
    print(text, flush=True)


def compare(curves):
    """Return the ratio of frames at equal error for every concurrent generation and other way of sampling."""
    rows = []
    for key in ('force', 'energy'):
        reference = mean_errors(curves['concurrent'], key)
        for other in sorted(set(curves) - {'concurrent'}):
            curve = mean_errors(curves[other], key)
            for n, error, spread in reference:
                needed, reached = frames_needed(curve, error)
                rows.append(
                    {'error': key, 'against': other, 'n_concurrent': int(n), 'rmse': error, 'rmse_error': spread,
                     'n_other': needed, 'reached': reached, 'ratio': n / needed}
                )  # fmt: skip
    return rows


def last_ratios(curves, key='force'):
    """Return for each seed the frames of the last generation over the random frames that reach its error.

    Random sampling differs from one melt-quench to the next by more than the ratio asked for, so that a mean over seeds
    would hide where concurrent learning does not help.
    """
    ratios = {}
    for seed in sorted({point['seed'] for point in curves['concurrent']}):
        own = {name: [point for point in points if point['seed'] == seed] for name, points in curves.items()}
        rows = [row for row in compare(own) if row['error'] == key and row['against'] == 'random']
        ratios[seed] = rows[-1]['ratio']
    return ratios


def draw(curves, path):
    """Write a figure of all learning curves."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.5))
    for axis, key, unit in zip(axes, ('force', 'energy'), ('meV/Å', 'meV/atom'), strict=True):
        for name, points in curves.items():
            n, error, spread = mean_errors(points, key).T
            axis.errorbar(n, error, spread, marker='o', capsize=2, label=name)
        axis.set(xscale='log', yscale='log', xlabel='labelled frames', ylabel=f'RMSE of {key} ({unit})')
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> int:
    """Sample, learn, compare, print; return 0 if the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='folder for results and scratch files')
    parser.add_argument('--size', choices=list(SIZES), default='full', help='how much is sampled and trained')
    parser.add_argument('--quick', action='store_true', help='--size quick: shows that it runs, and nothing else')
    parser.add_argument('--seeds', type=int, default=1, help='independent repetitions of all but the test set')
    parser.add_argument('--conditions-baseline', action='store_true', help='AIMD at the conditions as well')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at once')
    arguments = parser.parse_args()
    size, started = 'quick' if arguments.quick else arguments.size, time.monotonic()
    settings = SIZES[size]
    scratch = arguments.out.resolve() / time.strftime('run_%Y%m%d_%H%M%S')
    scratch.mkdir(parents=True)
    test = at_conditions(settings, 900_000, 10)
    symbols = mixture(1).get_chemical_symbols()
    trainer = Trainer(scratch, settings['training'], symbols, arguments.jobs, settings.get('network'))
    n_test = sum(len(part) for part in test.values())
    print(
        f'{n_test} test frames of {len(symbols)} atoms at {len(test)} conditions ({time.monotonic() - started:.0f} s)'
    )
    curves = {'random': [], 'concurrent': []} | ({'conditions': []} if arguments.conditions_baseline else {})
    for seed in range(1, arguments.seeds + 1):
        pool = melt_quench(settings, seed)
        print(f'melt-quench {seed}: {len(pool)} frames ({time.monotonic() - started:.0f} s)', flush=True)
        curves['concurrent'] += concurrent(trainer, scratch / f'seed_{seed}', pool, settings, test, seed)
        # The first committee is a point of both curves.
        first = next(point for point in curves['concurrent'] if point['seed'] == seed)
        curves['random'] += [{key: first[key] for key in ('n', 'seed', 'models')}]
        curves['random'] += learning_curve(trainer, pool, settings, test, seed, 'random', settings['initial'])
        if arguments.conditions_baseline:
            parts = at_conditions(settings, 10_000 * seed, 1)
            pool = [frame for part in parts.values() for frame in part]
            curves['conditions'] += learning_curve(trainer, pool, settings, test, seed, 'conditions')
        rows = compare(curves)
        record = {'size': size, 'settings': settings, 'conditions': CONDITIONS, 'trust': TRUST, 'curves': curves,
                  'comparison': rows,
                  'labels': 'CHGNet 0.3.0', 'n_test': n_test, 'seconds': time.monotonic() - started}  # fmt: skip
        (arguments.out / 'concurrent_learning.json').write_text(json.dumps(record, indent=1, default=float))
        draw(curves, arguments.out / 'concurrent_learning.png')
    print('\nframes of concurrent learning over frames of the other for the same error')
    for row in rows:
        sign = '=' if row['reached'] else '<'
        print(f'{row["error"]:6s} against {row["against"]:10s} N {row["n_concurrent"]:4d}  RMSE {row["rmse"]:7.2f} '
              f'+- {row["rmse_error"]:.2f}  other needs {"" if row["reached"] else "more than "}{row["n_other"]:.0f}'
              f'  ratio {sign} {row["ratio"]:.2f}')  # fmt: skip
    ratios = {key: last_ratios(curves, key) for key in ('force', 'energy')}
    for key, values in ratios.items():
        print(f'{key} at the last generation, each seed for itself: '
              + ', '.join(f'{ratio:.2f} (seed {seed})' for seed, ratio in values.items()))  # fmt: skip
    met = {key: max(values.values()) <= 1 / 3 for key, values in ratios.items()}
    for key, yes in met.items():
        print(f'{key} with at most a third of the frames of random AIMD, with every seed: {"yes" if yes else "NO"}')
    print(f'{time.monotonic() - started:.0f} s')
    return 0 if met['force'] or size == 'quick' else 1


if __name__ == '__main__':
    sys.exit(main())
