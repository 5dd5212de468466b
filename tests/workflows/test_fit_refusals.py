"""What cannot be fitted is refused before a job is submitted; protocols say what they are."""

from __future__ import annotations

import pytest
from aiida import orm
from fit_samples import frames_of

from aiida_softclay.workflows.fit_committee import FitCommitteeWorkChain
from aiida_softclay.workflows.fit_parameters import named_frames
from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain, complete_parameters, parameters_problem
from aiida_softclay.workflows.protocol import ProtocolError, leaves

WORKCHAINS = [FitPotentialWorkChain, FitCommitteeWorkChain]


@pytest.fixture
def dp(localhost):
    return orm.InstalledCode(
        label='dp-none',
        computer=localhost,
        filepath_executable='/bin/true',
        default_calc_job_plugin='softclay.dp.train',
    ).store()


@pytest.fixture
def frames(aiida_profile):
    return frames_of('rattled', 30)


def start(builder):
    """Instantiate a process, which validates its inputs as a submission does, without running it."""
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    return instantiate_process(get_manager().get_runner(), builder)


def n_processes():
    return orm.QueryBuilder().append(orm.ProcessNode).count()


@pytest.mark.parametrize('process', WORKCHAINS)
@pytest.mark.parametrize(
    ('overrides', 'says'),
    [
        (
            {'deepmd': {'model': {'type_map': ['Ga', 'Li']}}},
            r'`all` contain Cl, which deepmd\.model\.type_map \(Ga, Li\)',
        ),
        ({'dataset': {'training_fraction': 1.0}}, r'dataset: training_fraction is 1\.0'),
        ({'dataset': {'training_fraction': 0}}, 'dataset: training_fraction is 0'),
        ({'dataset': {'training_fraction': 0.99}}, '30 frames at a training_fraction of 0.99 leave none'),
        ({'backend': 'caffe'}, 'unknown backend `caffe`: choose from tensorflow'),
        ({'backend': 'paddle'}, 'backend `paddle` cannot be used: its frozen model is two files'),
        ({'backend': 'dpmodel'}, 'runs models but does not train them'),
        ({'device': 'tpu'}, "device is 'tpu': choose cpu or gpu"),
    ],
)
def test_what_cannot_work_is_refused_at_submission(dp, frames, process, overrides, says):
    before = n_processes()
    with pytest.raises(ValueError, match=says):
        start(process.get_builder_from_protocol(dp, frames, overrides=overrides))
    assert n_processes() == before


@pytest.mark.parametrize(
    ('overrides', 'says'),
    [
        ({'dataset': {'n_frames': 1}}, 'n_frames is 1'),
        ({'dataset': {'max_force_eV_A': -1}}, 'max_force_eV_A is -1'),
        ({'gate': {'rmse_energy_meV_atom': 0}}, 'gate.rmse_energy_meV_atom is 0'),
        ({'gate': 'strict'}, "gate is 'strict'"),
        ({'max_iterations': 0}, 'max_iterations is 0'),
        ({'training_options': [1]}, 'training_options is [1]'),
        ({'deepmd': {'model': {'descriptor': {'rcut': -1.0}}}}, 'deepmd: model.descriptor.rcut is -1.0'),
    ],
)
def test_parameters_that_cannot_work_get_a_sentence(frames, overrides, says):
    parameters = complete_parameters(FitPotentialWorkChain.get_protocol_inputs('demo', overrides), frames)
    assert says in parameters_problem(parameters, frames.n_frames)


def test_no_gate_is_a_choice(frames):
    parameters = complete_parameters(FitPotentialWorkChain.get_protocol_inputs('demo', {'gate': None}), frames)
    assert parameters_problem(parameters) is None


def test_labels_of_two_energy_surfaces_are_refused(dp, frames):
    others = {
        'different engines': frames_of('other', 5, program='VASP'),
        'of different kinds': frames_of('other', 5, energy_kind='e_0_energy'),
    }
    for says, other in others.items():
        with pytest.raises(ValueError, match=says):
            start(FitPotentialWorkChain.get_builder_from_protocol(dp, {'one': frames, 'two': other}))


def test_a_data_set_is_drawn_or_prepared_but_not_both(dp, frames):
    other = frames_of('other', 5)
    cases = [
        ({'frames': frames, 'prepared': {'training': frames, 'validation': other}}, 'either frames'),
        ({'prepared': {'training': frames}}, 'has both, training and validation'),
        ({'prepared': {'training': frames, 'validation': frames}}, 'are the same'),
    ]
    for arguments, says in cases:
        with pytest.raises(ValueError, match=says):
            start(FitPotentialWorkChain.get_builder_from_protocol(dp, **arguments))
    builder = FitPotentialWorkChain.get_builder_from_protocol(dp, prepared={'training': frames, 'validation': other})
    assert builder.parameters['deepmd']['model']['type_map'] == ['Li', 'Cl']
    start(builder)


