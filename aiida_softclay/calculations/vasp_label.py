"""Single points of many configurations of one composition in one job, with VASP or a program that reads its files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common import CalcInfo, CodeInfo
from aiida.engine import CalcJob
from aiida.orm.nodes.data.base import to_aiida_type
from aiida_vasp.data.potcar import PotcarData
from aiida_vasp.parsers.content_parsers.incar import IncarParser
from aiida_vasp.parsers.content_parsers.kpoints import KpointsParser
from aiida_vasp.parsers.content_parsers.potcar import MultiPotcarIo

from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.trajectory import MdTrajectoryData

from .caching import ReuseOnlySuccess
from .potcar_cutoff import cutoff_problem
from .potcars import is_placeholder
from .vasp_inputs import grouped_kinds, poscar_text

SETTINGS_KEYS = {
    'label': 'name of the configurations, recorded with the frames (default: the formula)',
    'stage': 'recorded with the frames (default `label`)',
    'energy_kind': 'which of the energies of VASP is kept (default e_fr_energy)',
    'keep_files': 'names of files of every configuration that stay in the repository',
}
BATCH_MODES = ('loop', 'folders')

#: What the runs of the script say when they begin and end, one line each; the stand-in writes the same lines.
STATUS_FILE = 'label_status.txt'
FOLDERS_FILE = 'folders.txt'
STDOUT_FILE = 'vasp_output'
#: Written once; every configuration has a link to them, so that a licensed POTCAR lies on the disk once.
SHARED_FILES = ('INCAR', 'KPOINTS', 'POTCAR')
PARSED_FILES = ('vasprun.xml', STDOUT_FILE)

#: Share of the walltime before its end at which the stand-in stops itself; the last files have to be written.
STOP_MARGIN_SHARE = 0.02

#: IBRION of a single point and of relaxations, and the ISIF in which the cell stays as it is.
STATIC, RELAXATIONS = -1, (1, 2, 3)
FIXED_CELL = (0, 1, 2)


def folder_name(index: int) -> str:
    """Return the name of the folder in which configuration ``index`` of the trajectory is computed."""
    return f'conf_{index:06d}'


def incar_problem(incar: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the INCAR tags of single points or relaxations in the fixed cell, or ``None``."""
    from parsevasp.constants import incar_tags

    tags = {key.lower(): value for key, value in incar.items()}
    if len(tags) < len(incar):
        return 'an INCAR tag is given twice, in capitals and in small letters'
    unknown = sorted(key for key in incar if key.lower() not in incar_tags)
    if unknown:
        return f'the INCAR holds {", ".join(unknown)}, which VASP does not know: check the spelling'
    steps, ibrion = tags.get('nsw', 0), tags.get('ibrion', STATIC)
    if ibrion not in (STATIC, *RELAXATIONS):
        return (
            f'IBRION = {ibrion} does not label: use -1 (single point), or 1, 2 or 3 with NSW > 0 (relaxation of the '
            'ions in the fixed cell); molecular dynamics is what softclay.aimd runs'
        )
    if (steps > 0) != (ibrion in RELAXATIONS):
        return f'NSW = {steps} contradicts IBRION = {ibrion}: a single point has NSW = 0, a relaxation NSW > 0'
    isif = tags.get('isif', 2)
    if isif not in FIXED_CELL:
        return f'ISIF = {isif} would change the cell, which is part of the configuration: use 2'
    if isif != 2:
        return f'ISIF = {isif} computes no full stress, and labels have virials: use 2'
    if 'kspacing' in tags or 'kgamma' in tags:
        return 'KSPACING and KGAMMA do nothing beside a KPOINTS file: use the input for k-points instead'
    if tags.get('icharg', 0) in (1, 11) or tags.get('istart', 0) in (1, 2, 3):
        return 'ISTART or ICHARG asks for files of another run, which a label does not have: remove them'
    return None


