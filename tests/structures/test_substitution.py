"""Substituted chloroaluminates: compositions of the papers, neutrality, symmetry-distinct choices, seeds."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.io.ase import AseAtomsAdaptor

from aiida_softclay.structures.checks import density
from aiida_softclay.structures.crystals import crystal
from aiida_softclay.structures.neighbours import minimum_distance
from aiida_softclay.structures.oxychlorides import Oxychloride, OxychlorideError, rule_density
from aiida_softclay.structures.substitution import (
    anion_permutations,
    canonical_choice,
    distinct_choices,
    draw_choice,
    parent_sites,
    substituted_crystal,
    void_positions,
)

#: Compositions of dai2023 and qyang2025 with their ions in 16 formula units, counted by hand.
COMPOSITIONS = [
    ('LiAlCl4', {'Li': 16, 'Al': 16, 'Cl': 64}),
    ('LiAlO0.25Cl3.5', {'Li': 16, 'Al': 16, 'O': 4, 'Cl': 56}),
    ('LiAlO0.75Cl2.5', {'Li': 16, 'Al': 16, 'O': 12, 'Cl': 40}),
    ('Li0.5AlO0.75Cl2', {'Li': 8, 'Al': 16, 'O': 12, 'Cl': 32}),
    ('Li1.5AlO0.75Cl3', {'Li': 24, 'Al': 16, 'O': 12, 'Cl': 48}),
    ('NaAlO0.75Cl2.5', {'Na': 16, 'Al': 16, 'O': 12, 'Cl': 40}),
]


@pytest.mark.parametrize(('text', 'counts'), COMPOSITIONS)
@pytest.mark.parametrize('seed', [0, 5])
def test_cells_are_on_composition_neutral_and_sound(text, counts, seed):
    made = substituted_crystal(text, seed=seed)
    assert Counter(made.atoms.get_chemical_symbols()) == counts
    cation = next(iter(counts))
    assert counts[cation] + 3 * counts['Al'] == 2 * counts.get('O', 0) + counts['Cl']
    assert minimum_distance(made.atoms) > 1.6
    assert made.report['density_g_cm3'] == pytest.approx(density(made.atoms))
    ids = made.atoms.arrays['molecule_id']
    assert set(ids) == {-1, *range(16)}
    assert (ids == -1).sum() == counts[cation]


def test_unsubstituted_is_the_crystal_of_96_atoms():
    """dai2023: the box for LiAlCl4 is 1.4 × 1.4 × 1.3 nm³, 96 atoms."""
    made = substituted_crystal('LiAlCl4').atoms
    assert len(made) == 96
    parent = crystal('LiAlCl4').repeat((2, 2, 1))
    assert made.get_volume() == pytest.approx(parent.get_volume())
    assert made.cell.lengths() == pytest.approx([14.0, 13.0, 13.0], abs=0.1)
    ours, theirs = (AseAtomsAdaptor.get_structure(atoms) for atoms in (made, parent))
    assert StructureMatcher(primitive_cell=False, scale=False).fit(ours, theirs)


def test_density_follows_the_rule_of_mixtures():
    made = substituted_crystal('LiAlO0.75Cl2.5')
    # By hand: 0.25 LiAlCl4 + 0.75 AlOCl + 0.75 LiCl.
    volume = 0.25 * crystal('LiAlCl4').get_volume() / 4
    volume += 0.75 * crystal('AlOCl').get_volume() / 4 + 0.75 * crystal('LiCl').get_volume() / 4
    assert 16 * volume == pytest.approx(made.atoms.get_volume() * 0.953, rel=1e-6)
    assert rule_density({'Li': 1, 'Al': 1, 'Cl': 4}) == pytest.approx(density(crystal('LiAlCl4')))
    assert rule_density({'K': 1, 'Al': 1, 'Cl': 4}) is None
    other = substituted_crystal('LiAlO0.75Cl2.5', density_g_cm3=1.8)
    assert density(other.atoms) == pytest.approx(1.8)


def test_tetrahedra_change_evenly():
    sites = parent_sites('LiAlCl4', (2, 2, 1))
    kinds = draw_choice(sites, 12, 12, np.random.default_rng(0))
    assert Counter(kinds.tolist()) == {0: 40, 1: 12, 2: 12}
    for kind in (1, 2):
        per_metal = np.bincount(sites.owners[kinds == kind], minlength=16)
        assert per_metal.max() == 1
    # The four tetrahedra without oxygen are the first to lose a Cl.
    without_oxygen = set(range(16)) - set(sites.owners[kinds == 1])
    assert without_oxygen <= set(sites.owners[kinds == 2])


def test_every_anion_has_its_metal():
    sites = parent_sites('NaAlCl4', (1, 2, 1))
    assert np.bincount(sites.owners).tolist() == [4] * 8
    assert np.linalg.norm(sites.vectors, axis=1).max() < 2.3


def test_number_of_distinct_choices_is_that_of_a_hand_count():
    """P2_1/c acts freely on its 16 general Cl: 16·15 ordered pairs of one O and one vacancy are 240 / 4 = 60 kinds."""
    permutations = anion_permutations('LiAlCl4', (1, 1, 1))
    assert permutations.shape == (4, 16)
    codes = set()
    for oxygen, vacant in itertools.permutations(range(16), 2):
        kinds = np.zeros(16, dtype=int)
        kinds[[oxygen, vacant]] = 1, 2
        codes.add(canonical_choice(kinds, permutations))
    assert len(codes) == 60
    # 2×2×1 has four times as many operations.
    assert anion_permutations('LiAlCl4', (2, 2, 1)).shape == (16, 64)
    # 2×1×1 of the monoclinic cell keeps all four rotations; so does every cell here.
    assert anion_permutations('LiAlCl4', (2, 1, 1)).shape == (8, 32)


def test_distinct_choices_are_those_pymatgen_tells_apart():
    """One O among 16 Cl: pymatgen's matcher finds as many inequivalent structures as the permutations do."""
    parent, permutations = parent_sites('LiAlCl4', (1, 1, 1)), anion_permutations('LiAlCl4', (1, 1, 1))
    structures, codes = [], set()
    for index in range(16):
        atoms = parent.atoms.copy()
        symbols = atoms.get_chemical_symbols()
        symbols[parent.anions[index]] = 'O'
        atoms.set_chemical_symbols(symbols)
        structures.append(AseAtomsAdaptor.get_structure(atoms))
        kinds = np.zeros(16, dtype=int)
        kinds[index] = 1
        codes.add(canonical_choice(kinds, permutations))
    groups = StructureMatcher(primitive_cell=False, scale=False, ltol=0.05, stol=0.05).group_structures(structures)
    assert len(codes) == len(groups) == 4


