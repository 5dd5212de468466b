"""The steps that make a start amorphous, in any sensible order, and what can be wrong with their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiida_softclay.calcfunctions.equilibrium import tolerance_problem
from aiida_softclay.calculations.md_plan import MdPlan, PlanError

LAST = 'equilibrate'


def _relax(parameters: Mapping[str, Any], number: int) -> dict[str, Any]:
    relax = dict(parameters['relax'])
    if number:
        # The gaps are closed by then.
        relax['closing_pressure_GPa'] = 0.0
    return {'kind': 'minimise', **relax, 'dump_every': int(relax['max_steps'])}


def _relax_positions(parameters: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {**_relax(parameters, number), 'relax_cell': 'none', 'closing_pressure_GPa': 0.0}


def _melt(parameters: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {'kind': 'nvt', **parameters['melt']}


def _quench(parameters: Mapping[str, Any], number: int) -> dict[str, Any]:
    quench = dict(parameters['quench'])
    rate, ensemble = float(quench.pop('rate_K_per_ps')), quench.pop('ensemble')
    hot, cold = float(parameters['melt']['temperature_K']), float(parameters['equilibrate']['temperature_K'])
    if not rate > 0:
        raise PlanError(f'quench.rate_K_per_ps is {rate:g}: give how fast the melt is cooled, a positive number')
    if not hot > cold:
        raise PlanError(f'a quench cools: the melt at {hot:g} K is no hotter than the glass at {cold:g} K')
    if ensemble not in ('nvt', 'npt'):
        raise PlanError(f'quench.ensemble is nvt or npt, not {ensemble!r}')
    if ensemble == 'npt':
        quench |= {key: parameters['equilibrate'][key] for key in ('pdamp_ps', 'coupling')}
    duration = (hot - cold) / rate
    return {'kind': ensemble, 'temperature_K': hot, 'temperature_end_K': cold, 'duration_ps': duration, **quench}


def _hold(parameters: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {'kind': 'nvt', 'temperature_K': parameters['equilibrate']['temperature_K'], **parameters['hold']}


def _equilibrate(parameters: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {'kind': 'npt', **parameters[LAST]}


#: Name of a step to the maker of its stage; the second argument counts the steps of this name before it.
STEPS: dict[str, Callable[[Mapping[str, Any], int], dict[str, Any]]] = {
    'relax': _relax,
    'relax_positions': _relax_positions,
    'melt': _melt,
    'quench': _quench,
    'hold': _hold,
    LAST: _equilibrate,
}


def step_names(steps: Any) -> list[str]:
    """Return the names of the stages of a list of steps: a step that comes several times is numbered from 1.

    Raises
    ------
    PlanError
        If a step is not known or they do not end with the one equilibration.
    """
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) for step in steps):
        raise PlanError(f'steps must be a list of names such as [relax, melt, relax, equilibrate], not {steps!r}')
    if unknown := sorted(set(steps) - set(STEPS)):
        raise PlanError(f'there is no step {", ".join(unknown)}: choose from {", ".join(STEPS)}')
    if steps[-1] != LAST or steps.count(LAST) > 1:
        raise PlanError(f'the last step, and no other, is {LAST}: the numbers of the glass are taken from it')
    for before, step in zip([None, *steps], steps, strict=False):
        if step == 'quench' and before != 'melt':
            raise PlanError(f'a quench follows a melt, not {before or "the start"}: it cools what is hot')
    return [
        f'{step}_{steps[: index + 1].count(step)}' if steps.count(step) > 1 else step
        for index, step in enumerate(steps)
    ]


def amorphous_plan(parameters: Mapping[str, Any]) -> MdPlan:
    """Return the stages of the steps of the parameters.

    Raises
    ------
    PlanError
        With a sentence that says which parameter to change.
    """
    steps = parameters['steps']
    names = step_names(steps)
    stages = [
        {'name': name, **STEPS[step](parameters, steps[:index].count(step))}
        for index, (name, step) in enumerate(zip(names, steps, strict=True))
    ]
    return MdPlan.from_dict(
        {
            'timestep_ps': parameters['timestep_ps'],
            'seed': int(parameters['seed']),
            'thermo_every': parameters['thermo_every'],
            'stages': stages,
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
        if not 0 <= float(parameters['contact_fraction']) <= 1:
            return f'contact_fraction must be between 0 and 1, not {parameters["contact_fraction"]}'
        if problem := tolerance_problem(parameters['drift_tolerance']):
            return problem
        for name in ('require_equilibrium', 'reference_energies'):
            if not isinstance(parameters[name], bool):
                return f'{name} must be true or false, not {parameters[name]!r}'
        if int(parameters['max_extensions']) < 0:
            return f'max_extensions must not be negative, it is {parameters["max_extensions"]}'
    except (KeyError, TypeError, ValueError) as error:
        return str(error)
    return None
