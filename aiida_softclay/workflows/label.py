"""Energies, forces and stresses of given configurations: single points in batches, in parallel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import WorkChain, while_
from aiida.orm.nodes.data.base import to_aiida_type

from aiida_softclay.calcfunctions.label import label_summary, merge_labels, merge_relaxed
from aiida_softclay.calculations.potcars import PotentialFamilyError, select_potentials
from aiida_softclay.calculations.vasp_label import (
    BATCH_MODES,
    VaspLabelCalculation,
    incar_problem,
    potentials_problem,
)
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.workflows.concurrency import BoundedBranchesMixin, computer_job_limit
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.options import DEFAULT_OPTIONS
from aiida_softclay.workflows.ports import define_job_options, define_pseudopotentials, given_mapping
from aiida_softclay.workflows.protocol import ProtocolMixin

#: The program that takes several folders at once.
STAND_IN = 'softclay-vasp'
#: A configuration that was being computed when its job was killed, twice, is taken to be why.
MOST_KILLS = 2
#: Jobs that got nothing done, in a row, after which a batch is given up.
MOST_IDLE_JOBS = 2


def kpoints_mesh(cells: np.ndarray, spacing: float | None) -> list[int]:
    """Return the Γ-centred mesh that is dense enough for every cell, so that all labels come from one mesh.

    Parameters
    ----------
    cells : ndarray, shape (n_frames, 3, 3), Å
        Rows are lattice vectors.
    spacing : float or None
        Largest distance between k-points, 1/Å with the factor 2π; ``None`` is the Γ point alone.
    """
    if spacing is None:
        return [1, 1, 1]
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cells), axis=1)
    return [int(number) for number in np.maximum(np.ceil(lengths.max(axis=0) / spacing - 1e-6), 1)]


def _validate_batch_mode(node: orm.Str, _: Any) -> str | None:
    known = ('auto', *BATCH_MODES)
    return None if node.value in known else f'batch_mode is `{node.value}`: choose from {", ".join(known)}'


def _validate_positive(node: Any, _: Any) -> str | None:
    return None if node is None or node.value > 0 else f'{node.value:g} must be above 0'


def _validate_share(node: orm.Float, _: Any) -> str | None:
    return None if 0 <= node.value <= 1 else f'max_left_out_share is {node.value:g}: give a share from 0 to 1'


def _validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Check the potentials, cutoff and tags for the elements of all configurations."""
    if not {'configurations', 'potential_family', 'incar'} <= set(inputs):
        return None
    if not inputs['configurations']:
        return 'there are no configurations: give at least one trajectory'
    if any(name.endswith('_') or name.startswith('_') for name in inputs['configurations']):
        return 'the names of the configurations must neither begin nor end with an underscore'
    tags = inputs['incar'].get_dict()
    if problem := incar_problem(tags):
        return problem
    mapping = given_mapping(inputs)
    for name, trajectory in inputs['configurations'].items():
        try:
            potentials = potentials_of(trajectory, inputs['potential_family'].value, mapping)
        except PotentialFamilyError as error:
            return f'{name}: {error}'
        if problem := potentials_problem(tags, potentials):
            return problem
    return None


