"""A training whose jobs end badly: what is continued, what is repeated, what is given up, and with which words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiida import orm
from aiida.common import AttributeDict, LinkType
from fit_samples import frames_of

from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain


@pytest.fixture
def chain(localhost):
    return make_chain(localhost)


def make_chain(localhost, frames=None, parent_folder=None):
    """Return a fit that has its data set; its jobs are made up, and what it submits is kept in ``submitted``."""
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    code = orm.InstalledCode(
        label='dp-none',
        computer=localhost,
        filepath_executable='/bin/true',
        default_calc_job_plugin='softclay.dp.train',
    ).store()
    frames = frames or {'training': frames_of('training', 4).store(), 'validation': frames_of('held out', 2).store()}
    builder = FitPotentialWorkChain.get_builder_from_protocol(
        code, prepared=frames, parent_folder=parent_folder,
        overrides={'max_iterations': 4, 'device': 'gpu', 'training_options': {'queue_name': 'gpu'}},
    )  # fmt: skip
    process = instantiate_process(get_manager().get_runner(), builder)
    process.setup()
    process.build_data_set()
    process.submitted = []

    def submit(builder):
        process.submitted.append(builder)
        node = orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:softclay.dp.train')
        node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
        for name in ('parameters', 'training_frames', 'backend'):
            data = builder[name]
            node.base.links.add_incoming(data if data.is_stored else data.store(), LinkType.INPUT_CALC, name)
        return node.store()

    process.submit = submit
    return process


def run_job(chain, status, checkpoint=None, step=None, **facts):
    """Let the chain submit a job that ends with an exit status; return what the chain does then."""
    problem = chain.run_training()
    if not isinstance(problem, dict):
        return problem
    node = problem['train']
    node.set_exit_status(status)
    node.set_exit_message(f'ended with {status}')
    node.set_process_state('finished')
    statistics = {
        'checkpoint': checkpoint and f'model.ckpt-{checkpoint}', 'checkpoint_step': checkpoint, 'last_step': step,
        'steps_planned': 6000, 'stopped_before_walltime': False, **facts,
    }  # fmt: skip
    outputs = {'remote_folder': orm.RemoteData(computer=node.computer, remote_path=f'/scratch/{node.pk}')}
    if status not in (300, 140, 100):
        outputs['statistics'] = orm.Dict(statistics)
    for name, data in outputs.items():
        data.base.links.add_incoming(node, LinkType.CREATE, name)
        data.store()
    chain.ctx.train = node
    return chain.inspect_training()


def starts(chain):
    return [builder.checkpoint.value if 'checkpoint' in builder else None for builder in chain.submitted]


def test_a_cut_training_goes_on_from_each_new_checkpoint_with_the_same_number_of_steps(chain):
    assert run_job(chain, 400, checkpoint=1000, step=1700) is None
    assert run_job(chain, 400, checkpoint=3000, step=3100) is None
    assert run_job(chain, 0, checkpoint=6000, step=6000) is None
    assert not chain.should_train()
    assert starts(chain) == [None, 'model.ckpt-1000', 'model.ckpt-3000']
    assert {builder.parameters['training']['numb_steps'] for builder in chain.submitted} == {6000}
    assert chain.outputs['remote_folder'].get_remote_path().endswith(str(chain.ctx.train.pk))


def test_training_jobs_have_options_and_device_of_their_own(chain):
    run_job(chain, 0, checkpoint=6000, step=6000)
    builder = chain.submitted[0]
    assert builder.metadata.options['queue_name'] == 'gpu'
    assert builder.device.value == 'gpu'


@pytest.mark.parametrize(('status', 'facts'), [(401, {'step': 0}), (300, {}), (140, {})])
def test_a_first_job_that_leaves_no_checkpoint_is_repeated_once(chain, status, facts):
    assert run_job(chain, status, **facts) is None
    assert run_job(chain, status, **facts).status == 401
    assert starts(chain) == [None, None]


def test_a_lost_job_in_between_is_repeated_from_the_same_checkpoint(chain):
    run_job(chain, 400, checkpoint=1000, step=1700)
    assert run_job(chain, 300) is None
    # It has got further since, so that the next loss is a new accident.
    assert run_job(chain, 400, checkpoint=2000, step=2500) is None
    assert run_job(chain, 400, checkpoint=2000, step=2200).status == 400
    assert starts(chain) == [None, 'model.ckpt-1000', 'model.ckpt-1000', 'model.ckpt-2000']


def test_a_job_that_never_reaches_its_next_checkpoint_is_given_up(chain):
    run_job(chain, 400, checkpoint=1000, step=1700)
    assert run_job(chain, 400, checkpoint=1000, step=1800) is None
    exit_code = run_job(chain, 400, checkpoint=1000, step=1800)
    assert exit_code.status == 401
    assert 'step 1000' in exit_code.message


def test_a_wall_time_shorter_than_the_way_to_a_checkpoint_makes_checkpoints_denser(chain):
    assert run_job(chain, 401, step=600, stopped_before_walltime=True) is None
    run_job(chain, 400, checkpoint=400, step=590)
    assert [builder.parameters['training']['save_freq'] for builder in chain.submitted] == [1000, 200]
    assert chain.submitted[1].parameters['training']['numb_steps'] == 6000


def test_an_emptied_folder_sends_the_training_back_to_the_checkpoint_before(chain):
    run_job(chain, 400, checkpoint=1000, step=1700)
    run_job(chain, 400, checkpoint=2000, step=2700)
    assert run_job(chain, 303) is None
    assert chain.should_train()
    problem = chain.run_training()
    assert 'train' in problem
    assert starts(chain)[-1] == 'model.ckpt-1000'


def test_jobs_are_counted(chain):
    for number in range(1, 4):
        assert run_job(chain, 400, checkpoint=1000 * number, step=1000 * number + 1) is None
    exit_code = run_job(chain, 400, checkpoint=4000, step=4500)
    assert exit_code.status == 400
    assert 'step 4500 of 6000 after 4 jobs' in exit_code.message
    # Where to go on from.
    assert chain.outputs['remote_folder'].get_remote_path().endswith(str(chain.ctx.train.pk))


@pytest.mark.parametrize(
    ('status', 'ours'), [(500, 500), (410, 410), (411, 410), (220, 221), (310, 310), (210, 310), (302, 310)]
)
def test_what_would_happen_again_is_not_repeated(chain, status, ours):
    exit_code = run_job(chain, status, step=10)
    assert exit_code.status == ours
    assert f'ended with {status}' in exit_code.message
    assert len(chain.submitted) == 1
    assert 'training' in chain.outputs


def test_the_rest_of_a_fit_does_not_ask_for_a_gpu(chain):
    from aiida_softclay.calculations.dp_freeze import DpFreezeCalculation

    builder = chain._builder(DpFreezeCalculation, 'freeze')
    assert 'device' not in builder
    assert 'queue_name' not in builder.metadata.options
    chain.ctx.parameters = AttributeDict(dict(chain.ctx.parameters) | {'device': 'cpu'})
    assert chain._builder(DpFreezeCalculation, 'freeze').device.value == 'cpu'


def test_a_fit_that_ran_out_of_jobs_is_gone_on_with_in_another(chain, localhost):
    for number in range(1, 5):
        run_job(chain, 400, checkpoint=1000 * number, step=1000 * number + 1)
    frames = {name: chain.inputs.prepared[name] for name in ('training', 'validation')}
    folder = chain.outputs['remote_folder']
    second = make_chain(localhost, frames, folder)
    assert run_job(second, 400, checkpoint=5000, step=5100) is None
    assert run_job(second, 0, checkpoint=6000, step=6000) is None
    assert starts(second) == ['model.ckpt-4000', 'model.ckpt-5000']
    assert second.submitted[0].parent_folder.uuid == folder.uuid
    # The copy of the given checkpoint is no progress, and a folder without it cannot be gone on from.
    third = make_chain(localhost, frames, folder)
    assert run_job(third, 400, checkpoint=4000, step=4100) is None
    assert run_job(third, 400, checkpoint=4000, step=4100).status == 401
    assert run_job(make_chain(localhost, frames, folder), 303).status == 221
    # Other frames would be another training.
    other = {'training': frames_of('other frames', 4).store(), 'validation': frames['validation']}
    assert 'on other frames' in run_job(make_chain(localhost, other, folder), 0).message


@pytest.mark.parametrize(('status', 'ours'), [(510, 501), (303, 312), (310, 312)])
def test_a_compressed_model_that_is_another_is_physics_not_an_accident(chain, status, ours):
    chain.ctx.compress = SimpleNamespace(
        exit_status=status, is_finished_ok=False, exit_message='compression changed a force by 1 eV/Å'
    )
    exit_code = chain.inspect_compress()
    assert exit_code.status == ours
    assert 'changed a force' in exit_code.message


def test_what_a_training_remembers_survives_a_restart_of_the_daemon(chain):
    from aiida.orm.utils.serialize import deserialize_unsafe, serialize

    run_job(chain, 400, checkpoint=1000, step=1700)
    run_job(chain, 400, checkpoint=2000, step=2700)
    restored = deserialize_unsafe(serialize(chain.ctx))
    assert [node.uuid for node in restored.parents] == [node.uuid for node in chain.ctx.parents]
    assert (restored.checkpoint_step, restored.jobs, restored.frames.training.uuid) == (
        2000, 2, chain.inputs.prepared.training.uuid,
    )  # fmt: skip
