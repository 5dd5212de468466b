"""Oxychloride glasses that start from a crystal of chains: LiNbOCl4 with Nb replaced, cut into molecules (you2025)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiida_softclay.structures.crystals import crystal
from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.structures.molecular_glass import (
    ATTEMPTS,
    MOST_ATOMS,
    PAPER_DENSITY,
    GlassContents,
    MolecularGlass,
    OligomerError,
)
from aiida_softclay.structures.molecular_packing import MolecularPacking
from aiida_softclay.structures.molecules import ChainFormula, Molecule
from aiida_softclay.structures.neighbours import close_pairs, heights

#: Crystal whose chains are cut: NbO2Cl4 octahedra that share trans O, one Nb for each vector a (you2025, Methods).
PARENT = 'LiNbOCl4'
PARENT_METAL = 'Nb'
PARENT_CATION = 'Li'
#: Bonds of the metal in the parent are shorter than this, Å: Nb-O 2.01, Nb-Cl 2.29 to 2.52.
PARENT_BOND = 2.8
#: Cells of AIMD are at least this wide (you2025 and the other papers), Å.
WIDE_ENOUGH = 10.0


@dataclass(frozen=True)
class ChainSite:
    """A metal of the parent with its bonds, one for every chain of the cell.

    Attributes
    ----------
    position : ndarray, shape (3,), Å
        The next metal of the chain is at ``position + a``.
    oxygen : ndarray, shape (3,), Å
        From the metal to the O between it and the next metal.
    chlorines : ndarray, shape (4, 3), Å
        From the metal to its Cl, in the order in which they stand around the chain: neighbours in the list are cis.
    """

    position: np.ndarray
    oxygen: np.ndarray
    chlorines: np.ndarray


def parent_chains() -> list[ChainSite]:
    """Return the chains of :data:`PARENT`, which run along a.

    Raises
    ------
    OligomerError
        If the crystal data no longer hold four Cl and two O around every metal.
    """
    atoms = crystal(PARENT)
    symbols = np.array(atoms.get_chemical_symbols())
    first, second, vectors = close_pairs(atoms.positions, atoms.cell[:], PARENT_BOND)
    centres, others = np.concatenate([first, second]), np.concatenate([second, first])
    vectors = np.concatenate([vectors, -vectors])
    sites = []
    for metal in np.flatnonzero(symbols == PARENT_METAL):
        around = centres == metal
        oxygen = vectors[around & (symbols[others] == 'O')]
        chlorine = vectors[around & (symbols[others] == 'Cl')]
        if len(oxygen) != 2 or len(chlorine) != 4:
            raise OligomerError(f'{PARENT} does not consist of {PARENT_METAL}O2Cl4 chains: its data are wrong')
        order = np.argsort(np.arctan2(chlorine[:, 2], chlorine[:, 1]))
        sites.append(ChainSite(atoms.positions[metal], oxygen[np.argmax(oxygen[:, 0])], chlorine[order]))
    return sites


def framework_repeat(n_metals: int, n_molecules: int) -> tuple[int, int, int]:
    """Return how often the parent is repeated for molecules of so many metals, with the widest cell.

    Raises
    ------
    OligomerError
        If the molecules do not fill the chains of a whole number of cells; the message names the nearest numbers.
    """
    chains = len(parent_chains())
    if n_molecules < 1 or n_molecules % chains:
        lower = n_molecules // chains * chains
        numbers = ' or '.join(str(number) for number in (lower, lower + chains) if number > 0) or chains
        raise OligomerError(
            f'{n_molecules} molecules do not fill the {chains} chains of a cell of {PARENT}: ask for {numbers}'
        )
    cell = crystal(PARENT).cell[:]
    cells = n_molecules // chains
    splits = [
        (along * n_metals, cells // along // across, across)
        for along in range(1, cells + 1) if cells % along == 0
        for across in range(1, cells // along + 1) if cells // along % across == 0
    ]  # fmt: skip
    return max(splits, key=lambda split: float(heights(cell * np.array(split)[:, None]).min()))


def cut_molecule(
    site: ChainSite, chain: ChainFormula, model: Molecule, step: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return where the atoms of a molecule are in a chain of the parent.

    Ends keep three of their four Cl and other metals two that are cis; which ones is drawn. The metals of a link with a
    bridging Cl give up one Cl each for it, which is put halfway between the two.

    Parameters
    ----------
    site : ChainSite
        First metal of the molecule.
    chain : ChainFormula
    model : Molecule
        Tells which atoms are bonded.
    step : ndarray, shape (3,), Å
        From a metal to the next.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n_atoms, 3), Å
        In the order of the model.
    """
    n_metals = chain.n_metals
    places = np.empty((chain.n_atoms, 3))
    places[:n_metals] = site.position + np.arange(n_metals)[:, None] * step
    places[n_metals : 2 * n_metals - 1] = places[: n_metals - 1] + site.oxygen
    owners: dict[int, list[int]] = {}
    for metal, anion in model.bonds:
        if anion >= 2 * n_metals - 1:
            owners.setdefault(int(anion), []).append(int(metal))
    corners = [_corners(generator) for _ in range(n_metals)]
    # Bridges come first in the model: they take their corners before the terminal Cl do.
    for anion, metals in sorted(owners.items()):
        corner = corners[metals[0]][0]
        for metal in metals:
            corners[metal] = _others(corners[metal], corner)
        places[anion] = places[metals].mean(axis=0) + site.chlorines[corner]
    return places


