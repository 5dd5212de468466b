"""Materials as people write them, and the cells that glasses of them start from."""

from __future__ import annotations

from collections import Counter
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.structures.materials import MaterialError, parse_material, parse_oligomers
from aiida_softclay.structures.neighbours import minimum_distance
from aiida_softclay.structures.starts import STARTS, expand_cell, label_arrays, make_start, start_material, start_size


@pytest.mark.parametrize(
    ('text', 'counts', 'salts'),
    [
        ('2LiCl-GaF3', {'Li': 2, 'Cl': 2, 'Ga': 1, 'F': 3}, ('LiCl', 'GaF3')),
        ('MgCl2', {'Mg': 1, 'Cl': 2}, ('MgCl2',)),
        ('LiAlO0.75Cl2.5', {'Li': 4, 'Al': 4, 'O': 3, 'Cl': 10}, ()),
        ('Li0.5AlO0.75Cl2', {'Li': 2, 'Al': 4, 'O': 3, 'Cl': 8}, ()),
        ('Li3Al3O2Cl8', {'Li': 3, 'Al': 3, 'O': 2, 'Cl': 8}, ()),
        ('LAOC0b', {'Li': 3, 'Al': 3, 'O': 2, 'Cl': 8}, ()),
        # One third with one bridging Cl: 2 Li3Al3O2Cl8 and 1 Li2Al3O2Cl7.
        ('LAOC0.3b', {'Li': 8, 'Al': 9, 'O': 6, 'Cl': 23}, ()),
        ('2Al3O2Cl8-Al3O2Cl7', {'Li': 8, 'Al': 9, 'O': 6, 'Cl': 23}, ()),
        ('2 Al3O2Cl8 + Al3O2Cl7', {'Li': 8, 'Al': 9, 'O': 6, 'Cl': 23}, ()),
        ('Na1.5K1.5Al3O2Cl8', {'Na': 3, 'K': 3, 'Al': 6, 'O': 4, 'Cl': 16}, ()),
    ],
)
def test_materials_are_read(text, counts, salts):
    material = parse_material(text)
    assert material.counts == counts
    assert material.salts == salts
    assert sum(IONIC_RADII[element][1] * number for element, number in counts.items()) == 0
    assert sum(material.charges[element] * number for element, number in counts.items()) == pytest.approx(0)


def test_crystals_to_compare_with():
    """Salts are compared with themselves, an oxychloride with the chlorides it could be made of."""
    assert parse_material('2LiCl-GaF3').crystals == ('LiCl', 'GaF3')
    assert set(parse_material('Li3Al3O2Cl8').crystals) == {'LiAlCl4', 'AlOCl', 'AlCl3', 'LiCl'}
    assert parse_material('2LiCl-GaF3').rule_density == pytest.approx(Mixture.parse('2LiCl-GaF3').rule_density)
    assert parse_material('Na1.5K1.5Al3O2Cl8').rule_density is None


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('Li2Al3O2Cl8', 'not neutral'),
        ('2KCl-GaF3', 'the salt KCl is not known'),
        ('LiCl2-GaF3', 'LiCl2 is not neutral'),
        ('LiAlO0.75Cl2', r'it takes 2.5 Cl'),
        ('clay', 'is not an amount and a salt'),
        ('', 'the mixture is empty'),
    ],
)
def test_what_is_no_material_gets_a_sentence(text, sentence):
    with pytest.raises(MaterialError, match=sentence):
        parse_material(text)


def test_cations_that_do_not_balance_a_molecule():
    with pytest.raises(MaterialError, match=r'carries -3 and takes 3 cations, not 2'):
        parse_oligomers('Li2Al3O2Cl8')
    with pytest.raises(MaterialError, match='named compositions are LAOC0b'):
        parse_oligomers('AlFe')


CASES = [
    ('particles', '2LiCl-GaF3', {'n_atoms': 320}),
    ('particles', '1.5MgCl2-GaF3', {'n_atoms': 400}),
    ('polycrystal', 'MgCl2', {'n_atoms': 408}),
    ('oligomers', 'LAOC0.3b', {'n_atoms': 184}),
    ('oligomers', 'Na1.5K1.5Al3O2Cl8', {'n_atoms': 128}),
    ('oligomers', 'Al3O2Cl8', {'n_atoms': 128, 'cations': 'Na', 'density_g_cm3': 1.8}),
    ('framework', 'Li3Al3O2Cl8', {'n_atoms': 128}),
    ('substitution', 'LiAlO0.75Cl2.5', {}),
    ('substitution', 'NaAlCl4', {'substitution': {'repeat': [1, 1, 1]}}),
    ('random', '2LiCl-GaF3', {'n_atoms': 100}),
]


