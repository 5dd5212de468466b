"""``softclay-analyse``: the program of an analysis job. It needs no profile, and reads trajectories in place."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: What the job is to do, and what came of it.
JOB_FILE, RESULT_FILE = 'analysis.json', 'result.json'
#: Versions that can change a number.
PACKAGES = ('aiida-softclay', 'numpy', 'scipy', 'numba', 'pymatgen', 'h5py')


class TrajectoryInPlace:
    """A trajectory file with the face of a trajectory node; nothing of it is copied.

    Attributes
    ----------
    path : pathlib.Path
        The HDF5 file.
    """

    def __init__(self, path: Path) -> None:
        from aiida_softclay.data.trajectory_file import TrajectoryFile

        self.path = path
        with TrajectoryFile(path) as trajectory:
            self.n_frames, self.n_atoms = trajectory.n_frames, trajectory.n_atoms
            self.formula, self.engine, self.stage = trajectory.formula, trajectory.engine, trajectory.stage
            self.timestep_ps = trajectory.timestep_ps
            self.first_step, self.last_step = int(trajectory.steps[0]), int(trajectory.steps[-1])

    @contextlib.contextmanager
    def open_trajectory(self) -> Iterator[Any]:
        """Open the trajectory for reading."""
        from aiida_softclay.data.trajectory_file import TrajectoryFile

        with TrajectoryFile(self.path) as trajectory:
            yield trajectory

    @contextlib.contextmanager
    def open_path(self) -> Iterator[Path]:
        """Yield the path of the file."""
        yield self.path


def _read_arrays(path: Path) -> Any:
    """Return the arrays of a file as an unstored node."""
    import numpy as np
    from aiida import orm

    with np.load(path, allow_pickle=False) as arrays:
        return orm.ArrayData({name: arrays[name] for name in arrays.files})


def _write_output(name: str, node: Any, folder: Path) -> dict[str, Any]:
    """Write an output as a file that holds no Python objects and return what it is."""
    import numpy as np
    from aiida import orm

    if isinstance(node, orm.Dict):
        return {'type': 'dict', 'value': node.get_dict()}
    if isinstance(node, orm.ArrayData):
        file = f'output_{name}.npz'
        with (folder / file).open('wb') as handle:
            np.savez(handle, **{key: node.get_array(key) for key in node.get_arraynames()})
        attributes = {key: value for key, value in node.base.attributes.all.items() if not key.startswith('array|')}
        return {'type': 'arrays', 'file': file, 'attributes': attributes}
    if isinstance(node, orm.SinglefileData):
        file = f'output_{name}_{Path(node.filename).name}'
        (folder / file).write_bytes(node.get_content(mode='rb'))
        return {'type': 'file', 'file': file, 'filename': node.filename}
    raise TypeError(f'the output {name} is a {type(node).__name__}, which a job cannot hand back')


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {'python': platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def run_job(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the analysis of a job and return what is written to the result file.

    Parameters
    ----------
    job : dict
        ``analysis``, ``parameters``, ``trajectories`` and ``arrays`` (name to file, relative to the folder).
    folder : Path
        Where the job runs.
    """
    from aiida import orm
    from aiida.engine import ExitCode

    from aiida_softclay.calculations.analyses import PARAMETERS, find_analysis

    _temporary_profile()
    analysis = find_analysis(job['analysis'])
    inputs: dict[str, Any] = {PARAMETERS: orm.Dict(job['parameters'])}
    inputs |= {name: TrajectoryInPlace(folder / file) for name, file in job['trajectories'].items()}
    inputs |= {name: _read_arrays(folder / file) for name, file in job['arrays'].items()}
    if problem := analysis.problem(set(job['trajectories']), set(job['arrays'])):
        return {'status': 1, 'message': problem, 'outputs': {}}
    started = time.perf_counter()
    print(f'{analysis.name} started', flush=True)
    found = analysis.function(**inputs)
    seconds = time.perf_counter() - started
    if isinstance(found, ExitCode):
        return {'status': found.status, 'message': found.message, 'outputs': {}}
    if isinstance(found, orm.Data):
        found = {'results': found}
    return {
        'status': 0,
        'message': '',
        'outputs': {name: _write_output(name, node, folder) for name, node in found.items()},
        'statistics': {
            'analysis': analysis.name,
            'seconds': seconds,
            'peak_memory_MB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            'frames': {name: inputs[name].n_frames for name in job['trajectories']},
            'versions': _versions(),
        },
    }


def _temporary_profile() -> None:
    """Load a profile that is gone with the process: nodes cannot be made without one."""
    from aiida import load_profile
    from aiida.storage.sqlite_temp import SqliteTempBackend

    load_profile(SqliteTempBackend.create_profile('softclay-analyse', debug=False), allow_switch=True)


