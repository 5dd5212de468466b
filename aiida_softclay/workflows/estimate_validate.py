"""What a validation will do and roughly cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiida_softclay.workflows import validation_plan as plan
from aiida_softclay.workflows.conductivity import ConductivityWorkChain
from aiida_softclay.workflows.estimate import (
    BYTES_PER_FRAME,
    BYTES_PER_LABELLED_ATOM,
    CHGNET_CORE_SECONDS,
    DFT_CORE_SECONDS_100_ATOMS,
    StageEstimate,
    count_atoms,
    estimate_aimd,
    estimate_md,
)
from aiida_softclay.workflows.melt_quench_layout import MeltQuenchBranch
from aiida_softclay.workflows.sampling import SampledStructure
from aiida_softclay.workflows.validate_potential import ValidatePotentialWorkChain

#: Ionic steps of a relaxation that is not cut by its limit; a rule of thumb.
STEPS_OF_A_RELAXATION = 20


def estimate_validation(
    parameters: Mapping[str, Any], n_atoms: Mapping[str, int], stand_in: bool = True
) -> list[StageEstimate]:
    """Return the estimates of the parts of a validation.

    Parameters
    ----------
    parameters : mapping
        Of the workchain.
    n_atoms : mapping of str to int
        Atoms of each structure by its label.
    stand_in : bool
        Whether the engine is the VASP-compatible driver.

    Raises
    ------
    ValueError
        If a run cannot be laid out.
    """
    labels = list(n_atoms)
    stages = []
    for name, series in plan.plan_series(parameters, labels, []).items():
        atoms, count = n_atoms[series['structure']], series['n_configurations']
        relaxed = series['group'] == plan.RELAXED
        limit = int(parameters['relaxation']['incar'].get('nsw', STEPS_OF_A_RELAXATION))
        steps = count * (min(STEPS_OF_A_RELAXATION, limit) if relaxed else 1)
        per_step = CHGNET_CORE_SECONDS * atoms if stand_in else DFT_CORE_SECONDS_100_ATOMS * (atoms / 100) ** 2
        stages.append(
            StageEstimate(
                f'label:{name}', 1, atoms, steps, frames=count,
                bytes_stored=count * (atoms * BYTES_PER_LABELLED_ATOM + BYTES_PER_FRAME),
                core_hours=steps * per_step / 3600,
            )
        )  # fmt: skip
    section = parameters['conductivity']
    for run, about in plan.conductivity_runs(section, labels).items():
        atoms = n_atoms[about['structure']]
        dynamics = plan.aimd_plan(section, about['temperature_K'], 1).as_dict()
        stages.append(estimate_aimd(f'aimd:{run}', dynamics, atoms, stand_in))
        values = ConductivityWorkChain.get_protocol_inputs('demo')
        md_plan = ConductivityWorkChain.build_plan({**values, **plan.md_overrides(section, about['temperature_K'], 1)})
        stages.append(estimate_md(f'md:{run}', md_plan, atoms))
    frames = sum(stage.frames for stage in stages if stage.stage.startswith('label'))
    sampled = int(parameters['parity']['n_aimd_frames']) * len(section['runs'])
    groups = {series['group'] for series in plan.plan_series(parameters, labels, []).values()}
    stages.append(
        StageEstimate('predict', len(groups) + (1 if section['runs'] and sampled else 0), frames=0, steps=frames)
    )
    return stages


def count_entry_atoms(entry: Mapping[str, Any]) -> int:
    """Return the atoms of a structure of a protocol, by building it without storing anything."""
    return count_atoms(SampledStructure(entry['label'], entry['kind'], entry['parameters'], 'demo', {}))


def estimate_proof(
    settings: Mapping[str, Any], branches: Sequence[MeltQuenchBranch], stand_in: bool
) -> list[StageEstimate]:
    """Return the estimates of the proof of a potential, on the structures it takes where no sampling fails.

    Parameters
    ----------
    settings : mapping
        ``protocol`` and ``overrides`` of the validation.
    branches : sequence of MeltQuenchBranch
        What is sampled.
    stand_in : bool
        Whether the engine is the VASP-compatible driver.

    Raises
    ------
    ValueError
        If a run cannot be laid out.
    """
    parameters = ValidatePotentialWorkChain.get_protocol_inputs(settings['protocol'], settings['overrides'])
    elements = sorted({symbol for branch in branches for symbol in branch.elements})
    entries = plan.expand_structures(parameters['structures'], elements, [branch.label for branch in branches])
    atoms = {entry['label']: count_entry_atoms(entry) for entry in entries}
    stages = estimate_validation({**parameters, 'structures': entries}, atoms, stand_in)
    return [replace(stage, stage=f'proof, {stage.stage}') for stage in stages]
