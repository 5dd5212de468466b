"""Reference sets: the papers' numbers of structures and atoms, sound cells, temperatures by the stated rule."""

from __future__ import annotations

import pytest
import yaml

from aiida_softclay.structures.building import MAKERS, UnsoundStructureError, make_structure
from aiida_softclay.structures.checks import check_crystal, check_ions
from aiida_softclay.structures.crystals import crystal, list_crystals, phase
from aiida_softclay.structures.neighbours import heights
from aiida_softclay.structures.reference_sets import (
    DATA_FILE,
    ReferenceSetError,
    chemical_system_set,
    demo_set,
    describe_set,
    maximum_temperature,
    melting_point,
    reference_set,
    reference_sets,
)

SETS = ['gupta2023', 'yang2024', 'you2025', 'dai2023', 'qyang2025']
#: Atoms the papers name (you2025: 128, 256, 112; qyang2025: 96), and those of x and y in 16 Li_x Al O_y Cl_(3+x-2y).
ATOMS = {
    'you2025': {'trimers_128': 128, 'trimers_256': 256, 'bridged_112': 112},
    'dai2023': {'LiAlCl4': 96, 'Li10_O25': 92, 'Li10_O75': 84, 'Li05_O75': 68, 'Li15_O75': 100},
}
ATOMS['qyang2025'] = ATOMS['dai2023']


def made(entry, seed=1):
    random = {'seed': seed} if entry['kind'] in {'oligomers', 'framework', 'substitution'} else {}
    return make_structure(entry['kind'], {**entry['parameters'], **random})


def test_five_papers():
    assert reference_sets() == SETS


@pytest.mark.parametrize('name', SETS)
def test_full_sets_are_at_least_ten_wide_and_sound(name):
    """Slabs of the two clays are left to the test of the slabs: they take seconds."""
    entries = [entry for entry in reference_set(name) if entry['kind'] != 'slab']
    for entry in entries:
        atoms, report = made(entry)
        assert heights(atoms.cell[:]).min() >= 10.0 - 1e-9, entry['label']
        assert len(atoms) == report['n_atoms']
        if name in ATOMS:
            assert len(atoms) == ATOMS[name][entry['label']]
            assert entry['maximum_temperature_K'] == 600.0
    if name in ATOMS:
        assert len(entries) == len(ATOMS[name])


@pytest.mark.parametrize('name', SETS)
def test_demo_sets_are_small_and_sound(name):
    entries = demo_set(name)
    assert len(entries) >= 2
    for entry in entries:
        atoms, _ = made(entry)
        assert len(atoms) <= 40, entry['label']


@pytest.mark.parametrize(
    ('name', 'crystals', 'elements'), [('gupta2023', 12, 'Li-Ga-F-Cl'), ('yang2024', 10, 'Mg-Ga-F-Cl')]
)
def test_clay_sets_hold_every_known_phase_and_say_what_is_missing(name, crystals, elements):
    entries = reference_set(name)
    kinds = [entry['kind'] for entry in entries]
    assert kinds.count('crystal') == crystals
    assert kinds.count('slab') == 3
    in_set = {entry['parameters']['crystal'] for entry in entries if entry['kind'] == 'crystal'}
    assert in_set == set(list_crystals(elements.split('-')))
    flags = {entry['label']: entry['flag'] for entry in entries if entry['kind'] == 'crystal'}
    for label, flag in flags.items():
        entry = phase(label)
        expected = 'element' if not entry.is_salt else 'low_confidence' if entry.confidence == 'low' else ''
        assert flag == expected
    about = describe_set(name)
    assert about['published']['slabs'] == 3
    assert about['published']['crystals'] in {10, 13}
    assert any(str(about['published']['crystals']) in sentence for sentence in about['missing'])


@pytest.mark.parametrize('name', SETS)
def test_entries_are_complete(name):
    for entry in [*reference_set(name), *demo_set(name)]:
        assert set(entry) == {
            'label', 'kind', 'parameters', 'maximum_temperature_K', 'temperature_reason', 'source', 'flag',
        }  # fmt: skip
        assert entry['kind'] in MAKERS
        assert entry['source']
        assert entry['temperature_reason']
        assert 0 < entry['maximum_temperature_K'] <= 2000


def test_callers_cannot_change_the_library():
    reference_set('gupta2023')[0]['parameters']['crystal'] = 'KCl'
    describe_set('gupta2023')['missing'].clear()
    assert reference_set('gupta2023')[0]['parameters']['crystal'] == 'LiCl'
    assert describe_set('gupta2023')['missing']


def test_temperatures_follow_the_rule():
    assert maximum_temperature('crystal', {'crystal': 'LiCl'})[0] == 1320.0  # 1.5 × 878 = 1317
    assert maximum_temperature('crystal', {'crystal': 'MgF2'})[0] == 2000.0
    assert maximum_temperature('crystal', {'crystal': 'MgGa2Cl8'})[0] == 900.0
    temperature, reason = maximum_temperature('slab', {'mixture': '1.5MgCl2-GaF3'})
    assert temperature == 1480.0  # MgCl2 (987 K) melts before GaF3 (1070 K)
    assert 'MgCl2, 987 K' in reason
    assert maximum_temperature('oligomers', {})[0] == 600.0


def test_stand_ins_have_the_melting_point_of_what_they_stand_for():
    points = yaml.safe_load(DATA_FILE.read_text(encoding='utf-8'))['melting_points']
    for name, entry in points.items():
        phase(name)
        assert entry['source']
        if 'like' in entry:
            assert entry['value'] == points[entry['like']]['value']
    assert melting_point('MgGa2Cl8') is None


def test_chemical_system_is_all_its_salts():
    entries = chemical_system_set('Li-Al-Cl', min_length=8.0)
    assert {entry['label'] for entry in entries} == {'LiCl', 'AlCl3', 'LiAlCl4'}
    assert all(entry['parameters']['min_length'] == 8.0 for entry in entries)
    with pytest.raises(ReferenceSetError, match='no salt'):
        chemical_system_set('K-Br')


def test_unknown_set_lists_the_choices():
    with pytest.raises(ReferenceSetError, match='gupta2023, yang2024'):
        reference_set('gupta2024')


def test_wrong_structures_get_a_sentence():
    entry = phase('LiCl')
    atoms = crystal('LiCl')
    assert check_crystal(atoms, entry) == []
    assert atoms[0].symbol == 'Li'
    assert 'charge of -1 e' in check_crystal(atoms[1:], entry)[0]
    squeezed = atoms.copy()
    squeezed.set_cell(0.7 * squeezed.cell[:], scale_atoms=True)
    sentences = ' '.join(check_crystal(squeezed, entry))
    assert 'outside 0.999' in sentences
    assert 'too close' in sentences
    assert check_ions(atoms, {'Li': 1, 'Cl': -1}) == []
    with pytest.raises(ValueError, match='choose from crystal'):
        make_structure('gas', {})
    assert issubclass(UnsoundStructureError, ValueError)
