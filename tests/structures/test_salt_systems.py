"""Every clay of two and three salts, from 200 atoms up: exact, neutral, of the size asked for, apart, and turned."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from aiida_softclay.structures.assembly import (
    LEAST_CONTACT_SCALE,
    SITES,
    AssemblyError,
    assemble_particles,
    touching_sites,
    units_per_particle,
)
from aiida_softclay.structures.checks import check_structure, composition_units, total_charge
from aiida_softclay.structures.composition import Mixture, UnknownSaltError
from aiida_softclay.structures.crystals import list_crystals
from aiida_softclay.structures.ions import contact_distance
from aiida_softclay.structures.particles import ParticleError, cut_particle
from aiida_softclay.structures.sharing import share_units
from aiida_softclay.structures.slabs import SlabError, interface_slab

SYSTEMS = [
    *(f'{n}LiCl-GaF3' for n in (1, 2, 3, 4)),
    *(f'{x}MgCl2-GaF3' for x in ('0.5', '', '1.5')),
    '2LiBr-GaF3', '2LiI-GaF3', '2LiCl-SbF3', '2LiI-InBr3', '2NaCl-GaF3', '2LiCl-InF3', '2LiCl-LaF3',
    '2LiCl-0.25AlF3-0.75GaF3', '2LiCl-0.5AlF3-0.5GaF3', '2LiCl-0.75AlF3-0.25GaF3',
]  # fmt: skip
PAIRS = ['LiCl-GaF3', 'MgCl2-GaF3', 'LiBr-GaF3', 'LiI-GaF3', 'LiCl-SbF3', 'LiI-InBr3', 'NaCl-GaF3', 'LiCl-InF3']


@lru_cache(maxsize=64)
def slab_of(text):
    return interface_slab(Mixture.parse(text)).atoms


def hot(atoms, seed):
    """The slab after equilibration: ions have moved by tenths of an ångström."""
    moved = atoms.copy()
    generator = np.random.default_rng(seed)
    moved.set_positions(moved.get_positions() + generator.normal(scale=0.12, size=(len(atoms), 3)))
    return moved


def whole_particle(assembly, number):
    """Indices of the atoms of a particle, and their positions from the middle of its site."""
    atoms = assembly.atoms
    length = atoms.cell[0, 0]
    members = np.flatnonzero(atoms.get_array('grain') == number)
    vectors = atoms.get_positions()[members] - (np.array(SITES[number]) + 0.5) * length / 2
    return members, vectors - length * np.rint(vectors / length)


def shortest_over_limit(atoms):
    """Smallest ratio of a distance to what the ions' radii allow, from the neighbour list of ASE."""
    elements = sorted(set(atoms.get_chemical_symbols()))
    limits = {(a, b): contact_distance(a, b) for a in elements for b in elements}
    table = np.array([[limits[a, b] for b in elements] for a in elements])
    kinds = np.array([elements.index(symbol) for symbol in atoms.get_chemical_symbols()])
    first, second, distance = neighbor_list('ijd', atoms, float(table.max()))
    return float((distance / table[kinds[first], kinds[second]]).min(initial=1.0))


def check_assembly(assembly, mixture, n_atoms):
    """What must hold for every assembly, told from its atoms."""
    atoms, report = assembly.atoms, assembly.report
    unit = mixture.atoms_per_unit
    # Composition and charge, of the cell and of each particle.
    units = composition_units(atoms, mixture)
    assert units == report['formula_units']
    assert total_charge(atoms, mixture) == pytest.approx(0, abs=1e-9)
    grains = atoms.get_array('grain')
    assert sorted(set(grains.tolist())) == list(range(8))
    symbols = np.array(atoms.get_chemical_symbols())
    for number, one in enumerate(report['particles']):
        contents = Counter(symbols[grains == number].tolist())
        salts = tuple(one['salt_units'][salt] for salt in mixture.salts)
        assert contents == {element: count for element, count in mixture.count_atoms(salts).items() if count}
        assert sum(contents[element] * mixture.oxidation_states[element] for element in contents) == pytest.approx(0)
        assert sum(contents.values()) == one['n_atoms']
    # Size: within 2 %, or else the nearest whole number of formula units, and said so.
    if abs(len(atoms) - n_atoms) > 0.02 * n_atoms:
        assert abs(len(atoms) - n_atoms) <= unit / 2
        assert any('come nearest' in sentence for sentence in report['warnings'])
    else:
        assert report['warnings'] == []
    # No contact within or between particles is shorter than allowed (3 % less within, where packing pushes).
    assert shortest_over_limit(atoms) >= 0.96
    for first, second in touching_sites():
        a, b = (np.array(report['rotations'][site])[:, 2] for site in (first, second))
        assert a @ b == 0