def test_enumeration_by_seed_gives_each_choice_once():
    sites, permutations = parent_sites('LiAlCl4', (1, 1, 1)), anion_permutations('LiAlCl4', (1, 1, 1))
    found = list(distinct_choices(sites, permutations, 1, 0, seed=3))
    assert len(found) == len({canonical_choice(kinds, permutations) for kinds in found}) == 4


def test_seeds_and_choices():
    first, again, other = (substituted_crystal('LiAlO0.75Cl2.5', seed=seed) for seed in (4, 4, 6))
    assert np.array_equal(first.atoms.positions, again.atoms.positions)
    assert not np.array_equal(first.atoms.numbers, other.atoms.numbers) or not np.allclose(
        first.atoms.positions, other.atoms.positions
    )
    second = substituted_crystal('LiAlO0.75Cl2.5', seed=4, choice=1)
    assert not np.allclose(second.atoms.positions, first.atoms.positions)


def test_big_cells():
    """2×2×2 of the 96-atom cell: eight times as many ions, same density."""
    large = substituted_crystal('LiAlO0.75Cl2.5', repeat=(4, 4, 2)).atoms
    assert Counter(large.get_chemical_symbols()) == {'Li': 128, 'Al': 128, 'O': 96, 'Cl': 320}


def test_voids_are_where_nothing_is():
    """In CsCl-like corners the void is the body centre."""
    place = void_positions(np.zeros((1, 3)), np.ones(1), 4.0 * np.eye(3), 1, np.random.default_rng(0))[0]
    assert place == pytest.approx([2.0, 2.0, 2.0], abs=0.6)


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('LiAlO0.75Cl3', 'not neutral'),
        ('LiAlCl', 'not neutral'),
        ('LiO', 'one alkali'),
        ('liAlCl4', 'is no formula'),
        ('LiAlBr4', 'one alkali'),
        ('Li2AlCl5', 'more anions than'),
        ('Li3Al3O2Cl8', 'multiple of 3 Al'),
        ('KAlCl4', 'there is no crystal KAlCl4'),
    ],
)
def test_impossible_compositions_say_why(text, sentence):
    with pytest.raises(OxychlorideError, match=sentence):
        substituted_crystal(text)


def test_other_refusals():
    with pytest.raises(OxychlorideError, match='three positive'):
        substituted_crystal('LiAlCl4', repeat=(0, 1, 1))
    with pytest.raises(OxychlorideError, match='separate tetrahedra'):
        substituted_crystal('LiAlCl4', parent='LiCl')
    with pytest.raises(OxychlorideError, match='not of the elements'):
        substituted_crystal('LiAlO0.75Cl2.5', parent='NaAlCl4')
    with pytest.raises(OxychlorideError, match='no 9 choices'):
        substituted_crystal('LiAlCl4', repeat=(1, 1, 1), choice=8)


def test_composition_is_read_for_one_metal():
    made = Oxychloride.parse('Li3Al3O2Cl8')
    assert (made.cations, made.oxygen, made.chlorine) == (1, Fraction(2, 3), Fraction(8, 3))
    assert Oxychloride.parse('Li1.5AlO0.75Cl3').formula == 'Li1.5AlO0.75Cl3'
    assert Oxychloride.parse('LiAlO0.75Cl2.5').smallest_number == 4
