"""Physical failures, broken minimisers and cut files of an MD run: each has its own exit code, none a traceback."""

from __future__ import annotations

import numpy as np
import pytest
from vasp_md_samples import PLANNED, complete, cut, free_flight, parse_files
from vasp_writer import FreeFlight


@pytest.fixture(scope='module')
def flight():
    return free_flight()


@pytest.fixture
def parse(aiida_profile_clean, flight, tmp_path):
    """Return a function that parses a set of files as the outputs of a run."""

    def run(files, sampling=None, **tags):
        return parse_files(flight, tmp_path, files, sampling, **tags)

    return run


@pytest.mark.parametrize(
    ('ratio', 'status', 'step', 'words'),
    [
        (lambda step: 1.0 - 0.08 * step, 503, 7, 'collapsed to 0.44'),
        (lambda step: 1.0 + 0.21 * step, 504, 5, 'grew to 2.05 times'),
        (lambda step: 1.0 + 0.02 * step, 0, None, ''),
    ],
)
def test_a_cell_that_collapses_is_told_from_one_that_boils(parse, flight, ratio, status, step, words):
    files = complete(flight) | {'vasprun.xml': flight.vasprun(PLANNED, volume_ratio=ratio)}
    results, process = parse(files, {'first_step': 50}, isif=3)
    assert process.exit_status == status
    volume = flight.atoms.get_volume() * np.array([ratio(index) for index in range(PLANNED)])
    np.testing.assert_allclose(results['series'].get_array('volume_A3'), volume, rtol=1e-6)
    if status:
        assert words in process.exit_message
        assert f'step {50 + step}' in process.exit_message
        # What was computed is on record, but nothing goes on from there.
        assert 'structure' not in results
        assert results['statistics']['steps_done'] == PLANNED


def test_volume_bounds_are_those_of_the_plan(parse, flight):
    files = complete(flight) | {'vasprun.xml': flight.vasprun(PLANNED, volume_ratio=lambda step: 1.0 + 0.02 * step)}
    start = flight.atoms.get_volume()
    _, process = parse(files, {'volume_ratio_max': 1.05, 'volume_start_A3': start}, isif=3)
    assert process.exit_status == 504


def test_the_bounds_count_from_the_start_of_the_plan(parse, flight):
    _, process = parse(complete(flight), {'volume_start_A3': 3.0 * flight.atoms.get_volume()}, isif=3)
    assert process.exit_status == 503


def test_a_fixed_cell_has_no_bounds(parse, flight):
    _, process = parse(complete(flight), {'volume_start_A3': 3.0 * flight.atoms.get_volume()}, isif=2)
    assert process.exit_status == 0


def test_the_failure_that_came_first_gives_its_name(parse, flight):
    """A collapsing cell heats up: it is the collapse that is reported, and the other way round."""
    files = complete(flight) | {'vasprun.xml': flight.vasprun(PLANNED, volume_ratio=lambda step: 1.0 - 0.09 * step)}
    cold = FreeFlight(flight.atoms, 0.1 * flight.velocities, planned=PLANNED).oszicar(8)
    hot = flight.oszicar(PLANNED).splitlines(keepends=True)[8 * 7 :]
    files['OSZICAR'] = cold + ''.join(hot)
    _, process = parse(files, {'temperature_limit_K': 500.0}, isif=3)
    assert process.exit_status == 503
    _, early = first_failure_of(flight)
    assert early == 'ERROR_TEMPERATURE_RUNAWAY'


def first_failure_of(flight):
    from aiida_softclay.parsers.vasp_md_physics import first_failure

    series = {'temperature_K': np.array([300.0, 9000.0, 20000.0]), 'volume_A3': np.array([100.0, 90.0, 10.0])}
    failure = first_failure(series, {'isif': 3, 'tebeg': 300.0, 'teend': 300.0}, {}, 100.0)
    return failure.step, failure.code


@pytest.mark.parametrize(
    'words',
    [
        ' Error EDDDAV: Call to ZHEGV failed. Returncode =   7  2   8',
        ' ERROR EDDIAG: Call to routine ZHEEV failed! (error   3)',
        ' LAPACK: Routine ZPOTRF failed!           1           1',
    ],
)
def test_a_minimiser_that_broke_down_is_told_from_a_killed_job(parse, flight, words):
    files = complete(flight) | {
        'vasprun.xml': cut(flight.vasprun(7, closed=False)), 'OUTCAR': ' cut', 'OSZICAR': cut(flight.oszicar(7)),
        'CONTCAR': flight.contcar(6), 'vasp_output': f' running\n{words}\n',
    }  # fmt: skip
    results, process = parse(files)
    assert process.exit_status == 402
    assert words.strip() in process.exit_message
    assert results['statistics']['steps_done'] == 6
    assert 'structure' in results


def test_a_warning_of_the_minimiser_is_no_breakdown(parse, flight):
    words = ' WARNING in EDDRMM: call to ZHEGV failed, returncode =   6  3     10\n'
    _, process = parse(complete(flight) | {'vasp_output': words})
    assert process.exit_status == 0


@pytest.mark.parametrize('name', ['vasprun.xml', 'OUTCAR', 'OSZICAR', 'CONTCAR'])
def test_a_file_cut_anywhere_gives_an_exit_code_and_no_traceback(flight, name, aiida_profile_clean, tmp_path):
    """Every file is cut at many places, in the header too; the status says what can still be used."""
    # Of OUTCAR only the end is read: it tells a run that stopped itself from one that was killed.
    steps = 6 if name == 'OUTCAR' else PLANNED
    whole = complete(flight, steps)
    allowed = {
        # Cut before the first step nothing can be used; later the run counts as interrupted, unless CONTCAR shows that
        # only the record of the last step is lost.
        'vasprun.xml': {301, 310, 311, 403, 0},
        'OUTCAR': {400, 401},
        'OSZICAR': {0},
        # A part of a CONTCAR is none; the last two steps are then done again.
        'CONTCAR': {0, 403},
    }[name]
    seen = set()
    for number, share in enumerate((0.0, 0.02, 0.24, 0.5, 0.8, 0.93, 0.999)):
        folder = tmp_path / str(number)
        folder.mkdir()
        results, process = parse_files(flight, folder, whole | {name: cut(whole[name], share)})
        status = process.exit_status
        assert process.is_finished, process.exception
        assert status in allowed, (share, status, process.exit_message)
        assert process.exit_message or status == 0
        assert ('structure' in results) == (status in (0, 400, 401, 403))
        if status == 0:
            assert results['statistics']['steps_done'] == PLANNED
            assert results['statistics']['steps_recorded'] >= PLANNED - 1
        seen.add(status)
    assert len(seen) > 1 or name == 'OSZICAR'