def test_names_of_frames_become_link_labels(frames):
    assert set(named_frames({'LiCl-GaF3 run__0': frames, 'parameters': frames})) == {
        'LiCl_GaF3_run_0', 'frames_parameters',
    }  # fmt: skip
    assert set(named_frames(frames)) == {'all'}
    with pytest.raises(ValueError, match='two sets of frames are called a_b'):
        named_frames({'a b': frames, 'a-b': frames})


def training_node(localhost, parameters, frames, backend='tensorflow'):
    """Return the folder of a training that is on record."""
    from aiida.common import LinkType

    node = orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:softclay.dp.train')
    node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
    inputs = {'parameters': orm.Dict(parameters), 'training_frames': frames, 'backend': orm.Str(backend)}
    for name, data in inputs.items():
        node.base.links.add_incoming(data if data.is_stored else data.store(), LinkType.INPUT_CALC, name)
    node.store()
    folder = orm.RemoteData(computer=localhost, remote_path='/scratch/parent')
    folder.base.links.add_incoming(node, LinkType.CREATE, 'remote_folder')
    return folder.store()


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'deepmd': {'model': {'type_map': ['Cl', 'Li']}}}, r"model\.type_map \(\['Cl', 'Li'\] there"),
        ({'deepmd': {'model': {'descriptor': {'neuron': [3, 6]}}}}, r'model\.descriptor\.neuron \(\[3, 6\] there'),
        ({'deepmd': {'training': {'numb_steps': 7000}}}, 'numb_steps'),
        ({'backend': 'pytorch'}, "backend \\('pytorch' there"),
        ({'deepmd': {'training': {'save_freq': 77}}}, None),
        ({'seed': 99}, None),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_at_submission(dp, localhost, frames, changes, says):
    theirs = complete_parameters(FitPotentialWorkChain.get_protocol_inputs('demo', changes), frames)
    folder = training_node(localhost, theirs['deepmd'], frames, theirs['backend'])
    builder = FitPotentialWorkChain.get_builder_from_protocol(dp, frames, parent_folder=folder)
    if says is None:
        start(builder)
        return
    with pytest.raises(ValueError, match=f'the checkpoint is of another training: .*{says}'):
        start(builder)


def test_a_committee_has_at_least_two_members(dp, frames):
    with pytest.raises(ValueError, match='at least two potentials'):
        start(FitCommitteeWorkChain.get_builder_from_protocol(dp, frames, n_models=1))


@pytest.mark.parametrize('process', WORKCHAINS)
def test_protocols_are_documented_leaf_by_leaf(process):
    descriptions = process.get_protocol_descriptions()
    names = set()
    for protocol in process.get_available_protocols():
        names |= set(leaves(process.get_protocol_inputs(protocol)))
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
    assert (paper['dataset']['n_frames'], paper['dataset']['training_fraction']) == (250_000, 0.8)
    you = FitPotentialWorkChain.get_protocol_inputs('you2025')
    total = you['dataset']['n_frames']
    assert (round(total * you['dataset']['training_fraction'], -2), total) == (50_000, 54_000)


def test_unknown_overrides_are_refused_but_dp_and_the_scheduler_have_their_own_words():
    with pytest.raises(ProtocolError, match=r'unknown override `gate\.rmse_energy`'):
        FitPotentialWorkChain.get_protocol_inputs('demo', {'gate': {'rmse_energy': 1}})
    free = FitPotentialWorkChain.get_protocol_inputs(
        'demo',
        {'deepmd': {'training': {'change_bias_after_training': True}}, 'training_options': {'queue_name': 'gpu'}},
    )
    assert free['deepmd']['training']['change_bias_after_training'] is True
    assert free['training_options'] == {'queue_name': 'gpu'}


def test_seeds_type_map_and_decay_are_completed(frames):
    parameters = complete_parameters(FitPotentialWorkChain.get_protocol_inputs('demo', {'seed': 10}), frames)
    model = parameters['deepmd']['model']
    assert model['type_map'] == ['Li', 'Cl']
    assert (model['descriptor']['seed'], model['fitting_net']['seed']) == (10, 11)
    assert parameters['deepmd']['training']['seed'] == 12
    steps = parameters['deepmd']['training']['numb_steps']
    assert parameters['deepmd']['learning_rate']['decay_steps'] == steps // 160


def test_options_of_the_protocol_come_under_those_of_the_launch(dp, frames):
    overrides = {'options': {'queue_name': 'normal', 'account': 'a'}, 'training_options': {'queue_name': 'gpu'}}
    builder = FitPotentialWorkChain.get_builder_from_protocol(
        dp, frames, overrides=overrides, options={'account': 'b', 'max_wallclock_seconds': 3600}
    )
    options = builder.options.get_dict()
    assert (options['queue_name'], options['account'], options['max_wallclock_seconds']) == ('normal', 'b', 3600)
