"""Structures with provenance: crystals, slabs, random mixtures, molecules, particle assemblies and other starts."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_softclay.structures.assembly import assemble_particles
from aiida_softclay.structures.building import (
    choose_options,
    make_crystal,
    make_framework,
    make_melt,
    make_oligomers,
    make_slab,
    make_substitution,
)
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import phase
from aiida_softclay.structures.starts import expand_cell, label_arrays, make_start


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
    """Return a multilayer slab of two or more salts, [001] on [001], and the report of how it was made.

    Parameters
    ----------
    parameters : Dict
        ``mixture``, and optionally ``n_atoms``, ``min_length`` (Å), ``max_atoms``, ``thickness`` (Å), ``max_strain``,
        ``density_fraction``, ``plane_cells``, ``seed`` (of a solid solution); see
        :func:`aiida_softclay.structures.slabs.interface_slab`.
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
def build_framework_glass(parameters: orm.Dict) -> dict[str, orm.Data]:
    """Return molecules cut from the chains of LiNbOCl4, the report of it, and which atom is of which molecule.

    Parameters
    ----------
    parameters : Dict
        ``anion``, and optionally ``cation``, ``n_molecules``, ``density`` (g/cm³), ``seed``, ``repeat``; see
        :func:`aiida_softclay.structures.chain_framework.framework_glass`.
    """
    atoms, report = make_framework(parameters.get_dict())
    return _with_molecules(atoms, report, f'{report["n_molecules"]} {report["anion"]} with {report["cation"]}')


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
    made = _labelled(atoms, report, label)
    made['molecules'] = made.pop('labels')
    return made


def _labelled(atoms: Atoms, report: dict[str, Any], label: str) -> dict[str, orm.Data]:
    """Return a structure, its report and, as arrays by name, the grain or molecule of every atom."""
    made = {'structure': to_structure(atoms, label), 'report': orm.Dict(report)}
    if arrays := label_arrays(atoms):
        made['labels'] = orm.ArrayData(arrays)
    return made


@calcfunction
def build_start_cell(parameters: orm.Dict) -> dict[str, orm.Data]:
    """Return the cell a glass starts from, the report of it, and the grain or molecule of every atom where it has any.

    Parameters
    ----------
    parameters : Dict
        ``start``, ``material`` and the settings of :func:`aiida_softclay.structures.starts.start_material`.
    """
    settings = parameters.get_dict()
    start, material = settings.pop('start'), settings.pop('material')
    atoms, report = make_start(start, material, settings)
    return _labelled(atoms, report, f'{start} of {report["material"]}')


@calcfunction
def expand_structure(structure: orm.StructureData, repeat: orm.List, labels: orm.ArrayData | None = None) -> dict:
    """Return a structure repeated along its vectors, grouped by element, and the labels of its atoms if it has any.

    Parameters
    ----------
    structure : StructureData
    repeat : List
        Copies along the three vectors.
    labels : ArrayData, optional
        Arrays ``grain`` or ``molecule_id``, one number for each atom.
    """
    atoms = structure.get_ase()
    for name in labels.get_arraynames() if labels is not None else ():
        atoms.set_array(name, labels.get_array(name))
    numbers = [int(number) for number in repeat.get_list()]
    made = _labelled(expand_cell(atoms, numbers), {}, structure.label)
    made.pop('report')
    return made


@calcfunction
def build_particle_assembly(interface: orm.StructureData, parameters: orm.Dict) -> dict[str, orm.Data]:
    """Return eight rotated particles cut from a slab, how they were cut, turned and packed, and whose each atom is.

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
    return _labelled(assembly.atoms, assembly.report, f'eight particles of {mixture}')
