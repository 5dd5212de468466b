"""Driving forces from first principles: relax every competing phase, build the table, and read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import WorkChain, while_
from aiida.orm.nodes.data.base import to_aiida_type
from aiida_vasp.calcs.vasp import VaspCalculation

from aiida_softclay.analysis.reaction_energy import names_a_ratio, parse_mixture
from aiida_softclay.analysis.thermodynamics import EntriesError, parse_formula, reduced_formula
from aiida_softclay.calcfunctions.aimd import in_order_of_vasp
from aiida_softclay.calcfunctions.thermodynamics import assess_thermodynamics, build_phase, collect_entries
from aiida_softclay.calculations.potcar_cutoff import cutoff_problem
from aiida_softclay.calculations.potcars import PotentialFamilyError, select_potentials
from aiida_softclay.structures.crystals import CONFIDENCES, crystal, list_crystals, load_phases, phase
from aiida_softclay.workflows.concurrency import BoundedBranchesMixin
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.label import kpoints_mesh
from aiida_softclay.workflows.options import DEFAULT_OPTIONS
from aiida_softclay.workflows.ports import (
    branch_limit,
    define_job_bound,
    define_job_options,
    define_pseudopotentials,
    given_mapping,
)
from aiida_softclay.workflows.protocol import ProtocolMixin

#: What one run of a phase is for.
RELAX, SINGLE_POINT = 'relax', 'energy'
#: What the parameters must hold besides the salts.
REQUIRED = {'phases', 'incar', 'relaxation', 'final_single_point', 'kpoints_spacing', 'max_iterations'}


def elements_of(parameters: Mapping[str, Any]) -> list[str]:
    """Return the elements of the salts and of the mobile ion, sorted."""
    found = {element for salt in parameters['salts'] for element in parse_formula(salt_formula(salt))}
    return sorted(found | ({parameters['ion']} if parameters.get('ion') else set()))


def salt_formula(name: str) -> str:
    """Return the formula of a salt that is named by the id of a crystal or by its formula."""
    known = load_phases()
    return known[name].formula if name in known else name


def library_phases(parameters: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Return the crystals of the library that take part, and those that do not with the reason."""
    chosen = parameters['phases']
    everything = list_crystals(elements_of(parameters))
    trusted = set(list_crystals(elements_of(parameters), confidence=chosen['confidence']))
    taken: list[str] = []
    left_out: dict[str, str] = {}
    for name in everything:
        # A primitive cell is the conventional one divided by 1, 2, 3 or 4.
        smallest = len(crystal(name)) / 4 if chosen['max_atoms'] else 0
        if name in chosen['leave_out']:
            left_out[name] = 'left out as asked'
        elif name not in trusted:
            left_out[name] = f'its structure is of lower confidence than {chosen["confidence"]}'
        elif chosen['max_atoms'] and smallest > chosen['max_atoms']:
            left_out[name] = f'its cell has more than {chosen["max_atoms"]} atoms'
        else:
            taken.append(name)
    return taken, left_out


