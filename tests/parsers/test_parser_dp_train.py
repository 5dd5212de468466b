"""The parser of a training on captured outputs: every way a job can end has an exit code and no traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiida import orm

FIXTURES = Path(__file__).parent / 'fixtures'
PARAMETERS = {
    'model': {'type_map': ['Li', 'Cl'], 'descriptor': {'rcut': 4.0}, 'fitting_net': {}},
    'training': {'numb_steps': 100, 'seed': 3},
}


@pytest.fixture
def train(parse_dp):
    def run(situation, numb_steps=100, save_freq=100, more=None, **kwargs):
        parameters = PARAMETERS | {'training': {'numb_steps': numb_steps, 'save_freq': save_freq, 'seed': 3}}
        folder = FIXTURES / 'dp_train' / situation if situation else None
        return parse_dp('train', folder, {'parameters': orm.Dict(parameters), **(more or {})}, **kwargs)

    return run


def test_finished_training(train):
    results, process = train('finished')
    assert process.is_finished_ok
    facts = results['statistics'].get_dict()
    assert (facts['checkpoint'], facts['checkpoint_step'], facts['last_step']) == ('model.ckpt-100', 100, 100)
    assert len(facts['sel']) == 2
    assert results['learning_curve'].get_array('step')[-1] == 100


@pytest.mark.parametrize(
    ('situation', 'changes', 'status', 'says'),
    [
        ('killed', {}, 400, 'stopped at step 120 of 400; continue from model.ckpt-100'),
        ('killed', {'WALLTIME': 'SOFTCLAY: stopped before the wall time, after 9 s\n'}, 400, 'continue from'),
        ('killed', {'checkpoint': None}, 401, 'before its first checkpoint'),
        ('killed', {'checkpoint': ''}, 401, 'before its first checkpoint'),
        ('killed', {'lcurve.out': ''}, 400, 'continue from model.ckpt-100'),
        ('killed', {'checkpoint': None, 'lcurve.out': None}, 310, 'dp stopped'),
        ('refused_input', {}, 310, 'undefined key `nueron`'),
        ('not_a_number', {}, 500, 'diverged at step 10'),
        ('diverged', {}, 500, 'diverged at step 10'),
        ('restarted_twice', {}, 0, None),
        ('restarted_twice', {'lcurve.out': ''}, 301, 'it has no header'),
        ('restarted_twice', {'checkpoint': None}, 302, 'no checkpoint'),
        (None, {}, 300, 'left no output'),
    ],
)
def test_ways_a_training_ends(train, situation, changes, status, says):
    _, process = train(situation, numb_steps=400, changes=changes)
    assert process.exit_status == status, process.exit_message
    assert says is None or says in process.exit_message


def continued(train, changes, checkpoint='model.ckpt-40', files=None, **kwargs):
    """Parse a job that was to go on from a checkpoint."""
    return train(
        'killed', numb_steps=400, changes=changes, more={'checkpoint': orm.Str(checkpoint)}, own=files, **kwargs
    )


@pytest.mark.parametrize(
    ('situation', 'status', 'says'),
    [('other_model', 220, 'Assign requires shapes'), ('checkpoint_gone', 303, 'model.ckpt-40 is not in the parent')],
)
def test_a_checkpoint_that_dp_cannot_take(train, situation, status, says):
    """Real logs: networks of another size, and a folder without the checkpoint."""
    log = (FIXTURES / 'dp_train' / situation / 'dp_train.out').read_text()
    _, process = continued(train, {'dp_train.out': log})
    assert process.exit_status == status
    assert says in process.exit_message


def test_a_checkpoint_of_another_model_that_dp_takes_without_a_word(train):
    """The order of the type map changes no shape: dp finishes happily with Li and Cl exchanged."""

    def completed(type_map, sel=(12, 12)):
        model = {'type_map': type_map, 'descriptor': {'sel': list(sel), 'rcut': 4.0}, 'fitting_net': {}}
        return json.dumps({'model': model, 'learning_rate': {}, 'loss': {}, 'training': {'numb_steps': 100}})

    def run(theirs):
        return train('finished', changes={'out.json': completed(['Li', 'Cl']), 'parent_out.json': theirs})[1]

    swapped = run(completed(['Cl', 'Li']))
    assert swapped.exit_status == 220
    assert "model.type_map (['Cl', 'Li'] there, ['Li', 'Cl'] here)" in swapped.exit_message
    assert run(completed(['Li', 'Cl'], sel=(12, 16))).exit_status == 220
    for theirs in (completed(['Li', 'Cl']), '{"model": ', '', '[]'):
        assert run(theirs).exit_status == 0


def test_jobs_that_end_themselves_before_dp_starts_say_why(train):
    own = {'model.json': json.dumps({'model': {'type_map': ['Li', 'Cl']}})}
    refused = {
        'REFUSED': 'SOFTCLAY: model.json and parent_model.json differ\n',
        'parent_model.json': json.dumps({'model': {'type_map': ['Li', 'Br']}}), 'dp_train.out': None,
    }  # fmt: skip
    _, process = continued(train, refused, files=own)
    assert process.exit_status == 220
    assert "model.type_map (['Li', 'Br'] there, ['Li', 'Cl'] here)" in process.exit_message
    for broken in ({}, {'parent_model.json': '{"mod'}):
        assert continued(train, refused | broken, files=None if not broken else own)[1].exit_status == 220
    _, process = train(None, changes={'REFUSED': 'SOFTCLAY: no GPU on node7\n'})
    assert process.exit_status == 210
    assert 'no GPU on node7' in process.exit_message


def test_a_training_for_a_gpu_that_crawled_on_the_cpu_is_not_continued(train):
    """The log says `Computing Device: CPU:0`."""
    for situation, status in (('killed', 210), ('finished', 0)):
        _, process = train(situation, numb_steps=400, more={'device': orm.Str('gpu')})
        assert process.exit_status == status
    assert train('killed', numb_steps=400, more={'device': orm.Str('cpu')})[1].exit_status == 400
    gpu = (FIXTURES / 'dp_train' / 'killed' / 'dp_train.out').read_text().replace('CPU:0', 'GPU:0')
    _, process = train('killed', numb_steps=400, more={'device': orm.Str('gpu')}, changes={'dp_train.out': gpu})
    assert process.exit_status == 400


def test_a_node_that_failed_before_dp_wrote_anything_leaves_the_checkpoint_of_the_parent(train):
    _, process = continued(train, {'dp_train.out': None, 'out.json': None}, checkpoint='model.ckpt-100')
    assert process.exit_status == 400
    assert 'continue from model.ckpt-100' in process.exit_message


def test_memory_that_only_the_scheduler_saw(train):
    _, process = train('killed', numb_steps=400, scheduler_status=110)
    assert process.exit_status == 410
    assert 'the scheduler says so' in process.exit_message


def test_the_step_of_a_checkpoint_whose_name_does_not_tell(train):
    """JAX links its latest checkpoint under one name."""
    results, process = train('killed', numb_steps=400, changes={'checkpoint': 'model.ckpt.jax'}, save_freq=50)
    assert process.exit_status == 400
    assert results['statistics']['checkpoint_step'] == 100


@pytest.mark.parametrize('name', ['lcurve.out', 'checkpoint', 'out.json', 'dp_train.out', 'parent_out.json'])
def test_files_of_a_training_cut_anywhere_never_raise(train, name):
    content = (FIXTURES / 'dp_train' / 'killed' / name.removeprefix('parent_')).read_text()
    for part in (1, 3, 7, 9):
        _, process = train('killed', numb_steps=400, changes={name: content[: len(content) * part // 10]})
        assert process.exit_status in (220, 303, 400, 401, 310, 0), process.exit_message


def test_a_full_disk_is_named(train):
    results, process = train('killed', stderr='OSError: [Errno 28] No space left on device\n')
    assert process.exit_status == 411
    assert 'No space left' in process.exit_message
    assert 'learning_curve' in results


def test_out_of_memory(train):
    log = 'tensorflow: RESOURCE_EXHAUSTED: OOM when allocating tensor with shape[9]\n'
    assert train(None, changes={'dp_train.out': log})[1].exit_status == 410


def test_logs_cut_anywhere_never_raise(train):
    folder = FIXTURES / 'dp_train' / 'killed'
    log = (folder / 'dp_train.out').read_text()
    _, process = train('killed', changes={'dp_train.out': log[: len(log) // 3], 'out.json': '{"model": '})
    assert process.exit_status == 400
