"""Coordination polyhedra over a run: the shares of GaF_mCl_n or AlO_mCl_n, and how far the anions have exchanged."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .anion_census import AnionCensus
from .coordination import Coordination, Estimate, estimate_from_frames
from .trajectory import Array, IntArray


@dataclass(frozen=True)
class CensusOverTime:
    """Which anions surround the cations of one element, frame by frame.

    Attributes
    ----------
    central : str
        The cation.
    anions : tuple of str
        The elements that are counted.
    kinds : ndarray of int, shape (n_kinds, n_anions)
        Numbers of anions of each kind of polyhedron that occurs, the most frequent first.
    shares_per_frame : ndarray, shape (n_frames, n_kinds)
        Share of the cations that are of each kind.
    kind_of : ndarray of int, shape (n_frames, n_central)
        Kind of every cation in every frame, for instance to tell where ions hop or what rearranges.
    extent_per_frame : ndarray, shape (n_frames, n_anions)
        Share of the bonds of all cations that go to each anion.
    """

    central: str
    anions: tuple[str, ...]
    kinds: IntArray
    shares_per_frame: Array
    kind_of: IntArray
    extent_per_frame: Array
    _counts: IntArray

    @property
    def names(self) -> list[str]:
        """Return the formula of each kind, for example ``GaF2Cl2``."""
        census = AnionCensus(self.central, self.anions, self.kinds)
        return [census.name_of(kind) for kind in self.kinds.tolist()]

    @property
    def shares(self) -> dict[str, Estimate]:
        """Return the mean share of each kind, the most frequent first.

        The error is the larger of that over time and of the spread over the cations (as
        :func:`~aiida_softclay.analysis.coordination.estimate_from_frames`).
        """
        return {
            name: estimate_from_frames(self.shares_per_frame[:, kind], (self.kind_of == kind).mean(axis=0))
            for kind, name in enumerate(self.names)
        }

    def share(self, name: str) -> Estimate:
        """Return the mean share of one kind, for example ``GaCl4``, the GaCl3-like unit of gupta2023 (Fig. 3b)."""
        n_frames, n_central = self.kind_of.shape
        return self.shares.get(name, Estimate(0.0, 1.0 / n_central, n_central, f'none in {n_frames} frames'))

    def extent(self, anion: str) -> tuple[Array, Array]:
        r"""Return the extent of exchange of every frame and its error over the cations, shape (n_frames,) each.

        .. math:: \xi(t) = \sum_i n_i^\mathrm{new}(t) \Big/ \sum_i \sum_X n_i^X(t)

        with the error of a ratio of sums over the cations i,
        :math:`s^2 = \frac{N}{N - 1} \sum_i (n_i^\mathrm{new} - \xi n_i)^2 / (\sum_i n_i)^2` (Cochran, Sampling
        Techniques, 3rd ed., section 2.11).

        Raises
        ------
        ValueError
            If the anion was not counted.
        """
        if anion not in self.anions:
            raise ValueError(f'{anion} was not counted around {self.central}, only {", ".join(self.anions)}')
        column = self.anions.index(anion)
        value = self.extent_per_frame[:, column]
        bonds = self._counts.sum(axis=2)
        deviation = self._counts[:, :, column] - value[:, None] * bonds
        n_central = bonds.shape[1]
        if n_central < 2:
            return value, np.full(len(value), math.nan)
        error = np.sqrt(n_central / (n_central - 1) * (deviation**2).sum(axis=1)) / bonds.sum(axis=1)
        return value, error


def census_over_time(coordinations: Iterable[Coordination]) -> CensusOverTime:
    """Return the census of one cation from its coordination by several anions.

    Parameters
    ----------
    coordinations : iterable of Coordination
        One for each anion, of the same cation and the same frames; see
        :func:`~aiida_softclay.analysis.coordination.coordination_numbers`.

    Raises
    ------
    ValueError
        If they belong to different cations or frames, an anion appears twice, or a frame has no bond at all.
    """
    tables = list(coordinations)
    if not tables:
        raise ValueError('no coordination was given')
    centrals = {table.pair[0] for table in tables}
    anions = tuple(table.pair[1] for table in tables)
    if len(centrals) > 1 or len({table.counts.shape for table in tables}) > 1 or len(set(anions)) < len(anions):
        raise ValueError('the coordinations must be of one cation in the same frames, with each anion once')
    counts = np.stack([table.counts for table in tables], axis=2)
    bonds = counts.sum(axis=(1, 2))
    if not bonds.all():
        empty, names = int(np.argmin(bonds)), ', '.join(anions)
        raise ValueError(f'frame {empty} has no bond of {tables[0].pair[0]} to {names}: check the cutoffs')
    base = int(counts.max()) + 1
    code = counts @ base ** np.arange(len(anions))[::-1]
    _, first, kind, number = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(number.size, dtype=np.int64)
    rank[np.argsort(-number, kind='stable')] = np.arange(number.size)
    kind_of = rank[kind.reshape(code.shape)]
    kinds = np.empty((number.size, len(anions)), dtype=np.int64)
    kinds[rank] = counts.reshape(-1, len(anions))[first]
    places = np.arange(len(kind_of))[:, None] * number.size + kind_of
    shares = np.bincount(places.ravel(), minlength=len(kind_of) * number.size).reshape(-1, number.size)
    return CensusOverTime(
        central=tables[0].pair[0], anions=anions, kinds=kinds, shares_per_frame=shares / kind_of.shape[1],
        kind_of=kind_of, extent_per_frame=counts.sum(axis=1) / bonds[:, None], _counts=counts,
    )  # fmt: skip
