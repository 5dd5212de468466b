"""The stages that make a mixture amorphous, and what can be wrong with their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_softclay.calcfunctions.equilibrium import tolerance_problem
from aiida_softclay.calculations.md_plan import MdPlan


def amorphous_plan(parameters: Mapping[str, Any]) -> MdPlan:
    """Return the four stages: relax, melt, relax, equilibrate.

    Raises
    ------
    PlanError
        With a sentence that says which parameter to change.
    """
    relax = dict(parameters['relax'])
    first, second = (
        {'name': name, 'kind': 'minimise', **relax, 'dump_every': int(relax['max_steps'])}
        for name in ('relax_1', 'relax_2')
    )
    if relax['closing_pressure_GPa']:
        # The gaps are closed by then.
        second['closing_pressure_GPa'] = 0.0
    return MdPlan.from_dict(
        {
            'timestep_ps': parameters['timestep_ps'],
            'seed': int(parameters['seed']),
            'thermo_every': parameters['thermo_every'],
            'stages': [
                first,
                {'name': 'melt', 'kind': 'nvt', **parameters['melt']},
                second,
                {'name': 'equilibrate', 'kind': 'npt', **parameters['equilibrate']},
            ],
        }
    )


def parameters_problem(parameters: Mapping[str, Any]) -> str | None:
    """Return what is wrong with complete parameters, or ``None``."""
    try:
        amorphous_plan(parameters)
        low, high = (float(value) for value in parameters['density_range'])
        if not 0 <= low < high:
            return f'density_range must be two rising numbers, not {parameters["density_range"]}'
        if not 0 <= float(parameters['discard_fraction']) < 1:
            return f'discard_fraction must be at least 0 and below 1, not {parameters["discard_fraction"]}'
        if problem := tolerance_problem(parameters['drift_tolerance']):
            return problem
        if not isinstance(parameters['require_equilibrium'], bool):
            return f'require_equilibrium must be true or false, not {parameters["require_equilibrium"]!r}'
        if int(parameters['max_extensions']) < 0:
            return f'max_extensions must not be negative, it is {parameters["max_extensions"]}'
    except (KeyError, TypeError, ValueError) as error:
        return str(error)
    return None
