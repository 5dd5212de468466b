"""Glasses of one kind of oxychloride molecule: so many molecules are packed, and the cell is repeated for more."""

from __future__ import annotations

from collections.abc import Sequence

from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.structures.molecular_glass import (
    CATION_CATION,
    DENSITY_RANGE,
    MOST_MOLECULES,
    PAPER_DENSITY,
    MolecularGlass,
    OligomerError,
    gather_molecules,
    glass_facts,
    molecular_table,
    repeat_molecules,
)
from aiida_softclay.structures.molecules import ChainFormula
from aiida_softclay.structures.oligomer_mixtures import oligomer_mixture

__all__ = [
    'CATION_CATION', 'DENSITY_RANGE', 'PAPER_DENSITY', 'MolecularGlass', 'OligomerError', 'gather_molecules',
    'molecular_table', 'oligomer_glass', 'repeat_molecules',
]  # fmt: skip


def oligomer_glass(
    anion: str = 'Al3O2Cl8',
    *,
    cation: str = 'Li',
    n_molecules: int = 8,
    density_g_cm3: float = PAPER_DENSITY,
    seed: int = 0,
    repeat: Sequence[int] = (1, 1, 1),
) -> MolecularGlass:
    """Return molecules of one kind and their cations packed into a cubic cell.

    The packing is that of :func:`~aiida_softclay.structures.oligomer_mixtures.oligomer_mixture`.

    Parameters
    ----------
    anion : str
        ``Al3O2Cl8`` (trimer), ``Al4O3Cl10`` (tetramer), ``Al3O2Cl7`` and ``Al3O2Cl6`` (one and two bridging Cl), …
    cation : str
        ``Li``, ``Na`` or ``K``; as many as neutralise the molecules.
    n_molecules : int
        Molecules that are packed, at most 130: larger glasses are repeated cells.
    density_g_cm3 : float
        In g/cm³.
    seed : int
    repeat : sequence of int
        Copies of the packed cell along its three vectors.

    Returns
    -------
    MolecularGlass

    Raises
    ------
    OligomerError, MoleculeError
        If the numbers make no sense or the molecules do not fit; the message says what to change.
    """
    chain = ChainFormula.parse(anion)
    if IONIC_RADII.get(cation, (0.0, 0))[1] != 1:
        raise OligomerError(f'the cation is Li, Na or K, not {cation!r}')
    if not 1 <= n_molecules <= MOST_MOLECULES:
        raise OligomerError(
            f'{n_molecules} molecules cannot be packed: give 1 to {MOST_MOLECULES}, and repeat the cell for more'
        )
    glass = oligomer_mixture(
        chain.formula, cations=cation, n_atoms=n_molecules * (chain.n_atoms - chain.charge),
        density_g_cm3=density_g_cm3, seed=seed,
    )  # fmt: skip
    atoms = repeat_molecules(glass.atoms, repeat)
    molecule = {
        'anion': chain.formula,
        'anion_charge': chain.charge,
        'bridging_chlorine': chain.n_bridging,
        'cation': cation,
        'repeat': [int(value) for value in repeat],
    }
    copies = len(atoms) // len(glass.atoms)
    counts = {
        key: {name: number * copies for name, number in glass.report[key].items()} for key in ('molecules', 'cations')
    }
    return MolecularGlass(atoms, {**glass.report, **molecule, **counts, **glass_facts(atoms)})
