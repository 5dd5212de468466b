"""Chain molecules: formulas, charges, bond lengths and angles, against the idealised trimer of the data file."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from ase import Atoms

from aiida_softclay.structures.crystals import DATA_FILE
from aiida_softclay.structures.molecules import (
    CLEARANCE,
    GEOMETRIES,
    ChainFormula,
    MoleculeError,
    bridged_links,
    chain_molecule,
    complete_tetrahedron,
)

#: Formula, atoms, charge and bridging Cl of the molecules you2025 names, and of the monomer.
KNOWN = [
    ('Al3O2Cl8', 13, -3, 0), ('Al3O2Cl7', 12, -2, 1), ('Al3O2Cl6', 11, -1, 2), ('Al4O3Cl10', 17, -4, 0),
    ('AlCl4', 5, -1, 0), ('Al2OCl6', 9, -2, 0),
]  # fmt: skip
SEEDS = [None, 0, 1, 2]


def drawn(formula, seed):
    return chain_molecule(formula, generator=None if seed is None else np.random.default_rng(seed))


def distances(atoms, first, second):
    symbols = np.array(atoms.get_chemical_symbols())
    table = atoms.get_all_distances()[np.ix_(symbols == first, symbols == second)]
    return np.sort(table[table > 0])


@pytest.mark.parametrize(('formula', 'n_atoms', 'charge', 'bridging'), KNOWN)
def test_formula_and_charge(formula, n_atoms, charge, bridging):
    chain = ChainFormula.parse(formula)
    assert (chain.charge, chain.n_bridging) == (charge, bridging)
    assert chain == ChainFormula.parse(f'[{formula}]{-charge if charge < -1 else ""}-')
    molecule = chain_molecule(formula)
    assert len(molecule.atoms) == n_atoms
    assert chain.formula == formula


@pytest.mark.parametrize('seed', SEEDS)
@pytest.mark.parametrize('formula', [row[0] for row in KNOWN])
def test_every_metal_has_four_bonds_and_nothing_else_near(formula, seed):
    molecule = drawn(formula, seed)
    n_metals = ChainFormula.parse(formula).n_metals
    table = molecule.atoms.get_all_distances()
    assert np.bincount(molecule.bonds[:, 0]).tolist() == [4] * n_metals
    for metal in range(n_metals):
        bonded = np.zeros(len(table), bool)
        bonded[molecule.bonds[molecule.bonds[:, 0] == metal, 1]] = True
        anions = np.arange(len(table)) >= n_metals
        assert table[metal][bonded].max() < 2.35
        assert table[metal][anions & ~bonded].min(initial=9.0) >= CLEARANCE - 0.2


@pytest.mark.parametrize('seed', SEEDS)
def test_trimer_has_the_stated_lengths_and_angles(seed):
    atoms = drawn('Al3O2Cl8', seed).atoms
    assert distances(atoms, 'Al', 'O')[:4] == pytest.approx(1.70)
    assert distances(atoms, 'Al', 'Cl')[:8] == pytest.approx([2.15] * 6 + [2.17] * 2)
    # Atoms: Al 0, 1, 2 along the chain, O 3 and 4 between them.
    assert [atoms.get_angle(0, 3, 1), atoms.get_angle(1, 4, 2)] == pytest.approx([130.0, 130.0])
    assert atoms.get_angle(3, 1, 4) == pytest.approx(110.0)


def test_planar_trimer_is_that_of_the_data_file():
    """The file's coordinates were made elsewhere; its O-Al-Cl angles are within 1.5 degrees of tetrahedral."""
    rows = yaml.safe_load(DATA_FILE.read_text(encoding='utf-8'))['molecules']
    entry = next(row for row in rows if row['id'] == 'Al3O2Cl8_3-')
    known = Atoms([a['el'] for a in entry['atoms']], positions=[a['xyz'] for a in entry['atoms']])
    made = chain_molecule('Al3O2Cl8').atoms
    for pair in (('Al', 'Al'), ('Al', 'O'), ('O', 'O')):
        assert distances(made, *pair) == pytest.approx(distances(known, *pair), abs=1e-3)
    for pair in (('Al', 'Cl'), ('O', 'Cl'), ('Cl', 'Cl')):
        assert distances(made, *pair) == pytest.approx(distances(known, *pair), abs=0.08)


def test_bridging_chlorine_brings_the_metals_together():
    """you2025: 2.7 to 3.0 Å where a Cl bridges, 3.05 to 3.2 Å where only O does."""
    shape = GEOMETRIES['Al']
    one = distances(chain_molecule('Al3O2Cl7').atoms, 'Al', 'Al')[::2]
    two = distances(chain_molecule('Al3O2Cl6').atoms, 'Al', 'Al')[::2]
    none = distances(chain_molecule('Al3O2Cl8').atoms, 'Al', 'Al')[::2]
    assert one[:2] == pytest.approx([shape.ring_metal_metal, 2 * 1.70 * np.sin(np.radians(65.0))])
    assert two[:2] == pytest.approx([shape.ring_metal_metal] * 2)
    assert none[0] == pytest.approx(3.08, abs=0.01)
    bonds = chain_molecule('Al3O2Cl6').bonds
    assert sorted(np.unique(bonds[:, 1], return_counts=True)[1]) == [1, 1, 1, 1, 2, 2, 2, 2]


def test_bridges_form_from_the_chain_ends():
    assert bridged_links(3, 2) == {0, 2}
    assert bridged_links(3, 1) == {0}


@pytest.mark.parametrize('n_arms', [1, 2, 3])
def test_tetrahedra_are_completed(n_arms):
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    found = np.array(complete_tetrahedron(list(corners[:n_arms])))
    everything = np.concatenate([corners[:n_arms], found])
    cosines = (everything @ everything.T)[~np.eye(4, dtype=bool)]
    assert cosines == pytest.approx(-1 / 3)


def test_conformations_differ_and_seeds_repeat():
    first, again, other = (drawn('Al3O2Cl8', seed).atoms for seed in (3, 3, 4))
    assert np.array_equal(first.positions, again.positions)
    assert not np.allclose(distances(first, 'Al', 'Al'), distances(other, 'Al', 'Al'))


@pytest.mark.parametrize('formula', ['Al3O3Cl8', 'Al3O2Cl9', 'Al3O2Cl5', 'Si3O2Cl8', 'Al3O2Br8', 'Al', ''])
def test_what_is_no_chain_is_refused(formula):
    with pytest.raises(MoleculeError, match='write for example Al3O2Cl8'):
        ChainFormula.parse(formula)
