"""Glasses cut from the chains of LiNbOCl4: the chains, the cuts, and what the glass keeps of them."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.geometry import find_mic
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.structures import molecular_glass
from aiida_softclay.structures.chain_framework import (
    PARENT,
    cut_framework,
    framework_glass,
    framework_repeat,
    parent_chains,
)
from aiida_softclay.structures.checks import density
from aiida_softclay.structures.crystals import crystal
from aiida_softclay.structures.ions import IONIC_RADII, contact_distance
from aiida_softclay.structures.molecular_glass import GlassContents, OligomerError, repeat_molecules
from aiida_softclay.structures.molecules import ChainFormula, MoleculeError, chain_molecule
from aiida_softclay.structures.oligomers import oligomer_glass

#: Molecule, cation, number, density, what is left and what is taken out, by hand: 4 LiNbOCl4 in a cell of the parent.
GLASSES = [
    ('Al3O2Cl8', 'Li', 8, 1.9, {'Li': 24, 'Al': 24, 'O': 16, 'Cl': 64}, {'Li': 0, 'O': 8, 'Cl': 32}),
    ('Al3O2Cl7', 'Li', 8, 1.9, {'Li': 16, 'Al': 24, 'O': 16, 'Cl': 56}, {'Li': 8, 'O': 8, 'Cl': 40}),
    ('Al3O2Cl6', 'Li', 8, 1.9, {'Li': 8, 'Al': 24, 'O': 16, 'Cl': 48}, {'Li': 16, 'O': 8, 'Cl': 48}),
    ('Al4O3Cl10', 'Li', 4, 1.9, {'Li': 16, 'Al': 16, 'O': 12, 'Cl': 40}, {'Li': 0, 'O': 4, 'Cl': 24}),
    ('Al3O2Cl8', 'K', 4, 1.7, {'K': 12, 'Al': 12, 'O': 8, 'Cl': 32}, {'Li': 0, 'O': 4, 'Cl': 16}),
]


def molecules_of(glass):
    """The atoms of every molecule, in the order of the model up to that of equal elements."""
    ids = glass.atoms.arrays['molecule_id']
    return [glass.atoms[ids == index] for index in range(ids.max() + 1)]


def assert_sound(glass, anion, rel):
    """Bonds under the minimum image are those of the model, no metal has a fifth neighbour, nothing is too close."""
    atoms = glass.atoms
    model = chain_molecule(anion)
    metal = ChainFormula.parse(anion).metal
    wanted = np.sort(np.linalg.norm(np.diff(model.atoms.positions[model.bonds], axis=1)[:, 0], axis=1))
    molecules = molecules_of(glass)
    assert len(molecules) == glass.report['n_molecules']
    for one in molecules:
        assert Counter(one.get_chemical_symbols()) == Counter(model.atoms.get_chemical_symbols())
        metals = np.array(one.get_chemical_symbols()) == metal
        found = one.get_all_distances(mic=True)[np.ix_(metals, ~metals)]
        assert np.sort(found[found < 2.6]) == pytest.approx(wanted, rel=rel)
    table = atoms.get_all_distances(mic=True) + 9.0 * np.eye(len(atoms))
    symbols = atoms.get_chemical_symbols()
    limits = np.array([[contact_distance(a, b) for b in symbols] for a in symbols])
    assert (table >= limits - 1e-9).all()
    metals = np.array(symbols) == metal
    anions = np.isin(symbols, ['O', 'Cl'])
    assert ((table[np.ix_(metals, anions)] < 2.7).sum(axis=1) == 4).all()


def along_a(glass, metal='Al'):
    """Mean absolute cosine between a and the longest line between two metals of each molecule."""
    cosines = []
    for one in molecules_of(glass):
        places = one.positions[np.array(one.get_chemical_symbols()) == metal]
        lines = (places[:, None] - places[None]).reshape(-1, 3)
        line = lines[np.argmax(np.linalg.norm(lines, axis=1))]
        cosines.append(abs(line[0]) / np.linalg.norm(line))
    return float(np.mean(cosines))


def test_the_parent_is_made_of_chains_along_a():
    """Four chains, the next metal one vector a (3.996 Å) on; O-O trans and Cl in order around the chain."""
    sites = parent_chains()
    cell = crystal(PARENT).cell
    assert len(sites) == 4
    assert cell[0].tolist() == pytest.approx([3.996, 0, 0])
    for site in sites:
        assert 0.4 < site.oxygen[0] / 3.996 < 0.6
        back = site.oxygen - cell[0]
        cosine = site.oxygen @ back / np.linalg.norm(site.oxygen) / np.linalg.norm(back)
        assert np.degrees(np.arccos(cosine)) > 160.0
        around = site.chlorines / np.linalg.norm(site.chlorines, axis=1)[:, None]
        angles = np.degrees(np.arccos(np.sum(around * np.roll(around, 1, axis=0), axis=1)))
        assert angles == pytest.approx([90.0] * 4, abs=15.0)


@pytest.mark.parametrize('anion', ['Al3O2Cl8', 'Al4O3Cl10', 'Al3O2Cl7', 'Al3O2Cl6', 'Al5O4Cl9'])
def test_atoms_are_cut_from_sites_of_the_parent(anion):
    """No two atoms from one site; only a bridging Cl stands between two; ends keep 3 Cl, middles a cis pair."""
    chain, model = ChainFormula.parse(anion), chain_molecule(anion)
    contents = GlassContents((chain,) * 8, ('Li',) * (-8 * chain.charge))
    repeat = framework_repeat(chain.n_metals, 8)
    places = cut_framework(contents, repeat, np.random.default_rng(3))
    parent = crystal(PARENT).repeat(repeat)
    renamed = np.array([{'Nb': 'Al'}.get(symbol, symbol) for symbol in parent.get_chemical_symbols()])
    used = []
    for place, symbol in zip(places, contents.symbols, strict=True):
        distance = find_mic(parent.positions - place, parent.cell[:])[1]
        nearest = int(np.argmin(distance))
        if distance[nearest] < 1e-3:
            used.append(nearest)
            assert renamed[nearest] == symbol
    assert len(used) == len(set(used)) == len(places) - 8 * chain.n_bridging
    # Molecules are in one piece, and every bond of the model is about one of the parent (2.0 to 2.5 Å; a bridge is
    # half a vector a off both metals, which makes 2.3 Å of it 3.1).
    for one in places[: 8 * chain.n_atoms].reshape(8, chain.n_atoms, 3):
        bonds = np.linalg.norm(np.diff(one[model.bonds], axis=1)[:, 0], axis=1)
        held = np.bincount(model.bonds[:, 1], minlength=chain.n_atoms)[model.bonds[:, 1]]
        bridge = (held == 2) & (model.bonds[:, 1] >= 2 * chain.n_metals - 1)
        assert bonds[~bridge].max() < 2.6
        assert ((bonds[bridge] > 2.9) & (bonds[bridge] < 3.3)).all()
        for metal in range(1, chain.n_metals - 1):
            chlorines = [a for m, a in model.bonds if m == metal and a >= 2 * chain.n_metals - 1]
            assert len(chlorines) == 2
            arms = (one[chlorines] - one[metal])[:, 1:]
            cosine = arms[0] @ arms[1] / np.linalg.norm(arms[0]) / np.linalg.norm(arms[1])
            assert abs(cosine) < 0.3


@pytest.mark.parametrize(('anion', 'cation', 'n_molecules', 'wanted', 'counts', 'removed'), GLASSES)
def test_composition_density_and_order(anion, cation, n_molecules, wanted, counts, removed):
    glass = framework_glass(anion, cation=cation, n_molecules=n_molecules, density_g_cm3=wanted, seed=1)
    assert Counter(glass.atoms.get_chemical_symbols()) == counts
    assert sum(IONIC_RADII[element][1] * number for element, number in counts.items()) == 0
    assert glass.report['removed'] == removed
    assert glass.report['replaced'] == ({'Nb': 'Al'} if cation == 'Li' else {'Nb': 'Al', 'Li': cation})
    assert density(glass.atoms) == pytest.approx(wanted, rel=1e-9)
    # The cell is the parent's, alike in all directions.
    ratios = glass.atoms.cell.lengths() / (crystal(PARENT).cell.lengths() * glass.report['parent_repeat'])
    assert ratios == pytest.approx([glass.report['length_scale']] * 3)
    assert glass.atoms.cell.angles() == pytest.approx([90.0] * 3)
    assert min(glass.report['cell_heights_A']) > 10.0
    assert_sound(glass, anion, 0.02)
    assert along_a(glass) == pytest.approx(glass.report['axis_along_chain'], abs=0.02)
    assert glass.report['axis_along_chain'] > 0.9
    # Atoms stay near their sites: less than half the distance of neighbouring metals on average.
    assert 0.0 < glass.report['mean_move_A'] < 1.9
    assert glass.report['mean_move_A'] < glass.report['largest_move_A'] < 6.0
    assert json.loads(json.dumps(glass.report)) == glass.report


def test_cells_of_the_paper():
    """you2025: 8 trimers are 128 atoms, 1×1×2 of them 256, with the same wide cell along the chains."""
    glass = framework_glass(seed=2)
    assert len(glass.atoms) == 128
    double = repeat_molecules(glass.atoms, (1, 1, 2))
    assert len(double) == 256
    assert double.arrays['molecule_id'].max() == 15


def test_random_packing_forgets_what_the_framework_remembers():
    """Random directions have a mean absolute cosine of 1/2."""
    assert along_a(framework_glass(n_molecules=16, seed=1)) > 0.95
    # 16 directions leave an uncertainty of 0.29 / 4.
    assert along_a(oligomer_glass(n_molecules=16, seed=1)) == pytest.approx(0.5, abs=0.22)


def test_seeds():
    one, again, other = (framework_glass(n_molecules=4, seed=seed).atoms for seed in (4, 4, 5))
    assert np.array_equal(one.positions, again.positions)
    assert not np.allclose(one.positions, other.positions)


@given(
    anion=st.sampled_from(['Al3O2Cl8', 'Al3O2Cl7', 'Al3O2Cl6', 'Al4O3Cl10', 'Al4O3Cl8', 'Al2OCl6', 'Ga3O2Cl8']),
    cation=st.sampled_from(['Li', 'Na', 'K']),
    n_molecules=st.sampled_from([4, 8, 12]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=12, deadline=None)
def test_no_molecule_is_torn(anion, cation, n_molecules, seed):
    wanted = {'Li': 1.9, 'Na': 1.9, 'K': 1.8}[cation] + (0.4 if anion.startswith('Ga') else 0.0)
    glass = framework_glass(anion, cation=cation, n_molecules=n_molecules, density_g_cm3=wanted, seed=seed)
    counts = Counter(glass.atoms.get_chemical_symbols())
    chain = ChainFormula.parse(anion)
    expected = {element: n_molecules * number for element, number in chain.counts.items()}
    assert counts == {**expected, cation: -n_molecules * chain.charge}
    assert_sound(glass, anion, 0.1)
    assert density(glass.atoms) == pytest.approx(wanted)


def test_the_widest_cell_is_taken():
    """24 Nb of four chains: 6×1×1 is 12.6 Å wide, 3×2×1 and 3×1×2 only 12.0 Å along the chain."""
    assert framework_repeat(3, 8) == (6, 1, 1)
    assert framework_repeat(4, 4) == (4, 1, 1)
    assert np.prod(framework_repeat(3, 1024)) * 4 == 3 * 1024
    narrow = framework_glass('Al2OCl6', n_molecules=4, density_g_cm3=1.9).report
    assert 'take more molecules' in narrow['warnings'][0]
    assert min(narrow['cell_heights_A']) < 10.0


@pytest.mark.parametrize(
    ('wishes', 'sentence'),
    [
        ({'anion': 'AlCl4'}, 'at least two metals'),
        ({'cation': 'Mg'}, 'Li, Na or K'),
        ({'n_molecules': 0}, 'ask for 4'),
        ({'n_molecules': 6}, 'ask for 4 or 8'),
        ({'n_molecules': -9}, 'ask for 4'),
        ({'n_molecules': 4000}, 'at most 20000'),
        ({'density_g_cm3': float('inf')}, 'must be positive'),
        ({'density_g_cm3': 0.9}, r'outside 0.7 to 1.15: ask for 1.46 to 2.40'),
        ({'n_molecules': 4, 'cation': 'K', 'density_g_cm3': 4.0}, 'do not fit'),
    ],
)
def test_impossible_glasses_say_why(wishes, sentence):
    with pytest.raises(OligomerError, match=sentence):
        framework_glass(**wishes)


def test_no_chain_is_refused():
    with pytest.raises(MoleculeError, match='no chain'):
        framework_glass('Al3O2Cl9')


def test_a_parent_without_chains_is_noticed(monkeypatch):
    broken = crystal(PARENT)[:-1]
    monkeypatch.setattr('aiida_softclay.structures.chain_framework.crystal', lambda name: Atoms(broken))
    with pytest.raises(OligomerError, match='data are wrong'):
        parent_chains()


def test_charge_is_checked_at_the_end():
    """A cation too few is named, whatever route it took."""
    contents = GlassContents((ChainFormula.parse('Al3O2Cl8'),), ('Li', 'Li'))
    atoms = Atoms(contents.symbols, positions=9.0 * np.arange(len(contents.symbols))[:, None] * np.ones(3))
    atoms.set_array('molecule_id', contents.molecule_ids)
    atoms.set_cell([200.0, 200.0, 200.0])
    with pytest.raises(OligomerError, match='charge of -1'):
        molecular_glass.checked_glass(atoms, {})
