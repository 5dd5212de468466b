"""What a launch will do and roughly cost, worked out before anything is submitted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from aiida.plugins import WorkflowFactory
from ase.formula import Formula

from aiida_softclay.calculations.aimd_plan import AimdPlan, melt_quench_segments
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.starts import copies, start_size
from aiida_softclay.workflows.amorphous_start import start_settings
from aiida_softclay.workflows.sampling import SampledStructure, sampling_plan

#: Core-seconds per atom and step, measured on one core with the demo's network and CHGNet 0.3.0.
CHGNET_CORE_SECONDS = 3.0e-3
DEEPMD_CORE_SECONDS = 8.0e-5
TRAINING_CORE_SECONDS = 2.5e-4
#: The same for the network of gupta2023 is 9.4 times as much, at 37 times the operations: a power of them through both.
TRAINING_POWER = 0.62
#: Atoms in an Å³ of a salt, for the neighbours within a cutoff.
SALT_NUMBER_DENSITY = 0.075
#: Plane-wave DFT is far dearer: about 600 core-seconds for a step of 100 atoms, growing with the square of the atoms.
#: A rule of thumb, not a measurement.
DFT_CORE_SECONDS_100_ATOMS = 600.0

BYTES_PER_LABELLED_ATOM = 24
BYTES_PER_FRAME = 200


@dataclass(frozen=True)
class StageEstimate:
    """Size and rough cost of one stage.

    Attributes
    ----------
    stage : str
        Name.
    n_processes : int
        Jobs that are submitted if none is interrupted.
    n_atoms : int
        Atoms of the cell; 0 where there is none.
    steps : int
        Steps of dynamics or training, with minimisations at their limit.
    duration_ps : float
        Simulated time, ps.
    frames : int
        Frames that are stored.
    bytes_stored : float
        Size of these in the repository.
    core_hours : float
        Rough cost.
    bytes_dumped, bytes_restart : float
        Raw dumps with the columns beside them, and restart files, on the computer that runs the jobs.
    bytes_frames : float
        Raw dumps of the frames of one run, by which it is decided whether they are retrieved.
    stays_on : str
        Where the dumps stay if they are too large to be retrieved, and who reads them there; empty if they are not.
    """

    stage: str
    n_processes: int = 1
    n_atoms: int = 0
    steps: int = 0
    duration_ps: float = 0.0
    frames: int = 0
    bytes_stored: float = 0.0
    core_hours: float = 0.0
    bytes_dumped: float = 0.0
    bytes_restart: float = 0.0
    bytes_frames: float = 0.0
    stays_on: str = ''


def estimate_aimd(stage: str, plan: Mapping[str, Any], n_atoms: int, stand_in: bool = True) -> StageEstimate:
    """Return the estimate of an AIMD plan for a cell of ``n_atoms``.

    Raises
    ------
    PlanError
        If the plan cannot be run.
    """
    parsed = AimdPlan.from_dict(plan)
    per_step = CHGNET_CORE_SECONDS * n_atoms if stand_in else DFT_CORE_SECONDS_100_ATOMS * (n_atoms / 100) ** 2
    return StageEstimate(
        stage,
        len(parsed.runs()),
        n_atoms,
        parsed.total_steps,
        parsed.duration_ps,
        parsed.n_frames,
        parsed.n_frames * (n_atoms * BYTES_PER_LABELLED_ATOM + BYTES_PER_FRAME),
        parsed.total_steps * per_step / 3600,
    )


def estimate_md(stage: str, plan: Mapping[str, Any] | MdPlan, atoms: int | Mapping[str, int]) -> StageEstimate:
    """Return the estimate of an MD plan for a cell of so many atoms, or so many of each element.

    Raises
    ------
    PlanError
        If the plan cannot be run.
    """
    parsed = plan if isinstance(plan, MdPlan) else MdPlan.from_dict(plan)
    n_atoms = atoms if isinstance(atoms, int) else sum(atoms.values())
    return StageEstimate(
        stage,
        1,
        n_atoms,
        parsed.total_steps,
        parsed.total_duration_ps,
        parsed.n_frames,
        parsed.stored_bytes(atoms),
        parsed.total_steps * n_atoms * DEEPMD_CORE_SECONDS / 3600,
        parsed.dump_bytes(atoms) + parsed.column_bytes(),
        parsed.restart_bytes(n_atoms),
        parsed.dump_bytes(atoms),
    )


def network_operations(model: Mapping[str, Any]) -> float:
    """Return the multiplications that a ``se_e2_a`` model makes for one atom: embedding, descriptor, fitting network.

    Parameters
    ----------
    model : mapping
        ``deepmd.model`` of the parameters of a fit.
    """
    descriptor, fitting = model['descriptor'], list(model['fitting_net']['neuron'])
    embedding, axis = list(descriptor['neuron']), int(descriptor['axis_neuron'])
    neighbours = SALT_NUMBER_DENSITY * 4 / 3 * math.pi * float(descriptor['rcut']) ** 3
    layers = sum(first * second for first, second in pairwise([1, *embedding]))
    fitted = sum(first * second for first, second in pairwise([embedding[-1] * axis, *fitting]))
    return neighbours * (layers + 2 * embedding[-1] * axis) + fitted


#: Those of the protocol ``demo``, which the core-seconds above are measured with.
DEMO_OPERATIONS = network_operations(
    {'descriptor': {'rcut': 6.0, 'neuron': [8, 16, 32], 'axis_neuron': 4}, 'fitting_net': {'neuron': [32, 32, 32]}}
)


def estimate_fit(parameters: Mapping[str, Any], n_atoms: int = 50, n_models: int = 1) -> StageEstimate:
    """Return the estimate of a fit, or of a committee; ``n_atoms`` is the mean size of a frame."""
    steps = n_models * int(parameters['deepmd']['training']['numb_steps'])
    # Training, freezing, testing and, if asked for, compressing.
    jobs = n_models * (4 if parameters.get('compress', True) else 3)
    stage = 'fit_potential' if n_models == 1 else 'fit_committee'
    try:
        size = network_operations(parameters['deepmd']['model']) / DEMO_OPERATIONS
    except KeyError:
        # Another descriptor than the papers': nothing is known of its speed.
        size = 1.0
    core_seconds = TRAINING_CORE_SECONDS * size**TRAINING_POWER * steps * n_atoms
    return StageEstimate(stage, jobs, 0, steps, core_hours=core_seconds / 3600)


def estimate_label(trajectories: Iterable[Any], batch_size: int, incar: Mapping[str, Any]) -> StageEstimate:
    """Return the estimate of the labels of trajectories with the stand-in; a relaxation counts as all of its steps."""
    nodes = list(trajectories)
    steps_each = max(1, int({key.lower(): value for key, value in incar.items()}.get('nsw', 0)))
    frames = sum(node.n_frames for node in nodes)
    atoms = sum(node.n_frames * node.n_atoms for node in nodes)
    return StageEstimate(
        'label',
        sum(-(-node.n_frames // batch_size) for node in nodes),
        max((node.n_atoms for node in nodes), default=0),
        frames * steps_each,
        frames=frames,
        bytes_stored=frames * BYTES_PER_FRAME + atoms * BYTES_PER_LABELLED_ATOM,
        core_hours=atoms * steps_each * CHGNET_CORE_SECONDS / 3600,
    )


def mean_atoms(frames: Iterable[Any]) -> int:
    """Return the mean number of atoms of labelled frames, from their attributes alone."""
    counts = [node.base.attributes.get('frames_per_formula') for node in frames]
    total = sum(number for count in counts for number in count.values())
    atoms = sum(len(Formula(formula)) * number for count in counts for formula, number in count.items())
    return max(1, round(atoms / total))


def estimate_experiment(
    process: str, parameters: Mapping[str, Any], atoms: int | Mapping[str, int]
) -> StageEstimate:  # fmt: skip
    """Return the estimate of an experiment on so many atoms, or so many of each element, by its entry point."""
    return estimate_md(process.rpartition('.')[2], WorkflowFactory(process).build_plan(parameters), atoms)


def estimate_cooling_rates(parameters: Mapping[str, Any], rates: Iterable[float], n_atoms: int) -> list[StageEstimate]:
    """Return the estimate of ``softclay.glass_transition`` at each cooling rate in K/ps."""
    process = 'softclay.glass_transition'
    return [
        replace(estimate_experiment(process, {**parameters, 'rate_K_per_ps': rate}, n_atoms), stage=f'{rate:g} K/ps')
        for rate in rates
    ]


def glass_atoms(parameters: Mapping[str, Any], material: str, structure: Any = None) -> int:
    """Return about how many atoms the amorphous model of a material will have.

    Parameters
    ----------
    parameters : mapping
        Parameters of ``softclay.amorphous``.
    material : str
        The material.
    structure : StructureData, optional
        What it starts from, if that is given.

    Raises
    ------
    ValueError
        If material, start and size do not go together.
    """
    settings = start_settings(parameters)
    if structure is not None:
        return len(structure.sites) * math.prod(copies(settings))
    return start_size(parameters['start'], material, settings)


def estimate_amorphous(parameters: Mapping[str, Any], material: str, structure: Any = None) -> StageEstimate:
    """Return the estimate of the amorphous model; parameters and errors are those of :func:`glass_atoms`."""
    plan = WorkflowFactory('softclay.amorphous').build_plan(parameters)
    return estimate_md('amorphous', plan, glass_atoms(parameters, material, structure))


def count_atoms(entry: SampledStructure) -> int:
    """Return the number of atoms of a sampled structure, by building it without storing anything.

    Raises
    ------
    ValueError
        If it cannot be built; the message says why.
    """
    from aiida_softclay.structures.building import make_structure

    return len(make_structure(entry.kind, entry.parameters)[0])


def estimate_study(
    mixture: str, parameters: Mapping[str, Any], with_fit: bool = True, stand_in: bool = True
) -> list[StageEstimate]:
    """Return the estimates of all stages of a study.

    Raises
    ------
    ValueError
        If a stage cannot be laid out.
    """
    stages: list[StageEstimate] = []
    if with_fit:
        aimd = WorkflowFactory('softclay.aimd')
        plan = sampling_plan(parameters['sampling'], Mixture.parse(mixture), parameters['seed'])
        for entry in plan:
            inputs = aimd.get_protocol_inputs(entry.protocol, entry.overrides)
            segments = melt_quench_segments(**inputs['schedule'])
            stages.append(
                estimate_aimd(
                    f'aimd:{entry.label}', {**inputs['plan'], 'segments': segments}, count_atoms(entry), stand_in
                )
            )
        fit = WorkflowFactory('softclay.fit_potential').get_protocol_inputs(
            parameters['fit']['protocol'], parameters['fit']['overrides']
        )
        frames = sum(stage.frames for stage in stages)
        mean = sum(stage.frames * stage.n_atoms for stage in stages) // max(frames, 1)
        stages.append(estimate_fit(fit, mean))
    settings = parameters['amorphous']
    glass = WorkflowFactory('softclay.amorphous').get_protocol_inputs(settings['protocol'], settings['overrides'])
    stages.append(estimate_amorphous(glass, mixture))
    n_atoms = glass_atoms(glass, mixture)
    for name in ('stress_pulse', 'constant_strain', 'conductivity'):
        process = f'softclay.{name}'
        inputs = WorkflowFactory(process).get_protocol_inputs(
            parameters[name]['protocol'], parameters[name]['overrides']
        )
        stages.append(estimate_experiment(process, inputs, n_atoms))
    return stages
