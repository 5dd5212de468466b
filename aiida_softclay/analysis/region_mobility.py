"""Mobility of the ions of different regions: grain boundaries against the bulk of the grains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .coordination import Estimate
from .displacement import MeanSquaredDisplacement, mean_squared_displacement
from .trajectory import IntArray, Trajectory, indices_of, n_frames_of, times_ps_of
from .transport import DEFAULT_WINDOW, Conductivity, Diffusion, nernst_einstein, self_diffusion


@dataclass(frozen=True)
class RegionMobility:
    """Mobility of one species by the region in which its ions started.

    Attributes
    ----------
    species : str
        Element.
    diffusion : dict of str to Diffusion
        By region.
    conductivity : dict of str to Conductivity
        What the ions of each region add to the Nernst–Einstein conductivity of the cell, mS/cm; they sum to that of
        the species.
    share : dict of str to Estimate
        Share of each region in it.
    ratio : Estimate
        Diffusivity in the first region over that in the last one (boundary over bulk).
    displacements : dict of str to MeanSquaredDisplacement
        By region.
    warnings : tuple of str
        What a careful reader must know.
    """

    species: str
    diffusion: dict[str, Diffusion]
    conductivity: dict[str, Conductivity]
    share: dict[str, Estimate]
    ratio: Estimate
    displacements: dict[str, MeanSquaredDisplacement]
    warnings: tuple[str, ...]


def regions_of(trajectory: Trajectory, species: str, at_boundary: npt.ArrayLike) -> dict[str, IntArray]:
    """Return the atoms of a species at the boundaries and in the bulk, as ``{'boundary': …, 'bulk': …}``.

    Parameters
    ----------
    trajectory : Trajectory
        Frames.
    species : str
        Element.
    at_boundary : array_like of bool, shape (n_atoms,)
        Whether each atom is at a boundary, as :func:`aiida_softclay.structures.grains.boundary_atoms` finds it.

    Raises
    ------
    ValueError
        If there is not one truth value for each atom, or a region holds none of the species.
    """
    mask = np.asarray(at_boundary)
    n_atoms = len(trajectory.atomic_numbers)
    if mask.dtype != bool or mask.shape != (n_atoms,):
        raise ValueError(
            f'the boundary must be a mask of the shape ({n_atoms},), it is {mask.dtype} of the shape {mask.shape}'
        )
    chosen = indices_of(trajectory, species)
    regions = {'boundary': chosen[mask[chosen]], 'bulk': chosen[~mask[chosen]]}
    empty = [name for name, members in regions.items() if not members.size]
    if empty:
        raise ValueError(f'there is no {species} in the {empty[0]}: choose another cutoff for the boundary')
    return regions


def region_mobility(
    trajectory: Trajectory,
    species: str,
    regions: Mapping[str, npt.ArrayLike],
    charge: float,
    *,
    volume: float,
    temperature: float,
    window_ps: tuple[float, float] | None = None,
    hop_length: float = 2.0,
) -> RegionMobility:
    r"""Return how mobile the ions of a species are that started in each region (yang2024, Figs. S21 and S22).

    Regions keep their ions for the whole run: an ion that diffuses from the boundary into the bulk counts for the
    boundary. The longer the window, the more alike the regions become.

    Parameters
    ----------
    trajectory : Trajectory
        Unwrapped frames.
    species : str
        Element.
    regions : mapping of str to array of int
        Indices of the atoms of the species by region, for example from :func:`regions_of`; each atom in one at most.
    charge : float
        Charge number z.
    volume : float
        Of the whole cell, Å³.
    temperature : float
        K.
    window_ps : (float, float), optional
        Lags of the fit; 10 % to 30 % of the run if not given.
    hop_length : float
        Length of a jump, Å, for the warning that ions of a region have not diffused.

    Raises
    ------
    ValueError
        If there are fewer than two regions, one is empty or holds other atoms, or they overlap.
    """
    if len(regions) < 2:
        raise ValueError('a comparison needs two regions at least')
    members = {name: np.asarray(given, dtype=np.int64) for name, given in regions.items()}
    together = np.concatenate(list(members.values()))
    if np.unique(together).size != together.size:
        raise ValueError('an atom is in two regions, or twice in one')
    if not np.isin(together, indices_of(trajectory, species)).all():
        raise ValueError(f'the regions hold atoms that are not {species}')
    times = times_ps_of(trajectory)
    duration = float(times[-1] - times[0]) if n_frames_of(trajectory) else 0.0
    window = window_ps or (DEFAULT_WINDOW[0] * duration, DEFAULT_WINDOW[1] * duration)
    displacements = mean_squared_displacement(trajectory, classes=members, max_lag_ps=max(window[1], duration / 2))
    diffusion = {name: self_diffusion(found, window, hop_length=hop_length) for name, found in displacements.items()}
    conductivity = {
        name: nernst_einstein(
            found, charge, n_ions=found.n_atoms, volume=volume, temperature=temperature
        )
        for name, found in diffusion.items()
    }  # fmt: skip
    warnings = [f'{name}: {text}' for name, found in diffusion.items() for text in found.warnings]
    values = np.array([part.conductivity for part in conductivity.values()])
    errors = np.array([part.conductivity_error for part in conductivity.values()])
    total = float(values.sum())
    share = {}
    for row, name in enumerate(conductivity):
        part = values[row] / total if total > 0 else math.nan
        # d(a / (a + b)): own error times the rest, and the errors of the rest times the own part.
        others = math.sqrt(float((np.delete(errors, row) ** 2).sum()))
        error = math.hypot((1 - part) * errors[row], part * others) / total if total > 0 else math.nan
        share[name] = Estimate(float(part), error, diffusion[name].n_samples, diffusion[name].error_method)
    if not total > 0:
        warnings.append(f'{species} does not diffuse in any region: shares mean nothing')
    first, *_, last = diffusion.values()
    return RegionMobility(
        species=species, diffusion=diffusion, conductivity=conductivity, share=share, ratio=_ratio(first, last),
        displacements=displacements, warnings=tuple(warnings),
    )  # fmt: skip


def _ratio(first: Diffusion, last: Diffusion) -> Estimate:
    samples = min(first.n_samples, last.n_samples)
    if last.diffusivity <= 0:
        return Estimate(math.inf if first.diffusivity > 0 else math.nan, math.nan, samples, 'no diffusion in the last')
    value = first.diffusivity / last.diffusivity
    errors = [found.diffusivity_error / last.diffusivity for found in (first, last)]
    return Estimate(value, math.hypot(errors[0], value * errors[1]), samples, 'errors of both diffusivities')
