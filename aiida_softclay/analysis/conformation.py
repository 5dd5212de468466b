"""Conformation of oxychloride oligomers: bending of Al–O–Al bridges and rotation of their terminal Cl."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .neighbours import neighbours, uses_minimum_image
from .trajectory import Array, IntArray, Trajectory, frame, indices_of, iter_frames, n_frames_of, times_ps_of

BoolArray = npt.NDArray[np.bool_]

#: Largest bond lengths, Å: Al–O of 1.7 and Al–Cl of 2.1 Å (you2025), and room for vibrations at 600 K.
CUTOFFS = (2.3, 2.9)


@dataclass(frozen=True)
class Bridges:
    """Anions that bridge two cations, and the terminal ligands of these.

    Attributes
    ----------
    anions : ndarray of int, shape (n_bridges,)
        Bridging atoms.
    ends : ndarray of int, shape (n_bridges, 2)
        The two cations of each.
    """

    anions: IntArray
    ends: IntArray


@dataclass(frozen=True)
class ConformationSeries:
    """Angles of all bridges over time.

    Attributes
    ----------
    bridges : Bridges
        The bridges of the first frame.
    times_ps : ndarray, shape (n_frames,)
        ps.
    bending : ndarray, shape (n_frames, n_bridges)
        Angle cation–anion–cation, degrees.
    dihedral : ndarray, shape (n_frames, n_bridges)
        Smallest dihedral angle of a terminal ligand of one end and one of the other, 0° (eclipsed) to 60° (staggered)
        for three ligands at either end; ``nan`` where an end has none.
    torsion : ndarray, shape (n_frames, n_bridges)
        Rotation of the ligands of one end against those of the other since the first frame, degrees, unwrapped: 120°
        is one step of a threefold rotor. From step to step, the mean over the pairs of ligands that stay bonded;
        ``nan`` from where on there are none. Frames must be close enough that no step reaches half a turn.
    intact : ndarray of bool, shape (n_frames, n_bridges)
        Whether both bonds of the bridge are there.
    """

    bridges: Bridges
    times_ps: Array
    bending: Array
    dihedral: Array
    torsion: Array
    intact: BoolArray


def find_bridges(
    trajectory: Trajectory, index: int = 0, *, cation: str = 'Al', anion: str = 'O', cutoff: float = CUTOFFS[0]
) -> Bridges:
    """Return the anions of a frame that are bonded to exactly two cations.

    Parameters
    ----------
    trajectory : Trajectory
        Frames.
    index : int
        Frame.
    cation, anion : str
        Elements.
    cutoff : float
        Largest bond length, Å.

    Raises
    ------
    ValueError
        If an element is absent, there is no bridge, or the cell is smaller than twice the cutoff.
    """
    cations, anions = indices_of(trajectory, cation), indices_of(trajectory, anion)
    positions, cell = frame(trajectory, index)
    first, second, _ = _bonds(positions, cell, anions, cations, cutoff)
    count = np.bincount(first, minlength=anions.size)
    bridging = np.flatnonzero(count == 2)
    if not bridging.size:
        raise ValueError(
            f'no {anion} is bonded to exactly two {cation} within {cutoff:g} Å: there are no bridges to follow'
        )
    order = np.lexsort((second, first))
    pairs = second[order][np.isin(first[order], bridging)].reshape(-1, 2)
    return Bridges(anions[bridging], cations[pairs])


def conformation_series(
    trajectory: Trajectory,
    frames: Iterable[int] | None = None,
    *,
    cation: str = 'Al',
    anion: str = 'O',
    ligand: str = 'Cl',
    cutoffs: tuple[float, float] = CUTOFFS,
) -> ConformationSeries:
    r"""Return bridge angles, dihedral angles and rotations of the terminal ligands over time.

    For a bridge A–O–B, :math:`\varphi` is the dihedral angle of the planes through A···B and a ligand of A, and through
    A···B and a ligand of B; ``dihedral`` is the smallest :math:`|\varphi|` over all combinations of ligands (you2025,
    Methods and Fig. 4d). Ligands are those bonded to one cation only, found anew in every frame.

    Parameters
    ----------
    trajectory : Trajectory
        Frames.
    frames : iterable of int, optional
        Frames to use; all if not given. The bridges are those of the first one.
    cation, anion, ligand : str
        Elements.
    cutoffs : (float, float)
        Largest lengths of cation–anion and cation–ligand bonds, Å.

    Raises
    ------
    ValueError
        If an element is absent, there is no bridge or no frame, or the cell is smaller than twice a cutoff.
    """
    chosen = list(range(n_frames_of(trajectory))) if frames is None else list(frames)
    if not chosen:
        raise ValueError('no frame was given')
    bridges = find_bridges(trajectory, chosen[0], cation=cation, anion=anion, cutoff=cutoffs[0])
    cations, ligands = indices_of(trajectory, cation), indices_of(trajectory, ligand)
    place = np.full(len(trajectory.atomic_numbers), -1)
    place[cations] = np.arange(cations.size)
    ends = place[bridges.ends]

    shape = (len(chosen), bridges.anions.size)
    bending, dihedral, intact = np.empty(shape), np.empty(shape), np.empty(shape, dtype=bool)
    torsion = np.zeros(shape)
    last_table, last_angles = np.empty((0, 0), dtype=np.int64), np.empty((0, 0, 0))
    for row, (_, positions, cell) in enumerate(iter_frames(trajectory, chosen)):
        arms = [_nearest(positions[bridges.ends[:, end]] - positions[bridges.anions], cell) for end in (0, 1)]
        lengths = [np.linalg.norm(arm, axis=1) for arm in arms]
        cosine = np.einsum('bi,bi->b', *arms) / (lengths[0] * lengths[1])
        bending[row] = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        intact[row] = (lengths[0] < cutoffs[0]) & (lengths[1] < cutoffs[0])
        axis = arms[1] - arms[0]

        table = _terminal_ligands(positions, cell, cations, ligands, cutoffs[1])
        angles = _dihedrals(positions, cell, axis, bridges.ends, table[ends[:, 0]], table[ends[:, 1]])
        smallest = np.where(np.isnan(angles), np.inf, np.abs(angles)).min(axis=(1, 2), initial=np.inf)
        dihedral[row] = np.where(np.isinf(smallest), np.nan, smallest)

        if row:
            # The ligands of the frame before, as far as they are still bonded to the same cation.
            gone = ~(last_table[:, :, None] == table[:, None, :]).any(axis=2)
            kept = np.where(gone, -1, last_table)
            now = _dihedrals(positions, cell, axis, bridges.ends, kept[ends[:, 0]], kept[ends[:, 1]])
            torsion[row] = torsion[row - 1] + _mean_step(now - last_angles)
        last_table, last_angles = table, angles
    return ConformationSeries(bridges, times_ps_of(trajectory)[chosen], bending, dihedral, torsion, intact)


def _nearest(vectors: Array, cell: Array) -> Array:
    """Return bond vectors to the nearest image; bonds are shorter than half of any height of the cell."""
    fractions = vectors @ np.linalg.inv(cell)
    return np.asarray((fractions - np.rint(fractions)) @ cell)


def _bonds(
    positions: Array, cell: Array, central: IntArray, around: IntArray, cutoff: float
) -> tuple[IntArray, IntArray, Array]:
    """Return the bonds from one set of atoms to another, numbered within these sets, and their lengths."""
    if not uses_minimum_image(cell, cutoff):
        raise ValueError(f'the cell is smaller than twice the bond length of {cutoff:g} Å: repeat it')
    found = neighbours(positions[np.concatenate([central, around])], cell, cutoff)
    wanted = (found.first < central.size) & (found.second >= central.size)
    return found.first[wanted], found.second[wanted] - central.size, found.distances[wanted]


def _terminal_ligands(positions: Array, cell: Array, cations: IntArray, ligands: IntArray, cutoff: float) -> IntArray:
    """Return the ligands bonded to each cation and to no other, shape (n_cations, most), filled up with -1."""
    first, second, _ = _bonds(positions, cell, cations, ligands, cutoff)
    terminal = np.bincount(second, minlength=ligands.size)[second] == 1
    first, second = first[terminal], second[terminal]
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    count = np.bincount(first, minlength=cations.size)
    column = np.arange(first.size) - np.repeat(np.cumsum(count) - count, count)
    table = np.full((cations.size, max(1, int(count.max(initial=0)))), -1)
    table[first, column] = ligands[second]
    return table


def _dihedrals(positions: Array, cell: Array, axis: Array, ends: IntArray, front: IntArray, back: IntArray) -> Array:
    """Return the signed dihedral angles of all pairs of ligands, degrees, shape (n_bridges, n_front, n_back)."""
    along = axis / np.linalg.norm(axis, axis=1, keepdims=True)

    def across(end: IntArray, table: IntArray) -> Array:
        vectors = _nearest(positions[table] - positions[end][:, None], cell)
        vectors = vectors - np.einsum('bli,bi->bl', vectors, along)[..., None] * along[:, None]
        vectors[table < 0] = np.nan
        return vectors

    one, other = across(ends[:, 0], front), across(ends[:, 1], back)
    cosine = np.einsum('bli,bmi->blm', one, other)
    sine = np.einsum('blmi,bi->blm', np.cross(one[:, :, None], other[:, None]), along)
    return np.degrees(np.arctan2(sine, cosine))


def _mean_step(steps: Array) -> Array:
    """Return the mean rotation over all pairs of ligands, to the nearest turn; ``nan`` where there is none."""
    shortest = (steps + 180.0) % 360.0 - 180.0
    number = (~np.isnan(shortest)).sum(axis=(1, 2))
    return np.where(number > 0, np.nansum(shortest, axis=(1, 2)) / np.maximum(number, 1), np.nan)
