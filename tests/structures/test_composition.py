"""Mixtures: what is read, what is refused, and exact counts."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_softclay.structures.composition import Mixture, MixtureError, NonNeutralError, UnknownSaltError
from aiida_softclay.structures.crystals import list_crystals


@pytest.mark.parametrize(
    'text',
    ['2LiCl-GaF3', 'LiCl:GaF3=2:1', '2LiCl–GaF3', '2LiCl—GaF3', '2 LiCl + GaF3', 'LiCl-0.5GaF3', ' 4LiCl-2GaF3 '],
)
def test_spellings_of_the_clay(text):
    mixture = Mixture.parse(text)
    assert mixture.salts == ('LiCl', 'GaF3')
    assert mixture.formula_units == (2, 1)
    assert mixture.formula_unit == {'Li': 2, 'Cl': 2, 'Ga': 1, 'F': 3}
    assert mixture.atoms_per_unit == 8
    assert mixture.reduced_formula == 'Li2GaF3Cl2'
    assert mixture.elements == ['Li', 'F', 'Cl', 'Ga']


def test_fractions():
    mixture = Mixture.parse('1.5MgCl2-GaF3')
    assert mixture.formula_units == (3, 2)
    assert mixture.name == '1.5MgCl2-GaF3'
    assert Mixture.parse('3/2MgCl2-GaF3').formula_units == (3, 2)
    assert Mixture.parse('0.333LiCl-GaF3').amounts[0] == Fraction(1, 3)


@pytest.mark.parametrize(
    ('text', 'units', 'formula'),
    [
        ('2LiCl-0.5AlF3-0.5GaF3', (4, 1, 1), 'Li4AlGaF6Cl4'),
        ('2LiCl-0.3AlF3-0.7GaF3', (20, 3, 7), 'Li20Al3Ga7F30Cl20'),
        ('2LiCl-0.3333AlF3-0.6667GaF3', (6, 1, 2), 'Li6AlGa2F9Cl6'),
        ('0.5MgCl2-GaF3', (1, 2), 'MgGa2F6Cl2'),
    ],
)
def test_smallest_exact_sample(text, units, formula):
    mixture = Mixture.parse(text)
    assert mixture.formula_units == units
    assert mixture.reduced_formula == formula


def test_density_by_the_rule_of_mixtures():
    """Volumes of the published cells: 5.1396³/4 and 5.01²·12.97·sin 60°/6; masses 42.394 and 126.718 u."""
    volume = 2 * 5.1396**3 / 4 + 5.01**2 * 12.97 * 3**0.5 / 2 / 6
    mass = 2 * (6.94 + 35.45) + 69.723 + 3 * 18.998
    assert Mixture.parse('2LiCl-GaF3').rule_density == pytest.approx(mass / volume * 1.66053907, rel=1e-4)


@pytest.mark.parametrize(
    ('text', 'error', 'sentence'),
    [
        ('2KCl-GaF3', UnknownSaltError, 'known are .*LiCl'),
        ('LiCl2-GaF3', NonNeutralError, 'its charge is -1'),
        ('Li-GaF3', UnknownSaltError, 'element or alloy'),
        ('LiAlO2-GaF3', UnknownSaltError, 'polymorphs'),
        ('', MixtureError, 'empty'),
        ('2LiCl-', MixtureError, 'write for example'),
        ('LiCl:GaF3=2', MixtureError, '2 salts but 1 amounts'),
        ('LiCl:GaF3=2:x', MixtureError, 'not an amount'),
        ('LiCl-LiCl', MixtureError, 'twice'),
        ('0LiCl-GaF3', MixtureError, 'larger than 0'),
        ('1/0LiCl-GaF3', MixtureError, 'zero'),
        ('1.2345LiCl-GaF3', MixtureError, 'denominator'),
        ('0.0001LiCl-GaF3', MixtureError, 'too large a formula unit.* for example 1/24'),
        ('LiCl:GaF3=-2:1', MixtureError, "'-2' in .* is not an amount"),
        ('2LiCl-xAlF3-(1-x)GaF3', MixtureError, "'xAlF3' in .* write for example .*2LiCl-0.3AlF3-0.7GaF3"),
        ('2LiCl-AlF3-AlF3', MixtureError, 'AlF3 is named twice'),
        ('2LiCl-GaF3; rm', MixtureError, 'not an amount and a salt'),
    ],
)
def test_bad_mixtures_get_a_sentence(text, error, sentence):
    with pytest.raises(error, match=sentence):
        Mixture.parse(text)


SALTS = list_crystals(salts_only=True)
AMOUNTS = st.fractions(min_value=Fraction(1, 12), max_value=9, max_denominator=12)


@given(st.lists(st.sampled_from(SALTS), min_size=1, max_size=3, unique=True), st.data())
def test_any_mixture_is_neutral_and_reads_its_own_name(salts, data):
    amounts = tuple(data.draw(AMOUNTS) for _ in salts)
    mixture = Mixture(tuple(salts), amounts)
    again = Mixture.parse(mixture.name)
    assert again.salts == mixture.salts
    assert again.formula_units == mixture.formula_units
    first = mixture.formula_units[0] / mixture.amounts[0]
    assert all(units == first * amount for units, amount in zip(mixture.formula_units, mixture.amounts, strict=True))
    charge = sum(mixture.oxidation_states[element] * n for element, n in mixture.formula_unit.items())
    assert abs(charge) < 1e-9
