"""The parsers of freezing, compressing and testing on captured outputs: an exit code for each end, no traceback."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from aiida import orm

FIXTURES = Path(__file__).parent / 'fixtures'
PARAMETERS = {
    'model': {'type_map': ['Li', 'Cl'], 'descriptor': {'rcut': 4.0}, 'fitting_net': {}},
    'training': {'numb_steps': 100, 'seed': 3},
}


@pytest.fixture
def remote(tmp_path, aiida_profile):
    computer = orm.Computer(
        label=f'remote-{uuid4()}', hostname='localhost', transport_type='core.local', scheduler_type='core.direct',
        workdir='/',
    ).store()  # fmt: skip
    return orm.RemoteData(computer=computer, remote_path='/none')


def test_freeze_without_model_says_why(parse_dp, remote):
    _, process = parse_dp(
        'freeze', FIXTURES / 'dp_freeze' / 'no_checkpoint',
        {'parent_folder': remote, 'parameters': orm.Dict(PARAMETERS)}, temporary=('model.pb',),
    )  # fmt: skip
    assert process.exit_status == 320
    assert 'model_checkpoint_path' in process.exit_message


@pytest.mark.parametrize(
    ('content', 'says'), [('', 'is empty'), ('Traceback of something', 'not a frozen DeePMD graph')]
)
def test_a_model_file_that_is_none_is_refused(parse_dp, remote, content, says):
    results, process = parse_dp(
        'freeze', FIXTURES / 'dp_freeze' / 'finished',
        {'parent_folder': remote, 'parameters': orm.Dict(PARAMETERS)}, temporary=('model.pb',),
        changes={'model.pb': content},
    )  # fmt: skip
    assert process.exit_status == 321
    assert says in process.exit_message
    assert 'potential' not in results


DETAILS = ('detail.e.out', 'detail.f.out', 'detail.v.out')


@pytest.fixture
def test(parse_dp, aiida_profile):
    """Return a function that parses the outputs of dp test; the parser asks the potential for its md5 only."""

    def run(changes=None, folder=FIXTURES / 'dp_test' / 'finished', max_forces=20_000, own=None):
        potential = orm.Data()
        potential.base.attributes.set('md5', 'abc')
        type(potential).md5 = property(lambda node: node.base.attributes.get('md5'))
        try:
            inputs = {'potential': potential, 'max_forces': orm.Int(max_forces)}
            return parse_dp('test', folder, inputs, temporary=DETAILS, changes=changes, own=own)
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


def test_errors_by_structure_and_stage_add_up_to_those_of_all(test):
    origins = [{'label': 'a', 'stage': 'hold'}, {'label': 'b', 'stage': 'hold'}, {'label': 'a', 'stage': 'cool'}]
    own = {'origins.json': json.dumps({'origins': origins, 'systems': [[0, 1, 0, 2, 2]]})}
    results, process = test(own=own)
    assert process.is_finished_ok
    errors, details = results['errors'].get_dict(), results['details']
    assert {label: row['energy']['n_frames'] for label, row in errors['labels'].items()} == {'a': 4, 'b': 1}
    assert [(row['label'], row['stage'], row['force']['n_frames']) for row in errors['stages']] == [
        ('a', 'cool', 2), ('a', 'hold', 2), ('b', 'hold', 1),
    ]  # fmt: skip
    difference = 1000 * (details.get_array('force_predicted') - details.get_array('force_reference')).reshape(5, -1)
    cool = next(row for row in errors['stages'] if row['stage'] == 'cool')
    assert cool['force']['rmse'] == pytest.approx(np.sqrt((difference[3:] ** 2).mean()), rel=1e-9)
    for name in ('energy', 'force', 'virial'):
        total = errors['overall'][name]
        squares = [row[name]['rmse'] ** 2 * row[name]['n'] for row in errors['labels'].values()]
        assert sum(squares) / total['n'] == pytest.approx(total['rmse'] ** 2, rel=1e-9)
    assert 'labels' not in test()[0]['errors'].get_dict()


def test_origins_that_are_not_those_of_the_tested_frames_are_no_numbers(test):
    own = {'origins.json': json.dumps({'origins': [{'label': 'a', 'stage': ''}], 'systems': [[0, 0]]})}
    assert test(own=own)[1].exit_status == 304


@pytest.fixture
def compress(parse_dp, aiida_profile):
    """Return a function that parses a comparison of the two models."""
    model = Path(__file__).parents[1] / 'workflows' / 'fixtures' / 'md_lithium_chloride.pb'

    def run(rows, content='the original', **kwargs):
        from aiida_softclay.data.potential import PotentialData

        inputs = {
            'potential': PotentialData(model), 'frames': orm.Data(), 'max_force_difference': orm.Float(0.01),
            'max_energy_difference': orm.Float(1e-4), 'max_virial_difference': orm.Float(0.01),
        }  # fmt: skip
        changes = {'model_devi.out': rows, **kwargs}
        return parse_dp(
            'compress',
            FIXTURES / 'dp_compress' / 'finished',
            inputs,
            changes=changes,
            model=model.read_bytes() if content == 'the original' else content,
        )

    return run


@pytest.mark.parametrize(
    ('rows', 'status', 'says'),
    [
        # Two standard deviations are the difference of two models: virial, force, energy.
        ('0 1e-3 0 0 1e-3 0 0 1e-5\n', 0, ''),
        ('0 1e-3 0 0 1e-2 0 0 1e-5\n', 510, 'a force by 0.02 eV/Å (limit 0.01)'),
        ('0 1e-3 0 0 1e-3 0 0 1e-3\n', 510, 'an energy by 0.002 eV/atom (limit 0.0001)'),
        ('0 1e-2 0 0 1e-3 0 0 1e-5\n', 510, 'a virial by 0.02 eV/atom'),
        ('0 1e-3 0 0 nan 0 0 1e-5\n', 510, 'a force by nan'),
        ('0 1e-3 0 0 1e-3 0', 303, 'cut'),
        ('', 303, 'wrote nothing'),
    ],
)
def test_a_compressed_model_must_agree_in_energies_forces_and_virials(compress, rows, status, says):
    _, process = compress(rows)
    assert process.exit_status == status, process.exit_message
    assert says in (process.exit_message or '')


@pytest.mark.parametrize(('content', 'status'), [(None, 320), (b'', 321), (b'\x0a\x20cut', 321), ('half', 321)])
def test_a_compression_that_was_killed_leaves_no_potential(compress, content, status):
    whole = (Path(__file__).parents[1] / 'workflows' / 'fixtures' / 'md_lithium_chloride.pb').read_bytes()
    results, process = compress(None, whole[: len(whole) // 2] if content == 'half' else content)
    assert process.exit_status == status, process.exit_message
    assert 'potential' not in results
    assert compress(None, None, WALLTIME='SOFTCLAY: stopped before the wall time, after 9 s')[1].exit_status == 310


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
