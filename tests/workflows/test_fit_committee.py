"""A real committee of two tiny models: one data set, two seeds, forces that disagree."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from fit_samples import TINY_MODEL, dp_code_in, frames_of

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.workflows.fit_committee import FitCommitteeWorkChain, member_parameters

TINY = {
    'deepmd': {
        'model': TINY_MODEL,
        'training': {'numb_steps': 100, 'disp_freq': 20, 'save_freq': 50, 'validation_data': {'numb_btch': 1}},
    },
    'compress': False,
    'gate': None,
}

pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module')
def dp(aiida_profile, dp_program, tmp_path_factory):
    return dp_code_in(tmp_path_factory.mktemp('committee'), dp_program, 'dp-committee')


@pytest.fixture(scope='module')
def committee(dp):
    from aiida.engine import run_get_node

    frames = {'one': frames_of('rattled', 12, 'hold').store(), 'two': frames_of('others too', 8, 'cool').store()}
    builder = FitCommitteeWorkChain.get_builder_from_protocol(
        dp, frames, n_models=2, overrides=TINY, label='test/LiCl',
        options={'prepend_text': 'export OMP_NUM_THREADS=1', 'max_wallclock_seconds': 600},
    )  # fmt: skip
    return run_get_node(builder).node


def forces_of(fit):
    job = next(node for node in fit.called if node.process_type.endswith('softclay.dp.test'))
    return job.outputs.details.get_array('force_predicted')


@pytest.mark.engine
def test_a_committee_is_fitted_to_one_data_set_with_different_networks(committee):
    assert committee.is_finished_ok, committee.exit_message
    potentials = committee.outputs.potentials
    assert sorted(potentials) == ['model_00', 'model_01']
    assert potentials.model_00.md5 != potentials.model_01.md5
    assert [potentials[name].seed for name in sorted(potentials)] == [3, 6]
    assert potentials.model_00.type_map == potentials.model_01.type_map == ['Li', 'Cl']
    fits = [node for node in committee.called if node.process_type.endswith('softclay.fit_potential')]
    assert len(fits) == 2
    for name in ('training', 'validation'):
        assert {fit.inputs.prepared[name].uuid for fit in fits} == {committee.outputs[f'{name}_frames'].uuid}
    assert committee.outputs.training_frames.n_frames + committee.outputs.validation_frames.n_frames == 20
    assert committee.outputs.dataset.get_dict()['counts']['given'] == 20
    one, two = (forces_of(fit) for fit in fits)
    difference = np.linalg.norm(one - two, axis=1)
    # Of two different networks at the begin of their training, not of two runs of one.
    assert difference.max() > 1e-2
    assert np.isfinite(difference).all()


@pytest.mark.engine
def test_the_committee_is_a_group_of_its_own(committee):
    record = committee.outputs.committee.get_dict()
    group = orm.load_group(uuid=record['uuid'])
    assert group.type_string == 'softclay.committee'
    assert group.label == record['label'] == f'test/LiCl-{committee.uuid[:8]}'
    members = {potential.uuid for potential in committee.outputs.potentials.values()}
    assert {node.uuid for node in group.nodes} == members == {row['uuid'] for row in record['members'].values()}
    assert [row['passed_gate'] for row in record['members'].values()] == [None, None]
    # The step that makes it may be done again after a kill of its worker.
    potentials = list(committee.outputs.potentials.values())
    assert type(group).get_or_create(group.label, potentials).uuid == group.uuid
    with pytest.raises(ValueError, match='there is a committee'):
        type(group).get_or_create(group.label, [node.creator.inputs.potential for node in potentials])


@pytest.mark.engine
def test_the_errors_of_the_members_and_their_spread_are_numbers(committee):
    results = committee.outputs.results.get_dict()
    check_results(results)
    numbers = {row['name']: row for row in results['numbers']}
    values = [committee.outputs.potentials[f'model_{index:02d}'].test_rmse['force_meV_A'] for index in range(2)]
    assert [numbers[f'model_{index:02d}.rmse_force']['value'] for index in range(2)] == values
    assert numbers['rmse_force']['value'] == pytest.approx(np.mean(values))
    assert numbers['rmse_force.spread']['value'] == pytest.approx(np.std(values, ddof=1))
    assert results['context']['labels']['program'] == 'ASE Lennard-Jones'


def test_seeds_are_counted_up_and_nothing_else_differs():
    parameters = {
        'n_models': 3, 'seed': 1, 'dataset': {'seed': 5},
        'deepmd': {'model': {'descriptor': {'seed': 1}, 'fitting_net': {'seed': 2}}, 'training': {'seed': 3}},
    }  # fmt: skip
    members = [member_parameters(parameters, index) for index in range(3)]
    seeds = [
        (member['deepmd']['model']['descriptor']['seed'], member['deepmd']['model']['fitting_net']['seed'],
         member['deepmd']['training']['seed'])
        for member in members
    ]  # fmt: skip
    assert seeds == [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    assert all(member['dataset'] == {'seed': 5} and 'n_models' not in member for member in members)
    assert parameters['deepmd']['training']['seed'] == 3


@pytest.fixture
def judged(localhost, monkeypatch):
    """Return a function that lets a committee look at members that ended in the given ways."""
    from types import SimpleNamespace

    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    code = orm.InstalledCode(
        label='dp-none',
        computer=localhost,
        filepath_executable='/bin/true',
        default_calc_job_plugin='softclay.dp.train',
    ).store()

    def run(statuses):
        builder = FitCommitteeWorkChain.get_builder_from_protocol(
            code, frames_of('rattled', 10), n_models=len(statuses)
        )
        process = instantiate_process(get_manager().get_runner(), builder)
        process.setup()
        fits = {
            name: SimpleNamespace(
                exit_status=status, is_finished_ok=status == 0, exit_message=f'ended with {status}',
                outputs={'potential': orm.Dict({'a': name})} if status in (0, 510) else {},
            )
            for name, status in zip(process.ctx.members, statuses, strict=True)
        }  # fmt: skip
        monkeypatch.setattr(type(process), 'branch', lambda self, name: fits[name])
        taken = {}
        monkeypatch.setattr(type(process), 'out', lambda self, name, node: taken.setdefault(name, node))
        for fit in fits.values():
            fit.outputs = Outputs(fit.outputs)
        exit_code = process.inspect_fits() or process.judge()
        return exit_code, sorted(taken)

    return run


class Outputs(dict):
    """Outputs of a made-up fit, by attribute as those of a node."""

    def __getattr__(self, name):
        return self[name]


@pytest.mark.parametrize(
    ('statuses', 'status', 'attached'),
    [
        ((0, 0), None, 2),
        ((0, 510), 510, 2),
        ((400, 0, 510), 310, 2),
        ((500, None), 310, 0),
    ],
)
def test_a_member_without_potential_ends_the_committee_and_a_refused_one_is_named(judged, statuses, status, attached):
    exit_code, taken = judged(statuses)
    assert (exit_code and exit_code.status) == status
    assert len(taken) == attached
    if status is not None:
        bad = [index for index, one in enumerate(statuses) if one not in ((0, 510) if status == 310 else (0,))]
        assert all(f'model_{index:02d} (ended with {statuses[index]})' in exit_code.message for index in bad)
