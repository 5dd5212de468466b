"""How single ions move, as calcfunctions: fast and slow ones, hops between units, rotating anions, grain boundaries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.anion_rotation import RESIDENCE_PS as TURN_PS
from aiida_softclay.analysis.anion_rotation import ROTATION_ANGLE, AnionMotion, anion_motion
from aiida_softclay.analysis.class_rdf import RadialDistribution, class_radial_distribution
from aiida_softclay.analysis.coordination import Estimate
from aiida_softclay.analysis.displacement_classes import (
    BIN_WIDTH,
    MobilityClasses,
    class_coordination,
    displacement_distribution,
    mobility_classes,
)
from aiida_softclay.analysis.hops import RESIDENCE_PS, hop_statistics
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.region_mobility import RegionMobility, region_mobility, regions_of
from aiida_softclay.analysis.statistics import block_average
from aiida_softclay.analysis.trajectory import Trajectory, frame, n_frames_of, times_ps_of
from aiida_softclay.analysis.transport import DEFAULT_WINDOW
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed
from aiida_softclay.calcfunctions.transport import CONDUCTIVITY, DIFFUSIVITY
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.structures.grains import BOUNDARY_CUTOFF, boundary_atoms


@calcfunction
def analyse_mobility_classes(trajectory: MdTrajectoryData, parameters: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return the distribution of displacements of a species, and what surrounds its fast and its slow ions.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Production run.
    parameters : Dict
        ``species``, ``cutoffs`` (element of the neighbours to the bond length in Å), and optionally ``bin_width`` in
        Å, ``upper`` and ``lower`` (fractions of the largest displacement), ``n_frames`` (of the coordination),
        ``r_max`` in Å and ``rdf_frames`` (of g(r) of the classes), ``context``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema), ``curve`` (ArrayData: density of displacements, coordination over time, g(r)
        of each class with the class itself, the other one and each kind of neighbour; attributes ``class_limits`` in Å
        and ``class_members``) and ``classes`` (ArrayData: indices of the atoms ``fast`` and ``slow``).
    """
    options = parameters.get_dict()
    try:
        species = str(options['species'])
        cutoffs = {str(element): float(cutoff) for element, cutoff in options['cutoffs'].items()}
        with trajectory.open_trajectory() as frames:
            found = mobility_classes(
                frames, species, upper=float(options.get('upper', 0.9)), lower=float(options.get('lower', 0.1))
            )
            around = class_coordination(frames, found.members, cutoffs, int(options.get('n_frames', 100)))
            pairs = _class_pairs(
                frames, found, list(cutoffs), float(options.get('r_max', 8.0)), int(options.get('rdf_frames', 100))
            )
            context = _context(trajectory, frames, options)
        distribution = displacement_distribution(found.displacements, float(options.get('bin_width', BIN_WIDTH)))
        columns = {
            'displacement': (distribution.centres, 'Å'), 'density': (distribution.density, 'Å^-1'),
            'density_error': (distribution.density_error, 'Å^-1'),
        }  # fmt: skip
        rows = []
        for key, members in (('fast', found.classes.largest), ('slow', found.classes.smallest)):
            part = around[f'{species} {key}']
            columns |= {'time': (part.times_ps, 'ps'), f'coordination_{key}': (part.numbers, '1')}
            warnings = [] if members.size >= 5 else [f'the class holds {members.size} ions only']
            definition = f'mean coordination number of {species} {found.classes.rule} (yang2024, Fig. 5c)'
            rows.append(_number(f'coordination.{species}.{key}', part.mean, '1', definition, warnings))
            for element, mean in part.mean_by_neighbour.items():
                columns[f'coordination_{key}_{element}'] = (part.by_neighbour[element], '1')
                name = f'coordination.{species}.{key}.{element}'
                rows.append(_number(name, mean, '1', f'the same, of {element} only', warnings))
        columns['radii'] = (pairs.radii, 'Å')
        for row, (first, second) in enumerate(pairs.pairs):
            name = f'{first.rpartition(" ")[2]}_{second.rpartition(" ")[2]}'
            columns |= {f'g_{name}': (pairs.g[row], '1'), f'g_error_{name}': (pairs.g_error[row], '1')}
        curve = columns_node(columns, None)
        curve.base.attributes.set(
            'class_limits', {'fast': float(found.classes.upper), 'slow': float(found.classes.lower)}
        )
        curve.base.attributes.set(
            'class_members', {'fast': int(found.classes.largest.size), 'slow': int(found.classes.smallest.size)}
        )
        classes = orm.ArrayData()
        classes.set_array('fast', found.classes.largest)
        classes.set_array('slow', found.classes.smallest)
        return {'results': orm.Dict(results_dict(rows, **context)), 'curve': curve, 'classes': classes}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _class_pairs(
    frames: Trajectory, found: MobilityClasses, partners: list[str], r_max: float, n_frames: int
) -> RadialDistribution:
    """Return g(r) of both classes (yang2024, Fig. 5d and e); a class of one ion has no g(r) with itself."""
    fast, slow = found.members
    pairs = [(fast, slow), *((name, partner) for partner in partners for name in (fast, slow))]
    pairs = [(name, name) for name, ions in found.members.items() if ions.size > 1] + pairs
    return class_radial_distribution(
        frames, found.masks(len(frames.atomic_numbers)), pairs, r_max=r_max, n_frames=n_frames
    )


