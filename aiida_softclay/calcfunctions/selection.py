"""Choose the configurations to label, and record what a generation of concurrent learning decided."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.exceptions import InputValidationError
from aiida.engine import calcfunction

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.selection import (
    CANDIDATE,
    FAILED,
    Fingerprint,
    TrustLevels,
    adaptive_levels,
    fingerprint,
    shares,
    spread_selection,
    within_volume,
)
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

TRAJECTORY, DEVIATION, SELECTED = 'trajectory_', 'deviation_', 'selected_'
FORCE_DEVIATION = 'max_force_deviation_eV_A'
#: A fingerprint costs about 0.1 ms an atom: so many atoms are fingerprinted in less than ten seconds.
MAX_POOL_ATOMS = 60_000


def matched_deviation(trajectory: MdTrajectoryData, deviation: orm.ArrayData) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames of a trajectory whose deviation is known, and their deviations.

    Parameters
    ----------
    trajectory : MdTrajectoryData
    deviation : ArrayData
        Arrays ``step`` and ``max_force_deviation_eV_A`` of the same run.

    Returns
    -------
    frames : ndarray of int, shape (n,)
        Indices of the frames, ascending.
    values : ndarray, shape (n,)
        Model deviations, eV/Å.
    """
    with trajectory.open_trajectory() as file:
        steps = file.steps[:]
    known = np.asarray(deviation.get_array('step'), dtype=int)
    values = np.asarray(deviation.get_array(FORCE_DEVIATION), dtype=float)
    # A run that went on from a restart repeats the step of the seam: the last row is the run's own.
    last = {int(step): row for row, step in enumerate(known)}
    rows = [(index, last[int(step)]) for index, step in enumerate(steps) if int(step) in last]
    frames = np.array([index for index, _ in rows], dtype=int)
    return frames, values[[row for _, row in rows]] if rows else np.empty(0)


def trust_levels(settings: Mapping[str, Any], deviation: np.ndarray) -> TrustLevels:
    """Return the trust levels that the settings give for all deviations of a generation.

    Raises
    ------
    ValueError
        If the levels make no sense.
    """
    lower, upper = float(settings['lower_eV_A']), float(settings['upper_eV_A'])
    fraction = settings.get('adaptive_fraction')
    if fraction is None:
        return TrustLevels(lower, upper)
    return adaptive_levels(deviation, lower, upper, float(fraction), int(settings.get('adaptive_minimum', 1)))


