"""Packed oxychloride glasses: atom counts of the paper, whole molecules, contacts, density, seeds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from aiida_softclay.structures.checks import density
from aiida_softclay.structures.ions import contact_distance
from aiida_softclay.structures.molecular_packing import bonds_and_angles, pack_molecules
from aiida_softclay.structures.molecules import chain_molecule
from aiida_softclay.structures.oligomers import OligomerError, gather_molecules, molecular_table, oligomer_glass

#: Anion, cation, molecules, density, formula: the first three are you2025's cells (128, 112 atoms; 96 for two bridges).
GLASSES = [
    ('Al3O2Cl8', 'Li', 8, 1.9, {'Li': 24, 'Al': 24, 'O': 16, 'Cl': 64}),
    ('Al3O2Cl7', 'Li', 8, 1.9, {'Li': 16, 'Al': 24, 'O': 16, 'Cl': 56}),
    ('Al3O2Cl6', 'Li', 8, 1.9, {'Li': 8, 'Al': 24, 'O': 16, 'Cl': 48}),
    ('Al4O3Cl10', 'Li', 4, 1.9, {'Li': 16, 'Al': 16, 'O': 12, 'Cl': 40}),
    ('Al3O2Cl8', 'Na', 4, 1.9, {'Na': 12, 'Al': 12, 'O': 8, 'Cl': 32}),
    ('Al3O2Cl8', 'K', 4, 1.7, {'K': 12, 'Al': 12, 'O': 8, 'Cl': 32}),
]


@pytest.fixture(scope='module')
def trimers():
    return oligomer_glass(seed=1)


@pytest.mark.parametrize(('anion', 'cation', 'n_molecules', 'wanted', 'counts'), GLASSES)
def test_glasses_are_neutral_dense_and_whole(anion, cation, n_molecules, wanted, counts):
    glass = oligomer_glass(anion, cation=cation, n_molecules=n_molecules, density_g_cm3=wanted, seed=2)
    atoms = glass.atoms
    assert Counter(atoms.get_chemical_symbols()) == counts
    assert counts[cation] + 3 * counts['Al'] == 2 * counts['O'] + counts['Cl']
    assert density(atoms) == pytest.approx(wanted, rel=1e-9)
    assert glass.report['n_atoms'] == sum(counts.values())
    assert glass.report['largest_bond_error'] < 0.02
    # ASE's neighbour list is another route to the contacts.
    symbols = np.array(atoms.get_chemical_symbols())
    for i, j, distance in zip(*neighbor_list('ijd', atoms, 2.6), strict=True):
        assert distance >= contact_distance(symbols[i], symbols[j]) - 1e-9
    assert_whole(atoms, anion, n_molecules)


def assert_whole(atoms: Atoms, anion: str, n_molecules: int) -> None:
    """Every molecule has its formula and, without periodic images, the bonds it was built with; no Al has a fifth."""
    ids = atoms.arrays['molecule_id']
    assert set(ids) == {-1, *range(n_molecules)}
    model = chain_molecule(anion)
    bonds = sorted(np.linalg.norm(np.diff(model.atoms.positions[model.bonds], axis=1)[:, 0], axis=1))
    for index in range(n_molecules):
        one = atoms[ids == index]
        assert Counter(one.get_chemical_symbols()) == Counter(model.atoms.get_chemical_symbols())
        metal = np.array(one.get_chemical_symbols()) == 'Al'
        table = one.get_all_distances(mic=False)[np.ix_(metal, ~metal)]
        assert sorted(table[table < 2.6]) == pytest.approx(bonds, rel=0.02)
    metals = np.flatnonzero(np.array(atoms.get_chemical_symbols()) == 'Al')
    first, second = neighbor_list('ij', atoms, 2.7)
    anions = np.isin(np.array(atoms.get_chemical_symbols())[second], ['O', 'Cl'])
    assert np.bincount(first[anions], minlength=len(atoms))[metals].tolist() == [4] * len(metals)


def test_cells_of_the_paper(trimers):
    """you2025: 8 trimers are 128 atoms, 1×1×2 of them 256."""
    assert len(trimers.atoms) == 128
    double = oligomer_glass(seed=1, repeat=(1, 1, 2)).atoms
    assert len(double) == 256
    assert double.cell.lengths() == pytest.approx(trimers.atoms.cell.lengths() * [1, 1, 2])
    assert_whole(double, 'Al3O2Cl8', 16)


def test_same_seed_same_glass(trimers):
    again, other = oligomer_glass(seed=1).atoms, oligomer_glass(seed=3).atoms
    assert np.array_equal(again.positions, trimers.atoms.positions)
    assert not np.allclose(other.positions, trimers.atoms.positions)


def test_a_start_that_jams_is_drawn_anew():
    """Two bridged trimers in 8.7 Å: the first start of seed 8 does not fit at any contact scale."""
    glass = oligomer_glass('Al3O2Cl7', n_molecules=2, seed=8)
    assert glass.report['largest_bond_error'] < 0.02
    assert_whole(glass.atoms, 'Al3O2Cl7', 2)


def test_big_cells_are_repeated(trimers):
    large = oligomer_glass(seed=1, repeat=(4, 4, 8))
    assert large.report['n_atoms'] == 16384
    assert large.report['n_molecules'] == 1024
    assert (large.report['molecules'], large.report['cations']) == ({'Al3O2Cl8': 1024}, {'Li': 3072})
    assert min(large.report['cell_heights_A']) == pytest.approx(4 * trimers.atoms.cell[0, 0], abs=1e-3)
    assert density(large.atoms) == pytest.approx(density(trimers.atoms))


@pytest.mark.parametrize(
    ('wishes', 'sentence'),
    [
        ({'cation': 'Mg'}, 'Li, Na or K'),
        ({'n_molecules': 0}, 'cannot be packed'),
        ({'n_molecules': 1000}, 'repeat the cell'),
        ({'density_g_cm3': -1.0}, 'must be positive'),
        ({'n_molecules': 2, 'density_g_cm3': 5.0}, 'ask for 1.46 to 2.40'),
        ({'n_molecules': 2, 'density_g_cm3': 0.9}, 'outside 0.7 to 1.15'),
        ({'n_molecules': 2, 'repeat': (1, 0, 1)}, 'three positive'),
    ],
)
def test_impossible_glasses_say_why(wishes, sentence):
    with pytest.raises(OligomerError, match=sentence):
        oligomer_glass(**wishes)


def test_pairs_of_bonds_and_angles():
    """Water-like: two bonds and the pair across the angle; a bond apart from it."""
    pairs = bonds_and_angles(np.array([[0, 1], [0, 2], [3, 4]]), 5)
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2], [3, 4]]


def test_packing_moves_atoms_apart_and_keeps_a_bond_through_the_boundary():
    """Two dimers on top of each other in a skewed cell end at the contact distance, each with its bond."""
    cell = np.array([[6.0, 0, 0], [1.5, 6.0, 0], [0, 1.0, 6.0]])
    numbers = np.array([17, 17, 17, 17])
    positions = np.array([[5.8, 0, 0], [7.8, 0, 0], [5.9, 0.1, 0], [7.9, 0.1, 0.0]])
    table = np.full((119, 119), 3.0)
    packing = pack_molecules(numbers, positions, np.array([[0, 1], [2, 3]]), cell, table)
    assert packing.fits
    atoms = Atoms(numbers=numbers, positions=packing.positions, cell=cell, pbc=True)
    lengths = np.sort(neighbor_list('d', atoms, 3.0))
    assert lengths == pytest.approx([2.0] * 4, rel=0.02)


def test_gathering_moves_molecules_whole():
    cell = 10.0 * np.eye(3)
    positions = np.array([[9.0, 5, 5], [11.5, 5, 5], [-1.0, 5, 5], [23.0, 5, 5]])
    moved = gather_molecules(positions, np.array([0, 0, -1, -1]), cell)
    assert moved[:, 0].tolist() == [-1.0, 1.5, 9.0, 3.0]


def test_table_keeps_unbonded_metals_and_cations_apart():
    table = molecular_table('Li', 'Al')
    assert table[13, 17] == table[17, 13] == 2.9
    assert table[3, 17] == pytest.approx(contact_distance('Li', 'Cl'))
