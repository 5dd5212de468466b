"""Relaxation against ASE's own, and against what pressure and constant volume mean."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read


@pytest.fixture
def strained():
    """Copper with two gold atoms, compressed and sheared."""
    atoms = bulk('Cu', 'fcc', a=3.6, cubic=True) * (2, 1, 1)
    atoms.numbers[6:] = 79
    atoms.rattle(0.02, seed=2)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.01, 0], [0, 1, 0.01], [0, 0, 1.02]]), scale_atoms=True)
    return atoms


def relaxed(case):
    atoms = read(case.folder / 'CONTCAR')
    atoms.calc = EMT()
    return atoms


@pytest.mark.parametrize(('ibrion', 'isif'), [(1, 2), (2, 2), (1, 3), (2, 3), (1, 4)])
def test_against_ase(make_case, strained, ibrion, isif):
    from ase.filters import FrechetCellFilter
    from ase.optimize import LBFGS

    case = make_case()
    case.write(strained, {'IBRION': ibrion, 'ISIF': isif, 'NSW': 400, 'EDIFFG': -0.004})
    assert case.run() == 0, case.output
    assert 'reached required accuracy' in case.output
    ours, reference = relaxed(case), strained.copy()
    reference.calc = EMT()
    target = reference if isif == 2 else FrechetCellFilter(reference, constant_volume=isif == 4)
    LBFGS(target, logfile=None).run(fmax=0.004)
    assert ours.get_potential_energy() == pytest.approx(reference.get_potential_energy(), abs=5e-4)
    assert np.linalg.norm(ours.get_forces(), axis=1).max() < 0.004 + 1e-9
    if isif == 2:
        assert np.allclose(ours.cell, strained.cell, atol=1e-12)
    elif isif == 4:
        assert ours.get_volume() == pytest.approx(strained.get_volume(), rel=1e-9)
        stress = ours.get_stress()
        assert np.abs(stress[3:]).max() < 1e-3
        assert np.ptp(stress[:3]) < 3e-3
    else:
        assert np.abs(ours.get_stress()).max() < 2e-3
        assert ours.get_volume() == pytest.approx(reference.get_volume(), rel=3e-3)


def test_pressure(make_case):
    """At PSTRESS the slope of the energy by volume is minus that pressure."""
    case = make_case()
    case.write(
        bulk('Cu', 'fcc', a=3.6, cubic=True), {'IBRION': 1, 'ISIF': 3, 'NSW': 200, 'EDIFFG': -1e-4, 'PSTRESS': 100}
    )
    assert case.run() == 0, case.output
    atoms = relaxed(case)
    volume, energies = atoms.get_volume(), []
    for factor in (0.995, 1.005):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell * factor ** (1 / 3), scale_atoms=True)
        scaled.calc = EMT()
        energies.append(scaled.get_potential_energy())
    pressure = -(energies[1] - energies[0]) / (0.01 * volume)
    assert pressure / (0.1 * units.GPa) == pytest.approx(100.0, rel=0.01)


def test_energy_criterion(make_case, strained):
    steps = {}
    for ediffg in (1e-2, 1e-5):
        case = make_case(str(ediffg))
        case.write(strained, {'IBRION': 2, 'ISIF': 2, 'NSW': 400, 'EDIFFG': ediffg})
        assert case.run() == 0
        energies = [float(line.split()[2]) for line in (case.folder / 'OSZICAR').read_text().splitlines()]
        assert abs(energies[-1] - energies[-2]) < ediffg
        assert all(abs(b - a) >= ediffg for a, b in itertools.pairwise(energies[:-1]))
        steps[ediffg] = len(energies)
    assert steps[1e-2] < steps[1e-5] < 400


def test_relaxation_that_runs_out_of_steps_has_nsw_frames(make_case, strained):
    case = make_case()
    case.write(strained, {'IBRION': 1, 'ISIF': 3, 'NSW': 3, 'EDIFFG': -1e-6})
    assert case.run() == 0
    assert len((case.folder / 'OSZICAR').read_text().splitlines()) == 3
    assert 'reached required accuracy' not in case.output
