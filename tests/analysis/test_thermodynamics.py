"""Reaction, hull and window of tables whose answers can be worked out on paper, and against independent programs."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.analysis.electrochemical_window import electrochemical_window
from aiida_softclay.analysis.hull_energy import hull_energies, phase_diagram
from aiida_softclay.analysis.reaction_energy import (
    mixed_composition,
    names_a_ratio,
    parse_mixture,
    reaction_at_ratio,
    reaction_energies,
)
from aiida_softclay.analysis.thermodynamics import (
    EntriesError,
    PhaseEntry,
    find_entry,
    load_entries,
    parse_entries,
    phase_set,
)

#: Made-up energies of formula units, eV; the elements are zero.
#: 3 LiCl + 2 GaF3 -> Li3GaF6 + GaCl3: (-32.4 - 5) - (-12 - 24) = -1.4 eV on 14 atoms, -0.1 eV/atom.
#: 3 LiCl + GaF3 -> 3 LiF + GaCl3: (-19.8 - 5) - (-12 - 12) = -0.8 eV on 10 atoms, -0.08 eV/atom.
ENERGIES = {
    'LiCl': -4.0, 'GaF3': -12.0, 'Li3GaF6': -32.4, 'GaCl3': -5.0, 'LiF': -6.6, 'LiGaCl4': -8.9,
    'Li': 0.0, 'Ga': 0.0, 'F2': 0.0, 'Cl2': 0.0,
}  # fmt: skip
ELEMENTS = ('Li', 'Ga', 'F2', 'Cl2')
ENGINE = 'made up'


def table(energies=ENERGIES, error=None, without=()):
    rows = [
        {'id': name, 'formula': name, 'energy_eV': energy, 'engine': ENGINE, 'error_eV': error}
        for name, energy in energies.items()
        if name not in without
    ]
    return parse_entries(rows)


def test_balanced_reaction_at_the_best_ratio():
    """The balanced form of the reaction that gupta2023 names, which here is the best by construction."""
    profile = reaction_energies(table(), 'LiCl', 'GaF3')
    best = profile.best
    assert best.equation == '3 LiCl + 2 GaF3 -> GaCl3 + Li3GaF6'
    assert best.energy == pytest.approx(-0.1, abs=1e-9)
    assert best.atomic_fraction == pytest.approx(6 / 14)
    assert best.moles == pytest.approx({'LiCl': 1.5, 'GaF3': 1.0})
    assert best.error is None
    complete = next(reaction for reaction in profile.reactions if 'LiF' in reaction.products)
    assert complete.equation == '3 LiCl + GaF3 -> GaCl3 + 3 LiF'
    assert complete.energy == pytest.approx(-0.08, abs=1e-9)
    assert [profile.reactions[end].equation for end in (0, -1)] == ['no reaction', 'no reaction']
    swapped = reaction_energies(table(), 'GaF3', 'LiCl').best
    assert swapped.energy == pytest.approx(best.energy)
    assert swapped.products == pytest.approx(best.products)


def test_a_missing_phase_changes_the_answer_and_the_statement():
    profile = reaction_energies(table(without=('Li3GaF6',)), 'LiCl', 'GaF3')
    assert profile.best.equation == '3 LiCl + GaF3 -> GaCl3 + 3 LiF'
    assert profile.best.energy == pytest.approx(-0.08, abs=1e-9)
    assert 'Li3GaF6' not in profile.phase_set.statement
    assert 'Li3GaF6' in reaction_energies(table(), 'LiCl', 'GaF3').phase_set.statement
    nothing = reaction_energies(table(without=('Li3GaF6', 'GaCl3', 'LiGaCl4')), 'LiCl', 'GaF3')
    assert {reaction.equation for reaction in nothing.reactions} == {'no reaction'}
    assert nothing.best.energy == pytest.approx(0.0, abs=1e-12)


def test_elements_are_not_needed_between_salts():
    """And an element that is not in the table is said to be absent rather than made up."""
    alone = reaction_energies(table(without=ELEMENTS), 'LiCl', 'GaF3')
    assert alone.best.energy == pytest.approx(-0.1, abs=1e-9)
    assert alone.phase_set.absent_elements == ('Cl', 'F', 'Ga', 'Li')
    assert 'No entry for the elements Cl, F, Ga, Li' in alone.phase_set.statement


def test_phases_of_other_elements_are_left_out():
    more = table({**ENERGIES, 'MgCl2': -6.0, 'Mg': 0.0})
    assert reaction_energies(more, 'LiCl', 'GaF3').phase_set.chemical_system == 'Cl-F-Ga-Li'


def test_a_metastable_salt_can_decompose():
    """A salt above the hull by 0.05 eV/atom releases that much alone."""
    high = PhaseEntry('GaF3_high', {'Ga': 1, 'F': 3}, -12.0 + 4 * 0.05, ENGINE)
    profile = reaction_energies([*table(), high], 'LiCl', 'GaF3_high')
    assert profile.reactions[0].equation == 'GaF3 -> GaF3'
    assert profile.reactions[0].energy == pytest.approx(-0.05, abs=1e-9)
    assert profile.best.energy == pytest.approx(-0.1 - 0.05 * 8 / 14, abs=1e-9)
    assert find_entry([*table(), high], 'GaF3').id == 'GaF3'


def test_errors_add_in_quadrature_with_the_amounts():
    """Each energy of a formula unit has the error 0.01 eV: sqrt(3² + 2² + 1 + 1) 0.01 / 14."""
    best = reaction_energies(table(error=0.01), 'LiCl', 'GaF3').best
    assert best.error == pytest.approx(0.01 * math.sqrt(15) / 14)
    some = [replace(entry, error=None) if entry.id == 'GaCl3' else entry for entry in table(error=0.01)]
    assert reaction_energies(some, 'LiCl', 'GaF3').best.error is None
    assert not reaction_energies(table(error=0.001), 'LiCl', 'GaF3').rivals
    rivals = reaction_energies(table(error=0.1), 'LiCl', 'GaF3').rivals
    assert [rival.equation for rival in rivals] == ['3 LiCl + GaF3 -> GaCl3 + 3 LiF']


def test_a_given_ratio_lies_on_the_line_between_two_kinks():
    """2:1 is half of the atoms each; x = 3/7 gives -0.1 and x = 3/5 gives -0.08 eV/atom."""
    reaction = reaction_at_ratio(table(), {'LiCl': 2, 'GaF3': 1})
    assert reaction.energy == pytest.approx(-0.1 + 0.02 * (1 / 2 - 3 / 7) / (3 / 5 - 3 / 7), abs=1e-9)
    excess = reaction_at_ratio(table(), {'LiCl': 1, 'GaF3': 1})
    assert excess.equation == '3 LiCl + 2 GaF3 -> GaCl3 + Li3GaF6'
    assert excess.energy == pytest.approx(-1.4 / 3 / 6, abs=1e-9)
    assert excess.remaining == pytest.approx({'GaF3': (1 / 3) * 4 / 6})
    assert reaction_at_ratio(table(), {'LiCl': 2, 'Ga2F6': 0.5}).energy == pytest.approx(reaction.energy)


SHIFTS = st.fixed_dictionaries({el: st.floats(-20, 20, allow_nan=False) for el in ('Li', 'Ga', 'F', 'Cl')})
NOISE = st.lists(st.floats(-0.4, 0.4), min_size=6, max_size=6)


@settings(max_examples=8, deadline=None)
@given(shift=SHIFTS, noise=NOISE)
def test_zeros_of_the_elements_do_not_matter(shift, noise):
    """Reactions conserve atoms, so a shift by a linear combination of the elements cancels."""
    names = [name for name in ENERGIES if name not in ELEMENTS]
    energies = {**ENERGIES, **{name: ENERGIES[name] + x for name, x in zip(names, noise, strict=True)}}
    given_entries = table(energies)
    shifted = [
        replace(entry, energy=entry.energy + sum(shift[el] * n for el, n in entry.composition.items()))
        for entry in given_entries
    ]
    before, after = (reaction_energies(entries, 'LiCl', 'GaF3') for entries in (given_entries, shifted))
    assert after.best.energy == pytest.approx(before.best.energy, abs=1e-8)
    hulls = [{row.id: row.above_hull for row in hull_energies(entries)} for entries in (given_entries, shifted)]
    assert hulls[1] == pytest.approx(hulls[0], abs=1e-8)


@settings(max_examples=8, deadline=None)
@given(noise=NOISE)
def test_against_pymatgen_and_a_scan_of_ratios(noise):
    """pymatgen's InterfacialReactivity and hull; and the best of fixed ratios, each solved as a linear programme."""
    from pymatgen.analysis.interface_reactions import InterfacialReactivity
    from pymatgen.core import Composition

    names = [name for name in ENERGIES if name not in ELEMENTS]
    entries = table({**ENERGIES, **{name: ENERGIES[name] + x for name, x in zip(names, noise, strict=True)}})
    diagram = phase_diagram(entries)
    profile = reaction_energies(entries, 'LiCl', 'GaF3')
    theirs = InterfacialReactivity(Composition('LiCl'), Composition('GaF3'), diagram).get_kinks()
    np.testing.assert_allclose(
        sorted((r.atomic_fraction, r.energy) for r in profile.reactions),
        sorted((k[1], k[2]) for k in theirs),
        atol=1e-8,
    )
    scanned = [
        reaction_at_ratio(entries, {'LiCl': 2 * x, 'GaF3': 1 - x}).energy for x in (0.1, 0.3, 3 / 7, 0.5, 0.6, 0.8)
    ]
    assert profile.best.energy <= min(scanned) + 1e-9
    for reaction in profile.reactions[1:-1]:
        assert reaction_at_ratio(entries, reaction.moles).energy == pytest.approx(reaction.energy, abs=1e-8)
    for row in hull_energies(entries):
        entry = next(item for item in diagram.all_entries if item.attribute == row.id)
        assert row.above_hull == pytest.approx(diagram.get_e_above_hull(entry), abs=1e-8)


