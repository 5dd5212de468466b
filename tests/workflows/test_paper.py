"""Everything that answers a paper: the steps of each, what waits for what, and a chain that runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_softclay.data.potential import PotentialData
from aiida_softclay.report.scorecard import is_named, papers, published_numbers
from aiida_softclay.workflows.paper import PaperWorkChain, needs, validate_inputs, validate_parameters

MODEL = Path(__file__).parent / 'fixtures' / 'md_lithium_chloride.pb'
#: Classes of 32 ions: with the limits of yang2024 the slow one may be empty.
MOBILITY = {'species': 'Li', 'cutoffs': {'Cl': 3.2}, 'upper': 0.6, 'lower': 0.4}
SCALES = ('demo', 'balanced', 'paper')


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('paper', papers())
def test_steps_of_every_paper_can_be_run(paper, scale):
    steps = PaperWorkChain.steps_of(paper, scale)
    parameters = orm.Dict({'paper': paper, 'protocol': scale, 'steps': steps})
    assert validate_parameters(parameters, None) is None
    done: set[str] = set()
    while ready := {name for name, step in steps.items() if name not in done and set(needs(step)) <= done}:
        done |= ready
    assert done == set(steps)
    without = PaperWorkChain.steps_of(paper, scale, with_potential=False)
    assert set(steps) - set(without) == {'potential'}


def test_every_step_has_a_name_that_the_scorecard_knows_as_a_stage():
    published = {number.id: number for number in published_numbers() if number.paper == 'yang2024'}
    for paper in papers():
        for name in PaperWorkChain.steps_of(paper):
            assert is_named(f'{name}.conductivity.Mg', published['conductivity_Mg']), name
    assert is_named('potential.validation.bulk_modulus.a.engine', published['bulk_modulus_slab_a_dft'])
    assert is_named('potential.fit.rmse_force', published['rmse_force'])


@pytest.mark.parametrize(
    ('steps', 'sentence'),
    [
        ({}, 'there are no steps'),
        ({'a': {'process': 'softclay.magic'}}, 'unknown process'),
        ({'a': {'process': 'softclay.conductivity'}}, '`structure` is missing'),
        ({'a': {'process': 'softclay.conductivity', 'structure': 'glass'}}, 'needs glass, which is no step'),
        ({'a': {'process': 'softclay.amorphous', 'protocol': 'huge'}}, 'unknown protocol `huge`'),
        ({'a': {'process': 'arrhenius', 'runs': ['b']}}, 'needs b'),
    ],
)
def test_steps_that_do_not_fit_are_refused(steps, sentence):
    assert sentence in validate_parameters(orm.Dict({'steps': steps}), None)


def test_a_potential_or_what_makes_one_is_needed(aiida_profile):
    steps = {'glass': {'process': 'softclay.amorphous'}, 'potential': {'process': 'softclay.build_potential'}}
    inputs = {'parameters': orm.Dict({'steps': steps}), 'codes': {'lmp': None}}
    assert 'potential_family' in validate_inputs(inputs, None)
    inputs |= {'codes': {'lmp': None, 'vasp': None}, 'potential_family': 'x'}
    assert 'codes.dp is missing' in validate_inputs(inputs, None)
    only_glass = {'parameters': orm.Dict({'steps': {'glass': steps['glass']}}), 'codes': {}}
    assert 'neither a potential' in validate_inputs(only_glass, None)
    assert validate_inputs({**only_glass, 'potential': 'one'}, None) is None


def test_unknown_papers_are_refused():
    with pytest.raises(ValueError, match='choose from gupta2023'):
        PaperWorkChain.steps_of('smith1999')


@pytest.mark.engine
def test_steps_hand_on_what_they_make_and_failures_are_named(aiida_profile_clean, lmp_code):
    # The second analysis finds no Al: that costs its own numbers alone.
    short = {
        'equilibrate_ps': 0.05, 'duration_ps': 0.4, 'temperature_K': 900.0, 'dump_every': 10,
        'analyses': {'mobility_classes': MOBILITY, 'chains': {'bonds': {'O': 2.3}}},
    }  # fmt: skip
    glass = {
        'n_atoms': 64, 'reference_energies': False, 'relax': {'max_steps': 20, 'closing_pressure_GPa': 0.0},
        'equilibrate': {'duration_ps': 0.2, 'temperature_K': 300.0}, 'density_range': [0.1, 3.0],
        'contact_fraction': 0.2,
    }  # fmt: skip
    steps = {
        'glass': {
            'process': 'softclay.amorphous', 'material': 'LiCl', 'protocol': 'polycrystal_demo', 'overrides': glass
        },
        'conductivity': {
            'process': 'softclay.conductivity', 'structure': 'glass', 'protocol': 'demo', 'overrides': short
        },
        # One temperature is no line: this step fails, and only this one.
        'arrhenius': {
            'process': 'arrhenius', 'material': 'LiCl', 'runs': ['conductivity'], 'quantity': 'conductivity.Li'
        },
    }  # fmt: skip
    builder = PaperWorkChain.get_builder()
    builder.codes = {'lmp': lmp_code}
    builder.potential = PotentialData(MODEL).store()
    builder.parameters = orm.Dict({'paper': 'gupta2023', 'protocol': 'demo', 'steps': steps})
    outputs, node = run_get_node(builder)
    assert node.exit_status == PaperWorkChain.exit_codes.WARNING_STEPS_MISSING.status, node.exit_message
    assert 'arrhenius' in node.exit_message
    further = {'conductivity_collective', 'conductivity_mobility_classes'}
    assert set(outputs['stages']) == {'glass', 'conductivity', *further}
    run = next(child for child in node.called if child.process_label == 'ConductivityWorkChain')
    assert run.inputs.structure.uuid == outputs['structures']['glass'].uuid
    names = [row['name'] for row in outputs['results']['numbers']]
    assert 'conductivity.conductivity.Li' in names
    assert 'conductivity_collective.transference.Li' in names
    assert 'conductivity_mobility_classes.coordination.Li.fast' in names
    context = outputs['stages']['conductivity_mobility_classes'].get_dict()['context']
    assert context['n_atoms'] == len(run.inputs.structure.sites)
    assert context['target_temperature_K'] == 900.0
    assert 'glass.density' in names
