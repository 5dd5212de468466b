"""Relaxation of atoms, and of the cell if asked for, with ASE's optimisers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from aiida_softclay.engines.vasp.calculators import Evaluation, Evaluator
from aiida_softclay.engines.vasp.dynamics import KBAR
from aiida_softclay.engines.vasp.incar import Settings


class _Evaluated(Calculator):
    """What ASE's optimisers see: the sum of calculators behind an `Evaluator`."""

    implemented_properties = ('energy', 'free_energy', 'forces', 'stress')

    def __init__(self, evaluator: Evaluator):
        super().__init__()
        self.evaluator = evaluator
        self.evaluation: Evaluation | None = None

    def calculate(self, atoms=None, properties=('energy',), system_changes=all_changes):
        """Evaluate energy, forces and stress."""
        super().calculate(atoms, properties, system_changes)
        self.evaluation = self.evaluator(self.atoms.positions, self.atoms.cell.array)
        self.results = {
            'energy': self.evaluation.energy, 'free_energy': self.evaluation.energy, 'forces': self.evaluation.forces,
            'stress': self.evaluation.stress.ravel()[[0, 4, 8, 5, 2, 1]],
        }  # fmt: skip


def relax(
    settings: Settings, atoms: Atoms, evaluator: Evaluator
) -> Iterator[tuple[np.ndarray, np.ndarray, Evaluation, bool]]:
    """Yield each ionic step of a relaxation, the starting point included, and whether it has converged.

    IBRION = 1 is ASE's BFGS, IBRION = 2 its FIRE. With ISIF = 3 and 4 the cell moves by ``FrechetCellFilter``.
    EDIFFG < 0 asks for no force above its absolute value, where the cell's share (the virial against the wanted
    pressure, divided by the number of atoms) counts as forces do; EDIFFG > 0 for a change of energy (of enthalpy under
    pressure) below it.

    Parameters
    ----------
    settings : Settings
    atoms : ase.Atoms
        Starting point; not changed.
    evaluator : Evaluator

    Yields
    ------
    positions : ndarray, shape (n_atoms, 3), Å
    cell : ndarray, shape (3, 3), Å
    evaluation : Evaluation
    converged : bool
    """
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS, FIRE

    atoms = atoms.copy()
    calculator = _Evaluated(evaluator)
    atoms.calc = calculator
    pressure = settings.pressure_kbar * KBAR
    target = atoms
    if settings.moves_cell:
        target = FrechetCellFilter(atoms, scalar_pressure=pressure, constant_volume=settings.isif == 4)
    optimiser = (BFGS if settings.ibrion == 1 else FIRE)(target, logfile=None)
    previous = None
    # The optimiser's own criterion is switched off: it knows forces only.
    for _ in optimiser.irun(fmax=0.0, steps=settings.n_steps):
        # The filter transforms the forces on atoms by the strain so far: take those on atoms from the atoms.
        forces = np.vstack([atoms.get_forces(), np.asarray(target.get_forces())[len(atoms) :]])
        energy = atoms.get_potential_energy() + pressure * atoms.get_volume()
        if settings.ediffg < 0:
            converged = bool((np.linalg.norm(forces, axis=1) < -settings.ediffg).all())
        else:
            converged = previous is not None and abs(energy - previous) < settings.ediffg
        previous = energy
        yield atoms.positions.copy(), atoms.cell.array.copy(), calculator.evaluation, converged
