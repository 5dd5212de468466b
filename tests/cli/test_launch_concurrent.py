"""``softclay launch concurrent-learning``: what it would do, and sentences for what it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from click.testing import CliRunner
from launch_samples import record_codes

from aiida_softclay.calculations.potcars import upload_placeholder_family
from aiida_softclay.cli.launch import launch
from aiida_softclay.cli.launch_concurrent import structure_labels
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FrameBlock, FramesFile


def run(*arguments):
    words = ['concurrent-learning', *(str(argument) for argument in arguments)]
    return CliRunner().invoke(launch, words, terminal_width=200)


@pytest.fixture
def profile(aiida_profile_clean, localhost):
    upload_placeholder_family('placeholders', ['Cu', 'Al'])
    record_codes(localhost)


@pytest.fixture
def frames(profile, tmp_path):
    crystal = bulk('Cu', 'fcc', a=3.6, cubic=True)
    block = FrameBlock.from_symbols(
        crystal.get_chemical_symbols(), positions=crystal.positions[None], cells=crystal.cell.array[None],
        energies=np.zeros(1), forces=np.zeros((1, 4, 3)),
    )  # fmt: skip
    with FramesFile(tmp_path / 'frames.h5', 'w') as file:
        file.describe('e_fr_energy', {'program': 'test'})
        file.append(block, {'label': 'test'})
    return FramesData.from_file(tmp_path / 'frames.h5').store()


@pytest.fixture
def copper(profile):
    return orm.StructureData(ase=bulk('Cu', 'fcc', a=3.6, cubic=True) * 2).store()


def rows(output):
    return {line.split()[0]: line.split() for line in output.splitlines() if line.strip()}


def test_a_dry_run_prints_the_generations_and_submits_nothing(frames, copper):
    outcome = run(frames.pk, '--structure', copper.pk, '--dry-run')
    assert outcome.exit_code == 0, outcome.output
    table = rows(outcome.output)
    # Two generations of two models, of two conditions, of twelve labels each.
    assert table['committees'][1] == '4'
    assert table['exploration'][1:3] == ['4', '32']
    assert '24' in table['labels']
    assert 'fit_potential' in table
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == 0


def test_the_paper_costs_more(frames, copper):
    totals = []
    for protocol in ('demo', 'balanced', 'paper'):
        outcome = run(frames.pk, '--structure', copper.pk, '--protocol', protocol, '--dry-run')
        assert outcome.exit_code == 0, outcome.output
        totals.append(float(rows(outcome.output)['all'][-1].replace(',', '')))
    assert totals[0] < totals[1] < totals[2]


def test_an_element_without_frames_is_refused(frames):
    aluminium = orm.StructureData(ase=bulk('Al', 'fcc', a=4.05, cubic=True)).store()
    outcome = run(frames.pk, '--structure', aluminium.pk, '--dry-run')
    assert outcome.exit_code != 0
    assert 'has Al, of which no labelled frame tells anything' in outcome.output
    assert run(frames.pk, '--dry-run').exit_code != 0, 'a structure is needed'


def test_structures_get_names_that_can_be_links(copper):
    named = orm.StructureData(ase=bulk('Cu', 'fcc', a=3.6), label='slab | LiCl-GaF3 (2)')
    assert list(structure_labels([named, copper, copper])) == ['slab_LiCl_GaF3_2', 'Cu32', 'Cu32_2']