@pytest.mark.parametrize(('start', 'text', 'wishes'), CASES)
def test_every_start_makes_its_material(start, text, wishes):
    """Composition, neutrality, size, distances and labels of each start, and the same cell from the same seed."""
    atoms, report = make_start(start, text, {**wishes, 'seed': 3})
    material = start_material(start, text, wishes)
    assert material.units_of(atoms) is not None
    counts = Counter(atoms.get_chemical_symbols())
    assert sum(IONIC_RADII[element][1] * number for element, number in counts.items()) == 0
    assert abs(len(atoms) - start_size(start, text, wishes)) <= 0.02 * len(atoms)
    assert report['n_atoms'] == len(atoms)
    assert report['start'] == start
    assert report['material'] == material.name
    assert minimum_distance(atoms) > 1.4
    labels = label_arrays(atoms)
    expected = {'particles': 'grain', 'polycrystal': 'grain', 'random': None}.get(start, 'molecule_id')
    assert set(labels) == ({expected} if expected else set())
    again, _ = make_start(start, text, {**wishes, 'seed': 3})
    assert np.array_equal(atoms.positions, again.positions)


@settings(max_examples=6, deadline=None)
@given(st.tuples(*[st.integers(1, 2)] * 3), st.sampled_from([CASES[2], CASES[4], CASES[7], CASES[9]]))
def test_copies_keep_density_distances_and_their_own_labels(expand, case):
    start, text, wishes = case
    single, _ = make_start(start, text, wishes)
    many, report = make_start(start, text, {**wishes, 'expand': list(expand)})
    number = prod(expand)
    assert len(many) == number * len(single) == start_size(start, text, {**wishes, 'expand': list(expand)})
    assert report['expand'] == list(expand)
    assert many.get_volume() == pytest.approx(number * single.get_volume())
    assert minimum_distance(many) == pytest.approx(minimum_distance(single), abs=1e-6)
    for name, label in label_arrays(single).items():
        copied = label_arrays(many)[name]
        sizes = np.unique(label[label >= 0], return_counts=True)[1]
        assert sorted(np.unique(copied[copied >= 0], return_counts=True)[1]) == sorted(np.tile(sizes, number))
    assert expand_cell(single, (1, 1, 1)) is single


@pytest.mark.parametrize(
    ('start', 'text', 'wishes', 'sentence'),
    [
        ('particles', 'LiCl', {'n_atoms': 320}, 'take the start polycrystal'),
        ('polycrystal', '2LiCl-GaF3', {'n_atoms': 320}, 'take the start particles'),
        ('oligomers', '2LiCl-GaF3', {'n_atoms': 320}, 'no oxychloride'),
        ('framework', 'LAOC0.3b', {'n_atoms': 128}, 'take the start oligomers'),
        ('framework', 'Na1.5K1.5Al3O2Cl8', {'n_atoms': 128}, 'one molecule and one cation'),
        ('substitution', '2LiCl-GaF3', {}, 'is no formula'),
        ('particles', '2LiCl-GaF3', {'n_atoms': None}, 'n_atoms must be a positive whole number'),
        ('particles', '2LiCl-GaF3', {'n_atoms': 320, 'expand': [1, 2]}, 'three positive whole numbers'),
        ('particles', '2LiCl-GaF3', {'n_atoms': 320, 'expand': [1, 2, 0]}, 'three positive whole numbers'),
        ('particles', '2LiCl-GaF3', {'atoms': 320}, 'does not know atoms'),
        ('crystal', 'LiCl', {}, 'there is no start'),
        ('given', 'LiCl', {}, 'a given structure is not built'),
    ],
)
def test_bad_starts_get_a_sentence(start, text, wishes, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_start(start, text, wishes)


def test_framework_takes_whole_chains():
    """A size between two multiples of the four chains is rounded, and said."""
    atoms, report = make_start('framework', 'Li3Al3O2Cl8', {'n_atoms': 100})
    assert len(atoms) == 128 == start_size('framework', 'Li3Al3O2Cl8', {'n_atoms': 100})
    assert any('multiples of 64' in sentence for sentence in report['warnings'])


def test_every_start_says_what_it_is():
    assert all(start.about for start in STARTS.values())