@pytest.mark.parametrize('n_atoms', [200, 320, 700])
@pytest.mark.parametrize('text', SYSTEMS)
def test_every_system_at_every_size(text, n_atoms):
    mixture = Mixture.parse(text)
    assembly = assemble_particles(slab_of(text), mixture, n_atoms, seed=n_atoms)
    check_assembly(assembly, mixture, n_atoms)
    if mixture.atoms_per_unit <= 0.04 * n_atoms:
        assert abs(len(assembly.atoms) - n_atoms) <= 0.02 * n_atoms
    assert check_structure(assembly.atoms, mixture, density_range=(0.3, 1.1), contact_scale=0.96) == []


@pytest.mark.parametrize('text', SYSTEMS)
def test_every_slab_is_exact_and_sound(text):
    mixture, atoms = Mixture.parse(text), slab_of(text)
    assert composition_units(atoms, mixture) is not None
    assert total_charge(atoms, mixture) == pytest.approx(0, abs=1e-9)
    assert check_structure(atoms, mixture, density_range=(0.75, 1.05)) == []
    assert shortest_over_limit(atoms) >= 1.0 - 1e-9


@pytest.mark.parametrize('text', ['2LiCl-GaF3', '1.5MgCl2-GaF3', '2LiCl-LaF3', '2LiCl-0.5AlF3-0.5GaF3'])
def test_equilibrated_interfaces_are_cut_as_exactly(text):
    mixture, slab = Mixture.parse(text), hot(slab_of(text), 3)
    made = assemble_particles(slab, mixture, 1000, seed=3)
    assert composition_units(made.atoms, mixture) == made.report['formula_units']
    assert abs(len(made.atoms) - 1000) <= 20
    # Ions of different particles keep their distance; within one they are as near as in the slab.
    assert made.report['closest_particles_A'] > 1.5
    assert shortest_over_limit(made.atoms) >= 0.96 * shortest_over_limit(slab)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(PAIRS), st.fractions(Fraction(1, 2), 4, max_denominator=2), st.integers(200, 1500),
    st.integers(0, 999),
)  # fmt: skip
def test_any_ratio_at_any_size(pair, amount, n_atoms, seed):
    text = f'{amount}{pair}'
    mixture = Mixture.parse(text)
    assume(n_atoms >= 8 * mixture.atoms_per_unit)
    slab = slab_of(text)
    assert composition_units(slab, mixture) is not None
    check_assembly(assemble_particles(slab, mixture, n_atoms, seed=seed), mixture, n_atoms)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 5), st.integers(300, 1500), st.integers(0, 999))
def test_any_ternary_at_any_size(sixths, n_atoms, seed):
    text = f'2LiCl-{sixths}/6AlF3-{6 - sixths}/6GaF3'
    mixture = Mixture.parse(text)
    check_assembly(assemble_particles(slab_of(text), mixture, n_atoms, seed=seed), mixture, n_atoms)


SALTS = list_crystals(salts_only=True)


@given(
    st.lists(st.sampled_from([*SALTS, 'AlF3', 'GaF3', 'LiCl', 'LiBr']), min_size=1, max_size=4, unique=True),
    st.data(),
    st.integers(100, 20_000),
)
def test_shares_add_up_to_the_nearest_size(salts, data, n_atoms):
    amounts = tuple(data.draw(st.fractions(Fraction(1, 6), 6, max_denominator=6)) for _ in salts)
    mixture = Mixture(tuple(salts), amounts)
    unit = mixture.atoms_per_unit
    try:
        shares = share_units(mixture, n_atoms)
    except AssemblyError:
        assert n_atoms < 8 * unit
        return
    total = np.sum(shares, axis=0)
    number, rest = divmod(int(total[0]), mixture.formula_units[0])
    assert rest == 0
    assert tuple(total) == tuple(number * units for units in mixture.formula_units)
    # Every particle is neutral, since every salt is, holds something of the whole, and none holds much more.
    sizes = [sum(mixture.count_atoms(share).values()) for share in shares]
    assert min(sizes) > 0
    assert sum(sizes) == number * unit
    assert max(sizes) - min(sizes) <= unit
    equal = 8 * unit * max(1, round(n_atoms / (8 * unit)))
    if abs(equal - n_atoms) <= 0.02 * n_atoms:
        assert len(set(shares)) == 1
    else:
        assert abs(sum(sizes) - n_atoms) <= unit / 2


