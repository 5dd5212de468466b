"""DeePMD jobs: what they write for dp, what they refuse, and the watch on the wall time."""

from __future__ import annotations

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


def prepare(builder):
    """Return (calc_info, input.json, number of frames of each system) of a job that is not sent."""
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    process = instantiate_process(get_manager().get_runner(), builder)
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
    copied = [path for _, path, _ in calc_info.remote_copy_list]
    assert copied == [f'/scratch/parent/{name}' for name in ('checkpoint', 'model.ckpt-20*', 'lcurve.out')]


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
