"""What engine and potential are compared on: displaced, scaled and strained cells, and stretches of AIMD."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase import Atoms

from aiida_softclay.analysis.trajectory import select_frames
from aiida_softclay.analysis.unwrap import unwrap
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FrameBlock, FramesFile
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

#: Axis that a component of the tensile strain pulls.
AXES = {'xx': 0, 'yy': 1, 'zz': 2}


def configurations(atoms: Atoms, parameters: dict[str, Any]) -> Iterator[Atoms]:
    """Yield the configurations of one series.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure itself.
    parameters : dict
        ``kind`` and what belongs to it. ``rattled``: ``n``, ``amplitude_A`` (standard deviation of each coordinate),
        ``strain`` (standard deviation of each component of a symmetric strain), ``seed``. ``volumes``: ``scales`` (of
        the volume; the cell keeps its shape, the ions their fractional coordinates). ``strains``: ``component`` and
        ``strains`` (engineering, along one Cartesian axis with the others fixed).

    Raises
    ------
    ValueError
        If the kind is not known.
    """
    kind = parameters['kind']
    if kind == 'rattled':
        rng = np.random.default_rng(int(parameters['seed']))
        for _ in range(int(parameters['n'])):
            strain = float(parameters['strain']) * rng.normal(size=(3, 3))
            made = atoms.copy()
            made.set_cell(atoms.cell[:] @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
            made.positions += float(parameters['amplitude_A']) * rng.normal(size=made.positions.shape)
            yield made
    elif kind == 'volumes':
        for scale in parameters['scales']:
            made = atoms.copy()
            made.set_cell(atoms.cell[:] * float(scale) ** (1 / 3), scale_atoms=True)
            yield made
    elif kind == 'strains':
        axis = AXES[parameters['component']]
        for strain in parameters['strains']:
            stretch = np.eye(3)
            stretch[axis, axis] += float(strain)
            made = atoms.copy()
            made.set_cell(atoms.cell[:] @ stretch, scale_atoms=True)
            yield made
    else:
        raise ValueError(f'there are no configurations of kind `{kind}`: choose from rattled, volumes, strains')


@calcfunction
def make_configurations(structure: orm.StructureData, parameters: orm.Dict) -> MdTrajectoryData:
    """Return the configurations of one series (see :func:`configurations`) as frames without a time.

    Parameters
    ----------
    structure : StructureData
    parameters : Dict
        As for :func:`configurations`.
    """
    options = parameters.get_dict()
    atoms = structure.get_ase()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / MdTrajectoryData.FILE_NAME
        # The trajectory needs a time step; what is made here has none, and the step is only the number in the series.
        with TrajectoryFile(path, 'w', atoms.numbers, 1.0, {'program': 'made configurations'}, options['kind']) as file:
            for index, made in enumerate(configurations(atoms, options)):
                file.append(made.positions, made.cell[:], index)
        return MdTrajectoryData.from_file(path)


@calcfunction
def production_of_aimd(
    parameters: orm.Dict, series: orm.ArrayData, **frames: FramesData
) -> dict[str, orm.Data] | ExitCode:
    """Return the production part of an AIMD run as a trajectory to analyse, and some of its frames to compare.

    Parameters
    ----------
    parameters : Dict
        ``stage`` (segment of the plan), ``segment_index``, ``timestep_fs``, ``frame_stride``, ``n_frames`` (how many
        the plan gives: with frames missing, times are not known any more), ``n_sample`` (frames to compare, evenly
        spread) and ``label`` (of the sample).
    series : ArrayData
        Time series of the whole plan.
    **frames : FramesData
        Frames of the runs; their sorted names are their order.

    Returns
    -------
    dict
        ``trajectory`` (MdTrajectoryData, unwrapped), ``thermo`` (ArrayData with ``temperature_K``) and ``sample``
        (FramesData).
    """
    options = parameters.get_dict()
    try:
        nodes = [frames[name] for name in sorted(frames)]
        rows = series.get_array('segment_index') == int(options['segment_index'])
        temperature = series.get_array('temperature_K')[rows]
        temperature = temperature[np.isfinite(temperature)]
        if not temperature.size:
            raise ValueError(f'the time series holds no temperature of {options["stage"]}')
        thermo = orm.ArrayData()
        thermo.set_array('temperature_K', temperature)
        thermo.base.attributes.set('units', {'temperature_K': 'K'})
        with tempfile.TemporaryDirectory() as scratch:
            trajectory = _unwrapped(nodes, options, Path(scratch) / MdTrajectoryData.FILE_NAME)
            sample = _sampled(nodes, options, Path(scratch) / FramesData.FILE_NAME)
            return {
                'trajectory': MdTrajectoryData.from_file(trajectory),
                'thermo': thermo,
                'sample': FramesData.from_file(sample),
            }
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _stage_blocks(nodes: list[FramesData], stage: str) -> Iterator[tuple[FramesFile, FrameBlock]]:
    """Yield (file, block of frames) of one stage in the order of time, in pieces of bounded size."""
    for node in nodes:
        with node.open_frames() as file:
            wanted = [index for index, source in enumerate(file.sources) if source.get('stage') == stage]
            for view in file.blocks():
                inside = np.isin(view.source_index[:], wanted)
                for start, block in view.iter_slabs():
                    kept = _rows(block, inside[start : start + block.n_frames])
                    if kept.n_frames:
                        yield file, kept


def _rows(block: FrameBlock, keep: np.ndarray) -> FrameBlock:
    """Return the frames of a block where ``keep``, shape (n_frames,), is true."""
    names = ('positions', 'cells', 'energies', 'forces', 'virials', 'temperature')
    values = {name: getattr(block, name) for name in names}
    chosen = {name: None if value is None else np.asarray(value)[keep] for name, value in values.items()}
    return replace(block, **chosen)


def _unwrapped(nodes: list[FramesData], options: dict[str, Any], path: Path) -> Path:
    """Write the unwrapped frames of the stage with their steps."""
    stride, expected = int(options['frame_stride']), int(options['n_frames'])
    with nodes[0].open_frames() as file:
        numbers, engine = next(iter(file.blocks())).atomic_numbers, file.engine
    wrapped, again = itertools.tee(
        (block.positions[row], block.cells[row])
        for _, block in _stage_blocks(nodes, options['stage'])
        for row in range(block.n_frames)
    )
    count = 0
    timestep_ps = float(options['timestep_fs']) / 1000
    with TrajectoryFile(path, 'w', numbers, timestep_ps, engine, options['stage']) as target:
        for positions, (_, cell) in zip(unwrap(wrapped), again, strict=True):
            target.append(positions, cell, count * stride)
            count += 1
    if count != expected:
        raise ValueError(
            f'the run holds {count} frames of {options["stage"]}, the plan gives {expected}: steps that did not '
            'converge are missing, so the times of the others are not equally spaced'
        )
    return path


def _sampled(nodes: list[FramesData], options: dict[str, Any], path: Path) -> Path:
    """Write evenly spread frames of the stage with their labels."""
    wanted = set(select_frames(int(options['n_frames']), int(options['n_sample'])))
    first = 0
    with FramesFile(path, 'w') as target:
        for file, block in _stage_blocks(nodes, options['stage']):
            kept = _rows(block, np.array([first + row in wanted for row in range(block.n_frames)]))
            first += block.n_frames
            if kept.n_frames:
                kept.provenance = {'energy_kind': file.energy_kind, 'engine': file.engine}
                target.append(kept, {'label': options['label'], 'stage': options['stage']})
    return path
