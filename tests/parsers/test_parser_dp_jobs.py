"""The parsers of the DeePMD jobs on captured outputs: every way a job can end has an exit code and no traceback."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType

FIXTURES = Path(__file__).parent / 'fixtures'
PARAMETERS = {
    'model': {'type_map': ['Li', 'Cl'], 'descriptor': {'rcut': 4.0}, 'fitting_net': {}},
    'training': {'numb_steps': 100, 'seed': 3},
}


@pytest.fixture
def parse(aiida_profile, tmp_path):
    """Return a function that parses a folder of captured outputs as those of a job."""
    from aiida.plugins import ParserFactory

    def run(step, folder, inputs, temporary=(), stderr='', changes=None):
        computer = orm.Computer(
            label=f'nowhere-{uuid4()}', hostname='localhost', transport_type='core.local', scheduler_type='core.direct',
            workdir=str(tmp_path),
        ).store()  # fmt: skip
        node = orm.CalcJobNode(computer=computer, process_type=f'aiida.calculations:softclay.dp.{step}')
        node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
        node.set_option('scheduler_stderr', '_scheduler-stderr.txt')
        for name, data in {'backend': orm.Str('tensorflow'), **inputs}.items():
            node.base.links.add_incoming(data.store(), LinkType.INPUT_CALC, name)
        node.store()
        retrieved = orm.FolderData()
        aside = tmp_path / 'temporary'
        aside.mkdir()
        files = {path.name: path.read_text() for path in folder.iterdir()} if folder else {}
        for name, text in (files | (changes or {})).items():
            if text is None:
                continue
            if name in temporary:
                (aside / name).write_text(text)
            else:
                retrieved.base.repository.put_object_from_bytes(text.encode(), name)
        retrieved.base.repository.put_object_from_bytes(stderr.encode(), '_scheduler-stderr.txt')
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        results, process = ParserFactory(f'softclay.dp.{step}').parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(aside)
        )
        return results, process

    return run


@pytest.fixture
def train(parse):
    def run(situation, numb_steps=100, **kwargs):
        parameters = PARAMETERS | {'training': {'numb_steps': numb_steps, 'seed': 3}}
        folder = FIXTURES / 'dp_train' / situation if situation else None
        return parse('train', folder, {'parameters': orm.Dict(parameters)}, **kwargs)

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


@pytest.fixture
def remote(tmp_path, aiida_profile):
    computer = orm.Computer(
        label=f'remote-{uuid4()}', hostname='localhost', transport_type='core.local', scheduler_type='core.direct',
        workdir='/',
    ).store()  # fmt: skip
    return orm.RemoteData(computer=computer, remote_path='/none')


def test_freeze_without_model_says_why(parse, remote):
    _, process = parse(
        'freeze', FIXTURES / 'dp_freeze' / 'no_checkpoint',
        {'parent_folder': remote, 'parameters': orm.Dict(PARAMETERS)}, temporary=('model.pb',),
    )  # fmt: skip
    assert process.exit_status == 320
    assert 'model_checkpoint_path' in process.exit_message


@pytest.mark.parametrize(
    ('content', 'says'), [('', 'is empty'), ('Traceback of something', 'not a frozen DeePMD graph')]
)
def test_a_model_file_that_is_none_is_refused(parse, remote, content, says):
    results, process = parse(
        'freeze', FIXTURES / 'dp_freeze' / 'finished',
        {'parent_folder': remote, 'parameters': orm.Dict(PARAMETERS)}, temporary=('model.pb',),
        changes={'model.pb': content},
    )  # fmt: skip
    assert process.exit_status == 321
    assert says in process.exit_message
    assert 'potential' not in results


DETAILS = ('detail.e.out', 'detail.f.out', 'detail.v.out')


@pytest.fixture
def test(parse, aiida_profile):
    """Return a function that parses the outputs of dp test; the parser asks the potential for its md5 only."""

    def run(changes=None, folder=FIXTURES / 'dp_test' / 'finished', max_forces=20_000):
        potential = orm.Data()
        potential.base.attributes.set('md5', 'abc')
        type(potential).md5 = property(lambda node: node.base.attributes.get('md5'))
        try:
            inputs = {'potential': potential, 'max_forces': orm.Int(max_forces)}
            return parse('test', folder, inputs, temporary=DETAILS, changes=changes)
        finally:
            del type(potential).md5

    return run


def logged(title):
    log = (FIXTURES / 'dp_test' / 'finished' / 'dp_test.out').read_text()
    line = next(line for line in log.splitlines() if title in line)
    return 1000 * float(line.rsplit(':', 1)[1].split()[0])


def test_errors_of_a_test_are_those_of_dp(test):
    results, process = test()
    assert process.is_finished_ok
    overall = results['errors'].get_dict()['overall']
    assert overall['energy']['rmse'] == pytest.approx(logged('Energy RMSE/Natoms'), rel=1e-6)
    assert overall['energy']['mae'] == pytest.approx(logged('Energy MAE/Natoms'), rel=1e-6)
    assert overall['force']['rmse'] == pytest.approx(logged('Force  RMSE'), rel=1e-6)
    assert overall['virial']['rmse'] == pytest.approx(logged('Virial RMSE/Natoms'), rel=1e-6)
    assert results['details'].get_array('force_reference').shape == (5 * 8, 3)
    assert results['details'].base.attributes.get('units')['energy_reference'] == 'eV/atom'


def test_forces_are_thinned_for_the_plot_but_not_for_the_errors(test):
    results, _ = test(max_forces=10)
    assert len(results['details'].get_array('force_reference')) == 10
    assert results['errors'].get_dict()['overall']['force']['n'] == 5 * 8 * 3


@pytest.mark.parametrize(
    ('changes', 'status'),
    [
        ({'detail.e.out': None}, 310),
        ({'detail.f.out': None}, 304),
        ({'detail.f.out': 'CUT'}, 304),
        ({'detail.e.out': ''}, 304),
        ({'detail.v.out': None}, 0),
    ],
)
def test_ways_a_test_ends(test, changes, status):
    if changes.get('detail.f.out') == 'CUT':
        text = (FIXTURES / 'dp_test' / 'finished' / 'detail.f.out').read_text()
        changes = {'detail.f.out': text[: len(text) // 2]}
    results, process = test(changes)
    assert process.exit_status == status, process.exit_message
    if status == 0:
        assert results['errors'].get_dict()['overall']['virial']['rmse'] is None


def test_predictions_that_are_not_finite_are_an_error(test):
    text = (FIXTURES / 'dp_test' / 'finished' / 'detail.e.out').read_text().splitlines()
    text[1] = f'{text[1].split()[0]} nan'
    _, process = test({'detail.e.out': '\n'.join(text) + '\n'})
    assert process.exit_status == 501


def test_systems_are_told_apart_and_those_without_virial_do_not_count(tmp_path):
    from aiida_softclay.parsers.dp_files import TestedSystem
    from aiida_softclay.parsers.dp_test import TestDetails

    rng = np.random.default_rng(2)
    sizes = {'0000_LiCl': (3, 2), '0001_Li2Cl2_no_virial': (2, 4)}
    rows = {kind: [] for kind in 'efv'}
    expected = []
    for system, (n_frames, n_atoms) in sizes.items():
        for kind, count, width in (('e', n_frames, 1), ('f', n_frames * n_atoms, 3), ('v', n_frames, 9)):
            table = rng.normal(size=(count, 2 * width))
            # As dp does: a header for the first system only, then the rows of all.
            rows[kind] += [] if rows[kind] else [f'# data/test/{system}: columns']
            rows[kind] += [' '.join(map(repr, row.tolist())) for row in table]
            if kind == 'e':
                expected.append((table[:, 1] - table[:, 0]) / n_atoms)
            if kind == 'v' and not system.endswith('no_virial'):
                virial = (table[:, 9:] - table[:, :9]) / n_atoms
    for kind, lines in rows.items():
        (tmp_path / f'detail.{kind}.out').write_text('\n'.join(lines) + '\n')
    errors = TestDetails(tmp_path, 1000, [TestedSystem(name, *size) for name, size in sizes.items()]).errors()
    everything = np.concatenate(expected)
    assert errors['overall']['energy']['rmse'] == pytest.approx(1000 * np.sqrt((everything**2).mean()))
    assert errors['overall']['virial']['rmse'] == pytest.approx(1000 * np.sqrt((virial**2).mean()))
    assert [errors['systems'][name]['n_atoms'] for name in sizes] == [2, 4]
    assert errors['systems']['0001_Li2Cl2_no_virial']['virial']['rmse'] is None
