"""The model deviation of a committee in real LAMMPS runs, against DeePMD-kit's own program on the same frames."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_softclay.calculations.lammps import LammpsMdCalculation
from aiida_softclay.calculations.lammps_committee import committee_problem, others_of, written_every
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.workflows.md import MdWorkChain

FIXTURES = Path(__file__).parent / 'fixtures'
#: The second stage starts at step 35, and its frames lie at 35, 45, …: no multiples of their stride.
PLAN = {
    'timestep_ps': 0.001, 'seed': 3, 'thermo_every': 10, 'dump_every': 10, 'restart_every': 25,
    'stages': [
        {'name': 'heat', 'kind': 'nvt', 'duration_ps': 0.035, 'temperature_K': 300},
        {'name': 'relax', 'kind': 'minimise', 'relax_cell': 'iso', 'max_steps': 40, 'max_rounds': 2},
        {'name': 'fly', 'kind': 'nve', 'duration_ps': 0.06, 'temperature_K': 300},
    ],
}  # fmt: skip


@pytest.fixture
def models(aiida_profile):
    """Two models of lithium chloride trained for some hundred steps: they differ as bad models do."""
    from aiida_softclay.data.potential import PotentialData

    names = ('md_lithium_chloride.pb', 'md_lithium_chloride_other.pb')
    return [PotentialData(file=FIXTURES / name, type_map=['Li', 'Cl']).store() for name in names]


def salt() -> orm.StructureData:
    atoms = bulk('LiCl', 'rocksalt', a=5.13, cubic=True)
    atoms.rattle(0.05, seed=2)
    # Neither grouped by element nor in the order of the models' types.
    return orm.StructureData(ase=atoms[[1, 0, 3, 2, 4, 6, 5, 7]])


def deviations_of_deepmd(dp_program: str, models: list, trajectories: list, folder: Path) -> np.ndarray:
    """Return the columns of ``dp model-devi`` for the frames of trajectories, shape (n_frames, 7 or more)."""
    system = folder / 'system'
    (system / 'set.000').mkdir(parents=True)
    positions, cells = [], []
    for trajectory in trajectories:
        with trajectory.open_trajectory() as opened:
            positions.append(opened.positions[:].astype(float).reshape(len(opened), -1))
            cells.append(opened.cells[:].reshape(len(opened), -1))
            types = [models[0].type_map.index(symbol) for symbol in opened.symbols]
    np.save(system / 'set.000' / 'coord.npy', np.concatenate(positions))
    np.save(system / 'set.000' / 'box.npy', np.concatenate(cells))
    (system / 'type.raw').write_text('\n'.join(map(str, types)))
    (system / 'type_map.raw').write_text('\n'.join(models[0].type_map))
    files = []
    for number, model in enumerate(models):
        files.append(folder / f'graph.{number:03d}.pb')
        files[-1].write_bytes(model.get_content(mode='rb'))
    command = [dp_program, '--tf', 'model-devi', '-m', *map(str, files), '-s', str(system), '-o', str(folder / 'out')]
    subprocess.run(command, check=True, capture_output=True)
    return np.loadtxt(folder / 'out', ndmin=2)


@pytest.mark.engine
def test_deviations_are_those_of_deepmd(models, lmp_code, dp_program, tmp_path):
    """Every frame has its deviation, also across stages and after a restart inside a stage."""
    builder = MdWorkChain.get_builder_from_protocol(lmp_code, salt(), PLAN, potential=models[0], committee=models)
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert set(node.outputs.model_deviation) == {'heat', 'fly'}
    deviations = [node.outputs.model_deviation[stage] for stage in ('heat', 'fly')]
    trajectories = [node.outputs.trajectories[stage] for stage in ('heat', 'fly')]
    for deviation, trajectory in zip(deviations, trajectories, strict=True):
        with trajectory.open_trajectory() as opened:
            np.testing.assert_array_equal(deviation.get_array('step'), opened.steps[:])
    reference = deviations_of_deepmd(dp_program, models, trajectories, tmp_path)
    names = ['max_virial_deviation_eV', 'min_virial_deviation_eV', 'avg_virial_deviation_eV',
             'max_force_deviation_eV_A', 'min_force_deviation_eV_A', 'avg_force_deviation_eV_A']  # fmt: skip
    for column, name in enumerate(names, start=1):
        found = np.concatenate([deviation.get_array(name) for deviation in deviations])
        # The stored positions are rounded to 0.001 Å; forces change by some eV/Å over one Å.
        np.testing.assert_allclose(found, reference[:, column], atol=3e-3, err_msg=name)
    assert deviation.base.attributes.get('units')['max_force_deviation_eV_A'] == 'eV/Å'
    assert node.outputs.statistics['committee'] == [models[1].uuid]

    # Another job goes on inside `fly`, in a folder of its own; what it computes is what the first one did.
    (first,) = node.called
    steps = {which: _restart_step(first, f'fly.{which}.restart') for which in 'ab'}
    which = min(steps, key=steps.get)
    resumed = LammpsMdCalculation.get_builder()
    resumed.code, resumed.structure, resumed.plan = lmp_code, first.inputs.structure, first.inputs.plan
    resumed.potential, resumed.committee = models[0], {'other': models[1]}
    resumed.resume = orm.Dict({'stage': 'fly', 'step': steps[which], 'within': True, 'file': f'fly.{which}.restart'})
    resumed.parent_folder = first.outputs.remote_folder
    resumed.max_model_deviation_eV_A = orm.Float(1e-3)
    _, again = run_get_node(resumed)
    assert again.exit_status == 503
    assert 'stage fly' in again.exit_message
    part, whole = again.outputs.model_deviation.fly, node.outputs.model_deviation.fly
    assert 35 < steps[which] <= part.get_array('step')[0]
    overlap = np.isin(whole.get_array('step'), part.get_array('step'))
    assert overlap.sum() == len(part.get_array('step')) > 0
    for name in ('step', 'max_force_deviation_eV_A'):
        np.testing.assert_allclose(whole.get_array(name)[overlap], part.get_array(name), rtol=1e-5)

    from aiida_softclay.calcfunctions.md import merge_deviations

    joined = merge_deviations(segment_0001=whole, segment_0002=part)
    np.testing.assert_array_equal(joined.get_array('step'), whole.get_array('step'))


@pytest.mark.engine
def test_a_job_whose_models_disagree_is_stopped_while_it_runs(models, lmp_code):
    """The models here disagree by far more than the limit, and the plan would take a hundred times as long."""
    plan = {**PLAN, 'stages': [{'name': 'fly', 'kind': 'nvt', 'duration_ps': 500.0, 'temperature_K': 300}]}
    builder = MdWorkChain.get_builder_from_protocol(
        lmp_code, salt(), plan, potential=models[0], committee=models, deviation_every=1,
        max_model_deviation_eV_A=1e-3, deviation_check_seconds=1,
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.exit_status == 503, node.exit_message
    assert 'stage fly' in node.exit_message
    (job,) = node.called
    assert job.exit_status == 503
    assert node.outputs.statistics['end_reason'] == 'model_deviation'
    assert 10 <= len(node.outputs.model_deviation.fly.get_array('step')) < 250_000
    assert node.outputs.trajectories.fly.n_frames >= 1


def _restart_step(calculation, name: str) -> int:
    from aiida_softclay.parsers.lammps_files import restart_step

    return restart_step(Path(calculation.outputs.remote_folder.get_remote_path()) / name)


def model(md5='a', type_map=('Li', 'Cl'), rcut=6.0):
    return SimpleNamespace(md5=md5, type_map=list(type_map), rcut=rcut, filename='graph.pb')


@pytest.mark.parametrize(
    ('inputs', 'words'),
    [
        ({'committee': {'b': model('b', ('Cl', 'Li'))}}, 'different orders, Li, Cl and Cl, Li'),
        ({'committee': {'b': model('b', rcut=7.0)}}, 'different cutoffs, 6 and 7 Å'),
        ({'committee': {'b': model('b'), 'c': model('b')}}, 'twice'),
        ({'committee': {'b': model('a')}}, 'twice, or is the potential itself'),
        ({'deviation_every': 10}, 'deviation_every without a committee'),
        ({'committee': {'b': model('b')}}, None),
    ],
)
def test_committees_that_do_not_fit(inputs, words):
    problem = committee_problem({'potential': model(), **inputs})
    assert problem is None if words is None else words in problem


def test_committee_of_a_classical_potential():
    assert 'needs a potential' in committee_problem({'committee': {'b': model('b')}})
    with pytest.raises(ValueError, match='needs a potential'):
        others_of([model()], None)


def test_the_driving_model_is_taken_out_of_the_committee():
    assert list(others_of([model('a'), model('b'), model('c')], model('b'))) == ['model_00', 'model_02']


def test_stride_of_the_file_meets_the_frames_of_every_stage():
    assert written_every(MdPlan.from_dict(PLAN), None) == 5
    assert written_every(MdPlan.from_dict(PLAN), 7) == 7
    assert written_every(MdPlan.from_dict({**PLAN, 'stages': PLAN['stages'][:1]}), None) == 10
