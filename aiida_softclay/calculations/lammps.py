"""CalcJob that runs a plan of molecular dynamics stages with LAMMPS, in one process that stops itself in time."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
from aiida import orm
from aiida.common import CalcInfo, CodeInfo, InputValidationError
from aiida.plugins import CalculationFactory, DataFactory

from aiida_softclay.calculations.caching import ReuseOnlySuccess
from aiida_softclay.calculations.lammps_columns import COLUMN_FILES
from aiida_softclay.calculations.lammps_committee import (
    DEVIATION_FILE,
    members,
    model_filename,
)
from aiida_softclay.calculations.lammps_inputs import (
    given_velocities,
    interaction,
    resume_point,
    structure_symbols,
    validate_physics,
    validate_plan,
    validate_structure,
)
from aiida_softclay.calculations.lammps_resources import thread_lines
from aiida_softclay.calculations.lammps_script import (
    DATA_FILE,
    DUMP_SUFFIX,
    FINAL_FILE,
    LOG_FILE,
    RESTART_FILES,
    RESUME_FILE,
    write_script,
)
from aiida_softclay.calculations.lammps_system import data_file, elements_in_order, lammps_cell
from aiida_softclay.calculations.md_outputs import define_stage_outputs
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.calculations.remote_folders import FOLDERS, folder_path
from aiida_softclay.data.potential import PotentialData, validate_model

LammpsRawCalculation = CalculationFactory('lammps.raw')
MdTrajectoryData = DataFactory('softclay.trajectory')


#: Raw dumps up to this size are retrieved and stored; a quarter of it is what the trajectories take.
MAX_RETRIEVED_BYTES = 5 * 10**9


def dumps_stay(plan: MdPlan, symbols: list[str], max_retrieved_bytes: int) -> bool:
    """Return whether the raw dumps of a plan are too large to be retrieved, those of all its jobs together."""
    return plan.dump_bytes(Counter(symbols)) > max_retrieved_bytes


class LammpsMdCalculation(ReuseOnlySuccess, LammpsRawCalculation):
    """Molecular dynamics from a typed plan: script and data file are written here, and nothing else is run."""

    @classmethod
    def define(cls, spec):
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        for name in ('script', 'files', 'filenames'):
            del spec.inputs[name]
        del spec.outputs['results']
        options = spec.inputs['metadata']['options']
        options['parser_name'].default = 'softclay.lammps'
        options['resources'].default = lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        options['max_wallclock_seconds'].default = 86400

        spec.input(
            'structure',
            valid_type=orm.StructureData,
            validator=validate_structure,
            help='Initial structure, periodic, in any orientation; atoms keep their order.',
        )
        spec.input(
            'plan',
            valid_type=orm.Dict,
            serializer=orm.to_aiida_type,
            validator=validate_plan,
            help='Stages and time step, see aiida_softclay.calculations.md_plan.MdPlan.',
        )
        spec.input(
            'potential', valid_type=PotentialData, required=False, validator=validate_model, help='DeePMD model file.'
        )
        spec.input_namespace(
            'committee',
            valid_type=PotentialData,
            required=False,
            dynamic=True,
            help='Other models of the same elements: the potential drives, all of them give the model deviation.',
        )
        spec.input(
            'deviation_every',
            valid_type=orm.Int,
            required=False,
            serializer=orm.to_aiida_type,
            validator=lambda node, _: None if node is None or node.value > 0 else 'deviation_every must be above 0',
            help='Steps between model deviations, counted from the start of each stage; with each frame if not given.',
        )
        spec.input(
            'max_model_deviation_eV_A',
            valid_type=orm.Float,
            required=False,
            serializer=orm.to_aiida_type,
            validator=lambda node, _: None if node is None or node.value > 0 else 'the limit must be above 0 eV/Å',
            help='The run is judged to have failed if the mean over a stage of the largest force deviation is above.',
        )
        spec.input_namespace('classical', required=False, help='Classical potential instead of a model file.')
        spec.input(
            'classical.pair_lines',
            valid_type=(orm.Dict, orm.List),
            required=False,
            serializer=orm.to_aiida_type,
            help='Lines pair_style, pair_coeff, …; or a dictionary with elements, lines and charges (e).',
        )
        spec.input_namespace(
            'classical.files',
            valid_type=orm.SinglefileData,
            required=False,
            dynamic=True,
            help='Files that the lines name, copied under their own names.',
        )
        spec.input(
            'velocities',
            valid_type=orm.ArrayData,
            required=False,
            help='Array `velocities` (n_atoms, 3) in Å/ps, in the order and orientation of the structure.',
        )
        spec.input(
            'max_retrieved_bytes',
            valid_type=orm.Int,
            default=lambda: orm.Int(MAX_RETRIEVED_BYTES),
            serializer=orm.to_aiida_type,
            validator=lambda node, _: None if node is None or node.value >= 0 else 'a number of bytes is not negative',
            help='Raw dumps of the whole plan that would be larger stay on the computer, in the folder of the job.',
        )
        spec.input(
            'parent_folder',
            valid_type=FOLDERS,
            required=False,
            help='Folder of the job that is continued, or the one in which its restart files were kept.',
        )
        spec.input(
            'resume',
            valid_type=orm.Dict,
            required=False,
            serializer=orm.to_aiida_type,
            help='Where to go on: the value of statistics.restart of the job that is continued.',
        )
        spec.inputs.validator = validate_physics

        spec.output(
            'statistics',
            valid_type=orm.Dict,
            required=False,
            help='Steps of each stage, how the run ended, speed, versions, threads, point to resume from.',
        )
        spec.output(
            'structure',
            valid_type=orm.StructureData,
            required=False,
            help='Last structure, in the orientation of LAMMPS (a along x, b in xy), atoms in input order.',
        )
        spec.output(
            'velocities',
            valid_type=orm.ArrayData,
            required=False,
            help='Last velocities, array `velocities` (n_atoms, 3) in Å/ps, in the orientation of `structure`.',
        )
        define_stage_outputs(spec)

        spec.exit_code(310, 'ERROR_NO_LOG', message='LAMMPS wrote no log, it did not start: {error}')
        spec.exit_code(311, 'ERROR_NO_STAGE', message='the log ends before the first stage began: {error}')
        spec.exit_code(
            312, 'ERROR_INCOMPLETE_OUTPUT', message='the run completed, but its output is not whole: {error}'
        )
        spec.exit_code(
            313,
            'ERROR_SEAM',
            message='the job does not go on where the one before it stopped, at step {step} of stage {stage}: '
            '{differences}. Its restart file is not that of this run, or the potential is another one',
        )
        spec.exit_code(320, 'ERROR_LAMMPS', message='LAMMPS stopped with an error: {error}')
        spec.exit_code(
            321,
            'ERROR_PAIR_STYLE_UNKNOWN',
            message='this LAMMPS lacks the pair style: {error}. For a DeePMD model use an lmp built with the '
            'DeePMD plugin, or set LAMMPS_PLUGIN_PATH in the prepend text of the code',
        )
        spec.exit_code(
            322,
            'ERROR_MODEL_REFUSED',
            message='the model does not fit the structure, the plugin or its elements: {error}',
        )
        spec.exit_code(
            323,
            'ERROR_MPI_RANKS',
            message='{requested} MPI ranks were asked for, but LAMMPS ran with {actual}: {requested} programs wrote '
            'the same files. The mpirun of the computer is not that of the MPI library LAMMPS was built with',
        )
        spec.exit_code(
            400,
            'ERROR_OUT_OF_WALLTIME',
            message='the run stopped itself before the time limit, in stage {stage} at step {step}',
        )
        spec.exit_code(
            401,
            'ERROR_INTERRUPTED',
            message='the run was killed in stage {stage} after step {step}; it can go on from {restart}',
        )
        spec.exit_code(
            402, 'ERROR_DISK_FULL', message='the disk of the computer is full: {error}. Free space and restart'
        )
        spec.exit_code(
            501,
            'ERROR_LOST_ATOMS',
            message='atoms were lost in stage {stage} after step {step}: {error}. The structure or the '
            'potential is unphysical there; shorten the time step or minimise first',
        )
        spec.exit_code(
            502,
            'ERROR_NOT_FINITE',
            message='energies or positions are not finite in stage {stage} after step {step}: {error}. '
            'The structure or the potential is unphysical there',
        )
        spec.exit_code(
            504,
            'ERROR_TEMPERATURE_RUNAWAY',
            message='the temperature ran away in stage {stage}: {temperature:.0f} K at step {step}, the limit is '
            '{limit:g} K. The structure or the potential is unphysical there, or the time step is too long; the limit '
            'is max_temperature_K of the plan',
        )
        spec.exit_code(
            503,
            'ERROR_MODEL_DEVIATION',
            message='the models disagree in stage {stage}: the largest force deviation is {mean:.3g} eV/Å on average, '
            'the limit is {limit:g}; the potential does not know these configurations',
        )

    def prepare_for_submission(self, folder):
        """Write data file, script and potential."""
        inputs = self.inputs
        plan = MdPlan.from_dict(inputs.plan.get_dict())
        structure = inputs.structure
        options = inputs.metadata.options
        symbols = structure_symbols(structure)
        try:
            lines, elements, charges = interaction(inputs, elements_in_order(symbols), plan)
        except ValueError as exception:
            raise InputValidationError(str(exception)) from exception

        resume, restart_file = None, None
        if 'resume' in inputs:
            resume, restart_file = resume_point(inputs.resume.get_dict(), plan)
        system = lammps_cell(np.array(structure.cell))
        velocities = None
        if 'velocities' in inputs:
            velocities = given_velocities(inputs.velocities, len(symbols)) @ system.rotation
        if resume is None:
            positions = np.array([site.position for site in structure.sites]) @ system.rotation
            text = data_file(symbols, positions, system.cell, elements, charges, velocities)
            with folder.open(DATA_FILE, 'w', encoding='utf-8') as handle:
                handle.write(text)
        types = {element: elements.index(element) + 1 for element in elements_in_order(symbols)}
        script = write_script(plan, lines, velocities is not None, resume, options.get('max_wallclock_seconds'), types)
        with folder.open(options.input_filename, 'w', encoding='utf-8') as handle:
            handle.write(script)

        copied = {}
        if 'potential' in inputs:
            copied |= {model_filename(node, number): node for number, node in enumerate(members(inputs))}
        for node in (inputs.get('classical', {}).get('files') or {}).values():
            copied[node.filename] = node
        for filename, node in copied.items():
            with folder.open(filename, 'wb') as target, node.open(mode='rb') as source:
                shutil.copyfileobj(source, target)

        codeinfo = CodeInfo()
        # Without `-screen none` every line of the log would be stored a second time.
        codeinfo.cmdline_params = ['-in', options.input_filename, '-log', LOG_FILE, '-screen', 'none']
        codeinfo.code_uuid = inputs.code.uuid
        codeinfo.stdout_name = options.output_filename

        calcinfo = CalcInfo()
        calcinfo.codes_info = [codeinfo]
        # The files are nodes already, and the data file follows from the structure.
        calcinfo.provenance_exclude_list = [*copied, DATA_FILE]
        calcinfo.retrieve_list = [options.output_filename, LOG_FILE]
        calcinfo.retrieve_temporary_list = [FINAL_FILE, RESTART_FILES, *COLUMN_FILES]
        if not dumps_stay(plan, symbols, inputs.max_retrieved_bytes.value):
            calcinfo.retrieve_temporary_list.append(f'*{DUMP_SUFFIX}')
        if inputs.get('committee'):
            calcinfo.retrieve_temporary_list.append(DEVIATION_FILE)
        if 'settings' in inputs:
            calcinfo.retrieve_list += inputs.settings.get_dict().get('additional_retrieve_list', [])
        if restart_file is not None:
            parent = inputs.parent_folder
            source = str(folder_path(parent) / restart_file)
            calcinfo.remote_copy_list = [(parent.computer.uuid, source, RESUME_FILE)]
        calcinfo.prepend_text = thread_lines(options.resources)
        return calcinfo
