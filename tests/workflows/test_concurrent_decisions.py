"""What concurrent learning decides, on planted deviations, and which inputs it refuses."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ExitCode, WorkChain
from ase.build import bulk

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FrameBlock, FramesFile
from aiida_softclay.data.potential import PotentialData
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile
from aiida_softclay.workflows.concurrent_learning import ConcurrentLearningWorkChain
from aiida_softclay.workflows.exploration import exploration_plan, parameters_problem, run_names
from aiida_softclay.workflows.fit_committee import FitCommitteeWorkChain
from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain
from aiida_softclay.workflows.label import LabelWorkChain
from aiida_softclay.workflows.protocol import ProtocolError, leaves, recursive_merge

pytestmark = pytest.mark.filterwarnings('ignore')


def copper(seed=0, amplitude=0.05):
    atoms = bulk('Cu', 'fcc', a=3.6, cubic=True)
    atoms.rattle(amplitude, seed=seed)
    return atoms


def rattled_trajectory(path, n_frames):
    with TrajectoryFile(path, 'w', copper().numbers, 0.002, {'program': 'test'}, 'explore') as file:
        for step in range(n_frames):
            atoms = copper(step)
            file.append(atoms.positions, atoms.cell.array, 10 * step)
    return MdTrajectoryData.from_file(path)


# ---- the decisions, with planted deviations: no engine tells more about them ----------------------------------------
MODEL = Path(__file__).parent / 'fixtures' / 'md_lithium_chloride.pb'
EXPLODED, KILLED = 501, 401


class StubBase(WorkChain):
    """A stage that gives what the scenario says; the scenario is the plan of one test."""

    scenario: ClassVar[dict] = {}

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('what', valid_type=orm.Dict)
        spec.outline(cls.act)
        spec.outputs.dynamic = True

    @classmethod
    def planted(cls, **what):
        builder = cls.get_builder()
        builder.what = orm.Dict(what)
        return builder


class StubCommittee(StubBase):
    """Two potentials and their errors."""

    @classmethod
    def get_builder_from_protocol(cls, code, frames, *, n_models, protocol, overrides, options, label):
        assert overrides['gate'] is None
        cls.scenario['fits'].append(sorted(frames))
        return cls.planted(n_models=n_models)

    def act(self):
        if self.scenario.get('committee_fails'):
            return ExitCode(310, 'no model')
        for number in range(self.inputs.what['n_models']):
            error = {'force_meV_A': 90.0 - number, 'energy_meV_atom': 1.0}
            self.out(f'potentials.model_{number:02d}', PotentialData(MODEL, seed=number, test_rmse=error).store())
        self.out('results', orm.Dict({'numbers': []}).store())
        return None


class StubMd(StubBase):
    """A trajectory whose deviations, by generation, are those of the scenario."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.exit_code(EXPLODED, 'ERROR_LOST_ATOMS', message='atoms were lost')
        spec.exit_code(502, 'ERROR_NOT_FINITE', message='not finite')
        spec.exit_code(504, 'ERROR_TEMPERATURE_RUNAWAY', message='too hot')

    @classmethod
    def get_builder_from_protocol(cls, code, structure, plan, *, potential, committee, options):
        assert list(committee) == ['model_01']
        assert plan.stage_names == ['relax', 'explore']
        cls.scenario['seeds'].append(plan.seed)
        return cls.planted(run=len(cls.scenario['seeds']) - 1, n_frames=plan.stage_frames('explore'))

    def act(self):
        deviations, status = self.scenario['runs'][self.inputs.what['run']]
        if deviations:
            with tempfile.TemporaryDirectory() as folder:
                trajectory = rattled_trajectory(Path(folder) / 'run.h5', len(deviations)).store()
            self.out('trajectories.explore', trajectory)
            arrays = {'step': 10 * np.arange(len(deviations)), 'max_force_deviation_eV_A': np.array(deviations)}
            self.out('model_deviation.explore', orm.ArrayData(arrays).store())
        return ExitCode(status, 'atoms were lost' if status == EXPLODED else 'killed') if status else None


class StubLabel(StubBase):
    """All labelled, or none."""

    @classmethod
    def get_builder_from_protocol(cls, code, configurations, family, **_):
        return cls.planted(counts={name: node.n_frames for name, node in configurations.items()})

    def act(self):
        self.out('summary', orm.Dict({'counts': self.inputs.what['counts']}).store())
        if self.scenario.get('labelling_fails'):
            return ExitCode(310, 'no label')
        for name, count in self.inputs.what['counts'].items():
            self.out(f'frames.{name}', copper_frames(count).store())
        return None


