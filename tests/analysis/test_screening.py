"""The criteria of gupta2023 on made-up energies, and the published facts they are compared with."""

from __future__ import annotations

import pytest

from aiida_softclay.analysis.screening import (
    find_published,
    molecular_solids,
    published_mixtures,
    screen_pair,
    screening_table,
)
from aiida_softclay.analysis.thermodynamics import parse_entries, parse_formula

#: Made up, eV per formula unit; Li3GaF6 + GaCl3 is the best of LiCl and GaF3 at -0.1 eV/atom.
ENERGIES = {
    'LiCl': -4.0, 'GaF3': -12.0, 'Li3GaF6': -32.4, 'GaCl3': -5.0, 'LiF': -6.6,
    'InF3': -12.0, 'InCl3': -4.0, 'MgCl2': -6.0, 'MgF2': -11.0, 'SbF3': -9.0, 'SbCl3': -4.0,
}  # fmt: skip


def table(error=None, without=(), **changes):
    energies = {name: energy for name, energy in {**ENERGIES, **changes}.items() if name not in without}
    return parse_entries(
        [{'formula': name, 'energy_eV': e, 'engine': 'made up', 'error_eV': error} for name, e in energies.items()]
    )


def verdicts(pair):
    return [criterion.verdict for criterion in pair.criteria]


def test_a_pair_that_meets_all():
    pair = screen_pair(table(), 'LiCl', 'GaF3', x=3)
    assert verdicts(pair) == ['met', 'met', 'met']
    assert pair.molecular_solids == ('GaCl3',)
    assert pair.agrees is True
    assert pair.outlook == 'meets all'
    assert '-100.0 meV/atom for 3 LiCl + 2 GaF3' in pair.criteria[0].evidence
    assert 'Li3GaF6' in pair.phase_statement
    assert screen_pair(table(), 'LiCl', 'GaF3', x=1).outlook == 'ruled out'
    # The same ratio with the salts the other way round.
    assert screen_pair(table(), 'GaF3', 'LiCl', x=1 / 3).criteria[2].verdict == 'met'
    assert screen_pair(table(), 'GaF3', 'LiCl', x=3).criteria[2].verdict == 'not met'
    assert screen_pair(table(), 'LiCl', 'GaF3').outlook == 'open'


def test_exchange_that_separates_is_ruled_out_by_diffraction():
    pair = screen_pair(table(), 'LiCl', 'SbF3')
    assert verdicts(pair) == ['met', 'not met', 'undecided']
    assert pair.agrees is True
    assert 'SbCl3 has separated' in pair.criteria[1].evidence


def test_no_driving_force():
    """3 LiCl + InF3 -> 3 LiF + InCl3 costs (-19.8 - 4) - (-12 - 12) = 0.2 eV; InCl3 is no molecular solid."""
    pair = screen_pair(table(), 'LiCl', 'InF3')
    assert pair.criteria[0].verdict == 'not met'
    assert 'no ratio' in pair.criteria[0].evidence
    assert pair.contradicts == ''
    exchange = screen_pair(table(InCl3=-6.0), 'LiCl', 'InF3')
    assert 'no driving force is reported' in exchange.contradicts
    assert exchange.criteria[0].verdict == 'not met'
    assert 'no known molecular solid' in exchange.criteria[0].evidence
    assert screen_pair(table(InCl3=-6.0), 'LiCl', 'InF3', more_molecular_solids=['InCl3']).criteria[0].verdict == 'met'


def test_what_the_table_lacks_is_undecided():
    assert (
        'lacks the molecular solid GaCl3' in screen_pair(table(without=('GaCl3',)), 'LiCl', 'GaF3').criteria[0].evidence
    )
    missing = screen_pair(table(), 'LiI', 'GaF3')
    assert missing.reaction is None
    assert verdicts(missing) == ['undecided', 'not met', 'undecided']
    assert 'lacks LiI' in missing.criteria[0].evidence
    unknown = screen_pair(table(), 'MgCl2', 'SbF3')
    assert verdicts(unknown)[1:] == ['undecided', 'undecided']
    assert (unknown.published, unknown.agrees) == (None, None)


def test_errors_that_are_too_large_leave_it_open():
    """-1.4 eV on 14 atoms; sqrt(15) times the error of a formula unit, twice, must stay below 1.4 eV."""
    assert screen_pair(table(error=0.15), 'LiCl', 'GaF3').criteria[0].verdict == 'met'
    assert screen_pair(table(error=0.2), 'LiCl', 'GaF3').criteria[0].verdict == 'undecided'


def test_another_set_of_products_is_a_disagreement():
    pair = screen_pair(table(without=('Li3GaF6',)), 'LiCl', 'GaF3')
    assert pair.agrees is False
    assert pair.criteria[0].verdict == 'met'


def test_published_facts():
    """Table 1 of gupta2023: which became clay; every molecular solid that separated is a known one."""
    rows = published_mixtures()
    assert len({frozenset((row.first, row.second)) for row in rows}) == len(rows)
    assert {f'{row.first}-{row.second}' for row in rows if row.clay} == {'LiCl-GaF3', 'MgCl2-GaF3', 'LiBr-GaF3'}
    assert find_published('GaF3', 'MgCl2').energy_eV_atom == -0.187
    assert find_published('LiHO', 'GaF3').first == 'LiOH'
    for row in rows:
        formulas = [row.first, row.second, *(row.products or ()), *(row.peaks or ())]
        elements = set(parse_formula(row.first)) | set(parse_formula(row.second))
        assert all(set(parse_formula(formula)) <= elements for formula in formulas), row
        if row.products:
            assert set(row.products) & set(molecular_solids())
        assert row.source


def test_molecular_solids_are_those_of_the_crystals():
    from aiida_softclay.structures.crystals import load_phases

    library = {phase.formula for phase in load_phases().values() if phase.molecular and phase.is_salt}
    assert set(molecular_solids()) == library


@pytest.mark.parametrize('pairs', [None, [('LiCl', 'GaF3'), ('MgCl2', 'GaF3')]])
def test_tables(pairs):
    rows = screening_table(table(), pairs)
    assert len(rows) == (len(published_mixtures()) if pairs is None else 2)
    assert [row.molecular_solids for row in rows[:2]] == [('GaCl3',), ('GaCl3',)]
    assert rows[1].as_dict()['criteria'][0]['verdict'] == 'met'