def test_hull_energies_by_hand():
    """Li3GaF6 against 3 LiF + GaF3: (-32.4 + 31.8) / 10; LiGaCl4 against LiCl + GaCl3: (-8.9 + 9) / 6."""
    rows = {row.id: row for row in hull_energies(table(error=0.01))}
    assert rows['Li3GaF6'].stable
    assert rows['Li3GaF6'].distance == pytest.approx(-0.06, abs=1e-9)
    assert rows['Li3GaF6'].decomposition == pytest.approx({'LiF': 0.6, 'GaF3': 0.4})
    assert rows['Li3GaF6'].error == pytest.approx(0.01 * math.sqrt(1 + 9 + 1) / 10)
    assert not rows['LiGaCl4'].stable
    assert rows['LiGaCl4'].above_hull == pytest.approx(0.1 / 6, abs=1e-9)
    assert rows['LiGaCl4'].decomposition == pytest.approx({'LiCl': 1 / 3, 'GaCl3': 2 / 3})
    assert rows['Li'].distance is None
    assert list(rows)[-1] == 'LiGaCl4'


def test_window_by_hand():
    """LiF oxidises at 6.6 V (to F2); Li3GaF6 + 3 Li -> 6 LiF + Ga at (39.6 - 32.4) / 3 = 2.4 V."""
    entries = table(error=0.01)
    window = electrochemical_window(entries, {'Li': 1, 'Cl': 1}, 'Li')
    assert (window.reduction, window.oxidation) == (pytest.approx(0.0, abs=1e-9), pytest.approx(4.0))
    assert window.oxidation_error == pytest.approx(0.01 * math.sqrt(1 + 1 + 0.25), rel=1e-3)
    assert window.reduction_error == pytest.approx(0.0, abs=1e-6)
    window = electrochemical_window(entries, {'Li': 3, 'Ga': 1, 'F': 6}, 'Li')
    assert window.reduction == pytest.approx(2.4)
    # Li3GaF6 -> GaF3 + 3 Li + 3/2 F2: (32.4 - 12) / 3.
    assert window.oxidation == pytest.approx(6.8)
    assert electrochemical_window(entries, {'Ga': 1, 'F': 3}, 'Li').oxidation == math.inf
    assert 'Li3GaF6' in window.phase_set.statement


