"""Fit a potential with the real dp: cut once and continued, compressed, tested, judged; and what is refused before."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.common import AttributeDict
from ase.build import bulk
from ase.calculators.lj import LennardJones

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain, complete_parameters, parameters_problem
from aiida_softclay.workflows.protocol import ProtocolError, leaves

STEPS = 300
#: A network so small that a step takes a millisecond.
TINY = {
    'deepmd': {
        'model': {
            'descriptor': {'rcut': 4.0, 'rcut_smth': 1.0, 'neuron': [4, 8], 'axis_neuron': 4, 'precision': 'float64'},
            'fitting_net': {'neuron': [8, 8], 'precision': 'float64'},
        },
        'training': {'numb_steps': STEPS, 'disp_freq': 10, 'save_freq': 50},
    },
    'compression': {'n_frames': 3},
    # Three hundred steps show that the chain works, not how good a potential can be.
    'gate': {'rmse_energy_meV_atom': 5000, 'rmse_force_meV_A': 5000},
}


def lennard_jones_frames(path, n_frames=30):
    """Rattled and strained rock salt with the labels of a Lennard-Jones crystal, as frames."""
    from aiida_softclay.data.frames import FramesData
    from aiida_softclay.data.frames_file import FrameBlock, FramesFile

    rng = np.random.default_rng(5)
    crystal = bulk('LiCl', 'rocksalt', a=5.1, cubic=True)
    images = []
    for seed in range(n_frames):
        atoms = crystal.copy()
        atoms.set_cell(atoms.cell * (1 + 0.02 * rng.normal()), scale_atoms=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = LennardJones(epsilon=0.05, sigma=2.4, rc=6.0, smooth=True)
        images.append(atoms)
    block = FrameBlock.from_symbols(
        crystal.get_chemical_symbols(),
        positions=np.array([atoms.positions for atoms in images]),
        cells=np.array([atoms.cell.array for atoms in images]),
        energies=np.array([atoms.get_potential_energy() for atoms in images]),
        forces=np.array([atoms.get_forces() for atoms in images]),
        virials=np.array([-atoms.get_stress(voigt=False) * atoms.get_volume() for atoms in images]),
    )
    with FramesFile(path, 'w') as file:
        file.describe('e_fr_energy', {'program': 'ASE Lennard-Jones'})
        file.append(block, {'label': 'rattled'})
    return FramesData.from_file(path)


@pytest.fixture(scope='module')
def dp(aiida_profile, dp_program, tmp_path_factory):
    """A code of its own, since the fixtures of the other tests last for one test only."""
    work = tmp_path_factory.mktemp('fit')
    computer = orm.Computer(
        label='fit', hostname='localhost', transport_type='core.local', scheduler_type='core.direct',
        workdir=str(work / 'work'),
    ).store()  # fmt: skip
    computer.set_minimum_job_poll_interval(0.2)
    computer.configure(safe_interval=0.0)
    return orm.InstalledCode(
        label='dp-fit', computer=computer, filepath_executable=dp_program, default_calc_job_plugin='softclay.dp.train'
    ).store()


@pytest.fixture(scope='module')
def frames(aiida_profile, tmp_path_factory):
    return lennard_jones_frames(tmp_path_factory.mktemp('frames') / 'frames.h5').store()


@pytest.fixture(scope='module')
def fit(dp, frames, tmp_path_factory):
    """A real fit whose first training job is killed after its second checkpoint."""
    from aiida.engine import run_get_node

    mark = tmp_path_factory.mktemp('mark') / 'killed'
    killer = (
        f'[ -e {mark} ] || ( while kill -0 $$; do sleep 0.1; '
        f'if grep -qs model.ckpt-100 checkpoint && grep -qs "^ *120 " lcurve.out; then touch {mark}; '
        'pkill -KILL -P $$ dp; break; fi; done ) > /dev/null 2>&1 &'
    )
    builder = FitPotentialWorkChain.get_builder_from_protocol(
        dp, frames, protocol='demo', overrides=TINY, options={'prepend_text': killer, 'max_wallclock_seconds': 600}
    )
    return run_get_node(builder).node


pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.mark.engine
def test_a_killed_training_is_continued_to_one_learning_curve(fit):
    assert fit.is_finished_ok, fit.exit_message
    jobs = [node for node in fit.called if node.process_type.endswith('softclay.dp.train')]
    assert [job.exit_status for job in jobs] == [400, 0]
    assert 'continue from model.ckpt-' in jobs[0].exit_message
    resumed_from = jobs[0].outputs.statistics['checkpoint_step']
    assert 100 <= resumed_from < STEPS
    curve = fit.outputs.learning_curve
    assert curve.get_array('step').tolist() == list(range(0, STEPS + 1, 10))
    assert curve.base.attributes.get('n_restarts') == 1
    first = jobs[0].outputs.learning_curve
    kept = first.get_array('step') < resumed_from
    np.testing.assert_array_equal(
        curve.get_array('rmse_f_trn')[: kept.sum()], first.get_array('rmse_f_trn')[kept], strict=True
    )
    rate = curve.get_array('lr')
    assert (np.diff(rate) <= 0).all()
    assert curve.base.attributes.get('units')['rmse_f_trn'] == 'eV/Å'


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
    assert sum(sizes) == frames.n_frames


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
    assert process.outputs['potential'].test_rmse == fit.outputs.potential.test_rmse


@pytest.mark.engine
def test_a_model_may_have_more_elements_than_the_frames_but_not_fewer(dp, frames):
    builder = FitPotentialWorkChain.get_builder_from_protocol(
        dp, frames, overrides={'deepmd': {'model': {'type_map': ['Cl', 'Ga', 'Li']}}}
    )
    assert builder.parameters['deepmd']['model']['type_map'] == ['Cl', 'Ga', 'Li']
    with pytest.raises(ValueError, match=r'contain Cl, which deepmd\.model\.type_map'):
        refuse(dp, frames, deepmd={'model': {'type_map': ['Ga', 'Li']}})


def refuse(dp, frames, **overrides):
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    builder = FitPotentialWorkChain.get_builder_from_protocol(dp, frames, overrides=overrides)
    instantiate_process(get_manager().get_runner(), builder)


@pytest.mark.parametrize(
    ('overrides', 'says'),
    [
        ({'training_fraction': 1.0}, 'training_fraction is 1.0'),
        ({'training_fraction': 0.99}, '30 frames at a training_fraction of 0.99 leave none'),
        ({'n_frames': 1}, 'n_frames is 1'),
        ({'gate': {'rmse_energy_meV_atom': 0}}, 'gate.rmse_energy_meV_atom is 0'),
        ({'backend': 'caffe'}, 'unknown backend `caffe`'),
        ({'deepmd': {'model': {'descriptor': {'rcut': -1.0}}}}, 'deepmd: model.descriptor.rcut is -1.0'),
    ],
)
def test_inputs_that_cannot_work_are_refused_with_a_sentence(frames, overrides, says):
    parameters = complete_parameters(FitPotentialWorkChain.get_protocol_inputs('demo', overrides), frames)
    assert says in parameters_problem(parameters, frames.n_frames)


def test_protocols_are_documented_leaf_by_leaf():
    descriptions = FitPotentialWorkChain.get_protocol_descriptions()
    names = set()
    for protocol in FitPotentialWorkChain.get_available_protocols():
        names |= set(leaves(FitPotentialWorkChain.get_protocol_inputs(protocol)))
    assert names == set(descriptions)


def test_the_papers_protocol_is_that_of_the_paper():
    paper = FitPotentialWorkChain.get_protocol_inputs('paper')
    deepmd = paper['deepmd']
    assert (
        deepmd['model']['descriptor'] | {'rcut': 9.0, 'rcut_smth': 5.5, 'neuron': [24, 48, 96]}
        == (deepmd['model']['descriptor'])
    )
    assert deepmd['model']['fitting_net']['neuron'] == [240, 240, 240]
    assert deepmd['training']['numb_steps'] == 800_000
    assert deepmd['learning_rate']['decay_steps'] == 5000
    loss = deepmd['loss']
    assert (loss['start_pref_e'], loss['limit_pref_e'], loss['start_pref_f'], loss['limit_pref_f']) == (
        0.02,
        1,
        1000,
        1,
    )
    assert (paper['n_frames'], paper['training_fraction']) == (250_000, 0.8)


def test_unknown_overrides_are_refused_but_dp_has_its_own_words(frames):
    with pytest.raises(ProtocolError, match=r'unknown override `gate\.rmse_energy`'):
        FitPotentialWorkChain.get_protocol_inputs('demo', {'gate': {'rmse_energy': 1}})
    free = FitPotentialWorkChain.get_protocol_inputs(
        'demo', {'deepmd': {'training': {'change_bias_after_training': True}}}
    )
    assert free['deepmd']['training']['change_bias_after_training'] is True


def test_seeds_type_map_and_decay_are_completed(frames):
    parameters = complete_parameters(FitPotentialWorkChain.get_protocol_inputs('demo', {'seed': 10}), frames)
    model = parameters['deepmd']['model']
    assert model['type_map'] == ['Li', 'Cl']
    assert (model['descriptor']['seed'], model['fitting_net']['seed']) == (10, 11)
    assert parameters['deepmd']['training']['seed'] == 12
    steps = parameters['deepmd']['training']['numb_steps']
    assert parameters['deepmd']['learning_rate']['decay_steps'] == steps // 160
