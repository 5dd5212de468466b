"""Strain, stress pulses and stress–strain curves against synthetic material of known properties."""

import numpy as np
import pytest
from scipy.signal import lfilter

from aiida_softclay.analysis import stress_strain
from aiida_softclay.analysis.mechanics import (
    PulseStage,
    analyse_stress_pulse,
    fluctuation_modulus,
    strain_from_cells,
)
from aiida_softclay.analysis.stress_strain import analyse_stress_strain
from aiida_softclay.analysis.tension import poisson_ratio

CELL = np.array([[10.0, 0, 0], [1.0, 12.0, 0], [-2.0, 3.0, 15.0]])


@pytest.mark.parametrize(('component', 'index'), [('xy', (1, 0)), ('xz', (2, 0)), ('yz', (2, 1))])
def test_shear_strain_is_tilt_over_height(component, index):
    strains = np.array([0.0, 0.1, -0.03])
    cells = np.repeat(CELL[None], 3, axis=0)
    cells[:, index[0], index[1]] += strains * CELL[index[0] if component != 'xy' else 1][{'xy': 1}.get(component, 2)]
    assert strain_from_cells(cells, component) == pytest.approx(strains)
    others = {'xy', 'xz', 'yz'} - {component}
    assert all(strain_from_cells(cells, other) == pytest.approx(np.zeros(3)) for other in others)
    assert strain_from_cells(cells[1:], component, reference=CELL) == pytest.approx(strains[1:])


def test_normal_strain_and_volume_change():
    cells = CELL * np.array([1.0, 1.02])[:, None, None]
    assert strain_from_cells(cells, 'yy') == pytest.approx([0, 0.02])
    # A uniform expansion is no shear.
    assert strain_from_cells(cells, 'yz') == pytest.approx([0, 0], abs=1e-12)


def test_cells_are_checked():
    with pytest.raises(ValueError, match='unknown component'):
        strain_from_cells(CELL[None], 'zy')
    with pytest.raises(ValueError, match='LAMMPS orientation'):
        strain_from_cells(np.transpose(CELL)[None], 'yz')
    flipped = np.repeat(CELL[None], 2, axis=0)
    flipped[1, 2, 1] -= CELL[1, 1]
    # The tilt seems to jump by a whole lattice vector; the lattice is the same, and so is the strain.
    assert strain_from_cells(flipped, 'yz') == pytest.approx([0, 0])
    flipped[1, 2, 1] += 0.45 * CELL[1, 1]
    with pytest.raises(ValueError, match='flip no'):
        strain_from_cells(flipped, 'yz')


def test_modulus_from_thermal_noise():
    rng = np.random.default_rng(6)
    modulus, volume, temperature = 8.0, 1.6e5, 300.0
    deviation = np.sqrt(8.617333262e-5 * temperature / (volume * modulus / 160.2176621))
    pulls = []
    for _ in range(200):
        strain = lfilter([np.sqrt(1 - 0.9**2)], [1, -0.9], rng.normal(size=2500))[500:] * deviation + 0.3
        found = fluctuation_modulus(strain, volume, temperature)
        pulls.append((found.value - modulus) / found.error)
    assert 0.58 < np.mean(np.abs(pulls) < 1) < 0.95
    assert abs(np.mean(pulls)) < 0.3
    assert found.strain_noise == pytest.approx(deviation, abs=4 * found.strain_noise_error)
    with pytest.raises(ValueError, match='free to shear'):
        fluctuation_modulus(np.zeros(20), volume, temperature)
    with pytest.raises(ValueError, match='must be positive'):
        fluctuation_modulus(strain, volume, 0.0)
    assert 'independent samples only' in fluctuation_modulus(strain[:12], volume, temperature).warnings[0]


@pytest.mark.parametrize('sign', [1, -1])
def test_poissons_ratio_of_a_pulled_cell(sign):
    rng = np.random.default_rng(7)
    along = sign * np.linspace(0, 0.05, 1000)
    pulls = []
    for _ in range(60):
        cells = np.zeros((1000, 3, 3))
        noise = 1e-3 * rng.normal(size=(2, 1000))
        cells[:, 0, 0] = 20 * (1 + along)
        cells[:, 1, 1] = 21 * (1 - 0.30 * along + noise[0])
        cells[:, 2, 2] = 22 * (1 - 0.36 * along + noise[1])
        found = poisson_ratio(cells / np.array([1, cells[0, 1, 1] / 21, cells[0, 2, 2] / 22])[:, None], 'xx')
        pulls.append((found.sides[0] - 0.30, found.sides[1] - 0.36))
    assert np.mean(pulls, axis=0) == pytest.approx([0, 0], abs=0.01)
    assert found.value == pytest.approx(0.33, abs=3 * found.error)
    # The sides differ: so much is the ratio not one number.
    assert 0.02 < found.error < 0.06
    assert np.abs(found.window) == pytest.approx(np.sort(np.abs([0, sign * 0.02]))[::sign], abs=1e-4)
    with pytest.raises(ValueError, match='not yz'):
        poisson_ratio(cells, 'yz')
    with pytest.raises(ValueError, match='four are needed'):
        poisson_ratio(cells, 'xx', (0.2, 0.3))


