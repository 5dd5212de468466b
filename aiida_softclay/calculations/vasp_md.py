"""One run of molecular dynamics with VASP, or a program that reads and writes its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.orm.nodes.data.base import to_aiida_type
from aiida_vasp.calcs.vasp import VaspCalculation
from aiida_vasp.parsers.content_parsers.potcar import MultiPotcarIo

from aiida_softclay.data.frames import FramesData

from .caching import ReuseOnlySuccess
from .potcar_cutoff import cutoff_problem
from .vasp_inputs import grouped_kinds, poscar_text

SAMPLING_KEYS = {
    'frame_stride': 'every how many steps of the whole plan a frame is kept (default 1)',
    'first_step': 'steps of the whole plan before this run (default 0)',
    'segment': 'name of the segment, recorded with the frames',
    'segment_index': 'its place in the plan (default 0)',
    'label': 'name of the starting structure, recorded with the frames',
    'temperature_limit_K': 'a hotter run has exploded (default 5 times the highest target + 1000 K)',
    'volume_start_A3': 'volume at the start of the whole plan (default that of the structure)',
    'volume_ratio_min': 'a moving cell that shrinks below this share of it has collapsed (default 0.5)',
    'volume_ratio_max': 'a moving cell that grows beyond this multiple of it has flown apart (default 2)',
    'start_from': 'segment from whose end this one starts, if it is not the one before, recorded',
    'begins_anew': 'whether the run starts from a relaxed structure with new velocities, recorded (default false)',
    'keep_vasprun': 'keep vasprun.xml in the repository (default false: only the frames are kept)',
}

#: What is read and thrown away: for a run of 2000 steps these are 50 MB, the frames at stride 10 are 0.5 MB.
LARGE_FILES = ('vasprun.xml', 'OUTCAR', 'OSZICAR')


def structure_kinds(structure: orm.StructureData) -> list[str]:
    """Return the kind of each site."""
    return [site.kind_name for site in structure.sites]


def structure_symbols(structure: orm.StructureData) -> list[str]:
    """Return the element of each site."""
    symbol_of = {kind.name: kind.symbol for kind in structure.kinds}
    return [symbol_of[name] for name in structure_kinds(structure)]


def structure_positions(structure: orm.StructureData) -> np.ndarray:
    """Return the Cartesian positions of the sites in Å, shape (n_sites, 3)."""
    return np.array([site.position for site in structure.sites], dtype=float)


def potcar_elements(structure: orm.StructureData) -> list[str]:
    """Return the elements in the order of POTCAR: one for each kind, kinds in the order they first appear."""
    symbol_of = {kind.name: kind.symbol for kind in structure.kinds}
    return [symbol_of[name] for name, _ in grouped_kinds(structure_kinds(structure))]


def velocities_problem(velocities: orm.ArrayData, n_sites: int) -> str | None:
    """Return what is wrong with a velocities node for ``n_sites`` atoms, or ``None``."""
    if 'velocities' not in velocities.get_arraynames():
        return 'the velocities node has no array `velocities` (Å/fs, one row for each site of the structure)'
    array = velocities.get_array('velocities')
    if array.shape != (n_sites, 3):
        return f'the velocities have the shape {array.shape}, the structure needs ({n_sites}, 3)'
    if not np.isfinite(array).all():
        return 'the velocities hold numbers that are not finite'
    if np.abs(array).max(initial=0.0) > 1.0:
        return (
            f'the fastest atom moves at {np.abs(array).max():.3g} Å/fs: no atom is that fast; '
            'give Å/fs (1 Å/ps is 0.001 Å/fs)'
        )
    return None


def potentials_problem(structure: orm.StructureData, potentials: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the potentials for the kinds of a structure, or ``None``."""
    symbol_of = {kind.name: kind.symbol for kind in structure.kinds}
    missing = sorted(set(symbol_of) - set(potentials))
    if missing:
        return f'there is no potential for {", ".join(missing)}: give one for each kind of the structure'
    for kind, symbol in symbol_of.items():
        if potentials[kind].element != symbol:
            return f'the potential for {kind} is one of {potentials[kind].element}, the structure has {symbol} there'
    return None


