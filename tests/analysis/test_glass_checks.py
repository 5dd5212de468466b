"""Census, molecules and energies of cells whose answers are known by construction."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.analysis.anion_census import (
    CensusError,
    anion_census,
    census_cutoffs,
    share,
    split_ions,
)
from aiida_softclay.analysis.glass_checks import (
    ReferenceEnergyError,
    density_g_cm3,
    element_counts,
    lowest_mixture,
    parse_references,
    salt_mixture,
    thermal_energy,
)
from aiida_softclay.analysis.molecule_integrity import (
    MoleculeLabelsError,
    bonded_pairs,
    molecule_formulas,
    molecule_integrity,
    torn_molecules,
)
from aiida_softclay.analysis.trajectory import ArrayTrajectory
from aiida_softclay.structures.crystals import crystal, phase
from aiida_softclay.structures.glass_densities import glass_density, load_glass_densities
from aiida_softclay.structures.molecular_glass import MolecularGlass
from aiida_softclay.structures.oligomer_mixtures import oligomer_mixture

CHARGES = {'Li': 1.0, 'Ga': 3.0, 'Al': 3.0, 'F': -1.0, 'Cl': -1.0, 'O': -2.0}
GA_CUTOFFS = {('Ga', 'F'): 2.4, ('Ga', 'Cl'): 2.8}
AL_CUTOFFS = {('Al', 'O'): 2.5, ('Al', 'Cl'): 2.7}
AL_BONDS = {('Al', 'O'): 1.70, ('Al', 'Cl'): 2.15}


def snapshot(atoms: Atoms) -> ArrayTrajectory:
    return ArrayTrajectory(atoms.positions[None], atoms.cell[:], atoms.numbers)


def census_of(atoms: Atoms):
    state = snapshot(atoms)
    cations, anions = split_ions(list(dict.fromkeys(atoms.get_chemical_symbols())), CHARGES)
    cutoffs = census_cutoffs(state, None, [(cation, anion) for cation in cations for anion in anions])
    return anion_census(state, {pair: found.cutoff for pair, found in cutoffs.items()}), cutoffs


def polyhedron(corners: list[list[float]], anions: list[str], lengths: list[float], centre: list[float]) -> Atoms:
    directions = np.array(corners, dtype=float)
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    positions = np.array(centre) + np.vstack([np.zeros(3), np.array(lengths)[:, None] * directions])
    return Atoms(['Ga', *anions], positions=positions)


TETRAHEDRON = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
OCTAHEDRON = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]


@pytest.fixture(scope='module')
def complexes() -> Atoms:
    """Three GaCl4 tetrahedra, two GaF6 octahedra and one GaF2Cl2, far from each other."""
    parts = [polyhedron(TETRAHEDRON, ['Cl'] * 4, [2.17] * 4, [10.0 * i, 0, 0]) for i in range(3)]
    parts += [polyhedron(OCTAHEDRON, ['F'] * 6, [1.89] * 6, [10.0 * i, 10.0, 0]) for i in range(2)]
    parts += [polyhedron(TETRAHEDRON, ['F', 'F', 'Cl', 'Cl'], [1.85, 1.85, 2.2, 2.2], [20.0, 10.0, 0])]
    atoms = sum(parts[1:], parts[0])
    atoms.set_cell([30.0, 20.0, 10.0])
    atoms.pbc = True
    return atoms


@pytest.mark.parametrize(
    ('name', 'repeat', 'central', 'expected'),
    [
        ('LiCl', 2, 'Li', {'LiCl6': 1.0}),
        ('GaF3', 2, 'Ga', {'GaF6': 1.0}),
        ('LiAlCl4', 1, 'Al', {'AlCl4': 1.0}),
        ('AlOCl', 2, 'Al', {'AlO3Cl': 1.0}),
    ],
)
def test_crystals_have_the_polyhedra_of_their_structure(name, repeat, central, expected):
    found, cutoffs = census_of(crystal(name).repeat(repeat))
    assert {text: estimate.value for text, estimate in found[central].species.items()} == expected
    number = {'LiCl6': 6, 'GaF6': 6}.get(next(iter(expected)), 4)
    assert found[central].coordination['anions'].value == number
    assert found[central].coordination['anions'].error == 0.0
    assert list(found[central].folds) == [number]
    assert all(cutoff.cutoff > cutoff.peak for pair, cutoff in cutoffs.items() if pair[0] == central)


def test_a_mixture_of_complexes_is_counted_one_by_one(complexes):
    gallium = anion_census(snapshot(complexes), GA_CUTOFFS, ['Ga'], ['F', 'Cl'])['Ga']
    shares = {name: estimate.value for name, estimate in gallium.species.items()}
    assert shares == pytest.approx({'GaCl4': 1 / 2, 'GaF6': 1 / 3, 'GaF2Cl2': 1 / 6})
    assert list(shares) == ['GaCl4', 'GaF6', 'GaF2Cl2']
    assert gallium.tetrahedra('Cl').value == pytest.approx(1 / 2)
    assert gallium.tetrahedra('F').value == 0.0
    assert {n: estimate.value for n, estimate in gallium.folds.items()} == pytest.approx({4: 2 / 3, 6: 1 / 3})
    coordination = gallium.coordination
    assert coordination['Cl'].value == pytest.approx((3 * 4 + 2) / 6)
    assert coordination['F'].value == pytest.approx((2 * 6 + 2) / 6)
    assert coordination['anions'].value == pytest.approx(28 / 6)
    assert coordination['Cl'].error == pytest.approx(np.std([4, 4, 4, 0, 0, 2], ddof=1) / np.sqrt(6))
    assert 'one snapshot' in coordination['Cl'].method


def test_a_bond_that_only_the_start_has_gets_its_cutoff_from_there():
    start = crystal('GaF3').repeat(2)
    final = start.copy()
    # Every F is replaced by Cl at the place where it was: no Ga-F is left to find a minimum of.
    final.numbers[final.numbers == 9] = 17
    final.numbers[np.flatnonzero(final.numbers == 17)[0]] = 9
    final.set_cell(final.cell[:] * 1.15, scale_atoms=True)
    cutoffs = census_cutoffs(snapshot(final), snapshot(start), [('Ga', 'F')])
    assert cutoffs['Ga', 'F'].method == 'first minimum of g(r)'
    alone = Atoms('GaF', positions=[[0, 0, 0], [6.0, 6.0, 6.0]], cell=[12.0] * 3, pbc=True)
    fallback = census_cutoffs(snapshot(alone), None, [('Ga', 'F')])['Ga', 'F']
    assert fallback.method.startswith('fallback')
    assert fallback.cutoff > 2.0


def test_ions_without_charge_and_without_partner_are_named():
    assert split_ions(['Cl', 'Li', 'O', 'Al'], CHARGES) == (['Li', 'Al'], ['O', 'Cl'])
    with pytest.raises(CensusError, match='no formal charge is known for Xe'):
        split_ions(['Li', 'Xe'], CHARGES)
    with pytest.raises(CensusError, match='all cations'):
        split_ions(['Li', 'Al'], CHARGES)


def test_a_census_is_of_one_snapshot(complexes):
    two = ArrayTrajectory(np.stack([complexes.positions] * 2), complexes.cell[:], complexes.numbers)
    with pytest.raises(CensusError, match='2 frames'):
        anion_census(two, GA_CUTOFFS)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 500), st.data())
def test_the_error_of_a_share_is_the_wilson_interval(total, data):
    number = data.draw(st.integers(0, total))
    found = share(number, total)
    # The two ends of the interval are where the score statistic is one standard deviation.
    centre = (number / total + 0.5 / total) / (1 + 1 / total)
    for end in (centre - found.error, centre + found.error):
        assert (number / total - end) ** 2 == pytest.approx(end * (1 - end) / total, abs=1e-12)
    assert found.error > 0


@pytest.fixture(scope='module')
def trimers() -> Atoms:
    made = oligomer_mixture('Al3O2Cl8', n_atoms=64, seed=3)
    assert isinstance(made, MolecularGlass)
    return made.atoms


def moved(atoms: Atoms, index: int, step: np.ndarray) -> Atoms:
    changed = atoms.copy()
    changed.positions[index] += step
    return changed


def pair_of(atoms: Atoms, symbol: str) -> tuple[int, int]:
    """Return an aluminium and a terminal anion of its molecule."""
    bonds = bonded_pairs(snapshot(atoms), AL_CUTOFFS)
    ends = np.bincount(bonds[:, 1], minlength=len(atoms))
    return next((int(a), int(b)) for a, b in bonds if atoms.symbols[b] == symbol and ends[b] == 1)


def test_packed_trimers_are_whole(trimers):
    ids = trimers.arrays['molecule_id']
    found = molecule_integrity(snapshot(trimers), snapshot(trimers), ids, AL_CUTOFFS, AL_BONDS)
    assert found.n_molecules == 4
    # Three tetrahedra each.
    assert found.n_bonds == found.intact == 4 * 12
    assert found.exchanged == found.torn.size == found.torn_initially.size == 0
    assert molecule_formulas(trimers.get_chemical_symbols(), ids) == {'Al3O2Cl8': 4} or (
        list(molecule_formulas(trimers.get_chemical_symbols(), ids).values()) == [4]
    )


def test_one_atom_moved_away_tears_one_molecule(trimers):
    ids = trimers.arrays['molecule_id']
    metal, chlorine = pair_of(trimers, 'Cl')
    direction = trimers.get_distance(metal, chlorine, mic=True, vector=True)
    torn = moved(trimers, chlorine, 0.7 * direction)
    found = molecule_integrity(snapshot(trimers), snapshot(torn), ids, AL_CUTOFFS, AL_BONDS)
    assert found.torn.tolist() == [ids[metal]]
    assert found.intact == found.n_bonds - 1
    assert found.lost.tolist() == [[metal, chlorine]]
    assert found.torn_initially.size == 0
    # The other way round it was the packing that tore it, and the treatment is not blamed.
    packed = molecule_integrity(snapshot(torn), snapshot(torn), ids, AL_CUTOFFS, AL_BONDS)
    assert packed.torn_initially.tolist() == [ids[metal]]
    assert packed.torn.size == 0


def test_packing_is_judged_by_the_ideal_bond_not_by_the_first_minimum(trimers):
    ids = trimers.arrays['molecule_id']
    metal, chlorine = pair_of(trimers, 'Cl')
    direction = trimers.get_distance(metal, chlorine, mic=True, vector=True)
    strained = moved(trimers, chlorine, 0.2 * direction)
    state = snapshot(strained)
    assert molecule_integrity(state, state, ids, AL_CUTOFFS, AL_BONDS).torn_initially.tolist() == [ids[metal]]
    assert molecule_integrity(state, state, ids, AL_CUTOFFS).torn_initially.size == 0
    squeezed = snapshot(moved(trimers, chlorine, -0.2 * direction))
    assert molecule_integrity(squeezed, squeezed, ids, AL_CUTOFFS, AL_BONDS).torn_initially.tolist() == [ids[metal]]


def test_two_tetrahedra_that_swap_an_anion_exchange_two_bonds():
    parts = [polyhedron(TETRAHEDRON, ['Cl'] * 4, [2.17] * 4, [12.0 * i, 0, 0]) for i in range(2)]
    start = parts[0] + parts[1]
    start.set_cell([24.0, 12.0, 12.0])
    start.pbc = True
    ids = np.repeat([0, 1], 5)
    swapped = start.copy()
    swapped.positions[[1, 6]] = start.positions[[6, 1]]
    found = molecule_integrity(snapshot(start), snapshot(swapped), ids, {('Ga', 'Cl'): 2.8})
    assert (found.n_bonds, found.intact, found.exchanged) == (8, 6, 2)
    assert found.torn.tolist() == [0, 1]
    assert sorted(map(tuple, found.gained.tolist())) == [(0, 6), (5, 1)]


def test_the_opening_of_a_ring_leaves_the_molecule_whole():
    ring = np.array([[0, 2], [0, 3], [1, 2], [1, 3]])
    assert torn_molecules(ring[:3], np.zeros(4, dtype=int)).size == 0
    assert torn_molecules(ring[:2], np.zeros(4, dtype=int)).tolist() == [0]
    # Ions of their own are never torn.
    assert torn_molecules(ring[:3], np.array([0, 0, 0, -1])).size == 0


def test_molecules_across_the_boundary_and_wrong_labels(trimers):
    ids = trimers.arrays['molecule_id']
    wrapped = trimers.copy()
    wrapped.positions += [3.0, 5.0, 7.0]
    wrapped.wrap()
    found = molecule_integrity(snapshot(trimers), snapshot(wrapped), ids, AL_CUTOFFS, AL_BONDS)
    assert found.intact == found.n_bonds
    state = snapshot(trimers)
    with pytest.raises(MoleculeLabelsError, match='10 atoms, the cells hold 64'):
        molecule_integrity(state, state, ids[:10], AL_CUTOFFS)
    with pytest.raises(MoleculeLabelsError, match='whole numbers'):
        molecule_integrity(state, state, ids.astype(float), AL_CUTOFFS)
    with pytest.raises(MoleculeLabelsError, match='another order'):
        molecule_integrity(state, snapshot(trimers[::-1]), ids, AL_CUTOFFS)
    with pytest.raises(MoleculeLabelsError, match='no two atoms of a molecule are bonded'):
        molecule_integrity(state, state, np.arange(64), AL_CUTOFFS)


def test_density_of_a_cell():
    salt = bulk('NaCl', 'rocksalt', a=5.6402)
    # The X-ray density of halite.
    assert density_g_cm3(salt.numbers, salt.cell[:]) == pytest.approx(2.163, abs=0.002)


ENERGIES = {
    'LiCl': {'energy_eV': -7.0, 'n_atoms': 2, 'formula': 'LiCl'},
    'GaF3': {'energy_eV': -36.0, 'n_atoms': 8, 'formula': 'GaF3'},
    'Li3GaF6': {'energy_eV': -46.0, 'n_atoms': 10, 'formula': 'Li3GaF6'},
    'GaCl3': {'energy_eV': -14.0, 'n_atoms': 4, 'formula': 'GaCl3'},
}


def test_energy_of_the_salts_by_hand():
    references = parse_references(ENERGIES)
    assert references['GaF3'].energy_per_atom == pytest.approx(-4.5)
    mixture = salt_mixture({'Li': 2, 'Cl': 2, 'Ga': 1, 'F': 3}, ('LiCl', 'GaF3'), references)
    # 2 LiCl + GaF3: (2·(−7) − 18) eV over eight atoms.
    assert mixture.energy_per_atom == pytest.approx((2 * -7.0 - 18.0) / 8)
    assert mixture.shares == pytest.approx({'LiCl': 0.5, 'GaF3': 0.5})


def test_the_lowest_mixture_is_the_reaction_of_the_salts():
    # 3 LiCl + 2 GaF3 → Li3GaF6 + GaCl3: −57 eV become −60 eV.
    found = lowest_mixture({'Li': 3, 'Cl': 3, 'Ga': 2, 'F': 6}, parse_references(ENERGIES))
    assert found.energy_per_atom == pytest.approx(-60.0 / 14)
    assert found.shares == pytest.approx({'Li3GaF6': 10 / 14, 'GaCl3': 4 / 14})


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-6.0, -1.0), min_size=6, max_size=6), st.integers(1, 4), st.integers(1, 4))
def test_the_lowest_mixture_is_the_hull_of_pymatgen(energies, lithium, gallium):
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    formulas = ['LiCl', 'GaF3', 'Li3GaF6', 'GaCl3', 'LiF', 'LiGaCl4']
    sizes = [int(Composition(formula).num_atoms) for formula in formulas]
    references = parse_references(
        {
            formula: {'energy_eV': energy * size, 'n_atoms': size, 'formula': formula}
            for formula, energy, size in zip(formulas, energies, sizes, strict=True)
        }
    )
    entries = [PDEntry(Composition(formula), references[formula].energy_per_atom * size)
               for formula, size in zip(formulas, sizes, strict=True)]  # fmt: skip
    # The elements, which a phase diagram needs, are so high that none of them is in a decomposition of neutral ions.
    entries += [PDEntry(Composition(element), 100.0) for element in ('Li', 'Ga', 'F', 'Cl')]
    counts = {'Li': lithium, 'Cl': lithium, 'Ga': gallium, 'F': 3 * gallium}
    hull = PhaseDiagram(entries).get_hull_energy_per_atom(Composition(counts))
    assert lowest_mixture(counts, references).energy_per_atom == pytest.approx(hull, abs=1e-6)


def test_missing_and_wrong_references_are_named():
    references = parse_references({name: ENERGIES[name] for name in ('LiCl', 'GaCl3')})
    counts = {'Li': 2, 'Cl': 2, 'Ga': 1, 'F': 3}
    with pytest.raises(ReferenceEnergyError, match='no reference energy of GaF3, MgCl2: relax them'):
        salt_mixture(counts, ('LiCl', 'GaF3', 'MgCl2'), references)
    with pytest.raises(ReferenceEnergyError, match='has the composition Cl2F3Ga1Li2: give the energies of more'):
        lowest_mixture(counts, references)
    with pytest.raises(ReferenceEnergyError, match='Na, O alone'):
        lowest_mixture({'Na': 2, 'O': 1}, references)
    with pytest.raises(ReferenceEnergyError, match='7 atoms'):
        parse_references({'LiCl': {'energy_eV': 1.0, 'n_atoms': 7, 'formula': 'LiCl'}})
    with pytest.raises(ReferenceEnergyError, match='LiCl needs energy_eV'):
        parse_references({'LiCl': {'n_atoms': 2, 'formula': 'LiCl'}})
    with pytest.raises(ReferenceEnergyError, match='not finite'):
        parse_references({'LiCl': {'energy_eV': float('nan'), 'n_atoms': 2, 'formula': 'LiCl'}})


def test_thermal_energy_at_room_temperature():
    # k = 8.617333e-5 eV/K.
    assert thermal_energy(300.0) == pytest.approx(1.5 * 8.617333e-5 * 300.0, rel=1e-6)


def test_every_density_of_the_data_file_has_a_source_and_a_composition_of_its_own():
    for entry in load_glass_densities():
        assert entry.source.split(',')[0] in {'gupta2023', 'yang2024', 'you2025', 'dai2023', 'qyang2025'}
    trimer = element_counts(['Li'] * 3 + ['Al'] * 3 + ['O'] * 2 + ['Cl'] * 8)
    found = glass_density(trimer)
    assert found is not None
    assert (found.value, found.kind) == (1.9, 'measured')
    assert found.names(trimer)
    # One third of the molecules have lost a LiCl: between the two compositions of the paper, named by neither.
    between = {'Li': 8, 'Al': 9, 'O': 6, 'Cl': 23}
    assert glass_density(between) is found
    assert not found.names(between)
    assert glass_density({'Li': 1, 'Al': 3, 'O': 2, 'Cl': 6}) is None
    assert glass_density(phase('LiAlCl4').composition) is None
    assert glass_density({'Na': 3, 'Al': 3, 'O': 2, 'Cl': 8}) is None
