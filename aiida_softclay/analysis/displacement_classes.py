"""How far single ions have moved: the distribution, the fast and the slow ones, and what surrounds these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .atom_classes import AtomClasses, classes_by_maximum
from .coordination import Estimate, estimate_from_frames
from .neighbours import neighbours
from .trajectory import (
    Array,
    IntArray,
    Trajectory,
    frame,
    indices_of,
    iter_chunks,
    masses_of,
    n_frames_of,
    select_frames,
    species_of,
    times_ps_of,
)

#: Width of the bins of yang2024 (Fig. 5b), Å.
BIN_WIDTH = 0.05


def total_displacements(trajectory: Trajectory, first: int = 0, last: int = -1) -> Array:
    r"""Return how far every atom is from where it was, relative to the centre of mass of the whole system.

    .. math:: d_i = |r_i(t_\mathrm{last}) - r_i(t_\mathrm{first}) - R(t_\mathrm{last}) + R(t_\mathrm{first})|

    Parameters
    ----------
    trajectory : Trajectory
        Unwrapped frames.
    first, last : int
        The two frames; the ends of the run if not given.

    Returns
    -------
    ndarray, shape (n_atoms,)
        Å.

    Raises
    ------
    ValueError
        If the second frame does not come after the first, or positions of these frames or between them are not finite.
    """
    n_frames = n_frames_of(trajectory)
    start, stop = (index + n_frames if index < 0 else index for index in (first, last))
    if not 0 <= start < stop < n_frames:
        raise ValueError(f'frames {first} and {last} are not two frames in the order of time of a run of {n_frames}')
    # A run that exploded on the way has no displacements, however its last frame looks.
    for _ in iter_chunks(trajectory, start, stop + 1):
        pass
    moved = frame(trajectory, stop)[0] - frame(trajectory, start)[0]
    weights = masses_of(trajectory)
    return np.asarray(np.linalg.norm(moved - weights @ moved / weights.sum(), axis=1))


@dataclass(frozen=True)
class DisplacementDistribution:
    """Probability density of displacements.

    Attributes
    ----------
    centres, edges : ndarray, shape (n_bins,) and (n_bins + 1,)
        Å.
    density : ndarray, shape (n_bins,)
        Share of the ions in a bin over its width, Å⁻¹; its integral is 1.
    density_error : ndarray, shape (n_bins,)
        Standard error of so many independent ions, Å⁻¹; that of one ion where there is none.
    n_atoms : int
        Ions.
    """

    centres: Array
    edges: Array
    density: Array
    density_error: Array
    n_atoms: int


def displacement_distribution(displacements: npt.ArrayLike, bin_width: float = BIN_WIDTH) -> DisplacementDistribution:
    r"""Return the probability density of displacements, :math:`h_i = c_i / (N w)` (yang2024, Fig. 5b).

    Parameters
    ----------
    displacements : array_like, shape (n_atoms,)
        Of the ions of one species, Å.
    bin_width : float
        w, Å.

    Raises
    ------
    ValueError
        If there are no ions, a displacement is negative or not finite, or the width is not positive.
    """
    data = np.asarray(displacements, dtype=float)
    if data.ndim != 1 or data.size == 0:
        raise ValueError('there are no displacements to distribute: name an element that is there')
    if not np.isfinite(data).all() or data.min() < 0:
        raise ValueError('displacements must be finite and not negative')
    if not 0 < bin_width < np.inf:
        raise ValueError(f'the width of the bins must be positive, it is {bin_width} Å')
    bins = np.floor(data / bin_width).astype(int)
    counts = np.bincount(bins)
    share = counts / data.size
    # Binomial: an empty bin is uncertain by one ion.
    deviation = np.sqrt(np.maximum(share * (1 - share), 1 / data.size) / data.size)
    edges = bin_width * np.arange(counts.size + 1, dtype=float)
    return DisplacementDistribution(
        edges[:-1] + bin_width / 2, edges, share / bin_width, deviation / bin_width, int(data.size)
    )


@dataclass(frozen=True)
class MobilityClasses:
    """The fast and the slow ions of a species.

    Attributes
    ----------
    species : str
        Element.
    classes : AtomClasses
        ``largest`` are the fast ions, ``smallest`` the slow ones, as indices of atoms.
    displacements : ndarray, shape (n_ions,)
        Of all ions of the species, Å.
    fast_ratio, slow_ratio : float
        Mean squared displacement of the class over that of the species.
    """

    species: str
    classes: AtomClasses
    displacements: Array
    fast_ratio: float
    slow_ratio: float

    @property
    def members(self) -> dict[str, IntArray]:
        """Return the atoms of both classes by name (``Mg fast``, ``Mg slow``)."""
        return {f'{self.species} fast': self.classes.largest, f'{self.species} slow': self.classes.smallest}

    def masks(self, n_atoms: int) -> dict[str, npt.NDArray[np.bool_]]:
        """Return the same as masks over all atoms, for radial distribution functions of classes."""
        return {name: np.isin(np.arange(n_atoms), members) for name, members in self.members.items()}


def mobility_classes(
    trajectory: Trajectory, species: str, first: int = 0, last: int = -1, upper: float = 0.9, lower: float = 0.1
) -> MobilityClasses:
    """Return the ions of a species that moved more than 90 % and less than 10 % of the farthest (yang2024, Fig. 5b).

    Parameters
    ----------
    trajectory : Trajectory
        Unwrapped frames.
    species : str
        Element.
    first, last : int
        Frames between which displacements are taken; the ends of the run if not given.
    upper, lower : float
        Limits as fractions of the largest displacement of the species.

    Raises
    ------
    EmptyClassError
        If no ion is slow, or none has moved.
    ValueError
        If the element is absent, or frames, limits or positions make no sense.
    """
    chosen = indices_of(trajectory, species)
    lengths = total_displacements(trajectory, first, last)
    classes = classes_by_maximum(lengths, chosen, upper, lower)
    overall = float((lengths[chosen] ** 2).mean())
    ratios = [float((lengths[part] ** 2).mean()) / overall for part in (classes.largest, classes.smallest)]
    return MobilityClasses(species, classes, lengths[chosen], ratios[0], ratios[1])


@dataclass(frozen=True)
class ClassCoordination:
    """Mean coordination number of a class of ions over time.

    Attributes
    ----------
    times_ps : ndarray, shape (n_frames,)
        ps since step 0.
    numbers : ndarray, shape (n_frames,)
        Mean number of neighbours of all kinds.
    by_neighbour : dict of str to ndarray, shape (n_frames,)
        The same for each element.
    mean : Estimate
        Average over frames and ions.
    mean_by_neighbour : dict of str to Estimate
        The same for each element.
    n_ions : int
        Ions of the class.
    """

    times_ps: Array
    numbers: Array
    by_neighbour: dict[str, Array]
    mean: Estimate
    mean_by_neighbour: dict[str, Estimate]
    n_ions: int


def class_coordination(
    trajectory: Trajectory,
    classes: Mapping[str, npt.ArrayLike],
    cutoffs: Mapping[str, float],
    n_frames: int | None = 100,
    start: int = 0,
) -> dict[str, ClassCoordination]:
    """Return the coordination numbers of classes of ions over time (yang2024, Fig. 5c).

    Parameters
    ----------
    trajectory : Trajectory
        Frames.
    classes : mapping of str to array of int
        Indices of the atoms of each class.
    cutoffs : mapping of str to float
        Element of the neighbours to the distance (Å) below which they are bonded; the same for all classes.
    n_frames, start : int
        Frames spread evenly from ``start`` on; all for ``None``.

    Raises
    ------
    ValueError
        If a class is empty, an element is absent or a cutoff is not positive.
    """
    empty = [name for name, members in classes.items() if np.size(members) == 0]
    if empty or not classes:
        raise ValueError(f'the class {", ".join(empty) or "of ions"} holds no atoms')
    missing = sorted(set(cutoffs) - set(species_of(trajectory)))
    if missing or not cutoffs:
        raise ValueError(f'there is no {", ".join(missing) or "neighbour"} among {", ".join(species_of(trajectory))}')
    members = {name: np.unique(np.asarray(given, dtype=np.int64)) for name, given in classes.items()}
    is_kind = {symbol: np.asarray(indices_of(trajectory, symbol)) for symbol in cutoffs}
    n_atoms = len(trajectory.atomic_numbers)
    around = {symbol: np.isin(np.arange(n_atoms), indices) for symbol, indices in is_kind.items()}
    selected = select_frames(n_frames_of(trajectory), n_frames, start)
    counts = {name: {symbol: np.zeros((len(selected), part.size)) for symbol in cutoffs}
              for name, part in members.items()}  # fmt: skip
    for row, index in enumerate(selected):
        found = neighbours(*frame(trajectory, index), max(cutoffs.values()))
        for symbol, cutoff in cutoffs.items():
            bonded = (found.distances < cutoff) & around[symbol][found.second]
            per_atom = np.bincount(found.first[bonded], minlength=n_atoms)
            for name, part in members.items():
                counts[name][symbol][row] = per_atom[part]
    times = times_ps_of(trajectory)[selected]
    results = {}
    for name, tables in counts.items():
        total = np.sum(list(tables.values()), axis=0)
        results[name] = ClassCoordination(
            times_ps=times, numbers=total.mean(axis=1),
            by_neighbour={symbol: table.mean(axis=1) for symbol, table in tables.items()},
            mean=estimate_from_frames(total.mean(axis=1), total.mean(axis=0)),
            mean_by_neighbour={
                symbol: estimate_from_frames(table.mean(axis=1), table.mean(axis=0)) for symbol, table in tables.items()
            },
            n_ions=int(members[name].size),
        )  # fmt: skip
    return results