@calcfunction
def select_candidates(parameters: orm.Dict, **nodes: orm.Data) -> dict[str, orm.Data]:
    """Return the configurations to label, by structure, and the report of how they were chosen.

    Parameters
    ----------
    parameters : aiida.orm.Dict
        ``runs``: name to ``structure`` (label), ``n_planned`` (frames of the whole run), ``failure`` (why it ended
        early, or None) and whatever else is known of the conditions; ``trust``: ``lower_eV_A``, ``upper_eV_A`` and,
        for adaptive levels, ``adaptive_fraction`` and ``adaptive_minimum``; ``selection``: ``max_configurations``,
        ``cutoff_A``, ``n_bins``, ``min_contact``, ``max_volume_ratio``, ``max_pool``; ``seed``.
    **nodes
        ``trajectory_<run>`` (MdTrajectoryData) and ``deviation_<run>`` (ArrayData with ``step`` and
        ``max_force_deviation_eV_A``) of every run that has any.

    Returns
    -------
    dict
        ``report`` and, for every structure of which something was chosen, ``selected_<structure>``, whose steps count
        the configurations; the report says which frame of which run each of them is.
    """
    settings = parameters.get_dict()
    runs, rules = settings['runs'], settings['selection']
    trajectories = {name: nodes[TRAJECTORY + name] for name in sorted(runs) if TRAJECTORY + name in nodes}
    frames, values = {}, {}
    for name, node in trajectories.items():
        if DEVIATION + name in nodes:
            frames[name], values[name] = matched_deviation(node, nodes[DEVIATION + name])
    # What evaporated says nothing about the levels: its deviations would lift them above those of the liquid.
    expanded = {name: _beyond_volume(trajectories[name], frames[name], rules) for name in values}
    kept = [values[name][~expanded[name]] for name in values]
    try:
        levels = trust_levels(settings['trust'], np.concatenate([*kept, np.empty(0)]))
    except ValueError as error:
        raise InputValidationError(str(error)) from error
    # Frame 0 is the structure itself, which every run of it shares: it counts once for each structure.
    classes = {name: levels.classify(value) for name, value in values.items()}
    for name, beyond in expanded.items():
        classes[name][beyond] = FAILED
    seen: set[str] = set()
    for name in classes:
        first = (frames[name] == 0) & (runs[name]['structure'] in seen)
        keep = ~first
        frames[name], values[name], classes[name] = frames[name][keep], values[name][keep], classes[name][keep]
        seen.add(runs[name]['structure'])
    species = sorted({symbol for node in trajectories.values() for symbol in node.symbol_counts})
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(node.open_trajectory()) for name, node in trajectories.items()}
        largest = max((file.n_atoms for file in files.values()), default=1)
        chosen = spread_selection(
            {name: np.flatnonzero(kind == CANDIDATE) for name, kind in classes.items()},
            values,
            lambda name, row: _fingerprint(files[name], int(frames[name][row]), species, rules),
            int(rules['max_configurations']),
            max_pool=max(int(rules['max_configurations']), min(int(rules['max_pool']), MAX_POOL_ATOMS // largest)),
            min_contact=float(rules['min_contact']),
            seed=int(settings['seed']),
        )
        places: dict[str, list[dict[str, Any]]] = {}
        for name, rows in chosen.chosen.items():
            for row in rows:
                frame = int(frames[name][row])
                places.setdefault(runs[name]['structure'], []).append(
                    {'run': name, 'frame': frame, 'step': int(files[name].steps[frame]),
                     'deviation_eV_A': float(values[name][row])}
                )  # fmt: skip
        outputs: dict[str, orm.Data] = {
            f'{SELECTED}{structure}': _gather(files, rows) for structure, rows in sorted(places.items())
        }
    missing = {name: max(int(run['n_planned']) - trajectories[name].n_frames, 0) if name in trajectories
               else int(run['n_planned']) for name, run in runs.items()}  # fmt: skip
    unphysical = {name: [int(frames[name][row]) for row in rows] for name, rows in chosen.unphysical.items()}
    outputs['report'] = orm.Dict(
        {
            'levels': {'lower_eV_A': levels.lower, 'upper_eV_A': levels.upper, **_adapted(settings['trust'])},
            'shares': _share(classes.values(), sum(missing[name] for name in runs if runs[name].get('failure'))),
            'n_explored': int(sum(len(kind) for kind in classes.values())),
            'n_missing': int(sum(missing.values())),
            'n_candidates': int(sum((kind == CANDIDATE).sum() for kind in classes.values())),
            'n_failed': int(sum((kind == FAILED).sum() for kind in classes.values())),
            'n_selected': sum(len(rows) for rows in places.values()),
            'n_compared': chosen.pool,
            'deviation_eV_A': _summary(np.concatenate([*values.values(), np.empty(0)])),
            'incomplete': sorted(name for name in runs if missing[name] and not runs[name].get('failure')),
            'runs': {
                name: _run_record(runs[name], missing[name], classes.get(name), values.get(name)) for name in runs
            },
            'selected': places,
            'unphysical': unphysical,
            'beyond_volume': {name: int(beyond.sum()) for name, beyond in expanded.items() if beyond.any()},
            'selection': rules,
            'seed': settings['seed'],
        }
    )
    return outputs


def _fingerprint(file: TrajectoryFile, index: int, species: list[str], rules: Mapping[str, Any]) -> Fingerprint:
    return fingerprint(
        file.positions[index], file.cells[index], file.atomic_numbers, species,
        cutoff=float(rules['cutoff_A']), n_bins=int(rules['n_bins']),
    )  # fmt: skip


def _beyond_volume(trajectory: MdTrajectoryData, frames: np.ndarray, rules: Mapping[str, Any]) -> np.ndarray:
    """Return which frames have expanded or shrunk too far from the start of their run."""
    with trajectory.open_trajectory() as file:
        cells = file.cells[:]
    return ~within_volume(cells[frames], cells[0], float(rules['max_volume_ratio']))


def _gather(files: Mapping[str, TrajectoryFile], rows: list[dict[str, Any]]) -> MdTrajectoryData:
    """Return the chosen frames of the runs of one structure in one trajectory."""
    first = files[rows[0]['run']]
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / MdTrajectoryData.FILE_NAME
        with TrajectoryFile(
            target, 'w', first.atomic_numbers, first.timestep_ps, engine=first.engine, stage='selected'
        ) as output:
            for number, row in enumerate(rows):
                source = files[row['run']]
                if not np.array_equal(source.atomic_numbers, first.atomic_numbers):
                    raise InputValidationError(
                        f'the runs {rows[0]["run"]} and {row["run"]} are of one structure but not of the same atoms'
                    )
                output.append(source.positions[row['frame']], source.cells[row['frame']], number)
        return MdTrajectoryData.from_file(target)


def _adapted(trust: Mapping[str, Any]) -> dict[str, Any]:
    return {'adaptive_fraction': trust.get('adaptive_fraction'), 'floor_eV_A': float(trust['lower_eV_A'])}


def _share(classes: Any, n_missing: int) -> dict[str, float]:
    return shares(np.concatenate([*classes, np.empty(0, dtype=int)]), n_missing)


def _summary(values: np.ndarray) -> dict[str, float | None]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {'mean': None, 'median': None, 'percentile_95': None, 'largest': None}
    return {
        'mean': float(finite.mean()),
        'median': float(np.median(finite)),
        'percentile_95': float(np.percentile(finite, 95)),
        'largest': float(finite.max()),
    }


def _run_record(
    run: Mapping[str, Any], missing: int, classes: np.ndarray | None, values: np.ndarray | None
) -> dict[str, Any]:
    present = classes is not None and values is not None
    return {
        **run,
        'n_missing': missing,
        'n_explored': len(classes) if present else 0,  # type: ignore[arg-type]
        'shares': _share([classes] if present else [], missing if run.get('failure') else 0),
        'deviation_eV_A': _summary(values if present else np.empty(0)),  # type: ignore[arg-type]
    }


@calcfunction
def record_generation(parameters: orm.Dict, selection: orm.Dict, **nodes: orm.Dict) -> orm.Dict:
    """Return what one generation found and decided, in one node.

    Parameters
    ----------
    parameters : aiida.orm.Dict
        ``generation`` (number), ``decision`` (what follows), ``n_frames_before``, ``n_labelled``, ``group`` and
        ``committee`` (labels).
    selection : aiida.orm.Dict
        Report of :func:`select_candidates`.
    **nodes
        ``committee``: results of the committee; ``labels``: summary of the labelling, if there was one.
    """
    record = {**parameters.get_dict(), **selection.get_dict(), 'selection_uuid': selection.uuid}
    record['labels'] = nodes['labels'].get_dict() if 'labels' in nodes else None
    if 'committee' in nodes:
        record['committee_numbers'] = {
            row['name']: {key: row.get(key) for key in ('value', 'error', 'unit')}
            for row in nodes['committee'].get_dict().get('numbers', [])
        }
    return orm.Dict(record)


@calcfunction
def summarise_learning(context: orm.Dict, **nodes: orm.Dict) -> orm.Dict:
    """Return the numbers of a concurrent learning in the results schema.

    Parameters
    ----------
    context : aiida.orm.Dict
        What all numbers share.
    **nodes
        ``generation_<number>``: records of the generations; ``fit``: results of the final fit, if there was one.
    """
    records = [nodes[name].get_dict() for name in sorted(nodes) if name.startswith('generation_')]
    quantities = [
        Quantity('generations', len(records), None, '1', 'Number of generations of train, explore, select, label.',
                 len(records), error_method='exact count'),
        Quantity('labelled_frames', sum(row['n_labelled'] for row in records), None, '1',
                 'Frames labelled by single-point calculations over all generations, the initial ones not counted.',
                 len(records), error_method='exact count'),
    ]  # fmt: skip
    if records:
        last = records[-1]
        for name in ('accurate', 'candidate', 'failed'):
            share, runs = last['shares'][name], [run for run in last['runs'].values() if run['n_explored']]
            spread = np.array([run['shares'][name] for run in runs])
            quantities.append(
                Quantity(
                    f'share.{name}', share,
                    float(spread.std(ddof=1) / np.sqrt(len(spread))) if len(spread) > 1 else None, '1',
                    f'Share of the configurations explored in the last generation whose largest deviation of a force '
                    f'within the committee makes them {name} at its trust levels.',
                    len(runs), error_method='standard error over the exploration runs',
                    frames_used=last['n_explored'], conditions=dict(last['levels']),
                )
            )  # fmt: skip
        spread = last['deviation_eV_A']
        quantities.append(
            Quantity(
                'model_deviation', spread['mean'], None, 'eV/Å',
                'Mean over the configurations explored in the last generation of the largest standard deviation of a '
                'force within the committee.',
                len(last['runs']), frames_used=last['n_explored'], conditions=dict(spread),
                warnings=[] if spread['mean'] is not None else ['no configuration was explored'],
            )
        )  # fmt: skip
    results = results_dict(quantities, **context.get_dict())
    if 'fit' in nodes:
        results['numbers'] += [
            {**row, 'name': f'final.{row["name"]}', 'source': nodes['fit'].uuid} for row in nodes['fit']['numbers']
        ]
    return orm.Dict(results)