def _corners(generator: np.random.Generator) -> list[int]:
    """Return the four corners around a chain from a drawn one on, either way round."""
    first, turn = int(generator.integers(4)), int(generator.choice([-1, 1]))
    return [(first + turn * index) % 4 for index in range(4)]


def _others(corners: list[int], taken: int) -> list[int]:
    """Return the corners without one, those cis to it first."""
    return sorted(set(corners) - {taken}, key=lambda corner: ((corner - taken) % 4 == 2, corners.index(corner)))


def framework_glass(
    anion: str = 'Al3O2Cl8',
    *,
    cation: str = 'Li',
    n_molecules: int = 8,
    density_g_cm3: float = PAPER_DENSITY,
    seed: int = 0,
) -> MolecularGlass:
    """Return molecules that were cut from the chains of LiNbOCl4, at a density.

    Nb is replaced, each chain is cut into molecules by taking out the O between them, surplus Cl and cations are taken
    out, and the cell is scaled alike in all directions (you2025, Methods). Then bonds and angles are brought to those
    of the molecules without overlaps, which stands in for the DFT relaxation: the molecules still lie along a.

    Parameters
    ----------
    anion : str
        ``Al3O2Cl8``, ``Al4O3Cl10``, ``Al3O2Cl7``, ``Al3O2Cl6``, …: at least two metals.
    cation : str
        ``Li``, ``Na`` or ``K``; as many as neutralise the molecules.
    n_molecules : int
        A multiple of 4, the chains in a cell of the parent; 8 trimers are the 128 atoms of you2025.
    density_g_cm3 : float
        In g/cm³.
    seed : int
        Draws where each chain is cut, which Cl stay, and which cations.

    Returns
    -------
    MolecularGlass
        The report has the parent, its repeats, the atoms taken out, how far atoms moved, and ``axis_along_chain``: the
        mean absolute cosine between a and the line from the first to the last metal of a molecule; random directions
        have 0.5.

    Raises
    ------
    OligomerError, MoleculeError
        If the numbers make no sense or the molecules do not fit; the message says what to change.
    """
    chain = ChainFormula.parse(anion)
    if chain.n_metals < 2:
        raise OligomerError(f'{chain.formula} is no chain to be cut from a framework: give at least two metals')
    if IONIC_RADII.get(cation, (0.0, 0))[1] != 1:
        raise OligomerError(f'the cation is Li, Na or K, not {cation!r}')
    size = n_molecules * (chain.n_atoms - chain.charge)
    if size > MOST_ATOMS:
        raise OligomerError(f'{size} atoms cannot be made: give at most {MOST_ATOMS}, and repeat the cell for more')
    repeat = framework_repeat(chain.n_metals, n_molecules)
    contents = GlassContents((chain,) * n_molecules, (cation,) * (-chain.charge * n_molecules))
    parent = crystal(PARENT)
    wide = parent.cell[:] * np.array(repeat)[:, None]
    scale = float((contents.volume(density_g_cm3) / abs(np.linalg.det(wide))) ** (1 / 3))
    cell = scale * wide
    generator = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        start = scale * cut_framework(contents, repeat, generator)
        packing, contact_scale = contents.pack(start, cell, generator=generator, expansion=1.0)
        if packing.fits:
            report = {
                'anion': chain.formula, 'cation': cation, 'contact_scale': contact_scale, 'length_scale': scale,
                **_about_framework(contents, repeat), **_about_motion(contents, start, packing, cell), 'seed': seed,
                'warnings': _warnings(cell),
            }  # fmt: skip
            return contents.glass(packing, cell, report)
    raise contents.misfit(packing, density_g_cm3)


