"""What goes into a LAMMPS run, checked where it is submitted: every refusal is a sentence that says what to change."""

from __future__ import annotations

import numpy as np
from aiida import orm

from aiida_softclay.calculations.lammps_committee import committee_problem, pair_style_line
from aiida_softclay.calculations.lammps_potential import check_elements, parse_classical
from aiida_softclay.calculations.lammps_script import Resume
from aiida_softclay.calculations.lammps_system import elements_in_order, lammps_cell
from aiida_softclay.calculations.md_plan import MdPlan, PlanError
from aiida_softclay.data.potential import missing_model


def structure_symbols(structure: orm.StructureData) -> list[str]:
    """Return the element of each site, in order.

    Raises
    ------
    ValueError
        If a kind is an alloy or has vacancies.
    """
    symbol_of = {}
    for kind in structure.kinds:
        if kind.is_alloy or kind.has_vacancies:
            raise ValueError(
                f'kind {kind.name} of the structure is an alloy or has vacancies: every site needs one element'
            )
        symbol_of[kind.name] = kind.symbol
    return [symbol_of[site.kind_name] for site in structure.sites]


def validate_plan(value, _):
    """Return what is wrong with the plan."""
    try:
        MdPlan.from_dict(value.get_dict())
    except PlanError as exception:
        return str(exception)
    return None


def validate_structure(value, _):
    """Return what is wrong with the structure."""
    try:
        if not structure_symbols(value):
            raise ValueError('the structure has no atoms')
        if not all(value.pbc):
            raise ValueError('the structure is not periodic in all directions: set its pbc and give it a full cell')
        lammps_cell(np.array(value.cell))
    except ValueError as exception:
        return str(exception)
    return None


def validate_physics(value, _):
    """Return what is wrong with the combination of structure, potential, velocities and resume point."""
    needed = ('structure', 'plan')
    if any(name not in value for name in needed):
        return None
    classical = value.get('classical') or {}
    if ('potential' in value) == ('pair_lines' in classical):
        return 'give either a potential (a model file) or classical.pair_lines, and not both'
    for member in (value.get('committee') or {}).values():
        if problem := missing_model(member):
            return problem
    if problem := committee_problem(value):
        return problem
    try:
        symbols = structure_symbols(value['structure'])
        plan = MdPlan.from_dict(value['plan'].get_dict())
        interaction(value, elements_in_order(symbols), plan)
        for stage in plan.stages:
            if absent := sorted(set(plan.stage_elements(stage) or []) - set(symbols)):
                return f'stage {stage.name}: dump_elements names {", ".join(absent)}, which the structure does not have'
        if 'velocities' in value:
            given_velocities(value['velocities'], len(symbols))
        elif 'resume' not in value and plan.needs_velocities(0) and plan.initial_temperature(0) is None:
            return (
                f'the first stage ({plan.stage_names[0]}, nve) has no velocities to start from: '
                'give the input velocities, or its temperature_K to draw them at'
            )
        for index, stage in enumerate(plan.stages):
            if index and plan.needs_velocities(index) and plan.initial_temperature(index) is None:
                return f'stage {stage.name} follows a minimisation and has no temperature_K to draw velocities at'
        if 'resume' in value:
            resume_point(value['resume'].get_dict(), plan)
            if 'parent_folder' not in value:
                return 'resume needs parent_folder, the folder of the job that is continued'
    except (ValueError, KeyError) as exception:
        return str(exception)
    return None


def resume_point(data: dict, plan: MdPlan) -> tuple[Resume, str]:
    """Return the point to resume from, and the name of the restart file in the parent folder.

    Raises
    ------
    ValueError
        If it does not fit the plan.
    """
    try:
        name, step, within, file = data['stage'], int(data['step']), bool(data['within']), data['file']
    except (KeyError, TypeError, ValueError):
        raise ValueError('resume needs stage, step, within and file, as given in statistics.restart') from None
    if name not in plan.stage_names:
        raise ValueError(f'resume names stage {name!r}, which the plan does not have')
    known = {f'{stage}.{which}.restart' for stage in plan.stage_names for which in ('a', 'b', 'stop', 'end')}
    if file not in known:
        raise ValueError(f'resume names the file {file!r}, which no run of this plan writes')
    return Resume(name, step, within), file


def given_velocities(node: orm.ArrayData, n_atoms: int) -> np.ndarray:
    """Return velocities that were given, shape (n_atoms, 3), in Å/ps.

    Raises
    ------
    ValueError
        If they are not so many finite numbers.
    """
    if 'velocities' not in node.get_arraynames():
        raise ValueError('the velocities node has no array named velocities')
    velocities = node.get_array('velocities')
    if velocities.shape != (n_atoms, 3) or not np.isfinite(velocities).all():
        raise ValueError(f'the velocities must be finite numbers of shape ({n_atoms}, 3), in Å/ps')
    return velocities


def interaction(inputs, structure_elements: list[str], plan: MdPlan) -> tuple[list[str], list[str], dict[str, float]]:
    """Return script lines, elements in the order of the atom types, and charges.

    Raises
    ------
    ValueError
        If the potential does not fit the structure.
    """
    if 'potential' in inputs:
        type_map = list(inputs['potential'].type_map)
        check_elements(structure_elements, type_map, 'the potential')
        return [pair_style_line(inputs, plan), f'pair_coeff * * {" ".join(type_map)}'], type_map, {}
    classical = inputs['classical']
    node = classical['pair_lines']
    data = node.get_list() if isinstance(node, orm.List) else node.get_dict()
    names = [file.filename for file in (classical.get('files') or {}).values()]
    potential = parse_classical(data, structure_elements, names)
    return list(potential.lines), list(potential.elements), dict(potential.charges)
