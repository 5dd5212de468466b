"""Strain, stress pulses and stress–strain curves against synthetic material of known properties."""

import numpy as np
import pytest
from scipy.signal import lfilter

from aiida_softclay.analysis.mechanics import PulseStage, analyse_stress_pulse, strain_from_cells
from aiida_softclay.analysis.stress_strain import analyse_stress_strain

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
    with pytest.raises(ValueError, match='flip no'):
        strain_from_cells(flipped, 'yz')


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


def test_modulus_error_covers_the_truth_in_correlated_noise():
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
    assert result.maximum_stress == pytest.approx(0.52, abs=5 * result.maximum_stress_error + 0.02)
    assert result.intercept == pytest.approx(0.02, abs=0.02)


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
