"""Bulk moduli against the analytic curve, two independent programs, and what cannot be fitted."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.analysis.equation_of_state import GPA, birch_murnaghan, fit_birch_murnaghan, missing_side


@settings(max_examples=40, deadline=None)
@given(
    energy=st.floats(-500, -1), volume=st.floats(20, 2000), modulus=st.floats(5, 200), derivative=st.floats(2, 8),
    shift=st.floats(-0.03, 0.03),
)  # fmt: skip
def test_parameters_of_an_analytic_curve_come_back(energy, volume, modulus, derivative, shift):
    volumes = volume * (1 + shift + np.linspace(-0.08, 0.08, 9))
    found = fit_birch_murnaghan(
        volumes[::-1], birch_murnaghan(volumes, energy, volume, modulus / GPA, derivative)[::-1]
    )
    assert found.volume == pytest.approx(volume, rel=1e-5)
    assert found.bulk_modulus == pytest.approx(modulus, rel=1e-4)
    assert found.derivative == pytest.approx(derivative, rel=1e-2)
    assert found.energy == pytest.approx(energy, abs=1e-6)
    assert found.bulk_modulus_error < 1e-3 * modulus
    assert not found.warnings


def test_curve_has_the_derivatives_it_is_named_after():
    """B0 = V E'' and B0' = dB/dP at the minimum, by finite differences."""
    volume, modulus, derivative, step = 100.0, 0.3, 4.7, 0.02

    def energy(v):
        return float(birch_murnaghan(np.array([v]), 0.0, volume, modulus, derivative)[0])

    def pressure(v):
        return -(energy(v + step) - energy(v - step)) / (2 * step)

    def bulk_modulus(v):
        return -v * (pressure(v + step) - pressure(v - step)) / (2 * step)

    assert bulk_modulus(volume) == pytest.approx(modulus, rel=1e-5)
    slope = (bulk_modulus(volume + 1) - bulk_modulus(volume - 1)) / (pressure(volume + 1) - pressure(volume - 1))
    assert slope == pytest.approx(derivative, rel=1e-3)


def copper_energies(n_points=9):
    volumes, energies = [], []
    for scale in np.linspace(0.95, 1.05, n_points):
        atoms = bulk('Cu', 'fcc', a=3.6)
        atoms.set_cell(atoms.cell * scale ** (1 / 3), scale_atoms=True)
        atoms.calc = EMT()
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    return np.array(volumes), np.array(energies)


def test_copper_agrees_with_pymatgen_and_ase():
    from ase.eos import EquationOfState
    from pymatgen.analysis.eos import BirchMurnaghan

    volumes, energies = copper_energies()
    found = fit_birch_murnaghan(volumes, energies)
    peer = BirchMurnaghan(volumes, energies)
    peer.fit()
    assert found.volume == pytest.approx(peer.v0, rel=1e-6)
    assert found.bulk_modulus == pytest.approx(float(peer.b0_GPa), rel=1e-5)
    assert found.derivative == pytest.approx(peer.b1, rel=1e-4)
    volume, _, modulus = EquationOfState(volumes, energies, eos='birchmurnaghan').fit()
    assert found.volume == pytest.approx(volume, rel=1e-5)
    assert found.bulk_modulus == pytest.approx(modulus * GPA, rel=1e-3)


def test_errors_cover_the_truth():
    """With noise of known size, the true modulus is within two errors in about 95 of 100 cases."""
    volumes = np.linspace(90, 110, 11)
    truth = birch_murnaghan(volumes, -10.0, 100.0, 20 / GPA, 4.5)
    hits = 0
    for seed in range(200):
        noise = np.random.default_rng(seed).normal(0, 2e-3, volumes.size)
        found = fit_birch_murnaghan(volumes, truth + noise)
        # With seven degrees of freedom, 2.36 errors hold 95 %.
        hits += abs(found.bulk_modulus - 20) < 2.36 * found.bulk_modulus_error
    assert 180 <= hits <= 198


def test_what_is_not_an_equation_of_state_is_refused():
    volumes = np.linspace(90, 110, 9)
    energies = birch_murnaghan(volumes, -10.0, 100.0, 0.1, 4.0)
    with pytest.raises(ValueError, match='no minimum between 90'):
        fit_birch_murnaghan(volumes, birch_murnaghan(volumes, -10.0, 130.0, 0.1, 4.0))
    with pytest.raises(ValueError, match='6 different volumes'):
        fit_birch_murnaghan(volumes[:5], energies[:5])
    with pytest.raises(ValueError, match='finite'):
        fit_birch_murnaghan(volumes, np.where(volumes > 105, np.nan, energies))
    with pytest.raises(ValueError, match='no minimum'):
        fit_birch_murnaghan(volumes, -energies)


def test_missing_side_says_where_to_go_on():
    volumes = np.linspace(90, 110, 9)

    def side(equilibrium):
        return missing_side(volumes[::-1], birch_murnaghan(volumes, 0.0, equilibrium, 0.1, 4.0)[::-1])

    assert side(100.0) == 0
    assert side(85.0) == -1
    assert side(91.0) == -1
    assert side(120.0) == 1


def test_a_minimum_at_the_edge_is_told():
    volumes = np.linspace(90, 110, 9)
    found = fit_birch_murnaghan(volumes, birch_murnaghan(volumes, 0.0, 91.5, 0.1, 4.0))
    assert any('one side' in text for text in found.warnings)
