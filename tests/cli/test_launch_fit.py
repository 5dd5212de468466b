"""``softclay launch fit-potential`` and ``fit-committee``: plans that cost nothing, sentences for what cannot be."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from aiida import orm
from click.testing import CliRunner
from launch_samples import record_codes

from aiida_softclay.cli.launch import launch
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FrameBlock, FramesFile
from aiida_softclay.workflows.estimate import mean_atoms


def run(*arguments):
    return CliRunner().invoke(launch, [str(argument) for argument in arguments], terminal_width=200)


def frames_node(symbols, n_frames, label):
    rng = np.random.default_rng(n_frames)
    n_atoms = len(symbols)
    block = FrameBlock.from_symbols(
        symbols, positions=rng.uniform(0, 6, (n_frames, n_atoms, 3)), cells=np.array([np.eye(3) * 6.0] * n_frames),
        energies=rng.normal(size=n_frames), forces=rng.normal(size=(n_frames, n_atoms, 3)),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'frames.h5'
        with FramesFile(path, 'w') as file:
            file.describe('e_fr_energy', {'program': 'none'})
            file.append(block, {'label': label})
        return FramesData.from_file(path).store()


@pytest.fixture
def frames(aiida_profile_clean, localhost):
    record_codes(localhost, 'dp')
    return [frames_node(['Li', 'Cl'], 30, 'a'), frames_node(['Li', 'Cl'] * 4, 10, 'b')]


def test_mean_size_of_frames(frames):
    assert mean_atoms(frames) == round((30 * 2 + 10 * 8) / 40)


def test_dry_runs_take_any_number_of_frames_and_submit_nothing(frames):
    pks = [node.pk for node in frames]
    for command, options, steps in (('fit-potential', (), '6,000'), ('fit-committee', ('--models', 3), '18,000')):
        outcome = run(command, *pks, *options, '--dry-run')
        assert outcome.exit_code == 0, outcome.output
        assert steps in outcome.output
        assert command.replace('-', '_') in outcome.output
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == 0


@pytest.mark.parametrize(
    ('arguments', 'overrides', 'sentence'),
    [
        (('fit-potential',), {'dataset': {'training_fraction': 1}}, 'training_fraction is 1'),
        (('fit-potential',), {'backend': 'caffe'}, 'unknown backend `caffe`'),
        (('fit-potential',), {'deepmd': {'model': {'type_map': ['Ga', 'Cl']}}}, 'contain Li, which'),
        (('fit-committee', '--models', '1'), {}, '1 is not in the range x>=2'),
        (('fit-committee',), {'n_models': 1}, 'at least two potentials'),
        (('fit-committee',), {'gate': {'rmse': 1}}, 'unknown override `gate.rmse`'),
        (('fit-committee', '--protocol', 'huge'), {}, 'unknown protocol `huge`'),
    ],
)
def test_wrong_requests_get_a_sentence(frames, tmp_path, arguments, overrides, sentence):
    path = tmp_path / 'overrides.yaml'
    path.write_text(yaml.safe_dump(overrides))
    outcome = run(*arguments, frames[0].pk, '--dry-run', '--overrides', path)
    assert outcome.exit_code != 0
    assert sentence in outcome.output
    assert 'Traceback' not in outcome.output


def test_a_folder_of_another_training_is_refused(frames, localhost):
    from aiida.common import LinkType

    from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain, complete_parameters

    theirs = complete_parameters(
        FitPotentialWorkChain.get_protocol_inputs('demo', {'deepmd': {'training': {'numb_steps': 9}}}), frames[0]
    )
    node = orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:softclay.dp.train')
    node.set_option('resources', {'num_machines': 1})
    for name, data in {'parameters': orm.Dict(theirs['deepmd']).store(), 'training_frames': frames[0]}.items():
        node.base.links.add_incoming(data, LinkType.INPUT_CALC, name)
    node.store()
    folder = orm.RemoteData(computer=localhost, remote_path='/scratch/parent')
    folder.base.links.add_incoming(node, LinkType.CREATE, 'remote_folder')
    folder.store()
    outcome = run('fit-potential', frames[0].pk, '--continue-from', folder.pk, '--dry-run')
    assert outcome.exit_code != 0
    assert 'numb_steps (9 there, 6000 here)' in outcome.output.replace('\n', ' ')
