"""Density against other densities, and the energy of a glass above the crystals it could be made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import atomic_masses
from ase.formula import Formula
from ase.units import kB
from scipy.optimize import linprog

#: Atomic mass unit over Å³, in g/cm³.
AMU_PER_A3_IN_G_CM3 = 1.66053906660


class ReferenceEnergyError(ValueError):
    """Reference energies that do not do; the message says which are missing or wrong."""


@dataclass(frozen=True)
class Reference:
    """A crystal with its energy by the same potential as the glass.

    Attributes
    ----------
    name : str
        Id of the crystal.
    fractions : dict of str to float
        Share of each element among the atoms.
    energy_per_atom : float
        eV.
    """

    name: str
    fractions: dict[str, float]
    energy_per_atom: float


@dataclass(frozen=True)
class CrystalMixture:
    """Crystals that together have the composition of a glass.

    Attributes
    ----------
    shares : dict of str to float
        Share of the atoms in each crystal.
    energy_per_atom : float
        Their energy over the number of atoms, eV.
    """

    shares: dict[str, float]
    energy_per_atom: float

    def __str__(self) -> str:
        return ' + '.join(f'{share:.4f} {name}' for name, share in self.shares.items())


def density_g_cm3(numbers: npt.ArrayLike, cell: npt.ArrayLike) -> float:
    """Return the density of a periodic cell, g/cm³.

    Parameters
    ----------
    numbers : array_like of int, shape (n_atoms,)
        Atomic numbers.
    cell : array_like, shape (3, 3)
        Rows are the lattice vectors, Å.
    """
    mass = float(atomic_masses[np.asarray(numbers, dtype=int)].sum())
    return mass / abs(float(np.linalg.det(np.asarray(cell, dtype=float)))) * AMU_PER_A3_IN_G_CM3


def parse_references(references: Mapping[str, Mapping[str, Any]]) -> dict[str, Reference]:
    """Read reference energies.

    Parameters
    ----------
    references : mapping
        Id of the crystal to ``energy_eV``, ``n_atoms`` (atoms the energy is of: one formula unit or a whole cell) and
        ``formula``.

    Raises
    ------
    ReferenceEnergyError
        With the crystal and what is wrong with it.
    """
    found = {}
    for name, entry in references.items():
        try:
            energy, n_atoms, formula = float(entry['energy_eV']), int(entry['n_atoms']), str(entry['formula'])
            counts = Formula(formula).count()
        except (KeyError, TypeError, ValueError) as error:
            raise ReferenceEnergyError(
                f'the reference {name} needs energy_eV, n_atoms and a formula: {error}'
            ) from error
        size = sum(counts.values())
        if not math.isfinite(energy):
            raise ReferenceEnergyError(f'the energy of the reference {name} is not finite')
        if n_atoms < 1 or n_atoms % size:
            raise ReferenceEnergyError(
                f'the energy of the reference {name} is of {n_atoms} atoms, {formula} has {size}: no multiple'
            )
        fractions = {element: number / size for element, number in counts.items()}
        found[name] = Reference(name, fractions, energy / n_atoms)
    return found


def missing_references(needed: Sequence[str], references: Mapping[str, Any]) -> list[str]:
    """Return the crystals without an energy, in the order given."""
    return [name for name in needed if name not in references]


def lowest_mixture(counts: Mapping[str, float], references: Mapping[str, Reference]) -> CrystalMixture:
    r"""Return the mixture of crystals of lowest energy that has a composition.

    .. math:: \min_{x \ge 0} \sum_i x_i E_i \quad \text{with} \quad \sum_i x_i c_{ie} = c_e \text{ for all elements } e

    with :math:`E_i` the energy per atom of crystal i, :math:`c_{ie}` its shares of the elements and :math:`x_i` the
    share of the atoms in it: the lower convex hull of the references at the composition, as in a phase diagram (Ong et
    al., Chem. Mater. 20, 1798 (2008)), but without the elements, whose energies a potential of salts does not have.

    Parameters
    ----------
    counts : mapping of str to float
        Atoms of each element.
    references : mapping of str to Reference
        What there is to choose from; crystals of other elements are left out.

    Raises
    ------
    ReferenceEnergyError
        If no mixture of the references has the composition.
    """
    wanted = {element: float(number) for element, number in counts.items() if number}
    total = sum(wanted.values())
    usable = [reference for reference in references.values() if set(reference.fractions) <= set(wanted)]
    elements = sorted(wanted)
    text = ''.join(f'{element}{wanted[element]:g}' for element in elements)
    if not usable:
        raise ReferenceEnergyError(f'there is no reference energy of a crystal of {", ".join(elements)} alone')
    balance = np.array([[reference.fractions.get(element, 0.0) for reference in usable] for element in elements])
    energies = np.array([reference.energy_per_atom for reference in usable])
    # Energies are large against their differences: about their mean, the tolerance of the solver is far below 1 µeV.
    answer = linprog(
        energies - energies.mean(), A_eq=balance, b_eq=[wanted[element] / total for element in elements], method='highs'
    )
    if not answer.success:
        raise ReferenceEnergyError(
            f'no mixture of {", ".join(reference.name for reference in usable)} has the composition {text}: give '
            'the energies of more crystals'
        )
    shares = {
        reference.name: float(x) for reference, x in zip(usable, answer.x, strict=True) if x > 1e-9
    }  # fmt: skip
    return CrystalMixture(shares, float(answer.x @ energies))


def salt_mixture(
    counts: Mapping[str, float], salts: Sequence[str], references: Mapping[str, Reference]
) -> CrystalMixture:
    """Return the mixture of the salts a glass was made of, unreacted.

    Raises
    ------
    ReferenceEnergyError
        If the energy of a salt is missing (all that are, are named), or the salts do not have the composition.
    """
    if missing := missing_references(salts, references):
        raise ReferenceEnergyError(
            f'there is no reference energy of {", ".join(missing)}: relax {"it" if len(missing) == 1 else "them"} with '
            'the potential of the glass'
        )
    return lowest_mixture(counts, {name: references[name] for name in salts})


def element_counts(symbols: Sequence[str]) -> dict[str, int]:
    """Return the number of atoms of each element, in the order of their first appearance."""
    return dict(Counter(symbols))


def thermal_energy(temperature_K: float) -> float:
    """Return 3/2 kT in eV: the mean potential energy of a classical harmonic atom above its minimum."""
    return 1.5 * kB * temperature_K