def test_particles_a_formula_unit_apart():
    """200 atoms of 2LiCl-GaF3 are 25 units of 8 atoms: one particle holds four, the others three."""
    assert share_units(Mixture.parse('2LiCl-GaF3'), 200) == ((8, 4), *((6, 3),) * 7)
    report = assemble_particles(slab_of('2LiCl-GaF3'), Mixture.parse('2LiCl-GaF3'), 200).report
    assert not report['equal_particles']
    assert sorted(one['n_atoms'] for one in report['particles']) == [24] * 7 + [32]
    # Equal ones are kept where they come within 2 %: 12 032 for 12 000.
    assert set(share_units(Mixture.parse('2LiCl-GaF3'), 12_000)) == {(376, 188)}


def test_metals_of_a_solution_are_shared_out():
    """1 000 atoms are 31 units of 4(2LiCl)-AlF3-3GaF3: 124 portions 2LiCl-(Al,Ga)F3, 15 or 16 in each particle."""
    shares = share_units(Mixture.parse('2LiCl-0.25AlF3-0.75GaF3'), 1000)
    assert [lithium for lithium, _, _ in shares] == [32] * 4 + [30] * 4
    assert all(lithium == 2 * (aluminium + gallium) for lithium, aluminium, gallium in shares)
    assert sum(aluminium for _, aluminium, _ in shares) == 31
    assert {aluminium for _, aluminium, _ in shares} == {3, 4}


@pytest.mark.parametrize('text', ['2LiCl-GaF3', 'MgCl2-GaF3', '2LiI-InBr3', '2LiCl-LaF3'])
def test_rotations_of_the_report_are_those_of_the_atoms(text):
    """The best rotation of the first particle onto each other one (Kabsch 1976) is the one reported."""
    assembly = assemble_particles(slab_of(text), Mixture.parse(text), 8 * 40 * 8, seed=5)
    assert assembly.report['equal_particles']
    turns = np.array(assembly.report['rotations'], dtype=float)
    _, reference = whole_particle(assembly, 0)
    reference = reference - reference.mean(axis=0)
    for number in range(1, 8):
        _, vectors = whole_particle(assembly, number)
        vectors = vectors - vectors.mean(axis=0)
        left, _, right = np.linalg.svd(reference.T @ vectors)
        handed = np.diag([1, 1, np.sign(np.linalg.det(left @ right))])
        found = (left @ handed @ right).T
        assert np.abs(found - turns[number] @ turns[0].T).max() < 0.02
        assert np.sqrt(((vectors - reference @ found.T) ** 2).sum(axis=1).mean()) < 0.3


def layer_normal(vectors: np.ndarray, symbols: np.ndarray, cations: tuple[str, str], period: float) -> int:
    """Axis along which the cations of two salts alternate, from the contrast of their density waves."""
    contrast = np.zeros(3)
    for wavelength in period * np.linspace(0.95, 1.05, 11):
        waves = np.exp(2j * np.pi * vectors / wavelength)
        first, second = (waves[symbols == cation].mean(axis=0) for cation in cations)
        contrast = np.maximum(contrast, np.abs(first - second))
    assert np.sort(contrast)[2] > 2 * np.sort(contrast)[1]
    return int(np.argmax(contrast))


