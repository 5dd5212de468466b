"""The scorecard of a profile, from stored results to the printed table."""

from __future__ import annotations

import json

import pytest
from aiida import orm
from aiida.common.links import LinkType
from click.testing import CliRunner

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.report.scorecard_table import scorecard


def store_results(label: str, quantities: list[Quantity], **context):
    """Store a workchain that returned these numbers."""
    process = orm.WorkChainNode()
    process.set_process_label(label)
    process.store()
    results = orm.Dict(results_dict(quantities, **context)).store()
    results.base.links.add_incoming(process, link_type=LinkType.RETURN, link_label='results')
    return process, results


def reaction(value: float, protocol: str, engine: dict):
    quantity = Quantity('reaction_energy', value, 0.5, 'meV/atom', 'driving force', 10)
    return store_results(
        'ReactionEnergyWorkChain', [quantity], salts=['LiCl', 'GaF3'], engine=engine, protocol=protocol
    )


CHGNET = {'program': 'softclay-vasp', 'version': '0.1', 'model': 'CHGNet 0.3.0'}
PBE = {'program': 'vasp', 'version': '6.4', 'functional': 'PBE'}


@pytest.fixture
def filled(aiida_profile_clean):
    reaction(-94.9, 'demo', CHGNET)
    best, _ = reaction(-93.4, 'paper', PBE)
    reaction(-60.0, 'demo', CHGNET)
    store_results(
        'ConductivityWorkChain',
        [
            Quantity('conductivity.Mg', 0.5, 0.1, 'mS/cm', 'sigma', 10, conditions={'temperature_K': 700.0}),
            Quantity('conductivity.F', 0.1, 0.1, 'mS/cm', 'sigma', 10, conditions={'temperature_K': 700.0}),
        ],
        formula='Cl64F96Ga32Mg32', n_atoms=224, duration_ps=6.0, protocol='demo', engine='LAMMPS', labels=CHGNET,
    )  # fmt: skip
    return best


def test_the_best_number_stands_beside_the_published_one(filled):
    table = scorecard(['gupta2023', 'yang2024'])
    rows = table.set_index(['paper', 'id'])
    row = rows.loc['gupta2023', 'reaction_energy']
    assert row['process_pk'] == filled.pk
    assert row['verdict'] == 'comparable'
    assert row['agreement'] == 'agrees'
    assert row['n_others'] == 2
    assert rows.loc['yang2024', 'reaction_energy']['verdict'] == 'none yet'
    mg = rows.loc['yang2024', 'conductivity_Mg']
    assert mg['verdict'] == 'not comparable'
    assert mg['labels'] == 'CHGNet 0.3.0 (softclay-vasp 0.1)'
    assert '700 K against 300 K' in mg['reasons']
    # Only the conductivity of fluorine answers nothing.
    assert table.attrs['unmatched'] == 1


def test_numbers_that_are_deleted_leave_the_scorecard(filled):
    from aiida.tools import delete_nodes

    delete_nodes([filled.pk], dry_run=False)
    table = scorecard(['gupta2023']).set_index('id')
    assert table.loc['reaction_energy', 'verdict'] == 'indicative'
    assert table.loc['reaction_energy', 'value'] == pytest.approx(-60.0)


def test_an_unknown_paper_is_refused(aiida_profile_clean):
    with pytest.raises(ValueError, match='choose from gupta2023'):
        scorecard(['smith1999'])


def test_scorecard_as_it_is_typed(filled):
    from aiida_softclay.cli.scorecard import scorecard as command

    text = CliRunner().invoke(command, ['--paper', 'gupta2023', '--reasons'], terminal_width=200)
    assert text.exit_code == 0, text.output
    assert '-93.40 ± 0.50' in text.output
    assert 'comparable' in text.output
    assert 'Supplementary Fig. 8' in text.output
    rows = json.loads(CliRunner().invoke(command, ['--computed', '--json']).output)
    assert {row['verdict'] for row in rows} == {'comparable', 'not comparable'}
    lines = CliRunner().invoke(command, ['--csv']).output.splitlines()
    assert lines[0].startswith('paper,id,material')
    assert len(lines) == 65