def test_window_against_a_divalent_metal():
    """MgCl2 at -6 eV: 3 V for two charges. With GaF3 it is MgF2 and GaCl3, reduced to gallium."""
    energies = {'MgCl2': -6.0, 'MgF2': -11.0, 'GaF3': -12.0, 'GaCl3': -5.0, 'Mg': 0.0} | dict.fromkeys(
        ('Ga', 'F2', 'Cl2'), 0.0
    )
    entries = table(energies)
    assert electrochemical_window(entries, {'Mg': 1, 'Cl': 2}, 'Mg').oxidation == pytest.approx(3.0)
    best = reaction_energies(entries, 'MgCl2', 'GaF3').best
    assert best.equation == '3 MgCl2 + 2 GaF3 -> 2 GaCl3 + 3 MgF2'
    assert best.energy == pytest.approx((-33 - 10 + 18 + 24) / 17)
    # MgF2, GaF3 and GaCl3: 2 GaCl3 + 3 Mg -> 3 MgCl2 + 2 Ga, followed by exchange with what GaF3 is left, so that
    # 2 GaF3 + 3 Mg -> 3 MgF2 + 2 Ga at (33 - 24) / 6 = 1.5 V lies above 2 GaCl3 at (18 - 10) / 6 = 1.33 V.
    mixture = mixed_composition(entries, {'MgCl2': 1, 'GaF3': 1})
    window = electrochemical_window(entries, mixture, 'Mg')
    assert window.reduction == pytest.approx(1.5)
    # Chlorine evolves first: MgF2 + 2/3 GaCl3 -> Mg + 2/3 GaF3 + Cl2, (11 + 10/3 - 8) / 2.
    assert window.oxidation == pytest.approx((11 + 10 / 3 - 8) / 2)


