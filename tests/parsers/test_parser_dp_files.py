"""The files of DeePMD-kit as text: real ones of each situation, and cut anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aiida_softclay.parsers.dp_files import (
    ErrorSum,
    TestedSystem,
    UnreadableError,
    checkpoint_failure,
    checkpoint_step,
    failure_kind,
    iter_detail,
    last_words,
    read_checkpoint_name,
    read_learning_curve,
    read_log,
    read_model_deviation,
    read_tested_systems,
)

FIXTURES = Path(__file__).parent / 'fixtures'
HEADER = '# step rmse_val rmse_trn lr\n'


def fixture(*path):
    return FIXTURES.joinpath(*path).read_text(encoding='utf-8')


def curve_of(situation):
    return read_learning_curve(fixture('dp_train', situation, 'lcurve.out').splitlines(keepends=True))


def test_finished_curve_has_every_row():
    curve = curve_of('finished')
    assert curve.arrays['step'].tolist() == list(range(0, 101, 10))
    assert (curve.n_restarts, curve.dropped_lines, curve.last_step, curve.first_bad_step) == (0, 0, 100, None)
    assert curve.arrays['lr'][0] == 1e-3
    assert curve.units()['rmse_e_val'] == 'eV/atom'
    assert set(curve.units()) == set(curve.arrays)


def test_twice_restarted_curve_is_one_history():
    curve = curve_of('restarted_twice')
    assert curve.arrays['step'].tolist() == list(range(0, 401, 10))
    assert curve.n_restarts == 2
    # The rows 100 to 120 and 250 to 270 were written twice; the run that went on is the one that counts.
    assert curve.dropped_lines == 6
    raw = [line.split() for line in fixture('dp_train', 'restarted_twice', 'lcurve.out').splitlines()]
    last = {int(row[0]): float(row[1]) for row in raw if row[0].isdigit()}
    assert curve.arrays['rmse_val'].tolist() == [last[step] for step in curve.arrays['step']]


def test_a_curve_cut_anywhere_loses_only_its_last_line():
    text = fixture('dp_train', 'finished', 'lcurve.out')
    whole = curve_of('finished')
    first_row_end = text.index('\n', text.index('      0 ')) + 1
    for length in range(first_row_end, len(text), 7):
        curve = read_learning_curve(text[:length].splitlines(keepends=True))
        rows = text[:length].count('\n') - 2
        assert len(curve.arrays['step']) == rows
        np.testing.assert_array_equal(curve.arrays['rmse_trn'], whole.arrays['rmse_trn'][:rows])


def test_a_run_that_goes_on_behind_a_cut_line_loses_that_line_only():
    """A kill inside a row leaves no end of line, so that the header of the continued run stands in the same line."""
    cut = fixture('dp_train', 'killed', 'lcurve.out')
    header = ''.join(line for line in cut.splitlines(keepends=True) if line.startswith('#'))
    rows = [line for line in cut.splitlines(keepends=True) if not line.startswith('#')]
    for length in (1, 9, 30, len(rows[-1]) - 1):
        text = header + ''.join(rows[:-1]) + rows[-1][:length] + header + ''.join(rows[-3:])
        curve = read_learning_curve(text.splitlines(keepends=True))
        assert curve.arrays['step'].tolist() == list(range(0, 121, 10))
        assert curve.n_restarts == 1
        # The cut row, and the two that the continued run wrote again.
        assert curve.dropped_lines == 3


@pytest.mark.parametrize(
    ('line', 'kind'),
    [
        ('InvalidArgumentError: Assign requires shapes of both tensors to match. lhs shape= [48,8]', 'other'),
        ('RuntimeError: Error(s) in loading state_dict for ModelWrapper:', 'other'),
        ('NotFoundError: This is most likely due to a graph key that is missing from the checkpoint.', 'other'),
        ('OSError: File does not exist. Received: /scratch/a/model.ckpt-40.meta.', 'gone'),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'model.ckpt-40.pt'", 'gone'),
        ('DataLossError: Unable to open table file ./model.ckpt-40: Data loss', 'gone'),
    ],
)  # fmt: skip
def test_checkpoints_that_cannot_be_continued_are_told_apart(line, kind):
    assert checkpoint_failure(f'fine\n{line}\nmore') == (kind, line)
    for situation in ('finished', 'killed', 'not_a_number', 'refused_input', 'diverged'):
        assert checkpoint_failure(fixture('dp_train', situation, 'dp_train.out')) is None


@pytest.mark.parametrize('text', ['', '\n', HEADER, HEADER + '1 2', '10 1 2 3\n', HEADER + 'a b c d\n'])
def test_a_curve_without_rows_is_unreadable_but_no_accident(text):
    with pytest.raises(UnreadableError):
        read_learning_curve(text.splitlines(keepends=True))


def test_a_restart_with_other_columns_is_refused():
    with pytest.raises(UnreadableError, match='other columns'):
        read_learning_curve([HEADER, '0 1 2 3\n', '# step rmse lr\n', '10 1 2\n'])


def test_loss_that_is_not_a_number_or_explodes_is_found_but_missing_labels_are_not():
    columns = '# step rmse_trn rmse_v_trn lr\n'
    curve = read_learning_curve([columns, '0 1 nan 1\n', '10 2 nan 1\n', '20 nan nan 1\n'])
    assert curve.first_bad_step == 20
    assert read_learning_curve([columns, '0 1 nan 1\n']).first_bad_step is None
    assert curve_of('diverged').first_bad_step == 10


def test_log_tells_versions_device_and_neighbours():
    facts = read_log(fixture('dp_train', 'finished', 'dp_train.out'))
    assert facts['deepmd_version'] == '3.2.0'
    assert facts['backend'] == 'TensorFlow'
    assert facts['framework_version'].startswith('2.21.0')
    assert (facts['float_precision'], facts['device'], facts['intra_threads']) == ('Double', 'CPU:0', 1)
    assert len(facts['max_neighbours']) == 2
    assert facts['finished']
    assert facts['wall_time_s'] > 0
    assert facts['warnings'] == []
    assert not read_log(fixture('dp_train', 'killed', 'dp_train.out'))['finished']
    assert read_log(fixture('dp_train', 'not_a_number', 'dp_train.out'))['nan_step'] == 10


def test_warnings_are_kept():
    line = '[2026-11-21 00:36:50,244] DEEPMD WARNING sel of type 0 is not enough! The expected value is not less than 9'
    assert read_log(line)['warnings'] == ['sel of type 0 is not enough! The expected value is not less than 9']


def test_last_words_are_the_error_not_the_noise():
    assert 'undefined key `nueron`' in last_words(fixture('dp_train', 'refused_input', 'dp_train.out'))
    assert last_words('') == ''
    assert last_words('implib-gen: libcudart.so.12: failed\n') == ''


@pytest.mark.parametrize(
    ('line', 'kind'),
    [
        ('OSError: [Errno 28] No space left on device', 'disk'),
        ('W tensorflow/core: RESOURCE_EXHAUSTED: OOM when allocating tensor', 'memory'),
        ("terminate called after throwing an instance of 'std::bad_alloc'", 'memory'),
        ('slurmstepd: error: Detected 1 oom_kill event', 'memory'),
    ],
)
def test_full_disk_and_memory_are_recognised(line, kind):
    assert failure_kind('fine', f'fine\n{line}\n') == (kind, line)
    assert failure_kind(fixture('dp_train', 'finished', 'dp_train.out')) is None


def test_checkpoints_of_both_backends():
    assert read_checkpoint_name(fixture('dp_train', 'killed', 'checkpoint')) == 'model.ckpt-100'
    assert read_checkpoint_name('model.ckpt-2000.pt') == 'model.ckpt-2000.pt'
    assert read_checkpoint_name('/scratch/a/model.ckpt-7.pt\n') == 'model.ckpt-7.pt'
    for broken in ('', '\n', 'model_checkpoint_path: "', '$(rm -rf ~)'):
        assert read_checkpoint_name(broken) is None
    assert [checkpoint_step(name) for name in ('model.ckpt-100', 'model.ckpt-20.pt', 'model.ckpt', None)] == [
        100, 20, None, None,
    ]  # fmt: skip


def test_error_sums_are_the_textbook_numbers():
    errors = np.random.default_rng(1).normal(scale=3.0, size=(4000, 5, 3))
    total = ErrorSum()
    for part in np.array_split(errors, 7):
        total.add(part)
    summary = total.summary('meV/Å')
    assert summary['rmse'] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-12)
    assert summary['mae'] == pytest.approx(np.abs(errors).mean(), rel=1e-12)
    assert summary['max'] == np.abs(errors).max()
    # Of n normal numbers the standard error of the RMSE is sigma / sqrt(2 n).
    assert summary['rmse_error'] == pytest.approx(3.0 / np.sqrt(2 * errors.size), rel=0.05)


def test_detail_files_come_in_chunks_of_one_system(tmp_path):
    path = tmp_path / 'detail.e.out'
    path.write_text('# data/test/a: data_e pred_e\n1 2\n3 4\n5 6\n7 8\n')
    chunks = list(iter_detail(path, [('a', 3), ('b', 1)], rows=2))
    assert [(chunk.system, chunk.reference.ravel().tolist()) for chunk in chunks] == [
        ('a', [1, 3]), ('a', [5]), ('b', [7]),
    ]  # fmt: skip
    assert chunks[-1].prediction.tolist() == [[8.0]]
    for layout in ([('a', 3)], [('a', 3), ('b', 2)]):
        with pytest.raises(UnreadableError, match=r'more rows|is cut'):
            list(iter_detail(path, layout))


@pytest.mark.parametrize('text', ['', '# a: x y\n1 2\n3\n', '# a: x y\n1 b\n1 2\n', '# a: x y z\n1 2 3\n1 2 3\n'])
def test_broken_detail_files_are_unreadable(tmp_path, text):
    path = tmp_path / 'detail.e.out'
    path.write_text(text)
    with pytest.raises(UnreadableError):
        list(iter_detail(path, [('a', 2)]))


def test_tested_systems_are_read_from_the_log_in_their_order():
    line = '[2026-11-21 01:59:54,460] DEEPMD INFO    # {}\n'
    log = ''.join(
        line.format(text)
        for text in (
            'testing system : data/test/0001_Ga12F36', 'number of test data : 35 ',
            'testing system : data/test/0000_LiCl_no_virial', 'number of test data : 4 ',
        )
    )  # fmt: skip
    assert read_tested_systems(log) == [TestedSystem('0001_Ga12F36', 35, 48), TestedSystem('0000_LiCl_no_virial', 4, 2)]
    for broken in ('', log.replace('number of test data : 4', '')):
        with pytest.raises(UnreadableError):
            read_tested_systems(broken)


def test_model_deviation_of_two_models_is_half_their_difference():
    rows = ['# data\n', '0 1e-3 0 0 2e-4 1e-5 5e-5 3e-6\n', '1 5e-4 0 0 1e-4 1e-5 7e-5 9e-6\n']
    agreement = read_model_deviation(rows)
    assert agreement['max_force_difference_eV_A'] == pytest.approx(4e-4)
    assert agreement['mean_force_difference_eV_A'] == pytest.approx(1.2e-4)
    assert agreement['max_energy_difference_eV_atom'] == pytest.approx(1.8e-5)
    assert agreement['n_frames'] == 2
    assert read_model_deviation(fixture('dp_compress', 'finished', 'model_devi.out').splitlines())['n_frames'] == 5
    for broken in ([], ['# only a header\n'], ['0 1 2\n']):
        with pytest.raises(UnreadableError):
            read_model_deviation(broken)