def is_relaxation(incar: Mapping[str, Any]) -> bool:
    """Return whether INCAR tags move the ions."""
    return {key.lower(): value for key, value in incar.items()}.get('nsw', 0) > 0


def potentials_problem(incar: Mapping[str, Any], potentials: Mapping[str, PotcarData]) -> str | None:
    """Return a sentence if the cutoff of the INCAR is below what a potential needs, or missing."""
    if any(not is_placeholder(potcar) for potcar in potentials.values()) and 'encut' not in map(str.lower, incar):
        return 'the INCAR has no ENCUT: without it every composition would get a cutoff, and energies, of its own'
    return cutoff_problem(incar, potentials.values())


def indices_problem(indices: Sequence[Any], n_frames: int) -> str | None:
    """Return what is wrong with a choice of frames, or ``None``."""
    if not indices:
        return 'indices is empty: name the frames to label, or leave it out for all'
    wrong = [index for index in indices if isinstance(index, bool) or not isinstance(index, int)]
    if wrong:
        return f'indices holds {wrong[0]!r}: give whole numbers'
    outside = [index for index in indices if not 0 <= index < n_frames]
    if outside:
        return f'indices holds {outside[0]}, but the configurations are numbered from 0 to {n_frames - 1}'
    if len(set(indices)) < len(indices):
        return 'indices names a configuration twice'
    return None