def cut_framework(contents: GlassContents, repeat: tuple[int, int, int], generator: np.random.Generator) -> np.ndarray:
    """Return the places of molecules of one kind and cations in a supercell of the parent, before it is scaled.

    Parameters
    ----------
    contents : GlassContents
        Molecules of one kind that fill the chains.
    repeat : tuple of int
        As :func:`framework_repeat` gives it.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n_atoms, 3), Å
        Every molecule in one piece, so atoms may stick out of the cell.
    """
    parent, sites = crystal(PARENT), parent_chains()
    chain, model = contents.chains[0], contents.models[0]
    along, others = parent.cell[0], parent.cell[1:]
    shifts = [np.array([j, k]) @ others for j in range(repeat[1]) for k in range(repeat[2])]
    places = []
    for shift in shifts:
        for site in sites:
            cut = int(generator.integers(chain.n_metals))
            for first in range(cut, cut + repeat[0], chain.n_metals):
                here = ChainSite(site.position + shift + first * along, site.oxygen, site.chlorines)
                places.append(cut_molecule(here, chain, model, along, generator))
    ions = parent.positions[np.array(parent.get_chemical_symbols()) == PARENT_CATION]
    voids = np.concatenate([ions + shift + index * along for shift in shifts for index in range(repeat[0])])
    kept = np.sort(generator.permutation(len(voids))[: len(contents.cations)])
    return np.concatenate([*places, voids[kept]])


def _about_framework(contents: GlassContents, repeat: tuple[int, int, int]) -> dict[str, Any]:
    """Return what was replaced in the parent and how many atoms of it were taken out."""
    names: dict[str, str] = {PARENT_METAL: contents.chains[0].metal, PARENT_CATION: contents.cations[0]}
    before, after = Counter(crystal(PARENT).get_chemical_symbols()), Counter(contents.symbols)
    removed = {str(old): math.prod(repeat) * n - after[names.get(str(old), str(old))] for old, n in before.items()}
    return {
        'parent': PARENT,
        'parent_repeat': list(repeat),
        'replaced': {old: new for old, new in names.items() if old != new},
        'removed': {element: number for element, number in sorted(removed.items()) if element != PARENT_METAL},
    }


def _about_motion(
    contents: GlassContents, start: np.ndarray, packing: MolecularPacking, cell: np.ndarray
) -> dict[str, Any]:
    """Return how far atoms went from the scaled framework, and how well the molecules still lie along its chains."""
    moved = np.linalg.norm(packing.positions - start, axis=1)
    size, last = contents.chains[0].n_atoms, contents.chains[0].n_metals - 1
    molecules = packing.positions[: size * len(contents.chains)].reshape(-1, size, 3)
    axes = molecules[:, last] - molecules[:, 0]
    cosines = np.abs(axes @ cell[0]) / (np.linalg.norm(axes, axis=1) * np.linalg.norm(cell[0]))
    return {
        'mean_move_A': float(moved.mean()),
        'largest_move_A': float(moved.max()),
        'axis_along_chain': float(cosines.mean()),
    }


def _warnings(cell: np.ndarray) -> list[str]:
    """Return a sentence if the cell is narrow."""
    narrow = float(heights(cell).min())
    if narrow >= WIDE_ENOUGH:
        return []
    return [f'the cell is {narrow:.1f} Å wide, less than {WIDE_ENOUGH:g}: take more molecules']
