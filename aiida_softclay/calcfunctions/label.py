"""Join the labels of several jobs in the order of their configurations, and say what became of each."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FrameBlock, FramesFile
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

SUMMARY_SCHEMA = 'softclay-labels/1'
_ARRAYS = ('positions', 'cells', 'energies', 'forces', 'virials', 'temperature')


def _labelled(statistics: orm.Dict) -> list[int]:
    """Return the indices of the configurations with a label, in the order of the frames of their job."""
    return [record['index'] for record in statistics.get_dict()['configurations'] if record['state'] == 'done']


@calcfunction
def merge_labels(**parts: orm.Data) -> FramesData:
    """Return the frames of several jobs in the order of their configurations.

    ``parts`` are the frames of each job, ``frames_<job>``, and its statistics, ``statistics_<job>``, which say what
    configuration each frame is.
    """
    jobs = sorted(key.removeprefix('frames_') for key in parts if key.startswith('frames_'))
    rows: list[tuple[int, dict[str, np.ndarray]]] = []
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / FramesData.FILE_NAME
        with FramesFile(target, 'w') as merged:
            numbers, provenance, source = None, {}, {}
            for job in jobs:
                with parts[f'frames_{job}'].open_frames() as part:
                    (view,) = part.blocks()
                    block = view.read()
                    numbers, source = view.atomic_numbers, part.sources[0]
                    provenance = {'energy_kind': part.energy_kind, 'engine': part.engine}
                # Refuses labels of another program or functional, which a retry on another computer could bring.
                merged.describe(provenance['energy_kind'], provenance['engine'])
                rows += [
                    (index, {key: getattr(block, key)[row] for key in _ARRAYS})
                    for row, index in enumerate(_labelled(parts[f'statistics_{job}']))
                ]
            rows.sort(key=lambda row: row[0])
            arrays = {key: np.array([values[key] for _, values in rows]) for key in _ARRAYS}
            merged.append(FrameBlock(numbers, **arrays), source)
        return FramesData.from_file(target)


@calcfunction
def merge_relaxed(**configurations: MdTrajectoryData) -> MdTrajectoryData:
    """Return the relaxed configurations of several jobs in the order of the steps that number them."""
    rows: list[tuple[int, Any, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in sorted(configurations):
            with configurations[name].open_trajectory() as part:
                rows += [(frame.step, frame.positions, frame.cell) for frame in part.iter_frames()]
                facts = part.atomic_numbers, part.timestep_ps, part.engine, part.stage
        target = Path(scratch) / MdTrajectoryData.FILE_NAME
        with TrajectoryFile(target, 'w', *facts) as merged:
            for step, positions, cell in sorted(rows, key=lambda row: row[0]):
                merged.append(positions, cell, step)
        return MdTrajectoryData.from_file(target)


def summarise_labels(parameters: dict[str, Any], statistics: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what became of every configuration.

    Parameters
    ----------
    parameters : dict
        ``given``: name to number of configurations; ``jobs``: job to name; ``lost``: name to index to reason, for
        those of jobs that left no statistics.
    statistics : dict
        The statistics of each job in order, the later ones of configurations that were run again.

    Returns
    -------
    dict
        ``configurations``: for each name ``given``, ``labelled`` (indices, in the order of the frames),
        ``left_out`` (list of ``index``, ``state``, ``reason``), ``not_relaxed`` (indices) and ``jobs``; and ``counts``
        over all names.
    """
    summary = {}
    for name, given in parameters['given'].items():
        jobs = [job for job, of in sorted(parameters['jobs'].items()) if of == name]
        known: dict[int, dict[str, Any]] = {
            int(index): {'index': int(index), 'state': 'not_started', 'reason': reason}
            for index, reason in parameters['lost'].get(name, {}).items()
        }
        for job in jobs:
            for record in statistics.get(job, {}).get('configurations', []):
                known[record['index']] = record
        labelled = [index for index in sorted(known) if known[index]['state'] == 'done']
        summary[name] = {
            'given': given,
            'labelled': labelled,
            'left_out': [
                {key: known[index][key] for key in ('index', 'state', 'reason')}
                for index in sorted(known)
                if known[index]['state'] != 'done'
            ],
            'not_relaxed': [index for index in labelled if known[index].get('relaxed') is False],
            'wall_times_s': [known[index]['wall_time_s'] for index in labelled],
            'jobs': len(jobs),
        }
    return {
        'schema': SUMMARY_SCHEMA,
        'configurations': summary,
        'counts': {
            'given': sum(entry['given'] for entry in summary.values()),
            'labelled': sum(len(entry['labelled']) for entry in summary.values()),
            'left_out': sum(len(entry['left_out']) for entry in summary.values()),
            'not_relaxed': sum(len(entry['not_relaxed']) for entry in summary.values()),
        },
    }


@calcfunction
def label_summary(parameters: orm.Dict, **statistics: orm.Dict) -> dict[str, orm.Dict]:
    """Return ``summary`` (see :func:`summarise_labels`) and ``results`` of the jobs of a label workchain."""
    records = {name: node.get_dict() for name, node in statistics.items()}
    summary = summarise_labels(parameters.get_dict(), records)
    counts = summary['counts']
    times = [time for entry in summary['configurations'].values() for time in entry.pop('wall_times_s')]
    # A job may die between the end of a run and the line that says so.
    walls = np.array([time for time in times if time is not None])
    engines = [record['engine'] for record in records.values() if record['engine']]
    warnings = [f'{counts["left_out"]} configurations have no label: see the summary.'] if counts['left_out'] else []
    quantities = [
        Quantity(
            'labelled_configurations', counts['labelled'], 0.0, '1',
            'Configurations whose energy, forces and stress were computed and converged electronically.',
            counts['given'], error_method='counted', frames_used=counts['labelled'], warnings=warnings,
        ),
        Quantity(
            'wall_time_per_configuration', float(walls.mean()) if len(walls) else None,
            float(walls.std(ddof=1) / np.sqrt(len(walls))) if len(walls) > 1 else None, 's',
            'Mean wall time of the runs that gave a label, to the second.', len(walls),
            error_method='standard error of the mean',
            warnings=[] if len(walls) else ['No configuration has a label.'],
        ),
    ]  # fmt: skip
    results = results_dict(quantities, engine=engines[0] if engines else {}, **counts)
    return {'summary': orm.Dict(summary), 'results': orm.Dict(results)}