def sampling_problem(sampling: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the sampling settings, or ``None``."""
    unknown = sorted(set(sampling) - set(SAMPLING_KEYS))
    if unknown:
        return f'unknown sampling key {", ".join(unknown)}: known are {", ".join(SAMPLING_KEYS)}'
    for key, lowest in (('frame_stride', 1), ('first_step', 0), ('segment_index', 0)):
        value = sampling.get(key, lowest)
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            return f'sampling.{key} is {value!r}: give a whole number of at least {lowest}'
    for key in ('temperature_limit_K', 'volume_start_A3', 'volume_ratio_min', 'volume_ratio_max'):
        value = sampling.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0):
            return f'sampling.{key} is {value!r}: give a number above 0'
    return None


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Check what can be known before the job is sent."""
    structure = inputs.get('structure')
    if structure is None:
        return None
    if not isinstance(structure, orm.StructureData):
        return 'MD needs a StructureData, whose sites fix the order of the atoms'
    if np.linalg.det(structure.cell) <= 0:
        return 'the lattice vectors are left-handed or linearly dependent: exchange two of them'
    if any(kind.is_alloy or kind.has_vacancies for kind in structure.kinds):
        return 'the structure has partially occupied sites: VASP needs one whole atom on each'
    problem = potentials_problem(structure, inputs.get('potential') or {})
    if problem is None and 'velocities' in inputs:
        problem = velocities_problem(inputs['velocities'], len(structure.sites))
    if problem is None and 'sampling' in inputs:
        problem = sampling_problem(inputs['sampling'].get_dict())
    if problem is None and 'parameters' in inputs:
        tags = {key.lower(): value for key, value in inputs['parameters'].get_dict().items()}
        if tags.get('ibrion') != 0 or not tags.get('nsw', 0) > 0:
            problem = 'this calculation runs MD: the INCAR needs IBRION = 0 and NSW > 0'
        if problem is None:
            problem = cutoff_problem(tags, (inputs.get('potential') or {}).values())
    return problem


class VaspMdCalculation(ReuseOnlySuccess, VaspCalculation):
    """Molecular dynamics with velocities as a node, so that the POSCAR that runs is the one that is stored.

    The large outputs are read and thrown away; what stays are the thinned frames, the final structure with its
    velocities, the thermodynamic series and the statistics of the run.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outputs and the ways a run can end."""
        super().define(spec)
        spec.input(
            'velocities', valid_type=orm.ArrayData, required=False,
            help='Array `velocities`, shape (n_sites, 3), Å/fs, Cartesian, in the order of the sites; optionally '
            '`lattice_velocities`, shape (3, 3), as in CONTCAR, and the attribute `thermostat_state`. '
            'Without it the program draws them at TEBEG.',
        )  # fmt: skip
        spec.input(
            'sampling', valid_type=orm.Dict, required=False, serializer=to_aiida_type,
            help='; '.join(f'`{key}`: {text}' for key, text in SAMPLING_KEYS.items()),
        )  # fmt: skip
        spec.input('metadata.options.parser_name', default='softclay.vasp_md')
        spec.input('metadata.options.withmpi', default=False)
        spec.input('metadata.options.resources', default=lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
        inherited = spec.inputs.validator

        def validate(inputs: Any, port: Any) -> str | None:
            return (inherited(inputs, port) if inherited is not None else None) or _validate_inputs(inputs, port)

        spec.inputs.validator = validate

        # The outputs of a static run make no sense here.
        for name in list(spec.outputs):
            if name not in ('remote_folder', 'remote_stash', 'retrieved', 'structure'):
                del spec.outputs[name]
        spec.output(
            'frames', valid_type=FramesData, required=False,
            help='Labelled frames at the stride of `sampling`; a run shorter than the stride may have none.',
        )  # fmt: skip
        spec.output('structure', valid_type=orm.StructureData, help='Structure after the last step.')
        spec.output(
            'velocities', valid_type=orm.ArrayData,
            help='Velocities after the last step, Å/fs, in the order of the sites; input of the next run.',
        )  # fmt: skip
        spec.output('series', valid_type=orm.ArrayData, help='Temperature and energies at every step.')
        spec.output(
            'statistics', valid_type=orm.Dict,
            help='Steps done, frames, wall time, the program by its own name, how the run ended and how it began.',
        )  # fmt: skip
        spec.default_output_node = 'statistics'

        spec.exit_code(
            301, 'ERROR_PROGRAM_STOPPED', message='the program ended before the first step: {reason}',
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            310, 'ERROR_NO_FRAMES', message='no complete MD step of use was found: {reason}', invalidates_cache=True
        )
        spec.exit_code(
            311, 'ERROR_NO_CONTCAR',
            message='the final positions and velocities are missing or do not fit the frames: {reason}',
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            312, 'ERROR_FRAMES_MISSING',
            message='vasprun.xml holds {frames} of {steps} steps: the program must write them all, the frames are '
            'thinned afterwards (is SOFTCLAY_FRAME_STRIDE set in the code?)',
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            400, 'ERROR_INTERRUPTED',
            message='the run was killed after {done} of {planned} steps; what it made is complete up to there',
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            401, 'ERROR_STOPPED_EARLY',
            message='the run stopped itself after {done} of {planned} steps (STOPCAR or its time limit)',
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            402, 'ERROR_ELECTRONIC_BREAKDOWN',
            message='the electronic minimisation broke down after {done} of {planned} steps: {reason}',
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            403, 'ERROR_FINAL_STATE_LOST',
            message='{reason}; the frames fix the state after {done} of {planned} steps, from which the run can go on',
            invalidates_cache=True,
        )  # fmt: skip
        spec.exit_code(
            500, 'ERROR_NOT_FINITE', message='energies, forces or temperatures are not finite at step {step}'
        )
        spec.exit_code(
            501, 'ERROR_TEMPERATURE_RUNAWAY',
            message='the temperature reached {temperature:.0f} K at step {step}, the plan asks for {target:.0f} K: '
            'check the starting structure for atoms too close, and the time step',
        )  # fmt: skip
        spec.exit_code(
            502, 'ERROR_ELECTRONIC_NOT_CONVERGED',
            message='none of the {steps} steps that were to be kept as frames converged electronically: '
            'raise NELM or change ALGO',
        )  # fmt: skip
        spec.exit_code(
            503, 'ERROR_VOLUME_COLLAPSE',
            message='the cell collapsed to {ratio:.2f} of its starting volume at step {step} (the bound is {bound:g}): '
            'check the starting density, and the mass and friction of the barostat',
        )  # fmt: skip
        spec.exit_code(
            504, 'ERROR_VOLUME_EXPANSION',
            message='the cell grew to {ratio:.2f} times its starting volume at step {step} (the bound is {bound:g}): '
            'the material boils at this temperature and pressure; lower the temperature or raise the pressure',
        )  # fmt: skip
        spec.exit_code(
            710, 'WARNING_ELECTRONIC_NOT_CONVERGED',
            message='{count} of {steps} steps did not converge electronically: raise NELM or change ALGO',
        )  # fmt: skip

    def write_poscar(self, dst: str) -> None:
        """Write the structure with its velocities, grouped by kind, elements by their names."""
        structure = self._structure()
        velocities = self.inputs.get('velocities')
        lattice_velocities = None
        if velocities is not None and 'lattice_velocities' in velocities.get_arraynames():
            lattice_velocities = velocities.get_array('lattice_velocities')
        dynamics = self.inputs.get('dynamics')
        text = poscar_text(
            structure.cell, structure_symbols(structure), structure_positions(structure),
            kinds=structure_kinds(structure),
            velocities=None if velocities is None else velocities.get_array('velocities'),
            lattice_velocities=lattice_velocities,
            movable=None if dynamics is None else dynamics.get_dict().get('positions_dof'),
            comment=structure.get_formula(),
            state='' if velocities is None else velocities.base.attributes.get('thermostat_state', ''),
        )  # fmt: skip
        Path(dst).write_text(text, encoding='utf-8')

    def write_potcar(self, dst: str) -> None:
        """Write one potential for each group of atoms in POSCAR, in that order."""
        kinds = [name for name, _ in grouped_kinds(structure_kinds(self._structure()))]
        MultiPotcarIo(potcars=[self.inputs.potential[name] for name in kinds]).write(dst)

    def prepare_for_submission(self, folder: Any) -> Any:
        """Fetch the large files for the parser only."""
        calcinfo = super().prepare_for_submission(folder)
        settings = self.inputs.settings.get_dict() if 'settings' in self.inputs else {}
        sampling = self.inputs.sampling.get_dict() if 'sampling' in self.inputs else {}
        keep = {'CONTCAR', *settings.get('ADDITIONAL_RETRIEVE_LIST', [])}
        if sampling.get('keep_vasprun', False):
            keep.add('vasprun.xml')
        calcinfo.retrieve_list = sorted(keep)
        calcinfo.retrieve_temporary_list = sorted({*LARGE_FILES, self._VASP_OUTPUT} - keep)
        return calcinfo
