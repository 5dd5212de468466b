"""``softclay crystals`` as a user types it; no profile is needed."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from aiida_softclay.cli.crystals import SETS, crystals
from aiida_softclay.structures.reference_sets import reference_sets


def run(*words, fails=False):
    result = CliRunner().invoke(crystals, words)
    assert (result.exit_code != 0) == fails, result.output
    return result.output


def test_the_choices_are_the_sets():
    assert list(SETS) == reference_sets()


def test_chemical_system_as_table():
    text = run('Li-Ga-F-Cl', '--salts-only')
    assert 'Li3GaF6' in text
    assert 'C2/c (15)' in text
    assert 'LiGa ' not in text
    assert 'NaTl' not in text


def test_formula_lists_polymorphs_as_csv():
    lines = run('LiAlO2', '--format', 'csv').splitlines()
    assert lines[0] == 'id,formula,space group,atoms,density (g/cm^3),confidence,source'
    assert [line.split(',')[0] for line in lines[1:]] == ['LiAlO2_gamma', 'LiAlO2_alpha']


def test_set_as_json_and_table():
    rows = json.loads(run('--set', 'yang2024', '--demo', '--format', 'json'))
    assert {row['label'] for row in rows} == {'MgCl2', 'MgF2', 'GaF3', 'slab'}
    slab = next(row for row in rows if row['kind'] == 'slab')
    assert slab['mismatch'].endswith('%')
    assert slab['Tmax (K)'] == 1480
    assert all(row['atoms'] <= 40 for row in rows)
    text = run('--set', 'you2025', '--demo')
    assert 'Published: 3 structures' in text
    assert '(!) The paper relaxes its trimers by DFT' in text


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['KBr'], 'no crystal structure is known'),
        (['--demo'], '--demo goes with --set'),
        (['LiCl', '--set', 'gupta2023'], 'not both'),
        (['--set', 'gupta2024'], 'is not one of'),
    ],
)
def test_wrong_calls_get_a_sentence(words, sentence):
    assert sentence in run(*words, fails=True)
