"""What all DeePMD-kit calculations share: backends, frames as npy systems, checkpoints, ways a program can fail."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common import datastructures
from aiida.common.folders import Folder
from aiida.engine import CalcJob
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calculations.caching import ReuseOnlySuccess
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FramesFile, export_deepmd_npy, select

#: Backend → (flag of ``dp``, extension of a frozen model).
BACKENDS = {
    'tensorflow': ('--tf', '.pb'),
    'pytorch': ('--pt', '.pth'),
    'pytorch-exportable': ('--pt-expt', '.pt2'),
    # One file; `.jax` and `.savedmodel`, which LAMMPS wants, are folders.
    'jax': ('--jax', '.hlo'),
    'dpmodel': ('--dp', '.dp'),
}
#: Backends of DeePMD-kit 3.2 that are known here but cannot be used, with the reason.
UNSUPPORTED_BACKENDS = {
    'paddle': 'its frozen model is two files, of which LAMMPS needs both, and a potential here is one file',
    'tensorflow2': 'its frozen model is a folder, and a potential here is one file',
}
#: Backends that run models but do not train them.
INFERENCE_ONLY = ('dpmodel',)
#: Where a job computes → shell lines at its beginning.
DEVICES = {
    # TensorFlow and PyTorch heed the first, JAX the second, DeePMD's PyTorch backend the third.
    'cpu': 'export CUDA_VISIBLE_DEVICES=-1 JAX_PLATFORMS=cpu DEVICE=cpu',
    'gpu': (
        'if ! nvidia-smi -L > GPU 2>&1 && ! [ -e /dev/kfd ]; then\n'
        '  echo "SOFTCLAY: no GPU on $(hostname)" > REFUSED; exit 1\n'
        'fi'
    ),
}
#: The share of the wall time after which a job ends itself, so that it is not cut while it writes.
WALLTIME_SHARE = 0.95


def validate_backend(node: orm.Str, _: Any = None) -> str | None:
    """Return a sentence if DeePMD has no such backend."""
    return backend_problem(node.value)


def backend_problem(backend: str, trains: bool = False) -> str | None:
    """Return why a backend cannot be used (``trains``: to train), or ``None``."""
    usable = [name for name in BACKENDS if not (trains and name in INFERENCE_ONLY)]
    if backend in usable:
        return None
    choose = f'choose from {", ".join(usable)} (DPA models train with pytorch)'
    if backend in UNSUPPORTED_BACKENDS:
        return f'the backend `{backend}` cannot be used: {UNSUPPORTED_BACKENDS[backend]}; {choose}'
    if backend in BACKENDS:
        return f'the backend `{backend}` runs models but does not train them: {choose}'
    return f'unknown backend `{backend}`: {choose}'


def validate_device(node: orm.Str, _: Any = None) -> str | None:
    """Return a sentence if there is no such device."""
    if node.value not in DEVICES:
        return f'unknown device `{node.value}`: choose from {", ".join(DEVICES)}, or give none to take what dp finds'
    return None


def validate_positive(node: orm.Int | orm.Float, port: Any = None) -> str | None:
    """Return a sentence if a number is not positive."""
    return None if node.value > 0 else f'{getattr(port, "name", "the value")} is {node.value}: give a positive number'


def export_frames(
    frames: FramesData,
    folder: Folder,
    name: str,
    type_map: list[str],
    n_max: int | None = None,
    seed: int = 0,
    origins: str | None = None,
) -> tuple[list[str], int]:
    """Write frames as DeePMD systems below ``name`` in the folder of a job.

    Parameters
    ----------
    frames : FramesData
        The frames.
    folder : Folder
        Where the inputs of the job are collected.
    name : str
        Folder below it, for example ``data/training``.
    type_map : list of str
        Chemical symbols in the order of the model's types.
    n_max : int, optional
        Write at most so many frames, drawn at random with ``seed``.
    origins : str, optional
        File in the folder of the job in which to write which frame is from where (see :func:`write_origins`).

    Returns
    -------
    tuple
        Paths of the systems in the job, and the number of frames.
    """
    root = Path(folder.abspath)
    with frames.open_path() as path, tempfile.TemporaryDirectory() as scratch:
        chosen, n_frames = path, frames.n_frames
        if n_max is not None and n_frames > n_max:
            chosen, n_frames = Path(scratch) / FramesData.FILE_NAME, n_max
            select(path, chosen, n_max, seed)
        with FramesFile(chosen) as file:
            systems = export_deepmd_npy(file, root / name, type_map)
            if origins is not None:
                write_origins(file, root / origins)
    return [f'{name}/{system}' for system in systems], n_frames


def write_origins(file: FramesFile, path: Path) -> None:
    """Write where the frames are from: ``origins`` (label and stage) and the index of that of each, by system."""
    origins = [{key: str(source.get(key, '')) for key in ('label', 'stage')} for source in file.sources]
    systems = [view.source_index[:].tolist() for view in file.blocks() if view.n_frames]
    path.write_text(json.dumps({'origins': origins, 'systems': systems}), encoding='utf-8')


def missing_elements(frames: FramesData, type_map: list[str]) -> list[str]:
    """Return the elements of the frames that a type map lacks."""
    return [element for element in frames.elements if element not in type_map]


def checkpoint_copies(parent: orm.RemoteData, checkpoint: str, *others: str) -> list[tuple[str, str, str]]:
    """Return what to copy from the folder of a training to continue from, or freeze, one of its checkpoints."""
    base = Path(parent.get_remote_path())
    names = ['checkpoint', f'{checkpoint}*', *others]
    return [(parent.computer.uuid, str(base / name), '.') for name in names]


def watchdog(seconds: float) -> str:
    """Return shell lines that end the programs of a job after some time; they end with the job's own shell.

    SIGTERM, since a shell without job control starts its background children deaf to SIGINT.
    """
    limit = max(1, int(seconds))
    return (
        f'( softclay_waited=0; while kill -0 $$ 2>/dev/null; do sleep 1; softclay_waited=$((softclay_waited + 1));\n'
        f'  if [ "$softclay_waited" -ge {limit} ]; then\n'
        f'    echo "SOFTCLAY: stopped before the wall time, after {limit} s" >> WALLTIME; pkill -TERM -P $$ ; break\n'
        f'  fi; done ) > /dev/null 2>&1 &'
    )


class DpCalculation(ReuseOnlySuccess, CalcJob):
    """Base of the calculations that run ``dp``; a subclass names its step and prepares its files."""

    _STEP = 'step'
    _RETRIEVE: tuple[str, ...] = ()

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare what every ``dp`` step has."""
        super().define(spec)
        spec.input('metadata.options.resources', default=lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
        spec.input('metadata.options.withmpi', default=False)
        spec.input('metadata.options.parser_name', default=f'softclay.dp.{cls._STEP}')
        spec.input(
            'backend', valid_type=orm.Str, default=lambda: orm.Str('tensorflow'), serializer=to_aiida_type,
            validator=validate_backend, help=f'DeePMD backend: {", ".join(BACKENDS)}.',
        )  # fmt: skip
        spec.input(
            'device', valid_type=orm.Str, required=False, serializer=to_aiida_type, validator=validate_device,
            help='`cpu` hides the GPUs from dp; `gpu` ends the job at once where there is none; by default dp takes '
            'what it finds. What it took is in the statistics.',
        )  # fmt: skip
        spec.output('statistics', valid_type=orm.Dict, help='Versions, timings and what the program said of itself.')
        spec.exit_code(210, 'ERROR_NO_GPU', message='the job was to compute on a GPU and found none: {reason}')
        spec.exit_code(300, 'ERROR_NO_OUTPUT', message='dp left no output: the job did not start or its files are gone')
        spec.exit_code(310, 'ERROR_PROGRAM_STOPPED', message='dp stopped: {reason}')
        spec.exit_code(320, 'ERROR_NO_MODEL', message='dp wrote no model: {reason}')
        spec.exit_code(321, 'ERROR_NOT_A_MODEL', message='the file that dp wrote is not a model: {reason}')
        spec.exit_code(410, 'ERROR_OUT_OF_MEMORY', message='dp ran out of memory: {reason}')
        spec.exit_code(411, 'ERROR_DISK_FULL', message='the disk of the computer is full: {reason}')

    @classmethod
    def output_file(cls) -> str:
        """Return the name of the file with what the program printed."""
        return f'dp_{cls._STEP}.out'

    def _flag(self) -> str:
        return BACKENDS[self.inputs.backend.value][0]

    def _calc_info(self, *commands: list[str]) -> datastructures.CalcInfo:
        """Return a CalcInfo that runs the commands one after another and stops at the first that fails."""
        calc_info = datastructures.CalcInfo()
        calc_info.codes_info = []
        for index, command in enumerate(commands):
            code_info = datastructures.CodeInfo()
            code_info.code_uuid = self.inputs.code.uuid
            code_info.cmdline_params = [self._flag(), *command]
            code_info.stdout_name = self.output_file() if index == 0 else f'dp_{command[0]}.out'
            code_info.join_files = True
            calc_info.codes_info.append(code_info)
        calc_info.codes_run_mode = datastructures.CodeRunMode.SERIAL
        lines = ['set -e'] if len(commands) > 1 else []
        seconds = self.inputs.metadata.options.get('max_wallclock_seconds', None)
        if seconds:
            lines.append(watchdog(WALLTIME_SHARE * seconds))
        if 'device' in self.inputs:
            lines.insert(0, DEVICES[self.inputs.device.value])
        calc_info.prepend_text = '\n'.join(lines)
        outputs = [info.stdout_name for info in calc_info.codes_info]
        calc_info.retrieve_list = [*outputs, 'WALLTIME', 'REFUSED', *self._RETRIEVE]
        calc_info.retrieve_temporary_list = []
        calc_info.local_copy_list = []
        calc_info.remote_copy_list = []
        # The frames are an input node already: a second copy in the node of the job would double the repository.
        calc_info.provenance_exclude_list = ['data']
        return calc_info


def model_filename(backend: str, compressed: bool = False) -> str:
    """Return the name of a model file, whose extension tells DeePMD the backend."""
    return f'model{"_compressed" if compressed else ""}{BACKENDS[backend][1]}'


def model_facts(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return type map, cutoff and seed as the training input has them."""
    model = parameters['model']
    return {
        'type_map': list(model['type_map']),
        'rcut': float(model['descriptor']['rcut']),
        'seed': parameters['training'].get('seed'),
    }
