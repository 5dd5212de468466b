"""The table of glass checks in the results schema, with provenance, from cells whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase import Atoms

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.glass_checks import check_glass, needed_crystals
from aiida_softclay.calcfunctions.structures import build_oligomer_glass, to_structure
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import crystal
from aiida_softclay.structures.mixtures import random_mixture

pytestmark = pytest.mark.usefixtures('aiida_profile')

REFERENCES = {
    'LiCl': {'energy_eV': -3.5 * 64, 'n_atoms': 64, 'formula': 'Cl32Li32'},
    'GaF3': {'energy_eV': -4.5 * 24, 'n_atoms': 24, 'formula': 'F18Ga6'},
}


@pytest.fixture(scope='module')
def clay(aiida_profile):
    """A start and a glass of 2LiCl-GaF3 with 80 atoms, the glass at 0.9 of the rule of mixtures."""
    mixture = Mixture.parse('2LiCl-GaF3')
    start = random_mixture(mixture, 10, seed=1, density=2.5)
    glass = random_mixture(mixture, 10, seed=2, density=0.9 * mixture.rule_density)
    return to_structure(start, 'start'), to_structure(glass, 'glass')


def table(node) -> dict[str, dict]:
    check_results(node.get_dict())
    return {row['name']: row for row in node['numbers']}


def refusal(*arguments, **options) -> str:
    _, process = check_glass.run_get_node(*arguments, **options)
    assert process.exit_status == 510
    return process.exit_message


def test_clay_against_mixture_rule_and_salts(clay):
    context = {'engine': 'a ruler', 'n_atoms': 3, 'material': 'chalk'}
    parameters = orm.Dict(
        {
            'material': '2LiCl-GaF3',
            'temperature_K': 300.0,
            'potential_energy_per_atom_eV': -4.05,
            'potential_energy_error_eV': 0.002,
            'context': context,
        }
    )
    node = check_glass(*clay, parameters, references=orm.Dict({'references': REFERENCES}))
    numbers = table(node)
    assert numbers['density.before']['value'] == pytest.approx(2.5)
    assert numbers['density_ratio.rule_of_mixtures']['value'] == pytest.approx(0.9)
    assert numbers['density_ratio.measured']['value'] is None
    assert 'no measured density' in numbers['density_ratio.measured']['warnings'][0]
    # Half of the atoms are in each salt: −4.05 − (−3.5 − 4.5)/2 eV.
    assert numbers['energy_above_salts']['value'] == pytest.approx(-0.05)
    assert '3/2 kT = 0.0388' in numbers['energy_above_salts']['warnings'][0]
    assert numbers['energy_above_crystals']['value'] == pytest.approx(-0.05)
    for state in ('before', 'after'):
        total = numbers[f'coordination.Ga-anions.{state}']['value']
        parts = [numbers[f'coordination.Ga-{anion}.{state}']['value'] for anion in ('F', 'Cl')]
        assert total == pytest.approx(sum(parts))
        assert sum(node['context']['census'][state]['Ga'].values()) == pytest.approx(1.0)
    row = numbers['tetrahedra.GaCl4.after']
    assert row['n_samples'] == 10
    assert 'one snapshot' in row['error_method']
    assert row['error'] > 0
    assert set(node['context']['cutoffs']) == {'Li-F', 'Li-Cl', 'Ga-F', 'Ga-Cl'}
    assert all(found['cutoff_A'] > 1.5 for found in node['context']['cutoffs'].values())
    assert node['context']['problems'] == []
    assert not any(name.startswith('molecules') for name in numbers)
    assert numbers['energy_above_salts']['error'] == pytest.approx(0.002)
    assert (node['context']['engine'], node['context']['n_atoms'], node['context']['material']) == (
        'a ruler', 80, '2LiCl-GaF3',
    )  # fmt: skip
    assert node.creator.process_label == 'check_glass'


def test_the_mean_density_of_a_run_comes_before_that_of_its_last_snapshot(clay):
    rule = Mixture.parse('2LiCl-GaF3').rule_density
    options = {'material': '2LiCl-GaF3', 'density_g_cm3': 0.8 * rule, 'density_error_g_cm3': 0.01 * rule}
    numbers = table(check_glass(*clay, orm.Dict(options)))
    assert numbers['density.after']['value'] == pytest.approx(0.8 * rule)
    ratio = numbers['density_ratio.rule_of_mixtures']
    assert (ratio['value'], ratio['error']) == pytest.approx((0.8, 0.01))


def test_change_is_after_less_before(clay):
    numbers = table(check_glass(*clay, orm.Dict({'material': '2LiCl-GaF3'})))
    name = 'coordination.Ga-Cl'
    change = numbers[f'{name}.after']['value'] - numbers[f'{name}.before']['value']
    assert numbers[f'{name}.change']['value'] == pytest.approx(change)
    same = table(check_glass(clay[1], clay[1], orm.Dict({'material': '2LiCl-GaF3'})))
    assert all(row['value'] == 0.0 for key, row in same.items() if key.endswith('.change'))
    assert 'energy_above_salts' not in numbers


def test_glass_at_zero_kelvin_and_a_missing_salt(clay):
    glass = {'energy_eV': -4.0 * 80 + 8.0, 'n_atoms': 80, 'formula': 'Cl20F30Ga10Li20'}
    parameters = orm.Dict({'material': '2LiCl-GaF3', 'temperature_K': 300.0, 'potential_energy_per_atom_eV': -3.9})
    whole = table(check_glass(*clay, parameters, references=orm.Dict({'references': REFERENCES, 'glass': glass})))
    # The relaxed glass is taken, not the mean at 300 K: 8 eV over 80 atoms.
    assert whole['energy_above_salts']['value'] == pytest.approx(0.1)
    assert whole['energy_above_salts']['warnings'] == []
    assert whole['energy_above_salts']['conditions']['temperature_K'] == 0.0
    partial = {'references': {'LiCl': REFERENCES['LiCl']}, 'glass': glass}
    lacking = table(check_glass(*clay, parameters, references=orm.Dict(partial)))
    assert lacking['energy_above_salts']['value'] is None
    assert 'no reference energy of GaF3' in lacking['energy_above_salts']['warnings'][0]
    assert lacking['energy_above_crystals']['value'] is None


def test_oligomers_are_whole_until_one_is_torn(aiida_profile):
    made = build_oligomer_glass(orm.Dict({'n_molecules': 4, 'seed': 3}))
    start, labels = made['structure'], made['molecules']
    atoms = start.get_ase()
    parameters = orm.Dict({'material': 'Li3Al3O2Cl8'})
    whole = table(check_glass(start, start, parameters, molecules=labels))
    assert whole['molecules.count']['value'] == 4
    assert whole['molecules.bonds']['value'] == 48
    assert whole['molecules.bonds_intact']['value'] == 1.0
    assert whole['molecules.torn']['value'] == whole['molecules.torn_by_packing']['value'] == 0
    measured = whole['density_ratio.measured']
    assert measured['value'] == pytest.approx(1.0, abs=1e-3)
    assert 'you2025' in measured['definition']
    assert measured['error'] == pytest.approx(0.05 / 1.9, rel=1e-3)
    assert whole['species.AlOCl3.after']['value'] == pytest.approx(2 / 3)
    assert whole['species.AlO2Cl2.after']['value'] == pytest.approx(1 / 3)

    aluminium = np.flatnonzero(atoms.numbers == 13)
    distances = atoms.get_all_distances(mic=True)
    chlorine = next(i for i in np.flatnonzero(atoms.numbers == 17) if (distances[i, aluminium] < 2.4).sum() == 1)
    metal = aluminium[np.argmin(distances[chlorine, aluminium])]
    atoms.positions[chlorine] += atoms.get_distance(metal, chlorine, mic=True, vector=True)
    torn = table(check_glass(start, to_structure(atoms, 'torn'), parameters, molecules=labels))
    assert torn['molecules.torn']['value'] == 1
    assert torn['molecules.torn_by_packing']['value'] == 0
    assert torn['molecules.bonds_intact']['value'] == pytest.approx(47 / 48)


def test_labels_of_grains_say_nothing_about_molecules(clay):
    labels = orm.ArrayData({'grain': np.zeros(80, dtype=int)})
    numbers = table(check_glass(*clay, orm.Dict({'material': '2LiCl-GaF3'}), molecules=labels))
    assert not any(name.startswith('molecules') for name in numbers)


def test_cells_off_charge_and_off_composition_are_reported(clay):
    atoms = clay[1].get_ase()
    # The cell lacks one Li.
    cell = to_structure(atoms[[i for i in range(80) if i != np.flatnonzero(atoms.numbers == 3)[0]]], 'charged')
    node = check_glass(cell, cell, orm.Dict({'material': '2LiCl-GaF3'}))
    problems = ' '.join(node['context']['problems'])
    assert 'no whole number of 2LiCl-GaF3' in problems
    assert 'a charge of -1 e' in problems
    assert problems.split()[0] in table(node)['density.after']['warnings'][0]


def test_what_cannot_be_checked_is_refused_in_a_sentence(clay):
    start, glass = clay
    assert 'they differ in atoms' in refusal(to_structure(crystal('LiCl'), 'x'), glass, orm.Dict({}))
    assert 'do not know temperature: choose from material' in refusal(start, glass, orm.Dict({'temperature': 3}))
    strange = to_structure(Atoms('XeF', positions=[[0, 0, 0], [2, 0, 0]], cell=[6.0] * 3, pbc=True), 'strange')
    assert 'no formal charge is known for Xe' in refusal(strange, strange, orm.Dict({}))
    given = check_glass(strange, strange, orm.Dict({'charges': {'Xe': 1}}))
    assert 'no material was named' in given['context']['problems'][0]
    wrong = orm.ArrayData({'molecule_id': np.zeros(7, dtype=int)})
    assert 'molecule ids for 7 atoms' in refusal(start, glass, orm.Dict({}), molecules=wrong)


def test_crystals_to_compare_with():
    clay = needed_crystals('2LiCl-GaF3')
    assert clay['mixture'] == ['LiCl', 'GaF3']
    assert {'Li3GaF6', 'GaCl3', 'LiF', 'LiGaCl4'} <= set(clay['competing'])
    assert not {'Li', 'Ga', 'Cl2', 'LiCl'} & set(clay['competing'])
    oxychloride = needed_crystals('Li3Al3O2Cl8')
    assert oxychloride['mixture'] == ['LiAlCl4', 'AlOCl', 'AlCl3', 'LiCl']
    assert {'Al2O3', 'LiAlO2_gamma'} <= set(oxychloride['competing'])
