"""From the parameters of a melt–quench to one structure, one temperature and one plan each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiida import orm
from ase.data import atomic_numbers

from aiida_softclay.calculations.aimd_plan import AimdPlan, PlanError
from aiida_softclay.calculations.aimd_schedule import schedule_plan
from aiida_softclay.structures.crystals import phase
from aiida_softclay.workflows.protocol import recursive_merge
from aiida_softclay.workflows.sampling import SampledStructure, layout_structures

#: Parameters of the builders that are formulas of a kind.
_FORMULAS = ('mixture', 'anion', 'cation', 'composition')
#: Labels become link labels of AiiDA, in which a double underscore has a meaning of its own.
_LABEL = re.compile(r'[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*')


@dataclass(frozen=True)
class MeltQuenchBranch:
    """One structure of a melt–quench.

    Attributes
    ----------
    label : str
        Name of the structure.
    entry : SampledStructure or None
        How to build it; ``None`` for a structure of the user's own.
    elements : list of str
        Elements that it holds.
    maximum_temperature_K : float or None
        Its highest temperature, K.
    temperature_reason : str
        Where that is from.
    plan : AimdPlan
        What is run.
    incar : dict
        INCAR tags that differ for this structure.
    """

    label: str
    entry: SampledStructure | None
    elements: list[str]
    maximum_temperature_K: float | None  # noqa: N815 - K is the unit
    temperature_reason: str
    plan: AimdPlan
    incar: dict[str, Any]


def lay_out(
    parameters: Mapping[str, Any], own: Mapping[str, orm.StructureData] | None = None
) -> list[MeltQuenchBranch]:
    """Return the branches of a melt–quench.

    Parameters
    ----------
    parameters : mapping
        Of the workchain.
    own : mapping, optional
        Structures of the user's own by label; they take the place of ``parameters['structures']``.

    Raises
    ------
    ValueError
        With a sentence that names the structure or the stage.
    """
    seed = int(parameters['seed'])
    if own:
        branches = [
            _branch(label, None, sorted({kind.symbol for kind in own[label].kinds}), parameters, seed + index)
            for index, label in enumerate(sorted(own))
        ]
    else:
        branches = [
            _branch(entry.label, entry, entry_elements(entry), parameters, seed + index)
            for index, entry in enumerate(layout_structures(parameters['structures'], seed))
        ]
    labels = [branch.label for branch in branches]
    unknown = sorted(set(parameters['temperatures']) - set(labels))
    if unknown:
        raise ValueError(
            f'temperatures names {", ".join(unknown)}, which is not sampled: there are {", ".join(labels)}'
        )
    return branches


def _branch(
    label: str, entry: SampledStructure | None, elements: list[str], parameters: Mapping[str, Any], seed: int
) -> MeltQuenchBranch:
    if not _LABEL.fullmatch(label):
        raise ValueError(f'a structure is called `{label}`: use letters, digits and single underscores, a letter first')
    overrides = _overrides(entry)
    temperature, reason = _temperature(label, entry, parameters)
    settings = recursive_merge({**parameters['plan'], 'seed': seed}, overrides.get('plan') or {})
    try:
        plan = schedule_plan(settings, parameters['stages'], temperature)
    except PlanError as error:
        raise PlanError(f'structure {label}: {error}') from None
    return MeltQuenchBranch(label, entry, elements, temperature, reason, plan, dict(overrides.get('incar') or {}))


def _overrides(entry: SampledStructure | None) -> Mapping[str, Any]:
    if entry is None:
        return {}
    unknown = sorted(set(entry.overrides) - {'plan', 'incar'})
    if entry.protocol or unknown:
        what = ', '.join([f'protocol {entry.protocol}'] * bool(entry.protocol) + unknown)
        raise ValueError(
            f'structure {entry.label} has {what}: in a melt–quench all structures follow the same stages; its '
            'overrides may hold `plan` and `incar`'
        )
    return entry.overrides


def _temperature(label: str, entry: SampledStructure | None, parameters: Mapping[str, Any]) -> tuple[float | None, str]:
    """Return the highest temperature of a structure: its own, else the one of all, else that of its set."""
    if label in parameters['temperatures']:
        return parameters['temperatures'][label], 'temperatures'
    if parameters['maximum_temperature_K'] is not None:
        return parameters['maximum_temperature_K'], 'maximum_temperature_K'
    if entry is not None and entry.maximum_temperature_K is not None:
        return entry.maximum_temperature_K, entry.temperature_reason
    return None, ''


def entry_elements(entry: SampledStructure) -> list[str]:
    """Return the elements of a structure from its description, without building it."""
    texts = [str(entry.parameters[key]) for key in _FORMULAS if entry.parameters.get(key)]
    texts += [phase(entry.parameters[key]).formula for key in ('crystal', 'parent') if entry.parameters.get(key)]
    found = {symbol for text in texts for symbol in re.findall(r'[A-Z][a-z]?', text)}
    return sorted(symbol for symbol in found if symbol in atomic_numbers)


def probe_structure(elements: list[str]) -> orm.StructureData:
    """Return a structure with one atom of each element, to choose potentials for before anything is built."""
    node = orm.StructureData(cell=[[10.0, 0, 0], [0, 10.0, 0], [0, 0, 10.0]])
    for index, symbol in enumerate(elements):
        node.append_atom(position=(float(index), 0.0, 0.0), symbols=symbol)
    return node
