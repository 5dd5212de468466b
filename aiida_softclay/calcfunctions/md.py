"""Join the segments of a molecular dynamics run, stage by stage."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_join import join_segments


def _in_order(nodes: dict[str, Any]) -> list[Any]:
    """Return the segments in the order of their keys, ``segment_0001`` and so on."""
    return [nodes[key] for key in sorted(nodes)]


def _joined(nodes: list[orm.ArrayData], width: int = 1) -> orm.ArrayData:
    """Return time series of segments in order as one, each up to the first row of the next.

    Rows that stand for the ``width`` steps before them begin that much earlier.
    """
    parts = [{name: node.get_array(name) for name in node.get_arraynames()} for node in nodes]
    kept = []
    for index, part in enumerate(parts):
        first_later = min((int(later['step'][0]) for later in parts[index + 1 :] if len(later['step'])), default=None)
        mask = np.ones(len(part['step']), bool) if first_later is None else part['step'] <= first_later - width
        kept.append({name: values[mask] for name, values in part.items()})
    merged = orm.ArrayData({name: np.concatenate([part[name] for part in kept]) for name in kept[0]})
    merged.base.attributes.set('units', nodes[0].base.attributes.get('units'))
    return merged


@calcfunction
def merge_thermo(**segments: orm.ArrayData) -> orm.ArrayData:
    """Return the time series of a stage whose segments are named in order, without repeated rows.

    A later segment starts at the step of the restart file it went on from; what an earlier one computed beyond that
    step (before it was killed) did not lead to the present state and is left out.
    """
    return _joined(_in_order(segments))


@calcfunction
def merge_deviations(**segments: orm.ArrayData) -> orm.ArrayData:
    """Return the model deviation of a stage whose segments are named in order, as :func:`merge_thermo` does."""
    return _joined(_in_order(segments))


@calcfunction
def merge_collective(**segments: orm.ArrayData) -> orm.ArrayData:
    """Return the centres of the elements of a stage whose segments are named in order, as :func:`merge_thermo` does.

    Raises
    ------
    ValueError
        If the segments count atoms differently.
    """
    nodes = _in_order(segments)
    counts = [node.base.attributes.get('counts') for node in nodes]
    if any(found != counts[0] for found in counts):
        raise ValueError('the segments hold different atoms: they are not one run')
    merged = _joined(nodes)
    merged.base.attributes.set('counts', counts[0])
    return merged


@calcfunction
def merge_averages(**segments: orm.ArrayData) -> orm.ArrayData:
    """Return the averages of a stage whose segments are named in order; the window with the seam in it is left out."""
    nodes = _in_order(segments)
    width = int(nodes[0].base.attributes.get('window_steps'))
    merged = _joined(nodes, width=width)
    for key in ('window_steps', 'sampling_steps'):
        if (value := nodes[0].base.attributes.get(key, None)) is not None:
            merged.base.attributes.set(key, value)
    return merged


@calcfunction
def merge_trajectories(**segments: MdTrajectoryData) -> MdTrajectoryData:
    """Return the trajectory of a stage whose segments are named in order, without repeated frames.

    Frames beyond the step at which a later segment starts are left out, as in :func:`merge_thermo`.
    """
    with contextlib.ExitStack() as stack:
        target = Path(stack.enter_context(tempfile.TemporaryDirectory())) / 'merged.h5'
        join_segments([stack.enter_context(node.open_path()) for node in _in_order(segments)], target)
        return MdTrajectoryData.from_file(target)


@calcfunction
def merge_statistics(**segments: orm.Dict) -> orm.Dict:
    """Return the statistics of a run from those of its segments, named in order."""
    return orm.Dict(combine_statistics([node.get_dict() for node in _in_order(segments)]))


def combine_statistics(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the statistics of a run from those of its segments, with a record of each seam."""
    combined = dict(records[-1])
    stages: dict[str, dict[str, Any]] = {}
    for record in records:
        for name, item in record['stages'].items():
            if name not in stages or not item['continued']:
                stages[name] = dict(item)
                continue
            known = stages[name]
            seconds = known['loop_seconds'] + item['loop_seconds']
            stages[name] = {
                **item,
                'first_step': known['first_step'],
                'steps': item['last_step'] - known['first_step'],
                'continued': False,
                'loop_seconds': seconds,
                'steps_per_second': (item['last_step'] - known['first_step']) / seconds if seconds > 0 else None,
            }
    for item in stages.values():
        item.pop('n_frames', None)
    walls = [record['wall_seconds'] for record in records if record['wall_seconds'] is not None]
    seconds = sum(record['loop_seconds'] for record in records)
    steps = sum(item['steps'] for item in stages.values())
    combined.update(
        stages=stages,
        steps=steps,
        loop_seconds=seconds,
        steps_per_second=steps / seconds if seconds > 0 else None,
        wall_seconds=sum(walls) if walls else None,
        segments=len(records),
        seams=[{**(record['resumed_from'] or {}), **(record.get('seam') or {})} for record in records[1:]],
        end_reasons=[record['end_reason'] for record in records],
        warnings=list(dict.fromkeys(note for record in records for note in record['warnings'])),
        resumed_from=records[0]['resumed_from'],
    )
    return combined
