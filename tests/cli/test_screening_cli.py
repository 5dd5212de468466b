"""``softclay screening`` and ``softclay launch reaction-energy``: tables, plans and sentences."""

from __future__ import annotations

import json

import pytest
from aiida import orm
from ase.build import bulk
from ase.io import write
from click.testing import CliRunner

from aiida_softclay.cli.launch import launch
from aiida_softclay.cli.screening import screening

#: Made up, eV per formula unit: 3 LiCl + 2 GaF3 -> Li3GaF6 + GaCl3 releases 100 meV/atom.
ENERGIES = {'LiCl': -4.0, 'GaF3': -12.0, 'Li3GaF6': -32.4, 'GaCl3': -5.0, 'LiF': -6.6}
ROWS = [{'formula': name, 'energy_eV': energy, 'engine': 'made up'} for name, energy in ENERGIES.items()]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / 'table.json'
    path.write_text(json.dumps({'entries': ROWS}))
    return str(path)


def run(*arguments):
    return CliRunner().invoke(screening, list(arguments))


def test_pairs_of_a_file(table):
    outcome = run(table, '3LiCl-GaF3', 'MgCl2-GaF3', '--evidence')
    assert outcome.exit_code == 0, outcome.output
    assert '3 LiCl + 2 GaF3 -> GaCl3 + Li3GaF6' in outcome.output
    assert '-100.0' in outcome.output
    assert 'meets all' in outcome.output
    assert 'the table lacks MgCl2' in outcome.output
    assert 'Against 5 phases of Cl-F-Ga-Li by made up' in outcome.output
    (row,) = json.loads(run(table, 'LiCl-GaF3', '--format', 'json').output)
    assert row['outlook'] == 'open'
    assert '-80.0' in run(table, 'LiCl-GaF3', '--without', 'Li3GaF6').output
    assert 'no phase with the id LiGaCl4' in run(table, 'LiCl-GaF3', '--without', 'LiGaCl4').output
    assert run(table, '--format', 'csv').output.count('\n') > 10


def test_table_of_a_node(aiida_profile, table):
    node = orm.Dict({'entries': ROWS}).store()
    assert '-100.0' in run(str(node.pk), 'LiCl-GaF3').output


def test_sentences(aiida_profile, table, tmp_path):
    assert 'not a pair of salts' in run(table, 'LiCl').output
    assert 'neither a file nor the pk' in run('987654321').output
    assert 'not the table' in run(str(orm.Int(1).store().pk)).output
    bad = tmp_path / 'bad.yaml'
    bad.write_text('- {formula: LiCl}')
    outcome = run(str(bad))
    assert (outcome.exit_code, 'has no energy' in outcome.output) == (1, True)


@pytest.fixture
def profile(aiida_profile_clean, localhost):
    from aiida_softclay.calculations.potcars import upload_placeholder_family

    upload_placeholder_family('placeholders', ['Li', 'Ga', 'F', 'Cl'])
    orm.InstalledCode(
        label='vasp', computer=localhost, filepath_executable='/opt/vasp', default_calc_job_plugin='softclay.vasp_md'
    ).store()


def test_dry_run(profile, tmp_path):
    path = tmp_path / 'glass.vasp'
    write(path, bulk('LiCl', 'rocksalt', a=5.1, cubic=True))

    def plan(*arguments):
        return CliRunner().invoke(launch, ['reaction-energy', *arguments, '--dry-run'], terminal_width=200)

    outcome = plan('2LiCl-GaF3', '--ion', 'Li', '--phase', f'glass={path}')
    assert outcome.exit_code == 0, outcome.output
    assert 'phases' in outcome.output
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == 0
    assert 'is not NAME=STRUCTURE' in plan('LiCl-GaF3', '--phase', 'glass').output
    assert 'neither a file nor the pk' in plan('LiCl-GaF3', '--phase', 'glass=9999999').output
    assert 'no potential for Na' in plan('NaCl-GaF3').output
    assert 'names two salts' in plan('LiCl').output
    described = CliRunner().invoke(launch, ['protocols', 'reaction_energy', 'paper'])
    assert 'kpoints_spacing: 0.209' in described.output