def potentials_of(trajectory: MdTrajectoryData, family: str, mapping: Mapping[str, str]) -> dict[str, Any]:
    """Return the potential of each element of a trajectory.

    Raises
    ------
    PotentialFamilyError
        If the family does not have them.
    """
    elements = orm.StructureData(cell=[[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    for element in sorted(trajectory.symbol_counts):
        elements.append_atom(position=(0.0, 0.0, 0.0), symbols=element)
    return select_potentials(elements, family, mapping)


class LabelWorkChain(BoundedBranchesMixin, ProtocolMixin, WorkChain):
    """Label configurations: energy, forces and virial of each by a single point, many in one job.

    A single point that fails or does not converge is left out and named. What a job did not get to, because it was
    killed or ran out of time, goes into another job.
    """

    _process_class = VaspLabelCalculation
    _protocol_file = 'label'

    defaults = AttributeDict({'batch_size': 20, 'max_iterations': 5, 'max_left_out_share': 0.1})

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input_namespace(
            'configurations', valid_type=MdTrajectoryData, dynamic=True,
            help='Configurations by name: positions and cells of one composition each, every frame is labelled.',
        )  # fmt: skip
        spec.input('code', valid_type=orm.AbstractCode, help='VASP, or the VASP-compatible driver.')
        define_pseudopotentials(spec)
        spec.input(
            'incar', valid_type=orm.Dict, serializer=to_aiida_type,
            help='INCAR tags: a single point, or a relaxation of the ions in the fixed cell.',
        )  # fmt: skip
        spec.input(
            'kpoints_spacing', valid_type=orm.Float, serializer=to_aiida_type, required=False,
            validator=_validate_positive,
            help='Largest distance between k-points, 1/Å with the factor 2π; the Γ point if not given.',
        )  # fmt: skip
        spec.input(
            'batch_size', valid_type=orm.Int, serializer=to_aiida_type, validator=_validate_positive,
            default=lambda: orm.Int(cls.defaults.batch_size), help='Most configurations of one job.',
        )  # fmt: skip
        spec.input(
            'batch_mode', valid_type=orm.Str, serializer=to_aiida_type, default=lambda: orm.Str('auto'),
            validator=_validate_batch_mode,
            help='`loop` (start the program for each configuration), `folders` (start it once, softclay-vasp only), '
            'or `auto` (by the name of the program).',
        )  # fmt: skip
        define_job_options(spec)
        spec.input(
            'max_iterations', valid_type=orm.Int, serializer=to_aiida_type, validator=_validate_positive,
            default=lambda: orm.Int(cls.defaults.max_iterations),
            help='Most jobs for one batch, should they be killed or run out of time.',
        )  # fmt: skip
        spec.input(
            'max_left_out_share', valid_type=orm.Float, serializer=to_aiida_type, validator=_validate_share,
            default=lambda: orm.Float(cls.defaults.max_left_out_share),
            help='Share of the configurations that may have no label before this ends in an error.',
        )  # fmt: skip
        spec.inputs.validator = _validate_inputs

        spec.outline(
            cls.setup,
            while_(cls.has_pending_branches)(cls.submit_branches, cls.inspect_batches),
            cls.results,
        )

        spec.output_namespace(
            'frames', valid_type=FramesData, dynamic=True, required=False,
            help='Labelled frames under the names of the configurations, in their order without those left out.',
        )  # fmt: skip
        spec.output_namespace(
            'configurations', valid_type=MdTrajectoryData, dynamic=True, required=False,
            help='Where ions were relaxed: the last positions of the labelled configurations, in the same order.',
        )  # fmt: skip
        spec.output(
            'summary', valid_type=orm.Dict, required=False,
            help='Which configuration each frame is, and which were left out and why.',
        )  # fmt: skip
        spec.output('results', valid_type=orm.Dict, required=False, help='The numbers, in the results schema.')

        spec.exit_code(
            310, 'ERROR_NO_LABEL', message='none of the {given} configurations has a label; the first: {reason}'
        )
        spec.exit_code(
            510, 'ERROR_TOO_MANY_LEFT_OUT',
            message='{left_out} of {given} configurations have no label, more than the share {share:g} that is '
            'allowed: see the output `summary`; the first: {reason}',
        )  # fmt: skip

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        configurations: MdTrajectoryData | Mapping[str, MdTrajectoryData],
        potential_family: str,
        *,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        potential_mapping: Mapping[str, str] | None = None,
        label: str | None = None,
    ) -> Any:
        """Return a complete builder.

        Parameters
        ----------
        code : Code
            VASP, or the VASP-compatible driver.
        configurations : MdTrajectoryData or mapping
            What to label; a single trajectory gets the name ``all``.
        potential_family : str
            Label of a family of POTCAR files with all elements.
        protocol, overrides
            See :meth:`get_protocol_inputs`; `{'incar': {'ibrion': 2, 'nsw': 60, 'ediffg': -0.01}}` relaxes the ions.
        options : mapping, optional
            Replaces entries of the default ``metadata.options``.
        potential_mapping : mapping, optional
            Full names of potentials by element.
        label : str, optional
            Label of the workchain.

        Raises
        ------
        ProtocolError
            If the protocol or an override does not exist.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        named = configurations if isinstance(configurations, Mapping) else {'all': configurations}
        builder = cls.get_builder()
        builder.code = code
        builder.configurations = dict(named)
        builder.potential_family = orm.Str(potential_family)
        if potential_mapping:
            builder.potential_mapping = orm.Dict(dict(potential_mapping))
        builder.incar = orm.Dict(inputs['incar'])
        if inputs['kpoints_spacing'] is not None:
            builder.kpoints_spacing = orm.Float(inputs['kpoints_spacing'])
        builder.batch_size = orm.Int(inputs['batch_size'])
        builder.batch_mode = orm.Str(inputs['batch_mode'])
        builder.options = orm.Dict({**DEFAULT_OPTIONS, **(options or {})})
        builder.max_iterations = orm.Int(inputs['max_iterations'])
        builder.max_left_out_share = orm.Float(inputs['max_left_out_share'])
        builder.metadata.label = label or f'labels of {", ".join(sorted(named))}'[:255]
        return builder

    def setup(self) -> None:
        """Cut the configurations into batches."""
        size = self.inputs.batch_size.value
        self.ctx.batches, self.ctx.meshes, self.ctx.lost, self.ctx.kills = {}, {}, {}, {}
        self.ctx.inspected = []
        for name, trajectory in self.inputs.configurations.items():
            spacing = self.inputs.kpoints_spacing.value if 'kpoints_spacing' in self.inputs else None
            with trajectory.open_trajectory() as opened:
                self.ctx.meshes[name] = kpoints_mesh(opened.cells[:], spacing)
            self.ctx.lost[name], self.ctx.kills[name] = {}, {}
            for number, start in enumerate(range(0, trajectory.n_frames, size)):
                indices = list(range(start, min(start + size, trajectory.n_frames)))
                branch = f'{name}_{number:04d}'
                self.ctx.batches[branch] = {
                    'name': name, 'indices': indices, 'first': branch, 'job': 1, 'idle': 0,
                }  # fmt: skip
        limit = computer_job_limit(self.inputs.code)
        self.queue_branches(self.ctx.batches, limit)
        total = sum(len(batch['indices']) for batch in self.ctx.batches.values())
        self.report(f'{total} configurations in {len(self.ctx.batches)} jobs, batch mode {self.batch_mode}')

    @property
    def batch_mode(self) -> str:
        """How a job runs the program: as asked for, or by the name of the program."""
        if self.inputs.batch_mode.value != 'auto':
            return self.inputs.batch_mode.value
        program = PurePosixPath(str(getattr(self.inputs.code, 'filepath_executable', ''))).name
        return 'folders' if program == STAND_IN else 'loop'

    def build_branch(self, name: str) -> Any:
        """Return the builder of the job of one batch."""
        batch = self.ctx.batches[name]
        trajectory = self.inputs.configurations[batch['name']]
        mapping = given_mapping(self.inputs)
        kpoints = orm.KpointsData()
        kpoints.set_kpoints_mesh(self.ctx.meshes[batch['name']])
        builder = self._process_class.get_builder()
        builder.code = self.inputs.code
        builder.configurations = trajectory
        if batch['indices'] != list(range(trajectory.n_frames)):
            builder.indices = orm.List(batch['indices'])
        builder.parameters = self.inputs.incar
        builder.kpoints = kpoints
        builder.potential = potentials_of(trajectory, self.inputs.potential_family.value, mapping)
        builder.batch_mode = orm.Str(self.batch_mode)
        builder.settings = orm.Dict({'label': batch['name']})
        builder.metadata.options = {**DEFAULT_OPTIONS, **self.inputs.options.get_dict()}
        builder.metadata.label = name
        builder.metadata.call_link_label = f'label_{name}'
        return builder

    def inspect_batches(self) -> None:
        """Look at the jobs that have ended; what one did not get to is queued as a job of its own."""
        for branch in [name for name in self.ctx.batches if self.branch_key(name) in self.ctx]:
            if branch in self.ctx.inspected:
                continue
            self.ctx.inspected.append(branch)
            self._inspect_batch(branch)

    def _inspect_batch(self, branch: str) -> None:
        batch, job = self.ctx.batches[branch], self.branch(branch)
        name, message = batch['name'], message_of(job)
        if job.exit_status:
            self.report(f'{branch} <{job.pk}>: {message}')
        if 'statistics' in job.outputs:
            records = job.outputs.statistics.get_dict()['configurations']
            killed = [record['index'] for record in records if record['state'] == 'killed']
            waiting = [record['index'] for record in records if record['state'] == 'not_started']
        else:
            killed, waiting = [], batch['indices']
            for index in waiting:
                self.ctx.lost[name][str(index)] = f'its job <{job.pk}> left no statistics: {message}'
        kills = self.ctx.kills[name]
        for index in killed:
            kills[str(index)] = kills.get(str(index), 0) + 1
        # One that was being computed when its job died comes last, lest it stand in the way of the others again.
        again = waiting + [index for index in killed if kills[str(index)] < MOST_KILLS]
        if not again:
            return
        idle = batch['idle'] + 1 if len(again) == len(batch['indices']) else 0
        if idle >= MOST_IDLE_JOBS or batch['job'] >= self.inputs.max_iterations.value:
            self.report(f'{branch}: {len(again)} configurations are given up after {batch["job"]} jobs')
            return
        follower = f'{batch["first"]}_job_{batch["job"] + 1:02d}'
        self.ctx.batches[follower] = {**batch, 'indices': again, 'job': batch['job'] + 1, 'idle': idle}
        self.ctx.pending_branches = [*self.ctx.pending_branches, follower]
        self.report(f'{branch}: {len(again)} configurations were not computed and are queued again')

    def results(self) -> Any:
        """Join the labels of each name and say what was left out."""
        jobs = {branch: self.branch(branch) for branch in self.ctx.batches}
        statistics = {branch: job.outputs.statistics for branch, job in jobs.items() if 'statistics' in job.outputs}
        parameters = {
            'given': {name: node.n_frames for name, node in self.inputs.configurations.items()},
            'jobs': {branch: batch['name'] for branch, batch in self.ctx.batches.items()},
            'lost': self.ctx.lost,
        }
        made = label_summary(orm.Dict(parameters), **statistics, metadata={'call_link_label': 'label_summary'})
        self.out('summary', made['summary'])
        self.out('results', made['results'])
        for name in self.inputs.configurations:
            self._attach(name, jobs, statistics)
        return self._exit_code(made['summary'].get_dict())

    def _attach(self, name: str, jobs: dict[str, Any], statistics: dict[str, orm.Dict]) -> None:
        """Attach the frames of one name; those of a single job are the whole's, a copy would say nothing new."""
        parts = {
            branch: job.outputs
            for branch, job in jobs.items()
            if self.ctx.batches[branch]['name'] == name and 'frames' in job.outputs
        }
        frames = {branch: outputs.frames for branch, outputs in parts.items()}
        relaxed = {branch: outputs.configurations for branch, outputs in parts.items() if 'configurations' in outputs}
        if len(frames) == 1:
            self.out(f'frames.{name}', next(iter(frames.values())))
        elif frames:
            parts = {f'frames_{branch}': node for branch, node in frames.items()}
            parts |= {f'statistics_{branch}': statistics[branch] for branch in frames}
            metadata = {'call_link_label': f'merge_labels_{name}'}
            self.out(f'frames.{name}', merge_labels(**parts, metadata=metadata))
        if len(relaxed) == 1:
            self.out(f'configurations.{name}', next(iter(relaxed.values())))
        elif relaxed:
            metadata = {'call_link_label': f'merge_relaxed_{name}'}
            self.out(f'configurations.{name}', merge_relaxed(**relaxed, metadata=metadata))

    def _exit_code(self, summary: dict[str, Any]) -> Any:
        counts = summary['counts']
        reasons = [
            f'{name} {entry["left_out"][0]["index"]}: {entry["left_out"][0]["reason"]}'
            for name, entry in summary['configurations'].items()
            if entry['left_out']
        ]
        if not counts['labelled']:
            return self.exit_codes.ERROR_NO_LABEL.format(given=counts['given'], reason=reasons[0])
        self.report(f'{counts["labelled"]} of {counts["given"]} configurations are labelled')
        share = self.inputs.max_left_out_share.value
        if counts['left_out'] > share * counts['given']:
            return self.exit_codes.ERROR_TOO_MANY_LEFT_OUT.format(
                left_out=counts['left_out'], given=counts['given'], share=share, reason=reasons[0]
            )
        return None
