r"""Which configurations of an exploration to label: trust levels on the model deviation, then spread.

The model deviation of a configuration is the largest, over its atoms, standard deviation of the force between the
models of a committee,

.. math::
    \sigma = \max_i \sqrt{\langle \lVert F_i - \langle F_i \rangle \rVert^2 \rangle},

small where the data determine the force and large where the models had none. Two trust levels divide the
configurations into accurate, candidates and failed ones (L. Zhang et al., Phys. Rev. Mater. 3, 023804 (2019);
Y. Zhang et al., Comput. Phys. Commun. 253, 107206 (2020), DP-GEN). Of the candidates, neighbours in time are nearly
the same configuration: those to label are spread by farthest-point sampling in a structural fingerprint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers as NUMBER_OF_SYMBOL  # noqa: N812
from ase.data import covalent_radii

from .neighbours import neighbours
from .trajectory import Array, IntArray

ACCURATE, CANDIDATE, FAILED = 0, 1, 2
#: Distances below this, Å, weigh as much as this one: two atoms on one site must not give an infinite fingerprint.
SHORTEST_DISTANCE = 0.5


@dataclass(frozen=True)
class TrustLevels:
    """Bounds of the model deviation, eV/Å: accurate < ``lower`` <= candidate < ``upper`` <= failed.

    Raises
    ------
    ValueError
        Unless 0 < lower < upper.
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not 0 < self.lower < self.upper:
            raise ValueError(
                f'trust levels of {self.lower:g} and {self.upper:g} eV/Å: give a positive lower one below the upper one'
            )

    def classify(self, deviation: npt.ArrayLike) -> IntArray:
        """Return ``ACCURATE``, ``CANDIDATE`` or ``FAILED`` for every deviation; what is not finite has failed."""
        values = np.asarray(deviation, dtype=float)
        classes = np.full(values.shape, FAILED)
        classes[values < self.upper] = CANDIDATE
        classes[values < self.lower] = ACCURATE
        return classes


def adaptive_levels(
    deviation: npt.ArrayLike, floor: float, upper: float, fraction: float, minimum: int = 1
) -> TrustLevels:
    """Return trust levels whose lower one leaves a given share of candidates.

    The rule is DP-GEN's ``model_devi_adapt_trust_lo``: of the configurations below ``upper``, the
    ``max(minimum, fraction * n)`` with the largest deviation are the candidates (n counts all configurations), and the
    lower level is the smallest deviation among them. Unlike there, the level never falls below ``floor``, so that the
    share of candidates does fall once the committee agrees to that much.

    Parameters
    ----------
    deviation : array_like, shape (n,)
        Model deviations, eV/Å.
    floor, upper : float
        Smallest lower level and the upper level, eV/Å.
    fraction : float
        Share of the configurations that are candidates.
    minimum : int
        Least number of candidates.

    Raises
    ------
    ValueError
        If the levels are not 0 < floor < upper, or the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f'a share of {fraction:g} candidates: give one above 0 and at most 1')
    levels = TrustLevels(floor, upper)
    values = np.asarray(deviation, dtype=float).ravel()
    below = np.sort(values[values < upper])[::-1]
    wanted = min(max(int(minimum), math.ceil(fraction * len(values))), len(below))
    if not wanted:
        return levels
    return TrustLevels(max(float(below[wanted - 1]), floor), upper)


def within_volume(cells: npt.ArrayLike, reference: npt.ArrayLike, max_ratio: float) -> npt.NDArray[np.bool_]:
    """Return which configurations have kept their volume within a factor.

    A committee that has seen one density only may let a liquid at constant pressure evaporate, and agrees about the
    gas, whose forces are small: the deviation does not tell, and labels of a gas would spoil the fit.

    Parameters
    ----------
    cells : array_like, shape (n, 3, 3)
        Rows are the lattice vectors, Å.
    reference : array_like, shape (3, 3)
        Cell that the run began with, Å.
    max_ratio : float
        Largest ratio of the two volumes, either way; above 1.

    Raises
    ------
    ValueError
        If the ratio is not above 1.
    """
    if not max_ratio > 1:
        raise ValueError(f'the largest ratio of volumes is {max_ratio:g}: give a number above 1')
    volumes = np.abs(np.linalg.det(np.asarray(cells, dtype=float).reshape(-1, 3, 3)))
    ratio = volumes / abs(np.linalg.det(np.asarray(reference, dtype=float)))
    return np.asarray((ratio <= max_ratio) & (ratio >= 1 / max_ratio))


def shares(classes: npt.ArrayLike, n_missing: int = 0) -> dict[str, float]:
    """Return the shares of accurate, candidate and failed configurations.

    Parameters
    ----------
    classes : array_like of int
        As :meth:`TrustLevels.classify` returns them.
    n_missing : int
        Configurations that a run should have reached and did not, because it exploded: they have failed.
    """
    counts = np.bincount(np.asarray(classes, dtype=int).ravel(), minlength=3).astype(float)
    counts[FAILED] += n_missing
    total = counts.sum()
    if total == 0:
        return {'accurate': 0.0, 'candidate': 0.0, 'failed': 0.0}
    return {name: float(counts[k] / total) for k, name in enumerate(('accurate', 'candidate', 'failed'))}


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of a configuration, and how close its atoms come.

    Attributes
    ----------
    vector : ndarray, shape (2 * n_species**2 * n_bins,)
    closest_contact : float
        Smallest distance over the sum of the two covalent radii; infinite if no two atoms are within the cutoff.
    """

    vector: Array
    closest_contact: float


