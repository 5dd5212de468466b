"""Whether anions move by turning around the centre of their unit, or by leaving it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter1d

from .coordination import Estimate, cutoff_table, neighbour_counts
from .displacement import equal_spacing_ps, squared_displacements
from .hops import find_hops, nearest_units, unit_name
from .pair_kernel import pairs_within
from .time_origins import summed_squared_displacement
from .trajectory import (
    Array,
    IntArray,
    Trajectory,
    check_pairs,
    element_labels,
    frame,
    indices_of,
    iter_frames,
    masses_of,
    n_frames_of,
    species_of,
)

#: Angle by which a bond has turned when an anion has rotated, degrees: half of that between corners of a tetrahedron.
ROTATION_ANGLE = 55.0
#: How long a bond has to point elsewhere, or an anion be bonded elsewhere, ps.
RESIDENCE_PS = 1.0
#: Most anions whose own displacement is kept, drawn evenly from all: as many lines as a figure bears.
MOST_FOLLOWED = 200
#: Bytes of paths that are held at once; more anions take another pass through the trajectory.
HELD_BYTES = 256 * 2**20


@dataclass(frozen=True)
class AnionMotion:
    r"""How the anions of a run move.

    Attributes
    ----------
    anion, centre : str
        Elements.
    rotated, migrated, resting : Estimate
        Share of the anions that turned around their centre without ever leaving it, that changed their centre for
        good, and that did neither.
    rotated_per_unit : dict of str to Estimate
        Share of the units of each composition (``AlCl4``) in the first frame that hold a rotated anion.
    lag_times : ndarray, shape (n_lags,)
        ps.
    total, turning, carried : ndarray, shape (n_lags,)
        Mean squared displacement of the anions that never left their centre, that of their bonds (turning and
        stretching), and that of their centres, which carry them along, Å²: the first is the sum of the two and of twice
        ``mixed``.
    mixed : ndarray, shape (n_lags,)
        Mean product of the displacements of bond and centre, Å².
    orientation : ndarray, shape (n_lags,)
        :math:`\langle \hat u(t) \cdot \hat u(t + \tau) \rangle` of their bonds; 1 for none that turns.
    largest_angles : ndarray, shape (n_anions,)
        Largest angle from the first direction that lasted, degrees; ``nan`` for anions that migrated or had no centre.
    each : ndarray, shape (n_followed, n_lags)
        Mean squared displacement of single anions over all time origins, Å²: of all that were bonded, or of
        :data:`MOST_FOLLOWED` of them in equal steps (qyang2025, Fig. 3c).
    followed : ndarray of int, shape (n_followed,)
        Which anions these are, counted among the anions.
    followed_left, followed_turned : ndarray of bool, shape (n_followed,)
        Whether each of them migrated, and whether it rotated.
    n_anions : int
        Anions that were bonded in the first frame.
    warnings : tuple of str
        What a careful reader must know.
    """

    anion: str
    centre: str
    rotated: Estimate
    migrated: Estimate
    resting: Estimate
    rotated_per_unit: dict[str, Estimate]
    lag_times: Array
    total: Array
    turning: Array
    carried: Array
    mixed: Array
    orientation: Array
    largest_angles: Array
    each: Array
    followed: IntArray
    followed_left: npt.NDArray[np.bool_]
    followed_turned: npt.NDArray[np.bool_]
    n_anions: int
    warnings: tuple[str, ...]


def anion_motion(
    trajectory: Trajectory,
    bonds: Mapping[tuple[str, str], float],
    *,
    anion: str = 'Cl',
    centre: str = 'Al',
    rotation_angle: float = ROTATION_ANGLE,
    residence_ps: float = RESIDENCE_PS,
    every: int = 1,
) -> AnionMotion:
    r"""Return whether anions rotate within their units or migrate between them (qyang2025, Fig. 2d; dai2023).

    An anion belongs to its nearest centre within the bond length, and has migrated after a lasting change of it; a
    bridge that leans from one of its two centres to the other for longer than the residence counts as well. An anion
    that stayed has rotated if its bond :math:`\hat u` points more than ``rotation_angle`` away from its mean direction
    at the start for ``residence_ps`` without a break. The displacement of those that stayed is split exactly,

    .. math::
        |\Delta r|^2 = |\Delta r_\mathrm{centre}|^2 + |\Delta b|^2 + 2 \Delta r_\mathrm{centre} \cdot \Delta b,
        \quad b = r - r_\mathrm{centre}

    relative to the centre of mass of the whole system and over all time origins.

    Parameters
    ----------
    trajectory : Trajectory
        Unwrapped frames at equal distances in time.
    bonds : mapping of (str, str) to float
        Centre and anion to the distance (Å) below which they are bonded; that of ``anion`` and those that name units.
    anion, centre : str
        Elements.
    rotation_angle : float
        Degrees.
    residence_ps : float
        ps.
    every : int
        Take one frame of so many.

    Raises
    ------
    ValueError
        If an element or its bond is absent, no anion is bonded, or the frames are not equally spaced.
    """
    spacing = equal_spacing_ps(trajectory) * every
    check_pairs([*bonds, (centre, anion)], species_of(trajectory))
    if (centre, anion) not in bonds:
        raise ValueError(f'no length of the bond {centre}–{anion} was given')
    if not 0 < rotation_angle < 180 or not residence_ps >= 0:
        raise ValueError(f'nothing turns by {rotation_angle}° for {residence_ps} ps')
    residence = max(1, math.ceil(residence_ps / spacing - 1e-9))
    units = nearest_units(trajectory, anion, centre, bonds[centre, anion], every)
    if len(units) < max(4, 2 * residence):
        raise ValueError(f'{len(units)} frames every {spacing:g} ps are too few for stays of {residence_ps:g} ps')
    bonded = np.flatnonzero((units >= 0).any(axis=0))
    if not bonded.size:
        raise ValueError(f'no {anion} is within {bonds[centre, anion]:g} Å of a {centre}')
    home = np.array([units[np.flatnonzero(units[:, ion] >= 0)[0], ion] for ion in bonded])
    left = np.isin(bonded, find_hops(units, residence).ions)
    # An anion that ends without a centre has left it too, though it has not arrived anywhere.
    left |= (units[-residence:, bonded] < 0).all(axis=0)
    bridging = _bridging(trajectory, bonds, anion, bonded)

    stayed = np.flatnonzero(~left)
    turned = np.zeros(bonded.size, dtype=bool)
    largest = np.full(units.shape[1], np.nan)
    n_lags = max(2, len(units) // 2)
    # Anion, bond, centre and direction of the bond.
    moved = np.zeros((4, n_lags))
    step = max(1, HELD_BYTES // (len(units) * 3 * 8 * 4))
    for start in range(0, stayed.size, step):
        batch = stayed[start : start + step]
        vectors, carriers = _bond_vectors(trajectory, bonded[batch], home[batch], anion, centre, every)
        directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        angles = _lasting_angles(directions, residence)
        turned[batch] = angles > rotation_angle
        largest[bonded[batch]] = angles
        for row, paths in enumerate((vectors + carriers, vectors, carriers, directions)):
            centred = paths - paths.mean(axis=2, keepdims=True)
            moved[row] += summed_squared_displacement(centred, n_lags) / stayed.size
    total, turning, carried, orientation = moved
    chosen = np.unique(np.linspace(0, bonded.size - 1, min(bonded.size, MOST_FOLLOWED)).astype(int))
    each = squared_displacements(_paths(trajectory, bonded[chosen], anion, every), n_lags)
    warnings = []
    if not stayed.size:
        warnings.append(f'no {anion} stayed with its {centre}: there is no rotation to speak of')
        moved[:] = np.nan
    if bridging[left].any():
        warnings.append(
            f'{int(bridging[left].sum())} of the {int(left.sum())} {anion} that changed their {centre} were bridges, '
            'which only lean from one to the other'
        )
    return AnionMotion(
        anion=anion, centre=centre, rotated=_share(turned), migrated=_share(left), resting=_share(~turned & ~left),
        rotated_per_unit=_per_unit(trajectory, bonds, centre, home[turned]),
        lag_times=np.arange(n_lags, dtype=float) * spacing, total=total, turning=turning, carried=carried,
        mixed=(total - turning - carried) / 2,
        # |u(t) − u(t + τ)|² = 2 − 2 u(t) · u(t + τ)
        orientation=1 - orientation / 2, largest_angles=largest, each=each, followed=bonded[chosen],
        followed_left=left[chosen], followed_turned=turned[chosen], n_anions=int(bonded.size), warnings=tuple(warnings),
    )  # fmt: skip


def _bond_vectors(
    trajectory: Trajectory, ions: IntArray, home: IntArray, anion: str, centre: str, every: int
) -> tuple[Array, Array]:
    """Return bonds (n_ions, 3, n_frames) to the nearest image of the centre, and paths of the centres, Å."""
    anions, centres = indices_of(trajectory, anion)[ions], indices_of(trajectory, centre)[home]
    selected = range(0, n_frames_of(trajectory), every)
    weights = masses_of(trajectory)
    weights /= weights.sum()
    vectors, carriers = np.empty((2, ions.size, 3, len(selected)))
    for row, (_, positions, cell) in enumerate(iter_frames(trajectory, selected)):
        separation = positions[anions] - positions[centres]
        fractions = separation @ np.linalg.inv(cell)
        vectors[:, :, row] = (fractions - np.rint(fractions)) @ cell
        carriers[:, :, row] = positions[centres] - weights @ positions
    return vectors, carriers


def _paths(trajectory: Trajectory, ions: IntArray, anion: str, every: int) -> Array:
    """Return the paths of some of the anions relative to the centre of mass, shape (n_frames, n_ions, 3), Å."""
    atoms = indices_of(trajectory, anion)[ions]
    weights = masses_of(trajectory)
    weights /= weights.sum()
    selected = range(0, n_frames_of(trajectory), every)
    return np.array([positions[atoms] - weights @ positions for _, positions, _ in iter_frames(trajectory, selected)])


def _lasting_angles(directions: Array, residence: int) -> Array:
    """Return the largest angle from the mean first direction that no break of ``residence`` frames undercuts."""
    first = directions[:, :, :residence].mean(axis=2)
    first = first / np.linalg.norm(first, axis=1, keepdims=True)
    angles = np.degrees(np.arccos(np.clip(np.einsum('act,ac->at', directions, first), -1, 1)))
    lasting = minimum_filter1d(angles, residence, axis=1, mode='nearest')
    # Windows that reach beyond an end repeat its value: only whole ones count.
    before = residence // 2
    return np.asarray(lasting[:, before : angles.shape[1] - (residence - 1 - before)].max(axis=1))


def _bridging(trajectory: Trajectory, bonds: Mapping[tuple[str, str], float], anion: str, ions: IntArray) -> np.ndarray:
    """Return which of the anions have two centres in the first frame."""
    species = species_of(trajectory)
    labels = element_labels(trajectory)
    pairs = pairs_within(*frame(trajectory, 0), cutoff_table(bonds, species), labels)
    return neighbour_counts(pairs, labels, len(species))[indices_of(trajectory, anion)[ions]].sum(axis=1) > 1


def _per_unit(
    trajectory: Trajectory, bonds: Mapping[tuple[str, str], float], centre: str, rotating: IntArray
) -> dict[str, Estimate]:
    """Return the share of units of each composition with a rotated anion."""
    species = species_of(trajectory)
    labels = element_labels(trajectory)
    centres = indices_of(trajectory, centre)
    anions = [pair[1] for pair in bonds]
    pairs = pairs_within(*frame(trajectory, 0), cutoff_table(bonds, species), labels)
    counts = neighbour_counts(pairs, labels, len(species))[centres][:, [species.index(symbol) for symbol in anions]]
    names = np.array([unit_name(centre, anions, row) for row in counts])
    has_rotated = np.isin(np.arange(centres.size), rotating)
    return {str(name): _share(has_rotated[names == name]) for name in np.unique(names)}


def _share(members: np.ndarray) -> Estimate:
    """Return the share of true ones; none or all of them are uncertain by one."""
    share = float(members.mean())
    error = math.sqrt(max(share * (1 - share), 1 / members.size) / members.size)
    return Estimate(share, error, int(members.size), 'binomial')
