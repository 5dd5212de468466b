"""Radial distribution functions between classes of atoms: elements, fast and slow ions, atoms that rearrange."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from .neighbours import uses_minimum_image
from .pair_kernel import pair_histogram
from .trajectory import Array, Trajectory, check_pairs, indices_of, iter_frames, n_frames_of, select_frames, species_of

#: Blocks of consecutive frames whose scatter gives the error bars.
N_BLOCKS = 10


@dataclass(frozen=True)
class RadialDistribution:
    """Partial radial distribution functions of a set of frames.

    Attributes
    ----------
    radii : ndarray, shape (n_bins,)
        Centres of the bins, Å.
    edges : ndarray, shape (n_bins + 1,)
        Edges of the bins, Å.
    pairs : tuple of (str, str)
        Central element (or class) and that of the neighbour, one for each row of the arrays below.
    g : ndarray, shape (n_pairs, n_bins)
        Partial distribution functions; 1 for an ideal gas.
    g_error : ndarray, shape (n_pairs, n_bins)
        Their standard errors from up to ten blocks of consecutive frames; ``nan`` for a single frame.
    coordination : ndarray, shape (n_pairs, n_bins)
        Mean number of neighbours of a central atom closer than the upper edge of the bin.
    n_frames : int
        Number of frames.
    density : float
        Mean number density of all atoms, Å⁻³.
    """

    radii: Array
    edges: Array
    pairs: tuple[tuple[str, str], ...]
    g: Array
    g_error: Array
    coordination: Array
    n_frames: int
    density: float

    def row(self, central: str, neighbour: str) -> int:
        """Return the row of a pair.

        Raises
        ------
        KeyError
            If the pair was not computed.
        """
        if (central, neighbour) not in self.pairs:
            raise KeyError(f'{central}–{neighbour} is not among {", ".join("–".join(pair) for pair in self.pairs)}')
        return self.pairs.index((central, neighbour))


class _Classes:
    """Which atom belongs to which classes in which frame; an atom may belong to several."""

    def __init__(self, trajectory: Trajectory, classes: Mapping[str, npt.ArrayLike]) -> None:
        n_frames, n_atoms = n_frames_of(trajectory), len(trajectory.atomic_numbers)
        self.names: list[str] = []
        self.masks: list[npt.NDArray[np.bool_]] = []
        for symbol in species_of(trajectory):
            mask = np.zeros(n_atoms, dtype=bool)
            mask[indices_of(trajectory, symbol)] = True
            self.names.append(symbol)
            self.masks.append(mask)
        for name, given in classes.items():
            mask = np.asarray(given)
            if name in self.names:
                raise ValueError(f'a class cannot be called `{name}`, an element has this name')
            if mask.dtype != bool or mask.shape not in {(n_atoms,), (n_frames, n_atoms)}:
                raise ValueError(
                    f'the class `{name}` must be a mask of the shape ({n_atoms},) or ({n_frames}, {n_atoms}), it is '
                    f'{mask.dtype} of the shape {mask.shape}'
                )
            self.names.append(name)
            self.masks.append(mask)
        if len(self.names) > 62:
            raise ValueError(f'there are {len(self.names)} elements and classes, at most 62 can be told apart')
        self.changes = any(mask.ndim == 2 for mask in self.masks)
        self._kept: tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], Array] | None = None

    def at(self, frame: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], Array]:
        """Return members (n_classes, n_atoms), a label for each kind of membership, and the classes of each label."""
        if self._kept is None or self.changes:
            members = np.array([mask if mask.ndim == 1 else mask[frame] for mask in self.masks])
            codes = np.int64(1) << np.arange(len(members), dtype=np.int64)
            _, first, labels = np.unique(codes @ members, return_index=True, return_inverse=True)
            self._kept = members, labels, members[:, first].astype(float)
        return self._kept


def class_radial_distribution(
    trajectory: Trajectory,
    classes: Mapping[str, npt.ArrayLike],
    pairs: Sequence[tuple[str, str]] | None = None,
    *,
    r_max: float = 8.0,
    bin_width: float = 0.05,
    n_frames: int | None = 20,
    start: int = 0,
) -> RadialDistribution:
    r"""Return radial distribution functions between classes of atoms, averaged over frames.

    .. math::
        g_{ab}(r) = \frac{\sum_t V(t)\, n_{ab}(r, r + \mathrm{d}r; t)}
                         {\frac{4}{3}\pi [(r+\mathrm{d}r)^3 - r^3] \sum_t [N_a(t) N_b(t) - N_{a \cap b}(t)]}

    with :math:`n_{ab}` the number of pairs of an a and another b atom at that distance, which is 1 for an ideal gas of
    any size. Where ``r_max`` exceeds half the smallest height of the cell, an atom's own images are neighbours as well
    and the number of pairs is :math:`N_a N_b`. As gupta2023 Fig. 2f (gallium of the largest and smallest non-affine
    displacement) and the fast and slow ions of yang2024.

    Parameters
    ----------
    trajectory : Trajectory
        Frames.
    classes : mapping of str to array_like of bool, shape (n_atoms,) or (n_frames, n_atoms)
        Members of each class, always the same or frame by frame. Every element is a class by itself.
    pairs : sequence of (str, str), optional
        Central class and class of the neighbour; all combinations if not given.
    r_max, bin_width : float
        Range and width of the bins, Å.
    n_frames : int, optional
        Number of frames spread evenly over the trajectory; all for ``None``.
    start : int
        First frame that may be used.

    Raises
    ------
    ValueError
        If an element or class is absent or empty in all frames, or the range or the bins make no sense.
    """
    if not (bin_width > 0 and bin_width < r_max < math.inf):
        raise ValueError(f'the bins make no sense: width {bin_width} Å up to {r_max} Å')
    membership = _Classes(trajectory, classes)
    names = membership.names
    wanted = tuple(pairs) if pairs else tuple(combinations_with_replacement(names, 2))
    check_pairs(wanted, names)
    columns = [(names.index(a), names.index(b)) for a, b in wanted]
    first, second = np.array(columns).T
    n_bins = round(r_max / bin_width)
    edges = np.linspace(0.0, r_max, n_bins + 1)

    selected = select_frames(n_frames_of(trajectory), n_frames, start)
    n_blocks = min(N_BLOCKS, len(selected))
    observed, volume_observed = np.zeros((2, n_blocks, len(wanted), n_bins))
    expected, centres = np.zeros((2, n_blocks, len(wanted)))
    density = 0.0
    for row, (index, positions, cell) in enumerate(iter_frames(trajectory, selected)):
        block = row * n_blocks // len(selected)
        members, labels, of_label = membership.at(index)
        histogram = pair_histogram(positions, cell, labels, of_label.shape[1], r_max, n_bins)
        by_class = np.einsum('ak,bl,klr->abr', of_label, of_label, histogram, optimize=True)[first, second]
        common = members.astype(float) @ members.T
        population = np.diag(common)
        excluded = common[first, second] if uses_minimum_image(cell, r_max) else 0.0
        volume = abs(float(np.linalg.det(cell)))
        observed[block] += by_class
        volume_observed[block] += volume * by_class
        expected[block] += population[first] * population[second] - excluded
        centres[block] += population[first]
        density += len(labels) / volume / len(selected)
    for pair, number in zip(wanted, centres.sum(axis=0), strict=True):
        if number == 0:
            raise ValueError(f'the class `{pair[0]}` is empty in all {len(selected)} frames that are used')

    shells = 4 / 3 * math.pi * np.diff(edges**3)
    with np.errstate(invalid='ignore', divide='ignore'):
        blocks = volume_observed / (expected[:, :, None] * shells)
        mean = volume_observed.sum(axis=0) / (expected.sum(axis=0)[:, None] * shells)
    error = np.full_like(mean, np.nan)
    if n_blocks > 1:
        filled = np.nan_to_num(blocks)
        number = (expected > 0).sum(axis=0)[:, None]
        present = (expected > 0)[:, :, None]
        centre = filled.sum(axis=0) / np.maximum(number, 1)
        scatter = (np.where(present, filled - centre, 0.0) ** 2).sum(axis=0)
        error = np.where(number > 1, np.sqrt(scatter / np.maximum(number * (number - 1), 1)), np.nan)
    return RadialDistribution(
        radii=0.5 * (edges[1:] + edges[:-1]), edges=edges, pairs=wanted, g=np.nan_to_num(mean), g_error=error,
        coordination=np.cumsum(observed.sum(axis=0) / centres.sum(axis=0)[:, None], axis=1),
        n_frames=len(selected), density=density,
    )  # fmt: skip
