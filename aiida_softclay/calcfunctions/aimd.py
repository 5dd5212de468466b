"""Ab initio MD over several runs: initial velocities, joined series, checked seams, and the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.statistics import block_average, linear_fit
from aiida_softclay.calculations.aimd_plan import AimdPlan
from aiida_softclay.calculations.vasp_inputs import thermal_velocities, vasp_order
from aiida_softclay.calculations.vasp_md import structure_kinds, structure_positions, structure_symbols

SEAMS_SCHEMA = 'softclay-seams/1'
#: vasprun.xml prints eight decimals of a direct coordinate: 1e-7 Å in a cell of 10 Å.
POSITION_TOLERANCE_A = 1e-4
#: A program may give velocities half a step apart from the positions, so the first temperature may differ a little.
TEMPERATURE_TOLERANCE = 0.1
TEMPERATURE_TOLERANCE_K = 10.0
#: Share of a hold that is left out of its averages while the thermostat settles.
SETTLING_SHARE = 0.2


@calcfunction
def draw_velocities(structure: orm.StructureData, parameters: orm.Dict) -> orm.ArrayData:
    """Return Maxwell–Boltzmann velocities for the sites of a structure.

    ``parameters``: ``temperature_K`` and ``seed``. The array ``velocities`` is in Å/fs.
    """
    values = parameters.get_dict()
    mass_of = {kind.name: kind.mass for kind in structure.kinds}
    masses = [mass_of[site.kind_name] for site in structure.sites]
    node = orm.ArrayData()
    node.set_array('velocities', thermal_velocities(masses, values['temperature_K'], values['seed']))
    node.base.attributes.set('units', {'velocities': 'Å/fs'})
    return node


@calcfunction
def in_order_of_vasp(structure: orm.StructureData) -> orm.StructureData:
    """Return ``structure`` with its sites grouped by kind, so that each kind has one potential in POTCAR."""
    grouped = structure.clone()
    grouped.clear_sites()
    sites = structure.sites
    for index in vasp_order(structure_kinds(structure)):
        grouped.append_site(sites[index])
    grouped.label = structure.label
    return grouped


@calcfunction
def in_order_of_sites(structure: orm.StructureData, relaxed: orm.StructureData) -> orm.StructureData:
    """Return ``structure`` with the cell and positions of ``relaxed``, whose atoms are in the order of VASP.

    Raises
    ------
    ValueError
        If the atoms are not the same.
    """
    kinds = structure_kinds(structure)
    order = vasp_order(kinds)
    symbols = structure_symbols(structure)
    if structure_symbols(relaxed) != [symbols[site] for site in order]:
        raise ValueError('the relaxed structure holds other atoms, or the same in another order')
    moved = structure.clone()
    moved.reset_cell(relaxed.cell)
    moved.reset_sites_positions(structure_positions(relaxed)[np.argsort(order)].tolist())
    moved.label = structure.label
    return moved


@calcfunction
def merge_series(**series: orm.ArrayData) -> orm.ArrayData:
    """Return the series of several runs as one, in the order of the sorted input names.

    Raises
    ------
    ValueError
        If the steps do not follow each other.
    """
    names = sorted(series)
    first = series[names[0]]
    merged = orm.ArrayData()
    for column in sorted(first.get_arraynames()):
        merged.set_array(column, np.concatenate([series[name].get_array(column) for name in names]))
    steps = merged.get_array('step')
    if np.any(np.diff(steps) < 1):
        raise ValueError('the runs overlap: their steps do not follow each other')
    merged.base.attributes.set('units', first.base.attributes.get('units'))
    return merged


def check_seams(statistics: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how each run began compared with how the one before it ended.

    Parameters
    ----------
    statistics : list of dict
        The ``statistics`` of the runs in order.

    Returns
    -------
    dict
        ``seams``: one entry for each run (the first compares with the structure and velocities that were given);
        ``continuous``: whether all of them are.
    """
    seams = []
    last_of: dict[Any, dict[str, Any]] = {}
    for index, run in enumerate(statistics):
        start = run['start']
        before = statistics[index - 1] if index else None
        steps_follow = before is None or before['first_step'] + before['steps_done'] == run['first_step']
        if run.get('start_from') is not None:
            before = last_of[run['start_from']]
        last_of[run['segment']] = run
        given, found = start['temperature_given_K'], start['temperature_K']
        same_temperature = (
            given is None
            or found is None
            or abs(found - given) <= max(TEMPERATURE_TOLERANCE * given, TEMPERATURE_TOLERANCE_K)
        )
        jump = None
        anew = bool(run.get('begins_anew'))
        if before is not None and not anew and None not in (start['energy_eV'], before['end']['energy_eV']):
            jump = 1000.0 * (start['energy_eV'] - before['end']['energy_eV']) / run['n_atoms']
        seams.append({
            'run': index,
            'segment': run['segment'],
            'first_step': run['first_step'],
            'position_difference_A': start['position_difference_A'],
            'cell_difference_A': start['cell_difference_A'],
            'temperature_given_K': given,
            'temperature_K': found,
            'energy_jump_meV_per_atom': jump,
            'steps_follow': steps_follow,
            'start_from': run.get('start_from'),
            'begins_anew': anew,
            'continuous': bool(
                start['position_difference_A'] <= POSITION_TOLERANCE_A
                and start['cell_difference_A'] <= POSITION_TOLERANCE_A
                and same_temperature
                and steps_follow
            ),
        })  # fmt: skip
    return {'schema': SEAMS_SCHEMA, 'seams': seams, 'continuous': all(seam['continuous'] for seam in seams)}


