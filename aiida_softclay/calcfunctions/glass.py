"""The numbers of an equilibrated glass."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.statistics import block_average
from aiida_softclay.calcfunctions.equilibrium import (
    drift_notes,
    equilibrium_drifts,
    equilibrium_rows,
)
from aiida_softclay.structures.materials import parse_material
from aiida_softclay.structures.neighbours import heights, minimum_distance


@calcfunction
def summarise_glass(structure: orm.StructureData, thermo: orm.ArrayData, parameters: orm.Dict) -> orm.Dict:
    """Return density, energy, cell and composition of an equilibrated glass, with errors and drift warnings.

    Parameters
    ----------
    structure : StructureData
        The last snapshot.
    thermo : ArrayData
        Time series of the last stage at constant stress.
    parameters : Dict
        ``material`` (or ``mixture``; its text), ``temperature_K``, ``discard_fraction``, ``drift_tolerance``,
        ``context`` and, where molecules are named without their cations, ``cations``.

    Returns
    -------
    Dict
        Results schema.
    """
    options = parameters.get_dict()
    material = parse_material(options.get('material') or options['mixture'], options.get('cations') or 'Li')
    atoms = structure.get_ase()
    n_atoms = len(atoms)
    discard = float(options['discard_fraction'])
    rows = equilibrium_rows(thermo, discard)
    times = thermo.get_array('time_ps')[rows]
    duration = float(times[-1] - times[0])
    conditions = {
        'temperature_K': float(options['temperature_K']),
        'pressure_GPa': 0.0,
        'n_atoms': n_atoms,
        'duration_ps': duration,
    }
    drifts = equilibrium_drifts(thermo, n_atoms, discard, options.get('drift_tolerance'))
    notes = [f'only {len(times)} rows: too few to tell whether the glass still drifts'] if not drifts else []
    notes += drift_notes(drifts, duration)
    cells = thermo.get_array('cell')[rows]
    lengths = np.linalg.norm(cells, axis=2)
    series = [
        ('density', thermo.get_array('density_g_cm3')[rows], 'g/cm^3', 'mean mass over volume at zero stress'),
        (
            'potential_energy_per_atom', thermo.get_array('potential_energy_eV')[rows] / n_atoms, 'eV/atom',
            'mean potential energy over the number of atoms, zero as the potential defines it',
        ),
        ('volume', thermo.get_array('volume_A3')[rows], 'Å^3', 'mean volume of the cell at zero stress'),
        *[
            (f'cell_length.{axis}', lengths[:, index], 'Å', f'mean length of the lattice vector {axis}')
            for index, axis in enumerate('abc')
        ],
    ]  # fmt: skip
    quantities = [
        _averaged(name, values, unit, definition, times, conditions, notes) for name, values, unit, definition in series
    ]
    ratio = quantities[0]
    if rule := material.rule_density:
        quantities.append(
            Quantity(
                'density_ratio', (ratio.value or np.nan) / rule, None if ratio.error is None else ratio.error / rule,
                '1', f'density over that of the unmixed crystals, {rule:.4f} g/cm^3 by the rule of mixtures',
                ratio.n_samples, error_method=ratio.error_method, window=ratio.window, window_unit='ps',
                frames_used=ratio.frames_used, conditions=conditions, warnings=list(notes),
            )
        )  # fmt: skip
    units = material.units_of(atoms)
    quantities += [
        Quantity('n_atoms', float(n_atoms), 0.0, '1', 'number of atoms', 1, error_method='exact'),
        Quantity(
            'formula_units', None if units is None else float(units), 0.0, '1',
            f'whole smallest neutral samples of {material}, {material.atoms_per_unit} atoms each', 1,
            error_method='exact',
            warnings=[] if units is not None else [f'{atoms.get_chemical_formula()} is not on composition'],
        ),
        Quantity(
            'minimum_distance', minimum_distance(atoms), None, 'Å',
            'smallest distance between two atoms of the last snapshot', 1, conditions=conditions,
        ),
        Quantity(
            'minimum_cell_height', float(heights(atoms.cell[:]).min()), None, 'Å',
            'smallest distance between opposite faces of the cell of the last snapshot', 1, conditions=conditions,
        ),
    ]  # fmt: skip
    return orm.Dict(results_dict(quantities, **(options.get('context') or {}), mixture=material.name))


@calcfunction
def collect_energies(parameters: orm.Dict, **thermo: orm.ArrayData) -> orm.Dict:
    """Return the energies at 0 K of the relaxed glass and of the crystals, by the same potential.

    Parameters
    ----------
    parameters : Dict
        ``structures``: name of a run to ``formula`` and ``n_atoms``; the run ``glass`` is the last snapshot.
    thermo : ArrayData
        Time series of each relaxation, by name of the run.

    Returns
    -------
    Dict
        ``glass`` and ``references``: ``energy_eV``, ``n_atoms``, ``formula`` of each.

    Raises
    ------
    ValueError
        If a relaxation ended with an energy that is not finite.
    """
    about = parameters['structures']
    found = {}
    for name, node in thermo.items():
        energy = float(node.get_array('potential_energy_eV')[-1])
        if not np.isfinite(energy):
            raise ValueError(f'the energy of {name} is not finite')
        found[name] = {**about[name], 'energy_eV': energy}
    glass = found.pop('glass', None)
    return orm.Dict({'references': found, **({} if glass is None else {'glass': glass})})


def _averaged(
    name: str, values: np.ndarray, unit: str, definition: str, times: np.ndarray, conditions: dict, notes: list[str]
) -> Quantity:
    """Return the mean of a time series with the error of its blocks."""
    warnings = list(notes)
    finite = bool(np.isfinite(values).all())
    average = block_average(values) if finite and len(values) > 1 else None
    if average is None:
        warnings.append('no mean: the time series is not finite or has a single row')
    elif not average.converged:
        warnings.append('the error is a lower bound: the blocks are still correlated')
    return Quantity(
        name=name,
        value=None if average is None else average.mean,
        error=None if average is None else average.error,
        unit=unit,
        definition=definition,
        n_samples=0 if average is None else average.n_blocks,
        error_method='block averages (Flyvbjerg and Petersen 1989)',
        window=(float(times[0]), float(times[-1])),
        window_unit='ps',
        frames_used=len(values),
        conditions=conditions,
        warnings=warnings,
    )