def _validate_settings(node: orm.Dict, _: Any) -> str | None:
    settings = node.get_dict()
    unknown = sorted(set(settings) - set(SETTINGS_KEYS))
    if unknown:
        return f'unknown setting {", ".join(unknown)}: known are {", ".join(SETTINGS_KEYS)}'
    for name in settings.get('keep_files', []):
        if not isinstance(name, str) or not name.replace('_', '').replace('.', '').isalnum() or name == 'POTCAR':
            return f'keep_files names {name!r}: give plain names of files, and never POTCAR, which is licensed'
    return None


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Check what can be known before the job is sent."""
    if not {'configurations', 'parameters', 'potential'} <= set(inputs):
        return None
    trajectory, tags = inputs['configurations'], inputs['parameters'].get_dict()
    if 'indices' in inputs and (problem := indices_problem(inputs['indices'].get_list(), trajectory.n_frames)):
        return problem
    elements, potentials = sorted(trajectory.symbol_counts), inputs['potential']
    missing = sorted(set(elements) - set(potentials))
    if missing:
        return f'there is no potential for {", ".join(missing)}: give one for each element of {trajectory.formula}'
    for element in elements:
        if potentials[element].element != element:
            return f'the potential for {element} is one of {potentials[element].element}'
    with trajectory.open_trajectory() as opened:
        cells = opened.cells[:]
    if (np.linalg.det(cells) <= 0).any():
        return f'the lattice vectors of configuration {int(np.argmax(np.linalg.det(cells) <= 0))} are left-handed'
    if isinstance(inputs.get('code'), orm.PortableCode):
        return 'a portable code lies in the folder of the job, and the program runs in folders below: install the code'
    return incar_problem(tags) or potentials_problem(tags, {element: potentials[element] for element in elements})


class VaspLabelCalculation(ReuseOnlySuccess, CalcJob):
    """Energy, forces and stress of many configurations, each computed in a folder of its own by one job.

    The program is run once in each folder, one after the other, and a run that fails does not stop the others. The
    outputs of the program are read and thrown away; what stays are the frames and a record of every run.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outputs and the ways a job can end."""
        super().define(spec)
        spec.input(
            'configurations', valid_type=MdTrajectoryData,
            help='Positions and cells of one composition; the steps only number them.',
        )  # fmt: skip
        spec.input(
            'indices', valid_type=orm.List, required=False, serializer=to_aiida_type,
            help='Which frames of `configurations`, in the order in which they are computed; all if not given.',
        )  # fmt: skip
        spec.input(
            'parameters', valid_type=orm.Dict, serializer=to_aiida_type,
            help='INCAR tags: a single point, or a relaxation of the ions whose last step is the label.',
        )  # fmt: skip
        spec.input('kpoints', valid_type=orm.KpointsData, help='The same mesh for all configurations.')
        spec.input_namespace(
            'potential', valid_type=PotcarData, dynamic=True, help='POTCAR of each element, named by its symbol.'
        )
        spec.input(
            'batch_mode', valid_type=orm.Str, serializer=to_aiida_type, default=lambda: orm.Str('loop'),
            validator=lambda node, _: (
                None if node.value in BATCH_MODES else f'batch_mode is `{node.value}`: {" or ".join(BATCH_MODES)}'
            ),
            help='`loop` starts the program once for each configuration; `folders` starts it once with the option '
            '`--folders`, which `softclay-vasp` has and VASP has not.',
        )  # fmt: skip
        spec.input(
            'settings', valid_type=orm.Dict, required=False, serializer=to_aiida_type, validator=_validate_settings,
            help='; '.join(f'`{key}`: {text}' for key, text in SETTINGS_KEYS.items()),
        )  # fmt: skip
        spec.input('metadata.options.parser_name', default='softclay.vasp_label')
        spec.input('metadata.options.withmpi', default=False)
        spec.input('metadata.options.resources', default=lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
        spec.inputs.validator = _validate_inputs

        spec.output(
            'frames', valid_type=FramesData, required=False,
            help='The labelled configurations in the order of their indices, which are in `statistics`.',
        )  # fmt: skip
        spec.output(
            'configurations', valid_type=MdTrajectoryData, required=False,
            help='Where the ions were relaxed: the last positions of the labelled configurations, in the same order, '
            'under the step numbers of the input.',
        )  # fmt: skip
        spec.output(
            'statistics', valid_type=orm.Dict, required=False,
            help='For each configuration: index, state, reason, energy, steps and wall time; and the program.',
        )  # fmt: skip
        spec.default_output_node = 'statistics'

        spec.exit_code(
            310, 'ERROR_NO_LABEL', message='none of the {planned} configurations has a label; the first: {reason}',
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            311, 'ERROR_NOT_STARTED', message='the job did not begin its first configuration: {reason}',
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            312, 'ERROR_NO_TEMPORARY_FOLDER', message='the files that are read and thrown away were not retrieved',
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            400, 'ERROR_INTERRUPTED',
            message='the job ended with {done} of {planned} configurations run; what it finished is kept',
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            710, 'WARNING_CONFIGURATIONS_LEFT_OUT',
            message='{count} of {planned} configurations have no label and are left out, index {indices}: {reason}',
        )  # fmt: skip
        spec.exit_code(
            711, 'WARNING_NOT_RELAXED',
            message='{count} of {planned} relaxations did not converge, index {indices}: their labels are those of '
            'positions that are not the minimum; raise NSW',
        )  # fmt: skip

    def prepare_for_submission(self, folder: Any) -> CalcInfo:
        """Write the shared files, a POSCAR for each configuration, and the loop of the job script."""
        inputs = self.inputs
        settings = inputs.settings.get_dict() if 'settings' in inputs else {}
        trajectory = inputs.configurations
        indices = inputs.indices.get_list() if 'indices' in inputs else list(range(trajectory.n_frames))
        folders = [folder_name(index) for index in indices]
        with trajectory.open_trajectory() as opened:
            symbols = opened.symbols
            for index, name in zip(indices, folders, strict=True):
                text = poscar_text(
                    opened.cells[index], symbols, opened.positions[index],
                    comment=f'{trajectory.formula} configuration {index}',
                )  # fmt: skip
                Path(folder.get_subfolder(name, create=True).get_abs_path('POSCAR')).write_text(text, encoding='utf-8')
        IncarParser(data=inputs.parameters).write(folder.get_abs_path('INCAR'))
        KpointsParser(data=inputs.kpoints).write(folder.get_abs_path('KPOINTS'))
        potcars = [inputs.potential[element] for element, _ in grouped_kinds(symbols)]
        MultiPotcarIo(potcars=potcars).write(folder.get_abs_path('POTCAR'))

        codeinfo = CodeInfo()
        codeinfo.code_uuid = inputs.code.uuid
        calcinfo = CalcInfo()
        calcinfo.codes_info = [codeinfo]
        limit = inputs.metadata.options.get('max_wallclock_seconds')
        if inputs.batch_mode.value == 'folders':
            Path(folder.get_abs_path(FOLDERS_FILE)).write_text('\n'.join(folders) + '\n', encoding='utf-8')
            codeinfo.cmdline_params = ['--folders', FOLDERS_FILE]
            codeinfo.stdout_name = STATUS_FILE
            calcinfo.prepend_text = folders_lines(folders, limit)
        else:
            codeinfo.stdout_name = STDOUT_FILE
            codeinfo.join_files = True
            # AiiDA writes the line that runs the code between these two, with MPI or a container where there is one.
            calcinfo.prepend_text, calcinfo.append_text = loop_lines(folders, limit)
        # The licence of VASP forbids to pass POTCAR on; the node of each potential keeps track of which it was.
        # Every POSCAR follows from the configurations, which are a node.
        calcinfo.provenance_exclude_list = ['POTCAR', *(f'{name}/POSCAR' for name in folders)]
        keep = [(f'conf_*/{name}', '.', 2) for name in settings.get('keep_files', [])]
        calcinfo.retrieve_list = [STATUS_FILE, *keep]
        calcinfo.retrieve_temporary_list = [(f'conf_*/{name}', '.', 2) for name in PARSED_FILES]
        return calcinfo


def _links() -> str:
    return f'for softclay_file in {" ".join(SHARED_FILES)}; do ln -sf "../$softclay_file" .; done'


def folders_lines(folders: Sequence[str], max_wallclock_seconds: int | None) -> str:
    """Return the lines before a program that is told all folders at once, and when to begin no more of them."""
    names = ' '.join(shlex.quote(name) for name in folders)
    lines = [f'for softclay_folder in {names}; do', f'( cd "$softclay_folder" && {_links()} )', 'done']
    if max_wallclock_seconds:
        seconds = int(max_wallclock_seconds * (1 - STOP_MARGIN_SHARE))
        lines.append(f'export SOFTCLAY_TIME_LIMIT="${{SOFTCLAY_TIME_LIMIT:-{seconds}}}"')
    return '\n'.join(lines)


def loop_lines(folders: Sequence[str], max_wallclock_seconds: int | None) -> tuple[str, str]:
    """Return the lines before and after the one that runs the program, which make it run once in each folder.

    Each run is a shell of its own, so that nothing it does touches the next. No run is begun that, by the longest one
    before it, would not end before the time limit.
    """
    names = ' '.join(shlex.quote(name) for name in folders)
    limit = int(max_wallclock_seconds) if max_wallclock_seconds else 0
    before = [
        'softclay_start=$(date +%s); softclay_longest=0',
        f'for softclay_folder in {names}; do',
        'softclay_begin=$(date +%s)',
    ]
    if limit:
        before += [
            f'if [ $((softclay_begin - softclay_start + softclay_longest)) -ge {limit} ]; then break; fi',
        ]
    before += [
        f'echo "begin $softclay_folder $softclay_begin" >> {STATUS_FILE}',
        '(',
        'cd "$softclay_folder" || exit 126',
        _links(),
    ]
    after = [
        ')',
        'softclay_status=$?; softclay_end=$(date +%s)',
        f'echo "end $softclay_folder $softclay_status $softclay_end" >> {STATUS_FILE}',
        'softclay_run=$((softclay_end - softclay_begin))',
        'if [ $softclay_run -gt $softclay_longest ]; then softclay_longest=$softclay_run; fi',
        'done',
    ]
    return '\n'.join(before), '\n'.join(after)
