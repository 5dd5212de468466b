"""Mixed oxychloride glasses: exact ratios, whole molecules, contacts, density, sizes and seeds."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.structures.checks import density
from aiida_softclay.structures.ions import IONIC_RADII, contact_distance
from aiida_softclay.structures.molecules import ChainFormula, chain_molecule
from aiida_softclay.structures.oligomer_mixtures import oligomer_mixture, smallest_unit, units_for_atoms
from aiida_softclay.structures.oligomers import OligomerError

NA_K = {'Na': 0.75, 'K': 0.25}
#: Kinds, cations, wish, density, molecules and formula counted by hand from Li3Al3O2Cl8, Li2Al3O2Cl7, LiAl3O2Cl6.
GLASSES = [
    ('LAOC0b', 'Li', 128, 1.9, {'Al3O2Cl8': 8}, {'Li': 24, 'Al': 24, 'O': 16, 'Cl': 64}),
    ('LAOC1b', 'Li', 112, 1.9, {'Al3O2Cl7': 8}, {'Li': 16, 'Al': 24, 'O': 16, 'Cl': 56}),
    ('LAOC2b', 'Li', 96, 1.9, {'Al3O2Cl6': 8}, {'Li': 8, 'Al': 24, 'O': 16, 'Cl': 48}),
    ('LAOC0.3b', 'Li', 138, 1.9, {'Al3O2Cl8': 6, 'Al3O2Cl7': 3}, {'Li': 24, 'Al': 27, 'O': 18, 'Cl': 69}),
    ('LAOC1.5b', 'Li', 130, 1.9, {'Al3O2Cl7': 5, 'Al3O2Cl6': 5}, {'Li': 15, 'Al': 30, 'O': 20, 'Cl': 65}),
    ('tetramer', 'Li', 128, 1.9, {'Al4O3Cl10': 6}, {'Li': 24, 'Al': 24, 'O': 18, 'Cl': 60}),
    ('LAOC0.3b', 'Na', 92, 1.9, {'Al3O2Cl8': 4, 'Al3O2Cl7': 2}, {'Na': 16, 'Al': 18, 'O': 12, 'Cl': 46}),
    ('LAOC0b', NA_K, 64, 1.8, {'Al3O2Cl8': 4}, {'Na': 9, 'K': 3, 'Al': 12, 'O': 8, 'Cl': 32}),
]  # fmt: skip


def assert_sound(atoms, molecules):
    """Bonds are those of the templates without periodic images, and nothing else is close."""
    symbols = np.array(atoms.get_chemical_symbols())
    ids = atoms.arrays['molecule_id']
    formulas = []
    for index in range(ids.max() + 1):
        one = atoms[ids == index]
        counts = Counter(one.get_chemical_symbols())
        name = next(n for n in molecules if Counter(chain_molecule(n).atoms.get_chemical_symbols()) == counts)
        formulas.append(name)
        model = chain_molecule(name)
        wanted = sorted(np.linalg.norm(np.diff(model.atoms.positions[model.bonds], axis=1)[:, 0], axis=1))
        metal = np.array(one.get_chemical_symbols()) == 'Al'
        found = one.get_all_distances(mic=False)[np.ix_(metal, ~metal)]
        assert sorted(found[found < 2.6]) == pytest.approx(wanted, rel=0.02)
    assert Counter(formulas) == molecules
    first, second, distance = neighbor_list('ijd', atoms, 3.4)
    same = (ids[first] == ids[second]) & (ids[first] >= 0)
    limits = np.array([contact_distance(a, b) for a, b in zip(symbols[first], symbols[second], strict=True)])
    assert (distance[~same] >= limits[~same] - 1e-9).all()
    metal = symbols[first] == 'Al'
    assert distance[~same & metal].min(initial=9.0) >= 2.9 - 1e-9


@pytest.mark.parametrize(('kinds', 'cations', 'n_atoms', 'wanted', 'molecules', 'counts'), GLASSES)
def test_every_composition_is_exact_dense_and_whole(kinds, cations, n_atoms, wanted, molecules, counts):
    glass = oligomer_mixture(kinds, cations=cations, n_atoms=n_atoms, density_g_cm3=wanted, seed=1)
    assert Counter(glass.atoms.get_chemical_symbols()) == counts
    assert sum(IONIC_RADII[element][1] * number for element, number in counts.items()) == 0
    assert glass.report['molecules'] == molecules
    assert abs(len(glass.atoms) - n_atoms) <= 0.02 * n_atoms
    assert density(glass.atoms) == pytest.approx(wanted, rel=1e-6)
    assert_sound(glass.atoms, molecules)


def test_a_large_cell_has_whole_molecules():
    """Above 1500 atoms the pairs come from a periodic tree."""
    glass = oligomer_mixture('LAOC0.3b', n_atoms=1600, seed=1)
    assert len(glass.atoms) == 1610
    assert_sound(glass.atoms, {'Al3O2Cl8': 70, 'Al3O2Cl7': 35})


KINDS = st.sampled_from(['Al3O2Cl8', 'Al3O2Cl7', 'Al3O2Cl6', 'Al4O3Cl10', 'AlCl4', 'Al2OCl6'])


@given(
    kinds=st.dictionaries(KINDS, st.integers(1, 3), min_size=1, max_size=3),
    cation=st.sampled_from(['Li', 'Na']),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=6, deadline=None)
def test_any_mixture_is_exact_neutral_and_whole(kinds, cation, seed):
    """Bonds are checked without images, so a molecule torn through the boundary would be found."""
    molecules, ions = smallest_unit(kinds, cation)
    assert {name: Fraction(n, sum(molecules.values())) for name, n in molecules.items()} == {
        name: Fraction(n, sum(kinds.values())) for name, n in kinds.items()
    }
    size = sum(ChainFormula.parse(name).n_atoms * n for name, n in molecules.items()) + sum(ions.values())
    units = max(1, round(70 / size))
    glass = oligomer_mixture(kinds, cations=cation, n_atoms=units * size, density_g_cm3=1.8, seed=seed)
    counts = Counter(glass.atoms.get_chemical_symbols())
    assert sum(IONIC_RADII[element][1] * number for element, number in counts.items()) == 0
    assert len(glass.atoms) == units * size
    assert density(glass.atoms) == pytest.approx(1.8)
    assert_sound(glass.atoms, {name: units * number for name, number in molecules.items()})


def test_what_does_not_fit_is_refused():
    """K has no rule of mixtures, so only the packing itself can tell that there is no room in 7 Å."""
    with pytest.raises(OligomerError, match=r'1 molecules with 3 cations do not fit at 3.5 g/cm\^3 \(\d+ pairs stay'):
        oligomer_mixture('LAOC0b', cations='K', n_atoms=16, density_g_cm3=3.5)


def test_a_density_that_would_be_refused_is_not_packed(monkeypatch):
    """Li3Al3O2Cl8 as LiAlCl4, AlOCl and LiCl is 2.09 g/cm³."""
    monkeypatch.setattr('aiida_softclay.structures.molecular_glass.pack_molecules', pytest.fail)
    with pytest.raises(OligomerError, match=r'outside 0.7 to 1.15: ask for 1.46 to 2.40'):
        oligomer_mixture('LAOC0b', density_g_cm3=4.0)


def test_seeds():
    wishes = {'kinds': 'LAOC1.5b', 'n_atoms': 26}
    one, again, other = (oligomer_mixture(**wishes, seed=seed).atoms.positions for seed in (4, 4, 5))
    assert np.array_equal(one, again)
    assert not np.allclose(one, other)


def test_smallest_units():
    assert smallest_unit('LAOC0.3b', NA_K) == ({'Al3O2Cl8': 2, 'Al3O2Cl7': 1}, {'Na': 6, 'K': 2})
    assert smallest_unit({'Al3O2Cl7': 0.5, 'Al3O2Cl6': 0.5}) == ({'Al3O2Cl7': 1, 'Al3O2Cl6': 1}, {'Li': 3})
    assert smallest_unit('PLAOC0.3b')[1] == {'Li': 9}
    assert [units_for_atoms(16384, size) for size in (16, 46)] == [1024, 356]


@pytest.mark.parametrize(
    ('wishes', 'sentence'),
    [
        ({'kinds': 'LAOC0.3b', 'n_atoms': 128}, 'ask for 92 or 138'),
        ({'n_atoms': 0}, 'cannot be made'),
        ({'n_atoms': 30000}, 'cannot be made'),
        ({'cations': 'Mg'}, 'Li, Na or K'),
        ({'kinds': {}}, 'positive numbers'),
        ({'kinds': {'Al3O2Cl8': -1}}, 'positive numbers'),
        ({'kinds': {'Al3O2Cl8': 1, 'Ga3O2Cl8': 1}}, 'different metals'),
        ({'kinds': 'Al3O2Cl9'}, 'no chain'),
        ({'density_g_cm3': float('nan')}, 'must be positive'),
    ],
)
def test_impossible_mixtures_say_why(wishes, sentence):
    with pytest.raises(ValueError, match=sentence):
        oligomer_mixture(**wishes)


def test_errors_are_value_errors():
    assert issubclass(OligomerError, ValueError)