def test_window_is_the_range_of_the_grand_potential():
    """A linear programme at potentials around both ends: how much lithium the best phases hold."""
    from scipy.optimize import linprog

    entries = table()
    composition = {'Li': 2, 'Ga': 1, 'F': 3, 'Cl': 2}
    window = electrochemical_window(entries, composition, 'Li')
    elements = ('Ga', 'F', 'Cl')
    counts = np.array([[entry.composition.get(el, 0) for entry in entries] for el in elements])
    lithium = np.array([entry.composition.get('Li', 0) for entry in entries])
    energies = np.array([entry.energy for entry in entries])

    def held(potential):
        closed = [index for index, entry in enumerate(entries) if set(entry.composition) != {'Li'}]
        cost = energies[closed] + potential * lithium[closed]
        answer = linprog(cost, A_eq=counts[:, closed], b_eq=[composition[el] for el in elements])
        return float(lithium[closed] @ answer.x)

    assert window.width > 0.1
    assert held(window.reduction - 0.02) > 2.01
    assert held(window.reduction + 0.02) == pytest.approx(2)
    assert held(window.oxidation - 0.02) == pytest.approx(2)
    assert held(window.oxidation + 0.02) < 1.99


def test_window_without_a_plateau_is_one_potential():
    """Li2Cl lies between LiCl and a made-up Li3Cl: it follows the potential of their equilibrium, (5 - 4) / 2 V."""
    entries = table({'Li': 0.0, 'Cl2': 0.0, 'LiCl': -4.0, 'Li3Cl': -5.0})
    window = electrochemical_window(entries, {'Li': 2, 'Cl': 1}, 'Li')
    assert (window.reduction, window.width) == (pytest.approx(0.5), 0.0)
    assert electrochemical_window(entries, {'Li': 9, 'Cl': 1}, 'Li').oxidation == pytest.approx(0.0)


