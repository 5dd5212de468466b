"""Density maps of ions as a calcfunction, with cube files."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.density_map import PAPER_ISOVALUE, DensityMap, density_map, write_density_cube
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.trajectory import n_frames_of, select_frames
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.trajectory import MdTrajectoryData

#: Keys of the parameters that may be left out, with their defaults; lengths in Å, the isosurface in Å⁻³ (you2025).
DEFAULTS: dict[str, Any] = {
    'spacing': 0.3,
    'smoothing': 0.3,
    'isovalue': PAPER_ISOVALUE,
    'n_frames': 5000,
    'start_ps': 0.0,
    'context': {},
}

#: Volume changes beyond this say that fractions of the cell are no fixed places.
VOLUME_CHANGE = 0.02


@calcfunction
def analyse_density_map(trajectory: MdTrajectoryData, parameters: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return where the ions of some elements are found.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Production run.
    parameters : Dict
        ``species`` (elements), and optionally the keys of :data:`DEFAULTS`.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``cube_<element>`` (SinglefileData) for every element.
    """
    options = {**DEFAULTS, **parameters.get_dict()}
    try:
        species = options.get('species')
        if not species:
            raise ValueError('the parameters lack species, the elements that are to be mapped')
        quantities: list[Quantity] = []
        outputs: dict[str, orm.Data] = {}
        with trajectory.open_trajectory() as frames:
            times = (frames.steps[:] - frames.steps[0]) * frames.timestep_ps
            start = int((times < float(options['start_ps']) - 1e-9).sum())
            chosen = select_frames(n_frames_of(frames), int(options['n_frames']), start)
            for symbol in species:
                found = density_map(
                    frames, symbol, frames=chosen, spacing=float(options['spacing']),
                    smoothing=float(options['smoothing']),
                )  # fmt: skip
                quantities += _numbers(found, float(options['isovalue']), float(times[chosen[-1]] - times[chosen[0]]))
                outputs[f'cube_{symbol}'] = _cube(found)
        context = {
            'engine': engine_text(trajectory.engine), 'formula': trajectory.formula, 'stage': trajectory.stage,
            'n_atoms': trajectory.n_atoms, **options['context'],
        }  # fmt: skip
        return {'results': orm.Dict(results_dict(quantities, **context)), **outputs}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _cube(found: DensityMap) -> orm.SinglefileData:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'{found.species}.cube'
        write_density_cube(path, found)
        node = orm.SinglefileData(path, filename=path.name)
    node.base.attributes.set('units', {'density': 'Å^-3', 'lengths': 'bohr'})
    return node


def _numbers(found: DensityMap, isovalue: float, duration: float) -> list[Quantity]:
    share = found.volume_share(isovalue)
    conditions = {
        'isovalue_per_A3': isovalue, 'grid': list(found.density.shape), 'smoothing_A': found.smoothing,
        'n_ions': found.n_ions, 'duration_ps': duration,
    }  # fmt: skip
    warnings = []
    if found.volume_change > VOLUME_CHANGE:
        warnings.append(
            f'the volume of the cell changes by up to {100 * found.volume_change:.0f} %: places are fractions of it'
        )
    where = f'the probability density of {found.species} (integral 1) exceeds {isovalue:g} Å^-3'
    return [
        Quantity(
            name=f'isosurface_volume.{found.species}', value=share.value,
            error=share.error if math.isfinite(share.error) else None, unit='1',
            definition=f'share of the volume where {where} (you2025, Fig. 4b and c)', n_samples=share.n_samples,
            error_method=share.method, frames_used=found.n_frames, conditions=conditions, warnings=list(warnings),
        ),
        Quantity(
            name=f'channel_dimension.{found.species}', value=float(found.channel_dimension(isovalue)), error=None,
            unit='1', definition=f'independent directions in which connected space where {where} spans the cell',
            n_samples=1, error_method='none: a whole number', frames_used=found.n_frames, conditions=conditions,
            warnings=list(warnings),
        ),
    ]  # fmt: skip
