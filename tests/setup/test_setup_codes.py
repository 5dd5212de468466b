"""Codes, computers and families: made once, kept when nothing changed, replaced when something did."""

import subprocess

import pytest
from aiida.orm import Computer, InstalledCode, QueryBuilder, load_code

from aiida_softclay.setup import codes, computer, family
from aiida_softclay.setup.errors import ExitStatus, SetupError

LMP, DP, VASP = codes.ENGINES


def program(folder, name, text='exit 0'):
    """Write an executable script."""
    path = folder / name
    path.write_text(f'#!/bin/bash\n{text}\n')
    path.chmod(0o755)
    return str(path)


def test_same_code_is_kept(aiida_profile_clean, localhost, tmp_path):
    """Asked for twice, a code is one node."""
    command = program(tmp_path, 'mylmp')
    said = []
    first = codes.ensure_code(LMP, localhost, command, 1, tmp_path, said.append)
    second = codes.ensure_code(LMP, localhost, command, 1, tmp_path, said.append)
    assert first.pk == second.pk
    assert 'made' in said[0]
    assert 'is there' in said[1]


def test_changed_code_is_replaced_not_edited(aiida_profile_clean, localhost, tmp_path):
    """Calculations that ran keep pointing to the code that they ran with."""
    former = codes.ensure_code(DP, localhost, program(tmp_path, 'dp-old'), 1, tmp_path, print)
    latter = codes.ensure_code(DP, localhost, program(tmp_path, 'dp-new'), 1, tmp_path, print)
    assert latter.pk != former.pk
    assert load_code(f'dp@{localhost.label}').pk == latter.pk
    old = QueryBuilder().append(InstalledCode, filters={'id': former.pk}).one()[0]
    assert old.is_hidden
    assert str(old.filepath_executable).endswith('dp-old')


def test_whole_command_becomes_a_program(localhost, tmp_path):
    """A launcher with arguments is wrapped in a script that passes everything on unchanged."""
    echo = program(tmp_path, 'launcher', 'printf "<%s>" "$@"')
    code = codes.ensure_code(VASP, localhost, f"'{echo}' -np 4 'my vasp'", 1, tmp_path / 'profile', print)
    assert code.with_mpi is None
    result = subprocess.run([str(code.filepath_executable), 'a b'], capture_output=True, text=True, check=True)
    assert result.stdout == '<-np><4><my vasp><a b>'


@pytest.mark.parametrize('command', ['/no/such/lmp', 'no-such-lmp'])
def test_missing_program(localhost, tmp_path, command):
    """A program that is not there is named, with the option that names another."""
    with pytest.raises(SetupError, match=r'`/?no.*--lmp') as caught:
        codes.ensure_code(LMP, localhost, command, 1, tmp_path, print)
    assert caught.value.status == ExitStatus.ENGINE


def test_whole_command_on_a_cluster(aiida_profile, tmp_path):
    """On another computer the launcher is the computer's, not the code's."""
    cluster = Computer('a cluster', hostname='nowhere', transport_type='core.ssh', scheduler_type='core.slurm')
    with pytest.raises(SetupError, match='one program') as caught:
        codes.ensure_code(VASP, cluster, 'srun vasp_std', 1, tmp_path, print)
    assert caught.value.status == ExitStatus.USAGE


def test_threads_of_every_library_are_set():
    """The daemon's environment reaches the jobs, so each variable is set, for each engine."""
    for engine in codes.ENGINES:
        lines = codes.thread_settings(engine, 2, local=True).splitlines()
        assert 'export OMP_NUM_THREADS=2' in lines
        assert all(f'export {name}=2' in lines for name in engine.variables)
    assert 'export SOFTCLAY_THREADS=2' in codes.thread_settings(VASP, 2, local=True)
    assert 'export TF_CPP_MIN_LOG_LEVEL=3' in codes.thread_settings(DP, 2, local=True)
    assert 'SOFTCLAY_THREADS' not in codes.thread_settings(VASP, 1, local=False)


def test_bound_on_jobs_is_brought_up_to_date(aiida_profile, tmp_path):
    """Another bound on the same computer replaces the former in property and gate."""
    computer.ensure_local_computer(tmp_path, 4, print)
    localhost = computer.ensure_local_computer(tmp_path, 2, print)
    assert QueryBuilder().append(Computer, filters={'label': 'localhost'}).count() == 1
    assert localhost.get_property('softclay_max_jobs') == 2
    assert 'At most 2 jobs' in localhost.get_prepend_text()
    assert 'slots' in localhost.get_prepend_text()
    assert localhost.is_configured


def test_unknown_computer(aiida_profile):
    """A computer that is not there is named, with how to make it."""
    with pytest.raises(SetupError, match='verdi computer setup') as caught:
        computer.existing_computer('nonesuch', None, print)
    assert caught.value.status == ExitStatus.COMPUTER


def test_existing_computer_is_not_changed(localhost):
    """Of a computer that the user made nothing but the bound is set."""
    before = (localhost.get_prepend_text(), localhost.get_workdir())
    same = computer.existing_computer(localhost.label, 7, print)
    assert same.get_property('softclay_max_jobs') == 7
    assert (same.get_prepend_text(), same.get_workdir()) == before


def test_family_of_placeholders_once(aiida_profile):
    """The second call adds nothing."""
    said = []
    assert family.ensure_placeholder_family(said.append) == 'softclay-placeholder'
    family.ensure_placeholder_family(said.append)
    assert 'is there' in said[-1]


def test_family_of_the_user(aiida_profile, tmp_path):
    """A tree of POTCAR files becomes a family; a folder without one is refused, as is one that does not exist."""
    from aiida_softclay.calculations.potcars import family_elements, write_placeholder_potcars

    with pytest.raises(SetupError, match='does not exist') as caught:
        family.ensure_user_family(tmp_path / 'nowhere', 'mine', print)
    assert caught.value.status == ExitStatus.POTENTIALS
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SetupError, match='no POTCAR'):
        family.ensure_user_family(tmp_path / 'empty', 'mine', print)
    write_placeholder_potcars(tmp_path / 'tree', ['Li', 'Cl'])
    for _ in range(2):
        assert family.ensure_user_family(tmp_path / 'tree', 'mine', print) == 'mine'
    assert set(family_elements('mine')) == {'Li', 'Cl'}
