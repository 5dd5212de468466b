"""What the driver reads, and what it refuses to do, with a sentence that says what to change."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest

from aiida_softclay.engines.vasp.errors import InputError
from aiida_softclay.engines.vasp.incar import interpret, read_tags
from aiida_softclay.engines.vasp.kpoints import read_kpoints
from aiida_softclay.engines.vasp.poscar import Configuration, format_contcar, fractional, read_poscar
from aiida_softclay.engines.vasp.potcar import read_potcar

MD = {'IBRION': 0, 'NSW': 3, 'POTIM': 2, 'TEBEG': 300, 'MDALGO': 2}


def poscar(tmp_path, text):
    path = tmp_path / 'POSCAR'
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    'text',
    [
        # VASP 5, direct, with labels behind the coordinates
        'LiF\n1.0\n4 0 0\n0 4 0\n0 0 4\nLi F\n1 1\nDirect\n0 0 0 Li\n0.5 0.5 0.5 F\n',
        # VASP 4 without species, a scale, Cartesian coordinates that scale too
        'LiF\n2.0\n2 0 0\n0 2 0\n0 0 2\n1 1\nCartesian\n0 0 0\n1.0 1.0 1.0\n',
        # the volume instead of a scale
        'LiF\n-64.0\n1 0 0\n0 1 0\n0 0 1\nLi F\n1 1\nD\n0 0 0\n.5 .5 .5\n',
        # three scales, Fortran exponents, selective dynamics that fixes nothing, a translated atom
        'LiF\n4 4 4\n1.d0 0 0\n0 1 0\n0 0 1\nLi F\n1 1\nSelective\nDirect\n0 0 0 T T T\n.5 .5 -0.5d0 T T T\n',
    ],
)
def test_every_form_of_poscar_is_the_same_crystal(tmp_path, text):
    read = read_poscar(poscar(tmp_path, text))
    assert np.allclose(read.cell, 4 * np.eye(3))
    assert np.allclose(fractional(read.positions, read.cell), [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert read.counts == [1, 1]
    assert read.velocities is None


def test_velocities_are_cartesian_or_direct_per_step(tmp_path):
    head = 'Li\n1.0\n4 0 0\n0 5 0\n0 0 6\nLi\n1\nDirect\n0 0 0\n'
    cartesian = read_poscar(poscar(tmp_path, head + '\n 0.01 -0.02 0.03\n'), 2.0)
    assert np.allclose(cartesian.velocities, [[0.01, -0.02, 0.03]])
    direct = read_poscar(poscar(tmp_path, head + 'Direct\n 0.1 0.2 0.3\n'), 2.0)
    assert np.allclose(direct.velocities, [[0.1 * 4 / 2, 0.2 * 5 / 2, 0.3 * 6 / 2]])
    lattice = 'Lattice velocities and vectors\n1\n' + ' 0 0 0\n' * 6
    after = read_poscar(poscar(tmp_path, head + lattice + '\n 0.01 -0.02 0.03\n'), 2.0)
    assert np.allclose(after.velocities, cartesian.velocities)


def test_contcar_gives_back_every_bit(tmp_path):
    rng = np.random.default_rng(0)
    cell = 7 * np.eye(3) + rng.normal(size=(3, 3))
    configuration = Configuration(
        'title', ['Li', 'Cl'], [3, 4], cell, rng.uniform(size=(7, 3)) @ cell, rng.normal(size=(7, 3)) / 100,
        {'xi': [rng.normal()]},
    )  # fmt: skip
    read = read_poscar(poscar(tmp_path, format_contcar(configuration, ['Li', 'Cl'])))
    assert np.array_equal(read.cell, cell)
    assert np.array_equal(read.velocities, configuration.velocities)
    assert np.abs(read.positions - configuration.positions).max() < 1e-14
    assert read.state == configuration.state


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('Li\n1.0\n4 0 0\n0 4 0\n0 0 4\nLi\n2\nDirect\n0 0 0\n', '2 positions are announced, 1'),
        ('Li\n1.0\n4 0 0\n4 0 0\n0 0 4\nLi\n1\nDirect\n0 0 0\n', 'linearly dependent'),
        ('Li\n1.0\n0 4 0\n4 0 0\n0 0 4\nLi\n1\nDirect\n0 0 0\n', 'left-handed'),
        ('Li\n1.0\n4 0 0\n0 4 0\n0 0 4\nLi\n1\nSelective\nDirect\n0 0 0 F T T\n', 'selective dynamics'),
        ('Li\n1.0\n4 0 0\n0 4 0\n0 0 4\nLi\n1\nDirect\n0 0 nan\n', 'finite'),
        ('Li\n1.0\n4 0 0\n', 'ends too early'),
        ('Li\n1.0\n4 0 0\n0 4 0\n0 0 4\nLi Cl\n1\nDirect\n0 0 0\n', 'one positive number of atoms for each'),
    ],
)
def test_malformed_poscar(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_poscar(poscar(tmp_path, text))


def test_incar_syntax(tmp_path):
    (tmp_path / 'INCAR').write_text(
        '# comment\nibrion = 0 ; NSW=10 ! steps\nPOTIM = 1.5d0\nTEBEG = 300\n\nTEEND = 600\nTEBEG = 999\n'
        'MDALGO = 3\nLANGEVIN_GAMMA = 2*10.0 \\\n 20\nLCHARG = .FALSE.\nML_LMLFF = .FALSE.\n'
    )
    settings = interpret(read_tags(tmp_path / 'INCAR'), 3)
    assert settings.mode == 'md'
    assert settings.n_steps == 10
    assert settings.timestep_fs == 1.5
    assert settings.friction_per_ps == (10.0, 10.0, 20.0)
    assert settings.no_effect == ('LCHARG',)
    assert [settings.temperature(step) for step in (0, 5, 10)] == [300, 450, 600]


@pytest.mark.parametrize(
    ('tags', 'mode', 'thermostat'),
    [
        ({}, 'static', None),
        ({'NSW': 0, 'IBRION': 2}, 'static', None),
        ({'NSW': 5, 'IBRION': -1}, 'static', None),
        ({'NSW': 5, 'IBRION': 2}, 'relax', None),
        ({'NSW': 5, 'POTIM': 1}, 'md', None),
        ({**MD, 'MDALGO': 0, 'SMASS': -3}, 'md', None),
        ({**MD, 'MDALGO': 1, 'ANDERSEN_PROB': 0.0}, 'md', None),
        ({**MD, 'MDALGO': 0, 'SMASS': 0}, 'md', 'nose'),
        (MD, 'md', 'nose'),
        ({**MD, 'MDALGO': 3, 'LANGEVIN_GAMMA': '10'}, 'md', 'langevin'),
    ],
)
def test_modes(tags, mode, thermostat):
    settings = interpret({key: str(value) for key, value in tags.items()}, 1)
    assert (settings.mode, settings.thermostat) == (mode, thermostat)


@pytest.mark.parametrize(
    ('tags', 'message'),
    [
        ({**MD, 'POTIM': -1}, 'POTIM = -1 fs must be positive'),
        ({**MD, 'TEBEG': -10}, 'TEBEG = -10 K must not be negative'),
        ({**MD, 'TEEND': -10}, 'TEEND = -10 K must not be negative'),
        ({**MD, 'NSW': -1}, 'NSW = -1 must not be negative'),
        ({'IBRION': 0, 'NSW': 5}, 'no entry for POTIM'),
        ({**MD, 'LHFCALC': '.TRUE.'}, 'LHFCALC = .TRUE. .there is no Fock exchange'),
        ({**MD, 'NOSUCHTAG': 1}, 'cannot do: NOSUCHTAG'),
        ({**MD, 'MDALGO': 1, 'ANDERSEN_PROB': 0.1}, 'Andersen'),
        ({**MD, 'MDALGO': 5}, 'MDALGO = 5'),
        ({**MD, 'SMASS': -2}, 'SMASS = -2'),
        ({**MD, 'MDALGO': 3}, 'LANGEVIN_GAMMA has 0 values, but POTCAR has 1'),
        ({**MD, 'MDALGO': 3, 'LANGEVIN_GAMMA': '-1'}, 'must not be negative'),
        ({**MD, 'ISIF': 3}, 'needs the Langevin thermostat'),
        ({**MD, 'PSTRESS': 10}, 'PSTRESS has no effect'),
        ({'IBRION': 5, 'NSW': 1}, 'IBRION = 5 is not available'),
        ({'IBRION': 2, 'NSW': 1, 'ISIF': 7}, 'ISIF = 7'),
        ({'IVDW': 21}, 'IVDW = 21'),
        ({'VDW_S6': 0.5}, 'without IVDW'),
        ({'IVDW': 10, 'VDW_A1': 0.4}, 'does not belong to D2'),
        ({'NSW': 'ten'}, 'NSW = ten is not a number'),
        ({'NSW': 1.5}, 'not a whole number'),
    ],
)
def test_what_cannot_be_honoured_is_refused(tags, message):
    with pytest.raises(InputError, match=message):
        interpret({key: str(value) for key, value in tags.items()}, 1)


def test_kpoints(tmp_path):
    path = tmp_path / 'KPOINTS'
    path.write_text('mesh\n0\nMonkhorst\n2 1 1\n0 0 0\n')
    mesh = read_kpoints(path)
    assert sorted(point[0] for point in mesh.points) == [-0.25, 0.25]
    assert sum(mesh.weights) == pytest.approx(1)
    path.write_text('list\n2\nReciprocal\n0 0 0 1\n0.5 0 0 3\n')
    assert read_kpoints(path).weights == [0.25, 0.75]
    path.write_text('line\n10\nLine\nrec\n')
    with pytest.raises(InputError, match='KPOINTS'):
        read_kpoints(path)


def test_potcar_titles(tmp_path):
    path = tmp_path / 'POTCAR'
    path.write_text(
        ' PAW_PBE Li_sv 10Sep2004\n   TITEL  = PAW_PBE Li_sv 10Sep2004\n   LEXCH  = PE\n'
        '   POMASS =    7.010; ZVAL = 3.0\n'
        '   TITEL  = PAW_PBE H1.25 07Sep2000\n'
    )
    first, second = read_potcar(path)
    assert (first.symbol, first.mass, first.valence, first.exchange) == ('Li', 7.010, 3.0, 'PE')
    assert second.symbol == 'H'
    assert second.mass == pytest.approx(1.008)
    path.write_text('nothing here\n')
    with pytest.raises(InputError, match='no TITEL'):
        read_potcar(path)


@pytest.mark.parametrize(
    ('symbols', 'message'),
    [
        (['Au', 'Cu'], 'species 1 is Au in POTCAR but Cu in POSCAR'),
        (['Cu'], 'POTCAR has 1 species .Cu., POSCAR has 2'),
        (['Cu', 'Ag'], 'species 2 is Ag in POTCAR but Au in POSCAR'),
    ],
)
def test_potcar_must_fit_poscar(make_case, alloy, symbols, message):
    case = make_case()
    case.write(alloy, {'NSW': 0}, symbols=symbols)
    assert case.run() == 2
    assert re.search(message, case.output)
    assert not (case.folder / 'OUTCAR').exists()


def test_kind_names_in_poscar_are_no_elements(make_case, alloy):
    case = make_case()
    case.write(alloy, {'NSW': 0})
    text = (
        (case.folder / 'POSCAR').read_text().replace('Cu  Au', 'Cu1 Au_surface', 2).replace('Cu Au', 'Cu1 Au_surface')
    )
    (case.folder / 'POSCAR').write_text(text)
    assert case.run() == 0, case.output


@pytest.mark.parametrize('missing', ['INCAR', 'POSCAR', 'POTCAR', 'KPOINTS'])
def test_missing_files_are_named(make_case, copper, missing):
    case = make_case()
    case.write(copper, {'NSW': 0})
    (case.folder / missing).unlink()
    assert case.run() == 2
    assert f'softclay-vasp error: {missing} cannot be read' in case.output


@pytest.mark.parametrize(
    ('environment', 'status', 'message'),
    [
        ({'SOFTCLAY_CALCULATOR': 'no.such.module:Thing'}, 3, 'cannot be imported'),
        ({'SOFTCLAY_CALCULATOR': 'ase.calculators.emt'}, 3, 'module:factory'),
        ({'SOFTCLAY_CALCULATOR_KWARGS': '{'}, 3, 'not valid JSON'),
        ({'SOFTCLAY_CALCULATOR_KWARGS': '{"no_such_argument_of_emt": 1}'}, None, ''),
        ({'SOFTCLAY_FRAME_STRIDE': '0'}, 2, 'must be positive'),
        ({'SOFTCLAY_TIME_LIMIT': 'soon'}, 2, 'not a number'),
        ({'SOFTCLAY_THREADS': '-1'}, 2, 'SOFTCLAY_THREADS'),
    ],
)
def test_bad_environment(make_case, copper, environment, status, message):
    case = make_case()
    case.write(copper, {'NSW': 0})
    found = case.run(**environment)
    if status is not None:
        assert found == status
        assert message in case.output
    assert 'Traceback' not in case.output


def test_element_that_the_calculator_does_not_know(make_case):
    from ase.build import bulk

    case = make_case()
    case.write(bulk('LiF', 'cesiumchloride', a=2.6), {'NSW': 0})
    assert case.run() == 3, case.output
    assert 'cannot treat this structure' in case.output


@pytest.mark.engine
def test_version_and_help_do_not_load_the_model(vasp_program):
    version = subprocess.run([vasp_program, '--version'], capture_output=True, text=True, check=True)
    assert 'CHGNet 0.3.0' in version.stdout
    help_text = subprocess.run([vasp_program, '--help'], capture_output=True, text=True, check=True).stdout
    for word in ('SOFTCLAY_CALCULATOR', 'SOFTCLAY_TIME_LIMIT', 'LANGEVIN_GAMMA', 'ENCUT', 'not VASP'):
        assert word in help_text
