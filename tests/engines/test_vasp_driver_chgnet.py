"""CHGNet behind the driver: the published model to single precision, conserved energy, and the real program."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from ase.build import bulk, sort

pytestmark = pytest.mark.engine
chgnet = pytest.importorskip('chgnet')


@pytest.fixture(scope='module')
def fast():
    from aiida_softclay.engines.vasp.chgnet_fast import FastCHGNet

    return FastCHGNet()


def salt(repeat, strain=0.0):
    atoms = bulk('LiCl', 'rocksalt', a=5.13, cubic=True) * repeat
    atoms.numbers[1::4], atoms.numbers[2::8] = 9, 31
    atoms.rattle(0.2, seed=5)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * np.array([[0, 1, 0.4], [0, 0, 0.6], [0, 0, 0.2]])), True)
    return atoms


@pytest.mark.parametrize(('repeat', 'strain'), [((1, 1, 1), 0.0), ((2, 1, 1), 0.06)])
@pytest.mark.filterwarnings('ignore')
def test_same_numbers_as_the_published_evaluation(fast, repeat, strain):
    from chgnet.model.dynamics import CHGNetCalculator

    atoms = salt(repeat, strain)
    with contextlib.redirect_stdout(io.StringIO()):
        published = CHGNetCalculator(use_device='cpu')
    reference = atoms.copy()
    reference.calc = published
    # Positions outside of the cell are the same atoms.
    atoms.positions += 2 * atoms.cell[0] - 3 * atoms.cell[2]
    atoms.calc = fast
    assert atoms.get_potential_energy() == pytest.approx(reference.get_potential_energy(), abs=2e-5 * len(atoms))
    assert np.abs(atoms.get_forces() - reference.get_forces()).max() < 5e-4
    assert np.abs(atoms.get_stress() - reference.get_stress()).max() < 1e-5


def test_atoms_without_near_neighbours(fast):
    """No bond below 3 Å: no angles, and no failure."""
    atoms = bulk('Ar', 'fcc', a=6.6, cubic=True)
    atoms.calc = fast
    assert np.isfinite(atoms.get_potential_energy())
    assert np.abs(atoms.get_forces()).max() < 1e-3


def test_constant_energy(fast):
    """The drift of the total energy over 40 fs stays below a thousandth of the kinetic energy for each atom."""
    from aiida_softclay.engines.vasp import dynamics as md
    from aiida_softclay.engines.vasp.calculators import Evaluator
    from aiida_softclay.engines.vasp.incar import Settings

    atoms = bulk('LiCl', 'rocksalt', a=5.13, cubic=True)
    masses = atoms.get_masses()
    settings = Settings(mode='md', timestep_fs=1.0)
    velocities = md.maxwell_boltzmann(masses, 600.0, np.random.default_rng(0), 21)
    run = md.Dynamics(settings, atoms.positions, atoms.cell.array, velocities, masses, Evaluator(atoms, [fast]))
    start, totals = run.kinetic_energy, []
    for _ in range(40):
        run.step(0.0)
        totals.append(run.evaluation.energy + run.kinetic_energy)
    assert np.ptp(totals) < 0.01 * start


def test_the_program_with_its_default_model(make_case, vasp_program):
    from ase.io import read

    case = make_case()
    atoms = sort(bulk('LiCl', 'rocksalt', a=5.13, cubic=True))
    case.write(atoms, {'IBRION': 0, 'NSW': 3, 'POTIM': 1, 'TEBEG': 300, 'IVDW': 10})
    process = case.start(vasp_program, SOFTCLAY_CALCULATOR='')
    assert process.wait(120) == 0, (case.folder / 'vasp_output').read_text()
    for name in ('vasprun.xml', 'OUTCAR', 'vasp_output'):
        assert 'CHGNet 0.3.0' in (case.folder / name).read_text()
    assert len(read(case.folder / 'OUTCAR', index=':')) == 3


def test_element_unknown_to_the_model(make_case):
    case = make_case()
    case.write(bulk('Li', 'bcc', a=3.4), {'NSW': 0})
    (case.folder / 'POTCAR').write_text('   TITEL  = PLACEHOLDER Md\n')
    (case.folder / 'POSCAR').write_text((case.folder / 'POSCAR').read_text().replace('Li', 'Md'))
    assert case.run(SOFTCLAY_CALCULATOR='') == 3
    assert 'Traceback' not in case.output
