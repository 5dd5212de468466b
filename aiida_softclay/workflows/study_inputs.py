"""What goes into a study, checked where it is submitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiida import orm
from aiida.common import AttributeDict

from aiida_softclay.calculations.lammps import MAX_RETRIEVED_BYTES
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.workflows.amorphous import AmorphousWorkChain
from aiida_softclay.workflows.estimate import glass_atoms
from aiida_softclay.workflows.experiment import ExperimentWorkChain
from aiida_softclay.workflows.md_inputs import remote_problem
from aiida_softclay.workflows.sampling import validate_sampling

#: The glass is laid out when it is built: so much larger than wanted it may become.
SIZE_MARGIN = 1.05


def validate_mixture(value: orm.Str, _: Any) -> str | None:
    """Return a sentence if the mixture cannot be made."""
    try:
        Mixture.parse(value.value)
    except ValueError as error:
        return str(error)
    return None


def potential_problem(inputs: AttributeDict, mixture: Mixture) -> str | None:
    """Return a sentence if there is neither a potential for the mixture nor what it takes to make one."""
    if 'potential' in inputs:
        missing = sorted(set(mixture.elements) - set(inputs['potential'].type_map))
        if missing:
            return (
                f'the potential does not know {", ".join(missing)}: it knows {"-".join(inputs["potential"].type_map)}'
            )
        return None
    for name in ('vasp', 'dp'):
        if name not in inputs['codes']:
            return f'codes.{name} is missing: without a finished potential the study samples and fits one'
    if 'potential_family' not in inputs:
        return 'potential_family is missing: the label of an uploaded POTCAR family'
    return validate_sampling(inputs['parameters'].get_dict()['sampling'], mixture)


class PlannedRun(NamedTuple):
    """An experiment on a glass that is still to be made.

    Attributes
    ----------
    name : str
        Of the experiment.
    process : type
        Its workchain.
    settings : mapping
        Its ``protocol`` and ``overrides``.
    material : str
        Of the glass.
    glass : mapping
        ``protocol`` and ``overrides`` of the glass.
    """

    name: str
    process: type[ExperimentWorkChain]
    settings: Mapping[str, Any]
    material: str
    glass: Mapping[str, Any]


def frames_problem(inputs: Mapping[str, Any], runs: Iterable[PlannedRun]) -> str | None:
    """Return a sentence if the frames of an experiment, which its analysis needs, would lie where nothing reads them.

    Parameters
    ----------
    inputs : mapping
        Of the workchain that makes the glasses and runs the experiments.
    runs : iterable of PlannedRun
    """
    if 'analysis_code' in inputs:
        return None
    limit = inputs['max_retrieved_bytes'].value if 'max_retrieved_bytes' in inputs else MAX_RETRIEVED_BYTES
    for run in runs:
        if not run.process.needs_frames():
            continue
        try:
            glass = AmorphousWorkChain.get_protocol_inputs(run.glass.get('protocol'), run.glass.get('overrides'))
            n_atoms = round(SIZE_MARGIN * glass_atoms(glass, run.material))
            chosen = run.process.get_protocol_inputs(run.settings.get('protocol'), run.settings.get('overrides'))
            size = run.process.build_plan(chosen).dump_bytes(n_atoms)
        except ValueError:
            # What is wrong with glass or experiment is said where they are checked themselves.
            continue
        if size > limit:
            return (
                f'the raw dumps of {run.name} with about {n_atoms} atoms take {size:,} bytes, more than '
                f'max_retrieved_bytes = {limit:,}: they would stay where LAMMPS runs, where their analysis cannot read '
                f'them. Give analysis_code, raise max_retrieved_bytes, or write fewer frames (dump_every)'
            )
    return None


def study_problem(inputs: AttributeDict, experiments: Mapping[str, type[ExperimentWorkChain]]) -> str | None:
    """Return a sentence if the inputs of a study contradict each other."""
    try:
        mixture = Mixture.parse(inputs['mixture'].value)
    except ValueError as error:
        return str(error)
    if problem := potential_problem(inputs, mixture):
        return problem
    engine = {'code': inputs['codes']['lmp']} if 'lmp' in inputs['codes'] else {}
    parameters = inputs['parameters'].get_dict()
    runs = [
        PlannedRun(name, process, parameters[name], inputs['mixture'].value, parameters['amorphous'])
        for name, process in experiments.items()
    ]
    return remote_problem({**inputs, **engine}) or frames_problem(inputs, runs)