def pulse_series(residuals, noise, rng, loaded=0.02, drift=0.0, samples=400):
    """Reference, then cycles of load (strain up) and release to a given residual strain, with correlated noise."""
    stages = [PulseStage('equilibrate', 'reference', 0, 0, samples, 0.0)]
    strain = [np.full(samples, 0.13)]
    for cycle, residual in enumerate(residuals, start=1):
        start = stages[-1].stop
        stages.append(PulseStage(f'on_{cycle}', 'on', cycle, start, start + samples, 0.05))
        stages.append(PulseStage(f'off_{cycle}', 'off', cycle, start + samples, start + 2 * samples, 0.0))
        strain += [
            np.full(samples, 0.13 + loaded),
            np.full(samples, 0.13 + residual) + drift * np.linspace(0, 1, samples),
        ]
    strain = np.concatenate(strain)
    correlated = lfilter([np.sqrt(1 - 0.9**2)], [1, -0.9], rng.normal(size=strain.size + 500))[500:]
    times = np.arange(strain.size) * 0.5
    energy = -4.0 + 1e-3 * (strain - 0.13) / 0.01
    stress = np.concatenate([np.full(s.stop - s.start, s.applied_stress) for s in stages])
    return times, strain + noise * correlated, stress, energy, stages


def test_residual_strain_is_found_with_honest_errors():
    rng = np.random.default_rng(0)
    pulls = []
    for _ in range(100):
        result = analyse_stress_pulse(*pulse_series([0.004, 0.007], 0.002, rng))
        pulls += [(found.value - true) / found.error
                  for found, true in zip(result.residual_strains, (0.004, 0.007), strict=True)]  # fmt: skip
        assert result.thermal_strain_noise == pytest.approx(0.002, rel=0.5)
    assert 0.55 < np.mean(np.abs(pulls) < 1) < 0.8
    assert result.energy_changes[1].value == pytest.approx(0.7)  # meV/atom: 1 meV for each per cent of strain
    assert result.loaded_strains[0].value == pytest.approx(0.02, abs=0.002)
    assert result.residual_strains[0].window_ps == (500.0, 599.5)
    assert result.applied_stress[450] == 0.05
    assert result.mean_strain[600] == pytest.approx(0.02, abs=0.003)
    assert np.std(result.mean_strain[210:390]) < np.std(result.strain[210:390])


def test_pulses_below_the_noise_are_reported():
    rng = np.random.default_rng(1)
    result = analyse_stress_pulse(*pulse_series([0.0], 0.05, rng))
    text = ' '.join(result.loaded_strains[0].warnings + result.residual_strains[0].warnings)
    assert 'below the thermal noise' in text
    assert 'not distinguished from zero' in text
    creeping = analyse_stress_pulse(*pulse_series([0.0], 0.0005, rng, drift=0.05))
    assert any('still changes' in warning for warning in creeping.residual_strains[0].warnings)
    assert not any('still changes' in warning for warning in result.loaded_strains[0].warnings)


def test_pulse_input_is_checked():
    rng = np.random.default_rng(2)
    times, strain, stress, energy, stages = pulse_series([0.0], 0.01, rng)
    with pytest.raises(ValueError, match='zero stress before'):
        analyse_stress_pulse(times, strain, stress, energy, stages[1:])
    short = [stages[0], PulseStage('on_1', 'on', 1, 400, 402, 0.05)]
    with pytest.raises(ValueError, match='2 samples'):
        analyse_stress_pulse(times, strain, stress, energy, short)


def elastic_plastic(strain, modulus=10.0, yield_stress=0.5, hardening=0.2):
    elastic = modulus * strain
    return np.where(elastic < yield_stress, elastic, yield_stress + hardening * (strain - yield_stress / modulus))


def test_modulus_and_yield_of_elastic_plastic_material():
    strain = np.linspace(0, 0.12, 2401)
    result = analyse_stress_strain(strain, elastic_plastic(strain), half_width=0.0005)
    assert result.modulus == pytest.approx(10)
    assert result.modulus_error == pytest.approx(0, abs=1e-9)
    assert result.window == pytest.approx((0, 0.02))
    # Offset line meets the plastic branch at 10 (g - 0.002) = 0.5 + 0.2 (g - 0.05).
    crossing = (0.5 - 0.01 + 0.02) / 9.8
    assert result.offset_strain == pytest.approx(crossing, abs=2e-4)
    assert result.offset_stress == pytest.approx(0.5 + 0.2 * (crossing - 0.05), abs=2e-3)
    assert any('end of the run' in warning for warning in result.warnings)


