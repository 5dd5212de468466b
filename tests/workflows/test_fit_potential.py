"""Fit a potential with the real dp: cut twice and continued, compressed, tested, judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common import AttributeDict
from aiida.common.exceptions import ModificationNotAllowed
from fit_samples import TINY_MODEL, dp_code_in, frames_of

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain

STEPS = 1000
RATE = {'type': 'exp', 'start_lr': 5e-3, 'stop_lr': 1e-5, 'decay_steps': 70}
TINY = {
    'deepmd': {
        'model': TINY_MODEL,
        'learning_rate': RATE,
        'training': {'numb_steps': STEPS, 'disp_freq': 10, 'save_freq': 50},
    },
    'compression': {'n_frames': 3},
    # A thousand steps show that the chain works, not how good a potential can be.
    'gate': {'rmse_energy_meV_atom': 5000, 'rmse_force_meV_A': 5000},
}


@pytest.fixture(scope='module')
def dp(aiida_profile, dp_program, tmp_path_factory):
    """A code of its own, since the fixtures of the other tests last for one test only."""
    return dp_code_in(tmp_path_factory.mktemp('fit'), dp_program)


@pytest.fixture(scope='module')
def frames(aiida_profile):
    return {
        'rattled': frames_of('rattled', 20, 'hold').store(),
        'strained_more': frames_of('strained more', 10, 'cool').store(),
    }


@pytest.fixture(scope='module')
def marks(tmp_path_factory):
    return tmp_path_factory.mktemp('marks')


@pytest.fixture(scope='module')
def fit(dp, frames, marks):
    """A real fit whose training is killed by SIGKILL in its first job, and as by the wall time in its second."""
    from aiida.engine import run_get_node

    def killer(mark, checkpoint, row, how):
        return (
            f'[ -e {mark} ] || ( while kill -0 $$; do sleep 0.02; '
            f'if grep -qs model.ckpt-{checkpoint} checkpoint && grep -qs "^ *{row} " lcurve.out; then touch {mark}; '
            f'{how} -P $$ dp; break; fi; done ) > /dev/null 2>&1 &'
        )

    first, second = marks / 'first', marks / 'second'
    watched = 'echo "SOFTCLAY: stopped before the wall time, after 9 s" >> WALLTIME; pkill -TERM'
    script = '\n'.join(
        [
            f'if [ -e {first} ]; then',
            killer(second, 400, 430, watched),
            'else',
            killer(first, 100, 120, 'pkill -KILL'),
            'fi',
        ]
    )
    builder = FitPotentialWorkChain.get_builder_from_protocol(
        dp, frames, protocol='demo', overrides=TINY, options={'prepend_text': script, 'max_wallclock_seconds': 600}
    )
    return run_get_node(builder).node


@pytest.fixture(scope='module')
def uninterrupted(fit):
    """The same training in one job."""
    from aiida.engine import run_get_node

    from aiida_softclay.calculations.dp_train import DpTrainCalculation

    job = next(node for node in fit.called if node.process_type.endswith('softclay.dp.train'))
    builder = DpTrainCalculation.get_builder()
    for name in ('code', 'training_frames', 'validation_frames', 'parameters'):
        builder[name] = job.inputs[name]
    builder.metadata.options = {'prepend_text': 'export OMP_NUM_THREADS=1'}
    return run_get_node(builder).node


def jobs_of(fit, step):
    called = [node for node in fit.called if node.process_type.endswith(f'softclay.dp.{step}')]
    return sorted(called, key=lambda node: node.ctime)


pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.mark.engine
def test_a_training_killed_twice_is_continued_to_one_learning_curve(fit, uninterrupted):
    assert fit.is_finished_ok, fit.exit_message
    # A checkpoint that the signal caught half written is told (303), and the training goes on from the one before.
    jobs = [job for job in jobs_of(fit, 'train') if job.exit_status != 303]
    assert [job.exit_status for job in jobs] == [400, 400, 0]
    assert 'continue from model.ckpt-' in jobs[0].exit_message
    assert [job.outputs.statistics['stopped_before_walltime'] for job in jobs] == [False, True, False]
    starts = [job.outputs.statistics['checkpoint_step'] for job in jobs[:2]]
    assert 100 <= starts[0] < starts[1] < STEPS
    curve = fit.outputs.learning_curve
    assert curve.base.attributes.get('n_restarts') == 2
    assert curve.base.attributes.get('units')['rmse_f_trn'] == 'eV/Å'
    # No gap, no step twice, although the steps after each checkpoint were done twice.
    assert jobs[0].outputs.learning_curve.get_array('step')[-1] > starts[0]
    assert curve.get_array('step').tolist() == list(range(0, STEPS + 1, 10))
    for job, start in zip(jobs[:2], starts, strict=True):
        before = job.outputs.learning_curve
        kept = before.get_array('step') < start
        np.testing.assert_array_equal(
            curve.get_array('rmse_f_trn')[: kept.sum()], before.get_array('rmse_f_trn')[kept], strict=True
        )
    assert uninterrupted.is_finished_ok, uninterrupted.exit_message
    whole = uninterrupted.outputs.learning_curve
    for name in ('step', 'lr'):
        np.testing.assert_array_equal(curve.get_array(name), whole.get_array(name), strict=True)
    assert jobs[-1].outputs.statistics['last_step'] == uninterrupted.outputs.statistics['last_step'] == STEPS
    # Up to the first checkpoint it is the same training, number by number.
    alike = curve.get_array('step') < starts[0]
    np.testing.assert_array_equal(curve.get_array('rmse_trn')[alike], whole.get_array('rmse_trn')[alike])


@pytest.mark.engine
def test_the_learning_rate_is_the_schedule_over_all_jobs(fit):
    curve = fit.outputs.learning_curve
    # DeePMD-kit: lr = start (stop / start)^(s k / T), k = floor(t / s), s the decay steps, T all steps; it writes two
    # digits, while one decay is a factor of 0.65.
    step = curve.get_array('step')
    ratio = RATE['stop_lr'] / RATE['start_lr']

    def schedule(at):
        return RATE['start_lr'] * ratio ** (RATE['decay_steps'] * (at // RATE['decay_steps']) / STEPS)

    np.testing.assert_allclose(curve.get_array('lr'), schedule(step), rtol=0.05)
    assert {job.inputs.parameters['training']['numb_steps'] for job in jobs_of(fit, 'train')} == {STEPS}


@pytest.mark.engine
def test_frames_are_written_once_and_copied_on_the_computer(fit):
    jobs = jobs_of(fit, 'train')
    inputs = [json.loads(job.base.repository.get_object_content('input.json')) for job in jobs]
    assert inputs[0] == inputs[1] == inputs[2]
    arrays = []
    for job in jobs:
        root = Path(job.outputs.remote_folder.get_remote_path())
        arrays.append(np.load(root / inputs[0]['training']['training_data']['systems'][0] / 'set.000' / 'energy.npy'))
    assert len(arrays[0]) == 24
    assert all((array == arrays[0]).all() for array in arrays)


@pytest.mark.engine
def test_the_training_says_what_it_ran_with(fit):
    facts = fit.outputs.training.get_dict()
    assert facts['backend'] == 'TensorFlow'
    assert facts['deepmd_version'].startswith('3.')
    assert facts['intra_threads'] == 1
    # sel `auto:1.2`: the most neighbours in the data, a fifth more, rounded up to four.
    expected = [-(-int(1.2 * number) // 4) * 4 for number in facts['max_neighbours']]
    assert facts['sel'] == pytest.approx(expected, abs=4)
    assert all(chosen >= found for chosen, found in zip(facts['sel'], facts['max_neighbours'], strict=True))


@pytest.mark.engine
def test_the_potential_carries_its_facts_and_errors(fit, frames):
    potential = fit.outputs.potential
    assert (potential.type_map, potential.rcut, potential.model_backend) == (['Li', 'Cl'], 4.0, 'tensorflow')
    assert potential.compressed
    assert potential.version.startswith('3.')
    assert potential.seed == 3
    overall = fit.outputs.test.get_dict()['overall']
    assert potential.test_rmse['energy_meV_atom'] == overall['energy']['rmse']
    check_results(fit.outputs.results.get_dict())
    results = {row['name']: row for row in fit.outputs.results.get_dict()['numbers']}
    assert results['rmse_force']['unit'] == 'meV/Å'
    assert results['rmse_force']['error'] > 0
    assert fit.outputs.results.get_dict()['context']['labels']['program'] == 'ASE Lennard-Jones'
    sizes = [fit.outputs[name].n_frames for name in ('training_frames', 'validation_frames')]
    assert sizes == [24, 6]
    assert sum(sizes) == sum(node.n_frames for node in frames.values())
    assert fit.outputs.dataset.get_dict()['counts']['drawn'] == 30
    assert potential.passed_gate is True
    verdict = potential.verdict
    assert verdict['gate'] == TINY['gate']
    assert (verdict['n_training_frames'], verdict['n_test_frames'], verdict['training_steps']) == (24, 6, STEPS)
    assert verdict['training_labels'] == ['rattled', 'strained more']
    with pytest.raises(ModificationNotAllowed):
        potential.base.attributes.set('verdict', None)
    with pytest.raises(ModificationNotAllowed):
        potential.test_rmse = None


@pytest.mark.engine
def test_errors_are_told_by_structure_and_stage(fit):
    """Against the parity arrays and the origins in the frames themselves."""
    errors, details = fit.outputs.test.get_dict(), fit.outputs.test_details
    with fit.outputs.validation_frames.open_frames() as file:
        view = next(iter(file.blocks()))
        labels = np.array([file.sources[index]['label'] for index in view.source_index[:]])
    assert set(errors['labels']) == {'rattled', 'strained more'}
    assert [(row['label'], row['stage']) for row in errors['stages']] == [
        ('rattled', 'hold'), ('strained more', 'cool'),
    ]  # fmt: skip
    energy, force = (
        1000 * (details.get_array(f'{name}_predicted') - details.get_array(f'{name}_reference'))
        for name in ('energy', 'force')
    )
    force = force.reshape(len(labels), -1)
    numbers = {row['name']: row for row in fit.outputs.results.get_dict()['numbers']}
    for label, row in errors['labels'].items():
        mine = labels == label
        assert row['energy']['n_frames'] == mine.sum() > 0
        assert row['energy']['rmse'] == pytest.approx(np.sqrt((energy[mine] ** 2).mean()), rel=1e-6)
        assert row['force']['rmse'] == pytest.approx(np.sqrt((force[mine] ** 2).mean()), rel=1e-6)
        assert numbers[f'rmse_force.{label}']['value'] == row['force']['rmse']


@pytest.mark.engine
def test_the_errors_are_those_that_dp_itself_reports(fit):
    job = next(node for node in fit.called if node.process_type.endswith('softclay.dp.test'))
    log = job.outputs.retrieved.base.repository.get_object_content('dp_test.out')
    overall = fit.outputs.test.get_dict()['overall']
    for label, name in (('Energy {}/Natoms', 'energy'), ('Force  {}', 'force'), ('Virial {}/Natoms', 'virial')):
        for kind in ('RMSE', 'MAE'):
            title = label.format(kind).replace('MAE', 'MAE ') if '/' not in label else label.format(kind)
            line = next(row for row in log.splitlines() if title.strip() in row)
            assert overall[name][kind.lower()] == pytest.approx(1000 * float(line.split(':')[-1].split()[0]), rel=1e-3)


@pytest.mark.engine
def test_parity_arrays_hold_the_labels_of_the_test_frames(fit):
    details = fit.outputs.test_details
    with fit.outputs.validation_frames.open_frames() as file:
        view = next(iter(file.blocks()))
        energies, forces = view.energies[:] / view.n_atoms, view.forces[:].reshape(-1, 3)
    np.testing.assert_allclose(details.get_array('energy_reference'), energies, atol=1e-9)
    np.testing.assert_allclose(details.get_array('force_reference'), forces, atol=1e-6)
    difference = 1000 * (details.get_array('force_predicted') - forces)
    rmse = np.sqrt((difference**2).mean())
    assert fit.outputs.test.get_dict()['overall']['force']['rmse'] == pytest.approx(rmse, rel=1e-6)


@pytest.mark.engine
def test_compression_is_checked(fit):
    job = next(node for node in fit.called if node.process_type.endswith('softclay.dp.compress'))
    agreement = job.outputs.statistics['agreement']
    assert agreement['n_frames'] == 3
    assert 0 <= agreement['max_force_difference_eV_A'] < 1e-3
    assert 0 <= agreement['max_energy_difference_eV_atom'] < 1e-4
    assert 0 <= agreement['max_virial_difference_eV_atom'] < 1e-3


@pytest.mark.engine
def test_a_potential_that_misses_its_gate_is_refused_but_attached(fit):
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    builder = fit.get_builder_restart()
    builder.parameters = orm.Dict(
        fit.inputs.parameters.get_dict() | {'gate': {'rmse_energy_meV_atom': 1e-6, 'rmse_force_meV_A': 1e-6}}
    )
    process = instantiate_process(get_manager().get_runner(), builder)
    process.setup()
    process.ctx.test, process.ctx.train = (
        next(node for node in reversed(fit.called) if node.process_type.endswith(f'softclay.dp.{name}'))
        for name in ('test', 'train')
    )
    process.ctx.potential = process.ctx.test.inputs.potential
    names = ('training', 'validation')
    process.ctx.frames = AttributeDict({name: fit.outputs[f'{name}_frames'] for name in names})
    exit_code = process.assess()
    assert exit_code.status == 510
    assert 'meV/atom (limit 1e-06)' in exit_code.message
    assert 'meV/Å (limit 1e-06)' in exit_code.message
    refused = process.outputs['potential']
    assert refused.test_rmse == fit.outputs.potential.test_rmse
    assert refused.passed_gate is False
