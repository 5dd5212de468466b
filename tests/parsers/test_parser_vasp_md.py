"""The parser of MD runs on files in VASP's own formats: complete, killed, cut, empty, contradictory."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from vasp_md_samples import PLANNED, complete, cut, free_flight, parse_files
from vasp_writer import TIMING, FreeFlight

from aiida_softclay.calculations.vasp_inputs import thermal_velocities
from aiida_softclay.parsers.vasp_files import (
    kinetic_temperature,
    read_oszicar,
    read_outcar_end,
    step_of_contcar,
    temperatures,
)


@pytest.fixture(scope='module')
def flight():
    return free_flight()


@pytest.fixture
def parse(aiida_profile_clean, flight, tmp_path):
    """Return a function that parses a set of files as the outputs of a run."""

    def run(files, sampling=None, **tags):
        return parse_files(flight, tmp_path, files, sampling, **tags)

    return run


def first_block(frames):
    with frames.open_frames() as opened:
        (view,) = opened.blocks()
        return view.read(), opened.sources


def test_a_complete_run(parse, flight):
    results, process = parse(
        complete(flight), {'frame_stride': 3, 'segment': 'melt', 'label': 'LiGaCl', 'first_step': 30}
    )
    assert process.exit_status == 0
    block, sources = first_block(results['frames'])
    assert block.symbols == flight.atoms.get_chemical_symbols()
    assert sources == [{'label': 'LiGaCl', 'stage': 'melt'}]
    np.testing.assert_allclose(block.energies, [flight.energy(step) for step in (0, 3, 6, 9)], atol=1e-8)
    for frame, step in enumerate((0, 3, 6, 9)):
        shift = (block.positions[frame] - flight.positions(step)) @ np.linalg.inv(flight.atoms.cell.array)
        assert np.abs(shift - np.rint(shift)).max() < 1e-6
    # One kilobar on every axis is a virial of V / 1602.1766 eV.
    assert block.virials[0][0, 0] == pytest.approx(flight.atoms.get_volume() / 1602.176634, rel=1e-5)

    structure = results['structure']
    assert [site.kind_name for site in structure.sites] == flight.atoms.get_chemical_symbols()
    shift = (np.array([site.position for site in structure.sites]) - flight.positions(PLANNED)) @ np.linalg.inv(
        flight.atoms.cell.array
    )
    assert np.abs(shift - np.rint(shift)).max() < 1e-12
    np.testing.assert_allclose(results['velocities'].get_array('velocities'), flight.velocities, atol=1e-15)

    series = results['series']
    assert series.get_array('step').tolist() == list(range(30, 40))
    np.testing.assert_allclose(series.get_array('time_fs'), 2.0 * np.arange(30, 40))
    np.testing.assert_allclose(series.get_array('free_energy_eV'), [flight.energy(step) for step in range(10)])
    # OSZICAR prints whole kelvins; the kinetic energy gives the digits behind them.
    np.testing.assert_allclose(series.get_array('temperature_K'), 600.0, rtol=1e-4)

    statistics = results['statistics'].get_dict()
    assert (statistics['steps_done'], statistics['finished'], statistics['truncated']) == (10, True, False)
    assert statistics['wall_time_s'] == 13.579
    assert statistics['program']['program'] == 'vasp'
    assert statistics['start']['position_difference_A'] < 1e-6
    assert statistics['start']['temperature_given_K'] == pytest.approx(600.0, rel=1e-4)


def test_stride_counts_from_the_start_of_the_plan(parse, flight):
    results, _ = parse(complete(flight), {'frame_stride': 4, 'first_step': 6})
    block, _ = first_block(results['frames'])
    np.testing.assert_allclose(block.energies, [flight.energy(step) for step in (2, 6)], atol=1e-8)


def test_stopped_early_continues_from_its_end(parse, flight):
    results, process = parse(complete(flight, 6))
    assert process.exit_status == 401
    assert '6 of 10' in process.exit_message
    assert results['statistics']['steps_done'] == 6
    assert results['frames'].n_frames == 6
    assert 'structure' in results


@pytest.mark.parametrize(('contcar_step', 'done', 'frames'), [(6, 6, 6), (5, 5, 5), (3, 3, 3), (7, 7, 6)])
def test_killed_in_the_middle_of_a_step(parse, flight, contcar_step, done, frames):
    """Seven steps were begun, six are complete; CONTCAR may be older than the frames, or one move ahead."""
    files = complete(flight)
    files |= {
        'vasprun.xml': cut(flight.vasprun(7, closed=False)), 'OUTCAR': ' cut', 'OSZICAR': cut(flight.oszicar(7)),
        'CONTCAR': flight.contcar(contcar_step),
    }  # fmt: skip
    results, process = parse(files)
    assert process.exit_status == 400
    statistics = results['statistics'].get_dict()
    assert (statistics['steps_done'], statistics['truncated'], statistics['finished']) == (done, True, False)
    assert results['frames'].n_frames == frames
    assert len(results['series'].get_array('step')) == frames
    assert 'structure' in results


@pytest.mark.parametrize(
    ('contcar', 'reason'),
    [
        (None, 'CONTCAR is missing'),
        ('', 'not a complete POSCAR'),
        ('cut', 'not a complete POSCAR'),
        ('elsewhere', 'does not follow from the recorded frames'),
        ('still', 'holds no velocities'),
    ],
)
def test_killed_without_a_usable_contcar(parse, flight, contcar, reason):
    """In a fixed cell the frames themselves say where the run was: two steps are lost and no more."""
    files = files_without_contcar(flight, contcar)
    results, process = parse(files)
    assert process.exit_status == 403
    assert reason in process.exit_message
    statistics = results['statistics'].get_dict()
    assert (statistics['steps_done'], statistics['steps_recorded']) == (4, 4)
    assert reason in statistics['state_from']
    assert results['frames'].n_frames == len(results['series'].get_array('step')) == 4
    cell = flight.atoms.cell.array
    shift = (np.array([site.position for site in results['structure'].sites]) - flight.positions(4)) @ np.linalg.inv(
        cell
    )
    assert np.abs(shift - np.rint(shift)).max() < 1e-7
    # Eight decimals of a direct coordinate, over two steps.
    np.testing.assert_allclose(results['velocities'].get_array('velocities'), flight.velocities, atol=5e-8)


def files_without_contcar(flight, contcar):
    files = complete(flight) | {'vasprun.xml': cut(flight.vasprun(7, closed=False)), 'OUTCAR': ' cut'}
    text = flight.contcar(6)
    if contcar is None:
        files.pop('CONTCAR')
    else:
        files['CONTCAR'] = {
            '': '', 'cut': cut(text, 0.8), 'elsewhere': flight.contcar(400),
            'still': '\n'.join(text.splitlines()[:14]) + '\n',
        }[contcar]  # fmt: skip
    return files


@pytest.mark.parametrize(
    ('contcar', 'reason'), [(None, 'CONTCAR is missing'), ('cut', 'not a complete POSCAR'), ('still', 'no velocities')]
)
def test_a_moving_cell_cannot_go_on_without_contcar(parse, flight, contcar, reason):
    results, process = parse(files_without_contcar(flight, contcar), isif=3)
    assert process.exit_status == 311
    assert reason in process.exit_message
    assert 'structure' not in results
    assert results['frames'].n_frames == 6


def test_a_contcar_of_other_atoms_is_not_papered_over(parse, flight):
    other = FreeFlight(Atoms('LiF', positions=np.eye(3)[:2], cell=[8, 7, 9]), np.zeros((2, 3)))
    _, process = parse(complete(flight) | {'CONTCAR': other.contcar(3)})
    assert process.exit_status == 311
    assert 'other atoms' in process.exit_message


@pytest.mark.parametrize(
    ('vasprun', 'status'),
    [(None, 301), ('', 301), ('<?xml version="1.0"?>\n', 301), ('not xml at all', 301), ('header', 301)],
)
def test_nothing_was_computed(parse, flight, vasprun, status):
    files = {'vasp_output': ' running\nERROR: INCAR: NSW = x is not a number\n'}
    if vasprun is not None:
        files['vasprun.xml'] = flight.vasprun(0, closed=False) if vasprun == 'header' else vasprun
    results, process = parse(files)
    assert process.exit_status == status
    assert 'NSW = x is not a number' in process.exit_message
    assert not results


def test_steps_without_any_frame_of_use(parse, flight):
    files = complete(flight) | {'vasprun.xml': cut(flight.vasprun(1, closed=False), 0.8), 'OUTCAR': 'cut'}
    _, process = parse(files)
    assert process.exit_status == 310


def test_energies_that_are_not_numbers(parse, flight):
    broken = {4: 'NaN'}
    files = complete(flight) | {'vasprun.xml': flight.vasprun(PLANNED, energies=broken)}
    results, process = parse(files, {'first_step': 100})
    assert process.exit_status == 500
    assert 'step 104' in process.exit_message
    assert 'frames' not in results
    assert 'statistics' in results


def test_a_hot_run_is_told_from_a_warm_one(parse, flight):
    _, process = parse(complete(flight), tebeg=10.0, teend=10.0, nsw=PLANNED)
    assert process.exit_status == 0
    assert flight.temperature < 5 * 10 + 1000


def test_runaway(parse, flight):
    _, process = parse(complete(flight), {'temperature_limit_K': 500.0})
    assert process.exit_status == 501
    assert '600 K' in process.exit_message


def test_steps_that_did_not_converge_are_left_out(parse, flight):
    files = complete(flight) | {'OSZICAR': flight.oszicar(PLANNED, electronic=60)}
    _, process = parse(files)
    assert process.exit_status == 502
    assert 'none of the 10 steps' in process.exit_message


def test_a_few_unconverged_steps_are_a_warning(parse, flight):
    files = complete(flight) | {'OSZICAR': flight.oszicar(8, electronic=10) + flight.oszicar(2, electronic=60)}
    results, process = parse(files)
    assert process.exit_status == 710
    assert '2 of 10' in process.exit_message
    assert results['frames'].n_frames == 8


def test_frames_thinned_by_the_program_are_noticed(parse, flight):
    _, process = parse(complete(flight) | {'vasprun.xml': flight.vasprun(5)})
    assert process.exit_status == 312
    assert 'SOFTCLAY_FRAME_STRIDE' in process.exit_message


def test_other_atoms_are_refused(parse, flight):
    other = FreeFlight(Atoms('LiF', positions=np.eye(3)[:2], cell=[8, 7, 9]), np.zeros((2, 3)))
    _, process = parse(complete(flight) | {'vasprun.xml': other.vasprun(PLANNED)})
    assert process.exit_status == 310
    assert 'other atoms' in process.exit_message


def test_missing_oszicar_leaves_the_frames(parse, flight):
    files = complete(flight)
    files.pop('OSZICAR')
    results, process = parse(files)
    assert process.exit_status == 0
    assert np.isnan(results['series'].get_array('temperature_K')).all()
    assert results['statistics']['start']['temperature_K'] is None


def test_oszicar_of_vasp():
    rows = read_oszicar(
        [
            '       N       E                     dE             d eps       ncg     rms          rms(c)\n',
            'DAV:   1     0.165439284012E+03    0.16544E+03   -0.11E+04  1024   0.114E+03\n',
            'RMM:   2    -0.165439284012E+03    0.16544E+03   -0.11E+04  1024   0.114E+03    0.2E+01\n',
            '      1 T=   300. E= -.41234567E+03 F= -.41534567E+03 E0= -.41534000E+03  EK= 0.30000E+01 SP= 0.00E+00 SK= 0.1E-05\n',  # noqa: E501
            '      2 T= ****** E= NaN F= -.41534567D+03 E0= -.41534000E+03  EK= 0.30000E+01 SP= 0.00E+00 SK= 0.1E-05\n',
            '      3 T=   300. E= -.41234567E+03 F= -.4153',
        ]
    )
    assert len(rows) == 2
    assert rows.electronic_steps == [2, 0]
    assert rows.total_energy[0] == -412.34567
    assert np.isnan(rows.temperature[1])
    assert np.isnan(rows.total_energy[1])
    assert rows.free_energy[1] == -415.34567


def test_temperature_digits_from_the_kinetic_energy():
    from ase.units import kB

    kinetic = 1.5 * 99 * kB * 1234.56 / 1.5  # (3N - 3) k T / 2 with N = 67 has 198 degrees of freedom
    rows = read_oszicar([f'  1 T=  1235. E= 1.0 F= 1.0 E0= 1.0 EK= {kinetic:.8E} SP= 0. SK= 0.\n'])
    assert temperatures(rows, 67)[0] == pytest.approx(1234.56, rel=1e-6)
    # With fixed atoms the degrees of freedom are others: what is printed stands.
    assert temperatures(rows, 30)[0] == 1235.0


def test_equipartition_of_drawn_velocities():
    masses = np.array([6.94] * 50 + [69.7] * 50)
    velocities = thermal_velocities(masses, 800.0, seed=5)
    assert kinetic_temperature(velocities, masses) == pytest.approx(800.0, rel=1e-12)
    np.testing.assert_allclose((masses[:, None] * velocities).sum(axis=0), 0.0, atol=1e-12)
    light = (masses[:50, None] * velocities[:50] ** 2).mean()
    heavy = (masses[50:, None] * velocities[50:] ** 2).mean()
    assert light == pytest.approx(heavy, rel=0.35)
    assert not np.allclose(velocities, thermal_velocities(masses, 800.0, seed=6))


def test_outcar_end(tmp_path):
    path = tmp_path / 'OUTCAR'
    path.write_text('x' * 50_000 + TIMING)
    assert read_outcar_end(path).finished
    path.write_text(TIMING[:40])
    assert not read_outcar_end(path).finished
    path.write_text('')
    assert read_outcar_end(path).wall_time_s is None


def test_step_of_contcar_over_the_boundary():
    cell = np.diag([4.0, 4.0, 4.0])
    velocities = np.array([[0.01, 0.0, 0.0]])
    frames = [np.array([[3.98 + 0.02 * step, 0.0, 0.0]]) % 4.0 for step in range(3)]
    assert step_of_contcar(np.array([[0.04, 0.0, 0.0]]), velocities, frames, 3, cell, 2.0) == 3
    assert step_of_contcar(np.array([[0.06, 0.0, 0.0]]), velocities, frames, 3, cell, 2.0) == 4
    assert step_of_contcar(np.array([[3.98, 0.0, 0.0]]), velocities, frames, 3, cell, 2.0) == 0
    assert step_of_contcar(np.array([[2.0, 0.0, 0.0]]), velocities, frames, 3, cell, 2.0) is None
