"""A committee of models on one ``pair_style deepmd`` line: the first drives, all of them say how far they differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.calculations.md_stages import MinimiseStage

#: Columns after the step: standard deviations over the models. That of a force is the length of the deviation vector of
#: one atom, that of the virial one of its nine components, for each atom of the system (DeePMD-kit, "Calculate Model
#: Deviation"); largest, smallest and mean over atoms or components.
DEVIATION_COLUMNS = (
    'max_virial_deviation_eV',
    'min_virial_deviation_eV',
    'avg_virial_deviation_eV',
    'max_force_deviation_eV_A',
    'min_force_deviation_eV_A',
    'avg_force_deviation_eV_A',
)
DEVIATION_FILE = 'model_deviation.out'


def members(inputs: Mapping[str, Any]) -> list[Any]:
    """Return the models in the order of the pair style: the potential, then the committee by name."""
    committee = inputs.get('committee') or {}
    return [inputs['potential'], *(committee[name] for name in sorted(committee))]


def others_of(committee: Mapping[str, Any] | Iterable[Any], potential: Any) -> dict[str, Any]:
    """Return a committee by name without the model that drives, which may be among those given.

    Raises
    ------
    ValueError
        If no model drives.
    """
    if potential is None:
        raise ValueError('a committee needs a potential, the model that drives the run')
    if not isinstance(committee, Mapping):
        committee = {f'model_{number:02d}': node for number, node in enumerate(committee)}
    return {name: node for name, node in committee.items() if node.md5 != potential.md5}


def model_filename(potential: Any, number: int = 0) -> str:
    """Return the name of a model in the run: constant, but with its extension, by which DeePMD finds its backend."""
    return (f'model_{number:02d}' if number else 'model') + PurePosixPath(potential.filename).suffix


def committee_problem(inputs: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the committee of a run, or ``None``."""
    if not inputs.get('committee'):
        given = [name for name in ('deviation_every', 'max_model_deviation_eV_A') if name in inputs]
        return f'{" and ".join(given)} without a committee would do nothing' if given else None
    if 'potential' not in inputs:
        return 'a committee needs a potential, the model that drives the run'
    models = members(inputs)
    first = models[0]
    for node in models[1:]:
        if list(node.type_map) != list(first.type_map):
            return (
                f'the models of the committee know their elements in different orders, {", ".join(first.type_map)} '
                f'and {", ".join(node.type_map)}: fit them with the same type_map'
            )
        if abs(node.rcut - first.rcut) > 1e-6:
            return f'the models of the committee have different cutoffs, {first.rcut:g} and {node.rcut:g} Å'
    if len({node.md5 for node in models}) < len(models):
        return 'a model is in the committee twice, or is the potential itself: it would hide how far the others differ'
    return None


def pair_style_line(inputs: Mapping[str, Any], plan: MdPlan) -> str:
    """Return the pair style of a model, or of a committee with its file of deviations."""
    models = members(inputs)
    names = ' '.join(model_filename(node, number) for number, node in enumerate(models))
    if len(models) == 1:
        return f'pair_style deepmd {names}'
    every = inputs['deviation_every'].value if 'deviation_every' in inputs else None
    return f'pair_style deepmd {names} out_file {DEVIATION_FILE} out_freq {written_every(plan, every)}'


def deviation_stride(plan: MdPlan, stage: Any, every: int | None) -> int:
    """Return every how many steps of a stage its deviations are kept: with each of its frames, if not said."""
    return every or plan.stage_dump_every(stage)


def written_every(plan: MdPlan, every: int | None) -> int:
    """Return the stride that the file of deviations needs.

    Frames are counted from the start of their stage, the file counts from step 0: the stride is the greatest that
    meets all of them, and what it meets besides is left out afterwards.
    """
    strides = [
        step
        for stage in plan.stages
        if not isinstance(stage, MinimiseStage)
        for step in (plan.start_step(stage), deviation_stride(plan, stage, every))
    ]
    return math.gcd(*strides) or 1
