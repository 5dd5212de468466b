"""Non-affine displacements of a strain run, their zones, bands and chemistry as a calcfunction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.coordination import Estimate, change
from aiida_softclay.analysis.nonaffine import check_same_species
from aiida_softclay.analysis.nonaffine_series import (
    NonAffineSeries,
    non_affine_series,
    pairs_by_strain,
    pairs_by_time,
    strain_of,
)
from aiida_softclay.analysis.plasticity import (
    PlasticEnvironment,
    ZoneSeries,
    over_pairs,
    plastic_environment,
    zone_series,
)
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.trajectory import Trajectory, frame, indices_of, species_of, times_ps_of
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.trajectory import MdTrajectoryData

#: Keys of the parameters that may be left out, with their defaults: strain between the frames of a pair, radius of the
#: neighbourhood (Å), atoms that make zones (percentile of D²min), bond of a zone (Å), fewest atoms of a zone; for the
#: neighbours of the classes the central element, its partners, the strains (gupta2023, Fig. 2f: 0.09 to 0.14) and the
#: rule, ``maximum`` or ``percentile``.
DEFAULTS: dict[str, Any] = {
    'interval': 0.01,
    'cutoff': 5.0,
    'zone_percentile': 95.0,
    'zone_cutoff': 4.0,
    'zone_minimum_size': 5,
    'central': None,
    'partners': None,
    'strain_window': None,
    'class_rule': 'maximum',
    'context': {},
}

#: Pairs of frames whose positions are kept, for pictures of the cell: after each third of the strain.
MOST_SNAPSHOTS = 3

D2MIN = (
    'non-affine squared displacement min_F Σ_j |r_ij(t) − F r_ij(t−Δ)|² over the neighbours within {cutoff:g} Å, '
    'frames a strain of {interval:g} apart, averaged over {what} and pairs of frames (Falk and Langer 1998; gupta2023, '
    'Fig. 2)'
)


@calcfunction
def analyse_plasticity(
    trajectory: MdTrajectoryData, parameters: orm.Dict, reference: MdTrajectoryData | None = None
) -> dict[str, orm.Data] | ExitCode:
    """Return non-affine displacements, shear transformation zones and bands of a deformation.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        The deformation at constant rate.
    parameters : Dict
        ``component``; optionally ``central`` and ``partners`` (elements whose g(r) is wanted for the atoms of largest
        and smallest D²min) and the other keys of :data:`DEFAULTS`.
    reference : MdTrajectoryData, optional
        The same atoms at rest, for the thermal level of D²min, zones and bands over the same time.

    Returns
    -------
    dict
        ``results`` (Dict, results schema), ``curve`` (ArrayData: strain, mean D²min, zones and bands of each pair of
        frames) and ``atoms`` (ArrayData: D²min and local shear strain of every atom and pair, atomic numbers, and for
        snapshots the positions and cells at the end of a few pairs).
    """
    options = {**DEFAULTS, **parameters.get_dict()}
    try:
        with trajectory.open_trajectory() as frames:
            strain = strain_of(frames, options['component'])
            pairs = pairs_by_strain(strain, float(options['interval']))
            series = non_affine_series(frames, pairs, float(options['cutoff']), strain)
            zones = _zones(frames, series, options)
            environment = _environment(frames, series, options)
            elements = {symbol: indices_of(frames, symbol) for symbol in species_of(frames)}
            times = times_ps_of(frames)
            lag = float(np.mean(times[pairs[:, 1]] - times[pairs[:, 0]]))
            numbers = np.asarray(frames.atomic_numbers)
            snapshots = _snapshots(frames, series)
        thermal, zones_at_rest = None, None
        if reference is not None:
            with reference.open_trajectory() as frames:
                check_same_species(np.asarray(frames.atomic_numbers), numbers)
                rest = non_affine_series(frames, pairs_by_time(times_ps_of(frames), lag), float(options['cutoff']))
                zones_at_rest = _zones(frames, rest, options)
            thermal = rest.average()
        conditions = {
            'n_atoms': trajectory.n_atoms, 'component': options['component'], 'strain_interval': options['interval'],
            'cutoff_A': options['cutoff'], 'lag_ps': lag,
        }  # fmt: skip
        quantities = [
            *_displacement_numbers(series, elements, thermal, options, conditions),
            *_zone_numbers(zones, conditions),
            *([] if zones_at_rest is None else _zone_numbers(zones_at_rest, conditions, '.thermal')),
            *([] if environment is None else _environment_numbers(environment, conditions)),
        ]
        context = {
            'engine': engine_text(trajectory.engine), 'formula': trajectory.formula, 'stage': trajectory.stage,
            **conditions, 'strain_from': float(series.strain.min()), 'strain_to': float(series.strain.max()),
            **options['context'],
        }  # fmt: skip
        return {
            'results': orm.Dict(results_dict(quantities, **context)),
            'curve': _curve(series, zones, elements, environment),
            'atoms': _per_atom(series, numbers, snapshots),
        }
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _zones(frames: Trajectory, series: NonAffineSeries, options: dict[str, Any]) -> ZoneSeries:
    return zone_series(
        frames, series, percentile=float(options['zone_percentile']), cutoff=float(options['zone_cutoff']),
        minimum_size=int(options['zone_minimum_size']),
    )  # fmt: skip


def _environment(frames: Trajectory, series: NonAffineSeries, options: dict[str, Any]) -> PlasticEnvironment | None:
    if options['central'] is None:
        return None
    partners = options['partners'] or [symbol for symbol in species_of(frames) if symbol != options['central']]
    window = options['strain_window']
    rows = None if window is None else series.between(float(window[0]), float(window[1]))
    return plastic_environment(
        frames, series, options['central'], list(partners), rule=options['class_rule'], rows=rows
    )  # fmt: skip


def _number(
    name: str, estimate: Estimate, unit: str, definition: str, conditions: dict[str, Any], frames: int,
    warnings: list[str] | None = None,
) -> Quantity:  # fmt: skip
    return Quantity(
        name=name, value=estimate.value, error=estimate.error if math.isfinite(estimate.error) else None, unit=unit,
        definition=definition, n_samples=estimate.n_samples, error_method=estimate.method, frames_used=frames,
        conditions=dict(conditions), warnings=warnings or [],
    )  # fmt: skip


def _displacement_numbers(
    series: NonAffineSeries, elements: dict[str, np.ndarray], thermal: Estimate | None, options: dict[str, Any],
    conditions: dict[str, Any],
) -> list[Quantity]:  # fmt: skip
    n_frames = len(np.unique(series.pairs))
    text = {'cutoff': series.cutoff, 'interval': options['interval']}
    whole = series.average()
    found = [_number('d2min', whole, 'Å^2', D2MIN.format(what='all atoms', **text), conditions, n_frames)]
    found += [
        _number(
            f'd2min.{symbol}', series.average(atoms), 'Å^2', D2MIN.format(what=f'the {symbol} atoms', **text),
            conditions, n_frames,
        )
        for symbol, atoms in elements.items()
    ]  # fmt: skip
    if thermal is not None:
        found.append(
            _number(
                'd2min.thermal', thermal, 'Å^2',
                'the same at rest, over the same time: what thermal motion alone gives', conditions, n_frames,
            )
        )  # fmt: skip
        excess = change(thermal, whole)
        quiet = ['the deformation is not distinguished from thermal motion'] if excess.value < 2 * excess.error else []
        found.append(
            _number(
                'd2min.excess', excess, 'Å^2', 'mean D²min of the deformation less that at rest', conditions, n_frames,
                quiet,
            )
        )  # fmt: skip
    return found


def _zone_numbers(zones: ZoneSeries, conditions: dict[str, Any], suffix: str = '') -> list[Quantity]:
    at_rest = ', at rest' if suffix else ''
    n_pairs = len(zones.zones)
    largest = f'the {zones.share:g} % of the atoms with the largest D²min'
    layers = ('b-c', 'c-a', 'a-b')
    rows: list[tuple[str, list[float], str]] = [
        (
            'shear_zones.number', [len(found.zones) for found in zones.zones],
            f'clusters of at least {zones.zones[0].minimum_size} of {largest}, closer than {zones.zones[0].cutoff:g} Å',
        ),
        (
            'shear_zones.mean_size', [found.mean_size for found in zones.zones],
            f'atoms in the cluster of an atom, averaged over {largest}',
        ),
        (
            'shear_zones.clustering', [found.clustering for found in zones.zones],
            'mean size of a cluster over that of as many atoms taken at random',
        ),
        (
            'shear_band.spanning_share', [float(found.dimension >= 2) for found in zones.zones],
            'share of the pairs of frames in which a cluster meets its own periodic images along two directions',
        ),
        (
            'd2min.participation', [found.participation for found in zones.d2min],
            'participation ratio (Σ D²)² / (N Σ D⁴): 1 for a uniform deformation, 1/N for one atom',
        ),
        (
            'strain_localisation', [found.deviation for found in zones.strain],
            'standard deviation over the atoms of the von Mises invariant of the local Green–Lagrange strain',
        ),
    ]  # fmt: skip
    for axis, faces in enumerate(layers):
        rows.append(
            (
                f'shear_band.layering.{faces}', [float(found.layering[axis]) for found in zones.d2min],
                f'share of the variance of D²min that lies between ten layers parallel to the {faces} faces, corrected '
                'for chance: 1 for a band, 0 for no order',
            )
        )  # fmt: skip
        rows.append(
            (
                f'shear_band.half_thickness.{faces}', [float(found.half_share[axis]) for found in zones.d2min],
                f'thinnest slab parallel to the {faces} faces that holds half of the sum of D²min, as a share of the '
                'height: nearly 0.5 for a uniform deformation',
            )
        )  # fmt: skip
    return [
        _number(
            name + suffix, over_pairs(values), '1', f'{text}{at_rest}; mean over pairs of frames', conditions,
            n_pairs + 1,
        )
        for name, values, text in rows
    ]  # fmt: skip


def _environment_numbers(found: PlasticEnvironment, conditions: dict[str, Any]) -> list[Quantity]:
    quantities = []
    about = {**conditions, 'class_rule': found.rule, 'atoms_per_class': found.members}
    for (name, partner), estimate in found.coordination.items():
        cutoff = found.cutoffs[partner]
        warnings = [f'cutoff by {cutoff.method}'] if cutoff.method.startswith('fallback') else []
        if name != 'all' and estimate.n_samples < 20:
            warnings.append(f'the class of {name} D²min holds {estimate.n_samples} atoms only')
        if name != 'all' and found.left_out:
            warnings.append(f'{found.left_out} pairs of frames are left out: one of the classes is empty there')
        which = f'all {found.species}' if name == 'all' else f'the {found.species} of {name} D²min'
        quantities.append(
            Quantity(
                name=f'coordination.{found.species}-{partner}.{name}', value=estimate.value,
                error=estimate.error if math.isfinite(estimate.error) else None, unit='1',
                definition=f'mean number of {partner} within {cutoff.cutoff:.2f} Å of {which} (gupta2023, Fig. 2f)',
                n_samples=estimate.n_samples, error_method=estimate.method, window=found.strain_window,
                window_unit='1', conditions=about, warnings=warnings,
            )
        )  # fmt: skip
    return quantities


def _snapshots(frames: Trajectory, series: NonAffineSeries) -> dict[str, tuple[Any, str]]:
    """Return positions and cells at the ends of a few pairs of frames, and which pairs these are."""
    n_pairs = len(series.pairs)
    shares = np.arange(1, MOST_SNAPSHOTS + 1) / MOST_SNAPSHOTS
    chosen = np.unique(np.ceil(shares * n_pairs).astype(int) - 1)
    found = [frame(frames, int(series.pairs[row, 1])) for row in chosen]
    return {
        'snapshot_pairs': (chosen, '1'),
        'snapshot_strain': ([np.nan if series.strain is None else series.strain[row, 1] for row in chosen], '1'),
        'snapshot_positions': ([positions for positions, _ in found], 'Å'),
        'snapshot_cells': ([cell for _, cell in found], 'Å'),
    }


def _per_atom(series: NonAffineSeries, numbers: np.ndarray, snapshots: dict[str, tuple[Any, str]]) -> orm.ArrayData:
    node = columns_node(
        {'d2min': (series.d2min, 'Å^2'), 'shear_strain': (series.shear_strain, '1'), **snapshots}, np.float32
    )
    for name, values in (('atomic_numbers', numbers), ('snapshot_pairs', snapshots['snapshot_pairs'][0])):
        node.set_array(name, np.asarray(values).astype(np.int16 if name == 'atomic_numbers' else np.int32))
    node.base.attributes.set('units', {**node.base.attributes.get('units'), 'atomic_numbers': '1'})
    return node


def _curve(
    series: NonAffineSeries, zones: ZoneSeries, elements: dict[str, np.ndarray], environment: PlasticEnvironment | None
) -> orm.ArrayData:
    columns: dict[str, tuple[Any, str]] = {
        'strain': (series.strain, '1'),
        'd2min': (series.mean, 'Å^2'),
        'd2min_error': (series.mean_error, 'Å^2'),
        'd2min_largest': (series.d2min.max(axis=1), 'Å^2'),
        'shear_strain': (series.shear_strain.mean(axis=1), '1'),
        'zone_mean_size': ([found.mean_size for found in zones.zones], '1'),
        'zone_random_mean_size': ([found.random_mean_size for found in zones.zones], '1'),
        'zone_dimension': ([found.dimension for found in zones.zones], '1'),
        'layering': ([found.layering for found in zones.d2min], '1'),
        'layer_profiles': ([found.profiles for found in zones.d2min], 'Å^2'),
    }
    for symbol, atoms in elements.items():
        columns[f'd2min_{symbol}'] = (series.d2min[:, atoms].mean(axis=1), 'Å^2')
    if environment is not None:
        columns['radii'] = (environment.distribution.radii, 'Å')
        for row, (central, partner) in enumerate(environment.distribution.pairs):
            columns[f'g_{central}_{partner}'] = (environment.distribution.g[row], '1')
            columns[f'g_error_{central}_{partner}'] = (environment.distribution.g_error[row], '1')
    return columns_node(columns)
