"""Strain from the cell and the response to stress pulses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .cell_choice import continuous_cells
from .statistics import BlockAverage, block_average, linear_fit, two_sided_average
from .trajectory import Array

COMPONENTS = ('xx', 'yy', 'zz', 'yz', 'xz', 'xy')
SHEAR_COMPONENTS = ('yz', 'xz', 'xy')

#: Row and column of the cell that hold the tilt of a shear component, and the height it is divided by.
_TILT = {'xy': (1, 0, 1), 'xz': (2, 0, 2), 'yz': (2, 1, 2)}
_LENGTH = {'xx': 0, 'yy': 1, 'zz': 2}

#: Boltzmann constant, eV/K, and eV/Å³ in GPa.
BOLTZMANN_EV = 8.617333262e-5
GPA = 160.21766208


def strain_from_cells(cells: npt.ArrayLike, component: str, reference: npt.ArrayLike | None = None) -> Array:
    r"""Return the engineering strain of a cell in LAMMPS orientation (a along x, b in the xy plane).

    .. math::
        \gamma_{xy} = \frac{b_x}{b_y}, \quad \gamma_{xz} = \frac{c_x}{c_z}, \quad \gamma_{yz} = \frac{c_y}{c_z}, \quad
        \varepsilon_{xx} = \frac{a_x}{a_x^0} - 1

    (tilt over height, less that of the reference), the measure of gupta2023 Fig. 1c and 2a. Where a program flipped
    the cell to an equivalent less tilted one, the flip is undone.

    Parameters
    ----------
    cells : array_like, shape (n_frames, 3, 3)
        Rows are the lattice vectors, Å.
    component : str
        ``xx``, ``yy``, ``zz``, ``yz``, ``xz`` or ``xy``.
    reference : array_like, shape (3, 3), optional
        Cell of zero strain; the first one if not given.

    Returns
    -------
    ndarray, shape (n_frames,)

    Raises
    ------
    ValueError
        If the component is unknown, the cells are not lower triangular, or a tilt jumps from frame to frame.
    """
    matrices = np.asarray(cells, dtype=float)
    if component not in COMPONENTS:
        raise ValueError(f'unknown component `{component}`: choose from {", ".join(COMPONENTS)}')
    if matrices.ndim != 3 or matrices.shape[1:] != (3, 3):
        raise ValueError(f'cells must have the shape (n_frames, 3, 3), not {matrices.shape}')
    origin = matrices[0] if reference is None else np.asarray(reference, dtype=float)
    everything = np.concatenate([origin[None], matrices])
    upper = np.abs(everything[:, [0, 0, 1], [1, 2, 2]]).max()
    if upper > 1e-6 * np.abs(everything).max():
        raise ValueError('the cells are not in LAMMPS orientation: rotate them so that a is along x and b in xy')
    if component in _LENGTH:
        axis = _LENGTH[component]
        return np.asarray(matrices[:, axis, axis] / origin[axis, axis] - 1.0)
    row, column, height = _TILT[component]
    # A flip changes the tilt by a whole lattice vector, far more than any output interval of a real deformation.
    allowed = max(0.4 * everything[:, column, column].min() / everything[:, height, height].max(), 0.1)
    tilt = everything[:, row, column] / everything[:, height, height]
    if np.abs(np.diff(tilt[1:])).max(initial=0.0) > allowed:
        matrices = continuous_cells(matrices)
        tilt[1:] = matrices[:, row, column] / matrices[:, height, height]
    if np.abs(np.diff(tilt[1:])).max(initial=0.0) > allowed:
        raise ValueError(
            f'the {component} tilt of the cell jumps by more than a flip explains: write frames oftener, or run with '
            '`flip no`'
        )
    return np.asarray(tilt[1:] - tilt[0])


@dataclass(frozen=True)
class FluctuationModulus:
    """Shear modulus from the thermal fluctuations of the strain at rest.

    Attributes
    ----------
    value, error : float
        GPa.
    strain_noise, strain_noise_error : float
        Standard deviation of the strain.
    n_samples : int
        Independent samples of the strain.
    warnings : tuple of str
        What a careful reader must know.
    """

    value: float
    error: float
    strain_noise: float
    strain_noise_error: float
    n_samples: int
    warnings: tuple[str, ...]


def fluctuation_modulus(strain: npt.ArrayLike, volume: float, temperature: float) -> FluctuationModulus:
    r"""Return the shear modulus that belongs to the thermal noise of the strain of a free cell.

    .. math:: G = \frac{k_B T}{V \langle (\gamma - \bar\gamma)^2 \rangle}

    by equipartition of the elastic energy :math:`V G \gamma^2 / 2` (Parrinello and Rahman, J. Chem. Phys. 76, 2662
    (1982)). A strain well below this noise cannot be told from it, whatever the stress.

    Parameters
    ----------
    strain : array_like, shape (n,)
        Engineering shear strain at zero stress and constant temperature, all components of the cell free.
    volume : float
        Mean volume, Å³.
    temperature : float
        Mean temperature, K.

    Raises
    ------
    ValueError
        If the strain does not fluctuate, there are fewer than eight samples, or volume or temperature is not positive.
    """
    series = np.asarray(strain, dtype=float)
    if volume <= 0 or temperature <= 0:
        raise ValueError(f'volume ({volume} Å³) and temperature ({temperature} K) must be positive')
    if series.size < 8 or not series.std() > 0:
        raise ValueError('a modulus from fluctuations needs eight samples at least, of a cell that is free to shear')
    correlation = block_average(series)
    n_samples = series.size / correlation.statistical_inefficiency
    # The mean takes one degree of freedom of the independent samples.
    variance = float(series.var()) * n_samples / max(n_samples - 1, 0.5)
    relative = math.sqrt(2 / max(n_samples - 1, 0.5))
    warnings = []
    if n_samples < 20:
        warnings.append(f'the strain at rest holds {n_samples:.0f} independent samples only: its noise is uncertain')
    value = BOLTZMANN_EV * temperature / (volume * variance) * GPA
    return FluctuationModulus(
        value=value, error=value * relative, strain_noise=math.sqrt(variance),
        strain_noise_error=0.5 * math.sqrt(variance) * relative, n_samples=max(1, int(n_samples)),
        warnings=tuple(warnings),
    )  # fmt: skip


BELOW_NOISE = (
    'the strain under load ({:.2g}) is below the thermal noise of the strain ({:.2g}): use a larger cell or stress'
)


@dataclass(frozen=True)
class PulseStage:
    """One stage of a stress-pulse experiment.

    Attributes
    ----------
    name : str
        Name of the stage.
    kind : str
        ``reference`` (before the first pulse), ``on`` or ``off``.
    cycle : int
        Number of the cycle from 1; 0 for the reference.
    start, stop : int
        Rows of the series that belong to the stage (``stop`` excluded).
    applied_stress : float
        Target stress of the component, GPa.
    """

    name: str
    kind: str
    cycle: int
    start: int
    stop: int
    applied_stress: float


@dataclass(frozen=True)
class WindowMean:
    """Mean over the last part of a stage, relative to the mean before the first pulse.

    Attributes
    ----------
    stage : PulseStage
        The stage.
    value, error : float
        Difference of the means and its standard error, both blocked.
    deviation : float
        Standard deviation of single samples in the window.
    window_ps : (float, float)
        Times of the window.
    n_samples : int
        Fewest blocks behind either mean.
    converged : bool
        Whether both block errors reached a plateau.
    warnings : tuple of str
        What a careful reader must know.
    """

    stage: PulseStage
    value: float
    error: float
    deviation: float
    window_ps: tuple[float, float]
    n_samples: int
    converged: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class StressPulse:
    """Response of a cell to cycles of stress.

    Attributes
    ----------
    times : ndarray, shape (n,)
        ps.
    strain, stress, energy : ndarray, shape (n,)
        γ relative to the reference, stress (GPa), potential energy relative to the reference (meV/atom).
    mean_strain, mean_stress, mean_energy : ndarray, shape (n,)
        The same, averaged over [t − Δt, t + Δt] within the whole run.
    applied_stress : ndarray, shape (n,)
        Target of the barostat, GPa.
    residual_strains : tuple of WindowMean
        Strain left at the end of each release.
    loaded_strains : tuple of WindowMean
        Strain at the end of each loading.
    energy_changes : tuple of WindowMean
        Change of the potential energy at the end of each release, meV/atom.
    thermal_strain_noise : float
        Standard deviation of the strain at zero stress before the first pulse.
    half_width_ps : float
        Δt of the averages.
    """

    times: Array
    strain: Array
    stress: Array
    energy: Array
    mean_strain: Array
    mean_stress: Array
    mean_energy: Array
    applied_stress: Array
    residual_strains: tuple[WindowMean, ...]
    loaded_strains: tuple[WindowMean, ...]
    energy_changes: tuple[WindowMean, ...]
    thermal_strain_noise: float
    half_width_ps: float


def _tail(stage: PulseStage, share: float) -> slice:
    length = stage.stop - stage.start
    return slice(stage.stop - max(2, round(length * share)), stage.stop)


def _window_warnings(what: str, value: float, error: float, converged: bool) -> list[str]:
    warnings = []
    if abs(value) < 2 * error:
        warnings.append(f'the change of the {what} is not distinguished from zero')
    if not converged:
        warnings.append(f'the stages are too short for the fluctuations of the {what}: the error is a lower bound')
    return warnings


def _drift_warnings(what: str, times: Array, series: Array, error: float) -> list[str]:
    """Return a sentence if a mean was taken over a series that still changes by more than its error."""
    line = linear_fit(times, series, correlated=True)
    drift = line.slope * (times[-1] - times[0])
    if abs(line.slope) > 3 * line.slope_error and abs(drift) > error:
        return [f'{what} still changes by {drift:.2g} within the averaged window']
    return []


def analyse_stress_pulse(
    times: npt.ArrayLike,
    strain: npt.ArrayLike,
    stress: npt.ArrayLike,
    energy_per_atom: npt.ArrayLike,
    stages: Sequence[PulseStage],
    *,
    half_width_ps: float = 5.0,
    tail_share: float = 0.5,
) -> StressPulse:
    r"""Return strain, stress and energy of a stress-pulse experiment and the residual strains.

    Every quantity is replaced by its mean over :math:`[t-\Delta t, t+\Delta t]` for the curves (gupta2023, Methods,
    5 ps). The residual strain of a release is the mean strain over its last part less the mean over the last part of
    the reference stage at zero stress; errors are block errors added in quadrature.

    Parameters
    ----------
    times : array_like, shape (n,)
        ps, increasing over all stages.
    strain : array_like, shape (n,)
        Engineering strain relative to any common reference.
    stress : array_like, shape (n,)
        The stress component, GPa, tension positive.
    energy_per_atom : array_like, shape (n,)
        Potential energy, eV/atom.
    stages : sequence of PulseStage
        Rows of each stage; the first is the ``reference``.
    half_width_ps : float
        Δt.
    tail_share : float
        Share of a stage, from its end, over which means are taken.

    Raises
    ------
    ValueError
        If there is no reference stage, or a stage holds fewer than four samples.
    """
    t, gamma, sigma = (np.asarray(values, dtype=float) for values in (times, strain, stress))
    energy = np.asarray(energy_per_atom, dtype=float) * 1e3
    references = [stage for stage in stages if stage.kind == 'reference']
    if not references:
        raise ValueError('there is no stage at zero stress before the first pulse to compare with')
    for stage in stages:
        if stage.stop - stage.start < 4:
            raise ValueError(
                f'stage {stage.name} holds {stage.stop - stage.start} samples: write thermo output oftener'
            )
    base = _tail(references[-1], tail_share)
    zero_strain, zero_energy = block_average(gamma[base]), block_average(energy[base])

    def window_mean(series: Array, stage: PulseStage, zero: BlockAverage, what: str) -> WindowMean:
        rows = _tail(stage, tail_share)
        average = block_average(series[rows])
        value, error = average.mean - zero.mean, math.hypot(average.error, zero.error)
        converged = average.converged and zero.converged
        return WindowMean(
            stage=stage, value=value, error=error, deviation=average.standard_deviation,
            window_ps=(float(t[rows][0]), float(t[rows][-1])), n_samples=min(average.n_blocks, zero.n_blocks),
            converged=converged,
            warnings=(
                *_window_warnings(what, value, error, converged),
                *_drift_warnings(f'the {what} before the first pulse', t[base], series[base], error),
                *_drift_warnings(f'the {what} at the end of {stage.name}', t[rows], series[rows], error),
            ),
        )  # fmt: skip

    noise = zero_strain.standard_deviation
    under_load = tuple(window_mean(gamma, stage, zero_strain, 'strain') for stage in stages if stage.kind == 'on')
    under_load = tuple(
        replace(result, warnings=(*result.warnings, BELOW_NOISE.format(result.value, noise)))
        if abs(result.value) < noise
        else result
        for result in under_load
    )
    released = [stage for stage in stages if stage.kind == 'off']
    residual = tuple(window_mean(gamma, stage, zero_strain, 'strain') for stage in released)
    energies = tuple(window_mean(energy, stage, zero_energy, 'energy') for stage in released)
    applied = np.zeros_like(t)
    for stage in stages:
        applied[stage.start : stage.stop] = stage.applied_stress
    width = half_width_ps
    return StressPulse(
        times=t, strain=gamma - zero_strain.mean, stress=sigma, energy=energy - zero_energy.mean,
        mean_strain=two_sided_average(t, gamma - zero_strain.mean, width),
        mean_stress=two_sided_average(t, sigma, width),
        mean_energy=two_sided_average(t, energy - zero_energy.mean, width), applied_stress=applied,
        residual_strains=residual, loaded_strains=under_load, energy_changes=energies, thermal_strain_noise=noise,
        half_width_ps=width,
    )  # fmt: skip