def _about_file(path: Path) -> dict[str, Any]:
    """Return what is in a trajectory file."""
    from aiida_softclay.data.trajectory_file import TrajectoryFile

    with TrajectoryFile(path) as trajectory:
        return {
            'file': path.name, 'bytes': path.stat().st_size, 'n_frames': trajectory.n_frames,
            'n_atoms': trajectory.n_atoms, 'first_step': int(trajectory.steps[0]),
            'last_step': int(trajectory.steps[-1]), 'resolution_A': trajectory.resolution,
            'content_hash': trajectory.content_hash(),
        }  # fmt: skip


def run_join(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Join runs that went on from each other and return what is written to the result file; the trajectory stays.

    Parameters
    ----------
    job : dict
        ``join`` (the stage), ``trajectories`` and ``arrays`` (name to file) and ``attributes`` of these.
    folder : Path
        Where the job runs, and the trajectory stays.
    """
    _temporary_profile()
    from aiida_softclay.calcfunctions.continuation import join_runs
    from aiida_softclay.calculations.convert import trajectory_file

    nodes: dict[str, Any] = {name: TrajectoryInPlace(folder / file) for name, file in job['trajectories'].items()}
    for name, file in job['arrays'].items():
        nodes[name] = _read_arrays(folder / file)
        for key, value in job['attributes'][name].items():
            nodes[name].base.attributes.set(key, value)
    target = folder / trajectory_file(job['join'])
    part = target.with_suffix('.part')
    try:
        found = join_runs(nodes, part)
    except ValueError as error:
        return {'status': 1, 'message': f'the runs cannot be joined: {error}'}
    part.replace(target)
    seams = found.pop('seams')
    return {
        'status': 0, 'message': '', 'seams': seams.get_dict(),
        'outputs': {name: _write_output(name, node, folder) for name, node in found.items()},
        'summary': {'stages': {job['join']: _about_file(target)}, 'versions': _versions()},
    }  # fmt: skip


def run_conversion(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the trajectory of every stage from the raw dumps of a run and return what is written to the result file.

    Parameters
    ----------
    job : dict
        ``convert`` (folders of the jobs of the run, in order), ``plan``, ``symbols`` and ``engine``.
    folder : Path
        Where the job runs, and the trajectories stay.
    """
    from aiida_softclay.calculations.convert import trajectory_file
    from aiida_softclay.calculations.md_plan import MdPlan
    from aiida_softclay.data.trajectory_join import join_segments
    from aiida_softclay.parsers.lammps_results import convert_dump

    plan, stages = MdPlan.from_dict(job['plan']), {}
    for stage in plan.stage_names:
        parts = []
        for name in job['convert']:
            part = folder / f'{name}_{stage}.part.h5'
            count, _, finite = convert_dump(plan, stage, folder / name, part, job['symbols'], job['engine'])
            if not finite:
                return {'status': 1, 'message': f'the positions of stage {stage} are not finite in {name}'}
            if count:
                parts.append(part)
        target = folder / trajectory_file(stage)
        if not parts:
            continue
        if len(parts) == 1:
            parts[0].replace(target)
        else:
            join_segments(parts, target)
        for part in folder.glob(f'*_{stage}.part.h5'):
            part.unlink()
        stages[stage] = _about_file(target)
        print(f'{stage}: {stages[stage]["n_frames"]} frames', flush=True)
    if not stages:
        return {
            'status': 1,
            'message': 'the folders hold no dump of any stage: they were cleaned, or are of other jobs',
        }
    return {'status': 0, 'message': '', 'summary': {'stages': stages, 'versions': _versions()}}


#: What is to be done, by the key of the job file that says so; else an analysis.
KINDS = {'convert': run_conversion, 'join': run_join}


def main(arguments: list[str] | None = None) -> int:
    """Run the job described in the file named on the command line; write ``result.json`` last, in one step."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) != 1 or words[0] in {'-h', '--help'}:
        print(f'usage: softclay-analyse {JOB_FILE}')
        return 0 if words[:1] in (['-h'], ['--help']) else 2
    path = Path(words[0]).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        # AiiDA keeps its configuration somewhere as soon as it is imported: not in the user's own folder.
        os.environ['AIIDA_PATH'] = scratch
        job = json.loads(path.read_text(encoding='utf-8'))
        run = next((KINDS[key] for key in KINDS if key in job), run_job)
        result = run(job, path.parent)
    part = path.parent / f'{RESULT_FILE}.part'
    part.write_text(json.dumps(result), encoding='utf-8')
    part.replace(path.parent / RESULT_FILE)
    print(result['message'] or 'done')
    return 0


if __name__ == '__main__':
    sys.exit(main())
