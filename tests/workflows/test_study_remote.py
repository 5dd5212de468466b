"""A study whose glass stayed on the computer: its exchange of anions, and what the experiments are told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from glass_samples import SMALL, born_mayer

from aiida_softclay.calcfunctions.structure_analysis import analyse_anion_exchange, exchange_parameters
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.workflows.amorphous import AmorphousWorkChain
from aiida_softclay.workflows.study import StudyWorkChain

MIXTURE = '2LiCl-GaF3'


@pytest.fixture
def codes(localhost, lmp_code):
    """Codes of the engines, of which LAMMPS alone is run, and the program of analyses."""
    made = {
        name: orm.InstalledCode(label=name, computer=localhost, filepath_executable=f'/opt/{name}').store()
        for name in ('vasp', 'dp')
    }
    program = Path(sys.executable).parent / 'softclay-analyse'
    analyse = orm.InstalledCode(
        label='analyse', computer=localhost, filepath_executable=str(program), with_mpi=False,
        default_calc_job_plugin='softclay.analysis', prepend_text='export OMP_NUM_THREADS=1\n',
    ).store()  # fmt: skip
    return {**made, 'lmp': lmp_code}, analyse


def study_builder(codes, **changes):
    return StudyWorkChain.get_builder_from_protocol(
        codes, MIXTURE, potential_family='placeholders', protocol='demo', **changes
    )


def problem_of(builder):
    found = builder.process_class.spec().inputs.validate(builder._inputs(prune=True))
    return found and found.message


class StudyOfGlass(StudyWorkChain):
    """The part of the study from its glass to its experiments."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('glass', valid_type=orm.Int)
        spec.outline(
            cls.setup, cls.take_glass, cls.inspect_amorphous, cls.analyse_structure, cls.inspect_structure, cls.prepare
        )

    def take_glass(self):
        self.ctx.amorphous = orm.load_node(self.inputs.glass.value)
        self.ctx.potential = None

    def prepare(self):
        self.out('results', self.ctx.stages['amorphous'])
        for name in ('conductivity', 'stress_pulse', 'constant_strain'):
            builder = self.build_branch(name)
            assert builder.analysis_code.uuid == self.inputs.analysis_code.uuid
            assert builder.max_retrieved_bytes.value == 0
            assert builder.dump_stash.value == self.inputs.dump_stash.value


@pytest.mark.engine
def test_a_study_reads_the_melt_where_it_is(aiida_profile_clean, codes, tmp_path):
    engines, analyse = codes
    remote = {'analysis_code': analyse, 'max_retrieved_bytes': 0, 'dump_stash': str(tmp_path / 'kept')}
    builder = AmorphousWorkChain.get_builder_from_protocol(
        engines['lmp'], MIXTURE, classical={'pair_lines': born_mayer(('Li', 'F', 'Cl', 'Ga'))}, overrides=SMALL,
        **remote,
    )  # fmt: skip
    _, glass = run_get_node(builder)
    assert glass.is_finished_ok, glass.exit_message
    assert 'trajectories' not in glass.outputs
    assert {'melt', 'equilibrate'} <= set(glass.outputs.remote_trajectories)
    melt = Path(glass.outputs.stashed_trajectories.melt.target_basepath) / 'melt.h5'

    builder = study_builder(engines, **remote)
    _, study = run_get_node(StudyOfGlass, **{**builder._inputs(prune=True), 'glass': orm.Int(glass.pk)})
    assert study.is_finished_ok, study.exit_message
    found = study.outputs.stages.exchange
    assert found.creator.process_label == 'AnalysisCalculation'
    parameters = {**exchange_parameters(MIXTURE), 'context': found['context']}
    wanted = analyse_anion_exchange(MdTrajectoryData.from_file(melt), orm.Dict(parameters))
    rows = {row['name']: (row['value'], row['error']) for row in wanted['results']['numbers']}
    assert {row['name']: (row['value'], row['error']) for row in found['numbers']} == rows
    assert 'anion_exchange.after' in rows
    curve = study.outputs.pair_distributions
    assert set(curve.get_arraynames()) == set(wanted['curve'].get_arraynames())


def test_a_study_whose_conductivity_nothing_would_read_is_refused(aiida_profile_clean, codes, aiida_computer_local):
    engines, analyse = codes
    assert problem_of(study_builder(engines)) is None
    builder = study_builder(engines, max_retrieved_bytes=1000)
    message = problem_of(builder)
    assert 'the raw dumps of conductivity with about' in message
    assert 'Give analysis_code' in message
    builder.analysis_code = analyse
    assert problem_of(builder) is None
    # A tenth of the frames of a quarter of the atoms.
    builder = study_builder(engines, max_retrieved_bytes=2_000_000)
    assert 'conductivity' in problem_of(builder)
    builder = study_builder(
        engines, max_retrieved_bytes=2_000_000, overrides={'conductivity': {'overrides': {'dump_every': 100}}}
    )
    assert problem_of(builder) is None
    elsewhere = orm.InstalledCode(
        label='analyse', computer=aiida_computer_local(label='elsewhere'), filepath_executable='/bin/true'
    ).store()
    assert 'the job would run on elsewhere' in problem_of(study_builder(engines, analysis_code=elsewhere))
    with pytest.raises(TypeError, match='unknown argument analysis_cod: known are'):
        study_builder(engines, analysis_cod=analyse)