@pytest.mark.parametrize(
    ('text', 'cations'),
    [
        ('2LiCl-GaF3', ('Li', 'Ga')), ('MgCl2-GaF3', ('Mg', 'Ga')), ('2NaCl-GaF3', ('Na', 'Ga')),
        ('2LiCl-0.5AlF3-0.5GaF3', ('Li', 'Ga')),
    ],
)  # fmt: skip
def test_facing_particles_are_not_parallel(text, cations):
    """Told from the atoms alone: in which direction the salts alternate differs over every boundary."""
    slab = slab_of(text)
    assembly = assemble_particles(slab, Mixture.parse(text), 5000, seed=2)
    symbols = np.array(assembly.atoms.get_chemical_symbols())
    normals = []
    for number in range(8):
        members, vectors = whole_particle(assembly, number)
        normals.append(layer_normal(vectors, symbols[members], cations, slab.cell[2, 2]))
    assert ['xyz'[axis] for axis in normals] == assembly.report['interface_normals']
    assert all(normals[first] != normals[second] for first, second in touching_sites())


@pytest.mark.parametrize(
    ('text', 'wish', 'sentence'),
    [
        ('2LiCl-GaF3', {'n_atoms': 40}, r'40 atoms are too few: .* \(8 atoms\) take 64; raise n_atoms'),
        ('1.5MgCl2-GaF3', {'n_atoms': 100}, r'one formula unit of 1.5MgCl2-GaF3 \(17 atoms\) take 136'),
        ('2LiCl-0.5AlF3-0.5GaF3', {'n_atoms': 40}, r'\(8 atoms\) take 64'),
        ('2LiCl-GaF3', {'n_atoms': 0}, 'n_atoms must be a positive whole number, not 0'),
        ('2LiCl-GaF3', {'n_atoms': 320.5}, 'n_atoms must be a positive whole number'),
        ('2LiCl-GaF3', {'n_atoms': 320, 'contact_scale': 0.3}, 'contact_scale = 0.3 ions .* would overlap'),
        ('2LiCl-GaF3', {'n_atoms': 320, 'contact_scale': float('nan')}, 'contact_scale must be a positive number'),
        ('2LiCl-GaF3', {'n_atoms': 320, 'seed': -1}, 'seed must be a whole number of at least 0, not -1'),
    ],
)
def test_wishes_that_make_no_sense(text, wish, sentence):
    with pytest.raises((AssemblyError, ParticleError), match=sentence):
        assemble_particles(slab_of(text), Mixture.parse(text), **wish)


def test_sizes_are_refused_before_anything_is_built():
    with pytest.raises(AssemblyError, match='too few'):
        units_per_particle(Mixture.parse('4LiCl-GaF3'), 60)
    assert units_per_particle(Mixture.parse('2LiCl-0.5AlF3-0.5GaF3'), 10_000) == 78


def test_overlapping_requests_are_refused():
    mixture = Mixture.parse('2LiCl-GaF3')
    slab = slab_of('2LiCl-GaF3').copy()
    positions = slab.get_positions()
    positions[5] = positions[40] + 0.2
    slab.set_positions(positions)
    with pytest.raises(ParticleError, match=r'ions of the slab overlap: .* 5 and .* 40 are 0.35 Å apart'):
        assemble_particles(slab, mixture, 320)
    with pytest.raises(SlabError, match='density_fraction = 2 asks for ions that overlap'):
        interface_slab(mixture, density_fraction=2.0)
    assert LEAST_CONTACT_SCALE < 1.0


def test_slabs_of_another_ratio_are_named():
    """From equal parts of LiCl and GaF3 particles of 4LiCl-GaF3 can be made, but no cubes of its layers."""
    wanted = Mixture.parse('4LiCl-GaF3')
    assembly = assemble_particles(slab_of('1LiCl-GaF3'), wanted, 1200)
    assert composition_units(assembly.atoms, wanted) == 100
    assert any('from outside its cube' in sentence for sentence in assembly.report['warnings'])
    with pytest.raises(ParticleError, match='no periodic cell'):
        cut_particle(Atoms('LiClGaF3', positions=3.0 * np.arange(18).reshape(6, 3)), Mixture.parse('LiCl-GaF3'), 1)
    with pytest.raises(ParticleError, match='has 2 salts, but formula units of 3'):
        cut_particle(slab_of('2LiCl-GaF3'), Mixture.parse('2LiCl-GaF3'), (1, 2, 3))
    with pytest.raises(UnknownSaltError, match='the salt KCl is not known; known are'):
        Mixture.parse('2KCl-GaF3')
