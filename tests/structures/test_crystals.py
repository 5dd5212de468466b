"""Crystal facts: every phase expands to its formula, density and sensible bonds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import yaml
from ase import Atoms
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from aiida_softclay.structures.checks import density
from aiida_softclay.structures.crystals import (
    DATA_FILE,
    CrystalDataError,
    UnknownCrystalError,
    crystal,
    find_crystals,
    list_crystals,
    load_phases,
    phase,
)
from aiida_softclay.structures.ions import contact_table
from aiida_softclay.structures.neighbours import contact_violations, minimum_distance

PHASES = list(load_phases().values())
IDS = [entry.id for entry in PHASES]
#: Reported densities that the reported cell misses by more than 5 %: the handbook is for another sample.
DENSITY_TOLERANCE = {'GaBr3': 0.07, 'InF3': 0.07}
#: Nearest-neighbour distances in Å that every textbook agrees on, and how well the data should give them.
BONDS = {
    'LiCl': 2.570, 'LiF': 2.0135, 'NaCl': 2.820, 'GaF3': 1.887, 'AlF3': 1.797, 'MgO': 2.106, 'Li2O': 2.000,
    'MgF2': 1.98, 'LiAlCl4': 2.13, 'Ga2Cl4': 2.17, 'Cl2': 1.98, 'I2': 2.70, 'Al': 2.863, 'Na': 3.716,
}  # fmt: skip


@pytest.mark.parametrize('entry', PHASES, ids=IDS)
def test_orbits_expand_to_the_formula(entry):
    atoms = crystal(entry.id)
    expected = {element: count * entry.formula_units for element, count in entry.composition.items()}
    assert Counter(atoms.get_chemical_symbols()) == expected
    assert all(atoms.pbc)


@pytest.mark.parametrize('entry', PHASES, ids=IDS)
def test_density_is_the_reported_one(entry):
    atoms = crystal(entry.id)
    assert density(atoms) == pytest.approx(entry.density_expected, rel=DENSITY_TOLERANCE.get(entry.id, 0.05))
    # Mass over volume from the file alone and from the expanded cell are two routes to one number.
    assert density(atoms) == pytest.approx(entry.density, rel=1e-6)


@pytest.mark.parametrize('entry', PHASES, ids=IDS)
def test_space_group_is_the_stated_one(entry):
    structure = AseAtomsAdaptor.get_structure(Atoms(crystal(entry.id)))
    found = SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number()
    assert found == entry.space_group


@pytest.mark.parametrize('entry', [e for e in PHASES if e.is_salt and 'H' not in e.composition], ids=lambda e: e.id)
def test_no_ions_overlap(entry):
    atoms = crystal(entry.id)
    found = contact_violations(
        atoms.get_atomic_numbers(), atoms.get_positions(), atoms.cell[:], contact_table(entry.composition)
    )
    assert len(found[0]) == 0


@pytest.mark.parametrize(('name', 'length'), BONDS.items())
def test_bond_lengths_are_those_of_textbooks(name, length):
    assert minimum_distance(crystal(name)) == pytest.approx(length, abs=0.04)


@pytest.mark.parametrize('name', ['GaCl3', 'GaBr3', 'GaI3', 'InI3', 'SbCl3'])
def test_molecular_solids_are_molecular(name):
    """Each metal has its four (three in SbCl3) covalent neighbours and nothing within 0.2 Å of the longest."""
    entry, atoms = phase(name), crystal(name)
    assert entry.molecular
    metal = next(element for element, charge in entry.oxidation_states.items() if charge > 0)
    neighbours = 3 if name == 'SbCl3' else 4
    for index in np.flatnonzero(np.array(atoms.get_chemical_symbols()) == metal):
        others = [i for i, symbol in enumerate(atoms.get_chemical_symbols()) if symbol != metal]
        block = atoms * (3, 3, 3)
        centre = len(atoms) * 13 + index
        distances = np.sort([
            block.get_distance(centre, i) for i in range(len(block)) if i % len(atoms) in others
        ])  # fmt: skip
        assert distances[neighbours] - distances[neighbours - 1] > 0.2


def test_formula_in_any_order_and_ambiguity():
    assert phase('ClLi').id == 'LiCl'
    assert phase('Ga2Cl6').id == 'GaCl3'
    with pytest.raises(UnknownCrystalError, match='LiAlO2_gamma or LiAlO2_alpha'):
        crystal('LiAlO2')
    with pytest.raises(UnknownCrystalError, match=r'known are .*LiCl'):
        crystal('KBr')
    with pytest.raises(UnknownCrystalError):
        crystal('not a formula')


def test_listing_filters():
    assert {'LiCl', 'GaF3', 'Li3GaF6', 'GaCl3', 'LiGaCl4', 'LiF'} <= set(list_crystals(['Li', 'Ga', 'F', 'Cl']))
    assert 'Li' in list_crystals(['Li'])
    assert 'Li' not in list_crystals(salts_only=True)
    assert 'MgGa2Cl8' not in list_crystals(confidence='medium')


def test_finding_by_id_formula_and_chemical_system():
    assert [entry.id for entry in find_crystals('LiAlO2')] == ['LiAlO2_gamma', 'LiAlO2_alpha']
    assert [entry.id for entry in find_crystals('LiAlO2_alpha')] == ['LiAlO2_alpha']
    assert {entry.id for entry in find_crystals('Mg-Cl')} == {'MgCl2', 'Mg', 'Cl2'}
    assert {entry.id for entry in find_crystals('Mg-Cl', salts_only=True)} == {'MgCl2'}
    assert len(find_crystals()) == len(PHASES)
    for unknown in ('KBr', 'K-Rb', 'no formula'):
        with pytest.raises(UnknownCrystalError, match='known are'):
            find_crystals(unknown)


def test_every_phase_names_its_sources():
    content = yaml.safe_load(DATA_FILE.read_text(encoding='utf-8'))
    for row in content['phases']:
        assert row['source'], row['id']
        assert row['coordinates_source'], row['id']
        assert row['density_source'], row['id']


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'oxidation_states': {'Li': 1, 'Cl': -2}}, 'sum to -1'),
        ({'Z': 3}, 'needs'),
        ({'confidence': 'sure'}, 'confidence'),
        ({'source': ''}, 'names no source'),
        ({'lattice': {'a': 5}}, 'cannot be read'),
        ({'oxidation_states': {'Li': 1}}, 'are not those of the elements'),
    ],
)
def test_contradictory_data_are_refused(tmp_path, change, sentence):
    content = yaml.safe_load(DATA_FILE.read_text(encoding='utf-8'))
    entry = next(row for row in content['phases'] if row['id'] == 'LiCl')
    entry.update(change)
    path = tmp_path / 'crystals.yaml'
    path.write_text(yaml.safe_dump({'schema': content['schema'], 'phases': [entry]}), encoding='utf-8')
    with pytest.raises(CrystalDataError, match=sentence):
        load_phases(path)


def test_wrong_schema_is_refused(tmp_path):
    path = tmp_path / 'crystals.yaml'
    path.write_text('schema: other/1\nphases: []\n', encoding='utf-8')
    with pytest.raises(CrystalDataError, match='schema'):
        load_phases(path)
