"""What concurrent learning explores: conditions as plans of molecular dynamics, checked before submission."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from aiida_softclay.analysis.selection import TrustLevels
from aiida_softclay.calculations.md_plan import LARGEST_SHEAR_STRAIN, MdPlan, PlanError

#: Name of the stage of an exploration run whose frames are judged, and of the minimisation before it.
STAGE, RELAXATION = 'explore', 'relax'
#: Labels become names of links, in which AiiDA reserves the double underscore.
LABEL = re.compile(r'[A-Za-z0-9]+(_[A-Za-z0-9]+)*')
CONDITION_KEYS = {
    'label',
    'temperature_K',
    'pressure_GPa',
    'duration_ps',
    'shear_component',
    'shear_rate_per_ps',
}
SECTIONS = ('trust', 'selection', 'stop', 'committee', 'exploration', 'label', 'final', 'seed')


def run_names(structures: Iterable[str], conditions: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return the name of every exploration run with its structure and condition."""
    labels = [condition['label'] for condition in conditions]
    return {f'{structure}_{label}': (structure, label) for structure in sorted(structures) for label in labels}


def exploration_plan(
    exploration: Mapping[str, Any], condition: Mapping[str, Any], generation: int, seed: int
) -> MdPlan:
    """Return the plan of one exploration run.

    Parameters
    ----------
    exploration : mapping
        ``timestep_ps``, ``frame_every_ps``, ``coupling``, ``tdamp_ps``, ``pdamp_ps``, ``duration_growth``,
        ``relaxation_steps`` (0, or the most iterations of a minimisation of the positions that goes before).
    condition : mapping
        ``temperature_K`` and ``duration_ps``; then ``pressure_GPa`` (compression positive; a missing or null one keeps
        the cell), or ``shear_component`` and ``shear_rate_per_ps`` for a cell strained at a constant rate with its
        other components at zero stress.
    generation : int
        From 0; the duration is multiplied by ``duration_growth`` for each, up to a shear strain of 1.
    seed : int
        Of the velocities.

    Raises
    ------
    PlanError
        If the run cannot be done.
    """
    timestep = float(exploration['timestep_ps'])
    stride = max(1, round(float(exploration['frame_every_ps']) / timestep))
    duration = float(condition['duration_ps']) * float(exploration.get('duration_growth', 1.0)) ** generation
    if rate := abs(float(condition.get('shear_rate_per_ps') or 0.0)):
        # A cell is sheared by its own height at most; what the condition asks for by itself is not shortened.
        longest = max(LARGEST_SHEAR_STRAIN / rate, float(condition['duration_ps']))
        duration = min(duration, longest // (stride * timestep) * stride * timestep)
    stage: dict[str, Any] = {
        'name': STAGE,
        'duration_ps': max(round(duration / timestep / stride), 1) * stride * timestep,
        'temperature_K': condition['temperature_K'],
        'tdamp_ps': exploration['tdamp_ps'],
    }
    if condition.get('shear_rate_per_ps') is not None:
        stage |= {
            'kind': 'deform',
            'component': condition.get('shear_component', 'yz'),
            'rate_per_ps': condition['shear_rate_per_ps'],
            'pdamp_ps': exploration['pdamp_ps'],
        }
    elif condition.get('pressure_GPa') is not None:
        pressure = float(condition['pressure_GPa'])
        stage |= {
            'kind': 'npt',
            'stress_GPa': dict.fromkeys(('xx', 'yy', 'zz'), -pressure),
            'coupling': exploration['coupling'],
            'pdamp_ps': exploration['pdamp_ps'],
        }
    else:
        stage['kind'] = 'nvt'
    return MdPlan.from_dict(
        {
            'timestep_ps': timestep,
            'seed': seed,
            'thermo_every': stride,
            'dump_every': stride,
            'restart_every': max(stride, 1000),
            'stages': [*_relaxation(exploration), stage],
        }
    )


def _relaxation(exploration: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stage that takes the strain out of a structure that was built, before it is heated.

    An amorphous packing is tenths of an eV per atom above a liquid: without it the first picosecond runs at thousands
    of kelvin, and what is labelled is of no use to the study.
    """
    steps = int(exploration.get('relaxation_steps', 0))
    if not steps:
        return []
    return [{'name': RELAXATION, 'kind': 'minimise', 'max_steps': steps, 'force_tolerance_eV_A': 0.05}]


def labels_problem(names: Iterable[str], what: str) -> str | None:
    """Return what is wrong with labels that become names of links, or ``None``."""
    for name in names:
        if not isinstance(name, str) or not LABEL.fullmatch(name):
            return f'{what} {name!r}: use letters, numbers and single underscores between them'
    return None


def parameters_problem(parameters: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the parameters of a concurrent learning, or ``None``."""
    missing = [key for key in SECTIONS if key not in parameters]
    if missing:
        return f'the parameters lack {", ".join(missing)}: take them from a protocol (get_builder_from_protocol)'
    try:
        return (
            _trust_problem(parameters['trust'], parameters['stop'])
            or _numbers_problem(parameters)
            or _conditions_problem(parameters['exploration'], parameters['stop'])
        )
    except (KeyError, TypeError, ValueError) as error:
        return f'the parameters are incomplete or of the wrong kind: {error}'


def _trust_problem(trust: Mapping[str, Any], stop: Mapping[str, Any]) -> str | None:
    try:
        TrustLevels(float(trust['lower_eV_A']), float(trust['upper_eV_A']))
    except ValueError as error:
        return f'trust: {error}'
    fraction = trust.get('adaptive_fraction')
    if fraction is None:
        return None
    if not 0 < fraction <= 1:
        return f'trust.adaptive_fraction is {fraction!r}: give a share above 0 and at most 1, or null for fixed levels'
    if fraction <= stop['max_candidate_share']:
        return (
            f'trust.adaptive_fraction ({fraction:g}) is not above stop.max_candidate_share '
            f'({stop["max_candidate_share"]:g}): the first generation would already count as converged'
        )
    return None


def _numbers_problem(parameters: Mapping[str, Any]) -> str | None:
    selection, stop = parameters['selection'], parameters['stop']
    counts = {
        'committee.n_models': (parameters['committee']['n_models'], 2),
        'selection.max_configurations': (selection['max_configurations'], 1),
        'selection.n_bins': (selection['n_bins'], 1),
        'selection.max_pool': (selection['max_pool'], 1),
        'stop.max_generations': (stop['max_generations'], 1),
        'stop.generations_below': (stop['generations_below'], 1),
        'stop.generations_failed': (stop['generations_failed'], 1),
        'seed': (parameters['seed'], 0),
    }
    for name, (value, lowest) in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            return f'{name} is {value!r}: give a whole number of at least {lowest}'
    for name in ('max_candidate_share', 'max_failed_share'):
        if not 0 < stop[name] <= 1:
            return f'stop.{name} is {stop[name]!r}: give a share above 0 and at most 1'
    if not selection['cutoff_A'] > 0 or not selection['min_contact'] >= 0:
        return 'selection.cutoff_A must be a positive length in Å and selection.min_contact not negative'
    if not selection['max_volume_ratio'] > 1:
        return f'selection.max_volume_ratio is {selection["max_volume_ratio"]!r}: give a number above 1'
    return None


def _conditions_problem(exploration: Mapping[str, Any], stop: Mapping[str, Any]) -> str | None:
    conditions = exploration['conditions']
    if not isinstance(conditions, list) or not conditions:
        return 'exploration.conditions is empty: name at least one condition with label, temperature_K and duration_ps'
    for number, condition in enumerate(conditions):
        unknown = sorted(set(condition) - CONDITION_KEYS)
        lacking = sorted({'label', 'temperature_K', 'duration_ps'} - set(condition))
        if unknown or lacking:
            return (
                f'exploration.conditions[{number}] '
                + (f'has the unknown keys {", ".join(unknown)}' if unknown else f'lacks {", ".join(lacking)}')
                + f': known are {", ".join(sorted(CONDITION_KEYS))}'
            )
        if condition.get('shear_rate_per_ps') is not None and condition.get('pressure_GPa') is not None:
            return f'exploration.conditions[{number}] has both a shear rate, which is at zero stress, and a pressure'
    labels = [condition['label'] for condition in conditions]
    if len(set(labels)) != len(labels):
        return 'exploration.conditions has a label twice'
    problem = labels_problem(labels, 'the label of a condition is')
    if problem:
        return problem
    for condition in conditions:
        for generation in (0, stop['max_generations'] - 1):
            try:
                exploration_plan(exploration, condition, generation, 1)
            except PlanError as error:
                return f'exploration, condition {condition["label"]}: {error}'
    return None
