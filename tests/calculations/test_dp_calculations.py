"""DeePMD jobs: what they write for dp, what they refuse, and the watch on the wall time."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder

from aiida_softclay.calculations.dp_base import watchdog
from aiida_softclay.calculations.dp_checkpoint import identity_text
from aiida_softclay.calculations.dp_train_input import training_input, training_problem


def parameters(**changes):
    """Return a small valid training input; dotted names change it."""
    data = {
        'model': {
            'type_map': ['Li', 'Cl'],
            'descriptor': {'type': 'se_e2_a', 'sel': 'auto', 'rcut': 4.0, 'rcut_smth': 1.0, 'neuron': [4], 'seed': 1},
            'fitting_net': {'neuron': [4], 'seed': 2},
        },
        'learning_rate': {'type': 'exp', 'start_lr': 1e-3, 'stop_lr': 1e-5, 'decay_steps': 10},
        'loss': {'type': 'ener', 'start_pref_e': 0.02, 'start_pref_f': 1000},
        'training': {'numb_steps': 50, 'seed': 3, 'disp_freq': 10, 'save_freq': 20},
    }
    for name, value in changes.items():
        *path, last = name.split('__')
        node = data
        for key in path:
            node = node[key]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return data


def frames_node(tmp_path, symbols=('Li', 'Cl'), n_frames=4, name='frames', energy_kind='e_fr_energy', virials=True):
    from aiida_softclay.data.frames import FramesData
    from aiida_softclay.data.frames_file import FrameBlock, FramesFile

    rng = np.random.default_rng(n_frames)
    n_atoms = len(symbols)
    block = FrameBlock.from_symbols(
        list(symbols),
        positions=rng.uniform(0, 4, (n_frames, n_atoms, 3)),
        cells=np.array([np.eye(3) * 4.0] * n_frames),
        energies=rng.normal(size=n_frames),
        forces=rng.normal(size=(n_frames, n_atoms, 3)),
        virials=rng.normal(size=(n_frames, 3, 3)) if virials else None,
    )
    path = tmp_path / f'{name}.h5'
    with FramesFile(path, 'w') as file:
        file.describe(energy_kind, {'program': 'none'})
        file.append(block, {'label': name})
    return FramesData.from_file(path)


@pytest.fixture
def fake_code(localhost):
    return orm.InstalledCode(
        label='dp', computer=localhost, filepath_executable='/bin/true', default_calc_job_plugin='softclay.dp.train'
    ).store()


def builder_of(name, code, **inputs):
    from aiida.plugins import CalculationFactory

    builder = CalculationFactory(f'softclay.dp.{name}').get_builder()
    builder.code = code
    for key, value in inputs.items():
        builder[key] = value
    return builder


def instantiate(builder):
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    return instantiate_process(get_manager().get_runner(), builder)


def prepare(builder):
    """Return (calc_info, input.json, number of frames of each system) of a job that is not sent."""
    process = instantiate(builder)
    with SandboxFolder() as folder:
        calc_info = process.prepare_for_submission(folder)
        root = Path(folder.abspath)
        written = root / 'input.json'
        content = json.loads(written.read_text()) if written.exists() else None
        systems = {
            str(path.parent.parent.relative_to(root)): len(np.load(path))
            for path in root.glob('data/*/*/set.000/energy.npy')
        }
    return calc_info, content, systems


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'model__type_map': ['Li', 'Xx']}, 'unknown elements: Xx'),
        ({'model__type_map': ['Li', 'Li']}, 'names an element twice'),
        ({'model__type_map': 'LiCl'}, 'must be a list'),
        ({'model__descriptor__rcut': -6.0}, 'rcut is -6.0: give a positive length'),
        ({'model__descriptor__rcut_smth': 4.0}, r'rcut_smth \(4 Å\).*must be smaller than rcut \(4 Å\)'),
        ({'model__descriptor__sel': [10]}, 'sel has 1 numbers for 2 elements'),
        ({'model__descriptor__sel': 'automatic'}, "sel is 'automatic'"),
        ({'model__descriptor__seed': None}, 'model.descriptor.seed is None'),
        ({'training__seed': -1}, 'training.seed is -1'),
        ({'training__numb_steps': 0}, 'training.numb_steps is 0'),
        ({'training__disp_file': 'x'}, 'training.disp_file'),
        ({'training__training_data': {'systems': ['/etc']}}, 'training.training_data.systems is set'),
        ({'loss': None}, 'lacks loss'),
    ],
)
def test_training_inputs_that_cannot_work_are_refused_with_a_sentence(changes, says):
    assert re.search(says, training_problem(parameters(**changes)))


def test_a_good_training_input_is_accepted_and_completed():
    given = parameters()
    assert training_problem(given) is None
    complete = training_input(given, ['data/training/a'], ['data/validation/a'])
    assert complete['training']['training_data'] == {'batch_size': 'auto', 'systems': ['data/training/a']}
    assert complete['training']['validation_data']['systems'] == ['data/validation/a']
    assert complete['model']['descriptor']['sel'] == 'auto:1.2'
    assert given == parameters()


def test_the_protocols_of_the_papers_are_valid_training_inputs():
    from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain

    for protocol in FitPotentialWorkChain.get_available_protocols():
        deepmd = FitPotentialWorkChain.get_protocol_inputs(protocol)['deepmd']
        deepmd['model']['type_map'] = ['Li', 'Cl']
        model = deepmd['model']
        for index, holder in enumerate((model['descriptor'], model['fitting_net'], deepmd['training'])):
            holder['seed'] = index
        assert training_problem(deepmd) is None


def test_train_writes_systems_and_input_but_stores_no_second_copy(fake_code, tmp_path):
    training, validation = frames_node(tmp_path), frames_node(tmp_path, n_frames=2, name='other')
    calc_info, content, systems = prepare(
        builder_of(
            'train', fake_code, training_frames=training, validation_frames=validation,
            parameters=orm.Dict(parameters()),
        )
    )  # fmt: skip
    assert systems == {'data/training/0000_LiCl': 4, 'data/validation/0000_LiCl': 2}
    assert content['training']['training_data']['systems'] == ['data/training/0000_LiCl']
    assert calc_info.codes_info[0].cmdline_params == ['--tf', 'train', 'input.json']
    assert calc_info.provenance_exclude_list == ['data']
    assert not calc_info.remote_copy_list


def test_continued_training_names_the_checkpoint_and_takes_the_curve_along(fake_code, localhost, tmp_path):
    parent = orm.RemoteData(computer=localhost, remote_path='/scratch/parent')
    calc_info, _, _ = prepare(
        builder_of(
            'train', fake_code, training_frames=frames_node(tmp_path), parameters=orm.Dict(parameters()),
            validation_frames=frames_node(tmp_path, n_frames=2, name='other'), parent_folder=parent,
            checkpoint=orm.Str('model.ckpt-20'), backend=orm.Str('pytorch'),
        )
    )  # fmt: skip
    assert calc_info.codes_info[0].cmdline_params == ['--pt', 'train', 'input.json', '--restart', 'model.ckpt-20']
    copied = [(path, target) for _, path, target in calc_info.remote_copy_list]
    assert copied == [
        (f'/scratch/parent/{name}', target)
        for name, target in (
            ('checkpoint', '.'), ('model.ckpt-20*', '.'), ('lcurve.out', '.'),
            ('model.json', 'parent_model.json'), ('out.json', 'parent_out.json'),
        )
    ]  # fmt: skip
    assert 'cmp -s model.json parent_model.json' in calc_info.prepend_text


def test_train_refuses_frames_that_do_not_fit(fake_code, tmp_path):
    good = frames_node(tmp_path)
    cases = [
        (frames_node(tmp_path, ('Ga', 'F'), 2, 'alien'), 'contain F, Ga, which model.type_map'),
        (frames_node(tmp_path, n_frames=3, name='sigma0', energy_kind='e_0_energy'), 'different energies'),
        (good, 'are the same frames'),
    ]
    for validation, says in cases:
        builder = builder_of(
            'train', fake_code, training_frames=good, validation_frames=validation, parameters=orm.Dict(parameters())
        )
        with pytest.raises(ValueError, match=says):
            prepare(builder)


def test_backends_are_known_by_name(fake_code):
    from aiida.plugins import CalculationFactory

    builder = CalculationFactory('softclay.dp.train').get_builder()
    with pytest.raises(ValueError, match='unknown backend `numpy`'):
        builder.backend = orm.Str('numpy')


@pytest.mark.parametrize(
    ('backend', 'flag', 'model'),
    [('tensorflow', '--tf', 'model.pb'), ('pytorch', '--pt', 'model.pth'), ('jax', '--jax', 'model.hlo'),
     ('pytorch-exportable', '--pt-expt', 'model.pt2')],
)  # fmt: skip
def test_each_backend_has_its_flag_and_its_model(fake_code, localhost, tmp_path, backend, flag, model):
    """What runs where DeePMD-kit has that backend; here there is TensorFlow only."""
    frames = {
        'training_frames': frames_node(tmp_path),
        'validation_frames': frames_node(tmp_path, n_frames=2, name='b'),
    }
    common = {'backend': orm.Str(backend), 'parameters': orm.Dict(parameters())}
    train, _, _ = prepare(builder_of('train', fake_code, **frames, **common))
    assert train.codes_info[0].cmdline_params == [flag, 'train', 'input.json']
    parent = orm.RemoteData(computer=localhost, remote_path='/scratch/parent')
    checkpoint = {'pytorch': 'model.ckpt-20.pt', 'jax': 'model.ckpt.jax'}.get(backend, 'model.ckpt-20')
    freeze, _, _ = prepare(
        builder_of('freeze', fake_code, parent_folder=parent, checkpoint=orm.Str(checkpoint), **common)
    )
    assert freeze.codes_info[0].cmdline_params == [flag, 'freeze', '-o', model, '-c', checkpoint]
    assert freeze.retrieve_temporary_list == [model]
    # The data type chooses the backend by the same extension.
    from aiida_softclay.data.model_file import BACKENDS

    assert BACKENDS[Path(model).suffix] == backend


def test_backends_that_cannot_train_say_why(fake_code, tmp_path):
    frames = {
        'training_frames': frames_node(tmp_path),
        'validation_frames': frames_node(tmp_path, n_frames=2, name='b'),
    }
    with pytest.raises(ValueError, match='runs models but does not train them: choose from tensorflow, pytorch'):
        prepare(builder_of('train', fake_code, **frames, parameters=orm.Dict(parameters()), backend=orm.Str('dpmodel')))
    with pytest.raises(ValueError, match='frozen model is two files'):
        builder_of('train', fake_code, backend=orm.Str('paddle'))


def run_beginning(builder, folder, before=''):
    """Run what a job script does before dp; return its exit code and what it refused."""
    calc_info, _, _ = prepare(builder)
    (folder / 'job.sh').write_text(f'#!/bin/bash\n{before}\n{calc_info.prepend_text}\ntouch STARTED\n')
    done = subprocess.run(['bash', 'job.sh'], cwd=folder, check=False, timeout=60)
    refused = folder / 'REFUSED'
    assert (folder / 'STARTED').exists() == (done.returncode == 0)
    return done.returncode, refused.read_text() if refused.exists() else ''


def test_a_checkpoint_of_another_model_ends_the_job_before_dp_starts(fake_code, localhost, tmp_path):
    """Where the database does not know the training that left the folder."""
    inputs = {
        'training_frames': frames_node(tmp_path), 'validation_frames': frames_node(tmp_path, n_frames=2, name='b'),
        'parent_folder': orm.RemoteData(computer=localhost, remote_path='/scratch/parent'),
    }  # fmt: skip
    builder = builder_of('train', fake_code, parameters=orm.Dict(parameters()), **inputs)
    (tmp_path / 'model.json').write_text(identity_text(parameters(), 'tensorflow'))
    assert run_beginning(builder, tmp_path) == (0, '')
    (tmp_path / 'STARTED').unlink()
    same = parameters(training__save_freq=7, training__seed=9, model__descriptor__seed=8)
    (tmp_path / 'parent_model.json').write_text(identity_text(same, 'tensorflow'))
    assert run_beginning(builder, tmp_path) == (0, '')
    (tmp_path / 'STARTED').unlink()
    (tmp_path / 'parent_model.json').write_text(identity_text(parameters(model__type_map=['Cl', 'Li']), 'tensorflow'))
    code, refused = run_beginning(builder, tmp_path)
    assert code == 1
    assert 'parent_model.json differ' in refused


def test_a_job_for_a_gpu_ends_at_once_where_there_is_none(fake_code, tmp_path):
    inputs = {
        'training_frames': frames_node(tmp_path), 'validation_frames': frames_node(tmp_path, n_frames=2, name='b'),
        'parameters': orm.Dict(parameters()),
    }  # fmt: skip
    path = tmp_path / 'bin'
    path.mkdir()
    driver = path / 'nvidia-smi'
    builder = builder_of('train', fake_code, device=orm.Str('gpu'), **inputs)
    for status, expected in ((0, 0), (9, 1)):
        driver.write_text(f'#!/bin/bash\nexit {status}\n')
        driver.chmod(0o755)
        code, refused = run_beginning(builder, tmp_path, before=f'export PATH={path}:$PATH')
        if Path('/dev/kfd').exists():
            assert code == 0
            continue
        assert code == expected
        assert ('no GPU' in refused) == bool(expected)
        (tmp_path / 'STARTED').unlink(missing_ok=True)
    on_cpu, _, _ = prepare(builder_of('train', fake_code, device=orm.Str('cpu'), **inputs))
    assert 'CUDA_VISIBLE_DEVICES=-1' in on_cpu.prepend_text
    with pytest.raises(ValueError, match='unknown device `tpu`'):
        builder_of('train', fake_code, device=orm.Str('tpu'))


def test_the_test_notes_where_its_frames_are_from(fake_code, tmp_path):
    from aiida_softclay.data.frames import FramesData
    from aiida_softclay.data.frames_file import merge_files

    pieces = [frames_node(tmp_path, n_frames=n, name=name) for n, name in ((4, 'a'), (3, 'b'))]
    pieces.append(frames_node(tmp_path, ('Cl', 'Li'), 2, 'c'))
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(piece.open_path()) for piece in pieces]
        merge_files(paths, tmp_path / 'all.h5')
    frames = FramesData.from_file(tmp_path / 'all.h5')
    potential = Path(__file__).parents[1] / 'workflows' / 'fixtures' / 'md_lithium_chloride.pb'
    from aiida_softclay.data.potential import PotentialData

    builder = builder_of('test', fake_code, potential=PotentialData(potential), frames=frames, max_frames=orm.Int(6))
    process = instantiate(builder)
    with SandboxFolder() as folder:
        process.prepare_for_submission(folder)
        root = Path(folder.abspath)
        written = json.loads((root / 'origins.json').read_text())
        counts = [len(np.load(path)) for path in sorted(root.glob('data/test/*/set.000/energy.npy'))]
        energies = np.concatenate([np.load(path) for path in sorted(root.glob('data/test/*/set.000/energy.npy'))])
    assert [len(indices) for indices in written['systems']] == counts
    assert sum(counts) == 6
    # The energies of a frame tell from which piece it is.
    known = {}
    for name, piece in zip('abc', pieces, strict=True):
        with piece.open_frames() as file:
            known |= {float(energy): name for view in file.blocks() for energy in view.energies[:]}
    labels = [written['origins'][index]['label'] for indices in written['systems'] for index in indices]
    assert labels == [known[float(energy)] for energy in energies]


def script(tmp_path, limit, command):
    path = tmp_path / 'job.sh'
    path.write_text(f'#!/bin/bash\n{watchdog(limit)}\n{command}\n')
    start = time.monotonic()
    done = subprocess.run(['bash', str(path)], cwd=tmp_path, check=False, timeout=60)
    return done.returncode, time.monotonic() - start, (tmp_path / 'WALLTIME').exists()


def test_the_watch_ends_a_job_before_its_wall_time_and_says_so(tmp_path):
    code, seconds, said = script(tmp_path, 2, 'sleep 50')
    assert code != 0
    assert seconds < 20
    assert said


def test_the_watch_leaves_a_short_job_alone(tmp_path):
    code, seconds, said = script(tmp_path, 40, 'true')
    assert (code, said) == (0, False)
    assert seconds < 20
