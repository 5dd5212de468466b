"""The parts of a validation: labels, dynamics of both sides and predictions, and what is taken from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.analysis.equation_of_state import missing_side
from aiida_softclay.calcfunctions.transport import analyse_conductivity
from aiida_softclay.calcfunctions.validation import make_configurations, production_of_aimd
from aiida_softclay.calculations.dp_test import DpTestCalculation
from aiida_softclay.data.frames import FramesData
from aiida_softclay.workflows import validation_plan as plan
from aiida_softclay.workflows.aimd import AimdWorkChain
from aiida_softclay.workflows.concurrency import BoundedBranchesMixin
from aiida_softclay.workflows.conductivity import ConductivityWorkChain, formal_charges
from aiida_softclay.workflows.label import LabelWorkChain
from aiida_softclay.workflows.options import DEFAULT_OPTIONS
from aiida_softclay.workflows.ports import given_mapping, given_options
from aiida_softclay.workflows.protocol import recursive_merge


class ValidationBranchesMixin(BoundedBranchesMixin):
    """Build the branches of a validation from its context: ``series``, ``runs``, ``structures``, ``label_branches``."""

    def make_series(self, name: str) -> None:
        """Make the configurations of a series."""
        series = self.ctx.series[name]
        made = make_configurations(
            self.ctx.structures[series['structure']], orm.Dict(series['configurations']),
            metadata={'call_link_label': f'make_{name}'},
        )  # fmt: skip
        self.ctx[f'configurations_{name}'] = made

    def build_branch(self, name: str) -> Any:
        """Return the builder of one part: labels, dynamics of one side, or predictions."""
        kind, _, rest = name.partition('_')
        makers = {'label': self._labelling, 'aimd': self._aimd, 'md': self._md, 'test': self._prediction}
        builder = makers[kind](name if kind == 'label' else rest)
        builder.metadata.call_link_label = name
        return builder

    def _labelling(self, name: str) -> Any:
        names = self.ctx.label_branches[name]
        section = self.ctx.parameters['label']
        overrides = section['overrides']
        if self.ctx.series[names[0]]['group'] == plan.RELAXED:
            overrides = recursive_merge(overrides, self.ctx.parameters['relaxation'])
        return LabelWorkChain.get_builder_from_protocol(
            self.inputs.codes.vasp, {series: self.ctx[f'configurations_{series}'] for series in names},
            self.inputs.potential_family.value, protocol=section['protocol'], overrides=overrides,
            options=given_options(self.inputs).get('vasp'), potential_mapping=given_mapping(self.inputs),
        )  # fmt: skip

    def _aimd(self, run: str) -> Any:
        about, section = self.ctx.runs[run], self.ctx.parameters['aimd']
        return AimdWorkChain.get_builder_from_protocol(
            self.inputs.codes.vasp, self.ctx.structures[about['structure']], self.inputs.potential_family.value,
            plan=plan.aimd_plan(self.ctx.parameters['conductivity'], about['temperature_K'], self._seed(run)),
            protocol=section['protocol'], overrides=section['overrides'], label=f'AIMD of {run}',
            options=given_options(self.inputs).get('vasp'), potential_mapping=given_mapping(self.inputs),
        )  # fmt: skip

    def _seed(self, run: str) -> int:
        return int(self.ctx.parameters['seed']) + list(self.ctx.runs).index(run)

    def _conductivity(self, run: str) -> dict[str, Any]:
        """Return the section of a run with species and charges filled in for its structure."""
        section = dict(self.ctx.parameters['conductivity'])
        symbols = self.ctx.structures[self.ctx.runs[run]['structure']].get_ase().get_chemical_symbols()
        section['species'] = section['species'] or plan.working_ions(set(symbols), section['charges'])
        return section

    def _md(self, run: str) -> Any:
        about = self.ctx.runs[run]
        return ConductivityWorkChain.get_builder_from_protocol(
            self.inputs.codes.lmp, self.ctx.structures[about['structure']], self.inputs.potential, protocol='demo',
            overrides=plan.md_overrides(self._conductivity(run), about['temperature_K'], self._seed(run)),
            options=given_options(self.inputs).get('lmp'),
        )  # fmt: skip

    def _prediction(self, group: str) -> Any:
        frames = self.ctx.sets[group]
        with frames.open_frames() as file:
            atoms = sum(view.n_frames * view.n_atoms for view in file.blocks())
        builder = DpTestCalculation.get_builder()
        builder.code = self.inputs.codes.dp
        builder.potential = self.inputs.potential
        builder.backend = orm.Str(self.inputs.potential.model_backend)
        builder.frames = frames
        # Everything: the curves need every configuration, in order.
        builder.max_frames, builder.max_forces = orm.Int(frames.n_frames), orm.Int(atoms)
        builder.metadata.options = {**DEFAULT_OPTIONS, **(given_options(self.inputs).get('dp') or {})}
        return builder

    def should_extend(self) -> bool:
        """Return whether a scan of volumes does not enclose its minimum and may still be extended."""
        self.ctx.wanted = {}
        if self.ctx.extensions >= int(self.ctx.parameters['bulk_modulus']['max_extensions']):
            return False
        frames = self.labelled()
        for structure in self.ctx.structures:
            names = [
                name for name, series in self.ctx.series.items()
                if series['proof'] == 'bulk_modulus' and series['structure'] == structure and name in frames
            ]  # fmt: skip
            if not names:
                continue
            volumes, energies = np.concatenate([_volumes_and_energies(frames[name]) for name in names], axis=1)
            side = missing_side(volumes, energies)
            if side:
                edge = max(names, key=lambda name: side * np.mean(self.ctx.series[name]['configurations']['scales']))
                self.ctx.wanted[structure] = (edge, side)
        return bool(self.ctx.wanted)

    def queue_extension(self) -> None:
        """Queue more volumes on the side where the minimum must be."""
        self.ctx.extensions += 1
        names = []
        for structure, (edge, side) in self.ctx.wanted.items():
            name, series = plan.extension(self.ctx.series[edge], side, self.ctx.extensions)
            self.ctx.series[name] = series
            self.make_series(name)
            names.append(name)
            self.report(f'{structure}: no minimum within the volumes, going to {"larger" if side > 0 else "smaller"}')
        branch = f'label_more_{self.ctx.extensions}'
        self.ctx.label_branches[branch] = names
        self.queue_branches([branch], self.ctx.limit)

    def labelled(self) -> dict[str, FramesData]:
        """Return the frames of all series that have some."""
        found = {}
        for branch in self.ctx.label_branches:
            outputs = self.branch(branch).outputs
            found |= dict(outputs.frames) if 'frames' in outputs else {}
        return found

    def note_unrelaxed(self) -> None:
        """Remember how many relaxations of each series stopped at their limit of steps."""
        for branch, names in self.ctx.label_branches.items():
            outputs = self.branch(branch).outputs
            known = outputs.summary['configurations'] if 'summary' in outputs else {}
            for name in names:
                self.ctx.series[name]['n_not_relaxed'] = len(known.get(name, {}).get('not_relaxed') or [])

    def analyse_run(self, run: str) -> FramesData | None:
        """Find the engine's diffusivities with the same function as the potential's; return frames to compare."""
        about, section = self.ctx.runs[run], self._conductivity(run)
        md = self.branch(f'md_{run}')
        if md.is_finished_ok:
            self.ctx.analyses[f'potential_{run}'] = md.outputs.results
            self.out(f'stages.potential_{run}', md.outputs.results)
            self.out(f'curves.msd_potential_{run}', md.outputs.curve)
        aimd = self.branch(f'aimd_{run}')
        if not aimd.is_finished_ok:
            return None
        wanted = int(self.ctx.parameters['parity']['n_aimd_frames'])
        options = {
            'stage': 'production', 'segment_index': 1, 'timestep_fs': section['timestep_fs'],
            'frame_stride': plan.frame_stride(section), 'n_frames': plan.production_frames(section),
            'n_sample': max(1, wanted), 'label': f'aimd_{run}',
        }  # fmt: skip
        made, node = production_of_aimd.run_get_node(
            orm.Dict(options), aimd.outputs.series, **dict(aimd.outputs.frames),
            metadata={'call_link_label': f'production_{run}'},
        )  # fmt: skip
        if not node.is_finished_ok:
            self.ctx.failures[run] = node.exit_message
            return None
        charges = formal_charges(
            self.ctx.structures[about['structure']].get_ase().get_chemical_symbols(), section['charges']
        )
        analysis = {
            'charges': charges, 'species': section['species'], 'window_share': section['window_share'],
            'hop_length': section['hop_length'], 'target_temperature_K': about['temperature_K'],
            'context': {'protocol': self.ctx.parameters.get('protocol', 'own parameters')},
        }  # fmt: skip
        _, node = analyse_conductivity.run_get_node(
            made['trajectory'], made['thermo'], orm.Dict(analysis), metadata={'call_link_label': f'analyse_{run}'}
        )
        if node.is_finished_ok:
            self.ctx.analyses[f'engine_{run}'] = node.outputs.results
            self.out(f'stages.engine_{run}', node.outputs.results)
            self.out(f'curves.msd_engine_{run}', node.outputs.curve)
        else:
            self.ctx.failures[run] = node.exit_message
        # Frames of a structure that the potential was fitted to prove nothing about others.
        if not wanted or about['structure'] in self.ctx.seen:
            return None
        self.ctx.series[f'aimd_{run}'] = {
            'proof': 'parity', 'subject': f'md_{run}', 'structure': about['structure'], 'group': plan.AIMD,
            'independent': False, 'n_configurations': made['sample'].n_frames,
            'conditions': {'temperature_K': about['temperature_K']},
        }  # fmt: skip
        return made['sample']


def _volumes_and_energies(frames: FramesData) -> np.ndarray:
    """Return volumes (Å³) and energies (eV) of frames of one structure, shape (2, n_frames)."""
    with frames.open_frames() as file:
        blocks = [view.read() for view in file.blocks()]
    volumes = np.concatenate([np.abs(np.linalg.det(np.asarray(block.cells))) for block in blocks])
    return np.array([volumes, np.concatenate([np.asarray(block.energies) for block in blocks])])
