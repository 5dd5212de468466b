"""Oxychloride chain molecules from bond lengths and angles: [M_n O_(n-1) Cl_(2n+2-b)] with b bridging chlorines."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.formula import Formula

from aiida_softclay.structures.ions import IONIC_RADII

TETRAHEDRAL = float(np.degrees(np.arccos(-1 / 3)))
#: Smallest distance of atoms three or more bonds apart, Å: closer, a metal would have a fifth neighbour, and anions of
#: different tetrahedra are 3 Å apart in the crystals.
CLEARANCE = 2.9
ATTEMPTS = 400


class MoleculeError(ValueError):
    """A molecule that cannot be made; the message says what can."""


@dataclass(frozen=True)
class ChainGeometry:
    """Bond lengths (Å) and angles (°) of a chain of tetrahedra.

    The defaults are those of chloroaluminates: the idealised trimer of ``crystals.yaml``, and for a link with a
    bridging Cl the four-membered ring of Al2Cl6 with one Cl replaced by O, with the metals 2.8 Å apart (you2025: 2.7 to
    3.0 Å in the pair distribution function of the bridged compounds).
    """

    metal_oxygen: float = 1.70
    metal_chlorine: float = 2.15
    metal_chlorine_middle: float = 2.17
    metal_oxygen_metal: float = 130.0
    oxygen_metal_oxygen: float = 110.0
    ring_metal_oxygen: float = 1.75
    ring_metal_chlorine: float = 2.30
    ring_metal_metal: float = 2.80


#: Geometries by metal; gallium's bonds are longer by the difference of its radius (LiGaCl4 2.17, Ga2Cl6 2.30 bridging).
GEOMETRIES = {
    'Al': ChainGeometry(),
    'Ga': ChainGeometry(1.78, 2.17, 2.19, 128.0, 110.0, 1.84, 2.33, 2.95),
}


@dataclass(frozen=True)
class ChainFormula:
    """What a chain molecule is made of.

    Attributes
    ----------
    metal : str
        Trivalent metal.
    n_metals : int
        Length of the chain; 1 is the tetrahedron MCl4.
    n_bridging : int
        Links that hold a Cl beside their O; each saves one terminal Cl.
    """

    metal: str
    n_metals: int
    n_bridging: int

    @classmethod
    def parse(cls, text: str) -> ChainFormula:
        """Read a formula such as ``Al3O2Cl8`` or ``[Al3O2Cl7]2-``.

        Raises
        ------
        MoleculeError
            If it is no chain of corner-sharing tetrahedra.
        """
        bare = re.sub(r'^\[(.*)\](\d*[+-])?$', r'\1', str(text).strip())
        try:
            counts = Formula(bare).count()
        except (ValueError, KeyError):
            counts = {}
        metals = [element for element in counts if element not in {'O', 'Cl'}]
        wish = 'write for example Al3O2Cl8 (trimer), Al4O3Cl10 (tetramer), Al3O2Cl7 or Al3O2Cl6 (bridging Cl), AlCl4'
        if len(metals) != 1 or metals[0] not in GEOMETRIES:
            raise MoleculeError(f'{text!r} is no oxychloride of {" or ".join(GEOMETRIES)}: {wish}')
        n = int(counts[metals[0]])
        bridging = 2 * n + 2 - int(counts.get('Cl', 0))
        if int(counts.get('O', 0)) != n - 1 or not 0 <= bridging <= n - 1:
            raise MoleculeError(
                f'{text!r} is no chain: {n} {metals[0]} take {n - 1} O and {n + 3} to {2 * n + 2} Cl; {wish}'
            )
        return cls(metals[0], n, bridging)

    @property
    def counts(self) -> dict[str, int]:
        """Atoms of each element."""
        chlorine = 2 * self.n_metals + 2 - self.n_bridging
        counts = {self.metal: self.n_metals, 'O': self.n_metals - 1, 'Cl': chlorine}
        return {element: count for element, count in counts.items() if count}

    @property
    def n_atoms(self) -> int:
        """Atoms of the molecule."""
        return sum(self.counts.values())

    @property
    def charge(self) -> int:
        """Formal charge, in elementary charges."""
        return sum(IONIC_RADII[element][1] * count for element, count in self.counts.items())

    @property
    def formula(self) -> str:
        """Formula without charge, e.g. ``Al3O2Cl8``."""
        return ''.join(f'{element}{count if count > 1 else ""}' for element, count in self.counts.items())


@dataclass(frozen=True)
class Molecule:
    """A molecule as it was built.

    Attributes
    ----------
    atoms : ase.Atoms
        Not periodic, about its centre of mass, Å; metals in the order of the chain, then O, then Cl.
    bonds : ndarray, shape (m, 2), int
        Metal and anion of every bond.
    charge : int
        In elementary charges.
    """

    atoms: Atoms
    bonds: np.ndarray
    charge: int


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _next_point(
    first: np.ndarray, second: np.ndarray, third: np.ndarray, length: float, angle: float, torsion: float
) -> np.ndarray:
    """Return the point at a distance from the third, at an angle to the second and a torsion to the first (degrees)."""
    axis = _unit(third - second)
    normal = _unit(np.cross(second - first, axis))
    bend, turn = np.radians(angle), np.radians(torsion)
    local = np.array([-np.cos(bend), np.sin(bend) * np.cos(turn), np.sin(bend) * np.sin(turn)])
    return third + length * (local @ np.array([axis, np.cross(normal, axis), normal]))


def complete_tetrahedron(
    arms: list[np.ndarray], torsion: float = 180.0, reference: np.ndarray | None = None
) -> list[np.ndarray]:
    """Return the unit vectors that make one, two or three bonds of an atom a tetrahedron.

    Parameters
    ----------
    arms : list of ndarray, shape (3,)
        Directions of the bonds there are.
    torsion : float
        Of the first of three new bonds, about the single old one, against the reference; degrees.
    reference : ndarray, shape (3,), optional
        Bond at the other end of the single old one, away from it; any direction if not given.
    """
    if len(arms) == 1:
        beyond = np.eye(3)[int(np.argmin(np.abs(arms[0])))] if reference is None else reference
        across = _unit(beyond - (beyond @ arms[0]) * arms[0])
        third = np.cross(arms[0], across)
        azimuths = np.radians(torsion + 120.0 * np.arange(3))
        bend = np.radians(TETRAHEDRAL)
        return [
            np.cos(bend) * arms[0] + np.sin(bend) * (np.cos(angle) * across + np.sin(angle) * third)
            for angle in azimuths
        ]
    if len(arms) == 2:
        middle = -_unit(arms[0] + arms[1])
        normal = _unit(np.cross(arms[0], arms[1]))
        half = np.radians(TETRAHEDRAL / 2)
        return [np.cos(half) * middle + np.sin(half) * normal, np.cos(half) * middle - np.sin(half) * normal]
    return [-_unit(np.sum(arms, axis=0))]


def bridged_links(n_links: int, n_bridging: int) -> set[int]:
    """Return which links of a chain hold a bridging Cl: those at the ends first (you2025: Cl leaves the chain ends)."""
    order = sorted(range(n_links), key=lambda link: (min(link, n_links - 1 - link), link))
    return set(order[:n_bridging])


def chain_molecule(
    formula: str | ChainFormula,
    *,
    geometry: ChainGeometry | None = None,
    generator: np.random.Generator | None = None,
) -> Molecule:
    """Return a chain of oxygen-bridged tetrahedra.

    Parameters
    ----------
    formula : str or ChainFormula
        For example ``Al3O2Cl8``.
    geometry : ChainGeometry, optional
        Bond lengths and angles; those of the metal in :data:`GEOMETRIES` if not given.
    generator : numpy.random.Generator, optional
        Draws the torsions about the bonds, and draws again where atoms three or more bonds apart come too close;
        without it the chain is the planar zigzag.

    Returns
    -------
    Molecule

    Raises
    ------
    MoleculeError
        If the formula is no chain, or if no conformation without close contacts is found.
    """
    chain = formula if isinstance(formula, ChainFormula) else ChainFormula.parse(formula)
    shape = geometry or GEOMETRIES[chain.metal]
    for _ in range(ATTEMPTS if generator is not None else 1):
        molecule = _grown(chain, shape, generator)
        if generator is None or not _crowded(molecule):
            return molecule
    raise MoleculeError(f'no conformation of {chain.formula} keeps its atoms {CLEARANCE} Å apart')


def _grown(chain: ChainFormula, shape: ChainGeometry, generator: np.random.Generator | None) -> Molecule:
    """Return a chain with drawn torsions, grown metal by metal."""

    def turn(default: float) -> float:
        return default if generator is None else float(generator.uniform(0.0, 360.0))

    bridged = bridged_links(chain.n_metals - 1, chain.n_bridging)
    metals = [np.zeros(3)]
    oxygens: list[np.ndarray] = []
    chlorines: list[np.ndarray] = []
    bonds: list[tuple[str, int, int]] = []
    # Two points before the first metal give the first torsions something to turn about.
    trail = [np.array([-1.0, 1.0, 0.0]), np.array([-1.0, 0.0, 0.0])]
    incoming: list[np.ndarray] = []
    for link in range(chain.n_metals - 1):
        metal = metals[-1]
        if len(incoming) == 2:
            ways = complete_tetrahedron(incoming)
        else:
            angle = shape.oxygen_metal_oxygen
            ahead = _unit(_next_point(trail[-2], trail[-1], metal, 1.0, angle, turn(180.0)) - metal)
            back = _unit(trail[-1] - metal)
            ways = [ahead, complete_tetrahedron([back, ahead])[0]]
        if link in bridged:
            oxygen, chlorine, following = _ring(metal, ways[0], ways[1], shape)
            bonds += [('Cl', link, len(chlorines)), ('Cl', link + 1, len(chlorines))]
            chlorines.append(chlorine)
            incoming = [_unit(oxygen - following), _unit(chlorine - following)]
        else:
            oxygen = metal + shape.metal_oxygen * ways[0]
            following = _next_point(
                trail[-1], metal, oxygen, shape.metal_oxygen, shape.metal_oxygen_metal, turn(180.0)
            )  # fmt: skip
            incoming = [_unit(oxygen - following)]
        bonds += [('O', link, len(oxygens)), ('O', link + 1, len(oxygens))]
        oxygens.append(oxygen)
        trail += [metal, oxygen]
        metals.append(following)
    bridges = {'O': oxygens, 'Cl': list(chlorines)}
    links = list(bonds)
    for index, metal in enumerate(metals):
        ends = [(kind, other) for kind, centre, other in links if centre == index]
        arms = [_unit(bridges[kind][other] - metal) for kind, other in ends]
        reference = None
        if len(ends) == 1:
            beyond = next(centre for kind, centre, other in links if (kind, other) == ends[0] and centre != index)
            reference = metals[beyond] - bridges[ends[0][0]][ends[0][1]]
        outer = index in {0, chain.n_metals - 1}
        length = shape.metal_chlorine if outer else shape.metal_chlorine_middle
        for direction in _free_directions(arms, turn(180.0), reference):
            bonds.append(('Cl', index, len(chlorines)))
            chlorines.append(metal + length * direction)
    first = {'O': chain.n_metals, 'Cl': chain.n_metals + len(oxygens)}
    symbols = [chain.metal] * len(metals) + ['O'] * len(oxygens) + ['Cl'] * len(chlorines)
    atoms = Atoms(symbols, positions=np.array(metals + oxygens + chlorines))
    atoms.positions -= atoms.get_center_of_mass()
    pairs = np.array([(centre, first[kind] + other) for kind, centre, other in bonds], dtype=int)
    return Molecule(atoms, pairs, chain.charge)


def _free_directions(arms: list[np.ndarray], torsion: float, reference: np.ndarray | None) -> list[np.ndarray]:
    """Return where the terminal Cl of a metal with these bonds go."""
    if not arms:
        return [_unit(np.array(corner, dtype=float)) for corner in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
    return [] if len(arms) == 4 else complete_tetrahedron(arms, torsion, reference)


def _ring(
    metal: np.ndarray, towards_oxygen: np.ndarray, towards_chlorine: np.ndarray, shape: ChainGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return O, Cl and the next metal of a planar four-membered ring that opens between two directions."""
    half = 0.5 * shape.ring_metal_metal
    heights = [np.sqrt(length**2 - half**2) for length in (shape.ring_metal_oxygen, shape.ring_metal_chlorine)]
    angles = [np.arctan2(height, half) for height in heights]
    middle = _unit(towards_oxygen + towards_chlorine)
    side = _unit(towards_oxygen - towards_chlorine)
    # The O lies closer to the line between the metals than the Cl: the ring is turned so that both lean out equally.
    lean = 0.5 * (angles[1] - angles[0])
    axis = np.cos(lean) * middle + np.sin(lean) * side
    across = np.cos(lean) * side - np.sin(lean) * middle
    centre = metal + half * axis
    return centre + heights[0] * across, centre - heights[1] * across, metal + 2 * half * axis


def _crowded(molecule: Molecule) -> bool:
    """Return whether atoms three or more bonds apart are too close."""
    n_atoms = len(molecule.atoms)
    linked = np.eye(n_atoms, dtype=bool)
    linked[tuple(molecule.bonds.T)] = linked[tuple(molecule.bonds.T[::-1])] = True
    near = (linked.astype(int) @ linked.astype(int)) > 0
    return bool((~near & (molecule.atoms.get_all_distances() < CLEARANCE)).any())