def parameters_problem(parameters: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the parameters, or ``None``."""
    from parsevasp.constants import incar_tags

    if missing := sorted(REQUIRED - set(parameters)):
        return f'the parameters lack {", ".join(missing)}: take them from a protocol'
    known = {key.lower() for key in incar_tags}
    unknown = sorted(key for key in {**parameters['incar'], **parameters['relaxation']} if key.lower() not in known)
    if unknown:
        return f'the INCAR holds {", ".join(unknown)}, which VASP does not know: check the spelling'
    salts = parameters.get('salts')
    if not isinstance(salts, list) or len(salts) != 2:
        return 'salts names two salts, for example [LiCl, GaF3]'
    if parameters['phases']['confidence'] not in CONFIDENCES:
        return f'phases.confidence is {parameters["phases"]["confidence"]!r}: choose from {", ".join(CONFIDENCES)}'
    try:
        formulas = [reduced_formula(parse_formula(salt_formula(salt))) for salt in salts]
        elements_of(parameters)
    except EntriesError as error:
        return str(error)
    if formulas[0] == formulas[1]:
        return f'{salts[0]} and {salts[1]} have one composition: two different salts react'
    moles = parameters.get('moles') or {}
    if set(moles) - set(salts) or any(not amount > 0 for amount in moles.values()):
        return 'moles gives amounts above 0 of the two salts, for example {LiCl: 2, GaF3: 1}'
    return None


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Check salts, phases and potentials before anything is submitted."""
    if not {'parameters', 'potential_family'} <= set(inputs):
        return None
    parameters = inputs['parameters'].get_dict()
    if problem := parameters_problem(parameters):
        return problem
    taken, _left_out = library_phases(parameters)
    given = inputs.get('structures') or {}
    formulas = {reduced_formula(phase(name).composition) for name in taken}
    formulas |= {reduced_formula(dict(structure.get_composition())) for structure in given.values()}
    for salt in parameters['salts']:
        if (
            salt not in taken
            and salt not in given
            and reduced_formula(parse_formula(salt_formula(salt))) not in formulas
        ):
            return f'there is no structure of {salt}: the library does not hold it, so give it in `structures`'
    if twice := sorted(set(given) & set(taken)):
        return f'{", ".join(twice)} is a crystal of the library: give your structure another name'
    elements = orm.StructureData(cell=[[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    symbols = set(elements_of(parameters)) | {kind.symbol for structure in given.values() for kind in structure.kinds}
    for element in sorted(symbols):
        elements.append_atom(position=(0.0, 0.0, 0.0), symbols=element)
    mapping = given_mapping(inputs)
    try:
        potentials = select_potentials(elements, inputs['potential_family'].value, mapping)
    except PotentialFamilyError as error:
        return str(error)
    return cutoff_problem(parameters['incar'], potentials.values())


class ReactionEnergyWorkChain(BoundedBranchesMixin, ProtocolMixin, WorkChain):
    """Relax all competing phases of two salts, and find driving force, hull energies and electrochemical window.

    A phase that fails is left out and named: a missing phase can change the answer, so the exit code says so too.
    """

    _process_class = VaspCalculation
    _protocol_file = 'reaction_energy'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode, help='VASP, or the VASP-compatible driver.')
        define_pseudopotentials(spec)
        define_job_bound(spec, 'phases', 'computer bears')
        spec.input(
            'parameters', valid_type=orm.Dict, serializer=to_aiida_type,
            help='`salts`, and optionally `moles` and `ion`; which phases take part and how they are computed: see the '
            'protocols.',
        )  # fmt: skip
        spec.input_namespace(
            'structures', valid_type=orm.StructureData, dynamic=True, required=False,
            help='Further phases by name, such as the cell of a glass, besides the crystals of the library.',
        )  # fmt: skip
        define_job_options(spec)
        spec.inputs.validator = _validate_inputs

        spec.outline(
            cls.setup,
            while_(cls.has_pending_branches)(cls.submit_branches, cls.inspect_runs),
            cls.collect,
            cls.assess,
        )

        spec.output('entries', valid_type=orm.Dict, required=False, help='The table of phases and energies.')
        spec.output('results', valid_type=orm.Dict, required=False, help='The numbers, in the results schema.')
        spec.output_namespace(
            'structures', valid_type=orm.StructureData, dynamic=True, required=False, help='The relaxed phases.'
        )

        spec.exit_code(310, 'ERROR_SALT_FAILED', message='{salt} has no energy: {reason}')
        spec.exit_code(510, 'ERROR_ANALYSIS', message='{message}')
        spec.exit_code(
            710, 'WARNING_PHASES_MISSING',
            message='the numbers are outputs, but {count} phases have no energy, which can change them: {phases}',
        )  # fmt: skip

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        salts: str | list[str],
        potential_family: str,
        *,
        ion: str | None = None,
        structures: Mapping[str, orm.StructureData] | None = None,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        potential_mapping: Mapping[str, str] | None = None,
        max_concurrent_jobs: int | None = None,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        code : Code
            VASP, or the VASP-compatible driver.
        salts : str or list of str
            A mixture such as ``2LiCl-GaF3``, which also asks for that ratio; or two salts, ids or formulas.
        potential_family : str
            Label of a family of POTCAR files with all elements.
        ion : str, optional
            Element of the mobile ion, for the electrochemical window.
        structures : mapping, optional
            Further phases by name.
        protocol, overrides
            See :meth:`get_protocol_inputs`.
        options : mapping, optional
            Replaces entries of the default ``metadata.options``.
        potential_mapping : mapping, optional
            Full names of potentials by element.
        max_concurrent_jobs : int, optional
            Most phases at once.

        Raises
        ------
        ProtocolError
            If the protocol or an override does not exist.
        EntriesError
            If the mixture cannot be read.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        parameters: dict[str, Any] = {'protocol': protocol or cls.get_default_protocol()}
        if isinstance(salts, str):
            moles = parse_mixture(salts)
            parameters['salts'] = list(moles)
            if names_a_ratio(salts):
                parameters['moles'] = moles
        else:
            parameters['salts'] = list(salts)
        if ion:
            parameters['ion'] = ion
        builder = cls.get_builder()
        builder.code = code
        builder.potential_family = orm.Str(potential_family)
        builder.parameters = orm.Dict({**parameters, **inputs})
        builder.options = orm.Dict({**DEFAULT_OPTIONS, **(options or {})})
        if structures:
            builder.structures = dict(structures)
        if potential_mapping:
            builder.potential_mapping = orm.Dict(dict(potential_mapping))
        if max_concurrent_jobs is not None:
            builder.max_concurrent_jobs = orm.Int(max_concurrent_jobs)
        builder.metadata.label = f'thermodynamics of {" and ".join(parameters["salts"])}'[:255]
        return builder

    def setup(self) -> None:
        """Build the cells of all phases and queue their relaxations."""
        self.ctx.parameters = self.inputs.parameters.get_dict()
        taken, self.ctx.missing = library_phases(self.ctx.parameters)
        self.ctx.left_out = list(self.ctx.missing)
        self.ctx.cells, self.ctx.start_volumes, self.ctx.last = {}, {}, {}
        largest = self.ctx.parameters['phases']['max_atoms']
        for name in taken:
            metadata = {'call_link_label': f'build_{name}'}
            structure = build_phase(orm.Dict({'crystal': name}), metadata=metadata)
            if largest and len(structure.sites) > largest:
                self.ctx.missing[name] = f'its primitive cell has {len(structure.sites)} atoms, more than {largest}'
                self.ctx.left_out.append(name)
                continue
            self.ctx.cells[name] = structure
        self.ctx.library = list(self.ctx.cells)
        for name, structure in (self.inputs.get('structures') or {}).items():
            metadata = {'call_link_label': f'in_order_of_vasp_{name}'}
            self.ctx.cells[name] = in_order_of_vasp(structure, metadata=metadata)
        for name, structure in self.ctx.cells.items():
            self.ctx.start_volumes[name] = float(structure.get_cell_volume())
        limit = branch_limit(self.inputs, self.inputs.code)
        self.ctx.runs = {f'{RELAX}_{name}_1': [name, RELAX, 1] for name in self.ctx.cells}
        self.ctx.inspected = []
        self.queue_branches(self.ctx.runs, limit)
        self.report(f'{len(self.ctx.cells)} phases: {", ".join(self.ctx.cells)}')

    def build_branch(self, name: str) -> Any:
        """Return the builder of one run of a phase."""
        about, kind, _ = self.ctx.runs[name]
        parameters = self.ctx.parameters
        structure = self.ctx.cells[about]
        tags = {key.lower(): value for key, value in parameters['incar'].items()}
        if kind == RELAX:
            tags |= {key.lower(): value for key, value in parameters['relaxation'].items()}
        else:
            tags |= {'ibrion': -1, 'nsw': 0, 'isif': 2}
        kpoints = orm.KpointsData()
        kpoints.set_kpoints_mesh(kpoints_mesh(np.array([structure.cell]), parameters['kpoints_spacing']))
        mapping = given_mapping(self.inputs)
        settings: dict[str, Any] = {'parser_settings': {'include_node': ['structure']}}
        if self._gives_energy(kind):
            # The table is read from it.
            settings['ADDITIONAL_RETRIEVE_LIST'] = ['vasprun.xml']
        builder = self._process_class.get_builder()
        builder.code = self.inputs.code
        builder.structure = structure
        builder.parameters = orm.Dict(tags)
        builder.kpoints = kpoints
        builder.potential = select_potentials(structure, self.inputs.potential_family.value, mapping)
        builder.settings = orm.Dict(settings)
        builder.metadata.options = {**DEFAULT_OPTIONS, **self.inputs.options.get_dict()}
        builder.metadata.label = name
        builder.metadata.call_link_label = name
        return builder

    def _gives_energy(self, kind: str) -> bool:
        return kind == SINGLE_POINT or not self.ctx.parameters['final_single_point']

    def inspect_runs(self) -> None:
        """Look at the runs that have ended: go on relaxing, compute the energy, or note what failed."""
        for branch in [name for name in self.ctx.runs if self.branch_key(name) in self.ctx]:
            if branch not in self.ctx.inspected:
                self.ctx.inspected.append(branch)
                self._inspect(branch)

    def _inspect(self, branch: str) -> None:
        name, kind, number = self.ctx.runs[branch]
        run = self.branch(branch)
        message = run.exit_message or f'exit status {run.exit_status}'
        done = run.exit_status == 0
        if kind == RELAX and 'structure' in run.outputs:
            self.ctx.cells[name] = run.outputs.structure
        if done and self._gives_energy(kind):
            self.ctx.last[name] = branch
            return
        if done:
            self._queue(name, SINGLE_POINT, 1)
            return
        if kind == RELAX and 'structure' in run.outputs and number < self.ctx.parameters['max_iterations']:
            self.report(f'{branch} <{run.pk}>: {message}; going on from there')
            self._queue(name, RELAX, number + 1)
            return
        self.ctx.missing[name] = f'<{run.pk}> {message}'
        self.report(f'{branch} <{run.pk}>: {message}; the phase is left out')

    def _queue(self, name: str, kind: str, number: int) -> None:
        branch = f'{kind}_{name}_{number}'
        self.ctx.runs[branch] = [name, kind, number]
        self.ctx.pending_branches = [*self.ctx.pending_branches, branch]

    def collect(self) -> Any:
        """Make the table of all phases that have an energy."""
        runs = {name: self.branch(branch) for name, branch in self.ctx.last.items()}
        if not runs:
            name, reason = next(iter(self.ctx.missing.items()))
            return self.exit_codes.ERROR_SALT_FAILED.format(salt=name, reason=reason)
        for name in runs:
            self.out(f'structures.{name}', self.ctx.cells[name])
        library, volumes = self.ctx.library, self.ctx.start_volumes
        wanted = ('protocol', 'incar', 'relaxation', 'final_single_point', 'kpoints_spacing')
        parameters = {
            'phases': {
                name: {'source': run.uuid, 'volume_A3': volumes[name], 'library': name in library}
                for name, run in runs.items()
            },
            'missing': self.ctx.missing,
            'settings': {key: self.ctx.parameters[key] for key in wanted if key in self.ctx.parameters},
        }
        folders = {name: run.outputs.retrieved for name, run in runs.items()}
        table, node = collect_entries.run_get_node(
            orm.Dict(parameters), **folders, metadata={'call_link_label': 'collect_entries'}
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_ANALYSIS.format(message=message_of(node))
        self.ctx.table = table
        self.out('entries', table)
        return None

    def assess(self) -> Any:
        """Read driving force, hull and window off the table."""
        known = {row['id']: row['formula'] for row in self.ctx.table['entries']}
        for salt in self.ctx.parameters['salts']:
            formula = reduced_formula(parse_formula(salt_formula(salt)))
            if salt not in known and formula not in known.values():
                reason = next((text for name, text in self.ctx.missing.items() if salt_formula(name) == formula), '')
                return self.exit_codes.ERROR_SALT_FAILED.format(salt=salt, reason=reason)
        asked = {key: self.ctx.parameters[key] for key in ('salts', 'moles', 'ion') if key in self.ctx.parameters}
        results, node = assess_thermodynamics.run_get_node(
            self.ctx.table, orm.Dict(asked), metadata={'call_link_label': 'assess_thermodynamics'}
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_ANALYSIS.format(message=message_of(node))
        self.out('results', results)
        best = results['context']['best_reaction']
        self.report(f'{1000 * best["energy_eV_atom"]:.1f} meV/atom: {best["equation"]}')
        failed = {name: reason for name, reason in self.ctx.missing.items() if name not in self.ctx.left_out}
        if failed:
            listed = '; '.join(f'{name}: {reason}' for name, reason in failed.items())
            return self.exit_codes.WARNING_PHASES_MISSING.format(count=len(failed), phases=listed)
        return None
