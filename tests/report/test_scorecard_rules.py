"""The rules of the scorecard, one by one, without a database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aiida_softclay.report import scorecard as rules
from aiida_softclay.report.composition import largest_difference, reduced_text

PUBLISHED = {f'{number.paper}.{number.id}': number for number in rules.published_numbers()}
CONDUCTIVITY = PUBLISHED['yang2024.conductivity_Mg']
#: What would confirm it: paper scale, DFT behind the potential, an error, no warnings.
CONFIRMING = rules.Computed(
    name='conductivity.Mg', value=0.33, error=0.02, unit='mS/cm', composition='MgCl2-GaF3', elements='Cl-F-Ga-Mg',
    temperature_K=300.4, n_atoms=12000, duration_ps=25000, protocol='paper', labels_kind='dft', labels='PBE (VASP 6.4)',
)  # fmt: skip


def test_what_confirms_is_comparable():
    assert rules.verdict(CONFIRMING, CONDUCTIVITY) == ('comparable', [])
    row = rules.compare(CONFIRMING, CONDUCTIVITY)
    assert row['ratio'] == pytest.approx(0.33 / 0.31)
    assert row['deviation'] == pytest.approx(1.0)
    assert row['agreement'] == 'agrees'


@pytest.mark.parametrize(
    ('change', 'level', 'reason'),
    [
        ({'value': None}, 'not comparable', 'could not be determined'),
        ({'error': None}, 'indicative', 'has no error'),
        ({'protocol': 'demo'}, 'not comparable', 'demo'),
        ({'protocol': 'yang2024_demo'}, 'not comparable', 'demo'),
        ({'protocol': ''}, 'indicative', 'protocol is not recorded'),
        ({'n_atoms': 320}, 'not comparable', '320 atoms against 12000'),
        ({'n_atoms': 3000}, 'indicative', '3000 atoms against 12000'),
        ({'n_atoms': None}, 'indicative', 'atoms is not recorded'),
        ({'duration_ps': 6.0}, 'not comparable', '6 ps run against 25000 ps'),
        ({'duration_ps': 3000.0}, 'indicative', '3000 ps run'),
        ({'temperature_K': 700.0}, 'not comparable', '700 K against 300 K'),
        ({'temperature_K': 310.0}, 'indicative', '310 K against 300 K'),
        ({'temperature_K': None}, 'indicative', 'temperature is not recorded'),
        ({'composition': 'Mg100Ga101Cl200F303'}, 'comparable', ''),
        ({'composition': 'Mg20Ga19Cl40F57'}, 'indicative', 'composition'),
        ({'labels_kind': 'model', 'labels': 'CHGNet 0.3.0'}, 'indicative', 'CHGNet 0.3.0'),
        ({'labels_kind': ''}, 'indicative', 'what the energies come from'),
        ({'warnings': 'the blocks are still correlated'}, 'indicative', 'still correlated'),
    ],
)
def test_each_rule_holds_a_number_back(change, level, reason):
    found, reasons = rules.verdict(replace(CONFIRMING, **change), CONDUCTIVITY)
    assert found == level
    assert reason in ''.join(reasons)


def test_a_small_demo_on_a_model_is_never_a_confirmation():
    demo = replace(
        CONFIRMING,
        protocol='demo',
        n_atoms=320,
        duration_ps=6.0,
        labels_kind='model',
        labels='CHGNet 0.3.0',
        value=0.31,
    )
    found, reasons = rules.verdict(demo, CONDUCTIVITY)
    assert found == 'not comparable'
    assert len(reasons) == 4
    assert rules.compare(demo, CONDUCTIVITY)['agreement'] == ''


def test_crystals_of_a_demo_are_indicative():
    published = PUBLISHED['gupta2023.reaction_energy']
    ours = rules.Computed(
        'reaction_energy',
        -94.9,
        0.1,
        'meV/atom',
        salts='GaF3-LiCl',
        protocol='demo',
        labels_kind='model',
        labels='CHGNet',
    )
    assert rules.matches(ours, published)
    assert rules.verdict(ours, published)[0] == 'indicative'
    assert rules.compare(ours, published)['ratio'] == pytest.approx(94.9 / 93)


def test_measured_numbers_and_other_structures_are_indicative_at_best():
    measured = PUBLISHED['yang2024.conductivity_measured']
    assert rules.verdict(CONFIRMING, measured)[1] == ['the published number is measured']
    slab = PUBLISHED['yang2024.bulk_modulus_slab_a_dft']
    ours = replace(CONFIRMING, name='bulk_modulus.a.engine', unit='GPa')
    assert rules.verdict(ours, slab) == ('indicative', ['another structure stands for that of the paper'])


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('conductivity.Mg', True),
        ('conductivity.conductivity.Mg', True),
        ('conductivity_polycrystal.conductivity.Mg', True),
        ('conductivity.self.Mg', True),
        ('activation_energy.conductivity.Mg', False),
        ('conductivity.Mg.at_300_K', False),
        ('conductivity.distinct.Mg', False),
        ('conductivity.Cl', False),
    ],
)
def test_names_match_with_nothing_but_stages_before_them(name, expected):
    assert rules.is_named(name, CONDUCTIVITY) is expected


def test_material_is_that_of_the_cell():
    assert rules.matches(replace(CONFIRMING, composition='Cl800F1200Ga400Mg400'), CONDUCTIVITY)
    assert not rules.matches(replace(CONFIRMING, composition='2LiCl-GaF3'), CONDUCTIVITY)
    assert not rules.matches(replace(CONFIRMING, composition=''), CONDUCTIVITY)
    rmse = PUBLISHED['gupta2023.rmse_energy']
    ours = rules.Computed('potential.rmse_energy', 0.8, 0.1, 'meV/atom', elements='Cl-F-Ga-Li')
    assert rules.matches(ours, rmse)
    assert not rules.matches(replace(ours, elements='Al-Cl-Li-O'), rmse)


def test_shear_and_tension_are_not_mixed_up():
    shear, tension = PUBLISHED['you2025.shear_yield_stress'], PUBLISHED['you2025.tensile_yield_stress']
    ours = rules.Computed('yield_stress.maximum', 0.2, 0.01, 'GPa', composition='Li3Al3O2Cl8', component='xz')
    assert rules.matches(ours, shear)
    assert not rules.matches(ours, tension)


def test_units_are_converted_and_other_quantities_refused():
    assert rules.convert(-58, 'degC', 'K') == pytest.approx(215.15)
    assert rules.convert(1.52e-3, 'S/cm', 'mS/cm') == pytest.approx(1.52)
    assert rules.convert(-0.187, 'eV/atom', 'meV/atom') == pytest.approx(-187)
    with pytest.raises(ValueError, match='GPa cannot be written in K'):
        rules.convert(1.0, 'GPa', 'K')
    with pytest.raises(ValueError, match='cannot be written'):
        rules.convert(1.0, 'furlongs_of_old', 'K')


def test_bounds_are_met_or_not():
    rmse = PUBLISHED['gupta2023.rmse_force']
    ours = rules.Computed('rmse_force', 65.0, 1.0, 'meV/Å', elements='Cl-F-Ga-Li', protocol='paper', labels_kind='dft')
    assert rules.compare(ours, rmse)['agreement'] == 'met'
    assert rules.compare(replace(ours, value=75.0), rmse)['agreement'] == 'not met'
    strain = PUBLISHED['gupta2023.residual_strain']
    lasting = rules.Computed(
        'residual_strain.cycle_3', 0.03, 0.01, '1', composition='2LiCl-GaF3', temperature_K=300, n_atoms=10000,
        duration_ps=2500, protocol='paper', labels_kind='dft',
    )  # fmt: skip
    assert rules.compare(lasting, strain)['agreement'] == 'met'
    assert rules.compare(lasting, strain)['ratio'] is None
    assert rules.compare(replace(lasting, error=0.02), strain)['agreement'] == 'not met'


def test_volumes_are_compared_for_the_same_number_of_atoms():
    published = PUBLISHED['qyang2025.volume_LiAlCl4']
    ours = rules.Computed('volume', 2 * 2677.0, 10.0, 'Å^3', composition='LiAlCl4', n_atoms=192)
    assert rules.compare(ours, published)['ratio'] == pytest.approx(1.0)


def test_the_best_and_then_the_newest_is_shown():
    hot = replace(CONFIRMING, temperature_K=700.0, value=9.0)
    demo = replace(CONFIRMING, protocol='demo', value=1.0)
    assert rules.best([(hot, 9.0), (CONFIRMING, 1.0), (demo, 9.0)], CONDUCTIVITY) is CONFIRMING
    newer = replace(CONFIRMING, value=0.30)
    assert rules.best([(CONFIRMING, 1.0), (newer, 2.0)], CONDUCTIVITY) is newer
    own_part = replace(CONFIRMING, name='conductivity.self.Mg')
    assert rules.best([(own_part, 2.0), (CONFIRMING, 1.0)], CONDUCTIVITY) is CONFIRMING
    assert rules.best([], CONDUCTIVITY) is None


@pytest.mark.parametrize('number', rules.published_numbers(), ids=lambda number: f'{number.paper}.{number.id}')
def test_every_published_number_is_complete(number):
    assert number.kind in {'computed', 'measured'}
    assert number.bound in {'', 'upper', 'lower'}
    assert number.printed
    assert number.source
    assert sum(bool(text) for text in (number.of, number.pair, number.system)) == 1
    assert set(number.conditions) <= {'temperature_K', 'n_atoms', 'duration_ps', 'component', 'rate_per_ps'}
    assert rules.convert(number.value, number.unit, number.unit) == pytest.approx(number.value)
    for text in (number.of, *number.pair.split('-')):
        assert not text or reduced_text(text)


def test_published_numbers_have_names_of_their_own():
    assert len(PUBLISHED) == len(rules.published_numbers())
    assert rules.papers() == ('gupta2023', 'yang2024', 'you2025', 'dai2023', 'qyang2025')


def test_compositions_are_compared_however_they_are_written():
    assert largest_difference('2LiCl-GaF3', 'Cl64F96Ga32Li64') == pytest.approx(0)
    assert largest_difference('LAOC0.3b', 'Li3Al3O2Cl8') == pytest.approx(3 / 16 - 8 / 46)
    assert largest_difference('no material at all', 'LiCl') == 1.0