def test_a_strain_that_goes_back_now_and_then_gives_the_same_answer():
    """The height over which a small cell is tilted oscillates; modulus and yield stress are those of the material."""
    steady = np.linspace(0, 0.12, 2401)
    strain = steady * (1 + 0.01 * np.sin(np.arange(steady.size) / 3))
    assert np.diff(strain).min() < 0
    result = analyse_stress_strain(strain, elastic_plastic(strain), half_width=0.002)
    assert result.modulus == pytest.approx(10)
    assert result.offset_strain == pytest.approx((0.5 - 0.01 + 0.02) / 9.8, abs=1e-3)
    assert not any('goes back' in warning for warning in result.warnings)
    # The average of a straight line is the line, to a quarter of what the stress changes over the half-width.
    inner = (strain > 0.01) & (strain < 0.04)
    assert result.mean_stress[inner] == pytest.approx(10 * strain[inner], abs=5e-3)
    narrow = analyse_stress_strain(strain, elastic_plastic(strain), half_width=0.0005)
    assert any('goes back by up to 0.0019' in warning for warning in narrow.warnings)


def test_modulus_error_covers_the_truth_in_correlated_noise(monkeypatch):
    monkeypatch.setattr(stress_strain, 'N_REPETITIONS', 2)
    rng = np.random.default_rng(3)
    strain = np.linspace(0, 0.12, 2401)
    truth = elastic_plastic(strain, hardening=-1.0)
    pulls, maxima = [], []
    for _ in range(150):
        noise = 0.05 * lfilter([np.sqrt(1 - 0.8**2)], [1, -0.8], rng.normal(size=strain.size + 500))[500:]
        result = analyse_stress_strain(strain, truth + noise + 0.02, elastic_window=(0.0, 0.04))
        pulls.append((result.modulus - 10) / result.modulus_error)
        maxima.append(result.strain_at_maximum)
    assert 0.58 < np.mean(np.abs(pulls) < 1) < 0.78
    assert np.mean(maxima) == pytest.approx(0.05, abs=0.01)
    assert result.intercept == pytest.approx(0.02, abs=0.02)
    assert result.thermal_noise == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize(('hardening', 'size'), [(-1.0, 0.05), (0.2, 0.05), (0.0, 0.01)])
def test_yield_stresses_have_honest_errors(monkeypatch, hardening, size):
    monkeypatch.setattr(stress_strain, 'N_REPETITIONS', 30)
    rng = np.random.default_rng(5)
    strain = np.linspace(0, 0.12, 800)
    truth = elastic_plastic(strain, hardening=hardening)
    crossing = (0.5 - hardening * 0.05 + 0.02) / (10 - hardening)
    maxima, offsets, strains, raw, corrected = [], [], [], [], []
    for _ in range(40):
        noise = size * lfilter([np.sqrt(1 - 0.8**2)], [1, -0.8], rng.normal(size=strain.size + 500))[500:]
        result = analyse_stress_strain(strain, truth + noise, elastic_window=(0.0, 0.04))
        maxima.append((result.maximum_stress - truth.max()) / result.maximum_stress_error)
        corrected.append(result.maximum_stress - truth.max())
        raw.append(result.maximum_stress + result.maximum_stress_bias - truth.max())
        expected = 0.5 + hardening * (crossing - 0.05)
        offsets.append((result.offset_stress - expected) / result.offset_stress_error)
        strains.append((result.offset_strain - crossing) / result.offset_strain_error)
    # What noise adds to a maximum is known roughly: that error may be too wide, but not too narrow.
    for pulls, widest in ((maxima, 1.0), (offsets, 0.9), (strains, 0.9)):
        assert 0.5 < np.mean(np.abs(pulls) < 1) <= widest
        assert np.mean(np.abs(pulls) < 3) > 0.94
    # The largest of many noisy values is too large; most of that is taken off.
    assert np.mean(raw) > 1.5 * abs(np.mean(corrected))


def test_curves_that_say_nothing_are_called_so():
    rng = np.random.default_rng(4)
    strain = np.linspace(0, 0.05, 300)
    noisy = analyse_stress_strain(strain, 0.1 * strain + rng.normal(scale=1, size=300))
    assert any('hardly determined' in warning for warning in noisy.warnings)
    linear = analyse_stress_strain(strain, 3 * strain)
    assert linear.offset_stress is None
    assert any('no 0.2 % offset yield' in warning for warning in linear.warnings)
    with pytest.raises(ValueError, match='four are needed'):
        analyse_stress_strain(strain, 3 * strain, elastic_window=(0.06, 0.07))
