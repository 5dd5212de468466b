"""The whole chain for one mixture of two salts, from crystals to a table of numbers."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, WorkChain, if_, while_
from aiida.plugins import DataFactory

from aiida_softclay.calcfunctions.results import collect_results
from aiida_softclay.calcfunctions.structure_analysis import analyse_anion_exchange, exchange_parameters
from aiida_softclay.data.potential import PotentialData, validate_model
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.workflows.amorphous import AmorphousWorkChain
from aiida_softclay.workflows.concurrency import BoundedBranchesMixin
from aiida_softclay.workflows.conductivity import ConductivityWorkChain
from aiida_softclay.workflows.constant_strain import ConstantStrainWorkChain
from aiida_softclay.workflows.endings import message_of
from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain
from aiida_softclay.workflows.md import MdWorkChain
from aiida_softclay.workflows.md_remote import REMOTE_INPUTS, given_remote, set_remote_inputs
from aiida_softclay.workflows.ports import (
    branch_limit,
    define_codes,
    define_job_bound,
    define_pseudopotentials,
    given_mapping,
    given_options,
    set_engines,
)
from aiida_softclay.workflows.protocol import ProtocolMixin
from aiida_softclay.workflows.sampling import build_structure, sampling_builder, sampling_plan
from aiida_softclay.workflows.stress_pulse import StressPulseWorkChain
from aiida_softclay.workflows.study_inputs import study_problem, validate_mixture
from aiida_softclay.workflows.study_seeds import seed_problem, with_stage_seeds
from aiida_softclay.workflows.trajectory_analyses import (
    TrajectoryAnalysesMixin,
    curves_of,
    trajectory_of,
)

#: The experiments on the amorphous model: independent of each other. The longest comes first, so that the short ones
#: fill the time beside it.
EXPERIMENTS = {
    'conductivity': ConductivityWorkChain,
    'stress_pulse': StressPulseWorkChain,
    'constant_strain': ConstantStrainWorkChain,
}


def validate_inputs(inputs: AttributeDict, _: Any) -> str | None:
    """Return a sentence if the inputs contradict each other."""
    seed = inputs['parameters'].get_dict().get('seed')
    return seed_problem(seed) or study_problem(inputs, EXPERIMENTS)


class StudyWorkChain(ProtocolMixin, BoundedBranchesMixin, TrajectoryAnalysesMixin, WorkChain):
    """Sample, fit, build the glass, load it, let it diffuse, and gather the numbers."""

    _protocol_file = 'study'

    @classmethod
    def define(cls, spec):
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input(
            'mixture',
            valid_type=orm.Str,
            validator=validate_mixture,
            help='The salts and their ratio, for example 2LiCl-GaF3.',
        )
        spec.input('parameters', valid_type=orm.Dict, help='What is done at each stage: see the protocols.')
        define_codes(spec, required=('lmp',))
        define_pseudopotentials(spec, required=False)
        define_job_bound(spec)
        spec.expose_inputs(MdWorkChain, include=REMOTE_INPUTS)
        spec.input(
            'potential', valid_type=PotentialData, required=False, validator=validate_model,
            help='A finished potential: skips sampling and fit.',
        )  # fmt: skip
        spec.inputs.validator = validate_inputs

        spec.outline(
            cls.setup,
            if_(cls.should_sample)(
                cls.queue_sampling,
                while_(cls.has_pending_branches)(cls.submit_branches),
                cls.inspect_sampling,
                cls.run_fit,
                cls.inspect_fit,
            ),
            cls.run_amorphous,
            cls.inspect_amorphous,
            cls.analyse_structure,
            cls.inspect_structure,
            cls.queue_experiments,
            while_(cls.has_pending_branches)(cls.submit_branches),
            cls.inspect_experiments,
            cls.results,
        )

        spec.output('results', valid_type=orm.Dict, help='All numbers, in the results schema.')
        spec.output('potential', valid_type=PotentialData, required=False, help='The potential that was used.')
        spec.output_namespace(
            'frames', valid_type=DataFactory('softclay.frames'), dynamic=True,
            help='Labelled frames, a node for each run of each sampled structure: `<label>_<run>`.',
        )  # fmt: skip
        spec.output('structure', valid_type=orm.StructureData, required=False, help='The amorphous model.')
        spec.output(
            'pair_distributions', valid_type=orm.ArrayData, required=False, help='g(r) before and after the melt.'
        )
        spec.output_namespace('stages', valid_type=orm.Dict, dynamic=True, help='Results of each stage.')
        spec.output_namespace('curves', valid_type=orm.ArrayData, dynamic=True, help='Curves of the experiments.')

        spec.exit_code(210, 'ERROR_STRUCTURE', message='the structure `{label}` cannot be built: {message}')
        spec.exit_code(401, 'ERROR_SAMPLING_FAILED', message='the sampling of {branches} failed')
        spec.exit_code(402, 'ERROR_FIT_FAILED', message='the fit of the potential failed: {message}')
        spec.exit_code(403, 'ERROR_AMORPHOUS_FAILED', message='the amorphous model failed: {message}')
        spec.exit_code(404, 'ERROR_EXPERIMENTS_FAILED', message='these experiments failed: {branches}')
        spec.exit_code(
            501, 'ERROR_POTENTIAL_REFUSED', message='the study does not go on with this potential: {message}'
        )
        spec.exit_code(510, 'ERROR_ANALYSIS', message='the exchange of anions cannot be analysed: {message}')

    @classmethod
    def get_builder_from_protocol(
        cls, codes, mixture, *, potential_family=None, potential_mapping=None, potential=None, protocol=None,
        overrides=None, options=None, max_concurrent_jobs=None, **remote,
    ):  # fmt: skip
        """Return a builder with everything set.

        Parameters
        ----------
        codes : dict
            ``vasp``, ``dp`` and ``lmp`` to codes.
        mixture : str
            For example ``2LiCl-GaF3``.
        potential_family : str, optional
            Label of the POTCAR family; needed unless a potential is given.
        potential_mapping : dict, optional
            Element to POTCAR name; the elements themselves by default.
        potential : PotentialData, optional
            A finished potential, which skips sampling and fit.
        protocol, overrides
            See :meth:`get_available_protocols`.
        options : dict, optional
            ``vasp``, ``dp``, ``lmp`` to scheduler options.
        max_concurrent_jobs : int, optional
            Most branches at once.
        **remote
            ``analysis_code``, ``analysis_options``, ``max_retrieved_bytes`` and ``dump_stash``: what becomes of dumps
            that are too large to be retrieved, see ``softclay.md``.

        Raises
        ------
        ProtocolError
            If the protocol, or a key of the overrides, does not exist.
        """
        parameters = cls.get_protocol_inputs(protocol, overrides)
        parameters['protocol'] = protocol or cls.get_default_protocol()
        builder = cls.get_builder()
        builder.mixture = orm.Str(mixture)
        builder.parameters = orm.Dict(parameters)
        if potential is not None:
            builder.potential = potential
        set_remote_inputs(builder, remote)
        set_engines(
            builder, codes, potential_family=potential_family, potential_mapping=potential_mapping, options=options,
            max_concurrent_jobs=max_concurrent_jobs,
        )  # fmt: skip
        builder.metadata.label = mixture
        return builder

    def setup(self):
        """Read the inputs once."""
        # The stages record their seeds among their own parameters.
        self.ctx.parameters = AttributeDict(with_stage_seeds(self.inputs.parameters.get_dict()))
        self.ctx.mixture_text = self.inputs.mixture.value
        self.ctx.limit = branch_limit(self.inputs, *self.inputs.codes.values())
        self.ctx.stages = {}
        if 'potential' in self.inputs:
            self.ctx.potential = self.inputs.potential
            self.out('potential', self.inputs.potential)

    def should_sample(self) -> bool:
        """Return whether a potential has to be made."""
        return 'potential' not in self.inputs

    def build_branch(self, name: str):
        """Return the builder of one sampled structure or experiment."""
        if name in EXPERIMENTS:
            return self._experiment(name)
        return self._sampling(name)

    def queue_sampling(self):
        """Build the structures to sample."""
        plan = sampling_plan(
            self.ctx.parameters.sampling, Mixture.parse(self.ctx.mixture_text), self.ctx.parameters.seed
        )
        self.ctx.sampling = {entry.label: entry.as_dict() for entry in plan}
        self.ctx.structures = {}
        for label, entry in self.ctx.sampling.items():
            try:
                self.ctx.structures[label] = build_structure(entry)
            except ValueError as error:
                return self.exit_codes.ERROR_STRUCTURE.format(label=label, message=str(error))
        self.queue_branches(self.ctx.sampling, self.ctx.limit)
        return None

    def _sampling(self, label: str):
        return sampling_builder(
            self.ctx.sampling[label],
            self.ctx.structures[label],
            code=self.inputs.codes.vasp,
            potential_family=self.inputs.potential_family.value,
            potential_mapping=given_mapping(self.inputs),
            options=given_options(self.inputs).get('vasp'),
        )

    def inspect_sampling(self):
        """Gather the frames of all structures, or name those that failed."""
        failed = [label for label in self.ctx.sampling if not self.branch(label).is_finished_ok]
        if failed:
            reasons = [f'{label} ({self.branch(label).exit_message})' for label in failed]
            return self.exit_codes.ERROR_SAMPLING_FAILED.format(branches=', '.join(reasons))
        self.ctx.frames = {
            f'{label}_{run.removeprefix("run_")}': node
            for label in self.ctx.sampling
            for run, node in dict(self.branch(label).outputs.frames).items()
        }
        for name, node in self.ctx.frames.items():
            self.out(f'frames.{name}', node)
        total = sum(node.n_frames for node in self.ctx.frames.values())
        self.report(f'{total} labelled frames of {len(self.ctx.sampling)} structures')
        return None

    def run_fit(self):
        """Train the potential on all frames."""
        settings = self.ctx.parameters.fit
        builder = FitPotentialWorkChain.get_builder_from_protocol(
            self.inputs.codes.dp,
            self.ctx.frames,
            protocol=settings.protocol,
            overrides=settings.overrides,
            options=given_options(self.inputs).get('dp'),
        )
        builder.metadata.call_link_label = 'fit_potential'
        return ToContext(fit=self.submit(builder))

    def inspect_fit(self):
        """Take the potential, unless it missed its gate."""
        fit = self.ctx.fit
        if 'results' in fit.outputs:
            self.ctx.stages['potential'] = fit.outputs.results
            self.out('stages.potential', fit.outputs.results)
        if 'potential' in fit.outputs:
            self.out('potential', fit.outputs.potential)
        if not fit.is_finished_ok:
            code = self.exit_codes
            physics = fit.exit_status is not None and 500 <= fit.exit_status < 600
            exit_code = code.ERROR_POTENTIAL_REFUSED if physics else code.ERROR_FIT_FAILED
            return exit_code.format(message=message_of(fit))
        self.ctx.potential = fit.outputs.potential
        return None

    def run_amorphous(self):
        """Build and equilibrate the glass."""
        settings = self.ctx.parameters.amorphous
        interface = self.ctx.parameters.sampling.interface
        builder = AmorphousWorkChain.get_builder_from_protocol(
            self.inputs.codes.lmp,
            self.ctx.mixture_text,
            potential=self.ctx.potential,
            interface=self.branch(interface).outputs.structure if interface and self.should_sample() else None,
            protocol=settings.protocol,
            overrides=settings.overrides,
            options=given_options(self.inputs).get('lmp'),
            **given_remote(self.inputs),
        )
        builder.metadata.call_link_label = 'amorphous'
        return ToContext(amorphous=self.submit(builder))

    def inspect_amorphous(self):
        """Take the glass."""
        amorphous = self.ctx.amorphous
        if not amorphous.is_finished_ok:
            return self.exit_codes.ERROR_AMORPHOUS_FAILED.format(message=message_of(amorphous))
        self.ctx.structure = amorphous.outputs.structure
        self.ctx.stages['amorphous'] = amorphous.outputs.results
        self.out('structure', self.ctx.structure)
        self.out('stages.amorphous', amorphous.outputs.results)
        if 'checks' in amorphous.outputs:
            self.out('stages.checks', amorphous.outputs.checks)
        return None

    def analyse_structure(self):
        """Compare the neighbours of the ions before and after the melt.

        Two salts with an anion each exchange them; of other mixtures the census of the glass's own checks is all.
        """
        self.ctx.exchange = None
        try:
            parameters = exchange_parameters(self.ctx.mixture_text)
        except ValueError as error:
            self.report(f'the exchange of anions is not analysed: {error}')
            return None
        trajectory = trajectory_of(self.ctx.amorphous, 'melt')
        if trajectory is None:
            self.report('the exchange of anions is not analysed: no frames of the melt can be read')
            return None
        context = {**self.context(), 'stage': 'melt', 'n_atoms': len(self.ctx.structure.sites)}
        options = {**parameters, 'context': context}
        return self.keep(
            exchange=self.start_analysis('anion_exchange', analyse_anion_exchange, options, trajectory, 'melt')
        )

    def inspect_structure(self):
        """Take the numbers of the exchange."""
        node = self.ctx.exchange
        if node is None:
            return None
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_ANALYSIS.format(message=message_of(node))
        self.ctx.stages['exchange'] = node.outputs.results
        self.out('stages.exchange', node.outputs.results)
        self.out('pair_distributions', curves_of(node)['curve'])
        return None

    def engine_options(self) -> dict[str, Any]:
        """Return the options of the LAMMPS jobs."""
        return given_options(self.inputs).get('lmp', {})

    def context(self) -> dict[str, Any]:
        """Return what all numbers of the study share."""
        stated = self.ctx.stages['amorphous'].get('context', {})
        return {
            'mixture': self.ctx.mixture_text,
            'protocol': self.ctx.parameters.get('protocol', 'own parameters'),
            'engine': stated.get('engine', ''),
            'model_atoms': len(self.ctx.structure.sites),
        }

    def queue_experiments(self):
        """Queue the experiments, which do not depend on each other."""
        self.queue_branches(EXPERIMENTS, self.ctx.limit)

    def _experiment(self, name: str):
        settings = self.ctx.parameters[name]
        builder = EXPERIMENTS[name].get_builder_from_protocol(
            self.inputs.codes.lmp,
            self.ctx.structure,
            potential=self.ctx.potential,
            protocol=settings.protocol,
            overrides=settings.overrides,
            options=given_options(self.inputs).get('lmp'),
            **given_remote(self.inputs),
        )
        builder.metadata.call_link_label = name
        return builder

    def inspect_experiments(self):
        """Take the numbers of the experiments, and name those that failed."""
        failed = []
        for name in EXPERIMENTS:
            process = self.branch(name)
            if not process.is_finished_ok:
                failed.append(f'{name} ({message_of(process)})')
                continue
            self.ctx.stages[name] = process.outputs.results
            self.out(f'stages.{name}', process.outputs.results)
            self.out(f'curves.{name}', process.outputs.curve)
            for further in process.outputs.further if 'further' in process.outputs else ():
                self.ctx.stages[f'{name}_{further}'] = process.outputs.further[further]
                self.out(f'stages.{name}_{further}', process.outputs.further[further])
        self.ctx.failed_experiments = failed

    def results(self):
        """Gather every number in one table; what there is is kept even if an experiment failed."""
        collected = collect_results(
            orm.Dict(self.context()), **self.ctx.stages, metadata={'call_link_label': 'collect_results'}
        )
        self.out('results', collected)
        if self.ctx.failed_experiments:
            return self.exit_codes.ERROR_EXPERIMENTS_FAILED.format(branches=', '.join(self.ctx.failed_experiments))
        self.report(f'{len(collected["numbers"])} numbers in results <{collected.pk}>')
        return None
