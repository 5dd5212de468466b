"""A molten salt at several temperatures with replicas: real LAMMPS."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_softclay.analysis.quantity import Quantity, check_results, results_dict
from aiida_softclay.workflows.conductivity_series import ConductivitySeriesWorkChain

#: As in test_conductivity_runs.py.
SALT = {
    'pair_lines': {
        'elements': ['Li', 'Cl'],
        'charges': {'Li': 1.0, 'Cl': -1.0},
        'lines': [
            'pair_style hybrid/overlay coul/dsf 0.2 6.0 born 6.0',
            'pair_coeff * * coul/dsf',
            'pair_coeff 1 1 born 0.4225 0.3425 1.632 0.0 0.0',
            'pair_coeff 1 2 born 0.2905 0.3425 2.401 0.0 0.0',
            'pair_coeff 2 2 born 0.1584 0.3425 3.170 0.0 0.0',
        ],
    }
}
RUN = {'timestep_ps': 0.002, 'equilibrate_ps': 1.0, 'duration_ps': 4.0, 'dump_every': 10, 'thermo_every': 10}


def salt():
    atoms = bulk('LiCl', 'rocksalt', a=5.9, cubic=True) * (2, 2, 2)
    atoms.rattle(0.4, seed=3)
    return orm.StructureData(ase=atoms)


def numbers_of(node):
    check_results(node.get_dict())
    return {row['name']: row for row in node['numbers']}


@pytest.mark.engine
def test_a_salt_at_two_temperatures_with_replicas(lmp_code):
    builder = ConductivitySeriesWorkChain.get_builder_from_protocol(
        lmp_code, salt(), classical=SALT, temperatures=[1000.0, 1500.0], replicas=2, overrides=RUN,
        glass_transition_K=600.0, max_concurrent_jobs=4,
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    numbers = numbers_of(node.outputs.results)
    assert node.outputs.results['context']['seeds'] == [1, 2]
    assert len(node.outputs.stages) == 4
    for ion in ('Li', 'Cl'):
        cold, hot = (numbers[f'temperature_k_{T}_0.diffusivity.{ion}'] for T in (1000, 1500))
        assert hot['value'] > cold['value'] > 0
        values = cold['conditions']['values']
        assert cold['value'] == pytest.approx(sum(values) / 2)
        # Student's t with one degree of freedom covers 68.3 % at 1.84 standard errors; the error within is beside it.
        assert cold['error'] == pytest.approx(1.837 * abs(values[0] - values[1]) / 2, rel=1e-2)
        assert cold['conditions']['within_run_error'] > 0
        energy = numbers[f'activation_energy.diffusivity.{ion}']
        assert energy['value'] > 0
        assert energy['unit'] == 'eV'
        refused = numbers[f'diffusivity.{ion}.at_300_K']
        assert refused['value'] is None
        assert 'the glass transition at 600 K lies between the data' in refused['warnings'][0]
    assert numbers['activation_energy.conductivity.total']['value'] is not None
    for T in (1000, 1500):
        label = f'temperature_k_{T}_0'
        alone = [numbers[f'{label}.conductivity.{ion}']['value'] for ion in ('Li', 'Cl')]
        assert numbers[f'{label}.conductivity.nernst_einstein']['value'] == pytest.approx(sum(alone))
        assert numbers[f'{label}.haven_ratio']['value'] > 0
    assert {'arrhenius', 'collective'} == set(node.outputs.further)
    line = node.outputs.further_curves.arrhenius_diffusivity_Li
    # The line is drawn as far as it may be read off.
    assert line.get_array('line_temperature').min() > 600.0


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'glass_transition_K': -1.0}, 'is not a temperature'),
        ({'at_K': 300.0}, 'must be a list of temperatures'),
        ({'extrapolate_across_glass_transition': 'no'}, 'true or false'),
        ({'colour': 'red'}, 'unknown setting colour'),
    ],
)
def test_bad_settings_get_a_sentence(aiida_profile, changes, sentence):
    settings = {**ConductivitySeriesWorkChain.get_protocol_inputs(), **changes}
    assert sentence in ConductivitySeriesWorkChain.validate_series(orm.Dict(settings), None)


def test_the_glass_transition_is_given_once(lmp_code):
    glass = orm.Dict(results_dict([Quantity('glass_transition_temperature', 400.0, 5.0, 'K', 'Tg', 1)]))
    builder = ConductivitySeriesWorkChain.get_builder_from_protocol(
        lmp_code, salt(), classical=SALT, overrides=RUN, glass_transition_K=600.0, glass_transition=glass
    )
    with pytest.raises(ValueError, match='glass transition is given twice'):
        run_get_node(builder)
    with pytest.raises(ValueError, match='temperatures are given twice'):
        ConductivitySeriesWorkChain.get_builder_from_protocol(
            lmp_code, salt(), classical=SALT, temperatures=[500.0], vary={'temperature_K': [600.0]}
        )


def test_the_ladder_of_the_paper_has_its_length():
    settings = ConductivitySeriesWorkChain.get_protocol_inputs('paper')
    assert settings['vary']['temperature_K'] == [213.0 + 15 * step for step in range(13)]
    assert settings['run_overrides']['duration_ps'] == 3500.0