def copper_frames(n_frames):
    """Frames with labels of zero: only their number matters."""
    with tempfile.TemporaryDirectory() as folder, FramesFile(Path(folder) / 'f.h5', 'w') as file:
        atoms = [copper(seed) for seed in range(n_frames)]
        block = FrameBlock.from_symbols(
            atoms[0].get_chemical_symbols(), positions=np.array([item.positions for item in atoms]),
            cells=np.array([item.cell.array for item in atoms]), energies=np.zeros(n_frames),
            forces=np.zeros((n_frames, len(atoms[0]), 3)),
        )  # fmt: skip
        file.describe('e_fr_energy', {'program': 'test'})
        file.append(block, {'label': 'test'})
        file.close()
        return FramesData.from_file(Path(folder) / 'f.h5')


PLANTED = {
    'trust': {'lower_eV_A': 0.1, 'upper_eV_A': 0.5, 'adaptive_fraction': None},
    'selection': {'max_configurations': 2},
    'stop': {'max_generations': 4, 'max_candidate_share': 0.2, 'max_failed_share': 0.5, 'generations_failed': 2},
    'exploration': {'timestep_ps': 0.002, 'frame_every_ps': 0.02, 'duration_growth': 1.0,
                    'conditions': [{'label': 'warm', 'temperature_K': 300, 'duration_ps': 0.06}]},
    'final': {'protocol': None},
}  # fmt: skip
LEARNING, CALM = ([0.05, 0.2, 0.3, 0.05], 0), ([0.05, 0.05, 0.05, 0.06], 0)


@pytest.fixture
def run_planted(aiida_profile, localhost, monkeypatch):
    """Run the workchain on a scenario: for each exploration run in order, the deviations and how it ends."""
    from aiida.engine import run_get_node

    from aiida_softclay.workflows import concurrent_learning, exploration_runs

    monkeypatch.setattr(concurrent_learning, 'FitCommitteeWorkChain', StubCommittee)
    monkeypatch.setattr(concurrent_learning, 'LabelWorkChain', StubLabel)
    monkeypatch.setattr(exploration_runs, 'MdWorkChain', StubMd)
    code = orm.InstalledCode(label='none', computer=localhost, filepath_executable='/bin/true').store()

    def run(*runs, overrides=None, **flags):
        StubBase.scenario.clear()
        StubBase.scenario.update(runs=runs, fits=[], seeds=[], **flags)
        builder = ConcurrentLearningWorkChain.get_builder_from_protocol(
            dict.fromkeys(('dp', 'lmp', 'vasp'), code), copper_frames(3), {'cu': orm.StructureData(ase=copper())},
            potential_family='none', overrides=recursive_merge(PLANTED, overrides or {}),
        )  # fmt: skip
        return run_get_node(builder).node

    return run


def test_learning_ends_when_few_candidates_are_left(run_planted):
    node = run_planted(LEARNING, LEARNING, CALM)
    assert node.is_finished_ok, node.exit_message
    records = [value.get_dict() for _, value in sorted(node.outputs.generations.items())]
    assert [record['decision'] for record in records] == ['learning', 'learning', 'converged']
    assert [record['n_labelled'] for record in records] == [2, 2, 0]
    assert [record['n_frames_before'] for record in records] == [3, 5, 7]
    assert StubBase.scenario['fits'] == [
        ['initial'], ['generation_000_cu', 'initial'], ['generation_000_cu', 'generation_001_cu', 'initial'],
    ]  # fmt: skip
    assert len(set(StubBase.scenario['seeds'])) == 3, 'every run draws its own velocities'
    assert set(node.outputs.frames) == {'initial', 'generation_000_cu', 'generation_001_cu'}
    # Without a final fit the best member is the potential.
    assert node.outputs.potential.test_rmse['force_meV_A'] == 89.0
    results = node.outputs.results.get_dict()
    check_results(results)
    assert results['context']['decision'] == 'converged'
    assert len({record['group'] for record in records}) == 3


def test_convergence_may_be_asked_for_twice_and_the_committee_is_not_fitted_again(run_planted):
    node = run_planted(CALM, CALM, overrides={'stop': {'generations_below': 2}})
    assert node.is_finished_ok, node.exit_message
    assert len(node.outputs.generations) == 2
    # The one generation that only had frame shares below the limit labels nothing: nothing new to learn.
    assert StubBase.scenario['fits'] == [['initial']]


def test_the_limit_of_generations_is_a_warning_with_everything_attached(run_planted):
    node = run_planted(LEARNING, LEARNING, overrides={'stop': {'max_generations': 2}})
    assert node.exit_status == 710
    assert 'not converged after 2 generations: 50.0% of the configurations are still candidates' in node.exit_message
    assert set(node.outputs) == {'potential', 'potentials', 'frames', 'generations', 'results'}