@calcfunction
def analyse_hops(trajectory: MdTrajectoryData, parameters: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return the shares and rates of hops along chains, between chains and from isolated units.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Production run.
    parameters : Dict
        ``bonds`` (anion to the bond length in Å), and optionally ``mobile`` (Li), ``centre`` (Al), ``residence_ps``,
        ``every`` (frames), ``context``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``hops`` (ArrayData: ion, frame, origin and destination of each).
    """
    options = parameters.get_dict()
    try:
        mobile, centre = str(options.get('mobile', 'Li')), str(options.get('centre', 'Al'))
        with trajectory.open_trajectory() as frames:
            found = hop_statistics(
                frames, _bonds(options, centre), mobile=mobile, centre=centre,
                residence_ps=float(options.get('residence_ps', RESIDENCE_PS)), every=int(options.get('every', 1)),
            )  # fmt: skip
            context = _context(trajectory, frames, options)
        warnings = list(found.warnings)
        meaning = f'lasting changes ({found.residence_ps:g} ps) of the nearest {centre} of {mobile} (qyang2025, Fig. 2)'
        rows = [
            _number(f'hop_share.{kind}', share, '1', f'share of {kind} ones among {meaning}', warnings)
            for kind, share in found.shares.items()
        ]
        rows += [
            _number(f'hop_rate.{kind}', rate, 'ps^-1', f'{meaning}: {kind}, per ion and time', warnings)
            for kind, rate in found.rates.items()
        ]
        context |= {'units_at_hops': found.site_shares, 'units': found.unit_shares}
        events = orm.ArrayData()
        for name in ('ions', 'frames', 'origins', 'destinations'):
            events.set_array(name, getattr(found.hops, name))
        return {'results': orm.Dict(results_dict(rows, **context)), 'hops': events}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


@calcfunction
def analyse_anion_motion(trajectory: MdTrajectoryData, parameters: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return how many anions rotate within their units and how many leave them.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Production run.
    parameters : Dict
        ``bonds`` (anion to the bond length in Å), and optionally ``anion`` (Cl), ``centre`` (Al), ``rotation_angle`` in
        degrees, ``residence_ps``, ``every`` (frames), ``context``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: displacement by turning and with the centre, and
        that of single anions).
    """
    options = parameters.get_dict()
    try:
        anion, centre = str(options.get('anion', 'Cl')), str(options.get('centre', 'Al'))
        angle = float(options.get('rotation_angle', ROTATION_ANGLE))
        with trajectory.open_trajectory() as frames:
            found = anion_motion(
                frames, _bonds(options, centre), anion=anion, centre=centre, rotation_angle=angle,
                residence_ps=float(options.get('residence_ps', TURN_PS)), every=int(options.get('every', 1)),
            )  # fmt: skip
            context = _context(trajectory, frames, options)
        warnings = list(found.warnings)
        whole = f'share of the {anion} bonded to {centre} (qyang2025, Fig. 2d)'
        rows = [
            _number(
                'anions.rotated', found.rotated, '1', f'{whole} whose bond turned by more than {angle:g}°', warnings
            ),
            _number('anions.migrated', found.migrated, '1', f'{whole} that changed their {centre} for good', warnings),
            _number('anions.resting', found.resting, '1', f'{whole} that did neither', warnings),
        ]
        rows += [
            _number(f'units.rotated.{name}', share, '1', f'share of {name} with a rotated {anion}', warnings)
            for name, share in found.rotated_per_unit.items()
        ]
        return {'results': orm.Dict(results_dict(rows, **context)), 'curve': _motion_curve(found)}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


@calcfunction
def analyse_boundary_mobility(
    trajectory: MdTrajectoryData, thermo: orm.ArrayData, grains: orm.ArrayData, parameters: orm.Dict
) -> dict[str, orm.Data] | ExitCode:
    """Return diffusivity and conductivity of the ions at grain boundaries and of those in the bulk.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Production run of a polycrystal, or of a clay of particles.
    thermo : ArrayData
        Its time series, for the temperature.
    grains : ArrayData
        ``grain``: number of the grain of every atom, in the order of the trajectory.
    parameters : Dict
        ``species``, ``charge``, and optionally ``cutoff`` in Å (of the boundary, in the first frame), ``window_share``,
        ``hop_length`` in Å, ``context``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: lag times and MSD in each region).
    """
    options = parameters.get_dict()
    try:
        species = str(options['species'])
        cutoff = float(options.get('cutoff', BOUNDARY_CUTOFF))
        share = [float(edge) for edge in options.get('window_share', DEFAULT_WINDOW)]
        temperature = block_average(thermo.get_array('temperature_K'))
        with trajectory.open_trajectory() as frames:
            duration = float(np.ptp(times_ps_of(frames)))
            mask = boundary_atoms(*frame(frames, 0), grains.get_array('grain'), cutoff)
            volume = float(np.abs(np.linalg.det(np.asarray(frames.cells[:], dtype=float))).mean())
            found = region_mobility(
                frames, species, regions_of(frames, species, mask), float(options['charge']), volume=volume,
                temperature=temperature.mean, window_ps=(share[0] * duration, share[1] * duration),
                hop_length=float(options.get('hop_length', 2.0)),
            )  # fmt: skip
            context = _context(trajectory, frames, options) | {'temperature_K': temperature.mean, 'volume_A3': volume}
        warnings = list(found.warnings)
        where = f'ions within {cutoff:g} Å of another grain in the first frame (boundary), and all others (bulk)'
        rows = []
        for region, part in found.diffusion.items():
            own = [text for text in warnings if text.startswith(region)]
            d = Estimate(part.diffusivity, part.diffusivity_error, part.n_samples, part.error_method)
            sigma = found.conductivity[region]
            s = Estimate(sigma.conductivity, sigma.conductivity_error, part.n_samples, part.error_method)
            rows += [
                replace(
                    _number(f'diffusivity.{species}.{region}', d, 'cm^2/s', f'{DIFFUSIVITY}; {where}', own),
                    window=part.window_ps,
                    window_unit='ps',
                ),
                _number(f'conductivity.{species}.{region}', s, 'mS/cm', f'{CONDUCTIVITY}; {where}', own),
                _number(
                    f'conductivity_share.{species}.{region}', found.share[region], '1', f'{where}: share', warnings
                ),
            ]
        rows.append(_number(f'diffusivity_ratio.{species}', found.ratio, '1', f'boundary over bulk; {where}', warnings))
        return {'results': orm.Dict(results_dict(rows, **context)), 'curve': _region_curve(found)}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _bonds(options: dict[str, Any], centre: str) -> dict[tuple[str, str], float]:
    return {(centre, str(anion)): float(length) for anion, length in options['bonds'].items()}


def _context(trajectory: MdTrajectoryData, frames: Trajectory, options: dict[str, Any]) -> dict[str, Any]:
    return {
        'engine': engine_text(trajectory.engine), 'formula': trajectory.formula, 'n_atoms': trajectory.n_atoms,
        'duration_ps': float(np.ptp(times_ps_of(frames))), 'n_frames': n_frames_of(frames),
        **options.get('context', {}),
    }  # fmt: skip


def _number(name: str, estimate: Estimate, unit: str, definition: str, warnings: list[str]) -> Quantity:
    if not np.isfinite(estimate.value) and not warnings:
        warnings = [f'it could not be determined: {estimate.method}']
    return Quantity(
        name=name, value=estimate.value, error=estimate.error, unit=unit, definition=definition,
        n_samples=estimate.n_samples, error_method=estimate.method, warnings=warnings,
    )  # fmt: skip


def _region_curve(found: RegionMobility) -> orm.ArrayData:
    """Return the mean squared displacements of the regions."""
    columns = {'lag_time': (next(iter(found.displacements.values())).lag_times, 'ps')}
    for region, part in found.displacements.items():
        columns |= {f'msd_{region}': (part.msd, 'Å^2'), f'msd_error_{region}': (part.msd_error, 'Å^2')}
    return columns_node(columns)


def _motion_curve(found: AnionMotion) -> orm.ArrayData:
    """Return the parts of the displacement of the anions that stayed."""
    columns = {
        'lag_time': (found.lag_times, 'ps'), 'msd': (found.total, 'Å^2'), 'msd_turning': (found.turning, 'Å^2'),
        'msd_carried': (found.carried, 'Å^2'), 'msd_mixed': (found.mixed, 'Å^2'),
        'orientation': (found.orientation, '1'), 'each_msd': (found.each, 'Å^2'), 'each_anion': (found.followed, '1'),
        'each_migrated': (found.followed_left, '1'), 'each_rotated': (found.followed_turned, '1'),
    }  # fmt: skip
    return columns_node(columns, None)