@calcfunction
def collect_seams(**statistics: orm.Dict) -> orm.Dict:
    """Return :func:`check_seams` of the runs, in the order of the sorted input names."""
    return orm.Dict(check_seams([statistics[name].get_dict() for name in sorted(statistics)]))


def summarise(plan: AimdPlan, columns: dict[str, np.ndarray], n_atoms: int) -> list[Quantity]:
    """Return the numbers of a plan that has run.

    Parameters
    ----------
    plan : AimdPlan
    columns : dict of ndarray, shape (n_steps,)
        The merged series.
    n_atoms : int

    Returns
    -------
    list of Quantity
        The mean temperature of each segment at constant temperature, and the energy drift of each one without a
        thermostat.
    """
    numbers = []
    for index, segment in enumerate(plan.segments):
        rows = columns['segment_index'] == index
        temperature = columns['temperature_K'][rows]
        conditions = {'n_atoms': n_atoms, 'ensemble': segment.ensemble, 'temperature_K': segment.temperature_K}
        if segment.ensemble == 'nve':
            numbers.append(_drift(segment.name, columns, rows, n_atoms, conditions))
        elif not segment.is_ramp:
            skipped = int(SETTLING_SHARE * len(temperature))
            numbers.append(_temperature(segment.name, temperature[skipped:], plan.timestep_fs, skipped, conditions))
    return numbers


def _temperature(
    name: str, temperature: np.ndarray, timestep: float, skipped: int, conditions: dict[str, Any]
) -> Quantity:
    definition = (
        'Mean kinetic temperature 2 E_kin / ((3N - 3) k_B) of the segment, without its first '
        f'{100 * SETTLING_SHARE:.0f} % in which the thermostat settles.'
    )
    known = temperature[np.isfinite(temperature)]
    if len(known) < 2:
        return Quantity(
            f'temperature.{name}', None, None, 'K', definition, len(known), conditions=conditions,
            warnings=['The output of the program gives no temperatures for this segment.'],
        )  # fmt: skip
    average = block_average(known)
    warnings = (
        [] if average.converged else ['The segment is too short for the error to reach a plateau: a lower bound.']
    )
    return Quantity(
        f'temperature.{name}', average.mean, average.error, 'K', definition, average.n_blocks,
        error_method='Flyvbjerg-Petersen blocking',
        window=(skipped * timestep, (skipped + len(temperature)) * timestep),
        window_unit='fs after the start of the segment', frames_used=len(known), conditions=conditions,
        warnings=warnings,
    )  # fmt: skip


def _drift(
    name: str, columns: dict[str, np.ndarray], rows: np.ndarray, n_atoms: int, conditions: dict[str, Any]
) -> Quantity:
    definition = 'Slope of a straight line through potential plus kinetic energy over time, for each atom.'
    energy = (columns['free_energy_eV'] + columns['kinetic_energy_eV'])[rows]
    time = columns['time_fs'][rows] / 1000.0
    known = np.isfinite(energy)
    if known.sum() < 3:
        return Quantity(
            f'energy_drift.{name}', None, None, 'meV/atom/ps', definition, int(known.sum()), conditions=conditions,
            warnings=['The segment has fewer than three steps with known energies.'],
        )  # fmt: skip
    fit = linear_fit(time[known], 1000.0 * energy[known] / n_atoms, correlated=True)
    return Quantity(
        f'energy_drift.{name}', fit.slope, fit.slope_error, 'meV/atom/ps', definition, int(fit.n_samples),
        error_method='scatter of the residuals, corrected for their correlation', frames_used=int(known.sum()),
        conditions=conditions,
    )  # fmt: skip


@calcfunction
def aimd_results(plan: orm.Dict, series: orm.ArrayData, **statistics: orm.Dict) -> orm.Dict:
    """Return the numbers of an AIMD plan in the results schema, with what was planned and what was done."""
    parsed = AimdPlan.from_dict(plan.get_dict())
    runs = [statistics[name].get_dict() for name in sorted(statistics)]
    columns = {name: series.get_array(name) for name in series.get_arraynames()}
    n_atoms = runs[0]['n_atoms']
    wall_times = [run['wall_time_s'] for run in runs if run['wall_time_s'] is not None]
    return orm.Dict(
        results_dict(
            summarise(parsed, columns, n_atoms),
            engine=runs[0]['program'],
            n_atoms=n_atoms,
            duration_ps=parsed.duration_ps,
            timestep_fs=parsed.timestep_fs,
            steps=sum(run['steps_done'] for run in runs),
            steps_planned=parsed.total_steps,
            frames=sum(run['n_frames'] for run in runs),
            frames_planned=parsed.n_frames,
            runs=len(runs),
            steps_not_converged=sum(run['steps_not_converged'] for run in runs),
            wall_time_s=sum(wall_times) if wall_times else None,
        )
    )