def test_an_explosion_is_learned_from(run_planted):
    node = run_planted(([0.05, 0.3, 0.9], EXPLODED), CALM)
    assert node.is_finished_ok, node.exit_message
    record = node.outputs.generations.generation_000.get_dict()
    assert record['runs']['cu_warm']['failure'] == 'atoms were lost'
    assert record['shares'] == {'accurate': 0.25, 'candidate': 0.25, 'failed': 0.5}
    assert [place['frame'] for place in record['selected']['cu']] == [1]


def test_what_explodes_again_and_again_is_given_up(run_planted):
    node = run_planted(([0.3, 0.9], EXPLODED), ([0.3, 0.9], EXPLODED))
    assert node.exit_status == 510
    assert '75% of the configurations failed' in node.exit_message
    assert [value['decision'] for _, value in sorted(node.outputs.generations.items())] == ['learning', 'diverged']
    assert 'results' in node.outputs
    assert 'generation_000_cu' in node.outputs.frames


def test_nothing_to_learn_from_is_given_up_at_once(run_planted):
    node = run_planted(([], EXPLODED))
    assert node.exit_status == 510
    assert '100% of the configurations failed' in node.exit_message


@pytest.mark.parametrize(
    ('runs', 'flags', 'status', 'says'),
    [
        ([LEARNING], {'committee_fails': True}, 401, 'generation 0: the committee failed: no model'),
        ([([], KILLED)], {}, 402, 'generation 0: no run explored: cu_warm (killed)'),
        ([LEARNING], {'labelling_fails': True}, 404, 'generation 0: nothing was labelled: no label'),
    ],
)
def test_a_stage_that_fails_is_named(run_planted, runs, flags, status, says):
    node = run_planted(*runs, **flags)
    assert (node.exit_status, node.exit_message) == (status, says)
    assert 'initial' in node.outputs.frames


def test_a_run_that_was_lost_keeps_learning_from_being_called_converged(run_planted):
    conditions = [
        {'label': 'warm', 'temperature_K': 300, 'duration_ps': 0.06},
        {'label': 'hot', 'temperature_K': 900, 'duration_ps': 0.06},
    ]
    node = run_planted(
        CALM, ([], KILLED), CALM, CALM, overrides={'exploration': {'conditions': conditions}}
    )  # fmt: skip
    assert node.is_finished_ok, node.exit_message
    records = [value.get_dict() for _, value in sorted(node.outputs.generations.items())]
    assert [record['decision'] for record in records] == ['learning', 'converged']
    assert len(records[0]['incomplete']) == 1


# ---- inputs ---------------------------------------------------------------------------------------------------------
def test_protocols_are_documented_leaf_by_leaf():
    described = set(ConcurrentLearningWorkChain.get_protocol_descriptions())
    for protocol in ConcurrentLearningWorkChain.get_available_protocols():
        values = ConcurrentLearningWorkChain.get_protocol_inputs(protocol)
        assert set(leaves(values)) - described == {
            leaf for leaf in leaves(values) if leaf.startswith(('committee.overrides.', 'final.overrides.'))
        }
        assert parameters_problem(values) is None, protocol


def test_the_protocols_of_the_stages_exist():
    for protocol in ConcurrentLearningWorkChain.get_available_protocols():
        values = ConcurrentLearningWorkChain.get_protocol_inputs(protocol)
        for stage, process in (
            ('committee', FitCommitteeWorkChain), ('final', FitPotentialWorkChain), ('label', LabelWorkChain)
        ):  # fmt: skip
            process.get_protocol_inputs(values[stage]['protocol'], values[stage]['overrides'])


def test_plans_of_the_conditions():
    exploration = {'timestep_ps': 0.002, 'frame_every_ps': 0.1, 'coupling': 'iso', 'tdamp_ps': 0.1, 'pdamp_ps': 0.5,
                   'duration_growth': 2.0}  # fmt: skip
    plan = exploration_plan(exploration, {'temperature_K': 900, 'duration_ps': 1, 'pressure_GPa': 0.5}, 1, 7)
    stage = plan.stages[0]
    assert (stage.kind, stage.duration_ps, stage.coupling, plan.seed) == ('npt', 2.0, 'iso', 7)
    assert stage.stress == {'xx': -0.5, 'yy': -0.5, 'zz': -0.5, 'yz': 0, 'xz': 0, 'xy': 0}
    assert (plan.stage_dump_every(stage), plan.n_frames) == (50, 21)
    sheared = exploration_plan(
        exploration, {'temperature_K': 300, 'duration_ps': 1, 'shear_rate_per_ps': 0.1, 'shear_component': 'xy'}, 0, 1
    ).stages[0]
    assert (sheared.kind, sheared.component, sheared.rate_per_ps) == ('deform', 'xy', 0.1)
    assert exploration_plan(exploration, {'temperature_K': 300, 'duration_ps': 1}, 0, 1).stages[0].kind == 'nvt'
    assert run_names(['b', 'a'], [{'label': 'x'}, {'label': 'y'}]) == {
        'a_x': ('a', 'x'), 'a_y': ('a', 'y'), 'b_x': ('b', 'x'), 'b_y': ('b', 'y')
    }  # fmt: skip