def fingerprint(
    positions: npt.ArrayLike,
    cell: npt.ArrayLike,
    atomic_numbers: npt.ArrayLike,
    species: Sequence[str],
    *,
    cutoff: float = 6.0,
    n_bins: int = 20,
) -> Fingerprint:
    r"""Return a structural fingerprint: soft radial histograms by element, mean and spread over the atoms.

    Every atom i has, for each element b, a histogram of the distances to its neighbours of that element with weights

    .. math::
        w(r) = \frac{(1\,\mathrm{Å})^2}{r^2}\; \frac{1 + \cos(\pi r / r_c)}{2},

    so that all shells weigh alike and none enters with a jump; each distance is shared between the two nearest bins in
    proportion, so that the histogram is continuous. The fingerprint holds, for each central element a and each b, the
    mean over the atoms of a and the standard deviation over them, which tells a cell with two kinds of environment from
    one with their average. It does not change if the cell is rotated, shifted, reordered, wrapped or repeated, and
    costs as much as the neighbour list.

    Parameters
    ----------
    positions : array_like, shape (n_atoms, 3)
        Å, wrapped or not.
    cell : array_like, shape (3, 3)
        Rows are the lattice vectors, Å.
    atomic_numbers : array_like of int, shape (n_atoms,)
    species : sequence of str
        Elements, in the order of the fingerprint; those the cell lacks give zeros, so that fingerprints of different
        compositions can be compared.
    cutoff : float
        Å.
    n_bins : int
        Bins of a histogram.

    Raises
    ------
    ValueError
        If an atom is of none of the elements, or the cell or the cutoff makes no sense.
    """
    numbers = np.asarray(atomic_numbers, dtype=int)
    known = np.array([NUMBER_OF_SYMBOL[symbol] for symbol in species])
    if n_bins < 1 or not np.isin(numbers, known).all():
        raise ValueError(f'the cell has atoms other than {", ".join(species)}, or there is no bin')
    kinds = np.argmax(numbers[:, None] == known[None, :], axis=1)
    n_atoms, n_species = len(numbers), len(known)
    found = neighbours(positions, cell, cutoff)
    distances = found.distances
    weights = 0.5 * (1 + np.cos(np.pi * distances / cutoff)) / np.maximum(distances, SHORTEST_DISTANCE) ** 2
    # Centres of the bins lie at (k + 1/2) cutoff / n_bins; what lies beyond the outer centres goes to the outer bins.
    place = distances / cutoff * n_bins - 0.5
    lower = np.clip(np.floor(place).astype(int), 0, max(n_bins - 2, 0))
    upper = np.minimum(lower + 1, n_bins - 1)
    upper_part = np.clip(place - lower, 0.0, 1.0)
    row = (found.first * n_species + kinds[found.second]) * n_bins
    size = n_atoms * n_species * n_bins
    histogram = np.bincount(row + lower, weights * (1 - upper_part), size)
    histogram += np.bincount(row + upper, weights * upper_part, size)
    histogram = histogram.reshape(n_atoms, n_species * n_bins)
    vector = np.zeros((n_species, 2, n_species * n_bins))
    for kind in range(n_species):
        own = histogram[kinds == kind]
        if len(own):
            vector[kind] = own.mean(axis=0), own.std(axis=0)
    contact = math.inf
    if len(distances):
        contact = float(
            np.min(distances / (covalent_radii[numbers[found.first]] + covalent_radii[numbers[found.second]]))
        )
    return Fingerprint(vector.ravel(), contact)


def farthest_points(vectors: npt.ArrayLike, n: int, first: int | None = None) -> IntArray:
    """Return ``n`` rows of which each is as far as possible from all before it (greedy farthest-point sampling).

    Parameters
    ----------
    vectors : array_like, shape (n_points, n_dimensions)
    n : int
        Rows wanted; all, if there are no more.
    first : int, optional
        Row to begin with; by default the one farthest from the mean. Of rows equally far, the one of lowest index is
        taken.

    Returns
    -------
    ndarray of int, shape (min(n, n_points),)
        In the order of choice.

    Raises
    ------
    ValueError
        If n is negative or the vectors are not finite.
    """
    points = np.asarray(vectors, dtype=float)
    if n < 0 or points.ndim != 2 or not np.isfinite(points).all():
        raise ValueError('the vectors must be a finite table, and the number of rows wanted not negative')
    wanted = min(n, len(points))
    if not wanted:
        return np.empty(0, dtype=np.int64)
    if first is None:
        first = int(np.argmax(((points - points.mean(axis=0)) ** 2).sum(axis=1)))
    chosen = [int(first)]
    squared = ((points - points[first]) ** 2).sum(axis=1)
    squared[first] = -1.0
    while len(chosen) < wanted:
        following = int(np.argmax(squared))
        chosen.append(following)
        squared = np.minimum(squared, ((points - points[following]) ** 2).sum(axis=1))
        squared[chosen] = -1.0
    return np.array(chosen, dtype=np.int64)


