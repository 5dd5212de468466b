"""The seeds of a study: one is given, every stage has its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_softclay.calculations.md_plan import LARGEST_SEED
from aiida_softclay.workflows.protocol import recursive_merge
from aiida_softclay.workflows.series_plan import nested

#: Distance of the seeds of two stages. The sampled structures count up from the seed of the study and a stage may count
#: up from its own, so that the seeds of a study are all different, and so are those of studies with neighbouring seeds.
SEED_STEP = 1000
#: The stages after the sampling, in order, with the dotted names of the seeds that each of them takes.
STAGE_SEEDS = {
    'fit': ('seed', 'dataset.seed'),
    'amorphous': ('seed',),
    'stress_pulse': ('seed',),
    'constant_strain': ('seed',),
    'conductivity': ('seed',),
}
LARGEST_STUDY_SEED = LARGEST_SEED - SEED_STEP * (len(STAGE_SEEDS) + 1)


def seed_problem(seed: Any) -> str | None:
    """Return a sentence if no seeds can be derived from this one."""
    if isinstance(seed, int) and not isinstance(seed, bool) and 1 <= seed <= LARGEST_STUDY_SEED:
        return None
    return f'seed is {seed!r}: give a whole number from 1 to {LARGEST_STUDY_SEED}'


def stage_seeds(seed: int) -> dict[str, int]:
    """Return the seed of each stage after the sampling.

    >>> stage_seeds(1)['fit'], stage_seeds(1)['amorphous']
    (1001, 2001)
    """
    return {stage: seed + SEED_STEP * place for place, stage in enumerate(STAGE_SEEDS, start=1)}


def with_stage_seeds(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a study with the seeds of all stages among their overrides.

    Parameters
    ----------
    parameters : mapping
        See the protocols of ``softclay.study``. A seed that the overrides of a stage hold already stays.
    """
    complete = recursive_merge(parameters, {})
    for stage, seed in stage_seeds(int(parameters['seed'])).items():
        if stage not in complete:
            continue
        overrides: dict[str, Any] = {}
        for name in STAGE_SEEDS[stage]:
            overrides = recursive_merge(overrides, nested(name, seed))
        complete[stage]['overrides'] = recursive_merge(overrides, complete[stage].get('overrides') or {})
    return complete
