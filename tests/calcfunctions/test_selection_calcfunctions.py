"""Select candidates from real trajectory nodes with planted deviations, and record what was decided."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.selection import (
    FORCE_DEVIATION,
    matched_deviation,
    record_generation,
    select_candidates,
    summarise_learning,
)
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

RULES = {
    'max_configurations': 3,
    'cutoff_A': 5.0,
    'n_bins': 8,
    'min_contact': 0.5,
    'max_volume_ratio': 1.6,
    'max_pool': 100,
}
TRUST = {'lower_eV_A': 0.1, 'upper_eV_A': 0.3, 'adaptive_fraction': None, 'adaptive_minimum': 1}


@pytest.fixture
def make_run(aiida_profile, tmp_path):
    """Return a trajectory whose frame k is rattled by ``amplitudes[k]`` (two atoms overlap if negative)."""

    def make(name, symbol, deviations, amplitudes=None, steps=None, known=None, stretch=None):
        crystal = bulk(symbol, 'fcc', a=4.0, cubic=True)
        amplitudes = amplitudes or [0.1 + 0.02 * k for k in range(len(deviations))]
        steps = steps or [10 * k for k in range(len(amplitudes))]
        path = tmp_path / f'{name}.h5'
        with TrajectoryFile(path, 'w', crystal.numbers, 0.001, {'program': 'test'}, 'explore') as file:
            for k, (step, amplitude) in enumerate(zip(steps, amplitudes, strict=True)):
                atoms = crystal.copy()
                atoms.rattle(abs(amplitude), seed=k)
                if amplitude < 0:
                    atoms.positions[1] = atoms.positions[0] + [0.5, 0, 0]
                atoms.set_cell(atoms.cell * (stretch[k] if stretch else 1.0), scale_atoms=True)
                file.append(atoms.positions, atoms.cell.array, step)
        deviation = orm.ArrayData(
            {
                'step': np.array(known if known is not None else steps),
                FORCE_DEVIATION: np.array(deviations, dtype=float),
            }
        )
        return MdTrajectoryData.from_file(path), deviation

    return make


def describe(structure, n_planned, failure=None):
    return {'structure': structure, 'n_planned': n_planned, 'failure': failure, 'condition': {'temperature_K': 300}}


def select(runs, nodes, trust=TRUST, rules=RULES, seed=1):
    parameters = orm.Dict({'runs': runs, 'trust': trust, 'selection': rules, 'seed': seed})
    outputs = select_candidates(parameters, **nodes)
    return outputs, outputs['report'].get_dict()


def nodes_of(**runs):
    nodes = {}
    for name, (trajectory, deviation) in runs.items():
        nodes[f'trajectory_{name}'] = trajectory
        nodes[f'deviation_{name}'] = deviation
    return nodes


def test_planted_candidates_are_selected_and_traced(make_run):
    cold = make_run('cold', 'Cu', [0.02, 0.05, 0.15, 0.05])
    hot = make_run('hot', 'Cu', [0.02, 0.29, 0.35, 9.0])
    other = make_run('other', 'Al', [0.12, 0.05])
    runs = {'cu_cold': describe('cu', 4), 'cu_hot': describe('cu', 4), 'al_cold': describe('al', 2)}
    outputs, report = select(
        runs, nodes_of(cu_cold=cold, cu_hot=hot, al_cold=other), rules={**RULES, 'max_configurations': 9}
    )
    # Three candidates; the start that both runs of Cu share counts once: 9 configurations.
    assert report['n_explored'] == 9
    assert report['shares'] == {
        'accurate': pytest.approx(4 / 9),
        'candidate': pytest.approx(3 / 9),
        'failed': pytest.approx(2 / 9),
    }
    assert set(outputs) == {'report', 'selected_cu', 'selected_al'}
    places = report['selected']
    assert [(row['run'], row['frame'], row['step'], row['deviation_eV_A']) for row in places['cu']] == [
        ('cu_cold', 2, 20, 0.15), ('cu_hot', 1, 10, 0.29),
    ]  # fmt: skip
    assert [(row['run'], row['frame']) for row in places['al']] == [('al_cold', 0)]
    with outputs['selected_cu'].open_trajectory() as chosen:
        assert chosen.steps[:].tolist() == [0, 1]
        for row, (source, frame) in enumerate([(cold[0], 2), (hot[0], 1)]):
            with source.open_trajectory() as file:
                np.testing.assert_array_equal(chosen.positions[row], file.positions[frame])
    assert report['runs']['cu_hot']['shares']['failed'] == pytest.approx(2 / 3)
    assert report['incomplete'] == []
    # The nodes know where they come from.
    assert outputs['selected_cu'].creator == outputs['report'].creator
    assert {link.link_label for link in outputs['report'].creator.base.links.get_incoming()} >= {
        'trajectory_cu_hot',
        'deviation_cu_hot',
    }


def test_an_explosion_counts_and_a_lost_run_is_named(make_run):
    exploded = make_run('exploded', 'Cu', [0.05, 0.2])
    runs = {'cu_hot': describe('cu', 10, 'atoms were lost'), 'cu_cold': describe('cu', 10)}
    _, report = select(runs, nodes_of(cu_hot=exploded))
    # 8 frames of the explosion were not reached and failed; the run that was not done says nothing.
    assert report['shares'] == {'accurate': 0.1, 'candidate': 0.1, 'failed': 0.8}
    assert report['incomplete'] == ['cu_cold']
    assert report['n_missing'] == 18
    assert report['n_selected'] == 1


def test_everything_exploded_at_once(make_run):
    outputs, report = select({'cu_hot': describe('cu', 10, 'not finite')}, {})
    assert set(outputs) == {'report'}
    assert report['shares'] == {'accurate': 0.0, 'candidate': 0.0, 'failed': 1.0}
    assert report['deviation_eV_A']['mean'] is None


def test_overlapping_atoms_are_not_labelled(make_run):
    close = make_run('close', 'Cu', [0.2, 0.2, 0.2], amplitudes=[0.1, -0.1, 0.12])
    _, report = select({'cu': describe('cu', 3)}, nodes_of(cu=close))
    assert report['unphysical'] == {'cu': [1]}
    assert [row['frame'] for row in report['selected']['cu']] == [0, 2]


def test_what_evaporates_has_failed_although_the_committee_agrees(make_run):
    # 1.2 cubed is 1.73, beyond 1.6; 1.1 cubed is 1.33; 0.8 cubed is 0.51, below 1 / 1.6.
    gas = make_run('gas', 'Cu', [0.2, 0.2, 0.2, 0.05, 0.2], stretch=[1.0, 1.1, 1.2, 1.2, 0.8])
    _, report = select({'cu': describe('cu', 5)}, nodes_of(cu=gas))
    assert [row['frame'] for row in report['selected']['cu']] == [0, 1]
    assert report['shares'] == {'accurate': 0.0, 'candidate': 0.4, 'failed': 0.6}
    assert report['beyond_volume'] == {'cu': 3}


def test_what_evaporates_does_not_lift_the_adaptive_levels(make_run):
    gas = make_run('gas', 'Cu', [0.2, 0.3, 0.9, 0.8], stretch=[1.0, 1.1, 1.3, 1.3])
    trust = {'lower_eV_A': 0.1, 'upper_eV_A': 2.0, 'adaptive_fraction': 0.5, 'adaptive_minimum': 1}
    _, report = select({'cu': describe('cu', 4)}, nodes_of(cu=gas), trust=trust)
    assert report['levels']['lower_eV_A'] == 0.3
    assert [row['frame'] for row in report['selected']['cu']] == [1]


def test_frames_and_deviations_meet_by_step(make_run):
    trajectory, deviation = make_run(
        'seam', 'Cu', [0.1, 0.5, 0.2, 0.3], amplitudes=[0.1] * 4, steps=[0, 10, 20, 30], known=[0, 20, 20, 40]
    )
    frames, values = matched_deviation(trajectory, deviation)
    # Step 20 is there twice, from both sides of a restart: the later row is valid. Steps 10 and 30 are unknown.
    assert (frames.tolist(), values.tolist()) == ([0, 2], [0.1, 0.2])


def test_adaptive_levels_are_recorded(make_run):
    run = make_run('a', 'Cu', np.linspace(0.5, 1.4, 10))
    trust = {'lower_eV_A': 0.1, 'upper_eV_A': 2.0, 'adaptive_fraction': 0.3, 'adaptive_minimum': 2}
    _, report = select({'a': describe('cu', 10)}, nodes_of(a=run), trust=trust)
    assert report['levels'] == {
        'lower_eV_A': pytest.approx(1.2), 'upper_eV_A': 2.0, 'adaptive_fraction': 0.3, 'floor_eV_A': 0.1
    }  # fmt: skip
    assert report['n_candidates'] == 3


def test_the_record_and_the_results_follow_the_schema(make_run):
    run = make_run('a', 'Cu', [0.05, 0.2, 0.2, 0.4])
    outputs, report = select({'a': describe('cu', 4)}, nodes_of(a=run))
    committee = orm.Dict(
        {'numbers': [{'name': 'rmse_force', 'value': 80.0, 'error': 5.0, 'unit': 'meV/Å', 'definition': ''}]}
    )
    labels = orm.Dict({'failures': {'cu': {'1': 'not converged'}}})
    facts = orm.Dict({'generation': 0, 'decision': 'learning', 'n_frames_before': 10, 'n_labelled': 1})
    record = record_generation(facts, outputs['report'], committee=committee, labels=labels)
    content = record.get_dict()
    assert content['committee_numbers']['rmse_force']['value'] == 80.0
    assert content['labels']['failures']['cu']['1'] == 'not converged'
    assert content['selection_uuid'] == outputs['report'].uuid
    assert content['selected'] == report['selected']
    results = summarise_learning(orm.Dict({'protocol': 'test'}), generation_000=record).get_dict()
    check_results(results)
    numbers = {row['name']: row['value'] for row in results['numbers']}
    assert numbers['share.candidate'] == 0.5
    assert (numbers['generations'], numbers['labelled_frames']) == (1, 1)
    assert numbers['model_deviation'] == pytest.approx(0.2125)


def test_levels_that_make_no_sense_end_with_a_sentence(make_run):
    run = make_run('a', 'Cu', [0.05])
    with pytest.raises(Exception, match='give a positive lower one below the upper one'):
        select({'a': describe('cu', 1)}, nodes_of(a=run), trust={**TRUST, 'lower_eV_A': 1.0})
