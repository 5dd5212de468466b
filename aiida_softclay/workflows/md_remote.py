"""Molecular dynamics whose frames are too large to be retrieved: they become trajectory files where they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common.datastructures import StashMode
from aiida.engine import ToContext

from aiida_softclay.calculations.convert import ConvertCalculation
from aiida_softclay.calculations.lammps import dumps_stay, structure_symbols
from aiida_softclay.calculations.lammps_script import DUMP_SUFFIX, RESTART_FILES
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.workflows.md_inputs import validate_options, validate_stash
from aiida_softclay.workflows.options import serial_options

#: Inputs that say what becomes of dumps that are too large to be retrieved.
REMOTE_INPUTS = ('max_retrieved_bytes', 'analysis_code', 'analysis_options', 'dump_stash')
#: What the conversion leaves in its folder.
TRAJECTORY_FILES = '*.h5'


def set_remote_inputs(builder: Any, values: Mapping[str, Any]) -> None:
    """Set those of :data:`REMOTE_INPUTS` that are given and not ``None``, as nodes or plain values.

    Raises
    ------
    TypeError
        If there is no such input.
    """
    if unknown := sorted(set(values) - set(REMOTE_INPUTS)):
        raise TypeError(f'unknown argument {", ".join(unknown)}: known are {", ".join(REMOTE_INPUTS)}')
    for name, value in values.items():
        if value is not None:
            setattr(builder, name, value if isinstance(value, orm.Node) else orm.to_aiida_type(value))


def given_remote(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of :data:`REMOTE_INPUTS` that a workchain was given."""
    return {name: inputs[name] for name in REMOTE_INPUTS if name in inputs}


def stash_options(target: str, files: list[str]) -> dict[str, Any]:
    """Return the option of a job that has its files copied to a folder that is not cleaned."""
    return {'target_base': target, 'source_list': files, 'stash_mode': StashMode.COPY.value}


