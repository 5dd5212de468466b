"""Structures with provenance: crystals, slabs, random mixtures, particle assemblies, and the numbers of a glass."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.statistics import block_average
from aiida_softclay.calcfunctions.equilibrium import (
    drift_notes,
    equilibrium_drifts,
    equilibrium_rows,
)
from aiida_softclay.structures.assembly import assemble_particles
from aiida_softclay.structures.building import (
    choose_options,
    make_crystal,
    make_melt,
    make_oligomers,
    make_slab,
    make_substitution,
)
from aiida_softclay.structures.checks import composition_units
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import phase
from aiida_softclay.structures.neighbours import heights, minimum_distance


def to_structure(atoms: Atoms, label: str) -> orm.StructureData:
    """Return atoms as a node with one kind for each element."""
    plain = Atoms(atoms.get_chemical_symbols(), positions=atoms.get_positions(), cell=atoms.cell[:], pbc=True)
    node = orm.StructureData(ase=plain)
    node.label = label
    return node


@calcfunction
def build_crystal(parameters: orm.Dict) -> orm.StructureData:
    """Return a crystal, or the smallest supercell of it that is wide enough.

    Parameters
    ----------
    parameters : Dict
        ``crystal`` (id or formula), and optionally ``min_length`` (Å), ``max_atoms``, ``diagonal`` (only multiples of
        the conventional vectors).
    """
    atoms, report = make_crystal(parameters.get_dict())
    entry = phase(report['crystal'])
    node = to_structure(atoms, entry.id)
    node.description = f'{entry.name or entry.id}; {entry.source}; coordinates: {entry.coordinates_source}'
    return node


@calcfunction
def build_slab(parameters: orm.Dict) -> dict[str, orm.Data]:
    """Return a multilayer slab of two salts, [001] on [001], and the report of how it was made.

    Parameters
    ----------
    parameters : Dict
        ``mixture``, and optionally ``n_atoms``, ``min_length`` (Å), ``max_atoms``, ``thickness`` (Å), ``max_strain``,
        ``density_fraction``, ``plane_cells``; see :func:`aiida_softclay.structures.slabs.interface_slab`.
    """
    atoms, report = make_slab(parameters.get_dict())
    return {'structure': to_structure(atoms, f'slab of {report["mixture"]}'), 'report': orm.Dict(report)}


@calcfunction
def build_random_mixture(parameters: orm.Dict) -> dict[str, orm.Data]:
    """Return ions packed at random in a cubic cell, and the report of it.

    Parameters
    ----------
    parameters : Dict
        ``mixture`` and ``n_formula_units`` or ``min_length`` (Å, smallest cell edge), and optionally ``density``
        (g/cm³; the rule of mixtures if not given), ``seed``, ``contact_scale``.
    """
    atoms, report = make_melt(parameters.get_dict())
    return {'structure': to_structure(atoms, f'random {report["mixture"]}'), 'report': orm.Dict(report)}


@calcfunction
def build_oligomer_glass(parameters: orm.Dict) -> dict[str, orm.Data]:
    """Return oxychloride molecules packed with their cations, the report of it, and which atom is of which molecule.

    Parameters
    ----------
    parameters : Dict
        Optionally ``anion`` (for example ``Al3O2Cl8``), ``cation``, ``n_molecules``, ``density`` (g/cm³), ``seed``,
        ``repeat``; see :func:`aiida_softclay.structures.oligomers.oligomer_glass`.
    """
    atoms, report = make_oligomers(parameters.get_dict())
    label = f'{report["n_molecules"]} {report["anion"]} with {report["cation"]}'
    return _with_molecules(atoms, report, label)


@calcfunction
def build_substitution_glass(parameters: orm.Dict) -> dict[str, orm.Data]:
    """Return a chloroaluminate crystal with 2 Cl -> O + vacancy, the report of it, and the tetrahedron of each atom.

    Parameters
    ----------
    parameters : Dict
        ``composition``, and optionally ``parent``, ``repeat``, ``density`` (g/cm³) or ``density_fraction``, ``seed``,
        ``choice``; see :func:`aiida_softclay.structures.substitution.substituted_crystal`.
    """
    atoms, report = make_substitution(parameters.get_dict())
    return _with_molecules(atoms, report, f'{report["composition"]} from {report["parent"]}')


def _with_molecules(atoms: Atoms, report: dict[str, Any], label: str) -> dict[str, orm.Data]:
    molecules = orm.ArrayData()
    molecules.set_array('molecule_id', atoms.arrays['molecule_id'])
    return {'structure': to_structure(atoms, label), 'report': orm.Dict(report), 'molecules': molecules}


@calcfunction
def build_particle_assembly(interface: orm.StructureData, parameters: orm.Dict) -> dict[str, orm.Data]:
    """Return eight rotated particles cut from a slab, and the report of how they were cut, turned and packed.

    Parameters
    ----------
    interface : StructureData
        Periodic two-salt slab, a and b in the interface plane; equilibrated or as built.
    parameters : Dict
        ``mixture``, ``n_atoms``, and optionally ``seed``, ``contact_scale``.
    """
    options = choose_options(
        parameters.get_dict(), {'mixture', 'n_atoms'}, {'seed', 'contact_scale'}, 'a particle assembly'
    )
    mixture = Mixture.parse(options['mixture'])
    assembly = assemble_particles(
        interface.get_ase(), mixture, int(options['n_atoms']), seed=int(options.get('seed', 0)),
        contact_scale=float(options.get('contact_scale', 1.0)),
    )  # fmt: skip
    label = f'eight particles of {mixture}'
    return {'structure': to_structure(assembly.atoms, label), 'report': orm.Dict(assembly.report)}


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
        ``mixture``, ``temperature_K``, ``discard_fraction``, ``drift_tolerance`` and ``context``.

    Returns
    -------
    Dict
        Results schema.
    """
    options = parameters.get_dict()
    mixture = Mixture.parse(options['mixture'])
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
    quantities.append(
        Quantity(
            'density_ratio', (ratio.value or np.nan) / mixture.rule_density,
            None if ratio.error is None else ratio.error / mixture.rule_density, '1',
            f'density over that of the unmixed crystals, {mixture.rule_density:.4f} g/cm^3 by the rule of mixtures',
            ratio.n_samples, error_method=ratio.error_method, window=ratio.window, window_unit='ps',
            frames_used=ratio.frames_used, conditions=conditions, warnings=list(notes),
        )
    )  # fmt: skip
    units = composition_units(atoms, mixture)
    quantities += [
        Quantity('n_atoms', float(n_atoms), 0.0, '1', 'number of atoms', 1, error_method='exact'),
        Quantity(
            'formula_units', None if units is None else float(units), 0.0, '1',
            f'whole formula units {mixture.reduced_formula} of {mixture}', 1, error_method='exact',
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
    return orm.Dict(results_dict(quantities, **(options.get('context') or {}), mixture=mixture.name))


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