@dataclass(frozen=True)
class Selection:
    """Outcome of a selection.

    Attributes
    ----------
    chosen : dict
        Name of the run to the indices of its frames, ascending.
    pool : int
        Number of candidates whose fingerprints were compared.
    unphysical : dict
        Name of the run to the indices of candidates that were refused since atoms come too close.
    """

    chosen: dict[str, list[int]]
    pool: int
    unphysical: dict[str, list[int]]


def spread_selection(
    candidates: Mapping[str, npt.ArrayLike],
    deviation: Mapping[str, npt.ArrayLike],
    fingerprint_of: Callable[[str, int], Fingerprint],
    n: int,
    *,
    max_pool: int = 400,
    min_contact: float = 0.5,
    seed: int = 1,
) -> Selection:
    """Choose at most ``n`` candidates that differ as much as possible, beginning with that of largest deviation.

    Parameters
    ----------
    candidates : mapping
        Name of each run to the indices of its candidates.
    deviation : mapping
        Name of each run to the model deviations of all its frames, eV/Å.
    fingerprint_of : callable
        Returns the fingerprint of a frame from the name of the run and the index.
    n : int
        Largest number to choose.
    max_pool : int
        If there are more candidates, so many are drawn at random and compared; this bounds the time.
    min_contact : float
        Candidates with two atoms closer than this multiple of the sum of their covalent radii are refused: no
        electronic structure method converges on them, and none of the runs of a study visits them.
    seed : int
        Of the random draw.
    """
    places = [(name, int(index)) for name in sorted(candidates) for index in np.asarray(candidates[name]).ravel()]
    if len(places) > max_pool:
        drawn = np.random.default_rng(seed).choice(len(places), max_pool, replace=False)
        places = [places[k] for k in np.sort(drawn)]
    prints = [fingerprint_of(name, index) for name, index in places]
    sound = [k for k, item in enumerate(prints) if item.closest_contact >= min_contact]
    unphysical: dict[str, list[int]] = {}
    for k in sorted(set(range(len(places))) - set(sound)):
        unphysical.setdefault(places[k][0], []).append(places[k][1])
    chosen: dict[str, list[int]] = {}
    if sound:
        values = [float(np.asarray(deviation[places[k][0]])[places[k][1]]) for k in sound]
        vectors = np.array([prints[k].vector for k in sound])
        for position in farthest_points(vectors, n, first=int(np.argmax(values))):
            name, index = places[sound[position]]
            chosen.setdefault(name, []).append(index)
    return Selection(
        {name: sorted(indices) for name, indices in sorted(chosen.items())},
        len(places),
        dict(sorted(unphysical.items())),
    )


def learning_state(
    history: Sequence[Mapping[str, float]],
    *,
    max_candidate_share: float,
    generations_below: int = 1,
    max_failed_share: float = 1.0,
    generations_failed: int = 1,
) -> str:
    """Return ``converged``, ``diverged`` or ``learning`` after a number of generations.

    Converged: in each of the last ``generations_below`` generations fewer than ``max_candidate_share`` of the
    configurations were candidates, and no more than ``max_failed_share`` had failed. Diverged: in each of the last
    ``generations_failed`` generations more than ``max_failed_share`` had failed, or they did in the last one and none
    was a candidate, so that there is nothing to learn from.

    Parameters
    ----------
    history : sequence of mappings
        :func:`shares` of each generation, the last one last; a generation whose exploration was not complete has a
        true ``incomplete`` and counts as one that did not converge.
    max_candidate_share, max_failed_share : float
        Between 0 and 1.
    generations_below, generations_failed : int
        At least 1.
    """

    def is_below(row: Mapping[str, float]) -> bool:
        return (
            row['candidate'] < max_candidate_share and row['failed'] <= max_failed_share and not row.get('incomplete')
        )

    if not history:
        return 'learning'
    failed = [row['failed'] > max_failed_share for row in history[-generations_failed:]]
    if failed[-1] and (not history[-1]['candidate'] or (len(failed) == generations_failed and all(failed))):
        return 'diverged'
    below = [is_below(row) for row in history[-generations_below:]]
    if len(below) == generations_below and all(below):
        return 'converged'
    return 'learning'
