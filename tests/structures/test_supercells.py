"""Smallest supercells and close pairs, against exhaustive search and ASE's neighbour list."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.structures.crystals import crystal, list_crystals
from aiida_softclay.structures.neighbours import close_pairs, heights, minimum_distance
from aiida_softclay.structures.supercells import (
    hermite_normal_forms,
    primitive_cell,
    supercell,
    supercell_matrix,
)


def test_heights_of_a_known_cell():
    assert heights(bulk('Al', 'fcc', a=4.0).cell[:]) == pytest.approx([4.0 / 3**0.5] * 3)
    assert heights(np.diag([1.0, 2.0, 3.0])) == pytest.approx([1, 2, 3])


def test_number_of_sublattices_is_the_known_series():
    """Sublattices of index n in three dimensions: 1, 7, 13, 35, 31, 91 (OEIS A001001)."""
    assert [len(hermite_normal_forms(n)) for n in range(1, 7)] == [1, 7, 13, 35, 31, 91]


def test_cubic_cell_needs_no_search():
    assert np.array_equal(supercell_matrix(5.14 * np.eye(3), 10.0), 2 * np.eye(3, dtype=int))


def test_primitive_cell_gives_the_cubic_supercell_or_better():
    """2×2×2 of the conventional fcc cell is 32 primitive cells; nothing with fewer cells may be missed."""
    cell = bulk('Al', 'fcc', a=5.0).cell[:]
    matrix = supercell_matrix(cell, 9.0)
    assert round(abs(np.linalg.det(matrix))) <= 32
    assert heights(matrix @ cell).min() >= 9.0
    assert round(abs(np.linalg.det(supercell_matrix(cell, 9.0, diagonal=True)))) > 32


def test_search_finds_what_exhaustive_search_finds():
    cell = np.array([[4.0, 0, 0], [1.7, 3.5, 0], [0.9, -1.1, 3.8]])
    length = 5.0
    entries = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=9))).reshape(-1, 3, 3)
    determinants = np.rint(np.linalg.det(entries)).astype(int)
    entries, determinants = entries[determinants > 0], determinants[determinants > 0]
    wide = heights(entries @ cell).min(axis=1) >= length
    smallest = determinants[wide].min()
    assert round(abs(np.linalg.det(supercell_matrix(cell, length)))) == smallest


@pytest.mark.parametrize('name', list_crystals())
def test_all_crystals_reach_the_length_with_no_more_atoms_than_a_diagonal_cell(name):
    atoms = crystal(name)
    found = supercell(atoms, 10.0)
    diagonal = supercell(atoms, 10.0, diagonal=True)
    assert heights(found.cell[:]).min() >= 10.0 - 1e-9
    assert len(found) <= len(diagonal)
    assert np.linalg.det(found.cell[:]) > 0
    assert found.get_volume() / len(found) == pytest.approx(atoms.get_volume() / len(atoms))
    assert minimum_distance(found) == pytest.approx(minimum_distance(atoms), abs=1e-6)


@pytest.mark.parametrize(('name', 'cells'), [('MgCl2', 3), ('GaF3', 3), ('LiCl', 4), ('Li3GaF6', 2), ('LiAlCl4', 1)])
def test_primitive_cell_is_that_of_the_lattice_letter(name, cells):
    """R, F and C lattices hold three, four and two primitive cells; P holds one and is left as it is."""
    atoms = crystal(name)
    reduced = primitive_cell(atoms)
    assert len(reduced) * cells == len(atoms)
    assert minimum_distance(reduced) == pytest.approx(minimum_distance(atoms), abs=1e-6)
    assert reduced.get_volume() * cells == pytest.approx(atoms.get_volume())


def test_centred_crystals_are_searched_on_their_primitive_lattice():
    """Every sublattice of rhombohedral MgCl2 with fewer than 16 cells is too narrow for 10 Å, by all matrices with
    small entries instead of normal forms.
    """
    lattice = primitive_cell(crystal('MgCl2')).cell[:]
    found = supercell(crystal('MgCl2'), 10.0)
    assert len(found) == 48
    entries = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=3)), dtype=int)
    entries = entries[np.linalg.norm(entries @ lattice, axis=1) >= 10.0 - 1e-9]
    first, second, third = np.meshgrid(*[np.arange(len(entries))] * 3, indexing='ij')
    keep = (first < second) & (second < third)
    matrices = np.stack([entries[first[keep]], entries[second[keep]], entries[third[keep]]], axis=1)
    determinants = np.abs(np.rint(np.linalg.det(matrices)).astype(int))
    few = (determinants > 0) & (determinants < 16)
    assert few.sum() > 1000
    assert heights(matrices[few] @ lattice).min(axis=1).max() < 10.0


def test_disordered_atoms_are_left_alone():
    generator = np.random.default_rng(0)
    atoms = Atoms('Li8', positions=generator.uniform(0, 6, (8, 3)), cell=6.0 * np.eye(3), pbc=True)
    assert np.array_equal(primitive_cell(atoms).positions, atoms.positions)


def test_limits_are_sentences():
    with pytest.raises(ValueError, match='more than the 50 allowed'):
        supercell(crystal('LiCl'), 10.0, max_atoms=50)
    with pytest.raises(ValueError, match='positive'):
        supercell(crystal('LiCl'), -1.0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.floats(1.0, 7.0), st.integers(1, 12))
def test_close_pairs_are_those_of_ase(seed, cutoff, n_atoms):
    generator = np.random.default_rng(seed)
    cell = 4.0 * np.eye(3) + generator.uniform(-1.2, 1.2, (3, 3))
    positions = generator.uniform(-8, 8, (n_atoms, 3))
    atoms = Atoms('H' * n_atoms, positions=positions, cell=cell, pbc=True)
    first, second, vectors = close_pairs(positions, cell, cutoff)
    lengths = np.sort(np.linalg.norm(vectors, axis=1))
    expected = np.sort(neighbor_list('d', atoms, cutoff))[::2]
    assert len(lengths) == len(expected)
    assert np.allclose(lengths, expected)
    # Each vector leads from the first atom to an image of the second.
    shift = (vectors - (positions[second] - positions[first])) @ np.linalg.inv(cell)
    assert np.allclose(shift, np.rint(shift), atol=1e-6)


def test_distance_of_lonely_atoms():
    assert minimum_distance(Atoms('H', cell=10 * np.eye(3), pbc=True)) == pytest.approx(10.0)
    assert minimum_distance(Atoms('H', cell=99 * np.eye(3), pbc=True)) == float('inf')
