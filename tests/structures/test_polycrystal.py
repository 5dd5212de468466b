"""Polycrystals of one salt: exact, neutral, apart, turned, and in every grain still the crystal."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np
import pytest
from ase.build import make_supercell
from scipy.spatial import cKDTree

from aiida_softclay.structures.assembly import AssemblyError, assemble_particles, proper_rotations, touching_sites
from aiida_softclay.structures.checks import check_structure, composition_units, total_charge
from aiida_softclay.structures.composition import Mixture, MixtureError
from aiida_softclay.structures.crystals import crystal
from aiida_softclay.structures.grains import boundary_atoms, crystal_rotations, misorientation, split_boundary
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.neighbours import close_pairs, contact_violations
from aiida_softclay.structures.polycrystal import LEAST_MISORIENTATION, polycrystal

SALTS = ['MgCl2', 'LiCl', 'GaF3', 'LiAlO2_gamma']


@lru_cache(maxsize=16)
def made(salt, n_atoms, seed=0):
    return polycrystal(salt, n_atoms, seed=seed)


def whole_grain(atoms, number):
    """Positions of a grain in one piece: it fills less than half of the periodic cell."""
    members = np.flatnonzero(atoms.get_array('grain') == number)
    length = atoms.cell[0, 0]
    site = (np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])[number] + 0.5) * 0.5 * length
    positions = atoms.get_positions()[members]
    return members, positions - length * np.rint((positions - site) / length)


@pytest.mark.parametrize('n_atoms', [400, 3000, 10_200])
def test_published_salt_is_exact_neutral_and_of_the_size_asked_for(n_atoms):
    mixture, assembly = Mixture.parse('MgCl2'), made('MgCl2', n_atoms)
    atoms, report = assembly.atoms, assembly.report
    assert abs(len(atoms) - n_atoms) <= 0.02 * n_atoms
    counts = Counter(atoms.get_chemical_symbols())
    assert counts['Cl'] == 2 * counts['Mg']
    assert total_charge(atoms, mixture) == 0
    assert Counter(atoms.get_array('grain')) == dict.fromkeys(range(8), len(atoms) // 8)
    for number in range(8):
        assert composition_units(atoms[atoms.get_array('grain') == number], mixture) == report['formula_units'] // 8
    particle = report['particle']
    for element, number in (('Mg', 1), ('Cl', 2)):
        kept = particle['ions_in_cube'][element] - particle['ions_trimmed'][element] + particle['ions_added'][element]
        assert kept == number * particle['formula_units']


def test_published_cell_is_about_as_long_as_published():
    """yang2024: 10 200 atoms in a cube of 6.4 nm; rigid grains keep gaps that relaxation closes."""
    assembly = made('MgCl2', 10_200)
    assert len(assembly.atoms) == 10_200
    assert np.allclose(assembly.atoms.cell[:], assembly.atoms.cell[0, 0] * np.eye(3))
    assert assembly.atoms.cell[0, 0] == pytest.approx(64, rel=0.05)


@pytest.mark.parametrize('salt', SALTS)
def test_no_contact_is_shorter_than_the_rule(salt):
    mixture, assembly = Mixture.parse(salt), made(salt, 2048)
    assert assembly.report['warnings'] == []
    assert check_structure(assembly.atoms, mixture, density_range=(0.4, 1.0)) == []
    # Not farther apart than needed either: moved a little closer, some ions would touch.
    atoms = assembly.atoms
    vectors = np.concatenate([whole_grain(atoms, number)[1] for number in range(8)])
    order = np.concatenate([whole_grain(atoms, number)[0] for number in range(8)])
    grains = atoms.get_array('grain')[order]
    pitch = 0.5 * atoms.cell[0, 0]
    sites = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]) + 0.5
    closer = vectors - sites[grains] * 0.06
    table = contact_table(mixture.elements)
    found = contact_violations(
        atoms.get_atomic_numbers()[order], closer, 2 * (pitch - 0.06) * np.eye(3), table, groups=grains
    )
    assert len(found[0]) > 0


@pytest.mark.parametrize('salt', SALTS)
def test_every_grain_is_still_the_crystal(salt):
    """Laid on the crystal by the rotations reported, every ion of a grain is on a site of its element."""
    atoms = made(salt, 2048).atoms
    reference = crystal(salt)
    _, _, vectors = close_pairs(reference.get_positions(), reference.cell[:], 6.0)
    shells = np.sort(np.linalg.norm(vectors, axis=1))
    symbols = np.array(atoms.get_chemical_symbols())
    fingerprints = []
    for number in range(8):
        members, positions = whole_grain(atoms, number)
        pairs = cKDTree(positions).query_pairs(5.9, output_type='ndarray')
        distances = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
        nearest = np.searchsorted(shells, distances).clip(1, len(shells) - 1)
        assert np.minimum(abs(distances - shells[nearest - 1]), abs(distances - shells[nearest])).max() < 1e-6
        kinds = np.sort(symbols[members][pairs], axis=1)
        fingerprints.append(sorted(zip(*kinds.T, np.round(distances, 5), strict=True)))
    # All eight are the same piece, only turned.
    for other in fingerprints[1:]:
        assert [row[:2] for row in other] == [row[:2] for row in fingerprints[0]]
        assert np.allclose([row[2] for row in other], [row[2] for row in fingerprints[0]], atol=2e-5)


@pytest.mark.parametrize('salt', SALTS)
def test_grains_that_face_each_other_are_not_parallel(salt):
    """Told from the positions alone: the directions of nearest ions differ on both sides of every boundary."""
    assembly = made(salt, 2048)
    assert assembly.report['smallest_misorientation_deg'] >= LEAST_MISORIENTATION
    atoms = assembly.atoms
    directions = []
    for number in range(8):
        members, positions = whole_grain(atoms, number)
        anions = positions[np.array(atoms.get_chemical_symbols())[members] == atoms.get_chemical_symbols()[-1]]
        middle = anions[np.linalg.norm(anions - anions.mean(axis=0), axis=1) < 7.0]
        vectors = (middle[:, None] - middle[None]).reshape(-1, 3)
        lengths = np.linalg.norm(vectors, axis=1)
        directions.append(vectors[(lengths > 0.1) & (lengths < 5.0)])
    for first, second in touching_sites():
        distance, _ = cKDTree(directions[second]).query(directions[first])
        assert (distance > 0.3).any()


def test_quarter_turns_are_nothing_to_a_cubic_crystal():
    """Rock salt is the same after a quarter turn; its greatest misorientation is 62.8 degrees (Mackenzie 1958)."""
    rotations, symmetry = proper_rotations(), crystal_rotations(crystal('LiCl'))
    assert len(symmetry) == 24
    assert max(misorientation(np.eye(3), turn, symmetry) for turn in rotations) == pytest.approx(0.0, abs=1e-4)
    assert made('LiCl', 2048).report['smallest_misorientation_deg'] == pytest.approx(62.80, abs=0.01)
    layered = crystal_rotations(crystal('MgCl2'))
    assert len(layered) == 6
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    assert misorientation(np.eye(3), turn, layered) == pytest.approx(10.0)
    assert len(crystal_rotations(make_supercell(crystal('MgCl2'), np.eye(3)))) == 6


def test_seed_decides():
    first, again, other = (polycrystal('MgCl2', 408, seed=seed).atoms for seed in (1, 1, 2))
    assert np.array_equal(first.get_positions(), again.get_positions())
    assert np.array_equal(first.get_array('grain'), again.get_array('grain'))
    assert not np.array_equal(first.get_positions(), other.get_positions())


def test_boundary_atoms_of_two_sheets():
    """Four planes of atoms 3 Å apart, two to a grain: with one neighbour in reach all are at a boundary."""
    positions = np.array([[0.5, 0.5, z] for z in (0.5, 3.5, 6.5, 9.5)])
    cell, grains = np.diag([20.0, 20.0, 30.0]), np.array([4, 4, 9, 9])
    assert boundary_atoms(positions, cell, grains, 3.1).tolist() == [False, True, True, False]
    assert boundary_atoms(positions, cell, grains, 2.9).tolist() == [False] * 4
    # With a cell of 12 Å the outer planes meet through the periodic boundary.
    assert boundary_atoms(positions, np.diag([20.0, 20.0, 12.0]), grains, 3.1).all()
    assert boundary_atoms(positions + np.array([0, 0, 24.0]), np.diag([20.0, 20.0, 12.0]), grains, 3.1).all()
    assert not boundary_atoms(positions, cell, np.zeros(4, int), 9.0).any()


def test_boundary_share_falls_as_grains_grow():
    shares = []
    for n_atoms in (400, 3000, 10_200):
        atoms = made('MgCl2', n_atoms).atoms
        boundary, bulk = split_boundary(atoms)
        assert np.array_equal(np.sort(np.concatenate([boundary, bulk])), np.arange(len(atoms)))
        shares.append(len(boundary) / len(atoms))
    assert 1 > shares[0] > shares[1] > shares[2] > 0.1


def test_particles_of_a_clay_are_numbered_too():
    mixture = Mixture.parse('MgCl2')
    atoms = assemble_particles(crystal('MgCl2'), mixture, 408).atoms
    assert np.array_equal(atoms.get_array('grain'), atoms.get_tags())
    assert Counter(atoms.get_array('grain')) == dict.fromkeys(range(8), 51)


@pytest.mark.parametrize(
    ('wish', 'sentence'),
    [
        ({'n_atoms': 10}, 'cannot have 10 atoms within 2%.* multiple of 24; ask for 24$'),
        ({'salt': 'GaF3', 'n_atoms': 400}, 'ask for 384 or 416'),
        ({'n_atoms': 0}, 'n_atoms must be a whole number of at least 1, not 0'),
        ({'n_atoms': 400.5}, 'n_atoms must be a whole number'),
        ({'n_atoms': True}, 'n_atoms must be a whole number'),
        ({'seed': -1}, 'seed must be a whole number of at least 0, not -1'),
        ({'contact_scale': float('nan')}, 'contact_scale must be a positive number'),
        ({'salt': '2LiCl-GaF3'}, 'made of one salt, 2LiCl-GaF3 has 2'),
    ],
)
def test_wishes_that_make_no_sense_are_refused(wish, sentence):
    with pytest.raises(AssemblyError, match=sentence):
        polycrystal(**{'salt': 'MgCl2', 'n_atoms': 408} | wish)


def test_unknown_salts_and_grains_are_refused():
    with pytest.raises(MixtureError, match='the salt NaI is not known'):
        polycrystal('NaI', 400)
    with pytest.raises(ValueError, match='no array'):
        split_boundary(crystal('MgCl2'))
    with pytest.raises(ValueError, match='one grain number for each of the 2 positions'):
        boundary_atoms(np.zeros((2, 3)), np.eye(3), np.zeros(3, int))
    with pytest.raises(ValueError, match='the cutoff must be a positive number'):
        boundary_atoms(np.zeros((2, 3)), np.eye(3), np.zeros(2, int), -1.0)
