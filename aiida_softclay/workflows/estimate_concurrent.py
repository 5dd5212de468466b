"""What a concurrent learning will at most do and roughly cost, worked out before anything is submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida_softclay.workflows.estimate import (
    BYTES_PER_FRAME,
    BYTES_PER_LABELLED_ATOM,
    CHGNET_CORE_SECONDS,
    DEEPMD_CORE_SECONDS,
    DFT_CORE_SECONDS_100_ATOMS,
    StageEstimate,
    estimate_fit,
)
from aiida_softclay.workflows.exploration import exploration_plan
from aiida_softclay.workflows.fit_committee import FitCommitteeWorkChain
from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain


def estimate_concurrent(
    parameters: Mapping[str, Any], n_atoms: Sequence[int], stand_in: bool = True
) -> list[StageEstimate]:
    """Return the estimates of the stages if all generations are needed and each labels as much as it may.

    Parameters
    ----------
    parameters : mapping
        Of the workchain.
    n_atoms : sequence of int
        Atoms of each structure that is explored.
    stand_in : bool
        Whether the labels come from the stand-in and not from plane waves.

    Raises
    ------
    PlanError, ProtocolError
        If a stage cannot be laid out.
    """
    generations, exploration = int(parameters['stop']['max_generations']), parameters['exploration']
    committee, mean = parameters['committee'], sum(n_atoms) / len(n_atoms)
    fit = FitCommitteeWorkChain.get_protocol_inputs(
        committee['protocol'], {**committee['overrides'], 'n_models': committee['n_models']}
    )
    member = estimate_fit(fit, round(mean))
    models = int(committee['n_models'])
    stages = [
        StageEstimate('committees', generations * models, 0, generations * models * member.steps,
                      core_hours=generations * models * member.core_hours),
        _explorations(exploration, n_atoms, generations, models),
        _labels(int(parameters['selection']['max_configurations']) * generations, mean, generations, stand_in),
    ]  # fmt: skip
    final = parameters['final']
    if final['protocol'] is not None:
        inputs = FitPotentialWorkChain.get_protocol_inputs(final['protocol'], final['overrides'])
        stages.append(estimate_fit(inputs, round(mean)))
    return stages


def _explorations(
    exploration: Mapping[str, Any], n_atoms: Sequence[int], generations: int, models: int
) -> StageEstimate:
    plans = [
        exploration_plan(exploration, condition, generation, 1)
        for generation in range(generations)
        for condition in exploration['conditions']
    ]
    steps, frames = sum(plan.total_steps for plan in plans), sum(plan.n_frames for plan in plans)
    # Every model is evaluated at every step.
    seconds = steps * sum(n_atoms) * models * DEEPMD_CORE_SECONDS
    return StageEstimate(
        'exploration', len(plans) * len(n_atoms), max(n_atoms), steps * len(n_atoms),
        sum(plan.total_duration_ps for plan in plans) * len(n_atoms), frames * len(n_atoms),
        sum(plan.stored_bytes(atoms) for plan in plans for atoms in n_atoms), seconds / 3600,
    )  # fmt: skip


def _labels(n_frames: int, n_atoms: float, generations: int, stand_in: bool) -> StageEstimate:
    seconds = CHGNET_CORE_SECONDS * n_atoms if stand_in else DFT_CORE_SECONDS_100_ATOMS * (n_atoms / 100) ** 2
    return StageEstimate(
        'labels (at most)', generations, round(n_atoms), frames=n_frames,
        bytes_stored=n_frames * (n_atoms * BYTES_PER_LABELLED_ATOM + BYTES_PER_FRAME),
        core_hours=n_frames * seconds / 3600,
    )  # fmt: skip