def test_files_and_entries_of_pymatgen(tmp_path):
    from pymatgen.entries.computed_entries import ComputedEntry, ConstantEnergyAdjustment

    made = [
        ComputedEntry(
            formula, energy, entry_id=f'mp-{number}', parameters={'run_type': 'GGA'},
            energy_adjustments=[ConstantEnergyAdjustment(0.5)],
        )
        for number, (formula, energy) in enumerate({'Li2': -3.8, 'Ga4': -12.1, 'F8': -15.0, 'Cl4': -7.3}.items())
    ]  # fmt: skip
    path = tmp_path / 'entries.json'
    rows = [entry.as_dict() for entry in made]
    rows[0]['parameters']['run_type'] = {'@module': 'some.module', '@class': 'RunType', 'value': 'GGA+U'}
    path.write_text(json.dumps(rows))
    entries = load_entries(path)
    assert [entry.energy for entry in entries] == pytest.approx([entry.energy for entry in made])
    assert {entry.engine for entry in entries} == {'GGA/GGA+U, computed entries'}
    assert phase_set(entries).ids == ('mp-3', 'mp-2', 'mp-1', 'mp-0')
    table_path = tmp_path / 'entries.yaml'
    table_path.write_text('entries:\n- {formula: GaF3, n_atoms: 24, energy_eV: -72, engine: PBE, error_eV: 0.6}\n')
    (entry,) = load_entries(table_path)
    assert (entry.id, entry.n_atoms, entry.energy_per_atom, entry.error_per_atom) == ('GaF3', 24, -3.0, 0.6 / 24)
    assert parse_entries([entry.as_dict()])[0] == entry
    pickled = tmp_path / 'entries.pkl'
    pickled.write_bytes(b'')
    with pytest.raises(EntriesError, match='pickles are never read'):
        load_entries(pickled)


ROW = {'formula': 'LiCl', 'energy_eV': -4.0, 'engine': 'PBE'}


@pytest.mark.parametrize(
    ('rows', 'words'),
    [
        ([], 'list of rows'),
        ('LiCl', 'list of rows'),
        ([{**ROW, 'formula': 'LiXy'}], 'not a'),
        ([{**ROW, 'formula': 'X2'}], 'of chemical elements'),
        ([{**ROW, 'energy_eV': float('nan')}], 'not a finite number'),
        ([{**ROW, 'n_atoms': 3}], 'no whole number of formula units'),
        ([{**ROW, 'engine': ''}], 'does not say what computed it'),
        ([{**ROW, 'error_eV': -1}], 'below 0'),
        ([{key: value for key, value in ROW.items() if key != 'energy_eV'}], 'has no energy'),
        ([ROW, ROW], 'two phases have the id LiCl'),
        ([ROW, {**ROW, 'id': 'b', 'engine': 'CHGNet 0.3.0'}], '2 engines, whose zeros differ .PBE: LiCl; CHGNet'),
        ([{'energy': -1.0, 'composition': {'Li': 1}}], 'no parameters.run_type'),
    ],
)
def test_tables_that_are_refused(rows, words):
    with pytest.raises(EntriesError, match=words):
        parse_entries(rows)


def test_questions_that_are_refused():
    entries = table()
    with pytest.raises(EntriesError, match='no phase NaCl'):
        reaction_energies(entries, 'NaCl', 'GaF3')
    with pytest.raises(EntriesError, match='one composition'):
        reaction_energies(entries, 'LiCl', 'LiCl')
    with pytest.raises(EntriesError, match='amount above 0'):
        reaction_at_ratio(entries, {'LiCl': 0})
    with pytest.raises(EntriesError, match='add Cl, F, Ga'):
        electrochemical_window(table(without=('Ga', 'F2', 'Cl2')), {'Li': 1, 'Ga': 1, 'F': 1, 'Cl': 3}, 'Li')
    with pytest.raises(EntriesError, match='add Na'):
        electrochemical_window(entries, {'Li': 1, 'Cl': 1}, 'Na')
    with pytest.raises(EntriesError, match='charge of the ion of Ga'):
        electrochemical_window(entries, {'Li': 1, 'Cl': 1}, 'Ga')
    with pytest.raises(EntriesError, match='no element besides Li'):
        electrochemical_window(entries, {'Li': 1}, 'Li')


def test_mixtures_as_they_are_written():
    assert parse_mixture('3LiCl-2GaF3') == {'LiCl': 3.0, 'GaF3': 2.0}
    assert parse_mixture('1.5 MgCl2 + Al2Cl6') == {'MgCl2': 1.5, 'AlCl3': 2.0}
    assert [names_a_ratio(text) for text in ('MgCl2-GaF3', '1MgCl2-GaF3', 'LiCl + 2 GaF3')] == [False, True, True]
    with pytest.raises(EntriesError, match='not a chemical formula'):
        parse_mixture('3LiCl-?')