class RemoteDumpsMixin:
    """Leave raw dumps above ``max_retrieved_bytes`` on the computer and convert them there, given ``analysis_code``.

    With ``dump_stash`` the dumps of each job and the converted trajectories are copied to a folder of the user's, so
    that they outlive the cleaning of the work directories; the conversion reads the copies.
    """

    ctx: Any
    inputs: Any
    exit_codes: Any
    report: Any
    out: Any
    submit: Any

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define inputs and outputs."""
        super().define(spec)  # type: ignore[misc]
        spec.input(
            'analysis_code', valid_type=orm.AbstractCode, required=False,
            help='`softclay-analyse` on the computer of LAMMPS: turns dumps that stay there into trajectory files.',
        )  # fmt: skip
        spec.input(
            'analysis_options', valid_type=orm.Dict, required=False, serializer=orm.to_aiida_type,
            validator=validate_options,
            help='metadata.options of the jobs of analysis_code; queue, account and time limit are those of the LAMMPS '
            'jobs if not given.',
        )  # fmt: skip
        spec.input(
            'dump_stash', valid_type=orm.Str, required=False, serializer=orm.to_aiida_type, validator=validate_stash,
            help='Folder on the computer to which dumps that stay there are copied, and the trajectories made of them, '
            'where the work directory is cleaned from time to time.',
        )  # fmt: skip
        spec.output_namespace(
            'remote_dumps', valid_type=orm.RemoteData, dynamic=True, required=False,
            help='Folders of the jobs, in order, where the raw dumps were too large to be retrieved.',
        )  # fmt: skip
        spec.output(
            'remote_trajectories', valid_type=orm.RemoteData, required=False,
            help='Folder on the computer with the trajectory of each stage as STAGE.h5.',
        )  # fmt: skip
        spec.output(
            'remote_summary', valid_type=orm.Dict, required=False,
            help='Bytes, frames, steps and content hash of the trajectories in that folder.',
        )  # fmt: skip
        spec.output_namespace(
            'stashed_dumps', valid_type=orm.RemoteStashFolderData, dynamic=True, required=False,
            help='Copies of the raw dumps of the jobs below dump_stash, in order.',
        )  # fmt: skip
        spec.output(
            'stashed_trajectories', valid_type=orm.RemoteStashFolderData, required=False,
            help='Copy of the trajectories below dump_stash, as STAGE.h5.',
        )  # fmt: skip
        spec.exit_code(
            411, 'ERROR_CONVERSION', message='the dumps stayed on the computer and could not be converted: {message}'
        )

    def frames_stay(self) -> bool:
        """Return whether the raw dumps are not retrieved."""
        symbols = structure_symbols(self.inputs.structure)
        return dumps_stay(MdPlan.from_dict(self.ctx.plan), symbols, self.inputs.max_retrieved_bytes.value)

    def stash_option(self) -> dict[str, Any] | None:
        """Return what the jobs of LAMMPS copy to folders that are not cleaned: restart files, dumps that stay."""
        files, targets = [], []
        if 'restart_stash' in self.inputs:
            files.append(RESTART_FILES)
            targets.append(self.inputs.restart_stash.value)
        if 'dump_stash' in self.inputs and self.frames_stay():
            files.append(f'*{DUMP_SUFFIX}')
            targets.append(self.inputs.dump_stash.value)
        # A job has one such folder: the validation has seen to it that they are the same.
        return stash_options(targets[0], files) if files else None

    def convert_dumps(self) -> Any:
        """Submit the conversion of the dumps that stay."""
        if not self.ctx.finished or not self.frames_stay():
            return None
        plan, counts = MdPlan.from_dict(self.ctx.plan), Counter(structure_symbols(self.inputs.structure))
        self.report(f'raw dumps of {plan.dump_bytes(counts):,} bytes stay on the computer')
        if 'analysis_code' not in self.inputs:
            self.report('give analysis_code to have them converted there, or run softclay.convert on remote_dumps')
            return None
        segments = [node for node in self.ctx.segments if node is not None]
        own = self.inputs.analysis_options.get_dict() if 'analysis_options' in self.inputs else None
        options = serial_options(self.inputs.options.get_dict(), own)
        if 'dump_stash' in self.inputs:
            options['stash'] = stash_options(self.inputs.dump_stash.value, [TRAJECTORY_FILES])
        node = self.submit(
            ConvertCalculation, code=self.inputs.analysis_code, plan=self.inputs.plan, structure=self.inputs.structure,
            engine=orm.Dict(segments[-1].outputs.statistics.get_dict()['engine']),
            segments={key: _dumps_of(item) for key, item in _numbered(segments).items()},
            metadata={'call_link_label': 'convert_dumps', 'label': 'conversion of raw dumps', 'options': options},
        )  # fmt: skip
        self.report(f'launched their conversion, ConvertCalculation<{node.pk}>')
        return ToContext(conversion=node)

    def attach_remote(self, segments: list[orm.CalcJobNode]) -> None:
        """Attach the folders with the dumps that stay, and with what was made of them."""
        if not self.frames_stay():
            return
        for key, node in _numbered(segments).items():
            self.out(f'remote_dumps.{key}', node.outputs.remote_folder)
            if isinstance(kept := _dumps_of(node), orm.RemoteStashFolderData):
                self.out(f'stashed_dumps.{key}', kept)
        if 'conversion' in self.ctx and self.ctx.conversion.is_finished_ok:
            self.out('remote_trajectories', self.ctx.conversion.outputs.remote_folder)
            self.out('remote_summary', self.ctx.conversion.outputs.summary)
            if 'remote_stash' in self.ctx.conversion.outputs:
                self.out('stashed_trajectories', self.ctx.conversion.outputs.remote_stash)


def holds(stash: orm.RemoteStashFolderData, files: str) -> bool:
    """Return whether files of this pattern were copied to a folder."""
    return files in stash.source_list


def _dumps_of(job: orm.CalcJobNode) -> orm.RemoteData | orm.RemoteStashFolderData:
    """Return where the raw dumps of a job are: where they were copied to, else where it ran."""
    if 'remote_stash' in job.outputs and holds(job.outputs.remote_stash, f'*{DUMP_SUFFIX}'):
        return job.outputs.remote_stash
    return job.outputs.remote_folder


def _numbered(segments: list[orm.CalcJobNode]) -> dict[str, orm.CalcJobNode]:
    return {f'segment_{index:04d}': node for index, node in enumerate(segments)}