def test_a_built_structure_is_relaxed_before_it_is_explored():
    exploration = {'timestep_ps': 0.002, 'frame_every_ps': 0.1, 'coupling': 'iso', 'tdamp_ps': 0.1, 'pdamp_ps': 0.5,
                   'relaxation_steps': 40}  # fmt: skip
    plan = exploration_plan(exploration, {'temperature_K': 300, 'duration_ps': 1}, 0, 1)
    assert [(stage.name, stage.kind) for stage in plan.stages] == [('relax', 'minimise'), ('explore', 'nvt')]
    assert (plan.stages[0].max_steps, plan.stages[0].relax_cell) == (40, 'none')
    # The frames that are judged, and the steps by which their deviations are found, are those of the exploration alone.
    assert (plan.stage_frames('explore'), plan.start_step('explore')) == (11, 0)


HOT = {'label': 'hot', 'temperature_K': 900, 'duration_ps': 1.0}


@pytest.mark.parametrize(
    ('overrides', 'says'),
    [
        ({'trust': {'lower_eV_A': 2.0}}, 'trust: trust levels of 2 and 1.5 eV/Å'),
        ({'trust': {'adaptive_fraction': 0.05}}, 'is not above stop.max_candidate_share'),
        ({'trust': {'adaptive_fraction': 2}}, 'give a share above 0'),
        ({'committee': {'n_models': 1}}, 'committee.n_models is 1: give a whole number of at least 2'),
        ({'selection': {'max_configurations': 0}}, 'selection.max_configurations is 0'),
        ({'selection': {'max_volume_ratio': 1.0}}, 'selection.max_volume_ratio is 1.0: give a number above 1'),
        ({'selection': {'cutoff_A': 0}}, 'selection.cutoff_A must be a positive length'),
        ({'stop': {'max_failed_share': 0}}, 'stop.max_failed_share is 0'),
        ({'stop': {'max_generations': True}}, 'stop.max_generations is True'),
        ({'exploration': {'conditions': []}}, 'exploration.conditions is empty'),
        ({'exploration': {'relaxation_steps': -1}}, 'stage 1 (relax)'),
        ({'exploration': {'conditions': [{'label': 'a'}]}}, r'conditions[0] lacks duration_ps, temperature_K'),
        ({'exploration': {'conditions': [{**HOT, 'pressure': 1}]}}, 'has the unknown keys pressure'),
        ({'exploration': {'conditions': [HOT, HOT]}}, 'has a label twice'),
        ({'exploration': {'conditions': [{**HOT, 'label': 'a__b'}]}}, 'single underscores'),
        ({'exploration': {'conditions': [{**HOT, 'temperature_K': -5}]}}, 'condition hot: stage 2 (explore)'),
        ({'exploration': {'conditions': [{**HOT, 'pressure_GPa': 500}]}}, 'is beyond 100 GPa'),
        ({'exploration': {'conditions': [{**HOT, 'pressure_GPa': 1, 'shear_rate_per_ps': 0.1}]}}, 'both a shear rate'),
    ],
)
def test_parameters_that_cannot_work_are_refused_with_a_sentence(overrides, says):
    problem = parameters_problem(ConcurrentLearningWorkChain.get_protocol_inputs('demo', overrides))
    assert problem is not None
    assert says in problem


def test_inputs_that_contradict_each_other_are_refused(aiida_profile, localhost):
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    code = orm.InstalledCode(label='nothing', computer=localhost, filepath_executable='/bin/true').store()

    def submit(frames, structures):
        builder = ConcurrentLearningWorkChain.get_builder_from_protocol(
            dict.fromkeys(('dp', 'lmp', 'vasp'), code), frames, structures, potential_family='none'
        )
        instantiate_process(get_manager().get_runner(), builder)

    cell = orm.StructureData(ase=copper())
    with pytest.raises(ValueError, match='structure al has Al, of which no labelled frame tells anything'):
        submit(copper_frames(2), {'al': orm.StructureData(ase=bulk('Al', 'fcc', a=4.05, cubic=True))})
    with pytest.raises(ValueError, match='frames cannot be called generation_0'):
        submit({'generation_0': copper_frames(2)}, {'cu': cell})
    with pytest.raises(ValueError, match='at least one node of labelled frames'):
        submit(copper_frames(2), {})
    with pytest.raises(ProtocolError, match='unknown override'):
        ConcurrentLearningWorkChain.get_protocol_inputs('demo', {'trust': {'low': 1}})
