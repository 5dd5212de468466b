"""What is sampled: reference sets, chemical systems and entries laid out, and wrong ones refused with a sentence."""

from __future__ import annotations

import pytest
from aiida import orm

from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.reference_sets import reference_set
from aiida_softclay.workflows.estimate import count_atoms
from aiida_softclay.workflows.sampling import (
    KINDS,
    build_structure,
    layout_structures,
    sampling_plan,
    validate_sampling,
)

pytestmark = pytest.mark.usefixtures('aiida_profile')
CLAY = Mixture.parse('2LiCl-GaF3')


@pytest.mark.parametrize('name', ['gupta2023', 'yang2024', 'you2025', 'dai2023', 'qyang2025'])
def test_sets_are_laid_out_by_name(name):
    plan = layout_structures(name, 7)
    assert [(entry.label, entry.kind) for entry in plan] == [(e['label'], e['kind']) for e in reference_set(name)]
    assert all(entry.maximum_temperature_K for entry in plan)
    seeds = [entry.overrides['plan']['seed'] for entry in plan]
    assert seeds == list(range(7, 7 + len(plan)))
    for entry in plan:
        assert set(entry.parameters) <= KINDS[entry.kind] | {'mixture', 'seed'}
        # Plain values: they go into a node.
        orm.Dict(entry.as_dict())


def test_demo_sets_build_through_calcfunctions():
    """One structure of every kind and paper, as the workchains build them."""
    built = {}
    for name in ('gupta2023', 'you2025', 'dai2023'):
        for entry in layout_structures(f'{name}:demo', 1):
            if entry.kind not in {kind for kind, _ in built.values()}:
                structure = build_structure(entry.as_dict())
                assert len(structure.sites) == count_atoms(entry) <= 40
                built[entry.label] = (entry.kind, structure.creator.process_label)
    assert {label for _, label in built.values()} == {
        'build_crystal', 'build_slab', 'build_oligomer_glass', 'build_substitution_glass',
    }  # fmt: skip


def test_chemical_systems_crystals_and_parts_of_sets():
    system = layout_structures('Mg-Ga-F-Cl', 1)
    assert {entry.label for entry in system} == {'MgCl2', 'MgF2', 'GaF3', 'GaCl3', 'Ga2Cl4', 'MgGa2Cl8'}
    assert layout_structures('MgCl2', 1)[0].parameters == {'crystal': 'MgCl2', 'min_length': 10.0}
    part = layout_structures({'set': 'gupta2023', 'labels': ['slab_thick', 'LiCl']}, 1)
    assert [entry.label for entry in part] == ['slab_thick', 'LiCl']
    small = layout_structures({'chemical_system': 'Li-Cl', 'min_length': 6.0}, 1)
    assert small[0].parameters['min_length'] == 6.0


def test_lists_of_entries():
    plan = layout_structures(
        [
            'LiF',
            {'label': 'melt', 'kind': 'melt', 'mixture': 'LiF-LiCl', 'n_formula_units': 4},
            {'label': 'hot', 'kind': 'crystal', 'parameters': {'crystal': 'LiCl'}, 'maximum_temperature_K': 700,
             'temperature_reason': 'mine'},
            {'label': 'glass', 'kind': 'oligomers', 'n_molecules': 2},
            {'label': 'own seed', 'kind': 'substitution', 'composition': 'LiAlCl4', 'seed': 99},
        ],
        10,
    )  # fmt: skip
    assert [entry.label for entry in plan] == ['LiF', 'melt', 'hot', 'glass', 'own_seed']
    assert plan[1].parameters == {'mixture': 'LiF-LiCl', 'n_formula_units': 4, 'seed': 11}
    assert plan[1].maximum_temperature_K == 1320.0
    assert (plan[2].maximum_temperature_K, plan[2].temperature_reason) == (700.0, 'mine')
    assert plan[3].parameters['anion'] == 'Al3O2Cl8'
    assert plan[4].parameters['seed'] == 99


@pytest.mark.parametrize(
    ('spec', 'sentence'),
    [
        ('gupta2024', 'is no reference set'),
        ('gupta2023:big', 'is no reference set'),
        ('K-Rb', 'no salt of the elements K, Rb'),
        ('LiAlO2', 'several polymorphs'),
        ([], 'is empty'),
        (3, 'are given by a name'),
        (['LiCl', 'LiCl'], 'two sampled structures are called LiCl'),
        ({'set': 'gupta2023', 'labels': ['LiBr']}, 'has no structure LiBr'),
        ({'set': 'gupta2023', 'label': 'LiCl'}, 'does not know label'),
        ({'label': 'a', 'kind': 'gas'}, 'has kind `gas`'),
        ({'kind': 'slab', 'mixture': 'LiCl-GaF3'}, 'lacks label'),
        ({'label': 'a', 'kind': 'slab'}, '`a` lacks mixture'),
        ({'label': 'a', 'kind': 'substitution'}, '`a` lacks composition'),
        ({'label': 'a', 'kind': 'crystal', 'crystal': 'KCl'}, '`a`: no crystal structure'),
        ({'label': 'a', 'kind': 'crystal', 'crystal': 'LiCl', 'length': 3}, 'does not know length'),
        ({'label': 'a', 'kind': 'melt', 'mixture': 'LiCl2-GaF3'}, '`a`: LiCl2 is not neutral'),
    ],
)
def test_what_cannot_be_laid_out_is_refused_with_a_sentence(spec, sentence):
    with pytest.raises(ValueError, match=sentence):
        layout_structures(spec, 1)


def test_a_study_takes_a_set_by_name():
    plan = sampling_plan({'structures': 'gupta2023', 'protocol': 'balanced'}, CLAY, 1)
    assert len(plan) == 15
    assert {entry.protocol for entry in plan} == {'balanced'}
    assert plan[0].overrides == {'plan': {'seed': 1}, 'schedule': {'maximum_temperature_K': 1320.0}}
    assert validate_sampling({'structures': 'gupta2023', 'interface': 'slab_thick'}, CLAY) is None
    assert 'which is not sampled' in validate_sampling({'structures': 'gupta2023', 'interface': 'slab'}, CLAY)
    assert 'no reference set' in validate_sampling({'structures': 'gupta'}, CLAY)


def test_new_kinds_beside_the_old_ones_in_a_study():
    entries = [
        {'label': 'salts', 'kind': 'salts', 'protocol': 'demo', 'min_length': 5.0},
        {'label': 'glass', 'kind': 'oligomers', 'protocol': 'demo', 'n_molecules': 2},
    ]
    plan = sampling_plan({'structures': entries}, CLAY, 3)
    assert [entry.label for entry in plan] == ['salts_licl', 'salts_gaf3', 'glass']
    assert plan[2].parameters == {'n_molecules': 2, 'seed': 5}
