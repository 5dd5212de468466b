"""Bending and rotation of oxychloride oligomers as a calcfunction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.conformation import CUTOFFS, ConformationSeries, conformation_series
from aiida_softclay.analysis.coordination import Estimate
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.rotation_statistics import LIMITS, MIDDLE, RotationStatistics, rotation_statistics
from aiida_softclay.analysis.trajectory import n_frames_of
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.trajectory import MdTrajectoryData

#: Keys of the parameters that may be left out, with their defaults; bond lengths in Å, the filter in THz (you2025), and
#: the number of frames that is not exceeded (every second, third… frame is taken instead).
DEFAULTS: dict[str, Any] = {
    'cation': 'Al',
    'anion': 'O',
    'ligand': 'Cl',
    'cutoffs': CUTOFFS,
    'cutoff_thz': 1.0,
    'most_frames': 5000,
    'context': {},
}


@calcfunction
def analyse_conformation(trajectory: MdTrajectoryData, parameters: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return bridge angles, dihedral angles of the terminal ligands, and how often they rotate.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Run of a glass of oligomers.
    parameters : Dict
        Keys of :data:`DEFAULTS`, all of which may be left out.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: angles of every bridge over time, as they are and
        filtered).
    """
    options = {**DEFAULTS, **parameters.get_dict()}
    try:
        with trajectory.open_trajectory() as frames:
            stride = max(1, math.ceil(n_frames_of(frames) / int(options['most_frames'])))
            series = conformation_series(
                frames, range(0, n_frames_of(frames), stride), cation=options['cation'], anion=options['anion'],
                ligand=options['ligand'], cutoffs=tuple(float(cutoff) for cutoff in options['cutoffs']),
            )  # fmt: skip
        found = rotation_statistics(series, float(options['cutoff_thz']))
        conditions = {
            'n_atoms': trajectory.n_atoms, 'n_bridges': int(series.bridges.anions.size),
            'n_followed': int(found.followed.size), 'duration_ps': float(np.ptp(series.times_ps)),
            'frame_spacing_ps': float(series.times_ps[1] - series.times_ps[0]),
        }  # fmt: skip
        context = {
            'engine': engine_text(trajectory.engine), 'formula': trajectory.formula, 'stage': trajectory.stage,
            **conditions, **options['context'],
        }  # fmt: skip
        quantities = _numbers(series, found, options, conditions)
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': _curve(series, found)}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _numbers(
    series: ConformationSeries, found: RotationStatistics, options: dict[str, Any], conditions: dict[str, Any]
) -> list[Quantity]:
    cation, anion, ligand = options['cation'], options['anion'], options['ligand']
    bridge = f'{cation}–{anion}–{cation}'
    filtered = f'low-pass filtered at {found.cutoff_thz:g} THz'
    warnings = []
    if found.lasting_share.value < 1:
        warnings.append(f'{100 * (1 - found.lasting_share.value):.0f} % of the bridges break and are left out')
    rows: list[tuple[str, Estimate, str, str]] = [
        ('bridge_angle', found.bending, 'degree', f'mean angle {bridge}'),
        (
            'bridge_angle.deviation', found.bending_deviation, 'degree',
            f'standard deviation in time of the angle {bridge}, averaged over the bridges',
        ),
        (
            'dihedral', found.dihedral, 'degree',
            f'mean of the smallest dihedral angle {ligand}–{cation}···{cation}–{ligand} over the combinations of '
            'terminal ligands of a bridge, 0 eclipsed and 60 staggered (you2025, Fig. 4d)',
        ),
        (
            'eclipsed_share', found.eclipsed_share, '1',
            f'share of time that the smallest dihedral angle, {filtered}, is below {MIDDLE:g}°',
        ),
        (
            'transition_rate', found.transition_rate, '1/ps',
            f'changes of the smallest dihedral angle, {filtered}, from below {LIMITS[0]:g}° to above {LIMITS[1]:g}° or '
            'back, per bridge and time (you2025, Fig. 4e)',
        ),
        (
            'rotation_rate', found.rotation_rate, '1/ps',
            f'steps of 120° of the ligands of one {cation} against those of the other, {filtered}, per bridge and time',
        ),
        ('bridges_lasting', found.lasting_share, '1', f'share of the bridges {bridge} of the first frame that last'),
    ]  # fmt: skip
    return [
        Quantity(
            name=name, value=estimate.value, error=estimate.error if math.isfinite(estimate.error) else None, unit=unit,
            definition=definition, n_samples=estimate.n_samples, error_method=estimate.method,
            frames_used=int(series.times_ps.size), conditions=dict(conditions), warnings=list(warnings),
        )
        for name, estimate, unit, definition in rows
    ]  # fmt: skip


def _curve(series: ConformationSeries, found: RotationStatistics) -> orm.ArrayData:
    columns = {
        'time': (series.times_ps, 'ps'),
        'bridge_angle': (series.bending, 'degree'),
        'dihedral': (series.dihedral, 'degree'),
        'dihedral_filtered': (found.filtered, 'degree'),
        'torsion': (series.torsion, 'degree'),
        'bridging_atom': (series.bridges.anions, '1'),
        'followed': (found.followed, '1'),
    }
    return columns_node(columns, None)
