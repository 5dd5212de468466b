"""Join runs of which each went on from the last structure and velocities of the one before."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase.data import chemical_symbols

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.md import combine_statistics
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

#: Largest distance in Å between the last frame of a run and the first of the next, which hold the same positions, each
#: rounded to half of 0.001 Å in cells that differ by lattice vectors.
SEAM_TOLERANCE = 2.0e-3
#: The same for the potential energy per atom, eV.
SEAM_ENERGY = 1.0e-6


@calcfunction
def continue_run(**nodes: orm.Data) -> dict[str, orm.Data] | ExitCode:
    """Return one trajectory and one time series of runs that went on from each other.

    A run that starts from the last structure and velocities of another counts its steps from 0 and starts with its
    atoms wrapped into the cell. Here its steps go on from those of the run before and its atoms from where they were;
    its first frame and row, which repeat the last ones, are left out. That they do repeat them is checked.

    Parameters
    ----------
    **nodes
        ``trajectory_0000``, ``trajectory_0001``, … (MdTrajectoryData) and ``thermo_0000``, … (ArrayData), in order;
        where all runs have them, also ``collective_0000``, … (centres of the elements) and ``averages_0000``, ….

    Returns
    -------
    dict
        ``trajectory``, ``thermo``, ``collective`` and ``averages`` if they were given, and ``seams`` (Dict: for each
        seam its ``step``, ``largest_shift_A`` of an atom, ``energy_change_eV`` per atom, and the temperature in K
        before and after it).
    """
    try:
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch) / 'joined.h5'
            found = join_runs(nodes, target)
            return {'trajectory': MdTrajectoryData.from_file(target), **found}
    except ValueError as error:
        return analysis_failed(error)


def join_runs(nodes: Mapping[str, Any], target: Path) -> dict[str, orm.Data]:
    """Write the joined trajectory of runs to a file and return what else comes of joining them.

    Parameters
    ----------
    nodes : mapping
        As for :func:`continue_run`; trajectories may be anything with ``open_trajectory``, ``timestep_ps`` and
        ``n_atoms``.
    target : Path
        The file.

    Returns
    -------
    dict
        As of :func:`continue_run`, without ``trajectory``.

    Raises
    ------
    ValueError
        If the runs do not go on from each other.
    """
    trajectories: list[Any] = [nodes[key] for key in sorted(nodes) if key.startswith('trajectory_')]
    series: list[Any] = [nodes[key] for key in sorted(nodes) if key.startswith('thermo_')]
    if len(trajectories) != len(series) or not trajectories:
        raise ValueError(f'{len(trajectories)} trajectories and {len(series)} time series are not those of one run')
    shifts, offsets, moved = _join_frames(trajectories, target)
    thermo, rows = _join_rows(series, offsets, trajectories[0].timestep_ps, trajectories[0].n_atoms)
    columns = _join_columns(nodes, offsets, moved, trajectories[0].timestep_ps)
    seams = [{**row, 'largest_shift_A': shift} for row, shift in zip(rows, shifts, strict=True)]
    return {'thermo': thermo, 'seams': orm.Dict({'seams': seams}), **columns}


def _join_frames(
    nodes: list[MdTrajectoryData], target: Path
) -> tuple[list[float], list[int], list[dict[str, np.ndarray]]]:
    """Write all frames to one file.

    Returns
    -------
    tuple
        Largest shift at each seam in Å, what was added to the steps of each run, and by how much the centre of each
        element was moved back in it, Å.
    """
    shifts, offsets, moved_back = [], [0], []
    with nodes[0].open_trajectory() as first:
        numbers, timestep, engine, stage = first.atomic_numbers, first.timestep_ps, first.engine, first.stage
        resolution = first.resolution
    with TrajectoryFile(target, 'w', numbers, timestep, engine, stage, resolution) as joined:
        last = None
        for number, node in enumerate(nodes):
            with node.open_trajectory() as part:
                if not np.array_equal(part.atomic_numbers, numbers) or part.timestep_ps != timestep:
                    raise ValueError(f'run {number + 1} has other atoms or another time step than the first')
                images = np.zeros((len(numbers), 3))
                for index, frame in enumerate(part.iter_frames()):
                    if last is not None and index == 0:
                        images, shift = _images(last, frame, number)
                        shifts.append(shift)
                        offsets.append(last.step - frame.step)
                        moved_back.append(_by_element(numbers, images @ frame.cell))
                        continue
                    if not index:
                        moved_back.append(_by_element(numbers, images))
                    moved = frame.positions + images @ frame.cell
                    joined.append(moved, frame.cell, frame.step + offsets[-1])
                    before = (moved, frame)
                last = _Seam(before[0], before[1].cell, before[1].step + offsets[-1])
    return shifts, offsets, moved_back


def _by_element(numbers: np.ndarray, vectors: np.ndarray) -> dict[str, np.ndarray]:
    return {chemical_symbols[number]: vectors[numbers == number].mean(axis=0) for number in np.unique(numbers)}


def _join_columns(
    nodes: Mapping[str, Any], offsets: list[int], moved_back: list[dict[str, np.ndarray]], timestep_ps: float
) -> dict[str, orm.ArrayData]:
    """Return centres and averages of all runs in one node each, where every run has them."""
    joined = {}
    for kind in ('collective', 'averages'):
        found = [nodes[key] for key in sorted(nodes) if key.startswith(f'{kind}_')]
        if len(found) != len(offsets):
            continue
        parts = []
        for number, (node, offset, moved) in enumerate(zip(found, offsets, moved_back, strict=True)):
            part = {name: node.get_array(name) for name in node.get_arraynames()}
            for name in [name for name in part if name.startswith('centre_')]:
                element = name.removeprefix('centre_')
                if element in moved:
                    part[name] = part[name] + moved[element]
                elif parts:
                    # No frame holds this element, but the two rows at the seam are of the same positions.
                    if part['step'][0] + offset != parts[-1]['step'][-1]:
                        raise ValueError(f'the centres of run {number + 1} do not start where those before it end')
                    part[name] = part[name] + (parts[-1][name][-1] - part[name][0])
            part['step'] = part['step'] + offset
            part['time_ps'] = part['step'] * timestep_ps
            # The first row of the centres is the last one of the run before; averages are of steps of their own run.
            first = 1 if number and kind == 'collective' else 0
            parts.append({name: values[first:] for name, values in part.items()})
        node = orm.ArrayData({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
        for key in ('units', 'counts', 'window_steps', 'sampling_steps'):
            if (value := found[0].base.attributes.get(key, None)) is not None:
                node.base.attributes.set(key, value)
        joined[kind] = node
    return joined


class _Seam:
    """The last frame of a run, in the positions and steps of the joined one."""

    def __init__(self, positions: np.ndarray, cell: np.ndarray, step: int) -> None:
        self.positions, self.cell, self.step = np.asarray(positions, dtype=float), cell, step


def _images(last: _Seam, first: Any, number: int) -> tuple[np.ndarray, float]:
    """Return the lattice vectors between the atoms of two frames, shape (n_atoms, 3), and what is left, Å."""
    if not np.allclose(last.cell, first.cell, rtol=0, atol=1e-6):
        raise ValueError(f'run {number + 1} does not start in the cell in which run {number} ended')
    apart = last.positions - first.positions.astype(float)
    images = np.rint(np.linalg.solve(last.cell.T, apart.T).T)
    left = float(np.abs(apart - images @ last.cell).max())
    if left > SEAM_TOLERANCE:
        raise ValueError(
            f'run {number + 1} does not start where run {number} ended: an atom is {left:.2g} Å away from there'
        )
    return images, left


def _join_rows(
    nodes: list[orm.ArrayData], offsets: list[int], timestep_ps: float, n_atoms: int
) -> tuple[orm.ArrayData, list[dict[str, Any]]]:
    """Return all rows in one node, and what changed at each seam."""
    parts = [{name: node.get_array(name) for name in node.get_arraynames()} for node in nodes]
    seams = []
    for number, (part, offset) in enumerate(zip(parts, offsets, strict=True)):
        part['step'] = part['step'] + offset
        part['time_ps'] = part['step'] * timestep_ps
        if not number:
            continue
        before = parts[number - 1]
        if part['step'][0] != before['step'][-1]:
            raise ValueError(f'the rows of run {number + 1} start at another step than those of run {number} end')
        change = float(part['potential_energy_eV'][0] - before['potential_energy_eV'][-1]) / n_atoms
        if abs(change) > SEAM_ENERGY:
            raise ValueError(
                f'the potential energy changes by {change:.2g} eV per atom between run {number} and the next'
            )
        seams.append({
            'step': int(part['step'][0]), 'energy_change_eV': change,
            'temperature_before_K': float(before['temperature_K'][-1]),
            'temperature_after_K': float(part['temperature_K'][0]),
        })  # fmt: skip
        parts[number] = {name: values[1:] for name, values in part.items()}
    joined = orm.ArrayData({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    joined.base.attributes.set('units', nodes[0].base.attributes.get('units'))
    return joined, seams


@calcfunction
def continue_statistics(stage: orm.Str, **runs: orm.Dict) -> orm.Dict:
    """Return the statistics of runs that went on from each other in one stage, named ``run_0000``, … in order."""
    records = [runs[key].get_dict() for key in sorted(runs)]
    name = stage.value
    end = records[0]['stages'][name]['last_step']
    for record in records[1:]:
        item = record['stages'][name]
        offset = end - item['first_step']
        record['resumed_from'] = {'stage': name, 'step': end, 'within': True, 'from': 'structure and velocities'}
        end = item['last_step'] + offset
        record['stages'][name] = {
            **item, 'first_step': item['first_step'] + offset, 'last_step': end, 'continued': True,
        }  # fmt: skip
    return orm.Dict(combine_statistics(records))


@calcfunction
def record_run_lengths(**nodes: orm.Dict) -> orm.Dict:
    """Return what was decided after each run: ``results_0000``, … in order, and ``seams`` if there were several."""
    runs = []
    for key in sorted(key for key in nodes if key.startswith('results_')):
        content = nodes[key].get_dict()
        check_results(content)
        decision = content['context']['run_length']
        row = next(row for row in content['numbers'] if row['name'] == f'diffusivity.{decision["species"]}')
        runs.append({
            **decision, 'value': row['value'], 'error': row['error'], 'unit': row['unit'],
            'error_method': row['error_method'], 'window_ps': row['window'], 'results': nodes[key].uuid,
        })  # fmt: skip
    seams = nodes['seams'].get_dict()['seams'] if 'seams' in nodes else []
    return orm.Dict({'runs': runs, 'seams': seams})
