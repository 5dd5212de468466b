"""What a glass is started from: its settings among the parameters, what can be wrong with them, and its building."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict

from aiida_softclay.calcfunctions.structures import (
    build_particle_assembly,
    build_slab,
    build_start_cell,
    expand_structure,
)
from aiida_softclay.calculations.lammps_potential import check_elements, parse_classical
from aiida_softclay.structures.materials import Material
from aiida_softclay.structures.starts import GIVEN, copies, start_material

PARTICLES = 'particles'
#: Parameters that describe the start, apart from its kind.
START_PARAMETERS = (
    'n_atoms', 'seed', 'contact_scale', 'expand', 'cations', 'density_g_cm3', 'substitution', 'slab',
)  # fmt: skip
ASSEMBLY_PARAMETERS = ('n_atoms', 'seed', 'contact_scale')


def start_settings(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the start among the parameters of ``softclay.amorphous``."""
    return {name: parameters[name] for name in START_PARAMETERS}


def material_of(inputs: Mapping[str, Any]) -> Material:
    """Return the material of the inputs.

    Raises
    ------
    ValueError
        If it does not go with the start or the size.
    """
    parameters = inputs['parameters'].get_dict()
    return start_material(parameters['start'], inputs['mixture'].value, start_settings(parameters))


def start_problem(inputs: Mapping[str, Any]) -> str | None:
    """Return what is wrong with material, start, size, potential and structures together."""
    start = inputs['parameters']['start']
    if (start == GIVEN) != ('structure' in inputs):
        return (
            'the start is given, but there is no input structure: give one, for example the glass of melt_quench'
            if start == GIVEN
            else f'a structure is given, so the parameter start must be {GIVEN}, not {start}'
        )
    if 'interface' in inputs and start != PARTICLES:
        return f'an interface is cut into particles, it does not go with the start {start}'
    try:
        material = material_of(inputs)
        _check_potential(inputs, material.elements)
    except (KeyError, TypeError, ValueError) as error:
        return str(error)
    if start == GIVEN:
        structure = inputs['structure']
        if material.units_of(structure.get_ase()) is None:
            return f'the structure is {structure.get_formula()}, no whole number of {material}'
    if 'interface' in inputs:
        present = set(inputs['interface'].get_symbols_set())
        if present != set(material.elements):
            return (
                f'the interface is made of {", ".join(sorted(present))}, but {material} of '
                f'{", ".join(sorted(material.elements))}: give a slab of this mixture'
            )
    return None


def _check_potential(inputs: Mapping[str, Any], elements: list[str]) -> None:
    """Refuse a potential that does not know an element."""
    if 'potential' in inputs:
        check_elements(elements, list(inputs['potential'].type_map), 'the potential')
        return
    classical = inputs['classical']
    node = classical['pair_lines']
    data = node.get_list() if isinstance(node, orm.List) else node.get_dict()
    if isinstance(data, dict):
        parse_classical(data, elements, [file.filename for file in (classical.get('files') or {}).values()])


def build_start(inputs: Mapping[str, Any]) -> AttributeDict:
    """Return the start: ``structure``, and where there are any ``report``, ``slab_report`` and ``labels``.

    Each is made by a calcfunction, so that it has a history.

    Raises
    ------
    ValueError
        If it cannot be built.
    """
    parameters = inputs['parameters'].get_dict()
    text, settings = inputs['mixture'].value, start_settings(parameters)
    repeat = list(copies(settings))
    if parameters['start'] not in (PARTICLES, GIVEN):
        wishes = orm.Dict({'start': parameters['start'], 'material': text, **settings})
        return AttributeDict(build_start_cell(wishes, metadata={'call_link_label': 'build_start_cell'}))
    made = AttributeDict()
    if parameters['start'] == GIVEN:
        made.structure = inputs['structure']
    else:
        interface = inputs.get('interface')
        if interface is None:
            slab = build_slab(
                orm.Dict({'mixture': text, **settings['slab']}), metadata={'call_link_label': 'build_slab'}
            )
            interface, made.slab_report = slab['structure'], slab['report']
        wishes = orm.Dict({'mixture': text, **{key: settings[key] for key in ASSEMBLY_PARAMETERS}})
        made.update(build_particle_assembly(interface, wishes, metadata={'call_link_label': 'build_particle_assembly'}))
    if repeat != [1, 1, 1]:
        labels = {'labels': made.labels} if 'labels' in made else {}
        made.update(
            expand_structure(
                made.structure, orm.List(repeat), **labels, metadata={'call_link_label': 'expand_structure'}
            )
        )
    return made


def start_sentence(material: Material, made: Mapping[str, Any], start: str) -> str:
    """Return what was built, for the report of the workchain."""
    structure = made['structure']
    atoms = structure.get_ase()
    lengths = ' × '.join(f'{length:.2f}' for length in atoms.cell.lengths())
    report = made['report'].get_dict() if 'report' in made else {}
    normals = report.get('interface_normals')
    turned = f', normals of the eight parts {" ".join(normals)}' if normals else ''
    mass = float(atoms.get_masses().sum()) * 1.66053907 / atoms.get_volume()
    return f'{start} of {material}: {len(atoms)} atoms in {lengths} Å, {mass:.2f} g/cm^3{turned}'
