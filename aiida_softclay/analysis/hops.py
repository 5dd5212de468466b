"""Hops of mobile ions between the units of a framework: along a chain, between chains, and from isolated units."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .chains import LINK_CUTOFF, chains_from_bonds
from .coordination import Estimate, cutoff_table, neighbour_counts
from .pair_kernel import pairs_within
from .trajectory import (
    Array,
    IntArray,
    Trajectory,
    check_pairs,
    element_labels,
    indices_of,
    iter_frames,
    n_frames_of,
    species_of,
    times_ps_of,
)

#: How far the centre of the unit of a mobile ion may be, Å.
UNIT_CUTOFF = 6.0
#: How long an ion has to stay with a unit for the change to be a hop, ps: vibrations across the middle last less.
RESIDENCE_PS = 2.0
KINDS = ('intra-chain', 'inter-chain', 'iso-assisted')


@dataclass(frozen=True)
class Hops:
    """Lasting changes of the unit that an ion belongs to, in the order of ions and times.

    Attributes
    ----------
    ions : ndarray of int, shape (n_hops,)
        Place of the ion among the mobile ones.
    frames : ndarray of int, shape (n_hops,)
        Frame in which the ion first belongs to its new unit.
    origins, destinations : ndarray of int, shape (n_hops,)
        Place of the old and the new unit among the centres.
    """

    ions: IntArray
    frames: IntArray
    origins: IntArray
    destinations: IntArray


@dataclass(frozen=True)
class HopStatistics:
    """Hops of a run by kind and by the units they join.

    Attributes
    ----------
    hops : Hops
        All of them.
    kinds : tuple of str, shape (n_hops,)
        ``iso-assisted``: from an isolated unit; ``intra-chain``: within one chain; ``inter-chain``: from a chain to
        another one or to an isolated unit (qyang2025).
    shares : dict of str to Estimate
        Share of each kind; empty without hops.
    rates : dict of str to Estimate
        Hops of each kind, and ``all`` of them, per ion and ps.
    site_shares : dict of str to float
        Share of each composition (``AlOCl3``) among the units that ions hop from and to.
    unit_shares : dict of str to float
        Share of each composition among all units of the first frame, for comparison.
    n_ions : int
        Mobile ions.
    duration_ps : float
        Time that was watched.
    residence_ps : float
        Shortest stay that counts.
    warnings : tuple of str
        What a careful reader must know.
    """

    hops: Hops
    kinds: tuple[str, ...]
    shares: dict[str, Estimate]
    rates: dict[str, Estimate]
    site_shares: dict[str, float]
    unit_shares: dict[str, float]
    n_ions: int
    duration_ps: float
    residence_ps: float
    warnings: tuple[str, ...]


def nearest_units(
    trajectory: Trajectory, mobile: str = 'Li', centre: str = 'Al', cutoff: float = UNIT_CUTOFF, every: int = 1
) -> IntArray:
    """Return the unit that every mobile ion is nearest to, in every frame.

    Parameters
    ----------
    trajectory : Trajectory
        Frames.
    mobile, centre : str
        Element of the ions, and of the centres of the units.
    cutoff : float
        Largest distance, Å.
    every : int
        Take one frame of so many.

    Returns
    -------
    ndarray of int, shape (n_frames, n_mobile)
        Place among the centres; -1 where none is within the cutoff.

    Raises
    ------
    ValueError
        If an element is absent, or positions are not finite.
    """
    ions, centres = indices_of(trajectory, mobile), indices_of(trajectory, centre)
    if mobile == centre:
        raise ValueError(f'the mobile ions and the centres of the units are both {mobile}')
    chosen = np.concatenate([ions, centres])
    labels = np.repeat([0, 1], [ions.size, centres.size])
    table = np.array([[0.0, cutoff], [cutoff, 0.0]])
    selected = range(0, n_frames_of(trajectory), every)
    units = np.full((len(selected), ions.size), -1, dtype=np.int64)
    for row, (_, positions, cell) in enumerate(iter_frames(trajectory, selected)):
        found = pairs_within(positions[chosen], cell, table, labels)
        ion, unit = np.minimum(found.first, found.second), np.maximum(found.first, found.second) - ions.size
        # The last one written stays: from the farthest to the nearest.
        order = np.argsort(-found.distances, kind='stable')
        units[row, ion[order]] = unit[order]
    return units


def find_hops(units: npt.ArrayLike, residence: int) -> Hops:
    """Return the lasting changes of unit.

    An ion hops when it belongs to a new unit in ``residence`` consecutive frames. Shorter visits, and frames without
    any unit, leave it with the unit it had; so does a visit that the end of the run cuts short.

    Parameters
    ----------
    units : array_like of int, shape (n_frames, n_mobile)
        Unit of every ion in every frame, -1 for none.
    residence : int
        Frames, 1 at least.

    Raises
    ------
    ValueError
        If the residence is not positive.
    """
    table = np.asarray(units, dtype=np.int64)
    if table.ndim != 2:
        raise ValueError(f'units must have the shape (n_frames, n_mobile), not {table.shape}')
    if residence < 1:
        raise ValueError(f'an ion stays one frame at least, not {residence}')
    rows = []
    for ion, series in enumerate(table.T):
        starts = np.concatenate([[0], np.flatnonzero(np.diff(series)) + 1])
        lengths = np.diff(np.concatenate([starts, [series.size]]))
        lasting = (lengths >= residence) & (series[starts] >= 0)
        starts, stays = starts[lasting], series[starts[lasting]]
        changed = np.flatnonzero(np.diff(stays)) + 1
        rows += [(ion, int(starts[k]), int(stays[k - 1]), int(stays[k])) for k in changed]
    found = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return Hops(found[:, 0], found[:, 1], found[:, 2], found[:, 3])


def hop_statistics(
    trajectory: Trajectory,
    bonds: Mapping[tuple[str, str], float],
    *,
    mobile: str = 'Li',
    centre: str = 'Al',
    residence_ps: float = RESIDENCE_PS,
    link_cutoff: float = LINK_CUTOFF,
    unit_cutoff: float = UNIT_CUTOFF,
    every: int = 1,
) -> HopStatistics:
    r"""Return how the mobile ions of a glass of tetrahedra hop.

    A mobile ion belongs to the unit whose centre is nearest; a hop is a lasting change of unit (qyang2025, Fig. 2). At
    the frame of the hop, centres that share an anion and are closer than 4.2 Å are one chain. The errors of shares are
    binomial, those of rates the square root of the number of hops (of one hop if there was none), or the scatter over
    ions if that is larger.

    Parameters
    ----------
    trajectory : Trajectory
        Frames at equal distances in time, short against the residence.
    bonds : mapping of (str, str) to float
        Centre and bridging element (``('Al', 'O')``, ``('Al', 'Cl')``) to the distance (Å) below which they are bonded.
    mobile, centre : str
        Elements.
    residence_ps : float
        How long an ion has to stay, ps.
    link_cutoff, unit_cutoff : float
        Largest distance of linked centres, and of an ion and its unit, Å.
    every : int
        Take one frame of so many.

    Raises
    ------
    ValueError
        If an element is absent, no bond is given, a bond is not of the centre, or the run is shorter than two stays.
    """
    if not bonds or any(pair[0] != centre or pair[1] in {centre, mobile} for pair in bonds):
        raise ValueError(f'bonds must go from {centre} to the anions of its units')
    check_pairs(list(bonds), species_of(trajectory))
    units = nearest_units(trajectory, mobile, centre, unit_cutoff, every)
    times = times_ps_of(trajectory)[::every]
    spacing = float(times[1] - times[0]) if times.size > 1 else math.nan
    duration = float(times[-1] - times[0])
    if not duration >= 2 * residence_ps > 0:
        raise ValueError(
            f'a run of {duration:g} ps shows no change between stays of {residence_ps:g} ps: run longer, or ask for '
            'shorter stays'
        )
    residence = max(1, math.ceil(residence_ps / spacing - 1e-9))
    hops = find_hops(units, residence)
    wanted = sorted({0, *(int(row) for row in hops.frames)})
    kinds, sites, population = [''] * hops.ions.size, Counter[str](), Counter[str]()
    for row, names, chain, lengths in _snapshots(trajectory, bonds, centre, link_cutoff, wanted, every):
        if row == 0:
            population.update(names)
        for number in np.flatnonzero(hops.frames == row):
            origin, destination = int(hops.origins[number]), int(hops.destinations[number])
            sites.update([names[origin], names[destination]])
            if lengths[chain[origin]] == 1:
                kinds[number] = 'iso-assisted'
            else:
                kinds[number] = 'intra-chain' if chain[origin] == chain[destination] else 'inter-chain'
    n_hops, n_ions = len(kinds), units.shape[1]
    shares = {}
    for kind in KINDS if n_hops else ():
        share = kinds.count(kind) / n_hops
        error = math.sqrt(max(share * (1 - share), 1 / n_hops) / n_hops)
        shares[kind] = Estimate(share, error, n_hops, 'binomial')
    is_kind = {kind: np.array([found == kind for found in kinds], dtype=bool) for kind in KINDS}
    is_kind['all'] = np.ones(n_hops, dtype=bool)
    rates = {
        name: _rate(np.bincount(hops.ions[members], minlength=n_ions), duration) for name, members in is_kind.items()
    }
    warnings = []
    if n_hops < 20:
        warnings.append(f'only {n_hops} hops of {n_ions} {mobile} were seen in {duration:g} ps')
    if residence < 2:
        warnings.append(f'frames every {spacing:g} ps cannot tell a stay of {residence_ps:g} ps from a visit')
    lost = float((units < 0).mean())
    if lost > 0.01:
        warnings.append(
            f'{100 * lost:.0f} % of the time {mobile} is farther than {unit_cutoff:g} Å from every {centre}'
        )
    return HopStatistics(
        hops=hops, kinds=tuple(kinds), shares=shares, rates=rates, site_shares=_shares(sites),
        unit_shares=_shares(population), n_ions=n_ions, duration_ps=duration, residence_ps=residence_ps,
        warnings=tuple(warnings),
    )  # fmt: skip


def _snapshots(
    trajectory: Trajectory, bonds: Mapping[tuple[str, str], float], centre: str, cutoff: float, rows: list[int],
    every: int,
) -> Iterator[tuple[int, list[str], IntArray, IntArray]]:  # fmt: skip
    """Yield row, composition and chain of every unit, and length of every chain."""
    species = species_of(trajectory)
    labels, table = element_labels(trajectory), cutoff_table(bonds, species)
    anions = [pair[1] for pair in bonds]
    columns = [species.index(symbol) for symbol in anions]
    centres = indices_of(trajectory, centre)
    for index, positions, cell in iter_frames(trajectory, [row * every for row in rows]):
        pairs = pairs_within(positions, cell, table, labels)
        counts = neighbour_counts(pairs, labels, len(species))[centres][:, columns]
        found = chains_from_bonds(pairs, labels, species.index(centre), columns, cutoff)
        yield index // every, [unit_name(centre, anions, row) for row in counts], found.chain, found.lengths


def unit_name(centre: str, anions: list[str], counts: npt.ArrayLike) -> str:
    """Return the composition of a unit, for example ``AlOCl3``."""
    parts = [
        f'{symbol}{number if number > 1 else ""}'
        for symbol, number in zip(anions, np.asarray(counts).tolist(), strict=True) if number
    ]  # fmt: skip
    return centre + ''.join(parts)


def _shares(tally: Counter[str]) -> dict[str, float]:
    return {name: number / tally.total() for name, number in tally.most_common()}


def _rate(events: IntArray, duration: float) -> Estimate:
    """Return events per ion and ps."""
    exposure = events.size * duration
    error = math.sqrt(max(int(events.sum()), 1)) / exposure
    if events.size > 1:
        error = max(error, float(events.std(ddof=1)) / math.sqrt(events.size) / duration)
    return Estimate(int(events.sum()) / exposure, error, int(events.size), 'counted events, or spread over ions')


def stay_durations(units: npt.ArrayLike, residence: int, spacing_ps: float) -> Array:
    """Return how long ions stay with a unit between two hops, ps; stays that the run cuts short are left out."""
    hops = find_hops(units, residence)
    same = hops.ions[1:] == hops.ions[:-1]
    return np.asarray(np.diff(hops.frames)[same] * spacing_ps, dtype=float)
