"""What happens where a glass gives way: zones and bands along a strain run, and the neighbours of the atoms in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .atom_classes import AtomClasses, EmptyClassError, classes_by_maximum, classes_by_percentile
from .class_rdf import RadialDistribution, class_radial_distribution
from .coordination import Estimate, coordination_numbers
from .nonaffine_series import NonAffineSeries
from .rdf import BondCutoff, bond_cutoffs, radial_distribution
from .shear_zones import Localisation, ShearZones, localisation, shear_zones
from .statistics import block_average
from .trajectory import Array, ArrayTrajectory, IntArray, Trajectory, frame, indices_of

#: Rules by which atoms are divided into classes.
RULES = {'maximum': classes_by_maximum, 'percentile': classes_by_percentile}


@dataclass(frozen=True)
class ZoneSeries:
    """Zones and localisation of every pair of frames of a series.

    Attributes
    ----------
    zones : tuple of ShearZones
        Zones of the atoms of largest D²min.
    d2min, strain : tuple of Localisation
        Localisation of D²min and of the von Mises strain.
    share : float
        Share of the atoms that were clustered, %.
    """

    zones: tuple[ShearZones, ...]
    d2min: tuple[Localisation, ...]
    strain: tuple[Localisation, ...]
    share: float


def zone_series(
    trajectory: Trajectory,
    series: NonAffineSeries,
    *,
    percentile: float = 95.0,
    cutoff: float = 4.0,
    minimum_size: int = 5,
) -> ZoneSeries:
    """Return the shear transformation zones and the localisation of every pair of frames, in its reference frame.

    Parameters
    ----------
    trajectory : Trajectory
        The frames that the series was made from.
    series : NonAffineSeries
        Non-affine displacements.
    percentile : float
        Atoms above it are clustered.
    cutoff, minimum_size : float, int
        See :func:`~aiida_softclay.analysis.shear_zones.shear_zones`.

    Raises
    ------
    EmptyClassError
        If all displacements of a pair are equal.
    ValueError
        If the cell is smaller than twice the cutoff.
    """
    zones, d2min, strain = [], [], []
    for row, (reference, _) in enumerate(series.pairs.tolist()):
        positions, cell = frame(trajectory, reference)
        largest = classes_by_percentile(series.d2min[row], upper=percentile, lower=min(50.0, percentile)).largest
        zones.append(shear_zones(positions, cell, largest, cutoff, minimum_size))
        d2min.append(localisation(series.d2min[row], positions, cell))
        strain.append(localisation(series.shear_strain[row], positions, cell))
    return ZoneSeries(tuple(zones), tuple(d2min), tuple(strain), 100.0 - percentile)


def over_pairs(values: Sequence[float] | npt.ArrayLike) -> Estimate:
    """Return the mean of one number for each pair of frames, with its block error."""
    average = block_average(values)
    method = 'block averages over pairs of frames' if average.n_blocks > 1 else 'single pair of frames'
    return Estimate(average.mean, average.error, average.n_blocks, method)


@dataclass(frozen=True)
class PlasticEnvironment:
    """Neighbours of the atoms of one element with the largest and the smallest non-affine displacement.

    Attributes
    ----------
    species : str
        Element of the central atoms.
    distribution : RadialDistribution
        g(r) of the pairs (``largest``, partner), (``smallest``, partner) and (species, partner).
    cutoffs : dict of str to BondCutoff
        Bond length to each partner, the same for all classes.
    coordination : dict of (str, str) to Estimate
        Mean number of neighbours by class (``largest``, ``smallest``, ``all``) and partner.
    members : dict of str to float
        Atoms of each class, averaged over the pairs of frames.
    rule : str
        How the classes were made.
    strain_window : (float, float) or None
        Strains of the frames.
    left_out : int
        Pairs of frames in which a class was empty.
    """

    species: str
    distribution: RadialDistribution
    cutoffs: dict[str, BondCutoff]
    coordination: dict[tuple[str, str], Estimate]
    members: dict[str, float]
    rule: str
    strain_window: tuple[float, float] | None
    left_out: int


def plastic_environment(
    trajectory: Trajectory,
    series: NonAffineSeries,
    species: str,
    partners: Sequence[str],
    *,
    rule: str = 'maximum',
    rows: IntArray | None = None,
    r_max: float = 8.0,
    bin_width: float = 0.05,
) -> PlasticEnvironment:
    """Return g(r) and coordination of the atoms of an element that rearrange most and least.

    As gupta2023 Fig. 2f: Ga with D²min above 90 % and below 10 % of the maximum, averaged over the strains 0.09–0.14.
    Classes are made anew for every pair of frames, among the atoms of the element; their neighbours are those of the
    reference frame, before the rearrangement. Errors of coordination numbers are those of the spread over atoms.

    Parameters
    ----------
    trajectory : Trajectory
        The frames that the series was made from.
    series : NonAffineSeries
        Non-affine displacements.
    species : str
        Element of the central atoms.
    partners : sequence of str
        Elements of the neighbours.
    rule : str
        ``maximum`` or ``percentile``.
    rows : ndarray of int, optional
        Pairs of frames, from ``series.between``; all if not given.
    r_max, bin_width : float
        Range and width of the bins of g(r), Å.

    Raises
    ------
    EmptyClassError
        If a class is empty in every pair of frames.
    ValueError
        If an element is absent or the rule is unknown.
    """
    if rule not in RULES:
        raise ValueError(f'the classes are made by {" or ".join(RULES)}, not by `{rule}`')
    atoms = indices_of(trajectory, species)
    chosen = np.arange(len(series.pairs)) if rows is None else rows
    n_pairs = len(chosen)
    chosen, classes = _classes(series, chosen, atoms, rule)
    n_atoms = series.d2min.shape[1]
    masks = {name: np.zeros((len(chosen), n_atoms), dtype=bool) for name in ('largest', 'smallest')}
    for row, found in enumerate(classes):
        masks['largest'][row, found.largest] = True
        masks['smallest'][row, found.smallest] = True
    references = [frame(trajectory, int(series.pairs[row, 0])) for row in chosen]
    window = ArrayTrajectory(
        np.array([positions for positions, _ in references]), np.array([cell for _, cell in references]),
        np.asarray(trajectory.atomic_numbers),
    )  # fmt: skip
    pairs = [(name, partner) for partner in partners for name in ('largest', 'smallest', species)]
    distribution = class_radial_distribution(
        window, masks, pairs, r_max=r_max, bin_width=bin_width, n_frames=None
    )  # fmt: skip
    bonds = [(species, partner) for partner in partners]
    found_cutoffs = bond_cutoffs([radial_distribution(window, bonds, r_max=r_max, bin_width=bin_width, n_frames=None)])
    cutoffs = {pair[1]: cutoff for pair, cutoff in found_cutoffs.items()}
    tables = coordination_numbers(window, {pair: cutoffs[pair[1]].cutoff for pair in bonds}, n_frames=None)
    coordination: dict[tuple[str, str], Estimate] = {}
    for pair, table in tables.items():
        for name, mask in masks.items():
            coordination[name, pair[1]] = _over_atoms(table.counts[mask[:, atoms]])
        coordination['all', pair[1]] = table.mean
    strain = None if series.strain is None else series.strain[chosen]
    return PlasticEnvironment(
        species=species, distribution=distribution, cutoffs=cutoffs, coordination=coordination,
        members={name: float(mask.sum(axis=1).mean()) for name, mask in masks.items()}, rule=classes[0].rule,
        strain_window=None if strain is None else (float(strain.min()), float(strain.max())),
        left_out=n_pairs - len(chosen),
    )  # fmt: skip


def _classes(series: NonAffineSeries, rows: IntArray, atoms: IntArray, rule: str) -> tuple[IntArray, list[AtomClasses]]:
    """Return the pairs of frames that have both classes, and these."""
    kept: list[int] = []
    classes: list[AtomClasses] = []
    for row in rows.tolist():
        try:
            classes.append(RULES[rule](series.d2min[row], atoms))
        except EmptyClassError:
            # Of few atoms it happens that none is below a tenth of the largest; the other pairs tell enough.
            if row == rows[-1] and not kept:
                raise
        else:
            kept.append(row)
    return np.array(kept), classes


def _over_atoms(counts: IntArray | Array) -> Estimate:
    number = counts.size
    error = float(np.std(counts, ddof=1) / math.sqrt(number)) if number > 1 else math.nan
    return Estimate(float(np.mean(counts)), error, number, 'spread over atoms')
